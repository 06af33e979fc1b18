//! The console in a real browser, at a gateway of which much is wrong: what is wrong, and where, is read from the pages.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::http::{HeaderMap, HeaderName, HeaderValue, Method};
use bytes::Bytes;
use remote_write::compression::Compressor;
use remote_write::encode::encode_v1;
use remote_write::model::{Label, Request, Sample, Series};
use remote_write::{Compression, Protocol};
use serde_json::json;
use testkit::endpoint::{Endpoint, EndpointSettings, Judge, Reply};
use testkit::load::Load;
use testkit::process::free_port;
use testkit::sender::Sender;
use testkit::workload::{Workload, WorkloadSettings};

use crate::browser::{Browser, key};
use crate::gateway::{self, Gateway};
use crate::http::{self, settled};

const LIMIT: Duration = Duration::from_secs(60);

/// What strangers say where they can.
const MARKUP: &str = "<script>alert(\"x\")</script>'&";

/// A gateway of which much is wrong, and a browser.
struct Scene {
    gateway: Gateway,
    browser: Browser,
    receivers: Vec<Endpoint>,
    directory: tempfile::TempDir,
}

fn run(test: impl AsyncFnOnce(Scene)) {
    let binary = gateway::binary();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let run = async {
        if let Some(scene) = plant(&binary).await {
            test(scene).await;
        }
    };
    runtime.block_on(async { tokio::time::timeout(10 * LIMIT, run).await }).expect("it ends in time");
}

/// Well, dead, slow, one that refuses some series with words, and one whose name is markup; a tenant over its limit, one whose
/// data is refused at the door, a replay that takes its time.
async fn plant(binary: &Path) -> Option<Scene> {
    let directory = tempfile::tempdir().expect("a directory");
    let browser = Browser::open(directory.path()).await?;
    let words = format!("no such names here {MARKUP}");
    let judge = Judge::new(400).refusing(move |series| {
        let is_bad = series.labels.iter().any(|label| label.value.starts_with(b"bad"));
        is_bad.then(|| words.clone())
    });
    let launch = async |settings| Endpoint::launch(settings).await.expect("a receiver");
    let receivers = vec![
        launch(EndpointSettings::default()).await,
        launch(EndpointSettings::default()).await,
        launch(EndpointSettings::default()).await,
        launch(EndpointSettings { judge: Some(judge), ..EndpointSettings::default() }).await,
        launch(EndpointSettings::default()).await,
    ];
    receivers[1].stop().await;
    receivers[2].answer_with(|_| Reply::healthy().after(Duration::from_secs(2)));
    let name = MARKUP.replace('"', "\\\"");
    let names = ["well", "dead", "slow", "refusing", &name];
    let entry = |(name, receiver): (&&str, &Endpoint)| format!("name: \"{name}\", url: \"{}\"", receiver.url());
    let endpoints: Vec<_> = names.iter().zip(&receivers).map(entry).collect();
    let listener = free_port().expect("a free port");
    let keys = format!(
        "listeners:\n  - address: 127.0.0.1:{listener}\n    tenant: default\n    tenant_from: [{{header: X-Scope-OrgID}}]\n\
         tenants:\n  - {{name: default}}\n  - {{name: limited, limits: {{samples_per_second: 1}}, credentials: [{{bearer_token: \
         s3cret-token}}]}}\n  - {{name: \"*\"}}\n"
    );
    let mut gateway = Gateway::start_on(binary, directory.path(), &keys, &endpoints).await;
    gateway.push_url = format!("http://127.0.0.1:{listener}/api/v1/write");
    let marked = format!("up{MARKUP}");
    for second in 0..20 {
        let series = ["node", "pod", &marked].map(|job| ("up", job, second));
        assert_eq!(push(&gateway, "default", &series).await, 204);
    }
    push(&gateway, "default", &[("up", "bad-job", 20), ("up", &format!("bad{MARKUP}"), 20), ("up", "good", 20)]).await;
    let too_many = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"].map(|job| ("up", job, 2));
    // From a full second more than it brings is taken, and then nothing for eleven.
    assert_eq!(push(&gateway, "limited", &too_many).await, 204);
    assert_eq!(push(&gateway, "limited", &too_many).await, 503);
    assert_eq!(push(&gateway, "default", &[("", MARKUP, 3), ("up", "node", 30)]).await, 400);
    let wanted = json!({"endpoint": "slow", "tenant": "default", "from": "earliest", "rate": 1});
    let begun = Sender::new(&gateway.admin_url("/api/v1/replays")).expect("an http url");
    let begun = begun.send(Method::POST, HeaderMap::new(), wanted.to_string().into()).await;
    assert_eq!(begun.expect("an answer").status.as_u16(), 202);
    let refused = async || {
        let letters = http::get_json(&gateway.admin_url("/api/v1/dead_letters")).await;
        let count = letters["letters"].as_array().map_or(0, Vec::len);
        (count < 2).then(|| format!("{count} letters"))
    };
    assert_eq!(settled(Instant::now() + LIMIT, refused).await, None);
    Some(Scene { gateway, browser, receivers, directory })
}

/// Pushes a sample of each series: its name, its job, a number of seconds.
async fn push(gateway: &Gateway, tenant: &str, series: &[(&str, &str, i64)]) -> u16 {
    let now = crate::target::now_ms();
    let series = series.iter().map(|(name, job, second)| {
        let labels = [("__name__", *name), ("job", *job)].into_iter().filter(|(_, value)| !value.is_empty());
        Series {
            labels: labels.map(|(name, value)| Label { name: name.as_bytes(), value: value.as_bytes() }).collect(),
            samples: vec![Sample { timestamp: now - 60_000 + second * 1000, value: 1.0, ..Sample::default() }],
            ..Series::default()
        }
    });
    let (mut message, mut body) = (Vec::new(), Vec::new());
    encode_v1(&Request { series: series.collect(), metadata: Vec::new() }, &mut message);
    Compressor::new().compress(Compression::Snappy, &message, &mut body).expect("it is small");
    let tenant = HeaderValue::from_str(tenant).expect("a name");
    let sender = Sender::new(&gateway.push_url).expect("an http url");
    let sender = sender.with_header(HeaderName::from_static("x-scope-orgid"), tenant);
    let answer = sender.push(Protocol::V1, Compression::Snappy, Bytes::from(body)).await;
    answer.expect("an answer").status.as_u16()
}

/// The address of an endpoint's page.
fn endpoint(scene: &Scene, name: &str) -> String {
    let path = format!("/endpoints/{}", http::encoded(name));
    scene.gateway.admin_url(&http::url("", &path, &[("tenant", "default")]))
}

#[test]
fn the_pages_say_what_is_wrong_whose_fault_it_is_and_where() {
    run(async |scene| {
        let (gateway, browser) = (&scene.gateway, &scene.browser);
        browser.go(&gateway.admin_url("/")).await;
        browser.reads("#verdict", "refusing refuses data of default for good; 2 dead letters are kept").await;
        browser.reads("#verdict", "no such names here").await;
        browser.reads("#verdict", "Whose fault").await;
        browser.reads("#verdict", "retry or drop the dead letters").await;
        browser.reads("#also", "dead is down for default").await;
        browser.reads("#also", "cannot connect").await;
        browser.reads("#also", "limited is over its limit").await;
        browser.reads("#also", "of default to slow is running").await;
        browser.reads("#summary", "wrong").await;
        // The drawing says in words what its colours say.
        let node = async |name: &str| {
            let of = format!(
                "[...document.querySelectorAll('.node')].find(node => node.innerText.startsWith({}))",
                json!(name)
            );
            browser.ask(&format!("{of}?.innerText")).await.as_str().unwrap_or_default().to_owned()
        };
        assert!(node("dead").await.contains("down") && node("refusing").await.contains("refuses data"));
        assert!(node("well").await.contains("well") && node("limited").await.contains("over its limit"));
        // Where one acts is a link away.
        browser.ask("document.querySelector('#verdict a').click()").await;
        browser.reads("h1", "refusing").await;
        browser.reads("#last-refusal", &format!("no such names here {MARKUP}")).await;
        browser.reads("#letters", "up{job=\"bad-job\"}").await;
        browser.go(&endpoint(&scene, "dead")).await;
        browser.reads("#figures", "down").await;
        browser.reads("#last-error", "cannot connect to").await;
        browser.go(&endpoint(&scene, "slow")).await;
        browser.reads("#replays", "running").await;
        // A look comes every 15 s.
        browser.reads("#courses", "Time to an answer  2.").await;
        browser.reads("#courses", "As a table").await;
        browser.go(&gateway.admin_url("/tenants/limited")).await;
        browser.reads("#limits", "samples_per_second").await;
        browser.reads("#limits", "lately").await;
        browser.reads("main", "a bearer token").await;
        browser.go(&gateway.admin_url("/tenants/default")).await;
        browser.reads("#refused", "invalid").await;
        browser.reads("#refused", "no metric name").await;
        browser.go(&gateway.admin_url("/ledger")).await;
        browser.reads("#balance", "all balance").await;
        browser.go(&gateway.admin_url("/explain?tenant=default&series=up%7Bjob%3D%22x%22%7D")).await;
        browser.reads("main", "arrives as").await;
        browser.go(&gateway.admin_url("/config")).await;
        browser.reads("main", "The last reload was taken over.").await;
        let page = browser.text("main").await;
        assert!(page.contains("  - name: \"well\"") && !page.contains("s3cret-token"), "{page}");
        browser.go(&gateway.admin_url("/tenants/nobody")).await;
        browser.reads("main", "There is no tenant").await;
        browser.reads("main", "the overview").await;
        // Somebody breaks the configuration.
        std::fs::write(scene.directory.path().join("writegate.yml"), "listeners: 3").expect("it is written");
        browser.go(&gateway.admin_url("/")).await;
        browser.reads("#also", "The last reload failed, the configuration before goes on.").await;
        browser.reads("#also", "writegate.yml:1:12").await;
        browser.go(&gateway.admin_url("/config")).await;
        browser.reads("#reload", "writegate.yml:1:12").await;
        scene.close().await;
    });
}

#[test]
fn what_passes_by_is_shown_live_and_a_page_keeps_itself_up_to_date() {
    run(async |scene| {
        let (gateway, browser) = (&scene.gateway, &scene.browser);
        browser.go(&gateway.admin_url("/tap?tenant=default&match=%7Bjob%3D~%22live.*%22%7D")).await;
        browser.reads("#tap-state", "Live.").await;
        let seen = async |job: &str, second: i64| {
            // Each time a little later, until the tap has begun to look.
            settled(Instant::now() + LIMIT, async || {
                push(gateway, "default", &[("up", job, second), ("up", "other", second)]).await;
                let text = browser.text("#tap-list").await;
                (!text.contains(job)).then_some(text)
            })
            .await
        };
        assert_eq!(seen("live-one", 40).await, None);
        assert!(!browser.text("#tap-list").await.contains("other"));
        browser.ask("document.getElementById('tap-pause').click()").await;
        let before = browser.text("#tap-list").await;
        push(gateway, "default", &[("up", "live-two", 41)]).await;
        browser.reads("#tap-state", "series came meanwhile").await;
        assert_eq!(browser.text("#tap-list").await, before);
        browser.go(&gateway.admin_url("/tap?endpoint=nothing")).await;
        browser.reads("#tap-state", "there is no endpoint").await;
        // The endpoint comes back, and the page says so by itself.
        browser.go(&endpoint(&scene, "dead")).await;
        browser.reads("#figures", "down").await;
        scene.receivers[1].start().await.expect("it starts again");
        browser.reads("#figures", "well").await;
        browser.reads("#fresh", "Up to date.").await;
        // And it stays whole, refresh after refresh.
        let parts = "[...document.querySelectorAll('main > [data-part]')].filter(part => part.innerText).length";
        let mut ticks = tokio::time::interval(Duration::from_millis(500));
        for _ in 0..24 {
            ticks.tick().await;
            assert_eq!(browser.ask(parts).await, json!(5));
        }
        scene.close().await;
    });
}

#[test]
fn every_action_is_reached_by_tab_and_done_by_keys() {
    run(async |scene| {
        let (gateway, browser) = (&scene.gateway, &scene.browser);
        // Tabs to the element of which an expression is true.
        let tab_to = async |is: &str| {
            for _ in 0..120 {
                browser.press(key::TAB).await;
                if browser.ask(&format!("(at => {is})(document.activeElement)")).await == json!(true) {
                    return;
                }
            }
            panic!("{is} is reached by Tab");
        };
        browser.go(&endpoint(&scene, "slow")).await;
        browser.press(key::TAB).await;
        assert_eq!(browser.ask("document.activeElement.className").await, json!("skip"));
        let visible = browser.ask("getComputedStyle(document.activeElement).outlineStyle").await;
        assert_eq!(visible, json!("solid"), "the focus is seen");
        tab_to("at.innerText === 'Cancel'").await;
        browser.press(key::ENTER).await;
        browser.reads("#outcome", "is cancelled").await;
        browser.go(&endpoint(&scene, "well")).await;
        tab_to("at.innerText === 'Replay'").await;
        browser.press(key::ENTER).await;
        browser.reads("#outcome", "has begun").await;
        browser.go(&endpoint(&scene, "refusing")).await;
        tab_to("at.innerText === 'Retry all'").await;
        browser.press(key::ENTER).await;
        browser.reads("#outcome", "refusing took 0 dead letters and refused 2 again").await;
        browser.go(&endpoint(&scene, "refusing")).await;
        tab_to("at.type === 'checkbox'").await;
        browser.press(key::SPACE).await;
        tab_to("at.innerText === 'Drop all'").await;
        browser.press(key::ENTER).await;
        browser.reads("#outcome", "2 dead letters dropped").await;
        browser.go(&gateway.admin_url("/config")).await;
        tab_to("at.innerText === 'Read it again'").await;
        browser.press(key::ENTER).await;
        browser.reads("#outcome", "read again and taken over").await;
        browser.go(&gateway.admin_url("/")).await;
        tab_to("at.id === 'pause'").await;
        browser.press(key::ENTER).await;
        browser.reads("#fresh", "Paused.").await;
        scene.close().await;
    });
}

#[test]
fn without_a_script_figures_are_there_and_what_strangers_say_stays_text() {
    run(async |scene| {
        let (gateway, browser) = (&scene.gateway, &scene.browser);
        browser.without_scripts().await;
        browser.go(&gateway.admin_url("/")).await;
        let page = browser.text("main").await;
        assert!(page.contains("refusing refuses data"), "{page}");
        assert!(page.contains("dead is down"), "{page}");
        browser.go(&gateway.admin_url("/tap?tenant=default")).await;
        browser.reads("noscript", "writegate tap --tenant 'default'").await;
        browser.reads("noscript", "curl -N 'http://127.0.0.1:").await;
        for path in paths(&scene) {
            browser.go(&gateway.admin_url(&path)).await;
            let scripts = browser.ask("document.querySelectorAll('body script').length").await;
            assert_eq!(scripts, json!(0), "{path}");
        }
        browser.go(&endpoint(&scene, MARKUP)).await;
        browser.reads("h1", MARKUP).await;
        browser.go(&endpoint(&scene, "refusing")).await;
        browser.reads("#letters", "up{job=\"bad<script>alert(").await;
        browser.go(&gateway.admin_url(&http::url("", "/explain", &[("tenant", "default"), ("series", MARKUP)]))).await;
        browser.reads("main .bad", "found `<`").await;
        browser.go(&gateway.admin_url(&format!("/tenants/{}", http::encoded(MARKUP)))).await;
        browser.reads("main", "alert").await;
        assert_eq!(browser.ask("document.querySelectorAll('body script').length").await, json!(0));
        scene.close().await;
    });
}

/// Every kind of page.
fn paths(scene: &Scene) -> Vec<String> {
    let page = |name: &str| endpoint(scene, name).replacen(&scene.gateway.admin_url(""), "", 1);
    let mut paths = vec![page("refusing"), page("slow"), page("dead"), page(MARKUP), "/endpoints/slow".to_owned()];
    let plain = [
        "/",
        "/tenants",
        "/endpoints",
        "/tenants/limited",
        "/tenants/default",
        "/letters/1",
        "/ledger",
        "/explain?tenant=default&series=up%7Bjob%3D%22x%22%7D",
        "/tap",
        "/config",
        "/nothing-here",
    ];
    paths.extend(plain.map(str::to_owned));
    paths
}

/// Where pictures of all pages are put, to be looked at.
fn pictures() -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("console");
    std::fs::create_dir_all(&directory).expect("a directory");
    directory
}

#[test]
fn nothing_is_wrong_for_those_who_see_little_or_have_a_narrow_screen() {
    run(async |scene| {
        let (gateway, browser) = (&scene.gateway, &scene.browser);
        let (pictures, mut faults) = (pictures(), Vec::new());
        // There is a point to draw.
        browser.go(&endpoint(&scene, "slow")).await;
        browser.reads("#courses", "As a table").await;
        let mut asked = false;
        for (number, path) in paths(&scene).iter().enumerate() {
            for theme in ["light", "dark"] {
                for width in [1280, 360] {
                    browser.be((width, 900), theme).await;
                    browser.go(&gateway.admin_url(path)).await;
                    let wide = browser.ask("document.documentElement.scrollWidth - innerWidth").await;
                    if wide.as_i64() != Some(0) {
                        faults.push(format!("{path} is {wide} px too wide for {width}"));
                    }
                    if let Some(found) = browser.faults().await {
                        asked = true;
                        faults.extend(found.into_iter().map(|fault| format!("{path} {theme} {width}: {fault}")));
                    }
                    let name = path.trim_matches('/').split(['/', '?']).next().unwrap_or_default();
                    browser
                        .picture(&pictures.join(format!("{number:02}-{name}-{theme}-{width}.png")), width, theme)
                        .await;
                }
            }
        }
        assert_eq!(faults, Vec::<String>::new());
        if !asked {
            say("skipped: axe-core was not asked; `cargo xtask peers` fetches it where there is npm");
        }
        scene.close().await;
    });
}

impl Scene {
    async fn close(mut self) {
        self.browser.close().await;
        self.gateway.terminate().await;
        drop((self.receivers, self.directory));
    }
}

#[expect(clippy::print_stderr, reason = "the test's output is where a figure or a skipped part must be visible")]
fn say(words: &str) {
    eprintln!("{words}");
}

/// How long the gateway is watched under load; `WRITEGATE_CONSOLE_SECONDS`.
fn seconds() -> Duration {
    let seconds = std::env::var("WRITEGATE_CONSOLE_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(10))
}

/// How often the script of an open page asks for it again.
const ASKED_EVERY: f64 = 5.0;
/// How often the history looks at the counters: no more than a page does.
const LOOKED_EVERY: f64 = 15.0;
const LOOKS: u32 = 200;

#[test]
fn an_open_overview_costs_the_gateway_hardly_any_cpu() {
    run(async |scene| {
        let gateway = &scene.gateway;
        // What a page is made from, and the page itself: one look is good for a second, so each is asked for by itself.
        let before = gateway.cpu_time();
        for _ in 0..LOOKS {
            http::get(&gateway.admin_url("/api/v1/status")).await;
            http::get(&gateway.admin_url("/")).await;
        }
        let look = (gateway.cpu_time() - before).as_secs_f64() / f64::from(LOOKS);
        let settings = WorkloadSettings { series: 20_000, series_per_request: 2_000, ..WorkloadSettings::default() };
        let mut load = Load::new(Arc::new(Workload::new(settings)), 0);
        (load.rounds, load.rate, load.connections) = (None, Some(20_000.0), 4);
        let run = Sender::new(&gateway.push_url).expect("an http url").start(&load);
        let mut ticks = tokio::time::interval(seconds());
        ticks.tick().await;
        let before = gateway.cpu_time();
        ticks.tick().await;
        let under_load = (gateway.cpu_time() - before).as_secs_f64() / seconds().as_secs_f64();
        run.stop().await;
        let console = look / ASKED_EVERY + look / LOOKED_EVERY;
        let share = console / under_load;
        say(&format!(
            "an open overview: {:.2} ms a look, {:.2} % of the {under_load:.3} cores that the gateway takes for 20,000 samples a \
             second at five endpoints",
            look * 1e3,
            share * 100.0
        ));
        assert!(share < 0.05, "{share}");
        scene.close().await;
    });
}

//! One endpoint, its answers and its configuration: held, retried or given up by status, credentials on the wire and nowhere
//! else, changes while running, and what its owner sees of it in metrics and log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use remote_write::{Compression, Counts, Protocol};
use testkit::chaos::Chaos;
use testkit::endpoint::{Endpoint, EndpointSettings, Judge, Keep, Reply};
use testkit::ledger::Ledger;
use testkit::load::{Load, Timestamps};
use testkit::workload::{Workload, WorkloadSettings};
use tokio::net::TcpSocket;

use crate::harness::{
    PATIENCE, Program, Setup, TestGateway, assert_exactly, bounded, compress, eventually, receiver, receiver_that,
    takes,
};
use crate::message::{With, encode, everything, integer_histogram, points, request, sample_of, series};

const QUICK: &str = "queue_config: {min_backoff: 5ms, max_backoff: 20ms}";

/// The label sets of a metric on a page, with their values.
fn metric<'p>(page: &'p str, name: &str) -> Vec<(&'p str, f64)> {
    let rest = |line: &'p str| line.strip_prefix(name).filter(|rest| rest.starts_with(['{', ' ']));
    let parse = |rest: &'p str| rest.rsplit_once(' ').map(|(labels, value)| (labels, value.parse().unwrap()));
    page.lines().filter_map(rest).filter_map(parse).collect()
}

#[test]
fn w59_429_is_retried_whatever_prometheus_would_do() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint_with("a", &sink, QUICK).start().await;
        sink.script([Reply::status(429), Reply::status(429), Reply::status(429)]);
        let sent = request([sample_of("up", 1_000)]);
        gateway.accept(Protocol::V1, &sent).await;
        gateway.settled().await;
        assert_exactly(&sink, &points(&sent));
        assert_eq!(sink.stats().requests, 4);
        let book = gateway.ledger("default", "a").await.samples;
        assert_eq!((book.delivered, book.dropped.len(), book.dead_lettered.len()), (1, 0, 0));
        gateway.finish().await;
    });
}

#[test]
fn w59_where_429_is_not_retried_it_ends_as_dead_letters_after_one_attempt_and_later_samples_go_on() {
    bounded(async {
        for protocol in [Protocol::V1, Protocol::V2] {
            let sink = receiver().await;
            let keys = "queue_config: {retry_on_http_429: false, max_backoff: 100ms}";
            let gateway = Setup::new().endpoint_with("a", &sink, keys).start().await;
            sink.script([Reply::status(429)]);
            let refused = request([
                sample_of("up", 1_000).exemplar(1.0, 1_000),
                series(&[("__name__", "seconds")]).histogram(integer_histogram(), 1_000),
            ]);
            gateway.accept(protocol, &refused).await;
            gateway.settled().await;
            assert_eq!(sink.stats().requests, 1);
            let later = request([sample_of("up", 2_000)]);
            gateway.accept(protocol, &later).await;
            gateway.settled().await;
            assert_exactly(&sink, &points(&later));
            let row = gateway.ledger("default", "a").await;
            let by_429 = BTreeMap::from([("429".to_owned(), 1)]);
            for book in [&row.samples, &row.histograms, &row.exemplars] {
                assert_eq!((&book.dead_lettered, book.dropped.len()), (&by_429, 0), "{row:?}");
            }
            assert!(row.examples["429"].starts_with("up{") || row.examples["429"].starts_with("seconds"), "{row:?}");
            gateway.finish().await;
        }
    });
}

const HELD: [u16; 6] = [401, 403, 404, 405, 302, 418];

/// An endpoint for each status, which it answers to everything.
async fn held_endpoints() -> Vec<(String, Endpoint)> {
    let mut endpoints = Vec::new();
    for code in HELD {
        let sink = receiver().await;
        sink.answer_with(move |_| Reply::status(code).header("location", "/elsewhere"));
        endpoints.push((code.to_string(), sink));
    }
    endpoints
}

fn with_endpoints(endpoints: &[(String, Endpoint)], keys: &str) -> Setup {
    endpoints.iter().fold(Setup::new(), |setup, (name, sink)| setup.endpoint_with(name, sink, keys))
}

/// Pushes a sample, and waits until each endpoint is held by its status and has booked nothing.
async fn is_held(gateway: &TestGateway, endpoints: &[(String, Endpoint)]) {
    gateway.accept(Protocol::V1, &request([sample_of("up", 1_000)])).await;
    for (code, sink) in endpoints {
        eventually("the endpoint is held", || async {
            let held = format!(r#"writegate_endpoint_held{{endpoint="{code}",code="{code}"}}"#);
            (gateway.metric(&held).await == 1.0).then_some(())
        })
        .await;
        let book = gateway.ledger("default", code).await.samples;
        assert_eq!((book.accepted, book.pending), (1, 1), "{code}: {book:?}");
        assert_eq!(sink.stats().requests, 1, "{code} is not asked again and again");
    }
}

async fn is_held_no_more(gateway: &TestGateway) {
    gateway.settled().await;
    let page = gateway.admin("/metrics").await;
    assert_eq!(metric(&page, "writegate_endpoint_held"), []);
}

#[test]
fn w60_what_only_the_endpoints_owner_can_mend_is_held_keeps_nobody_waiting_and_is_delivered_when_it_is_mended() {
    bounded(async {
        let endpoints = held_endpoints().await;
        let well = receiver().await;
        let gateway = with_endpoints(&endpoints, "").endpoint("well", &well).start().await;
        is_held(&gateway, &endpoints).await;
        let mut sent = points(&request([sample_of("up", 1_000)]));
        for timestamp in 1..=20 {
            let one = request([sample_of("up", 1_000 + timestamp)]);
            gateway.accept(Protocol::V1, &one).await;
            sent.extend(points(&one));
        }
        takes(&well, 21).await;
        assert_exactly(&well, &sent);
        endpoints.iter().for_each(|(_, sink)| sink.recover());
        is_held_no_more(&gateway).await;
        for (code, sink) in &endpoints {
            assert_exactly(sink, &sent);
            let book = gateway.ledger("default", code).await.samples;
            assert_eq!((book.delivered, book.dropped.len(), book.dead_lettered.len()), (21, 0, 0));
        }
        gateway.finish().await;
    });
}

#[test]
fn w60_a_reload_that_mends_the_configuration_delivers_at_once_what_was_held() {
    bounded(async {
        let endpoints = held_endpoints().await;
        let mut gateway = with_endpoints(&endpoints, "").start().await;
        let since = Instant::now();
        is_held(&gateway, &endpoints).await;
        endpoints.iter().for_each(|(_, sink)| sink.recover());
        gateway.reload(with_endpoints(&endpoints, "headers: {X-Mended: 'yes'}")).await;
        is_held_no_more(&gateway).await;
        // It would have been tried again after five seconds.
        let elapsed = since.elapsed();
        assert!(elapsed < Duration::from_millis(4_500), "{elapsed:?}");
        for (code, sink) in &endpoints {
            assert_exactly(sink, &points(&request([sample_of("up", 1_000)])));
            assert_eq!(sink.requests().last().unwrap().header("x-mended"), Some("yes"), "{code}");
        }
        gateway.finish().await;
    });
}

/// RFC 9110 §15.4.8 and §15.4.9 keep method and body; credentials are for whom they were configured.
#[test]
fn a_307_or_308_is_followed_with_the_body_and_without_credentials_elsewhere() {
    bounded(async {
        for code in [307, 308] {
            let (front, behind) = (receiver().await, receiver().await);
            let target = format!("http://{}/moved", behind.address());
            front.answer_with(move |_| Reply::status(code).header("location", &target));
            let keys = "authorization: {credentials: only-for-the-front}, headers: {X-Region: eu}, \
                        http_headers: {X-Key: {secrets: [hush]}}";
            let gateway = Setup::new().endpoint_with("a", &front, keys).start().await;
            let sent = request([sample_of("up", 1_000)]);
            gateway.accept(Protocol::V1, &sent).await;
            gateway.settled().await;
            assert_exactly(&behind, &points(&sent));
            let (at_front, received) = (front.requests().remove(0), behind.requests().remove(0));
            assert_eq!(at_front.header("authorization"), Some("Bearer only-for-the-front"));
            assert_eq!((received.path.as_str(), received.header("authorization")), ("/moved", None));
            assert_eq!((received.header("x-region"), received.header("x-key")), (Some("eu"), None));
            gateway.finish().await;
        }
    });
}

fn small_load(rounds: u32) -> Load {
    let settings = WorkloadSettings { series: 400, series_per_request: 20, ..WorkloadSettings::default() };
    let mut load = Load::new(Workload::new(settings).into(), rounds);
    load.connections = 8;
    load.timestamps = Timestamps::Steps { first: 1_000, step: 1_000 };
    load
}

#[test]
fn w62_an_endpoint_that_flaps_under_load_gets_nothing_twice_but_what_it_took_without_an_answer() {
    bounded(async {
        let sink = receiver_that(EndpointSettings::default()).await;
        let gateway = Setup::new().endpoint_with("a", &sink, QUICK).start().await;
        // Samples that the endpoint took, but whose taking nobody heard of.
        let unheard = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&unheard);
        sink.answer_with(move |received| match (received.number / 15 % 2, received.number % 3) {
            (0, _) => Reply::healthy(),
            (_, 0) => {
                count.fetch_add(received.counts.samples, Ordering::Relaxed);
                Reply::reset_after_body().taking()
            }
            (_, 1) => Reply::reset_after_body(),
            (_, _) => Reply::status(503),
        });
        let load = small_load(20);
        let report = gateway.sender().run(&load).await;
        assert_eq!((report.failures, report.statuses.len()), (0, 1), "senders notice nothing: {report:?}");
        gateway.settled().await;
        let unheard = unheard.load(Ordering::Relaxed);
        assert!(unheard > 0, "the test needs an ambiguous end: {:?}", sink.stats());
        sink.ledger(|ledger| {
            assert_eq!(ledger.missing(load.workload.points(report.acknowledged.iter().copied())), []);
            assert_eq!(ledger.out_of_order(), []);
            assert_eq!(ledger.stale_repeats(), 0, "what is repeated is its series' newest sample");
            assert_eq!(ledger.duplicates(), unheard);
        });
        let book = gateway.ledger("default", "a").await.samples;
        assert_eq!((book.delivered, book.dropped.len()), (report.sent.samples, 0), "{book:?}");
        gateway.finish().await;
    });
}

#[test]
fn w62_an_endpoint_that_goes_and_comes_under_load_misses_nothing_and_sees_no_order_turned_around() {
    bounded(async {
        let (flapping, well) =
            (receiver_that(EndpointSettings::default()).await, receiver_that(EndpointSettings::default()).await);
        let gateway = Setup::new().endpoint_with("flapping", &flapping, QUICK).endpoint("well", &well).start().await;
        flapping.answer_with(|_| Reply::healthy().after(Duration::from_millis(2)));
        let mut load = small_load(0);
        load.rounds = None;
        load.rate = Some(8_000.0);
        let run = gateway.sender().start(&load);
        let mut in_flight = 0;
        for cycle in 1..=8 {
            flapping.wait_until(PATIENCE, |stats| stats.taken_requests >= cycle * 10).await.unwrap();
            in_flight += flapping.stats().max_in_flight;
            flapping.stop().await;
            let taken = well.stats().taken_requests;
            well.wait_until(PATIENCE, |stats| stats.taken_requests >= taken + 10).await.unwrap();
            flapping.start().await.unwrap();
        }
        let report = run.stop().await;
        gateway.settled().await;
        for sink in [&flapping, &well] {
            sink.ledger(|ledger| {
                assert_eq!(ledger.missing(load.workload.points(report.acknowledged.iter().copied())), []);
                assert_eq!(ledger.out_of_order(), []);
                assert_eq!(ledger.stale_repeats(), 0);
            });
        }
        assert_eq!(well.ledger(Ledger::duplicates), 0);
        // At each stop no more was in flight than ever at once, and no request holds more than all series.
        let duplicates = flapping.ledger(Ledger::duplicates);
        assert!(duplicates <= in_flight * 400, "{duplicates} of at most {in_flight} requests");
        gateway.finish().await;
    });
}

/// Reconfigures an endpoint again and again under load, `sizes` among what changes. Gives how many samples came twice.
async fn reconfigured_under_load(sizes: [u32; 3]) -> u64 {
    let settings = EndpointSettings::default;
    let (changing, other) = (receiver_that(settings()).await, receiver_that(settings()).await);
    let seen: Arc<Mutex<BTreeSet<String>>> = Arc::default();
    let chaos = Chaos::seeded(fastrand::u64(..)).delays_up_to(Duration::from_millis(10));
    let kept = Arc::clone(&seen);
    changing.answer_with(move |received| {
        kept.lock().unwrap().extend(received.header("x-phase").map(str::to_owned));
        chaos.reply()
    });
    let setup = |phase: usize| {
        let rules =
            ["", "{regex: nowhere, action: labeldrop}", "{source_labels: [nowhere], regex: x, action: drop}", ""];
        let keys = format!(
            "headers: {{X-Phase: 'phase {phase}'}}, write_relabel_configs: [{}], remote_timeout: {}s, \
             queue_config: {{max_samples_per_send: {}, max_backoff: 100ms}}",
            rules[phase % 4],
            20 + phase,
            sizes[phase % 3],
        );
        Setup::new().endpoint_with("changing", &changing, &keys).endpoint("other", &other)
    };
    let mut gateway = setup(0).start().await;
    let mut load = small_load(0);
    load.rounds = None;
    load.rate = Some(10_000.0);
    let run = gateway.sender().start(&load);
    for phase in 1..=12 {
        let taken = changing.stats().taken_requests;
        changing.wait_until(PATIENCE, |stats| stats.taken_requests >= taken + 10).await.unwrap();
        gateway.reload(setup(phase)).await;
    }
    let report = run.stop().await;
    assert_eq!((report.failures, report.refused.len()), (0, 0), "{report:?}");
    gateway.settled().await;
    for sink in [&changing, &other] {
        sink.ledger(|ledger| {
            assert_eq!(ledger.missing(load.workload.points(report.acknowledged.iter().copied())), []);
            assert_eq!(ledger.out_of_order(), []);
            assert_eq!(ledger.stale_repeats(), 0, "what is repeated is its series' newest sample");
        });
    }
    assert!(seen.lock().unwrap().len() >= 12, "each configuration was in use: {seen:?}");
    let book = gateway.ledger("default", "changing").await.samples;
    assert_eq!((book.delivered, book.dropped.len()), (report.sent.samples, 0), "{book:?}");
    assert_eq!(other.ledger(Ledger::duplicates), 0, "an endpoint that stays as it is notices nothing");
    gateway.finish().await;
    changing.ledger(Ledger::duplicates)
}

#[test]
fn w65_an_endpoint_that_is_reconfigured_under_load_gets_all_in_order_and_nothing_twice() {
    bounded(async {
        assert_eq!(reconfigured_under_load([10_000, 20, 300]).await, 0, "a reload lets requests in flight end");
    });
}

#[test]
fn w65_records_that_are_cut_to_an_endpoints_size_keep_their_order_over_reloads() {
    bounded(async {
        // What an interrupted record's first part repeats is its series' newest sample, which receivers accept.
        reconfigured_under_load([17, 7, 11]).await;
    });
}

#[test]
fn w68_headers_and_credentials_are_sent_as_configured_from_the_file_and_from_files_beside_it() {
    bounded(async {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, content).unwrap();
            path.display().to_string()
        };
        let (password, token) = (file("password", "pw-from-file\n"), file("token", "token-from-file\n"));
        let key = file("key", " key-from-file \n");
        let cases = [
            ("basic_auth: {username: writer, password: pw-inline}", "Basic d3JpdGVyOnB3LWlubGluZQ=="),
            (
                &format!("basic_auth: {{username: writer, password_file: '{password}'}}"),
                "Basic d3JpdGVyOnB3LWZyb20tZmlsZQ==",
            ),
            ("authorization: {credentials: token-inline}", "Bearer token-inline"),
            ("authorization: {type: Token, credentials: token-inline}", "Token token-inline"),
            (&format!("authorization: {{credentials_file: '{token}'}}"), "Bearer token-from-file"),
        ];
        for (auth, expected) in cases {
            for protocol in [Protocol::V1, Protocol::V2] {
                let sink = receiver().await;
                let headers = format!(
                    "headers: {{X-Region: eu-1}}, http_headers: {{X-Many: {{values: [one, two]}}, \
                     X-Secret: {{secrets: [hush]}}, X-Key: {{files: ['{key}']}}}}"
                );
                let gateway = Setup::new().endpoint_with("a", &sink, &format!("{auth}, {headers}")).start().await;
                gateway.accept(protocol, &request([sample_of("up", 1_000)])).await;
                gateway.settled().await;
                let received = sink.requests().remove(0);
                assert_eq!(received.header("authorization"), Some(expected), "{auth}");
                assert_eq!(received.header("x-region"), Some("eu-1"));
                assert_eq!(received.header("x-secret"), Some("hush"));
                assert_eq!(received.header("x-key"), Some("key-from-file"));
                let many: Vec<_> = received.headers.get_all("x-many").iter().collect();
                assert_eq!(many, ["one", "two"]);
                gateway.finish().await;
            }
        }
    });
}

#[test]
fn w68_a_rotated_password_file_is_used_from_the_next_request_on() {
    bounded(async {
        let directory = tempfile::tempdir().unwrap();
        let password = directory.path().join("password");
        let sink = receiver().await;
        let keys = format!("basic_auth: {{username: writer, password_file: '{}'}}", password.display());
        let gateway = Setup::new().endpoint_with("a", &sink, &keys).start().await;
        for (timestamp, content) in [(1, "pw-inline"), (2, "pw-rotated\n")] {
            std::fs::write(&password, content).unwrap();
            gateway.accept(Protocol::V1, &request([sample_of("up", timestamp)])).await;
            gateway.settled().await;
        }
        let requests = sink.requests();
        let sent: Vec<_> = requests.iter().map(|received| received.header("authorization").unwrap()).collect();
        assert_eq!(sent, ["Basic d3JpdGVyOnB3LWlubGluZQ==", "Basic d3JpdGVyOnB3LXJvdGF0ZWQ="]);
        gateway.finish().await;
    });
}

#[test]
fn w68_a_secret_whose_file_cannot_be_read_holds_nothing_up_but_its_endpoint_and_is_delivered_later() {
    bounded(async {
        let directory = tempfile::tempdir().unwrap();
        let token = directory.path().join("token");
        std::fs::write(&token, "first").unwrap();
        let (sink, well) = (receiver().await, receiver().await);
        let keys = format!("authorization: {{credentials_file: '{}'}}, {QUICK}", token.display());
        let gateway = Setup::new().endpoint_with("a", &sink, &keys).endpoint("well", &well).start().await;
        std::fs::remove_file(&token).unwrap();
        let sent = request([sample_of("up", 1_000)]);
        gateway.accept(Protocol::V1, &sent).await;
        takes(&well, 1).await;
        eventually("the trouble is shown", || async {
            let status = gateway.admin("/api/v1/status").await;
            status.contains(token.to_str().unwrap()).then_some(())
        })
        .await;
        assert_eq!(sink.stats().requests, 0, "nothing is sent without its credentials");
        std::fs::write(&token, "second").unwrap();
        gateway.settled().await;
        assert_exactly(&sink, &points(&sent));
        assert_eq!(sink.requests()[0].header("authorization"), Some("Bearer second"));
        gateway.finish().await;
    });
}

async fn push(program: &Program, name: &str, timestamp: i64) {
    let body = compress(Compression::Snappy, &encode(Protocol::V1, &request([sample_of(name, timestamp)])));
    let answer = program.sender().push(Protocol::V1, Compression::Snappy, body).await.unwrap();
    assert_eq!(answer.status, 204, "{}", answer.text());
}

/// What nobody may read who may read logs, metrics and the admin API.
const SECRETS: [&str; 8] = [
    "key-in-a-url",
    "pw-inline",
    "d3JpdGVyOnB3LWlubGluZQ",
    "pw-in-a-file",
    "token-inline",
    "token-in-a-file",
    "key-inline",
    "key-in-a-file",
];

#[test]
fn w68_secrets_are_in_no_log_no_metric_and_no_answer_of_the_admin_api() {
    bounded(async {
        let directory = tempfile::tempdir().unwrap();
        let file = |content: &str| {
            let path = directory.path().join(content.replace("-in-a-file", ".secret"));
            std::fs::write(&path, content).unwrap();
            path.display().to_string()
        };
        let (well, unauthorized, down, refusing) =
            (receiver().await, receiver().await, receiver().await, receiver().await);
        unauthorized.answer_with(|_| Reply::status(401).text("who are you?"));
        down.stop().await;
        refusing.answer_with(|_| Reply::status(400).text("no"));
        let more = directory.path().join("more.yml");
        std::fs::write(&more, format!("- {{name: keyed, url: '{}?api_key=key-in-a-url'}}", down.url())).unwrap();
        let program = Setup::new()
            .log_level("trace")
            .top(&format!("remote_write_files: ['{}']", more.display()))
            .endpoint_with(
                "well",
                &well,
                "basic_auth: {username: writer, password: pw-inline}, headers: {X-Api-Key: key-inline}",
            )
            .endpoint_with(
                "unauthorized",
                &unauthorized,
                &format!("basic_auth: {{username: writer, password_file: '{}'}}", file("pw-in-a-file")),
            )
            .endpoint_with(
                "down",
                &down,
                "authorization: {credentials: token-inline}, http_headers: {X-B: {secrets: [key-inline]}}",
            )
            .endpoint_with(
                "refusing",
                &refusing,
                &format!(
                    "authorization: {{credentials_file: '{}'}}, http_headers: {{X-C: {{files: ['{}']}}}}",
                    file("token-in-a-file"),
                    file("key-in-a-file")
                ),
            )
            .start_program()
            .await;
        push(&program, "up", 1_000).await;
        takes(&well, 1).await;
        for sink in [&unauthorized, &refusing] {
            sink.wait_until(PATIENCE, |stats| stats.requests > 0).await.unwrap();
        }
        eventually("every endpoint has its trouble", || async {
            let page = program.admin("/metrics").await;
            let codes: BTreeSet<&str> =
                metric(&page, "remote_write_requests_total").into_iter().map(|(labels, _)| labels).collect();
            (codes.len() >= 5).then_some(())
        })
        .await;
        let pages = ["/metrics", "/api/v1/config", "/api/v1/status", "/api/v1/ledger", "/api/v1/dead_letters"];
        let mut texts = vec![("the log", program.log())];
        for page in pages {
            texts.push((page, program.admin(page).await));
        }
        for (place, text) in &texts {
            assert!(!text.is_empty(), "{place}");
            for secret in SECRETS {
                assert!(!text.contains(secret), "{place} has {secret}: {text}");
            }
        }
        assert!(well.requests()[0].header("x-api-key") == Some("key-inline"), "it is sent, though");
        program.terminate().await;
    });
}

const KINDS: [&str; 3] = ["samples", "histograms", "exemplars"];

/// Sums a family of each kind, by the given labels.
fn sums<'p>(page: &'p str, family: &str, labels: &[&str]) -> BTreeMap<(&'static str, Vec<&'p str>), f64> {
    let mut sums = BTreeMap::new();
    for kind in KINDS {
        for (set, value) in metric(page, &family.replace("{}", kind)) {
            let key: Vec<&str> = labels.iter().map(|label| label_of(set, label)).collect();
            *sums.entry((kind, key)).or_default() += value;
        }
    }
    sums
}

fn label_of<'p>(set: &'p str, label: &str) -> &'p str {
    let start = set.find(&format!("{label}=\"")).unwrap_or_else(|| panic!("no {label} in {set}")) + label.len() + 2;
    set[start..].split('"').next().unwrap()
}

/// Checks the two equations on a page of metrics; how many samples have each fate.
fn assert_balance(page: &str) -> BTreeMap<&'static str, f64> {
    let received = sums(page, "writegate_received_{}_total", &["tenant"]);
    let accepted = sums(page, "writegate_accepted_{}_total", &["tenant"]);
    let refused = sums(page, "writegate_refused_{}_total", &["tenant"]);
    for (key, received) in &received {
        assert_eq!(*received, accepted[key] + refused[key], "received of {key:?}");
    }
    let fates = [
        ("delivered", "writegate_delivered_{}_total"),
        ("pending", "writegate_pending_{}"),
        ("dropped", "writegate_dropped_{}_total"),
        ("dead_letter", "writegate_dead_letter_{}_total"),
        ("expired", "writegate_expired_{}_total"),
    ];
    let mut totals = BTreeMap::from([("refused", refused.values().sum())]);
    let mut booked: BTreeMap<(&'static str, Vec<&str>), f64> = BTreeMap::new();
    for (fate, family) in fates {
        for (key, value) in sums(page, family, &["tenant", "endpoint"]) {
            *booked.entry(key).or_default() += value;
            *totals.entry(fate).or_default() += value;
        }
    }
    assert!(!booked.is_empty());
    for ((kind, key), booked) in booked {
        let accepted = accepted[&(kind, vec![key[0]])];
        assert_eq!(accepted, booked, "accepted {kind} of {key:?}");
    }
    totals
}

#[test]
fn w84_received_is_refused_and_accepted_and_accepted_is_in_one_place_by_the_metrics_alone() {
    bounded(async {
        let judge = Judge::new(400).refusing(|series| {
            series.labels.iter().any(|label| label.value == b"poison").then(|| "not this one".to_owned())
        });
        let judging = EndpointSettings { judge: Some(judge), keep: Keep::Requests, ..EndpointSettings::default() };
        let (well, down, picky) = (receiver().await, receiver().await, receiver_that(judging).await);
        down.stop().await;
        let rules = "write_relabel_configs: [{source_labels: [__name__], regex: 'integer.*|up', action: drop}]";
        let gateway = Setup::new()
            .endpoint_with("well", &well, &format!("max_age: 10000d, {rules}"))
            .endpoint("down", &down)
            .endpoint_with("picky", &picky, "protobuf_message: prometheus.WriteRequest")
            .start()
            .await;
        // Not older than the limit but for the samples of 1970.
        let recent = 1_790_000_000_000;
        for (number, protocol) in (0..).zip([Protocol::V1, Protocol::V2]) {
            gateway.accept(protocol, &everything(recent + number)).await;
            gateway.accept(protocol, &everything(1_000 + number)).await;
            gateway
                .accept(protocol, &request([sample_of("up", recent + number), sample_of("poison", recent + number)]))
                .await;
            let nameless = series(&[("job", "test")]).histogram(integer_histogram(), recent).exemplar(1.0, recent);
            let nameless_sample = series(&[("job", "test")]).sample(1.0, recent);
            let answer =
                gateway.push(protocol, &request([nameless, nameless_sample, sample_of("ok", recent + number)])).await;
            assert_eq!(answer.status, 400, "{}", answer.text());
        }
        eventually("the endpoints that work have everything", || async {
            let (well, picky) = (gateway.ledger("default", "well").await, gateway.ledger("default", "picky").await);
            let pending =
                [&well.samples, &well.histograms, &well.exemplars, &picky.samples, &picky.histograms, &picky.exemplars];
            pending.iter().all(|book| book.pending == 0).then_some(())
        })
        .await;
        let totals = assert_balance(&gateway.admin("/metrics").await);
        for fate in ["refused", "delivered", "pending", "dropped", "dead_letter", "expired"] {
            assert!(totals.get(fate).is_some_and(|total| *total > 0.0), "nothing is {fate}: {totals:?}");
        }
        down.start().await.unwrap();
        gateway.settled().await;
        let totals = assert_balance(&gateway.admin("/metrics").await);
        assert_eq!(totals["pending"], 0.0);
        gateway.finish().await;
    });
}

#[test]
fn w84_accepted_is_in_one_place_by_the_metrics_alone_also_after_a_restart() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint("a", &sink).start().await;
        gateway.accept(Protocol::V1, &everything(1_000)).await;
        gateway.settled().await;
        let gateway = gateway.restart().await;
        gateway.accept(Protocol::V1, &everything(2_000)).await;
        gateway.settled().await;
        assert_balance(&gateway.admin("/metrics").await);
        gateway.finish().await;
    });
}

#[test]
fn r_o2_one_push_is_one_request_at_each_of_three_endpoints_with_equal_bodies() {
    bounded(async {
        for protocol in [Protocol::V1, Protocol::V2] {
            let sinks = [receiver().await, receiver().await, receiver().await];
            let [a, b, c] = &sinks;
            let gateway = Setup::new().endpoint("a", a).endpoint("b", b).endpoint("c", c).start().await;
            let sent = everything(1_000);
            gateway.accept(protocol, &sent).await;
            gateway.settled().await;
            let bodies: Vec<_> = sinks.iter().flat_map(|sink| sink.requests()).map(|received| received.body).collect();
            assert_eq!(bodies.len(), 3, "one request each");
            assert!(bodies.iter().all(|body| *body == bodies[0]), "equal bodies");
            sinks.iter().for_each(|sink| assert_exactly(sink, &points(&sent)));
            gateway.finish().await;
        }
    });
}

#[test]
fn r_o7_each_endpoint_has_a_timeout_of_its_own() {
    bounded(async {
        let (impatient, patient) = (receiver().await, receiver().await);
        for sink in [&impatient, &patient] {
            sink.answer_with(|_| Reply::hang());
        }
        let gateway = Setup::new()
            .endpoint_with("impatient", &impatient, &format!("remote_timeout: 200ms, {QUICK}"))
            .endpoint_with("patient", &patient, &format!("remote_timeout: 60s, {QUICK}"))
            .start()
            .await;
        let sent = request([sample_of("up", 1_000)]);
        gateway.accept(Protocol::V1, &sent).await;
        impatient.wait_until(PATIENCE, |stats| stats.requests >= 4).await.unwrap();
        assert_eq!((patient.stats().requests, patient.stats().in_flight), (1, 1));
        for sink in [&impatient, &patient] {
            sink.recover();
            sink.stop().await;
            sink.start().await.unwrap();
        }
        gateway.settled().await;
        for sink in [&impatient, &patient] {
            assert_exactly(sink, &points(&sent));
        }
        gateway.finish().await;
    });
}

#[test]
fn r_o7_requests_one_after_the_other_share_a_connection() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint_with("a", &sink, QUICK).start().await;
        for timestamp in 1..=60 {
            // Answers that are not successes leave the connection as good as it was.
            sink.script((timestamp % 10 == 0).then(|| Reply::status(503).text("not now")));
            gateway.accept(Protocol::V1, &request([sample_of("up", timestamp)])).await;
            gateway.settled().await;
        }
        assert_eq!((sink.stats().requests, sink.stats().connections), (66, 1));
        gateway.finish().await;
    });
}

#[test]
fn r_o7_under_load_there_are_about_as_many_connections_as_requests_in_flight() {
    bounded(async {
        let sink = receiver_that(EndpointSettings::default()).await;
        let gateway = Setup::new().endpoint("a", &sink).start().await;
        let report = gateway.sender().run(&small_load(30)).await;
        gateway.settled().await;
        let stats = sink.stats();
        assert_eq!(stats.taken.samples, report.sent.samples);
        assert!(stats.connections <= 64 && stats.connections * 3 <= stats.requests, "{stats:?}");
        gateway.finish().await;
    });
}

#[test]
fn r_o11_an_endpoint_that_is_removed_and_comes_back_by_its_name_goes_on_where_it_was() {
    bounded(async {
        let (a, b) = (receiver().await, receiver().await);
        let without = || Setup::new().endpoint("b", &b);
        let with = || without().endpoint("a", &a);
        let mut gateway = with().start().await;
        let mut sent = Vec::new();
        let mut number = 0;
        let mut some = async |gateway: &TestGateway| {
            for _ in 0..5 {
                number += 1;
                let one = request([sample_of("up", number)]);
                gateway.accept(Protocol::V1, &one).await;
                sent.extend(points(&one));
            }
        };
        some(&gateway).await;
        gateway.settled().await;
        a.stop().await;
        some(&gateway).await;
        takes(&b, 10).await;

        gateway.reload(without()).await;
        a.start().await.unwrap();
        some(&gateway).await;
        takes(&b, 15).await;
        let row = gateway.ledger("default", "a").await;
        assert_eq!((row.state.as_str(), row.samples.delivered, row.samples.expired), ("removed", 5, 0));
        assert_eq!(gateway.ledger("default", "b").await.state, "active");
        assert_eq!(a.stats().taken.samples, 5, "a removed endpoint gets nothing");
        let page = gateway.admin("/metrics").await;
        let ages = metric(&page, "writegate_oldest_unsent_age_seconds");
        assert!(ages.iter().all(|(labels, _)| !labels.contains(r#"endpoint="a""#)), "nobody is alarmed: {ages:?}");

        // It stays removed over a restart, and its cursor with it.
        let mut gateway = gateway.restart().await;
        assert_eq!(gateway.ledger("default", "a").await.state, "removed");
        gateway.reload(with()).await;
        some(&gateway).await;
        gateway.settled().await;
        assert_eq!(gateway.ledger("default", "a").await.state, "active");
        for sink in [&a, &b] {
            assert_exactly(sink, &sent);
        }
        gateway.finish().await;
    });
}

#[test]
fn r_o11_an_endpoint_that_goes_and_comes_back_under_load_misses_nothing_and_gets_nothing_twice() {
    bounded(async {
        let (a, b) =
            (receiver_that(EndpointSettings::default()).await, receiver_that(EndpointSettings::default()).await);
        a.answer_with(|_| Reply::healthy().after(Duration::from_millis(3)));
        let without = || Setup::new().endpoint("b", &b);
        let with = || without().endpoint("a", &a);
        let mut gateway = with().start().await;
        let mut load = small_load(0);
        load.rounds = None;
        load.rate = Some(8_000.0);
        let run = gateway.sender().start(&load);
        // A tenant's first record finds the endpoint there: from then on it misses nothing.
        takes(&a, 1).await;
        for _ in 0..5 {
            for (setup, awaited) in [(without(), &b), (with(), &a)] {
                gateway.reload(setup).await;
                let taken = awaited.stats().taken_requests;
                awaited.wait_until(PATIENCE, |stats| stats.taken_requests >= taken + 10).await.unwrap();
            }
        }
        let report = run.stop().await;
        assert_eq!((report.failures, report.refused.len()), (0, 0), "{report:?}");
        gateway.settled().await;
        for (name, sink) in [("a", &a), ("b", &b)] {
            sink.ledger(|ledger| {
                assert_eq!(ledger.missing(load.workload.points(report.acknowledged.iter().copied())), [], "{name}");
                assert_eq!((ledger.out_of_order(), ledger.duplicates()), ([].as_slice(), 0), "{name}");
            });
            assert_eq!(gateway.ledger("default", name).await.samples.delivered, report.sent.samples);
        }
        gateway.finish().await;
    });
}

#[test]
fn r_o11_another_url_under_the_same_name_gets_what_the_old_one_did_not() {
    bounded(async {
        let (old, new) = (receiver().await, receiver().await);
        let mut gateway = Setup::new().endpoint("a", &old).start().await;
        let requests = [1, 2, 3].map(|timestamp| request([sample_of("up", timestamp)]));
        gateway.accept(Protocol::V1, &requests[0]).await;
        gateway.settled().await;
        old.stop().await;
        gateway.accept(Protocol::V1, &requests[1]).await;
        gateway.reload(Setup::new().endpoint("a", &new)).await;
        gateway.accept(Protocol::V1, &requests[2]).await;
        gateway.settled().await;
        assert_exactly(&old, &points(&requests[0]));
        assert_exactly(&new, &[points(&requests[1]), points(&requests[2])].concat());
        assert_eq!(gateway.ledger("default", "a").await.samples.delivered, 3);
        gateway.finish().await;
    });
}

#[test]
fn r_o11_a_tenant_that_an_endpoint_does_not_take_any_more_is_removed_there_and_comes_back() {
    bounded(async {
        let sink = receiver().await;
        let setup = |tenants: &str| Setup::new().endpoint_with("a", &sink, &format!("tenants: [{tenants}]"));
        let mut gateway = setup("default").start().await;
        let requests = [1, 2, 3].map(|timestamp| request([sample_of("up", timestamp)]));
        gateway.accept(Protocol::V1, &requests[0]).await;
        gateway.settled().await;
        gateway.reload(setup("others")).await;
        gateway.accept(Protocol::V1, &requests[1]).await;
        assert_eq!(gateway.ledger("default", "a").await.state, "removed");
        assert_exactly(&sink, &points(&requests[0]));
        gateway.reload(setup("'def*'")).await;
        gateway.accept(Protocol::V1, &requests[2]).await;
        gateway.settled().await;
        assert_exactly(&sink, &requests.iter().flat_map(points).collect::<Vec<_>>());
        gateway.finish().await;
    });
}

#[test]
fn r_o12_requests_are_counted_by_code_and_name_under_both_names_with_stable_labels() {
    bounded(async {
        let (a, down) = (receiver().await, receiver().await);
        down.stop().await;
        let gateway = Setup::new().endpoint_with("a", &a, QUICK).endpoint_with("down", &down, QUICK).start().await;
        a.script([Reply::status(503), Reply::status(500), Reply::status(503), Reply::status(200).taking()]);
        gateway.accept(Protocol::V1, &request([sample_of("up", 1_000)])).await;
        gateway.accept(Protocol::V1, &request([sample_of("up", 2_000)])).await;
        takes(&a, 2).await;
        eventually("the endpoint that is down was tried", || async {
            let errors = gateway.metric(r#"remote_write_requests_total{code="<error>",name="down"}"#).await;
            (errors >= 3.0).then_some(())
        })
        .await;
        let page = gateway.admin("/metrics").await;
        for name in ["remote_write_requests_total", "remote_write_requests_count"] {
            let of_a: Vec<_> = metric(&page, name).into_iter().filter(|(set, _)| set.contains(r#"name="a""#)).collect();
            for (code, count) in [("200", 1.0), ("204", 1.0), ("500", 1.0), ("503", 2.0)] {
                let labels = format!(r#"{{code="{code}",name="a"}}"#);
                assert!(of_a.contains(&(labels.as_str(), count)), "{name}{labels}: {of_a:?}");
            }
            assert_eq!(of_a.len(), 4, "{of_a:?}");
        }
        let labels = format!(r#"{{remote_name="a",url="{}"}}"#, a.url());
        for (name, value) in [
            ("prometheus_remote_storage_samples_total", 5.0),
            ("prometheus_remote_storage_samples_retried_total", 3.0),
            ("prometheus_remote_storage_samples_failed_total", 0.0),
            ("prometheus_remote_storage_sent_batch_duration_seconds_count", 5.0),
        ] {
            assert_eq!(gateway.metric(&format!("{name}{labels}")).await, value, "{name}");
        }
        let buckets = metric(&page, "prometheus_remote_storage_sent_batch_duration_seconds_bucket");
        let buckets: Vec<f64> =
            buckets.into_iter().filter(|(set, _)| set.contains(r#"remote_name="a""#)).map(|(_, count)| count).collect();
        assert!(buckets.len() > 5 && buckets.is_sorted(), "{buckets:?}");
        assert_eq!(buckets.last(), Some(&5.0));
        down.start().await.unwrap();
        gateway.settle_and_finish().await;
    });
}

/// Takes a receiver down. Connections to it are refused, and its port stays its own, while the socket lives.
async fn refuses_connections(receiver: &Endpoint) -> TcpSocket {
    receiver.stop().await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(receiver.address()).unwrap();
    socket
}

/// The lines of a log that warn about an endpoint.
fn warnings<'l>(log: &'l str, endpoint: &str) -> Vec<&'l str> {
    let warns = |line: &&str| line.contains("WARN") || line.contains("ERROR");
    log.lines().filter(warns).filter(|line| line.contains(&format!("endpoint=\"{endpoint}\""))).collect()
}

/// Attempts at each of the endpoints that fail for ever.
const ATTEMPTS: f64 = 1_000.0;

#[test]
fn r_o13_endpoints_that_fail_thousands_of_times_write_a_line_a_minute_and_block_nobody() {
    bounded(async {
        let started = Instant::now();
        let (well, dead, failing, refusing) = (receiver().await, receiver().await, receiver().await, receiver().await);
        let refused = refuses_connections(&dead).await;
        failing.answer_with(|_| Reply::status(500).text("again and again"));
        refusing.answer_with(|_| Reply::status(400).text("never"));
        let quick = "queue_config: {min_backoff: 1ms, max_backoff: 1ms}";
        let program = Setup::new()
            .endpoint("well", &well)
            .endpoint_with("dead", &dead, quick)
            .endpoint_with("failing", &failing, quick)
            .endpoint_with("refusing", &refusing, quick)
            .start_program()
            .await;
        let mut timestamp = 0;
        eventually("thousands of attempts", || {
            timestamp += 1;
            let (program, timestamp) = (&program, timestamp);
            async move {
                push(program, "up", timestamp).await;
                let page = program.admin("/metrics").await;
                let attempts = metric(&page, "remote_write_requests_total");
                let at = |name: &str| -> f64 {
                    let own = attempts.iter().filter(|(set, _)| set.contains(&format!(r#"name="{name}""#)));
                    own.map(|(_, count)| count).sum()
                };
                (at("dead") >= ATTEMPTS && at("failing") >= ATTEMPTS && at("refusing") >= 50.0).then_some(())
            }
        })
        .await;
        takes(&well, timestamp as u64).await;
        let log = program.log();
        let minutes = started.elapsed().as_secs() / 60 + 1;
        for name in ["dead", "failing", "refusing"] {
            let lines = warnings(&log, name);
            assert!((1..=minutes as usize).contains(&lines.len()), "{name}: {} lines: {lines:#?}", lines.len());
        }
        for sink in [&failing, &refusing] {
            sink.recover();
        }
        drop(refused);
        dead.start().await.unwrap();
        program.settled().await;
        program.terminate().await;
    });
}

#[test]
fn r_o13_an_endpoint_that_fails_every_other_time_writes_a_line_a_minute_too() {
    bounded(async {
        let started = Instant::now();
        let flapping = receiver().await;
        flapping.answer_with(|received| match received.number % 2 {
            0 => Reply::status(503).text("every other time"),
            _ => Reply::healthy(),
        });
        let quick = "queue_config: {min_backoff: 1ms, max_backoff: 1ms}";
        let program = Setup::new().endpoint_with("flapping", &flapping, quick).start_program().await;
        for timestamp in 1..=200 {
            push(&program, "up", timestamp).await;
            takes(&flapping, timestamp as u64).await;
        }
        let minutes = started.elapsed().as_secs() / 60 + 1;
        let log = program.log();
        let lines = warnings(&log, "flapping");
        assert!((1..=minutes as usize).contains(&lines.len()), "{} lines, such as {:?}", lines.len(), lines.last());
        program.settled().await;
        program.terminate().await;
    });
}

async fn age(gateway: &TestGateway, endpoint: &str) -> f64 {
    let labels = format!(r#"{{tenant="default",endpoint="{endpoint}"}}"#);
    gateway.metric(&format!("writegate_oldest_unsent_age_seconds{labels}")).await
}

#[test]
fn r_s12_the_age_of_the_oldest_unsent_record_is_right_during_an_outage_and_after_it() {
    bounded(async {
        let (a, well) = (receiver().await, receiver().await);
        let gateway = Setup::new().endpoint_with("a", &a, QUICK).endpoint_with("well", &well, QUICK).start().await;
        gateway.accept(Protocol::V1, &request([sample_of("up", 1)])).await;
        gateway.settled().await;
        assert_eq!(age(&gateway, "a").await, 0.0);

        a.stop().await;
        let before = Instant::now();
        gateway.accept(Protocol::V1, &request([sample_of("up", 2)])).await;
        let after = Instant::now();
        takes(&well, 2).await;
        let mut grown = 0.0;
        for least in [0.2, 1.0, 2.0] {
            grown = eventually("the age grows", || async {
                let longest = before.elapsed().as_secs_f64();
                let shortest = after.elapsed().as_secs_f64();
                let age = age(&gateway, "a").await;
                let now = before.elapsed().as_secs_f64();
                assert!(age >= shortest - 0.1 && age <= now + 0.1, "{age} after {shortest} to {longest}");
                (age >= least).then_some(age)
            })
            .await;
        }
        // Younger records do not make it younger.
        gateway.accept(Protocol::V1, &request([sample_of("down", 1)])).await;
        assert!(age(&gateway, "a").await >= grown);
        eventually("the other endpoint is up to date", || async { (age(&gateway, "well").await == 0.0).then_some(()) })
            .await;
        a.start().await.unwrap();
        let recovery = Instant::now();
        eventually("nothing is unsent", || async { (age(&gateway, "a").await == 0.0).then_some(()) }).await;
        assert!(recovery.elapsed() < Duration::from_secs(5), "{:?}", recovery.elapsed());
        gateway.settle_and_finish().await;
    });
}

#[test]
fn r_s12_the_age_falls_step_by_step_while_an_endpoint_catches_up() {
    bounded(async {
        let a = receiver().await;
        let gateway = Setup::new().endpoint_with("a", &a, QUICK).start().await;
        a.answer_with(|_| Reply::status(503));
        gateway.accept(Protocol::V1, &request([sample_of("up", 1)])).await;
        eventually("the first is a second old", || async { (age(&gateway, "a").await > 1.0).then_some(()) }).await;
        gateway.accept(Protocol::V1, &request([sample_of("up", 2)])).await;
        // The endpoint takes the first of the series only.
        a.answer_with(|received| {
            let is_first = received.request().unwrap().series[0].samples[0].timestamp == 1;
            if is_first { Reply::healthy() } else { Reply::status(503) }
        });
        eventually("the age is the second's", || async {
            let age = age(&gateway, "a").await;
            (age > 0.0 && age < 1.0).then_some(())
        })
        .await;
        a.recover();
        gateway.settle_and_finish().await;
    });
}

#[test]
fn r_x18_batches_that_come_twice_and_samples_that_are_hours_old_are_accepted_and_forwarded() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint("a", &sink).start().await;
        let hour = 3_600_000;
        let (now, old) = (everything(10 * hour), everything(4 * hour));
        for protocol in [Protocol::V1, Protocol::V2] {
            for sent in [&now, &now, &old, &old] {
                gateway.accept(protocol, sent).await;
            }
        }
        gateway.settled().await;
        let count = |counts: Counts| counts.samples + counts.histograms + counts.exemplars;
        sink.ledger(|ledger| {
            assert_eq!(ledger.missing(points(&now)), []);
            assert_eq!(ledger.missing(points(&old)), []);
            let distinct = points(&now).len() + points(&old).len();
            assert_eq!(ledger.duplicates(), 3 * distinct as u64, "each came four times");
            assert_eq!(count(ledger.counts()), 4 * distinct as u64);
        });
        let row = gateway.ledger("default", "a").await;
        for book in [row.samples, row.histograms, row.exemplars] {
            assert_eq!((book.delivered, book.dropped.len()), (book.accepted, 0));
        }
        gateway.finish().await;
    });
}

#[test]
fn w83_every_metric_that_prometheus_stock_alerts_and_dashboards_ask_for_is_there_with_its_labels_and_agrees_with_the_endpoint()
 {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint("a", &sink).start().await;
        let sent = request([sample_of("up", 1_000), sample_of("down", 1_000)]);
        gateway.accept(Protocol::V1, &sent).await;
        gateway.settled().await;
        let labels = format!("{{remote_name=\"a\",url=\"{}\"}}", sink.url());
        let page = gateway.admin("/metrics").await;
        for (name, value) in [
            ("samples_total", Some(2.0)),
            ("samples_failed_total", Some(0.0)),
            ("samples_retried_total", Some(0.0)),
            ("samples_pending", Some(0.0)),
            ("histograms_total", Some(0.0)),
            ("exemplars_total", Some(0.0)),
            ("metadata_total", Some(0.0)),
            ("bytes_total", None),
            ("queue_highest_timestamp_seconds", Some(1.0)),
            ("queue_highest_sent_timestamp_seconds", Some(1.0)),
            ("shards", None),
            ("shards_min", None),
            ("shards_max", None),
            ("shards_desired", None),
            ("shard_capacity", None),
            ("max_samples_per_send", Some(10_000.0)),
            ("sent_batch_duration_seconds_count", Some(1.0)),
        ] {
            let series = format!("prometheus_remote_storage_{name}{labels} ");
            let line = page.lines().find_map(|line| line.strip_prefix(&series));
            let line = line.unwrap_or_else(|| panic!("{series}is missing:\n{page}"));
            let found: f64 = line.parse().unwrap();
            assert!(value.is_none_or(|value| value == found), "{series}{found}");
        }
        let stats = sink.stats();
        assert_eq!(stats.taken.samples, 2);
        let bytes =
            page.lines().find_map(|line| line.strip_prefix(&format!("prometheus_remote_storage_bytes_total{labels} ")));
        assert_eq!(bytes.unwrap().parse::<u64>().unwrap(), stats.body_bytes);
        assert!(page.contains("prometheus_remote_storage_samples_in_total 2"), "{page}");
        gateway.finish().await;
    });
}

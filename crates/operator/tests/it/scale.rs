//! How fast, how much, and how little when nothing happens. Figures are printed; what they must keep to is asserted.
//!
//! `WRITEGATE_REST_SECONDS` (3) is how long nothing may be written, `WRITEGATE_SECRETS` (2,000) how many Secrets of others there are.

use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use crate::harness::{Cluster, KEY, LIMIT};

/// What is promised of a change, and of 100 Prometheus objects with 200 targets, which is planned ten times as long where nothing is
/// optimised.
const CHANGE: Duration = Duration::from_secs(2);
const ALL: Duration = Duration::from_secs(if cfg!(debug_assertions) { 90 } else { 30 });

pub(crate) fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

fn plain(url: &str) -> Json {
    json!({"clusterSelector": {}, "remoteWrite": {"url": url}})
}

#[expect(clippy::print_stderr, reason = "a figure for people")]
fn figure(what: &str, value: &str) {
    eprintln!("figure: {what}: {value}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_change_is_applied_within_two_seconds() {
    let cluster = Cluster::new("").await;
    cluster.namespace("team", &[(KEY, "target")]);
    let target = |host: &str| json!({"remote-write": format!("url: https://{host}/\nauthorization: {{credentials: {{name: cred, key: t}}}}")});
    cluster.secret("team", "target", json!({}), target("a.example"));
    cluster.secret("team", "cred", json!({}), json!({"t": "0"}));
    cluster.prometheus("platform-services", "team", json!({}), json!({}));
    cluster.remote_write("team", "x", plain("https://x.example/"));
    let _operator = cluster.operator();
    cluster.reason("team", "Applied").await;
    cluster.ready_reason("team", "x", "Applied").await;
    let names = || cluster.names("platform-services", "team");
    let url = |name: &str| {
        let entries = cluster.entries("platform-services", "team");
        entries.into_iter().find(|entry| entry["name"] == name).map(|entry| entry["url"].clone()).unwrap_or_default()
    };
    for kind in ["Namespace", "Secret of the target", "Secret it names", "RemoteWrite", "Prometheus"] {
        let mut took: Vec<Duration> = Vec::new();
        for round in 1..=5 {
            let host = format!("{}-{round}.example", kind.to_ascii_lowercase().replace(' ', "-"));
            let expected = json!(format!("https://{host}/"));
            let began = Instant::now();
            match kind {
                "Namespace" => {
                    cluster.annotate("team", KEY, Json::Null);
                    cluster.until(kind, || names() == ["x"]).await;
                    cluster.annotate("team", KEY, json!("target"));
                    cluster.until(kind, || names() == ["x", "annotation/team"]).await;
                }
                "Secret of the target" => {
                    cluster.secret("team", "target", json!({}), target(&host));
                    cluster.until(kind, || url("annotation/team") == expected).await;
                }
                "Secret it names" => {
                    cluster.secret("team", "cred", json!({}), json!({"t": round.to_string()}));
                    let encoded = ["MQ==", "Mg==", "Mw==", "NA==", "NQ=="][round - 1];
                    let copy = || cluster.secrets("platform-services").get("custom-remote-write-cred-team");
                    cluster.until(kind, || copy().is_ok_and(|copy| copy["data"]["t"] == encoded)).await;
                }
                "RemoteWrite" => {
                    let change = json!({"spec": {"remoteWrite": {"url": expected}}});
                    cluster.remote_writes("team").merge("x", &change).unwrap();
                    cluster.until(kind, || url("x") == expected).await;
                }
                _ => {
                    let name = format!("p-{round}");
                    cluster.prometheus("platform-services", &name, json!({}), json!({}));
                    cluster.until(kind, || cluster.names("platform-services", &name) == ["x"]).await;
                }
            }
            took.push(began.elapsed());
        }
        took.sort();
        figure(kind, &format!("{:?}, at most {:?}", took[2], took[4]));
        assert!(took[2] < CHANGE, "{kind}: {took:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_at_rest() {
    let cluster = Cluster::new("default_target: {name: d, url: 'https://d.example/'}").await;
    cluster.namespace("team", &[(KEY, "target")]);
    cluster.namespace("broken", &[(KEY, "nowhere")]);
    cluster.secret("team", "target", json!({}), json!({"remote-write": "url: https://x.example/"}));
    for name in ["team", "broken", "other"] {
        cluster.prometheus("platform-services", name, json!({}), json!({}));
    }
    cluster.remote_write("team", "x", plain("https://x.example/"));
    cluster.remote_write("team", "bad", plain(""));
    let operator = cluster.operator();
    cluster.reason("team", "Applied").await;
    cluster.reason("broken", "SecretMissing").await;
    cluster.ready_reason("team", "x", "Applied").await;
    cluster.ready_reason("team", "bad", "SpecInvalid").await;
    cluster.until("all is told", || cluster.events("team").len() == 3).await;
    let before = cluster.writes();
    let rest = Duration::from_secs(number("WRITEGATE_REST_SECONDS", 3) as u64);
    tokio::time::timeout(rest, std::future::pending::<()>()).await.unwrap_err();
    figure("writes at rest", &format!("{} in {rest:?}", cluster.writes() - before));
    assert_eq!(cluster.writes(), before);
    assert_eq!(operator.get("/-/ready").0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn r_g23_two_hundred_objects_and_a_hundred_prometheuses_come_to_rest() {
    let cluster = Cluster::new("").await;
    cluster.namespace("monitoring", &[]);
    for index in 0..100 {
        cluster.prometheus("monitoring", &format!("p-{index}"), json!({}), json!({}));
    }
    for index in 0..200 {
        cluster.remote_write("monitoring", &format!("rw-{index}"), plain("https://x.example/"));
    }
    let began = Instant::now();
    let operator = cluster.operator();
    let is_everywhere = |index: &usize| {
        let object = cluster.remote_writes("monitoring").get(&format!("rw-{index}")).unwrap();
        object["status"]["configuredPrometheuses"].as_array().is_some_and(|list| list.len() == 100)
    };
    // In turn, so that looking costs the machine little.
    for index in 0..200 {
        cluster.within(ALL, "everything is applied", || is_everywhere(&index)).await;
    }
    let took = began.elapsed();
    let plans = |what: &str| operator.metric(&format!("writegate_operator_{what} ")).unwrap_or_default();
    let planning = format!("{} plans, {:.1} s", plans("plans_total"), plans("plan_seconds_total"));
    figure(
        "200 targets in 100 Prometheus objects",
        &format!("{took:?}, {planning}, {} MiB", operator.peak_memory() >> 20),
    );
    assert!(took < ALL, "{took:?}");
    let writes = cluster.server.writes();
    let patches = writes.iter().filter(|write| write.is_on("prometheuses") && write.code < 300).count();
    assert_eq!(patches, 100, "one write each");
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_that_nobody_names_cost_little() {
    let cluster = Cluster::new("").await;
    let many = number("WRITEGATE_SECRETS", 2_000);
    for index in 0..many {
        let name = format!("helm-release-{index}");
        // As `kubectl apply` leaves them: the annotation repeats what the Secret holds.
        let annotations = json!({"kubectl.kubernetes.io/last-applied-configuration": "x".repeat(2_000)});
        cluster.secret("writegate", &name, annotations, json!({"release": "y".repeat(4_000)}));
    }
    cluster.namespace("team", &[(KEY, "target")]);
    cluster.secret("team", "target", json!({}), json!({"remote-write": "url: https://x.example/"}));
    cluster.prometheus("platform-services", "team", json!({}), json!({}));
    let began = Instant::now();
    let operator = cluster.operator();
    cluster.within(LIMIT, "the target is applied", || cluster.names("platform-services", "team").len() == 1).await;
    let (took, peak) = (began.elapsed(), operator.peak_memory());
    figure(&format!("start with {many} Secrets"), &format!("{took:?}, {} MiB at most", peak >> 20));
    assert!(peak < 128 << 20, "{} MiB", peak >> 20);
}

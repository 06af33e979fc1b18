//! What the API server does to a client: conflicts, errors, cuts, compaction; many objects at once; and what is never told.

use std::time::Duration;

use kube_double::Act;
use serde_json::{Value as Json, json};

use crate::harness::{Cluster, KEY};

fn plain(url: &str) -> Json {
    json!({"clusterSelector": {}, "remoteWrite": {"url": url}})
}

#[tokio::test(flavor = "multi_thread")]
async fn r_g18_no_concurrent_edit_is_lost_and_errors_are_tried_again_within_seconds() {
    let cluster = Cluster::new("").await;
    cluster.namespace("monitoring", &[]);
    cluster.prometheus("monitoring", "p", json!({}), json!({"remoteWrite": []}));
    let _operator = cluster.operator();
    cluster.remote_write("monitoring", "x", plain("https://0.example/"));
    // Another writer appends entries of its own while the target changes.
    let mut made = 0;
    for round in 0..500 {
        loop {
            let mut object = cluster.prometheuses("monitoring").get("p").unwrap();
            let entry = json!({"name": format!("foreign-{round}"), "url": "http://foreign/"});
            object["spec"]["remoteWrite"].as_array_mut().unwrap().push(entry);
            if cluster.prometheuses("monitoring").update(&object).is_ok() {
                made += 1;
                break;
            }
        }
        cluster
            .remote_writes("monitoring")
            .merge("x", &json!({"spec": {"remoteWrite": {"url": format!("https://{round}.example/")}}}))
            .unwrap();
        tokio::task::yield_now().await;
    }
    let there = || cluster.entries("monitoring", "p");
    cluster
        .until("the last change is applied", || there().iter().any(|entry| entry["url"] == "https://499.example/"))
        .await;
    let foreign: Vec<Json> = there().into_iter().filter(|entry| entry["url"] == "http://foreign/").collect();
    let names: Vec<Json> =
        (0..made).map(|round| json!({"name": format!("foreign-{round}"), "url": "http://foreign/"})).collect();
    assert_eq!(foreign, names);
    assert_eq!(there().iter().filter(|entry| entry["name"] == "x").count(), 1);

    cluster.server.fault(3, Act::answer(500), |request| request.verb.is_write() && request.is_on("prometheuses"));
    cluster.server.fault(2, Act::answer(409), |request| request.verb.is_write() && request.is_on("prometheuses"));
    cluster
        .remote_writes("monitoring")
        .merge("x", &json!({"spec": {"remoteWrite": {"url": "https://after.example/"}}}))
        .unwrap();
    cluster
        .until("it is applied after errors", || there().iter().any(|entry| entry["url"] == "https://after.example/"))
        .await;
    assert_eq!(cluster.server.faults_left(), 0);
    cluster.ready_reason("monitoring", "x", "Applied").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_is_refused_again_and_again_is_told_and_mended() {
    let cluster = Cluster::new("").await;
    cluster.namespace("monitoring", &[]);
    cluster.prometheus("monitoring", "p", json!({}), json!({"remoteWrite": []}));
    cluster.server.fault(100_000, Act::answer(403), |request| request.verb.is_write() && request.is_on("prometheuses"));
    let operator = cluster.operator();
    cluster.remote_write("monitoring", "x", plain("https://x.example/"));
    cluster.ready_reason("monitoring", "x", "ApplyFailed").await;
    let message = cluster.ready("monitoring", "x")["message"].as_str().unwrap().to_owned();
    assert!(
        message.contains("the Prometheus monitoring/p could not be changed") && message.contains("403"),
        "{message}"
    );
    let told = || operator.log().contains("could not be done");
    cluster.until("the log says so", told).await;
    cluster.server.clear_faults();
    cluster.ready_reason("monitoring", "x", "Applied").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_survive_whatever_ends_them_and_an_api_server_that_goes_away() {
    let cluster = Cluster::new("").await;
    cluster.namespace("monitoring", &[]);
    cluster.prometheus("monitoring", "p", json!({}), json!({"remoteWrite": []}));
    let operator = cluster.operator();
    cluster.remote_write("monitoring", "x", plain("https://0.example/"));
    let url = || cluster.entries("monitoring", "p").first().map(|entry| entry["url"].clone()).unwrap_or_default();
    cluster.until("it is applied", || url() == "https://0.example/").await;
    for (round, disturb) in ["close", "compact", "cut", "down"].into_iter().enumerate() {
        match disturb {
            "close" => cluster.server.close_watches(),
            "compact" => {
                cluster.server.compact();
                cluster.server.cut_connections();
            }
            "cut" => cluster.server.cut_connections(),
            _ => cluster.server.set_down(true),
        }
        let next = format!("https://{}.example/", round + 1);
        cluster.remote_writes("monitoring").merge("x", &json!({"spec": {"remoteWrite": {"url": next}}})).unwrap();
        if disturb == "compact" {
            cluster.server.compact();
        }
        cluster.server.set_down(false);
        cluster.until(disturb, || url() == next.as_str()).await;
    }
    assert_eq!(operator.get("/-/ready").0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_that_come_later_are_found() {
    let cluster = Cluster::new("").await;
    cluster.namespace("monitoring", &[]);
    let definitions = cluster.server.objects("apiextensions.k8s.io/v1", "CustomResourceDefinition");
    definitions.delete("prometheuses.monitoring.coreos.com").unwrap();
    let operator = cluster.operator();
    cluster.remote_write("monitoring", "x", plain("https://x.example/"));
    cluster.ready_reason("monitoring", "x", "NothingSelected").await;
    assert_eq!(operator.get("/-/ready").0, 200);
    cluster.server.install(include_str!("prometheus-operator.yaml")).unwrap();
    cluster.prometheus("monitoring", "p", json!({}), json!({}));
    cluster.until("it is applied", || cluster.names("monitoring", "p") == ["x"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r_g20_no_secret_is_ever_in_a_log_an_event_a_status_or_a_metric() {
    let cluster = Cluster::new("").await;
    cluster.namespace("monitoring", &[]);
    cluster.namespace("team", &[(KEY, "target")]);
    cluster.prometheus("platform-services", "team", json!({}), json!({}));
    let operator = cluster.operator_with(&[("RUST_LOG", "debug")]);
    let secret = "hunter2secret";
    cluster.secret("team", "cred", json!({}), json!({"pass": secret}));
    for (written, reason) in [
        (
            format!(
                "url: https://x.example/?token={secret}\nauthorization: {{credentials: {{name: cred, key: pass}}}}"
            ),
            "Applied",
        ),
        (format!("url: https://x.example/\nbearerToken: {{a: {secret}}}"), "SpecInvalid"),
        (format!("url: https://u:{secret}@x.example/"), "SpecInvalid"),
        (format!("url: https://x.example/\nbasicAuth: {{password: {secret}}}"), "SpecInvalid"),
        (format!("url: https://x.example/\nproxyUrl: http://u:{secret}@10.0.0.1/"), "ProxyNotAllowed"),
        (format!("url: https://x.example/\nheaders: {{X-Token: {secret}, Host: {secret}}}"), "SpecInvalid"),
    ] {
        cluster.secret("team", "target", json!({}), json!({"remote-write": written}));
        let marker = json!({"metadata": {"annotations": {"writegate.io/remote-write-status": null}}});
        cluster.server.objects("v1", "Namespace").merge("team", &marker).unwrap();
        cluster.reason("team", reason).await;
    }
    cluster.remote_write(
        "monitoring",
        "x",
        json!({
            "clusterSelector": {},
            "remoteWrite": {"url": "https://x.example/", "bearerToken": secret, "bogus": secret},
            "secrets": [{"name": "s", "stringData": {"k": secret}}],
        }),
    );
    cluster.ready_reason("monitoring", "x", "SpecInvalid").await;
    cluster.server.fault(3, Act::answer(500), |request| request.is_on("secrets"));
    cluster
        .remote_writes("monitoring")
        .merge("x", &json!({"spec": {"remoteWrite": {"bogus": null, "bearerToken": null}}}))
        .unwrap();
    cluster.ready_reason("monitoring", "x", "Applied").await;
    let encoded = "aHVudGVyMnNlY3JldA";
    let told = [
        operator.log(),
        operator.get("/metrics").1,
        format!("{:?}", cluster.server.objects("v1", "Event").list().unwrap()),
        format!("{:?}", cluster.server.objects("v1", "Namespace").list().unwrap()),
        cluster.remote_writes("monitoring").get("x").unwrap()["status"].to_string(),
    ];
    for (index, told) in told.iter().enumerate() {
        assert!(!told.contains(secret) && !told.contains(encoded), "{index}: {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r_g23_two_hundred_objects_and_a_hundred_prometheuses_come_to_rest() {
    let cluster = Cluster::new("policies: {max_targets_per_namespace: 200}").await;
    cluster.namespace("monitoring", &[]);
    for index in 0..100 {
        cluster.prometheus("monitoring", &format!("p-{index}"), json!({}), json!({}));
    }
    for index in 0..200 {
        cluster.remote_write("monitoring", &format!("rw-{index}"), plain("https://x.example/"));
    }
    let _operator = cluster.operator();
    let done = || {
        let all = cluster.remote_writes("monitoring").list().unwrap();
        all.iter()
            .all(|object| object["status"]["configuredPrometheuses"].as_array().is_some_and(|list| list.len() == 100))
    };
    cluster.within(Duration::from_secs(180), "everything is applied", done).await;
    let patches = cluster.server.writes(crate::harness::USER);
    let patches =
        patches.iter().filter(|exchange| exchange.request.resource == "prometheuses" && exchange.changed).count();
    assert_eq!(patches, 100, "one write each");
}

//! What the API server does to a client: conflicts, errors, cuts, compaction, refusals; and what is never told.
//!
//! `WRITEGATE_EDITS` (200) is how often each of two writers edits one Prometheus object.

use std::time::Duration;

use kube_double::{Act, Verb};
use serde_json::{Value as Json, json};

use crate::harness::{Cluster, KEY};
use crate::scale::number;

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
    let edits = number("WRITEGATE_EDITS", 200);
    for round in 0..edits {
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
    let last = format!("https://{}.example/", edits - 1);
    cluster.until("the last change is applied", || there().iter().any(|entry| entry["url"] == last.as_str())).await;
    let foreign: Vec<Json> = there().into_iter().filter(|entry| entry["url"] == "http://foreign/").collect();
    let names: Vec<Json> =
        (0..made).map(|round| json!({"name": format!("foreign-{round}"), "url": "http://foreign/"})).collect();
    assert_eq!(foreign, names);
    assert_eq!(there().iter().filter(|entry| entry["name"] == "x").count(), 1);

    let Some(double) = cluster.server.double() else { return };
    double.fault(3, Act::answer(500), |request| request.verb.is_write() && request.is_on("prometheuses"));
    double.fault(2, Act::answer(409), |request| request.verb.is_write() && request.is_on("prometheuses"));
    cluster
        .remote_writes("monitoring")
        .merge("x", &json!({"spec": {"remoteWrite": {"url": "https://after.example/"}}}))
        .unwrap();
    cluster
        .until("it is applied after errors", || there().iter().any(|entry| entry["url"] == "https://after.example/"))
        .await;
    assert_eq!(double.faults_left(), 0);
    cluster.ready_reason("monitoring", "x", "Applied").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_with_what_is_wanted_no_more_delays_nothing() {
    let cluster = Cluster::new("prometheus_template: {spec: {replicas: 1}}").await;
    for namespace in ["monitoring", "a", "b", "c"] {
        cluster.namespace(namespace, &[(KEY, "target")]);
        cluster.secret(namespace, "target", json!({}), json!({"remote-write": "url: https://x.example/"}));
    }
    // The first change of the object meets a conflict. When it could be tried again it is on its way to Prometheus objects that are
    // there by then, and nothing is told of it for a while.
    if let Some(double) = cluster.server.double() {
        double.fault(1, Act::answer(409), |request| request.verb.is_write() && request.is_on("remotewrites/status"));
        double.fault(16, Act::answer(409), |request| request.verb == Verb::Patch && request.is_on("prometheuses"));
    }
    cluster.remote_write("monitoring", "x", plain("https://x.example/"));
    let _operator = cluster.operator();
    let applied = || cluster.ready("monitoring", "x")["message"] == "applied to 4 Prometheus objects";
    cluster.within(Duration::from_secs(15), "it is told at once", applied).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_is_refused_again_and_again_is_told_and_mended() {
    let cluster = Cluster::new("").await;
    cluster.namespace("monitoring", &[]);
    cluster.prometheus("monitoring", "p", json!({}), json!({"remoteWrite": []}));
    let Some(double) = cluster.server.double() else { return };
    double.fault(100_000, Act::answer(403), |request| request.verb.is_write() && request.is_on("prometheuses"));
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
    double.clear_faults();
    cluster.ready_reason("monitoring", "x", "Applied").await;
}

/// Narrows the definition of Prometheus: fewer shards, no field that it does not name, no host called `forbidden`.
async fn narrow_the_definition(cluster: &Cluster) {
    let definitions = cluster.server.objects("apiextensions.k8s.io/v1", "CustomResourceDefinition");
    let mut definition = definitions.get("prometheuses.monitoring.coreos.com").unwrap();
    let spec = definition.pointer_mut("/spec/versions/0/schema/openAPIV3Schema/properties/spec").unwrap();
    spec["x-kubernetes-validations"] = json!([{
        "rule": "!has(self.remoteWrite) || self.remoteWrite.all(e, !e.url.startsWith('https://forbidden'))",
        "message": "no entry may send there",
    }]);
    let list = &mut spec["properties"]["remoteWrite"];
    list["maxItems"] = json!(100);
    let entry = list["items"].as_object_mut().unwrap();
    entry.remove("x-kubernetes-preserve-unknown-fields");
    let fields = entry["properties"].as_object_mut().unwrap();
    fields.remove("roundRobinDNS");
    fields["url"]["maxLength"] = json!(500);
    fields["queueConfig"]["properties"]["maxShards"] = json!({"type": "integer", "maximum": 100});
    definitions.update(&definition).unwrap();
    // A real server takes its time to go by it.
    let probe = json!({
        "apiVersion": "monitoring.coreos.com/v1", "kind": "Prometheus",
        "metadata": {"generateName": "probe-", "labels": {"app.kubernetes.io/name": "prometheus-agent"}},
        "spec": {"remoteWrite": [{"url": "https://forbidden.example/"}]},
    });
    let probe = || cluster.prometheuses("writegate").create(&probe).is_err_and(|refused| refused.code == 422);
    cluster.until("the definition is in effect", probe).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_the_api_server_does_not_take_costs_no_other() {
    let cluster = Cluster::new("").await;
    cluster.namespace("monitoring", &[]);
    narrow_the_definition(&cluster).await;
    cluster.prometheus(
        "monitoring",
        "p",
        json!({}),
        json!({"remoteWrite": [{"name": "theirs", "url": "http://foreign/"}]}),
    );
    cluster.prometheus("monitoring", "q", json!({}), json!({}));
    let secret = "hunter2secret";
    let target = |url: &str, more: Json| {
        let mut spec = plain(url);
        spec["remoteWrite"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec
    };
    let shards = |number: u32| target("https://shards.example/", json!({"queueConfig": {"maxShards": number}}));
    cluster.remote_write("monitoring", "good", plain("https://good.example/"));
    cluster.remote_write("monitoring", "shards", shards(1000));
    cluster.remote_write(
        "monitoring",
        "unknown",
        target("https://unknown.example/", json!({"roundRobinDNS": true, "bearerToken": secret})),
    );
    cluster.remote_write("monitoring", "rule", plain("https://forbidden.example/"));
    cluster.remote_write("monitoring", "well", plain("https://well.example/"));
    let operator = cluster.operator_with(&[("RUST_LOG", "debug")]);
    for (name, says) in [
        ("shards", "queueConfig.maxShards"),
        ("unknown", "roundRobinDNS"),
        ("rule", "a rule of the cluster forbids it"),
    ] {
        cluster.ready_reason("monitoring", name, "EntryRefused").await;
        let message = cluster.ready("monitoring", name)["message"].to_string();
        assert!(message.contains(says) && message.contains("Prometheus monitoring/p"), "{message}");
    }
    for name in ["good", "well"] {
        cluster.ready_reason("monitoring", name, "Applied").await;
    }
    assert_eq!(cluster.names("monitoring", "p"), ["theirs", "good", "well"]);
    assert_eq!(cluster.names("monitoring", "q"), ["good", "well"]);
    let warned = || cluster.events("monitoring").iter().filter(|event| event.1 == "EntryRefused").count() == 3;
    cluster.until("their owners are told", warned).await;

    // What is mended is applied; what is spoilt leaves what was there.
    cluster.remote_writes("monitoring").merge("shards", &json!({"spec": shards(10)})).unwrap();
    cluster.ready_reason("monitoring", "shards", "Applied").await;
    assert_eq!(cluster.names("monitoring", "p"), ["theirs", "good", "well", "shards"]);
    cluster.remote_writes("monitoring").merge("shards", &json!({"spec": shards(1000)})).unwrap();
    cluster.ready_reason("monitoring", "shards", "EntryRefused").await;
    assert_eq!(cluster.entries("monitoring", "p")[3]["queueConfig"]["maxShards"], 10);
    cluster.remote_writes("monitoring").delete("good").unwrap();
    cluster.until("another goes on its way", || cluster.names("monitoring", "q") == ["well", "shards"]).await;
    assert!(!operator.log().contains(secret), "{}", operator.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_definition_fills_in_or_cuts_is_not_written_again_and_again() {
    let cluster = Cluster::new("").await;
    cluster.namespace("monitoring", &[]);
    let definitions = cluster.server.objects("apiextensions.k8s.io/v1", "CustomResourceDefinition");
    let mut definition = definitions.get("prometheuses.monitoring.coreos.com").unwrap();
    let fields = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/remoteWrite/items/properties";
    definition.pointer_mut(fields).unwrap()["remoteTimeout"] = json!({"type": "string", "default": "30s"});
    definitions.update(&definition).unwrap();
    // As Giant Swarm had it: without conditions.
    let mut definition = definitions.get("remotewrites.monitoring.giantswarm.io").unwrap();
    let status = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties";
    definition.pointer_mut(status).unwrap().as_object_mut().unwrap().remove("conditions");
    definitions.update(&definition).unwrap();
    cluster.prometheus("monitoring", "p", json!({}), json!({}));
    let operator = cluster.operator();
    cluster.remote_write("monitoring", "x", plain("https://x.example/"));
    let url = || cluster.entries("monitoring", "p").first().map(|entry| entry["url"].clone());
    cluster.until("it is applied", || url() == Some(json!("https://x.example/"))).await;
    cluster.until("what is cut is told", || operator.log().contains("took the change and made none")).await;
    let patches = || cluster.server.writes().iter().filter(|write| write.is_on("prometheuses")).count();
    let before = (patches(), cluster.writes());
    let change = json!({"spec": {"remoteWrite": {"url": "https://y.example/"}}});
    cluster.remote_writes("monitoring").merge("x", &change).unwrap();
    cluster.until("a change is applied", || url() == Some(json!("https://y.example/"))).await;
    cluster.until("and told", || !cluster.events("monitoring").is_empty()).await;
    assert_eq!(patches() - before.0, 1);
    assert!(cluster.writes() - before.1 < 10, "{}", cluster.writes() - before.1);
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
    let Some(double) = cluster.server.double() else { return };
    for (round, disturb) in ["close", "compact", "cut", "down"].into_iter().enumerate() {
        match disturb {
            "close" => double.close_watches(),
            "compact" => {
                double.compact();
                double.cut_connections();
            }
            "cut" => double.cut_connections(),
            _ => double.set_down(true),
        }
        let next = format!("https://{}.example/", round + 1);
        cluster.remote_writes("monitoring").merge("x", &json!({"spec": {"remoteWrite": {"url": next}}})).unwrap();
        if disturb == "compact" {
            double.compact();
        }
        double.set_down(false);
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
    cluster.server.install(&crate::harness::prometheus_operator()).unwrap();
    cluster.prometheus("monitoring", "p", json!({}), json!({}));
    cluster.until("it is applied", || cluster.names("monitoring", "p") == ["x"]).await;
}

fn metadata(objects: Vec<Json>) -> String {
    objects.iter().map(|object| object["metadata"].to_string()).collect()
}

fn explained(cluster: &Cluster) -> String {
    let explain = |namespace: &str| cluster.command().args(["explain", namespace, "--json"]).output().unwrap();
    [explain("team"), explain("monitoring")]
        .map(|said| String::from_utf8([said.stdout, said.stderr].concat()).unwrap())
        .concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn r_g20_no_secret_is_ever_in_a_log_an_event_a_status_or_a_metric() {
    let cluster = Cluster::new("").await;
    cluster.namespace("monitoring", &[]);
    cluster.namespace("team", &[(KEY, "target")]);
    cluster.prometheus("platform-services", "team", json!({}), json!({}));
    let operator = cluster.operator_with(&[("RUST_LOG", "trace,kube_client=trace,hyper_util=trace")]);
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
    if let Some(double) = cluster.server.double() {
        double.fault(3, Act::answer(500), |request| request.is_on("secrets"));
    }
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
        metadata(cluster.server.objects("monitoring.coreos.com/v1", "Prometheus").list().unwrap()),
        metadata(cluster.server.objects("v1", "Secret").list().unwrap()),
        explained(&cluster),
    ];
    for (index, told) in told.iter().enumerate() {
        assert!(!told.contains(secret) && !told.contains(encoded), "{index}: {told}");
    }
}

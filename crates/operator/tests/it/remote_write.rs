//! R-G…: `RemoteWrite` objects.

use serde_json::{Value as Json, json};

use crate::harness::Cluster;

const OLD: &str = "operatorkit.giantswarm.io/prometheus-meta-operator-remote-write-controller";

/// Two Prometheus objects and one that is never selected.
async fn three(config: &str) -> Cluster {
    let cluster = Cluster::new(config).await;
    for namespace in ["monitoring", "a-prometheus", "b-prometheus"] {
        cluster.namespace(namespace, &[]);
    }
    cluster.prometheus(
        "a-prometheus",
        "a",
        json!({"cluster": "a"}),
        json!({"remoteWrite": [{"url": "http://foreign/", "name": "theirs"}]}),
    );
    cluster.prometheus("b-prometheus", "b", json!({"cluster": "b", "app.kubernetes.io/name": "prometheus"}), json!({}));
    cluster.prometheus("b-prometheus", "agent", json!({"app.kubernetes.io/name": "prometheus-agent"}), json!({}));
    cluster
}

fn documented() -> Json {
    json!({
        "clusterSelector": {},
        "remoteWrite": {
            "basicAuth": {
                "password": {"key": "password", "name": "grafana-cloud"},
                "username": {"key": "username", "name": "grafana-cloud"},
            },
            "name": "grafana-cloud",
            "queueConfig": {"capacity": 10000, "maxSamplesPerSend": 1000, "minShards": 10},
            "url": "https://prometheus-us-central1.grafana.net/api/prom/push",
        },
        "secrets": [{"name": "grafana-cloud", "data": {"password": "aHVudGVyMg==", "username": "dXNlcg=="}}],
    })
}

fn plain(url: &str) -> Json {
    json!({"clusterSelector": {}, "remoteWrite": {"url": url}})
}

#[tokio::test(flavor = "multi_thread")]
async fn r_g1_r_g3_r_g5_r_g8_r_g12_r_g13_the_documented_manifest_works_as_it_is() {
    let cluster = three("").await;
    let _operator = cluster.operator();
    cluster.remote_write("monitoring", "grafana-cloud", documented());
    cluster.ready_reason("monitoring", "grafana-cloud", "Applied").await;
    assert_eq!(cluster.names("a-prometheus", "a"), ["theirs", "grafana-cloud"]);
    assert_eq!(cluster.entries("b-prometheus", "b"), [documented()["remoteWrite"].clone()]);
    assert!(cluster.entries("b-prometheus", "agent").is_empty());
    for namespace in ["a-prometheus", "b-prometheus"] {
        let secret = cluster.secrets(namespace).get("grafana-cloud").unwrap();
        assert_eq!(secret["metadata"]["labels"]["remotewrite/name"], "grafana-cloud");
        assert_eq!(secret["metadata"]["labels"]["remotewrite/namespace"], "monitoring");
        assert_eq!(secret["data"]["password"], "aHVudGVyMg==");
    }
    let status = cluster.remote_writes("monitoring").get("grafana-cloud").unwrap()["status"].clone();
    assert_eq!(
        status["configuredPrometheuses"],
        json!([{"name": "a", "namespace": "a-prometheus"}, {"name": "b", "namespace": "b-prometheus"}])
    );
    assert_eq!(status["syncedSecrets"].as_array().unwrap().len(), 2);
    assert_eq!(
        (&status["conditions"][0]["status"], &status["conditions"][0]["observedGeneration"]),
        (&json!("True"), &json!(1))
    );
    let unevaluated = cluster.server.double().map(|double| double.unevaluated_rules()).unwrap_or_default();
    assert!(unevaluated.is_empty(), "{unevaluated:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn r_g2_plain_text_is_refused_at_admission_in_words_and_taken_as_string_data() {
    let cluster = three("").await;
    let _operator = cluster.operator();
    let mut spec = documented();
    spec["secrets"][0]["data"]["password"] = json!("not base64!");
    let object = json!({"apiVersion": "monitoring.giantswarm.io/v1alpha1", "kind": "RemoteWrite", "metadata": {"namespace": "monitoring", "name": "x"}, "spec": spec});
    let refused = cluster.remote_writes("monitoring").create(&object).unwrap_err();
    assert!(refused.message.contains("base64"), "{}", refused.message);
    spec["secrets"] = json!([{"name": "grafana-cloud", "stringData": {"password": "plain", "username": "u"}}]);
    cluster.remote_write("monitoring", "x", spec.clone());
    cluster.ready_reason("monitoring", "x", "Applied").await;
    assert_eq!(cluster.secrets("a-prometheus").get("grafana-cloud").unwrap()["data"]["password"], "cGxhaW4=");
    let both = json!({"spec": {"secrets": [{"name": "s", "stringData": {"a": "b"}, "secretRef": {"name": "x"}}]}});
    let refused = cluster.remote_writes("monitoring").merge("x", &both).unwrap_err();
    assert!(refused.message.contains("secretRef excludes data and stringData"), "{}", refused.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn r_g4_r_g14_selection_follows_labels_and_repairs_what_was_removed_by_hand() {
    let cluster = three("").await;
    let _operator = cluster.operator();
    let mut spec = plain("https://x.example/");
    spec["clusterSelector"] = json!({"matchExpressions": [{"key": "cluster", "operator": "In", "values": ["a", "c"]}]});
    cluster.remote_write("monitoring", "x", spec);
    cluster.until("a has it", || cluster.names("a-prometheus", "a") == ["theirs", "x"]).await;
    assert!(cluster.entries("b-prometheus", "b").is_empty());
    cluster.prometheus("b-prometheus", "c", json!({"cluster": "c"}), json!({}));
    cluster.until("a new one has it", || cluster.names("b-prometheus", "c") == ["x"]).await;
    cluster.prometheuses("b-prometheus").merge("c", &json!({"spec": {"remoteWrite": []}})).unwrap();
    cluster.until("it is mended", || cluster.names("b-prometheus", "c") == ["x"]).await;
    cluster.prometheuses("b-prometheus").merge("c", &json!({"metadata": {"labels": {"cluster": "z"}}})).unwrap();
    cluster.until("it is out", || cluster.names("b-prometheus", "c").is_empty()).await;
    let invalid = json!({"spec": {"clusterSelector": {"matchExpressions": [{"key": "cluster", "operator": "Is", "values": ["a"]}]}}});
    cluster.remote_writes("monitoring").merge("x", &invalid).unwrap();
    cluster.ready_reason("monitoring", "x", "SelectorInvalid").await;
    assert_eq!(cluster.names("a-prometheus", "a"), ["theirs", "x"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn r_g6_r_g9_r_g10_names_that_meet_never_cost_anybody_anything() {
    let cluster = three("").await;
    cluster.secret("b-prometheus", "grafana-cloud", json!({}), json!({"theirs": "x"}));
    let theirs = cluster.secrets("b-prometheus").get("grafana-cloud").unwrap();
    let _operator = cluster.operator();
    cluster.remote_write("monitoring", "same", documented());
    cluster.ready_reason("monitoring", "same", "SecretConflict").await;
    cluster.remote_write("a-prometheus", "same", plain("https://two.example/"));
    cluster.ready_reason("a-prometheus", "same", "Applied").await;
    assert_eq!(cluster.names("a-prometheus", "a"), ["theirs", "same", "a-prometheus/same"]);
    cluster.remote_write("a-prometheus", "second", documented());
    cluster.ready_reason("a-prometheus", "second", "SecretConflict").await;
    cluster.remote_writes("a-prometheus").delete("second").unwrap();
    cluster.until("it is gone", || cluster.remote_writes("a-prometheus").get("second").is_err()).await;
    assert!(cluster.secrets("a-prometheus").get("grafana-cloud").is_ok());
    cluster.remote_writes("monitoring").delete("same").unwrap();
    cluster.until("the first is gone", || cluster.remote_writes("monitoring").get("same").is_err()).await;
    assert_eq!(cluster.names("a-prometheus", "a"), ["theirs", "a-prometheus/same"]);
    assert!(cluster.secrets("a-prometheus").get("grafana-cloud").is_err());
    assert_eq!(cluster.secrets("b-prometheus").get("grafana-cloud").unwrap(), theirs);
}

#[tokio::test(flavor = "multi_thread")]
async fn r_g7_r_g11_fields_of_today_arrive_and_the_environments_proxy_fills_only_a_gap() {
    let cluster = three("policies: {environment_proxy: true}").await;
    let _operator = cluster.operator_with(&[("HTTPS_PROXY", "http://env.example:3128"), ("NO_PROXY", ".internal")]);
    let mut spec = plain("https://x.example/");
    let fields = json!({
        "sendNativeHistograms": true, "messageVersion": "V2.0", "followRedirects": false, "enableHTTP2": false,
        "queueConfig": {"retryOnRateLimit": true, "sampleAgeLimit": "1h"},
        "azureAd": {"cloud": "AzurePublic", "oauth": {"clientId": "00000000-0000-0000-0000-000000000000", "clientSecret": {"name": "s", "key": "k"}, "tenantId": "t"}},
        "writeRelabelConfigs": [{"sourceLabels": ["a"], "regex": "b", "targetLabel": "c"}],
    });
    spec["remoteWrite"].as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    spec["secrets"] = json!([{"name": "s", "stringData": {"k": "v"}}]);
    cluster.remote_write("monitoring", "x", spec.clone());
    cluster.ready_reason("monitoring", "x", "Applied").await;
    let mut expected = spec["remoteWrite"].clone();
    expected["name"] = json!("x");
    expected["proxyUrl"] = json!("http://env.example:3128");
    expected["writeRelabelConfigs"][0]["action"] = json!("replace");
    assert_eq!(cluster.entries("b-prometheus", "b"), [expected]);
    cluster
        .remote_writes("monitoring")
        .merge("x", &json!({"spec": {"remoteWrite": {"proxyUrl": "http://mine.example:1"}}}))
        .unwrap();
    cluster
        .until("the user's wins", || cluster.entries("b-prometheus", "b")[0]["proxyUrl"] == "http://mine.example:1")
        .await;
    let before = cluster.writes();
    cluster.remote_write("monitoring", "direct", plain("https://y.internal/"));
    cluster.ready_reason("monitoring", "direct", "Applied").await;
    assert_eq!(cluster.entries("b-prometheus", "b")[1]["proxyUrl"], Json::Null);
    // A finalizer, two lists, a status and an Event: what the API server fills in costs no further write.
    assert!(cluster.writes() - before <= 8, "{}", cluster.writes() - before);
}

#[tokio::test(flavor = "multi_thread")]
async fn r_g15_r_g16_deleting_leaves_nothing_also_while_no_operator_runs_and_adopts_what_the_old_one_left() {
    let cluster = three("policies: {adopt_finalizers: true}").await;
    let operator = cluster.operator();
    cluster.remote_write("monitoring", "grafana-cloud", documented());
    cluster.remote_write("monitoring", "theirs", plain("https://new.example/"));
    cluster.remote_writes("monitoring").merge("theirs", &json!({"metadata": {"finalizers": [OLD]}})).unwrap();
    cluster.ready_reason("monitoring", "grafana-cloud", "Applied").await;
    cluster
        .until("the old finalizer is released", || {
            let finalizers =
                cluster.remote_writes("monitoring").get("theirs").unwrap()["metadata"]["finalizers"].clone();
            finalizers == json!(["writegate.io/remote-write"])
        })
        .await;
    assert!(operator.terminate().success());
    cluster.prometheuses("b-prometheus").delete("b").unwrap();
    cluster.remote_writes("monitoring").delete("grafana-cloud").unwrap();
    assert!(cluster.remote_writes("monitoring").get("grafana-cloud").is_ok(), "the finalizer holds it");
    let _operator = cluster.operator();
    cluster.until("it is gone", || cluster.remote_writes("monitoring").get("grafana-cloud").is_err()).await;
    assert!(!cluster.names("a-prometheus", "a").contains(&"grafana-cloud".to_owned()));
    for namespace in ["a-prometheus", "b-prometheus"] {
        assert!(cluster.secrets(namespace).get("grafana-cloud").is_err());
    }
    // Of what happened where there still was a Prometheus: the entry went first, then its Secret, then the finalizer.
    let writes = cluster.server.writes();
    let last = |resource: &str, name: &str| {
        writes.iter().rposition(|write| {
            write.code < 300 && write.is_on(resource) && write.name == name && write.namespace != "b-prometheus"
        })
    };
    let order = [last("prometheuses", "a"), last("secrets", "grafana-cloud"), last("remotewrites", "grafana-cloud")];
    assert!(order.iter().all(Option::is_some) && order.is_sorted(), "{order:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn r_g17_a_paused_object_waits() {
    let cluster = three("").await;
    let _operator = cluster.operator();
    cluster.remote_write("monitoring", "x", plain("https://x.example/"));
    cluster.ready_reason("monitoring", "x", "Applied").await;
    let paused = |value: Json, url: &str| json!({"metadata": {"annotations": {"cluster.x-k8s.io/paused": value}}, "spec": {"remoteWrite": {"url": url}}});
    cluster.remote_writes("monitoring").merge("x", &paused(json!("true"), "https://y.example/")).unwrap();
    cluster.remote_write("monitoring", "marker", plain("https://m.example/"));
    cluster.ready_reason("monitoring", "marker", "Applied").await;
    assert_eq!(cluster.entries("b-prometheus", "b")[0]["url"], "https://x.example/");
    cluster.remote_writes("monitoring").merge("x", &paused(Json::Null, "https://y.example/")).unwrap();
    cluster.until("it goes on", || cluster.entries("b-prometheus", "b")[0]["url"] == "https://y.example/").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r_g19_r_g21_r_g22_what_may_not_be_written_is_a_condition_and_never_an_entry() {
    let cluster = three("policies: {remote_write_namespaces: [monitoring]}").await;
    let _operator = cluster.operator();
    let selector = json!({"name": "s", "key": "k"});
    for (name, remote_write, reason) in [
        ("empty", json!({"url": ""}), "SpecInvalid"),
        ("unparsable", json!({"url": "x y"}), "SpecInvalid"),
        (
            "two",
            json!({"url": "https://x/", "bearerToken": "t", "basicAuth": {"username": selector, "password": selector}}),
            "SpecInvalid",
        ),
        ("typo", json!({"url": "https://x/", "basicAuths": {}}), "SpecInvalid"),
        (
            "file",
            json!({"url": "https://x/", "bearerTokenFile": "/var/run/secrets/kubernetes.io/serviceaccount/token"}),
            "FileNotAllowed",
        ),
        ("identity", json!({"url": "https://x/", "sigv4": {"region": "r"}}), "PodIdentityNotAllowed"),
    ] {
        cluster.remote_write("monitoring", name, json!({"clusterSelector": {}, "remoteWrite": remote_write}));
        cluster.ready_reason("monitoring", name, reason).await;
        assert_eq!(cluster.ready("monitoring", name)["status"], "False");
    }
    cluster.remote_write("a-prometheus", "x", plain("https://x.example/"));
    cluster.ready_reason("a-prometheus", "x", "NamespaceNotAllowed").await;
    assert!(cluster.entries("b-prometheus", "b").is_empty());
    cluster.until("every refusal has an Event", || cluster.events("monitoring").len() == 6).await;
}

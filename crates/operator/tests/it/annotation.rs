//! R-A…: namespaces that name a Secret with a target in it.

use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::harness::{Cluster, KEY};

const TARGET: &str = "url: https://x.example/push\nbasicAuth:\n  username: {name: cred, key: user}\n  password: {name: cred, key: pass}\n";
const COPY: &str = "custom-remote-write-cred-team";

/// A tenant with a Prometheus, a target and credentials, not yet annotated.
async fn tenant(config: &str) -> Cluster {
    let cluster = Cluster::new(config).await;
    cluster.namespace("team", &[]);
    cluster.namespace("other", &[]);
    cluster.secret("team", "target", json!({}), json!({"remote-write": TARGET}));
    cluster.secret("team", "cred", json!({}), json!({"user": "u", "pass": "hunter2"}));
    let spec =
        json!({"remoteWrite": [{"url": "http://foreign/", "name": "theirs", "odd": {"a": [1.5]}}], "replicas": 2});
    cluster.prometheus("platform-services", "team", json!({}), spec);
    cluster
}

fn url(cluster: &Cluster, index: usize) -> Json {
    cluster.entries("platform-services", "team").get(index).map(|entry| entry["url"].clone()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn r_a1_r_a16_r_a17_an_annotation_is_enough_and_nothing_else_is_touched() {
    let cluster = tenant("").await;
    let theirs = cluster.entries("platform-services", "team")[0].clone();
    let _operator = cluster.operator();
    cluster.annotate("team", KEY, json!("target"));
    cluster.until("the target is applied", || url(&cluster, 1) == "https://x.example/push").await;
    cluster.reason("team", "Applied").await;
    assert_eq!(cluster.entries("platform-services", "team")[0], theirs);

    // Fields of others stay, and nothing is written when nothing changed.
    let added = json!({"metadata": {"annotations": {"mine": "x"}}, "spec": {"evaluationInterval": "17s"}});
    cluster.prometheuses("platform-services").merge("team", &added).unwrap();
    cluster.secret("team", "target", json!({}), json!({"remote-write": "url: https://y.example/"}));
    cluster.until("the change is applied", || url(&cluster, 1) == "https://y.example/").await;
    let object = cluster.prometheuses("platform-services").get("team").unwrap();
    assert_eq!((&object["spec"]["evaluationInterval"], &object["spec"]["replicas"]), (&json!("17s"), &json!(2)));
    assert_eq!(object["metadata"]["annotations"]["mine"], "x");
    cluster.until("the copy is gone", || cluster.secrets("platform-services").get(COPY).is_err()).await;
    cluster.until("the change is told", || cluster.status("team")["url"] == "https://y.example/").await;
    let before = cluster.writes();
    for round in 0..100 {
        cluster.annotate("other", "x", json!(round.to_string()));
    }
    // What comes later is seen later: when it is applied, all of the above has been looked at.
    cluster.secret("team", "target", json!({}), json!({"remote-write": "url: https://z.example/"}));
    cluster.until("the last change is applied", || url(&cluster, 1) == "https://z.example/").await;
    assert!(cluster.writes() - before <= 2, "{}", cluster.writes() - before);
}

#[tokio::test(flavor = "multi_thread")]
async fn r_a2_r_a10_secrets_of_others_need_a_grant_the_platforms_too() {
    let cluster = tenant("").await;
    let _operator = cluster.operator();
    cluster.secret("other", "target", json!({}), json!({"remote-write": "url: https://o.example/"}));
    cluster.secret(
        "platform-services",
        "grafana",
        json!({}),
        json!({"token": "t", "remote-write": "url: https://p.example/"}),
    );
    for value in ["other/target", "platform-services/grafana"] {
        cluster.annotate("team", KEY, json!(value));
        cluster
            .until("it is refused", || cluster.status("team")["message"].as_str().is_some_and(|m| m.contains(value)))
            .await;
        assert_eq!(cluster.status("team")["reason"], "NotGranted");
        assert_eq!(cluster.names("platform-services", "team"), ["theirs"]);
    }
    let evil = "url: https://evil.example/\nauthorization: {credentials: {name: grafana, key: token}}";
    cluster.secret("team", "target", json!({}), json!({"remote-write": evil}));
    cluster.annotate("team", KEY, json!("target"));
    cluster.reason("team", "SecretMissing").await;
    assert_eq!(cluster.names("platform-services", "team"), ["theirs"]);
    cluster.secret(
        "other",
        "target",
        json!({"writegate.io/allow-namespaces": "team"}),
        json!({"remote-write": "url: https://o.example/"}),
    );
    cluster.annotate("team", KEY, json!("other/target"));
    cluster.until("it is applied", || url(&cluster, 1) == "https://o.example/").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r_a3_r_a5_r_a11_r_a15_what_is_wrong_is_told_by_status_and_event_and_clears_on_repair() {
    let cluster = tenant("").await;
    let operator = cluster.operator();
    cluster.annotate("team", KEY, json!("target"));
    cluster.reason("team", "Applied").await;
    for (written, reason, says) in [
        ("url: https://x/\nbasic_authh: {}", "SpecInvalid", "unknown key `basic_authh`"),
        ("url: https://x/\nremote_timeouts: 5s", "SpecInvalid", "did you mean"),
        ("url: https://x/\nbearerTokenFile: /var/run/secrets/token", "FileNotAllowed", "bearerTokenFile"),
        ("url: https://x/\ntlsConfig: {caFile: /etc/ca}", "FileNotAllowed", "tlsConfig.caFile"),
        ("url: https://x/\nproxyUrl: http://169.254.169.254/", "ProxyNotAllowed", "169.254.169.254"),
        ("url: [", "SpecInvalid", "line 1"),
    ] {
        cluster.secret("team", "target", json!({}), json!({"remote-write": written}));
        cluster
            .until("it is told", || cluster.status("team")["message"].as_str().is_some_and(|m| m.contains(says)))
            .await;
        assert_eq!(cluster.status("team")["reason"], reason, "{written}");
        let event = (String::from("Warning"), reason.to_owned());
        cluster.until("an Event says so", || cluster.events("team") == [event.clone()]).await;
        assert_eq!(url(&cluster, 1), "https://x.example/push", "the last good one goes on");
    }
    for value in ["a/b/c", "", "Not A Name"] {
        cluster.annotate("team", KEY, json!(value));
        cluster.reason("team", "AnnotationInvalid").await;
    }
    cluster.annotate("team", KEY, json!("later"));
    cluster.reason("team", "SecretMissing").await;
    assert!(operator.metric("writegate_operator_target_failed{source=\"annotation\",namespace=\"team\",name=\"\",reason=\"SecretMissing\"}") == Some(1.0));
    cluster.secret("team", "later", json!({}), json!({"remote-write": "url: https://l.example/"}));
    cluster.until("its creation is enough", || url(&cluster, 1) == "https://l.example/").await;
    cluster.reason("team", "Applied").await;
    cluster
        .until("no warning is left", || cluster.events("team") == [("Normal".to_owned(), "Applied".to_owned())])
        .await;
    let event = cluster.server.objects("v1", "Event").within("team").list().unwrap().remove(0);
    assert_eq!(event["involvedObject"]["namespace"], "team");
}

#[tokio::test(flavor = "multi_thread")]
async fn r_a4_r_a6_r_a7_r_a8_json_lists_and_every_reference_are_taken() {
    let cluster = tenant("").await;
    let _operator = cluster.operator();
    for (index, written) in [
        json!({"url": "https://0.example/", "oauth2": {"clientId": {"secret": {"name": "cred", "key": "user"}}, "clientSecret": {"name": "cred", "key": "pass"}, "tokenUrl": "https://t.example/"}}),
        json!([{"url": "https://1.example/", "tls_config": {"ca": {"config_map": {"name": "ca", "key": "ca"}}}, "authorization": {"credentials": {"name": "cred", "key": "pass"}}}]),
    ]
    .into_iter()
    .enumerate()
    {
        let ca = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "team", "name": "ca"}, "data": {"ca": "pem"}});
        cluster.server.install(&ca.to_string()).unwrap();
        cluster.secret("team", "extra", json!({}), json!({"k": "v"}));
        let lists = json!({"monitor.adevinta.com/referenced-secrets": "cred", "monitoring.adevinta.com/referenced-secrets": " extra "});
        cluster.secret("team", "target", lists, json!({"remote-write": written.to_string()}));
        cluster.annotate("team", KEY, json!("target"));
        cluster.until("it is applied", || url(&cluster, 1) == format!("https://{index}.example/")).await;
        let text = cluster.entries("platform-services", "team")[1].to_string();
        assert!(!text.contains("\"cred\"") && text.contains(COPY) && !text.contains("configMap"), "{text}");
        let copy = cluster.secrets("platform-services").get(COPY).unwrap();
        assert_eq!(copy["metadata"]["annotations"]["writegate.io/source-namespace"], "team");
        assert_eq!(copy["metadata"]["annotations"]["writegate.io/source-name"], "cred");
        assert!(cluster.secrets("platform-services").get("custom-remote-write-extra-team").is_ok());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r_a9_a_secret_of_somebody_else_stays_as_it_is() {
    let cluster = tenant("").await;
    cluster.secret("platform-services", COPY, json!({}), json!({"mine": "x"}));
    let before = cluster.secrets("platform-services").get(COPY).unwrap();
    let _operator = cluster.operator();
    cluster.annotate("team", KEY, json!("target"));
    cluster.reason("team", "SecretConflict").await;
    cluster.annotate("team", KEY, Json::Null);
    cluster.reason("team", "NoTarget").await;
    assert_eq!(cluster.secrets("platform-services").get(COPY).unwrap(), before);
    assert_eq!(cluster.names("platform-services", "team"), ["theirs"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn r_a12_r_a13_secrets_are_kept_in_step_and_cleaned_up() {
    let cluster =
        tenant("default_target: {name: 'default-{{namespace}}', url: 'https://{{namespace}}.grafana.example/push'}")
            .await;
    let _operator = cluster.operator();
    cluster
        .until("the default is applied", || cluster.names("platform-services", "team") == ["theirs", "default-team"])
        .await;
    cluster.reason("team", "DefaultApplied").await;
    cluster.annotate("team", KEY, json!("target"));
    cluster
        .until("the target took its place", || {
            cluster.names("platform-services", "team") == ["theirs", "annotation/team"]
        })
        .await;
    cluster.secret("team", "cred", json!({}), json!({"user": "u", "pass": "rotated"}));
    let rotated = json!("cm90YXRlZA==");
    cluster
        .until("the copy is rotated", || {
            cluster.secrets("platform-services").get(COPY).is_ok_and(|copy| copy["data"]["pass"] == rotated)
        })
        .await;
    cluster.annotate("team", KEY, Json::Null);
    cluster
        .until("the default is back", || cluster.names("platform-services", "team") == ["theirs", "default-team"])
        .await;
    cluster.until("the copy is gone", || cluster.secrets("platform-services").get(COPY).is_err()).await;
    cluster.annotate("team", KEY, json!("target"));
    cluster
        .until("it is applied again", || cluster.names("platform-services", "team") == ["theirs", "annotation/team"])
        .await;
    cluster.server.objects("v1", "Namespace").delete("team").unwrap();
    cluster
        .until("everything of the namespace is gone", || cluster.names("platform-services", "team") == ["theirs"])
        .await;
    cluster.until("the copy is gone too", || cluster.secrets("platform-services").get(COPY).is_err()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r_a14_r_a19_what_holds_is_in_the_status_and_in_metrics_which_end_with_the_namespace() {
    let cluster = tenant("").await;
    let operator = cluster.operator();
    cluster.reason("team", "NoTarget").await;
    cluster.annotate("team", KEY, json!("target"));
    cluster.reason("team", "Applied").await;
    let series =
        |name: &str| format!("writegate_operator_target_{name}{{source=\"annotation\",namespace=\"team\",name=\"\"}}");
    cluster.annotate("other", "nudge", json!("1"));
    assert_eq!(operator.metric(&series("configured")), Some(1.0));
    assert!(operator.metric(&series("last_success_timestamp_seconds")) > Some(1e9));
    cluster.server.objects("v1", "Namespace").delete("team").unwrap();
    cluster.until("the entry is gone", || cluster.names("platform-services", "team") == ["theirs"]).await;
    assert_eq!(operator.metric(&series("configured")), None);
    assert_eq!(operator.get("/-/ready"), (200, "ready\n".to_owned()));
    assert_eq!(operator.get("/-/healthy").0, 200);
    assert_eq!(operator.get("/x").0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn r_a18_r_a20_a_templates_prometheus_stays_whatever_workloads_come_and_sees_its_tenants_namespace_only() {
    let template = "prometheus_template: {spec: {replicas: 1, podMonitorSelector: {matchLabels: {monitor.adevinta.com/account: '{{namespace}}'}}}}";
    let cluster = Cluster::new(template).await;
    cluster.namespace("team", &[(KEY, "target")]);
    cluster.secret("team", "target", json!({}), json!({"remote-write": "url: https://x.example/"}));
    let _operator = cluster.operator();
    cluster
        .until("it is made and configured", || cluster.names("platform-services", "team") == ["annotation/team"])
        .await;
    let object = cluster.prometheuses("platform-services").get("team").unwrap();
    assert_eq!(
        object["spec"]["podMonitorNamespaceSelector"],
        json!({"matchLabels": {"kubernetes.io/metadata.name": "team"}})
    );
    for name in ["a", "b"] {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "team", "name": name, "labels": {"monitor.adevinta.com/account": "other"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
        cluster.server.install(&pod.to_string()).unwrap();
    }
    cluster.server.objects("v1", "Pod").within("team").delete("a").unwrap();
    cluster.secret("team", "target", json!({}), json!({"remote-write": "url: https://y.example/"}));
    cluster.until("it is still there and follows", || url(&cluster, 0) == "https://y.example/").await;
    cluster.server.objects("v1", "Namespace").delete("team").unwrap();
    cluster
        .until("it goes with the namespace", || cluster.prometheuses("platform-services").get("team").is_err())
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_operators_take_turns_and_the_second_waits_until_the_first_is_gone() {
    let cluster = tenant("").await;
    cluster.annotate("team", KEY, json!("target"));
    let first = cluster.operator();
    cluster.reason("team", "Applied").await;
    let second = cluster.operator();
    cluster.until("the second knows everything", || second.get("/-/ready").0 == 200).await;
    assert_eq!(
        (first.metric("writegate_operator_leader"), second.metric("writegate_operator_leader")),
        (Some(1.0), Some(0.0))
    );
    let lease = || {
        cluster
            .server
            .objects("coordination.k8s.io/v1", "Lease")
            .within("platform-services")
            .get("writegate-operator")
            .unwrap()
    };
    let holder = lease()["spec"]["holderIdentity"].clone();

    // An end in good order gives the lease back: the next one need not wait for it to run out.
    assert!(first.terminate().success());
    cluster
        .within(Duration::from_secs(12), "the second leads", || {
            let holds = lease()["spec"]["holderIdentity"].clone();
            holds != holder && !holds.is_null()
        })
        .await;
    cluster.secret("team", "target", json!({}), json!({"remote-write": "url: https://second.example/"}));
    cluster.until("the second applies", || url(&cluster, 1) == "https://second.example/").await;

    // An end without goodbye is noticed when the lease runs out.
    drop(second);
    let third = cluster.operator();
    cluster.secret("team", "target", json!({}), json!({"remote-write": "url: https://third.example/"}));
    cluster.until("the third applies", || url(&cluster, 1) == "https://third.example/").await;
    assert_eq!(third.metric("writegate_operator_leader"), Some(1.0));
    assert!(cluster.server.writes().iter().all(|write| write.code != 403), "the roles are enough");
}

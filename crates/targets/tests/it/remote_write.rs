//! `RemoteWrite` objects.

use serde_json::{Value as Json, json};

use crate::cluster::{Cluster, NOW};

const OLD: &str = "operatorkit.giantswarm.io/prometheus-meta-operator-remote-write-controller";

/// Three Prometheus objects, one of which is never selected.
fn three(config: &str) -> Cluster {
    let mut cluster = Cluster::new(config);
    for namespace in ["monitoring", "a-prometheus", "b-prometheus"] {
        cluster.namespace(namespace, &[]);
    }
    cluster.prometheus("a-prometheus/a", &[("cluster", "a")], json!([{"url": "http://foreign/", "name": "theirs"}]));
    cluster.prometheus("b-prometheus/b", &[("cluster", "b"), ("app.kubernetes.io/name", "prometheus")], json!(null));
    cluster.prometheus(
        "b-prometheus/agent",
        &[("cluster", "b"), ("app.kubernetes.io/name", "prometheus-agent")],
        json!(null),
    );
    cluster
}

/// The documented manifest's spec, with values that are base64.
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

fn names(cluster: &Cluster, at: &str) -> Vec<String> {
    let entries = cluster.entries(at);
    entries.as_array().into_iter().flatten().map(|entry| entry["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn r_g3_r_g5_r_g8_the_documented_object_reaches_every_prometheus_but_agents_with_its_secrets() {
    let mut cluster = three("");
    cluster.remote_write("monitoring/grafana-cloud", documented());
    assert_eq!(cluster.settle(), ["remotewrite/monitoring/grafana-cloud Applied: applied to 2 Prometheus objects"]);
    assert_eq!(names(&cluster, "a-prometheus/a"), ["theirs", "grafana-cloud"]);
    assert_eq!(names(&cluster, "b-prometheus/b"), ["grafana-cloud"]);
    assert_eq!(cluster.entries("b-prometheus/agent"), json!(null));
    assert_eq!(cluster.entries("b-prometheus/b")[0], documented()["remoteWrite"]);
    assert_eq!(
        cluster.copies(),
        [
            "a-prometheus/grafana-cloud password=hunter2,username=user",
            "b-prometheus/grafana-cloud password=hunter2,username=user"
        ]
    );
    for copied in cluster.world.copies.values() {
        assert_eq!(copied.labels["remotewrite/name"], "grafana-cloud");
        assert_eq!(copied.labels["remotewrite/namespace"], "monitoring");
    }
    let status = cluster.remote_write_status("monitoring/grafana-cloud");
    assert_eq!(
        status,
        json!({
            "configuredPrometheuses": [{"name": "a", "namespace": "a-prometheus"}, {"name": "b", "namespace": "b-prometheus"}],
            "syncedSecrets": [{"name": "grafana-cloud", "namespace": "a-prometheus"}, {"name": "grafana-cloud", "namespace": "b-prometheus"}],
            "conditions": [{
                "type": "Ready", "status": "True", "reason": "Applied", "message": "applied to 2 Prometheus objects",
                "observedGeneration": 1, "lastTransitionTime": NOW,
            }],
        })
    );
    cluster.settle();
    assert!(cluster.writes.is_empty(), "{:?}", cluster.writes);
}

#[test]
fn nothing_is_written_before_the_finalizer_and_no_entry_before_its_secrets() {
    let mut cluster = three("");
    cluster.remote_write("monitoring/grafana-cloud", documented());
    let mut order = Vec::new();
    while cluster.step() {
        order.append(&mut cluster.writes.iter().map(|object| object.split(' ').next().unwrap().to_owned()).collect());
        cluster.writes.clear();
    }
    assert_eq!(order, ["Secret", "Secret", "RemoteWrite", "Prometheus", "Prometheus", "RemoteWrite"]);
}

#[test]
fn r_g4_a_selector_that_makes_no_sense_is_told_and_changes_nothing() {
    let mut cluster = three("");
    cluster.remote_write("monitoring/x", plain("https://x.example/"));
    cluster.settle();
    let mut spec = plain("https://y.example/");
    spec["clusterSelector"] = json!({"matchExpressions": [{"key": "cluster", "operator": "Is"}]});
    cluster.remote_write("monitoring/x", spec);
    let said = cluster.settle();
    assert!(
        said[0]
            .starts_with("remotewrite/monitoring/x SelectorInvalid: spec.clusterSelector.matchExpressions[0].operator"),
        "{said:?}"
    );
    assert_eq!(cluster.entries("b-prometheus/b")[0]["url"], "https://x.example/");
    cluster.settle();
    assert!(cluster.writes.is_empty(), "no retry loop");
}

#[test]
fn r_g6_two_objects_of_one_name_never_share_an_entry() {
    let mut cluster = three("");
    cluster.remote_write("monitoring/x", plain("https://one.example/"));
    cluster.remote_write("a-prometheus/x", plain("https://two.example/"));
    cluster.settle();
    assert_eq!(names(&cluster, "b-prometheus/b"), ["x", "a-prometheus/x"]);
    assert_eq!(cluster.entries("b-prometheus/b")[0]["url"], "https://one.example/", "the older one has the plain name");
    cluster.delete_remote_write("monitoring/x");
    cluster.settle();
    assert_eq!(
        names(&cluster, "b-prometheus/b"),
        ["a-prometheus/x"],
        "the other keeps its name: a queue goes on under it"
    );
    assert_eq!(cluster.entries("b-prometheus/b")[0]["url"], "https://two.example/");
    assert_eq!(names(&cluster, "a-prometheus/a"), ["theirs", "a-prometheus/x"]);
}

#[test]
fn r_g6_a_foreign_entry_of_the_name_is_left_alone() {
    let mut cluster = three("");
    cluster.remote_write("monitoring/theirs", plain("https://x.example/"));
    cluster.settle();
    assert_eq!(cluster.entries("a-prometheus/a")[0], json!({"url": "http://foreign/", "name": "theirs"}));
    assert_eq!(names(&cluster, "a-prometheus/a"), ["theirs", "monitoring/theirs"]);
    cluster.delete_remote_write("monitoring/theirs");
    cluster.settle();
    assert_eq!(cluster.entries("a-prometheus/a"), json!([{"url": "http://foreign/", "name": "theirs"}]));
}

#[test]
fn r_g9_r_g10_a_secret_of_another_owner_is_a_conflict_and_stays() {
    let mut cluster = three("");
    cluster.secret("a-prometheus/grafana-cloud", &[], &[("mine", "x")]);
    cluster.remote_write("monitoring/grafana-cloud", documented());
    let said = cluster.settle();
    assert!(
        said[0].contains(
            "SecretConflict: the Secret a-prometheus/grafana-cloud is there and was not made by the operator"
        ),
        "{said:?}"
    );
    assert_eq!(names(&cluster, "a-prometheus/a"), ["theirs"]);
    assert_eq!(names(&cluster, "b-prometheus/b"), ["grafana-cloud"], "the others have it");
    cluster.delete_remote_write("monitoring/grafana-cloud");
    cluster.settle();
    assert!(cluster.world.remote_writes.is_empty() && cluster.copies().is_empty());

    let mut cluster = three("");
    cluster.remote_write("monitoring/one", documented());
    cluster.remote_write("monitoring/two", documented());
    let said = cluster.settle();
    assert!(said[0].contains("one Applied"), "{said:?}");
    assert!(
        said[1].contains("two SecretConflict: the Secret a-prometheus/grafana-cloud belongs to another target"),
        "{said:?}"
    );
    assert!(said[1].contains("and 1 more like it"), "{said:?}");
    let copies = cluster.copies();
    cluster.delete_remote_write("monitoring/two");
    cluster.settle();
    assert_eq!(cluster.copies(), copies);
    cluster.remote_write("monitoring/two", documented());
    cluster.settle();
    cluster.delete_remote_write("monitoring/one");
    assert!(cluster.settle()[0].contains("two Applied"));
    assert_eq!(names(&cluster, "b-prometheus/b"), ["two"]);
}

#[test]
fn r_g12_the_lists_are_what_is_there_also_when_somebody_else_changed_it() {
    let mut cluster = three("");
    cluster.remote_write("monitoring/grafana-cloud", documented());
    cluster.settle();
    cluster.edit_remote_write("monitoring/grafana-cloud", |object| {
        object["status"]["configuredPrometheuses"] = json!([{"name": "gone", "namespace": "x"}]);
        object["status"]["syncedSecrets"] = json!([]);
        object["status"]["conditions"].as_array_mut().unwrap().push(json!({"type": "Other", "status": "True"}));
    });
    cluster.settle();
    let status = cluster.remote_write_status("monitoring/grafana-cloud");
    assert_eq!(status["configuredPrometheuses"].as_array().unwrap().len(), 2);
    assert_eq!(status["syncedSecrets"].as_array().unwrap().len(), 2);
    assert_eq!(status["conditions"][0]["type"], "Other", "another's condition stays");
    assert_eq!(cluster.notes, ["Applied "], "nothing new is told");
}

#[test]
fn r_g13_conditions_follow_what_is_the_case_and_say_since_when() {
    let mut cluster = three("");
    cluster.remote_write("monitoring/x", plain(""));
    cluster.settle();
    let ready = |cluster: &Cluster| cluster.remote_write_status("monitoring/x")["conditions"][0].clone();
    assert_eq!(
        (ready(&cluster)["status"].clone(), ready(&cluster)["reason"].clone()),
        (json!("False"), json!("SpecInvalid"))
    );
    cluster.edit_remote_write("monitoring/x", |object| {
        object["status"]["conditions"][0]["lastTransitionTime"] = json!("2020-01-01T00:00:00Z");
    });
    cluster.remote_write("monitoring/x", plain("ftp://x/"));
    cluster.settle();
    assert_eq!(ready(&cluster)["lastTransitionTime"], "2020-01-01T00:00:00Z");
    assert_eq!(ready(&cluster)["observedGeneration"], 2);
    cluster.remote_write("monitoring/x", plain("http://x/"));
    cluster.settle();
    assert_eq!(
        (ready(&cluster)["status"].clone(), ready(&cluster)["lastTransitionTime"].clone()),
        (json!("True"), json!(NOW))
    );
}

#[test]
fn r_g14_objects_that_come_or_change_their_labels_follow() {
    let mut cluster = three("");
    let mut spec = documented();
    spec["clusterSelector"] = json!({"matchLabels": {"cluster": "a"}});
    cluster.remote_write("monitoring/grafana-cloud", spec);
    cluster.settle();
    assert_eq!(names(&cluster, "b-prometheus/b"), [""; 0]);
    cluster.prometheus("c-prometheus/c", &[("cluster", "a")], json!(null));
    cluster.settle();
    assert_eq!(names(&cluster, "c-prometheus/c"), ["grafana-cloud"]);
    cluster.edit_prometheus("a-prometheus/a", |object| object["metadata"]["labels"]["cluster"] = json!("z"));
    cluster.settle();
    assert_eq!(names(&cluster, "a-prometheus/a"), ["theirs"]);
    assert_eq!(cluster.copies(), ["c-prometheus/grafana-cloud password=hunter2,username=user"]);
    cluster.edit_prometheus("c-prometheus/c", |object| object["spec"]["remoteWrite"] = json!([]));
    cluster.settle();
    assert_eq!(names(&cluster, "c-prometheus/c"), ["grafana-cloud"]);
}

#[test]
fn r_g15_deleting_removes_entries_then_secrets_then_the_finalizer() {
    let mut cluster = three("");
    cluster.remote_write("monitoring/grafana-cloud", documented());
    cluster.settle();
    cluster.delete_remote_write("monitoring/grafana-cloud");
    let mut order = Vec::new();
    cluster.writes.clear();
    while cluster.step() {
        order.append(&mut cluster.writes);
    }
    assert_eq!(
        order,
        [
            "Prometheus a-prometheus/a",
            "Prometheus b-prometheus/b",
            "Secret a-prometheus/grafana-cloud",
            "Secret b-prometheus/grafana-cloud",
            "RemoteWrite monitoring/grafana-cloud",
        ]
    );
    assert!(cluster.world.remote_writes.is_empty());
    assert!(cluster.object("a-prometheus/a")["metadata"]["annotations"].as_object().unwrap().is_empty());

    // And when there is no Prometheus any more.
    let mut cluster = three("");
    cluster.remote_write("monitoring/grafana-cloud", documented());
    cluster.settle();
    cluster.world.prometheuses.clear();
    cluster.delete_remote_write("monitoring/grafana-cloud");
    cluster.settle();
    assert!(cluster.world.remote_writes.is_empty() && cluster.copies().is_empty());
}

#[test]
fn r_g16_what_the_old_operator_left_is_taken_over_or_released_if_the_administrator_says_so() {
    let old = |cluster: &mut Cluster| {
        cluster.remote_write("monitoring/theirs", plain("https://new.example/"));
        cluster.edit_remote_write("monitoring/theirs", |object| {
            object["metadata"]["finalizers"] = json!([OLD, "foreign/x"]);
        });
    };
    let finalizers = |cluster: &Cluster| {
        cluster.world.remote_writes.values().next().map(|object| object["metadata"]["finalizers"].clone())
    };
    let mut cluster = three("policies: {adopt_finalizers: true}");
    old(&mut cluster);
    cluster.settle();
    assert_eq!(finalizers(&cluster), Some(json!(["foreign/x", "writegate.io/remote-write"])));
    assert_eq!(names(&cluster, "a-prometheus/a"), ["theirs"], "its entry is taken over, not doubled");
    assert_eq!(cluster.entries("a-prometheus/a")[0]["url"], "https://new.example/");
    cluster.delete_remote_write("monitoring/theirs");
    cluster.settle();
    assert_eq!(finalizers(&cluster), Some(json!(["foreign/x"])));
    assert_eq!(names(&cluster, "a-prometheus/a"), [""; 0]);

    let mut cluster = three("policies: {adopt_finalizers: true}");
    old(&mut cluster);
    cluster.edit_remote_write("monitoring/theirs", |object| {
        object["status"]["configuredPrometheuses"] = json!([{"namespace": "a-prometheus", "name": "a"}]);
        object["status"]["syncedSecrets"] =
            json!([{"namespace": "a-prometheus", "name": "s"}, {"namespace": "a-prometheus", "name": "other"}]);
    });
    cluster
        .labelled_secret("a-prometheus/s", &[("remotewrite/name", "theirs"), ("remotewrite/namespace", "monitoring")]);
    cluster.secret("a-prometheus/other", &[], &[("k", "v")]);
    cluster.delete_remote_write("monitoring/theirs");
    cluster.settle();
    assert_eq!(finalizers(&cluster), Some(json!(["foreign/x"])), "deleted while no operator ran");
    assert_eq!(names(&cluster, "a-prometheus/a"), [""; 0], "what the old operator listed goes");
    let secrets: Vec<String> = cluster.world.known.keys().map(|source| source.key.to_string()).collect();
    assert_eq!(secrets, ["a-prometheus/other"], "a Secret without its labels stays");

    // Its Secrets are taken over with the object.
    let mut cluster = three("policies: {adopt_finalizers: true}");
    let labels = [("remotewrite/name", "grafana-cloud"), ("remotewrite/namespace", "monitoring")];
    cluster.labelled_secret("a-prometheus/grafana-cloud", &labels);
    cluster.remote_write("monitoring/grafana-cloud", documented());
    assert!(cluster.settle()[0].contains("Applied"));
    assert_eq!(cluster.copies()[0], "a-prometheus/grafana-cloud password=hunter2,username=user");

    let mut cluster = three("");
    old(&mut cluster);
    cluster.delete_remote_write("monitoring/theirs");
    cluster.settle();
    assert_eq!(finalizers(&cluster), Some(json!([OLD, "foreign/x"])), "without leave it is not ours to release");
}

#[test]
fn r_g17_a_paused_object_is_left_alone_in_every_way() {
    for annotation in ["operatorkit.giantswarm.io/paused", "cluster.x-k8s.io/paused"] {
        let mut cluster = three("");
        cluster.remote_write("monitoring/grafana-cloud", documented());
        cluster.settle();
        cluster.remote_write("monitoring/grafana-cloud", plain("https://other.example/"));
        cluster.edit_remote_write("monitoring/grafana-cloud", |object| {
            object["metadata"]["annotations"][annotation] = json!("true");
        });
        cluster.settle();
        assert!(cluster.writes.is_empty(), "{:?}", cluster.writes);
        cluster.delete_remote_write("monitoring/grafana-cloud");
        cluster.settle();
        assert!(cluster.writes.is_empty(), "not even when it is deleted: {:?}", cluster.writes);
        cluster.edit_remote_write("monitoring/grafana-cloud", |object| {
            drop(object["metadata"].as_object_mut().unwrap().remove("annotations"));
        });
        cluster.settle();
        assert!(cluster.world.remote_writes.is_empty() && cluster.copies().is_empty());
    }
}

#[test]
fn r_g19_what_would_break_the_whole_configuration_is_never_written() {
    let auth = json!({"key": "k", "name": "s"});
    for (remote_write, says) in [
        (json!({"url": ""}), "url"),
        (json!({"url": "not a url"}), "url: expected a url that starts with http"),
        (json!({"url": "https://u:p@x/"}), "use basic_auth"),
        (
            json!({"url": "https://x/", "bearerToken": "t", "basicAuth": {"username": auth, "password": auth}}),
            "is configured too",
        ),
        (
            json!({"url": "https://x/", "sigv4": {"accessKey": auth, "secretKey": auth}, "oauth2": {"clientId": {"secret": auth}, "clientSecret": auth, "tokenUrl": "https://t/"}}),
            "is configured too",
        ),
        (
            json!({"url": "https://x/", "writeRelabelConfigs": [{"action": "keep", "sourceLabels": ["a"], "regex": "(("}]}),
            "regex",
        ),
        (json!({"url": "https://x/", "queueConfig": {"minBackoff": "1m", "maxBackoff": "1s"}}), "min_backoff"),
        (json!({"url": "https://x/", "basic_auth": {"user": auth}}), "unknown key `user` in basicAuth"),
        (json!({"url": "https://x/", "azureAd": {"sdk": {}, "scope": "$"}}), "azureAd.scope: expected letters"),
        (json!({"url": "https://x/", "azureAd": {"sdk": {"tenantId": "a b"}}}), "azureAd.sdk.tenantId"),
        (json!({"url": "https://x/", "sigv4": {"roleArn": "r", "externalId": ""}}), "sigv4.externalId"),
        (json!({"url": "https://x/", "remoteTimeOut": "1s"}), "did you mean `remoteTimeout`?"),
        (json!({"url": "https://x/", "headers": {"Authorization": "x"}}), "Authorization"),
    ] {
        let mut cluster = three("");
        cluster.remote_write("monitoring/x", json!({"clusterSelector": {}, "remoteWrite": remote_write}));
        let said = cluster.settle();
        assert!(
            said[0].starts_with("remotewrite/monitoring/x SpecInvalid: ") && said[0].contains(says),
            "{remote_write}: {said:?}"
        );
        assert_eq!(names(&cluster, "b-prometheus/b"), [""; 0]);
        assert_eq!(cluster.remote_write_status("monitoring/x")["conditions"][0]["status"], "False");
    }
}

#[test]
fn r_g21_r_g22_an_administrator_says_who_may_declare_and_files_need_leave() {
    let mut cluster = three("");
    cluster.remote_write("monitoring/x", plain("https://x.example/"));
    cluster.settle();
    cluster.settings.config.policies.remote_write_namespaces = vec!["platform".to_owned()];
    let said = cluster.settle();
    assert!(said[0].starts_with("remotewrite/monitoring/x NamespaceNotAllowed"), "{said:?}");
    assert_eq!(names(&cluster, "b-prometheus/b"), [""; 0], "what was there goes");

    let mut cluster = three("");
    cluster.remote_write("monitoring/x", json!({"clusterSelector": {}, "remoteWrite": {"url": "https://x/", "authorization": {"credentialsFile": "/var/run/secrets/kubernetes.io/serviceaccount/token"}}}));
    assert!(cluster.settle()[0].starts_with("remotewrite/monitoring/x FileNotAllowed"));
    assert_eq!(names(&cluster, "b-prometheus/b"), [""; 0]);

    let mut cluster = three("policies: {max_targets_per_namespace: 1}");
    cluster.remote_write("monitoring/z", plain("https://x.example/"));
    cluster.remote_write("monitoring/a", plain("https://x.example/"));
    let said = cluster.settle();
    assert!(
        said[0].starts_with("remotewrite/monitoring/a TooMany")
            && said[1].starts_with("remotewrite/monitoring/z Applied"),
        "{said:?}"
    );
}

#[test]
fn secrets_may_be_text_or_a_secret_of_the_objects_own_namespace_and_no_other_is_used() {
    let mut cluster = three("");
    let mut spec = documented();
    spec["secrets"] = json!([{"name": "grafana-cloud", "stringData": {"password": "plain", "username": "u"}}]);
    cluster.remote_write("monitoring/grafana-cloud", spec.clone());
    cluster.settle();
    assert_eq!(cluster.copies()[0], "a-prometheus/grafana-cloud password=plain,username=u");
    spec["secrets"] = json!([{"name": "grafana-cloud", "secretRef": {"name": "mine"}}]);
    cluster.remote_write("monitoring/grafana-cloud", spec.clone());
    assert!(cluster.settle()[0].contains("SecretMissing: spec.secrets[0].secretRef names the Secret monitoring/mine"));
    cluster.secret("monitoring/mine", &[], &[("password", "ref"), ("username", "u")]);
    cluster.settle();
    assert_eq!(cluster.copies()[0], "a-prometheus/grafana-cloud password=ref,username=u");

    // A platform's Secret beside the Prometheus is not there for everybody who can name it.
    spec["secrets"] = json!([]);
    let mut cluster = three("");
    for at in ["a-prometheus/grafana-cloud", "b-prometheus/grafana-cloud"] {
        cluster.secret(at, &[], &[("password", "platform"), ("username", "u")]);
    }
    cluster.remote_write("monitoring/grafana-cloud", spec.clone());
    let said = cluster.settle();
    assert!(
        said[0].contains("SecretNotDeclared: basicAuth.username names grafana-cloud, which is not in spec.secrets"),
        "{said:?}"
    );
    assert_eq!(names(&cluster, "b-prometheus/b"), [""; 0]);
    for at in ["a-prometheus/grafana-cloud", "b-prometheus/grafana-cloud"] {
        cluster.secret(
            at,
            &[("writegate.io/allow-namespaces", "monitoring")],
            &[("password", "platform"), ("username", "u")],
        );
    }
    cluster.settle();
    assert_eq!(names(&cluster, "b-prometheus/b"), ["grafana-cloud"]);
}

#[test]
fn r_g11_the_users_proxy_wins_and_the_environments_needs_leave() {
    let environment =
        targets::EnvironmentProxy { http: None, https: Some("http://env.example:3128".to_owned()), except: vec![] };
    for (config, own, expected) in [
        ("", None, None),
        ("policies: {environment_proxy: true}", None, Some("http://env.example:3128")),
        ("policies: {environment_proxy: true}", Some("http://mine.example:1"), Some("http://mine.example:1")),
    ] {
        let mut cluster = three(config);
        cluster.settings.proxy = environment.clone();
        let mut spec = plain("https://x.example/");
        if let Some(own) = own {
            spec["remoteWrite"]["proxyUrl"] = json!(own);
        }
        cluster.remote_write("monitoring/x", spec);
        cluster.settle();
        assert_eq!(cluster.entries("b-prometheus/b")[0]["proxyUrl"].as_str(), expected, "{config}");
    }
}

#[test]
fn r_g23_two_hundred_objects_and_a_hundred_prometheuses_come_to_rest_with_one_write_each() {
    let mut cluster = Cluster::new("policies: {max_targets_per_namespace: 200}");
    for index in 0..100 {
        cluster.prometheus(&format!("p-{index}/p"), &[], json!([]));
    }
    for index in 0..200 {
        cluster.remote_write(&format!("monitoring/rw-{index}"), plain("https://x.example/"));
    }
    cluster.settle();
    let of = |kind: &str| cluster.writes.iter().filter(|object| object.starts_with(kind)).count();
    assert_eq!((of("Prometheus "), of("RemoteWrite ")), (100, 400));
    assert_eq!(cluster.entries("p-99/p").as_array().unwrap().len(), 200);
}

#[test]
fn while_the_api_server_does_not_know_a_kind_nothing_is_taken_away() {
    let mut cluster = three("");
    cluster.remote_write("monitoring/grafana-cloud", documented());
    cluster.settle();
    let copies = cluster.copies();
    let (objects, prometheuses) = (cluster.world.remote_writes.clone(), cluster.world.prometheuses.clone());
    cluster.world.remote_writes.clear();
    cluster.world.unknown.insert("remotewrites");
    cluster.settle();
    assert!(cluster.writes.is_empty(), "{:?}", cluster.writes);
    cluster.world.remote_writes = objects;
    cluster.world.prometheuses.clear();
    cluster.world.unknown = std::collections::BTreeSet::from(["prometheuses"]);
    cluster.delete_remote_write("monitoring/grafana-cloud");
    cluster.settle();
    assert_eq!((cluster.copies(), cluster.world.remote_writes.len()), (copies, 1));
    cluster.world.prometheuses = prometheuses;
    cluster.world.unknown.clear();
    cluster.settle();
    assert!(cluster.copies().is_empty() && cluster.world.remote_writes.is_empty());
}

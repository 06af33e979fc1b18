//! Namespaces that name a Secret with a target in it.

use serde_json::json;
use targets::{Key, PrometheusId, PrometheusKind, ReferenceKind};

use crate::cluster::Cluster;

const KEY: &str = "metrics.monitoring.adevinta.com/remote-write";
const TARGET: &str = "url: https://x.example/push\nbasicAuth:\n  username: {name: cred, key: user}\n  password: {name: cred, key: pass}\n";

/// A tenant with a Prometheus, a target, and its credentials.
fn tenant(config: &str) -> Cluster {
    let mut cluster = Cluster::new(config);
    cluster.namespace("team", &[(KEY, "target")]);
    cluster.namespace("other", &[]);
    cluster.namespace("platform-services", &[]);
    cluster.secret("team/target", &[], &[("remote-write", TARGET)]);
    cluster.secret("team/cred", &[], &[("user", "u"), ("pass", "hunter2")]);
    cluster.prometheus(
        "platform-services/team",
        &[],
        json!([{"url": "http://foreign/", "name": "theirs", "sendExemplars": true}]),
    );
    cluster
}

#[test]
fn r_a1_an_annotation_puts_the_target_beside_foreign_entries_with_copies_of_its_secrets() {
    let mut cluster = tenant("");
    assert_eq!(cluster.settle(), ["annotation/team Applied: applied"]);
    assert_eq!(
        cluster.entries("platform-services/team"),
        json!([
            {"url": "http://foreign/", "name": "theirs", "sendExemplars": true},
            {
                "name": "annotation/team",
                "url": "https://x.example/push",
                "basicAuth": {
                    "username": {"name": "custom-remote-write-cred-team", "key": "user"},
                    "password": {"name": "custom-remote-write-cred-team", "key": "pass"},
                },
            },
        ])
    );
    assert_eq!(cluster.copies(), ["platform-services/custom-remote-write-cred-team pass=hunter2,user=u"]);
    assert_eq!(cluster.status("team")["reason"], "Applied");
    assert_eq!(cluster.object("platform-services/team")["spec"]["evaluationInterval"], "17s");
    let said = format!("{:?} {:?} {:?}", cluster.notes, cluster.reports, cluster.status("team"));
    assert!(!said.contains("hunter2"));
    assert!(cluster.settle().len() == 1 && cluster.writes.is_empty(), "R-A17: {:?}", cluster.writes);
}

#[test]
fn r_a2_another_namespaces_secret_needs_its_owners_grant_and_leave_can_be_taken_back() {
    let mut cluster = tenant("");
    cluster.settle();
    let before = cluster.object("platform-services/team").clone();
    cluster.secret("other/target", &[], &[("remote-write", "url: https://o.example/")]);
    cluster.namespace("team", &[(KEY, "other/target")]);
    let said = cluster.settle();
    assert!(said[0].starts_with("annotation/team NotGranted: the Secret other/target is not granted"), "{said:?}");
    assert_eq!(cluster.object("platform-services/team"), &before, "what was applied goes on");
    assert!(cluster.copies().len() == 1);

    cluster.secret(
        "other/target",
        &[("writegate.io/allow-namespaces", "a, team")],
        &[("remote-write", "url: https://o.example/")],
    );
    assert_eq!(cluster.settle(), ["annotation/team Applied: applied"]);
    assert_eq!(cluster.entries("platform-services/team")[1]["url"], "https://o.example/");
    assert!(cluster.copies().is_empty());

    cluster.secret("other/target", &[], &[("remote-write", "url: https://o.example/")]);
    cluster.settle();
    assert_eq!(cluster.entries("platform-services/team").as_array().unwrap().len(), 1, "leave was taken back");
}

#[test]
fn r_a3_what_is_no_name_of_a_secret_is_refused_and_never_taken_for_another() {
    for value in ["", "a/b/c", "/b", "a/", "A", "a b", "../x", "team/", "a.b/c"] {
        let mut cluster = tenant("");
        cluster.namespace("team", &[(KEY, value)]);
        let said = cluster.settle();
        assert!(said[0].starts_with("annotation/team AnnotationInvalid: "), "{value}: {said:?}");
        assert_eq!(cluster.status("team")["reason"], "AnnotationInvalid", "{value}");
        assert!(cluster.copies().is_empty());
    }
}

#[test]
fn every_spelling_of_the_annotation_is_read_and_two_that_differ_are_refused() {
    for key in ["metrics.monitoring.x.io/remote-write", "monitoring.x.io/remote-write", "monitor.x.io/remote-write"] {
        let mut cluster = tenant("domain: x.io");
        cluster.namespace("team", &[(key, "target")]);
        let said = cluster.settle();
        assert!(said[0].starts_with("annotation/team Applied"), "{said:?}");
        assert_eq!(said[0].contains("the documented key is"), !key.starts_with("metrics"), "{said:?}");
    }
    let mut cluster = tenant("domain: x.io");
    cluster
        .namespace("team", &[("metrics.monitoring.x.io/remote-write", "target"), ("monitor.x.io/remote-write", "b")]);
    assert!(cluster.settle()[0].starts_with("annotation/team AnnotationInvalid: the annotations"));
}

#[test]
fn r_a6_every_spelling_of_the_list_of_secrets_counts() {
    let mut cluster = tenant("");
    cluster.secret("team/one", &[], &[("a", "1")]);
    cluster.secret("team/two", &[], &[("b", "2")]);
    let lists = [
        ("monitor.adevinta.com/referenced-secrets", "cred, one"),
        ("monitoring.adevinta.com/referenced-secrets", " two ,"),
    ];
    cluster.secret("team/target", &lists, &[("remote-write", TARGET)]);
    cluster.settle();
    let made: Vec<String> =
        cluster.copies().into_iter().map(|copy| copy.split(' ').next().unwrap().to_owned()).collect();
    let names = ["cred", "one", "two"].map(|name| format!("platform-services/custom-remote-write-{name}-team"));
    assert_eq!(made, names);
}

#[test]
fn r_a7_every_reference_is_copied_and_renamed_wherever_it_stands() {
    let mut cluster = tenant("");
    let spec = "url: https://x.example/\noauth2:\n  clientId: {configMap: {name: id, key: id}}\n  clientSecret: {name: a, key: s}\n  tokenUrl: https://t.example/\n  tlsConfig: {ca: {secret: {name: b, key: ca}}}\n  proxyUrl: http://p.example\n  proxyConnectHeader: {X: [{name: c, key: h}]}\ntlsConfig:\n  ca: {configMap: {name: id, key: ca}}\n  cert: {secret: {name: d, key: crt}}\n  keySecret: {name: e, key: key}\nproxyUrl: http://p.example\nproxyConnectHeader: {Y: [{name: f, key: h}]}\n";
    cluster.secret("team/target", &[], &[("remote-write", spec)]);
    cluster.source(ReferenceKind::ConfigMap, "team/id", &[], &[("id", "me"), ("ca", "pem")]);
    for (name, key) in [("a", "s"), ("b", "ca"), ("c", "h"), ("d", "crt"), ("e", "key"), ("f", "h")] {
        cluster.secret(&format!("team/{name}"), &[], &[(key, name)]);
    }
    assert_eq!(cluster.settle(), ["annotation/team Applied: applied"]);
    insta::assert_snapshot!(targets::to_yaml(&cluster.entries("platform-services/team")[1]), @r#"
    name: annotation/team
    oauth2:
      clientId:
        secret:
          key: id
          name: custom-remote-write-id-team
      clientSecret:
        key: s
        name: custom-remote-write-a-team
      proxyConnectHeader:
        X:
        - key: h
          name: custom-remote-write-c-team
      proxyUrl: "http://p.example"
      tlsConfig:
        ca:
          secret:
            key: ca
            name: custom-remote-write-b-team
      tokenUrl: "https://t.example/"
    proxyConnectHeader:
      "Y":
      - key: h
        name: custom-remote-write-f-team
    proxyUrl: "http://p.example"
    tlsConfig:
      ca:
        secret:
          key: ca
          name: custom-remote-write-id-team
      cert:
        secret:
          key: crt
          name: custom-remote-write-d-team
      keySecret:
        key: key
        name: custom-remote-write-e-team
    url: "https://x.example/"
    "#);
    assert_eq!(cluster.copies().len(), 7);
}

#[test]
fn r_a7_the_keys_of_clouds_are_copied_too() {
    for (block, reference) in [
        (
            "sigv4: {region: r, accessKey: {name: cred, key: user}, secretKey: {name: cred, key: pass}}",
            "sigv4.secretKey",
        ),
        (
            "azureAd: {oauth: {clientId: 00000000-0000-0000-0000-000000000000, clientSecret: {name: cred, key: pass}, tenantId: t}}",
            "azureAd.oauth.clientSecret",
        ),
        ("authorization: {credentials: {name: cred, key: pass}}", "authorization.credentials"),
    ] {
        let mut cluster = tenant("");
        cluster.secret("team/target", &[], &[("remote-write", &format!("url: https://x.example/\n{block}"))]);
        assert_eq!(cluster.settle(), ["annotation/team Applied: applied"]);
        let entry = cluster.entries("platform-services/team")[1].clone();
        let at = reference.split('.').fold(&entry, |value, key| &value[key]);
        assert_eq!(at["name"], "custom-remote-write-cred-team", "{reference}");
    }
}

#[test]
fn r_a8_names_that_come_to_the_same_never_share_a_copy() {
    let mut cluster = Cluster::new("");
    for (namespace, secret) in [("team-a", "x"), ("a", "x-team")] {
        cluster.namespace(namespace, &[(KEY, "target")]);
        let target = format!("url: https://x.example/\nauthorization: {{credentials: {{name: {secret}, key: k}}}}");
        cluster.secret(&format!("{namespace}/target"), &[], &[("remote-write", &target)]);
        cluster.secret(&format!("{namespace}/{secret}"), &[], &[("k", namespace)]);
        cluster.prometheus(&format!("platform-services/{namespace}"), &[], json!([]));
    }
    cluster.settle();
    let name = |cluster: &Cluster, namespace: &str| {
        cluster.entries(&format!("platform-services/{namespace}"))[0]["authorization"]["credentials"]["name"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let (first, second) = (name(&cluster, "team-a"), name(&cluster, "a"));
    assert_ne!(first, second);
    let copies = cluster.copies();
    assert!(copies.contains(&format!("platform-services/{first} k=team-a")), "{copies:?}");
    assert!(copies.contains(&format!("platform-services/{second} k=a")), "{copies:?}");
    assert!([&first, &second].iter().any(|name| *name == "custom-remote-write-x-team-a"));

    // Neither loses its name when the other goes.
    cluster.namespace("a", &[]);
    cluster.settle();
    assert_eq!(name(&cluster, "team-a"), first);
    assert_eq!(cluster.copies().len(), 1);
}

#[test]
fn r_a9_a_secret_of_somebody_else_is_never_written_even_if_its_name_matches() {
    let mut cluster = tenant("");
    cluster.secret("platform-services/custom-remote-write-cred-team", &[], &[("mine", "x")]);
    let said = cluster.settle();
    assert!(
        said[0].starts_with(
            "annotation/team SecretConflict: the Secret platform-services/custom-remote-write-cred-team is there"
        ),
        "{said:?}"
    );
    assert!(cluster.copies().is_empty() && cluster.entries("platform-services/team").as_array().unwrap().len() == 1);
    cluster.namespace("team", &[]);
    cluster.settle();
    cluster.remove_secret("platform-services/custom-remote-write-cred-team");
}

#[test]
fn r_a10_a_target_never_resolves_in_the_platforms_namespace() {
    let mut cluster = tenant("");
    cluster.secret("platform-services/grafana", &[], &[("token", "t")]);
    cluster.secret(
        "team/target",
        &[],
        &[("remote-write", "url: https://evil.example/\nauthorization: {credentials: {name: grafana, key: token}}")],
    );
    let said = cluster.settle();
    assert!(
        said[0].starts_with("annotation/team SecretMissing: authorization.credentials names the Secret team/grafana"),
        "{said:?}"
    );
    cluster.namespace("team", &[(KEY, "platform-services/grafana")]);
    assert!(cluster.settle()[0].starts_with("annotation/team NotGranted"));
    assert_eq!(cluster.entries("platform-services/team").as_array().unwrap().len(), 1);
}

#[test]
fn r_a12_changes_of_either_secret_arrive() {
    let mut cluster = tenant("");
    cluster.settle();
    cluster.secret("team/cred", &[], &[("user", "u"), ("pass", "new")]);
    cluster.settle();
    assert_eq!(cluster.copies(), ["platform-services/custom-remote-write-cred-team pass=new,user=u"]);
    cluster.secret("team/cred", &[], &[("user", "u"), ("pass", "new"), ("more", "m")]);
    cluster.settle();
    cluster.secret("team/cred", &[], &[("user", "u"), ("pass", "new")]);
    cluster.settle();
    assert_eq!(
        cluster.copies(),
        ["platform-services/custom-remote-write-cred-team pass=new,user=u"],
        "a key that went"
    );
    cluster.secret("team/target", &[], &[("remote-write", "url: https://y.example/")]);
    cluster.settle();
    assert_eq!(
        cluster.entries("platform-services/team")[1],
        json!({"name": "annotation/team", "url": "https://y.example/"})
    );
    assert!(cluster.copies().is_empty());
}

const DEFAULT: &str = "default_target:\n  name: grafana-{{namespace}}\n  url: https://{{namespace}}.grafana.example/push\n  basicAuth:\n    username: {name: grafana, key: \"{{namespace}}\"}\n    password: {name: grafana, key: token}\n  writeRelabelConfigs:\n  - {sourceLabels: [__name__], regex: prometheus_.*, action: drop}\n";

#[test]
fn r_a13_without_the_annotation_the_default_is_back_and_without_the_namespace_nothing_is() {
    let mut cluster = tenant(DEFAULT);
    let said = cluster.settle();
    assert_eq!(said.last().map(String::as_str), Some("annotation/team Applied: applied"));
    assert!(said.len() == 1 && cluster.status("other") == json!(null), "no tenant");
    cluster.namespace("team", &[]);
    cluster.settle();
    let entries = cluster.entries("platform-services/team");
    assert_eq!(entries[1]["name"], "grafana-team", "R-A14: {entries}");
    assert_eq!(entries[1]["basicAuth"]["username"], json!({"name": "grafana", "key": "team"}));
    assert_eq!(entries.as_array().unwrap().len(), 2);
    assert_eq!(cluster.status("team")["reason"], "DefaultApplied");
    assert!(cluster.copies().is_empty());
    cluster.terminate("team");
    cluster.settle();
    assert_eq!(cluster.entries("platform-services/team").as_array().unwrap().len(), 1);
}

#[test]
fn r_a14_no_annotation_and_no_default_is_said_too() {
    let mut cluster = tenant("");
    cluster.namespace("team", &[]);
    cluster.settle();
    assert_eq!(cluster.status("team")["reason"], "NoTarget");
    assert_eq!(cluster.status("other"), json!(null), "no tenant, nothing written");
}

#[test]
fn the_default_stays_until_the_annotations_target_can_take_its_place_or_beside_it() {
    let mut cluster = tenant(DEFAULT);
    cluster.namespace("team", &[]);
    cluster.settle();
    cluster.namespace("team", &[(KEY, "nowhere")]);
    let said = cluster.settle();
    assert!(said.iter().any(|line| line.starts_with("annotation/team SecretMissing")), "{said:?}");
    assert_eq!(cluster.entries("platform-services/team")[1]["name"], "grafana-team");
    assert_eq!(cluster.status("team")["reason"], "SecretMissing");
    cluster.namespace("team", &[(KEY, "target")]);
    cluster.settle();
    assert_eq!(cluster.entries("platform-services/team")[1]["name"], "annotation/team");

    let mut cluster = tenant(&format!("{DEFAULT}annotation_mode: add\n"));
    cluster.settle();
    let names: Vec<String> = cluster
        .entries("platform-services/team")
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["theirs", "grafana-team", "annotation/team"]);
}

#[test]
fn r_a15_the_last_good_entry_goes_on_while_something_is_broken_and_repair_is_noticed() {
    let mut cluster = tenant("");
    cluster.settle();
    let before = cluster.object("platform-services/team").clone();
    let copies = cluster.copies();
    for (broken, reason) in [
        (("team/target", "url: [", "SpecInvalid"), "SpecInvalid"),
        (("team/target", "url: https://x.example/\nbearerTokenFile: /t", "FileNotAllowed"), "FileNotAllowed"),
        (("team/target", "url: ''", "SpecInvalid"), "SpecInvalid"),
    ] {
        cluster.secret(broken.0, &[], &[("remote-write", broken.1)]);
        let said = cluster.settle();
        assert!(said[0].starts_with(&format!("annotation/team {reason}: ")), "{said:?}");
        assert!(said[0].ends_with("what was applied before goes on"), "{said:?}");
        assert_eq!(cluster.object("platform-services/team"), &before);
        assert_eq!(cluster.copies(), copies);
        assert_eq!(cluster.notes.len(), 1);
    }
    cluster.secret("team/target", &[], &[("other", "x")]);
    assert!(cluster.settle()[0].starts_with("annotation/team KeyMissing"));
    cluster.remove_secret("team/target");
    assert!(cluster.settle()[0].starts_with("annotation/team SecretMissing"));
    cluster.secret("team/target", &[], &[("remote-write", TARGET)]);
    assert_eq!(cluster.settle(), ["annotation/team Applied: applied"]);
    cluster.remove_secret("team/cred");
    assert!(cluster.settle()[0].starts_with("annotation/team SecretMissing"));
    assert_eq!(cluster.copies(), copies);
    assert_eq!(cluster.status("team")["reason"], "SecretMissing");
}

#[test]
fn r_a16_r_a17_what_others_write_stays_and_the_order_is_the_same_after_a_hundred_rounds() {
    let mut cluster = tenant("");
    cluster.settle();
    cluster.edit_prometheus("platform-services/team", |object| {
        object["spec"]["scrapeInterval"] = json!("5s");
        object["metadata"]["annotations"]["mine"] = json!("x");
        object["spec"]["remoteWrite"]
            .as_array_mut()
            .unwrap()
            .push(json!({"url": "http://late/", "unknownField": {"a": [1.5]}}));
    });
    let before = cluster.object("platform-services/team").clone();
    for _ in 0..100 {
        cluster.settle();
        assert!(cluster.writes.is_empty());
    }
    assert_eq!(cluster.object("platform-services/team"), &before);
    cluster.secret("team/target", &[], &[("remote-write", "url: https://z.example/")]);
    cluster.settle();
    let mut expected = before["spec"].clone();
    expected["remoteWrite"][1] = json!({"name": "annotation/team", "url": "https://z.example/"});
    assert_eq!(cluster.object("platform-services/team")["spec"], expected);
    assert_eq!(cluster.object("platform-services/team")["metadata"]["annotations"]["mine"], "x");
}

#[test]
fn an_entry_that_was_changed_or_removed_by_hand_is_mended() {
    let mut cluster = tenant("");
    cluster.settle();
    let before = cluster.entries("platform-services/team");
    cluster.edit_prometheus("platform-services/team", |object| {
        object["spec"]["remoteWrite"][1]["url"] = json!("https://evil/");
    });
    cluster.settle();
    assert_eq!(cluster.entries("platform-services/team"), before);
    cluster.edit_prometheus("platform-services/team", |object| {
        drop(object["spec"]["remoteWrite"].as_array_mut().unwrap().pop());
    });
    cluster.settle();
    assert_eq!(cluster.entries("platform-services/team"), before);
    cluster.edit_prometheus("platform-services/team", |object| object["metadata"]["annotations"] = json!({}));
    cluster.settle();
    assert_eq!(cluster.entries("platform-services/team"), before, "a lost record does not double an entry");
}

#[test]
fn what_the_api_server_fills_in_is_no_change() {
    let mut cluster = tenant("");
    cluster.secret(
        "team/target",
        &[],
        &[(
            "remote-write",
            "url: https://x.example/\nwriteRelabelConfigs: [{sourceLabels: [a], regex: b, targetLabel: c}]",
        )],
    );
    cluster.settle();
    assert_eq!(cluster.entries("platform-services/team")[1]["writeRelabelConfigs"][0]["action"], "replace");
    cluster.settle();
    assert!(cluster.writes.is_empty());
}

#[test]
fn r_a20_a_templates_prometheus_looks_into_its_tenants_namespace_only() {
    let template = "prometheus_template:\n  metadata: {labels: {team: \"{{namespace}}\"}}\n  spec:\n    replicas: 1\n    externalLabels: {account: \"{{namespace}}\"}\n    podMonitorSelector: {matchLabels: {monitor.adevinta.com/account: \"{{namespace}}\"}}\n";
    let mut cluster = Cluster::new(template);
    cluster.namespace("team", &[(KEY, "target")]);
    cluster.secret("team/target", &[], &[("remote-write", "url: https://x.example/")]);
    assert_eq!(cluster.settle(), ["annotation/team Applied: applied"]);
    insta::assert_snapshot!(targets::to_yaml(&cluster.object("platform-services/team")["spec"]), @r#"
    externalLabels:
      account: team
    podMonitorNamespaceSelector:
      matchLabels:
        kubernetes.io/metadata.name: team
    podMonitorSelector:
      matchLabels:
        monitor.adevinta.com/account: team
    probeNamespaceSelector:
      matchLabels:
        kubernetes.io/metadata.name: team
    remoteWrite:
    - name: annotation/team
      url: "https://x.example/"
    replicas: 1
    ruleNamespaceSelector:
      matchLabels:
        kubernetes.io/metadata.name: team
    scrapeConfigNamespaceSelector:
      matchLabels:
        kubernetes.io/metadata.name: team
    serviceMonitorNamespaceSelector:
      matchLabels:
        kubernetes.io/metadata.name: team
    "#);
    cluster.namespace("team", &[]);
    cluster.settle();
    assert!(
        cluster.entries("platform-services/team").is_array(),
        "R-A18: it goes with the namespace, not with the annotation"
    );
    cluster.terminate("team");
    cluster.settle();
    assert!(cluster.world.prometheuses.is_empty());
}

#[test]
fn administrators_say_who_may_annotate_where_targets_may_send_and_how_large_they_are() {
    for (policies, reason) in [
        ("annotation_namespaces: [other]", "NamespaceNotAllowed"),
        ("allowed_hosts: [y.example]", "HostNotAllowed"),
        ("max_target_bytes: 10", "TooLarge"),
    ] {
        let mut cluster = tenant("");
        cluster.settle();
        let stricter = tenant(&format!("policies: {{{policies}}}")).settings;
        cluster.settings = stricter;
        let said = cluster.settle();
        assert!(said[0].starts_with(&format!("annotation/team {reason}: ")), "{said:?}");
        let left = cluster.entries("platform-services/team").as_array().unwrap().len();
        let goes = reason != "TooLarge";
        assert_eq!(left, if goes { 1 } else { 2 }, "{policies}: an entry that is not allowed any more goes");
        assert_eq!(cluster.copies().is_empty(), goes, "{policies}");
    }
}

#[test]
fn a_change_that_the_api_server_refuses_is_told_where_the_tenant_looks() {
    for object in ["Secret platform-services/custom-remote-write-cred-team", "Prometheus platform-services/team"] {
        let mut cluster = tenant("");
        cluster.refuses = Some(object.to_owned());
        cluster.world.failures.insert(object.to_owned(), "the API server answered 403 Forbidden".to_owned());
        for _ in 0..8 {
            cluster.step();
        }
        assert_eq!(cluster.status("team")["reason"], "ApplyFailed", "{object}");
        let message = cluster.status("team")["message"].as_str().unwrap().to_owned();
        assert!(message.contains(object) && message.contains("403"), "{message}");
        cluster.refuses = None;
        cluster.world.failures.clear();
        assert_eq!(cluster.settle(), ["annotation/team Applied: applied"]);
    }
}

#[test]
fn a_secret_that_cannot_be_read_is_told_too() {
    let mut cluster = tenant("");
    cluster.world.failures.insert("Secret team/target".to_owned(), "the API server answered 403 Forbidden".to_owned());
    cluster.step();
    assert_eq!(cluster.reports[0].reason.as_str(), "ApplyFailed");
    assert!(cluster.reports[0].message.contains("the Secret team/target could not be read"), "{:?}", cluster.reports);
}

#[test]
fn agents_get_targets_only_if_the_administrator_says_so() {
    for (config, expected) in [("", 0), ("prometheus_agents: true", 1)] {
        let mut cluster = tenant(config);
        let id = PrometheusId { kind: PrometheusKind::Agent, key: Key::new("platform-services", "team") };
        let agent =
            json!({"metadata": {"namespace": "platform-services", "name": "team", "resourceVersion": "1"}, "spec": {}});
        cluster.world.prometheuses.insert(id.clone(), agent);
        cluster.settle();
        let entries = cluster.world.prometheuses[&id]["spec"]["remoteWrite"].as_array().map_or(0, Vec::len);
        assert_eq!(entries, expected, "{config}");
        assert_eq!(cluster.entries("platform-services/team").as_array().unwrap().len(), 2);
    }
}

//! What the gateway gets, and that it takes it.

use std::fs;
use std::path::Path;

use serde_json::json;
use targets::Applier;
use writegate_config::{Auth, Config, SecretSource};

use crate::cluster::{Cluster, settings};

const KEY: &str = "metrics.monitoring.adevinta.com/remote-write";

fn cluster(config: &str) -> Cluster {
    let mut cluster = Cluster::with(settings(config, Applier::File));
    cluster.namespace("team", &[(KEY, "target")]);
    cluster.namespace("other", &[]);
    cluster.secret(
        "team/target",
        &[],
        &[("remote-write", "url: https://x.example/push\nbasicAuth:\n  username: {name: cred, key: user}\n  password: {name: cred, key: pass}\n")],
    );
    cluster.secret("team/cred", &[], &[("user", "u"), ("pass", "hunter2")]);
    cluster
}

/// The gateway's own reader takes the file.
fn load(cluster: &Cluster) -> Config {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("endpoints.yaml");
    fs::write(&file, &cluster.file.as_ref().unwrap().text).unwrap();
    let main = "listeners: [{address: '127.0.0.1:1'}]\nremote_write_files: [endpoints.yaml]\n";
    writegate_config::parse(main, &directory.path().join("w.yml"), directory.path()).unwrap().config
}

#[test]
fn a_namespaces_target_is_an_endpoint_of_its_tenant_with_secrets_in_files() {
    let mut cluster = cluster("");
    assert_eq!(cluster.settle(), ["annotation/team Applied: applied"]);
    let rendered = cluster.file.clone().unwrap();
    insta::assert_snapshot!(rendered.text, @r#"
    # Made by writegate-operator from what is declared in the cluster. Changes are overwritten.
    - {"basic_auth":{"password_file":"/run/secrets/team/cred/pass","username_file":"/run/secrets/team/cred/user"},"name":"annotation/team","tenant_header":"","tenants":["team"],"url":"https://x.example/push"} # from team/target
    "#);
    assert_eq!(rendered.secrets["team/cred/pass"], b"hunter2");
    assert!(!rendered.text.contains("hunter2") && !format!("{rendered:?}").contains("hunter2"));
    let config = load(&cluster);
    let [endpoint] = config.endpoints.as_slice() else { panic!("{:?}", config.endpoints) };
    assert_eq!(endpoint.name, "annotation/team");
    assert!(endpoint.takes("team") && !endpoint.takes("other"));
    assert_eq!(endpoint.tenant_header, None);
    let Auth::Basic { password, .. } = &endpoint.auth else { panic!() };
    assert_eq!(*password, SecretSource::File("/run/secrets/team/cred/pass".into()));
    cluster.settle();
    assert!(cluster.writes.is_empty());
    assert!(cluster.copies().is_empty(), "nothing is copied in the cluster");
}

#[test]
fn every_field_of_a_target_is_one_of_the_gateway() {
    let mut cluster = cluster("policies: {allow_pod_identity: true}");
    let mut spec = crate::specs::everything();
    spec["writeRelabelConfigs"][0]["action"] = json!("replace");
    spec["writeRelabelConfigs"][0].as_object_mut().unwrap().remove("modulus");
    let secrets = ["id", "cs", "ca", "crt", "key", "ph"]
        .map(|name| json!({"name": name, "stringData": {"k": format!("value-{name}")}}));
    cluster.source(targets::ReferenceKind::ConfigMap, "other/ca", &[], &[("k", "pem")]);
    cluster.namespace("team", &[]);
    cluster.remote_write("other/all", json!({"clusterSelector": {"matchLabels": {"kubernetes.io/metadata.name": "team"}}, "remoteWrite": spec, "secrets": secrets}));
    let said = cluster.settle();
    assert_eq!(said, ["remotewrite/other/all Applied: applied"]);
    let text = cluster.file.as_ref().unwrap().text.clone();
    insta::assert_snapshot!(text.replace(",\"", ",\n\""));
    let config = load(&cluster);
    assert!(config.endpoints[0].takes("team") && !config.endpoints[0].takes("other"));
    assert_eq!(cluster.file.as_ref().unwrap().secrets["other/all@ca@configmap/k"], b"pem");
}

#[test]
fn the_last_good_entry_and_its_files_stay_also_after_a_restart() {
    let mut cluster = cluster("");
    cluster.settle();
    let good = cluster.file.clone().unwrap();
    cluster.secret("team/target", &[], &[("remote-write", "url: [")]);
    assert!(cluster.settle()[0].starts_with("annotation/team SpecInvalid"));
    let kept = cluster.file.clone().unwrap();
    assert_eq!(kept.text, good.text);
    assert!(kept.secrets.is_empty());
    assert_eq!(kept.kept.iter().collect::<Vec<_>>(), ["team/cred/pass", "team/cred/user"]);
    cluster.namespace("team", &[]);
    cluster.settle();
    assert_eq!(load(&cluster).endpoints.len(), 0);
}

#[test]
fn leave_that_is_taken_back_takes_the_entry() {
    let mut cluster = cluster("");
    let target = [("remote-write", "url: https://o.example/")];
    cluster.secret("other/target", &[("writegate.io/allow-namespaces", "team")], &target);
    cluster.namespace("team", &[(KEY, "other/target")]);
    cluster.settle();
    assert_eq!(load(&cluster).endpoints.len(), 1);
    cluster.secret("other/target", &[], &target);
    cluster.settle();
    assert_eq!(load(&cluster).endpoints.len(), 0);
}

#[test]
fn a_selector_selects_tenants_by_the_labels_of_their_namespaces_and_an_empty_one_all() {
    let mut cluster = cluster("");
    cluster.namespace("team", &[]);
    cluster.remote_write("other/all", json!({"clusterSelector": {}, "remoteWrite": {"url": "https://x.example/"}}));
    cluster.remote_write(
        "other/none",
        json!({"clusterSelector": {"matchLabels": {"a": "b"}}, "remoteWrite": {"url": "https://x.example/"}}),
    );
    let said = cluster.settle();
    assert!(
        said[0].starts_with("remotewrite/other/all Applied")
            && said[1].starts_with("remotewrite/other/none NothingSelected"),
        "{said:?}"
    );
    let config = load(&cluster);
    assert_eq!(config.endpoints.len(), 1);
    assert!(config.endpoints[0].takes("anybody"));
}

#[test]
fn the_default_target_is_everybodys_without_one() {
    let mut cluster = cluster(
        "default_target: {url: 'https://{{namespace}}.example/', authorization: {credentials: {name: g, key: k}}}",
    );
    cluster.secret("platform-services/g", &[], &[("k", "v")]);
    cluster.settle();
    let config = load(&cluster);
    let names: Vec<&str> = config.endpoints.iter().map(|endpoint| endpoint.name.as_str()).collect();
    assert_eq!(names, ["default/other", "annotation/team"]);
    assert_eq!(config.endpoints[0].url.redacted(), "https://other.example/");
    assert_eq!(cluster.file.as_ref().unwrap().secrets["platform-services/g/k"], b"v");
}

#[test]
fn observatoriums_secrets_are_endpoints_of_every_tenant() {
    let config =
        "write_storage: [{namespace: acm, name: vm, key: ep.yaml}, {namespace: acm, name: broken, key: ep.yaml}]";
    let mut cluster = cluster(config);
    cluster.namespace("team", &[]);
    let endpoint = "url: https://vm.example:8443/api/v1/write\nhttp_client_config:\n  basic_auth: {username: u, secret_name: creds, password_file_key: pw}\n  tls_config:\n    secret_name: tls\n    ca_file_key: ca.crt\n    cert_file_key: tls.crt\n    key_file_key: tls.key\n    insecure_skip_verify: false\n  follow_redirects: false\n";
    cluster.secret("acm/vm", &[], &[("ep.yaml", endpoint)]);
    cluster.secret("acm/creds", &[], &[("pw", "hunter2")]);
    cluster.secret("acm/tls", &[], &[("ca.crt", "A"), ("tls.crt", "B"), ("tls.key", "C")]);
    cluster.secret("acm/broken", &[], &[("ep.yaml", "url: https://x.example/\nhttp_client_config: {basic_auths: {}}")]);
    let said = cluster.settle();
    assert!(said[0].starts_with("write_storage/broken SpecInvalid: ep.yaml of the Secret acm/broken is no endpoint: unknown key `basic_auths`"), "{said:?}");
    assert_eq!(said[1], "write_storage/vm Applied: applied");
    let config = load(&cluster);
    let [endpoint] = config.endpoints.as_slice() else { panic!() };
    assert_eq!(
        (endpoint.name.as_str(), endpoint.tenant_header.as_deref()),
        ("write_storage/vm", Some("THANOS-TENANT"))
    );
    assert!(endpoint.takes("anybody") && !endpoint.follow_redirects);
    let files: Vec<&Path> = endpoint.tls.as_ref().unwrap().files().collect();
    assert_eq!(
        files,
        ["/run/secrets/acm/tls/ca.crt", "/run/secrets/acm/tls/tls.crt", "/run/secrets/acm/tls/tls.key"].map(Path::new)
    );
    let secrets = &cluster.file.as_ref().unwrap().secrets;
    assert_eq!(
        (secrets["acm/creds/pw"].as_slice(), secrets["acm/tls/tls.key"].as_slice()),
        (&b"hunter2"[..], &b"C"[..])
    );
    cluster.secret("acm/creds", &[], &[("other", "x")]);
    assert!(cluster.settle()[1].starts_with("write_storage/vm KeyMissing"));
    assert_eq!(load(&cluster).endpoints.len(), 1, "the last good one goes on");
}

#[test]
fn an_operator_that_follows_writes_its_file_and_nothing_else() {
    let mut cluster = cluster("");
    cluster.settings.leads = false;
    cluster.settle();
    assert!(cluster.writes.is_empty() && cluster.file.is_some());
}

#[test]
fn what_a_secret_holds_never_costs_the_gateway_its_whole_file() {
    let mut cluster = cluster("");
    let target = "url: https://x.example/\noauth2:\n  clientId: {secret: {name: cred, key: user}}\n  clientSecret: {name: cred, key: pass}\n  tokenUrl: https://t.example/\n";
    cluster.secret("team/target", &[], &[("remote-write", target)]);
    cluster.settle();
    let good = cluster.file.clone().unwrap().text;
    cluster.secret("team/cred", &[], &[("user", "  "), ("pass", "hunter2")]);
    let said = cluster.settle();
    assert!(
        said[0].starts_with("annotation/team SecretInvalid: with what its Secrets hold the gateway would refuse it"),
        "{said:?}"
    );
    assert_eq!(cluster.file.as_ref().unwrap().text, good, "the last good one goes on");
    assert_eq!(load(&cluster).endpoints.len(), 1);
}

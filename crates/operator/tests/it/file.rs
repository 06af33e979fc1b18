//! `--apply file`: what the gateway reads.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use crate::harness::{Cluster, KEY};

#[tokio::test(flavor = "multi_thread")]
async fn targets_become_a_file_that_the_gateway_reads_with_secrets_beside_it() {
    let config = "file: {path: out/endpoints.yaml, secrets: out/secrets}\nwrite_storage: [{namespace: acm, name: vm, key: ep.yaml}]\nleader_election: {namespace: writegate}";
    let cluster = Cluster::with(config, "file").await;
    let out = cluster.directory.path().join("out");
    std::fs::create_dir(&out).unwrap();
    for namespace in ["acm", "other"] {
        cluster.namespace(namespace, &[]);
    }
    cluster.namespace("team", &[(KEY, "target")]);
    let target = "url: https://x.example/push\nbasicAuth:\n  username: {name: cred, key: user}\n  password: {name: cred, key: pass}\n";
    cluster.secret("team", "target", json!({}), json!({"remote-write": target}));
    cluster.secret("team", "cred", json!({}), json!({"user": "u", "pass": "hunter2"}));
    let endpoint = "url: https://vm.example/api/v1/write\nhttp_client_config:\n  authorization: {secret_name: token, credentials_file_key: t}\n";
    cluster.secret("acm", "vm", json!({}), json!({"ep.yaml": endpoint}));
    cluster.secret("acm", "token", json!({}), json!({"t": "bearer"}));
    cluster.remote_write("other", "all", json!({"clusterSelector": {"matchLabels": {"kubernetes.io/metadata.name": "other"}}, "remoteWrite": {"url": "https://o.example/"}}));
    let operator = cluster.operator();
    cluster.reason("team", "Applied").await;
    cluster.ready_reason("other", "all", "Applied").await;
    let main = out.join("writegate.yml");
    std::fs::write(&main, "listeners: [{address: '127.0.0.1:1'}]\nremote_write_files: [endpoints.yaml]\n").unwrap();
    let endpoints = || writegate_config::load(&main).unwrap().config.endpoints;
    let names: Vec<String> = endpoints().iter().map(|endpoint| endpoint.name.clone()).collect();
    assert_eq!(names, ["write_storage/vm", "annotation/team", "remotewrite/other/all"]);
    assert!(endpoints()[1].takes("team") && !endpoints()[1].takes("other"));
    assert!(endpoints()[2].takes("other") && !endpoints()[2].takes("team"));
    let password = out.join("secrets/team/cred/pass");
    assert_eq!(std::fs::read(&password).unwrap(), b"hunter2");
    assert_eq!(std::fs::metadata(&password).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::metadata(out.join("endpoints.yaml")).unwrap().permissions().mode() & 0o777, 0o600);

    // A rotation is a new file; what is broken leaves the last good entry, also over a restart.
    cluster.secret("team", "cred", json!({}), json!({"user": "u", "pass": "rotated"}));
    cluster.annotate("other", "x", json!("1"));
    cluster.secret("team", "target", json!({}), json!({"remote-write": "url: ["}));
    cluster.reason("team", "SpecInvalid").await;
    assert_eq!(endpoints().len(), 3);
    assert!(operator.terminate().success());
    let operator = cluster.operator();
    cluster.annotate("team", "writegate.io/remote-write-status", json!(null));
    cluster.reason("team", "SpecInvalid").await;
    assert_eq!(endpoints().len(), 3);
    cluster.annotate("team", KEY, json!(null));
    cluster.until("the entry is gone", || endpoints().len() == 2 && !password.exists()).await;
    assert!(operator.terminate().success());
    assert!(cluster.secrets("platform-services").list().unwrap().is_empty());
}

//! What is printed, and how it ends.

use serde_json::{Value as Json, json};

use crate::harness::{Cluster, KEY};

fn run(cluster: &Cluster, args: &[&str]) -> (i32, String, String) {
    let output = cluster.command().args(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_and_roles_are_manifests_that_install() {
    let cluster = Cluster::new("").await;
    for args in [
        &["crds"][..],
        &["crds", "--json"],
        &["rbac"],
        &["rbac", "--json", "--apply", "file", "--namespace", "writegate"],
    ] {
        let (code, manifest, errors) = run(&cluster, args);
        assert_eq!((code, errors.as_str()), (0, ""), "{args:?}");
        cluster.server.install(&manifest).unwrap_or_else(|error| panic!("{args:?}: {error}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_says_what_is_declared_what_is_applied_and_why_not() {
    let cluster = Cluster::new("").await;
    cluster.namespace("team", &[(KEY, "target")]);
    cluster.secret("team", "target", json!({}), json!({"remote-write": "url: https://x.example/push?token=hunter2"}));
    cluster.prometheus("platform-services", "team", json!({}), json!({}));
    cluster.remote_write(
        "team",
        "bad",
        json!({"clusterSelector": {}, "remoteWrite": {"url": "https://y/", "bearerTokenFile": "/t"}}),
    );
    let operator = cluster.operator();
    cluster.reason("team", "Applied").await;
    cluster.ready_reason("team", "bad", "FileNotAllowed").await;
    cluster.until("both are told by Events", || cluster.events("team").len() == 2).await;
    let writes = cluster.writes();
    let (code, text, _) = run(&cluster, &["explain", "team"]);
    assert_eq!(code, 0);
    for line in [
        "namespace team",
        "  annotation metrics.monitoring.adevinta.com/remote-write: target",
        "annotation/team",
        "  sends to https://x.example/push?token=",
        "  Applied: applied",
        "  in Prometheus platform-services/team as \"annotation/team\"",
        "remotewrite/team/bad",
        "  FileNotAllowed: bearerTokenFile names a file",
    ] {
        assert!(text.contains(line), "{line:?} in {text}");
    }
    assert!(!text.contains("hunter2"), "{text}");
    let (_, text, _) = run(&cluster, &["explain", "team", "--json"]);
    let said: Json = serde_json::from_str(&text).unwrap();
    assert_eq!(said["targets"][0]["places"][0]["entry"], "annotation/team");
    let (code, _, errors) = run(&cluster, &["explain", "nowhere"]);
    assert_eq!((code, errors.as_str()), (1, "writegate-operator: there is no namespace nowhere\n"));
    assert_eq!(cluster.writes(), writes, "it changes nothing");
    drop(operator);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_file_and_a_wrong_command_are_told_in_words() {
    let cluster = Cluster::new("").await;
    let path = cluster.config_file();
    std::fs::write(&path, "polices: {}\nannotation_mode: replaces\n").unwrap();
    let (code, _, errors) = run(&cluster, &["run", "--config", path.to_str().unwrap()]);
    assert_eq!(code, 1);
    assert!(
        errors.contains("operator.yml:1:1: unknown key `polices` in the file (did you mean `policies`?)"),
        "{errors}"
    );
    assert!(errors.contains("operator.yml:2:18: annotation_mode: expected replace or add"), "{errors}");
    assert_eq!(run(&cluster, &["run", "--apply", "nowhere"]).0, 2);
    assert_eq!(run(&cluster, &["--help"]).0, 0);
    let (code, _, errors) = run(&cluster, &["run", "--apply", "file", "--config", "/nowhere.yml"]);
    assert!(code == 1 && errors.contains("/nowhere.yml"), "{errors}");
}

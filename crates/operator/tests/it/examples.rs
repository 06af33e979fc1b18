//! Everything under `deploy/`: each example is applied, each generated file is what the program prints.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use writegate_config::parse_operator;

use crate::harness::Cluster;

fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy").join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(deploy(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_example_is_applied() {
    let cluster = Cluster::new("").await;
    for namespace in ["monitoring", "p"] {
        cluster.namespace(namespace, &[]);
    }
    cluster.prometheus("p", "production", json!({"tier": "production"}), json!({}));
    for tenant in ["team-blue", "team-green"] {
        cluster.prometheus("platform-services", tenant, json!({}), json!({}));
    }
    let mut manifests: Vec<PathBuf> =
        fs::read_dir(deploy("examples")).unwrap().map(|entry| entry.unwrap().path()).collect();
    manifests.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    assert_eq!(manifests.len(), 5);
    for path in manifests {
        cluster
            .server
            .install(&fs::read_to_string(&path).unwrap())
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    let _operator = cluster.operator();
    for tenant in ["team-blue", "team-green"] {
        cluster.reason(tenant, "Applied").await;
    }
    for name in ["grafana-cloud", "thanos"] {
        cluster.ready_reason("monitoring", name, "Applied").await;
    }
    assert_eq!(cluster.names("p", "production").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_of_an_additional_endpoint_reaches_the_gateway() {
    let config =
        "write_storage: [{namespace: open-cluster-management-observability, name: victoriametrics, key: ep.yaml}]";
    let cluster = Cluster::with(config, "file").await;
    cluster.server.install(&read("examples/write-storage.yaml")).unwrap();
    let _operator = cluster.operator();
    let file = cluster.directory.path().join("endpoints.yaml");
    cluster.annotate("writegate", "nudge", json!("1"));
    let wait = std::time::Instant::now();
    while !fs::read_to_string(&file).is_ok_and(|text| text.contains("write_storage/victoriametrics")) {
        assert!(wait.elapsed() < crate::harness::LIMIT, "the file is not written");
        tokio::task::yield_now().await;
    }
}

#[test]
fn every_operators_file_is_read() {
    for path in ["examples/operator.yml", "kustomize/operator/operator.yml", "kustomize/gateway/operator.yml"] {
        parse_operator(&read(path), &deploy(path)).unwrap_or_else(|problems| panic!("{problems}"));
    }
    let gateway = read("kustomize/gateway/writegate.yml").replace("[/run/writegate/endpoints.yaml]", "[]");
    writegate_config::parse(&gateway, Path::new("writegate.yml"), Path::new(""))
        .unwrap_or_else(|problems| panic!("{problems}"));
}

/// Kustomize gives a generated ConfigMap a hash, and puts that name wherever a role names a resource of the old one.
#[test]
fn no_role_names_what_kustomize_renames() {
    for directory in ["kustomize/operator", "kustomize/gateway"] {
        let kustomization = read(&format!("{directory}/kustomization.yaml"));
        let (_, generated) = kustomization.split_once("configMapGenerator:\n").unwrap();
        let names = generated.lines().filter_map(|line| line.strip_prefix("- name: ")?.split(' ').next());
        let roles = read(&format!("{directory}/rbac.yaml"));
        let (_, named) = roles.split_once("resourceNames:\n").unwrap();
        for name in names {
            assert!(!named.lines().any(|line| line.trim() == format!("- {name}")), "{directory}: {name}");
        }
    }
}

/// Writes them anew with `UPDATE_DEPLOY=1`.
#[test]
fn generated_manifests_are_what_the_program_prints() {
    let print = |args: &[&str]| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_writegate-operator")).args(args).output().unwrap();
        assert!(output.status.success(), "{args:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let config = |path: &str| deploy(path).to_str().unwrap().to_owned();
    let head = |command: &str| format!("# Made by `writegate-operator {command}`; do not edit.\n");
    let crds = head("crds") + &print(&["crds"]);
    let roles = |apply: &str| {
        let file = config(&format!("kustomize/{}/operator.yml", if apply == "file" { "gateway" } else { "operator" }));
        print(&["rbac", "--apply", apply, "--config", &file, "--namespace", "writegate"])
    };
    // In the chart the namespace is the release's.
    let chart = |apply: &str| roles(apply).replace("namespace: writegate\n", "namespace: {{ .Release.Namespace }}\n");
    let templated = format!(
        "{{{{- /* Made by `writegate-operator rbac`; do not edit. */}}}}\n{{{{- if .Values.rbac.create }}}}\n{{{{- if eq .Values.apply \"file\" }}}}\n{}{{{{- else }}}}\n{}{{{{- end }}}}\n{{{{- end }}}}\n",
        chart("file"),
        chart("prometheus")
    );
    for (path, wanted) in [
        ("kustomize/operator/crds.yaml", crds.clone()),
        ("kustomize/gateway/crds.yaml", crds.clone()),
        ("chart/crds/remotewrites.yaml", crds),
        ("kustomize/operator/rbac.yaml", head("rbac --apply prometheus") + &roles("prometheus")),
        ("kustomize/gateway/rbac.yaml", head("rbac --apply file") + &roles("file")),
        ("chart/templates/rbac.yaml", templated),
    ] {
        if std::env::var_os("UPDATE_DEPLOY").is_some() {
            fs::write(deploy(path), &wanted).unwrap();
        }
        assert!(read(path) == wanted, "{path}: run UPDATE_DEPLOY=1 cargo test -p writegate-operator generated");
    }
}

#[test]
fn every_reason_and_every_metric_is_documented() {
    let docs = |name: &str| fs::read_to_string(deploy("../docs").join(name)).unwrap();
    let errors = docs("errors.md");
    for reason in targets::Reason::ALL {
        assert!(errors.contains(&format!("| `{}` |", reason.as_str())), "{reason:?} is not in docs/errors.md");
    }
    let metrics = docs("metrics.md");
    let source = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/metrics.rs")).unwrap();
    let names: Vec<&str> = source.split('"').filter(|text| text.starts_with("writegate_operator_")).collect();
    assert!(names.len() >= 10, "{names:?}");
    for name in names {
        assert!(metrics.contains(&format!("| `{name}` |")), "{name} is not in docs/metrics.md");
    }
}

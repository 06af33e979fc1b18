//! The least roles with which the operator does its work.

use serde_json::{Value as Json, json};
use writegate_config::OperatorConfig;

use crate::declare::Applier;
use crate::words::{GROUP, OPERATOR};

/// A service account, a role for the cluster, one for each namespace that is written in, and their bindings.
///
/// Secrets are written where Prometheus objects are: with `RemoteWrite` objects that is any namespace.
#[must_use]
pub fn roles(config: &OperatorConfig, applier: Applier, namespace: &str) -> Vec<Json> {
    let mut cluster = vec![
        // Any namespace's Secret may be named; all are watched by their metadata, and those that are named are read.
        rule("", &["namespaces", "secrets", "configmaps"], &["get", "list", "watch"]),
        rule("", &["namespaces"], &["patch"]),
        rule("", &["events"], &["create", "patch"]),
        rule(GROUP, &["remotewrites"], &["get", "list", "watch", "patch"]),
        rule(GROUP, &["remotewrites/status"], &["patch"]),
    ];
    let mut home = Vec::new();
    if applier == Applier::Prometheus {
        let mut kinds = vec!["prometheuses"];
        if config.prometheus_agents {
            kinds.push("prometheusagents");
        }
        cluster.push(rule("monitoring.coreos.com", &kinds, &["get", "list", "watch", "patch"]));
        cluster.push(rule("", &["secrets"], &["create", "patch", "delete"]));
        if config.prometheus_template.is_some() {
            home.push(rule("monitoring.coreos.com", &["prometheuses"], &["create", "delete"]));
        }
    }
    let account = json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": OPERATOR, "namespace": namespace},
    });
    let mut all = vec![
        account,
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": OPERATOR},
            "rules": cluster,
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": OPERATOR},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": OPERATOR},
            "subjects": [{"kind": "ServiceAccount", "name": OPERATOR, "namespace": namespace}],
        }),
    ];
    if !home.is_empty() {
        all.extend(role(&config.prometheus_namespace, OPERATOR, &home, namespace));
    }
    if let Some(election) = &config.leader_election {
        let mut named = rule("coordination.k8s.io", &["leases"], &["get", "update"]);
        named["resourceNames"] = json!([election.name]);
        let rules = [rule("coordination.k8s.io", &["leases"], &["create"]), named];
        all.extend(role(&election.namespace, &format!("{OPERATOR}-leader-election"), &rules, namespace));
    }
    all
}

fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> Json {
    json!({"apiGroups": [group], "resources": resources, "verbs": verbs})
}

fn role(place: &str, name: &str, rules: &[Json], namespace: &str) -> [Json; 2] {
    [
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": {"name": name, "namespace": place},
            "rules": rules,
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": name, "namespace": place},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": OPERATOR, "namespace": namespace}],
        }),
    ]
}

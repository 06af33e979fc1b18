//! Who may do what: tokens, and RBAC as a server enforces it.

use kube_double::ApiServer;
use serde_json::{Value, json};

use crate::harness::{Client, SECRETS, WIDGET_PATH, secret, server, widget};

const OPERATOR: &str = "system:serviceaccount:ops:operator";

const ROLES: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: ops}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: operator, namespace: ops}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: "system:reader"}
rules:
- {apiGroups: [""], resources: [secrets], verbs: [get, list, watch, patch]}
- {apiGroups: [example.com], resources: [widgets, widgets/status], verbs: ["*"]}
- {apiGroups: [""], resources: [configmaps], resourceNames: [mine], verbs: [get, list, update]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:reader"}
subjects: [{kind: ServiceAccount, name: operator, namespace: ops}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: leader, namespace: ops}
rules: [{apiGroups: [coordination.k8s.io], resources: [leases], verbs: [create, get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: leader, namespace: ops}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: leader}
subjects: [{kind: Group, name: "system:serviceaccounts:ops"}]
"#;

async fn operator() -> (ApiServer, Client, Client) {
    let (server, admin) = server().await;
    server.install(ROLES).unwrap();
    let client = Client::new(&server, OPERATOR);
    (server, admin, client)
}

#[tokio::test]
async fn tokens_say_who_is_asking() {
    let (_server, client) = server().await;
    client.clone().with_token("wrong").get(SECRETS).await.refuses(401, "Unauthorized", "Unauthorized");
    let nobody = client.clone().with_token("");
    nobody.get(SECRETS).await.refuses(
        403,
        "Forbidden",
        "secrets is forbidden: User \"system:anonymous\" cannot list resource \"secrets\" in API group \"\" in the namespace \
         \"a\"",
    );
    nobody.get("/apis").await.refuses(
        403,
        "Forbidden",
        "forbidden: User \"system:anonymous\" cannot get path \"/apis\"",
    );
    assert_eq!(nobody.get("/version").await.code, 200);
    assert_eq!(nobody.get("/readyz").await.body, "ok");
}

#[tokio::test]
async fn rules_allow_and_what_they_do_not_is_refused_in_a_servers_words() {
    let (_server, admin, client) = operator().await;
    admin.post(SECRETS, &secret("one")).await.ok();
    client.get(&format!("{SECRETS}/one")).await.ok();
    client.get("/api/v1/secrets").await.ok();
    client.get("/apis").await.ok();
    let refused = client.delete(&format!("{SECRETS}/one"), &Value::Null).await;
    refused.refuses(
        403,
        "Forbidden",
        "secrets \"one\" is forbidden: User \"system:serviceaccount:ops:operator\" cannot delete resource \"secrets\" in API \
         group \"\" in the namespace \"a\"",
    );
    assert_eq!(refused.body["details"], json!({"name": "one", "kind": "secrets"}));
    client.get("/api/v1/namespaces").await.refuses(
        403,
        "Forbidden",
        "namespaces is forbidden: User \"system:serviceaccount:ops:operator\" cannot list resource \"namespaces\" in API \
         group \"\" at the cluster scope",
    );
    client.post(WIDGET_PATH, &widget("one", &json!({"size": 1}))).await.ok();
    client.merge(&format!("{WIDGET_PATH}/one/status"), &json!({"status": {"ready": true}})).await.ok();
    // Refusals are refusals before anything is looked at.
    assert_eq!(client.post(SECRETS, &json!({"metadata": {"name": "Bad_Name"}})).await.code, 403);
}

#[tokio::test]
async fn names_in_rules_hold_for_lists_of_one() {
    let (_server, admin, client) = operator().await;
    let configs = "/api/v1/namespaces/a/configmaps";
    admin.post(configs, &json!({"metadata": {"name": "mine"}})).await.ok();
    client.get(&format!("{configs}/mine")).await.ok();
    assert_eq!(client.get(&format!("{configs}/other")).await.code, 403);
    assert_eq!(client.get(configs).await.code, 403);
    client.get(&format!("{configs}?fieldSelector=metadata.name%3Dmine")).await.ok();
    assert_eq!(client.get(&format!("{configs}?watch=1&fieldSelector=metadata.name%3Dmine")).await.code, 403);
}

#[tokio::test]
async fn roles_of_a_namespace_end_at_it() {
    let (_server, _admin, client) = operator().await;
    let lease = json!({"metadata": {"name": "lock"}, "spec": {"holderIdentity": "me"}});
    client.post("/apis/coordination.k8s.io/v1/namespaces/ops/leases", &lease).await.ok();
    client.post("/apis/coordination.k8s.io/v1/namespaces/a/leases", &lease).await.refuses(
        403,
        "Forbidden",
        "leases.coordination.k8s.io is forbidden: User \"system:serviceaccount:ops:operator\" cannot create resource \
         \"leases\" in API group \"coordination.k8s.io\" in the namespace \"a\"",
    );
}

#[tokio::test]
async fn an_apply_that_creates_needs_to_be_allowed_to_create() {
    let (_server, admin, client) = operator().await;
    let path = format!("{SECRETS}/one");
    let refused = client.apply(&path, "it", &secret("one")).await;
    assert!(refused.code == 403 && refused.message().contains("cannot create resource"), "{}", refused.message());
    admin.post(SECRETS, &secret("one")).await.ok();
    client.apply(&path, "it", &secret("one")).await.ok();
}

#[tokio::test]
async fn everybody_may_ask_what_they_may() {
    let (server, _admin, client) = operator().await;
    let ask = |verb: &str| {
        let attributes = json!({"verb": verb, "resource": "secrets", "namespace": "a"});
        json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": attributes}})
    };
    let reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    assert_eq!(client.post(reviews, &ask("get")).await.ok()["status"]["allowed"], true);
    assert_eq!(client.post(reviews, &ask("delete")).await.ok()["status"]["allowed"], false);
    // The test's own hands may act for the user.
    let secrets = server.objects("v1", "Secret").within("a");
    assert_eq!(secrets.clone().as_user(OPERATOR).create(&secret("one")).unwrap_err().code, 403);
    secrets.create(&secret("one")).unwrap();
    secrets.as_user(OPERATOR).get("one").unwrap();
}

#[tokio::test]
async fn a_kubeconfig_leads_to_the_server() {
    let (server, _admin, _client) = operator().await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("kubeconfig");
    server.kubeconfig(OPERATOR, &path).unwrap();
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains(&format!("server: {}\n", server.url())));
    assert!(text.contains(&format!("token: {}\n", server.token(OPERATOR))));
}

//! Deletion: finalizers, preconditions, owners, namespaces, definitions.

use serde_json::{Value, json};

use crate::harness::{Client, SECRETS, WIDGET_PATH, secret, server, widget};

async fn is_there(client: &Client, path: &str) -> bool {
    client.get(path).await.code == 200
}

fn owned(name: &str, owner: &Value, blocks: bool) -> Value {
    let mut object = secret(name);
    object["metadata"]["ownerReferences"] = json!([{
        "apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"], "blockOwnerDeletion": blocks,
    }]);
    object
}

#[tokio::test]
async fn what_nothing_holds_is_gone_at_once() {
    let (_server, client) = server().await;
    let created = client.post(SECRETS, &secret("one")).await.ok();
    let answer = client.delete(&format!("{SECRETS}/one"), &Value::Null).await.ok();
    assert_eq!((&answer["kind"], &answer["status"]), (&json!("Status"), &json!("Success")));
    assert_eq!(answer["details"], json!({"name": "one", "kind": "secrets", "uid": created["metadata"]["uid"]}));
    client.delete(&format!("{SECRETS}/one"), &Value::Null).await.refuses(404, "NotFound", "secrets \"one\" not found");
}

#[tokio::test]
async fn finalizers_hold_an_object_until_the_last_is_removed() {
    let (_server, client) = server().await;
    let path = format!("{WIDGET_PATH}/one");
    let mut given = widget("one", &json!({"size": 1}));
    given["metadata"]["finalizers"] = json!(["example.com/a", "example.com/b"]);
    client.post(WIDGET_PATH, &given).await.ok();
    let mut watch = client.watch(&format!("{WIDGET_PATH}?watch=1")).await;
    assert_eq!(watch.told().await, "ADDED one");
    let marked = client.delete(&path, &Value::Null).await.ok();
    let metadata = &marked["metadata"];
    assert!(metadata["deletionTimestamp"].is_string());
    assert_eq!((&metadata["deletionGracePeriodSeconds"], &metadata["generation"]), (&json!(0), &json!(2)));
    assert_eq!(client.delete(&path, &Value::Null).await.ok(), marked, "deleting twice changes nothing");
    client.merge(&path, &json!({"metadata": {"finalizers": ["example.com/a", "example.com/b", "example.com/c"]}})).await.refuses(
        422,
        "Invalid",
        "Widget.example.com \"one\" is invalid: metadata.finalizers: Forbidden: no new finalizers can be added if the object \
         is being deleted, found new finalizers []string{\"example.com/c\"}",
    );
    // Clients cannot undo it.
    let kept = client.merge(&path, &json!({"metadata": {"deletionTimestamp": null}, "spec": {"size": 2}})).await.ok();
    assert_eq!(kept["metadata"]["deletionTimestamp"], metadata["deletionTimestamp"]);
    client.json_patch(&path, &json!([{"op": "remove", "path": "/metadata/finalizers/0"}])).await.ok();
    assert!(is_there(&client, &path).await);
    let last = json!([
        {"op": "test", "path": "/metadata/finalizers/0", "value": "example.com/b"},
        {"op": "remove", "path": "/metadata/finalizers/0"},
    ]);
    client.json_patch(&path, &last).await.ok();
    assert!(!is_there(&client, &path).await);
    for told in ["MODIFIED one", "MODIFIED one", "MODIFIED one", "DELETED one"] {
        assert_eq!(watch.told().await, told);
    }
    let mut unqualified = secret("two");
    unqualified["metadata"]["finalizers"] = json!(["mine"]);
    let answer = client.post(SECRETS, &unqualified).await;
    assert!(answer.message().ends_with("name is neither a standard finalizer name nor is it fully qualified"));
}

#[tokio::test]
async fn preconditions_are_held() {
    let (_server, client) = server().await;
    let path = format!("{SECRETS}/one");
    let created = client.post(SECRETS, &secret("one")).await.ok();
    let (uid, version) = (created["metadata"]["uid"].as_str().unwrap(), &created["metadata"]["resourceVersion"]);
    client.delete(&path, &json!({"preconditions": {"uid": "other"}})).await.refuses(
        409,
        "Conflict",
        &format!("Operation cannot be fulfilled on secrets \"one\": Precondition failed: UID in precondition: other, UID in object meta: {uid}"),
    );
    let answer = client.delete(&path, &json!({"preconditions": {"uid": uid, "resourceVersion": "1"}})).await;
    assert!(
        answer.code == 409 && answer.message().contains("ResourceVersion in precondition: 1"),
        "{}",
        answer.message()
    );
    client.delete(&path, &json!({"preconditions": {"uid": uid, "resourceVersion": version}})).await.ok();
    assert_eq!(client.delete(&path, &json!({"propagationPolicy": "Never"})).await.code, 404);
}

#[tokio::test]
async fn collections_are_deleted_by_selector() {
    let (_server, client) = server().await;
    for name in ["a", "b", "c"] {
        let mut object = secret(name);
        object["metadata"]["labels"] = json!({"name": name});
        client.post(SECRETS, &object).await.ok();
    }
    let gone = client.delete(&format!("{SECRETS}?labelSelector=name%21%3Db"), &Value::Null).await.ok();
    assert_eq!(gone["items"].as_array().unwrap().len(), 2);
    assert_eq!(client.get(SECRETS).await.ok()["items"][0]["metadata"]["name"], "b");
}

#[tokio::test]
async fn what_is_owned_goes_after_before_or_not_at_all() {
    let (_server, client) = server().await;
    for (policy, dependent_stays) in [("Background", false), ("Foreground", false), ("Orphan", true)] {
        let owner = client.post(WIDGET_PATH, &widget("owner", &json!({"size": 1}))).await.ok();
        client.post(SECRETS, &owned("dependent", &owner, true)).await.ok();
        client.delete(&format!("{WIDGET_PATH}/owner"), &json!({"propagationPolicy": policy})).await.ok();
        assert!(!is_there(&client, &format!("{WIDGET_PATH}/owner")).await, "{policy}");
        assert_eq!(is_there(&client, &format!("{SECRETS}/dependent")).await, dependent_stays, "{policy}");
    }
    let orphan = client.get(&format!("{SECRETS}/dependent")).await.ok();
    assert_eq!(orphan["metadata"].get("ownerReferences"), None);
}

#[tokio::test]
async fn an_owner_deleted_in_the_foreground_waits_for_those_that_block() {
    let (_server, client) = server().await;
    let owner = client.post(WIDGET_PATH, &widget("owner", &json!({"size": 1}))).await.ok();
    let mut dependent = owned("dependent", &owner, true);
    dependent["metadata"]["finalizers"] = json!(["example.com/hold"]);
    client.post(SECRETS, &dependent).await.ok();
    let marked = client.delete(&format!("{WIDGET_PATH}/owner"), &json!({"propagationPolicy": "Foreground"})).await.ok();
    assert_eq!(marked["metadata"]["finalizers"], json!(["foregroundDeletion"]));
    let waiting = client.get(&format!("{SECRETS}/dependent")).await.ok();
    assert!(waiting["metadata"]["deletionTimestamp"].is_string());
    assert!(is_there(&client, &format!("{WIDGET_PATH}/owner")).await);
    let patch = json!({"metadata": {"finalizers": null}});
    let waiting = client.merge(&format!("{SECRETS}/dependent"), &patch).await;
    assert_eq!(waiting.code, 200);
    assert!(!is_there(&client, &format!("{WIDGET_PATH}/owner")).await);
    assert!(!is_there(&client, &format!("{SECRETS}/dependent")).await);
}

#[tokio::test]
async fn what_names_no_owner_that_is_there_is_collected() {
    let (_server, client) = server().await;
    let owner = client.post(WIDGET_PATH, &widget("owner", &json!({"size": 1}))).await.ok();
    let mut gone = owner.clone();
    gone["metadata"]["uid"] = json!("no-such-uid");
    client.post(SECRETS, &owned("lost", &gone, false)).await.ok();
    assert!(!is_there(&client, &format!("{SECRETS}/lost")).await);
    // An owner in another namespace is none.
    client.post("/api/v1/namespaces", &json!({"metadata": {"name": "b"}})).await.ok();
    client.post("/api/v1/namespaces/b/secrets", &owned("abroad", &owner, false)).await.ok();
    assert!(!is_there(&client, "/api/v1/namespaces/b/secrets/abroad").await);
    // One of two owners is enough, and the other is forgotten.
    let mut two = owned("two", &owner, false);
    let dangling = owned("two", &gone, false)["metadata"]["ownerReferences"][0].clone();
    two["metadata"]["ownerReferences"].as_array_mut().unwrap().push(dangling);
    client.post(SECRETS, &two).await.ok();
    let kept = client.get(&format!("{SECRETS}/two")).await.ok();
    assert_eq!(kept["metadata"]["ownerReferences"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_namespace_takes_its_content_along_and_waits_for_it() {
    let (_server, client) = server().await;
    let namespace = "/api/v1/namespaces/a";
    let created = client.get(namespace).await.ok();
    assert_eq!(
        (&created["status"]["phase"], &created["spec"]["finalizers"]),
        (&json!("Active"), &json!(["kubernetes"]))
    );
    assert_eq!(created["metadata"]["labels"], json!({"kubernetes.io/metadata.name": "a"}));
    client.post(SECRETS, &secret("free")).await.ok();
    let mut held = widget("held", &json!({"size": 1}));
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    client.post(WIDGET_PATH, &held).await.ok();
    let terminating = client.delete(namespace, &Value::Null).await.ok();
    assert_eq!((&terminating["kind"], &terminating["status"]["phase"]), (&json!("Namespace"), &json!("Terminating")));
    assert!(!is_there(&client, &format!("{SECRETS}/free")).await);
    assert!(client.get(&format!("{WIDGET_PATH}/held")).await.ok()["metadata"]["deletionTimestamp"].is_string());
    let refused = client.post(SECRETS, &secret("late")).await;
    refused.refuses(
        403,
        "Forbidden",
        "secrets \"late\" is forbidden: unable to create new content in namespace a because it is being terminated",
    );
    assert_eq!(refused.body["details"]["causes"][0]["reason"], "NamespaceTerminating");
    client.merge(&format!("{WIDGET_PATH}/held"), &json!({"metadata": {"finalizers": []}})).await.ok();
    assert!(!is_there(&client, namespace).await);
    client.delete("/api/v1/namespaces/default", &Value::Null).await.refuses(
        403,
        "Forbidden",
        "namespaces \"default\" is forbidden: this namespace may not be deleted",
    );
}

#[tokio::test]
async fn a_definition_takes_its_objects_along() {
    let (_server, client) = server().await;
    let definition = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.example.com";
    let mut held = widget("held", &json!({"size": 1}));
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    client.post(WIDGET_PATH, &held).await.ok();
    client.delete(definition, &Value::Null).await.ok();
    assert!(is_there(&client, definition).await, "it waits for its objects");
    client.merge(&format!("{WIDGET_PATH}/held"), &json!({"metadata": {"finalizers": []}})).await.ok();
    assert!(!is_there(&client, definition).await);
    let gone = client.get(WIDGET_PATH).await;
    assert_eq!((gone.code, gone.body), (404, json!("404 page not found\n")));
}

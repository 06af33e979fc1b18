//! Server-side apply: who owns what, who may take it, and what goes when nobody wants it any more.

use http::Method;
use serde_json::{Value, json};

use crate::harness::{SECRETS, WIDGET_PATH, server, widget};

fn managers(object: &Value) -> Vec<String> {
    let entries = object["metadata"]["managedFields"].as_array().unwrap();
    let shown = |entry: &Value| {
        let part = |name: &str| entry[name].as_str().unwrap_or_default();
        format!("{} {} {}", part("manager"), part("operation"), part("subresource")).trim_end().to_owned()
    };
    entries.iter().map(shown).collect()
}

fn config(data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}, "data": data})
}

const CONFIG: &str = "/api/v1/namespaces/a/configmaps/one";

#[tokio::test]
async fn apply_creates_updates_and_removes_what_it_owns() {
    let (_server, client) = server().await;
    let answer = client.apply(CONFIG, "first", &config(&json!({"a": "1", "b": "2"}))).await;
    assert_eq!(answer.code, 201);
    let created = answer.ok();
    assert_eq!(managers(&created), ["first Apply"]);
    let entry = &created["metadata"]["managedFields"][0];
    assert_eq!((&entry["fieldsType"], &entry["apiVersion"]), (&json!("FieldsV1"), &json!("v1")));
    assert_eq!(entry["fieldsV1"], json!({"f:data": {"f:a": {}, "f:b": {}}}));
    let second = client.apply(CONFIG, "second", &config(&json!({"b": "2", "c": "3"}))).await.ok();
    assert_eq!(managers(&second), ["first Apply", "second Apply"]);
    // First lets go of everything: `a` was its alone, `b` is second's as well.
    let left = client.apply(CONFIG, "first", &config(&json!({}))).await.ok();
    assert_eq!(left["data"], json!({"b": "2", "c": "3"}));
    assert_eq!(client.apply(CONFIG, "second", &config(&json!({}))).await.ok().get("data"), None);
}

#[tokio::test]
async fn what_others_own_is_a_conflict_unless_forced() {
    let (_server, client) = server().await;
    client.apply(CONFIG, "first", &config(&json!({"a": "1", "b": "2"}))).await.ok();
    client.merge(CONFIG, &json!({"data": {"b": "3"}})).await.ok();
    let conflict = client.apply(CONFIG, "second", &config(&json!({"a": "9"}))).await;
    conflict.refuses(409, "Conflict", "Apply failed with 1 conflict: conflict with \"first\": .data.a");
    assert_eq!(
        conflict.body["details"]["causes"],
        json!([{"reason": "FieldManagerConflict", "message": "conflict with \"first\"", "field": ".data.a"}])
    );
    client.apply(CONFIG, "second", &config(&json!({"a": "9", "b": "9"}))).await.refuses(
        409,
        "Conflict",
        "Apply failed with 2 conflicts: conflicts with \"first\":\n- .data.a\nconflicts with \"it\" using v1:\n- .data.b",
    );
    let forced = client.force(CONFIG, "second", &config(&json!({"a": "9", "b": "9"}))).await.ok();
    assert_eq!(forced["data"], json!({"a": "9", "b": "9"}));
    assert_eq!(managers(&forced), ["second Apply"], "the others own nothing any more");
    // Saying the same is sharing, not taking.
    client.apply(CONFIG, "third", &config(&json!({"a": "9"}))).await.ok();
}

#[tokio::test]
async fn lists_that_are_maps_merge_by_key_and_those_that_are_sets_by_value() {
    let (_server, client) = server().await;
    let path = format!("{WIDGET_PATH}/one");
    let spec = |tags: &Value, parts: &Value| widget("one", &json!({"size": 1, "tags": tags, "parts": parts}));
    client.apply(&path, "first", &spec(&json!(["a"]), &json!([{"name": "x", "kind": "k"}, {"name": "y"}]))).await.ok();
    let merged =
        client.apply(&path, "second", &spec(&json!(["b"]), &json!([{"name": "x", "count": 5}, {"name": "z"}]))).await;
    let merged = merged.ok();
    assert_eq!(merged["spec"]["tags"], json!(["a", "b"]));
    assert_eq!(
        merged["spec"]["parts"],
        json!([{"name": "x", "kind": "k", "count": 5}, {"name": "y", "count": 1}, {"name": "z", "count": 1}])
    );
    let fields = &merged["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"];
    assert_eq!(fields["f:parts"]["k:{\"name\":\"x\"}"], json!({".": {}, "f:kind": {}, "f:name": {}}));
    assert_eq!(fields["f:tags"], json!({"v:\"a\"": {}}));
    let left = client.apply(&path, "first", &spec(&json!([]), &json!([{"name": "x"}]))).await.ok();
    assert_eq!(left["spec"]["tags"], json!(["b"]));
    assert_eq!(
        left["spec"]["parts"],
        json!([{"name": "x", "count": 5}, {"name": "z", "count": 1}]),
        "first's item and first's field are gone, what second owns is not"
    );
    let answer = client.apply(&path, "first", &spec(&json!([]), &json!([{"name": "x", "count": 6}]))).await;
    assert_eq!(
        answer.message(),
        "Apply failed with 1 conflict: conflict with \"second\": .spec.parts[name=\"x\"].count"
    );
    // A list of no kind is one value.
    let mut plain = widget("one", &json!({"size": 1, "plain": ["a"]}));
    client.force(&path, "third", &plain).await.ok();
    plain["spec"]["plain"] = json!(["b"]);
    assert_eq!(client.apply(&path, "fourth", &plain).await.code, 409);
    assert_eq!(client.force(&path, "fourth", &plain).await.ok()["spec"]["plain"], json!(["b"]));
}

#[tokio::test]
async fn a_status_has_managers_of_its_own() {
    let (_server, client) = server().await;
    let path = format!("{WIDGET_PATH}/one");
    let mut object = widget("one", &json!({"size": 1}));
    object["status"] = json!({"ready": true});
    let answer = client.apply(&format!("{path}/status"), "it", &object).await;
    assert_eq!(answer.code, 404);
    let created = client.apply(&path, "it", &object).await.ok();
    assert_eq!(created.get("status"), None);
    let status = json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "one"}, "status": {"ready": true}});
    let applied = client.apply(&format!("{path}/status"), "it", &status).await.ok();
    assert_eq!(managers(&applied), ["it Apply", "it Apply status"]);
    assert_eq!((&applied["status"]["ready"], &applied["spec"]["size"]), (&json!(true), &json!(1)));
    let again = client.apply(&path, "it", &widget("one", &json!({"size": 2}))).await.ok();
    assert_eq!(again["status"], json!({"ready": true}), "the status is not the main resource's to remove");
    let mut other = status.clone();
    other["status"]["ready"] = json!(false);
    assert_eq!(
        client.apply(&format!("{path}/status"), "other", &other).await.message(),
        "Apply failed with 1 conflict: conflict with \"it\" with subresource \"status\": .status.ready"
    );
}

#[tokio::test]
async fn what_is_no_apply_is_refused() {
    let (_server, client) = server().await;
    let path = format!("{SECRETS}/one");
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "one"}});
    let apply = "application/apply-patch+yaml";
    client.send(Method::PATCH, &path, apply, &secret).await.refuses(
        422,
        "Invalid",
        "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch",
    );
    let mut managed = secret.clone();
    managed["metadata"]["managedFields"] = json!([]);
    client.apply(&path, "it", &managed).await.refuses(400, "BadRequest", "metadata.managedFields must be nil");
    let mut versioned = secret.clone();
    client.apply(&path, "it", &secret).await.ok();
    versioned["metadata"]["resourceVersion"] = json!("1");
    assert_eq!(client.apply(&path, "it", &versioned).await.code, 409);
    client.merge(&format!("{path}?force=true"), &json!({})).await.refuses(
        422,
        "Invalid",
        "PatchOptions.meta.k8s.io \"\" is invalid: force: Forbidden: may not be specified for non-apply patch",
    );
    let yaml = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: two\nstringData: {a: b}\n".to_owned();
    let answer = client.try_send(Method::PATCH, &format!("{SECRETS}/two?fieldManager=it"), apply, yaml).await.unwrap();
    assert_eq!((answer.code, &answer.body["data"]), (201, &json!({"a": "Yg=="})));
}

#[tokio::test]
async fn who_does_not_apply_owns_what_they_change() {
    let (_server, client) = server().await;
    let path = format!("{WIDGET_PATH}/one");
    let created =
        client.post(&format!("{WIDGET_PATH}?fieldManager=maker"), &widget("one", &json!({"size": 1}))).await.ok();
    assert_eq!(managers(&created), ["maker Update"]);
    assert_eq!(created["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"], json!({"f:color": {}, "f:size": {}}));
    let patched = client.merge(&path, &json!({"spec": {"size": 2}})).await.ok();
    assert_eq!(managers(&patched), ["maker Update", "it Update"], "the agent's name, where the request says none");
    let status = client.merge(&format!("{path}/status"), &json!({"status": {"ready": true}})).await.ok();
    assert_eq!(managers(&status), ["maker Update", "it Update", "it Update status"]);
    let answer = client.apply(&path, "it", &widget("one", &json!({"size": 3}))).await;
    assert_eq!(answer.message(), "Apply failed with 1 conflict: conflict with \"it\" using example.com/v1: .spec.size");
}

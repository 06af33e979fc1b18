//! Patches: their four kinds, and what each kind of resource takes.

use http::Method;
use serde_json::json;

use crate::harness::{SECRETS, WIDGET_PATH, secret, server, widget};

#[tokio::test]
async fn merge_patches_merge_and_null_removes() {
    let (_server, client) = server().await;
    client.post(WIDGET_PATH, &widget("one", &json!({"size": 1, "plain": ["a", "b"], "free": {"x": 1}}))).await.ok();
    let path = format!("{WIDGET_PATH}/one");
    let patch = json!({"metadata": {"annotations": {"a": "b"}}, "spec": {"plain": ["c"], "free": {"x": null, "y": 2}}});
    let patched = client.merge(&path, &patch).await.ok();
    assert_eq!((&patched["spec"]["plain"], &patched["spec"]["free"]), (&json!(["c"]), &json!({"y": 2})));
    assert_eq!(client.merge(&format!("{WIDGET_PATH}/none"), &patch).await.code, 404);
    assert_eq!(client.merge(&path, &json!([1])).await.code, 400);
    let answer = client.merge(&path, &json!({"metadata": {"name": "two"}})).await;
    assert_eq!(answer.code, 400, "{}", answer.message());
}

#[tokio::test]
async fn json_patches_apply_as_a_whole_or_not() {
    let (_server, client) = server().await;
    let created = client.post(WIDGET_PATH, &widget("one", &json!({"size": 1}))).await.ok();
    let path = format!("{WIDGET_PATH}/one");
    let failing = json!([
        {"op": "replace", "path": "/spec/size", "value": 2},
        {"op": "test", "path": "/spec/color", "value": "green"},
    ]);
    let message = "the server rejected our request due to an error in our request";
    client.json_patch(&path, &failing).await.refuses(422, "Invalid", message);
    client.json_patch(&path, &json!([{"op": "remove", "path": "/spec/none"}])).await.refuses(422, "Invalid", message);
    assert_eq!(client.json_patch(&path, &json!([{"op": "jump", "path": "/spec"}])).await.code, 400);
    let long: Vec<_> = (0..10_001).map(|_| json!({"op": "test", "path": "/kind", "value": "Widget"})).collect();
    client.json_patch(&path, &json!(long)).await.refuses(
        413,
        "RequestEntityTooLarge",
        "The allowed maximum operations in a JSON patch is 10000, got 10001",
    );
    assert_eq!(client.get(&path).await.ok(), created);
    let version = &created["metadata"]["resourceVersion"];
    let patch = json!([
        {"op": "test", "path": "/metadata/resourceVersion", "value": version},
        {"op": "add", "path": "/metadata/labels", "value": {"a": "b"}},
        {"op": "replace", "path": "/spec/size", "value": 2},
    ]);
    let patched = client.json_patch(&path, &patch).await.ok();
    assert_eq!((&patched["spec"]["size"], &patched["metadata"]["labels"]["a"]), (&json!(2), &json!("b")));
    assert_eq!(client.json_patch(&path, &patch).await.code, 422, "the version has moved");
    let bad = json!([{"op": "replace", "path": "/spec/size", "value": "two"}]);
    assert_eq!(client.json_patch(&path, &bad).await.code, 422);
}

#[tokio::test]
async fn strategic_merges_are_for_core_types() {
    let (_server, client) = server().await;
    let strategic = "application/strategic-merge-patch+json";
    let mut given = secret("one");
    given["metadata"]["finalizers"] = json!(["example.com/a"]);
    client.post(SECRETS, &given).await.ok();
    let path = format!("{SECRETS}/one");
    let patch = json!({"metadata": {"finalizers": ["example.com/b"]}, "data": {"key": null, "other": "AA=="}});
    let patched = client.send(Method::PATCH, &path, strategic, &patch).await.ok();
    assert_eq!(patched["metadata"]["finalizers"], json!(["example.com/a", "example.com/b"]));
    assert_eq!(patched["data"], json!({"other": "AA=="}));
    let patch = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["example.com/a"]}});
    let patched = client.send(Method::PATCH, &path, strategic, &patch).await.ok();
    assert_eq!(patched["metadata"]["finalizers"], json!(["example.com/b"]));
    client.post(WIDGET_PATH, &widget("one", &json!({"size": 1}))).await.ok();
    let answer = client.send(Method::PATCH, &format!("{WIDGET_PATH}/one"), strategic, &json!({})).await;
    answer.refuses(
        415,
        "UnsupportedMediaType",
        "the body of the request was in an unknown format - accepted media types include: \
         application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
    );
    let answer = client.send(Method::PATCH, &path, "application/json", &json!({})).await;
    assert_eq!(answer.code, 415);
}

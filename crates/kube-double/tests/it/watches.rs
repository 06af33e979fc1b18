//! Watches: what they begin with, what they tell, and how they end.

use kube_double::ApiServer;
use serde_json::{Value, json};

use crate::harness::{Client, SECRETS, WIDGET_PATH, secret, server, widget};

async fn labelled(client: &Client, name: &str, app: &str) -> Value {
    let mut object = secret(name);
    object["metadata"]["labels"] = json!({"app": app});
    client.post(SECRETS, &object).await.ok()
}

fn version(object: &Value) -> &str {
    object["metadata"]["resourceVersion"].as_str().unwrap()
}

#[tokio::test]
async fn a_watch_from_a_version_tells_every_change_after_it() {
    let (_server, client) = server().await;
    client.post(SECRETS, &secret("before")).await.ok();
    let list = client.get(SECRETS).await.ok();
    let mut watch = client.watch(&format!("{SECRETS}?watch=1&resourceVersion={}", version(&list))).await;
    let created = client.post(SECRETS, &secret("one")).await.ok();
    let changed = client.merge(&format!("{SECRETS}/one"), &json!({"data": {"key": "AA=="}})).await.ok();
    client.post(WIDGET_PATH, &widget("other", &json!({"size": 1}))).await.ok();
    client.delete(&format!("{SECRETS}/one"), &Value::Null).await.ok();
    assert_eq!(watch.next().await.unwrap(), json!({"type": "ADDED", "object": created}));
    assert_eq!(watch.next().await.unwrap(), json!({"type": "MODIFIED", "object": changed}));
    let deleted = watch.next().await.unwrap();
    assert_eq!((&deleted["type"], &deleted["object"]["data"]), (&json!("DELETED"), &json!({"key": "AA=="})));
    let (last, end): (u64, u64) = (version(&changed).parse().unwrap(), version(&deleted["object"]).parse().unwrap());
    assert!(end > last, "a deletion has a version of its own");
    // The same again, from the same version, later and over all namespaces.
    let mut again = client.watch(&format!("/api/v1/secrets?watch=true&resourceVersion={}", version(&list))).await;
    for told in ["ADDED one", "MODIFIED one", "DELETED one"] {
        assert_eq!(again.told().await, told);
    }
}

#[tokio::test]
async fn a_watch_from_nowhere_begins_with_what_is_there() {
    let (_server, client) = server().await;
    client.post(SECRETS, &secret("one")).await.ok();
    for from in ["", "&resourceVersion=0"] {
        let mut watch = client.watch(&format!("{SECRETS}?watch=1{from}")).await;
        assert_eq!(watch.told().await, "ADDED one");
    }
}

#[tokio::test]
async fn a_list_may_be_streamed_and_ends_with_a_bookmark() {
    let (server, client) = server().await;
    client.post(SECRETS, &secret("one")).await.ok();
    client.post(SECRETS, &secret("two")).await.ok();
    let query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch = client.watch(&format!("{SECRETS}?{query}")).await;
    assert_eq!(watch.told().await, "ADDED one");
    assert_eq!(watch.told().await, "ADDED two");
    let bookmark = watch.next().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!((&bookmark["object"]["kind"], &bookmark["object"]["apiVersion"]), (&json!("Secret"), &json!("v1")));
    assert_eq!(bookmark["object"]["metadata"]["annotations"], json!({"k8s.io/initial-events-end": "true"}));
    assert_eq!(version(&bookmark["object"]), server.resource_version().to_string());
    client.post(SECRETS, &secret("three")).await.ok();
    assert_eq!(watch.told().await, "ADDED three");
}

#[tokio::test]
async fn what_begins_to_match_is_added_and_what_ceases_to_is_deleted() {
    let (_server, client) = server().await;
    let start = labelled(&client, "start", "x").await;
    let query = format!("watch=1&resourceVersion={}&labelSelector=app%3Dx", version(&start));
    let mut watch = client.watch(&format!("{SECRETS}?{query}")).await;
    labelled(&client, "one", "y").await;
    let path = format!("{SECRETS}/one");
    let label = |app: &str| json!({"metadata": {"labels": {"app": app}}});
    client.merge(&path, &label("x")).await.ok();
    client.merge(&path, &json!({"data": {"key": "AA=="}})).await.ok();
    let left = client.merge(&path, &label("y")).await.ok();
    client.delete(&path, &Value::Null).await.ok();
    client.delete(&format!("{SECRETS}/start"), &Value::Null).await.ok();
    for told in ["ADDED one", "MODIFIED one"] {
        assert_eq!(watch.told().await, told);
    }
    let deleted = watch.next().await.unwrap();
    assert_eq!(deleted["type"], "DELETED");
    assert_eq!(deleted["object"]["metadata"]["labels"]["app"], "x", "as it was when it matched");
    assert_eq!(version(&deleted["object"]), version(&left));
    assert_eq!(watch.told().await, "DELETED start");
    let mut named = client.watch(&format!("{SECRETS}?watch=1&fieldSelector=metadata.name%3Dtwo")).await;
    client.post(SECRETS, &secret("three")).await.ok();
    client.post(SECRETS, &secret("two")).await.ok();
    assert_eq!(named.told().await, "ADDED two");
}

#[tokio::test]
async fn a_version_that_is_compacted_is_gone_for_watches_and_lists() {
    let (server, client) = server().await;
    let first = client.post(SECRETS, &secret("one")).await.ok();
    let second = client.post(SECRETS, &secret("two")).await.ok();
    server.compact();
    let mut watch = client.watch(&format!("{SECRETS}?watch=1&resourceVersion={}", version(&first))).await;
    let error = watch.next().await.unwrap();
    assert_eq!(error["type"], "ERROR");
    let message = format!("too old resource version: {} ({})", version(&first), version(&second));
    assert_eq!((&error["object"]["code"], &error["object"]["reason"]), (&json!(410), &json!("Expired")));
    assert_eq!(error["object"]["message"], json!(message));
    assert_eq!(watch.told().await, "end");
    let exact = format!("{SECRETS}?resourceVersionMatch=Exact&resourceVersion={}", version(&first));
    assert_eq!((client.get(&exact).await.code, client.get(&exact).await.reason()), (410, "Expired"));
    // What is known to the end goes on.
    let mut watch = client.watch(&format!("{SECRETS}?watch=1&resourceVersion={}", version(&second))).await;
    client.post(SECRETS, &secret("three")).await.ok();
    assert_eq!(watch.told().await, "ADDED three");
}

#[tokio::test]
async fn watches_end_at_their_time_on_demand_and_with_their_definition() {
    let (server, client) = server().await;
    let mut timed = client.watch(&format!("{SECRETS}?watch=1&timeoutSeconds=1")).await;
    assert_eq!(timed.told().await, "end");
    server.limit_watches(Some(std::time::Duration::from_millis(1)));
    let mut limited = client.watch(&format!("{SECRETS}?watch=1&timeoutSeconds=3000&allowWatchBookmarks=true")).await;
    assert_eq!(limited.told().await, "BOOKMARK", "so that the client goes on from there");
    assert_eq!(limited.told().await, "end");
    server.limit_watches(None);
    let mut closed = client.watch(&format!("{SECRETS}?watch=1")).await;
    server.close_watches();
    assert_eq!(closed.told().await, "end");
    let mut bookmarked = client.watch(&format!("{SECRETS}?watch=1&allowWatchBookmarks=true")).await;
    server.send_bookmarks();
    assert_eq!(bookmarked.told().await, "BOOKMARK");
    server.cut_connections();
    assert_eq!(bookmarked.told().await, "end");
    let mut defined = client.watch("/apis/example.com/v1/widgets?watch=1").await;
    client.post(WIDGET_PATH, &widget("one", &json!({"size": 1}))).await.ok();
    client
        .delete("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.example.com", &Value::Null)
        .await
        .ok();
    assert_eq!(defined.told().await, "ADDED one");
    assert_eq!(defined.told().await, "DELETED one");
    assert_eq!(defined.told().await, "end");
}

#[tokio::test]
async fn a_watch_of_metadata_has_nothing_else() {
    let (_server, mut client) = server().await;
    client.post(SECRETS, &secret("one")).await.ok();
    client.accept = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
    let event = client.watch(&format!("{SECRETS}?watch=1")).await.next().await.unwrap();
    assert_eq!((&event["object"]["kind"], event["object"].get("data")), (&json!("PartialObjectMetadata"), None));
    client.accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
    let list = client.get(SECRETS).await.ok();
    assert_eq!(
        (&list["kind"], &list["items"][0]["kind"]),
        (&json!("PartialObjectMetadataList"), &json!("PartialObjectMetadata"))
    );
}

#[tokio::test]
async fn nothing_is_missed_by_those_who_list_and_watch_while_others_write() {
    let server = std::sync::Arc::new(ApiServer::start().await.unwrap());
    let client = Client::admin(&server);
    let configs = "/api/v1/namespaces/default/configmaps";
    let writer = {
        let client = client.clone();
        tokio::spawn(async move {
            for index in 0..50 {
                client.post(configs, &json!({"metadata": {"name": format!("c{index}")}})).await.ok();
            }
        })
    };
    let list = client.get(configs).await.ok();
    let listed = list["items"].as_array().unwrap().len();
    let mut watch = client.watch(&format!("{configs}?watch=1&resourceVersion={}", version(&list))).await;
    for index in listed..50 {
        assert_eq!(watch.told().await, format!("ADDED c{index}"));
    }
    writer.await.unwrap();
}

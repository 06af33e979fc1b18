//! Discovery: what clients are told is there.

use serde_json::{Value, json};

use crate::harness::server;

fn named<'a>(list: &'a Value, name: &str) -> &'a Value {
    list.as_array().unwrap().iter().find(|item| item["name"] == name).unwrap_or(&Value::Null)
}

#[tokio::test]
async fn groups_versions_and_resources_are_listed() {
    let (_server, client) = server().await;
    let version = client.get("/version").await.ok();
    assert_eq!((&version["major"], &version["minor"]), (&json!("1"), &json!("36")));
    assert_eq!(client.get("/api").await.ok()["versions"], json!(["v1"]));
    let groups = client.get("/apis").await.ok();
    assert_eq!(groups["kind"], "APIGroupList");
    let example = named(&groups["groups"], "example.com");
    assert_eq!(example["preferredVersion"], json!({"groupVersion": "example.com/v1", "version": "v1"}));
    assert_eq!(example["versions"].as_array().unwrap().len(), 2);
    assert_eq!(client.get("/apis/example.com").await.ok()["kind"], "APIGroup");
    let core = client.get("/api/v1").await.ok();
    assert_eq!(core["groupVersion"], "v1");
    assert_eq!(named(&core["resources"], "secrets")["namespaced"], true);
    assert_eq!(named(&core["resources"], "namespaces/status")["verbs"], json!(["get", "patch", "update"]));
    let widgets = client.get("/apis/example.com/v1").await.ok();
    let widget = named(&widgets["resources"], "widgets");
    assert_eq!(
        (&widget["kind"], &widget["singularName"], &widget["shortNames"]),
        (&json!("Widget"), &json!("widget"), &json!(["wd"]))
    );
    assert!(!named(&widgets["resources"], "widgets/status").is_null());
    assert!(named(&widgets["resources"], "gadgets/status").is_null());
    let none = client.get("/apis/none.example.com/v1").await;
    assert_eq!((none.code, none.body), (404, json!("404 page not found\n")));
}

#[tokio::test]
async fn discovery_is_aggregated_for_those_who_ask() {
    let (_server, mut client) = server().await;
    client.accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
    let answer = client.get("/apis").await;
    let content = answer.headers["content-type"].to_str().unwrap().to_owned();
    assert_eq!(content, "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList");
    let list = answer.ok();
    let example =
        list["items"].as_array().unwrap().iter().find(|item| item["metadata"]["name"] == "example.com").unwrap();
    let resources = example["versions"][0]["resources"].as_array().unwrap();
    let resource = resources.iter().find(|resource| resource["resource"] == "widgets").unwrap();
    assert_eq!(resource["scope"], "Namespaced");
    assert_eq!(resource["responseKind"], json!({"group": "example.com", "version": "v1", "kind": "Widget"}));
    assert_eq!(resource["subresources"][0]["subresource"], "status");
    let core = client.get("/api").await.ok();
    assert_eq!(core["items"][0]["versions"][0]["version"], "v1");
}

#[tokio::test]
async fn methods_that_make_no_sense_are_refused() {
    let (_server, client) = server().await;
    for path in ["/api/v1/secrets", "/api/v1/namespaces/a/secrets/one"] {
        client.post(path, &json!({})).await.refuses(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        );
    }
}

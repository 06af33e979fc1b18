//! Lists: selectors, pages, versions.

use serde_json::{Value, json};

use crate::harness::{Client, SECRETS, WIDGET_PATH, secret, server, widget};

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect()
}

async fn five(client: &Client) {
    for name in ["a", "b", "c", "d", "e"] {
        let mut object = secret(name);
        object["metadata"]["labels"] = json!({"vowel": (name == "a" || name == "e").to_string()});
        client.post(SECRETS, &object).await.ok();
    }
}

#[tokio::test]
async fn a_list_has_a_version_and_items_as_a_typed_server_writes_them() {
    let (server, client) = server().await;
    five(&client).await;
    client.post(WIDGET_PATH, &widget("one", &json!({"size": 1}))).await.ok();
    let list = client.get("/api/v1/secrets").await.ok();
    assert_eq!((&list["kind"], &list["apiVersion"]), (&json!("SecretList"), &json!("v1")));
    assert_eq!(list["metadata"], json!({"resourceVersion": server.resource_version().to_string()}));
    assert_eq!(names(&list), ["a", "b", "c", "d", "e"]);
    assert_eq!(list["items"][0].get("kind"), None, "items of built-in kinds do not say what they are");
    let widgets = client.get(WIDGET_PATH).await.ok();
    assert_eq!((&widgets["kind"], &widgets["items"][0]["kind"]), (&json!("WidgetList"), &json!("Widget")));
    assert_eq!(names(&client.get("/api/v1/namespaces/none/secrets").await.ok()), [""; 0]);
}

#[tokio::test]
async fn selectors_narrow_lists() {
    let (_server, client) = server().await;
    five(&client).await;
    client.post(WIDGET_PATH, &widget("red", &json!({"size": 1}))).await.ok();
    client.post(WIDGET_PATH, &widget("green", &json!({"size": 1, "color": "green"}))).await.ok();
    for (query, selected) in [
        ("labelSelector=vowel%3Dtrue", vec!["a", "e"]),
        ("labelSelector=vowel%20in%20(true),vowel&fieldSelector=metadata.name!%3Da", vec!["e"]),
        ("fieldSelector=metadata.name%3Dc,metadata.namespace%3Da", vec!["c"]),
        ("fieldSelector=type%3Dother", vec![]),
    ] {
        assert_eq!(names(&client.get(&format!("{SECRETS}?{query}")).await.ok()), selected, "{query}");
    }
    assert_eq!(names(&client.get(&format!("{WIDGET_PATH}?fieldSelector=spec.color%3Dgreen")).await.ok()), ["green"]);
    client.get(&format!("{WIDGET_PATH}?fieldSelector=spec.size%3D1")).await.refuses(
        400,
        "BadRequest",
        "Unable to find \"example.com/v1, Resource=widgets\" that match label selector \"\", field selector \
         \"spec.size=1\": field label not supported: spec.size",
    );
    assert_eq!(client.get(&format!("{SECRETS}?labelSelector=a%20b")).await.code, 400);
}

#[tokio::test]
async fn pages_are_of_one_version_until_it_is_compacted() {
    let (server, client) = server().await;
    five(&client).await;
    let first = client.get(&format!("{SECRETS}?limit=2")).await.ok();
    assert_eq!((names(&first), &first["metadata"]["remainingItemCount"]), (vec!["a", "b"], &json!(3)));
    let token = first["metadata"]["continue"].as_str().unwrap().to_owned();
    client.delete(&format!("{SECRETS}/c"), &Value::Null).await.ok();
    client.post(SECRETS, &secret("cc")).await.ok();
    let second =
        client.get(&format!("{SECRETS}?limit=2&continue={}", token.replace('=', "%3D").replace('+', "%2B"))).await.ok();
    assert_eq!(names(&second), ["c", "d"], "as it was");
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    let token = second["metadata"]["continue"].as_str().unwrap().replace('=', "%3D").replace('+', "%2B");
    let last = client.get(&format!("{SECRETS}?limit=2&continue={token}")).await.ok();
    assert_eq!((names(&last), last["metadata"].get("continue")), (vec!["e"], None));
    client.get(&format!("{SECRETS}?resourceVersion=1&continue={token}")).await.refuses(
        400,
        "BadRequest",
        "specifying resource version is not allowed when using continue",
    );
    server.compact();
    client.post(SECRETS, &secret("f")).await.ok();
    let late = client.get(&format!("{SECRETS}?limit=2&continue={token}")).await;
    assert_eq!((late.code, late.reason()), (410, "Expired"));
    assert!(late.message().starts_with("The provided continue parameter is too old"));
    assert_eq!(client.get(&format!("{SECRETS}?continue=x")).await.code, 400);
}

#[tokio::test]
async fn lists_are_of_any_version_that_is_known() {
    let (server, client) = server().await;
    client.post(SECRETS, &secret("a")).await.ok();
    let then = server.resource_version();
    client.post(SECRETS, &secret("b")).await.ok();
    client.delete(&format!("{SECRETS}/a"), &Value::Null).await.ok();
    let exact = format!("{SECRETS}?resourceVersion={then}&resourceVersionMatch=Exact");
    assert_eq!(names(&client.get(&exact).await.ok()), ["a"]);
    for not_older in ["0".to_owned(), then.to_string()] {
        assert_eq!(names(&client.get(&format!("{SECRETS}?resourceVersion={not_older}")).await.ok()), ["b"]);
    }
    let future = client.get(&format!("{SECRETS}?resourceVersion=999999")).await;
    assert_eq!((future.code, future.reason()), (504, "Timeout"));
    assert_eq!(future.body["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
    assert_eq!(client.get(&format!("{SECRETS}?resourceVersion=x")).await.code, 422);
}

#[tokio::test]
async fn options_that_exclude_each_other_are_refused() {
    let (_server, client) = server().await;
    for (query, error) in [
        (
            "resourceVersionMatch=Exact",
            "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided",
        ),
        (
            "resourceVersionMatch=Exact&resourceVersion=0",
            "resourceVersionMatch: Forbidden: resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
        ),
        (
            "resourceVersionMatch=NotOlderThan&resourceVersion=1&continue=x",
            "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden when continue is provided",
        ),
        (
            "resourceVersionMatch=Never&resourceVersion=1",
            "resourceVersionMatch: Unsupported value: \"Never\": supported values: \"Exact\", \"NotOlderThan\", \"\"",
        ),
        ("sendInitialEvents=true", "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list"),
        (
            "watch=1&sendInitialEvents=true",
            "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        ),
        (
            "watch=1&resourceVersionMatch=NotOlderThan",
            "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        ),
    ] {
        let message = format!("ListOptions.meta.k8s.io \"\" is invalid: {error}");
        client.get(&format!("{SECRETS}?{query}")).await.refuses(422, "Invalid", &message);
    }
}

//! Definitions: what they make available, and what their schemas refuse, drop and fill in.

use http::Method;
use serde_json::{Value, json};

use crate::harness::{Client, WIDGET_PATH, server, widget};

async fn created(client: &Client, spec: &Value) -> crate::harness::Answer {
    client.post(&format!("{WIDGET_PATH}?dryRun=All"), &widget("one", spec)).await
}

#[tokio::test]
async fn what_the_schema_forbids_is_refused_in_a_servers_words() {
    let (_server, client) = server().await;
    for (spec, error) in [
        (json!({}), "spec.size: Required value"),
        (
            json!({"size": "1"}),
            "spec.size: Invalid value: \"string\": spec.size in body must be of type integer: \"string\"",
        ),
        (
            json!({"size": 1.5}),
            "spec.size: Invalid value: \"number\": spec.size in body must be of type integer: \"number\"",
        ),
        (json!({"size": 0}), "spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1"),
        (json!({"size": 11}), "spec.size: Invalid value: 11: spec.size in body should be less than or equal to 10"),
        (
            json!({"size": 1, "color": "blue"}),
            "spec.color: Unsupported value: \"blue\": supported values: \"red\", \"green\"",
        ),
        (
            json!({"size": 1, "name": "A1"}),
            "spec.name: Invalid value: \"A1\": spec.name in body should match '^[a-z]+$'",
        ),
        (
            json!({"size": 1, "name": "a"}),
            "spec.name: Invalid value: \"a\": spec.name in body should be at least 2 chars long",
        ),
        (json!({"size": 1, "name": "abcdef"}), "spec.name: Too long: may not be more than 5 bytes"),
        (
            json!({"size": 1, "port": true}),
            "spec.port: Invalid value: \"boolean\": spec.port in body must be of type integer,string: \"boolean\"",
        ),
        (json!({"size": 1, "plain": ["a", "b", "c", "d"]}), "spec.plain: Too many: 4: must have at most 3 items"),
        (json!({"size": 1, "tags": ["a", "a"]}), "spec.tags[1]: Duplicate value: \"a\""),
        (
            json!({"size": 1, "parts": [{"name": "x"}, {"name": "x"}]}),
            "spec.parts[1]: Duplicate value: {\"name\":\"x\"}",
        ),
        (json!({"size": 1, "parts": [{}]}), "spec.parts[0].name: Required value"),
        (
            json!({"size": 1, "since": "now"}),
            "spec.since: Invalid value: \"now\": spec.since in body must be of type date-time: \"now\"",
        ),
        (json!({"size": 1, "low": 2, "high": 1}), "spec: Invalid value: \"object\": low must not be above high"),
        (
            json!({"size": 0, "color": "blue"}),
            "[spec.color: Unsupported value: \"blue\": supported values: \"red\", \"green\", spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1]",
        ),
    ] {
        let answer = created(&client, &spec).await;
        answer.refuses(422, "Invalid", &format!("Widget.example.com \"one\" is invalid: {error}"));
    }
    let answer = created(&client, &json!({"size": "1"})).await;
    assert_eq!(answer.body["details"]["causes"][0]["reason"], "FieldValueTypeInvalid");
    assert_eq!(answer.body["details"]["causes"][0]["field"], "spec.size");
    assert_eq!(answer.body["details"]["kind"], "Widget");
}

#[tokio::test]
async fn what_the_schema_allows_is_kept_and_the_rest_dropped() {
    let (_server, client) = server().await;
    let spec = json!({
        "size": 1, "port": "http", "note": null, "name": null, "free": {"anything": [1, null, {}]}, "labels": {"a": "b"},
        "since": "2026-11-26T08:00:00Z", "unknown": 1, "parts": [{"name": "x", "odd": true}], "low": 1, "high": 1,
    });
    let answer = created(&client, &spec).await;
    let warnings: Vec<&str> = answer.headers.get_all("warning").iter().map(|value| value.to_str().unwrap()).collect();
    assert_eq!(
        warnings,
        ["299 - \"unknown field \\\"spec.parts[0].odd\\\"\"", "299 - \"unknown field \\\"spec.unknown\\\"\"",]
    );
    assert_eq!(
        answer.ok()["spec"],
        json!({
            "size": 1, "color": "red", "port": "http", "note": null, "free": {"anything": [1, null, {}]}, "labels": {"a": "b"},
            "since": "2026-11-26T08:00:00Z", "parts": [{"name": "x", "count": 1}], "low": 1, "high": 1,
        })
    );
    let strict = client.post(&format!("{WIDGET_PATH}?fieldValidation=Strict"), &widget("one", &spec)).await;
    strict.refuses(
        400,
        "BadRequest",
        "Widget in version \"v1\" cannot be handled as a Widget: strict decoding error: unknown field \
         \"spec.parts[0].odd\", unknown field \"spec.unknown\"",
    );
    // Of a patch the whole object is repeated before that.
    client.post(WIDGET_PATH, &widget("one", &json!({"size": 1}))).await.ok();
    let patch = json!({"spec": {"unknown": 1}});
    let one = format!("{WIDGET_PATH}/one?fieldValidation=Strict");
    let strict = client.merge(&one, &patch).await;
    assert_eq!((strict.code, &strict.body["details"]["causes"][0]["field"]), (422, &json!("patch")));
    let message = strict.body["message"].as_str().unwrap();
    assert!(message.starts_with(" \"\" is invalid: patch: Invalid value: \"{"), "{message}");
    assert!(message.ends_with("}\": strict decoding error: unknown field \"spec.unknown\""), "{message}");
}

#[tokio::test]
async fn rules_of_change_look_at_what_was() {
    let (server, client) = server().await;
    client.post(WIDGET_PATH, &widget("one", &json!({"size": 1, "fixed": "a"}))).await.ok();
    let path = format!("{WIDGET_PATH}/one");
    client.merge(&path, &json!({"spec": {"size": 2}})).await.ok();
    client.merge(&path, &json!({"spec": {"fixed": "b"}})).await.refuses(
        422,
        "Invalid",
        "Widget.example.com \"one\" is invalid: spec.fixed: Invalid value: \"string\": fixed is immutable",
    );
    assert_eq!(server.unevaluated_rules(), []);
}

#[tokio::test]
async fn what_was_stored_under_a_looser_schema_may_stay() {
    let (server, client) = server().await;
    let path = format!("{WIDGET_PATH}/one");
    client.post(WIDGET_PATH, &widget("one", &json!({"size": 9}))).await.ok();
    server.install(&crate::harness::WIDGETS.replace("maximum: 10", "maximum: 5")).unwrap();
    client.merge(&path, &json!({"spec": {"color": "green"}})).await.ok();
    assert_eq!(client.merge(&path, &json!({"spec": {"size": 8}})).await.code, 422);
    assert_eq!(client.merge(&path, &json!({"spec": {"size": 5}})).await.code, 200);
}

#[tokio::test]
async fn a_rule_that_cannot_be_evaluated_is_named() {
    let (server, client) = server().await;
    let rule = "rule: self == oldSelf, message: fixed is immutable";
    server.install(&crate::harness::WIDGETS.replace(rule, "rule: isURL(self)")).unwrap();
    client.post(WIDGET_PATH, &widget("one", &json!({"size": 1, "fixed": "a"}))).await.ok();
    let rules = server.unevaluated_rules();
    assert_eq!((rules.len(), rules[0].0.as_str()), (1, "isURL(self)"));
    assert!(rules[0].1.contains("isURL"), "{}", rules[0].1);
}

#[tokio::test]
async fn a_rule_that_reads_what_is_not_there_refuses() {
    let (server, client) = server().await;
    let rule = "!has(self.low) || !has(self.high) || self.low <= self.high";
    server.install(&crate::harness::WIDGETS.replace(rule, "self.low <= self.high")).unwrap();
    created(&client, &json!({"size": 1})).await.refuses(
        422,
        "Invalid",
        "Widget.example.com \"one\" is invalid: spec: Invalid value: \"object\": no such key: low evaluating rule: low must \
         not be above high",
    );
    assert_eq!(created(&client, &json!({"size": 1, "low": 1, "high": 2})).await.code, 201);
}

#[tokio::test]
async fn a_definition_makes_its_resource_available_and_says_so() {
    let (server, client) = server().await;
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let definition = |name: &str, scope: &str| {
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": name},
            "spec": {"group": "example.com", "scope": scope, "names": {"kind": "Thing", "plural": "things"}, "versions": [
                {"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}},
            ]},
        })
    };
    assert_eq!(client.get("/apis/example.com/v1/things").await.code, 404);
    client.post(definitions, &definition("things.example.com", "Cluster")).await.ok();
    let stored = client.get(&format!("{definitions}/things.example.com")).await.ok();
    let condition = |name: &str| {
        let conditions = stored["status"]["conditions"].as_array().unwrap();
        conditions.iter().find(|condition| condition["type"] == name).unwrap()["status"].clone()
    };
    assert_eq!((condition("NamesAccepted"), condition("Established")), (json!("True"), json!("True")));
    assert_eq!(stored["status"]["storedVersions"], json!(["v1"]));
    assert_eq!(stored["spec"]["names"]["listKind"], "ThingList");
    assert_eq!(client.get("/apis/example.com/v1/things").await.ok()["kind"], "ThingList");
    // Nothing but metadata is in its schema.
    let thing = json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "t"}, "spec": {"a": 1}});
    assert_eq!(client.post("/apis/example.com/v1/things", &thing).await.ok().get("spec"), None);

    let answer = client.post(definitions, &definition("other.example.com", "Cluster")).await;
    answer.refuses(
        422,
        "Invalid",
        "CustomResourceDefinition.apiextensions.k8s.io \"other.example.com\" is invalid: metadata.name: Invalid value: \
         \"other.example.com\": must be spec.names.plural+\".\"+spec.group",
    );
    let bad = crate::harness::WIDGETS.replace("^[a-z]+$", "^[a-z+$");
    let error = server.install(&bad).unwrap_err().to_string();
    assert!(error.contains("must be a valid regular expression"), "{error}");
    assert_eq!(client.send(Method::GET, "/apis/example.com/v2/widgets", "", &Value::Null).await.code, 404);
}

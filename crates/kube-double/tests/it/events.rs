//! Events: two shapes of one thing, and what the server asks of them.

use serde_json::json;

use crate::harness::server;

const CORE: &str = "/api/v1/namespaces/a/events";
const NEW: &str = "/apis/events.k8s.io/v1/namespaces/a/events";

#[tokio::test]
async fn an_event_belongs_to_the_namespace_of_what_it_is_about() {
    let (_server, client) = server().await;
    let event = |namespace: &str| {
        json!({
            "metadata": {"name": "e1"}, "reason": "Applied", "message": "done", "type": "Normal", "count": 1,
            "involvedObject": {"kind": "Secret", "name": "x", "namespace": namespace},
        })
    };
    for wrong in ["b", ""] {
        let value = if wrong.is_empty() { "\"\"" } else { "\"b\"" };
        client.post(CORE, &event(wrong)).await.refuses(
            422,
            "Invalid",
            &format!("Event \"e1\" is invalid: involvedObject.namespace: Invalid value: {value}: does not match event.namespace"),
        );
    }
    client.post(CORE, &event("a")).await.ok();
    // About what has no namespace, Events are in `default`.
    client.post("/api/v1/namespaces/default/events", &event("")).await.ok();
    let list = client.get(&format!("{CORE}?fieldSelector=involvedObject.name%3Dx,reason%3DApplied")).await.ok();
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    let none = client.get(&format!("{CORE}?fieldSelector=involvedObject.kind%3DNamespace")).await.ok();
    assert_eq!(none["items"], json!([]));
}

#[tokio::test]
async fn an_event_of_the_new_api_says_who_what_and_why() {
    let (_server, client) = server().await;
    let mut event = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e1"}, "type": "Warning",
        "eventTime": "2026-11-26T08:00:00.000000Z", "reportingController": "writegate.io/operator",
        "reportingInstance": "writegate-operator-0", "action": "Apply", "reason": "Refused", "note": "no such Secret",
        "regarding": {"apiVersion": "v1", "kind": "Namespace", "name": "a", "namespace": "a"},
    });
    let created = client.post(NEW, &event).await.ok();
    assert_eq!((&created["note"], &created["regarding"]["name"]), (&json!("no such Secret"), &json!("a")));
    let core = client.get(&format!("{CORE}/e1")).await.ok();
    assert_eq!((&core["apiVersion"], &core["message"]), (&json!("v1"), &json!("no such Secret")));
    assert_eq!((&core["involvedObject"]["name"], core.get("note")), (&json!("a"), None));
    assert_eq!(core["reportingComponent"], "writegate.io/operator");
    let series = json!({"series": {"count": 2, "lastObservedTime": "2026-11-26T08:01:00.000000Z"}});
    assert_eq!(client.merge(&format!("{NEW}/e1"), &series).await.ok()["series"]["count"], 2);
    let mut watch = client.watch(&format!("{CORE}?watch=1")).await;
    assert_eq!(watch.next().await.unwrap()["object"]["message"], "no such Secret");

    event["metadata"]["name"] = json!("e2");
    for (member, value, error) in [
        ("action", json!(""), "action: Required value"),
        ("reportingController", json!(""), "reportingController: Required value"),
        ("note", json!("x".repeat(1025)), "message: Invalid value: \"\": can have at most 1024 characters"),
        (
            "type",
            json!("Bad"),
            "type: Invalid value: \"Bad\": has invalid value: type must be \"Normal\" or \"Warning\"",
        ),
        ("eventTime", json!(null), "eventTime: Required value"),
    ] {
        let mut wrong = event.clone();
        wrong[member] = value;
        let answer = client.post(NEW, &wrong).await;
        answer.refuses(422, "Invalid", &format!("Event.events.k8s.io \"e2\" is invalid: {error}"));
    }
    event["eventTime"] = json!("soon");
    assert_eq!(client.post(NEW, &event).await.code, 400);
}

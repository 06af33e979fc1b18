//! Objects come and change: what the server writes itself, what it refuses, and when a version moves.

use http::Method;
use serde_json::{Value, json};

use crate::harness::{SECRETS, WIDGET_PATH, secret, server, widget};

fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn what_is_created_has_what_the_server_gives() {
    let (_server, client) = server().await;
    let mut given = widget("one", &json!({"size": 1}));
    given["metadata"]["uid"] = json!("mine");
    given["metadata"]["generation"] = json!(9);
    given["metadata"]["creationTimestamp"] = json!("2000-01-01T00:00:00Z");
    let created = client.post(WIDGET_PATH, &given).await;
    assert_eq!(created.code, 201);
    let created = created.ok();
    let metadata = &created["metadata"];
    assert_eq!(metadata["uid"].as_str().unwrap().len(), 36);
    assert_eq!(metadata["generation"], 1);
    assert_ne!(metadata["creationTimestamp"], "2000-01-01T00:00:00Z");
    assert_eq!(metadata["namespace"], "a");
    let second = client.post(WIDGET_PATH, &widget("two", &json!({"size": 1}))).await.ok();
    assert_ne!(second["metadata"]["uid"], metadata["uid"]);
    assert!(version(&second) > version(&created), "versions rise over the whole server");
    assert_eq!(client.get(&format!("{WIDGET_PATH}/one")).await.ok(), created);

    let mut generated = secret("");
    generated["metadata"] = json!({"generateName": "made-"});
    let generated = client.post(SECRETS, &generated).await.ok();
    let name = generated["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("made-") && name.len() == 10, "{name}");
}

#[tokio::test]
async fn what_cannot_be_created_is_refused_in_a_servers_words() {
    let (_server, client) = server().await;
    client.post(SECRETS, &secret("one")).await.ok();
    client.post(SECRETS, &secret("one")).await.refuses(409, "AlreadyExists", "secrets \"one\" already exists");
    let answer = client.post("/api/v1/namespaces/none/secrets", &secret("one")).await;
    answer.refuses(404, "NotFound", "namespaces \"none\" not found");
    assert_eq!(answer.body["details"], json!({"name": "none", "kind": "namespaces"}));
    let answer = client.get(&format!("{SECRETS}/none")).await;
    answer.refuses(404, "NotFound", "secrets \"none\" not found");
    let answer = client.get(&format!("{WIDGET_PATH}/none")).await;
    answer.refuses(404, "NotFound", "widgets.example.com \"none\" not found");
    assert_eq!(answer.body["details"], json!({"name": "none", "kind": "widgets", "group": "example.com"}));

    let name_rule = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and \
        must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
        '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
    let answer = client.post(SECRETS, &secret("Upper_Case")).await;
    answer.refuses(
        422,
        "Invalid",
        &format!("Secret \"Upper_Case\" is invalid: metadata.name: Invalid value: \"Upper_Case\": {name_rule}"),
    );
    assert_eq!(answer.body["details"]["causes"][0]["reason"], "FieldValueInvalid");
    assert_eq!(answer.body["details"]["causes"][0]["field"], "metadata.name");
    let mut nameless = secret("");
    nameless["metadata"] = json!({});
    client.post(SECRETS, &nameless).await.refuses(
        422,
        "Invalid",
        "Secret \"\" is invalid: metadata.name: Required value: name or generateName is required",
    );
    let mut versioned = secret("two");
    versioned["metadata"]["resourceVersion"] = json!("1");
    client.post(SECRETS, &versioned).await.refuses(
        500,
        "",
        "resourceVersion should not be set on objects to be created",
    );
    let mut elsewhere = secret("two");
    elsewhere["metadata"]["namespace"] = json!("b");
    client.post(SECRETS, &elsewhere).await.refuses(
        400,
        "BadRequest",
        "the namespace of the provided object does not match the namespace sent on the request",
    );
    let mut kindless = widget("one", &json!({"size": 1}));
    kindless.as_object_mut().unwrap().remove("kind");
    let answer = client.post(WIDGET_PATH, &kindless).await;
    assert!(answer.code == 400 && answer.message().starts_with("Object 'Kind' is missing in"), "{}", answer.message());
    for metadata in
        [json!({"name": "x", "labels": {"a": 1}}), json!({"name": 7}), json!({"name": "x", "finalizers": "f"})]
    {
        let body = json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": metadata, "spec": {"size": 1}});
        assert_eq!(client.post(WIDGET_PATH, &body).await.code, 400, "{metadata}");
    }
    for metadata in [
        json!({"name": "x", "labels": {"a b": "c"}}),
        json!({"name": "x", "labels": {"a": "-"}}),
        json!({"name": "x", "annotations": {"a": "x".repeat(300_000)}}),
        json!({"name": "x", "ownerReferences": [{"apiVersion": "v1", "kind": "Secret", "name": "one"}]}),
        json!({"name": "x".repeat(254)}),
    ] {
        assert_eq!(client.post(SECRETS, &json!({"metadata": metadata})).await.code, 422);
    }
}

#[tokio::test]
async fn secrets_hold_base64_and_fold_plain_text_into_it() {
    let (_server, client) = server().await;
    let plain = json!({"metadata": {"name": "plain"}, "stringData": {"key": "value"}, "data": {"other": "AA=="}});
    let stored = client.post(SECRETS, &plain).await.ok();
    assert_eq!(stored["data"], json!({"key": "dmFsdWU=", "other": "AA=="}));
    assert_eq!((stored.get("stringData"), &stored["type"]), (None, &json!("Opaque")));
    let answer = client.post(SECRETS, &json!({"metadata": {"name": "bad"}, "data": {"key": "va?ue"}})).await;
    answer.refuses(
        400,
        "BadRequest",
        "Secret in version \"v1\" cannot be handled as a Secret: illegal base64 data at input byte 2",
    );
    let answer = client.post(SECRETS, &json!({"metadata": {"name": "bad"}, "data": {"a b": "AA=="}})).await;
    assert!(
        answer
            .message()
            .starts_with("Secret \"bad\" is invalid: data[a b]: Invalid value: \"a b\": a valid config key")
    );
    let answer = client.post(SECRETS, &json!({"metadata": {"name": "bad"}, "type": "kubernetes.io/tls"})).await;
    answer.refuses(
        422,
        "Invalid",
        "Secret \"bad\" is invalid: [data[tls.crt]: Required value, data[tls.key]: Required value]",
    );
    let fixed = json!({"metadata": {"name": "fixed"}, "immutable": true, "data": {"key": "AA=="}});
    client.post(SECRETS, &fixed).await.ok();
    client.merge(&format!("{SECRETS}/fixed"), &json!({"data": {"key": "AAA="}})).await.refuses(
        422,
        "Invalid",
        "Secret \"fixed\" is invalid: data: Forbidden: field is immutable when `immutable` is set",
    );
    client.merge(&format!("{SECRETS}/plain"), &json!({"type": "other"})).await.refuses(
        422,
        "Invalid",
        "Secret \"plain\" is invalid: type: Invalid value: \"other\": field is immutable",
    );
}

#[tokio::test]
async fn what_is_too_large_is_refused_by_body_by_secret_and_by_store() {
    let (_server, client) = server().await;
    let of = |bytes: usize| json!({"metadata": {"name": "large"}, "data": {"key": "A".repeat(bytes)}});
    client.post(SECRETS, &of(3 << 20)).await.refuses(
        413,
        "RequestEntityTooLarge",
        "Request entity too large: limit is 3145728",
    );
    client.post(SECRETS, &of(1_500_000)).await.refuses(
        422,
        "Invalid",
        "Secret \"large\" is invalid: data: Too long: may not be more than 1048576 bytes",
    );
    let large = json!({"apiVersion": "example.com/v1", "kind": "Gadget", "metadata": {"name": "large"}, "x": "A".repeat(1_600_000)});
    client.post("/apis/example.com/v1/gadgets", &large).await.refuses(500, "", "etcdserver: request is too large");
}

#[tokio::test]
async fn an_update_needs_the_current_version() {
    let (_server, client) = server().await;
    let path = format!("{WIDGET_PATH}/one");
    let first = client.post(WIDGET_PATH, &widget("one", &json!({"size": 1}))).await.ok();
    let mut second = first.clone();
    second["spec"]["size"] = json!(2);
    let second = client.put(&path, &second).await.ok();
    assert_eq!(second["metadata"]["generation"], 2);
    assert!(version(&second) > version(&first));

    let stale = client.put(&path, &first).await;
    stale.refuses(
        409,
        "Conflict",
        "Operation cannot be fulfilled on widgets.example.com \"one\": the object has been modified; please apply your \
         changes to the latest version and try again",
    );
    assert_eq!(stale.body["details"], json!({"name": "one", "kind": "widgets", "group": "example.com"}));
    client.put(&path, &widget("one", &json!({"size": 3}))).await.refuses(
        422,
        "Invalid",
        "Widget.example.com \"one\" is invalid: metadata.resourceVersion: Invalid value: 0x0: must be specified for an update",
    );
    // A patch with a version is held to it as well.
    let patch = json!({"metadata": {"resourceVersion": first["metadata"]["resourceVersion"]}, "spec": {"size": 4}});
    assert_eq!(client.merge(&path, &patch).await.code, 409);
    let mut renamed = second.clone();
    renamed["metadata"]["name"] = json!("two");
    client.put(&path, &renamed).await.refuses(
        400,
        "BadRequest",
        "the name of the object (two) does not match the name on the URL (one)",
    );
    let mut other = second.clone();
    other["metadata"]["uid"] = json!("other");
    assert_eq!(client.put(&path, &other).await.code, 409);
    assert_eq!(client.put(&format!("{WIDGET_PATH}/none"), &widget("none", &json!({"size": 1}))).await.code, 404);

    // Core types are replaced without a version; Leases are even created.
    client.post(SECRETS, &secret("one")).await.ok();
    client.put(&format!("{SECRETS}/one"), &secret("one")).await.ok();
    assert_eq!(client.put(&format!("{SECRETS}/none"), &secret("none")).await.code, 404);
    let lease = json!({"metadata": {"name": "lock"}, "spec": {"holderIdentity": "me", "leaseDurationSeconds": 15}});
    let leases = "/apis/coordination.k8s.io/v1/namespaces/a/leases";
    assert_eq!(client.put(&format!("{leases}/lock"), &lease).await.code, 201);
    let lease = json!({"metadata": {"name": "lock"}, "spec": {"leaseDurationSeconds": 0}});
    client.put(&format!("{leases}/lock"), &lease).await.refuses(
        422,
        "Invalid",
        "Lease.coordination.k8s.io \"lock\" is invalid: metadata.resourceVersion: Invalid value: 0x0: must be specified for an \
         update",
    );
    let answer = client.post(leases, &json!({"metadata": {"name": "bad"}, "spec": {"leaseDurationSeconds": 0}})).await;
    assert!(answer.message().ends_with("spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"));
}

#[tokio::test]
async fn a_write_that_changes_nothing_leaves_the_version() {
    let (server, client) = server().await;
    let path = format!("{WIDGET_PATH}/one");
    let first = client.post(WIDGET_PATH, &widget("one", &json!({"size": 1, "tags": ["a"]}))).await.ok();
    let before = server.resource_version();
    assert_eq!(client.put(&path, &first).await.ok(), first);
    assert_eq!(client.merge(&path, &json!({"spec": {"size": 1}})).await.ok(), first);
    let add = json!([{"op": "replace", "path": "/spec/size", "value": 1}]);
    assert_eq!(client.json_patch(&path, &add).await.ok(), first);
    let applied = client.apply(&path, "it", &widget("one", &json!({"size": 1}))).await.ok();
    assert_ne!(applied["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"], "there is a manager more");
    let again = client.apply(&path, "it", &widget("one", &json!({"size": 1}))).await.ok();
    assert_eq!(again, applied);
    assert_eq!(server.resource_version(), before + 1);
    let changed: Vec<bool> =
        server.writes(kube_double::ADMIN).iter().rev().take(5).map(|write| write.changed).collect();
    assert_eq!(changed, [false, true, false, false, false]);
}

#[tokio::test]
async fn a_status_is_written_at_its_own_address_and_counts_for_no_generation() {
    let (_server, client) = server().await;
    let path = format!("{WIDGET_PATH}/one");
    let mut given = widget("one", &json!({"size": 1}));
    given["status"] = json!({"ready": true});
    let created = client.post(WIDGET_PATH, &given).await.ok();
    assert_eq!(created.get("status"), None);
    let patch = json!({"status": {"ready": true}, "spec": {"size": 2}, "metadata": {"labels": {"a": "b"}}});
    let changed = client.merge(&path, &patch).await.ok();
    assert_eq!((changed.get("status"), &changed["metadata"]["generation"]), (None, &json!(2)));

    let patch = json!({"status": {"ready": true}, "spec": {"size": 3}, "metadata": {"labels": {"a": "c"}}});
    let changed = client.merge(&format!("{path}/status"), &patch).await.ok();
    assert_eq!((&changed["status"], &changed["spec"]["size"]), (&json!({"ready": true}), &json!(2)));
    assert_eq!((&changed["metadata"]["generation"], &changed["metadata"]["labels"]["a"]), (&json!(2), &json!("b")));
    assert_eq!(client.get(&format!("{path}/status")).await.ok(), changed);
    let labelled = client.merge(&path, &json!({"metadata": {"labels": {"a": "d"}}})).await.ok();
    assert_eq!(labelled["metadata"]["generation"], 2, "metadata counts for no generation");
    let mut stale = changed.clone();
    stale["status"]["ready"] = json!(false);
    assert_eq!(client.put(&format!("{path}/status"), &stale).await.code, 409);

    let gadgets = "/apis/example.com/v1/gadgets";
    let gadget =
        json!({"apiVersion": "example.com/v1", "kind": "Gadget", "metadata": {"name": "g"}, "status": {"a": 1}});
    assert_eq!(client.post(gadgets, &gadget).await.ok()["status"], json!({"a": 1}));
    assert_eq!(client.get(&format!("{gadgets}/g/status")).await.code, 404);
    assert_eq!(
        client.merge(&format!("{gadgets}/g"), &json!({"status": {"a": 2}})).await.ok()["metadata"]["generation"],
        2
    );
}

#[tokio::test]
async fn a_dry_run_answers_and_stores_nothing() {
    let (server, client) = server().await;
    let before = server.resource_version();
    let answer = client.post(&format!("{SECRETS}?dryRun=All"), &secret("one")).await;
    assert_eq!(answer.code, 201);
    assert_eq!(server.resource_version(), before);
    assert_eq!(client.get(&format!("{SECRETS}/one")).await.code, 404);
}

#[tokio::test]
async fn versions_of_a_resource_are_views_of_one_object() {
    let (_server, client) = server().await;
    client.post(WIDGET_PATH, &widget("one", &json!({"size": 1}))).await.ok();
    let other = client.get("/apis/example.com/v1alpha1/namespaces/a/widgets/one").await.ok();
    assert_eq!(other["apiVersion"], "example.com/v1alpha1");
    let patched =
        client.merge("/apis/example.com/v1alpha1/namespaces/a/widgets/one", &json!({"spec": {"size": 2}})).await.ok();
    assert_eq!(patched["metadata"]["generation"], 2);
    assert_eq!(client.get(&format!("{WIDGET_PATH}/one")).await.ok()["spec"]["size"], 2);
}

#[tokio::test]
async fn bodies_in_other_media_types_are_refused_or_read() {
    let (_server, client) = server().await;
    let answer = client.send(Method::POST, SECRETS, "application/vnd.kubernetes.protobuf", &secret("one")).await;
    assert_eq!((answer.code, answer.reason()), (415, "UnsupportedMediaType"));
    let yaml = "apiVersion: v1\nkind: Secret\nmetadata: {name: yaml}\n".to_owned();
    assert_eq!(client.try_send(Method::POST, SECRETS, "application/yaml", yaml).await.unwrap().code, 201);
    assert_eq!(client.try_send(Method::POST, SECRETS, "application/json", "{".to_owned()).await.unwrap().code, 400);
    let mut other = client.clone();
    other.accept = "application/vnd.kubernetes.protobuf";
    assert_eq!(other.get(SECRETS).await.code, 406);
    other.accept =
        "application/vnd.kubernetes.protobuf, application/json;as=Table;v=v1;g=meta.k8s.io, application/json";
    assert_eq!(other.get(&format!("{SECRETS}/yaml")).await.ok()["kind"], "Secret");
    other.accept = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
    let partial = other.get(&format!("{SECRETS}/yaml")).await.ok();
    assert_eq!((&partial["kind"], partial.get("type")), (&json!("PartialObjectMetadata"), None));
    assert_eq!(partial["metadata"]["name"], "yaml");
}

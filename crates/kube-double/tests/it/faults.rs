//! Faults as told, the log of requests, and waiting.

use std::time::{Duration, Instant};

use http::Method;
use kube_double::{ADMIN, Act, Verb};
use serde_json::{Value, json};

use crate::harness::{LIMIT, SECRETS, secret, server};

#[tokio::test]
async fn the_next_requests_that_are_meant_get_the_answers_they_are_told() {
    let (server, client) = server().await;
    client.post(SECRETS, &secret("one")).await.ok();
    let path = format!("{SECRETS}/one");
    for (code, reason) in [
        (409, "Conflict"),
        (410, "Expired"),
        (429, "TooManyRequests"),
        (500, "InternalError"),
        (503, "ServiceUnavailable"),
    ] {
        server.fault(2, Act::answer(code), |request| request.verb == Verb::Patch && request.is_on("secrets"));
        for _ in 0..2 {
            let answer = client.merge(&path, &json!({"data": {"key": "AAAA"}})).await;
            assert_eq!((answer.code, answer.reason()), (code, reason));
            assert_eq!(
                client.get(&path).await.ok()["data"]["key"],
                "dmFsdWU=",
                "others are not meant, and nothing is done"
            );
        }
        assert_eq!(server.faults_left(), 0);
    }
    server.fault(1, Act::Answer { code: 429, retry_after: Some(3) }, |_| true);
    let answer = client.get(&path).await;
    assert_eq!((answer.code, &answer.headers["retry-after"]), (429, &"3".parse().unwrap()));
    server.fault(5, Act::Cut, |_| true);
    server.clear_faults();
    client.get(&path).await.ok();
}

#[tokio::test]
async fn a_cut_comes_before_or_after_the_work() {
    let (server, client) = server().await;
    let post = |name: &str| client.try_send(Method::POST, SECRETS, "application/json", secret(name).to_string());
    server.fault(1, Act::Cut, |request| request.verb == Verb::Create);
    assert!(post("before").await.is_err());
    server.fault(1, Act::CutAfter, |request| request.verb == Verb::Create);
    assert!(post("after").await.is_err());
    assert_eq!(client.get(&format!("{SECRETS}/before")).await.code, 404);
    assert_eq!(client.get(&format!("{SECRETS}/after")).await.code, 200);
}

#[tokio::test]
async fn a_delayed_request_meets_what_is_there_when_it_is_let_go() {
    let (server, client) = server().await;
    let created = client.post(SECRETS, &secret("one")).await.ok();
    let path = format!("{SECRETS}/one");
    server.fault(1, Act::Delay(Duration::from_millis(300)), |request| request.verb == Verb::Update);
    let begun = Instant::now();
    let slow = {
        let (client, path) = (client.clone(), path.clone());
        tokio::spawn(async move { client.put(&path, &created).await })
    };
    server.until(LIMIT, "the update waits", || (server.faults_left() == 0).then_some(())).await.unwrap();
    client.merge(&path, &json!({"data": {"key": "AAAA"}})).await.ok();
    assert_eq!(slow.await.unwrap().code, 409);
    assert!(begun.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn a_server_that_is_down_answers_nobody_and_forgets_nothing() {
    let (server, client) = server().await;
    client.post(SECRETS, &secret("one")).await.ok();
    let mut watch = client.watch(&format!("{SECRETS}?watch=1")).await;
    assert_eq!(watch.told().await, "ADDED one");
    server.set_down(true);
    assert_eq!(watch.told().await, "end");
    assert!(client.try_send(Method::GET, SECRETS, "", String::new()).await.is_err());
    server.set_down(false);
    client.get(&format!("{SECRETS}/one")).await.ok();
}

#[tokio::test]
async fn the_log_says_who_did_what_and_whether_it_changed_anything() {
    let (server, client) = server().await;
    let user = "somebody";
    let other = crate::harness::Client::new(&server, user);
    client.post(SECRETS, &json!({"metadata": {"generateName": "g-"}})).await.ok();
    let made = server.writes(ADMIN).pop().unwrap();
    assert!(made.changed && made.request.name.starts_with("g-"), "{made}");
    other.delete(&format!("{SECRETS}/one"), &Value::Null).await;
    other.get(SECRETS).await;
    let writes = server.writes(user);
    assert_eq!(writes.len(), 1, "reads are no writes");
    assert_eq!(writes[0].to_string(), "somebody delete secrets a/one → 403");
    assert!(!writes[0].changed && !writes[0].disturbed);
    assert_eq!(server.exchanges().last().unwrap().request.verb, Verb::List);
    client.apply(&format!("{SECRETS}/one"), "mine", &secret("one")).await.ok();
    let applied = server.writes(ADMIN).pop().unwrap().request;
    assert_eq!((applied.field_manager.as_str(), applied.patch), ("mine", Some(kube_double::PatchType::Apply)));
}

#[tokio::test]
async fn the_log_forgets_the_bodies_of_all_but_the_last_thousand() {
    let (server, client) = server().await;
    client.post(SECRETS, &secret("one")).await.ok();
    let secrets = server.objects("v1", "Secret").within("a");
    let of_one =
        |exchanges: &[kube_double::Exchange]| exchanges.iter().find(|e| e.request.name == "one").unwrap().clone();
    assert_eq!(of_one(&server.exchanges()).request.body["metadata"]["name"], "one");
    for count in 0..1000 {
        secrets.merge("one", &json!({"metadata": {"annotations": {"count": count.to_string()}}})).unwrap();
    }
    assert_eq!(*of_one(&server.exchanges()).request.body, Value::Null);
    assert_eq!(server.exchanges().last().unwrap().request.body["metadata"]["annotations"]["count"], "999");
}

#[tokio::test]
async fn waiting_ends_with_the_condition_or_says_what_happened_instead() {
    let (server, client) = server().await;
    let secrets = server.objects("v1", "secrets").within("a");
    let writing = tokio::spawn(async move { client.post(SECRETS, &secret("one")).await.ok() });
    let found = server.until(LIMIT, "there is a Secret", || secrets.get("one").ok()).await.unwrap();
    assert_eq!(found["metadata"]["name"], "one");
    writing.await.unwrap();
    let error =
        server.until(Duration::from_millis(10), "there is another", || secrets.get("two").ok()).await.unwrap_err();
    let words = error.to_string();
    assert!(words.starts_with("see that there is another within 10ms; the last requests were "), "{words}");
    assert!(words.ends_with("kubernetes-admin create secrets a/one → 201"), "{words}");
    assert_eq!(server.objects("v1", "Nothing").list().unwrap_err().code, 404);
    assert_eq!(secrets.list_where("a=b").unwrap(), Vec::<Value>::new());
}

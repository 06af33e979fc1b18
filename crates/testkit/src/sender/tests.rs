//! The client against real receivers.

use super::*;
use crate::endpoint::{Endpoint, EndpointSettings, Keep, Reply};

const SOON: Duration = Duration::from_secs(10);

/// The snappy block of an empty message.
const EMPTY: &[u8] = &[0];

async fn keeping() -> (Endpoint, Sender) {
    let settings = EndpointSettings { keep: Keep::Requests, ..EndpointSettings::default() };
    let endpoint = Endpoint::launch(settings).await.expect("endpoint");
    let sender = Sender::new(&endpoint.url()).expect("url").with_timeout(SOON);
    (endpoint, sender)
}

async fn push(sender: &Sender) -> Result<Answer, SendError> {
    sender.push(Protocol::V1, Compression::Snappy, Bytes::from_static(EMPTY)).await
}

#[test]
fn only_http_urls_with_a_host_are_taken() {
    for url in ["https://localhost/x", "localhost:80", "/api", "ftp://a", ""] {
        assert!(matches!(Sender::new(url), Err(SendError::Url(_))), "{url}");
    }
    assert!(Sender::new("http://localhost").is_ok());
}

#[tokio::test]
async fn a_push_has_the_four_headers_of_its_protocol_and_the_senders_own() {
    let (endpoint, sender) = keeping().await;
    let sender = sender.with_header("x-scope-orgid".parse().expect("name"), HeaderValue::from_static("a"));
    for (protocol, compression, expected) in [
        (Protocol::V1, Compression::Snappy, ["application/x-protobuf", "snappy", "0.1.0"]),
        (
            Protocol::V2,
            Compression::Snappy,
            ["application/x-protobuf;proto=io.prometheus.write.v2.Request", "snappy", "2.0.0"],
        ),
    ] {
        let answer = sender.push(protocol, compression, Bytes::from_static(EMPTY)).await.expect("answer");
        assert_eq!(answer.status, 204);
        let requests = endpoint.requests();
        let received = requests.last().expect("kept");
        let seen = ["content-type", "content-encoding", "x-prometheus-remote-write-version"]
            .map(|name| received.header(name).unwrap_or_default().to_owned());
        assert_eq!(seen, expected);
        assert_eq!(received.header("x-scope-orgid"), Some("a"));
        assert!(received.header("user-agent").is_some());
        assert_eq!(received.path, "/api/v1/write");
    }
}

#[tokio::test]
async fn connections_are_kept_and_used_again() {
    let (endpoint, sender) = keeping().await;
    for _ in 0..5 {
        push(&sender).await.expect("answer");
    }
    assert_eq!(endpoint.stats().connections, 1);
}

#[tokio::test]
async fn a_connection_that_the_peer_closed_while_idle_is_replaced() {
    let (endpoint, sender) = keeping().await;
    push(&sender).await.expect("answer");
    endpoint.stop().await;
    endpoint.start().await.expect("same port");
    push(&sender).await.expect("answer");
    assert_eq!(endpoint.stats().requests, 2);
}

#[tokio::test]
async fn a_receiver_that_is_down_or_breaks_off_or_hangs_is_told_apart() {
    let (endpoint, sender) = keeping().await;
    endpoint.script([Reply::reset_after_body(), Reply::hang()]);
    assert!(matches!(push(&sender).await, Err(SendError::Exchange { .. })));
    let limit = Duration::from_millis(50);
    let hasty = sender.clone().with_timeout(limit);
    assert!(matches!(push(&hasty).await, Err(SendError::Timeout(seen)) if seen == limit));
    endpoint.stop().await;
    assert!(matches!(push(&sender).await, Err(SendError::Connect { .. })));
}

#[tokio::test]
async fn an_answer_without_end_is_given_up() {
    let (endpoint, sender) = keeping().await;
    let chunk = Bytes::from(vec![b'x'; 1 << 20]);
    endpoint.script([Reply::status(400).body(crate::endpoint::ReplyBody::Repeat { chunk, times: None })]);
    assert!(matches!(push(&sender).await, Err(SendError::TooLarge)));
}

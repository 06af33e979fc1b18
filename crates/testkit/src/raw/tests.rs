//! Requests by hand against the receiver.

use super::*;
use crate::endpoint::{Endpoint, EndpointSettings, Reply, ReplyBody};

const SOON: Duration = Duration::from_secs(10);

/// The snappy block of an empty message.
const EMPTY: &[u8] = &[0];

async fn opened() -> (Endpoint, RawConnection) {
    let endpoint = Endpoint::launch(EndpointSettings::default()).await.expect("endpoint");
    let connection = RawConnection::open(endpoint.address()).await.expect("connected");
    (endpoint, connection)
}

#[test]
fn a_chunked_body_is_what_rfc_9112_says() {
    assert_eq!(chunked(b"hello", 3), b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n");
    assert_eq!(chunked(b"", 3), b"0\r\n\r\n");
}

#[tokio::test]
async fn chunked_and_slow_bodies_arrive() {
    let (endpoint, mut connection) = opened().await;
    let mut bytes = head("POST", "/api/v1/write", &[("Transfer-Encoding", "chunked")]);
    bytes.extend(chunked(EMPTY, 1));
    connection.write(&bytes).await.expect("written");
    assert_eq!(connection.answer(SOON).await.expect("answer").status, 204);
    let bytes = request("POST", "/api/v1/write", &[], EMPTY);
    connection.write_slowly(&bytes, 8, Duration::from_millis(1)).await.expect("written");
    assert_eq!(connection.answer(SOON).await.expect("answer").status, 204);
    assert_eq!(endpoint.stats().taken_requests, 2);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let (endpoint, mut connection) = opened().await;
    let chunk = Bytes::from_static(b"again ");
    endpoint.script([
        Reply::status(400).text("first"),
        Reply::status(503).body(ReplyBody::Repeat { chunk, times: Some(3) }),
        Reply::healthy(),
    ]);
    connection.write(&request("POST", "/", &[], EMPTY).repeat(3)).await.expect("written");
    let mut answers = Vec::new();
    for _ in 0..3 {
        let answer = connection.answer(SOON).await.expect("answer");
        answers.push((answer.status.as_u16(), answer.text()));
    }
    assert_eq!(answers, [(400, "first".to_owned()), (503, "again again again ".to_owned()), (204, String::new())]);
}

#[tokio::test]
async fn an_interim_answer_is_an_answer_of_its_own() {
    let (_endpoint, mut connection) = opened().await;
    let expecting = head("POST", "/", &[("Expect", "100-continue"), ("Content-Length", "1")]);
    connection.write(&expecting).await.expect("written");
    assert_eq!(connection.answer(SOON).await.expect("interim").status, 100);
    connection.write(EMPTY).await.expect("written");
    assert_eq!(connection.answer(SOON).await.expect("final").status, 204);
}

#[tokio::test]
async fn a_truncated_body_is_not_taken() {
    let (endpoint, mut connection) = opened().await;
    connection.write(&head("POST", "/", &[("Content-Length", "10")])).await.expect("written");
    connection.write(b"half").await.expect("written");
    connection.half_close().await.expect("closed");
    assert!(connection.closes(SOON).await);
    assert_eq!(endpoint.stats().taken_requests, 0);
}

#[tokio::test]
async fn a_reset_reaches_the_receiver() {
    let (endpoint, mut connection) = opened().await;
    connection.write(&head("POST", "/", &[("Content-Length", "10")])).await.expect("written");
    endpoint.wait_until(SOON, |stats| stats.in_flight == 1).await.expect("request under way");
    connection.reset().expect("reset");
    let stats = endpoint.wait_until(SOON, |stats| stats.open_connections == 0).await.expect("connection gone");
    assert_eq!((stats.in_flight, stats.taken_requests), (0, 0));
}

#[tokio::test]
async fn no_answer_and_a_closed_connection_are_told_apart() {
    let (endpoint, mut connection) = opened().await;
    let silence = connection.answer(Duration::from_millis(20)).await.expect_err("silence");
    assert_eq!(silence.kind(), io::ErrorKind::TimedOut);
    endpoint.stop().await;
    let closed = connection.answer(SOON).await.expect_err("closed");
    assert_eq!(closed.kind(), io::ErrorKind::UnexpectedEof);
}

//! Shutdown in order, and what is delivered after the next start.

use remote_write::{Compression, Protocol};
use testkit::raw;
use testkit::sender::push_headers;

use crate::harness::{PATIENCE, Setup, assert_exactly, bounded, compress, raw_headers, receiver, takes};
use crate::message::{encode, points, request, sample_of};

#[test]
fn w40_a_shutdown_finishes_what_is_in_flight_refuses_what_is_new_and_loses_nothing() {
    bounded(async {
        let sink = receiver().await;
        sink.stop().await;
        let mut gateway = Setup::new().endpoint("a", &sink).start().await;
        let before = request([sample_of("before", 1_000)]);
        gateway.accept(Protocol::V1, &before).await;
        let address = gateway.address();
        let idle = gateway.sender();
        let mut idle_connection = idle.connect().await.unwrap();
        let good = |name| compress(Compression::Snappy, &encode(Protocol::V1, &request([sample_of(name, 1_000)])));
        let v1 = || push_headers(Protocol::V1, Compression::Snappy);
        let answer = idle.exchange(&mut idle_connection, http::Method::POST, v1(), good("idle")).await.unwrap();
        assert_eq!(answer.status, 204);

        // That its 100 came shows that the gateway is reading the body.
        let in_flight = good("in_flight");
        let length = in_flight.len().to_string();
        let headers = raw_headers(Protocol::V1);
        let mut headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        headers.extend([("content-length", length.as_str()), ("expect", "100-continue")]);
        let mut connection = gateway.raw().await;
        connection.write(&raw::head("POST", "/api/v1/write", &headers)).await.unwrap();
        assert_eq!(connection.answer(PATIENCE).await.unwrap().status, 100);

        let shutdown = tokio::spawn(gateway.shutdown());
        // The idle connection is either closed already or answered that this is the end.
        let late = idle.exchange(&mut idle_connection, http::Method::POST, v1(), good("late"));
        if let Ok(answer) = late.await {
            assert_eq!((answer.status.as_u16(), answer.header("connection")), (503, Some("close")));
        }
        connection.write(&in_flight).await.unwrap();
        assert_eq!(connection.answer(PATIENCE).await.unwrap().status, 204);
        tokio::time::timeout(PATIENCE, shutdown).await.expect("within the deadline").unwrap();
        assert!(raw::RawConnection::open(address).await.is_err(), "nobody listens any more");

        sink.start().await.unwrap();
        gateway.start_again().await;
        gateway.settled().await;
        let expected = ["before", "idle", "in_flight"].map(|name| sample_of(name, 1_000));
        assert_exactly(&sink, &points(&request(expected)));
        gateway.finish().await;
    });
}

#[test]
fn w40_a_restart_delivers_nothing_again_and_the_books_go_on() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint("a", &sink).start().await;
        let mut expected = Vec::new();
        for timestamp in 0..5 {
            let sent = request([sample_of("up", timestamp)]);
            gateway.accept(Protocol::V1, &sent).await;
            expected.extend(points(&sent));
        }
        takes(&sink, 5).await;
        gateway.settled().await;
        let gateway = gateway.restart().await;
        assert_eq!(gateway.ledger("default", "a").await.samples.delivered, 5);
        let sent = request([sample_of("up", 5)]);
        gateway.accept(Protocol::V1, &sent).await;
        expected.extend(points(&sent));
        gateway.settled().await;
        assert_exactly(&sink, &expected);
        assert_eq!(gateway.ledger("default", "a").await.samples.delivered, 6);
        gateway.finish().await;
    });
}

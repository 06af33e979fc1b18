//! Shutdown in order, and what is delivered after the next start.

use std::time::{Duration, Instant};

use remote_write::{Compression, Protocol};
use rustix::process::Signal;
use testkit::raw::{self, RawConnection};
use testkit::sender::push_headers;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::faults::metric;
use crate::harness::{PATIENCE, Setup, assert_exactly, bounded, compress, eventually, raw_headers, receiver, takes};
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
        assert!(RawConnection::open(address).await.is_err(), "nobody listens any more");

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

/// The most that a shutdown may take.
const ENDS_WITHIN: Duration = Duration::from_secs(30);

/// Opens HTTP/2 with prior knowledge (RFC 9113 §3.4): the preface and empty SETTINGS, with which the server's come back.
async fn open_http2(address: std::net::SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    assert_eq!(next_frame(&mut stream).await.map(|(kind, _)| kind), Some(4));
    stream
}

/// The type and payload of the next frame (RFC 9113 §4.1), until the connection ends.
async fn next_frame(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.ok()?;
    let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
    stream.read_exact(&mut payload).await.ok()?;
    Some((head[3], payload))
}

#[test]
fn r_x26_r_o20_sigterm_ends_what_is_in_flight_refuses_what_is_new_and_loses_nothing_acknowledged() {
    bounded(async {
        let sink = receiver().await;
        sink.stop().await;
        let mut program = Setup::new().endpoint("a", &sink).start_program().await;
        let body = |name| compress(Compression::Snappy, &encode(Protocol::V1, &request([sample_of(name, 1_000)])));
        let headers = raw_headers(Protocol::V1);
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let whole = |name| raw::request("POST", "/api/v1/write", &headers, &body(name));

        let mut idle = RawConnection::open(program.address()).await.unwrap();
        idle.write(&whole("idle")).await.unwrap();
        assert_eq!(idle.answer(PATIENCE).await.unwrap().status, 204);
        let mut http2 = open_http2(program.address()).await;
        let in_flight = body("in_flight");
        let length = in_flight.len().to_string();
        let expecting = [&headers[..], &[("content-length", length.as_str()), ("expect", "100-continue")]].concat();
        let mut receiving = RawConnection::open(program.address()).await.unwrap();
        receiving.write(&raw::head("POST", "/api/v1/write", &expecting)).await.unwrap();
        assert_eq!(receiving.answer(PATIENCE).await.unwrap().status, 100);
        // Their first request has begun and not come.
        let late = whole("late");
        let mut begun = Vec::new();
        for _ in 0..8 {
            let mut connection = RawConnection::open(program.address()).await.unwrap();
            connection.write(&late[..60]).await.unwrap();
            begun.push(connection);
        }
        eventually("all are accepted", || async {
            (metric(&program, "writegate_connections ").await >= 11.0).then_some(())
        })
        .await;

        let started = Instant::now();
        program.signal(Signal::TERM);
        assert!(idle.closes(PATIENCE).await, "a connection that waits is closed");
        let mut going_away = None;
        while let Some((kind, payload)) = next_frame(&mut http2).await {
            if kind == 7 {
                going_away = Some(payload);
                break;
            }
        }
        // GOAWAY (RFC 9113 §6.8): the last stream, and NO_ERROR.
        assert_eq!(going_away.map(|payload| payload[4..8].to_vec()), Some(vec![0; 4]));
        drop(http2);
        eventually("nobody is accepted any more", || async { RawConnection::open(program.address()).await.err() })
            .await;
        let mut told = 0;
        for connection in &mut begun {
            // One whose bytes were not read yet may be closed without a word.
            if connection.write(&late[60..]).await.is_ok()
                && let Ok(answer) = connection.answer(PATIENCE).await
            {
                assert_eq!((answer.status.as_u16(), answer.header("connection")), (503, Some("close")));
                assert!(answer.retry_after().is_some());
                told += 1;
            }
        }
        assert!(told > 0, "nobody was told to come again");
        receiving.write(&in_flight).await.unwrap();
        assert_eq!(receiving.answer(PATIENCE).await.unwrap().status, 204);
        assert!(program.ended(ENDS_WITHIN).await.success(), "{}", program.log());
        assert!(started.elapsed() < ENDS_WITHIN, "it took {:?}", started.elapsed());

        sink.start().await.unwrap();
        program.start_again().await;
        program.settled().await;
        assert_exactly(&sink, &points(&request(["idle", "in_flight"].map(|name| sample_of(name, 1_000)))));
        program.terminate().await;
    });
}

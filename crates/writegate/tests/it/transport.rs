//! HTTP as senders and strangers speak it: pipelined, chunked, by HTTP/2, with the wrong method, cut short, too slow.

use http::{Method, Request as HttpRequest};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use remote_write::{Compression, Protocol};
use testkit::raw;
use tokio::net::TcpStream;

use crate::harness::{PATIENCE, Setup, assert_exactly, bounded, compress, raw_headers, receiver, takes};
use crate::message::{encode, points, request, sample_of};

const PATH: &str = "/api/v1/write";

/// A push of one sample, compressed, and its v1 headers as text.
fn push_of(name: &str) -> (Vec<(String, String)>, Vec<u8>) {
    let raw = encode(Protocol::V1, &request([sample_of(name, 1_000)]));
    (raw_headers(Protocol::V1), compress(Compression::Snappy, &raw).to_vec())
}

fn borrowed(headers: &[(String, String)]) -> Vec<(&str, &str)> {
    headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

#[test]
fn w32_chunked_bodies_are_taken_and_limited_alike() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().limits("request_bytes: 1KiB").endpoint("a", &sink).start().await;
        let (headers, body) = push_of("up");
        let mut headers = borrowed(&headers);
        headers.push(("transfer-encoding", "chunked"));
        for (body, status) in [(body, 204), (vec![b'x'; 4_096], 400)] {
            let mut connection = gateway.raw().await;
            connection.write(&raw::head("POST", PATH, &headers)).await.unwrap();
            connection.write(&raw::chunked(&body, 7)).await.unwrap();
            assert_eq!(connection.answer(PATIENCE).await.unwrap().status, status);
        }
        takes(&sink, 1).await;
        gateway.settle_and_finish().await;
    });
}

#[test]
fn w33_who_expects_a_100_gets_it_or_the_final_answer_without_the_body_being_read() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint("a", &sink).start().await;
        let (headers, body) = push_of("up");
        let length = body.len().to_string();
        let mut headers = borrowed(&headers);
        headers.extend([("content-length", length.as_str()), ("expect", "100-continue")]);
        let mut connection = gateway.raw().await;
        connection.write(&raw::head("POST", PATH, &headers)).await.unwrap();
        assert_eq!(connection.answer(PATIENCE).await.unwrap().status, 100);
        connection.write(&body).await.unwrap();
        assert_eq!(connection.answer(PATIENCE).await.unwrap().status, 204);

        let mut connection = gateway.raw().await;
        connection.write(&raw::head("POST", "/nowhere", &headers)).await.unwrap();
        assert_eq!(connection.answer(PATIENCE).await.unwrap().status, 404);
        takes(&sink, 1).await;
        gateway.settle_and_finish().await;
    });
}

#[test]
fn w34_a_body_that_does_not_come_is_cut_without_a_408() {
    bounded(async {
        let keys = "tenant: default, timeouts: {header: 200ms, body: 200ms}";
        let gateway = Setup::new().listener(keys).start().await;
        let (headers, body) = push_of("up");
        let whole = raw::request("POST", PATH, &borrowed(&headers), &body);
        for (what, part) in [("half a body", whole.len() - body.len() / 2), ("half a head", 40)] {
            let mut connection = gateway.raw().await;
            connection.write(&whole[..part]).await.unwrap();
            let error = connection.answer(PATIENCE).await.expect_err("no answer");
            assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof, "{what}: {error}");
        }
        let answer = gateway.push(Protocol::V1, &request([sample_of("up", 1_000)])).await;
        assert_eq!(answer.status, 204, "others are served");
        gateway.finish().await;
    });
}

#[test]
fn w35_pipelined_requests_are_answered_in_order() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint("a", &sink).start().await;
        let (headers, body) = push_of("up");
        let headers = borrowed(&headers);
        let mut pipeline = raw::request("POST", PATH, &headers, &body);
        pipeline.extend(raw::request("POST", PATH, &[("content-type", "application/json")], b"{}"));
        pipeline.extend(raw::request("GET", PATH, &[], b""));
        pipeline.extend(raw::request("POST", PATH, &headers, b"corrupt"));
        let (headers, body) = push_of("down");
        pipeline.extend(raw::request("POST", PATH, &borrowed(&headers), &body));
        let mut connection = gateway.raw().await;
        connection.write(&pipeline).await.unwrap();
        for status in [204, 415, 405, 400, 204] {
            assert_eq!(connection.answer(PATIENCE).await.unwrap().status, status);
        }
        gateway.settled().await;
        assert_exactly(&sink, &points(&request([sample_of("up", 1_000), sample_of("down", 1_000)])));
        gateway.finish().await;
    });
}

#[test]
fn w35_http2_with_prior_knowledge_carries_many_pushes_on_one_connection() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint("a", &sink).start().await;
        let stream = TcpStream::connect(gateway.address()).await.unwrap();
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (requests, driver) = handshake.await.unwrap();
        let driver = tokio::spawn(driver);
        let mut pushes = tokio::task::JoinSet::new();
        let mut expected = Vec::new();
        for number in 0..20 {
            let name = format!("metric_{number}");
            expected.extend(points(&request([sample_of(&name, 1_000)])));
            let (headers, body) = push_of(&name);
            let mut push = HttpRequest::post(format!("http://{}{PATH}", gateway.address()));
            for (name, value) in headers {
                push = push.header(name, value);
            }
            let push = push.body(Full::new(bytes::Bytes::from(body))).unwrap();
            let mut requests = requests.clone();
            pushes.spawn(async move { requests.send_request(push).await.unwrap() });
        }
        while let Some(answer) = pushes.join_next().await {
            let answer = answer.unwrap();
            assert_eq!((answer.version(), answer.status().as_u16()), (http::Version::HTTP_2, 204));
            assert!(answer.into_body().collect().await.unwrap().to_bytes().is_empty());
        }
        drop(requests);
        driver.await.unwrap().unwrap();
        gateway.settled().await;
        assert_exactly(&sink, &expected);
        gateway.finish().await;
    });
}

#[test]
fn w36_r_p22_other_methods_are_405_with_allow_and_other_paths_404() {
    bounded(async {
        let gateway = Setup::new().start().await;
        let (headers, body) = push_of("up");
        for path in [PATH, "/api/v1/push", "/api/prom/push"] {
            let sender = gateway.sender_at(path);
            let headers = crate::harness::header_map(&borrowed(&headers));
            let answer = sender.send(Method::POST, headers, body.clone().into()).await.unwrap();
            assert_eq!(answer.status, 204, "{path}");
        }
        for method in [Method::GET, Method::PUT, Method::DELETE, Method::HEAD, Method::PATCH, Method::OPTIONS] {
            for path in [PATH, "/api/v1/push/", "/api/prom/push", "/default/api/v1/write"] {
                let sender = gateway.sender_at(path);
                let answer = sender.send(method.clone(), http::HeaderMap::new(), body.clone().into()).await.unwrap();
                assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, Some("POST")), "{method} {path}");
            }
        }
        for path in [
            "/",
            "/api/v1/query",
            "/api/v1/writes",
            "/api/v1/pushXYZ",
            "/api/v1/push/more",
            "/api/prom/pushes",
            "/metrics",
            "/api/v1/write/more",
            "/-/ready",
        ] {
            for method in [Method::GET, Method::POST] {
                let answer = gateway.sender_at(path).send(method, http::HeaderMap::new(), body.clone().into()).await;
                assert_eq!(answer.unwrap().status, 404, "{path}");
            }
        }
        gateway.settle_and_finish().await;
    });
}

#[test]
fn w37_without_a_credential_401_with_a_challenge_and_for_another_tenant_403() {
    bounded(async {
        let (headers, body) = push_of("up");
        let headers: Vec<_> = borrowed(&headers);
        let gateway = Setup::new().listener("max_connections: 10").start().await;
        let answer = gateway.post(&headers, body.clone()).await;
        assert_eq!(answer.status, 401, "{}", answer.text());
        assert!(answer.header("www-authenticate").is_some());
        gateway.finish().await;
        let gateway = Setup::new().start().await;
        let sender = gateway.sender_at("/another/api/v1/write");
        let answer = sender.send(Method::POST, crate::harness::header_map(&headers), body.into()).await.unwrap();
        assert_eq!(answer.status, 403, "{}", answer.text());
        gateway.finish().await;
    });
}

#[test]
fn r_o4_a_cut_a_corrupt_a_mistyped_and_a_misplaced_push_are_never_acknowledged() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint("a", &sink).start().await;
        let (headers, body) = push_of("up");
        let headers = borrowed(&headers);
        let length = (body.len() + 10).to_string();
        let mut too_long = headers.clone();
        too_long.push(("content-length", &length));
        let cut = [raw::head("POST", PATH, &too_long), body.clone()].concat();
        let corrupt = raw::request("POST", PATH, &headers, &body[..body.len() - 2]);
        let get = raw::request("GET", PATH, &headers, &body);
        let json = raw::request("POST", PATH, &[("content-type", "application/json")], &body);
        for (what, bytes, statuses) in [
            ("cut", cut, [400, 0]),
            ("corrupt", corrupt, [400, 400]),
            ("GET", get, [405, 405]),
            ("JSON", json, [415, 415]),
        ] {
            let mut connection = gateway.raw().await;
            connection.write(&bytes).await.unwrap();
            connection.half_close().await.unwrap();
            // Who is gone after half a request may also get no answer at all.
            let status = connection.answer(PATIENCE).await.map_or(0, |answer| answer.status.as_u16());
            assert!(statuses.contains(&status), "{what}: {status}");
        }
        let last = request([sample_of("last", 1_000)]);
        gateway.accept(Protocol::V1, &last).await;
        gateway.settled().await;
        assert_exactly(&sink, &points(&last));
        gateway.finish().await;
    });
}

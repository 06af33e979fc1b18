//! What vmagent sends: zstd, mislabelled blocks of its queue, its question before the first block.

use bytes::Bytes;
use http::{HeaderMap, Method};
use remote_write::model::Request;
use remote_write::{Compression, Protocol};
use testkit::sender::{Sender, push_headers};

use crate::harness::{Setup, assert_exactly, bounded, compress, receiver, takes};
use crate::message::{With, encode, points, request, sample_of, series};

const VMAGENT: [(&str, &str); 4] = [
    ("content-type", "application/x-protobuf"),
    ("content-encoding", "zstd"),
    ("x-victoriametrics-remote-write-version", "1"),
    ("user-agent", "vmagent"),
];

fn body(compression: Compression, request: &Request<'_>) -> Bytes {
    compress(compression, &encode(Protocol::V1, request))
}

#[test]
fn w44_a_zstd_push_is_taken_or_415_where_it_is_off() {
    bounded(async {
        let sink = receiver().await;
        let sent = request([sample_of("up", 1_000)]);
        let off = Setup::new().listener("tenant: default, protocols: [v1, v2]").endpoint("a", &sink).start().await;
        let answer = off.post(&VMAGENT, body(Compression::Zstd, &sent)).await;
        assert_eq!(answer.status, 415, "{}", answer.text());
        off.finish().await;
        let on = Setup::new().endpoint("a", &sink).start().await;
        let answer = on.post(&VMAGENT, body(Compression::Zstd, &sent)).await;
        assert_eq!((answer.status.as_u16(), answer.body.len()), (204, 0), "{}", answer.text());
        on.settled().await;
        assert_exactly(&sink, &points(&sent));
        on.finish().await;
    });
}

#[test]
fn w45_the_question_for_the_protocol_version_is_answered_1() {
    bounded(async {
        let gateway = Setup::new().start().await;
        for path in ["/api/v1/write", "/api/v1/push", "/default/api/v1/write"] {
            let answer = gateway.sender_at(&format!("{path}?get_vm_proto_version=1")).get().await.unwrap();
            assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "1"), "{path}");
        }
        gateway.finish().await;
        let off = Setup::new().listener("tenant: default, protocols: [v1, v2]").start().await;
        let answer = off.sender_at("/api/v1/write?get_vm_proto_version=1").get().await.unwrap();
        assert_ne!(answer.status, 200, "it would send zstd");
        off.finish().await;
    });
}

#[test]
fn r_x12_the_question_comes_by_get_and_post_and_is_authenticated_like_a_push() {
    bounded(async {
        for (keys, status) in [("tenant: default", 200), ("max_connections: 10", 401)] {
            let gateway = Setup::new().listener(keys).start().await;
            let sender: Sender = gateway.sender_at("/api/v1/write?get_vm_proto_version=1");
            for method in [Method::GET, Method::POST] {
                let answer = sender.send(method.clone(), HeaderMap::new(), Bytes::new()).await.unwrap();
                assert_eq!(answer.status, status, "{method}: {}", answer.text());
                assert_eq!(status == 200, answer.text() == "1", "{method}");
            }
            gateway.finish().await;
        }
    });
}

#[test]
fn w46_blocks_under_the_other_codecs_name_are_taken() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint("a", &sink).start().await;
        let mut expected = Vec::new();
        for (timestamp, (named, really)) in
            (0..).zip([(Compression::Zstd, Compression::Snappy), (Compression::Snappy, Compression::Zstd)])
        {
            let sent = request([sample_of("up", timestamp)]);
            let answer = gateway.sender().push(Protocol::V1, named, body(really, &sent)).await.unwrap();
            assert_eq!(answer.status, 204, "{really:?} as {named:?}: {}", answer.text());
            expected.extend(points(&sent));
        }
        gateway.settled().await;
        assert_exactly(&sink, &expected);
        gateway.finish().await;
    });
}

#[test]
fn w49_paths_and_headers_of_victoria_metrics_choose_the_tenant_and_bad_ids_are_400() {
    bounded(async {
        let sink = receiver().await;
        let keys = "tenant: default, tenant_from: [{path: true}, {vm_headers: true}]";
        let tenants = "tenants: [{name: default}, {name: blue, id: '12'}, {name: red, id: '12:3'}]";
        let gateway = Setup::new().listener(keys).top(tenants).endpoint("a", &sink).start().await;
        let path = |ids: &str| format!("/insert/{ids}/prometheus/api/v1/write");
        let push = async |path: &str, headers: &[(&str, &str)]| {
            let all: Vec<(&str, &str)> = VMAGENT.iter().chain(headers).copied().collect();
            let sent = body(Compression::Zstd, &request([sample_of("up", 1_000)]));
            gateway.sender_at(path).send(Method::POST, crate::harness::header_map(&all), sent).await.unwrap()
        };
        let accepted = async |tenant: &str| {
            gateway.metric(&format!("writegate_accepted_samples_total{{tenant=\"{tenant}\"}}")).await
        };
        for (at, headers, tenant) in [
            (path("12"), &[][..], "blue"),
            (path("12:0"), &[], "blue"),
            (path("12:3"), &[], "red"),
            ("/api/v1/write".to_owned(), &[("AccountID", "12")], "blue"),
            ("/api/v1/write".to_owned(), &[("AccountID", "12"), ("ProjectID", "3")], "red"),
        ] {
            let before = accepted(tenant).await;
            let answer = push(&at, headers).await;
            assert_eq!(answer.status, 204, "{at} {headers:?}: {}", answer.text());
            assert_eq!(accepted(tenant).await, before + 1.0, "{at} {headers:?}");
        }
        for (at, headers) in [
            (path("x"), &[][..]),
            (path("12:x"), &[]),
            (path("4294967296"), &[]),
            ("/api/v1/write".to_owned(), &[("AccountID", "x")]),
            ("/api/v1/write".to_owned(), &[("ProjectID", "3")]),
        ] {
            let answer = push(&at, headers).await;
            assert_eq!(answer.status, 400, "{at} {headers:?}: {}", answer.text());
        }
        gateway.settle_and_finish().await;
    });
}

#[test]
fn r_x10_window_and_decoded_size_of_zstd_are_bounded_whatever_the_header_says() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().limits("decoded_bytes: 1MiB").endpoint("a", &sink).start().await;
        // A frame with a window of 128 MiB and one raw block of one byte (RFC 8878 §3.1.1.1.2).
        let wide = Bytes::from_static(b"\x28\xb5\x2f\xfd\x00\x88\x09\x00\x00\x00");
        let large = compress(Compression::Zstd, &vec![0; 2 << 20]);
        for (what, bad) in [("window", wide), ("decoded size", large)] {
            for named in [Compression::Zstd, Compression::Snappy] {
                let answer = gateway.sender().push(Protocol::V1, named, bad.clone()).await.unwrap();
                assert_eq!(answer.status, 400, "{what} as {named:?}: {}", answer.text());
            }
        }
        // Several frames are one stream.
        let sent = request([sample_of("up", 1_000), sample_of("down", 1_000)]);
        let raw = encode(Protocol::V1, &sent);
        let (head, tail) = raw.split_at(raw.len() / 2);
        let frames = [compress(Compression::Zstd, head), compress(Compression::Zstd, tail)].concat();
        let answer = gateway.sender().push(Protocol::V1, Compression::Zstd, frames.into()).await.unwrap();
        assert_eq!(answer.status, 204, "{}", answer.text());
        gateway.settled().await;
        assert_exactly(&sink, &points(&sent));
        gateway.finish().await;
    });
}

/// vmagent drops a block on 400 (as snappy, or after packing it so) and 409, and repeats it for ever on 413.
#[test]
fn w48_an_oversized_block_is_dropped_by_vmagent_and_its_queue_goes_on() {
    bounded(async {
        let sink = receiver().await;
        let limits = "request_bytes: 4KiB, decoded_bytes: 16KiB";
        let gateway = Setup::new().limits(limits).endpoint("a", &sink).start().await;
        let random: String = (0..8_000).map(|_| fastrand::alphanumeric()).collect();
        let zeros = "0".repeat(32_000);
        let next = request([sample_of("next", 1_000)]);
        for (what, value) in [("body", random.as_str()), ("decoded", zeros.as_str())] {
            let oversized = request([series(&[("__name__", "up"), ("value", value)]).sample(1.0, 1_000)]);
            for compression in [Compression::Zstd, Compression::Snappy] {
                let answer = gateway.sender().push(Protocol::V1, compression, body(compression, &oversized)).await;
                assert_eq!(answer.unwrap().status, 400, "{what} as {compression:?}");
            }
        }
        let sender = gateway.sender();
        let headers = push_headers(Protocol::V1, Compression::Zstd);
        let answer = sender.send(Method::POST, headers, body(Compression::Zstd, &next)).await.unwrap();
        assert_eq!(answer.status, 204, "the queue keeps draining: {}", answer.text());
        takes(&sink, 1).await;
        gateway.settle_and_finish().await;
    });
}

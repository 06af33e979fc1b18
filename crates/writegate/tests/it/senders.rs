//! What each sender does with each answer (systems.md 5.5), against what the gateway answers: nothing bad is repeated
//! for ever, nothing good is dropped.

use bytes::Bytes;
use remote_write::{Compression, Protocol};
use testkit::raw;

use crate::harness::{PATIENCE, Setup, bounded, compress, eventually, raw_headers, receiver};
use crate::message::{With, encode, request, sample_of, series};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reaction {
    Done,
    /// The data is given up.
    Drops,
    /// The block is packed as snappy and sent once more, and so are all later ones.
    Downgrades,
    Repeats,
}

/// Prometheus and the OpenTelemetry Collector agree, as far as the gateway's answers go.
fn prometheus(status: u16) -> Reaction {
    match status {
        200..=299 => Reaction::Done,
        500..=599 => Reaction::Repeats,
        _ => Reaction::Drops,
    }
}

fn vmagent(status: u16, compression: Compression) -> Reaction {
    match (status, compression) {
        (200..=299, _) => Reaction::Done,
        (400 | 415, Compression::Zstd) => Reaction::Downgrades,
        (400 | 409 | 415, _) => Reaction::Drops,
        _ => Reaction::Repeats,
    }
}

const V1: &str = "application/x-protobuf";
const V2: &str = "application/x-protobuf;proto=io.prometheus.write.v2.Request";

#[test]
fn r_x17_what_is_bad_for_good_makes_every_sender_move_on() {
    bounded(async {
        let sink = receiver().await;
        let limits = "request_bytes: 64KiB, decoded_bytes: 128KiB, label_names: 8";
        let gateway = Setup::new().limits(limits).endpoint("a", &sink).start().await;
        let bad = request([sample_of("good", 1), series(&[("job", "nameless")]).sample(1.0, 1)]);
        let names: Vec<String> = (0..20).map(|number| format!("label_{number:02}")).collect();
        let labels: Vec<_> =
            [("__name__", "wide")].into_iter().chain(names.iter().map(|name| (name.as_str(), "x"))).collect();
        let wide = request([series(&labels).sample(1.0, 1)]);
        let huge: Vec<u8> = (0..100_000).map(|_| fastrand::u8(..)).collect();
        let raw = encode(Protocol::V1, &bad);
        for compression in [Compression::Snappy, Compression::Zstd] {
            let pack = |raw: &[u8]| compress(compression, raw);
            let partial = if compression == Compression::Zstd { 409 } else { 400 };
            let mut cases = vec![
                ("a bad series", V1, pack(&raw), partial),
                ("too many labels", V1, pack(&encode(Protocol::V1, &wide)), partial),
                ("cut protobuf", V1, pack(&raw[..raw.len() - 1]), 400),
                ("a corrupt body", V1, pack(&raw).slice(..5), 400),
                ("an empty body", V1, Bytes::new(), 400),
                ("too large a body", V1, huge.clone().into(), 400),
                ("too large when unpacked", V1, pack(&vec![0; 200_000]), 400),
                ("another type", "application/json", pack(&raw), 415),
            ];
            if compression == Compression::Snappy {
                cases.push(("a bad v2 series", V2, pack(&encode(Protocol::V2, &bad)), 400));
            }
            let encoding = if compression == Compression::Zstd { "zstd" } else { "snappy" };
            for (what, content_type, body, status) in cases {
                let headers = [("content-type", content_type), ("content-encoding", encoding)];
                let answer = gateway.post(&headers, body).await;
                let got = answer.status.as_u16();
                assert_eq!(got, status, "{what} in {compression:?}: {}", answer.text());
                assert_eq!(prometheus(got), Reaction::Drops, "{what}");
                assert_ne!(vmagent(got, compression), Reaction::Repeats, "{what}");
                // After a downgrade it comes as snappy; that must be the end of it.
                assert_eq!(vmagent(got, Compression::Snappy), Reaction::Drops, "{what}");
            }
        }
        gateway.settle_and_finish().await;
    });
}

#[test]
fn r_x17_a_bad_series_does_not_make_vmagent_give_up_zstd() {
    bounded(async {
        let gateway = Setup::new().start().await;
        let bad = request([series(&[("job", "nameless")]).sample(1.0, 1)]);
        let answer = gateway.push_raw(Protocol::V1, Compression::Zstd, &encode(Protocol::V1, &bad)).await;
        assert_eq!(vmagent(answer.status.as_u16(), Compression::Zstd), Reaction::Drops, "{}", answer.text());
        gateway.finish().await;
    });
}

#[test]
fn r_x17_what_is_bad_only_now_makes_every_sender_repeat() {
    bounded(async {
        let gateway = Setup::new().limits("in_flight_bytes: 64KiB").start().await;
        let head = |length: &str, expect: bool| {
            let headers = raw_headers(Protocol::V1);
            let mut headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            headers.push(("content-length", length));
            headers.extend(expect.then_some(("expect", "100-continue")));
            raw::head("POST", "/api/v1/write", &headers)
        };
        // One request has sent most of what may be in flight, and the body of another does not fit beside it.
        let mut first = gateway.raw().await;
        first.write(&head("60000", true)).await.unwrap();
        assert_eq!(first.answer(PATIENCE).await.unwrap().status, 100);
        first.write(&[0; 45_000]).await.unwrap();
        let answer = eventually("the first body is being held", || async {
            let answer = gateway.post(&[("content-type", V1)], vec![0; 30_000]).await;
            (answer.status == 503).then_some(answer)
        })
        .await;
        assert!(answer.retry_after().is_some_and(|pause| (1..=10).contains(&pause.as_secs())));
        assert_eq!(prometheus(503), Reaction::Repeats);
        assert_eq!(vmagent(503, Compression::Zstd), Reaction::Repeats);
        drop(first);
        let good = compress(Compression::Snappy, &encode(Protocol::V1, &request([sample_of("up", 1)])));
        eventually("its share is free again once the gateway has seen it go", || async {
            let answer = gateway.post(&[("content-type", V1)], good.clone()).await;
            (prometheus(answer.status.as_u16()) == Reaction::Done).then_some(())
        })
        .await;
        gateway.finish().await;
    });
}

//! What a receiver of remote write 1.0 is asked: by the receiver suite's compatibility cases, and by the specification.

use bytes::Bytes;
use remote_write::{Compression, Protocol};
use testkit::conformance::{Level, Outcome};

use super::{assert_none, case, conclude};
use crate::harness::{Setup, assert_exactly, bounded, compress, receiver, written};
use crate::message::{With, encode, everything, points, request, sample_of, series};

const V1: [(&str, &str); 3] = [
    ("content-type", "application/x-protobuf"),
    ("content-encoding", "snappy"),
    ("x-prometheus-remote-write-version", "0.1.0"),
];

#[test]
fn a_receiver_of_1_0_passes_every_case() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint("a", &sink).start().await;
        let body = |raw: &[u8]| compress(Compression::Snappy, raw);
        let v1 = |sent| body(&encode(Protocol::V1, &sent));
        let (all, plain) = (everything(1_000), request([sample_of("conformance_v1", 1_000)]));
        let nameless =
            || request([series(&[("job", "nameless")]).sample(1.0, 2_000), sample_of("conformance_beside", 2_000)]);
        let mut corrupt = v1(plain.clone()).to_vec();
        corrupt[0] ^= 0xff;
        let (mut cases, mut failures) = (Vec::new(), Vec::new());
        for (name, level, sent, status) in [
            ("a request as Prometheus sends it gets 204 and no `Written` headers", Level::Must, v1(plain.clone()), 204),
            ("histograms, exemplars and every odd float", Level::Must, v1(all.clone()), 204),
            ("an empty message", Level::Should, body(&[]), 204),
            ("no body", Level::Must, Bytes::new(), 400),
            ("a corrupt body", Level::Must, Bytes::from(corrupt), 400),
            ("what is no protobuf", Level::Must, body(b"\x0a\xff"), 400),
            ("one nameless series of two: 400, and no `Written` headers", Level::Must, v1(nameless()), 400),
        ] {
            let answer = gateway.post(&V1, sent).await;
            let says_why = answer.body.is_empty() == (status == 204);
            if answer.status != status || !says_why || written(&answer) != [None; 3] {
                failures.push(format!("{name}: {} {:?} {}", answer.status, written(&answer), answer.text()));
            }
            cases.push(case(name, level, Outcome::Pass));
        }
        for (name, level, test) in [
            (
                "a receiver that does not know a field reads the rest",
                Level::Must,
                "r_x25_unknown_fields_never_cause_an_error_and_never_leave",
            ),
            (
                "what is valid in a request with an invalid series is stored",
                Level::May,
                "w10_a_bad_series_loses_only_itself",
            ),
            (
                "5xx where it makes sense to try again",
                Level::Must,
                "w38_a_full_log_is_503_with_retry_after_and_nothing_refused_is_ever_delivered",
            ),
        ] {
            cases.push(case(name, level, Outcome::ShownBy(test)));
        }
        assert_none(&failures);
        gateway.settled().await;
        let mut expected = points(&all);
        expected.extend(points(&plain));
        expected.extend(points(&request([sample_of("conformance_beside", 2_000)])));
        assert_exactly(&sink, &expected);
        gateway.finish().await;
        conclude("receiver-v1", &cases);
    });
}

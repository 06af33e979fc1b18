//! What the encoders write, against prost and against the bytes of the specification.

use proptest::prelude::{prop_assert_eq, proptest};
use prost::Message;
use remote_write::Protocol;
use remote_write::encode::{V2Encoder, encode_v2};
use remote_write::model::{Count, Histogram, Metadata, Request, Sample, Series};

use crate::oracle::{RequestV1, RequestV2};
use crate::requests::{Kinds, decoded, encoded, exemplar, exponential, labels, named, request, requests, sample};

proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    #[test]
    fn prost_decodes_what_encode_v1_was_given(
        request in requests(Kinds { nan: false, ..Kinds::ALL_V1 })
    ) {
        let oracle = RequestV1::decode(encoded(Protocol::V1, &request).as_slice()).unwrap();
        prop_assert_eq!(oracle.model(), request);
    }

    #[test]
    fn prost_decodes_what_encode_v2_was_given(
        request in requests(Kinds { nan: false, ..Kinds::ALL_V2 })
    ) {
        let oracle = RequestV2::decode(encoded(Protocol::V2, &request).as_slice()).unwrap();
        prop_assert_eq!(oracle.model(), request);
    }

    #[test]
    fn every_bit_of_a_request_comes_back(v1 in requests(Kinds::ALL_V1), v2 in requests(Kinds::ALL_V2)) {
        for (protocol, request) in [(Protocol::V1, v1), (Protocol::V2, v2)] {
            let bytes = encoded(protocol, &request);
            prop_assert_eq!(encoded(protocol, &decoded(protocol, &bytes)), bytes);
        }
    }
}

#[test]
fn values_whose_bits_are_zero_are_left_out_but_minus_zero_and_zero_counts_are_written() {
    let body = |series: Series<'static>| encoded(Protocol::V1, &request(vec![series]));
    let of = |value| body(Series { samples: vec![sample(value, 0)], ..Series::default() });
    assert_eq!(of(0.0), b"\x0a\x02\x12\x00");
    assert_eq!(of(-0.0), b"\x0a\x0b\x12\x09\x09\x00\x00\x00\x00\x00\x00\x00\x80");
    let counted = Histogram { count: Some(Count::Int(0)), zero_count: Some(Count::Float(0.0)), ..Histogram::default() };
    assert_eq!(
        body(Series { histograms: vec![counted], ..Series::default() }),
        b"\x0a\x0d\x22\x0b\x08\x00\x39\x00\x00\x00\x00\x00\x00\x00\x00"
    );
}

#[test]
fn v1_has_no_start_timestamps_and_no_metadata_of_series() {
    let started = Sample { start_timestamp: 7, ..sample(1.0, 2) };
    let histogram = Histogram { start_timestamp: 7, ..exponential(2) };
    let metadata = Some(Metadata { kind: 1, help: b"help", ..Metadata::default() });
    let rich = |samples, histograms| request(vec![Series { samples, histograms, metadata, ..named("up") }]);
    let plain = Series { samples: vec![sample(1.0, 2)], histograms: vec![exponential(2)], ..named("up") };
    assert_eq!(
        encoded(Protocol::V1, &rich(vec![started], vec![histogram])),
        encoded(Protocol::V1, &request(vec![plain]))
    );
}

#[test]
fn v1_writes_families_after_the_series() {
    let metadata = vec![Metadata { kind: 4, family: b"f", help: b"h", unit: b"u" }];
    let bytes = encoded(Protocol::V1, &Request { series: Vec::new(), metadata });
    assert_eq!(bytes, b"\x1a\x0b\x08\x04\x12\x01f\x22\x01h\x2a\x01u");
}

#[test]
fn v2_shares_symbols_between_labels_exemplars_and_metadata() {
    let mut series = named("up");
    series.samples = vec![sample(1.0, 2)];
    series.exemplars = vec![exemplar("api", 3)];
    series.metadata = Some(Metadata { kind: 2, help: b"api", unit: b"up", family: b"" });
    let oracle = RequestV2::decode(encoded(Protocol::V2, &request(vec![series])).as_slice()).unwrap();
    assert_eq!(oracle.symbols, ["", "__name__", "up", "job", "api", "trace_id"]);
    assert_eq!(oracle.timeseries[0].exemplars[0].labels_refs, [5, 4]);
    let metadata = oracle.timeseries[0].metadata.as_ref().unwrap();
    assert_eq!((metadata.help_ref, metadata.unit_ref), (4, 2));
}

#[test]
fn v2_splits_a_series_of_samples_and_histograms_and_keeps_its_exemplars_with_the_samples() {
    let mixed = Series {
        samples: vec![sample(1.0, 2)],
        histograms: vec![exponential(2)],
        exemplars: vec![exemplar("t", 2)],
        ..named("up")
    };
    let bytes = encoded(Protocol::V2, &request(vec![mixed]));
    let series = decoded(Protocol::V2, &bytes).series;
    let shape: Vec<_> =
        series.iter().map(|one| (one.samples.len(), one.histograms.len(), one.exemplars.len())).collect();
    assert_eq!(shape, [(1, 0, 1), (0, 1, 0)]);
    assert_eq!(series[0].labels, series[1].labels);
}

#[test]
fn an_empty_v2_request_still_has_the_empty_symbol() {
    assert_eq!(encoded(Protocol::V2, &request(Vec::new())), b"\x22\x00");
}

#[test]
fn an_encoder_is_as_new_after_finish() {
    let first = request(vec![Series { samples: vec![sample(1.0, 2)], ..named("first") }]);
    let second = request(vec![Series {
        labels: labels(&[("__name__", "second"), ("a", "b"), ("job", "api")]),
        samples: vec![sample(3.0, 4)],
        ..Series::default()
    }]);
    let mut encoder = V2Encoder::new();
    let mut out = b"left over".to_vec();
    for one in [&first, &second, &first] {
        one.series.iter().for_each(|series| encoder.series(series));
        assert_eq!(encoder.count(), 1);
        let length = encoder.encoded_len();
        encoder.finish(&mut out);
        assert_eq!(length, out.len());
        let mut expected = Vec::new();
        encode_v2(one, &mut expected);
        assert_eq!(out, expected);
    }
}

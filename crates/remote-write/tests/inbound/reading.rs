//! What the tolerant reader takes that no sender of today writes.

use crate::oracle::v1::{Sample, TimeSeries, WriteRequest};
use prost::Message;
use remote_write::Protocol;
use remote_write::model::{Count, Histogram};
use remote_write::read::{MAX_DATA_PER_VISIT, for_each_metadata, for_each_series, read};
use remote_write::wire::{put_fixed64, put_len_delimited, put_message, put_varint, put_varint_field, zigzag};

fn v1_histogram(write: impl Fn(&mut Vec<u8>)) -> Histogram {
    let mut bytes = Vec::new();
    put_message(&mut bytes, 1, |out| put_message(out, 4, |out| write(out)));
    read(Protocol::V1, &bytes).expect("a request").series.remove(0).histograms.remove(0)
}

#[test]
fn repeated_scalars_are_read_packed_unpacked_and_both() {
    let packed_deltas = |out: &mut Vec<u8>| {
        let mut packed = Vec::new();
        for delta in [2, -3] {
            put_varint(&mut packed, zigzag(delta));
        }
        put_len_delimited(out, 12, &packed);
    };
    let histogram = v1_histogram(|out| {
        put_varint_field(out, 12, zigzag(-1));
        packed_deltas(out);
        put_fixed64(out, 16, 1.5_f64.to_bits());
        put_len_delimited(out, 16, &2.5_f64.to_le_bytes());
    });
    assert_eq!(histogram.positive_deltas, [-1, 2, -3]);
    assert_eq!(histogram.custom_values, [1.5, 2.5]);
}

#[test]
fn the_last_of_a_repeated_singular_field_and_of_a_oneof_wins() {
    let histogram = v1_histogram(|out| {
        put_varint_field(out, 1, 5);
        put_fixed64(out, 2, 6.5_f64.to_bits());
        put_varint_field(out, 15, 1);
        put_varint_field(out, 15, 2);
    });
    assert_eq!((histogram.count, histogram.timestamp), (Some(Count::Float(6.5)), 2));
}

#[test]
fn v2_metadata_in_pieces_is_merged() {
    let mut bytes = Vec::new();
    put_len_delimited(&mut bytes, 4, b"");
    put_len_delimited(&mut bytes, 4, b"help");
    put_message(&mut bytes, 5, |out| {
        put_message(out, 5, |out| put_varint_field(out, 1, 2));
        put_message(out, 5, |out| put_varint_field(out, 3, 1));
    });
    let request = read(Protocol::V2, &bytes).expect("a request");
    let metadata = request.series[0].metadata.expect("metadata");
    assert_eq!((metadata.kind, metadata.help, metadata.unit), (2, &b"help"[..], &b""[..]));
}

#[test]
fn unknown_fields_and_groups_are_skipped_anywhere() {
    let mut bytes = vec![0x4b, 0x08, 0x01, 0x4c];
    put_message(&mut bytes, 1, |out| {
        put_message(out, 1, |out| {
            put_len_delimited(out, 1, b"a");
            out.extend([0x4b, 0x4c]);
            put_len_delimited(out, 2, b"b");
        });
        put_varint_field(out, 99, 1);
    });
    put_message(&mut bytes, 3, |out| {
        put_len_delimited(out, 2, b"family");
        put_varint_field(out, 11, 1);
    });
    let request = read(Protocol::V1, &bytes).expect("a request");
    assert_eq!((request.series[0].labels[0].name, request.series[0].labels[0].value), (&b"a"[..], &b"b"[..]));
    let mut families = Vec::new();
    for_each_metadata(&bytes, |metadata| families.push(metadata.family)).expect("a request");
    assert_eq!(families, [b"family"]);
}

#[test]
fn packed_doubles_that_are_cut_short_are_malformed_where_they_stand() {
    let mut bytes = Vec::new();
    put_message(&mut bytes, 1, |out| put_message(out, 4, |out| put_len_delimited(out, 13, &[0; 9])));
    let error = read(Protocol::V1, &bytes).expect_err("cut short");
    assert_eq!(error.to_string(), "malformed protobuf at byte 4: packed doubles are cut short");
}

#[test]
fn a_long_series_is_visited_in_pieces_with_its_labels() {
    let samples: Vec<_> = (0..20_000).map(|timestamp| Sample { value: 1.0, timestamp }).collect();
    let labels = crate::rules_v1::labels(&[("__name__", "up")]);
    let series = TimeSeries { labels, samples, ..TimeSeries::default() };
    let bytes = WriteRequest { timeseries: vec![series], ..WriteRequest::default() }.encode_to_vec();
    let mut seen = Vec::new();
    for_each_series(Protocol::V1, &bytes, |piece| {
        assert_eq!(piece.labels.len(), 1);
        assert!(piece.samples.len() <= MAX_DATA_PER_VISIT);
        seen.extend(piece.samples.iter().map(|sample| sample.timestamp));
    })
    .expect("a request");
    assert!(seen.into_iter().eq(0..20_000));
}

//! Merging: snappy really decodes what is put together, and merged v2 requests say what their parts said.

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use remote_write::Protocol;
use remote_write::concat::{MAX_SNAPPY_DECODED, merge_v2, snappy_elements, snappy_preamble};
use remote_write::model::{Request, Series};

use crate::requests::{Kinds, decoded, encoded, named, request, requests, sample};
use crate::translate::assert_v2_is_strict;

fn compressed(raw: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(raw).unwrap()
}

fn concatenated(blocks: &[Vec<u8>]) -> Vec<u8> {
    let parts: Vec<(u64, &[u8])> = blocks.iter().map(|block| snappy_elements(block).unwrap()).collect();
    let total = parts.iter().map(|(length, _)| length).sum();
    let mut whole = snappy_preamble(total).as_bytes().to_vec();
    parts.iter().for_each(|(_, elements)| whole.extend_from_slice(elements));
    whole
}

/// Random bytes, and repetitions near and far, for which snappy writes copies of every size.
fn texts() -> impl Strategy<Value = Vec<u8>> {
    let runs = prop_oneof![
        (vec(any::<u8>(), 0..300), Just(1)),
        (vec(any::<u8>(), 1..80), 1..400_usize),
        (vec(any::<u8>(), 3000..5000), 2..30_usize),
    ];
    vec(runs.prop_map(|(run, times)| run.repeat(times)), 0..4).prop_map(|runs| runs.concat())
}

proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(48))]

    #[test]
    fn snappy_blocks_put_together_decode_to_their_contents_put_together(texts in vec(texts(), 0..6)) {
        let blocks: Vec<Vec<u8>> = texts.iter().map(|text| compressed(text)).collect();
        let whole = snap::raw::Decoder::new().decompress_vec(&concatenated(&blocks)).unwrap();
        prop_assert!(whole == texts.concat());
    }

    #[test]
    fn concatenated_v1_blocks_are_the_request_of_all_their_series(parts in vec(requests(Kinds::ALL_V1), 1..4)) {
        let blocks: Vec<Vec<u8>> = parts.iter().map(|part| compressed(&encoded(Protocol::V1, part))).collect();
        let whole = snap::raw::Decoder::new().decompress_vec(&concatenated(&blocks)).unwrap();
        prop_assert_eq!(whole, encoded(Protocol::V1, &all(&parts)));
    }

    #[test]
    fn a_merged_v2_request_is_the_one_of_all_series_with_one_symbol_table(parts in vec(requests(Kinds::ALL_V2), 0..4)) {
        let bodies: Vec<Vec<u8>> = parts.iter().map(|part| encoded(Protocol::V2, part)).collect();
        let bodies: Vec<&[u8]> = bodies.iter().map(Vec::as_slice).collect();
        let mut merged = b"left over".to_vec();
        merge_v2(&bodies, &mut merged).unwrap();
        prop_assert_eq!(merged, encoded(Protocol::V2, &all(&parts)));
    }
}

fn all(parts: &[Request<'static>]) -> Request<'static> {
    request(parts.iter().flat_map(|part| part.series.clone()).collect())
}

#[test]
fn merging_drops_unused_and_repeated_symbols() {
    let mut body = encoded(Protocol::V2, &request(vec![Series { samples: vec![sample(1.0, 2)], ..named("up") }]));
    let clean = body.clone();
    body.extend_from_slice(b"\x22\x06unused\x22\x02up");
    let mut merged = Vec::new();
    merge_v2(&[&body, &body], &mut merged).unwrap();
    assert_v2_is_strict(&merged);
    let mut expected = clean.clone();
    let series_field = &clean[clean.iter().position(|&byte| byte == 0x2a).unwrap()..];
    expected.extend_from_slice(series_field);
    assert_eq!(merged, expected);
    assert_eq!(decoded(Protocol::V2, &merged).series.len(), 2);
}

#[test]
fn a_part_with_a_bad_reference_cannot_be_merged() {
    for body in [&b"\x22\x00\x2a\x04\x0a\x02\x00\x01"[..], b"\x22\x00\x2a\x03\x0a\x01\x00", b"\x22\x00\x2a\x05\x12"] {
        assert!(merge_v2(&[body], &mut Vec::new()).is_err(), "{body:x?}");
    }
}

#[test]
fn a_preamble_is_the_length_as_a_varint() {
    for (length, bytes) in [
        (0, &b"\x00"[..]),
        (127, b"\x7f"),
        (128, b"\x80\x01"),
        (MAX_SNAPPY_DECODED, b"\xff\xff\xff\xff\x0f"),
        (u64::MAX, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
    ] {
        assert_eq!(snappy_preamble(length).as_bytes(), bytes);
    }
}

#[test]
fn a_block_without_a_possible_length_has_no_elements() {
    for block in [&b""[..], b"\xff", b"\x80\x80\x80\x80\x10rest"] {
        assert!(snappy_elements(block).is_err(), "{block:x?}");
    }
    assert_eq!(snappy_elements(b"\x00"), Ok((0, &b""[..])));
}

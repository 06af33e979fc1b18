//! The load is what it says it is: checked with the codec under `remote-write`, which is another than the load's own.

use std::collections::HashSet;

use remote_write::compression::Decompressor;
use remote_write::read::read;

use super::*;
use crate::ledger::Ledger;

const NOW: i64 = 1_700_000_000_123;

fn workload(protocol: Protocol, change: impl FnOnce(&mut WorkloadSettings)) -> Workload {
    let mut settings =
        WorkloadSettings { series: 5_000, series_per_request: 2_000, protocol, ..WorkloadSettings::default() };
    change(&mut settings);
    Workload::new(settings)
}

fn everything(settings: &mut WorkloadSettings) {
    (settings.histograms, settings.exemplars, settings.metadata) = (true, true, true);
}

#[test]
fn a_receiver_finds_exactly_the_promised_points_in_every_round() {
    for protocol in [Protocol::V1, Protocol::V2] {
        let workload = workload(protocol, everything);
        let mut ledger = Ledger::default();
        let mut templates: Vec<Template> = (0..workload.requests()).map(|request| workload.template(request)).collect();
        let mut slices = Vec::new();
        for sequence in 0..3 {
            for (request, template) in (0..).zip(&mut templates) {
                let slice = Slice { request, sequence, timestamp: NOW + i64::from(sequence) };
                let counts = ledger.counts() + template.counts();
                ledger.record(&read(protocol, template.fill(sequence, slice.timestamp)).expect("valid"));
                assert_eq!(ledger.counts(), counts);
                slices.push(slice);
            }
        }
        let expected: Vec<Point> = workload.points(slices).collect();
        assert_eq!(ledger.missing(expected.iter().copied()), [], "{protocol:?}");
        assert_eq!(ledger.counts().samples + ledger.counts().histograms, 15_000);
        let all = ledger.counts().samples + ledger.counts().histograms + ledger.counts().exemplars;
        assert_eq!(expected.len() as u64, all);
        assert_eq!((ledger.series(), ledger.duplicates()), (5_000, 0));
    }
}

#[test]
fn both_protocols_carry_the_same_series() {
    let points = |protocol| {
        let workload = workload(protocol, everything);
        let mut ledger = Ledger::default();
        for request in 0..workload.requests() {
            ledger.record(&read(protocol, workload.template(request).fill(7, NOW)).expect("valid"));
        }
        ledger
    };
    let slices = (0..3).map(|request| Slice { request, sequence: 7, timestamp: NOW });
    let v1 = workload(Protocol::V1, everything);
    let expected: Vec<Point> = v1.points(slices).collect();
    for protocol in [Protocol::V1, Protocol::V2] {
        assert_eq!(points(protocol).missing(expected.iter().copied()), []);
    }
}

#[test]
fn a_series_has_about_eleven_labels_and_356_bytes_and_snappy_packs_it_ten_to_one() {
    let workload = workload(Protocol::V1, |settings| (settings.series, settings.series_per_request) = (8_000, 2_000));
    let mut template = workload.template(1);
    let raw = template.fill(1_000, NOW).to_vec();
    let request = read(Protocol::V1, &raw).expect("valid");
    let labels: usize = request.series.iter().map(|series| series.labels.len()).sum();
    let per_series = |total: usize| total as f64 / request.series.len() as f64;
    assert!((10.3..=11.7).contains(&per_series(labels)), "{} labels", per_series(labels));
    assert!((330.0..=380.0).contains(&per_series(raw.len())), "{} bytes", per_series(raw.len()));
    let mut encoder = Encoder::new(&workload);
    let (body, _) = encoder.encode(Slice { request: 1, sequence: 1_000, timestamp: NOW }).expect("packed");
    let ratio = raw.len() as f64 / body.len() as f64;
    assert!((8.0..=12.0).contains(&ratio), "{ratio} to one");
}

#[test]
fn the_encoder_gives_the_same_bodies_whether_it_keeps_templates_or_not() {
    let workload = workload(Protocol::V1, |_| {});
    let mut decompressor = Decompressor::new();
    let mut encoder = Encoder::new(&workload);
    for sequence in 0..2 {
        for request in 0..workload.requests() {
            let (body, counts) = encoder.encode(Slice { request, sequence, timestamp: NOW }).expect("packed");
            let mut decoded = Vec::new();
            decompressor.decompress(Compression::Snappy, &body, 32 << 20, &mut decoded).expect("snappy");
            assert_eq!(decoded, workload.template(request).fill(sequence, NOW));
            assert_eq!(counts.samples, if request == 2 { 1_000 } else { 2_000 });
        }
    }
}

#[test]
fn the_last_request_of_a_round_holds_the_rest() {
    for (series, per_request, expected) in [(1, 2_000, [1].as_slice()), (10, 3, &[3, 3, 3, 1]), (4, 0, &[1, 1, 1, 1])] {
        let workload = workload(Protocol::V1, |settings| {
            (settings.series, settings.series_per_request) = (series, per_request);
        });
        let sizes: Vec<u64> =
            (0..workload.requests()).map(|request| workload.template(request).counts().samples).collect();
        assert_eq!(sizes, expected);
    }
}

#[test]
fn a_value_tells_its_series_and_round() {
    for (series, sequence) in [(0, 0), (1, 0), (0, 1), (99_999, 4_711), (MAX_SERIES - 1, SEQUENCES - 1)] {
        assert_eq!(series_and_sequence(value(series, sequence)), (series, sequence));
    }
}

#[test]
fn v2_symbols_begin_with_the_empty_string_and_do_not_repeat() {
    let workload = workload(Protocol::V2, everything);
    let raw = workload.template(0).fill(0, NOW).to_vec();
    let request = read(Protocol::V2, &raw).expect("valid");
    assert!(request.series.iter().all(|series| !series.bad_reference && series.metadata.is_some()));
    let mut rest = raw.as_slice();
    let mut symbols = HashSet::new();
    let mut first = None;
    // Every symbol of this load is shorter than 128 bytes but the container ids, whose length takes two.
    while let [0x22, after @ ..] = rest {
        let (length, after) = match after {
            [low, high, after @ ..] if low & 0x80 != 0 => (usize::from(low & 0x7f) | usize::from(*high) << 7, after),
            [length, after @ ..] => (usize::from(*length), after),
            [] => panic!("cut"),
        };
        let (symbol, after) = after.split_at(length);
        first.get_or_insert(symbol);
        assert!(symbols.insert(symbol), "repeated");
        rest = after;
    }
    assert_eq!(first, Some(b"".as_slice()));
    assert!(symbols.len() > 300, "{}", symbols.len());
}

#[test]
fn the_metadata_request_names_every_family_and_no_series() {
    let raw = workload(Protocol::V1, everything).metadata_request();
    let request = read(Protocol::V1, &raw).expect("valid");
    assert_eq!(request.series, []);
    let names: Vec<&[u8]> = request.metadata.iter().map(|metadata| metadata.family).collect();
    let expected: Vec<&[u8]> = series::FAMILIES.iter().map(|family| family.name.as_bytes()).collect();
    assert_eq!(names, expected);
}

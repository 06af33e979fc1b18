//! Requests of every kind, right and wrong, and bytes that were requests once.

use crate::oracle::{BucketHistogram, Count, Oracle, Span, ZeroCount, v1, v2};
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::select;
use remote_write::check::Rules;

const NAMES: &[&[u8]] = &[b"a", b"Z", b"job", b"vm_account_id", b"vm_project_id", "\u{e9}".as_bytes(), b"", b"\xff"];
const VALUES: &[&[u8]] = &[b"x", b"up", "\u{1f980}".as_bytes(), &[b'v'; 130], b"", b"\xc3"];
/// What a v2 table holds, nearly always.
const SYMBOLS: &[&[u8]] = &[b"", b"__name__", b"up", b"a", b"job", b"x", "\u{e9}".as_bytes(), b"vm_account_id"];

fn name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![20 => select(&NAMES[..6]), 1 => select(NAMES)].prop_map(<[u8]>::to_vec)
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![12 => select(&VALUES[..4]), 1 => select(VALUES)].prop_map(<[u8]>::to_vec)
}

/// Numbers whose bits must survive.
fn number() -> impl Strategy<Value = f64> {
    let special = select(&[0x7ff0_0000_0000_0002_u64, 0x7ff8_0000_0000_0001, 1, 1 << 63, 0][..]);
    prop_oneof![any::<f64>(), special.prop_map(f64::from_bits)]
}

fn time() -> impl Strategy<Value = i64> {
    prop_oneof![Just(0), Just(-1), Just(i64::MAX), Just(i64::MIN), 1_700_000_000_000_i64..1_800_000_000_000]
}

fn labels() -> impl Strategy<Value = Vec<v1::Label>> {
    let label = (name(), value()).prop_map(|(name, value)| v1::Label { name, value });
    let metric = select(vec!["up", "up", "up", ""])
        .prop_map(|value| v1::Label { name: b"__name__".to_vec(), value: value.into() });
    (vec(label, 0..4), proptest::option::weighted(0.95, metric), any::<bool>()).prop_map(
        |(mut labels, metric, sort)| {
            labels.extend(metric);
            if sort {
                labels.sort_by(|one, next| one.name.cmp(&next.name));
            }
            labels
        },
    )
}

/// Right before one of many ways to spoil it.
pub(crate) fn histogram() -> impl Strategy<Value = BucketHistogram> {
    (vec(0_u8..5, 0..4), vec(0_u8..5, 0..4), 0_u8..3, 0_u8..3, -2_i32..40, time(), number()).prop_map(
        |(positive, negative, kind, zero, spoil, timestamp, sum)| {
            let mut value = BucketHistogram { sum, timestamp, schema: i32::from(zero), ..BucketHistogram::default() };
            let negative = if kind == 2 { Vec::new() } else { negative };
            let total = |counts: &[u8]| counts.iter().map(|count| u64::from(*count)).sum::<u64>();
            let (zero, count) = if kind == 2 {
                (0, total(&positive))
            } else {
                (u64::from(zero), u64::from(zero) + total(&positive) + total(&negative))
            };
            let spans = |counts: &[u8]| match counts.len() {
                0 => Vec::new(),
                length => vec![Span { offset: 0, length: 1 }, Span { offset: 2, length: length as u32 - 1 }],
            };
            (value.positive_spans, value.negative_spans) = (spans(&positive), spans(&negative));
            if kind == 1 {
                let floats = |counts: &[u8]| counts.iter().map(|count| f64::from(*count)).collect::<Vec<_>>();
                (value.positive_counts, value.negative_counts) = (floats(&positive), floats(&negative));
                value.count = Some(Count::Float(count as f64));
                value.zero_count = Some(ZeroCount::Float(zero as f64));
            } else {
                let deltas = |counts: &[u8]| {
                    let mut last = 0;
                    counts
                        .iter()
                        .map(|count| {
                            let delta = i64::from(*count) - last;
                            last = i64::from(*count);
                            delta
                        })
                        .collect::<Vec<_>>()
                };
                (value.positive_deltas, value.negative_deltas) = (deltas(&positive), deltas(&negative));
                value.count = Some(Count::Int(count));
                value.zero_count = Some(ZeroCount::Int(zero));
            }
            if kind == 2 {
                value.schema = -53;
                value.custom_values = vec![-1.0, 0.5, 2.0, 7.0, 8.0];
            }
            spoil_histogram(&mut value, spoil);
            value
        },
    )
}

fn spoil_histogram(value: &mut BucketHistogram, spoil: i32) {
    match spoil {
        0 => value.count = Some(Count::Int(99)),
        1 => value.positive_deltas.push(-100),
        2 => value.positive_counts.push(1.0),
        3 => value.schema = -5,
        4 => value.schema = 53,
        5 => value.custom_values.push(f64::INFINITY),
        6 => value.custom_values.push(f64::NAN),
        7 => value.custom_values.insert(0, 100.0),
        8 => value.positive_spans.push(Span { offset: -1, length: 0 }),
        9 => value.positive_spans.insert(0, Span { offset: -3, length: 0 }),
        10 => value.negative_spans.push(Span { offset: 1, length: 0 }),
        11 => value.zero_threshold = 0.1,
        12 => value.zero_count = Some(ZeroCount::Int(1)),
        13 => value.count = None,
        14 => value.zero_count = None,
        15 => value.count = Some(Count::Float(-1.0)),
        16 => value.positive_spans.push(Span { offset: i32::MAX, length: 0 }),
        17 => value.sum = f64::NAN,
        18 => value.schema = 20,
        _ => {}
    }
}

fn v1_series() -> impl Strategy<Value = v1::TimeSeries> {
    let exemplar_label = (name(), value()).prop_map(|(name, value)| v1::Label { name, value });
    let exemplar = (vec(exemplar_label, 0..3), number(), time()).prop_map(|(labels, value, timestamp)| v1::Exemplar {
        labels,
        value,
        timestamp,
    });
    let sample = (number(), time()).prop_map(|(value, timestamp)| v1::Sample { value, timestamp });
    let histogram = histogram().prop_map(v1::Histogram::from);
    (labels(), vec(sample, 0..3), vec(exemplar, 0..2), vec(histogram, 0..2))
        .prop_map(|(labels, samples, exemplars, histograms)| v1::TimeSeries { labels, samples, exemplars, histograms })
}

fn reference() -> impl Strategy<Value = u32> {
    prop_oneof![40 => 0_u32..8, 1 => Just(9), 1 => Just(u32::MAX)]
}

fn references() -> impl Strategy<Value = Vec<u32>> {
    prop_oneof![
        2 => Just(vec![1, 2]),
        3 => Just(vec![1, 2, 3, 5, 4, 5]),
        2 => Just(vec![4, 5, 3, 5, 1, 2, 7, 5]),
        1 => vec(reference(), 0..8),
    ]
}

fn v2_series() -> impl Strategy<Value = v2::TimeSeries> {
    let exemplar = (prop_oneof![Just(vec![3, 5]), references()], number(), time())
        .prop_map(|(labels_refs, value, timestamp)| v2::Exemplar { labels_refs, value, timestamp });
    let metadata = (0_i32..9, reference(), reference()).prop_map(|(kind, help_ref, unit_ref)| v2::Metadata {
        kind,
        help_ref,
        unit_ref,
    });
    let created = prop_oneof![4 => Just(0), 1 => time()];
    let metadata = proptest::option::of(metadata);
    let sample = (number(), time(), time()).prop_map(|(value, timestamp, start_timestamp)| v2::Sample {
        value,
        timestamp,
        start_timestamp,
    });
    (references(), vec(sample, 0..3), vec(histogram(), 0..2), vec(exemplar, 0..2), metadata, created).prop_map(
        |(labels_refs, samples, histograms, exemplars, metadata, created_timestamp)| v2::TimeSeries {
            labels_refs,
            samples,
            histograms,
            exemplars,
            metadata,
            created_timestamp,
        },
    )
}

/// Any request of either protocol.
pub(crate) fn request() -> impl Strategy<Value = Oracle> {
    let metadata = (0_i32..9, name(), value(), value()).prop_map(|(kind, family, help, unit)| v1::MetricMetadata {
        kind,
        family,
        help,
        unit,
    });
    let first = (vec(v1_series(), 0..4), vec(metadata, 0..2))
        .prop_map(|(timeseries, metadata)| Oracle::V1(v1::WriteRequest { timeseries, metadata }));
    let second = (vec(v2_series(), 0..4), 0_usize..20).prop_map(|(timeseries, table)| {
        let mut symbols: Vec<_> = SYMBOLS.iter().map(|symbol| symbol.to_vec()).collect();
        match table {
            0 => symbols.truncate(4),
            1 => symbols[0] = b"first".to_vec(),
            2 => symbols.push(b"\xff".to_vec()),
            3 => symbols[5] = b"\xff".to_vec(),
            _ => {}
        }
        Oracle::V2(v2::Request { symbols, timeseries })
    });
    prop_oneof![first, second]
}

pub(crate) fn rules() -> impl Strategy<Value = Rules> {
    (any::<bool>(), select(&[0, 0, 2, 3][..]), select(&[0, 0, 3, 130][..]), any::<bool>()).prop_map(
        |(strict, label_names, label_value_bytes, keep_vm_account_labels)| Rules {
            strict,
            label_names,
            label_value_bytes,
            keep_vm_account_labels,
        },
    )
}

/// One change to the bytes: at a place, of a kind, with a byte.
pub(crate) fn damage() -> impl Strategy<Value = (usize, u8, u8)> {
    (any::<usize>(), 0_u8..5, any::<u8>())
}

pub(crate) fn damaged(mut bytes: Vec<u8>, damage: &[(usize, u8, u8)]) -> Vec<u8> {
    for &(place, kind, byte) in damage {
        if bytes.is_empty() {
            break;
        }
        let place = place % bytes.len();
        match kind {
            0 => bytes[place] = byte,
            1 => bytes[place] ^= 1 << (byte % 8),
            2 => bytes.truncate(place),
            3 => bytes.insert(place, byte),
            _ => drop(bytes.remove(place)),
        }
    }
    bytes
}

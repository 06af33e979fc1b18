//! Requests: a few words to write one by hand, and strategies to generate any.

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::{select, subsequence};
use remote_write::model::{Count, Exemplar, Histogram, Label, Metadata, Request, Sample, Series, Span};
use remote_write::{Counts, Protocol, encode, read};

pub(crate) const STALE: u64 = 0x7ff0_0000_0000_0002;

/// In bytewise order, as checked labels are.
const NAMES: [&str; 10] =
    ["A_capital", "__name__", "dotted.name", "instance", "job", "le", "namespace", "pod", "zone", "übung"];

const VALUES: [&str; 12] = [
    "a",
    "b",
    "localhost:9090",
    "0.005",
    "+Inf",
    "line\nbreak",
    "日本語",
    "requests_total",
    "latency_seconds_bucket",
    "kube-system",
    "x",
    "a value of more than a hundred and twenty-eight bytes, so that its length takes two bytes wherever it is written: \
     0123456789012345678901234567890123456789",
];

pub(crate) fn labels(pairs: &[(&'static str, &'static str)]) -> Vec<Label<'static>> {
    pairs.iter().map(|(name, value)| Label { name: name.as_bytes(), value: value.as_bytes() }).collect()
}

/// A series of that name in one job.
pub(crate) fn named(name: &'static str) -> Series<'static> {
    Series { labels: labels(&[("__name__", name), ("job", "api")]), ..Series::default() }
}

pub(crate) fn sample(value: f64, timestamp: i64) -> Sample {
    Sample { value, timestamp, start_timestamp: 0 }
}

pub(crate) fn exemplar(trace: &'static str, timestamp: i64) -> Exemplar<'static> {
    Exemplar { labels: labels(&[("trace_id", trace)]), value: 0.5, timestamp, bad_reference: false }
}

/// An integer histogram of schema 3 with two buckets.
pub(crate) fn exponential(timestamp: i64) -> Histogram {
    Histogram {
        count: Some(Count::Int(5)),
        sum: 12.5,
        schema: 3,
        zero_threshold: 1e-128,
        zero_count: Some(Count::Int(0)),
        positive_spans: vec![Span { offset: -2, length: 2 }],
        positive_deltas: vec![2, 1],
        timestamp,
        ..Histogram::default()
    }
}

/// One with custom buckets, which v1 cannot carry.
pub(crate) fn custom(timestamp: i64) -> Histogram {
    Histogram {
        count: Some(Count::Int(3)),
        schema: -53,
        positive_spans: vec![Span { offset: 0, length: 1 }],
        positive_deltas: vec![3],
        custom_values: vec![0.1, 1.0],
        timestamp,
        ..Histogram::default()
    }
}

pub(crate) fn request(series: Vec<Series<'static>>) -> Request<'static> {
    Request { series, metadata: Vec::new() }
}

pub(crate) fn encoded(protocol: Protocol, request: &Request<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    match protocol {
        Protocol::V1 => encode::encode_v1(request, &mut out),
        Protocol::V2 => encode::encode_v2(request, &mut out),
    }
    out
}

pub(crate) fn decoded(protocol: Protocol, bytes: &[u8]) -> Request<'_> {
    read::read(protocol, bytes).unwrap()
}

pub(crate) fn counts_of(request: &Request<'_>) -> Counts {
    request.series.iter().fold(Counts::default(), |sum, series| {
        sum + Counts {
            samples: series.samples.len() as u64,
            histograms: series.histograms.len() as u64,
            exemplars: series.exemplars.len() as u64,
        }
    })
}

/// The bits of all data points of each label set, in wire order: what no translation may change. NaN equals itself here.
pub(crate) fn flattened(request: &Request<'_>) -> std::collections::BTreeMap<String, [Vec<u8>; 3]> {
    let mut flat = std::collections::BTreeMap::new();
    for series in &request.series {
        let [samples, histograms, exemplars]: &mut [Vec<u8>; 3] =
            flat.entry(format!("{:?}", series.labels)).or_default();
        let one = |out: &mut Vec<u8>, series: Series<'_>| {
            out.extend(encoded(Protocol::V1, &Request { series: vec![series], metadata: Vec::new() }));
        };
        for value in &series.samples {
            one(samples, Series { samples: vec![*value], ..Series::default() });
        }
        for value in &series.histograms {
            one(histograms, Series { histograms: vec![value.clone()], ..Series::default() });
        }
        for value in &series.exemplars {
            one(exemplars, Series { exemplars: vec![value.clone()], ..Series::default() });
        }
    }
    flat
}

/// What a generated request may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kinds {
    pub(crate) start_timestamps: bool,
    pub(crate) metadata: bool,
    pub(crate) custom_buckets: bool,
    /// Series with nothing but exemplars.
    pub(crate) orphans: bool,
    /// Series with both samples and histograms.
    pub(crate) mixed: bool,
    /// Values that are not equal to themselves.
    pub(crate) nan: bool,
}

impl Kinds {
    /// What both protocols can say.
    pub(crate) const COMMON: Self = Self {
        start_timestamps: false,
        metadata: false,
        custom_buckets: false,
        orphans: false,
        mixed: false,
        nan: true,
    };

    /// All that a checked v1 request may hold.
    pub(crate) const ALL_V1: Self = Self { custom_buckets: true, orphans: true, mixed: true, ..Self::COMMON };

    /// All that a checked v2 request may hold.
    pub(crate) const ALL_V2: Self =
        Self { start_timestamps: true, metadata: true, custom_buckets: true, orphans: true, ..Self::COMMON };
}

/// Any request of these kinds. Few label sets, so that they repeat.
pub(crate) fn requests(kinds: Kinds) -> impl Strategy<Value = Request<'static>> {
    vec(series(kinds), 0..12).prop_map(request)
}

fn series(kinds: Kinds) -> impl Strategy<Value = Series<'static>> {
    let exemplars = vec(exemplars(kinds), 0..3);
    let data = (vec(samples(kinds), 1..4), vec(histograms(kinds), 1..3), exemplars, 0..10_u8);
    let metadata = (0..8_i32, select(&["", "How many."]), select(&["", "seconds"]));
    let metadata = metadata.prop_map(|(kind, help, unit): (i32, &str, &str)| {
        Some(Metadata { kind, family: b"", help: help.as_bytes(), unit: unit.as_bytes() })
            .filter(|metadata| *metadata != Metadata::default())
    });
    (label_sets(), data, metadata).prop_map(move |(labels, (samples, histograms, exemplars, shape), metadata)| {
        let metadata = metadata.filter(|_| kinds.metadata);
        let whole = Series { labels, samples, histograms, exemplars, metadata, bad_reference: false };
        match shape {
            0 if kinds.mixed => whole,
            1 if kinds.orphans && !whole.exemplars.is_empty() => {
                Series { samples: Vec::new(), histograms: Vec::new(), ..whole }
            }
            0..=4 => Series { samples: Vec::new(), ..whole },
            _ => Series { histograms: Vec::new(), ..whole },
        }
    })
}

fn label_sets() -> impl Strategy<Value = Vec<Label<'static>>> {
    prop_oneof![
        select(&["up", "requests_total"]).prop_map(|name| named(name).labels),
        (subsequence(&NAMES[..], 1..=NAMES.len()), vec(select(&VALUES[..]), NAMES.len())).prop_map(
            |(names, values)| {
                let pairs = names.iter().zip(values);
                pairs.map(|(name, value)| Label { name: name.as_bytes(), value: value.as_bytes() }).collect()
            }
        ),
    ]
}

fn samples(kinds: Kinds) -> impl Strategy<Value = Sample> {
    (floats(kinds), timestamps(), timestamps()).prop_map(move |(value, timestamp, start)| {
        let start_timestamp = if kinds.start_timestamps { start } else { 0 };
        Sample { value, timestamp, start_timestamp }
    })
}

fn exemplars(kinds: Kinds) -> impl Strategy<Value = Exemplar<'static>> {
    let labels = prop_oneof![
        Just(Vec::new()),
        select(&VALUES[..]).prop_map(|value| vec![Label { name: b"trace_id", value: value.as_bytes() }]),
        label_sets(),
    ];
    (labels, floats(kinds), timestamps()).prop_map(|(labels, value, timestamp)| Exemplar {
        labels,
        value,
        timestamp,
        bad_reference: false,
    })
}

/// Structure and bits matter here; the arithmetic is for the check.
fn histograms(kinds: Kinds) -> impl Strategy<Value = Histogram> {
    let spans = || vec((any::<i32>(), any::<u32>()).prop_map(|(offset, length)| Span { offset, length }), 0..3);
    let shape = (0..3_u8, -4..=8_i32, any::<u64>(), any::<u64>(), 0..4_i32, any::<bool>());
    let buckets = (spans(), spans(), vec(any::<i64>(), 0..4), vec(any::<i64>(), 0..4));
    let values = (vec(floats(kinds), 0..4), vec(floats(kinds), 0..4), floats(kinds), floats(kinds), floats(kinds));
    (shape, buckets, values, (timestamps(), timestamps())).prop_map(
        move |(
            (kind, schema, count, zero, reset_hint, has_zero),
            (negative_spans, positive_spans, negative_deltas, positive_deltas),
            (negative_counts, positive_counts, sum, zero_threshold, float),
            (timestamp, start),
        )| {
            let common = Histogram {
                sum,
                schema,
                zero_threshold,
                reset_hint,
                timestamp,
                start_timestamp: if kinds.start_timestamps { start } else { 0 },
                negative_spans,
                positive_spans,
                ..Histogram::default()
            };
            match kind {
                0 if kinds.custom_buckets => Histogram {
                    count: Some(Count::Int(count)),
                    schema: -53,
                    custom_values: positive_counts,
                    positive_deltas,
                    ..common
                },
                1 => Histogram {
                    count: Some(Count::Float(float)),
                    zero_count: has_zero.then_some(Count::Float(float)),
                    negative_counts,
                    positive_counts,
                    ..common
                },
                _ => Histogram {
                    count: Some(Count::Int(count)),
                    zero_count: has_zero.then_some(Count::Int(zero)),
                    negative_deltas,
                    positive_deltas,
                    ..common
                },
            }
        },
    )
}

fn timestamps() -> impl Strategy<Value = i64> {
    prop_oneof![select(&[0, -1, 1, i64::MIN, i64::MAX][..]), 1_700_000_000_000..1_800_000_000_000_i64, any::<i64>()]
}

/// Any bits: NaN with any payload, both zeros, subnormals, infinities.
fn floats(kinds: Kinds) -> impl Strategy<Value = f64> {
    let special = [STALE, 0x7ff8_0000_0000_0001, 0xfff8_0000_0000_0000, 1, 1 << 63, 0, 0x7ff0_0000_0000_0000];
    prop_oneof![select(special.to_vec()), any::<u64>()].prop_map(move |bits| {
        let value = f64::from_bits(bits);
        if value.is_nan() && !kinds.nan { 1.5 } else { value }
    })
}

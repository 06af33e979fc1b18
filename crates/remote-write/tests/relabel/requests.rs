//! Whole requests in both protocols, against the reference and against themselves without a cache.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::sample::select;
use remote_write::check::{Checker, Rules, family_hash, series_hash};
use remote_write::model::{Count, Exemplar, Histogram, Label, Metadata, Request, Sample, Series};
use remote_write::relabel::{Action, Cache, Pipeline, Relabeled, Relabeler};
use remote_write::{Counts, Protocol, encode, read};

use crate::naive::{Kind, Map, NaiveStep, PATTERNS};

const NAMES: [&str; 7] = ["__name__", "a", "ab", "b", "job", "ünï.code", "x"];
const VALUES: [&str; 9] = [
    "a",
    "b",
    "ab",
    "up",
    "UP",
    "a;b",
    "job",
    "x\ny",
    "a value of more than a hundred and twenty-eight bytes, so that its length takes two bytes wherever it is written: 0123456789012345",
];

fn steps() -> impl Strategy<Value = Vec<NaiveStep>> {
    let kinds: Vec<Kind> = [Kind::Default, Kind::Set].into_iter().chain(Action::ALL.map(Kind::Rule)).collect();
    let step = (select(kinds), vec(select(&NAMES[..]), 0..3), select(&NAMES[..]), select(&PATTERNS[..]));
    vec(step.prop_map(|(kind, sources, target, pattern)| NaiveStep { kind, sources, target, pattern }), 0..4)
}

fn label_sets() -> impl Strategy<Value = BTreeMap<&'static str, &'static str>> {
    btree_map(select(&NAMES[1..]), select(&VALUES[..]), 0..6).prop_flat_map(|labels| {
        select(&["up", "a", "ab"][..]).prop_map(move |name| {
            let mut labels = labels.clone();
            labels.insert("__name__", name);
            labels
        })
    })
}

fn series() -> impl Strategy<Value = Series<'static>> {
    // The bits of values must survive.
    let value = prop_oneof![any::<f64>(), select(&[0x7ff0_0000_0000_0002_u64, 1 << 63][..]).prop_map(f64::from_bits)];
    let sample = (value, any::<i64>()).prop_map(|(value, timestamp)| Sample { value, timestamp, start_timestamp: 0 });
    let exemplar = any::<i64>().prop_map(|timestamp| Exemplar {
        labels: vec![Label { name: b"trace_id", value: b"1234" }],
        value: 0.5,
        timestamp,
        bad_reference: false,
    });
    let data = (vec(sample, 1..3), vec(exemplar, 0..2), any::<bool>(), any::<bool>());
    (label_sets(), data).prop_map(|(labels, (samples, exemplars, histogram, described))| {
        let labels = labels.iter().map(|(name, value)| Label { name: name.as_bytes(), value: value.as_bytes() });
        let metadata = Metadata { kind: 1, family: b"", help: b"How many.", unit: b"" };
        let mut series = Series { labels: labels.collect(), exemplars, ..Series::default() };
        series.metadata = described.then_some(metadata);
        if histogram {
            let histogram = |sample: &Sample| Histogram {
                count: Some(Count::Int(0)),
                zero_count: Some(Count::Int(0)),
                timestamp: sample.timestamp,
                ..Histogram::default()
            };
            series.histograms = samples.iter().map(histogram).collect();
        } else {
            series.samples = samples;
        }
        series
    })
}

/// What both protocols can say, with metadata for either.
fn requests() -> impl Strategy<Value = Request<'static>> {
    (vec(series(), 0..12), any::<bool>()).prop_map(|(series, described)| {
        let family = Metadata { kind: 2, family: b"family", help: b"x", unit: b"y" };
        Request { series, metadata: described.then_some(family).into_iter().collect() }
    })
}

fn protocols() -> impl Strategy<Value = Protocol> {
    select(&[Protocol::V1, Protocol::V2][..])
}

fn encoded(protocol: Protocol, request: &Request<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    match protocol {
        Protocol::V1 => encode::encode_v1(request, &mut out),
        Protocol::V2 => encode::encode_v2(request, &mut out),
    }
    out
}

fn counts(series: &Series<'_>) -> Counts {
    Counts {
        samples: series.samples.len() as u64,
        histograms: series.histograms.len() as u64,
        exemplars: series.exemplars.len() as u64,
    }
}

/// A request in which the bits of each value can be compared.
fn canonical(protocol: Protocol, request: &Request<'_>) -> Vec<Vec<u8>> {
    let one = |series: &Series<'_>| {
        encoded(protocol, &Request { series: vec![series.clone()], metadata: request.metadata.clone() })
    };
    request.series.iter().map(one).collect()
}

/// The output as a request, whether it is the input or not.
fn output<'a>(protocol: Protocol, done: &Relabeled, input: &'a [u8], out: &'a [u8]) -> Request<'a> {
    assert!(done.changed || out.is_empty());
    read::read(protocol, if done.changed { out } else { input }).unwrap()
}

fn footprint(request: &Request<'_>) -> Vec<u32> {
    let series = request.series.iter().map(|series| series_hash(&series.labels));
    let mut hashes: Vec<u32> = series.chain(request.metadata.iter().map(|family| family_hash(family.family))).collect();
    hashes.sort_unstable();
    hashes.dedup();
    hashes
}

/// The labels of each series that the reference keeps, with the series.
fn expected<'a>(request: &'a Request<'static>, steps: &[NaiveStep]) -> Vec<(Map, &'a Series<'static>)> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let relabel = |series: &'a Series<'static>| {
        let mut labels: Map = series.labels.iter().map(|label| (text(label.name), text(label.value))).collect();
        let kept = steps.iter().all(|step| step.apply(&mut labels)) && !labels.is_empty();
        kept.then_some((labels, series))
    };
    request.series.iter().filter_map(relabel).collect()
}

proptest! {
    #[test]
    fn requests_come_out_as_the_reference_has_them(request in requests(), steps in steps(), protocol in protocols()) {
        let input = encoded(protocol, &request);
        let pipeline = Pipeline::new(steps.iter().map(NaiveStep::step).collect(), 1);
        let mut out = Vec::new();
        let done = Relabeler::new().relabel(&pipeline, &Cache::new(1 << 20), protocol, &input, &mut out).unwrap();
        let kept = expected(&request, &steps);
        let series = kept.iter().map(|(labels, series)| Series {
            labels: labels.iter().map(|(name, value)| Label { name: name.as_bytes(), value: value.as_bytes() }).collect(),
            metadata: series.metadata.filter(|_| protocol == Protocol::V2),
            ..(*series).clone()
        });
        let metadata = if protocol == Protocol::V1 { request.metadata.clone() } else { Vec::new() };
        let expected = Request { series: series.collect(), metadata };
        let got = output(protocol, &done, &input, &out);
        prop_assert_eq!(canonical(protocol, &got), canonical(protocol, &expected));
        prop_assert_eq!(got.metadata, expected.metadata);
        prop_assert_eq!(done.series as usize, kept.len());
        prop_assert_eq!(done.first_dropped.is_some(), kept.len() < request.series.len());
        let unchanged = kept.len() == request.series.len()
            && expected.series.iter().zip(&request.series).all(|(after, before)| after.labels == before.labels);
        prop_assert_eq!(done.changed, !unchanged);
    }

    #[test]
    fn a_cache_changes_no_result_and_the_books_add_up(
        requests in vec(requests(), 1..4),
        steps in steps(),
        protocol in protocols(),
        max_bytes in select(&[0, 2_000, 20_000, 1 << 20][..]),
    ) {
        let pipeline = Pipeline::new(steps.iter().map(NaiveStep::step).collect(), 2);
        let (cache, mut relabeler) = (Cache::new(max_bytes), Relabeler::new());
        let (mut warm, mut cold, mut hashes) = (Vec::new(), Vec::new(), Vec::new());
        for request in requests.iter().chain(&requests) {
            let input = encoded(protocol, request);
            relabeler.note_footprint();
            let done = relabeler.relabel(&pipeline, &cache, protocol, &input, &mut warm).unwrap();
            let noted = relabeler.noted_footprint();
            let none = Cache::new(0);
            let uncached = Relabeler::new().relabel(&pipeline, &none, protocol, &input, &mut cold).unwrap();
            prop_assert_eq!(&done, &uncached);
            prop_assert_eq!(&warm, &cold);
            prop_assert!(cache.bytes() <= max_bytes);

            let total = request.series.iter().map(counts).fold(Counts::default(), |sum, counts| sum + counts);
            prop_assert_eq!(done.kept + done.dropped, total);
            let got = output(protocol, &done, &input, &warm);
            let kept = got.series.iter().map(counts).fold(Counts::default(), |sum, counts| sum + counts);
            prop_assert_eq!(done.kept, kept);

            relabeler.footprint(&pipeline, &cache, protocol, &input, &mut hashes).unwrap();
            prop_assert_eq!(&hashes, &footprint(&got));
            prop_assert_eq!(noted.as_ref(), Some(&hashes));
        }
    }

    #[test]
    fn what_comes_out_passes_the_strict_check_untouched(request in requests(), steps in steps(), protocol in protocols()) {
        let input = encoded(protocol, &request);
        // Series that lose their names are the rules' doing; the check would refuse them.
        let named = NaiveStep { kind: Kind::Default, sources: Vec::new(), target: "__name__", pattern: PATTERNS[0] };
        let steps = steps.iter().chain([&named]).map(NaiveStep::step).collect();
        let mut out = Vec::new();
        let done = Relabeler::new()
            .relabel(&Pipeline::new(steps, 3), &Cache::new(1 << 20), protocol, &input, &mut out)
            .unwrap();
        let mut checker = Checker::new();
        let rules = Rules { strict: true, ..Rules::default() };
        let checked = checker.check(protocol, if done.changed { &out } else { &input }, &rules).unwrap();
        prop_assert!(checked.rejected.is_empty(), "{:?}", checked.rejected);
        prop_assert!(checked.mended.is_none() && !checked.rebuild_symbols);
        prop_assert_eq!(checked.accepted, done.kept);
    }

    #[test]
    fn bytes_that_are_no_request_are_an_error_and_no_panic(bytes in vec(any::<u8>(), 0..200), protocol in protocols()) {
        let step = NaiveStep { kind: Kind::Set, sources: Vec::new(), target: "a", pattern: PATTERNS[0] };
        let pipeline = Pipeline::new(vec![step.step()], 4);
        let mut out = Vec::new();
        let done = Relabeler::new().relabel(&pipeline, &Cache::new(1 << 20), protocol, &bytes, &mut out);
        prop_assert!(done.is_err() || read::read(protocol, &bytes).is_ok());
    }
}

#[test]
fn a_series_that_is_a_number_is_an_error() {
    // Found by the property above: field 1 as a varint.
    let keep = Pipeline::new(Vec::new(), 1);
    let relabeled = Relabeler::new().relabel(&keep, &Cache::new(1 << 20), Protocol::V1, &[8, 0], &mut Vec::new());
    assert!(relabeled.is_err());
}

//! What the check does to remote write 2.0, rule by rule.

use crate::oracle::v2::{Exemplar, Histogram, Metadata, Request, Sample, TimeSeries};
use crate::oracle::{Count, Oracle};
use prost::Message;
use remote_write::check::{Changes, Checked, Checker, Rules, series_hash};
use remote_write::wire::{put_len_delimited, put_message, put_varint_field};
use remote_write::{Counts, Protocol, model};

/// References into it are written in the tests as numbers.
const SYMBOLS: [&str; 8] = ["", "__name__", "up", "job", "x", "a", "help", "vm_account_id"];
const SAMPLE: Sample = Sample { value: 1.5, timestamp: 1_700_000_000_000, start_timestamp: 0 };

fn series(references: &[u32]) -> TimeSeries {
    TimeSeries { labels_refs: references.to_vec(), samples: vec![SAMPLE], ..TimeSeries::default() }
}

fn histogram() -> Histogram {
    Histogram { count: Some(Count::Int(0)), timestamp: 5, ..Histogram::default() }
}

fn request(timeseries: Vec<TimeSeries>) -> Request {
    Request { symbols: SYMBOLS.map(|symbol| symbol.as_bytes().to_vec()).to_vec(), timeseries }
}

fn with_check<T>(request: &Request, rules: &Rules, look: impl FnOnce(Checked<'_>) -> T) -> T {
    look(Checker::new().check(Protocol::V2, &request.encode_to_vec(), rules).expect("a request"))
}

fn mended(request: &Request) -> Request {
    with_check(request, &Rules::default(), |checked| {
        Request::decode(checked.mended.expect("mended")).expect("a request")
    })
}

fn strict() -> Rules {
    Rules { strict: true, ..Rules::default() }
}

/// The series between two good ones is refused alone; returns why.
fn refused(timeseries: TimeSeries, rules: &Rules) -> String {
    let good = series(&[1, 2]);
    let request = request(vec![good.clone(), timeseries, good.clone()]);
    with_check(&request, rules, |checked| {
        assert_eq!((checked.accepted.samples, checked.rejected.invalid.series), (2, 1));
        let kept = Request::decode(checked.mended.expect("mended")).expect("a request");
        assert_eq!(kept.timeseries, [good.clone(), good]);
        checked.rejected.first().expect("a refusal").cause.clone()
    })
}

#[test]
fn a_request_that_is_right_stays_the_bytes_that_came() {
    let mut full = series(&[1, 2, 3, 4]);
    full.exemplars = vec![Exemplar { labels_refs: vec![5, 4], value: 1.0, timestamp: 3 }];
    full.metadata = Some(Metadata { kind: 1, help_ref: 6, unit_ref: 0 });
    let other = TimeSeries { samples: Vec::new(), histograms: vec![histogram()], ..series(&[1, 2, 5, 4]) };
    with_check(&request(vec![full.clone(), other, full]), &strict(), |checked| {
        assert_eq!((checked.mended, checked.changes), (None, Changes::default()));
        assert_eq!(checked.accepted, Counts { samples: 2, histograms: 1, exemplars: 2 });
        assert_eq!((checked.accepted_series, checked.footprint.len()), (3, 2));
        assert_eq!(checked.timestamps, Some((5, 1_700_000_000_000)));
    });
}

#[test]
fn the_same_labels_have_the_same_hash_as_in_v1() {
    let long = "v".repeat(200);
    for value in ["x", &long] {
        let labels = [(&b"__name__"[..], &b"up"[..]), (b"job", value.as_bytes())]
            .map(|(name, value)| model::Label { name, value });
        let mut request = request(vec![series(&[1, 2, 3, 4]), series(&[3, 4, 1, 2])]);
        request.symbols[4] = value.as_bytes().to_vec();
        with_check(&request, &Rules::default(), |checked| assert_eq!(checked.footprint, [series_hash(&labels)]));
    }
}

#[test]
fn unsorted_empty_and_account_labels_are_mended_by_reference() {
    let mended = mended(&request(vec![series(&[3, 4, 7, 4, 1, 2, 5, 0])]));
    assert_eq!(mended, request(vec![series(&[1, 2, 3, 4])]));
}

#[test]
fn odd_and_out_of_range_references_refuse_the_series_alone() {
    let cause = "symbol reference out of range or unpaired";
    for references in [&[1, 2, 3][..], &[1, 2, 3, 99], &[1, 2, 99, 4], &[1, u32::MAX]] {
        assert_eq!(refused(series(references), &Rules::default()), cause, "{references:?}");
    }
    for (help_ref, unit_ref) in [(8, 0), (0, u32::MAX)] {
        let metadata = Some(Metadata { kind: 0, help_ref, unit_ref });
        assert_eq!(refused(TimeSeries { metadata, ..series(&[1, 2]) }, &Rules::default()), cause);
    }
}

#[test]
fn labels_are_judged_as_in_v1() {
    for (references, cause) in [
        (&[][..], "no metric name"),
        (&[3, 4], "no metric name"),
        (&[1, 0], "no metric name"),
        (&[0, 4, 1, 2], "empty label name"),
        (&[1, 2, 3, 4, 3, 2], "duplicate label name \"job\""),
    ] {
        assert_eq!(refused(series(references), &Rules::default()), cause);
    }
    let repeated = [1, 2].repeat(1000);
    assert_eq!(refused(series(&repeated), &Rules::default()), "duplicate label name \"__name__\"");
}

#[test]
fn an_exemplar_with_bad_references_is_refused_without_its_series() {
    let exemplar = |references: &[u32]| Exemplar { labels_refs: references.to_vec(), value: 1.0, timestamp: 1 };
    let mut it = series(&[1, 2]);
    it.exemplars = vec![exemplar(&[5]), exemplar(&[5, 99]), exemplar(&[5, 4, 3, 4]), exemplar(&[])];
    let request = request(vec![it]);
    assert_eq!(mended(&request).timeseries[0].exemplars.len(), 2);
    with_check(&request, &Rules::default(), |checked| {
        assert_eq!(checked.accepted, Counts { samples: 1, histograms: 0, exemplars: 2 });
        assert_eq!((checked.rejected.lone_exemplars, checked.rejected.invalid.counts.exemplars), (2, 2));
    });
}

#[test]
fn packed_and_unpacked_references_mean_the_same() {
    let mut unpacked = request(Vec::new()).encode_to_vec();
    put_message(&mut unpacked, 5, |out| {
        put_varint_field(out, 1, 1);
        put_varint_field(out, 1, 2);
        put_len_delimited(out, 1, &[3]);
        put_varint_field(out, 1, 4);
        put_len_delimited(out, 2, &SAMPLE.encode_to_vec());
    });
    let mut checker = Checker::new();
    let checked = checker.check(Protocol::V2, &unpacked, &Rules::default()).expect("a request");
    assert_eq!(checked.mended, Some(&request(vec![series(&[1, 2, 3, 4])]).encode_to_vec()[..]));
}

#[test]
fn created_timestamp_fills_start_timestamps_that_are_unset_and_is_cut() {
    let own = Sample { start_timestamp: 9, ..SAMPLE };
    let it = TimeSeries { samples: vec![SAMPLE, own], created_timestamp: 7, ..series(&[1, 2]) };
    let other =
        TimeSeries { histograms: vec![histogram()], samples: Vec::new(), created_timestamp: 7, ..series(&[1, 2]) };
    let mended = mended(&request(vec![it, other]));
    let starts: Vec<_> = mended.timeseries[0].samples.iter().map(|sample| sample.start_timestamp).collect();
    assert_eq!(starts, [7, 9]);
    assert_eq!(mended.timeseries[1].histograms, [Histogram { start_timestamp: 7, ..histogram() }]);
    assert!(mended.timeseries.iter().all(|series| series.created_timestamp == 0));
}

#[test]
fn samples_and_histograms_in_one_series_are_split_or_refused_when_strict() {
    let mut mixed = series(&[1, 2]);
    mixed.histograms = vec![histogram()];
    mixed.exemplars = vec![Exemplar { labels_refs: vec![5, 4], value: 1.0, timestamp: 1 }];
    mixed.metadata = Some(Metadata { kind: 1, help_ref: 6, unit_ref: 0 });
    let request = request(vec![mixed.clone()]);
    let samples = TimeSeries { histograms: Vec::new(), ..mixed.clone() };
    let histograms = TimeSeries { samples: Vec::new(), exemplars: Vec::new(), ..mixed.clone() };
    assert_eq!(mended(&request).timeseries, [samples, histograms]);
    with_check(&request, &Rules::default(), |checked| {
        assert_eq!((checked.changes.split, checked.accepted_series, checked.footprint.len()), (1, 1, 1));
        assert_eq!(checked.accepted, Counts { samples: 1, histograms: 1, exemplars: 1 });
    });
    assert_eq!(refused(mixed, &strict()), "both samples and histograms");
}

#[test]
fn exemplar_only_series_are_kept_or_refused_when_strict() {
    let exemplars = vec![Exemplar { labels_refs: vec![5, 4], value: 1.0, timestamp: 1 }];
    let it = TimeSeries { samples: Vec::new(), exemplars, ..series(&[1, 2]) };
    with_check(&request(vec![it.clone()]), &Rules::default(), |checked| {
        assert_eq!((checked.mended, checked.accepted.exemplars, checked.timestamps), (None, 1, None));
    });
    assert_eq!(refused(it, &strict()), "neither sample nor histogram");
}

#[test]
fn metadata_only_series_are_accepted_without_being_stored_or_refused_when_strict() {
    let metadata = Some(Metadata { kind: 1, help_ref: 6, unit_ref: 0 });
    let it = TimeSeries { samples: Vec::new(), metadata, ..series(&[1, 2]) };
    with_check(&request(vec![it.clone()]), &Rules::default(), |checked| {
        assert!(checked.is_empty() && checked.rejected.is_empty());
        assert_eq!((checked.accepted_series, checked.changes.empty_series), (0, 1));
    });
    assert_eq!(refused(it, &strict()), "neither sample nor histogram");
}

#[test]
fn a_table_that_does_not_start_with_the_empty_string_gets_one_and_references_follow() {
    let symbols = ["up", "__name__", "help"].map(|symbol| symbol.as_bytes().to_vec()).to_vec();
    let mut it = series(&[1, 0]);
    it.exemplars = vec![Exemplar { labels_refs: vec![2, 0], value: 1.0, timestamp: 1 }];
    it.metadata = Some(Metadata { kind: 1, help_ref: 2, unit_ref: 0 });
    let mended = mended(&Request { symbols, timeseries: vec![it] });
    assert_eq!(mended.symbols, ["", "up", "__name__", "help"].map(|symbol| symbol.as_bytes().to_vec()));
    assert_eq!(mended.timeseries[0].labels_refs, [2, 1]);
    assert_eq!(mended.timeseries[0].exemplars[0].labels_refs, [3, 1]);
    assert_eq!(mended.timeseries[0].metadata, Some(Metadata { kind: 1, help_ref: 3, unit_ref: 0 }));
}

#[test]
fn references_without_any_symbols_refuse_the_series_and_nothing_else_happens() {
    let request = Request { symbols: Vec::new(), timeseries: vec![series(&[1, 2]), series(&[0, 0])] };
    with_check(&request, &Rules::default(), |checked| assert_eq!(checked.rejected.invalid.series, 2));
    with_check(&Request::default(), &Rules::default(), |checked| assert!(checked.is_empty()));
}

#[test]
fn a_symbol_that_is_not_utf8_refuses_only_the_series_that_use_it() {
    let mut request = request(vec![series(&[1, 2, 3, 4]), series(&[1, 2])]);
    request.symbols[4] = b"\xff".to_vec();
    let mended = mended(&request);
    assert_eq!(mended.timeseries, [series(&[1, 2])]);
    assert_eq!(mended.symbols[4], b"", "a decoder would refuse the whole request for it");
    let described = Some(Metadata { kind: 1, help_ref: 4, unit_ref: 0 });
    request.timeseries = vec![TimeSeries { metadata: described, ..series(&[1, 2]) }];
    with_check(&request, &Rules::default(), |checked| assert!(checked.rejected.is_empty(), "help is only text"));
}

#[test]
fn symbols_behind_the_series_are_put_in_front() {
    let right = request(vec![series(&[1, 2, 3, 4])]);
    let late = Request { symbols: Vec::new(), ..right.clone() }.encode_to_vec();
    let bytes = [late, Request { timeseries: Vec::new(), ..right.clone() }.encode_to_vec()].concat();
    let mut checker = Checker::new();
    let checked = checker.check(Protocol::V2, &bytes, &Rules::default()).expect("a request");
    assert_eq!(checked.mended, Some(&right.encode_to_vec()[..]));
}

#[test]
fn fields_outside_the_schema_are_cut_and_v1_fields_are_outside() {
    let right = request(vec![series(&[1, 2])]);
    let mut bytes = Vec::new();
    put_len_delimited(&mut bytes, 1, b"\x0a\x03abc");
    bytes.extend(right.encode_to_vec());
    put_varint_field(&mut bytes, 6, 1);
    let mut checker = Checker::new();
    let checked = checker.check(Protocol::V2, &bytes, &Rules::default()).expect("a request");
    assert_eq!(checked.mended, Some(&right.encode_to_vec()[..]));
    assert_eq!(checked.changes.foreign, 2);
}

#[test]
fn a_v1_body_read_as_v2_is_empty_and_a_v2_body_read_as_v1_too() {
    let v2 = request(vec![series(&[1, 2])]).encode_to_vec();
    let Some(Oracle::V1(as_v1)) = Oracle::decode(Protocol::V1, &v2) else { panic!("decodes as v1") };
    assert!(as_v1.timeseries.is_empty());
    let mut checker = Checker::new();
    let checked = checker.check(Protocol::V1, &v2, &Rules::default()).expect("a request");
    assert!(checked.is_empty() && checked.mended == Some(&[]));
}

#[test]
fn labels_of_a_request_take_memory_in_proportion_to_its_bytes() {
    // A series of nothing but references to the empty symbol: no label is collected.
    let request = request(vec![series(&[5, 0].repeat(100_000))]);
    with_check(&request, &Rules::default(), |checked| {
        assert_eq!(checked.rejected.first().map(|first| first.series.as_str()), Some("{}"));
    });
}

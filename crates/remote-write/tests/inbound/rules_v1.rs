//! What the check does to remote write 1.0, rule by rule.

use crate::oracle::v1::{Exemplar, Histogram, Label, MetricMetadata, Sample, TimeSeries, WriteRequest};
use crate::oracle::{Count, Oracle};
use prost::Message;
use remote_write::check::{Changes, Checked, Checker, RejectReason, Rules, family_hash, series_hash, series_hash_64};
use remote_write::wire::{put_fixed64, put_len_delimited, put_message, put_varint_field};
use remote_write::{Counts, Protocol, model};

type Pair = (&'static str, &'static str);

pub(crate) fn labels(pairs: &[Pair]) -> Vec<Label> {
    pairs
        .iter()
        .map(|(name, value)| Label { name: name.as_bytes().to_vec(), value: value.as_bytes().to_vec() })
        .collect()
}

fn series(pairs: &[Pair]) -> TimeSeries {
    let samples = vec![Sample { value: 1.5, timestamp: 1_700_000_000_000 }];
    TimeSeries { labels: labels(pairs), samples, ..TimeSeries::default() }
}

fn request(timeseries: Vec<TimeSeries>) -> Vec<u8> {
    WriteRequest { timeseries, metadata: Vec::new() }.encode_to_vec()
}

fn with_check<T>(bytes: &[u8], rules: &Rules, look: impl FnOnce(Checked<'_>) -> T) -> T {
    look(Checker::new().check(Protocol::V1, bytes, rules).expect("a request"))
}

/// What is stored, decoded.
fn stored(bytes: &[u8], rules: &Rules) -> WriteRequest {
    with_check(bytes, rules, |checked| match Oracle::decode(Protocol::V1, checked.mended.unwrap_or(bytes)) {
        Some(Oracle::V1(request)) => request,
        other => panic!("not a v1 request: {other:?}"),
    })
}

fn refused(timeseries: TimeSeries, rules: &Rules) -> (RejectReason, String) {
    let good = series(&[("__name__", "good")]);
    let bytes = request(vec![good.clone(), timeseries, good.clone()]);
    assert_eq!(stored(&bytes, rules).timeseries, [good.clone(), good], "the others are kept");
    with_check(&bytes, rules, |checked| {
        assert_eq!((checked.accepted.samples, checked.accepted_series, checked.received_series), (2, 2, 3));
        let reason = checked.rejected.first_reason.expect("a refusal");
        assert_eq!(checked.rejected.of(reason).series, 1);
        (reason, checked.rejected.describe(checked.received_series))
    })
}

fn refused_as_invalid(timeseries: TimeSeries) -> String {
    let (reason, text) = refused(timeseries, &Rules::default());
    assert_eq!(reason, RejectReason::Invalid);
    text
}

#[test]
fn a_request_that_is_right_stays_the_bytes_that_came() {
    let long = "v".repeat(300).leak();
    let mut full = series(&[("Z", "before the name"), ("__name__", "up"), ("a", long), ("\u{e9}", "\u{1f980}")]);
    full.exemplars = vec![Exemplar { labels: labels(&[("trace_id", "abc")]), value: 1.0, timestamp: -1 }];
    full.histograms = vec![Histogram { count: Some(Count::Int(0)), timestamp: 9, ..Histogram::default() }];
    let mut bytes = request(vec![full.clone(), series(&[("__name__", "up")]), full]);
    let metadata = MetricMetadata { kind: 1, family: b"up".to_vec(), help: b"h".to_vec(), unit: b"s".to_vec() };
    bytes.extend(WriteRequest { metadata: vec![metadata], ..WriteRequest::default() }.encode_to_vec());
    with_check(&bytes, &Rules::default(), |checked| {
        assert_eq!(checked.mended, None);
        assert_eq!(checked.changes, Changes::default());
        assert_eq!(checked.received, Counts { samples: 3, histograms: 2, exemplars: 2 });
        assert_eq!(checked.accepted, checked.received);
        assert_eq!((checked.accepted_series, checked.metadata), (3, 1));
        assert_eq!(checked.footprint.len(), 3, "two labelsets and a family");
        assert_eq!(checked.timestamps, Some((9, 1_700_000_000_000)));
        assert!(!checked.is_empty() && checked.rejected.is_empty());
    });
}

#[test]
fn an_empty_request_is_accepted_with_nothing_in_it() {
    with_check(b"", &Rules::default(), |checked| {
        assert!(checked.is_empty() && checked.mended.is_none() && checked.rejected.is_empty());
        assert_eq!((checked.footprint, checked.timestamps), (&[][..], None));
    });
}

#[test]
fn unsorted_labels_are_sorted_bytewise() {
    let bytes = request(vec![series(&[("job", "x"), ("a", "y"), ("__name__", "up"), ("Z", "z")])]);
    let sorted = series(&[("Z", "z"), ("__name__", "up"), ("a", "y"), ("job", "x")]);
    assert_eq!(stored(&bytes, &Rules::default()).timeseries, [sorted]);
    with_check(&bytes, &Rules::default(), |checked| assert_eq!(checked.changes.sorted, 1));
}

#[test]
fn labels_without_a_value_are_stripped_before_duplicates_are_looked_for() {
    let bytes = request(vec![series(&[("__name__", "up"), ("a", ""), ("job", "x"), ("job", "")])]);
    assert_eq!(stored(&bytes, &Rules::default()).timeseries, [series(&[("__name__", "up"), ("job", "x")])]);
    with_check(&bytes, &Rules::default(), |checked| assert_eq!(checked.changes.empty_labels, 2));
}

#[test]
fn account_labels_are_stripped_unless_they_may_be_kept() {
    let pairs = [("__name__", "up"), ("vm_account_id", "7"), ("vm_account_ix", "9"), ("vm_project_id", "8")];
    let bytes = request(vec![series(&pairs)]);
    let stripped = series(&[("__name__", "up"), ("vm_account_ix", "9")]);
    assert_eq!(stored(&bytes, &Rules::default()).timeseries, [stripped]);
    with_check(&bytes, &Rules::default(), |checked| assert_eq!(checked.changes.account_labels, 2));
    let kept = Rules { keep_vm_account_labels: true, ..Rules::default() };
    with_check(&bytes, &kept, |checked| assert_eq!(checked.mended, None));
}

#[test]
fn a_series_without_a_name_is_refused_alone() {
    for pairs in [&[][..], &[("job", "x")], &[("__name__", "")], &[("__name_", "x"), ("__name__x", "y")]] {
        assert!(refused_as_invalid(series(pairs)).ends_with("no metric name"), "{pairs:?}");
    }
    let text = refused_as_invalid(series(&[("job", "x"), ("instance", "a\"b\n")]));
    assert_eq!(text, r#"1 of 3 series refused; first: {instance="a\"b\n",job="x"}: no metric name"#);
}

#[test]
fn an_empty_label_name_is_refused_alone() {
    assert!(refused_as_invalid(series(&[("", "x"), ("__name__", "up")])).ends_with("empty label name"));
    assert!(refused_as_invalid(series(&[("__name__", "up"), ("", "")])).ends_with("empty label name"));
}

#[test]
fn a_duplicate_label_name_is_refused_alone_and_named() {
    let text = refused_as_invalid(series(&[("job", "x"), ("__name__", "up"), ("job", "x")]));
    assert_eq!(text, r#"1 of 3 series refused; first: up{job="x",job="x"}: duplicate label name "job""#);
}

#[test]
fn a_name_or_value_that_is_not_utf8_is_refused_alone() {
    for (name, value) in [(&b"a\xff"[..], &b"x"[..]), (b"a", b"x\xc3")] {
        let mut bad = series(&[("__name__", "up")]);
        bad.labels.push(Label { name: name.to_vec(), value: value.to_vec() });
        assert!(refused_as_invalid(bad).ends_with("label name or value is not UTF-8"));
    }
}

#[test]
fn label_limits_refuse_with_a_reason_of_their_own() {
    let rules = Rules { label_names: 2, label_value_bytes: 4, ..Rules::default() };
    let right = request(vec![series(&[("__name__", "up"), ("a", "1234")])]);
    with_check(&right, &rules, |checked| assert_eq!(checked.mended, None));
    let stripped = request(vec![series(&[("__name__", "up"), ("a", "1234"), ("b", "")])]);
    with_check(&stripped, &rules, |checked| assert!(checked.rejected.is_empty(), "what is stripped does not count"));
    let many = refused_by_limit(&[("__name__", "up"), ("a", "1"), ("b", "2")]);
    assert!(many.ends_with(": 3 labels, limit 2"), "{many}");
    let long = refused_by_limit(&[("__name__", "up"), ("a", "12345")]);
    assert!(long.ends_with(r#": value of label "a" has 5 bytes, limit 4"#), "{long}");

    fn refused_by_limit(pairs: &[Pair]) -> String {
        let rules = Rules { label_names: 2, label_value_bytes: 4, ..Rules::default() };
        let (reason, text) = refused(series(pairs), &rules);
        assert_eq!(reason, RejectReason::LabelLimit);
        text
    }
}

#[test]
fn a_request_of_more_series_than_anybody_sends_is_refused_whole() {
    let empty_series = [0x0a, 0x00];
    let body = empty_series.repeat((1 << 20) + 1);
    let checked = |body: &[u8]| Checker::new().check(Protocol::V1, body, &Rules::default()).map(|c| c.received_series);
    assert_eq!(checked(&body[2..]), Ok(1 << 20));
    let malformed = checked(&body).unwrap_err();
    assert_eq!(malformed.what, "request has more than 1048576 series");
}

#[test]
fn a_series_of_more_labels_than_anybody_needs_is_refused_without_collecting_them() {
    let names = (0..70_000).map(|index| &*format!("n{index}").leak());
    let pairs: Vec<Pair> = std::iter::once(("__name__", "up")).chain(names.map(|name| (name, "v"))).collect();
    let (reason, text) = refused(series(&pairs), &Rules::default());
    assert_eq!(reason, RejectReason::LabelLimit);
    assert!(text.ends_with(": 65537 labels, limit 65536"), "{text}");
}

#[test]
fn a_histogram_that_does_not_add_up_refuses_its_series() {
    let mut bad = series(&[("__name__", "h")]);
    bad.samples.clear();
    bad.histograms = vec![Histogram { count: Some(Count::Int(99)), ..Histogram::default() }];
    let text = refused_as_invalid(bad);
    assert_eq!(text, "1 of 3 series refused; first: h{}: histogram: buckets add up to 0, count is 99");
}

#[test]
fn a_histogram_of_more_than_a_mebibyte_is_refused_with_its_series() {
    let mut bad = series(&[("__name__", "h")]);
    bad.histograms = vec![Histogram { positive_deltas: vec![0; 1 << 20], ..Histogram::default() }];
    let text = refused_as_invalid(bad);
    assert!(text.ends_with("h{}: histogram: it has 1048580 bytes, limit 1048576"), "{text}");
}

#[test]
fn an_exemplar_with_bad_labels_is_refused_without_its_series() {
    let mut it = series(&[("__name__", "up")]);
    for pairs in [&[("a", "1"), ("a", "2")][..], &[("", "x")], &[]] {
        it.exemplars.push(Exemplar { labels: labels(pairs), value: 1.0, timestamp: 2 });
    }
    let bytes = request(vec![it.clone()]);
    it.exemplars.drain(..2);
    assert_eq!(stored(&bytes, &Rules::default()).timeseries, [it]);
    with_check(&bytes, &Rules::default(), |checked| {
        assert_eq!(checked.accepted, Counts { samples: 1, histograms: 0, exemplars: 1 });
        assert_eq!((checked.rejected.lone_exemplars, checked.rejected.invalid.series), (2, 0));
        let text = checked.rejected.describe(1);
        assert_eq!(text, r#"2 exemplars refused; first: up{}: exemplar: duplicate label name "a""#);
    });
}

#[test]
fn exemplar_labels_are_sorted_and_stripped_of_empty_values() {
    let mut it = series(&[("__name__", "up")]);
    it.exemplars = vec![Exemplar { labels: labels(&[("b", "2"), ("c", ""), ("a", "1")]), value: 1.0, timestamp: 2 }];
    let stored = stored(&request(vec![it]), &Rules::default());
    assert_eq!(stored.timeseries[0].exemplars[0].labels, labels(&[("a", "1"), ("b", "2")]));
}

#[test]
fn a_series_with_samples_and_histograms_is_kept_whole_and_exemplar_only_series_too() {
    let mut mixed = series(&[("__name__", "up")]);
    mixed.histograms = vec![Histogram::default()];
    let exemplars = vec![Exemplar { value: 1.0, timestamp: 5, ..Exemplar::default() }];
    let lone = TimeSeries { labels: labels(&[("__name__", "up")]), exemplars, ..TimeSeries::default() };
    let strict = Rules { strict: true, ..Rules::default() };
    with_check(&request(vec![mixed, lone]), &strict, |checked| {
        assert_eq!(checked.mended, None);
        assert_eq!(checked.accepted, Counts { samples: 1, histograms: 1, exemplars: 1 });
    });
}

#[test]
fn a_series_without_data_is_accepted_and_not_stored() {
    let empty = TimeSeries { samples: Vec::new(), ..series(&[("__name__", "up")]) };
    with_check(&request(vec![empty]), &Rules::default(), |checked| {
        assert_eq!(checked.mended, Some(&[][..]));
        assert_eq!((checked.changes.empty_series, checked.accepted_series), (1, 0));
        assert!(checked.rejected.is_empty() && checked.is_empty());
    });
}

#[test]
fn families_without_a_name_or_with_invalid_utf8_are_cut_and_counted() {
    let family = |family: &[u8], help: &[u8]| MetricMetadata {
        kind: 1,
        family: family.to_vec(),
        help: help.to_vec(),
        unit: Vec::new(),
    };
    let metadata = vec![family(b"", b"x"), family(b"up", b"x"), family(b"a", b"\xff"), family(b"\xff", b"x")];
    let bytes = WriteRequest { metadata, ..WriteRequest::default() }.encode_to_vec();
    assert_eq!(stored(&bytes, &Rules::default()).metadata, [family(b"up", b"x")]);
    with_check(&bytes, &Rules::default(), |checked| {
        assert_eq!((checked.metadata, checked.changes.families), (1, 3));
        assert_eq!(checked.footprint, [family_hash(b"up")]);
        assert!(checked.rejected.is_empty() && !checked.is_empty());
    });
}

#[test]
fn fields_outside_the_schema_are_cut_at_every_level() {
    let good = series(&[("__name__", "up")]);
    let smuggled = |out: &mut Vec<u8>, field| put_varint_field(out, field, 7);
    let mut bytes = Vec::new();
    smuggled(&mut bytes, 2);
    put_message(&mut bytes, 1, |out| {
        for label in &good.labels {
            put_message(out, 1, |out| {
                out.extend(label.encode_to_vec());
                smuggled(out, 3);
            });
        }
        put_message(out, 2, |out| {
            out.extend(good.samples[0].encode_to_vec());
            smuggled(out, 3);
        });
        put_message(out, 3, |out| {
            smuggled(out, 9);
            smuggled(out, 3);
        });
        put_message(out, 4, |out| {
            put_message(out, 11, |out| {
                smuggled(out, 1);
                smuggled(out, 3);
            });
            smuggled(out, 15);
            smuggled(out, 17);
        });
        smuggled(out, 1000);
    });
    put_message(&mut bytes, 3, |out| {
        put_len_delimited(out, 2, b"up");
        for field in [3, 11, 12] {
            smuggled(out, field);
        }
    });
    put_len_delimited(&mut bytes, 1000, b"private");
    let rules = Rules::default();
    let stored = with_check(&bytes, &rules, |checked| {
        assert_eq!(checked.changes, Changes { foreign: 4, ..Changes::default() });
        assert_eq!(checked.accepted, Counts { samples: 1, histograms: 1, exemplars: 1 });
        checked.mended.expect("mended").to_vec()
    });
    let Some(Oracle::V1(decoded)) = Oracle::decode(Protocol::V1, &stored) else { panic!("not v1") };
    assert_eq!(decoded.encode_to_vec(), stored, "nothing is left that the schema does not have");
    assert_eq!(decoded.timeseries[0].samples, good.samples);
    assert_eq!((decoded.timeseries[0].exemplars[0].timestamp, decoded.timeseries[0].histograms[0].timestamp), (7, 7));
    assert_eq!(decoded.metadata[0].family, b"up");
}

#[test]
fn any_timestamp_and_any_bits_of_a_value_are_kept() {
    let bits = [0x7ff0_0000_0000_0002, 0x7ff8_0000_0000_0001, 0x7ff0 << 48, 0xfff0 << 48, 1 << 63, 1, 0];
    let times = [0, -1, i64::MAX, i64::MIN, 1, 2, 3];
    let mut bytes = Vec::new();
    // Written by hand: prost takes −0.0 for the default and leaves it out.
    put_message(&mut bytes, 1, |out| {
        for label in labels(&[("b", "unsorted"), ("__name__", "up")]) {
            put_len_delimited(out, 1, &label.encode_to_vec());
        }
        for (bits, timestamp) in std::iter::zip(bits, times) {
            put_message(out, 2, |out| {
                put_fixed64(out, 1, bits);
                put_varint_field(out, 2, timestamp.cast_unsigned());
            });
        }
    });
    let kept = stored(&bytes, &Rules::default()).timeseries.remove(0).samples;
    assert_eq!(kept.iter().map(|sample| sample.value.to_bits()).collect::<Vec<_>>(), bits);
    assert_eq!(kept.iter().map(|sample| sample.timestamp).collect::<Vec<_>>(), times);
    with_check(&bytes, &Rules::default(), |checked| assert_eq!(checked.timestamps, Some((i64::MIN, i64::MAX))));
}

#[test]
fn a_truncated_or_mistyped_request_is_malformed() {
    let bytes = request(vec![series(&[("__name__", "up"), ("job", "x")])]);
    for length in 1..bytes.len() {
        assert!(Checker::new().check(Protocol::V1, &bytes[..length], &Rules::default()).is_err(), "{length}");
    }
    let mistyped = Checker::new().check(Protocol::V1, &[0x08, 0x01], &Rules::default()).expect_err("mistyped");
    assert_eq!(mistyped.to_string(), "malformed protobuf at byte 0: field has the wrong wire type");
}

#[test]
fn the_same_labels_have_the_same_hash_in_any_order() {
    let model = [(&b"__name__"[..], &b"up"[..]), (b"job", b"x")].map(|(name, value)| model::Label { name, value });
    for pairs in [[("__name__", "up"), ("job", "x")], [("job", "x"), ("__name__", "up")]] {
        with_check(&request(vec![series(&pairs); 3]), &Rules::default(), |checked| {
            assert_eq!(checked.footprint, [series_hash(&model)]);
        });
    }
    let bytes = b"\x0a\x0e\x0a\x08__name__\x12\x02up\x0a\x08\x0a\x03job\x12\x01x";
    assert_eq!(series_hash_64(&model), xxhash_rust::xxh3::xxh3_64(bytes), "the hash is of the v1 form");
}

#[test]
fn what_names_the_first_offender_stays_short() {
    let long = "\u{1f980}\n".repeat(400).leak();
    let text = refused_as_invalid(series(&[("a", long), ("b", long), ("job", "x"), ("job", "y")]));
    assert!(text.len() < 1024 && text.contains('\u{2026}'), "{} bytes", text.len());
}

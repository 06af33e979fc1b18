//! Translation: what both protocols can say survives to the bit, what one cannot is left out and counted.

use std::cell::Cell;
use std::collections::{BTreeSet, HashSet};

use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use prost::Message;
use remote_write::concat::merge_v2;
use remote_write::model::{Exemplar, Histogram, Metadata, Request, Sample, Series};
use remote_write::split::{halve, split};
use remote_write::translate::{Form, Formed, KnownFamilies, Translator, needs_forming};
use remote_write::{Counts, Protocol};

use crate::oracle::RequestV2;
use crate::requests::{
    Kinds, STALE, counts_of, custom, decoded, encoded, exemplar, exponential, flattened, labels, named, request,
    requests, sample,
};

const V1: Form = Form { protocol: Protocol::V1, exemplars: true, native_histograms: true, metadata: true };
const V2: Form = Form { protocol: Protocol::V2, ..V1 };

/// Forms a request of `from` and checks that the books balance.
fn formed(from: Protocol, request: &Request<'_>, to: Form) -> (Formed, Vec<u8>) {
    let mut out = b"left over".to_vec();
    let formed = Translator::new().form(from, &encoded(from, request), &to, &mut out).unwrap();
    let Formed { kept, filtered, untranslatable, orphaned, families, series } = formed;
    assert_eq!(kept + filtered + untranslatable + orphaned, counts_of(request));
    let result = decoded(to.protocol, &out);
    assert_eq!(kept, counts_of(&result));
    assert_eq!((families as usize, series as usize), (result.metadata.len(), result.series.len()));
    if to.protocol == Protocol::V2 && !out.is_empty() {
        assert_v2_is_strict(&out);
    }
    (formed, out)
}

/// The request that comes out.
fn translated(from: Protocol, request: &Request<'_>, to: Form) -> Request<'static> {
    let (_, out) = formed(from, request, to);
    decoded(to.protocol, out.leak())
}

/// What every outgoing v2 request must be (remote write 2.0, "Protobuf Message"), whatever came in.
pub(crate) fn assert_v2_is_strict(body: &[u8]) {
    let request = RequestV2::decode(body).unwrap();
    assert_eq!(request.symbols[0], "");
    assert_eq!(request.symbols.iter().collect::<HashSet<_>>().len(), request.symbols.len(), "a symbol repeats");
    let mut used = BTreeSet::from([0]);
    for series in &request.timeseries {
        assert_ne!(series.samples.is_empty(), series.histograms.is_empty(), "samples or histograms, never both");
        let references = [&series.labels_refs].into_iter().chain(series.exemplars.iter().map(|one| &one.labels_refs));
        for references in references {
            assert_eq!(references.len() % 2, 0);
            used.extend(references);
        }
        used.extend(series.metadata.iter().flat_map(|metadata| [metadata.help_ref, metadata.unit_ref]));
        let names: Vec<&String> = series.labels_refs.chunks(2).map(|pair| &request.symbols[pair[0] as usize]).collect();
        assert!(names.is_sorted_by(|a, b| a < b), "label names are sorted and unique");
    }
    assert_eq!(used, (0..u32::try_from(request.symbols.len()).unwrap()).collect(), "every symbol is used and there");
}

/// Any form.
fn forms() -> impl Strategy<Value = Form> {
    (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(v1, exemplars, native_histograms)| Form {
        protocol: if v1 { Protocol::V1 } else { Protocol::V2 },
        exemplars,
        native_histograms,
        metadata: true,
    })
}

fn any_request() -> impl Strategy<Value = (Protocol, Request<'static>)> {
    prop_oneof![
        requests(Kinds::ALL_V1).prop_map(|request| (Protocol::V1, request)),
        requests(Kinds::ALL_V2).prop_map(|request| (Protocol::V2, request)),
    ]
}

proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(96))]

    #[test]
    fn v1_to_v2_to_v1_returns_every_byte(request in requests(Kinds::COMMON)) {
        let (there, v2) = formed(Protocol::V1, &request, V2);
        prop_assert_eq!(there.kept, counts_of(&request));
        let mut back = Vec::new();
        Translator::new().form(Protocol::V2, &v2, &V1, &mut back).unwrap();
        prop_assert_eq!(back, encoded(Protocol::V1, &request));
    }

    #[test]
    fn v2_to_v1_to_v2_returns_every_byte(
        request in requests(Kinds::COMMON).prop_filter("not empty", |request| {
            !request.series.is_empty()
        })
    ) {
        let (_, v1) = formed(Protocol::V2, &request, V1);
        let mut back = Vec::new();
        Translator::new().form(Protocol::V1, &v1, &V2, &mut back).unwrap();
        prop_assert_eq!(back, encoded(Protocol::V2, &request));
    }

    #[test]
    fn every_form_of_any_request_is_strict_and_balances((from, request) in any_request(), to in forms()) {
        let (result, out) = formed(from, &request, to);
        if !to.exemplars {
            prop_assert_eq!(result.filtered.exemplars, counts_of(&request).exemplars);
        }
        if !to.native_histograms {
            prop_assert_eq!(result.filtered.histograms, counts_of(&request).histograms);
        }
        prop_assert_eq!(result.kept.samples, counts_of(&request).samples);
        let kept_all = result.kept == counts_of(&request);
        if kept_all && (from, to.protocol) != (Protocol::V2, Protocol::V1) {
            prop_assert_eq!(flattened(&decoded(to.protocol, &out)), flattened(&request));
        }
    }

    #[test]
    fn one_translator_forms_many_requests_as_new_ones_would(all in vec((any_request(), forms()), 1..5)) {
        let mut translator = Translator::new();
        let mut out = Vec::new();
        for ((from, request), to) in all {
            let (expected, body) = formed(from, &request, to);
            let actual = translator.form(from, &encoded(from, &request), &to, &mut out).unwrap();
            prop_assert_eq!((actual, &out), (expected, &body));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_errors_point_into_them(
        (protocol, request) in any_request(),
        garbage in vec(any::<u8>(), 0..60),
        place in any::<proptest::sample::Index>(),
        to in forms(),
    ) {
        let mut body = encoded(protocol, &request);
        let at = place.index(body.len() + 1);
        let end = body.len().min(at + garbage.len());
        body.splice(at..end, garbage.iter().copied());
        for bytes in [&body, &garbage] {
            let mut out = Vec::new();
            let errors = [
                Translator::new().form(protocol, bytes, &to, &mut out).err(),
                split(protocol, bytes, 3, 200).err(),
                halve(protocol, bytes).err(),
                merge_v2(&[bytes, bytes], &mut out).err(),
            ];
            for error in errors.into_iter().flatten() {
                prop_assert!(error.offset <= bytes.len(), "{error}");
            }
        }
    }
}

#[test]
fn stale_markers_and_other_nan_bits_survive_both_ways() {
    let bits = [STALE, 0x7ff8_0000_0000_0001, 0xfff0_0000_dead_beef, 1 << 63, 1, f64::INFINITY.to_bits()];
    let samples = bits.map(|bits| sample(f64::from_bits(bits), 1)).to_vec();
    let stale = Histogram { sum: f64::from_bits(STALE), ..exponential(1) };
    let floats = Series { samples, ..named("up") };
    let request = request(vec![floats, Series { histograms: vec![stale], ..named("latency") }]);
    for (from, to) in [(Protocol::V1, V2), (Protocol::V2, V1)] {
        let result = translated(from, &request, to);
        let values: Vec<u64> = result.series[0].samples.iter().map(|sample| sample.value.to_bits()).collect();
        assert_eq!(values, bits);
        assert_eq!(result.series[1].histograms[0].sum.to_bits(), STALE);
    }
}

#[test]
fn v2_to_v1_drops_start_timestamps() {
    let started = Series {
        samples: vec![
            Sample { start_timestamp: 5, ..sample(1.0, 9) },
            Sample { start_timestamp: -1, ..sample(0.0, 10) },
        ],
        ..named("a_total")
    };
    let histogram =
        Series { histograms: vec![Histogram { start_timestamp: i64::MIN, ..exponential(9) }], ..named("latency") };
    let expected = request(vec![
        Series { samples: vec![sample(1.0, 9), sample(0.0, 10)], ..named("a_total") },
        Series { histograms: vec![exponential(9)], ..named("latency") },
    ]);
    let (_, out) = formed(Protocol::V2, &request(vec![started, histogram]), V1);
    assert_eq!(out, encoded(Protocol::V1, &expected));
}

#[test]
fn v2_to_v1_drops_and_counts_histograms_with_custom_buckets() {
    let mixed = Series { histograms: vec![exponential(1), custom(2), exponential(3)], ..named("latency") };
    let only = Series { histograms: vec![custom(1)], ..named("other") };
    let up = Series { samples: vec![sample(1.0, 1)], ..named("up") };
    let (result, out) = formed(Protocol::V2, &request(vec![mixed, only, up.clone()]), V1);
    assert_eq!(result.untranslatable, Counts { histograms: 2, ..Counts::default() });
    let kept = Series { histograms: vec![exponential(1), exponential(3)], ..named("latency") };
    assert_eq!(decoded(Protocol::V1, &out), request(vec![kept, up]), "a series left without data is not sent");
}

#[test]
fn v1_to_v2_keeps_histograms_with_custom_buckets() {
    let request = request(vec![Series { histograms: vec![custom(1)], ..named("latency") }]);
    assert_eq!(translated(Protocol::V1, &request, V2), request);
}

#[test]
fn v2_metadata_becomes_one_v1_entry_a_family_and_the_first_word_holds() {
    let one = |name, kind, help: &'static str, unit: &'static str| Series {
        samples: vec![sample(1.0, 1)],
        metadata: Some(Metadata { kind, help: help.as_bytes(), unit: unit.as_bytes(), family: b"" }),
        ..named(name)
    };
    let native = Series {
        histograms: vec![exponential(1)],
        metadata: Some(Metadata { kind: 3, help: b"Native.", ..Metadata::default() }),
        ..named("weird_count")
    };
    let series = vec![
        one("latency_bucket", 3, "Latency.", "seconds"),
        one("latency_bucket", 3, "Latency.", "seconds"),
        one("latency_sum", 3, "Other words.", ""),
        one("latency_count", 3, "Latency.", "seconds"),
        one("requests_total", 1, "Requests.", ""),
        one("latency_bucket", 2, "Another type.", ""),
        one("unknown", 0, "", ""),
        one("helped", 0, "Help only.", ""),
        one("latency_count", 3, "Third words.", ""),
        native,
        Series { samples: vec![sample(1.0, 1)], ..named("silent") },
    ];
    let family = |family: &'static str, kind, help: &'static str, unit: &'static str| Metadata {
        kind,
        family: family.as_bytes(),
        help: help.as_bytes(),
        unit: unit.as_bytes(),
    };
    assert_eq!(
        translated(Protocol::V2, &request(series), V1).metadata,
        [
            family("latency", 3, "Latency.", "seconds"),
            family("requests_total", 1, "Requests.", ""),
            family("latency_bucket", 2, "Another type.", ""),
            family("helped", 0, "Help only.", ""),
            family("weird_count", 3, "Native.", ""),
        ]
    );
}

#[test]
fn v1_families_are_attached_to_their_series_in_v2() {
    let names =
        ["latency_bucket", "latency_sum", "latency_count", "requests_total", "build_info", "up", "up_bucket", "other"];
    let series = names.map(|name| Series { samples: vec![sample(1.0, 1)], ..named(name) });
    let family = |family: &'static [u8], kind, help: &'static [u8]| Metadata { kind, family, help, unit: b"" };
    let metadata = vec![
        family(b"latency", 3, b"L"),
        family(b"latency", 2, b"second word"),
        family(b"requests", 1, b"R"),
        family(b"build", 6, b"B"),
        family(b"up", 2, b"U"),
    ];
    let result = translated(Protocol::V1, &Request { series: series.to_vec(), metadata }, V2);
    let found: Vec<Option<(i32, &[u8])>> =
        result.series.iter().map(|one| one.metadata.map(|metadata| (metadata.kind, metadata.help))).collect();
    let latency = Some((3, &b"L"[..]));
    let expected = [latency, latency, latency, Some((1, b"R")), Some((6, b"B")), Some((2, b"U")), None, None];
    assert_eq!(found, expected);
}

#[test]
fn v1_metadata_alone_is_nothing_for_v2_and_passes_to_v1() {
    let metadata = vec![Metadata { kind: 1, family: b"a", help: b"A", unit: b"" }];
    let request = Request { series: Vec::new(), metadata };
    assert_eq!(formed(Protocol::V1, &request, V2), (Formed::default(), Vec::new()));
    let (result, out) = formed(Protocol::V1, &request, V1);
    assert_eq!((result, out), (Formed { families: 1, ..Formed::default() }, encoded(Protocol::V1, &request)));
}

#[test]
fn a_v1_series_of_samples_and_histograms_becomes_two_in_v2() {
    let mixed = Series {
        samples: vec![sample(1.0, 1)],
        histograms: vec![exponential(1)],
        exemplars: vec![exemplar("t", 1)],
        ..named("latency")
    };
    let result = translated(Protocol::V1, &request(vec![mixed.clone()]), V2);
    let samples = Series { histograms: Vec::new(), ..mixed.clone() };
    let histograms = Series { samples: Vec::new(), exemplars: Vec::new(), ..mixed };
    assert_eq!(result, request(vec![samples, histograms]));
}

fn lone(name: &'static str, trace: &'static str) -> Series<'static> {
    Series { exemplars: vec![exemplar(trace, 1)], ..named(name) }
}

fn sampled(name: &'static str, timestamp: i64, exemplars: &[&'static str]) -> Series<'static> {
    let exemplars: Vec<Exemplar<'_>> = exemplars.iter().map(|trace| exemplar(trace, 1)).collect();
    Series { samples: vec![sample(1.0, timestamp)], exemplars, ..named(name) }
}

#[test]
fn exemplars_without_data_join_the_first_series_of_their_labels_in_wire_order() {
    let series = vec![
        lone("a", "before"),
        sampled("b", 1, &["own b"]),
        sampled("a", 1, &["own first"]),
        lone("a", "between"),
        sampled("a", 2, &["own second"]),
        lone("a", "after"),
    ];
    let expected = vec![
        sampled("b", 1, &["own b"]),
        sampled("a", 1, &["before", "own first", "between", "own second", "after"]),
        sampled("a", 2, &[]),
    ];
    for from in [Protocol::V1, Protocol::V2] {
        assert_eq!(translated(from, &request(series.clone()), V2), request(expected.clone()));
    }
}

#[test]
fn exemplars_of_labels_without_orphans_stay_where_they_are() {
    let series = vec![sampled("a", 1, &["first"]), sampled("a", 2, &["second"]), sampled("b", 1, &[])];
    let with_orphan = [series.clone(), vec![lone("b", "orphan")]].concat();
    let expected = [&series[..2], &[sampled("b", 1, &["orphan"])]].concat();
    assert_eq!(translated(Protocol::V1, &request(with_orphan), V2), request(expected));
}

#[test]
fn exemplars_without_data_anywhere_are_counted_as_orphaned_in_v2_and_kept_in_v1() {
    let series = request(vec![sampled("a", 1, &[]), lone("b", "orphan"), lone("b", "another")]);
    for from in [Protocol::V1, Protocol::V2] {
        let (result, out) = formed(from, &series, V2);
        assert_eq!(result.orphaned, Counts { exemplars: 2, ..Counts::default() });
        assert_eq!(decoded(Protocol::V2, &out), request(vec![sampled("a", 1, &[])]));
        assert_eq!(translated(from, &series, V1), series);
    }
    let (result, out) = formed(Protocol::V1, &request(vec![lone("b", "orphan")]), V2);
    assert_eq!((result.orphaned.exemplars, result.series, out.len()), (1, 0, 0));
}

#[test]
fn exemplars_of_filtered_histograms_are_orphans_too() {
    let histogram = Series { histograms: vec![exponential(1)], exemplars: vec![exemplar("t", 1)], ..named("latency") };
    let form = Form { native_histograms: false, ..V2 };
    let (result, out) = formed(Protocol::V2, &request(vec![histogram]), form);
    assert_eq!(result.filtered, Counts { histograms: 1, ..Counts::default() });
    assert_eq!(result.orphaned, Counts { exemplars: 1, ..Counts::default() });
    assert!(out.is_empty());
}

#[test]
fn filters_take_out_their_kind_and_series_left_empty() {
    let whole = request(vec![
        sampled("a", 1, &["t"]),
        lone("b", "t"),
        Series { histograms: vec![exponential(1)], ..named("latency") },
    ]);
    for from in [Protocol::V1, Protocol::V2] {
        for to in [V1, V2] {
            let to = Form { exemplars: false, native_histograms: false, ..to };
            let (result, out) = formed(from, &whole, to);
            assert_eq!(result.filtered, Counts { samples: 0, histograms: 1, exemplars: 2 });
            assert_eq!(decoded(to.protocol, &out), request(vec![sampled("a", 1, &[])]));
        }
    }
}

#[test]
fn series_keep_their_order_and_repeated_labels_stay_apart() {
    let series: Vec<Series<'_>> = [("a", 1), ("b", 1), ("a", 2), ("a", 3), ("b", 2)]
        .map(|(name, timestamp)| sampled(name, timestamp, &[]))
        .to_vec();
    for (from, to) in [(Protocol::V1, V2), (Protocol::V2, V1), (Protocol::V2, V2), (Protocol::V1, V1)] {
        assert_eq!(translated(from, &request(series.clone()), to), request(series.clone()));
    }
}

#[test]
fn fields_and_symbols_outside_the_schema_do_not_pass() {
    let up = Series { labels: labels(&[("__name__", "up")]), samples: vec![sample(1.0, 2)], ..Series::default() };
    let clean = encoded(Protocol::V2, &request(vec![up.clone()]));
    let mut dirty = clean.clone();
    dirty.extend_from_slice(b"\x22\x06unused\x22\x02up\xf8\x3e\x01");
    let mut out = Vec::new();
    Translator::new().form(Protocol::V2, &dirty, &V2, &mut out).unwrap();
    assert_eq!(out, clean);
    Translator::new().form(Protocol::V2, &dirty, &V1, &mut out).unwrap();
    assert_eq!(out, encoded(Protocol::V1, &request(vec![up])));
}

#[test]
fn unpacked_label_references_are_understood() {
    let unpacked =
        b"\x22\x00\x22\x08__name__\x22\x02up\x2a\x10\x08\x01\x08\x02\x12\x02\x10\x07\x22\x06\x08\x02\x08\x01\x18\x03";
    let mut out = Vec::new();
    Translator::new().form(Protocol::V2, unpacked, &V1, &mut out).unwrap();
    let exemplar = Exemplar { labels: labels(&[("up", "__name__")]), timestamp: 3, ..Exemplar::default() };
    let expected = Series {
        labels: labels(&[("__name__", "up")]),
        samples: vec![sample(0.0, 7)],
        exemplars: vec![exemplar],
        ..Series::default()
    };
    assert_eq!(out, encoded(Protocol::V1, &request(vec![expected])));
}

#[test]
fn bad_references_are_malformed() {
    for series in [
        &b"\x0a\x02\x00\x07\x12\x00"[..],
        b"\x0a\x01\x00\x12\x00",
        b"\x12\x00\x22\x04\x0a\x02\x00\x07",
        b"\x12\x00\x22\x03\x0a\x01\x00",
        b"\x12\x00\x2a\x02\x18\x07",
    ] {
        let mut body = b"\x22\x00\x2a".to_vec();
        body.push(u8::try_from(series.len()).unwrap());
        body.extend_from_slice(series);
        for to in [V1, V2] {
            let result = Translator::new().form(Protocol::V2, &body, &to, &mut Vec::new());
            assert!(result.is_err(), "{series:x?} to {to:?}: {result:?}");
        }
    }
}

#[test]
fn only_what_must_change_needs_forming() {
    let [samples, histograms, exemplars] = [(1, 0, 0), (1, 1, 0), (1, 0, 1)]
        .map(|(samples, histograms, exemplars)| Counts { samples, histograms, exemplars });
    let check = |from, counts, to, expected| {
        assert_eq!(needs_forming(from, counts, 0, &to), expected, "{from:?} {counts:?} {to:?}");
    };
    for (own, other, to) in [(Protocol::V1, Protocol::V2, V1), (Protocol::V2, Protocol::V1, V2)] {
        check(other, samples, to, true);
        check(own, samples, to, false);
        check(own, samples, Form { exemplars: false, native_histograms: false, ..to }, false);
        check(own, histograms, to, false);
        check(own, histograms, Form { native_histograms: false, ..to }, true);
        check(own, exemplars, Form { exemplars: false, ..to }, true);
    }
    check(Protocol::V1, exemplars, V1, false);
    // They may be in series of their own.
    check(Protocol::V2, exemplars, V2, true);
}

#[test]
fn an_empty_label_stays_empty_whatever_was_formed_before() {
    let mut translator = Translator::new();
    let mut out = Vec::new();
    let before = encoded(Protocol::V1, &request(vec![sampled("a", 1, &[])]));
    translator.form(Protocol::V1, &before, &V2, &mut out).unwrap();
    let unchecked = b"\x0a\x04\x0a\x00\x12\x00";
    translator.form(Protocol::V1, unchecked, &V2, &mut out).unwrap();
    assert_eq!(out, b"\x22\x00\x2a\x06\x0a\x02\x00\x00\x12\x00");
}

/// What earlier requests said, and how often somebody wanted to know.
#[derive(Default)]
struct Known {
    families: Vec<Metadata<'static>>,
    questions: Cell<usize>,
}

impl KnownFamilies for Known {
    fn family(&self, name: &[u8]) -> Option<Metadata<'_>> {
        self.questions.set(self.questions.get() + 1);
        self.families.iter().find(|family| family.family == name).copied()
    }
}

fn family(name: &'static str, kind: i32, help: &'static str) -> Metadata<'static> {
    Metadata { kind, family: name.as_bytes(), help: help.as_bytes(), unit: b"seconds" }
}

/// The request in v2 or v1, with what is known.
fn translated_knowing(known: &Known, from: Protocol, request: &Request<'_>, to: Form) -> Request<'static> {
    let mut out = Vec::new();
    Translator::new().form_knowing(Some(known), from, &encoded(from, request), &to, &mut out).unwrap();
    decoded(to.protocol, out.leak())
}

#[test]
fn what_is_known_of_families_describes_the_series_of_which_the_request_says_nothing() {
    let known = Known {
        families: vec![
            family("latency", 3, "known"),
            family("requests", 1, "known"),
            family("both", 2, "known"),
            family("part", 2, "known"),
        ],
        ..Known::default()
    };
    let names = ["latency_bucket", "latency_sum", "latency", "requests_total", "both", "part_sum", "other"];
    let series = names.map(|name| sampled(name, 1, &[]));
    let request = Request { series: series.to_vec(), metadata: vec![family("both", 1, "said")] };
    let described = |series: &Series<'static>| series.metadata.map(|it| (it.kind, it.help, it.unit));
    let v2 = translated_knowing(&known, Protocol::V1, &request, V2);
    let got: Vec<_> = v2.series.iter().map(described).collect();
    let [histogram, counter, said] =
        [(3, &b"known"[..]), (1, b"known"), (1, b"said")].map(|(kind, help)| Some((kind, help, &b"seconds"[..])));
    assert_eq!(got, [histogram, histogram, histogram, counter, said, None, None]);

    // An orphan on the way changes nothing.
    let mut with_orphan = request.clone();
    with_orphan.series.insert(0, lone("latency_bucket", "before"));
    let v2 = translated_knowing(&known, Protocol::V1, &with_orphan, V2);
    assert_eq!(v2.series.iter().map(described).collect::<Vec<_>>(), got);
}

#[test]
fn nobody_asks_what_is_known_where_it_cannot_be_said() {
    let known = Known { families: vec![family("a", 1, "known")], ..Known::default() };
    let request = request(vec![sampled("a", 1, &[]), sampled("a", 2, &[])]);
    for (from, to) in
        [(Protocol::V1, V1), (Protocol::V2, V1), (Protocol::V2, V2), (Protocol::V1, Form { metadata: false, ..V2 })]
    {
        let formed = translated_knowing(&known, from, &request, to);
        assert!(formed.metadata.is_empty() && formed.series.iter().all(|series| series.metadata.is_none()));
    }
    assert_eq!(known.questions.get(), 0);
    translated_knowing(&known, Protocol::V1, &request, V2);
    assert_eq!(known.questions.get(), 1, "neighbours of one name are asked for once");
}

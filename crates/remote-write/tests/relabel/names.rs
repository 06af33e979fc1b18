//! Names under a scheme: those of series as `EscapeName` of `prometheus/common` writes them, those of exemplars' labels
//! and of v1 families alike; and that nothing gets through that a receiver before Prometheus 3.0 would refuse.

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, proptest};
use proptest::sample::select;
use remote_write::check::{family_hash, series_hash};
use remote_write::model::{Exemplar, Label, Metadata, Request, Sample, Series};
use remote_write::relabel::{Cache, Outcome, Pipeline, Relabeled, Relabeler, Scheme, Step};
use remote_write::{Counts, Protocol, encode, read};

use crate::definitions::labels;

const ESCAPING: [Scheme; 3] = [Scheme::Underscores, Scheme::Dots, Scheme::Values];

fn under(scheme: Scheme) -> Pipeline {
    Pipeline::new(vec![Step::Escape(scheme)], 0)
}

/// What becomes of a series; `None` when it is dropped.
fn escaped(scheme: Scheme, pairs: &[(&str, &str)]) -> Option<Vec<(String, String)>> {
    under(scheme).explain(&labels(pairs)).labels
}

#[test]
fn metric_names_are_written_as_prometheus_writes_them() {
    for (name, underscores, dots, values) in [
        ("up", "up", "up", "up"),
        ("no:escaping_required", "no:escaping_required", "no:escaping__required", "no:escaping_required"),
        (
            "mysystem.prod.west.cpu.load",
            "mysystem_prod_west_cpu_load",
            "mysystem_dot_prod_dot_west_dot_cpu_dot_load",
            "U__mysystem_2e_prod_2e_west_2e_cpu_2e_load",
        ),
        ("cpu.load_total", "cpu_load_total", "cpu_dot_load__total", "U__cpu_2e_load__total"),
        ("http.status:sum", "http_status:sum", "http_dot_status:sum", "U__http_2e_status:sum"),
        ("label with 😱", "label_with__", "label__with____", "U__label_20_with_20__1f631_"),
        ("花火", "__", "____", "U___82b1__706b_"),
        ("label with \u{100}", "label_with__", "label__with____", "U__label_20_with_20__100_"),
        ("1st", "_st", "__st", "U___31_st"),
    ] {
        for (scheme, expected) in ESCAPING.into_iter().zip([underscores, dots, values]) {
            let series = escaped(scheme, &[("__name__", name)]);
            assert_eq!(series, Some(labels(&[("__name__", expected)])), "{name} {scheme:?}");
        }
        let stays = name == underscores;
        assert_eq!(escaped(Scheme::Drop, &[("__name__", name)]).is_some(), stays, "{name}");
    }
}

#[test]
fn label_names_have_no_colons_and_values_stay() {
    for (name, underscores, dots, values) in [
        ("le", "le", "le", "le"),
        ("pod_name", "pod_name", "pod__name", "pod_name"),
        ("k8s.pod", "k8s_pod", "k8s_dot_pod", "U__k8s_2e_pod"),
        ("a:b", "a_b", "a__b", "U__a_3a_b"),
        ("größe", "gr__e", "gr____e", "U__gr_f6__df_e"),
    ] {
        let series = &[("__name__", "up"), (name, "ä.b:c")];
        for (scheme, expected) in ESCAPING.into_iter().zip([underscores, dots, values]) {
            let mut expected = labels(&[("__name__", "up"), (expected, "ä.b:c")]);
            expected.sort_unstable();
            assert_eq!(escaped(scheme, series), Some(expected), "{name} {scheme:?}");
        }
        let dropped = under(Scheme::Drop).explain(&labels(series)).steps == [Outcome::Dropped];
        assert_eq!(dropped, name != underscores, "{name}");
    }
}

#[test]
fn labels_that_come_to_share_a_name_are_joined_in_the_order_of_the_names_they_had() {
    for (scheme, series, expected) in [
        (
            Scheme::Underscores,
            &[("a_b", "3"), ("__name__", "up"), ("a.b", "2"), ("a-b", "1"), ("a", "0")][..],
            &[("__name__", "up"), ("a", "0"), ("a_b", "1;2;3")][..],
        ),
        (Scheme::Dots, &[("a-b", "1"), ("a_b", "1")], &[("a__b", "1;1")]),
        (Scheme::Values, &[("U___2e_", "2"), (".", "1")], &[("U___2e_", "1;2")]),
        // Whatever the other labels are, the metric keeps its name, and they keep their values.
        (Scheme::Underscores, &[("__name__", "up"), ("..name..", "x")], &[("___name__", "x"), ("__name__", "up")]),
        (Scheme::Dots, &[("-name-", "x"), ("__name__", "up")], &[("___name__", "x"), ("__name__", "up")]),
        (Scheme::Underscores, &[(".-name__", "x"), ("___name__", "y")], &[("___name__", "x;y")]),
    ] {
        assert_eq!(escaped(scheme, series), Some(labels(expected)), "{series:?} {scheme:?}");
    }
}

fn named<'a>(pairs: &[(&'a str, &'a str)]) -> Vec<Label<'a>> {
    pairs.iter().map(|(name, value)| Label { name: name.as_bytes(), value: value.as_bytes() }).collect()
}

fn exemplar<'a>(pairs: &[(&'a str, &'a str)]) -> Exemplar<'a> {
    Exemplar { labels: named(pairs), value: 0.5, timestamp: 7, bad_reference: false }
}

fn sample() -> Sample {
    Sample { value: f64::from_bits(0x7ff0_0000_0000_0002), timestamp: 1, start_timestamp: 0 }
}

fn encoded(protocol: Protocol, request: &Request<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    match protocol {
        Protocol::V1 => encode::encode_v1(request, &mut out),
        Protocol::V2 => encode::encode_v2(request, &mut out),
    }
    out
}

/// What the scheme makes of a request; the bytes are the input's if nothing changes.
fn relabeled(scheme: Scheme, protocol: Protocol, request: &Request<'_>) -> (Relabeled, Vec<u8>) {
    let (input, mut out) = (encoded(protocol, request), b"left over".to_vec());
    let cache = Cache::new(1 << 20);
    let done = Relabeler::new().relabel(&under(scheme), &cache, protocol, &input, &mut out).unwrap();
    assert!(done.changed || out.is_empty());
    (done.clone(), if done.changed { out } else { input })
}

const PROTOCOLS: [Protocol; 2] = [Protocol::V1, Protocol::V2];

#[test]
fn labels_of_exemplars_are_escaped_though_the_series_stays() {
    for protocol in PROTOCOLS {
        let up = |exemplars| Series {
            labels: named(&[("__name__", "up")]),
            samples: vec![sample()],
            exemplars,
            ..Series::default()
        };
        let plain = || exemplar(&[("id", "1")]);
        let before = [up(vec![]), up(vec![plain(), exemplar(&[("a.b", "1"), ("a_b", "2")])]), up(vec![plain()])];
        let after = [up(vec![]), up(vec![plain(), exemplar(&[("a_b", "1;2")])]), up(vec![plain()])];
        let request = |series: &[Series<'static>]| Request { series: series.to_vec(), metadata: Vec::new() };
        let (done, out) = relabeled(Scheme::Underscores, protocol, &request(&before));
        assert_eq!(out, encoded(protocol, &request(&after)), "{protocol:?}");
        assert_eq!((done.changed, done.series, done.dropped), (true, 3, Counts::default()));
        assert_eq!(done.first_dropped, None);
    }
}

#[test]
fn exemplars_with_foreign_labels_are_dropped_and_booked_and_series_that_were_nothing_else_with_them() {
    for protocol in PROTOCOLS {
        let series = |name, samples, exemplars| Series {
            labels: named(&[("__name__", name)]),
            samples,
            exemplars,
            ..Series::default()
        };
        let plain = || exemplar(&[("id", "1")]);
        let foreign = || exemplar(&[("i.d", "1")]);
        let before = vec![
            series("first", vec![sample()], vec![foreign(), plain(), foreign()]),
            series("alone", vec![], vec![foreign()]),
            series("a.b", vec![sample()], vec![plain()]),
            series("last", vec![sample()], vec![plain()]),
        ];
        let after = vec![series("first", vec![sample()], vec![plain()]), series("last", vec![sample()], vec![plain()])];
        let (done, out) = relabeled(Scheme::Drop, protocol, &Request { series: before, metadata: Vec::new() });
        assert_eq!(out, encoded(protocol, &Request { series: after, metadata: Vec::new() }), "{protocol:?}");
        assert_eq!((done.kept.samples, done.kept.exemplars, done.series), (2, 2, 2));
        assert_eq!((done.dropped.samples, done.dropped.exemplars), (1, 4));
        assert_eq!(done.first_dropped.as_deref(), Some("first{}"));
    }
}

#[test]
fn families_of_v1_are_escaped_or_dropped_alike() {
    let family = |name: &'static str| Metadata { kind: 1, family: name.as_bytes(), help: b"a.b", unit: b"s" };
    let request = |name: &'static str, families: &[&'static str]| {
        let series = Series { labels: named(&[("__name__", name)]), samples: vec![sample()], ..Series::default() };
        Request { series: vec![series], metadata: families.iter().copied().map(family).collect() }
    };
    for (scheme, name, families, dropped) in [
        (Scheme::Underscores, "a_b", &["up", "a_b", "z"][..], 0),
        (Scheme::Dots, "a_dot_b", &["up", "a_dot_b", "z"], 0),
        (Scheme::Values, "U__a_2e_b", &["up", "U__a_2e_b", "z"], 0),
    ] {
        let (done, out) = relabeled(scheme, Protocol::V1, &request("a.b", &["up", "a.b", "z"]));
        assert_eq!(out, encoded(Protocol::V1, &request(name, families)), "{scheme:?}");
        assert_eq!((done.changed, done.families_dropped), (true, dropped));
    }
    // Families alone may change.
    let (done, out) = relabeled(Scheme::Drop, Protocol::V1, &request("up", &["a.b", "up", "c d"]));
    assert_eq!(out, encoded(Protocol::V1, &request("up", &["up"])));
    assert_eq!((done.changed, done.families_dropped, done.dropped), (true, 2, Counts::default()));
    let (done, _) = relabeled(Scheme::Drop, Protocol::V1, &request("up", &["up"]));
    assert_eq!((done.changed, done.families_dropped), (false, 0));
}

fn is_legacy(name: &[u8], colon: bool) -> bool {
    let mut letters = name.iter();
    let first = |letter: &u8| letter.is_ascii_alphabetic() || *letter == b'_' || (colon && *letter == b':');
    letters.next().is_some_and(first) && letters.all(|letter| first(letter) || letter.is_ascii_digit())
}

fn are_legacy(labels: &[Label<'_>]) -> bool {
    labels
        .iter()
        .all(|label| is_legacy(label.name, false) && (label.name != b"__name__" || is_legacy(label.value, true)))
}

const LETTERS: [&str; 13] = ["a", "_", "__", ".", "-", ":", "1", "é", "_dot_", "U__", "__name__", "name", "_2e_"];

/// Names close to each other, so that they often meet under a scheme.
fn names() -> impl Strategy<Value = String> {
    vec(select(&LETTERS[..]), 1..4).prop_map(|letters| letters.concat())
}

fn label_sets() -> impl Strategy<Value = Vec<(String, String)>> {
    (btree_map(names(), "[a-c.é]{1,3}", 0..6), option::of(names())).prop_map(|(mut labels, name)| {
        labels.remove("__name__");
        labels.extend(name.map(|name| ("__name__".to_owned(), name)));
        labels.into_iter().collect()
    })
}

type Texts = Vec<(String, String)>;

/// Labels, labels of exemplars, and whether there is a sample.
type Named = (Texts, Vec<Texts>, bool);

fn requests() -> impl Strategy<Value = (Vec<Named>, Vec<String>)> {
    let series = (label_sets(), vec(label_sets(), 0..3), any::<bool>());
    (
        vec(
            series.prop_filter("a series has labels and data", |(labels, exemplars, sampled)| {
                !labels.is_empty() && (*sampled || !exemplars.is_empty())
            }),
            0..6,
        ),
        vec(names(), 0..4),
    )
}

fn pairs(texts: &Texts) -> Vec<Label<'_>> {
    texts.iter().map(|(name, value)| Label { name: name.as_bytes(), value: value.as_bytes() }).collect()
}

fn counts(request: &Request<'_>) -> Counts {
    request.series.iter().fold(Counts::default(), |sum, series| {
        sum + Counts { samples: series.samples.len() as u64, exemplars: series.exemplars.len() as u64, histograms: 0 }
    })
}

proptest! {
    #[test]
    fn what_comes_out_has_legacy_names_sorted_and_unique_and_the_books_add_up(
        (series, families) in requests(),
        scheme in select(&Scheme::ALL[..]),
        protocol in select(&PROTOCOLS[..]),
    ) {
        let series = series.iter().map(|(labels, exemplars, sampled)| Series {
            labels: pairs(labels),
            samples: sampled.then(sample).into_iter().collect(),
            exemplars: exemplars.iter().map(|labels| Exemplar { labels: pairs(labels), ..exemplar(&[]) }).collect(),
            ..Series::default()
        });
        let metadata = families.iter().map(|name| Metadata { kind: 1, family: name.as_bytes(), ..Metadata::default() });
        let request = Request { series: series.collect(), metadata: metadata.collect() };
        let (done, out) = relabeled(scheme, protocol, &request);
        let got = read::read(protocol, &out).unwrap();
        for labels in got.series.iter().flat_map(|series| {
            series.exemplars.iter().map(|exemplar| &exemplar.labels).chain([&series.labels])
        }) {
            prop_assert!(are_legacy(labels), "{:?}", labels);
            prop_assert!(labels.is_sorted_by(|one, next| one.name < next.name), "{:?}", labels);
        }
        prop_assert!(got.metadata.iter().all(|family| is_legacy(family.family, true)));
        prop_assert!(got.series.iter().all(|series| !series.samples.is_empty() || !series.exemplars.is_empty()));

        prop_assert_eq!(done.kept, counts(&got));
        prop_assert_eq!(done.kept + done.dropped, counts(&request));
        prop_assert_eq!(done.series as usize, got.series.len());
        if protocol == Protocol::V1 {
            prop_assert_eq!(done.families_dropped as usize, request.metadata.len() - got.metadata.len());
        }
        if scheme != Scheme::Drop {
            prop_assert!(done.dropped.is_zero() && done.families_dropped == 0);
            // Nothing of a value is lost.
            let bytes = |request: &Request<'_>| -> usize {
                let values = request.series.iter().flat_map(|series| &series.labels);
                values.filter(|label| label.name != b"__name__").flat_map(|label| label.value).filter(|byte| **byte != b';').count()
            };
            prop_assert_eq!(bytes(&got), bytes(&request));
        }

        let mut hashes = Vec::new();
        let input = encoded(protocol, &request);
        Relabeler::new().footprint(&under(scheme), &Cache::new(0), protocol, &input, &mut hashes).unwrap();
        let families = got.metadata.iter().map(|family| family_hash(family.family));
        let mut expected: Vec<u32> = got.series.iter().map(|series| series_hash(&series.labels)).chain(families).collect();
        expected.sort_unstable();
        expected.dedup();
        prop_assert_eq!(&hashes, &expected);
        let (mut relabeler, mut out) = (Relabeler::new(), Vec::new());
        relabeler.note_footprint();
        relabeler.relabel(&under(scheme), &Cache::new(0), protocol, &input, &mut out).unwrap();
        prop_assert_eq!(relabeler.noted_footprint(), Some(expected));
    }
}

//! The judge refuses, stores and answers as the receivers it stands for.

use bytes::Bytes;
use remote_write::Compression;
use remote_write::compression::Compressor;
use remote_write::encode::{encode_v1, encode_v2};
use remote_write::model::{Exemplar, Histogram, Sample};

use super::*;
use crate::endpoint::{Endpoint, EndpointSettings, Keep};
use crate::ledger::{Ledger, for_each_point};
use crate::sender::{Answer, SendError, Sender};

/// What a judge decides, without a network.
struct Court {
    judge: Judge,
    docket: Docket,
    ledger: Ledger,
}

impl Court {
    fn of(judge: Judge) -> Self {
        Self { judge, docket: Docket::default(), ledger: Ledger::default() }
    }

    fn rule(&mut self, protocol: Protocol, series: &[Series<'_>]) -> Ruling {
        let request = request(series);
        let mut counts = Counts::default();
        for_each_point(&request, |point| point.kind.count_in(&mut counts));
        let contents = Contents { counts, metadata: 0 };
        let case = Case { protocol, contents, body_bytes: 0, decoded_bytes: 0, request };
        self.judge.rule(&case, &mut self.docket, |point| self.ledger.note(point))
    }

    /// The samples written and stored, and the text of the refusal.
    fn samples(&mut self, protocol: Protocol, series: &[Series<'_>]) -> (u64, u64, String) {
        let ruling = self.rule(protocol, series);
        let text = ruling.refusal.map(|(_, text)| text).unwrap_or_default();
        (ruling.written.samples, ruling.stored.samples, text)
    }
}

fn request<'a>(series: &[Series<'a>]) -> Request<'a> {
    Request { series: series.to_vec(), metadata: Vec::new() }
}

fn named(name: &str) -> Series<'_> {
    Series { labels: vec![Label { name: b"__name__", value: name.as_bytes() }], ..Series::default() }
}

fn series<'a>(name: &'a str, samples: &[(i64, f64)]) -> Series<'a> {
    let sample = |&(timestamp, value)| Sample { value, timestamp, start_timestamp: 0 };
    Series { samples: samples.iter().map(sample).collect(), ..named(name) }
}

fn poisoned<'a>() -> Series<'a> {
    let mut poisoned = series("bad", &[(10, 1.0)]);
    poisoned.labels.push(Label { name: b"poison", value: b"x" });
    poisoned
}

fn histogram(name: &str, timestamp: i64, sum: f64) -> Series<'_> {
    Series { histograms: vec![Histogram { timestamp, sum, ..Histogram::default() }], ..named(name) }
}

fn exemplars<'a>(name: &'a str, exemplars: &[(i64, f64)]) -> Series<'a> {
    let exemplar = |&(timestamp, value)| Exemplar { value, timestamp, ..Exemplar::default() };
    Series { exemplars: exemplars.iter().map(exemplar).collect(), ..named(name) }
}

fn refuses_poison(judge: Judge) -> Judge {
    judge.refusing(|series| {
        let is_poison = |label: &Label<'_>| label.name == b"poison" && label.value == b"x";
        series.labels.iter().any(is_poison).then(|| "invalid label".to_owned())
    })
}

const OLDER: &str = r#"out of order sample for series {__name__="up"}"#;
const OTHER: &str = r#"duplicate sample for timestamp for series {__name__="up"}"#;

fn nothing(text: &str) -> (u64, u64, String) {
    (0, 0, text.to_owned())
}

#[test]
fn a_judge_that_was_told_nothing_refuses_and_forgets_nothing() {
    let mut court = Court::of(Judge::new(400));
    for samples in [[(20, 1.0), (10, 1.0)], [(10, 2.0), (10, 2.0)]] {
        assert_eq!(court.samples(Protocol::V1, &[series("up", &samples)]), (2, 2, String::new()));
    }
    assert_eq!(court.docket.stats, JudgeStats::default());
    assert_eq!((court.ledger.counts().samples, court.ledger.duplicates()), (4, 1));
}

#[test]
fn order_is_judged_per_series_against_what_is_stored() {
    let mut court = Court::of(Judge::new(400).ordered());
    let mut rule = |samples: &[(i64, f64)]| court.samples(Protocol::V1, &[series("up", samples)]);
    assert_eq!(rule(&[(20, 1.0)]), (1, 1, String::new()));
    assert_eq!(rule(&[(20, 1.0)]), (1, 0, String::new()), "the newest again is accepted, not stored");
    assert_eq!(rule(&[(20, 2.0)]), nothing(OTHER));
    assert_eq!(rule(&[(19, 1.0)]), nothing(OLDER));
    assert_eq!(rule(&[(19, 1.0), (20, 2.0)]), nothing(OLDER), "the first of two reasons");
    assert_eq!(rule(&[(21, 1.0), (22, 1.0)]), (2, 2, String::new()));
    assert_eq!(rule(&[(20, 1.0)]), nothing(OLDER), "even what is stored already");
    assert_eq!(rule(&[(21, 1.0), (22, 1.0)]), nothing(OLDER), "a request of two samples cannot be repeated");
    assert_eq!(court.samples(Protocol::V1, &[series("down", &[(1, 1.0)])]), (1, 1, String::new()));

    let stats = &court.docket.stats;
    let reasons = [(OUT_OF_ORDER, 4), (DUPLICATE, 1)].map(|(reason, count)| (reason.to_owned(), count));
    assert_eq!(stats.refused_series, BTreeMap::from(reasons));
    assert_eq!((stats.refused_requests, stats.repeats, stats.overtaken), (5, 1, 0));
    assert_eq!((court.ledger.counts().samples, court.ledger.duplicates()), (4, 0));
}

#[test]
fn values_are_compared_bit_for_bit() {
    let mut court = Court::of(Judge::new(400).ordered());
    let stale = f64::from_bits(0x7ff0_0000_0000_0002);
    for (value, expected) in [(stale, (1, 1)), (stale, (1, 0)), (f64::NAN, (0, 0))] {
        let (written, stored, _) = court.samples(Protocol::V1, &[series("up", &[(1, value)])]);
        assert_eq!((written, stored), expected);
    }
}

#[test]
fn each_kind_of_a_series_has_its_own_order() {
    let mut court = Court::of(Judge::new(400).ordered());
    for (series, refused) in [
        (series("up", &[(20, 1.0)]), false),
        (histogram("up", 10, 1.0), false),
        (exemplars("up", &[(5, 1.0)]), false),
        (histogram("up", 10, 1.0), false),
        (histogram("up", 10, 2.0), true),
        (histogram("up", 9, 1.0), true),
    ] {
        assert_eq!(court.rule(Protocol::V1, &[series]).refusal.is_some(), refused);
    }
    assert_eq!(court.ledger.counts(), Counts { samples: 1, histograms: 1, exemplars: 1 });
}

#[test]
fn the_order_of_labels_makes_no_other_series() {
    let mut court = Court::of(Judge::new(400).ordered());
    let mut swapped = poisoned();
    swapped.labels.reverse();
    assert_eq!(court.rule(Protocol::V1, &[poisoned()]).stored.samples, 1);
    assert_eq!(court.rule(Protocol::V1, &[swapped]), Ruling { written: count_of(1), ..Ruling::default() });
}

fn count_of(samples: u64) -> Counts {
    Counts { samples, ..Counts::default() }
}

#[test]
fn repeats_are_refused_by_who_refuses_them() {
    for judge in [Judge::new(409).refusing_repeats(), Judge::new(409).refusing_repeats().ordered()] {
        let mut court = Court::of(judge);
        assert_eq!(court.samples(Protocol::V1, &[series("up", &[(20, 1.0)])]), (1, 1, String::new()));
        assert_eq!(court.samples(Protocol::V1, &[series("up", &[(20, 1.0)])]), nothing(OTHER));
        assert_eq!(court.samples(Protocol::V1, &[series("up", &[(19, 1.0)])]), nothing(OLDER));
    }
}

#[test]
fn what_a_request_makes_too_old_itself_is_accepted_and_silently_lost() {
    let mut court = Court::of(Judge::new(400).ordered());
    let reversed = [series("up", &[(20, 1.0), (10, 1.0)]), series("up", &[(20, 2.0), (20, 1.0)])];
    assert_eq!(court.samples(Protocol::V2, &reversed), (4, 1, String::new()));
    assert_eq!((court.docket.stats.overtaken, court.docket.stats.repeats), (2, 1));
    assert_eq!(court.ledger.out_of_order(), []);
}

#[test]
fn late_exemplars_are_ignored_in_v1_and_refused_in_v2() {
    for (protocol, refusal) in
        [(Protocol::V1, None), (Protocol::V2, Some(r#"out of order exemplar for series {__name__="up"}"#))]
    {
        let mut court = Court::of(Judge::new(400).refusing_repeats());
        let mut rule = |points: &[(i64, f64)]| court.rule(protocol, &[exemplars("up", points)]);
        assert_eq!(rule(&[(10, 1.0), (20, 1.0), (20, 2.0)]).stored.exemplars, 3, "two of one moment");
        assert_eq!(rule(&[(20, 1.0), (20, 2.0)]), Ruling { written: exemplar_count(2), ..Ruling::default() });
        let ruling = rule(&[(10, 1.0)]);
        assert_eq!(ruling.stored, Counts::default());
        assert_eq!(ruling.refusal.map(|(_, text)| text).as_deref(), refusal);
    }
}

fn exemplar_count(exemplars: u64) -> Counts {
    Counts { exemplars, ..Counts::default() }
}

#[test]
fn the_good_part_is_lost_or_stored_by_protocol_and_status_or_as_told() {
    type Told = fn(Judge) -> Judge;
    let (lost, stored, untold): (Told, Told, Told) =
        (Judge::all_or_nothing, Judge::storing_the_good_part, |judge| judge);
    let cases = [
        (400, Protocol::V1, untold, 0),
        (400, Protocol::V2, untold, 3),
        (500, Protocol::V2, untold, 0),
        (500, Protocol::V1, untold, 0),
        (409, Protocol::V1, stored, 3),
        (500, Protocol::V2, stored, 3),
        (400, Protocol::V1, lost, 0),
        (400, Protocol::V2, lost, 0),
    ];
    for (status, protocol, told, kept) in cases {
        let mut court = Court::of(told(refuses_poison(Judge::new(status).ordered())));
        court.rule(protocol, &[series("up", &[(10, 1.0)])]);
        // Of "up" one sample is bad and one good; the poisoned series is bad as a whole; "down" repeats nothing.
        let mixed = [series("up", &[(9, 1.0), (11, 1.0)]), poisoned(), series("down", &[(1, 1.0), (2, 1.0)])];
        let ruling = court.rule(protocol, &mixed);
        let case = format!("{status} {protocol:?}: {ruling:?}");
        assert_eq!((ruling.written.samples, ruling.stored.samples), (kept, kept), "{case}");
        let (refused, text) = ruling.refusal.expect("refused");
        assert_eq!((refused.as_u16(), text.as_str()), (status, OLDER), "{case}");
        assert_eq!(court.ledger.counts().samples, 1 + kept, "{case}");
        let reasons = [(OUT_OF_ORDER, 1), ("invalid label", 1)].map(|(reason, count)| (reason.to_owned(), count));
        assert_eq!(court.docket.stats.refused_series, BTreeMap::from(reasons), "{case}");
        assert_eq!(court.docket.stats.refused_requests, 1, "a request is refused once");

        let again = court.samples(protocol, &[series("up", &[(11, 1.0)])]);
        assert_eq!(again, (1, u64::from(kept == 0), String::new()), "what was rolled back is not remembered: {case}");
    }
}

#[test]
fn the_first_predicate_with_a_reason_gives_the_text() {
    let judge = refuses_poison(Judge::new(422)).refusing(|_| Some("no series today".to_owned()));
    let mut court = Court::of(judge);
    let text = r#"invalid label for series {__name__="bad", poison="x"}"#;
    assert_eq!(court.samples(Protocol::V1, &[poisoned(), named("up")]), nothing(text));
    let text = r#"no series today for series {__name__="up"}"#;
    assert_eq!(court.samples(Protocol::V1, &[named("up"), poisoned()]), nothing(text));
}

#[test]
fn an_answer_is_short_whatever_it_names() {
    let long = "é".repeat(10_000);
    let many = vec![Label { name: b"a\xff", value: b"b\"\n" }; 10_000];
    let series = [named(&long), Series { labels: many, ..Series::default() }];
    for series in series {
        let text = text("no", &series.labels);
        assert!((MAX_TEXT - 1..=MAX_TEXT).contains(&text.len()), "{text}");
        assert!(
            text.starts_with("no for series {__name__=\"éé")
                || text.starts_with("no for series {a\u{fffd}=\"b\\\"\\n\"")
        );
    }
}

#[test]
fn too_much_is_refused_whole_without_a_look_at_the_series() {
    let judge = refuses_poison(Judge::new(400)).storing_the_good_part().max_samples(2, 413);
    let mut court = Court::of(judge);
    let three = [series("up", &[(1, 1.0), (2, 1.0)]), histogram("h", 1, 1.0)];
    assert_eq!(court.samples(Protocol::V2, &three), nothing("the request has 3 samples, the limit is 2"));
    assert_eq!(court.rule(Protocol::V2, &three).refusal.map(|(status, _)| status.as_u16()), Some(413));
    assert_eq!(court.samples(Protocol::V2, &three[..1]), (2, 2, String::new()));
    assert_eq!(court.samples(Protocol::V2, &[poisoned()]).1, 0);
    let stats = &court.docket.stats;
    assert_eq!((stats.oversized_requests, stats.refused_requests), (2, 3));
}

/// A receiver with that judge and a sender to it.
async fn launch(judge: Judge) -> (Endpoint, Sender) {
    let settings = EndpointSettings { judge: Some(judge), ..EndpointSettings::default() };
    let endpoint = Endpoint::launch(settings).await.expect("endpoint");
    let sender = Sender::new(&endpoint.url()).expect("url");
    (endpoint, sender)
}

async fn push(sender: &Sender, protocol: Protocol, series: &[Series<'_>]) -> Result<Answer, SendError> {
    let (mut raw, mut body) = (Vec::new(), Vec::new());
    match protocol {
        Protocol::V1 => encode_v1(&request(series), &mut raw),
        Protocol::V2 => encode_v2(&request(series), &mut raw),
    }
    Compressor::new().compress(Compression::Snappy, &raw, &mut body).expect("packed");
    sender.push(protocol, Compression::Snappy, Bytes::from(body)).await
}

/// Status, text and `Written` of samples.
fn said(answer: Result<Answer, SendError>) -> (u16, String, Option<u64>) {
    let answer = answer.expect("answer");
    let written =
        answer.header("x-prometheus-remote-write-samples-written").map(|value| value.parse().expect("number"));
    (answer.status.as_u16(), answer.text(), written)
}

#[tokio::test]
async fn the_answer_tells_status_reason_and_in_v2_what_was_written() {
    let (endpoint, sender) = launch(refuses_poison(Judge::new(422).ordered())).await;
    let text = "invalid label for series {__name__=\"bad\", poison=\"x\"}\n".to_owned();
    let mixed = [series("up", &[(1, 1.0)]), poisoned()];
    assert_eq!(said(push(&sender, Protocol::V1, &mixed).await), (422, text.clone(), None));
    assert_eq!((endpoint.stats().taken_requests, endpoint.ledger(Ledger::series)), (0, 0));
    for _ in 0..2 {
        assert_eq!(
            said(push(&sender, Protocol::V2, &mixed).await),
            (422, text.clone(), Some(1)),
            "repeats are written"
        );
        assert_eq!((endpoint.stats().taken.samples, endpoint.ledger(Ledger::counts).samples), (1, 1));
    }
    assert_eq!(said(push(&sender, Protocol::V2, &mixed[..1]).await), (204, String::new(), Some(1)));
    assert_eq!(said(push(&sender, Protocol::V1, &mixed[..1]).await), (204, String::new(), None));
    assert_eq!(endpoint.stats().taken_requests, 3, "the first that was stored in part, and the two accepted whole");
    assert_eq!(endpoint.stats().malformed, 0);
    let judged = endpoint.judged();
    assert_eq!((judged.refused_requests, judged.refused_series["invalid label"], judged.repeats), (3, 3, 3));
}

#[tokio::test]
async fn told_replies_go_before_the_judge_and_healthy_ones_are_its_own() {
    let (endpoint, sender) = launch(refuses_poison(Judge::new(400).storing_the_good_part().ordered())).await;
    let mixed = [series("up", &[(1, 1.0)]), poisoned()];
    endpoint.script([
        Reply::status(503),
        Reply::status(500).taking().text("late"),
        Reply::healthy().header("x-why", "so"),
    ]);
    assert_eq!(push(&sender, Protocol::V1, &mixed).await.expect("answer").status, 503);
    assert_eq!((endpoint.judged(), endpoint.stats().taken_requests), (JudgeStats::default(), 0));
    assert_eq!(said(push(&sender, Protocol::V1, &mixed).await), (500, "late".to_owned(), None));
    assert_eq!((endpoint.judged().refused_requests, endpoint.stats().taken.samples), (1, 1), "judged whatever is said");
    let answer = push(&sender, Protocol::V1, &mixed).await.expect("answer");
    assert_eq!((answer.status.as_u16(), answer.header("x-why")), (400, Some("so")));
    assert_eq!((endpoint.judged().repeats, endpoint.stats().taken.samples), (1, 1));
}

#[tokio::test]
async fn what_was_stored_before_a_reset_is_judged_when_it_comes_again() {
    let (endpoint, sender) = launch(Judge::new(400).ordered()).await;
    endpoint.script([Reply::reset_after_body().taking(), Reply::healthy(), Reply::reset_after_body().taking()]);
    let (one, two) = (series("up", &[(1, 1.0)]), series("up", &[(2, 1.0), (3, 1.0)]));
    push(&sender, Protocol::V1, std::slice::from_ref(&one)).await.expect_err("reset");
    assert_eq!(said(push(&sender, Protocol::V1, &[one]).await).0, 204, "the newest sample may come again");
    push(&sender, Protocol::V1, std::slice::from_ref(&two)).await.expect_err("reset");
    let answer = said(push(&sender, Protocol::V1, &[two]).await);
    assert_eq!(answer, (400, format!("{OLDER}\n"), None), "two of a series may not");
    assert_eq!(endpoint.ledger(Ledger::counts).samples, 3);
    assert_eq!(endpoint.ledger(Ledger::duplicates), 0);
}

#[tokio::test]
async fn bytes_are_limited_as_decoded() {
    let (endpoint, sender) = launch(Judge::new(400).max_decoded_bytes(500, 413)).await;
    let long = "x".repeat(500);
    let answer = said(push(&sender, Protocol::V2, &[series(&long, &[(1, 1.0)])]).await);
    assert_eq!((answer.0, answer.2), (413, Some(0)));
    assert!(answer.1.ends_with("the limit is 500\n"), "{}", answer.1);
    assert_eq!(said(push(&sender, Protocol::V2, &[series(&long[..400], &[(1, 1.0)])]).await).0, 204);
    assert_eq!((endpoint.judged().oversized_requests, endpoint.stats().taken.samples), (1, 1));
}

#[tokio::test]
async fn a_counting_receiver_judges_all_the_same() {
    let settings =
        EndpointSettings { keep: Keep::Counts, judge: Some(Judge::new(400).ordered()), ..EndpointSettings::default() };
    let endpoint = Endpoint::launch(settings).await.expect("endpoint");
    let sender = Sender::new(&endpoint.url()).expect("url");
    for (timestamp, status) in [(2, 204), (1, 400), (3, 204)] {
        let answer = push(&sender, Protocol::V1, &[series("up", &[(timestamp, 1.0)])]).await;
        assert_eq!(said(answer).0, status);
    }
    assert_eq!((endpoint.stats().taken.samples, endpoint.ledger(Ledger::series)), (2, 0));
}

#[tokio::test]
async fn a_receiver_that_refused_equals_another_after_the_replay() {
    let (whole, to_whole) = launch(Judge::new(400).ordered()).await;
    let (lossy, to_lossy) = launch(Judge::new(400).ordered()).await;
    lossy.script([Reply::status(400)]);
    for name in ["up", "down"] {
        for sender in [&to_whole, &to_lossy] {
            push(sender, Protocol::V1, &[series(name, &[(1, 1.0)])]).await.expect("answer");
        }
    }
    let difference = || whole.ledger(|here| lossy.ledger(|there| here.difference(there)));
    assert_eq!((difference().only_here.len(), difference().only_there.len()), (1, 0));
    push(&to_lossy, Protocol::V1, &[series("up", &[(1, 1.0)])]).await.expect("answer");
    assert!(difference().is_empty(), "{}", difference());
}

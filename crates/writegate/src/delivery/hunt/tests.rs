//! Hunts against endpoints that answer anything: each data point has one fate, whatever the answers and interruptions.

use proptest::collection::vec;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use remote_write::encode::encode_v1;
use remote_write::model::{Label, Request, Sample, Series};
use remote_write::translate::Form;
use remote_write::{Compression, Protocol};

use super::*;

const LIMITS: BatchLimits = BatchLimits { samples: 1_000, decoded_bytes: 1 << 20 };

fn target() -> Target {
    let form = Form { protocol: Protocol::V1, exemplars: true, native_histograms: true, metadata: true };
    Target { form, compression: Compression::Snappy, rules: None, oldest_ms: None, wants_example: false, known: None }
}

/// Requests of that many series each; series `n` of all has `n` in its name.
fn requests(sizes: &[usize], samples: usize) -> Vec<Vec<u8>> {
    let mut number = 0;
    let mut encode = |size: &usize| {
        let names: Vec<String> = (number..number + size).map(|n| format!("s{n:03}")).collect();
        number += size;
        let series = names.iter().map(|name| Series {
            labels: vec![Label { name: b"__name__", value: name.as_bytes() }],
            samples: (0..samples).map(|t| Sample { value: 1.0, timestamp: t as i64, start_timestamp: 0 }).collect(),
            ..Series::default()
        });
        let mut out = Vec::new();
        encode_v1(&Request { series: series.collect(), metadata: Vec::new() }, &mut out);
        out
    };
    sizes.iter().map(&mut encode).collect()
}

fn books(sizes: &[usize], samples: usize) -> Vec<RecordBook> {
    let book = |(position, size): (usize, &usize)| RecordBook {
        position: position as Position,
        received_ms: 0,
        counts: Counts { samples: (size * samples) as u64, ..Counts::default() },
        booking: Booking::default(),
    };
    sizes.iter().enumerate().map(book).collect()
}

fn pieces(sizes: &[usize], samples: usize) -> Pieces {
    Pieces::new(Protocol::V1, requests(sizes, samples)).unwrap()
}

fn hunt(sizes: &[usize], samples: usize, limits: BatchLimits) -> Hunt {
    Hunt::new(books(sizes, samples), target(), pieces(sizes, samples), limits, false)
}

const OCCASION: Occasion<'static> = Occasion { tenant: "t", endpoint: "e", is_replay: false, now_ms: 7 };

fn refused(words: &str) -> Refused<'_> {
    Refused { refusal: Refusal::BadRequest, nothing_stored: false, words }
}

/// The positions settled, all data points settled, and the letters.
#[derive(Default)]
struct Settlement {
    positions: Vec<Position>,
    counts: Counts,
    letters: Vec<Letter>,
}

impl Settlement {
    fn take(&mut self, hunt: &mut Hunt) {
        let (settled, letters) = hunt.settle();
        for settled in settled {
            assert_eq!(settled.booking.total(), settled.counts, "record {}", settled.position);
            self.positions.push(settled.position);
            self.counts += settled.counts;
        }
        self.letters.extend(letters);
    }
}

#[derive(Clone, Debug)]
enum Reply {
    Taken,
    Refused {
        known: bool,
        whole_records: bool,
    },
    TooLarge,
    /// The run is searched for poison: its first piece is taken, its last given up, the rest put back.
    Searched,
    /// The batch waits and is read again.
    Wait,
}

fn reply() -> impl Strategy<Value = Reply> {
    prop_oneof![
        3 => Just(Reply::Taken),
        3 => (any::<bool>(), any::<bool>())
            .prop_map(|(known, whole_records)| Reply::Refused { known, whole_records }),
        1 => Just(Reply::TooLarge),
        2 => Just(Reply::Searched),
        1 => Just(Reply::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn every_data_point_has_one_fate_whatever_the_answers(
        sizes in vec(0_usize..6, 1..6), samples in 1_usize..4, limit in 1_u64..20, replies in vec(reply(), 0..60)
    ) {
        let limits = BatchLimits { samples: limit, ..LIMITS };
        let mut hunt = hunt(&sizes, samples, limits);
        let mut settlement = Settlement::default();
        // When the scripted answers are used up the endpoint takes everything.
        let mut replies = replies.into_iter();
        while let Some(payload) = hunt.next(limits).unwrap() {
            prop_assert!(payload.counts.points() <= limit);
            match replies.next().unwrap_or(Reply::Taken) {
                Reply::Taken => drop(hunt.taken(Counts::default())),
                Reply::Refused { known, whole_records } => {
                    let words = if known { "out of order sample" } else { "bad label" };
                    hunt.refused(&refused(words), whole_records, &OCCASION).unwrap();
                }
                Reply::TooLarge => drop(hunt.too_large("too large", false, &OCCASION).unwrap()),
                Reply::Searched => {
                    let Some(run) = hunt.take_run() else { continue };
                    hunt.book_taken(run.start..run.start + 1, Counts::default());
                    if run.len() > 1 {
                        let between = run.start + 1..run.end - 1;
                        hunt.put_back([between]);
                        let last = run.end - 1..run.end;
                        hunt.give_up_run(last, &refused("broken"), &OCCASION).unwrap();
                    }
                }
                Reply::Wait => {
                    hunt.wait();
                    let left: Vec<Position> = hunt.positions().collect();
                    let all = requests(&sizes, samples);
                    let again = left.iter().map(|position| all[*position as usize].clone()).collect();
                    prop_assert!(hunt.resume(left.into_iter(), Pieces::new(Protocol::V1, again).unwrap()));
                }
            }
            settlement.take(&mut hunt);
        }
        settlement.take(&mut hunt);
        prop_assert_eq!(&settlement.positions, &(0..sizes.len() as Position).collect::<Vec<_>>());
        let dead = settlement.letters.iter().map(|letter| letter.envelope.counts[0]).sum::<u64>();
        prop_assert!(dead <= settlement.counts.samples);
        for letter in &settlement.letters {
            let request = dead_letters::request_in(letter).unwrap();
            let read = remote_write::read::read(Protocol::V1, &request).unwrap();
            let in_it: usize = read.series.iter().map(|series| series.samples.len()).sum();
            prop_assert_eq!(in_it as u64, letter.envelope.counts[0]);
        }
    }
}

/// Answers until the end: refuses what has a series in `bad`, with those words.
fn run(mut hunt: Hunt, bad: &[usize], words: &str) -> Settlement {
    let mut settlement = Settlement::default();
    while let Some(payload) = hunt.next(LIMITS).unwrap() {
        let mut decoded = Vec::new();
        let mut decompressor = remote_write::compression::Decompressor::new();
        decompressor.decompress(Compression::Snappy, &payload.chunks[0], 1 << 20, &mut decoded).unwrap();
        let is_bad = |name: &[u8]| bad.iter().any(|n| name == format!("s{n:03}").as_bytes());
        let read = remote_write::read::read(Protocol::V1, &decoded).unwrap();
        if read.series.iter().any(|series| is_bad(series.labels[0].value)) {
            hunt.refused(&refused(words), false, &OCCASION).unwrap();
        } else {
            hunt.taken(Counts::default());
        }
        settlement.take(&mut hunt);
    }
    settlement.take(&mut hunt);
    settlement
}

#[test]
fn records_are_settled_as_soon_as_they_are_dealt_with() {
    let mut hunt = hunt(&[3, 0, 3, 3], 1, LIMITS);
    assert!(hunt.refused(&refused("bad label"), true, &OCCASION).unwrap().is_none());
    hunt.taken(Counts::default());
    let (settled, _) = hunt.settle();
    assert_eq!(settled.iter().map(|settled| settled.position).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn a_letter_tells_whose_it_is_why_and_since_when() {
    let settlement = run(hunt(&[5, 5], 2, LIMITS), &[7], "bad label");
    let [letter] = settlement.letters.as_slice() else { panic!("{:?}", settlement.letters) };
    let envelope = &letter.envelope;
    assert_eq!((envelope.tenant.as_str(), envelope.endpoint.as_str(), envelope.reason.as_str()), ("t", "e", "400"));
    assert_eq!((envelope.words.as_str(), envelope.example.as_str()), ("bad label", "s007{}"));
    assert_eq!((envelope.position, envelope.refused_ms, envelope.series, envelope.counts), (1, 7, 1, [2, 0, 0]));
}

#[test]
fn what_was_stored_with_a_refused_batch_is_no_dead_letter_unless_it_is_the_newest_of_its_series() {
    // Refused for another reason at first: what is called out of order later was stored with the first attempt.
    let mut hunt_ = hunt(&[2], 1, LIMITS);
    hunt_.refused(&refused("bad label"), false, &OCCASION).unwrap();
    let fate = hunt_.refused(&refused("out of order sample"), false, &OCCASION).unwrap();
    assert_eq!(fate, Some(Fate::Dropped(Dropped::Resent)));
    let fate = hunt_.refused(&refused("bad label"), false, &OCCASION).unwrap();
    assert_eq!(fate, Some(Fate::DeadLettered(Refusal::BadRequest)));
    // Refused as out of order at first: then something is, and the newest sample of a stored series would be taken again.
    assert_eq!(run(hunt(&[4], 1, LIMITS), &[2], "out of order sample").letters.len(), 1);
    // Of two samples the older would be refused for having been stored.
    assert_eq!(run(hunt(&[4], 2, LIMITS), &[2], "out of order sample").letters.len(), 0);
    // A v2 endpoint that says it stored nothing is believed.
    let mut hunt_ = hunt(&[2], 2, LIMITS);
    let nothing = Refused { nothing_stored: true, ..refused("out of order sample") };
    hunt_.refused(&nothing, false, &OCCASION).unwrap();
    let fate = hunt_.refused(&nothing, false, &OCCASION).unwrap();
    assert_eq!(fate, Some(Fate::DeadLettered(Refusal::BadRequest)));
}

#[test]
fn a_single_sample_that_is_too_large_is_given_up_and_a_series_is_cut_before() {
    let mut hunt = hunt(&[1], 4, LIMITS);
    let mut settlement = Settlement::default();
    // Everything with more than one sample is too large, and so is the first alone.
    let mut given_up = 0;
    while let Some(payload) = hunt.next(LIMITS).unwrap() {
        if payload.counts.samples > 1 || given_up == 0 {
            given_up += u32::from(hunt.too_large("too large", false, &OCCASION).unwrap().is_some());
        } else {
            hunt.taken(Counts::default());
        }
    }
    settlement.take(&mut hunt);
    assert_eq!((given_up, settlement.letters.len(), settlement.letters[0].envelope.counts), (1, 1, [1, 0, 0]));
    assert_eq!(settlement.letters[0].envelope.reason, "413");
}

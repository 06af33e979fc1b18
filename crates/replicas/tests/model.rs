//! Pairs of replicas that come and go, with clocks and delays of their own, against what may be said of what leaves.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use replicas::{DataPoint, Limits, Milliseconds, Selection, Value, Verdict};

const INTERVAL: Milliseconds = 15_000;
const JITTER: Milliseconds = 20;
const SERIES: u64 = 7;

/// A replica: when it scrapes within an interval, how wrong its clock is, how long its samples take to the log.
#[derive(Clone, Debug)]
struct Replica {
    phase: Milliseconds,
    skew: Milliseconds,
    delays: Vec<Milliseconds>,
}

/// One replica is gone for a while.
#[derive(Clone, Debug)]
struct Absence {
    replica: usize,
    after: Milliseconds,
    lasts: Milliseconds,
}

#[derive(Clone, Debug)]
struct Scenario {
    replicas: [Replica; 2],
    absences: Vec<Absence>,
    /// How long each life of the target is.
    lives: Vec<Milliseconds>,
    jitter: Vec<Milliseconds>,
    end: Milliseconds,
}

#[derive(Clone, Copy, Debug)]
struct Scrape {
    replica: usize,
    /// In true time.
    on: Milliseconds,
    /// By the replica's clock.
    at: Milliseconds,
    arrives: Milliseconds,
    value: f64,
}

impl Scenario {
    /// The value of a counter that rises by 1 a millisecond, and begins anew with each life of its target.
    fn value(&self, on: Milliseconds) -> f64 {
        (on - self.begin_of_life(on)) as f64
    }

    fn begin_of_life(&self, on: Milliseconds) -> Milliseconds {
        let mut begin = 0;
        for life in self.lives.iter().cycle() {
            if begin + life > on {
                return begin;
            }
            begin += life;
        }
        0
    }

    /// When each replica is gone. Between two absences both are there for two intervals.
    fn gone(&self) -> Vec<(usize, Milliseconds, Milliseconds)> {
        let mut from = 2 * INTERVAL;
        let mut gone = Vec::new();
        for absence in &self.absences {
            let begin = from + absence.after;
            gone.push((absence.replica, begin, begin + absence.lasts));
            from = begin + absence.lasts + 2 * INTERVAL;
        }
        gone
    }

    /// In the order of the log.
    fn scrapes(&self) -> Vec<Scrape> {
        let gone = self.gone();
        let mut scrapes = Vec::new();
        for (number, replica) in self.replicas.iter().enumerate() {
            let mut arrived = 0;
            for round in 0..self.end / INTERVAL {
                let jitter = self.jitter[(round as usize + number) % self.jitter.len()];
                let on = round * INTERVAL + replica.phase + jitter;
                if gone.iter().any(|(who, from, to)| *who == number && (*from..*to).contains(&on)) {
                    continue;
                }
                arrived = (on + replica.delays[round as usize % replica.delays.len()]).max(arrived);
                let (at, value) = (on + replica.skew, self.value(on));
                scrapes.push(Scrape { replica: number, on, at, arrives: arrived, value });
            }
        }
        scrapes.sort_by_key(|scrape| scrape.arrives);
        scrapes
    }
}

fn replica(skew: Milliseconds) -> impl Strategy<Value = Replica> {
    let delay = prop_oneof![8 => 0..5_000_i64, 1 => 0..20_000_i64];
    (JITTER..INTERVAL - JITTER, -skew..=skew, prop::collection::vec(delay, 1..20))
        .prop_map(|(phase, skew, delays)| Replica { phase, skew, delays })
}

fn scenario(skew: Milliseconds) -> impl Strategy<Value = Scenario> {
    let absence = (0..2_usize, 0..120_000_i64, 0..120_000_i64).prop_map(|(replica, after, lasts)| Absence {
        replica,
        after,
        lasts,
    });
    (
        [replica(skew), replica(skew)],
        prop::collection::vec(absence, 0..12),
        prop::collection::vec(60_000..900_000_i64, 1..4),
        prop::collection::vec(0..JITTER, 1..30),
    )
        .prop_map(|(replicas, absences, lives, jitter)| Scenario {
            replicas,
            absences,
            lives,
            jitter,
            end: 1_500_000,
        })
}

/// What left, in order. Each is told of once, and what is told is told in bounded time.
fn select(scrapes: &[Scrape]) -> Vec<Scrape> {
    let limits = Limits::default();
    let mut selection = Selection::new(limits);
    let mut told: BTreeMap<usize, Milliseconds> = BTreeMap::new();
    let mut kept = Vec::new();
    let mut tell = |origin: usize, verdict: Verdict, now: Milliseconds| {
        assert!(told.insert(origin, now).is_none(), "{origin} is told of twice");
        if verdict == Verdict::Keep {
            kept.push(scrapes[origin]);
        }
    };
    for (origin, scrape) in scrapes.iter().enumerate() {
        let now = scrape.arrives;
        while let Some(due) = selection.next_due().filter(|due| *due <= now) {
            selection.pass(due, &mut |origin, verdict| tell(origin, verdict, due));
        }
        let point = DataPoint {
            origin,
            replica: scrape.replica as u32,
            at: scrape.at,
            value: Value::Rising(scrape.value),
            received: now,
        };
        selection.take(SERIES, point, &mut |origin, verdict| tell(origin, verdict, now));
    }
    while let Some(due) = selection.next_due() {
        selection.pass(due, &mut |origin, verdict| tell(origin, verdict, due));
    }
    assert_eq!(told.len(), scrapes.len());
    for (origin, now) in told {
        let waited = now - scrapes[origin].arrives;
        assert!(waited <= limits.patience_ms, "{origin} waited for {waited} ms");
    }
    kept
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/model.proptest-regressions"))), ..ProptestConfig::default() })]

    #[test]
    fn while_one_replica_is_there_no_hole_is_longer_than_an_interval(scenario in scenario(0)) {
        let kept = select(&scenario.scrapes());
        for [one, next] in kept.array_windows() {
            prop_assert!(one.at < next.at);
            // A sixteenth is what scrapes may be late.
            prop_assert!(next.at - one.at <= INTERVAL + INTERVAL / 16, "{one:?} {next:?} {:?}", scenario.gone());
        }
        prop_assert!(kept.last().is_some_and(|last| last.at >= scenario.end - 2 * INTERVAL));
    }

    #[test]
    fn a_counter_falls_only_where_its_target_began_anew(scenario in scenario(3_000)) {
        let kept = select(&scenario.scrapes());
        for [one, next] in kept.array_windows() {
            prop_assert!(one.at < next.at);
            if next.value < one.value {
                let lives = [one.on, next.on].map(|on| scenario.begin_of_life(on));
                prop_assert!(lives[0] < lives[1], "{one:?} {next:?}");
            }
        }
    }

    #[test]
    fn as_many_leave_as_one_replica_sends(scenario in scenario(0)) {
        let scrapes = scenario.scrapes();
        let kept = select(&scrapes);
        let seams = kept.array_windows().filter(|[one, next]| one.replica != next.replica).count();
        prop_assert!(kept.len() as i64 <= scenario.end / INTERVAL + seams as i64, "{} with {seams} seams", kept.len());
        let prompt = scenario.replicas.iter().flat_map(|replica| &replica.delays).all(|delay| *delay < 5_000);
        if prompt {
            // Once the last of the chosen replica is there, the other's may follow.
            prop_assert!(seams <= scenario.absences.len() + 1, "{seams} seams at {} absences", scenario.absences.len());
        }
    }
}

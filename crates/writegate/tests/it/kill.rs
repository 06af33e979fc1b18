//! SIGKILL at random moments under load: every acknowledged sample reaches every endpoint.
//!
//! Five rounds by default; `WRITEGATE_KILL_ROUNDS=200` is the full run, `WRITEGATE_KILL_SEED` repeats a run's moments.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use remote_write::{Compression, Protocol};
use testkit::endpoint::{Endpoint, EndpointSettings, Judge, Reply};
use testkit::sender::Sender;
use testkit::workload::{Encoder, Slice, Workload, WorkloadSettings};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::harness::{PATIENCE, Program, Setup, bounded, bounded_by, receiver, receiver_that};
use crate::message::{encode, points, request, sample_of};

/// How many connections send at once.
const SENDERS: u32 = 4;

/// What the senders did so far.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    begun: u64,
    acknowledged: u64,
}

/// Requests of one workload, sent until the connection breaks.
struct Barrage {
    workload: Arc<Workload>,
    acknowledged: Mutex<Vec<Slice>>,
    progress: watch::Sender<Progress>,
}

impl Barrage {
    fn new(settings: WorkloadSettings) -> Arc<Self> {
        let (progress, _) = watch::channel(Progress::default());
        let workload = Arc::new(Workload::new(settings));
        Arc::new(Self { workload, acknowledged: Mutex::default(), progress })
    }

    /// Sends this sender's share of the series, round after round from `first` on; gives the next round when the
    /// gateway is gone.
    async fn send(self: Arc<Self>, sender: Sender, index: u32, first: u32) -> u32 {
        let mut encoder = Encoder::new(&self.workload);
        let settings = self.workload.settings();
        for sequence in first.. {
            for request in (index..self.workload.requests()).step_by(SENDERS as usize) {
                let slice = Slice { request, sequence, timestamp: 1_700_000_000_000 + i64::from(sequence) };
                let (body, _) = encoder.encode(slice).unwrap();
                self.progress.send_modify(|progress| progress.begun += 1);
                let Ok(answer) = sender.push(settings.protocol, settings.compression, body).await else {
                    return sequence + 1;
                };
                assert_eq!(answer.status, 204, "{}", answer.text());
                self.acknowledged.lock().unwrap().push(slice);
                self.progress.send_modify(|progress| progress.acknowledged += 1);
            }
        }
        first
    }

    /// Sends from all connections until the moment comes, kills, and gives the next round.
    async fn round(self: &Arc<Self>, program: &mut Program, endpoints: &[Endpoint], moment: Moment, first: u32) -> u32 {
        let mut senders = JoinSet::new();
        for index in 0..SENDERS {
            senders.spawn(Arc::clone(self).send(program.sender(), index, first));
        }
        match moment {
            Moment::Begun(more) => self.reached(|progress| progress.begun, more).await,
            Moment::Acknowledged(more) => self.reached(|progress| progress.acknowledged, more).await,
            Moment::Taken(endpoint, more) => {
                let endpoint = &endpoints[endpoint];
                let target = endpoint.stats().requests + more;
                endpoint.wait_until(PATIENCE, |stats| stats.requests >= target).await.unwrap();
            }
        }
        program.kill();
        let mut next = first;
        while let Some(ended) = senders.join_next().await {
            next = next.max(ended.unwrap());
        }
        next
    }

    async fn reached(&self, count: fn(&Progress) -> u64, more: u64) {
        let target = count(&self.progress.borrow()) + more;
        self.progress.subscribe().wait_for(|progress| count(progress) >= target).await.unwrap();
    }
}

/// When to kill: after so many more of one kind of event.
#[derive(Clone, Copy, Debug)]
enum Moment {
    Begun(u64),
    Acknowledged(u64),
    /// At that endpoint.
    Taken(usize, u64),
}

impl Moment {
    fn random(random: &mut fastrand::Rng, endpoints: usize) -> Self {
        let more = random.u64(1..80);
        match random.u8(0..3) {
            0 => Self::Begun(more),
            1 => Self::Acknowledged(more),
            _ => Self::Taken(random.usize(0..endpoints), more.min(20)),
        }
    }
}

fn rounds() -> u32 {
    std::env::var("WRITEGATE_KILL_ROUNDS").map_or(5, |rounds| rounds.parse().expect("a number of rounds"))
}

#[expect(clippy::print_stderr, reason = "whoever repeats a failed run needs its seed")]
fn random(test: &str) -> fastrand::Rng {
    let seed = std::env::var("WRITEGATE_KILL_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    eprintln!("{test}: WRITEGATE_KILL_SEED={seed}");
    fastrand::Rng::with_seed(seed)
}

async fn kill_again_and_again(test: &str, settings: WorkloadSettings, endpoints: Vec<Endpoint>) {
    let mut random = random(test);
    let mut setup = Setup::new();
    for (number, endpoint) in endpoints.iter().enumerate() {
        setup = setup.endpoint(&format!("endpoint-{number}"), endpoint);
    }
    let mut program = setup.start_program().await;
    let barrage = Barrage::new(settings);
    let mut sequence = 0;
    for _ in 0..rounds() {
        let moment = Moment::random(&mut random, endpoints.len());
        sequence = barrage.round(&mut program, &endpoints, moment, sequence).await;
        program.start_again().await;
    }
    // Whoever fails half of the time is behind by hundreds of batches after a long run, and would drain for minutes.
    endpoints.iter().for_each(Endpoint::recover);
    let rows = program.settled().await;
    let acknowledged = barrage.acknowledged.lock().unwrap().clone();
    assert!(!acknowledged.is_empty());
    assert_eq!(rows.len(), endpoints.len());
    for (endpoint, row) in endpoints.iter().zip(&rows) {
        endpoint.ledger(|ledger| {
            let missing = ledger.missing(barrage.workload.points(acknowledged.iter().copied()));
            assert_eq!(missing.len(), 0, "acknowledged and lost, for example {:?}", missing.first());
            assert_eq!(ledger.out_of_order(), [], "an order turned around");
            assert_eq!(ledger.conflicts(), []);
        });
        assert_eq!((row.samples.expired, &row.samples.dropped), (0, &Default::default()), "{row:?}");
    }
    program.terminate().await;
}

#[test]
fn w41_kill_9_at_random_moments_loses_nothing_that_was_acknowledged() {
    bounded_by(Duration::from_secs(60 + 10 * u64::from(rounds())), async {
        let mut endpoints = Vec::new();
        for _ in 0..3 {
            endpoints.push(receiver_that(EndpointSettings::default()).await);
        }
        let settings = WorkloadSettings { series: 800, series_per_request: 50, ..WorkloadSettings::default() };
        kill_again_and_again("w41", settings, endpoints).await;
    });
}

#[test]
fn r_s1_kill_9_loses_nothing_of_any_kind_at_endpoints_that_are_well_slow_or_failing() {
    bounded_by(Duration::from_secs(60 + 10 * u64::from(rounds())), async {
        let mut endpoints = Vec::new();
        for _ in 0..3 {
            endpoints.push(receiver_that(EndpointSettings::default()).await);
        }
        endpoints[1].answer_with(|_| Reply::healthy().after(Duration::from_millis(5)));
        endpoints[2].answer_with(|received| match received.number % 4 {
            0 => Reply::status(503),
            1 => Reply::reset_after_body(),
            _ => Reply::healthy(),
        });
        let settings = WorkloadSettings {
            series: 800,
            series_per_request: 50,
            protocol: Protocol::V2,
            histograms: true,
            exemplars: true,
            metadata: true,
            ..WorkloadSettings::default()
        };
        kill_again_and_again("r_s1", settings, endpoints).await;
    });
}

#[test]
fn r_o3_what_was_acknowledged_just_before_a_kill_9_reaches_all_endpoints_after_it() {
    bounded(async {
        let sinks = [receiver().await, receiver().await, receiver().await];
        for sink in &sinks {
            sink.stop().await;
        }
        let [a, b, c] = &sinks;
        let mut program = Setup::new().endpoint("a", a).endpoint("b", b).endpoint("c", c).start_program().await;
        let sent = request([sample_of("up", 1_000)]);
        let body = crate::harness::compress(Compression::Snappy, &encode(Protocol::V1, &sent));
        let answer = program.sender().push(Protocol::V1, Compression::Snappy, body).await.unwrap();
        program.kill();
        assert_eq!(answer.status, 204, "{}", answer.text());
        for sink in &sinks {
            sink.start().await.unwrap();
        }
        program.start_again().await;
        program.settled().await;
        for sink in &sinks {
            crate::harness::assert_exactly(sink, &points(&sent));
        }
        program.terminate().await;
    });
}

/// What the store holds of one row, and what the books say it holds.
async fn letters_and_books(program: &Program) -> (u64, u64) {
    let rows = program.settled().await;
    let booked = rows.iter().flat_map(|row| row.samples.dead_lettered.values()).sum();
    let mut kept = 0;
    let mut after = 0;
    loop {
        let page = program.get(&format!("/api/v1/dead_letters?limit=500&after={after}")).await;
        let letters = page["letters"].as_array().unwrap();
        kept += letters.iter().map(|letter| letter["samples"].as_u64().unwrap()).sum::<u64>();
        match page["next"].as_u64() {
            Some(next) => after = next,
            None => return (kept, booked),
        }
    }
}

#[test]
fn kill_9_while_letters_are_written_retried_and_dropped_leaves_books_and_letters_equal() {
    bounded_by(Duration::from_secs(60 + 10 * u64::from(rounds())), async {
        // Every seventh series is refused, until it is mended.
        let mended = Arc::new(AtomicBool::new(false));
        let is_mended = Arc::clone(&mended);
        let judge = Judge::new(400).storing_the_good_part().refusing(move |series| {
            let hash: usize = series.labels.iter().flat_map(|label| label.value).map(|byte| usize::from(*byte)).sum();
            (hash.is_multiple_of(7) && !is_mended.load(Ordering::Relaxed)).then(|| "not this one".to_owned())
        });
        let sink = receiver_that(EndpointSettings { judge: Some(judge), ..EndpointSettings::default() }).await;
        let endpoints = [sink];
        let mut random = random("letters");
        let mut program = Setup::new().endpoint("a", &endpoints[0]).start_program().await;
        let settings = WorkloadSettings { series: 200, series_per_request: 50, ..WorkloadSettings::default() };
        let barrage = Barrage::new(settings);
        let mut sequence = 0;
        for round in 0..rounds() {
            let moment = Moment::random(&mut random, 1);
            // Letters leave while others come, and the kill comes in between.
            let action = if round % 2 == 0 { "drop" } else { "retry" };
            mended.store(round % 2 == 1, Ordering::Relaxed);
            let leaving = tokio::spawn(program.post("/api/v1/dead_letters", format!("{{\"action\":\"{action}\"}}")));
            sequence = barrage.round(&mut program, &endpoints, moment, sequence).await;
            // It may have ended with the process.
            drop(leaving.await);
            mended.store(false, Ordering::Relaxed);
            program.start_again().await;
            let (kept, booked) = letters_and_books(&program).await;
            assert_eq!(kept, booked, "round {round}: samples in letters, and in the books");
        }
        let rows = program.settled().await;
        assert!(rows[0].samples.dead_lettered.values().sum::<u64>() > 0, "{rows:?}");
        program.terminate().await;
    });
}

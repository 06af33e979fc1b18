//! Order per series without shards: what shares no series flies together, what does waits for its turn.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use remote_write::Protocol;
use testkit::chaos::Chaos;
use testkit::endpoint::{Endpoint, EndpointSettings, Gate, Received, Reply};
use testkit::load::{Load, Timestamps};
use testkit::workload::{Workload, WorkloadSettings};

use crate::harness::{PATIENCE, Setup, bounded, bounded_by, receiver, receiver_that};
use crate::message::{points, request, sample_of};

const QUEUE: &str = "queue_config: {min_backoff: 5ms, max_backoff: 50ms, max_samples_per_send: 400}";

/// Prints a seed, for whoever repeats a failed run.
#[expect(clippy::print_stderr, reason = "whoever repeats a failed run needs its seed")]
fn seed(test: &str) -> u64 {
    let seed = std::env::var("WRITEGATE_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    eprintln!("{test}: WRITEGATE_SEED={seed}");
    seed
}

#[test]
fn w52_10_000_series_arrive_in_order_whatever_is_delayed_refused_for_now_or_reset() {
    bounded_by(Duration::from_secs(120), async {
        let sink = receiver_that(EndpointSettings::default()).await;
        let chaos = Chaos::seeded(seed("w52"))
            .delays_up_to(Duration::from_millis(500))
            .unavailable(0.10)
            .resets_unjudged(0.025)
            .resets_stored(0.025);
        sink.answer_with(move |_| chaos.reply());
        let gateway = Setup::new().endpoint_with("a", &sink, QUEUE).start().await;
        let settings = WorkloadSettings {
            series: 10_000,
            series_per_request: 200,
            histograms: true,
            exemplars: true,
            ..WorkloadSettings::default()
        };
        let mut load = Load::new(Workload::new(settings).into(), 6);
        load.connections = 8;
        load.timestamps = Timestamps::Steps { first: 1_000, step: 1_000 };
        let report = gateway.sender().run(&load).await;
        assert_eq!(report.failures, 0, "{report:?}");
        gateway.settled().await;
        let stats = sink.stats();
        assert!((8..=64).contains(&stats.max_in_flight), "{stats:?}");
        assert!(stats.statuses.get(&503).is_some_and(|refused| *refused > 5), "{stats:?}");
        sink.ledger(|ledger| {
            assert_eq!(ledger.missing(load.workload.points(report.acknowledged.iter().copied())), []);
            assert_eq!(ledger.out_of_order(), []);
            assert_eq!(ledger.conflicts(), []);
            // Only what was stored before its connection was reset came twice, and only as the newest of its series.
            assert_eq!(ledger.stale_repeats(), 0);
        });
        gateway.finish().await;
    });
}

/// How long a new endpoint takes for 64 records, of one series or of 64, at 50 ms an answer and one record a request.
async fn catches_up(one_series: bool) -> Duration {
    let sink = receiver().await;
    let arrivals: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let kept = Arc::clone(&arrivals);
    sink.answer_with(move |_| {
        kept.lock().unwrap().push(Instant::now());
        Reply::healthy().after(Duration::from_millis(50))
    });
    let gateway = Setup::new().start().await;
    let mut sent = Vec::new();
    for record in 0..64 {
        let name = if one_series { "one".to_owned() } else { format!("series_{record}") };
        let request = request([sample_of(&name, record)]);
        gateway.accept(Protocol::V1, &request).await;
        sent.extend(points(&request));
    }
    let keys = "from: earliest, queue_config: {max_samples_per_send: 1}";
    let gateway = gateway.restart_with(Setup::new().endpoint_with("a", &sink, keys)).await;
    gateway.settled().await;
    crate::harness::assert_exactly(&sink, &sent);
    gateway.finish().await;
    let arrivals = arrivals.lock().unwrap();
    assert_eq!(arrivals.len(), 64);
    arrivals[63] - arrivals[0] + Duration::from_millis(50)
}

#[test]
fn records_of_disjoint_series_are_delivered_20_times_as_fast_as_one_after_the_other() {
    bounded(async {
        let one_by_one = catches_up(true).await;
        // The machine may be busy with other tests: the best of a few is what the program can do.
        let mut together = catches_up(false).await;
        for _ in 0..4 {
            if together * 20 > one_by_one {
                together = together.min(catches_up(false).await);
            }
        }
        assert!(together * 20 <= one_by_one, "{together:?} together, {one_by_one:?} one by one");
    });
}

#[test]
fn a_record_waits_only_for_those_with_which_it_shares_a_series() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint("a", &sink).start().await;
        let gate = Gate::new();
        sink.script([Reply::healthy().behind(&gate)]);
        let blocked = request([sample_of("slow", 1)]);
        gateway.accept(Protocol::V1, &blocked).await;
        sink.wait_until(PATIENCE, |stats| stats.requests == 1).await.unwrap();
        gateway.accept(Protocol::V1, &request([sample_of("slow", 2), sample_of("chained", 1)])).await;
        gateway.accept(Protocol::V1, &request([sample_of("chained", 2)])).await;
        for timestamp in 0..20 {
            gateway.accept(Protocol::V1, &request([sample_of("free", timestamp)])).await;
        }
        sink.wait_until(PATIENCE, |stats| stats.taken.samples == 21).await.unwrap();
        let row = gateway.ledger("default", "a").await;
        assert_eq!((row.samples.delivered, row.samples.pending), (20, 4), "{row:?}");
        gate.open();
        gateway.settled().await;
        sink.ledger(|ledger| assert_eq!((ledger.out_of_order(), ledger.duplicates()), ([].as_slice(), 0)));
        gateway.finish().await;
    });
}

/// Answers behind a gate, and counts.
async fn gated() -> (Endpoint, Gate) {
    let (sink, gate) = (receiver().await, Gate::new());
    let held = gate.clone();
    sink.answer_with(move |_| Reply::healthy().behind(&held));
    (sink, gate)
}

#[test]
fn a_tenant_with_a_backlog_leaves_others_their_turn() {
    bounded(async {
        let (sink, gate) = gated().await;
        let keys = "queue_config: {max_samples_per_send: 1}";
        let setup =
            Setup::new().listener("tenant: default, tenant_from: [{path: true}]").endpoint_with("a", &sink, keys);
        let gateway = setup.start().await;
        // More than may be in flight.
        for number in 0..100 {
            gateway.accept(Protocol::V1, &request([sample_of(&format!("many_{number}"), 1)])).await;
        }
        sink.wait_until(PATIENCE, |stats| stats.in_flight == 32).await.unwrap();
        let small = gateway.sender_at("/small/api/v1/write");
        let body = crate::message::encode(Protocol::V1, &request([sample_of("few", 1)]));
        let body = crate::harness::compress(remote_write::Compression::Snappy, &body);
        let answer = small.push(Protocol::V1, remote_write::Compression::Snappy, body).await.unwrap();
        assert_eq!(answer.status, 204, "{}", answer.text());
        // Its delivery is there: it has its place in line before the large tenant's next requests come to the line's end.
        let has_row = || async { gateway.all_rows().await.iter().any(|row| row.tenant == "small").then_some(()) };
        crate::harness::eventually("the small tenant has a delivery", has_row).await;
        gate.open();
        gateway.settled().await;
        let requests = sink.requests();
        let is_few = |received: &Received| received.request().unwrap().series[0].labels[0].value == b"few";
        let place = requests.iter().position(is_few).unwrap();
        assert!(place <= 40, "the small tenant's only request came as number {place}");
        gateway.finish().await;
    });
}

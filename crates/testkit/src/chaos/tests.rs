//! The mixture is the one asked for, and a sender that retries gets everything through it.

use std::sync::Arc;

use remote_write::Protocol;

use super::*;
use crate::endpoint::{Endpoint, EndpointSettings, Judge};
use crate::load::{Load, Retry, Timestamps};
use crate::sender::{SendError, Sender};
use crate::workload::{Workload, WorkloadSettings};

const SEED: u64 = 7;

fn stormy() -> Chaos {
    Chaos::seeded(SEED).unavailable(0.1).resets_unjudged(0.05).resets_stored(0.2)
}

#[test]
fn a_seed_gives_the_same_fates_whatever_the_delays() {
    let max = Duration::from_secs(5);
    let (first, second, other) = (stormy(), stormy().delays_up_to(max), Chaos::seeded(SEED + 1));
    assert_eq!((first.seed(), other.seed()), (SEED, SEED + 1));
    let fates = |chaos: &Chaos| (0..500).map(|_| chaos.draw().0).collect::<Vec<_>>();
    let drawn = fates(&first);
    assert_eq!(drawn, fates(&second));
    assert_ne!(drawn, fates(&other.unavailable(0.1).resets_unjudged(0.05).resets_stored(0.2)));
}

#[test]
fn the_shares_are_as_asked_for() {
    let chaos = stormy();
    let fates: Vec<_> = (0..20_000).map(|_| chaos.draw().0).collect();
    for (fate, share) in
        [(Fate::Unavailable, 0.1), (Fate::ResetUnjudged, 0.05), (Fate::ResetStored, 0.2), (Fate::Healthy, 0.65)]
    {
        let found = fates.iter().filter(|found| **found == fate).count() as f64 / fates.len() as f64;
        assert!((found - share).abs() < 0.02, "{fate:?}: {found} instead of {share}");
    }
    assert!((0..1_000).all(|_| Chaos::seeded(SEED).draw() == (Fate::Healthy, Duration::ZERO)));
}

#[test]
fn delays_spread_over_all_that_is_allowed() {
    let max = Duration::from_secs(4);
    let chaos = Chaos::seeded(SEED).delays_up_to(max);
    let delays: Vec<_> = (0..1_000).map(|_| chaos.draw().1).collect();
    assert!(delays.iter().all(|delay| *delay < max));
    for quarter in 0..4 {
        let range = max / 4 * quarter..max / 4 * (quarter + 1);
        let within = delays.iter().filter(|delay| range.contains(delay)).count();
        assert!(within > 200, "{within} in {range:?}");
    }
}

#[tokio::test]
async fn each_fate_is_what_it_says_to_sender_and_books() {
    let workload = Arc::new(Workload::new(WorkloadSettings { series: 10, ..WorkloadSettings::default() }));
    for (chaos, statuses, stored) in [
        (Chaos::seeded(SEED).unavailable(1.0), vec![503], 0),
        (Chaos::seeded(SEED).resets_unjudged(1.0), vec![], 0),
        (Chaos::seeded(SEED).resets_stored(1.0), vec![], 10),
        (Chaos::seeded(SEED), vec![204], 10),
    ] {
        let endpoint = Endpoint::launch(EndpointSettings::default()).await.expect("endpoint");
        endpoint.answer_with(move |_| chaos.reply());
        let sender = Sender::new(&endpoint.url()).expect("url");
        let settings = workload.settings();
        let slice = crate::workload::Slice { request: 0, sequence: 0, timestamp: 1 };
        let body = crate::workload::Encoder::new(&workload).encode(slice).expect("packed").0;
        let answer = sender.push(settings.protocol, settings.compression, body).await;
        let status = match answer {
            Ok(answer) => vec![answer.status.as_u16()],
            Err(SendError::Exchange { .. }) => vec![],
            Err(error) => panic!("{error}"),
        };
        assert_eq!((status, endpoint.stats().taken.samples), (statuses, stored));
    }
}

#[tokio::test]
async fn a_sender_that_retries_brings_everything_in_order_through_chaos_to_a_strict_judge() {
    for protocol in [Protocol::V1, Protocol::V2] {
        let judge = Judge::new(400).ordered();
        let settings = EndpointSettings { judge: Some(judge), ..EndpointSettings::default() };
        let endpoint = Endpoint::launch(settings).await.expect("endpoint");
        let chaos = stormy().delays_up_to(Duration::from_millis(2));
        endpoint.answer_with(move |_| chaos.reply());
        let settings = WorkloadSettings {
            series: 300,
            series_per_request: 50,
            protocol,
            histograms: true,
            exemplars: true,
            ..WorkloadSettings::default()
        };
        let mut load = Load::new(Arc::new(Workload::new(settings)), 20);
        load.connections = 3;
        load.timestamps = Timestamps::Steps { first: 1_700_000_000_000, step: 1_000 };
        load.retry = Retry { min_backoff: Duration::from_millis(1), ..Retry::default() };
        let report = Sender::new(&endpoint.url()).expect("url").run(&load).await;

        assert_eq!((report.acknowledged.len(), report.refused.len()), (120, 0), "seed {SEED}: {:?}", report.refused);
        assert!(report.statuses[&503] > 0 && report.failures > 0, "seed {SEED}: {:?}", report.statuses);
        assert!(endpoint.judged().repeats > 0, "what was stored and not answered comes again");
        assert_eq!(endpoint.judged().refused_requests, 0);
        assert_eq!(endpoint.stats().taken, report.sent);
        endpoint.ledger(|ledger| {
            assert_eq!(ledger.missing(load.workload.points(report.acknowledged.iter().copied())), []);
            assert_eq!((ledger.duplicates(), ledger.out_of_order(), ledger.conflicts()), (0, &[][..], &[][..]));
        });
    }
}

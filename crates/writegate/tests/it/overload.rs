//! A log that is full and must keep what it holds: refused pushes are never delivered, accepted ones all are; and senders
//! that were refused come again in their time, not all at once.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::sync::Arc;

use remote_write::Protocol;
use remote_write::model::Request;
use rustix::process::Signal;
use testkit::endpoint::Endpoint;
use testkit::ledger::Point;
use testkit::load::{Load, Report, Run, Timestamps};
use testkit::sender::Answer;
use testkit::workload::{Workload, WorkloadSettings};

use crate::disk::{Mood, MoodyDisk};
use crate::harness::{PATIENCE, Setup, TestGateway, assert_exactly, bounded, eventually, receiver, written};
use crate::message::{With, points, request, sample_of, series};

const FULL: &str = "max_size: 1MiB, on_full: refuse, retain: 0s";

/// About 64 KiB that do not compress.
fn bulky(timestamp: i64, value: &str) -> Request<'_> {
    request([series(&[("__name__", "bulky"), ("value", value)]).sample(1.0, timestamp)])
}

fn incompressible() -> String {
    (0..16_000).map(|_| fastrand::alphanumeric()).collect()
}

/// Pushes until the log refuses. Gives what was accepted and what was refused, point by point, and the refusal.
async fn fill(gateway: &TestGateway, protocol: Protocol) -> (Vec<Point>, Vec<Point>, Answer) {
    let (mut accepted, mut refused) = (Vec::new(), Vec::new());
    for timestamp in 0..1_000 {
        let value = incompressible();
        let sent = bulky(timestamp, &value);
        let answer = gateway.push(protocol, &sent).await;
        if answer.status == 204 {
            accepted.extend(points(&sent));
            continue;
        }
        refused.extend(points(&sent));
        if refused.len() == 5 {
            return (accepted, refused, answer);
        }
    }
    panic!("a log of 1 MiB took 16 MB");
}

async fn unreachable() -> Endpoint {
    let sink = receiver().await;
    sink.stop().await;
    sink
}

#[test]
fn w38_a_full_log_is_503_with_retry_after_and_nothing_refused_is_ever_delivered() {
    bounded(async {
        let sink = unreachable().await;
        let gateway = Setup::new().log(FULL).endpoint("a", &sink).start().await;
        let (accepted, refused, answer) = fill(&gateway, Protocol::V1).await;
        assert_eq!(answer.status, 503, "{}", answer.text());
        let seconds: u32 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=10).contains(&seconds), "{seconds}");
        assert!(!answer.text().trim().is_empty());
        let counted = r#"writegate_refused_samples_total{tenant="default",reason="full"}"#;
        assert_eq!(gateway.metric(counted).await, refused.len() as f64);

        sink.start().await.unwrap();
        gateway.settled().await;
        assert_exactly(&sink, &accepted);
        sink.ledger(|ledger| assert_eq!(ledger.missing(refused.iter().copied()), refused, "refused, yet delivered"));
        let row = gateway.ledger("default", "a").await;
        assert_eq!((row.samples.accepted, row.samples.expired), (accepted.len() as u64, 0));

        // There is room again, as soon as the log has noticed.
        let value = incompressible();
        let later = bulky(5_000, &value);
        eventually("the log takes again", || async {
            (gateway.push(Protocol::V1, &later).await.status == 204).then_some(())
        })
        .await;
        gateway.settled().await;
        sink.ledger(|ledger| assert_eq!(ledger.missing(points(&later)), []));
        gateway.finish().await;
    });
}

#[test]
fn w38_one_endpoint_that_must_have_everything_is_enough_to_refuse() {
    bounded(async {
        let (must, may) = (unreachable().await, unreachable().await);
        let gateway = Setup::new()
            .log("max_size: 1MiB, retain: 0s")
            .endpoint_with("must", &must, "on_full: refuse")
            .endpoint("may", &may)
            .start()
            .await;
        let (accepted, _refused, answer) = fill(&gateway, Protocol::V1).await;
        assert_eq!(answer.status, 503, "{}", answer.text());
        must.start().await.unwrap();
        may.start().await.unwrap();
        gateway.settled().await;
        assert_exactly(&must, &accepted);
        gateway.finish().await;
    });
}

#[test]
fn w28_a_503_to_a_v2_push_says_that_nothing_was_written() {
    bounded(async {
        let sink = unreachable().await;
        let gateway = Setup::new().log(FULL).endpoint("a", &sink).start().await;
        let (_accepted, _refused, answer) = fill(&gateway, Protocol::V2).await;
        assert_eq!(answer.status, 503, "{}", answer.text());
        let says_something = written(&answer).into_iter().flatten().any(|count| count > 0);
        assert!(!says_something, "{:?}", answer.headers);
        gateway.finish().await;
    });
}

#[test]
fn r_x22_retry_after_is_in_whole_seconds_and_differs_from_sender_to_sender() {
    bounded(async {
        let sink = unreachable().await;
        let tenants = "tenants: [{name: full}, {name: fast, limits: {samples_per_second: 1, over_limit: reject}}]";
        let setup = Setup::new().listener("tenant: full, tenant_from: [{path: true}]").log(FULL).top(tenants);
        let gateway = setup.endpoint("a", &sink).start().await;
        fill(&gateway, Protocol::V1).await;
        let value = incompressible();
        let (large, fast) = (bulky(9_000, &value), gateway.sender_at("/fast/api/v1/write"));
        let burst = (0..60).fold(sample_of("up", 0), |series, at| series.sample(1.0, at + 1));
        let burst = crate::harness::compress(
            remote_write::Compression::Snappy,
            &crate::message::encode(Protocol::V1, &request([burst])),
        );
        let (mut full, mut limited) = (BTreeSet::new(), BTreeSet::new());
        for _ in 0..60 {
            let answer = gateway.push(Protocol::V1, &large).await;
            assert_eq!(answer.status, 503, "{}", answer.text());
            full.insert(answer.header("retry-after").unwrap().parse::<u32>().unwrap());
            let compression = remote_write::Compression::Snappy;
            let answer = fast.push(Protocol::V1, compression, burst.clone()).await.unwrap();
            if answer.status == 429 {
                limited.insert(answer.header("retry-after").unwrap().parse::<u32>().unwrap());
            }
        }
        assert!(full.len() >= 3 && full.iter().all(|seconds| (1..=5).contains(seconds)), "{full:?}");
        assert!(limited.len() >= 3 && limited.iter().all(|seconds| (1..=76).contains(seconds)), "{limited:?}");
        sink.start().await.unwrap();
        gateway.settle_and_finish().await;
    });
}

/// The senders of the test below, and how often each has something to send when all is well: Prometheus'
/// `batch_send_deadline`.
const SENDERS: usize = 100;
const EVERY_MS: u64 = 5_000;
/// How long the outage lasts, a multiple of the window below.
const OUTAGE_MS: u64 = 60_000;
/// Over which rates are taken: the longest that a sender is told to wait.
const WINDOW_MS: u64 = 5_000;

/// The senders' time is none that passes: each comes again when it was told to, and the gateway answers as it does.
#[test]
fn r_p18_a_hundred_senders_that_were_refused_for_a_minute_never_come_more_than_twice_as_often_as_before() {
    bounded(async {
        let sink = unreachable().await;
        let gateway = Setup::new().log(FULL).endpoint("a", &sink).start().await;
        fill(&gateway, Protocol::V1).await;
        let value = incompressible();
        let mut due: BinaryHeap<_> = (0..SENDERS).map(|sender| Reverse((fastrand::u64(0..EVERY_MS), sender))).collect();
        let mut windows = vec![0; ((OUTAGE_MS + 4 * WINDOW_MS) / WINDOW_MS) as usize];
        let mut waits = [true; SENDERS];
        let mut is_over = false;
        while let Some(Reverse((at, sender))) = due.pop() {
            if at >= OUTAGE_MS && !is_over {
                is_over = true;
                sink.start().await.unwrap();
                gateway.settled().await;
                eventually("the log takes again", || async {
                    (gateway.push(Protocol::V1, &bulky(1_000_000, &value)).await.status == 204).then_some(())
                })
                .await;
            }
            let Some(window) = windows.get_mut((at / WINDOW_MS) as usize) else { break };
            *window += 1;
            let timestamp = i64::try_from(2_000_000 + at).unwrap();
            let sent = bulky(timestamp, &value);
            let answer = if is_over {
                gateway.push(Protocol::V1, &request([sample_of("small", timestamp)])).await
            } else {
                gateway.push(Protocol::V1, &sent).await
            };
            let next = match answer.status.as_u16() {
                503 => at + u64::try_from(answer.retry_after().unwrap().as_millis()).unwrap(),
                // What was waiting behind the refused request follows at once, in one request.
                204 if std::mem::take(&mut waits[sender]) => at,
                204 => at + EVERY_MS,
                other => panic!("{other}: {}", answer.text()),
            };
            due.push(Reverse((next, sender)));
        }
        let usual = SENDERS as u64 * WINDOW_MS / EVERY_MS;
        assert!(windows.iter().all(|requests| *requests <= 2 * usual), "{windows:?}, usually {usual}");
        assert!(waits.iter().all(|waits| !waits), "each has caught up");
        assert_eq!(windows.last(), Some(&usual), "{windows:?}");
        gateway.settle_and_finish().await;
    });
}

/// A load of several MiB, of senders that repeat as Prometheus does.
fn load() -> Load {
    let settings = WorkloadSettings { series: 4_000, series_per_request: 1_000, ..WorkloadSettings::default() };
    let mut load = Load::new(Workload::new(settings).into(), 40);
    load.connections = 4;
    load.timestamps = Timestamps::Steps { first: 1_000, step: 1_000 };
    load
}

async fn until(run: &Run, what: &str, holds: impl Fn(&Report) -> bool) {
    eventually(what, || async { holds(&run.progress()).then_some(()) }).await;
}

/// All senders have sent everything, and the endpoint has all of it in order.
fn assert_caught_up(sink: &Endpoint, load: &Load, report: &Report) {
    assert_eq!((report.refused.len(), report.unanswered.len()), (0, 0), "{report:?}");
    assert_eq!(report.acknowledged.len(), 40 * 4, "{report:?}");
    assert!(report.statuses.keys().all(|status| [204, 503].contains(status)), "{:?}", report.statuses);
    sink.ledger(|ledger| {
        assert_eq!(ledger.missing(load.workload.points(report.acknowledged.iter().copied())), []);
        assert_eq!((ledger.out_of_order(), ledger.conflicts()), (&[][..], &[][..]));
    });
}

#[test]
fn r_x16_senders_catch_up_after_a_full_log_and_a_full_disk_and_nothing_acknowledged_is_lost() {
    bounded(async {
        let load = load();
        let refused = |report: &Report| report.statuses.get(&503).is_some_and(|count| *count >= 4);

        let sink = unreachable().await;
        let gateway = Setup::new().log(FULL).endpoint("a", &sink).start().await;
        let run = gateway.sender().start(&load);
        until(&run, "the log is full", refused).await;
        sink.start().await.unwrap();
        let report = run.finish().await;
        gateway.settled().await;
        assert_caught_up(&sink, &load, &report);
        gateway.finish().await;

        let (sink, disk) = (receiver().await, MoodyDisk::default());
        let gateway = Setup::new().disk(Arc::new(disk.clone())).endpoint("a", &sink).start().await;
        let run = gateway.sender().start(&load);
        until(&run, "some are taken", |report| report.sent.samples > 0).await;
        disk.0.set(Mood::Full);
        until(&run, "the disk is full", refused).await;
        disk.0.set(Mood::Well);
        let report = run.finish().await;
        gateway.settled().await;
        assert_caught_up(&sink, &load, &report);
        gateway.finish().await;
    });
}

#[test]
fn r_x16_senders_catch_up_after_a_shutdown_and_nothing_acknowledged_is_lost() {
    bounded(async {
        let (load, sink) = (load(), receiver().await);
        let mut program = Setup::new().endpoint("a", &sink).start_program().await;
        let run = program.sender().start(&load);
        until(&run, "some are taken", |report| report.sent.samples > 20_000).await;
        program.signal(Signal::TERM);
        assert!(program.ended(PATIENCE).await.success(), "{}", program.log());
        program.start_again().await;
        let report = run.finish().await;
        assert!(report.failures > 0, "it was away: {report:?}");
        program.settled().await;
        assert_caught_up(&sink, &load, &report);
        program.terminate().await;
    });
}

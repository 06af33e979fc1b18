//! An endpoint that is down for the whole run: nobody else notices, and in the end it has everything in order.

use std::time::Duration;

use testkit::endpoint::{Endpoint, EndpointSettings};
use testkit::load::{Load, Report, Timestamps};
use testkit::workload::{Workload, WorkloadSettings};

use crate::harness::{PATIENCE, Program, Setup, bounded, receiver_that};

const ROUNDS: u32 = 10;

fn load() -> Load {
    let settings = WorkloadSettings { series: 4_000, series_per_request: 500, ..WorkloadSettings::default() };
    let mut load = Load::new(Workload::new(settings).into(), ROUNDS);
    load.connections = 2;
    load.rate = Some(40_000.0);
    load.timestamps = Timestamps::Steps { first: 1_000, step: 1_000 };
    load
}

async fn two_endpoints() -> (Endpoint, Endpoint, Program) {
    let (a, b) = (receiver_that(EndpointSettings::default()).await, receiver_that(EndpointSettings::default()).await);
    let program = Setup::new().endpoint("a", &a).endpoint("b", &b).start_program().await;
    (a, b, program)
}

fn assert_complete(endpoint: &Endpoint, load: &Load, report: &Report) {
    endpoint.ledger(|ledger| {
        assert_eq!(ledger.missing(load.workload.points(report.acknowledged.iter().copied())), []);
        assert_eq!(ledger.out_of_order(), []);
    });
}

#[test]
fn w61_an_endpoint_that_is_down_changes_neither_answers_nor_memory_nor_the_others() {
    bounded(async {
        let load = load();
        let (a, b, program) = two_endpoints().await;
        let usual = program.sender().run(&load).await;
        program.settled().await;
        let usual_memory = program.peak_memory();
        assert_complete(&a, &load, &usual);
        assert_complete(&b, &load, &usual);
        program.terminate().await;

        let (a, b, program) = two_endpoints().await;
        a.stop().await;
        let report = program.sender().run(&load).await;
        assert_eq!(report.acknowledged.len(), usual.acknowledged.len(), "{report:?}");
        assert_eq!((report.failures, report.statuses.len()), (0, 1), "{report:?}");
        b.wait_until(PATIENCE, |stats| stats.taken.samples >= report.sent.samples).await.unwrap();
        assert_complete(&b, &load, &report);
        let memory = program.peak_memory();
        assert!(memory < usual_memory + (16 << 20), "{memory} bytes of memory, {usual_memory} without the outage");
        // The machine has more to do than this test, so only what no busy neighbour explains is a failure.
        let (p99, usual_p99) = (report.latencies.quantile(0.99), usual.latencies.quantile(0.99));
        let allowance = usual_p99 * 4 + Duration::from_millis(250);
        assert!(p99 < allowance, "acknowledged after {p99:?}, {usual_p99:?} without the outage");
        assert_eq!(a.stats().taken.samples, 0);

        a.start().await.unwrap();
        a.wait_until(PATIENCE, |stats| stats.taken.samples >= report.sent.samples).await.unwrap();
        assert_complete(&a, &load, &report);
        let rows = program.settled().await;
        assert!(rows.iter().all(|row| row.samples.delivered == report.sent.samples), "{rows:?}");
        program.terminate().await;
    });
}

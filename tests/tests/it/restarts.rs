//! Two real Prometheus without an out-of-order window, one in each protocol, that are ended and started again while data comes:
//! what was acknowledged is there in the end, and the ledger explains whatever was refused on the way.
//!
//! `WRITEGATE_E2E_RESTARTS` (5) says how often each is ended, `WRITEGATE_E2E_UPTIME_SECONDS` (5) how long it runs before.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value as Json;
use testkit::load::{Load, Report, Run};
use testkit::sender::Sender;
use testkit::series::Labels;
use testkit::workload::{Workload, WorkloadSettings, value};

use crate::gateway::{self, Gateway};
use crate::http;
use crate::peers::StrictReceiver;
use crate::samples::{Precision, Samples, Value, metric};
use crate::target::now_ms;

/// Samples a second, in many small requests, so that an end finds some in flight.
const RATE: u64 = 800;
/// How long the last part of the backlog may take, the pauses of a failing endpoint included.
const ARRIVAL: Duration = Duration::from_secs(60);
/// How long a restart may take on a busy machine.
const RESTART: Duration = Duration::from_secs(20);

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

fn load() -> Load {
    let settings = WorkloadSettings { series: 200, series_per_request: 4, ..WorkloadSettings::default() };
    let mut load = Load::new(Workload::new(settings).into(), 0);
    load.rounds = None;
    load.connections = 4;
    load.rate = Some(RATE as f64);
    load
}

/// Everything that was acknowledged, as Prometheus tells it.
pub(crate) fn sent(load: &Load, report: &Report) -> Samples {
    let mut samples = Samples::default();
    let settings = load.workload.settings();
    let mut labels = Labels::default();
    for slice in &report.acknowledged {
        let first = slice.request * settings.series_per_request;
        for series in first..(first + settings.series_per_request).min(settings.series) {
            load.workload.write_labels(series, &mut labels);
            let labels = labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            samples.insert(labels, slice.timestamp, Value::Float(value(series, slice.sequence)));
        }
    }
    samples
}

/// Waits until that many more samples were acknowledged.
async fn acknowledged(run: &Run, more: u64) {
    let goal = run.progress().sent.samples + more;
    let deadline = Instant::now() + Duration::from_secs(more / RATE) + RESTART;
    let behind = http::settled(deadline, async || {
        let report = run.progress();
        (report.sent.samples < goal)
            .then(|| format!("{} of {goal} samples acknowledged: {report:?}", report.sent.samples))
    });
    assert_eq!(behind.await, None);
}

/// The samples of each endpoint's row of the ledger.
async fn books(gateway: &Gateway) -> BTreeMap<String, Json> {
    let ledger = gateway.ledger().await;
    let rows = ledger["rows"].as_array().expect("rows").iter();
    rows.map(|row| (row["endpoint"].as_str().expect("a name").to_owned(), row["samples"].clone())).collect()
}

async fn run(binary: &Path, directory: &Path) -> Option<()> {
    let mut receivers =
        [StrictReceiver::start(directory, "strict-v1").await?, StrictReceiver::start(directory, "strict-v2").await?];
    let messages = ["prometheus.WriteRequest", "io.prometheus.write.v2.Request"];
    let endpoints = ["v1", "v2"].iter().zip(messages).zip(&receivers).map(|((name, message), receiver)| {
        format!("name: {name}, url: \"{}\", protobuf_message: {message}", receiver.write_url())
    });
    let mut gateway = Gateway::start_with(binary, directory, &endpoints.collect::<Vec<_>>()).await;
    let from = now_ms();
    let load = load();
    let run = Sender::new(&gateway.push_url).expect("an http url").start(&load);
    let uptime = number("WRITEGATE_E2E_UPTIME_SECONDS", 5);
    for cycle in 0..number("WRITEGATE_E2E_RESTARTS", 5) {
        acknowledged(&run, uptime * RATE).await;
        let [v1, v2] = &mut receivers;
        tokio::join!(v1.restart(cycle % 2 == 0), v2.restart(cycle % 2 == 1));
    }
    acknowledged(&run, RATE).await;
    let report = run.stop().await;
    assert_eq!((report.failures, report.refused.len()), (0, 0), "senders notice nothing: {report:?}");

    let deadline = Instant::now() + ARRIVAL;
    let pending = http::settled(deadline, async || {
        let books = books(&gateway).await;
        books.values().any(|book| book["pending"] != 0).then(|| format!("{books:?}"))
    });
    assert_eq!(pending.await, None, "everything is settled");
    let sent = sent(&load, &report);
    assert_eq!(sent.len() as u64, report.sent.samples);
    for ((name, book), receiver) in books(&gateway).await.iter().zip(&receivers) {
        let there = receiver.running().prometheus_samples(r#"{__name__=~".+"}"#, (from - 1, now_ms())).await;
        let log = receiver.running().log();
        assert_eq!(
            sent.difference(&there, Precision::Exact),
            None,
            "at {name}, of which the ledger says {book}:\n{log}"
        );
        assert_explained(name, book, report.sent.samples);
        let page = gateway.metrics().await;
        let label = format!("remote_name=\"{name}\"");
        let retried = metric(&page, "prometheus_remote_storage_samples_retried_total", &[&label]);
        assert!(retried.is_some_and(|retried| retried > 0.0), "{name}: no restart was noticed: {retried:?}");
    }
    gateway.terminate().await;
    Some(())
}

/// Everything was sent in order: what the receiver refused it had already.
fn assert_explained(name: &str, book: &Json, accepted: u64) {
    let count = |value: &Json| value.as_u64().unwrap_or(0);
    assert_eq!(count(&book["accepted"]), accepted, "{name}: {book}");
    assert_eq!(count(&book["delivered"]) + count(&book["dropped"]["resent"]), accepted, "{name}: {book}");
    assert_eq!(book["dead_lettered"], serde_json::json!({}), "{name}: {book}");
    assert_eq!(count(&book["expired"]), 0, "{name}: {book}");
}

#[test]
fn w90_a_prometheus_that_takes_nothing_out_of_order_misses_nothing_however_often_it_is_restarted() {
    let binary = gateway::binary();
    let directory = tempfile::tempdir().expect("a directory");
    let cycle = Duration::from_secs(number("WRITEGATE_E2E_UPTIME_SECONDS", 5)) + 2 * RESTART;
    let cycles = u32::try_from(number("WRITEGATE_E2E_RESTARTS", 5) + 1).expect("few restarts");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let scenario = async { tokio::time::timeout(cycle * cycles + ARRIVAL, run(&binary, directory.path())).await };
    runtime.block_on(scenario).expect("the scenario ends in time");
}

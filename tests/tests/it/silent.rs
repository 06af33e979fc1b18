//! Real receivers that answer remote write 2.0 with 204 and keep nothing of it, configured for 2.0: the gateway notices,
//! and they get everything in 1.0.

use std::path::Path;
use std::time::{Duration, Instant};

use remote_write::Protocol;
use testkit::load::Load;
use testkit::peers::Peer;
use testkit::sender::Sender;
use testkit::workload::{Workload, WorkloadSettings};

use crate::gateway::{self, Gateway, unbalanced};
use crate::http;
use crate::probe;
use crate::restarts::sent;
use crate::samples::Precision;
use crate::target::now_ms;

const LIMIT: Duration = Duration::from_secs(60);
const NAMES: [&str; 3] = ["prometheus-2-42", "prometheus-2-53", "victoriametrics"];

#[test]
fn w87_w88_receivers_that_ignore_2_0_get_everything_in_1_0() {
    let directory = tempfile::tempdir().expect("a directory");
    let binary = gateway::binary();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let run = async { tokio::time::timeout(2 * LIMIT, run(&binary, directory.path())).await };
    runtime.block_on(run).expect("it ends in time");
}

async fn run(binary: &Path, directory: &Path) -> Option<()> {
    let peers = [Peer::Prometheus242, Peer::Prometheus253, Peer::VictoriaMetrics1145];
    let mut receivers = Vec::new();
    for peer in peers {
        receivers.push(probe::start(directory, peer).await?);
    }
    let endpoint = |(name, base): (&str, &str)| {
        format!("name: {name}, url: \"{base}/api/v1/write\", protobuf_message: io.prometheus.write.v2.Request")
    };
    let bases = receivers.iter().map(|receiver| receiver.base.as_str());
    let endpoints: Vec<String> = NAMES.into_iter().zip(bases).map(endpoint).collect();
    let mut gateway = Gateway::start_with(binary, directory, &endpoints).await;
    let from = now_ms();
    let settings =
        WorkloadSettings { series: 200, series_per_request: 50, protocol: Protocol::V2, ..WorkloadSettings::default() };
    let load = Load::new(Workload::new(settings).into(), 20);
    let report = Sender::new(&gateway.push_url).expect("an http url").run(&load).await;
    assert_eq!((report.failures, report.refused.len(), report.sent.samples), (0, 0, 4_000), "{report:?}");
    let problem = http::settled(Instant::now() + LIMIT, async || unbalanced(&gateway.ledger().await, &NAMES)).await;
    assert_eq!(problem, None);
    let (sent, window) = (sent(&load, &report), (from - 1, now_ms()));
    for (name, receiver) in NAMES.iter().zip(&receivers) {
        let arrived = async || {
            let (there, precision) = if *name == "victoriametrics" {
                (receiver.exported_samples(r#"{__name__!=""}"#, window).await, Precision::Decimal)
            } else {
                (receiver.prometheus_samples(r#"{__name__=~".+"}"#, window).await, Precision::Exact)
            };
            sent.difference(&there, precision)
        };
        // VictoriaMetrics shows what it stored a little later.
        assert_eq!(http::settled(Instant::now() + LIMIT, arrived).await, None, "{name}");
    }
    gateway.terminate().await;
    Some(())
}

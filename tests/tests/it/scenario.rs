//! The one run that every test here asks about: five senders at once through one gateway into two receivers, with the
//! gateway ended both ways in between, and both receivers gone for a while.

use std::collections::{BTreeMap, BTreeSet};
use std::panic;
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::gateway::{self, Gateway, unbalanced};
use crate::http;
use crate::peers::{Running, SENDERS, Sender, start_receivers, start_sender};
use crate::samples::{Precision, Samples, metric};
use crate::target::{Target, now_ms};

/// Scrapes (one a second) before the compared window begins, so that every queue runs.
const WARM_UP: usize = 5;
/// Scrapes while the gateway is down, and after it came back.
const OUTAGE: usize = 3;
const RECOVERY: usize = 5;
/// How long the receivers may take to hold what the senders hold.
const ARRIVAL: Duration = Duration::from_secs(60);
/// How long everything but the undisturbed part may take.
const WHOLE: Duration = Duration::from_secs(480);
/// How much later than planned scrapes may be on a busy machine.
const SLACK: Duration = Duration::from_secs(60);

/// What the run showed.
#[derive(Debug)]
pub(crate) struct Findings {
    pub(crate) senders: BTreeMap<&'static str, Found>,
    /// What is wrong with the ledger when everything is delivered.
    pub(crate) ledger: Option<String>,
    pub(crate) metrics: String,
    /// Statuses other than 2xx that the gateway answered before its first end.
    pub(crate) refusals: f64,
}

/// What the run showed about one sender.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Everything that should not be.
    pub(crate) problems: Vec<String>,
    /// Samples compared with the sender's own, at Prometheus and at VictoriaMetrics.
    pub(crate) compared: (usize, usize),
    pub(crate) exemplars: usize,
    pub(crate) histograms: usize,
    pub(crate) log: String,
}

/// The run's findings; the first to ask runs it. `None` when a receiver is not installed.
pub(crate) fn findings() -> Option<&'static Findings> {
    static FINDINGS: OnceLock<Option<Option<Findings>>> = OnceLock::new();
    let run = || {
        let binary = gateway::binary();
        let directory = tempfile::tempdir().expect("a directory");
        let limit = Duration::from_secs((undisturbed_scrapes() + 2 * receivers_are_gone()) as u64) + WHOLE;
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let run = async { tokio::time::timeout(limit, run(&binary, directory.path())).await };
        runtime.block_on(run).expect("the scenario ends in time")
    };
    // A run that broke is not run again for the next claim.
    let findings = FINDINGS.get_or_init(|| panic::catch_unwind(run).ok());
    findings.as_ref().expect("the scenario broke off; the panic above says why").as_ref()
}

/// How long the senders push without a disturbance.
fn undisturbed_scrapes() -> usize {
    let seconds = std::env::var("WRITEGATE_E2E_SECONDS").ok();
    seconds.map_or(60, |seconds| seconds.parse().expect("WRITEGATE_E2E_SECONDS is a number of seconds"))
}

/// For how long both receivers are gone. The full run has an hour of it.
fn receivers_are_gone() -> usize {
    let seconds = std::env::var("WRITEGATE_E2E_OUTAGE_SECONDS").ok();
    seconds.map_or(10, |seconds| seconds.parse().expect("WRITEGATE_E2E_OUTAGE_SECONDS is a number of seconds"))
}

async fn run(binary: &Path, directory: &Path) -> Option<Findings> {
    let (mut prometheus, mut victoria) = start_receivers(directory).await?;
    let urls = [&prometheus, &victoria].map(|receiver| format!("{}/api/v1/write", receiver.base));
    let mut gateway =
        Gateway::start(binary, directory, &[("prometheus", &urls[0]), ("victoriametrics", &urls[1])]).await;
    let target = Target::start().await;
    let mut senders = Vec::new();
    for sender in SENDERS {
        let started = start_sender(sender, directory, target.address, &gateway.push_url).await;
        senders.extend(started.map(|running| (sender, running)));
    }
    let names: Vec<_> = senders.iter().map(|(sender, _)| sender.name()).collect();
    let scraped = async |more: usize| {
        let limit = Duration::from_secs(more as u64) + SLACK;
        target.scraped(&names, more, limit).await;
    };
    let mut found: BTreeMap<&'static str, Found> = names.iter().map(|name| (*name, Found::default())).collect();

    scraped(WARM_UP).await;
    let from = now_ms();
    scraped(undisturbed_scrapes()).await;
    for (sender, running) in &senders {
        let found = found.get_mut(sender.name()).expect("listed");
        found.problems.extend(lost(*sender, running).await);
        found.problems.extend(retried(*sender, running).await);
    }
    let page = gateway.metrics().await;
    let answers = |labels: &[&str]| metric(&page, "writegate_push_requests_total", labels).unwrap_or(0.0);
    let refusals = answers(&[]) - answers(&["code=\"20"]);

    gateway.terminate().await;
    scraped(OUTAGE).await;
    gateway.start_again().await;
    scraped(RECOVERY).await;
    gateway.kill();
    scraped(OUTAGE).await;
    gateway.start_again().await;
    scraped(RECOVERY).await;
    prometheus.stop(false).await;
    victoria.stop(false).await;
    scraped(receivers_are_gone()).await;
    prometheus.start_again().await;
    victoria.start_again().await;
    scraped(RECOVERY).await;
    let window = (from, now_ms());
    // A scrape is stored up to its timeout after its timestamp.
    scraped(2).await;

    let deadline = Instant::now() + ARRIVAL + Duration::from_secs(receivers_are_gone() as u64 / 4);
    for (sender, running) in &senders {
        let found = found.get_mut(sender.name()).expect("listed");
        let comparison = Comparison {
            sender: *sender,
            running,
            target: &target,
            prometheus: &prometheus,
            victoria: &victoria,
            window,
            deadline,
        };
        comparison.compare(found).await;
        found.problems.extend(lost(*sender, running).await);
        found.log = running.log();
    }
    drop(senders);
    let endpoints = ["prometheus", "victoriametrics"];
    let ledger =
        http::settled(Instant::now() + ARRIVAL, async || unbalanced(&gateway.ledger().await, &endpoints)).await;
    let metrics = gateway.metrics().await;
    gateway.terminate().await;
    Some(Findings { senders: found, ledger, metrics, refusals })
}

/// What the sender says it gave up.
async fn lost(sender: Sender, running: &Running) -> Vec<String> {
    let page = running.metrics().await;
    let mut problems = Vec::new();
    let mut expect_zero = |name: &str, labels: &[&str]| {
        let value = metric(&page, name, labels).unwrap_or(0.0);
        if value != 0.0 {
            problems.push(format!("{name}{labels:?} is {value}"));
        }
    };
    if sender.is_prometheus() {
        for kind in ["samples", "histograms", "exemplars", "metadata"] {
            expect_zero(&format!("prometheus_remote_storage_{kind}_failed_total"), &[]);
            expect_zero(&format!("prometheus_remote_storage_{kind}_dropped_total"), &[]);
        }
        let sent = metric(&page, "prometheus_remote_storage_samples_total", &[]);
        if sent.is_none_or(|sent| sent == 0.0) {
            problems.push(format!("prometheus_remote_storage_samples_total is {sent:?}"));
        }
    } else {
        expect_zero("vmagent_remotewrite_packets_dropped_total", &[]);
        for code in ["40", "41", "42"] {
            expect_zero("vmagent_remotewrite_requests_total", &[&format!("status_code=\"{code}")]);
        }
        let sent = metric(&page, "vmagent_remotewrite_requests_total", &["status_code=\"2"]);
        if sent.is_none_or(|sent| sent == 0.0) {
            problems.push(format!("vmagent_remotewrite_requests_total is {sent:?}"));
        }
    }
    problems
}

/// What the sender says it had to send again.
async fn retried(sender: Sender, running: &Running) -> Vec<String> {
    let names: &[&str] = if sender.is_prometheus() {
        &[
            "prometheus_remote_storage_samples_retried_total",
            "prometheus_remote_storage_histograms_retried_total",
            "prometheus_remote_storage_exemplars_retried_total",
            "prometheus_remote_storage_metadata_retried_total",
        ]
    } else {
        &["vmagent_remotewrite_retries_count_total", "vmagent_remotewrite_errors_total"]
    };
    let mut problems = Vec::new();
    for name in names {
        let value = running.metric(name, &[]).await.unwrap_or(0.0);
        if value != 0.0 {
            problems.push(format!("{name} is {value} before the gateway was ended"));
        }
    }
    problems
}

/// Everything needed to compare one sender's data.
struct Comparison<'a> {
    sender: Sender,
    running: &'a Running,
    target: &'a Target,
    prometheus: &'a Running,
    victoria: &'a Running,
    window: (i64, i64),
    /// Until when the receivers are asked again.
    deadline: Instant,
}

impl Comparison<'_> {
    /// Waits until the receivers hold what the sender holds, and notes what differs if they do not.
    async fn compare(&self, found: &mut Found) {
        if self.sender.is_prometheus() {
            let own = self.running.prometheus_samples(r#"{__name__=~".+"}"#, self.window).await;
            self.compare_with(found, &own, "").await;
            found.histograms = own.texts();
            self.compare_evaluation(found).await;
            self.compare_exemplars(found).await;
        } else {
            let served = self.served().await;
            self.compare_with(found, &served, r#",__name__=~"e2e_.+",__name__!="e2e_flapping""#).await;
            self.compare_receivers(found).await;
        }
    }

    /// The receivers' series that this sender sent and that fit the further matchers.
    fn selector(&self, matchers: &str) -> String {
        format!("{{sender=\"{}\"{matchers}}}", self.sender.name())
    }

    async fn compare_with(&self, found: &mut Found, own: &Samples, matchers: &str) {
        let selector = self.selector(matchers);
        let at_prometheus = async || {
            let there = self.prometheus.prometheus_samples(&selector, self.window).await.without("sender");
            own.difference(&there, Precision::Exact)
        };
        note(found, "at Prometheus", http::settled(self.deadline, at_prometheus).await);
        let finite = own.clone().finite();
        let at_victoria = async || {
            let there = self.victoria.exported_samples(&selector, self.window).await.without("sender");
            finite.difference(&there.finite().without_histograms_of(own), Precision::Decimal)
        };
        note(found, "at VictoriaMetrics", http::settled(self.deadline, at_victoria).await);
        found.compared = (own.len(), finite.len());
    }

    /// What the target served a sender that keeps nothing itself, in the window; without the scrapes that the sender
    /// counts as failed, of which there is nothing anywhere.
    async fn served(&self) -> Samples {
        let mut served = self.target.served(self.sender.name()).within(self.window);
        let page = self.running.metrics().await;
        let failed = ["vm_promscrape_scrapes_failed_total", "vm_promscrape_scrapes_timed_out_total"];
        let failed: f64 = failed.iter().filter_map(|name| metric(&page, name, &[])).sum();
        if failed > 0.0 {
            let there = self.prometheus.prometheus_samples(&self.selector(",job=\"target\""), self.window).await;
            let there: BTreeSet<_> = there.timestamps().collect();
            let lost: Vec<_> = served.timestamps().filter(|timestamp| !there.contains(timestamp)).collect();
            let lost: BTreeSet<_> = lost.into_iter().collect();
            for timestamp in lost.into_iter().take(failed as usize) {
                served.remove_at(timestamp);
            }
        }
        served
    }

    /// Both receivers must hold the same of it: also what it scraped from itself, which nobody else knows.
    async fn compare_receivers(&self, found: &mut Found) {
        let difference = async || {
            let [prometheus, victoria] = [
                self.prometheus.prometheus_samples(&self.selector(""), self.window).await.finite(),
                self.victoria.exported_samples(&self.selector(""), self.window).await.finite(),
            ];
            prometheus.difference(&victoria, Precision::Decimal)
        };
        note(found, "between the receivers", http::settled(self.deadline, difference).await);
    }

    /// The same query, asked at each second, has the same answer: also where a series ended with a stale marker.
    async fn compare_evaluation(&self, found: &mut Found) {
        // Prometheus 2 counts a sample at the far end of a range in, Prometheus 3 does not.
        let rates = self.sender != Sender::Prometheus242;
        for (query, there) in [
            ("e2e_flapping", format!("e2e_flapping{}", self.selector(""))),
            ("rate(e2e_requests_total[10s])", format!("rate(e2e_requests_total{}[10s])", self.selector(""))),
        ] {
            if query.starts_with("rate") && !rates {
                continue;
            }
            let own = self.running.prometheus_range(query, self.window).await;
            let there = self.prometheus.prometheus_range(&there, self.window).await.without("sender");
            if own.len() == 0 {
                found.problems.push(format!("{query} has no answer"));
            }
            note(found, query, own.difference(&there, Precision::Exact));
        }
    }

    async fn compare_exemplars(&self, found: &mut Found) {
        let own = self.running.prometheus_exemplars("e2e_requests_total", self.window).await;
        let there = format!("e2e_requests_total{}", self.selector(""));
        let there = self.prometheus.prometheus_exemplars(&there, self.window).await.without("sender");
        note(found, "exemplars", own.difference(&there, Precision::Exact));
        found.exemplars = own.len();
    }
}

fn note(found: &mut Found, what: &str, difference: Option<String>) {
    found.problems.extend(difference.map(|difference| format!("{what}: {difference}")));
}

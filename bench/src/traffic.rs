//! A case's load: made, sent, and accounted for per endpoint.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;
use testkit::load::{Load, Report, Run};
use testkit::recording::Recording;
use testkit::sender::Sender;
use testkit::series::Labels;
use testkit::workload::{Workload, WorkloadSettings};
use tokio::sync::Mutex;

use crate::case::{Amount, EndpointSpec, Rules, State, TrafficSpec};
use crate::contender::Contender;
use crate::gateway::Gateway;

/// Milliseconds between the rounds of a recording.
const STEP: i64 = 1;

/// How far ahead of its making a recording's first timestamp is, and how long it is of use to Prometheus: that sends no
/// sample from before its own start, and takes none from more than ten minutes ahead. Others do not mind.
const AHEAD: Duration = Duration::from_secs(300);
const FRESH: Duration = Duration::from_secs(240);

/// Loads recorded once for all runs of a section.
#[derive(Debug)]
pub(crate) struct Recordings {
    directory: TempDir,
    /// By the workload's settings and the number of rounds.
    made: Mutex<HashMap<String, (Instant, Arc<Recording>)>>,
}

impl Recordings {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self { directory: tempfile::tempdir()?, made: Mutex::default() })
    }

    async fn get(&self, workload: &Arc<Workload>, rounds: u32, contender: Contender) -> Result<Arc<Recording>> {
        let mut made = self.made.lock().await;
        let settings = workload.settings();
        let key = format!("{settings:?} {rounds}");
        if let Some((when, recording)) = made.get(&key)
            && (contender != Contender::PrometheusAgent || when.elapsed() < FRESH)
        {
            return Ok(Arc::clone(recording));
        }
        crate::say(&format!("recording {rounds} rounds of {} series", settings.series));
        let path = self.directory.path().join(made.len().to_string());
        let workload = Arc::clone(workload);
        let recording = tokio::task::spawn_blocking(move || {
            let first = SystemTime::now().duration_since(UNIX_EPOCH)? + AHEAD;
            let first = i64::try_from(first.as_millis())?;
            let recording = Recording::make(&workload, rounds, (first, STEP), &path)?;
            // It stays open, and goes when nobody sends from it any more.
            std::fs::remove_file(&path)?;
            anyhow::Ok(Arc::new(recording))
        });
        let recording = recording.await??;
        made.insert(key, (Instant::now(), Arc::clone(&recording)));
        Ok(recording)
    }
}

/// A load that can be sent to one gateway.
#[derive(Debug)]
pub(crate) struct Traffic {
    amount: Amount,
    senders: Vec<Sender>,
    load: Load,
}

impl Traffic {
    /// `seed` keeps the series of two loads apart.
    pub(crate) async fn new(spec: &TrafficSpec, seed: u64, gateway: &Gateway, recordings: &Recordings) -> Result<Self> {
        let settings = WorkloadSettings {
            series: spec.series,
            series_per_request: spec.samples_per_request,
            protocol: spec.protocol,
            seed,
            ..WorkloadSettings::default()
        };
        let workload = Arc::new(Workload::new(settings));
        let recording = match spec.amount {
            Amount::For(_) => None,
            // The warm-up's round as well.
            Amount::Rounds(rounds) => Some(recordings.get(&workload, rounds + 1, gateway.contender).await?),
        };
        let rate = spec.rate.map(f64::from);
        let load = Load { connections: spec.connections, rate, recording, ..Load::new(workload, 1) };
        Ok(Self { amount: spec.amount, senders: gateway.senders(spec.tenants, spec.first_tenant)?, load })
    }

    /// Sends every series once, as fast as answers come: caches are filled, queues run, and what is measured afterwards
    /// is the steady state.
    pub(crate) async fn warm_up(&self) -> Result<Report> {
        let load = Load { rate: None, ..self.load.clone() };
        checked(Sender::start_in_turns(&self.senders, &load).finish().await)
    }

    /// Begins to send what comes after the warm-up, until stopped.
    pub(crate) fn start(&self) -> Run {
        let load = Load { rounds: None, first_sequence: 1, ..self.load.clone() };
        Sender::start_in_turns(&self.senders, &load)
    }

    /// Lets a load run as long as the case says.
    pub(crate) async fn finish(&self, run: Run) -> Result<Report> {
        match self.amount {
            Amount::For(time) => finish_after(run, time).await,
            Amount::Rounds(_) => checked(run.finish().await),
        }
    }

    /// What each endpoint is to get of these requests.
    pub(crate) fn due(&self, report: &Report, endpoints: &[EndpointSpec]) -> Vec<u64> {
        let mut kept: HashMap<u32, u64> = HashMap::new();
        let mut ruled = |rules| -> u64 {
            let requests = report.acknowledged.iter().map(|slice| slice.request);
            requests.map(|request| *kept.entry(request).or_insert_with(|| self.kept(rules, request))).sum()
        };
        let due = endpoints.iter().map(|endpoint| match (endpoint.state, endpoint.rules) {
            (State::Dead, _) => 0,
            (_, Rules::KeepDrop) => ruled(Rules::KeepDrop),
            _ => report.sent.samples,
        });
        due.collect()
    }

    /// How many series of a request pass the rules.
    fn kept(&self, rules: Rules, request: u32) -> u64 {
        let WorkloadSettings { series, series_per_request: each, .. } = *self.load.workload.settings();
        let mut labels = Labels::default();
        let names = (request * each..series.min((request + 1) * each)).map(|series| {
            self.load.workload.write_labels(series, &mut labels);
            u64::from(rules.keep(labels.name()))
        });
        names.sum()
    }
}

/// Lets it run for that time.
pub(crate) async fn finish_after(run: Run, time: Duration) -> Result<Report> {
    tokio::time::sleep(time).await;
    checked(run.stop().await)
}

/// A load of which nothing was taken measures nothing.
fn checked(report: Report) -> Result<Report> {
    if report.sent.samples == 0 {
        bail!("nothing was acknowledged: {:?}, {:?}", report.statuses, report.last_failure);
    }
    Ok(report)
}

/// Answers that were no 2xx.
pub(crate) fn refusals(report: &Report) -> u64 {
    report.statuses.iter().filter(|(status, _)| !(200..300).contains(*status)).map(|(_, count)| count).sum()
}

/// Adds up what is due of several loads.
pub(crate) fn sum(mut all: Vec<u64>, more: &[u64]) -> Vec<u64> {
    for (all, more) in all.iter_mut().zip(more) {
        *all += more;
    }
    all
}

/// The most that any endpoint lacks of what is due.
pub(crate) fn most_lacking(due: &[u64], got: &[u64]) -> u64 {
    due.iter().zip(got).map(|(due, got)| due.saturating_sub(*got)).max().unwrap_or(0)
}

/// The samples of a load that is under way.
pub(crate) fn taken_so_far(run: &Run) -> Result<u64> {
    let progress = run.progress();
    if progress.sent.samples == 0 && progress.elapsed > Duration::from_secs(30) {
        bail!("nothing was acknowledged for 30 s: {:?}", progress.last_failure);
    }
    Ok(progress.sent.samples)
}

/// Where every endpoint must have what is due before something can be measured.
pub(crate) fn complete(due: &[u64], got: &[u64], gateway: &Gateway) -> Result<()> {
    let lacking = most_lacking(due, got);
    if lacking > 0 {
        let log = gateway.process.log().context("read the gateway's log")?;
        let tail: Vec<_> = log.lines().rev().take(5).collect();
        bail!(
            "an endpoint lacks {lacking} samples of the warm-up; the gateway's last words, newest first:\n{}",
            tail.join("\n")
        );
    }
    Ok(())
}

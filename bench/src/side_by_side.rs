//! The side-by-side run: every gateway in turn, again and again, so that a busy moment of the machine hits them all.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use testkit::load::{Load, Report};
use testkit::sender::Sender;
use testkit::workload::{Workload, WorkloadSettings};

use crate::contender::{Contender, build_writegate};
use crate::figures::{Figures, Used, occupied};
use crate::report::{self, Circumstances};
use crate::sinks::Sinks;
use crate::{SideBySide, machine, say};

/// Prometheus' `max_samples_per_send`, of which a request has one series each.
pub(crate) const SERIES_PER_REQUEST: u32 = 2_000;
pub(crate) const CONNECTIONS: u32 = 4;
/// How long no sink may get anything before what is missing counts as lost: retries pause up to a minute.
const PATIENCE: Duration = Duration::from_secs(65);

/// How fast the load comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Pace {
    /// At the given rate.
    Paced,
    /// As fast as answers come.
    FlatOut,
}

/// What a row of the report stands for.
pub(crate) type Case = (Pace, u16, Contender);

/// Runs everything and writes the report.
pub(crate) async fn run(settings: &SideBySide) -> Result<()> {
    if settings.only.contains(&Contender::Writegate) {
        build_writegate()?;
    }
    let mut versions = BTreeMap::new();
    for contender in &settings.only {
        match contender.version()? {
            Some(version) => drop(versions.insert(*contender, version)),
            None => say(&format!("skipped: {} is not installed; `cargo xtask peers` fetches it", contender.name())),
        }
    }
    let workload = WorkloadSettings {
        series: settings.series,
        series_per_request: SERIES_PER_REQUEST,
        ..WorkloadSettings::default()
    };
    let workload = Arc::new(Workload::new(workload));
    let circumstances = Circumstances { versions, load_before: machine::load() };
    let mut runs: BTreeMap<Case, Vec<Figures>> = BTreeMap::new();
    for number in 1..=settings.runs {
        for pace in [Pace::Paced, Pace::FlatOut] {
            for fan_out in &settings.fan_out {
                for contender in circumstances.versions.keys() {
                    let figures = measure(settings, &workload, (pace, *fan_out, *contender)).await;
                    let figures =
                        figures.with_context(|| format!("run {} to {fan_out} endpoints", contender.name()))?;
                    say(&format!("run {number}, {pace:?}, {fan_out} endpoints, {}: {figures:.3?}", contender.name()));
                    runs.entry((pace, *fan_out, *contender)).or_default().push(figures);
                }
            }
        }
    }
    let medians = runs.iter().map(|(case, runs)| (*case, Figures::median(runs))).collect();
    let text = report::markdown(settings, &circumstances, &medians)?;
    if let Some(directory) = settings.out.parent() {
        std::fs::create_dir_all(directory)?;
    }
    std::fs::write(&settings.out, &text).with_context(|| format!("write {}", settings.out.display()))?;
    say(&text);
    Ok(())
}

/// One gateway, one load, in fresh processes and an empty directory.
async fn measure(settings: &SideBySide, workload: &Arc<Workload>, case: Case) -> Result<Figures> {
    let (pace, fan_out, contender) = case;
    let directory = tempfile::tempdir()?;
    let mut sinks = Sinks::start(usize::from(fan_out)).await?;
    let gateway = contender.start(directory.path(), &sinks.urls, settings.protocol).await?;
    let sender = Sender::new(&gateway.push_url)?;

    // Every series once: caches are filled, queues run, and what is measured is the steady state.
    let load = Load { connections: CONNECTIONS, ..Load::new(Arc::clone(workload), 1) };
    let warm_up = sender.run(&load).await;
    check(&warm_up)?;
    let before = sinks.await_samples(warm_up.sent.samples, PATIENCE).await?;
    if before < warm_up.sent.samples {
        bail!("of {} samples only {before} reached every sink:\n{}", warm_up.sent.samples, gateway.process.log()?);
    }

    let used_before = Used::by(&gateway.process)?;
    let started = Instant::now();
    let load = Load {
        rate: (pace == Pace::Paced).then_some(f64::from(settings.rate)),
        rounds: None,
        first_sequence: 1,
        ..load
    };
    let sent = send_for(&sender, &load, Duration::from_secs(settings.seconds.into())).await;
    let loaded = started.elapsed();
    check(&sent)?;
    let samples = sent.sent.samples;
    let delivered = sinks.await_samples(before + samples, PATIENCE).await? - before;
    let drained = started.elapsed();
    let used = Used::by(&gateway.process)?;

    let per_sample = |bytes: u64| bytes as f64 / samples as f64;
    Ok(Figures {
        cpu: (used.cpu - used_before.cpu).as_secs_f64() * 1e6 / samples as f64,
        taken: samples as f64 / loaded.as_secs_f64(),
        delivered: delivered as f64 / drained.as_secs_f64(),
        memory: gateway.process.peak_memory()? as f64 / f64::from(1 << 20),
        ack_p50: sent.latencies.quantile(0.5).as_secs_f64() * 1e3,
        ack_p99: sent.latencies.quantile(0.99).as_secs_f64() * 1e3,
        received: per_sample(sent.body_bytes),
        on_disk: occupied(&gateway.data)? as f64 / (samples + warm_up.sent.samples) as f64,
        written: per_sample(used.written - used_before.written),
        lost: samples.saturating_sub(delivered) as f64,
        refused: refusals(&sent) as f64,
    })
}

/// Sends until the time is up.
async fn send_for(sender: &Sender, load: &Load, time: Duration) -> Report {
    let run = sender.start(load);
    tokio::time::sleep(time).await;
    run.stop().await
}

/// A load of which nothing was taken measures nothing.
fn check(report: &Report) -> Result<()> {
    if report.sent.samples == 0 {
        bail!("nothing was acknowledged: {:?}, {:?}", report.statuses, report.last_failure);
    }
    Ok(())
}

fn refusals(report: &Report) -> u64 {
    report.statuses.iter().filter(|(status, _)| !(200..300).contains(*status)).map(|(_, count)| count).sum()
}

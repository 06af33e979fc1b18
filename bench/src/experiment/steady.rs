//! A load from start to end: what it costs, how fast it is taken and delivered.

use std::time::Instant;

use anyhow::Result;

use super::{Outcome, milliseconds};
use crate::case::{Case, State};
use crate::figures::{Figure, Figures};
use crate::stage::{PATIENCE, Stage};
use crate::traffic::{self, Recordings, Traffic};
use crate::usage::{Used, mebibytes, occupied};

pub(super) async fn run(case: &Case, recordings: &Recordings) -> Result<Outcome> {
    let mut stage = Stage::set(case).await?;
    let traffic = Traffic::new(&case.traffic, 1, &stage.gateway, recordings).await?;
    let background = match &case.background {
        Some(spec) => Some(Traffic::new(spec, 2, &stage.gateway, recordings).await?),
        None => None,
    };

    let warm_up = stage.warm_up(case, std::iter::once(&traffic).chain(&background)).await?;
    // Those of the warm-up are of no interest.
    stage.sinks.arrivals().await?;

    let used_before = Used::by(&stage.gateway.process)?;
    let started = Instant::now();
    let other = background.as_ref().map(|traffic| (traffic, traffic.start()));
    let report = traffic.finish(traffic.start()).await?;
    let mut samples = report.sent.samples;
    let mut body_bytes = report.body_bytes;
    let mut due_now = traffic.due(&report, &case.endpoints);
    if let Some((traffic, run)) = other {
        let report = run.stop().await;
        samples += report.sent.samples;
        body_bytes += report.body_bytes;
        due_now = traffic::sum(due_now, &traffic.due(&report, &case.endpoints));
    }
    let loaded = started.elapsed();
    let due = traffic::sum(warm_up.due, &due_now);
    let got = stage.sinks.await_samples(&due, PATIENCE).await?;
    let drained = started.elapsed();
    let (cpu, written) = Used::by(&stage.gateway.process)?.per_sample(used_before, samples);

    let lost = traffic::most_lacking(&due, &got);
    let on_disk = occupied(&stage.gateway.data)? as f64 / (samples + warm_up.samples) as f64;
    let mut figures = Figures::from([
        (Figure::Cpu, cpu),
        (Figure::Memory, mebibytes(stage.gateway.process.peak_memory()?)),
        (Figure::Taken, samples as f64 / loaded.as_secs_f64()),
        (Figure::Delivered, samples.saturating_sub(lost) as f64 / drained.as_secs_f64()),
        (Figure::AckP50, milliseconds(report.latencies.quantile(0.5))),
        (Figure::AckP99, milliseconds(report.latencies.quantile(0.99))),
        (Figure::Received, body_bytes as f64 / samples as f64),
        (Figure::OnDisk, on_disk),
        (Figure::Written, written),
        (Figure::Lost, lost as f64),
        (Figure::Refused, traffic::refusals(&report) as f64),
    ]);
    // What was recorded bears no time of sending.
    let timed = std::iter::once(&case.traffic).chain(&case.background).all(|traffic| traffic.amount.is_timed());
    let arrivals = if timed { stage.sinks.arrivals().await? } else { Vec::new() };
    let healthy = arrivals.iter().zip(&case.endpoints).filter(|(_, endpoint)| endpoint.state == State::Healthy);
    let worst = healthy.map(|(arrivals, _)| arrivals).max_by(|one, other| one.p99_ms.total_cmp(&other.p99_ms));
    if let Some(arrivals) = worst {
        figures.extend([(Figure::ArrivalP50, arrivals.p50_ms), (Figure::ArrivalP99, arrivals.p99_ms)]);
    }
    Ok(figures.into())
}

//! All endpoints are down while samples are pushed, and come up at once: how fast, and at what cost, they get them.

use std::time::Instant;

use anyhow::{Result, bail};

use super::Outcome;
use crate::case::Case;
use crate::figures::{Figure, Figures};
use crate::stage::{PATIENCE, Stage};
use crate::traffic::{self, Recordings, Traffic};
use crate::usage::{Used, mebibytes, occupied};

pub(super) async fn run(case: &Case, recordings: &Recordings, samples: u64) -> Result<Outcome> {
    let mut stage = Stage::set(case).await?;
    let traffic = Traffic::new(&case.traffic, 1, &stage.gateway, recordings).await?;
    let used_before = Used::by(&stage.gateway.process)?;
    let started = Instant::now();
    let run = traffic.start();
    let mut ticks = tokio::time::interval(std::time::Duration::from_millis(100));
    while traffic::taken_so_far(&run)? < samples {
        ticks.tick().await;
    }
    let report = run.stop().await;
    let pushed = started.elapsed();
    let on_disk = occupied(&stage.gateway.data)?;
    let due = traffic.due(&report, &case.endpoints);

    let raised = Instant::now();
    for index in 0..case.endpoints.len() {
        stage.sinks.up(index).await?;
    }
    let one_each = vec![1; due.len()];
    let first = stage.sinks.await_samples(&one_each, PATIENCE).await?;
    if first.contains(&0) {
        bail!("an endpoint that came up got nothing");
    }
    let first_after = raised.elapsed();
    let got = stage.sinks.await_samples(&due, PATIENCE).await?;
    let drained = raised.elapsed().saturating_sub(first_after);

    let samples = report.sent.samples;
    let lost = traffic::most_lacking(&due, &got);
    let (cpu, written) = Used::by(&stage.gateway.process)?.per_sample(used_before, samples);
    let figures = Figures::from([
        (Figure::Cpu, cpu),
        (Figure::Memory, mebibytes(stage.gateway.process.peak_memory()?)),
        (Figure::Taken, samples as f64 / pushed.as_secs_f64()),
        (Figure::FirstAfter, first_after.as_secs_f64()),
        (Figure::Delivered, samples.saturating_sub(lost) as f64 / drained.as_secs_f64()),
        (Figure::Received, report.body_bytes as f64 / samples as f64),
        (Figure::OnDisk, on_disk as f64 / samples as f64),
        (Figure::Written, written),
        (Figure::Lost, lost as f64),
    ]);
    Ok(figures.into())
}

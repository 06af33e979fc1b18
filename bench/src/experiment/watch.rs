//! Looks at a gateway again and again while a load runs.

use std::time::{Duration, Instant};

use anyhow::Result;
use testkit::load::Run;

use super::Watched;
use crate::stage::Stage;
use crate::traffic;
use crate::usage::mebibytes;

/// What was seen at one moment.
#[derive(Clone, Debug)]
pub(super) struct Moment {
    /// Seconds since the load's start.
    pub(super) at: f64,
    /// Samples that each endpoint lacks of those acknowledged.
    pub(super) lags: Vec<u64>,
    /// Resident, in MiB.
    pub(super) memory: f64,
    pub(super) cpu: Duration,
}

impl Moment {
    /// The lag of the slowest endpoint.
    pub(super) fn lag(&self) -> u64 {
        self.lags.iter().copied().max().unwrap_or(0)
    }
}

/// Everything that was seen, in order.
#[derive(Debug)]
pub(super) struct Watch {
    started: Instant,
    /// What endpoints have of an earlier load.
    before: Vec<u64>,
    pub(super) moments: Vec<Moment>,
}

impl Watch {
    pub(super) fn new(before: Vec<u64>) -> Self {
        Self { started: Instant::now(), before, moments: Vec::new() }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Looks once.
    pub(super) async fn look(&mut self, stage: &mut Stage, run: &Run) -> Result<&Moment> {
        // The acknowledged ones first: what arrives in between makes the lag smaller, never larger.
        let taken = traffic::taken_so_far(run)?;
        let counts = stage.sinks.counts().await?;
        let lags = counts.iter().zip(&self.before).map(|(count, before)| taken.saturating_sub(count - before));
        let process = &stage.gateway.process;
        let moment = Moment {
            at: self.started.elapsed().as_secs_f64(),
            lags: lags.collect(),
            memory: mebibytes(process.memory()?),
            cpu: process.cpu_time()?,
        };
        let index = self.moments.len();
        self.moments.push(moment);
        // It was pushed in the line before.
        self.moments.get(index).ok_or_else(|| anyhow::anyhow!("a moment is gone"))
    }

    /// Looks every so often until the time since the start has passed.
    pub(super) async fn until(&mut self, stage: &mut Stage, run: &Run, time: Duration, every: Duration) -> Result<()> {
        let mut ticks = tokio::time::interval(every);
        while self.elapsed() < time {
            ticks.tick().await;
            self.look(stage, run).await?;
        }
        Ok(())
    }

    /// As lines of a plot.
    pub(super) fn lines(&self) -> Vec<(Watched, Vec<(f64, f64)>)> {
        let line = |value: fn(&Moment) -> f64| self.moments.iter().map(|moment| (moment.at, value(moment))).collect();
        vec![(Watched::Lag, line(|moment| moment.lag() as f64)), (Watched::Memory, line(|moment| moment.memory))]
    }

    /// The cores used between one look and the next.
    pub(super) fn cores(&self) -> Vec<(f64, f64)> {
        let pairs = self.moments.iter().zip(self.moments.iter().skip(1));
        let used = pairs.map(|(before, after)| {
            (after.at, after.cpu.saturating_sub(before.cpu).as_secs_f64() / (after.at - before.at).max(1e-3))
        });
        used.collect()
    }
}

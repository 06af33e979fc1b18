//! What is done in a run, one file each. All measure from outside: `/proc`, the senders' clock, the receivers' counts.

mod backlog;
mod outage;
mod soak;
mod start;
mod steady;
mod watch;

use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::case::{Case, Experiment};
use crate::figures::Figures;
use crate::traffic::Recordings;

/// What came of a run.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// One set, or several where what is repeated is only the last part.
    pub(crate) figures: Vec<Figures>,
    /// What was watched, over time in seconds.
    pub(crate) lines: Vec<(Watched, Vec<(f64, f64)>)>,
}

impl From<Figures> for Outcome {
    fn from(figures: Figures) -> Self {
        Self { figures: vec![figures], lines: Vec::new() }
    }
}

/// What is watched in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Watched {
    /// Samples that were acknowledged and have not arrived at the slowest endpoint.
    Lag,
    /// Resident, in MiB.
    Memory,
    /// In cores.
    Cpu,
}

/// Runs the case once, in no more than its time.
pub(crate) async fn run(case: &Case, recordings: &Recordings) -> Result<Outcome> {
    let work = async {
        match case.experiment {
            Experiment::Steady => Box::pin(steady::run(case, recordings)).await,
            Experiment::Backlog { samples } => Box::pin(backlog::run(case, recordings, samples)).await,
            Experiment::Start { bytes, starts } => Box::pin(start::run(case, recordings, bytes, starts)).await,
            Experiment::Outage { down } => Box::pin(outage::run(case, recordings, down)).await,
            Experiment::Soak { time, every } => Box::pin(soak::run(case, recordings, time, every)).await,
        }
    };
    let limit = case.limit();
    tokio::time::timeout(limit, work).await.with_context(|| format!("took longer than {limit:?}"))?
}

/// In milliseconds.
fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

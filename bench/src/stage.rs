//! Everything that runs in one run of a case: the receivers, the gateway, and its directory.

use std::time::Duration;

use anyhow::Result;
use tempfile::TempDir;

use crate::case::{Case, Experiment, State};
use crate::gateway::Gateway;
use crate::sinks::{Sink, Sinks};
use crate::traffic::{self, Traffic};

/// How long no sink may get anything before what is missing counts as lost: vmagent's and Prometheus' pauses between
/// retries grow up to a minute.
pub(crate) const PATIENCE: Duration = Duration::from_secs(65);

/// In the order in which they end: the gateway is killed first, its directory removed last.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) gateway: Gateway,
    pub(crate) sinks: Sinks,
    pub(crate) directory: TempDir,
}

impl Stage {
    /// Fresh processes and an empty directory.
    pub(crate) async fn set(case: &Case) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let starts_down = matches!(case.experiment, Experiment::Backlog { .. } | Experiment::Start { .. });
        let behaviour = case.endpoints.iter().map(|endpoint| Sink {
            answers_after_ms: match endpoint.state {
                State::Slow(delay) => delay.as_millis() as u64,
                State::Healthy | State::Dead => 0,
            },
            down: starts_down || endpoint.state == State::Dead,
        });
        let sinks = Sinks::start(&behaviour.collect::<Vec<_>>()).await?;
        let gateway = Gateway::start(case, directory.path(), &sinks.urls).await?;
        Ok(Self { gateway, sinks, directory })
    }
    /// Sends every series once, so that caches are filled and queues run, and waits until all of it is where it is due.
    pub(crate) async fn warm_up(&mut self, case: &Case, traffic: impl IntoIterator<Item = &Traffic>) -> Result<WarmUp> {
        let (mut samples, mut due) = (0, vec![0; case.endpoints.len()]);
        for traffic in traffic {
            let report = traffic.warm_up().await?;
            samples += report.sent.samples;
            due = traffic::sum(due, &traffic.due(&report, &case.endpoints));
        }
        let got = self.sinks.await_samples(&due, PATIENCE).await?;
        traffic::complete(&due, &got, &self.gateway)?;
        Ok(WarmUp { samples, due, got })
    }
}

/// What was sent to warm up, and what of it each endpoint must have and has.
#[derive(Debug)]
pub(crate) struct WarmUp {
    pub(crate) samples: u64,
    pub(crate) due: Vec<u64>,
    pub(crate) got: Vec<u64>,
}

//! A large log is made once, and the gateway started on it again and again.

use std::time::Duration;

use anyhow::{Result, bail};

use super::Outcome;
use crate::case::Case;
use crate::figures::{Figure, Figures};
use crate::gateway::Gateway;
use crate::machine;
use crate::stage::Stage;
use crate::traffic::{self, Recordings, Traffic};
use crate::usage::{mebibytes, occupied};

/// What must stay free beside the log.
const SPARE: u64 = 5 << 30;
const ENDS_WITHIN: Duration = Duration::from_secs(60);

pub(super) async fn run(case: &Case, recordings: &Recordings, bytes: u64, starts: u32) -> Result<Outcome> {
    let mut stage = Stage::set(case).await?;
    let free = machine::free_bytes(stage.directory.path()).unwrap_or(0);
    if free < bytes + SPARE {
        bail!("skipped: a log of {bytes} bytes and {SPARE} to spare do not fit into the {free} bytes that are free");
    }
    let traffic = Traffic::new(&case.traffic, 1, &stage.gateway, recordings).await?;
    let run = traffic.start();
    let mut ticks = tokio::time::interval(Duration::from_millis(500));
    while occupied(&stage.gateway.data)? < bytes {
        ticks.tick().await;
        traffic::taken_so_far(&run)?;
    }
    run.stop().await;

    let mut outcome = Outcome::default();
    for _ in 0..starts {
        stage.gateway.process.terminate(ENDS_WITHIN).await?;
        stage.gateway = Gateway::start(case, stage.directory.path(), &stage.sinks.urls).await?;
        let ready = stage.gateway.ready_after;
        stage.gateway.process.kill()?;
        stage.gateway = Gateway::start(case, stage.directory.path(), &stage.sinks.urls).await?;
        outcome.figures.push(Figures::from([
            (Figure::Ready, ready.as_secs_f64()),
            (Figure::ReadyAfterKill, stage.gateway.ready_after.as_secs_f64()),
            (Figure::Memory, mebibytes(stage.gateway.process.peak_memory()?)),
        ]));
    }
    Ok(outcome)
}

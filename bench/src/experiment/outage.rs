//! One endpoint goes away for a while: how its lag grows and goes, what memory that takes, and what the others notice.

use std::time::Duration;

use anyhow::Result;

use super::Outcome;
use super::watch::Watch;
use crate::case::Case;
use crate::figures::{Figure, Figures};
use crate::stage::{PATIENCE, Stage, WarmUp};
use crate::traffic::{self, Recordings, Traffic};
use crate::usage::mebibytes;

/// The endpoint that goes.
const GONE: usize = 0;

/// An endpoint whose lag is less than this time's samples has caught up.
const CAUGHT_UP: f64 = 0.5;

pub(super) async fn run(case: &Case, recordings: &Recordings, down: Duration) -> Result<Outcome> {
    let every = Duration::from_secs(1).min(down / 10);
    let quiet = every * 5;
    let mut stage = Stage::set(case).await?;
    let traffic = Traffic::new(&case.traffic, 1, &stage.gateway, recordings).await?;
    let WarmUp { due, got, .. } = stage.warm_up(case, [&traffic]).await?;

    let run = traffic.start();
    let mut watch = Watch::new(got);
    watch.until(&mut stage, &run, quiet, every).await?;
    stage.sinks.down(GONE).await?;
    watch.until(&mut stage, &run, quiet + down, every).await?;
    stage.sinks.up(GONE).await?;
    let raised = watch.elapsed();

    let small = f64::from(case.traffic.rate.unwrap_or(0)) * CAUGHT_UP;
    let mut caught_up = None;
    let mut ticks = tokio::time::interval(every);
    while caught_up.is_none() && watch.elapsed() < raised + down + PATIENCE {
        ticks.tick().await;
        let moment = watch.look(&mut stage, &run).await?;
        let lag = moment.lags.get(GONE).copied().unwrap_or(0);
        caught_up = ((lag as f64) <= small).then_some(moment.at - raised.as_secs_f64());
    }
    let end = watch.elapsed() + quiet;
    watch.until(&mut stage, &run, end, every).await?;
    let report = run.stop().await;
    let due = traffic::sum(due, &traffic.due(&report, &case.endpoints));
    let got = stage.sinks.await_samples(&due, PATIENCE).await?;

    let others = watch.moments.iter().flat_map(|moment| moment.lags.iter().skip(GONE + 1));
    let mut figures = Figures::from([
        (Figure::Memory, mebibytes(stage.gateway.process.peak_memory()?)),
        (Figure::HealthyLag, others.copied().max().unwrap_or(0) as f64),
        (Figure::Lost, traffic::most_lacking(&due, &got) as f64),
        (Figure::Refused, traffic::refusals(&report) as f64),
    ]);
    figures.extend(caught_up.map(|after| (Figure::CaughtUp, after)));
    Ok(Outcome { figures: vec![figures], lines: watch.lines() })
}

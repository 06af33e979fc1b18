//! A steady load for a long time: memory and lag must stay what they are.

use std::time::Duration;

use anyhow::Result;

use super::watch::{Moment, Watch};
use super::{Outcome, Watched};
use crate::case::Case;
use crate::figures::{Figure, Figures};
use crate::stage::{PATIENCE, Stage, WarmUp};
use crate::traffic::{self, Recordings, Traffic};
use crate::usage::mebibytes;

pub(super) async fn run(case: &Case, recordings: &Recordings, time: Duration, every: Duration) -> Result<Outcome> {
    let mut stage = Stage::set(case).await?;
    let traffic = Traffic::new(&case.traffic, 1, &stage.gateway, recordings).await?;
    let WarmUp { due, got, .. } = stage.warm_up(case, [&traffic]).await?;

    let run = traffic.start();
    let mut watch = Watch::new(got);
    watch.until(&mut stage, &run, time, every).await?;
    let report = run.stop().await;
    let due = traffic::sum(due, &traffic.due(&report, &case.endpoints));
    let got = stage.sinks.await_samples(&due, PATIENCE).await?;

    let rate = f64::from(case.traffic.rate.unwrap_or(1));
    let most_lag = watch.moments.iter().map(Moment::lag).max().unwrap_or(0);
    let (early, late) = early_and_late(&watch.moments);
    let figures = Figures::from([
        (Figure::Memory, mebibytes(stage.gateway.process.peak_memory()?)),
        (Figure::MemoryEarly, early),
        (Figure::MemoryLate, late),
        (Figure::LagSeconds, most_lag as f64 / rate),
        (Figure::Taken, report.sent.samples as f64 / report.elapsed.as_secs_f64()),
        (Figure::Lost, traffic::most_lacking(&due, &got) as f64),
        (Figure::Refused, traffic::refusals(&report) as f64),
    ]);
    let mut lines = watch.lines();
    lines.push((Watched::Cpu, watch.cores()));
    Ok(Outcome { figures: vec![figures], lines })
}

/// The memory at the end of the first fifth, and the most in the last tenth.
fn early_and_late(moments: &[Moment]) -> (f64, f64) {
    let early = moments.get(moments.len() / 5).map_or(0.0, |moment| moment.memory);
    let late = moments.iter().skip(moments.len() * 9 / 10).map(|moment| moment.memory).fold(0.0, f64::max);
    (early, late)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_compared_between_the_first_fifths_end_and_the_last_tenth() {
        let moment = |at: u32| Moment { at: at.into(), lags: Vec::new(), memory: at.into(), cpu: Duration::ZERO };
        let moments: Vec<_> = (0..100).map(moment).collect();
        assert_eq!(early_and_late(&moments), (20.0, 99.0));
        assert_eq!(early_and_late(&[]), (0.0, 0.0));
    }
}

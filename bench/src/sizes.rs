//! How large everything is: what the command line says, and what `--quick` makes of it.

use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};

use crate::case::{Amount, TrafficSpec};
use crate::contender::Contender;

#[derive(Clone, Debug, Args)]
pub(crate) struct SizeArgs {
    /// Everything small and once: whether it works, not how well
    #[arg(long)]
    pub(crate) quick: bool,
    /// How often each case is run; the medians are reported [default: 5; quick: 1]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    runs: Option<u32>,
    /// How long a load lasts in seconds, where it is not a number of samples [default: 6; quick: 1]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: Option<u32>,
    /// Samples of the backlog; peers get at most 20 million [default: 100000000; quick: 500000]
    #[arg(long)]
    backlog: Option<u64>,
    /// How long the endpoint is away in `outage` [default: 60s; quick: 3s]
    #[arg(long, value_parser = duration)]
    outage: Option<Duration>,
    /// GiB of the log in `start`; with quick 64 MiB unless given [default: 20]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    log: Option<u32>,
    /// Which gateways run
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Contender::value_variants().to_vec())]
    only: Vec<Contender>,
}

impl SizeArgs {
    pub(crate) fn only(&self) -> &[Contender] {
        &self.only
    }
}

/// The sizes of a session.
#[derive(Clone, Debug)]
pub(crate) struct Sizes {
    pub(crate) quick: bool,
    pub(crate) runs: u32,
    pub(crate) time: Duration,
    pub(crate) backlog: u64,
    pub(crate) outage: Duration,
    pub(crate) log_bytes: u64,
    /// Those that are wanted and there.
    pub(crate) contenders: Vec<Contender>,
}

impl Sizes {
    pub(crate) fn new(args: &SizeArgs, installed: impl Fn(Contender) -> bool) -> Self {
        let quick = args.quick;
        let seconds = args.seconds.unwrap_or(if quick { 1 } else { 6 });
        let log = args.log.map(|gibibytes| u64::from(gibibytes) << 30);
        Self {
            quick,
            runs: args.runs.unwrap_or(if quick { 1 } else { 5 }),
            time: Duration::from_secs(seconds.into()),
            backlog: args.backlog.unwrap_or(if quick { 500_000 } else { 100_000_000 }),
            outage: args.outage.unwrap_or_else(|| Duration::from_secs(if quick { 3 } else { 60 })),
            log_bytes: log.unwrap_or(if quick { 64 << 20 } else { 20 << 30 }),
            contenders: args.only.iter().copied().filter(|contender| installed(*contender)).collect(),
        }
    }

    /// One of two.
    pub(crate) fn pick<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }

    /// The traffic of most cases, as fast as answers come.
    pub(crate) fn traffic(&self) -> TrafficSpec {
        TrafficSpec::new(self.pick(100_000, 20_000), Amount::For(self.time))
    }

    /// Those of these that run. Quick is without all peers but one, except where they are the point.
    pub(crate) fn contenders(&self, among: &[Contender]) -> Vec<Contender> {
        let dispensable = |contender: &Contender| {
            self.quick && matches!(contender, Contender::VmagentZstd | Contender::PrometheusAgent)
        };
        self.all(among).into_iter().filter(|contender| !dispensable(contender)).collect()
    }

    /// Those of these that run.
    pub(crate) fn all(&self, among: &[Contender]) -> Vec<Contender> {
        among.iter().copied().filter(|contender| self.contenders.contains(contender)).collect()
    }
}

/// `90s`, `30m`, `2h`.
pub(crate) fn duration(text: &str) -> Result<Duration> {
    let (number, unit) = text.split_at(text.len().saturating_sub(1));
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        _ => 0,
    };
    let number: Option<u64> = number.parse().ok().filter(|number| *number > 0 && seconds > 0);
    let number = number.with_context(|| format!("use {text:?} as a time: write 90s, 30m or 2h"))?;
    Ok(Duration::from_secs(number.saturating_mul(seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit() {
        for (text, seconds) in [("20s", 20), ("3m", 180), ("2h", 7_200)] {
            assert_eq!(duration(text).expect("a time"), Duration::from_secs(seconds));
        }
        for text in ["", "5", "s", "-1s", "0s", "2d", "1 h"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}

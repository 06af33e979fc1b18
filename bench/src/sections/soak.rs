//! A long steady load; a command of its own.

use std::time::Duration;

use super::About;
use crate::case::{Amount, Case, Experiment, TrafficSpec};
use crate::contender::Contender;
use crate::figures::Figure;

pub(crate) const ABOUT: About = About {
    title: "Soak",
    text: "A steady load to three endpoints for a long time, by `bench soak`. *Memory early* is what was resident at the end of \
           the first fifth, *memory late* the most in the last tenth; *most lag* is what the slowest endpoint lacked at \
           the worst moment, in seconds of the load.",
    varies: "load",
    columns: &[
        Figure::MemoryEarly,
        Figure::MemoryLate,
        Figure::Memory,
        Figure::LagSeconds,
        Figure::Taken,
        Figure::Lost,
        Figure::Refused,
    ],
    repeats: false,
};

/// The case.
pub(crate) fn case(time: Duration, every: Duration, rate: u32, series: u32) -> Case {
    let traffic = TrafficSpec { rate: Some(rate), ..TrafficSpec::new(series, Amount::For(time)) };
    let name = format!("{} s at {} samples/s", time.as_secs(), crate::figures::thousands(rate.into()));
    Case {
        experiment: Experiment::Soak { time, every },
        ..Case::new(&name, time.as_secs_f64(), Contender::Writegate, traffic)
    }
}

/// How much more memory may be resident late than early.
pub(crate) const MEMORY_MAY_GROW: f64 = 1.1;

/// The most lag, in seconds of the load.
pub(crate) const LAG_SECONDS: f64 = 5.0;

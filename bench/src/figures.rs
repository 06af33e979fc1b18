//! What is measured in a run, and the medians of several.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One measured number. Its heading says its unit, [`Figure::legend`] what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Figure {
    Cpu,
    /// Made when the report is: in proportion to vmagent.
    CpuRatio,
    /// Made when the report is: per endpoint after the first.
    CpuEach,
    /// Made when the report is: over the case without rules.
    CpuOver,
    Memory,
    Taken,
    Delivered,
    AckP50,
    AckP99,
    ArrivalP50,
    ArrivalP99,
    Received,
    OnDisk,
    /// Made when the report is: bytes on disk per byte received.
    DiskRatio,
    Written,
    FirstAfter,
    CaughtUp,
    HealthyLag,
    Ready,
    ReadyAfterKill,
    MemoryEarly,
    MemoryLate,
    LagSeconds,
    Lost,
    Refused,
}

/// One run's figures.
pub(crate) type Figures = BTreeMap<Figure, f64>;

/// A figure over several runs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Spread {
    /// A figure that was not measured but calculated.
    pub(crate) const fn of(value: f64) -> Self {
        Self { median: value, low: value, high: value }
    }
}

/// The median of each figure that any of the runs has.
pub(crate) fn medians(runs: &[Figures]) -> BTreeMap<Figure, Spread> {
    let mut values: BTreeMap<Figure, Vec<f64>> = BTreeMap::new();
    for (figure, value) in runs.iter().flatten() {
        values.entry(*figure).or_default().push(*value);
    }
    values.into_iter().filter_map(|(figure, values)| Some((figure, spread(values)?))).collect()
}

fn spread(mut values: Vec<f64>) -> Option<Spread> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    let lower = if values.len().is_multiple_of(2) { *values.get(middle - 1)? } else { upper };
    Some(Spread { median: f64::midpoint(lower, upper), low: *values.first()?, high: *values.last()? })
}

impl Figure {
    /// Of a table's column, with the unit.
    pub(crate) const fn heading(self) -> &'static str {
        match self {
            Self::Cpu => "CPU s per million samples",
            Self::CpuRatio => "÷ vmagent",
            Self::CpuEach => "CPU s, each further endpoint",
            Self::CpuOver => "CPU s, more than without rules",
            Self::Memory => "peak memory, MiB",
            Self::Taken => "taken, samples/s",
            Self::Delivered => "delivered, samples/s",
            Self::AckP50 => "ack p50, ms",
            Self::AckP99 => "ack p99, ms",
            Self::ArrivalP50 => "arrival p50, ms",
            Self::ArrivalP99 => "arrival p99, ms",
            Self::Received => "received, B/sample",
            Self::OnDisk => "on disk, B/sample",
            Self::DiskRatio => "on disk ÷ received",
            Self::Written => "written, B/sample",
            Self::FirstAfter => "first sample after, s",
            Self::CaughtUp => "caught up after, s",
            Self::HealthyLag => "most lag of the others, samples",
            Self::Ready => "ready after SIGTERM, s",
            Self::ReadyAfterKill => "ready after SIGKILL, s",
            Self::MemoryEarly => "memory early, MiB",
            Self::MemoryLate => "memory late, MiB",
            Self::LagSeconds => "most lag, s of samples",
            Self::Lost => "lost",
            Self::Refused => "refused",
        }
    }

    /// One sentence for the legend; `None` where the heading says it all.
    pub(crate) const fn legend(self) -> Option<&'static str> {
        Some(match self {
            Self::Cpu => {
                "*CPU*: user and system time of the gateway's process, from the load's start until every endpoint has \
                 everything, per million samples received; in parentheses the least and the most of the runs."
            }
            Self::CpuRatio => {
                "*÷ vmagent*: CPU in proportion to vmagent with snappy in the same case and session; of all figures \
                 the one that other machines should repeat."
            }
            Self::Memory => "*Peak memory*: `VmHWM`, from the process' start on.",
            Self::Taken => "*Taken*: acknowledged to the senders.",
            Self::Delivered => {
                "*Delivered*: what each endpoint got, from the load's start (of a backlog: from the first sample) \
                 until the slowest had everything."
            }
            Self::AckP50 | Self::AckP99 => {
                "*Ack*: from a request's first byte to its complete answer, at the sender; within 6 %."
            }
            Self::ArrivalP50 | Self::ArrivalP99 => {
                "*Arrival*: from a request's encoding at the sender to its samples' arrival at the slowest endpoint \
                 that is neither dead nor slow; within 6 %, and the sender's millisecond clock."
            }
            Self::OnDisk => "*On disk*: blocks of the data directory when everything was delivered.",
            Self::Written => {
                "*Written*: what the kernel accounts to the process as written to the device (segments that are \
                 written ahead count twice)."
            }
            Self::Lost => "*Lost*: samples that an endpoint should have got and never did.",
            Self::Refused => "*Refused*: requests not answered with 2xx, and sent again.",
            _ => return None,
        })
    }

    /// A value with as many digits as make sense.
    pub(crate) fn text(self, value: f64) -> String {
        match self {
            Self::Cpu | Self::CpuEach | Self::CpuOver | Self::CpuRatio => format!("{value:.3}"),
            Self::DiskRatio | Self::Ready | Self::ReadyAfterKill => format!("{value:.2}"),
            Self::AckP50
            | Self::AckP99
            | Self::ArrivalP50
            | Self::ArrivalP99
            | Self::Received
            | Self::OnDisk
            | Self::Written
            | Self::FirstAfter
            | Self::CaughtUp
            | Self::LagSeconds => format!("{value:.1}"),
            Self::Taken | Self::Delivered | Self::HealthyLag | Self::Lost | Self::Refused => thousands(value),
            Self::Memory | Self::MemoryEarly | Self::MemoryLate => format!("{value:.0}"),
        }
    }
}

/// A whole number in groups of three.
pub(crate) fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = if value < 0.0 { "-".to_owned() } else { String::new() };
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_of_the_sorted_runs() {
        for (cpus, median, low) in [(&[3.0, 1.0, 9.0][..], 3.0, 1.0), (&[4.0, 1.0], 2.5, 1.0), (&[7.0], 7.0, 7.0)] {
            let runs: Vec<_> = cpus.iter().map(|cpu| Figures::from([(Figure::Cpu, *cpu)])).collect();
            let high = cpus.iter().copied().fold(0.0, f64::max);
            assert_eq!(medians(&runs), BTreeMap::from([(Figure::Cpu, Spread { median, low, high })]), "{cpus:?}");
        }
        assert_eq!(medians(&[]), BTreeMap::new());
    }

    #[test]
    fn a_figure_that_some_runs_lack_is_the_median_of_the_others() {
        let runs = [Figures::from([(Figure::Cpu, 1.0)]), Figures::from([(Figure::Cpu, 3.0), (Figure::Ready, 5.0)])];
        assert_eq!(medians(&runs).get(&Figure::Ready), Some(&Spread::of(5.0)));
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        let texts = [0.0, 12.0, 123.4, 1_234.0, 1_234_567.0, -1_000.0].map(thousands);
        assert_eq!(texts, ["0", "12", "123", "1,234", "1,234,567", "-1,000"]);
    }
}

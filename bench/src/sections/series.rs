//! From ten thousand to ten million series.

use super::About;
use crate::case::{Amount, Case, TrafficSpec};
use crate::contender::Contender;
use crate::figures::{Figure, thousands};
use crate::sizes::Sizes;

pub(crate) const ABOUT: About = About {
    title: "Series",
    text: "Three endpoints, remote write 1.0, as fast as answers come, from bodies made beforehand: each series once to warm \
           up, then each at least once more. Ten million series are Writegate's alone: Prometheus keeps each \
           series in memory, and would need more of it than such a machine has.",
    varies: "series",
    columns: &[
        Figure::Cpu,
        Figure::CpuRatio,
        Figure::Memory,
        Figure::AckP50,
        Figure::AckP99,
        Figure::Taken,
        Figure::Delivered,
        Figure::Lost,
        Figure::Refused,
    ],
    repeats: true,
};

/// More than this is for Writegate alone.
const PEERS_UP_TO: u32 = 1_000_000;

/// The name of the case of so many series.
pub(crate) fn name(series: u32) -> String {
    thousands(series.into())
}

pub(crate) fn cases(sizes: &Sizes) -> Vec<Case> {
    let everyone = [Contender::Writegate, Contender::VmagentSnappy, Contender::PrometheusAgent];
    let least_samples = sizes.pick(5_000_000, 400_000);
    let mut cases = Vec::new();
    for series in sizes.pick(vec![10_000, 100_000, 1_000_000, 10_000_000], vec![10_000, 100_000]) {
        let rounds = (least_samples / series).max(1);
        for contender in sizes.contenders(&everyone) {
            if series <= PEERS_UP_TO || contender == Contender::Writegate {
                let traffic = TrafficSpec::new(series, Amount::Rounds(rounds));
                cases.push(Case::new(&name(series), series.into(), contender, traffic));
            }
        }
    }
    cases
}

//! One endpoint of three goes away and comes back.

use super::About;
use crate::case::{Amount, Case, Experiment, TrafficSpec};
use crate::contender::Contender;
use crate::figures::Figure;
use crate::sizes::Sizes;

pub(crate) const ABOUT: About = About {
    title: "An outage",
    text: "50,000 samples a second to three endpoints, of which one refuses connections for a while and comes back. Lag is \
           what was acknowledged to the senders and has not arrived at the slowest endpoint. *Caught up* counts from its \
           return until less than half a second's samples are missing; a gateway that waits a minute between retries \
           starts late.",
    varies: "away for",
    columns: &[Figure::CaughtUp, Figure::HealthyLag, Figure::Memory, Figure::Lost, Figure::Refused],
    repeats: false,
};

const RATE: u32 = 50_000;

pub(crate) fn cases(sizes: &Sizes) -> Vec<Case> {
    let down = sizes.outage;
    let case = |contender| {
        let traffic = TrafficSpec::new(sizes.pick(100_000, 20_000), Amount::For(down));
        let traffic = TrafficSpec { rate: Some(RATE), ..traffic };
        let name = format!("{} s", down.as_secs());
        Case { experiment: Experiment::Outage { down }, ..Case::new(&name, down.as_secs_f64(), contender, traffic) }
    };
    sizes.contenders(&[Contender::Writegate, Contender::VmagentSnappy]).into_iter().map(case).collect()
}

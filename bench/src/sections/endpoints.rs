//! Whether dead and slow endpoints are felt by the others.

use std::time::Duration;

use super::About;
use crate::case::{Case, EndpointSpec, State, TrafficSpec};
use crate::contender::Contender;
use crate::figures::Figure;
use crate::sizes::Sizes;

pub(crate) const ABOUT: About = About {
    title: "Endpoints that are well, dead and slow",
    text: "100,000 samples a second, remote write 1.0. A dead endpoint refuses connections for the whole run; a slow one takes \
           200 ms for each answer. What counts is how much later samples arrive at the endpoints that are well.",
    varies: "endpoints",
    columns: &[
        Figure::ArrivalP50,
        Figure::ArrivalP99,
        Figure::AckP50,
        Figure::AckP99,
        Figure::Cpu,
        Figure::CpuRatio,
        Figure::Memory,
        Figure::Lost,
        Figure::Refused,
    ],
    repeats: true,
};

pub(crate) const ONE: &str = "1";
pub(crate) const FIVE_TWO_DEAD: &str = "5, of which 2 dead";
const RATE: u32 = 100_000;

pub(crate) fn cases(sizes: &Sizes) -> Vec<Case> {
    let well = EndpointSpec::default();
    let dead = EndpointSpec { state: State::Dead, ..well };
    let slow = EndpointSpec { state: State::Slow(Duration::from_millis(200)), ..well };
    let kinds = [
        (ONE, vec![well]),
        ("3", vec![well; 3]),
        ("5", vec![well; 5]),
        (FIVE_TWO_DEAD, vec![well, well, well, dead, dead]),
        ("3, of which 1 slow", vec![well, well, slow]),
    ];
    let mut cases = Vec::new();
    let kinds = kinds.into_iter().filter(|(name, _)| !sizes.quick || [ONE, FIVE_TWO_DEAD].contains(name));
    for (x, (name, endpoints)) in (0_u32..).zip(kinds) {
        for contender in sizes.contenders(&[Contender::Writegate, Contender::VmagentSnappy]) {
            let case = Case::new(name, x.into(), contender, TrafficSpec { rate: Some(RATE), ..sizes.traffic() });
            cases.push(Case { endpoints: endpoints.clone(), ..case });
        }
    }
    cases
}

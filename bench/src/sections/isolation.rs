//! Nine tenants that send little, alone and beside one that sends a hundred times as much.

use super::About;
use crate::case::{Amount, Case, TrafficSpec};
use crate::contender::Contender;
use crate::figures::Figure;
use crate::sizes::Sizes;

pub(crate) const ABOUT: About = About {
    title: "Isolation",
    text: "Nine tenants with 500 samples a second each, in requests of 100, to three endpoints that get all tenants; alone, beside a tenth \
           with as much, and beside a tenth that sends 50,000 samples a second over 50 connections. The acknowledgements are those of the nine. \
           The senders and the endpoints run on the same cores.",
    varies: "the tenth tenant sends",
    columns: &[
        Figure::AckP50,
        Figure::AckP99,
        Figure::ArrivalP50,
        Figure::ArrivalP99,
        Figure::Cpu,
        Figure::Memory,
        Figure::Lost,
        Figure::Refused,
    ],
    repeats: true,
};

const TENANTS: u32 = 9;
/// Samples a second.
const SHARE: u32 = 500;

pub(crate) fn cases(sizes: &Sizes) -> Vec<Case> {
    let amount = Amount::For(sizes.time);
    let nine = TrafficSpec {
        samples_per_request: 100,
        connections: TENANTS,
        rate: Some(SHARE * TENANTS),
        tenants: Some(TENANTS),
        ..TrafficSpec::new(SHARE * TENANTS, amount)
    };
    let tenth = |times| TrafficSpec {
        samples_per_request: 500,
        connections: 50,
        rate: Some(SHARE * times),
        tenants: Some(1),
        first_tenant: TENANTS + 1,
        ..TrafficSpec::new(50_000, amount)
    };
    let mut cases = Vec::new();
    for (name, background) in
        [("nothing", None), ("as much as one of them", Some(tenth(1))), ("100 times as much", Some(tenth(100)))]
    {
        for contender in sizes.contenders(&[Contender::Writegate, Contender::VmagentSnappy]) {
            let x = background.as_ref().and_then(|traffic| traffic.rate).unwrap_or(0);
            let case = Case::new(name, x.into(), contender, nine.clone());
            cases.push(Case { background: background.clone(), ..case });
        }
    }
    cases
}

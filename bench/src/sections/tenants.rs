//! The same load as one tenant's and as many tenants'.

use super::About;
use crate::case::{Amount, Case, TrafficSpec};
use crate::contender::Contender;
use crate::figures::{Figure, thousands};
use crate::sizes::Sizes;

pub(crate) const ABOUT: About = About {
    title: "Tenants",
    text: "The same series and requests, as fast as answers come, to three endpoints that get all tenants; the requests of \
           a round belong to the tenants in turn. Writegate takes the tenant from a header, and keeps a log for each; vmagent \
           takes it from the path (`-enableMultitenantHandlers`) and adds its labels. Prometheus has no tenants.",
    varies: "tenants",
    columns: &[
        Figure::Cpu,
        Figure::CpuRatio,
        Figure::Memory,
        Figure::AckP50,
        Figure::AckP99,
        Figure::Taken,
        Figure::Delivered,
        Figure::OnDisk,
        Figure::Lost,
        Figure::Refused,
    ],
    repeats: true,
};

/// Small enough that each of a thousand tenants has a request in a round.
const SAMPLES_PER_REQUEST: u32 = 500;

pub(crate) fn cases(sizes: &Sizes) -> Vec<Case> {
    let mut cases = Vec::new();
    for tenants in sizes.pick(vec![1, 10, 100, 1_000], vec![1, 20]) {
        for contender in sizes.contenders(&[Contender::Writegate, Contender::VmagentSnappy]) {
            let traffic = TrafficSpec {
                samples_per_request: SAMPLES_PER_REQUEST,
                tenants: Some(tenants),
                ..TrafficSpec::new(sizes.pick(500_000, 20_000), Amount::For(sizes.time))
            };
            cases.push(Case::new(&thousands(tenants.into()), tenants.into(), contender, traffic));
        }
    }
    cases
}

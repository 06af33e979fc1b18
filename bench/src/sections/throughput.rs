//! The most that goes through to two endpoints.

use super::About;
use crate::case::{Case, EndpointSpec, TrafficSpec};
use crate::contender::Contender;
use crate::figures::Figure;
use crate::sizes::Sizes;

pub(crate) const ABOUT: About = About {
    title: "Throughput",
    text: "Two endpoints, remote write 1.0, as fast as answers come. Senders and endpoints take their share of the machine's \
           cores, so a gateway on a machine of its own takes more.",
    varies: "endpoints",
    columns: &[
        Figure::Taken,
        Figure::Delivered,
        Figure::Memory,
        Figure::Cpu,
        Figure::CpuRatio,
        Figure::AckP50,
        Figure::AckP99,
        Figure::Lost,
        Figure::Refused,
    ],
    repeats: true,
};

pub(crate) const CASE: &str = "2, flat out";

pub(crate) fn cases(sizes: &Sizes) -> Vec<Case> {
    let everyone = [Contender::Writegate, Contender::VmagentSnappy, Contender::PrometheusAgent];
    let case = |contender| {
        let case = Case::new(CASE, 2.0, contender, TrafficSpec { connections: 8, ..sizes.traffic() });
        Case { endpoints: vec![EndpointSpec::default(); 2], ..case }
    };
    sizes.contenders(&everyone).into_iter().map(case).collect()
}

//! One load to one, three and eight endpoints.

use super::About;
use crate::case::{Case, EndpointSpec, TrafficSpec};
use crate::contender::Contender;
use crate::figures::Figure;
use crate::sizes::Sizes;

pub(crate) const ABOUT: About = About {
    title: "Fan-out",
    text: "The same load to more and more endpoints, as fast as answers come, and to three at a fixed rate. Remote write \
           1.0 in and out. The bare relay is the floor.",
    varies: "endpoints",
    columns: &[
        Figure::Cpu,
        Figure::CpuRatio,
        Figure::CpuEach,
        Figure::Memory,
        Figure::AckP50,
        Figure::AckP99,
        Figure::Taken,
        Figure::Delivered,
        Figure::Received,
        Figure::OnDisk,
        Figure::DiskRatio,
        Figure::Written,
        Figure::Lost,
        Figure::Refused,
    ],
    repeats: true,
};

/// Samples a second of the paced cases.
const RATE: u32 = 200_000;

/// The name of the case of so many endpoints, as fast as answers come.
pub(crate) fn flat_out(endpoints: u32) -> String {
    format!("{endpoints}{FLAT_OUT}")
}

/// How the names of these cases end.
pub(crate) const FLAT_OUT: &str = ", flat out";

pub(crate) fn cases(sizes: &Sizes) -> Vec<Case> {
    use Contender::{BareRelay, PrometheusAgent, VmagentSnappy, VmagentZstd, Writegate};
    let everyone = [Writegate, VmagentSnappy, VmagentZstd, PrometheusAgent, BareRelay];
    let traffic = sizes.traffic();
    let case = |name: &str, endpoints: u32, contender, rate| {
        let case = Case::new(name, endpoints.into(), contender, TrafficSpec { rate, ..traffic.clone() });
        Case { endpoints: vec![EndpointSpec::default(); endpoints as usize], ..case }
    };
    let mut cases = Vec::new();
    for endpoints in sizes.pick(vec![1, 3, 8], vec![1, 3]) {
        let contenders = if endpoints == 3 { sizes.all(&everyone) } else { sizes.contenders(&everyone) };
        cases.extend(contenders.iter().map(|contender| case(&flat_out(endpoints), endpoints, *contender, None)));
    }
    let paced = sizes.contenders(&everyone).into_iter();
    cases.extend(paced.map(|contender| case("3, at 200,000 samples/s", 3, contender, Some(RATE))));
    cases
}

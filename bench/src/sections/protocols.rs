//! Remote write 1.0 and 2.0, in and out, and zstd.

use remote_write::{Compression, Protocol};

use super::About;
use crate::case::{Case, EndpointSpec, TrafficSpec};
use crate::contender::Contender;
use crate::figures::Figure;
use crate::sizes::Sizes;

pub(crate) const ABOUT: About = About {
    title: "Protocols",
    text: "Three endpoints, as fast as answers come. vmagent answers remote write 2.0 with 204 and stores nothing of it, \
           so it is not in those rows; Prometheus sends no zstd.",
    varies: "in, out",
    columns: &[
        Figure::Cpu,
        Figure::CpuRatio,
        Figure::Memory,
        Figure::AckP50,
        Figure::AckP99,
        Figure::Taken,
        Figure::Delivered,
        Figure::Received,
        Figure::Lost,
        Figure::Refused,
    ],
    repeats: true,
};

pub(crate) const V2_V2: &str = "2.0 in, 2.0 out";
pub(crate) const V1_V2: &str = "1.0 in, 2.0 out";
pub(crate) const V2_V1: &str = "2.0 in, 1.0 out";
pub(crate) const V1_ZSTD: &str = "1.0 in, zstd out";

pub(crate) fn cases(sizes: &Sizes) -> Vec<Case> {
    use Contender::{PrometheusAgent, VmagentSnappy, VmagentZstd, Writegate};
    let kinds: [(&str, Protocol, Protocol, Compression, &[Contender]); 5] = [
        (
            "1.0 in, 1.0 out",
            Protocol::V1,
            Protocol::V1,
            Compression::Snappy,
            &[Writegate, VmagentSnappy, PrometheusAgent],
        ),
        (V2_V2, Protocol::V2, Protocol::V2, Compression::Snappy, &[Writegate, PrometheusAgent]),
        (V1_V2, Protocol::V1, Protocol::V2, Compression::Snappy, &[Writegate, PrometheusAgent]),
        (V2_V1, Protocol::V2, Protocol::V1, Compression::Snappy, &[Writegate, PrometheusAgent]),
        (V1_ZSTD, Protocol::V1, Protocol::V1, Compression::Zstd, &[Writegate, VmagentZstd]),
    ];
    let mut cases = Vec::new();
    for (x, (name, taken, sent, compression, contenders)) in (0_u32..).zip(kinds) {
        for contender in sizes.contenders(contenders) {
            let case = Case::new(name, x.into(), contender, TrafficSpec { protocol: taken, ..sizes.traffic() });
            let endpoint = EndpointSpec { protocol: sent, compression, ..EndpointSpec::default() };
            cases.push(Case { endpoints: vec![endpoint; 3], ..case });
        }
    }
    cases
}

//! Small and large requests, alone and side by side.

use super::About;
use crate::case::{Amount, Case, TrafficSpec};
use crate::contender::Contender;
use crate::figures::{Figure, thousands};
use crate::sizes::Sizes;

pub(crate) const ABOUT: About = About {
    title: "Size of requests",
    text: "Three endpoints, remote write 1.0. First as fast as answers come with requests of one size. Then a sender of 200 \
           small requests a second, alone and beside one that pushes two requests of 150,000 samples a second: the \
           acknowledgements are those of the small ones, which should not have to wait for the large. (vmagent takes no \
           request of more than 32 MiB uncompressed unless told to, as it is here; Prometheus answers such requests \
           with 400, and is not in those rows.)",
    varies: "samples a request",
    columns: &[
        Figure::Cpu,
        Figure::CpuRatio,
        Figure::Memory,
        Figure::AckP50,
        Figure::AckP99,
        Figure::Taken,
        Figure::Delivered,
        Figure::OnDisk,
        Figure::DiskRatio,
        Figure::Lost,
        Figure::Refused,
    ],
    repeats: true,
};

pub(crate) const SMALL_ALONE: &str = "100, at 200 requests/s";
pub(crate) const SMALL_BESIDE_LARGE: &str = "100, at 200 requests/s, beside 2 of 150,000/s";
const SMALL: u32 = 100;
const LARGE: u32 = 150_000;

pub(crate) fn cases(sizes: &Sizes) -> Vec<Case> {
    let everyone = sizes.contenders(&[Contender::Writegate, Contender::VmagentSnappy, Contender::PrometheusAgent]);
    let takes_large = sizes.contenders(&[Contender::Writegate, Contender::VmagentSnappy]);
    let amount = Amount::For(sizes.time);
    // One large request for each connection.
    let one_size = TrafficSpec::new(4 * LARGE, amount);
    let small = TrafficSpec { samples_per_request: SMALL, rate: Some(200 * SMALL), ..TrafficSpec::new(20_000, amount) };
    // Two a second are half a round. Recorded, because encoding one would keep the other sender waiting.
    let rounds = sizes.time.as_secs().div_ceil(2) as u32 + 1;
    let large = TrafficSpec {
        samples_per_request: LARGE,
        rate: Some(2 * LARGE),
        connections: 1,
        ..TrafficSpec::new(4 * LARGE, Amount::Rounds(rounds))
    };
    let mut cases = Vec::new();
    for samples_per_request in sizes.pick(vec![SMALL, 2_000, LARGE], vec![SMALL, LARGE]) {
        let contenders = if samples_per_request == LARGE { &takes_large } else { &everyone };
        for contender in contenders {
            let traffic = TrafficSpec { samples_per_request, ..one_size.clone() };
            let name = format!("{}, flat out", thousands(samples_per_request.into()));
            cases.push(Case::new(&name, samples_per_request.into(), *contender, traffic));
        }
    }
    for (name, background) in [(SMALL_ALONE, None), (SMALL_BESIDE_LARGE, Some(large))] {
        let contenders = if background.is_some() { &takes_large } else { &everyone };
        for contender in contenders {
            let case = Case::new(name, SMALL.into(), *contender, small.clone());
            cases.push(Case { background: background.clone(), ..case });
        }
    }
    cases
}

//! Draining what came while no endpoint was up.

use super::About;
use crate::case::{Case, Experiment};
use crate::contender::Contender;
use crate::figures::{Figure, thousands};
use crate::sizes::Sizes;

pub(crate) const ABOUT: About = About {
    title: "Draining a backlog",
    text: "Three endpoints refuse connections while the samples are pushed as fast as answers come; then all come up. CPU \
           includes the push. vmagent keeps its queue on disk, once for each endpoint, and gets fewer samples so that it \
           ends; its drained rate does not depend on how many there are.",
    varies: "samples",
    columns: &[
        Figure::Delivered,
        Figure::FirstAfter,
        Figure::Memory,
        Figure::Cpu,
        Figure::CpuRatio,
        Figure::Taken,
        Figure::Received,
        Figure::OnDisk,
        Figure::DiskRatio,
        Figure::Written,
        Figure::Lost,
    ],
    repeats: false,
};

/// What a peer gets at most.
const PEERS: u64 = 20_000_000;

/// The name of the case of so many samples.
pub(crate) fn name(samples: u64) -> String {
    thousands(samples as f64)
}

pub(crate) fn cases(sizes: &Sizes) -> Vec<Case> {
    let contenders = sizes.contenders(&[Contender::Writegate, Contender::VmagentSnappy]);
    let mut sets = vec![sizes.backlog.min(PEERS)];
    if sizes.backlog > PEERS {
        sets.push(sizes.backlog);
    }
    let mut cases = Vec::new();
    for samples in sets {
        for contender in &contenders {
            if samples <= PEERS || *contender == Contender::Writegate {
                let case = Case::new(&name(samples), samples as f64, *contender, sizes.traffic());
                cases.push(Case { experiment: Experiment::Backlog { samples }, ..case });
            }
        }
    }
    cases
}

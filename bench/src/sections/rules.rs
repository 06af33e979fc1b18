//! What relabel rules of endpoints cost.

use super::About;
use crate::case::{Case, EndpointSpec, Rules};
use crate::contender::Contender;
use crate::figures::Figure;
use crate::sizes::Sizes;

pub(crate) const ABOUT: About = About {
    title: "Relabel rules",
    text: "Three endpoints, remote write 1.0, as fast as answers come; `write_relabel_configs` at one of them or at all \
           (vmagent: `-remoteWrite.urlRelabelConfig`). *Keep and drop* are two rules by metric name that leave out about \
           a sixth of the series; *edit* adds a label, makes one from another, and removes two.",
    varies: "rules",
    columns: &[
        Figure::Cpu,
        Figure::CpuRatio,
        Figure::CpuOver,
        Figure::Memory,
        Figure::AckP99,
        Figure::Taken,
        Figure::Delivered,
        Figure::Lost,
        Figure::Refused,
    ],
    repeats: true,
};

pub(crate) const KEEP_DROP_ONE: &str = "keep and drop at one endpoint";
pub(crate) const EDIT_ONE: &str = "edit at one endpoint";

pub(crate) fn cases(sizes: &Sizes) -> Vec<Case> {
    let everyone = [Contender::Writegate, Contender::VmagentSnappy, Contender::PrometheusAgent];
    let kinds = [
        ("none", Rules::None, 0),
        (KEEP_DROP_ONE, Rules::KeepDrop, 1),
        ("keep and drop at all endpoints", Rules::KeepDrop, 3),
        (EDIT_ONE, Rules::Edit, 1),
        ("edit at all endpoints", Rules::Edit, 3),
    ];
    let mut cases = Vec::new();
    let kinds = kinds.into_iter().filter(|(_, _, ruled)| !sizes.quick || *ruled < 3);
    for (x, (name, rules, ruled)) in (0_u32..).zip(kinds) {
        for contender in sizes.contenders(&everyone) {
            let mut case = Case::new(name, x.into(), contender, sizes.traffic());
            for endpoint in case.endpoints.iter_mut().take(ruled) {
                *endpoint = EndpointSpec { rules, ..*endpoint };
            }
            cases.push(case);
        }
    }
    cases
}

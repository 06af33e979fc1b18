//! Starting with a large log on disk.

use super::About;
use crate::case::{Case, EndpointSpec, Experiment, State};
use crate::contender::Contender;
use crate::figures::Figure;
use crate::sizes::Sizes;

pub(crate) const ABOUT: About = About {
    title: "Starting with a large log",
    text: "The log is made by pushing ordinary requests while the one endpoint is dead, so that all of it is still to be \
           delivered; then Writegate is ended and started again several times. Ready is when `/-/ready` says so and \
           pushes are taken. What the last start needs stays in the page cache, as after a restart of the process, not of \
           the machine.",
    varies: "log",
    columns: &[Figure::Ready, Figure::ReadyAfterKill, Figure::Memory],
    repeats: false,
};

/// The name of the case of so large a log.
pub(crate) fn name(bytes: u64) -> String {
    if bytes < 1 << 30 { format!("{} MiB", bytes >> 20) } else { format!("{} GiB", bytes >> 30) }
}

pub(crate) fn cases(sizes: &Sizes) -> Vec<Case> {
    let bytes = sizes.log_bytes;
    let case = |contender| {
        let dead = EndpointSpec { state: State::Dead, ..EndpointSpec::default() };
        let experiment = Experiment::Start { bytes, starts: sizes.runs };
        Case { endpoints: vec![dead], experiment, ..Case::new(&name(bytes), bytes as f64, contender, sizes.traffic()) }
    };
    sizes.contenders(&[Contender::Writegate]).into_iter().map(case).collect()
}

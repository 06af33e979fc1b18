//! Finds a place for exemplars that stand in a series of their own: Prometheus sends all of them so, but a v2 series
//! must have a sample or a histogram.

use std::collections::HashMap;

use crate::model::Label;
use crate::source::SeriesParts;
use crate::wire::Reader;

/// The exemplars of a request by labels. Where one is an orphan, all exemplars of its labels move, so that they keep
/// their order.
#[derive(Debug, Default)]
pub(super) struct Orphans<'a> {
    by_labels: HashMap<Vec<Label<'a>>, Gathered<'a>>,
}

#[derive(Debug, Default)]
struct Gathered<'a> {
    /// In wire order, until a series has adopted them.
    exemplars: Vec<Reader<'a>>,
    /// Whether a series of the labels has nothing but exemplars.
    orphaned: bool,
}

impl<'a> Orphans<'a> {
    /// Takes note of the exemplars of a series with resolved labels.
    pub(super) fn gather(&mut self, parts: &SeriesParts<'a>) {
        let gathered = self.by_labels.entry(parts.labels.clone()).or_default();
        gathered.exemplars.extend_from_slice(&parts.exemplars);
        gathered.orphaned |= !parts.has_data();
    }

    /// The exemplars for a series with data: `None` means its own. Once given, there are none for the next of the labels.
    pub(super) fn adopt(&mut self, labels: &[Label<'a>]) -> Option<Vec<Reader<'a>>> {
        let gathered = self.by_labels.get_mut(labels)?;
        gathered.orphaned.then(|| std::mem::take(&mut gathered.exemplars))
    }

    /// How many orphans no series has adopted.
    pub(super) fn left(&self) -> u64 {
        let orphaned = self.by_labels.values().filter(|gathered| gathered.orphaned);
        orphaned.map(|gathered| gathered.exemplars.len() as u64).sum()
    }
}

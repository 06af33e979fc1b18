//! Counts of data points with the range of their timestamps.

use crate::Counts;

/// Data points of a series or a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) counts: Counts,
    /// Least and greatest; exemplars have no part in it.
    range: Option<(i64, i64)>,
}

impl Tally {
    #[inline]
    pub(super) fn of_sample(timestamp: i64) -> Self {
        Self { counts: Counts { samples: 1, ..Counts::default() }, range: Some((timestamp, timestamp)) }
    }

    pub(super) fn sample(&mut self, timestamp: i64) {
        self.counts.samples += 1;
        self.include(timestamp, timestamp);
    }

    pub(super) fn histogram(&mut self, timestamp: i64) {
        self.counts.histograms += 1;
        self.include(timestamp, timestamp);
    }

    pub(super) const fn exemplar(&mut self) {
        self.counts.exemplars += 1;
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.counts += other.counts;
        if let Some((least, greatest)) = other.range {
            self.include(least, greatest);
        }
    }

    /// In milliseconds; `None` without a sample or histogram.
    pub(super) const fn timestamps(&self) -> Option<(i64, i64)> {
        self.range
    }

    #[inline]
    fn include(&mut self, least: i64, greatest: i64) {
        self.range = Some(match self.range {
            Some((first, last)) => (first.min(least), last.max(greatest)),
            None => (least, greatest),
        });
    }
}

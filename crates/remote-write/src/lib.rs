//! Prometheus remote write 1.0 and 2.0 on slices: negotiate, decompress, check, hash, relabel, translate, compress.
//!
//! Pure: no I/O, no clock, no async runtime, no logger. Every function is bounded by the limits it is given.

pub mod age;
mod canonical;
pub mod check;
pub mod compression;
pub mod concat;
pub mod content;
pub mod encode;
mod interner;
pub mod model;
pub mod pieces;
pub mod read;
pub mod relabel;
mod rewrite;
pub mod selector;
pub mod series_text;
mod source;
pub mod split;
pub mod translate;
pub mod wire;

mod symbols;

use std::ops::{Add, AddAssign, Sub, SubAssign};

/// The message schema of a write request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// `prometheus.WriteRequest` (remote write 1.0).
    V1,
    /// `io.prometheus.write.v2.Request` (remote write 2.0).
    V2,
}

/// How a request body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Snappy block format (never the framed one).
    Snappy,
    /// One or more zstd frames (VictoriaMetrics' remote write).
    Zstd,
}

/// How many data points of each kind: the unit of every book.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Float samples.
    pub samples: u64,
    /// Native histograms, integer, float or with custom buckets.
    pub histograms: u64,
    /// Exemplars.
    pub exemplars: u64,
}

impl Counts {
    /// Whether there is no data point at all.
    pub const fn is_zero(&self) -> bool {
        self.samples == 0 && self.histograms == 0 && self.exemplars == 0
    }

    /// How many data points of any kind: what limits on samples per request count.
    pub const fn points(&self) -> u64 {
        self.samples + self.histograms + self.exemplars
    }

    /// Kind by kind, never below 0.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self {
            samples: self.samples.saturating_sub(other.samples),
            histograms: self.histograms.saturating_sub(other.histograms),
            exemplars: self.exemplars.saturating_sub(other.exemplars),
        }
    }
}

impl Add for Counts {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            samples: self.samples + other.samples,
            histograms: self.histograms + other.histograms,
            exemplars: self.exemplars + other.exemplars,
        }
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Counts {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self {
            samples: self.samples - other.samples,
            histograms: self.histograms - other.histograms,
            exemplars: self.exemplars - other.exemplars,
        }
    }
}

impl SubAssign for Counts {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

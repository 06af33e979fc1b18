//! What was refused and why, in numbers and in words that are safe to send back and to log.

use super::histogram::InvalidHistogram;
use super::labels::Entry;
use crate::Counts;
use crate::model::Label;
use crate::series_text::{self, push_escaped};
use std::fmt::{self, Display, Write};

/// A label's name is quoted in a cause up to this many bytes.
const MAX_NAME_TEXT: usize = 128;

/// Why data is refused: the reasons of the metrics that a check can find.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RejectReason {
    /// Against the protocol; it will never be right.
    Invalid,
    /// Against a limit of the tenant.
    LabelLimit,
    /// New, while the tenant has as many series as it may have.
    ActiveSeries,
}

impl RejectReason {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Invalid, Self::LabelLimit, Self::ActiveSeries];
}

/// A series, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offender {
    /// As `name{label="value"}`, at most 512 bytes, invalid bytes replaced.
    pub series: String,
    /// For example `duplicate label name "job"`.
    pub cause: String,
}

/// What was refused for one reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// Series that were refused whole.
    pub series: u32,
    /// Data points, also exemplars that were refused without their series.
    pub counts: Counts,
    /// The first.
    pub example: Option<Offender>,
}

/// What was refused of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rejected {
    /// [`RejectReason::Invalid`].
    pub invalid: Refused,
    /// [`RejectReason::LabelLimit`].
    pub label_limit: Refused,
    /// [`RejectReason::ActiveSeries`].
    pub active_series: Refused,
    /// The reason of the first refusal.
    pub first_reason: Option<RejectReason>,
    /// Exemplars that were refused without their series.
    pub lone_exemplars: u32,
}

impl Rejected {
    /// Whether everything was accepted.
    pub const fn is_empty(&self) -> bool {
        self.first_reason.is_none()
    }

    /// What was refused for `reason`.
    pub const fn of(&self, reason: RejectReason) -> &Refused {
        match reason {
            RejectReason::Invalid => &self.invalid,
            RejectReason::LabelLimit => &self.label_limit,
            RejectReason::ActiveSeries => &self.active_series,
        }
    }

    /// All data points that were refused.
    pub fn counts(&self) -> Counts {
        RejectReason::ALL.iter().fold(Counts::default(), |sum, reason| sum + self.of(*reason).counts)
    }

    /// The first refusal.
    pub fn first(&self) -> Option<&Offender> {
        self.of(self.first_reason?).example.as_ref()
    }

    /// The text of an answer, under 1 KiB: how much of `received_series` was refused, and the first case.
    pub fn describe(&self, received_series: u32) -> String {
        let series: u32 = RejectReason::ALL.iter().map(|reason| self.of(*reason).series).sum();
        let mut text = match (series, self.lone_exemplars) {
            (0, 0) => return String::new(),
            (0, exemplars) => format!("{exemplars} exemplars refused"),
            (series, 0) => format!("{series} of {received_series} series refused"),
            (series, exemplars) => format!("{series} of {received_series} series and {exemplars} exemplars refused"),
        };
        if let Some(Offender { series, cause }) = self.first() {
            // Writing to a String cannot fail.
            write!(text, "; first: {series}: {cause}").unwrap_or_default();
        }
        text
    }

    /// Books a whole series.
    pub(super) fn series(&mut self, cause: Cause<'_>, counts: Counts, labels: &[Entry<'_>]) {
        self.book(cause, counts, labels, "").series += 1;
    }

    /// Books exemplars of a series that is kept; `labels` are the series'.
    pub(super) fn exemplars(&mut self, cause: Cause<'_>, exemplars: u32, labels: &[Entry<'_>]) {
        self.lone_exemplars += exemplars;
        let counts = Counts { exemplars: u64::from(exemplars), ..Counts::default() };
        self.book(cause, counts, labels, "exemplar: ");
    }

    fn book(&mut self, cause: Cause<'_>, counts: Counts, labels: &[Entry<'_>], of: &str) -> &mut Refused {
        let reason = cause.reason();
        self.first_reason.get_or_insert(reason);
        let refused = match reason {
            RejectReason::Invalid => &mut self.invalid,
            RejectReason::LabelLimit => &mut self.label_limit,
            RejectReason::ActiveSeries => &mut self.active_series,
        };
        refused.counts += counts;
        refused.example.get_or_insert_with(|| Offender { series: describe(labels), cause: format!("{of}{cause}") });
        refused
    }
}

/// What is wrong with a series or an exemplar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause<'a> {
    NoName,
    EmptyLabelName,
    DuplicateLabel(&'a [u8]),
    InvalidUtf8,
    BadReference,
    TooManyLabels {
        seen: usize,
        limit: usize,
    },
    LongValue {
        name: &'a [u8],
        seen: usize,
        limit: usize,
    },
    Histogram(InvalidHistogram),
    TooManySeries {
        limit: u64,
    },
    /// Strict only.
    NoSample,
    /// Strict only.
    SamplesAndHistograms,
}

impl Cause<'_> {
    const fn reason(self) -> RejectReason {
        match self {
            Self::TooManyLabels { .. } | Self::LongValue { .. } => RejectReason::LabelLimit,
            Self::TooManySeries { .. } => RejectReason::ActiveSeries,
            Self::NoName
            | Self::EmptyLabelName
            | Self::DuplicateLabel(_)
            | Self::InvalidUtf8
            | Self::BadReference
            | Self::Histogram(_)
            | Self::NoSample
            | Self::SamplesAndHistograms => RejectReason::Invalid,
        }
    }
}

impl Display for Cause<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NoName => f.write_str("no metric name"),
            Self::EmptyLabelName => f.write_str("empty label name"),
            Self::DuplicateLabel(name) => write!(f, "duplicate label name {}", quoted(name)),
            Self::InvalidUtf8 => f.write_str("label name or value is not UTF-8"),
            Self::BadReference => f.write_str("symbol reference out of range or unpaired"),
            Self::TooManyLabels { seen, limit } => write!(f, "{seen} labels, limit {limit}"),
            Self::LongValue { name, seen, limit } => {
                write!(f, "value of label {} has {seen} bytes, limit {limit}", quoted(name))
            }
            Self::Histogram(invalid) => write!(f, "histogram: {invalid}"),
            Self::TooManySeries { limit } => write!(f, "a new series, and the tenant has its {limit} active series"),
            Self::NoSample => f.write_str("neither sample nor histogram"),
            Self::SamplesAndHistograms => f.write_str("both samples and histograms"),
        }
    }
}

/// A name in quotes, escaped and cut.
fn quoted(name: &[u8]) -> String {
    let mut text = String::from('"');
    push_escaped(&mut text, name, MAX_NAME_TEXT);
    text.push('"');
    text
}

fn describe(entries: &[Entry<'_>]) -> String {
    let labels: Vec<Label<'_>> = entries.iter().map(|entry| entry.label).collect();
    series_text::describe(&labels)
}

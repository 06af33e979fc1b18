//! Points that cannot become series: why, and what the sender is told of them.

use std::fmt;
use std::mem::{Discriminant, discriminant};

use remote_write::Counts;
use remote_write::wire::Malformed;

use crate::translate::TranslateError;

/// Why a point is refused. The texts follow the metric's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// The metric has no name, or one of which nothing is left.
    #[error("its name has no character that may stay; give the instrument a name with a letter")]
    Name,
    /// A text that is none.
    #[error("{0} is not UTF-8")]
    NotUtf8(&'static str),
    /// Delta temporality where only cumulative is taken.
    #[error(
        "delta temporality; set the exporter to cumulative, or `delta_temporality: accumulate` for the tenant at the gateway"
    )]
    Delta,
    /// Neither delta nor cumulative.
    #[error("no temporality; a sum or histogram is delta or cumulative")]
    NoTemporality,
    /// A number without a value and without the flag that there is none.
    #[error("a point without a value")]
    NoValue,
    /// An attribute whose name no label can have.
    #[error("no label can be named after the attribute {0:?}")]
    LabelName(String),
    /// Explicit bounds out of order or not numbers.
    #[error("explicit bounds that do not rise, or are no numbers")]
    Bounds,
    /// Explicit bounds that do not fit the buckets.
    #[error("{buckets} buckets with {bounds} bounds; a histogram has one bucket more than bounds")]
    BucketNumber {
        /// How many counts came.
        buckets: usize,
        /// How many bounds came.
        bounds: usize,
    },
    /// A native histogram whose buckets are not its count.
    #[error("buckets that do not add up to the count")]
    Count,
    /// An exponential histogram that no native one can hold.
    #[error("an exponential histogram of scale {0}; the least is -4")]
    Scale(i32),
    /// Bucket indexes that no double has.
    #[error("bucket indexes out of range")]
    Index,
    /// A zero threshold that is no distance from zero.
    #[error("a zero threshold that is negative or no number")]
    ZeroThreshold,
    /// More than any point needs.
    #[error("more than {limit} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
    /// More labels than the tenant's series may have.
    #[error(
        "{labels} labels, limit {limit} (limits.label_names); promote fewer attributes, or drop some at the sender"
    )]
    LabelNames {
        /// How many it would have.
        labels: usize,
        /// How many it may have.
        limit: u32,
    },
    /// A label longer than the tenant's may be.
    #[error("the label {label:?} has {bytes} bytes, limit {limit} (limits.label_value_bytes)")]
    LabelValue {
        /// Its name.
        label: String,
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        limit: u32,
    },
    /// A delta that ends before another of its stream that was added already.
    #[error("a delta that is older than the last of its stream, which is added already")]
    OutOfOrder,
    /// No memory for the running total of one more stream.
    #[error(
        "no room for the running total of one more stream; send fewer, or raise `otlp.delta_max_bytes` at the gateway"
    )]
    NoRoom,
    /// A delta after which the total would be no number any more.
    #[error("a delta that is NaN or infinite; the running total could never be a number again")]
    DeltaNumber,
    /// A delta that takes away from what only rises.
    #[error("a negative delta of a monotonic sum; a sum that falls is not monotonic")]
    DeltaFalls,
}

/// What refused points count as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No rule of the protocol lets it pass.
    Invalid,
    /// Labels, in number or length.
    LabelLimit,
    /// Streams whose totals would have to be kept.
    Streams,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Invalid, Self::LabelLimit, Self::Streams];
}

impl Cause {
    /// What it counts as.
    pub const fn reason(&self) -> Reason {
        match self {
            Self::LabelNames { .. } | Self::LabelValue { .. } => Reason::LabelLimit,
            Self::NoRoom => Reason::Streams,
            _ => Reason::Invalid,
        }
    }
}

/// How the reading of one point ends early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Of the whole request.
    Stop(TranslateError),
    /// This point only.
    Refused(Cause),
}

impl From<Malformed> for Failure {
    fn from(malformed: Malformed) -> Self {
        Self::Stop(malformed.into())
    }
}

impl From<TranslateError> for Failure {
    fn from(error: TranslateError) -> Self {
        Self::Stop(error)
    }
}

impl From<Cause> for Failure {
    fn from(cause: Cause) -> Self {
        Self::Refused(cause)
    }
}

/// Different causes and metrics that are told to the sender; the others are counted.
const TOLD: usize = 5;
/// Characters of a metric's name in a message.
const NAME_CHARS: usize = 100;

/// All points of a request that were refused.
#[derive(Clone, Debug, Default)]
pub struct Refused {
    points: u64,
    counts: [Counts; Reason::ALL.len()],
    told: Vec<Group>,
}

#[derive(Clone, Debug)]
struct Group {
    metric: String,
    kind: Discriminant<Cause>,
    /// The first of its kind; others may differ in their numbers.
    cause: Cause,
    points: u64,
}

impl Refused {
    /// How many points.
    pub const fn points(&self) -> u64 {
        self.points
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.points == 0
    }

    /// How they count: one that would have been a native histogram as one, any other as one sample.
    pub const fn counts(&self, reason: Reason) -> Counts {
        self.counts[reason as usize]
    }

    pub(crate) fn add(&mut self, metric: &str, cause: Cause, points: u64, is_native: bool) {
        if points == 0 {
            return;
        }
        self.points += points;
        let counts = &mut self.counts[cause.reason() as usize];
        *(if is_native { &mut counts.histograms } else { &mut counts.samples }) += points;
        let kind = discriminant(&cause);
        let metric: String = metric.chars().take(NAME_CHARS).collect();
        if let Some(group) = self.told.iter_mut().find(|group| group.kind == kind && group.metric == metric) {
            group.points += points;
        } else if self.told.len() < TOLD {
            self.told.push(Group { metric, kind, cause, points });
        }
    }
}

impl fmt::Display for Refused {
    /// `metric "a": …, 3 points; metric "b": …, 1 point; and 7 more points`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noun = |points| if points == 1 { "point" } else { "points" };
        let mut untold = self.points;
        for (index, Group { metric, cause, points, .. }) in self.told.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}metric {metric:?}: {cause} ({points} {})", noun(*points))?;
            untold -= points;
        }
        if untold > 0 { write!(f, "; and {untold} more {}", noun(untold)) } else { Ok(()) }
    }
}

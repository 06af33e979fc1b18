//! A write request as borrowed values: what the slow paths (mending, translating, tapping) work on.
//!
//! Strings are bytes, because a request with one invalid string must lose that series only.

/// The label that holds the metric's name.
pub(crate) const METRIC_NAME: &str = "__name__";

/// A decoded write request of either protocol.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request<'a> {
    /// In wire order; the same labels may occur more than once.
    pub series: Vec<Series<'a>>,
    /// v1 only: families described beside the series. (v2 carries metadata in each series.)
    pub metadata: Vec<Metadata<'a>>,
}

/// One `TimeSeries`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series<'a> {
    /// As on the wire: not necessarily sorted, unique or valid.
    pub labels: Vec<Label<'a>>,
    /// In wire order.
    pub samples: Vec<Sample>,
    /// In wire order.
    pub histograms: Vec<Histogram>,
    /// In wire order.
    pub exemplars: Vec<Exemplar<'a>>,
    /// v2 only; the family name is empty here, it follows from the labels.
    pub metadata: Option<Metadata<'a>>,
    /// v2 only: a symbol reference is out of range or unpaired; the labels are then incomplete.
    pub bad_reference: bool,
}

/// A label pair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label<'a> {
    /// The label's name.
    pub name: &'a [u8],
    /// The label's value.
    pub value: &'a [u8],
}

/// A float sample. Compare values by bits: NaN payloads mean something (stale markers).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sample {
    /// The value; the stale marker is the bits `0x7ff0_0000_0000_0002`.
    pub value: f64,
    /// Milliseconds since the epoch.
    pub timestamp: i64,
    /// v2 only, milliseconds; 0 means unset.
    pub start_timestamp: i64,
}

/// An exemplar.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exemplar<'a> {
    /// As on the wire.
    pub labels: Vec<Label<'a>>,
    /// The value.
    pub value: f64,
    /// Milliseconds since the epoch.
    pub timestamp: i64,
    /// v2 only: a symbol reference is out of range or unpaired.
    pub bad_reference: bool,
}

/// What a metric family is. In v2 it belongs to a series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metadata<'a> {
    /// 0 unknown, 1 counter, 2 gauge, 3 histogram, 4 gauge histogram, 5 summary, 6 info, 7 state set.
    pub kind: i32,
    /// v1 only.
    pub family: &'a [u8],
    /// Free text.
    pub help: &'a [u8],
    /// For example `seconds`.
    pub unit: &'a [u8],
}

/// The integer or float form of a histogram's count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Count {
    /// Integer histogram (buckets as deltas).
    Int(u64),
    /// Float histogram (buckets as absolute counts).
    Float(f64),
}

impl Default for Count {
    fn default() -> Self {
        Self::Int(0)
    }
}

/// A native histogram; the fields are the same in v1 and v2 except `start_timestamp`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// Field 1 or 2; `None` when neither is on the wire.
    pub count: Option<Count>,
    /// Field 3; the stale marker here marks the whole histogram stale.
    pub sum: f64,
    /// Field 4: −4…8 exponential, −53 custom buckets.
    pub schema: i32,
    /// Field 5.
    pub zero_threshold: f64,
    /// Field 6 or 7; `None` when neither is on the wire.
    pub zero_count: Option<Count>,
    /// Field 8.
    pub negative_spans: Vec<Span>,
    /// Field 9 (integer histograms).
    pub negative_deltas: Vec<i64>,
    /// Field 10 (float histograms).
    pub negative_counts: Vec<f64>,
    /// Field 11.
    pub positive_spans: Vec<Span>,
    /// Field 12 (integer histograms).
    pub positive_deltas: Vec<i64>,
    /// Field 13 (float histograms).
    pub positive_counts: Vec<f64>,
    /// Field 14: 0 unknown, 1 yes, 2 no, 3 gauge.
    pub reset_hint: i32,
    /// Field 15: milliseconds since the epoch.
    pub timestamp: i64,
    /// Field 16: upper bounds, for schema −53 only.
    pub custom_values: Vec<f64>,
    /// Field 17, v2 only; 0 means unset.
    pub start_timestamp: i64,
}

/// A run of consecutive buckets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Gap to the previous span (the first: the starting index).
    pub offset: i32,
    /// How many buckets.
    pub length: u32,
}

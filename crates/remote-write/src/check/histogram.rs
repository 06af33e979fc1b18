//! The arithmetic of a native histogram, as the Prometheus receiver demands it (its `model/histogram` package:
//! `Validate`, both for integer and float histograms).

use crate::model::{Count, Histogram, Span};

/// Custom buckets: bounds are listed instead of computed.
const CUSTOM_SCHEMA: i32 = -53;

/// A larger message is refused undecoded: a bucket may take one byte in it and eight in memory, and schema 8 has half a
/// million buckets from the least to the greatest double.
pub(super) const MAX_BYTES: usize = 1 << 20;

/// What does not add up in a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHistogram {
    /// Schemas are −4 to 8, 9 to 52 (which receivers reduce), and −53.
    #[error("unknown schema {0}")]
    Schema(i32),
    /// More than any histogram needs.
    #[error("it has {0} bytes, limit {MAX_BYTES}")]
    TooLarge(usize),
    /// Integer count with float buckets, or the other way round.
    #[error("integer and float counts are mixed")]
    Mixed,
    /// A count of less than zero, or of more than 64 bits.
    #[error("bucket count is negative or overflows")]
    BucketCount,
    /// A gap between spans must not be negative; with custom buckets neither may the first.
    #[error("span offset is negative")]
    SpanOffset,
    /// As many buckets as the spans say.
    #[error("spans are for {spans} buckets, there are {buckets}")]
    Spans {
        /// The sum of the spans' lengths.
        spans: u64,
        /// The number of buckets.
        buckets: usize,
    },
    /// Integer histograms: zero bucket and other buckets together are the count.
    #[error("buckets add up to {buckets}, count is {count}")]
    Count {
        /// The sum over all buckets, the zero bucket included.
        buckets: u64,
        /// What the count says.
        count: u64,
    },
    /// Bounds belong to schema −53 only.
    #[error("custom bounds with an exponential schema")]
    UnexpectedBounds,
    /// Bounds must rise, without NaN; the last bucket has no bound, so +Inf is not one.
    #[error("custom bounds do not rise, or are not finite numbers")]
    Bounds,
    /// At most one bucket more than bounds.
    #[error("spans reach beyond the custom bounds")]
    BeyondBounds,
    /// Custom buckets know neither zero bucket nor negative side.
    #[error("custom buckets with a zero bucket or negative buckets")]
    CustomSides,
}

/// Checks one histogram.
pub(super) fn check(histogram: &Histogram) -> Result<(), InvalidHistogram> {
    let is_float = matches!(histogram.count, Some(Count::Float(_)));
    mixture(histogram, is_float)?;
    match histogram.schema {
        CUSTOM_SCHEMA => custom(histogram, is_float)?,
        -4..=52 => exponential(histogram, is_float)?,
        schema => return Err(InvalidHistogram::Schema(schema)),
    }
    if is_float { float_counts(histogram) } else { integer_counts(histogram) }
}

fn mixture(histogram: &Histogram, is_float: bool) -> Result<(), InvalidHistogram> {
    let zero_fits = match histogram.zero_count {
        Some(Count::Float(_)) => is_float,
        Some(Count::Int(_)) => !is_float,
        None => true,
    };
    let strangers = if is_float {
        histogram.negative_deltas.len() + histogram.positive_deltas.len()
    } else {
        histogram.negative_counts.len() + histogram.positive_counts.len()
    };
    if zero_fits && strangers == 0 { Ok(()) } else { Err(InvalidHistogram::Mixed) }
}

fn exponential(histogram: &Histogram, is_float: bool) -> Result<(), InvalidHistogram> {
    if !histogram.custom_values.is_empty() {
        return Err(InvalidHistogram::UnexpectedBounds);
    }
    let (negative, positive) = bucket_numbers(histogram, is_float);
    spans(&histogram.negative_spans, negative, true)?;
    spans(&histogram.positive_spans, positive, true)
}

fn custom(histogram: &Histogram, is_float: bool) -> Result<(), InvalidHistogram> {
    let (negative, positive) = bucket_numbers(histogram, is_float);
    let zero_count = match histogram.zero_count {
        Some(Count::Int(count)) => count != 0,
        Some(Count::Float(count)) => count != 0.0,
        None => false,
    };
    let has_zero = zero_count || histogram.zero_threshold != 0.0;
    if has_zero || negative > 0 || !histogram.negative_spans.is_empty() {
        return Err(InvalidHistogram::CustomSides);
    }
    let bounds = &histogram.custom_values;
    let rises = bounds.is_sorted_by(|one, next| one < next);
    if !rises || !bounds.iter().all(|bound| bound.is_finite()) {
        return Err(InvalidHistogram::Bounds);
    }
    spans(&histogram.positive_spans, positive, false)?;
    let reach: u64 = histogram
        .positive_spans
        .iter()
        .map(|span| u64::from(span.length) + u64::from(span.offset.unsigned_abs()))
        .sum();
    if reach > bounds.len() as u64 + 1 { Err(InvalidHistogram::BeyondBounds) } else { Ok(()) }
}

const fn bucket_numbers(histogram: &Histogram, is_float: bool) -> (usize, usize) {
    if is_float {
        (histogram.negative_counts.len(), histogram.positive_counts.len())
    } else {
        (histogram.negative_deltas.len(), histogram.positive_deltas.len())
    }
}

/// `first_may_be_negative`: the first offset of an exponential histogram is a bucket's index, not a gap.
fn spans(spans: &[Span], buckets: usize, first_may_be_negative: bool) -> Result<(), InvalidHistogram> {
    let gaps = spans.get(usize::from(first_may_be_negative)..).unwrap_or_default();
    if gaps.iter().any(|span| span.offset < 0) {
        return Err(InvalidHistogram::SpanOffset);
    }
    let total = spans.iter().map(|span| u64::from(span.length)).sum();
    if total == buckets as u64 { Ok(()) } else { Err(InvalidHistogram::Spans { spans: total, buckets }) }
}

fn integer_counts(histogram: &Histogram) -> Result<(), InvalidHistogram> {
    let whole = |count| if let Some(Count::Int(count)) = count { count } else { 0 };
    let count = whole(histogram.count);
    let mut buckets = whole(histogram.zero_count);
    for deltas in [&histogram.negative_deltas, &histogram.positive_deltas] {
        let mut bucket = 0_i64;
        for delta in deltas {
            bucket = bucket.checked_add(*delta).ok_or(InvalidHistogram::BucketCount)?;
            let bucket = u64::try_from(bucket).ok().ok_or(InvalidHistogram::BucketCount)?;
            buckets = buckets.checked_add(bucket).ok_or(InvalidHistogram::BucketCount)?;
        }
    }
    // With a NaN sum (an observation of NaN falls into no bucket; stale markers) the buckets may be fewer.
    let adds_up = if histogram.sum.is_nan() { buckets <= count } else { buckets == count };
    if adds_up { Ok(()) } else { Err(InvalidHistogram::Count { buckets, count }) }
}

/// Rounding makes float sums inexact, so they are not compared.
fn float_counts(histogram: &Histogram) -> Result<(), InvalidHistogram> {
    let part = |count| if let Some(Count::Float(count)) = count { count } else { 0.0 };
    let buckets = histogram.negative_counts.iter().chain(&histogram.positive_counts).copied();
    let mut counts = [part(histogram.count), part(histogram.zero_count)].into_iter().chain(buckets);
    if counts.any(|count| count < 0.0) { Err(InvalidHistogram::BucketCount) } else { Ok(()) }
}

#[cfg(test)]
mod tests;

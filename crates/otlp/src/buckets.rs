//! Buckets as spans and deltas (Prometheus' native histograms), from the rows of counts that OTLP has.

use remote_write::model::Span;

use crate::message::Side;
use crate::refused::Cause;

/// Up to so many empty buckets are written out; a larger gap begins a span.
const LARGEST_FILLED_GAP: i64 = 2;

/// Buckets with their spans.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) spans: Vec<Span>,
    pub(crate) deltas: Vec<i64>,
    /// All counts together; more than 64 bits is an error.
    pub(crate) total: u64,
}

/// One side of an exponential histogram, each `2^shift` buckets made one.
///
/// OTLP's bucket `i` is what lies above `base^i` and up to `base^(i+1)`; Prometheus calls the same one `i+1`, after its upper bound.
pub(crate) fn exponential(side: &Side, shift: u32) -> Result<Layout, Cause> {
    let indexed = side.counts.iter().zip(i64::from(side.offset)..);
    lay_out(indexed.map(|(count, index)| ((index >> shift.min(62)) + 1, *count)))
}

/// The buckets of a histogram with custom bounds.
pub(crate) fn custom(counts: &[u64]) -> Result<Layout, Cause> {
    lay_out((0..).zip(counts.iter().copied()))
}

/// Lays out counts whose indexes do not fall; equal ones are one bucket.
fn lay_out(counts: impl Iterator<Item = (i64, u64)>) -> Result<Layout, Cause> {
    let mut merged: Vec<(i64, u64)> = Vec::new();
    let mut layout = Layout::default();
    for (index, count) in counts.filter(|(_, count)| *count > 0) {
        layout.total = layout.total.checked_add(count).ok_or(Cause::Count)?;
        match merged.last_mut() {
            Some((last, sum)) if *last == index => *sum += count,
            _ => merged.push((index, count)),
        }
    }
    let (mut next, mut before) = (0, 0);
    for (position, (index, count)) in merged.into_iter().enumerate() {
        let gap = index - next;
        if position == 0 || gap > LARGEST_FILLED_GAP {
            let offset = i32::try_from(gap).ok().ok_or(Cause::Index)?;
            layout.spans.push(Span { offset, length: 0 });
        } else {
            for _ in 0..gap {
                layout.push(0, &mut before);
            }
        }
        layout.push(i64::try_from(count).ok().ok_or(Cause::Count)?, &mut before);
        next = index + 1;
    }
    // The last index must be one too: receivers add up offsets and lengths in 32 bits.
    i32::try_from(next).map(|_| layout).ok().ok_or(Cause::Index)
}

impl Layout {
    fn push(&mut self, count: i64, before: &mut i64) {
        if let Some(span) = self.spans.last_mut() {
            span.length += 1;
        }
        self.deltas.push(count - *before);
        *before = count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(offset: i32, counts: &[u64]) -> Side {
        Side { offset, counts: counts.to_vec() }
    }

    fn layout(spans: &[(i32, u32)], deltas: &[i64]) -> Layout {
        let spans = spans.iter().map(|&(offset, length)| Span { offset, length }).collect();
        let (mut total, mut bucket) = (0, 0_i64);
        for delta in deltas {
            bucket += delta;
            total += bucket.cast_unsigned();
        }
        Layout { spans, deltas: deltas.to_vec(), total }
    }

    #[test]
    fn a_bucket_is_called_after_its_upper_bound() {
        assert_eq!(exponential(&side(0, &[4, 2, 3]), 0).unwrap(), layout(&[(1, 3)], &[4, -2, 1]));
        assert_eq!(exponential(&side(-3, &[1]), 0).unwrap(), layout(&[(-2, 1)], &[1]));
    }

    #[test]
    fn gaps_of_two_are_filled_and_larger_ones_begin_a_span() {
        let gaps = side(0, &[1, 0, 0, 2, 0, 0, 0, 3]);
        assert_eq!(exponential(&gaps, 0).unwrap(), layout(&[(1, 4), (3, 1)], &[1, -1, 0, 2, 1]));
    }

    #[test]
    fn empty_buckets_at_both_ends_are_not_written() {
        assert_eq!(exponential(&side(5, &[0, 0, 7, 0]), 0).unwrap(), layout(&[(8, 1)], &[7]));
        assert_eq!(exponential(&side(5, &[0, 0]), 0).unwrap(), Layout::default());
    }

    #[test]
    fn reducing_the_scale_merges_buckets_towards_minus_infinity() {
        // Indexes -5 to 4; by 2² they are -2 -2 -1 -1 -1 -1 0 0 0 0 1, of which ten are there.
        let counts = side(-5, &[1, 1, 1, 1, 1, 1, 1, 1, 1, 1]);
        assert_eq!(exponential(&counts, 2).unwrap(), layout(&[(-1, 4)], &[1, 3, 0, -3]));
        // By more than there are bits all is in the two around zero.
        assert_eq!(exponential(&counts, 4000).unwrap(), layout(&[(0, 2)], &[5, 0]));
    }

    #[test]
    fn custom_buckets_keep_their_indexes() {
        assert_eq!(custom(&[0, 2, 0, 0, 0, 1]).unwrap(), layout(&[(1, 1), (3, 1)], &[2, -1]));
    }

    #[test]
    fn counts_and_indexes_that_do_not_fit_are_refused() {
        assert_eq!(custom(&[u64::MAX, 1]), Err(Cause::Count));
        assert_eq!(custom(&[1 << 63]), Err(Cause::Count));
        assert_eq!(exponential(&side(i32::MAX, &[1]), 0), Err(Cause::Index));
    }
}

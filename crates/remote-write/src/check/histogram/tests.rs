//! Each way in which a histogram can fail to add up.

use super::{InvalidHistogram, check};
use crate::model::{Count, Histogram, Span};

fn spans(lengths: &[(i32, u32)]) -> Vec<Span> {
    lengths.iter().map(|&(offset, length)| Span { offset, length }).collect()
}

/// Counts 1, 3 and 2 above zero, 4 below, 2 at zero.
fn integer() -> Histogram {
    Histogram {
        count: Some(Count::Int(12)),
        zero_count: Some(Count::Int(2)),
        zero_threshold: 1e-128,
        schema: 3,
        negative_spans: spans(&[(-5, 1)]),
        negative_deltas: vec![4],
        positive_spans: spans(&[(-2, 2), (3, 1)]),
        positive_deltas: vec![1, 2, -1],
        ..Histogram::default()
    }
}

fn float() -> Histogram {
    Histogram {
        count: Some(Count::Float(12.5)),
        zero_count: Some(Count::Float(0.5)),
        positive_spans: spans(&[(0, 2)]),
        positive_counts: vec![0.25, f64::NAN],
        ..Histogram::default()
    }
}

/// Buckets up to 1, 2 and +Inf.
fn custom() -> Histogram {
    Histogram {
        count: Some(Count::Int(6)),
        schema: -53,
        positive_spans: spans(&[(0, 1), (1, 1)]),
        positive_deltas: vec![2, 2],
        custom_values: vec![1.0, 2.0],
        ..Histogram::default()
    }
}

fn spoiled(mut histogram: Histogram, spoil: impl FnOnce(&mut Histogram)) -> Result<(), InvalidHistogram> {
    spoil(&mut histogram);
    check(&histogram)
}

#[test]
fn histograms_of_every_kind_that_add_up_are_valid() {
    for histogram in [integer(), float(), custom(), Histogram::default()] {
        assert_eq!(check(&histogram), Ok(()), "{histogram:?}");
    }
}

#[test]
fn schemas_are_minus_4_to_52_and_minus_53() {
    let with_schema = |schema| check(&Histogram { schema, ..Histogram::default() });
    for schema in [-4, 0, 8, 9, 52, -53] {
        assert_eq!(with_schema(schema), Ok(()));
    }
    for schema in [-9, -5, 53, -52, -54, i32::MIN, i32::MAX] {
        assert_eq!(with_schema(schema), Err(InvalidHistogram::Schema(schema)));
    }
}

#[test]
fn integer_and_float_parts_do_not_mix() {
    let mixed = Err(InvalidHistogram::Mixed);
    assert_eq!(spoiled(integer(), |it| it.zero_count = Some(Count::Float(2.0))), mixed);
    assert_eq!(spoiled(integer(), |it| it.positive_counts = vec![1.0]), mixed);
    assert_eq!(spoiled(integer(), |it| it.count = Some(Count::Float(12.0))), mixed);
    assert_eq!(spoiled(float(), |it| it.zero_count = Some(Count::Int(2))), mixed);
    assert_eq!(spoiled(float(), |it| it.negative_deltas = vec![1]), mixed);
    assert_eq!(spoiled(float(), |it| it.count = None), mixed);
}

#[test]
fn an_integer_count_is_the_sum_of_its_buckets() {
    let count = |count, sum| spoiled(integer(), |it| (it.count, it.sum) = (Some(Count::Int(count)), sum));
    assert_eq!(count(99, 1.0), Err(InvalidHistogram::Count { buckets: 12, count: 99 }));
    assert_eq!(count(11, 1.0), Err(InvalidHistogram::Count { buckets: 12, count: 11 }));
    assert_eq!(spoiled(integer(), |it| it.count = None), Err(InvalidHistogram::Count { buckets: 12, count: 0 }));
}

#[test]
fn with_a_nan_sum_the_buckets_may_be_fewer_but_not_more() {
    let stale = f64::from_bits(0x7ff0_0000_0000_0002);
    let count = |count| spoiled(integer(), |it| (it.count, it.sum) = (Some(Count::Int(count)), stale));
    assert_eq!((count(12), count(99)), (Ok(()), Ok(())));
    assert_eq!(count(11), Err(InvalidHistogram::Count { buckets: 12, count: 11 }));
}

#[test]
fn bucket_counts_are_neither_negative_nor_too_large() {
    let bad = Err(InvalidHistogram::BucketCount);
    assert_eq!(spoiled(integer(), |it| it.positive_deltas = vec![1, -2, 1]), bad);
    assert_eq!(spoiled(integer(), |it| it.positive_deltas = vec![i64::MAX, 1, 1]), bad);
    assert_eq!(spoiled(integer(), |it| it.positive_deltas = vec![i64::MAX, 0, 0]), bad);
    assert_eq!(spoiled(integer(), |it| it.negative_deltas = vec![-1]), bad);
    for spoil in [
        |it: &mut Histogram| it.count = Some(Count::Float(-1.0)),
        |it: &mut Histogram| it.zero_count = Some(Count::Float(-0.1)),
        |it: &mut Histogram| it.positive_counts = vec![1.0, f64::NEG_INFINITY],
    ] {
        assert_eq!(spoiled(float(), spoil), bad);
    }
}

#[test]
fn spans_are_for_as_many_buckets_as_there_are() {
    assert_eq!(
        spoiled(integer(), |it| it.positive_spans = spans(&[(0, 4)])),
        Err(InvalidHistogram::Spans { spans: 4, buckets: 3 })
    );
    assert_eq!(
        spoiled(integer(), |it| it.negative_spans.clear()),
        Err(InvalidHistogram::Spans { spans: 0, buckets: 1 })
    );
    assert_eq!(
        spoiled(integer(), |it| it.positive_spans = spans(&[(0, u32::MAX), (0, u32::MAX)])),
        Err(InvalidHistogram::Spans { spans: 2 * u64::from(u32::MAX), buckets: 3 })
    );
    assert_eq!(
        spoiled(custom(), |it| it.positive_spans = spans(&[(0, 1)])),
        Err(InvalidHistogram::Spans { spans: 1, buckets: 2 })
    );
}

#[test]
fn only_the_first_offset_of_exponential_buckets_may_be_negative() {
    let negative = Err(InvalidHistogram::SpanOffset);
    assert_eq!(spoiled(integer(), |it| it.positive_spans = spans(&[(-2, 2), (-1, 1)])), negative);
    assert_eq!(spoiled(custom(), |it| it.positive_spans = spans(&[(-1, 2)])), negative);
}

#[test]
fn custom_bounds_rise_and_are_finite_and_belong_to_custom_buckets_only() {
    for bounds in [
        vec![2.0, 1.0],
        vec![1.0, 1.0],
        vec![f64::NAN],
        vec![1.0, f64::NAN],
        vec![1.0, f64::INFINITY],
        vec![f64::NEG_INFINITY, 1.0],
    ] {
        assert_eq!(spoiled(custom(), |it| it.custom_values = bounds), Err(InvalidHistogram::Bounds));
    }
    assert_eq!(spoiled(integer(), |it| it.custom_values = vec![1.0]), Err(InvalidHistogram::UnexpectedBounds));
}

#[test]
fn custom_buckets_have_no_zero_bucket_and_no_negative_side() {
    for spoil in [
        |it: &mut Histogram| it.zero_count = Some(Count::Int(1)),
        |it: &mut Histogram| it.zero_threshold = 0.1,
        |it: &mut Histogram| it.zero_threshold = f64::NAN,
        |it: &mut Histogram| it.negative_spans = vec![Span::default()],
        |it: &mut Histogram| it.negative_deltas = vec![1],
    ] {
        assert_eq!(spoiled(custom(), spoil), Err(InvalidHistogram::CustomSides));
    }
    assert_eq!(spoiled(custom(), |it| it.zero_count = Some(Count::Int(0))), Ok(()));
}

#[test]
fn custom_spans_reach_one_bucket_beyond_the_bounds_at_most() {
    assert_eq!(
        spoiled(custom(), |it| it.positive_spans = spans(&[(0, 1), (2, 1)])),
        Err(InvalidHistogram::BeyondBounds)
    );
    assert_eq!(
        spoiled(custom(), |it| it.positive_spans = spans(&[(i32::MAX, 1), (i32::MAX, 1)])),
        Err(InvalidHistogram::BeyondBounds)
    );
}

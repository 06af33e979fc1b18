//! Histograms: with explicit bounds as a series per bucket or as one native histogram, exponential ones as native ones.

use remote_write::model::{Count, Histogram, Series};

use crate::accumulate::Total;
use crate::buckets::{custom, exponential};
use crate::exemplar::{Made, exemplars};
use crate::labels::LabelSet;
use crate::message::{Explicit, Exponential, Head};
use crate::number::{bounds, count, sample, start_timestamp};
use crate::refused::{Cause, Failure};
use crate::translate::{Family, Pass, STALE, millis};

/// Native histograms with custom buckets have this schema.
const CUSTOM_SCHEMA: i32 = -53;
/// The finest and the coarsest schema of Prometheus.
const SCHEMAS: [i32; 2] = [-4, 8];
/// What counts as zero where the sender does not say.
const ZERO_THRESHOLD: f64 = 1e-128;

impl Pass<'_> {
    /// A histogram with explicit bounds.
    pub(crate) fn explicit(&mut self, family: &Family<'_>, mut point: Explicit<'_>) -> Result<u64, Failure> {
        check_bounds(&mut point)?;
        let texts =
            if family.is_native { Vec::new() } else { bounds("le", point.bounds.iter().copied(), self.rules.limits)? };
        // Checked before it is added: a total is never taken back.
        let native = |point: &Explicit<'_>| family.is_native.then(|| with_custom_buckets(point)).transpose();
        let mut histogram = native(&point)?;
        let labels = family.labels(&mut point.head.attributes, 2, "_bucket", self.rules)?;
        if family.is_delta && !point.head.no_recorded_value {
            let increment =
                Total::Explicit { bounds: point.bounds, counts: point.counts, count: point.count, sum: point.sum };
            let (total, start) = self.accumulate(family, &labels, &point.head, increment)?;
            let Total::Explicit { bounds, counts, count, sum } = total else { return Err(Cause::Count.into()) };
            point.head.start = start;
            point = Explicit { bounds, counts, count, sum, head: point.head };
            histogram = native(&point)?;
        }
        let exemplars = exemplars(&point.head, self.rules.options, &mut self.lost_exemplars)?;
        match histogram {
            Some(histogram) => self.native(family, &labels, histogram, &exemplars)?,
            None => self.classic(family, &labels, (&point, &texts), &exemplars)?,
        }
        Ok(point.head.time)
    }

    /// `_bucket` with the counts up to each bound, `_sum` if it is known, and `_count`.
    fn classic(
        &mut self,
        family: &Family<'_>,
        labels: &LabelSet<'_>,
        (point, texts): (&Explicit<'_>, &[String]),
        exemplars: &[Made<'_>],
    ) -> Result<(), Failure> {
        let head = &point.head;
        let value = |value: f64| if head.no_recorded_value { f64::from_bits(STALE) } else { value };
        let mut put = |labels, number, exemplars| {
            self.put(&Series {
                labels,
                samples: vec![sample(value(number), head.time, head.start)],
                exemplars,
                metadata: Some(family.metadata()),
                ..Series::default()
            })
        };
        let [sum, total, bucket] = ["_sum", "_count", "_bucket"].map(|suffix| format!("{}{suffix}", family.name));
        // A series that ends ends whole, whether or not it had a sum.
        let ended = head.no_recorded_value.then_some(0.0);
        if let Some(number) = point.sum.or(ended) {
            put(labels.named(&sum, None).labels, number, Vec::new())?;
        }
        put(labels.named(&total, None).labels, count(point.count), Vec::new())?;
        let named = labels.named(&bucket, Some("le"));
        let (mut up_to, mut below) = (0_u64, f64::NEG_INFINITY);
        for (index, (upper, text)) in point.bounds.iter().zip(texts).enumerate() {
            up_to = up_to.saturating_add(point.counts.get(index).copied().unwrap_or_default());
            let lower = std::mem::replace(&mut below, *upper);
            let within = exemplars.iter().filter(|one| one.value <= *upper && (index == 0 || one.value > lower));
            put(named.with(text), count(up_to), within.map(Made::borrowed).collect())?;
        }
        // One whose value is no number is in no other bucket.
        let is_below = |one: &Made<'_>| !point.bounds.is_empty() && one.value <= below;
        let above = exemplars.iter().filter(|one| !is_below(one));
        put(named.with("+Inf"), count(point.count), above.map(Made::borrowed).collect())
    }

    /// An exponential histogram.
    pub(crate) fn exponential(&mut self, family: &Family<'_>, mut point: Exponential<'_>) -> Result<u64, Failure> {
        if !(point.zero_threshold.is_finite() && point.zero_threshold >= 0.0) {
            return Err(Cause::ZeroThreshold.into());
        }
        if point.scale < SCHEMAS[0] {
            return Err(Cause::Scale(point.scale).into());
        }
        // Checked before it is added: a total is never taken back.
        let mut histogram = exponential_histogram(&point)?;
        let labels = family.labels(&mut point.head.attributes, 1, "", self.rules)?;
        if family.is_delta && !point.head.no_recorded_value {
            let increment = crate::accumulate::Exponential::of(&mut point);
            let (total, start) = self.accumulate(family, &labels, &point.head, Total::Exponential(increment))?;
            let Total::Exponential(total) = total else { return Err(Cause::Count.into()) };
            point.head.start = start;
            total.put_into(&mut point);
            histogram = exponential_histogram(&point)?;
        }
        let exemplars = exemplars(&point.head, self.rules.options, &mut self.lost_exemplars)?;
        self.native(family, &labels, histogram, &exemplars)?;
        Ok(point.head.time)
    }

    fn native(
        &mut self,
        family: &Family<'_>,
        labels: &LabelSet<'_>,
        histogram: Histogram,
        exemplars: &[Made<'_>],
    ) -> Result<(), Failure> {
        self.put(&Series {
            labels: labels.named(&family.name, None).labels,
            histograms: vec![histogram],
            exemplars: exemplars.iter().map(Made::borrowed).collect(),
            metadata: Some(family.metadata()),
            ..Series::default()
        })
    }
}

/// Bounds rise and there is one bucket more than bounds, or there is neither. A last bound of +Inf says what is the case anyhow.
fn check_bounds(point: &mut Explicit<'_>) -> Result<(), Cause> {
    if point.bounds.last() == Some(&f64::INFINITY) {
        point.bounds.pop();
        if let Some(above) = point.counts.pop() {
            match point.counts.last_mut() {
                Some(last) => *last = last.checked_add(above).ok_or(Cause::Count)?,
                None => point.counts.push(above),
            }
        }
    }
    let rises = point.bounds.is_sorted_by(|one, next| one < next);
    if !rises || !point.bounds.iter().all(|bound| bound.is_finite()) {
        return Err(Cause::Bounds);
    }
    let (buckets, bounds) = (point.counts.len(), point.bounds.len());
    let fits = if buckets == 0 { bounds == 0 || point.head.no_recorded_value } else { buckets == bounds + 1 };
    if fits { Ok(()) } else { Err(Cause::BucketNumber { buckets, bounds }) }
}

/// What a native histogram of this point has whatever its buckets are. The reset hint stays unknown: a wrong "no reset" would be
/// believed.
fn frame(head: &Head<'_>, sum: Option<f64>) -> Histogram {
    let timestamp = millis(head.time);
    Histogram {
        // Without a sum it is 0, as Prometheus has it.
        sum: if head.no_recorded_value { f64::from_bits(STALE) } else { sum.unwrap_or_default() },
        count: Some(Count::Int(0)),
        timestamp,
        start_timestamp: start_timestamp(head.start, timestamp),
        ..Histogram::default()
    }
}

fn with_custom_buckets(point: &Explicit<'_>) -> Result<Histogram, Cause> {
    let mut histogram = frame(&point.head, point.sum);
    histogram.schema = CUSTOM_SCHEMA;
    if point.head.no_recorded_value {
        return Ok(histogram);
    }
    // Without buckets all is in the one that has no bound.
    let all = [point.count];
    let layout = custom(if point.counts.is_empty() { &all } else { &point.counts })?;
    fits(layout.total, point.count, histogram.sum)?;
    histogram.count = Some(Count::Int(point.count));
    histogram.custom_values.clone_from(&point.bounds);
    (histogram.positive_spans, histogram.positive_deltas) = (layout.spans, layout.deltas);
    Ok(histogram)
}

fn exponential_histogram(point: &Exponential<'_>) -> Result<Histogram, Cause> {
    let mut histogram = frame(&point.head, point.sum);
    let schema = point.scale.min(SCHEMAS[1]);
    histogram.schema = schema;
    histogram.zero_threshold = if point.zero_threshold > 0.0 { point.zero_threshold } else { ZERO_THRESHOLD };
    if point.head.no_recorded_value {
        histogram.zero_count = Some(Count::Int(0));
        return Ok(histogram);
    }
    let shift = point.scale.abs_diff(schema);
    let (positive, negative) = (exponential(&point.positive, shift)?, exponential(&point.negative, shift)?);
    let sides = positive.total.checked_add(negative.total).ok_or(Cause::Count)?;
    fits(sides.checked_add(point.zero_count).ok_or(Cause::Count)?, point.count, histogram.sum)?;
    histogram.count = Some(Count::Int(point.count));
    histogram.zero_count = Some(Count::Int(point.zero_count));
    (histogram.positive_spans, histogram.positive_deltas) = (positive.spans, positive.deltas);
    (histogram.negative_spans, histogram.negative_deltas) = (negative.spans, negative.deltas);
    Ok(histogram)
}

/// What was no number is in the count and in no bucket; the sum is none then either.
fn fits(buckets: u64, count: u64, sum: f64) -> Result<(), Cause> {
    let fits = if sum.is_nan() { buckets <= count } else { buckets == count };
    if fits { Ok(()) } else { Err(Cause::Count) }
}

//! Gauges, sums and summaries: each value is a sample.

use remote_write::model::{Sample, Series};

use crate::accumulate::Total;
use crate::exemplar::{Made, exemplars};
use crate::labels::check_value;
use crate::message::{Number, Shape, Summary};
use crate::options::Limits;
use crate::refused::{Cause, Failure};
use crate::translate::{Family, Pass, STALE, millis};

impl Pass<'_> {
    /// A point of a gauge or a sum.
    pub(crate) fn number(&mut self, family: &Family<'_>, mut point: Number<'_>) -> Result<u64, Failure> {
        let (mut value, mut start) = match point.value {
            _ if point.head.no_recorded_value => (f64::from_bits(STALE), point.head.start),
            Some(value) => (value, point.head.start),
            None => return Err(Cause::NoValue.into()),
        };
        let labels = family.labels(&mut point.head.attributes, 1, "", self.rules)?;
        if family.is_delta && !point.head.no_recorded_value {
            if family.is_monotonic && value < 0.0 {
                return Err(Cause::DeltaFalls.into());
            }
            let (total, since) = self.accumulate(family, &labels, &point.head, Total::Number(value))?;
            if let Total::Number(total) = total {
                (value, start) = (total, since);
            }
        }
        // An exemplar says how a count came about; a gauge has none.
        let made = match family.shape {
            Shape::Gauge => Vec::new(),
            _ => exemplars(&point.head, self.rules.options, &mut self.lost_exemplars)?,
        };
        // The start of a gauge says nothing about its value.
        let start = if family.shape == Shape::Gauge { 0 } else { start };
        self.put(&Series {
            labels: labels.named(&family.name, None).labels,
            samples: vec![sample(value, point.head.time, start)],
            exemplars: made.iter().map(Made::borrowed).collect(),
            metadata: Some(family.metadata()),
            ..Series::default()
        })?;
        Ok(point.head.time)
    }

    /// A summary: a series for each quantile, and `_sum` and `_count`.
    pub(crate) fn summary(&mut self, family: &Family<'_>, mut point: Summary<'_>) -> Result<u64, Failure> {
        let labels = family.labels(&mut point.head.attributes, 2, "_count", self.rules)?;
        let texts = bounds("quantile", point.quantiles.iter().map(|(quantile, _)| *quantile), self.rules.limits)?;
        let head = &point.head;
        let value = |value: f64| if head.no_recorded_value { f64::from_bits(STALE) } else { value };
        let mut put = |labels, number| {
            self.put(&Series {
                labels,
                samples: vec![sample(value(number), head.time, head.start)],
                metadata: Some(family.metadata()),
                ..Series::default()
            })
        };
        let [sum, total] = ["_sum", "_count"].map(|suffix| format!("{}{suffix}", family.name));
        put(labels.named(&sum, None).labels, point.sum)?;
        put(labels.named(&total, None).labels, count(point.count))?;
        let named = labels.named(&family.name, Some("quantile"));
        for ((_, number), text) in point.quantiles.iter().zip(&texts) {
            put(named.with(text), *number)?;
        }
        Ok(head.time)
    }
}

/// A count as the value of a sample.
#[expect(clippy::cast_precision_loss, reason = "samples are doubles")]
pub(crate) const fn count(count: u64) -> f64 {
    count as f64
}

/// Bounds as values of `le`, quantiles as values of `quantile`, as far as a tenant's labels may be so long.
pub(crate) fn bounds(label: &str, values: impl Iterator<Item = f64>, limits: Limits) -> Result<Vec<String>, Cause> {
    let text = |value| {
        let text = bound(value);
        check_value(limits, label, &text).map(|()| text)
    };
    values.map(text).collect()
}

/// The shortest decimal, never with an exponent.
fn bound(value: f64) -> String {
    if value == f64::INFINITY {
        "+Inf".to_owned()
    } else if value == f64::NEG_INFINITY {
        "-Inf".to_owned()
    } else {
        value.to_string()
    }
}

/// A sample of what is counted since `start`; both in nanoseconds.
pub(crate) const fn sample(value: f64, time: u64, start: u64) -> Sample {
    let timestamp = millis(time);
    Sample { value, timestamp, start_timestamp: start_timestamp(start, timestamp) }
}

/// Receivers refuse a start that is not before its sample; 0 is unknown.
pub(crate) const fn start_timestamp(start: u64, timestamp: i64) -> i64 {
    let start = millis(start);
    if start < timestamp { start } else { 0 }
}

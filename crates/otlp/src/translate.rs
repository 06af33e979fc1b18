//! The one pass over a request: resource by resource, scope by scope, metric by metric, point by point.
//!
//! A point that cannot become series is refused alone. Only what is no request, or becomes more than there may be, ends the
//! pass.

use remote_write::check::series_hash;
use remote_write::encode::V2Encoder;
use remote_write::model::{Metadata, Series};
use remote_write::wire::{Malformed, Reader};

use crate::accumulate::{Session, Total};
use crate::labels::{Added, LabelSet, OfResource};
use crate::message::{
    Explicit, Exponential, Head, Metric, Number, Pair, Scope, Shape, Summary, bytes, each_field, message, resource,
    text,
};
use crate::name::{MetricKind, metric_name, unit_name};
use crate::options::{Limits, MAX_POINTS, Options};
use crate::refused::{Cause, Failure, Refused};
use crate::target_info::{Seen, Times};

/// The float that ends a series.
pub(crate) const STALE: u64 = 0x7ff0_0000_0000_0002;

/// Nanoseconds as milliseconds.
pub(crate) const fn millis(nanos: u64) -> i64 {
    (nanos / 1_000_000).cast_signed()
}

/// Nothing of a request can be translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TranslateError {
    /// It is no `ExportMetricsServiceRequest`.
    #[error("{0}")]
    Malformed(#[from] Malformed),
    /// It becomes more bytes than there may be.
    #[error("it becomes more bytes than it may")]
    TooLarge,
    /// It has, or becomes, more of something than there may be.
    #[error("more than {limit} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        limit: u64,
    },
}

/// How a request is translated.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'r> {
    /// Names and labels.
    pub options: &'r Options,
    /// How much there may be.
    pub limits: Limits,
    /// Say which series came of which point.
    pub note_series: bool,
}

/// What became of a request.
#[derive(Debug, Default)]
pub struct Translation {
    /// Points in it.
    pub points: u64,
    /// Points that became nothing.
    pub refused: Refused,
    /// Exemplars of the others that became nothing.
    pub lost_exemplars: u64,
    /// If it was asked for: [`series_hash`] of each series, and the point it came of, counted from 0. `target_info` comes of
    /// none.
    pub series: Vec<(u32, u32)>,
}

/// Translates requests one after the other, and keeps its memory between them.
#[derive(Debug, Default)]
pub struct Translator {
    encoder: V2Encoder,
}

impl Translator {
    /// Takes no memory until the first request.
    pub fn new() -> Self {
        Self::default()
    }

    /// Translates an `ExportMetricsServiceRequest` into an `io.prometheus.write.v2.Request`, which is put in the place of what
    /// `out` holds. Deltas are added to the totals of `deltas`; without it they are refused.
    ///
    /// # Errors
    /// When the bytes are no request, or too much. Nothing was added to `deltas` then.
    pub fn translate(
        &mut self,
        request: &[u8],
        rules: Rules<'_>,
        deltas: Option<Session<'_>>,
        out: &mut Vec<u8>,
    ) -> Result<Translation, TranslateError> {
        self.encoder.clear();
        let mut pass = Pass {
            rules,
            encoder: &mut self.encoder,
            translation: Translation::default(),
            lost_exemplars: 0,
            target_info: Seen::new(),
            deltas,
        };
        each_field::<TranslateError>(Reader::new(request), |tag, reader| match tag.field {
            1 => pass.resource(message(tag, reader)?).map(|()| true),
            _ => Ok(false),
        })?;
        let Pass { translation, lost_exemplars, deltas, .. } = pass;
        if let Some(deltas) = deltas {
            deltas.keep();
        }
        self.encoder.finish(out);
        Ok(Translation { lost_exemplars, ..translation })
    }
}

/// The state of one pass.
#[derive(Debug)]
pub(crate) struct Pass<'p> {
    pub(crate) rules: Rules<'p>,
    encoder: &'p mut V2Encoder,
    translation: Translation,
    pub(crate) lost_exemplars: u64,
    pub(crate) target_info: Seen,
    deltas: Option<Session<'p>>,
}

/// A metric whose points can be translated.
#[derive(Debug)]
pub(crate) struct Family<'a> {
    pub(crate) name: String,
    pub(crate) shape: Shape,
    /// It becomes native histograms.
    pub(crate) is_native: bool,
    pub(crate) is_delta: bool,
    /// A sum that only rises.
    pub(crate) is_monotonic: bool,
    kind: i32,
    help: &'a [u8],
    unit: String,
    added: &'a Added<'a, 'a>,
}

impl<'a> Family<'a> {
    fn of(
        metric: &Metric<'a>,
        shape: Shape,
        (rules, takes_deltas): (Rules<'_>, bool),
        added: &'a Added<'a, 'a>,
    ) -> Result<Self, Cause> {
        let has_temporality = matches!(shape, Shape::Sum | Shape::Histogram | Shape::Exponential);
        match metric.temporality {
            1 if has_temporality && !takes_deltas => return Err(Cause::Delta),
            1 | 2 => {}
            _ if has_temporality => return Err(Cause::NoTemporality),
            _ => {}
        }
        let (strategy, name_kind, kind) = match shape {
            Shape::Gauge => (rules.options.strategy, MetricKind::Gauge, 2),
            Shape::Sum if metric.is_monotonic => (rules.options.strategy, MetricKind::Counter, 1),
            Shape::Sum => (rules.options.strategy, MetricKind::Other, 2),
            Shape::Histogram | Shape::Exponential => (rules.options.strategy, MetricKind::Other, 3),
            Shape::Summary => (rules.options.strategy, MetricKind::Other, 5),
        };
        let (name, unit) = (text(metric.name, "the metric's name")?, text(metric.unit, "the metric's unit")?);
        let limit = rules.limits.label_names;
        // What the resource adds is known before the points are read, of which there may be many.
        if limit > 0 && added.len() >= limit as usize {
            return Err(Cause::LabelNames { labels: added.len() + 1, limit });
        }
        Ok(Self {
            name: metric_name(name, unit, name_kind, strategy).ok_or(Cause::Name)?,
            shape,
            is_native: is_native(shape, rules.options),
            is_delta: has_temporality && metric.temporality == 1,
            is_monotonic: shape == Shape::Sum && metric.is_monotonic,
            kind,
            help: if std::str::from_utf8(metric.description).is_ok() { metric.description } else { b"" },
            unit: unit_name(unit, strategy),
            added,
        })
    }

    pub(crate) fn metadata(&self) -> Metadata<'_> {
        Metadata { kind: self.kind, family: b"", help: self.help, unit: self.unit.as_bytes() }
    }

    /// The labels of a point, which becomes series with `more` labels beside them and names that end in `suffix` at the longest.
    pub(crate) fn labels<'p, 'r: 'p>(
        &'p self,
        attributes: &mut [Pair<'r>],
        more: usize,
        suffix: &str,
        rules: Rules<'_>,
    ) -> Result<LabelSet<'p>, Cause> {
        let mut labels: LabelSet<'p> = LabelSet::of(attributes, rules.options)?;
        self.added.add_to(&mut labels);
        let more = if self.is_native { 1 } else { more };
        labels.check(rules.limits, more, &format!("{}{suffix}", self.name))?;
        Ok(labels)
    }
}

fn is_native(shape: Shape, options: &Options) -> bool {
    shape == Shape::Exponential || (shape == Shape::Histogram && options.convert_histograms_to_nhcb)
}

impl Pass<'_> {
    fn resource(&mut self, whole: Reader<'_>) -> Result<(), TranslateError> {
        // Fields come in any order, and the points need what the resource is.
        let mut attributes = Vec::new();
        let read = each_field::<Failure>(whole, |tag, reader| match tag.field {
            1 => resource(message(tag, reader)?, &mut attributes).map(|()| true),
            _ => Ok(false),
        });
        let known = unless_stopped(read)?;
        let added = known.map(|()| OfResource::of(&attributes, self.rules.options));
        let mut times = Times::default();
        each_field::<TranslateError>(whole, |tag, reader| match tag.field {
            2 => self.scope(message(tag, reader)?, added.as_ref(), &mut times).map(|()| true),
            _ => Ok(false),
        })?;
        match added {
            Ok(added) => unless_stopped(self.target_info(&attributes, &added, times)).map(|_| ()),
            Err(_) => Ok(()),
        }
    }

    fn scope(
        &mut self,
        whole: Reader<'_>,
        resource: Result<&OfResource<'_>, &Cause>,
        times: &mut Times,
    ) -> Result<(), TranslateError> {
        let mut scope = Scope::default();
        let read = each_field::<Failure>(whole, |tag, reader| {
            match tag.field {
                1 => scope.read(message(tag, reader)?)?,
                3 => scope.schema_url = text(bytes(tag, reader)?, "the schema URL of the scope")?,
                _ => return Ok(false),
            }
            Ok(true)
        });
        let known = unless_stopped(read)?;
        let added = match (resource, known) {
            (Ok(resource), Ok(())) => Ok(Added::of(resource, &scope, self.rules.options)),
            (Err(cause), _) => Err(cause.clone()),
            (_, Err(cause)) => Err(cause),
        };
        each_field::<TranslateError>(whole, |tag, reader| match tag.field {
            2 => self.metric(message(tag, reader)?, added.as_ref(), times).map(|()| true),
            _ => Ok(false),
        })
    }

    fn metric(
        &mut self,
        whole: Reader<'_>,
        added: Result<&Added<'_, '_>, &Cause>,
        times: &mut Times,
    ) -> Result<(), TranslateError> {
        let metric = Metric::read(whole)?;
        let Some(shape) = metric.shape else { return Ok(()) };
        let (rules, told) = ((self.rules, self.deltas.is_some()), String::from_utf8_lossy(metric.name));
        let is_native = is_native(shape, self.rules.options);
        let family = added.map_err(Clone::clone).and_then(|added| Family::of(&metric, shape, rules, added));
        match family {
            Ok(family) => metric.each_point(|point| {
                self.count_point()?;
                match unless_stopped(self.point(&family, point))? {
                    Ok(time) => times.add(time),
                    Err(cause) => self.translation.refused.add(&told, cause, 1, is_native),
                }
                Ok(())
            }),
            Err(cause) => {
                let before = self.translation.points;
                metric.each_point(|_point| self.count_point())?;
                let points = self.translation.points - before;
                self.translation.refused.add(&told, cause, points, is_native);
                Ok(())
            }
        }
    }

    const fn count_point(&mut self) -> Result<(), TranslateError> {
        if self.translation.points == MAX_POINTS {
            return Err(TranslateError::TooMany { what: "data points", limit: MAX_POINTS });
        }
        self.translation.points += 1;
        Ok(())
    }

    /// Translates a point; gives its time.
    fn point(&mut self, family: &Family<'_>, point: Reader<'_>) -> Result<u64, Failure> {
        match family.shape {
            Shape::Gauge | Shape::Sum => self.number(family, Number::read(point)?),
            Shape::Histogram => self.explicit(family, Explicit::read(point)?),
            Shape::Exponential => self.exponential(family, Exponential::read(point)?),
            Shape::Summary => self.summary(family, Summary::read(point)?),
        }
    }

    /// Adds a delta to the total of its stream; gives the total, and since when it counts.
    pub(crate) fn accumulate(
        &mut self,
        family: &Family<'_>,
        labels: &LabelSet<'_>,
        head: &Head<'_>,
        increment: Total,
    ) -> Result<(Total, u64), Cause> {
        match &mut self.deltas {
            Some(deltas) => deltas.add(&family.name, labels, (head.start, head.time), increment),
            None => Err(Cause::Delta),
        }
    }

    /// Writes a series of the point that is being translated.
    pub(crate) fn put(&mut self, series: &Series<'_>) -> Result<(), Failure> {
        let point = u32::try_from(self.translation.points.saturating_sub(1)).ok();
        self.put_of(series, point)
    }

    pub(crate) fn put_of(&mut self, series: &Series<'_>, point: Option<u32>) -> Result<(), Failure> {
        if u64::from(self.encoder.count()) == MAX_POINTS {
            return Err(TranslateError::TooMany { what: "series", limit: MAX_POINTS }.into());
        }
        self.encoder.series(series);
        let limit = self.rules.limits.output_bytes;
        if limit > 0 && self.encoder.encoded_len() > limit {
            return Err(TranslateError::TooLarge.into());
        }
        if let Some(point) = point.filter(|_| self.rules.note_series) {
            self.translation.series.push((series_hash(&series.labels), point));
        }
        Ok(())
    }
}

/// Splits what concerns one point from what ends the pass.
fn unless_stopped<T>(result: Result<T, Failure>) -> Result<Result<T, Cause>, TranslateError> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(Failure::Refused(cause)) => Ok(Err(cause)),
        Err(Failure::Stop(error)) => Err(error),
    }
}

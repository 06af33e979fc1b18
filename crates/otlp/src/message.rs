//! The messages of OTLP as they lie in a request: views that are read field by field, in any order of the fields.
//!
//! Nothing is kept of a point but where its parts begin, in bounded number.

use std::borrow::Cow;

use remote_write::wire::{Malformed, Reader, Tag, WireType, unzigzag};

use crate::options::{MAX_ATTRIBUTES, MAX_BUCKETS, MAX_DEPTH, MAX_EXEMPLARS};
use crate::refused::{Cause, Failure};
use crate::value;

/// Calls `each` with every field. It reads the value and says so, or leaves it, and it is passed over.
pub(crate) fn each_field<'a, E: From<Malformed>>(
    mut message: Reader<'a>,
    mut each: impl FnMut(Tag, &mut Reader<'a>) -> Result<bool, E>,
) -> Result<(), E> {
    while !message.is_empty() {
        let tag = message.tag()?;
        if !each(tag, &mut message)? {
            message.skip(tag)?;
        }
    }
    Ok(())
}

fn expect(tag: Tag, wire: WireType, reader: &Reader<'_>) -> Result<(), Malformed> {
    if tag.wire == wire { Ok(()) } else { Err(reader.malformed("a field has another type than OTLP says")) }
}

pub(crate) fn bytes<'a>(tag: Tag, reader: &mut Reader<'a>) -> Result<&'a [u8], Malformed> {
    expect(tag, WireType::Len, reader)?;
    reader.bytes()
}

pub(crate) fn message<'a>(tag: Tag, reader: &mut Reader<'a>) -> Result<Reader<'a>, Malformed> {
    expect(tag, WireType::Len, reader)?;
    reader.message()
}

pub(crate) fn varint(tag: Tag, reader: &mut Reader<'_>) -> Result<u64, Malformed> {
    expect(tag, WireType::Varint, reader)?;
    reader.varint()
}

pub(crate) fn fixed64(tag: Tag, reader: &mut Reader<'_>) -> Result<u64, Malformed> {
    expect(tag, WireType::Fixed64, reader)?;
    reader.fixed64()
}

pub(crate) fn double(tag: Tag, reader: &mut Reader<'_>) -> Result<f64, Malformed> {
    fixed64(tag, reader).map(f64::from_bits)
}

fn sint32(tag: Tag, reader: &mut Reader<'_>) -> Result<i32, Malformed> {
    // As protobuf does: what is above 32 bits is cut.
    #[expect(clippy::cast_possible_truncation, reason = "a sint32 is the low 32 bits")]
    varint(tag, reader).map(|value| unzigzag(value & 0xffff_ffff) as i32)
}

/// Repeated numbers, packed or not, as many as there may be.
fn numbers(
    tag: Tag,
    reader: &mut Reader<'_>,
    wire: WireType,
    out: &mut Vec<u64>,
    what: &'static str,
) -> Result<(), Failure> {
    let mut read = |reader: &mut Reader<'_>| -> Result<(), Failure> {
        let value = if wire == WireType::Varint { reader.varint()? } else { reader.fixed64()? };
        push(out, value, MAX_BUCKETS, what)?;
        Ok(())
    };
    if tag.wire == wire {
        return read(reader);
    }
    let mut packed = message(tag, reader)?;
    while !packed.is_empty() {
        read(&mut packed)?;
    }
    Ok(())
}

fn push<T>(out: &mut Vec<T>, value: T, limit: usize, what: &'static str) -> Result<(), Cause> {
    if out.len() == limit {
        return Err(Cause::TooMany { what, limit });
    }
    out.push(value);
    Ok(())
}

pub(crate) fn text<'a>(bytes: &'a [u8], what: &'static str) -> Result<&'a str, Cause> {
    std::str::from_utf8(bytes).ok().ok_or(Cause::NotUtf8(what))
}

/// An attribute's key, and its value as text.
pub(crate) type Pair<'a> = (&'a str, Cow<'a, str>);

/// A `KeyValue` as a key and a text.
pub(crate) fn pair(message: Reader<'_>) -> Result<Pair<'_>, Failure> {
    let (mut key, mut value) = ("", Cow::Borrowed(""));
    each_field::<Failure>(message, |tag, reader| {
        match tag.field {
            1 => key = text(bytes(tag, reader)?, "the key of an attribute")?,
            2 => value = value::text_of(self::message(tag, reader)?, MAX_DEPTH)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok((key, value))
}

/// Adds an attribute to the others of a message.
fn attribute<'a>(tag: Tag, reader: &mut Reader<'a>, out: &mut Vec<Pair<'a>>) -> Result<(), Failure> {
    push(out, pair(message(tag, reader)?)?, MAX_ATTRIBUTES, "attributes")?;
    Ok(())
}

/// Attributes of a `Resource`, added to `out`.
pub(crate) fn resource<'a>(message: Reader<'a>, out: &mut Vec<Pair<'a>>) -> Result<(), Failure> {
    each_field(message, |tag, reader| match tag.field {
        1 => attribute(tag, reader, out).map(|()| true),
        _ => Ok(false),
    })
}

/// An `InstrumentationScope`, with the schema URL that stands beside it.
#[derive(Debug, Default)]
pub(crate) struct Scope<'a> {
    pub(crate) name: &'a str,
    pub(crate) version: &'a str,
    pub(crate) schema_url: &'a str,
    pub(crate) attributes: Vec<Pair<'a>>,
}

impl<'a> Scope<'a> {
    pub(crate) fn read(&mut self, message: Reader<'a>) -> Result<(), Failure> {
        each_field(message, |tag, reader| {
            match tag.field {
                1 => self.name = text(bytes(tag, reader)?, "the name of the scope")?,
                2 => self.version = text(bytes(tag, reader)?, "the version of the scope")?,
                3 => attribute(tag, reader, &mut self.attributes)?,
                _ => return Ok(false),
            }
            Ok(true)
        })
    }
}

/// What kind of points a metric has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Gauge,
    Sum,
    Histogram,
    Exponential,
    Summary,
}

/// A `Metric` without its points.
#[derive(Debug, Default)]
pub(crate) struct Metric<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) description: &'a [u8],
    pub(crate) unit: &'a [u8],
    /// 0 none, 1 delta, 2 cumulative.
    pub(crate) temporality: u64,
    pub(crate) is_monotonic: bool,
    /// `None`: no points, or points of a kind that this program does not know.
    pub(crate) shape: Option<Shape>,
    /// The messages that hold the points: one, unless the sender cut it in pieces.
    data: Vec<Reader<'a>>,
}

impl<'a> Metric<'a> {
    pub(crate) fn read(message: Reader<'a>) -> Result<Self, Malformed> {
        let mut metric = Self::default();
        each_field::<Malformed>(message, |tag, reader| {
            let shape = match tag.field {
                1 => {
                    metric.name = bytes(tag, reader)?;
                    return Ok(true);
                }
                2 => {
                    metric.description = bytes(tag, reader)?;
                    return Ok(true);
                }
                3 => {
                    metric.unit = bytes(tag, reader)?;
                    return Ok(true);
                }
                5 => Shape::Gauge,
                7 => Shape::Sum,
                9 => Shape::Histogram,
                10 => Shape::Exponential,
                11 => Shape::Summary,
                _ => return Ok(false),
            };
            // The last of a oneof holds; pieces of the same message are one message.
            if metric.shape != Some(shape) {
                (metric.temporality, metric.is_monotonic) = (0, false);
                metric.data.clear();
                metric.shape = Some(shape);
            }
            let data = self::message(tag, reader)?;
            metric.data.push(data);
            if matches!(shape, Shape::Sum | Shape::Histogram | Shape::Exponential) {
                each_field::<Malformed>(data, |tag, reader| {
                    match tag.field {
                        2 => metric.temporality = varint(tag, reader)?,
                        3 if shape == Shape::Sum => metric.is_monotonic = varint(tag, reader)? != 0,
                        _ => return Ok(false),
                    }
                    Ok(true)
                })?;
            }
            Ok(true)
        })?;
        Ok(metric)
    }

    /// Calls `each` with every point.
    pub(crate) fn each_point<E: From<Malformed>>(
        &self,
        mut each: impl FnMut(Reader<'a>) -> Result<(), E>,
    ) -> Result<(), E> {
        for data in &self.data {
            each_field(*data, |tag, reader| match tag.field {
                1 => each(message(tag, reader)?).map(|()| true),
                _ => Ok(false),
            })?;
        }
        Ok(())
    }
}

/// What all points have.
#[derive(Debug, Default)]
pub(crate) struct Head<'a> {
    pub(crate) attributes: Vec<Pair<'a>>,
    /// Nanoseconds since the epoch; 0 is unknown.
    pub(crate) start: u64,
    /// Nanoseconds since the epoch.
    pub(crate) time: u64,
    pub(crate) exemplars: Vec<Reader<'a>>,
    /// Exemplars beyond those that are kept.
    pub(crate) more_exemplars: u64,
    /// There is no value: the series ends here.
    pub(crate) no_recorded_value: bool,
}

/// In which fields a kind of point has what all have.
struct HeadFields {
    attributes: u32,
    exemplars: u32,
    flags: u32,
}

impl<'a> Head<'a> {
    fn read(&mut self, tag: Tag, reader: &mut Reader<'a>, fields: &HeadFields) -> Result<bool, Failure> {
        match tag.field {
            2 => self.start = fixed64(tag, reader)?,
            3 => self.time = fixed64(tag, reader)?,
            field if field == fields.attributes => attribute(tag, reader, &mut self.attributes)?,
            field if field == fields.flags => self.no_recorded_value = varint(tag, reader)? & 1 != 0,
            field if field == fields.exemplars => {
                let exemplar = message(tag, reader)?;
                if self.exemplars.len() < MAX_EXEMPLARS {
                    self.exemplars.push(exemplar);
                } else {
                    self.more_exemplars += 1;
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// A `NumberDataPoint`.
#[derive(Debug, Default)]
pub(crate) struct Number<'a> {
    pub(crate) head: Head<'a>,
    pub(crate) value: Option<f64>,
}

impl<'a> Number<'a> {
    pub(crate) fn read(message: Reader<'a>) -> Result<Self, Failure> {
        const HEAD: HeadFields = HeadFields { attributes: 7, exemplars: 5, flags: 8 };
        let mut point = Self::default();
        each_field::<Failure>(message, |tag, reader| {
            match tag.field {
                4 => point.value = Some(double(tag, reader)?),
                6 => point.value = Some(float(fixed64(tag, reader)?)),
                _ => return point.head.read(tag, reader, &HEAD),
            }
            Ok(true)
        })?;
        Ok(point)
    }
}

/// An sfixed64 as the double that a sample has.
#[expect(clippy::cast_precision_loss, reason = "samples are doubles")]
const fn float(bits: u64) -> f64 {
    bits.cast_signed() as f64
}

/// A `HistogramDataPoint`.
#[derive(Debug, Default)]
pub(crate) struct Explicit<'a> {
    pub(crate) head: Head<'a>,
    pub(crate) count: u64,
    pub(crate) sum: Option<f64>,
    pub(crate) counts: Vec<u64>,
    pub(crate) bounds: Vec<f64>,
}

impl<'a> Explicit<'a> {
    pub(crate) fn read(message: Reader<'a>) -> Result<Self, Failure> {
        const HEAD: HeadFields = HeadFields { attributes: 9, exemplars: 8, flags: 10 };
        let (mut point, mut bounds) = (Self::default(), Vec::new());
        each_field::<Failure>(message, |tag, reader| {
            match tag.field {
                4 => point.count = fixed64(tag, reader)?,
                5 => point.sum = Some(double(tag, reader)?),
                6 => numbers(tag, reader, WireType::Fixed64, &mut point.counts, "buckets")?,
                7 => numbers(tag, reader, WireType::Fixed64, &mut bounds, "buckets")?,
                _ => return point.head.read(tag, reader, &HEAD),
            }
            Ok(true)
        })?;
        point.bounds = bounds.into_iter().map(f64::from_bits).collect();
        Ok(point)
    }
}

/// The buckets of one side of an exponential histogram.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Side {
    /// The index of the first bucket.
    pub(crate) offset: i32,
    pub(crate) counts: Vec<u64>,
}

impl Side {
    fn read(&mut self, message: Reader<'_>) -> Result<(), Failure> {
        each_field(message, |tag, reader| {
            match tag.field {
                1 => self.offset = sint32(tag, reader)?,
                2 => numbers(tag, reader, WireType::Varint, &mut self.counts, "buckets")?,
                _ => return Ok(false),
            }
            Ok(true)
        })
    }
}

/// An `ExponentialHistogramDataPoint`.
#[derive(Debug, Default)]
pub(crate) struct Exponential<'a> {
    pub(crate) head: Head<'a>,
    pub(crate) count: u64,
    pub(crate) sum: Option<f64>,
    pub(crate) scale: i32,
    pub(crate) zero_count: u64,
    pub(crate) zero_threshold: f64,
    pub(crate) positive: Side,
    pub(crate) negative: Side,
}

impl<'a> Exponential<'a> {
    pub(crate) fn read(message: Reader<'a>) -> Result<Self, Failure> {
        const HEAD: HeadFields = HeadFields { attributes: 1, exemplars: 11, flags: 10 };
        let mut point = Self::default();
        each_field::<Failure>(message, |tag, reader| {
            match tag.field {
                4 => point.count = fixed64(tag, reader)?,
                5 => point.sum = Some(double(tag, reader)?),
                6 => point.scale = sint32(tag, reader)?,
                7 => point.zero_count = fixed64(tag, reader)?,
                8 => point.positive.read(self::message(tag, reader)?)?,
                9 => point.negative.read(self::message(tag, reader)?)?,
                14 => point.zero_threshold = double(tag, reader)?,
                _ => return point.head.read(tag, reader, &HEAD),
            }
            Ok(true)
        })?;
        Ok(point)
    }
}

/// A `SummaryDataPoint`.
#[derive(Debug, Default)]
pub(crate) struct Summary<'a> {
    pub(crate) head: Head<'a>,
    pub(crate) count: u64,
    pub(crate) sum: f64,
    /// Quantile and value.
    pub(crate) quantiles: Vec<(f64, f64)>,
}

impl<'a> Summary<'a> {
    pub(crate) fn read(message: Reader<'a>) -> Result<Self, Failure> {
        // Summaries have no exemplars.
        const HEAD: HeadFields = HeadFields { attributes: 7, exemplars: 0, flags: 8 };
        let mut point = Self::default();
        each_field::<Failure>(message, |tag, reader| {
            match tag.field {
                4 => point.count = fixed64(tag, reader)?,
                5 => point.sum = double(tag, reader)?,
                6 => {
                    let (mut quantile, mut value) = (0.0, 0.0);
                    each_field::<Malformed>(self::message(tag, reader)?, |tag, reader| {
                        match tag.field {
                            1 => quantile = double(tag, reader)?,
                            2 => value = double(tag, reader)?,
                            _ => return Ok(false),
                        }
                        Ok(true)
                    })?;
                    push(&mut point.quantiles, (quantile, value), MAX_BUCKETS, "quantiles")?;
                }
                _ => return point.head.read(tag, reader, &HEAD),
            }
            Ok(true)
        })?;
        Ok(point)
    }
}

/// An `Exemplar`.
#[derive(Debug, Default)]
pub(crate) struct Exemplar<'a> {
    pub(crate) attributes: Vec<Pair<'a>>,
    pub(crate) time: u64,
    pub(crate) value: Option<f64>,
    pub(crate) span_id: &'a [u8],
    pub(crate) trace_id: &'a [u8],
}

impl<'a> Exemplar<'a> {
    pub(crate) fn read(message: Reader<'a>) -> Result<Self, Failure> {
        let mut exemplar = Self::default();
        each_field::<Failure>(message, |tag, reader| {
            match tag.field {
                2 => exemplar.time = fixed64(tag, reader)?,
                3 => exemplar.value = Some(double(tag, reader)?),
                4 => exemplar.span_id = bytes(tag, reader)?,
                5 => exemplar.trace_id = bytes(tag, reader)?,
                6 => exemplar.value = Some(float(fixed64(tag, reader)?)),
                7 => attribute(tag, reader, &mut exemplar.attributes)?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(exemplar)
    }
}

//! JSON as protobuf: the tables of what OTLP's messages hold, and one walk that writes a request again in binary.
//!
//! What is written is about as large as what was read, and nothing else is kept. The mapping is protobuf's with OTLP's exceptions
//! (OTLP 1.x, "JSON Protobuf Encoding"): keys in lowerCamelCase, unknown ones ignored, enums as numbers (names are tolerated), ids
//! in hex, 64-bit integers as texts or numbers.

use std::cell::RefCell;
use std::fmt;

use base64::Engine;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use remote_write::wire::{
    begin_message, end_message, put_fixed64, put_len_delimited, put_varint, put_varint_field, zigzag,
};
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// The text is not an `ExportMetricsServiceRequest` in JSON.
#[derive(Debug, thiserror::Error)]
pub enum NotJson {
    /// Not the JSON of one.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// More than there may be, in binary.
    #[error("it becomes more bytes than it may")]
    TooLarge,
}

/// A message: its fields by their names.
type Message = &'static [Field];

/// Name, number, type.
struct Field(&'static str, u32, Type);

#[derive(Clone, Copy)]
enum Type {
    One(fn() -> Message),
    Many(fn() -> Message),
    Text,
    /// In hex.
    Id,
    /// In base64.
    Bytes,
    Bool,
    /// int64.
    Int,
    /// uint32, uint64, and enums by number or by one of these names, which begin with a number from 0.
    Unsigned(&'static [&'static str]),
    Sint,
    Fixed,
    Sfixed,
    Double,
    Unsigneds,
    Fixeds,
    Doubles,
}

const TEMPORALITY: &[&str] =
    &["AGGREGATION_TEMPORALITY_UNSPECIFIED", "AGGREGATION_TEMPORALITY_DELTA", "AGGREGATION_TEMPORALITY_CUMULATIVE"];

const fn request() -> Message {
    &[Field("resourceMetrics", 1, Type::Many(resource_metrics))]
}
const fn resource_metrics() -> Message {
    &[Field("resource", 1, Type::One(resource)), Field("scopeMetrics", 2, Type::Many(scope_metrics))]
}
const fn resource() -> Message {
    &[Field("attributes", 1, Type::Many(key_value))]
}
const fn scope_metrics() -> Message {
    &[Field("scope", 1, Type::One(scope)), Field("metrics", 2, Type::Many(metric)), Field("schemaUrl", 3, Type::Text)]
}
const fn scope() -> Message {
    &[Field("name", 1, Type::Text), Field("version", 2, Type::Text), Field("attributes", 3, Type::Many(key_value))]
}
const fn metric() -> Message {
    &[
        Field("name", 1, Type::Text),
        Field("description", 2, Type::Text),
        Field("unit", 3, Type::Text),
        Field("gauge", 5, Type::One(gauge)),
        Field("sum", 7, Type::One(sum)),
        Field("histogram", 9, Type::One(histogram)),
        Field("exponentialHistogram", 10, Type::One(exponential_histogram)),
        Field("summary", 11, Type::One(summary)),
    ]
}
const fn gauge() -> Message {
    &[Field("dataPoints", 1, Type::Many(number))]
}
const fn sum() -> Message {
    &[
        Field("dataPoints", 1, Type::Many(number)),
        Field("aggregationTemporality", 2, Type::Unsigned(TEMPORALITY)),
        Field("isMonotonic", 3, Type::Bool),
    ]
}
const fn histogram() -> Message {
    &[Field("dataPoints", 1, Type::Many(explicit)), Field("aggregationTemporality", 2, Type::Unsigned(TEMPORALITY))]
}
const fn exponential_histogram() -> Message {
    &[Field("dataPoints", 1, Type::Many(exponential)), Field("aggregationTemporality", 2, Type::Unsigned(TEMPORALITY))]
}
const fn summary() -> Message {
    &[Field("dataPoints", 1, Type::Many(summary_point))]
}
const fn number() -> Message {
    &[
        Field("startTimeUnixNano", 2, Type::Fixed),
        Field("timeUnixNano", 3, Type::Fixed),
        Field("asDouble", 4, Type::Double),
        Field("exemplars", 5, Type::Many(exemplar)),
        Field("asInt", 6, Type::Sfixed),
        Field("attributes", 7, Type::Many(key_value)),
        Field("flags", 8, Type::Unsigned(&[])),
    ]
}
const fn explicit() -> Message {
    &[
        Field("startTimeUnixNano", 2, Type::Fixed),
        Field("timeUnixNano", 3, Type::Fixed),
        Field("count", 4, Type::Fixed),
        Field("sum", 5, Type::Double),
        Field("bucketCounts", 6, Type::Fixeds),
        Field("explicitBounds", 7, Type::Doubles),
        Field("exemplars", 8, Type::Many(exemplar)),
        Field("attributes", 9, Type::Many(key_value)),
        Field("flags", 10, Type::Unsigned(&[])),
    ]
}
const fn exponential() -> Message {
    &[
        Field("attributes", 1, Type::Many(key_value)),
        Field("startTimeUnixNano", 2, Type::Fixed),
        Field("timeUnixNano", 3, Type::Fixed),
        Field("count", 4, Type::Fixed),
        Field("sum", 5, Type::Double),
        Field("scale", 6, Type::Sint),
        Field("zeroCount", 7, Type::Fixed),
        Field("positive", 8, Type::One(buckets)),
        Field("negative", 9, Type::One(buckets)),
        Field("flags", 10, Type::Unsigned(&[])),
        Field("exemplars", 11, Type::Many(exemplar)),
        Field("zeroThreshold", 14, Type::Double),
    ]
}
const fn buckets() -> Message {
    &[Field("offset", 1, Type::Sint), Field("bucketCounts", 2, Type::Unsigneds)]
}
const fn summary_point() -> Message {
    &[
        Field("startTimeUnixNano", 2, Type::Fixed),
        Field("timeUnixNano", 3, Type::Fixed),
        Field("count", 4, Type::Fixed),
        Field("sum", 5, Type::Double),
        Field("quantileValues", 6, Type::Many(quantile)),
        Field("attributes", 7, Type::Many(key_value)),
        Field("flags", 8, Type::Unsigned(&[])),
    ]
}
const fn quantile() -> Message {
    &[Field("quantile", 1, Type::Double), Field("value", 2, Type::Double)]
}
const fn exemplar() -> Message {
    &[
        Field("timeUnixNano", 2, Type::Fixed),
        Field("asDouble", 3, Type::Double),
        Field("spanId", 4, Type::Id),
        Field("traceId", 5, Type::Id),
        Field("asInt", 6, Type::Sfixed),
        Field("filteredAttributes", 7, Type::Many(key_value)),
    ]
}
const fn key_value() -> Message {
    &[Field("key", 1, Type::Text), Field("value", 2, Type::One(any_value))]
}
const fn any_value() -> Message {
    &[
        Field("stringValue", 1, Type::Text),
        Field("boolValue", 2, Type::Bool),
        Field("intValue", 3, Type::Int),
        Field("doubleValue", 4, Type::Double),
        Field("arrayValue", 5, Type::One(array)),
        Field("kvlistValue", 6, Type::One(map)),
        Field("bytesValue", 7, Type::Bytes),
    ]
}
const fn array() -> Message {
    &[Field("values", 1, Type::Many(any_value))]
}
const fn map() -> Message {
    &[Field("values", 1, Type::Many(key_value))]
}

/// Writes a request that came as JSON in binary, in the place of what `out` holds, to `limit` bytes at most.
///
/// # Errors
/// When it is no JSON, nests deeper than 128, or a value is not of its field's type; when it is too large.
pub fn protobuf_of_json(json: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), NotJson> {
    out.clear();
    let mut reader = serde_json::Deserializer::from_slice(json);
    let out = Out { bytes: RefCell::new(out), limit };
    let walked = Walk { fields: request(), out: &out }.deserialize(&mut reader).and_then(|()| reader.end());
    if out.bytes.borrow().len() > limit {
        return Err(NotJson::TooLarge);
    }
    Ok(walked?)
}

/// What is written, and how much it may be.
struct Out<'b> {
    bytes: RefCell<&'b mut Vec<u8>>,
    limit: usize,
}

impl Out<'_> {
    fn put<E: Error>(&self, put: impl FnOnce(&mut Vec<u8>)) -> Result<(), E> {
        let mut bytes = self.bytes.borrow_mut();
        put(&mut bytes);
        if bytes.len() > self.limit { Err(E::custom("too large")) } else { Ok(()) }
    }
}

/// Reads one JSON object and appends the fields of its message.
#[derive(Clone, Copy)]
struct Walk<'o, 'b> {
    fields: Message,
    out: &'o Out<'b>,
}

/// Reads one value, and appends it as a field. `null` is a field that is not there.
#[derive(Clone, Copy)]
struct Value<'o, 'b> {
    number: u32,
    kind: Type,
    out: &'o Out<'b>,
}

impl<'de> DeserializeSeed<'de> for Walk<'_, '_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(field) = map.next_key_seed(Key(self.fields))? {
            match field {
                Some(Field(_, number, kind)) => {
                    map.next_value_seed(Value { number: *number, kind: *kind, out: self.out })?;
                }
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// Finds the field of a key.
struct Key(Message);

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Option<&'static Field>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Key {
    type Value = Option<&'static Field>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().find(|Field(name, ..)| *name == key))
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_, '_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// `null` in a list is no element.
impl<'de> Visitor<'de> for Value<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Type::One(_) => "an object",
            Type::Many(_) => "a list of objects",
            Type::Text => "a text",
            Type::Id => "a text in hex",
            Type::Bytes => "a text in base64",
            Type::Bool => "true or false",
            Type::Int | Type::Sint | Type::Sfixed => "an integer",
            Type::Unsigned(_) | Type::Fixed => "an integer that is not negative",
            Type::Double => "a number",
            Type::Unsigneds | Type::Fixeds => "a list of integers that are not negative",
            Type::Doubles => "a list of numbers",
        })
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let Type::One(fields) = self.kind else {
            return Err(A::Error::invalid_type(serde::de::Unexpected::Map, &self));
        };
        let start = begin_message(&mut self.out.bytes.borrow_mut(), self.number);
        Walk { fields: fields(), out: self.out }.visit_map(map)?;
        end_message(&mut self.out.bytes.borrow_mut(), start);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let (element, is_packed) = match self.kind {
            Type::Many(fields) => (Type::One(fields), false),
            Type::Unsigneds => (Type::Unsigned(&[]), true),
            Type::Fixeds => (Type::Fixed, true),
            Type::Doubles => (Type::Double, true),
            _ => return Err(A::Error::invalid_type(serde::de::Unexpected::Seq, &self)),
        };
        if !is_packed {
            while list.next_element_seed(Self { kind: element, ..self })?.is_some() {}
            return Ok(());
        }
        // Number 0 is no field: only the values are written.
        let start = begin_message(&mut self.out.bytes.borrow_mut(), self.number);
        while list.next_element_seed(Self { kind: element, number: 0, ..self })?.is_some() {}
        end_message(&mut self.out.bytes.borrow_mut(), start);
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        match self.kind {
            Type::Bool => self.varint(value.into()),
            _ => Err(E::invalid_type(serde::de::Unexpected::Bool(value), &self)),
        }
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        let wrong = || E::invalid_value(serde::de::Unexpected::Unsigned(value), &self);
        match self.kind {
            Type::Unsigned(_) => self.varint(value),
            Type::Fixed => self.fixed(value),
            Type::Int | Type::Sfixed | Type::Sint => self.visit_i64(i64::try_from(value).ok().ok_or_else(wrong)?),
            #[expect(clippy::cast_precision_loss, reason = "the field is a double")]
            Type::Double => self.fixed((value as f64).to_bits()),
            _ => Err(wrong()),
        }
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        let wrong = || E::invalid_value(serde::de::Unexpected::Signed(value), &self);
        match self.kind {
            Type::Int => self.varint(value.cast_unsigned()),
            Type::Sint => self.varint(zigzag(i32::try_from(value).ok().ok_or_else(wrong)?.into())),
            Type::Sfixed => self.fixed(value.cast_unsigned()),
            #[expect(clippy::cast_precision_loss, reason = "the field is a double")]
            Type::Double => self.fixed((value as f64).to_bits()),
            _ => Err(wrong()),
        }
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        match self.kind {
            Type::Double => self.fixed(value.to_bits()),
            // Protobuf takes `1.0` and `1e3` for an integer that they are.
            #[expect(clippy::cast_possible_truncation, reason = "it is whole, and within 2^53")]
            _ if value.fract() == 0.0 && value.abs() < 9_007_199_254_740_992.0 && self.takes_integers() => {
                let whole = value as i64;
                match u64::try_from(whole) {
                    Ok(whole) => self.visit_u64(whole),
                    Err(_) => self.visit_i64(whole),
                }
            }
            _ => Err(E::invalid_type(serde::de::Unexpected::Float(value), &self)),
        }
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        let wrong = || E::invalid_value(serde::de::Unexpected::Str(value), &self);
        match self.kind {
            Type::Text => self.bytes(value.as_bytes()),
            Type::Id => self.bytes(&unhex(value).ok_or_else(wrong)?),
            Type::Bytes => self.bytes(&unbase64(value).ok_or_else(wrong)?),
            Type::Double => self.fixed(double(value).ok_or_else(wrong)?.to_bits()),
            Type::Unsigned(names) => match names.iter().position(|name| *name == value) {
                Some(index) => self.varint(index as u64),
                None => self.varint(value.parse().ok().ok_or_else(wrong)?),
            },
            Type::Fixed => self.fixed(value.parse().ok().ok_or_else(wrong)?),
            Type::Int | Type::Sint | Type::Sfixed => self.visit_i64(value.parse().ok().ok_or_else(wrong)?),
            _ => Err(E::invalid_type(serde::de::Unexpected::Str(value), &self)),
        }
    }
}

impl Value<'_, '_> {
    const fn takes_integers(&self) -> bool {
        matches!(self.kind, Type::Unsigned(_) | Type::Fixed | Type::Int | Type::Sint | Type::Sfixed)
    }

    fn varint<E: Error>(&self, value: u64) -> Result<(), E> {
        self.out.put(|out| match self.number {
            0 => put_varint(out, value),
            number => put_varint_field(out, number, value),
        })
    }

    fn fixed<E: Error>(&self, bits: u64) -> Result<(), E> {
        self.out.put(|out| match self.number {
            0 => out.extend_from_slice(&bits.to_le_bytes()),
            number => put_fixed64(out, number, bits),
        })
    }

    fn bytes<E: Error>(&self, bytes: &[u8]) -> Result<(), E> {
        self.out.put(|out| put_len_delimited(out, self.number, bytes))
    }
}

fn double(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        // Rust reads more words than JSON has numbers.
        number => number.parse().ok().filter(|number: &f64| number.is_finite()),
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let digits = digits?;
    let (pairs, rest) = digits.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

fn unbase64(text: &str) -> Option<Vec<u8>> {
    let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    GeneralPurpose::new(&ALPHABET, lenient).decode(text).ok()
}

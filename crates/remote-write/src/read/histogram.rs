//! Reads native histograms: the one message that is the same in both protocols but for its start timestamp.

use super::wrong_type;
use crate::Protocol;
use crate::model::{Count, Histogram, Span};
use crate::wire::{Malformed, Reader, Tag, WireType, unzigzag};

const START_TIMESTAMP: u32 = 17;

/// Whether a histogram of this protocol has such a field.
pub(crate) const fn histogram_field_is_known(protocol: Protocol, field: u32) -> bool {
    match protocol {
        Protocol::V1 => field < START_TIMESTAMP,
        Protocol::V2 => field <= START_TIMESTAMP,
    }
}

/// Reads `Histogram` into `value`, whose memory is reused. Returns whether fields outside the schema were skipped.
pub(crate) fn histogram(protocol: Protocol, mut reader: Reader<'_>, value: &mut Histogram) -> Result<bool, Malformed> {
    reset(value);
    let mut foreign = false;
    while !reader.is_empty() {
        let before = reader;
        let tag = reader.tag()?;
        if !histogram_field_is_known(protocol, tag.field) {
            reader.skip(tag)?;
            foreign = true;
            continue;
        }
        match tag.field {
            8..=13 | 16 => foreign |= buckets(&mut reader, before, tag, value)?,
            _ => scalar(&mut reader, before, tag, value)?,
        }
    }
    Ok(foreign)
}

fn reset(value: &mut Histogram) {
    let Histogram {
        count,
        sum,
        schema,
        zero_threshold,
        zero_count,
        negative_spans,
        negative_deltas,
        negative_counts,
        positive_spans,
        positive_deltas,
        positive_counts,
        reset_hint,
        timestamp,
        custom_values,
        start_timestamp,
    } = value;
    (*count, *zero_count) = (None, None);
    (*sum, *zero_threshold) = (0.0, 0.0);
    (*schema, *reset_hint) = (0, 0);
    (*timestamp, *start_timestamp) = (0, 0);
    for spans in [negative_spans, positive_spans] {
        spans.clear();
    }
    for deltas in [negative_deltas, positive_deltas] {
        deltas.clear();
    }
    for counts in [negative_counts, positive_counts, custom_values] {
        counts.clear();
    }
}

fn scalar<'a>(reader: &mut Reader<'a>, before: Reader<'a>, tag: Tag, value: &mut Histogram) -> Result<(), Malformed> {
    match (tag.field, tag.wire) {
        (1, WireType::Varint) => value.count = Some(Count::Int(reader.varint()?)),
        (2, WireType::Fixed64) => value.count = Some(Count::Float(reader.double()?)),
        (3, WireType::Fixed64) => value.sum = reader.double()?,
        (4, WireType::Varint) => value.schema = sint32(reader.varint()?),
        (5, WireType::Fixed64) => value.zero_threshold = reader.double()?,
        (6, WireType::Varint) => value.zero_count = Some(Count::Int(reader.varint()?)),
        (7, WireType::Fixed64) => value.zero_count = Some(Count::Float(reader.double()?)),
        (14, WireType::Varint) => value.reset_hint = reader.varint()? as i32,
        (15, WireType::Varint) => value.timestamp = reader.varint()?.cast_signed(),
        (START_TIMESTAMP, WireType::Varint) => value.start_timestamp = reader.varint()?.cast_signed(),
        _ => return Err(wrong_type(before)),
    }
    Ok(())
}

/// One occurrence of a repeated field. Returns whether a span has foreign fields.
fn buckets<'a>(
    reader: &mut Reader<'a>,
    before: Reader<'a>,
    tag: Tag,
    value: &mut Histogram,
) -> Result<bool, Malformed> {
    let counts = match tag.field {
        8 => return span(reader, before, tag, &mut value.negative_spans),
        11 => return span(reader, before, tag, &mut value.positive_spans),
        9 => return deltas(reader, before, tag, &mut value.negative_deltas),
        12 => return deltas(reader, before, tag, &mut value.positive_deltas),
        10 => &mut value.negative_counts,
        13 => &mut value.positive_counts,
        _ => &mut value.custom_values,
    };
    match tag.wire {
        WireType::Fixed64 => counts.push(reader.double()?),
        WireType::Len => {
            let (doubles, rest) = reader.bytes()?.as_chunks::<8>();
            if !rest.is_empty() {
                return Err(before.malformed("packed doubles are cut short"));
            }
            counts.extend(doubles.iter().map(|bytes| f64::from_le_bytes(*bytes)));
        }
        _ => return Err(wrong_type(before)),
    }
    Ok(false)
}

fn deltas<'a>(reader: &mut Reader<'a>, before: Reader<'a>, tag: Tag, deltas: &mut Vec<i64>) -> Result<bool, Malformed> {
    match tag.wire {
        WireType::Varint => deltas.push(unzigzag(reader.varint()?)),
        WireType::Len => {
            let mut packed = reader.message()?;
            while !packed.is_empty() {
                deltas.push(unzigzag(packed.varint()?));
            }
        }
        _ => return Err(wrong_type(before)),
    }
    Ok(false)
}

fn span<'a>(reader: &mut Reader<'a>, before: Reader<'a>, tag: Tag, spans: &mut Vec<Span>) -> Result<bool, Malformed> {
    if tag.wire != WireType::Len {
        return Err(wrong_type(before));
    }
    let mut message = reader.message()?;
    let mut span = Span::default();
    let mut foreign = false;
    while !message.is_empty() {
        let before = message;
        let tag = message.tag()?;
        match (tag.field, tag.wire) {
            (1, WireType::Varint) => span.offset = sint32(message.varint()?),
            (2, WireType::Varint) => span.length = message.varint()? as u32,
            (1 | 2, _) => return Err(wrong_type(before)),
            _ => {
                message.skip(tag)?;
                foreign = true;
            }
        }
    }
    spans.push(span);
    Ok(foreign)
}

/// A sint32 is read from the varint's low 32 bits, as every protobuf library does.
const fn sint32(varint: u64) -> i32 {
    unzigzag(varint & 0xffff_ffff) as i32
}

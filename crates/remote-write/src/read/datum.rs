//! Reads the small messages of both protocols: labels, references, samples, exemplars, metadata.

use super::wrong_type;
use crate::Protocol;
use crate::model::{Exemplar, Label, Metadata, Sample};
use crate::wire::{Malformed, Reader, Tag, WireType};

/// A value, and whether fields outside the schema were skipped on the way to it.
#[derive(Debug)]
pub(crate) struct Parsed<T> {
    pub(crate) value: T,
    pub(crate) foreign: bool,
}

/// v1 `Label`.
pub(crate) fn label(mut reader: Reader<'_>) -> Result<Parsed<Label<'_>>, Malformed> {
    let mut value = Label::default();
    let mut foreign = false;
    while !reader.is_empty() {
        let before = reader;
        let tag = reader.tag()?;
        match (tag.field, tag.wire) {
            (1, WireType::Len) => value.name = reader.bytes()?,
            (2, WireType::Len) => value.value = reader.bytes()?,
            (1 | 2, _) => return Err(wrong_type(before)),
            _ => {
                reader.skip(tag)?;
                foreign = true;
            }
        }
    }
    Ok(Parsed { value, foreign })
}

/// The value of a v2 `labels_refs` field after its tag, packed or not.
pub(crate) fn references(reader: &mut Reader<'_>, tag: Tag, mut take: impl FnMut(u32)) -> Result<(), Malformed> {
    if tag.wire == WireType::Varint {
        take(reader.varint()? as u32);
        return Ok(());
    }
    let mut packed = reader.message()?;
    while !packed.is_empty() {
        take(packed.varint()? as u32);
    }
    Ok(())
}

/// `Sample`; `start_timestamp` (3) exists in v2 only.
pub(crate) fn sample(protocol: Protocol, mut reader: Reader<'_>) -> Result<Parsed<Sample>, Malformed> {
    let mut value = Sample::default();
    let mut foreign = false;
    while !reader.is_empty() {
        let before = reader;
        let tag = reader.tag()?;
        match (tag.field, tag.wire, protocol) {
            (1, WireType::Fixed64, _) => value.value = reader.double()?,
            (2, WireType::Varint, _) => value.timestamp = reader.varint()?.cast_signed(),
            (3, WireType::Varint, Protocol::V2) => value.start_timestamp = reader.varint()?.cast_signed(),
            (1 | 2, _, _) | (3, _, Protocol::V2) => return Err(wrong_type(before)),
            _ => {
                reader.skip(tag)?;
                foreign = true;
            }
        }
    }
    Ok(Parsed { value, foreign })
}

/// v1 `Exemplar`; its labels go to `take`, so that the caller chooses their memory.
pub(crate) fn exemplar_v1<'a>(
    mut reader: Reader<'a>,
    mut take: impl FnMut(Label<'a>),
) -> Result<Parsed<Exemplar<'a>>, Malformed> {
    let mut value = Exemplar::default();
    let mut foreign = false;
    while !reader.is_empty() {
        let before = reader;
        let tag = reader.tag()?;
        match (tag.field, tag.wire) {
            (1, WireType::Len) => {
                let label = label(reader.message()?)?;
                foreign |= label.foreign;
                take(label.value);
            }
            _ => foreign |= exemplar_datum(&mut reader, before, tag, &mut value)?,
        }
    }
    Ok(Parsed { value, foreign })
}

/// v2 `Exemplar`; its references go to `take`.
pub(crate) fn exemplar_references<'a>(
    mut reader: Reader<'a>,
    mut take: impl FnMut(u32),
) -> Result<Parsed<Exemplar<'a>>, Malformed> {
    let mut value = Exemplar::default();
    let mut foreign = false;
    while !reader.is_empty() {
        let before = reader;
        let tag = reader.tag()?;
        match (tag.field, tag.wire) {
            (1, WireType::Len | WireType::Varint) => references(&mut reader, tag, &mut take)?,
            _ => foreign |= exemplar_datum(&mut reader, before, tag, &mut value)?,
        }
    }
    Ok(Parsed { value, foreign })
}

/// The fields after the labels, the same in both protocols. Returns whether the field is foreign.
fn exemplar_datum<'a>(
    reader: &mut Reader<'a>,
    before: Reader<'a>,
    tag: Tag,
    exemplar: &mut Exemplar<'a>,
) -> Result<bool, Malformed> {
    match (tag.field, tag.wire) {
        (2, WireType::Fixed64) => exemplar.value = reader.double()?,
        (3, WireType::Varint) => exemplar.timestamp = reader.varint()?.cast_signed(),
        (1..=3, _) => return Err(wrong_type(before)),
        _ => {
            reader.skip(tag)?;
            return Ok(true);
        }
    }
    Ok(false)
}

/// v1 `MetricMetadata`.
pub(crate) fn family(mut reader: Reader<'_>) -> Result<Parsed<Metadata<'_>>, Malformed> {
    let mut value = Metadata::default();
    let mut foreign = false;
    while !reader.is_empty() {
        let before = reader;
        let tag = reader.tag()?;
        match (tag.field, tag.wire) {
            (1, WireType::Varint) => value.kind = reader.varint()? as i32,
            (2, WireType::Len) => value.family = reader.bytes()?,
            (4, WireType::Len) => value.help = reader.bytes()?,
            (5, WireType::Len) => value.unit = reader.bytes()?,
            (1 | 2 | 4 | 5, _) => return Err(wrong_type(before)),
            _ => {
                reader.skip(tag)?;
                foreign = true;
            }
        }
    }
    Ok(Parsed { value, foreign })
}

/// v2 `Metadata` with its references unresolved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MetadataReferences {
    pub(crate) kind: i32,
    /// 0 means absent.
    pub(crate) help: u32,
    /// 0 means absent.
    pub(crate) unit: u32,
}

/// v2 `Metadata`, merged into what an earlier field of the same series said. Returns whether it has foreign fields.
pub(crate) fn metadata(mut reader: Reader<'_>, metadata: &mut MetadataReferences) -> Result<bool, Malformed> {
    let mut foreign = false;
    while !reader.is_empty() {
        let before = reader;
        let tag = reader.tag()?;
        match (tag.field, tag.wire) {
            (1, WireType::Varint) => metadata.kind = reader.varint()? as i32,
            (3, WireType::Varint) => metadata.help = reader.varint()? as u32,
            (4, WireType::Varint) => metadata.unit = reader.varint()? as u32,
            (1 | 3 | 4, _) => return Err(wrong_type(before)),
            _ => {
                reader.skip(tag)?;
                foreign = true;
            }
        }
    }
    Ok(foreign)
}

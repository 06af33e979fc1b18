//! Leaves out of a request what is older than an endpoint wants. Fields are copied whole; values are not decoded.

use crate::read::{self, SeriesField};
use crate::source::Source;
use crate::wire::{Malformed, Reader, Tag, WireType, begin_message, end_message};
use crate::{Counts, Protocol};

/// What became of a request. Both counts add up to what was in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// If not, the output is empty and the request is to be used as it is.
    pub changed: bool,
    /// In the output.
    pub kept: Counts,
    /// Left out.
    pub expired: Counts,
    /// Series in the output.
    pub series: u32,
}

/// Writes the request `decoded` without what is older than `oldest_ms` (milliseconds since the epoch), in place of what
/// `out` holds; `out` stays empty if nothing changes.
///
/// Samples, histograms and exemplars go by their own timestamps; an exemplar that is left alone in its series finds its
/// place when the request is translated. A series without data goes. What is not a series stays, also symbols that no
/// series refers to any more.
///
/// # Errors
/// When the bytes are not a request of this protocol; `out` is then useless.
pub fn expire(protocol: Protocol, decoded: &[u8], oldest_ms: i64, out: &mut Vec<u8>) -> Result<Expired, Malformed> {
    out.clear();
    let source = Source::new(protocol, decoded)?;
    let mut expired = Expired::default();
    // What is in front of it has been written, or left out.
    let mut written = 0;
    for series in source.series() {
        let (content, whole) = series?;
        let ages = Ages::of(protocol, content, oldest_ms)?;
        expired.kept += ages.kept;
        expired.expired += ages.expired;
        expired.series += u32::from(!ages.kept.is_zero());
        if ages.expired.is_zero() && !ages.kept.is_zero() {
            continue;
        }
        expired.changed = true;
        let end = content.position() + content.rest().len();
        out.extend_from_slice(decoded.get(written..end - whole.len()).unwrap_or_default());
        written = end;
        if !ages.kept.is_zero() {
            let start = begin_message(out, source.series_field());
            put_recent(protocol, content, oldest_ms, out)?;
            end_message(out, start);
        }
    }
    if expired.changed {
        out.extend_from_slice(decoded.get(written..).unwrap_or_default());
    }
    Ok(expired)
}

/// How much of a series is kept.
#[derive(Clone, Copy, Debug, Default)]
struct Ages {
    kept: Counts,
    expired: Counts,
}

impl Ages {
    fn of(protocol: Protocol, mut series: Reader<'_>, oldest_ms: i64) -> Result<Self, Malformed> {
        let mut ages = Self::default();
        while let Some(Field { kind, recent, .. }) = next_field(protocol, &mut series, oldest_ms)? {
            let counts = if recent { &mut ages.kept } else { &mut ages.expired };
            match kind {
                SeriesField::Sample => counts.samples += 1,
                SeriesField::Histogram => counts.histograms += 1,
                SeriesField::Exemplar => counts.exemplars += 1,
                SeriesField::Labels | SeriesField::Metadata | SeriesField::Created | SeriesField::Foreign => {}
            }
        }
        Ok(ages)
    }
}

/// Appends the fields of a series of which something is kept.
fn put_recent(protocol: Protocol, mut series: Reader<'_>, oldest_ms: i64, out: &mut Vec<u8>) -> Result<(), Malformed> {
    while let Some(Field { recent, whole, .. }) = next_field(protocol, &mut series, oldest_ms)? {
        if recent {
            out.extend_from_slice(whole);
        }
    }
    Ok(())
}

/// A field of a series.
struct Field<'a> {
    kind: SeriesField,
    /// Whether it is recent enough, or has no age.
    recent: bool,
    /// With its tag.
    whole: &'a [u8],
}

/// Takes the next field; `None` at the end.
fn next_field<'a>(protocol: Protocol, series: &mut Reader<'a>, oldest_ms: i64) -> Result<Option<Field<'a>>, Malformed> {
    if series.is_empty() {
        return Ok(None);
    }
    let before = *series;
    let tag = series.tag()?;
    let kind = SeriesField::of(protocol, tag, before)?;
    let timestamp = match kind {
        SeriesField::Sample => Some(timestamp(series.message()?, 2)?),
        SeriesField::Exemplar => Some(timestamp(series.message()?, 3)?),
        SeriesField::Histogram => Some(timestamp(series.message()?, 15)?),
        SeriesField::Labels | SeriesField::Metadata | SeriesField::Created | SeriesField::Foreign => {
            series.skip(tag)?;
            None
        }
    };
    let recent = timestamp.is_none_or(|timestamp| timestamp >= oldest_ms);
    Ok(Some(Field { kind, recent, whole: series.since(before.position()) }))
}

/// The timestamp of a data point, which is field `number`; the last one counts, and none is 0.
fn timestamp(mut datum: Reader<'_>, number: u32) -> Result<i64, Malformed> {
    let mut timestamp = 0;
    while !datum.is_empty() {
        let before = datum;
        match datum.tag()? {
            Tag { field, wire: WireType::Varint } if field == number => timestamp = datum.varint()?.cast_signed(),
            Tag { field, .. } if field == number => return Err(read::wrong_type(before)),
            tag => datum.skip(tag)?,
        }
    }
    Ok(timestamp)
}

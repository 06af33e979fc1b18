//! Finds the series of a request, where their labels are, and how many data points they have, some at a time.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::recipe::Labels;
use crate::canonical::put_label;
use crate::model::Label;
use crate::read::{self, SeriesField};
use crate::source::{Fields, Source};
use crate::wire::{Malformed, Reader};
use crate::{Counts, Protocol};

/// So many series are looked up and written at a time, however many a request has.
const CHUNK: usize = 2048;

/// Places in the request, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    /// Where the series' field starts, with its tag.
    pub(super) start: usize,
    /// Where its labels start.
    labels: usize,
    /// Where they end; behind them are the data, to the end of the series.
    pub(super) data: usize,
    /// Where the series ends.
    pub(super) end: usize,
    pub(super) counts: Counts,
    /// Exemplars that a scheme does not leave as they are.
    pub(super) foreign_exemplars: u64,
}

impl Found {
    /// A reader of what is behind the labels.
    pub(super) fn data_fields<'a>(&self, decoded: &'a [u8]) -> Result<Reader<'a>, Malformed> {
        let mut reader = Reader::new(decoded.get(..self.end).unwrap_or_default());
        reader.take(self.data as u64)?;
        Ok(reader)
    }

    /// A reader of what is in front of the data: label fields, as the protocol has them.
    pub(super) fn label_fields<'a>(&self, decoded: &'a [u8]) -> Result<Reader<'a>, Malformed> {
        let mut reader = Reader::new(decoded.get(..self.data).unwrap_or_default());
        reader.take(self.labels as u64)?;
        Ok(reader)
    }
}

/// Replaces `found` by the next series.
pub(super) fn next_chunk(protocol: Protocol, series: &mut Fields<'_>, found: &mut Vec<Found>) -> Result<(), Malformed> {
    found.clear();
    for next in series.take(CHUNK) {
        let (content, whole) = next?;
        found.push(find(protocol, content, whole.len())?);
    }
    Ok(())
}

fn find(protocol: Protocol, content: Reader<'_>, length: usize) -> Result<Found, Malformed> {
    let labels = content.position();
    let end = labels + content.rest().len();
    let mut reader = content;
    let short = short_labels(content.rest());
    reader.take(short as u64)?;
    let mut data = reader.position();
    let mut counts = Counts::default();
    while !reader.is_empty() {
        let before = reader;
        let tag = reader.tag()?;
        reader.skip(tag)?;
        match SeriesField::of(protocol, tag, before)? {
            SeriesField::Labels if before.position() == data => data = reader.position(),
            SeriesField::Labels => return Err(before.malformed("labels behind data")),
            SeriesField::Sample => counts.samples += 1,
            SeriesField::Histogram => counts.histograms += 1,
            SeriesField::Exemplar => counts.exemplars += 1,
            SeriesField::Metadata | SeriesField::Created | SeriesField::Foreign => {}
        }
    }
    Ok(Found { start: end - length, labels, data, end, counts, foreign_exemplars: 0 })
}

/// How many bytes are fields 1 of less than 128 bytes: labels, nearly always all.
#[inline]
fn short_labels(content: &[u8]) -> usize {
    let mut rest = content;
    while let [0x0a, length @ 0..0x80, behind @ ..] = rest
        && let Some(behind) = behind.get(usize::from(*length)..)
    {
        rest = behind;
    }
    content.len() - rest.len()
}

/// Hands each label to `visit`.
pub(super) fn for_each_label<'a>(
    source: &Source<'a>,
    fields: Reader<'a>,
    mut visit: impl FnMut(Label<'a>) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    if source.protocol == Protocol::V1 {
        return label_messages(fields, visit);
    }
    let mut name = None;
    for_each_reference(fields, |reference| {
        let text = source.symbol(reference)?;
        match name.take() {
            Some(name) => visit(Label { name, value: text }),
            None => {
                name = Some(text);
                Ok(())
            }
        }
    })?;
    if name.is_some() { Err(fields.malformed("odd number of label references")) } else { Ok(()) }
}

/// Hands each label of a v1 series to `visit`.
pub(super) fn label_messages<'a>(
    mut fields: Reader<'a>,
    mut visit: impl FnMut(Label<'a>) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    while !fields.is_empty() {
        fields.tag()?;
        visit(read::label(fields.message()?)?.value)?;
    }
    Ok(())
}

fn for_each_reference(
    mut fields: Reader<'_>,
    mut visit: impl FnMut(u32) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    let mut result = Ok(());
    while !fields.is_empty() {
        let tag = fields.tag()?;
        read::references(&mut fields, tag, |reference| {
            if result.is_ok() {
                result = visit(reference);
            }
        })?;
    }
    result
}

/// Labels as v1 writes them, in place of what `out` holds.
pub(super) fn put_canonical<'l>(out: &mut Labels, labels: impl Iterator<Item = Label<'l>>) {
    out.clear();
    labels.for_each(|label| {
        put_label(&mut out.bytes, label.name, label.value);
        out.end();
    });
}

/// Computes keys of series. A v2 request's symbols are hashed once, and the series' references replaced by the hashes,
/// so that keys do not depend on the symbol table.
#[derive(Debug, Default)]
pub(super) struct Keys {
    /// For each symbol its hash; 0 while unknown.
    symbols: Vec<u64>,
    hashes: Vec<u8>,
}

impl Keys {
    /// Forgets the symbols of the request before.
    pub(super) fn clear(&mut self) {
        self.symbols.clear();
        self.symbols.shrink_to(CHUNK * 16);
    }

    #[inline]
    pub(super) fn key(&mut self, source: &Source<'_>, fields: Reader<'_>, seed: u64) -> Result<u64, Malformed> {
        if source.protocol == Protocol::V1 {
            return Ok(xxh3_64_with_seed(fields.rest(), seed));
        }
        let Self { symbols, hashes } = self;
        hashes.clear();
        for_each_reference(fields, |reference| {
            hashes.extend_from_slice(&symbol_hash(symbols, source, reference, seed)?.to_le_bytes());
            Ok(())
        })?;
        Ok(xxh3_64_with_seed(hashes, seed))
    }
}

#[inline]
fn symbol_hash(known: &mut Vec<u64>, source: &Source<'_>, reference: u32, seed: u64) -> Result<u64, Malformed> {
    let index = reference as usize;
    if let Some(&hash) = known.get(index)
        && hash != 0
    {
        return Ok(hash);
    }
    let hash = xxh3_64_with_seed(source.symbol(reference)?, seed).max(1);
    if index >= known.len() {
        // The reference is in range, so this is no more than the request has symbols.
        known.resize(index + 1, 0);
    }
    known[index] = hash;
    Ok(hash)
}

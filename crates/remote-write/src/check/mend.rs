//! Judges one series that is not right as it came, and writes what is kept of it in its simplest form.
//! It reads the series' fields two or three times rather than collect them: a data point costs no memory but its own
//! bytes in the output.

use super::labels::{self, Collector};
use super::refusal::Cause;
use super::tally::Tally;
use super::{InvalidHistogram, Pass, histogram, plain};
use crate::canonical::put_label;
use crate::model::{Exemplar, Label, Sample};
use crate::read::{self, MetadataReferences, SeriesField, V1_TIMESERIES};
use crate::symbols::TIMESERIES;
use crate::wire::{
    Malformed, Reader, begin_message, end_message, put_fixed64, put_message, put_varint, put_varint_field,
};
use crate::{Counts, Protocol};

/// What is known of a series before its data is looked at; its labels are in the pass's collector.
#[derive(Clone, Copy, Debug)]
struct Head<'a> {
    /// As they came.
    counts: Counts,
    metadata: Option<MetadataReferences>,
    /// v2 `created_timestamp`, 0 when absent.
    created: i64,
    foreign: bool,
    /// The series behind the labels it starts with.
    data: Reader<'a>,
}

/// What is kept of a series' data.
#[derive(Clone, Copy, Debug, Default)]
struct Kept<'a> {
    tally: Tally,
    /// The first histogram that does not add up.
    invalid: Option<InvalidHistogram>,
    /// Exemplars that are refused alone, and what is wrong with the first.
    refused_exemplars: u32,
    exemplar_defect: Option<Cause<'a>>,
    foreign: bool,
}

/// Which data points a written series takes: a v2 series with both kinds becomes two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    All,
    SamplesAndExemplars,
    Histograms,
}

impl<'a> Pass<'a, '_> {
    /// Judges `series` and appends what is kept of it to the output.
    ///
    /// # Errors
    /// When its bytes are malformed; also what is refused is read to its end, so that this does not depend on rules.
    pub(super) fn mend_series(&mut self, series: Reader<'a>) -> Result<(), Malformed> {
        let head = self.head(series)?;
        self.received += head.counts;
        let cause = self.labels.verdict(self.rules).or_else(|| self.unfit(head));
        self.scratch.known.canonical.clear();
        for entry in &self.labels.entries {
            self.scratch.known.canonical.put(entry.label.name, entry.label.value);
        }
        let start = self.output.bytes().len();
        let split = self.protocol == Protocol::V2 && head.counts.samples > 0 && head.counts.histograms > 0;
        let mut kept = Kept::default();
        if split {
            self.write_series(head, Part::SamplesAndExemplars, &mut kept)?;
            self.write_series(head, Part::Histograms, &mut kept)?;
        } else {
            self.write_series(head, Part::All, &mut kept)?;
        }
        let hash = labels::low(labels::hash(self.scratch.known.canonical.as_slice()));
        let is_excess = !head.counts.is_zero() && self.excess.has(hash);
        let too_many = || is_excess.then_some(Cause::TooManySeries { limit: self.excess.limit });
        if let Some(cause) = cause.or_else(|| kept.invalid.map(Cause::Histogram)).or_else(too_many) {
            self.output.bytes().truncate(start);
            self.rejected.series(cause, head.counts, &self.labels.entries);
            return Ok(());
        }
        if let Some(cause) = kept.exemplar_defect {
            self.rejected.exemplars(cause, kept.refused_exemplars, &self.labels.entries);
        }
        if kept.tally.counts.is_zero() {
            self.output.bytes().truncate(start);
            self.changes.empty_series += u32::from(kept.exemplar_defect.is_none());
            return Ok(());
        }
        self.accept(hash, kept.tally);
        self.changes.sorted += u32::from(self.labels.sorted);
        self.changes.empty_labels += self.labels.empty;
        self.changes.account_labels += self.labels.account;
        self.changes.split += u32::from(split);
        self.changes.foreign += u32::from(head.foreign || kept.foreign);
        Ok(())
    }

    /// Collects the labels, which may come after the data, and counts the data.
    fn head(&mut self, mut reader: Reader<'a>) -> Result<Head<'a>, Malformed> {
        let strip_account = !self.rules.keep_vm_account_labels;
        let counts = Counts::default();
        let mut head = Head { counts, metadata: None, created: 0, foreign: false, data: reader };
        self.labels.clear();
        while !reader.is_empty() {
            let before = reader;
            let tag = reader.tag()?;
            match SeriesField::of(self.protocol, tag, before)? {
                SeriesField::Labels if self.protocol == Protocol::V1 => {
                    let message = reader.message()?;
                    let label = if let Some(found) = plain::label(before.rest()) {
                        Label { name: found.name, value: found.value }
                    } else {
                        let parsed = read::label(message)?;
                        head.foreign |= parsed.foreign;
                        parsed.value
                    };
                    self.labels.add(label, (0, 0), strip_account);
                    if head.data.position() == before.position() {
                        head.data = reader;
                    }
                }
                SeriesField::Labels => {
                    read::references(&mut reader, tag, |reference| {
                        self.labels.refer(reference, self.table, strip_account);
                    })?;
                }
                SeriesField::Metadata => {
                    head.foreign |= read::metadata(reader.message()?, head.metadata.get_or_insert_default())?;
                }
                SeriesField::Created => {
                    head.created = reader.varint()?.cast_signed();
                    head.foreign = true;
                }
                SeriesField::Foreign => {
                    reader.skip(tag)?;
                    head.foreign = true;
                }
                datum => {
                    reader.skip(tag)?;
                    match datum {
                        SeriesField::Sample => head.counts.samples += 1,
                        SeriesField::Histogram => head.counts.histograms += 1,
                        _ => head.counts.exemplars += 1,
                    }
                }
            }
        }
        self.labels.finish();
        let references = head.metadata.map_or([0, 0], |metadata| [metadata.help, metadata.unit]);
        if references.iter().any(|&reference| reference != 0 && self.table.get(reference).is_none()) {
            self.labels.defect.get_or_insert(Cause::BadReference);
        }
        Ok(head)
    }

    /// What strict listeners refuse in v2 series.
    const fn unfit(&self, head: Head<'a>) -> Option<Cause<'a>> {
        match (self.protocol, self.rules.strict, head.counts.samples, head.counts.histograms) {
            (Protocol::V2, true, 0, 0) => Some(Cause::NoSample),
            (Protocol::V2, true, 1.., 1..) => Some(Cause::SamplesAndHistograms),
            _ => None,
        }
    }

    /// Appends one `TimeSeries` with one part of the data.
    fn write_series(&mut self, head: Head<'a>, part: Part, kept: &mut Kept<'a>) -> Result<(), Malformed> {
        let field = if self.protocol == Protocol::V1 { V1_TIMESERIES } else { TIMESERIES };
        let start = begin_message(self.output.bytes(), field);
        if self.protocol == Protocol::V1 {
            self.output.bytes().extend_from_slice(self.scratch.known.canonical.as_slice());
        } else {
            put_references(self.output.bytes(), &self.labels, self.shift);
        }
        let mut fields = head.data;
        while !fields.is_empty() {
            let before = fields;
            let tag = fields.tag()?;
            match SeriesField::of(self.protocol, tag, before)? {
                SeriesField::Sample if part != Part::Histograms => self.sample(fields.message()?, head, kept)?,
                SeriesField::Exemplar if part != Part::Histograms => self.exemplar(fields.message()?, kept)?,
                SeriesField::Histogram if part != Part::SamplesAndExemplars => {
                    self.histogram(fields.message()?, head, kept)?;
                }
                _ => fields.skip(tag)?,
            }
        }
        if let Some(metadata) = head.metadata {
            put_message(self.output.bytes(), 5, |out| put_metadata(out, metadata, self.shift));
        }
        end_message(self.output.bytes(), start);
        Ok(())
    }

    fn sample(&mut self, message: Reader<'a>, head: Head<'a>, kept: &mut Kept<'a>) -> Result<(), Malformed> {
        let parsed = read::sample(self.protocol, message)?;
        let mut sample = parsed.value;
        if sample.start_timestamp == 0 {
            sample.start_timestamp = head.created;
        }
        kept.foreign |= parsed.foreign;
        kept.tally.sample(sample.timestamp);
        put_message(self.output.bytes(), 2, |out| put_sample(out, sample));
        Ok(())
    }

    fn histogram(&mut self, message: Reader<'a>, head: Head<'a>, kept: &mut Kept<'a>) -> Result<(), Malformed> {
        let size = message.rest().len();
        if size > histogram::MAX_BYTES {
            kept.invalid.get_or_insert(InvalidHistogram::TooLarge(size));
            return Ok(());
        }
        let histogram = &mut self.scratch.histogram;
        let foreign = read::histogram(self.protocol, message, histogram)?;
        kept.foreign |= foreign;
        kept.tally.histogram(histogram.timestamp);
        kept.invalid = kept.invalid.or_else(|| histogram::check(histogram).err());
        let created = if histogram.start_timestamp == 0 { head.created } else { 0 };
        let protocol = self.protocol;
        let field = if protocol == Protocol::V1 { 4 } else { 3 };
        put_message(self.output.bytes(), field, |out| {
            if foreign {
                copy_known(protocol, message, out);
            } else {
                out.extend_from_slice(message.rest());
            }
            if created != 0 {
                put_varint_field(out, 17, created.cast_unsigned());
            }
        });
        Ok(())
    }

    fn exemplar(&mut self, message: Reader<'a>, kept: &mut Kept<'a>) -> Result<(), Malformed> {
        let labels = &mut self.exemplar_labels;
        labels.clear();
        let (field, parsed) = match self.protocol {
            Protocol::V1 => (3, read::exemplar_v1(message, |label| labels.add(label, (0, 0), false))?),
            Protocol::V2 => {
                let table = self.table;
                (4, read::exemplar_references(message, |reference| labels.refer(reference, table, false))?)
            }
        };
        labels.finish();
        if let Some(defect) = labels.defect {
            kept.refused_exemplars += 1;
            kept.exemplar_defect = kept.exemplar_defect.or(Some(defect));
            return Ok(());
        }
        kept.foreign |= parsed.foreign;
        kept.tally.exemplar();
        put_message(self.output.bytes(), field, |out| {
            match self.protocol {
                Protocol::V1 => {
                    for entry in &labels.entries {
                        put_label(out, entry.label.name, entry.label.value);
                    }
                }
                Protocol::V2 => put_references(out, labels, self.shift),
            }
            put_exemplar_datum(out, &parsed.value);
        });
        Ok(())
    }
}

/// v2: packed references, `shift` higher than they came.
fn put_references(out: &mut Vec<u8>, labels: &Collector<'_>, shift: u32) {
    put_message(out, 1, |out| {
        for (name, value) in labels.entries.iter().map(|entry| entry.references) {
            put_varint(out, u64::from(name) + u64::from(shift));
            put_varint(out, u64::from(value) + u64::from(shift));
        }
    });
}

fn put_metadata(out: &mut Vec<u8>, metadata: MetadataReferences, shift: u32) {
    if metadata.kind != 0 {
        put_varint_field(out, 1, i64::from(metadata.kind).cast_unsigned());
    }
    for (field, reference) in [(3, metadata.help), (4, metadata.unit)] {
        // 0 means absent and stays so.
        if reference != 0 {
            put_varint_field(out, field, u64::from(reference) + u64::from(shift));
        }
    }
}

/// A zero is left out; compared by bits, because −0.0 is not the default.
fn put_sample(out: &mut Vec<u8>, sample: Sample) {
    if sample.value.to_bits() != 0 {
        put_fixed64(out, 1, sample.value.to_bits());
    }
    for (field, timestamp) in [(2, sample.timestamp), (3, sample.start_timestamp)] {
        if timestamp != 0 {
            put_varint_field(out, field, timestamp.cast_unsigned());
        }
    }
}

fn put_exemplar_datum(out: &mut Vec<u8>, exemplar: &Exemplar<'_>) {
    if exemplar.value.to_bits() != 0 {
        put_fixed64(out, 2, exemplar.value.to_bits());
    }
    if exemplar.timestamp != 0 {
        put_varint_field(out, 3, exemplar.timestamp.cast_unsigned());
    }
}

/// Copies a histogram, which has been read before, without the fields that its schema does not have.
fn copy_known(protocol: Protocol, mut message: Reader<'_>, out: &mut Vec<u8>) {
    while let Some((field, value, whole)) = next_field(&mut message) {
        if matches!(field, 8 | 11)
            && let Ok(mut span) = { value }.message()
        {
            put_message(out, field, |out| {
                while let Some((field, _, whole)) = next_field(&mut span) {
                    if field <= 2 {
                        out.extend_from_slice(whole);
                    }
                }
            });
        } else if read::histogram_field_is_known(protocol, field) {
            out.extend_from_slice(whole);
        }
    }
}

/// A field's number, a reader at its value, and its bytes with its tag; `None` at the end.
fn next_field<'a>(message: &mut Reader<'a>) -> Option<(u32, Reader<'a>, &'a [u8])> {
    if message.is_empty() {
        return None;
    }
    let start = message.position();
    let tag = message.tag().ok()?;
    let value = *message;
    message.skip(tag).ok()?;
    Some((tag.field, value, message.since(start)))
}

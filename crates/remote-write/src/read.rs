//! Reads a request of either protocol into borrowed values, as tolerantly as protobuf allows: fields in any order,
//! packed or not, repeated singular fields (the last wins), merged sub-messages, unknown fields and groups skipped.
//! It judges nothing; `check` does.

mod datum;
mod histogram;

use crate::model::{Metadata, Request, Series};
use crate::symbols::{self, Symbols};
use crate::wire::{Malformed, Reader, Tag, WireType};
use crate::{Protocol, model::Label};

pub(crate) use datum::{
    MetadataReferences, exemplar_references, exemplar_v1, family, label, metadata, references, sample,
};
pub(crate) use histogram::{histogram, histogram_field_is_known};

/// A series with more data points than this is visited in pieces, so that a request of tiny messages (an empty
/// histogram takes two bytes on the wire and three hundred in memory) cannot take more than a few MiB.
pub const MAX_DATA_PER_VISIT: usize = 8192;

/// `WriteRequest.timeseries` of remote write 1.0.
pub(crate) const V1_TIMESERIES: u32 = 1;
/// `WriteRequest.metadata` of remote write 1.0.
pub(crate) const V1_METADATA: u32 = 3;

/// Reads a whole request into memory: for tools and tests, because the result may be many times the request's size.
///
/// # Errors
/// When the bytes are not a request of this protocol.
pub fn read(protocol: Protocol, decoded: &[u8]) -> Result<Request<'_>, Malformed> {
    let mut request = Request::default();
    visit(protocol, decoded, usize::MAX, |series| request.series.push(series.clone()))?;
    if protocol == Protocol::V1 {
        for_each_metadata(decoded, |metadata| request.metadata.push(metadata))?;
    }
    Ok(request)
}

/// Visits the series of a request in wire order, each in the same reused memory.
///
/// A series of more than [`MAX_DATA_PER_VISIT`] data points is visited several times, each time with its labels and
/// metadata and the next data points. The v2 field `created_timestamp` (before 2.0-rc.4) fills the start timestamps
/// that are unset.
///
/// # Errors
/// When the bytes are not a request of this protocol; what was visited until then stands.
pub fn for_each_series<'a>(
    protocol: Protocol,
    decoded: &'a [u8],
    visit_series: impl FnMut(&Series<'a>),
) -> Result<(), Malformed> {
    visit(protocol, decoded, MAX_DATA_PER_VISIT, visit_series)
}

/// Visits the metadata that a v1 request carries beside its series.
///
/// # Errors
/// When the bytes are not a v1 request.
pub fn for_each_metadata<'a>(decoded: &'a [u8], mut visit: impl FnMut(Metadata<'a>)) -> Result<(), Malformed> {
    let mut reader = Reader::new(decoded);
    while !reader.is_empty() {
        let before = reader;
        let tag = reader.tag()?;
        match (tag.field, tag.wire) {
            (V1_METADATA, WireType::Len) => visit(family(reader.message()?)?.value),
            (V1_METADATA, _) => return Err(wrong_type(before)),
            _ => reader.skip(tag)?,
        }
    }
    Ok(())
}

fn visit<'a>(
    protocol: Protocol,
    decoded: &'a [u8],
    limit: usize,
    mut visit_series: impl FnMut(&Series<'a>),
) -> Result<(), Malformed> {
    let mut symbols = Symbols::default();
    let field = match protocol {
        Protocol::V1 => V1_TIMESERIES,
        Protocol::V2 => {
            symbols.find(decoded)?;
            symbols::TIMESERIES
        }
    };
    let source = Source { protocol, decoded, symbols: &symbols };
    let mut series = Series::default();
    let mut reader = Reader::new(decoded);
    while !reader.is_empty() {
        let before = reader;
        let tag = reader.tag()?;
        if tag.field != field {
            reader.skip(tag)?;
        } else if tag.wire == WireType::Len {
            source.visit(reader.message()?, limit, &mut series, &mut visit_series)?;
        } else {
            return Err(wrong_type(before));
        }
    }
    Ok(())
}

/// What a field of a `TimeSeries` holds; the numbers differ between the protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SeriesField {
    /// A label (v1) or label references (v2).
    Labels,
    Sample,
    Histogram,
    Exemplar,
    /// v2 only.
    Metadata,
    /// v2 before 2.0-rc.4: `created_timestamp`.
    Created,
    /// Not in the schema.
    Foreign,
}

impl SeriesField {
    /// What `tag` means, or an error at `before` when a known field has the wrong wire type.
    #[inline]
    pub(crate) fn of(protocol: Protocol, tag: Tag, before: Reader<'_>) -> Result<Self, Malformed> {
        let (field, wire_fits) = match (protocol, tag.field) {
            (Protocol::V1, 1) => (Self::Labels, tag.wire == WireType::Len),
            (Protocol::V2, 1) => (Self::Labels, matches!(tag.wire, WireType::Len | WireType::Varint)),
            (_, 2) => (Self::Sample, tag.wire == WireType::Len),
            (Protocol::V1, 4) | (Protocol::V2, 3) => (Self::Histogram, tag.wire == WireType::Len),
            (Protocol::V1, 3) | (Protocol::V2, 4) => (Self::Exemplar, tag.wire == WireType::Len),
            (Protocol::V2, 5) => (Self::Metadata, tag.wire == WireType::Len),
            (Protocol::V2, 6) => (Self::Created, tag.wire == WireType::Varint),
            _ => (Self::Foreign, true),
        };
        if wire_fits { Ok(field) } else { Err(wrong_type(before)) }
    }
}

/// A request being read.
struct Source<'a, 's> {
    protocol: Protocol,
    decoded: &'a [u8],
    symbols: &'s Symbols,
}

impl<'a> Source<'a, '_> {
    fn visit(
        &self,
        reader: Reader<'a>,
        limit: usize,
        series: &mut Series<'a>,
        visit_series: &mut impl FnMut(&Series<'a>),
    ) -> Result<(), Malformed> {
        let created = self.head(reader, series)?;
        let mut fields = reader;
        let mut pending = 0;
        let mut visited = false;
        while !fields.is_empty() {
            if self.datum(&mut fields, created, series)? {
                pending += 1;
            }
            if pending == limit {
                visit_series(series);
                clear_data(series);
                pending = 0;
                visited = true;
            }
        }
        if pending > 0 || !visited {
            visit_series(series);
        }
        Ok(())
    }

    /// Labels and metadata, which may come after the data. Returns `created_timestamp`, 0 when absent.
    fn head(&self, mut reader: Reader<'a>, series: &mut Series<'a>) -> Result<i64, Malformed> {
        clear_data(series);
        series.labels.clear();
        series.bad_reference = false;
        series.metadata = None;
        let mut created = 0;
        let mut name = None;
        let mut described = None;
        while !reader.is_empty() {
            let before = reader;
            let tag = reader.tag()?;
            match SeriesField::of(self.protocol, tag, before)? {
                SeriesField::Labels if self.protocol == Protocol::V1 => {
                    series.labels.push(label(reader.message()?)?.value);
                }
                SeriesField::Labels => {
                    references(&mut reader, tag, |reference| {
                        self.reference(reference, &mut name, &mut series.labels, &mut series.bad_reference);
                    })?;
                }
                SeriesField::Metadata => {
                    metadata(reader.message()?, described.get_or_insert_default())?;
                }
                SeriesField::Created => created = reader.varint()?.cast_signed(),
                SeriesField::Sample | SeriesField::Histogram | SeriesField::Exemplar | SeriesField::Foreign => {
                    reader.skip(tag)?;
                }
            }
        }
        series.bad_reference |= name.is_some();
        series.metadata = described.map(|metadata| self.described(metadata, &mut series.bad_reference));
        Ok(created)
    }

    /// Takes one field; returns whether it was a data point, which is then in `series`.
    fn datum(&self, fields: &mut Reader<'a>, created: i64, series: &mut Series<'a>) -> Result<bool, Malformed> {
        let before = *fields;
        let tag = fields.tag()?;
        match SeriesField::of(self.protocol, tag, before)? {
            SeriesField::Sample => {
                let mut value = sample(self.protocol, fields.message()?)?.value;
                if value.start_timestamp == 0 {
                    value.start_timestamp = created;
                }
                series.samples.push(value);
            }
            SeriesField::Histogram => {
                let mut value = crate::model::Histogram::default();
                histogram(self.protocol, fields.message()?, &mut value)?;
                if value.start_timestamp == 0 {
                    value.start_timestamp = created;
                }
                series.histograms.push(value);
            }
            SeriesField::Exemplar if self.protocol == Protocol::V1 => {
                let mut labels = Vec::new();
                let exemplar = exemplar_v1(fields.message()?, |label| labels.push(label))?.value;
                series.exemplars.push(crate::model::Exemplar { labels, ..exemplar });
            }
            SeriesField::Exemplar => {
                let (mut name, mut labels, mut bad_reference) = (None, Vec::new(), false);
                let exemplar = exemplar_references(fields.message()?, |reference| {
                    self.reference(reference, &mut name, &mut labels, &mut bad_reference);
                })?
                .value;
                let bad_reference = bad_reference || name.is_some();
                series.exemplars.push(crate::model::Exemplar { labels, bad_reference, ..exemplar });
            }
            SeriesField::Labels | SeriesField::Metadata | SeriesField::Created | SeriesField::Foreign => {
                fields.skip(tag)?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Takes the next reference: a name, then its value, then the next name.
    fn reference(&self, reference: u32, name: &mut Option<u32>, labels: &mut Vec<Label<'a>>, bad: &mut bool) {
        let Some(name) = name.take() else {
            *name = Some(reference);
            return;
        };
        match (self.symbols.get(self.decoded, name), self.symbols.get(self.decoded, reference)) {
            (Some(name), Some(value)) => labels.push(Label { name, value }),
            _ => *bad = true,
        }
    }

    fn described(&self, metadata: MetadataReferences, bad: &mut bool) -> Metadata<'a> {
        let mut text = |reference| {
            // Reference 0 means absent, whatever the first symbol is (remote write 2.0, Metadata).
            if reference == 0 {
                return &[][..];
            }
            self.symbols.get(self.decoded, reference).unwrap_or_else(|| {
                *bad = true;
                &[]
            })
        };
        Metadata { kind: metadata.kind, family: &[], help: text(metadata.help), unit: text(metadata.unit) }
    }
}

fn clear_data(series: &mut Series<'_>) {
    series.samples.clear();
    series.histograms.clear();
    series.exemplars.clear();
}

/// An error at `before` the tag of a known field.
pub(crate) const fn wrong_type(before: Reader<'_>) -> Malformed {
    before.malformed("field has the wrong wire type")
}

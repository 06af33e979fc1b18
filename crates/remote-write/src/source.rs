//! A write request of either protocol as slices of its own bytes: series taken apart, values never decoded.
//! What the outgoing side copies from; it judges nothing but the structure.

use crate::canonical::{Canonical, Pairs};
use crate::interner::Interner;
use crate::model::{Label, METRIC_NAME, Metadata};
use crate::read::{self, SeriesField};
use crate::relabel::{Scheme, escaped_exemplar_labels};
use crate::symbols::{self, Symbols};
use crate::wire::{Malformed, Reader, Tag, WireType};
use crate::{Counts, Protocol};

/// The schema of a native histogram with custom buckets (remote write 2.0, "Histogram").
const CUSTOM_BUCKETS: i64 = -53;

/// A whole request. Its symbols, if it has any, are found once; the series are walked as often as needed.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    pub(crate) protocol: Protocol,
    decoded: &'a [u8],
    symbols: Symbols,
    /// For each symbol, its reference in the output, 0 while unknown.
    interned: Vec<u32>,
    /// v1: the labels of the series that was last put into a v2 output.
    last_labels: Vec<&'a [u8]>,
    /// Of the output, when `interned` and `last_labels` were right.
    epoch: Option<u64>,
    /// Reused by [`Self::written_exemplar_labels`].
    references: Vec<u32>,
    /// v2: labels as v1 writes them, of series that were written so, and of the one that is being written.
    pairs: Pairs,
    canonical: Canonical,
    /// What exemplars' labels are handed out under.
    scheme: Option<Scheme>,
}

/// One `TimeSeries`, reused from series to series. A reader in it stands at the start of the sub-message it reads.
#[derive(Clone, Debug, Default)]
pub(crate) struct SeriesParts<'a> {
    /// v1: the label messages.
    pub(crate) label_fields: Vec<Reader<'a>>,
    /// v2: the label references, of even number.
    pub(crate) references: Vec<u32>,
    /// The labels themselves, after [`Source::resolve`].
    pub(crate) labels: Vec<Label<'a>>,
    pub(crate) samples: Vec<Reader<'a>>,
    pub(crate) histograms: Vec<Reader<'a>>,
    pub(crate) exemplars: Vec<Reader<'a>>,
    /// The family name is empty.
    pub(crate) metadata: Option<Metadata<'a>>,
}

impl<'a> SeriesParts<'a> {
    /// The name of a v1 series' metric, whether its labels are resolved or not.
    pub(crate) fn metric_name_v1(&self) -> Result<Option<&'a [u8]>, Malformed> {
        for &field in &self.label_fields {
            let label = read::label(field)?.value;
            if label.name == METRIC_NAME.as_bytes() {
                return Ok(Some(label.value));
            }
        }
        Ok(None)
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts {
            samples: self.samples.len() as u64,
            histograms: self.histograms.len() as u64,
            exemplars: self.exemplars.len() as u64,
        }
    }

    /// Whether there is a sample or a histogram.
    pub(crate) const fn has_data(&self) -> bool {
        !self.samples.is_empty() || !self.histograms.is_empty()
    }

    fn clear(&mut self) {
        self.label_fields.clear();
        self.references.clear();
        self.labels.clear();
        self.samples.clear();
        self.histograms.clear();
        self.exemplars.clear();
        self.metadata = None;
    }
}

impl<'a> Source<'a> {
    /// # Errors
    /// When the fields of a v2 request cannot be told apart, or it is larger than 4 GiB.
    pub(crate) fn new(protocol: Protocol, decoded: &'a [u8]) -> Result<Self, Malformed> {
        let mut symbols = Symbols::default();
        if protocol == Protocol::V2 {
            symbols.find(decoded)?;
        }
        Ok(Self {
            protocol,
            decoded,
            symbols,
            interned: Vec::new(),
            last_labels: Vec::new(),
            epoch: None,
            references: Vec::new(),
            pairs: Pairs::default(),
            canonical: Canonical::default(),
            scheme: None,
        })
    }

    /// The same, which hands out the labels of exemplars under a scheme. One that drops some is asked beforehand.
    pub(crate) fn under(self, scheme: Option<Scheme>) -> Self {
        Self { scheme, ..self }
    }

    /// The field of a request that holds a series.
    pub(crate) const fn series_field(&self) -> u32 {
        match self.protocol {
            Protocol::V1 => read::V1_TIMESERIES,
            Protocol::V2 => symbols::TIMESERIES,
        }
    }

    /// Each series in wire order: its content, and the whole field with its tag.
    pub(crate) const fn series(&self) -> Fields<'a> {
        Fields { reader: Reader::new(self.decoded), field: self.series_field() }
    }

    /// v1: each `MetricMetadata` in wire order, as [`Self::series`] does.
    pub(crate) const fn metadata(&self) -> Fields<'a> {
        let field = match self.protocol {
            Protocol::V1 => read::V1_METADATA,
            // Field numbers start at 1: there is none in v2.
            Protocol::V2 => 0,
        };
        Fields { reader: Reader::new(self.decoded), field }
    }

    /// How many data points the series has, without looking at them.
    pub(crate) fn counts(&self, mut series: Reader<'_>) -> Result<Counts, Malformed> {
        let mut counts = Counts::default();
        while !series.is_empty() {
            let before = series;
            let tag = series.tag()?;
            series.skip(tag)?;
            match SeriesField::of(self.protocol, tag, before)? {
                SeriesField::Sample => counts.samples += 1,
                SeriesField::Histogram => counts.histograms += 1,
                SeriesField::Exemplar => counts.exemplars += 1,
                SeriesField::Labels | SeriesField::Metadata | SeriesField::Created | SeriesField::Foreign => {}
            }
        }
        Ok(counts)
    }

    /// Replaces what `parts` holds by the fields of `series`. Fields outside the schema are left out.
    pub(crate) fn take_apart(&self, mut series: Reader<'a>, parts: &mut SeriesParts<'a>) -> Result<(), Malformed> {
        parts.clear();
        while !series.is_empty() {
            let before = series;
            let tag = series.tag()?;
            match SeriesField::of(self.protocol, tag, before)? {
                SeriesField::Labels if self.protocol == Protocol::V1 => parts.label_fields.push(series.message()?),
                SeriesField::Labels => {
                    read_references(&mut series, tag, &mut parts.references)?;
                }
                SeriesField::Sample => parts.samples.push(series.message()?),
                SeriesField::Histogram => parts.histograms.push(series.message()?),
                SeriesField::Exemplar => parts.exemplars.push(series.message()?),
                SeriesField::Metadata => {
                    let metadata = parts.metadata.get_or_insert_default();
                    self.read_metadata(series.message()?, metadata)?;
                }
                // The check has moved `created_timestamp` into the samples and histograms.
                SeriesField::Created | SeriesField::Foreign => series.skip(tag)?,
            }
        }
        even(&parts.references, &series)
    }

    /// Fills `parts.labels`.
    pub(crate) fn resolve(&self, parts: &mut SeriesParts<'a>) -> Result<(), Malformed> {
        parts.labels.clear();
        for &field in &parts.label_fields {
            parts.labels.push(read::label(field)?.value);
        }
        for pair in parts.references.as_chunks().0 {
            parts.labels.push(self.label(*pair)?);
        }
        Ok(())
    }

    /// Appends the labels of a v2 series as v1 writes them.
    pub(crate) fn put_labels_v1(&mut self, references: &[u32], out: &mut Vec<u8>) -> Result<(), Malformed> {
        if !self.pairs.is_begun() {
            self.pairs.begin(self.symbols.len());
        }
        self.canonical.clear();
        for &[name, value] in references.as_chunks().0 {
            if self.pairs.put(name, value, &mut self.canonical) {
                continue;
            }
            let start = self.canonical.as_slice().len();
            self.canonical.put(self.symbol(name)?, self.symbol(value)?);
            self.pairs.keep(name, value, self.canonical.as_slice().get(start..).unwrap_or_default());
        }
        out.extend_from_slice(self.canonical.as_slice());
        Ok(())
    }

    /// The name of a v2 series' metric.
    pub(crate) fn metric_name_v2(&self, parts: &SeriesParts<'a>) -> Result<Option<&'a [u8]>, Malformed> {
        for &[name, value] in parts.references.as_chunks().0 {
            if self.symbol(name)? == METRIC_NAME.as_bytes() {
                return self.symbol(value).map(Some);
            }
        }
        Ok(None)
    }

    /// Replaces `references`, which belong to the series put before into the same output, by those of this one's labels.
    ///
    /// Neighbours share most labels: those that a v1 series has at the same places are compared, not read.
    pub(crate) fn intern_labels(
        &mut self,
        parts: &SeriesParts<'a>,
        references: &mut Vec<u32>,
        interner: &mut Interner,
    ) -> Result<(), Malformed> {
        if self.epoch != Some(interner.epoch()) {
            self.interned.fill(0);
            self.last_labels.clear();
            references.clear();
            self.epoch = Some(interner.epoch());
        }
        if self.protocol == Protocol::V2 {
            references.clear();
            for &reference in &parts.references {
                references.push(self.intern(reference, interner)?);
            }
            return Ok(());
        }
        self.last_labels.resize(parts.label_fields.len(), b"");
        references.resize(parts.label_fields.len() * 2, 0);
        let pairs = references.as_chunks_mut().0.iter_mut();
        for ((field, last), [name, value]) in parts.label_fields.iter().zip(&mut self.last_labels).zip(pairs) {
            // A place that no label had before is that of an empty label, with two references to the empty string.
            if field.rest() != *last {
                let label = read::label(*field)?.value;
                *name = interner.intern(*name, label.name);
                *value = interner.intern(*value, label.value);
                *last = field.rest();
            }
        }
        Ok(())
    }

    #[inline]
    fn intern(&mut self, reference: u32, interner: &mut Interner) -> Result<u32, Malformed> {
        let index = reference as usize;
        if let Some(&interned) = self.interned.get(index)
            && interned != 0
        {
            return Ok(interned);
        }
        let interned = interner.intern(0, self.symbol(reference)?);
        if index >= self.interned.len() {
            // The reference is in range, so this is no more than the request has symbols.
            self.interned.resize(index + 1, 0);
        }
        self.interned[index] = interned;
        Ok(interned)
    }

    /// Hands each label of an exemplar to `visit`, under the scheme if there is one.
    pub(crate) fn exemplar_labels(
        &mut self,
        exemplar: Reader<'a>,
        visit: impl FnMut(Label<'_>),
    ) -> Result<(), Malformed> {
        match self.scheme {
            Some(scheme) => escaped_exemplar_labels(scheme, self, exemplar, visit),
            None => self.written_exemplar_labels(exemplar, visit),
        }
    }

    /// Hands each label of an exemplar to `visit`, as the request has it.
    pub(crate) fn written_exemplar_labels(
        &mut self,
        exemplar: Reader<'a>,
        mut visit: impl FnMut(Label<'a>),
    ) -> Result<(), Malformed> {
        if self.protocol == Protocol::V1 {
            return read::exemplar_v1(exemplar, visit).map(drop);
        }
        self.references.clear();
        read::exemplar_references(exemplar, |reference| self.references.push(reference))?;
        even(&self.references, &exemplar)?;
        for pair in self.references.as_chunks().0 {
            visit(self.label(*pair)?);
        }
        Ok(())
    }

    fn label(&self, [name, value]: [u32; 2]) -> Result<Label<'a>, Malformed> {
        Ok(Label { name: self.symbol(name)?, value: self.symbol(value)? })
    }

    /// The string behind `reference`.
    #[inline]
    pub(crate) fn symbol(&self, reference: u32) -> Result<&'a [u8], Malformed> {
        self.symbols.get(self.decoded, reference).ok_or(Malformed {
            // The reference may come from anywhere; it is the table, which ends with the request, that is too short.
            offset: self.decoded.len(),
            what: "symbol reference out of range",
        })
    }

    /// A later `Metadata` of the same series is merged into an earlier one, as protobuf has it.
    fn read_metadata(&self, mut reader: Reader<'a>, metadata: &mut Metadata<'a>) -> Result<(), Malformed> {
        while !reader.is_empty() {
            let tag = reader.tag()?;
            match tag {
                Tag { field: 1, wire: WireType::Varint } => metadata.kind = reader.varint()? as i32,
                Tag { field: 3, wire: WireType::Varint } => metadata.help = self.text(&mut reader)?,
                Tag { field: 4, wire: WireType::Varint } => metadata.unit = self.text(&mut reader)?,
                _ => reader.skip(tag)?,
            }
        }
        Ok(())
    }

    /// The symbol that `help_ref` or `unit_ref` names; 0 means that there is none.
    fn text(&self, reader: &mut Reader<'_>) -> Result<&'a [u8], Malformed> {
        match read_reference(reader)? {
            0 => Ok(b""),
            reference => self.symbol(reference),
        }
    }
}

/// The fields of one number in a request, in wire order: content, and the whole field with its tag.
#[derive(Clone, Debug)]
pub(crate) struct Fields<'a> {
    reader: Reader<'a>,
    field: u32,
}

impl<'a> Fields<'a> {
    fn advance(&mut self) -> Result<Option<(Reader<'a>, &'a [u8])>, Malformed> {
        while !self.reader.is_empty() {
            let before = self.reader;
            let tag = self.reader.tag()?;
            if tag.field != self.field {
                self.reader.skip(tag)?;
                continue;
            }
            if tag.wire != WireType::Len {
                return Err(read::wrong_type(before));
            }
            let content = self.reader.message()?;
            return Ok(Some((content, self.reader.since(before.position()))));
        }
        Ok(None)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(Reader<'a>, &'a [u8]), Malformed>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let item = self.advance();
        if item.is_err() {
            self.reader = Reader::new(b"");
        }
        item.transpose()
    }
}

/// Whether the histogram has custom buckets, which remote write 1.0 cannot carry.
pub(crate) fn has_custom_buckets(mut histogram: Reader<'_>) -> Result<bool, Malformed> {
    let mut custom = false;
    while !histogram.is_empty() {
        let tag = histogram.tag()?;
        match tag {
            Tag { field: 4, wire: WireType::Varint } => {
                custom = crate::wire::unzigzag(histogram.varint()?) == CUSTOM_BUCKETS;
            }
            _ => histogram.skip(tag)?,
        }
    }
    Ok(custom)
}

/// Labels are pairs of references (remote write 2.0, "Labels").
const fn even(references: &[u32], at: &Reader<'_>) -> Result<(), Malformed> {
    if references.len().is_multiple_of(2) { Ok(()) } else { Err(at.malformed("odd number of label references")) }
}

/// Packed or one by one: both are to be understood (Protocol Buffers encoding, "packed repeated fields").
fn read_references(reader: &mut Reader<'_>, tag: Tag, references: &mut Vec<u32>) -> Result<(), Malformed> {
    if tag.wire == WireType::Varint {
        references.push(read_reference(reader)?);
        return Ok(());
    }
    let mut packed = reader.message()?;
    while !packed.is_empty() {
        references.push(read_reference(&mut packed)?);
    }
    Ok(())
}

/// A uint32 is the low half of its varint.
#[inline]
fn read_reference(reader: &mut Reader<'_>) -> Result<u32, Malformed> {
    reader.varint().map(|reference| reference as u32)
}

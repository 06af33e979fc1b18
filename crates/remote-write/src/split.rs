//! Cuts a request into smaller ones of the same protocol, by series and in order: what is too large for one request, and
//! what an endpoint refused and is to be looked for.
//!
//! The parts of a request must be sent in order, each after the one before: series of the same labels may be in several.

use crate::encode::{Mark, V2Encoder};
use crate::rewrite::put_series_v1;
use crate::source::{SeriesParts, Source};
use crate::wire::{Malformed, Reader};
use crate::{Counts, Protocol};

/// A request cut out of another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Encoded, not compressed.
    pub body: Vec<u8>,
    /// What it carries.
    pub counts: Counts,
    /// How many series it has.
    pub series: u32,
}

/// Cuts a request into parts of at most `max_samples` data points (samples, histograms and exemplars) and `max_bytes`
/// decoded bytes.
///
/// A series stays whole if it is within the limits alone. One that is not is cut between its data points, in order; in
/// v2 its exemplars stay with its last sample or histogram, which v2 exemplars need, whatever the limits. A single data
/// point stays whole whatever its size. v1 metadata goes first.
///
/// # Errors
/// When the bytes are not a request of the protocol, or a symbol reference is out of range.
pub fn split(protocol: Protocol, decoded: &[u8], max_samples: u64, max_bytes: usize) -> Result<Vec<Part>, Malformed> {
    let mut parts = Vec::new();
    split_each(protocol, decoded, max_samples, max_bytes, &mut |part| parts.push(part))?;
    Ok(parts)
}

/// As [`split`], for who needs one part at a time only.
///
/// # Errors
/// As [`split`]; parts before what is malformed were handed out.
pub fn split_each(
    protocol: Protocol,
    decoded: &[u8],
    max_samples: u64,
    max_bytes: usize,
    each: &mut dyn FnMut(Part),
) -> Result<(), Malformed> {
    let source = Source::new(protocol, decoded)?;
    let [families, series] = [source.metadata(), source.series()];
    let mut cutter = Cutter::new(source);
    let limits = Limits { points: max_samples.max(1), bytes: max_bytes };
    for family in families {
        let (_, whole) = family?;
        if cutter.len() + whole.len() > limits.bytes {
            cutter.close(each);
        }
        cutter.metadata.extend_from_slice(whole);
    }
    for series in series {
        cutter.add_within(series?, limits, each)?;
    }
    cutter.close(each);
    Ok(())
}

/// Cuts a request into two of as many series each, or one more in the second. A single series is cut between its data
/// points. v1 metadata goes first: alone, if a single data point is all the rest; in halves, if there is no rest.
/// `None` if there is nothing to cut.
///
/// # Errors
/// As [`split`].
pub fn halve(protocol: Protocol, decoded: &[u8]) -> Result<Option<(Part, Part)>, Malformed> {
    let source = Source::new(protocol, decoded)?;
    let families = source.metadata().map(|family| family.map(|(_, whole)| whole)).collect::<Result<Vec<_>, _>>()?;
    let series = source.series().collect::<Result<Vec<_>, _>>()?;
    let mut cutter = Cutter::new(source);
    let (first, second) = match (series.as_slice(), families.as_slice()) {
        ([], [] | [_]) => return Ok(None),
        ([], families) => {
            let (first, second) = families.split_at(families.len() / 2);
            (cutter.gather(first, &[])?, cutter.gather(second, &[])?)
        }
        ([only], families) => match (cutter.halves(only.0)?, families) {
            (Some((first, second)), families) => {
                families.iter().for_each(|family| cutter.metadata.extend_from_slice(family));
                cutter.add(&first)?;
                let first = cutter.take();
                cutter.add(&second)?;
                (first, cutter.take())
            }
            (None, []) => return Ok(None),
            (None, families) => (cutter.gather(families, &[])?, cutter.gather(&[], &series)?),
        },
        (series, families) => {
            let (first, second) = series.split_at(series.len() / 2);
            (cutter.gather(families, first)?, cutter.gather(&[], second)?)
        }
    };
    Ok(Some((first, second)))
}

/// A series' content, and its whole field.
type Field<'a> = (Reader<'a>, &'a [u8]);

#[derive(Clone, Copy, Debug)]
struct Limits {
    /// At least 1.
    points: u64,
    bytes: usize,
}

/// Builds one part after the other.
struct Cutter<'a> {
    source: Source<'a>,
    series: Series,
    /// v1: what goes into the part beside the series.
    metadata: Vec<u8>,
    counts: Counts,
    taken_apart: SeriesParts<'a>,
}

/// The series of the part being built.
enum Series {
    /// Fields of the request, and how many.
    V1(Vec<u8>, u32),
    V2(V2Encoder),
}

/// A point in the building of a part, to return to.
#[derive(Clone, Copy)]
enum Before {
    V1(usize, u32),
    V2(Mark),
}

impl Series {
    fn before(&self) -> Before {
        match self {
            Self::V1(bytes, count) => Before::V1(bytes.len(), *count),
            Self::V2(encoder) => Before::V2(encoder.mark()),
        }
    }

    fn return_to(&mut self, before: Before) {
        match (self, before) {
            (Self::V1(bytes, count), Before::V1(length, old)) => {
                bytes.truncate(length);
                *count = old;
            }
            (Self::V2(encoder), Before::V2(mark)) => encoder.return_to(mark),
            (Self::V1(..), Before::V2(_)) | (Self::V2(_), Before::V1(..)) => {}
        }
    }

    const fn count(&self) -> u32 {
        match self {
            Self::V1(_, count) => *count,
            Self::V2(encoder) => encoder.count(),
        }
    }
}

impl<'a> Cutter<'a> {
    fn new(source: Source<'a>) -> Self {
        let series = match source.protocol {
            Protocol::V1 => Series::V1(Vec::new(), 0),
            Protocol::V2 => Series::V2(V2Encoder::new()),
        };
        Self { source, series, metadata: Vec::new(), counts: Counts::default(), taken_apart: SeriesParts::default() }
    }

    fn is_empty(&self) -> bool {
        self.series.count() == 0 && self.metadata.is_empty()
    }

    /// How many bytes the part has.
    fn len(&self) -> usize {
        self.metadata.len()
            + match &self.series {
                Series::V1(bytes, _) => bytes.len(),
                Series::V2(encoder) => encoder.encoded_len(),
            }
    }

    /// Finishes the part and starts the next one.
    fn take(&mut self) -> Part {
        let series = self.series.count();
        let mut body = Vec::new();
        match &mut self.series {
            Series::V1(bytes, count) => {
                body.reserve_exact(bytes.len() + self.metadata.len());
                body.append(bytes);
                *count = 0;
            }
            Series::V2(encoder) => encoder.finish(&mut body),
        }
        body.append(&mut self.metadata);
        Part { body, counts: std::mem::take(&mut self.counts), series }
    }

    /// Finishes the part unless there is nothing in it.
    fn close(&mut self, each: &mut dyn FnMut(Part)) {
        if !self.is_empty() {
            each(self.take());
        }
    }

    fn gather(&mut self, families: &[&[u8]], series: &[Field<'a>]) -> Result<Part, Malformed> {
        families.iter().for_each(|family| self.metadata.extend_from_slice(family));
        for &field in series {
            let counts = self.source.counts(field.0)?;
            self.append(field)?;
            self.counts += counts;
        }
        Ok(self.take())
    }

    /// Both halves of a series, if it can be cut.
    fn halves(&mut self, series: Reader<'a>) -> Result<Option<(SeriesParts<'a>, SeriesParts<'a>)>, Malformed> {
        self.source.take_apart(series, &mut self.taken_apart)?;
        Ok(halves(self.source.protocol, &self.taken_apart))
    }

    /// Appends a whole series, uncounted.
    fn append(&mut self, (series, whole): Field<'a>) -> Result<(), Malformed> {
        match &mut self.series {
            Series::V1(bytes, count) => {
                bytes.extend_from_slice(whole);
                *count += 1;
            }
            Series::V2(encoder) => {
                self.source.take_apart(series, &mut self.taken_apart)?;
                encoder.put_parts(&mut self.source, &self.taken_apart)?;
            }
        }
        Ok(())
    }

    /// Appends a piece of a series, counted.
    fn add(&mut self, piece: &SeriesParts<'a>) -> Result<(), Malformed> {
        match &mut self.series {
            Series::V1(bytes, count) => {
                put_series_v1(bytes, &mut self.source, piece)?;
                *count += 1;
            }
            Series::V2(encoder) => encoder.put_parts(&mut self.source, piece)?,
        }
        self.counts += piece.counts();
        Ok(())
    }

    /// Adds a whole series to the part or, if there is no room, to the next one; cuts it if it is over the limits alone.
    fn add_within(&mut self, field: Field<'a>, limits: Limits, each: &mut dyn FnMut(Part)) -> Result<(), Malformed> {
        let counts = self.source.counts(field.0)?;
        if counts.points() <= limits.points {
            if (self.counts + counts).points() > limits.points {
                self.close(each);
            }
            for _attempt in ["this part", "the next part"] {
                let before = self.series.before();
                self.append(field)?;
                if self.len() <= limits.bytes {
                    self.counts += counts;
                    return Ok(());
                }
                self.series.return_to(before);
                self.close(each);
            }
        }
        let mut whole = SeriesParts::default();
        self.source.take_apart(field.0, &mut whole)?;
        let data = divisible(self.source.protocol, &whole);
        let step = usize::try_from(limits.points).unwrap_or(usize::MAX);
        let mut start = 0;
        // Also a series without data is added once.
        while start < data || start == 0 {
            let end = start.saturating_add(step).min(data);
            self.add_piece_within(&cut(self.source.protocol, &whole, start, end), limits, each)?;
            start = end.max(1);
        }
        Ok(())
    }

    /// Adds a piece of a series likewise; one that is too large is halved until it fits or is a single data point.
    fn add_piece_within(
        &mut self,
        piece: &SeriesParts<'a>,
        limits: Limits,
        each: &mut dyn FnMut(Part),
    ) -> Result<(), Malformed> {
        if (self.counts + piece.counts()).points() > limits.points {
            self.close(each);
        }
        let (before, counts) = (self.series.before(), self.counts);
        self.add(piece)?;
        if self.len() <= limits.bytes {
            return Ok(());
        }
        self.series.return_to(before);
        self.counts = counts;
        if !self.is_empty() {
            self.close(each);
            return self.add_piece_within(piece, limits, each);
        }
        match halves(self.source.protocol, piece) {
            Some((first, second)) => {
                self.add_piece_within(&first, limits, each)?;
                self.add_piece_within(&second, limits, each)
            }
            None => {
                self.add(piece)?;
                self.close(each);
                Ok(())
            }
        }
    }
}

/// Between how many data points a series can be cut. A v2 exemplar cannot stand without a sample or histogram.
const fn divisible(protocol: Protocol, parts: &SeriesParts<'_>) -> usize {
    let data = parts.samples.len() + parts.histograms.len();
    match protocol {
        Protocol::V1 => data + parts.exemplars.len(),
        Protocol::V2 => data,
    }
}

/// The data points from `start` to before `end`, counted through samples, histograms and exemplars. In v2 the exemplars
/// are with the last of them.
fn cut<'a>(protocol: Protocol, parts: &SeriesParts<'a>, start: usize, end: usize) -> SeriesParts<'a> {
    let range = |readers: &[Reader<'a>], before: usize| {
        let [from, to] = [start, end].map(|bound| bound.saturating_sub(before).min(readers.len()));
        readers.get(from..to).unwrap_or_default().to_vec()
    };
    let histograms = parts.samples.len();
    let exemplars = histograms + parts.histograms.len();
    SeriesParts {
        label_fields: parts.label_fields.clone(),
        references: parts.references.clone(),
        labels: Vec::new(),
        samples: range(&parts.samples, 0),
        histograms: range(&parts.histograms, histograms),
        exemplars: match protocol {
            Protocol::V1 => range(&parts.exemplars, exemplars),
            Protocol::V2 if end == exemplars => parts.exemplars.clone(),
            Protocol::V2 => Vec::new(),
        },
        metadata: parts.metadata,
    }
}

fn halves<'a>(protocol: Protocol, parts: &SeriesParts<'a>) -> Option<(SeriesParts<'a>, SeriesParts<'a>)> {
    let data = divisible(protocol, parts);
    let half = data / 2;
    (half > 0).then(|| (cut(protocol, parts, 0, half), cut(protocol, parts, half, data)))
}

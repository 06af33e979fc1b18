//! Writes series that were taken apart into a request of either protocol. What both protocols write alike is copied;
//! only labels, and the start timestamps that v1 lacks, are rewritten.

use crate::Protocol;
use crate::encode::{V2Encoder, put_exemplar_label, put_label};
use crate::interner::Interner;
use crate::model::Label;
use crate::source::{SeriesParts, Source};
use crate::wire::{Malformed, Reader, begin_message, end_message, put_len_delimited};

/// `Sample.start_timestamp` of remote write 2.0.
const SAMPLE_START: u32 = 3;
/// `Histogram.start_timestamp` of remote write 2.0.
const HISTOGRAM_START: u32 = 17;
/// Where both protocols have the labels of a series and of an exemplar.
const LABELS: u32 = 1;

/// Appends a `TimeSeries` to a v1 request. Its metadata has no place there.
///
/// # Errors
/// When a reference is out of range or a data point's fields cannot be told apart; `out` then ends with half a series.
pub(crate) fn put_series_v1<'a>(
    out: &mut Vec<u8>,
    source: &mut Source<'a>,
    parts: &SeriesParts<'a>,
) -> Result<(), Malformed> {
    let start = begin_message(out, 1);
    match source.protocol {
        Protocol::V1 => {
            put_all(out, LABELS, &parts.label_fields);
            put_all(out, 2, &parts.samples);
            put_all(out, 3, &parts.exemplars);
            put_all(out, 4, &parts.histograms);
        }
        Protocol::V2 => {
            source.put_labels_v1(&parts.references, out)?;
            for &sample in &parts.samples {
                put_without(out, 2, sample, SAMPLE_START)?;
            }
            for &exemplar in &parts.exemplars {
                put_exemplar_v1(out, source, exemplar)?;
            }
            for &histogram in &parts.histograms {
                put_without(out, 4, histogram, HISTOGRAM_START)?;
            }
        }
    }
    end_message(out, start);
    Ok(())
}

/// Appends an exemplar to a v1 series.
///
/// # Errors
/// As [`put_series_v1`].
pub(crate) fn put_exemplar_v1<'a>(
    out: &mut Vec<u8>,
    source: &mut Source<'a>,
    exemplar: Reader<'a>,
) -> Result<(), Malformed> {
    let start = begin_message(out, 3);
    source.exemplar_labels(exemplar, |label| put_label(out, &label))?;
    copy_others(out, exemplar, LABELS)?;
    end_message(out, start);
    Ok(())
}

impl V2Encoder {
    /// Appends a series; one with samples and histograms becomes two, as in [`V2Encoder::series`]. The series of one
    /// source come one after the other, not mixed with those of another.
    ///
    /// # Errors
    /// When a reference is out of range or a data point's fields cannot be told apart; the request cannot be finished then.
    pub(crate) fn put_parts<'a>(&mut self, source: &mut Source<'a>, parts: &SeriesParts<'a>) -> Result<(), Malformed> {
        source.intern_labels(parts, &mut self.references, &mut self.interner)?;
        self.put_data(source, parts)
    }

    /// As [`Self::put_parts`] of a v2 source, with `labels` instead of those of `parts`. (A v1 source remembers the labels
    /// that it put last.)
    ///
    /// # Errors
    /// As [`Self::put_parts`].
    pub(crate) fn put_parts_labelled<'a>(
        &mut self,
        source: &mut Source<'a>,
        parts: &SeriesParts<'a>,
        labels: &[Label<'_>],
    ) -> Result<(), Malformed> {
        self.intern_labels(labels);
        self.put_data(source, parts)
    }

    /// Appends a series, or two, with the labels of `self.references`.
    fn put_data<'a>(&mut self, source: &mut Source<'a>, parts: &SeriesParts<'a>) -> Result<(), Malformed> {
        let (samples, histograms) = (parts.samples.as_slice(), parts.histograms.as_slice());
        if samples.is_empty() || histograms.is_empty() {
            return self.put_readers(source, parts, samples, histograms);
        }
        self.put_readers(source, parts, samples, &[])?;
        self.put_series(parts.metadata, |out, _| {
            put_all(out, 3, histograms);
            Ok(())
        })
    }

    /// Appends a series of the given data points, with the exemplars and metadata of `parts`.
    fn put_readers<'a>(
        &mut self,
        source: &mut Source<'a>,
        parts: &SeriesParts<'a>,
        samples: &[Reader<'a>],
        histograms: &[Reader<'a>],
    ) -> Result<(), Malformed> {
        self.put_series(parts.metadata, |out, interner| {
            put_all(out, 2, samples);
            put_all(out, 3, histograms);
            parts.exemplars.iter().try_for_each(|&exemplar| put_exemplar_v2(out, interner, source, exemplar))
        })
    }
}

fn put_exemplar_v2<'a>(
    out: &mut Vec<u8>,
    interner: &mut Interner,
    source: &mut Source<'a>,
    exemplar: Reader<'a>,
) -> Result<(), Malformed> {
    let start = begin_message(out, 4);
    let labels = begin_message(out, LABELS);
    source.exemplar_labels(exemplar, |label| put_exemplar_label(out, interner, &label))?;
    if out.len() == labels {
        out.truncate(start);
    } else {
        end_message(out, labels);
    }
    copy_others(out, exemplar, LABELS)?;
    end_message(out, start);
    Ok(())
}

#[inline]
fn put_all(out: &mut Vec<u8>, field: u32, messages: &[Reader<'_>]) {
    messages.iter().for_each(|message| put_len_delimited(out, field, message.rest()));
}

/// Appends `message` as `field`, without its own field `cut`.
fn put_without(out: &mut Vec<u8>, field: u32, message: Reader<'_>, cut: u32) -> Result<(), Malformed> {
    let start = begin_message(out, field);
    copy_others(out, message, cut)?;
    end_message(out, start);
    Ok(())
}

/// Appends the fields of `message` except `cut`, neighbours in one copy.
fn copy_others(out: &mut Vec<u8>, mut message: Reader<'_>, cut: u32) -> Result<(), Malformed> {
    let mut copied = message.position();
    while !message.is_empty() {
        let before = message;
        let tag = message.tag()?;
        message.skip(tag)?;
        if tag.field == cut {
            out.extend_from_slice(before.since(copied));
            copied = message.position();
        }
    }
    out.extend_from_slice(message.since(copied));
    Ok(())
}

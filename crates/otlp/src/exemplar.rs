//! Exemplars: a value with the trace it was seen in.

use std::borrow::Cow;
use std::fmt::Write;

use remote_write::model;

use crate::labels::LabelSet;
use crate::message::{Exemplar, Head};
use crate::options::Options;
use crate::refused::Failure;

/// Characters of all names and values of an exemplar's labels together (OpenMetrics 1.0, "Exemplars").
const MAX_CHARS: usize = 128;

/// An exemplar that owns what its labels are made of.
#[derive(Debug)]
pub(crate) struct Made<'a> {
    labels: LabelSet<'a>,
    pub(crate) value: f64,
    timestamp: i64,
}

impl Made<'_> {
    pub(crate) fn borrowed(&self) -> model::Exemplar<'_> {
        model::Exemplar {
            labels: self.labels.borrowed(),
            value: self.value,
            timestamp: self.timestamp,
            bad_reference: false,
        }
    }
}

/// The exemplars of a point; those without a value, or with texts that are none, are left out and counted in `lost`.
///
/// The ids of trace and span always stay; the other attributes only if all are within 128 characters.
pub(crate) fn exemplars<'a>(head: &Head<'a>, options: &Options, lost: &mut u64) -> Result<Vec<Made<'a>>, Failure> {
    let mut made = Vec::with_capacity(head.exemplars.len());
    *lost += head.more_exemplars;
    for message in &head.exemplars {
        let one = Exemplar::read(*message).and_then(|exemplar| make(exemplar, options));
        match one {
            Ok(Some(one)) => made.push(one),
            Ok(None) | Err(Failure::Refused(_)) => *lost += 1,
            Err(stop) => return Err(stop),
        }
    }
    Ok(made)
}

fn make<'a>(mut exemplar: Exemplar<'a>, options: &Options) -> Result<Option<Made<'a>>, Failure> {
    let Some(value) = exemplar.value else { return Ok(None) };
    let mut ids = LabelSet::default();
    for (name, id, bytes) in [("trace_id", exemplar.trace_id, 16), ("span_id", exemplar.span_id, 8)] {
        // An id of zeros, or of another length, is none (W3C Trace Context).
        if id.len() == bytes && id.iter().any(|byte| *byte != 0) {
            ids.set(name.into(), hex(id).into());
        }
    }
    let mut labels = LabelSet::of(&mut exemplar.attributes, options)?;
    for (name, value) in ids.iter() {
        labels.set(Cow::Owned(name.to_owned()), Cow::Owned(value.to_owned()));
    }
    let chars: usize = labels.iter().map(|(name, value)| name.chars().count() + value.chars().count()).sum();
    let labels = if chars <= MAX_CHARS { labels } else { ids };
    Ok(Some(Made { labels, value, timestamp: crate::translate::millis(exemplar.time) }))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string does not fail.
        let _always_fits = write!(text, "{byte:02x}");
        text
    })
}

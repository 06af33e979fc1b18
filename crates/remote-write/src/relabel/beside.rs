//! Names beside those of the series, which a [`Scheme`] is for as well: labels of exemplars, and v1 metadata families.

use std::borrow::Cow;

use super::escape::Scheme;
use super::label_set::LabelSet;
use crate::Protocol;
use crate::encode::put_family;
use crate::model::{Label, Metadata};
use crate::read::{self, SeriesField};
use crate::rewrite::put_exemplar_v1;
use crate::source::Source;
use crate::wire::{Malformed, Reader};

/// Whether the scheme leaves an exemplar as it is.
pub(super) fn leaves_exemplar<'a>(
    scheme: Scheme,
    source: &mut Source<'a>,
    exemplar: Reader<'a>,
) -> Result<bool, Malformed> {
    let labels = exemplar_labels(source, exemplar)?;
    Ok(scheme.leaves(labels.iter().map(|(name, value)| (name, &**value))))
}

/// How many of a series' exemplars the scheme does not leave as they are; `data` is what is behind the labels.
pub(super) fn count_foreign<'a>(
    scheme: Scheme,
    source: &mut Source<'a>,
    mut data: Reader<'a>,
) -> Result<u64, Malformed> {
    let mut count = 0;
    while !data.is_empty() {
        let before = data;
        let tag = data.tag()?;
        if SeriesField::of(source.protocol, tag, before)? == SeriesField::Exemplar {
            count += u64::from(!leaves_exemplar(scheme, source, data.message()?)?);
        } else {
            data.skip(tag)?;
        }
    }
    Ok(count)
}

/// Leaves those that the scheme leaves as they are.
pub(super) fn leave_out_foreign<'a>(
    scheme: Scheme,
    source: &mut Source<'a>,
    exemplars: &mut Vec<Reader<'a>>,
) -> Result<(), Malformed> {
    let mut left = Vec::with_capacity(exemplars.len());
    for &exemplar in &*exemplars {
        if leaves_exemplar(scheme, source, exemplar)? {
            left.push(exemplar);
        }
    }
    *exemplars = left;
    Ok(())
}

/// Appends the data of a v1 series, its exemplars under the scheme.
pub(super) fn put_data_v1<'a>(
    out: &mut Vec<u8>,
    scheme: Scheme,
    source: &mut Source<'a>,
    mut data: Reader<'a>,
) -> Result<(), Malformed> {
    while !data.is_empty() {
        let before = data;
        let tag = data.tag()?;
        if SeriesField::of(Protocol::V1, tag, before)? != SeriesField::Exemplar {
            data.skip(tag)?;
            out.extend_from_slice(data.since(before.position()));
            continue;
        }
        let exemplar = data.message()?;
        if !scheme.drops() || leaves_exemplar(scheme, source, exemplar)? {
            put_exemplar_v1(out, source, exemplar)?;
        }
    }
    Ok(())
}

/// The labels of an exemplar under a scheme that drops nothing, in the order of their names.
pub(crate) fn escaped_exemplar_labels<'a>(
    scheme: Scheme,
    source: &mut Source<'a>,
    exemplar: Reader<'a>,
    visit: impl FnMut(Label<'_>),
) -> Result<(), Malformed> {
    let mut labels = exemplar_labels(source, exemplar)?;
    scheme.apply(&mut labels);
    labels.labels().for_each(visit);
    Ok(())
}

fn exemplar_labels<'a>(source: &mut Source<'a>, exemplar: Reader<'a>) -> Result<LabelSet<'a>, Malformed> {
    let mut labels = LabelSet::default();
    let mut is_text = true;
    source.written_exemplar_labels(exemplar, |label| {
        match (std::str::from_utf8(label.name), std::str::from_utf8(label.value)) {
            (Ok(name), Ok(value)) => labels.push_own(name, value),
            _ => is_text = false,
        }
    })?;
    if is_text { Ok(labels) } else { Err(exemplar.malformed("a label is not UTF-8")) }
}

/// The name of a family under the scheme; `None` when the family is dropped.
pub(super) fn family_name<'a>(
    scheme: Scheme,
    family: &Metadata<'a>,
    at: &Reader<'_>,
) -> Result<Option<Cow<'a, str>>, Malformed> {
    let name = std::str::from_utf8(family.family).map_err(|_invalid| at.malformed("a family is not UTF-8"))?;
    Ok(scheme.metric(name))
}

/// Whether the scheme leaves all families of a v1 request as they are.
pub(super) fn leaves_families(scheme: Scheme, request: &[u8]) -> Result<bool, Malformed> {
    for field in Source::new(Protocol::V1, request)?.metadata() {
        let family = read::family(field?.0)?.value;
        let name = family_name(scheme, &family, &Reader::new(request))?;
        if name.is_none_or(|name| name.as_bytes() != family.family) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Appends a v1 request, its families under the scheme, and returns how many were dropped.
pub(super) fn put_families(out: &mut Vec<u8>, scheme: Scheme, request: &[u8]) -> Result<u32, Malformed> {
    let mut dropped = 0;
    let mut written = 0;
    for field in Source::new(Protocol::V1, request)?.metadata() {
        let (content, whole) = field?;
        let end = content.position() + content.rest().len();
        out.extend_from_slice(request.get(written..end - whole.len()).unwrap_or_default());
        written = end;
        let family = read::family(content)?.value;
        match family_name(scheme, &family, &content)? {
            Some(name) => put_family(out, &Metadata { family: name.as_bytes(), ..family }),
            None => dropped += 1,
        }
    }
    out.extend_from_slice(request.get(written..).unwrap_or_default());
    Ok(dropped)
}

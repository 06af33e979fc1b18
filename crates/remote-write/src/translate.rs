//! Brings a checked request into the form an endpoint takes: the other protocol, or without what the endpoint refuses.
//! Data points are copied, never decoded, so that their bits survive; what is left out is counted.

mod families;
mod orphans;

use self::families::{Described, Families};
use self::orphans::Orphans;
use crate::encode::V2Encoder;
use crate::model::Metadata;
use crate::rewrite::put_series_v1;
use crate::source::{SeriesParts, Source, has_custom_buckets};
use crate::wire::Malformed;
use crate::{Counts, Protocol};

/// What an endpoint takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Form {
    /// The schema of its requests.
    pub protocol: Protocol,
    /// Whether exemplars are sent.
    pub exemplars: bool,
    /// Whether native histograms are sent.
    pub native_histograms: bool,
    /// Whether metadata is sent.
    pub metadata: bool,
}

/// What became of a request. The four counts add up to what was in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Formed {
    /// In the output.
    pub kept: Counts,
    /// Left out because the form excludes exemplars or native histograms.
    pub filtered: Counts,
    /// Left out because v1 has no histograms with custom buckets.
    pub untranslatable: Counts,
    /// Left out because their labels have no sample or histogram in the request, without which v2 allows no exemplar.
    pub orphaned: Counts,
    /// v1: families described in the output.
    pub families: u32,
    /// Series in the output.
    pub series: u32,
}

/// What is known of metric families beside what a request says of them.
pub trait KnownFamilies {
    /// The metadata of the family of this name.
    fn family(&self, name: &[u8]) -> Option<Metadata<'_>>;
}

/// Whether a request has to go through [`Translator::form`]; if not, its bytes can be sent as they are.
///
/// `counts` and `families` are those of the request. In v2, exemplars may stand in a series of their own, which strict receivers refuse
/// (Prometheus from 3.8 on answers 400): such requests are formed.
pub const fn needs_forming(from: Protocol, counts: Counts, families: u32, to: &Form) -> bool {
    let exemplars_pass = to.exemplars && matches!(to.protocol, Protocol::V1);
    let same_protocol = matches!((from, to.protocol), (Protocol::V1, Protocol::V1) | (Protocol::V2, Protocol::V2));
    // What the series of a v2 request say of themselves is not counted anywhere.
    let metadata_goes = !to.metadata && (families > 0 || matches!(from, Protocol::V2));
    !same_protocol
        || metadata_goes
        || (counts.exemplars > 0 && !exemplars_pass)
        || (counts.histograms > 0 && !to.native_histograms)
}

/// Forms requests one after the other in the same memory.
#[derive(Debug, Default)]
pub struct Translator {
    encoder: V2Encoder,
}

impl Translator {
    /// A translator with nothing in it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes the request `decoded` in the form `to`, in place of what `out` holds. `out` stays empty if nothing of the
    /// request can be sent, as with v1 metadata to a v2 endpoint.
    ///
    /// The request must have passed the check: what the check refuses or mends comes out as it went in. The series keep
    /// their order. Towards v2 (remote write 2.0, "Protobuf Message"), a series with samples and histograms becomes two, and
    /// exemplars in a series of their own move to the first series with data of the same labels, with all exemplars of
    /// these labels in wire order. Towards v1, start timestamps are lost, and what the series say of themselves is said
    /// of their families, the first word on a family being the last.
    ///
    /// # Errors
    /// When the bytes are not a request of the protocol, or a symbol reference is out of range; `out` is then useless.
    pub fn form(&mut self, from: Protocol, decoded: &[u8], to: &Form, out: &mut Vec<u8>) -> Result<Formed, Malformed> {
        self.form_knowing(None, from, decoded, to, out)
    }

    /// As [`Self::form`]. From v1 to v2, a series of which the request says nothing is described as `known` has it.
    ///
    /// # Errors
    /// As [`Self::form`].
    pub fn form_knowing(
        &mut self,
        known: Option<&dyn KnownFamilies>,
        from: Protocol,
        decoded: &[u8],
        to: &Form,
        out: &mut Vec<u8>,
    ) -> Result<Formed, Malformed> {
        out.clear();
        let source = Source::new(from, decoded)?;
        match to.protocol {
            Protocol::V1 => form_v1(source, to, out),
            Protocol::V2 => {
                let families = if to.metadata { Families::read(&source, known)? } else { Families::default() };
                let formed = self.form_v2(source, to, families)?;
                if formed.series > 0 {
                    self.encoder.finish(out);
                }
                Ok(formed)
            }
        }
    }

    fn form_v2<'a>(
        &mut self,
        mut source: Source<'a>,
        to: &Form,
        mut families: Families<'a>,
    ) -> Result<Formed, Malformed> {
        // Hardly any request has exemplars without their series: look for their places only when one turns up.
        if let Some(formed) = self.put_all(&mut source, to, &mut families, None)? {
            return Ok(formed);
        }
        let mut orphans = Orphans::default();
        let mut parts = SeriesParts::default();
        for series in source.series() {
            source.take_apart(series?.0, &mut parts)?;
            leave_out(&source, to, &mut parts, &mut Formed::default())?;
            if !parts.exemplars.is_empty() {
                source.resolve(&mut parts)?;
                orphans.gather(&parts);
            }
        }
        let formed = self.put_all(&mut source, to, &mut families, Some(&mut orphans))?.unwrap_or_default();
        Ok(Formed { orphaned: Counts { exemplars: orphans.left(), ..Counts::default() }, ..formed })
    }

    /// Encodes all series, with their exemplars according to `orphans`; without it, `None` as soon as an orphan turns up.
    fn put_all<'a>(
        &mut self,
        source: &mut Source<'a>,
        to: &Form,
        families: &mut Families<'a>,
        mut orphans: Option<&mut Orphans<'a>>,
    ) -> Result<Option<Formed>, Malformed> {
        self.encoder.clear();
        let mut formed = Formed::default();
        let mut parts = SeriesParts::default();
        for series in source.series() {
            source.take_apart(series?.0, &mut parts)?;
            leave_out(source, to, &mut parts, &mut formed)?;
            if !parts.has_data() {
                if orphans.is_none() && !parts.exemplars.is_empty() {
                    return Ok(None);
                }
                continue;
            }
            if let Some(orphans) = &mut orphans {
                source.resolve(&mut parts)?;
                if let Some(exemplars) = orphans.adopt(&parts.labels) {
                    parts.exemplars = exemplars;
                }
            }
            if !to.metadata {
                parts.metadata = None;
            } else if source.protocol == Protocol::V1 && !families.is_empty() {
                parts.metadata = parts.metric_name_v1()?.and_then(|name| families.of_series(name));
            }
            formed.kept += parts.counts();
            self.encoder.put_parts(source, &parts)?;
        }
        formed.series = self.encoder.count();
        Ok(Some(formed))
    }
}

fn form_v1(mut source: Source<'_>, to: &Form, out: &mut Vec<u8>) -> Result<Formed, Malformed> {
    let mut formed = Formed::default();
    let mut described = Described::default();
    let mut parts = SeriesParts::default();
    for series in source.series() {
        let (series, whole) = series?;
        source.take_apart(series, &mut parts)?;
        let before = parts.counts();
        leave_out(&source, to, &mut parts, &mut formed)?;
        let kept = parts.counts();
        if kept.is_zero() {
            continue;
        }
        if source.protocol == Protocol::V1 && kept == before {
            out.extend_from_slice(whole);
        } else {
            put_series_v1(out, &mut source, &parts)?;
        }
        if to.metadata
            && let Some(metadata) = parts.metadata
            && let Some(name) = source.metric_name_v2(&parts)?
        {
            described.series(name, metadata, !parts.histograms.is_empty());
        }
        formed.kept += kept;
        formed.series += 1;
    }
    formed.families = described.finish(out);
    if to.metadata {
        for family in source.metadata() {
            out.extend_from_slice(family?.1);
            formed.families += 1;
        }
    }
    Ok(formed)
}

/// Takes out of `parts` what the form excludes or cannot carry, and counts it.
fn leave_out(
    source: &Source<'_>,
    to: &Form,
    parts: &mut SeriesParts<'_>,
    formed: &mut Formed,
) -> Result<(), Malformed> {
    if !to.exemplars {
        formed.filtered.exemplars += parts.exemplars.len() as u64;
        parts.exemplars.clear();
    }
    if !to.native_histograms {
        formed.filtered.histograms += parts.histograms.len() as u64;
        parts.histograms.clear();
    } else if (source.protocol, to.protocol) == (Protocol::V2, Protocol::V1) {
        let mut malformed = None;
        let before = parts.histograms.len();
        parts.histograms.retain(|&histogram| match has_custom_buckets(histogram) {
            Ok(custom) => !custom,
            Err(error) => {
                malformed = Some(error);
                true
            }
        });
        formed.untranslatable.histograms += (before - parts.histograms.len()) as u64;
        return malformed.map_or(Ok(()), Err);
    }
    Ok(())
}

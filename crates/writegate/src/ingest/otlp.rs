//! From an OTLP body as received to a write request: unpack, translate, and say what became of the points.

use std::io::{self, Read};
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use otlp::accumulate::Settings;
use otlp::answer::Encoding;
use otlp::{Limits, NotJson, Options, Rules, TranslateError, Translation, Translator, protobuf_of_json};
use remote_write::compression::{DecompressError, Decompressor};
use remote_write::{Compression, Counts};
use writegate_config::{Otlp, PromoteAttributes, TranslationStrategy};

use super::examine::Reading;
use super::refusal::{self, Reason, Refusal};
use crate::buffer;
use crate::chain::Chain;
use crate::clock;
use crate::tenant::Account;

/// How the body of an OTLP request is read.
#[derive(Clone, Debug)]
pub(super) struct OtlpReading {
    pub(super) encoding: Encoding,
    pub(super) packing: Packing,
    pub(super) options: Arc<Options>,
    /// What the totals of deltas may take; `None`: deltas are refused.
    pub(super) deltas: Option<Settings>,
}

/// How an OTLP body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    None,
    Gzip,
    Zstd,
}

impl Packing {
    /// As the header of that name says.
    pub(super) fn of(headers: &HeaderMap, name: &str) -> Result<Self, Refusal> {
        let named =
            headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_ascii_lowercase());
        match named.as_deref().unwrap_or_default() {
            "" | "identity" => Ok(Self::None),
            "gzip" => Ok(Self::Gzip),
            "zstd" => Ok(Self::Zstd),
            other => Err(Refusal::Unsupported(format!("{name} {other:?} is not supported; use gzip, zstd or none"))),
        }
    }

    /// As `Content-Encoding` says.
    pub(super) fn of_http(headers: &HeaderMap) -> Result<Self, Refusal> {
        Self::of(headers, CONTENT_ENCODING.as_str())
    }
}

/// The options of the configuration, as the translation takes them.
pub(super) fn options(otlp: &Otlp) -> Options {
    Options {
        strategy: match otlp.translation_strategy {
            TranslationStrategy::UnderscoreEscapingWithSuffixes => otlp::Strategy::UnderscoreEscapingWithSuffixes,
            TranslationStrategy::UnderscoreEscapingWithoutSuffixes => otlp::Strategy::UnderscoreEscapingWithoutSuffixes,
            TranslationStrategy::NoUtf8EscapingWithSuffixes => otlp::Strategy::NoUtf8EscapingWithSuffixes,
            TranslationStrategy::NoTranslation => otlp::Strategy::NoTranslation,
        },
        promote: match &otlp.promote {
            PromoteAttributes::Only(some) => otlp::Promote::Only(some.clone()),
            PromoteAttributes::AllBut(others) => otlp::Promote::AllBut(others.clone()),
        },
        keep_identifying_resource_attributes: otlp.keep_identifying_resource_attributes,
        convert_histograms_to_nhcb: otlp.convert_histograms_to_nhcb,
        promote_scope_metadata: otlp.promote_scope_metadata,
        label_name_underscore_sanitization: otlp.label_name_underscore_sanitization,
        label_name_preserve_multiple_underscores: otlp.label_name_preserve_multiple_underscores,
    }
}

/// How much the totals of deltas may take.
pub(super) fn deltas(otlp: &Otlp) -> Settings {
    let max_stale_ms = u64::try_from(otlp.delta_max_stale.as_millis()).unwrap_or(u64::MAX);
    Settings { max_bytes: otlp.delta_max_bytes, max_stale_ms }
}

/// Buffers that one thread uses for request after request.
#[derive(Debug, Default)]
pub(super) struct OtlpWorkspace {
    translator: Translator,
    unpacked: Vec<u8>,
    /// Of what came as JSON.
    protobuf: Vec<u8>,
}

impl OtlpWorkspace {
    /// Puts the body, as a write request of version 2, in the place of what `out` holds.
    ///
    /// # Errors
    /// When nothing of the request can be taken; points that are refused alone are no error.
    pub(super) fn translate(
        &mut self,
        body: &Bytes,
        (reading, otlp): (&Reading, &OtlpReading),
        decompressor: &mut Decompressor,
        account: &Account,
        out: &mut Vec<u8>,
    ) -> Result<Translation, Refusal> {
        let limit = reading.decoded_limit_or_all();
        let mut request: &[u8] = body;
        if otlp.packing != Packing::None {
            unpack(otlp.packing, body, limit, decompressor, &mut self.unpacked)
                .map_err(|error| refuse(error, reading))?;
            request = &self.unpacked;
        }
        if otlp.encoding == Encoding::Json {
            protobuf_of_json(request, limit, &mut self.protobuf).map_err(|error| match error {
                NotJson::TooLarge => too_large("the request", reading),
                NotJson::Json(error) => no_request(&error),
            })?;
            request = &self.protobuf;
        }
        let rules = Rules {
            options: &otlp.options,
            limits: Limits {
                label_names: reading.rules.label_names,
                label_value_bytes: reading.rules.label_value_bytes,
                output_bytes: limit,
            },
            note_series: account.limits.active_series > 0,
        };
        let mut translate = |deltas| self.translator.translate(request, rules, deltas, out);
        let translated = match otlp.deltas {
            None => translate(None),
            Some(settings) => {
                let mut totals = account.allowance.deltas().lock().unwrap_or_else(PoisonError::into_inner);
                translate(Some(totals.session(settings, clock::monotonic_ns() / 1_000_000)))
            }
        };
        buffer::keep_small(&mut self.unpacked);
        buffer::keep_small(&mut self.protobuf);
        translated.map_err(|error| match error {
            TranslateError::Malformed(malformed) => no_request(&malformed),
            TranslateError::TooMany { .. } => Refusal::TooMuch(format!("the request has, or becomes, {error}")),
            TranslateError::TooLarge => too_large("the request as a write request", reading),
        })
    }
}

fn no_request(error: &dyn std::fmt::Display) -> Refusal {
    Refusal::Malformed(format!("the body is not an ExportMetricsServiceRequest: {error}"))
}

fn too_large(what: &'static str, reading: &Reading) -> Refusal {
    Refusal::TooLarge { what, limit: reading.decoded_limit, seen: String::new(), key: "limits.decoded_bytes" }
}

/// A body could not be unpacked.
#[derive(Debug, thiserror::Error)]
enum UnpackError {
    #[error("corrupt gzip")]
    Gzip(#[source] io::Error),
    #[error("it does not start like zstd")]
    NotZstd,
    #[error(transparent)]
    Zstd(DecompressError),
    #[error("it unpacks to more than the limit")]
    TooLarge,
}

/// Unpacks into `out`, to `limit` bytes at most.
fn unpack(
    packing: Packing,
    body: &[u8],
    limit: usize,
    decompressor: &mut Decompressor,
    out: &mut Vec<u8>,
) -> Result<(), UnpackError> {
    out.clear();
    if packing == Packing::Gzip {
        let mut reader = MultiGzDecoder::new(body).take((limit as u64).saturating_add(1));
        reader.read_to_end(out).map_err(UnpackError::Gzip)?;
        return if out.len() > limit { Err(UnpackError::TooLarge) } else { Ok(()) };
    }
    // The decompressor goes by the first bytes, and snappy is not a word of OTLP.
    if !body.starts_with(b"\x28\xb5\x2f\xfd") {
        return Err(UnpackError::NotZstd);
    }
    decompressor.decompress(Compression::Zstd, body, limit, out).map(|_| ()).map_err(|error| match error {
        DecompressError::TooLarge { .. } => UnpackError::TooLarge,
        other => UnpackError::Zstd(other),
    })
}

fn refuse(error: UnpackError, reading: &Reading) -> Refusal {
    match error {
        UnpackError::TooLarge => too_large("the decompressed body", reading),
        other => Refusal::Malformed(format!("the body cannot be decompressed: {}", Chain(&other))),
    }
}

/// What the sender is told of its points.
#[derive(Debug, Default)]
pub(super) struct Points {
    pub(super) refused: u64,
    /// Nothing where there is nothing to tell.
    pub(super) words: String,
}

/// What a translation refused, as it counts.
pub(super) fn refused_counts(translation: &Translation) -> Vec<(Reason, Counts)> {
    let reason = |reason| match reason {
        otlp::Reason::Invalid => Reason::Invalid,
        otlp::Reason::LabelLimit => Reason::LabelLimit,
        otlp::Reason::Streams => Reason::ActiveSeries,
    };
    let counts = |each| match each {
        otlp::Reason::Invalid => Counts { exemplars: translation.lost_exemplars, ..translation.refused.counts(each) },
        otlp::Reason::LabelLimit | otlp::Reason::Streams => translation.refused.counts(each),
    };
    let refused = otlp::Reason::ALL.map(|each| (reason(each), counts(each)));
    refused.into_iter().filter(|(_, counts)| !counts.is_zero()).collect()
}

/// The series for which there is no room, with all other series of their points: a point is taken whole or not at all. Gives
/// how many points these are.
pub(super) fn widen(too_many: &mut Vec<u32>, translation: &Translation) -> u64 {
    let points_of = |hashes: &[u32]| {
        let has = |(hash, _): &&(u32, u32)| hashes.binary_search(hash).is_ok();
        let mut points: Vec<u32> = translation.series.iter().filter(has).map(|(_, point)| *point).collect();
        points.dedup();
        points
    };
    let points = points_of(too_many);
    let of_points = translation.series.iter().filter(|(_, point)| points.binary_search(point).is_ok());
    too_many.extend(of_points.map(|(hash, _)| *hash));
    too_many.sort_unstable();
    too_many.dedup();
    points_of(too_many).len() as u64
}

/// What to tell the sender.
pub(super) fn points(translation: &Translation, without_room: u64, complaint: Option<&str>) -> Points {
    let mut words = Vec::new();
    if !translation.refused.is_empty() {
        words.push(translation.refused.to_string());
    }
    if without_room > 0 {
        let have = if without_room == 1 { "point has" } else { "points have" };
        words.push(format!("{without_room} {have} series for which the tenant has no room"));
    }
    words.extend(complaint.map(str::to_owned));
    if translation.lost_exemplars > 0 {
        words.push(format!(
            "{} exemplars were left out: no value, or more than 1024 in a point",
            translation.lost_exemplars
        ));
    }
    // Where all is taken this is a warning; OTLP lets the words stand alone.
    let words = if words.is_empty() { String::new() } else { refusal::of_points(&words.join("; ")) };
    Points { refused: translation.refused.points() + without_room, words }
}

//! From a body as received to a record ready for the log: decompress, check, describe.

use std::borrow::Cow;
use std::cell::RefCell;

use bytes::Bytes;
use remote_write::check::{Checked, Checker, Excess, RejectReason, Rejected, Rules, family_hash};
use remote_write::compression::{Compressor, DecompressError, Decompressor};
use remote_write::wire::Malformed;
use remote_write::{Compression, Counts, Protocol, concat, read, split};

use super::otlp::{self, OtlpReading, OtlpWorkspace, Points};
use super::refusal::{Reason, Refusal};
use crate::allowance::Exceeded;
use crate::buffer;
use crate::chain::Chain;
use crate::metadata::{self, Family};
use crate::record::Meta;
use crate::tenant::Account;

/// How a body is to be read.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    pub(super) source: Source,
    /// Of what is stored.
    pub(super) protocol: Protocol,
    pub(super) rules: Rules,
    /// In bytes; 0 means no limit.
    pub(super) decoded_limit: u64,
}

/// What a body is before it is a write request.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// One that is compressed.
    RemoteWrite {
        /// As declared; the body's own magic number decides.
        compression: Compression,
        /// Whether the listener takes zstd.
        zstd: bool,
    },
    /// OTLP, to be translated.
    Otlp(OtlpReading),
}

impl Reading {
    /// The limit as a number of bytes.
    pub(super) fn decoded_limit_or_all(&self) -> usize {
        match self.decoded_limit {
            0 => usize::MAX,
            limit => usize::try_from(limit).unwrap_or(usize::MAX),
        }
    }
}

/// A request that was read and checked.
#[derive(Debug)]
pub(super) struct Examined {
    /// As the request came.
    pub(super) received: Counts,
    /// What may be stored.
    pub(super) accepted: Counts,
    /// Refused, by reason.
    pub(super) refused: Vec<(Reason, Counts)>,
    /// The first series that the check refused, by reason.
    pub(super) examples: Vec<(Reason, String)>,
    /// What to tell the sender about refused series.
    pub(super) complaint: Option<String>,
    pub(super) highest_timestamp: Option<i64>,
    /// For the log; none if nothing is left to store.
    pub(super) records: Vec<NewRecord>,
    /// More samples than the tenant may send now: nothing of the request is to be stored.
    pub(super) exceeded: Option<Exceeded>,
    /// What a v1 request says of metric families.
    pub(super) families: Vec<Family>,
    /// What became of the points of an OTLP request.
    pub(super) points: Points,
}

/// What the log gets of a request, or of a part of it.
#[derive(Debug)]
pub(super) struct NewRecord {
    pub(super) counts: Counts,
    pub(super) meta: Bytes,
    pub(super) body: Bytes,
}

/// What an endpoint takes at once by default (`max_samples_per_send`). A larger request becomes several records: cut once, here,
/// instead of at every endpoint.
const RECORD_POINTS: u64 = 10_000;
/// Decompressed. Records are held in memory by deliveries, as many as fit.
const RECORD_BYTES: usize = 8 << 20;

/// Buffers that one thread uses for request after request.
struct Workspace {
    decompressor: Decompressor,
    compressor: Compressor,
    checker: Checker,
    /// Of the parts of a large request.
    part_checker: Checker,
    decoded: Vec<u8>,
    /// v2 requests whose symbol table is written anew.
    rebuilt: Vec<u8>,
    compressed: Vec<u8>,
    otlp: OtlpWorkspace,
}

thread_local! {
    static WORKSPACE: RefCell<Workspace> = RefCell::new(Workspace {
        decompressor: Decompressor::new(),
        compressor: Compressor::new(),
        checker: Checker::new(),
        part_checker: Checker::new(),
        decoded: Vec::new(),
        rebuilt: Vec::new(),
        compressed: Vec::new(),
        otlp: OtlpWorkspace::default(),
    });
}

/// Decompresses and checks a body. Costs about 0.2 µs per sample: huge bodies belong on a thread of their own.
///
/// # Errors
/// When nothing of the request can be stored; series that are refused alone are no error.
pub(super) fn examine(body: &Bytes, reading: &Reading, account: &Account) -> Result<Examined, Refusal> {
    WORKSPACE.with_borrow_mut(|workspace| {
        let result = workspace.examine(body, reading, account);
        buffer::keep_small(&mut workspace.decoded);
        buffer::keep_small(&mut workspace.rebuilt);
        buffer::keep_small(&mut workspace.compressed);
        result
    })
}

impl Workspace {
    fn examine(&mut self, body: &Bytes, reading: &Reading, account: &Account) -> Result<Examined, Refusal> {
        let (as_it_came, translation) = match &reading.source {
            Source::RemoteWrite { compression, zstd } => {
                let actual = self
                    .decompressor
                    .decompress(*compression, body, reading.decoded_limit_or_all(), &mut self.decoded)
                    .map_err(|error| refuse_body(&error, reading))?;
                if actual == Compression::Zstd && !zstd {
                    return Err(Refusal::Malformed("the body is zstd, which this listener does not take".to_owned()));
                }
                (Some(actual), None)
            }
            Source::Otlp(otlp) => {
                let (decompressor, decoded) = (&mut self.decompressor, &mut self.decoded);
                let translation = self.otlp.translate(body, (reading, otlp), decompressor, account, decoded)?;
                (None, Some(translation))
            }
        };
        let mut refused = translation.as_ref().map(otlp::refused_counts).unwrap_or_default();
        let untranslated = refused.iter().fold(Counts::default(), |sum, (_, counts)| sum + *counts);
        let checked = self
            .checker
            .check(reading.protocol, &self.decoded, &reading.rules)
            .map_err(|malformed| no_write_request(&malformed))?;
        // Before its series count: those of a request that is refused are none of the tenant's.
        let taken = checked.accepted;
        if let Err(exceeded) = account.allowance.take_samples(&account.limits, taken) {
            refuse_too(&mut refused, checked.rejected);
            return Ok(Examined {
                received: checked.received + untranslated,
                accepted: taken,
                refused,
                examples: examples(checked.rejected),
                complaint: None,
                highest_timestamp: None,
                records: Vec::new(),
                exceeded: Some(exceeded),
                families: Vec::new(),
                points: Points::default(),
            });
        }
        let mut too_many =
            excess(&checked, &self.decoded, account).map_err(|malformed| no_write_request(&malformed))?;
        let without_room = match &translation {
            Some(translation) if !too_many.is_empty() => otlp::widen(&mut too_many, translation),
            _ => 0,
        };
        let checked = if too_many.is_empty() {
            checked
        } else {
            let excess = Excess { hashes: &too_many, limit: account.limits.active_series.into() };
            let checked = self
                .checker
                .check_without(reading.protocol, &self.decoded, &reading.rules, excess)
                .map_err(|malformed| no_write_request(&malformed))?;
            account.allowance.give_back_samples(taken.saturating_sub(checked.accepted));
            checked
        };

        let anything = !checked.accepted.is_zero() || checked.metadata > 0;
        // v2 has none: there each series describes itself.
        let families = if checked.metadata > 0 {
            metadata::families(checked.mended.unwrap_or(&self.decoded))
                .map_err(|malformed| no_write_request(&malformed))?
        } else {
            Vec::new()
        };
        let whole = checked.mended.unwrap_or(&self.decoded);
        let records = if !anything {
            Vec::new()
        } else if checked.accepted.points() > RECORD_POINTS || whole.len() > RECORD_BYTES {
            cut(whole, reading, &checked, &mut self.part_checker, &mut self.compressor, &mut self.compressed)?
        } else if checked.rebuild_symbols {
            concat::merge_v2(&[whole], &mut self.rebuilt).map_err(|malformed| no_write_request(&malformed))?;
            vec![compressed(&self.rebuilt, reading, &checked, &mut self.compressor, &mut self.compressed)?]
        } else if let Some(compression) = as_it_came.filter(|_| checked.mended.is_none()) {
            let meta = describe(reading, compression, whole.len(), &checked);
            vec![NewRecord { counts: checked.accepted, meta, body: body.clone() }]
        } else {
            vec![compressed(whole, reading, &checked, &mut self.compressor, &mut self.compressed)?]
        };
        refuse_too(&mut refused, checked.rejected);
        let complaint = (!checked.rejected.is_empty()).then(|| checked.rejected.describe(checked.received_series));
        let points = translation.map(|translation| otlp::points(&translation, without_room, complaint.as_deref()));
        Ok(Examined {
            received: checked.received + untranslated,
            accepted: checked.accepted,
            refused,
            examples: examples(checked.rejected),
            complaint,
            highest_timestamp: checked.timestamps.map(|(_, highest)| highest),
            records,
            exceeded: None,
            families,
            points: points.unwrap_or_default(),
        })
    }
}

/// Counts the series of a request as active ones of its tenant; gives the hashes, sorted, of those for which there is no room.
fn excess(checked: &Checked<'_>, decoded: &[u8], account: &Account) -> Result<Vec<u32>, Malformed> {
    if checked.accepted_series == 0 {
        return Ok(Vec::new());
    }
    let mut hashes = Cow::Borrowed(checked.footprint);
    if checked.metadata > 0 {
        // Families are in the footprint, and are no series.
        let mut families = Vec::new();
        read::for_each_metadata(decoded, |metadata| families.push(family_hash(metadata.family)))?;
        families.sort_unstable();
        hashes.to_mut().retain(|hash| families.binary_search(hash).is_err());
    }
    let mut refused = Vec::new();
    account.allowance.admit_series(&account.limits, &hashes, &mut refused);
    Ok(refused.into_iter().map(|place| hashes[place]).collect())
}

/// Cuts a request into records, in order: each is sent after the one before to whoever has not had it.
fn cut(
    whole: &[u8],
    reading: &Reading,
    checked: &Checked<'_>,
    checker: &mut Checker,
    compressor: &mut Compressor,
    buffer: &mut Vec<u8>,
) -> Result<Vec<NewRecord>, Refusal> {
    let mut records = Vec::new();
    let mut add = |part: &[u8]| {
        let part_checked =
            checker.check(reading.protocol, part, &reading.rules).map_err(|malformed| no_write_request(&malformed))?;
        records.push(compressed(part, reading, &part_checked, compressor, buffer)?);
        Ok(())
    };
    let mut added: Result<(), Refusal> = Ok(());
    split::split_each(reading.protocol, whole, RECORD_POINTS, RECORD_BYTES, &mut |part| {
        if added.is_ok() {
            added = add(&part.body);
        }
    })
    .map_err(|malformed| no_write_request(&malformed))?;
    added?;
    let sum = records.iter().fold(Counts::default(), |sum, record| sum + record.counts);
    if sum == checked.accepted {
        Ok(records)
    } else {
        // The books would not balance. What was accepted is accepted in parts too, or the checker is wrong.
        Err(Refusal::Failed(format!("the request's {} parts hold {sum:?} of {:?}", records.len(), checked.accepted)))
    }
}

/// A record of what is compressed anew. Most endpoints take snappy, so it is compressed for them.
fn compressed(
    decoded: &[u8],
    reading: &Reading,
    checked: &Checked<'_>,
    compressor: &mut Compressor,
    buffer: &mut Vec<u8>,
) -> Result<NewRecord, Refusal> {
    compressor
        .compress(Compression::Snappy, decoded, buffer)
        .map_err(|error| Refusal::Malformed(format!("the mended request cannot be stored: {error}")))?;
    let meta = describe(reading, Compression::Snappy, decoded.len(), checked);
    Ok(NewRecord { counts: checked.accepted, meta, body: Bytes::copy_from_slice(buffer) })
}

fn describe(reading: &Reading, compression: Compression, decoded_bytes: usize, checked: &Checked<'_>) -> Bytes {
    let meta = Meta {
        protocol: reading.protocol,
        compression,
        decoded_bytes: u32::try_from(decoded_bytes).unwrap_or(u32::MAX),
        series: checked.accepted_series,
        families: checked.metadata,
        timestamps: checked.timestamps,
    };
    meta.encode(checked.footprint)
}

fn no_write_request(malformed: &Malformed) -> Refusal {
    Refusal::Malformed(format!("the body is not a write request: {malformed}"))
}

fn refuse_body(error: &DecompressError, reading: &Reading) -> Refusal {
    match error {
        DecompressError::TooLarge { seen, .. } => Refusal::TooLarge {
            what: "the decompressed body",
            limit: reading.decoded_limit,
            seen: format!(" (it has {seen} or more)"),
            key: "limits.decoded_bytes",
        },
        other => Refusal::Malformed(format!("the body cannot be decompressed: {}", Chain(other))),
    }
}

/// Adds what the check refused to what the translation did.
fn refuse_too(refused: &mut Vec<(Reason, Counts)>, rejected: &Rejected) {
    for reason in RejectReason::ALL {
        let counts = rejected.of(reason).counts;
        match refused.iter_mut().find(|(known, _)| *known == counted_as(reason)) {
            Some((_, sum)) => *sum += counts,
            None if !counts.is_zero() => refused.push((counted_as(reason), counts)),
            None => {}
        }
    }
}

fn examples(rejected: &Rejected) -> Vec<(Reason, String)> {
    let example = |reason| {
        let example = rejected.of(reason).example.as_ref()?;
        Some((counted_as(reason), format!("{}: {}", example.series, example.cause)))
    };
    RejectReason::ALL.into_iter().filter_map(example).collect()
}

const fn counted_as(reason: RejectReason) -> Reason {
    match reason {
        RejectReason::Invalid => Reason::Invalid,
        RejectReason::LabelLimit => Reason::LabelLimit,
        RejectReason::ActiveSeries => Reason::ActiveSeries,
    }
}

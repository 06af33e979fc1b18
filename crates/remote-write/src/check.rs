//! The one pass over an incoming request: counts it, hashes its series, refuses what is invalid, mends what can be
//! mended. A request that is right already is walked in place and stays the bytes that came; it is never decoded
//! into owned values.

mod histogram;
mod labels;
mod mend;
mod names;
mod output;
mod plain;
mod refusal;
mod tally;

use crate::model::Histogram;
use crate::read::{V1_METADATA, V1_TIMESERIES, family, wrong_type};
use crate::symbols::{SYMBOLS, Symbols, TIMESERIES};
use crate::wire::{Malformed, Reader, WireType, put_len_delimited, put_message, put_varint_field};
use crate::{Counts, Protocol};
use labels::{Collector, Table};
use names::Names;
use output::Output;
use plain::Known;
use tally::Tally;

pub use histogram::InvalidHistogram;
pub(crate) use labels::hash_of_canonical;
pub use labels::{family_hash, series_hash, series_hash_64};
pub use refusal::{Offender, Refused, RejectReason, Rejected};

/// Scratch memory above this many entries is given back before the next request.
const KEPT_ENTRIES: usize = 1 << 16;
/// Scratch memory above this many bytes is given back before the next request.
const KEPT_BYTES: usize = 4 << 20;

/// What a listener and its tenant demand beyond the protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Refuse what remote write 2.0 forbids but Prometheus sends: v2 series without sample or histogram (only
    /// metadata, only exemplars), and v2 series with both samples and histograms.
    pub strict: bool,
    /// How many labels a series may have, `__name__` included; 0 means no limit.
    pub label_names: u32,
    /// How many bytes a label value may have; 0 means no limit.
    pub label_value_bytes: u32,
    /// Keep the labels `vm_account_id` and `vm_project_id`, which choose a tenant at VictoriaMetrics.
    pub keep_vm_account_labels: bool,
}

/// New series that a tenant has no room for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Excess<'e> {
    /// The [`series_hash`] of each, sorted.
    pub hashes: &'e [u32],
    /// How many series the tenant may have, for the sender to read.
    pub limit: u64,
}

impl Excess<'_> {
    fn has(&self, hash: u32) -> bool {
        !self.hashes.is_empty() && self.hashes.binary_search(&hash).is_ok()
    }
}

/// What was mended, in numbers; none of it loses a data point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Series whose labels were put in order.
    pub sorted: u32,
    /// Labels without a value, which mean an absent label.
    pub empty_labels: u32,
    /// Labels `vm_account_id` and `vm_project_id`.
    pub account_labels: u32,
    /// Series that held no data point: accepted, not stored.
    pub empty_series: u32,
    /// v2 series with samples and histograms, made two.
    pub split: u32,
    /// v1 families without a name or with invalid UTF-8: not stored.
    pub families: u32,
    /// Messages that had fields outside the schema, `created_timestamp` among them.
    pub foreign: u32,
}

/// A checked request. Everything borrowed stays valid until the checker's next request.
#[derive(Debug)]
pub struct Checked<'c> {
    /// Data points in the request as it came.
    pub received: Counts,
    /// `TimeSeries` messages in the request as it came.
    pub received_series: u32,
    /// Data points that are kept: what `Written` headers say.
    pub accepted: Counts,
    /// `TimeSeries` messages that came with a data point that is kept.
    pub accepted_series: u32,
    /// v1: families that are kept.
    pub metadata: u32,
    /// Sorted and distinct: for each accepted labelset [`series_hash`], for each v1 family [`family_hash`].
    pub footprint: &'c [u32],
    /// The least and greatest timestamp of accepted samples and histograms, in milliseconds.
    pub timestamps: Option<(i64, i64)>,
    /// `None`: store the request as it came. Otherwise the same request, without what was refused or cut.
    pub mended: Option<&'c [u8]>,
    /// v2: the symbol table lists a string twice, which remote write 2.0 forbids, or may hold strings of series that were
    /// refused; [`crate::concat::merge_v2`] writes it anew.
    pub rebuild_symbols: bool,
    /// What was refused, and why.
    pub rejected: &'c Rejected,
    /// What was mended.
    pub changes: Changes,
}

impl Checked<'_> {
    /// Whether nothing is left that is worth storing.
    pub const fn is_empty(&self) -> bool {
        self.accepted.is_zero() && self.metadata == 0
    }
}

/// Checks requests one after the other; keeps its scratch memory between them. One per worker.
#[derive(Debug, Default)]
pub struct Checker {
    symbols: Symbols,
    names: Names,
    footprint: Vec<u32>,
    out: Vec<u8>,
    scratch: Scratch,
    rejected: Rejected,
}

/// What a series needs while it is looked at.
#[derive(Debug, Default)]
struct Scratch {
    histogram: Histogram,
    /// v2: what was seen of the request's labels.
    known: Known,
}

impl Checker {
    /// Takes no memory until the first request.
    pub fn new() -> Self {
        Self::default()
    }

    /// Checks a decompressed request.
    ///
    /// A series is refused alone, for: a symbol reference out of range or unpaired; no `__name__`; an empty,
    /// duplicate or non-UTF-8 label name; a non-UTF-8 value; a histogram that does not add up; `rules`. An exemplar
    /// with such labels is refused without its series. Any timestamp is taken as it is.
    ///
    /// Mended without refusing: labels out of order, without a value, or naming a VictoriaMetrics account; fields
    /// outside the schema; v2 series with both samples and histograms; a v2 symbol table that does not start with
    /// the empty string (references still mean what they say) or holds invalid UTF-8 that nothing uses; v2
    /// `created_timestamp`, which becomes the start timestamp of what has none.
    ///
    /// # Errors
    /// When the bytes are not a request of this protocol.
    pub fn check(&mut self, protocol: Protocol, decoded: &[u8], rules: &Rules) -> Result<Checked<'_>, Malformed> {
        self.check_without(protocol, decoded, rules, Excess::default())
    }

    /// As [`check`](Self::check), and refuses the series in `excess`. Which these are is found from the footprint of a first check.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn check_without(
        &mut self,
        protocol: Protocol,
        decoded: &[u8],
        rules: &Rules,
        excess: Excess<'_>,
    ) -> Result<Checked<'_>, Malformed> {
        self.forget();
        let pass = Pass {
            rules,
            excess,
            protocol,
            table: Table::default(),
            shift: 0,
            received: Counts::default(),
            received_series: 0,
            accepted: Tally::default(),
            accepted_series: 0,
            metadata: 0,
            changes: Changes::default(),
            output: Output::new(decoded, &mut self.out),
            footprint: &mut self.footprint,
            rejected: &mut self.rejected,
            names: &mut self.names,
            scratch: &mut self.scratch,
            labels: Collector::default(),
            exemplar_labels: Collector::default(),
        };
        let totals = match protocol {
            Protocol::V1 => pass.v1(decoded)?,
            Protocol::V2 => pass.v2(decoded, &mut self.symbols)?,
        };
        self.footprint.sort_unstable();
        self.footprint.dedup();
        let rebuild_symbols = protocol == Protocol::V2 && (totals.mended || self.symbols.repeat(decoded));
        Ok(Checked {
            received: totals.received,
            received_series: totals.received_series,
            accepted: totals.accepted.counts,
            accepted_series: totals.accepted_series,
            metadata: totals.metadata,
            footprint: &self.footprint,
            timestamps: totals.accepted.timestamps(),
            mended: totals.mended.then_some(self.out.as_slice()),
            rebuild_symbols,
            rejected: &self.rejected,
            changes: totals.changes,
        })
    }

    fn forget(&mut self) {
        self.symbols.shrink_to(KEPT_ENTRIES);
        self.names.forget_if_full();
        self.footprint.clear();
        self.footprint.shrink_to(KEPT_ENTRIES);
        self.out.clear();
        self.out.shrink_to(KEPT_BYTES);
        self.rejected = Rejected::default();
        let Known { pairs, canonical, .. } = &self.scratch.known;
        if pairs.capacity().max(canonical.capacity()) > KEPT_BYTES {
            self.scratch = Scratch::default();
        }
    }
}

/// Seven times the largest batches known. A body of a few kilobytes can unpack to tens of millions of empty series,
/// each of which takes time.
const MAX_SERIES: u32 = 1 << 20;

/// The state of one pass over one request.
struct Pass<'a, 'c> {
    rules: &'c Rules,
    excess: Excess<'c>,
    protocol: Protocol,
    /// v2: the symbols.
    table: Table<'a, 'c>,
    /// v2: what mended references are raised by, because an empty symbol was put in front.
    shift: u32,
    received: Counts,
    received_series: u32,
    accepted: Tally,
    accepted_series: u32,
    metadata: u32,
    changes: Changes,
    output: Output<'a, 'c>,
    footprint: &'c mut Vec<u32>,
    rejected: &'c mut Rejected,
    names: &'c mut Names,
    scratch: &'c mut Scratch,
    labels: Collector<'a>,
    exemplar_labels: Collector<'a>,
}

/// What is left of a [`Pass`] when it no longer borrows the checker.
struct Totals {
    received: Counts,
    received_series: u32,
    accepted: Tally,
    accepted_series: u32,
    metadata: u32,
    mended: bool,
    changes: Changes,
}

impl<'a, 'c> Pass<'a, 'c> {
    fn v1(mut self, decoded: &'a [u8]) -> Result<Totals, Malformed> {
        let mut reader = Reader::new(decoded);
        while !reader.is_empty() {
            let start = reader.position();
            let before = reader;
            let tag = reader.tag()?;
            match (tag.field, tag.wire) {
                (V1_TIMESERIES, WireType::Len) => {
                    let series = reader.message()?;
                    let plain = plain::labels_v1(series.rest(), self.rules, self.names).and_then(|(labels, rest)| {
                        let data = match plain::one_sample(rest) {
                            Some(timestamp) => Tally::of_sample(timestamp),
                            None => plain::data(self.protocol, rest, self.table, &mut self.scratch.histogram)?,
                        };
                        Some((labels::low(labels::hash(labels)), data))
                    });
                    self.series(plain, series, start, reader.position())?;
                }
                (V1_METADATA, WireType::Len) => {
                    let message = reader.message()?;
                    self.family(message, start, reader.position())?;
                }
                (V1_TIMESERIES | V1_METADATA, _) => return Err(wrong_type(before)),
                _ => {
                    reader.skip(tag)?;
                    self.cut_foreign(start, reader.position());
                }
            }
        }
        Ok(self.finish())
    }

    fn v2(mut self, decoded: &'a [u8], symbols: &'c mut Symbols) -> Result<Totals, Malformed> {
        let in_front = symbols.find(decoded)?;
        self.table = Table::new(decoded, symbols);
        let table_is_right = in_front && self.table.starts_empty() && self.table.is_utf8();
        if !table_is_right {
            self.shift = u32::from(!self.table.starts_empty());
            self.output.replace_symbols(self.table, self.shift);
        }
        self.scratch.known.begin(self.table.count());
        let mut reader = Reader::new(decoded);
        while !reader.is_empty() {
            let start = reader.position();
            let before = reader;
            let tag = reader.tag()?;
            match (tag.field, tag.wire) {
                (SYMBOLS, WireType::Len) => {
                    reader.bytes()?;
                    if !table_is_right {
                        self.output.cut(start, reader.position());
                    }
                }
                (TIMESERIES, WireType::Len) => {
                    let series = reader.message()?;
                    let plain = if table_is_right { self.plain_v2(series.rest()) } else { None };
                    self.series(plain, series, start, reader.position())?;
                }
                (SYMBOLS | TIMESERIES, _) => return Err(wrong_type(before)),
                _ => {
                    reader.skip(tag)?;
                    self.cut_foreign(start, reader.position());
                }
            }
        }
        Ok(self.finish())
    }

    fn plain_v2(&mut self, series: &[u8]) -> Option<(u32, Tally)> {
        let rest = plain::labels_v2(series, self.table, self.rules, &mut self.scratch.known)?;
        let data = plain::data(self.protocol, rest, self.table, &mut self.scratch.histogram)?;
        let mixed = data.counts.samples > 0 && data.counts.histograms > 0;
        let exemplars_only = data.counts.samples == 0 && data.counts.histograms == 0;
        if mixed || (self.rules.strict && exemplars_only) {
            return None;
        }
        Some((labels::low(labels::hash(self.scratch.known.canonical.as_slice())), data))
    }

    /// Books a series that is right already, or else has it judged and mended.
    #[inline]
    fn series(
        &mut self,
        plain: Option<(u32, Tally)>,
        series: Reader<'a>,
        start: usize,
        end: usize,
    ) -> Result<(), Malformed> {
        if self.received_series == MAX_SERIES {
            return Err(series.malformed("request has more than 1048576 series"));
        }
        self.received_series += 1;
        match plain {
            Some((hash, data)) if !data.counts.is_zero() && !self.excess.has(hash) => {
                self.received += data.counts;
                self.accept(hash, data);
                Ok(())
            }
            _ => {
                self.output.cut(start, end);
                self.mend_series(series)
            }
        }
    }

    fn accept(&mut self, hash: u32, data: Tally) {
        self.accepted.merge(data);
        self.accepted_series += 1;
        self.footprint.push(hash);
    }

    /// v1 metadata: kept, mended, or cut when it names no family.
    fn family(&mut self, message: Reader<'a>, start: usize, end: usize) -> Result<(), Malformed> {
        let parsed = family(message)?;
        let value = parsed.value;
        let texts = [value.family, value.help, value.unit];
        if value.family.is_empty() || texts.iter().any(|text| !labels::is_utf8(text)) {
            self.changes.families += 1;
            self.output.cut(start, end);
            return Ok(());
        }
        self.metadata += 1;
        self.footprint.push(family_hash(value.family));
        if parsed.foreign {
            self.changes.foreign += 1;
            self.output.cut(start, end);
            put_message(self.output.bytes(), V1_METADATA, |out| {
                if value.kind != 0 {
                    put_varint_field(out, 1, i64::from(value.kind).cast_unsigned());
                }
                put_len_delimited(out, 2, value.family);
                for (field, text) in [(4, value.help), (5, value.unit)] {
                    if !text.is_empty() {
                        put_len_delimited(out, field, text);
                    }
                }
            });
        }
        Ok(())
    }

    fn cut_foreign(&mut self, start: usize, end: usize) {
        self.changes.foreign += 1;
        self.output.cut(start, end);
    }

    fn finish(self) -> Totals {
        Totals {
            received: self.received,
            received_series: self.received_series,
            accepted: self.accepted,
            accepted_series: self.accepted_series,
            metadata: self.metadata,
            mended: self.output.finish(),
            changes: self.changes,
        }
    }
}

//! Labels: the hash of a labelset, the symbols behind references, and the collection that sorts, strips and judges.

use super::Rules;
use super::refusal::Cause;
use crate::canonical::put_label;
use crate::model::{Label, METRIC_NAME};
use crate::symbols::Symbols;
use std::cmp::Ordering;
use xxhash_rust::xxh3::xxh3_64;

/// The label that holds the metric's name.
pub(super) const NAME: &[u8] = METRIC_NAME.as_bytes();

/// The 64-bit hash of a labelset: xxh3 over its labels as remote write 1.0 writes them. `labels` must be sorted by
/// name and must not have empty values; then v1 and v2 series with the same labels have the same hash.
pub fn series_hash_64(labels: &[Label<'_>]) -> u64 {
    let mut canonical = Vec::new();
    for label in labels {
        put_label(&mut canonical, label.name, label.value);
    }
    hash(&canonical)
}

/// The low 32 bits of [`series_hash_64`]: what footprints hold.
pub fn series_hash(labels: &[Label<'_>]) -> u32 {
    low(series_hash_64(labels))
}

/// What stands for a v1 metadata entry in a footprint: 32 bits of a hash of its family's name.
pub fn family_hash(family: &[u8]) -> u32 {
    low(hash(family))
}

/// [`series_hash`] of labels as remote write 1.0 writes them.
pub(crate) fn hash_of_canonical(canonical: &[u8]) -> u32 {
    low(hash(canonical))
}

pub(super) fn hash(canonical: &[u8]) -> u64 {
    xxh3_64(canonical)
}

pub(super) const fn low(hash: u64) -> u32 {
    (hash & 0xffff_ffff) as u32
}

/// The first eight bytes of a name, in an order that is the names' order as far as it goes; `source` starts with the
/// name and may go on behind its `length`.
#[inline]
pub(super) fn prefix(source: &[u8], length: usize) -> u64 {
    let Some(bytes) = source.first_chunk() else {
        let bytes = source.iter().take(length);
        return bytes.zip((0..8).rev()).fold(0, |prefix, (byte, place)| prefix | u64::from(*byte) << (8 * place));
    };
    let word = u64::from_be_bytes(*bytes);
    if length < 8 { word & !(u64::MAX >> (8 * length)) } else { word }
}

/// The [`prefix`] of [`NAME`], which is all of it.
pub(super) const NAME_PREFIX: u64 = u64::from_be_bytes(*b"__name__");

#[inline]
pub(super) fn is_utf8(text: &[u8]) -> bool {
    text.is_ascii() || std::str::from_utf8(text).is_ok()
}

/// Labels by which VictoriaMetrics chooses the tenant a series goes to; `prefix` is the name's.
#[inline]
pub(super) fn names_account(prefix: u64, name: &[u8]) -> bool {
    const ACCOUNT: u64 = u64::from_be_bytes(*b"vm_accou");
    const PROJECT: u64 = u64::from_be_bytes(*b"vm_proje");
    (prefix == ACCOUNT || prefix == PROJECT) && (name == b"vm_account_id" || name == b"vm_project_id")
}

/// The symbols of a v2 request; a v1 request has an empty one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Table<'a, 's> {
    decoded: &'a [u8],
    symbols: Option<&'s Symbols>,
}

impl<'a, 's> Table<'a, 's> {
    pub(super) const fn new(decoded: &'a [u8], symbols: &'s Symbols) -> Self {
        Self { decoded, symbols: Some(symbols) }
    }

    #[inline]
    pub(super) fn get(self, reference: u32) -> Option<&'a [u8]> {
        self.symbols?.get(self.decoded, reference)
    }

    /// A symbol from its length on, to the end of the request.
    #[inline]
    pub(super) fn at_length(self, reference: u32) -> Option<&'a [u8]> {
        self.symbols?.at_length(self.decoded, reference)
    }

    /// Whether reference 0 means the empty string, as it must (remote write 2.0, "Symbols"). A table without any
    /// symbol does no harm: every reference into it is out of range.
    pub(super) fn starts_empty(self) -> bool {
        self.get(0).is_none_or(<[u8]>::is_empty)
    }

    /// Whether every symbol is UTF-8; all must stand in front of the series.
    pub(super) fn is_utf8(self) -> bool {
        // One look at all bytes; only lengths of 128 and more, or text beyond ASCII, need one at each symbol.
        let Some(last) = self.count().checked_sub(1) else { return true };
        let behind = self.at_length(last as u32).map_or(0, <[u8]>::len);
        let before_last = self.decoded.get(..self.decoded.len() - behind).unwrap_or_default();
        let last = self.get(last as u32).unwrap_or_default();
        (before_last.is_ascii() && last.is_ascii()) || self.symbols().all(is_utf8)
    }

    pub(super) fn symbols(self) -> impl Iterator<Item = &'a [u8]> {
        self.symbols.into_iter().flat_map(move |symbols| symbols.iter(self.decoded))
    }

    pub(super) fn count(self) -> usize {
        self.symbols.map_or(0, Symbols::len)
    }
}

/// A label with its v2 references.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    /// The name's [`prefix`], which decides most comparisons.
    prefix: u64,
    pub(super) label: Label<'a>,
    pub(super) references: (u32, u32),
}

/// No series has more labels than this, whatever the rules: a small body can unpack to millions, which take eight times
/// their bytes in memory.
const MAX_LABELS: usize = 65_536;

/// The labels of one series or exemplar on their way to being right. Its memory stays in proportion to the request's
/// bytes: empty labels are dropped as they come, and nothing is collected after the first defect.
#[derive(Debug, Default)]
pub(super) struct Collector<'a> {
    /// Sorted once [`Self::finish`] has been called.
    pub(super) entries: Vec<Entry<'a>>,
    /// What makes the series or exemplar invalid.
    pub(super) defect: Option<Cause<'a>>,
    pub(super) empty: u32,
    pub(super) account: u32,
    pub(super) sorted: bool,
    has_name: bool,
    /// The length of the longest value.
    longest: usize,
    /// v2: a name whose value has not come yet.
    name: Option<u32>,
}

impl<'a> Collector<'a> {
    pub(super) fn clear(&mut self) {
        let mut entries = std::mem::take(&mut self.entries);
        entries.clear();
        *self = Self { entries, ..Self::default() };
    }

    /// Takes a label; `strip_account` drops those that name a VictoriaMetrics account.
    #[inline]
    pub(super) fn add(&mut self, label: Label<'a>, references: (u32, u32), strip_account: bool) {
        if self.defect.is_some() {
            return;
        }
        let prefix = prefix(label.name, label.name.len());
        if label.name.is_empty() {
            self.defect = Some(Cause::EmptyLabelName);
        } else if !is_utf8(label.name) || !is_utf8(label.value) {
            self.defect = Some(Cause::InvalidUtf8);
        } else if label.value.is_empty() {
            self.empty += 1;
            return;
        } else if strip_account && names_account(prefix, label.name) {
            self.account += 1;
            return;
        }
        if self.entries.len() == MAX_LABELS {
            self.defect = Some(Cause::TooManyLabels { seen: MAX_LABELS + 1, limit: MAX_LABELS });
            return;
        }
        self.has_name |= prefix == NAME_PREFIX && label.name == NAME;
        self.longest = self.longest.max(label.value.len());
        self.entries.push(Entry { prefix, label, references });
    }

    /// Takes a v2 reference: a name, then its value, then the next name.
    pub(super) fn refer(&mut self, reference: u32, table: Table<'a, '_>, strip_account: bool) {
        let Some(name) = self.name.take() else {
            self.name = Some(reference);
            return;
        };
        // More labels than symbols must repeat a name; `finish` will find which, without collecting them all.
        if self.entries.len() > table.count() {
            return;
        }
        match (table.get(name), table.get(reference)) {
            (Some(name_text), Some(value)) => {
                self.add(Label { name: name_text, value }, (name, reference), strip_account);
            }
            _ if self.defect.is_none() => self.defect = Some(Cause::BadReference),
            _ => {}
        }
    }

    /// Sorts by name, bytewise, and finds duplicates and an unpaired reference.
    pub(super) fn finish(&mut self) {
        if self.name.is_some() && self.defect.is_none() {
            self.defect = Some(Cause::BadReference);
        }
        if self.defect.is_some() {
            return;
        }
        let in_order = |one: &Entry<'_>, next: &Entry<'_>| match one.prefix.cmp(&next.prefix) {
            Ordering::Equal => one.label.name.cmp(next.label.name),
            order => order,
        };
        if !self.entries.is_sorted_by(|one, next| in_order(one, next).is_le()) {
            self.sorted = true;
            self.entries.sort_unstable_by(in_order);
        }
        let twice = self.entries.array_windows().find(|[one, next]| in_order(one, next).is_eq());
        self.defect = twice.map(|[one, _]| Cause::DuplicateLabel(one.label.name));
    }

    /// What makes the labels of a series wrong, after [`Self::finish`]: defects first, then limits.
    pub(super) fn verdict(&self, rules: &Rules) -> Option<Cause<'a>> {
        if self.defect.is_some() {
            return self.defect;
        }
        if !self.has_name {
            return Some(Cause::NoName);
        }
        let limit = rules.label_names as usize;
        if limit != 0 && self.entries.len() > limit {
            return Some(Cause::TooManyLabels { seen: self.entries.len(), limit });
        }
        let limit = rules.label_value_bytes as usize;
        if limit == 0 || self.longest <= limit {
            return None;
        }
        let long = self.entries.iter().map(|entry| entry.label).find(|label| label.value.len() > limit)?;
        Some(Cause::LongValue { name: long.name, seen: long.value.len(), limit })
    }
}

//! Recognises series that are right already, on slices: canonical labels, then known fields in their simplest form.
//! It never judges: whatever it does not recognise, right or wrong, is `mend`'s.

use super::Rules;
use super::histogram;
use super::labels::{NAME, NAME_PREFIX, Table, is_utf8, names_account, prefix};
use super::names::{Names, Place};
use super::tally::Tally;
use crate::Protocol;
use crate::canonical::{Canonical, MOST_SYMBOLS, Pairs};
use crate::model::Histogram;
use crate::wire::Reader;

/// Splits a v1 series behind its labels when they are canonical: encoded in the only minimal way, sorted, distinct,
/// non-empty, UTF-8, within the rules, with a metric name. The first part is then what a series hash is taken of.
#[inline]
pub(super) fn labels_v1<'a>(series: &'a [u8], rules: &Rules, names: &mut Names) -> Option<(&'a [u8], &'a [u8])> {
    let mut order = Order::new(rules);
    let mut place = Names::ROOT;
    let mut rest = series;
    // Many labels are looked at at once; a length of 128 and more is no text, so a long label is looked at alone.
    let mut unseen = series;
    let mut last = series;
    // Nearly all labels have a name that stood here before.
    while let [0x0a, length @ 0..0x80, content @ ..] = rest {
        let length = usize::from(*length);
        let Some((next, head)) = names.follow(place, content) else { break };
        let value_length = usize::from(*content.get(head)?);
        if head + 1 + value_length != length || value_length == 0 || value_length > order.max_value {
            break;
        }
        (last, rest, place) = (rest, content.get(length..)?, next);
        order.count += 1;
        if let [0x0a, 0x80..=0xff, ..] = rest
            && let Some((value, behind, next)) = long_label(rest, place, names)
            && value.len() <= order.max_value
        {
            let (short, _) = unseen.split_at_checked(unseen.len() - rest.len())?;
            if !(labels_are_utf8(short) && is_utf8(value)) {
                return None;
            }
            (last, rest, place, unseen) = (rest, behind, next, behind);
            order.count += 1;
        }
    }
    order.has_name = names.has_name(place);
    if let [0x0a, ..] = rest {
        if order.count > 0 {
            order.begin_behind(&label(last)?);
        }
        let mut learning = Some(place);
        while let [0x0a, ..] = rest {
            let Found { prefix, name, value, behind } = label(rest)?;
            order.take(prefix, name, value)?;
            if rest.len() - behind.len() > SHORT_LABEL {
                let (short, _) = unseen.split_at_checked(unseen.len() - rest.len())?;
                if !(labels_are_utf8(short) && is_utf8(name) && is_utf8(value)) {
                    return None;
                }
                unseen = behind;
            }
            learning = learning.and_then(|place| names.learn_or_follow(place, name));
            rest = behind;
        }
    }
    order.complete()?;
    let (short, _) = unseen.split_at_checked(unseen.len() - rest.len())?;
    let (labels, rest) = series.split_at_checked(series.len() - rest.len())?;
    labels_are_utf8(short).then_some((labels, rest))
}

/// The value of a label of 128 bytes and more whose name stood here before, what is behind it, and its place.
fn long_label<'a>(bytes: &'a [u8], place: Place, names: &mut Names) -> Option<(&'a [u8], &'a [u8], Place)> {
    let (label, behind) = field(bytes, 0x0a)?;
    let (next, head) = names.follow(place, label)?;
    // The value's tag is a part of the head.
    let (value, nothing) = field(label.get(head - 1..)?, 0x12)?;
    (nothing.is_empty() && !value.is_empty()).then_some((value, behind, next))
}

/// The longest label, with its tag and length, all of whose lengths are below 128.
const SHORT_LABEL: usize = 2 + 0x7f;

/// A v1 label, the prefix of its name, and what is behind it.
pub(super) struct Found<'a> {
    prefix: u64,
    pub(super) name: &'a [u8],
    pub(super) value: &'a [u8],
    behind: &'a [u8],
}

/// The canonical v1 label that `bytes` start with.
#[inline]
pub(super) fn label(bytes: &[u8]) -> Option<Found<'_>> {
    let (label, behind) = field(bytes, 0x0a)?;
    if label.len() < 0x80 {
        // Then the lengths inside are one byte, or do not fit.
        let [0x0a, name_length, rest @ ..] = label else { return None };
        let (name, rest) = rest.split_at_checked(usize::from(*name_length))?;
        let [0x12, value_length, value @ ..] = rest else { return None };
        // The name is behind two tags and two lengths.
        let prefix = prefix(bytes.get(4..)?, name.len());
        return (value.len() == usize::from(*value_length)).then_some(Found { prefix, name, value, behind });
    }
    let (name, rest) = field(label, 0x0a)?;
    let (value, nothing) = field(rest, 0x12)?;
    nothing.is_empty().then_some(Found { prefix: prefix(name, name.len()), name, value, behind })
}

/// The content of a length-delimited field with this one-byte tag and a minimal length, and what is behind it.
#[inline]
fn field(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    let (&length, content) = rest.split_first()?;
    if first != tag {
        return None;
    }
    if length < 0x80 {
        return content.split_at_checked(usize::from(length));
    }
    let mut reader = Reader::new(rest);
    let length = reader.minimal_varint()?;
    reader.rest().split_at_checked(usize::try_from(length).ok()?)
}

fn labels_are_utf8(labels: &[u8]) -> bool {
    if is_ascii(labels) {
        return true;
    }
    let mut rest = labels;
    while let Some(Found { name, value, behind, .. }) = label(rest) {
        if !is_utf8(name) || !is_utf8(value) {
            return false;
        }
        rest = behind;
    }
    true
}

/// As the standard library's, which looks at what is left behind the last full chunk byte by byte: half of its time, here.
#[inline]
fn is_ascii(bytes: &[u8]) -> bool {
    const BEYOND: u64 = 0x8080_8080_8080_8080;
    let Some(last) = bytes.last_chunk() else { return bytes.is_ascii() };
    let words = bytes.as_chunks().0;
    let seen = words.iter().fold(u64::from_ne_bytes(*last), |seen, word| seen | u64::from_ne_bytes(*word));
    seen & BEYOND == 0
}

/// Which label names of a v2 request may follow which, by their references, as far as it was looked at.
#[derive(Debug, Default)]
pub(super) struct Rising {
    /// By the reference of a name, the one that followed it last; behind 0, which is the empty string, the first one.
    follower: Vec<u32>,
    metric_name: Option<u32>,
}

impl Rising {
    /// Forgets the request before; the next one has so many symbols.
    pub(super) fn begin(&mut self, symbols: usize) {
        self.follower.clear();
        if symbols <= MOST_SYMBOLS {
            self.follower.resize(symbols, 0);
        }
        self.metric_name = None;
    }

    /// `None` unless the name may stand behind the previous one.
    #[inline]
    fn follow(&mut self, previous: u32, name: u32, table: Table<'_, '_>, rules: &Rules) -> Option<()> {
        if name != 0 && self.follower.get(previous as usize) == Some(&name) {
            return Some(());
        }
        self.judge(previous, name, table, rules)
    }

    fn judge(&mut self, previous: u32, name: u32, table: Table<'_, '_>, rules: &Rules) -> Option<()> {
        let (before, text) = (table.get(previous)?, table.get(name)?);
        // An empty name does not rise above anything.
        if before >= text || (!rules.keep_vm_account_labels && names_account(prefix(text, text.len()), text)) {
            return None;
        }
        if text == NAME {
            self.metric_name = Some(name);
        }
        if let Some(follower) = self.follower.get_mut(previous as usize) {
            *follower = name;
        }
        Some(())
    }
}

/// What is kept of a v2 request's labels between its series.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) rising: Rising,
    pub(super) pairs: Pairs,
    /// A series' labels as v1 writes them, to be hashed.
    pub(super) canonical: Canonical,
}

impl Known {
    /// Forgets the request before; the next one has so many symbols.
    pub(super) fn begin(&mut self, symbols: usize) {
        self.rising.begin(symbols);
        self.pairs.begin(symbols);
    }
}

/// Splits a v2 series behind its references when its labels are as for [`labels_v1`]; the symbols are known to be
/// UTF-8, the first to be empty. `known.canonical` gets the labels as v1 writes them.
#[inline]
pub(super) fn labels_v2<'a>(
    series: &'a [u8],
    table: Table<'_, '_>,
    rules: &Rules,
    known: &mut Known,
) -> Option<&'a [u8]> {
    let (packed, rest) = field(series, 0x0a)?;
    let Known { rising, pairs, canonical } = known;
    canonical.clear();
    let (mut previous, mut count, mut has_name) = (0, 0, false);
    let mut references = packed;
    while !references.is_empty() {
        let (name, value) = (reference(&mut references)?, reference(&mut references)?);
        rising.follow(previous, name, table, rules)?;
        if !pairs.put(name, value, canonical) {
            put_new(name, value, table, rules, pairs, canonical)?;
        }
        has_name |= rising.metric_name == Some(name);
        previous = name;
        count += 1;
    }
    (has_name && count <= limit(rules.label_names)).then_some(rest)
}

/// Appends a label that is not known, and keeps it.
fn put_new(
    name: u32,
    value: u32,
    table: Table<'_, '_>,
    rules: &Rules,
    pairs: &mut Pairs,
    canonical: &mut Canonical,
) -> Option<()> {
    let text = table.get(value)?;
    if text.is_empty() || text.len() > limit(rules.label_value_bytes) {
        return None;
    }
    let start = canonical.as_slice().len();
    canonical.put(table.get(name)?, text);
    pairs.keep(name, value, canonical.as_slice().get(start..)?);
    Some(())
}

/// 0 means no limit.
const fn limit(limit: u32) -> usize {
    if limit == 0 { usize::MAX } else { limit as usize }
}

#[inline]
fn reference(packed: &mut &[u8]) -> Option<u32> {
    match **packed {
        [byte, ref rest @ ..] if byte < 0x80 => {
            *packed = rest;
            Some(u32::from(byte))
        }
        [low, high @ 1..0x80, ref rest @ ..] => {
            *packed = rest;
            Some(u32::from(low & 0x7f) | u32::from(high) << 7)
        }
        _ => {
            let mut reader = Reader::new(packed);
            let reference = reader.minimal_varint()?;
            *packed = reader.rest();
            u32::try_from(reference).ok()
        }
    }
}

/// Takes labels one by one and gives up at the first that is out of order, stripped or over a limit.
struct Order<'a> {
    previous: &'a [u8],
    previous_prefix: u64,
    count: usize,
    has_name: bool,
    max_count: usize,
    max_value: usize,
    strip_account: bool,
}

impl<'a> Order<'a> {
    fn new(rules: &Rules) -> Self {
        Self {
            previous: &[],
            previous_prefix: 0,
            count: 0,
            has_name: false,
            max_count: limit(rules.label_names),
            max_value: limit(rules.label_value_bytes),
            strip_account: !rules.keep_vm_account_labels,
        }
    }

    /// `prefix` is the name's. An empty name does not rise above what was before it, not even above nothing.
    #[inline]
    fn take(&mut self, prefix: u64, name: &'a [u8], value: &[u8]) -> Option<()> {
        let rises = if prefix == self.previous_prefix { self.previous < name } else { self.previous_prefix < prefix };
        let stripped = value.is_empty() || (self.strip_account && names_account(prefix, name));
        if !rises || stripped || value.len() > self.max_value {
            return None;
        }
        self.has_name |= prefix == NAME_PREFIX && name.len() == size_of_val(&prefix);
        self.count += 1;
        (self.previous, self.previous_prefix) = (name, prefix);
        Some(())
    }

    /// What comes next must rise above this label's name.
    const fn begin_behind(&mut self, label: &Found<'a>) {
        (self.previous, self.previous_prefix) = (label.name, label.prefix);
    }

    fn complete(&self) -> Option<()> {
        (self.has_name && self.count <= self.max_count).then_some(())
    }
}

/// The timestamp of the one v1 sample behind the labels, if there is nothing else and it is written as senders do, with a
/// timestamp from 1970 to 2109: what nearly all series have.
#[inline]
pub(super) fn one_sample(data: &[u8]) -> Option<i64> {
    const MORE: u64 = 0x8080_8080_8080_8080;
    let [0x12, length, message @ ..] = data else { return None };
    // A value of 0 may be left out.
    let tag = if *message.first()? == 0x09 { 9 } else { 0 };
    let bytes = message.len().checked_sub(tag + 1).filter(|bytes| (1..=6).contains(bytes))?;
    if usize::from(*length) != message.len() || *message.get(tag)? != 0x10 {
        return None;
    }
    let timestamp = u64::from_le_bytes(*data.last_chunk()?) >> (64 - 8 * bytes);
    // Each byte but the last says that another follows.
    let is_one_varint = timestamp & MORE == MORE & ((1 << (8 * (bytes - 1))) - 1);
    is_one_varint.then(|| join_sevens(timestamp).cast_signed())
}

/// The number whose little-endian groups of seven bits the bytes hold.
#[inline]
const fn join_sevens(word: u64) -> u64 {
    let pairs = (word & 0x007f_007f_007f_007f) | (word & 0x7f00_7f00_7f00_7f00) >> 1;
    let fours = (pairs & 0x0000_3fff_0000_3fff) | (pairs & 0x3fff_0000_3fff_0000) >> 2;
    (fours & 0x0fff_ffff) | (fours & 0x0fff_ffff_0000_0000) >> 4
}

/// Counts what is behind the labels, if all of it is known, valid and simply written.
#[inline]
pub(super) fn data(protocol: Protocol, data: &[u8], table: Table<'_, '_>, scratch: &mut Histogram) -> Option<Tally> {
    let mut tally = Tally::default();
    let mut rest = data;
    while let Some(&tag) = rest.first() {
        let (message, behind) = field(rest, tag)?;
        match (tag, protocol) {
            (0x12, _) => tally.sample(sample(protocol, message)?),
            (0x22, Protocol::V1) | (0x1a, Protocol::V2) => {
                if message.len() > histogram::MAX_BYTES {
                    return None;
                }
                let foreign = crate::read::histogram(protocol, Reader::new(message), scratch).ok()?;
                if foreign || histogram::check(scratch).is_err() {
                    return None;
                }
                tally.histogram(scratch.timestamp);
            }
            (0x1a, Protocol::V1) | (0x22, Protocol::V2) => {
                exemplar(protocol, message, table)?;
                tally.exemplar();
            }
            (0x2a, Protocol::V2) => metadata(message, table)?,
            _ => return None,
        }
        rest = behind;
    }
    Some(tally)
}

/// Returns the timestamp.
#[inline]
fn sample(protocol: Protocol, message: &[u8]) -> Option<i64> {
    let rest = skip_double(message, 0x09)?;
    let (timestamp, rest) = varint_field(rest, 0x10)?;
    let rest = match protocol {
        Protocol::V1 => rest,
        Protocol::V2 => varint_field(rest, 0x18)?.1,
    };
    rest.is_empty().then_some(timestamp.cast_signed())
}

fn exemplar(protocol: Protocol, message: &[u8], table: Table<'_, '_>) -> Option<()> {
    let mut rest = message;
    let mut previous: &[u8] = &[];
    if protocol == Protocol::V1 {
        while let [0x0a, ..] = rest {
            let Found { name, value, behind, .. } = label(rest)?;
            if previous >= name || value.is_empty() || !is_utf8(name) || !is_utf8(value) {
                return None;
            }
            (previous, rest) = (name, behind);
        }
    } else if let [0x0a, ..] = rest {
        let (mut references, behind) = field(rest, 0x0a)?;
        while !references.is_empty() {
            let name = table.get(reference(&mut references)?)?;
            let value = table.get(reference(&mut references)?)?;
            if previous >= name || value.is_empty() {
                return None;
            }
            previous = name;
        }
        rest = behind;
    }
    let rest = skip_double(rest, 0x11)?;
    let (_, rest) = varint_field(rest, 0x18)?;
    rest.is_empty().then_some(())
}

/// v2 metadata whose references are in range.
fn metadata(message: &[u8], table: Table<'_, '_>) -> Option<()> {
    let (_, rest) = varint_field(message, 0x08)?;
    let (help, rest) = varint_field(rest, 0x18)?;
    let (unit, rest) = varint_field(rest, 0x20)?;
    for reference in [help, unit] {
        if reference != 0 {
            table.get(u32::try_from(reference).ok()?)?;
        }
    }
    rest.is_empty().then_some(())
}

/// What is behind a double, which may be absent.
#[inline]
fn skip_double(bytes: &[u8], tag: u8) -> Option<&[u8]> {
    match bytes.split_first() {
        Some((&first, rest)) if first == tag => rest.get(8..),
        _ => Some(bytes),
    }
}

/// A varint, 0 when absent, and what is behind it.
#[inline]
fn varint_field(bytes: &[u8], tag: u8) -> Option<(u64, &[u8])> {
    match bytes.split_first() {
        Some((&first, rest)) if first == tag => {
            let mut reader = Reader::new(rest);
            Some((reader.varint().ok()?, reader.rest()))
        }
        _ => Some((0, bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{put_fixed64, put_len_delimited, put_varint_field};

    #[test]
    fn one_sample_agrees_with_the_general_reader_whatever_the_timestamp_and_value() {
        let timestamps = (0..64).flat_map(|bits| [(1_u64 << bits) - 1, 1 << bits, (1 << bits) + 1]);
        for (timestamp, value) in timestamps.flat_map(|timestamp| [(timestamp, None), (timestamp, Some(f64::NAN))]) {
            let (mut message, mut data) = (Vec::new(), Vec::new());
            if let Some(value) = value {
                put_fixed64(&mut message, 1, value.to_bits());
            }
            put_varint_field(&mut message, 2, timestamp);
            put_len_delimited(&mut data, 2, &message);
            let expected = timestamp.cast_signed();
            assert_eq!(sample(Protocol::V1, &message), Some(expected));
            let found = one_sample(&data);
            assert!(found.is_none_or(|found| found == expected), "{timestamp}: {found:?}");
            let is_usual = (1 << 35..1 << 42).contains(&timestamp);
            assert_eq!(found.is_some(), is_usual || (found.is_some() && timestamp < 1 << 42), "{timestamp}");
            for cut in 0..data.len() {
                assert_eq!(one_sample(&data[..cut]), None, "cut at {cut}");
            }
            data.push(0x12);
            assert_eq!(one_sample(&data), None, "something follows");
        }
    }
}

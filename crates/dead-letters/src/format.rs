//! Every byte of keys and values. `FORMAT.md` is the contract; nothing else in this crate knows an offset.
//!
//! Values are little-endian, begin with their version and end with a checksum. Keys are big-endian, so that the order of their
//! bytes is the order of what they say.

use crate::Id;
use crate::error::Fault;
use crate::letter::{Envelope, Leaving, Summary};
use crate::totals::{Key, Sums};

/// The version of the file that this program writes, and the latest it reads.
pub(crate) const VERSION: u64 = 1;

/// Most bytes of a tenant, an endpoint and a reason each: their length is one byte.
pub const MAX_NAME: usize = 255;
/// Most bytes kept of an endpoint's words.
pub const MAX_WORDS: usize = 1024;
/// Most bytes kept of the example series.
pub const MAX_EXAMPLE: usize = 512;
/// Most bytes of a body: it must fit the memory of who reads it.
pub const MAX_BODY: usize = 1 << 30;

/// A page of the database.
pub(crate) const PAGE: usize = 4096;
/// As much of a body as fills a page with its key (12), the page's header (4) and the value's end (4).
pub(crate) const PIECE: usize = PAGE - 12 - 4 - 4;

/// Index entries of a letter, see `index_keys`.
pub(crate) const INDEX_ENTRIES: u64 = 4;

const SUMMARY_VERSION: u8 = 1;
const SUMS_VERSION: u8 = 1;

/// A summary as it is stored, and the checksum of its body.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) summary: Summary,
    pub(crate) body_crc: u32,
}

pub(crate) fn encode_summary(envelope: &Envelope, body_bytes: u32, body_crc: u32) -> Vec<u8> {
    let mut out = vec![SUMMARY_VERSION, envelope.form];
    out.extend(envelope.position.to_le_bytes());
    out.extend(envelope.received_ms.to_le_bytes());
    out.extend(envelope.refused_ms.to_le_bytes());
    envelope.counts.iter().for_each(|n| out.extend(n.to_le_bytes()));
    for n in [envelope.series, envelope.decoded_bytes, body_bytes, body_crc] {
        out.extend(n.to_le_bytes());
    }
    for name in [&envelope.tenant, &envelope.endpoint, &envelope.reason] {
        put_name(&mut out, name);
    }
    for text in [&envelope.words, &envelope.example] {
        out.extend((text.len() as u16).to_le_bytes());
        out.extend(text.as_bytes());
    }
    seal(out)
}

pub(crate) fn decode_summary(id: Id, bytes: &[u8]) -> Result<Stored, Fault> {
    let damaged = || Fault::damaged(format!("letter {id} cannot be read"));
    let mut input = Input(unseal(bytes, SUMMARY_VERSION).ok_or_else(damaged)?);
    let mut read = || {
        let form = input.byte()?;
        let position = input.u64()?;
        let (received_ms, refused_ms) = (input.u64()? as i64, input.u64()? as i64);
        let counts = [input.u64()?, input.u64()?, input.u64()?];
        let (series, decoded_bytes, body_bytes, body_crc) = (input.u32()?, input.u32()?, input.u32()?, input.u32()?);
        let (tenant, endpoint, reason) = (input.name()?, input.name()?, input.name()?);
        let (words, example) = (input.text()?, input.text()?);
        let envelope = Envelope {
            tenant,
            endpoint,
            reason,
            words,
            position,
            received_ms,
            refused_ms,
            counts,
            series,
            example,
            form,
            decoded_bytes,
        };
        let summary = Summary { id, envelope, body_bytes };
        input.0.is_empty().then_some(Stored { summary, body_crc })
    };
    read().ok_or_else(damaged)
}

pub(crate) fn encode_sums(sums: &Sums) -> Vec<u8> {
    let mut out = vec![SUMS_VERSION];
    let [samples, histograms, exemplars] = sums.counts;
    for n in [sums.letters, samples, histograms, exemplars, sums.bytes] {
        out.extend(n.to_le_bytes());
    }
    seal(out)
}

pub(crate) fn decode_sums(bytes: &[u8]) -> Result<Sums, Fault> {
    let read = || {
        let mut input = Input(unseal(bytes, SUMS_VERSION)?);
        let letters = input.u64()?;
        let counts = [input.u64()?, input.u64()?, input.u64()?];
        let bytes = input.u64()?;
        input.0.is_empty().then_some(Sums { letters, counts, bytes })
    };
    read().ok_or_else(|| Fault::damaged("a total cannot be read"))
}

pub(crate) fn encode_leaving(to: Leaving) -> u8 {
    match to {
        Leaving::Delivered => 1,
        Leaving::Dropped => 2,
        Leaving::Evicted => 3,
    }
}

pub(crate) fn decode_leaving(byte: u8) -> Result<Leaving, Fault> {
    match byte {
        1 => Ok(Leaving::Delivered),
        2 => Ok(Leaving::Dropped),
        3 => Ok(Leaving::Evicted),
        other => Err(Fault::damaged(format!("{other} is no way to leave"))),
    }
}

pub(crate) fn totals_key(key: &Key) -> Vec<u8> {
    let mut out = vec![u8::from(key.is_leaving)];
    for name in [&key.tenant, &key.endpoint, &key.reason] {
        put_name(&mut out, name);
    }
    out
}

pub(crate) fn decode_totals_key(bytes: &[u8]) -> Result<Key, Fault> {
    let mut input = Input(bytes);
    let mut read = || {
        let is_leaving = input.byte()? != 0;
        let (tenant, endpoint, reason) = (input.name()?, input.name()?, input.name()?);
        Some(Key { is_leaving, tenant, endpoint, reason })
    };
    read().ok_or_else(|| Fault::damaged("a total's key cannot be read"))
}

pub(crate) fn piece_key(id: Id, piece: u32) -> [u8; 12] {
    let mut key = [0; 12];
    key[..8].copy_from_slice(&id.to_be_bytes());
    key[8..].copy_from_slice(&piece.to_be_bytes());
    key
}

/// The beginning of the index entries of a tenant, an endpoint, or a row; the letters' ids follow.
pub(crate) fn index_prefix(tenant: Option<&str>, endpoint: Option<&str>) -> Option<Vec<u8>> {
    let kind = match (tenant, endpoint) {
        (None, None) => return None,
        (Some(_), None) => b't',
        (None, Some(_)) => b'e',
        (Some(_), Some(_)) => b'r',
    };
    let mut out = vec![kind];
    [tenant, endpoint].into_iter().flatten().for_each(|name| put_name(&mut out, name));
    Some(out)
}

/// The beginning of the index entries of a row by position; position and id follow.
pub(crate) fn position_prefix(tenant: &str, endpoint: &str) -> Vec<u8> {
    let mut out = vec![b'p'];
    put_name(&mut out, tenant);
    put_name(&mut out, endpoint);
    out
}

/// All index entries of a letter.
pub(crate) fn index_keys(id: Id, envelope: &Envelope) -> Vec<Vec<u8>> {
    let (tenant, endpoint) = (envelope.tenant.as_str(), envelope.endpoint.as_str());
    let by_id = [(Some(tenant), None), (None, Some(endpoint)), (Some(tenant), Some(endpoint))];
    let mut keys: Vec<Vec<u8>> =
        by_id.into_iter().filter_map(|(tenant, endpoint)| index_prefix(tenant, endpoint)).collect();
    let mut by_position = position_prefix(tenant, endpoint);
    by_position.extend(envelope.position.to_be_bytes());
    keys.push(by_position);
    keys.iter_mut().for_each(|key| key.extend(id.to_be_bytes()));
    keys
}

/// The id at the end of an index entry.
pub(crate) fn id_of(key: &[u8]) -> Result<Id, Fault> {
    key.last_chunk().map(|id| Id::from_be_bytes(*id)).ok_or_else(|| Fault::damaged("an index entry has no letter"))
}

/// The position and the id at the end of an index entry by position.
pub(crate) fn position_and_id_of(key: &[u8]) -> Result<(u64, Id), Fault> {
    let id = id_of(key)?;
    let position = key.get(..key.len() - 8).and_then(|key| key.last_chunk());
    let position = position.ok_or_else(|| Fault::damaged("an index entry has no position"))?;
    Ok((u64::from_be_bytes(*position), id))
}

/// What a letter takes on the disk: whole pages for the pieces of its body, and its share of the pages that hold the rest.
/// Those are between half and all full, since a page that is full is halved: counted is two thirds.
pub(crate) fn disk_bytes(envelope: &Envelope, body_bytes: u32) -> u64 {
    /// A page's checksum, number and key in the page above it.
    const PAGE_ENTRY: usize = 16 + 8 + 12 + 4;
    /// A value's key and end.
    const ENTRY: usize = 8 + 4;
    /// Four index entries: lengths of six names, four ids, a position, four kinds and ends.
    const INDEX: usize = 6 + 4 * 8 + 8 + 4 + 4 * 4;
    /// A summary's fixed part, see `encode_summary`.
    const SUMMARY: usize = 77;
    let names = envelope.tenant.len() + envelope.endpoint.len();
    let body = body_bytes as usize;
    let pieces = body / PIECE * (PAGE + PAGE_ENTRY);
    let summary = ENTRY + SUMMARY + names + envelope.reason.len() + envelope.words.len() + envelope.example.len();
    let shared = summary + ENTRY + body % PIECE + INDEX + 3 * names;
    (pieces + shared + shared / 2) as u64
}

/// The longest beginning of `text` that has at most `max` bytes.
pub(crate) fn cut(text: &str, max: usize) -> &str {
    text.get(..text.floor_char_boundary(max)).unwrap_or(text)
}

fn put_name(out: &mut Vec<u8>, name: &str) {
    out.push(name.len() as u8);
    out.extend(name.as_bytes());
}

fn seal(mut out: Vec<u8>) -> Vec<u8> {
    let crc = crc32c::crc32c(&out);
    out.extend(crc.to_le_bytes());
    out
}

/// What lies between version and checksum.
fn unseal(bytes: &[u8], version: u8) -> Option<&[u8]> {
    let (sealed, crc) = bytes.split_last_chunk()?;
    let (first, rest) = sealed.split_first()?;
    (*first == version && u32::from_le_bytes(*crc) == crc32c::crc32c(sealed)).then_some(rest)
}

/// The rest of a value.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
    }

    fn u64(&mut self) -> Option<u64> {
        self.take(8)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
    }

    fn name(&mut self) -> Option<String> {
        let n = self.byte()?;
        self.string(n.into())
    }

    fn text(&mut self) -> Option<String> {
        let n = self.take(2)?.first_chunk().map(|bytes| u16::from_le_bytes(*bytes))?;
        self.string(n.into())
    }

    fn string(&mut self, n: usize) -> Option<String> {
        String::from_utf8(self.take(n)?.to_vec()).ok()
    }
}

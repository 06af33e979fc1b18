//! A batch taken to pieces, one for each series of each of its requests: what an endpoint that refused the whole is asked
//! about one by one, or half by half. Judges nothing and sends nothing.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::canonical::put_label;
use crate::check::series_hash;
use crate::encode::V2Encoder;
use crate::model::Label;
use crate::series_text;
use crate::source::{SeriesParts, Source};
use crate::split::Part;
use crate::wire::{Malformed, Reader};
use crate::{Counts, Protocol};

/// Requests of one protocol, cut into pieces that can be put together again as requests.
///
/// All that a request says of one series is one piece, in wire order, so that pieces of one request never share a series
/// and may be sent in any order. What a v1 request says of families is a piece without counts, before its series.
#[derive(Debug)]
pub struct Pieces {
    protocol: Protocol,
    requests: Vec<Vec<u8>>,
    pieces: Vec<Piece>,
    /// Of all pieces, one behind the other.
    fields: Vec<Field>,
}

#[derive(Clone, Debug)]
struct Piece {
    request: usize,
    counts: Counts,
    /// In [`Pieces::fields`].
    fields: Range<usize>,
}

/// A field of a request: where its content begins and ends, and where its tag begins.
#[derive(Clone, Copy, Debug)]
struct Field {
    tag: usize,
    content: usize,
    end: usize,
}

/// The fields of one piece while they are collected.
#[derive(Debug, Default)]
struct Gathered {
    counts: Counts,
    fields: Vec<Field>,
}

impl Pieces {
    /// Takes decompressed requests to pieces, in order.
    ///
    /// # Errors
    /// When the bytes are not requests of the protocol, or a symbol reference is out of range.
    pub fn new(protocol: Protocol, requests: Vec<Vec<u8>>) -> Result<Self, Malformed> {
        let (mut pieces, mut fields) = (Vec::new(), Vec::new());
        for (request, decoded) in requests.iter().enumerate() {
            for Gathered { counts, fields: own } in gather(protocol, decoded)? {
                let start = fields.len();
                fields.extend(own);
                pieces.push(Piece { request, counts, fields: start..fields.len() });
            }
        }
        Ok(Self { protocol, requests, pieces, fields })
    }

    /// How many pieces there are.
    pub const fn len(&self) -> usize {
        self.pieces.len()
    }

    /// Whether there is nothing at all.
    pub const fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// From which request a piece is, counted from 0; rises with the pieces.
    pub fn request_of(&self, piece: usize) -> usize {
        self.pieces.get(piece).map_or(self.requests.len(), |piece| piece.request)
    }

    /// The data points in one piece.
    pub fn counts(&self, piece: usize) -> Counts {
        self.pieces.get(piece).map_or_else(Counts::default, |piece| piece.counts)
    }

    /// How many bytes a piece has in its request.
    pub fn bytes(&self, piece: usize) -> usize {
        self.fields_of(piece).iter().map(|field| field.end - field.tag).sum()
    }

    /// Puts pieces together as one request. Data points are copied, never decoded.
    ///
    /// # Errors
    /// When a symbol reference is out of range.
    pub fn join(&self, range: Range<usize>) -> Result<Part, Malformed> {
        match self.protocol {
            Protocol::V1 => Ok(self.join_v1(range)),
            Protocol::V2 => self.join_v2(range),
        }
    }

    /// The series of a piece as `name{label="value"}`; empty for families.
    pub fn describe(&self, piece: usize) -> String {
        self.with_labels(piece, series_text::describe).unwrap_or_default()
    }

    /// The hash of a piece's series as footprints have it; `None` for families.
    pub fn hash(&self, piece: usize) -> Option<u32> {
        self.with_labels(piece, series_hash)
    }

    fn with_labels<T>(&self, piece: usize, use_labels: impl FnOnce(&[Label<'_>]) -> T) -> Option<T> {
        let (request, field) = self.request_and_field(piece)?;
        let mut parts = SeriesParts::default();
        let source = Source::new(self.protocol, request).ok()?;
        source.take_apart(content(request, field), &mut parts).ok()?;
        source.resolve(&mut parts).ok()?;
        Some(use_labels(&parts.labels))
    }

    fn request_and_field(&self, piece: usize) -> Option<(&[u8], Field)> {
        let piece = self.pieces.get(piece).filter(|piece| !piece.counts.is_zero())?;
        Some((self.requests.get(piece.request)?, *self.fields.get(piece.fields.start)?))
    }

    fn fields_of(&self, piece: usize) -> &[Field] {
        self.pieces.get(piece).and_then(|piece| self.fields.get(piece.fields.clone())).unwrap_or_default()
    }

    fn join_v1(&self, range: Range<usize>) -> Part {
        let mut part = Part::default();
        for piece in self.pieces.get(range).unwrap_or_default() {
            let Some(request) = self.requests.get(piece.request) else { continue };
            for field in self.fields.get(piece.fields.clone()).unwrap_or_default() {
                part.body.extend_from_slice(request.get(field.tag..field.end).unwrap_or_default());
            }
            part.counts += piece.counts;
            // A piece of families holds no series.
            part.series += if piece.counts.is_zero() { 0 } else { piece.fields.len() as u32 };
        }
        part
    }

    fn join_v2(&self, range: Range<usize>) -> Result<Part, Malformed> {
        let mut encoder = V2Encoder::new();
        let mut part = Part::default();
        let mut parts = SeriesParts::default();
        let mut pieces = self.pieces.get(range).unwrap_or_default().iter().peekable();
        while let Some(first) = pieces.peek().map(|piece| piece.request) {
            let Some(request) = self.requests.get(first) else { break };
            let mut source = Source::new(self.protocol, request)?;
            while let Some(piece) = pieces.next_if(|piece| piece.request == first) {
                for &field in self.fields.get(piece.fields.clone()).unwrap_or_default() {
                    source.take_apart(content(request, field), &mut parts)?;
                    encoder.put_parts(&mut source, &parts)?;
                }
                part.counts += piece.counts;
            }
        }
        part.series = encoder.count();
        encoder.finish(&mut part.body);
        Ok(part)
    }
}

fn content(request: &[u8], field: Field) -> Reader<'_> {
    Reader::new(request.get(field.content..field.end).unwrap_or_default())
}

/// The pieces of one request: its families, then its series in the order in which they first occur.
fn gather(protocol: Protocol, decoded: &[u8]) -> Result<Vec<Gathered>, Malformed> {
    let source = Source::new(protocol, decoded)?;
    let field = |content: Reader<'_>, whole: &[u8]| {
        let end = content.position() + content.rest().len();
        Field { tag: end - whole.len(), content: content.position(), end }
    };
    let mut pieces: Vec<Gathered> = Vec::new();
    for family in source.metadata() {
        let (content, whole) = family?;
        if pieces.is_empty() {
            pieces.push(Gathered::default());
        }
        pieces.iter_mut().for_each(|families| families.fields.push(field(content, whole)));
    }
    // By a hash with a secret: two series are taken for one once in 2⁶⁴ pairs, and nobody can choose them so. Hashing all
    // strings with the map's own hasher was most of the time that a large request took.
    let mut by_labels: HashMap<u64, usize> = HashMap::new();
    let seed = RandomState::new().hash_one(0);
    let (mut parts, mut canonical) = (SeriesParts::default(), Vec::new());
    for series in source.series() {
        let (content, whole) = series?;
        source.take_apart(content, &mut parts)?;
        source.resolve(&mut parts)?;
        let counts = source.counts(content)?;
        canonical.clear();
        parts.labels.iter().for_each(|label| put_label(&mut canonical, label.name, label.value));
        let index = *by_labels.entry(xxh3_64_with_seed(&canonical, seed)).or_insert_with(|| {
            pieces.push(Gathered::default());
            pieces.len() - 1
        });
        if let Some(piece) = pieces.get_mut(index) {
            piece.counts += counts;
            piece.fields.push(field(content, whole));
        }
    }
    Ok(pieces)
}

//! The tables of the file, and what is read from them. Changes are made in `batch.rs`.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use redb::{ReadOnlyTable, ReadTransaction, ReadableTableMetadata as _, TableDefinition};

use crate::Id;
use crate::error::Fault;
use crate::format::{self, Stored};
use crate::letter::{Filter, Leaving, Letter, Summary};
use crate::totals::{Board, Key, Sums};

pub(crate) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
pub(crate) const LETTERS: TableDefinition<'_, Id, &[u8]> = TableDefinition::new("letters");
pub(crate) const PIECES: TableDefinition<'_, &[u8; 12], &[u8]> = TableDefinition::new("pieces");
pub(crate) const TAILS: TableDefinition<'_, Id, &[u8]> = TableDefinition::new("tails");
pub(crate) const INDEX: TableDefinition<'_, &[u8], ()> = TableDefinition::new("index");
pub(crate) const LEAVING: TableDefinition<'_, Id, u8> = TableDefinition::new("leaving");
pub(crate) const TOTALS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("totals");

/// Keys of the table `meta`.
pub(crate) const VERSION: &str = "version";
pub(crate) const NEXT_ID: &str = "next_id";
pub(crate) const LAST_PUT: &str = "last_put";

/// The store as of one transaction.
pub(crate) struct View {
    meta: ReadOnlyTable<&'static str, u64>,
    letters: ReadOnlyTable<Id, &'static [u8]>,
    pieces: ReadOnlyTable<&'static [u8; 12], &'static [u8]>,
    tails: ReadOnlyTable<Id, &'static [u8]>,
    index: ReadOnlyTable<&'static [u8], ()>,
    leaving: ReadOnlyTable<Id, u8>,
    totals: ReadOnlyTable<&'static [u8], &'static [u8]>,
}

impl View {
    pub(crate) fn open(transaction: &ReadTransaction) -> Result<Self, Fault> {
        Ok(Self {
            meta: transaction.open_table(META)?,
            letters: transaction.open_table(LETTERS)?,
            pieces: transaction.open_table(PIECES)?,
            tails: transaction.open_table(TAILS)?,
            index: transaction.open_table(INDEX)?,
            leaving: transaction.open_table(LEAVING)?,
            totals: transaction.open_table(TOTALS)?,
        })
    }

    pub(crate) fn next_id(&self) -> Result<Id, Fault> {
        self.meta(NEXT_ID)
    }

    /// Letters that match and are not leaving, behind `after`.
    pub(crate) fn list(&self, filter: &Filter, after: Id, limit: usize) -> Result<Vec<Summary>, Fault> {
        let mut found = Vec::new();
        self.visit(filter, after, |stored, leaving| {
            if leaving.is_none() && found.len() < limit {
                found.push(stored.summary);
            }
            Ok(found.len() < limit)
        })?;
        Ok(found)
    }

    /// The oldest letters that are not leaving and were put before the last put, until `excess` bytes are found.
    pub(crate) fn oldest(&self, mut excess: u64, limit: usize) -> Result<Vec<Summary>, Fault> {
        let mut found = Vec::new();
        let spared = self.meta(LAST_PUT)?;
        self.visit(&Filter::default(), 0, |stored, leaving| {
            if excess == 0 || found.len() >= limit || stored.summary.id >= spared {
                return Ok(false);
            }
            if leaving.is_none() {
                excess = excess.saturating_sub(stored.summary.disk_bytes());
                found.push(stored.summary);
            }
            Ok(true)
        })?;
        Ok(found)
    }

    pub(crate) fn leaving(&self, after: Id, limit: usize) -> Result<Vec<(Summary, Leaving)>, Fault> {
        let mut found = Vec::new();
        for entry in self.leaving.range(after.saturating_add(1)..)?.take(limit) {
            let (id, to) = entry?;
            let stored = self.stored(id.value())?;
            let stored =
                stored.ok_or_else(|| Fault::damaged(format!("letter {} leaves but is not there", id.value())))?;
            found.push((stored.summary, format::decode_leaving(to.value())?));
        }
        Ok(found)
    }

    pub(crate) fn get(&self, id: Id) -> Result<Option<Letter>, Fault> {
        let Some(Stored { summary, body_crc }) = self.stored(id)? else { return Ok(None) };
        let body = self.body(id, summary.body_bytes as usize)?;
        if body.len() != summary.body_bytes as usize || crc32c::crc32c(&body) != body_crc {
            return Err(Fault::damaged(format!("the body of letter {id} is not what was put")));
        }
        Ok(Some(Letter { envelope: summary.envelope, body }))
    }

    pub(crate) fn board(&self) -> Result<Board, Fault> {
        let mut all: BTreeMap<Key, Sums> = BTreeMap::new();
        for entry in self.totals.range::<&[u8]>(..)? {
            let (key, sums) = entry?;
            all.insert(format::decode_totals_key(key.value())?, format::decode_sums(sums.value())?);
        }
        let mut board = Board::default();
        board.publish(all);
        Ok(board)
    }

    /// Whether letters, index and totals are of the same number of letters, which costs nothing to ask.
    pub(crate) fn check_counts(&self, board: &Board) -> Result<(), Fault> {
        let (letters, leaving, index) = (self.letters.len()?, self.leaving.len()?, self.index.len()?);
        let sums = [board.sum(false).letters, board.sum(true).letters];
        if sums != [letters.wrapping_sub(leaving), leaving] || index != letters * format::INDEX_ENTRIES {
            return Err(Fault::damaged("letters, index and totals do not agree"));
        }
        Ok(())
    }

    fn meta(&self, key: &str) -> Result<u64, Fault> {
        let value = self.meta.get(key)?.map(|value| value.value());
        value.ok_or_else(|| Fault::damaged(format!("{key} is missing")))
    }

    /// Goes through letters that match, in the order of their ids, as long as `visit` says so.
    fn visit(
        &self,
        filter: &Filter,
        after: Id,
        mut visit: impl FnMut(Stored, Option<Leaving>) -> Result<bool, Fault>,
    ) -> Result<(), Fault> {
        for id in self.ids(filter, after)? {
            let id = id?;
            let stored = self.stored(id)?;
            let stored = stored.ok_or_else(|| Fault::damaged(format!("letter {id} is indexed but not there")))?;
            let leaving = self.leaving.get(id)?.map(|to| format::decode_leaving(to.value())).transpose()?;
            if !visit(stored, leaving)? {
                break;
            }
        }
        Ok(())
    }

    fn ids(&self, filter: &Filter, after: Id) -> Result<Box<dyn Iterator<Item = Result<Id, Fault>> + '_>, Fault> {
        let from = after.saturating_add(1);
        let Some(mut first) = format::index_prefix(filter.tenant.as_deref(), filter.endpoint.as_deref()) else {
            return Ok(Box::new(self.letters.range(from..)?.map(|entry| Ok(entry?.0.value()))));
        };
        let mut last = first.clone();
        first.extend(from.to_be_bytes());
        last.extend(Id::MAX.to_be_bytes());
        let entries = self.index.range(first.as_slice()..=last.as_slice())?;
        Ok(Box::new(entries.map(|entry| format::id_of(entry?.0.value()))))
    }

    fn stored(&self, id: Id) -> Result<Option<Stored>, Fault> {
        self.letters.get(id)?.map(|value| format::decode_summary(id, value.value())).transpose()
    }

    fn body(&self, id: Id, bytes: usize) -> Result<Bytes, Fault> {
        let mut body = BytesMut::with_capacity(bytes);
        for entry in self.pieces.range::<&[u8; 12]>(&format::piece_key(id, 0)..=&format::piece_key(id, u32::MAX))? {
            body.extend_from_slice(entry?.1.value());
        }
        if let Some(tail) = self.tails.get(id)? {
            body.extend_from_slice(tail.value());
        }
        Ok(body.freeze())
    }
}

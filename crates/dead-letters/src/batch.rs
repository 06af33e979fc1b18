//! The changes of one transaction. Letters, index, leaving and totals are changed together here and nowhere else.

use std::collections::BTreeMap;

use redb::{ReadableTable as _, Table, WriteTransaction};

use crate::Id;
use crate::error::Fault;
use crate::format::{self, MAX_EXAMPLE, MAX_WORDS, PIECE, Stored};
use crate::letter::{Envelope, Leaving, Letter, Removed, Summary};
use crate::tables::{INDEX, LAST_PUT, LEAVING, LETTERS, META, NEXT_ID, PIECES, TAILS, TOTALS};
use crate::totals::{Key, Sums};

/// What takes a transaction back that was reported to have failed, should it be in the file all the same. Does nothing
/// where it is not.
#[derive(Clone, Debug)]
pub(crate) enum Undo {
    /// Letters from this id on were put.
    Put(Id),
    /// These letters were marked.
    Marked(Vec<Id>),
}

pub(crate) struct Batch<'t> {
    meta: Table<'t, &'static str, u64>,
    letters: Table<'t, Id, &'static [u8]>,
    pieces: Table<'t, &'static [u8; 12], &'static [u8]>,
    tails: Table<'t, Id, &'static [u8]>,
    index: Table<'t, &'static [u8], ()>,
    leaving: Table<'t, Id, u8>,
    totals: Table<'t, &'static [u8], &'static [u8]>,
    /// Totals as they are when this is committed, those that differ.
    changed: BTreeMap<Key, Sums>,
    undo: Option<Undo>,
}

impl<'t> Batch<'t> {
    pub(crate) fn open(transaction: &'t WriteTransaction) -> Result<Self, Fault> {
        Ok(Self {
            meta: transaction.open_table(META)?,
            letters: transaction.open_table(LETTERS)?,
            pieces: transaction.open_table(PIECES)?,
            tails: transaction.open_table(TAILS)?,
            index: transaction.open_table(INDEX)?,
            leaving: transaction.open_table(LEAVING)?,
            totals: transaction.open_table(TOTALS)?,
            changed: BTreeMap::new(),
            undo: None,
        })
    }

    /// What the transaction changes of the totals, and how to take it back.
    pub(crate) fn close(self) -> (BTreeMap<Key, Sums>, Option<Undo>) {
        (self.changed, self.undo)
    }

    pub(crate) fn put(&mut self, letters: &[Letter]) -> Result<Vec<Id>, Fault> {
        let first = self.meta.get(NEXT_ID)?.map(|id| id.value());
        let first = first.ok_or_else(|| Fault::damaged("next_id is missing"))?;
        let ids: Vec<Id> = (first..).take(letters.len()).collect();
        for (id, letter) in ids.iter().zip(letters) {
            self.put_one(*id, letter)?;
        }
        self.meta.insert(NEXT_ID, first + letters.len() as u64)?;
        self.meta.insert(LAST_PUT, first)?;
        self.undo = Some(Undo::Put(first));
        Ok(ids)
    }

    fn put_one(&mut self, id: Id, letter: &Letter) -> Result<(), Fault> {
        let envelope = Envelope {
            words: format::cut(&letter.envelope.words, MAX_WORDS).to_owned(),
            example: format::cut(&letter.envelope.example, MAX_EXAMPLE).to_owned(),
            ..letter.envelope.clone()
        };
        let body = &letter.body;
        let value = format::encode_summary(&envelope, body.len() as u32, crc32c::crc32c(body));
        self.letters.insert(id, value.as_slice())?;
        let pieces = body.chunks_exact(PIECE);
        if !pieces.remainder().is_empty() {
            self.tails.insert(id, pieces.remainder())?;
        }
        for (number, piece) in (0..).zip(pieces) {
            self.pieces.insert(&format::piece_key(id, number), piece)?;
        }
        for key in format::index_keys(id, &envelope) {
            self.index.insert(key.as_slice(), ())?;
        }
        let summary = Summary { id, envelope, body_bytes: body.len() as u32 };
        self.adjust(&summary, false, Sums::add)
    }

    /// Marks those that are there and not marked, and returns them.
    pub(crate) fn mark(&mut self, ids: &[Id], to: Leaving) -> Result<Vec<Summary>, Fault> {
        let mut marked = Vec::new();
        for id in ids {
            let Some(Stored { summary, .. }) = self.stored(*id)? else { continue };
            if self.leaving.get(id)?.is_some() {
                continue;
            }
            self.leaving.insert(id, format::encode_leaving(to))?;
            self.adjust(&summary, false, Sums::subtract)?;
            self.adjust(&summary, true, Sums::add)?;
            marked.push(summary);
        }
        self.undo = Some(Undo::Marked(marked.iter().map(|summary| summary.id).collect()));
        Ok(marked)
    }

    /// Takes marks back, where there are any; returns how many.
    pub(crate) fn unmark(&mut self, ids: &[Id]) -> Result<u64, Fault> {
        let mut unmarked = 0;
        for id in ids {
            if self.leaving.remove(id)?.is_none() {
                continue;
            }
            let Some(Stored { summary, .. }) = self.stored(*id)? else {
                return Err(Fault::damaged(format!("letter {id} leaves but is not there")));
            };
            self.adjust(&summary, true, Sums::subtract)?;
            self.adjust(&summary, false, Sums::add)?;
            unmarked += 1;
        }
        Ok(unmarked)
    }

    /// Removes those that are marked; returns how many.
    pub(crate) fn remove_marked(&mut self, ids: &[Id]) -> Result<u64, Fault> {
        let mut removed = 0;
        for id in ids {
            if self.leaving.get(id)?.is_some() && self.remove(*id)?.is_some() {
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Removes letters, marked or not; returns how many.
    pub(crate) fn remove_all(&mut self, ids: &[Id]) -> Result<u64, Fault> {
        let mut removed = 0;
        for id in ids {
            removed += u64::from(self.remove(*id)?.is_some());
        }
        Ok(removed)
    }

    pub(crate) fn remove_unsettled(
        &mut self,
        (tenant, endpoint): (&str, &str),
        from: u64,
        is_settled: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Removed, Fault> {
        let mut first = format::position_prefix(tenant, endpoint);
        let mut last = first.clone();
        first.extend(from.to_be_bytes());
        last.extend([0xff; 16]);
        let mut unsettled = Vec::new();
        for entry in self.index.range(first.as_slice()..=last.as_slice())? {
            let (position, id) = format::position_and_id_of(entry?.0.value())?;
            if !is_settled(position) {
                unsettled.push(id);
            }
        }
        let mut removed = Removed::default();
        for id in unsettled {
            let Some(summary) = self.remove(id)? else { continue };
            removed.letters += 1;
            for (sum, n) in removed.counts.iter_mut().zip(summary.envelope.counts) {
                *sum = sum.saturating_add(n);
            }
        }
        Ok(removed)
    }

    pub(crate) fn undo(&mut self, undo: &Undo) -> Result<(), Fault> {
        match undo {
            Undo::Marked(ids) => self.unmark(ids).map(drop),
            Undo::Put(first) => {
                let ids: Result<Vec<Id>, Fault> =
                    self.letters.range(*first..)?.map(|entry| Ok(entry?.0.value())).collect();
                ids?.into_iter().try_for_each(|id| self.remove(id).map(drop))
            }
        }
    }

    fn remove(&mut self, id: Id) -> Result<Option<Summary>, Fault> {
        let Some(Stored { summary, .. }) = self.stored(id)? else { return Ok(None) };
        let is_leaving = self.leaving.remove(id)?.is_some();
        self.letters.remove(id)?;
        self.tails.remove(id)?;
        self.pieces
            .retain_in::<&[u8; 12], _>(&format::piece_key(id, 0)..=&format::piece_key(id, u32::MAX), |_, _| false)?;
        for key in format::index_keys(id, &summary.envelope) {
            self.index.remove(key.as_slice())?;
        }
        self.adjust(&summary, is_leaving, Sums::subtract)?;
        Ok(Some(summary))
    }

    fn stored(&self, id: Id) -> Result<Option<Stored>, Fault> {
        self.letters.get(id)?.map(|value| format::decode_summary(id, value.value())).transpose()
    }

    fn adjust(&mut self, summary: &Summary, is_leaving: bool, by: fn(&mut Sums, &Sums)) -> Result<(), Fault> {
        let key = Key::of(&summary.envelope, is_leaving);
        let stored_as = format::totals_key(&key);
        let stored =
            self.totals.get(stored_as.as_slice())?.map(|sums| format::decode_sums(sums.value())).transpose()?;
        let mut sums = stored.unwrap_or_default();
        by(&mut sums, &Sums { letters: 1, counts: summary.envelope.counts, bytes: summary.disk_bytes() });
        if sums.letters == 0 {
            self.totals.remove(stored_as.as_slice())?;
        } else {
            self.totals.insert(stored_as.as_slice(), format::encode_sums(&sums).as_slice())?;
        }
        self.changed.insert(key, sums);
        Ok(())
    }
}

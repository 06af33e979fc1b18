//! Dead letters: what endpoints refused for good, kept beside the log. Moves them in the books when they leave, and makes
//! the store and the books agree after a crash. Sends nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use dead_letters::{
    Envelope, Filter, Id, Leaving, Letter, OpenError, PutError, SetAside, Storage, Store, StoreError, Summary, Totals,
};
use remote_write::compression::{Compressor, DecompressError, Decompressor};
use remote_write::{Compression, Counts, Protocol};

use crate::ledger::{Dropped, Fate, Row};
use crate::record;

/// In the data directory.
const FILE: &str = "dead-letters.redb";
/// Letters that leave in one act.
const AT_ONCE: usize = 256;

/// The dead letters of all tenants and endpoints.
#[derive(Debug)]
pub(crate) struct DeadLetters {
    store: Store,
    /// Letters leave in one act after the other, so that after a crash it can be told what had moved.
    leaving: Mutex<()>,
    /// Books and letters are to be compared, until they agreed.
    may_disagree: AtomicBool,
}

/// A dead letter could not be moved.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MoveError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the books of {tenant} at {endpoint} cannot be written")]
    Books { tenant: String, endpoint: String, source: segment_log::SettleError },
    #[error("the cursors of {tenant} cannot be synced")]
    Sync { tenant: String, source: segment_log::IoFailure },
}

/// Finds the books of a tenant at an endpoint.
pub(crate) type FindRow<'f> = &'f dyn Fn(&str, &str) -> Option<Arc<Row>>;

/// How the body of a letter is stored: snappy, and this protocol.
pub(crate) const fn form_of(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::V1 => 1,
        Protocol::V2 => 2,
    }
}

/// The protocol of a letter's body; `None` if a later version wrote it.
pub(crate) const fn protocol_of(form: u8) -> Option<Protocol> {
    match form {
        1 => Some(Protocol::V1),
        2 => Some(Protocol::V2),
        _ => None,
    }
}

/// A request as the body of a letter.
pub(crate) fn body(request: &[u8]) -> Bytes {
    let mut compressed = Vec::new();
    // Snappy takes any bytes up to 4 GiB, and a request is far below.
    match Compressor::new().compress(Compression::Snappy, request, &mut compressed) {
        Ok(()) => Bytes::from(compressed),
        Err(error) => {
            tracing::error!(%error, "a dead letter could not be compressed");
            Bytes::new()
        }
    }
}

/// The request in a letter.
///
/// # Errors
/// When the body is not what was stored.
pub(crate) fn request_in(letter: &Letter) -> Result<Vec<u8>, DecompressError> {
    let mut request = Vec::new();
    let limit = letter.envelope.decoded_bytes as usize;
    Decompressor::new().decompress(Compression::Snappy, &letter.body, limit, &mut request)?;
    Ok(request)
}

impl DeadLetters {
    /// Opens the store in a data directory.
    ///
    /// # Errors
    /// When it cannot be opened, or another process has it.
    pub(crate) fn open(storage: Arc<dyn Storage>, directory: &Path, max_bytes: u64) -> Result<Self, OpenError> {
        let (store, opened) = Store::open_on(storage, &directory.join(FILE), max_bytes)?;
        if let Some(aside) = &opened.set_aside {
            report(aside);
        }
        Ok(Self { store, leaving: Mutex::default(), may_disagree: AtomicBool::new(true) })
    }

    pub(crate) fn set_max_bytes(&self, max_bytes: u64) {
        self.store.set_max_bytes(max_bytes);
    }

    /// Keeps letters, durably. Gives their ids, in order.
    ///
    /// # Errors
    /// When the disk fails or is full; nothing is kept then.
    pub(crate) fn put(&self, letters: &[Letter]) -> Result<Vec<Id>, PutError> {
        self.store.put(letters)
    }

    /// Removes letters that no books know of. Returns how many there were.
    ///
    /// # Errors
    /// When the disk fails.
    pub(crate) fn forget(&self, ids: &[Id]) -> Result<u64, StoreError> {
        let _one_at_a_time = self.leaving.lock().unwrap_or_else(PoisonError::into_inner);
        self.store.remove(ids)
    }

    /// Letters in the order of their ids, without their bodies.
    ///
    /// # Errors
    /// When the disk fails.
    pub(crate) fn list(&self, filter: &Filter, after: Option<Id>, limit: usize) -> Result<Vec<Summary>, StoreError> {
        self.store.list(filter, after, limit)
    }

    /// Those of these letters (rising) that are kept and match, at most `limit`, without their bodies.
    ///
    /// # Errors
    /// When the disk fails.
    pub(crate) fn pick(&self, ids: &[Id], filter: &Filter, limit: usize) -> Result<Vec<Summary>, StoreError> {
        let mut picked = Vec::new();
        for id in ids {
            let next = self.store.list(filter, Some(id.saturating_sub(1)), 1)?;
            picked.extend(next.into_iter().filter(|summary| summary.id == *id));
            if picked.len() == limit {
                break;
            }
        }
        Ok(picked)
    }

    /// A letter, if it is kept.
    ///
    /// # Errors
    /// When the disk fails.
    pub(crate) fn get(&self, id: Id) -> Result<Option<Letter>, StoreError> {
        self.store.get(id)
    }

    /// How much is kept, by tenant and endpoint.
    pub(crate) fn totals(&self) -> Totals {
        self.store.totals()
    }

    /// How many letters are kept, and how many bytes they take on disk.
    pub(crate) fn size(&self) -> (u64, u64) {
        (self.store.len(), self.store.bytes())
    }

    /// Lets letters go: their data points move in the books, then they are deleted. Those whose records are not settled yet
    /// stay: no books know of them, and after a crash they would be sent again. Blocks on the disk. Returns how many left.
    ///
    /// # Errors
    /// When the disk fails half-way. What was begun is finished by the next call, or by [`DeadLetters::reconcile`].
    pub(crate) fn leave(&self, ids: &[Id], to: Leaving, find: FindRow<'_>) -> Result<u64, MoveError> {
        let _one_at_a_time = self.leaving.lock().unwrap_or_else(PoisonError::into_inner);
        let left = self.finish_what_was_begun(find).and_then(|()| {
            ids.chunks(AT_ONCE).try_fold(0, |left, ids| {
                let marked = self.store.begin_leaving(&self.settled(ids, find)?, to)?;
                Ok(left + self.finish(&marked, to, find, false)?)
            })
        });
        if left.is_err() {
            self.may_disagree.store(true, Ordering::Relaxed);
        }
        left
    }

    /// Those of these letters whose records are settled.
    fn settled(&self, ids: &[Id], find: FindRow<'_>) -> Result<Vec<Id>, StoreError> {
        let mut there = self.pick(ids, &Filter::default(), ids.len())?;
        there.retain(|Summary { envelope, .. }| {
            find(&envelope.tenant, &envelope.endpoint).is_none_or(|row| row.is_settled(envelope.position))
        });
        Ok(there.iter().map(|summary| summary.id).collect())
    }

    /// Makes books and letters agree at a start, before anything is delivered.
    ///
    /// # Errors
    /// When the disk fails; [`DeadLetters::reconcile`] does the rest then, and each delivery forgets its own letters.
    pub(crate) fn recover(&self, rows: &[Arc<Row>]) -> Result<(), MoveError> {
        for row in rows.iter().filter(|row| row.plan().is_none() && self.has_letters_of(row)) {
            self.forget_unsettled(row)?;
        }
        self.reconcile(rows)
    }

    /// Whether books and letters are to be compared: after a start at which that failed, after letters could not leave, or after
    /// the store lost some (their file was damaged and set aside).
    pub(crate) fn may_disagree(&self) -> bool {
        let aside = self.store.take_set_aside();
        aside.iter().for_each(report);
        self.may_disagree.fetch_or(!aside.is_empty(), Ordering::Relaxed) || !aside.is_empty()
    }

    /// Makes books and letters agree, also while more are put and booked.
    ///
    /// # Errors
    /// When the disk fails; to be called again.
    pub(crate) fn reconcile(&self, rows: &[Arc<Row>]) -> Result<(), MoveError> {
        let _one_at_a_time = self.leaving.lock().unwrap_or_else(PoisonError::into_inner);
        let rows: Vec<_> = rows.iter().filter(|row| row.plan().is_none()).collect();
        self.finish_what_was_begun(&|tenant, endpoint| {
            let is_theirs = |row: &&&Arc<Row>| row.tenant.as_str() == tenant && row.endpoint == endpoint;
            rows.iter().find(is_theirs).map(|row| Arc::clone(row))
        })?;
        // The books first. Letters are put before they are booked: read the other way round, what is put and booked in
        // between would seem to be lost.
        let booked: Vec<_> = rows.into_iter().map(|row| (row, row.balance().books.dead_lettered)).collect();
        let kept = self.store.totals();
        let mut agree = true;
        for (row, booked) in booked {
            let kept = kept.get(&(row.tenant.to_string(), row.endpoint.clone())).map_or(&[][..], Vec::as_slice);
            for total in booked {
                let there = kept.iter().find(|there| there.reason == total.reason);
                let there = there.map_or_else(Counts::default, |there| record::from_array(there.counts));
                let lost = total.counts.saturating_sub(there);
                if lost.is_zero() {
                    continue;
                }
                tracing::error!(
                    tenant = %row.tenant,
                    endpoint = row.endpoint,
                    ?lost,
                    "dead letters are lost; they are booked as evicted"
                );
                move_counts(row, &total.reason, lost, Leaving::Evicted, 0)?;
                // What was kept and not booked yet may have hidden others.
                agree = false;
            }
        }
        self.may_disagree.store(!agree, Ordering::Relaxed);
        Ok(())
    }

    fn finish_what_was_begun(&self, find: FindRow<'_>) -> Result<(), MoveError> {
        loop {
            let begun = self.store.leaving(None, AT_ONCE)?;
            let Some((_, to)) = begun.first() else { return Ok(()) };
            let same = begun.iter().filter(|(_, other)| other == to).map(|(summary, _)| summary);
            let same: Vec<Summary> = same.cloned().collect();
            self.finish(&same, *to, find, true)?;
        }
    }

    /// Moves marked letters in the books, and deletes them. Of each reason all have moved before, or none: one act is
    /// finished before the next begins, and the books say where the last move began.
    fn finish(&self, marked: &[Summary], to: Leaving, find: FindRow<'_>, was_begun: bool) -> Result<u64, MoveError> {
        let mut left = 0;
        for ((tenant, endpoint, reason), group) in by_reason(marked) {
            if let Some(row) = find(&tenant, &endpoint) {
                // What was settled when it was marked, and is not after a power cut, will be sent again.
                let settled = group.iter().filter(|letter| row.is_settled(letter.envelope.position));
                let settled: Vec<&Summary> = settled.copied().collect();
                let first = settled.iter().map(|letter| letter.id).min();
                match first {
                    Some(first) if was_begun && row.last_moved() == first => sync(&row)?,
                    Some(first) => move_in_books(&row, &reason, &settled, to, first)?,
                    None => {}
                }
            }
            left += self.store.finish_leaving(&ids_of(&group))?;
        }
        Ok(left)
    }

    /// Whether a row has letters, those that are leaving among them. Hardly any has, and asking is free where a change is a
    /// sync.
    pub(crate) fn has_letters_of(&self, row: &Row) -> bool {
        let key = (row.tenant.to_string(), row.endpoint.clone());
        let has_letters = |totals: Totals| totals.contains_key(&key);
        self.store.bytes() > 0 && (has_letters(self.store.totals()) || has_letters(self.store.leaving_totals()))
    }

    /// Deletes the letters of records that were never settled: they will be sent again. Returns how many.
    ///
    /// # Errors
    /// When the disk fails.
    pub(crate) fn forget_unsettled(&self, row: &Row) -> Result<u64, StoreError> {
        let is_settled = &mut |position| row.is_settled(position);
        Ok(self.store.remove_unsettled(row.tenant.as_str(), &row.endpoint, row.low(), is_settled)?.letters)
    }

    /// Lets the oldest letters go until the rest is within the bound. Returns how many.
    ///
    /// # Errors
    /// When the disk fails.
    pub(crate) fn evict(&self, find: FindRow<'_>) -> Result<u64, MoveError> {
        let mut evicted = 0;
        loop {
            let over = self.store.over(AT_ONCE)?;
            if over.is_empty() {
                return Ok(evicted);
            }
            let ids: Vec<Id> = over.iter().map(|summary| summary.id).collect();
            match self.leave(&ids, Leaving::Evicted, find)? {
                // They are being booked.
                0 => return Ok(evicted),
                left => evicted += left,
            }
        }
    }
}

fn report(aside: &SetAside) {
    tracing::error!(
        moved_to = %aside.to.display(),
        why = aside.why,
        "the file of dead letters was damaged and has been set aside; a new one has begun"
    );
}

/// By tenant, endpoint and reason.
fn by_reason(letters: &[Summary]) -> BTreeMap<(String, String, String), Vec<&Summary>> {
    let mut groups: BTreeMap<_, Vec<&Summary>> = BTreeMap::new();
    for letter in letters {
        let Envelope { tenant, endpoint, reason, .. } = &letter.envelope;
        groups.entry((tenant.clone(), endpoint.clone(), reason.clone())).or_default().push(letter);
    }
    groups
}

fn ids_of(letters: &[&Summary]) -> Vec<Id> {
    letters.iter().map(|letter| letter.id).collect()
}

fn move_in_books(row: &Row, reason: &str, letters: &[&Summary], to: Leaving, first: Id) -> Result<(), MoveError> {
    let counts = letters.iter().map(|letter| record::from_array(letter.envelope.counts));
    move_counts(row, reason, counts.fold(Counts::default(), |sum, counts| sum + counts), to, first)
}

/// On disk when this returns, so that letters never go before it is known where their data points went.
fn move_counts(row: &Row, reason: &str, counts: Counts, to: Leaving, first: Id) -> Result<(), MoveError> {
    let fate = match to {
        Leaving::Delivered => Fate::Delivered,
        Leaving::Dropped => Fate::Dropped(Dropped::LetterLetGo),
        Leaving::Evicted => Fate::Dropped(Dropped::LetterEvicted),
    };
    let moved = row.move_dead_letters(reason, counts, fate, first);
    let not_written =
        |source| MoveError::Books { tenant: row.tenant.to_string(), endpoint: row.endpoint.clone(), source };
    if !moved.map_err(not_written)? {
        tracing::error!(
            tenant = %row.tenant,
            endpoint = row.endpoint,
            ?counts,
            "the books have fewer dead letters than the store"
        );
    }
    sync(row)
}

fn sync(row: &Row) -> Result<(), MoveError> {
    let not_synced = |source| MoveError::Sync { tenant: row.tenant.to_string(), source };
    row.cursor().log().sync_cursors().map_err(not_synced)
}

#[cfg(test)]
mod tests;

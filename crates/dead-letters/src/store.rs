//! The store: one file, one writer at a time, and what makes it whole again after a failure.
//!
//! Knows nothing of keys and values; those are in `tables.rs` and `batch.rs`.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use redb::Database;

use crate::Id;
use crate::backend::Backend;
use crate::batch::{Batch, Undo};
use crate::database::{self, Unopened};
use crate::error::{Fault, OpenError, PutError, StoreError};
use crate::format::{MAX_BODY, MAX_NAME, VERSION};
use crate::letter::{Filter, Leaving, Letter, Removed, Summary};
use crate::storage::{FileStorage, Storage};
use crate::tables::View;
use crate::totals::{Board, Key, Sums, Totals};

/// What a file takes at least, and may take above its bound before it is compacted: pages that are free only after the next
/// transactions, and what file systems reserve ahead.
const SLACK: u64 = 4 << 20;

/// The ids of a file that follows one set aside begin at a multiple of this: which ids that one gave out can no longer be read.
const IDS_PER_FILE: Id = 1 << 40;

/// A file of dead letters.
///
/// All methods block on the disk, except [`Store::totals`], [`Store::leaving_totals`], [`Store::len`], [`Store::bytes`] and
/// [`Store::set_max_bytes`]. A call that changes something may compact the file, which takes as long as writing what is in it.
/// After a failure of the disk each call tries again; nothing that was put is lost.
#[derive(Debug)]
pub struct Store {
    storage: Arc<dyn Storage>,
    path: PathBuf,
    max_bytes: AtomicU64,
    state: RwLock<State>,
    board: Mutex<Board>,
    set_aside: Mutex<Vec<SetAside>>,
}

#[derive(Debug)]
struct State {
    backend: Arc<Backend>,
    /// `None` after a failure: to be opened again.
    database: Option<Database>,
    /// What failed last may be in the file, until this was done.
    undo: Option<Undo>,
    /// Something could not be read: the next opening checks every page.
    is_suspect: bool,
    next_id: Id,
    /// What the file took, and its letters, when a compaction did not bring it within the bound.
    futile: Option<(u64, u64)>,
}

/// What was found when a store was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenReport {
    /// A file that was damaged beyond repair, and where it is now.
    pub set_aside: Option<SetAside>,
    /// Letters kept, those that are leaving not counted.
    pub letters: u64,
    /// Letters whose leaving was begun and not finished: see [`Store::leaving`].
    pub leaving: u64,
    /// What all of them take on the disk.
    pub bytes: u64,
}

/// A file that was damaged beyond repair was renamed, and a new one begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// Its name now.
    pub to: PathBuf,
    /// What was found.
    pub why: String,
}

impl Store {
    /// Opens the file at `path`, or begins it; its directory must exist. `max_bytes` bounds what letters take on the disk, see
    /// [`Store::over`].
    ///
    /// # Errors
    /// When the disk fails, another process has the file open, or a later version wrote it: then nothing was changed.
    pub fn open(path: &Path, max_bytes: u64) -> Result<(Self, OpenReport), OpenError> {
        Self::open_on(Arc::new(FileStorage), path, max_bytes)
    }

    /// The same on another file system.
    ///
    /// # Errors
    /// Those of [`Store::open`].
    pub fn open_on(storage: Arc<dyn Storage>, path: &Path, max_bytes: u64) -> Result<(Self, OpenReport), OpenError> {
        let not_opened = |unopened| match unopened {
            Unopened::Newer(version) => OpenError::NewerVersion { path: path.into(), version, supported: VERSION },
            Unopened::Fault(Fault::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                OpenError::Locked { path: path.into() }
            }
            Unopened::Fault(fault) => OpenError::Store(fault.at("open", path)),
        };
        let state = first_state(&*storage, path).map_err(|fault| not_opened(fault.into()))?;
        let store = Self {
            storage,
            path: path.to_path_buf(),
            max_bytes: AtomicU64::new(max_bytes),
            state: RwLock::new(state),
            board: Mutex::default(),
            set_aside: Mutex::default(),
        };
        store.recover(&mut store.exclusive()).map_err(not_opened)?;
        let [staying, leaving] = [false, true].map(|is_leaving| store.board().sum(is_leaving));
        let report = OpenReport {
            set_aside: store.take_set_aside().pop(),
            letters: staying.letters,
            leaving: leaving.letters,
            bytes: staying.bytes.wrapping_add(leaving.bytes),
        };
        Ok((store, report))
    }

    /// Closes the file; dropping the store does the same and hides errors. Nothing is lost either way.
    ///
    /// # Errors
    /// When the disk fails; the next opening then recovers.
    pub fn close(self) -> Result<(), StoreError> {
        self.shut()
    }

    fn shut(&self) -> Result<(), StoreError> {
        let mut state = self.exclusive();
        let state = &mut *state;
        let shut = database::guarded(|| {
            if state.undo.is_some() {
                self.recovered(state)?;
                state.release()?;
            }
            Ok(state.database.take().map_or(Ok(()), Database::close)?)
        });
        shut.map_err(|fault| fault.at("close", &self.path))
    }

    /// Keeps letters, all or none; they are durable on return. Returns their ids, in the same order.
    ///
    /// # Errors
    /// When a letter is too long to be kept, or the disk is full ([`PutError::is_no_space`]) or fails. None is kept then; should
    /// the process die before another call succeeds or the store is closed, they may be found all the same.
    pub fn put(&self, letters: &[Letter]) -> Result<Vec<Id>, PutError> {
        letters.iter().try_for_each(check_lengths)?;
        if letters.is_empty() {
            return Ok(Vec::new());
        }
        Ok(self.write("put into", |batch| batch.put(letters))?)
    }

    /// Up to `limit` letters that match and are not leaving, in the order of their ids, from behind `after` on.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn list(&self, filter: &Filter, after: Option<Id>, limit: usize) -> Result<Vec<Summary>, StoreError> {
        self.read("list", |view| view.list(filter, after.unwrap_or(0), limit))
    }

    /// A letter with its body, also if it is leaving; `None` if there is none.
    ///
    /// # Errors
    /// When the disk fails, or the body is not what was put.
    pub fn get(&self, id: Id) -> Result<Option<Letter>, StoreError> {
        self.read("read", |view| view.get(id))
    }

    /// Sums of the letters that are not leaving.
    pub fn totals(&self) -> Totals {
        self.board().totals(false)
    }

    /// Sums of the letters that are leaving.
    pub fn leaving_totals(&self) -> Totals {
        self.board().totals(true)
    }

    /// How many letters there are, those that are leaving not counted.
    pub fn len(&self) -> u64 {
        self.board().sum(false).letters
    }

    /// Whether there are none, those that are leaving not counted.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What all letters take on the disk, also those that are leaving: with keys, indices and pages partly filled, estimated.
    pub fn bytes(&self) -> u64 {
        let board = self.board();
        board.sum(false).bytes.wrapping_add(board.sum(true).bytes)
    }

    /// The bound in bytes.
    pub fn max_bytes(&self) -> u64 {
        self.max_bytes.load(Ordering::Relaxed)
    }

    /// Changes the bound; what is above it is told by [`Store::over`].
    pub fn set_max_bytes(&self, max_bytes: u64) {
        self.max_bytes.store(max_bytes, Ordering::Relaxed);
    }

    /// The oldest letters, at most `limit`, that have to leave so that the others are within the bound: none when they are. The
    /// letters of the last put are never among them, whatever they take.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn over(&self, limit: usize) -> Result<Vec<Summary>, StoreError> {
        let excess = self.board().sum(false).bytes.saturating_sub(self.max_bytes());
        if excess == 0 {
            return Ok(Vec::new());
        }
        self.read("list", |view| view.oldest(excess, limit))
    }

    /// Marks letters as leaving, durably, and returns those that were not marked before: the caller moves its books for these.
    /// Ids that are not there are passed over.
    ///
    /// # Errors
    /// When the disk is full or fails. None is marked then, with the exception that [`Store::put`] makes.
    pub fn begin_leaving(&self, ids: &[Id], to: Leaving) -> Result<Vec<Summary>, StoreError> {
        self.write("mark", |batch| batch.mark(ids, to))
    }

    /// Deletes letters that are marked, durably; others are passed over. Returns how many were deleted.
    ///
    /// # Errors
    /// When the disk is full or fails: all are still there, or, if the call is repeated, none.
    pub fn finish_leaving(&self, ids: &[Id]) -> Result<u64, StoreError> {
        self.write("delete from", |batch| batch.remove_marked(ids))
    }

    /// Deletes letters that no books know of, durably, marked or not; ids that are not there are passed over. Returns how many
    /// were deleted.
    ///
    /// # Errors
    /// When the disk is full or fails: all are still there, or, if the call is repeated, none.
    pub fn remove(&self, ids: &[Id]) -> Result<u64, StoreError> {
        self.write("delete from", |batch| batch.remove_all(ids))
    }

    /// Takes marks back, durably; ids without are passed over. Returns how many were taken back.
    ///
    /// # Errors
    /// When the disk is full or fails; to be called again.
    pub fn cancel_leaving(&self, ids: &[Id]) -> Result<u64, StoreError> {
        self.write("unmark", |batch| batch.unmark(ids))
    }

    /// Up to `limit` letters whose leaving was begun and not finished, in the order of their ids, from behind `after` on.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn leaving(&self, after: Option<Id>, limit: usize) -> Result<Vec<(Summary, Leaving)>, StoreError> {
        self.read("list", |view| view.leaving(after.unwrap_or(0), limit))
    }

    /// Deletes a row's letters at `from` or later positions that are not settled, also if they are leaving: their records will be
    /// sent again, and no books know of them. Reads no letters but those it deletes; `from` spares it the settled ones.
    ///
    /// # Errors
    /// When the disk is full or fails; to be called again.
    pub fn remove_unsettled(
        &self,
        tenant: &str,
        endpoint: &str,
        from: u64,
        is_settled: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Removed, StoreError> {
        self.write("delete from", |batch| batch.remove_unsettled((tenant, endpoint), from, is_settled))
    }

    /// Files that were set aside since this was last asked.
    pub fn take_set_aside(&self) -> Vec<SetAside> {
        std::mem::take(&mut *self.set_aside.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn read<T>(&self, operation: &'static str, run: impl Fn(&View) -> Result<T, Fault>) -> Result<T, StoreError> {
        let attempt = |database: &Database| database::guarded(|| run(&database::view(database)?));
        let first = self.shared().database.as_ref().map(attempt);
        if let Some(Ok(found)) = first {
            return Ok(found);
        }
        let mut state = self.exclusive();
        if let Some(Err(fault)) = &first {
            state.fail(fault);
        }
        let found = self.recovered(&mut state).and_then(attempt);
        found.map_err(|fault| {
            state.fail(&fault);
            fault.at(operation, &self.path)
        })
    }

    fn write<T>(
        &self,
        operation: &'static str,
        run: impl FnOnce(&mut Batch<'_>) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        let mut state = self.exclusive();
        let state = &mut *state;
        let done = database::guarded(|| {
            self.recovered(state)?;
            state.release()?;
            state.commit(run)
        });
        match done {
            Ok((value, changed)) => {
                self.board().publish(changed);
                self.compact_if_it_pays(state);
                Ok(value)
            }
            Err(fault) => {
                state.fail(&fault);
                Err(fault.at(operation, &self.path))
            }
        }
    }

    /// The database, opened again if it failed.
    fn recovered<'s>(&self, state: &'s mut State) -> Result<&'s Database, Fault> {
        self.recover(state).map_err(|unopened| match unopened {
            Unopened::Fault(fault) => fault,
            Unopened::Newer(version) => {
                io::Error::other(format!("a program of format version {version} wrote it")).into()
            }
        })?;
        state.database.as_ref().ok_or_else(|| Fault::Io(io::ErrorKind::NotConnected.into()))
    }

    fn recover(&self, state: &mut State) -> Result<(), Unopened> {
        if state.database.is_some() {
            return Ok(());
        }
        match self.open_database(state) {
            // Every page is checked before a file is given up.
            Err(Unopened::Fault(Fault::Damaged(_))) if !state.is_suspect => {
                state.is_suspect = true;
                self.recover(state)
            }
            Err(Unopened::Fault(Fault::Damaged(why))) => Ok(self.replace(state, why)?),
            opened => opened,
        }
    }

    fn open_database(&self, state: &mut State) -> Result<(), Unopened> {
        let database = database::open(&state.backend, state.is_suspect)?;
        let (board, next_id) = database::guarded(|| {
            if let Some(undo) = &state.undo {
                let transaction = database::begin_write(&database)?;
                let mut batch = Batch::open(&transaction)?;
                batch.undo(undo)?;
                drop(batch);
                transaction.commit()?;
            }
            let view = database::view(&database)?;
            let board = view.board()?;
            view.check_counts(&board)?;
            Ok((board, view.next_id()?))
        })?;
        *self.board() = board;
        state.next_id = state.next_id.max(next_id);
        state.is_suspect = false;
        state.database = Some(database);
        Ok(())
    }

    /// Sets the file aside and begins a new one.
    fn replace(&self, state: &mut State, why: String) -> Result<(), Fault> {
        // It may have been renamed already, when no new one could be begun.
        if self.storage.exists(&self.path)? {
            let (_, to) = free_name(&*self.storage, &self.path)?;
            self.storage.rename(&self.path, &to)?;
            self.set_aside.lock().unwrap_or_else(PoisonError::into_inner).push(SetAside { to, why });
        }
        *state = begin(&*self.storage, &self.path, (state.next_id / IDS_PER_FILE + 1) * IDS_PER_FILE)?;
        *self.board() = Board::default();
        Ok(())
    }

    fn compact_if_it_pays(&self, state: &mut State) {
        let bytes = self.bytes();
        let bound = self.max_bytes().max(bytes);
        let bound = bound.saturating_add(bound / 2).saturating_add(SLACK);
        let (Ok(allocated), Some(database)) = (state.backend.allocated(), &mut state.database) else { return };
        // What did not help once helps when there is a quarter more to give back.
        let is_futile = |(took, letters): (u64, u64)| allocated <= took + took / 4 && bytes >= letters - letters / 4;
        if allocated <= bound || state.futile.is_some_and(is_futile) {
            return;
        }
        // What was asked for is done and durable; a failure is met again by the next call.
        if let Err(fault) = database::compact(database) {
            return state.fail(&fault);
        }
        let took = state.backend.allocated().unwrap_or(allocated);
        state.futile = (took > bound).then_some((took, bytes));
    }

    fn shared(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn exclusive(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.shut().unwrap_or_default();
    }
}

impl State {
    fn new(backend: Arc<Backend>, database: Option<Database>, next_id: Id) -> Self {
        Self { backend, database, undo: None, is_suspect: false, next_id, futile: None }
    }

    /// Lets changes through to the file; what had to be undone is, then.
    fn release(&mut self) -> Result<(), Fault> {
        self.backend.release()?;
        self.undo = None;
        Ok(())
    }

    fn commit<T>(
        &mut self,
        run: impl FnOnce(&mut Batch<'_>) -> Result<T, Fault>,
    ) -> Result<(T, BTreeMap<Key, Sums>), Fault> {
        let database = self.database.as_ref().ok_or_else(|| Fault::Io(io::ErrorKind::NotConnected.into()))?;
        let transaction = database::begin_write(database)?;
        let mut batch = Batch::open(&transaction)?;
        let value = run(&mut batch)?;
        let (changed, undo) = batch.close();
        self.undo = undo;
        transaction.commit()?;
        self.undo = None;
        Ok((value, changed))
    }

    /// Lets go of the database: after a failure it serves no more.
    fn fail(&mut self, fault: &Fault) {
        self.database = None;
        self.is_suspect |= matches!(fault, Fault::Damaged(_));
    }
}

fn first_state(storage: &dyn Storage, path: &Path) -> Result<State, Fault> {
    if storage.exists(path)? {
        return Ok(State::new(Backend::new(storage.open(path)?), None, 0));
    }
    begin(storage, path, 1)
}

/// Begins a file beside `path` and gives it that name when all that makes it one is durable. Its ids begin at `first`, or above
/// those of the files that were set aside.
fn begin(storage: &dyn Storage, path: &Path, first: Id) -> Result<State, Fault> {
    let new = with_suffix(path, "new");
    let file = storage.open(&new)?;
    // Somebody else may have come first, and holds it.
    if storage.exists(path)? {
        return Ok(State::new(Backend::new(storage.open(path)?), None, 0));
    }
    file.set_size(0)?;
    let (number, _) = free_name(storage, path)?;
    let first = first.max((number - 1).saturating_mul(IDS_PER_FILE));
    let backend = Backend::new(file);
    let database = database::begin(&backend, first)?;
    storage.rename(&new, path)?;
    Ok(State::new(backend, Some(database), first))
}

/// A name for a file that is set aside, and its number, from 1.
fn free_name(storage: &dyn Storage, path: &Path) -> io::Result<(u64, PathBuf)> {
    let mut number = 1;
    loop {
        let name = with_suffix(path, &format!("damaged-{number}"));
        if !storage.exists(&name)? {
            return Ok((number, name));
        }
        number += 1;
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

fn check_lengths(letter: &Letter) -> Result<(), PutError> {
    let envelope = &letter.envelope;
    let lengths = [
        ("tenant", envelope.tenant.len(), MAX_NAME),
        ("endpoint", envelope.endpoint.len(), MAX_NAME),
        ("reason", envelope.reason.len(), MAX_NAME),
        ("body", letter.body.len(), MAX_BODY),
    ];
    match lengths.into_iter().find(|(_, bytes, max)| bytes > max) {
        Some((field, bytes, max)) => Err(PutError::TooLong { field, bytes, max }),
        None => Ok(()),
    }
}

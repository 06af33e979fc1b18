//! The two files in which a log keeps its cursors: reserved space, one file in use, the other for the next generation.
//! Knows entries as bytes; what they mean is the business of `cursors.rs`.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::format::{ALIGN, CURSOR_FILES, NotAHeader, VERSION, new_epoch, put, seed, u32_at, u64_at};
use crate::storage::{Access, At, IoFailure, Storage, StorageFile, read_full, write_all, write_zeros};
use crate::store::OpenError;

/// Smallest size of each file.
pub(crate) const MIN_CAPACITY: u64 = 64 << 10;
/// No entry is larger, so that a damaged size is not believed.
const MAX_PAYLOAD: usize = 32 << 10;
const HEADER: usize = 64;
const ENTRY_HEADER: usize = 24;
const MAGIC: [u8; 8] = *b"WGATECUR";
const ENTRY_MAGIC: [u8; 4] = *b"WGCE";

/// What an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Cursor = 1,
    Forgotten = 2,
    Mark = 3,
}

/// An entry as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) sequence: u64,
    pub(crate) kind: Kind,
    pub(crate) payload: Vec<u8>,
}

/// Both files of one log.
#[derive(Debug)]
pub(crate) struct CursorFiles {
    storage: Arc<dyn Storage>,
    paths: [PathBuf; 2],
    /// Which file is in use.
    current: usize,
    /// The file in use, unless the log is idle.
    file: Option<Arc<dyn StorageFile>>,
    generation: u64,
    seed: u32,
    capacity: u64,
    end: u64,
    sequence: u64,
    /// Written to since the last sync.
    dirty: bool,
    /// Nothing more goes into the file in use: a write or sync failed, or an earlier process wrote it.
    spent: bool,
}

impl CursorFiles {
    /// Files that are still to be created, by the first [`CursorFiles::switch`].
    pub(crate) fn new(storage: Arc<dyn Storage>, dir: &Path) -> Self {
        Self {
            storage,
            paths: CURSOR_FILES.map(|name| dir.join(name)),
            current: 1,
            file: None,
            generation: 0,
            seed: 0,
            capacity: 0,
            end: 0,
            sequence: 0,
            dirty: false,
            spent: true,
        }
    }

    /// Reads the entries of the file in use, in no particular order; `None` if neither file is sound.
    pub(crate) fn load(&mut self) -> Result<Option<Vec<Entry>>, OpenError> {
        let mut entries = None;
        for index in 0..2 {
            let path = &self.paths[index];
            let bytes = match read_file(self.storage.as_ref(), path) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(IoFailure::new("read", path, error).into()),
            };
            match load(&bytes) {
                Ok(loaded) if entries.is_none() || loaded.generation > self.generation => {
                    self.current = index;
                    self.generation = loaded.generation;
                    self.seed = loaded.seed;
                    self.capacity = bytes.len() as u64;
                    self.sequence = loaded.entries.iter().map(|entry| entry.sequence + 1).max().unwrap_or(0);
                    entries = Some(loaded.entries);
                }
                Ok(_) | Err(NotAHeader::Damaged) => {}
                Err(NotAHeader::NewerVersion(found)) => {
                    return Err(OpenError::NewerVersion { path: path.clone(), found, known: VERSION });
                }
            }
        }
        Ok(entries)
    }

    /// Whether an entry of that size can be written without a switch.
    pub(crate) fn has_room(&self, payload: usize) -> bool {
        !self.spent && self.end + stored_len(payload) <= self.capacity
    }

    /// Bytes of each file.
    pub(crate) fn capacity(&self) -> u64 {
        self.capacity
    }

    pub(crate) fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// Whether a sync had better be a switch: the file is spent, or more than half full.
    pub(crate) fn wants_switch(&self) -> bool {
        self.spent || self.end > self.capacity / 2
    }

    /// Writes one entry into the file in use, for which there must be room.
    pub(crate) fn append(&mut self, kind: Kind, payload: &[u8]) -> Result<(), IoFailure> {
        let mut bytes = Vec::with_capacity(payload.len() + ENTRY_HEADER + 8);
        put_entry(&mut bytes, self.seed, self.sequence, kind, payload);
        let path = self.paths[self.current].clone();
        let file = self.open_current()?;
        self.dirty = true;
        if let Err(failure) = write_all(file.as_ref(), &mut [IoSlice::new(&bytes)], self.end).at("write", &path) {
            self.spent = true;
            return Err(failure);
        }
        self.sequence += 1;
        self.end += bytes.len() as u64;
        Ok(())
    }

    /// The file that a sync is for, to be synced without holding a lock; report back with [`CursorFiles::synced`].
    pub(crate) fn start_sync(&mut self) -> Result<Arc<dyn StorageFile>, IoFailure> {
        let file = self.open_current()?;
        self.dirty = false;
        Ok(file)
    }

    /// Takes the result of a sync.
    pub(crate) fn synced(&mut self, file: &Arc<dyn StorageFile>, result: io::Result<()>) -> Result<(), IoFailure> {
        let failure = result.at("sync", &self.paths[self.current]);
        if failure.is_err() && self.file.as_ref().is_some_and(|current| Arc::ptr_eq(current, file)) {
            self.spent = true;
            self.dirty = true;
        }
        failure
    }

    /// Writes a whole snapshot to the other file under the next generation, syncs it, and goes on there. Needs no
    /// space unless `capacity` is above what both files have.
    pub(crate) fn switch(&mut self, snapshot: &[(Kind, Vec<u8>)], capacity: u64) -> Result<(), IoFailure> {
        let target = 1 - self.current;
        let epoch = new_epoch();
        let seed = seed(epoch);
        let mut bytes = vec![0; HEADER];
        for (sequence, (kind, payload)) in (self.sequence..).zip(snapshot) {
            put_entry(&mut bytes, seed, sequence, *kind, payload);
        }
        let needed = (bytes.len() as u64).max(capacity).max(MIN_CAPACITY).max(self.capacity);
        let capacity = needed.next_power_of_two();
        let snapshot_len = (bytes.len() - HEADER) as u32;
        let snapshot_crc = crc32c::crc32c_append(seed, &bytes[HEADER..]);
        put(&mut bytes, 0, &MAGIC);
        put(&mut bytes, 8, &VERSION.to_le_bytes());
        put(&mut bytes, 12, &(HEADER as u32).to_le_bytes());
        put(&mut bytes, 16, &(self.generation + 1).to_le_bytes());
        put(&mut bytes, 24, &epoch.to_le_bytes());
        put(&mut bytes, 32, &snapshot_len.to_le_bytes());
        put(&mut bytes, 36, &snapshot_crc.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..HEADER - 4]);
        put(&mut bytes, HEADER - 4, &crc.to_le_bytes());

        let file = self.reserve(target, capacity)?;
        let path = &self.paths[target];
        // Whatever happens from here on, this generation is used up: half of it may reach the disk, or all of it. A start would
        // then not look into the file in use, so nothing more may go there.
        self.generation += 1;
        self.spent = true;
        write_all(file.as_ref(), &mut [IoSlice::new(&bytes)], 0).at("write", path)?;
        file.sync().at("sync", path)?;
        self.current = target;
        self.file = Some(file);
        self.seed = seed;
        self.sequence += snapshot.len() as u64;
        self.end = bytes.len() as u64;
        self.capacity = capacity;
        self.dirty = false;
        self.spent = false;
        Ok(())
    }

    /// Gives the file that is not in use as much space as the other has, so that the next switch needs none.
    pub(crate) fn reserve_other(&mut self) -> Result<(), IoFailure> {
        let target = 1 - self.current;
        let file = self.reserve(target, self.capacity)?;
        file.sync().at("sync", &self.paths[target])
    }

    /// Closes the file until it is needed again.
    pub(crate) fn close(&mut self) {
        self.file = None;
    }

    fn open_current(&mut self) -> Result<Arc<dyn StorageFile>, IoFailure> {
        if let Some(file) = &self.file {
            return Ok(Arc::clone(file));
        }
        let path = &self.paths[self.current];
        let file = self.storage.open(path, Access::Write).at("open", path)?;
        self.file = Some(Arc::clone(&file));
        Ok(file)
    }

    fn reserve(&self, index: usize, capacity: u64) -> Result<Arc<dyn StorageFile>, IoFailure> {
        let path = &self.paths[index];
        let (file, created) = match self.storage.open(path, Access::Write) {
            Ok(file) => (file, false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                (self.storage.open(path, Access::Create).at("create", path)?, true)
            }
            Err(error) => return Err(IoFailure::new("open", path, error)),
        };
        let size = file.size().at("measure", path)?;
        write_zeros(file.as_ref(), size, capacity).at("write", path)?;
        if created {
            let dir = path.parent().unwrap_or(path);
            self.storage.sync_dir(dir).at("sync", dir)?;
        }
        Ok(file)
    }
}

/// Bytes in the file of an entry.
pub(crate) fn stored_len(payload: usize) -> u64 {
    ((ENTRY_HEADER + payload) as u64).next_multiple_of(ALIGN)
}

fn read_file(storage: &dyn Storage, path: &Path) -> io::Result<Vec<u8>> {
    let file = storage.open(path, Access::Read)?;
    let mut bytes = vec![0; usize::try_from(file.size()?).unwrap_or(0)];
    let read = read_full(file.as_ref(), &mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}

fn put_entry(out: &mut Vec<u8>, seed: u32, sequence: u64, kind: Kind, payload: &[u8]) {
    let start = out.len();
    out.extend_from_slice(&ENTRY_MAGIC);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(&(kind as u32).to_le_bytes());
    out.extend_from_slice(&sequence.to_le_bytes());
    out.extend_from_slice(payload);
    let crc = crc32c::crc32c_append(seed, &out[start + 8..]);
    put(out, start + 4, &crc.to_le_bytes());
    out.resize(out.len().next_multiple_of(ALIGN as usize), 0);
}

struct Loaded {
    generation: u64,
    seed: u32,
    entries: Vec<Entry>,
}

fn load(bytes: &[u8]) -> Result<Loaded, NotAHeader> {
    let header = bytes.get(..HEADER).ok_or(NotAHeader::Damaged)?;
    if header[..8] != MAGIC || crc32c::crc32c(&header[..HEADER - 4]) != u32_at(header, HEADER - 4) {
        return Err(NotAHeader::Damaged);
    }
    match u32_at(header, 8) {
        0 => return Err(NotAHeader::Damaged),
        VERSION => {}
        newer => return Err(NotAHeader::NewerVersion(newer)),
    }
    let seed = seed(u64_at(header, 24));
    let snapshot = bytes.get(HEADER..HEADER + u32_at(header, 32) as usize).ok_or(NotAHeader::Damaged)?;
    if crc32c::crc32c_append(seed, snapshot) != u32_at(header, 36) {
        return Err(NotAHeader::Damaged);
    }
    Ok(Loaded { generation: u64_at(header, 16), seed, entries: entries(bytes, seed) })
}

/// All sound entries. A damaged one does not hide those behind it.
fn entries(bytes: &[u8], seed: u32) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut at = HEADER;
    while let Some(rest) = bytes.get(at..).filter(|rest| rest.len() >= ENTRY_HEADER) {
        match entry(rest, seed) {
            Some(entry) => {
                at += stored_len(entry.payload.len()) as usize;
                entries.push(entry);
            }
            None => at += ALIGN as usize,
        }
    }
    entries
}

fn entry(bytes: &[u8], seed: u32) -> Option<Entry> {
    let size = u32_at(bytes, 8) as usize;
    if bytes[..4] != ENTRY_MAGIC || size > MAX_PAYLOAD {
        return None;
    }
    let whole = bytes.get(..ENTRY_HEADER + size)?;
    if crc32c::crc32c_append(seed, &whole[8..]) != u32_at(whole, 4) {
        return None;
    }
    let kind = match u32_at(whole, 12) {
        1 => Kind::Cursor,
        2 => Kind::Forgotten,
        3 => Kind::Mark,
        _ => return None,
    };
    Some(Entry { sequence: u64_at(whole, 16), kind, payload: whole[ENTRY_HEADER..].to_vec() })
}

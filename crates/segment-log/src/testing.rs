//! A storage in memory for tests: what is synced is kept apart from what is not, so that a power cut can lose or tear the
//! rest; single operations can be made to fail. Not for production.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::storage::{Access, DirEntry, DirLock, Storage, StorageFile};

/// What a disk writes at once, or not.
const SECTOR: usize = 512;

/// An operation that changes the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// [`StorageFile::write_at`].
    Write,
    /// [`StorageFile::sync`].
    Sync,
    /// [`Storage::open`] with [`Access::Create`].
    Create,
    /// [`Storage::rename`].
    Rename,
    /// [`Storage::remove`].
    Remove,
    /// [`Storage::sync_dir`].
    SyncDir,
}

/// A disk in memory. Clones are the same disk.
#[derive(Clone)]
pub struct SimulatedStorage {
    disk: Arc<Mutex<Disk>>,
}

struct Disk {
    inodes: Vec<Inode>,
    /// Names as the process sees them.
    names: BTreeMap<PathBuf, usize>,
    /// Names as they are after a power cut.
    durable_names: BTreeMap<PathBuf, usize>,
    /// Changes of names that are not synced, in order.
    changes: Vec<Change>,
    dirs: Vec<PathBuf>,
    capacity: Option<u64>,
    /// Fails the operation of this kind after so many that succeed.
    faults: Vec<(Operation, u64, io::ErrorKind)>,
    /// After so many operations the power goes.
    power: Option<u64>,
    /// Nothing reaches the disk any more.
    dark: bool,
    /// Most bytes a write takes at once.
    short_writes: Option<usize>,
    operations: u64,
    open_files: usize,
    locked: bool,
}

#[derive(Clone, Default)]
struct Inode {
    /// What the process sees.
    data: Vec<u8>,
    /// What is on the disk for sure.
    durable: Vec<u8>,
    /// Sectors that may or may not be on the disk.
    dirty: Vec<bool>,
}

struct Change {
    dir: PathBuf,
    name: PathBuf,
    inode: Option<usize>,
}

impl fmt::Debug for SimulatedStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatedStorage").field("operations", &self.operations()).finish_non_exhaustive()
    }
}

impl Default for SimulatedStorage {
    fn default() -> Self {
        Self::new()
    }
}

impl SimulatedStorage {
    /// An empty disk without bound.
    pub fn new() -> Self {
        let disk = Disk {
            inodes: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            changes: Vec::new(),
            dirs: Vec::new(),
            capacity: None,
            faults: Vec::new(),
            power: None,
            dark: false,
            short_writes: None,
            operations: 0,
            open_files: 0,
            locked: false,
        };
        Self { disk: Arc::new(Mutex::new(disk)) }
    }

    /// Bounds the sum of all files' lengths; beyond it writes fail with `StorageFull`.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.disk().capacity = bytes;
    }

    /// Lets `after` operations of a kind succeed, then one fail.
    pub fn fail(&self, operation: Operation, after: u64, kind: io::ErrorKind) {
        self.disk().faults.push((operation, after, kind));
    }

    /// Takes back what [`SimulatedStorage::fail`] has set.
    pub fn clear_faults(&self) {
        self.disk().faults.clear();
    }

    /// Takes at most so many bytes per write.
    pub fn set_short_writes(&self, bytes: Option<usize>) {
        self.disk().short_writes = bytes;
    }

    /// Lets so many changing operations succeed and then none, until [`SimulatedStorage::power_cut`].
    pub fn cut_power_after(&self, operations: u64) {
        self.disk().power = Some(operations);
    }

    /// How many changing operations there were.
    pub fn operations(&self) -> u64 {
        self.disk().operations
    }

    /// How many files are open.
    pub fn open_files(&self) -> usize {
        self.disk().open_files
    }

    /// Sum of all files' lengths.
    pub fn used(&self) -> u64 {
        self.disk().used()
    }

    /// Loses and tears what is not synced, as `seed` says: any of the sectors, and all changes of names from some on. The
    /// process must have let go of everything.
    pub fn power_cut(&self, seed: u64) {
        let mut random = Random(seed);
        let mut disk = self.disk();
        let kept = random.below(disk.changes.len() as u64 + 1) as usize;
        let changes: Vec<Change> = disk.changes.drain(..).collect();
        for change in changes.into_iter().take(kept) {
            disk.apply(&change);
        }
        disk.names = disk.durable_names.clone();
        for inode in &mut disk.inodes {
            inode.tear(&mut random);
        }
        disk.power = None;
        disk.dark = false;
        disk.faults.clear();
        disk.locked = false;
    }

    /// The files under a directory, by name.
    pub fn files(&self, dir: &Path) -> Vec<PathBuf> {
        self.disk().names.keys().filter(|path| path.starts_with(dir)).cloned().collect()
    }

    /// A file's bytes.
    pub fn contents(&self, path: &Path) -> Option<Vec<u8>> {
        let disk = self.disk();
        disk.names.get(path).map(|inode| disk.inodes[*inode].data.clone())
    }

    /// Edits a file's bytes on the disk, as decay does. `false`: there is no such file.
    pub fn edit(&self, path: &Path, edit: impl FnOnce(&mut Vec<u8>)) -> bool {
        let mut disk = self.disk();
        let Some(inode) = disk.names.get(path).copied() else { return false };
        let inode = &mut disk.inodes[inode];
        edit(&mut inode.data);
        inode.settle();
        true
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk {
    fn used(&self) -> u64 {
        let mut inodes: Vec<usize> = self.names.values().copied().collect();
        inodes.sort_unstable();
        inodes.dedup();
        inodes.iter().map(|inode| self.inodes[*inode].data.len() as u64).sum()
    }

    /// Counts an operation, and lets it fail if it is its turn.
    fn begin(&mut self, operation: Operation) -> io::Result<()> {
        self.operations += 1;
        match self.power.map(|left| left.checked_sub(1)) {
            None => {}
            Some(Some(left)) => self.power = Some(left),
            Some(None) => {
                self.dark = true;
                return Err(io::Error::other("the power is gone"));
            }
        }
        let mut failure = None;
        self.faults.retain_mut(|(kind, after, error)| {
            if *kind != operation || failure.is_some() {
                return true;
            }
            match after.checked_sub(1) {
                Some(left) => *after = left,
                None => failure = Some(*error),
            }
            failure.is_none()
        });
        failure.map_or(Ok(()), |kind| Err(kind.into()))
    }

    fn change(&mut self, path: &Path, inode: Option<usize>) {
        match inode {
            Some(inode) => self.names.insert(path.to_path_buf(), inode),
            None => self.names.remove(path),
        };
        let dir = path.parent().unwrap_or(path).to_path_buf();
        self.changes.push(Change { dir, name: path.to_path_buf(), inode });
    }

    fn apply(&mut self, change: &Change) {
        match change.inode {
            Some(inode) => self.durable_names.insert(change.name.clone(), inode),
            None => self.durable_names.remove(&change.name),
        };
    }

    fn inode(&self, path: &Path) -> io::Result<usize> {
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Inode {
    fn write(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        if self.data.len() < end {
            self.data.resize(end, 0);
        }
        self.data[offset..end].copy_from_slice(bytes);
        self.dirty.resize(self.data.len().div_ceil(SECTOR), false);
        self.dirty[offset / SECTOR..end.div_ceil(SECTOR)].fill(true);
    }

    fn settle(&mut self) {
        self.durable.clone_from(&self.data);
        self.dirty.fill(false);
    }

    /// As Linux does: what could not be written counts as clean from then on, and a later sync does not write it.
    fn lose(&mut self) {
        self.dirty.fill(false);
    }

    /// A sync covers dirty sectors only.
    fn sync(&mut self) {
        self.durable.resize(self.data.len().max(self.durable.len()), 0);
        for (sector, dirty) in self.dirty.iter_mut().enumerate() {
            if std::mem::take(dirty) {
                let range = sector * SECTOR..((sector + 1) * SECTOR).min(self.data.len());
                self.durable[range.clone()].copy_from_slice(&self.data[range]);
            }
        }
    }

    fn tear(&mut self, random: &mut Random) {
        for (sector, dirty) in self.dirty.iter().enumerate() {
            if *dirty && random.below(2) == 0 {
                let range = sector * SECTOR..((sector + 1) * SECTOR).min(self.data.len());
                self.durable.resize(self.durable.len().max(range.end), 0);
                self.durable[range.clone()].copy_from_slice(&self.data[range]);
            }
        }
        self.data.clone_from(&self.durable);
        self.dirty = vec![false; self.data.len().div_ceil(SECTOR)];
    }
}

impl Storage for SimulatedStorage {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        // Directories are durable at once: losing one that is empty teaches nothing.
        let mut disk = self.disk();
        for dir in path.ancestors() {
            if !disk.dirs.iter().any(|known| known == dir) {
                disk.dirs.push(dir.to_path_buf());
            }
        }
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let disk = self.disk();
        let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
        let is_in = |child: &&PathBuf| child.parent() == Some(path);
        let files = disk.names.keys().filter(is_in).filter_map(|path| Some((name(path)?, false)));
        let dirs = disk.dirs.iter().filter(is_in).filter_map(|path| Some((name(path)?, true)));
        Ok(files.chain(dirs).map(|(name, is_dir)| DirEntry { name, is_dir }).collect())
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn StorageFile>> {
        let mut disk = self.disk();
        let inode = match access {
            Access::Read | Access::Write => disk.inode(path)?,
            Access::Create => {
                disk.begin(Operation::Create)?;
                disk.inodes.push(Inode::default());
                let inode = disk.inodes.len() - 1;
                disk.change(path, Some(inode));
                inode
            }
        };
        disk.open_files += 1;
        Ok(Arc::new(SimulatedFile { storage: self.clone(), inode }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.begin(Operation::Rename)?;
        let inode = disk.inode(from)?;
        // Two changes: what ends between them has the file under both names, which is more than a journal allows.
        disk.names.remove(from);
        disk.names.insert(to.to_path_buf(), inode);
        let dir = to.parent().unwrap_or(to).to_path_buf();
        disk.changes.push(Change { dir: dir.clone(), name: to.to_path_buf(), inode: Some(inode) });
        disk.changes.push(Change { dir, name: from.to_path_buf(), inode: None });
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.begin(Operation::Remove)?;
        disk.inode(path)?;
        disk.change(path, None);
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.begin(Operation::SyncDir)?;
        let (synced, rest) = std::mem::take(&mut disk.changes).into_iter().partition(|change| change.dir == path);
        disk.changes = rest;
        let synced: Vec<Change> = synced;
        for change in &synced {
            disk.apply(change);
        }
        Ok(())
    }

    fn free_space(&self, _path: &Path) -> io::Result<u64> {
        let disk = self.disk();
        Ok(disk.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(disk.used())))
    }

    fn lock(&self, _path: &Path) -> io::Result<Option<Box<dyn DirLock>>> {
        let mut disk = self.disk();
        if std::mem::replace(&mut disk.locked, true) {
            return Ok(None);
        }
        Ok(Some(Box::new(SimulatedLock(self.clone()))))
    }
}

#[derive(Debug)]
struct SimulatedLock(SimulatedStorage);

impl DirLock for SimulatedLock {}

impl Drop for SimulatedLock {
    fn drop(&mut self) {
        self.0.disk().locked = false;
    }
}

#[derive(Debug)]
struct SimulatedFile {
    storage: SimulatedStorage,
    inode: usize,
}

impl Drop for SimulatedFile {
    fn drop(&mut self) {
        self.storage.disk().open_files -= 1;
    }
}

impl StorageFile for SimulatedFile {
    fn write_at(&self, buffers: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let mut disk = self.storage.disk();
        let was_dark = disk.dark;
        let failure = disk.begin(Operation::Write);
        if was_dark {
            return failure.map(|()| 0);
        }
        let mut bytes = Vec::new();
        for buffer in buffers {
            bytes.extend_from_slice(buffer);
        }
        if failure.is_err() {
            // A write that fails may have written a part.
            bytes.truncate(bytes.len() / 2);
        } else if let Some(most) = disk.short_writes {
            bytes.truncate(most.max(1));
        }
        let offset = offset as usize;
        if let Some(capacity) = disk.capacity {
            let growth = (offset + bytes.len()).saturating_sub(disk.inodes[self.inode].data.len()) as u64;
            if disk.used() + growth > capacity {
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        disk.inodes[self.inode].write(offset, &bytes);
        failure.map(|()| bytes.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let disk = self.storage.disk();
        let data = &disk.inodes[self.inode].data;
        let rest = data.get(offset as usize..).unwrap_or_default();
        let size = rest.len().min(buffer.len());
        buffer[..size].copy_from_slice(&rest[..size]);
        Ok(size)
    }

    fn sync(&self) -> io::Result<()> {
        let mut disk = self.storage.disk();
        let result = disk.begin(Operation::Sync);
        if disk.dark {
            return result;
        }
        let inode = &mut disk.inodes[self.inode];
        match result {
            Ok(()) => inode.sync(),
            Err(_) => inode.lose(),
        }
        result
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.storage.disk().inodes[self.inode].data.len() as u64)
    }
}

/// Splitmix64: enough to choose what is lost, and the same for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

//! A storage in memory for tests: what is synced is kept apart from what is not, so that a power cut can lose and tear the
//! rest; single operations can be made to fail. Not for production.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::storage::{Storage, StorageFile};

/// What a disk writes at once, or not.
const SECTOR: u64 = 512;
/// What a file system gives a file at once.
const BLOCK: u64 = 4096;

/// An operation that may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// [`StorageFile::read`].
    Read,
    /// [`StorageFile::write`]; half of it is written.
    Write,
    /// [`StorageFile::sync`]; nothing that was not synced before ever is.
    Sync,
    /// [`StorageFile::set_size`].
    SetSize,
    /// [`Storage::open`].
    Open,
    /// [`Storage::rename`].
    Rename,
}

/// A disk in memory. Clones are the same disk. Names are durable at once.
#[derive(Clone, Default)]
pub struct SimulatedStorage {
    disk: Arc<Mutex<Disk>>,
}

#[derive(Default)]
struct Disk {
    names: BTreeMap<PathBuf, usize>,
    inodes: Vec<Inode>,
    /// Fails operations of this kind after so many that succeed; how many fail.
    faults: Vec<(Operation, u64, u64, io::ErrorKind)>,
    capacity: Option<u64>,
    /// After so many changing operations the power goes.
    power: Option<u64>,
    operations: u64,
}

#[derive(Default)]
struct Inode {
    /// What the process sees.
    data: Vec<u8>,
    /// What is on the disk for sure.
    durable: Vec<u8>,
    /// Sectors that may or may not be on the disk.
    dirty: BTreeSet<u64>,
    /// Blocks that were ever written.
    blocks: BTreeSet<u64>,
    locked: bool,
}

impl fmt::Debug for SimulatedStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatedStorage").field("operations", &self.operations()).finish_non_exhaustive()
    }
}

impl SimulatedStorage {
    /// An empty disk without bound.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets `after` operations of a kind succeed, then `times` fail.
    pub fn fail(&self, operation: Operation, after: u64, times: u64, kind: io::ErrorKind) {
        self.disk().faults.push((operation, after, times, kind));
    }

    /// Takes back what [`SimulatedStorage::fail`] has set.
    pub fn clear_faults(&self) {
        self.disk().faults.clear();
    }

    /// Bounds what all files take; beyond it writes fail with `StorageFull`.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.disk().capacity = bytes;
    }

    /// What all files take.
    pub fn used(&self) -> u64 {
        self.disk().used()
    }

    /// How many operations changed the disk or tried to.
    pub fn operations(&self) -> u64 {
        self.disk().operations
    }

    /// Lets so many changing operations succeed and then none, until [`SimulatedStorage::power_cut`].
    pub fn cut_power_after(&self, operations: u64) {
        self.disk().power = Some(operations);
    }

    /// Loses and tears what is not synced, as `seed` says: any of the sectors. The process must have let go of everything.
    pub fn power_cut(&self, seed: u64) {
        let mut random = Random(seed);
        let mut disk = self.disk();
        disk.power = None;
        disk.faults.clear();
        disk.inodes.iter_mut().for_each(|inode| inode.tear(&mut random));
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
        inode.durable = inode.data.clone();
        inode.dirty.clear();
        true
    }

    /// The names of all files.
    pub fn files(&self) -> Vec<PathBuf> {
        self.disk().names.keys().cloned().collect()
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk {
    fn used(&self) -> u64 {
        self.inodes.iter().map(|inode| inode.blocks.len() as u64 * BLOCK).sum()
    }

    /// Counts an operation, and lets it fail if it is its turn.
    fn begin(&mut self, operation: Operation) -> io::Result<()> {
        if operation != Operation::Read {
            self.operations += 1;
            match &mut self.power {
                Some(0) => return Err(io::Error::other("no power")),
                Some(left) => *left -= 1,
                None => {}
            }
        }
        for (of, after, times, kind) in &mut self.faults {
            if *of != operation || *times == 0 {
                continue;
            }
            if *after > 0 {
                *after -= 1;
                continue;
            }
            *times -= 1;
            return Err((*kind).into());
        }
        Ok(())
    }
}

impl Inode {
    fn write(&mut self, bytes: &[u8], offset: u64) {
        let end = offset as usize + bytes.len();
        if self.data.len() < end {
            self.data.resize(end, 0);
        }
        self.data[offset as usize..end].copy_from_slice(bytes);
        self.dirty.extend(offset / SECTOR..(end as u64).div_ceil(SECTOR));
        self.blocks.extend(blocks(offset, bytes.len()));
    }

    fn set_size(&mut self, size: u64) {
        self.data.resize(size as usize, 0);
        self.blocks.retain(|block| block * BLOCK < size);
        self.dirty.retain(|sector| sector * SECTOR < size);
    }

    fn sync(&mut self) {
        self.durable.resize(self.data.len(), 0);
        for sector in std::mem::take(&mut self.dirty) {
            self.keep(sector);
        }
    }

    fn keep(&mut self, sector: u64) {
        let from = (sector * SECTOR) as usize;
        let to = (from + SECTOR as usize).min(self.data.len()).min(self.durable.len());
        if from < to {
            self.durable[from..to].copy_from_slice(&self.data[from..to]);
        }
    }

    fn tear(&mut self, random: &mut Random) {
        if random.next().is_multiple_of(2) {
            self.durable.resize(self.data.len(), 0);
        }
        for sector in std::mem::take(&mut self.dirty) {
            if random.next().is_multiple_of(2) {
                self.keep(sector);
            }
        }
        self.data = self.durable.clone();
        self.locked = false;
        let end = self.data.len() as u64;
        self.blocks.retain(|block| block * BLOCK < end);
    }
}

fn blocks(offset: u64, len: usize) -> std::ops::Range<u64> {
    offset / BLOCK..(offset + len as u64).div_ceil(BLOCK)
}

impl Storage for SimulatedStorage {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        let mut disk = self.disk();
        disk.begin(Operation::Open)?;
        let next = disk.inodes.len();
        let inode = *disk.names.entry(path.to_path_buf()).or_insert(next);
        if inode == next {
            disk.inodes.push(Inode::default());
        }
        if std::mem::replace(&mut disk.inodes[inode].locked, true) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Arc::new(SimulatedFile { storage: self.clone(), inode }))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(self.disk().names.contains_key(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.begin(Operation::Rename)?;
        let inode = disk.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        disk.names.insert(to.to_path_buf(), inode);
        Ok(())
    }
}

#[derive(Debug)]
struct SimulatedFile {
    storage: SimulatedStorage,
    inode: usize,
}

impl Drop for SimulatedFile {
    fn drop(&mut self) {
        self.storage.disk().inodes[self.inode].locked = false;
    }
}

impl StorageFile for SimulatedFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.storage.disk().inodes[self.inode].data.len() as u64)
    }

    fn allocated(&self) -> io::Result<u64> {
        Ok(self.storage.disk().inodes[self.inode].blocks.len() as u64 * BLOCK)
    }

    fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut disk = self.storage.disk();
        disk.begin(Operation::Read)?;
        let data = &disk.inodes[self.inode].data;
        let there = data.get(offset as usize..offset as usize + buffer.len());
        buffer.copy_from_slice(there.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut disk = self.storage.disk();
        let begun = disk.begin(Operation::Write);
        let missing =
            blocks(offset, bytes.len()).filter(|block| !disk.inodes[self.inode].blocks.contains(block)).count();
        let full = disk.capacity.is_some_and(|capacity| disk.used() + missing as u64 * BLOCK > capacity && missing > 0);
        let without_power = disk.power == Some(0) && begun.is_err();
        match begun {
            Err(error) if without_power => Err(error),
            Err(error) => {
                disk.inodes[self.inode].write(&bytes[..bytes.len() / 2], offset);
                Err(error)
            }
            Ok(()) if full => Err(io::ErrorKind::StorageFull.into()),
            Ok(()) => {
                disk.inodes[self.inode].write(bytes, offset);
                Ok(())
            }
        }
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        let mut disk = self.storage.disk();
        disk.begin(Operation::SetSize)?;
        disk.inodes[self.inode].set_size(size);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut disk = self.storage.disk();
        let begun = disk.begin(Operation::Sync);
        let inode = &mut disk.inodes[self.inode];
        match begun {
            Ok(()) => inode.sync(),
            // The kernel forgets that these pages were dirty, and reports success the next time.
            Err(_) => inode.dirty.clear(),
        }
        begun
    }
}

/// `SplitMix64`: all that a test needs of randomness, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

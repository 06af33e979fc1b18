//! The seam between the log and the file system: everything the log does to a disk goes through [`Storage`], so that
//! tests can put a faulty one under it.

use std::fmt;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

mod file;

pub use file::FileStorage;

/// An operation of the storage that failed, and on what.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{operation} {}", path.display())]
pub struct IoFailure {
    /// What was tried, as an infinitive: `sync`, `open`.
    pub operation: &'static str,
    /// The file or directory it was tried on.
    pub path: PathBuf,
    /// The operating system's word.
    #[source]
    pub source: Arc<io::Error>,
}

impl IoFailure {
    /// Whether the cause is a full disk or a used-up quota, so that waiting for space helps.
    pub fn is_no_space(&self) -> bool {
        matches!(self.source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }

    pub(crate) fn new(operation: &'static str, path: &Path, source: io::Error) -> Self {
        Self { operation, path: path.to_path_buf(), source: Arc::new(source) }
    }
}

/// Names the operation and the path of an I/O error.
pub(crate) trait At<T> {
    fn at(self, operation: &'static str, path: &Path) -> Result<T, IoFailure>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, operation: &'static str, path: &Path) -> Result<T, IoFailure> {
        self.map_err(|source| IoFailure::new(operation, path, source))
    }
}

/// An entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// The last component of its path; names that are not UTF-8 are not the log's and are left out.
    pub name: String,
    /// Whether it is a directory.
    pub is_dir: bool,
}

/// How an existing or new file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// An existing file, for reading.
    Read,
    /// An existing file, for reading and writing.
    Write,
    /// A new, empty file, for reading and writing; an existing one is emptied.
    Create,
}

/// A lock on the data directory, held until it is dropped.
pub trait DirLock: fmt::Debug + Send + Sync {}

/// The file system as the log sees it. Nothing is durable before the sync that covers it.
pub trait Storage: fmt::Debug + Send + Sync + 'static {
    /// Creates a directory and its parents; one that exists is fine.
    ///
    /// # Errors
    /// Those of the operating system, here and below.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Lists a directory, in any order.
    ///
    /// # Errors
    /// Also when it does not exist.
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>>;
    /// Opens a file.
    ///
    /// # Errors
    /// `NotFound` when it does not exist and is not to be created.
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn StorageFile>>;
    /// Renames a file within its directory, replacing the target if there is one.
    ///
    /// # Errors
    /// `NotFound` when there is no such file.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file; handles that are open stay usable.
    ///
    /// # Errors
    /// `NotFound` when there is no such file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes creations, renames and removals in a directory durable.
    ///
    /// # Errors
    /// Those of the operating system.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Bytes that may still be written to the file system of `path`.
    ///
    /// # Errors
    /// Those of the operating system.
    fn free_space(&self, path: &Path) -> io::Result<u64>;
    /// Takes the exclusive lock `path`, or `None` when another process has it.
    ///
    /// # Errors
    /// When the lock file cannot be created.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn DirLock>>>;
}

/// An open file.
pub trait StorageFile: fmt::Debug + Send + Sync {
    /// Writes some of `buffers` at `offset` and returns how many bytes: fewer than asked for is allowed.
    ///
    /// # Errors
    /// Those of the operating system; the bytes at `offset` are then unknown.
    fn write_at(&self, buffers: &[IoSlice<'_>], offset: u64) -> io::Result<usize>;
    /// Reads at `offset` and returns how many bytes; 0 at the end of the file.
    ///
    /// # Errors
    /// Those of the operating system.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Makes everything written through any handle of this file durable (`fdatasync`).
    ///
    /// # Errors
    /// Those of the operating system; what was written since the last sync may then be lost, also if a later sync succeeds.
    fn sync(&self) -> io::Result<()>;
    /// The file's size in bytes.
    ///
    /// # Errors
    /// Those of the operating system.
    fn size(&self) -> io::Result<u64>;
    /// Writes zeros from the start up to `to`, around the page cache where the system can, and returns how far it came:
    /// the caller writes the rest. To touch as many pages of the cache as a segment has costs more than all its appends.
    ///
    /// # Errors
    /// Those of the operating system.
    fn write_zeros_uncached(&self, _to: u64) -> io::Result<u64> {
        Ok(0)
    }
}

/// The kernel takes at most 1,024 slices at a time (`IOV_MAX`).
const MAX_SLICES: usize = 1024;

/// Writes all of `buffers`, in as few calls as the operating system allows.
pub(crate) fn write_all(file: &dyn StorageFile, buffers: &mut [IoSlice<'_>], mut offset: u64) -> io::Result<()> {
    let mut rest = buffers;
    IoSlice::advance_slices(&mut rest, 0);
    while !rest.is_empty() {
        let at_once = rest.len().min(MAX_SLICES);
        match file.write_at(&rest[..at_once], offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                offset += written as u64;
                IoSlice::advance_slices(&mut rest, written);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Fills as much of `buffer` as the file has; returns how many bytes.
pub(crate) fn read_full(file: &dyn StorageFile, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Fills `from..to` of a file with zeros, so that the file system has given it its blocks.
pub(crate) fn write_zeros(file: &dyn StorageFile, from: u64, to: u64) -> io::Result<()> {
    static ZEROS: [u8; 256 << 10] = [0; 256 << 10];
    let mut at = from;
    while at < to {
        let size = usize::try_from(to - at).map_or(ZEROS.len(), |rest| rest.min(ZEROS.len()));
        write_all(file, &mut [IoSlice::new(&ZEROS[..size])], at)?;
        at += size as u64;
    }
    Ok(())
}

//! The seam between the store and the file system, so that tests can put a faulty one under it.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

mod file;

pub use file::FileStorage;

/// The file system as the store sees it.
pub trait Storage: fmt::Debug + Send + Sync + 'static {
    /// Opens a file for reading and writing, for this process alone until the handle is dropped. One that does not exist is
    /// created, durably, and empty.
    ///
    /// # Errors
    /// `WouldBlock` when somebody else has it open; else those of the operating system, here and below.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>>;
    /// Whether there is anything at `path`.
    ///
    /// # Errors
    /// When that cannot be told.
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// Renames a file within its directory, durably; handles stay usable.
    ///
    /// # Errors
    /// Also when the rename is not known to be durable.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
}

/// An open file. Nothing is durable before the sync that covers it.
pub trait StorageFile: fmt::Debug + Send + Sync {
    /// Its size in bytes.
    ///
    /// # Errors
    /// Those of the operating system.
    fn size(&self) -> io::Result<u64>;
    /// Bytes it takes on the disk: fewer than its size where nothing was ever written.
    ///
    /// # Errors
    /// Those of the operating system.
    fn allocated(&self) -> io::Result<u64>;
    /// Fills `buffer` from `offset`.
    ///
    /// # Errors
    /// `UnexpectedEof` when the file ends before.
    fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// The bytes there are then unknown.
    fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Cuts the file, or lets it end in zeros that take no space.
    ///
    /// # Errors
    /// Those of the operating system.
    fn set_size(&self, size: u64) -> io::Result<()>;
    /// Makes everything written durable (`fdatasync`).
    ///
    /// # Errors
    /// What was written since the last sync may then be lost, also if a later sync succeeds.
    fn sync(&self) -> io::Result<()>;
}

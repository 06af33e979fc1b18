//! The real file system, by plain blocking calls.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::{Errno, pwrite};

use super::{Access, DirEntry, DirLock, Storage, StorageFile};

/// The file system of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct FileStorage;

impl Storage for FileStorage {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        std::fs::create_dir_all(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().into_string() {
                entries.push(DirEntry { name, is_dir: entry.file_type()?.is_dir() });
            }
        }
        Ok(entries)
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn StorageFile>> {
        let mut options = OpenOptions::new();
        match access {
            Access::Read => options.read(true),
            Access::Write => options.read(true).write(true),
            Access::Create => options.read(true).write(true).create(true).truncate(true),
        };
        Ok(Arc::new(options.open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        let status = rustix::fs::statvfs(path)?;
        Ok(status.f_bavail.saturating_mul(status.f_frsize))
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn DirLock>>> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(Lock { _file: file }))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

/// The kernel gives the lock back when the file is closed, also by `kill -9`.
#[derive(Debug)]
struct Lock {
    _file: File,
}

impl DirLock for Lock {}

impl StorageFile for File {
    fn write_at(&self, buffers: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        Ok(rustix::io::pwritev(self, buffers, offset)?)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn write_zeros_uncached(&self, to: u64) -> io::Result<u64> {
        let flags = fcntl_getfl(self)?;
        // tmpfs, for one, may not know it.
        if fcntl_setfl(self, flags | OFlags::DIRECT).is_err() {
            return Ok(0);
        }
        let written = write_zeros_direct(self, to);
        fcntl_setfl(self, flags)?;
        written
    }
}

/// What direct writes are aligned to: the largest block of common disks.
const BLOCK: usize = 4096;
const DIRECT_WRITE: usize = 1 << 20;

/// Writes whole blocks of zeros; stops early, without an error, where the file system wants another alignment.
fn write_zeros_direct(file: &File, to: u64) -> io::Result<u64> {
    let buffer = vec![0; DIRECT_WRITE + BLOCK];
    let aligned = buffer.as_ptr().align_offset(BLOCK);
    let Some(zeros) = buffer.get(aligned..aligned.saturating_add(DIRECT_WRITE)) else { return Ok(0) };
    let mut written = 0;
    while to - written >= BLOCK as u64 {
        let blocks = usize::try_from(to - written).unwrap_or(DIRECT_WRITE).min(DIRECT_WRITE) / BLOCK * BLOCK;
        match pwrite(file, &zeros[..blocks], written) {
            Ok(0) => break,
            // A write that ends within a block is followed by cached ones.
            Ok(some) => written += some as u64,
            Err(Errno::INVAL) => break,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_that_went_around_the_page_cache_are_there_and_the_file_takes_any_write_after_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("segment");
        std::fs::write(&path, vec![7; 5 << 20]).unwrap();
        let file = FileStorage.open(&path, Access::Write).unwrap();
        let size = (3 << 20) + 5000;
        let written = file.write_zeros_uncached(size).unwrap();
        assert!(written <= size && size - written < BLOCK as u64 || written == 0, "{written} of {size}");
        file.write_at(&[IoSlice::new(b"odd")], 1).unwrap();
        file.sync().unwrap();
        let content = std::fs::read(&path).unwrap();
        let written = usize::try_from(written).unwrap();
        assert!(content[4..written.max(4)].iter().all(|byte| *byte == 0));
        assert_eq!(&content[1..4], b"odd");
        assert!(content[written.max(4)..].iter().all(|byte| *byte == 7));
    }
}

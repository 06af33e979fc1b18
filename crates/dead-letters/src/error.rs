//! What can go wrong, per operation, and what to do about it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Why a store was not opened. Nothing was changed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OpenError {
    /// Somebody else has it open.
    #[error("open the dead letters {}: another process has them open; stop it, or choose another directory", path.display())]
    Locked {
        /// The store's file.
        path: PathBuf,
    },
    /// A later version of this program wrote it.
    #[error("open the dead letters {}: their format is version {version}, this program reads up to version {supported}; \
             run the version that wrote them, or move the file away", path.display())]
    NewerVersion {
        /// The store's file.
        path: PathBuf,
        /// The version found.
        version: u64,
        /// The latest version that can be read.
        supported: u64,
    },
    /// The disk failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why letters were not put: none of them was kept, see [`Store::put`](crate::Store::put).
#[derive(Clone, Debug, thiserror::Error)]
pub enum PutError {
    /// A letter that cannot be kept, whatever the disk's state.
    #[error("put a dead letter: its {field} has {bytes} bytes, {max} are the most")]
    TooLong {
        /// What of it.
        field: &'static str,
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        max: usize,
    },
    /// The disk failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl PutError {
    /// Whether the cause is a full disk or a used-up quota, so that waiting for space helps.
    pub fn is_no_space(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_no_space())
    }
}

/// The disk failed, or what is on it is damaged. The call may be repeated: the store recovers by itself as soon as the disk
/// works.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// No space is left for what the call has to write.
    #[error("{operation} the dead letters {}: no space is left on the disk; free some or lower their bound", path.display())]
    NoSpace {
        /// What was tried, as an infinitive.
        operation: &'static str,
        /// The store's file.
        path: PathBuf,
        /// The operating system's word.
        #[source]
        source: Arc<io::Error>,
    },
    /// Another failure of the disk.
    #[error("{operation} the dead letters {}: the disk failed; it is tried again with the next call", path.display())]
    Io {
        /// What was tried, as an infinitive.
        operation: &'static str,
        /// The store's file.
        path: PathBuf,
        /// The operating system's word.
        #[source]
        source: Arc<io::Error>,
    },
    /// The file holds what the store cannot have written. The next call checks all of it, and sets it aside if it is beyond
    /// repair.
    #[error("{operation} the dead letters {}: the file is damaged: {why}; the next call checks it", path.display())]
    Damaged {
        /// What was tried, as an infinitive.
        operation: &'static str,
        /// The store's file.
        path: PathBuf,
        /// What was found.
        why: String,
    },
}

impl StoreError {
    /// Whether the cause is a full disk or a used-up quota, so that waiting for space helps.
    pub fn is_no_space(&self) -> bool {
        matches!(self, Self::NoSpace { .. })
    }
}

/// What the layers below meet, before the store says what it was doing and to which file.
#[derive(Debug)]
pub(crate) enum Fault {
    Io(io::Error),
    Damaged(String),
}

impl Fault {
    pub(crate) fn damaged(why: impl Into<String>) -> Self {
        Self::Damaged(why.into())
    }

    pub(crate) fn at(self, operation: &'static str, path: &std::path::Path) -> StoreError {
        let path = path.to_path_buf();
        match self {
            Self::Damaged(why) => StoreError::Damaged { operation, path, why },
            Self::Io(error) => {
                let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
                let source = Arc::new(error);
                match full {
                    true => StoreError::NoSpace { operation, path, source },
                    false => StoreError::Io { operation, path, source },
                }
            }
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<redb::Error> for Fault {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::Io(error) => match error.kind() {
                // The database's own word for a file that is none, and what reading a file that was cut meets.
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => Self::Damaged(error.to_string()),
                _ => Self::Io(error),
            },
            error @ (redb::Error::PreviousIo | redb::Error::DatabaseClosed) => Self::Io(io::Error::other(error)),
            error => Self::Damaged(error.to_string()),
        }
    }
}

/// The library has an error per operation; all of them say the same few things.
macro_rules! from_redb {
    ($($error:ident),*) => {$(
        impl From<redb::$error> for Fault {
            fn from(error: redb::$error) -> Self {
                redb::Error::from(error).into()
            }
        }
    )*};
}

from_redb!(CommitError, CompactionError, DatabaseError, StorageError, TableError, TransactionError);

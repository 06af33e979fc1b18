//! A durable log of opaque records with many cursors: append with group commit, read, settle, retain, recover.
//!
//! Knows no series, no clock, no async runtime and no logger: times are handed in, reports are handed back. The bytes on disk
//! are described in `docs/log-format.md`.
//!
//! A [`Store`] is a data directory with one [`Log`] per name. [`Log::append`] takes an [`Entry`] and tells its [`Position`]
//! when it is durable. A [`Reader`] reads forward; a [`Cursor`] remembers what its owner has settled, and its books.

mod commit;
mod counts;
mod cursor;
mod cursor_files;
mod cursors;
mod format;
mod inspect;
mod janitor;
mod log;
mod lookup;
mod names;
mod ranges;
mod reader;
mod record;
mod recover;
mod retention;
mod scan;
mod segment;
mod shared;
mod storage;
mod store;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use cursor::{Balance, Cursor, CursorError, SettleError, Start};
pub use cursors::MAX_BOOKS;
pub use inspect::{CursorInspection, Damage, DamageKind, Depth, Inspection, LogInspection, SegmentInspection, inspect};
pub use log::{CommitListener, Log};
pub use reader::{GapCause, Read, ReadError, Reader};
pub use record::{AppendError, Completion, Entry, Record};
pub use recover::LogRecovery;
pub use retention::{OnFull, RetentionLimits};
pub use shared::{CommitStats, Expired, SYNC_BUCKETS, TickError, TickReport};
pub use storage::{Access, DirEntry, DirLock, FileStorage, IoFailure, Storage, StorageFile};
pub use store::{OpenError, OpenLogError, RecoveryReport, Store, StoreOptions};

/// A place in a log: the ordinal of a record, from 0.
pub type Position = u64;

/// Three cumulative numbers that the log adds up and never interprets.
pub type Counts = [u64; 3];

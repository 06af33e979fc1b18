//! What endpoints refused for good: kept on disk within a bound, listed, shown, and let go in two steps.
//!
//! Knows no series, no clock, no async runtime and no logger: bodies are opaque, times are handed in, reports are handed
//! back. Every call blocks; call from threads that may. The bytes on disk are described in `FORMAT.md` beside the manifest.
//!
//! A [`Store`] is one file. [`Store::put`] keeps [`Letter`]s durably. A letter leaves in two steps, because the books that
//! say where its data points ended live in another store: [`Store::begin_leaving`] marks it, the caller moves its books,
//! [`Store::finish_leaving`] deletes it. After a crash between them [`Store::leaving`] tells what is half-way, and the books must
//! tell whether it has moved: sums cannot, since a letter is put before it is booked.

mod backend;
mod batch;
mod database;
mod error;
mod format;
mod letter;
mod overlay;
mod storage;
mod store;
mod tables;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod totals;

pub use error::{OpenError, PutError, StoreError};
pub use format::{MAX_BODY, MAX_EXAMPLE, MAX_NAME, MAX_WORDS};
pub use letter::{Envelope, Filter, Leaving, Letter, Removed, Summary};
pub use storage::{FileStorage, Storage, StorageFile};
pub use store::{OpenReport, SetAside, Store};
pub use totals::{ReasonTotal, Totals};

/// Names a letter: rising over the life of a store, from 1, and never used twice.
pub type Id = u64;

/// Samples, histograms and exemplars.
pub type Counts = [u64; 3];

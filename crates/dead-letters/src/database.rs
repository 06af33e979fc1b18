//! Opens the database, and begins new ones. Decides what a file is: ours, of a later version, or damaged.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use redb::{Database, ReadableDatabase as _, TableError, WriteTransaction};

use crate::Id;
use crate::backend::{Backend, Handle};
use crate::batch::Batch;
use crate::error::Fault;
use crate::format;
use crate::tables::{LAST_PUT, META, NEXT_ID, VERSION, View};

/// What the database may cache: a page of its trees is read again from the kernel's cache at little cost.
const CACHE: usize = 4 << 20;

/// Why a file was not opened.
#[derive(Debug)]
pub(crate) enum Unopened {
    Newer(u64),
    Fault(Fault),
}

impl<F: Into<Fault>> From<F> for Unopened {
    fn from(fault: F) -> Self {
        Self::Fault(fault.into())
    }
}

/// Opens what is in the file and holds it, see [`Backend::hold`].
///
/// `check`: verifies every page instead of trusting what was closed or committed properly.
pub(crate) fn open(backend: &Arc<Backend>, check: bool) -> Result<Database, Unopened> {
    let database = attach(backend, check)?;
    let version = guarded(|| match database.begin_read()?.open_table(META) {
        Ok(meta) => Ok(meta.get(VERSION)?.map(|version| version.value())),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    })?;
    match version {
        Some(format::VERSION) => Ok(database),
        Some(later) if later > format::VERSION => Err(Unopened::Newer(later)),
        _ => Err(Fault::damaged("it holds no dead letters").into()),
    }
}

/// Begins a store in an empty file, durably.
pub(crate) fn begin(backend: &Arc<Backend>, first: Id) -> Result<Database, Fault> {
    let database = attach(backend, false)?;
    let transaction = begin_write(&database)?;
    drop(Batch::open(&transaction)?);
    let mut meta = transaction.open_table(META)?;
    for (key, value) in [(VERSION, format::VERSION), (NEXT_ID, first), (LAST_PUT, first)] {
        meta.insert(key, value)?;
    }
    drop(meta);
    transaction.commit()?;
    backend.release()?;
    Ok(database)
}

fn attach(backend: &Arc<Backend>, check: bool) -> Result<Database, Fault> {
    backend.hold()?;
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE).set_check_integrity_on_open(check);
    guarded(|| Ok(builder.create_with_backend(Handle(Arc::clone(backend)))?))
}

/// Commits in two phases, since checksums that a sender could forge decide otherwise what a commit is; and with the state of the
/// allocator, without which an opening after a crash would read the whole file.
pub(crate) fn begin_write(database: &Database) -> Result<WriteTransaction, Fault> {
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    Ok(transaction)
}

pub(crate) fn view(database: &Database) -> Result<View, Fault> {
    View::open(&database.begin_read()?)
}

/// Gives trailing and scattered free pages back to the disk.
pub(crate) fn compact(database: &mut Database) -> Result<(), Fault> {
    guarded(|| {
        database.compact()?;
        // Compaction leaves no state of the allocator behind.
        Ok(begin_write(database)?.commit()?)
    })
}

/// Runs what reads pages of the file: the database may panic over damaged ones.
pub(crate) fn guarded<T>(run: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    // What was under way is dropped, and the database with it: its file is opened and checked before the next use.
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let word = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        Err(Fault::damaged(word.unwrap_or("the database panicked")))
    })
}

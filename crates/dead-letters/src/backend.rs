//! What the database writes to: the store's file, with two things the database does not do by itself.
//!
//! *Held*: from each opening until [`Backend::release`], writes stay in memory. So a file of a later version is looked into
//! and left as it is, and a disk that is full or fails can still be read.
//!
//! *Unsynced ranges*: when a sync fails, the kernel may drop what it could not write and report success the next time. What
//! was written since the last sync that succeeded is therefore written again before anything is built on it.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::overlay::{Change, Overlay};
use crate::storage::StorageFile;

#[derive(Debug)]
pub(crate) struct Backend {
    file: Arc<dyn StorageFile>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    held: Option<Overlay>,
    /// Offsets and ends of what was written and is not known to be durable.
    unsynced: Vec<(u64, u64)>,
}

impl Backend {
    pub(crate) fn new(file: Arc<dyn StorageFile>) -> Arc<Self> {
        Arc::new(Self { file, state: Mutex::default() })
    }

    /// From now on nothing is written to the file; what was held before is forgotten.
    pub(crate) fn hold(&self) -> io::Result<()> {
        let size = self.file.size()?;
        self.state().held = Some(Overlay::new(size));
        Ok(())
    }

    /// Writes what was held, with the syncs it was made with, and holds no longer.
    ///
    /// # Errors
    /// What is not written stays held, but can no longer be released: the file is to be opened anew.
    pub(crate) fn release(&self) -> io::Result<()> {
        let mut state = self.state();
        let Some(held) = state.held.take() else { return Ok(()) };
        let released = self.rewrite(&state.unsynced).and_then(|()| {
            state.unsynced.clear();
            held.into_changes().into_iter().try_for_each(|change| self.apply(&mut state, &change))
        });
        if released.is_err() {
            // Nothing may follow what is missing.
            state.held = Some(Overlay::new(0));
        }
        released
    }

    /// Bytes the file takes on the disk.
    pub(crate) fn allocated(&self) -> io::Result<u64> {
        self.file.allocated()
    }

    fn rewrite(&self, ranges: &[(u64, u64)]) -> io::Result<()> {
        if ranges.is_empty() {
            return Ok(());
        }
        let size = self.file.size()?;
        for (from, to) in ranges {
            let mut bytes = vec![0; size.min(*to).saturating_sub(*from) as usize];
            self.file.read(&mut bytes, *from)?;
            self.file.write(&bytes, *from)?;
        }
        self.file.sync()
    }

    fn apply(&self, state: &mut State, change: &Change) -> io::Result<()> {
        match change {
            Change::Write(offset, bytes) => {
                state.note(*offset, offset + bytes.len() as u64);
                self.file.write(bytes, *offset)
            }
            Change::Size(size) => self.file.set_size(*size),
            Change::Sync => {
                self.file.sync()?;
                state.unsynced.clear();
                Ok(())
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn note(&mut self, from: u64, to: u64) {
        match self.unsynced.last_mut() {
            Some(last) if last.1 == from => last.1 = to,
            _ => self.unsynced.push((from, to)),
        }
    }
}

/// The database's hold on the backend, which outlives the database.
#[derive(Clone, Debug)]
pub(crate) struct Handle(pub(crate) Arc<Backend>);

impl redb::StorageBackend for Handle {
    fn len(&self) -> io::Result<u64> {
        match &self.0.state().held {
            Some(held) => Ok(held.size()),
            None => self.0.file.size(),
        }
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if let Some(held) = &self.0.state().held {
            return held.read(&*self.0.file, out, offset);
        }
        self.0.file.read(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.0.state();
        match &mut state.held {
            Some(held) => {
                held.set_size(len);
                Ok(())
            }
            None => self.0.file.set_size(len),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.0.state();
        match &mut state.held {
            Some(held) => {
                held.sync();
                Ok(())
            }
            None => self.0.apply(&mut state, &Change::Sync),
        }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.0.state();
        if let Some(held) = &mut state.held {
            return held.write(&*self.0.file, data, offset);
        }
        state.note(offset, offset + data.len() as u64);
        self.0.file.write(data, offset)
    }
}

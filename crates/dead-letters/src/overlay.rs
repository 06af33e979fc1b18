//! A file with changes on top that are not in it: read as if they were, and replayed in their order when they may be.
//!
//! Keeps the changes in memory; what is changed before a replay must be little.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::ops::Range;

use crate::storage::StorageFile;

const BLOCK: u64 = 4096;

#[derive(Debug)]
pub(crate) enum Change {
    Write(u64, Vec<u8>),
    Size(u64),
    Sync,
}

#[derive(Debug)]
pub(crate) struct Overlay {
    /// In the order they were made: a crash amid their replay leaves what a crash amid the making would have left.
    changes: VecDeque<Change>,
    /// Blocks as they are after the changes.
    blocks: BTreeMap<u64, Vec<u8>>,
    size: u64,
    /// Where the file's own bytes end to be seen: it was cut there, and may have grown again since.
    visible: u64,
}

impl Overlay {
    pub(crate) fn new(size: u64) -> Self {
        Self { changes: VecDeque::new(), blocks: BTreeMap::new(), size, visible: size }
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn into_changes(self) -> VecDeque<Change> {
        self.changes
    }

    pub(crate) fn read(&self, file: &dyn StorageFile, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        if offset + buffer.len() as u64 > self.size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for piece in pieces(offset, buffer.len()) {
            let target = &mut buffer[piece.in_buffer.clone()];
            match self.blocks.get(&piece.block) {
                Some(block) => target.copy_from_slice(&block[piece.in_block]),
                None => self.read_below(file, target, piece.block * BLOCK + piece.in_block.start as u64)?,
            }
        }
        Ok(())
    }

    pub(crate) fn write(&mut self, file: &dyn StorageFile, bytes: &[u8], offset: u64) -> io::Result<()> {
        for piece in pieces(offset, bytes.len()) {
            let mut block = match self.blocks.remove(&piece.block) {
                Some(block) => block,
                None => {
                    let mut block = vec![0; BLOCK as usize];
                    self.read_below(file, &mut block, piece.block * BLOCK)?;
                    block
                }
            };
            block[piece.in_block].copy_from_slice(&bytes[piece.in_buffer]);
            self.blocks.insert(piece.block, block);
        }
        self.size = self.size.max(offset + bytes.len() as u64);
        self.changes.push_back(Change::Write(offset, bytes.to_vec()));
        Ok(())
    }

    pub(crate) fn set_size(&mut self, size: u64) {
        if size < self.size {
            self.visible = self.visible.min(size);
            let mut cut = self.blocks.split_off(&(size / BLOCK));
            if let Some(mut block) = cut.remove(&(size / BLOCK)) {
                block[(size % BLOCK) as usize..].fill(0);
                self.blocks.insert(size / BLOCK, block);
            }
        }
        self.size = size;
        self.changes.push_back(Change::Size(size));
    }

    pub(crate) fn sync(&mut self) {
        self.changes.push_back(Change::Sync);
    }

    /// Reads the file's own bytes, and zeros where it has none.
    fn read_below(&self, file: &dyn StorageFile, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let there = self.visible.saturating_sub(offset).min(buffer.len() as u64) as usize;
        buffer[there..].fill(0);
        match there {
            0 => Ok(()),
            _ => file.read(&mut buffer[..there], offset),
        }
    }
}

struct Piece {
    block: u64,
    in_block: Range<usize>,
    in_buffer: Range<usize>,
}

/// Cuts a range of the file at the blocks' bounds.
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = Piece> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done as u64;
        let from = (at % BLOCK) as usize;
        let take = (BLOCK as usize - from).min(len - done);
        let piece = Piece { block: at / BLOCK, in_block: from..from + take, in_buffer: done..done + take };
        done += take;
        (take > 0).then_some(piece)
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::{any, prop_oneof, proptest};
    use proptest::strategy::Strategy as _;

    use super::{Change, Overlay};
    use crate::storage::Storage as _;
    use crate::testing::SimulatedStorage;

    proptest! {
        #[test]
        fn an_overlay_reads_as_the_file_does_after_the_replay(
            size in 0u64..20_000,
            changes in proptest::collection::vec(
                prop_oneof![
                    (0u64..20_000, 0usize..9_000, any::<u8>()).prop_map(|(at, n, byte)| Change::Write(at, vec![byte; n])),
                    (0u64..20_000).prop_map(Change::Size),
                ],
                0..8,
            ),
        ) {
            let file = SimulatedStorage::new().open(Path::new("f")).unwrap();
            file.write(&vec![7; size as usize], 0).unwrap();
            let mut overlay = Overlay::new(size);
            for change in &changes {
                match change {
                    Change::Write(at, bytes) => overlay.write(&*file, bytes, *at).unwrap(),
                    Change::Size(size) => overlay.set_size(*size),
                    Change::Sync => overlay.sync(),
                }
            }
            let mut seen = vec![1; overlay.size() as usize];
            overlay.read(&*file, &mut seen, 0).unwrap();
            for change in overlay.into_changes() {
                match change {
                    Change::Write(at, bytes) => file.write(&bytes, at).unwrap(),
                    Change::Size(size) => file.set_size(size).unwrap(),
                    Change::Sync => file.sync().unwrap(),
                }
            }
            let mut written = vec![2; file.size().unwrap() as usize];
            file.read(&mut written, 0).unwrap();
            assert_eq!(seen, written);
        }
    }
}

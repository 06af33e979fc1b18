//! Walking the records of a segment file forward: reads ahead, checks headers, and finds the next sound header behind
//! damage. Shared by recovery, readers and look-ups; decides nothing about what damage means.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use crate::Position;
use crate::format::{self, ALIGN, RECORD_HEADER, RecordHeader};
use crate::storage::{StorageFile, read_full};

/// How much a walk over headers and bodies reads at a time.
pub(crate) const READ_AHEAD: usize = 256 << 10;
/// How much a walk over headers alone reads at a time: bodies are mostly skipped.
pub(crate) const HEADERS_ONLY: usize = 4 << 10;

/// A forward walk over part of a segment file.
#[derive(Debug)]
pub(crate) struct Scan {
    file: Arc<dyn StorageFile>,
    seed: u32,
    offset: u64,
    end: u64,
    /// Positions below are not plausible: they rise within a segment.
    floor: Position,
    read_ahead: usize,
    buffer: Bytes,
    buffer_at: u64,
}

/// A record whose header is sound.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) header: RecordHeader,
    pub(crate) offset: u64,
}

impl Found {
    /// Where the next record begins.
    pub(crate) fn end_offset(&self) -> u64 {
        self.offset + self.header.stored_len()
    }
}

impl Scan {
    /// Walks the bytes `from..end` of a file, whose records have positions of at least `floor`.
    pub(crate) fn new(
        file: Arc<dyn StorageFile>,
        seed: u32,
        from: u64,
        end: u64,
        floor: Position,
        read_ahead: usize,
    ) -> Self {
        Self { file, seed, offset: from, end, floor, read_ahead, buffer: Bytes::new(), buffer_at: 0 }
    }

    /// Lets a walk go on over what was appended meanwhile.
    pub(crate) fn extend_to(&mut self, end: u64) {
        self.end = self.end.max(end);
    }

    /// The next record with a sound header, or `None` at the end.
    pub(crate) fn next(&mut self) -> io::Result<Option<Found>> {
        while self.offset + RECORD_HEADER as u64 <= self.end {
            let bytes = self.bytes(self.offset, RECORD_HEADER)?;
            if let Some(header) = RecordHeader::decode(&bytes, self.seed)
                && header.position >= self.floor
                && self.offset + header.stored_len() <= self.end
            {
                let found = Found { header, offset: self.offset };
                self.offset = found.end_offset();
                self.floor = header.position + 1;
                return Ok(Some(found));
            }
            self.offset += ALIGN;
        }
        Ok(None)
    }

    /// Meta and body of a record, or `None` if they are damaged.
    pub(crate) fn data(&mut self, found: &Found) -> io::Result<Option<(Bytes, Bytes)>> {
        let header = &found.header;
        let Ok(size) = usize::try_from(header.data_len()) else { return Ok(None) };
        let mut body = self.bytes(found.offset + RECORD_HEADER as u64, size)?;
        if body.len() < size || format::data_crc(self.seed, &body, &[]) != header.data_crc {
            return Ok(None);
        }
        let meta = body.split_to(header.meta_len as usize);
        Ok(Some((meta, body)))
    }

    /// `size` bytes of the file from `offset`, fewer at its end.
    fn bytes(&mut self, offset: u64, size: usize) -> io::Result<Bytes> {
        let held = offset.checked_sub(self.buffer_at).and_then(|skip| usize::try_from(skip).ok());
        if let Some(skip) = held
            && let Some(end) = skip.checked_add(size)
            && end <= self.buffer.len()
        {
            return Ok(self.buffer.slice(skip..end));
        }
        // Not beyond the end: what follows there may be written to at this moment.
        let available = usize::try_from(self.end.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut buffer = vec![0; size.max(self.read_ahead).min(available)];
        let read = read_full(self.file.as_ref(), &mut buffer, offset)?;
        buffer.truncate(read);
        self.buffer = Bytes::from(buffer);
        self.buffer_at = offset;
        Ok(self.buffer.slice(..size.min(read)))
    }
}

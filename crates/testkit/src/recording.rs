//! A load's bodies, compressed and in a file before the load begins: for loads of so many series that a connection
//! cannot keep what it sends encoded, and would be slower than what it measures.
//!
//! Bodies are read back from the page cache. What they hold is [`Workload`]'s business.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use bytes::Bytes;
use remote_write::Counts;
use remote_write::compression::{CompressError, Compressor};

use crate::workload::{Slice, Workload};

/// A recording cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file cannot be written.
    #[error("write a recorded load")]
    File(#[from] io::Error),
    /// A body is beyond what its compression can hold.
    #[error("compress a recorded load")]
    Compress(#[from] CompressError),
}

/// The bodies of the first rounds of a workload.
#[derive(Debug)]
pub struct Recording {
    file: File,
    /// Per request its rounds, one after another.
    bodies: Vec<Body>,
    rounds: u32,
}

#[derive(Clone, Copy, Debug)]
struct Body {
    at: u64,
    length: u32,
    timestamp: i64,
    counts: Counts,
}

impl Recording {
    /// Writes the bodies of so many rounds, the first of which bears `first`, and each further one `step` more (both in
    /// milliseconds). The file is the caller's to remove; it may be removed at once.
    pub fn make(workload: &Workload, rounds: u32, (first, step): (i64, i64), path: &Path) -> Result<Self, RecordError> {
        let file = File::options().read(true).write(true).create(true).truncate(true).open(path)?;
        let mut writer = BufWriter::with_capacity(1 << 20, &file);
        let mut compressor = Compressor::new();
        let mut compressed = Vec::new();
        let mut bodies = Vec::with_capacity(workload.requests() as usize * rounds as usize);
        let mut at = 0;
        for request in 0..workload.requests() {
            // Built once for all rounds, which is what takes the time.
            let mut template = workload.template(request);
            for sequence in 0..rounds {
                let timestamp = first.saturating_add(step.saturating_mul(i64::from(sequence)));
                let raw = template.fill(sequence, timestamp);
                compressor.compress(workload.settings().compression, raw, &mut compressed)?;
                writer.write_all(&compressed)?;
                let length = compressed.len() as u32;
                bodies.push(Body { at, length, timestamp, counts: template.counts() });
                at += u64::from(length);
            }
        }
        writer.flush()?;
        drop(writer);
        Ok(Self { file, bodies, rounds })
    }

    /// How many rounds there are.
    pub fn rounds(&self) -> u32 {
        self.rounds
    }

    /// A body with what it holds; an error for one that was not recorded.
    pub fn body(&self, request: u32, sequence: u32) -> io::Result<(Slice, Bytes, Counts)> {
        let index = request as usize * self.rounds as usize + sequence as usize;
        let recorded = self.bodies.get(index).filter(|_| sequence < self.rounds);
        let Body { at, length, timestamp, counts } = *recorded.ok_or(io::ErrorKind::NotFound)?;
        let mut body = vec![0; length as usize];
        self.file.read_exact_at(&mut body, at)?;
        Ok((Slice { request, sequence, timestamp }, body.into(), counts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{Encoder, WorkloadSettings};

    #[test]
    fn a_recorded_body_is_the_one_that_would_be_encoded() {
        let directory = tempfile::tempdir().expect("directory");
        let settings = WorkloadSettings { series: 250, series_per_request: 100, ..WorkloadSettings::default() };
        let workload = Workload::new(settings);
        let path = directory.path().join("bodies");
        let recording = Recording::make(&workload, 3, (1_000_000, 15_000), &path).expect("recorded");
        std::fs::remove_file(&path).expect("the recording keeps it open");
        let mut encoder = Encoder::new(&workload);
        for request in 0..workload.requests() {
            for sequence in 0..recording.rounds() {
                let (slice, body, counts) = recording.body(request, sequence).expect("recorded");
                let timestamp = 1_000_000 + 15_000 * i64::from(sequence);
                assert_eq!(slice, Slice { request, sequence, timestamp });
                assert_eq!((body, counts), encoder.encode(slice).expect("packed"));
            }
        }
        assert!(recording.body(0, 3).is_err() && recording.body(3, 0).is_err(), "never recorded");
    }
}

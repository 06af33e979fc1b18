//! What a gateway uses, as the kernel accounts for it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use testkit::process::Process;

/// What a process has used so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Used {
    pub(crate) cpu: Duration,
    /// Bytes it caused to be written to storage.
    pub(crate) written: u64,
}

impl Used {
    pub(crate) fn by(process: &Process) -> Result<Self> {
        Ok(Self { cpu: process.cpu_time()?, written: written_bytes(process.id())? })
    }

    /// CPU seconds per million samples, and bytes written per sample, since then.
    pub(crate) fn per_sample(self, then: Self, samples: u64) -> (f64, f64) {
        let samples = samples.max(1) as f64;
        let cpu = self.cpu.saturating_sub(then.cpu).as_secs_f64() * 1e6 / samples;
        (cpu, self.written.saturating_sub(then.written) as f64 / samples)
    }
}

/// `write_bytes` of `/proc/<pid>/io`.
fn written_bytes(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/io");
    let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let number = text.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    number.and_then(|number| number.parse().ok()).with_context(|| format!("{path} tells no write_bytes"))
}

/// Bytes in MiB.
pub(crate) fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// The bytes that a directory's files occupy, in blocks.
pub(crate) fn occupied(directory: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    let mut bytes = 0;
    let Ok(entries) = fs::read_dir(directory) else { return Ok(0) };
    for entry in entries {
        let path = entry?.path();
        // A file may go while it is looked at: segments are deleted and renamed.
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        bytes += if metadata.is_dir() { occupied(&path)? } else { metadata.blocks() * 512 };
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_occupies_what_its_files_and_subdirectories_do() {
        let directory = tempfile::tempdir().expect("directory");
        fs::create_dir(directory.path().join("sub")).expect("subdirectory");
        fs::write(directory.path().join("sub/file"), vec![1; 100_000]).expect("file");
        let bytes = occupied(directory.path()).expect("readable");
        assert!((100_000..200_000).contains(&bytes), "{bytes}");
    }

    #[test]
    fn use_is_told_per_sample_from_one_moment_to_the_other() {
        let then = Used { cpu: Duration::from_secs(1), written: 1_000 };
        let now = Used { cpu: Duration::from_secs(2), written: 21_000 };
        let (cpu, written) = now.per_sample(then, 4_000_000);
        assert!((cpu - 0.25).abs() < 1e-9 && (written - 0.005).abs() < 1e-9, "{cpu} {written}");
    }
}

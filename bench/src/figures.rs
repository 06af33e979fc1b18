//! What is measured in a run, and the medians of several.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use testkit::process::Process;

/// One run's figures, or the medians of several runs, each figure by itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    /// CPU seconds of the gateway, user and system, per million samples received.
    pub(crate) cpu: f64,
    /// Samples a second that senders got acknowledged.
    pub(crate) taken: f64,
    /// Samples a second that each sink got, from the load's start until the last one had everything.
    pub(crate) delivered: f64,
    /// Most memory resident, in MiB, the warm-up included.
    pub(crate) memory: f64,
    /// Latency of acknowledgements in milliseconds.
    pub(crate) ack_p50: f64,
    pub(crate) ack_p99: f64,
    /// Compressed bytes received, per sample.
    pub(crate) received: f64,
    /// Bytes of the data directory (allocated blocks) when everything was delivered, per sample received.
    pub(crate) on_disk: f64,
    /// Bytes the process had written to the block device, per sample received.
    pub(crate) written: f64,
    /// Samples that a sink never got, and requests that were not answered 2xx.
    pub(crate) lost: f64,
    pub(crate) refused: f64,
}

impl Figures {
    /// The median of each figure.
    pub(crate) fn median(runs: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| {
            let mut values: Vec<f64> = runs.iter().map(figure).collect();
            values.sort_by(f64::total_cmp);
            let middle = values.len() / 2;
            match (values.get(middle), values.get(middle.wrapping_sub(1))) {
                (Some(upper), Some(lower)) if values.len().is_multiple_of(2) => (upper + lower) / 2.0,
                (Some(middle), _) => *middle,
                (None, _) => 0.0,
            }
        };
        Self {
            cpu: of(|run| run.cpu),
            taken: of(|run| run.taken),
            delivered: of(|run| run.delivered),
            memory: of(|run| run.memory),
            ack_p50: of(|run| run.ack_p50),
            ack_p99: of(|run| run.ack_p99),
            received: of(|run| run.received),
            on_disk: of(|run| run.on_disk),
            written: of(|run| run.written),
            lost: of(|run| run.lost),
            refused: of(|run| run.refused),
        }
    }
}

/// What a process has used so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Used {
    pub(crate) cpu: Duration,
    pub(crate) written: u64,
}

impl Used {
    pub(crate) fn by(process: &Process) -> Result<Self> {
        Ok(Self { cpu: process.cpu_time()?, written: written_bytes(process.id())? })
    }
}

/// `write_bytes` of `/proc/<pid>/io`: what the process caused to be written to storage.
fn written_bytes(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/io");
    let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let number = text.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    number.and_then(|number| number.parse().ok()).with_context(|| format!("{path} tells no write_bytes"))
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

    fn runs(cpus: &[f64]) -> Vec<Figures> {
        cpus.iter().map(|cpu| Figures { cpu: *cpu, ..Figures::default() }).collect()
    }

    #[test]
    fn the_median_is_the_middle_of_the_sorted_runs() {
        for (cpus, median) in [(&[3.0, 1.0, 9.0][..], 3.0), (&[4.0, 1.0], 2.5), (&[7.0], 7.0), (&[], 0.0)] {
            assert!((Figures::median(&runs(cpus)).cpu - median).abs() < 1e-9, "{cpus:?}");
        }
    }

    #[test]
    fn a_directory_occupies_what_its_files_and_subdirectories_do() {
        let directory = tempfile::tempdir().expect("directory");
        fs::create_dir(directory.path().join("sub")).expect("subdirectory");
        fs::write(directory.path().join("sub/file"), vec![1; 100_000]).expect("file");
        let bytes = occupied(directory.path()).expect("readable");
        assert!((100_000..200_000).contains(&bytes), "{bytes}");
    }
}

//! What the system says of this process: for `/metrics`. Asks for nothing of other processes.

use std::fs;

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

/// User and system CPU time so far.
#[expect(clippy::cast_precision_loss, reason = "seconds and nanoseconds of CPU time, for a graph")]
pub(super) fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// A size of `/proc/self/status`, by its field (`proc_pid_status(5)`).
pub(super) fn status_bytes(field: &str) -> Option<u64> {
    size_of(&fs::read_to_string("/proc/self/status").ok()?, field)
}

fn size_of(status: &str, field: &str) -> Option<u64> {
    let size = status.lines().find_map(|line| line.strip_prefix(field))?.trim().strip_suffix(" kB")?;
    size.parse::<u64>().ok()?.checked_mul(1024)
}

/// File descriptors that are open, the one that counts them not among them.
pub(super) fn open_files() -> Option<usize> {
    Some(fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1))
}

/// File descriptors that may be open; `None`: without limit.
pub(super) fn max_files() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

#[cfg(test)]
mod tests {
    use super::size_of;

    #[test]
    fn a_size_is_read_in_bytes_and_only_from_its_own_field() {
        let status = "Name:\twritegate\nVmPeak:\t     900 kB\nVmRSS:\t      20 kB\nThreads:\t3\n";
        assert_eq!(size_of(status, "VmRSS:"), Some(20 << 10));
        assert_eq!(size_of(status, "VmSize:"), None);
        assert_eq!(size_of(status, "Threads:"), None, "no size");
    }
}

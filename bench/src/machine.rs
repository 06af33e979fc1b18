//! What the figures were measured on.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Processor, memory and kernel in one line; what the system does not tell is left out.
pub(crate) fn description() -> String {
    let cpu = field("/proc/cpuinfo", "model name");
    let cores = std::thread::available_parallelism().map(|cores| format!("{cores} cores")).ok();
    let memory = field("/proc/meminfo", "MemTotal").and_then(|text| {
        let kibibytes: u64 = text.split_whitespace().next()?.parse().ok()?;
        Some(format!("{} GiB", (kibibytes + (1 << 19)) >> 20))
    });
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").ok().map(|text| format!("Linux {}", text.trim()));
    [cpu, cores, memory, kernel].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// The load average of the last minute: what else the machine was doing.
pub(crate) fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().unwrap_or("unknown").to_owned()
}

/// The day in UTC, `YYYY-MM-DD`.
pub(crate) fn date() -> String {
    said(Command::new("date").args(["-u", "+%F"])).unwrap_or_default()
}

/// The commit that is checked out, marked when files differ from it other than those that are written here.
pub(crate) fn revision() -> String {
    let git = |arguments: &[&str]| said(Command::new("git").args(["-C", env!("CARGO_MANIFEST_DIR")]).args(arguments));
    let Some(commit) = git(&["rev-parse", "--short", "HEAD"]) else { return "unknown".to_owned() };
    let changed = git(&["status", "--porcelain", "--", ":/", ":(top,exclude)docs/performance"]);
    if changed.is_some_and(|files| !files.is_empty()) { commit + ", changed" } else { commit }
}

/// Bytes that may still be written to the file system of a directory; `None` when the system does not tell.
pub(crate) fn free_bytes(directory: &Path) -> Option<u64> {
    let text = said(Command::new("df").args(["--output=avail", "-B1"]).arg(directory))?;
    text.lines().last()?.trim().parse().ok()
}

/// What a program says, if it succeeds.
fn said(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The first value of `name : value`.
fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

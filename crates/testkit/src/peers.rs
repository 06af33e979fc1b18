//! The real peers that `cargo xtask peers` fetched: where they are, and what to do where they are not.
//!
//! Knows the same directories as xtask's `peers.rs`: `<cache>/<package>-<version>/usr/bin/<program>`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process;

/// A program of another project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Prometheus 3.5 or a later 3: remote write 2.0, both ways.
    Prometheus35,
    /// Prometheus 2.53: as 2.42, with more words.
    Prometheus253,
    /// Prometheus 2.42: remote write 1.0 only, and 204 without storing to 2.0.
    Prometheus242,
    /// promtool of one of these: Debian has it beside the older ones.
    Promtool,
    /// VictoriaMetrics 1.145 or later: zstd, no remote write 2.0.
    VictoriaMetrics1145,
    /// vmagent of the same: zstd without handshake.
    Vmagent1145,
    /// vmagent 1.79: snappy only.
    Vmagent179,
    /// The OpenTelemetry Collector, with its exporters for remote write and OTLP. There where the machine has Go.
    OtelCollector,
    /// Chromium with ChromeDriver: a program that speaks WebDriver. `usr/lib/chromium/chromium` and, where the machine has npm,
    /// `axe.min.js` lie around it.
    Chromium,
}

/// A peer that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The program.
    pub program: PathBuf,
    /// Where libraries lie that it needs newer than the machine may have them.
    pub libraries: Option<PathBuf>,
}

impl Found {
    /// A command that starts it, for [`process::Process::start`].
    pub fn command(&self) -> Command {
        process::command(&self.program, self.libraries.as_deref())
    }
}

impl Peer {
    /// Package, program, first version and first version that is none any more, as `(major, minor)`.
    const fn facts(self) -> (&'static str, &'static str, (u32, u32), (u32, u32)) {
        match self {
            Self::Prometheus35 => ("prometheus", "prometheus", (3, 5), (4, 0)),
            Self::Prometheus253 => ("prometheus", "prometheus", (2, 53), (2, 54)),
            Self::Prometheus242 => ("prometheus", "prometheus", (2, 42), (2, 43)),
            Self::Promtool => ("prometheus", "promtool", (2, 42), (4, 0)),
            Self::VictoriaMetrics1145 => ("victoria-metrics", "victoria-metrics", (1, 145), (2, 0)),
            Self::Vmagent1145 => ("victoria-metrics", "vmagent", (1, 145), (2, 0)),
            Self::Vmagent179 => ("victoria-metrics", "vmagent", (1, 79), (1, 80)),
            Self::Chromium => ("chromium", "browser", (120, 0), (1000, 0)),
            Self::OtelCollector => ("otelcol", "otelcol", (0, 165), (0, 166)),
        }
    }

    /// Looks in `$WRITEGATE_PEERS`, or else in the workspace's `.cache/peers`.
    pub fn find(self) -> Option<Found> {
        self.find_in(&cache())
    }

    /// Looks in that directory.
    pub fn find_in(self, cache: &Path) -> Option<Found> {
        let (package, program, from, to) = self.facts();
        let prefix = format!("{package}-");
        let homes = fs::read_dir(cache).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
        let fitting = homes.filter_map(|home| {
            let version = version(home.file_name()?.to_str()?.strip_prefix(&prefix)?)?;
            let program = home.join("usr/bin").join(program);
            let fits = from <= version && version < to && program.is_file();
            fits.then_some((version, home, program))
        });
        let (_, home, program) = fitting.max()?;
        Some(Found { program, libraries: libraries(&home) })
    }
}

/// The peer, or a word that the test is skipped. Where `CI` is `true` nothing may be skipped, except for want of Go: an
/// error.
pub fn require(peer: Peer) -> Result<Option<Found>, Missing> {
    let found = peer.find();
    if found.is_none() {
        if peer != Peer::OtelCollector && std::env::var_os("CI").is_some_and(|value| value == "true") {
            return Err(Missing { peer, cache: cache() });
        }
        skipped(peer);
    }
    Ok(found)
}

#[expect(clippy::print_stderr, reason = "the test's output is where a skipped test must be visible")]
fn skipped(peer: Peer) {
    eprintln!("skipped: {peer:?} is not in {}; `cargo xtask peers` fetches it", cache().display());
}

/// A peer that CI must have is not there.
#[derive(Debug, thiserror::Error)]
#[error("find {peer:?} in {cache}; `cargo xtask peers` fetches it")]
pub struct Missing {
    /// Which.
    pub peer: Peer,
    /// Where it should be.
    pub cache: PathBuf,
}

fn cache() -> PathBuf {
    match std::env::var_os("WRITEGATE_PEERS") {
        Some(cache) => cache.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.cache/peers"),
    }
}

fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// `usr/lib/<machine>-linux-gnu`, if something was unpacked there.
fn libraries(home: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(home.join("usr/lib")).ok()?;
    entries.filter_map(|entry| Some(entry.ok()?.path())).find(|path| path.join("libzstd.so.1").exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(cache: &Path, file: &str) {
        let path = cache.join(file);
        fs::create_dir_all(path.parent().expect("parent")).expect("directories");
        fs::write(path, "").expect("file");
    }

    #[test]
    fn the_newest_fitting_version_is_found_with_its_libraries() {
        let directory = tempfile::tempdir().expect("directory");
        let cache = directory.path();
        for version in ["1.79.5", "1.145.0", "1.150.1", "2.0.0", "junk"] {
            put(cache, &format!("victoria-metrics-{version}/usr/bin/vmagent"));
        }
        put(cache, "victoria-metrics-1.150.1/usr/lib/x86_64-linux-gnu/libzstd.so.1");
        let home = cache.join("victoria-metrics-1.150.1");
        let expected =
            Found { program: home.join("usr/bin/vmagent"), libraries: Some(home.join("usr/lib/x86_64-linux-gnu")) };
        assert_eq!(Peer::Vmagent1145.find_in(cache), Some(expected));
        let old = Found { program: cache.join("victoria-metrics-1.79.5/usr/bin/vmagent"), libraries: None };
        assert_eq!(Peer::Vmagent179.find_in(cache), Some(old));
    }

    #[test]
    fn a_package_without_the_program_is_not_the_peer() {
        let directory = tempfile::tempdir().expect("directory");
        put(directory.path(), "victoria-metrics-1.145.0/usr/bin/vmagent");
        assert_eq!(Peer::VictoriaMetrics1145.find_in(directory.path()), None);
        assert_eq!(Peer::Prometheus35.find_in(directory.path()), None);
    }
}

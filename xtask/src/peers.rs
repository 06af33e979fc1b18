//! Fetches the real peers of the e2e tests and benchmarks into `.cache/peers/<package>-<version>/`.
//!
//! Debian's packages are only unpacked, never installed; what is present is not fetched again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::apt::Apt;
use crate::in_ci;

/// One package and what the tests need of it. `testkit::peers` finds the same directories.
struct Wanted {
    suite: &'static str,
    package: &'static str,
    /// The first and the first not wanted version, `(major, minor)`: unstable moves on, a stable suite does not.
    versions: ((u32, u32), (u32, u32)),
    /// Unpacked beside it, because the machine's own may be older than the package asks for.
    with: &'static [&'static str],
    binaries: &'static [&'static str],
}

const WANTED: [Wanted; 5] = [
    Wanted { suite: "sid", package: "prometheus", versions: ((3, 5), (4, 0)), with: &[], binaries: &["prometheus"] },
    Wanted {
        suite: "sid",
        package: "victoria-metrics",
        versions: ((1, 145), (2, 0)),
        with: &["libzstd1"],
        binaries: &["victoria-metrics", "vmagent"],
    },
    Wanted {
        suite: "trixie",
        package: "prometheus",
        versions: ((2, 53), (2, 54)),
        with: &[],
        binaries: &["prometheus"],
    },
    Wanted {
        suite: "bookworm",
        package: "prometheus",
        versions: ((2, 42), (2, 43)),
        with: &[],
        binaries: &["prometheus", "promtool"],
    },
    Wanted {
        suite: "bookworm",
        package: "victoria-metrics",
        versions: ((1, 79), (1, 80)),
        with: &["libzstd1"],
        binaries: &["victoria-metrics", "vmagent"],
    },
];

/// Makes every peer present and runnable. Where they cannot be had the tests that need them skip, so outside CI that
/// is said and no failure.
pub(crate) fn fetch(root: &Path) -> Result<()> {
    let cache = root.join(".cache/peers");
    match fetch_into(&cache) {
        Err(error) if !in_ci() => {
            println!("peers: not fetched, tests that need them will be skipped: {error:#}");
            Ok(())
        }
        done => done,
    }
}

fn fetch_into(cache: &Path) -> Result<()> {
    fs::create_dir_all(cache).with_context(|| format!("create {}", cache.display()))?;
    for suite in ["sid", "trixie", "bookworm"] {
        let missing = |wanted: &&Wanted| wanted.suite == suite && present(cache, wanted).is_none();
        if !WANTED.iter().any(|wanted| missing(&wanted)) {
            continue;
        }
        let apt = Apt::new(&cache.join(format!(".apt-{suite}")), suite)?;
        for wanted in WANTED.iter().filter(missing) {
            fetch_one(&apt, cache, wanted)?;
        }
        apt.remove()?;
    }
    for wanted in &WANTED {
        let home = present(cache, wanted).with_context(|| format!("{} is not there", wanted.package))?;
        for binary in wanted.binaries {
            run_version(&home, binary)?;
            println!("peers: {} runs", home.join("usr/bin").join(binary).display());
        }
    }
    Ok(())
}

fn fetch_one(apt: &Apt, cache: &Path, wanted: &Wanted) -> Result<()> {
    let version = apt.candidate(wanted.package)?;
    let upstream = upstream_version(&version);
    if !within(upstream, wanted.versions) {
        let ((from_major, from_minor), (to_major, to_minor)) = wanted.versions;
        bail!(
            "{} of {} is {upstream}; the tests know {from_major}.{from_minor} up to below {to_major}.{to_minor}",
            wanted.package,
            wanted.suite
        );
    }
    // Unpacked aside and renamed, so that a directory with the final name is always whole.
    let aside = cache.join(format!(".unpack-{}-{upstream}", wanted.package));
    if aside.exists() {
        fs::remove_dir_all(&aside).with_context(|| format!("remove {}", aside.display()))?;
    }
    for package in [wanted.package].iter().chain(wanted.with) {
        apt.unpack(package, &aside)?;
    }
    for binary in wanted.binaries {
        run_version(&aside, binary)?;
    }
    let home = cache.join(format!("{}-{upstream}", wanted.package));
    fs::rename(&aside, &home).with_context(|| format!("rename {} to {}", aside.display(), home.display()))
}

/// The directory of an unpacked version that fits, if there is one.
fn present(cache: &Path, wanted: &Wanted) -> Option<PathBuf> {
    let prefix = format!("{}-", wanted.package);
    fs::read_dir(cache).ok()?.filter_map(|entry| Some(entry.ok()?.path())).find(|path| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.and_then(|name| name.strip_prefix(&prefix)).is_some_and(|version| within(version, wanted.versions))
    })
}

/// Checks that the program runs here. (What it says of its version Debian's VictoriaMetrics leaves empty.)
fn run_version(home: &Path, binary: &str) -> Result<()> {
    let path = home.join("usr/bin").join(binary);
    let mut command = Command::new(&path);
    if let Some(libraries) = libraries(home) {
        command.env("LD_LIBRARY_PATH", libraries);
    }
    let output =
        command.arg("--version").stdin(Stdio::null()).output().with_context(|| format!("start {}", path.display()))?;
    if !output.status.success() {
        bail!("{} --version: {}", path.display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// Where the libraries unpacked beside the programs lie: `usr/lib/<machine>-linux-gnu`.
fn libraries(home: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(home.join("usr/lib")).ok()?;
    entries.filter_map(|entry| Some(entry.ok()?.path())).find(|path| path.join("libzstd.so.1").exists())
}

/// `3.5.3` of `3.5.3+ds1-6`: without epoch, repacking and Debian's revision.
pub(crate) fn upstream_version(version: &str) -> &str {
    let version = version.split_once(':').map_or(version, |(_, rest)| rest);
    version.split(['+', '-', '~']).next().unwrap_or(version)
}

fn within(version: &str, (from, to): ((u32, u32), (u32, u32))) -> bool {
    let mut numbers = version.split('.').map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else { return false };
    from <= (major, minor) && (major, minor) < to
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debian_versions_are_cut_to_upstreams() {
        for (version, expected) in [("3.5.3+ds1-6", "3.5.3"), ("1:2.42.0~rc1-5", "2.42.0"), ("1.79.5-2+b5", "1.79.5")] {
            assert_eq!(upstream_version(version), expected);
        }
    }

    #[test]
    fn versions_outside_the_known_range_are_not_taken() {
        let range = ((3, 5), (4, 0));
        for (version, expected) in
            [("3.5.3", true), ("3.14", true), ("3.4.9", false), ("4.0.0", false), ("2.42.0", false), ("sid", false)]
        {
            assert_eq!(within(version, range), expected, "{version}");
        }
    }

    #[test]
    fn a_peer_is_present_only_under_a_fitting_version() {
        let cache = tempfile::tempdir().expect("temporary directory");
        fs::create_dir_all(cache.path().join("prometheus-2.42.0")).expect("directory");
        fs::create_dir_all(cache.path().join(".unpack-prometheus-3.5.3")).expect("directory");
        assert_eq!(present(cache.path(), &WANTED[0]), None);
        assert_eq!(present(cache.path(), &WANTED[2]), None);
        assert_eq!(present(cache.path(), &WANTED[3]), Some(cache.path().join("prometheus-2.42.0")));
    }
}

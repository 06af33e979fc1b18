//! Packages of programs that are scripts, and what the real unit is allowed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{PACKAGES, VERSION, make, prove, write};
use crate::workspace;

/// Programs that say their version and find every configuration valid.
fn programs(directory: &Path) {
    for package in &PACKAGES {
        let script = format!("#!/bin/sh\necho \"{} {VERSION}\"\n", package.name);
        write(&directory.join(package.name), &script, 0o755).expect("a program");
    }
}

/// Both packages, unpacked.
fn unpacked(directory: &Path) -> PathBuf {
    let root = workspace().expect("the workspace");
    programs(directory);
    let whole = directory.join("whole");
    for package in &PACKAGES {
        let file = make(&root, package, directory, &directory.join("out")).expect("a package");
        prove(&file, package).expect("a package that works");
        let status = Command::new("dpkg-deb").arg("-x").arg(&file).arg(&whole).status().expect("dpkg-deb");
        assert!(status.success());
    }
    whole
}

#[test]
fn a_package_has_what_its_table_says_and_what_a_unit_and_rules_refer_to() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let whole = unpacked(directory.path());
    let mode = |path: &str| {
        fs::metadata(whole.join(path)).unwrap_or_else(|e| panic!("{path}: {e}")).permissions().mode() & 0o777
    };
    for (path, expected) in [
        ("usr/bin/writegate", 0o755),
        ("usr/bin/writegate-operator", 0o755),
        ("etc/writegate/writegate.yml", 0o644),
        ("usr/share/writegate/prometheus/alerts.yml", 0o644),
        ("usr/share/writegate/grafana/writegate.json", 0o644),
        ("usr/share/doc/writegate/configuration.md", 0o644),
        ("usr/share/writegate-operator/chart/Chart.yaml", 0o644),
        ("usr/share/writegate-operator/chart/files/alerts.yml", 0o644),
    ] {
        assert_eq!(mode(path), expected, "{path}");
    }
    assert!(!whole.join("usr/share/writegate/prometheus/tests").exists(), "tests stay at home");
    let unit = fs::read_to_string(whole.join("usr/lib/systemd/system/writegate.service")).expect("the unit");
    for path in ["/usr/bin/writegate", "/etc/writegate/writegate.yml"] {
        assert!(unit.contains(path) && whole.join(&path[1..]).exists(), "{path}");
    }
}

#[test]
fn a_unit_that_allows_too_much_or_that_systemd_does_not_understand_makes_no_package() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        eprintln!("skipped: no systemd-analyze here");
        return;
    }
    let directory = tempfile::tempdir().expect("temporary directory");
    let whole = unpacked(directory.path());
    let unit = whole.join("usr/lib/systemd/system/writegate.service");
    let text = fs::read_to_string(&unit).expect("the unit");
    super::systemd_takes(&whole).expect("the unit as it is");
    for (line, instead) in [("NoNewPrivileges=yes", "NoNewPrivilegs=yes"), ("CapabilityBoundingSet=\n", "")] {
        assert!(text.contains(line), "{line}");
        fs::write(&unit, text.replace(line, instead)).expect("another unit");
        assert!(super::systemd_takes(&whole).is_err(), "without {line}");
    }
}

#[test]
fn scripts_of_the_package_are_understood_by_every_shell() {
    let root = workspace().expect("the workspace");
    for script in PACKAGES.iter().flat_map(|package| package.scripts) {
        let path = root.join("deploy/package").join(script);
        assert!(Command::new("sh").arg("-n").arg(&path).status().expect("sh").success(), "{script}");
    }
}

//! Everything CI runs, cheap first, one line per step; the first failure ends it.
//!
//! A developer runs the same with `cargo xtask ci`, so that CI finds nothing they could not have found.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};

use crate::{fetch, finish, mutations, package, peers, tidy};

/// The series of cargo-deny whose configuration `deny.toml` is written for.
const CARGO_DENY: &str = "^0.20";

/// Simulated histories; an ordinary test run has fewer.
const HISTORIES: &str = "2000";

/// How much is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// All.
    Full,
    /// Without what needs the real peers.
    Quick,
}

/// Runs the steps; the error names the one that failed.
pub(crate) fn run(root: &Path, extent: Extent) -> Result<()> {
    let started = Instant::now();
    let cargo = |arguments: &str| cargo(root, arguments, &[]);
    step("fmt", || cargo("fmt --all --check"))?;
    step("tidy", || tidy::run(root).and_then(|()| mutations::check(root)))?;
    step("clippy", || cargo("clippy --workspace --all-targets --locked -- -D warnings"))?;
    step("test", || cargo("test --workspace --exclude e2e --locked"))?;
    step("doc", || self::cargo(root, "doc --workspace --no-deps --locked", &[("RUSTDOCFLAGS", "-D warnings")]))?;
    step("deny", || deny(root))?;
    if extent == Extent::Full {
        step("peers", || fetch(root))?;
        let histories = [("WRITEGATE_HISTORIES", HISTORIES)];
        step("simulation", || {
            self::cargo(root, "test --package writegate --lib --release --locked -- simulation", &histories)
        })?;
        step("release build", || {
            cargo("build --release --package writegate --package writegate-operator --package bench --bins --locked")
        })?;
        let release = target(root).join("release");
        step("package", || package::debian(root, Some(&release)))?;
        let release = release.to_str().context("the target directory's name is UTF-8")?;
        let binaries = [format!("{release}/writegate"), format!("{release}/writegate-operator")];
        // Built alone they would be built once more, with the features that they have then.
        let with_binary = [("WRITEGATE_BIN", binaries[0].as_str()), ("WRITEGATE_OPERATOR_BIN", &binaries[1])];
        step("e2e", || self::cargo(root, "test --package e2e --release --locked", &with_binary))?;
        step("soak", || cargo("run --release --package bench --locked -- soak --quick"))?;
    }
    println!("ci: all passed in {:.0?}", started.elapsed());
    Ok(())
}

/// Runs the cases of conformance and writes what comes of them; CI's own run of them compares.
pub(crate) fn conformance(root: &Path) -> Result<()> {
    let update = [("UPDATE_REFERENCE", "1")];
    cargo(root, "test --package writegate --test it --locked conformance", &update)?;
    peers::fetch(root)?;
    cargo(root, "test --package e2e --release --locked conformance", &update)
}

fn step(name: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    println!("ci: {name} …");
    let started = Instant::now();
    work().with_context(|| format!("ci: FAILED in step `{name}` after {:.1?}", started.elapsed()))?;
    println!("ci: {name} ok, {:.1?}", started.elapsed());
    Ok(())
}

fn cargo(root: &Path, arguments: &str, environment: &[(&str, &str)]) -> Result<()> {
    // The cargo that runs this chore, so that toolchain overrides hold.
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.args(arguments.split_whitespace()).envs(environment.iter().copied());
    finish(&mut command, root).with_context(|| format!("cargo {arguments}"))
}

/// Where cargo builds to.
fn target(root: &Path) -> PathBuf {
    root.join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// Bans, licences and sources; advisories need a database that an offline machine cannot fetch.
fn deny(root: &Path) -> Result<()> {
    let mut command = Command::new(cargo_deny(root)?);
    command.args(["--workspace", "--all-features", "check", "bans", "licenses", "sources"]);
    finish(&mut command, root).context("cargo deny check bans licenses sources")
}

/// cargo-deny of the wanted series: built once into `.cache/tools`, unoptimised because that takes a minute and a
/// check takes seconds either way.
fn cargo_deny(root: &Path) -> Result<PathBuf> {
    let tools = root.join(".cache/tools");
    let binary = tools.join("bin/cargo-deny");
    let version = Command::new(&binary).arg("--version").stderr(Stdio::null()).output();
    let wanted = format!("cargo-deny {}", CARGO_DENY.trim_start_matches('^'));
    if version.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).starts_with(&wanted)) {
        return Ok(binary);
    }
    let arguments = format!(
        "install --locked --debug --no-default-features cargo-deny --version {CARGO_DENY} --root {}",
        tools.display()
    );
    cargo(root, &arguments, &[])?;
    Ok(binary)
}

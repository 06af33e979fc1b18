//! The project's chores, run as `cargo xtask <chore>`: fetch real peers, check the house rules, run what CI runs.
//!
//! Must build in seconds and know nothing of the gateway's code.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a chore talks to the person at the terminal")]

mod apt;
mod browser;
mod ci;
mod collector;
mod fuzz;
mod mutations;
mod package;
mod peers;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};

const USAGE: &str = "usage: cargo xtask <chore>

chores:
  peers          fetch the real Prometheus, VictoriaMetrics and vmagent, and a browser, into .cache/peers
  peers browser  the browser alone
  tidy           check the house rules that no compiler checks
  ci [--quick]   run everything CI runs; --quick leaves out the real peers and the e2e tests
  conformance    run the cases of the compliance suites and write docs/conformance.md
  package        build the Debian packages into target/package; `--from DIR`: of the programs there
  package static build an archive whose programs need no library
  fuzz <target> <seconds>
                 explore a target of fuzz/ with libFuzzer
  fuzz keep <target>
                 add what exploring found to the target's corpus
  mutations      plant a mistake per promise and see that the simulation finds it; `mutations memory`: only such";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = workspace().and_then(|root| match words.as_slice() {
        ["peers"] => fetch(&root),
        ["peers", "browser"] => browser::fetch(&root),
        ["tidy"] => tidy::run(&root),
        ["ci"] => ci::run(&root, ci::Extent::Full),
        ["ci", "--quick"] => ci::run(&root, ci::Extent::Quick),
        ["conformance"] => ci::conformance(&root),
        ["fuzz", "keep", target] => fuzz::keep(&root, target),
        ["fuzz", target, seconds] => fuzz::explore(&root, target, seconds),
        ["package"] => package::debian(&root, None),
        ["package", "static"] => package::archive(&root),
        ["package", "--from", programs] => package::debian(&root, Some(Path::new(programs))),
        ["mutations"] => mutations::run(&root, None),
        ["mutations", promise] => mutations::run(&root, Some(promise)),
        _ => bail!("{USAGE}"),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Everything real that tests need.
fn fetch(root: &Path) -> Result<()> {
    peers::fetch(root)?;
    collector::build(root)?;
    browser::fetch(root)
}

/// The workspace's root: this package's parent directory.
fn workspace() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask lies in no directory")?;
    Ok(root.to_owned())
}

/// Whether a continuous integration service runs this, where a skipped step would be a silent hole.
fn in_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| value == "true")
}

/// Runs a command in the workspace; an error if it fails.
fn finish(command: &mut Command, root: &Path) -> Result<()> {
    let status = command.current_dir(root).stdin(Stdio::null()).status().context("start")?;
    if !status.success() {
        bail!("{status}");
    }
    Ok(())
}

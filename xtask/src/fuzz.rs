//! Explores with libFuzzer, on the stable compiler: coverage is LLVM's own pass, which needs no sanitizer.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::finish;

/// What makes the compiler count edges and comparisons (clang's sanitizer coverage).
const COVERAGE: [&str; 5] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// Explores a target for so many seconds, from its corpus and what was found before, which stays in `target/fuzz`.
///
/// # Errors
/// When it cannot be built, or something was found: its input is then in `target/fuzz/found`.
pub(crate) fn explore(root: &Path, target: &str, seconds: &str) -> Result<()> {
    let program = build(root)?;
    let (found, grown) = (root.join("target/fuzz/found"), root.join("target/fuzz/corpus").join(target));
    for directory in [&found, &grown] {
        std::fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
    }
    let corpus = corpus(root, target)?;
    let mut explorer = Command::new(program);
    explorer
        .env("WRITEGATE_FUZZ_TARGET", target)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/{target}-", found.display()))
        .args(["-max_len=4096", "-timeout=30", "-rss_limit_mb=4096", "-print_final_stats=1"])
        .args([&grown, &corpus]);
    finish(&mut explorer, root).with_context(|| format!("explore {target}; see {}", found.display()))
}

/// Adds to the committed corpus what of the explored one covers something new.
///
/// # Errors
/// When it cannot be built or run.
pub(crate) fn keep(root: &Path, target: &str) -> Result<()> {
    let program = build(root)?;
    let grown = root.join("target/fuzz/corpus").join(target);
    let mut merger = Command::new(program);
    merger
        .env("WRITEGATE_FUZZ_TARGET", target)
        .args(["-merge=1", "-max_len=4096"])
        .args([&corpus(root, target)?, &grown]);
    finish(&mut merger, root).with_context(|| format!("merge the corpus of {target}"))
}

fn corpus(root: &Path, target: &str) -> Result<std::path::PathBuf> {
    let corpus = root.join("fuzz/corpus").join(target);
    if !corpus.is_dir() {
        bail!("fuzz {target:?}: there is no such target; they are named as the directories in fuzz/corpus");
    }
    Ok(corpus)
}

fn build(root: &Path) -> Result<std::path::PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let host = host()?;
    let mut build = Command::new(cargo);
    build
        .env("RUSTFLAGS", COVERAGE.join(" "))
        .args([
            "build",
            "--profile",
            "fuzz",
            "--locked",
            "--package",
            "fuzz",
            "--bin",
            "explore",
            "--features",
            "explore",
        ])
        // With a target named, flags are not for build scripts.
        .args(["--target", &host, "--target-dir", "target/fuzz/build"]);
    finish(&mut build, root).context("build the explorer")?;
    Ok(root.join("target/fuzz/build").join(host).join("fuzz/explore"))
}

fn host() -> Result<String> {
    let told = Command::new("rustc").arg("-vV").output().context("ask rustc for its host")?;
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    let host = told.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc did not name its host")
}

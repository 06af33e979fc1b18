//! What users see of the configuration: files that work, files that do not and the messages they get, the printed
//! configuration and the reference.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed unwrap is a failed test")]

mod effective;
mod files;
mod operator;
mod parse_anything;
mod reference;

use std::path::{Path, PathBuf};

use writegate_config::{Config, Loaded, parse};

/// Parses `text` as if it stood in `writegate.yml` of the working directory.
fn parse_text(text: &str) -> Result<Loaded, String> {
    parse(text, Path::new("writegate.yml"), Path::new("")).map_err(|problems| problems.to_string())
}

fn config(text: &str) -> Config {
    parse_text(text).unwrap_or_else(|problems| panic!("{problems}\nin\n{text}")).config
}

/// The files of `testdata/` whose names end in `suffix`, sorted.
fn testdata(suffix: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> = entries.filter(|path| path.to_string_lossy().ends_with(suffix)).collect();
    paths.sort();
    assert!(!paths.is_empty(), "no {suffix} in testdata");
    paths
}

/// `text` with file names relative to `testdata/`, so that messages are the same everywhere.
fn without_directory(text: &str) -> String {
    text.replace(&format!("{}/testdata/", env!("CARGO_MANIFEST_DIR")), "")
}

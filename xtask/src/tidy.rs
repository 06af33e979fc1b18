//! The house rules that neither rustfmt nor clippy checks, over every file of the project.
//!
//! Reads files only. A rule that cannot be decided from text does not belong here.

mod links;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// How long a source file may be, its tests not counted.
const MAX_LINES: usize = 600;

/// Crates that must stay pure, and what their manifests may therefore not name: async runtimes, HTTP, clocks,
/// loggers, clients of a cluster.
const PURE: [&str; 10] = [
    "crates/remote-write/",
    "crates/otlp/",
    "crates/schedule/",
    "crates/segment-log/",
    "crates/dead-letters/",
    "crates/identity/",
    "crates/import/",
    "crates/quota/",
    "crates/replicas/",
    "crates/targets/",
];
const IMPURE: [&str; 12] = [
    "tokio",
    "tokio-util",
    "hyper",
    "hyper-util",
    "http",
    "tracing",
    "log",
    "chrono",
    "time",
    "jiff",
    "kube",
    "k8s-openapi",
];

/// What tests alone may depend on.
const FOR_TESTS: &str = "kube-double";

/// Parts of the gateway that meet only in the log: the folder, and the module it may not name.
const STRANGERS: [(&str, &str); 2] =
    [("crates/writegate/src/ingest", "delivery"), ("crates/writegate/src/delivery", "ingest")];

/// Words that may stand in no file, and why. Cut in two, so that this file may be checked as well.
const BANNED_TEXT: [(&str, &str, &str); 2] =
    [("sha", "red/", "a path outside the project"), ("design", ".md", "a document outside the project")];
const BANNED_IN_RUST: [(&str, &str, &str); 2] =
    [("TO", "DO", "unfinished work belongs in an issue"), ("FIX", "ME", "unfinished work belongs in an issue")];

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    path: String,
    /// From 1; 0 for the file as a whole.
    line: usize,
    what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(formatter, "{}: {}", self.path, self.what),
            line => write!(formatter, "{}:{line}: {}", self.path, self.what),
        }
    }
}

/// Checks every file that is tracked or could be; all findings are printed.
pub(crate) fn run(root: &Path) -> Result<()> {
    let files = files(root)?;
    let mut texts = BTreeMap::new();
    for path in &files {
        let bytes = fs::read(root.join(path)).with_context(|| format!("read {path}"))?;
        // Test data may be any bytes; the rules are about text.
        if let Ok(text) = String::from_utf8(bytes) {
            texts.insert(path.as_str(), text);
        }
    }
    let texts: BTreeMap<&str, &str> = texts.iter().map(|(path, text)| (*path, text.as_str())).collect();
    let mut findings = Vec::new();
    for (path, text) in &texts {
        check(path, text, &mut findings);
    }
    links::check(&texts, &mut findings);
    for finding in &findings {
        println!("{finding}");
    }
    if !findings.is_empty() {
        bail!("tidy: {} findings in {} files", findings.len(), files.len());
    }
    Ok(())
}

fn files(root: &Path) -> Result<Vec<String>> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .context("start git")?;
    if !output.status.success() {
        bail!("git ls-files: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let list = String::from_utf8(output.stdout).context("a file name is not UTF-8")?;
    // A file deleted but still in the index is listed too.
    let exists = |path: &&str| root.join(path).is_file();
    Ok(list.split('\0').filter(|path| !path.is_empty()).filter(exists).map(str::to_owned).collect())
}

fn check(path: &str, text: &str, findings: &mut Vec<Finding>) {
    let mut found = |line: usize, what: String| findings.push(Finding { path: path.to_owned(), line, what });
    check_banned(text, &BANNED_TEXT, false, &mut found);
    if path.ends_with(".rs") {
        check_banned(text, &BANNED_IN_RUST, true, &mut found);
        check_rust(path, text, &mut found);
        check_strangers(path, text, &mut found);
    }
    if path.ends_with("Cargo.toml") {
        check_manifest(path, text, &mut found);
    }
}

/// Reports the banned words; `whole` asks for words of their own, otherwise only what precedes must not be a name.
fn check_banned(text: &str, banned: &[(&str, &str, &str)], whole: bool, found: &mut impl FnMut(usize, String)) {
    let is_name = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    for (head, tail, why) in banned {
        let word = format!("{head}{tail}");
        for (index, line) in text.lines().enumerate() {
            let hit = line.match_indices(&word).any(|(at, _)| {
                let before = line[..at].chars().next_back().is_some_and(is_name);
                let after = line[at + word.len()..].chars().next().is_some_and(is_name);
                !(before || whole && after)
            });
            if hit {
                found(index + 1, format!("`{word}`: {why}"));
            }
        }
    }
}

fn check_rust(path: &str, text: &str, found: &mut impl FnMut(usize, String)) {
    if !text.trim_start().starts_with("//!") {
        found(1, "the file does not start with `//!`: what it is for, and what it must not do".to_owned());
    }
    let all_tests = path.contains("/tests/") || path.starts_with("tests/") || path.ends_with("/tests.rs");
    let tests_from = if all_tests { 0 } else { tests_from(text) };
    if tests_from > MAX_LINES {
        found(0, format!("{tests_from} lines without tests; split it, {MAX_LINES} is the limit"));
    }
    for (index, line) in text.lines().enumerate().skip(tests_from) {
        let code = line.trim_start();
        if !code.starts_with("//") && calls_sleep(code) {
            found(index + 1, "a test sleeps; wait on an event or advance paused time".to_owned());
        }
    }
}

/// The line where the file's own tests begin. Other items may be for tests, too.
fn tests_from(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let begins = |two: &[&str]| two.first() == Some(&"#[cfg(test)]") && two.last() == Some(&"mod tests {");
    lines.windows(2).position(begins).unwrap_or(lines.len())
}

/// Whether the line calls a function named `sleep` or `sleep_until`, by any path.
fn calls_sleep(line: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_' || c == '"';
    [concat!("sle", "ep("), concat!("sle", "ep_until(")].iter().any(|call| {
        line.match_indices(call).any(|(at, _)| !line[..at].ends_with(is_name) && !line[..at].ends_with("fn "))
    })
}

/// Reports uses of the other stranger's module, as `crate::other` or inside `crate::{…}`.
fn check_strangers(path: &str, text: &str, found: &mut impl FnMut(usize, String)) {
    for (folder, other) in STRANGERS {
        let inside = path.strip_prefix(folder).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'));
        if !inside {
            continue;
        }
        let mut group_depth = 0_usize;
        for (index, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let mut named = code.contains(&format!("crate::{other}"));
            if let Some((_, group)) = code.split_once("crate::{") {
                named |= starts_item(group, other);
                group_depth = 1 + depth_change(group, 0);
            } else if group_depth > 0 {
                named |= group_depth == 1 && starts_item(code, other);
                group_depth = depth_change(code, group_depth);
            }
            if named {
                found(index + 1, format!("`{folder}` may not use `{other}`; they meet in the log"));
            }
        }
    }
}

/// Whether one of the comma-separated items names the module or something in it.
fn starts_item(items: &str, module: &str) -> bool {
    items.split([',', '{', '}', ';']).any(|item| {
        let item = item.trim();
        item == module || item.strip_prefix(module).is_some_and(|rest| rest.starts_with("::"))
    })
}

fn depth_change(code: &str, depth: usize) -> usize {
    code.chars().fold(depth, |depth, c| match c {
        '{' => depth + 1,
        '}' => depth.saturating_sub(1),
        _ => depth,
    })
}

fn check_manifest(path: &str, text: &str, found: &mut impl FnMut(usize, String)) {
    let is_package = text.lines().any(|line| line.trim() == "[package]");
    let lints = text.lines().skip_while(|line| line.trim() != "[lints]").nth(1);
    if is_package && lints.is_none_or(|line| line.trim() != "workspace = true") {
        found(0, "`[lints] workspace = true` is missing".to_owned());
    }
    check_for_tests(path, text, found);
    if !PURE.iter().any(|folder| path.starts_with(folder)) {
        return;
    }
    let mut in_dependencies = false;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(section) = line.strip_prefix('[') {
            in_dependencies = section.contains("dependencies");
            let table = section.trim_end_matches(']').rsplit_once("dependencies.");
            if let Some((_, name)) = table.filter(|(_, name)| IMPURE.contains(name)) {
                found(index + 1, format!("a pure crate may not depend on {name}"));
            }
        } else if in_dependencies {
            let name = line.split(['.', '=', ' ']).next().unwrap_or_default();
            if IMPURE.contains(&name) {
                found(index + 1, format!("a pure crate may not depend on {name}"));
            }
        }
    }
}

/// Reports a crate that ships what is for tests.
fn check_for_tests(path: &str, text: &str, found: &mut impl FnMut(usize, String)) {
    let mut section = "";
    for (index, line) in text.lines().map(str::trim).enumerate() {
        if line.starts_with('[') {
            section = line;
        }
        let ships =
            path.starts_with("crates/") && section.contains("dependencies") && !section.contains("dev-dependencies");
        let named = line.split(['.', '=', ' ']).next() == Some(FOR_TESTS);
        if ships && (named || line.ends_with(&format!("dependencies.{FOR_TESTS}]"))) {
            found(index + 1, format!("{FOR_TESTS} is for tests: a dev-dependency"));
        }
    }
}

#[cfg(test)]
mod tests;

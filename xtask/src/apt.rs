//! The machine's own Debian package source, as it is or asked for another suite of it.
//!
//! No archive is named here: hosts, components and keys are those the machine is configured with, and apt checks the
//! signatures as ever. Nothing of the machine's own apt state is touched.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The suites a machine's stanza may name; one of them is replaced by the suite that is wanted.
const SUITES: [&str; 6] = ["bookworm", "trixie", "forky", "sid", "testing", "unstable"];

/// An apt state of its own.
#[derive(Debug)]
pub(crate) struct Apt {
    directory: PathBuf,
    /// For one suite; otherwise the machine's own sources.
    is_of_suite: bool,
}

/// What is never unpacked beside a program: the loader would have to be of the same version.
const LOADED_FIRST: [&str; 3] = ["libc6", "libgcc-s1", "libstdc++6"];

impl Apt {
    /// Prepares `directory` and fetches the suite's package lists. Fails where apt or the archive cannot be had.
    pub(crate) fn new(directory: &Path, suite: &str) -> Result<Self> {
        let sources = machine_sources().context("read the machine's apt sources")?;
        let Some(derived) = sources.iter().find_map(|source| derive(source, suite)) else {
            bail!("no Debian archive among the machine's apt sources");
        };
        make_directories(directory)?;
        let file = directory.join("sources").join(format!("peers.{}", derived.extension()));
        fs::write(&file, derived.text()).with_context(|| format!("write {}", file.display()))?;
        let apt = Self { directory: directory.to_owned(), is_of_suite: true };
        apt.run("apt-get", &["update"])?;
        Ok(apt)
    }

    /// The same for what the machine itself would install.
    pub(crate) fn of_machine(directory: &Path) -> Result<Self> {
        make_directories(directory)?;
        let apt = Self { directory: directory.to_owned(), is_of_suite: false };
        apt.run("apt-get", &["update"])?;
        Ok(apt)
    }

    /// These packages, and all that the machine lacks for them.
    pub(crate) fn closure(&self, packages: &[&str]) -> Result<Vec<String>> {
        let install = ["install", "--simulate", "--no-install-recommends"];
        let simulated = self.run("apt-get", &[&install, packages].concat())?;
        let installed = simulated.lines().filter_map(|line| line.strip_prefix("Inst ")?.split(' ').next());
        let mut all: Vec<String> = installed.chain(packages.iter().copied()).map(str::to_owned).collect();
        all.retain(|package| !LOADED_FIRST.contains(&package.as_str()));
        all.sort();
        all.dedup();
        Ok(all)
    }

    /// The version that would be downloaded, or an error when the suite has no such package.
    pub(crate) fn candidate(&self, package: &str) -> Result<String> {
        let policy = self.run("apt-cache", &["policy", package])?;
        let version = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate: "));
        match version {
            Some(version) if version != "(none)" => Ok(version.to_owned()),
            _ => bail!("the suite has no package {package}"),
        }
    }

    /// Downloads the package and unpacks it below `root`.
    pub(crate) fn unpack(&self, package: &str, root: &Path) -> Result<()> {
        // Left-overs of an interrupted run must not be taken for what is downloaded here.
        let packages = self.directory.join("packages").join(package);
        if packages.exists() {
            fs::remove_dir_all(&packages).with_context(|| format!("empty {}", packages.display()))?;
        }
        fs::create_dir_all(&packages).with_context(|| format!("create {}", packages.display()))?;
        self.run_in("apt-get", &["download", package], &packages)?;
        let archive = fs::read_dir(&packages)?.next().context("apt-get download left no file")??.path();
        let output = Command::new("dpkg-deb").arg("-x").arg(&archive).arg(root).output().context("start dpkg-deb")?;
        if !output.status.success() {
            bail!("dpkg-deb -x {}: {}", archive.display(), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }

    /// Removes the lists and packages.
    pub(crate) fn remove(self) -> Result<()> {
        fs::remove_dir_all(&self.directory).with_context(|| format!("remove {}", self.directory.display()))
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        self.run_in(program, arguments, &self.directory)
    }

    fn run_in(&self, program: &str, arguments: &[&str], directory: &Path) -> Result<String> {
        let at = |part: &str| self.directory.join(part).display().to_string();
        let mut command = Command::new(program);
        if self.is_of_suite {
            command.args(["-o", "Dir::Etc::sourcelist=/dev/null"]);
            command.args(["-o", &format!("Dir::Etc::sourceparts={}", at("sources"))]);
        }
        let output = command
            .args(["-o", &format!("Dir::State::lists={}", at("lists"))])
            .args(["-o", &format!("Dir::Cache={}", at("cache"))])
            // As root apt drops its rights for downloads, and then cannot write here.
            .args(["-o", "APT::Sandbox::User=root"])
            .args(["-o", "Acquire::Retries=2", "-o", "Acquire::http::Timeout=30"])
            .args(["-o", "APT::Update::Error-Mode=any"])
            .args(arguments)
            .current_dir(directory)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("start {program}"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("E:")).collect();
            bail!("{program} {}: {}", arguments.join(" "), errors.join("; "));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

fn make_directories(directory: &Path) -> Result<()> {
    for part in ["sources", "lists/partial", "cache/archives/partial", "packages"] {
        let path = directory.join(part);
        fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
    }
    Ok(())
}

/// One apt source file in either of apt's formats.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    /// `*.sources`: stanzas of fields.
    Deb822(String),
    /// `*.list`: one line per source.
    OneLine(String),
}

impl Source {
    fn extension(&self) -> &'static str {
        match self {
            Self::Deb822(_) => "sources",
            Self::OneLine(_) => "list",
        }
    }

    fn text(&self) -> &str {
        match self {
            Self::Deb822(text) | Self::OneLine(text) => text,
        }
    }
}

fn machine_sources() -> Result<Vec<Source>> {
    let mut files: Vec<PathBuf> = vec!["/etc/apt/sources.list".into()];
    if let Ok(entries) = fs::read_dir("/etc/apt/sources.list.d") {
        for entry in entries {
            files.push(entry?.path());
        }
    }
    files.sort();
    let mut sources = Vec::new();
    for file in files.iter().filter(|file| file.is_file()) {
        let text = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("sources") => sources.push(Source::Deb822(text)),
            Some("list") => sources.push(Source::OneLine(text)),
            _ => {}
        }
    }
    Ok(sources)
}

/// The machine's first plain Debian source with its suite replaced by `suite`; `None` when the file has none.
fn derive(source: &Source, suite: &str) -> Option<Source> {
    match source {
        Source::Deb822(text) => text.split("\n\n").find_map(|stanza| derive_stanza(stanza, suite)).map(Source::Deb822),
        Source::OneLine(text) => text.lines().find_map(|line| derive_line(line, suite)).map(Source::OneLine),
    }
}

fn derive_stanza(stanza: &str, suite: &str) -> Option<String> {
    let mut derived = String::new();
    let mut replaced = false;
    for line in stanza.lines().filter(|line| !line.starts_with('#')) {
        match line.split_once(':') {
            Some((field, value)) if field.eq_ignore_ascii_case("types") => {
                if !value.split_whitespace().any(|kind| kind == "deb") {
                    return None;
                }
                derived.push_str("Types: deb");
            }
            Some((field, value)) if field.eq_ignore_ascii_case("suites") => {
                // `<suite>-updates` beside the suite is left out, a stanza of `<suite>-security` is another archive.
                replaced = value.split_whitespace().any(|name| SUITES.contains(&name));
                derived.push_str("Suites: ");
                derived.push_str(suite);
            }
            Some((field, value)) if field.eq_ignore_ascii_case("enabled") && value.trim() == "no" => return None,
            _ => derived.push_str(line),
        }
        derived.push('\n');
    }
    replaced.then_some(derived)
}

fn derive_line(line: &str, suite: &str) -> Option<String> {
    let line = line.trim();
    if !line.starts_with("deb ") && !line.starts_with("deb\t") {
        return None;
    }
    let mut replaced = false;
    let words: Vec<&str> = line
        .split_whitespace()
        .map(|word| {
            if SUITES.contains(&word) {
                replaced = true;
                suite
            } else {
                word
            }
        })
        .collect();
    replaced.then(|| format!("{}\n", words.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &Source, suite: &str, expected: Option<&str>) {
        assert_eq!(derive(source, suite).as_ref().map(Source::text), expected, "{source:?}");
    }

    #[test]
    fn a_stanza_keeps_its_archive_and_key_and_names_the_wanted_suite() {
        let text = "Types: deb deb-src\n# http://snapshot.example.org/1\nURIs: http://mirror.example.org/debian\n\
                    Suites: bookworm bookworm-updates\nComponents: main\nSigned-By: /k.gpg\n\n\
                    Types: deb\nURIs: http://mirror.example.org/debian-security\nSuites: bookworm-security\n";
        let expected =
            "Types: deb\nURIs: http://mirror.example.org/debian\nSuites: sid\nComponents: main\nSigned-By: /k.gpg\n";
        check(&Source::Deb822(text.to_owned()), "sid", Some(expected));
    }

    #[test]
    fn a_one_line_source_keeps_its_options_and_names_the_wanted_suite() {
        let text = "# deb http://a.example.org/debian sid main\n\
                    deb http://a.example.org/security bookworm-security main\n\
                    deb-src http://a.example.org/debian bookworm main\n\
                    deb [signed-by=/k.gpg] http://a.example.org/debian bookworm main contrib\n";
        let expected = "deb [signed-by=/k.gpg] http://a.example.org/debian sid main contrib\n";
        check(&Source::OneLine(text.to_owned()), "sid", Some(expected));
    }

    #[test]
    fn a_source_of_something_else_is_not_asked_for_debian_packages() {
        check(&Source::Deb822("Types: deb\nURIs: https://n.example.org\nSuites: nodistro\n".into()), "sid", None);
        check(&Source::Deb822("Types: deb\nURIs: u\nSuites: sid\nEnabled: no\n".into()), "sid", None);
        check(&Source::Deb822("Types: deb-src\nURIs: u\nSuites: sid\n".into()), "sid", None);
        check(&Source::OneLine("deb https://c.example.org/apt cloud-sdk-bookworm main\n".into()), "sid", None);
    }
}

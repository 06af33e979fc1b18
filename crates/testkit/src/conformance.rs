//! The page of conformance, `docs/conformance.md`: each suite is a section of it, written by the run that shows it.
//!
//! A run compares its section with the page's; `UPDATE_REFERENCE=1` writes it instead (`cargo xtask conformance`). Knows
//! no case.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// How much a rule binds (RFC 2119).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// MUST, MUST NOT.
    Must,
    /// SHOULD, SHOULD NOT.
    Should,
    /// MAY.
    May,
}

impl Level {
    const fn name(self) -> &'static str {
        match self {
            Self::Must => "MUST",
            Self::Should => "SHOULD",
            Self::May => "MAY",
        }
    }
}

/// What a run says of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The gateway does what is asked.
    Pass,
    /// Not in these words, and why.
    Differs(&'static str),
    /// Another test shows that it does what is asked.
    ShownBy(&'static str),
}

/// One case of a suite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// What it is about, then what is sent or seen.
    pub name: String,
    /// How much it binds.
    pub level: Level,
    /// What came of it.
    pub outcome: Outcome,
}

/// Cases as a table in Markdown below a line that counts them.
pub fn table(cases: &[Case]) -> String {
    let differ = cases.iter().filter(|case| matches!(case.outcome, Outcome::Differs(_))).count();
    let mut text =
        format!("{} cases, {differ} of them differ.\n\n| case | level | outcome |\n| --- | --- | --- |\n", cases.len());
    for Case { name, level, outcome } in cases {
        let outcome = match outcome {
            Outcome::Pass => "pass".to_owned(),
            Outcome::Differs(why) => format!("differs: {why}"),
            Outcome::ShownBy(test) => format!("pass: `{test}`"),
        };
        // Writing to a string cannot fail.
        writeln!(text, "| {} | {} | {outcome} |", name.replace('|', "\\|"), level.name()).unwrap_or_default();
    }
    text
}

/// A run and the page say different things, or the page cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// What the page has.
    #[error(
        "the section {section:?} of {page} does not say what this run says, first at {line:?}; `cargo xtask conformance` writes it anew"
    )]
    Outdated {
        /// The page.
        page: PathBuf,
        /// Which part of it.
        section: String,
        /// The first line of the run that is not in the page at its place.
        line: String,
    },
    /// There is no place for it.
    #[error("find `<!-- begin: {section} -->` and `<!-- end: {section} -->` in {page}")]
    NoSection {
        /// The page.
        page: PathBuf,
        /// Which part of it.
        section: String,
    },
    /// The file cannot be read or written.
    #[error("use {page}")]
    File {
        /// The page.
        page: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Tests run side by side, and the page is one file.
static PAGE: Mutex<()> = Mutex::new(());

/// Compares a section of the project's page with what a run says, or writes it where `UPDATE_REFERENCE` is set.
pub fn agree(section: &str, text: &str) -> Result<(), PageError> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/conformance.md");
    agree_in(&page, section, text, std::env::var_os("UPDATE_REFERENCE").is_some())
}

fn agree_in(page: &Path, section: &str, text: &str, update: bool) -> Result<(), PageError> {
    let _only_one = PAGE.lock().unwrap_or_else(PoisonError::into_inner);
    let file = |source| PageError::File { page: page.to_owned(), source };
    let whole = std::fs::read_to_string(page).map_err(file)?;
    let (begin, end) = (format!("<!-- begin: {section} -->\n"), format!("<!-- end: {section} -->"));
    let found = whole.split_once(&begin).and_then(|(before, rest)| Some((before, rest.split_once(&end)?)));
    let Some((before, (held, after))) = found else {
        return Err(PageError::NoSection { page: page.to_owned(), section: section.to_owned() });
    };
    let text = format!("\n{}\n\n", text.trim());
    if update {
        return std::fs::write(page, format!("{before}{begin}{text}{end}{after}")).map_err(file);
    }
    if held == text {
        return Ok(());
    }
    let mut held_lines = held.lines();
    let line = text.lines().find(|line| held_lines.next() != Some(*line)).unwrap_or("its end").to_owned();
    Err(PageError::Outdated { page: page.to_owned(), section: section.to_owned(), line })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_compared_or_written_and_the_rest_of_the_page_stays() {
        let directory = tempfile::tempdir().expect("directory");
        let page = directory.path().join("page.md");
        std::fs::write(&page, "# Page\n<!-- begin: a -->\nold\n<!-- end: a -->\nafter\n").expect("page");
        let error = agree_in(&page, "a", "new\n", false).expect_err("another text");
        assert!(error.to_string().contains("does not say what this run says"), "{error}");
        agree_in(&page, "a", "new\n", true).expect("written");
        agree_in(&page, "a", "new", false).expect("the same");
        let whole = std::fs::read_to_string(&page).expect("page");
        assert_eq!(whole, "# Page\n<!-- begin: a -->\n\nnew\n\n<!-- end: a -->\nafter\n");
        assert!(matches!(agree_in(&page, "b", "", true), Err(PageError::NoSection { .. })));
    }

    #[test]
    fn a_table_counts_what_differs_and_says_why() {
        let case = |name: &str, outcome| Case { name: name.to_owned(), level: Level::Must, outcome };
        let cases = [
            case("a | b", Outcome::Pass),
            case("c", Outcome::Differs("because")),
            case("d", Outcome::ShownBy("a_test")),
        ];
        let expected = "3 cases, 1 of them differ.\n\n| case | level | outcome |\n| --- | --- | --- |\n\
                        | a \\| b | MUST | pass |\n| c | MUST | differs: because |\n| d | MUST | pass: `a_test` |\n";
        assert_eq!(table(&cases), expected);
    }
}

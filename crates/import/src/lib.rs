//! Another system's configuration as Writegate's: text in, a `writegate.yml` with comments and notes out.
//!
//! What cannot be carried over stands in the result as a comment, and is a note: nothing is left out in silence. Every result
//! passes the check of `writegate-config`, because each goes through it ([`draft`]): what it refuses is commented out. Nothing is
//! read or written but what the caller hands over; only the check reads files that a result refers to.

mod draft;
mod flags;
mod observatorium;
mod part;
mod prometheus;
mod vmagent;
mod words;

use std::fmt;
use std::path::{Path, PathBuf};

use writegate_config::{Diagnostic, Place, Problems};

pub use observatorium::observatorium;
pub use prometheus::prometheus;
pub use vmagent::vmagent;

/// A file of another system.
#[derive(Clone, Copy, Debug)]
pub struct Source<'s> {
    /// What it is called in notes.
    pub name: &'s Path,
    /// What it holds.
    pub text: &'s str,
    /// The directory that names of files in it are relative to; `None`: they stay as they are.
    pub base: Option<&'s Path>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// A `writegate.yml`.
    pub yaml: String,
    /// What its owner should know, in the order of the file; each is also a comment in it.
    pub notes: Vec<Note>,
}

impl Import {
    /// Whether all data goes where it went before.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.notes.iter().all(|note| note.weight != Weight::Missing)
    }
}

/// A remark about a place in a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// How much it matters.
    pub weight: Weight,
    /// The source.
    pub file: PathBuf,
    /// Where in it.
    pub place: Place,
    /// What is to say. It may quote names of the source, never its secrets.
    pub text: String,
}

/// How much a note matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// Something that changes where data goes, or which data, could not be carried over.
    Missing,
    /// Something is done in another way, is not needed, or stays where it is.
    Remark,
}

impl Weight {
    /// What stands before the text, and in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Remark => "note",
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if self.place.line > 0 {
            write!(f, "{}:{}:", self.place.line, self.place.column)?;
        }
        write!(f, " {}: {}", self.weight.as_str(), self.text)
    }
}

/// Why nothing could be made of a source.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// It cannot be read, or it is something else.
    #[error("{0}")]
    Unreadable(Box<Diagnostic>),
    /// Files that the result would refer to are refused by the check.
    #[error("{0}")]
    Refused(Problems),
}

/// An error at a place of a source.
fn unreadable(file: &Path, place: Place, message: impl Into<String>, hint: Option<&str>) -> ImportError {
    ImportError::Unreadable(Box::new(Diagnostic {
        file: file.to_owned(),
        line: place.line,
        column: place.column,
        message: message.into(),
        hint: hint.map(str::to_owned),
    }))
}

/// A text in one line, without what acts on a terminal: sources are written by others.
fn plain(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

#[cfg(test)]
mod tests;

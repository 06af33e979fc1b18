//! Values that must not be printed, and where they come from.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// What stands for a secret wherever a configuration is shown, as in Prometheus.
pub const HIDDEN: &str = "<secret>";

/// A string that neither `Debug` nor the printed configuration shows.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps `value`.
    #[must_use]
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The secret itself: for the request that needs it, never for a message.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

/// A secret, or the file that holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// Written in the configuration.
    Inline(Secret),
    /// In a file of its own, read again whenever it changes.
    File(PathBuf),
}

impl Default for SecretSource {
    fn default() -> Self {
        Self::Inline(Secret::default())
    }
}

impl SecretSource {
    /// The secret as it is at this moment. White space around a file's content is cut, as in Prometheus.
    ///
    /// # Errors
    /// If the file cannot be read or is not UTF-8.
    pub fn read(&self) -> Result<Secret, ReadSecret> {
        match self {
            Self::Inline(secret) => Ok(secret.clone()),
            Self::File(path) => read_trimmed(path).map(Secret),
        }
    }

    /// The file, if there is one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Inline(_) => None,
            Self::File(path) => Some(path),
        }
    }
}

/// A text that may be shown, or the file that holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TextSource {
    /// Written in the configuration.
    Inline(String),
    /// In a file of its own.
    File(PathBuf),
}

impl TextSource {
    /// The text as it is at this moment, without white space around a file's content.
    ///
    /// # Errors
    /// If the file cannot be read or is not UTF-8.
    pub fn read(&self) -> Result<String, ReadSecret> {
        match self {
            Self::Inline(text) => Ok(text.clone()),
            Self::File(path) => read_trimmed(path),
        }
    }

    /// The file, if there is one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Inline(_) => None,
            Self::File(path) => Some(path),
        }
    }
}

/// A file with a secret could not be read.
#[derive(Debug, thiserror::Error)]
#[error("read {path}", path = path.display())]
pub struct ReadSecret {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

fn read_trimmed(path: &Path) -> Result<String, ReadSecret> {
    match crate::read_text(path) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(source) => Err(ReadSecret { path: path.to_owned(), source }),
    }
}

/// Whether a header, parameter or label of this name usually carries a secret.
pub(crate) fn name_suggests_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["auth", "token", "key", "secret", "passw", "cookie", "credential", "signature"]
        .iter()
        .any(|part| name.contains(part))
}

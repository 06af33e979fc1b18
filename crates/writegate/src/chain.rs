//! Prints an error with all its causes on one line.

use std::error::Error;
use std::fmt;

/// Displays an error and its sources, joined by `: `.
pub(crate) struct Chain<'e>(pub(crate) &'e (dyn Error + 'e));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

//! Prometheus' relabeling of series on their way out: rules with exactly its semantics, on requests that are not decoded,
//! with a cache that makes a series that comes back cost a hash and a look-up.
//!
//! A request must have passed the check: labels in front of the data, sorted, distinct and not empty.

mod beside;
mod cache;
mod case;
mod escape;
mod label_set;
mod pipeline;
mod recipe;
mod regex;
mod relabeler;
mod rule;
mod scan;
mod template;

pub(crate) use beside::escaped_exemplar_labels;
pub use cache::Cache;
pub use escape::Scheme;
pub use pipeline::{Explanation, Outcome, Pipeline, Step};
pub use regex::{InvalidRegex, Regex};
pub use relabeler::{Relabeled, Relabeler};
pub use rule::{Action, Definition, Flaw, InvalidRule, Key, Rule};

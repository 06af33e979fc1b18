//! Relabeling through its public face: rules and regular expressions against what Prometheus and Go do with them,
//! requests against a reference; leaving out what is too old; series as text.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking, as tests do")]

mod ages;
mod bounds;
mod cached;
mod definitions;
mod naive;
mod names;
mod regexes;
mod requests;
mod rules;
mod texts;
mod validity;

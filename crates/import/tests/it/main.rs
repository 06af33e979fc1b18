//! What the importers say in the documentation.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests say what is wrong by panicking")]

mod coming_from;

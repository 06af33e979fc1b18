//! The double over HTTP, held against what a real API server answers. Nothing of its inside is known here.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests say what is wrong by panicking")]

mod access;
mod apply;
mod deletion;
mod discovery;
mod events;
mod faults;
mod harness;
mod lists;
mod objects;
mod patches;
mod schemas;
mod watches;

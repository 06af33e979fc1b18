//! Everything a user of the log can see, over a storage in memory that fails, tears and loses; `files.rs` over the real one.
#![expect(clippy::unwrap_used, reason = "a test's helpers fail the test")]

mod appends;
mod cursors;
mod faults;
mod files;
mod inspection;
mod model;
mod recovery;
mod retention;
mod rig;

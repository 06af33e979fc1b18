//! Everything a user of the store can see, over a storage in memory that fails and loses; `files.rs` over the real one.
#![expect(clippy::unwrap_used, reason = "a test's helpers fail the test")]

mod bound;
mod faults;
mod files;
mod leaving;
mod letters;
mod model;
mod rig;

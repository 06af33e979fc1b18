//! The program as it is started, against an API server that holds it to the roles it prints.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]
#![expect(clippy::needless_pass_by_value, reason = "objects are written where they are passed")]

mod annotation;
mod commands;
mod examples;
mod file;
mod harness;
mod help;
mod real;
mod remote_write;
mod resilience;
mod scale;
mod server;

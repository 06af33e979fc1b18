//! The gateway for Prometheus remote write: receive once, keep safely, deliver everywhere.
//!
//! A library only so that tests can run a whole gateway in their own process; the program is `main.rs`.

mod admin;
mod allocator;
mod allowance;
mod app;
mod auth;
mod basic_auth;
mod buffer;
mod chain;
pub mod cli;
mod clock;
mod connection;
mod counters;
mod dead_letters;
mod delivery;
mod demo;
mod engine;
mod explain;
mod figures;
mod ingest;
mod ledger;
mod metadata;
mod name_service;
mod offload;
mod probe;
mod record;
mod retention;
#[cfg(test)]
mod simulation;
mod tenant;
mod throttle;
mod tls;

pub use app::{Gateway, ReloadError, StartError, Surroundings};
pub use auth::AuthError;
pub use delivery::Patience;
pub use tls::TlsError;

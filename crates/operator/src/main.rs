//! The `writegate-operator` program: what people declare in Kubernetes becomes configuration of Prometheus or the gateway.
//!
//! What should be there is decided in the crate `targets`; this one watches, writes, and tells. It never sees a sample.

mod admin;
mod api;
mod cli;
mod events;
mod explain;
mod files;
mod lease;
mod metrics;
mod operator;
mod run;
mod watch;
mod write;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}

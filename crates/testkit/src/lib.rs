//! Stand-ins for a gateway's peers: senders with realistic series, receivers that behave as told, real programs.
//!
//! Used by the gateway's tests, by `writegate demo` and by the benchmarks, so nothing here panics, and nothing here
//! knows the gateway: what it checks it checks from outside.

pub mod chaos;
pub mod conformance;
pub mod endpoint;
pub mod latency;
pub mod ledger;
pub mod load;
pub mod peers;
pub mod process;
pub mod raw;
pub mod recording;
pub mod sender;
pub mod series;
pub mod workload;

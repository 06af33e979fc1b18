//! Requests to other servers, set up the way Prometheus describes HTTP clients: connections ([`connect`]), TLS settings
//! ([`tls`]), the hosts that are reached without a proxy ([`no_proxy`]), and single bounded exchanges ([`fetch`]).
//!
//! Knows no remote write. Logs nothing: every error says in one line, for a person, what was attempted and why it failed.

pub mod connect;
pub mod fetch;
pub mod no_proxy;
pub mod tls;

//! Requests to other servers, set up the way Prometheus describes HTTP clients: connections ([`connect`]), through proxies too, TLS settings
//! ([`tls`]), the hosts that are reached without a proxy ([`no_proxy`]), what a request shows to be let in
//! ([`credential`]), and single bounded exchanges ([`fetch`]).
//!
//! Knows no remote write. Logs nothing: every error says in one line, for a person, what was attempted and why it failed.

pub mod assertion;
pub mod aws;
mod azure;
pub mod connect;
pub mod credential;
pub mod fetch;
pub mod no_proxy;
mod oauth2;
mod proxy;
pub mod sigv4;
pub mod tls;
pub mod token;

#[cfg(test)]
mod testing;

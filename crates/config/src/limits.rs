//! How much senders may send: limits on requests and series, and where a tenant's differ.
//!
//! Nothing here reads YAML or counts anything; `read::limits` and the gateway do.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use remote_write::relabel::{InvalidRegex, Regex};

use crate::config::Config;
use crate::tenant::{TenantName, Tenants};

/// Limits on requests, and what holds for each tenant. 0 is no limit for each of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request's body as sent.
    pub request_bytes: u64,
    /// Bytes of a request's body decompressed.
    pub decoded_bytes: u64,
    /// Bytes of all requests being read.
    pub in_flight_bytes: u64,
    /// What holds for a tenant whose entry says nothing else; see [`Config::limits_of`].
    pub tenant: TenantLimits,
}

/// How much one tenant may send. 0 is no limit for each of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantLimits {
    /// Data points: samples and histograms.
    pub samples_per_second: u64,
    /// Bytes of bodies as sent.
    pub bytes_per_second: u64,
    /// Requests.
    pub requests_per_second: u64,
    /// How what is above one of the three rates is answered.
    pub over_limit: OverLimit,
    /// Series seen lately.
    pub active_series: u32,
    /// Open connections.
    pub connections: u32,
    /// Labels of a series.
    pub label_names: u32,
    /// Bytes of a label's value.
    pub label_value_bytes: u32,
    /// Requests in a window of time, by path; each rule whose pattern matches counts.
    pub rate_limits: Vec<RateLimit>,
}

/// Where a tenant's limits differ from [`Limits::tenant`], which holds for what is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitOverrides {
    /// As [`TenantLimits::samples_per_second`], and so on.
    pub samples_per_second: Option<u64>,
    /// See there.
    pub bytes_per_second: Option<u64>,
    /// See there.
    pub requests_per_second: Option<u64>,
    /// See there.
    pub over_limit: Option<OverLimit>,
    /// See there.
    pub active_series: Option<u32>,
    /// See there.
    pub connections: Option<u32>,
    /// See there.
    pub label_names: Option<u32>,
    /// See there.
    pub label_value_bytes: Option<u32>,
    /// See there; instead of the rules for all, not beside them.
    pub rate_limits: Option<Vec<RateLimit>>,
}

/// What a request above a rate is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OverLimit {
    /// 503 with `Retry-After`: every sender keeps it and comes again.
    #[default]
    Delay,
    /// 429 with `Retry-After`: Prometheus and the `OpenTelemetry` Collector drop it unless they are told otherwise.
    Reject,
}

/// So many requests in a window of time, on the paths that match: Observatorium's `rateLimits`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Which requests count.
    pub endpoint: PathPattern,
    /// How many pass.
    pub limit: NonZeroU32,
    /// In which time; more than 0.
    pub window: Duration,
}

/// A regular expression in Go's syntax that matches a path if it matches any part of it, as Observatorium's do.
#[derive(Clone, Debug)]
pub struct PathPattern {
    text: String,
    regex: Regex,
}

impl PathPattern {
    /// Compiles `text`.
    ///
    /// # Errors
    /// When Go would not take it, or when it is too large.
    pub fn new(text: &str) -> Result<Self, InvalidRegex> {
        // By itself first: wrapped, `a)(b` would be well formed, and offsets would not be those of what is written.
        Regex::new(text)?;
        let regex = Regex::new(&format!("(?s:.*)(?-s:{text})(?s:.*)"))?;
        Ok(Self { text: text.to_owned(), regex })
    }

    /// The expression as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether any part of `path` matches.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        self.regex.is_match(path)
    }
}

/// Equal when their text is.
impl PartialEq for PathPattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for PathPattern {}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Config {
    /// What holds for `name`: its own entry key by key, or the entry `*`, then `limits`.
    #[must_use]
    pub fn limits_of(&self, name: &TenantName) -> TenantLimits {
        self.tenants.limits_of(name, &self.limits.tenant)
    }
}

impl Tenants {
    /// What holds for `name` where `defaults` hold for all: see [`Config::limits_of`].
    #[must_use]
    pub fn limits_of(&self, name: &TenantName, defaults: &TenantLimits) -> TenantLimits {
        let mut limits = defaults.clone();
        if let Some(tenant) = self.get(name) {
            tenant.limits.apply_to(&mut limits);
        }
        limits
    }
}

impl LimitOverrides {
    /// Puts what is said here in place of what `limits` says.
    pub fn apply_to(&self, limits: &mut TenantLimits) {
        fn put<T: Clone>(to: &mut T, written: Option<&T>) {
            if let Some(value) = written {
                to.clone_from(value);
            }
        }
        put(&mut limits.samples_per_second, self.samples_per_second.as_ref());
        put(&mut limits.bytes_per_second, self.bytes_per_second.as_ref());
        put(&mut limits.requests_per_second, self.requests_per_second.as_ref());
        put(&mut limits.over_limit, self.over_limit.as_ref());
        put(&mut limits.active_series, self.active_series.as_ref());
        put(&mut limits.connections, self.connections.as_ref());
        put(&mut limits.label_names, self.label_names.as_ref());
        put(&mut limits.label_value_bytes, self.label_value_bytes.as_ref());
        put(&mut limits.rate_limits, self.rate_limits.as_ref());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_pattern_matches_any_part_of_a_path_as_gos_match_string_does() {
        for (pattern, path, matches) in [
            ("/api/metrics/v1/.+/api/v1/receive", "/api/metrics/v1/blue/api/v1/receive", true),
            ("/api/metrics/v1/.+/api/v1/receive", "/api/metrics/v1/api/v1/receive", false),
            ("receive", "/api/metrics/v1/blue/api/v1/receive", true),
            ("receive$", "/receive/", false),
            ("^/api|push$", "/prom/push", true),
            ("^/api|push$", "/prom/api", false),
            ("(?i)RECEIVE", "/receive", true),
            ("", "/", true),
            ("x", "", false),
        ] {
            assert_eq!(PathPattern::new(pattern).unwrap().matches(path), matches, "{pattern} {path}");
        }
        for (wrong, offset) in [("a)(b", 1), ("(", 0), ("a**", 2)] {
            assert_eq!(PathPattern::new(wrong).unwrap_err().offset, offset, "{wrong}");
        }
    }
}

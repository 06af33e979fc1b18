//! What a tenant may send, and how much of it is left: the rates and the active series of `limits`, counted for each tenant.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use otlp::accumulate::Totals;
use quota::rate::Rate;
use quota::series::ActiveSeries;
use quota::window::{SlidingWindow, Standing};
use remote_write::Counts;
use writegate_config::{OverLimit, RateLimit, TenantLimits};

use crate::clock;

/// What one tenant has left. It outlives reloads: limits come with each call, and another one counts at once.
#[derive(Debug)]
pub(crate) struct Allowance {
    requests: Rate,
    bytes: Rate,
    samples: Rate,
    windows: Mutex<Vec<(RateLimit, SlidingWindow)>>,
    series: ActiveSeries,
    connections: AtomicU32,
    /// What its deltas came to, if they are accumulated: like all else here it outlives reloads, and begins before the tenant
    /// has a log.
    deltas: Mutex<Totals>,
    /// How many requests each limit refused, in whole or in part.
    refused: [AtomicU64; Limit::ALL.len()],
}

/// What can be limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    Samples,
    Bytes,
    Requests,
    Windows,
    ActiveSeries,
    Connections,
}

impl Limit {
    pub(crate) const ALL: [Self; 6] =
        [Self::Samples, Self::Bytes, Self::Requests, Self::Windows, Self::ActiveSeries, Self::Connections];

    /// The key under `limits`.
    pub(crate) const fn key(self) -> &'static str {
        match self {
            Self::Samples => "samples_per_second",
            Self::Bytes => "bytes_per_second",
            Self::Requests => "requests_per_second",
            Self::Windows => "rate_limits",
            Self::ActiveSeries => "active_series",
            Self::Connections => "connections",
        }
    }

    /// What it is that there is too much of.
    const fn what(self) -> &'static str {
        match self {
            Self::Samples => "samples",
            Self::Bytes => "bytes",
            Self::Requests | Self::Windows => "requests",
            Self::ActiveSeries => "series",
            Self::Connections => "connections",
        }
    }
}

/// A request is above a limit of its tenant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Exceeded {
    /// One of the rates.
    #[error("the tenant's limit of {per_second} {} per second is reached (limits.{})", limit.what(), limit.key())]
    Rate {
        limit: Limit,
        per_second: u64,
        /// Until this request would pass, if no other came.
        wait: Duration,
        answer: OverLimit,
    },
    /// One of the rules by path.
    #[error("the tenant's limit of {} requests in {:?} on this path is reached (limits.rate_limits)", standing.limit, window)]
    Window { standing: Standing, window: Duration, wait: Duration },
    /// Connections.
    #[error("the tenant's limit of {limit} connections is reached (limits.connections)")]
    Connections { limit: u32 },
}

impl Default for Allowance {
    fn default() -> Self {
        // Unguessable: who knows the seed can choose series that are slow to look up.
        let seed = RandomState::new().hash_one(());
        Self {
            requests: Rate::new(0),
            bytes: Rate::new(0),
            samples: Rate::new(0),
            windows: Mutex::default(),
            series: ActiveSeries::new(seed),
            connections: AtomicU32::new(0),
            deltas: Mutex::default(),
            refused: Default::default(),
        }
    }
}

impl Allowance {
    /// Takes a request on `path` with a body of `bytes`, as far as its size is known. Gives how the tenant stands with the rule by
    /// path that leaves the least, if any concerns it.
    ///
    /// # Errors
    /// When it is one too many, or too large; no rate counts it then.
    pub(crate) fn take_request(
        &self,
        limits: &TenantLimits,
        path: &str,
        bytes: u64,
    ) -> Result<Option<Standing>, Exceeded> {
        self.take(Limit::Requests, (1, limits.requests_per_second), limits)?;
        let rest = || {
            let standing = self.take_from_windows(&limits.rate_limits, path)?;
            self.take_bytes(limits, bytes)?;
            Ok(standing)
        };
        rest().inspect_err(|_exceeded| self.requests.give_back(1))
    }

    /// Takes bytes of a body as sent.
    ///
    /// # Errors
    /// When they are too many; they do not count then.
    pub(crate) fn take_bytes(&self, limits: &TenantLimits, bytes: u64) -> Result<(), Exceeded> {
        self.take(Limit::Bytes, (bytes, limits.bytes_per_second), limits)
    }

    /// The running totals of its deltas.
    pub(crate) const fn deltas(&self) -> &Mutex<Totals> {
        &self.deltas
    }

    /// Takes samples and histograms that are about to be stored.
    ///
    /// # Errors
    /// When they are too many; they do not count then.
    pub(crate) fn take_samples(&self, limits: &TenantLimits, counts: Counts) -> Result<(), Exceeded> {
        self.take(Limit::Samples, (samples(counts), limits.samples_per_second), limits)
    }

    /// Gives back samples and histograms that were not stored in the end.
    pub(crate) fn give_back_samples(&self, counts: Counts) {
        self.samples.give_back(samples(counts));
    }

    /// Counts the series of a request, and adds the places in `hashes` of those for which there is no room to `refused`.
    pub(crate) fn admit_series(&self, limits: &TenantLimits, hashes: &[u32], refused: &mut Vec<usize>) {
        self.series.admit(hashes, limits.active_series as usize, clock::monotonic_ns(), refused);
        if !refused.is_empty() {
            self.refuses(Limit::ActiveSeries);
        }
    }

    /// How many requests were refused, in whole or in part, for this limit.
    pub(crate) fn refused(&self, limit: Limit) -> u64 {
        self.refused[limit as usize].load(Relaxed)
    }

    fn refuses(&self, limit: Limit) {
        self.refused[limit as usize].fetch_add(1, Relaxed);
    }

    fn take(&self, limit: Limit, (units, per_second): (u64, u64), limits: &TenantLimits) -> Result<(), Exceeded> {
        let rate = match limit {
            Limit::Samples => &self.samples,
            Limit::Bytes => &self.bytes,
            _ => &self.requests,
        };
        let now = clock::monotonic_ns();
        rate.set_limit(per_second, now);
        rate.take(units, now).map_err(|wait| {
            self.refuses(limit);
            Exceeded::Rate { limit, per_second, wait, answer: limits.over_limit }
        })
    }

    /// How many series were seen in the last 10 to 20 minutes.
    pub(crate) fn active_series(&self) -> u64 {
        self.series.count(clock::monotonic_ns())
    }

    /// Counts a connection as the tenant's.
    ///
    /// # Errors
    /// When it is one too many.
    pub(crate) fn connect(self: &Arc<Self>, limits: &TenantLimits) -> Result<Connected, Exceeded> {
        let limit = limits.connections;
        let add = |count| (limit == 0 || count < limit).then_some(count + 1);
        self.connections.fetch_update(Relaxed, Relaxed, add).map_err(|_count| {
            self.refuses(Limit::Connections);
            Exceeded::Connections { limit }
        })?;
        Ok(Connected(Arc::clone(self)))
    }

    /// How many connections are the tenant's.
    pub(crate) fn connections(&self) -> u32 {
        self.connections.load(Relaxed)
    }

    /// A request counts for every rule whose expression matches its path.
    fn take_from_windows(&self, rules: &[RateLimit], path: &str) -> Result<Option<Standing>, Exceeded> {
        if rules.is_empty() {
            return Ok(None);
        }
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        if windows.iter().map(|(rule, _)| rule).ne(rules) {
            // What other rules counted says nothing about these.
            *windows = rules.iter().map(|rule| (rule.clone(), SlidingWindow::new(rule.limit, rule.window))).collect();
        }
        let (now, mut least) = (clock::monotonic_ns(), None::<Standing>);
        for (rule, window) in windows.iter().filter(|(rule, _)| rule.endpoint.matches(path)) {
            let standing = window.take(now).map_err(|refused| {
                self.refuses(Limit::Windows);
                Exceeded::Window { standing: refused.standing, window: rule.window, wait: refused.retry_after }
            })?;
            least = Some(least.filter(|least| least.remaining <= standing.remaining).unwrap_or(standing));
        }
        Ok(least)
    }
}

/// A connection that counts as a tenant's until this is dropped.
#[derive(Debug)]
pub(crate) struct Connected(Arc<Allowance>);

impl Connected {
    /// Whether it counts as that tenant's.
    pub(crate) fn is_with(&self, allowance: &Arc<Allowance>) -> bool {
        Arc::ptr_eq(&self.0, allowance)
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Relaxed);
    }
}

/// What the limit on samples counts.
const fn samples(counts: Counts) -> u64 {
    counts.samples + counts.histograms
}

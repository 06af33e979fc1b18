//! One remote-write target: what it takes, how it is reached, and how it has been doing. Shared by the deliveries of
//! all tenants to it.

use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::StatusCode;
use remote_write::{Compression, Protocol};
use tokio::sync::Semaphore;
use writegate_config::{CompressionChoice, ProtocolChoice};

use super::form::{Payload, Target};
use super::send::Client;
use crate::counters::{BATCH_SECONDS, CountsCounter, Histogram};

/// Requests to one endpoint at once, over all tenants. Deliveries take turns in the order they ask.
const CONCURRENCY: usize = 16;

/// For how long an endpoint's refusal of a protocol is remembered.
const LEARNED_FOR: Duration = Duration::from_secs(3600);

/// A target of deliveries.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) config: writegate_config::Endpoint,
    pub(super) client: Client,
    pub(super) turns: Arc<Semaphore>,
    learned: Mutex<Option<Learned>>,
    health: Mutex<Health>,
    pub(crate) stats: Arc<EndpointStats>,
}

/// What an endpoint's answers taught.
#[derive(Clone, Copy, Debug)]
struct Learned {
    only: Protocol,
    at: Instant,
}

/// What an operator wants to know first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Health {
    /// The last failure, if nothing was delivered since.
    pub(crate) error: Option<String>,
    /// The status that holds this endpoint, if its configuration is at fault.
    pub(crate) held: Option<StatusCode>,
    logged: Option<Instant>,
    unlogged: u64,
}

/// Counted since the start of the process; the names follow Prometheus' own `prometheus_remote_storage_*`.
#[derive(Debug)]
pub(crate) struct EndpointStats {
    /// Per attempt.
    pub(crate) sent: CountsCounter,
    pub(crate) failed: CountsCounter,
    pub(crate) retried: CountsCounter,
    pub(crate) metadata: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) batch_seconds: Histogram,
    pub(crate) in_flight: AtomicUsize,
    pub(crate) highest_sent_ms: AtomicI64,
    /// Requests by status code; `<error>` (0) when there was no answer.
    answers: Mutex<Vec<(u16, u64)>>,
}

impl Default for EndpointStats {
    fn default() -> Self {
        Self {
            sent: CountsCounter::default(),
            failed: CountsCounter::default(),
            retried: CountsCounter::default(),
            metadata: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            batch_seconds: Histogram::new(BATCH_SECONDS),
            in_flight: AtomicUsize::new(0),
            highest_sent_ms: AtomicI64::new(i64::MIN),
            answers: Mutex::default(),
        }
    }
}

impl EndpointStats {
    pub(super) fn attempt(&self, payload: &Payload, attempt: u32) {
        self.sent.add(payload.counts);
        self.metadata.fetch_add(u64::from(payload.families), Ordering::Relaxed);
        self.bytes.fetch_add(payload.len() as u64, Ordering::Relaxed);
        if attempt > 0 {
            self.retried.add(payload.counts);
        }
    }

    pub(super) fn answered(&self, code: Option<StatusCode>, elapsed: Duration) {
        self.batch_seconds.observe(elapsed);
        let code = code.map_or(0, |code| code.as_u16());
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        match answers.iter_mut().find(|(known, _)| *known == code) {
            Some((_, count)) => *count += 1,
            None => answers.push((code, 1)),
        }
    }
}

impl EndpointStats {
    /// Requests by status code; 0 stands for no answer.
    pub(crate) fn answers(&self) -> Vec<(u16, u64)> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Endpoint {
    pub(crate) fn new(config: writegate_config::Endpoint) -> Self {
        let client = Client::new(&config);
        Self {
            config,
            client,
            turns: Arc::new(Semaphore::new(CONCURRENCY)),
            learned: Mutex::new(None),
            health: Mutex::default(),
            stats: Arc::default(),
        }
    }

    /// The same target with other settings: what was learned and counted stays.
    pub(crate) fn reconfigured(self: &Arc<Self>, config: writegate_config::Endpoint) -> Self {
        let same_place = self.config.url == config.url;
        let mut new = Self::new(config);
        new.stats = Arc::clone(&self.stats);
        if same_place {
            *new.learned.lock().unwrap_or_else(PoisonError::into_inner) = self.learned_protocol();
        }
        new
    }

    /// How many requests may be in flight at once.
    pub(crate) const fn concurrency(&self) -> usize {
        CONCURRENCY
    }

    /// The form in which this endpoint gets a record that came in `protocol`.
    pub(super) fn target(&self, came_in: Protocol) -> Target {
        let wanted = match self.config.protocol {
            // Each record in its own protocol: nothing is translated that need not be.
            ProtocolChoice::Auto => came_in,
            ProtocolChoice::V1 => Protocol::V1,
            ProtocolChoice::V2 => Protocol::V2,
        };
        Target {
            protocol: self.learned_protocol().map_or(wanted, |learned| learned.only),
            compression: match self.config.compression {
                CompressionChoice::Auto | CompressionChoice::Snappy => Compression::Snappy,
                CompressionChoice::Zstd => Compression::Zstd,
            },
            exemplars: self.config.send_exemplars,
            native_histograms: self.config.send_native_histograms,
        }
    }

    /// Learns that the endpoint does not read `refused`. False if that leads nowhere: it was told to be sent this
    /// protocol only, or it has just refused the other one.
    pub(super) fn refuses(&self, refused: Protocol) -> bool {
        let only = match refused {
            Protocol::V1 => Protocol::V2,
            Protocol::V2 => Protocol::V1,
        };
        if refused == Protocol::V1 && self.config.protocol == ProtocolChoice::V1 {
            return false;
        }
        let mut learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        if learned.is_some_and(|learned| learned.only == refused && learned.at.elapsed() < LEARNED_FOR) {
            // It refused both: what was learned is worth nothing.
            *learned = None;
            return false;
        }
        *learned = Some(Learned { only, at: Instant::now() });
        tracing::info!(
            endpoint = self.config.name,
            ?refused,
            "the endpoint does not read this protocol; sending the other"
        );
        true
    }

    fn learned_protocol(&self) -> Option<Learned> {
        let learned = *self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        learned.filter(|learned| learned.at.elapsed() < LEARNED_FOR)
    }

    pub(crate) fn health(&self) -> Health {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn works(&self) {
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        if health.error.take().is_some() {
            *health = Health::default();
            tracing::info!(endpoint = self.config.name, "the endpoint takes data again");
        }
    }

    /// Remembers a failure. The log gets the first, then one line a minute with how many it stands for.
    pub(super) fn fails(&self, error: &str, held: Option<StatusCode>) {
        const EVERY: Duration = Duration::from_secs(60);
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        health.error = Some(error.to_owned());
        health.held = held;
        if health.logged.is_some_and(|logged| logged.elapsed() < EVERY) {
            health.unlogged += 1;
            return;
        }
        let more = std::mem::take(&mut health.unlogged);
        health.logged = Some(Instant::now());
        tracing::warn!(endpoint = self.config.name, more, "the endpoint fails, its data waits in the log: {error}");
    }
}

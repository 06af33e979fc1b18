//! One remote-write target: what it takes, how it is reached, and how it has been doing. Shared by the deliveries of
//! all tenants to it.

use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::StatusCode;
use outbound::credential::Credentials;
use remote_write::translate::Form;
use remote_write::{Compression, Counts, Protocol};
use tokio::time::Instant;
use writegate_config::{CompressionChoice, ProtocolChoice};

use super::form::{BatchLimits, Payload, Target};
use super::health::Healths;
use super::limiter::{self, Limiter};
use super::rules::Rules;
use super::send::Client;
use crate::counters::{BATCH_SECONDS, CountsCounter, Histogram};

/// For how long an endpoint's refusal of a protocol is remembered.
const LEARNED_FOR: Duration = Duration::from_secs(3600);
/// And of a size: a limit may be raised, or have been a misunderstanding, and small requests cost more.
const SIZE_LEARNED_FOR: Duration = Duration::from_secs(600);
/// No endpoint is believed to refuse less than this for its size alone.
const LEAST_SAMPLES: u64 = 100;
const LEAST_BYTES: u64 = 64 * 1024;

/// Receivers refuse more than 32 MiB decompressed; half of that leaves room for translation.
const MAX_DECODED_BYTES: u64 = 16 * 1024 * 1024;

/// A target of deliveries.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) config: writegate_config::Endpoint,
    pub(super) client: Client,
    pub(super) limiter: Limiter,
    learned: Mutex<Option<Learned>>,
    learned_limits: Mutex<Option<(BatchLimits, Instant)>>,
    pub(crate) health: Healths,
    pub(crate) stats: Arc<EndpointStats>,
}

/// What an endpoint's answers taught.
#[derive(Clone, Copy, Debug)]
struct Learned {
    only: Protocol,
    at: Instant,
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
        let mut answers = lock(&self.answers);
        match answers.iter_mut().find(|(known, _)| *known == code) {
            Some((_, count)) => *count += 1,
            None => answers.push((code, 1)),
        }
    }
}

impl EndpointStats {
    /// Requests by status code; 0 stands for no answer.
    pub(crate) fn answers(&self) -> Vec<(u16, u64)> {
        lock(&self.answers).clone()
    }
}

impl Endpoint {
    pub(crate) fn new(config: writegate_config::Endpoint, credentials: &Credentials) -> Self {
        let client = Client::new(&config, credentials);
        Self {
            config,
            client,
            limiter: Limiter::new(),
            learned: Mutex::new(None),
            learned_limits: Mutex::new(None),
            health: Healths::default(),
            stats: Arc::default(),
        }
    }

    /// The same target with other settings: what was learned and counted stays.
    pub(crate) fn reconfigured(
        self: &Arc<Self>,
        config: writegate_config::Endpoint,
        credentials: &Credentials,
    ) -> Self {
        let same_place = self.config.url == config.url;
        let mut new = Self::new(config, credentials);
        new.stats = Arc::clone(&self.stats);
        if same_place {
            new.limiter = self.limiter.clone();
            *lock(&new.learned) = self.learned_protocol();
            *lock(&new.learned_limits) = *lock(&self.learned_limits);
        }
        new
    }

    /// What is wrong with the files of its TLS settings, if something is.
    pub(crate) fn tls_error(&self) -> Option<String> {
        self.client.tls_error().map(|error| error.to_string())
    }

    /// How many requests may be in flight at once, and how many that could become.
    pub(crate) fn concurrency(&self) -> (usize, usize) {
        (self.limiter.limit(), limiter::MOST)
    }

    /// The bounds of one request: as configured, or less if the endpoint refused that.
    pub(super) fn limits(&self) -> BatchLimits {
        let samples = u64::from(self.config.queue.max_samples_per_send);
        let configured = BatchLimits { samples, decoded_bytes: MAX_DECODED_BYTES };
        let learned = *lock(&self.learned_limits);
        let Some((learned, _)) = learned.filter(|(_, at)| at.elapsed() < SIZE_LEARNED_FOR) else { return configured };
        BatchLimits {
            samples: configured.samples.min(learned.samples),
            decoded_bytes: configured.decoded_bytes.min(learned.decoded_bytes),
        }
    }

    /// Learns that requests larger than this are refused, from one that was. What is small anyway teaches nothing: it was
    /// refused for something else. Nor do metadata say how many samples are too many.
    pub(super) fn takes_at_most(&self, refused: &Payload, counts: Counts, decoded_bytes: u64) {
        let known = self.limits();
        let samples = if refused.families == 0 && refused.counts.points() > LEAST_SAMPLES {
            counts.points().max(LEAST_SAMPLES).min(known.samples)
        } else {
            known.samples
        };
        let decoded_bytes = if refused.decoded_bytes > LEAST_BYTES {
            decoded_bytes.max(LEAST_BYTES).min(known.decoded_bytes)
        } else {
            known.decoded_bytes
        };
        let limits = BatchLimits { samples, decoded_bytes };
        if limits == known {
            return;
        }
        tracing::info!(
            endpoint = self.config.name,
            samples,
            bytes = decoded_bytes,
            "the endpoint refuses larger requests; sending smaller ones for ten minutes"
        );
        *lock(&self.learned_limits) = Some((limits, Instant::now()));
    }

    /// The protocol in which the endpoint gets what came in another, or the same.
    pub(super) fn protocol(&self, came_in: Protocol) -> Protocol {
        let wanted = match self.config.protocol {
            // Each record in its own protocol: nothing is translated that need not be.
            ProtocolChoice::Auto => came_in,
            ProtocolChoice::V1 => Protocol::V1,
            ProtocolChoice::V2 => Protocol::V2,
        };
        self.learned_protocol().map_or(wanted, |learned| learned.only)
    }

    /// The form in which this endpoint gets a record that came in `protocol`.
    pub(super) fn target(&self, came_in: Protocol, rules: Option<&Arc<Rules>>, now_ms: i64) -> Target {
        let age = |age: Duration| now_ms.saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
        Target {
            form: Form {
                protocol: self.protocol(came_in),
                exemplars: self.config.send_exemplars,
                native_histograms: self.config.send_native_histograms,
                metadata: self.config.metadata_send,
            },
            compression: match self.config.compression {
                CompressionChoice::Auto | CompressionChoice::Snappy => Compression::Snappy,
                CompressionChoice::Zstd => Compression::Zstd,
            },
            rules: rules.cloned(),
            oldest_ms: self.config.max_age.map(age),
            wants_example: false,
            known: None,
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
        let mut learned = lock(&self.learned);
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
        let learned = *lock(&self.learned);
        learned.filter(|learned| learned.at.elapsed() < LEARNED_FOR)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

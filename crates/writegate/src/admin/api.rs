//! The shapes of the admin API's JSON, which the server writes and the command line reads; `docs/api.md` is their reference.
//!
//! Times are RFC 3339 in UTC. Nothing here looks at the gateway.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// `GET /api/v1/status`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) version: String,
    pub(crate) ready: bool,
    /// Why the configuration was not read again when that was last tried.
    pub(crate) last_reload_error: Option<String>,
    pub(crate) tenants: Vec<TenantStatus>,
    pub(crate) endpoints: Vec<EndpointStatus>,
    pub(crate) configured: Vec<ConfiguredEndpoint>,
    pub(crate) dead_letters: Kept,
    /// What is worth knowing, the worst first; never empty.
    #[serde(default)]
    pub(crate) findings: Vec<Finding>,
}

/// Something worth knowing: what, whose fault it is, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finding {
    pub(crate) kind: FindingKind,
    pub(crate) severity: Severity,
    pub(crate) what: String,
    /// What the endpoint said, or why a file could not be read.
    pub(crate) words: Option<String>,
    pub(crate) whose: String,
    pub(crate) advice: String,
    /// Where: `None` for all or several.
    pub(crate) tenant: Option<String>,
    pub(crate) endpoint: Option<String>,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// Data is lost, or stands still.
    Bad,
    /// Data will be late or lost if nothing is done.
    Warning,
    Note,
    Good,
}

/// What a finding is about, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FindingKind {
    Books,
    NotKept,
    Expiring,
    Held,
    Down,
    Dropping,
    Refusing,
    Damaged,
    ReloadFailed,
    Searching,
    Behind,
    Limited,
    TlsFiles,
    NoEndpoint,
    Replaying,
    DeadLetters,
    NothingYet,
    Shutdown,
    Well,
}

/// What of accepted data did not arrive and grew in the last ten minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Growing {
    DeadLettered,
    Expired,
    /// Not written by the endpoint, or evicted from the dead letters.
    Dropped,
}

impl Growing {
    pub(crate) const ALL: [Self; 3] = [Self::DeadLettered, Self::Expired, Self::Dropped];
}

/// An endpoint of the configuration, whether or not a tenant has sent anything for it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ConfiguredEndpoint {
    pub(crate) name: String,
    pub(crate) url: String,
    /// The statuses that hold deliveries to it.
    pub(crate) held: Vec<u16>,
    pub(crate) up: bool,
    /// Why the files of its TLS settings cannot be used as they are.
    #[serde(default)]
    pub(crate) tls_error: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TenantStatus {
    pub(crate) tenant: String,
    pub(crate) received_samples_per_second: f64,
    pub(crate) received_samples: u64,
    pub(crate) accepted_samples: u64,
    pub(crate) refused_samples: u64,
    /// Data points of any kind, by reason.
    #[serde(default)]
    pub(crate) refused: BTreeMap<String, u64>,
    /// Requests, by the limit that refused them.
    #[serde(default)]
    pub(crate) limited_requests: BTreeMap<String, u64>,
    pub(crate) active_series: u64,
    pub(crate) log_bytes: u64,
    pub(crate) head: u64,
    pub(crate) oldest: u64,
    /// The limits that refused requests in the last ten minutes.
    #[serde(default)]
    pub(crate) limited_lately: Vec<String>,
    /// Why what is pushed is not kept, if that is so.
    #[serde(default)]
    pub(crate) not_kept: Option<String>,
    /// Records of the log that were found damaged.
    #[serde(default)]
    pub(crate) damaged_records: u64,
}

/// A tenant at an endpoint; what is the endpoint's own (in flight, limit, health) is the same for all its tenants.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct EndpointStatus {
    pub(crate) tenant: String,
    pub(crate) endpoint: String,
    pub(crate) url: String,
    pub(crate) state: String,
    pub(crate) delivered_samples_per_second: f64,
    pub(crate) accepted_samples: u64,
    pub(crate) delivered_samples: u64,
    pub(crate) pending_samples: u64,
    pub(crate) dropped_samples: u64,
    pub(crate) dead_lettered_samples: u64,
    pub(crate) expired_samples: u64,
    pub(crate) lag_seconds: f64,
    pub(crate) oldest_unsent_age_seconds: f64,
    pub(crate) in_flight: usize,
    pub(crate) concurrency_limit: usize,
    pub(crate) held: Option<u16>,
    pub(crate) last_error: Option<String>,
    pub(crate) last_refusal: Option<String>,
    pub(crate) dead_letters: u64,
    /// Series that break the endpoint are being looked for.
    #[serde(default)]
    pub(crate) searching: bool,
    /// What grew in the last ten minutes of what does not arrive.
    #[serde(default)]
    pub(crate) growing: Vec<Growing>,
    /// Whether every accepted data point is in exactly one place.
    #[serde(default = "yes")]
    pub(crate) balances: bool,
}

const fn yes() -> bool {
    true
}

/// What the store of dead letters holds.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) count: u64,
    pub(crate) bytes: u64,
}

/// `GET /api/v1/ledger`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ledger {
    pub(crate) rows: Vec<LedgerRow>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LedgerRow {
    pub(crate) tenant: String,
    pub(crate) endpoint: String,
    pub(crate) state: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) replay: Option<u64>,
    pub(crate) samples: Book,
    pub(crate) histograms: Book,
    pub(crate) exemplars: Book,
    pub(crate) examples: BTreeMap<String, String>,
}

impl LedgerRow {
    /// Whether every accepted data point is in exactly one place.
    pub(crate) fn balances(&self) -> bool {
        [&self.samples, &self.histograms, &self.exemplars].into_iter().all(Book::balances)
    }
}

impl Book {
    /// Whether every accepted data point is in exactly one place.
    pub(crate) fn balances(&self) -> bool {
        let by_reason = |reasons: &BTreeMap<String, u64>| reasons.values().sum::<u64>();
        let gone = by_reason(&self.dropped) + by_reason(&self.dead_lettered) + self.expired;
        self.accepted == self.delivered + self.pending + gone
    }
}

/// One kind of data point: `accepted = delivered + pending + dropped + dead_lettered + expired`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Book {
    pub(crate) accepted: u64,
    pub(crate) delivered: u64,
    pub(crate) pending: u64,
    pub(crate) dropped: BTreeMap<String, u64>,
    pub(crate) dead_lettered: BTreeMap<String, u64>,
    pub(crate) expired: u64,
}

/// `GET /api/v1/history`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct History {
    /// When the last point is of.
    pub(crate) until: String,
    pub(crate) fine: HistoryStep,
    pub(crate) coarse: HistoryStep,
}

/// A course in steps of some length.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct HistoryStep {
    pub(crate) seconds: u64,
    /// By measure, the oldest first.
    pub(crate) values: BTreeMap<String, Vec<f32>>,
}

/// `GET /api/v1/config`.
#[derive(Debug, Serialize)]
pub(crate) struct ConfigInEffect {
    pub(crate) config: String,
    pub(crate) last_reload_error: Option<String>,
    pub(crate) last_reload_success_ms: i64,
}

/// The body of `POST /api/v1/replays`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReplayWanted {
    pub(crate) endpoint: String,
    pub(crate) tenant: String,
    /// A text as [`super::moment::parse`] reads it, or seconds since 1970 as a number.
    pub(crate) from: serde_json::Value,
    /// The same; now if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) to: Option<serde_json::Value>,
    /// Samples a second; no limit if absent or 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rate: Option<u64>,
}

/// The answer to `POST /api/v1/replays`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ReplayBegun {
    pub(crate) id: u64,
}

/// `GET /api/v1/replays`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Replays {
    pub(crate) replays: Vec<Replay>,
}

/// `GET /api/v1/replays/{id}`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Replay {
    pub(crate) id: u64,
    pub(crate) tenant: String,
    pub(crate) endpoint: String,
    /// `running`, `done` or `cancelled`.
    pub(crate) state: String,
    /// Its endpoint is no longer configured: a replay that is running waits.
    pub(crate) endpoint_removed: bool,
    /// `earliest`, or a time.
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) begun: String,
    /// Samples a second at most.
    pub(crate) rate: Option<u64>,
    /// What the endpoint said when it last refused something of it for good, since the gateway started.
    pub(crate) last_refusal: Option<String>,
    pub(crate) progress: Progress,
}

/// How far a replay is.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// In its window.
    pub(crate) accepted_samples: u64,
    /// Of them, those whose fate is known.
    pub(crate) done_samples: u64,
    pub(crate) delivered_samples: u64,
    /// Done but not delivered, by the ledger's reasons.
    pub(crate) undelivered_samples: BTreeMap<String, u64>,
    /// Done, of all data points in the window: 0 to 1.
    pub(crate) fraction: f64,
}

/// `GET /api/v1/dead_letters`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LetterPage {
    pub(crate) letters: Vec<Letter>,
    /// What `after` must be to go on; `null` when that is all.
    pub(crate) next: Option<u64>,
}

/// A dead letter without its series.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Letter {
    pub(crate) id: u64,
    pub(crate) tenant: String,
    pub(crate) endpoint: String,
    pub(crate) reason: String,
    pub(crate) words: String,
    pub(crate) position: u64,
    pub(crate) received: String,
    pub(crate) refused: String,
    pub(crate) series: u32,
    pub(crate) samples: u64,
    pub(crate) histograms: u64,
    pub(crate) exemplars: u64,
    pub(crate) example: String,
    pub(crate) body_bytes: u32,
}

/// `GET /api/v1/dead_letters/{id}`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct OpenLetter {
    #[serde(flatten)]
    pub(crate) letter: Letter,
    pub(crate) protocol: String,
    pub(crate) contents: Vec<SeriesShown>,
    /// There is more than `contents` shows.
    pub(crate) cut: bool,
}

/// A series of a letter; values are texts, as in Prometheus' own API, so that `NaN` and `+Inf` have a form.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SeriesShown {
    pub(crate) series: String,
    /// Seconds since 1970, and the value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) samples: Vec<(f64, String)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) histograms: Vec<(f64, HistogramShown)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) exemplars: Vec<(f64, ExemplarShown)>,
}

/// A native histogram in short.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct HistogramShown {
    pub(crate) count: String,
    pub(crate) sum: String,
    pub(crate) schema: i32,
    /// How many buckets are filled, those below zero included.
    pub(crate) buckets: usize,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ExemplarShown {
    pub(crate) labels: String,
    pub(crate) value: String,
}

/// What is to be done with dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LetterAction {
    Retry,
    Drop,
}

/// The body of `POST /api/v1/dead_letters`: all that match, or those of `ids` that match.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LettersWanted {
    pub(crate) action: LetterAction,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) endpoint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tenant: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ids: Option<Vec<u64>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) after: Option<u64>,
}

/// The answer to a retry.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Retried {
    pub(crate) taken: u64,
    pub(crate) refused: u64,
    /// The endpoint's about the last one it refused.
    pub(crate) words: Option<String>,
    /// What `after` must be to go on; `null` when all were tried.
    pub(crate) next: Option<u64>,
}

/// The answer to a drop.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct DroppedLetters {
    pub(crate) dropped: u64,
}

/// What every call that fails answers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) error: String,
}

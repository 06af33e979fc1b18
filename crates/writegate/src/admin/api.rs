//! The JSON of the admin API; `docs/api.md` is its reference.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use remote_write::Counts;
use serde::Serialize;

use crate::app::App;
use crate::ledger::Balance;

#[derive(Serialize)]
struct Status {
    version: &'static str,
    ready: bool,
    tenants: Vec<TenantStatus>,
    endpoints: Vec<EndpointStatus>,
}

#[derive(Serialize)]
struct TenantStatus {
    tenant: String,
    received_samples: u64,
    accepted_samples: u64,
    refused_samples: u64,
    log_bytes: u64,
    head: u64,
    oldest: u64,
}

#[derive(Serialize)]
struct EndpointStatus {
    tenant: String,
    endpoint: String,
    url: String,
    state: &'static str,
    accepted_samples: u64,
    delivered_samples: u64,
    pending_samples: u64,
    dropped_samples: u64,
    expired_samples: u64,
    oldest_unsent_age_seconds: f64,
    in_flight: usize,
    held: Option<u16>,
    last_error: Option<String>,
}

/// `GET /api/v1/status`.
pub(super) fn status(app: &App) -> String {
    let tenants = app.tenants.list();
    let tenants = tenants
        .iter()
        .map(|tenant| TenantStatus {
            tenant: tenant.name.to_string(),
            received_samples: tenant.received.get().samples,
            accepted_samples: tenant.accepted_counts().samples,
            refused_samples: crate::ingest::Reason::ALL
                .iter()
                .map(|reason| tenant.refused(*reason).get().samples)
                .sum(),
            log_bytes: tenant.log.bytes(),
            head: tenant.log.head(),
            oldest: tenant.log.oldest(),
        })
        .collect();
    let configured = app.deliveries.endpoints();
    let endpoints = app
        .deliveries
        .rows()
        .iter()
        .map(|row| {
            let balance = row.balance();
            let endpoint = configured.iter().find(|endpoint| endpoint.config.name == row.endpoint);
            let health = endpoint.map(|endpoint| endpoint.health()).unwrap_or_default();
            EndpointStatus {
                tenant: row.tenant.to_string(),
                endpoint: row.endpoint.clone(),
                url: endpoint.map(|endpoint| endpoint.config.url.redacted()).unwrap_or_default(),
                state: if row.is_active() { "active" } else { "removed" },
                accepted_samples: balance.accepted.samples,
                delivered_samples: balance.books.delivered.samples,
                pending_samples: balance.pending.samples,
                dropped_samples: balance.books.dropped_total().samples,
                expired_samples: balance.expired.samples,
                oldest_unsent_age_seconds: app.oldest_unsent_age(row).map_or(0.0, |age| age.as_secs_f64()),
                in_flight: endpoint.map_or(0, |endpoint| endpoint.stats.in_flight.load(Ordering::Relaxed)),
                held: health.held.map(|code| code.as_u16()),
                last_error: health.error,
            }
        })
        .collect();
    json(&Status { version: env!("CARGO_PKG_VERSION"), ready: app.is_ready(), tenants, endpoints })
}

#[derive(Serialize)]
struct Ledger {
    rows: Vec<LedgerRow>,
}

#[derive(Serialize)]
struct LedgerRow {
    tenant: String,
    endpoint: String,
    state: &'static str,
    samples: Book,
    histograms: Book,
    exemplars: Book,
    examples: BTreeMap<String, String>,
}

/// One kind of data point: `accepted = delivered + pending + dropped + dead_lettered + expired`.
#[derive(Serialize)]
struct Book {
    accepted: u64,
    delivered: u64,
    pending: u64,
    dropped: BTreeMap<String, u64>,
    dead_lettered: BTreeMap<String, u64>,
    expired: u64,
}

/// `GET /api/v1/ledger`.
pub(super) fn ledger(app: &App) -> String {
    let rows = app
        .deliveries
        .rows()
        .iter()
        .map(|row| {
            let balance = row.balance();
            LedgerRow {
                tenant: row.tenant.to_string(),
                endpoint: row.endpoint.clone(),
                state: if row.is_active() { "active" } else { "removed" },
                samples: book(&balance, |counts| counts.samples),
                histograms: book(&balance, |counts| counts.histograms),
                exemplars: book(&balance, |counts| counts.exemplars),
                examples: balance
                    .books
                    .dropped
                    .iter()
                    .filter(|total| !total.example.is_empty())
                    .map(|total| (total.reason.to_string(), total.example.clone()))
                    .collect(),
            }
        })
        .collect();
    json(&Ledger { rows })
}

fn book(balance: &Balance, kind: fn(&Counts) -> u64) -> Book {
    let dropped = balance.books.dropped.iter();
    Book {
        accepted: kind(&balance.accepted),
        delivered: kind(&balance.books.delivered),
        pending: kind(&balance.pending),
        dropped: dropped
            .map(|total| (total.reason.to_string(), kind(&total.counts)))
            .filter(|(_, count)| *count > 0)
            .collect(),
        dead_lettered: BTreeMap::new(),
        expired: kind(&balance.expired),
    }
}

#[derive(Serialize)]
struct ConfigInEffect {
    config: String,
    last_reload_error: Option<String>,
    last_reload_success_ms: i64,
}

/// `GET /api/v1/config`.
pub(super) fn config(app: &App) -> String {
    let reload = app.last_reload();
    json(&ConfigInEffect {
        config: app.config.load().to_yaml(),
        last_reload_error: reload.error,
        last_reload_success_ms: reload.succeeded_ms,
    })
}

fn json(value: &impl Serialize) -> String {
    // Plain structs of numbers and texts: serialising them cannot fail.
    serde_json::to_string(value).unwrap_or_else(|error| format!("{{\"error\":{:?}}}", error.to_string()))
}

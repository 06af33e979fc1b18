//! `GET status` and `GET ledger`: where data is, in short and to the sample.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use dead_letters::Totals;
use remote_write::Counts;

use super::api::{Book, ConfiguredEndpoint, EndpointStatus, Growing, Kept, Ledger, LedgerRow, Status, TenantStatus};
use super::findings::findings;
use super::history::Past;
use super::replays;
use crate::allowance::Limit;
use crate::app::App;
use crate::delivery::Endpoint;
use crate::ingest::Reason;
use crate::ledger::{Balance, Row};
use crate::tenant::Tenant;

/// `GET /api/v1/status`. May read from the disk.
pub(super) fn status(app: &App, past: &Past) -> Status {
    let endpoints = app.engine.deliveries.endpoints();
    let kept = app.engine.deliveries.dead_letters().totals();
    let rows = app.engine.deliveries.rows();
    let live = rows.iter().filter(|row| row.plan().is_none());
    let (count, bytes) = app.engine.deliveries.dead_letters().size();
    let mut status = Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ready: app.is_ready(),
        last_reload_error: app.last_reload().error,
        tenants: app.engine.tenants.list().iter().map(|tenant| of_tenant(tenant, past)).collect(),
        endpoints: live.map(|row| of_row(app, past, row, &endpoints, &kept)).collect(),
        configured: endpoints.iter().map(|endpoint| configured(endpoint)).collect(),
        dead_letters: Kept { count, bytes },
        findings: Vec::new(),
    };
    status.findings = findings(&status, &replays::list(app).replays);
    status
}

fn configured(endpoint: &Endpoint) -> ConfiguredEndpoint {
    ConfiguredEndpoint {
        name: endpoint.config.name.clone(),
        url: endpoint.config.url.redacted(),
        held: endpoint.health.held().iter().map(|code| code.as_u16()).collect(),
        up: endpoint.health.is_up(),
        tls_error: endpoint.tls_error(),
    }
}

fn of_tenant(tenant: &Tenant, past: &Past) -> TenantStatus {
    let received = tenant.received_counts().samples;
    TenantStatus {
        tenant: tenant.name.to_string(),
        received_samples_per_second: past.received(tenant.name.as_str(), received),
        received_samples: received,
        accepted_samples: tenant.accepted_counts().samples,
        refused_samples: Reason::ALL.iter().map(|reason| tenant.refused(*reason).get().samples).sum(),
        refused: by_name(Reason::ALL.map(|reason| (reason.as_str(), tenant.refused(reason).get().points()))),
        limited_requests: by_name(Limit::ALL.map(|limit| (limit.key(), tenant.allowance.refused(limit)))),
        active_series: tenant.allowance.active_series(),
        log_bytes: tenant.log.bytes(),
        head: tenant.log.head(),
        oldest: tenant.log.oldest(),
        limited_lately: past.limited(tenant).into_iter().map(str::to_owned).collect(),
        not_kept: tenant.not_kept(),
        damaged_records: tenant.log.damaged_records(),
    }
}

/// Those that are not 0.
fn by_name<const N: usize>(counts: [(&str, u64); N]) -> BTreeMap<String, u64> {
    counts.into_iter().filter(|(_, count)| *count > 0).map(|(name, count)| (name.to_owned(), count)).collect()
}

fn of_row(app: &App, past: &Past, row: &Row, endpoints: &[Arc<Endpoint>], kept: &Totals) -> EndpointStatus {
    let balance = row.balance();
    let endpoint = endpoints.iter().find(|endpoint| endpoint.config.name == row.endpoint);
    let health = endpoint.map(|endpoint| endpoint.health.of(row.tenant.as_str())).unwrap_or_default();
    let delivered = balance.books.delivered.samples;
    let age = app.oldest_unsent_age(row).map_or(0.0, |age| age.as_secs_f64());
    let letters = letters_of(kept, row);
    // What was tried again or dropped is dealt with; and for an endpoint that is gone nothing is to be done.
    let matters = |fate: &Growing| endpoint.is_some() && (*fate != Growing::DeadLettered || letters > 0);
    EndpointStatus {
        tenant: row.tenant.to_string(),
        endpoint: row.endpoint.clone(),
        url: endpoint.map(|endpoint| endpoint.config.url.redacted()).unwrap_or_default(),
        state: state(row, endpoints).to_owned(),
        delivered_samples_per_second: past.delivered(row.tenant.as_str(), &row.endpoint, delivered),
        accepted_samples: balance.accepted.samples,
        delivered_samples: delivered,
        pending_samples: balance.pending.samples,
        dropped_samples: balance.books.dropped_total().samples,
        dead_lettered_samples: balance.books.dead_lettered_total().samples,
        expired_samples: balance.expired.samples,
        lag_seconds: age,
        oldest_unsent_age_seconds: age,
        in_flight: endpoint.map_or(0, |endpoint| endpoint.stats.in_flight.load(Ordering::Relaxed)),
        concurrency_limit: endpoint.map_or(0, |endpoint| endpoint.concurrency().0),
        held: health.held.map(|code| code.as_u16()),
        last_error: health.error,
        last_refusal: health.refusal,
        dead_letters: letters,
        searching: health.searches > 0,
        growing: past.growing(row).into_iter().filter(matters).collect(),
        balances: balance.balances(),
    }
}

/// How many dead letters a row has.
pub(super) fn letters_of(kept: &Totals, row: &Row) -> u64 {
    let reasons = kept.get(&(row.tenant.to_string(), row.endpoint.clone()));
    reasons.map_or(0, |reasons| reasons.iter().map(|reason| reason.letters).sum())
}

/// The cursor of a replay that has ended is no sign: what counts there is whether the endpoint is configured.
fn state(row: &Row, endpoints: &[Arc<Endpoint>]) -> &'static str {
    let is_active = match row.plan() {
        Some(_replay) => endpoints.iter().any(|endpoint| endpoint.config.name == row.endpoint),
        None => row.is_active(),
    };
    if is_active { "active" } else { "removed" }
}

/// `GET /api/v1/ledger`: by tenant and endpoint, the live delivery before its replays.
pub(super) fn ledger(app: &App) -> Ledger {
    let endpoints = app.engine.deliveries.endpoints();
    let mut rows: Vec<LedgerRow> = app.engine.deliveries.rows().iter().map(|row| ledger_row(row, &endpoints)).collect();
    rows.sort_by(|a, b| (&a.tenant, &a.endpoint, a.replay).cmp(&(&b.tenant, &b.endpoint, b.replay)));
    Ledger { rows }
}

fn ledger_row(row: &Row, endpoints: &[Arc<Endpoint>]) -> LedgerRow {
    let balance = row.balance();
    let examples = balance.books.examples();
    LedgerRow {
        tenant: row.tenant.to_string(),
        endpoint: row.endpoint.clone(),
        state: state(row, endpoints).to_owned(),
        replay: balance.books.plan.as_ref().map(|plan| plan.id),
        samples: book(&balance, |counts| counts.samples),
        histograms: book(&balance, |counts| counts.histograms),
        exemplars: book(&balance, |counts| counts.exemplars),
        examples: examples.map(|(reason, series)| (reason.to_owned(), series.to_owned())).collect(),
    }
}

/// One kind of a balance.
pub(super) fn book(balance: &Balance, kind: fn(&Counts) -> u64) -> Book {
    let by_reason = |totals: &[crate::ledger::Total]| -> BTreeMap<String, u64> {
        let counts = totals.iter().map(|total| (total.reason.to_string(), kind(&total.counts)));
        counts.filter(|(_, count)| *count > 0).collect()
    };
    Book {
        accepted: kind(&balance.accepted),
        delivered: kind(&balance.books.delivered),
        pending: kind(&balance.pending),
        dropped: by_reason(&balance.books.dropped),
        dead_lettered: by_reason(&balance.books.dead_lettered),
        expired: kind(&balance.expired),
    }
}

//! `writegate status`: tenants and endpoints at a glance.

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::Args;

use super::gateway::{AdminArgs, Gateway};
use super::show::{Align, Table, age, amount, bytes, count, dead_letters, plain, print};
use crate::admin::api::{ConfiguredEndpoint, EndpointStatus, Ledger, LedgerRow, Status, TenantStatus};

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// Show also why data was dropped, refused or expired: each reason with its data points and an example
    #[arg(long, conflicts_with = "json")]
    reasons: bool,
    /// Print the gateway's JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

/// Asks once and prints.
pub(super) async fn run(args: StatusArgs) -> anyhow::Result<ExitCode> {
    let gateway = Gateway::of(&args.admin)?;
    let reply = gateway.get("/api/v1/status").await?;
    if args.json {
        print(&reply.text)?;
        return Ok(ExitCode::SUCCESS);
    }
    let status = reply.read()?;
    let mut parts = parts(&status);
    if args.reasons {
        parts.extend(limits(&status));
        parts.push(reasons(&status, &gateway.get("/api/v1/ledger").await?.read()?));
    }
    print(&parts.join("\n\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// What is told, in the order of its weight.
fn parts(status: &Status) -> Vec<String> {
    let mut parts = Vec::new();
    if let Some(error) = &status.last_reload_error {
        parts.push(format!("The last reload failed: {}", plain(error)));
    }
    parts.push(if status.tenants.is_empty() { "No tenant has sent anything yet.".to_owned() } else { tenants(status) });
    parts.push(match (status.endpoints.as_slice(), status.configured.as_slice()) {
        ([], []) => "No endpoint is configured (remote_write): what is received waits in the log.".to_owned(),
        ([], endpoints) => configured(endpoints),
        _ => endpoints(status),
    });
    if status.dead_letters.count > 0 {
        let (letters, size) = (dead_letters(status.dead_letters.count), bytes(status.dead_letters.bytes));
        parts.push(format!("{letters}, {size}: see writegate dead-letters list"));
    }
    parts
}

fn configured(endpoints: &[ConfiguredEndpoint]) -> String {
    let mut table = Table::new([("ENDPOINT", Align::Left), ("STATE", Align::Left), ("URL", Align::Left)]);
    for endpoint in endpoints {
        let state = match (endpoint.held.first(), endpoint.up) {
            (Some(code), _) => format!("held ({code})"),
            (None, false) => "failing".to_owned(),
            (None, true) => "nothing to send yet".to_owned(),
        };
        table.row([endpoint.name.clone(), state, endpoint.url.clone()]);
    }
    table.text()
}

/// Which limits refused requests.
fn limits(status: &Status) -> Option<String> {
    let mut table = Table::new([("TENANT", Align::Left), ("LIMIT", Align::Left), ("REQUESTS REFUSED", Align::Right)]);
    let limited = |tenant: &TenantStatus| {
        tenant.limited_requests.clone().into_iter().map(|row| (tenant.tenant.clone(), row)).collect()
    };
    let rows: Vec<(String, (String, u64))> = status.tenants.iter().flat_map::<Vec<_>, _>(limited).collect();
    let is_any = !rows.is_empty();
    for (tenant, (limit, requests)) in rows {
        table.row([tenant, format!("limits.{limit}"), count(requests)]);
    }
    is_any.then(|| table.text())
}

/// Why data points were refused to senders since the start, and why those of live deliveries did not arrive.
fn reasons(status: &Status, ledger: &Ledger) -> String {
    let mut table = Table::new([
        ("TENANT", Align::Left),
        ("ENDPOINT", Align::Left),
        ("FATE", Align::Left),
        ("REASON", Align::Left),
        ("DATA POINTS", Align::Right),
        ("EXAMPLE", Align::Left),
    ]);
    let refused = |tenant: &TenantStatus| {
        let name = tenant.tenant.clone();
        let row = |(why, number): (&String, &u64)| {
            [name.clone(), "-".to_owned(), "refused".to_owned(), why.clone(), count(*number), String::new()]
        };
        tenant.refused.iter().map(row).collect::<Vec<_>>()
    };
    let mut rows: Vec<_> = status.tenants.iter().flat_map(refused).collect();
    rows.extend(ledger.rows.iter().filter(|row| row.replay.is_none()).flat_map(reasons_of));
    if rows.is_empty() {
        return "Nothing was dropped, refused or expired.".to_owned();
    }
    rows.into_iter().for_each(|row| table.row(row));
    table.text()
}

fn reasons_of(row: &LedgerRow) -> Vec<[String; 6]> {
    let books = [&row.samples, &row.histograms, &row.exemplars];
    let expired = books.map(|book| book.expired).iter().sum();
    let mut cells = by_reason(row, "dropped", books.map(|book| &book.dropped));
    cells.extend(by_reason(row, "dead letter", books.map(|book| &book.dead_lettered)));
    if expired > 0 {
        cells.push(reason(row, "expired", "expired", expired));
    }
    cells
}

fn by_reason(row: &LedgerRow, fate: &str, kinds: [&BTreeMap<String, u64>; 3]) -> Vec<[String; 6]> {
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for (reason, number) in kinds.into_iter().flatten() {
        *sums.entry(reason).or_default() += number;
    }
    sums.into_iter().map(|(name, number)| reason(row, fate, name, number)).collect()
}

fn reason(row: &LedgerRow, fate: &str, name: &str, number: u64) -> [String; 6] {
    let example = row.examples.get(name).cloned().unwrap_or_default();
    [row.tenant.clone(), row.endpoint.clone(), fate.to_owned(), name.to_owned(), count(number), example]
}

fn tenants(status: &Status) -> String {
    let right = Align::Right;
    let mut table = Table::new([
        ("TENANT", Align::Left),
        ("RECEIVED/S", right),
        ("RECEIVED", right),
        ("ACCEPTED", right),
        ("REFUSED", right),
        ("LOG", right),
    ]);
    for tenant in &status.tenants {
        table.row([
            tenant.tenant.clone(),
            amount(tenant.received_samples_per_second),
            count(tenant.received_samples),
            count(tenant.accepted_samples),
            count(tenant.refused_samples),
            bytes(tenant.log_bytes),
        ]);
    }
    table.text()
}

fn endpoints(status: &Status) -> String {
    let right = Align::Right;
    let mut table = Table::new([
        ("TENANT", Align::Left),
        ("ENDPOINT", Align::Left),
        ("STATE", Align::Left),
        ("DELIVERED/S", right),
        ("DELIVERED", right),
        ("PENDING", right),
        ("OLDEST UNSENT", right),
        ("IN FLIGHT", right),
        ("DROPPED", right),
        ("EXPIRED", right),
        ("DEAD LETTERS", right),
        ("LAST ERROR", Align::Left),
    ]);
    for endpoint in &status.endpoints {
        table.row([
            endpoint.tenant.clone(),
            endpoint.endpoint.clone(),
            state(endpoint),
            amount(endpoint.delivered_samples_per_second),
            count(endpoint.delivered_samples),
            count(endpoint.pending_samples),
            age(endpoint.oldest_unsent_age_seconds),
            format!("{}/{}", endpoint.in_flight, endpoint.concurrency_limit),
            count(endpoint.dropped_samples),
            count(endpoint.expired_samples),
            count(endpoint.dead_letters),
            last_error(status, endpoint),
        ]);
    }
    table.text()
}

/// Why nothing was delivered last; if all is well for now, what will become an error.
fn last_error(status: &Status, endpoint: &EndpointStatus) -> String {
    let configured = status.configured.iter().find(|configured| configured.name == endpoint.endpoint);
    let tls =
        || configured.and_then(|configured| configured.tls_error.as_ref()).map(|error| format!("tls_config: {error}"));
    endpoint.last_error.clone().or_else(tls).unwrap_or_default()
}

fn state(endpoint: &EndpointStatus) -> String {
    match (endpoint.state.as_str(), endpoint.held, &endpoint.last_error) {
        ("active", Some(code), _) => format!("held ({code})"),
        ("active", None, Some(_)) => "failing".to_owned(),
        ("active", None, None) => "ok".to_owned(),
        (other, ..) => other.to_owned(),
    }
}

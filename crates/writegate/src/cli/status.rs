//! `writegate status`: tenants and endpoints at a glance.

use std::process::ExitCode;

use clap::Args;

use super::gateway::{AdminArgs, Gateway};
use super::show::{Align, Table, age, amount, bytes, count, print};
use crate::admin::api::{EndpointStatus, Status};

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// Print the gateway's JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

/// Asks once and prints.
pub(super) async fn run(args: StatusArgs) -> anyhow::Result<ExitCode> {
    let reply = Gateway::of(&args.admin)?.get("/api/v1/status").await?;
    if args.json {
        print(&reply.text)?;
    } else {
        print(&text(&reply.read()?))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn text(status: &Status) -> String {
    if status.tenants.is_empty() {
        return "No tenant has sent anything yet.".to_owned();
    }
    let mut text = tenants(status);
    text.push_str("\n\n");
    text.push_str(&if status.endpoints.is_empty() {
        "No endpoint is configured (remote_write): what is received waits in the log.".to_owned()
    } else {
        endpoints(status)
    });
    if status.dead_letters.count > 0 {
        let (letters, size) = (count(status.dead_letters.count), bytes(status.dead_letters.bytes));
        text.push_str(&format!("\n\n{letters} dead letters, {size}: see writegate dead-letters list"));
    }
    text
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
            endpoint.last_error.clone().unwrap_or_default(),
        ]);
    }
    table.text()
}

fn state(endpoint: &EndpointStatus) -> String {
    match (endpoint.state.as_str(), endpoint.held, &endpoint.last_error) {
        ("active", Some(code), _) => format!("held ({code})"),
        ("active", None, Some(_)) => "failing".to_owned(),
        ("active", None, None) => "ok".to_owned(),
        (other, ..) => other.to_owned(),
    }
}

//! Replays of an endpoint: how far they are, and the form that begins one.

use maud::{Markup, html};

use super::super::api::Replay;
use super::super::replays as api_replays;
use super::acts::hidden;
use super::letters::time;
use super::lists::heads;
use super::{Scene, said};
use crate::figures::{count, plural};

pub(super) fn list(scene: &Scene<'_>, endpoint: &str, tenant: Option<&str>) -> Markup {
    let is_its = |replay: &Replay| replay.endpoint == endpoint && tenant.is_none_or(|tenant| replay.tenant == tenant);
    let mut replays: Vec<_> = api_replays::list(scene.app).replays.into_iter().filter(is_its).collect();
    replays.sort_by_key(|replay| (replay.state != "running", std::cmp::Reverse(replay.id)));
    html! {
        @if replays.is_empty() { p.quiet { "None." } } @else {
            table.cards {
                (heads(&["replay", "tenant", "state", "done", "from", "to", "do"]))
                tbody { @for replay in &replays { (row(replay)) } }
            }
        }
    }
}

fn row(replay: &Replay) -> Markup {
    let percent = (replay.progress.fraction * 100.0).floor();
    let undelivered: u64 = replay.progress.undelivered_samples.values().sum();
    html! {
        tr {
            th scope="row" { (replay.id) }
            td data-label="tenant" { (said(&replay.tenant)) }
            td data-label="state" { (said(&replay.state)) @if replay.endpoint_removed { ", endpoint removed" } }
            td data-label="done" {
                progress max="100" value=(percent) aria-label={ "Replay " (replay.id) } {}
                " " (percent) " %, " (count(replay.progress.delivered_samples)) " sample" (plural(replay.progress.delivered_samples)) " delivered"
                @if undelivered > 0 { ", " (count(undelivered)) " not" }
                @if let Some(words) = &replay.last_refusal { ": " (said(words)) }
            }
            td data-label="from" { (time(&replay.from)) }
            td data-label="to" { (time(&replay.to)) }
            td data-label="do" {
                @if replay.state == "running" {
                    form method="post" action="/console/cancel" {
                        (hidden("id", &replay.id.to_string())) (hidden("endpoint", &replay.endpoint)) button aria-label={ "Cancel replay " (replay.id) } {
                            "Cancel"
                        }
                    }
                }
            }
        }
    }
}

pub(super) fn form(scene: &Scene<'_>, endpoint: &str, tenant: Option<&str>) -> Markup {
    let rows = scene.now.status.endpoints.iter().filter(|row| row.endpoint == endpoint);
    html! {
        p.quiet {
            "Beside the live delivery, which has precedence. The endpoint must take samples that are older than what it has. \
             Times are those of receipt: 2h back, 2026-01-31T18:00:00Z, earliest."
        }
        form.row #replay method="post" action="/console/replay" {
            (hidden("endpoint", endpoint))
            @match tenant {
                Some(tenant) => (hidden("tenant", tenant)),
                None => {
                    label { "Tenant " input name="tenant" required list="its-tenants"; }
                    datalist #its-tenants { @for row in rows.take(100) { option value=(row.tenant) {} } }
                },
            }
            label { "From " input name="from" value="2h" required size="10"; }
            label { "To " input name="to" value="now" required size="10"; }
            label { "Samples a second, at most " input name="rate" inputmode="numeric" placeholder="no limit" size="8"; }
            button { "Replay" }
        }
    }
}

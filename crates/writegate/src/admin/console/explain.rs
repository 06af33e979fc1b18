//! What becomes of a series that somebody types, at each endpoint and by each rule.

use maud::{Markup, html};

use super::super::query;
use super::super::refusal::Refusal;
use super::frame::Frame;
use super::lists::heads;
use super::{Scene, paths, said};
use crate::explain::{AtEndpoint, Did, Explanation, explain, series};
use writegate_config::TenantName;

pub(super) fn page(scene: &Scene<'_>, query: &str) -> Result<Frame, Refusal> {
    let [tenant, text] = query::parameters(query, &["tenant", "series"])?;
    let first = || scene.now.status.tenants.first().map(|tenant| tenant.tenant.clone());
    let wanted = tenant.filter(|tenant| !tenant.is_empty()).or_else(first).unwrap_or_else(|| "default".to_owned());
    let body = html! {
        h1 { "Explain" }
        p.quiet { "What each endpoint gets of a series, and what every rule does to it. Nothing is sent." }
        form.row action="/explain" {
            label { "Tenant " input name="tenant" required value=(wanted); }
            label.wide {
                "Series " input name="series" required spellcheck="false" autocomplete="off" placeholder="up{job=\"node\"}" value=[text.as_deref()];
            }
            button { "Explain" }
        }
        @if let Some(text) = text.as_deref().filter(|text| !text.trim().is_empty()) {
            @match answer(scene, &wanted, text) {
                Ok(explanation) => (shown(&explanation)),
                Err(why) => p.bad role="alert" { (said(&why)) },
            }
        }
    };
    Ok(Frame { title: "Explain".to_owned(), here: Some("/explain"), body, is_live: false })
}

fn answer(scene: &Scene<'_>, tenant: &str, text: &str) -> Result<Explanation, String> {
    let tenant = TenantName::new(tenant).map_err(|invalid| format!("tenant: {invalid}"))?;
    Ok(explain(&scene.app.config.load(), &tenant, &series(text)?))
}

fn shown(explanation: &Explanation) -> Markup {
    html! {
        h2 { "What becomes of it" }
        p.words { code { (said(&explanation.series)) } }
        @if !explanation.admitted {
            p.bad { "Pushes of this tenant are refused: tenants does not list it. No endpoint sees the series." }
        }
        @if let Some(why) = &explanation.refused { p.bad { "The gateway refuses it: " (said(why)) ". No endpoint sees it." } }
        @for at in &explanation.endpoints { (endpoint(at)) }
    }
}

fn endpoint(at: &AtEndpoint) -> Markup {
    html! {
        section.book {
            h3 { a href=(paths::endpoint(&at.endpoint, None)) { (said(&at.endpoint)) } }
            @if let Some(arrives) = &at.arrives { p.words { span.standing.good { "arrives as" } " " code { (said(arrives)) } } }
            @if let Some(by) = &at.dropped_by { p { span.standing.warning { "does not arrive" } " " (said(by)) } }
            @if !at.steps.is_empty() {
                table.cards {
                    (heads(&["step", "as configured", "what it did", "the series then"]))
                    tbody {
                        @for step in &at.steps {
                            tr {
                                th scope="row" { (said(&step.step)) }
                                td.words data-label="as configured" { code { (said(&step.config)) } }
                                td data-label="what it did" { (did(step.outcome)) }
                                td.words data-label="the series then" {
                                    @if let Some(series) = &step.series { code { (said(series)) } } @else { "-" }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

const fn did(outcome: Did) -> &'static str {
    match outcome {
        Did::Unchanged => "nothing",
        Did::Changed => "changed it",
        Did::Dropped => "dropped it",
    }
}

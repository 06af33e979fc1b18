//! The overview: the one sentence that matters, everything else that is wrong, the flow, and those in trouble first.

use maud::{Markup, html};

use super::super::api::{Finding, FindingKind, Severity};
use super::frame::Frame;
use super::lists::{endpoint_table, tenant_table};
use super::{Scene, flow, paths, said, standing};
use crate::figures::count;

/// Rows of each table.
const ROWS: usize = 10;
/// Findings that are shown at once.
const FINDINGS: usize = 6;

pub(super) fn page(scene: &Scene<'_>) -> Frame {
    let (tenants, endpoints) = (scene.now.tenant_sums(), scene.now.endpoint_sums());
    let findings = &scene.now.status.findings;
    let (shown, hidden) =
        findings.get(1..).unwrap_or_default().split_at(findings.len().saturating_sub(1).min(FINDINGS));
    let body = html! {
        @if let Some(worst) = findings.first() { (verdict(worst)) }
        @if !shown.is_empty() {
            section #also data-part {
                h2 { "Also" }
                ul.findings { @for finding in shown { (item(finding)) } }
                @if !hidden.is_empty() {
                    details #more-findings {
                        summary { (hidden.len()) " more" } ul.findings { @for finding in hidden { (item(finding)) } }
                    }
                }
            }
        }
        section #flow data-part {
            h2 { "Where samples flow" }
            (flow::flow(scene, &tenants, &endpoints))
        }
        section #endpoints data-part {
            h2 { "Endpoints" }
            (endpoint_table(endpoints.get(..ROWS).unwrap_or(&endpoints)))
            (rest(endpoints.len(), "/endpoints", "endpoints"))
        }
        section #tenants data-part {
            h2 { "Tenants" }
            (tenant_table(tenants.get(..ROWS).unwrap_or(&tenants)))
            (rest(tenants.len(), "/tenants", "tenants"))
        }
    };
    Frame { title: "Overview".to_owned(), here: Some("/"), body, is_live: true }
}

fn rest(all: usize, href: &str, what: &str) -> Markup {
    html! {
        @if all > ROWS {
            p { a href=(href) { "All " (count(all as u64)) " " (what) } ", " (count((all - ROWS) as u64)) " more than here" }
        }
    }
}

/// The class that shows a severity.
const fn tone(severity: Severity) -> &'static str {
    match severity {
        Severity::Bad => "bad",
        Severity::Warning => "warning",
        Severity::Note => "note",
        Severity::Good => "good",
    }
}

const fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Bad => "Wrong",
        Severity::Warning => "Look at this",
        Severity::Note => "To know",
        Severity::Good => "Well",
    }
}

/// The worst of all: what, whose fault, what to do, and where.
fn verdict(finding: &Finding) -> Markup {
    let tone = tone(finding.severity);
    html! {
        section #verdict data-part class={ "verdict " (tone) } role="status" {
            p.word { (standing::mark(tone)) (word(finding.severity)) }
            h1 { (said(&finding.what)) }
            @if let Some(words) = &finding.words { blockquote { (said(words)) } }
            @if finding.severity < Severity::Good {
                dl {
                    div { dt { "Whose fault" } dd { (said(&finding.whose)) } }
                    div { dt { "What to do" } dd { (said(&finding.advice)) " " (link(finding)) } }
                }
            }
        }
    }
}

fn item(finding: &Finding) -> Markup {
    let tone = tone(finding.severity);
    html! {
        li class=(tone) {
            span class={ "standing " (tone) } { (standing::mark(tone)) (word(finding.severity)) }
            p { (said(&finding.what)) }
            @if let Some(words) = &finding.words { blockquote { (said(words)) } }
            p.quiet { (said(&finding.whose)) " " (said(&finding.advice)) " " (link(finding)) }
        }
    }
}

/// Where one acts.
fn link(finding: &Finding) -> Markup {
    let (tenant, endpoint) = (finding.tenant.as_deref(), finding.endpoint.as_deref());
    let to_endpoint = |name: &str| (paths::endpoint(name, tenant), format!("Go to {name}"));
    let target = match (finding.kind, endpoint, tenant) {
        (FindingKind::ReloadFailed | FindingKind::NoEndpoint, ..) => {
            Some(("/config".to_owned(), "Go to the configuration".to_owned()))
        }
        (FindingKind::Books | FindingKind::Dropping, Some(endpoint), _) => {
            let href = paths::with_query("/ledger", &[("tenant", tenant), ("endpoint", Some(endpoint))]);
            Some((href, "Go to the ledger".to_owned()))
        }
        (_, Some(endpoint), _) => Some(to_endpoint(endpoint)),
        (_, None, Some(tenant)) => Some((paths::tenant(tenant), format!("Go to {tenant}"))),
        (FindingKind::NotKept, None, None) => Some(("/tenants".to_owned(), "Go to the tenants".to_owned())),
        (_, None, None) => None,
    };
    html! { @if let Some((href, words)) = target { a href=(href) { (said(&words)) } } }
}

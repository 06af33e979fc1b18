//! A tenant: what it sent, what was refused of it and why, what it may send, who speaks for it, and its endpoints.

use maud::{Markup, html};
use writegate_config::{Authenticator, Config, Credential, TenantConfig, TextSource};

use super::super::refusal::Refusal;
use super::endpoint::{figure, measure, rows_table, span_of, tenant_name};
use super::frame::Frame;
use super::lists::heads;
use super::standing::TenantSum;
use super::{Scene, paths, said};
use crate::allowance::Limit;
use crate::figures::{amount, bytes, count};
use crate::ingest::Reason;
use crate::tenant::Tenant;

pub(super) fn page(scene: &Scene<'_>, name: &str) -> Result<Frame, Refusal> {
    let unknown = || Refusal::Unknown(format!("There is no tenant {name:?}: nothing was ever accepted for it"));
    let tenant = scene.app.engine.tenants.get(&tenant_name(name)?).ok_or_else(unknown)?;
    let sums = scene.now.tenant_sums();
    let sum = sums.iter().find(|sum| sum.status.tenant == name).ok_or_else(unknown)?;
    let config = scene.app.config.load();
    let course = scene.past.course(Some(name), None);
    let body = html! {
        h1 { "Tenant " (said(name)) }
        p {
            a href=(paths::with_query("/ledger", &[("tenant", Some(name))])) { "In the ledger" } " · "
            a href=(paths::with_query("/explain", &[("tenant", Some(name))])) { "Explain a series" } " · "
            a href=(paths::with_query("/tap", &[("tenant", Some(name))])) { "Tap" }
        }
        section #figures data-part { (figures(sum)) }
        section #refused data-part { h2 { "Refused" } (refused(sum, &tenant)) }
        section #limits data-part { h2 { "Limits" } (limits(sum, &tenant, &config)) }
        section #endpoints data-part { h2 { "Its endpoints" } (rows_table(&sum.rows, "endpoint")) }
        section #courses data-part {
            h2 { "The last " (span_of(course.as_ref()).1) }
            div.charts {
                @match &course {
                    Some(course) => {
                        (measure(course, false, "Samples received a second", amount, &[("", "received_samples_per_second")]))
                        (measure(course, false, "Samples refused a second", amount, &[("", "refused_samples_per_second")]))
                    },
                    None => p.quiet { "Not remembered: there are too many tenants." },
                }
            }
        }
        section { h2 { "Who speaks for it" } (credentials(&config, &tenant)) }
    };
    Ok(Frame { title: name.to_owned(), here: Some("/tenants"), body, is_live: true })
}

fn figures(sum: &TenantSum<'_>) -> Markup {
    let status = sum.status;
    html! {
        @if let Some(why) = &status.not_kept { p.bad { "What is pushed is not kept, senders get 503: " (said(why)) } }
        dl.figures {
            (figure("state", &sum.show()))
            (figure("received/s", &html! { (amount(status.received_samples_per_second)) }))
            (figure("received", &html! { (count(status.received_samples)) }))
            (figure("accepted", &html! { (count(status.accepted_samples)) }))
            (figure("refused", &html! { (count(status.refused_samples)) }))
            (figure("active series", &html! { (count(status.active_series)) }))
            (figure("log", &html! { (bytes(status.log_bytes)) }))
            (figure("records in the log", &html! { (count(status.head - status.oldest)) }))
            @if status.damaged_records > 0 { (figure("damaged records", &html! { (count(status.damaged_records)) })) }
        }
    }
}

fn refused(sum: &TenantSum<'_>, tenant: &Tenant) -> Markup {
    let reasons = Reason::ALL.into_iter().filter_map(|reason| {
        let points = *sum.status.refused.get(reason.as_str())?;
        Some((reason, points, tenant.last_refusal(reason)))
    });
    let reasons: Vec<_> = reasons.collect();
    html! {
        @if reasons.is_empty() { p.quiet { "Nothing, since the gateway started." } } @else {
            table.cards {
                (heads(&["reason", "#data points", "the last, as its sender was told"]))
                tbody {
                    @for (reason, points, example) in &reasons {
                        tr {
                            th scope="row" { (reason.as_str()) }
                            td.number data-label="data points" { (count(*points)) }
                            td.words data-label="the last" { @if let Some(example) = example { (said(example)) } @else { "-" } }
                        }
                    }
                }
            }
        }
    }
}

/// A limit, what there is of it, and how many requests it refused.
struct Headroom {
    limit: Limit,
    most: u64,
    /// Where that is known.
    now: Option<f64>,
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn limits(sum: &TenantSum<'_>, tenant: &Tenant, config: &Config) -> Markup {
    let limits = tenant.limits();
    let series = Some(sum.status.active_series as f64);
    let rows = [
        Headroom {
            limit: Limit::Samples,
            most: limits.samples_per_second,
            now: Some(sum.status.received_samples_per_second),
        },
        Headroom { limit: Limit::Bytes, most: limits.bytes_per_second, now: None },
        Headroom { limit: Limit::Requests, most: limits.requests_per_second, now: None },
        Headroom { limit: Limit::Windows, most: limits.rate_limits.len() as u64, now: None },
        Headroom { limit: Limit::ActiveSeries, most: limits.active_series.into(), now: series },
        Headroom {
            limit: Limit::Connections,
            most: limits.connections.into(),
            now: Some(tenant.allowance.connections().into()),
        },
    ];
    let configured = config.tenants.get(&tenant.name).and_then(|tenant| tenant.log.max_size);
    let (most, now) = (configured.unwrap_or(config.log.max_size), sum.status.log_bytes);
    html! {
        table.cards {
            (heads(&["limit", "#at most", "#now", "room", "#requests refused"]))
            tbody {
                @for row in &rows {
                    tr {
                        th scope="row" { (row.limit.key()) }
                        td.number data-label="at most" {
                            @if row.most == 0 { "none" } @else if row.limit == Limit::Windows { (row.most) " rules" } @else {
                                (count(row.most))
                            }
                        }
                        td.number data-label="now" { @if let Some(now) = row.now { (amount(now)) } @else { "-" } }
                        td data-label="room" {
                            @if let Some(now) = row.now.filter(|_| row.most > 0) { (room(now / row.most as f64)) } @else { "-" }
                        }
                        td.number data-label="requests refused" {
                            (count(tenant.allowance.refused(row.limit))) @if sum.status.limited_lately.iter().any(|key| key == row.limit.key()) {
                                " " span.standing.warning { "lately" }
                            }
                        }
                    }
                }
                tr {
                    th scope="row" { "log.max_size" }
                    td.number data-label="at most" { (bytes(most)) }
                    td.number data-label="now" { (bytes(now)) }
                    td data-label="room" { (room(now as f64 / most.max(1) as f64)) }
                    td.number data-label="requests refused" { "-" }
                }
            }
        }
    }
}

/// How much of a limit is used.
fn room(used: f64) -> Markup {
    let percent = (used * 100.0).clamp(0.0, 999.0).round();
    html! { meter min="0" max="100" high="90" value=(percent.min(100.0)) aria-label="used" {} " " (percent) " % used" }
}

/// Kinds and names, never a secret.
fn credentials(config: &Config, tenant: &Tenant) -> Markup {
    let own = config.tenants.get(&tenant.name);
    let by_listener = config.listeners.iter().filter(|listener| listener.tenant.as_ref() == Some(&tenant.name));
    let by_listener: Vec<_> = by_listener.map(|listener| listener.address.to_string()).collect();
    let kinds: Vec<_> = own.map(kinds).unwrap_or_default();
    let others = config.authentication.iter().map(|authenticator| match authenticator {
        Authenticator::Jwt(_) => "signed tokens that name it (authentication: jwt)",
        Authenticator::ClientCertificate(_) => "client certificates that name it (authentication: client_certificate)",
    });
    html! {
        ul.plain {
            @for address in &by_listener {
                li { "whoever reaches " code { (address) } " without a credential (listeners: tenant)" }
            }
            @for kind in &kinds { li { (said(kind)) } }
            @for other in others { li { (other) } }
            @if by_listener.is_empty() && kinds.is_empty() && config.authentication.is_empty() {
                li { "nobody: see tenants, listeners and authentication in the configuration" }
            }
        }
        @if let Some(allow) = own.map(|own| &own.allow).filter(|allow| !allow.is_empty()) {
            p { "Only from " @for (at, net) in allow.iter().enumerate() { @if at > 0 { ", " } code { (net) } } }
        }
    }
}

fn kinds(own: &TenantConfig) -> Vec<String> {
    let of = |credential: &Credential| match credential {
        Credential::Bearer(_) => "a bearer token".to_owned(),
        Credential::Basic { username, .. } => match username {
            TextSource::Inline(name) => format!("user {name} with a password"),
            TextSource::File(path) => format!("the user named in {} with a password", path.display()),
        },
    };
    let mut kinds: Vec<_> = own.credentials.iter().map(of).collect();
    kinds.extend(own.client_ca_file.as_ref().map(|path| format!("client certificates of {}", path.display())));
    kinds.extend(own.login.as_ref().map(|_| "a login of Observatorium's tenants file".to_owned()));
    kinds
}

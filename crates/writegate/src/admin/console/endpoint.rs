//! An endpoint, as one of its tenants sees it or all do: how it is doing and was, what it said, what it refused, replays to it.

use maud::{Markup, html};
use writegate_config::TenantName;

use super::super::api::{EndpointStatus, Growing, History};
use super::super::query;
use super::super::refusal::Refusal;
use super::chart::{Chart, Span, chart};
use super::frame::Frame;
use super::lists::heads;
use super::standing::{EndpointSum, Standing};
use super::{Scene, letters, paths, replays, said};
use crate::figures::{age, amount, count};

/// Rows that are listed, those in trouble first.
const ROWS: usize = 50;
/// How many values are drawn, and how long that is: of the first that has room for all.
const SPANS: [(usize, &str); 3] = [(60, "15 minutes"), (240, "hour"), (720, "three hours")];
/// Values of a day.
const DAY: usize = 480;

pub(super) fn page(scene: &Scene<'_>, name: &str, query: &str) -> Result<Frame, Refusal> {
    let [tenant, after, span] = query::parameters(query, &["tenant", "after", "span"])?;
    let (tenant, is_day) = (tenant.as_deref(), span.as_deref() == Some("day"));
    let sums = scene.now.endpoint_sums();
    let sum = sums.iter().find(|sum| sum.name == name);
    let sum = sum.ok_or_else(|| Refusal::Unknown(format!("There is no endpoint {name:?}")))?;
    let row = match tenant {
        None => None,
        Some(tenant) => {
            let row = sum.rows.iter().find(|row| row.tenant == tenant);
            Some(*row.ok_or_else(|| Refusal::Unknown(format!("{name:?} has nothing of a tenant {tenant:?}")))?)
        }
    };
    let body = html! {
        (head(sum, row))
        section #figures data-part { (figures(sum, row)) }
        section #answers data-part { h2 { "What it says" } (answers(sum, row)) }
        section #courses data-part { (courses(scene, sum.name, tenant, is_day)) }
        @if row.is_none() { section #tenants data-part { h2 { "Its tenants" } (tenants(sum)) } }
        section #letters data-part { h2 { "Dead letters" } (letters::section(scene, sum.name, tenant, after.as_deref())?) }
        section #replays data-part { h2 { "Replays" } (replays::list(scene, sum.name, tenant)) }
        section { h2 { "Send a window of the log again" } (replays::form(scene, sum.name, tenant)) }
    };
    Ok(Frame { title: name.to_owned(), here: Some("/endpoints"), body, is_live: true })
}

fn head(sum: &EndpointSum<'_>, row: Option<&EndpointStatus>) -> Markup {
    let tenant = row.map(|row| row.tenant.as_str());
    let about = [("tenant", tenant), ("endpoint", Some(sum.name))];
    html! {
        h1 { (said(sum.name)) @if let Some(tenant) = tenant { " for " a href=(paths::tenant(tenant)) { (said(tenant)) } } }
        p {
            @if sum.url.is_empty() { "It is no longer configured; its books stay." } @else { code { (said(sum.url)) } }
            @if tenant.is_some() { " · " a href=(paths::endpoint(sum.name, None)) { "All its tenants" } }
            " · " a href=(paths::with_query("/ledger", &about)) { "In the ledger" }
            " · " a href=(paths::with_query("/tap", &about)) { "Tap" }
        }
    }
}

/// A figure and what it is of.
pub(super) fn figure(name: &str, value: &Markup) -> Markup {
    html! { div { dt { (name) } dd { (value) } } }
}

fn figures(sum: &EndpointSum<'_>, row: Option<&EndpointStatus>) -> Markup {
    let rows = || row.map_or_else(|| sum.rows.clone(), |row| vec![row]);
    let total = |of: fn(&EndpointStatus) -> u64| count(rows().into_iter().map(of).sum());
    let (standing, rate) =
        row.map_or((sum.standing, sum.rate), |row| (Standing::of(row), row.delivered_samples_per_second));
    let lag = row.map_or(sum.lag, |row| row.lag_seconds);
    html! {
        dl.figures {
            (figure("state", &standing.show()))
            (figure("lag", &html! { (age(lag)) }))
            (figure("delivered/s", &html! { (amount(rate)) }))
            (figure("pending", &html! { (total(|row| row.pending_samples)) }))
            (figure("requests in flight, of all tenants", &html! { (sum.in_flight) " of " (sum.limit) }))
            (figure("accepted", &html! { (total(|row| row.accepted_samples)) }))
            (figure("delivered", &html! { (total(|row| row.delivered_samples)) }))
            (figure("dropped", &html! { (total(|row| row.dropped_samples)) }))
            (figure("dead-lettered", &html! { (total(|row| row.dead_lettered_samples)) }))
            (figure("expired", &html! { (total(|row| row.expired_samples)) }))
        }
        @if rows().iter().any(|row| !row.balances) {
            p.bad { "The books do not balance: that is a mistake in Writegate itself." }
        }
        @if let Some(words) = growing(&rows()) { p.quiet { "Grew in the last ten minutes: " (words) "." } }
    }
}

fn growing(rows: &[&EndpointStatus]) -> Option<String> {
    let grows = |fate: &Growing| rows.iter().any(|row| row.growing.contains(fate));
    let word = |fate| match fate {
        Growing::DeadLettered => "dead letters",
        Growing::Expired => "expired",
        Growing::Dropped => "dropped",
    };
    let words: Vec<_> = Growing::ALL.into_iter().filter(grows).map(word).collect();
    (!words.is_empty()).then(|| words.join(", "))
}

/// In full, as the endpoint said it; its words were bounded when they came.
fn answers(sum: &EndpointSum<'_>, row: Option<&EndpointStatus>) -> Markup {
    let worst = || sum.rows.iter().max_by(|a, b| a.lag_seconds.total_cmp(&b.lag_seconds));
    let of_all = |of: fn(&EndpointStatus) -> Option<&str>| {
        let has = sum.rows.iter().filter(|row| of(row).is_some());
        has.max_by(|a, b| a.lag_seconds.total_cmp(&b.lag_seconds)).or_else(worst).copied()
    };
    let said_by = |of: fn(&EndpointStatus) -> Option<&str>| {
        let row = row.or_else(|| of_all(of))?;
        Some((row.tenant.as_str(), of(row)?))
    };
    let error = said_by(|row| row.last_error.as_deref());
    let refusal = said_by(|row| row.last_refusal.as_deref());
    let to = |tenant: &str| html! { @if row.is_none() { " (to " (said(tenant)) ")" } };
    html! {
        @match error {
            Some((tenant, words)) => { p { "Nothing was taken last" (to(tenant)) ":" } blockquote #last-error { (said(words)) } },
            None if sum.rows.is_empty() => p.quiet { "Nothing has been sent to it yet." },
            None => p.quiet { "It takes what it is sent." },
        }
        @if let Some((tenant, words)) = refusal {
            p { "When it last refused data for good" (to(tenant)) ":" } blockquote #last-refusal { (said(words)) }
        }
    }
}

fn tenants(sum: &EndpointSum<'_>) -> Markup {
    let all = sum.rows.len();
    html! {
        (rows_table(&sum.rows, "tenant"))
        @if all > ROWS { p.quiet { "and " (all - ROWS) " more that are doing no worse" } }
    }
}

/// Tenants at endpoints, those in trouble first: `first` says by which of both a row is called.
pub(super) fn rows_table(rows: &[&EndpointStatus], first: &str) -> Markup {
    let mut rows = rows.to_vec();
    rows.sort_by(|a, b| Standing::of(a).cmp(&Standing::of(b)).then(b.lag_seconds.total_cmp(&a.lag_seconds)));
    let name = |row: &EndpointStatus| if first == "tenant" { row.tenant.clone() } else { row.endpoint.clone() };
    html! {
        @if rows.is_empty() { p.quiet { "There is none." } } @else {
            table.cards {
                (heads(&[first, "state", "#delivered/s", "#lag", "#pending", "#dead letters", "#dropped", "#expired"]))
                tbody {
                    @for row in rows.iter().take(ROWS) {
                        tr {
                            th scope="row" { a href=(paths::endpoint(&row.endpoint, Some(&row.tenant))) { (said(&name(row))) } }
                            td data-label="state" { (Standing::of(row).show()) }
                            td.number data-label="delivered/s" { (amount(row.delivered_samples_per_second)) }
                            td.number data-label="lag" { (age(row.lag_seconds)) }
                            td.number data-label="pending" { (count(row.pending_samples)) }
                            td.number data-label="dead letters" { (count(row.dead_letters)) }
                            td.number data-label="dropped" { (count(row.dropped_samples)) }
                            td.number data-label="expired" { (count(row.expired_samples)) }
                        }
                    }
                }
            }
        }
    }
}

fn courses(scene: &Scene<'_>, name: &str, tenant: Option<&str>, is_day: bool) -> Markup {
    let endpoint = scene.past.course(None, Some(name));
    let row = tenant.and_then(|tenant| scene.past.course(Some(tenant), Some(name)));
    let link = |span: Option<&str>| {
        let path = paths::endpoint(name, None);
        paths::with_query(&path, &[("tenant", tenant), ("span", span)])
    };
    let span = span_of(row.as_ref().or(endpoint.as_ref())).1;
    html! {
        h2 { "The last " @if is_day { "day" } @else { (span) } }
        p { @if is_day { a href=(link(None)) { "The last hours" } } @else { a href=(link(Some("day"))) { "The last day" } } }
        div.charts {
            @if let Some(row) = &row {
                (measure(row, is_day, "Samples delivered a second", amount, &[("", "delivered_samples_per_second")]))
                (measure(row, is_day, "Lag", age, &[("", "lag_seconds")]))
            } @else if tenant.is_some() {
                p.quiet {
                    "Its rate and lag are not remembered: there are too many tenants and endpoints, and this one has no trouble."
                }
            }
            @if let Some(endpoint) = &endpoint {
                (measure(endpoint, is_day, "Requests, of all tenants", amount, &REQUESTS))
                (measure(endpoint, is_day, "Time to an answer", age_fine, &[("", "answer_seconds")]))
                (measure(endpoint, is_day, "Requests at once", amount, &AT_ONCE))
            }
        }
    }
}

/// Lines of a chart: their names, and what they are of.
const REQUESTS: [(&str, &str); 2] = [("a second", "requests_per_second"), ("failed", "failed_requests_per_second")];
const AT_ONCE: [(&str, &str); 2] = [("in flight", "in_flight"), ("at most", "concurrency_limit")];

/// A chart of some measures of a course.
pub(super) fn measure(
    history: &History,
    is_day: bool,
    title: &str,
    unit: fn(f64) -> String,
    measures: &[(&str, &str)],
) -> Markup {
    let (step, values) = if is_day { (&history.coarse, DAY) } else { (&history.fine, span_of(Some(history)).0) };
    let of = |measure: &str| step.values.get(measure).map(Vec::as_slice).unwrap_or_default();
    let lines = measures.iter().map(|(name, measure)| (*name, of(measure))).collect();
    chart(&Chart { title, unit, lines }, &Span::of(&history.until, step, values))
}

/// As long as there are values for, so that a young gateway's are seen.
pub(super) fn span_of(history: Option<&History>) -> (usize, &'static str) {
    let values = |history: &History| history.fine.values.values().map(Vec::len).max();
    let values = history.and_then(values).unwrap_or_default();
    SPANS.into_iter().find(|(room, _)| values <= *room).unwrap_or(SPANS[2])
}

/// `12ms` below a second.
fn age_fine(seconds: f64) -> String {
    if seconds < 1.0 { format!("{:.0}ms", seconds * 1e3) } else { age(seconds) }
}

/// Whether a name could be a tenant's.
pub(super) fn tenant_name(name: &str) -> Result<TenantName, Refusal> {
    TenantName::new(name).map_err(|invalid| Refusal::Unknown(format!("There is no tenant {name:?}: {invalid}")))
}

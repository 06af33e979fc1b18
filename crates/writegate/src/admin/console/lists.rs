//! All tenants, all endpoints: those in trouble first, found by a part of their names, a page at a time.

use maud::{Markup, html};

use super::super::query;
use super::super::refusal::Refusal;
use super::frame::Frame;
use super::standing::{EndpointSum, TenantSum};
use super::{Scene, paths, said};
use crate::figures::{age, amount, bytes, count};

/// Rows of a page.
pub(super) const PAGE: usize = 100;

/// What of a list is shown.
struct Window {
    find: String,
    from: usize,
}

impl Window {
    fn read(query: &str) -> Result<Self, Refusal> {
        let [find, from] = query::parameters(query, &["find", "from"])?;
        Ok(Self { find: find.unwrap_or_default(), from: number("from", from)? })
    }

    fn has(&self, name: &str) -> bool {
        name.to_lowercase().contains(&self.find.to_lowercase())
    }
}

/// A number of a query; 0 if absent.
pub(super) fn number(name: &str, value: Option<String>) -> Result<usize, Refusal> {
    let number = |value: String| {
        value.parse().map_err(|_invalid| Refusal::Request(format!("{name}: expected a number, found {value:?}")))
    };
    value.map_or(Ok(0), number)
}

pub(super) fn tenants(scene: &Scene<'_>, query: &str) -> Result<Frame, Refusal> {
    let window = Window::read(query)?;
    let all: Vec<_> = scene.now.tenant_sums().into_iter().filter(|sum| window.has(&sum.status.tenant)).collect();
    let shown: Vec<_> = all.iter().skip(window.from).take(PAGE).cloned().collect();
    Ok(list(("/tenants", "Tenants"), &window, all.len(), &tenant_table(&shown)))
}

pub(super) fn endpoints(scene: &Scene<'_>, query: &str) -> Result<Frame, Refusal> {
    let window = Window::read(query)?;
    let all: Vec<_> = scene.now.endpoint_sums().into_iter().filter(|sum| window.has(sum.name)).collect();
    let shown: Vec<_> = all.iter().skip(window.from).take(PAGE).cloned().collect();
    Ok(list(("/endpoints", "Endpoints"), &window, all.len(), &endpoint_table(&shown)))
}

fn list((path, title): (&'static str, &str), window: &Window, all: usize, table: &Markup) -> Frame {
    let find = Some(window.find.as_str()).filter(|find| !find.is_empty());
    let body = html! {
        h1 { (title) }
        form.row action=(path) {
            label { "Find " input type="search" name="find" value=(window.find); }
            button { "Find" }
        }
        section #list data-part {
            (table)
            (pager(path, &[("find", find)], window.from, all))
        }
    };
    Frame { title: title.to_owned(), here: Some(path), body, is_live: true }
}

/// Which rows of how many these are, with links to those before and behind.
pub(super) fn pager(path: &str, parameters: &[(&str, Option<&str>)], from: usize, all: usize) -> Markup {
    let to = (from + PAGE).min(all);
    let link = |from: usize| {
        let from = from.to_string();
        let parameters: Vec<_> = parameters.iter().copied().chain([("from", Some(from.as_str()))]).collect();
        paths::with_query(path, &parameters)
    };
    html! {
        p.pager {
            @if all > PAGE || from > 0 { (from + 1) " to " (to) " of " (all) }
            @if from > 0 { " " a rel="prev" href=(link(from.saturating_sub(PAGE))) { "Before" } }
            @if to < all { " " a rel="next" href=(link(to)) { "Next" } }
        }
    }
}

/// The head of a table; figures are marked with `#` and stand at the right.
pub(super) fn heads(columns: &[&str]) -> Markup {
    let column = |name: &&str| match name.strip_prefix('#') {
        Some(figure) => html! { th.number scope="col" { (figure) } },
        None => html! { th scope="col" { (name) } },
    };
    html! {
        thead { tr { @for name in columns { (column(name)) } } }
    }
}

/// Nothing where there is nothing: zeros hide what is not zero.
pub(super) fn unless_zero(number: u64) -> String {
    if number == 0 { "0".to_owned() } else { count(number) }
}

pub(super) fn endpoint_table(endpoints: &[EndpointSum<'_>]) -> Markup {
    html! {
        @if endpoints.is_empty() { p.quiet { "There is none." } } @else {
            table.cards {
                (heads(&["endpoint", "state", "#delivered/s", "#lag", "#pending", "#in flight", "#dead letters", "#tenants"]))
                tbody {
                    @for sum in endpoints {
                        tr {
                            th scope="row" { a href=(paths::endpoint(sum.name, None)) { (said(sum.name)) } }
                            td data-label="state" { (sum.standing.show()) }
                            td.number data-label="delivered/s" { (amount(sum.rate)) }
                            td.number data-label="lag" { (age(sum.lag)) }
                            td.number data-label="pending" { (count(sum.pending)) }
                            td.number data-label="in flight" { (sum.in_flight) " of " (sum.limit) }
                            td.number data-label="dead letters" { (unless_zero(sum.letters)) }
                            td.number data-label="tenants" { (sum.rows.len()) }
                        }
                    }
                }
            }
        }
    }
}

pub(super) fn tenant_table(tenants: &[TenantSum<'_>]) -> Markup {
    html! {
        @if tenants.is_empty() { p.quiet { "No tenant has sent anything yet." } } @else {
            table.cards {
                (heads(&["tenant", "state", "#received/s", "#accepted", "#refused", "#lag, most", "#active series", "#log"]))
                tbody {
                    @for sum in tenants {
                        tr {
                            th scope="row" { a href=(paths::tenant(&sum.status.tenant)) { (said(&sum.status.tenant)) } }
                            td data-label="state" { (sum.show()) }
                            td.number data-label="received/s" { (amount(sum.status.received_samples_per_second)) }
                            td.number data-label="accepted" { (count(sum.status.accepted_samples)) }
                            td.number data-label="refused" { (unless_zero(sum.status.refused_samples)) }
                            td.number data-label="lag, most" { (age(sum.lag)) }
                            td.number data-label="active series" { (count(sum.status.active_series)) }
                            td.number data-label="log" { (bytes(sum.status.log_bytes)) }
                        }
                    }
                }
            }
        }
    }
}

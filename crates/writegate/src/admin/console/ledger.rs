//! The books as they are, row by row, and whether each balances.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::super::api::{Book, LedgerRow};
use super::super::query;
use super::super::refusal::Refusal;
use super::super::status;
use super::frame::Frame;
use super::lists::{PAGE, heads, number, pager};
use super::{Scene, paths, said};
use crate::figures::plural;

pub(super) fn page(scene: &Scene<'_>, query: &str) -> Result<Frame, Refusal> {
    let [tenant, endpoint, from] = query::parameters(query, &["tenant", "endpoint", "from"])?;
    let from = number("from", from)?;
    let wanted = |value: Option<String>| value.filter(|value| !value.is_empty());
    let (tenant, endpoint) = (wanted(tenant), wanted(endpoint));
    let is_wanted = |row: &LedgerRow| {
        let is = |wanted: &Option<String>, name: &str| wanted.as_ref().is_none_or(|wanted| wanted == name);
        is(&tenant, &row.tenant) && is(&endpoint, &row.endpoint)
    };
    let rows: Vec<_> = status::ledger(scene.app).rows.into_iter().filter(is_wanted).collect();
    let wrong = rows.iter().filter(|row| !row.balances()).count();
    let (tenant, endpoint) = (tenant.as_deref(), endpoint.as_deref());
    let body = html! {
        h1 { "Ledger" }
        p.quiet {
            "accepted = delivered + pending + dropped + dead-lettered + expired, for samples, histograms and exemplars each."
        }
        form.row action="/ledger" {
            label { "Tenant " input name="tenant" value=[tenant]; }
            label { "Endpoint " input name="endpoint" value=[endpoint]; }
            button { "Show" }
        }
        section #rows data-part {
            @if rows.is_empty() {
                p { "There are no such books: nothing was accepted, or no endpoint takes it." }
            } @else if wrong > 0 {
                p.bad #balance {
                    (wrong) " of " (rows.len()) " row" (plural(rows.len() as u64)) ": the books do not balance. "
                    "That is a mistake in Writegate itself: keep a copy of the data directory and report it."
                }
            } @else {
                p.good #balance {
                    (rows.len()) " row" (plural(rows.len() as u64)) ", and " @if rows.len() == 1 { "it balances." } @else {
                        "all balance."
                    }
                }
            }
            @for row in rows.iter().skip(from).take(PAGE) { (books(row)) }
            (pager("/ledger", &[("tenant", tenant), ("endpoint", endpoint)], from, rows.len()))
        }
    };
    Ok(Frame { title: "Ledger".to_owned(), here: Some("/ledger"), body, is_live: rows.len() <= PAGE })
}

/// A reader counts what is written: no rounding here.
fn exact(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

fn books(row: &LedgerRow) -> Markup {
    let kinds = [("samples", &row.samples), ("histograms", &row.histograms), ("exemplars", &row.exemplars)];
    html! {
        section.book {
            h2 {
                a href=(paths::tenant(&row.tenant)) { (said(&row.tenant)) } " at "
                a href=(paths::endpoint(&row.endpoint, Some(&row.tenant))) { (said(&row.endpoint)) }
                @if let Some(id) = row.replay { ", replay " (id) }
                @if row.state != "active" { " (" (said(&row.state)) ")" }
            }
            table.cards {
                (heads(&["of", "#accepted", "#delivered", "#pending", "#dropped", "#dead-lettered", "#expired", "balances"]))
                tbody {
                    @for (kind, book) in kinds.iter().filter(|(kind, book)| *kind == "samples" || book.accepted > 0 || !book.balances()) {
                        tr {
                            th scope="row" { (kind) }
                            td.number data-label="accepted" { (exact(book.accepted)) }
                            td.number data-label="delivered" { (exact(book.delivered)) }
                            td.number data-label="pending" { (exact(book.pending)) }
                            td.number data-label="dropped" { (by_reason(&book.dropped)) }
                            td.number data-label="dead-lettered" { (by_reason(&book.dead_lettered)) }
                            td.number data-label="expired" { (exact(book.expired)) }
                            td data-label="balances" { (balance(book)) }
                        }
                    }
                }
            }
            @if !row.examples.is_empty() {
                p.quiet { "For example:" }
                ul.plain { @for (reason, series) in &row.examples { li { (said(reason)) ": " code { (said(series)) } } } }
            }
        }
    }
}

fn by_reason(reasons: &BTreeMap<String, u64>) -> Markup {
    html! {
        @if reasons.is_empty() { "0" }
        @for (reason, number) in reasons { div { (said(reason)) ": " (exact(*number)) } }
    }
}

fn balance(book: &Book) -> Markup {
    html! { @if book.balances() { span.standing.good { "yes" } } @else { span.standing.bad { "no" } } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_told_to_the_last_digit_in_groups_of_three() {
        assert_eq!([0, 999, 1000, 1_234_567].map(exact), ["0", "999", "1\u{202f}000", "1\u{202f}234\u{202f}567"]);
    }

    #[test]
    fn a_row_that_does_not_balance_says_so() {
        let book = |accepted| Book {
            accepted,
            delivered: 3,
            pending: 1,
            dropped: [("relabel".to_owned(), 2)].into(),
            dead_lettered: BTreeMap::new(),
            expired: 0,
        };
        let row = |accepted| LedgerRow {
            tenant: "blue".to_owned(),
            endpoint: "<b>".to_owned(),
            state: "active".to_owned(),
            replay: None,
            samples: book(accepted),
            histograms: book(6),
            exemplars: book(6),
            examples: [("relabel".to_owned(), "up{a=\"<script>\"}".to_owned())].into(),
        };
        assert!(row(6).balances() && !row(7).balances());
        let shown = books(&row(7)).into_string();
        assert!(shown.contains("<span class=\"standing bad\">no</span>"), "{shown}");
        assert!(shown.contains("&lt;script&gt;") && !shown.contains("<script>") && !shown.contains("<b>"), "{shown}");
    }
}

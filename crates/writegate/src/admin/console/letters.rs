//! Dead letters: those of an endpoint, and one that is opened.

use maud::{Markup, html};

use super::super::api::{Letter, SeriesShown};
use super::super::letters as api_letters;
use super::super::query;
use super::super::refusal::Refusal;
use super::acts::{hidden, sure};
use super::frame::Frame;
use super::lists::heads;
use super::{Scene, paths, said};
use crate::figures::{bytes, count, plural};

/// Letters of a page.
const PAGE: &str = "20";

/// The letters of an endpoint, and what can be done with all of them.
pub(super) fn section(
    scene: &Scene<'_>,
    endpoint: &str,
    tenant: Option<&str>,
    after: Option<&str>,
) -> Result<Markup, Refusal> {
    let asked =
        query::encode(&[("endpoint", Some(endpoint)), ("tenant", tenant), ("limit", Some(PAGE)), ("after", after)]);
    let page = api_letters::list(scene.app, asked.trim_start_matches('?'))?;
    let next = page.next.map(|next| next.to_string());
    let link = |after: Option<&str>| {
        paths::with_query(&paths::endpoint(endpoint, None), &[("tenant", tenant), ("after", after)]) + "#letters"
    };
    let mut columns = vec!["letter", "what it said", "series", "#samples", "refused at", "do"];
    if tenant.is_none() {
        columns.insert(1, "tenant");
    }
    Ok(html! {
        @if page.letters.is_empty() {
            p.quiet { "None: it has refused nothing for good, or its letters were retried or dropped." }
        } @else {
            p { "What it refused for good, the oldest first. All of them:" }
            div.row {
                form method="post" action="/console/letters" { (of(endpoint, tenant, "retry")) button { "Retry all" } }
                form method="post" action="/console/letters" {
                    (of(endpoint, tenant, "drop")) (sure("they are gone for good")) button.danger { "Drop all" }
                }
            }
            table.cards {
                (heads(&columns))
                tbody { @for letter in &page.letters { (row(letter, tenant.is_none())) } }
            }
            p.pager {
                @if after.is_some() { a href=(link(None)) { "The oldest" } " " }
                @if let Some(next) = &next { a rel="next" href=(link(Some(next))) { "Newer ones" } }
            }
        }
    })
}

/// Which letters a form is about.
fn of(endpoint: &str, tenant: Option<&str>, action: &str) -> Markup {
    html! {
        (hidden("action", action)) (hidden("endpoint", endpoint))
        @if let Some(tenant) = tenant { (hidden("tenant", tenant)) }
    }
}

fn one(letter: &Letter, action: &str) -> Markup {
    html! {
        (of(&letter.endpoint, Some(&letter.tenant), action)) (hidden("id", &letter.id.to_string()))
    }
}

fn row(letter: &Letter, tells_tenant: bool) -> Markup {
    html! {
        tr {
            th scope="row" { a href=(paths::letter(letter.id)) { (letter.id) } }
            @if tells_tenant { td data-label="tenant" { (said(&letter.tenant)) } }
            td.words data-label="what it said" { (said(&letter.words)) }
            td.words data-label="series" {
                code { (said(&letter.example)) } @if letter.series > 1 { " and " (letter.series - 1) " more" }
            }
            td.number data-label="samples" { (count(letter.samples)) }
            td data-label="refused at" { (time(&letter.refused)) }
            td data-label="do" {
                form method="post" action="/console/letters" {
                    (one(letter, "retry")) button aria-label={ "Retry letter " (letter.id) } { "Retry" }
                }
            }
        }
    }
}

/// A time as people read it.
pub(super) fn time(rfc3339: &str) -> Markup {
    html! { time datetime=(rfc3339) { (rfc3339.get(..19).unwrap_or(rfc3339).replace('T', " ")) } }
}

/// One letter, opened.
pub(super) fn page(scene: &Scene<'_>, id: u64) -> Result<Frame, Refusal> {
    let open = api_letters::open(scene.app, id)?;
    let letter = &open.letter;
    let body = html! {
        h1 { "Dead letter " (id) }
        p {
            "Of " a href=(paths::tenant(&letter.tenant)) { (said(&letter.tenant)) } ", refused by "
            a href=(paths::endpoint(&letter.endpoint, Some(&letter.tenant))) { (said(&letter.endpoint)) }
            " at " (time(&letter.refused)) ", received at " (time(&letter.received)) "."
        }
        blockquote { (said(&letter.words)) }
        p.quiet {
            (count(letter.samples)) " sample" (plural(letter.samples)) " of " (letter.series) " series, " (bytes(letter.body_bytes.into())) ", " (open.protocol)
        }
        div.row {
            form method="post" action="/console/letters" { (one(letter, "retry")) button { "Retry" } }
            form method="post" action="/console/letters" {
                (one(letter, "drop")) (sure("it is gone for good")) button.danger { "Drop" }
            }
        }
        h2 { "What it holds" }
        @for series in &open.contents { (contents(series)) }
        @if open.cut { p.quiet { "There is more; writegate dead-letters show " (id) " says as much as this page." } }
    };
    Ok(Frame { title: format!("Dead letter {id}"), here: Some("/endpoints"), body, is_live: false })
}

fn contents(series: &SeriesShown) -> Markup {
    html! {
        p.words { code { (said(&series.series)) } }
        ul.plain {
            @for (seconds, value) in &series.samples { li { (said(value)) " at " (seconds) } }
            @for (seconds, histogram) in &series.histograms {
                li { "histogram of " (said(&histogram.count)) ", sum " (said(&histogram.sum)) " at " (seconds) }
            }
            @for (seconds, exemplar) in &series.exemplars {
                li { "exemplar " (said(&exemplar.labels)) " " (said(&exemplar.value)) " at " (seconds) }
            }
        }
    }
}

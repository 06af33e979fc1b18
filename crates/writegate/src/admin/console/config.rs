//! The configuration in effect, how its last reload went, and the button that reads it again.

use maud::{Markup, html};

use super::super::moment::Utc;
use super::frame::Frame;
use super::letters::time;
use super::{Scene, said};

pub(super) fn page(scene: &Scene<'_>) -> Frame {
    let reload = scene.app.last_reload();
    let body = html! {
        h1 { "Configuration" }
        section #reload data-part {
            @match &reload.error {
                Some(error) => {
                    p.bad role="alert" { "The last reload failed; what is below goes on." }
                    pre.words tabindex="0" { (error) }
                },
                None => p.good { "The last reload was taken over." },
            }
            p { "In effect since " (time(&Utc(reload.succeeded_ms).to_string())) "." }
        }
        form method="post" action="/console/reload" { button { "Read it again" } }
        h2 { "In effect, secrets hidden" }
        pre.yaml tabindex="0" { (said_lines(&scene.app.config.load().to_yaml())) }
    };
    Frame { title: "Configuration".to_owned(), here: Some("/config"), body, is_live: false }
}

/// As it is, line by line.
fn said_lines(text: &str) -> Markup {
    html! { @for line in text.lines() { (indent(line)) (said(line)) "\n" } }
}

/// Spaces at the beginning, which [`said`] takes away.
fn indent(line: &str) -> String {
    " ".repeat(line.len() - line.trim_start_matches(' ').len())
}

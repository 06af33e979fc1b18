//! What all pages have: head, navigation, how the gateway is doing, foot.

use maud::{DOCTYPE, Markup, html};

use super::super::api::Severity;
use super::assets::Asset;
use super::{Scene, standing};

/// A page's own part.
#[derive(Debug)]
pub(in super::super) struct Frame {
    pub(super) title: String,
    /// The entry of the navigation it belongs to.
    pub(super) here: Option<&'static str>,
    pub(super) body: Markup,
    /// Whether the script keeps it up to date.
    pub(super) is_live: bool,
}

/// Address and word of each entry of the navigation.
const ENTRIES: [(&str, &str); 7] = [
    ("/", "Overview"),
    ("/tenants", "Tenants"),
    ("/endpoints", "Endpoints"),
    ("/ledger", "Ledger"),
    ("/explain", "Explain"),
    ("/tap", "Tap"),
    ("/config", "Configuration"),
];

/// The whole document.
pub(super) fn frame(scene: &Scene<'_>, frame: &Frame) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (frame.title) " · Writegate" }
                link rel="icon" href=(Asset::Icon.path());
                link rel="stylesheet" href=(Asset::Style.path());
                script src=(Asset::Script.path()) defer {}
            }
            body {
                a.skip href="#main" { "Skip to the content" }
                header {
                    a.name href="/" { "Writegate" }
                    nav aria-label="Pages" {
                        @for (path, word) in ENTRIES {
                            a href=(path) aria-current=[(frame.here == Some(path)).then_some("page")] { (word) }
                        }
                    }
                    (summary(scene))
                }
                main #main tabindex="-1" data-live[frame.is_live] { (frame.body) }
                footer {
                    span { "Writegate " (scene.now.status.version) }
                    span { "Times are UTC." }
                    @if frame.is_live {
                        span #fresh role="status" {}
                        a href="" { "Refresh" }
                        button #pause type="button" hidden aria-pressed="false" { "Pause" }
                    }
                }
            }
        }
    }
}

/// How the gateway is doing, on every page.
fn summary(scene: &Scene<'_>) -> Markup {
    let findings = &scene.now.status.findings;
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let (bad, warnings) = (count(Severity::Bad), count(Severity::Warning));
    let (tone, words) = match (bad, warnings) {
        (0, 0) => ("good", "all is well".to_owned()),
        (0, warnings) => ("warning", format!("{warnings} to look at")),
        (bad, _) => ("bad", format!("{bad} wrong")),
    };
    html! { a #summary data-part class={ "standing " (tone) } href="/" { (standing::mark(tone)) (words) } }
}

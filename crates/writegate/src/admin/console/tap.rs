//! Series as they pass by: the script reads the tap, this page holds what it shows and says how without a script.

use maud::html;

use super::super::query;
use super::super::refusal::Refusal;
use super::frame::Frame;
use super::{Scene, paths};

pub(super) fn page(scene: &Scene<'_>, query: &str) -> Result<Frame, Refusal> {
    let [tenant, endpoint, selector] = query::parameters(query, &["tenant", "endpoint", "match"])?;
    let given = |value: Option<String>| value.filter(|value| !value.is_empty());
    let (tenant, endpoint, selector) = (given(tenant), given(endpoint), given(selector));
    let parameters = [("tenant", tenant.as_deref()), ("endpoint", endpoint.as_deref()), ("match", selector.as_deref())];
    let source = paths::with_query("/api/v1/tap", &parameters);
    let body = html! {
        h1 { "Tap" }
        p.quiet {
            "Series as they come in, or as an endpoint gets them. Nothing waits for who taps, and what is left out is counted."
        }
        form.row action="/tap" {
            label { "Tenant " input name="tenant" value=[tenant.as_deref()]; }
            label { "Endpoint "
                select name="endpoint" {
                    option value="" selected[endpoint.is_none()] { "none: as they come in" }
                    @for configured in &scene.now.status.configured {
                        option value=(configured.name) selected[endpoint.as_deref() == Some(&configured.name)] {
                            (configured.name)
                        }
                    }
                }
            }
            label.wide {
                "Selector " input name="match" spellcheck="false" autocomplete="off" placeholder="{job=\"node\"}" value=[selector.as_deref()];
            }
            button { "Tap" }
        }
        div #tap data-source=(source) hidden {
            p.row {
                button #tap-pause type="button" aria-pressed="false" { "Pause" }
                button #tap-clear type="button" { "Clear" }
                span #tap-state role="status" { "Connecting" }
            }
            ol #tap-list tabindex="0" aria-label="Series, the newest first" {}
        }
        noscript {
            p { "Live series need a script. Without one:" }
            pre tabindex="0" { (command_line(&parameters)) "\n\ncurl -N '" (address(scene)) (source) "'" }
        }
    };
    Ok(Frame { title: "Tap".to_owned(), here: Some("/tap"), body, is_live: false })
}

fn address(scene: &Scene<'_>) -> String {
    let config = scene.app.config.load();
    let scheme = if config.admin.tls.is_some() { "https" } else { "http" };
    format!("{scheme}://{}", config.admin.address)
}

/// The same on the command line, quoted for a shell.
fn command_line(parameters: &[(&str, Option<&str>)]) -> String {
    let given = parameters.iter().filter_map(|(name, value)| value.map(|value| (name, value)));
    let options: Vec<_> = given.map(|(name, value)| format!(" --{name} '{}'", value.replace('\'', "'\\''"))).collect();
    format!("writegate tap{}", options.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_quoted_for_a_shell() {
        let line = command_line(&[("tenant", Some("a")), ("endpoint", None), ("match", Some("{a=\"it's\"}"))]);
        assert_eq!(line, "writegate tap --tenant 'a' --match '{a=\"it'\\''s\"}'");
    }
}

//! What forms ask for: passed on to those who do it, and what came of it as a page.

use std::sync::Arc;

use http::StatusCode;
use maud::{Markup, html};

use super::super::api::{LetterAction, LettersWanted, ReplayWanted};
use super::super::letters::{self, Done};
use super::super::query;
use super::super::refusal::Refusal;
use super::super::replays;
use super::frame::Frame;
use super::{paths, said};
use crate::app::App;
use crate::chain::Chain;
use crate::figures::{count, dead_letters};

/// What a form asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Act {
    Reload,
    Replay,
    Cancel,
    Letters,
}

impl Act {
    pub(in super::super) fn of(path: &str) -> Option<Self> {
        Some(match path {
            "/console/reload" => Self::Reload,
            "/console/replay" => Self::Replay,
            "/console/cancel" => Self::Cancel,
            "/console/letters" => Self::Letters,
            _ => return None,
        })
    }
}

/// A field that nobody fills in.
pub(super) fn hidden(name: &str, value: &str) -> Markup {
    html! { input type="hidden" name=(name) value=(value); }
}

/// What must be said before something is done that cannot be undone.
pub(super) fn sure(that: &str) -> Markup {
    html! { label { input type="checkbox" name="sure" value="yes" required; " " (that) } }
}

/// What came of it, and the page to go on with.
struct Outcome {
    words: String,
    /// What can be done next, beside going back.
    more: Option<Markup>,
}

/// Does it, and gives the page that says what came of it.
pub(in super::super) async fn act(
    app: &Arc<App>,
    turn: &Arc<tokio::sync::Mutex<()>>,
    (act, form): (Act, &str),
) -> (StatusCode, Frame) {
    let mut back = ("/".to_owned(), "the overview".to_owned());
    let done = match act {
        Act::Reload => {
            back = ("/config".to_owned(), "the configuration".to_owned());
            reload(app).await
        }
        Act::Replay => replay(app, form, &mut back).await,
        Act::Cancel => cancel(app, form, &mut back).await,
        Act::Letters => move_letters(app, turn, form, &mut back).await,
    };
    let (status, title, words, more) = match done {
        Ok(Outcome { words, more }) => (StatusCode::OK, "Done", words, more),
        Err(refusal) => (refusal.status(), "Not done", refusal.to_string(), None),
    };
    let tone = if status == StatusCode::OK { "good" } else { "bad" };
    let body = html! {
        h1 { (title) }
        p class={ "words " (tone) } role="status" #outcome { (said(&words)) }
        @if let Some(more) = more { (more) }
        p { a href=(back.0) { "Back to " (said(&back.1)) } }
    };
    (status, Frame { title: title.to_owned(), here: None, body, is_live: false })
}

type Back = (String, String);

fn back_to(endpoint: &str, tenant: Option<&str>) -> Back {
    (paths::endpoint(endpoint, tenant), endpoint.to_owned())
}

async fn reload(app: &Arc<App>) -> Result<Outcome, Refusal> {
    match app.reload().await {
        Ok(()) => Ok(Outcome { words: "The configuration was read again and taken over.".to_owned(), more: None }),
        Err(error) => Err(Refusal::Conflict(Chain(&error).to_string())),
    }
}

async fn replay(app: &Arc<App>, form: &str, back: &mut Back) -> Result<Outcome, Refusal> {
    let [endpoint, tenant, from, to, rate] = query::parameters(form, &["endpoint", "tenant", "from", "to", "rate"])?;
    let (endpoint, tenant) = (given("endpoint", endpoint)?, given("tenant", tenant)?);
    *back = back_to(&endpoint, None);
    let rate = rate.filter(|rate| !rate.trim().is_empty()).map(|rate| number("rate", &rate)).transpose()?;
    let (from, to) = (given("from", from)?.into(), Some(given("to", to)?.into()));
    let wanted = ReplayWanted { endpoint: endpoint.clone(), tenant: tenant.clone(), from, to, rate };
    let begun = replays::begin(Arc::clone(app), wanted).await?;
    *back = back_to(&endpoint, Some(&tenant));
    Ok(Outcome { words: format!("Replay {} has begun.", begun.id), more: None })
}

async fn cancel(app: &Arc<App>, form: &str, back: &mut Back) -> Result<Outcome, Refusal> {
    let [id, endpoint] = query::parameters(form, &["id", "endpoint"])?;
    *back = back_to(&given("endpoint", endpoint)?, None);
    let replay = replays::cancel(Arc::clone(app), number("id", &given("id", id)?)?).await?;
    *back = back_to(&replay.endpoint, Some(&replay.tenant));
    Ok(Outcome { words: format!("Replay {} is {}.", replay.id, replay.state), more: None })
}

async fn move_letters(
    app: &Arc<App>,
    turn: &Arc<tokio::sync::Mutex<()>>,
    form: &str,
    back: &mut Back,
) -> Result<Outcome, Refusal> {
    let known = &["action", "endpoint", "tenant", "id", "after", "sure"];
    let [action, endpoint, tenant, id, after, sure] = query::parameters(form, known)?;
    let endpoint = given("endpoint", endpoint)?;
    *back = back_to(&endpoint, tenant.as_deref());
    let action = match given("action", action)?.as_str() {
        "retry" => LetterAction::Retry,
        "drop" if sure.is_some() => LetterAction::Drop,
        "drop" => return Err(Refusal::Request("say that you are sure: what is dropped is gone for good".to_owned())),
        other => return Err(Refusal::Request(format!("action: expected retry or drop, found {other:?}"))),
    };
    let ids = id.as_deref().map(|id| number("id", id).map(|id| vec![id])).transpose()?;
    let after = after.as_deref().map(|after| number("after", after)).transpose()?;
    let wanted = LettersWanted { action, endpoint: Some(endpoint.clone()), tenant: tenant.clone(), ids, after };
    Ok(match letters::change(Arc::clone(app), Arc::clone(turn), wanted).await? {
        Done::Dropped(done) => Outcome { words: format!("{} dropped.", dead_letters(done.dropped)), more: None },
        Done::Retried(tried) => {
            let said = tried.words.map_or_else(String::new, |words| format!(" It said: {words}"));
            let words = format!(
                "{endpoint} took {} and refused {} again.{said}",
                dead_letters(tried.taken),
                count(tried.refused)
            );
            let more = tried.next.map(|next| {
                html! {
                    form method="post" action="/console/letters" {
                        (hidden("action", "retry")) (hidden("endpoint", &endpoint)) (hidden("after", &next.to_string()))
                        @if let Some(tenant) = &tenant { (hidden("tenant", tenant)) }
                        button { "Go on with the next ones" }
                    }
                }
            });
            Outcome { words, more }
        }
    })
}

fn given(name: &str, value: Option<String>) -> Result<String, Refusal> {
    value.filter(|value| !value.is_empty()).ok_or_else(|| Refusal::Request(format!("{name} must be there")))
}

fn number(name: &str, text: &str) -> Result<u64, Refusal> {
    text.trim().parse().map_err(|_invalid| Refusal::Request(format!("{name}: expected a number, found {text:?}")))
}

//! `dead_letters`: what endpoints refused for good; listed, opened, tried again, let go.

use std::collections::BTreeSet;
use std::sync::Arc;

use dead_letters::{Envelope, Filter, Id, StoreError, Summary};
use tokio::sync::Mutex;
use writegate_config::TenantName;

use super::api::{DroppedLetters, Letter, LetterAction, LetterPage, LettersWanted, OpenLetter, Retried};
use super::contents;
use super::moment::Utc;
use super::query;
use super::refusal::Refusal;
use crate::app::App;
use crate::chain::Chain;
use crate::dead_letters::{protocol_of, request_in};
use crate::delivery::RetryError;

/// How many letters a page has unless told otherwise, and at most.
const PAGE: (usize, usize) = (100, 1000);
/// How many names are told to whoever asked for one that is not there.
const NAMES_SHOWN: usize = 20;

/// `GET /api/v1/dead_letters`. Blocks on the disk.
///
/// # Errors
/// When the query is not understood or the disk fails.
pub(super) fn list(app: &App, query: &str) -> Result<LetterPage, Refusal> {
    let [endpoint, tenant, limit, after] = query::parameters(query, &["endpoint", "tenant", "limit", "after"])?;
    let limit = match number("limit", limit)? {
        None => PAGE.0,
        Some(limit) => usize::try_from(limit).unwrap_or(PAGE.1).min(PAGE.1),
    };
    if limit == 0 {
        return Err(Refusal::Request("limit: expected at least 1".to_owned()));
    }
    let after = number("after", after)?;
    let filter = Filter { tenant, endpoint };
    check_names(app, &filter)?;
    // One more tells whether there are more.
    let found = app.engine.deliveries.dead_letters().list(&filter, after, limit + 1);
    let mut letters: Vec<Letter> = found.map_err(|error| failed(&error))?.iter().map(shown).collect();
    let has_more = letters.len() > limit;
    letters.truncate(limit);
    let next = letters.last().map(|letter| letter.id).filter(|_| has_more);
    Ok(LetterPage { letters, next })
}

/// A name that is known nowhere is a mistake, not a filter that nothing matches.
fn check_names(app: &App, filter: &Filter) -> Result<(), Refusal> {
    let kept = app.engine.deliveries.dead_letters().totals();
    if let Some(wanted) = &filter.endpoint {
        let configured = app.engine.deliveries.endpoints().into_iter().map(|endpoint| endpoint.config.name.clone());
        let rows = app.engine.deliveries.rows().into_iter().map(|row| row.endpoint.clone());
        let known = configured.chain(rows).chain(kept.keys().map(|(_, endpoint)| endpoint.clone()));
        check_name("endpoint", wanted, &known.collect())?;
    }
    if let Some(wanted) = &filter.tenant {
        let config = app.config.load();
        let is_configured = |name: &TenantName| config.tenants.get(name).is_some();
        if TenantName::new(wanted).is_ok_and(|name| is_configured(&name)) {
            return Ok(());
        }
        let listeners =
            config.listeners.iter().filter_map(|listener| listener.tenant.as_ref()).map(ToString::to_string);
        let logs = app.engine.tenants.list().into_iter().map(|tenant| tenant.name.to_string());
        let known = listeners.chain(logs).chain(kept.keys().map(|(tenant, _)| tenant.clone()));
        check_name("tenant", wanted, &known.collect())?;
    }
    Ok(())
}

fn check_name(what: &str, wanted: &str, known: &BTreeSet<String>) -> Result<(), Refusal> {
    if known.contains(wanted) {
        return Ok(());
    }
    let shown: Vec<String> = known.iter().take(NAMES_SHOWN).cloned().collect();
    let more = if known.len() > shown.len() { ", …" } else { "" };
    let known =
        if shown.is_empty() { "none is known".to_owned() } else { format!("known: {}{more}", shown.join(", ")) };
    Err(Refusal::Unknown(format!("there is no {what} {wanted:?}; {known}")))
}

fn number(name: &str, value: Option<String>) -> Result<Option<u64>, Refusal> {
    let number = |value: String| {
        value.parse().map_err(|_invalid| Refusal::Request(format!("{name}: expected a number, found {value:?}")))
    };
    value.map(number).transpose()
}

/// `GET /api/v1/dead_letters/{id}`. Blocks on the disk.
///
/// # Errors
/// When there is none, or it cannot be read.
pub(super) fn open(app: &App, id: Id) -> Result<OpenLetter, Refusal> {
    let letter = app.engine.deliveries.dead_letters().get(id).map_err(|error| failed(&error))?;
    let letter = letter.ok_or_else(|| Refusal::Unknown(format!("there is no dead letter {id} (any more)")))?;
    let unreadable = |why: String| Refusal::Failed(format!("cannot open dead letter {id}: {why}"));
    let form = letter.envelope.form;
    let protocol = protocol_of(form).ok_or_else(|| unreadable(format!("a later version wrote it (form {form})")))?;
    let request = request_in(&letter).map_err(|error| unreadable(error.to_string()))?;
    let (shown_series, cut) = contents::of(protocol, &request).map_err(|error| unreadable(error.to_string()))?;
    let body_bytes = u32::try_from(letter.body.len()).unwrap_or(u32::MAX);
    Ok(OpenLetter {
        letter: shown(&Summary { id, envelope: letter.envelope, body_bytes }),
        protocol: contents::name_of(protocol).to_owned(),
        contents: shown_series,
        cut,
    })
}

fn shown(summary: &Summary) -> Letter {
    let Envelope { tenant, endpoint, reason, words, example, .. } = summary.envelope.clone();
    let [samples, histograms, exemplars] = summary.envelope.counts;
    Letter {
        id: summary.id,
        tenant,
        endpoint,
        reason,
        words,
        position: summary.envelope.position,
        received: Utc(summary.envelope.received_ms).to_string(),
        refused: Utc(summary.envelope.refused_ms).to_string(),
        series: summary.envelope.series,
        samples,
        histograms,
        exemplars,
        example,
        body_bytes: summary.body_bytes,
    }
}

/// What came of a `POST`.
#[derive(Debug, serde::Serialize)]
#[serde(untagged)]
pub(super) enum Done {
    Retried(Retried),
    Dropped(DroppedLetters),
}

/// `POST /api/v1/dead_letters`; `turn`: letters are moved for one caller after the other.
///
/// # Errors
/// When an endpoint is down or not configured, or the disk fails; what was done until then stays done.
pub(super) async fn change(app: Arc<App>, turn: Arc<Mutex<()>>, wanted: LettersWanted) -> Result<Done, Refusal> {
    if wanted.action == LetterAction::Drop && wanted.after.is_some() {
        return Err(Refusal::Request("after: a drop does everything at once; leave it out".to_owned()));
    }
    let filter = Filter { tenant: wanted.tenant, endpoint: wanted.endpoint };
    check_names(&app, &filter)?;
    let turn = turn.lock_owned().await;
    // A task of its own: a letter whose sender has gone away must still be booked as taken.
    let done = tokio::spawn(async move {
        let _turn = turn;
        let ids = wanted.ids.as_deref();
        match wanted.action {
            LetterAction::Retry => {
                let retried = app.engine.deliveries.retry_dead_letters(&filter, ids, wanted.after).await?;
                let crate::delivery::Retried { taken, refused, words, next } = retried;
                Ok(Done::Retried(Retried { taken, refused, words, next }))
            }
            LetterAction::Drop => {
                let dropped = app.engine.deliveries.drop_dead_letters(&filter, ids).await?;
                Ok(Done::Dropped(DroppedLetters { dropped }))
            }
        }
    });
    done.await.map_err(|error| Refusal::thread(&error))?.map_err(|error: RetryError| refusal(&error))
}

fn refusal(error: &RetryError) -> Refusal {
    match error {
        RetryError::NoEndpoint { .. } | RetryError::NotNow { .. } | RetryError::Unreadable { .. } => {
            Refusal::Conflict(format!("cannot {error}"))
        }
        RetryError::Store(_) | RetryError::Leave(_) | RetryError::Thread(_) => {
            Refusal::Failed(Chain(error).to_string())
        }
    }
}

fn failed(error: &StoreError) -> Refusal {
    Refusal::Failed(format!("cannot read the dead letters: {}", Chain(error)))
}

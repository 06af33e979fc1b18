//! `replays`: a window of the log that is sent again. Reads what is wanted and tells how far it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::api::{Book, Progress, Replay, ReplayBegun, ReplayWanted, Replays};
use super::moment::{self, EARLIEST_MS, Utc};
use super::refusal::Refusal;
use super::status;
use crate::app::App;
use crate::chain::Chain;
use crate::clock::now_ms;
use crate::delivery::{ReplayError, ReplayRequest, delivery_name};
use crate::ledger::{Balance, ReplayPlan, ReplayState, Row};
use crate::record;

/// `GET /api/v1/replays`.
pub(super) fn list(app: &App) -> Replays {
    Replays { replays: app.engine.deliveries.replays().iter().map(|(row, plan)| shown(app, row, plan)).collect() }
}

/// `GET /api/v1/replays/{id}`.
///
/// # Errors
/// When there is none.
pub(super) fn get(app: &App, id: u64) -> Result<Replay, Refusal> {
    let replays = app.engine.deliveries.replays();
    let found = replays.iter().find(|(_, plan)| plan.id == id);
    found.map(|(row, plan)| shown(app, row, plan)).ok_or_else(|| unknown(id))
}

/// `POST /api/v1/replays`.
///
/// # Errors
/// When the window is none, there is nothing to replay or nowhere to replay to, or the disk fails.
pub(super) async fn begin(app: Arc<App>, wanted: ReplayWanted) -> Result<ReplayBegun, Refusal> {
    let now_ms = now_ms();
    let from_ms = moment_of("from", &wanted.from, now_ms)?;
    let to_ms = wanted.to.as_ref().map_or(Ok(now_ms), |to| moment_of("to", to, now_ms))?;
    if to_ms < from_ms {
        let (from, to) = (Utc(from_ms), Utc(to_ms));
        return Err(Refusal::Request(format!(
            "the window ends ({to}) before it begins ({from}); exchange from and to"
        )));
    }
    let ReplayWanted { tenant, endpoint, rate, .. } = wanted;
    let request = ReplayRequest { tenant, endpoint, from_ms, to_ms, rate: rate.unwrap_or(0) };
    let id = app.engine.deliveries.begin_replay(request).await.map_err(|error| match error {
        ReplayError::Empty => Refusal::Conflict(empty(from_ms, to_ms, now_ms)),
        other => refusal(&other),
    })?;
    Ok(ReplayBegun { id })
}

fn moment_of(key: &str, value: &serde_json::Value, now_ms: i64) -> Result<i64, Refusal> {
    let moment = match value {
        serde_json::Value::String(text) => moment::parse(text, now_ms),
        serde_json::Value::Number(seconds) => moment::from_seconds(seconds.as_f64().unwrap_or(f64::NAN)),
        _ => return Err(Refusal::Request(format!("{key}: expected a time as a string, or seconds since 1970"))),
    };
    moment.map_err(|invalid| Refusal::Request(format!("{key}: {invalid}")))
}

fn refusal(error: &ReplayError) -> Refusal {
    let text = format!("cannot {}", Chain(error));
    match error {
        ReplayError::NoEndpoint(_) | ReplayError::NoTenant(_) => Refusal::Unknown(text),
        ReplayError::NotTaken { .. } | ReplayError::Empty => Refusal::Conflict(text),
        ReplayError::Backwards { .. } => Refusal::Request(text),
        ReplayError::Read(_) | ReplayError::Cursor(_) | ReplayError::Plan(_) | ReplayError::Thread(_) => {
            Refusal::Failed(text)
        }
    }
}

/// `DELETE /api/v1/replays/{id}`: returns when what was in flight has been answered.
///
/// # Errors
/// When there is none, or it has ended.
pub(super) async fn cancel(app: Arc<App>, id: u64) -> Result<Replay, Refusal> {
    let before = get(&app, id)?;
    let task = Arc::clone(&app);
    // A task of its own: a caller who goes away must not leave it half done.
    let cancelled = tokio::spawn(async move { task.engine.deliveries.cancel_replay(id).await });
    if !cancelled.await.map_err(|error| Refusal::thread(&error))? {
        let state = get(&app, id).map_or(before.state, |after| after.state);
        return Err(Refusal::Conflict(format!("replay {id} is {state}: there is nothing to cancel")));
    }
    get(&app, id)
}

/// What there could be in a window of which the log holds nothing.
fn empty(from_ms: i64, to_ms: i64, now_ms: i64) -> String {
    let (from, to) = (begin_of(from_ms), Utc(to_ms));
    if from_ms > now_ms {
        return format!("nothing to replay: the window begins at {from}, in the future; times are those of receipt");
    }
    format!(
        "nothing to replay: of what was received for the tenant from {from} to {to} the log holds nothing; what endpoints \
         have had stays for log.retain, raise that to have more at hand the next time"
    )
}

/// `earliest`, or the time.
fn begin_of(from_ms: i64) -> String {
    if from_ms == EARLIEST_MS { "earliest".to_owned() } else { Utc(from_ms).to_string() }
}

fn unknown(id: u64) -> Refusal {
    Refusal::Unknown(format!("there is no replay {id}; of those that ended only the last ones are shown"))
}

fn shown(app: &App, row: &Row, plan: &ReplayPlan) -> Replay {
    let endpoints = app.engine.deliveries.endpoints();
    let endpoint = endpoints.iter().find(|endpoint| endpoint.config.name == row.endpoint);
    let delivery = delivery_name(row);
    Replay {
        id: plan.id,
        tenant: row.tenant.to_string(),
        endpoint: row.endpoint.clone(),
        state: plan.state.as_str().to_owned(),
        endpoint_removed: endpoint.is_none(),
        from: begin_of(plan.from_ms),
        to: Utc(plan.to_ms).to_string(),
        begun: Utc(plan.begun_ms).to_string(),
        rate: Some(plan.rate).filter(|rate| *rate > 0),
        last_refusal: endpoint.and_then(|endpoint| endpoint.health.of(&delivery).refusal),
        progress: progress(row, plan),
    }
}

fn progress(row: &Row, plan: &ReplayPlan) -> Progress {
    let balance = row.balance();
    let done = balance.accepted.saturating_sub(balance.pending);
    // The books of one that was cancelled have only what was sent of it.
    let window = plan.until_totals.saturating_sub(record::from_array(row.cursor().start_totals()));
    let (all, settled) = (window.points(), done.points());
    #[expect(clippy::cast_precision_loss, reason = "a share for people")]
    let fraction = if plan.state == ReplayState::Done || settled >= all { 1.0 } else { settled as f64 / all as f64 };
    Progress {
        accepted_samples: window.samples,
        done_samples: done.samples,
        delivered_samples: balance.books.delivered.samples,
        undelivered_samples: undelivered(&balance),
        fraction,
    }
}

fn undelivered(balance: &Balance) -> BTreeMap<String, u64> {
    let Book { dropped, dead_lettered, expired, .. } = status::book(balance, |counts| counts.samples);
    let expired = Some(("expired".to_owned(), expired)).filter(|(_, samples)| *samples > 0);
    dropped.into_iter().chain(dead_lettered).chain(expired).collect()
}

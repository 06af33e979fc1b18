//! `replays`: a window of the log that is sent again. Reads what is wanted and tells how far it is.

use std::sync::Arc;

use remote_write::Counts;

use super::api::{Progress, Replay, ReplayBegun, ReplayWanted, Replays};
use super::moment::{self, EARLIEST_MS, Utc};
use super::refusal::Refusal;
use crate::app::App;
use crate::chain::Chain;
use crate::clock::now_ms;
use crate::delivery::{ReplayError, ReplayRequest};
use crate::ledger::{ReplayPlan, ReplayState, Row};
use crate::record;

/// `GET /api/v1/replays`.
pub(super) fn list(app: &App) -> Replays {
    Replays { replays: app.deliveries.replays().iter().map(|(row, plan)| shown(row, plan)).collect() }
}

/// `GET /api/v1/replays/{id}`.
///
/// # Errors
/// When there is none.
pub(super) fn get(app: &App, id: u64) -> Result<Replay, Refusal> {
    let replays = app.deliveries.replays();
    let found = replays.iter().find(|(_, plan)| plan.id == id);
    found.map(|(row, plan)| shown(row, plan)).ok_or_else(|| unknown(id))
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
    let begun = tokio::task::spawn_blocking(move || app.deliveries.begin_replay(&request, now_ms)).await;
    let id = begun.map_err(|error| Refusal::thread(&error))?.map_err(|error| refusal(&error))?;
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
        ReplayError::Read(_) | ReplayError::Cursor(_) | ReplayError::Plan(_) => Refusal::Failed(text),
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
    let cancelled = tokio::spawn(async move { task.deliveries.cancel_replay(id).await });
    if !cancelled.await.map_err(|error| Refusal::thread(&error))? {
        let state = get(&app, id).map_or(before.state, |after| after.state);
        return Err(Refusal::Conflict(format!("replay {id} is {state}: there is nothing to cancel")));
    }
    get(&app, id)
}

fn unknown(id: u64) -> Refusal {
    Refusal::Unknown(format!("there is no replay {id}; of those that ended only the last ones are shown"))
}

fn shown(row: &Row, plan: &ReplayPlan) -> Replay {
    let from = if plan.from_ms == EARLIEST_MS { "earliest".to_owned() } else { Utc(plan.from_ms).to_string() };
    Replay {
        id: plan.id,
        tenant: row.tenant.to_string(),
        endpoint: row.endpoint.clone(),
        state: plan.state.as_str().to_owned(),
        from,
        to: Utc(plan.to_ms).to_string(),
        begun: Utc(plan.begun_ms).to_string(),
        rate: Some(plan.rate).filter(|rate| *rate > 0),
        progress: progress(row, plan),
    }
}

fn progress(row: &Row, plan: &ReplayPlan) -> Progress {
    let balance = row.balance();
    let done = balance.accepted.saturating_sub(balance.pending);
    // The books of one that was cancelled have only what was sent of it.
    let window = plan.until_totals.saturating_sub(record::from_array(row.cursor().start_totals()));
    let (all, settled) = (points(window), points(done));
    #[expect(clippy::cast_precision_loss, reason = "a share for people")]
    let fraction = if plan.state == ReplayState::Done || settled >= all { 1.0 } else { settled as f64 / all as f64 };
    Progress {
        accepted_samples: window.samples,
        done_samples: done.samples,
        delivered_samples: balance.books.delivered.samples,
        fraction,
    }
}

const fn points(counts: Counts) -> u64 {
    counts.samples + counts.histograms + counts.exemplars
}

//! Settling: dead letters first, then books and cursor in one act; tried until it succeeds, because what an endpoint has
//! taken must not be sent again.

use std::sync::Arc;
use std::time::Duration;

use dead_letters::{Id, Letter};

use super::context::Context;
use super::limiter::Turn;
use crate::chain::Chain;
use crate::ledger::Settled;
use crate::offload::offload;

/// The first and the longest pause while only an operator can mend what is wrong.
pub(super) const HOLD: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));

/// Settles records. False when told to stop before that succeeded. The turn is given back if it takes long.
pub(super) async fn settle(
    context: &Context,
    settled: &[Settled],
    letters: Vec<Letter>,
    turn: &mut Option<Turn>,
) -> bool {
    let letters = Arc::new(letters);
    let ids = loop {
        match keep(context, &letters).await {
            Ok(ids) => break ids,
            Err(error) => {
                if !retry(context, &format!("a dead letter cannot be kept: {error}"), turn).await {
                    return false;
                }
            }
        }
    };
    let before = loop {
        match context.row.settle(settled) {
            Ok(before) => break before,
            Err(error) => {
                if !retry(context, &format!("the books cannot be written: {}", Chain(&error)), turn).await {
                    return false;
                }
            }
        }
    };
    // What expired meanwhile is booked as that: its letters stand for nothing.
    let of_expired =
        ids.into_iter().zip(letters.iter()).filter(|(_, letter)| before.contains(&letter.envelope.position));
    let of_expired: Vec<Id> = of_expired.map(|(id, _)| id).collect();
    while let Err(error) = forget(context, of_expired.clone()).await {
        if !retry(context, &format!("dead letters of what has expired cannot be removed: {error}"), turn).await {
            return false;
        }
    }
    true
}

async fn forget(context: &Context, ids: Vec<Id>) -> Result<(), String> {
    if ids.is_empty() {
        return Ok(());
    }
    let shared = Arc::clone(&context.shared);
    let forgotten = offload(move || shared.dead_letters.forget(&ids)).await;
    forgotten.map_err(|error| error.to_string())?.map(drop).map_err(|error| Chain(&error).to_string())
}

/// Removes the dead letters of records that are not settled: they will be sent again. Tries until that succeeds; false when
/// told to stop before.
pub(super) async fn forget_unsettled(context: &Context) -> bool {
    if context.is_replay() || !context.shared.dead_letters.has_letters_of(&context.row) {
        return true;
    }
    loop {
        let (shared, row) = (Arc::clone(&context.shared), Arc::clone(&context.row));
        let error = match offload(move || shared.dead_letters.forget_unsettled(&row)).await {
            Ok(Ok(_letters)) => return true,
            Ok(Err(error)) => Chain(&error).to_string(),
            Err(error) => error.to_string(),
        };
        let why = format!("dead letters of what will be sent again cannot be removed: {error}");
        if !retry(context, &why, &mut None).await {
            return false;
        }
    }
}

async fn keep(context: &Context, letters: &Arc<Vec<Letter>>) -> Result<Vec<Id>, String> {
    if letters.is_empty() {
        return Ok(Vec::new());
    }
    let (shared, letters) = (Arc::clone(&context.shared), Arc::clone(letters));
    let kept = offload(move || shared.dead_letters.put(&letters));
    kept.await.map_err(|error| error.to_string())?.map_err(|error| Chain(&error).to_string())
}

async fn retry(context: &Context, why: &str, turn: &mut Option<Turn>) -> bool {
    drop(turn.take());
    context.fails(why, None);
    tokio::select! {
        biased;
        () = context.stop.cancelled() => false,
        () = tokio::time::sleep(HOLD.0) => true,
    }
}

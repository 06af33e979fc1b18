//! Settling: dead letters first, then books and cursor in one act; tried until it succeeds, because what an endpoint has
//! taken must not be sent again.

use std::sync::Arc;
use std::time::Duration;

use dead_letters::Letter;

use super::context::Context;
use super::limiter::Turn;
use crate::chain::Chain;
use crate::ledger::Settled;

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
    while let Err(error) = keep(context, &letters).await {
        if !retry(context, &format!("a dead letter cannot be kept: {error}"), turn).await {
            return false;
        }
    }
    while let Err(error) = context.row.settle(settled) {
        if !retry(context, &format!("the books cannot be written: {}", Chain(&error)), turn).await {
            return false;
        }
    }
    true
}

async fn keep(context: &Context, letters: &Arc<Vec<Letter>>) -> Result<(), String> {
    if letters.is_empty() {
        return Ok(());
    }
    let (shared, letters) = (Arc::clone(&context.shared), Arc::clone(letters));
    let kept = tokio::task::spawn_blocking(move || shared.dead_letters.put(&letters));
    kept.await.map_err(|error| error.to_string())?.map_err(|error| Chain(&error).to_string())
}

async fn retry(context: &Context, why: &str, turn: &mut Option<Turn>) -> bool {
    drop(turn.take());
    context.fails(why, None);
    tokio::select! {
        () = context.stop.cancelled() => false,
        () = tokio::time::sleep(HOLD.0) => true,
    }
}

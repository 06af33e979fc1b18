//! One request to an endpoint, counted, and what its answer says about the endpoint's load.

use std::sync::atomic::Ordering;

use tokio::time::Instant;

use super::context::Context;
use super::form::Payload;
use super::limiter::{Load, Turn};
use super::outcome::{Outcome, Trouble};
use super::send::Answer;

/// Sends once. A turn is taken if there is none.
pub(super) async fn attempt(context: &Context, payload: &Payload, attempt: u32, turn: &mut Option<Turn>) -> Answer {
    let endpoint = &context.endpoint;
    let turn = match turn {
        Some(turn) => turn,
        None => turn.insert(endpoint.limiter.turn(context.priority()).await),
    };
    turn.carries(payload.len());
    endpoint.stats.attempt(payload, attempt);
    endpoint.stats.in_flight.fetch_add(1, Ordering::Relaxed);
    let sent = Instant::now();
    let answer = endpoint.client.send(&endpoint.config, &context.tenant_id, payload, attempt).await;
    let now = Instant::now();
    endpoint.stats.in_flight.fetch_sub(1, Ordering::Relaxed);
    endpoint.stats.answered(answer.status, now - sent);
    endpoint.limiter.learn(load(&answer.outcome), sent, now);
    if matches!(answer.outcome, Outcome::Delivered { .. }) {
        context.works();
        context.condition.succeeded(now);
    }
    answer
}

fn load(outcome: &Outcome) -> Load {
    match outcome {
        Outcome::Delivered { .. } => Load::Fine,
        Outcome::Retry { trouble: Trouble::Busy | Trouble::NoAnswer { .. }, .. }
        | Outcome::Retry { trouble: Trouble::Broken { overloaded: true }, .. } => Load::Overloaded,
        Outcome::Retry { trouble: Trouble::Broken { overloaded: false }, .. }
        | Outcome::Hold
        | Outcome::OtherProtocol
        | Outcome::TooLarge
        | Outcome::Refused { .. } => Load::Unrelated,
    }
}

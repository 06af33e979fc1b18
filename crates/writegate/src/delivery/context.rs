//! What the batches of one delivery share: whose data goes where, how the endpoint has been answering, and who may ask
//! it next while it fails.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use http::StatusCode;
use remote_write::Protocol;
use segment_log::Position;
use tokio::sync::{MutexGuard as Probing, Notify};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::endpoint::Endpoint;
use super::form::Target;
use super::limiter::Priority;
use super::rules::Rules;
use crate::clock::now_ms;
use crate::ledger::{Dropped, Fate, Refusal, Row};
use crate::tenant::Tenant;

/// After so many failures in a row nothing new is started, and one batch at a time is tried.
const FAILING: u32 = 3;
/// After so many refused series in a row, for the same reason, whole records are given up.
const REFUSES_EVERYTHING: u32 = 32;

/// One delivery.
pub(super) struct Context {
    pub(super) shared: Arc<Shared>,
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) tenant: Arc<Tenant>,
    /// What the delivery is called in the log: its tenant, or its tenant and replay.
    pub(super) name: String,
    /// What the endpoint is told.
    pub(super) tenant_id: String,
    pub(super) row: Arc<Row>,
    pub(super) rules: Option<Arc<Rules>>,
    pub(super) stop: CancellationToken,
    pub(super) work: Work,
    /// Records below were perhaps in flight when an earlier process ended.
    pub(super) perhaps_sent: Position,
    pub(super) condition: Condition,
}

/// What a delivery is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Everything, as it comes.
    Live,
    /// A window of the log, once more.
    Replay {
        /// Nothing from there on.
        until: Position,
        /// Samples a second; 0: no limit.
        rate: u64,
    },
}

impl Context {
    /// The endpoint took something.
    pub(super) fn works(&self) {
        self.endpoint.health.works(&self.endpoint.config.name, &self.name);
    }

    /// An attempt failed, or something on the way to one.
    pub(super) fn fails(&self, error: &str, held: Option<StatusCode>) {
        self.endpoint.health.fails(&self.endpoint.config.name, &self.name, error, held);
    }

    /// The endpoint refused data for good.
    pub(super) fn refuses_data(&self, words: &str) {
        self.endpoint.health.refuses(&self.endpoint.config.name, &self.name, words);
    }

    pub(super) fn is_replay(&self) -> bool {
        self.work != Work::Live
    }

    pub(super) fn until(&self) -> Position {
        match self.work {
            Work::Live => Position::MAX,
            Work::Replay { until, .. } => until,
        }
    }

    pub(super) fn priority(&self) -> Priority {
        if self.is_replay() { Priority::Background } else { Priority::Live }
    }

    /// The form in which the endpoint gets what came in `protocol`, at this moment.
    pub(super) fn target(&self, protocol: Protocol) -> Target {
        let left_out = [Fate::Dropped(Dropped::Untranslatable), Fate::Expired];
        let wants_example = !left_out.iter().all(|fate| self.row.has_example(*fate));
        let target = self.endpoint.target(protocol, self.rules.as_ref(), now_ms());
        let known = if target.wants_known_families(protocol) { self.tenant.metadata.known() } else { None };
        Target { wants_example, known, ..target }
    }
}

/// How the endpoint has been answering this delivery.
#[derive(Debug, Default)]
pub(super) struct Condition {
    state: Mutex<State>,
    /// Called when it begins to fail, and when it works again.
    changed: Notify,
    probe: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    succeeded: Option<Instant>,
    /// Series refused in a row for one reason.
    refused: Option<(Refusal, u32)>,
}

impl Condition {
    /// The endpoint took something.
    pub(super) fn succeeded(&self, now: Instant) {
        let mut state = self.lock();
        state.succeeded = Some(now);
        state.refused = None;
        drop(state);
        self.answered();
    }

    /// The endpoint is there, whatever it said of the data.
    pub(super) fn answered(&self) {
        if std::mem::take(&mut self.lock().failures) >= FAILING {
            self.changed.notify_one();
        }
    }

    /// An attempt led to nothing. `held`: nor will the next ones, until somebody changes something.
    pub(super) fn failed(&self, held: bool) {
        let mut state = self.lock();
        let before = state.failures;
        state.failures = if held { before.max(FAILING) } else { before.saturating_add(1) };
        let begins = before < FAILING && state.failures >= FAILING;
        drop(state);
        if begins {
            self.changed.notify_one();
        }
    }

    pub(super) fn is_failing(&self) -> bool {
        self.lock().failures >= FAILING
    }

    /// Whether it took something since then.
    pub(super) fn succeeded_since(&self, then: Instant) -> bool {
        self.lock().succeeded.is_some_and(|succeeded| succeeded >= then)
    }

    /// A series was refused for good.
    pub(super) fn refused(&self, refusal: Refusal) {
        let mut state = self.lock();
        let in_a_row = match state.refused {
            Some((same, in_a_row)) if same == refusal => in_a_row,
            _ => 0,
        };
        state.refused = Some((refusal, in_a_row.saturating_add(1)));
    }

    /// Whether it is not worth asking about series one by one.
    pub(super) fn refuses_everything(&self, refusal: Refusal) -> bool {
        self.lock().refused.is_some_and(|(same, in_a_row)| same == refusal && in_a_row >= REFUSES_EVERYTHING)
    }

    /// Waits until it begins to fail or works again.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// While the endpoint fails one batch at a time is tried, each in its turn. Others wait here.
    pub(super) async fn probe(&self) -> Option<Probing<'_, ()>> {
        if !self.is_failing() {
            return None;
        }
        let probing = self.probe.lock().await;
        // It may work again: then nobody has to wait.
        self.is_failing().then_some(probing)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_failures_in_a_row_or_one_that_holds_are_failing_until_a_success() {
        let (condition, now) = (Condition::default(), Instant::now());
        condition.failed(false);
        condition.failed(false);
        condition.succeeded(now);
        condition.failed(false);
        condition.failed(false);
        assert!(!condition.is_failing());
        condition.failed(false);
        assert!(condition.is_failing());
        condition.succeeded(now);
        condition.failed(true);
        assert!(condition.is_failing() && condition.succeeded_since(now));
    }

    #[test]
    fn thirty_two_refusals_in_a_row_for_one_reason_are_everything() {
        let condition = Condition::default();
        let refuse = |refusal, times| (0..times).for_each(|_| condition.refused(refusal));
        refuse(Refusal::BadRequest, 31);
        refuse(Refusal::Conflict, 31);
        assert!(!condition.refuses_everything(Refusal::BadRequest));
        refuse(Refusal::Conflict, 1);
        assert!(condition.refuses_everything(Refusal::Conflict));
        assert!(!condition.refuses_everything(Refusal::BadRequest));
        condition.succeeded(Instant::now());
        assert!(!condition.refuses_everything(Refusal::Conflict));
    }
}

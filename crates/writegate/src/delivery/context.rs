//! What the batches of one delivery share: whose data goes where, how the endpoint has been answering, and who may ask
//! it next while it fails.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::StatusCode;
use remote_write::Protocol;
use segment_log::Position;
use tokio::sync::{MutexGuard as Probing, Notify};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::endpoint::Endpoint;
use super::form::{Held, Target};
use super::hunt::Occasion;
use super::limiter::Priority;
use super::rules::Rules;
use crate::clock::now_ms;
use crate::ledger::{Dropped, Fate, Refusal, Row};
use crate::tenant::Tenant;

/// After so many failures in a row nothing new is started, and one batch at a time is tried.
const FAILING: u32 = 3;
/// Batches that may be open while 5xx answers may be about the data of some.
const BESIDE_BROKEN: usize = 4;
/// For how long a series that broke the endpoint is looked for first.
const POISON_KNOWN_FOR: Duration = Duration::from_secs(3600);
/// How many of them are remembered.
const MOST_POISONS: usize = 1024;
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

    /// Whose batches these are, and when.
    pub(super) fn occasion(&self) -> Occasion<'_> {
        Occasion {
            tenant: self.tenant.name.as_str(),
            endpoint: &self.endpoint.config.name,
            is_replay: self.is_replay(),
            now_ms: now_ms(),
        }
    }

    /// Whether a series in these records broke the endpoint lately.
    pub(super) fn has_known_poison(&self, records: &[Held]) -> bool {
        self.condition.knows_poison()
            && records.iter().any(|held| {
                let footprint = self.shared.former.footprint(held, self.rules.as_deref());
                footprint.is_ok_and(|hashes| hashes.iter().any(|hash| self.condition.is_poison(*hash)))
            })
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

/// How an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// No answer, 429, 503: others would fare no better.
    Unreachable,
    /// Another 5xx: it may be about the data.
    Broken,
    /// Nor will the next ones do better, until somebody changes something.
    Held,
}

/// How the endpoint has been answering this delivery.
#[derive(Debug, Default)]
pub(super) struct Condition {
    state: Mutex<State>,
    /// Called when it begins to fail, and when it works again.
    changed: Notify,
    probe: tokio::sync::Mutex<()>,
    /// Series that broke the endpoint, and when.
    poisons: Mutex<HashMap<u32, Instant>>,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    last: Option<Failure>,
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

    /// An attempt led to nothing.
    pub(super) fn failed(&self, failure: Failure) {
        let mut state = self.lock();
        let before = state.failures;
        state.failures = if failure == Failure::Held { before.max(FAILING) } else { before.saturating_add(1) };
        state.last = Some(failure);
        let begins = before < FAILING && state.failures >= FAILING;
        drop(state);
        if begins {
            self.changed.notify_one();
        }
    }

    pub(super) fn is_failing(&self) -> bool {
        self.lock().failures >= FAILING
    }

    /// How many batches may be open: while nothing is taken one is enough to see when that changes, a few where it may be
    /// about the data of one.
    pub(super) fn most_open(&self) -> usize {
        let state = self.lock();
        match state.last {
            _ if state.failures < FAILING => usize::MAX,
            Some(Failure::Broken) => BESIDE_BROKEN,
            Some(Failure::Unreachable | Failure::Held) | None => 1,
        }
    }

    /// Remembers a series that breaks the endpoint, by its hash.
    pub(super) fn remember_poison(&self, hash: u32) {
        let mut poisons = self.poisons.lock().unwrap_or_else(PoisonError::into_inner);
        poisons.retain(|_, since| since.elapsed() < POISON_KNOWN_FOR);
        if poisons.len() < MOST_POISONS {
            poisons.insert(hash, Instant::now());
        }
    }

    /// Whether a series broke the endpoint lately.
    pub(super) fn is_poison(&self, hash: u32) -> bool {
        let poisons = self.poisons.lock().unwrap_or_else(PoisonError::into_inner);
        poisons.get(&hash).is_some_and(|since| since.elapsed() < POISON_KNOWN_FOR)
    }

    fn knows_poison(&self) -> bool {
        !self.poisons.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
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
        let fail = |times| (0..times).for_each(|_| condition.failed(Failure::Unreachable));
        fail(2);
        condition.succeeded(now);
        fail(2);
        assert!(!condition.is_failing());
        assert_eq!(condition.most_open(), usize::MAX);
        fail(1);
        assert!(condition.is_failing());
        assert_eq!(condition.most_open(), 1);
        condition.failed(Failure::Broken);
        assert_eq!(condition.most_open(), BESIDE_BROKEN);
        condition.succeeded(now);
        condition.failed(Failure::Held);
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

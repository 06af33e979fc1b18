//! What the batches of one delivery share: whose data goes where, how the endpoint has been answering, and who may ask
//! it next while it fails.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::StatusCode;
use remote_write::Protocol;
use segment_log::Position;
use tokio::sync::{MutexGuard as Probing, Notify};
use tokio::time::Instant;
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

/// After so many failures in a row hardly anything new is started, and one batch at a time is tried.
const FAILING: u32 = 3;
/// After so many more another batch is opened: what is answered so may be about the data of those that are.
const OPENS_ANOTHER: u32 = 8;
/// And this many at once where the answers may well be about the data.
const BESIDE_DOUBTFUL: usize = 4;
/// For how long a series that broke the endpoint is looked for first.
const POISON_KNOWN_FOR: Duration = Duration::from_secs(3600);
/// So many proofs that an endpoint breaks on a series are enough.
const PROOFS: u32 = 3;
/// How many suspects are remembered.
const MOST_SUSPECTS: usize = 1024;
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
    /// Of a replay: the live row, which it must not overtake. An endpoint that takes each series in its order would refuse
    /// what comes live after a replay has brought something newer.
    pub(super) behind: Option<Arc<Row>>,
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
    /// No answer, 429, 503: others would hardly fare better.
    Unreachable,
    /// Another 5xx, or a 403 or so, which may come from a proxy that dislikes the data: others may fare better.
    Doubtful,
}

/// How the endpoint has been answering this delivery.
#[derive(Debug, Default)]
pub(super) struct Condition {
    state: Mutex<State>,
    /// Called when it begins to fail, and when it works again.
    changed: Notify,
    probe: tokio::sync::Mutex<()>,
    /// Series that were answered 5xx by themselves, by their hashes.
    suspects: Mutex<HashMap<u32, Suspect>>,
}

/// A series that was answered 5xx by itself.
#[derive(Clone, Copy, Debug)]
struct Suspect {
    /// The last such answer.
    at: Instant,
    /// To something that is still to be sent.
    is_open: bool,
    /// Such answers after which the endpoint took other things before the next.
    proofs: u32,
    is_poison: bool,
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

    /// The endpoint is there: it refused what it had taken before.
    pub(super) fn is_there(&self, now: Instant) {
        self.lock().succeeded = Some(now);
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
        state.failures = before.saturating_add(1);
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

    /// How many batches may be open: while nothing is taken one is enough to see when that changes. If it does not, another
    /// one now and then, or a batch that alone is refused (by a proxy that dislikes its data, say) would stop all others.
    /// Open batches are tried in turns, so that more of them do not mean more requests.
    pub(super) fn most_open(&self) -> usize {
        let state = self.lock();
        let Some(in_vain) = state.failures.checked_sub(FAILING) else { return usize::MAX };
        let at_once = if state.last == Some(Failure::Doubtful) { BESIDE_DOUBTFUL } else { 1 };
        at_once + (in_vain / OPENS_ANOTHER) as usize
    }

    /// A series by itself was answered 5xx. True if that is proven to be about the data: again and again the endpoint took
    /// something between one such answer and the next.
    pub(super) fn broke_on(&self, hash: u32, now: Instant) -> bool {
        let succeeded = self.lock().succeeded;
        let mut suspects = self.suspects();
        suspects.retain(|_, suspect| now.saturating_duration_since(suspect.at) < POISON_KNOWN_FOR);
        if suspects.len() >= MOST_SUSPECTS && !suspects.contains_key(&hash) {
            return false;
        }
        let suspect = suspects.entry(hash).or_insert(Suspect { at: now, is_open: false, proofs: 0, is_poison: false });
        if suspect.is_open && succeeded.is_some_and(|succeeded| succeeded >= suspect.at) {
            suspect.proofs += 1;
        }
        (suspect.at, suspect.is_open) = (now, true);
        suspect.proofs >= PROOFS
    }

    /// What was sent of a series was given up for breaking the endpoint. What comes next of it needs one more proof only.
    pub(super) fn gave_up(&self, hash: u32) {
        if let Some(suspect) = self.suspects().get_mut(&hash) {
            (suspect.proofs, suspect.is_open, suspect.is_poison) = (PROOFS - 1, false, true);
        }
    }

    /// The endpoint took a series by itself.
    pub(super) fn acquit(&self, hash: u32) {
        self.suspects().remove(&hash);
    }

    /// Whether a series was given up for breaking the endpoint lately.
    pub(super) fn is_poison(&self, hash: u32) -> bool {
        self.suspects().get(&hash).is_some_and(|suspect| suspect.is_poison && suspect.at.elapsed() < POISON_KNOWN_FOR)
    }

    fn knows_poison(&self) -> bool {
        self.suspects().values().any(|suspect| suspect.is_poison)
    }

    fn suspects(&self) -> MutexGuard<'_, HashMap<u32, Suspect>> {
        self.suspects.lock().unwrap_or_else(PoisonError::into_inner)
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
    fn three_failures_in_a_row_are_failing_until_a_success() {
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
        condition.failed(Failure::Doubtful);
        assert_eq!(condition.most_open(), BESIDE_DOUBTFUL);
        condition.failed(Failure::Unreachable);
        condition.failed(Failure::Unreachable);
        fail(OPENS_ANOTHER - 3);
        assert_eq!(condition.most_open(), 2, "one more, for it may be about the data of the first");
        condition.succeeded(now);
        assert!(!condition.is_failing() && condition.succeeded_since(now));
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

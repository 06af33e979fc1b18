//! How an endpoint has been doing, for each of its deliveries: one tenant's credential may be refused while others are well.
//! Writes the log lines about it, at most one a minute for each endpoint and kind.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use http::StatusCode;

use crate::throttle::Throttle;

/// What an operator wants to know first of a delivery.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Health {
    /// The last failure, if nothing was taken since.
    pub(crate) error: Option<String>,
    /// The status that holds the delivery, if the endpoint's configuration is at fault.
    pub(crate) held: Option<StatusCode>,
    /// What the endpoint said when it last refused data for good.
    pub(crate) refusal: Option<String>,
    /// Searches under way for series that break the endpoint.
    pub(crate) searches: u32,
}

/// The health of all deliveries to an endpoint, by the name a delivery has in the log: its tenant, or its tenant and replay.
#[derive(Debug, Default)]
pub(crate) struct Healths {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    deliveries: BTreeMap<String, Health>,
    failures: Throttle,
    recoveries: Throttle,
    refusals: Throttle,
}

impl Healths {
    /// How the delivery is doing.
    pub(crate) fn of(&self, delivery: &str) -> Health {
        self.lock().deliveries.get(delivery).cloned().unwrap_or_default()
    }

    /// The statuses that hold deliveries, each once.
    pub(crate) fn held(&self) -> Vec<StatusCode> {
        let mut held: Vec<_> = self.lock().deliveries.values().filter_map(|health| health.held).collect();
        held.sort_unstable();
        held.dedup();
        held
    }

    /// Whether the last attempt of each delivery succeeded.
    pub(crate) fn is_up(&self) -> bool {
        self.lock().deliveries.values().all(|health| health.error.is_none())
    }

    /// The endpoint took something of the delivery.
    pub(super) fn works(&self, endpoint: &str, delivery: &str) {
        let mut state = self.lock();
        let Some(health) = state.deliveries.get_mut(delivery).filter(|health| health.error.is_some()) else { return };
        (health.error, health.held) = (None, None);
        if let Some(more) = state.recoveries.pass() {
            tracing::info!(endpoint, tenant = delivery, more, "the endpoint takes data again");
        }
    }

    /// An attempt failed.
    pub(super) fn fails(&self, endpoint: &str, delivery: &str, error: &str, held: Option<StatusCode>) {
        let mut state = self.lock();
        let health = state.deliveries.entry(delivery.to_owned()).or_default();
        (health.error, health.held) = (Some(error.to_owned()), held);
        if let Some(more) = state.failures.pass() {
            tracing::warn!(endpoint, tenant = delivery, more, "the endpoint fails, the data waits in the log: {error}");
        }
    }

    /// The endpoint refused data for good.
    pub(super) fn refuses(&self, endpoint: &str, delivery: &str, words: &str) {
        let mut state = self.lock();
        state.deliveries.entry(delivery.to_owned()).or_default().refusal = Some(words.to_owned());
        if let Some(more) = state.refusals.pass() {
            tracing::warn!(
                endpoint,
                tenant = delivery,
                more,
                "the endpoint refuses data for good (see writegate dead-letters list): {words}"
            );
        }
    }

    /// A search begins for series that break the endpoint. It ends when what is given is dropped.
    pub(super) fn searches<'h>(&'h self, delivery: &'h str) -> Searching<'h> {
        self.lock().deliveries.entry(delivery.to_owned()).or_default().searches += 1;
        Searching { healths: self, delivery }
    }

    /// The delivery has ended: nothing fails any more.
    pub(super) fn ended(&self, delivery: &str) {
        if let Some(health) = self.lock().deliveries.get_mut(delivery) {
            (health.error, health.held) = (None, None);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A search under way.
#[derive(Debug)]
pub(super) struct Searching<'h> {
    healths: &'h Healths,
    delivery: &'h str,
}

impl Drop for Searching<'_> {
    fn drop(&mut self) {
        if let Some(health) = self.healths.lock().deliveries.get_mut(self.delivery) {
            health.searches = health.searches.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_tenants_success_says_nothing_about_anothers_failure() {
        let healths = Healths::default();
        healths.fails("e", "blue", "401 Unauthorized: who?", Some(StatusCode::UNAUTHORIZED));
        healths.fails("e", "red", "cannot connect", None);
        healths.works("e", "red");
        assert_eq!(healths.of("blue").held, Some(StatusCode::UNAUTHORIZED));
        assert_eq!(healths.of("red"), Health::default());
        assert_eq!((healths.held(), healths.is_up()), (vec![StatusCode::UNAUTHORIZED], false));
        healths.works("e", "blue");
        assert_eq!((healths.held(), healths.is_up()), (vec![], true));
    }

    #[test]
    fn a_search_is_told_until_it_ends() {
        let healths = Healths::default();
        let searching = [healths.searches("blue"), healths.searches("blue")];
        assert_eq!(healths.of("blue").searches, 2);
        drop(searching);
        assert_eq!(healths.of("blue"), Health::default());
    }

    #[test]
    fn a_refusal_is_remembered_and_is_no_failure() {
        let healths = Healths::default();
        healths.refuses("e", "blue", "400: bad label");
        assert!(healths.is_up());
        assert_eq!(healths.of("blue").refusal.as_deref(), Some("400: bad label"));
        healths.fails("e", "blue", "503", None);
        healths.ended("blue");
        assert!(healths.is_up() && healths.of("blue").refusal.is_some());
    }
}

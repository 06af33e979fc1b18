//! How fast samples come and go, over the last minute: counters are looked at every ten seconds, so requests pay nothing.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::app::App;

/// How often counters are looked at.
pub(super) const EVERY: Duration = Duration::from_secs(10);
/// How many looks are remembered: a minute of them.
const LOOKS: usize = 7;

/// What the counters were at the last looks.
#[derive(Debug)]
pub(super) struct Rates {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// When, by number of the look modulo [`LOOKS`].
    at: Vec<Instant>,
    looks: usize,
    received: HashMap<String, Counter>,
    /// By tenant and endpoint.
    delivered: HashMap<String, HashMap<String, Counter>>,
}

/// A counter at the last looks, in the places of their times; 0 before it existed.
#[derive(Debug, Default)]
struct Counter {
    values: [u64; LOOKS],
    /// The number of the last look at which it was there.
    seen: usize,
}

impl Rates {
    /// With a first look.
    pub(super) fn new(app: &App) -> Self {
        let rates = Self { state: Mutex::default() };
        rates.look(app);
        rates
    }

    /// Looks at all counters.
    pub(super) fn look(&self, app: &App) {
        let mut state = self.lock();
        state.begin(Instant::now());
        for tenant in app.engine.tenants.list() {
            state.received(tenant.name.as_str(), tenant.received_counts().samples);
        }
        for row in app.engine.deliveries.rows().iter().filter(|row| row.plan().is_none()) {
            state.delivered(row.tenant.as_str(), &row.endpoint, row.delivered().samples);
        }
        state.end();
    }

    /// Samples a second received for a tenant, of which there are `total` by now.
    pub(super) fn received(&self, tenant: &str, total: u64) -> f64 {
        let state = self.lock();
        state.rate(state.received.get(tenant), total, Instant::now())
    }

    /// Samples a second of a tenant that an endpoint took, which has taken `total` by now.
    pub(super) fn delivered(&self, tenant: &str, endpoint: &str, total: u64) -> f64 {
        let state = self.lock();
        let counter = state.delivered.get(tenant).and_then(|endpoints| endpoints.get(endpoint));
        state.rate(counter, total, Instant::now())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn begin(&mut self, now: Instant) {
        self.looks += 1;
        match self.at.get_mut((self.looks - 1) % LOOKS) {
            Some(at) => *at = now,
            None => self.at.push(now),
        }
    }

    fn received(&mut self, tenant: &str, total: u64) {
        note(&mut self.received, self.looks, tenant, total);
    }

    fn delivered(&mut self, tenant: &str, endpoint: &str, total: u64) {
        if !self.delivered.contains_key(tenant) {
            self.delivered.insert(tenant.to_owned(), HashMap::new());
        }
        if let Some(endpoints) = self.delivered.get_mut(tenant) {
            note(endpoints, self.looks, endpoint, total);
        }
    }

    /// Forgets what is gone.
    fn end(&mut self) {
        let looks = self.looks;
        self.received.retain(|_, counter| counter.seen == looks);
        for endpoints in self.delivered.values_mut() {
            endpoints.retain(|_, counter| counter.seen == looks);
        }
        self.delivered.retain(|_, endpoints| !endpoints.is_empty());
    }

    fn rate(&self, counter: Option<&Counter>, total: u64, now: Instant) -> f64 {
        let oldest = if self.at.len() < LOOKS { 0 } else { self.looks % LOOKS };
        let Some(at) = self.at.get(oldest) else { return 0.0 };
        let before = counter.map_or(0, |counter| counter.values[oldest]);
        // Less than a second says nothing about a second.
        let elapsed = now.saturating_duration_since(*at).max(Duration::from_secs(1));
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let more = total.saturating_sub(before) as f64;
        more / elapsed.as_secs_f64()
    }
}

fn note(counters: &mut HashMap<String, Counter>, looks: usize, key: &str, total: u64) {
    if !counters.contains_key(key) {
        counters.insert(key.to_owned(), Counter::default());
    }
    if let Some(counter) = counters.get_mut(key) {
        counter.values[(looks - 1) % LOOKS] = total;
        counter.seen = looks;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_of_the_last_minute() {
        let (start, mut state) = (Instant::now(), State::default());
        // 100 samples a second for two minutes, then none.
        for look in 0..=12_u32 {
            state.begin(start + EVERY * look);
            state.received("a", u64::from(look) * 1000);
            state.end();
        }
        let at = |seconds| start + Duration::from_secs(seconds);
        let rate = |state: &State, total, seconds| state.rate(state.received.get("a"), total, at(seconds));
        assert!((rate(&state, 12_000, 120) - 100.0).abs() < 1e-9);
        assert!((rate(&state, 12_000, 180) - 50.0).abs() < 1e-9);
    }

    #[test]
    fn a_counter_that_is_new_began_at_zero_and_one_that_is_gone_is_forgotten() {
        let (start, mut state) = (Instant::now(), State::default());
        state.begin(start);
        state.delivered("a", "x", 5_000);
        state.end();
        let later = start + EVERY;
        assert!((state.rate(None, 500, later) - 50.0).abs() < 1e-9, "born between two looks");
        state.begin(later);
        state.delivered("a", "y", 1);
        state.end();
        assert_eq!(state.delivered["a"].keys().collect::<Vec<_>>(), ["y"]);
        assert!((state.rate(None, 3, start) - 3.0).abs() < 1e-9, "never over less than a second");
    }
}

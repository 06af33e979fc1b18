//! Replies at random for load tests: late, 503, connections reset before or after the data was stored.
//!
//! Draws from a seed, so that a run's mixture can be repeated; which request meets which reply depends on the order in
//! which requests come. Must not decide about data: the endpoint's judge does.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fastrand::Rng;

use crate::endpoint::Reply;

/// A source of replies for [`Endpoint::answer_with`](crate::endpoint::Endpoint::answer_with). As made all are healthy
/// and immediate.
///
/// Shares are between 0 and 1; together they must not exceed 1, what is beyond it never happens.
#[derive(Debug)]
pub struct Chaos {
    seed: u64,
    random: Mutex<Rng>,
    max_delay: Duration,
    unavailable: f64,
    resets_unjudged: f64,
    resets_stored: f64,
}

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Unavailable,
    ResetUnjudged,
    ResetStored,
    Healthy,
}

impl Chaos {
    /// The same replies in the same order for the same seed.
    pub fn seeded(seed: u64) -> Self {
        Self {
            seed,
            random: Mutex::new(Rng::with_seed(seed)),
            max_delay: Duration::ZERO,
            unavailable: 0.0,
            resets_unjudged: 0.0,
            resets_stored: 0.0,
        }
    }

    /// What to print when a test fails.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Every reply is late by up to so much, evenly spread.
    #[must_use]
    pub fn delays_up_to(mut self, max: Duration) -> Self {
        self.max_delay = max;
        self
    }

    /// The share of 503, nothing stored.
    #[must_use]
    pub fn unavailable(mut self, share: f64) -> Self {
        self.unavailable = share;
        self
    }

    /// The share of connections reset before the request was judged: nothing stored, no answer.
    #[must_use]
    pub fn resets_unjudged(mut self, share: f64) -> Self {
        self.resets_unjudged = share;
        self
    }

    /// The share of connections reset after the request was judged and stored: the sender cannot know.
    #[must_use]
    pub fn resets_stored(mut self, share: f64) -> Self {
        self.resets_stored = share;
        self
    }

    /// The next reply.
    pub fn reply(&self) -> Reply {
        let (fate, delay) = self.draw();
        let reply = match fate {
            Fate::Unavailable => Reply::status(503),
            Fate::ResetUnjudged => Reply::reset_after_body(),
            Fate::ResetStored => Reply::reset_after_body().taking(),
            Fate::Healthy => Reply::healthy(),
        };
        reply.after(delay)
    }

    /// Draws the same whatever is set, so that a seed's fates do not depend on its delays.
    fn draw(&self) -> (Fate, Duration) {
        let (fate, delay) = {
            let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
            (random.f64(), random.f64())
        };
        let resets = self.unavailable + self.resets_unjudged;
        let fate = match fate {
            fate if fate < self.unavailable => Fate::Unavailable,
            fate if fate < resets => Fate::ResetUnjudged,
            fate if fate < resets + self.resets_stored => Fate::ResetStored,
            _ => Fate::Healthy,
        };
        (fate, self.max_delay.mul_f64(delay))
    }
}

#[cfg(test)]
mod tests;

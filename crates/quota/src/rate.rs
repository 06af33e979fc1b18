//! So many units per second: samples, bytes or requests. A bucket that holds what one second brings, in one atomic number: the
//! time at which it is full again (known as the generic cell rate algorithm).

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::{Nanoseconds, SECOND};

/// A limit of units per second. In any span of time at most what the limit brings in it and one second more is taken, or,
/// where one request is larger than that second, what the limit brings and that one request.
///
/// Amounts are rounded to nanoseconds against who takes: each `take` may cost a nanosecond too much, which matters only for
/// amounts far below a billionth of the limit.
#[derive(Debug)]
pub struct Rate {
    /// Units per second; 0: none.
    limit: AtomicU64,
    /// When the bucket is full if nothing more is taken. Each unit moves it by a second divided by the limit.
    full_at: AtomicU64,
}

// Relaxed everywhere: no other memory depends on either number.
impl Rate {
    /// With a full bucket. 0 units per second: no limit.
    pub const fn new(units_per_second: u64) -> Self {
        Self { limit: AtomicU64::new(units_per_second), full_at: AtomicU64::new(0) }
    }

    /// Units per second; 0: no limit.
    pub fn limit(&self) -> u64 {
        self.limit.load(Relaxed)
    }

    /// Another limit from `now` on; 0: none. The bucket stays as full as it is, in parts of a second. Where it is in debt it is
    /// empty instead: a debt made under a limit that was too low might last for years.
    pub fn set_limit(&self, units_per_second: u64, now: Nanoseconds) {
        if self.limit.swap(units_per_second, Relaxed) != units_per_second {
            self.full_at.fetch_min(now.saturating_add(SECOND), Relaxed);
        }
    }

    /// Takes so many units, all or none. More than a second brings is taken from a full bucket, which is in debt then: no
    /// request is too large for ever. (While smaller ones take everything that comes, it waits.)
    ///
    /// # Errors
    ///
    /// How long after `now` it would succeed, if nobody else takes any.
    pub fn take(&self, units: u64, now: Nanoseconds) -> Result<(), Duration> {
        let limit = self.limit();
        if limit == 0 || units == 0 {
            return Ok(());
        }
        let cost = scale(units, SECOND, limit, u128::div_ceil);
        let take = |full_at: u64| {
            let missing = full_at.saturating_sub(now);
            let fits = missing == 0 || missing.saturating_add(cost) <= SECOND;
            fits.then(|| full_at.max(now).saturating_add(cost))
        };
        let refused = self.full_at.fetch_update(Relaxed, Relaxed, take).err();
        refused.map_or(Ok(()), |full_at| {
            let missing = full_at.saturating_sub(now);
            Err(Duration::from_nanos(missing.saturating_add(cost.min(SECOND)).saturating_sub(SECOND)))
        })
    }

    /// Gives back units that were taken for what was not stored in the end.
    pub fn give_back(&self, units: u64) {
        let limit = self.limit();
        if limit > 0 {
            let cost = scale(units, SECOND, limit, |value, by| value / by);
            // Before `now` it is as full as at `now`: nothing beyond a full bucket comes of it.
            self.full_at.update(Relaxed, Relaxed, |full_at| full_at.saturating_sub(cost));
        }
    }

    /// The most units that [`take`](Self::take) would give, beside a larger amount from a full bucket; `None`: no limit.
    pub fn remaining(&self, now: Nanoseconds) -> Option<u64> {
        let limit = self.limit();
        let missing = self.full_at.load(Relaxed).saturating_sub(now);
        (limit > 0).then(|| scale(SECOND.saturating_sub(missing), limit, SECOND, |value, by| value / by))
    }
}

/// `value` times `by` divided by `divisor`, or the largest number where that is larger.
fn scale(value: u64, by: u64, divisor: u64, divide: impl Fn(u128, u128) -> u128) -> u64 {
    u64::try_from(divide(u128::from(value) * u128::from(by), u128::from(divisor))).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
    use proptest::sample::select;

    use super::*;

    const MILLISECOND: u64 = SECOND / 1000;

    #[test]
    fn a_second_is_taken_at_once_and_then_as_much_as_time_brings() {
        let rate = Rate::new(1000);
        assert_eq!(rate.take(1000, SECOND), Ok(()));
        assert_eq!(rate.remaining(SECOND), Some(0));
        assert_eq!(rate.take(10, SECOND), Err(Duration::from_millis(10)));
        assert_eq!(rate.take(10, SECOND + 10 * MILLISECOND), Ok(()));
        assert_eq!(rate.remaining(5 * SECOND), Some(1000), "no more than a second is kept");
    }

    #[test]
    fn more_than_a_second_brings_waits_for_a_full_bucket_and_leaves_a_debt() {
        let rate = Rate::new(1000);
        assert_eq!(rate.take(1, 0), Ok(()));
        assert_eq!(rate.take(3000, 0), Err(Duration::from_millis(1)));
        assert_eq!(rate.take(3000, MILLISECOND), Ok(()));
        assert_eq!(rate.remaining(2 * SECOND), Some(0));
        assert_eq!(rate.take(1, MILLISECOND), Err(Duration::from_millis(2001)));
        assert_eq!(rate.take(1, 2002 * MILLISECOND), Ok(()));
    }

    #[test]
    fn nothing_is_always_given_and_without_a_limit_everything() {
        let rate = Rate::new(1);
        assert_eq!(rate.take(100, 0), Ok(()));
        assert_eq!(rate.take(0, 0), Ok(()));
        let rate = Rate::new(0);
        assert_eq!(rate.take(u64::MAX, 0), Ok(()));
        assert_eq!(rate.take(u64::MAX, 0), Ok(()));
        assert_eq!(rate.remaining(0), None);
    }

    #[test]
    fn another_limit_counts_at_once_and_forgives_debts() {
        let rate = Rate::new(1);
        assert_eq!(rate.take(u64::MAX, 0), Ok(()));
        rate.set_limit(1, 0);
        assert!(rate.take(1, SECOND).is_err(), "the same limit forgives nothing");
        rate.set_limit(100, 2 * SECOND);
        assert_eq!(rate.remaining(2 * SECOND), Some(0));
        assert_eq!(rate.remaining(3 * SECOND), Some(100));
        rate.set_limit(0, 2 * SECOND);
        assert_eq!(rate.take(1000, 2 * SECOND), Ok(()));
    }

    #[test]
    fn threads_together_take_no_more_than_the_limit_brings() {
        const THREADS: u64 = 4;
        const CALLS: u64 = 50_000;
        const STEP: u64 = 1000;
        let (rate, clock, taken) = (Rate::new(1_000_000), AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let (rate, clock, taken) = (&rate, &clock, &taken);
                scope.spawn(move || {
                    for call in 0..CALLS {
                        let units = 1 + (call * 7 + thread) % 200;
                        if rate.take(units, clock.fetch_add(STEP, Relaxed)).is_ok() {
                            taken.fetch_add(units, Relaxed);
                        }
                    }
                });
            }
        });
        let brought = THREADS * CALLS * STEP / 1000;
        let taken = taken.load(Relaxed);
        assert!(taken <= 1_000_000 + brought, "{taken}");
        assert!(taken >= 1_000_000 + brought - 1000, "{taken}: a hundred times as much was wanted");
    }

    #[derive(Clone, Debug)]
    enum Step {
        Take(u64),
        GiveBack(u64),
        Wait(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => (0_u64..3000).prop_map(Step::Take),
            1 => (0_u64..200).prop_map(Step::GiveBack),
            2 => prop_oneof![0..MILLISECOND, 0..SECOND, 0..5 * SECOND].prop_map(Step::Wait),
        ];
        vec(step, 0..100)
    }

    proptest! {
        #[test]
        fn it_is_a_bucket_of_tokens(limit in select(vec![1, 5, 128, 1000, 50_000, SECOND]), steps in steps()) {
            let (rate, mut now) = (Rate::new(limit), 7 * SECOND);
            // In billionths of a unit.
            let full = u128::from(limit) * u128::from(SECOND);
            let mut tokens = full;
            for step in steps {
                match step {
                    Step::Wait(time) => {
                        now += time;
                        tokens = full.min(tokens.saturating_add(u128::from(time) * u128::from(limit)));
                    }
                    // A debt is told by the wait until it is paid.
                    Step::Take(units) => {
                        let wanted = u128::from(units) * u128::from(SECOND);
                        let needed = wanted.min(full);
                        let answer = rate.take(units, now);
                        prop_assert_eq!(answer.is_ok(), tokens >= needed);
                        match answer {
                            Ok(()) if wanted > tokens => {
                                let debt = wanted - tokens;
                                now += (debt / u128::from(limit)) as u64;
                                tokens = 0;
                            }
                            Ok(()) => tokens -= wanted,
                            Err(wait) => prop_assert_eq!(wait.as_nanos() * u128::from(limit), needed - tokens),
                        }
                    }
                    Step::GiveBack(units) => {
                        rate.give_back(units);
                        tokens = full.min(tokens + u128::from(units) * u128::from(SECOND));
                    }
                }
                prop_assert_eq!(rate.remaining(now), Some((tokens / u128::from(SECOND)) as u64));
            }
        }

        #[test]
        fn any_limit_is_kept_and_what_remains_is_given(limit in 1..u64::MAX, calls in vec((any::<u64>(), 0..SECOND), 1..50)) {
            let (rate, mut now, mut taken) = (Rate::new(limit), 0, 0);
            for (units, wait) in calls {
                now += wait;
                let units = units % limit.saturating_mul(2);
                let remaining = rate.remaining(now).unwrap();
                match rate.take(units, now) {
                    Ok(()) => {
                        taken += u128::from(units);
                        let brought = u128::from(limit) * u128::from(now) / u128::from(SECOND);
                        prop_assert!(taken <= brought + u128::from(units.max(limit)));
                    }
                    Err(wait) => {
                        prop_assert!(units > remaining);
                        let later = now + wait.as_nanos() as u64;
                        prop_assert!(rate.take(units, later - 1).is_err());
                        prop_assert!(rate.take(units, later).is_ok());
                        rate.give_back(units);
                    }
                }
            }
        }
    }
}

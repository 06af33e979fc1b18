//! So many requests in a window of time, for a tenant and a path rule, as senders are told in `X-RateLimit-*` headers. The
//! caller keeps a [`SlidingWindow`] per tenant and rule, and knows which rule a path matches.
//!
//! The window slides: what came in the window before counts as much as that window still reaches into the last `window` of
//! time, as if it had come evenly. A fixed window would let twice the limit pass at once, at the end of one window and the
//! beginning of the next; here, whoever has used up one window gets its requests back bit by bit. It takes two counters
//! whatever the limit is, and gives the same numbers as the limiter that Observatorium's senders know.

use std::num::NonZeroU32;
use std::sync::Mutex;
use std::time::Duration;

use crate::{Nanoseconds, lock};

/// Counts requests. No more than the limit pass in a window counted from the clock's beginning, and fewer than twice as many
/// in any span as long as one; requests that are refused do not count.
#[derive(Debug)]
pub struct SlidingWindow {
    limit: NonZeroU32,
    window: Nanoseconds,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    /// Which window since the clock's beginning is the current one.
    index: u64,
    current: u32,
    previous: u32,
}

/// What the sender of a request is told of its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// `X-RateLimit-Limit`.
    pub limit: u32,
    /// `X-RateLimit-Remaining`: how many more would pass now.
    pub remaining: u32,
    /// `X-RateLimit-Reset`, from now: when the current window ends.
    pub reset: Duration,
}

/// Too many requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The same as for a request that passes.
    pub standing: Standing,
    /// `Retry-After`: how long until one passes if no other comes before.
    pub retry_after: Duration,
}

impl SlidingWindow {
    /// With no request counted. A window shorter than a nanosecond is one of a nanosecond, one of more than 500 years ends there.
    pub fn new(limit: NonZeroU32, window: Duration) -> Self {
        let window = u64::try_from(window.as_nanos()).unwrap_or(u64::MAX).max(1);
        Self { limit, window, counts: Mutex::default() }
    }

    /// Counts a request.
    ///
    /// # Errors
    ///
    /// When it is one too many; it is not counted then.
    pub fn take(&self, now: Nanoseconds) -> Result<Standing, Refused> {
        let mut counts = lock(&self.counts);
        counts.roll(now / self.window);
        // Behind the time of another thread: its window has just begun.
        let elapsed = now.saturating_sub(counts.index.saturating_mul(self.window));
        let left = self.window - elapsed;
        let before = counts.used(left, self.window);
        let passes = before < self.limit.get();
        counts.current += u32::from(passes);
        let remaining = self.limit.get().saturating_sub(before).saturating_sub(u32::from(passes));
        let standing = Standing { limit: self.limit.get(), remaining, reset: Duration::from_nanos(left) };
        if passes {
            return Ok(standing);
        }
        let spare = self.limit.get() - 1;
        let retry_after = match spare.checked_sub(counts.current) {
            Some(spare) => until(counts.previous, spare, self.window).saturating_sub(elapsed),
            None => left.saturating_add(until(counts.current, spare, self.window)),
        };
        Err(Refused { standing, retry_after: Duration::from_nanos(retry_after) })
    }
}

impl Counts {
    /// Makes a later window the current one.
    fn roll(&mut self, index: u64) {
        if index > self.index {
            let previous = if index - self.index == 1 { self.current } else { 0 };
            *self = Self { index, current: 0, previous };
        }
    }

    /// How many requests count when so much of the current window is left, rounded up.
    fn used(&self, left: Nanoseconds, window: Nanoseconds) -> u32 {
        let previous = (u128::from(self.previous) * u128::from(left)).div_ceil(u128::from(window));
        // `left` is at most `window`.
        self.current.saturating_add(u32::try_from(previous).unwrap_or(u32::MAX))
    }
}

/// How much of a window must have passed until so many requests of the one before count as no more than `spare`.
fn until(previous: u32, spare: u32, window: Nanoseconds) -> Nanoseconds {
    let may_be_left = u128::from(spare) * u128::from(window) / u128::from(previous.max(1));
    window.saturating_sub(u64::try_from(may_be_left).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    use super::*;
    use crate::SECOND;

    fn window(limit: u32, seconds: u64) -> SlidingWindow {
        SlidingWindow::new(NonZeroU32::new(limit).unwrap(), Duration::from_secs(seconds))
    }

    #[test]
    fn requests_pass_up_to_the_limit_and_are_told_what_is_left() {
        let window = window(3, 10);
        let now = 14 * SECOND;
        for remaining in [2, 1, 0] {
            let standing = Standing { limit: 3, remaining, reset: Duration::from_secs(6) };
            assert_eq!(window.take(now), Ok(standing));
        }
        let standing = Standing { limit: 3, remaining: 0, reset: Duration::from_secs(6) };
        // A third of the next window, when two of the three count.
        let retry_after = Duration::from_nanos(6 * SECOND + 3_333_333_334);
        assert_eq!(window.take(now), Err(Refused { standing, retry_after }));
    }

    #[test]
    fn a_used_up_window_comes_back_bit_by_bit_and_not_at_once() {
        let window = window(10, 10);
        for _ in 0..10 {
            assert!(window.take(19 * SECOND).is_ok());
        }
        assert!(window.take(20 * SECOND).is_err());
        assert!(window.take(21 * SECOND).is_ok());
        assert!(window.take(21 * SECOND).is_err());
        for _ in 0..4 {
            assert!(window.take(25 * SECOND).is_ok());
        }
        assert!(window.take(25 * SECOND).is_err());
    }

    #[test]
    fn after_two_windows_everything_is_forgotten() {
        let window = window(2, 10);
        assert!(window.take(0).is_ok());
        assert!(window.take(0).is_ok());
        assert_eq!(window.take(20 * SECOND).unwrap().remaining, 1);
    }

    #[test]
    fn a_thread_that_is_behind_is_counted_in_the_current_window() {
        let window = window(2, 10);
        assert!(window.take(30 * SECOND).is_ok());
        assert_eq!(window.take(29 * SECOND).unwrap().remaining, 0);
        assert!(window.take(30 * SECOND).is_err());
    }

    proptest! {
        #[test]
        fn no_window_has_more_than_its_limit_and_retrying_when_told_succeeds(
            limit in 1_u32..20,
            length in 1_u64..5,
            waits in vec(0..SECOND, 1..200),
        ) {
            let (window, length) = (window(limit, length), length * SECOND);
            let (mut now, mut passed) = (0, Vec::new());
            for wait in waits {
                now += wait;
                match window.take(now) {
                    Ok(standing) => {
                        passed.push(now);
                        prop_assert_eq!(standing.reset.as_nanos(), u128::from(length - now % length));
                    }
                    Err(refused) => {
                        let later = now + refused.retry_after.as_nanos() as u64;
                        prop_assert!(later > now);
                        // Asked at a copy: the request itself is not repeated.
                        let ask = |at| {
                            let counts = lock(&window.counts);
                            let counts = Counts { ..*counts };
                            let copy = SlidingWindow { counts: Mutex::new(counts), ..window };
                            copy.take(at)
                        };
                        prop_assert!(ask(later - 1).is_err());
                        prop_assert!(ask(later).is_ok());
                    }
                }
                let within = |from: u64| passed.iter().filter(|&&at| at >= from).count() as u32;
                prop_assert!(within(now - now % length) <= limit);
                prop_assert!(within((now + 1).saturating_sub(length)) < 2 * limit || limit == 1);
            }
        }
    }
}

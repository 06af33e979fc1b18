//! How many requests may be in flight at one endpoint, over all its tenants: turns, in the order they are asked for, and a
//! limit that follows what the endpoint can take. Knows no requests.
//!
//! The limit grows by one for each success while it is used up, until the first sign of trouble; from then on by one for
//! each round of requests (additive increase). When the endpoint says that it has too much (429, 503) or does not answer, it
//! shrinks once a round, by half the share of such answers (multiplicative decrease as in RFC 8257 §3.3, so that a few
//! failures by chance do not cost what an overload does); when answers take much longer than before, to 0.9 of itself.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

/// Where the limit starts: a new endpoint is believed to take what a dozen senders would send it.
const START: f64 = 32.0;
/// The most requests in flight at one endpoint.
pub(super) const MOST: usize = 64;
/// Compressed bytes in flight at one endpoint; beyond, one request at a time.
const MOST_BYTES: usize = 3 << 20;
/// Of so many turns, one is a background one's, if one waits.
const BACKGROUND_SHARE: u32 = 8;

/// What is left of the limit when all answers of a round say that it is too high.
const OVERLOADED: f64 = 0.5;
/// And when answers are slow.
const SLOWED: f64 = 0.9;

/// Who asks for a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Priority {
    /// What senders send now, and what is to be caught up with.
    Live,
    /// Replays: they may not slow down the others.
    Background,
}

/// What an answer says about the endpoint's load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Load {
    /// It took the request.
    Fine,
    /// 429, 503, or no answer.
    Overloaded,
    /// An answer that has nothing to do with load.
    Unrelated,
}

/// Hands out turns. Clones are the same limiter.
#[derive(Clone, Debug)]
pub(super) struct Limiter {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    limit: f64,
    in_flight: usize,
    bytes: usize,
    live: VecDeque<oneshot::Sender<()>>,
    background: VecDeque<oneshot::Sender<()>>,
    /// Turns given since the last background one.
    since_background: u32,
    /// Nothing has gone wrong yet.
    starting: bool,
    round: Round,
    latency: Latency,
}

/// As many answers as requests may be in flight.
#[derive(Clone, Copy, Debug, Default)]
struct Round {
    answers: u32,
    overloaded: u32,
}

/// The right to have one request in flight at a time; given back when dropped.
#[derive(Debug)]
pub(super) struct Turn {
    limiter: Limiter,
    bytes: usize,
}

impl Limiter {
    pub(super) fn new() -> Self {
        let state = State {
            limit: START,
            in_flight: 0,
            bytes: 0,
            live: VecDeque::new(),
            background: VecDeque::new(),
            since_background: 0,
            starting: true,
            round: Round::default(),
            latency: Latency::default(),
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Waits for a turn. Dropping the future gives up the place in the queue.
    pub(super) async fn turn(&self, priority: Priority) -> Turn {
        let Some(receiver) = self.enqueue(priority) else { return self.given() };
        let mut waiting = Waiting { limiter: self, receiver };
        // The sender is dropped only together with the limiter, which `self` keeps.
        drop((&mut waiting.receiver).await);
        waiting.receiver.close();
        self.given()
    }

    /// `None`: there is a turn at once.
    fn enqueue(&self, priority: Priority) -> Option<oneshot::Receiver<()>> {
        let mut state = self.lock();
        if state.has_room() && state.live.is_empty() && state.background.is_empty() {
            state.give(priority);
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        match priority {
            Priority::Live => state.live.push_back(sender),
            Priority::Background => state.background.push_back(sender),
        }
        state.hand_out();
        Some(receiver)
    }

    fn given(&self) -> Turn {
        Turn { limiter: self.clone(), bytes: 0 }
    }

    fn give_back(&self, bytes: usize) {
        let mut state = self.lock();
        state.in_flight -= 1;
        state.bytes -= bytes;
        state.hand_out();
    }

    /// Whether somebody waits for a turn.
    pub(super) fn is_contended(&self) -> bool {
        !self.lock().live.is_empty()
    }

    /// How many requests may be in flight.
    pub(super) fn limit(&self) -> usize {
        self.lock().whole_limit()
    }

    /// Learns from an answer to a request that was sent at `sent`.
    pub(super) fn learn(&self, load: Load, sent: Instant, now: Instant) {
        let mut state = self.lock();
        match load {
            Load::Fine => state.succeeded(now.saturating_duration_since(sent), now),
            Load::Overloaded => state.round.overloaded += 1,
            Load::Unrelated => {}
        }
        state.answered();
        state.hand_out();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// How much the request of this turn keeps in memory.
    pub(super) fn carries(&mut self, bytes: usize) {
        let mut state = self.limiter.lock();
        state.bytes = state.bytes - self.bytes + bytes;
        self.bytes = bytes;
        state.hand_out();
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.limiter.give_back(self.bytes);
    }
}

/// A place in the queue. A turn that is given while its owner goes away is given on.
struct Waiting<'l> {
    limiter: &'l Limiter,
    receiver: oneshot::Receiver<()>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.receiver.close();
        if self.receiver.try_recv().is_ok() {
            self.limiter.give_back(0);
        }
    }
}

impl State {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and MOST")]
    const fn whole_limit(&self) -> usize {
        self.limit as usize
    }

    fn has_room(&self) -> bool {
        self.in_flight == 0 || (self.in_flight < self.whole_limit() && self.bytes < MOST_BYTES)
    }

    const fn give(&mut self, priority: Priority) {
        self.in_flight += 1;
        match priority {
            Priority::Live => self.since_background += 1,
            Priority::Background => self.since_background = 0,
        }
    }

    fn hand_out(&mut self) {
        while self.has_room() {
            let background_is_due = self.since_background + 1 >= BACKGROUND_SHARE && !self.background.is_empty();
            let live = if background_is_due { None } else { self.live.pop_front() };
            let (priority, next) = match live {
                Some(live) => (Priority::Live, live),
                None => match self.background.pop_front() {
                    Some(background) => (Priority::Background, background),
                    None => return,
                },
            };
            // Who went away meanwhile is passed over.
            if next.send(()).is_ok() {
                self.give(priority);
            }
        }
    }

    fn succeeded(&mut self, latency: Duration, now: Instant) {
        // A limit that is not used up says nothing about what the endpoint could take.
        if self.in_flight >= self.whole_limit() {
            let step = if self.starting { 1.0 } else { 1.0 / self.limit };
            self.limit = (self.limit + step).min(MOST as f64);
        }
        if self.latency.is_slower(latency, now) {
            self.decrease(SLOWED);
        }
    }

    fn answered(&mut self) {
        self.round.answers += 1;
        let Round { answers, overloaded } = self.round;
        if f64::from(answers) >= self.limit.floor() {
            self.round = Round::default();
            if overloaded > 0 {
                let share = f64::from(overloaded) / f64::from(answers);
                self.decrease(1.0 - share * (1.0 - OVERLOADED));
            }
        }
    }

    const fn decrease(&mut self, factor: f64) {
        self.limit = (self.limit * factor).max(1.0);
        self.starting = false;
    }
}

/// Tells when answers take longer than they used to.
#[derive(Debug, Default)]
struct Latency {
    /// Mean and mean deviation of the averages of past windows, in seconds; `None` before the first.
    past: Option<(f64, f64)>,
    sum: f64,
    answers: u32,
    opened: Option<Instant>,
}

/// Averages are compared over at least so many answers and so much time.
const WINDOW_ANSWERS: u32 = 16;
const WINDOW: Duration = Duration::from_secs(1);
/// How far a window's average may lie above those of the past: so many times their mean deviation, and at least so much.
const DEVIATIONS: f64 = 4.0;
const ALWAYS_FINE_SECONDS: f64 = 0.1;
/// How much of the past each window replaces.
const WEIGHT: f64 = 0.3;

impl Latency {
    fn is_slower(&mut self, answer: Duration, now: Instant) -> bool {
        self.sum += answer.as_secs_f64();
        self.answers += 1;
        let opened = *self.opened.get_or_insert(now);
        if self.answers < WINDOW_ANSWERS || now.saturating_duration_since(opened) < WINDOW {
            return false;
        }
        let average = self.sum / f64::from(self.answers);
        *self = Self { past: self.past, ..Self::default() };
        let Some((mean, deviation)) = self.past else {
            self.past = Some((average, 0.0));
            return false;
        };
        self.past = Some((mean + WEIGHT * (average - mean), deviation + WEIGHT * ((average - mean).abs() - deviation)));
        average > mean + (DEVIATIONS * deviation).max(mean / 2.0).max(ALWAYS_FINE_SECONDS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, milliseconds: u64) -> Instant {
        start + Duration::from_millis(milliseconds)
    }

    fn now_or_never(limiter: &Limiter, priority: Priority) -> Option<Turn> {
        let mut turn = Box::pin(limiter.turn(priority));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match turn.as_mut().poll(&mut context) {
            std::task::Poll::Ready(turn) => Some(turn),
            std::task::Poll::Pending => None,
        }
    }

    fn turns(limiter: &Limiter) -> Vec<Turn> {
        std::iter::from_fn(|| now_or_never(limiter, Priority::Live)).collect()
    }

    #[test]
    fn the_limit_doubles_with_each_round_at_first() {
        let (limiter, start) = (Limiter::new(), Instant::now());
        let held = turns(&limiter);
        assert_eq!(held.len(), 32);
        // Used up, because whoever succeeds takes the next turn at once.
        let mut more = Vec::new();
        for _ in 0..32 {
            limiter.learn(Load::Fine, start, at(start, 50));
            more.extend(turns(&limiter));
        }
        assert_eq!((limiter.limit(), more.len()), (64, 32));
    }

    #[test]
    fn a_round_with_some_overloads_lowers_the_limit_by_half_their_share_and_successes_raise_it_by_one_a_round() {
        let (limiter, start) = (Limiter::new(), Instant::now());
        let _held = turns(&limiter);
        for answer in [Load::Unrelated, Load::Overloaded].iter().cycle().take(32) {
            limiter.learn(*answer, start, start);
        }
        assert_eq!(limiter.limit(), 24);
        for _ in 0..25 {
            limiter.learn(Load::Fine, start, start);
        }
        assert_eq!(limiter.limit(), 25);
        for _ in 0..100 {
            limiter.learn(Load::Unrelated, start, start);
        }
        assert_eq!(limiter.limit(), 25);
    }

    #[test]
    fn a_round_in_which_every_answer_is_an_overload_halves_the_limit() {
        let (limiter, start) = (Limiter::new(), Instant::now());
        for _ in 0..32 {
            limiter.learn(Load::Overloaded, start, start);
        }
        assert_eq!(limiter.limit(), 16);
    }

    #[test]
    fn a_limit_that_is_not_used_up_does_not_grow_and_none_falls_below_one() {
        let (limiter, start) = (Limiter::new(), Instant::now());
        for _ in 0..100 {
            limiter.learn(Load::Fine, start, start);
        }
        assert_eq!(limiter.limit(), 32);
        for _ in 0..200 {
            limiter.learn(Load::Overloaded, start, start);
        }
        assert_eq!(limiter.limit(), 1);
    }

    #[test]
    fn answers_that_take_much_longer_than_before_lower_the_limit() {
        let (limiter, start) = (Limiter::new(), Instant::now());
        let mut now = start;
        let mut window = |latency: Duration| {
            for _ in 0..WINDOW_ANSWERS {
                let sent = now;
                now += latency.max(WINDOW / WINDOW_ANSWERS) + Duration::from_millis(10);
                limiter.learn(Load::Fine, sent, sent + latency);
            }
            limiter.limit()
        };
        for _ in 0..5 {
            assert_eq!(window(Duration::from_millis(50)), 32);
        }
        assert_eq!(window(Duration::from_millis(120)), 32, "not much longer");
        assert!(window(Duration::from_millis(900)) < 32);
    }

    #[test]
    fn turns_are_given_in_the_order_they_are_asked_for_and_a_place_given_up_is_passed_over() {
        let limiter = Limiter::new();
        let mut held = turns(&limiter);
        let places: Vec<_> = (0..3).map(|_| limiter.enqueue(Priority::Live).unwrap()).collect();
        let [mut first, second, mut third] = <[_; 3]>::try_from(places).unwrap();
        held.pop();
        assert!(first.try_recv().is_ok() && third.try_recv().is_err());
        drop(second);
        held.pop();
        assert!(third.try_recv().is_ok());
    }

    #[test]
    fn a_turn_given_to_somebody_who_went_away_is_not_lost() {
        let limiter = Limiter::new();
        let mut held = turns(&limiter);
        let mut waiting = Box::pin(limiter.turn(Priority::Live));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        held.pop();
        drop(waiting);
        assert_eq!(turns(&limiter).len(), 1);
    }

    #[test]
    fn of_eight_turns_one_goes_to_the_background_while_others_wait() {
        let limiter = Limiter::new();
        let mut held = turns(&limiter);
        let mut live: Vec<_> = (0..64).map(|_| limiter.enqueue(Priority::Live).unwrap()).collect();
        let mut background: Vec<_> = (0..64).map(|_| limiter.enqueue(Priority::Background).unwrap()).collect();
        held.truncate(8);
        let given =
            |waiting: &mut Vec<oneshot::Receiver<()>>| waiting.iter_mut().filter_map(|w| w.try_recv().ok()).count();
        assert_eq!((given(&mut live), given(&mut background)), (21, 3));
    }

    #[test]
    fn bytes_in_flight_are_bounded_but_one_request_always_goes() {
        let limiter = Limiter::new();
        let mut first = now_or_never(&limiter, Priority::Live).unwrap();
        first.carries(MOST_BYTES);
        assert!(now_or_never(&limiter, Priority::Live).is_none());
        drop(first);
        let mut first = now_or_never(&limiter, Priority::Live).unwrap();
        first.carries(MOST_BYTES - 1);
        assert!(now_or_never(&limiter, Priority::Live).is_some());
    }
}

//! Bytes of requests in flight, shared fairly between tenants. There is one budget. Nobody is held to a part of it while there
//! is plenty; when it is short, who holds more than a fair share is refused first.
//!
//! Of a budget of B bytes:
//! - The fair share is B divided by the tenants that wanted some in the last second or two, but at least 1 MiB.
//! - Who stays within it, or holds nothing yet, is admitted while there is room at all.
//! - Who would hold more is admitted while an eighth of B stays free: the reserve. So there is room for a tenant that wants
//!   little and rarely, while others want everything.
//! - As long as there is more than one tenant, whether they want anything or not, the fair share is at most what is beside the
//!   reserve; a tenant that is alone may use everything.
//!
//! A tenant that used what nobody wanted gives it back as its requests end, and gets no more before the others have theirs.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use crate::{Nanoseconds, SECOND, lock};

/// What everybody may hold, however many want some.
const LEAST_SHARE: u64 = 1 << 20;
/// The budget divided by this is kept for tenants within their share.
const RESERVE_DIVISOR: u64 = 8;

/// Bytes for all tenants. Never are more than these reserved, unless they become fewer.
#[derive(Debug)]
pub struct Budget(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// 0: no limit.
    bytes: u64,
    used: u64,
    /// How many shares there are.
    tenants: u64,
    /// Seconds of the clock.
    second: u64,
    /// Tenants that wanted some in this second.
    active: u64,
    /// Tenants that wanted some in the second before, and in this one did not.
    active_before: u64,
}

/// What one tenant holds of a budget.
#[derive(Debug)]
pub struct Share {
    budget: Arc<Budget>,
    // Both change only while the budget is locked, which orders them.
    held: AtomicU64,
    /// The second after the last one in which some was wanted; 0: never.
    active_until: AtomicU64,
}

/// Bytes that a request holds; dropped, they are given back.
#[derive(Debug)]
pub struct Reservation {
    share: Arc<Share>,
    bytes: u64,
}

impl Budget {
    /// So many bytes; 0: no limit.
    pub fn new(bytes: u64) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State { bytes, ..State::default() })))
    }

    /// Another number of bytes; 0: no limit. What is reserved stays so.
    pub fn set_bytes(&self, bytes: u64) {
        lock(&self.0).bytes = bytes;
    }

    /// How many bytes are reserved.
    pub fn used(&self) -> u64 {
        lock(&self.0).used
    }

    /// The share of one more tenant. Each tenant has one, kept as long as requests of it may come.
    pub fn share(self: &Arc<Self>) -> Arc<Share> {
        lock(&self.0).tenants += 1;
        Arc::new(Share { budget: Arc::clone(self), held: AtomicU64::new(0), active_until: AtomicU64::new(0) })
    }
}

impl Share {
    /// Reserves so many bytes; `None`: there are not as many for this tenant.
    pub fn reserve(self: &Arc<Self>, bytes: u64, now: Nanoseconds) -> Option<Reservation> {
        self.take(bytes, now).then(|| Reservation { share: Arc::clone(self), bytes })
    }

    /// How many bytes this tenant holds.
    pub fn held(&self) -> u64 {
        self.held.load(Relaxed)
    }

    fn take(&self, bytes: u64, now: Nanoseconds) -> bool {
        let mut state = lock(&self.budget.0);
        state.note_active(self, now / SECOND);
        let held = self.held.load(Relaxed);
        let admits = state.admits(held, bytes);
        if admits {
            state.used += bytes;
            self.held.store(held + bytes, Relaxed);
        }
        admits
    }

    fn give_back(&self, bytes: u64) {
        let mut state = lock(&self.budget.0);
        state.used -= bytes;
        self.held.fetch_sub(bytes, Relaxed);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        lock(&self.budget.0).tenants -= 1;
    }
}

impl Reservation {
    /// How many bytes it holds.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reserves so many bytes more; `false`: there are not as many for this tenant, and it holds what it held.
    pub fn grow(&mut self, bytes: u64, now: Nanoseconds) -> bool {
        let grows = self.share.take(bytes, now);
        if grows {
            self.bytes += bytes;
        }
        grows
    }

    /// Gives back what is above so many bytes.
    pub fn shrink_to(&mut self, bytes: u64) {
        let surplus = self.bytes.saturating_sub(bytes);
        self.bytes -= surplus;
        self.share.give_back(surplus);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.share.give_back(self.bytes);
    }
}

impl State {
    /// Counts a tenant among those that want some in this second.
    fn note_active(&mut self, share: &Share, second: u64) {
        if second > self.second {
            self.active_before = if second - self.second == 1 { self.active } else { 0 };
            self.active = 0;
            self.second = second;
        }
        let until = self.second + 1;
        match until - share.active_until.swap(until, Relaxed) {
            0 => return,
            // Dropped tenants are counted too, for as long as others.
            1 if self.second > 0 => self.active_before -= 1,
            _ => {}
        }
        self.active += 1;
    }

    /// Whether a tenant that holds so many bytes may have so many more.
    fn admits(&self, held: u64, bytes: u64) -> bool {
        let Some(used) = self.used.checked_add(bytes) else { return false };
        if self.bytes == 0 {
            return true;
        }
        let Some(free) = self.bytes.checked_sub(used) else { return false };
        let reserve = self.bytes / RESERVE_DIVISOR;
        held == 0 || held + bytes <= self.fair_share(reserve) || free >= reserve
    }

    fn fair_share(&self, reserve: u64) -> u64 {
        let share = self.bytes / (self.active + self.active_before).max(1);
        let most = if self.tenants > 1 { self.bytes - reserve } else { self.bytes };
        share.max(LEAST_SHARE).min(most)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{ProptestConfig, Strategy, prop_assert, prop_assert_eq, prop_oneof, proptest};

    use super::*;

    const MIB: u64 = 1 << 20;
    const BUDGET: u64 = 64 * MIB;

    /// Reserves as often as it gets any.
    fn flood(share: &Arc<Share>, bytes: u64, now: Nanoseconds) -> Vec<Reservation> {
        std::iter::from_fn(|| share.reserve(bytes, now)).collect()
    }

    #[test]
    fn a_tenant_that_is_alone_may_use_everything_and_gives_it_back() {
        let budget = Budget::new(BUDGET);
        let only = budget.share();
        let all = flood(&only, MIB, 0);
        assert_eq!((budget.used(), only.held()), (BUDGET, BUDGET));
        drop(all);
        assert_eq!((budget.used(), only.held()), (0, 0));
    }

    #[test]
    fn beside_others_that_want_nothing_all_but_the_reserve() {
        let budget = Budget::new(BUDGET);
        let (greedy, rare) = (budget.share(), budget.share());
        let all = flood(&greedy, MIB, 0);
        assert_eq!(all.len(), 56);
        assert!(rare.reserve(5 * MIB, SECOND * 60).is_some(), "without waiting for any request of the other");
        drop(rare);
        assert_eq!(flood(&greedy, MIB, SECOND * 120).len(), 8, "alone again");
    }

    #[test]
    fn one_that_floods_cannot_keep_another_from_its_share() {
        let budget = Budget::new(BUDGET);
        let (greedy, modest) = (budget.share(), budget.share());
        let mut flooding = std::collections::VecDeque::from(flood(&greedy, MIB, 0));
        let mut served = Vec::new();
        for round in 0..48 {
            let now = round * SECOND / 100;
            // The flood has one request ended, and tries again before the other can.
            flooding.pop_front();
            flooding.extend(flood(&greedy, MIB, now));
            served.extend(modest.reserve(MIB, now));
        }
        assert_eq!(modest.held(), BUDGET / 2);
        assert!(greedy.held() <= BUDGET / 2, "{}", greedy.held());
    }

    #[test]
    fn shares_grow_again_when_others_want_nothing_for_two_seconds() {
        let budget = Budget::new(BUDGET);
        let shares: Vec<_> = (0..4).map(|_| budget.share()).collect();
        let now = SECOND * 10;
        let floods: Vec<_> = shares.iter().map(|share| flood(share, MIB, now)).collect();
        drop(floods);
        let fair = || lock(&budget.0).fair_share(0);
        for (later, expected) in [(now, BUDGET / 4), (now + SECOND, BUDGET / 4), (now + 2 * SECOND, BUDGET)] {
            drop(shares[0].reserve(MIB, later));
            assert_eq!(fair(), expected, "at {later}");
        }
    }

    #[test]
    fn a_large_request_of_one_that_holds_nothing_passes_while_there_is_room() {
        let budget = Budget::new(BUDGET);
        let shares: Vec<_> = (0..32).map(|_| budget.share()).collect();
        let held: Vec<_> = shares[1..].iter().map(|share| share.reserve(MIB, 0)).collect();
        let large = shares[0].reserve(30 * MIB, 0);
        assert!(held.iter().all(Option::is_some) && large.is_some());
        assert!(shares[0].reserve(1, 0).is_none());
        assert!(shares[1].reserve(MIB, 0).is_some(), "2 MiB are its share");
    }

    #[test]
    fn a_reservation_grows_as_another_one_would_be_admitted_and_shrinks() {
        let budget = Budget::new(BUDGET);
        let (one, other) = (budget.share(), budget.share());
        let mut small = other.reserve(MIB, 0).unwrap();
        let mut large = one.reserve(MIB, 0).unwrap();
        assert!(!large.grow(BUDGET, 0));
        assert!(large.grow(54 * MIB, 0));
        assert!(!large.grow(MIB, 0), "of the reserve");
        assert!(small.grow(8 * MIB, 0));
        assert_eq!((large.bytes(), small.bytes(), budget.used()), (55 * MIB, 9 * MIB, BUDGET));
        large.shrink_to(MIB);
        large.shrink_to(2 * MIB);
        assert_eq!((large.bytes(), one.held(), budget.used()), (MIB, MIB, 10 * MIB));
    }

    #[test]
    fn without_a_limit_everything_passes_and_a_lower_one_counts_at_once() {
        let budget = Budget::new(0);
        let share = budget.share();
        let held = share.reserve(u64::MAX, 0);
        assert!(held.is_some());
        assert!(share.reserve(1, 0).is_none(), "more than there are numbers for");
        budget.set_bytes(BUDGET);
        assert!(share.reserve(1, 0).is_none());
        drop(held);
        assert!(share.reserve(BUDGET, 0).is_some());
    }

    #[test]
    fn threads_together_never_reserve_more_than_the_budget() {
        let budget = Budget::new(BUDGET);
        std::thread::scope(|scope| {
            for thread in 0..4_u64 {
                let (budget, share) = (&budget, budget.share());
                scope.spawn(move || {
                    let mut random = fastrand::Rng::with_seed(thread);
                    let mut held = Vec::new();
                    for call in 0..20_000 {
                        held.extend(share.reserve(random.u64(0..4 * MIB), call * SECOND / 1000));
                        assert!(budget.used() <= BUDGET);
                        if random.bool() && !held.is_empty() {
                            held.swap_remove(random.usize(..held.len()));
                        }
                    }
                });
            }
        });
        assert_eq!(budget.used(), 0);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Reserve(usize, u64),
        Grow(usize, u64),
        Shrink(usize, u64),
        End(usize),
        Wait(u64),
    }

    const TENANTS: usize = 5;

    fn step() -> impl Strategy<Value = Step> {
        let bytes = || prop_oneof![0..64 * 1024_u64, 0..8 * MIB, 0..BUDGET];
        prop_oneof![
            5 => (0..TENANTS, bytes()).prop_map(|(tenant, bytes)| Step::Reserve(tenant, bytes)),
            2 => (0_usize..64, bytes()).prop_map(|(which, bytes)| Step::Grow(which, bytes)),
            1 => (0_usize..64, bytes()).prop_map(|(which, bytes)| Step::Shrink(which, bytes)),
            3 => (0_usize..64).prop_map(Step::End),
            2 => (0..SECOND).prop_map(Step::Wait),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn the_books_add_up_and_nobody_within_its_share_is_refused_while_there_is_room(steps in vec(step(), 1..200)) {
            let budget = Budget::new(BUDGET);
            let shares: Vec<_> = (0..TENANTS).map(|_| budget.share()).collect();
            let mut held: Vec<(usize, Reservation)> = Vec::new();
            let mut wanted: [Option<u64>; TENANTS] = [None; TENANTS];
            let mut now = 0;
            for step in steps {
                let used = budget.used();
                let one_of = |which: usize| which % held.len().max(1);
                let asks = match step {
                    Step::Reserve(tenant, bytes) => Some((tenant, bytes)),
                    Step::Grow(which, bytes) => held.get(one_of(which)).map(|(tenant, _)| (*tenant, bytes)),
                    _ => None,
                };
                let before = asks.map(|(tenant, _)| shares[tenant].held());
                let is_admitted = match step {
                    Step::Reserve(tenant, bytes) => {
                        let reservation = shares[tenant].reserve(bytes, now);
                        let is_admitted = reservation.is_some();
                        held.extend(reservation.map(|reservation| (tenant, reservation)));
                        is_admitted
                    }
                    Step::Grow(which, bytes) => {
                        let which = one_of(which);
                        held.get_mut(which).is_some_and(|(_, reservation)| reservation.grow(bytes, now))
                    }
                    Step::Shrink(which, bytes) => {
                        let which = one_of(which);
                        held.get_mut(which).into_iter().for_each(|(_, reservation)| reservation.shrink_to(bytes));
                        true
                    }
                    Step::End(which) => {
                        let which = one_of(which);
                        if which < held.len() {
                            held.swap_remove(which);
                        }
                        true
                    }
                    Step::Wait(time) => {
                        now += time;
                        true
                    }
                };
                if let (Some((tenant, bytes)), Some(before)) = (asks, before) {
                    wanted[tenant] = Some(now / SECOND);
                    let active = wanted.iter().flatten().filter(|second| *second + 1 >= now / SECOND).count() as u64;
                    let share = (BUDGET / active).clamp(MIB, BUDGET - BUDGET / 8);
                    let is_within = before == 0 || before + bytes <= share;
                    let room = BUDGET - used;
                    let expected = bytes <= room && (is_within || room - bytes >= BUDGET / 8);
                    prop_assert_eq!(is_admitted, expected);
                }
                prop_assert!(budget.used() <= BUDGET);
                for (tenant, share) in shares.iter().enumerate() {
                    let bytes: u64 = held.iter().filter(|(of, _)| *of == tenant).map(|(_, held)| held.bytes()).sum();
                    prop_assert_eq!(share.held(), bytes);
                }
                prop_assert_eq!(budget.used(), held.iter().map(|(_, held)| held.bytes()).sum::<u64>());
            }
        }
    }
}

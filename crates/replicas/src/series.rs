//! One series: who it is taken from, what left last, and what waits.

use crate::{DataPoint, Milliseconds, Value, Verdict};

/// Replicas of a series that are told apart; a pair is usual. With more, the one that is silent longest is forgotten.
const MAX_REPLICAS: usize = 4;
/// Data points that wait; more than a replica sends within the patience at one a second. Beyond that the oldest is decided.
const MAX_WAITING: usize = 64;
/// Of how many distances between samples the middle one is taken for the interval.
const PASSED: usize = 5;
/// A replica that has sent nothing for more intervals is not waited for.
const GOES_ON: Milliseconds = 4;

#[derive(Debug)]
pub(super) struct Series<O> {
    replicas: Vec<Seen>,
    /// `None`: not known since a restart.
    chosen: Option<u32>,
    /// What left last.
    last: Option<Left>,
    /// When a counter last began anew in what left.
    fell: Milliseconds,
    last_received: Milliseconds,
    /// Between samples of a replica, the last times; 0: not known yet.
    passed: [u32; PASSED],
    /// In rising order of their timestamps, and then as they came.
    waiting: Vec<Waiting<O>>,
}

/// The last data point of a replica.
#[derive(Clone, Copy, Debug)]
struct Seen {
    replica: u32,
    at: Milliseconds,
    value: Value,
    /// How long its data points take to the log at most, lately; less than nothing if its clock is ahead.
    delay: Milliseconds,
}

#[derive(Clone, Copy, Debug)]
struct Left {
    at: Milliseconds,
    value: Value,
}

#[derive(Clone, Copy, Debug)]
struct Waiting<O> {
    point: DataPoint<O>,
    /// It is below its own replica's value before, which was at this time: a counter that began anew.
    fell_since: Option<Milliseconds>,
}

/// What to do next.
enum Step {
    /// Keep the one that waits at this place.
    Keep(usize),
    LeaveOut(usize),
    Wait,
}

impl<O: Copy> Series<O> {
    pub(super) fn starting_with(point: &DataPoint<O>) -> Self {
        Self {
            replicas: Vec::with_capacity(2),
            chosen: Some(point.replica),
            last: None,
            fell: Milliseconds::MIN,
            last_received: point.received,
            passed: [0; PASSED],
            waiting: Vec::new(),
        }
    }

    pub(super) fn recalled(at: Milliseconds, value: Value, received: Milliseconds) -> Self {
        Self {
            replicas: Vec::with_capacity(2),
            chosen: None,
            last: Some(Left { at, value }),
            fell: Milliseconds::MIN,
            last_received: received,
            passed: [0; PASSED],
            waiting: Vec::new(),
        }
    }

    pub(super) fn recall(&mut self, at: Milliseconds, value: Value, received: Milliseconds) {
        if let Some(last) = self.last {
            self.learn_interval(at.saturating_sub(last.at));
        }
        self.last = Some(Left { at, value });
        self.last_received = received;
    }

    pub(super) fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(super) fn oldest_waiting(&self) -> Option<Milliseconds> {
        self.waiting.iter().map(|waiting| waiting.point.received).min()
    }

    pub(super) const fn last_received(&self) -> Milliseconds {
        self.last_received
    }

    /// Takes the next data point into what waits.
    pub(super) fn take(&mut self, point: DataPoint<O>, tell: &mut impl FnMut(O, Verdict)) {
        self.last_received = self.last_received.max(point.received);
        self.chosen.get_or_insert(point.replica);
        let seen = self.replicas.iter().position(|seen| seen.replica == point.replica);
        let delay = point.received.saturating_sub(point.at);
        let mut fell_since = None;
        match seen.and_then(|place| self.replicas.get_mut(place)) {
            // Sent again, or late behind its own replica's next.
            Some(seen) if point.at <= seen.at => return tell(point.origin, Verdict::LeaveOut),
            Some(seen) => {
                fell_since = is_below(point.value, seen.value).then_some(seen.at);
                let passed = point.at.saturating_sub(seen.at);
                (seen.at, seen.value) = (point.at, point.value);
                seen.delay = delay.max(seen.delay - (seen.delay - delay) / 8);
                self.learn_interval(passed);
            }
            None => {
                if self.replicas.len() >= MAX_REPLICAS {
                    self.forget_one();
                }
                self.replicas.push(Seen { replica: point.replica, at: point.at, value: point.value, delay });
            }
        }
        let place = self.waiting.partition_point(|waiting| waiting.point.at <= point.at);
        self.waiting.insert(place, Waiting { point, fell_since });
    }

    /// Tells what is known by now. What was received at `patience` or before is waited for no longer.
    pub(super) fn resolve(&mut self, patience: Milliseconds, tell: &mut impl FnMut(O, Verdict)) {
        loop {
            match self.next_step(patience) {
                Step::Keep(place) => {
                    let Waiting { point, .. } = self.waiting.remove(place);
                    self.chosen = Some(point.replica);
                    if self.last.is_some_and(|last| is_below(point.value, last.value)) {
                        self.fell = point.at;
                    }
                    self.last = Some(Left { at: point.at, value: point.value });
                    tell(point.origin, Verdict::Keep);
                }
                Step::LeaveOut(place) => tell(self.waiting.remove(place).point.origin, Verdict::LeaveOut),
                Step::Wait => break,
            }
        }
    }

    fn next_step(&self, patience: Milliseconds) -> Step {
        let Some(first) = self.waiting.first() else { return Step::Wait };
        let Some(last) = self.last else { return Step::Keep(self.first_of_chosen().unwrap_or(0)) };
        if first.point.at <= last.at || (first.point.value == Value::Stale && last.value == Value::Stale) {
            return Step::LeaveOut(0);
        }
        // What was received first need not be what left its replica first, and can only go behind that.
        let impatient =
            self.waiting.len() > MAX_WAITING || self.oldest_waiting().is_some_and(|oldest| oldest <= patience);
        let own = self.first_of_chosen();
        match own.and_then(|place| Some((place, self.waiting.get(place)?))) {
            Some((place, own)) if !self.is_hole(last.at, own.point.at) => {
                if own.point.value == Value::Stale && !impatient && self.others_may_go_on() {
                    return self.at_a_marker(place, own);
                }
                Step::Keep(place)
            }
            // Nothing else lies in the hole that the chosen replica left.
            Some((0, own)) => {
                if self.others_may_fill(own.point.at) && !impatient {
                    Step::Wait
                } else {
                    Step::Keep(0)
                }
            }
            // Its own next one lies beyond a hole; another replica has one in it.
            Some(_) => self.at_a_seam(first, last),
            None if impatient => self.at_a_seam(first, last),
            // With more than an interval in between there may be something on its way from the chosen replica.
            None if self.has_missed(last.at) && !self.is_beyond(last.at, first.point.at) => self.at_a_seam(first, last),
            None => Step::Wait,
        }
    }

    /// The chosen replica has lost its target, and another one may not have.
    fn at_a_marker(&self, place: usize, marker: &Waiting<O>) -> Step {
        let beyond = |waiting: &Waiting<O>| {
            waiting.point.replica != marker.point.replica
                && waiting.point.at >= marker.point.at
                && waiting.point.value != Value::Stale
        };
        if self.waiting.iter().any(beyond) { Step::LeaveOut(place) } else { Step::Wait }
    }

    /// Another replica goes on with the first that waits, unless its clock would make a counter fall.
    fn at_a_seam(&self, first: &Waiting<O>, last: Left) -> Step {
        let soon = |from: Milliseconds| self.interval() == 0 || first.point.at.saturating_sub(from) < self.interval();
        let other = Some(first.point.replica) != self.chosen;
        // That the counter began anew may have left already, by the other clock.
        let falls = first.fell_since.is_some_and(|since| self.fell.saturating_add(self.interval()) <= since);
        if other && soon(last.at) && !falls && is_below(first.point.value, last.value) {
            Step::LeaveOut(0)
        } else {
            Step::Keep(0)
        }
    }

    fn first_of_chosen(&self) -> Option<usize> {
        self.waiting.iter().position(|waiting| Some(waiting.point.replica) == self.chosen)
    }

    fn is_hole(&self, from: Milliseconds, to: Milliseconds) -> bool {
        self.interval() != 0 && to.saturating_sub(from) > self.interval().saturating_add(self.interval() / 2)
    }

    /// More than an interval, and what scrapes are late.
    fn is_beyond(&self, from: Milliseconds, to: Milliseconds) -> bool {
        to.saturating_sub(from) > self.interval().saturating_add(self.interval() / 16)
    }

    /// The chosen replica's next one is overdue.
    fn has_missed(&self, last: Milliseconds) -> bool {
        let chosen = self.replicas.iter().find(|seen| Some(seen.replica) == self.chosen);
        let expected = last.saturating_add(chosen.map_or(0, |chosen| chosen.delay));
        self.interval() != 0 && self.is_hole(expected, self.last_received)
    }

    /// Another replica still sends, and has not come to `at` yet.
    fn others_may_fill(&self, at: Milliseconds) -> bool {
        self.others().any(|seen| seen.at < at && self.goes_on(seen))
    }

    /// Another replica still sends, and has not lost its target.
    fn others_may_go_on(&self) -> bool {
        self.others().any(|seen| self.goes_on(seen))
    }

    /// Its last one was no marker, and came not long ago.
    fn goes_on(&self, seen: &Seen) -> bool {
        let next = seen.at.saturating_add(seen.delay).saturating_add(self.interval().saturating_mul(GOES_ON));
        seen.value != Value::Stale && next >= self.last_received
    }

    fn others(&self) -> impl Iterator<Item = &Seen> {
        self.replicas.iter().filter(|seen| Some(seen.replica) != self.chosen)
    }

    fn learn_interval(&mut self, passed: Milliseconds) {
        self.passed.rotate_left(1);
        if let Some(last) = self.passed.last_mut() {
            *last = u32::try_from(passed).unwrap_or(u32::MAX);
        }
    }

    /// The middle one of those known, so that neither a hole at each replica nor a repeated scrape is taken for it. 0: not known.
    fn interval(&self) -> Milliseconds {
        let mut passed = self.passed;
        passed.sort_unstable();
        let unknown = passed.partition_point(|passed| *passed == 0);
        passed.get(unknown + (PASSED - unknown).saturating_sub(1) / 2).copied().unwrap_or(0).into()
    }

    fn forget_one(&mut self) {
        let oldest = self.replicas.iter().enumerate().min_by_key(|(_, seen)| seen.at).map(|(place, _)| place);
        if let Some(place) = oldest {
            self.replicas.swap_remove(place);
        }
    }
}

fn is_below(value: Value, before: Value) -> bool {
    matches!((value, before), (Value::Rising(value), Value::Rising(before)) if value < before)
}

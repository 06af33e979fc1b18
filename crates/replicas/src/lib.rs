//! Replicas: several Prometheus servers that scrape the same targets, so that one may be gone. Each of their series must leave
//! once. Pure: data points in, in the order of the log; out comes which to keep, and when that is known. No clock, no bytes.
//!
//! A series is taken from one replica, the **chosen** one, as long as that has a sample for each interval. What the others have
//! waits for the chosen one's next sample, which covers it, and is left out then. When the chosen one misses a sample, what
//! waits is there to fill the hole, and the series stays with the replica that filled it: choosing back would be another seam
//! between two clocks.
//!
//! | | rule |
//! | --- | --- |
//! | interval | learned for each series from what its replicas send |
//! | hole | more than one and a half intervals without a sample of the chosen replica |
//! | missed | the chosen one is known to have none: its own next one lies beyond the hole, or is overdue by what its data points take to the log, or nothing came for [`Limits::patience_ms`] |
//! | beyond a hole | the chosen one's sample waits for the others, if they still send and are behind it, as long as patience lasts |
//! | a staleness marker | waits as well: a target that only the chosen one has lost goes on at the other |
//! | a counter at a seam | what lies below the last value and did not fall at its own replica either is the other clock's, and left out: no false reset |
//!
//! A series' samples leave in rising order of their timestamps. What comes twice, late or out of order is left out.
//! Several replicas are one sender's; an election per sender instead of per series would keep what one replica fails to scrape.

mod series;

use std::collections::VecDeque;
use std::collections::hash_map::{Entry, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

use series::Series;

/// Milliseconds since 1970: of samples, and of the time at which the log received them.
pub type Milliseconds = i64;

/// How long is waited and remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long a data point may wait for what other replicas have, from its receipt on. Longer than a sender collects before it
    /// sends, shorter than one wants to be without data: Mimir's and Cortex' timeout for the same is 30 s.
    pub patience_ms: Milliseconds,
    /// After how long without data a series is forgotten: it begins anew with whichever replica comes first.
    pub memory_ms: Milliseconds,
}

impl Default for Limits {
    fn default() -> Self {
        Self { patience_ms: 30_000, memory_ms: 600_000 }
    }
}

/// What a data point is worth to the choice.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// Of a counter, or the count of a histogram: it only falls when it begins anew.
    Rising(f64),
    /// May be anything.
    Any,
    /// The series ends here.
    Stale,
}

/// One data point of a series, as it stands in the log. `origin` is how the caller finds it again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DataPoint<O> {
    pub origin: O,
    /// Which of the sender's replicas it is from; any numbers.
    pub replica: u32,
    pub at: Milliseconds,
    pub value: Value,
    /// When the log received it.
    pub received: Milliseconds,
}

/// What became of a data point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It leaves now, after all that left before.
    Keep,
    /// Another replica's stands for it.
    LeaveOut,
}

/// The series of one sender's replicas. About 150 bytes each, as long as they are remembered.
#[derive(Debug)]
pub struct Selection<O> {
    limits: Limits,
    series: HashMap<u64, Series<O>, BuildHasherDefault<AsItIs>>,
    /// Series in which something waits, by when patience with it ends. One may be here several times.
    due: VecDeque<(Milliseconds, u64)>,
    /// When forgotten series were last looked for.
    swept: Milliseconds,
}

impl<O: Copy> Selection<O> {
    pub fn new(limits: Limits) -> Self {
        Self { limits, series: HashMap::default(), due: VecDeque::new(), swept: Milliseconds::MIN }
    }

    /// Takes the next data point in the log's order, of the series with this hash (64 bits; of its labels without the replica's,
    /// not to be guessed by senders). Tells what is known by it: of this one, of earlier ones, of nothing.
    pub fn take(&mut self, series: u64, point: DataPoint<O>, tell: &mut impl FnMut(O, Verdict)) {
        let received = point.received;
        let state = match self.series.entry(series) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Series::starting_with(&point)),
        };
        let waited = state.waits();
        state.take(point, tell);
        state.resolve(received.saturating_sub(self.limits.patience_ms), tell);
        if !waited && state.waits() {
            self.due.push_back((received.saturating_add(self.limits.patience_ms), series));
        }
    }

    /// Tells what nothing is waited for any longer, at `now` in the log's time, and forgets series that have ended. To be called
    /// every second or so, and with the log's end when it is read to there.
    pub fn pass(&mut self, now: Milliseconds, tell: &mut impl FnMut(O, Verdict)) {
        while let Some((_, series)) = self.due.pop_front_if(|(due, _)| *due <= now) {
            let Some(state) = self.series.get_mut(&series) else { continue };
            state.resolve(now.saturating_sub(self.limits.patience_ms), tell);
            if let Some(received) = state.oldest_waiting() {
                self.due.push_back((received.saturating_add(self.limits.patience_ms), series));
            }
        }
        if now.saturating_sub(self.swept) >= self.limits.memory_ms / 4 {
            self.swept = now;
            let oldest = now.saturating_sub(self.limits.memory_ms);
            self.series.retain(|_, state| state.waits() || state.last_received() >= oldest);
        }
    }

    /// When [`Self::pass`] has something to tell at the latest, if nothing else comes.
    pub fn next_due(&self) -> Option<Milliseconds> {
        self.due.front().map(|(due, _)| *due)
    }

    /// Remembers what left before a restart, in order: a series goes on behind it. The replica is not known any more; the one
    /// that comes next will be chosen.
    pub fn recall(&mut self, series: u64, at: Milliseconds, value: Value, received: Milliseconds) {
        match self.series.entry(series) {
            Entry::Occupied(mut entry) => entry.get_mut().recall(at, value, received),
            Entry::Vacant(entry) => {
                entry.insert(Series::recalled(at, value, received));
            }
        }
    }

    /// How many series are remembered.
    pub fn series(&self) -> usize {
        self.series.len()
    }
}

/// Hashes are hashes already.
#[derive(Debug, Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

//! Deltas made cumulative: the running total of each stream of a tenant, in bounded memory.
//!
//! Exporters repeat what was not acknowledged, so a delta with the interval of the last one of its stream is not added again: it
//! gives the same total. Any other that ends no later than the last is refused; so each delta is in the totals once, whatever
//! becomes of the requests. Totals are in memory only: after a restart, or when a stream was idle for too long, counting begins
//! anew with the start of the next delta, which is a counter reset with a start timestamp that says so.

use std::collections::HashMap;

use xxhash_rust::xxh3::Xxh3;

use crate::labels::LabelSet;
use crate::message::{self, Side};
use crate::refused::Cause;

/// Bounds of what is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Memory of all totals, about.
    pub max_bytes: u64,
    /// After so many milliseconds without a delta a stream is forgotten.
    pub max_stale_ms: u64,
}

/// The totals of a tenant's streams.
#[derive(Debug, Default)]
pub struct Totals {
    streams: HashMap<u128, Stream>,
    bytes: u64,
    evicted: u64,
    swept_ms: u64,
}

/// What one stream came to.
#[derive(Clone, Debug)]
struct Stream {
    /// Nanoseconds since the epoch, as all times of points: since when the total counts.
    start: u64,
    /// Of the last delta, its start and its end.
    last: (u64, u64),
    /// When it came, in the caller's milliseconds.
    seen_ms: u64,
    total: Total,
}

/// The value of a point, or the sum of several.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Total {
    Number(f64),
    Explicit { bounds: Vec<f64>, counts: Vec<u64>, count: u64, sum: Option<f64> },
    Exponential(Exponential),
}

/// An exponential histogram.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Exponential {
    /// 8 at most: no finer one is delivered.
    scale: i32,
    zero_threshold: f64,
    zero_count: u64,
    positive: Side,
    negative: Side,
    count: u64,
    sum: Option<f64>,
}

const FINEST: i32 = 8;
const COARSEST: i32 = -4;
/// Merged histograms become coarser rather than have more buckets on one side.
const MAX_SIDE: usize = 1024;

impl Totals {
    /// How many streams there are.
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// What they take in memory, about.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Forgets all streams: they are not added up any more.
    pub fn clear(&mut self) {
        (self.streams, self.bytes) = (HashMap::new(), 0);
    }

    /// How many streams were forgotten because they were idle.
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Begins to add the deltas of a request that came at `now_ms`, of a clock that does not go back. They count when it is
    /// [kept](Session::keep).
    pub fn session(&mut self, settings: Settings, now_ms: u64) -> Session<'_> {
        if now_ms.saturating_sub(self.swept_ms) > settings.max_stale_ms / 4 {
            self.sweep(settings, now_ms);
        }
        Session { totals: self, added: HashMap::new(), growth: 0, settings, now_ms }
    }

    fn sweep(&mut self, settings: Settings, now_ms: u64) {
        let (before, mut freed) = (self.streams.len(), 0);
        self.streams.retain(|_, stream| {
            let stays = now_ms.saturating_sub(stream.seen_ms) <= settings.max_stale_ms;
            freed += if stays { 0 } else { stream.bytes() };
            stays
        });
        self.evicted += (before - self.streams.len()) as u64;
        self.bytes -= freed;
        self.swept_ms = now_ms;
    }
}

/// The deltas of one request.
#[derive(Debug)]
pub struct Session<'t> {
    totals: &'t mut Totals,
    added: HashMap<u128, Stream>,
    /// In bytes, beside what the totals hold.
    growth: u64,
    settings: Settings,
    now_ms: u64,
}

impl Session<'_> {
    /// Adds a delta over an interval, its start and end; gives the total and its start.
    pub(crate) fn add(
        &mut self,
        name: &str,
        labels: &LabelSet<'_>,
        interval: (u64, u64),
        increment: Total,
    ) -> Result<(Total, u64), Cause> {
        if !increment.is_finite() {
            return Err(Cause::DeltaNumber);
        }
        let key = key(name, labels, &increment);
        let known = self.added.get(&key).or_else(|| self.totals.streams.get(&key));
        let before = known.map_or(0, Stream::bytes);
        let stream = match known {
            Some(stream) if stream.last == interval => return Ok((stream.total.clone(), stream.start)),
            Some(stream) if interval.1 <= stream.last.1 => return Err(Cause::OutOfOrder),
            Some(stream) => stream.and(interval, increment, self.now_ms),
            None => Stream { start: interval.0, last: interval, seen_ms: self.now_ms, total: increment },
        };
        let growth = stream.bytes().saturating_sub(before);
        if growth > 0 && self.totals.bytes + self.growth + growth > self.settings.max_bytes {
            return Err(Cause::NoRoom);
        }
        self.growth += growth;
        let result = (stream.total.clone(), stream.start);
        self.added.insert(key, stream);
        Ok(result)
    }

    /// Makes what was added count.
    pub fn keep(self) {
        for (key, stream) in self.added {
            self.totals.bytes += stream.bytes();
            if let Some(before) = self.totals.streams.insert(key, stream) {
                self.totals.bytes -= before.bytes();
            }
        }
    }
}

/// What tells streams apart. A 128-bit hash: the tenant's own streams are all it could confuse.
fn key(name: &str, labels: &LabelSet<'_>, total: &Total) -> u128 {
    let mut hasher = Xxh3::new();
    let mut put = |text: &str| {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    };
    put(match total {
        Total::Number(_) => "number",
        Total::Explicit { .. } => "explicit",
        Total::Exponential(_) => "exponential",
    });
    put(name);
    for (name, value) in labels.iter() {
        put(name);
        put(value);
    }
    hasher.digest128()
}

impl Stream {
    /// The stream after one more delta. What cannot be added to the total takes its place: counting begins anew.
    fn and(&self, interval: (u64, u64), increment: Total, seen_ms: u64) -> Self {
        match self.total.plus(&increment) {
            Some(total) => Self { start: self.start, last: interval, seen_ms, total },
            None => Self { start: interval.0, last: interval, seen_ms, total: increment },
        }
    }

    /// What it takes in memory, about: itself with its place in the map, and its buckets.
    fn bytes(&self) -> u64 {
        let numbers = match &self.total {
            Total::Number(_) => 0,
            Total::Explicit { bounds, counts, .. } => bounds.len() + counts.len(),
            Total::Exponential(total) => total.positive.counts.len() + total.negative.counts.len(),
        };
        (2 * size_of::<(u128, Self)>() + 8 * numbers) as u64
    }
}

impl Total {
    /// Whether every number in it is one that can be added to.
    fn is_finite(&self) -> bool {
        match self {
            Self::Number(number) => number.is_finite(),
            Self::Explicit { sum, .. } | Self::Exponential(Exponential { sum, .. }) => sum.is_none_or(f64::is_finite),
        }
    }

    /// The sum, or `None` where bounds or thresholds differ, or it has no room in 64 bits.
    fn plus(&self, other: &Self) -> Option<Self> {
        self.added(other).filter(Self::is_finite)
    }

    fn added(&self, other: &Self) -> Option<Self> {
        let sums = |one: &Option<f64>, other: &Option<f64>| one.zip(*other).map(|(one, other)| one + other);
        match (self, other) {
            (Self::Number(one), Self::Number(other)) => Some(Self::Number(one + other)),
            (
                Self::Explicit { bounds, counts, count, sum },
                Self::Explicit { bounds: other_bounds, counts: other_counts, count: other_count, sum: other_sum },
            ) if bounds == other_bounds && counts.len() == other_counts.len() => Some(Self::Explicit {
                bounds: bounds.clone(),
                counts: counts
                    .iter()
                    .zip(other_counts)
                    .map(|(one, other)| one.checked_add(*other))
                    .collect::<Option<_>>()?,
                count: count.checked_add(*other_count)?,
                sum: sums(sum, other_sum),
            }),
            (Self::Exponential(one), Self::Exponential(other)) if one.zero_threshold == other.zero_threshold => {
                let (scale, [positive, negative]) = one.sides_plus(other)?;
                Some(Self::Exponential(Exponential {
                    scale,
                    zero_threshold: one.zero_threshold,
                    zero_count: one.zero_count.checked_add(other.zero_count)?,
                    positive,
                    negative,
                    count: one.count.checked_add(other.count)?,
                    sum: sums(&one.sum, &other.sum),
                }))
            }
            _ => None,
        }
    }
}

impl Exponential {
    /// Takes the buckets out of a point.
    pub(crate) fn of(point: &mut message::Exponential<'_>) -> Self {
        let scale = point.scale.min(FINEST);
        let shift = point.scale.abs_diff(scale);
        Self {
            scale,
            zero_threshold: point.zero_threshold,
            zero_count: point.zero_count,
            positive: coarser(&point.positive, shift),
            negative: coarser(&point.negative, shift),
            count: point.count,
            sum: point.sum,
        }
    }

    /// Puts the total in the place of what a point had.
    pub(crate) fn put_into(self, point: &mut message::Exponential<'_>) {
        point.scale = self.scale;
        point.zero_threshold = self.zero_threshold;
        point.zero_count = self.zero_count;
        point.positive = self.positive;
        point.negative = self.negative;
        point.count = self.count;
        point.sum = self.sum;
    }

    /// Both sides of both, at the finest scale at which they are small enough.
    fn sides_plus(&self, other: &Self) -> Option<(i32, [Side; 2])> {
        let finest = self.scale.min(other.scale);
        (COARSEST..=finest).rev().find_map(|scale| {
            let at = |total: &Self, side: &Side| coarser(side, total.scale.abs_diff(scale));
            let positive = side_plus(&at(self, &self.positive), &at(other, &other.positive))?;
            let negative = side_plus(&at(self, &self.negative), &at(other, &other.negative))?;
            Some((scale, [positive, negative]))
        })
    }
}

/// Each `2^shift` buckets made one, without empty ones at the ends.
fn coarser(side: &Side, shift: u32) -> Side {
    let shift = shift.min(62);
    let mut coarse = Side::default();
    for (count, index) in side.counts.iter().zip(i64::from(side.offset)..).filter(|(count, _)| **count > 0) {
        let index = index >> shift;
        if coarse.counts.is_empty() {
            // The first index of a side is one of 32 bits, and so is what it is shifted to; what is beyond stays the last.
            coarse.offset = i32::try_from(index).unwrap_or(i32::MAX);
        }
        let place = usize::try_from(index - i64::from(coarse.offset)).unwrap_or_default();
        if coarse.counts.len() <= place {
            coarse.counts.resize(place + 1, 0);
        }
        if let Some(sum) = coarse.counts.get_mut(place) {
            *sum = sum.saturating_add(*count);
        }
    }
    coarse
}

/// Both as one, unless that has too many buckets or too large counts.
fn side_plus(one: &Side, other: &Side) -> Option<Side> {
    if one.counts.is_empty() || other.counts.is_empty() {
        return Some(if one.counts.is_empty() { other.clone() } else { one.clone() });
    }
    let end = |side: &Side| i64::from(side.offset) + i64::try_from(side.counts.len()).unwrap_or(i64::MAX);
    let offset = one.offset.min(other.offset);
    let length = usize::try_from(end(one).max(end(other)) - i64::from(offset)).ok()?;
    if length > MAX_SIDE.max(one.counts.len()).max(other.counts.len()) {
        return None;
    }
    let mut counts = vec![0_u64; length];
    for side in [one, other] {
        let first = usize::try_from(i64::from(side.offset) - i64::from(offset)).ok()?;
        for (sum, count) in counts.iter_mut().skip(first).zip(&side.counts) {
            *sum = sum.checked_add(*count)?;
        }
    }
    Some(Side { offset, counts })
}

//! What arrived, point by point: a receiver's books, exact enough to prove that nothing is missing or out of order.
//!
//! Compact (24 bytes a point), not bounded: a load of many millions of points belongs to a receiver that only counts.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;

use remote_write::Counts;
use remote_write::model::{Count, Exemplar, Histogram, Label, Request, Series};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// The kinds of data points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A float sample.
    Sample,
    /// A native histogram.
    Histogram,
    /// An exemplar.
    Exemplar,
}

impl Kind {
    /// Counts one point of this kind.
    pub(crate) fn count_in(self, counts: &mut Counts) {
        match self {
            Self::Sample => counts.samples += 1,
            Self::Histogram => counts.histograms += 1,
            Self::Exemplar => counts.exemplars += 1,
        }
    }
}

/// One data point of one series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Point {
    /// [`series_hash`] of the labels.
    pub series: u64,
    /// What it is.
    pub kind: Kind,
    /// Milliseconds since the epoch.
    pub timestamp: i64,
    /// A sample's value bit for bit; of the others a hash over everything but the timestamp.
    pub bits: u64,
}

/// Received points, per series in the order of their arrival. A clone is a snapshot.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    books: HashMap<u64, Book>,
    counts: Counts,
    duplicates: u64,
    stale_repeats: u64,
    conflicts: Vec<Point>,
    out_of_order: Vec<Point>,
}

#[derive(Clone, Debug, Default)]
struct Book {
    entries: Vec<Entry>,
    /// Per kind, in the order of [`Kind`].
    newest: [Option<i64>; 3],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    timestamp: i64,
    bits: u64,
    kind: Kind,
}

impl Entry {
    fn of(self, series: u64) -> Point {
        Point { series, kind: self.kind, timestamp: self.timestamp, bits: self.bits }
    }
}

/// What of two ledgers only one has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Points of the ledger that was asked, by series and time.
    pub only_here: Vec<Point>,
    /// Points of the ledger that it was compared with, by series and time.
    pub only_there: Vec<Point>,
}

impl Difference {
    /// Whether both have the same points.
    pub fn is_empty(&self) -> bool {
        self.only_here.is_empty() && self.only_there.is_empty()
    }
}

impl fmt::Display for Difference {
    /// How many, and one example of each.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [here, there] = [&self.only_here, &self.only_there].map(|points| (points.len(), points.first()));
        write!(formatter, "{} points only here (for example {:?}), ", here.0, here.1)?;
        write!(formatter, "{} only there (for example {:?})", there.0, there.1)
    }
}

impl Ledger {
    /// Books every point of a request, in its order.
    pub fn record(&mut self, request: &Request<'_>) {
        for_each_point(request, |point| self.note(point));
    }

    /// Books one point.
    pub fn note(&mut self, point: Point) {
        point.kind.count_in(&mut self.counts);
        let book = self.books.entry(point.series).or_default();
        let entry = Entry { timestamp: point.timestamp, bits: point.bits, kind: point.kind };
        let newest = &mut book.newest[point.kind as usize];
        match *newest {
            Some(newest) if point.timestamp <= newest => {
                if book.entries.iter().rev().any(|known| *known == entry) {
                    self.duplicates += 1;
                    self.stale_repeats += u64::from(point.timestamp < newest);
                    return;
                }
                if point.timestamp < newest {
                    self.out_of_order.push(point);
                } else {
                    self.conflicts.push(point);
                }
            }
            _ => *newest = Some(point.timestamp),
        }
        book.entries.push(entry);
    }

    /// Everything that arrived, repeats included.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// How many different series.
    pub fn series(&self) -> usize {
        self.books.len()
    }

    /// The expected points that never arrived, in the order in which they are asked for.
    pub fn missing(&self, expected: impl IntoIterator<Item = Point>) -> Vec<Point> {
        let mut arrived: HashMap<u64, HashSet<(Kind, i64, u64)>> = HashMap::new();
        let mut is_missing = |point: &Point| {
            let Some(book) = self.books.get(&point.series) else { return true };
            let points = arrived.entry(point.series).or_insert_with(|| {
                book.entries.iter().map(|entry| (entry.kind, entry.timestamp, entry.bits)).collect()
            });
            !points.contains(&(point.kind, point.timestamp, point.bits))
        };
        expected.into_iter().filter(|point| is_missing(point)).collect()
    }

    /// How many points arrived again, exactly as before.
    pub fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// The duplicates that were older than their series' newest point: a Prometheus without an out-of-order window
    /// answers 400 to those.
    pub fn stale_repeats(&self) -> u64 {
        self.stale_repeats
    }

    /// Points that arrived for the first time after a newer one of their series and kind.
    pub fn out_of_order(&self) -> &[Point] {
        &self.out_of_order
    }

    /// Points of a timestamp that their series' newest point already had, with other contents.
    pub fn conflicts(&self) -> &[Point] {
        &self.conflicts
    }

    /// A series' points in the order of their arrival, exact repeats left out.
    pub fn points(&self, series: u64) -> impl Iterator<Item = Point> {
        self.entries(series).iter().map(move |entry| entry.of(series))
    }

    /// What this ledger has and the other has not, and the reverse. How often and in which order points came does not
    /// matter: two receivers are equal when this is empty.
    pub fn difference(&self, other: &Self) -> Difference {
        let mut difference = Difference::default();
        let series: BTreeSet<u64> = self.books.keys().chain(other.books.keys()).copied().collect();
        for series in series {
            let [here, there]: [BTreeSet<_>; 2] =
                [self, other].map(|ledger| ledger.entries(series).iter().copied().collect());
            difference.only_here.extend(here.difference(&there).map(|entry| entry.of(series)));
            difference.only_there.extend(there.difference(&here).map(|entry| entry.of(series)));
        }
        difference
    }

    fn entries(&self, series: u64) -> &[Entry] {
        self.books.get(&series).map(|book| book.entries.as_slice()).unwrap_or_default()
    }
}

/// Calls `note` with every point of a request, in its order.
pub fn for_each_point(request: &Request<'_>, mut note: impl FnMut(Point)) {
    for series in &request.series {
        for_each_point_of(series, &mut note);
    }
}

/// Calls `note` with every point of a series: samples, histograms, exemplars, each in their order.
pub fn for_each_point_of(series: &Series<'_>, mut note: impl FnMut(Point)) {
    let hash = series_hash(series.labels.iter().copied());
    let mut point = |kind, timestamp, bits| note(Point { series: hash, kind, timestamp, bits });
    for sample in &series.samples {
        point(Kind::Sample, sample.timestamp, sample.value.to_bits());
    }
    for histogram in &series.histograms {
        point(Kind::Histogram, histogram.timestamp, histogram_bits(histogram));
    }
    for exemplar in &series.exemplars {
        point(Kind::Exemplar, exemplar.timestamp, exemplar_bits(exemplar));
    }
}

/// A hash of the label set, the same in whatever order the labels come.
pub fn series_hash<'a>(labels: impl Iterator<Item = Label<'a>>) -> u64 {
    // Per-label hashes added up need neither sorting nor a buffer; one set's labels all have different names.
    let mut sum = 0_u64;
    let mut hasher = Xxh3::new();
    for label in labels {
        hasher.reset();
        hasher.update(label.name);
        hasher.update(&[0xff]);
        hasher.update(label.value);
        sum = sum.wrapping_add(hasher.digest());
    }
    sum
}

/// A hash over everything a histogram says, by bits, except when.
pub fn histogram_bits(histogram: &Histogram) -> u64 {
    let mut bytes = Vec::with_capacity(256);
    put_count(&mut bytes, histogram.count);
    put_count(&mut bytes, histogram.zero_count);
    put(&mut bytes, [histogram.sum.to_bits(), histogram.zero_threshold.to_bits()]);
    put(&mut bytes, [i64::from(histogram.schema).cast_unsigned(), i64::from(histogram.reset_hint).cast_unsigned()]);
    for spans in [&histogram.negative_spans, &histogram.positive_spans] {
        put(&mut bytes, spans.iter().map(|span| u64::from(span.offset.cast_unsigned()) << 32 | u64::from(span.length)));
        put(&mut bytes, [spans.len() as u64]);
    }
    for deltas in [&histogram.negative_deltas, &histogram.positive_deltas] {
        put(&mut bytes, deltas.iter().map(|delta| delta.cast_unsigned()));
        put(&mut bytes, [deltas.len() as u64]);
    }
    for counts in [&histogram.negative_counts, &histogram.positive_counts, &histogram.custom_values] {
        put(&mut bytes, counts.iter().map(|count| count.to_bits()));
        put(&mut bytes, [counts.len() as u64]);
    }
    xxh3_64(&bytes)
}

/// A hash over an exemplar's labels and value.
pub fn exemplar_bits(exemplar: &Exemplar<'_>) -> u64 {
    series_hash(exemplar.labels.iter().copied()) ^ exemplar.value.to_bits()
}

fn put(bytes: &mut Vec<u8>, values: impl IntoIterator<Item = u64>) {
    for value in values {
        bytes.extend_from_slice(&value.to_le_bytes());
    }
}

fn put_count(bytes: &mut Vec<u8>, count: Option<Count>) {
    match count {
        // An absent count and an integer 0 mean the same, and encoders are free to choose.
        None => put(bytes, [0, 0]),
        Some(Count::Int(count)) => put(bytes, [0, count]),
        Some(Count::Float(count)) => put(bytes, [1, count.to_bits()]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(series: u64, timestamp: i64, value: f64) -> Point {
        Point { series, kind: Kind::Sample, timestamp, bits: value.to_bits() }
    }

    fn ledger(points: &[Point]) -> Ledger {
        let mut ledger = Ledger::default();
        for point in points {
            ledger.note(*point);
        }
        ledger
    }

    #[test]
    fn what_did_not_arrive_bit_for_bit_is_missing() {
        let ledger = ledger(&[sample(1, 10, 1.0), sample(1, 20, 2.0), sample(2, 10, -0.0)]);
        let expected = [sample(1, 10, 1.0), sample(1, 20, 2.5), sample(2, 10, 0.0), sample(3, 10, 1.0)];
        assert_eq!(ledger.missing(expected), [sample(1, 20, 2.5), sample(2, 10, 0.0), sample(3, 10, 1.0)]);
    }

    #[test]
    fn a_repeat_is_a_duplicate_and_not_out_of_order() {
        let ledger = ledger(&[sample(1, 10, 1.0), sample(1, 20, 2.0), sample(1, 20, 2.0), sample(1, 10, 1.0)]);
        assert_eq!((ledger.duplicates(), ledger.stale_repeats()), (2, 1));
        assert_eq!(ledger.out_of_order(), []);
        assert_eq!(ledger.counts().samples, 4);
        assert_eq!(ledger.points(1).count(), 2);
    }

    #[test]
    fn a_first_arrival_behind_a_newer_point_of_its_series_is_out_of_order() {
        let ledger = ledger(&[sample(1, 20, 2.0), sample(2, 10, 1.0), sample(1, 10, 1.0)]);
        assert_eq!(ledger.out_of_order(), [sample(1, 10, 1.0)]);
        assert_eq!(ledger.missing([sample(1, 10, 1.0)]), []);
    }

    #[test]
    fn another_value_at_the_newest_timestamp_is_a_conflict() {
        let ledger = ledger(&[sample(1, 20, 2.0), sample(1, 20, 3.0)]);
        assert_eq!(ledger.conflicts(), [sample(1, 20, 3.0)]);
        assert_eq!(ledger.duplicates(), 0);
    }

    #[test]
    fn ledgers_differ_by_their_points_whatever_the_order_and_the_repeats() {
        let mut here = ledger(&[sample(1, 20, 2.0), sample(1, 10, 1.0), sample(2, 10, 1.0)]);
        let there = ledger(&[sample(1, 10, 1.0), sample(1, 20, 2.5), sample(3, 10, 1.0), sample(3, 10, 1.0)]);
        let difference = here.difference(&there);
        assert_eq!(difference.only_here, [sample(1, 20, 2.0), sample(2, 10, 1.0)]);
        assert_eq!(difference.only_there, [sample(1, 20, 2.5), sample(3, 10, 1.0)]);
        assert!(!difference.is_empty());
        assert!(difference.to_string().starts_with("2 points only here (for example Some(Point"), "{difference}");

        let mut replayed = there.clone();
        replayed.note(sample(1, 20, 2.0));
        replayed.note(sample(2, 10, 1.0));
        here.note(sample(3, 10, 1.0));
        here.note(sample(1, 20, 2.5));
        assert!(here.difference(&replayed).is_empty(), "{}", here.difference(&replayed));
        assert!(replayed.difference(&here).is_empty());
        assert!(!there.difference(&here).is_empty(), "the snapshot's original is as it was");
    }

    #[test]
    fn one_side_that_has_more_differs() {
        let (less, more) = (ledger(&[sample(1, 10, 1.0)]), ledger(&[sample(1, 10, 1.0), sample(1, 20, 1.0)]));
        assert_eq!(
            less.difference(&more),
            Difference { only_there: vec![sample(1, 20, 1.0)], ..Difference::default() }
        );
        assert_eq!(more.difference(&less), Difference { only_here: vec![sample(1, 20, 1.0)], ..Difference::default() });
    }

    #[test]
    fn the_series_hash_does_not_depend_on_the_order_of_labels() {
        let a = Label { name: b"a", value: b"1" };
        let b = Label { name: b"b", value: b"2" };
        let swapped = [Label { name: b"a", value: b"2" }, Label { name: b"b", value: b"1" }];
        assert_eq!(series_hash([a, b].into_iter()), series_hash([b, a].into_iter()));
        assert_ne!(series_hash([a, b].into_iter()), series_hash(swapped.into_iter()));
    }

    #[test]
    fn histograms_that_differ_in_one_bucket_differ() {
        let one = Histogram { positive_deltas: vec![1, 2], ..Histogram::default() };
        let other = Histogram { positive_deltas: vec![1], negative_deltas: vec![2], ..Histogram::default() };
        assert_ne!(histogram_bits(&one), histogram_bits(&other));
        let later = Histogram { timestamp: 5, ..one.clone() };
        assert_eq!(histogram_bits(&one), histogram_bits(&later));
    }
}

//! Data points as the simulation tells them apart: by series, kind and timestamp. Millions are kept and compared, so a series
//! is looked up once for all its points that come together.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use remote_write::model::{Count, Series};

/// The kinds of data points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Sample,
    Histogram,
    Exemplar,
}

/// What a point belongs to, as far as tests tell series apart: the labels `id` and `volatile`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) id: Id,
    /// `None` where a rule has dropped the label.
    pub(super) volatile: Option<u8>,
    pub(super) kind: Kind,
}

impl Key {
    /// In the order of the fields, as one number: compared far more often than made.
    fn rank(&self) -> u128 {
        let Id { sender, generation, number } = self.id;
        let volatile = self.volatile.map_or(0, |volatile| u128::from(volatile) + 1);
        u128::from(sender) << 96
            | u128::from(generation) << 64
            | u128::from(number) << 32
            | volatile << 8
            | self.kind as u128
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

/// A sender's series, in the label `id` as `3-0-17`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Id {
    pub(super) sender: u32,
    /// Another one for each request of a sender whose series churn.
    pub(super) generation: u32,
    pub(super) number: u32,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.sender, self.generation, self.number)
    }
}

impl Id {
    /// Of something that no sender sent.
    const UNKNOWN: Self = Self { sender: u32::MAX, generation: 0, number: 0 };

    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split('-').map(|number| number.parse().ok());
        Some(Self { sender: numbers.next()??, generation: numbers.next()??, number: numbers.next()?? })
    }
}

/// A point of a series: its timestamp and the bits of its value.
pub(super) type Point = (i64, u64);

/// The value of a label, if the series has it.
pub(super) fn label<'a>(series: &Series<'a>, name: &[u8]) -> Option<&'a [u8]> {
    series.labels.iter().find(|label| label.name == name).map(|label| label.value)
}

/// Gives the points of a series, those of each kind together, as they are on the wire.
pub(super) fn for_each_run(series: &Series<'_>, mut give: impl FnMut(Key, &mut dyn Iterator<Item = Point>)) {
    let text = |name| label(series, name).and_then(|value| std::str::from_utf8(value).ok());
    let id = text(b"id").and_then(Id::parse).unwrap_or(Id::UNKNOWN);
    let volatile = text(b"volatile").and_then(|number| number.parse().ok());
    let key = |kind| Key { id, volatile, kind };
    if !series.samples.is_empty() {
        give(key(Kind::Sample), &mut series.samples.iter().map(|it| (it.timestamp, it.value.to_bits())));
    }
    if !series.histograms.is_empty() {
        let points = series.histograms.iter().map(|it| {
            let count = match it.count {
                Some(Count::Int(count)) => count,
                Some(Count::Float(count)) => count.to_bits(),
                None => 0,
            };
            (it.timestamp, count)
        });
        give(key(Kind::Histogram), &mut { points });
    }
    if !series.exemplars.is_empty() {
        give(key(Kind::Exemplar), &mut series.exemplars.iter().map(|it| (it.timestamp, it.value.to_bits())));
    }
}

/// What a point is to those of its series that came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    InOrder,
    /// After one with a later timestamp.
    Late,
    /// One with this timestamp was there, with these bits.
    Again {
        before: u64,
    },
}

/// The points of one series and kind, by timestamp. Most come in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Run(Vec<Point>);

impl Run {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn points(&self) -> &[Point] {
        &self.0
    }

    /// Whether there is one at `at` or none after: it would not come after a later one.
    pub(super) fn is_in_order(&self, at: i64) -> bool {
        self.0.last().is_none_or(|(last, _)| *last <= at) || self.get(at).is_some()
    }

    pub(super) fn get(&self, at: i64) -> Option<u64> {
        let index = self.0.binary_search_by_key(&at, |(at, _)| *at).ok()?;
        Some(self.0[index].1)
    }

    fn insert(&mut self, (at, bits): Point) -> Arrival {
        if self.0.last().is_none_or(|(last, _)| *last < at) {
            self.0.push((at, bits));
            return Arrival::InOrder;
        }
        match self.0.binary_search_by_key(&at, |(at, _)| *at) {
            Ok(index) => Arrival::Again { before: std::mem::replace(&mut self.0[index].1, bits) },
            Err(index) => {
                self.0.insert(index, (at, bits));
                Arrival::Late
            }
        }
    }

    pub(super) fn extend(&mut self, others: &Self) {
        for point in &others.0 {
            self.insert(*point);
        }
    }

    /// Those of its points whose timestamp `others` does not have, or has with other bits.
    pub(super) fn without<'r>(&'r self, others: Option<&'r Self>) -> impl Iterator<Item = Point> + 'r {
        let mut rest = others.map_or(&[][..], Self::points);
        self.0.iter().copied().filter(move |point| {
            rest = &rest[rest.iter().take_while(|other| other.0 < point.0).count()..];
            rest.first() != Some(point)
        })
    }
}

/// The points of each series.
#[derive(Clone, Debug, Default)]
pub(super) struct Points {
    runs: BTreeMap<Key, Run>,
    count: usize,
}

impl Points {
    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn runs(&self) -> impl Iterator<Item = (&Key, &Run)> {
        self.runs.iter()
    }

    pub(super) fn get(&self, key: &Key) -> Option<&Run> {
        self.runs.get(key)
    }

    /// Adds points of one series, and says of each what it is to those that are there.
    pub(super) fn add(&mut self, key: Key, points: &[Point], mut told: impl FnMut(Point, Arrival)) {
        let run = self.runs.entry(key).or_default();
        for point in points {
            let arrival = run.insert(*point);
            self.count += usize::from(!matches!(arrival, Arrival::Again { .. }));
            told(*point, arrival);
        }
    }

    pub(super) fn extend(&mut self, key: Key, points: &[Point]) {
        self.add(key, points, |_, _| {});
    }
}

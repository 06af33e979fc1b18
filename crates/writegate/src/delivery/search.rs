//! The search for what an endpoint refuses in a batch: which pieces to send next, in order, given what became of those
//! before. Pure: counts pieces, sends nothing.
//!
//! One refused series among n costs at most 2·⌈log2 n⌉ more requests: two halves at each level.

use std::ops::Range;

/// What is left of a batch to be sent, as runs of its pieces (one for each series of each record).
#[derive(Clone, Debug)]
pub(super) struct Search {
    /// The first piece of each record.
    records: Vec<usize>,
    /// The next run is the last one.
    runs: Vec<Run>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Run {
    pieces: Range<usize>,
    part: Part,
}

/// How a run came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Planned,
    First,
    Second { first_was_taken: bool },
}

impl Search {
    /// Everything in runs, in order: one, unless a batch is more than one request may carry. `records` has the first piece
    /// of each record, rising.
    pub(super) fn new(records: Vec<usize>, runs: Vec<Range<usize>>) -> Self {
        let runs = runs.into_iter().rev().filter(|pieces| !pieces.is_empty());
        let runs = runs.map(|pieces| Run { pieces, part: Part::Planned }).collect();
        Self { records, runs }
    }

    /// Which record a piece is of.
    pub(super) fn record_of(&self, piece: usize) -> usize {
        self.records.partition_point(|start| *start <= piece).saturating_sub(1)
    }

    /// The first piece of a record.
    pub(super) fn start_of(&self, record: usize) -> Option<usize> {
        self.records.get(record).copied()
    }

    /// What to send next; `None` when all is dealt with.
    pub(super) fn next(&self) -> Option<Range<usize>> {
        self.runs.last().map(|run| run.pieces.clone())
    }

    /// Whether just this is left, in one run.
    pub(super) fn is_one_run(&self, pieces: Range<usize>) -> bool {
        matches!(self.runs.as_slice(), [only] if only.pieces == pieces)
    }

    /// Everything before this piece is dealt with.
    pub(super) fn done_until(&self) -> usize {
        self.runs.iter().map(|run| run.pieces.start).min().unwrap_or(usize::MAX)
    }

    /// The run was taken. True if it is the second half of what was refused, and the first was taken as well: then nothing
    /// in it was wrong, it was only too large.
    pub(super) fn taken(&mut self) -> bool {
        match self.runs.pop().map(|run| run.part) {
            Some(Part::Second { first_was_taken }) => return first_was_taken,
            Some(Part::First) => {
                if let Some(Run { part, .. }) = self.runs.last_mut() {
                    *part = Part::Second { first_was_taken: true };
                }
            }
            Some(Part::Planned) | None => {}
        }
        false
    }

    /// Replaces the run by its halves. False if it is a single piece.
    pub(super) fn halve(&mut self) -> bool {
        let Some(pieces) = self.next().filter(|pieces| pieces.len() > 1) else { return false };
        self.cut(pieces.start + pieces.len() / 2);
        true
    }

    /// Replaces the run by two of whole records. False if it is of one record.
    pub(super) fn halve_records(&mut self) -> bool {
        let Some(pieces) = self.next() else { return false };
        let inside = |start: &&usize| pieces.start < **start && **start < pieces.end;
        let middle = pieces.start + pieces.len() / 2;
        let Some(&at) = self.records.iter().filter(inside).min_by_key(|start| start.abs_diff(middle)) else {
            return false;
        };
        self.cut(at);
        true
    }

    /// Replaces the run by its halves though nobody refused it: it is more than one request may carry. Not of a single piece.
    pub(super) fn divide(&mut self) {
        if self.halve() {
            for half in self.runs.iter_mut().rev().take(2) {
                half.part = Part::Planned;
            }
        }
    }

    fn cut(&mut self, at: usize) {
        let Some(Run { pieces, .. }) = self.runs.pop() else { return };
        self.runs.push(Run { pieces: at..pieces.end, part: Part::Second { first_was_taken: false } });
        self.runs.push(Run { pieces: pieces.start..at, part: Part::First });
    }

    /// The run is dealt with in another way than by being taken.
    pub(super) fn leave(&mut self) {
        self.runs.pop();
    }

    /// Adds a run, to be sent next.
    pub(super) fn push(&mut self, pieces: Range<usize>) {
        self.runs.push(Run { pieces, part: Part::Planned });
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{ProptestConfig, prop_assert, prop_assert_eq, proptest};

    use super::*;

    /// A search that begins with everything in one run.
    fn whole(records: Vec<usize>, pieces: usize) -> Search {
        Search::new(records, std::iter::once(0..pieces).collect())
    }

    /// Sends everything to an endpoint that refuses some pieces. Gives the refused runs, and how many requests it took.
    fn run(mut search: Search, is_bad: impl Fn(usize) -> bool) -> (Vec<Range<usize>>, usize, Vec<usize>) {
        let (mut refused, mut requests, mut taken) = (Vec::new(), 0, Vec::new());
        while let Some(pieces) = search.next() {
            requests += 1;
            if pieces.clone().any(&is_bad) {
                if !search.halve() {
                    search.leave();
                    refused.push(pieces);
                }
            } else {
                search.taken();
                taken.extend(pieces);
            }
        }
        (refused, requests, taken)
    }

    #[test]
    fn one_bad_series_among_n_costs_two_requests_for_each_halving() {
        for n in [1_usize, 2, 3, 7, 100, 1_000, 10_000] {
            for bad in [0, n / 3, n / 2, n - 1] {
                let (refused, requests, taken) = run(whole(vec![0], n), |piece| piece == bad);
                assert_eq!((refused.len(), refused.first()), (1, Some(&(bad..bad + 1))));
                assert_eq!(taken.len(), n - 1);
                let levels = n.next_power_of_two().trailing_zeros() as usize;
                assert!(requests <= 1 + 2 * levels, "{requests} requests for one of {n}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn exactly_the_bad_ones_are_refused_and_the_rest_is_taken_in_order(bad in vec(proptest::bool::ANY, 1..80)) {
            let (refused, _, taken) = run(whole(vec![0], bad.len()), |piece| bad[piece]);
            let expected: Vec<_> = (0..bad.len()).filter(|piece| bad[*piece]).map(|piece| piece..piece + 1).collect();
            prop_assert_eq!(refused, expected);
            prop_assert!(taken.is_sorted());
            prop_assert_eq!(taken.len(), bad.iter().filter(|bad| !**bad).count());
        }
    }

    #[test]
    fn what_is_refused_whole_and_taken_in_halves_was_too_large() {
        let mut search = whole(vec![0], 4);
        assert!(search.halve());
        assert_eq!(search.next(), Some(0..2));
        assert!(!search.taken());
        assert!(search.taken());
        assert_eq!((search.next(), search.done_until()), (None, usize::MAX));

        let mut search = whole(vec![0], 4);
        search.halve();
        search.halve();
        search.taken();
        search.leave();
        assert!(!search.taken(), "something in the first half was refused");
    }

    #[test]
    fn records_are_told_apart_without_looking_into_them() {
        let mut search = whole(vec![0, 10, 12, 13], 100);
        assert!(search.halve_records());
        assert_eq!(search.next(), Some(0..13));
        assert!(search.halve_records());
        assert_eq!(search.next(), Some(0..10));
        assert!(!search.halve_records());
        search.leave();
        assert_eq!((search.next(), search.done_until()), (Some(10..13), 10));
    }

    #[test]
    fn what_was_taken_out_and_put_back_counts_as_not_dealt_with() {
        let mut search = whole(vec![0], 8);
        search.leave();
        assert_eq!(search.done_until(), usize::MAX);
        search.push(4..8);
        search.push(0..1);
        assert_eq!((search.next(), search.done_until()), (Some(0..1), 0));
        assert!(!search.is_one_run(0..8));
        search.leave();
        assert_eq!(search.done_until(), 4);
    }
}

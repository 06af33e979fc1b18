//! A batch that an endpoint did not take as a whole: what of it to send next, and where each of its data points ended.
//! Sends nothing itself.

use std::collections::VecDeque;
use std::ops::Range;

use ::dead_letters::{Envelope, Letter};
use remote_write::Counts;
use remote_write::pieces::Pieces;
use remote_write::split::{self, Part};
use remote_write::wire::Malformed;
use segment_log::Position;

use super::form::{self, BatchLimits, Held, Payload, Prepared, Target};
use super::outcome::means_known_already;
use super::search::Search;
use crate::dead_letters;
use crate::ledger::{Booking, Dropped, Fate, Refusal, Settled};
use crate::record;

/// The search through one batch.
pub(super) struct Hunt {
    pub(super) target: Target,
    /// `None` while the batch waits: its records are not held in memory then.
    pieces: Option<Pieces>,
    /// The first piece and the first record that `pieces` has: those before are settled.
    base: (usize, usize),
    search: Search,
    /// How many pieces there were at first.
    all: usize,
    records: Vec<RecordBook>,
    /// Of `records`, settled.
    settled: usize,
    /// A series that is more than one request may carry, cut; what is left of it.
    cuts: VecDeque<Part>,
    letters: Vec<(usize, Letter)>,
    /// How many series, or whole records, were given up.
    given_up: u32,
    /// Whether some of the batch may have been stored before it was refused, and what the refusal said.
    before: Before,
}

/// A record of the batch, and what is booked of it so far.
pub(super) struct RecordBook {
    position: Position,
    received_ms: i64,
    counts: Counts,
    booking: Booking,
}

/// What is known of attempts before the one that is judged.
#[derive(Clone, Copy, Debug, Default)]
struct Before {
    /// One ended in a way that does not tell whether the batch was stored.
    ambiguous: bool,
    /// One was refused in whole, but may have been stored in part; whether for being out of order or a repetition.
    partly_stored: Option<bool>,
}

/// How the endpoint refused.
pub(super) struct Refused<'r> {
    pub(super) refusal: Refusal,
    /// The endpoint says that it stored nothing.
    pub(super) nothing_stored: bool,
    pub(super) words: &'r str,
}

/// After so many given up in one batch only whole records are told apart: no batch takes for ever.
const MOST_GIVEN_UP: u32 = 1024;

/// Who the batch belongs to, and when.
pub(super) struct Occasion<'o> {
    pub(super) tenant: &'o str,
    pub(super) endpoint: &'o str,
    pub(super) is_replay: bool,
    pub(super) now_ms: i64,
}

impl Hunt {
    /// Begins with nothing settled. `pieces` are those of `records`, in order.
    pub(super) fn new(
        records: Vec<RecordBook>,
        target: Target,
        pieces: Pieces,
        limits: BatchLimits,
        ambiguous: bool,
    ) -> Self {
        let starts = starts(&pieces, records.len());
        Self {
            search: Search::new(starts, plan(&pieces, limits)),
            all: pieces.len(),
            records,
            target,
            pieces: Some(pieces),
            base: (0, 0),
            settled: 0,
            cuts: VecDeque::new(),
            letters: Vec::new(),
            given_up: 0,
            before: Before { ambiguous, partly_stored: None },
        }
    }

    /// The positions that are not settled.
    pub(super) fn positions(&self) -> impl Iterator<Item = Position> {
        self.records.iter().skip(self.settled).map(|book| book.position)
    }

    pub(super) const fn is_waiting(&self) -> bool {
        self.pieces.is_none()
    }

    /// Whether nothing came of it so far: then the batch may as well go as a whole again, which costs less.
    pub(super) fn is_untouched(&self) -> bool {
        self.settled == 0 && self.given_up == 0 && self.cuts.is_empty() && self.search.is_one_run(0..self.all)
    }

    /// Lets go of what can be read again.
    pub(super) fn wait(&mut self) {
        self.pieces = None;
    }

    /// Goes on with the unsettled records, dissected again. False if they are not the same: then start anew.
    pub(super) fn resume(&mut self, positions: impl Iterator<Item = Position>, pieces: Pieces) -> bool {
        let same = self.positions().eq(positions);
        let Some(start) = self.search.start_of(self.settled).filter(|_| same) else { return false };
        self.base = (start, self.settled);
        self.pieces = Some(pieces);
        true
    }

    /// An attempt may have been stored without anybody knowing.
    pub(super) const fn note_ambiguity(&mut self) {
        self.before.ambiguous = true;
    }

    /// The next request; `None` when everything is dealt with.
    pub(super) fn next(&mut self, limits: BatchLimits) -> Result<Option<Payload>, String> {
        let Target { form, compression, .. } = self.target;
        loop {
            if let Some(cut) = self.cuts.front() {
                return form::payload_of(cut, form.protocol, compression).map(Some);
            }
            let Some(run) = self.search.next() else { return Ok(None) };
            if limits.allow(self.counts(&run), self.bytes(&run)) {
                let part = self.join(run).map_err(|error| error.to_string())?;
                return form::payload_of(&part, form.protocol, compression).map(Some);
            }
            if run.len() > 1 {
                self.search.divide();
                continue;
            }
            let whole = self.join(run).map_err(|error| error.to_string())?;
            let max_bytes = usize::try_from(limits.decoded_bytes).unwrap_or(usize::MAX);
            let cuts = split::split(form.protocol, &whole.body, limits.samples, max_bytes);
            self.cuts = cuts.map_err(|error| error.to_string())?.into();
        }
    }

    /// The endpoint took the request. True if that shows that what was refused before was only too large.
    pub(super) fn taken(&mut self, not_written: Counts) -> bool {
        let Some(run) = self.search.next() else { return false };
        if let Some(cut) = self.cuts.pop_front() {
            self.book(run.start, Fate::Delivered, cut.counts - not_written);
            self.book(run.start, Fate::Dropped(Dropped::NotWritten), not_written);
            self.leave_if_cut_up();
            return false;
        }
        self.book_taken(run, not_written);
        self.search.taken()
    }

    /// The endpoint does not take that much at once. Gives the fate of what was given up, if anything was: a data point that
    /// is too large by itself, or a record if only `whole_records` are told apart.
    pub(super) fn too_large(
        &mut self,
        words: &str,
        whole_records: bool,
        occasion: &Occasion<'_>,
    ) -> Result<Option<Fate>, Malformed> {
        let refused = Refused { refusal: Refusal::TooLarge, nothing_stored: true, words };
        if whole_records || self.given_up >= MOST_GIVEN_UP {
            return self.refused(&refused, true, occasion);
        }
        if self.cuts.is_empty() {
            if self.search.halve() {
                return Ok(None);
            }
            let Some(run) = self.search.next() else { return Ok(None) };
            self.cuts.push_back(self.join(run)?);
        }
        let Some(cut) = self.cuts.front() else { return Ok(None) };
        if let Some((first, second)) = split::halve(self.target.form.protocol, &cut.body)? {
            self.cuts.pop_front();
            self.cuts.push_front(second);
            self.cuts.push_front(first);
            return Ok(None);
        }
        self.give_up(&refused, occasion).map(Some)
    }

    /// The endpoint refused the request for good. Gives the fate of what was given up, if anything was: a series, or a
    /// record if only `whole_records` are told apart.
    pub(super) fn refused(
        &mut self,
        refused: &Refused<'_>,
        whole_records: bool,
        occasion: &Occasion<'_>,
    ) -> Result<Option<Fate>, Malformed> {
        let whole_records = whole_records || self.given_up >= MOST_GIVEN_UP;
        let is_cut =
            self.cuts.is_empty() && if whole_records { self.search.halve_records() } else { self.search.halve() };
        if is_cut {
            if !refused.nothing_stored {
                self.before.partly_stored.get_or_insert_with(|| means_known_already(refused.words));
            }
            return Ok(None);
        }
        self.give_up(refused, occasion).map(Some)
    }

    /// The run that is sent next, taken out: its caller deals with it. `None` while a series is cut.
    pub(super) fn take_run(&mut self) -> Option<Range<usize>> {
        let run = self.search.next().filter(|_| self.cuts.is_empty())?;
        self.search.leave();
        Some(run)
    }

    /// Puts back what is left of a run that was taken out; the last is sent next.
    pub(super) fn put_back(&mut self, runs: impl IntoIterator<Item = Range<usize>>) {
        runs.into_iter().filter(|run| !run.is_empty()).for_each(|run| self.search.push(run));
    }

    /// A run as a request.
    pub(super) fn payload(&self, run: Range<usize>) -> Result<Payload, String> {
        let part = self.join(run).map_err(|error| error.to_string())?;
        form::payload_of(&part, self.target.form.protocol, self.target.compression)
    }

    /// The hash of a piece's series, as in footprints.
    pub(super) fn hash(&self, piece: usize) -> Option<u32> {
        self.pieces.as_ref()?.hash(piece.checked_sub(self.base.0)?)
    }

    /// Books a run that was taken.
    pub(super) fn book_taken(&mut self, run: Range<usize>, mut not_written: Counts) {
        for piece in run {
            let counts = self.counts(&(piece..piece + 1));
            let missing = take(&mut not_written, counts);
            self.book(piece, Fate::Delivered, counts - missing);
            self.book(piece, Fate::Dropped(Dropped::NotWritten), missing);
        }
    }

    /// Gives up a run of one piece that was taken out.
    pub(super) fn give_up_run(
        &mut self,
        run: Range<usize>,
        refused: &Refused<'_>,
        occasion: &Occasion<'_>,
    ) -> Result<Fate, Malformed> {
        self.search.push(run);
        self.give_up(refused, occasion)
    }

    /// The records that are dealt with, to be settled, and their dead letters, to be stored before.
    pub(super) fn settle(&mut self) -> (Vec<Settled>, Vec<Letter>) {
        let done = self.search.done_until();
        let is_done = |record: &usize| self.search.start_of(record + 1).is_none_or(|end| end <= done);
        // The last record has no successor whose start would tell.
        let all = self.search.next().is_none();
        let until = (self.settled..self.records.len())
            .take_while(|record| if record + 1 == self.records.len() { all } else { is_done(record) })
            .count()
            + self.settled;
        let settled = self.records[self.settled..until].iter_mut().map(|book| Settled {
            position: book.position,
            counts: book.counts,
            booking: std::mem::take(&mut book.booking),
        });
        let settled: Vec<_> = settled.collect();
        self.settled = until;
        let of_settled = |(record, _): &mut (usize, Letter)| *record < until;
        let letters = self.letters.extract_if(.., of_settled).map(|(_, letter)| letter).collect();
        (settled, letters)
    }

    /// Books the rest of the run, or the cut, as what will not be delivered.
    fn give_up(&mut self, refused: &Refused<'_>, occasion: &Occasion<'_>) -> Result<Fate, Malformed> {
        self.given_up += 1;
        let Some(run) = self.search.next() else { return Ok(Fate::Delivered) };
        let part = match self.cuts.pop_front() {
            Some(cut) => cut,
            None => self.join(run.clone())?,
        };
        let fate = self.fate(refused, part.counts, occasion);
        let example = self.describe(run.clone());
        let record = self.search.record_of(run.start);
        if let (Fate::DeadLettered(_), false, Some(book)) = (fate, part.counts.is_zero(), self.records.get(record)) {
            let envelope = Envelope {
                tenant: occasion.tenant.to_owned(),
                endpoint: occasion.endpoint.to_owned(),
                reason: refused.refusal.as_str().to_owned(),
                words: refused.words.to_owned(),
                position: book.position,
                received_ms: book.received_ms,
                refused_ms: occasion.now_ms,
                counts: record::to_array(part.counts),
                series: part.series,
                example: example.clone(),
                form: dead_letters::form_of(self.target.form.protocol),
                decoded_bytes: u32::try_from(part.body.len()).unwrap_or(u32::MAX),
            };
            self.letters.push((record, Letter { envelope, body: dead_letters::body(&part.body) }));
        }
        if let Some(book) = self.records.get_mut(record) {
            book.booking.add_with(fate, part.counts, || example);
        }
        self.leave_if_cut_up();
        Ok(fate)
    }

    /// A dead letter, unless the endpoint says of something it may have stored that it has it already.
    fn fate(&self, refused: &Refused<'_>, counts: Counts, occasion: &Occasion<'_>) -> Fate {
        if occasion.is_replay {
            return Fate::Dropped(Dropped::ReplayRefused);
        }
        // What was stored with the rest of a refused batch is taken again if it is the newest of its series. A series
        // with more than that is refused for what is older, whatever it was refused for at first.
        let may_be_stored = self.before.ambiguous
            || self.before.partly_stored.is_some_and(|was_known| !was_known || counts.points() > 1);
        if may_be_stored && means_known_already(refused.words) {
            return Fate::Dropped(Dropped::Resent);
        }
        Fate::DeadLettered(refused.refusal)
    }

    fn leave_if_cut_up(&mut self) {
        if self.cuts.is_empty() {
            self.search.leave();
        }
    }

    fn book(&mut self, piece: usize, fate: Fate, counts: Counts) {
        let record = self.search.record_of(piece);
        if counts.is_zero() {
            return;
        }
        let example = if fate == Fate::Delivered { String::new() } else { self.describe(piece..piece + 1) };
        if let Some(book) = self.records.get_mut(record) {
            book.booking.add_with(fate, counts, || example);
        }
    }

    fn here(&self, run: &Range<usize>) -> Range<usize> {
        run.start.saturating_sub(self.base.0)..run.end.saturating_sub(self.base.0)
    }

    fn counts(&self, run: &Range<usize>) -> Counts {
        let Some(pieces) = &self.pieces else { return Counts::default() };
        self.here(run).fold(Counts::default(), |sum, piece| sum + pieces.counts(piece))
    }

    fn bytes(&self, run: &Range<usize>) -> u64 {
        self.pieces.as_ref().map_or(0, |pieces| self.here(run).map(|piece| pieces.bytes(piece) as u64).sum())
    }

    fn join(&self, run: Range<usize>) -> Result<Part, Malformed> {
        self.pieces.as_ref().map_or_else(|| Ok(Part::default()), |pieces| pieces.join(self.here(&run)))
    }

    /// The first series of a run.
    fn describe(&self, run: Range<usize>) -> String {
        let Some(pieces) = &self.pieces else { return String::new() };
        self.here(&run).map(|piece| pieces.describe(piece)).find(|text| !text.is_empty()).unwrap_or_default()
    }
}

impl RecordBook {
    pub(super) fn new((record, _): &Held, prepared: &Prepared) -> Self {
        Self {
            position: record.position,
            received_ms: record.received_ms,
            counts: record::counts(record),
            booking: prepared.booking(),
        }
    }
}

impl Prepared {
    /// What is booked before anything is sent.
    pub(super) fn booking(&self) -> Booking {
        let mut booking = Booking::default();
        booking.add_with(Fate::Dropped(Dropped::Relabel), self.relabeled, || self.relabeled_example.clone());
        booking.add_with(Fate::Dropped(Dropped::Untranslatable), self.untranslatable, || self.example.clone());
        booking.add_with(Fate::Expired, self.expired, || self.example.clone());
        booking
    }
}

/// Takes as much of `from` as fits into `at_most`, kind by kind.
pub(super) fn take(from: &mut Counts, at_most: Counts) -> Counts {
    let taken = Counts {
        samples: from.samples.min(at_most.samples),
        histograms: from.histograms.min(at_most.histograms),
        exemplars: from.exemplars.min(at_most.exemplars),
    };
    *from -= taken;
    taken
}

/// The first piece of each record; a record of which nothing is to be sent has none.
fn starts(pieces: &Pieces, records: usize) -> Vec<usize> {
    let mut starts = Vec::with_capacity(records);
    for piece in 0..pieces.len() {
        starts.resize(starts.len().max(pieces.request_of(piece) + 1), piece);
    }
    starts.resize(records, pieces.len());
    starts
}

/// Runs of as many pieces as one request may carry.
fn plan(pieces: &Pieces, limits: BatchLimits) -> Vec<Range<usize>> {
    let mut runs = Vec::new();
    let (mut start, mut counts, mut bytes) = (0, Counts::default(), 0);
    for piece in 0..pieces.len() {
        let (more, longer) = (counts + pieces.counts(piece), bytes + pieces.bytes(piece) as u64);
        if piece > start && !limits.allow(more, longer) {
            runs.push(start..piece);
            (start, counts, bytes) = (piece, pieces.counts(piece), pieces.bytes(piece) as u64);
        } else {
            (counts, bytes) = (more, longer);
        }
    }
    runs.push(start..pieces.len());
    runs
}

#[cfg(test)]
mod tests;

//! What became of the data points of one tenant at one endpoint: totals by fate, and their stored form.
//!
//! Stored: a version byte (2), then entries, each a kind (u8) and what belongs to it; numbers little-endian, texts behind
//! their length (u16), counts as samples, histograms, exemplars (u64 each).
//!
//! | kind | what follows |
//! | ---: | --- |
//! | 0 | delivered: counts |
//! | 1 | dropped: reason, counts, example |
//! | 2 | dead-lettered: reason, counts, counts that are no dead letters any more, example |
//! | 3 | expired by age: counts, example |
//! | 4 | a replay's plan: see `plan.rs` |
//! | 5 | the first of the dead letters that moved last: id (u64) |
//!
//! Version 1 had delivered counts, then dropped entries without their kind.

use std::borrow::Cow;

use remote_write::Counts;

use super::plan::ReplayPlan;

/// Why accepted data points will not be delivered: the label values of `writegate_dropped_samples_total{reason}`, a closed
/// list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Dropped {
    /// A relabel rule dropped the series.
    Relabel,
    /// Refused as out of order or as a repetition, after an attempt that may have stored it.
    Resent,
    /// A v2 endpoint answered 2xx and said it wrote fewer than were sent.
    NotWritten,
    /// The endpoint's form cannot carry it (custom-bucket histograms in v1), or it was told not to
    /// (`send_exemplars: false`, `send_native_histograms: false`).
    Untranslatable,
    /// An operator dropped its dead letter.
    LetterLetGo,
    /// Its dead letter gave way to newer ones.
    LetterEvicted,
    /// An endpoint refused it in a replay.
    ReplayRefused,
}

impl Dropped {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Relabel => "relabel",
            Self::Resent => "resent",
            Self::NotWritten => "not_written",
            Self::Untranslatable => "untranslatable",
            Self::LetterLetGo => "dead_letter_dropped",
            Self::LetterEvicted => "dead_letter_evicted",
            Self::ReplayRefused => "replay_refused",
        }
    }
}

/// How an endpoint refused a dead letter: the label values of `writegate_dead_letter_samples_total{reason}`, a closed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Refusal {
    BadRequest,
    Conflict,
    TooLarge,
    Unprocessable,
    /// 429, where `retry_on_http_429` is off.
    TooMany,
    /// 5xx again and again, while others were taken.
    Poison,
}

impl Refusal {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "400",
            Self::Conflict => "409",
            Self::TooLarge => "413",
            Self::Unprocessable => "422",
            Self::TooMany => "429",
            Self::Poison => "5xx",
        }
    }
}

/// Where data points end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Fate {
    Delivered,
    Dropped(Dropped),
    DeadLettered(Refusal),
    /// Older than the endpoint's `max_age`.
    Expired,
}

/// How one record's data points ended at one endpoint.
#[derive(Clone, Debug, Default)]
pub(crate) struct Booking {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    fate: Fate,
    counts: Counts,
    /// A series this happened to, as `name{label="value"}`; empty when unknown.
    example: String,
}

impl Booking {
    /// Books data points without naming a series.
    pub(crate) fn add(&mut self, fate: Fate, counts: Counts) {
        self.add_with(fate, counts, String::new);
    }

    /// Books data points; `example` is asked for a series unless one is known.
    pub(crate) fn add_with(&mut self, fate: Fate, counts: Counts, example: impl FnOnce() -> String) {
        if counts.is_zero() {
            return;
        }
        match self.entries.iter_mut().find(|entry| entry.fate == fate) {
            Some(entry) => entry.counts += counts,
            None => self.entries.push(Entry { fate, counts, example: example() }),
        }
    }

    /// Everything booked: must equal what the record holds.
    pub(crate) fn total(&self) -> Counts {
        self.entries.iter().fold(Counts::default(), |sum, entry| sum + entry.counts)
    }
}

/// Totals since the row began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Books {
    pub(crate) delivered: Counts,
    pub(crate) dropped: Vec<Total>,
    pub(crate) dead_lettered: Vec<Total>,
    pub(crate) expired: Counts,
    pub(crate) expired_example: String,
    pub(crate) plan: Option<ReplayPlan>,
    /// The first of the dead letters that moved last; 0: none has. After a crash it tells whether letters that are leaving
    /// have moved: totals cannot, since letters are kept before they are booked.
    pub(crate) last_moved: u64,
}

/// One reason's total.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Total {
    pub(crate) reason: Cow<'static, str>,
    pub(crate) counts: Counts,
    /// Of dead letters: what was dead-lettered and is not any more.
    pub(crate) left: Counts,
    pub(crate) example: String,
}

const VERSION: u8 = 2;
/// Examples are for people: a few hundred bytes tell which series it was.
const EXAMPLE_BYTES: usize = 256;

impl Books {
    /// Adds a booking.
    pub(super) fn book(&mut self, booking: &Booking) {
        for Entry { fate, counts, example } in &booking.entries {
            self.add(*fate, *counts, example);
        }
    }

    fn add(&mut self, fate: Fate, counts: Counts, example: &str) {
        match fate {
            Fate::Delivered => self.delivered += counts,
            Fate::Dropped(reason) => total(&mut self.dropped, reason.as_str()).add(counts, example),
            Fate::DeadLettered(reason) => total(&mut self.dead_lettered, reason.as_str()).add(counts, example),
            Fate::Expired => {
                self.expired += counts;
                if self.expired_example.is_empty() {
                    self.expired_example = bounded(example);
                }
            }
        }
    }

    /// Moves what was dead-lettered for `reason` to another fate; `first` is the first of the letters. Of more than there is
    /// moves what there is, and gives `false`.
    pub(super) fn move_dead_letters(&mut self, reason: &str, counts: Counts, to: Fate, first: u64) -> bool {
        self.last_moved = first;
        let Some(total) = self.dead_lettered.iter_mut().find(|total| total.reason == reason) else {
            return counts.is_zero();
        };
        let missing = counts.saturating_sub(total.counts);
        let counts = counts - missing;
        total.counts -= counts;
        total.left += counts;
        let example = total.example.clone();
        self.add(to, counts, &example);
        missing.is_zero()
    }

    /// Whether a reason has an example already, so that none has to be looked for.
    pub(crate) fn has_example(&self, fate: Fate) -> bool {
        let known = |totals: &[Total], reason: &str| {
            totals.iter().any(|total| total.reason == reason && !total.example.is_empty())
        };
        match fate {
            Fate::Delivered => true,
            Fate::Dropped(reason) => known(&self.dropped, reason.as_str()),
            Fate::DeadLettered(reason) => known(&self.dead_lettered, reason.as_str()),
            Fate::Expired => !self.expired_example.is_empty(),
        }
    }

    /// An example series for each reason, `expired` among them.
    pub(crate) fn examples(&self) -> impl Iterator<Item = (&str, &str)> {
        let totals = self.dropped.iter().chain(&self.dead_lettered);
        let expired = ("expired", self.expired_example.as_str());
        let all = totals.map(|total| (total.reason.as_ref(), total.example.as_str())).chain([expired]);
        all.filter(|(_, example)| !example.is_empty())
    }

    pub(crate) fn dropped_total(&self) -> Counts {
        sum(&self.dropped)
    }

    pub(crate) fn dead_lettered_total(&self) -> Counts {
        sum(&self.dead_lettered)
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(&[VERSION, 0]);
        put_counts(out, self.delivered);
        for total in &self.dropped {
            out.push(1);
            put_text(out, &total.reason);
            put_counts(out, total.counts);
            put_text(out, &total.example);
        }
        for total in &self.dead_lettered {
            out.push(2);
            put_text(out, &total.reason);
            put_counts(out, total.counts);
            put_counts(out, total.left);
            put_text(out, &total.example);
        }
        if !self.expired.is_zero() {
            out.push(3);
            put_counts(out, self.expired);
            put_text(out, &self.expired_example);
        }
        if let Some(plan) = &self.plan {
            out.push(4);
            plan.encode(out);
        }
        if self.last_moved != 0 {
            out.push(5);
            out.extend_from_slice(&self.last_moved.to_le_bytes());
        }
    }

    /// Reads what [`Books::encode`] wrote. `None` if it is damaged or of a later version.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut books = Self::default();
        let (version, mut rest) = match bytes.split_first() {
            None => return Some(books),
            Some((version, rest)) => (*version, rest),
        };
        if version == 1 {
            books.delivered = take_counts(&mut rest)?;
        } else if version != VERSION {
            return None;
        }
        while !rest.is_empty() {
            let kind = if version == 1 { 1 } else { take_byte(&mut rest)? };
            match kind {
                0 => books.delivered = take_counts(&mut rest)?,
                1 => books.dropped.push(take_total(&mut rest, false)?),
                2 => books.dead_lettered.push(take_total(&mut rest, true)?),
                3 => (books.expired, books.expired_example) = (take_counts(&mut rest)?, take_text(&mut rest)?),
                4 => books.plan = Some(ReplayPlan::decode(&mut rest)?),
                5 => books.last_moved = take_u64(&mut rest)?,
                _ => return None,
            }
        }
        Some(books)
    }
}

impl Total {
    fn add(&mut self, counts: Counts, example: &str) {
        self.counts += counts;
        if self.example.is_empty() {
            self.example = bounded(example);
        }
    }
}

fn total<'t>(totals: &'t mut Vec<Total>, reason: &'static str) -> &'t mut Total {
    let index = totals.iter().position(|total| total.reason == reason).unwrap_or_else(|| {
        totals.push(Total { reason: Cow::Borrowed(reason), ..Total::default() });
        totals.len() - 1
    });
    &mut totals[index]
}

fn sum(totals: &[Total]) -> Counts {
    totals.iter().fold(Counts::default(), |sum, total| sum + total.counts)
}

fn bounded(text: &str) -> String {
    text[..text.floor_char_boundary(EXAMPLE_BYTES)].to_owned()
}

fn take_total(rest: &mut &[u8], with_left: bool) -> Option<Total> {
    let reason = Cow::Owned(take_text(rest)?);
    let counts = take_counts(rest)?;
    let left = if with_left { take_counts(rest)? } else { Counts::default() };
    Some(Total { reason, counts, left, example: take_text(rest)? })
}

pub(super) fn put_counts(out: &mut Vec<u8>, counts: Counts) {
    for n in [counts.samples, counts.histograms, counts.exemplars] {
        out.extend_from_slice(&n.to_le_bytes());
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    // Reasons and examples are bounded far below 64 KiB; longer ones would be cut, not wrapped.
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&text.as_bytes()[..usize::from(length)]);
}

pub(super) fn take_byte(rest: &mut &[u8]) -> Option<u8> {
    let (byte, tail) = rest.split_first()?;
    *rest = tail;
    Some(*byte)
}

pub(super) fn take_u64(rest: &mut &[u8]) -> Option<u64> {
    let (head, tail) = rest.split_first_chunk::<8>()?;
    *rest = tail;
    Some(u64::from_le_bytes(*head))
}

pub(super) fn take_counts(rest: &mut &[u8]) -> Option<Counts> {
    Some(Counts { samples: take_u64(rest)?, histograms: take_u64(rest)?, exemplars: take_u64(rest)? })
}

fn take_text(rest: &mut &[u8]) -> Option<String> {
    let (head, tail) = rest.split_first_chunk::<2>()?;
    let (text, tail) = tail.split_at_checked(usize::from(u16::from_le_bytes(*head)))?;
    *rest = tail;
    String::from_utf8(text.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(samples: u64) -> Counts {
        Counts { samples, ..Counts::default() }
    }

    fn some_books() -> Books {
        let mut booking = Booking::default();
        booking.add(Fate::Delivered, samples(7));
        booking.add_with(Fate::DeadLettered(Refusal::BadRequest), samples(2), || "up{job=\"a\"}".to_owned());
        booking.add(Fate::Dropped(Dropped::NotWritten), samples(0));
        booking.add(Fate::Dropped(Dropped::Relabel), samples(1));
        booking.add_with(Fate::Expired, samples(3), || "old".to_owned());
        assert_eq!(booking.total(), samples(13));
        let mut books = Books { last_moved: 9, ..Books::default() };
        books.book(&booking);
        books.book(&booking);
        books
    }

    #[test]
    fn books_read_back_as_written_with_the_first_example_of_each_reason() {
        let books = some_books();
        let mut bytes = vec![1, 2, 3];
        books.encode(&mut bytes);
        assert_eq!(Books::decode(&bytes), Some(books.clone()));
        assert_eq!((books.delivered, books.expired), (samples(14), samples(6)));
        assert_eq!((books.dropped_total(), books.dead_lettered_total()), (samples(2), samples(4)));
        assert_eq!(books.examples().collect::<Vec<_>>(), [("400", "up{job=\"a\"}"), ("expired", "old")]);
    }

    #[test]
    fn a_dead_letter_moves_with_its_example_and_no_more_than_there_are() {
        let mut books = some_books();
        assert!(books.move_dead_letters("400", samples(3), Fate::Delivered, 1));
        assert!(!books.move_dead_letters("400", samples(2), Fate::Dropped(Dropped::LetterLetGo), 4));
        assert!(!books.move_dead_letters("400", samples(1), Fate::Delivered, 5));
        assert!(!books.move_dead_letters("409", samples(1), Fate::Delivered, 6));
        assert_eq!((books.delivered, books.dead_lettered_total()), (samples(17), samples(0)));
        assert_eq!(books.dead_lettered[0].left, samples(4));
        assert!(books.has_example(Fate::Dropped(Dropped::LetterLetGo)));
    }

    #[test]
    fn books_of_version_1_are_read() {
        let mut bytes = vec![1];
        put_counts(&mut bytes, samples(5));
        put_text(&mut bytes, "untranslatable");
        put_counts(&mut bytes, samples(2));
        put_text(&mut bytes, "h");
        let books = Books::decode(&bytes).unwrap();
        assert_eq!((books.delivered, books.dropped_total()), (samples(5), samples(2)));
        assert_eq!(books.dropped[0].reason, "untranslatable");
    }

    #[test]
    fn damaged_books_are_recognised() {
        let mut bytes = Vec::new();
        some_books().encode(&mut bytes);
        assert_eq!(Books::decode(&bytes[..bytes.len() - 1]), None);
        bytes[0] = 99;
        assert_eq!(Books::decode(&bytes), None);
        assert_eq!(Books::decode(&[]), Some(Books::default()));
    }

    #[test]
    fn an_example_is_cut_between_characters() {
        assert_eq!(bounded(&"é".repeat(200)).len(), EXAMPLE_BYTES);
    }
}

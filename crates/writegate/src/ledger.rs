//! The books: for each tenant and endpoint, where every accepted data point is.
//!
//! A [`Row`] couples the log's cursor (accepted, pending, expired) with the [`Books`] that are stored in the same
//! settle record (delivered, dropped, dead-lettered), so that both always tell the same story, also after a crash.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use remote_write::Counts;
use segment_log::{Cursor, GapCause, Position, SettleError};

use crate::record;
use crate::tenant::TenantName;

/// What became of accepted data points that were not delivered. The label values of
/// `writegate_dropped_samples_total{reason}`: a closed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Dropped {
    /// A v2 endpoint answered 2xx and said it wrote fewer than were sent.
    NotWritten,
    /// The endpoint's form cannot carry it (custom-bucket histograms in v1) or was told not to
    /// (`send_exemplars: false`, `send_native_histograms: false`).
    Untranslatable,
    /// The endpoint refused the batch for good.
    Refused,
}

impl Dropped {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::NotWritten => "not_written",
            Self::Untranslatable => "untranslatable",
            Self::Refused => "refused",
        }
    }
}

/// How one record's data points ended at one endpoint.
#[derive(Clone, Debug, Default)]
pub(crate) struct Booking {
    pub(crate) delivered: Counts,
    pub(crate) dropped: Vec<Drop>,
}

/// Data points dropped for one reason.
#[derive(Clone, Debug)]
pub(crate) struct Drop {
    pub(crate) reason: Dropped,
    pub(crate) counts: Counts,
    /// A series this happened to, as `name{label="value"}`; empty when unknown.
    pub(crate) example: String,
}

impl Booking {
    pub(crate) fn drop(&mut self, reason: Dropped, counts: Counts, example: String) {
        if !counts.is_zero() {
            self.dropped.push(Drop { reason, counts, example });
        }
    }

    /// Everything booked: must equal what the record holds.
    pub(crate) fn total(&self) -> Counts {
        self.dropped.iter().fold(self.delivered, |sum, dropped| sum + dropped.counts)
    }
}

/// The outcome of one record, ready to be settled.
#[derive(Clone, Debug)]
pub(crate) struct Settled {
    pub(crate) position: Position,
    pub(crate) counts: Counts,
    pub(crate) booking: Booking,
}

/// Totals per outcome since the row began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Books {
    pub(crate) delivered: Counts,
    pub(crate) dropped: Vec<Total>,
}

/// One reason's total.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Total {
    pub(crate) reason: Cow<'static, str>,
    pub(crate) counts: Counts,
    pub(crate) example: String,
}

/// Version of the bytes below, the first of them.
const BOOKS_VERSION: u8 = 1;
/// Examples are for people: a few hundred bytes tell which series it was.
const EXAMPLE_BYTES: usize = 256;

impl Books {
    /// Adds a booking.
    fn book(&mut self, booking: &Booking) {
        self.delivered += booking.delivered;
        for dropped in &booking.dropped {
            let reason = dropped.reason.as_str();
            match self.dropped.iter_mut().find(|total| total.reason == reason) {
                Some(total) => {
                    total.counts += dropped.counts;
                    if total.example.is_empty() {
                        total.example = bounded(&dropped.example);
                    }
                }
                None => self.dropped.push(Total {
                    reason: Cow::Borrowed(reason),
                    counts: dropped.counts,
                    example: bounded(&dropped.example),
                }),
            }
        }
    }

    /// All that was dropped, over all reasons.
    pub(crate) fn dropped_total(&self) -> Counts {
        self.dropped.iter().fold(Counts::default(), |sum, total| sum + total.counts)
    }

    /// The stored form: a version byte, the delivered counts, then per reason its name, counts and example, each text
    /// behind its length (u16), all little-endian.
    fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        out.push(BOOKS_VERSION);
        put_counts(out, self.delivered);
        for total in &self.dropped {
            put_text(out, &total.reason);
            put_counts(out, total.counts);
            put_text(out, &total.example);
        }
    }

    /// Reads what [`Books::encode`] wrote. `None` if it is damaged or of a later version.
    fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() {
            return Some(Self::default());
        }
        let mut rest = bytes.strip_prefix(&[BOOKS_VERSION])?;
        let mut books = Self { delivered: take_counts(&mut rest)?, dropped: Vec::new() };
        while !rest.is_empty() {
            let reason = Cow::Owned(take_text(&mut rest)?);
            let counts = take_counts(&mut rest)?;
            books.dropped.push(Total { reason, counts, example: take_text(&mut rest)? });
        }
        Some(books)
    }
}

/// The books of one tenant at one endpoint.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) tenant: TenantName,
    pub(crate) endpoint: String,
    cursor: Arc<Cursor>,
    books: Mutex<Books>,
}

/// A moment of a row: `accepted = delivered + pending + dropped + expired`, kind by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Balance {
    pub(crate) accepted: Counts,
    pub(crate) pending: Counts,
    pub(crate) expired: Counts,
    pub(crate) books: Books,
}

impl Balance {
    /// Whether every accepted data point is in exactly one place.
    pub(crate) fn balances(&self) -> bool {
        self.accepted == self.books.delivered + self.pending + self.books.dropped_total() + self.expired
    }
}

impl Row {
    /// The row of a cursor, with the books it stored.
    pub(crate) fn new(tenant: TenantName, cursor: Arc<Cursor>) -> Self {
        let books = Books::decode(&cursor.books()).unwrap_or_else(|| {
            tracing::error!(%tenant, endpoint = cursor.name(), "the stored books cannot be read; they begin anew");
            Books::default()
        });
        Self { tenant, endpoint: cursor.name().to_owned(), cursor, books: Mutex::new(books) }
    }

    /// Books outcomes and moves the cursor: one act, on disk when this returns.
    ///
    /// # Errors
    /// When it could not be written; nothing is booked then, and settling again is safe.
    pub(crate) fn settle(&self, settled: &[Settled]) -> Result<(), SettleError> {
        let mut books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        let mut after = books.clone();
        let positions: Vec<_> =
            settled.iter().map(|settled| (settled.position, record::to_array(settled.counts))).collect();
        self.cursor.settle(&positions, &mut |newly, stored| {
            // What expired meanwhile is booked as expired, even though it was sent after all.
            for (settled, _) in settled.iter().zip(newly).filter(|(_, newly)| **newly) {
                debug_assert_eq!(settled.booking.total(), settled.counts, "a booking must cover its record");
                after.book(&settled.booking);
            }
            after.encode(stored);
        })?;
        *books = after;
        Ok(())
    }

    /// Books a gap in the log; what was lost to damage expires. Returns how much that was.
    ///
    /// # Errors
    /// When it could not be written.
    pub(crate) fn gap(&self, from: Position, to: Position, cause: GapCause) -> Result<Counts, SettleError> {
        match cause {
            GapCause::Expired => Ok(Counts::default()),
            GapCause::Damaged => self.cursor.expire(from, to).map(record::from_array),
        }
    }

    /// Everything below is settled.
    pub(crate) fn low(&self) -> Position {
        self.cursor.low()
    }

    pub(crate) fn is_settled(&self, position: Position) -> bool {
        self.cursor.is_settled(position)
    }

    /// Whether an endpoint of the configuration moves this row.
    pub(crate) fn is_active(&self) -> bool {
        self.cursor.is_attached()
    }

    /// The row at this moment.
    pub(crate) fn balance(&self) -> Balance {
        // Settling changes the books and the cursor under this lock, so both are of the same moment.
        let books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        let cursor = self.cursor.balance();
        let balance = Balance {
            accepted: record::from_array(cursor.accepted),
            pending: record::from_array(cursor.pending),
            expired: record::from_array(cursor.expired),
            books: books.clone(),
        };
        debug_assert!(balance.balances(), "{}/{}: {balance:?}", self.tenant, self.endpoint);
        balance
    }
}

fn bounded(text: &str) -> String {
    text.chars()
        .scan(0, |bytes, c| {
            *bytes += c.len_utf8();
            (*bytes <= EXAMPLE_BYTES).then_some(c)
        })
        .collect()
}

fn put_counts(out: &mut Vec<u8>, counts: Counts) {
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

fn take_counts(rest: &mut &[u8]) -> Option<Counts> {
    let mut one = || -> Option<u64> {
        let (head, tail) = rest.split_first_chunk::<8>()?;
        *rest = tail;
        Some(u64::from_le_bytes(*head))
    };
    Some(Counts { samples: one()?, histograms: one()?, exemplars: one()? })
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

    #[test]
    fn books_read_back_as_written_with_the_first_example_of_each_reason() {
        let mut books = Books::default();
        let mut booking = Booking { delivered: samples(7), dropped: Vec::new() };
        booking.drop(Dropped::Refused, samples(2), "400: up{job=\"a\"}".to_owned());
        booking.drop(Dropped::NotWritten, samples(0), String::new());
        books.book(&booking);
        booking.dropped[0].example = "later".to_owned();
        books.book(&booking);
        let mut bytes = vec![1, 2, 3];
        books.encode(&mut bytes);
        assert_eq!(Books::decode(&bytes), Some(books.clone()));
        assert_eq!(books.delivered, samples(14));
        assert_eq!(books.dropped_total(), samples(4));
        assert_eq!(books.dropped.len(), 1);
        assert_eq!(books.dropped[0].example, "400: up{job=\"a\"}");
    }

    #[test]
    fn damaged_books_are_recognised() {
        let mut bytes = Vec::new();
        Books { delivered: samples(1), dropped: Vec::new() }.encode(&mut bytes);
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

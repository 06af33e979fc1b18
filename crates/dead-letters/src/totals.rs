//! Sums per tenant, endpoint and reason, for letters that stay and for those that are leaving. Stored beside the letters and
//! changed in the same transactions; kept in memory as well, so that asking for them never waits for the disk.

use std::collections::BTreeMap;

use crate::Counts;
use crate::letter::Envelope;

/// What one reason sums up to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReasonTotal {
    /// The reason, as it was put.
    pub reason: String,
    /// How many letters.
    pub letters: u64,
    /// The data points in them.
    pub counts: Counts,
}

/// By tenant and endpoint, in that order; reasons in order of their names.
pub type Totals = BTreeMap<(String, String), Vec<ReasonTotal>>;

/// What is summed up apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) is_leaving: bool,
    pub(crate) tenant: String,
    pub(crate) endpoint: String,
    pub(crate) reason: String,
}

impl Key {
    pub(crate) fn of(envelope: &Envelope, is_leaving: bool) -> Self {
        Self {
            is_leaving,
            tenant: envelope.tenant.clone(),
            endpoint: envelope.endpoint.clone(),
            reason: envelope.reason.clone(),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) letters: u64,
    pub(crate) counts: Counts,
    /// What the letters take on the disk.
    pub(crate) bytes: u64,
}

impl Sums {
    /// Wraps, as the sums of what comes and goes must meet at zero again whatever the counts were.
    pub(crate) fn add(&mut self, other: &Self) {
        self.letters = self.letters.wrapping_add(other.letters);
        self.bytes = self.bytes.wrapping_add(other.bytes);
        for (sum, n) in self.counts.iter_mut().zip(other.counts) {
            *sum = sum.wrapping_add(n);
        }
    }

    pub(crate) fn subtract(&mut self, other: &Self) {
        self.letters = self.letters.wrapping_sub(other.letters);
        self.bytes = self.bytes.wrapping_sub(other.bytes);
        for (sum, n) in self.counts.iter_mut().zip(other.counts) {
            *sum = sum.wrapping_sub(n);
        }
    }
}

/// All sums, as of the last transaction that succeeded.
#[derive(Debug, Default)]
pub(crate) struct Board(BTreeMap<Key, Sums>);

impl Board {
    /// Takes over what a transaction has changed; no letters means no entry.
    pub(crate) fn publish(&mut self, changed: BTreeMap<Key, Sums>) {
        for (key, sums) in changed {
            match sums.letters {
                0 => self.0.remove(&key),
                _ => self.0.insert(key, sums),
            };
        }
    }

    pub(crate) fn sum(&self, is_leaving: bool) -> Sums {
        let mut all = Sums::default();
        self.0.iter().filter(|(key, _)| key.is_leaving == is_leaving).for_each(|(_, sums)| all.add(sums));
        all
    }

    pub(crate) fn totals(&self, is_leaving: bool) -> Totals {
        let mut totals = Totals::new();
        for (key, sums) in self.0.iter().filter(|(key, _)| key.is_leaving == is_leaving) {
            let row = totals.entry((key.tenant.clone(), key.endpoint.clone())).or_default();
            row.push(ReasonTotal { reason: key.reason.clone(), letters: sums.letters, counts: sums.counts });
        }
        totals
    }
}

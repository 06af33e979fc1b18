//! A store over a simulated disk, and letters that differ.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use dead_letters::testing::SimulatedStorage;
use dead_letters::{Envelope, Filter, Id, Leaving, Letter, OpenReport, Store, Summary, Totals};

pub(crate) const PATH: &str = "/data/dead-letters";

pub(crate) struct Rig {
    pub(crate) storage: SimulatedStorage,
    pub(crate) max_bytes: u64,
    store: Option<Store>,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with_bound(u64::MAX)
    }

    pub(crate) fn with_bound(max_bytes: u64) -> Self {
        let mut rig = Self { storage: SimulatedStorage::new(), max_bytes, store: None };
        rig.open();
        rig
    }

    pub(crate) fn open(&mut self) -> OpenReport {
        let (store, report) = Store::open_on(Arc::new(self.storage.clone()), Path::new(PATH), self.max_bytes).unwrap();
        self.store = Some(store);
        report
    }

    pub(crate) fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    pub(crate) fn reopen(&mut self) -> OpenReport {
        self.store.take().unwrap().close().unwrap();
        self.open()
    }

    /// Nothing of what the process does from here on reaches the disk, and what was not synced is lost or torn.
    pub(crate) fn power_cut(&mut self, seed: u64) -> OpenReport {
        self.storage.cut_power_after(0);
        self.store = None;
        self.storage.power_cut(seed);
        self.open()
    }

    pub(crate) fn all(&self) -> Vec<Summary> {
        self.store().list(&Filter::default(), None, usize::MAX).unwrap()
    }

    pub(crate) fn ids(&self) -> Vec<Id> {
        ids(&self.all())
    }

    pub(crate) fn marked(&self) -> Vec<(Id, Leaving)> {
        let leaving = self.store().leaving(None, usize::MAX).unwrap();
        leaving.into_iter().map(|(summary, to)| (summary.id, to)).collect()
    }

    /// Totals, length and bytes are the sums over what is listed.
    #[track_caller]
    pub(crate) fn assert_summed_up(&self) {
        let (all, leaving) = (self.all(), self.store().leaving(None, usize::MAX).unwrap());
        let leaving: Vec<Summary> = leaving.into_iter().map(|(summary, _)| summary).collect();
        assert_eq!(self.store().totals(), sum(&all));
        assert_eq!(self.store().leaving_totals(), sum(&leaving));
        assert_eq!(self.store().len(), all.len() as u64);
        let bytes: u64 = all.iter().chain(&leaving).map(Summary::disk_bytes).sum();
        assert_eq!(self.store().bytes(), bytes);
    }
}

pub(crate) fn ids(summaries: &[Summary]) -> Vec<Id> {
    summaries.iter().map(|summary| summary.id).collect()
}

/// A letter that a number, its row and the size of its body tell from all others.
pub(crate) fn letter(n: u64, tenant: &str, endpoint: &str, bytes: usize) -> Letter {
    let envelope = Envelope {
        tenant: tenant.to_owned(),
        endpoint: endpoint.to_owned(),
        reason: ["400", "413", "5xx"][(n % 3) as usize].to_owned(),
        words: format!("refused for the {n}th time"),
        position: n,
        received_ms: -1,
        refused_ms: n as i64,
        counts: [1, n, 7 * n],
        series: n as u32,
        example: format!("up{{n=\"{n}\"}}"),
        form: n as u8,
        decoded_bytes: 2 * bytes as u32,
    };
    let body: Bytes = (0..bytes as u64).map(|i| (i * 31 + i / 251 + n) as u8).collect();
    Letter { envelope, body }
}

pub(crate) fn sum(summaries: &[Summary]) -> Totals {
    let mut totals = Totals::new();
    let mut sorted: Vec<&Summary> = summaries.iter().collect();
    sorted.sort_by(|a, b| a.envelope.reason.cmp(&b.envelope.reason));
    for Summary { envelope, .. } in sorted {
        let row = totals.entry((envelope.tenant.clone(), envelope.endpoint.clone())).or_default();
        if row.last().is_none_or(|last| last.reason != envelope.reason) {
            row.push(dead_letters::ReasonTotal { reason: envelope.reason.clone(), letters: 0, counts: [0; 3] });
        }
        let total = row.last_mut().unwrap();
        total.letters += 1;
        (0..3).for_each(|i| total.counts[i] += envelope.counts[i]);
    }
    totals
}

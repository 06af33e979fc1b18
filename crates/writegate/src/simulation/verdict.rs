//! Holds what became of all data points against what was promised.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use dead_letters::Filter;
use remote_write::{Counts, read};

use super::plan::EndpointPlan;
use super::points::{Key, Kind, Points, Run, for_each_run};
use super::receiver::Receiver;
use super::sender::Memory;
use crate::dead_letters::{protocol_of, request_in};
use crate::engine::Engine;
use crate::ingest::Reason;
use crate::ledger::{Balance, Dropped};

/// What the gateway says of itself in the end.
#[derive(Default)]
pub(super) struct Evidence {
    /// By tenant and endpoint.
    rows: BTreeMap<(String, String), Entry>,
    /// With their endpoints.
    replays: Vec<(String, Balance)>,
    tenants: Vec<TenantBooks>,
}

#[derive(Default)]
struct Entry {
    balance: Balance,
    /// Its cursor began with the log.
    from_the_start: bool,
    letters: Points,
    letter_counts: Counts,
}

struct TenantBooks {
    name: String,
    received: Counts,
    accepted: Counts,
    refused: Counts,
}

/// One tenant at one endpoint.
#[derive(Clone, Copy)]
pub(super) struct Case<'c> {
    pub(super) tenant: &'c str,
    pub(super) memory: &'c Memory,
    pub(super) endpoint: &'c EndpointPlan,
    pub(super) receiver: &'c Receiver,
    pub(super) has_decayed: bool,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    broken: Vec<String>,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.broken.is_empty() { f.write_str("all promises hold") } else { f.write_str(&self.broken.join("; ")) }
    }
}

impl Evidence {
    pub(super) fn gather(engine: &Engine) -> Self {
        let mut evidence = Self::default();
        for row in engine.deliveries.rows() {
            if row.plan().is_some() {
                evidence.replays.push((row.endpoint.clone(), row.balance()));
                continue;
            }
            let entry = evidence.rows.entry((row.tenant.to_string(), row.endpoint.clone())).or_default();
            entry.balance = row.balance();
            entry.from_the_start = row.cursor().start() == 0;
        }
        let letters = engine.deliveries.dead_letters();
        let (mut after, mut kept) = (None, Vec::new());
        loop {
            let page = letters.list(&Filter::default(), after, 100).expect("a list of letters");
            let Some(last) = page.last().map(|summary| summary.id) else { break };
            after = Some(last);
            for summary in page {
                let Some(letter) = letters.get(summary.id).expect("a letter") else { continue };
                let envelope = &letter.envelope;
                let entry = evidence.rows.entry((envelope.tenant.clone(), envelope.endpoint.clone())).or_default();
                entry.letter_counts += crate::record::from_array(envelope.counts);
                let request = request_in(&letter).expect("a letter's body");
                let protocol = protocol_of(envelope.form).expect("a letter's form");
                let read = read::for_each_series(protocol, &request, |series| {
                    for_each_run(series, |key, points| {
                        kept.clear();
                        kept.extend(points);
                        entry.letters.extend(key, &kept);
                    });
                });
                read.expect("a request");
            }
        }
        for tenant in engine.tenants.list() {
            let refused = Reason::ALL.iter().map(|reason| tenant.refused(*reason).get());
            evidence.tenants.push(TenantBooks {
                name: tenant.name.to_string(),
                received: tenant.received_counts(),
                accepted: tenant.accepted_counts(),
                refused: refused.fold(Counts::default(), |sum, counts| sum + counts),
            });
        }
        evidence
    }

    pub(super) fn tally(&self, tally: &mut BTreeMap<&'static str, u64>) {
        for Entry { balance, .. } in self.rows.values() {
            let all = |counts: Counts| counts.points() + counts.exemplars;
            *tally.entry("expired").or_default() += all(balance.expired);
            *tally.entry("dropped").or_default() += all(balance.books.dropped_total());
            *tally.entry("dead-lettered").or_default() += all(balance.books.dead_lettered_total());
        }
    }
}

impl Verdict {
    pub(super) fn is_clean(&self) -> bool {
        self.broken.is_empty()
    }

    pub(super) fn breaks(&mut self, promise: impl Into<String>) {
        self.broken.push(promise.into());
    }

    /// Acknowledged is delivered, or is accounted for; and nothing else came.
    pub(super) fn judge(&mut self, evidence: &Evidence, case: &Case<'_>) {
        let Case { tenant, memory, endpoint, receiver, has_decayed } = *case;
        let stored = receiver.take_stored(tenant);
        let sent = as_sent_to(endpoint, &memory.sent);
        let whose = format!("of {tenant} at {}", endpoint.name);
        for (key, points) in stored.runs() {
            if let Some((at, _)) = points.without(sent.get(key).map(|run| &**run)).next() {
                self.breaks(format!("content {whose}: {key:?} at {at} was never sent"));
            }
        }
        if endpoint.only.as_ref().is_some_and(|only| only != tenant) {
            if stored.count() > 0 {
                self.breaks(format!("isolation {whose}: it takes others only"));
            }
            return;
        }
        let Some(entry) = evidence.rows.get(&(tenant.to_owned(), endpoint.name.clone())) else {
            if memory.acknowledged.count() > 0 {
                self.breaks(format!("balance {whose}: there are no books"));
            }
            return;
        };
        let Entry { balance, letters, letter_counts, from_the_start } = entry;
        if !balance.balances() {
            self.breaks(format!("balance {whose}: {balance:?}"));
        }
        // What an endpoint breaks on is given up only if it takes something else in between, and nothing comes any more.
        let may_wait = receiver.character().breaks_on.is_some();
        if !balance.pending.is_zero() && !may_wait {
            self.breaks(format!("progress {whose}: {:?} are pending for hours", balance.pending));
        }
        let booked = balance.books.dead_lettered_total();
        // A letter may stay of what expired while the disk of the letters failed: then it was there to see, and is booked as
        // expired.
        let may_be_kept = booked + balance.expired;
        if !covers(*letter_counts, booked) || !covers(may_be_kept, *letter_counts) {
            self.breaks(format!("balance {whose}: {booked:?} booked as dead letters, {letter_counts:?} are kept"));
        }
        if !from_the_start {
            return;
        }
        let expected = as_sent_to(endpoint, &memory.acknowledged);
        let mut acknowledged = Counts::default();
        let mut missing = Counts::default();
        let mut example = None;
        for (key, points) in memory.acknowledged.runs() {
            *of_kind(&mut acknowledged, key.kind) += points.len() as u64;
        }
        for (key, points) in &expected {
            let kept = letters.get(key);
            for (at, _) in points.without(stored.get(key)) {
                if kept.is_none_or(|kept| kept.get(at).is_none()) {
                    *of_kind(&mut missing, key.kind) += 1;
                    example.get_or_insert((key, at));
                }
            }
        }
        let lost_on_purpose = [Dropped::LetterEvicted, Dropped::LetterLetGo, Dropped::NotWritten].map(Dropped::as_str);
        let dropped = balance.books.dropped.iter().filter(|total| lost_on_purpose.contains(&&*total.reason));
        let waiting = if may_wait { balance.pending } else { Counts::default() };
        let accounted = dropped.fold(balance.expired + waiting, |sum, total| sum + total.counts);
        if !covers(accounted, missing) {
            self.breaks(format!(
                "loss {whose}: {missing:?} are missing, {accounted:?} accounted for; first {example:?}"
            ));
        }
        if !has_decayed && !covers(balance.accepted, acknowledged) {
            let accepted = balance.accepted;
            self.breaks(format!("balance {whose}: {acknowledged:?} acknowledged, {accepted:?} accepted"));
        }
    }

    /// What was received was accepted or refused, and replays balance too.
    pub(super) fn judge_books(&mut self, evidence: &Evidence, may_wait: &dyn Fn(&str) -> bool) {
        for TenantBooks { name, received, accepted, refused } in &evidence.tenants {
            if *received != *accepted + *refused {
                self.breaks(format!(
                    "balance of {name}: {received:?} received, {accepted:?} accepted, {refused:?} refused"
                ));
            }
        }
        for (endpoint, balance) in &evidence.replays {
            if !balance.balances() || !(balance.pending.is_zero() || may_wait(endpoint)) {
                self.breaks(format!("balance of a replay: {balance:?}"));
            }
        }
    }
}

/// What an endpoint should get of these points.
fn as_sent_to<'p>(endpoint: &EndpointPlan, points: &'p Points) -> BTreeMap<Key, Cow<'p, Run>> {
    let mut sent = BTreeMap::<Key, Cow<'p, Run>>::new();
    for (key, points) in points.runs() {
        let is_marked = key.id.number % 7 == 6;
        let is_taken = match key.kind {
            Kind::Sample => true,
            Kind::Histogram => endpoint.histograms,
            Kind::Exemplar => endpoint.exemplars,
        };
        if (endpoint.drops && is_marked) || !is_taken {
            continue;
        }
        let volatile = if endpoint.edits { None } else { key.volatile };
        let key = Key { volatile, ..*key };
        match sent.get_mut(&key) {
            Some(others) => others.to_mut().extend(points),
            None => drop(sent.insert(key, Cow::Borrowed(points))),
        }
    }
    sent
}

const fn of_kind(counts: &mut Counts, kind: Kind) -> &mut u64 {
    match kind {
        Kind::Sample => &mut counts.samples,
        Kind::Histogram => &mut counts.histograms,
        Kind::Exemplar => &mut counts.exemplars,
    }
}

const fn covers(all: Counts, some: Counts) -> bool {
    all.samples >= some.samples && all.histograms >= some.histograms && all.exemplars >= some.exemplars
}

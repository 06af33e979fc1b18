//! Random histories against a naive model: appends, reads, settles, retention, kills, power cuts at any operation, decay.
//!
//! Claims: what was acknowledged is read as it was, or has expired, or lies in a damaged gap (only after decay); nothing
//! else is read, but what was under way when an append failed; each cursor balances at all times, and to zero when drained; books
//! and cursor are of one moment; the head never goes back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_oneof, proptest};
use segment_log::testing::Operation;
use segment_log::{Counts, Cursor, Entry, GapCause, Log, OnFull, Position, Read, RetentionLimits, Start, StoreOptions};

use crate::rig::{Rig, options, send};

#[derive(Clone, Debug)]
enum Action {
    /// Appends records of these sizes at once.
    Append(Vec<u16>),
    /// Reads everything, from a place chosen by this number on.
    Read(u8),
    /// A cursor settles those of the next 64 pending positions whose bit is set.
    Settle(usize, u64),
    /// A cursor reads and settles everything.
    Drain(usize),
    /// Time passes.
    Tick(u16),
    /// One operation fails.
    Fail(Operation, u8, bool),
    /// The process is killed and starts again.
    Kill,
    /// The power goes after so many operations; after the actions in between, at the next action of this kind, it comes back.
    PowerCut(u8, u64),
    /// The store is closed and opened.
    Reopen,
    /// A byte of a segment changes by itself.
    Decay(u16, u16),
    /// An endpoint is removed or comes back.
    Detach(usize),
}

fn action() -> impl Strategy<Value = Action> {
    let operation = prop_oneof![
        Just(Operation::Write),
        Just(Operation::Sync),
        Just(Operation::Create),
        Just(Operation::Rename),
        Just(Operation::SyncDir),
        Just(Operation::Remove),
    ];
    prop_oneof![
        8 => vec(0u16..400, 1..8).prop_map(Action::Append),
        1 => vec(0u16..5000, 1..3).prop_map(Action::Append),
        2 => any::<u8>().prop_map(Action::Read),
        4 => (0..CURSORS.len(), any::<u64>()).prop_map(|(cursor, bits)| Action::Settle(cursor, bits)),
        1 => (0..CURSORS.len()).prop_map(Action::Drain),
        3 => any::<u16>().prop_map(Action::Tick),
        1 => (operation, 0u8..5, any::<bool>()).prop_map(|(operation, after, full)| Action::Fail(operation, after, full)),
        1 => Just(Action::Kill),
        2 => (0u8..12, any::<u64>()).prop_map(|(after, seed)| Action::PowerCut(after, seed)),
        1 => Just(Action::Reopen),
        1 => (0..CURSORS.len()).prop_map(Action::Detach),
    ]
}

fn decay() -> impl Strategy<Value = Action> {
    (any::<u16>(), any::<u16>()).prop_map(|(file, byte)| Action::Decay(file, byte))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn without_decay_everything_acknowledged_is_read_and_every_cursor_balances(actions in vec(action(), 1..50)) {
        World::new().run(actions);
    }

    #[test]
    fn with_decay_what_is_lost_is_counted(actions in vec(prop_oneof![6 => action(), 1 => decay()], 1..50)) {
        World::new().run(actions);
    }
}

const CURSORS: [&str; 3] = ["eager", "late", "strict"];

#[derive(Default)]
struct Model {
    acknowledged: BTreeMap<Position, Bytes>,
    /// Bodies whose append failed: they may be found later, all the same.
    maybe: BTreeSet<Bytes>,
    /// Positions that a cursor has settled, or has tried to.
    settled: [BTreeSet<Position>; CURSORS.len()],
    decayed: bool,
    head: Position,
    next_id: u64,
}

struct World {
    rig: Rig,
    model: Model,
    now_ms: i64,
    /// The power is about to go, or gone.
    armed: Option<u64>,
}

impl World {
    fn new() -> Self {
        let options = StoreOptions {
            tail_bytes: 1500,
            segment_bytes: 512..=4096,
            write_ahead_from: 2048,
            limits: RetentionLimits { retain_ms: 100_000, max_size: 40_000, ..options().limits },
            ..options()
        };
        let world = Self { rig: Rig::new(options), model: Model::default(), now_ms: 0, armed: None };
        world.attach();
        world
    }

    fn attach(&self) {
        for name in CURSORS {
            let cursor = self.rig.log().cursor(name, Start::Oldest).unwrap();
            if name == "strict" {
                cursor.set_on_full(Some(OnFull::Refuse));
            }
        }
    }

    fn run(mut self, actions: Vec<Action>) {
        for action in actions {
            self.act(action);
            if self.armed.is_none() {
                self.check();
            }
        }
        if let Some(seed) = self.armed {
            self.come_back(seed);
        }
        // A clean disk again: everything that is pending can be settled, and then nothing is.
        self.rig.storage.clear_faults();
        self.rig.store().tick(self.now_ms);
        self.rig.reopen();
        self.attach();
        assert_eq!(self.rig.log().bytes(), self.rig.store().disk_bytes());
        self.check();
        for index in 0..CURSORS.len() {
            self.drain(index);
        }
        self.check();
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Append(sizes) => self.append(&sizes),
            Action::Read(from) if self.armed.is_none() => self.read(from),
            Action::Settle(index, bits) => self.settle(index, bits),
            Action::Drain(index) if self.armed.is_none() => self.drain(index),
            Action::Tick(ms) => {
                self.now_ms += i64::from(ms);
                drop(self.rig.store().tick(self.now_ms));
            }
            Action::Fail(operation, after, full) => {
                let kind = if full { std::io::ErrorKind::StorageFull } else { std::io::ErrorKind::Other };
                self.rig.storage.fail(operation, after.into(), kind);
            }
            Action::Kill if self.armed.is_none() => {
                self.rig.store = None;
                self.rig.storage.clear_faults();
                self.rig.open();
                self.attach();
            }
            Action::PowerCut(after, seed) => match self.armed {
                None => {
                    self.rig.storage.cut_power_after(after.into());
                    self.armed = Some(seed);
                }
                Some(seed) => self.come_back(seed),
            },
            Action::Reopen if self.armed.is_none() => {
                drop(self.rig.store.take().unwrap().close());
                self.rig.storage.clear_faults();
                self.rig.open();
                self.attach();
            }
            Action::Decay(file, byte) if self.armed.is_none() => self.decay(file, byte),
            Action::Detach(index) if self.armed.is_none() => {
                let cursor = self.cursor(index);
                // With a fault set either may fail; the next attach mends it.
                if cursor.is_attached() {
                    drop(self.rig.log().detach_cursor(CURSORS[index]));
                } else {
                    drop(self.rig.log().cursor(CURSORS[index], Start::Head));
                }
            }
            // Not while the power is going.
            Action::Read(_)
            | Action::Drain(_)
            | Action::Kill
            | Action::Reopen
            | Action::Decay(..)
            | Action::Detach(_) => {}
        }
    }

    fn come_back(&mut self, seed: u64) {
        self.armed = None;
        self.rig.power_cut(seed);
        self.attach();
    }

    fn append(&mut self, sizes: &[u16]) {
        let log = self.rig.log();
        let mut answers = Vec::new();
        for size in sizes {
            let mut body = self.model.next_id.to_le_bytes().to_vec();
            self.model.next_id += 1;
            body.resize(8 + usize::from(*size), 0xab);
            let body = Bytes::from(body);
            let meta = Bytes::from_static(b"m");
            let entry = Entry { received_ms: self.now_ms, counts: counts_of(&body), meta, body: body.clone() };
            answers.push((body, send(&log, entry)));
        }
        for (body, answer) in answers {
            match answer.recv().unwrap() {
                Ok(position) => {
                    // What decays in the last commit cannot be told from what was never synced.
                    let before = self.model.acknowledged.insert(position, body);
                    assert!(before.is_none() || self.model.decayed, "{position} was given out twice");
                }
                Err(_) => {
                    self.model.maybe.insert(body);
                }
            }
        }
    }

    fn read(&self, from: u8) {
        let log = self.rig.log();
        let from = log.head() * u64::from(from) / 255;
        self.compare(&log, from);
    }

    /// Reads everything from a position on and holds it against the model.
    fn compare(&self, log: &Arc<Log>, from: Position) {
        let (head, oldest) = (log.head(), log.oldest());
        let mut expected = from;
        for read in read_all(log, from) {
            match read {
                Read::Record(record) => {
                    assert_eq!(record.position, expected);
                    assert_eq!(record.counts, counts_of(&record.body));
                    match self.model.acknowledged.get(&record.position) {
                        Some(body) if !self.model.decayed => assert_eq!(&record.body, body, "{}", record.position),
                        Some(body) if record.body == body => {}
                        Some(_) | None => {
                            assert!(self.model.maybe.contains(&record.body), "position {}", record.position);
                        }
                    }
                    expected += 1;
                }
                Read::Gap { from, to, cause, .. } => {
                    assert_eq!(from, expected);
                    let lost = self.model.acknowledged.range(from..to).next();
                    match cause {
                        // The janitor may drop more meanwhile.
                        GapCause::Expired => assert!((oldest..=log.oldest()).contains(&to)),
                        GapCause::Damaged => assert!(self.model.decayed || lost.is_none(), "{from} to {to} is lost"),
                    }
                    expected = to;
                }
            }
        }
        assert_eq!(expected, head.max(from));
    }

    fn cursor(&self, index: usize) -> Arc<Cursor> {
        self.rig.log().find_cursor(CURSORS[index]).unwrap()
    }

    fn settle(&mut self, index: usize, bits: u64) {
        let cursor = self.cursor(index);
        let log = self.rig.log();
        if self.armed.is_some() {
            return;
        }
        let mut records = BTreeMap::new();
        for read in read_all(&log, cursor.low()) {
            if let Read::Record(record) = read {
                records.insert(record.position, record.counts);
            }
        }
        let pending = records.into_iter().filter(|(position, _)| !cursor.is_settled(*position));
        let chosen: Vec<_> = pending.take(64).enumerate().filter(|(i, _)| bits >> i & 1 == 1).map(|(_, p)| p).collect();
        self.book(index, &cursor, &chosen);
    }

    fn book(&mut self, index: usize, cursor: &Cursor, chosen: &[(Position, Counts)]) {
        self.model.settled[index].extend(chosen.iter().map(|(position, _)| *position));
        let result = cursor.settle(chosen, &mut |newly, books| {
            let known = Books::decode(books);
            let more = newly.iter().zip(chosen).filter(|(new, _)| **new).map(|(_, (_, counts))| *counts);
            *books = Books(more.fold(known.0, add)).encode();
        });
        drop(result);
    }

    /// As a delivery does: settles all records, books all gaps.
    fn drain(&mut self, index: usize) {
        let cursor = self.cursor(index);
        let log = self.rig.log();
        if !cursor.is_attached() {
            return;
        }
        let mut chosen = Vec::new();
        for read in read_all(&log, cursor.low()) {
            match read {
                Read::Record(record) => chosen.push((record.position, record.counts)),
                Read::Gap { from, to, cause: GapCause::Damaged, .. } => {
                    self.model.settled[index].extend(from..to);
                    drop(cursor.expire(from, to));
                }
                // The janitor was faster.
                Read::Gap { cause: GapCause::Expired, .. } => {}
            }
        }
        let before = cursor.low();
        self.book(index, &cursor, &chosen);
        if cursor.low() == log.head() && before < cursor.low() {
            assert_eq!(cursor.pending(), [0; 3], "{:?}", cursor.balance());
        }
    }

    fn decay(&mut self, file: u16, byte: u16) {
        let files = self.rig.segments();
        if files.is_empty() {
            return;
        }
        let path = &files[usize::from(file) % files.len()];
        self.model.decayed = true;
        self.rig.storage.edit(path, |bytes| {
            let byte = usize::from(byte) % bytes.len().max(1);
            if let Some(byte) = bytes.get_mut(byte) {
                *byte ^= 0x40;
            }
        });
    }

    fn check(&mut self) {
        let log = self.rig.log();
        assert!(log.head() >= self.model.head || self.model.decayed, "the head went back");
        self.model.head = log.head();
        self.compare(&log, log.oldest());
        for (index, name) in CURSORS.iter().enumerate() {
            let cursor = self.cursor(index);
            let balance = cursor.balance();
            for i in 0..3 {
                let sum = balance.settled[i] + balance.expired[i] + balance.pending[i];
                assert_eq!(balance.accepted[i], sum, "{name} {balance:?}");
            }
            assert_eq!(Books::decode(&balance.books).0, balance.settled, "books and cursor are of one moment");
            for position in cursor.low()..log.head() {
                let by_us = self.model.settled[index].contains(&position);
                // The janitor may let it expire meanwhile.
                let settled = cursor.is_settled(position) && position >= cursor.low();
                assert!(by_us || self.model.decayed || !settled, "{position} was never settled");
            }
            if cursor.low() == log.head() {
                assert_eq!(balance.pending, [0; 3], "{name} {balance:?}");
            }
        }
    }
}

fn read_all(log: &Arc<Log>, from: Position) -> Vec<Read> {
    let mut out = Vec::new();
    let mut reader = log.reader(from);
    while reader.position() < log.head() {
        reader.read(700, 5, &mut out).unwrap();
    }
    out
}

/// Three numbers that differ for each record.
fn counts_of(body: &Bytes) -> Counts {
    let id = u64::from_le_bytes(*body.first_chunk().unwrap());
    [1, id, body.len() as u64]
}

fn add(a: Counts, b: Counts) -> Counts {
    [a[0] + b[0], a[1] + b[1], a[2] + b[2]]
}

/// What the model's cursors keep in their books: the sums of what they settled.
struct Books(Counts);

impl Books {
    fn decode(bytes: &[u8]) -> Self {
        let mut counts = [0; 3];
        for (n, word) in counts.iter_mut().zip(bytes.chunks_exact(8)) {
            *n = u64::from_le_bytes(*word.first_chunk().unwrap());
        }
        Self(counts)
    }

    fn encode(&self) -> Vec<u8> {
        self.0.iter().flat_map(|n| n.to_le_bytes()).collect()
    }
}

//! Letters and books of one row on simulated disks, with ends of the process wherever they hurt.

use std::sync::mpsc::channel;

use dead_letters::testing::{Operation, SimulatedStorage as LettersDisk};
use segment_log::testing::SimulatedStorage as LogDisk;
use segment_log::{Entry, Start, StoreOptions};

use super::*;
use crate::ledger::{Booking, Refusal, Settled};
use crate::tenant::TenantName;

const ROOT: &str = "/simulated";
const REFUSAL: Refusal = Refusal::BadRequest;

/// What dies with the process.
struct Process {
    _log: segment_log::Store,
    letters: DeadLetters,
    row: Arc<Row>,
}

/// One tenant at one endpoint, and their disks.
#[derive(Default)]
struct Rig {
    log_disk: LogDisk,
    letters_disk: LettersDisk,
    process: Option<Process>,
}

impl Rig {
    /// With so many records, of one sample each.
    fn new(records: u64) -> Self {
        let mut rig = Self::default();
        rig.open();
        let log = rig.row().cursor().log();
        for _ in 0..records {
            let (done, appended) = channel();
            let (meta, body) = (Bytes::new(), Bytes::from_static(b"record"));
            let entry = Entry { received_ms: 0, counts: [1, 0, 0], meta, body };
            log.append(entry, Box::new(move |result| done.send(result.is_ok()).unwrap()));
            assert!(appended.recv().unwrap());
        }
        rig
    }

    fn open(&mut self) {
        let (log, _) = segment_log::Store::open(StoreOptions::new(ROOT), Arc::new(self.log_disk.clone())).unwrap();
        let cursor = log.log("t").unwrap().cursor("e", Start::Oldest).unwrap();
        let row = Arc::new(Row::new(TenantName::new("t").unwrap(), cursor));
        let letters = DeadLetters::open(Arc::new(self.letters_disk.clone()), Path::new(ROOT), 1 << 30).unwrap();
        self.process = Some(Process { _log: log, letters, row });
    }

    /// As after a `kill -9`: what was written is there.
    fn start_again(&mut self) {
        self.process = None;
        self.open();
        self.letters().recover(&[Arc::clone(self.row())]).unwrap();
    }

    /// What was not synced is torn or lost.
    fn cut_power(&mut self, seed: u64) {
        self.process = None;
        self.log_disk.power_cut(seed);
        self.letters_disk.power_cut(seed);
        self.start_again();
    }

    fn letters(&self) -> &DeadLetters {
        &self.process.as_ref().unwrap().letters
    }

    fn row(&self) -> &Arc<Row> {
        &self.process.as_ref().unwrap().row
    }

    /// The endpoint refused these records, and their letters are kept.
    fn put(&self, positions: std::ops::Range<u64>) -> Vec<Id> {
        let letter = |position| Letter {
            envelope: Envelope {
                tenant: "t".to_owned(),
                endpoint: "e".to_owned(),
                reason: REFUSAL.as_str().to_owned(),
                words: String::new(),
                position,
                received_ms: 0,
                refused_ms: 0,
                counts: [1, 0, 0],
                series: 1,
                example: String::new(),
                form: form_of(Protocol::V1),
                decoded_bytes: 0,
            },
            body: Bytes::from_static(b"body"),
        };
        self.letters().put(&positions.map(letter).collect::<Vec<_>>()).unwrap()
    }

    /// Books them.
    fn settle(&self, positions: std::ops::Range<u64>) {
        let counts = Counts { samples: 1, ..Counts::default() };
        let settled = positions.map(|position| {
            let mut booking = Booking::default();
            booking.add(Fate::DeadLettered(REFUSAL), counts);
            Settled { position, counts, booking }
        });
        let before = self.row().settle(&settled.collect::<Vec<_>>()).unwrap();
        assert!(before.is_empty(), "{before:?}");
    }

    fn refuse(&self, positions: std::ops::Range<u64>) -> Vec<Id> {
        let ids = self.put(positions.clone());
        self.settle(positions);
        ids
    }

    fn leave(&self, ids: &[Id], to: Leaving) -> Result<u64, MoveError> {
        let row = Arc::clone(self.row());
        self.letters().leave(ids, to, &|_, _| Some(Arc::clone(&row)))
    }

    fn kept(&self) -> u64 {
        self.letters().totals().values().flatten().map(|total| total.counts[0]).sum()
    }

    fn booked(&self) -> u64 {
        self.row().balance().books.dead_lettered_total().samples
    }

    fn dropped(&self, reason: Dropped) -> u64 {
        let dropped = self.row().balance().books.dropped;
        dropped.iter().filter(|total| total.reason == reason.as_str()).map(|total| total.counts.samples).sum()
    }
}

#[test]
fn letters_that_moved_before_a_kill_do_not_move_again_beside_others_that_were_not_booked() {
    let mut rig = Rig::new(9);
    let leaving = rig.refuse(0..6);
    // These are kept, and the kill comes before they are booked.
    rig.put(6..9);
    let marked = rig.letters().store.begin_leaving(&leaving[..2], Leaving::Dropped).unwrap();
    let marked: Vec<&Summary> = marked.iter().collect();
    move_in_books(rig.row(), REFUSAL.as_str(), &marked, Leaving::Dropped, leaving[0]).unwrap();
    rig.start_again();
    assert_eq!((rig.kept(), rig.booked(), rig.dropped(Dropped::LetterLetGo)), (4, 4, 2));
}

#[test]
fn letters_that_had_not_moved_before_a_kill_move_though_as_many_others_were_not_booked() {
    let mut rig = Rig::new(9);
    let leaving = rig.refuse(0..6);
    rig.put(6..9);
    rig.letters().store.begin_leaving(&leaving[..3], Leaving::Dropped).unwrap();
    rig.start_again();
    assert_eq!((rig.kept(), rig.booked(), rig.dropped(Dropped::LetterLetGo)), (3, 3, 3));
}

#[test]
fn letters_and_books_agree_wherever_the_power_goes_while_letters_leave() {
    let mut cut_at = [0; 3];
    for after in 0.. {
        let mut rig = Rig::new(9);
        let ids = rig.refuse(0..7);
        rig.row().cursor().log().sync_cursors().unwrap();
        rig.put(7..9);
        rig.letters_disk.cut_power_after(after);
        let has_left = rig.leave(&ids[2..5], Leaving::Delivered).is_ok();
        rig.cut_power(after);
        let (kept, booked) = (rig.kept(), rig.booked());
        assert_eq!(kept, booked, "after {after} operations: samples in letters, and in the books");
        let delivered = rig.row().balance().books.delivered.samples;
        assert_eq!((kept + delivered, rig.row().balance().pending.samples), (7, 2), "after {after} operations");
        cut_at[usize::from(delivered > 0) + usize::from(has_left)] += 1;
        if has_left {
            break;
        }
    }
    assert!(cut_at.iter().all(|times| *times > 0), "{cut_at:?}");
}

#[test]
fn what_could_not_leave_leaves_once_with_the_next_or_at_the_next_comparison() {
    for operation in [Operation::Write, Operation::Sync] {
        for (after, compares) in (0..200).flat_map(|after| [(after, false), (after, true)]) {
            let rig = Rig::new(9);
            let ids = rig.refuse(0..7);
            rig.put(7..9);
            rig.letters().recover(&[]).unwrap();
            rig.letters_disk.fail(operation, after, 1, std::io::ErrorKind::Other);
            let failed = rig.leave(&ids[..2], Leaving::Dropped).is_err();
            assert_eq!(rig.letters().may_disagree(), failed);
            rig.letters_disk.clear_faults();
            if compares {
                rig.letters().reconcile(&[Arc::clone(rig.row())]).unwrap();
                assert!(!rig.letters().may_disagree());
            } else {
                rig.leave(&ids[4..6], Leaving::Delivered).unwrap();
            }
            // Those that are not booked are there too.
            assert_eq!(rig.kept(), rig.booked() + 2, "{operation:?} {after} {compares}");
            assert!(rig.letters().store.leaving_totals().is_empty());
            if !failed {
                break;
            }
        }
    }
}

#[test]
fn what_is_kept_and_not_booked_yet_does_not_leave() {
    let mut rig = Rig::new(6);
    let booked = rig.refuse(0..3);
    let ids = [booked, rig.put(3..6)].concat();
    assert_eq!(rig.leave(&ids, Leaving::Dropped).unwrap(), 3);
    assert_eq!((rig.kept(), rig.booked()), (3, 0));
    rig.settle(3..6);
    rig.start_again();
    assert_eq!((rig.kept(), rig.booked(), rig.dropped(Dropped::LetterLetGo)), (3, 3, 3));
    assert_eq!(rig.leave(&ids, Leaving::Dropped).unwrap(), 3);
    assert_eq!((rig.kept(), rig.booked(), rig.dropped(Dropped::LetterLetGo)), (0, 0, 6));
}

#[test]
fn what_was_marked_and_is_not_settled_after_a_power_cut_is_sent_again_and_moves_nothing() {
    let mut was_forgotten = false;
    for seed in 0..16 {
        let mut rig = Rig::new(6);
        let mut ids = rig.refuse(0..3);
        rig.row().cursor().log().sync_cursors().unwrap();
        // These are settled, and that is not synced yet.
        ids.extend(rig.refuse(3..6));
        rig.letters().store.begin_leaving(&ids[1..], Leaving::Dropped).unwrap();
        rig.cut_power(seed);
        let pending = rig.row().balance().pending.samples;
        was_forgotten |= pending > 0;
        assert_eq!((rig.kept(), rig.booked()), (1, 1), "seed {seed}");
        assert_eq!(rig.dropped(Dropped::LetterLetGo), 5 - pending, "seed {seed}");
    }
    assert!(was_forgotten);
}

#[test]
fn letters_that_are_lost_are_booked_as_evicted_and_no_others() {
    let mut rig = Rig::new(6);
    let ids = rig.refuse(0..4);
    rig.letters().store.remove(&ids[..1]).unwrap();
    rig.start_again();
    assert_eq!((rig.kept(), rig.booked(), rig.dropped(Dropped::LetterEvicted)), (3, 3, 1));
    // What is not booked yet hides a loss from the first comparison, and not from the next.
    rig.letters().store.remove(&ids[1..3]).unwrap();
    rig.put(4..5);
    rig.letters().reconcile(&[Arc::clone(rig.row())]).unwrap();
    assert!(rig.letters().may_disagree());
    rig.settle(4..5);
    rig.letters().reconcile(&[Arc::clone(rig.row())]).unwrap();
    assert_eq!((rig.kept(), rig.booked(), rig.dropped(Dropped::LetterEvicted)), (2, 2, 3));
    rig.letters().reconcile(&[Arc::clone(rig.row())]).unwrap();
    assert!(!rig.letters().may_disagree());
}

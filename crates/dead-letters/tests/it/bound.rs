//! The bound: which letters have to leave, and what the file takes on the disk meanwhile.

use std::io::ErrorKind;

use dead_letters::Leaving;
use dead_letters::testing::Operation;

use crate::rig::{Rig, ids, letter};

fn evict(rig: &Rig) -> u64 {
    let mut evicted = 0;
    loop {
        let over = ids(&rig.store().over(100).unwrap());
        if over.is_empty() {
            return evicted;
        }
        rig.store().begin_leaving(&over, Leaving::Evicted).unwrap();
        evicted += rig.store().finish_leaving(&over).unwrap();
    }
}

#[test]
fn the_oldest_leave_until_the_others_are_within_the_bound() {
    let rig = Rig::with_bound(1 << 20);
    for n in 0..10 {
        rig.store().put(&[letter(n, "a", "x", 50_000)]).unwrap();
    }
    assert_eq!(rig.store().over(100).unwrap(), []);
    rig.store().set_max_bytes(rig.store().bytes() * 7 / 10);
    assert_eq!(ids(&rig.store().over(100).unwrap()), [1, 2, 3]);
    assert_eq!(ids(&rig.store().over(2).unwrap()), [1, 2]);
    rig.store().begin_leaving(&[2], Leaving::Delivered).unwrap();
    assert_eq!(ids(&rig.store().over(100).unwrap()), [1, 3], "what is leaving already makes room");
    evict(&rig);
    assert_eq!(rig.ids(), [4, 5, 6, 7, 8, 9, 10]);
}

#[test]
fn a_put_above_the_bound_is_kept_whole_and_evicts_all_older_ones_also_after_a_restart() {
    let mut rig = Rig::with_bound(150_000);
    rig.store().put(&[letter(0, "a", "x", 10_000)]).unwrap();
    rig.store().put(&[letter(1, "a", "x", 90_000), letter(2, "a", "x", 90_000)]).unwrap();
    rig.reopen();
    assert_eq!(evict(&rig), 1);
    assert_eq!(rig.ids(), [2, 3]);
    rig.store().put(&[letter(3, "a", "x", 10_000)]).unwrap();
    assert_eq!(evict(&rig), 1);
    assert_eq!(rig.ids(), [3, 4], "the smallest number of the oldest");
}

/// Bodies of many sizes come and go, far more than the bound in all.
#[test]
fn churn_keeps_the_file_within_one_and_a_half_times_the_bound() {
    const BOUND: u64 = 6 << 20;
    for sizes in [&[300][..], &[3_000], &[20_000], &[4_200, 300, 90_000, 700_000, 1]] {
        let rig = Rig::with_bound(BOUND);
        let (mut put, mut most, mut n) = (0, 0, 0);
        while put < 3 * BOUND {
            let letters: Vec<_> = (0..100_000 / sizes[0].max(3_000))
                .map(|_| {
                    n += 1;
                    let bytes = sizes[n as usize % sizes.len()];
                    letter(n, ["a", "b"][n as usize % 2], ["x", "y", "z"][n as usize % 3], bytes as usize)
                })
                .collect();
            rig.store().put(&letters).unwrap();
            put += letters.iter().map(|letter| letter.body.len() as u64 + 500).sum::<u64>();
            evict(&rig);
            most = most.max(rig.storage.used());
        }
        assert!(rig.store().bytes() <= BOUND);
        assert!(rig.store().bytes() > BOUND * 8 / 10);
        assert!(most <= BOUND + BOUND / 2 + (1 << 20), "{sizes:?}: {most}");
        assert!(rig.storage.used() * 2 > rig.store().bytes(), "{sizes:?}: the estimate is not far above the truth");
    }
}

#[test]
fn a_bound_lowered_much_is_kept_however_few_letters_are_evicted_at_a_time() {
    let rig = Rig::with_bound(u64::MAX);
    for _ in 0..8 {
        rig.store().put(&(0..500).map(|n| letter(n, "a", "x", 5_000)).collect::<Vec<_>>()).unwrap();
    }
    rig.store().set_max_bytes(1 << 20);
    evict(&rig);
    assert!(rig.storage.used() < 9 << 20, "{}", rig.storage.used());
}

#[test]
fn a_lower_bound_gives_the_disk_back_what_was_taken() {
    let mut rig = Rig::with_bound(64 << 20);
    for n in 0..40 {
        rig.store().put(&[letter(n, "a", "x", 1_000_000)]).unwrap();
    }
    assert!(rig.storage.used() > 40_000_000);
    rig.store().set_max_bytes(4 << 20);
    evict(&rig);
    assert!(rig.storage.used() < 12 << 20, "{}", rig.storage.used());
    let left = rig.ids();
    assert_eq!(left, [37, 38, 39, 40]);
    rig.power_cut(5);
    assert_eq!(rig.ids(), left);
    assert!(rig.store().get(40).unwrap() == Some(letter(39, "a", "x", 1_000_000)));
}

/// Seven megabytes of letters and a bound that all but one are above: the next call that deletes compacts the file.
fn ready_to_compact() -> Rig {
    let rig = Rig::with_bound(64 << 10);
    for n in 0..7 {
        rig.store().put(&[letter(n, "a", "x", 1_000_000)]).unwrap();
    }
    rig.store().begin_leaving(&[1, 2, 3, 5, 6], Leaving::Evicted).unwrap();
    rig
}

#[test]
fn a_power_cut_or_a_failing_disk_amid_a_compaction_loses_nothing() {
    let rig = ready_to_compact();
    let before = (rig.storage.operations(), rig.storage.used());
    rig.store().finish_leaving(&[1, 2, 3, 5, 6]).unwrap();
    let operations = rig.storage.operations() - before.0;
    assert!(rig.storage.used() < before.1 / 2, "it was compacted");
    for cut in [true, false] {
        for step in 1..12 {
            let mut rig = ready_to_compact();
            if cut {
                rig.storage.cut_power_after(operations * step / 12);
            } else {
                rig.storage.fail(Operation::Sync, step, 2, ErrorKind::Other);
            }
            let done = rig.store().finish_leaving(&[1, 2, 3, 5, 6]).is_ok();
            if !cut {
                rig.storage.clear_faults();
                assert_eq!(rig.store().put(&[letter(7, "a", "x", 10)]).unwrap(), [8]);
            }
            let report = rig.power_cut(step);
            assert_eq!(report.set_aside, None);
            let expected: &[u64] = if cut { &[4, 7] } else { &[4, 7, 8] };
            assert_eq!(rig.ids(), expected, "{cut} {step}");
            assert!(!done || rig.marked().is_empty(), "{cut} {step}");
            for id in [4, 7] {
                assert!(rig.store().get(id).unwrap() == Some(letter(id - 1, "a", "x", 1_000_000)), "{cut} {step} {id}");
            }
            rig.assert_summed_up();
        }
    }
}

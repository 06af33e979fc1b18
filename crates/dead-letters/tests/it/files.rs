//! The real file system: one process at a time, and what opening costs.

use std::time::{Duration, Instant};

use dead_letters::{Filter, OpenError, Store};

use crate::rig::letter;

#[test]
fn a_file_has_one_owner_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dead-letters");
    let (store, _) = Store::open(&path, 1 << 20).unwrap();
    assert!(matches!(Store::open(&path, 1 << 20), Err(OpenError::Locked { .. })));
    store.put(&[letter(0, "a", "x", 10)]).unwrap();
    drop(store);
    let (store, report) = Store::open(&path, 1 << 20).unwrap();
    assert_eq!((report.letters, store.list(&Filter::default(), None, 9).unwrap().len()), (1, 1));
}

#[test]
fn a_file_that_is_something_else_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dead-letters");
    std::fs::write(&path, "not a store".repeat(1000)).unwrap();
    let (store, report) = Store::open(&path, 1 << 20).unwrap();
    let aside = report.set_aside.unwrap();
    assert_eq!(std::fs::read_to_string(aside.to).unwrap(), "not a store".repeat(1000));
    store.put(&[letter(0, "a", "x", 10)]).unwrap();
}

#[test]
fn opening_reads_no_letters_however_many_there_are() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dead-letters");
    let (store, _) = Store::open(&path, u64::MAX).unwrap();
    for batch in 0..20u64 {
        let letters: Vec<_> = (0..1000).map(|n| letter(batch * 1000 + n, "a", "x", 100)).collect();
        store.put(&letters).unwrap();
    }
    // The copy is what a crash leaves: nothing was closed.
    let crashed = dir.path().join("crashed");
    std::fs::copy(&path, &crashed).unwrap();
    let before = Instant::now();
    let (store, report) = Store::open(&crashed, u64::MAX).unwrap();
    let took = before.elapsed();
    assert_eq!((report.letters, store.len()), (20_000, 20_000));
    assert!(took < Duration::from_secs(1), "{took:?}");
}

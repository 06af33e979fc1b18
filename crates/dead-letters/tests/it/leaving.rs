//! Letters leave in two steps; a crash at any point between leaves one of the states that the caller can go on from.

use dead_letters::{Filter, Leaving};

use crate::rig::{Rig, ids, letter};

fn five() -> Rig {
    let rig = Rig::new();
    let letters: Vec<_> = (1..6).map(|n| letter(n, "a", "x", 3000)).collect();
    rig.store().put(&letters).unwrap();
    rig
}

#[test]
fn a_marked_letter_is_counted_apart_and_listed_no_more_but_can_be_read() {
    let rig = five();
    let marked = rig.store().begin_leaving(&[2, 4, 9], Leaving::Delivered).unwrap();
    assert_eq!(ids(&marked), [2, 4]);
    assert_eq!(rig.ids(), [1, 3, 5]);
    let row = Filter { tenant: Some("a".into()), endpoint: Some("x".into()) };
    assert_eq!(ids(&rig.store().list(&row, None, 9).unwrap()), [1, 3, 5]);
    assert_eq!(rig.marked(), [(2, Leaving::Delivered), (4, Leaving::Delivered)]);
    assert_eq!(rig.store().leaving(Some(2), 9).unwrap().len(), 1);
    assert_eq!(rig.store().get(2).unwrap(), Some(letter(2, "a", "x", 3000)));
    rig.assert_summed_up();
}

#[test]
fn a_letter_is_marked_for_one_caller_only_so_that_books_move_once() {
    let rig = five();
    assert_eq!(rig.store().begin_leaving(&[2], Leaving::Delivered).unwrap().len(), 1);
    assert_eq!(rig.store().begin_leaving(&[2, 2], Leaving::Dropped).unwrap().len(), 0);
    assert_eq!(ids(&rig.store().begin_leaving(&[3, 3], Leaving::Dropped).unwrap()), [3]);
    assert_eq!(rig.marked(), [(2, Leaving::Delivered), (3, Leaving::Dropped)]);
}

#[test]
fn only_marked_letters_are_deleted_or_taken_back() {
    let rig = five();
    rig.store().begin_leaving(&[2, 3], Leaving::Dropped).unwrap();
    assert_eq!(rig.store().finish_leaving(&[1, 2, 9]).unwrap(), 1);
    assert_eq!(rig.store().cancel_leaving(&[1, 2, 3]).unwrap(), 1);
    assert_eq!((rig.ids(), rig.marked()), (vec![1, 3, 4, 5], vec![]));
    assert_eq!(rig.store().get(2).unwrap(), None);
    rig.assert_summed_up();
}

#[test]
fn letters_of_no_books_are_deleted_marked_or_not() {
    let rig = five();
    rig.store().begin_leaving(&[2, 3], Leaving::Dropped).unwrap();
    assert_eq!(rig.store().remove(&[1, 2, 2, 9]).unwrap(), 2);
    assert_eq!((rig.ids(), rig.marked()), (vec![4, 5], vec![(3, Leaving::Dropped)]));
    rig.assert_summed_up();
}

#[test]
fn a_crash_at_any_operation_of_the_two_steps_leaves_each_step_done_or_not_done() {
    let mut cut_at = [0; 3];
    for after in 0.. {
        let mut rig = five();
        rig.storage.cut_power_after(after);
        let begun = rig.store().begin_leaving(&[1, 4], Leaving::Evicted).is_ok();
        let finished = begun && rig.store().finish_leaving(&[1, 4]).is_ok();
        rig.power_cut(after);
        rig.assert_summed_up();
        let marks = rig.marked();
        let gone = rig.ids() == [2, 3, 5] && marks.is_empty();
        let marked = rig.ids() == [2, 3, 5] && marks == [(1, Leaving::Evicted), (4, Leaving::Evicted)];
        let untouched = rig.ids() == [1, 2, 3, 4, 5] && marks.is_empty();
        let fits = match (begun, finished) {
            (false, _) => untouched || marked,
            (true, false) => marked || gone,
            (true, true) => gone,
        };
        assert!(fits, "{after}: {begun} {finished} {:?} {marks:?}", rig.ids());
        cut_at[usize::from(begun) + usize::from(finished)] += 1;
        if finished {
            break;
        }
    }
    assert!(cut_at[0] > 3 && cut_at[1] > 3, "{cut_at:?}");
}

//! What is put is found again: as it was, by row, in order, and never under an id that was somebody else's.

use dead_letters::{Filter, Leaving, MAX_EXAMPLE, MAX_NAME, MAX_WORDS, PutError};

use crate::rig::{Rig, ids, letter};

fn of(tenant: Option<&str>, endpoint: Option<&str>) -> Filter {
    Filter { tenant: tenant.map(str::to_owned), endpoint: endpoint.map(str::to_owned) }
}

#[test]
fn letters_of_any_size_come_back_as_they_were_put_also_after_a_restart() {
    let mut rig = Rig::new();
    let piece = 4076;
    let sizes = [0, 1, 100, piece - 1, piece, piece + 1, 2 * piece, 100_000, 1_000_000];
    let letters: Vec<_> = (0..).zip(sizes).map(|(n, bytes)| letter(n, "team-a", "mimir", bytes)).collect();
    let put = rig.store().put(&letters).unwrap();
    assert_eq!(put, (1..=9).collect::<Vec<_>>());
    for _ in 0..2 {
        for (id, letter) in put.iter().zip(&letters) {
            assert!(rig.store().get(*id).unwrap().as_ref() == Some(letter), "{id}");
        }
        for (summary, letter) in rig.all().iter().zip(&letters) {
            assert_eq!(summary.envelope, letter.envelope);
            assert_eq!(summary.body_bytes as usize, letter.body.len());
        }
        rig.assert_summed_up();
        assert_eq!(rig.reopen().letters, 9);
    }
    assert_eq!(rig.store().get(10).unwrap(), None);
}

#[test]
fn listing_is_by_tenant_endpoint_or_both_and_goes_on_behind_an_id() {
    let rig = Rig::new();
    let rows = [("a", "x"), ("b", "x"), ("a", "y"), ("ab", "x"), ("a", "x")];
    let letters: Vec<_> = (0..).zip(rows).map(|(n, (tenant, endpoint))| letter(n, tenant, endpoint, 10)).collect();
    rig.store().put(&letters).unwrap();
    let list = |filter: &Filter, after, limit| ids(&rig.store().list(filter, after, limit).unwrap());
    assert_eq!(list(&of(None, None), None, 9), [1, 2, 3, 4, 5]);
    assert_eq!(list(&of(Some("a"), None), None, 9), [1, 3, 5]);
    assert_eq!(list(&of(None, Some("x")), None, 9), [1, 2, 4, 5]);
    assert_eq!(list(&of(Some("a"), Some("x")), None, 9), [1, 5]);
    assert_eq!(list(&of(Some("a"), Some("x")), Some(1), 9), [5]);
    assert_eq!(list(&of(None, Some("x")), Some(1), 2), [2, 4]);
    assert_eq!(list(&of(None, None), Some(5), 9), [0; 0]);
    assert_eq!(list(&of(None, None), Some(u64::MAX - 1), 9), [0; 0]);
    assert_eq!(list(&of(Some("c"), None), None, 9), [0; 0]);
    assert_eq!(list(&of(None, None), None, 0), [0; 0]);
}

#[test]
fn an_endpoints_long_words_are_cut_between_characters() {
    let rig = Rig::new();
    let mut long = letter(0, "a", "x", 1);
    long.envelope.words = "é".repeat(MAX_WORDS);
    long.envelope.example = format!("a{}", "é".repeat(MAX_EXAMPLE));
    rig.store().put(&[long]).unwrap();
    let kept = rig.all().remove(0).envelope;
    assert_eq!(kept.words, "é".repeat(MAX_WORDS / 2));
    assert_eq!(kept.example, format!("a{}", "é".repeat(MAX_EXAMPLE / 2 - 1)));
}

#[test]
fn the_longest_names_are_kept_and_longer_ones_refused() {
    let rig = Rig::new();
    let name = "n".repeat(MAX_NAME);
    rig.store().put(&[letter(3, &name, &name, 1)]).unwrap();
    assert_eq!(rig.store().list(&of(Some(&name), Some(&name)), None, 9).unwrap().len(), 1);
    let refused = rig.store().put(&[letter(1, "a", "x", 1), letter(2, "a", &"n".repeat(MAX_NAME + 1), 1)]);
    assert!(matches!(refused, Err(PutError::TooLong { field: "endpoint", bytes: 256, max: 255 })));
    assert_eq!(rig.store().len(), 1);
}

#[test]
fn an_id_is_never_used_again_also_when_all_letters_are_gone_and_after_a_restart() {
    let mut rig = Rig::new();
    for round in 0..4u64 {
        let put = rig.store().put(&[letter(0, "a", "x", 1), letter(1, "a", "x", 1)]).unwrap();
        assert_eq!(put, [2 * round + 1, 2 * round + 2]);
        rig.store().begin_leaving(&put, Leaving::Dropped).unwrap();
        assert_eq!(rig.store().finish_leaving(&put).unwrap(), 2);
        assert_eq!(rig.store().bytes(), 0);
        if round % 2 == 0 {
            rig.reopen();
        } else {
            rig.power_cut(round);
        }
    }
}

#[test]
fn a_crash_between_put_and_settle_leaves_letters_that_only_their_row_removes() {
    let rig = Rig::new();
    let rows = [("a", "x"), ("a", "y"), ("ab", "x"), ("a", "x"), ("a", "x")];
    let letters: Vec<_> = (10..).zip(rows).map(|(n, (tenant, endpoint))| letter(n, tenant, endpoint, 5000)).collect();
    rig.store().put(&letters).unwrap();
    rig.store().begin_leaving(&[5], Leaving::Evicted).unwrap();
    let mut asked = Vec::new();
    let removed = rig.store().remove_unsettled("a", "x", 11, &mut |position| {
        asked.push(position);
        position == 13
    });
    assert_eq!(asked, [13, 14]);
    let removed = removed.unwrap();
    assert_eq!((removed.letters, removed.counts), (1, [1, 14, 98]));
    assert_eq!((rig.ids(), rig.marked()), (vec![1, 2, 3, 4], vec![]));
    rig.store().remove_unsettled("a", "x", 0, &mut |_| false).unwrap();
    assert_eq!(rig.ids(), [2, 3]);
    rig.assert_summed_up();
}

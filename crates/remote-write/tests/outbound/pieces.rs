//! Pieces: a request falls into its series, and any run of them is a request again.

use std::collections::HashSet;

use proptest::prelude::{Strategy, prop_assert, prop_assert_eq, prop_oneof, proptest};
use remote_write::model::{Metadata, Request, Series};
use remote_write::pieces::Pieces;
use remote_write::{Counts, Protocol};

use crate::requests::{Kinds, counts_of, decoded, encoded, flattened, named, request, requests, sample};

fn any_requests() -> impl Strategy<Value = (Protocol, Vec<Request<'static>>)> {
    let several = |kinds| proptest::collection::vec(requests(kinds), 1..4);
    prop_oneof![
        several(Kinds::ALL_V1).prop_map(|requests| (Protocol::V1, requests)),
        several(Kinds::ALL_V2).prop_map(|requests| (Protocol::V2, requests)),
    ]
}

fn pieces_of(protocol: Protocol, requests: &[Request<'_>]) -> Pieces {
    Pieces::new(protocol, requests.iter().map(|request| encoded(protocol, request)).collect()).unwrap()
}

proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(96))]

    #[test]
    fn any_cut_leaves_every_bit_on_one_side((protocol, requests) in any_requests(), cut in 0.0..1.0_f64) {
        let pieces = pieces_of(protocol, &requests);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a place to cut")]
        let cut = (pieces.len() as f64 * cut) as usize;
        let sides = [0..cut, cut..pieces.len()].map(|range| (pieces.join(range.clone()).unwrap(), range));
        let mut found = Request::default();
        for (part, range) in &sides {
            let mut half = decoded(protocol, &part.body);
            prop_assert_eq!(counts_of(&half), part.counts);
            prop_assert_eq!(half.series.len(), part.series as usize);
            let counted = range.clone().fold(Counts::default(), |sum, piece| sum + pieces.counts(piece));
            prop_assert_eq!(counted, part.counts);
            found.metadata.append(&mut half.metadata);
            found.series.append(&mut half.series);
        }
        let mut expected = Request::default();
        for request in &requests {
            expected.metadata.extend(request.metadata.iter().copied());
            expected.series.extend(request.series.iter().cloned());
        }
        prop_assert_eq!(&found.metadata, &expected.metadata);
        prop_assert_eq!(flattened(&found), flattened(&expected));
    }

    #[test]
    fn pieces_of_one_request_share_no_series((protocol, requests) in any_requests()) {
        let pieces = pieces_of(protocol, &requests);
        let mut seen = HashSet::new();
        for piece in 0..pieces.len() {
            let part = pieces.join(piece..piece + 1).unwrap();
            let series: HashSet<_> = decoded(protocol, &part.body).series.iter().map(|series| format!("{:?}", series.labels)).collect();
            prop_assert!(series.len() <= 1);
            for labels in series {
                prop_assert!(seen.insert((pieces.request_of(piece), labels)));
            }
        }
    }
}

#[test]
fn a_series_that_comes_twice_is_one_piece_in_the_order_of_the_wire() {
    let at = |name, timestamp| Series { samples: vec![sample(1.0, timestamp)], ..named(name) };
    for protocol in [Protocol::V1, Protocol::V2] {
        let sent = request(vec![at("a", 1), at("b", 1), at("a", 2)]);
        let pieces = pieces_of(protocol, &[sent]);
        assert_eq!(pieces.len(), 2);
        let part = pieces.join(0..1).unwrap();
        let first = decoded(protocol, &part.body);
        assert_eq!(first.series.iter().map(|series| series.samples[0].timestamp).collect::<Vec<_>>(), [1, 2]);
        assert_eq!((pieces.describe(0).as_str(), pieces.describe(1).as_str()), (r#"a{job="api"}"#, r#"b{job="api"}"#));
    }
}

#[test]
fn families_come_first_as_a_piece_without_counts() {
    let family = Metadata { kind: 1, family: b"a", help: b"Help.", unit: b"" };
    let sent = Request { metadata: vec![family, family], ..request(vec![named("a")]) };
    let pieces = pieces_of(Protocol::V1, &[sent.clone(), sent]);
    assert_eq!((0..4).map(|piece| pieces.request_of(piece)).collect::<Vec<_>>(), [0, 0, 1, 1]);
    assert_eq!(pieces.counts(0), Counts::default());
    let families = pieces.join(0..1).unwrap();
    assert_eq!((families.series, decoded(Protocol::V1, &families.body).metadata.len()), (0, 2));
    assert_eq!(pieces.describe(0), "");
}

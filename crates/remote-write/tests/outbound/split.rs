//! Splitting: limits hold, order holds, nothing is lost.

use proptest::prelude::{Strategy, prop_assert, prop_assert_eq, prop_oneof, proptest};
use remote_write::model::{Metadata, Request, Series};
use remote_write::split::{Part, halve, split};
use remote_write::{Counts, Protocol};

use crate::requests::{
    Kinds, counts_of, decoded, encoded, exemplar, exponential, flattened, labels, named, request, requests, sample,
};

const BOTH: [Protocol; 2] = [Protocol::V1, Protocol::V2];

fn points(counts: Counts) -> u64 {
    counts.samples + counts.histograms + counts.exemplars
}

/// The series of all parts, in order.
fn joined<'a>(protocol: Protocol, parts: &'a [Part]) -> Request<'a> {
    let mut whole = Request::default();
    for part in parts {
        let mut request = decoded(protocol, &part.body);
        assert_eq!((counts_of(&request), request.series.len()), (part.counts, part.series as usize));
        whole.series.append(&mut request.series);
        whole.metadata.append(&mut request.metadata);
    }
    whole
}

/// A series of samples at the timestamps 0, 1, 2 …
fn sampled(name: &'static str, samples: i64) -> Series<'static> {
    Series { samples: (0..samples).map(|timestamp| sample(1.0, timestamp)).collect(), ..named(name) }
}

fn sizes(parts: &[Part]) -> Vec<u64> {
    parts.iter().map(|part| points(part.counts)).collect()
}

fn any_request() -> impl Strategy<Value = (Protocol, Request<'static>)> {
    prop_oneof![
        requests(Kinds::ALL_V1).prop_map(|request| (Protocol::V1, request)),
        requests(Kinds::ALL_V2).prop_map(|request| (Protocol::V2, request)),
    ]
}

proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(96))]

    #[test]
    fn parts_hold_every_bit_in_order_and_keep_the_limits(
        (protocol, request) in any_request(), max_samples in 1..12_u64, max_bytes in 60..2000_usize
    ) {
        let body = encoded(protocol, &request);
        let parts = split(protocol, &body, max_samples, max_bytes).unwrap();
        prop_assert_eq!(flattened(&joined(protocol, &parts)), flattened(&request));
        for part in &parts {
            let series = decoded(protocol, &part.body).series;
            let last = &series[0];
            let data = last.samples.len() + last.histograms.len();
            // In v2 exemplars stay with the last sample or histogram of their series.
            let divisible = if protocol == Protocol::V1 { data + last.exemplars.len() } else { data };
            prop_assert!(part.body.len() <= max_bytes || (series.len() == 1 && divisible <= 1));
            prop_assert!(points(part.counts) <= max_samples || (protocol == Protocol::V2 && part.counts.exemplars > 0));
        }
    }

    #[test]
    fn one_part_is_enough_when_the_limits_are_not_reached((protocol, request) in any_request()) {
        let body = encoded(protocol, &request);
        let parts = split(protocol, &body, u64::MAX, usize::MAX).unwrap();
        if request.series.is_empty() {
            prop_assert!(parts.is_empty());
        } else {
            prop_assert_eq!(parts.len(), 1);
            prop_assert_eq!(&parts[0].body, &body);
        }
    }

    #[test]
    fn halving_down_to_the_end_finds_every_data_point((protocol, request) in any_request()) {
        let mut pending = vec![encoded(protocol, &request)];
        let mut leaves = Vec::new();
        while let Some(body) = pending.pop() {
            match halve(protocol, &body).unwrap() {
                Some((first, second)) => {
                    prop_assert!(points(first.counts) > 0 && points(second.counts) > 0);
                    pending.extend([second.body, first.body]);
                }
                None => leaves.push(body),
            }
        }
        let mut whole = Request::default();
        for body in &leaves {
            let mut request = decoded(protocol, body);
            prop_assert!(request.series.len() <= 1);
            whole.series.append(&mut request.series);
        }
        prop_assert_eq!(flattened(&whole), flattened(&request));
    }
}

#[test]
fn series_stay_whole_while_they_fit() {
    let request = request(vec![sampled("a", 3), sampled("b", 3), sampled("c", 4), sampled("d", 1)]);
    for protocol in BOTH {
        let parts = split(protocol, &encoded(protocol, &request), 5, usize::MAX).unwrap();
        assert_eq!(sizes(&parts), [3, 3, 5]);
        assert_eq!(joined(protocol, &parts), request);
    }
}

#[test]
fn a_series_over_the_limit_is_cut_in_order() {
    let request = request(vec![sampled("a", 1), sampled("long", 25), sampled("b", 3)]);
    for protocol in BOTH {
        let parts = split(protocol, &encoded(protocol, &request), 10, usize::MAX).unwrap();
        assert_eq!(sizes(&parts), [1, 10, 10, 8]);
        assert_eq!(flattened(&joined(protocol, &parts)), flattened(&request));
    }
}

#[test]
fn a_series_larger_than_the_bytes_is_halved_until_it_fits() {
    let request = request(vec![sampled("long", 1000)]);
    for protocol in BOTH {
        let parts = split(protocol, &encoded(protocol, &request), u64::MAX, 1000).unwrap();
        assert!(parts.iter().all(|part| part.body.len() <= 1000 && part.body.len() > 400));
        assert_eq!(flattened(&joined(protocol, &parts)), flattened(&request));
    }
}

#[test]
fn a_single_data_point_stays_whole_whatever_the_limits() {
    let request = request(vec![sampled("a", 1), sampled("b", 2)]);
    for protocol in BOTH {
        let parts = split(protocol, &encoded(protocol, &request), 0, 0).unwrap();
        assert_eq!(sizes(&parts), [1, 1, 1]);
    }
}

#[test]
fn exemplars_count_as_samples_and_stay_with_the_last_data_point_in_v2() {
    let mut series = sampled("a", 4);
    series.exemplars = vec![exemplar("s", 0), exemplar("t", 1)];
    let body = |protocol| encoded(protocol, &request(vec![series.clone()]));
    let v1 = split(Protocol::V1, &body(Protocol::V1), 3, usize::MAX).unwrap();
    assert_eq!(sizes(&v1), [3, 3]);
    let v2 = split(Protocol::V2, &body(Protocol::V2), 3, usize::MAX).unwrap();
    assert_eq!(
        v2.iter().map(|part| (part.counts.samples, part.counts.exemplars)).collect::<Vec<_>>(),
        [(3, 0), (1, 2)]
    );
}

#[test]
fn v1_metadata_goes_first() {
    let metadata = vec![
        Metadata { kind: 1, family: b"a", help: b"first", unit: b"" },
        Metadata { kind: 2, family: b"b", help: b"second", unit: b"" },
    ];
    let with = |series| Request { series, metadata: metadata.clone() };
    let whole = with(vec![sampled("a", 1), sampled("b", 1)]);
    let parts = split(Protocol::V1, &encoded(Protocol::V1, &whole), 1, usize::MAX).unwrap();
    let families: Vec<usize> = parts.iter().map(|part| decoded(Protocol::V1, &part.body).metadata.len()).collect();
    assert_eq!(families, [2, 0]);

    let families_of = |request: &Request<'_>| {
        let halves = halve(Protocol::V1, &encoded(Protocol::V1, request)).unwrap();
        halves.map(|(first, second)| {
            [first, second].map(|part| {
                let request = decoded(Protocol::V1, &part.body);
                (request.metadata.len(), request.series.len())
            })
        })
    };
    assert_eq!(families_of(&whole), Some([(2, 1), (0, 1)]));
    assert_eq!(families_of(&with(vec![sampled("a", 2)])), Some([(2, 1), (0, 1)]));
    assert_eq!(families_of(&with(vec![sampled("a", 1)])), Some([(2, 0), (0, 1)]));
    assert_eq!(families_of(&with(Vec::new())), Some([(1, 0), (1, 0)]));
    let one = Request { series: Vec::new(), metadata: metadata[..1].to_vec() };
    assert_eq!(families_of(&one), None);
}

#[test]
fn metadata_larger_than_the_bytes_is_spread_over_parts() {
    let family = Metadata { kind: 1, family: b"a", help: b"a text of some length", unit: b"" };
    let whole = Request { series: vec![sampled("a", 1)], metadata: vec![family; 10] };
    let parts = split(Protocol::V1, &encoded(Protocol::V1, &whole), 10, 100).unwrap();
    assert!(parts.iter().all(|part| part.body.len() <= 100));
    assert_eq!(joined(Protocol::V1, &parts), whole);
}

#[test]
fn what_cannot_be_cut_has_no_halves() {
    let mut lone = sampled("a", 1);
    lone.exemplars = vec![exemplar("t", 0)];
    for protocol in BOTH {
        assert_eq!(halve(protocol, &encoded(protocol, &request(Vec::new()))), Ok(None));
        assert_eq!(halve(protocol, &encoded(protocol, &request(vec![sampled("a", 1)]))), Ok(None));
    }
    let body = encoded(Protocol::V2, &request(vec![lone]));
    assert_eq!(halve(Protocol::V2, &body), Ok(None), "an exemplar without its sample is no v2 series");
}

#[test]
fn every_v2_part_has_only_the_symbols_it_uses() {
    let series = ["a", "b", "c"].map(|name| Series {
        labels: labels(&[("__name__", name), ("only", name)]),
        histograms: vec![exponential(1)],
        ..Series::default()
    });
    let body = encoded(Protocol::V2, &request(series.to_vec()));
    let parts = split(Protocol::V2, &body, 1, usize::MAX).unwrap();
    assert_eq!(parts.len(), 3);
    for (part, one) in parts.iter().zip(series) {
        assert_eq!(part.body, encoded(Protocol::V2, &request(vec![one])));
    }
}

//! The check against the naive one, and the reader against another protobuf library, on generated requests.

use std::cell::RefCell;

use crate::arbitrary::{damage, damaged, request, rules};
use crate::naive::judge;
use crate::oracle::{Oracle, shown};
use proptest::prelude::{ProptestConfig, prop_assert, prop_assert_eq, proptest};
use proptest::test_runner::TestCaseError;
use remote_write::Protocol;
use remote_write::check::{Checker, Excess, Rules};
use remote_write::read::{for_each_series, read};

thread_local! {
    /// As in the gateway: what it learned of one request's names, under one listener's rules, it knows at the next.
    static EXPERIENCED: RefCell<Checker> = RefCell::new(Checker::new());
}

/// Checks `bytes` both ways, with a new checker and with one that has seen all requests before.
fn agree(protocol: Protocol, bytes: &[u8], rules: &Rules) -> Result<(), TestCaseError> {
    agree_with(&mut Checker::new(), protocol, bytes, rules)?;
    EXPERIENCED.with_borrow_mut(|checker| agree_with(checker, protocol, bytes, rules))
}

fn agree_with(checker: &mut Checker, protocol: Protocol, bytes: &[u8], rules: &Rules) -> Result<(), TestCaseError> {
    let decoded = match (read(protocol, bytes), checker.check(protocol, bytes, rules)) {
        (Err(_), Err(_)) => return Ok(()),
        (Ok(decoded), Ok(_)) => decoded,
        (decoded, checked) => {
            return Err(TestCaseError::fail(format!("read: {:?}, check: {:?}", decoded.err(), checked.err())));
        }
    };
    let expected = judge(protocol, &decoded, rules);
    let checked = checker.check(protocol, bytes, rules)?;
    let rejected = checked.rejected;
    prop_assert_eq!(checked.received, expected.received);
    prop_assert_eq!(checked.received_series as usize, decoded.series.len());
    prop_assert_eq!((rejected.invalid.series, rejected.invalid.counts), expected.invalid);
    prop_assert_eq!((rejected.label_limit.series, rejected.label_limit.counts), expected.label_limit);
    prop_assert_eq!(checked.accepted, expected.accepted);
    prop_assert_eq!(checked.accepted + rejected.counts(), checked.received);
    prop_assert_eq!(checked.footprint, expected.footprint);
    prop_assert_eq!(checked.timestamps, expected.timestamps);
    prop_assert_eq!(checked.metadata as usize, expected.kept.metadata.len());
    prop_assert_eq!(rejected.is_empty(), rejected.describe(checked.received_series).is_empty());
    let stored = checked.mended.unwrap_or(bytes).to_vec();
    prop_assert_eq!(shown(&read(protocol, &stored)?), shown(&expected.kept));
    let accepted = checked.accepted;
    let again = checker.check(protocol, &stored, rules)?;
    prop_assert_eq!(again.mended, None, "what was mended once is right");
    prop_assert_eq!(again.accepted, accepted);
    Ok(())
}

/// Without the series in excess everything is as before, and what is stored has none of them.
fn excess_is_refused(protocol: Protocol, bytes: &[u8], rules: &Rules, every: usize) -> Result<(), TestCaseError> {
    let mut checker = Checker::new();
    let Ok(whole) = checker.check(protocol, bytes, rules) else { return Ok(()) };
    let (received, accepted, rejected) = (whole.received, whole.accepted, whole.rejected.clone());
    let (hashes, kept): (Vec<_>, Vec<_>) = whole.footprint.iter().enumerate().partition(|(at, _)| at % every == 0);
    let [hashes, kept]: [Vec<u32>; 2] = [hashes, kept].map(|part| part.into_iter().map(|(_, hash)| *hash).collect());
    let excess = Excess { hashes: &hashes, limit: 7 };
    let without = checker.check_without(protocol, bytes, rules, excess)?;
    prop_assert_eq!(without.received, received);
    prop_assert_eq!(without.accepted + without.rejected.counts(), received);
    prop_assert_eq!(&without.rejected.label_limit, &rejected.label_limit);
    prop_assert_eq!(without.rejected.invalid.series, rejected.invalid.series);
    // Families are not series.
    prop_assert!(kept.iter().all(|hash| without.footprint.binary_search(hash).is_ok()));
    let limited = &without.rejected.active_series;
    // An exemplar that would be refused alone is refused with its series.
    let kept_or_limited = without.accepted + limited.counts;
    prop_assert_eq!(kept_or_limited.samples, accepted.samples);
    prop_assert_eq!(kept_or_limited.histograms, accepted.histograms);
    prop_assert!(kept_or_limited.exemplars >= accepted.exemplars);
    if limited.series > 0 {
        let text = without.rejected.describe(without.received_series);
        prop_assert!(
            !rejected.is_empty() || text.ends_with("a new series, and the tenant has its 7 active series"),
            "{}",
            text
        );
    }
    let stored = without.mended.unwrap_or(bytes).to_vec();
    let kept = without.accepted;
    let again = checker.check_without(protocol, &stored, rules, excess)?;
    prop_assert_eq!(again.accepted, kept);
    prop_assert!(again.rejected.is_empty(), "{:?}", again.rejected);
    Ok(())
}

/// What prost reads is what is read here, and what it refuses is refused.
fn reads_like_prost(protocol: Protocol, bytes: &[u8]) -> Result<(), TestCaseError> {
    let oracle = Oracle::decode(protocol, bytes);
    match (&oracle, read(protocol, bytes)) {
        (None, Err(_)) => {}
        (Some(oracle), Ok(decoded)) => prop_assert_eq!(shown(&decoded), shown(&oracle.model())),
        (oracle, decoded) => {
            let error = decoded.err();
            return Err(TestCaseError::fail(format!("prost reads it: {}, read: {error:?}", oracle.is_some())));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn a_generated_request_is_judged_as_naively(request in request(), rules in rules()) {
        agree(request.protocol(), &request.encode(), &rules)?;
    }

    #[test]
    fn series_in_excess_are_refused_and_nothing_else(request in request(), rules in rules(), every in 1..4_usize) {
        excess_is_refused(request.protocol(), &request.encode(), &rules, every)?;
    }

    #[test]
    fn damaged_bytes_are_judged_as_naively(
        request in request(),
        damage in proptest::collection::vec(damage(), 1..4),
        rules in rules(),
    ) {
        let bytes = damaged(request.encode(), &damage);
        agree(request.protocol(), &bytes, &rules)?;
    }

    #[test]
    fn requests_and_damaged_requests_are_read_as_prost_reads_them(
        request in request(),
        damage in proptest::collection::vec(damage(), 0..3),
    ) {
        let bytes = damaged(request.encode(), &damage);
        for protocol in [Protocol::V1, Protocol::V2] {
            reads_like_prost(protocol, &bytes)?;
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..120)) {
        for protocol in [Protocol::V1, Protocol::V2] {
            agree(protocol, &bytes, &Rules::default())?;
            let mut series = 0;
            let walked = for_each_series(protocol, &bytes, |_| series += 1);
            prop_assert!(walked.is_err() || read(protocol, &bytes).is_err() || series <= bytes.len());
        }
    }
}

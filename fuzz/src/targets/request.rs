//! A decompressed write request: checked, and then all that is done with what passed the check.

use remote_write::check::{Checker, Rules};
use remote_write::translate::{Form, Translator};
use remote_write::{Counts, Protocol, age, concat, pieces, read, split};

pub(crate) fn run(protocol: Protocol, data: &[u8]) {
    let lenient = Rules::default();
    let strict = Rules { strict: true, label_names: 4, label_value_bytes: 16, keep_vm_account_labels: true };
    // The first one has seen the request when it comes again.
    let mut checker = Checker::new();
    for rules in [&lenient, &strict, &lenient] {
        let Ok(checked) = checker.check(protocol, data, rules) else { return };
        assert_eq!(checked.received, checked.accepted + checked.rejected.counts(), "received is accepted and refused");
        let (accepted, metadata, footprint) = (checked.accepted, checked.metadata, checked.footprint.to_vec());
        let mut whole = checked.mended.unwrap_or(data).to_vec();
        if checked.rebuild_symbols {
            let mended = whole.clone();
            concat::merge_v2(&[&mended], &mut whole).expect("what passed the check can be merged");
        }
        if accepted.is_zero() && metadata == 0 {
            continue;
        }
        let mut again = Checker::new();
        let again = again.check(protocol, &whole, rules).expect("what was mended is a request");
        assert_eq!(
            (again.accepted, again.footprint),
            (accepted, &footprint[..]),
            "what was mended is accepted as it is"
        );
        assert!(again.rejected.is_empty(), "what was mended has nothing to refuse: {:?}", again.rejected);
        go_on(protocol, &whole, accepted);
    }
}

/// What deliveries do with a record.
fn go_on(protocol: Protocol, whole: &[u8], accepted: Counts) {
    let request = read::read(protocol, whole).expect("what passed the check can be read");
    let count = |all: &remote_write::model::Request<'_>| {
        all.series.iter().fold(Counts::default(), |sum, series| Counts {
            samples: sum.samples + series.samples.len() as u64,
            histograms: sum.histograms + series.histograms.len() as u64,
            exemplars: sum.exemplars + series.exemplars.len() as u64,
        })
    };
    assert_eq!(count(&request), accepted, "what is read is what was counted");

    let parts = split::split(protocol, whole, 2, 256).expect("what passed the check can be split");
    let sum = parts.iter().fold(Counts::default(), |sum, part| {
        let read = read::read(protocol, &part.body).expect("a part is a request");
        assert_eq!(count(&read), part.counts);
        sum + part.counts
    });
    assert_eq!(sum, accepted, "parts hold what the whole holds");

    let pieces = pieces::Pieces::new(protocol, vec![whole.to_vec()]).expect("what passed the check comes to pieces");
    let joined = pieces.join(0..pieces.len()).expect("pieces join");
    assert_eq!(joined.counts, accepted, "pieces hold what the whole holds");

    let mut translator = Translator::new();
    for to in [Protocol::V1, Protocol::V2] {
        let form = Form { protocol: to, exemplars: true, native_histograms: true, metadata: true };
        let mut formed = Vec::new();
        let told = translator.form(protocol, whole, &form, &mut formed).expect("what passed the check can be formed");
        let read = read::read(to, &formed).expect("what was formed is a request");
        assert_eq!(count(&read), told.kept, "{protocol:?} to {to:?}");
        if to == protocol {
            // An exemplar by itself is left out of 2.0.
            let exemplars = told.kept.exemplars;
            assert_eq!(told.kept, Counts { exemplars, ..accepted }, "the same protocol loses no sample");
        }
    }
    let mut aged = Vec::new();
    let expired = age::expire(protocol, whole, 0, &mut aged).expect("what passed the check can expire");
    assert_eq!(expired.kept + expired.expired, accepted);
}

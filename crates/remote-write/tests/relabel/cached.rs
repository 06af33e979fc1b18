//! The cache: how much memory it takes, what it forgets, what it tells apart.

use std::fmt::Write;

use remote_write::Protocol;
use remote_write::encode::encode_v1;
use remote_write::model::{Label, Request, Sample, Series};
use remote_write::relabel::{Action, Cache, Definition, Pipeline, Relabeler, Step};

use crate::definitions::{pipeline, replace, select};

/// Series `first` to before `end`, of three labels each.
fn request(first: usize, end: usize) -> Vec<u8> {
    let names: Vec<String> = (first..end).map(|number| format!("requests_total_{number}")).collect();
    let series = names.iter().map(|name| Series {
        labels: [("__name__", name.as_str()), ("instance", "a:1"), ("job", "api")]
            .map(|(name, value)| Label { name: name.as_bytes(), value: value.as_bytes() })
            .to_vec(),
        samples: vec![Sample { value: 1.0, timestamp: 1, start_timestamp: 0 }],
        ..Series::default()
    });
    let mut out = Vec::new();
    encode_v1(&Request { series: series.collect(), metadata: Vec::new() }, &mut out);
    out
}

#[test]
fn a_cache_stays_within_its_bytes_however_many_series_come() {
    let rules = pipeline(&[replace(&["__name__"], "requests_total_(.*)", "number", "$1")]);
    let (mut relabeler, mut out) = (Relabeler::new(), Vec::new());
    for max_bytes in [0, 1, 1_000, 100_000, 1 << 20] {
        let cache = Cache::new(max_bytes);
        let mut most = 0;
        for first in (0..20_000).step_by(1_000) {
            relabeler.relabel(&rules, &cache, Protocol::V1, &request(first, first + 1_000), &mut out).unwrap();
            most = most.max(cache.bytes());
        }
        assert!(most <= max_bytes, "{most} of {max_bytes}");
        // A bound that is of use is used.
        assert!(max_bytes < 100_000 || most > max_bytes / 3, "{most} of {max_bytes}");
    }
}

#[test]
fn pipelines_of_different_seeds_share_a_cache_and_no_result() {
    let (cache, input) = (Cache::new(1 << 20), request(0, 10));
    let (mut relabeler, mut out) = (Relabeler::new(), Vec::new());
    for (seed, target) in [(1, "one"), (2, "two"), (1, "one")] {
        let step = Step::Set { name: target.to_owned(), value: "x".to_owned() };
        relabeler.relabel(&Pipeline::new(vec![step], seed), &cache, Protocol::V1, &input, &mut out).unwrap();
        let mut wanted = String::new();
        write!(wanted, "{target}\u{12}\u{1}x").unwrap();
        assert_eq!(out.windows(wanted.len()).filter(|window| *window == wanted.as_bytes()).count(), 10);
    }
}

#[test]
fn threads_share_a_cache() {
    let rules = pipeline(&[select(Action::Drop, &["__name__"], ".*7"), replace(&[], "(.*)", "region", "eu")]);
    let cache = Cache::new(50_000);
    let mut expected = Vec::new();
    Relabeler::new().relabel(&rules, &Cache::new(0), Protocol::V1, &request(0, 3_000), &mut expected).unwrap();
    std::thread::scope(|scope| {
        for _thread in 0..4 {
            scope.spawn(|| {
                let (mut relabeler, mut out) = (Relabeler::new(), Vec::new());
                for _round in 0..5 {
                    let done = relabeler.relabel(&rules, &cache, Protocol::V1, &request(0, 3_000), &mut out).unwrap();
                    assert_eq!((done.series, out == expected), (2_700, true));
                }
            });
        }
    });
}

#[test]
fn the_first_series_that_is_dropped_is_described() {
    let rules = pipeline(&[select(Action::Drop, &["__name__"], ".*_[12]")]);
    let mut out = Vec::new();
    let (cache, mut relabeler) = (Cache::new(1 << 20), Relabeler::new());
    for _cold_and_warm in 0..2 {
        let done = relabeler.relabel(&rules, &cache, Protocol::V1, &request(0, 4), &mut out).unwrap();
        assert_eq!(done.first_dropped.as_deref(), Some(r#"requests_total_1{instance="a:1",job="api"}"#));
        assert_eq!((done.changed, done.series, done.kept.samples, done.dropped.samples), (true, 2, 2, 2));
        let mut kept = request(0, 1);
        kept.extend(request(3, 4));
        assert_eq!(out, kept);
    }
}

#[test]
fn a_rule_that_sets_what_is_there_changes_nothing() {
    let same = Definition { action: Action::Lowercase, ..replace(&["job"], "(.*)", "job", "$1") };
    let mut out = Vec::new();
    let input = request(0, 4);
    let done = Relabeler::new().relabel(&pipeline(&[same]), &Cache::new(0), Protocol::V1, &input, &mut out).unwrap();
    assert_eq!((done.changed, out.len(), done.series), (false, 0, 4));
}

#[test]
fn what_the_check_would_not_let_pass_is_malformed() {
    let rules = pipeline(&[select(Action::Keep, &["a"], "b")]);
    for (protocol, bytes, what) in [
        (Protocol::V1, &b"\x0a\x0a\x12\x00\x0a\x06\x0a\x01a\x12\x01b"[..], "labels behind data"),
        (Protocol::V1, b"\x0a\x08\x0a\x06\x0a\x01a\x12\x01\xff", "a label is not UTF-8"),
        (Protocol::V2, b"\x22\x00\x22\x01a\x2a\x03\x0a\x01\x01", "odd number of label references"),
        (Protocol::V2, b"\x22\x00\x22\x01a\x2a\x04\x0a\x02\x01\x02", "symbol reference out of range"),
    ] {
        let malformed = Relabeler::new().relabel(&rules, &Cache::new(0), protocol, bytes, &mut Vec::new());
        assert_eq!(malformed.unwrap_err().what, what);
    }
}

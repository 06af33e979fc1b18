//! What rules may cost, however they are written: the length of a series, of a request, of an expression.

use remote_write::encode::encode_v1;
use remote_write::model::{Label, Request, Sample, Series};
use remote_write::relabel::{Cache, Outcome, Pipeline, Regex, Relabeler};
use remote_write::{Counts, Protocol};

use crate::definitions::{labelmap, pipeline, replace};

fn last_step(rules: &Pipeline, value: &str) -> (usize, Option<Outcome>) {
    let labels = [("__name__".to_owned(), "up".to_owned()), ("a".to_owned(), value.to_owned())];
    let explained = rules.explain(&labels);
    (explained.steps.len(), explained.steps.last().cloned())
}

#[test]
fn a_series_that_rules_make_longer_than_twice_and_64_kib_is_dropped_at_that_rule() {
    let doubling = vec![replace(&["a"], "(.*)", "a", "$1$1"); 30];
    // 16 bytes doubled 13 times are more than 64 KiB.
    assert_eq!(last_step(&pipeline(&doubling), "0123456789abcdef"), (13, Some(Outcome::Dropped)));
    // One rule alone, too.
    let bomb = replace(&["a"], "(.*)", "a", &"$1".repeat(10_000));
    assert_eq!(last_step(&pipeline(&[bomb]), &"x".repeat(1_000)), (1, Some(Outcome::Dropped)));
    let copying: Vec<_> = (0..40).map(|n| labelmap("(.+)", &format!("x{n}_$1"))).collect();
    assert!(matches!(last_step(&pipeline(&copying), "y"), (steps, Some(Outcome::Dropped)) if steps < 20));
    // What came long stays.
    let twice = replace(&["a"], "(.*)", "b", "$1");
    assert!(matches!(last_step(&pipeline(&[twice]), &"x".repeat(1 << 20)), (1, Some(Outcome::Changed(_)))));
}

#[test]
fn a_request_that_rules_make_many_times_as_large_loses_what_is_beyond_and_its_footprint_agrees() {
    let names: Vec<String> = (0..1_000).map(|number| format!("m{number}")).collect();
    let series = names.iter().map(|name| Series {
        labels: vec![Label { name: b"__name__", value: name.as_bytes() }],
        samples: vec![Sample { value: 1.0, timestamp: 1, start_timestamp: 0 }],
        ..Series::default()
    });
    let mut request = Vec::new();
    encode_v1(&Request { series: series.collect(), metadata: Vec::new() }, &mut request);
    let rules = pipeline(&[replace(&[], "(.*)", "long", &"x".repeat(60 << 10))]);
    let (mut relabeler, cache) = (Relabeler::new(), Cache::new(0));
    let (mut out, mut footprint) = (Vec::new(), Vec::new());
    let done = relabeler.relabel(&rules, &cache, Protocol::V1, &request, &mut out).unwrap();
    relabeler.footprint(&rules, &cache, Protocol::V1, &request, &mut footprint).unwrap();
    assert!(out.len() <= (9 << 20) + 9 * request.len(), "{} bytes", out.len());
    assert!(done.series > 100 && done.dropped.samples > 100, "{done:?}");
    assert_eq!(done.kept + done.dropped, Counts { samples: 1_000, ..Counts::default() });
    assert_eq!(footprint.len() as u32, done.series);
}

#[test]
fn an_expression_of_more_than_2_mib_is_refused_and_a_list_of_thousands_of_names_is_not() {
    let names = |n: usize| (0..n).map(|number| format!("pod-{number:05x}")).collect::<Vec<_>>().join("|");
    Regex::new(&format!("({})-.*", names(5_000))).unwrap();
    let refused = Regex::new(&format!("{}(.*)b", "(?:a?){1000}".repeat(60))).unwrap_err();
    assert!(refused.to_string().contains("larger than 2 MiB"), "{refused}");
}

//! The table of names, and what it does not say.

use super::*;

/// The rows of `table.txt`, their cells without quotes.
fn rows() -> Vec<[&'static str; 6]> {
    let rows = include_str!("table.txt").lines().filter(|line| !line.starts_with('#'));
    rows.map(|row| {
        let cells: Vec<_> = row.split(" | ").map(|cell| cell.trim_matches('\'')).collect();
        cells.try_into().expect("a row has six cells")
    })
    .collect()
}

fn kind(word: &str) -> MetricKind {
    match word {
        "gauge" => MetricKind::Gauge,
        "counter" => MetricKind::Counter,
        "other" => MetricKind::Other,
        _ => panic!("no kind: {word}"),
    }
}

#[test]
fn metric_names_are_those_of_the_table_in_each_strategy() {
    let rows = rows();
    assert!(rows.len() >= 60);
    for [name, unit, word, escaped, escaped_only, suffixes_only] in rows {
        let expected = [escaped, escaped_only, suffixes_only, name];
        for (strategy, expected) in Strategy::ALL.into_iter().zip(expected) {
            let made = metric_name(name, unit, kind(word), strategy);
            let expected = (expected != "!").then_some(expected);
            assert_eq!(made.as_deref(), expected, "{name:?} in {unit:?}, {word}, {strategy:?}");
        }
    }
}

#[test]
fn a_metric_without_a_name_is_none_unless_its_unit_names_it() {
    let name = |strategy| metric_name("", "s", MetricKind::Gauge, strategy);
    let names = Strategy::ALL.map(name);
    assert_eq!(names, [Some("seconds".to_owned()), None, None, None]);
}

#[test]
fn units_are_words_and_annotations_are_none() {
    for (unit, escaped, as_is) in [
        ("s", "seconds", "seconds"),
        ("By/s", "bytes_per_second", "bytes_per_second"),
        ("{request}", "", ""),
        ("{request}/s", "per_second", "per_second"),
        ("1", "", ""),
        ("N.m", "N_m", "N.m"),
        ("__x__", "x", "_x_"),
        ("", "", ""),
    ] {
        assert_eq!(unit_name(unit, Strategy::UnderscoreEscapingWithSuffixes), escaped, "{unit}");
        assert_eq!(unit_name(unit, Strategy::NoTranslation), as_is, "{unit}");
    }
}

#[test]
fn label_names_are_escaped_as_the_options_say() {
    let prometheus = Options::default();
    let plain = Options { label_name_underscore_sanitization: false, ..Options::default() };
    let collapsing = Options { label_name_preserve_multiple_underscores: false, ..Options::default() };
    for (key, [by_default, without_key, collapsed]) in [
        ("http.method", [Some("http_method"), Some("http_method"), Some("http_method")]),
        ("already_valid", [Some("already_valid"), Some("already_valid"), Some("already_valid")]),
        ("a..b", [Some("a__b"), Some("a__b"), Some("a_b")]),
        ("a__b", [Some("a__b"), Some("a__b"), Some("a_b")]),
        ("9lives", [Some("key_9lives"), Some("key_9lives"), Some("key_9lives")]),
        ("_hidden", [Some("key_hidden"), Some("_hidden"), Some("key_hidden")]),
        (".hidden", [Some("key_hidden"), Some("_hidden"), Some("key_hidden")]),
        ("__hidden", [Some("__hidden"), Some("__hidden"), Some("key_hidden")]),
        ("__a..b__", [Some("__a__b__"), Some("__a__b__"), Some("__a_b__")]),
        ("größe", [Some("gr__e"), Some("gr__e"), Some("gr_e")]),
        ("host:port", [Some("host_port"), Some("host_port"), Some("host_port")]),
        ("温度", [None, None, Some("key_")]),
        ("", [None, None, None]),
    ] {
        for (options, expected) in [(&prometheus, by_default), (&plain, without_key), (&collapsing, collapsed)] {
            assert_eq!(label_name(key, options).as_deref(), expected, "{key:?} {options:?}");
        }
    }
}

#[test]
fn without_escaping_label_names_stay_what_they_are() {
    let options = Options { strategy: Strategy::NoTranslation, ..Options::default() };
    for key in ["http.method", "9lives", "_hidden", "温度", "a..b"] {
        assert_eq!(label_name(key, &options).as_deref(), Some(key));
    }
    assert_eq!(label_name("", &options), None);
}

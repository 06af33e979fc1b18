//! Series as text.

use proptest::collection::btree_map;
use proptest::prelude::{prop_assert_eq, proptest};
use remote_write::model::Label;
use remote_write::series_text::{describe, format, parse};

use crate::definitions::labels;

#[test]
fn every_way_to_write_a_series_is_read() {
    let up = &[("__name__", "up"), ("job", "x")][..];
    for (text, expected) in [
        ("up", &[("__name__", "up")][..]),
        ("up{}", &[("__name__", "up")]),
        (r#"up{job="x"}"#, up),
        (r#" up { job = "x" , } "#, up),
        (r#"{__name__="up",job='x'}"#, up),
        (r#"{"up", job=`x`}"#, up),
        (r#"{"job"="x", 'up'}"#, up),
        (r#"a:b_c1{le="0.5"}"#, &[("__name__", "a:b_c1"), ("le", "0.5")]),
        (r#"{"utf8.name", "a.b"="c"}"#, &[("__name__", "utf8.name"), ("a.b", "c")]),
        (r#"{a="\n\t\\\"'\x41\101\u00e9\U0001F600\xc3\xa9"}"#, &[("a", "\n\t\\\"'AAé😀é")]),
        (r#"{a='\'"'}"#, &[("a", "'\"")]),
        (r"{a=`\n`}", &[("a", r"\n")]),
        (r#"{b="1", a="2", c=""}"#, &[("a", "2"), ("b", "1")]),
    ] {
        assert_eq!(parse(text), Ok(labels(expected)), "{text}");
    }
}

#[test]
fn what_is_no_series_is_refused_where_it_is() {
    for (text, message) in [
        ("", "series: column 1: expected a metric name or `{`, found the end"),
        ("{}", "series: column 3: expected at least one label, found the end"),
        ("1up", "series: column 1: expected a metric name or `{`, found `1`"),
        ("up{job=x}", "series: column 8: expected a quoted value, found `x`"),
        ("up{job}", "series: column 7: expected `=`, found `}`"),
        (r#"up{job="x""#, "series: column 11: expected `,` or `}`, found the end"),
        (r#"up{job="x" le="y"}"#, "series: column 12: expected `,` or `}`, found `l`"),
        (r#"up{job=~"x"}"#, "series: column 8: expected a quoted value, found `~`"),
        (r#"up{job!="x"}"#, "series: column 7: expected `=`, found `!`"),
        (r#"up{é="x"}"#, "series: column 4: expected a label name, found `é`"),
        (r#"up{"é"="x} "#, "series: column 12: expected the end of the string, found the end"),
        (r#"{"é", a="\q"}"#, "series: column 10: expected an escape sequence of PromQL, found `\\`"),
        (r#"{a="\xff"}"#, "series: column 5: expected UTF-8, found `\\`"),
        (r#"{a="\u+0e9"}"#, "series: column 5: expected an escape sequence of PromQL, found `\\`"),
        (r#"{a="\ud800"}"#, "series: column 5: expected an escape sequence of PromQL, found `\\`"),
        (r#"{""="x"}"#, "series: column 2: expected a name that is not empty, found `\"`"),
        (r#"up{"down"}"#, "series: column 4: expected another label, found __name__ again"),
        (r#"up{a="1",a="2"}"#, "series: column 10: expected another label, found a again"),
        (r#"up{a="1"} 7"#, "series: column 11: expected nothing more, found `7`"),
        ("{a=\"1\n\"}", "series: column 6: expected the end of the string, found `\n`"),
    ] {
        assert_eq!(parse(text).unwrap_err().to_string(), message, "{text}");
    }
}

#[test]
fn a_series_is_written_with_as_few_quotes_as_can_be() {
    for (pairs, expected) in [
        (&[("__name__", "up")][..], "up"),
        (&[("__name__", "a:b"), ("job", "x\n\u{1}\"")], r#"a:b{job="x\n\u0001\""}"#),
        (&[("__name__", "utf8.name"), ("a.b", "c")], r#"{"utf8.name", "a.b"="c"}"#),
        (&[("a:b", "c")], r#"{"a:b"="c"}"#),
    ] {
        assert_eq!(format(&labels(pairs)), expected);
    }
}

#[test]
fn a_description_is_bounded_whatever_the_labels_are() {
    let long = "é".repeat(10_000);
    for labels in [
        vec![Label { name: b"__name__", value: long.as_bytes() }],
        vec![Label { name: long.as_bytes(), value: long.as_bytes() }; 100],
        vec![Label { name: b"\xff\n\"", value: &[0xff; 2_000] }; 3],
        vec![Label { name: b"a", value: b"" }; 10_000],
    ] {
        let text = describe(&labels);
        assert!(text.len() <= 512 && text.ends_with('}'), "{text}");
    }
    let both = [Label { name: b"__name__", value: b"up" }, Label { name: b"job", value: b"a\"b" }];
    assert_eq!(describe(&both), r#"up{job="a\"b"}"#);
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(series in btree_map("\\PC{1,5}|[a-z]{1,3}", "(?s).{1,8}|\\PC{1,4}", 1..4), name in "\\PC{1,5}|[a-z:]{1,3}") {
        let mut labels: Vec<(String, String)> = series.into_iter().filter(|(name, _)| name != "__name__").collect();
        labels.push(("__name__".to_owned(), name));
        labels.sort();
        prop_assert_eq!(parse(&format(&labels)), Ok(labels));
    }
}

//! What each action does to a series: the behaviours of `model/relabel` of Prometheus 3.

use remote_write::relabel::{Action, Definition, Outcome, Pipeline, Step};

use crate::definitions::{hashmod, labelmap, labels, pipeline, replace, select, target};

type Pairs<'a> = &'a [(&'a str, &'a str)];

const ABC: Pairs<'_> = &[("a", "foo"), ("b", "bar"), ("c", "baz")];

/// Each row: the labels, the rules, and the labels that come out; `None` when the series is dropped.
fn check(rows: &[(Pairs<'_>, &[Definition], Option<Pairs<'_>>)]) {
    for (row, (input, rules, output)) in rows.iter().enumerate() {
        let explained = pipeline(rules).explain(&labels(input));
        assert_eq!(explained.labels, output.map(labels), "row {row}: {input:?} {rules:?}");
    }
}

#[test]
fn replace_sets_what_the_replacement_makes_of_the_joined_values() {
    check(&[
        (
            ABC,
            &[replace(&["a"], "f(.*)", "d", "ch${1}-ch${1}")],
            Some(&[("a", "foo"), ("b", "bar"), ("c", "baz"), ("d", "choo-choo")]),
        ),
        (
            ABC,
            &[
                replace(&["a", "b"], "f(.*);(.*)r", "a", "b${1}${2}m"),
                replace(&["c", "a"], "(b).*b(.*)ba(.*)", "d", "$1$2$2$3"),
            ],
            Some(&[("a", "boobam"), ("b", "bar"), ("c", "baz"), ("d", "boooom")]),
        ),
        (&[("a", "abc")], &[replace(&["a"], ".*(b).*", "d", "$1")], Some(&[("a", "abc"), ("d", "b")])),
        // No match, no change.
        (&[("a", "boo")], &[replace(&["a"], "f", "b", "bar")], Some(&[("a", "boo")])),
        // A label that is missing is empty, and the default regex matches it.
        (&[("a", "x")], &[replace(&["b"], "(.*)", "c", "set")], Some(&[("a", "x"), ("c", "set")])),
        (&[("a", "x")], &[replace(&["b", "c"], ";", "d", "both")], Some(&[("a", "x"), ("d", "both")])),
        (&[("a", "x")], &[replace(&["b"], ".+", "c", "set")], Some(&[("a", "x")])),
        (&[("a", "x")], &[replace(&[], "(.*)", "c", "set")], Some(&[("a", "x"), ("c", "set")])),
        // The dot matches line feeds in Prometheus 3.
        (&[("a", "x\ny")], &[replace(&["a"], "x.y", "b", "yes")], Some(&[("a", "x\ny"), ("b", "yes")])),
        (
            &[("a", "1"), ("b", "2")],
            &[Definition { separator: "".to_owned(), ..replace(&["a", "b", "a"], "(.*)", "c", "$1") }],
            Some(&[("a", "1"), ("b", "2"), ("c", "121")]),
        ),
        (
            &[("a", "1"), ("b", "2")],
            &[Definition { separator: "--".to_owned(), ..replace(&["a", "b"], "(.*)", "c", "$1") }],
            Some(&[("a", "1"), ("b", "2"), ("c", "1--2")]),
        ),
    ]);
}

#[test]
fn replace_with_an_empty_result_removes_the_target() {
    check(&[
        (ABC, &[replace(&["a"], "foo", "b", "")], Some(&[("a", "foo"), ("c", "baz")])),
        (ABC, &[replace(&["a"], "(f)oo", "b", "$2")], Some(&[("a", "foo"), ("c", "baz")])),
        (ABC, &[replace(&["x"], "(.*)", "b", "$1")], Some(&[("a", "foo"), ("c", "baz")])),
        (ABC, &[replace(&["x"], "(.*)", "b", "")], Some(&[("a", "foo"), ("c", "baz")])),
        (
            &[("a", "some-name-value")],
            &[replace(&["a"], "some-([^-]+)-([^,]+)", "${1}", "${3}")],
            Some(&[("a", "some-name-value")]),
        ),
    ]);
}

#[test]
fn a_target_is_a_template_that_must_become_a_name() {
    let parts = "some-([^-]+)-([^,]+)";
    check(&[
        (
            &[("a", "some-name-value")],
            &[replace(&["a"], parts, "${1}", "${2}")],
            Some(&[("a", "some-name-value"), ("name", "value")]),
        ),
        (&[("a", "some-name-0")], &[replace(&["a"], parts, "${3}", "${1}")], Some(&[("a", "some-name-0")])),
        // Any text is a name since Prometheus 3.
        (
            &[("a", "some-n.m-0")],
            &[replace(&["a"], parts, "0${1}-ü", "$2")],
            Some(&[("0n.m-ü", "0"), ("a", "some-n.m-0")]),
        ),
        (
            &[("tags", "path:/secret,job:some-job,label:foo=bar")],
            &[
                replace(&["tags"], "(?:.+,|^)path:(/[^,]+).*", "metrics_path", "${1}"),
                replace(&["tags"], "(?:.+,|^)job:([^,]+).*", "job", "${1}"),
                replace(&["tags"], "(?:.+,|^)label:([^=]+)=([^,]+).*", "${1}", "${2}"),
            ],
            Some(&[
                ("foo", "bar"),
                ("job", "some-job"),
                ("metrics_path", "/secret"),
                ("tags", "path:/secret,job:some-job,label:foo=bar"),
            ]),
        ),
    ]);
}

#[test]
fn keep_and_drop_look_at_the_whole_joined_value() {
    use Action::{Drop, Keep};
    let foo: Pairs<'_> = &[("a", "foo")];
    check(&[
        (foo, &[select(Drop, &["a"], ".*o.*"), replace(&["a"], "f(.*)", "d", "ch$1")], None),
        (foo, &[select(Drop, &["a"], "no-match")], Some(foo)),
        (foo, &[select(Drop, &["a"], "f|o")], Some(foo)),
        (foo, &[select(Drop, &["a"], "f|foo|o")], None),
        (foo, &[select(Keep, &["a"], "no-match")], None),
        (foo, &[select(Keep, &["a"], "f.*")], Some(foo)),
        (foo, &[select(Keep, &["a"], ".*oo")], Some(foo)),
        (foo, &[select(Keep, &["a"], "oo")], None),
        (foo, &[select(Keep, &["a", "b"], "foo;")], Some(foo)),
        (foo, &[select(Keep, &["b"], "")], Some(foo)),
        (foo, &[select(Keep, &["b"], ".+")], None),
        (foo, &[select(Drop, &[], "")], None),
    ]);
}

#[test]
fn keepequal_and_dropequal_compare_the_target_with_the_joined_values() {
    use Action::{DropEqual, KeepEqual};
    let ports: Pairs<'_> = &[("port1", "1234"), ("port2", "5678"), ("tmp", "1234")];
    check(&[
        (ports, &[target(KeepEqual, &["tmp"], "port1")], Some(ports)),
        (ports, &[target(DropEqual, &["tmp"], "port1")], None),
        (ports, &[target(DropEqual, &["tmp"], "port2")], Some(ports)),
        (ports, &[target(KeepEqual, &["tmp"], "port2")], None),
        (ports, &[target(KeepEqual, &["missing"], "absent")], Some(ports)),
        (&[("a", "1"), ("b", "2"), ("c", "1;2")], &[target(DropEqual, &["a", "b"], "c")], None),
    ]);
}

#[test]
fn hashmod_is_the_last_half_of_md5() {
    check(&[
        (&[("c", "baz")], &[hashmod(&["c"], 1000, "d")], Some(&[("c", "baz"), ("d", "976")])),
        (&[("a", "foo\nbar")], &[hashmod(&["a"], 1000, "b")], Some(&[("a", "foo\nbar"), ("b", "734")])),
        (&[("a", "x")], &[hashmod(&["a"], 1, "b")], Some(&[("a", "x"), ("b", "0")])),
        // MD5 of nothing ends with e9800998ecf8427e.
        (&[("a", "x")], &[hashmod(&["b"], u64::MAX, "c")], Some(&[("a", "x"), ("c", "16825458760271544958")])),
    ]);
}

#[test]
fn labelmap_copies_to_the_name_that_the_replacement_makes() {
    let b: Pairs<'_> = &[("a", "foo"), ("b1", "bar"), ("b2", "baz")];
    check(&[
        (
            b,
            &[labelmap("(b.*)", "bar_${1}")],
            Some(&[("a", "foo"), ("b1", "bar"), ("b2", "baz"), ("bar_b1", "bar"), ("bar_b2", "baz")]),
        ),
        (
            &[("__meta_my_bar", "aaa"), ("__meta_other", "ccc"), ("a", "foo")],
            &[labelmap("__meta_(my.*)", "${1}")],
            Some(&[("__meta_my_bar", "aaa"), ("__meta_other", "ccc"), ("a", "foo"), ("my_bar", "aaa")]),
        ),
        // Copies are not copied again, and a name that comes out empty is none.
        (&[("a", "1")], &[labelmap("(a+)", "a$1")], Some(&[("a", "1"), ("aa", "1")])),
        (&[("a", "1"), ("ab", "2")], &[labelmap("a(.*)", "$1")], Some(&[("a", "1"), ("ab", "2"), ("b", "2")])),
        // Of labels that become one, the last wins: the series' own in their order, then those that were set.
        (&[("a", "1"), ("b", "2")], &[labelmap("[ab]", "c")], Some(&[("a", "1"), ("b", "2"), ("c", "2")])),
        (
            &[("a", "1"), ("b", "2")],
            &[replace(&["a"], "(.*)", "a", "9"), labelmap("[ab]", "c")],
            Some(&[("a", "9"), ("b", "2"), ("c", "9")]),
        ),
    ]);
}

#[test]
fn labeldrop_and_labelkeep_look_at_names() {
    use Action::{Keep, LabelDrop, LabelKeep};
    let b: Pairs<'_> = &[("a", "foo"), ("b1", "bar"), ("b2", "baz")];
    check(&[
        (b, &[select(LabelKeep, &[], "(b.*)")], Some(&[("b1", "bar"), ("b2", "baz")])),
        (b, &[select(LabelDrop, &[], "(b.*)")], Some(&[("a", "foo")])),
        (b, &[select(LabelDrop, &[], "b")], Some(b)),
        (
            &[("metrics_port", "9091"), ("port_name", "foo")],
            &[
                select(LabelDrop, &[], "^port_name$"),
                replace(&["metrics_port"], "(.+)", "port_name", "metrics"),
                select(Keep, &["port_name"], "^metrics$"),
            ],
            Some(&[("metrics_port", "9091"), ("port_name", "metrics")]),
        ),
        // A series without labels is none.
        (b, &[select(LabelDrop, &[], ".*")], None),
        (b, &[select(LabelKeep, &[], "c")], None),
    ]);
}

#[test]
fn lowercase_and_uppercase_map_character_by_character() {
    use Action::{Lowercase, Uppercase};
    check(&[
        (
            &[("foo", "bAr123Foo")],
            &[target(Uppercase, &["foo"], "upper"), target(Lowercase, &["foo"], "lower")],
            Some(&[("foo", "bAr123Foo"), ("lower", "bar123foo"), ("upper", "BAR123FOO")]),
        ),
        // No special casing: ß has no single capital, a final sigma is a sigma, and İ becomes i.
        (&[("a", "straße")], &[target(Uppercase, &["a"], "b")], Some(&[("a", "straße"), ("b", "STRAßE")])),
        (&[("a", "ΣΑΣ")], &[target(Lowercase, &["a"], "b")], Some(&[("a", "ΣΑΣ"), ("b", "σασ")])),
        (&[("a", "İ")], &[target(Lowercase, &["a"], "b")], Some(&[("a", "İ"), ("b", "i")])),
        (&[("a", "ᾳŉǆ")], &[target(Uppercase, &["a"], "b")], Some(&[("a", "ᾳŉǆ"), ("b", "ᾼŉǄ")])),
        // Nothing in, nothing out.
        (&[("a", "x"), ("b", "y")], &[target(Lowercase, &["c"], "b")], Some(&[("a", "x")])),
    ]);
}

#[test]
fn labels_come_out_in_bytewise_order_and_empty_ones_are_absent() {
    check(&[
        (
            &[("b", "1"), ("a", ""), ("c", "2")],
            &[replace(&[], "(.*)", "Z", "set"), replace(&[], "(.*)", "ä", "set")],
            Some(&[("Z", "set"), ("b", "1"), ("c", "2"), ("ä", "set")]),
        ),
        (&[("a", "1"), ("b", "")], &[select(Action::Keep, &["b"], "")], Some(&[("a", "1")])),
        (&[("a", "")], &[], None),
    ]);
}

#[test]
fn a_default_yields_to_the_series_label_and_a_set_one_does_not() {
    let step = |set, name: &str| {
        let (name, value) = (name.to_owned(), "ours".to_owned());
        if set { Step::Set { name, value } } else { Step::Default { name, value } }
    };
    let input = labels(&[("a", "theirs"), ("b", "")]);
    let steps = vec![step(false, "a"), step(false, "b"), step(true, "c"), step(true, "a")];
    let explained = Pipeline::new(steps, 0).explain(&input);
    let both = labels(&[("a", "theirs"), ("b", "ours")]);
    let three = labels(&[("a", "theirs"), ("b", "ours"), ("c", "ours")]);
    let all = labels(&[("a", "ours"), ("b", "ours"), ("c", "ours")]);
    let outcomes =
        vec![Outcome::Unchanged, Outcome::Changed(both), Outcome::Changed(three), Outcome::Changed(all.clone())];
    assert_eq!((explained.steps, explained.labels), (outcomes, Some(all)));
}

#[test]
fn an_explanation_ends_with_the_step_that_drops() {
    let rules =
        [select(Action::Keep, &["a"], "foo"), select(Action::Drop, &["b"], "bar"), replace(&[], "(.*)", "d", "never")];
    let explained = pipeline(&rules).explain(&labels(ABC));
    assert_eq!((explained.steps, explained.labels), (vec![Outcome::Unchanged, Outcome::Dropped], None));
}

#[test]
fn only_keep_and_drop_leave_labels_alone() {
    for action in Action::ALL {
        let definition = match action {
            Action::HashMod => hashmod(&["a"], 3, "b"),
            Action::LabelMap => labelmap("a", "b"),
            Action::Keep | Action::Drop | Action::LabelDrop | Action::LabelKeep => select(action, &[], "a"),
            Action::Replace | Action::KeepEqual | Action::DropEqual | Action::Lowercase | Action::Uppercase => {
                target(action, &["a"], "b")
            }
        };
        let selects = ["keep", "drop", "keepequal", "dropequal"].contains(&action.name());
        assert_eq!(pipeline(&[definition]).edits(), !selects, "{}", action.name());
    }
    assert!(pipeline(&[]).is_empty());
}

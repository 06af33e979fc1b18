//! Which rules are valid: `relabel.Config.Validate` of Prometheus 3.

use remote_write::relabel::{Action, Definition, Flaw, Key};

use crate::definitions::{hashmod, labelmap, replace, select, target, texts};

#[test]
fn what_an_action_needs_must_be_there_and_what_it_cannot_use_must_not() {
    let rule = Definition::default;
    let keepequal = || target(Action::KeepEqual, &["a"], "b");
    for (definition, expected) in [
        (replace(&["a"], "(.*)", "b", "$1"), ""),
        (replace(&[], "(.*)", "0${3}", "$1"), ""),
        (replace(&[], "(.*)", "-ü", ""), ""),
        (rule(), "relabel rule: replace needs target_label"),
        (hashmod(&["a"], 0, "b"), "relabel rule: hashmod needs a modulus other than 0"),
        (hashmod(&["a"], 1, ""), "relabel rule: hashmod needs target_label"),
        (target(Action::Lowercase, &[], ""), "relabel rule: lowercase needs target_label"),
        (
            Definition { replacement: "x".to_owned(), ..target(Action::Uppercase, &[], "a") },
            "relabel rule: uppercase takes no replacement",
        ),
        (target(Action::Uppercase, &[], "${3}"), ""),
        (labelmap("a", ""), "relabel rule: labelmap needs a replacement that is a label name"),
        (labelmap("a", "b"), ""),
        (keepequal(), ""),
        (Definition { regex: "x".to_owned(), ..keepequal() }, "relabel rule: keepequal takes no regex"),
        (Definition { separator: ",".to_owned(), ..keepequal() }, "relabel rule: keepequal takes no separator"),
        (
            Definition { modulus: 2, replacement: "x".to_owned(), ..keepequal() },
            "relabel rule: keepequal takes no modulus; keepequal takes no replacement",
        ),
        (select(Action::LabelDrop, &[], "a"), ""),
        (select(Action::LabelDrop, &["a"], "a"), "relabel rule: labeldrop takes no source_labels"),
        (target(Action::LabelKeep, &[], "a"), "relabel rule: labelkeep takes no target_label"),
        (select(Action::Keep, &["a", ""], "a"), "relabel rule: a label name is empty"),
        (
            select(Action::Keep, &["a"], "a**"),
            "relabel rule: regular expression: repetition of a repetition `*` at byte 2; write (?:a*)* to repeat a repetition",
        ),
    ] {
        let text = definition.clone().compile().err().map(|invalid| invalid.to_string()).unwrap_or_default();
        assert_eq!(text, expected, "{definition:?}");
    }
}

#[test]
fn a_flaw_says_at_which_key_it_is() {
    let definition = Definition { source_labels: texts(&["a"]), modulus: 1, ..select(Action::LabelDrop, &[], "(") };
    let flaws = definition.compile().unwrap_err().0;
    assert_eq!(
        flaws.iter().map(Flaw::key).collect::<Vec<_>>(),
        [Key::SourceLabels, Key::Modulus, Key::Regex].map(Some)
    );
}

#[test]
fn a_rule_reads_like_its_definition_and_is_equal_when_that_is() {
    let definition = replace(&["a"], "f(.*)", "b", "$1");
    let rule = definition.clone().compile().unwrap();
    assert_eq!(
        (&rule.target_label, rule.action, rule.definition()),
        (&definition.target_label, Action::Replace, &definition)
    );
    assert_eq!(rule, definition.clone().compile().unwrap());
    assert_ne!(rule, Definition { regex: "g".to_owned(), ..definition }.compile().unwrap());
}

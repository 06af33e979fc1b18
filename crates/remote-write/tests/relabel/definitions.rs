//! A few words to write rules by hand.

use remote_write::relabel::{Action, Definition, Outcome, Pipeline, Step};

pub(crate) fn texts(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

pub(crate) fn labels(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// `keep` or `drop`.
pub(crate) fn select(action: Action, sources: &[&str], regex: &str) -> Definition {
    Definition { action, source_labels: texts(sources), regex: regex.to_owned(), ..Definition::default() }
}

pub(crate) fn replace(sources: &[&str], regex: &str, target: &str, replacement: &str) -> Definition {
    Definition {
        target_label: target.to_owned(),
        replacement: replacement.to_owned(),
        ..select(Action::Replace, sources, regex)
    }
}

/// An action that works on a target and needs no regex.
pub(crate) fn target(action: Action, sources: &[&str], target: &str) -> Definition {
    Definition { action, source_labels: texts(sources), target_label: target.to_owned(), ..Definition::default() }
}

pub(crate) fn hashmod(sources: &[&str], modulus: u64, to: &str) -> Definition {
    Definition { modulus, ..target(Action::HashMod, sources, to) }
}

pub(crate) fn labelmap(regex: &str, replacement: &str) -> Definition {
    Definition { replacement: replacement.to_owned(), ..select(Action::LabelMap, &[], regex) }
}

pub(crate) fn pipeline(rules: &[Definition]) -> Pipeline {
    Pipeline::new(rules.iter().map(|rule| Step::Rule(rule.clone().compile().unwrap())).collect(), 0)
}

/// What becomes of a label `t` when it is replaced for a label `s` of that value; `None` when the regex does not match.
pub(crate) fn expanded(regex: &str, replacement: &str, value: &str) -> Option<String> {
    let rule = replace(&["s"], regex, "t", replacement);
    let series = labels(&[("s", value), ("t", "untouched"), ("u", "x")]);
    match pipeline(&[rule]).explain(&series).steps.first().unwrap() {
        Outcome::Unchanged | Outcome::Dropped => None,
        Outcome::Changed(labels) => {
            let target = labels.iter().find(|(name, _)| name == "t");
            Some(target.map_or_else(String::new, |(_, value)| value.clone()))
        }
    }
}

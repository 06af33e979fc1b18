//! Relabeling once more, as simply as it can be written: maps, closures instead of regular expressions, everything
//! decoded. And requests against it.

use std::collections::BTreeMap;

use remote_write::relabel::{Action, Definition, Step};

use crate::definitions::texts;

pub(crate) type Map = BTreeMap<String, String>;

/// A regular expression, and what it means: the first group of the match, if there is one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pattern {
    pub(crate) regex: &'static str,
    group: fn(&str) -> Option<&str>,
}

pub(crate) const PATTERNS: [Pattern; 8] = [
    Pattern { regex: "(.*)", group: |text| Some(text) },
    Pattern { regex: "(.+)", group: |text| Some(text).filter(|text| !text.is_empty()) },
    Pattern { regex: "a(.*)", group: |text| text.strip_prefix('a') },
    Pattern { regex: "(.*)b", group: |text| text.strip_suffix('b') },
    Pattern { regex: "(a|up|job)", group: |text| Some(text).filter(|text| ["a", "up", "job"].contains(text)) },
    Pattern { regex: "a", group: |text| (text == "a").then_some("") },
    Pattern { regex: ".*(;).*", group: |text| text.contains(';').then_some(";") },
    Pattern {
        regex: "[a-c]*([^a-c].*)",
        group: |text| text.find(|letter| !('a'..='c').contains(&letter)).map(|at| &text[at..]),
    },
];

/// A step, described so that both implementations can do it.
#[derive(Clone, Debug)]
pub(crate) struct NaiveStep {
    pub(crate) kind: Kind,
    pub(crate) sources: Vec<&'static str>,
    pub(crate) target: &'static str,
    pub(crate) pattern: Pattern,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Default,
    Set,
    Rule(Action),
}

impl NaiveStep {
    pub(crate) fn step(&self) -> Step {
        let (name, value) = (self.target.to_owned(), "given".to_owned());
        let action = match self.kind {
            Kind::Default => return Step::Default { name, value },
            Kind::Set => return Step::Set { name, value },
            Kind::Rule(action) => action,
        };
        let only_regex = matches!(action, Action::LabelDrop | Action::LabelKeep);
        let equal = matches!(action, Action::KeepEqual | Action::DropEqual);
        let mut definition = Definition { action, ..Definition::default() };
        if !only_regex {
            definition.source_labels = texts(&self.sources);
            definition.target_label = name;
        }
        if !equal {
            definition.regex = self.pattern.regex.to_owned();
        }
        if action == Action::HashMod {
            definition.modulus = 5;
        }
        if action == Action::LabelMap {
            definition.replacement = "${1}_$0".to_owned();
        }
        Step::Rule(definition.compile().unwrap())
    }

    /// Returns whether the series is kept.
    pub(crate) fn apply(&self, labels: &mut Map) -> bool {
        let get = |labels: &Map, name: &str| labels.get(name).cloned().unwrap_or_default();
        let joined = self.sources.iter().map(|name| get(labels, name)).collect::<Vec<_>>().join(";");
        let equal = get(labels, self.target) == joined;
        let group = (self.pattern.group)(&joined).map(str::to_owned);
        let matches = |name: &str| (self.pattern.group)(name).is_some();
        let mut set = |value: String| drop(labels.insert(self.target.to_owned(), value));
        match self.kind {
            Kind::Set => set("given".to_owned()),
            Kind::Default => {
                labels.entry(self.target.to_owned()).or_insert_with(|| "given".to_owned());
            }
            Kind::Rule(action) => match action {
                Action::Keep => return group.is_some(),
                Action::Drop => return group.is_none(),
                Action::KeepEqual => return equal,
                Action::DropEqual => return !equal,
                // A pattern without a group has an empty one.
                Action::Replace => group.into_iter().for_each(set),
                Action::HashMod => set(u64_of_md5(&joined).to_string()),
                Action::Lowercase => set(joined.to_lowercase()),
                Action::Uppercase => set(joined.to_uppercase()),
                Action::LabelDrop => labels.retain(|name, _| !matches(name)),
                Action::LabelKeep => labels.retain(|name, _| matches(name)),
                Action::LabelMap => {
                    for (name, value) in labels.clone() {
                        if let Some(group) = (self.pattern.group)(&name) {
                            labels.insert(format!("{group}_{name}"), value);
                        }
                    }
                }
            },
        }
        labels.retain(|_, value| !value.is_empty());
        true
    }
}

/// The last half of MD5 as a number, modulo 5: the few texts that are hashed here, by `md5sum`.
fn u64_of_md5(text: &str) -> u64 {
    use md5::{Digest, Md5};
    let sum = Md5::digest(text.as_bytes());
    sum[8..].iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte)) % 5
}

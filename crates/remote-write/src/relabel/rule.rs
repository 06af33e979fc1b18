//! A relabel rule as it is written, what makes one valid, and what it does to labels: `model/relabel` of Prometheus 3.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use md5::{Digest, Md5};

use super::case;
use super::label_set::LabelSet;
use super::regex::{InvalidRegex, Regex};
use super::template::Template;

/// What a rule does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// Sets the target label to the expanded replacement if the regex matches; an empty result removes the label.
    #[default]
    Replace,
    /// Drops series that the regex does not match.
    Keep,
    /// Drops series that the regex matches.
    Drop,
    /// Drops series whose target label differs from the joined source labels.
    KeepEqual,
    /// Drops series whose target label equals the joined source labels.
    DropEqual,
    /// Sets the target label to a hash of the joined source labels, modulo the modulus.
    HashMod,
    /// Copies labels whose names the regex matches to the names that the replacement makes of them.
    LabelMap,
    /// Removes labels whose names the regex matches.
    LabelDrop,
    /// Removes labels whose names the regex does not match.
    LabelKeep,
    /// Sets the target label to the joined source labels in lower case.
    Lowercase,
    /// Sets the target label to the joined source labels in upper case.
    Uppercase,
}

impl Action {
    /// All of them, as Prometheus' documentation lists them.
    pub const ALL: [Self; 11] = [
        Self::Replace,
        Self::Keep,
        Self::Drop,
        Self::KeepEqual,
        Self::DropEqual,
        Self::HashMod,
        Self::LabelMap,
        Self::LabelDrop,
        Self::LabelKeep,
        Self::Lowercase,
        Self::Uppercase,
    ];

    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Replace => "replace",
            Self::Keep => "keep",
            Self::Drop => "drop",
            Self::KeepEqual => "keepequal",
            Self::DropEqual => "dropequal",
            Self::HashMod => "hashmod",
            Self::LabelMap => "labelmap",
            Self::LabelDrop => "labeldrop",
            Self::LabelKeep => "labelkeep",
            Self::Lowercase => "lowercase",
            Self::Uppercase => "uppercase",
        }
    }

    /// Whether it keeps or drops whole series and changes none.
    pub const fn selects(self) -> bool {
        matches!(self, Self::Keep | Self::Drop | Self::KeepEqual | Self::DropEqual)
    }

    const fn needs_target(self) -> bool {
        match self {
            Self::Replace | Self::HashMod | Self::Lowercase | Self::Uppercase | Self::KeepEqual | Self::DropEqual => {
                true
            }
            Self::Keep | Self::Drop | Self::LabelMap | Self::LabelDrop | Self::LabelKeep => false,
        }
    }

    /// The keys that may differ from their defaults.
    const fn keys(self) -> &'static [Key] {
        match self {
            Self::KeepEqual | Self::DropEqual => &[Key::SourceLabels, Key::TargetLabel],
            Self::LabelDrop | Self::LabelKeep => &[Key::Regex],
            Self::Lowercase | Self::Uppercase => {
                &[Key::SourceLabels, Key::Separator, Key::Regex, Key::Modulus, Key::TargetLabel]
            }
            Self::Replace | Self::Keep | Self::Drop | Self::HashMod | Self::LabelMap => &Key::ALL,
        }
    }
}

/// The keys of a rule beside its action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// `source_labels`
    SourceLabels,
    /// `separator`
    Separator,
    /// `regex`
    Regex,
    /// `modulus`
    Modulus,
    /// `target_label`
    TargetLabel,
    /// `replacement`
    Replacement,
}

impl Key {
    const ALL: [Self; 6] =
        [Self::SourceLabels, Self::Separator, Self::Regex, Self::Modulus, Self::TargetLabel, Self::Replacement];

    /// The key as it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SourceLabels => "source_labels",
            Self::Separator => "separator",
            Self::Regex => "regex",
            Self::Modulus => "modulus",
            Self::TargetLabel => "target_label",
            Self::Replacement => "replacement",
        }
    }
}

/// A rule as it is written. The default of each field is that of a key that is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// Labels whose values are joined; a label that a series lacks is empty.
    pub source_labels: Vec<String>,
    /// What joins them; `;` unless written.
    pub separator: String,
    /// Go (RE2) syntax, anchored at both ends; `(.*)` unless written.
    pub regex: String,
    /// For `hashmod`; not 0 there.
    pub modulus: u64,
    /// Where the result goes; for `replace` a template.
    pub target_label: String,
    /// A template; `$1` unless written.
    pub replacement: String,
    /// What is done.
    pub action: Action,
}

impl Default for Definition {
    fn default() -> Self {
        Self {
            source_labels: Vec::new(),
            separator: ";".to_owned(),
            regex: Regex::default().as_str().to_owned(),
            modulus: 0,
            target_label: String::new(),
            replacement: "$1".to_owned(),
            action: Action::Replace,
        }
    }
}

/// One thing that is wrong with a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// The action has no use for this key.
    UselessKey(Action, Key),
    /// The action needs this key.
    MissingKey(Action, Key),
    /// A label name of the source labels is empty.
    EmptySourceLabel,
    /// The regex cannot be compiled.
    Regex(InvalidRegex),
}

impl Flaw {
    /// The key at which it is, if it is written.
    pub const fn key(&self) -> Option<Key> {
        match self {
            Self::UselessKey(_, key) => Some(*key),
            Self::MissingKey(..) => None,
            Self::EmptySourceLabel => Some(Key::SourceLabels),
            Self::Regex(_) => Some(Key::Regex),
        }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UselessKey(action, key) => write!(f, "{} takes no {}", action.name(), key.name()),
            Self::MissingKey(Action::HashMod, Key::Modulus) => f.write_str("hashmod needs a modulus other than 0"),
            Self::MissingKey(Action::LabelMap, Key::Replacement) => {
                f.write_str("labelmap needs a replacement that is a label name")
            }
            Self::MissingKey(action, key) => write!(f, "{} needs {}", action.name(), key.name()),
            Self::EmptySourceLabel => f.write_str("a label name is empty"),
            Self::Regex(invalid) => invalid.fmt(f),
        }
    }
}

/// All that is wrong with a rule; at least one thing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("relabel rule: {}", self.0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct InvalidRule(pub Vec<Flaw>);

/// A valid rule, ready to be applied; it reads like its [`Definition`] and is equal when that is.
#[derive(Clone, Debug, Default)]
pub struct Rule {
    definition: Definition,
    compiled: Compiled,
}

#[derive(Clone, Debug, Default)]
struct Compiled {
    regex: Regex,
    target: Template,
    replacement: Template,
}

impl Deref for Rule {
    type Target = Definition;

    fn deref(&self) -> &Definition {
        &self.definition
    }
}

impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        self.definition == other.definition
    }
}

impl Eq for Rule {}

impl Definition {
    /// Checks and compiles the rule, as Prometheus does (`relabel.Config.Validate` with UTF-8 label names, where any
    /// text but the empty one is a name). A key that the action has no use for may be there with its default.
    ///
    /// # Errors
    /// When the rule is not valid: all reasons.
    pub fn compile(self) -> Result<Rule, InvalidRule> {
        let mut flaws = self.flaws();
        let regex = match Regex::new(&self.regex) {
            Ok(regex) => regex,
            Err(invalid) => {
                flaws.push(Flaw::Regex(invalid));
                Regex::default()
            }
        };
        if !flaws.is_empty() {
            return Err(InvalidRule(flaws));
        }
        let target = Template::new(&self.target_label, &regex);
        let replacement = Template::new(&self.replacement, &regex);
        Ok(Rule { definition: self, compiled: Compiled { regex, target, replacement } })
    }

    /// What is wrong beside the regex.
    fn flaws(&self) -> Vec<Flaw> {
        let default = Self::default();
        let useless = |key: &Key| {
            let changed = match key {
                Key::SourceLabels => self.source_labels != default.source_labels,
                Key::Separator => self.separator != default.separator,
                Key::Regex => self.regex != default.regex,
                Key::Modulus => self.modulus != default.modulus,
                Key::TargetLabel => self.target_label != default.target_label,
                Key::Replacement => self.replacement != default.replacement,
            };
            changed && !self.action.keys().contains(key)
        };
        let useless = Key::ALL.into_iter().filter(useless).map(|key| Flaw::UselessKey(self.action, key));
        let missing = [
            (Key::Modulus, self.action == Action::HashMod && self.modulus == 0),
            (Key::TargetLabel, self.action.needs_target() && self.target_label.is_empty()),
            (Key::Replacement, self.action == Action::LabelMap && self.replacement.is_empty()),
        ];
        let missing = missing.into_iter().filter(|(_, missing)| *missing);
        let missing = missing.map(|(key, _)| Flaw::MissingKey(self.action, key));
        let empty = self.source_labels.iter().any(String::is_empty).then_some(Flaw::EmptySourceLabel);
        useless.chain(missing).chain(empty).collect()
    }
}

impl Rule {
    /// The rule as it was written.
    pub const fn definition(&self) -> &Definition {
        &self.definition
    }

    /// Whether its regular expression may take a millisecond and more.
    pub(super) fn is_costly(&self) -> bool {
        self.compiled.regex.is_costly()
    }

    /// Applies the rule; returns whether the series is kept. One whose labels become more than `most` bytes is not.
    pub(super) fn apply<'a>(&'a self, labels: &mut LabelSet<'a>, most: usize) -> bool {
        let regex = &self.compiled.regex;
        let joined = self.joined(labels);
        match self.action {
            Action::Keep => return regex.is_match(&joined),
            Action::Drop => return !regex.is_match(&joined),
            Action::KeepEqual => return labels.get(&self.target_label) == joined,
            Action::DropEqual => return labels.get(&self.target_label) != joined,
            Action::Replace => match self.replaced(&joined, most) {
                Replaced::By(target, value) => {
                    labels.set(target, value);
                    return labels.bytes() <= most;
                }
                Replaced::Nothing => {}
                Replaced::TooLong => return false,
            },
            Action::HashMod => labels.set((&self.target_label).into(), self.hashed(&joined).into()),
            Action::Lowercase => labels.set((&self.target_label).into(), case::lower(&joined).into()),
            Action::Uppercase => labels.set((&self.target_label).into(), case::upper(&joined).into()),
            Action::LabelMap => return self.map(labels, most),
            Action::LabelDrop => labels.retain(|name| !regex.is_match(name)),
            Action::LabelKeep => labels.retain(|name| regex.is_match(name)),
        }
        true
    }

    /// The values of the source labels.
    fn joined<'l>(&self, labels: &'l LabelSet<'_>) -> Cow<'l, str> {
        match self.source_labels.as_slice() {
            [] => Cow::Borrowed(""),
            [only] => Cow::Borrowed(labels.get(only)),
            [first, others @ ..] => {
                let mut joined = labels.get(first).to_owned();
                for name in others {
                    joined.push_str(&self.separator);
                    joined.push_str(labels.get(name));
                }
                Cow::Owned(joined)
            }
        }
    }

    /// The label that `replace` sets, if the regex matches and what becomes of the target is a name.
    fn replaced(&self, joined: &str, most: usize) -> Replaced {
        let Some(spans) = self.compiled.regex.captures(joined) else { return Replaced::Nothing };
        let (mut target, mut value) = (String::new(), String::new());
        let fits = self.compiled.target.expand(&spans, most, &mut target)
            && self.compiled.replacement.expand(&spans, most, &mut value);
        match fits {
            true if target.is_empty() => Replaced::Nothing,
            true => Replaced::By(target.into(), value.into()),
            false => Replaced::TooLong,
        }
    }

    /// The last half of the MD5 sum, so that results are those of every version of Prometheus.
    fn hashed(&self, joined: &str) -> String {
        let sum: [u8; 16] = Md5::digest(joined.as_bytes()).into();
        let half = u64::from_be_bytes(*sum.last_chunk().unwrap_or(&[0; 8]));
        half.checked_rem(self.modulus).unwrap_or_default().to_string()
    }

    /// Copies labels to other names. A name that comes out empty is none: the label is not copied. False: that is too much.
    fn map(&self, labels: &mut LabelSet<'_>, most: usize) -> bool {
        let mut copies = Vec::new();
        let mut bytes = 0;
        for (name, value) in labels.iter() {
            if let Some(spans) = self.compiled.regex.captures(name) {
                let mut target = String::new();
                let fits = self.compiled.replacement.expand(&spans, most, &mut target);
                bytes += target.len() + value.len();
                if !fits || bytes > most {
                    return false;
                }
                copies.push((target, value.clone()));
            }
        }
        for (target, value) in copies.into_iter().filter(|(target, _)| !target.is_empty()) {
            labels.set(target.into(), value);
        }
        labels.bytes() <= most
    }
}

/// What a `replace` rule comes to.
enum Replaced {
    Nothing,
    By(Cow<'static, str>, Cow<'static, str>),
    TooLong,
}

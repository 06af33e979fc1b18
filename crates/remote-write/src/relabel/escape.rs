//! Names for receivers that take only what Prometheus took before 3.0: how others are written, or that they are not.
//! The schemes are those of `EscapeName` in `model` of `prometheus/common`, which Prometheus negotiates with its targets.

use std::borrow::Cow;
use std::fmt::Write;

use super::label_set::LabelSet;
use crate::model::METRIC_NAME;

/// What is done with metric names that are not `[a-zA-Z_:][a-zA-Z0-9_:]*` and label names that are not
/// `[a-zA-Z_][a-zA-Z0-9_]*`. The name of the label `__name__` itself always stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Each character that may not be there becomes `_`. Different names may become one.
    Underscores,
    /// `.` becomes `_dot_`, `_` becomes `__`, also in names that are right already, and each other character that may
    /// not be there `__`. Different names may become one.
    Dots,
    /// The name gets `U__` in front, `_` becomes `__`, and each character that may not be there its code point in
    /// hexadecimal digits between two `_`. Names that are right already stay.
    Values,
    /// Series, exemplars and metadata families with such a name are dropped.
    Drop,
}

/// What a name is of: a colon may be in that of a metric only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Metric,
    Label,
}

impl Scheme {
    /// All of them, in the order of their documentation.
    pub const ALL: [Self; 4] = [Self::Underscores, Self::Dots, Self::Values, Self::Drop];

    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Underscores => "underscores",
            Self::Dots => "dots",
            Self::Values => "values",
            Self::Drop => "drop",
        }
    }

    /// Whether whatever has a name that may not be there is dropped.
    pub(super) const fn drops(self) -> bool {
        matches!(self, Self::Drop)
    }

    /// The name that a metric or metadata family has under the scheme; `None` when it is dropped.
    pub(super) fn metric(self, name: &str) -> Option<Cow<'_, str>> {
        self.rewritten(name, Owner::Metric)
    }

    /// Whether labels of these names and values stay as they are.
    pub(super) fn leaves<'l>(self, mut labels: impl Iterator<Item = (&'l str, &'l str)>) -> bool {
        labels.all(
            |(name, value)| {
                if name == METRIC_NAME { self.takes(value, Owner::Metric) } else { self.takes(name, Owner::Label) }
            },
        )
    }

    /// Brings the labels under the scheme; returns whether they are kept. Labels that come to share a name become one,
    /// their values joined with `;` in the order of the names they had, as Prometheus does with OTLP attributes.
    pub(super) fn apply(self, labels: &mut LabelSet<'_>) -> bool {
        if self.leaves(labels.iter().map(|(name, value)| (name, &**value))) {
            return true;
        }
        if self.drops() {
            return false;
        }
        if let Some(name) = self.metric(labels.get(METRIC_NAME)).map(Cow::into_owned) {
            labels.set(METRIC_NAME.into(), name.into());
        }
        labels.rename(|name| self.label(name).into_owned());
        true
    }

    /// The name of a label under a scheme that drops nothing. Only the metric's name may be in `__name__`: whatever else
    /// would be called that gets one more underscore.
    fn label(self, name: &str) -> Cow<'_, str> {
        if name == METRIC_NAME {
            return name.into();
        }
        match self.rewritten(name, Owner::Label) {
            Some(new) if new == METRIC_NAME => format!("_{METRIC_NAME}").into(),
            Some(new) => new,
            None => name.into(),
        }
    }

    /// The name under the scheme; `None` when what has it is dropped.
    fn rewritten(self, name: &str, owner: Owner) -> Option<Cow<'_, str>> {
        if self.takes(name, owner) {
            return Some(name.into());
        }
        let mut new = String::with_capacity(name.len() * 2);
        if self == Self::Values {
            new.push_str("U__");
        }
        for (index, letter) in name.char_indices() {
            let fits = owner.allows(letter, index);
            match (self, letter) {
                (Self::Drop, _) => return None,
                (Self::Dots | Self::Values, '_') => new.push_str("__"),
                (Self::Dots, '.') => new.push_str("_dot_"),
                _ if fits => new.push(letter),
                (Self::Underscores, _) => new.push('_'),
                (Self::Dots, _) => new.push_str("__"),
                (Self::Values, _) => put_code_point(&mut new, letter),
            }
        }
        Some(new.into())
    }

    /// Whether the name stays as it is. An empty one is that of nothing.
    fn takes(self, name: &str, owner: Owner) -> bool {
        name.char_indices().all(|(index, letter)| owner.allows(letter, index) && (self, letter) != (Self::Dots, '_'))
    }
}

fn put_code_point(out: &mut String, letter: char) {
    let written = write!(out, "_{:x}_", u32::from(letter));
    debug_assert!(written.is_ok(), "a string takes everything");
}

impl Owner {
    /// Whether the character may be at this place of a name.
    const fn allows(self, letter: char, index: usize) -> bool {
        match letter {
            'a'..='z' | 'A'..='Z' | '_' => true,
            '0'..='9' => index > 0,
            ':' => matches!(self, Self::Metric),
            _ => false,
        }
    }
}

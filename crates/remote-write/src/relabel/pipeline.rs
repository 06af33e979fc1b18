//! What is done to each series on its way to an endpoint, step by step.

use super::escape::Scheme;
use super::label_set::LabelSet;
use super::rule::Rule;

/// Rules may make a series' labels longer by this much, in bytes, beside twice what they were.
const GROWS_BY: usize = 64 << 10;

/// One step of a pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Sets a label unless the series has it: Prometheus' external labels.
    Default {
        /// The label's name.
        name: String,
        /// Its value.
        value: String,
    },
    /// Sets a label, whatever the series has.
    Set {
        /// The label's name.
        name: String,
        /// Its value; an empty one removes the label.
        value: String,
    },
    /// Applies a rule.
    Rule(Rule),
    /// Brings names under a scheme, also those of exemplars' labels and of v1 metadata families: the last step, if any.
    Escape(Scheme),
}

impl Step {
    /// Does the step; returns whether the series is kept. Rules may not make its labels more than `most` bytes.
    fn apply<'a>(&'a self, labels: &mut LabelSet<'a>, most: usize) -> bool {
        match self {
            Self::Default { name, value } => {
                if labels.get(name).is_empty() {
                    labels.set(name.into(), value.into());
                }
                true
            }
            Self::Set { name, value } => {
                labels.set(name.into(), value.into());
                true
            }
            Self::Rule(rule) => rule.apply(labels, most),
            Self::Escape(scheme) => scheme.apply(labels),
        }
    }

    const fn edits(&self) -> bool {
        match self {
            Self::Default { .. } | Self::Set { .. } => true,
            Self::Rule(rule) => !rule.definition().action.selects(),
            Self::Escape(scheme) => !scheme.drops(),
        }
    }
}

/// The steps that each series goes through, in order, until one drops it.
#[derive(Clone, Debug)]
pub struct Pipeline {
    steps: Vec<Step>,
    pub(super) seed: u64,
}

impl Pipeline {
    /// `seed` tells the results of this pipeline from those of others in the same [`super::Cache`]: it must be random,
    /// and another one whenever the steps change.
    pub const fn new(steps: Vec<Step>, seed: u64) -> Self {
        Self { steps, seed }
    }

    /// Whether there is no step, so that every series passes unchanged.
    pub const fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Whether labels may change; if not, whole series are kept or dropped.
    pub fn edits(&self) -> bool {
        self.steps.iter().any(Step::edits)
    }

    /// Whether a series may take a millisecond and more: then it should not be where others wait.
    pub fn is_costly(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Rule(rule) if rule.is_costly()))
    }

    /// The scheme that names are brought under in the end.
    pub(super) fn scheme(&self) -> Option<Scheme> {
        match self.steps.last() {
            Some(Step::Escape(scheme)) => Some(*scheme),
            Some(Step::Default { .. } | Step::Set { .. } | Step::Rule(_)) | None => None,
        }
    }

    /// Takes a series through the steps and leaves its labels in the order of their names; returns whether it is kept.
    /// A series without any label is none, and one that rules make longer than twice its labels and 64 KiB is not kept.
    pub(super) fn apply<'a>(&'a self, labels: &mut LabelSet<'a>) -> bool {
        let most = most_bytes(labels);
        let kept = self.steps.iter().all(|step| step.apply(labels, most)) && !labels.is_empty();
        labels.sort();
        kept
    }

    /// What each step does to a series of these labels, names and values in any order.
    pub fn explain(&self, labels: &[(String, String)]) -> Explanation {
        let mut now = LabelSet::default();
        labels.iter().for_each(|(name, value)| now.push_own(name, value));
        let most = most_bytes(&now);
        let mut steps = Vec::new();
        let mut before = owned(&now);
        for step in &self.steps {
            if !step.apply(&mut now, most) {
                steps.push(Outcome::Dropped);
                return Explanation { steps, labels: None };
            }
            let after = owned(&now);
            steps.push(if after == before { Outcome::Unchanged } else { Outcome::Changed(after.clone()) });
            before = after;
        }
        Explanation { steps, labels: Some(before).filter(|labels| !labels.is_empty()) }
    }
}

/// A series may become so long, in bytes: rules that repeat a value, one after the other, would else fill the memory with one.
fn most_bytes(labels: &LabelSet<'_>) -> usize {
    2 * labels.bytes() + GROWS_BY
}

fn owned(labels: &LabelSet<'_>) -> Vec<(String, String)> {
    let mut owned: Vec<_> = labels.iter().map(|(name, value)| (name.to_owned(), value.to_string())).collect();
    owned.sort_unstable();
    owned
}

/// What a pipeline does to one series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// For each step what came of it; none for those behind the one that dropped the series.
    pub steps: Vec<Outcome>,
    /// The labels in the end, in the order of their names; `None` when the series is dropped, also for having no label
    /// left.
    pub labels: Option<Vec<(String, String)>>,
}

/// What a step does to a series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The labels stay.
    Unchanged,
    /// The labels become these, in the order of their names.
    Changed(Vec<(String, String)>),
    /// The series goes no further.
    Dropped,
}

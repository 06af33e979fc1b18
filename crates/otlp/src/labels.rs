//! The labels of a series: attributes of the point, what its resource and its scope add, and the name.

use std::borrow::Cow;

use remote_write::model::Label;

use crate::message::{Pair, Scope};
use crate::name::label_name;
use crate::options::{Limits, Options};
use crate::refused::Cause;

pub(crate) const METRIC_NAME: &str = "__name__";

/// Labels that choose a tenant at VictoriaMetrics: no sender may.
const ACCOUNT_LABELS: [&str; 2] = ["vm_account_id", "vm_project_id"];

type LabelPair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// Labels without the series' name: sorted, each name once, none empty.
#[derive(Clone, Debug, Default)]
pub(crate) struct LabelSet<'a>(Vec<LabelPair<'a>>);

impl<'a> LabelSet<'a> {
    /// The labels that attributes become. Those that become the same one are joined by `;` in the order of their keys.
    pub(crate) fn of(attributes: &mut [Pair<'a>], options: &Options) -> Result<Self, Cause> {
        attributes.sort_by_key(|(key, _)| *key);
        let mut labels = Self(Vec::with_capacity(attributes.len() + 4));
        for (key, value) in attributes.iter().filter(|(_, value)| !value.is_empty()) {
            let name = label_name(key, options).ok_or_else(|| Cause::LabelName((*key).to_owned()))?;
            labels.join(name, value.clone());
        }
        Ok(labels)
    }

    fn find(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| known.as_ref().cmp(name))
    }

    fn is_reserved(name: &str) -> bool {
        name == METRIC_NAME || ACCOUNT_LABELS.contains(&name)
    }

    fn join(&mut self, name: Cow<'a, str>, value: Cow<'a, str>) {
        match self.find(&name) {
            Ok(at) => {
                let joined = self.0[at].1.to_mut();
                joined.push(';');
                joined.push_str(&value);
            }
            Err(at) if !Self::is_reserved(&name) => self.0.insert(at, (name, value)),
            Err(_) => {}
        }
    }

    /// Adds a label unless there is one of this name.
    pub(crate) fn add(&mut self, name: Cow<'a, str>, value: Cow<'a, str>) {
        if let Err(at) = self.find(&name)
            && !value.is_empty()
            && !Self::is_reserved(&name)
        {
            self.0.insert(at, (name, value));
        }
    }

    /// Puts a label in the place of one of this name; an empty value is none.
    pub(crate) fn set(&mut self, name: Cow<'a, str>, value: Cow<'a, str>) {
        match self.find(&name) {
            Ok(at) if value.is_empty() => drop(self.0.remove(at)),
            Ok(at) => self.0[at].1 = value,
            Err(_) => self.add(name, value),
        }
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.find(name).is_ok()
    }

    pub(crate) const fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value.as_ref()))
    }

    /// The labels as they are written, without a name.
    pub(crate) fn borrowed(&self) -> Vec<Label<'_>> {
        self.iter().map(|(name, value)| Label { name: name.as_bytes(), value: value.as_bytes() }).collect()
    }

    /// The labels with the series' name, and with one more that the kind of series has, such as `le`.
    pub(crate) fn named<'s>(&'s self, name: &'s str, extra: Option<&'static str>) -> Named<'s> {
        let mut labels = self.borrowed();
        let mut put = |name: &'static str, value: &'s str| {
            let label = Label { name: name.as_bytes(), value: value.as_bytes() };
            match labels.binary_search_by(|known| known.name.cmp(name.as_bytes())) {
                Ok(at) => labels[at] = label,
                Err(at) => labels.insert(at, label),
            }
        };
        put(METRIC_NAME, name);
        if let Some(extra) = extra {
            put(extra, "");
        }
        let extra = extra.and_then(|extra| labels.iter().position(|label| label.name == extra.as_bytes()));
        Named { labels, extra }
    }

    /// Whether a tenant's series may have these labels; `more` are added to them, the longest of which is `longest`.
    pub(crate) fn check(&self, limits: Limits, more: usize, name: &str) -> Result<(), Cause> {
        let (labels, limit) = (self.len() + more, limits.label_names);
        if limit > 0 && labels > limit as usize {
            return Err(Cause::LabelNames { labels, limit });
        }
        check_value(limits, METRIC_NAME, name)?;
        self.iter().try_for_each(|(label, value)| check_value(limits, label, value))
    }
}

/// Whether a label may be so long.
pub(crate) fn check_value(limits: Limits, label: &str, value: &str) -> Result<(), Cause> {
    let (bytes, limit) = (value.len(), limits.label_value_bytes);
    if limit > 0 && bytes > limit as usize {
        return Err(Cause::LabelValue { label: label.to_owned(), bytes, limit });
    }
    Ok(())
}

/// Labels of a series, ready to be written.
#[derive(Debug)]
pub(crate) struct Named<'s> {
    pub(crate) labels: Vec<Label<'s>>,
    extra: Option<usize>,
}

impl<'s> Named<'s> {
    /// The same labels with another value of the extra one.
    pub(crate) fn with(&self, value: &'s str) -> Vec<Label<'s>> {
        let mut labels = self.labels.clone();
        if let Some(label) = self.extra.and_then(|at| labels.get_mut(at)) {
            label.value = value.as_bytes();
        }
        labels
    }
}

/// Attributes by which a resource is known, and which make `job` and `instance`.
pub(crate) const IDENTIFYING: [&str; 3] = ["service.name", "service.namespace", "service.instance.id"];

/// What a resource adds to the labels of each point.
#[derive(Debug, Default)]
pub(crate) struct OfResource<'a> {
    /// Promoted attributes: a point's own attribute goes before.
    promoted: LabelSet<'a>,
    /// `job` and `instance`, as far as the resource has them: they go before what the point says.
    identity: LabelSet<'a>,
}

impl<'a> OfResource<'a> {
    pub(crate) fn of(attributes: &[Pair<'a>], options: &Options) -> Self {
        let mut added = Self::default();
        let mut promoted: Vec<_> = attributes.iter().filter(|(key, _)| options.promote.takes(key)).collect();
        promoted.sort_by_key(|(key, _)| *key);
        for (key, value) in promoted {
            // Where no label can be named so, nothing is promoted: the points are none the worse.
            if let Some(name) = label_name(key, options) {
                added.promoted.add(name, value.clone());
            }
        }
        let find = |wanted: &str| attributes.iter().rev().find(|(key, _)| *key == wanted).map(|(_, value)| value);
        if let Some(name) = find("service.name") {
            let job = match find("service.namespace") {
                Some(namespace) => format!("{namespace}/{name}").into(),
                None => name.clone(),
            };
            added.identity.set("job".into(), job);
        }
        if let Some(instance) = find("service.instance.id") {
            added.identity.set("instance".into(), instance.clone());
        }
        added
    }

    /// `job` and `instance`.
    pub(crate) const fn identity(&self) -> &LabelSet<'a> {
        &self.identity
    }
}

/// What a resource and a scope add to the labels of each point.
#[derive(Debug)]
pub(crate) struct Added<'a, 'r> {
    resource: &'r OfResource<'a>,
    /// They go before what the point says.
    scope: LabelSet<'a>,
}

impl<'a, 'r> Added<'a, 'r> {
    /// A scope without a name adds nothing, and none does unless scopes are promoted.
    pub(crate) fn of(resource: &'r OfResource<'a>, scope: &Scope<'a>, options: &Options) -> Self {
        let mut labels = LabelSet::default();
        if options.promote_scope_metadata && !scope.name.is_empty() {
            for (key, value) in &scope.attributes {
                if let Some(name) = label_name(&format!("otel_scope_{key}"), options) {
                    labels.set(name.into_owned().into(), value.clone());
                }
            }
            labels.set("otel_scope_name".into(), scope.name.into());
            labels.set("otel_scope_version".into(), scope.version.into());
            labels.set("otel_scope_schema_url".into(), scope.schema_url.into());
        }
        Self { resource, scope: labels }
    }

    /// How many labels these are at least: some may have the same names.
    pub(crate) fn len(&self) -> usize {
        self.resource.promoted.len().max(self.scope.len()).max(self.resource.identity.len())
    }

    /// Adds them to the labels of a point.
    pub(crate) fn add_to<'p>(&'p self, labels: &mut LabelSet<'p>) {
        for (name, value) in self.resource.promoted.iter() {
            labels.add(name.into(), value.into());
        }
        for (name, value) in self.scope.iter().chain(self.resource.identity.iter()) {
            labels.set(name.into(), value.into());
        }
    }
}

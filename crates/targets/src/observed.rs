//! What is there: objects as the API server shows them, cut down to what is needed.
//!
//! Names and values of Secrets are kept apart: of most Secrets only the metadata is known.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;

use crate::replies::Replies;
use crate::spec::ReferenceKind;
use crate::words;

/// Namespace and name of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Key {
    /// `namespace/name`.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.to_owned(), name: name.to_owned() }
    }

    /// Of an object with metadata.
    #[must_use]
    pub fn of(object: &Json) -> Self {
        let text = |key: &str| object["metadata"][key].as_str().unwrap_or_default();
        Self::new(text("namespace"), text("name"))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A Secret or a ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceKey {
    /// Which of the two.
    pub kind: ReferenceKind,
    /// Where it is.
    pub key: Key,
}

impl SourceKey {
    /// A Secret's.
    #[must_use]
    pub fn secret(key: Key) -> Self {
        Self { kind: ReferenceKind::Secret, key }
    }
}

impl fmt::Display for SourceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.as_str(), self.key)
    }
}

/// The kinds that have `spec.remoteWrite`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PrometheusKind {
    /// `monitoring.coreos.com/v1`, Prometheus.
    Prometheus,
    /// `monitoring.coreos.com/v1alpha1`, PrometheusAgent.
    Agent,
}

impl PrometheusKind {
    /// As Kubernetes writes the kind.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Prometheus => "Prometheus",
            Self::Agent => "PrometheusAgent",
        }
    }
}

/// One of those.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PrometheusId {
    /// Which kind.
    pub kind: PrometheusKind,
    /// Where it is.
    pub key: Key,
}

impl fmt::Display for PrometheusId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.as_str(), self.key)
    }
}

/// Bytes by key, which nothing prints.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Data(pub BTreeMap<String, Vec<u8>>);

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Data {
    /// The `data` of a Secret (base64), with its `stringData`, or of a ConfigMap (text, and `binaryData`).
    #[must_use]
    pub fn of(object: &Json, kind: ReferenceKind) -> Self {
        let entries = |key: &str| object[key].as_object().into_iter().flatten();
        let decode = |(key, value): (&String, &Json)| {
            let bytes = STANDARD.decode(value.as_str().unwrap_or_default()).ok()?;
            Some((key.clone(), bytes))
        };
        let plain =
            |(key, value): (&String, &Json)| (key.clone(), value.as_str().unwrap_or_default().as_bytes().to_vec());
        match kind {
            ReferenceKind::Secret => {
                Self(entries("data").filter_map(decode).chain(entries("stringData").map(plain)).collect())
            }
            ReferenceKind::ConfigMap => {
                Self(entries("data").map(plain).chain(entries("binaryData").filter_map(decode)).collect())
            }
        }
    }

    /// As a Secret's `data`.
    #[must_use]
    pub fn encoded(&self) -> Json {
        self.0.iter().map(|(key, value)| (key.clone(), Json::String(STANDARD.encode(value)))).collect()
    }
}

/// A namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespace {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Its uid.
    pub uid: String,
    /// Whether it is being deleted.
    pub terminating: bool,
}

/// What is known of a Secret or ConfigMap without reading it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Changes with every change.
    pub resource_version: String,
    /// Its annotations, as far as they are ours to read.
    pub annotations: BTreeMap<String, String>,
    /// Whether it carries the label of what the operator made.
    pub managed: bool,
    /// The labels that say which `RemoteWrite` object it belongs to.
    pub labels: BTreeMap<String, String>,
}

impl Known {
    /// From an object with metadata.
    #[must_use]
    pub fn of(object: &Json) -> Self {
        let ours = |key: &str| key.ends_with(words::REFERENCED_SECRETS) || key == words::ALLOW_NAMESPACES;
        Self {
            resource_version: object["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned(),
            annotations: texts(&object["metadata"]["annotations"]).into_iter().filter(|(key, _)| ours(key)).collect(),
            managed: object["metadata"]["labels"][words::MANAGED_BY] == words::OPERATOR,
            labels: texts(&object["metadata"]["labels"])
                .into_iter()
                .filter(|(key, _)| [words::REMOTE_WRITE_NAME, words::REMOTE_WRITE_NAMESPACE].contains(&key.as_str()))
                .collect(),
        }
    }

    /// Whether its owner lets that namespace use it.
    #[must_use]
    pub fn allows(&self, namespace: &str) -> bool {
        let list = self.annotations.get(words::ALLOW_NAMESPACES).map(String::as_str).unwrap_or_default();
        list.split(',').map(str::trim).any(|allowed| allowed == namespace || allowed == "*")
    }
}

/// What was read of a Secret or ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// Of the object that was read.
    pub resource_version: String,
    /// What it holds.
    pub data: Data,
}

/// A Secret that the operator made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// Needed to change exactly this one.
    pub resource_version: String,
    /// What it stands for.
    pub identity: String,
    /// What it holds.
    pub data: Data,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Whether it is being deleted.
    pub terminating: bool,
}

impl Copied {
    /// From a Secret with the label of what the operator made.
    #[must_use]
    pub fn of(secret: &Json) -> Self {
        let metadata = &secret["metadata"];
        let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
        Self {
            resource_version: text(&metadata["resourceVersion"]),
            identity: text(&metadata["annotations"][words::IDENTITY]),
            data: Data::of(secret, ReferenceKind::Secret),
            labels: texts(&metadata["labels"]),
            terminating: !metadata["deletionTimestamp"].is_null(),
        }
    }
}

impl Namespace {
    /// From an object with metadata.
    #[must_use]
    pub fn of(object: &Json) -> Self {
        let metadata = &object["metadata"];
        Self {
            labels: texts(&metadata["labels"]),
            annotations: texts(&metadata["annotations"]),
            uid: metadata["uid"].as_str().unwrap_or_default().to_owned(),
            terminating: !metadata["deletionTimestamp"].is_null(),
        }
    }
}

/// Everything that is there.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// All namespaces.
    pub namespaces: BTreeMap<String, Namespace>,
    /// All `RemoteWrite` objects.
    pub remote_writes: BTreeMap<Key, Json>,
    /// All objects with `spec.remoteWrite`.
    pub prometheuses: BTreeMap<PrometheusId, Json>,
    /// All Secrets and ConfigMaps, unread.
    pub known: BTreeMap<SourceKey, Known>,
    /// Those that were read.
    pub contents: BTreeMap<SourceKey, Contents>,
    /// The Secrets that the operator made.
    pub copies: BTreeMap<Key, Copied>,
    /// Plurals of kinds that the API server does not know at the moment: that there are no objects says nothing.
    pub unknown: BTreeSet<&'static str>,
    /// Objects that could not be written, and why; by what [`crate::Change::object`] calls them.
    pub failures: BTreeMap<String, String>,
    /// What the API server made of entries that were sent.
    pub replies: Replies,
}

/// What one may know of a source.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Look<'w> {
    /// There is none.
    Missing,
    /// There is one, and it has to be read.
    Unread,
    /// What it holds.
    Read(&'w Known, &'w Data),
}

impl World {
    /// Whether it may be that there are `RemoteWrite` objects which do not show.
    pub(crate) fn hides_remote_writes(&self) -> bool {
        self.unknown.contains("remotewrites")
    }

    /// Whether it may be that there are Prometheus objects which do not show.
    pub(crate) fn hides_prometheuses(&self) -> bool {
        self.unknown.contains("prometheuses") || self.unknown.contains("prometheusagents")
    }

    /// Looks at a source; what has to be read is noted in `needs`.
    pub(crate) fn look(&self, source: &SourceKey, needs: &mut BTreeSet<SourceKey>) -> Look<'_> {
        let Some(known) = self.known.get(source) else { return Look::Missing };
        match self.contents.get(source) {
            Some(contents) if contents.resource_version == known.resource_version => Look::Read(known, &contents.data),
            Some(_) | None => {
                needs.insert(source.clone());
                Look::Unread
            }
        }
    }
}

/// A mapping of texts.
pub(crate) fn texts(value: &Json) -> BTreeMap<String, String> {
    let entries = value.as_object().into_iter().flatten();
    entries.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

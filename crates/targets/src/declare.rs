//! From objects to targets: who declared what, and why some of it is not taken.

mod annotation;
mod remote_write;
mod storage;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::{Map, Value as Json};
use writegate_config::OperatorConfig;

use crate::observed::{Data, Key, SourceKey, World};
use crate::policy;
use crate::proxy::EnvironmentProxy;
use crate::reason::{Reason, Refusal};
use crate::spec::{Flaw, ReferenceKind, Spec};
use crate::words;

pub(crate) use remote_write::{is_deleting, is_paused};

/// Where declared targets are applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applier {
    /// Into `spec.remoteWrite` of Prometheus objects.
    Prometheus,
    /// Into a file for the gateway.
    File,
}

/// What the operator works by.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its file.
    pub config: OperatorConfig,
    /// Where targets go.
    pub applier: Applier,
    /// The operator's own proxy.
    pub proxy: EnvironmentProxy,
    /// The absolute directory for secrets of `--apply file`.
    pub secrets_dir: String,
    /// Whether this operator may write objects; one that follows writes its file only.
    pub leads: bool,
}

/// What a target comes from; its text is its name in records.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceId {
    /// The administrator's template, for a namespace.
    Default(String),
    /// A Secret of Observatorium's operator.
    WriteStorage(String),
    /// A namespace's annotation.
    Annotation(String),
    /// A `RemoteWrite` object.
    RemoteWrite(Key),
}

impl SourceId {
    /// In a word, for metrics.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Default(_) => "default",
            Self::WriteStorage(_) => "write_storage",
            Self::Annotation(_) => "annotation",
            Self::RemoteWrite(_) => "remotewrite",
        }
    }

    /// The namespace it is in.
    #[must_use]
    pub fn namespace(&self) -> &str {
        match self {
            Self::Default(namespace) | Self::Annotation(namespace) => namespace,
            Self::WriteStorage(_) => "",
            Self::RemoteWrite(key) => &key.namespace,
        }
    }
}

impl fmt::Display for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default(name) | Self::WriteStorage(name) | Self::Annotation(name) => {
                write!(f, "{}/{name}", self.kind())
            }
            Self::RemoteWrite(key) => write!(f, "{}/{key}", self.kind()),
        }
    }
}

/// A target and how it stands.
#[derive(Clone, Debug)]
pub struct Declaration {
    /// Where it comes from.
    pub source: SourceId,
    /// When that was made; older ones come first.
    pub created: String,
    /// What became of it.
    pub state: State,
    /// The Secret that the annotation names, if it could be read.
    pub origin: Option<Key>,
    /// What its owner should know, though it works.
    pub notes: Vec<String>,
}

/// How far a declaration got.
#[derive(Clone, Debug)]
pub enum State {
    /// It may be applied.
    Ready(Box<Target>),
    /// It may not; what is applied stays, unless the reason revokes it.
    Refused(Refusal),
    /// Something has to be read first; everything stays.
    Unread,
    /// Its owner stopped all work on it; everything stays.
    Paused,
    /// It is being deleted; what is applied goes.
    Deleting,
}

/// A target that may be applied.
#[derive(Clone, Debug)]
pub struct Target {
    /// What it says.
    pub body: Body,
    /// What must be in the namespace of a Prometheus, by what the target calls it.
    pub material: Materials,
    /// Where references lead that are no material.
    pub elsewhere: Elsewhere,
}

/// Secrets that have to be there, by what a target calls them.
pub type Materials = BTreeMap<(ReferenceKind, String), Material>;

/// What references lead to.
type Found<'w> = BTreeMap<(ReferenceKind, String), &'w Data>;

/// What a target says.
#[derive(Clone, Debug)]
pub enum Body {
    /// A `RemoteWriteSpec`.
    Spec(Spec),
    /// An entry for the gateway, with the files it names by their paths below the directory of secrets.
    Entry {
        /// In the gateway's words.
        entry: Map<String, Json>,
        /// The URL without what may be secret.
        url: String,
        /// What the files hold.
        files: BTreeMap<String, Vec<u8>>,
    },
}

/// Where references lead that are no material.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elsewhere {
    /// Nowhere: everything is material.
    Nowhere,
    /// Into the namespace of the Prometheus, as its administrator wrote.
    Administrator,
    /// Into the namespace of the Prometheus, if that is its own or the Secret is granted.
    Granted,
}

/// A Secret that has to be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Material {
    /// What it stands for, unique.
    pub identity: String,
    /// The name it should have.
    pub name: String,
    /// Whether another name would not do.
    pub fixed: bool,
    /// What it holds.
    pub data: Data,
    /// What it is a copy of.
    pub copy_of: Option<Key>,
    /// More labels.
    pub labels: BTreeMap<String, String>,
}

/// Every target that is declared, sorted by source; what has to be read is noted in `needs`.
#[must_use]
pub fn declarations(world: &World, settings: &Settings, needs: &mut BTreeSet<SourceKey>) -> Vec<Declaration> {
    let mut all = Vec::new();
    for (name, namespace) in world.namespaces.iter().filter(|(_, namespace)| !namespace.terminating) {
        let annotated = annotation::declared(world, settings, name, namespace, needs);
        let replaces = settings.config.annotation_mode == writegate_config::AnnotationMode::Replace;
        if let Some(template) = &settings.config.default_target
            && (annotated.is_none() || !replaces || waits(annotated.as_ref()))
        {
            all.push(default(world, settings, name, template, annotated.is_some() && replaces, needs));
        }
        all.extend(annotated);
    }
    all.extend(remote_write::declared(world, settings, needs));
    if settings.applier == Applier::File {
        all.extend(settings.config.write_storage.iter().map(|storage| storage::declared(world, storage, needs)));
    }
    all.sort_by(|a, b| a.source.cmp(&b.source));
    all
}

/// Whether the annotation's target cannot take the default's place yet.
fn waits(annotated: Option<&Declaration>) -> bool {
    annotated.is_some_and(|declaration| matches!(declaration.state, State::Refused(_) | State::Unread))
}

fn default(
    world: &World,
    settings: &Settings,
    namespace: &str,
    template: &writegate_config::Node,
    only_stays: bool,
    needs: &mut BTreeSet<SourceKey>,
) -> Declaration {
    let state = match Spec::from_template(template, namespace) {
        // It is not put where the annotation asked for something else, but stays where it was.
        Ok(_) if only_stays => State::Unread,
        Ok(spec) => {
            let missing = match settings.applier {
                Applier::Prometheus => Ok(Some(())),
                // The gateway gets what the administrator's Secrets hold.
                Applier::File => {
                    read_all(world, &settings.config.prometheus_namespace, &spec, needs).map(|read| read.map(|_| ()))
                }
            };
            match missing {
                Ok(Some(())) => State::Ready(Box::new(Target {
                    body: Body::Spec(with_proxy(spec, settings)),
                    material: BTreeMap::new(),
                    elsewhere: Elsewhere::Administrator,
                })),
                Ok(None) => State::Unread,
                Err(refusal) => State::Refused(refusal),
            }
        }
        Err(flaws) => State::Refused(malformed("the operator's default_target", &flaws)),
    };
    Declaration {
        source: SourceId::Default(namespace.to_owned()),
        created: String::new(),
        state,
        origin: None,
        notes: Vec::new(),
    }
}

/// What the references of a spec lead to in one namespace; `None` if something has to be read first.
fn read_all<'w>(
    world: &'w World,
    namespace: &str,
    spec: &Spec,
    needs: &mut BTreeSet<SourceKey>,
) -> Result<Option<Found<'w>>, Refusal> {
    use crate::observed::Look;
    let mut read = BTreeMap::new();
    let mut unread = false;
    for reference in spec.references() {
        let source = SourceKey { kind: reference.kind, key: Key::new(namespace, &reference.name) };
        match world.look(&source, needs) {
            Look::Missing => {
                let message = format!("{} names the {source}, which is not there", reference.path);
                return Err(Refusal::new(Reason::SecretMissing, message));
            }
            Look::Unread => unread = true,
            Look::Read(_, data) if !data.0.contains_key(&reference.key) => {
                let message = format!(
                    "{} names the key {} of the {source}, which has none of that name",
                    reference.path, reference.key
                );
                return Err(Refusal::new(Reason::KeyMissing, message));
            }
            Look::Read(_, data) => drop(read.insert((reference.kind, reference.name), data)),
        }
    }
    Ok((!unread).then_some(read))
}

/// A target as its owner wrote it, judged.
fn judged(spec: Spec, settings: &Settings) -> Result<Spec, Refusal> {
    policy::judge(&spec, &settings.config.policies)?;
    Ok(with_proxy(spec, settings))
}

/// The user's proxy wins; the environment's fills only a gap.
fn with_proxy(spec: Spec, settings: &Settings) -> Spec {
    let says = spec.text("proxyUrl").is_some() || spec.fields().get("proxyFromEnvironment") == Some(&Json::Bool(true));
    if says || !settings.config.policies.environment_proxy {
        return spec;
    }
    match spec.text("url").and_then(|url| settings.proxy.of(url)) {
        Some(proxy) => spec.with_proxy(&proxy),
        None => spec,
    }
}

fn malformed(what: &str, flaws: &[Flaw]) -> Refusal {
    let mut message = format!("{what} is no target: ");
    for (index, flaw) in flaws.iter().take(5).enumerate() {
        message += if index > 0 { "; " } else { "" };
        message += &flaw.to_string();
    }
    if flaws.len() > 5 {
        message += &format!("; and {} more", flaws.len() - 5);
    }
    Refusal::new(Reason::SpecInvalid, message)
}

fn created(object: &Json) -> String {
    object["metadata"]["creationTimestamp"].as_str().unwrap_or_default().to_owned()
}

/// Whether a list of the administrator's names the namespace, or names none.
fn listed(list: &[String], namespace: &str) -> bool {
    list.is_empty() || list.iter().any(|name| name == namespace)
}

/// Whether Kubernetes takes it for the name of a Secret (RFC 1123).
pub(crate) fn is_object_name(name: &str) -> bool {
    let inside = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let label = |label: &str| {
        !label.is_empty() && label.bytes().all(inside) && !label.starts_with('-') && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

/// Whether Kubernetes takes it for a key of a Secret; such a key is also a file's name.
pub(crate) fn is_data_key(key: &str) -> bool {
    let inside = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    !key.is_empty() && key.len() <= 253 && key.bytes().all(inside) && key != "." && !key.starts_with("..")
}

/// Short, and the same everywhere: for names that would not fit or not be unique.
pub(crate) fn short_hash(text: &str) -> String {
    format!("{:016x}", xxhash_rust::xxh3::xxh3_64(text.as_bytes()))[..10].to_owned()
}

/// A label's value: at most 63 characters.
pub(crate) fn label_value(text: &str) -> String {
    if text.len() <= 63 {
        text.to_owned()
    } else {
        format!("{}-{}", text[..52].trim_end_matches(['.', '-']), short_hash(text))
    }
}

/// What every copy of a Secret or ConfigMap is called in records.
pub(crate) fn copy_identity(source: &SourceKey) -> String {
    format!("copy/{}/{}", source.kind.as_str().to_ascii_lowercase(), source.key)
}

/// What every Secret of a `RemoteWrite` object is called in records.
pub(crate) fn owned_identity(owner: &Key, name: &str) -> String {
    format!("{}/{name}", owned_prefix(owner).trim_end_matches('/'))
}

/// What all of those begin with.
pub(crate) fn owned_prefix(owner: &Key) -> String {
    format!("remotewrite/{owner}/")
}

/// The labels of those.
pub(crate) fn owned_labels(owner: &Key) -> BTreeMap<String, String> {
    BTreeMap::from([
        (words::REMOTE_WRITE_NAME.to_owned(), label_value(&owner.name)),
        (words::REMOTE_WRITE_NAMESPACE.to_owned(), label_value(&owner.namespace)),
    ])
}

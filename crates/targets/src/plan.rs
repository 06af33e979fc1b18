//! Everything together: from what is there to what should change.
//!
//! A plan holds only changes whose conditions are met already, as observed: a finalizer before the first entry, Secrets before
//! the entries that name them, entries gone before their Secrets go, everything gone before the finalizer goes. After they are
//! made the next plan goes on from there, so that an end in the middle costs nothing.

mod status;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json, json};

use crate::copies::{self, Stored, Write};
use crate::declare::{
    Applier, Body, Declaration, Elsewhere, Material, Settings, SourceId, State, Target, declarations, is_deleting,
    is_paused, owned_prefix,
};
use crate::file::{self, Rendered};
use crate::observed::{Key, PrometheusId, PrometheusKind, SourceKey, World, texts};
use crate::policy;
use crate::prometheus::{self, Listed, Placed, Want};
use crate::reason::{Reason, Refusal};
use crate::selector::Selector;
use crate::spec::{ReferenceKind, Spec, filled};
use crate::words;

/// What should be done.
#[derive(Debug, Default)]
pub struct Plan {
    /// What has to be read before more can be said.
    pub needs: BTreeSet<SourceKey>,
    /// What may be changed at once, in any order.
    pub changes: Vec<Change>,
    /// What became of every target, sorted by source.
    pub reports: Vec<Report>,
    /// What `--apply file` writes.
    pub file: Option<Rendered>,
}

/// One change of one object.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A new Secret.
    CreateSecret(Key, Json),
    /// A merge patch of one of ours.
    PatchSecret(Key, Json),
    /// One of ours, as it was seen.
    DeleteSecret(Key, String),
    /// A merge patch of `spec.remoteWrite` and the record.
    PatchPrometheus(PrometheusId, Json),
    /// A tenant's, from the template.
    CreatePrometheus(PrometheusId, Json),
    /// One that was made from the template, as it was seen.
    DeletePrometheus(PrometheusId, String),
    /// A merge patch of finalizers.
    PatchRemoteWrite(Key, Json),
    /// A merge patch of the status.
    PatchStatus(Key, Json, Note),
    /// A merge patch of the status annotation.
    PatchNamespace(String, Json, Option<Note>),
}

impl Change {
    /// The object that is changed.
    #[must_use]
    pub fn object(&self) -> String {
        match self {
            Self::CreateSecret(key, _) | Self::PatchSecret(key, _) | Self::DeleteSecret(key, _) => {
                format!("Secret {key}")
            }
            Self::PatchPrometheus(id, _) | Self::CreatePrometheus(id, _) | Self::DeletePrometheus(id, _) => {
                id.to_string()
            }
            Self::PatchRemoteWrite(key, _) | Self::PatchStatus(key, ..) => format!("RemoteWrite {key}"),
            Self::PatchNamespace(name, ..) => format!("Namespace {name}"),
        }
    }
}

/// What an Event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Whether it is a `Warning`.
    pub warning: bool,
    /// In a word.
    pub reason: &'static str,
    /// In a sentence or two; never a secret.
    pub message: String,
}

/// What became of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Which one.
    pub source: SourceId,
    /// In a word.
    pub reason: Reason,
    /// In a sentence or two; never a secret.
    pub message: String,
    /// Where it sends, without what may be secret.
    pub url: String,
    /// The objects that hold its entry, and the entry's name.
    pub places: Vec<(String, String)>,
}

/// What is gathered about one target.
#[derive(Debug, Default)]
struct Course {
    selected: usize,
    places: Vec<(PrometheusId, String)>,
    refusals: Vec<Refusal>,
    /// Objects that have to change first.
    waits_for: BTreeSet<String>,
}

/// Makes a plan. `now` is the time of day, RFC 3339 in UTC, for conditions that change; `previous` are the entries of the file
/// as it is, by name.
#[must_use]
pub fn plan(world: &World, settings: &Settings, now: &str, previous: &BTreeMap<String, file::Previous>) -> Plan {
    let mut plan = Plan::default();
    let declared = declarations(world, settings, &mut plan.needs);
    let lists: Lists<'_> = world.prometheuses.iter().map(|(id, object)| (id, Listed::new(object))).collect();
    let mut courses: BTreeMap<&SourceId, Course> = declared.iter().map(|d| (&d.source, Course::default())).collect();
    match settings.applier {
        Applier::Prometheus => {
            Placement { world, settings, declared: &declared, lists: &lists }.place(&mut plan, &mut courses);
            templates(world, settings, &declared, &mut plan);
        }
        Applier::File => {
            let (rendered, refusals) = file::render(world, settings, &declared, previous);
            for (source, state) in refusals {
                if let Some(course) = courses.get_mut(&source) {
                    match state {
                        Ok(()) => course.selected = 1,
                        Err(refusal) => course.refusals.push(refusal),
                    }
                }
            }
            plan.file = Some(rendered);
        }
    }
    plan.reports = declared.iter().map(|declaration| report(world, settings, declaration, &courses)).collect();
    finalizers(world, settings, &declared, &lists, &mut plan);
    status::changes(world, settings, &lists, now, &mut plan);
    if !settings.leads {
        plan.changes.clear();
    }
    plan
}

/// Every list, read once.
type Lists<'w> = BTreeMap<&'w PrometheusId, Listed<'w>>;

struct Placement<'p> {
    world: &'p World,
    settings: &'p Settings,
    declared: &'p [Declaration],
    lists: &'p Lists<'p>,
}

/// Objects of one namespace, with the targets that have to do with each.
type Objects<'p> = Vec<(&'p PrometheusId, &'p Listed<'p>, Vec<Pair<'p>>)>;

/// A target at one Prometheus object.
struct Pair<'p> {
    declaration: &'p Declaration,
    /// `None`: what is there stays.
    target: Option<&'p Target>,
}

impl<'p> Placement<'p> {
    fn place(&self, plan: &mut Plan, courses: &mut BTreeMap<&'p SourceId, Course>) {
        let mut by_namespace: BTreeMap<&str, Objects<'p>> = BTreeMap::new();
        let selectors: Vec<Option<Selector>> =
            self.declared.iter().map(|declaration| self.selector(declaration)).collect();
        for (&id, listed) in self.lists {
            let object = listed.object;
            let used = id.kind == PrometheusKind::Prometheus || self.settings.config.prometheus_agents;
            if used && object["metadata"]["deletionTimestamp"].is_null() {
                let pairs = self.pairs(id, listed, &selectors);
                by_namespace.entry(&id.key.namespace).or_default().push((id, listed, pairs));
            }
        }
        for (namespace, objects) in &by_namespace {
            let (stored, writes) = self.store(namespace, objects);
            for (id, listed, pairs) in objects {
                self.write_entries(id, listed, pairs, &stored, plan, courses);
            }
            plan.changes.extend(writes.into_iter().map(
                |Write { key, resource_version, body }| match resource_version {
                    Some(_) => Change::PatchSecret(key, body),
                    None => Change::CreateSecret(key, body),
                },
            ));
        }
        self.delete_stale(plan, &by_namespace);
    }

    fn selector(&self, declaration: &Declaration) -> Option<Selector> {
        let SourceId::RemoteWrite(key) = &declaration.source else { return None };
        Selector::parse(&self.world.remote_writes.get(key)?["spec"]["clusterSelector"]).ok()
    }

    /// Every target that has to do with one object, in the order in which entries are made.
    fn pairs(&self, id: &PrometheusId, listed: &Listed<'_>, selectors: &[Option<Selector>]) -> Vec<Pair<'p>> {
        let labels = texts(&listed.object["metadata"]["labels"]);
        let never = labels.get(words::NAME_LABEL).is_some_and(|name| words::NEVER_SELECTED.contains(&name.as_str()));
        let tenant = (id.key.namespace == self.settings.config.prometheus_namespace).then_some(id.key.name.as_str());
        let mut pairs = Vec::new();
        for (declaration, selector) in self.declared.iter().zip(selectors) {
            let selected = match &declaration.source {
                SourceId::Default(namespace) | SourceId::Annotation(namespace) => tenant == Some(namespace.as_str()),
                SourceId::RemoteWrite(_) => {
                    !never && selector.as_ref().is_some_and(|selector| selector.matches(&labels))
                }
                SourceId::WriteStorage(_) => false,
            };
            let recorded = || listed.recorded(&declaration.source.to_string());
            match &declaration.state {
                State::Ready(target) if selected => pairs.push(Pair { declaration, target: Some(target) }),
                State::Ready(_) | State::Deleting => {}
                State::Paused => pairs.push(Pair { declaration, target: None }),
                // A selector that cannot be read says nothing about where the target was.
                State::Unread | State::Refused(_) if !selected && selector.is_some() => {}
                State::Unread => pairs.push(Pair { declaration, target: None }),
                State::Refused(refusal) => {
                    let stays = recorded().is_some_and(|recorded| self.stays(declaration, refusal, recorded, listed));
                    if stays {
                        pairs.push(Pair { declaration, target: None });
                    }
                }
            }
        }
        let age = |pair: &Pair<'_>| match &pair.declaration.source {
            SourceId::Default(_) => (0, String::new()),
            SourceId::Annotation(_) | SourceId::WriteStorage(_) => (1, String::new()),
            SourceId::RemoteWrite(key) => (2, format!("{} {key}", pair.declaration.created)),
        };
        pairs.sort_by_cached_key(age);
        pairs
    }

    /// Whether the last good entry goes on after its successor was refused: not if the administrator or the owner of its Secret
    /// took leave back.
    fn stays(
        &self,
        declaration: &Declaration,
        refusal: &Refusal,
        recorded: &prometheus::Recorded,
        listed: &Listed<'_>,
    ) -> bool {
        if refusal.reason.revokes() {
            return false;
        }
        if let (SourceId::Annotation(tenant), Some(from)) = (&declaration.source, &recorded.from)
            && from.namespace != *tenant
        {
            let known = self.world.known.get(&SourceKey::secret(from.clone()));
            if known.is_some_and(|known| !known.allows(tenant)) {
                return false;
            }
        }
        let declared = matches!(declaration.source, SourceId::Annotation(_) | SourceId::RemoteWrite(_));
        let running = listed.entry(&recorded.name).and_then(|entry| Spec::from_json(entry).ok());
        !declared || running.is_none_or(|spec| policy::judge(&spec, &self.settings.config.policies).is_ok())
    }

    /// The Secrets of all targets in one namespace.
    fn store(
        &self,
        namespace: &str,
        objects: &[(&'p PrometheusId, &'p Listed<'p>, Vec<Pair<'p>>)],
    ) -> (BTreeMap<String, Stored>, Vec<Write>) {
        let mut wanted: Vec<(&Declaration, &Material)> = Vec::new();
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        for (_, _, pairs) in objects {
            for pair in pairs {
                let Some(target) = pair.target else { continue };
                for material in target.material.values() {
                    if !is_there_already(material, namespace) && seen.insert(&material.identity) {
                        wanted.push((pair.declaration, material));
                    }
                }
            }
        }
        wanted.sort_by_key(|(declaration, material)| {
            (declaration.created.clone(), declaration.source.clone(), material.identity.clone())
        });
        let wanted: Vec<&Material> = wanted.into_iter().map(|(_, material)| material).collect();
        copies::store(self.world, namespace, &wanted)
    }

    fn write_entries(
        &self,
        id: &PrometheusId,
        listed: &Listed<'_>,
        pairs: &[Pair<'p>],
        stored: &BTreeMap<String, Stored>,
        plan: &mut Plan,
        courses: &mut BTreeMap<&'p SourceId, Course>,
    ) {
        let mut wants: Vec<(String, Want)> = Vec::new();
        for pair in pairs {
            let Some(course) = courses.get_mut(&pair.declaration.source) else { continue };
            course.selected += 1;
            let want = match pair.target {
                None => Some(Want::Keep),
                Some(target) => self.want(id, pair.declaration, target, stored, course),
            };
            wants.extend(want.map(|want| (pair.declaration.source.to_string(), want)));
        }
        let (patch, placed) = prometheus::reconcile(listed, &wants);
        for pair in pairs {
            let Some(course) = courses.get_mut(&pair.declaration.source) else { continue };
            match placed.get(&pair.declaration.source.to_string()) {
                Some(Placed::InPlace(name)) => course.places.push((id.clone(), name.clone())),
                Some(Placed::Changing) => drop(course.waits_for.insert(id.to_string())),
                Some(Placed::Conflict(names)) => {
                    let message = format!("the {id} has entries of others under the names {names}; rename the target");
                    course.refusals.push(Refusal::new(Reason::NameConflict, message));
                }
                Some(Placed::Absent) | None => {}
            }
        }
        plan.changes.extend(patch.map(|patch| Change::PatchPrometheus(id.clone(), patch)));
    }

    /// What a target wants at one object; `None`: that it is not there.
    fn want(
        &self,
        id: &PrometheusId,
        declaration: &Declaration,
        target: &Target,
        stored: &BTreeMap<String, Stored>,
        course: &mut Course,
    ) -> Option<Want> {
        let Body::Spec(spec) = &target.body else { return None };
        let namespace = &id.key.namespace;
        let mut names: BTreeMap<(ReferenceKind, &str), &str> = BTreeMap::new();
        for ((kind, name), material) in &target.material {
            match stored.get(&material.identity) {
                Some(Stored::InPlace(stored)) => drop(names.insert((*kind, name), stored)),
                Some(Stored::Changing(stored)) => {
                    course.waits_for.insert(format!("Secret {namespace}/{stored}"));
                    return Some(Want::Keep);
                }
                Some(Stored::Conflict(why)) => {
                    let message = format!("{why}, and the {id} needs one of that name; rename it");
                    course.refusals.push(Refusal::new(Reason::SecretConflict, message));
                    return Some(Want::Keep);
                }
                None => {}
            }
        }
        if target.elsewhere == Elsewhere::Granted
            && let Err((refusal, stays)) = self.undeclared(namespace, declaration, target, spec)
        {
            course.refusals.push(refusal);
            return stays.then_some(Want::Keep);
        }
        if let SourceId::RemoteWrite(key) = &declaration.source
            && !has_finalizer(self.world.remote_writes.get(key)?, words::FINALIZER)
        {
            course.waits_for.insert(format!("RemoteWrite {key}"));
            return Some(Want::Keep);
        }
        let entry = match target.elsewhere {
            Elsewhere::Nowhere => {
                let spec = spec.renamed(|reference| {
                    let stored = names.get(&(reference.kind, reference.name.as_str()));
                    stored.map_or_else(|| reference.name.clone(), |name| (*name).to_owned())
                });
                spec.entry("")
            }
            Elsewhere::Administrator | Elsewhere::Granted => spec.entry(""),
        };
        let (names, adopt) = self.names(declaration, spec);
        Some(Want::Set { names, entry, from: declaration.origin.clone(), adopt })
    }

    /// The names an entry may have, and whether the old operator's entry of the first name is taken over.
    fn names(&self, declaration: &Declaration, spec: &Spec) -> (Vec<String>, bool) {
        match &declaration.source {
            SourceId::RemoteWrite(key) => {
                let object = self.world.remote_writes.get(key);
                let old = object.is_some_and(|object| has_finalizer(object, words::OLD_FINALIZER));
                let was_theirs = object.is_some_and(|object| {
                    let listed = object["status"]["configuredPrometheuses"].as_array();
                    listed.is_some_and(|list| !list.is_empty())
                });
                let adopt = self.settings.config.policies.adopt_finalizers && (old || was_theirs);
                (vec![key.name.clone(), key.to_string()], adopt)
            }
            source => {
                let own = spec.text("name").map(str::to_owned);
                (own.into_iter().chain([source.to_string()]).collect(), false)
            }
        }
    }

    /// References to Secrets that are neither declared nor copied: they must be granted, or be in the object's own namespace.
    fn undeclared(
        &self,
        namespace: &str,
        declaration: &Declaration,
        target: &Target,
        spec: &Spec,
    ) -> Result<(), (Refusal, bool)> {
        let owner = declaration.source.namespace();
        for reference in spec.references() {
            if target.material.contains_key(&(reference.kind, reference.name.clone())) {
                continue;
            }
            let source = SourceKey { kind: reference.kind, key: Key::new(namespace, &reference.name) };
            let known = self.world.known.get(&source);
            if owner != namespace && !known.is_some_and(|known| known.allows(owner)) {
                let message = format!(
                    "{} names {}, which is not in spec.secrets; the {source} is not granted to the namespace {owner}, or is not there",
                    reference.path, reference.name
                );
                return Err((Refusal::new(Reason::SecretNotDeclared, message), known.is_none()));
            }
            if known.is_none() {
                let message = format!("{} names the {source}, which is not there", reference.path);
                return Err((Refusal::new(Reason::SecretMissing, message), true));
            }
        }
        Ok(())
    }

    /// Secrets that no target needs, once no entry names them.
    fn delete_stale(&self, plan: &mut Plan, objects: &BTreeMap<&str, Objects<'p>>) {
        let mut needed: BTreeSet<(&str, &str)> = BTreeSet::new();
        let mut held: Vec<String> = Vec::new();
        for (namespace, objects) in objects {
            for (_, _, pairs) in objects {
                for material in pairs.iter().filter_map(|pair| pair.target).flat_map(|target| target.material.values())
                {
                    needed.insert((namespace, &material.identity));
                }
            }
        }
        for declaration in self.declared {
            if let (SourceId::RemoteWrite(key), State::Paused | State::Unread | State::Refused(_)) =
                (&declaration.source, &declaration.state)
            {
                // A refused one that may not stay has no entry, and is deleted below.
                let revoked = matches!(&declaration.state, State::Refused(refusal) if refusal.reason.revokes());
                if !revoked {
                    held.push(owned_prefix(key));
                }
            }
        }
        let mut named: BTreeSet<Key> = BTreeSet::new();
        for (id, listed) in self.lists {
            for entry in listed.ours() {
                names_in(entry, &mut |name| named.extend([Key::new(&id.key.namespace, name)]));
            }
        }
        for (key, copied) in &self.world.copies {
            let wanted = needed.contains(&(key.namespace.as_str(), copied.identity.as_str()));
            let held = held.iter().any(|prefix| copied.identity.starts_with(prefix));
            if !wanted && !held && !copied.terminating && !copied.identity.is_empty() && !named.contains(key) {
                plan.changes.push(Change::DeleteSecret(key.clone(), copied.resource_version.clone()));
            }
        }
    }
}

/// Whether the Secret is its own copy.
fn is_there_already(material: &Material, namespace: &str) -> bool {
    material.fixed && material.copy_of.as_ref() == Some(&Key::new(namespace, &material.name))
}

/// Every `name` beside a `key`: what an entry refers to.
fn names_in(value: &Json, found: &mut dyn FnMut(&str)) {
    match value {
        Json::Object(object) => {
            if let (Some(name), Some(_)) = (object.get("name").and_then(Json::as_str), object.get("key")) {
                found(name);
            }
            object.values().for_each(|value| names_in(value, found));
        }
        Json::Array(items) => items.iter().for_each(|item| names_in(item, found)),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}

pub(crate) fn has_finalizer(object: &Json, finalizer: &str) -> bool {
    object["metadata"]["finalizers"].as_array().into_iter().flatten().any(|name| name == finalizer)
}

/// Finalizers that have to come before a first entry, and those whose work is done.
fn finalizers(world: &World, settings: &Settings, declared: &[Declaration], lists: &Lists<'_>, plan: &mut Plan) {
    let adopt = settings.config.policies.adopt_finalizers;
    for declaration in declared {
        let SourceId::RemoteWrite(key) = &declaration.source else { continue };
        let Some(object) = world.remote_writes.get(key).filter(|object| !is_paused(object)) else { continue };
        let finalizers: Vec<&str> =
            object["metadata"]["finalizers"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
        let mut wanted = finalizers.clone();
        let old = adopt && finalizers.contains(&words::OLD_FINALIZER);
        if is_deleting(object) {
            if settings.applier == Applier::Prometheus && leaves_something(world, lists, declaration, key) {
                continue;
            }
            wanted.retain(|name| *name != words::FINALIZER && !(adopt && *name == words::OLD_FINALIZER));
        } else if settings.applier == Applier::Prometheus && (matches!(declaration.state, State::Ready(_)) || old) {
            if !finalizers.contains(&words::FINALIZER) {
                wanted.push(words::FINALIZER);
            }
            // What the old operator made is found by its finalizer until it is taken over.
            if old && finalizers.contains(&words::FINALIZER) && has_no_old_entries(lists, declaration, key) {
                wanted.retain(|name| *name != words::OLD_FINALIZER);
            }
        }
        if wanted != finalizers {
            let patch = json!({"metadata": {
                "resourceVersion": object["metadata"]["resourceVersion"],
                "finalizers": wanted,
            }});
            plan.changes.push(Change::PatchRemoteWrite(key.clone(), patch));
        }
    }
}

fn leaves_something(world: &World, lists: &Lists<'_>, declaration: &Declaration, key: &Key) -> bool {
    let source = declaration.source.to_string();
    let prefix = owned_prefix(key);
    lists.values().any(|listed| listed.recorded(&source).is_some())
        || world.copies.values().any(|copied| copied.identity.starts_with(&prefix))
}

fn has_no_old_entries(lists: &Lists<'_>, declaration: &Declaration, key: &Key) -> bool {
    let source = declaration.source.to_string();
    !lists.values().any(|listed| listed.entry(&key.name).is_some() && listed.recorded(&source).is_none())
}

/// A Prometheus object for every namespace that has the annotation and none; gone with the namespace.
fn templates(world: &World, settings: &Settings, declared: &[Declaration], plan: &mut Plan) {
    let prometheus_namespace = &settings.config.prometheus_namespace;
    if let Some(template) = &settings.config.prometheus_template {
        for declaration in declared {
            let SourceId::Annotation(tenant) = &declaration.source else { continue };
            let id = PrometheusId { kind: PrometheusKind::Prometheus, key: Key::new(prometheus_namespace, tenant) };
            let agent = PrometheusId { kind: PrometheusKind::Agent, key: id.key.clone() };
            let there = world.prometheuses.contains_key(&id)
                || settings.config.prometheus_agents && world.prometheuses.contains_key(&agent);
            let refused = matches!(&declaration.state, State::Refused(refusal) if refusal.reason.revokes());
            if !there && !refused {
                plan.changes
                    .push(Change::CreatePrometheus(id.clone(), from_template(&filled(template, tenant), &id, tenant)));
            }
        }
    }
    for (id, object) in &world.prometheuses {
        let made = object["metadata"]["labels"][words::MANAGED_BY] == words::OPERATOR;
        let tenant = object["metadata"]["annotations"][words::IDENTITY]
            .as_str()
            .and_then(|text| text.strip_prefix("prometheus/"));
        let gone =
            tenant.is_some_and(|tenant| world.namespaces.get(tenant).is_none_or(|namespace| namespace.terminating));
        if made
            && gone
            && id.key.namespace == *prometheus_namespace
            && object["metadata"]["deletionTimestamp"].is_null()
        {
            let version = object["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
            plan.changes.push(Change::DeletePrometheus(id.clone(), version));
        }
    }
}

/// The selectors by which a Prometheus finds what to scrape in other namespaces. Labels of workloads are their owners' to set, so
/// a tenant's Prometheus looks nowhere but in the tenant's namespace, unless the template says where.
const NAMESPACE_SELECTORS: [&str; 5] = [
    "podMonitorNamespaceSelector",
    "serviceMonitorNamespaceSelector",
    "probeNamespaceSelector",
    "scrapeConfigNamespaceSelector",
    "ruleNamespaceSelector",
];

fn from_template(template: &writegate_config::Node, id: &PrometheusId, tenant: &str) -> Json {
    let mut object = typed(template);
    object["apiVersion"] = json!("monitoring.coreos.com/v1");
    object["kind"] = json!("Prometheus");
    object["metadata"]["namespace"] = json!(id.key.namespace);
    object["metadata"]["name"] = json!(id.key.name);
    object["metadata"]["labels"][words::MANAGED_BY] = json!(words::OPERATOR);
    object["metadata"]["annotations"][words::IDENTITY] = json!(format!("prometheus/{tenant}"));
    for selector in NAMESPACE_SELECTORS {
        if object["spec"][selector].is_null() {
            object["spec"][selector] = json!({"matchLabels": {"kubernetes.io/metadata.name": tenant}});
        }
    }
    object
}

/// What YAML takes plain scalars for.
fn typed(node: &writegate_config::Node) -> Json {
    use writegate_config::Value;
    match &node.value {
        Value::Null => Json::Null,
        Value::Text(text) => match text.as_str() {
            "true" => json!(true),
            "false" => json!(false),
            text => text.parse::<i64>().map_or_else(|_| json!(text), |number| json!(number)),
        },
        Value::List(items) => Json::Array(items.iter().map(typed).collect()),
        Value::Map(entries) => {
            let both = |(key, value): &(writegate_config::Node, writegate_config::Node)| {
                (key.text().unwrap_or_default().to_owned(), typed(value))
            };
            Json::Object(entries.iter().map(both).collect::<Map<_, _>>())
        }
    }
}

fn report(
    world: &World,
    settings: &Settings,
    declaration: &Declaration,
    courses: &BTreeMap<&SourceId, Course>,
) -> Report {
    let none = Course::default();
    let course = courses.get(&declaration.source).unwrap_or(&none);
    let url = match &declaration.state {
        State::Ready(target) => match &target.body {
            Body::Spec(spec) => spec.shown_url(),
            Body::Entry { url, .. } => url.clone(),
        },
        State::Refused(_) | State::Unread | State::Paused | State::Deleting => String::new(),
    };
    let places: Vec<(String, String)> = course.places.iter().map(|(id, name)| (id.to_string(), name.clone())).collect();
    let (reason, mut message) = match &declaration.state {
        State::Refused(refusal) => {
            let stays = if places.is_empty() { "" } else { "; what was applied before goes on" };
            (refusal.reason, format!("{}{stays}", refusal.message))
        }
        State::Paused => (Reason::Paused, "an annotation stops all work on it".to_owned()),
        State::Unread => (Reason::InProgress, "its Secrets are being read".to_owned()),
        State::Deleting => (Reason::InProgress, "it is being deleted".to_owned()),
        State::Ready(_) => outcome(world, settings, declaration, course),
    };
    for note in &declaration.notes {
        message += &format!(" ({note})");
    }
    Report { source: declaration.source.clone(), reason, message: shortened(message), url, places }
}

fn outcome(world: &World, settings: &Settings, declaration: &Declaration, course: &Course) -> (Reason, String) {
    if let Some((object, why)) = course.waits_for.iter().find_map(|object| world.failures.get_key_value(object)) {
        return (Reason::ApplyFailed, format!("the {object} could not be changed, which is tried again: {why}"));
    }
    if let Some(refusal) = course.refusals.first() {
        let more = course.refusals.len() - 1;
        let more = if more > 0 { format!(" (and {more} more like it)") } else { String::new() };
        return (refusal.reason, format!("{}{more}", refusal.message));
    }
    if !course.waits_for.is_empty() {
        return (Reason::InProgress, "it is being applied".to_owned());
    }
    match (&declaration.source, course.selected) {
        (SourceId::RemoteWrite(_), 0) => (Reason::NothingSelected, "spec.clusterSelector selects nothing".to_owned()),
        (SourceId::Default(namespace) | SourceId::Annotation(namespace), 0) => {
            let place = Key::new(&settings.config.prometheus_namespace, namespace);
            (Reason::NoPrometheus, format!("there is no Prometheus {place}; it is applied as soon as there is"))
        }
        (SourceId::Default(_), _) => (Reason::DefaultApplied, "the operator's default target is applied".to_owned()),
        (SourceId::RemoteWrite(_), places) if settings.applier == Applier::Prometheus => {
            (Reason::Applied, format!("applied to {places} Prometheus object{}", if places == 1 { "" } else { "s" }))
        }
        _ => (Reason::Applied, "applied".to_owned()),
    }
}

/// Short enough for a condition and an Event.
fn shortened(mut message: String) -> String {
    if message.len() > 1000 {
        let end = message.floor_char_boundary(1000);
        message.truncate(end);
        message.push('…');
    }
    message
}

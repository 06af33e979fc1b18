//! Which entries each Prometheus object should have, and which Secrets its namespace.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::finalizers::has_finalizer;
use super::old::{self, Left};
use super::{Change, Course, Lists, Plan};
use crate::copies::{self, Stored, Write};
use crate::declare::{
    Body, Declaration, Elsewhere, Material, Settings, SourceId, State, Target, is_deleting, owned_prefix,
};
use crate::observed::{Key, PrometheusId, PrometheusKind, SourceKey, World, texts};
use crate::policy;
use crate::prometheus::{self, Listed, Placed, Want};
use crate::reason::{Reason, Refusal};
use crate::selector::Selector;
use crate::spec::{ReferenceKind, Spec};
use crate::words;

pub(super) struct Placement<'p> {
    pub(super) world: &'p World,
    pub(super) settings: &'p Settings,
    pub(super) declared: &'p [Declaration],
    pub(super) lists: &'p Lists<'p>,
}

/// Objects of one namespace, with the targets that have to do with each.
type Objects<'p> = Vec<Object<'p>>;
type Object<'p> = (&'p PrometheusId, &'p Listed<'p>, Vec<Pair<'p>>);

/// A target at one Prometheus object.
struct Pair<'p> {
    declaration: &'p Declaration,
    /// `None`: what is there stays.
    target: Option<&'p Target>,
}

impl<'p> Placement<'p> {
    pub(super) fn place(&self, plan: &mut Plan, courses: &mut BTreeMap<&'p SourceId, Course>) {
        let mut by_namespace: BTreeMap<&str, Objects<'p>> = BTreeMap::new();
        let selectors: Vec<Option<Selector>> =
            self.declared.iter().map(|declaration| self.selector(declaration)).collect();
        for (&id, listed) in self.lists {
            let object = listed.object;
            let used = id.kind == PrometheusKind::Prometheus || self.settings.config.prometheus_agents;
            if used && !is_deleting(object) {
                let pairs = self.pairs(id, listed, &selectors);
                by_namespace.entry(&id.key.namespace).or_default().push((id, listed, pairs));
            }
        }
        let left = self.left();
        for (namespace, objects) in &by_namespace {
            let (stored, writes) = self.store(namespace, objects);
            for object in objects {
                self.write_entries(object, (&stored, &left), plan, courses);
            }
            plan.changes.extend(writes.into_iter().map(
                |Write { key, resource_version, body }| match resource_version {
                    Some(_) => Change::PatchSecret(key, body),
                    None => Change::CreateSecret(key, body),
                },
            ));
        }
        if !self.world.hides_prometheuses() {
            self.delete_stale(plan, &by_namespace);
        }
        for (_, left) in left.into_iter().filter(|(_, left)| left.entries.is_empty()) {
            plan.changes.extend(left.secrets.into_iter().map(|(key, version)| Change::DeleteSecret(key, version)));
        }
    }

    /// What the old operator left of objects that are being deleted.
    fn left(&self) -> Vec<(&'p Key, Left<'p>)> {
        let objects = self.world.remote_writes.iter();
        let all = objects.map(|(key, object)| (key, old::left(self.world, self.settings, self.lists, key, object)));
        all.filter(|(_, left)| !left.is_empty()).collect()
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
                // Only of a selector that cannot be read is it not known where its target was.
                State::Unread | State::Refused(_)
                    if !selected && (selector.is_some() || !matches!(declaration.source, SourceId::RemoteWrite(_))) => {
                }
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
    fn store(&self, namespace: &str, objects: &[Object<'p>]) -> (BTreeMap<String, Stored>, Vec<Write>) {
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
        copies::store(self.world, namespace, &wanted, self.settings.config.policies.adopt_finalizers)
    }

    fn write_entries(
        &self,
        (id, listed, pairs): &Object<'p>,
        (stored, left): (&BTreeMap<String, Stored>, &[(&Key, Left<'_>)]),
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
        if self.world.hides_remote_writes() {
            let hidden = listed.sources().filter(|source| source.starts_with("remotewrite/"));
            wants.extend(hidden.map(|source| (source.to_owned(), Want::Keep)));
        }
        let gone: Vec<&str> =
            left.iter().filter(|(_, left)| left.entries.contains(id)).map(|(key, _)| key.name.as_str()).collect();
        let (mut patch, mut placed) = prometheus::reconcile(listed, &wants, &gone);
        let mut changed: Vec<String> = wants.iter().map(|(source, _)| source.clone()).collect();
        changed.retain(|source| placed.get(source) == Some(&Placed::Changing));
        let mut later: Vec<String> = Vec::new();
        if self.world.replies.is_one_by_one(id) && changed.len() > 1 {
            later = changed.split_off(1);
            for (_, want) in wants.iter_mut().filter(|(source, _)| later.contains(source)) {
                if let Want::Set { names, .. } = want {
                    *want = Want::Later(std::mem::take(names));
                }
            }
            (patch, placed) = prometheus::reconcile(listed, &wants, &gone);
        }
        for pair in pairs {
            let Some(course) = courses.get_mut(&pair.declaration.source) else { continue };
            let source = pair.declaration.source.to_string();
            if later.contains(&source) {
                course.waits_for.insert(id.to_string());
                continue;
            }
            match placed.get(&source) {
                Some(Placed::InPlace(name)) => course.places.push(((*id).clone(), name.clone())),
                Some(Placed::Changing) => drop(course.waits_for.insert(id.to_string())),
                Some(Placed::Conflict(names)) => {
                    let message = format!("the {id} has entries of others under the names {names}; rename the target");
                    course.refusals.push(Refusal::new(Reason::NameConflict, message));
                }
                Some(Placed::Absent) | None => {}
            }
        }
        plan.changes.extend(patch.map(|patch| Change::PatchPrometheus((*id).clone(), patch, changed)));
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
        let (own_names, adopt) = self.names(declaration, spec);
        let mut names: BTreeMap<(ReferenceKind, &str), &str> = BTreeMap::new();
        for ((kind, name), material) in &target.material {
            match stored.get(&material.identity) {
                Some(Stored::InPlace(stored)) => drop(names.insert((*kind, name), stored)),
                Some(Stored::Changing(stored)) => {
                    course.waits_for.insert(format!("Secret {namespace}/{stored}"));
                    return Some(Want::Later(own_names));
                }
                Some(Stored::Conflict(why)) => {
                    let message = format!("{why}, and the {id} needs one of that name; rename it");
                    course.refusals.push(Refusal::new(Reason::SecretConflict, message));
                    return Some(Want::Later(own_names));
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
            return Some(Want::Later(own_names));
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
        let source = declaration.source.to_string();
        if let Some(why) = self.world.replies.refusal(id, &source, &entry) {
            let message =
                format!("the API server does not take it for the {id}: {why}; what was applied there before goes on");
            course.refusals.push(Refusal::new(Reason::EntryRefused, message));
            return Some(Want::Later(own_names));
        }
        let stored = self.world.replies.stored(id, &source, &entry).cloned();
        Some(Want::Set { names: own_names, entry, from: declaration.origin.clone(), stored, adopt })
    }

    /// The names an entry may have, and whether the old operator's entry of the first name is taken over.
    fn names(&self, declaration: &Declaration, spec: &Spec) -> (Vec<String>, bool) {
        match &declaration.source {
            SourceId::RemoteWrite(key) => {
                let object = self.world.remote_writes.get(key);
                // Which stays until every entry is taken over.
                let old = object.is_some_and(|object| has_finalizer(object, words::OLD_FINALIZER));
                let adopt = self.settings.config.policies.adopt_finalizers && old;
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
        if self.world.hides_remote_writes() {
            held.push("remotewrite/".to_owned());
        }
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
        for (id, listed) in self.lists.iter().filter(|(_, listed)| !is_deleting(listed.object)) {
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

//! Deletion, and what follows from it: finalizers, owners, namespaces, definitions.
//!
//! A real server's controllers do the latter a moment later; here it is done before the next request is looked at, as
//! writes of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::clock;
use crate::events;
use crate::kinds::{Kind, Resource, flag, text, texts};
use crate::selector::Selector;
use crate::state::{Call, Done, State};
use crate::status::{FieldError, Status};
use crate::store::Place;
use crate::write::{is_established, is_released};

/// What becomes of the objects that an object owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Propagation {
    /// They go after it.
    Background,
    /// They go before it.
    Foreground,
    /// They stay.
    Orphan,
}

const FIRST_NAMESPACES: [&str; 4] = ["default", "kube-node-lease", "kube-public", "kube-system"];
const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";
/// Holds a definition until its objects are gone.
const CUSTOM_RESOURCE_CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

fn namespaces() -> Resource {
    Resource::new("", "namespaces")
}

fn definitions() -> Resource {
    Resource::new("apiextensions.k8s.io", "customresourcedefinitions")
}

fn is_deleting(object: &Value) -> bool {
    !text(object, "/metadata/deletionTimestamp").is_empty()
}

fn propagation(call: &Call) -> Result<Propagation, Status> {
    let asked = match text(&call.body, "/propagationPolicy") {
        "" => call.query("propagationPolicy"),
        asked => asked,
    };
    match asked {
        "Orphan" => Ok(Propagation::Orphan),
        "Foreground" => Ok(Propagation::Foreground),
        "" | "Background" => Ok(Propagation::Background),
        other => {
            let supported = [json!("Background"), json!("Foreground"), json!("Orphan")];
            let error = FieldError::not_supported("propagationPolicy", &json!(other), &supported);
            Err(Status::invalid_of("DeleteOptions", "meta.k8s.io", "", &[error]))
        }
    }
}

impl State {
    pub(crate) fn create_first_namespaces(&mut self) {
        let Some(kind) = self.kinds.of(&namespaces()) else { return };
        for name in FIRST_NAMESPACES {
            let object = json!({
                "apiVersion": "v1", "kind": "Namespace",
                "metadata": {
                    "name": name, "uid": format!("00000000-0000-4000-8000-{name:0>12.12}"),
                    "creationTimestamp": clock::now(), "labels": {"kubernetes.io/metadata.name": name},
                },
                "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"},
            });
            self.put(&kind, object);
        }
    }

    pub(crate) fn delete(&mut self, call: &Call) -> Result<Done, Status> {
        let kind = &call.kind;
        if kind.is("", "namespaces") && FIRST_NAMESPACES[..3].contains(&call.name.as_str()) {
            return Err(Status::forbidden(kind, &call.name, "this namespace may not be deleted"));
        }
        let old = self.stored(call)?;
        for (member, name) in [("uid", "UID"), ("resourceVersion", "ResourceVersion")] {
            let wanted = text(&call.body, &format!("/preconditions/{member}"));
            let found = text(&old, &format!("/metadata/{member}"));
            if !wanted.is_empty() && wanted != found {
                let why =
                    format!("Precondition failed: {name} in precondition: {wanted}, {name} in object meta: {found}");
                return Err(Status::conflict(kind, &call.name, why));
            }
        }
        let propagation = propagation(call)?;
        let left = if call.dry_run() { None } else { self.delete_object(kind, &call.place(), propagation) };
        // Typed servers answer with a Status, unless the object is still there.
        let body = match left {
            Some(object) => events::shown(kind, &object),
            None => {
                let mut details = json!({"name": call.name, "kind": kind.plural, "uid": old["metadata"]["uid"]});
                if !kind.group.is_empty() {
                    details["group"] = json!(kind.group);
                }
                json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
            }
        };
        Ok(Done::ok(body))
    }

    pub(crate) fn delete_collection(&mut self, call: &Call) -> Result<Done, Status> {
        let selector = Selector::new(&call.kind, call.query("labelSelector"), call.query("fieldSelector"))?;
        let propagation = propagation(call)?;
        let meant: Vec<(Place, Arc<Value>)> = self
            .store
            .all(&call.kind.storage)
            .filter(|(place, object)| {
                (call.namespace.is_empty() || place.0 == call.namespace) && selector.matches(object)
            })
            .map(|(place, object)| (place.clone(), Arc::clone(object)))
            .collect();
        if !call.dry_run() {
            for (place, _) in &meant {
                self.delete_object(&call.kind, place, propagation);
            }
        }
        let items: Vec<Value> = meant.iter().map(|(_, object)| events::shown(&call.kind, object)).collect();
        Ok(Done::ok(json!({
            "kind": call.kind.list_kind, "apiVersion": call.kind.api_version(),
            "metadata": {"resourceVersion": self.store.version().to_string()}, "items": items,
        })))
    }

    /// Deletes an object, or marks it if something holds it; then it is returned as it is left.
    fn delete_object(&mut self, kind: &Kind, place: &Place, propagation: Propagation) -> Option<Arc<Value>> {
        let old = self.store.get(&kind.storage, place)?;
        let mut object = (*old).clone();
        let mut finalizers = texts(&old, "/metadata/finalizers");
        finalizers.retain(|finalizer| finalizer != FOREGROUND && finalizer != ORPHAN);
        match propagation {
            Propagation::Background => {}
            Propagation::Foreground => finalizers.push(FOREGROUND.to_owned()),
            Propagation::Orphan => finalizers.push(ORPHAN.to_owned()),
        }
        if finalizers != texts(&old, "/metadata/finalizers") {
            object["metadata"]["finalizers"] = json!(finalizers);
        }
        if is_released(kind, &object) {
            self.remove(&kind.storage, place);
            return None;
        }
        if !is_deleting(&old) {
            object["metadata"]["deletionTimestamp"] = json!(clock::now());
            object["metadata"]["deletionGracePeriodSeconds"] = json!(0);
            if let Some(generation) = object.pointer("/metadata/generation").and_then(Value::as_i64) {
                object["metadata"]["generation"] = json!(generation + 1);
            }
            if kind.is("", "namespaces") {
                object["status"]["phase"] = json!("Terminating");
            }
        }
        if object == *old {
            return Some(old);
        }
        Some(self.put(kind, object))
    }

    /// Does what follows from the last writes, until nothing does.
    pub(crate) fn settle(&mut self) {
        while std::mem::take(&mut self.unsettled) {
            self.establish_definitions();
            self.finish_definitions();
            self.finish_namespaces();
            self.collect_garbage();
        }
    }

    /// Makes known what the definitions define.
    pub(crate) fn define(&mut self) {
        let established: Vec<Arc<Value>> = self
            .store
            .all(&definitions())
            .map(|(_, object)| Arc::clone(object))
            .filter(|object| is_established(object))
            .collect();
        self.kinds.define(established.iter().map(Arc::as_ref));
    }

    fn all(&self, resource: &Resource) -> Vec<(Place, Arc<Value>)> {
        self.store.all(resource).map(|(place, object)| (place.clone(), Arc::clone(object))).collect()
    }

    fn establish_definitions(&mut self) {
        let Some(kind) = self.kinds.of(&definitions()) else { return };
        for (_, definition) in self.all(&definitions()) {
            if is_established(&definition) {
                continue;
            }
            let mut object = (*definition).clone();
            let now = clock::now();
            let condition = |name: &str, reason: &str, message: &str| json!({"type": name, "status": "True", "lastTransitionTime": now, "reason": reason, "message": message});
            let versions = object["spec"]["versions"].as_array().cloned().unwrap_or_default();
            let stored: Vec<Value> = versions
                .iter()
                .filter(|version| flag(version, "/storage"))
                .map(|version| version["name"].clone())
                .collect();
            object["status"] = json!({
                "acceptedNames": object["spec"]["names"], "storedVersions": stored,
                "conditions": [
                    condition("NamesAccepted", "NoConflicts", "no conflicts found"),
                    condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
                ],
            });
            let mut finalizers = texts(&object, "/metadata/finalizers");
            finalizers.push(CUSTOM_RESOURCE_CLEANUP.to_owned());
            object["metadata"]["finalizers"] = json!(finalizers);
            self.put(&kind, object);
        }
    }

    /// Deletes the objects of definitions that are being deleted, and lets go of the definitions.
    fn finish_definitions(&mut self) {
        let Some(kind) = self.kinds.of(&definitions()) else { return };
        for (place, definition) in self.all(&definitions()) {
            if !is_deleting(&definition) {
                continue;
            }
            let resource = Resource::new(text(&definition, "/spec/group"), text(&definition, "/spec/names/plural"));
            if let Some(kind) = self.kinds.of(&resource) {
                self.delete_all(&kind, |_| true);
            }
            if self.store.all(&resource).next().is_none() {
                self.release(&kind, &place, CUSTOM_RESOURCE_CLEANUP);
            }
        }
    }

    fn delete_all(&mut self, kind: &Kind, meant: impl Fn(&Place) -> bool) {
        for (place, object) in self.all(&kind.storage) {
            if meant(&place) && !is_deleting(&object) {
                self.delete_object(kind, &place, Propagation::Background);
            }
        }
    }

    /// Empties namespaces that are being deleted, and lets go of those that are empty.
    fn finish_namespaces(&mut self) {
        let Some(kind) = self.kinds.of(&namespaces()) else { return };
        for (place, namespace) in self.all(&namespaces()) {
            if !is_deleting(&namespace) || texts(&namespace, "/spec/finalizers").is_empty() {
                continue;
            }
            let kinds: Vec<Arc<Kind>> = self.kinds.iter().filter(|kind| kind.namespaced).cloned().collect();
            for kind in kinds {
                self.delete_all(&kind, |object| object.0 == place.1);
            }
            if self.store.everything().any(|(_, object, _)| object.0 == place.1) {
                continue;
            }
            let mut object = (*namespace).clone();
            object["spec"]["finalizers"] = json!([]);
            if is_released(&kind, &object) {
                self.remove(&namespaces(), &place);
            } else {
                self.put(&kind, object);
            }
        }
    }

    /// Removes one finalizer, and the object if it was the last.
    fn release(&mut self, kind: &Kind, place: &Place, finalizer: &str) {
        let Some(old) = self.store.get(&kind.storage, place) else { return };
        let mut finalizers = texts(&old, "/metadata/finalizers");
        finalizers.retain(|name| name != finalizer);
        let mut object = (*old).clone();
        object["metadata"]["finalizers"] = json!(finalizers);
        if finalizers.is_empty()
            && let Some(metadata) = object["metadata"].as_object_mut()
        {
            metadata.remove("finalizers");
        }
        if is_deleting(&object) && is_released(kind, &object) {
            self.remove(&kind.storage, place);
        } else {
            self.put(kind, object);
        }
    }

    /// Follows `ownerReferences`: what lost all owners goes, what waits for its dependents waits.
    fn collect_garbage(&mut self) {
        let everything: Vec<(Resource, Place, Arc<Value>)> = self
            .store
            .everything()
            .map(|(resource, place, object)| (resource.clone(), place.clone(), Arc::clone(object)))
            .collect();
        // An owner is in the same namespace or in none: uid → (namespace, object).
        let owners: BTreeMap<&str, (&str, &Value)> = everything
            .iter()
            .map(|(_, place, object)| (text(object, "/metadata/uid"), (place.0.as_str(), object.as_ref())))
            .collect();
        let mut blocked = BTreeSet::new();
        for (resource, place, object) in &everything {
            let references = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
            let Some(references) = references.filter(|references| !references.is_empty()) else { continue };
            let owner = |reference: &Value| {
                owners
                    .get(text(reference, "/uid"))
                    .filter(|(namespace, _)| namespace.is_empty() || *namespace == place.0)
            };
            let waits = |reference: &&Value| {
                owner(reference).is_some_and(|(_, owner)| {
                    is_deleting(owner) && texts(owner, "/metadata/finalizers").iter().any(|f| f == FOREGROUND)
                })
            };
            let orphaned = |reference: &&Value| {
                owner(reference).is_some_and(|(_, owner)| {
                    is_deleting(owner) && texts(owner, "/metadata/finalizers").iter().any(|f| f == ORPHAN)
                })
            };
            let Some(kind) = self.kinds.of(resource) else { continue };
            let left: Vec<&Value> =
                references.iter().filter(|reference| owner(reference).is_some() && !orphaned(reference)).collect();
            let has_orphaned = references.iter().any(|reference| orphaned(&reference));
            if left.iter().all(waits) && !has_orphaned {
                for reference in left.iter().filter(|reference| flag(reference, "/blockOwnerDeletion")) {
                    blocked.insert(text(reference, "/uid").to_owned());
                }
                if !is_deleting(object) {
                    let way = if left.is_empty() { Propagation::Background } else { Propagation::Foreground };
                    self.delete_object(&kind, place, way);
                }
            } else if left.len() < references.len() {
                let mut object = (**object).clone();
                object["metadata"]["ownerReferences"] = json!(left);
                if left.is_empty()
                    && let Some(metadata) = object["metadata"].as_object_mut()
                {
                    metadata.remove("ownerReferences");
                }
                self.put(&kind, object);
            }
        }
        for (resource, place, object) in &everything {
            if !is_deleting(object) {
                continue;
            }
            let Some(kind) = self.kinds.of(resource) else { continue };
            for finalizer in texts(object, "/metadata/finalizers") {
                let done = match finalizer.as_str() {
                    ORPHAN => true,
                    FOREGROUND => !blocked.contains(text(object, "/metadata/uid")),
                    _ => false,
                };
                if done {
                    self.release(&kind, place, &finalizer);
                }
            }
        }
    }
}

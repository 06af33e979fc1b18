//! Create, update and patch: what a body becomes before it is stored.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::check;
use crate::clock;
use crate::events;
use crate::fields::{self, Manager};
use crate::kinds::{Kind, Resource, text, texts};
use crate::patch::{self, JsonPatchError};
use crate::rules::Rules;
use crate::schema::{self, Found};
use crate::selector::place;
use crate::state::{Call, Done, PatchType, State, Verb};
use crate::status::{FieldError, Status};

/// The largest object the store takes, in bytes of JSON, as etcd has it by default.
const MAX_OBJECT: usize = 3 << 19;
/// The largest JSON patch, in operations.
const MAX_OPERATIONS: usize = 10_000;
/// What a generated name may have after its stem: no vowels, nothing that looks like another.
const SUFFIX: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

fn random(of: &[u8], count: usize) -> String {
    (0..count).map(|_| char::from(of[fastrand::usize(..of.len())])).collect()
}

fn uid() -> String {
    let hex = random(b"0123456789abcdef", 31);
    let variant = random(b"89ab", 1);
    format!("{}-{}-4{}-{variant}{}-{}", &hex[..8], &hex[8..12], &hex[12..15], &hex[15..18], &hex[18..30])
}

/// Metadata that only the server writes.
const SERVERS: [&str; 6] =
    ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "selfLink"];

fn manager(call: &Call) -> Manager {
    let named = Some(call.query("fieldManager")).filter(|name| !name.is_empty()).unwrap_or(&call.agent);
    Manager {
        name: named.to_owned(),
        applies: call.patch == Some(PatchType::Apply),
        api_version: call.kind.api_version(),
        subresource: call.subresource.clone(),
    }
}

fn decode_error(kind: &Kind, why: impl std::fmt::Display) -> Status {
    let (name, version) = (&kind.kind, &kind.version);
    Status::bad_request(format!("{name} in version {version:?} cannot be handled as a {name}: {why}"))
}

impl State {
    pub(crate) fn create(&mut self, call: &Call) -> Result<Done, Status> {
        let mut warnings = Vec::new();
        let object = Self::decode(call, (*call.body).clone(), &mut warnings)?;
        self.create_decoded(call, object, warnings)
    }

    fn create_decoded(&mut self, call: &Call, mut object: Value, warnings: Vec<String>) -> Result<Done, Status> {
        let kind = Arc::clone(&call.kind);
        let applies = call.patch == Some(PatchType::Apply);
        if !text(&object, "/metadata/resourceVersion").is_empty() {
            return Err(Status::unknown("resourceVersion should not be set on objects to be created"));
        }
        let generate = text(&object, "/metadata/generateName").to_owned();
        if text(&object, "/metadata/name").is_empty() && !generate.is_empty() {
            object["metadata"]["name"] = json!(format!("{generate}{}", random(SUFFIX, 5)));
        }
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.retain(|name, _| !SERVERS.contains(&name.as_str()) && (applies || name != "managedFields"));
        }
        object["metadata"]["uid"] = json!(uid());
        object["metadata"]["creationTimestamp"] = json!(clock::now());
        if kind.generation {
            object["metadata"]["generation"] = json!(1);
        }
        if kind.has("status")
            && let Some(object) = object.as_object_mut()
        {
            object.remove("status");
        }
        let name = text(&object, "/metadata/name").to_owned();
        if kind.namespaced {
            let namespace =
                self.namespace(&call.namespace).ok_or_else(|| Status::namespace_not_found(&call.namespace))?;
            if !text(&namespace, "/metadata/deletionTimestamp").is_empty() {
                return Err(Status::namespace_terminating(&kind, &name, &call.namespace));
            }
        }
        prepare(&kind, &mut object, None);
        self.validate(&kind, &object, None)?;
        let place = place(&object);
        if self.store.get(&kind.storage, &place).is_some() {
            return Err(Status::already_exists(&kind, &name));
        }
        if !applies {
            fields::note_update(None, &mut object, &kind, manager(call));
        }
        check_size(&object)?;
        let stored = if call.dry_run() { Arc::new(object) } else { self.put(&kind, object) };
        Ok(Done { code: 201, body: events::shown(&kind, &stored), warnings })
    }

    pub(crate) fn update(&mut self, call: &Call) -> Result<Done, Status> {
        let mut warnings = Vec::new();
        let object = Self::decode(call, (*call.body).clone(), &mut warnings)?;
        let old = match self.stored(call) {
            Err(_) if call.kind.create_on_update && call.subresource.is_empty() => {
                self.authorize(call, Verb::Create)?;
                return self.create_decoded(call, object, warnings);
            }
            old => old?,
        };
        if text(&object, "/metadata/resourceVersion").is_empty() && !call.kind.unconditional {
            let message = "Invalid value: 0x0: must be specified for an update".to_owned();
            let error =
                FieldError { field: "metadata.resourceVersion".to_owned(), reason: "FieldValueInvalid", message };
            return Err(Status::invalid(&call.kind, &call.name, &[error]));
        }
        self.replace(call, &old, object, warnings)
    }

    pub(crate) fn patch(&mut self, call: &Call) -> Result<Done, Status> {
        let kind = &call.kind;
        let mut warnings = Vec::new();
        if call.patch != Some(PatchType::Apply) && call.query.contains_key("force") {
            let error = FieldError::forbidden("force", "may not be specified for non-apply patch");
            return Err(Status::invalid_of("PatchOptions", "meta.k8s.io", "", &[error]));
        }
        if call.patch == Some(PatchType::Apply) {
            return self.apply(call);
        }
        let old = self.stored(call)?;
        // What a client patches is what it sees.
        let mut object = events::shown(kind, &old);
        match call.patch {
            Some(PatchType::Json) => {
                let count = call.body.as_array().map_or(0, Vec::len);
                if count > MAX_OPERATIONS {
                    let message =
                        format!("The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {count}");
                    return Err(Status::too_large(message));
                }
                patch::json_patch(&mut object, &call.body).map_err(|error| match error {
                    JsonPatchError::Malformed(why) => Status::bad_request(why),
                    JsonPatchError::Inapplicable => Status::unprocessable_patch(),
                })?;
            }
            Some(PatchType::Strategic) if kind.builtin => {
                patch::strategic(&mut object, &call.body, Some(&kind.schema));
            }
            Some(PatchType::Merge) if call.body.is_object() => patch::merge(&mut object, &call.body),
            Some(PatchType::Merge) => return Err(Status::bad_request("the merge patch is no object")),
            _ => {
                let accepted =
                    "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";
                return Err(Status::unsupported_media_type(accepted));
            }
        }
        let object = Self::decode(call, object, &mut warnings)?;
        self.replace(call, &old, object, warnings)
    }

    fn apply(&mut self, call: &Call) -> Result<Done, Status> {
        let kind = Arc::clone(&call.kind);
        let mut warnings = Vec::new();
        if call.query("fieldManager").is_empty() {
            let error = FieldError::required("fieldManager", "is required for apply patch");
            return Err(Status::invalid_of("PatchOptions", "meta.k8s.io", "", &[error]));
        }
        if call.body.pointer("/metadata/managedFields").is_some_and(|managed| !managed.is_null()) {
            return Err(Status::bad_request("metadata.managedFields must be nil"));
        }
        let mut applied = Self::decode(call, (*call.body).clone(), &mut warnings)?;
        strip_subresource(&kind, &call.subresource, &mut applied);
        let force = call.is_set("force");
        let Ok(old) = self.stored(call) else {
            if !call.subresource.is_empty() {
                return Err(Status::not_found(&kind, &call.name));
            }
            if !text(&applied, "/metadata/uid").is_empty() {
                return Err(Status::conflict(
                    &kind,
                    &call.name,
                    "uid mismatch: the provided object specified a uid, and no existing object was found",
                ));
            }
            self.authorize(call, Verb::Create)?;
            let empty = json!({"apiVersion": applied["apiVersion"], "kind": applied["kind"], "metadata": {}});
            let object = fields::apply(&empty, &applied, &kind, manager(call), force)?;
            return self.create_decoded(call, object, warnings);
        };
        for member in ["/metadata/resourceVersion", "/metadata/uid"] {
            let wanted = text(&applied, member);
            if !wanted.is_empty() && wanted != text(&old, member) {
                return Err(Status::modified(&kind, &call.name));
            }
        }
        let mut live = (*old).clone();
        live["apiVersion"] = applied["apiVersion"].clone();
        let object = fields::apply(&live, &applied, &kind, manager(call), force)?;
        self.replace(call, &old, object, warnings)
    }

    /// Reads a body as an object of the kind in its stored shape, and drops what is unknown.
    fn decode(call: &Call, mut object: Value, warnings: &mut Vec<String>) -> Result<Value, Status> {
        let kind = &call.kind;
        if !object.is_object() {
            return Err(Status::bad_request("the object provided is unrecognized: the body is no JSON object"));
        }
        let (api_version, name) = (text(&object, "/apiVersion").to_owned(), text(&object, "/kind").to_owned());
        if (api_version.is_empty() || name.is_empty()) && !kind.builtin {
            let missing = if name.is_empty() { "Kind" } else { "apiVersion" };
            return Err(Status::bad_request(format!("Object '{missing}' is missing in '{object}'")));
        }
        if !api_version.is_empty() && api_version != kind.api_version() {
            let expected = kind.api_version();
            let message = format!(
                "the API version in the data ({api_version}) does not match the expected API version ({expected})"
            );
            return Err(Status::bad_request(message));
        }
        if !name.is_empty() && name != kind.kind {
            let message = format!(
                "{name} in version {:?} cannot be handled as a {}: the kind does not match",
                kind.version, kind.kind
            );
            return Err(Status::bad_request(message));
        }
        object["apiVersion"] = json!(kind.api_version());
        object["kind"] = json!(kind.kind);
        if !object["metadata"].is_object() {
            object["metadata"] = json!({});
        }
        identify(call, &mut object)?;
        events::stored(kind, &mut object);
        let mut unknown = Vec::new();
        schema::prune(&mut object, &kind.schema, "", &mut unknown);
        check_types(kind, &object)?;
        if kind.is("", "secrets") {
            check::decode_secret(&mut object)?;
        }
        match call.query("fieldValidation") {
            "Strict" if !unknown.is_empty() => {
                let list: Vec<String> = unknown.iter().map(|path| format!("unknown field {path:?}")).collect();
                let why = format!("strict decoding error: {}", list.join(", "));
                if matches!(call.patch, None | Some(PatchType::Apply)) {
                    return Err(decode_error(kind, why));
                }
                // Of a patch the answer repeats the whole object.
                let error = FieldError::invalid("patch", &json!(object.to_string()), why);
                Err(Status::invalid_of("", "", "", &[error]))
            }
            "Ignore" => Ok(object),
            _ => {
                warnings.extend(unknown.iter().map(|path| format!("unknown field {path:?}")));
                Ok(object)
            }
        }
    }

    fn validate(&mut self, kind: &Kind, object: &Value, old: Option<&Value>) -> Result<(), Status> {
        let mut errors = Vec::new();
        check::metadata(kind, object, old, &mut errors);
        if kind.builtin {
            check::builtin(kind, object, old, &mut errors);
        } else {
            let mut found = Found { errors, rules: &mut self.rules };
            schema::validate(object, old, &kind.schema, "", &mut found);
            errors = found.errors;
        }
        if errors.is_empty() {
            return Ok(());
        }
        Err(Status::invalid(kind, text(object, "/metadata/name"), &errors))
    }

    /// Stores what an update, a patch or an apply makes of `old`; nothing is written if that is the same.
    fn replace(
        &mut self,
        call: &Call,
        old: &Arc<Value>,
        mut new: Value,
        warnings: Vec<String>,
    ) -> Result<Done, Status> {
        let kind = Arc::clone(&call.kind);
        let wanted = text(&new, "/metadata/resourceVersion");
        if !wanted.is_empty() && wanted != text(old, "/metadata/resourceVersion") {
            return Err(Status::modified(&kind, &call.name));
        }
        let (given, uid) = (text(&new, "/metadata/uid"), text(old, "/metadata/uid"));
        if !given.is_empty() && given != uid {
            let why = format!("Precondition failed: UID in precondition: {given}, UID in object meta: {uid}");
            return Err(Status::conflict(&kind, &call.name, why));
        }
        keep(old, &mut new, &kind, call);
        prepare(&kind, &mut new, Some(old));
        // What was stored in another version is compared as if in this one.
        let mut old_shape = Arc::clone(old);
        if old["apiVersion"] != new["apiVersion"] {
            Arc::make_mut(&mut old_shape)["apiVersion"] = new["apiVersion"].clone();
        }
        self.validate(&kind, &new, Some(&old_shape))?;
        if kind.generation && differs(&kind, &old_shape, &new) {
            let generation = old.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or_default();
            new["metadata"]["generation"] = json!(generation + 1);
        }
        if call.patch != Some(PatchType::Apply) {
            fields::note_update(Some(&old_shape), &mut new, &kind, manager(call));
        }
        check_size(&new)?;
        let shown = Arc::clone(&kind);
        let done = move |object: &Value| Done { code: 200, body: events::shown(&shown, object), warnings };
        if call.dry_run() {
            return Ok(done(&new));
        }
        let deleting = !text(old, "/metadata/deletionTimestamp").is_empty();
        if deleting && is_released(&kind, &new) {
            self.remove(&kind.storage, &place(&new));
            return Ok(done(&new));
        }
        if new == *old_shape {
            return Ok(done(old));
        }
        let stored = self.put(&kind, new);
        Ok(done(&stored))
    }

    /// Stores an object, and notes whether something may follow from it.
    pub(crate) fn put(&mut self, kind: &Kind, object: Value) -> Arc<Value> {
        let defines = kind.group == "apiextensions.k8s.io";
        let deleting = !text(&object, "/metadata/deletionTimestamp").is_empty();
        self.unsettled |= defines || deleting || object.pointer("/metadata/ownerReferences").is_some();
        let stored = self.store.put(&kind.storage, &place(&object), object);
        if defines {
            self.define();
        }
        stored
    }

    pub(crate) fn remove(&mut self, resource: &Resource, place: &(String, String)) {
        if self.store.remove(resource, place) {
            self.unsettled = true;
        }
        if resource.group == "apiextensions.k8s.io" {
            self.define();
        }
    }
}

/// What a typed decoder refuses: wrong types in metadata, and anywhere in built-in kinds. Nulls are nothing to it.
fn check_types(kind: &Kind, object: &Value) -> Result<(), Status> {
    let (at, schema) = match kind.builtin {
        true => ("", &kind.schema),
        false => ("metadata", &kind.schema["properties"]["metadata"]),
    };
    let mut part = if kind.builtin { object.clone() } else { object["metadata"].clone() };
    schema::default(&mut part, schema);
    let mut rules = Rules::default();
    let mut found = Found { errors: Vec::new(), rules: &mut rules };
    schema::validate(&part, None, schema, at, &mut found);
    found.errors.first().map_or(Ok(()), |error| Err(decode_error(kind, error)))
}

/// Holds the body's name and namespace against the address.
fn identify(call: &Call, object: &mut Value) -> Result<(), Status> {
    let named = text(object, "/metadata/name");
    if !call.name.is_empty() && named != call.name {
        if !named.is_empty() {
            let message =
                format!("the name of the object ({named}) does not match the name on the URL ({})", call.name);
            return Err(Status::bad_request(message));
        }
        object["metadata"]["name"] = json!(call.name);
    }
    if !call.kind.namespaced {
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("namespace");
        }
        return Ok(());
    }
    let namespace = text(object, "/metadata/namespace");
    if !namespace.is_empty() && namespace != call.namespace {
        let message = "the namespace of the provided object does not match the namespace sent on the request";
        return Err(Status::bad_request(message));
    }
    object["metadata"]["namespace"] = json!(call.namespace);
    Ok(())
}

/// Leaves of an applied object what its endpoint writes: the status, or everything else.
fn strip_subresource(kind: &Kind, subresource: &str, applied: &mut Value) {
    if !kind.has("status") {
        return;
    }
    let Some(object) = applied.as_object_mut() else { return };
    if subresource == "status" {
        object.retain(|name, _| ["apiVersion", "kind", "metadata", "status"].contains(&name.as_str()));
        if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
            metadata.retain(|name, _| ["name", "namespace", "uid", "resourceVersion"].contains(&name.as_str()));
        }
    } else {
        object.remove("status");
    }
}

/// Takes from the old object what this request may not write.
fn keep(old: &Value, new: &mut Value, kind: &Kind, call: &Call) {
    let carry = |new: &mut Value, name: &str| match old.get(name) {
        Some(value) => new[name] = value.clone(),
        None => {
            if let Some(object) = new.as_object_mut() {
                object.remove(name);
            }
        }
    };
    match call.subresource.as_str() {
        "status" => {
            let (status, managed) = (new["status"].take(), new["metadata"]["managedFields"].take());
            *new = old.clone();
            new["apiVersion"] = json!(kind.api_version());
            for (value, at) in [(status, "/status"), (managed, "/metadata/managedFields")] {
                let (head, name) = at.rsplit_once('/').unwrap_or_default();
                match new.pointer_mut(head).and_then(Value::as_object_mut) {
                    Some(map) if value.is_null() => {
                        map.remove(name);
                    }
                    Some(map) => {
                        map.insert(name.to_owned(), value);
                    }
                    None => {}
                }
            }
        }
        "finalize" => {
            let finalizers = new["spec"]["finalizers"].take();
            *new = old.clone();
            new["spec"]["finalizers"] = finalizers;
        }
        _ => {
            if kind.has("status") {
                carry(new, "status");
            }
            if kind.is("", "namespaces") {
                carry(new, "spec");
            }
        }
    }
    for name in SERVERS.into_iter().chain(["resourceVersion"]) {
        match old["metadata"].get(name) {
            Some(value) => new["metadata"][name] = value.clone(),
            None => {
                if let Some(metadata) = new["metadata"].as_object_mut() {
                    metadata.remove(name);
                }
            }
        }
    }
}

/// What the server adds to every object of a kind.
fn prepare(kind: &Kind, object: &mut Value, old: Option<&Value>) {
    schema::default(object, &kind.schema);
    if !kind.builtin {
        return;
    }
    match kind.kind.as_str() {
        "Namespace" => {
            let name = object["metadata"]["name"].clone();
            object["metadata"]["labels"]["kubernetes.io/metadata.name"] = name;
            if old.is_none() {
                object["spec"] = json!({"finalizers": ["kubernetes"]});
                object["status"] = json!({"phase": "Active"});
            }
        }
        "Secret" if text(object, "/type").is_empty() => object["type"] = json!("Opaque"),
        "CustomResourceDefinition" => {
            let kind = text(object, "/spec/names/kind").to_owned();
            for (name, value) in [("listKind", format!("{kind}List")), ("singular", kind.to_lowercase())] {
                if text(object, &format!("/spec/names/{name}")).is_empty() {
                    object["spec"]["names"][name] = json!(value);
                }
            }
            if object.pointer("/spec/conversion").is_none() {
                object["spec"]["conversion"] = json!({"strategy": "None"});
            }
        }
        _ => {}
    }
}

/// Whether something changed that counts for `metadata.generation`: anything but metadata, and a status of its own.
fn differs(kind: &Kind, old: &Value, new: &Value) -> bool {
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else { return true };
    let counts = |name: &&String| *name != "metadata" && !(*name == "status" && kind.has("status"));
    old.keys().chain(new.keys()).filter(counts).any(|name| old.get(name) != new.get(name))
}

/// Whether nothing holds an object any more that is being deleted.
pub(crate) fn is_released(kind: &Kind, object: &Value) -> bool {
    let holds = kind.is("", "namespaces") && !texts(object, "/spec/finalizers").is_empty();
    texts(object, "/metadata/finalizers").is_empty() && !holds
}

fn check_size(object: &Value) -> Result<(), Status> {
    let size = object.to_string().len();
    if size > MAX_OBJECT { Err(Status::unknown("etcdserver: request is too large")) } else { Ok(()) }
}

/// Whether the definition's resource may be used.
pub(crate) fn is_established(definition: &Value) -> bool {
    let conditions = definition.pointer("/status/conditions").and_then(Value::as_array);
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "Established" && condition["status"] == "True")
}

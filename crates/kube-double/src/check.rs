//! What a server refuses besides schemas: names, metadata, and the rules of its own kinds.

use std::collections::BTreeSet;

use base64::engine::general_purpose::STANDARD;
use base64::{DecodeError, Engine};
use regex_automata::meta::Regex;
use serde_json::{Map, Value, json};

use crate::kinds::{Kind, flag, text, texts};
use crate::status::{FieldError, Status};

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
    and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start \
    and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const QUALIFIED_NAME: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end \
    with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
    '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', \
    and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for \
    validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const CONFIG_KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  \
    or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";

/// All annotations of an object together, in bytes.
const MAX_ANNOTATIONS: usize = 256 << 10;
/// The data of a Secret or a config map, in bytes.
const MAX_DATA: usize = 1 << 20;

fn is_label(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !name.is_empty() && !name.starts_with('-') && !name.ends_with('-') && name.bytes().all(inner)
}

fn is_subdomain(name: &str) -> bool {
    name.split('.').all(is_label)
}

fn is_qualified_part(name: &str) -> bool {
    let end = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    end(name.chars().next())
        && end(name.chars().next_back())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

fn check_qualified(field: &str, key: &str, errors: &mut Vec<FieldError>) {
    let (prefix, name) = key.rsplit_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let mut refuse = |detail: &str| errors.push(FieldError::invalid(field, &json!(key), detail));
    if prefix.is_some_and(|prefix| !is_subdomain(prefix)) {
        refuse(&format!("prefix part {SUBDOMAIN}"));
    }
    if name.len() > 63 {
        refuse("name part must be no more than 63 bytes");
    } else if !is_qualified_part(name) {
        refuse(QUALIFIED_NAME);
    }
}

fn check_name(kind: &Kind, name: &str, field: &str, errors: &mut Vec<FieldError>) {
    let mut refuse = |detail: &str| errors.push(FieldError::invalid(field, &json!(name), detail));
    if kind.storage.group == "rbac.authorization.k8s.io" {
        if [".", ".."].contains(&name) || name.contains(['/', '%']) {
            refuse("may not contain '/' or '%', and not be '.' or '..'");
        }
    } else if kind.is("", "namespaces") {
        if name.len() > 63 {
            refuse("must be no more than 63 bytes");
        }
        if !is_label(name) {
            refuse(LABEL);
        }
    } else {
        if name.len() > 253 {
            refuse("must be no more than 253 bytes");
        }
        if !is_subdomain(name) {
            refuse(SUBDOMAIN);
        }
    }
}

fn members<'a>(object: &'a Value, pointer: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    object.pointer(pointer).and_then(Value::as_object).into_iter().flatten()
}

/// Everything in `metadata`.
pub(crate) fn metadata(kind: &Kind, object: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let generate = text(object, "/metadata/generateName");
    match text(object, "/metadata/name") {
        "" => errors.push(FieldError::required("metadata.name", "name or generateName is required")),
        name => check_name(kind, name, "metadata.name", errors),
    }
    if !generate.is_empty() && old.is_none() {
        check_name(kind, generate.trim_end_matches(['-', '.']), "metadata.generateName", errors);
    }
    for (key, value) in members(object, "/metadata/labels") {
        check_qualified("metadata.labels", key, errors);
        let text = value.as_str().unwrap_or_default();
        if text.len() > 63 {
            errors.push(FieldError::invalid("metadata.labels", value, "must be no more than 63 bytes"));
        } else if !text.is_empty() && !is_qualified_part(text) {
            errors.push(FieldError::invalid("metadata.labels", value, LABEL_VALUE));
        }
    }
    let mut size = 0;
    for (key, value) in members(object, "/metadata/annotations") {
        check_qualified("metadata.annotations", &key.to_lowercase(), errors);
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > MAX_ANNOTATIONS {
        errors.push(FieldError::too_long("metadata.annotations", 262_144));
    }
    finalizers(kind, object, old, errors);
    owners(object, errors);
}

fn finalizers(kind: &Kind, object: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let finalizers = texts(object, "/metadata/finalizers");
    for finalizer in &finalizers {
        check_qualified("metadata.finalizers", finalizer, errors);
        let standard = ["orphan", "foregroundDeletion", "kubernetes"].contains(&finalizer.as_str());
        // Core types are stricter than definitions, whose own finalizer has no slash.
        if kind.builtin && kind.group != "apiextensions.k8s.io" && !finalizer.contains('/') && !standard {
            let detail = "name is neither a standard finalizer name nor is it fully qualified";
            errors.push(FieldError::invalid("metadata.finalizers", &json!(finalizer), detail));
        }
    }
    let deleting = old.filter(|old| !text(old, "/metadata/deletionTimestamp").is_empty());
    if let Some(old) = deleting {
        let before: BTreeSet<String> = texts(old, "/metadata/finalizers").into_iter().collect();
        let added: Vec<&String> = finalizers.iter().filter(|finalizer| !before.contains(*finalizer)).collect();
        if !added.is_empty() {
            let list = added.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
            let detail = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{list}}}"
            );
            errors.push(FieldError::forbidden("metadata.finalizers", detail));
        }
    }
}

fn owners(object: &Value, errors: &mut Vec<FieldError>) {
    let list = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    let list = list.map(Vec::as_slice).unwrap_or_default();
    for (index, owner) in list.iter().enumerate() {
        for member in ["apiVersion", "kind", "name", "uid"] {
            if text(owner, &format!("/{member}")).is_empty() {
                let field = format!("metadata.ownerReferences[{index}].{member}");
                errors.push(FieldError::required(field, &format!("{member} must not be empty")));
            }
        }
    }
    let controllers: Vec<&str> =
        list.iter().filter(|owner| flag(owner, "/controller")).map(|owner| text(owner, "/name")).collect();
    if let [first, second, ..] = controllers[..] {
        let detail = format!(
            "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {second}"
        );
        errors.push(FieldError::invalid("metadata.ownerReferences", &json!(list), detail));
    }
}

/// Folds a Secret's `stringData` into its `data`; refuses data that is not base64, as the decoder of a real server does.
pub(crate) fn decode_secret(object: &mut Value) -> Result<(), Status> {
    let Some(secret) = object.as_object_mut() else { return Ok(()) };
    if let Some(Value::Object(plain)) = secret.remove("stringData") {
        let data = secret.entry("data").or_insert_with(|| Value::Object(Map::new()));
        for (key, value) in plain {
            data[key] = json!(STANDARD.encode(value.as_str().unwrap_or_default()));
        }
    }
    for (_, value) in members(object, "/data") {
        let text = value.as_str().unwrap_or_default();
        let at = match STANDARD.decode(text.replace(['\r', '\n'], "")) {
            // Bits that are left over in the last symbol are no error for Go.
            Ok(_) | Err(DecodeError::InvalidLastSymbol { .. }) => None,
            Err(DecodeError::InvalidByte(at, _)) => Some(at),
            Err(DecodeError::InvalidLength(_) | DecodeError::InvalidPadding) => Some(text.len()),
        };
        if let Some(at) = at {
            let message = format!(
                "Secret in version \"v1\" cannot be handled as a Secret: illegal base64 data at input byte {at}"
            );
            return Err(Status::bad_request(message));
        }
    }
    Ok(())
}

/// The rules of a built-in kind. The object has its stored shape.
pub(crate) fn builtin(kind: &Kind, object: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    match (kind.storage.group.as_str(), kind.plural.as_str()) {
        ("", "secrets") => secret(object, old, errors),
        ("", "configmaps") => data(object, old, errors),
        ("", "events") => event(kind, object, errors),
        ("coordination.k8s.io", "leases") => lease(object, errors),
        ("apiextensions.k8s.io", _) => definition(object, errors),
        ("rbac.authorization.k8s.io", "rolebindings" | "clusterrolebindings") => {
            let changed = old.is_some_and(|old| old["roleRef"] != object["roleRef"]);
            if changed {
                errors.push(FieldError::invalid("roleRef", &object["roleRef"], "cannot change roleRef"));
            }
        }
        _ => {}
    }
}

fn secret(object: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    data(object, old, errors);
    let kind = text(object, "/type");
    if old.is_some_and(|old| text(old, "/type") != kind) {
        errors.push(FieldError::invalid("type", &object["type"], "field is immutable"));
    }
    let needed: &[&str] = match kind {
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
        _ => &[],
    };
    for key in needed {
        if object["data"].get(key).is_none() {
            errors.push(FieldError::required(format!("data[{key}]"), ""));
        }
    }
}

fn data(object: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let mut size = 0;
    for member in ["data", "binaryData"] {
        for (key, value) in members(object, &format!("/{member}")) {
            size += value.as_str().map_or(0, str::len);
            let plain = key.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
            if key.is_empty() || !plain {
                errors.push(FieldError::invalid(format!("{member}[{key}]"), &json!(key), CONFIG_KEY));
            }
        }
        let changed = old.is_some_and(|old| flag(old, "/immutable") && old.get(member) != object.get(member));
        if changed {
            errors.push(FieldError::forbidden(member, "field is immutable when `immutable` is set"));
        }
    }
    if old.is_some_and(|old| flag(old, "/immutable") && !flag(object, "/immutable")) {
        errors.push(FieldError::forbidden("immutable", "field is immutable when `immutable` is set"));
    }
    // A Secret's data is counted decoded.
    let encoded = text(object, "/kind") == "Secret";
    if (if encoded { size / 4 * 3 } else { size }) > MAX_DATA {
        errors.push(FieldError::too_long("data", 1_048_576));
    }
}

/// `involvedObject` must be in the Event's namespace; Events with an `eventTime` must say who, what and why.
fn event(kind: &Kind, object: &Value, errors: &mut Vec<FieldError>) {
    let namespace = text(object, "/metadata/namespace");
    let involved = text(object, "/involvedObject/namespace");
    let timed = !text(object, "/eventTime").is_empty();
    let agrees = match (timed, involved) {
        (false, "") => namespace == "default",
        (true, "") => ["default", "kube-system"].contains(&namespace),
        (false, involved) => involved == namespace,
        (true, _) => true,
    };
    if !agrees || (timed && !involved.is_empty() && involved != namespace) {
        let value = json!(involved);
        errors.push(FieldError::invalid("involvedObject.namespace", &value, "does not match event.namespace"));
    }
    let new_shape = kind.group == "events.k8s.io";
    if new_shape && !timed {
        errors.push(FieldError::required("eventTime", ""));
    }
    if !timed {
        return;
    }
    let controller = if new_shape { "reportingController" } else { "reportingComponent" };
    for (field, pointer, limit) in [
        (controller, "/reportingComponent", 253),
        ("reportingInstance", "/reportingInstance", 128),
        ("action", "/action", 128),
        ("reason", "/reason", 128),
    ] {
        let value = text(object, pointer);
        if value.is_empty() {
            errors.push(FieldError::required(field, ""));
        } else if value.len() > limit {
            errors.push(FieldError::invalid(field, &json!(""), format!("can have at most {limit} characters")));
        }
    }
    if text(object, "/message").len() > 1024 {
        errors.push(FieldError::invalid("message", &json!(""), "can have at most 1024 characters"));
    }
    if !["Normal", "Warning"].contains(&text(object, "/type")) {
        errors.push(FieldError::invalid(
            "type",
            &object["type"],
            "has invalid value: type must be \"Normal\" or \"Warning\"",
        ));
    }
}

fn lease(object: &Value, errors: &mut Vec<FieldError>) {
    let spec = &object["spec"];
    if let Some(seconds) = spec["leaseDurationSeconds"].as_i64().filter(|seconds| *seconds <= 0) {
        errors.push(FieldError::invalid("spec.leaseDurationSeconds", &json!(seconds), "must be greater than 0"));
    }
    if let Some(count) = spec["leaseTransitions"].as_i64().filter(|count| *count < 0) {
        let detail = "must be greater than or equal to 0";
        errors.push(FieldError::invalid("spec.leaseTransitions", &json!(count), detail));
    }
    if spec.get("holderIdentity").is_some_and(|holder| holder == "") {
        errors.push(FieldError::invalid("spec.holderIdentity", &json!(""), "must not be empty"));
    }
}

fn definition(object: &Value, errors: &mut Vec<FieldError>) {
    let (group, plural) = (text(object, "/spec/group"), text(object, "/spec/names/plural"));
    for (field, value) in [
        ("spec.group", group),
        ("spec.names.plural", plural),
        ("spec.names.kind", text(object, "/spec/names/kind")),
        ("spec.scope", text(object, "/spec/scope")),
    ] {
        if value.is_empty() {
            errors.push(FieldError::required(field, ""));
        }
    }
    if text(object, "/metadata/name") != format!("{plural}.{group}") {
        let detail = "must be spec.names.plural+\".\"+spec.group";
        errors.push(FieldError::invalid("metadata.name", &object["metadata"]["name"], detail));
    }
    let versions = object["spec"]["versions"].as_array().map(Vec::as_slice).unwrap_or_default();
    for (index, version) in versions.iter().enumerate() {
        let field = format!("spec.versions[{index}].schema.openAPIV3Schema");
        match version.pointer("/schema/openAPIV3Schema") {
            Some(schema) => patterns(schema, &field, errors),
            None => errors.push(FieldError::required(field, "schemas are required")),
        }
    }
    if versions.iter().filter(|version| flag(version, "/storage")).count() != 1 {
        let detail = "must have exactly one version marked as storage version";
        errors.push(FieldError::invalid("spec.versions", &json!(versions), detail));
    }
}

/// Patterns that cannot be read would let everything pass.
fn patterns(schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if let Some(pattern) = schema.get("pattern").and_then(Value::as_str)
        && let Err(error) = Regex::new(pattern)
    {
        let detail = format!("must be a valid regular expression, but isn't: {error}");
        errors.push(FieldError::invalid(format!("{path}.pattern"), &json!(pattern), detail));
    }
    for (name, property) in members(schema, "/properties") {
        patterns(property, &format!("{path}.properties[{name}]"), errors);
    }
    for name in ["items", "additionalProperties"] {
        if let Some(below) = schema.get(name) {
            patterns(below, &format!("{path}.{name}"), errors);
        }
    }
}

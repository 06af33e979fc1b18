//! Refusals as a `Status` object of `meta.k8s.io/v1`, worded as a real API server words them.
//!
//! Controllers decide by `code` and `reason`, people read `message`; tests may hold all three.

use std::fmt;

use serde_json::{Value, json};

use crate::kinds::Kind;

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// The HTTP status.
    pub code: u16,
    /// The machine-readable reason, such as `Conflict`; empty where a real server has none.
    pub reason: &'static str,
    /// For people.
    pub message: String,
    /// The `details` member; null if there is none.
    pub details: Value,
    /// Seconds of a `Retry-After` header.
    pub retry_after: Option<u64>,
}

impl fmt::Display for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}: {}", self.code, self.reason, self.message)
    }
}

impl std::error::Error for Status {}

/// One thing that is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FieldError {
    pub(crate) field: String,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

impl FieldError {
    pub(crate) fn invalid(field: impl Into<String>, value: &Value, detail: impl fmt::Display) -> Self {
        let message = format!("Invalid value: {value}: {detail}");
        Self { field: field.into(), reason: "FieldValueInvalid", message }
    }

    pub(crate) fn wrong_type(field: impl Into<String>, expected: &str, found: &str) -> Self {
        let field = field.into();
        let shown = if field.is_empty() { "<nil>" } else { &field };
        let message = format!("Invalid value: {found:?}: {shown} in body must be of type {expected}: {found:?}");
        Self { field, reason: "FieldValueTypeInvalid", message }
    }

    pub(crate) fn required(field: impl Into<String>, detail: &str) -> Self {
        let message = if detail.is_empty() { "Required value".to_owned() } else { format!("Required value: {detail}") };
        Self { field: field.into(), reason: "FieldValueRequired", message }
    }

    pub(crate) fn forbidden(field: impl Into<String>, detail: impl fmt::Display) -> Self {
        Self { field: field.into(), reason: "FieldValueForbidden", message: format!("Forbidden: {detail}") }
    }

    pub(crate) fn duplicate(field: impl Into<String>, value: &Value) -> Self {
        Self { field: field.into(), reason: "FieldValueDuplicate", message: format!("Duplicate value: {value}") }
    }

    pub(crate) fn not_supported(field: impl Into<String>, value: &Value, supported: &[Value]) -> Self {
        let list: Vec<String> = supported.iter().map(Value::to_string).collect();
        let message = format!("Unsupported value: {value}: supported values: {}", list.join(", "));
        Self { field: field.into(), reason: "FieldValueNotSupported", message }
    }

    pub(crate) fn too_long(field: impl Into<String>, limit: u64) -> Self {
        let message = format!("Too long: may not be more than {limit} bytes");
        Self { field: field.into(), reason: "FieldValueTooLong", message }
    }

    pub(crate) fn too_many(field: impl Into<String>, count: usize, limit: u64) -> Self {
        let message = format!("Too many: {count}: must have at most {limit} items");
        Self { field: field.into(), reason: "FieldValueTooMany", message }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field.as_str() {
            "" => write!(formatter, "<nil>: {}", self.message),
            field => write!(formatter, "{field}: {}", self.message),
        }
    }
}

/// `secrets` or `remotewrites.monitoring.giantswarm.io`.
fn qualified(name: &str, group: &str) -> String {
    if group.is_empty() { name.to_owned() } else { format!("{name}.{group}") }
}

/// The `details` of a refusal that concerns an object or a collection.
fn details(kind: &Kind, name: &str, what: &str) -> Value {
    let mut details = json!({"kind": what});
    if !name.is_empty() {
        details["name"] = json!(name);
    }
    if !kind.group.is_empty() {
        details["group"] = json!(kind.group);
    }
    details
}

impl Status {
    fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: Value::Null, retry_after: None }
    }

    /// The body of the answer.
    pub fn body(&self) -> Value {
        let mut body = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "code": self.code,
        });
        if !self.reason.is_empty() {
            body["reason"] = json!(self.reason);
        }
        if !self.details.is_null() {
            body["details"] = self.details.clone();
        }
        body
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    pub(crate) fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    /// `who` cannot do `what`, as the authorizer says it.
    pub(crate) fn forbidden(kind: &Kind, name: &str, why: impl fmt::Display) -> Self {
        let resource = qualified(&kind.plural, &kind.group);
        let object = if name.is_empty() { resource } else { format!("{resource} {name:?}") };
        let mut status = Self::new(403, "Forbidden", format!("{object} is forbidden: {why}"));
        status.details = details(kind, name, &kind.plural);
        status
    }

    pub(crate) fn forbidden_path(user: &str, verb: &str, path: &str) -> Self {
        let mut status = Self::new(403, "Forbidden", format!("forbidden: User {user:?} cannot {verb} path {path:?}"));
        status.details = json!({});
        status
    }

    pub(crate) fn namespace_terminating(kind: &Kind, name: &str, namespace: &str) -> Self {
        let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
        let mut status = Self::forbidden(kind, name, why);
        status.details["causes"] = json!([{
            "reason": "NamespaceTerminating", "message": format!("namespace {namespace} is being terminated"),
            "field": "metadata.namespace",
        }]);
        status
    }

    pub(crate) fn not_found(kind: &Kind, name: &str) -> Self {
        let message = format!("{} {name:?} not found", qualified(&kind.plural, &kind.group));
        let mut status = Self::new(404, "NotFound", message);
        status.details = details(kind, name, &kind.plural);
        status
    }

    pub(crate) fn namespace_not_found(namespace: &str) -> Self {
        let mut status = Self::new(404, "NotFound", format!("namespaces {namespace:?} not found"));
        status.details = json!({"name": namespace, "kind": "namespaces"});
        status
    }

    /// The group or the resource is not served at all.
    pub(crate) fn no_such_resource() -> Self {
        let mut status = Self::new(404, "NotFound", "the server could not find the requested resource");
        status.details = json!({});
        status
    }

    pub(crate) fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        let mut status = Self::new(405, "MethodNotAllowed", message);
        status.details = json!({});
        status
    }

    pub(crate) fn not_acceptable() -> Self {
        let message = "only the following media types are accepted: application/json, application/yaml";
        Self::new(406, "NotAcceptable", message)
    }

    pub(crate) fn already_exists(kind: &Kind, name: &str) -> Self {
        let message = format!("{} {name:?} already exists", qualified(&kind.plural, &kind.group));
        let mut status = Self::new(409, "AlreadyExists", message);
        status.details = details(kind, name, &kind.plural);
        status
    }

    pub(crate) fn conflict(kind: &Kind, name: &str, why: impl fmt::Display) -> Self {
        let resource = qualified(&kind.plural, &kind.group);
        let message = format!("Operation cannot be fulfilled on {resource} {name:?}: {why}");
        let mut status = Self::new(409, "Conflict", message);
        status.details = details(kind, name, &kind.plural);
        status
    }

    pub(crate) fn modified(kind: &Kind, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(kind, name, why)
    }

    /// Server-side apply would take fields from other managers; `causes` are `(manager, field)`.
    pub(crate) fn apply_conflict(causes: &[(String, String)]) -> Self {
        let each: Vec<Value> = causes
            .iter()
            .map(|(manager, field)| {
                json!({"reason": "FieldManagerConflict", "message": format!("conflict with {manager}"), "field": field})
            })
            .collect();
        let message = match causes {
            [(manager, field)] => format!("Apply failed with 1 conflict: conflict with {manager}: {field}"),
            _ => {
                let mut message = format!("Apply failed with {} conflicts:", causes.len());
                let mut last = None;
                for (manager, field) in causes {
                    if last != Some(manager) {
                        let lead = if last.is_none() { " " } else { "\n" };
                        message += &format!("{lead}conflicts with {manager}:");
                        last = Some(manager);
                    }
                    message += &format!("\n- {field}");
                }
                message
            }
        };
        let mut status = Self::new(409, "Conflict", message);
        status.details = json!({"causes": each});
        status
    }

    pub(crate) fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    pub(crate) fn too_large(message: impl Into<String>) -> Self {
        Self::new(413, "RequestEntityTooLarge", message)
    }

    pub(crate) fn unsupported_media_type(accepted: &str) -> Self {
        let message =
            format!("the body of the request was in an unknown format - accepted media types include: {accepted}");
        Self::new(415, "UnsupportedMediaType", message)
    }

    pub(crate) fn invalid(kind: &Kind, name: &str, errors: &[FieldError]) -> Self {
        Self::invalid_of(&kind.kind, &kind.group, name, errors)
    }

    pub(crate) fn invalid_of(kind: &str, group: &str, name: &str, errors: &[FieldError]) -> Self {
        let list: Vec<String> = errors.iter().map(ToString::to_string).collect();
        let list = if let [one] = &list[..] { one.clone() } else { format!("[{}]", list.join(", ")) };
        let message = format!("{} {name:?} is invalid: {list}", qualified(kind, group));
        let mut status = Self::new(422, "Invalid", message);
        let causes: Vec<Value> = errors
            .iter()
            .map(|error| json!({"reason": error.reason, "message": error.message, "field": error.field}))
            .collect();
        status.details = json!({"name": name, "kind": kind, "causes": causes});
        if !group.is_empty() {
            status.details["group"] = json!(group);
        }
        status
    }

    /// A JSON patch that cannot be applied, a failed `test` among them.
    pub(crate) fn unprocessable_patch() -> Self {
        let mut status = Self::new(422, "Invalid", "the server rejected our request due to an error in our request");
        status.details = json!({});
        status
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(500, "InternalError", message)
    }

    /// What the store refuses without a reason of its own.
    pub(crate) fn unknown(message: impl Into<String>) -> Self {
        Self::new(500, "", message)
    }

    /// A list from a version that is not there yet.
    pub(crate) fn future_version(asked: u64, current: u64) -> Self {
        let message = format!("Timeout: Too large resource version: {asked}, current: {current}");
        let mut status = Self::new(504, "Timeout", message);
        status.details = json!({
            "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
            "retryAfterSeconds": 1,
        });
        status
    }

    /// What a server answers that is told to fail with this status ([`Act::Answer`](crate::Act::Answer)).
    pub(crate) fn of_code(code: u16, kind: Option<&Kind>, name: &str, retry_after: Option<u64>) -> Self {
        let mut status = match (code, kind) {
            (401, _) => Self::unauthorized(),
            (403, Some(kind)) => Self::forbidden(kind, name, "told to refuse"),
            (404, Some(kind)) => Self::not_found(kind, name),
            (409, Some(kind)) => Self::modified(kind, name),
            (410, _) => Self::expired("too old resource version: told to be"),
            (429, _) => Self::new(
                429,
                "TooManyRequests",
                "the server has received too many requests and has asked us to try again later",
            ),
            (500, _) => Self::internal("Internal error occurred: told to fail"),
            (503, _) => Self::new(503, "ServiceUnavailable", "the server is currently unable to handle the request"),
            (504, _) => Self::new(504, "Timeout", "Timeout: request did not complete within requested timeout"),
            _ => Self::new(code, "", "told to fail"),
        };
        if let Some(seconds) = retry_after {
            status.details = json!({"retryAfterSeconds": seconds});
            status.retry_after = Some(seconds);
        }
        status
    }
}

//! Label and field selectors of lists and watches, as they stand in a query.

use serde_json::{Map, Value};

use crate::kinds::{Kind, text};
use crate::status::Status;

/// One condition on labels.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
}

/// Which objects are meant.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selector {
    labels: Vec<Requirement>,
    /// JSON pointer, value, and whether it must be equal.
    fields: Vec<(String, String, bool)>,
    /// The value of `metadata.name=…`, for authorization.
    pub(crate) name: Option<String>,
}

impl Selector {
    pub(crate) fn new(kind: &Kind, labels: &str, fields: &str) -> Result<Self, Status> {
        let mut selector = Self { labels: requirements(labels)?, ..Self::default() };
        for term in fields.split(',').filter(|term| !term.is_empty()) {
            let (field, value, equal) = field_term(term)?;
            let Some(pointer) = field_pointer(kind, field) else {
                let message = format!(
                    "Unable to find {:?} that match label selector {labels:?}, field selector {fields:?}: \
                     field label not supported: {field}",
                    format!("{}, Resource={}", kind.api_version(), kind.plural)
                );
                return Err(Status::bad_request(message));
            };
            if field == "metadata.name" && equal {
                selector.name = Some(value.to_owned());
            }
            selector.fields.push((pointer, value.to_owned(), equal));
        }
        Ok(selector)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Whether the stored object is meant.
    pub(crate) fn matches(&self, object: &Value) -> bool {
        let none = Map::new();
        let labels = object.pointer("/metadata/labels").and_then(Value::as_object).unwrap_or(&none);
        let value = |key: &str| labels.get(key).and_then(Value::as_str);
        let among = |key: &str, values: &[String]| value(key).is_some_and(|value| values.iter().any(|v| v == value));
        self.labels.iter().all(|requirement| match requirement {
            Requirement::In(key, values) => among(key, values),
            Requirement::NotIn(key, values) => !among(key, values),
            Requirement::Exists(key) => labels.contains_key(key),
            Requirement::Absent(key) => !labels.contains_key(key),
        }) && self.fields.iter().all(|(pointer, value, equal)| (field_text(object, pointer) == *value) == *equal)
    }
}

fn field_text(object: &Value, pointer: &str) -> String {
    match object.pointer(pointer) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

fn field_term(term: &str) -> Result<(&str, &str, bool), Status> {
    let split = term.split_once("!=").map(|(field, value)| (field, value, false));
    split
        .or_else(|| term.split_once("==").map(|(field, value)| (field, value, true)))
        .or_else(|| term.split_once('=').map(|(field, value)| (field, value, true)))
        .ok_or_else(|| Status::bad_request(format!("invalid selector: '{term}'; can't understand '{term}'")))
}

/// Where the field stands in the stored object, if one may select by it.
fn field_pointer(kind: &Kind, field: &str) -> Option<String> {
    const EVENT: [&str; 11] = [
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ];
    let named = match field.strip_prefix("regarding.") {
        Some(rest) if kind.group == "events.k8s.io" => format!("involvedObject.{rest}"),
        _ => field.to_owned(),
    };
    let allowed = match (kind.storage.group.as_str(), kind.plural.as_str()) {
        _ if named == "metadata.name" || (named == "metadata.namespace" && kind.namespaced) => true,
        ("", "events") => EVENT.contains(&named.as_str()),
        ("", "secrets") => named == "type",
        ("", "namespaces") => named == "status.phase",
        ("", "pods") => ["spec.nodeName", "spec.serviceAccountName", "status.phase"].contains(&named.as_str()),
        _ => kind.selectable.contains(&named),
    };
    let pointer = if kind.plural == "events" && named == "source" { "source.component" } else { &named };
    allowed.then(|| format!("/{}", pointer.replace('.', "/")))
}

fn requirements(query: &str) -> Result<Vec<Requirement>, Status> {
    let mut terms = Vec::new();
    let (mut depth, mut from) = (0_u32, 0);
    for (at, c) in query.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                terms.push(&query[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    terms.push(&query[from..]);
    terms.into_iter().map(str::trim).filter(|term| !term.is_empty()).map(requirement).collect()
}

fn requirement(term: &str) -> Result<Requirement, Status> {
    let wrong = || Status::bad_request(format!("unable to parse requirement: invalid label selector term {term:?}"));
    let key = |key: &str| {
        let key = key.trim();
        let plain = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
        if plain { Ok(key.to_owned()) } else { Err(wrong()) }
    };
    let one = |value: &str| vec![value.trim().to_owned()];
    if let Some(absent) = term.strip_prefix('!') {
        return Ok(Requirement::Absent(key(absent)?));
    }
    if let Some((head, list)) = term.split_once('(') {
        let list = list.trim_end().strip_suffix(')').ok_or_else(wrong)?;
        let values = list.split(',').map(|value| value.trim().to_owned()).collect();
        let head = head.trim_end();
        if let Some(name) = head.strip_suffix(" notin") {
            return Ok(Requirement::NotIn(key(name)?, values));
        }
        return Ok(Requirement::In(key(head.strip_suffix(" in").ok_or_else(wrong)?)?, values));
    }
    if let Some((name, value)) = term.split_once("!=") {
        return Ok(Requirement::NotIn(key(name)?, one(value)));
    }
    match term.split_once("==").or_else(|| term.split_once('=')) {
        Some((name, value)) => Ok(Requirement::In(key(name)?, one(value))),
        None => Ok(Requirement::Exists(key(term)?)),
    }
}

/// The object's own name and namespace.
pub(crate) fn place(object: &Value) -> (String, String) {
    (text(object, "/metadata/namespace").to_owned(), text(object, "/metadata/name").to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds::Kinds;

    #[test]
    fn selectors_select_as_in_kubernetes() {
        let secrets = Kinds::new().named("v1", "Secret").unwrap();
        let object = json!({"type": "Opaque", "metadata": {"name": "a", "labels": {"app": "x", "empty": ""}}});
        for (labels, fields, selected) in [
            ("", "", true),
            ("app=x", "", true),
            ("app==x,empty", "", true),
            ("app!=x", "", false),
            ("missing!=x", "", true),
            ("app in (y, x)", "", true),
            ("app notin (y,x)", "", false),
            ("missing notin (y)", "", true),
            ("!app", "", false),
            ("!missing", "", true),
            ("empty=", "", true),
            ("missing=", "", false),
            ("", "metadata.name=a", true),
            ("", "metadata.name!=a", false),
            ("app=x", "metadata.name==a,type=Opaque", true),
        ] {
            let selector = Selector::new(&secrets, labels, fields).unwrap();
            assert_eq!(selector.matches(&object), selected, "{labels} {fields}");
        }
        for (labels, fields) in [("app in x", ""), ("a b", ""), ("", "spec.x=1"), ("", "metadata.name"), ("=x", "")] {
            assert_eq!(Selector::new(&secrets, labels, fields).unwrap_err().code, 400, "{labels} {fields}");
        }
    }
}

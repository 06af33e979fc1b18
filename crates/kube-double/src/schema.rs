//! The schema of a custom resource: what is dropped, what is filled in, what is refused.
//!
//! Covers what structural schemas may say: types, `nullable`, `default`, `enum`, `pattern`, `format: date-time`, bounds,
//! `required`, `allOf`/`anyOf`/`oneOf`/`not`, list types, int-or-string, preserved fields and embedded resources.
//! Rules in CEL are in [`rules`](crate::rules).

use serde_json::{Map, Value, json};

use crate::clock::is_date_time;
use crate::kinds::{flag, text, texts};
use crate::rules::Rules;
use crate::status::FieldError;

/// How a list merges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ListType {
    Atomic,
    Set,
    /// By the values of these keys of its items.
    Map(Vec<String>),
}

pub(crate) fn list_type(schema: &Value) -> ListType {
    match text(schema, "/x-kubernetes-list-type") {
        "set" => ListType::Set,
        "map" => ListType::Map(texts(schema, "/x-kubernetes-list-map-keys")),
        _ => ListType::Atomic,
    }
}

/// Whether a map is replaced as a whole by whoever writes to it.
pub(crate) fn is_atomic_map(schema: &Value) -> bool {
    text(schema, "/x-kubernetes-map-type") == "atomic"
}

/// The schema of a member of an object.
pub(crate) fn field_schema<'a>(schema: &'a Value, key: &str) -> Option<&'a Value> {
    let named = schema.get("properties").and_then(|properties| properties.get(key));
    named.or_else(|| schema.get("additionalProperties").filter(|schema| schema.is_object()))
}

/// The key of an item of a list that is a map: an object of its key fields, defaults filled in.
pub(crate) fn item_key(item: &Value, keys: &[String], schema: &Value) -> Value {
    let mut key = Map::new();
    for name in keys {
        let default = || schema.pointer(&format!("/items/properties/{name}/default")).cloned();
        if let Some(value) = item.get(name).cloned().or_else(default) {
            key.insert(name.clone(), value);
        }
    }
    Value::Object(key)
}

fn preserves(schema: &Value) -> bool {
    flag(schema, "/x-kubernetes-preserve-unknown-fields")
}

fn below(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// Drops the fields that the schema does not know; their paths are added to `unknown`.
pub(crate) fn prune(value: &mut Value, schema: &Value, path: &str, unknown: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            let keeps = preserves(schema)
                || schema.get("additionalProperties").is_some_and(|schema| *schema != json!(false))
                || flag(schema, "/x-kubernetes-embedded-resource");
            map.retain(|key, value| match field_schema(schema, key) {
                Some(schema) => {
                    prune(value, schema, &below(path, key), unknown);
                    true
                }
                None if keeps => true,
                None => {
                    unknown.push(below(path, key));
                    false
                }
            });
        }
        Value::Array(list) => {
            if let Some(items) = schema.get("items") {
                for (index, item) in list.iter_mut().enumerate() {
                    prune(item, items, &format!("{path}[{index}]"), unknown);
                }
            }
        }
        _ => {}
    }
}

/// Drops nulls of fields that may not be null, and fills in defaults.
pub(crate) fn default(value: &mut Value, schema: &Value) {
    match value {
        Value::Object(map) => {
            map.retain(|key, value| {
                !value.is_null()
                    || field_schema(schema, key).is_none_or(|schema| flag(schema, "/nullable") || preserves(schema))
            });
            for (key, schema) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
                if let Some(default) = schema.get("default").filter(|_| !map.contains_key(key)) {
                    map.insert(key.clone(), default.clone());
                }
            }
            for (key, value) in map {
                if let Some(schema) = field_schema(schema, key) {
                    default(value, schema);
                }
            }
        }
        Value::Array(list) => {
            if let Some(items) = schema.get("items") {
                list.iter_mut().for_each(|item| default(item, items));
            }
        }
        _ => {}
    }
}

/// Adds what the schema finds wrong. What is as it was in `old` is not looked at: what was stored under an earlier
/// schema may stay (ratcheting, KEP-4008).
pub(crate) fn validate(value: &Value, old: Option<&Value>, schema: &Value, path: &str, found: &mut Found<'_>) {
    if old == Some(value) {
        return;
    }
    if value.is_null() {
        if !flag(schema, "/nullable") && !preserves(schema) && !text(schema, "/type").is_empty() {
            found.errors.push(FieldError::wrong_type(path, text(schema, "/type"), "null"));
        }
        return;
    }
    if let Some(error) = wrong_type(value, schema, path) {
        found.errors.push(error);
        return;
    }
    if let Some(allowed) = schema.get("enum").and_then(Value::as_array).filter(|allowed| !allowed.contains(value)) {
        found.errors.push(FieldError::not_supported(path, value, allowed));
    }
    match value {
        Value::String(text) => string(text, schema, path, found),
        Value::Number(_) => number(value, schema, path, &mut found.errors),
        Value::Array(list) => array(list, old, schema, path, found),
        Value::Object(map) => object(map, old, schema, path, found),
        _ => {}
    }
    combined(value, schema, path, found);
    found.rules.check(value, old, schema, path, &mut found.errors);
}

/// What a validation finds, and the rules it has compiled.
#[derive(Debug)]
pub(crate) struct Found<'a> {
    pub(crate) errors: Vec<FieldError>,
    pub(crate) rules: &'a mut Rules,
}

pub(crate) fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn wrong_type(value: &Value, schema: &Value, path: &str) -> Option<FieldError> {
    let found = type_of(value);
    if flag(schema, "/x-kubernetes-int-or-string") {
        let fits = ["integer", "string"].contains(&found);
        return (!fits).then(|| FieldError::wrong_type(path, "integer,string", found));
    }
    let expected = text(schema, "/type");
    let whole = || value.as_f64().is_some_and(|number| number.fract() == 0.0);
    let fits = match expected {
        "" => true,
        "number" => ["number", "integer"].contains(&found),
        "integer" => found == "integer" || (found == "number" && whole()),
        _ => expected == found,
    };
    (!fits).then(|| FieldError::wrong_type(path, expected, found))
}

fn bound(schema: &Value, name: &str) -> Option<u64> {
    schema.get(name).and_then(Value::as_u64)
}

fn length(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn string(text_value: &str, schema: &Value, path: &str, found: &mut Found<'_>) {
    let errors = &mut found.errors;
    let value = json!(text_value);
    let characters = length(text_value.chars().count());
    if let Some(limit) = bound(schema, "maxLength").filter(|limit| characters > *limit) {
        errors.push(FieldError::too_long(path, limit));
    }
    if let Some(limit) = bound(schema, "minLength").filter(|limit| characters < *limit) {
        let detail = format!("{path} in body should be at least {limit} chars long");
        errors.push(FieldError::invalid(path, &value, detail));
    }
    if let Some(pattern) = schema.get("pattern").and_then(Value::as_str)
        && !found.rules.matches(pattern, text_value)
    {
        errors.push(FieldError::invalid(path, &value, format!("{path} in body should match '{pattern}'")));
    }
    if text(schema, "/format") == "date-time" && !is_date_time(text_value) {
        let detail = format!("{path} in body must be of type date-time: {value}");
        errors.push(FieldError::invalid(path, &value, detail));
    }
}

fn number(value: &Value, schema: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let number = value.as_f64().unwrap_or_default();
    let limit = |name: &str| schema.get(name).and_then(Value::as_f64);
    let mut refuse =
        |words: String| errors.push(FieldError::invalid(path, value, format!("{path} in body should be {words}")));
    if let Some(minimum) = limit("minimum") {
        match flag(schema, "/exclusiveMinimum") {
            true if number <= minimum => refuse(format!("greater than {minimum}")),
            false if number < minimum => refuse(format!("greater than or equal to {minimum}")),
            _ => {}
        }
    }
    if let Some(maximum) = limit("maximum") {
        match flag(schema, "/exclusiveMaximum") {
            true if number >= maximum => refuse(format!("less than {maximum}")),
            false if number > maximum => refuse(format!("less than or equal to {maximum}")),
            _ => {}
        }
    }
    if let Some(step) = limit("multipleOf").filter(|step| number % step != 0.0) {
        refuse(format!("a multiple of {step}"));
    }
}

fn array(list: &[Value], old: Option<&Value>, schema: &Value, path: &str, found: &mut Found<'_>) {
    if let Some(limit) = bound(schema, "maxItems").filter(|limit| length(list.len()) > *limit) {
        found.errors.push(FieldError::too_many(path, list.len(), limit));
    }
    if let Some(limit) = bound(schema, "minItems").filter(|limit| length(list.len()) < *limit) {
        let detail = format!("{path} in body should have at least {limit} items");
        found.errors.push(FieldError::invalid(path, &json!(list.len()), detail));
    }
    let kind = list_type(schema);
    let key_of = |item: &Value| match &kind {
        ListType::Atomic => Value::Null,
        ListType::Set => item.clone(),
        ListType::Map(keys) => item_key(item, keys, schema),
    };
    let mut seen: Vec<Value> = Vec::new();
    for (index, item) in list.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let key = key_of(item);
        if kind != ListType::Atomic && seen.contains(&key) {
            found.errors.push(FieldError::duplicate(&path, &key));
        }
        if let Some(items) = schema.get("items") {
            // Only items of a map can be told from each other when the list changes.
            let before = old.and_then(Value::as_array).filter(|_| matches!(kind, ListType::Map(_)));
            let before = before.and_then(|old| old.iter().find(|old| key_of(old) == key));
            validate(item, before, items, &path, found);
        }
        seen.push(key);
    }
}

fn object(map: &Map<String, Value>, old: Option<&Value>, schema: &Value, path: &str, found: &mut Found<'_>) {
    for name in texts(schema, "/required") {
        if !map.contains_key(&name) {
            found.errors.push(FieldError::required(below(path, &name), ""));
        }
    }
    if let Some(limit) = bound(schema, "maxProperties").filter(|limit| length(map.len()) > *limit) {
        let detail = format!("{path} in body should have at most {limit} properties");
        found.errors.push(FieldError::invalid(path, &json!(map.len()), detail));
    }
    if let Some(limit) = bound(schema, "minProperties").filter(|limit| length(map.len()) < *limit) {
        let detail = format!("{path} in body should have at least {limit} properties");
        found.errors.push(FieldError::invalid(path, &json!(map.len()), detail));
    }
    for (key, value) in map {
        if let Some(schema) = field_schema(schema, key) {
            validate(value, old.and_then(|old| old.get(key)), schema, &below(path, key), found);
        }
    }
}

/// `allOf`, `anyOf`, `oneOf` and `not`, which in a structural schema only restrict values.
fn combined(value: &Value, schema: &Value, path: &str, found: &mut Found<'_>) {
    let list = |name: &str| schema.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    for schema in list("allOf") {
        validate(value, None, schema, path, found);
    }
    let mut passes = |schema: &Value| {
        let mut trial = Found { errors: Vec::new(), rules: &mut *found.rules };
        validate(value, None, schema, path, &mut trial);
        trial.errors.is_empty()
    };
    let shown = match value {
        Value::Object(_) | Value::Array(_) => json!(type_of(value)),
        other => other.clone(),
    };
    let any = list("anyOf").is_empty() || list("anyOf").iter().any(&mut passes);
    let one = list("oneOf").is_empty() || list("oneOf").iter().filter(|schema| passes(schema)).count() == 1;
    let not = schema.get("not").is_some_and(&mut passes);
    let mut refuse = |failed: bool, words: &str| {
        if failed {
            found.errors.push(FieldError::invalid(path, &shown, format!("{path} in body {words}")));
        }
    };
    refuse(!any, "must validate at least one schema (anyOf)");
    refuse(!one, "must validate one and only one schema (oneOf)");
    refuse(not, "must not validate the schema (not)");
}

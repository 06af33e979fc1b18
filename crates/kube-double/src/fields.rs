//! Who wrote which field: `managedFields`, and server-side apply over them (KEP-555).
//!
//! A field is a path of steps as `fieldsV1` spells them: `f:name`, `k:{"name":"x"}` for an item of a list that is a map,
//! `v:"x"` for an item of a set. Which lists merge and which maps do not, the schema says; without one maps merge and
//! lists are replaced. A list that merges keeps its order, and new items come last.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::clock;
use crate::kinds::{Kind, text};
use crate::schema::{ListType, field_schema, is_atomic_map, item_key, list_type};
use crate::status::Status;

type Path = Vec<String>;
type Set = BTreeSet<Path>;

/// Metadata that nobody owns.
const NOT_OWNED: [&str; 10] = [
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "managedFields",
    "selfLink",
];

/// Who writes, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manager {
    pub(crate) name: String,
    pub(crate) applies: bool,
    pub(crate) api_version: String,
    pub(crate) subresource: String,
}

impl Manager {
    /// Whether it is the same one: appliers in any version of the API.
    fn is(&self, other: &Self) -> bool {
        self.name == other.name
            && self.applies == other.applies
            && self.subresource == other.subresource
            && (self.applies || self.api_version == other.api_version)
    }

    /// As a conflict names it.
    fn shown(&self) -> String {
        let mut shown = format!("{:?}", self.name);
        if !self.subresource.is_empty() {
            shown += &format!(" with subresource {:?}", self.subresource);
        }
        if !self.applies {
            shown += &format!(" using {}", self.api_version);
        }
        shown
    }
}

#[derive(Clone, Debug)]
struct Entry {
    manager: Manager,
    time: Value,
    set: Set,
}

fn entries(object: Option<&Value>) -> Vec<Entry> {
    let list = object.and_then(|object| object.pointer("/metadata/managedFields")).and_then(Value::as_array);
    let entry = |entry: &Value| {
        let mut set = Set::new();
        parse(&entry["fieldsV1"], &mut Path::new(), &mut set);
        let manager = Manager {
            name: text(entry, "/manager").to_owned(),
            applies: text(entry, "/operation") == "Apply",
            api_version: text(entry, "/apiVersion").to_owned(),
            subresource: text(entry, "/subresource").to_owned(),
        };
        Entry { manager, time: entry["time"].clone(), set }
    };
    list.into_iter().flatten().map(entry).collect()
}

fn parse(node: &Value, path: &mut Path, set: &mut Set) {
    let members = node.as_object();
    if members.is_none_or(Map::is_empty) && !path.is_empty() {
        set.insert(path.clone());
    }
    for (step, below) in members.into_iter().flatten() {
        if step == "." {
            set.insert(path.clone());
            continue;
        }
        path.push(step.clone());
        parse(below, path, set);
        path.pop();
    }
}

/// A set as `fieldsV1` has it: nested steps, `.` for a path that others go through.
fn written(set: &Set) -> Value {
    let mut root = Map::new();
    for path in set {
        let mut node = &mut root;
        // Sorted sets name a path before those below it, so whoever is passed and is empty is a member.
        for (depth, step) in path.iter().enumerate() {
            let passed = depth + 1 < path.len();
            let below = node.entry(step.clone()).or_insert_with(|| Value::Object(Map::new()));
            let Value::Object(below) = below else { break };
            if passed && below.is_empty() && set.contains(&path[..=depth]) {
                below.insert(".".to_owned(), json!({}));
            }
            node = below;
        }
    }
    Value::Object(root)
}

fn store(object: &mut Value, mut entries: Vec<Entry>) {
    entries.retain(|entry| !entry.set.is_empty());
    if entries.is_empty() {
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("managedFields");
        }
        return;
    }
    // Appliers come first.
    entries.sort_by_key(|entry| !entry.manager.applies);
    let shown = |entry: &Entry| {
        let mut shown = json!({
            "manager": entry.manager.name, "operation": if entry.manager.applies { "Apply" } else { "Update" },
            "apiVersion": entry.manager.api_version, "time": entry.time,
            "fieldsType": "FieldsV1", "fieldsV1": written(&entry.set),
        });
        if !entry.manager.subresource.is_empty() {
            shown["subresource"] = json!(entry.manager.subresource);
        }
        shown
    };
    object["metadata"]["managedFields"] = entries.iter().map(shown).collect();
}

/// The fields of an object that can be owned, with their values; items of lists that are maps have none of their own.
fn fields<'a>(object: &'a Value, kind: &Kind) -> BTreeMap<Path, &'a Value> {
    let mut found = BTreeMap::new();
    let mut step = |path: &mut Path, name: &str, value: &'a Value, schema: &Value| {
        path.push(format!("f:{name}"));
        walk(value, field_schema(schema, name), path, &mut found);
        path.pop();
    };
    for (name, value) in object.as_object().into_iter().flatten() {
        match name.as_str() {
            "apiVersion" | "kind" => {}
            "metadata" => {
                let mut path = vec!["f:metadata".to_owned()];
                let schema = &kind.schema["properties"]["metadata"];
                let owned = value.as_object().into_iter().flatten();
                for (name, value) in owned.filter(|(name, _)| !NOT_OWNED.contains(&name.as_str())) {
                    step(&mut path, name, value, schema);
                }
            }
            _ => step(&mut Path::new(), name, value, &kind.schema),
        }
    }
    found
}

fn walk<'a>(value: &'a Value, schema: Option<&Value>, path: &mut Path, found: &mut BTreeMap<Path, &'a Value>) {
    match value {
        Value::Object(map) if !map.is_empty() && !schema.is_some_and(is_atomic_map) => {
            for (key, value) in map {
                path.push(format!("f:{key}"));
                walk(value, schema.and_then(|schema| field_schema(schema, key)), path, found);
                path.pop();
            }
        }
        Value::Array(list) if !list.is_empty() => match schema.map(|schema| (schema, list_type(schema))) {
            None | Some((_, ListType::Atomic)) => {
                found.insert(path.clone(), value);
            }
            Some((schema, kind)) => {
                for item in list {
                    path.push(item_step(item, &kind, schema));
                    if matches!(kind, ListType::Map(_)) && !schema.get("items").is_some_and(is_atomic_map) {
                        found.insert(path.clone(), &Value::Null);
                        walk(item, schema.get("items"), path, found);
                    } else {
                        found.insert(path.clone(), item);
                    }
                    path.pop();
                }
            }
        },
        _ => {
            found.insert(path.clone(), value);
        }
    }
}

fn item_step(item: &Value, kind: &ListType, schema: &Value) -> String {
    match kind {
        ListType::Map(keys) => format!("k:{}", item_key(item, keys, schema)),
        ListType::Set | ListType::Atomic => format!("v:{item}"),
    }
}

/// Notes in `new` what a writer that does not apply has changed: it owns that now, and nobody else does.
pub(crate) fn note_update(old: Option<&Value>, new: &mut Value, kind: &Kind, manager: Manager) {
    let before = old.map(|old| fields(old, kind)).unwrap_or_default();
    let after = fields(new, kind);
    let changed: Set = differing(&before, &after).cloned().collect();
    let mut entries = entries(old);
    for entry in &mut entries {
        entry.set.retain(|path| !changed.contains(path));
    }
    let taken: Set = changed.into_iter().filter(|path| after.contains_key(path)).collect();
    if !taken.is_empty() {
        let time = json!(clock::now());
        match entries.iter_mut().find(|entry| entry.manager.is(&manager)) {
            Some(entry) => {
                entry.set.extend(taken);
                entry.time = time;
            }
            None => entries.push(Entry { manager, time, set: taken }),
        }
    }
    store(new, entries);
}

fn differing<'a>(
    before: &'a BTreeMap<Path, &Value>,
    after: &'a BTreeMap<Path, &Value>,
) -> impl Iterator<Item = &'a Path> {
    let changed = before.iter().filter(|(path, value)| after.get(*path) != Some(*value)).map(|(path, _)| path);
    changed.chain(after.keys().filter(|path| !before.contains_key(*path)))
}

/// Applies what a manager wants to the live object: its fields are set, those that it no longer names and nobody else
/// owns are removed, and `managedFields` says so.
pub(crate) fn apply(
    live: &Value,
    applied: &Value,
    kind: &Kind,
    manager: Manager,
    force: bool,
) -> Result<Value, Status> {
    let wanted: Set = fields(applied, kind).into_keys().collect();
    let mut merged = live.clone();
    merge(&mut merged, applied, Some(&kind.schema));
    let (before, after) = (fields(live, kind), fields(&merged, kind));
    let changed: Set = differing(&before, &after).cloned().collect();

    let (mut mine, mut others): (Vec<Entry>, Vec<Entry>) =
        entries(Some(live)).into_iter().partition(|entry| entry.manager.is(&manager));
    let mut conflicts = Vec::new();
    for entry in &mut others {
        let taken: Vec<&Path> = entry.set.intersection(&changed).collect();
        conflicts.extend(taken.into_iter().map(|path| (entry.manager.shown(), shown(path))));
        entry.set.retain(|path| !changed.contains(path));
    }
    if !conflicts.is_empty() && !force {
        return Err(Status::apply_conflict(&conflicts));
    }
    let before = mine.pop();
    let left = before.iter().flat_map(|entry| &entry.set);
    let is_kept = |path: &Path| {
        let named = |set: &Set| set.range(path.clone()..).next().is_some_and(|next| next.starts_with(path));
        named(&wanted) || others.iter().any(|entry| named(&entry.set))
    };
    for path in left.filter(|path| !is_kept(path)) {
        remove(&mut merged, path, Some(&kind.schema));
    }
    let time = match &before {
        Some(entry) if entry.set == wanted => entry.time.clone(),
        _ => json!(clock::now()),
    };
    others.push(Entry { manager, time, set: wanted });
    let there: Set = fields(&merged, kind).into_keys().collect();
    for entry in &mut others {
        entry.set.retain(|path| there.contains(path));
    }
    store(&mut merged, others);
    Ok(merged)
}

/// Sets in `target` what `applied` says, lists and maps by their kind.
fn merge(target: &mut Value, applied: &Value, schema: Option<&Value>) {
    match (&mut *target, applied) {
        (Value::Object(map), Value::Object(applied)) if !schema.is_some_and(is_atomic_map) => {
            for (key, value) in applied {
                let schema = schema.and_then(|schema| field_schema(schema, key));
                match map.get_mut(key) {
                    Some(there) => merge(there, value, schema),
                    None => {
                        map.insert(key.clone(), value.clone());
                    }
                }
            }
        }
        (Value::Array(items), Value::Array(applied)) => match schema.map(|schema| (schema, list_type(schema))) {
            None | Some((_, ListType::Atomic)) => items.clone_from(applied),
            Some((schema, kind)) => {
                for value in applied {
                    let step = item_step(value, &kind, schema);
                    match items.iter_mut().find(|item| item_step(item, &kind, schema) == step) {
                        Some(item) => merge(item, value, schema.get("items")),
                        None => items.push(value.clone()),
                    }
                }
            }
        },
        _ => target.clone_from(applied),
    }
}

/// Removes a field, and what holds it if nothing else is left there.
fn remove(value: &mut Value, path: &[String], schema: Option<&Value>) {
    let Some((step, rest)) = path.split_first() else { return };
    match value {
        Value::Object(map) => {
            let Some(name) = step.strip_prefix("f:") else { return };
            let schema = schema.and_then(|schema| field_schema(schema, name));
            if let Some(below) = map.get_mut(name).filter(|_| !rest.is_empty()) {
                remove(below, rest, schema);
            }
            if rest.is_empty() || map.get(name).is_some_and(is_empty) {
                map.remove(name);
            }
        }
        Value::Array(list) => {
            let Some(schema) = schema else { return };
            let kind = list_type(schema);
            if let Some(at) = list.iter().position(|item| item_step(item, &kind, schema) == *step) {
                if rest.is_empty() {
                    list.remove(at);
                } else {
                    remove(&mut list[at], rest, schema.get("items"));
                }
            }
        }
        _ => {}
    }
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
}

/// A path as a conflict names it: `.spec.containers[name="x"].image`.
fn shown(path: &Path) -> String {
    path.iter()
        .map(|step| match step.split_at_checked(2) {
            Some(("f:", name)) => format!(".{name}"),
            Some(("k:", key)) => {
                let key: Map<String, Value> = serde_json::from_str(key).unwrap_or_default();
                let terms: Vec<String> = key.iter().map(|(name, value)| format!("{name}={value}")).collect();
                format!("[{}]", terms.join(","))
            }
            Some((_, value)) => format!("[={value}]"),
            None => step.clone(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_written_as_fields_v1_and_read_again() {
        let written_by_a_server = json!({
            "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
            "f:spec": {"f:containers": {"k:{\"name\":\"x\"}": {".": {}, "f:image": {}}}, "f:replicas": {}},
        });
        let mut set = Set::new();
        parse(&written_by_a_server, &mut Path::new(), &mut set);
        assert_eq!(set.len(), 5);
        assert_eq!(written(&set), written_by_a_server);
    }
}

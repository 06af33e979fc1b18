//! Patches that need no knowledge of who owns a field: RFC 7386 merge, RFC 6902, and Kubernetes' strategic merge.

use serde_json::{Map, Value};

use crate::schema::{ListType, field_schema, item_key, list_type};

/// RFC 7386: objects merge, null removes, anything else replaces.
pub(crate) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        target.clone_from(patch);
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else { return };
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

/// Why a JSON patch cannot be applied.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum JsonPatchError {
    /// No JSON patch at all.
    Malformed(String),
    /// A path that is not there, or a `test` that fails.
    Inapplicable,
}

/// RFC 6902.
pub(crate) fn json_patch(target: &mut Value, patch: &Value) -> Result<(), JsonPatchError> {
    let malformed = |what: &str| JsonPatchError::Malformed(what.to_owned());
    let operations = patch.as_array().ok_or_else(|| malformed("the patch is no array of operations"))?;
    for operation in operations {
        let member = |name: &str| operation.get(name).and_then(Value::as_str);
        let name = member("op").ok_or_else(|| malformed("an operation has no op"))?;
        let path = member("path").ok_or_else(|| malformed("an operation has no path"))?;
        let from = || member("from").ok_or_else(|| malformed("an operation has no from"));
        // A missing value is null for the library that real servers use.
        let value = || operation.get("value").cloned().unwrap_or_default();
        let there = |target: &Value, at: &str| target.pointer(at).cloned().ok_or(JsonPatchError::Inapplicable);
        match name {
            "test" if target.pointer(path).cloned().unwrap_or_default() == value() => {}
            "add" => add(target, path, value())?,
            "remove" => remove(target, path)?,
            "replace" => *target.pointer_mut(path).ok_or(JsonPatchError::Inapplicable)? = value(),
            "copy" => {
                let copied = there(target, from()?)?;
                add(target, path, copied)?;
            }
            "move" => {
                let moved = there(target, from()?)?;
                remove(target, from()?)?;
                add(target, path, moved)?;
            }
            "test" => return Err(JsonPatchError::Inapplicable),
            _ => return Err(JsonPatchError::Malformed(format!("Unexpected kind: {name}"))),
        }
    }
    Ok(())
}

/// The parent of what the pointer names, and its last step, unescaped.
fn parent<'a>(target: &'a mut Value, path: &str) -> Result<(&'a mut Value, String), JsonPatchError> {
    let (head, last) = path.rsplit_once('/').ok_or(JsonPatchError::Inapplicable)?;
    let parent = target.pointer_mut(head).ok_or(JsonPatchError::Inapplicable)?;
    Ok((parent, last.replace("~1", "/").replace("~0", "~")))
}

fn add(target: &mut Value, path: &str, value: Value) -> Result<(), JsonPatchError> {
    if path.is_empty() {
        *target = value;
        return Ok(());
    }
    match parent(target, path)? {
        (Value::Object(map), key) => {
            map.insert(key, value);
        }
        (Value::Array(list), key) if key == "-" => list.push(value),
        (Value::Array(list), key) => {
            let at = key.parse().ok().filter(|at| *at <= list.len()).ok_or(JsonPatchError::Inapplicable)?;
            list.insert(at, value);
        }
        _ => return Err(JsonPatchError::Inapplicable),
    }
    Ok(())
}

fn remove(target: &mut Value, path: &str) -> Result<(), JsonPatchError> {
    match parent(target, path)? {
        (Value::Object(map), key) => map.remove(&key).map(|_| ()).ok_or(JsonPatchError::Inapplicable),
        (Value::Array(list), key) => {
            let at: usize = key.parse().ok().filter(|at| *at < list.len()).ok_or(JsonPatchError::Inapplicable)?;
            list.remove(at);
            Ok(())
        }
        _ => Err(JsonPatchError::Inapplicable),
    }
}

/// The strategic merge of core types: lists that the schema calls maps or sets merge, other lists are replaced.
///
/// `$patch: delete` and `replace` and `$deleteFromPrimitiveList` are followed; `$setElementOrder` and `$retainKeys`,
/// which only arrange what is left, are dropped.
pub(crate) fn strategic(target: &mut Value, patch: &Value, schema: Option<&Value>) {
    let Value::Object(patch) = patch else {
        target.clone_from(patch);
        return;
    };
    if patch.get("$patch").and_then(Value::as_str) == Some("replace") || !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else { return };
    for (key, value) in patch {
        if let Some(list) = key.strip_prefix("$deleteFromPrimitiveList/") {
            let gone = value.as_array().map(Vec::as_slice).unwrap_or_default();
            if let Some(Value::Array(items)) = target.get_mut(list) {
                items.retain(|item| !gone.contains(item));
            }
        } else if key.starts_with('$') {
            // Said above.
        } else if value.is_null() {
            target.remove(key);
        } else {
            let schema = schema.and_then(|schema| field_schema(schema, key));
            strategic_field(target.entry(key.clone()).or_insert(Value::Null), value, schema);
        }
    }
}

fn strategic_field(target: &mut Value, patch: &Value, schema: Option<&Value>) {
    let Value::Array(patches) = patch else {
        if patch.get("$patch").and_then(Value::as_str) == Some("delete") {
            *target = Value::Null;
        } else {
            strategic(target, patch, schema);
        }
        return;
    };
    let (Value::Array(items), Some(schema)) = (&mut *target, schema) else {
        *target = Value::Array(patches.iter().map(without_directives).collect());
        return;
    };
    match list_type(schema) {
        ListType::Atomic => items.clone_from(patches),
        ListType::Set => {
            for item in patches {
                if !items.contains(item) {
                    items.push(item.clone());
                }
            }
        }
        ListType::Map(keys) => {
            for patch in patches {
                let key = item_key(patch, &keys, schema);
                let at = items.iter().position(|item| item_key(item, &keys, schema) == key);
                match (at, patch.get("$patch").and_then(Value::as_str)) {
                    (Some(at), Some("delete")) => {
                        items.remove(at);
                    }
                    (None, Some("delete")) => {}
                    (Some(at), _) => strategic(&mut items[at], patch, schema.get("items")),
                    (None, _) => items.push(without_directives(patch)),
                }
            }
        }
    }
}

fn without_directives(value: &Value) -> Value {
    let mut value = value.clone();
    if let Value::Object(map) = &mut value {
        map.retain(|key, _| !key.starts_with('$'));
    }
    value
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn merges_follow_the_table_of_rfc_7386() {
        for (target, patch, merged) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ] {
            let mut result = target.clone();
            merge(&mut result, &patch);
            assert_eq!(result, merged, "{target} {patch}");
        }
    }

    #[test]
    fn json_patches_are_applied_in_order_or_not_at_all() {
        let target = json!({"a": {"b/c": [1, 2]}, "d": "e"});
        let applied = |patch: Value| {
            let mut result = target.clone();
            json_patch(&mut result, &patch).map(|()| result)
        };
        let one = |op: Value| applied(json!([op]));
        assert_eq!(one(json!({"op": "add", "path": "/a/b~1c/-", "value": 3})).unwrap()["a"]["b/c"], json!([1, 2, 3]));
        assert_eq!(one(json!({"op": "add", "path": "/a/b~1c/0", "value": 0})).unwrap()["a"]["b/c"], json!([0, 1, 2]));
        assert_eq!(one(json!({"op": "remove", "path": "/a/b~1c/1"})).unwrap()["a"]["b/c"], json!([1]));
        assert_eq!(
            one(json!({"op": "move", "from": "/d", "path": "/a/d"})).unwrap(),
            json!({"a": {"b/c": [1, 2], "d": "e"}})
        );
        assert!(one(json!({"op": "test", "path": "/d", "value": "e"})).is_ok());
        assert!(one(json!({"op": "test", "path": "/none", "value": null})).is_ok());
        for refused in [
            json!({"op": "test", "path": "/d", "value": "f"}),
            json!({"op": "remove", "path": "/none"}),
            json!({"op": "replace", "path": "/none", "value": 1}),
            json!({"op": "add", "path": "/none/below", "value": 1}),
            json!({"op": "add", "path": "/a/b~1c/9", "value": 1}),
        ] {
            assert_eq!(one(refused.clone()), Err(JsonPatchError::Inapplicable), "{refused}");
        }
        assert!(matches!(applied(json!({})), Err(JsonPatchError::Malformed(_))));
    }

    #[test]
    fn strategic_merges_know_lists_that_are_maps_and_sets() {
        let schema = json!({"properties": {
            "set": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
            "map": {"type": "array", "items": {}, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        }});
        let target = json!({"set": ["a"], "map": [{"name": "x", "v": 1, "w": 1}, {"name": "y"}], "plain": [1]});
        for (patch, field, result) in [
            (json!({"set": ["b", "a"]}), "set", json!(["a", "b"])),
            (json!({"$deleteFromPrimitiveList/set": ["a"], "$setElementOrder/set": []}), "set", json!([])),
            (json!({"map": [{"name": "x", "v": 2}]}), "map", json!([{"name": "x", "v": 2, "w": 1}, {"name": "y"}])),
            (json!({"map": [{"name": "x", "$patch": "delete"}]}), "map", json!([{"name": "y"}])),
            (json!({"plain": [2]}), "plain", json!([2])),
        ] {
            let mut patched = target.clone();
            strategic(&mut patched, &patch, Some(&schema));
            assert_eq!(patched[field], result, "{patch}");
        }
    }
}

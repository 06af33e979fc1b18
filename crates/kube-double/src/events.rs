//! Events have two shapes over one storage: that of `v1`, in which they are kept, and that of `events.k8s.io/v1`.

use serde_json::Value;

use crate::kinds::Kind;

/// Members of `events.k8s.io/v1`, and what `v1` calls them.
const NAMES: [(&str, &str); 7] = [
    ("regarding", "involvedObject"),
    ("note", "message"),
    ("reportingController", "reportingComponent"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
];

fn is_new_shape(kind: &Kind) -> bool {
    kind.is("events.k8s.io", "events")
}

fn rename(object: &mut Value, names: impl Iterator<Item = (&'static str, &'static str)>) {
    let Some(members) = object.as_object_mut() else { return };
    for (from, to) in names {
        if let Some(value) = members.remove(from) {
            members.insert(to.to_owned(), value);
        }
    }
}

/// What a client sends, as it is kept.
pub(crate) fn stored(kind: &Kind, object: &mut Value) {
    if is_new_shape(kind) {
        rename(object, NAMES.into_iter());
    }
}

/// What is kept, as a client of this kind sees it: in its version, and for Events in its shape.
pub(crate) fn shown(kind: &Kind, object: &Value) -> Value {
    let mut object = object.clone();
    if is_new_shape(kind) {
        rename(&mut object, NAMES.into_iter().map(|(new, core)| (core, new)));
    }
    object["apiVersion"] = Value::from(kind.api_version());
    object["kind"] = Value::from(kind.kind.as_str());
    object
}

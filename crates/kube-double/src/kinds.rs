//! Which resources are served: those of every server, and those that definitions add.

use std::sync::Arc;

use serde_json::{Value, json};

/// Where objects of a kind are kept, whichever version they are asked for in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Resource {
    pub(crate) group: String,
    pub(crate) plural: String,
}

impl Resource {
    pub(crate) fn new(group: &str, plural: &str) -> Self {
        Self { group: group.to_owned(), plural: plural.to_owned() }
    }
}

/// A resource in one version.
#[derive(Clone, Debug)]
pub(crate) struct Kind {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) kind: String,
    pub(crate) list_kind: String,
    pub(crate) plural: String,
    pub(crate) singular: String,
    pub(crate) short_names: Vec<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) namespaced: bool,
    pub(crate) subresources: Vec<String>,
    pub(crate) verbs: Vec<String>,
    pub(crate) storage: Resource,
    /// Served by typed code in a real server, not from a definition.
    pub(crate) builtin: bool,
    /// Whether `metadata.generation` is kept.
    pub(crate) generation: bool,
    /// Whether a PUT without a resourceVersion is taken.
    pub(crate) unconditional: bool,
    /// Whether a PUT to what is not there creates it.
    pub(crate) create_on_update: bool,
    /// The whole object's schema, `metadata` included.
    pub(crate) schema: Value,
    /// Fields that a field selector may name, besides those of every kind.
    pub(crate) selectable: Vec<String>,
}

impl Kind {
    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    pub(crate) fn has(&self, subresource: &str) -> bool {
        self.subresources.iter().any(|name| name == subresource)
    }

    pub(crate) fn is(&self, group: &str, plural: &str) -> bool {
        self.group == group && self.plural == plural
    }

    /// The name of a resource in a rule: `remotewrites/status`.
    pub(crate) fn resource(&self, subresource: &str) -> String {
        if subresource.is_empty() { self.plural.clone() } else { format!("{}/{subresource}", self.plural) }
    }
}

const VERBS: [&str; 8] = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

/// What `builtin.yaml` says, or nothing if it cannot be read, which a test excludes.
fn builtin() -> Value {
    serde_saphyr::from_str(include_str!("builtin.yaml")).unwrap_or_default()
}

pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

pub(crate) fn texts(value: &Value, pointer: &str) -> Vec<String> {
    let list = value.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

pub(crate) fn flag(value: &Value, pointer: &str) -> bool {
    value.pointer(pointer).and_then(Value::as_bool).unwrap_or_default()
}

/// All kinds that are served.
#[derive(Debug)]
pub(crate) struct Kinds {
    metadata: Value,
    builtin: Vec<Arc<Kind>>,
    custom: Vec<Arc<Kind>>,
}

impl Kinds {
    pub(crate) fn new() -> Self {
        let read = builtin();
        let metadata = read["metadata"].clone();
        let kinds = read["kinds"].as_array().map(Vec::as_slice).unwrap_or_default();
        let builtin = kinds.iter().map(|kind| Arc::new(builtin_kind(kind, &metadata))).collect();
        Self { metadata, builtin, custom: Vec::new() }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Kind>> {
        self.builtin.iter().chain(&self.custom)
    }

    pub(crate) fn by_plural(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Kind>> {
        self.iter().find(|kind| kind.is(group, plural) && kind.version == version).cloned()
    }

    /// By kind or plural, as a test names it.
    pub(crate) fn named(&self, api_version: &str, name: &str) -> Option<Arc<Kind>> {
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        let named = |kind: &&Arc<Kind>| kind.kind == name || kind.plural == name;
        self.iter().filter(|kind| kind.group == group && kind.version == version).find(named).cloned()
    }

    /// Some version of the objects kept there.
    pub(crate) fn of(&self, resource: &Resource) -> Option<Arc<Kind>> {
        self.iter().find(|kind| kind.storage == *resource).cloned()
    }

    /// Whether a group and version is served.
    pub(crate) fn has_group_version(&self, group: &str, version: &str) -> bool {
        self.iter().any(|kind| kind.group == group && kind.version == version)
    }

    /// Replaces the custom kinds by those of these definitions.
    pub(crate) fn define<'a>(&mut self, definitions: impl Iterator<Item = &'a Value>) {
        self.custom =
            definitions.flat_map(|definition| custom_kinds(definition, &self.metadata)).map(Arc::new).collect();
    }
}

fn rooted(mut schema: Value, metadata: &Value) -> Value {
    if !schema.is_object() {
        schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    }
    schema["properties"]["metadata"] = metadata.clone();
    schema["properties"]["apiVersion"] = json!({"type": "string"});
    schema["properties"]["kind"] = json!({"type": "string"});
    schema
}

fn builtin_kind(read: &Value, metadata: &Value) -> Kind {
    let kind = text(read, "/kind").to_owned();
    let plural = text(read, "/plural").to_owned();
    let group = text(read, "/group").to_owned();
    let verbs = texts(read, "/verbs");
    let storage_group = read["storage_group"].as_str().unwrap_or(&group);
    Kind {
        version: text(read, "/version").to_owned(),
        list_kind: format!("{kind}List"),
        singular: kind.to_lowercase(),
        short_names: texts(read, "/short"),
        categories: texts(read, "/categories"),
        namespaced: flag(read, "/namespaced"),
        subresources: texts(read, "/subresources"),
        verbs: if verbs.is_empty() { VERBS.map(str::to_owned).to_vec() } else { verbs },
        storage: Resource::new(storage_group, &plural),
        builtin: true,
        generation: flag(read, "/generation"),
        unconditional: flag(read, "/unconditional"),
        create_on_update: flag(read, "/create_on_update"),
        schema: rooted(json!({"type": "object", "properties": read["properties"]}), metadata),
        selectable: Vec::new(),
        kind,
        plural,
        group,
    }
}

fn custom_kinds(definition: &Value, metadata: &Value) -> Vec<Kind> {
    let spec = &definition["spec"];
    let names = &spec["names"];
    let (group, kind, plural) = (text(spec, "/group"), text(names, "/kind"), text(names, "/plural"));
    let versions = spec["versions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let served = versions.iter().filter(|version| flag(version, "/served"));
    let kind_of = |version: &Value| {
        let subresources = version["subresources"].as_object();
        let fields = version["selectableFields"].as_array().map(Vec::as_slice).unwrap_or_default();
        let or = |named: &str, default: String| if named.is_empty() { default } else { named.to_owned() };
        Kind {
            group: group.to_owned(),
            version: text(version, "/name").to_owned(),
            kind: kind.to_owned(),
            list_kind: or(text(names, "/listKind"), format!("{kind}List")),
            plural: plural.to_owned(),
            singular: or(text(names, "/singular"), kind.to_lowercase()),
            short_names: texts(names, "/shortNames"),
            categories: texts(names, "/categories"),
            namespaced: text(spec, "/scope") == "Namespaced",
            // A scale subresource is for autoscalers, and not served here.
            subresources: subresources
                .into_iter()
                .flat_map(|map| map.keys())
                .filter(|name| *name == "status")
                .cloned()
                .collect(),
            verbs: VERBS.map(str::to_owned).to_vec(),
            storage: Resource::new(group, plural),
            builtin: false,
            generation: true,
            unconditional: false,
            create_on_update: false,
            schema: rooted(version["schema"]["openAPIV3Schema"].clone(), metadata),
            selectable: fields
                .iter()
                .map(|field| text(field, "/jsonPath").trim_start_matches('.').to_owned())
                .collect(),
        }
    };
    served.map(kind_of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_server_has_can_be_read() {
        let kinds = Kinds::new();
        assert_eq!(kinds.iter().count(), 14);
        let lease = kinds.named("coordination.k8s.io/v1", "Lease").unwrap();
        assert_eq!(lease.schema.pointer("/properties/spec/properties/renewTime/format"), Some(&json!("date-time")));
        let (core, events) = (kinds.named("v1", "events").unwrap(), kinds.named("events.k8s.io/v1", "Event").unwrap());
        assert_eq!(core.storage, events.storage);
    }
}

//! The Secrets that targets need in one namespace: which name each has, and what has to change.
//!
//! A Secret is the operator's if it carries its label and says what it stands for; any other is never touched.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value as Json, json};

use crate::declare::{Material, short_hash};
use crate::observed::{Copied, Key, SourceKey, World};
use crate::words;

/// What became of a material.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// It is there under this name.
    InPlace(String),
    /// It will be, with the change.
    Changing(String),
    /// The name belongs to a Secret of somebody else's, or of another target.
    Conflict(String),
}

/// A Secret to be written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Write {
    pub(crate) key: Key,
    /// Of the one to be changed; `None`: there is none.
    pub(crate) resource_version: Option<String>,
    pub(crate) body: Json,
}

/// Gives every material a name in a namespace. Those that come first are served first; what has a name keeps it. With `adopt` a
/// Secret with the labels of the old operator is the `RemoteWrite` object's own.
pub(crate) fn store(
    world: &World,
    namespace: &str,
    wanted: &[&Material],
    adopt: bool,
) -> (BTreeMap<String, Stored>, Vec<Write>) {
    let here = |name: &str| world.copies.get(&Key::new(namespace, name));
    let existing: BTreeMap<&str, &Key> = world
        .copies
        .iter()
        .filter(|(key, copied)| key.namespace == namespace && !copied.identity.is_empty())
        .map(|(key, copied)| (copied.identity.as_str(), key))
        .collect();
    let mut names: BTreeMap<&str, String> = BTreeMap::new();
    let mut taken: BTreeSet<String> = BTreeSet::new();
    for material in wanted {
        if let Some(key) = existing.get(material.identity.as_str())
            && (!material.fixed || key.name == material.name)
            && taken.insert(key.name.clone())
        {
            names.insert(&material.identity, key.name.clone());
        }
    }
    let mut stored = BTreeMap::new();
    for material in wanted {
        if names.contains_key(material.identity.as_str()) {
            continue;
        }
        let suffixed = format!("{}-{}", material.name, short_hash(&material.identity));
        let candidates = if material.fixed { vec![&material.name] } else { vec![&material.name, &suffixed] };
        let mut conflict = None;
        for name in candidates {
            let key = Key::new(namespace, name);
            let known = world.known.get(&SourceKey::secret(key.clone())).filter(|_| here(name).is_none());
            let adopted = adopt && material.fixed && known.is_some_and(|known| known.labels == material.labels);
            // The operator's own, of which only the metadata has come yet: it is waited for.
            let comes = known.is_some_and(|known| known.managed);
            if comes {
                stored.insert(material.identity.clone(), Stored::Changing(name.clone()));
                break;
            }
            let theirs = known.is_some() && !adopted;
            let others = here(name).is_some_and(|copied| copied.identity != material.identity);
            if theirs {
                // It is not looked for another name: what is there was put there for a reason.
                conflict = Some(format!("the Secret {key} is there and was not made by the operator"));
                break;
            }
            if others || taken.contains(name) {
                conflict = Some(format!("the Secret {key} belongs to another target"));
                continue;
            }
            conflict = None;
            taken.insert(name.clone());
            names.insert(&material.identity, name.clone());
            break;
        }
        if let Some(conflict) = conflict {
            stored.insert(material.identity.clone(), Stored::Conflict(conflict));
        }
    }
    let mut writes = Vec::new();
    for material in wanted {
        let Some(name) = names.get(material.identity.as_str()) else { continue };
        if stored.contains_key(&material.identity) {
            continue;
        }
        let there = here(name);
        if there.is_some_and(|copied| is_as_wanted(copied, material)) {
            stored.insert(material.identity.clone(), Stored::InPlace(name.clone()));
        } else {
            stored.insert(material.identity.clone(), Stored::Changing(name.clone()));
            let key = Key::new(namespace, name);
            let known = world.known.get(&SourceKey::secret(key.clone()));
            let version =
                there.map(|there| &there.resource_version).or_else(|| known.map(|known| &known.resource_version));
            writes.push(write(key, there, version.cloned(), material));
        }
    }
    (stored, writes)
}

fn labels(material: &Material) -> BTreeMap<String, String> {
    let mut labels = material.labels.clone();
    labels.insert(words::MANAGED_BY.to_owned(), words::OPERATOR.to_owned());
    labels
}

fn is_as_wanted(copied: &Copied, material: &Material) -> bool {
    let has = |(key, value): (&String, &String)| copied.labels.get(key) == Some(value);
    copied.data == material.data && copied.identity == material.identity && labels(material).iter().all(has)
}

fn write(key: Key, there: Option<&Copied>, resource_version: Option<String>, material: &Material) -> Write {
    let mut annotations = BTreeMap::from([(words::IDENTITY, material.identity.as_str())]);
    if let Some(source) = &material.copy_of {
        annotations.insert(words::SOURCE_NAMESPACE, &source.namespace);
        annotations.insert(words::SOURCE_NAME, &source.name);
    }
    let mut body = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "namespace": key.namespace,
            "name": key.name,
            "labels": labels(material),
            "annotations": annotations,
        },
        "type": "Opaque",
        "data": material.data.encoded(),
    });
    if let Some(version) = &resource_version {
        body["metadata"]["resourceVersion"] = json!(version);
    }
    if let Some(there) = there {
        // A merge patch: what is no longer there has to be said.
        for gone in there.data.0.keys().filter(|key| !material.data.0.contains_key(*key)) {
            body["data"][gone] = Json::Null;
        }
    }
    Write { key, resource_version, body }
}

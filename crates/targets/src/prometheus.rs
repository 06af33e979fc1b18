//! One Prometheus object's `spec.remoteWrite`: which entries are the operator's, and what they should say.
//!
//! The list is atomic for the API server, so entries of others are sent back as they were read, in their order, and only if
//! the object has not changed since. Which entries are the operator's is written in an annotation of the same object, in the
//! same act: an entry's name alone is nobody's property.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json, json};

use crate::observed::Key;
use crate::replies::unnamed;
use crate::spec::normalise;
use crate::words::RECORD;

/// An entry that the record says is the operator's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recorded {
    /// Its name in the list.
    pub(crate) name: String,
    /// The Secret that its target was written in, if it was one.
    pub(crate) from: Option<Key>,
}

/// What one source wants in one object.
#[derive(Clone, Debug)]
pub(crate) enum Want {
    /// This entry.
    Set {
        /// Names it may have, the best first.
        names: Vec<String>,
        /// The entry, whatever its name.
        entry: Json,
        /// The Secret that it was written in.
        from: Option<Key>,
        /// What the API server stores when it is sent that, but for the name, if it is something else.
        stored: Option<Json>,
        /// Whether an entry of the first name is taken over from the old operator.
        adopt: bool,
    },
    /// What is there stays.
    Keep,
    /// What is there stays, and if there is nothing the best of these names that is free waits for it: who comes first must not
    /// hang on who is ready first.
    Later(Vec<String>),
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Placed {
    /// It is there as it should be, under this name.
    InPlace(String),
    /// It will be, with the change.
    Changing,
    /// Each of its names belongs to somebody else's entry.
    Conflict(String),
    /// There was nothing to keep.
    Absent,
}

/// One object's list, read once.
#[derive(Debug)]
pub(crate) struct Listed<'o> {
    pub(crate) object: &'o Json,
    entries: &'o [Json],
    /// Source to entry.
    record: BTreeMap<String, Recorded>,
    /// The first entry of each name.
    by_name: BTreeMap<&'o str, &'o Json>,
}

impl<'o> Listed<'o> {
    pub(crate) fn new(object: &'o Json) -> Self {
        let entries = object["spec"]["remoteWrite"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut by_name = BTreeMap::new();
        for entry in entries {
            if let Some(name) = entry["name"].as_str() {
                by_name.entry(name).or_insert(entry);
            }
        }
        Self { object, entries, record: record(&object["metadata"]["annotations"][RECORD]), by_name }
    }

    /// What the record says of a source.
    pub(crate) fn recorded(&self, source: &str) -> Option<&Recorded> {
        self.record.get(source)
    }

    /// The sources that have entries.
    pub(crate) fn sources(&self) -> impl Iterator<Item = &str> {
        self.record.keys().map(String::as_str)
    }

    /// The entry of that name.
    pub(crate) fn entry(&self, name: &str) -> Option<&'o Json> {
        self.by_name.get(name).copied()
    }

    /// The entry of a source.
    pub(crate) fn entry_of(&self, source: &str) -> Option<&'o Json> {
        self.entry(&self.recorded(source)?.name)
    }

    /// Whether there is an entry of that name that is not the operator's.
    pub(crate) fn is_foreign(&self, name: &str) -> bool {
        self.entry(name).is_some() && !self.record.values().any(|recorded| recorded.name == name)
    }

    /// The entries that are the operator's.
    pub(crate) fn ours(&self) -> impl Iterator<Item = &'o Json> {
        self.record.values().filter_map(|recorded| self.entry(&recorded.name))
    }
}

/// Reads the record: source to entry.
pub(crate) fn record(annotation: &Json) -> BTreeMap<String, Recorded> {
    let Ok(Json::Object(record)) = serde_json::from_str(annotation.as_str().unwrap_or_default()) else {
        return BTreeMap::new();
    };
    let entry = |(name, value): (String, Json)| {
        let from = value["from"].as_str().and_then(|from| from.split_once('/'));
        let from = from.map(|(namespace, name)| Key::new(namespace, name));
        Some((value["source"].as_str()?.to_owned(), Recorded { name, from }))
    };
    record.into_iter().filter_map(entry).collect()
}

/// The change that gives every source what it wants, and what becomes of each. Sources that want nothing lose what they had;
/// so do the `left` names, which an operator that is no more has left.
pub(crate) fn reconcile(
    listed: &Listed<'_>,
    wants: &[(String, Want)],
    left: &[&str],
) -> (Option<Json>, BTreeMap<String, Placed>) {
    let Listed { object, record: old_record, .. } = listed;
    let ours: BTreeSet<&str> = old_record.values().map(|recorded| recorded.name.as_str()).collect();
    let foreign = |name: &str| !ours.contains(name) && listed.entry(name).is_some();

    // Names first: what has one keeps it, however others come and go.
    let mut names: BTreeMap<&str, String> = BTreeMap::new();
    let mut taken: BTreeSet<String> = BTreeSet::new();
    for (source, want) in wants {
        let Some(recorded) = old_record.get(source) else { continue };
        let fits = match want {
            Want::Keep | Want::Later(_) => true,
            Want::Set { names, .. } => names.contains(&recorded.name),
        };
        if fits && taken.insert(recorded.name.clone()) {
            names.insert(source, recorded.name.clone());
        }
    }
    let mut placed: BTreeMap<String, Placed> = BTreeMap::new();
    for (source, want) in wants {
        if names.contains_key(source.as_str()) {
            continue;
        }
        let (candidates, wanted, adopt) = match want {
            Want::Set { names, entry, adopt, .. } => (names, entry, adopt),
            Want::Keep | Want::Later(_) => {
                placed.insert(source.clone(), Placed::Absent);
                if let Want::Later(candidates) = want {
                    taken.extend(candidates.iter().find(|name| !taken.contains(*name) && !foreign(name)).cloned());
                }
                continue;
            }
        };
        let free = candidates.iter().enumerate().find(|(index, name)| {
            // What is there already, to the letter, or was the old operator's, may be taken for the operator's own.
            let usable =
                || listed.entry(name).is_some_and(|there| (*adopt && *index == 0) || same(there, &named(wanted, name)));
            !taken.contains(*name) && (!foreign(name) || usable())
        });
        match free {
            Some((_, name)) => {
                taken.insert(name.clone());
                names.insert(source, name.clone());
            }
            None => drop(placed.insert(source.clone(), Placed::Conflict(candidates.join(" and ")))),
        }
    }

    let mut by_name: BTreeMap<&str, (&str, &Want)> = BTreeMap::new();
    for (source, want) in wants {
        if let Some(name) = names.get(source.as_str()) {
            by_name.insert(name, (source, want));
        }
    }
    let mut list = Vec::new();
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for there in listed.entries {
        let name = there["name"].as_str().unwrap_or_default();
        match by_name.get(name) {
            // A second one of the name is not the operator's.
            _ if name.is_empty() || seen.contains(name) => list.push(there.clone()),
            Some((source, Want::Set { entry: wanted, stored, .. })) => {
                seen.insert(name);
                let wanted = named(wanted, name);
                let same = same(there, &wanted) || stored.as_ref().is_some_and(|stored| unnamed(there) == *stored);
                let in_place = same && old_record.get(*source).is_some_and(|recorded| recorded.name == name);
                let state = if in_place { Placed::InPlace(name.to_owned()) } else { Placed::Changing };
                placed.insert((*source).to_owned(), state);
                list.push(if same { there.clone() } else { wanted });
            }
            Some((source, Want::Keep | Want::Later(_))) => {
                seen.insert(name);
                placed.insert((*source).to_owned(), Placed::InPlace(name.to_owned()));
                list.push(there.clone());
            }
            None if ours.contains(name) || left.contains(&name) => {}
            None => list.push(there.clone()),
        }
    }
    for (source, want) in wants {
        let Some(name) = names.get(source.as_str()).filter(|name| !seen.contains(name.as_str())) else { continue };
        match want {
            Want::Set { entry, .. } => {
                list.push(named(entry, name));
                placed.insert(source.clone(), Placed::Changing);
            }
            Want::Keep | Want::Later(_) => drop(placed.insert(source.clone(), Placed::Absent)),
        }
    }

    let mut new_record = Map::new();
    for (source, want) in wants {
        let Some(name) = names.get(source.as_str()) else { continue };
        let from = match want {
            Want::Set { from, .. } => from.clone(),
            Want::Keep | Want::Later(_) => old_record.get(source).and_then(|recorded| recorded.from.clone()),
        };
        let mut owner = json!({"source": source});
        if let Some(from) = from {
            owner["from"] = json!(from.to_string());
        }
        new_record.insert(name.clone(), owner);
    }
    (patch(object, listed.entries, list, new_record), placed)
}

/// `None` if nothing changes.
fn patch(object: &Json, old: &[Json], list: Vec<Json>, record: Map<String, Json>) -> Option<Json> {
    let old_record = object["metadata"]["annotations"][RECORD].as_str();
    // Sorted: the same record is always the same text.
    let record = (!record.is_empty()).then(|| Json::Object(record).to_string());
    if old == list && old_record == record.as_deref() {
        return None;
    }
    let list =
        if list.is_empty() && !object["spec"]["remoteWrite"].is_array() { Json::Null } else { Json::Array(list) };
    Some(json!({
        "metadata": {
            "resourceVersion": object["metadata"]["resourceVersion"],
            "annotations": {RECORD: record},
        },
        "spec": {"remoteWrite": list},
    }))
}

fn named(entry: &Json, name: &str) -> Json {
    let mut entry = entry.clone();
    entry["name"] = json!(name);
    entry
}

/// Whether two entries say the same, with what the API server fills in.
fn same(there: &Json, wanted: &Json) -> bool {
    if there == wanted {
        return true;
    }
    let filled = |entry: &Json| {
        let mut entry = entry.as_object().cloned().unwrap_or_default();
        normalise(&mut entry);
        entry
    };
    filled(there) == filled(wanted)
}

//! Objects and their history under one version that rises with every write, as etcd keeps them.
//!
//! Knows nothing of kinds or rules: what is put here has been judged.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::kinds::Resource;

/// The most changes that are remembered; older ones are compacted. A watch reads them as it goes, so few would do.
const MAX_CHANGES: usize = 10_000;

/// Version of an empty server. Real ones never begin at 1 either: a client must not think that versions count objects.
const FIRST_VERSION: u64 = 100;

/// An object's place among those of its resource: namespace (empty for cluster-wide ones) and name.
pub(crate) type Place = (String, String);

/// One write.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) version: u64,
    pub(crate) resource: Resource,
    pub(crate) place: Place,
    pub(crate) before: Option<Arc<Value>>,
    pub(crate) after: Option<Arc<Value>>,
}

/// What is stored.
#[derive(Debug)]
pub(crate) struct Store {
    version: u64,
    compacted: u64,
    objects: BTreeMap<Resource, BTreeMap<Place, Arc<Value>>>,
    history: VecDeque<Change>,
}

impl Store {
    pub(crate) fn new() -> Self {
        Self { version: FIRST_VERSION, compacted: 0, objects: BTreeMap::new(), history: VecDeque::new() }
    }

    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Changes up to this one are forgotten.
    pub(crate) fn compacted(&self) -> u64 {
        self.compacted
    }

    pub(crate) fn get(&self, resource: &Resource, place: &Place) -> Option<Arc<Value>> {
        self.objects.get(resource)?.get(place).cloned()
    }

    /// All objects of a resource, by namespace and name.
    pub(crate) fn all(&self, resource: &Resource) -> impl Iterator<Item = (&Place, &Arc<Value>)> {
        self.objects.get(resource).into_iter().flatten()
    }

    /// Everything, by resource.
    pub(crate) fn everything(&self) -> impl Iterator<Item = (&Resource, &Place, &Arc<Value>)> {
        self.objects
            .iter()
            .flat_map(|(resource, objects)| objects.iter().map(move |(place, object)| (resource, place, object)))
    }

    /// The objects of a resource as they were at a version that is not compacted.
    pub(crate) fn all_at(&self, resource: &Resource, version: u64) -> BTreeMap<Place, Arc<Value>> {
        let mut objects = self.objects.get(resource).cloned().unwrap_or_default();
        for change in self.since(version).rev().filter(|change| change.resource == *resource) {
            match &change.before {
                Some(before) => objects.insert(change.place.clone(), Arc::clone(before)),
                None => objects.remove(&change.place),
            };
        }
        objects
    }

    /// The changes after a version, oldest first.
    pub(crate) fn since(&self, version: u64) -> impl DoubleEndedIterator<Item = &Change> {
        let from = self.history.partition_point(|change| change.version <= version);
        self.history.range(from..)
    }

    /// Stores an object under the next version, and returns it with that version.
    pub(crate) fn put(&mut self, resource: &Resource, place: &Place, mut object: Value) -> Arc<Value> {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let object = Arc::new(object);
        let objects = self.objects.entry(resource.clone()).or_default();
        let before = objects.insert(place.clone(), Arc::clone(&object));
        self.remember(resource, place, before, Some(Arc::clone(&object)));
        object
    }

    /// Removes an object under the next version; true if it was there.
    pub(crate) fn remove(&mut self, resource: &Resource, place: &Place) -> bool {
        let Some(before) = self.objects.get_mut(resource).and_then(|objects| objects.remove(place)) else {
            return false;
        };
        self.version += 1;
        self.remember(resource, place, Some(before), None);
        true
    }

    fn remember(&mut self, resource: &Resource, place: &Place, before: Option<Arc<Value>>, after: Option<Arc<Value>>) {
        let change = Change { version: self.version, resource: resource.clone(), place: place.clone(), before, after };
        self.history.push_back(change);
        if self.history.len() > MAX_CHANGES {
            self.compacted = self.history.pop_front().map_or(self.compacted, |change| change.version);
        }
    }

    /// Forgets all changes so far.
    pub(crate) fn compact(&mut self) {
        self.history.clear();
        self.compacted = self.version;
    }
}

/// An object that is gone, as a watch shows it: the last state, under the version of its end.
pub(crate) fn gone(before: &Value, version: u64) -> Value {
    let mut object = before.clone();
    object["metadata"]["resourceVersion"] = json!(version.to_string());
    object
}

//! What Giant Swarm's operator left of a `RemoteWrite` object that was deleted before it was taken over. It knew its entries by
//! their name and its Secrets by their labels, and listed both in the object's status.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::Lists;
use super::finalizers::has_finalizer;
use crate::declare::{Settings, is_deleting, is_paused, owned_labels};
use crate::observed::{Key, PrometheusId, SourceKey, World};
use crate::words::OLD_FINALIZER;

/// Entries and Secrets that nobody else will remove.
#[derive(Debug, Default)]
pub(super) struct Left<'w> {
    pub(super) entries: BTreeSet<&'w PrometheusId>,
    pub(super) secrets: Vec<(Key, String)>,
}

impl Left<'_> {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.secrets.is_empty()
    }
}

pub(super) fn left<'w>(world: &World, settings: &Settings, lists: &Lists<'w>, key: &Key, object: &Json) -> Left<'w> {
    let theirs = is_deleting(object) && !is_paused(object) && has_finalizer(object, OLD_FINALIZER);
    if !settings.config.policies.adopt_finalizers || !theirs {
        return Left::default();
    }
    let configured = listed(object, "configuredPrometheuses");
    let entries = lists
        .iter()
        .filter(|(id, list)| configured.contains(&id.key) && !is_deleting(list.object) && list.is_foreign(&key.name));
    let entries: BTreeSet<&PrometheusId> = entries.map(|(id, _)| *id).collect();
    let labels = owned_labels(key);
    let secrets = listed(object, "syncedSecrets").into_iter().filter_map(|secret| {
        let known = world.known.get(&SourceKey::secret(secret.clone()))?;
        (!known.managed && known.labels == labels).then(|| (secret, known.resource_version.clone()))
    });
    Left { secrets: secrets.collect(), entries }
}

/// What a list of the object's status names.
pub(super) fn listed(object: &Json, list: &str) -> BTreeSet<Key> {
    let references = object["status"][list].as_array().into_iter().flatten();
    let text = |reference: &Json, key: &str| reference[key].as_str().unwrap_or_default().to_owned();
    references.map(|reference| Key::new(&text(reference, "namespace"), &text(reference, "name"))).collect()
}

//! Finalizers of `RemoteWrite` objects: set before the first entry, taken away when nothing is left.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use super::{Change, Lists, Plan, Report, old};
use crate::declare::{Applier, Declaration, Settings, SourceId, State, is_deleting, is_paused, owned_prefix};
use crate::observed::{Key, World};
use crate::reason::Reason;
use crate::words;

pub(super) fn has_finalizer(object: &Json, finalizer: &str) -> bool {
    object["metadata"]["finalizers"].as_array().into_iter().flatten().any(|name| name == finalizer)
}

/// Finalizers that have to come before a first entry, and those whose work is done.
pub(super) fn finalizers(
    world: &World,
    settings: &Settings,
    declared: &[Declaration],
    lists: &Lists<'_>,
    plan: &mut Plan,
) {
    let adopt = settings.config.policies.adopt_finalizers;
    for declaration in declared {
        let SourceId::RemoteWrite(key) = &declaration.source else { continue };
        let Some(object) = world.remote_writes.get(key).filter(|object| !is_paused(object)) else { continue };
        let finalizers: Vec<&str> =
            object["metadata"]["finalizers"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
        let mut wanted = finalizers.clone();
        let old = adopt && finalizers.contains(&words::OLD_FINALIZER);
        if is_deleting(object) {
            if settings.applier == Applier::Prometheus
                && (leaves_something(world, lists, declaration, key)
                    || !old::left(world, settings, lists, key, object).is_empty())
            {
                continue;
            }
            wanted.retain(|name| *name != words::FINALIZER && !(adopt && *name == words::OLD_FINALIZER));
        } else if settings.applier == Applier::Prometheus && (matches!(declaration.state, State::Ready(_)) || old) {
            if !finalizers.contains(&words::FINALIZER) {
                wanted.push(words::FINALIZER);
            }
            // What the old operator made is found by its finalizer until it is taken over.
            let on_its_way = |report: &Report| matches!(report.reason, Reason::InProgress | Reason::ApplyFailed);
            let settled = !plan.reports.iter().any(|report| report.source == declaration.source && on_its_way(report));
            if old && settled && finalizers.contains(&words::FINALIZER) && has_no_old_entries(lists, key, object) {
                wanted.retain(|name| *name != words::OLD_FINALIZER);
            }
        }
        if wanted != finalizers {
            let patch = json!({"metadata": {
                "resourceVersion": object["metadata"]["resourceVersion"],
                "finalizers": wanted,
            }});
            plan.changes.push(Change::PatchRemoteWrite(key.clone(), patch));
        }
    }
}

/// Whether anything of an object is still there, or may be.
fn leaves_something(world: &World, lists: &Lists<'_>, declaration: &Declaration, key: &Key) -> bool {
    let source = declaration.source.to_string();
    let prefix = owned_prefix(key);
    world.hides_prometheuses()
        || lists.values().any(|listed| !is_deleting(listed.object) && listed.recorded(&source).is_some())
        || world.copies.values().any(|copied| copied.identity.starts_with(&prefix))
}

/// Whether the old operator lists no entry that is not the operator's by now.
fn has_no_old_entries(lists: &Lists<'_>, key: &Key, object: &Json) -> bool {
    let configured: BTreeSet<Key> = old::listed(object, "configuredPrometheuses");
    !lists.iter().any(|(id, listed)| configured.contains(&id.key) && listed.is_foreign(&key.name))
}

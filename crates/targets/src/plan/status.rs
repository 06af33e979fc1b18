//! What tenants see: conditions and lists of `RemoteWrite` objects, an annotation of Namespaces, and an Event when either
//! changes. Nothing is written while a target is on its way.

use serde_json::{Value as Json, json};

use super::{Change, Lists, Note, Plan, Report};
use crate::declare::{Applier, Settings, SourceId, is_deleting, is_paused, owned_prefix};
use crate::observed::{Key, World};
use crate::reason::Reason;
use crate::words::STATUS;

/// The condition's type.
const READY: &str = "Ready";

pub(super) fn changes(world: &World, settings: &Settings, lists: &Lists<'_>, now: &str, plan: &mut Plan) {
    let mut changes = Vec::new();
    for report in plan.reports.iter().filter(|report| report.reason != Reason::InProgress) {
        if let SourceId::RemoteWrite(key) = &report.source {
            changes.extend(remote_write(world, lists, key, report, now));
        }
    }
    let unread = !plan.needs.is_empty();
    for name in world.namespaces.keys() {
        changes.extend(namespace(world, settings, name, &plan.reports, unread));
    }
    plan.changes.extend(changes);
}

fn remote_write(world: &World, lists: &Lists<'_>, key: &Key, report: &Report, now: &str) -> Option<Change> {
    let object = world.remote_writes.get(key)?;
    if is_paused(object) || is_deleting(object) {
        return None;
    }
    let source = report.source.to_string();
    let mut configured: Vec<Json> = Vec::new();
    for (id, listed) in lists {
        if listed.entry_of(&source).is_some() {
            configured.push(json!({"name": id.key.name, "namespace": id.key.namespace}));
        }
    }
    let prefix = owned_prefix(key);
    let synced = world.copies.iter().filter(|(_, copied)| copied.identity.starts_with(&prefix) && !copied.terminating);
    let synced: Vec<Json> = synced.map(|(key, _)| json!({"name": key.name, "namespace": key.namespace})).collect();

    let old = &object["status"];
    let status = if report.reason.is_good() { "True" } else { "False" };
    let conditions: Vec<Json> = old["conditions"].as_array().cloned().unwrap_or_default();
    let ready = conditions.iter().find(|condition| condition["type"] == READY);
    let since = ready
        .filter(|ready| ready["status"] == status)
        .map_or_else(|| json!(now), |ready| ready["lastTransitionTime"].clone());
    let wanted = json!({
        "type": READY,
        "status": status,
        "reason": report.reason.as_str(),
        "message": report.message,
        "observedGeneration": object["metadata"]["generation"],
        "lastTransitionTime": since,
    });
    let says = |condition: Option<&Json>, key: &str| condition.map(|condition| condition[key].clone());
    let told = says(ready, "reason") == says(Some(&wanted), "reason")
        && says(ready, "message") == says(Some(&wanted), "message");
    let unchanged = ready == Some(&wanted)
        && list(&old["configuredPrometheuses"]) == configured
        && list(&old["syncedSecrets"]) == synced;
    if unchanged {
        return None;
    }
    let mut conditions: Vec<Json> = conditions.into_iter().filter(|condition| condition["type"] != READY).collect();
    conditions.push(wanted);
    let patch = json!({
        "metadata": {"resourceVersion": object["metadata"]["resourceVersion"]},
        "status": {"configuredPrometheuses": configured, "syncedSecrets": synced, "conditions": conditions},
    });
    let mut note = note(report);
    // Told already: only the lists changed.
    if told {
        note.message.clear();
    }
    Some(Change::PatchStatus(key.clone(), patch, note))
}

fn list(value: &Json) -> Vec<Json> {
    value.as_array().cloned().unwrap_or_default()
}

fn note(report: &Report) -> Note {
    Note { warning: !report.reason.is_good(), reason: report.reason.as_str(), message: report.message.clone() }
}

/// The annotation says what holds for the namespace: its own target, else the default, else that there is none.
fn namespace(world: &World, settings: &Settings, name: &str, reports: &[Report], unread: bool) -> Option<Change> {
    let namespace = world.namespaces.get(name).filter(|namespace| !namespace.terminating)?;
    let find = |source: &SourceId| {
        reports.binary_search_by(|report| report.source.cmp(source)).ok().and_then(|index| reports.get(index))
    };
    let old = namespace.annotations.get(STATUS);
    let report = find(&SourceId::Annotation(name.to_owned())).or_else(|| find(&SourceId::Default(name.to_owned())));
    let has_prometheus = world
        .prometheuses
        .keys()
        .any(|id| id.key.namespace == settings.config.prometheus_namespace && id.key.name == name);
    let (wanted, note) = match report {
        Some(report) if report.reason == Reason::InProgress => return None,
        Some(report) => {
            let text = json!({
                "source": report.source.kind(),
                "reason": report.reason.as_str(),
                "message": report.message,
                "url": report.url,
            });
            (Some(text.to_string()), Some(note(report)))
        }
        None if has_prometheus && settings.applier == Applier::Prometheus => {
            let message = "there is no annotation and the operator has no default target";
            let text = json!({"source": "", "reason": Reason::NoTarget.as_str(), "message": message, "url": ""});
            let note = Note { warning: false, reason: Reason::NoTarget.as_str(), message: message.to_owned() };
            (Some(text.to_string()), old.is_some().then_some(note))
        }
        None => (None, None),
    };
    if wanted.as_ref() == old || unread && report.is_none() {
        return None;
    }
    let patch = json!({"metadata": {"annotations": {STATUS: wanted}}});
    // An Event for what is new to its reader; another URL is not.
    let told: Json = old.and_then(|old| serde_json::from_str(old).ok()).unwrap_or_default();
    let note = note.filter(|note| told["reason"] != note.reason || told["message"] != note.message.as_str());
    Some(Change::PatchNamespace(name.to_owned(), patch, note))
}

//! Everything together: from what is there to what should change.
//!
//! A plan holds only changes whose conditions are met already, as observed: a finalizer before the first entry, Secrets before
//! the entries that name them, entries gone before their Secrets go, everything gone before the finalizer goes. After they are
//! made the next plan goes on from there, so that an end in the middle costs nothing.

mod finalizers;
mod old;
mod place;
mod status;
mod template;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use crate::declare::{Applier, Body, Declaration, Settings, SourceId, State, declarations};
use crate::file::{self, Rendered};
use crate::observed::{Key, PrometheusId, SourceKey, World};
use crate::prometheus::Listed;
use crate::reason::{Reason, Refusal};

use finalizers::finalizers;
use place::Placement;
use template::templates;

/// What should be done.
#[derive(Debug, Default)]
pub struct Plan {
    /// What has to be read before more can be said.
    pub needs: BTreeSet<SourceKey>,
    /// What may be changed at once, in any order.
    pub changes: Vec<Change>,
    /// What became of every target, sorted by source.
    pub reports: Vec<Report>,
    /// What `--apply file` writes.
    pub file: Option<Rendered>,
}

/// One change of one object.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A new Secret.
    CreateSecret(Key, Json),
    /// A merge patch of one of ours.
    PatchSecret(Key, Json),
    /// One of ours, as it was seen.
    DeleteSecret(Key, String),
    /// A merge patch of `spec.remoteWrite` and the record, and the sources whose entries it changes.
    PatchPrometheus(PrometheusId, Json, Vec<String>),
    /// A tenant's, from the template.
    CreatePrometheus(PrometheusId, Json),
    /// One that was made from the template, as it was seen.
    DeletePrometheus(PrometheusId, String),
    /// A merge patch of finalizers.
    PatchRemoteWrite(Key, Json),
    /// A merge patch of the status.
    PatchStatus(Key, Json, Note),
    /// A merge patch of the status annotation.
    PatchNamespace(String, Json, Option<Note>),
}

impl Change {
    /// The object that is changed.
    #[must_use]
    pub fn object(&self) -> String {
        match self {
            Self::CreateSecret(key, _) | Self::PatchSecret(key, _) | Self::DeleteSecret(key, _) => {
                format!("Secret {key}")
            }
            Self::PatchPrometheus(id, ..) | Self::CreatePrometheus(id, _) | Self::DeletePrometheus(id, _) => {
                id.to_string()
            }
            Self::PatchRemoteWrite(key, _) | Self::PatchStatus(key, ..) => format!("RemoteWrite {key}"),
            Self::PatchNamespace(name, ..) => format!("Namespace {name}"),
        }
    }
}

/// What an Event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Whether it is a `Warning`.
    pub warning: bool,
    /// In a word.
    pub reason: &'static str,
    /// In a sentence or two; never a secret.
    pub message: String,
}

/// What became of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Which one.
    pub source: SourceId,
    /// In a word.
    pub reason: Reason,
    /// In a sentence or two; never a secret.
    pub message: String,
    /// Where it sends, without what may be secret.
    pub url: String,
    /// The objects that hold its entry, and the entry's name.
    pub places: Vec<(String, String)>,
}

/// What is gathered about one target.
#[derive(Debug, Default)]
struct Course {
    selected: usize,
    places: Vec<(PrometheusId, String)>,
    refusals: Vec<Refusal>,
    /// Objects that have to change first.
    waits_for: BTreeSet<String>,
}

/// Makes a plan. `now` is the time of day, RFC 3339 in UTC, for conditions that change; `previous` are the entries of the file
/// as it is, by name.
#[must_use]
pub fn plan(world: &World, settings: &Settings, now: &str, previous: &BTreeMap<String, file::Previous>) -> Plan {
    let mut plan = Plan::default();
    let declared = declarations(world, settings, &mut plan.needs);
    let lists: Lists<'_> = world.prometheuses.iter().map(|(id, object)| (id, Listed::new(object))).collect();
    let mut courses: BTreeMap<&SourceId, Course> = declared.iter().map(|d| (&d.source, Course::default())).collect();
    match settings.applier {
        Applier::Prometheus => {
            Placement { world, settings, declared: &declared, lists: &lists }.place(&mut plan, &mut courses);
            templates(world, settings, &declared, &mut plan);
        }
        Applier::File => {
            let (rendered, refusals) = file::render(world, settings, &declared, previous);
            for (source, state) in refusals {
                if let Some(course) = courses.get_mut(&source) {
                    match state {
                        Ok(()) => course.selected = 1,
                        Err(refusal) => course.refusals.push(refusal),
                    }
                }
            }
            plan.file = Some(rendered);
        }
    }
    plan.reports =
        declared.iter().map(|declaration| report(world, settings, declaration, &courses, &plan.needs)).collect();
    // Whoever has no Prometheus is no tenant; the default is not for everybody.
    let nobodys =
        |report: &Report| matches!(report.source, SourceId::Default(_)) && report.reason == Reason::NoPrometheus;
    plan.reports.retain(|report| !nobodys(report));
    finalizers(world, settings, &declared, &lists, &mut plan);
    status::changes(world, settings, &lists, now, &mut plan);
    if !settings.leads {
        plan.changes.clear();
    }
    plan
}

/// Every list, read once.
type Lists<'w> = BTreeMap<&'w PrometheusId, Listed<'w>>;

fn report(
    world: &World,
    settings: &Settings,
    declaration: &Declaration,
    courses: &BTreeMap<&SourceId, Course>,
    needs: &BTreeSet<SourceKey>,
) -> Report {
    let none = Course::default();
    let course = courses.get(&declaration.source).unwrap_or(&none);
    let url = match &declaration.state {
        State::Ready(target) => match &target.body {
            Body::Spec(spec) => spec.shown_url(),
            Body::Entry { url, .. } => url.clone(),
        },
        State::Refused(_) | State::Unread | State::Paused | State::Deleting => String::new(),
    };
    let places: Vec<(String, String)> = course.places.iter().map(|(id, name)| (id.to_string(), name.clone())).collect();
    let unreadable = needs.iter().find_map(|source| {
        let near = |key: &Key| source.key.namespace == key.namespace;
        let mine =
            source.key.namespace == declaration.source.namespace() || declaration.origin.as_ref().is_some_and(near);
        Some((source, world.failures.get(&source.to_string()).filter(|_| mine)?))
    });
    let (reason, mut message) = match &declaration.state {
        State::Refused(refusal) => {
            let stays = if places.is_empty() { "" } else { "; what was applied before goes on" };
            (refusal.reason, format!("{}{stays}", refusal.message))
        }
        State::Paused => (Reason::Paused, "an annotation stops all work on it".to_owned()),
        State::Unread if let Some((source, why)) = unreadable => {
            (Reason::ApplyFailed, format!("the {source} could not be read, which is tried again: {why}"))
        }
        State::Unread => (Reason::InProgress, "its Secrets are being read".to_owned()),
        State::Deleting => (Reason::InProgress, "it is being deleted".to_owned()),
        State::Ready(_) => outcome(world, settings, declaration, course),
    };
    for note in &declaration.notes {
        message += &format!(" ({note})");
    }
    Report { source: declaration.source.clone(), reason, message: shortened(message), url, places }
}

fn outcome(world: &World, settings: &Settings, declaration: &Declaration, course: &Course) -> (Reason, String) {
    if let Some((object, why)) = course.waits_for.iter().find_map(|object| world.failures.get_key_value(object)) {
        return (Reason::ApplyFailed, format!("the {object} could not be changed, which is tried again: {why}"));
    }
    if !course.waits_for.is_empty() {
        return (Reason::InProgress, "it is being applied".to_owned());
    }
    if let Some(refusal) = course.refusals.first() {
        let more = course.refusals.len() - 1;
        let more = if more > 0 { format!(" (and {more} more like it)") } else { String::new() };
        return (refusal.reason, format!("{}{more}", refusal.message));
    }
    match (&declaration.source, course.selected) {
        (SourceId::RemoteWrite(_), 0) => (Reason::NothingSelected, "spec.clusterSelector selects nothing".to_owned()),
        (SourceId::Default(namespace) | SourceId::Annotation(namespace), 0) => {
            let place = Key::new(&settings.config.prometheus_namespace, namespace);
            (Reason::NoPrometheus, format!("there is no Prometheus {place}; it is applied as soon as there is"))
        }
        (SourceId::Default(_), _) => (Reason::DefaultApplied, "the operator's default target is applied".to_owned()),
        (SourceId::RemoteWrite(_), places) if settings.applier == Applier::Prometheus => {
            (Reason::Applied, format!("applied to {places} Prometheus object{}", if places == 1 { "" } else { "s" }))
        }
        _ => (Reason::Applied, "applied".to_owned()),
    }
}

/// Short enough for a condition and an Event.
fn shortened(mut message: String) -> String {
    if message.len() > 1000 {
        let end = message.floor_char_boundary(1000);
        message.truncate(end);
        message.push('…');
    }
    message
}

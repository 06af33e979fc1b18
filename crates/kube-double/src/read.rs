//! Get, list and the events of a watch: which objects a client sees, and in which shape.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::events;
use crate::kinds::Kind;
use crate::selector::Selector;
use crate::state::{Call, Done, State, Verb};
use crate::status::{FieldError, Status};
use crate::store::{Change, Place, gone};

/// What a real server says to a list that is continued too late.
const CONTINUE_TOO_OLD: &str = "The provided continue parameter is too old to display a consistent list result. You can \
    start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder \
    of the results. Continuing with the provided token results in an inconsistent list - objects that were created, \
    modified, or deleted between the time the first chunk was returned and now may show up in the list.";

/// Where a list goes on: the version of its first page, and the last place on the page before.
fn continued(token: &str) -> Option<(u64, Place)> {
    let token: Value = serde_json::from_slice(&STANDARD.decode(token).ok()?).ok()?;
    let part = |name: &str| token[name].as_str().map(str::to_owned);
    Some((token["version"].as_u64()?, (part("namespace")?, part("name")?)))
}

fn version_of(asked: &str) -> Result<u64, Status> {
    asked.parse().map_err(|_not_a_number| {
        let error = FieldError::invalid("resourceVersion", &json!(asked), "strconv.ParseUint: invalid syntax");
        Status::invalid_of("ListOptions", "meta.k8s.io", "", &[error])
    })
}

impl State {
    pub(crate) fn get(&self, call: &Call) -> Result<Done, Status> {
        Ok(Done::ok(events::shown(&call.kind, &*self.stored(call)?)))
    }

    pub(crate) fn list(&self, call: &Call) -> Result<Done, Status> {
        check_options(call)?;
        let kind = &call.kind;
        let selector = Selector::new(kind, call.query("labelSelector"), call.query("fieldSelector"))?;
        let current = self.store.version();
        let asked = call.query("resourceVersion");
        let (version, after) = match call.query("continue") {
            "" if asked.is_empty() || asked == "0" => (current, None),
            "" => {
                let asked = version_of(asked)?;
                if asked > current {
                    return Err(Status::future_version(asked, current));
                }
                // Anything not older will do, and that is the newest, unless the client insists.
                let exact = call.query("resourceVersionMatch") == "Exact";
                (if exact { asked } else { current }, None)
            }
            _ if !asked.is_empty() && asked != "0" => {
                return Err(Status::bad_request("specifying resource version is not allowed when using continue"));
            }
            token => {
                let token = continued(token).ok_or_else(|| Status::bad_request("continue key is not valid"))?;
                (token.0, Some(token.1))
            }
        };
        if version < self.store.compacted() {
            let message = match after {
                Some(_) => CONTINUE_TOO_OLD.to_owned(),
                None => format!("The resourceVersion for the provided list is too old: {version}"),
            };
            return Err(Status::expired(message));
        }
        let objects: BTreeMap<Place, Arc<Value>> = self.store.all_at(&kind.storage, version);
        let mut meant =
            objects.into_iter().filter(|(place, _)| after.as_ref().is_none_or(|after| place > after)).filter(
                |(place, object)| (call.namespace.is_empty() || place.0 == call.namespace) && selector.matches(object),
            );
        let limit = call.query("limit").parse().ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX);
        let page: Vec<(Place, Arc<Value>)> = meant.by_ref().take(limit).collect();
        let rest = meant.count();

        let mut metadata = json!({"resourceVersion": version.to_string()});
        if let Some((last, _)) = page.last().filter(|_| rest > 0) {
            let token = json!({"version": version, "namespace": last.0, "name": last.1});
            metadata["continue"] = json!(STANDARD.encode(token.to_string()));
            if selector.is_empty() {
                metadata["remainingItemCount"] = json!(rest);
            }
        }
        let items: Vec<Value> = page.iter().map(|(_, object)| listed(kind, object)).collect();
        Ok(Done::ok(json!({
            "kind": kind.list_kind, "apiVersion": kind.api_version(), "metadata": metadata, "items": items,
        })))
    }

    /// Begins a watch: the events that come before all changes, and the version after which changes are meant.
    pub(crate) fn begin_watch(&self, call: &Call) -> Result<(Watch, Vec<Value>), Status> {
        let kind = Arc::clone(&call.kind);
        let selector = Selector::new(&kind, call.query("labelSelector"), call.query("fieldSelector"))?;
        let asked = call.query("resourceVersion");
        let initial = call.query("sendInitialEvents");
        let bookmarks = call.is_set("allowWatchBookmarks");
        check_options(call)?;
        let mut watch =
            Watch { kind, selector, namespace: call.namespace.clone(), version: self.store.version(), bookmarks };
        let from_now = asked.is_empty() || asked == "0";
        let asked = if from_now { self.store.version() } else { version_of(asked)? };
        if initial == "true" || (from_now && initial.is_empty()) {
            let objects = self.store.all(&watch.kind.storage);
            let meant = objects.filter(|(place, object)| watch.is_meant(place, object));
            let mut events: Vec<Value> = meant
                .map(|(_, object)| json!({"type": "ADDED", "object": events::shown(&watch.kind, object)}))
                .collect();
            if initial == "true" && bookmarks {
                events.push(watch.bookmark(true));
            }
            return Ok((watch, events));
        }
        watch.version = asked;
        Ok((watch, Vec::new()))
    }

    /// The events since the watch was looked at last, or the end of it: its version is forgotten.
    pub(crate) fn events_since(&self, watch: &mut Watch) -> Result<Vec<Value>, Status> {
        if watch.version < self.store.compacted() {
            let message = format!("too old resource version: {} ({})", watch.version, self.store.compacted());
            return Err(Status::expired(message));
        }
        let changes = self.store.since(watch.version);
        let events = changes.filter_map(|change| watch.event(change)).collect();
        watch.version = watch.version.max(self.store.version());
        Ok(events)
    }
}

/// Which options of a list or a watch exclude each other.
fn check_options(call: &Call) -> Result<(), Status> {
    let watches = call.verb == Verb::Watch;
    let (initial, matching) = (call.query("sendInitialEvents"), call.query("resourceVersionMatch"));
    let version = call.query("resourceVersion");
    let mut errors = Vec::new();
    let mut forbid = |forbidden: bool, field: &str, detail: &str| {
        if forbidden {
            errors.push(FieldError::forbidden(field, detail));
        }
    };
    let field = "resourceVersionMatch";
    if watches {
        let detail = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
        forbid(!initial.is_empty() && matching != "NotOlderThan", field, detail);
        let detail = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
        forbid(initial.is_empty() && !matching.is_empty(), field, detail);
    } else {
        let matches = !matching.is_empty();
        let detail = "resourceVersionMatch is forbidden unless resourceVersion is provided";
        forbid(matches && version.is_empty(), field, detail);
        let detail = "resourceVersionMatch is forbidden when continue is provided";
        forbid(matches && !call.query("continue").is_empty(), field, detail);
        let detail = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
        forbid(matching == "Exact" && version == "0", field, detail);
        forbid(!initial.is_empty(), "sendInitialEvents", "sendInitialEvents is forbidden for list");
    }
    if !["", "Exact", "NotOlderThan"].contains(&matching) {
        let supported = [json!("Exact"), json!("NotOlderThan"), json!("")];
        errors.push(FieldError::not_supported(field, &json!(matching), &supported));
    }
    if errors.is_empty() { Ok(()) } else { Err(Status::invalid_of("ListOptions", "meta.k8s.io", "", &errors)) }
}

/// A watch that is open.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) kind: Arc<Kind>,
    selector: Selector,
    namespace: String,
    /// Everything up to here was sent.
    pub(crate) version: u64,
    pub(crate) bookmarks: bool,
}

impl Watch {
    fn is_meant(&self, place: &Place, object: &Value) -> bool {
        (self.namespace.is_empty() || place.0 == self.namespace) && self.selector.matches(object)
    }

    /// A change as the watch shows it: for a selector, what begins to match is added and what ceases to is deleted.
    fn event(&self, change: &Change) -> Option<Value> {
        if change.resource != self.kind.storage {
            return None;
        }
        let before = change.before.as_ref().filter(|object| self.is_meant(&change.place, object));
        let after = change.after.as_ref().filter(|object| self.is_meant(&change.place, object));
        let (name, object) = match (before, after) {
            (None, None) => return None,
            (None, Some(after)) => ("ADDED", events::shown(&self.kind, after)),
            (Some(_), Some(after)) => ("MODIFIED", events::shown(&self.kind, after)),
            (Some(before), None) => ("DELETED", events::shown(&self.kind, &gone(before, change.version))),
        };
        Some(json!({"type": name, "object": object}))
    }

    /// Says how far the watch is; the one after the initial events says that, too.
    pub(crate) fn bookmark(&self, initial_end: bool) -> Value {
        let mut metadata = json!({"resourceVersion": self.version.to_string(), "creationTimestamp": null});
        if initial_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let object = json!({"kind": self.kind.kind, "apiVersion": self.kind.api_version(), "metadata": metadata});
        json!({"type": "BOOKMARK", "object": object})
    }
}

/// An item of a list: those of built-in kinds have no kind and apiVersion of their own.
fn listed(kind: &Kind, object: &Value) -> Value {
    let mut item = events::shown(kind, object);
    if kind.builtin
        && let Some(members) = item.as_object_mut()
    {
        members.remove("kind");
        members.remove("apiVersion");
    }
    item
}

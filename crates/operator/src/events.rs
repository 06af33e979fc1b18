//! Events: one per object, which says how things stand. A warning does not outlive its cause.

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value as Json, json};
use targets::{Key, Note, words};

use crate::api::{Address, Api};

/// What an Event is about.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    /// `apiVersion` and `kind`.
    pub(crate) kind: (&'static str, &'static str),
    /// Its namespace and name; of a Namespace, itself.
    pub(crate) key: Key,
    /// Its uid, if it is known.
    pub(crate) uid: String,
}

/// Writes the Event of a subject. That it could not be is logged, and no reason to do anything again.
pub(crate) async fn write(api: &Api, subject: &Subject, note: &Note) {
    let name = name(subject);
    let key = Key::new(&subject.key.namespace, &name);
    let now = format!("{:.0}", Timestamp::now());
    let event = event(subject, note, &key, &now);
    let address = Address::event(&key);
    let written = match api.create(&address, &event).await {
        Err(error) if error.is_conflict() => {
            let patch =
                json!({"type": event["type"], "reason": note.reason, "message": note.message, "lastTimestamp": now});
            api.patch(&address, &patch).await
        }
        written => written,
    };
    if let Err(error) = written {
        tracing::warn!(event = %key, %error, "the Event could not be written");
    }
}

/// Of its own for each object, as short as a name has to be.
fn name(subject: &Subject) -> String {
    let kind = subject.kind.1.to_ascii_lowercase();
    let end = format!(".{kind}.{}", words::OPERATOR);
    let mut name = subject.key.name.clone();
    // Names are ASCII.
    name.truncate(253 - end.len());
    name.trim_end_matches(['.', '-']).to_owned() + &end
}

fn event(subject: &Subject, note: &Note, key: &Key, now: &str) -> Json {
    let (version, kind) = subject.kind;
    json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"namespace": key.namespace, "name": key.name},
        // With its namespace, also that of a Namespace: the API server wants both to be the same.
        "involvedObject": {
            "apiVersion": version,
            "kind": kind,
            "namespace": subject.key.namespace,
            "name": subject.key.name,
            "uid": subject.uid,
        },
        "type": if note.warning { "Warning" } else { "Normal" },
        "reason": note.reason,
        "message": note.message,
        "source": {"component": words::OPERATOR},
        "reportingComponent": words::OPERATOR,
        "reportingInstance": words::OPERATOR,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    })
}

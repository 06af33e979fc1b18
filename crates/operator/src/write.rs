//! Makes one change, and hands back the object as the API server then has it.

use serde_json::{Value as Json, json};
use targets::{Change, Key, PrometheusId, SourceKey};

use crate::api::{Address, Api, Refused};
use crate::events::{self, Subject};
use crate::watch::{Kind, Seen};

/// What became of a change.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) change: Change,
    /// `create`, `patch` or `delete`.
    pub(crate) verb: &'static str,
    /// What is known of the object since.
    pub(crate) seen: Vec<(Kind, Seen)>,
    /// The object as it was answered, or why it could not be made.
    pub(crate) answer: Result<Json, Refused>,
}

/// Makes a change. `uid` is that of the object that an Event is about.
pub(crate) async fn make(api: Api, change: Change, uid: String) -> Made {
    let (verb, address, kinds) = place(&change);
    let answer = match &change {
        Change::CreateSecret(_, body) | Change::CreatePrometheus(_, body) => api.create(&address, body).await,
        Change::PatchPrometheus(_, patch, _) => api.patch_strictly(&address, patch).await,
        Change::PatchSecret(_, patch)
        | Change::PatchRemoteWrite(_, patch)
        | Change::PatchStatus(_, patch, _)
        | Change::PatchNamespace(_, patch, _) => api.patch(&address, patch).await,
        Change::DeleteSecret(_, version) | Change::DeletePrometheus(_, version) => api.delete(&address, version).await,
    };
    match answer {
        Ok(answer) => {
            tell(&api, &change, uid).await;
            let seen = seen(&change, &answer, &kinds);
            Made { change, verb, seen, answer: Ok(answer) }
        }
        Err(refused) => {
            // Somebody was faster, or it is gone: what is there is looked at again before anything else is tried.
            let stale = refused.is_conflict() || refused.is_missing();
            let seen = if stale { look(&api, &change, &kinds).await } else { Vec::new() };
            Made { change, verb, seen, answer: Err(refused) }
        }
    }
}

fn place(change: &Change) -> (&'static str, Address, Vec<Kind>) {
    let secret = || vec![Kind::Sources(targets::ReferenceKind::Secret), Kind::Copies];
    match change {
        Change::CreateSecret(key, _) => ("create", Address::secret(key), secret()),
        Change::PatchSecret(key, _) => ("patch", Address::secret(key), secret()),
        Change::DeleteSecret(key, _) => ("delete", Address::secret(key), secret()),
        Change::CreatePrometheus(id, _) => ("create", Address::prometheus(id), vec![Kind::Prometheuses(id.kind)]),
        Change::PatchPrometheus(id, ..) => ("patch", Address::prometheus(id), vec![Kind::Prometheuses(id.kind)]),
        Change::DeletePrometheus(id, _) => ("delete", Address::prometheus(id), vec![Kind::Prometheuses(id.kind)]),
        Change::PatchRemoteWrite(key, _) => ("patch", Address::remote_write(key), vec![Kind::RemoteWrites]),
        Change::PatchStatus(key, ..) => ("patch", Address::remote_write(key).status(), vec![Kind::RemoteWrites]),
        Change::PatchNamespace(name, ..) => ("patch", Address::namespace(name), vec![Kind::Namespaces]),
    }
}

/// What the answer to a change says of the object.
fn seen(change: &Change, answer: &Json, kinds: &[Kind]) -> Vec<(Kind, Seen)> {
    // A deletion that is done is answered with a Status; one that waits for a finalizer with the object.
    let deletes = matches!(change, Change::DeleteSecret(..) | Change::DeletePrometheus(..));
    let gone = deletes && answer["kind"] == "Status";
    let seen = |kind: &Kind| (*kind, if gone { Seen::Gone(named(change)) } else { Seen::One(answer.clone()) });
    kinds.iter().map(seen).collect()
}

/// What a change is about, as an object of which no more is known.
fn named(change: &Change) -> Json {
    let key = match change {
        Change::CreateSecret(key, _)
        | Change::PatchSecret(key, _)
        | Change::DeleteSecret(key, _)
        | Change::PatchRemoteWrite(key, _)
        | Change::PatchStatus(key, ..)
        | Change::PatchPrometheus(PrometheusId { key, .. }, ..)
        | Change::CreatePrometheus(PrometheusId { key, .. }, _)
        | Change::DeletePrometheus(PrometheusId { key, .. }, _) => key.clone(),
        Change::PatchNamespace(name, ..) => Key::new("", name),
    };
    json!({"metadata": {"namespace": key.namespace, "name": key.name}})
}

async fn look(api: &Api, change: &Change, kinds: &[Kind]) -> Vec<(Kind, Seen)> {
    let address = match change {
        Change::CreateSecret(key, _) | Change::PatchSecret(key, _) | Change::DeleteSecret(key, _) => {
            Address::source(&SourceKey::secret(key.clone()))
        }
        Change::PatchPrometheus(id, ..) | Change::CreatePrometheus(id, _) | Change::DeletePrometheus(id, _) => {
            Address::prometheus(id)
        }
        Change::PatchRemoteWrite(key, _) | Change::PatchStatus(key, ..) => Address::remote_write(key),
        Change::PatchNamespace(name, ..) => Address::namespace(name),
    };
    match api.get(&address).await {
        Ok(object) => kinds.iter().map(|kind| (*kind, Seen::One(object.clone()))).collect(),
        Err(error) if error.is_missing() => kinds.iter().map(|kind| (*kind, Seen::Gone(named(change)))).collect(),
        Err(_) => Vec::new(),
    }
}

async fn tell(api: &Api, change: &Change, uid: String) {
    match change {
        Change::PatchStatus(key, _, note) if !note.message.is_empty() => {
            let kind = ("monitoring.giantswarm.io/v1alpha1", "RemoteWrite");
            events::write(api, &Subject { kind, key: key.clone(), uid }, note).await;
        }
        Change::PatchNamespace(name, _, Some(note)) => {
            let subject = Subject { kind: ("v1", "Namespace"), key: Key::new(name, name), uid };
            events::write(api, &subject, note).await;
        }
        _ => {}
    }
}

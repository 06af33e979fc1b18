//! What an API server made of the entries it was sent. It takes a list or refuses it as a whole, so an entry that it does not take
//! has to be found and left out, or nobody's change would arrive.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use crate::observed::PrometheusId;
use crate::prometheus::record;
use crate::words::RECORD;

/// Where the list is, as an API server names it.
const LIST: &str = "spec.remoteWrite";

/// A field that an API server finds fault with, and the kind of fault, in its words for programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its path.
    pub field: String,
    /// Such as `FieldValueInvalid`.
    pub reason: String,
}

/// What is known of entries since they were sent.
#[derive(Clone, Debug, Default)]
pub struct Replies {
    entries: BTreeMap<(PrometheusId, String), Reply>,
    /// Objects whose list was refused without a word of which entry it was.
    one_by_one: BTreeSet<PrometheusId>,
}

#[derive(Clone, Debug)]
struct Reply {
    /// The entry, but for its name.
    sent: Json,
    outcome: Outcome,
}

#[derive(Clone, Debug)]
enum Outcome {
    /// It is stored, with something filled in or changed.
    Stored(Json),
    /// It is not taken, and why.
    Refused(String),
}

impl Replies {
    /// Takes in that a patch was taken: `object` is what the API server has since. Returns whether any of the entries is stored
    /// other than it was sent.
    pub fn taken(&mut self, id: &PrometheusId, patch: &Json, changed: &[String], object: &Json) -> bool {
        let mut differ = false;
        for (source, sent) in sent(patch).filter(|(source, _)| changed.contains(source)) {
            let there = entries(object).find(|there| there["name"] == sent["name"]).map(unnamed);
            let sent = unnamed(sent);
            let place = (id.clone(), source);
            match there {
                Some(there) if there != sent => {
                    differ = true;
                    self.entries.insert(place, Reply { sent, outcome: Outcome::Stored(there) });
                }
                _ => drop(self.entries.remove(&place)),
            }
        }
        differ
    }

    /// Takes in that a patch was refused for what it says. Returns whether the next plan will be another one: some entries are
    /// known to be at fault, or are tried one by one.
    pub fn refused(&mut self, id: &PrometheusId, patch: &Json, changed: &[String], faults: &[Fault]) -> bool {
        let mut found: BTreeMap<usize, &Fault> = BTreeMap::new();
        for fault in faults {
            found.extend(index(&fault.field).map(|index| (index, fault)));
        }
        let mut blamed = false;
        for (index, (source, entry)) in sent_with_index(patch) {
            let Some(fault) = found.get(&index).filter(|_| changed.contains(&source)) else { continue };
            let inside = fault.field.split_once(']').map_or("", |(_, inside)| inside.trim_start_matches('.'));
            let inside = if inside.is_empty() { "the entry" } else { inside };
            self.blame(id, source, entry, format!("{inside} ({})", fault.reason));
            blamed = true;
        }
        // Nothing in the list, or an entry of somebody else's: leaving out one of the operator's would not help.
        let elsewhere = |fault: &Fault| !fault.field.is_empty() && !LIST.starts_with(fault.field.as_str());
        if blamed || !faults.is_empty() && faults.iter().all(elsewhere) {
            return blamed;
        }
        match changed {
            [] => false,
            [only] => {
                let entry = sent(patch).find(|(source, _)| source == only).map(|(_, entry)| entry.clone());
                let Some(entry) = entry else { return false };
                self.blame(id, only.clone(), &entry, "a rule of the cluster forbids it".to_owned());
                true
            }
            _ => self.one_by_one.insert(id.clone()),
        }
    }

    fn blame(&mut self, id: &PrometheusId, source: String, entry: &Json, why: String) {
        self.entries.insert((id.clone(), source), Reply { sent: unnamed(entry), outcome: Outcome::Refused(why) });
    }

    /// Every refusal is forgotten: definitions and rules of a cluster change.
    pub fn forget_refusals(&mut self) {
        self.entries.retain(|_, reply| matches!(reply.outcome, Outcome::Stored(_)));
    }

    /// Forgets what has to do with objects and sources that are gone, and objects that need no more care.
    pub fn retain(&mut self, is_there: impl Fn(&PrometheusId, &str) -> bool, careful: impl Fn(&PrometheusId) -> bool) {
        self.entries.retain(|(id, source), _| is_there(id, source));
        self.one_by_one.retain(careful);
    }

    /// Why an entry is not taken.
    pub(crate) fn refusal(&self, id: &PrometheusId, source: &str, entry: &Json) -> Option<&str> {
        match self.of(id, source, entry)? {
            Outcome::Refused(why) => Some(why),
            Outcome::Stored(_) => None,
        }
    }

    /// What is stored when the entry is sent, but for its name.
    pub(crate) fn stored(&self, id: &PrometheusId, source: &str, entry: &Json) -> Option<&Json> {
        match self.of(id, source, entry)? {
            Outcome::Stored(there) => Some(there),
            Outcome::Refused(_) => None,
        }
    }

    fn of(&self, id: &PrometheusId, source: &str, entry: &Json) -> Option<&Outcome> {
        if self.entries.is_empty() {
            return None;
        }
        let reply = self.entries.get(&(id.clone(), source.to_owned()))?;
        (reply.sent == unnamed(entry)).then_some(&reply.outcome)
    }

    /// Whether one entry at a time may change.
    pub(crate) fn is_one_by_one(&self, id: &PrometheusId) -> bool {
        self.one_by_one.contains(id)
    }
}

/// An entry without its name, which says nothing of what it does.
pub(crate) fn unnamed(entry: &Json) -> Json {
    let mut entry = entry.clone();
    if let Some(fields) = entry.as_object_mut() {
        fields.remove("name");
    }
    entry
}

fn entries(object: &Json) -> impl Iterator<Item = &Json> {
    object["spec"]["remoteWrite"].as_array().into_iter().flatten()
}

fn sent(patch: &Json) -> impl Iterator<Item = (String, &Json)> {
    sent_with_index(patch).map(|(_, sent)| sent)
}

/// The operator's entries of a patch with their sources, as its record has them.
fn sent_with_index(patch: &Json) -> impl Iterator<Item = (usize, (String, &Json))> {
    let sources: BTreeMap<String, String> =
        record(&patch["metadata"]["annotations"][RECORD]).into_iter().map(|(source, at)| (at.name, source)).collect();
    let mut seen = BTreeSet::new();
    entries(patch).enumerate().filter_map(move |(index, entry)| {
        let name = entry["name"].as_str()?;
        // A second one of the name is not the operator's.
        let source = sources.get(name).filter(|_| seen.insert(name.to_owned()))?;
        Some((index, (source.clone(), entry)))
    })
}

/// Of `spec.remoteWrite[3].url`: 3.
fn index(field: &str) -> Option<usize> {
    field.strip_prefix(LIST)?.strip_prefix('[')?.split_once(']')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::observed::{Key, PrometheusKind};

    fn id() -> PrometheusId {
        PrometheusId { kind: PrometheusKind::Prometheus, key: Key::new("p", "p") }
    }

    fn patch() -> Json {
        let record = json!({"a": {"source": "remotewrite/n/a"}, "b": {"source": "remotewrite/n/b"}});
        let list = json!([{"name": "theirs", "url": "t"}, {"name": "a", "url": "a"}, {"name": "b", "url": "b"}, {"name": "a", "url": "x"}]);
        json!({"metadata": {"annotations": {RECORD: record.to_string()}}, "spec": {"remoteWrite": list}})
    }

    /// Who is blamed for a refusal with these fields, and whether the next plan is another one.
    fn blamed(changed: &[&str], fields: &[&str]) -> (Vec<String>, bool, bool) {
        let mut replies = Replies::default();
        let changed: Vec<String> = changed.iter().map(|name| format!("remotewrite/n/{name}")).collect();
        let fault = |field: &&str| Fault { field: (*field).to_owned(), reason: "FieldValueInvalid".to_owned() };
        let faults: Vec<Fault> = fields.iter().map(fault).collect();
        let changes = replies.refused(&id(), &patch(), &changed, &faults);
        let names = replies.entries.keys().map(|(_, source)| source[14..].to_owned()).collect();
        (names, replies.is_one_by_one(&id()), changes)
    }

    #[test]
    fn whoever_is_named_is_left_out_and_an_entry_of_somebody_else_is_nobodys_fault() {
        for (changed, fields, expected, one_by_one, changes) in [
            (&["a", "b"][..], &["spec.remoteWrite[2].url"][..], &["b"][..], false, true),
            (&["a", "b"], &["spec.remoteWrite[1]", "spec.remoteWrite[2].x", ""], &["a", "b"], false, true),
            // Of others: their entry, a second one of the name, the rest of the object, one that is as it was.
            (&["a", "b"], &["spec.remoteWrite[0].url"], &[], false, false),
            (&["a", "b"], &["spec.remoteWrite[3].url"], &[], false, false),
            (&["a", "b"], &["spec.replicas"], &[], false, false),
            (&["a"], &["spec.remoteWrite[2].url"], &[], false, false),
            // Without a word of which: one at a time, and then it is the one.
            (&["a", "b"], &[], &[], true, true),
            (&["a", "b"], &[""], &[], true, true),
            (&["a", "b"], &["spec"], &[], true, true),
            (&["a", "b"], &["spec.remoteWrite"], &[], true, true),
            (&["b"], &[""], &["b"], false, true),
            (&[], &[""], &[], false, false),
        ] {
            let expected: Vec<String> = expected.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(blamed(changed, fields), (expected, one_by_one, changes), "{changed:?} {fields:?}");
        }
    }

    #[test]
    fn a_refusal_holds_for_what_was_sent_and_ends_when_it_is_reconsidered() {
        let mut replies = Replies::default();
        let fault = Fault { field: "spec.remoteWrite[1].queueConfig.capacity".to_owned(), reason: "Bad".to_owned() };
        assert!(replies.refused(&id(), &patch(), &["remotewrite/n/a".to_owned()], &[fault]));
        let of = |replies: &Replies, url: &str| {
            replies.refusal(&id(), "remotewrite/n/a", &json!({"name": "other", "url": url})).map(str::to_owned)
        };
        assert_eq!(of(&replies, "a").as_deref(), Some("queueConfig.capacity (Bad)"));
        assert_eq!(of(&replies, "mended"), None);
        replies.forget_refusals();
        assert_eq!(of(&replies, "a"), None);
    }
}

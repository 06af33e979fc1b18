//! A cluster of maps, which takes changes as an API server would.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value as Json, json};
use targets::{
    Applier, Change, Contents, Copied, Data, EnvironmentProxy, Key, Known, Namespace, Plan, PrometheusId,
    PrometheusKind, ReferenceKind, Report, Settings, SourceKey, World, plan, words,
};

pub(crate) const NOW: &str = "2026-11-27T00:00:00Z";

pub(crate) struct Cluster {
    pub(crate) world: World,
    pub(crate) settings: Settings,
    sources: BTreeMap<SourceKey, Json>,
    version: u64,
    pub(crate) writes: Vec<String>,
    pub(crate) notes: Vec<String>,
    pub(crate) reports: Vec<Report>,
    pub(crate) file: Option<targets::file::Rendered>,
    /// An object that cannot be written.
    pub(crate) refuses: Option<String>,
}

pub(crate) fn settings(config: &str, applier: Applier) -> Settings {
    Settings {
        config: writegate_config::parse_operator(config, Path::new("operator.yml")).unwrap(),
        applier,
        proxy: EnvironmentProxy::default(),
        secrets_dir: "/run/secrets".to_owned(),
        leads: true,
    }
}

impl Cluster {
    pub(crate) fn new(config: &str) -> Self {
        Self::with(settings(config, Applier::Prometheus))
    }

    pub(crate) fn with(settings: Settings) -> Self {
        Self {
            world: World::default(),
            settings,
            sources: BTreeMap::new(),
            version: 0,
            writes: Vec::new(),
            notes: Vec::new(),
            reports: Vec::new(),
            file: None,
            refuses: None,
        }
    }

    fn next(&mut self) -> String {
        self.version += 1;
        self.version.to_string()
    }

    pub(crate) fn namespace(&mut self, name: &str, annotations: &[(&str, &str)]) {
        let mut namespace = self.world.namespaces.get(name).cloned().unwrap_or_default();
        let status = namespace.annotations.get(words::STATUS).cloned();
        namespace.annotations = pairs(annotations);
        namespace.annotations.extend(status.map(|status| (words::STATUS.to_owned(), status)));
        namespace.labels = pairs(&[("kubernetes.io/metadata.name", name)]);
        self.world.namespaces.insert(name.to_owned(), namespace);
    }

    pub(crate) fn secret(&mut self, key: &str, annotations: &[(&str, &str)], data: &[(&str, &str)]) {
        self.source(ReferenceKind::Secret, key, annotations, data);
    }

    pub(crate) fn source(
        &mut self,
        kind: ReferenceKind,
        at: &str,
        annotations: &[(&str, &str)],
        data: &[(&str, &str)],
    ) {
        let key = key(at);
        let field = if kind == ReferenceKind::Secret { "stringData" } else { "data" };
        let object = json!({
            "metadata": {"namespace": key.namespace, "name": key.name, "resourceVersion": self.next(), "annotations": pairs(annotations)},
            field: pairs(data),
        });
        let source = SourceKey { kind, key };
        self.world.known.insert(source.clone(), Known::of(&object));
        self.sources.insert(source, object);
    }

    /// A Secret as the old operator made it.
    pub(crate) fn labelled_secret(&mut self, at: &str, labels: &[(&str, &str)]) {
        self.secret(at, &[], &[("old", "x")]);
        let source = SourceKey::secret(key(at));
        let object = self.sources.get_mut(&source).unwrap();
        object["metadata"]["labels"] = json!(pairs(labels));
        object["stringData"] = Json::Null;
        object["data"] = json!({"old": "eA=="});
        self.world.known.insert(source, Known::of(object));
    }

    pub(crate) fn remove_secret(&mut self, at: &str) {
        let source = SourceKey::secret(key(at));
        self.world.known.remove(&source);
        self.sources.remove(&source);
    }

    pub(crate) fn prometheus(&mut self, at: &str, labels: &[(&str, &str)], entries: Json) {
        let key = key(at);
        let object = json!({
            "metadata": {"namespace": key.namespace, "name": key.name, "resourceVersion": self.next(), "labels": pairs(labels)},
            "spec": {"remoteWrite": entries, "evaluationInterval": "17s"},
        });
        self.world.prometheuses.insert(PrometheusId { kind: PrometheusKind::Prometheus, key }, object);
    }

    pub(crate) fn remote_write(&mut self, at: &str, spec: Json) {
        let key = key(at);
        let old = self.world.remote_writes.get(&key).cloned().unwrap_or_default();
        let version = self.next();
        let mut object = json!({
            "metadata": {
                "namespace": key.namespace,
                "name": key.name,
                "generation": 1,
                "creationTimestamp": format!("2026-01-01T00:00:{version:0>2}Z"),
                "resourceVersion": version,
            },
            "spec": spec,
        });
        if !old.is_null() {
            object["metadata"]["finalizers"] = old["metadata"]["finalizers"].clone();
            object["metadata"]["creationTimestamp"] = old["metadata"]["creationTimestamp"].clone();
            object["metadata"]["generation"] = json!(old["metadata"]["generation"].as_u64().unwrap() + 1);
            object["status"] = old["status"].clone();
        }
        self.world.remote_writes.insert(key, object);
    }

    pub(crate) fn edit_remote_write(&mut self, at: &str, edit: impl FnOnce(&mut Json)) {
        edit(self.world.remote_writes.get_mut(&key(at)).unwrap());
        self.sweep();
    }

    /// Deletes as an API server does: at once, or when the last finalizer goes.
    pub(crate) fn delete_remote_write(&mut self, at: &str) {
        self.edit_remote_write(at, |object| object["metadata"]["deletionTimestamp"] = json!(NOW));
    }

    fn sweep(&mut self) {
        self.world.remote_writes.retain(|_, object| {
            let held = object["metadata"]["finalizers"].as_array().is_some_and(|list| !list.is_empty());
            held || object["metadata"]["deletionTimestamp"].is_null()
        });
    }

    /// Plans and carries out until there is nothing to do; then everything that was said of the targets.
    pub(crate) fn settle(&mut self) -> Vec<String> {
        self.writes.clear();
        self.notes.clear();
        for _ in 0..20 {
            if !self.step() {
                let said =
                    |report: &Report| format!("{} {}: {}", report.source, report.reason.as_str(), report.message);
                return self.reports.iter().map(said).collect();
            }
        }
        panic!("it does not come to rest: {:?}", self.writes);
    }

    /// One plan, carried out; false if there was nothing to do.
    pub(crate) fn step(&mut self) -> bool {
        let previous = self.file.as_ref().map(|file| targets::file::previous(&file.text)).unwrap_or_default();
        let Plan { needs, changes, reports, file } = plan(&self.world, &self.settings, NOW, &previous);
        self.reports = reports;
        let idle = needs.is_empty() && changes.is_empty() && file == self.file;
        self.file = file;
        for source in needs {
            let object = &self.sources[&source];
            let contents = Contents {
                resource_version: object["metadata"]["resourceVersion"].as_str().unwrap().to_owned(),
                data: Data::of(object, source.kind),
            };
            self.world.contents.insert(source, contents);
        }
        for change in changes {
            self.writes.push(change.object());
            if self.refuses.as_ref() != Some(&change.object()) {
                self.make(change);
            }
        }
        !idle
    }

    fn make(&mut self, change: Change) {
        let version = self.next();
        match change {
            Change::CreateSecret(key, mut body) => {
                assert!(!self.world.known.contains_key(&SourceKey::secret(key.clone())), "{key} exists");
                body["metadata"]["resourceVersion"] = json!(version);
                self.store(key, body);
            }
            Change::PatchSecret(key, patch) => {
                let mut secret = self.sources[&SourceKey::secret(key.clone())].clone();
                assert_eq!(secret["metadata"]["resourceVersion"], patch["metadata"]["resourceVersion"]);
                merge(&mut secret, &patch);
                secret["metadata"]["resourceVersion"] = json!(version);
                self.store(key, secret);
            }
            Change::DeleteSecret(key, seen) => {
                assert_eq!(self.world.known[&SourceKey::secret(key.clone())].resource_version, seen);
                self.world.copies.remove(&key);
                self.remove_secret(&key.to_string());
            }
            Change::PatchPrometheus(id, patch, _) => {
                let object = self.world.prometheuses.get_mut(&id).unwrap();
                assert_eq!(object["metadata"]["resourceVersion"], patch["metadata"]["resourceVersion"]);
                merge(object, &patch);
                object["metadata"]["resourceVersion"] = json!(version);
            }
            Change::CreatePrometheus(id, mut body) => {
                body["metadata"]["resourceVersion"] = json!(version);
                self.world.prometheuses.insert(id, body);
            }
            Change::DeletePrometheus(id, _) => drop(self.world.prometheuses.remove(&id)),
            Change::PatchRemoteWrite(key, patch) => {
                merge(self.world.remote_writes.get_mut(&key).unwrap(), &patch);
                self.sweep();
            }
            Change::PatchStatus(key, patch, note) => {
                merge(self.world.remote_writes.get_mut(&key).unwrap(), &patch);
                self.notes.push(format!("{} {}", note.reason, note.message));
            }
            Change::PatchNamespace(name, patch, note) => {
                let namespace = self.world.namespaces.get_mut(&name).unwrap();
                match patch["metadata"]["annotations"][words::STATUS].as_str() {
                    Some(status) => drop(namespace.annotations.insert(words::STATUS.to_owned(), status.to_owned())),
                    None => drop(namespace.annotations.remove(words::STATUS)),
                }
                self.notes.extend(note.map(|note| format!("{} {}", note.reason, note.message)));
            }
        }
    }

    fn store(&mut self, key: Key, secret: Json) {
        let source = SourceKey::secret(key.clone());
        self.world.known.insert(source.clone(), Known::of(&secret));
        self.world.copies.insert(key, Copied::of(&secret));
        self.sources.insert(source, secret);
    }

    pub(crate) fn entries(&self, at: &str) -> Json {
        self.object(at)["spec"]["remoteWrite"].clone()
    }

    pub(crate) fn object(&self, at: &str) -> &Json {
        &self.world.prometheuses[&PrometheusId { kind: PrometheusKind::Prometheus, key: key(at) }]
    }

    pub(crate) fn edit_prometheus(&mut self, at: &str, edit: impl FnOnce(&mut Json)) {
        let version = self.next();
        let object =
            self.world.prometheuses.get_mut(&PrometheusId { kind: PrometheusKind::Prometheus, key: key(at) }).unwrap();
        edit(object);
        object["metadata"]["resourceVersion"] = json!(version);
    }

    /// The names of the Secrets that were made, with their values.
    pub(crate) fn copies(&self) -> Vec<String> {
        let data = |copied: &Copied| {
            let values: Vec<String> =
                copied.data.0.iter().map(|(key, value)| format!("{key}={}", String::from_utf8_lossy(value))).collect();
            values.join(",")
        };
        self.world.copies.iter().map(|(key, copied)| format!("{key} {}", data(copied))).collect()
    }

    pub(crate) fn status(&self, namespace: &str) -> Json {
        let status = self.world.namespaces[namespace].annotations.get(words::STATUS);
        status.map_or(Json::Null, |status| serde_json::from_str(status).unwrap())
    }

    pub(crate) fn remote_write_status(&self, at: &str) -> Json {
        self.world.remote_writes[&key(at)]["status"].clone()
    }

    pub(crate) fn terminate(&mut self, namespace: &str) {
        self.world
            .namespaces
            .entry(namespace.to_owned())
            .and_modify(|namespace: &mut Namespace| namespace.terminating = true);
    }
}

pub(crate) fn key(at: &str) -> Key {
    let (namespace, name) = at.split_once('/').unwrap();
    Key::new(namespace, name)
}

fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// RFC 7396.
pub(crate) fn merge(target: &mut Json, patch: &Json) {
    let Json::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let target = target.as_object_mut().unwrap();
    for (key, value) in patch {
        match value {
            Json::Null => drop(target.remove(key)),
            value => merge(target.entry(key).or_insert(Json::Null), value),
        }
    }
}

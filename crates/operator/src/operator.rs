//! The loop: what watches tell is kept in a world, a plan is made of it, and the plan is carried out, until there is nothing to
//! do. One task owns the world; what it writes it takes in at once, so that a watch that lags makes it write nothing twice.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde_json::Value as Json;
use targets::declare::Settings;
use targets::file::Previous;
use targets::{
    Applier, Change, Contents, Copied, Data, Key, Known, Namespace, Plan, PrometheusId, PrometheusKind, ReferenceKind,
    Report, SourceKey, World, plan, words,
};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::api::{Address, Api, Refused};
use crate::files;
use crate::lease::Term;
use crate::metrics::Shown;
use crate::watch::{Kind, Message, Seen};
use crate::write::{Made, make};

/// How long changes that come together are waited for.
const GATHER: Duration = Duration::from_millis(50);

/// Requests in flight at once, and changes that are made before the next look around.
const IN_FLIGHT: usize = 16;
const AT_ONCE: usize = 2_000;

/// The pauses before an object that could not be changed is tried again: doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LAST_PAUSE: Duration = Duration::from_secs(30);

/// How long after a refusal of entries they are tried again: definitions and rules change, and nobody tells.
const RECONSIDER: Duration = Duration::from_secs(300);

/// Conflicts are no failure until they come again and again.
const CONFLICTS_UNTOLD: u32 = 5;

/// An object that could not be read or changed.
#[derive(Debug)]
struct Failure {
    times: u32,
    until: Instant,
    /// Whether everything was looked at again since: it wakes nobody a second time.
    woke: bool,
}

#[derive(Debug)]
pub(crate) struct Operator {
    api: Api,
    settings: Settings,
    world: World,
    shown: Arc<Shown>,
    /// The kinds that are watched, and whether all that is there is known.
    synced: BTreeMap<Kind, bool>,
    /// The versions of objects that were written here and have not come back by a watch.
    written: HashMap<(Kind, Key), u64>,
    failures: HashMap<String, Failure>,
    /// When entries that the API server refused are tried again.
    reconsider: Option<Instant>,
    /// The file's entries as they are.
    previous: BTreeMap<String, Previous>,
    file: Option<targets::file::Rendered>,
    /// Whether something happened that may change the plan.
    stirred: bool,
}

impl Operator {
    pub(crate) fn new(api: Api, settings: Settings, shown: Arc<Shown>) -> Self {
        let synced = kinds(&settings).into_iter().map(|kind| (kind, false)).collect();
        Self {
            api,
            settings,
            world: World::default(),
            shown,
            synced,
            written: HashMap::new(),
            failures: HashMap::new(),
            reconsider: None,
            previous: BTreeMap::new(),
            file: None,
            stirred: true,
        }
    }

    /// Works until `stop`. What is in flight then is waited for.
    pub(crate) async fn run(
        mut self,
        mut messages: mpsc::Receiver<Message>,
        mut term: Option<Term>,
        stop: CancellationToken,
    ) {
        if self.settings.applier == Applier::File {
            self.previous = files::previous(&self.settings.config.file.path);
        }
        loop {
            let asleep = self.failures.values().filter(|failure| !failure.woke).map(|failure| failure.until);
            let retry = asleep.chain(self.reconsider).min();
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                message = messages.recv() => match message {
                    Some(message) => self.take(message),
                    None => return,
                },
                () = changed(term.as_mut()) => self.stirred = true,
                () = sleep_until(retry.unwrap_or_else(Instant::now)), if retry.is_some() => self.stirred = true,
            }
            let until = Instant::now() + GATHER;
            while let Ok(Some(message)) = timeout_at(until, messages.recv()).await {
                self.take(message);
            }
            let unsynced: Vec<&str> =
                self.synced.iter().filter(|(_, synced)| !**synced).map(|(kind, _)| kind.as_str()).collect();
            self.shown.waiting_for(&unsynced);
            if !unsynced.is_empty() {
                continue;
            }
            while !stop.is_cancelled() && std::mem::take(&mut self.stirred) {
                self.stirred = self.work(term.as_ref(), &stop).await;
                while let Ok(message) = messages.try_recv() {
                    self.take(message);
                }
            }
        }
    }

    /// One plan, carried out as far as it goes; false if there was nothing to do, or nothing that may be tried now.
    async fn work(&mut self, term: Option<&Term>, stop: &CancellationToken) -> bool {
        self.settings.leads = leads(term);
        let began = Instant::now();
        if self.reconsider.is_some_and(|time| time <= began) {
            self.world.replies.forget_refusals();
            self.reconsider = None;
        }
        let Plan { needs, changes, reports, file } = self.plan();
        let now = Instant::now();
        self.keep_replies(&changes, &reports);
        self.shown.planned(reports, now - began, self.settings.leads);
        let due = |failures: &HashMap<String, Failure>, object: &str| {
            failures.get(object).is_none_or(|failure| failure.until <= now)
        };
        let needs: Vec<SourceKey> =
            needs.into_iter().filter(|source| due(&self.failures, &source.to_string())).collect();
        // The second change of an object would be one of a version that is no more.
        let mut objects: HashSet<String> = HashSet::new();
        let mut first = |change: &Change| due(&self.failures, &change.object()) && objects.insert(change.object());
        let changes: Vec<Change> = changes.into_iter().filter(|change| first(change)).take(AT_ONCE).collect();
        self.forget_failures(now);
        let idle = needs.is_empty() && changes.is_empty();
        if !needs.is_empty() {
            self.read(needs).await;
        } else if let Some(rendered) = file
            && self.file.as_ref() != Some(&rendered)
        {
            self.write_file(rendered);
        }
        self.write(changes, term, stop).await;
        !idle
    }

    /// Replies of what is gone are forgotten.
    fn keep_replies(&mut self, changes: &[Change], reports: &[Report]) {
        let World { prometheuses, replies, .. } = &mut self.world;
        let changing = |wanted: &PrometheusId| {
            changes.iter().any(|change| matches!(change, Change::PatchPrometheus(id, ..) if id == wanted))
        };
        let sources: HashSet<String> = reports.iter().map(|report| report.source.to_string()).collect();
        replies.retain(|id, source| prometheuses.contains_key(id) && sources.contains(source), changing);
    }

    fn plan(&self) -> Plan {
        let now = format!("{:.0}", Timestamp::now());
        // It may take a while where there is much: other tasks go on meanwhile.
        tokio::task::block_in_place(|| plan(&self.world, &self.settings, &now, &self.previous))
    }

    /// Reads and plans until everything is known, and changes nothing.
    pub(crate) async fn look(&mut self) -> (Plan, &World) {
        loop {
            let plan = self.plan();
            let fresh = plan.needs.iter().filter(|source| !self.failures.contains_key(&source.to_string()));
            let needs: Vec<SourceKey> = fresh.cloned().collect();
            if needs.is_empty() {
                return (plan, &self.world);
            }
            self.read(needs).await;
        }
    }

    pub(crate) fn is_synced(&self) -> bool {
        self.synced.values().all(|synced| *synced)
    }

    async fn read(&mut self, needs: Vec<SourceKey>) {
        let mut reading: JoinSet<(SourceKey, Result<Json, Refused>)> = JoinSet::new();
        let mut needs = needs.into_iter();
        loop {
            while reading.len() < IN_FLIGHT
                && let Some(source) = needs.next()
            {
                let api = self.api.clone();
                reading.spawn(async move {
                    let read = api.get(&Address::source(&source)).await;
                    (source, read)
                });
            }
            let Some(done) = reading.join_next().await else { return };
            let Ok((source, read)) = done else { continue };
            match read {
                Ok(object) => {
                    self.failures.remove(&source.to_string());
                    let contents =
                        Contents { resource_version: version(&object), data: Data::of(&object, source.kind) };
                    // What was read may be newer than what a watch has told.
                    self.world.known.insert(source.clone(), Known::of(&object));
                    self.world.contents.insert(source, contents);
                }
                Err(error) if error.is_missing() => {
                    self.world.known.remove(&source);
                    self.world.contents.remove(&source);
                }
                Err(error) => self.fail(source.to_string(), "read", &error),
            }
        }
    }

    async fn write(&mut self, changes: Vec<Change>, term: Option<&Term>, stop: &CancellationToken) {
        let mut writing: JoinSet<Made> = JoinSet::new();
        let mut changes = changes.into_iter();
        loop {
            // The lease may be lost in the middle.
            while writing.len() < IN_FLIGHT
                && leads(term)
                && !stop.is_cancelled()
                && let Some(change) = changes.next()
            {
                let uid = self.uid(&change);
                writing.spawn(make(self.api.clone(), change, uid));
            }
            let Some(done) = writing.join_next().await else { return };
            let Ok(Made { change, verb, seen, answer }) = done else { continue };
            let object = change.object();
            let kind = object.split(' ').next().unwrap_or_default().to_owned();
            self.shown.wrote(&kind, verb, answer.as_ref().err());
            for (kind, seen) in seen {
                self.take_written(kind, seen);
            }
            match self.reply(&change, answer) {
                Ok(()) => {
                    if self.failures.remove(&object).is_some() {
                        self.world.failures.remove(&object);
                        tracing::info!(object, "changed at last");
                    }
                }
                Err(error) => self.fail(object, verb, &error),
            }
        }
    }

    /// What an answer says of the entries that were sent, and whether the change has to be tried again as it is.
    fn reply(&mut self, change: &Change, answer: Result<Json, Refused>) -> Result<(), Refused> {
        let replies = &mut self.world.replies;
        match (change, answer) {
            (Change::PatchPrometheus(id, patch, changed), Ok(object)) => {
                let filled = replies.taken(id, patch, changed, &object);
                if filled { Ok(()) } else { had_effect(patch, &object) }
            }
            (
                Change::PatchSecret(_, patch) | Change::PatchRemoteWrite(_, patch) | Change::PatchStatus(_, patch, _),
                Ok(object),
            ) => had_effect(patch, &object),
            (Change::PatchPrometheus(id, patch, changed), Err(refused)) if refused.is_judged => {
                if !replies.refused(id, patch, changed, &refused.faults) {
                    return Err(refused);
                }
                tracing::info!(object = change.object(), error = %refused, "its list is not taken whole; the rest is tried");
                self.reconsider.get_or_insert_with(|| Instant::now() + RECONSIDER);
                Ok(())
            }
            (_, answer) => answer.map(|_| ()),
        }
    }

    fn fail(&mut self, object: String, verb: &str, error: &Refused) {
        let now = Instant::now();
        let failure = self.failures.entry(object.clone()).or_insert(Failure { times: 0, until: now, woke: false });
        failure.times += 1;
        failure.woke = false;
        let quiet = error.is_conflict() && failure.times <= CONFLICTS_UNTOLD;
        let pause = if quiet {
            // What is there was read again: the next attempt will do.
            Duration::from_millis(10)
        } else {
            LAST_PAUSE.min(FIRST_PAUSE * 2_u32.saturating_pow(failure.times.min(16) - 1))
        };
        failure.until = now + pause.mul_f64(0.5 + fastrand::f64() / 2.0);
        if !quiet {
            if failure.times.is_power_of_two() {
                tracing::warn!(object, verb, times = failure.times, %error, "could not be done, which is tried again");
            }
            self.world.failures.insert(object, error.to_string());
        }
    }

    /// What is due is tried again or is wanted no more; long after that it is forgotten.
    fn forget_failures(&mut self, now: Instant) {
        let world = &mut self.world;
        self.failures.retain(|object, failure| {
            let keep = failure.until + LAST_PAUSE > now;
            if !keep {
                world.failures.remove(object);
            }
            keep
        });
        for failure in self.failures.values_mut() {
            failure.woke |= failure.until <= now;
        }
    }

    fn write_file(&mut self, rendered: targets::file::Rendered) {
        let path = &self.settings.config.file.path;
        match files::write(path, self.settings.secrets_dir.as_ref(), &rendered, &self.previous) {
            Ok(()) => {
                tracing::info!(file = %path.display(), secrets = rendered.secrets.len(), "written");
                self.failures.remove(files::OBJECT);
                self.previous = targets::file::previous(&rendered.text);
                self.file = Some(rendered);
                self.shown.file_written();
            }
            Err(error) => {
                tracing::warn!(%error, "the file for the gateway could not be written, which is tried again");
                let until = Instant::now() + FIRST_PAUSE * 10;
                self.failures.insert(files::OBJECT.to_owned(), Failure { times: 1, until, woke: false });
            }
        }
    }

    fn uid(&self, change: &Change) -> String {
        match change {
            Change::PatchStatus(key, ..) => {
                let object = self.world.remote_writes.get(key).unwrap_or(&Json::Null);
                object["metadata"]["uid"].as_str().unwrap_or_default().to_owned()
            }
            Change::PatchNamespace(name, ..) => {
                self.world.namespaces.get(name).map(|namespace| namespace.uid.clone()).unwrap_or_default()
            }
            _ => String::new(),
        }
    }

    /// What an answer to a write says.
    fn take_written(&mut self, kind: Kind, seen: Seen) {
        if let Seen::One(object) = &seen
            && let Ok(version) = version(object).parse()
        {
            self.written.insert((kind, Key::of(object)), version);
        }
        self.place(kind, seen);
    }

    /// What a watch says, unless a write knows better.
    pub(crate) fn take(&mut self, (kind, seen): Message) {
        self.stirred |= self.matters(kind, &seen);
        match seen {
            Seen::All(objects) => {
                let keep = |object: &Json| {
                    self.written.get(&(kind, Key::of(object))).is_some_and(|written| is_older(object, *written))
                };
                let newer: Vec<Key> = objects.iter().filter(|object| keep(object)).map(Key::of).collect();
                let kept = (!newer.is_empty()).then(|| self.world.clone());
                self.clear(kind);
                self.world.unknown.remove(kind.as_str());
                for object in objects {
                    self.place(kind, Seen::One(object));
                }
                if let Some(kept) = kept {
                    self.restore(kind, &kept, &newer);
                }
                if self.synced.insert(kind, true) == Some(false) {
                    tracing::debug!(kind = kind.as_str(), "synced");
                }
            }
            Seen::One(object) => {
                let place = (kind, Key::of(&object));
                if let Some(written) = self.written.get(&place) {
                    if is_older(&object, *written) {
                        return;
                    }
                    self.written.remove(&place);
                }
                self.place(kind, Seen::One(object));
            }
            Seen::Gone(object) => {
                self.written.remove(&(kind, Key::of(&object)));
                self.place(kind, Seen::Gone(object));
            }
            Seen::Unknown => {
                self.world.unknown.insert(kind.as_str());
                self.synced.insert(kind, true);
            }
            Seen::Failed(error) => {
                if self.shown.watch_failed(kind.as_str()) {
                    tracing::warn!(
                        kind = kind.as_str(),
                        error,
                        "cannot watch, which is tried again; `writegate-operator rbac` prints the roles it needs"
                    );
                }
            }
        }
    }

    /// Most Secrets and ConfigMaps are nobody's target: that one of them was written again is no reason to compare everything.
    fn matters(&self, kind: Kind, seen: &Seen) -> bool {
        match (kind, seen) {
            (_, Seen::Failed(_)) => false,
            (Kind::Sources(which), Seen::One(object)) => {
                let source = SourceKey { kind: which, key: Key::of(object) };
                let mut known = Known::of(object);
                let Some(old) = self.world.known.get(&source) else { return true };
                known.resource_version.clone_from(&old.resource_version);
                self.world.contents.contains_key(&source) || known != *old
            }
            _ => true,
        }
    }

    fn clear(&mut self, kind: Kind) {
        match kind {
            Kind::Namespaces => self.world.namespaces.clear(),
            Kind::Sources(which) => self.world.known.retain(|source, _| source.kind != which),
            Kind::Copies => self.world.copies.clear(),
            Kind::RemoteWrites => self.world.remote_writes.clear(),
            Kind::Prometheuses(which) => self.world.prometheuses.retain(|id, _| id.kind != which),
        }
    }

    /// Puts back what was written after a list was made.
    fn restore(&mut self, kind: Kind, kept: &World, newer: &[Key]) {
        for key in newer {
            match kind {
                Kind::Namespaces => copy(&kept.namespaces, &mut self.world.namespaces, &key.name),
                Kind::Sources(which) => {
                    copy(&kept.known, &mut self.world.known, &SourceKey { kind: which, key: key.clone() });
                }
                Kind::Copies => copy(&kept.copies, &mut self.world.copies, key),
                Kind::RemoteWrites => copy(&kept.remote_writes, &mut self.world.remote_writes, key),
                Kind::Prometheuses(which) => {
                    copy(
                        &kept.prometheuses,
                        &mut self.world.prometheuses,
                        &PrometheusId { kind: which, key: key.clone() },
                    );
                }
            }
        }
    }

    fn place(&mut self, kind: Kind, seen: Seen) {
        let world = &mut self.world;
        match (kind, seen) {
            (Kind::Namespaces, Seen::One(object)) => {
                drop(world.namespaces.insert(Key::of(&object).name, Namespace::of(&object)));
            }
            (Kind::Namespaces, Seen::Gone(object)) => drop(world.namespaces.remove(&Key::of(&object).name)),
            (Kind::Sources(which), Seen::One(object)) => {
                let source = SourceKey { kind: which, key: Key::of(&object) };
                world.known.insert(source, Known::of(&object));
            }
            (Kind::Sources(which), Seen::Gone(object)) => {
                let source = SourceKey { kind: which, key: Key::of(&object) };
                world.known.remove(&source);
                world.contents.remove(&source);
            }
            // Without the label it is nobody's copy any more.
            (Kind::Copies, Seen::One(object)) if object["metadata"]["labels"][words::MANAGED_BY] == words::OPERATOR => {
                world.copies.insert(Key::of(&object), Copied::of(&object));
            }
            (Kind::Copies, Seen::One(object) | Seen::Gone(object)) => drop(world.copies.remove(&Key::of(&object))),
            (Kind::RemoteWrites, Seen::One(object)) => drop(world.remote_writes.insert(Key::of(&object), object)),
            (Kind::RemoteWrites, Seen::Gone(object)) => drop(world.remote_writes.remove(&Key::of(&object))),
            (Kind::Prometheuses(which), Seen::One(object)) => {
                world.prometheuses.insert(PrometheusId { kind: which, key: Key::of(&object) }, object);
            }
            (Kind::Prometheuses(which), Seen::Gone(object)) => {
                world.prometheuses.remove(&PrometheusId { kind: which, key: Key::of(&object) });
            }
            (_, Seen::All(_) | Seen::Unknown | Seen::Failed(_)) => {}
        }
    }
}

/// What has to be watched.
pub(crate) fn kinds(settings: &Settings) -> Vec<Kind> {
    let mut kinds = vec![
        Kind::Namespaces,
        Kind::Sources(ReferenceKind::Secret),
        Kind::Sources(ReferenceKind::ConfigMap),
        Kind::RemoteWrites,
    ];
    if settings.applier == Applier::Prometheus {
        kinds.extend([Kind::Copies, Kind::Prometheuses(PrometheusKind::Prometheus)]);
        if settings.config.prometheus_agents {
            kinds.push(Kind::Prometheuses(PrometheusKind::Agent));
        }
    }
    kinds
}

/// What is sent again and again, and never arrives, is a failure.
fn had_effect(patch: &Json, object: &Json) -> Result<(), Refused> {
    let version = |object: &Json| object["metadata"]["resourceVersion"].clone();
    if version(patch).is_string() && version(patch) == version(object) {
        Err(Refused::without_effect())
    } else {
        Ok(())
    }
}

fn copy<K: Ord + Clone, V: Clone>(from: &BTreeMap<K, V>, to: &mut BTreeMap<K, V>, key: &K) {
    if let Some(value) = from.get(key) {
        to.insert(key.clone(), value.clone());
    }
}

fn leads(term: Option<&Term>) -> bool {
    term.is_none_or(|term| term.borrow().is_some_and(|until| until > Instant::now()))
}

/// Waits for a change of the leader.
async fn changed(term: Option<&mut Term>) {
    match term {
        // Nobody sends any more when the program ends.
        Some(term) => {
            if term.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
        None => std::future::pending().await,
    }
}

fn version(object: &Json) -> String {
    object["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned()
}

/// Versions are numbers that grow (Kubernetes 1.35 promises it); where they are none, whatever comes last counts.
fn is_older(object: &Json, written: u64) -> bool {
    version(object).parse::<u64>().is_ok_and(|version| version < written)
}

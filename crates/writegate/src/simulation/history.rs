//! Tells a history: one process of the gateway after the other, and what happens to them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use dead_letters::Filter;
use fastrand::Rng;
use segment_log::StoreOptions;
use segment_log::testing::SimulatedStorage;
use tokio::time::{Instant, sleep, sleep_until};
use writegate_config::Config;

use super::life::Life;
use super::plan::{End, EndpointPlan, Event, LifePlan, Plan};
use super::receiver::{Mood, Receiver};
use super::sender::{Memory, Sender};
use super::verdict::{Case, Evidence, Verdict};
use crate::delivery::{Patience, ReplayRequest};
use crate::engine::Ground;
use crate::ledger::Row;

/// A history that was told.
pub(super) struct Told {
    pub(super) story: Vec<String>,
    pub(super) verdict: Verdict,
    /// How often things happened.
    pub(super) tally: BTreeMap<&'static str, u64>,
}

/// When everything is well again, everything must be delivered in this time.
const RECOVERS_WITHIN: Duration = Duration::from_secs(2 * 3600);

/// What an endpoint breaks on may have to wait for ever, once nothing else comes that it takes.
const GIVES_UP_AFTER: Duration = Duration::from_secs(120);

struct History {
    plan: Plan,
    rng: Rng,
    time: SystemTime,
    log_disk: SimulatedStorage,
    letters_disk: dead_letters::testing::SimulatedStorage,
    receivers: Vec<Arc<Receiver>>,
    /// Of each tenant.
    memories: BTreeMap<String, Arc<Mutex<Memory>>>,
    senders: Vec<Arc<tokio::sync::Mutex<Sender>>>,
    /// Endpoints that are not in the configuration.
    away: Vec<usize>,
    /// How often each endpoint's settings have changed.
    reloads: Vec<u32>,
    story: Vec<String>,
    tally: BTreeMap<&'static str, u64>,
    has_decayed: bool,
}

/// Tells the history of a seed.
pub(super) fn tell(seed: u64) -> Told {
    // The gateway's own dice: backoff.
    fastrand::seed(seed);
    let mut rng = Rng::with_seed(seed);
    let mut plan = Plan::new(&mut rng);
    if seed % 4 == 3 {
        plan.drop_letters(&mut Rng::with_seed(!seed));
    }
    let told = format!("{plan:?}");
    let mut history = History::new(plan, rng);
    history.tell(told);
    for number in 0..history.plan.lives.len() {
        history.live(number);
    }
    history.end()
}

impl History {
    fn new(plan: Plan, mut rng: Rng) -> Self {
        let memories: BTreeMap<_, Arc<Mutex<Memory>>> =
            plan.tenants.iter().map(|tenant| (tenant.clone(), Arc::default())).collect();
        let mut sender = |habit: &super::sender::Habit| {
            let memory = memories.get(&habit.tenant).cloned().unwrap_or_default();
            Arc::new(tokio::sync::Mutex::new(Sender::new(habit.clone(), rng.u64(..), memory)))
        };
        let senders = plan.senders.iter().map(&mut sender).collect();
        let receiver = |it: &EndpointPlan| Receiver::new(it.name.clone(), it.character.clone(), rng.u64(..));
        let receivers = plan.endpoints.iter().map(receiver).map(Arc::new);
        Self {
            receivers: receivers.collect(),
            senders,
            memories,
            time: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
            log_disk: SimulatedStorage::new(),
            letters_disk: dead_letters::testing::SimulatedStorage::new(),
            away: Vec::new(),
            reloads: vec![0; plan.endpoints.len()],
            story: Vec::new(),
            tally: BTreeMap::new(),
            has_decayed: false,
            plan,
            rng,
        }
    }

    /// One process, from its start to its end.
    fn live(&mut self, number: usize) {
        let Some(plan) = self.plan.lives.get_mut(number) else { return };
        let (lasts, ends, events) = (plan.lasts, plan.ends, std::mem::take(&mut plan.events));
        let plan = LifePlan { lasts, events, drops_last: plan.drops_last, ends };
        let ((), time) = super::in_world(self.time, self.network(), async || {
            let Some(life) = self.begin().await else { return };
            let begun = Instant::now();
            self.senders_send(&life);
            for (at, event) in &plan.events {
                sleep_until(begun + *at).await;
                self.happens(&life, event).await;
            }
            sleep_until(begun + plan.lasts).await;
            match plan.ends {
                End::ShutDown => life.shut_down().await,
                End::Killed => {}
                End::PowerCut => {
                    self.log_disk.cut_power_after(self.rng.u64(0..20));
                    self.letters_disk.cut_power_after(self.rng.u64(0..20));
                    if let Some(endpoint) = plan.drops_last {
                        self.drop_letters(&life, endpoint).await;
                    }
                    sleep(Duration::from_millis(self.rng.u64(0..300))).await;
                }
            }
        });
        self.time = time;
        self.receivers.iter().for_each(|receiver| receiver.is_left());
        let what = match plan.ends {
            End::ShutDown => "shut down",
            End::Killed => "killed",
            End::PowerCut => {
                self.log_disk.power_cut(self.rng.u64(..));
                self.letters_disk.power_cut(self.rng.u64(..));
                "power cut"
            }
        };
        self.count(what);
        self.tell(format!("{what}; {}", self.state()));
    }

    /// The last process: all is well, and what was acknowledged must come to its end.
    fn end(mut self) -> Told {
        self.receivers.iter().for_each(|receiver| receiver.set_mood(Mood::Fine));
        self.free_disks();
        self.away.clear();
        let (evidence, _) = super::in_world(self.time, self.network(), async || {
            let life = self.begin().await?;
            let senders = self.senders_send(&life);
            sleep(Duration::from_millis(500)).await;
            life.door.end_sending();
            self.tell(format!("senders end; {}", self.state()));
            let (ended, mut is_refused) = (Instant::now(), false);
            for mut sender in senders {
                while tokio::time::timeout(Duration::from_secs(10), &mut sender).await.is_err() {
                    self.tell(format!("a sender is not done; {}", self.state()));
                    if ended.elapsed() > self.accepts_again_within() {
                        sender.abort();
                        is_refused = true;
                    }
                }
            }
            let ended = Instant::now();
            let mut pause = Duration::from_millis(100);
            while self.is_pending(&life, ended) && ended.elapsed() < RECOVERS_WITHIN {
                sleep(pause).await;
                let pending = |row: &Arc<Row>| format!("{}/{}: {:?}", row.tenant, row.endpoint, row.balance().pending);
                let pending: Vec<String> = life.engine.deliveries.rows().iter().map(pending).collect();
                self.tell(format!("pending {}; {}", pending.join(", "), self.state()));
                pause = (pause * 2).min(Duration::from_secs(60));
            }
            let evidence = Evidence::gather(&life.engine);
            life.shut_down().await;
            Some((evidence, is_refused))
        });
        self.tell(format!("the end; {}", self.state()));
        for receiver in &self.receivers {
            for (what, count) in receiver.tally() {
                *self.tally.entry(what).or_default() += count;
            }
        }
        for memory in self.memories.values() {
            for (what, count) in &memory.lock().unwrap().tally {
                *self.tally.entry(what).or_default() += count;
            }
        }
        let mut verdict = Verdict::default();
        match evidence {
            None => verdict.breaks("start: the gateway could not start on a disk that is well"),
            Some((evidence, is_refused)) => {
                if is_refused && !self.some_break() {
                    verdict.breaks("progress: a sender is refused for hours");
                }
                evidence.tally(&mut self.tally);
                for (endpoint, receiver) in self.plan.endpoints.iter().zip(&self.receivers) {
                    for (tenant, memory) in &self.memories {
                        let memory = &memory.lock().unwrap();
                        let has_decayed = self.has_decayed;
                        verdict.judge(&evidence, &Case { tenant, memory, endpoint, receiver, has_decayed });
                    }
                }
                verdict.judge_books(&evidence, &|endpoint| self.breaks(endpoint));
            }
        }
        for receiver in &self.receivers {
            receiver.broken_promises().iter().for_each(|promise| verdict.breaks(promise));
        }
        Told { story: self.story, verdict, tally: self.tally }
    }

    /// Whether something is still to be delivered that can be.
    fn is_pending(&self, life: &Life, ended: Instant) -> bool {
        life.engine.deliveries.rows().iter().any(|row| {
            let breaks = self.breaks(&row.endpoint);
            let pending = row.balance().pending;
            !(pending.is_zero() || breaks && ended.elapsed() > GIVES_UP_AFTER)
        })
    }

    /// How long senders may be refused once all is well. A log that must keep what its endpoint breaks on stays full for
    /// ever, if that is all it has.
    fn accepts_again_within(&self) -> Duration {
        if self.some_break() { GIVES_UP_AFTER } else { RECOVERS_WITHIN }
    }

    /// Whether there is an endpoint that does.
    fn some_break(&self) -> bool {
        self.plan.endpoints.iter().any(|it| it.character.breaks_on.is_some())
    }

    /// Whether an endpoint breaks on some series.
    fn breaks(&self, endpoint: &str) -> bool {
        self.plan.endpoints.iter().any(|it| it.name == endpoint && it.character.breaks_on.is_some())
    }

    fn network(&self) -> BTreeMap<String, Arc<Receiver>> {
        let names = self.plan.endpoints.iter().map(|endpoint| endpoint.name.clone());
        names.zip(self.receivers.iter().cloned()).collect()
    }

    fn config(&self) -> Config {
        self.plan.config(&self.away, &self.reloads)
    }

    /// Starts a process, as often as it takes, as its supervisor does; in the end somebody makes room on the disk.
    async fn begin(&mut self) -> Option<Life> {
        for attempt in 0..20 {
            let segment = self.plan.log.segment_bytes;
            let ground = Ground {
                storage: Arc::new(self.log_disk.clone()),
                letters: Arc::new(self.letters_disk.clone()),
                options: StoreOptions {
                    writers: 0,
                    tail_bytes: 64 << 10,
                    segment_bytes: segment..=segment * 8,
                    write_ahead_from: segment * 2,
                    ..StoreOptions::new("/simulated")
                },
                patience: Patience { poison: Duration::from_secs(2) },
            };
            match Life::begin(ground, &self.config()).await {
                Ok(life) => return Some(life),
                Err(error) => self.tell(format!("could not start: {}", crate::chain::Chain(&error))),
            }
            if attempt == 5 {
                self.free_disks();
            }
            sleep(Duration::from_secs(1)).await;
        }
        None
    }

    fn senders_send(&self, life: &Life) -> Vec<tokio::task::JoinHandle<()>> {
        let send = |sender: &Arc<tokio::sync::Mutex<Sender>>| {
            let (sender, door) = (Arc::clone(sender), Arc::clone(&life.door));
            tokio::spawn(async move { sender.lock().await.run(&door).await })
        };
        self.senders.iter().map(send).collect()
    }

    async fn happens(&mut self, life: &Life, event: &Event) {
        self.tell(format!("{event:?}; {}", self.state()));
        match event {
            Event::Mood(endpoint, mood) => self.receivers[*endpoint].set_mood(*mood),
            Event::DiskFull(room) => {
                self.count("disk full");
                self.log_disk.set_capacity(Some(self.log_disk.used() + room));
                self.letters_disk.set_capacity(Some(self.letters_disk.used() + room));
            }
            Event::DiskFree => {
                self.log_disk.set_capacity(None);
                self.letters_disk.set_capacity(None);
            }
            Event::DiskError(operation, after, kind) => {
                self.count("disk error");
                self.log_disk.fail(*operation, *after, *kind);
            }
            Event::LettersError(operation, after, kind) => self.letters_disk.fail(*operation, *after, 1, *kind),
            Event::ShortWrites(most) => self.log_disk.set_short_writes(*most),
            Event::Clock(seconds, forward) => {
                self.count("clock set");
                super::jump(Duration::from_secs((*seconds).into()), *forward);
            }
            Event::Reload(endpoint) => {
                self.count("reload");
                self.reloads[*endpoint] += 1;
                life.reload(&self.config()).await;
            }
            Event::Remove(endpoint) => {
                if !self.away.contains(endpoint) {
                    self.away.push(*endpoint);
                }
                life.reload(&self.config()).await;
            }
            Event::Return(endpoint) => {
                self.away.retain(|away| away != endpoint);
                life.reload(&self.config()).await;
            }
            Event::Replay(tenant, endpoint) => self.replay(life, *tenant, *endpoint).await,
            Event::Decay(number) => self.decay(*number),
            Event::DropLetters(endpoint) => self.drop_letters(life, *endpoint).await,
        }
    }

    async fn drop_letters(&mut self, life: &Life, endpoint: usize) {
        let filter = Filter { tenant: None, endpoint: Some(self.plan.endpoints[endpoint].name.clone()) };
        let deliveries = &life.engine.deliveries;
        // Half of them: of others that stay it shows whether the books moved as often as letters went.
        let letters = deliveries.dead_letters().list(&filter, None, 100).unwrap_or_default();
        let half: Vec<_> = letters.iter().map(|letter| letter.id).take(letters.len().div_ceil(2)).collect();
        match deliveries.drop_dead_letters(&filter, Some(&half)).await {
            Ok(0) => {}
            Ok(_letters) => self.count("letters dropped"),
            Err(error) => self.tell(format!("letters are not dropped: {}", crate::chain::Chain(&error))),
        }
    }

    async fn replay(&mut self, life: &Life, tenant: usize, endpoint: usize) {
        let request = ReplayRequest {
            tenant: self.plan.tenants[tenant].clone(),
            endpoint: self.plan.endpoints[endpoint].name.clone(),
            from_ms: 0,
            to_ms: crate::clock::now_ms(),
            rate: 0,
        };
        self.receivers[endpoint].expects_replays();
        match life.engine.deliveries.begin_replay(request).await {
            Ok(_id) => self.count("replay"),
            Err(error) => self.tell(format!("no replay: {error}")),
        }
    }

    /// Turns a byte of a sealed segment: one that is followed by another.
    fn decay(&mut self, number: usize) {
        let files = self.log_disk.files(Path::new("/simulated"));
        let segments: Vec<_> = files.iter().filter(|path| path.extension().is_some_and(|it| it == "seg")).collect();
        let sealed: Vec<_> = segments.windows(2).filter(|two| two[0].parent() == two[1].parent()).collect();
        let Some(path) = sealed.get(number % sealed.len().max(1)).map(|two| two[0]) else { return };
        let rng = &mut self.rng;
        self.log_disk.edit(path, |bytes| {
            if !bytes.is_empty() {
                let at = rng.usize(0..bytes.len());
                bytes[at] ^= 1 << rng.u8(0..8);
            }
        });
        self.has_decayed = true;
        self.count("decay");
    }

    fn free_disks(&mut self) {
        self.log_disk.set_capacity(None);
        self.log_disk.clear_faults();
        self.log_disk.set_short_writes(None);
        self.letters_disk.set_capacity(None);
        self.letters_disk.clear_faults();
    }

    fn count(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }

    fn tell(&mut self, line: String) {
        // At once, in case it does not end.
        if super::is_loud() {
            println!("{line}");
        }
        self.story.push(line);
    }

    /// How far everything is: the same in each telling.
    fn state(&self) -> String {
        let acknowledged: usize =
            self.memories.values().map(|memory| memory.lock().unwrap().acknowledged.count()).sum();
        let stored = |receiver: &Arc<Receiver>| receiver.stored_count();
        let stored: Vec<usize> = self.receivers.iter().map(stored).collect();
        let operations = (self.log_disk.operations(), self.letters_disk.operations());
        let now = super::now().unwrap_or(self.time).duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now = now.as_secs_f64() % 100_000.0;
        format!("{now:.3}: {acknowledged} points acknowledged, {stored:?} stored, {operations:?} disk operations")
    }
}

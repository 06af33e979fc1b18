//! What happens in a history, all of it drawn from the seed before it begins.

use std::io::ErrorKind;
use std::time::Duration;

use dead_letters::testing::Operation as LettersOperation;
use fastrand::Rng;
use remote_write::{Compression, Protocol};
use segment_log::testing::Operation;
use writegate_config::{Config, OnFull, Size};

use super::receiver::{Character, Mood, TENANT_HEADER};
use super::sender::Habit;

/// A history before it happens.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) tenants: Vec<String>,
    pub(super) senders: Vec<Habit>,
    pub(super) endpoints: Vec<EndpointPlan>,
    pub(super) log: LogPlan,
    /// One after the other; what follows them is one in which all is well.
    pub(super) lives: Vec<LifePlan>,
}

/// An endpoint, and how the gateway is configured for it.
#[derive(Clone, Debug)]
pub(super) struct EndpointPlan {
    pub(super) name: String,
    pub(super) character: Character,
    /// `write_relabel_configs`: drops what is labelled `drop`.
    pub(super) drops: bool,
    /// And takes the label `volatile` away, which makes one series of several.
    pub(super) edits: bool,
    pub(super) exemplars: bool,
    pub(super) histograms: bool,
    pub(super) max_samples: u32,
    pub(super) protocol: Option<Protocol>,
    pub(super) zstd: bool,
    pub(super) refuses_when_full: bool,
    /// The only tenant it takes.
    pub(super) only: Option<String>,
}

#[derive(Clone, Debug)]
pub(super) struct LogPlan {
    pub(super) segment_bytes: u64,
    pub(super) max_size: u64,
    pub(super) on_full: OnFull,
    pub(super) retain: Duration,
    pub(super) letters: u64,
}

/// One process of the gateway.
#[derive(Debug)]
pub(super) struct LifePlan {
    pub(super) lasts: Duration,
    pub(super) events: Vec<(Duration, Event)>,
    /// While the power goes, the dead letters of this endpoint are being dropped.
    pub(super) drops_last: Option<usize>,
    pub(super) ends: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    ShutDown,
    /// What was written is there, also if it was not synced.
    Killed,
    /// What was not synced is there, torn or lost.
    PowerCut,
}

#[derive(Clone, Debug)]
pub(super) enum Event {
    Mood(usize, Mood),
    /// So many bytes are left.
    DiskFull(u64),
    DiskFree,
    /// Fails one operation, after so many.
    DiskError(Operation, u64, ErrorKind),
    LettersError(LettersOperation, u64, ErrorKind),
    ShortWrites(Option<usize>),
    /// Seconds, forward or backward.
    Clock(u32, bool),
    /// The endpoint's settings change.
    Reload(usize),
    /// The endpoint is taken out of the configuration, or put back.
    Remove(usize),
    Return(usize),
    /// What a tenant sent goes to an endpoint once more.
    Replay(usize, usize),
    /// A byte of a sealed segment turns; of this one.
    Decay(usize),
    /// The dead letters of an endpoint are dropped.
    DropLetters(usize),
}

impl Plan {
    /// The history of a seed.
    pub(super) fn new(rng: &mut Rng) -> Self {
        let tenants: Vec<String> = (0..rng.usize(1..3)).map(|number| format!("t{number}")).collect();
        let endpoints: Vec<_> = (0..rng.usize(1..4)).map(|number| endpoint(rng, number, &tenants)).collect();
        let senders: Vec<_> = (0..rng.u32(1..4)).map(|number| sender(rng, number, &tenants, &endpoints)).collect();
        // What never fits is refused for ever.
        let least = if senders.iter().any(|sender| sender.large_one_in.is_some()) { 1 << 20 } else { 0 };
        let segment_bytes = *rng.choice(&[4 << 10, 16 << 10, 64 << 10]).unwrap_or(&4096);
        let log = LogPlan {
            segment_bytes,
            max_size: if rng.u8(0..4) == 0 { least.max(segment_bytes * rng.u64(3..10)) } else { 1 << 30 },
            on_full: if rng.bool() { OnFull::Refuse } else { OnFull::DropOldest },
            retain: Duration::from_secs(if rng.bool() { 7_200 } else { 2 }),
            letters: if rng.u8(0..4) == 0 { 6 << 20 } else { 1 << 30 },
        };
        let lives = (0..rng.usize(1..4)).map(|_| life(rng, endpoints.len(), tenants.len())).collect();
        Self { tenants, senders, endpoints, log, lives }
    }

    /// Adds that dead letters are dropped, many times, drawn apart from all else: histories that were told before stay as they
    /// were.
    pub(super) fn drop_letters(&mut self, rng: &mut Rng) {
        for life in &mut self.lives {
            for _ in 0..rng.usize(1..8) {
                let event = Event::DropLetters(rng.usize(0..self.endpoints.len()));
                life.events.push((life.lasts.mul_f64(rng.f64()), event));
            }
            life.events.sort_by_key(|(at, _)| *at);
            life.drops_last = Some(rng.usize(0..self.endpoints.len()));
        }
    }

    /// The configuration, without the endpoints that are `away`; with other settings each time one was reloaded.
    pub(super) fn config(&self, away: &[usize], reloads: &[u32]) -> Config {
        let mut text = String::from("remote_write:\n");
        let present = self.endpoints.iter().enumerate().filter(|(number, _)| !away.contains(number));
        for (number, endpoint) in present {
            text.push_str(&endpoint.yaml(reloads.get(number).copied().unwrap_or_default()));
        }
        if away.len() == self.endpoints.len() {
            text = String::new();
        }
        let here = std::path::Path::new("/simulated");
        let mut config = match writegate_config::parse(&text, here, here) {
            Ok(loaded) => loaded.config,
            Err(problems) => panic!("{problems}\n{text}"),
        };
        config.log.path = here.to_path_buf();
        config.log.max_size = self.log.max_size;
        config.log.max_total_size = Size::Bytes(1 << 40);
        config.log.min_free = 0;
        config.log.on_full = self.log.on_full;
        config.log.retain = self.log.retain;
        config.dead_letters_max_size = self.log.letters;
        config
    }
}

impl EndpointPlan {
    fn yaml(&self, reloads: u32) -> String {
        let Self { name, exemplars, histograms, .. } = self;
        // A reload that changes nothing would not concern the endpoint.
        let max_samples = self.max_samples + reloads;
        let mut text = format!(
            "- name: {name}\n  url: http://{name}/write\n  remote_timeout: 2s\n  tenant_header: {TENANT_HEADER}\n  \
             send_exemplars: {exemplars}\n  send_native_histograms: {histograms}\n  queue_config: {{max_samples_per_send: \
             {max_samples}, min_backoff: 30ms, max_backoff: 1s}}\n"
        );
        match self.protocol {
            Some(Protocol::V1) => text.push_str("  protobuf_message: prometheus.WriteRequest\n"),
            Some(Protocol::V2) => text.push_str("  protobuf_message: io.prometheus.write.v2.Request\n"),
            None => {}
        }
        if self.zstd {
            text.push_str("  compression: zstd\n");
        }
        if self.refuses_when_full {
            text.push_str("  on_full: refuse\n");
        }
        if let Some(only) = &self.only {
            text.push_str(&format!("  tenants: [{only}]\n"));
        }
        if self.drops || self.edits {
            text.push_str("  write_relabel_configs:\n");
        }
        if self.drops {
            text.push_str("  - {source_labels: [drop], regex: me, action: drop}\n");
        }
        if self.edits {
            text.push_str("  - {regex: volatile, action: labeldrop}\n");
        }
        text
    }
}

fn one_in(rng: &mut Rng, many: u8) -> bool {
    rng.u8(0..many) == 0
}

fn endpoint(rng: &mut Rng, number: usize, tenants: &[String]) -> EndpointPlan {
    let name = format!("e{number}");
    let character = Character {
        v1_only: one_in(rng, 6),
        v1_silently: one_in(rng, 8),
        refuses: one_in(rng, 3).then(|| name.clone()),
        breaks_on: one_in(rng, 6).then(|| name.clone()),
        most_points: one_in(rng, 5).then(|| rng.u64(40..400)),
        minds_order: rng.bool(),
    };
    let protocol = *rng.choice(&[None, None, Some(Protocol::V1), Some(Protocol::V2)]).unwrap_or(&None);
    // It goes with 1.0 only.
    let zstd = one_in(rng, 5);
    EndpointPlan {
        drops: one_in(rng, 3),
        edits: one_in(rng, 3),
        exemplars: rng.bool(),
        histograms: !one_in(rng, 4),
        max_samples: if rng.bool() { 10_000 } else { rng.u32(20..400) },
        protocol: if zstd { Some(Protocol::V1) } else { protocol },
        zstd,
        refuses_when_full: one_in(rng, 4),
        only: one_in(rng, 5).then(|| rng.choice(tenants).cloned()).flatten(),
        name,
        character,
    }
}

fn sender(rng: &mut Rng, number: u32, tenants: &[String], endpoints: &[EndpointPlan]) -> Habit {
    let churns = one_in(rng, 5);
    Habit {
        tenant: rng.choice(tenants).cloned().unwrap_or_default(),
        number,
        protocol: if one_in(rng, 3) { Protocol::V2 } else { Protocol::V1 },
        compression: if one_in(rng, 4) { Compression::Zstd } else { Compression::Snappy },
        series: if churns { rng.u32(2..12) } else { rng.u32(2..40) },
        // Enough, for an endpoint that is slow, to have as many requests in flight as there may be.
        pause: Duration::from_millis(if churns { rng.u64(1..20) } else { rng.u64(20..300) }),
        large_one_in: one_in(rng, 10).then_some(20),
        bad: one_in(rng, 2).then(|| rng.choice(endpoints).map(|endpoint| endpoint.name.clone())).flatten(),
        histograms: rng.bool(),
        exemplars: rng.bool(),
        volatile: rng.bool(),
        churns,
    }
}

fn life(rng: &mut Rng, endpoints: usize, tenants: usize) -> LifePlan {
    let lasts = Duration::from_millis(rng.u64(500..8_000));
    let mut events = Vec::new();
    for _ in 0..rng.usize(0..8) {
        let at = lasts.mul_f64(rng.f64());
        events.push((at, event(rng, endpoints, tenants)));
    }
    events.sort_by_key(|(at, _)| *at);
    let ends = *rng.choice(&[End::ShutDown, End::Killed, End::PowerCut, End::PowerCut]).unwrap_or(&End::Killed);
    LifePlan { lasts, events, drops_last: None, ends }
}

fn event(rng: &mut Rng, endpoints: usize, tenants: usize) -> Event {
    let endpoint = rng.usize(0..endpoints);
    let kind = *rng.choice(&[ErrorKind::Other, ErrorKind::StorageFull]).unwrap_or(&ErrorKind::Other);
    match rng.u8(0..22) {
        0..8 => Event::Mood(endpoint, mood(rng)),
        8 => Event::DiskFull(rng.u64(0..8_000)),
        9 => Event::DiskFree,
        10..14 => {
            let operations = [
                Operation::Write,
                Operation::Write,
                Operation::Sync,
                Operation::Sync,
                Operation::Create,
                Operation::Rename,
                Operation::Remove,
                Operation::SyncDir,
            ];
            let operation = *rng.choice(&operations).unwrap_or(&Operation::Sync);
            Event::DiskError(operation, rng.u64(0..6), kind)
        }
        14 => {
            let operations = [LettersOperation::Write, LettersOperation::Sync, LettersOperation::Read];
            Event::LettersError(*rng.choice(&operations).unwrap_or(&LettersOperation::Sync), rng.u64(0..20), kind)
        }
        15 => Event::ShortWrites(rng.bool().then(|| rng.usize(1..3_000))),
        16 => Event::Clock(rng.u32(1..7_200), rng.bool()),
        17 => Event::Reload(endpoint),
        18 => Event::Remove(endpoint),
        19 => Event::Return(endpoint),
        20 => Event::Replay(rng.usize(0..tenants), endpoint),
        _ => Event::Decay(rng.usize(0..100)),
    }
}

fn mood(rng: &mut Rng) -> Mood {
    match rng.u8(0..10) {
        0 | 1 => Mood::Fine,
        2 => Mood::Slow(rng.u64(50..3_000)),
        3 => Mood::Down,
        4 => Mood::Silent,
        5 => Mood::BlackHole,
        6 | 7 => {
            let status = *rng.choice(&[500, 502, 503, 503, 429, 404, 401, 408]).unwrap_or(&503);
            Mood::Failing(status, one_in(rng, 3).then(|| rng.u32(0..3)))
        }
        _ => Mood::Cutting(rng.u8(1..8)),
    }
}

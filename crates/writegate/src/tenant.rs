//! Tenants: who a push belongs to, and the log that holds what they sent.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use quota::fair::{Budget, Share};
use remote_write::Counts;
use schedule::order::LogOrder;
use segment_log::{AppendError, CursorError, Log, OpenLogError, Position, Start, Store};
use tokio::sync::watch;
pub(crate) use writegate_config::TenantName;
use writegate_config::{Config, DeltaTemporality, TenantLimits, TenantPattern, Tenants as Settings};

use crate::allowance::Allowance;
use crate::chain::Chain;
use crate::counters::CountsCounter;
use crate::ingest::Reason;
use crate::metadata::FamilyMetadata;
use crate::throttle::Throttle;
use crate::{record, retention};

/// Senders try again within seconds: who has not tried for so long is gone, and its data waits at the sender.
const NOT_KEPT_FOR: Duration = Duration::from_secs(120);
/// What is remembered of words that a sender was told.
const WORDS_BYTES: usize = 1024;

/// One tenant: its log and what was received for it.
pub(crate) struct Tenant {
    pub(crate) name: TenantName,
    pub(crate) log: Arc<Log>,
    limits: ArcSwap<TenantLimits>,
    /// What it may still send.
    pub(crate) allowance: Arc<Allowance>,
    /// What its requests hold of the memory for all requests.
    in_flight: Arc<Share>,
    /// It was born in this process.
    pub(crate) is_newborn: bool,
    /// The log's head, sent whenever records became durable.
    pub(crate) head: watch::Receiver<Position>,
    /// What the log held when the process began: so that what was received and accepted agrees with the books of
    /// endpoints, which outlive it.
    before: Counts,
    received: CountsCounter,
    /// What accepted v1 requests said of metric families.
    pub(crate) metadata: FamilyMetadata,
    /// Which records of the log come before which.
    pub(crate) order: Arc<Mutex<LogOrder>>,
    accepted: CountsCounter,
    refused: [CountsCounter; Reason::ALL.len()],
    /// What was refused last for each reason, as the sender was told.
    refusals: Mutex<[Option<String>; Reason::ALL.len()]>,
    highest_timestamp_ms: AtomicI64,
    /// The log took nothing when it was last said so.
    is_stuck: AtomicBool,
    complaints: Mutex<Throttle>,
    /// Why what was pushed last could not be kept, when that was, and what was durable by then.
    not_kept: Mutex<Option<(String, Instant, Counts)>>,
}

impl Tenant {
    fn new(account: Account, log: Arc<Log>, is_newborn: bool) -> Self {
        let (sender, head) = watch::channel(log.head());
        log.on_commit(Box::new(move |position| {
            sender.send_replace(position);
        }));
        Self {
            before: record::from_array(log.totals()),
            name: account.name,
            log,
            limits: ArcSwap::new(account.limits),
            allowance: account.allowance,
            in_flight: account.in_flight,
            is_newborn,
            head,
            received: CountsCounter::default(),
            metadata: FamilyMetadata::default(),
            order: Arc::default(),
            accepted: CountsCounter::default(),
            refused: Default::default(),
            refusals: Mutex::default(),
            highest_timestamp_ms: AtomicI64::new(i64::MIN),
            is_stuck: AtomicBool::new(false),
            complaints: Mutex::default(),
            not_kept: Mutex::default(),
        }
    }

    /// What it may send.
    pub(crate) fn limits(&self) -> Arc<TenantLimits> {
        self.limits.load_full()
    }

    /// Bytes of its requests that are being received.
    pub(crate) fn receiving_bytes(&self) -> u64 {
        self.in_flight.held()
    }

    /// Counts what requests held, whatever becomes of it.
    pub(crate) fn received(&self, counts: Counts) {
        self.received.add(counts);
    }

    /// What requests held, whatever became of it.
    pub(crate) fn received_counts(&self) -> Counts {
        self.before + self.received.get()
    }

    /// What was refused for `reason`, in this process.
    pub(crate) fn refused(&self, reason: Reason) -> &CountsCounter {
        &self.refused[reason as usize]
    }

    /// Remembers what a sender was told about something that was refused for `reason`.
    pub(crate) fn refused_with(&self, reason: Reason, words: &str) {
        let words = &words[..words.floor_char_boundary(WORDS_BYTES)];
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)[reason as usize] = Some(words.to_owned());
    }

    /// What a sender was told when something was last refused for `reason`, in this process.
    pub(crate) fn last_refusal(&self, reason: Reason) -> Option<String> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)[reason as usize].clone()
    }

    /// Why what is pushed is not kept, if that is so at the moment.
    pub(crate) fn not_kept(&self) -> Option<String> {
        let not_kept = self.not_kept.lock().unwrap_or_else(PoisonError::into_inner);
        let (why, at, accepted) = not_kept.as_ref()?;
        (at.elapsed() < NOT_KEPT_FOR && *accepted == self.accepted.get()).then(|| why.clone())
    }

    /// Counts what became durable.
    pub(crate) fn accepted(&self, counts: Counts, highest_timestamp_ms: Option<i64>) {
        self.accepted.add(counts);
        if self.is_stuck.load(Ordering::Relaxed) && self.is_stuck.swap(false, Ordering::Relaxed) {
            tracing::info!(tenant = %self.name, "what is pushed is kept again");
        }
        if let Some(timestamp_ms) = highest_timestamp_ms {
            self.highest_timestamp_ms.fetch_max(timestamp_ms, Ordering::Relaxed);
        }
    }

    /// What was pushed could not be made durable. An operator must hear why: senders only see 503.
    pub(crate) fn append_failed(&self, error: &AppendError) {
        if matches!(error, AppendError::Closing) {
            return;
        }
        *self.not_kept.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((Chain(error).to_string(), Instant::now(), self.accepted.get()));
        if let Some(unlogged) = self.complaints.lock().unwrap_or_else(PoisonError::into_inner).pass() {
            self.is_stuck.store(true, Ordering::Relaxed);
            tracing::error!(tenant = %self.name, error = %Chain(error), unlogged,
                "what is pushed cannot be kept: senders get 503 and send it again");
        }
    }

    /// What became durable.
    pub(crate) fn accepted_counts(&self) -> Counts {
        self.before + self.accepted.get()
    }

    /// The highest accepted sample timestamp in milliseconds, if any sample was accepted.
    pub(crate) fn highest_timestamp(&self) -> Option<i64> {
        let highest = self.highest_timestamp_ms.load(Ordering::Relaxed);
        (highest != i64::MIN).then_some(highest)
    }
}

impl fmt::Debug for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tenant").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Who a push belongs to: a tenant, or one that is born of it if its data is taken.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) name: TenantName,
    pub(crate) tenant: Option<Arc<Tenant>>,
    pub(crate) limits: Arc<TenantLimits>,
    pub(crate) allowance: Arc<Allowance>,
    pub(crate) in_flight: Arc<Share>,
}

/// A tenant could not be born.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BirthError {
    #[error(transparent)]
    Log(#[from] OpenLogError),
    #[error(transparent)]
    Cursor(#[from] CursorError),
}

/// All tenants that ever had a record accepted.
#[derive(Debug)]
pub(crate) struct Tenants {
    store: Arc<Store>,
    by_name: RwLock<HashMap<TenantName, Arc<Tenant>>>,
    birth: Mutex<()>,
    /// The endpoints whose cursors a tenant gets at birth, so that none misses its first record.
    cradle: RwLock<Vec<(String, Vec<TenantPattern>)>>,
    /// What is configured for tenants.
    settings: ArcSwap<Settings>,
    /// The limits of who has no others.
    default_limits: ArcSwap<TenantLimits>,
    /// The memory for all requests that are being received.
    in_flight: Arc<Budget>,
    /// What those have left that open connections belong to and that are no tenants yet.
    unborn: Mutex<HashMap<TenantName, Weak<Allowance>>>,
    /// Of the memory, what pushes hold that may bear a tenant: one share for all, however many names they come with.
    unborn_in_flight: Arc<Share>,
    /// How many there are, sent when one is born.
    count: watch::Sender<usize>,
}

impl Tenants {
    /// The tenants whose logs the store holds. Logs that are not named like a tenant stay closed.
    pub(crate) fn new(store: Arc<Store>, config: &Config) -> Self {
        let in_flight = Budget::new(config.limits.in_flight_bytes);
        let account = |name: &TenantName| Account {
            name: name.clone(),
            tenant: None,
            limits: Arc::new(config.limits_of(name)),
            allowance: Arc::default(),
            in_flight: in_flight.share(),
        };
        let by_name: HashMap<_, _> = store
            .logs()
            .into_iter()
            .filter_map(|log| match TenantName::new(log.name()) {
                Ok(name) => {
                    apply(&config.tenants, &name, &log);
                    Some((name.clone(), Arc::new(Tenant::new(account(&name), log, false))))
                }
                Err(error) => {
                    tracing::warn!(log = log.name(), %error, "a log in the data directory belongs to no tenant");
                    None
                }
            })
            .collect();
        let (count, _) = watch::channel(by_name.len());
        Self {
            store,
            by_name: RwLock::new(by_name),
            birth: Mutex::default(),
            cradle: RwLock::default(),
            settings: ArcSwap::from_pointee(config.tenants.clone()),
            default_limits: ArcSwap::from_pointee(config.limits.tenant.clone()),
            unborn: Mutex::default(),
            unborn_in_flight: in_flight.share(),
            in_flight,
            count,
        }
    }

    /// Who a push for this name belongs to.
    pub(crate) fn account(&self, name: TenantName) -> Account {
        match self.get(&name) {
            Some(tenant) => Account {
                name,
                limits: tenant.limits.load_full(),
                allowance: Arc::clone(&tenant.allowance),
                in_flight: Arc::clone(&tenant.in_flight),
                tenant: Some(tenant),
            },
            None => Account {
                tenant: None,
                limits: Arc::new(self.settings.load().limits_of(&name, &self.default_limits.load())),
                allowance: self.unborn_allowance(&name),
                in_flight: Arc::clone(&self.unborn_in_flight),
                name,
            },
        }
    }

    /// A tenant that exists.
    pub(crate) fn get(&self, name: &TenantName) -> Option<Arc<Tenant>> {
        self.by_name.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// That of the other connections that have come for this name.
    fn unborn_allowance(&self, name: &TenantName) -> Arc<Allowance> {
        let mut unborn = self.unborn.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(allowance) = unborn.get(name).and_then(Weak::upgrade) {
            return allowance;
        }
        // Each of those that stay has a connection, so that this takes no longer than accepting them did.
        unborn.retain(|_, allowance| allowance.strong_count() > 0);
        let allowance = Arc::default();
        unborn.insert(name.clone(), Arc::downgrade(&allowance));
        allowance
    }

    /// The tenant of an account, born now if need be, with what the account has left. Blocks on the disk at birth.
    ///
    /// # Errors
    /// When its log or the cursors in it cannot be created.
    pub(crate) fn get_or_create(&self, account: Account) -> Result<Arc<Tenant>, BirthError> {
        let name = &account.name;
        if let Some(tenant) = self.get(name) {
            return Ok(tenant);
        }
        // One birth at a time; others find their tenants meanwhile.
        let _birth = self.birth.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tenant) = self.get(name) {
            return Ok(tenant);
        }
        let log = self.store.log(name.as_str())?;
        apply(&self.settings(), name, &log);
        for (endpoint, patterns) in self.cradle.read().unwrap_or_else(PoisonError::into_inner).iter() {
            if patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(name.as_str())) {
                log.cursor(endpoint, Start::Oldest)?;
            }
        }
        let name = name.clone();
        let account = Account { in_flight: self.in_flight.share(), ..account };
        let tenant = Arc::new(Tenant::new(account, log, true));
        let mut by_name = self.by_name.write().unwrap_or_else(PoisonError::into_inner);
        by_name.insert(name, Arc::clone(&tenant));
        self.count.send_replace(by_name.len());
        Ok(tenant)
    }

    /// The endpoints that tenants born from here on are delivered to, with the patterns of the tenants each takes.
    pub(crate) fn set_cradle(&self, endpoints: Vec<(String, Vec<TenantPattern>)>) {
        *self.cradle.write().unwrap_or_else(PoisonError::into_inner) = endpoints;
    }

    /// Takes over what is configured for tenants: the limits of what they send and of their logs follow at once.
    pub(crate) fn set_settings(&self, config: &Config) {
        // Who is being born gets the old settings, and then these.
        let _birth = self.birth.lock().unwrap_or_else(PoisonError::into_inner);
        self.settings.store(Arc::new(config.tenants.clone()));
        self.default_limits.store(Arc::new(config.limits.tenant.clone()));
        self.in_flight.set_bytes(config.limits.in_flight_bytes);
        for tenant in self.list() {
            tenant.limits.store(Arc::new(config.limits_of(&tenant.name)));
            apply(&config.tenants, &tenant.name, &tenant.log);
            let configured = config.tenants.get(&tenant.name);
            if configured.is_none_or(|tenant| tenant.delta_temporality == DeltaTemporality::Reject) {
                tenant.allowance.deltas().lock().unwrap_or_else(PoisonError::into_inner).clear();
            }
        }
    }

    /// What is configured for tenants.
    pub(crate) fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    /// All tenants, by name.
    pub(crate) fn list(&self) -> Vec<Arc<Tenant>> {
        let mut all: Vec<_> = self.by_name.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// Changes when a tenant is born.
    pub(crate) fn births(&self) -> watch::Receiver<usize> {
        self.count.subscribe()
    }
}

fn apply(settings: &Settings, name: &TenantName, log: &Log) {
    if settings.is_id_of_another(name) {
        tracing::warn!(tenant = %name, "nothing of this tenant is delivered: it is not in `tenants`, and endpoints would take \
            it for the tenant there that has its name as id; give that one another id");
    }
    let log_settings = settings.get(name).map(|config| config.log).unwrap_or_default();
    log.set_limits(log_settings.max_size, log_settings.on_full.map(retention::on_full));
}

//! Deliveries: one task per tenant and endpoint moves that cursor, one per replay its own. This file starts and stops them.

mod attempt;
mod backoff;
mod context;
mod endpoint;
mod fault;
mod feed;
mod flight;
mod form;
mod health;
mod hunt;
mod limiter;
mod outcome;
mod poison;
mod replay;
mod retry;
mod rules;
mod search;
mod secrets;
mod send;
mod settle;
mod task;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use outbound::credential::Credentials;
use segment_log::{Cursor, CursorError, Position, Start};
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use writegate_config::{StartFrom, Tenants as TenantSettings};

use self::context::{Condition, Context, Work};
pub(crate) use self::endpoint::{Endpoint, EndpointStats};
use self::form::Former;
pub(crate) use self::form::Payload;
pub(crate) use self::outcome::{means_known_already, written};
pub(crate) use self::replay::{ReplayError, ReplayRequest};
pub(crate) use self::retry::{Retried, RetryError};
pub(crate) use self::rules::{Origin, steps};
use self::rules::{Rules, rules};
pub(crate) use self::send::{Client, Heard};
use self::task::Delivery;
use crate::chain::Chain;
use crate::clock::now_ms;
use crate::dead_letters::{DeadLetters, MoveError};
use crate::ledger::{ReplayState, Row};
use crate::offload::offload;
use crate::tenant::{Tenant, Tenants};

/// How long deliveries put up with what may pass.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For so long 5xx answers to one request are believed to be about the endpoint, not about the data.
    pub poison: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { poison: Duration::from_secs(60) }
    }
}

/// What all deliveries share.
#[derive(Debug)]
struct Shared {
    former: Former,
    dead_letters: Arc<DeadLetters>,
    /// How many huge batches may be formed at once: each may take a few times `decoded_bytes` of memory.
    beside: Semaphore,
    /// And the same for those whose rules are costly, whatever their size: they keep nobody else waiting.
    costly: Semaphore,
    patience: Patience,
}

impl Shared {
    /// Does what would keep others waiting on a thread of its own.
    async fn beside<T: Send + 'static>(
        self: &Arc<Self>,
        rules: Option<&Arc<Rules>>,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        // Never closed.
        let is_costly = rules.is_some_and(|rules| rules.is_costly);
        let _turn = if is_costly { &self.costly } else { &self.beside }.acquire().await;
        let shared = Arc::clone(self);
        offload(move || work(&shared)).await
    }
}

/// A delivery that is to be started.
struct Launch<'l> {
    tenant: &'l Arc<Tenant>,
    endpoint: &'l Arc<Endpoint>,
    row: Arc<Row>,
    work: Work,
    /// Its cursor was made just now.
    is_new: bool,
}

/// All endpoints, and the deliveries to them.
#[derive(Debug)]
pub(crate) struct Deliveries {
    tenants: Arc<Tenants>,
    shared: Arc<Shared>,
    credentials: Credentials,
    state: Mutex<State>,
    /// Held while deliveries are started or the endpoints change, so that neither sees half of the other.
    changing: Arc<tokio::sync::Mutex<()>>,
}

/// A tenant and the name of a cursor: an endpoint's, or a replay's.
type Key = (String, String);

#[derive(Debug, Default)]
struct State {
    endpoints: Vec<Arc<Endpoint>>,
    settings: Arc<TenantSettings>,
    /// Rows of removed endpoints stay.
    rows: BTreeMap<Key, Arc<Row>>,
    running: BTreeMap<Key, Running>,
    /// Being stopped: to be started again only when that is done, or a series could overtake itself.
    stopping: BTreeSet<Key>,
    /// Were running before, in this process.
    started: BTreeSet<Key>,
    /// The process ends: nothing is started any more.
    ends: bool,
}

#[derive(Debug)]
struct Running {
    endpoint: String,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Deliveries {
    pub(crate) fn new(tenants: Arc<Tenants>, dead_letters: Arc<DeadLetters>, patience: Patience) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let shared = Shared {
            former: Former::new(),
            dead_letters,
            beside: Semaphore::new(cores),
            costly: Semaphore::new(1),
            patience,
        };
        Self {
            tenants,
            shared: Arc::new(shared),
            credentials: Credentials::default(),
            state: Mutex::default(),
            changing: Arc::default(),
        }
    }

    /// The endpoints of the configuration.
    pub(crate) fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        self.lock().endpoints.clone()
    }

    /// The books, by tenant and endpoint; those of replays among them. A tenant that was just born has its rows before its
    /// deliveries are started.
    pub(crate) fn rows(&self) -> Vec<Arc<Row>> {
        let tenants = self.tenants.list();
        let mut state = self.lock();
        for tenant in &tenants {
            // A replay's row comes with its plan.
            for cursor in tenant.log.cursors().into_iter().filter(|cursor| !Row::is_replay_name(cursor.name())) {
                state.row_of(tenant, cursor);
            }
        }
        state.rows.values().cloned().collect()
    }

    /// The books of a tenant at an endpoint.
    pub(crate) fn row(&self, tenant: &str, endpoint: &str) -> Option<Arc<Row>> {
        self.lock().rows.get(&(tenant.to_owned(), endpoint.to_owned())).cloned()
    }

    /// What endpoints are told of a tenant.
    fn tenant_id(&self, tenant: &str) -> String {
        let settings = Arc::clone(&self.lock().settings);
        writegate_config::TenantName::new(tenant)
            .map_or_else(|_| tenant.to_owned(), |name| settings.id_of(&name).to_owned())
    }

    /// What is kept of what endpoints refused.
    pub(crate) fn dead_letters(&self) -> &Arc<DeadLetters> {
        &self.shared.dead_letters
    }

    /// Lets the oldest dead letters go that are over the bound. Blocks on the disk.
    ///
    /// # Errors
    /// When the disk fails.
    pub(crate) fn evict_dead_letters(&self) -> Result<u64, MoveError> {
        if self.shared.dead_letters.may_disagree() {
            self.shared.dead_letters.reconcile(&self.rows())?;
        }
        self.shared.dead_letters.evict(&|tenant, endpoint| self.row(tenant, endpoint))
    }

    /// Changes the set of endpoints, and what is configured for tenants. Deliveries that this concerns are stopped first,
    /// each after the requests it has in flight, and started again as soon as that is done: none waits for the others.
    pub(crate) async fn configure(self: &Arc<Self>, configs: &[writegate_config::Endpoint], settings: &TenantSettings) {
        let to_stop: Vec<(Key, Running)> = {
            let _changing = self.changing.lock().await;
            let mut state = self.lock();
            let to_stop = state.concerned(configs, settings);
            let to_stop: Vec<_> = to_stop
                .into_iter()
                .filter_map(|key| state.running.remove(&key).map(|running| (key, running)))
                .collect();
            state.stopping.extend(to_stop.iter().map(|(key, _)| key.clone()));
            state.endpoints = configs
                .iter()
                .map(|config| match state.endpoints.iter().find(|endpoint| endpoint.config.name == config.name) {
                    Some(endpoint) if endpoint.config == *config => Arc::clone(endpoint),
                    Some(endpoint) => Arc::new(endpoint.reconfigured(config.clone(), &self.credentials)),
                    None => Arc::new(Endpoint::new(config.clone(), &self.credentials)),
                })
                .collect();
            state.settings = Arc::new(settings.clone());
            to_stop
        };
        let births = configs.iter().map(|config| (config.name.clone(), config.tenants.clone())).collect();
        self.tenants.set_cradle(births);
        let mut stopping = JoinSet::new();
        for (key, running) in to_stop {
            running.stop.cancel();
            stopping.spawn(async move {
                stop_all(vec![running]).await;
                key
            });
        }
        self.start().await;
        while let Some(stopped) = stopping.join_next().await {
            let mut keys: Vec<_> = stopped.into_iter().collect();
            keys.extend(std::iter::from_fn(|| stopping.try_join_next()).flatten());
            self.lock().stopping.retain(|key| !keys.contains(key));
            self.start().await;
        }
    }

    /// Starts what should run and does not: after the endpoints changed and when a tenant was born. Detaches the cursors of
    /// endpoints that went.
    pub(crate) async fn start(self: &Arc<Self>) {
        let deliveries = Arc::clone(self);
        let changing = Arc::clone(&self.changing).lock_owned().await;
        let started = offload(move || {
            let now_ms = now_ms();
            for tenant in deliveries.tenants.list() {
                deliveries.start_tenant(&tenant, now_ms);
            }
            drop(changing);
        });
        if let Err(error) = started.await {
            tracing::error!(%error, "deliveries could not be started");
        }
    }

    /// Whether the endpoint takes the tenant's data, and would not take it for another tenant's.
    fn may_deliver(&self, tenant: &Tenant, endpoint: &Endpoint) -> bool {
        endpoint.config.takes(tenant.name.as_str()) && !self.lock().settings.is_id_of_another(&tenant.name)
    }

    fn start_tenant(&self, tenant: &Arc<Tenant>, now_ms: i64) {
        let endpoints = self.endpoints();
        for endpoint in endpoints.iter().filter(|endpoint| self.may_deliver(tenant, endpoint)) {
            let key = (tenant.name.to_string(), endpoint.config.name.clone());
            if self.is_busy(&key) {
                continue;
            }
            let is_new = tenant.log.find_cursor(&endpoint.config.name).is_none();
            match open_cursor(tenant, endpoint, now_ms) {
                Ok(cursor) => {
                    let row = self.row_of(tenant, cursor);
                    self.spawn(key, Launch { tenant, endpoint, row, work: Work::Live, is_new });
                }
                Err(error) => {
                    let why = format!("its cursor cannot be opened: {}", Chain(&error));
                    endpoint.health.fails(&endpoint.config.name, tenant.name.as_str(), &why, None);
                }
            }
        }
        for cursor in tenant.log.cursors() {
            let key = (tenant.name.to_string(), cursor.name().to_owned());
            if Row::is_replay_name(cursor.name()) {
                self.resume_replay(tenant, key, cursor);
                continue;
            }
            let is_its = |endpoint: &&Arc<Endpoint>| endpoint.config.name == cursor.name();
            if endpoints.iter().find(is_its).is_some_and(|endpoint| self.may_deliver(tenant, endpoint)) {
                continue;
            }
            if cursor.is_attached()
                && let Err(error) = tenant.log.detach_cursor(cursor.name())
            {
                tracing::error!(tenant = %tenant.name, endpoint = cursor.name(), error = %Chain(&error), "a cursor cannot be detached");
            }
            self.row_of(tenant, cursor);
        }
    }

    /// The one row of a cursor: books in two places would overwrite each other.
    fn row_of(&self, tenant: &Arc<Tenant>, cursor: Arc<Cursor>) -> Arc<Row> {
        self.lock().row_of(tenant, cursor)
    }

    fn is_busy(&self, key: &Key) -> bool {
        let state = self.lock();
        state.running.contains_key(key) || state.stopping.contains(key)
    }

    fn spawn(&self, key: Key, launch: Launch<'_>) {
        let Launch { tenant, endpoint, row, work, is_new } = launch;
        let is_first = self.lock().started.insert(key.clone());
        let has_no_past = is_first && (is_new || tenant.is_newborn);
        let mut state = self.lock();
        if state.ends {
            return;
        }
        let stop = CancellationToken::new();
        let live = (tenant.name.to_string(), endpoint.config.name.clone());
        let behind = if work == Work::Live { None } else { state.rows.get(&live).cloned() };
        let context = Context {
            shared: Arc::clone(&self.shared),
            endpoint: Arc::clone(endpoint),
            tenant: Arc::clone(tenant),
            name: delivery_name(&row),
            tenant_id: state.settings.id_of(&tenant.name).to_owned(),
            perhaps_sent: if has_no_past { 0 } else { perhaps_sent(&row) },
            row,
            rules: rules(&state.settings, &tenant.name, &endpoint.config),
            stop: stop.clone(),
            work,
            behind,
            condition: Condition::default(),
        };
        let (tenant, row, endpoint_) = (Arc::clone(tenant), Arc::clone(&context.row), Arc::clone(endpoint));
        let task = tokio::spawn(async move {
            let context = Arc::new(context);
            if has_no_past || settle::forget_unsettled(&context).await {
                Delivery::new(Arc::clone(&context)).run().await;
                // At once, too: what is not settled may have left the log before the next delivery begins.
                settle::forget_unsettled(&context).await;
            }
            if let Work::Replay { until, .. } = work
                && row.low() >= until
            {
                replay::end(&tenant, &row, ReplayState::Done);
                endpoint_.health.ended(&delivery_name(&row));
            }
        });
        state.running.insert(key, Running { endpoint: endpoint.config.name.clone(), stop, task });
    }

    /// Stops all deliveries, each after the requests it has in flight, for at most `patience`.
    pub(crate) async fn stop(&self, patience: Duration) {
        let running: Vec<Running> = {
            let mut state = self.lock();
            state.ends = true;
            std::mem::take(&mut state.running).into_values().collect()
        };
        let aborts: Vec<_> = running.iter().map(|running| running.task.abort_handle()).collect();
        if tokio::time::timeout(patience, stop_all(running)).await.is_err() {
            tracing::warn!("requests to endpoints were still in flight; they are sent again at the next start");
            for abort in aborts {
                abort.abort();
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn row_of(&mut self, tenant: &Arc<Tenant>, cursor: Arc<Cursor>) -> Arc<Row> {
        let key = (tenant.name.to_string(), cursor.name().to_owned());
        let row = self.rows.entry(key).or_insert_with(|| Arc::new(Row::new(tenant.name.clone(), cursor)));
        Arc::clone(row)
    }

    /// Which deliveries are to be stopped for a new configuration.
    fn concerned(&self, configs: &[writegate_config::Endpoint], settings: &TenantSettings) -> Vec<Key> {
        let unchanged = |name: &str| {
            let endpoint = self.endpoints.iter().find(|endpoint| endpoint.config.name == name);
            endpoint.is_some_and(|endpoint| configs.contains(&endpoint.config))
        };
        let same_settings = |tenant: &str| match writegate_config::TenantName::new(tenant) {
            Ok(name) => {
                self.settings.get(&name) == settings.get(&name) && self.settings.id_of(&name) == settings.id_of(&name)
            }
            Err(_) => true,
        };
        let concerns =
            |((tenant, _), running): &(&Key, &Running)| !unchanged(&running.endpoint) || !same_settings(tenant);
        self.running.iter().filter(concerns).map(|(key, _)| key.clone()).collect()
    }
}

async fn stop_all(running: Vec<Running>) {
    for running in &running {
        running.stop.cancel();
    }
    for Running { task, .. } in running {
        if let Err(error) = task.await {
            tracing::error!(%error, "a delivery ended badly");
        }
    }
}

/// Opens the cursor of a tenant at an endpoint. One that exists goes on where it was; a new one starts where the
/// endpoint says, since a tenant that was born later got its cursors at birth.
fn open_cursor(tenant: &Tenant, endpoint: &Endpoint, now_ms: i64) -> Result<Arc<Cursor>, CursorError> {
    let start = match endpoint.config.from {
        StartFrom::Latest => Start::Head,
        StartFrom::Earliest => Start::Oldest,
        StartFrom::Back(duration) => {
            Start::Since(now_ms.saturating_sub(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
        }
    };
    let cursor = tenant.log.cursor(&endpoint.config.name, start)?;
    // `drop_oldest` here leaves the log's own policy as it is.
    let refuses = endpoint.config.on_full == writegate_config::OnFull::Refuse;
    cursor.set_on_full(refuses.then_some(segment_log::OnFull::Refuse));
    Ok(cursor)
}

/// What a delivery is called in the log and in its endpoint's health: its tenant, or its tenant and replay.
pub(crate) fn delivery_name(row: &Row) -> String {
    row.plan().map_or_else(|| row.tenant.to_string(), |plan| format!("{} (replay {})", row.tenant, plan.id))
}

/// What was in flight when the delivery ended before lies within a window's length of what is settled.
fn perhaps_sent(row: &Row) -> Position {
    (row.cursor().settled_until() + schedule::window::MOST_RECORDS as u64).min(row.cursor().log().head())
}

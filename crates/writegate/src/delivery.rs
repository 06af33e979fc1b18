//! Deliveries: one task per tenant and endpoint moves that cursor. This file starts and stops them.

mod backoff;
mod batch;
mod endpoint;
mod footprint;
mod form;
mod outcome;
mod send;
mod task;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use segment_log::{CursorError, Start};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use writegate_config::StartFrom;

pub(crate) use self::endpoint::Endpoint;
use self::form::FormCache;
use self::task::Delivery;
use crate::chain::Chain;
use crate::ledger::Row;
use crate::tenant::{Tenant, Tenants};

/// What all deliveries share.
#[derive(Debug)]
struct Shared {
    forms: FormCache,
    /// How many huge batches may be formed at once: each may take a few times `decoded_bytes` of memory.
    formers: Semaphore,
}

/// All endpoints, and the deliveries to them.
#[derive(Debug)]
pub(crate) struct Deliveries {
    tenants: Arc<Tenants>,
    shared: Arc<Shared>,
    state: Mutex<State>,
    /// Held while deliveries are started or the endpoints change, so that neither sees half of the other.
    changing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    endpoints: Vec<Arc<Endpoint>>,
    /// By tenant and endpoint name; rows of removed endpoints stay.
    rows: BTreeMap<(String, String), Arc<Row>>,
    running: BTreeMap<(String, String), Running>,
    /// Being stopped: to be started again only when that is done, or a series could overtake itself.
    stopping: BTreeSet<(String, String)>,
}

#[derive(Debug)]
struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Deliveries {
    pub(crate) fn new(tenants: Arc<Tenants>) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let shared = Shared { forms: FormCache::default(), formers: Semaphore::new(cores) };
        Self { tenants, shared: Arc::new(shared), state: Mutex::default(), changing: tokio::sync::Mutex::default() }
    }

    /// The endpoints of the configuration.
    pub(crate) fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        self.lock().endpoints.clone()
    }

    /// The books, by tenant and endpoint.
    pub(crate) fn rows(&self) -> Vec<Arc<Row>> {
        self.lock().rows.values().cloned().collect()
    }

    /// Changes the set of endpoints. Deliveries to those that went or changed are stopped first, each after the request
    /// it has in flight; those that are new or changed are started by the next [`Deliveries::start`].
    pub(crate) async fn configure(&self, configs: &[writegate_config::Endpoint]) {
        let unchanged = |endpoint: &Arc<Endpoint>| configs.contains(&endpoint.config);
        let to_stop: Vec<((String, String), Running)> = {
            let _changing = self.changing.lock().await;
            let mut state = self.lock();
            let gone: Vec<String> = state
                .endpoints
                .iter()
                .filter(|endpoint| !unchanged(endpoint))
                .map(|endpoint| endpoint.config.name.clone())
                .collect();
            let keys: Vec<_> = state.running.keys().filter(|(_, endpoint)| gone.contains(endpoint)).cloned().collect();
            let to_stop: Vec<_> =
                keys.into_iter().filter_map(|key| state.running.remove(&key).map(|running| (key, running))).collect();
            state.stopping.extend(to_stop.iter().map(|(key, _)| key.clone()));
            let endpoints = configs
                .iter()
                .map(|config| match state.endpoints.iter().find(|endpoint| endpoint.config.name == config.name) {
                    Some(endpoint) if endpoint.config == *config => Arc::clone(endpoint),
                    Some(endpoint) => Arc::new(endpoint.reconfigured(config.clone())),
                    None => Arc::new(Endpoint::new(config.clone())),
                })
                .collect();
            state.endpoints = endpoints;
            to_stop
        };
        let births = configs.iter().map(|config| (config.name.clone(), config.tenants.clone())).collect();
        self.tenants.set_cradle(births);
        let (keys, running): (Vec<_>, Vec<_>) = to_stop.into_iter().unzip();
        stop_all(running).await;
        let mut state = self.lock();
        for key in keys {
            state.stopping.remove(&key);
        }
    }

    /// Starts what should run and does not: called after the endpoints changed and when a tenant was born. Detaches the
    /// cursors of endpoints that went. Blocks on the disk: must not run on a thread of the runtime.
    pub(crate) fn start(&self, now_ms: i64) {
        let _changing = self.changing.blocking_lock();
        for tenant in self.tenants.list() {
            self.start_tenant(&tenant, now_ms);
        }
    }

    fn start_tenant(&self, tenant: &Arc<Tenant>, now_ms: i64) {
        let endpoints = self.endpoints();
        for endpoint in endpoints.iter().filter(|endpoint| endpoint.config.takes(tenant.name.as_str())) {
            let key = (tenant.name.to_string(), endpoint.config.name.clone());
            let state = self.lock();
            if state.running.contains_key(&key) || state.stopping.contains(&key) {
                continue;
            }
            drop(state);
            match row(tenant, endpoint, now_ms) {
                Ok(row) => self.spawn(key, tenant, endpoint, row),
                Err(error) => endpoint.fails(&format!("its cursor cannot be opened: {}", Chain(&error)), None),
            }
        }
        for cursor in tenant.log.cursors() {
            let wanted = endpoints
                .iter()
                .any(|endpoint| endpoint.config.name == cursor.name() && endpoint.config.takes(tenant.name.as_str()));
            if wanted {
                continue;
            }
            if cursor.is_attached()
                && let Err(error) = tenant.log.detach_cursor(cursor.name())
            {
                tracing::error!(tenant = %tenant.name, endpoint = cursor.name(), error = %Chain(&error), "a cursor cannot be detached");
            }
            let key = (tenant.name.to_string(), cursor.name().to_owned());
            self.lock().rows.entry(key).or_insert_with(|| Arc::new(Row::new(tenant.name.clone(), cursor)));
        }
    }

    fn spawn(&self, key: (String, String), tenant: &Arc<Tenant>, endpoint: &Arc<Endpoint>, row: Row) {
        let mut state = self.lock();
        // A row that was there keeps its place: its books are the ones just read from the cursor.
        let row = Arc::new(row);
        state.rows.insert(key.clone(), Arc::clone(&row));
        let stop = CancellationToken::new();
        let delivery = Delivery {
            shared: Arc::clone(&self.shared),
            endpoint: Arc::clone(endpoint),
            tenant: Arc::clone(tenant),
            row,
            stop: stop.clone(),
        };
        let task = tokio::spawn(delivery.run());
        state.running.insert(key, Running { stop, task });
    }

    /// Stops all deliveries, each after the request it has in flight, for at most `patience`.
    pub(crate) async fn stop(&self, patience: Duration) {
        let running: Vec<Running> = std::mem::take(&mut self.lock().running).into_values().collect();
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

/// Opens the row of a tenant at an endpoint. A cursor that exists goes on where it was; a new one starts where the
/// endpoint says, since a tenant that was born later got its cursors at birth.
fn row(tenant: &Tenant, endpoint: &Endpoint, now_ms: i64) -> Result<Row, CursorError> {
    let start = match endpoint.config.from {
        StartFrom::Latest => Start::Head,
        StartFrom::Earliest => Start::Oldest,
        StartFrom::Back(duration) => {
            Start::Since(now_ms.saturating_sub(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
        }
    };
    let cursor = tenant.log.cursor(&endpoint.config.name, start)?;
    // `drop_oldest` here leaves the log's own policy as it is.
    if endpoint.config.on_full == writegate_config::OnFull::Refuse {
        cursor.set_on_full(segment_log::OnFull::Refuse);
    }
    Ok(Row::new(tenant.name.clone(), cursor))
}

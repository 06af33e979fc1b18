//! Replays: a window of a tenant's log, sent to one endpoint once more beside the live delivery. Each has a cursor of its own,
//! which holds its window in the log, and a row of its own in the ledger.

use std::sync::Arc;

use segment_log::{Cursor, CursorError, ReadError, SettleError, Start};
use tokio::task::JoinError;

use super::context::Work;
use super::{Deliveries, Key, Launch, delivery_name, stop_all};
use crate::chain::Chain;
use crate::clock::now_ms;
use crate::ledger::{ReplayPlan, ReplayState, Row};
use crate::offload::offload;
use crate::record;
use crate::tenant::Tenant;

/// How many replays of a tenant that have ended are still shown.
const SHOWN: usize = 16;

/// What is to be sent again, and where.
#[derive(Clone, Debug)]
pub(crate) struct ReplayRequest {
    pub(crate) tenant: String,
    pub(crate) endpoint: String,
    /// Records received from then on, in milliseconds since 1970.
    pub(crate) from_ms: i64,
    /// And before then.
    pub(crate) to_ms: i64,
    /// Samples a second; 0: no limit.
    pub(crate) rate: u64,
}

/// A replay did not begin, or could not be ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplayError {
    #[error("replay to endpoint {0:?}: there is no such endpoint in the configuration")]
    NoEndpoint(String),
    #[error("replay for tenant {0:?}: nothing was ever accepted for it")]
    NoTenant(String),
    #[error(
        "replay for tenant {tenant:?}: endpoint {endpoint:?} does not take its data (remote_write.tenants), or would take it for that of a tenant with this id"
    )]
    NotTaken { tenant: String, endpoint: String },
    #[error("replay a window that ends ({to_ms}) before it begins ({from_ms})")]
    Backwards { from_ms: i64, to_ms: i64 },
    #[error("replay a window of which the log holds nothing; see log.retain, and `writegate status` for what it holds")]
    Empty,
    #[error("find the window in the log")]
    Read(#[from] ReadError),
    #[error("keep the replay's place in the log")]
    Cursor(#[from] CursorError),
    #[error("keep the replay's plan")]
    Plan(#[from] SettleError),
    #[error("wait for a thread")]
    Thread(#[from] JoinError),
}

impl Deliveries {
    /// Begins a replay, and gives its id.
    ///
    /// # Errors
    /// When there is nothing to replay, nowhere to replay to, or the disk fails.
    pub(crate) async fn begin_replay(self: &Arc<Self>, request: ReplayRequest) -> Result<u64, ReplayError> {
        let deliveries = Arc::clone(self);
        let changing = Arc::clone(&self.changing).lock_owned().await;
        offload(move || {
            let begun = deliveries.begin_replay_now(&request, now_ms());
            drop(changing);
            begun
        })
        .await?
    }

    fn begin_replay_now(&self, request: &ReplayRequest, now_ms: i64) -> Result<u64, ReplayError> {
        let ReplayRequest { tenant: tenant_name, endpoint: endpoint_name, from_ms, to_ms, rate } = request.clone();
        let endpoints = self.endpoints();
        let endpoint = endpoints.iter().find(|endpoint| endpoint.config.name == endpoint_name);
        let endpoint = endpoint.ok_or_else(|| ReplayError::NoEndpoint(endpoint_name.clone()))?;
        let tenant = self.tenants.list().into_iter().find(|tenant| tenant.name.as_str() == tenant_name);
        let tenant = tenant.ok_or_else(|| ReplayError::NoTenant(tenant_name.clone()))?;
        if !self.may_deliver(&tenant, endpoint) {
            return Err(ReplayError::NotTaken { tenant: tenant_name, endpoint: endpoint_name });
        }
        if to_ms < from_ms {
            return Err(ReplayError::Backwards { from_ms, to_ms });
        }
        let until = tenant.log.position_since(to_ms).map_err(ReadError::from)?;
        let id = self.next_replay_id();
        let name = Row::replay_name(id, &endpoint_name);
        let cursor = tenant.log.cursor(&name, Start::Since(from_ms))?;
        let begun = (|| {
            if cursor.start() >= until {
                return Err(ReplayError::Empty);
            }
            let until_totals = record::from_array(tenant.log.totals_at(until)?);
            let row = Arc::new(Row::new(tenant.name.clone(), Arc::clone(&cursor)));
            let (state, lost, begun_ms) = (ReplayState::Running, Default::default(), now_ms);
            row.set_plan(ReplayPlan { id, until, until_totals, from_ms, to_ms, rate, begun_ms, state, lost })?;
            Ok(row)
        })();
        let row = match begun {
            Ok(row) => row,
            Err(error) => {
                tenant.log.forget_cursor(&name)?;
                return Err(error);
            }
        };
        tracing::info!(
            tenant = tenant_name,
            endpoint = endpoint_name,
            id,
            from = cursor.start(),
            until,
            "a replay begins"
        );
        self.forget_old_replays(&tenant);
        self.lock().rows.insert((tenant_name.clone(), name.clone()), Arc::clone(&row));
        let launch = Launch { tenant: &tenant, endpoint, row, work: Work::Replay { until, rate }, is_new: true };
        self.spawn((tenant_name, name), launch);
        Ok(id)
    }

    /// Goes on with a replay of an earlier process, or of before a reload.
    pub(super) fn resume_replay(&self, tenant: &Arc<Tenant>, key: Key, cursor: Arc<Cursor>) {
        if self.is_busy(&key) {
            return;
        }
        let known = self.lock().rows.get(&key).cloned();
        let row = known.unwrap_or_else(|| Arc::new(Row::new(tenant.name.clone(), cursor)));
        let Some(plan) = row.plan() else {
            // It was being begun when the process ended.
            if let Err(error) = tenant.log.forget_cursor(&key.1) {
                tracing::error!(tenant = key.0, error = %Chain(&error), "a replay that never began cannot be forgotten");
            }
            return;
        };
        let endpoint = self.endpoints().into_iter().find(|endpoint| endpoint.config.name == row.endpoint);
        self.lock().rows.insert(key.clone(), Arc::clone(&row));
        match endpoint.filter(|endpoint| self.may_deliver(tenant, endpoint)) {
            Some(endpoint) if plan.state == ReplayState::Running => {
                // What the log does not have any more is booked: it would be waited for without end.
                if let Err(error) = tenant.log.cursor(&key.1, Start::Oldest) {
                    let why = format!("its cursor cannot be opened: {}", Chain(&error));
                    endpoint.health.fails(&endpoint.config.name, &delivery_name(&row), &why, None);
                    return;
                }
                let work = Work::Replay { until: plan.until, rate: plan.rate };
                self.spawn(key, Launch { tenant, endpoint: &endpoint, row, work, is_new: false });
            }
            _ => {}
        }
    }

    /// Ends a replay, after the requests it has in flight. False if no such one is running.
    pub(crate) async fn cancel_replay(&self, id: u64) -> bool {
        let found = {
            let _changing = self.changing.lock().await;
            let mut state = self.lock();
            let is_it =
                |row: &Arc<Row>| row.plan().is_some_and(|plan| plan.id == id && plan.state == ReplayState::Running);
            let found = state.rows.iter().find(|(_, row)| is_it(row)).map(|(key, row)| (key.clone(), Arc::clone(row)));
            found.map(|(key, row)| {
                let running = state.running.remove(&key);
                (state.stopping.insert(key.clone()), key, row, running)
            })
        };
        let Some((is_mine, key, row, running)) = found else { return false };
        if !is_mine {
            return true; // It is being ended.
        }
        stop_all(running.into_iter().collect()).await;
        self.lock().stopping.remove(&key);
        let tenant = self.tenants.list().into_iter().find(|tenant| tenant.name == row.tenant);
        let is_running = row.plan().is_some_and(|plan| plan.state == ReplayState::Running);
        if let Some(tenant) = tenant.filter(|_| is_running) {
            if let Some(endpoint) = self.endpoints().iter().find(|endpoint| endpoint.config.name == row.endpoint) {
                endpoint.health.ended(&delivery_name(&row));
            }
            end(&tenant, &row, ReplayState::Cancelled);
        }
        true
    }

    /// All replays that are running or still shown.
    pub(crate) fn replays(&self) -> Vec<(Arc<Row>, ReplayPlan)> {
        let mut replays: Vec<_> =
            self.rows().into_iter().filter_map(|row| row.plan().map(|plan| (row, plan))).collect();
        replays.sort_by_key(|(_, plan)| plan.id);
        replays
    }

    fn next_replay_id(&self) -> u64 {
        self.replays().last().map_or(1, |(_, plan)| plan.id + 1)
    }

    fn forget_old_replays(&self, tenant: &Arc<Tenant>) {
        let mut state = self.lock();
        let ended = state.rows.iter().filter_map(|(key, row)| {
            let plan = row.plan().filter(|plan| plan.state != ReplayState::Running)?;
            (row.tenant == tenant.name).then(|| (plan.id, key.clone()))
        });
        let mut ended: Vec<(u64, Key)> = ended.collect();
        ended.sort();
        let surplus = ended.len().saturating_sub(SHOWN);
        for (_, key) in ended.into_iter().take(surplus) {
            match tenant.log.forget_cursor(&key.1) {
                Ok(()) => {
                    state.rows.remove(&key);
                    state.running.remove(&key);
                    state.started.remove(&key);
                }
                Err(error) => tracing::error!(error = %Chain(&error), "a replay that ended cannot be forgotten"),
            }
        }
    }
}

/// Writes down that a replay has ended. It holds nothing in the log any more; its books stay.
pub(super) fn end(tenant: &Tenant, row: &Row, state: ReplayState) {
    let Some(plan) = row.plan() else { return };
    let id = plan.id;
    let lost = record::from_array(row.cursor().expired());
    if let Err(error) = row.set_plan(ReplayPlan { state, lost, ..plan }) {
        // It is found complete, and ended, at the next start.
        tracing::error!(id, error = %Chain(&error), "the end of a replay cannot be written down");
        return;
    }
    if let Err(error) = tenant.log.detach_cursor(row.cursor().name()) {
        tracing::error!(id, error = %Chain(&error), "a replay that ended still holds its window in the log");
    }
    tracing::info!(tenant = %row.tenant, endpoint = row.endpoint, id, state = state.as_str(), "a replay ended");
}

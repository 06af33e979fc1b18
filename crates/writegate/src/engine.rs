//! The gateway without its doors: log, dead letters, tenants and deliveries, opened in their order and kept. Knows no sockets,
//! so that a simulation runs it as it is.

use std::sync::Arc;
use std::time::Duration;

use segment_log::{RecoveryReport, RetentionLimits, Storage, Store, StoreOptions, TickReport};
use tokio_util::sync::CancellationToken;
use writegate_config::Config;

use crate::app::StartError;
use crate::chain::Chain;
use crate::clock::now_ms;
use crate::dead_letters::{DeadLetters, MoveError};
use crate::delivery::{Deliveries, Patience};
use crate::offload::offload;
use crate::retention;
use crate::tenant::Tenants;

/// The log's upkeep and the cursors' sync: promised within a second.
const TICK: Duration = Duration::from_millis(500);

/// What an engine does not choose itself.
#[derive(Debug)]
pub(crate) struct Ground {
    /// The disk under the log.
    pub(crate) storage: Arc<dyn Storage>,
    /// The disk under the dead letters.
    pub(crate) letters: Arc<dyn dead_letters::Storage>,
    /// How the log is kept; its limits are the configuration's.
    pub(crate) options: StoreOptions,
    pub(crate) patience: Patience,
}

/// All that moves data from the log to endpoints. Clones are the same engine.
#[derive(Clone, Debug)]
pub(crate) struct Engine {
    pub(crate) store: Arc<Store>,
    pub(crate) tenants: Arc<Tenants>,
    pub(crate) deliveries: Arc<Deliveries>,
}

impl Engine {
    /// Opens the log and the dead letters. Nothing is delivered before [`Engine::begin`].
    ///
    /// # Errors
    /// When one of them cannot be opened.
    pub(crate) async fn open(ground: Ground, config: &Config) -> Result<Self, StartError> {
        let Ground { storage, letters, mut options, patience } = ground;
        let path = config.log.path.clone();
        storage.create_dir(&path).map_err(|source| StartError::CreateDirectory { path: path.clone(), source })?;
        options.limits = limits(&config.log)?;
        let (store, report) = offload(move || Store::open(options, storage)).await??;
        report_recovery(&report);
        let store = Arc::new(store);
        let max_bytes = config.dead_letters_max_size;
        let dead_letters = offload(move || DeadLetters::open(letters, &path, max_bytes)).await??;
        let tenants = Arc::new(Tenants::new(Arc::clone(&store), config));
        let deliveries = Arc::new(Deliveries::new(Arc::clone(&tenants), Arc::new(dead_letters), patience));
        Ok(Self { store, tenants, deliveries })
    }

    /// Begins to deliver.
    pub(crate) async fn begin(&self, config: &Config) {
        self.recover_dead_letters().await;
        self.deliveries.configure(&config.endpoints, &config.tenants).await;
    }

    /// After an end that was no shutdown, books and dead letters may be of two moments.
    async fn recover_dead_letters(&self) {
        let deliveries = Arc::clone(&self.deliveries);
        let recovered = offload(move || deliveries.dead_letters().recover(&deliveries.rows())).await;
        match recovered {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                let error = Chain(&error);
                tracing::error!(%error, "dead letters and books could not be compared; trying again");
            }
            Err(error) => tracing::error!(%error, "dead letters and books could not be compared"),
        }
    }

    /// Takes over the limits of a new configuration.
    pub(crate) fn set_limits(&self, log: RetentionLimits, config: &Config) {
        self.store.set_limits(log);
        self.tenants.set_settings(config);
        self.deliveries.dead_letters().set_max_bytes(config.dead_letters_max_size);
    }

    /// Starts the deliveries of tenants as they are born.
    pub(crate) async fn deliver_to_newborn(self, stop: CancellationToken) {
        let mut births = self.tenants.births();
        loop {
            // Also once at first: a tenant may have been born before this task ran.
            self.deliveries.start().await;
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                changed = births.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Keeps the log: syncs cursors, deletes what is no longer needed, reports what went wrong.
    pub(crate) async fn tick(self, stop: CancellationToken) {
        let mut interval = tokio::time::interval(TICK);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while tokio::select! { biased; () = stop.cancelled() => false, _ = interval.tick() => true } {
            let (store, deliveries) = (Arc::clone(&self.store), Arc::clone(&self.deliveries));
            match offload(move || (store.tick(now_ms()), deliveries.evict_dead_letters())).await {
                Ok((report, evicted)) => {
                    report_tick(&report);
                    report_evicted(evicted);
                }
                Err(error) => tracing::error!(%error, "the log's upkeep failed"),
            }
        }
    }

    /// Commits what is queued and closes the log.
    pub(crate) async fn close(&self) {
        let store = Arc::clone(&self.store);
        match offload(move || store.close()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(error = %Chain(&error), "the log was not closed cleanly"),
            Err(error) => tracing::error!(%error, "the log was not closed cleanly"),
        }
    }
}

/// The bounds of the log in a configuration.
///
/// # Errors
/// When they depend on the file system's size and that is not known.
pub(crate) fn limits(log: &writegate_config::Log) -> Result<RetentionLimits, StartError> {
    retention::limits(log).map_err(|source| StartError::FileSystem { path: log.path.clone(), source })
}

fn report_recovery(report: &RecoveryReport) {
    for path in &report.unreadable {
        tracing::error!(path = %path.display(), "a directory could not be read as a log and is left as it is");
    }
    for log in &report.logs {
        if log.is_clean() {
            tracing::debug!(tenant = log.name, records = log.head - log.oldest, "log opened");
        } else {
            tracing::warn!(
                tenant = log.name,
                torn_bytes = log.torn_bytes,
                damaged_records = log.damaged_records,
                damaged_segments = ?log.damaged_segments,
                cursors_lost = log.cursors_lost,
                "log recovered: torn bytes were never acknowledged, damaged records were"
            );
        }
    }
}

fn report_evicted(evicted: Result<u64, MoveError>) {
    match evicted {
        Ok(0) => {}
        Ok(letters) => tracing::warn!(letters, "dead letters gave way to newer ones (dead_letters.max_size)"),
        Err(error) => tracing::error!(error = %Chain(&error), "old dead letters cannot be let go; trying again"),
    }
}

fn report_tick(report: &TickReport) {
    for expired in &report.expired {
        let [samples, histograms, exemplars] = expired.counts;
        tracing::warn!(
            tenant = expired.log,
            endpoint = expired.cursor,
            samples,
            histograms,
            exemplars,
            "the log was full: data left it before the endpoint had it"
        );
    }
    for failed in &report.errors {
        tracing::error!(tenant = failed.log, error = %Chain(&failed.error), "the log's upkeep failed; trying again");
    }
}

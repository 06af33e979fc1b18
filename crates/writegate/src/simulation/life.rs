//! One process of the gateway: the engine, and a door for senders in place of listeners.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::StatusCode;
use http::request::Parts;
use tokio_util::sync::CancellationToken;
use writegate_config::{Config, Listener, TenantName};

use crate::app::StartError;
use crate::auth::{Authentication, Providers};
use crate::engine::{self, Engine, Ground};
use crate::ingest::{Gate, push_in_simulation};

/// How long a shutdown waits for requests to endpoints.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// Where senders push.
pub(super) struct Door {
    gate: Gate,
    listener: Listener,
    closing: Arc<AtomicBool>,
    ends_sending: AtomicBool,
}

impl Door {
    pub(super) async fn push(&self, tenant: TenantName, parts: &Parts, body: Bytes) -> StatusCode {
        push_in_simulation(&self.gate, &self.listener, tenant, parts, body).await
    }

    /// Whether senders should make no more requests.
    pub(super) fn ends_sending(&self) -> bool {
        self.ends_sending.load(Ordering::Relaxed)
    }

    pub(super) fn end_sending(&self) {
        self.ends_sending.store(true, Ordering::Relaxed);
    }
}

pub(super) struct Life {
    pub(super) engine: Engine,
    pub(super) door: Arc<Door>,
    stop: CancellationToken,
}

impl Life {
    /// Starts a process.
    pub(super) async fn begin(ground: Ground, config: &Config) -> Result<Self, StartError> {
        let engine = Engine::open(ground, config).await?;
        engine.begin(config).await;
        let (stop, closing) = (CancellationToken::new(), Arc::<AtomicBool>::default());
        let authentication = Authentication::load(config, &Providers::default()).expect("no credentials");
        let authentication = Arc::new(ArcSwap::from_pointee(authentication));
        let (tenants, stats) = (Arc::clone(&engine.tenants), Arc::default());
        let gate = Gate::new(tenants, authentication, config, stats, Arc::clone(&closing));
        let listener = config.listeners.first().cloned().expect("a listener");
        let door = Arc::new(Door { gate, listener, closing, ends_sending: AtomicBool::new(false) });
        tokio::spawn(engine.clone().tick(stop.clone()));
        tokio::spawn(engine.clone().deliver_to_newborn(stop.clone()));
        let store = Arc::clone(&engine.store);
        tokio::spawn(async move {
            loop {
                // As long as a sync may take on a bad day, more or less.
                tokio::time::sleep(Duration::from_millis(fastrand::u64(1..15))).await;
                store.work();
            }
        });
        Ok(Self { engine, door, stop })
    }

    pub(super) async fn reload(&self, config: &Config) {
        let limits = engine::limits(&config.log).expect("limits in bytes");
        self.engine.set_limits(limits, config);
        self.engine.deliveries.configure(&config.endpoints, &config.tenants).await;
    }

    pub(super) async fn shut_down(&self) {
        self.door.closing.store(true, Ordering::Relaxed);
        self.engine.deliveries.stop(STOP_WITHIN).await;
        self.stop.cancel();
        self.engine.close().await;
    }
}

//! Which of several operators acts: the holder of a Lease, as Kubernetes' own controllers do it. Times of others are never
//! compared with the own clock: a lease has run out when it has not changed for its duration, as seen from here.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value as Json, json};
use targets::Key;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::api::{Address, Api, Refused};

/// Kubernetes' own figures: others wait this long for a sign of life,
const DURATION: Duration = Duration::from_secs(15);
/// the holder stops writing when it could give none for this long,
const DEADLINE: Duration = Duration::from_secs(10);
/// and both try this often.
const PERIOD: Duration = Duration::from_secs(2);

/// Until when this operator may write; `None`: it may not.
pub(crate) type Term = watch::Receiver<Option<Instant>>;

/// A candidate.
#[derive(Debug)]
pub(crate) struct Candidate {
    api: Api,
    key: Key,
    identity: String,
    /// The lease as last seen, and when it was first seen so.
    seen: Option<(String, Instant)>,
}

impl Candidate {
    pub(crate) fn new(api: Api, key: Key) -> Self {
        let host =
            std::env::var("POD_NAME").or_else(|_| std::env::var("HOSTNAME")).unwrap_or_else(|_| "operator".to_owned());
        let identity = format!("{host}_{:016x}", fastrand::u64(..));
        Self { api, key, identity, seen: None }
    }

    /// Tries for the lease, again and again, until `stop`; then gives it back.
    pub(crate) async fn run(mut self, term: watch::Sender<Option<Instant>>, stop: CancellationToken) {
        let mut failed = false;
        loop {
            let began = Instant::now();
            match self.attempt(began).await {
                Ok(true) => {
                    // Only a change is told: nobody need wake up for a renewal.
                    let took = term.send_if_modified(|until| until.replace(began + DEADLINE).is_none());
                    if took {
                        tracing::info!(lease = %self.key, identity = self.identity, "this operator leads");
                    }
                    failed = false;
                }
                Ok(false) => {
                    if term.send_replace(None).is_some() {
                        tracing::warn!(lease = %self.key, "another operator leads now");
                    }
                    failed = false;
                }
                Err(error) => {
                    if !failed {
                        tracing::warn!(lease = %self.key, %error, "the lease could not be renewed, which is tried again");
                    }
                    failed = true;
                    let over = term.borrow().is_some_and(|until| until <= Instant::now());
                    if over {
                        term.send_replace(None);
                    }
                }
            }
            let pause = PERIOD.mul_f64(0.8 + fastrand::f64() * 0.4);
            tokio::select! {
                () = stop.cancelled() => break,
                () = sleep(pause) => {}
            }
        }
        if term.send_replace(None).is_some() {
            self.give_back().await;
        }
    }

    /// Whether the lease is held.
    async fn attempt(&mut self, now: Instant) -> Result<bool, Refused> {
        let address = Address::lease(&self.key);
        let mut lease = match self.api.get(&address).await {
            Ok(lease) => lease,
            Err(error) if error.is_missing() => {
                let mut lease = json!({
                    "apiVersion": "coordination.k8s.io/v1",
                    "kind": "Lease",
                    "metadata": {"namespace": self.key.namespace, "name": self.key.name},
                });
                self.take(&mut lease, 0);
                return held(self.api.create(&address, &lease).await);
            }
            Err(error) => return Err(error),
        };
        let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned();
        let version = lease["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
        if self.seen.as_ref().is_none_or(|(seen, _)| *seen != version) {
            self.seen = Some((version, now));
        }
        let since = self.seen.as_ref().map_or(now, |(_, since)| *since);
        if holder == self.identity {
            lease["spec"]["renewTime"] = json!(moment());
        } else {
            let duration = lease["spec"]["leaseDurationSeconds"].as_u64().map_or(DURATION, Duration::from_secs);
            if !holder.is_empty() && since + duration > now {
                return Ok(false);
            }
            let transitions = lease["spec"]["leaseTransitions"].as_u64().unwrap_or_default();
            self.take(&mut lease, transitions + 1);
        }
        held(self.api.replace(&address, &lease).await)
    }

    fn take(&self, lease: &mut Json, transitions: u64) {
        lease["spec"] = json!({
            "holderIdentity": self.identity,
            "leaseDurationSeconds": DURATION.as_secs(),
            "acquireTime": moment(),
            "renewTime": moment(),
            "leaseTransitions": transitions,
        });
    }

    /// The next one need not wait.
    async fn give_back(&self) {
        let address = Address::lease(&self.key);
        let Ok(mut lease) = self.api.get(&address).await else { return };
        if lease["spec"]["holderIdentity"] == self.identity {
            lease["spec"]["holderIdentity"] = Json::Null;
            lease["spec"]["leaseDurationSeconds"] = json!(1);
            if let Err(error) = self.api.replace(&address, &lease).await {
                tracing::warn!(lease = %self.key, %error, "the lease could not be given back; it runs out by itself");
            }
        }
    }
}

/// Somebody else was faster.
fn held(answer: Result<Json, Refused>) -> Result<bool, Refused> {
    match answer {
        Ok(_) => Ok(true),
        Err(error) if error.is_conflict() => Ok(false),
        Err(error) => Err(error),
    }
}

/// `MicroTime`.
fn moment() -> String {
    format!("{:.6}", Timestamp::now())
}

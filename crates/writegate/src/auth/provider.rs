//! Keys of signed tokens that somebody else publishes: a JSON Web Key Set at a URL (RFC 7517 §5), or the set of an `OpenID`
//! provider, which says where it is (`OpenID` Connect Discovery 1.0 §4).
//!
//! A task for each provider fetches them, at start and again and again; a request only ever waits for that task, and only if
//! its token names a key that is not known. While a provider cannot be reached, what it said last stays good for a day:
//! senders must not lose data because of it. Not for longer, because a key that was taken back must not be good for ever to
//! whoever keeps the gateway from hearing of it; and what a provider gave out before it went down has mostly expired by then.

mod fetch;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use identity::key_set::KeySet;
use outbound::connect::Connector;
use outbound::fetch::{Bounds, Fetcher};
use outbound::tls::{TlsError, TlsSource};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};
use writegate_config::{ClientTls, Issuer, Url};

use self::fetch::Publication;
use crate::chain::Chain;
use crate::clock::now_ms;

/// One exchange with a provider.
const BOUNDS: Bounds = Bounds { within: Duration::from_secs(4), body: identity::key_set::MAX_DOCUMENT_BYTES };
/// How long keys are taken to be current when the provider does not say, and the least and the most that it may say.
const CURRENT_FOR: Duration = Duration::from_secs(600);
const CURRENT_AT_LEAST: Duration = Duration::from_secs(60);
const CURRENT_AT_MOST: Duration = Duration::from_secs(24 * 3600);
/// How long keys are good after they were fetched last.
const GOOD_FOR: Duration = Duration::from_secs(24 * 3600);
/// Between the beginnings of two fetches, whatever tokens come.
const FETCH_EVERY: Duration = Duration::from_secs(2);
/// Pauses after a failure: from the first, doubled, to the last.
/// So many keys of a provider are named in the log: it is not ours, and may publish thousands.
const MOST_NAMED: usize = 16;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_secs(30);

/// Where keys are published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Url(Url),
    Issuer(Issuer),
}

/// For people, logs and metrics.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => f.write_str(&url.redacted()),
            Self::Issuer(issuer) => issuer.fmt(f),
        }
    }
}

/// Who publishes keys. Dropping it ends its task.
pub(crate) struct Provider {
    place: Place,
    tls: Option<ClientTls>,
    shared: Arc<Shared>,
    is_begun: AtomicBool,
    stop: CancellationToken,
    _stop: DropGuard,
}

/// What a provider's task and those who look at it share.
struct Shared {
    name: String,
    fetcher: Fetcher,
    state: watch::Sender<State>,
    /// When keys were last wanted, because a token names one that is not known.
    wanted: watch::Sender<Option<Instant>>,
    /// Grows when the keys change.
    epoch: AtomicU64,
    fetched: AtomicU64,
    failed: AtomicU64,
    /// Milliseconds since 1970; 0: never.
    last_success_ms: AtomicI64,
}

#[derive(Clone, Debug, Default)]
struct State {
    published: Option<Published>,
    /// When the last attempt began that has ended.
    tried: Option<Instant>,
    /// Whether that one failed.
    is_failing: bool,
    /// Whether the next one is waited for; `false`: it goes on, or is about to begin.
    is_idle: bool,
}

#[derive(Clone, Debug)]
struct Published {
    keys: Arc<KeySet>,
    /// As fetched, to tell whether it changed.
    document: Bytes,
    at: Instant,
}

/// What is shown of a provider.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Standing {
    /// Fetches that ended well.
    pub(crate) fetched: u64,
    /// Fetches that did not.
    pub(crate) failed: u64,
    /// Milliseconds since 1970; 0: never.
    pub(crate) last_success_ms: i64,
}

/// All providers that are in use, so that a reload does not forget their keys, and each is asked once for all that use it.
#[derive(Debug, Default)]
pub(crate) struct Providers(Mutex<Vec<Weak<Provider>>>);

impl Providers {
    /// The provider at a place, reached with these settings. It fetches nothing before [`Provider::begin`].
    ///
    /// # Errors
    /// When a file of the settings cannot be read or used.
    pub(super) fn get(&self, place: &Place, tls: Option<&ClientTls>) -> Result<Arc<Provider>, TlsError> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|provider| provider.strong_count() > 0);
        let is_it = |provider: &Arc<Provider>| provider.place == *place && provider.tls.as_ref() == tls;
        if let Some(provider) = known.iter().filter_map(Weak::upgrade).find(is_it) {
            return Ok(provider);
        }
        let provider = Arc::new(Provider::new(place.clone(), tls.cloned())?);
        known.push(Arc::downgrade(&provider));
        Ok(provider)
    }
}

impl Provider {
    fn new(place: Place, tls: Option<ClientTls>) -> Result<Self, TlsError> {
        let source = TlsSource::new(tls.as_ref(), false);
        if tls.is_some() {
            source.current()?;
        }
        let shared = Arc::new(Shared {
            name: place.to_string(),
            fetcher: Fetcher::new(Connector::new(source, BOUNDS.within), BOUNDS),
            state: watch::Sender::default(),
            wanted: watch::Sender::default(),
            epoch: AtomicU64::new(0),
            fetched: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            last_success_ms: AtomicI64::new(0),
        });
        let stop = CancellationToken::new();
        Ok(Self { place, tls, shared, is_begun: AtomicBool::new(false), stop: stop.clone(), _stop: stop.drop_guard() })
    }

    /// Begins to fetch, once.
    pub(super) fn begin(&self) {
        if !self.is_begun.swap(true, Ordering::Relaxed) {
            let task = Arc::clone(&self.shared).keep_current(self.place.clone(), self.stop.clone());
            // It ends when the provider is dropped, and holds nothing but memory.
            drop(tokio::spawn(task));
        }
    }

    /// The keys that are good now.
    pub(super) fn keys(&self) -> Option<Arc<KeySet>> {
        self.shared.state.borrow().good()
    }

    /// Another number whenever the keys may have changed.
    pub(super) fn epoch(&self) -> u64 {
        self.shared.epoch.load(Ordering::Acquire)
    }

    /// Has the keys fetched as soon as that may be, if that is not going on.
    pub(super) fn want(&self) {
        if self.shared.state.borrow().is_idle {
            self.shared.wanted.send_replace(Some(Instant::now()));
        }
    }

    /// Has the keys fetched, and waits until they are enough, or have been fetched since `arrived`. Whether one of both came
    /// to be; `false`: the provider cannot be reached, or takes too long.
    pub(super) async fn answers(
        &self,
        arrived: Instant,
        deadline: Instant,
        are_enough: impl Fn(&KeySet) -> bool,
    ) -> bool {
        let mut states = self.shared.state.subscribe();
        loop {
            let state = states.borrow_and_update().clone();
            let keys = state.good();
            if keys.as_ref().is_some_and(|keys| are_enough(keys)) {
                return true;
            }
            // What an attempt brings that began before may be older than the token.
            if state.tried.is_some_and(|tried| tried >= arrived) {
                return !state.is_failing;
            }
            self.want();
            // Without any keys there is no use in waiting: the next attempt may be as bad, and senders come again.
            if state.is_failing && keys.is_none() {
                return false;
            }
            let Ok(Ok(())) = timeout_at(deadline, states.changed()).await else { return false };
        }
    }

    /// The issuer, or the URL with secrets hidden.
    pub(super) fn name(&self) -> &str {
        &self.shared.name
    }

    /// What is shown of it.
    pub(super) fn standing(&self) -> Standing {
        let shared = &self.shared;
        Standing {
            fetched: shared.fetched.load(Ordering::Relaxed),
            failed: shared.failed.load(Ordering::Relaxed),
            last_success_ms: shared.last_success_ms.load(Ordering::Relaxed),
        }
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider").field("name", &self.shared.name).finish_non_exhaustive()
    }
}

impl State {
    fn good(&self) -> Option<Arc<KeySet>> {
        let published = self.published.as_ref().filter(|published| published.at.elapsed() < GOOD_FOR)?;
        Some(Arc::clone(&published.keys))
    }
}

impl Shared {
    /// Fetches until `stop`: when the keys may be out of date, when a token wants another, and again after a failure.
    async fn keep_current(self: Arc<Self>, place: Place, stop: CancellationToken) {
        let mut pause = FIRST_PAUSE;
        loop {
            let began = Instant::now();
            self.state.send_modify(|state| state.is_idle = false);
            let fetched = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                fetched = fetch::publication(&self.fetcher, &place) => fetched,
            };
            let next = match fetched {
                Ok(publication) => {
                    pause = FIRST_PAUSE;
                    let next = jittered(current_for(publication.max_age));
                    self.took(publication, began);
                    next
                }
                Err(error) => {
                    self.missed(&Chain(&error).to_string(), began);
                    let next = jittered(pause);
                    pause = (pause * 2).min(LAST_PAUSE);
                    next
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.is_wanted_after(began) => {}
                () = sleep_until(Instant::now() + next) => {}
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = sleep_until(began + FETCH_EVERY) => {}
            }
        }
    }

    async fn is_wanted_after(&self, began: Instant) {
        // The sender is here: it does not go away.
        drop(self.wanted.subscribe().wait_for(|wanted| wanted.is_some_and(|wanted| wanted > began)).await);
    }

    fn took(&self, Publication { document, keys, refused, .. }: Publication, began: Instant) {
        let (was_failing, is_new) = {
            let state = self.state.borrow();
            let known = state.published.as_ref().map(|published| &published.document);
            (state.is_failing, known != Some(&document))
        };
        let kids: Vec<String> = keys.kids().take(MOST_NAMED).map(str::to_owned).collect();
        let published = Published { keys: Arc::new(keys), document, at: Instant::now() };
        self.fetched.fetch_add(1, Ordering::Relaxed);
        self.last_success_ms.store(now_ms(), Ordering::Relaxed);
        self.state.send_replace(State {
            published: Some(published),
            tried: Some(began),
            is_failing: false,
            is_idle: true,
        });
        if is_new {
            // After the keys: what is verified under this number is verified with them.
            self.epoch.fetch_add(1, Ordering::AcqRel);
            tracing::info!(provider = self.name, ?kids, "the keys of tokens are these from now on");
            let unnamed = refused.len().saturating_sub(MOST_NAMED);
            for key in refused.into_iter().take(MOST_NAMED) {
                tracing::warn!(provider = self.name, key = key.name, error = %key.source, "a key is not taken; the others are");
            }
            if unnamed > 0 {
                tracing::warn!(provider = self.name, keys = unnamed, "so many more keys are not taken");
            }
        } else if was_failing {
            tracing::info!(provider = self.name, "the keys of tokens can be fetched again; they are the same");
        }
    }

    fn missed(&self, why: &str, began: Instant) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        let mut was_failing = false;
        self.state.send_modify(|state| {
            was_failing = state.is_failing;
            (state.tried, state.is_failing, state.is_idle) = (Some(began), true, true);
        });
        if was_failing {
            tracing::debug!(provider = self.name, why, "the keys of tokens still cannot be fetched");
        } else if self.state.borrow().good().is_some() {
            let note = "the keys of tokens cannot be fetched; those that are known stay good for a day";
            tracing::warn!(provider = self.name, why, "{note}");
        } else {
            let note = "the keys of tokens cannot be fetched; its tokens are answered with 503 until they are";
            tracing::warn!(provider = self.name, why, "{note}");
        }
    }
}

/// How long keys are taken to be current, by what the provider says.
fn current_for(max_age: Option<Duration>) -> Duration {
    max_age.unwrap_or(CURRENT_FOR).clamp(CURRENT_AT_LEAST, CURRENT_AT_MOST)
}

/// So that many gateways do not come at once.
fn jittered(duration: Duration) -> Duration {
    duration.mul_f64(0.9 + fastrand::f64() * 0.2)
}

#[cfg(test)]
mod tests;

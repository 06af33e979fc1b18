//! Something that was issued for a while and is used by many: asked for by one at a time, renewed before it expires,
//! thrown away when it is refused.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use writegate_config as config;

use crate::assertion::AssertionError;
use crate::fetch::FetchError;
use crate::sigv4::SignError;

/// For so long after a failure nobody is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// What is refused so soon after it was issued is not the cause: another one would be refused as well.
const TOO_YOUNG_TO_BLAME: Duration = Duration::from_secs(5);

/// What was issued, and for how long.
#[derive(Debug)]
pub(crate) struct Issued<T> {
    pub(crate) value: T,
    /// `None`: the issuer does not say, so until it is refused.
    pub(crate) lifetime: Option<Duration>,
}

/// When something that will expire is renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Renew {
    /// A minute before, or a quarter of its life if that is less.
    BeforeExpiry,
    /// Half of its life before, as Prometheus' azuread does.
    AtHalfLife,
}

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// A secret is in a file that cannot be read.
    #[error(transparent)]
    Secret(#[from] config::ReadSecret),
    /// The server could not be asked, or said no.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The server's answer cannot be used.
    #[error("{url} answered with no usable {what}: {why}")]
    Answer {
        /// Who answered.
        url: String,
        /// What was asked for.
        what: &'static str,
        /// What is wrong; never the answer itself.
        why: String,
    },
    /// There is no such place to ask.
    #[error("the address of the server is not usable")]
    Address(#[source] config::InvalidUrl),
    /// The key that should prove who is asking.
    #[error(transparent)]
    Assertion(#[from] AssertionError),
    /// The question to AWS.
    #[error(transparent)]
    Sign(#[from] SignError),
}

/// One issued value, in use.
#[derive(Debug)]
pub(crate) struct Held<T> {
    pub(crate) value: T,
    made_with: config::Secret,
    since: Instant,
    renew_at: Option<Instant>,
    expires_at: Option<Instant>,
}

/// Holds the last value that was issued.
#[derive(Debug)]
pub(crate) struct Cache<T> {
    renew: Renew,
    /// Held by the one who asks.
    asking: tokio::sync::Mutex<()>,
    state: Mutex<State<T>>,
}

#[derive(Debug)]
struct State<T> {
    held: Option<Arc<Held<T>>>,
    failed: Option<(Instant, Arc<TokenError>)>,
}

enum Found<T> {
    Fresh(Arc<Held<T>>),
    /// Still good, but it is time for the next one.
    Aging(Arc<Held<T>>),
    Nothing,
}

impl<T> Cache<T> {
    pub(crate) fn new(renew: Renew) -> Self {
        Self { renew, asking: tokio::sync::Mutex::default(), state: Mutex::new(State { held: None, failed: None }) }
    }

    /// The value, from `ask` if there is none, it was made with another secret, or it is about to expire. While asking
    /// fails the value at hand is used until it expires. May be dropped at any moment: the next one asks again.
    pub(crate) async fn get(
        &self,
        made_with: &config::Secret,
        ask: impl Future<Output = Result<Issued<T>, TokenError>>,
    ) -> Result<Arc<Held<T>>, Arc<TokenError>> {
        let _turn = match self.find(made_with) {
            Found::Fresh(held) => return Ok(held),
            Found::Aging(held) => match self.asking.try_lock() {
                Ok(turn) => turn,
                Err(_somebody_asks) => return Ok(held),
            },
            Found::Nothing => self.asking.lock().await,
        };
        let fallback = match self.find(made_with) {
            Found::Fresh(held) => return Ok(held),
            Found::Aging(held) => Some(held),
            Found::Nothing => None,
        };
        if let Some(error) = self.failed_just_now() {
            return fallback.ok_or(error);
        }
        match ask.await {
            Ok(issued) => Ok(self.hold(made_with, issued)),
            Err(error) => {
                let error = Arc::new(error);
                self.lock().failed = Some((Instant::now(), Arc::clone(&error)));
                fallback.ok_or(error)
            }
        }
    }

    /// A server does not take it. Whether [`Self::get`] would now give another one.
    pub(crate) fn refused(&self, refused: &Arc<Held<T>>) -> bool {
        let mut state = self.lock();
        match &state.held {
            Some(held) if Arc::ptr_eq(held, refused) => {
                let is_to_blame = held.since.elapsed() >= TOO_YOUNG_TO_BLAME;
                if is_to_blame {
                    state.held = None;
                }
                is_to_blame
            }
            // Another one is at hand already, or somebody has thrown this one away.
            _ => true,
        }
    }

    fn find(&self, made_with: &config::Secret) -> Found<T> {
        let held = self.lock().held.clone().filter(|held| held.made_with == *made_with);
        let now = Instant::now();
        match held {
            Some(held) if held.expires_at.is_some_and(|at| at <= now) => Found::Nothing,
            Some(held) if held.renew_at.is_some_and(|at| at <= now) => Found::Aging(held),
            Some(held) => Found::Fresh(held),
            None => Found::Nothing,
        }
    }

    fn failed_just_now(&self) -> Option<Arc<TokenError>> {
        let state = self.lock();
        let (at, error) = state.failed.as_ref()?;
        (at.elapsed() < PAUSE).then(|| Arc::clone(error))
    }

    fn hold(&self, made_with: &config::Secret, issued: Issued<T>) -> Arc<Held<T>> {
        let since = Instant::now();
        let margin = |lifetime: Duration| match self.renew {
            Renew::BeforeExpiry => (lifetime / 4).min(Duration::from_secs(60)),
            Renew::AtHalfLife => lifetime / 2,
        };
        let held = Arc::new(Held {
            value: issued.value,
            made_with: made_with.clone(),
            since,
            renew_at: issued.lifetime.and_then(|lifetime| since.checked_add(lifetime - margin(lifetime))),
            expires_at: issued.lifetime.and_then(|lifetime| since.checked_add(lifetime)),
        });
        *self.lock() = State { held: Some(Arc::clone(&held)), failed: None };
        held
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;

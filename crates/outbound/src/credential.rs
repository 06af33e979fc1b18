//! What a request to an endpoint shows, so that it is let in: a password, a token, a signature.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request};
use writegate_config as config;

use crate::aws::{AwsError, Signer};
use crate::azure;
use crate::connect::Connector;
use crate::fetch::{Bounds, Fetcher};
use crate::oauth2;
use crate::tls::TlsSource;
use crate::token::{Cache, Held, Renew, TokenError};

/// For one question to a token server.
const BOUNDS: Bounds = Bounds { within: Duration::from_secs(10), body: 256 * 1024 };
/// And to what is on this machine or beside it.
const NEAR_BOUNDS: Bounds = Bounds { within: Duration::from_secs(5), body: 256 * 1024 };

/// What is shown to endpoints. Those that are configured to get the same token share it.
#[derive(Debug, Default)]
pub struct Credentials {
    shared: Mutex<Vec<(Way, Weak<Shared>)>>,
}

/// To a token: all that decides which it is.
type Way = (config::Auth, Option<config::Proxy>);

/// How requests to one endpoint show who sends them.
#[derive(Clone, Debug)]
pub struct Credential(Kind);

#[derive(Clone, Debug)]
enum Kind {
    None,
    Basic { username: config::TextSource, password: config::SecretSource },
    Authorization { scheme: String, credentials: config::SecretSource },
    Shared(Arc<Shared>),
}

/// What is issued for a while.
#[derive(Debug)]
enum Shared {
    OAuth2(oauth2::Client, Cache<HeaderValue>),
    AzureAd(azure::Client, Cache<HeaderValue>),
    SigV4(Box<Signer>),
}

/// What a request showed, for [`Credential::refused`].
#[derive(Clone, Debug, Default)]
pub struct Shown(Option<Arc<Held<HeaderValue>>>);

/// A request has nothing to show.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CredentialError {
    /// A file cannot be read.
    #[error(transparent)]
    Secret(Arc<config::ReadSecret>),
    /// What should be shown cannot be written in a header.
    #[error("the credential has characters that no header may have")]
    Header,
    /// There is no token.
    #[error("get an access token")]
    Token(#[source] Arc<TokenError>),
    /// There is no signature.
    #[error(transparent)]
    Aws(Arc<AwsError>),
}

impl From<config::ReadSecret> for CredentialError {
    fn from(error: config::ReadSecret) -> Self {
        Self::Secret(Arc::new(error))
    }
}

impl Credentials {
    /// The credential for an endpoint that asks for `auth` and is reached through `proxy`, as clouds are that issue tokens
    /// or keys for it. Reads the environment if that is to name keys or a proxy.
    #[must_use]
    pub fn of(&self, auth: &config::Auth, proxy: Option<&config::Proxy>) -> Credential {
        let variable = |name: &str| std::env::var(name).ok();
        let far = || fetcher(None, proxy, BOUNDS);
        let near = || fetcher(None, None, NEAR_BOUNDS);
        Credential(match auth {
            config::Auth::None => Kind::None,
            config::Auth::Basic { username, password } => {
                Kind::Basic { username: username.clone(), password: password.clone() }
            }
            config::Auth::Authorization { scheme, credentials } => {
                Kind::Authorization { scheme: scheme.clone(), credentials: credentials.clone() }
            }
            config::Auth::OAuth2(oauth2) => Kind::Shared(self.shared((auth.clone(), None), || {
                let fetcher = fetcher(oauth2.tls.as_ref(), oauth2.proxy.as_ref(), BOUNDS);
                let client = oauth2::Client::new(oauth2.as_ref().clone(), fetcher);
                Shared::OAuth2(client, Cache::new(Renew::BeforeExpiry))
            })),
            config::Auth::SigV4(sigv4) => Kind::Shared(self.shared((auth.clone(), proxy.cloned()), || {
                Shared::SigV4(Box::new(Signer::new(sigv4, far(), near(), variable)))
            })),
            config::Auth::AzureAd(azure) => Kind::Shared(self.shared((auth.clone(), proxy.cloned()), || {
                let client = azure::Client::new(azure, far(), near(), variable);
                Shared::AzureAd(client, Cache::new(Renew::AtHalfLife))
            })),
        })
    }

    fn shared(&self, way: Way, new: impl FnOnce() -> Shared) -> Arc<Shared> {
        let mut all = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(_, shared)| shared.strong_count() > 0);
        if let Some(known) = all.iter().find(|(of, _)| *of == way).and_then(|(_, shared)| shared.upgrade()) {
            return known;
        }
        let fresh = Arc::new(new());
        all.push((way, Arc::downgrade(&fresh)));
        fresh
    }
}

fn fetcher(tls: Option<&config::ClientTls>, proxy: Option<&config::Proxy>, bounds: Bounds) -> Fetcher {
    Fetcher::new(Connector::new(TlsSource::new(tls, false), bounds.within).through(proxy), bounds)
}

impl Credential {
    /// Adds what shows who sends the request with this body. Reads files on this thread: they are small. May wait for a
    /// token; dropping the future is safe.
    ///
    /// # Errors
    /// If a file cannot be read, there is no token, or nobody has keys.
    pub async fn show<B>(
        &self,
        request: &mut Request<B>,
        body: &[Bytes],
        now: SystemTime,
    ) -> Result<Shown, CredentialError> {
        let value = match &self.0 {
            Kind::None => return Ok(Shown::default()),
            Kind::Basic { username, password } => {
                let pair = format!("{}:{}", username.read()?, password.read()?.expose());
                format!("Basic {}", STANDARD.encode(pair))
            }
            Kind::Authorization { scheme, credentials } => format!("{scheme} {}", credentials.read()?.expose()),
            Kind::Shared(shared) => return shared.show(request, body, now).await,
        };
        request.headers_mut().insert(AUTHORIZATION, oauth2::sensitive(&value).ok_or(CredentialError::Header)?);
        Ok(Shown::default())
    }

    /// Whether what is shown is for one address, so that a request cannot be sent on to another.
    #[must_use]
    pub fn is_signature(&self) -> bool {
        matches!(&self.0, Kind::Shared(shared) if matches!(**shared, Shared::SigV4(_)))
    }

    /// The TLS settings towards a token server that is configured with some.
    #[must_use]
    pub fn tls(&self) -> Option<&TlsSource> {
        match &self.0 {
            Kind::Shared(shared) => match shared.as_ref() {
                Shared::OAuth2(client, _) => Some(client.tls()),
                Shared::AzureAd(..) | Shared::SigV4(_) => None,
            },
            Kind::None | Kind::Basic { .. } | Kind::Authorization { .. } => None,
        }
    }

    /// The endpoint answered 401 to what was shown. Whether it is worth another try at once: with another token.
    #[must_use]
    pub fn refused(&self, shown: &Shown) -> bool {
        match (&self.0, &shown.0) {
            (Kind::Shared(shared), Some(held)) => match shared.as_ref() {
                Shared::OAuth2(_, cache) | Shared::AzureAd(_, cache) => cache.refused(held),
                Shared::SigV4(_) => false,
            },
            _ => false,
        }
    }
}

impl Shared {
    async fn show<B>(
        &self,
        request: &mut Request<B>,
        body: &[Bytes],
        now: SystemTime,
    ) -> Result<Shown, CredentialError> {
        let held = match self {
            Self::OAuth2(client, cache) => {
                let secret = client.secret()?;
                cache.get(&secret, client.ask(&secret, now)).await
            }
            Self::AzureAd(client, cache) => {
                let secret = client.secret()?;
                cache.get(&secret, client.ask(&secret, now)).await
            }
            Self::SigV4(signer) => {
                let signed = signer.sign(request, body, now).await;
                return signed.map(|()| Shown::default()).map_err(|error| CredentialError::Aws(Arc::new(error)));
            }
        };
        let held = held.map_err(CredentialError::Token)?;
        request.headers_mut().insert(AUTHORIZATION, held.value.clone());
        Ok(Shown(Some(held)))
    }
}

#[cfg(test)]
mod tests;

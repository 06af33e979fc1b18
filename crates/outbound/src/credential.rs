//! What a request to an endpoint shows, so that it is let in: a password, a token, a signature.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request};
use writegate_config as config;

use crate::connect::Connector;
use crate::fetch::{Bounds, Fetcher};
use crate::oauth2;
use crate::tls::TlsSource;
use crate::token::{Cache, Held, Issued, Renew, TokenError};

/// For one question to a token server.
const TOKEN_BOUNDS: Bounds = Bounds { within: Duration::from_secs(10), body: 256 * 1024 };

/// What is shown to endpoints. Those that are configured to get the same token share it.
#[derive(Debug, Default)]
pub struct Credentials {
    tokens: Mutex<Vec<(config::Auth, Weak<Tokens>)>>,
}

/// How requests to one endpoint show who sends them.
#[derive(Clone, Debug)]
pub struct Credential(Kind);

#[derive(Clone, Debug)]
enum Kind {
    None,
    Basic { username: config::TextSource, password: config::SecretSource },
    Authorization { scheme: String, credentials: config::SecretSource },
    Token(Arc<Tokens>),
}

/// A token that is fetched, and who is asked for it.
#[derive(Debug)]
struct Tokens {
    issuer: oauth2::Client,
    cache: Cache<HeaderValue>,
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
}

impl From<config::ReadSecret> for CredentialError {
    fn from(error: config::ReadSecret) -> Self {
        Self::Secret(Arc::new(error))
    }
}

impl Credentials {
    /// The credential for an endpoint that asks for `auth`.
    #[must_use]
    pub fn of(&self, auth: &config::Auth) -> Credential {
        Credential(match auth {
            config::Auth::None => Kind::None,
            config::Auth::Basic { username, password } => {
                Kind::Basic { username: username.clone(), password: password.clone() }
            }
            config::Auth::Authorization { scheme, credentials } => {
                Kind::Authorization { scheme: scheme.clone(), credentials: credentials.clone() }
            }
            config::Auth::OAuth2(oauth2) => Kind::Token(self.shared(auth, || {
                let tls = TlsSource::new(oauth2.tls.as_ref(), false);
                let connector = Connector::new(tls, TOKEN_BOUNDS.within).through(oauth2.proxy.as_ref());
                let fetcher = Fetcher::new(connector, TOKEN_BOUNDS);
                let issuer = oauth2::Client::new(oauth2.as_ref().clone(), fetcher);
                Tokens { issuer, cache: Cache::new(Renew::BeforeExpiry) }
            })),
            config::Auth::SigV4(_) | config::Auth::AzureAd(_) => Kind::None,
        })
    }

    fn shared(&self, auth: &config::Auth, new: impl FnOnce() -> Tokens) -> Arc<Tokens> {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.retain(|(_, tokens)| tokens.strong_count() > 0);
        if let Some(known) = tokens.iter().find(|(of, _)| of == auth).and_then(|(_, tokens)| tokens.upgrade()) {
            return known;
        }
        let fresh = Arc::new(new());
        tokens.push((auth.clone(), Arc::downgrade(&fresh)));
        fresh
    }
}

impl Credential {
    /// Adds what shows who sends the request. Reads files on this thread: they are small. May wait for a token; dropping
    /// the future is safe.
    ///
    /// # Errors
    /// If a file cannot be read or there is no token.
    pub async fn show<B>(&self, request: &mut Request<B>, now: SystemTime) -> Result<Shown, CredentialError> {
        let value = match &self.0 {
            Kind::None => return Ok(Shown::default()),
            Kind::Basic { username, password } => {
                let pair = format!("{}:{}", username.read()?, password.read()?.expose());
                format!("Basic {}", STANDARD.encode(pair))
            }
            Kind::Authorization { scheme, credentials } => format!("{scheme} {}", credentials.read()?.expose()),
            Kind::Token(tokens) => {
                let held = tokens.get(now).await?;
                request.headers_mut().insert(AUTHORIZATION, held.value.clone());
                return Ok(Shown(Some(held)));
            }
        };
        request.headers_mut().insert(AUTHORIZATION, oauth2::sensitive(&value).ok_or(CredentialError::Header)?);
        Ok(Shown::default())
    }

    /// The TLS settings towards the token server, if there is one.
    #[must_use]
    pub fn tls(&self) -> Option<&TlsSource> {
        match &self.0 {
            Kind::Token(tokens) => Some(tokens.issuer.tls()),
            Kind::None | Kind::Basic { .. } | Kind::Authorization { .. } => None,
        }
    }

    /// The endpoint answered 401 to what was shown. Whether it is worth another try at once: with another token.
    #[must_use]
    pub fn refused(&self, shown: &Shown) -> bool {
        match (&self.0, &shown.0) {
            (Kind::Token(tokens), Some(held)) => tokens.cache.refused(held),
            _ => false,
        }
    }
}

impl Tokens {
    async fn get(&self, now: SystemTime) -> Result<Arc<Held<HeaderValue>>, CredentialError> {
        let secret = self.issuer.secret()?;
        let ask = async { Ok::<Issued<HeaderValue>, _>(self.issuer.ask(&secret, now).await?) };
        self.cache.get(&secret, ask).await.map_err(CredentialError::Token)
    }
}

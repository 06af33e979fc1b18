//! Who is speaking: what a request shows, checked, and the tenant it stands for. Knows no path and no listener.
//!
//! Made anew from the configuration and the files it names at each reload, and with it what was found out before.

mod peer;
mod provider;
mod roles;
mod signed;
mod speaker;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use identity::cache::{CacheKey, NoRandomness, VerifiedCache};
use identity::certificate::{Certificate, CertificateRules, Field, TenantError};
use identity::key::KeyError;
use identity::key_set::KeySetError;
use identity::pattern::InvalidPattern;
use identity::secret::{InvalidPassword, Password, TokenDigest};
use outbound::tls::TlsError as ClientTlsError;
use tokio::sync::Semaphore;
use writegate_config::{
    Authenticator, CertificateSource, Config, Credential, Login, ReadSecret, SecretSource, TenantName,
};

pub(crate) use self::peer::Peer;
pub(crate) use self::provider::{Providers, Standing};
use self::roles::Roles;
use self::signed::Signers;
pub(crate) use self::speaker::Speaker;
use crate::basic_auth;
use crate::clock::now_ms;
use crate::offload::offload;
use crate::tls::{Authorities, AuthorityReader, TlsError};

/// Credentials that were verified and are remembered.
const MOST_REMEMBERED: usize = 10_000;
/// For how long at most.
const REMEMBERED_FOR_SECONDS: i64 = 3600;
/// Password hashes that may be computed at once: each takes a core for a tenth of a second.
const SLOW_CHECKS: usize = 2;
/// How long a request waits for its turn at that.
const SLOW_CHECK_WITHIN: Duration = Duration::from_secs(2);

/// What a configuration says about who may speak.
pub(crate) struct Authentication {
    tokens: HashMap<TokenDigest, TenantName>,
    /// By user.
    users: HashMap<String, Vec<(Arc<Password>, TenantName)>>,
    /// What an unknown user's password is compared with, so that it takes as long as a known one's.
    nobody: Option<Arc<Password>>,
    signers: Signers,
    certificates: Vec<CertificateRules>,
    /// Of the tenants that have some of their own.
    authorities: HashMap<TenantName, Authorities>,
    /// Of those of Observatorium's tenants whose senders log in with a certificate.
    logins: HashMap<TenantName, Authorities>,
    /// Of those whose senders log in.
    roles: Roles,
    /// Credentials that were verified.
    remembered: VerifiedCache<Speaker>,
    /// Another one for each.
    number: u64,
    slow_checks: Semaphore,
    checks: Arc<Checks>,
}

/// How many credentials were checked in full since the start of the process: signatures verified and password hashes
/// computed, because nothing was remembered of them.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    pub(crate) tokens: AtomicU64,
    pub(crate) passwords: AtomicU64,
}

/// A configuration's credentials cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// A token or password cannot be read.
    #[error("a credential of tenant {tenant:?} cannot be used")]
    Secret {
        /// Whose.
        tenant: String,
        /// Why.
        source: ReadSecret,
    },
    /// There is nothing in it.
    #[error("a credential of tenant {tenant:?} is empty: it would let in whoever shows nothing")]
    Empty {
        /// Whose.
        tenant: String,
    },
    /// Two tenants share it, so that it names neither.
    #[error("tenants {first:?} and {second:?} have the same credential; give each its own")]
    Shared {
        /// One of them.
        first: String,
        /// The other.
        second: String,
    },
    /// A password's hash is not one.
    #[error("the password of a user of tenant {tenant:?} cannot be used")]
    Password {
        /// Whose.
        tenant: String,
        /// Why.
        source: InvalidPassword,
    },
    /// A file cannot be read.
    #[error("read {}", path.display())]
    Read {
        /// As configured.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A variable is not there.
    #[error("the environment variable {0:?} with the key set is not set, or is not text")]
    Variable(String),
    /// A key set cannot be used at all.
    #[error("the key set in {place} cannot be used")]
    KeySet {
        /// Where it is.
        place: String,
        /// Why.
        source: KeySetError,
    },
    /// The key of tokens without key id cannot be used.
    #[error("the fallback key in {} cannot be used", path.display())]
    Fallback {
        /// As configured.
        path: PathBuf,
        /// Why.
        source: KeyError,
    },
    /// A pattern is none.
    #[error("the tenant's pattern cannot be used")]
    Pattern(#[from] InvalidPattern),
    /// What listeners' authorities have revoked cannot be read.
    #[error("the crl_file of a listener cannot be used")]
    Revocations(#[source] TlsError),
    /// A tenant's authorities cannot be used.
    #[error("the client_ca_file of tenant {tenant:?} cannot be used")]
    Authorities {
        /// Whose.
        tenant: String,
        /// Why.
        source: TlsError,
    },
    /// Those of a tenant of Observatorium cannot.
    #[error("the mTLS authorities of tenant {tenant:?} cannot be used")]
    Login {
        /// Whose.
        tenant: String,
        /// Why.
        source: TlsError,
    },
    /// The settings by which a provider of keys is reached cannot be used.
    #[error("the TLS settings towards {provider} cannot be used")]
    Provider {
        /// Its issuer or URL.
        provider: String,
        /// Why.
        source: ClientTlsError,
    },
    /// The system has no randomness.
    #[error("the system has no randomness")]
    NoRandomness(#[from] NoRandomness),
}

/// Why a request's credential is not taken. The texts are Opstrace's, which senders' operators know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denied {
    #[error("Authorization header missing or invalid")]
    Missing,
    #[error("Authorization header format invalid. Expecting 'Bearer <AUTHTOKEN>'")]
    Format,
    /// Whatever is wrong with it: the gateway's log says what, at level debug.
    #[error("bad authentication token")]
    Token,
    #[error("the client certificate is not accepted: {0}")]
    Certificate(String),
    /// It is valid, but stands for nobody, or for somebody else than what else is shown.
    #[error("not allowed to write for this tenant")]
    Forbidden,
    /// It is of an identity provider whose keys are not known, or not new enough, and cannot be fetched.
    #[error("the keys that check this token cannot be fetched from its identity provider at this moment")]
    NoKeys,
    /// Too many passwords are being checked.
    #[error("too many credentials are being checked at this moment")]
    Busy,
}

impl Authentication {
    /// Reads what the configuration names. Keys that are to be fetched are not waited for: see [`Authentication::begin`].
    ///
    /// # Errors
    /// When a credential, key or certificate cannot be read or used.
    pub(crate) fn load(config: &Config, providers: &Providers) -> Result<Self, AuthError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let jwts = config.authentication.iter().filter_map(|way| match way {
            Authenticator::Jwt(jwt) => Some(&**jwt),
            Authenticator::ClientCertificate(_) => None,
        });
        let mut this = Self {
            tokens: HashMap::new(),
            users: HashMap::new(),
            nobody: None,
            signers: Signers::load(jwts, config, providers)?,
            certificates: Vec::new(),
            authorities: HashMap::new(),
            logins: HashMap::new(),
            roles: Roles::new(config),
            remembered: VerifiedCache::new(MOST_REMEMBERED)?,
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            slow_checks: Semaphore::new(SLOW_CHECKS),
            checks: Arc::default(),
        };
        // A list says by whom it is, so that all may be shown all.
        let lists = config.listeners.iter().filter_map(|listener| listener.tls.as_ref()?.crl_file.as_deref());
        let mut authorities = AuthorityReader::new(lists).map_err(AuthError::Revocations)?;
        for (tenant, settings) in config.tenants.entries() {
            for credential in &settings.credentials {
                this.add_credential(tenant, credential)?;
            }
            if let Some(ca_file) = &settings.client_ca_file {
                let authorities = authorities
                    .load(ca_file)
                    .map_err(|source| AuthError::Authorities { tenant: tenant.to_string(), source })?;
                this.authorities.insert(tenant.clone(), authorities);
            }
            if let Some(Login::Certificate(ca)) = &settings.login {
                let authorities =
                    authorities.of(ca).map_err(|source| AuthError::Login { tenant: tenant.to_string(), source })?;
                this.logins.insert(tenant.clone(), authorities);
            }
        }
        for authenticator in &config.authentication {
            if let Authenticator::ClientCertificate(rules) = authenticator {
                this.certificates.push(certificate_rules(rules)?);
            }
        }
        Ok(this)
    }

    /// Takes the place of an earlier one, and counts on from there.
    #[must_use]
    pub(crate) fn after(self, earlier: &Self) -> Self {
        Self { checks: Arc::clone(&earlier.checks), ..self }
    }

    pub(crate) fn checks(&self) -> &Checks {
        &self.checks
    }

    /// Begins to fetch the keys that are published elsewhere, if that has not begun.
    pub(crate) fn begin(&self) {
        self.signers.providers().into_iter().for_each(|provider| provider.begin());
    }

    /// How those stand whose keys are fetched, by name. Those that are asked in two ways are one, as good as the worse.
    pub(crate) fn providers(&self) -> BTreeMap<String, Standing> {
        let mut standings: BTreeMap<String, Standing> = BTreeMap::new();
        for provider in self.signers.providers() {
            let standing = provider.standing();
            let known = standings
                .entry(provider.name().to_owned())
                .or_insert_with(|| Standing { last_success_ms: i64::MAX, ..Standing::default() });
            known.fetched += standing.fetched;
            known.failed += standing.failed;
            known.last_success_ms = known.last_success_ms.min(standing.last_success_ms);
        }
        standings
    }

    fn add_credential(&mut self, tenant: &TenantName, credential: &Credential) -> Result<(), AuthError> {
        let secret = |source: &SecretSource| {
            let read = source.read().map_err(|source| AuthError::Secret { tenant: tenant.to_string(), source })?;
            if read.expose().is_empty() {
                return Err(AuthError::Empty { tenant: tenant.to_string() });
            }
            Ok(read)
        };
        match credential {
            Credential::Bearer(source) => {
                let digest = TokenDigest::of(secret(source)?.expose());
                match self.tokens.insert(digest, tenant.clone()) {
                    Some(first) if first != *tenant => {
                        Err(AuthError::Shared { first: first.to_string(), second: tenant.to_string() })
                    }
                    _ => Ok(()),
                }
            }
            Credential::Basic { username, password } => {
                let username =
                    username.read().map_err(|source| AuthError::Secret { tenant: tenant.to_string(), source })?;
                let shown = secret(password)?;
                let others = self.users.get(&username).map(Vec::as_slice).unwrap_or_default();
                let same = |known: &Password| known.bcrypt_cost().is_none() && known.is(shown.expose().as_bytes());
                if let Some((_, first)) = others.iter().find(|(known, first)| first != tenant && same(known)) {
                    return Err(AuthError::Shared { first: first.to_string(), second: tenant.to_string() });
                }
                let password = Password::of(shown.expose())
                    .map_err(|source| AuthError::Password { tenant: tenant.to_string(), source })?;
                if let Some(cost) = password.bcrypt_cost()
                    && self.nobody.as_ref().and_then(|nobody| nobody.bcrypt_cost()).is_none_or(|known| known < cost)
                {
                    self.nobody = Some(Arc::new(Password::of_nobody(cost)));
                }
                self.users.entry(username).or_default().push((Arc::new(password), tenant.clone()));
                Ok(())
            }
        }
    }

    /// For whom a request speaks by what it shows; `None` if it shows nothing that is asked for here. `authorities`: of the
    /// listener.
    ///
    /// # Errors
    /// When something it shows is not taken, or two things stand for different tenants.
    pub(crate) async fn tenant_of(
        &self,
        headers: &HeaderMap,
        peer: &Peer,
        authorities: Option<&Authorities>,
    ) -> Result<Option<Speaker>, Denied> {
        let by_header = self.by_header(headers).await?;
        let by_certificate = peer.speaker(self, authorities)?;
        match (by_header, by_certificate) {
            (Some(one), Some(other)) => one.both(&other).map(Some).ok_or(Denied::Forbidden),
            (one, other) => Ok(one.or(other)),
        }
    }

    async fn by_header(&self, headers: &HeaderMap) -> Result<Option<Speaker>, Denied> {
        // Where nothing can be checked, the header is somebody else's: of a proxy before the gateway.
        if self.tokens.is_empty() && self.users.is_empty() && self.signers.is_empty() {
            return Ok(None);
        }
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(Denied::Format);
        }
        let value = value.to_str().map_err(|_not_ascii| Denied::Format)?;
        // The scheme's case does not matter (RFC 9110 §11.1).
        let (scheme, shown) = value.trim().split_once([' ', '\t']).ok_or(Denied::Format)?;
        let shown = shown.trim();
        if scheme.eq_ignore_ascii_case("bearer") && !shown.is_empty() {
            self.by_token(shown).await.map(Some)
        } else if scheme.eq_ignore_ascii_case("basic") {
            self.by_password(shown).await.map(Some)
        } else {
            Err(Denied::Format)
        }
    }

    /// A user and a password, or any user with a token as the password, for senders that know only that.
    async fn by_password(&self, shown: &str) -> Result<Speaker, Denied> {
        let decoded = basic_auth::decode(shown).ok_or(Denied::Format)?;
        // RFC 7617 §2: the first colon ends the user's name.
        let (username, password) = decoded.split_once(':').ok_or(Denied::Format)?;
        let key = self.remembered.key_of(&[b"basic", decoded.as_bytes()]);
        if let Some(speaker) = self.remembered.get(&key, now_seconds()) {
            return Ok(speaker);
        }
        let mut tried = false;
        for (known, tenant) in self.users.get(username).map(Vec::as_slice).unwrap_or_default() {
            tried |= known.bcrypt_cost().is_some();
            if self.is(known, password).await? {
                let speaker = Speaker::from(tenant.clone());
                self.remember(key, &speaker, None);
                return Ok(speaker);
            }
        }
        let by_token = if password.is_empty() { Err(Denied::Token) } else { self.by_token(password).await };
        if let (Err(_), false, Some(nobody)) = (&by_token, tried, &self.nobody) {
            self.is(nobody, password).await?;
        }
        by_token
    }

    /// Whether a password is the known one; a hash is computed beside the runtime.
    async fn is(&self, known: &Arc<Password>, shown: &str) -> Result<bool, Denied> {
        if known.bcrypt_cost().is_none() {
            return Ok(known.is(shown.as_bytes()));
        }
        let turn = tokio::time::timeout(SLOW_CHECK_WITHIN, self.slow_checks.acquire()).await;
        let Ok(Ok(_turn)) = turn else { return Err(Denied::Busy) };
        self.checks.passwords.fetch_add(1, Ordering::Relaxed);
        let (known, shown) = (Arc::clone(known), shown.to_owned());
        offload(move || known.is(shown.as_bytes())).await.map_err(|_panicked| Denied::Busy)
    }

    async fn by_token(&self, shown: &str) -> Result<Speaker, Denied> {
        if let Some(tenant) = self.tokens.get(&TokenDigest::of(shown)) {
            return Ok(tenant.clone().into());
        }
        if self.signers.is_empty() {
            return Err(Denied::Token);
        }
        // What was verified with other keys is remembered under another key of the cache.
        let epoch = self.signers.epoch().to_le_bytes();
        let key = self.remembered.key_of(&[b"token", &epoch, shown.as_bytes()]);
        let now = now_seconds();
        if let Some(speaker) = self.remembered.get(&key, now) {
            return Ok(speaker);
        }
        self.checks.tokens.fetch_add(1, Ordering::Relaxed);
        let (speaker, expires) = self.signers.speaker_of(shown, &self.roles, now).await?;
        self.remember(key, &speaker, expires);
        Ok(speaker)
    }

    fn remember(&self, key: CacheKey, speaker: &Speaker, expires: Option<i64>) {
        let latest = now_seconds() + REMEMBERED_FOR_SECONDS;
        let expires = expires.map_or(latest, |at| at.min(latest));
        self.remembered.insert(key, speaker.clone(), expires, self.remembered.generation());
    }

    /// The tenant that a certificate names by the rules for all.
    fn named_by(&self, certificate: &Certificate) -> Result<Option<TenantName>, Denied> {
        let mut named = None;
        for rules in &self.certificates {
            match rules.tenant_of(certificate) {
                Ok(tenant) if named.as_ref().is_none_or(|other| *other == tenant) => named = Some(tenant),
                Err(TenantError::NoTenant) => {}
                // What one rule cannot decide, another must not.
                Ok(_) | Err(TenantError::Ambiguous { .. }) => return Err(Denied::Forbidden),
            }
        }
        named.map(|name| TenantName::new(&name).map_err(|_invalid| Denied::Forbidden)).transpose()
    }
}

impl std::fmt::Debug for Authentication {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authentication").finish_non_exhaustive()
    }
}

fn certificate_rules(rules: &writegate_config::CertificateRules) -> Result<CertificateRules, AuthError> {
    let field = match &rules.source {
        CertificateSource::CommonName => Field::CommonName,
        CertificateSource::OrganizationalUnit => Field::OrganizationalUnit,
        CertificateSource::Organization => Field::Organization,
        CertificateSource::SanUri => Field::SanUri,
        CertificateSource::SanDns => Field::SanDns,
        CertificateSource::SanEmail => Field::SanEmail,
        CertificateSource::Fingerprint(known) => {
            // The configuration has checked that they are fingerprints.
            let known = known.iter().filter_map(|(print, tenant)| Some((print.parse().ok()?, tenant.to_string())));
            return Ok(CertificateRules::Fingerprints(known.collect()));
        }
    };
    Ok(CertificateRules::Field { field, pattern: rules.pattern.to_string().parse()? })
}

fn read(path: &Path) -> Result<String, AuthError> {
    writegate_config::read_text(path).map_err(|source| AuthError::Read { path: path.into(), source })
}

fn now_seconds() -> i64 {
    now_ms() / 1000
}

//! Signed tokens: whose keys check them, and for whom they speak.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use identity::key::Key;
use identity::key_set::{KeySet, ParsedKeySet};
use identity::pattern::Pattern;
use identity::revocation::Revoked;
use identity::token::{TenantClaim, TokenError, TokenRules, Unverified, Verified};
use tokio::time::Instant;
use writegate_config::{Config, Jwt, JwtKeys, Login, Oidc, TenantName};

use super::provider::{Place, Provider, Providers};
use super::roles::Roles;
use super::{AuthError, Denied, Speaker, read};

/// How long a request waits for keys that are being fetched.
const KEYS_WITHIN: Duration = Duration::from_secs(4);
/// How far the clocks of a provider of Observatorium's tenants and of this machine may differ.
const LEEWAY_SECONDS: i64 = 30;

/// All whose tokens may be taken.
#[derive(Debug, Default)]
pub(super) struct Signers(Vec<Signer>);

/// Who signs, and what its tokens may be for.
#[derive(Debug)]
struct Signer {
    keys: Keys,
    /// For tokens that name no key.
    fallback: Option<Key>,
    /// What tokens must claim to be of it; `None`: nothing.
    issuer: Option<String>,
    uses: Vec<Use>,
}

#[derive(Debug)]
enum Keys {
    /// In the configuration's files.
    Known(KeySet),
    /// Fetched.
    Published(Arc<Provider>),
}

/// One thing for which a signer's tokens are taken.
#[derive(Debug)]
struct Use {
    rules: TokenRules,
    revoked: Revoked,
    speaks_for: SpeaksFor,
}

#[derive(Debug)]
enum SpeaksFor {
    /// The tenant that it names.
    Named,
    /// Those of these for which its user may write.
    Writable(Vec<TenantName>),
}

/// A token, judged by the keys of this moment.
enum Verdict {
    /// With when that ends, in seconds since 1970.
    Taken(Speaker, Option<i64>),
    Refused(Denied),
    /// These may know the key.
    Unknown(Vec<Arc<Provider>>),
}

impl Signers {
    /// Reads what the configuration names.
    ///
    /// # Errors
    /// When a key, key set or certificate cannot be read or used.
    pub(super) fn load<'c>(
        jwts: impl Iterator<Item = &'c Jwt>,
        config: &Config,
        providers: &Providers,
    ) -> Result<Self, AuthError> {
        let mut signers = jwts.map(|jwt| Signer::load(jwt, providers)).collect::<Result<Vec<_>, _>>()?;
        let first_login = signers.len();
        for (tenant, settings) in config.tenants.entries() {
            if let Some(Login::Oidc(oidc)) = &settings.login {
                let provider = provider(&Place::Issuer(oidc.issuer.clone()), oidc.tls.as_ref(), providers)?;
                let logins = signers.get_mut(first_login..).unwrap_or_default();
                let known = logins.iter_mut().find(|signer| signer.is(&provider));
                match known {
                    Some(signer) => signer.add_login(oidc, tenant),
                    None => {
                        let issuer = Some(oidc.issuer.to_string());
                        let keys = Keys::Published(provider);
                        let mut signer = Signer { keys, fallback: None, issuer, uses: Vec::new() };
                        signer.add_login(oidc, tenant);
                        signers.push(signer);
                    }
                }
            }
        }
        Ok(Self(signers))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those whose keys are fetched, each once.
    pub(super) fn providers(&self) -> Vec<&Arc<Provider>> {
        let mut all: Vec<&Arc<Provider>> = Vec::new();
        for signer in &self.0 {
            if let Keys::Published(provider) = &signer.keys
                && !all.iter().any(|known| Arc::ptr_eq(known, provider))
            {
                all.push(provider);
            }
        }
        all
    }

    /// Another number whenever another verdict may be given.
    pub(super) fn epoch(&self) -> u64 {
        let providers = self.0.iter().filter_map(|signer| match &signer.keys {
            Keys::Published(provider) => Some(provider.epoch()),
            Keys::Known(_) => None,
        });
        providers.fold(0, u64::wrapping_add)
    }

    /// For whom a token speaks at `now` (seconds since 1970), and until when. Waits for keys only where the token names one
    /// that is not known.
    ///
    /// # Errors
    /// When it is not taken, speaks for nobody, or its keys cannot be had.
    pub(super) async fn speaker_of(
        &self,
        shown: &str,
        roles: &Roles,
        now: i64,
    ) -> Result<(Speaker, Option<i64>), Denied> {
        let arrived = Instant::now();
        let token = Unverified::parse(shown).map_err(|why| refused(&why))?;
        let unknown = match self.judge(shown, &token, roles, now) {
            Verdict::Taken(speaker, until) => return Ok((speaker, until)),
            Verdict::Refused(denied) => return Err(denied),
            Verdict::Unknown(providers) => providers,
        };
        unknown.iter().for_each(|provider| provider.want());
        let mut all_answered = true;
        for provider in &unknown {
            let is_known = |keys: &KeySet| !matches!(token.verify(keys, None), Err(TokenError::UnknownKey { .. }));
            all_answered &= provider.answers(arrived, arrived + KEYS_WITHIN, is_known).await;
        }
        match self.judge(shown, &token, roles, now) {
            Verdict::Taken(speaker, until) => Ok((speaker, until)),
            Verdict::Refused(denied) => Err(denied),
            // Whoever was asked has said that there is no such key.
            Verdict::Unknown(_) if all_answered => Err(Denied::Token),
            Verdict::Unknown(_) => Err(Denied::NoKeys),
        }
    }

    fn judge(&self, shown: &str, token: &Unverified<'_>, roles: &Roles, now: i64) -> Verdict {
        let (mut tenants, mut until) = (BTreeSet::new(), None::<i64>);
        let (mut is_valid, mut unknown) = (false, Vec::new());
        for signer in &self.0 {
            if signer.issuer.as_ref().is_some_and(|issuer| !token.claims_issuer(issuer)) {
                continue;
            }
            let fetched;
            let keys = match &signer.keys {
                Keys::Known(keys) => keys,
                Keys::Published(provider) => {
                    fetched = provider.keys().unwrap_or_default();
                    &fetched
                }
            };
            let signed = match (token.verify(keys, signer.fallback.as_ref()), &signer.keys) {
                (Ok(signed), _) => signed,
                (Err(TokenError::UnknownKey { .. }), Keys::Published(provider)) => {
                    unknown.push(Arc::clone(provider));
                    continue;
                }
                (Err(why), _) => {
                    tracing::debug!(%why, "a token is not taken");
                    continue;
                }
            };
            for way in &signer.uses {
                let verified = signed.check(&way.rules, now).map_err(|why| why.to_string());
                match verified.and_then(|verified| way.tenants(shown, &verified, roles, !tenants.is_empty())) {
                    Ok((spoken_for, ends)) => {
                        is_valid = true;
                        tenants.extend(spoken_for);
                        until = until.into_iter().chain(ends).min();
                    }
                    Err(why) => tracing::debug!(why, "a token is not taken"),
                }
            }
        }
        match Speaker::of(tenants) {
            Some(speaker) => Verdict::Taken(speaker, until),
            None if is_valid => Verdict::Refused(Denied::Forbidden),
            None if unknown.is_empty() => Verdict::Refused(Denied::Token),
            None => Verdict::Unknown(unknown),
        }
    }
}

impl Signer {
    fn load(jwt: &Jwt, providers: &Providers) -> Result<Self, AuthError> {
        let published = |place| provider(&place, jwt.tls.as_ref(), providers).map(Keys::Published);
        let (keys, issuer) = match &jwt.keys {
            JwtKeys::File(path) => (known(&path.display().to_string(), &read(path)?)?, None),
            JwtKeys::Environment(name) => {
                let text = std::env::var(name).map_err(|_unset| AuthError::Variable(name.clone()))?;
                (known(&format!("the environment variable {name}"), &text)?, None)
            }
            JwtKeys::Url(url) => (published(Place::Url(url.clone()))?, None),
            JwtKeys::Issuer(issuer) => (published(Place::Issuer(issuer.clone()))?, Some(issuer.to_string())),
        };
        let fallback = jwt.fallback_key_file.as_ref().map(|path| {
            Key::from_pem(&read(path)?).map_err(|source| AuthError::Fallback { path: path.clone(), source })
        });
        let pattern: Pattern = jwt.tenant_pattern.to_string().parse()?;
        let rules = TokenRules {
            audience: jwt.audience.clone(),
            issuer: issuer.clone(),
            tenant: Some(TenantClaim { claim: jwt.tenant_claim.clone(), pattern }),
            user_claim: None,
            groups_claim: None,
            require_exp: jwt.require_exp,
            leeway_seconds: i64::try_from(jwt.leeway.as_secs()).unwrap_or(i64::MAX),
        };
        let revoked = jwt.revoked_file.as_deref().map_or(Ok(String::new()), read).map(|text| Revoked::parse(&text))?;
        let uses = vec![Use { rules, revoked, speaks_for: SpeaksFor::Named }];
        Ok(Self { keys, fallback: fallback.transpose()?, issuer, uses })
    }

    fn is(&self, other: &Arc<Provider>) -> bool {
        matches!(&self.keys, Keys::Published(provider) if Arc::ptr_eq(provider, other))
    }

    /// One more tenant of whose senders the tokens are. Tenants that ask for the same are one use.
    fn add_login(&mut self, oidc: &Oidc, tenant: &TenantName) {
        let asks_the_same = |way: &&mut Use| {
            way.rules.audience.as_ref() == Some(&oidc.client_id)
                && way.rules.user_claim == oidc.user_claim
                && way.rules.groups_claim == oidc.groups_claim
        };
        if let Some(Use { speaks_for: SpeaksFor::Writable(tenants), .. }) = self.uses.iter_mut().find(asks_the_same) {
            tenants.push(tenant.clone());
            return;
        }
        let rules = TokenRules {
            audience: Some(oidc.client_id.clone()),
            issuer: self.issuer.clone(),
            tenant: None,
            user_claim: oidc.user_claim.clone(),
            groups_claim: oidc.groups_claim.clone(),
            require_exp: true,
            leeway_seconds: LEEWAY_SECONDS,
        };
        let speaks_for = SpeaksFor::Writable(vec![tenant.clone()]);
        self.uses.push(Use { rules, revoked: Revoked::default(), speaks_for });
    }
}

impl Use {
    /// For whom a token speaks that has passed the rules, and until when. Nobody: it is valid, and not allowed.
    /// `is_spoken_for`: another use has taken it already; of those that name a tenant the first counts.
    fn tenants(
        &self,
        shown: &str,
        verified: &Verified,
        roles: &Roles,
        is_spoken_for: bool,
    ) -> Result<(BTreeSet<TenantName>, Option<i64>), String> {
        let Verified { tenant, subject, groups, exp, jti, .. } = verified;
        if self.revoked.contains(shown, jti.as_deref()) {
            return Err("the token is revoked".to_owned());
        }
        let tenants = match &self.speaks_for {
            SpeaksFor::Named if is_spoken_for => BTreeSet::new(),
            SpeaksFor::Named => {
                let named = tenant.as_ref().ok_or("the token names no tenant")?;
                let named = TenantName::new(named).map_err(|error| error.to_string())?;
                if roles.has(&named) { BTreeSet::new() } else { BTreeSet::from([named]) }
            }
            SpeaksFor::Writable(tenants) => roles.writable(tenants, subject.as_deref().unwrap_or_default(), groups),
        };
        Ok((tenants, exp.map(|exp| exp.saturating_add(self.rules.leeway_seconds))))
    }
}

fn provider(
    place: &Place,
    tls: Option<&writegate_config::ClientTls>,
    providers: &Providers,
) -> Result<Arc<Provider>, AuthError> {
    providers.get(place, tls).map_err(|source| AuthError::Provider { provider: place.to_string(), source })
}

fn known(place: &str, text: &str) -> Result<Keys, AuthError> {
    let parsed = KeySet::parse(text).map_err(|source| AuthError::KeySet { place: place.to_owned(), source })?;
    let ParsedKeySet { keys, refused } = parsed;
    for key in refused {
        tracing::warn!(place, key = key.name, error = %key.source, "a key is not taken; the others are");
    }
    Ok(Keys::Known(keys))
}

fn refused(why: &TokenError) -> Denied {
    tracing::debug!(%why, "a token is not taken");
    Denied::Token
}

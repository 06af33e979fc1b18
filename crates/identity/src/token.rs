//! Checks a JSON Web Token (RFC 7519) in compact form, after RFC 8725 (best practices), and says whose it is.
//!
//! The header of a token chooses a key by its name and nothing else. The algorithm must be one that the key takes; a key
//! that the token brings itself (`jwk`, `jku`, `x5c`, `x5u`) is never looked at.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use crate::key::{Algorithm, Key};
use crate::key_set::KeySet;
use crate::pattern::Pattern;

/// A longer token is refused before anything else is done with it.
pub const MAX_TOKEN_BYTES: usize = 16 << 10;
/// What is told of a key's name that is not known.
const SHOWN_KID_CHARS: usize = 64;

/// What a token must say to be taken.
#[derive(Clone, Debug)]
pub struct TokenRules {
    /// Must be among its `aud`. `None`: `aud` is not looked at.
    pub audience: Option<String>,
    /// Must be its `iss`. `None`: `iss` is not looked at.
    pub issuer: Option<String>,
    /// Where its tenant stands. `None`: tokens of this issuer name no tenant.
    pub tenant: Option<TenantClaim>,
    /// The claim with the user's name, a text that must be there then. `None`: `sub`, which may be absent.
    pub user_claim: Option<String>,
    /// The claim with the user's groups, a text or a list of texts. Absent from a token: no groups.
    pub groups_claim: Option<String>,
    /// Whether a token without `exp` is refused.
    pub require_exp: bool,
    /// How far the clocks of issuer and gateway may be apart. Negative counts as 0.
    pub leeway_seconds: i64,
}

/// Where the tenant's name stands in a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantClaim {
    /// A claim with a text.
    pub claim: String,
    /// What stands around the name in it.
    pub pattern: Pattern,
}

/// What a token that was taken says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The tenant's name; `None` only where the rules have no [`TokenRules::tenant`]. Whether it is a well-formed name has
    /// not been checked.
    pub tenant: Option<String>,
    /// Who speaks, if it says so.
    pub subject: Option<String>,
    /// In its order.
    pub groups: Vec<String>,
    /// When it expires, in seconds since 1970.
    pub exp: Option<i64>,
    /// Its own name, for revocation.
    pub jti: Option<String>,
    /// The name of the key that checked it; `None`: the fallback key.
    pub kid: Option<String>,
}

/// Why a token is not taken: for the log. It shows nothing that could be used as a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Above [`MAX_TOKEN_BYTES`].
    #[error("the token is longer than {MAX_TOKEN_BYTES} bytes")]
    TooLong,
    /// Not three parts of base64url without padding, in the only way to write them.
    #[error("the token is not three parts of base64url")]
    Malformed,
    /// Not a JSON object with `alg`, or `kid` is no text.
    #[error("the token's header is malformed")]
    BadHeader,
    /// It demands an extension (RFC 7515 §4.1.11); none is known.
    #[error("the token's header demands an extension (crit)")]
    CriticalExtension,
    /// `none`, a shared secret, or an unknown one.
    #[error("the token's algorithm is not supported")]
    UnsupportedAlgorithm,
    /// A key with this name may have been published since the key set was read.
    #[error("no key has the token's key id {kid:?}")]
    UnknownKey {
        /// At most its first 64 characters.
        kid: String,
    },
    /// It names no key, and there is no fallback key.
    #[error("the token names no key (kid), and there is no fallback key")]
    NoKey,
    /// One that exists, but not for this key.
    #[error("the token's key does not take its algorithm")]
    WrongAlgorithm,
    /// Someone else signed it, or it was changed.
    #[error("the token's signature is wrong")]
    BadSignature,
    /// Not a JSON object.
    #[error("the token's claims are malformed")]
    BadClaims,
    /// A claim of the wrong type.
    #[error("the token's claim {claim:?} has the wrong type")]
    BadClaim {
        /// Its name.
        claim: String,
    },
    /// A claim that the rules need.
    #[error("the token has no claim {claim:?}")]
    MissingClaim {
        /// Its name.
        claim: String,
    },
    /// `exp` is over.
    #[error("the token expired at {exp}")]
    Expired {
        /// Seconds since 1970.
        exp: i64,
    },
    /// `nbf` is not reached.
    #[error("the token is not valid before {nbf}")]
    NotYetValid {
        /// Seconds since 1970.
        nbf: i64,
    },
    /// `iat` is not reached.
    #[error("the token is from the future, issued at {iat}")]
    IssuedInFuture {
        /// Seconds since 1970.
        iat: i64,
    },
    /// `aud` is absent or names others.
    #[error("the token is for another audience")]
    WrongAudience,
    /// `iss` is absent or names another.
    #[error("the token is from another issuer")]
    WrongIssuer,
    /// The claim is a text, but not one with a tenant in it.
    #[error("the token's claim {claim:?} does not match the tenant pattern")]
    NoTenant {
        /// Its name.
        claim: String,
    },
}

/// A token taken apart, nothing of which is believed yet.
#[derive(Clone, Debug)]
pub struct Unverified<'t> {
    /// What the signature covers.
    signed: &'t str,
    header: Header,
    algorithm: Algorithm,
    claims: Claims,
    signature: Vec<u8>,
}

#[derive(Clone, Debug, Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<IgnoredAny>,
}

/// Checks a token at `now` (seconds since 1970) under one set of keys and rules; see [`Unverified::verify`] and
/// [`Signed::check`].
///
/// # Errors
/// If the token is not to be taken; the variants say why.
pub fn verify(
    token: &str,
    keys: &KeySet,
    fallback: Option<&Key>,
    rules: &TokenRules,
    now: i64,
) -> Result<Verified, TokenError> {
    Unverified::parse(token)?.verify(keys, fallback)?.check(rules, now)
}

impl<'t> Unverified<'t> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// If it is malformed, or no key of ours could ever take it.
    pub fn parse(token: &'t str) -> Result<Self, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLong);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        let (header, claims, signature) = (decode(header)?, decode(claims)?, decode(signature)?);
        let Ok(header) = serde_json::from_slice::<Header>(&header) else { return Err(TokenError::BadHeader) };
        if header.crit.is_some() {
            return Err(TokenError::CriticalExtension);
        }
        // Before a key is looked for: a caller who fetches keys on `UnknownKey` is not made to by a token that no key takes.
        let algorithm = Algorithm::named(&header.alg).ok_or(TokenError::UnsupportedAlgorithm)?;
        let Ok(claims) = serde_json::from_slice(&claims) else { return Err(TokenError::BadClaims) };
        Ok(Self { signed, header, algorithm, claims: Claims(claims), signature })
    }

    /// Whether it claims to be of this issuer: worth asking its keys, and no more than that.
    #[must_use]
    pub fn claims_issuer(&self, issuer: &str) -> bool {
        self.claims.0.get("iss").and_then(Value::as_str) == Some(issuer)
    }

    /// Whether it names a key at all.
    #[must_use]
    pub fn names_key(&self) -> bool {
        self.header.kid.is_some()
    }

    /// Checks who signed it. A token that names its key is checked with that one only, one that names none with the fallback
    /// only.
    ///
    /// # Errors
    /// If the key is not known, or did not sign it.
    pub fn verify(&self, keys: &KeySet, fallback: Option<&Key>) -> Result<Signed<'_>, TokenError> {
        let key = match &self.header.kid {
            Some(kid) => keys.get(kid).ok_or_else(|| unknown_key(kid))?,
            None => fallback.ok_or(TokenError::NoKey)?,
        };
        let key = key.under(self.algorithm).ok_or(TokenError::WrongAlgorithm)?;
        if key.verify_sig(self.signed.as_bytes(), &self.signature).is_err() {
            return Err(TokenError::BadSignature);
        }
        Ok(Signed(self))
    }
}

/// A token whose signature is right: its claims are the words of whoever holds the key.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'t>(&'t Unverified<'t>);

impl Signed<'_> {
    /// Checks what it says at `now` (seconds since 1970). Revocation is not looked at: that takes
    /// [`crate::revocation::Revoked::contains`].
    ///
    /// # Errors
    /// If it is not valid now, not meant for us, or does not say what the rules ask for.
    pub fn check(&self, rules: &TokenRules, now: i64) -> Result<Verified, TokenError> {
        let Unverified { header, claims, .. } = self.0;
        let exp = claims.check_times(rules, now)?;
        claims.check_origin(rules)?;
        Ok(Verified {
            tenant: rules.tenant.as_ref().map(|rule| claims.tenant(rule)).transpose()?,
            subject: claims.subject(rules)?,
            groups: rules.groups_claim.as_ref().map_or_else(|| Ok(Vec::new()), |claim| claims.texts(claim))?,
            exp,
            jti: claims.text("jti")?.map(str::to_owned),
            kid: header.kid.clone(),
        })
    }
}

/// What a token says. Only a signature proves that it is the issuer's words.
#[derive(Clone, Debug)]
struct Claims(Map<String, Value>);

impl Claims {
    /// When the token expires, if it is valid at `now`.
    fn check_times(&self, rules: &TokenRules, now: i64) -> Result<Option<i64>, TokenError> {
        let leeway = rules.leeway_seconds.max(0);
        let exp = self.time("exp")?;
        match exp {
            // RFC 7519 §4.1.4: not on and not after that second.
            Some(exp) if now >= exp.saturating_add(leeway) => return Err(TokenError::Expired { exp }),
            None if rules.require_exp => return Err(missing("exp")),
            Some(_) | None => {}
        }
        let latest = now.saturating_add(leeway);
        if let Some(nbf) = self.time("nbf")?.filter(|nbf| latest < *nbf) {
            return Err(TokenError::NotYetValid { nbf });
        }
        if let Some(iat) = self.time("iat")?.filter(|iat| latest < *iat) {
            return Err(TokenError::IssuedInFuture { iat });
        }
        Ok(exp)
    }

    fn check_origin(&self, rules: &TokenRules) -> Result<(), TokenError> {
        if let Some(audience) = &rules.audience
            && !self.texts("aud")?.contains(audience)
        {
            return Err(TokenError::WrongAudience);
        }
        if let Some(issuer) = &rules.issuer
            && self.text("iss")? != Some(issuer)
        {
            return Err(TokenError::WrongIssuer);
        }
        Ok(())
    }

    fn tenant(&self, rule: &TenantClaim) -> Result<String, TokenError> {
        let text = self.text(&rule.claim)?.ok_or_else(|| missing(&rule.claim))?;
        let tenant = rule.pattern.tenant_of(text).map(str::to_owned);
        tenant.ok_or_else(|| TokenError::NoTenant { claim: rule.claim.clone() })
    }

    fn subject(&self, rules: &TokenRules) -> Result<Option<String>, TokenError> {
        let Some(claim) = &rules.user_claim else { return Ok(self.text("sub")?.map(str::to_owned)) };
        let user = self.text(claim)?.ok_or_else(|| missing(claim))?;
        Ok(Some(user.to_owned()))
    }

    fn text(&self, claim: &str) -> Result<Option<&str>, TokenError> {
        match self.0.get(claim) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(bad(claim)),
        }
    }

    /// One text counts as a list of one.
    fn texts(&self, claim: &str) -> Result<Vec<String>, TokenError> {
        match self.0.get(claim) {
            None => Ok(Vec::new()),
            Some(Value::String(text)) => Ok(vec![text.clone()]),
            Some(Value::Array(values)) => {
                let texts = values.iter().map(|value| value.as_str().map(str::to_owned));
                texts.collect::<Option<_>>().ok_or_else(|| bad(claim))
            }
            Some(_) => Err(bad(claim)),
        }
    }

    /// Seconds since 1970. RFC 7519 §2 allows fractions, which are cut off.
    fn time(&self, claim: &str) -> Result<Option<i64>, TokenError> {
        match self.0.get(claim) {
            None => Ok(None),
            Some(Value::Number(number)) => {
                let whole = number.as_i64().or_else(|| number.as_f64().map(|seconds| seconds as i64));
                whole.map(Some).ok_or_else(|| bad(claim))
            }
            Some(_) => Err(bad(claim)),
        }
    }
}

/// Only the canonical way to write the bytes: else there were several tokens for one signature.
fn decode(part: &str) -> Result<Vec<u8>, TokenError> {
    match URL_SAFE_NO_PAD.decode(part) {
        Ok(bytes) => Ok(bytes),
        Err(_) => Err(TokenError::Malformed),
    }
}

fn unknown_key(kid: &str) -> TokenError {
    TokenError::UnknownKey { kid: kid.chars().take(SHOWN_KID_CHARS).collect() }
}

fn missing(claim: &str) -> TokenError {
    TokenError::MissingClaim { claim: claim.to_owned() }
}

fn bad(claim: &str) -> TokenError {
    TokenError::BadClaim { claim: claim.to_owned() }
}

#[cfg(test)]
mod tests;

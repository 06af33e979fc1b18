//! Makes what [`crate::token`] checks: RSA key pairs, tokens in the form of Opstrace, and edits of its key-set documents.
//! For the command line; the gateway itself holds no private key.

use std::collections::BTreeMap;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::{self, SystemRandom};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls_pki_types::pem::SectionKind;
use serde::Serialize;

use crate::key::{Key, KeyError, kid_of_pem};
use crate::{hex, pem};

/// Of the name of an instance.
pub const MAX_INSTANCE_CHARS: usize = 23;

const ISSUER: &str = "opstrace-cli";

/// What a token is to say. Times are in seconds since 1970.
#[derive(Clone, Copy, Debug)]
pub struct NewToken<'a> {
    /// Which instance takes it: `[a-z0-9-_]`, 1 to 23 characters.
    pub instance: &'a str,
    /// Who will speak with it. Whether this is a tenant's name is for the caller to check.
    pub tenant: &'a str,
    /// When it begins.
    pub issued_at: i64,
    /// How long it is valid, more than 0.
    pub lifetime_seconds: i64,
    /// Its own name, for revocation: see [`random_jti`].
    pub jti: &'a str,
}

/// Something could not be issued.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// Not what an instance may be called.
    #[error("an instance's name has 1 to {MAX_INSTANCE_CHARS} characters of a-z, 0-9, - and _")]
    BadInstance,
    /// Nothing, negative, or beyond all time.
    #[error("a token's lifetime must be more than 0 and end before the end of time")]
    BadLifetime,
    /// Only who has the private key can sign.
    #[error("the PEM text has no private key")]
    NoPrivateKey,
    /// The text is no key that could be used.
    #[error("the key cannot be used")]
    BadKey(#[source] KeyError),
    /// aws-lc refused; the system may be out of random bytes or memory.
    #[error("the cryptographic library failed")]
    Library,
}

/// A key-set document could not be edited.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// Not a JSON object of texts. A JSON Web Key Set is none either.
    #[error("the key set is not a JSON object of key ids and PEM texts")]
    NotAKeySet(#[source] serde_json::Error),
    /// What should be added is no key.
    #[error("the key cannot be used")]
    BadKey(#[source] IssueError),
    /// Nothing to add.
    #[error("the key set already has the key {kid}")]
    AlreadyThere {
        /// Of the key.
        kid: String,
    },
    /// Nothing to remove.
    #[error("the key set has no key {kid:?}")]
    Absent {
        /// As asked for.
        kid: String,
    },
    /// Nobody could push any more.
    #[error("{kid} is the last key of the set; without it every token is refused")]
    LastKey {
        /// Of the key.
        kid: String,
    },
}

/// What becomes of the last key of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastKey {
    /// It is not removed.
    Stays,
    /// It may be removed.
    MayGo,
}

#[derive(Serialize)]
struct Header<'a> {
    alg: &'a str,
    typ: &'a str,
    kid: &'a str,
}

#[derive(Serialize)]
struct Claims<'a> {
    iat: i64,
    exp: i64,
    aud: String,
    iss: &'a str,
    sub: String,
    jti: &'a str,
}

/// A new RSA key of 2048 bits, as PEM (PKCS#8): a secret.
///
/// # Errors
/// If the library fails.
pub fn generate_key_pair() -> Result<String, IssueError> {
    let Ok(pair) = KeyPair::generate(KeySize::Rsa2048) else { return Err(IssueError::Library) };
    let Ok(der) = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair) else { return Err(IssueError::Library) };
    Ok(pem::write("PRIVATE KEY", der.as_ref()))
}

/// The public part of an RSA key as PEM (`PUBLIC KEY`), from a private key (PKCS#1 or PKCS#8) or the public part itself.
/// However it was written, the result is one text per key, so that a key has one kid.
///
/// # Errors
/// If it is no RSA key of 2048 to 8192 bits.
pub fn public_pem(text: &str) -> Result<String, IssueError> {
    let (kind, der) = pem::read_one(text).ok_or(IssueError::BadKey(KeyError::BadPem))?;
    let der = if kind == SectionKind::PublicKey {
        der
    } else {
        let public = AsDer::<PublicKeyX509Der<'_>>::as_der(private_key(kind, &der)?.public_key());
        let Ok(public) = public else { return Err(IssueError::Library) };
        public.as_ref().to_vec()
    };
    Key::from_spki(&der).map_err(IssueError::BadKey)?;
    Ok(pem::write("PUBLIC KEY", &der))
}

/// The name of a key, private or public: [`kid_of_pem`] of its public part.
///
/// # Errors
/// As [`public_pem`].
pub fn kid(text: &str) -> Result<String, IssueError> {
    public_pem(text).map(|public| kid_of_pem(&public))
}

/// A token in the form of Opstrace, signed with RS256.
///
/// # Errors
/// If the instance or lifetime is not allowed, or the text holds no private RSA key.
pub fn create_token(new: &NewToken<'_>, key_pem: &str) -> Result<String, IssueError> {
    check_instance(new.instance)?;
    let exp = new.issued_at.checked_add(new.lifetime_seconds).filter(|exp| *exp > new.issued_at);
    let exp = exp.ok_or(IssueError::BadLifetime)?;
    let (kind, der) = pem::read_one(key_pem).ok_or(IssueError::BadKey(KeyError::BadPem))?;
    let pair = private_key(kind, &der)?;
    let kid = kid(key_pem)?;
    let header = Header { alg: "RS256", typ: "JWT", kid: &kid };
    let claims = Claims {
        iat: new.issued_at,
        exp,
        aud: format!("opstrace-cluster-{}", new.instance),
        iss: ISSUER,
        sub: format!("tenant-{}", new.tenant),
        jti: new.jti,
    };
    let (Ok(header), Ok(claims)) = (serde_json::to_vec(&header), serde_json::to_vec(&claims)) else {
        return Err(IssueError::Library);
    };
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let mut signature = vec![0; pair.public_modulus_len()];
    if pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).is_err() {
        return Err(IssueError::Library);
    }
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

/// A name for a token: 128 random bits in hexadecimal digits.
///
/// # Errors
/// If the system has no random bytes.
pub fn random_jti() -> Result<String, IssueError> {
    let mut bytes = [0; 16];
    match rand::fill(&mut bytes) {
        Ok(()) => Ok(hex::encode(&bytes)),
        Err(_) => Err(IssueError::Library),
    }
}

/// Whether an instance may be called that.
///
/// # Errors
/// If not.
pub fn check_instance(name: &str) -> Result<(), IssueError> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    if (1..=MAX_INSTANCE_CHARS).contains(&name.len()) && name.bytes().all(allowed) {
        Ok(())
    } else {
        Err(IssueError::BadInstance)
    }
}

/// The names of all keys of an Opstrace key-set document, sorted; an empty text has none.
///
/// # Errors
/// If the text is no such document.
pub fn list_keys(document: &str) -> Result<Vec<String>, EditError> {
    Ok(read(document)?.into_keys().collect())
}

/// The document with the public part of a key added, and the name of that key. An empty text becomes a document.
///
/// # Errors
/// If the text is no such document, the key is none (see [`public_pem`]), or it is there already.
pub fn add_key(document: &str, key_pem: &str) -> Result<(String, String), EditError> {
    let mut keys = read(document)?;
    let public = public_pem(key_pem).map_err(EditError::BadKey)?;
    let kid = kid_of_pem(&public);
    if keys.contains_key(&kid) {
        return Err(EditError::AlreadyThere { kid });
    }
    keys.insert(kid.clone(), public);
    Ok((write(&keys)?, kid))
}

/// The document without a key.
///
/// # Errors
/// If the text is no such document, the key is not in it, or it is the last one and has to stay.
pub fn remove_key(document: &str, kid: &str, last: LastKey) -> Result<String, EditError> {
    let mut keys = read(document)?;
    if keys.remove(kid).is_none() {
        return Err(EditError::Absent { kid: kid.to_owned() });
    }
    if keys.is_empty() && last == LastKey::Stays {
        return Err(EditError::LastKey { kid: kid.to_owned() });
    }
    write(&keys)
}

fn private_key(kind: SectionKind, der: &[u8]) -> Result<KeyPair, IssueError> {
    let pair = match kind {
        SectionKind::PrivateKey => KeyPair::from_pkcs8(der),
        SectionKind::RsaPrivateKey => KeyPair::from_der(der),
        SectionKind::EcPrivateKey => return Err(IssueError::BadKey(KeyError::NotRsa)),
        _ => return Err(IssueError::NoPrivateKey),
    };
    match pair {
        Ok(pair) => Ok(pair),
        Err(_) => Err(IssueError::BadKey(KeyError::Invalid)),
    }
}

/// Sorted by kid, so that an edit changes no other line.
fn read(document: &str) -> Result<BTreeMap<String, String>, EditError> {
    if document.trim().is_empty() {
        return Ok(BTreeMap::new());
    }
    serde_json::from_str(document).map_err(EditError::NotAKeySet)
}

fn write(keys: &BTreeMap<String, String>) -> Result<String, EditError> {
    let mut text = serde_json::to_string_pretty(keys).map_err(EditError::NotAKeySet)?;
    text.push('\n');
    Ok(text)
}

#[cfg(test)]
mod tests;

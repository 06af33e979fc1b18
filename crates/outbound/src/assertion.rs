//! Signed assertions (RFC 7519, RFC 7515): how a client that has a key proves to a token server who it is.

use aws_lc_rs::rand::{self, SystemRandom};
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RsaEncoding};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Map, Value};
use writegate_config as config;

/// An assertion could not be made. Says nothing of the key but where it came from.
#[derive(Debug, thiserror::Error)]
pub enum AssertionError {
    /// Not a key that can be used.
    #[error("the key that signs assertions{place} cannot be used: {why}")]
    Key {
        /// ` in <file>`, or nothing.
        place: String,
        /// What is wrong.
        why: &'static str,
    },
    /// aws-lc refused; the system may be out of random bytes or memory.
    #[error("the cryptographic library failed")]
    Library,
}

/// RSA in the ways that token servers take (RFC 7518 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
}

impl Algorithm {
    fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
        }
    }

    fn encoding(self) -> &'static dyn RsaEncoding {
        match self {
            Self::Rs256 => &RSA_PKCS1_SHA256,
            Self::Rs384 => &RSA_PKCS1_SHA384,
            Self::Rs512 => &RSA_PKCS1_SHA512,
            Self::Ps256 => &RSA_PSS_SHA256,
        }
    }
}

/// An assertion with these header fields, beside `alg` and `typ`, and these claims. `key` is PEM, from `source`.
pub(crate) fn sign(
    algorithm: Algorithm,
    header: &[(&str, &str)],
    claims: Map<String, Value>,
    key: &config::Secret,
    source: Option<&std::path::Path>,
) -> Result<String, AssertionError> {
    let place = || source.map_or_else(String::new, |file| format!(" in {}", file.display()));
    let key = rsa(key).map_err(|why| AssertionError::Key { place: place(), why })?;
    let mut fields = Map::new();
    fields.insert("alg".to_owned(), algorithm.name().into());
    fields.insert("typ".to_owned(), "JWT".into());
    fields.extend(header.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))));
    let part = |map| URL_SAFE_NO_PAD.encode(Value::Object(map).to_string());
    let mut out = format!("{}.{}", part(fields), part(claims));
    let mut signature = vec![0; key.public_modulus_len()];
    if key.sign(algorithm.encoding(), &SystemRandom::new(), out.as_bytes(), &mut signature).is_err() {
        return Err(AssertionError::Library);
    }
    out.push('.');
    URL_SAFE_NO_PAD.encode_string(&signature, &mut out);
    Ok(out)
}

fn rsa(pem: &config::Secret) -> Result<KeyPair, &'static str> {
    let Ok(der) = PrivateKeyDer::from_pem_slice(pem.expose().as_bytes()) else {
        return Err("no PEM key in it (PKCS #8 or PKCS #1, not encrypted)");
    };
    let pair = match &der {
        PrivateKeyDer::Pkcs1(der) => KeyPair::from_der(der.secret_pkcs1_der()),
        PrivateKeyDer::Pkcs8(der) => KeyPair::from_pkcs8(der.secret_pkcs8_der()),
        _ => return Err("it is no RSA key"),
    };
    pair.map_err(|_unshown| "it is no RSA key of 2048 to 8192 bits")
}

/// A random UUID (RFC 9562 §5.4): an assertion's `jti`.
pub(crate) fn uuid() -> Result<String, AssertionError> {
    let mut bytes = [0; 16];
    if rand::fill(&mut bytes).is_err() {
        return Err(AssertionError::Library);
    }
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok([&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-"))
}

#[cfg(test)]
pub(crate) mod tests;

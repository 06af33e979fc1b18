//! One verification key, and which algorithms it takes. That is decided here, when the key is read, and never by a token.

use std::fmt;

use aws_lc_rs::digest;
use aws_lc_rs::signature::{self, ParsedPublicKey, RsaParameters, RsaPublicKeyComponents, VerificationAlgorithm};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls_pki_types::pem::SectionKind;
use serde_json::{Map, Value};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::{hex, pem};

/// Shorter RSA keys are refused, as by RFC 7518 §3.3.
pub const MIN_RSA_BITS: usize = 2048;
/// Longer ones cost too much to check.
pub const MAX_RSA_BITS: usize = 8192;

/// The signature algorithms (RFC 7518 §3.1, RFC 8037 §3.1). Neither `none` nor anything with a shared secret is among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// RSASSA-PSS with SHA-384.
    Ps384,
    /// RSASSA-PSS with SHA-512.
    Ps512,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// Ed25519; RFC 9864 calls it so, too.
    EdDsa,
}

/// A public key that signatures are checked with.
#[derive(Clone)]
pub struct Key {
    /// The same key once for each algorithm it takes.
    takes: Vec<(Algorithm, ParsedPublicKey)>,
}

/// Why a key is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No PEM at all, or more than one section.
    #[error("the text is not one PEM section")]
    BadPem,
    /// Private keys belong to those who issue tokens.
    #[error("it holds a private key; only the public part belongs here, and this key must be replaced")]
    Private,
    /// For instance a certificate.
    #[error("the PEM section is not a PUBLIC KEY")]
    NotPublicKey,
    /// What the section says is no key.
    #[error("the PEM section holds no public key")]
    BadDer,
    /// In a place where only RSA is taken.
    #[error("it is not an RSA key")]
    NotRsa,
    /// Below [`MIN_RSA_BITS`].
    #[error("it is an RSA key of {bits} bits; at least {MIN_RSA_BITS} are needed")]
    RsaTooShort {
        /// Of the modulus.
        bits: usize,
    },
    /// Above [`MAX_RSA_BITS`].
    #[error("it is an RSA key of {bits} bits; at most {MAX_RSA_BITS} are taken")]
    RsaTooLong {
        /// Of the modulus.
        bits: usize,
    },
    /// The numbers are well formed but no key, for instance a point that is not on the curve.
    #[error("its numbers make no valid key")]
    Invalid,
    /// The name of a PEM is its SHA-1.
    #[error("the key id does not belong to the PEM text, whose id is {computed}")]
    KidMismatch {
        /// What it should be.
        computed: String,
    },
    /// A key that no token could name.
    #[error("it has no kid")]
    NoKid,
    /// Two keys of one name.
    #[error("an earlier key has the same kid")]
    DuplicateKid,
    /// Neither an object nor a text where a key should be.
    #[error("it is not a JSON {expected}")]
    BadJson {
        /// `string` or `object`.
        expected: &'static str,
    },
    /// `use` or `key_ops` say that it is for something else.
    #[error("it is not for signatures")]
    NotForSignatures,
    /// Whoever can check such a signature can make one.
    #[error("it is a symmetric key")]
    Symmetric,
    /// A key type, curve or algorithm that is not known here.
    #[error("{member} {value:?} is not supported")]
    Unsupported {
        /// `kty`, `crv` or `alg`.
        member: &'static str,
        /// As written.
        value: String,
    },
    /// A part of the key is missing or malformed.
    #[error("{member} is missing or malformed")]
    BadMember {
        /// Its name in RFC 7518 §6.
        member: &'static str,
    },
}

impl Key {
    /// An RSA key from PEM (`BEGIN PUBLIC KEY`). It takes RS256 only: the Opstrace form knows nothing else.
    ///
    /// # Errors
    /// If it is no RSA key of 2048 to 8192 bits.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let (kind, der) = pem::read_one(text).ok_or(KeyError::BadPem)?;
        match kind {
            SectionKind::PublicKey => Self::from_spki(&der),
            SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey => Err(KeyError::Private),
            _ => Err(KeyError::NotPublicKey),
        }
    }

    /// From a `SubjectPublicKeyInfo` (RFC 5280 §4.1).
    pub(crate) fn from_spki(der: &[u8]) -> Result<Self, KeyError> {
        let Ok(([], info)) = SubjectPublicKeyInfo::from_der(der) else { return Err(KeyError::BadDer) };
        match info.parsed() {
            Ok(PublicKey::RSA(rsa)) => Self::rsa(rsa.modulus, rsa.exponent, &[Algorithm::Rs256]),
            Ok(_) => Err(KeyError::NotRsa),
            Err(_) => Err(KeyError::BadDer),
        }
    }

    /// From a JSON Web Key (RFC 7517 §4). It takes the algorithm of its `alg`, or those of its type if there is none.
    pub(crate) fn from_jwk(jwk: &Map<String, Value>) -> Result<Self, KeyError> {
        let kty = text(jwk, "kty")?;
        if kty == "oct" || jwk.contains_key("k") {
            return Err(KeyError::Symmetric);
        }
        if ["d", "p", "q", "dp", "dq", "qi", "oth"].iter().any(|member| jwk.contains_key(*member)) {
            return Err(KeyError::Private);
        }
        let for_signatures = jwk.get("use").is_none_or(|usage| usage == "sig")
            && jwk.get("key_ops").is_none_or(|operations| {
                operations.as_array().is_some_and(|operations| operations.iter().any(|name| name == "verify"))
            });
        if !for_signatures {
            return Err(KeyError::NotForSignatures);
        }
        match kty {
            "RSA" => {
                let takes = algorithms(jwk, &Algorithm::OF_RSA)?;
                Self::rsa(&number(jwk, "n")?, &number(jwk, "e")?, &takes)
            }
            "EC" => {
                let (algorithm, length) = match text(jwk, "crv")? {
                    "P-256" => (Algorithm::Es256, 32),
                    "P-384" => (Algorithm::Es384, 48),
                    other => return Err(unsupported("crv", other)),
                };
                algorithms(jwk, &[algorithm])?;
                // SEC 1 §2.3.3: an uncompressed point. RFC 7518 §6.2.1.2 demands the full length of both.
                let mut point = vec![4];
                for member in ["x", "y"] {
                    let coordinate = number(jwk, member)?;
                    if coordinate.len() != length {
                        return Err(KeyError::BadMember { member });
                    }
                    point.extend(coordinate);
                }
                Self::parsed(algorithm, &point)
            }
            "OKP" => match text(jwk, "crv")? {
                "Ed25519" => {
                    algorithms(jwk, &[Algorithm::EdDsa])?;
                    let public = number(jwk, "x")?;
                    if public.len() != 32 {
                        return Err(KeyError::BadMember { member: "x" });
                    }
                    Self::parsed(Algorithm::EdDsa, &public)
                }
                other => Err(unsupported("crv", other)),
            },
            other => Err(unsupported("kty", other)),
        }
    }

    /// Numbers with the most significant byte first.
    fn rsa(modulus: &[u8], exponent: &[u8], takes: &[Algorithm]) -> Result<Self, KeyError> {
        let (modulus, exponent) = (without_leading_zeros(modulus), without_leading_zeros(exponent));
        let bits = modulus.first().map_or(0, |first| modulus.len() * 8 - first.leading_zeros() as usize);
        if bits < MIN_RSA_BITS {
            return Err(KeyError::RsaTooShort { bits });
        }
        if bits > MAX_RSA_BITS {
            return Err(KeyError::RsaTooLong { bits });
        }
        // With the exponent 1 every text is its own signature; the upper bound keeps checks cheap.
        let odd = exponent.last().is_some_and(|last| last % 2 == 1);
        if !odd || exponent == [1] || exponent.len() > 4 {
            return Err(KeyError::Invalid);
        }
        let components = RsaPublicKeyComponents { n: modulus, e: exponent };
        let parse = |algorithm: &Algorithm| {
            let parameters = algorithm.rsa_parameters()?;
            components.to_parsed_public_key(parameters).ok().map(|key| (*algorithm, key))
        };
        let takes: Option<Vec<_>> = takes.iter().map(parse).collect();
        takes.map(|takes| Self { takes }).ok_or(KeyError::Invalid)
    }

    fn parsed(algorithm: Algorithm, bytes: &[u8]) -> Result<Self, KeyError> {
        let checks: &'static dyn VerificationAlgorithm = match algorithm {
            Algorithm::Es256 => &signature::ECDSA_P256_SHA256_FIXED,
            Algorithm::Es384 => &signature::ECDSA_P384_SHA384_FIXED,
            _ => &signature::ED25519,
        };
        match ParsedPublicKey::new(checks, bytes) {
            Ok(key) => Ok(Self { takes: vec![(algorithm, key)] }),
            Err(_) => Err(KeyError::Invalid),
        }
    }

    /// The algorithms it takes.
    pub fn algorithms(&self) -> impl Iterator<Item = Algorithm> {
        self.takes.iter().map(|(algorithm, _)| *algorithm)
    }

    /// The key in the form that checks this algorithm, if it takes it.
    pub(crate) fn under(&self, algorithm: Algorithm) -> Option<&ParsedPublicKey> {
        self.takes.iter().find(|(taken, _)| *taken == algorithm).map(|(_, key)| key)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.algorithms()).finish()
    }
}

impl Algorithm {
    const OF_RSA: [Self; 6] = [Self::Rs256, Self::Rs384, Self::Rs512, Self::Ps256, Self::Ps384, Self::Ps512];

    /// From the `alg` of a token or key.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "RS256" => Self::Rs256,
            "RS384" => Self::Rs384,
            "RS512" => Self::Rs512,
            "PS256" => Self::Ps256,
            "PS384" => Self::Ps384,
            "PS512" => Self::Ps512,
            "ES256" => Self::Es256,
            "ES384" => Self::Es384,
            "EdDSA" | "Ed25519" => Self::EdDsa,
            _ => return None,
        })
    }

    const fn rsa_parameters(self) -> Option<&'static RsaParameters> {
        Some(match self {
            Self::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
            Self::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
            Self::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
            Self::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
            Self::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
            Self::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
            Self::Es256 | Self::Es384 | Self::EdDsa => return None,
        })
    }
}

/// The name of a public key in the Opstrace form: the SHA-1 of its PEM text without white space around it, in lower-case
/// hexadecimal digits. A name, not a protection: it is trusted only where the operator wrote it beside the key.
#[must_use]
pub fn kid_of_pem(text: &str) -> String {
    hex::encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.trim().as_bytes()).as_ref())
}

/// Those of the key type's algorithms that the key takes: what its `alg` says, else all.
fn algorithms(jwk: &Map<String, Value>, of_type: &[Algorithm]) -> Result<Vec<Algorithm>, KeyError> {
    if !jwk.contains_key("alg") {
        return Ok(of_type.to_vec());
    }
    let name = text(jwk, "alg")?;
    match Algorithm::named(name).filter(|algorithm| of_type.contains(algorithm)) {
        Some(algorithm) => Ok(vec![algorithm]),
        None => Err(unsupported("alg", name)),
    }
}

fn text<'a>(jwk: &'a Map<String, Value>, member: &'static str) -> Result<&'a str, KeyError> {
    jwk.get(member).and_then(Value::as_str).ok_or(KeyError::BadMember { member })
}

fn number(jwk: &Map<String, Value>, member: &'static str) -> Result<Vec<u8>, KeyError> {
    match URL_SAFE_NO_PAD.decode(text(jwk, member)?) {
        Ok(bytes) => Ok(bytes),
        Err(_) => Err(KeyError::BadMember { member }),
    }
}

fn unsupported(member: &'static str, value: &str) -> KeyError {
    KeyError::Unsupported { member, value: value.to_owned() }
}

fn without_leading_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

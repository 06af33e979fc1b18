//! Keys and tokens for tests, also tokens that nobody should take. Not for production.
//!
//! [`TOKEN`] and its key were made for this purpose; nobody has the private part.
#![expect(clippy::unwrap_used, clippy::panic, reason = "only tests are here, and say what is wrong by panicking")]

use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::RsaEncoding;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use serde_json::Value;

use crate::issue;

/// The name of [`PEM`].
pub const KID: &str = "d7ee4d02c0250174ce1ee897385a69d26dde9da6";
/// An RSA key of 2048 bits.
pub const PEM: &str = include_str!("../testdata/opstrace.pub.pem");
/// Signed by that key; for the tenant team-blue and the instance demo, valid from 1700000000 to 2015360000.
pub const TOKEN: &str = include_str!("../testdata/opstrace.token").trim_ascii_end();

/// A key pair of our own, as PEM (PKCS#8).
pub static PAIR: LazyLock<String> = LazyLock::new(|| issue::generate_key_pair().unwrap());
/// Its public part.
pub static PAIR_PUBLIC: LazyLock<String> = LazyLock::new(|| issue::public_pem(&PAIR).unwrap());
/// Its name.
pub static PAIR_KID: LazyLock<String> = LazyLock::new(|| issue::kid(&PAIR).unwrap());

/// Opstrace's document with these keys.
#[must_use]
pub fn document(keys: &[(&str, &str)]) -> String {
    let keys: serde_json::Map<String, Value> =
        keys.iter().map(|(kid, pem)| ((*kid).to_owned(), Value::from(*pem))).collect();
    Value::Object(keys).to_string()
}

/// What the signature of a token covers.
#[must_use]
pub fn signed_part(header: &Value, claims: &Value) -> String {
    format!("{}.{}", encode(header.to_string()), encode(claims.to_string()))
}

/// Base64url without padding.
pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A token signed with [`PAIR`].
///
/// # Panics
/// If the library fails.
#[must_use]
pub fn rsa_token(header: &Value, claims: &Value, encoding: &'static dyn RsaEncoding) -> String {
    static KEY: LazyLock<KeyPair> = LazyLock::new(|| {
        let der = PrivatePkcs8KeyDer::from_pem_slice(PAIR.as_bytes()).unwrap();
        KeyPair::from_pkcs8(der.secret_pkcs8_der()).unwrap()
    });
    let signed = signed_part(header, claims);
    let mut signature = vec![0; KEY.public_modulus_len()];
    KEY.sign(encoding, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
    format!("{signed}.{}", encode(signature))
}

/// Modulus and exponent of a PEM, as a JSON Web Key writes them.
///
/// # Panics
/// If it is no RSA key.
#[must_use]
pub fn rsa_numbers(pem: &str) -> (String, String) {
    use x509_parser::prelude::FromDer;
    let der = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()).unwrap();
    let (_, info) = x509_parser::x509::SubjectPublicKeyInfo::from_der(&der).unwrap();
    let x509_parser::public_key::PublicKey::RSA(rsa) = info.parsed().unwrap() else { panic!("not RSA") };
    (encode(&rsa.modulus[1..]), encode(rsa.exponent))
}

//! Assertions checked with the public half of the key.

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    RSA_PSS_2048_8192_SHA256, UnparsedPublicKey,
};
use base64::engine::general_purpose::STANDARD;

use super::*;

/// A key and its PEM.
pub(crate) fn key() -> (KeyPair, config::Secret) {
    let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der.as_ref()));
    (pair, config::Secret::new(pem))
}

/// Header and claims, without looking at the signature.
pub(crate) fn taken_apart(assertion: &str) -> (Value, Value) {
    let mut parts = assertion.split('.').map(|part| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()));
    (parts.next().unwrap().unwrap(), parts.next().unwrap().unwrap())
}

#[test]
fn an_assertion_is_signed_in_each_of_the_ways() {
    let (pair, pem) = key();
    for (algorithm, verified_by) in [
        (Algorithm::Rs256, &RSA_PKCS1_2048_8192_SHA256),
        (Algorithm::Rs384, &RSA_PKCS1_2048_8192_SHA384),
        (Algorithm::Rs512, &RSA_PKCS1_2048_8192_SHA512),
        (Algorithm::Ps256, &RSA_PSS_2048_8192_SHA256),
    ] {
        let mut claims = Map::new();
        claims.insert("sub".to_owned(), "writegate".into());
        let assertion = sign(algorithm, &[("kid", "k")], claims, &pem, None).unwrap();
        let (header, claims) = taken_apart(&assertion);
        assert_eq!(header, serde_json::json!({"alg": algorithm.name(), "typ": "JWT", "kid": "k"}));
        assert_eq!(claims, serde_json::json!({"sub": "writegate"}));
        let (signed, signature) = assertion.rsplit_once('.').unwrap();
        let public = UnparsedPublicKey::new(verified_by, pair.public_key());
        public.verify(signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();
    }
}

#[test]
fn a_key_that_cannot_sign_is_told_with_its_file_and_not_shown() {
    for (text, why) in [
        ("s3cret", "no PEM key in it (PKCS #8 or PKCS #1, not encrypted)"),
        ("-----BEGIN PRIVATE KEY-----\nczNjcmV0\n-----END PRIVATE KEY-----\n", "it is no RSA key of 2048 to 8192 bits"),
        ("-----BEGIN EC PRIVATE KEY-----\nczNjcmV0\n-----END EC PRIVATE KEY-----\n", "it is no RSA key"),
    ] {
        let key = config::Secret::new(text);
        let error = sign(Algorithm::Rs256, &[], Map::new(), &key, Some("a.pem".as_ref())).unwrap_err();
        assert_eq!(error.to_string(), format!("the key that signs assertions in a.pem cannot be used: {why}"));
    }
}

#[test]
fn each_assertion_has_a_uuid_of_its_own() {
    let (one, other) = (uuid().unwrap(), uuid().unwrap());
    assert_ne!(one, other);
    let lengths: Vec<usize> = one.split('-').map(str::len).collect();
    assert_eq!(lengths, [8, 4, 4, 4, 12]);
    assert!(one.split('-').nth(2).unwrap().starts_with('4'), "{one}");
}

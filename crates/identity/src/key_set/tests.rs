//! Which documents give which keys.

use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::key::Algorithm;
use crate::testing::{KID, PAIR, PAIR_KID, PAIR_PUBLIC, PEM, document, encode, rsa_numbers};

const SHORT_RSA: &str = include_str!("../../testdata/rsa1024.pub.pem");
const P256: &str = include_str!("../../testdata/p256.pub.pem");

/// Why a PEM is refused in Opstrace's form, beside a good one.
fn why(kid: &str, pem: &str) -> Option<KeyError> {
    let parsed = KeySet::parse(&document(&[(KID, PEM), (kid, pem)])).unwrap();
    assert!(parsed.keys.get(KID).is_some(), "the good one stays");
    let refused = parsed.refused.into_iter().next()?;
    assert_eq!(refused.name, kid);
    assert!(parsed.keys.get(kid).is_none());
    Some(refused.source)
}

/// Why a JSON Web Key is refused.
fn why_jwk(jwk: &Value) -> Option<KeyError> {
    let (n, e) = rsa_numbers(PEM);
    let document = json!({"keys": [{"kty": "RSA", "kid": "good", "n": n, "e": e}, jwk]});
    let mut parsed = KeySet::parse(&document.to_string()).unwrap();
    assert!(parsed.keys.get("good").is_some(), "the good one stays");
    parsed.refused.pop().map(|refused| refused.source)
}

#[test]
fn the_kid_is_the_sha_1_of_the_pem_text_without_white_space_around_it() {
    assert_eq!(kid_of_pem(PEM), KID);
    assert_eq!(kid_of_pem(&format!("\r\n\t {PEM}\n\n")), KID);
    assert_ne!(kid_of_pem(&PEM.replace('\n', "\r\n")), KID);
}

#[test]
fn opstraces_document_gives_keys_for_rs256() {
    for pem in [PEM.to_owned(), PEM.trim().to_owned(), format!("\n{PEM}\n")] {
        let parsed = KeySet::parse(&document(&[(KID, &pem), (&PAIR_KID, &PAIR_PUBLIC)])).unwrap();
        assert_eq!((parsed.keys.len(), parsed.refused), (2, Vec::new()));
        let key = parsed.keys.get(KID).unwrap();
        assert_eq!(key.algorithms().collect::<Vec<_>>(), [Algorithm::Rs256]);
        assert!(parsed.keys.kids().any(|kid| kid == KID));
    }
}

#[test]
fn an_entry_that_cannot_be_taken_is_refused_by_itself() {
    let mismatch = KeyError::KidMismatch { computed: PAIR_KID.clone() };
    assert_eq!(why(&PAIR_KID, &PAIR_PUBLIC), None);
    assert_eq!(why("other", &PAIR_PUBLIC), Some(mismatch.clone()));
    assert_eq!(why(&PAIR_KID.to_uppercase(), &PAIR_PUBLIC), Some(mismatch));
    assert_eq!(why(&kid_of_pem(P256), P256), Some(KeyError::NotRsa));
    assert_eq!(why(&kid_of_pem(SHORT_RSA), SHORT_RSA), Some(KeyError::RsaTooShort { bits: 1024 }));
    assert_eq!(why(&kid_of_pem(&PAIR), &PAIR), Some(KeyError::Private));
    for bad in ["", "no PEM", &PEM[..200], &PEM.replace("-----END", "----END"), &format!("{PEM}{PEM}")] {
        assert_eq!(why(&kid_of_pem(bad), bad), Some(KeyError::BadPem), "{bad}");
    }
    let renamed = PEM.replace("PUBLIC KEY", "CERTIFICATE");
    assert_eq!(why(&kid_of_pem(&renamed), &renamed), Some(KeyError::NotPublicKey));
    let rubbish = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n";
    assert_eq!(why(&kid_of_pem(rubbish), rubbish), Some(KeyError::BadDer));
    let parsed = KeySet::parse(&json!({KID: PEM, "x": 1}).to_string()).unwrap();
    assert_eq!(parsed.refused[0].source, KeyError::BadJson { expected: "string" });
}

#[test]
fn a_refusal_names_the_key_and_never_shows_it() {
    let parsed = KeySet::parse(&document(&[(KID, PEM), ("mine", &PAIR)])).unwrap();
    let refused = &parsed.refused[0];
    assert_eq!(refused.to_string(), "key \"mine\" is refused");
    assert!(!format!("{refused:?} {}", refused.source).contains(&PAIR[60..80]));
}

#[test]
fn a_document_without_any_key_is_an_error() {
    let error = |text: &str| KeySet::parse(text).unwrap_err();
    for text in ["", "{", "keys", PEM] {
        assert!(matches!(error(text), KeySetError::NotJson(_)), "{text}");
    }
    for text in ["[]", "null", "\"x\"", "1"] {
        assert!(matches!(error(text), KeySetError::NotAnObject), "{text}");
    }
    for text in ["{}", "{\"keys\":[]}", "{\"keys\":{}}", "{\"keys\":[1]}"] {
        assert!(matches!(error(text), KeySetError::NoUsableKey { .. }), "{text}");
    }
    let shown = error(&document(&[("a", PEM), ("b", "")])).to_string();
    assert_eq!(
        shown,
        format!(
            "the key set has no key that can be used; \"a\": the key id does not belong to the PEM text, whose id is \
             {KID}; \"b\": the text is not one PEM section"
        )
    );
    assert!(matches!(error(&" ".repeat(MAX_DOCUMENT_BYTES + 1)), KeySetError::TooLong));
}

#[test]
fn json_web_keys_are_taken_for_the_algorithms_of_their_type() {
    let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
    let point = pair.public_key().as_ref();
    let (n, e) = rsa_numbers(PEM);
    let ec = json!({"kty": "EC", "crv": "P-384", "kid": "ec", "x": encode(&point[1..49]), "y": encode(&point[49..])});
    let rsa = json!({"kty": "RSA", "kid": "rsa", "key_ops": ["verify"], "n": n, "e": e, "x5t": "ignored"});
    let keys = KeySet::parse(&json!({"keys": [ec, rsa], "more": 1}).to_string()).unwrap().keys;
    let algorithms = |kid: &str| keys.get(kid).unwrap().algorithms().collect::<Vec<_>>();
    assert_eq!(algorithms("ec"), [Algorithm::Es384]);
    assert_eq!(algorithms("rsa").len(), 6);
    assert!(!algorithms("rsa").contains(&Algorithm::Es256));
}

#[test]
fn json_web_keys_for_something_else_are_refused() {
    let (n, e) = rsa_numbers(&PAIR_PUBLIC);
    let with = |member: &str, value: Value| {
        let mut jwk = json!({"kty": "RSA", "kid": "k", "n": n, "e": e});
        jwk[member] = value;
        why_jwk(&jwk)
    };
    let unsupported = |member, value: &str| Some(KeyError::Unsupported { member, value: value.to_owned() });
    let bad = |member| Some(KeyError::BadMember { member });
    assert_eq!(with("use", json!("sig")), None);
    assert_eq!(with("use", json!("enc")), Some(KeyError::NotForSignatures));
    assert_eq!(with("key_ops", json!(["sign", "encrypt"])), Some(KeyError::NotForSignatures));
    assert_eq!(with("key_ops", json!("verify")), Some(KeyError::NotForSignatures));
    for private in ["d", "p", "q", "dp", "dq", "qi", "oth"] {
        assert_eq!(with(private, json!("AQAB")), Some(KeyError::Private), "{private}");
    }
    assert_eq!(with("k", json!("AQAB")), Some(KeyError::Symmetric));
    assert_eq!(why_jwk(&json!({"kty": "oct", "kid": "k", "k": "c2VjcmV0"})), Some(KeyError::Symmetric));
    assert_eq!(with("kty", json!("AKP")), unsupported("kty", "AKP"));
    assert_eq!(with("kty", json!(1)), bad("kty"));
    assert_eq!(with("alg", json!("RSA-OAEP")), unsupported("alg", "RSA-OAEP"));
    assert_eq!(with("alg", json!("HS256")), unsupported("alg", "HS256"));
    assert_eq!(with("alg", json!("ES256")), unsupported("alg", "ES256"));
    assert_eq!(with("alg", json!(null)), bad("alg"));
    assert_eq!(with("kid", json!("good")), Some(KeyError::DuplicateKid));
    assert_eq!(with("kid", json!(null)), Some(KeyError::NoKid));
    assert_eq!(why_jwk(&json!("k")), Some(KeyError::BadJson { expected: "object" }));
}

#[test]
fn numbers_that_make_no_key_are_refused() {
    let (n, e) = rsa_numbers(&PAIR_PUBLIC);
    let rsa = |n: &str, e: &str| why_jwk(&json!({"kty": "RSA", "kid": "k", "n": n, "e": e}));
    assert_eq!(rsa(&n, &e), None);
    assert_eq!(rsa(&n, "AAEAAQ"), None, "leading zeros are against RFC 7518 §2, and common");
    // 1, 2, 0, and one of five bytes.
    for exponent in ["AQ", "Ag", "AA", "AQAAAAE"] {
        assert_eq!(rsa(&n, exponent), Some(KeyError::Invalid), "{exponent}");
    }
    assert_eq!(rsa(&n, ""), Some(KeyError::Invalid));
    assert_eq!(rsa(&format!("{n}="), &e), Some(KeyError::BadMember { member: "n" }));
    assert_eq!(rsa(&n, "AQAB/"), Some(KeyError::BadMember { member: "e" }));
    let ones = |first: u8, more: usize| encode([vec![first], vec![0xff; more]].concat());
    assert_eq!(rsa(&ones(0x7f, 255), &e), Some(KeyError::RsaTooShort { bits: 2047 }));
    assert_eq!(rsa(&ones(0x80, 255), &e), None);
    assert_eq!(rsa(&ones(1, 1024), &e), Some(KeyError::RsaTooLong { bits: 8193 }));
    assert_eq!(rsa("", &e), Some(KeyError::RsaTooShort { bits: 0 }));

    let ec =
        |x: &[u8], y: &[u8]| why_jwk(&json!({"kty": "EC", "crv": "P-256", "kid": "k", "x": encode(x), "y": encode(y)}));
    assert_eq!(ec(&[1; 32], &[1; 32]), Some(KeyError::Invalid), "not on the curve");
    assert_eq!(ec(&[1; 31], &[1; 32]), Some(KeyError::BadMember { member: "x" }));
    assert_eq!(ec(&[1; 32], &[1; 33]), Some(KeyError::BadMember { member: "y" }));
    let curve = |kty: &str, crv: &str| why_jwk(&json!({"kty": kty, "crv": crv, "kid": "k", "x": "AQ", "y": "AQ"}));
    for (kty, crv) in [("EC", "P-521"), ("EC", "secp256k1"), ("EC", "Ed25519"), ("OKP", "X25519"), ("OKP", "P-256")] {
        assert_eq!(curve(kty, crv), Some(KeyError::Unsupported { member: "crv", value: crv.to_owned() }));
    }
    assert_eq!(curve("OKP", "Ed25519"), Some(KeyError::BadMember { member: "x" }));
}

proptest! {
    #[test]
    fn no_document_makes_it_panic(text in ".{0,200}", kty in "RSA|EC|OKP|oct", x in "[A-Za-z0-9_-]{0,90}", crv in "P-256|P-384|Ed25519") {
        let jwks = json!({"keys": [{"kty": kty, "crv": crv, "kid": "k", "x": x, "y": x, "n": x, "e": x}, text]});
        for document in [text.clone(), document(&[(&text, &x)]), jwks.to_string()] {
            if let Ok(parsed) = KeySet::parse(&document) {
                prop_assert!(!parsed.keys.is_empty());
            }
        }
    }
}

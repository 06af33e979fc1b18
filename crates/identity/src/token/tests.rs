//! Which tokens are taken: the known one and no other that looks like it.

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA512,
    RSA_PSS_SHA256,
};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::testing::{KID, PAIR_KID, PAIR_PUBLIC, PEM, TOKEN, document, encode, rsa_numbers, rsa_token, signed_part};

const NOW: i64 = 1_800_000_000;

fn rules() -> TokenRules {
    TokenRules {
        audience: Some("opstrace-cluster-demo".to_owned()),
        issuer: Some("opstrace-cli".to_owned()),
        tenant: Some(TenantClaim { claim: "sub".to_owned(), pattern: "tenant-{tenant}".parse().unwrap() }),
        user_claim: None,
        groups_claim: None,
        require_exp: true,
        leeway_seconds: 0,
    }
}

fn known_keys() -> KeySet {
    KeySet::parse(&document(&[(KID, PEM)])).unwrap().keys
}

fn pair_keys() -> KeySet {
    KeySet::parse(&document(&[(&PAIR_KID, &PAIR_PUBLIC)])).unwrap().keys
}

fn header() -> Value {
    json!({"alg": "RS256", "typ": "JWT", "kid": PAIR_KID.as_str()})
}

fn claims() -> Value {
    json!({
        "iat": NOW - 10, "exp": NOW + 100, "aud": "opstrace-cluster-demo", "iss": "opstrace-cli",
        "sub": "tenant-team-blue",
    })
}

/// [`claims`] with this one set, or taken away.
fn claims_with(claim: &str, value: Value) -> Value {
    let mut claims = claims();
    match value {
        Value::Null => claims.as_object_mut().unwrap().remove(claim),
        value => claims.as_object_mut().unwrap().insert(claim.to_owned(), value),
    };
    claims
}

/// What becomes of a token with these claims, properly signed.
fn checked(claims: &Value, rules: &TokenRules) -> Result<Verified, TokenError> {
    verify(&rsa_token(&header(), claims, &RSA_PKCS1_SHA256), &pair_keys(), None, rules, NOW)
}

#[test]
fn the_known_token_is_taken_for_its_tenant() {
    let verified = verify(TOKEN, &known_keys(), None, &rules(), NOW).unwrap();
    let expected = Verified {
        tenant: Some("team-blue".to_owned()),
        subject: Some("tenant-team-blue".to_owned()),
        groups: Vec::new(),
        exp: Some(2_015_360_000),
        jti: None,
        kid: Some(KID.to_owned()),
    };
    assert_eq!(verified, expected);
}

/// Among them those that decode to the same bytes: the last character of a part has bits that are not used.
#[test]
fn a_token_with_any_byte_changed_is_refused() {
    const OTHERS: &[u8] = b"ABQgwz09-_.=+ \n\0";
    let (keys, rules) = (known_keys(), rules());
    let fallback = Key::from_pem(PEM).unwrap();
    for index in 0..TOKEN.len() {
        for other in OTHERS {
            let mut changed = TOKEN.as_bytes().to_vec();
            if changed[index] == *other {
                continue;
            }
            changed[index] = *other;
            let changed = String::from_utf8(changed).unwrap();
            assert!(verify(&changed, &keys, Some(&fallback), &rules, NOW).is_err(), "byte {index} became {other}");
        }
        for changed in [
            format!("{}{}", &TOKEN[..index], &TOKEN[index + 1..]),
            format!("{}={}", &TOKEN[..index], &TOKEN[index..]),
            format!("{}A{}", &TOKEN[..index], &TOKEN[index..]),
            TOKEN[..index].to_owned(),
        ] {
            assert!(verify(&changed, &keys, Some(&fallback), &rules, NOW).is_err(), "at byte {index}");
        }
    }
    for changed in
        [format!("{TOKEN}A"), format!("{TOKEN}="), format!("{TOKEN}\n"), format!(" {TOKEN}"), TOKEN.repeat(2)]
    {
        assert!(verify(&changed, &keys, Some(&fallback), &rules, NOW).is_err(), "{changed}");
    }
}

#[test]
fn another_way_to_write_the_same_bytes_is_malformed() {
    for (at, part) in TOKEN.split('.').enumerate() {
        // 256 bytes of signature leave two digits in the last group, so four bits are not used.
        if part.len() % 4 == 0 {
            continue;
        }
        let last = part.chars().last().unwrap();
        let next = char::from(last as u8 + 1);
        let mut parts: Vec<String> = TOKEN.split('.').map(str::to_owned).collect();
        parts[at].pop();
        parts[at].push(next);
        let changed = parts.join(".");
        assert_eq!(verify(&changed, &known_keys(), None, &rules(), NOW), Err(TokenError::Malformed), "{at}");
    }
}

#[test]
fn a_token_for_another_audience_is_refused_unless_audiences_are_not_looked_at() {
    let other = TokenRules { audience: Some("opstrace-cluster-other".to_owned()), ..rules() };
    assert_eq!(verify(TOKEN, &known_keys(), None, &other, NOW), Err(TokenError::WrongAudience));
    let any = TokenRules { audience: None, ..rules() };
    assert!(verify(TOKEN, &known_keys(), None, &any, NOW).is_ok());
    let list = |values: Value| checked(&claims_with("aud", values), &rules());
    assert!(list(json!(["others", "opstrace-cluster-demo"])).is_ok());
    assert_eq!(list(json!(["others"])), Err(TokenError::WrongAudience));
    assert_eq!(list(json!([])), Err(TokenError::WrongAudience));
    assert_eq!(list(Value::Null), Err(TokenError::WrongAudience));
    assert_eq!(list(json!(["opstrace-cluster-demo", 1])), Err(bad("aud")));
    assert_eq!(list(json!({"opstrace-cluster-demo": 1})), Err(bad("aud")));
}

#[test]
fn the_issuer_must_be_the_one_that_is_asked_for() {
    assert_eq!(checked(&claims_with("iss", json!("me")), &rules()), Err(TokenError::WrongIssuer));
    assert_eq!(checked(&claims_with("iss", Value::Null), &rules()), Err(TokenError::WrongIssuer));
    assert!(checked(&claims_with("iss", json!("me")), &TokenRules { issuer: None, ..rules() }).is_ok());
}

#[test]
fn what_a_token_claims_before_its_signature_is_checked_is_known_and_checked_once_for_several_rules() {
    let token = rsa_token(&header(), &claims(), &RSA_PKCS1_SHA256);
    let parsed = Unverified::parse(&token).unwrap();
    let issuer = claims()["iss"].as_str().unwrap().to_owned();
    assert!(parsed.claims_issuer(&issuer) && !parsed.claims_issuer("me") && parsed.names_key());
    assert!(matches!(parsed.verify(&known_keys(), None), Err(TokenError::UnknownKey { .. })));
    let keys = pair_keys();
    let signed = parsed.verify(&keys, None).unwrap();
    assert!(signed.check(&rules(), NOW).is_ok());
    let other = TokenRules { audience: Some("another".to_owned()), ..rules() };
    assert_eq!(signed.check(&other, NOW), Err(TokenError::WrongAudience));
    let nameless = rsa_token(&json!({"alg": "RS256"}), &json!({}), &RSA_PKCS1_SHA256);
    let nameless = Unverified::parse(&nameless).unwrap();
    assert!(!nameless.claims_issuer(&issuer) && !nameless.names_key());
}

#[test]
fn a_token_without_a_key_id_is_for_the_fallback_key_only() {
    let token = rsa_token(&json!({"alg": "RS256"}), &claims(), &RSA_PKCS1_SHA256);
    let (own, other) = (Key::from_pem(&PAIR_PUBLIC).unwrap(), Key::from_pem(PEM).unwrap());
    assert_eq!(verify(&token, &pair_keys(), None, &rules(), NOW), Err(TokenError::NoKey));
    assert_eq!(verify(&token, &pair_keys(), Some(&other), &rules(), NOW), Err(TokenError::BadSignature));
    let verified = verify(&token, &known_keys(), Some(&own), &rules(), NOW).unwrap();
    assert_eq!(verified.kid, None);
}

#[test]
fn a_token_that_names_a_key_is_for_that_key_only() {
    let own = Key::from_pem(&PAIR_PUBLIC).unwrap();
    let named = |kid: &str| rsa_token(&json!({"alg": "RS256", "kid": kid}), &claims(), &RSA_PKCS1_SHA256);
    let unknown = |kid: &str| Err(TokenError::UnknownKey { kid: kid.to_owned() });
    let both = KeySet::parse(&document(&[(KID, PEM), (&PAIR_KID, &PAIR_PUBLIC)])).unwrap().keys;
    assert!(verify(&named(&PAIR_KID), &both, None, &rules(), NOW).is_ok());
    assert_eq!(verify(&named("other"), &both, Some(&own), &rules(), NOW), unknown("other"));
    assert_eq!(verify(&named(""), &both, Some(&own), &rules(), NOW), unknown(""));
    assert_eq!(verify(&named(&PAIR_KID.to_uppercase()), &both, None, &rules(), NOW), unknown(&PAIR_KID.to_uppercase()));
    assert_eq!(verify(&named(KID), &both, Some(&own), &rules(), NOW), Err(TokenError::BadSignature));
    assert_eq!(verify(&named(&"é".repeat(999)), &both, None, &rules(), NOW), unknown(&"é".repeat(64)));
    let number = rsa_token(&json!({"alg": "RS256", "kid": 1}), &claims(), &RSA_PKCS1_SHA256);
    assert_eq!(verify(&number, &both, Some(&own), &rules(), NOW), Err(TokenError::BadHeader));
}

#[test]
fn no_other_algorithm_than_that_of_the_key_is_taken() {
    let kid = PAIR_KID.as_str();
    let fallback = Key::from_pem(&PAIR_PUBLIC).unwrap();
    let check = |token: &str| verify(token, &pair_keys(), Some(&fallback), &rules(), NOW).unwrap_err();
    let signed = |alg: &str| signed_part(&json!({"alg": alg, "kid": kid}), &claims());

    for none in ["none", "None", "NONE", "nOnE", "", "rs256", "RS256 "] {
        assert_eq!(check(&format!("{}.", signed(none))), TokenError::UnsupportedAlgorithm, "{none}");
    }
    assert_eq!(check(&format!("{}.", signed("RS256"))), TokenError::BadSignature);

    // The public key is known to all: as the secret of a MAC it would let everyone sign.
    for secret in [PAIR_PUBLIC.as_bytes(), PAIR_PUBLIC.trim().as_bytes()] {
        for (alg, mac) in [("HS256", hmac::HMAC_SHA256), ("HS384", hmac::HMAC_SHA384), ("HS512", hmac::HMAC_SHA512)] {
            let signed = signed(alg);
            let tag = hmac::sign(&hmac::Key::new(mac, secret), signed.as_bytes());
            assert_eq!(check(&format!("{signed}.{}", encode(tag))), TokenError::UnsupportedAlgorithm, "{alg}");
        }
        let signed = signed("RS256");
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes());
        assert_eq!(check(&format!("{signed}.{}", encode(tag))), TokenError::BadSignature);
    }

    // Signed by the right key in a way it does not take.
    let of = |alg: &str| json!({"alg": alg, "kid": kid});
    assert_eq!(check(&rsa_token(&of("RS512"), &claims(), &RSA_PKCS1_SHA512)), TokenError::WrongAlgorithm);
    assert_eq!(check(&rsa_token(&of("PS256"), &claims(), &RSA_PSS_SHA256)), TokenError::WrongAlgorithm);
    assert_eq!(check(&rsa_token(&of("RS256"), &claims(), &RSA_PKCS1_SHA512)), TokenError::BadSignature);
    assert_eq!(check(&rsa_token(&of("RS256"), &claims(), &RSA_PSS_SHA256)), TokenError::BadSignature);

    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let signed = signed("ES256");
    let signature = pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
    assert_eq!(check(&format!("{signed}.{}", encode(signature))), TokenError::WrongAlgorithm);
}

#[test]
fn keys_that_a_token_brings_itself_are_never_used() {
    let (n, e) = rsa_numbers(&PAIR_PUBLIC);
    let jwk = json!({"kty": "RSA", "n": n, "e": e, "kid": KID, "alg": "RS256"});
    let check = |header: &Value| {
        let token = rsa_token(header, &claims(), &RSA_PKCS1_SHA256);
        verify(&token, &known_keys(), None, &rules(), NOW).unwrap_err()
    };
    for (member, value) in [
        ("jwk", jwk),
        ("jku", json!("https://example.org/keys")),
        ("x5u", json!("https://example.org/certificate")),
        ("x5c", json!(["MIIB"])),
    ] {
        let mut header = json!({"alg": "RS256", "kid": KID});
        header[member] = value;
        assert_eq!(check(&header), TokenError::BadSignature, "{member}");
        header["kid"] = json!("new");
        assert_eq!(check(&header), TokenError::UnknownKey { kid: "new".to_owned() }, "{member}");
        header.as_object_mut().unwrap().remove("kid");
        assert_eq!(check(&header), TokenError::NoKey, "{member}");
    }
}

#[test]
fn a_header_that_is_ambiguous_or_demands_an_extension_is_refused() {
    let check = |header: &str| {
        let token = format!("{}.{}.AAAA", encode(header), encode(claims().to_string()));
        verify(&token, &pair_keys(), None, &rules(), NOW).unwrap_err()
    };
    for header in [
        "",
        "{}",
        "[]",
        "null",
        r#"{"alg":1}"#,
        r#"{"alg":"RS256""#,
        r#"{"alg":"RS256"} x"#,
        "\u{ff}",
        r#"{"alg":"none","alg":"RS256"}"#,
        r#"{"alg":"RS256","kid":"a","kid":"b"}"#,
    ] {
        assert_eq!(check(header), TokenError::BadHeader, "{header}");
    }
    assert_eq!(check(r#"{"alg":"RS256","crit":["b64"],"b64":false}"#), TokenError::CriticalExtension);
}

#[test]
fn times_are_kept_to_the_second_and_the_leeway() {
    let expired = |exp| Err(TokenError::Expired { exp });
    for (claim, value, leeway, result) in [
        ("exp", json!(NOW + 1), 0, Ok(())),
        ("exp", json!(NOW), 0, expired(NOW)),
        ("exp", json!(NOW), 1, Ok(())),
        ("exp", json!(NOW - 59), 60, Ok(())),
        ("exp", json!(NOW - 60), 60, expired(NOW - 60)),
        ("exp", json!(NOW), -5, expired(NOW)),
        ("exp", json!(NOW as f64 + 1.5), 0, Ok(())),
        ("exp", json!(NOW as f64 + 0.5), 0, expired(NOW)),
        ("exp", json!(0), 60, expired(0)),
        ("exp", json!(i64::MIN), 60, expired(i64::MIN)),
        ("exp", json!(i64::MAX), 60, Ok(())),
        ("exp", json!(1e300), 0, Ok(())),
        ("exp", json!((NOW + 100).to_string()), 0, Err(bad("exp"))),
        ("exp", json!([NOW + 100]), 0, Err(bad("exp"))),
        ("nbf", json!(NOW), 0, Ok(())),
        ("nbf", json!(NOW + 1), 0, Err(TokenError::NotYetValid { nbf: NOW + 1 })),
        ("nbf", json!(NOW + 60), 60, Ok(())),
        ("nbf", json!(NOW + 61), 60, Err(TokenError::NotYetValid { nbf: NOW + 61 })),
        ("nbf", json!(true), 60, Err(bad("nbf"))),
        ("iat", json!(NOW), 0, Ok(())),
        ("iat", json!(NOW + 1), 0, Err(TokenError::IssuedInFuture { iat: NOW + 1 })),
        ("iat", json!(NOW + 60), 60, Ok(())),
        ("iat", json!(u64::MAX), 60, Err(TokenError::IssuedInFuture { iat: i64::MAX })),
        ("iat", Value::Null, 0, Ok(())),
        ("exp", Value::Null, 0, Err(missing("exp"))),
    ] {
        let rules = TokenRules { leeway_seconds: leeway, ..rules() };
        let seen = checked(&claims_with(claim, value.clone()), &rules).map(|_| ());
        assert_eq!(seen, result, "{claim} {value} {leeway}");
    }
    let rules = TokenRules { require_exp: false, ..rules() };
    assert_eq!(checked(&claims_with("exp", Value::Null), &rules).unwrap().exp, None);
}

#[test]
fn the_known_token_is_valid_in_its_time_only() {
    let at = |now| verify(TOKEN, &known_keys(), None, &rules(), now).map(|_| ());
    assert_eq!(at(1_699_999_999), Err(TokenError::IssuedInFuture { iat: 1_700_000_000 }));
    assert_eq!(at(1_700_000_000), Ok(()));
    assert_eq!(at(2_015_359_999), Ok(()));
    assert_eq!(at(2_015_360_000), Err(TokenError::Expired { exp: 2_015_360_000 }));
}

#[test]
fn the_tenant_is_what_the_pattern_finds_in_the_claim() {
    let no_tenant = || Err(TokenError::NoTenant { claim: "sub".to_owned() });
    for (sub, tenant) in [
        (json!("tenant-a"), Ok(Some("a".to_owned()))),
        (json!("tenant-tenant-a-b"), Ok(Some("tenant-a-b".to_owned()))),
        (json!("tenant-"), no_tenant()),
        (json!("a"), no_tenant()),
        (json!(""), no_tenant()),
        (json!(["tenant-a"]), Err(bad("sub"))),
        (Value::Null, Err(missing("sub"))),
    ] {
        let seen = checked(&claims_with("sub", sub.clone()), &rules()).map(|verified| verified.tenant);
        assert_eq!(seen, tenant, "{sub}");
    }
    let none = TokenRules { tenant: None, ..rules() };
    assert_eq!(checked(&claims(), &none).unwrap().tenant, None);
}

#[test]
fn user_groups_and_id_are_read_where_the_rules_say() {
    let rules = TokenRules {
        tenant: None,
        user_claim: Some("email".to_owned()),
        groups_claim: Some("roles".to_owned()),
        ..rules()
    };
    let mut claims = claims();
    assert_eq!(checked(&claims, &rules), Err(missing("email")));
    claims["email"] = json!("ann@example.org");
    claims["jti"] = json!("id-1");
    let verified = checked(&claims, &rules).unwrap();
    assert_eq!((verified.subject.as_deref(), verified.jti.as_deref()), (Some("ann@example.org"), Some("id-1")));
    assert!(verified.groups.is_empty());
    claims["roles"] = json!(["a", "b"]);
    assert_eq!(checked(&claims, &rules).unwrap().groups, ["a", "b"]);
    claims["roles"] = json!("a");
    assert_eq!(checked(&claims, &rules).unwrap().groups, ["a"]);
    claims["roles"] = json!(["a", null]);
    assert_eq!(checked(&claims, &rules), Err(bad("roles")));
    claims["roles"] = json!([]);
    claims["jti"] = json!(7);
    assert_eq!(checked(&claims, &rules), Err(bad("jti")), "it could not be revoked");
}

#[test]
fn a_key_of_a_json_web_key_set_takes_what_its_alg_says() {
    let (n, e) = rsa_numbers(&PAIR_PUBLIC);
    let check = |key_alg: Option<&str>, alg: &str, encoding| {
        let mut jwk = json!({"kty": "RSA", "use": "sig", "kid": "k", "n": n, "e": e});
        if let Some(alg) = key_alg {
            jwk["alg"] = json!(alg);
        }
        let keys = KeySet::parse(&json!({"keys": [jwk]}).to_string()).unwrap().keys;
        let token = rsa_token(&json!({"alg": alg, "kid": "k"}), &claims(), encoding);
        verify(&token, &keys, None, &rules(), NOW).map(|_| ())
    };
    for key_alg in [None, Some("PS256")] {
        assert_eq!(check(key_alg, "PS256", &RSA_PSS_SHA256), Ok(()));
    }
    assert_eq!(check(None, "RS256", &RSA_PKCS1_SHA256), Ok(()));
    assert_eq!(check(None, "RS512", &RSA_PKCS1_SHA512), Ok(()));
    assert_eq!(check(None, "ES256", &RSA_PKCS1_SHA256), Err(TokenError::WrongAlgorithm));
    assert_eq!(check(Some("PS256"), "RS256", &RSA_PKCS1_SHA256), Err(TokenError::WrongAlgorithm));
}

#[test]
fn elliptic_curve_tokens_are_taken_with_their_signature_in_fixed_form() {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let point = pair.public_key().as_ref();
    let edwards = Ed25519KeyPair::generate().unwrap();
    let jwks = json!({"keys": [
        {"kty": "EC", "crv": "P-256", "kid": "ec", "x": encode(&point[1..33]), "y": encode(&point[33..])},
        {"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": encode(edwards.public_key())},
    ]});
    let keys = KeySet::parse(&jwks.to_string()).unwrap().keys;
    let check = |token: &str| verify(token, &keys, None, &rules(), NOW).map(|_| ());

    let signed = signed_part(&json!({"alg": "ES256", "kid": "ec"}), &claims());
    let signature = pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
    assert_eq!(check(&format!("{signed}.{}", encode(signature))), Ok(()));
    assert_eq!(check(&format!("{signed}.{}", encode([0; 64]))), Err(TokenError::BadSignature));
    assert_eq!(check(&format!("{signed}.{}", encode(&signature.as_ref()[..63]))), Err(TokenError::BadSignature));

    for alg in ["EdDSA", "Ed25519"] {
        let signed = signed_part(&json!({"alg": alg, "kid": "ed"}), &claims());
        assert_eq!(check(&format!("{signed}.{}", encode(edwards.sign(signed.as_bytes())))), Ok(()));
        assert_eq!(check(&format!("{signed}.{}", encode([0; 64]))), Err(TokenError::BadSignature));
    }
}

#[test]
fn a_long_token_is_refused_before_it_is_looked_at() {
    assert_eq!(
        verify(&".".repeat(MAX_TOKEN_BYTES + 1), &KeySet::default(), None, &rules(), NOW),
        Err(TokenError::TooLong)
    );
    assert_eq!(
        verify(&".".repeat(MAX_TOKEN_BYTES), &KeySet::default(), None, &rules(), NOW),
        Err(TokenError::Malformed)
    );
    let long = claims_with("padding", json!("x".repeat(10_000)));
    assert!(checked(&long, &rules()).is_ok());
}

#[test]
fn no_error_shows_the_token() {
    let token = rsa_token(&header(), &claims_with("exp", json!(NOW)), &RSA_PKCS1_SHA256);
    let secret = token.rsplit('.').next().unwrap();
    let error = verify(&token, &pair_keys(), None, &rules(), NOW).unwrap_err();
    assert!(!format!("{error} {error:?}").contains(&secret[..8]));
}

proptest! {
    #[test]
    fn no_text_is_taken_or_makes_it_panic(token in "[A-Za-z0-9_.=-]{0,60}", anything in ".{0,60}") {
        let fallback = Key::from_pem(PEM).unwrap();
        for token in [&token, &anything, &format!("{token}.{anything}.{token}")] {
            prop_assert!(verify(token, &known_keys(), Some(&fallback), &rules(), NOW).is_err());
        }
    }

    #[test]
    fn no_header_and_claims_are_taken_with_a_signature_of_others(
        header in r#"\{"alg":"(RS256|none|HS256|PS256)"(,"kid":"[a-f0-9]{0,3}")?\}"#,
        claims in r#"\{("[a-z]{3}":("[a-z-]{0,9}"|[0-9]{1,12}|null|\[\]),){0,3}"sub":"tenant-a"\}"#,
        signature in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let fallback = Key::from_pem(PEM).unwrap();
        let token = format!("{}.{}.{}", encode(header), encode(claims), encode(signature));
        prop_assert!(verify(&token, &known_keys(), Some(&fallback), &rules(), NOW).is_err());
    }
}

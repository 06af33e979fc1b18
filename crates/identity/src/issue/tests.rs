//! What is issued is taken by the checks, and the documents keep their form.

use proptest::prelude::*;

use super::*;
use crate::key_set::KeySet;
use crate::testing::{KID, PAIR, PAIR_KID, PAIR_PUBLIC, PEM, TOKEN, document};
use crate::token::{TenantClaim, TokenRules, verify};

const P256: &str = include_str!("../../testdata/p256.pub.pem");
const NEW: NewToken<'_> = NewToken {
    instance: "demo",
    tenant: "team-blue",
    issued_at: 1_700_000_000,
    lifetime_seconds: 315_360_000,
    jti: "id-1",
};

/// The key pair in PKCS#1, which is what PKCS#8 has behind 26 bytes for an RSA key of this size.
fn pkcs1() -> String {
    let (_, der) = pem::read_one(&PAIR).unwrap();
    pem::write("RSA PRIVATE KEY", &der[26..])
}

#[test]
fn a_new_key_pair_is_pkcs8_and_has_one_public_part_and_kid_however_it_is_written() {
    assert!(PAIR.starts_with("-----BEGIN PRIVATE KEY-----\n") && PAIR.ends_with("\n-----END PRIVATE KEY-----\n"));
    assert_ne!(*PAIR, generate_key_pair().unwrap());
    let public = PAIR_PUBLIC.as_str();
    assert!(public.starts_with("-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A"));
    for text in [PAIR.as_str(), &pkcs1(), public, &public.replace('\n', "\r\n"), public.trim()] {
        assert_eq!(public_pem(text).unwrap(), public);
        assert_eq!(kid(text).unwrap(), *PAIR_KID);
    }
    assert_eq!((public_pem(PEM).unwrap().as_str(), kid(PEM).unwrap().as_str()), (PEM, KID));
}

#[test]
fn a_created_token_has_opstraces_form_and_is_taken() {
    let rules = TokenRules {
        audience: Some("opstrace-cluster-demo".to_owned()),
        issuer: Some("opstrace-cli".to_owned()),
        tenant: Some(TenantClaim { claim: "sub".to_owned(), pattern: "tenant-{tenant}".parse().unwrap() }),
        user_claim: None,
        groups_claim: None,
        require_exp: true,
        leeway_seconds: 0,
    };
    let keys = KeySet::parse(&document(&[(&PAIR_KID, &PAIR_PUBLIC)])).unwrap().keys;
    for key in [PAIR.as_str(), &pkcs1()] {
        let token = create_token(&NEW, key).unwrap();
        let verified = verify(&token, &keys, None, &rules, NEW.issued_at).unwrap();
        assert_eq!(verified.tenant.as_deref(), Some("team-blue"));
        assert_eq!(verified.jti.as_deref(), Some("id-1"));
        assert_eq!(verified.exp, Some(2_015_360_000));

        let decoded = |token: &str, part: usize| {
            String::from_utf8(URL_SAFE_NO_PAD.decode(token.split('.').nth(part).unwrap()).unwrap()).unwrap()
        };
        // Apart from key and id it is the token that is known to be in Opstrace's form, byte for byte.
        assert_eq!(decoded(&token, 0), decoded(TOKEN, 0).replace(KID, &PAIR_KID));
        assert_eq!(decoded(&token, 1), decoded(TOKEN, 1).replace('}', ",\"jti\":\"id-1\"}"));
    }
}

#[test]
fn what_cannot_be_a_token_is_not_created() {
    let create = |new: NewToken<'_>| create_token(&new, &PAIR).unwrap_err();
    for instance in ["", "Demo", "a.b", "a b", "é", &"a".repeat(24)] {
        assert_eq!(create(NewToken { instance, ..NEW }), IssueError::BadInstance, "{instance}");
    }
    for instance in ["a", "a-b_9", &"a".repeat(23)] {
        assert_eq!(check_instance(instance), Ok(()), "{instance}");
    }
    for lifetime_seconds in [0, -1, i64::MAX] {
        assert_eq!(create(NewToken { lifetime_seconds, ..NEW }), IssueError::BadLifetime);
    }
    assert_eq!(create_token(&NEW, PEM).unwrap_err(), IssueError::NoPrivateKey);
    assert_eq!(create_token(&NEW, "x").unwrap_err(), IssueError::BadKey(KeyError::BadPem));
    assert_eq!(public_pem(P256).unwrap_err(), IssueError::BadKey(KeyError::NotRsa));
    let rubbish = pem::write("PRIVATE KEY", b"rubbish");
    assert_eq!(create_token(&NEW, &rubbish).unwrap_err(), IssueError::BadKey(KeyError::Invalid));
}

#[test]
fn every_id_is_another() {
    let (one, two) = (random_jti().unwrap(), random_jti().unwrap());
    assert_ne!(one, two);
    assert!(one.len() == 32 && one.bytes().all(|byte| byte.is_ascii_hexdigit()));
}

#[test]
fn keys_are_added_and_removed_and_the_document_stays_a_key_set() {
    let (one, kid) = add_key("", PEM).unwrap();
    assert_eq!(kid, KID);
    assert_eq!(one, format!("{{\n  \"{KID}\": \"{}\"\n}}\n", PEM.replace('\n', "\\n")));
    let (two, kid) = add_key(&one, &PAIR).unwrap();
    assert_eq!(kid, *PAIR_KID);
    assert!(two.lines().any(|line| one.lines().any(|other| line.trim_end_matches(',') == other && line.contains(KID))));
    let mut kids = vec![KID.to_owned(), PAIR_KID.clone()];
    kids.sort();
    assert_eq!(list_keys(&two).unwrap(), kids);
    let parsed = KeySet::parse(&two).unwrap();
    assert_eq!((parsed.keys.len(), parsed.refused), (2, Vec::new()));
    assert!(!two.contains("PRIVATE"));
    assert_eq!(remove_key(&two, &PAIR_KID, LastKey::Stays).unwrap(), one);
}

#[test]
fn an_edit_that_makes_no_sense_is_refused() {
    let one = document(&[(KID, PEM)]);
    assert!(matches!(add_key(&one, PEM), Err(EditError::AlreadyThere { kid }) if kid == KID));
    assert!(matches!(add_key(&one, P256), Err(EditError::BadKey(_))));
    assert!(matches!(remove_key(&one, "x", LastKey::MayGo), Err(EditError::Absent { kid }) if kid == "x"));
    assert!(matches!(remove_key(&one, KID, LastKey::Stays), Err(EditError::LastKey { kid }) if kid == KID));
    assert_eq!(remove_key(&one, KID, LastKey::MayGo).unwrap(), "{}\n");
    for text in ["[]", "x", "{\"keys\":[]}", "{\"a\":1}"] {
        assert!(matches!(list_keys(text), Err(EditError::NotAKeySet(_))), "{text}");
        assert!(matches!(add_key(text, PEM), Err(EditError::NotAKeySet(_))), "{text}");
    }
    assert!(list_keys(" \n").unwrap().is_empty());
}

proptest! {
    #[test]
    fn adding_and_removing_a_key_changes_no_other(
        others in proptest::collection::btree_map("[0-9a-f]{40}", "[ -~\n]{0,40}", 0..5),
    ) {
        let before = write(&others).unwrap();
        let (with, kid) = add_key(&before, PEM).unwrap();
        prop_assert_eq!(remove_key(&with, &kid, LastKey::MayGo).unwrap(), before);
        let others: Vec<_> = others.into_keys().collect();
        let listed: Vec<_> = list_keys(&with).unwrap().into_iter().filter(|listed| *listed != kid).collect();
        prop_assert_eq!(listed, others);
    }
}

//! Signed tokens, seen from outside: which are taken, under which keys and for whom; and which are not, whatever they bring
//! with them.

use std::fs;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256,
};
use http::header::{AUTHORIZATION, HeaderValue};
use identity::testing::{KID, PAIR_KID, PAIR_PUBLIC, PEM, document, encode as base64url};
use identity::testing::{rsa_numbers, rsa_token, signed_part};
use remote_write::{Compression, Protocol};
use serde_json::{Value, json};
use testkit::raw;

use crate::cli::run;
use crate::credentials::{HASHED, Issuer, base64, bearer, push, push_at, taken_for};
use crate::harness::{PATIENCE, Setup, TestGateway, bounded, compress, eventually, raw_headers, receiver, takes};
use crate::message::{encode, request, sample_of};

/// A listener where who shows nothing is refused.
const CREDENTIALS_ONLY: &str = "tenant_from: [{host: 'cortex.{tenant}.demo.example.org'}, {path: true}]";
const AUDIENCE: &str = "audience: opstrace-cluster-demo";
const TENANT: &str = "team-blue";

/// The files of a gateway that checks tokens.
struct Keys(tempfile::TempDir);

impl Keys {
    fn new(key_set: &str) -> Self {
        let keys = Self(tempfile::tempdir().unwrap());
        keys.write("keys.json", key_set);
        keys
    }

    /// Those of the pair that signs here.
    fn of_pair() -> Self {
        Self::new(&document(&[(&PAIR_KID, &PAIR_PUBLIC)]))
    }

    fn write(&self, name: &str, content: &str) -> String {
        let path = self.0.path().join(name);
        fs::write(&path, content).unwrap();
        path.display().to_string()
    }

    /// `authentication` by this key set, with further keys of `jwt`.
    fn authentication(&self, keys: &str) -> String {
        format!("authentication: [{{jwt: {{key_set_file: '{}', {keys}}}}}]", self.0.path().join("keys.json").display())
    }

    async fn gateway(&self, keys: &str) -> TestGateway {
        Setup::new().listener(CREDENTIALS_ONLY).top(&self.authentication(keys)).start().await
    }
}

/// Seconds since 1970.
fn now() -> i64 {
    i64::try_from(std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap()
}

fn header() -> Value {
    json!({"alg": "RS256", "typ": "JWT", "kid": PAIR_KID.as_str()})
}

fn claims() -> Value {
    let (iat, exp) = (now() - 60, now() + 600);
    json!({"iat": iat, "exp": exp, "aud": "opstrace-cluster-demo", "iss": "opstrace-cli", "sub": format!("tenant-{TENANT}")})
}

/// The object with this member, or without it.
fn with(mut object: Value, member: &str, value: Value) -> Value {
    let members = object.as_object_mut().unwrap();
    match value {
        Value::Null => members.remove(member),
        value => members.insert(member.to_owned(), value),
    };
    object
}

fn token(header: &Value, claims: &Value) -> String {
    rsa_token(header, claims, &RSA_PKCS1_SHA256)
}

/// The status of a push with this token. A refusal must be one that tells the sender nothing but what is expected.
async fn status(gateway: &TestGateway, token: &str) -> u16 {
    let (name, value) = bearer(token);
    let answer = push(gateway, &[(name, &value)]).await;
    if answer.status != 204 {
        assert_eq!((answer.status.as_u16(), answer.header("www-authenticate")), (401, Some("Bearer")));
        assert_eq!(answer.text(), "bad authentication token (wg-unauthenticated)\n");
    }
    answer.status.as_u16()
}

#[test]
fn r_p3_a_key_set_is_opstraces_document_or_a_jwk_set_in_a_file_or_in_a_variable() {
    bounded(async {
        const VARIABLE: &str = "API_AUTHTOKEN_VERIFICATION_PUBKEY_SET";
        let (n, e) = rsa_numbers(&PAIR_PUBLIC);
        let jwk = json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": PAIR_KID.as_str(), "n": n, "e": e});
        let opstrace = document(&[(KID, PEM), (&PAIR_KID, &PAIR_PUBLIC)]);
        let (taken, other) = (token(&header(), &claims()), Issuer::new().token(TENANT, "x"));
        for key_set in [opstrace, json!({ "keys": [jwk] }).to_string()] {
            let files = Keys::new(&key_set);
            let variable = format!("{VARIABLE}={key_set}");
            let by_variable = format!("authentication: [{{jwt: {{key_set_env: {VARIABLE}, {AUDIENCE}}}}}]");
            for (authentication, environment) in
                [(files.authentication(AUDIENCE), "NOTHING=here"), (by_variable, variable.as_str())]
            {
                let setup = Setup::new().listener(CREDENTIALS_ONLY).top(&authentication);
                let program = setup.started_by(&["env", environment]).start_program().await;
                for (token, status) in [(&taken, 204), (&other, 401)] {
                    let shown = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
                    let body = compress(Compression::Snappy, &encode(Protocol::V1, &request([sample_of("up", 1)])));
                    let sender = program.sender().with_header(AUTHORIZATION, shown);
                    let answer = sender.push(Protocol::V1, Compression::Snappy, body).await.unwrap();
                    assert_eq!(answer.status, status, "{authentication}: {}", answer.text());
                }
                program.terminate().await;
            }
        }
    });
}

#[test]
fn r_p6_a_token_that_names_no_key_is_taken_under_the_fallback_key_and_under_no_other() {
    bounded(async {
        let named = token(&header(), &claims());
        let nameless = token(&with(header(), "kid", Value::Null), &claims());
        let unknown = token(&with(header(), "kid", json!("0".repeat(40))), &claims());
        let (pair, other) = ((PAIR_KID.as_str(), PAIR_PUBLIC.as_str()), (KID, PEM));
        for (listed, fallback, expected) in [
            (pair, None, [204, 401, 401]),
            (pair, Some(pair), [204, 204, 401]),
            (pair, Some(other), [204, 401, 401]),
            (other, Some(pair), [401, 204, 401]),
        ] {
            let files = Keys::new(&document(&[listed]));
            let file = fallback.map(|(_, pem)| files.write("fallback.pem", pem));
            let key = file.map_or_else(String::new, |file| format!(", fallback_key_file: '{file}'"));
            let gateway = files.gateway(&format!("{AUDIENCE}{key}")).await;
            for (token, expected) in [&named, &nameless, &unknown].into_iter().zip(expected) {
                assert_eq!(status(&gateway, token).await, expected, "{} listed, {fallback:?}", listed.0);
            }
            gateway.settle_and_finish().await;
        }
    });
}

#[test]
fn r_p7_a_token_of_another_algorithm_is_refused_however_well_it_is_signed() {
    bounded(async {
        let files = Keys::of_pair();
        let fallback = files.write("fallback.pem", &PAIR_PUBLIC);
        let gateway = files.gateway(&format!("{AUDIENCE}, fallback_key_file: '{fallback}'")).await;
        let as_if = |algorithm: &str| with(header(), "alg", json!(algorithm));
        let mut cases = Vec::new();
        for none in ["none", "None", "NONE", ""] {
            cases.push((none.to_owned(), format!("{}.", signed_part(&as_if(none), &claims()))));
            cases.push((format!("{none} with a signature"), format!("{}.AAAA", signed_part(&as_if(none), &claims()))));
        }
        // The public key as a shared secret: whoever can read it could sign.
        for secret in [PAIR_PUBLIC.as_str(), PAIR_PUBLIC.trim()] {
            let signed = signed_part(&as_if("HS256"), &claims());
            let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), signed.as_bytes());
            cases.push(("HS256".to_owned(), format!("{signed}.{}", base64url(tag.as_ref()))));
        }
        cases.push(("RS384".to_owned(), rsa_token(&as_if("RS384"), &claims(), &RSA_PKCS1_SHA384)));
        cases.push(("RS512".to_owned(), rsa_token(&as_if("RS512"), &claims(), &RSA_PKCS1_SHA512)));
        cases.push(("PS256".to_owned(), rsa_token(&as_if("PS256"), &claims(), &RSA_PSS_SHA256)));
        cases.push(("RS512 said to be RS256".to_owned(), rsa_token(&header(), &claims(), &RSA_PKCS1_SHA512)));
        let curve = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let signed = signed_part(&as_if("ES256"), &claims());
        let signature = curve.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        cases.push(("ES256".to_owned(), format!("{signed}.{}", base64url(signature.as_ref()))));
        for (what, token) in &cases {
            assert_eq!(status(&gateway, token).await, 401, "{what}");
        }
        assert_eq!(status(&gateway, &token(&header(), &claims())).await, 204);
        gateway.settle_and_finish().await;
    });
}

#[test]
fn r_p7_a_key_that_a_token_brings_or_points_to_is_never_used_nor_asked_for() {
    bounded(async {
        // Another key is trusted, also for tokens that name none; the pair is the attacker's.
        let files = Keys::new(&document(&[(KID, PEM)]));
        let fallback = files.write("fallback.pem", PEM);
        let gateway = files.gateway(&format!("{AUDIENCE}, fallback_key_file: '{fallback}'")).await;
        let attacker = receiver().await;
        let (n, e) = rsa_numbers(&PAIR_PUBLIC);
        let jwk = json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": PAIR_KID.as_str(), "n": n, "e": e});
        let brought = [
            ("jwk", jwk),
            ("jku", json!(attacker.url())),
            ("x5u", json!(attacker.url())),
            ("x5c", json!([base64(&PAIR_PUBLIC)])),
        ];
        for (member, value) in brought {
            for kid in [json!(KID), json!(PAIR_KID.as_str()), Value::Null] {
                let header = with(with(header(), "kid", kid.clone()), member, value.clone());
                assert_eq!(status(&gateway, &token(&header, &claims())).await, 401, "{member} with kid {kid}");
            }
        }
        assert_eq!(attacker.stats().connections, 0, "it was asked for a key");
        gateway.finish().await;
    });
}

#[test]
fn r_p8_a_token_has_its_time_within_the_leeway_and_may_lack_an_end_only_if_told_so() {
    bounded(async {
        let files = Keys::of_pair();
        let at = |claim: &str, seconds: i64| with(claims(), claim, json!(now() + seconds));
        let endless = with(claims(), "exp", Value::Null);
        let cases = [
            ("", at("exp", -120), 401),
            ("", at("exp", -5), 204),
            ("", at("nbf", 3600), 401),
            ("", at("nbf", 5), 204),
            ("", at("iat", 3600), 401),
            ("", endless.clone(), 401),
            ("", with(claims(), "exp", json!("tomorrow")), 401),
            (", leeway: 0s", at("exp", -1), 401),
            (", leeway: 0s", at("nbf", 120), 401),
            (", leeway: 0s", at("nbf", -1), 204),
            (", leeway: 10m", at("exp", -300), 204),
            (", leeway: 10m", at("nbf", 300), 204),
            (", require_exp: false", endless, 204),
            (", require_exp: false", at("exp", -120), 401),
        ];
        for keys in ["", ", leeway: 0s", ", leeway: 10m", ", require_exp: false"] {
            let gateway = files.gateway(&format!("{AUDIENCE}{keys}")).await;
            for (_, claims, expected) in cases.iter().filter(|(of, _, _)| *of == keys) {
                assert_eq!(status(&gateway, &token(&header(), claims)).await, *expected, "{keys}: {claims}");
            }
            gateway.settle_and_finish().await;
        }
    });
}

#[test]
fn r_p9_a_token_of_another_instance_is_refused_unless_the_audience_is_left_out_which_is_warned_of() {
    bounded(async {
        let files = Keys::of_pair();
        let (elsewhere, nowhere) = (json!("opstrace-cluster-other"), Value::Null);
        for (keys, expected) in [(AUDIENCE, 401), ("leeway: 30s", 204)] {
            let gateway = files.gateway(keys).await;
            for audience in [&elsewhere, &nowhere, &json!([elsewhere])] {
                let claims = with(claims(), "aud", audience.clone());
                assert_eq!(status(&gateway, &token(&header(), &claims)).await, expected, "{keys}: {audience}");
            }
            for audience in [json!("opstrace-cluster-demo"), json!([elsewhere, "opstrace-cluster-demo"])] {
                let claims = with(claims(), "aud", audience);
                assert_eq!(status(&gateway, &token(&header(), &claims)).await, 204, "{keys}");
            }
            gateway.settle_and_finish().await;
            let config = format!("listeners: [{{address: '127.0.0.1:0'}}]\n{}\n", files.authentication(keys));
            let checked = run(&["check", &files.write("writegate.yml", &config)]).await;
            let is_warned = checked.err.contains("a token that was made for another service is taken");
            assert_eq!((checked.code, is_warned), (0, expected == 204), "{checked:?}");
        }
    });
}

#[test]
fn r_p10_a_tenants_token_writes_for_no_other_and_no_answer_tells_whether_there_is_one() {
    bounded(async {
        let tenants = "tenants: [{name: team-blue}, {name: team-red, credentials: [{bearer_token: red}]}]";
        let listener = "tenant_from: [{host: 'cortex.{tenant}.demo.example.org'}, {header: X-Scope-OrgID}]";
        let (sink, files) = (receiver().await, Keys::of_pair());
        let setup = Setup::new().listener(listener).top(&files.authentication(AUDIENCE)).top(tenants);
        let gateway = setup.endpoint("a", &sink).start().await;
        let (name, value) = bearer(&token(&header(), &claims()));
        let mut answers = Vec::new();
        for other in ["team-red", "team-not"] {
            let (host, path) = (format!("cortex.{other}.demo.example.org"), format!("/{other}/api/v1/write"));
            for (path, more) in [
                ("/api/v1/push", Some(("host", host.as_str()))),
                (path.as_str(), None),
                ("/api/v1/push", Some(("x-scope-orgid", other))),
                (path.as_str(), Some(("host", host.as_str()))),
            ] {
                let shown: Vec<_> = [(name, value.as_str())].into_iter().chain(more).collect();
                let mut answer = push_at(&gateway, path, &shown).await;
                answer.headers.remove("date");
                answers.push((answer.status.as_u16(), answer.text(), answer.headers));
            }
        }
        assert_eq!((answers[0].0, answers[0].1.contains("team-")), (403, false), "{}", answers[0].1);
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
        let page = gateway.admin("/metrics").await;
        assert!(!page.contains("tenant=\"team-"), "something was stored for somebody");
        assert_eq!(gateway.all_rows().await.len(), 0);

        let own = [(name, value.as_str()), ("host", "cortex.team-blue.demo.example.org"), ("x-scope-orgid", TENANT)];
        assert_eq!(taken_for(&gateway, "/team-blue/api/v1/write", &own).await, Ok(TENANT.to_owned()));
        takes(&sink, 1).await;
        gateway.settle_and_finish().await;
    });
}

#[test]
fn r_p12_a_token_comes_as_bearer_or_as_the_password_of_any_user_in_any_case_and_only_once() {
    bounded(async {
        let gateway = Keys::of_pair().gateway(AUDIENCE).await;
        let token = token(&header(), &claims());
        let basic = |scheme: &str, user: &str| format!("{scheme} {}", base64(&format!("{user}:{token}")));
        let good = [
            format!("Bearer {token}"),
            format!("bearer {token}"),
            format!("BEARER {token}"),
            format!("bearer   {token} "),
            format!("Bearer\t{token}"),
            basic("Basic", "prometheus"),
            basic("basic", ""),
            basic("BASIC", "Zürich"),
            basic("Basic  ", "x"),
        ];
        for value in &good {
            let taken = taken_for(&gateway, "/api/v1/push", &[("authorization", value)]).await;
            assert_eq!(taken, Ok(TENANT.to_owned()), "{value}");
        }
        let twice = [("authorization", good[0].as_str()), ("authorization", good[5].as_str())];
        for bad in [&twice[..], &[twice[0], twice[0]], &[("authorization", &token)], &[("authorization", "Bearer")]] {
            let (status, text) = taken_for(&gateway, "/api/v1/push", bad).await.unwrap_err();
            assert_eq!((status, text.contains("Expecting 'Bearer <AUTHTOKEN>'")), (401, true), "{text}");
        }
        gateway.settle_and_finish().await;
    });
}

#[test]
fn r_p13_white_space_after_a_token_is_no_part_of_it_in_a_header_or_a_file() {
    bounded(async {
        let files = Keys::of_pair();
        let gateway = files.gateway(AUDIENCE).await;
        let token = token(&header(), &claims());
        let protocol = raw_headers(Protocol::V1);
        let body = compress(Compression::Snappy, &encode(Protocol::V1, &request([sample_of("up", 1)])));
        for after in ["", " ", "\t", " \t  "] {
            let value = format!("Bearer {token}{after}");
            let mut headers: Vec<_> = protocol.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            headers.push(("authorization", &value));
            let mut connection = gateway.raw().await;
            connection.write(&raw::request("POST", "/api/v1/push", &headers, &body)).await.unwrap();
            assert_eq!(connection.answer(PATIENCE).await.unwrap().status, 204, "{after:?}");
        }
        // As Prometheus has it: the file ends with a line's end, which does not leave.
        let file = files.write("tenant-api-token", &format!("{token}\n"));
        let upstream = format!(
            "- {{name: upstream, url: 'http://{}/api/v1/push', bearer_token_file: '{file}'}}\n",
            gateway.address()
        );
        let more = files.write("more.yml", &upstream);
        let before = Setup::new().top(&format!("remote_write_files: ['{more}']")).start().await;
        before.accept(Protocol::V1, &request([sample_of("up", 2)])).await;
        before.settle_and_finish().await;
        let accepted = format!("writegate_accepted_samples_total{{tenant=\"{TENANT}\"}}");
        assert_eq!(gateway.metric(&accepted).await, 5.0);
        gateway.settle_and_finish().await;
    });
}

#[test]
fn r_p14_what_a_sender_says_of_its_tenant_or_of_the_connection_changes_nothing_upstream() {
    bounded(async {
        let (sink, files) = (receiver().await, Keys::of_pair());
        let setup = Setup::new().listener(CREDENTIALS_ONLY).top(&files.authentication(AUDIENCE));
        let gateway = setup.endpoint_with("a", &sink, "tenant_header: X-Scope-OrgID").start().await;
        let value = format!("Bearer {}", token(&header(), &claims()));
        let protocol = raw_headers(Protocol::V1);
        let forged = ("x-scope-orgid", "team-red");
        let cases: [&[(&str, &str)]; 6] = [
            &[forged],
            &[forged, forged],
            &[forged, ("connection", "X-Scope-OrgID")],
            &[("connection", "X-Scope-OrgID")],
            &[("connection", "keep-alive, X-Scope-OrgID, THANOS-TENANT, authorization"), forged],
            &[("thanos-tenant", "team-red"), ("x-forwarded-for", "team-red"), forged],
        ];
        for (timestamp, more) in (1_i64..).zip(cases) {
            let mut headers: Vec<_> = protocol.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            headers.push(("authorization", &value));
            headers.extend(more);
            let body = compress(Compression::Snappy, &encode(Protocol::V1, &request([sample_of("up", timestamp)])));
            let mut connection = gateway.raw().await;
            connection.write(&raw::request("POST", "/api/v1/push", &headers, &body)).await.unwrap();
            assert_eq!(connection.answer(PATIENCE).await.unwrap().status, 204, "{more:?}");
        }
        gateway.settled().await;
        assert_eq!(sink.stats().taken.samples, cases.len() as u64);
        for received in sink.requests() {
            let tenants: Vec<_> = received.headers.get_all("x-scope-orgid").iter().collect();
            assert_eq!(tenants, [TENANT]);
            let others = ["authorization", "connection", "thanos-tenant", "x-forwarded-for"];
            assert!(others.iter().all(|name| !received.headers.contains_key(*name)), "{:?}", received.headers);
        }
        gateway.finish().await;
    });
}

#[test]
fn r_p27_a_token_or_password_is_verified_once_and_then_known_until_it_expires_or_a_reload() {
    bounded(async {
        let files = Keys::of_pair();
        let tenants = format!(
            "tenants: [{{name: red, credentials: [{{basic_auth: {{username: r, password: '{HASHED}'}}}}]}}, {{name: {TENANT}}}]"
        );
        let authentication = files.authentication(&format!("{AUDIENCE}, leeway: 0s"));
        let setup = Setup::new().listener(CREDENTIALS_ONLY).top(&authentication).top(&tenants);
        let gateway = setup.start().await;
        let checks = async || {
            let of = |kind: &str| format!("writegate_credential_checks_total{{kind=\"{kind}\"}}");
            (gateway.metric(&of("token")).await, gateway.metric(&of("password")).await)
        };
        let of = |exp: i64| token(&header(), &with(claims(), "exp", json!(exp)));
        let (token, another) = (of(now() + 600), of(now() + 601));
        let basic = |text: &str| format!("Basic {}", base64(text));
        let shown = [bearer(&token).1, basic(&format!("any:{token}")), basic("r:pass word")];
        for _ in 0..5 {
            for value in &shown {
                assert_eq!(push(&gateway, &[("authorization", value)]).await.status, 204);
            }
        }
        assert_eq!(checks().await, (1.0, 1.0));
        assert_eq!(status(&gateway, &another).await, 204);
        assert_eq!(checks().await, (2.0, 1.0));
        gateway.read_again().await.unwrap();
        for _ in 0..5 {
            assert_eq!(status(&gateway, &token).await, 204);
        }
        assert_eq!(checks().await, (3.0, 1.0), "keys and revocations may have changed");

        let end = now() + 5;
        let short = of(end);
        assert_eq!(status(&gateway, &short).await, 204);
        eventually("what is remembered ends with the token", || async {
            (status(&gateway, &short).await == 401).then_some(())
        })
        .await;
        assert!(now() >= end, "it was given up too early");
        gateway.settle_and_finish().await;
    });
}

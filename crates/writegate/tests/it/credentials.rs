//! Who a sender is by what it shows in a header: tokens, key sets, passwords; and what else must agree with it.

use std::fs;

use http::StatusCode;
use identity::issue::{NewToken, create_token, generate_key_pair, kid, public_pem};
use identity::secret::TokenDigest;
use remote_write::{Compression, Protocol};
use testkit::sender::Answer;

use crate::cli::run;
use crate::harness::{Setup, TestGateway, bounded, compress, header_map, raw_headers, receiver};
use crate::message::{encode, request, sample_of};

/// A key set and a token in Opstrace's form, made with a key that exists for this alone.
const KID: &str = "d7ee4d02c0250174ce1ee897385a69d26dde9da6";
const PEM: &str = "-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA2o3adUCTc36ebW8lJMJM
K2tH1MjaHbprn2kWCHSCwDpsTN72OBMT/CznuGGRjTA7AMNSQ/W8XNoyWWzK+pe7
KSNjofHNMLjYjhecuLNdTsYW9jJ5+20JsmZ3CarKCzrC8SFBJ566VFYx1W6tEj5x
ovnM55iS1RWKNpcj3xO2Ayqui3rU1B8evvG030PGIU3r1l+OfeFGTv7YXaVNNmYO
ZGAK9YdGmPNywZhL2RUw8+8jyLpHcRJvMrEs+rHMjoGOfR6NYzGvORGddYBSa8Dx
q8sM5xaHKdKggsb85USuuGAvRt+kgF1F3mRc+Cm6ZoOdknB8Mo+KUEEbQCozxdlZ
mQIDAQAB
-----END PUBLIC KEY-----
";
const TOKEN: &str = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6ImQ3ZWU0ZDAyYzAyNTAxNzRjZTFlZTg5NzM4NWE2OWQyNmRkZTlkYTYifQ.eyJpYXQiOjE3MDAwMDAwMDAsImV4cCI6MjAxNTM2MDAwMCwiYXVkIjoib3BzdHJhY2UtY2x1c3Rlci1kZW1vIiwiaXNzIjoib3BzdHJhY2UtY2xpIiwic3ViIjoidGVuYW50LXRlYW0tYmx1ZSJ9.MstNq3bgeDlqfm3ztEdQUG33emQ1xSLsOyO4QVBPkJ5jOGyxBUVHpgNziDUUBZhCQrtRRVI7e52ROrjnx_y2O1qmWfYZ3TyL6dNqYAfIlFKWc1xf4S7PpjZxZls71FsS2lI_cX0gu0GfP1nqJjK0FCPg1gm9EUxTPZK9PzZf-NgU89_8D3NQe8HIqQJqTrTVLrD5Sh-rrLXW2vQvGluQDXS3qq6QMSOK_ETg3M0lDt6VphETFHVu08vvb7qTR7NIdgtIdWIBwovs9u845kWRN8Y80GM-4DxGJiLKg4Zw7r-kRQ2YZZEwRecVxMEt_sSm27vzkl_I3kepnNJcMsNnUQ";

/// bcrypt of `pass word` at the lowest cost.
pub(crate) const HASHED: &str = "$2b$04$5e7gXAsmMYUMsiChMEW4keOXMuiHyZGsQwNkAtwfck08GH.0IP/5G";

fn key_set(keys: &[(&str, &str)]) -> String {
    serde_json::Value::Object(keys.iter().map(|(kid, pem)| ((*kid).to_owned(), (*pem).into())).collect()).to_string()
}

pub(crate) async fn push_at(gateway: &TestGateway, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut all = header_map(headers);
    let protocol = raw_headers(Protocol::V1);
    let borrowed: Vec<(&str, &str)> = protocol.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    all.extend(header_map(&borrowed));
    let body = compress(Compression::Snappy, &encode(Protocol::V1, &request([sample_of("up", 1)])));
    gateway.sender_at(path).send(http::Method::POST, all, body).await.unwrap()
}

pub(crate) async fn push(gateway: &TestGateway, headers: &[(&str, &str)]) -> Answer {
    push_at(gateway, "/api/v1/push", headers).await
}

pub(crate) fn bearer(token: &str) -> (&'static str, String) {
    ("authorization", format!("Bearer {token}"))
}

/// Who a push is taken for: the tenant whose books grew; or the status and the text of the refusal.
pub(crate) async fn taken_for(
    gateway: &TestGateway,
    path: &str,
    headers: &[(&str, &str)],
) -> Result<String, (u16, String)> {
    let accepted = async || {
        let page = gateway.admin("/metrics").await;
        let line = |line: &str| {
            let (tenant, count) =
                line.strip_prefix("writegate_accepted_samples_total{tenant=\"")?.split_once("\"} ")?;
            Some((tenant.to_owned(), count.to_owned()))
        };
        page.lines().filter_map(line).collect::<Vec<_>>()
    };
    let before = accepted().await;
    let answer = push_at(gateway, path, headers).await;
    let after = accepted().await;
    let grown: Vec<String> = after.into_iter().filter(|one| !before.contains(one)).map(|(tenant, _)| tenant).collect();
    match grown.as_slice() {
        [tenant] if answer.status == 204 => Ok(tenant.clone()),
        [] => Err((answer.status.as_u16(), answer.text())),
        several => panic!("{} {}: {several:?}", answer.status, answer.text()),
    }
}

#[test]
fn r_p2_the_published_token_is_taken_for_its_tenant_on_its_host_and_no_other() {
    bounded(async {
        let files = tempfile::tempdir().unwrap();
        fs::write(files.path().join("keys.json"), key_set(&[(KID, PEM)])).unwrap();
        let keys = files.path().join("keys.json");
        let gateway = Setup::new()
            .listener("tenant_from: [{host: 'cortex.{tenant}.demo.example.org'}]")
            .top(&format!(
                "authentication: [{{jwt: {{key_set_file: '{}', audience: opstrace-cluster-demo}}}}]",
                keys.display()
            ))
            .start()
            .await;
        let (name, value) = bearer(TOKEN);
        let shown = [(name, value.as_str())];
        let on = |host| [shown[0], ("host", host)];
        let blue = Ok("team-blue".to_owned());
        assert_eq!(taken_for(&gateway, "/api/v1/push", &on("cortex.team-blue.demo.example.org")).await, blue, "R-P1");
        assert_eq!(taken_for(&gateway, "/api/v1/push", &on("gateway.example.org")).await, blue, "by the token alone");
        let other = taken_for(&gateway, "/api/v1/push", &on("cortex.team-red.demo.example.org")).await.unwrap_err();
        assert_eq!(other.0, 403, "R-P10");
        assert!(!other.1.contains("team-"), "{}", other.1);
        let unknown = taken_for(&gateway, "/nobody/api/v1/write", &shown).await.unwrap_err();
        assert_eq!(unknown, other, "who else is a tenant is not told");
        gateway.settle_and_finish().await;
    });
}

pub(crate) fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

#[test]
fn r_p11_every_failure_to_authenticate_is_a_401_that_says_what_is_expected() {
    bounded(async {
        let files = tempfile::tempdir().unwrap();
        let keys = files.path().join("keys.json");
        fs::write(&keys, key_set(&[(KID, PEM)])).unwrap();
        let jwt = format!(
            "authentication: [{{jwt: {{key_set_file: '{}', audience: opstrace-cluster-other}}}}]",
            keys.display()
        );
        // With a tenant for requests without credentials, too: a wrong one is never the default.
        let gateway = Setup::new().top(&jwt).start().await;
        let (name, wrong_audience) = bearer(TOKEN);
        let changed = wrong_audience.replace("MstNq", "MstNr");
        let basic = format!("Basic {}", base64("user:password"));
        let cases = [
            ("Digest x", "Authorization header format invalid. Expecting 'Bearer <AUTHTOKEN>'"),
            ("Bearer", "Authorization header format invalid"),
            ("Basic ???", "Authorization header format invalid"),
            (&basic, "bad authentication token"),
            (&wrong_audience, "bad authentication token"),
            (&changed, "bad authentication token"),
            ("Bearer x.y.z", "bad authentication token"),
        ];
        for (value, text) in cases {
            let answer = push(&gateway, &[(name, value)]).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{value}");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{value}");
            assert!(answer.text().starts_with(text), "{value}: {}", answer.text());
            assert!(!answer.text().contains("x.y.z"));
        }
        assert_eq!(push(&gateway, &[]).await.status, 204, "for the listener's own tenant");
        assert!(gateway.metric("writegate_push_refusals_total{reason=\"unauthenticated\"}").await >= 7.0);
        gateway.settle_and_finish().await;

        let gateway = Setup::new().listener("strict: false").top(&jwt).start().await;
        let answer = push(&gateway, &[]).await;
        assert_eq!((answer.status.as_u16(), answer.header("www-authenticate")), (401, Some("Bearer")));
        assert!(answer.text().starts_with("Authorization header missing or invalid"), "{}", answer.text());
        gateway.finish().await;
    });
}

/// Who makes signed tokens.
pub(crate) struct Issuer {
    key: String,
    kid: String,
}

impl Issuer {
    pub(crate) fn new() -> Self {
        let key = generate_key_pair().unwrap();
        Self { kid: kid(&key).unwrap(), key }
    }

    pub(crate) fn token(&self, tenant: &str, jti: &str) -> String {
        let issued_at = i64::try_from(std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
        let new = NewToken { instance: "demo", tenant, issued_at, lifetime_seconds: 600, jti };
        create_token(&new, &self.key).unwrap()
    }

    /// A key set with its key.
    pub(crate) fn key_set(&self) -> String {
        key_set(&[(&self.kid, &public_pem(&self.key).unwrap())])
    }
}

#[test]
fn r_p4_r_p5_r_p19_keys_come_and_go_and_single_tokens_are_revoked_while_the_gateway_runs() {
    bounded(async {
        let (old, new) = (Issuer::new(), Issuer::new());
        let files = tempfile::tempdir().unwrap();
        let (keys, revoked) = (files.path().join("keys.json"), files.path().join("revoked.txt"));
        let list = |issuers: &[&Issuer]| {
            let pems: Vec<(String, String)> =
                issuers.iter().map(|issuer| (issuer.kid.clone(), public_pem(&issuer.key).unwrap())).collect();
            let pems: Vec<(&str, &str)> = pems.iter().map(|(kid, pem)| (kid.as_str(), pem.as_str())).collect();
            fs::write(&keys, key_set(&pems)).unwrap();
        };
        list(&[&old]);
        fs::write(&revoked, "# none yet\n").unwrap();
        let jwt = format!(
            "authentication: [{{jwt: {{key_set_file: '{}', revoked_file: '{}', audience: opstrace-cluster-demo}}}}]",
            keys.display(),
            revoked.display()
        );
        let gateway = Setup::new().listener("strict: false").top(&jwt).start().await;
        let (first, second) = (old.token("blue", "first"), old.token("blue", "second"));
        let rotated = new.token("blue", "third");
        let statuses = async || {
            let mut statuses = Vec::new();
            for token in [&first, &second, &rotated] {
                let (name, value) = bearer(token);
                statuses.push(push(&gateway, &[(name, &value)]).await.status.as_u16());
            }
            statuses
        };
        assert_eq!(statuses().await, [204, 204, 401]);
        list(&[&old, &new]);
        gateway.read_again().await.unwrap();
        assert_eq!(statuses().await, [204, 204, 204], "both while both are listed");

        fs::write(&revoked, format!("first\n{}\n", TokenDigest::of(&rotated).to_hex())).unwrap();
        gateway.read_again().await.unwrap();
        assert_eq!(statuses().await, [401, 204, 401], "one by its jti, one by its digest");
        fs::write(&revoked, "").unwrap();

        // What cannot be used changes nothing, and the rest of a key set is taken.
        fs::write(&keys, "not json").unwrap();
        let error = gateway.read_again().await.unwrap_err();
        assert!(error.contains("keys.json"), "{error}");
        assert_eq!(statuses().await, [401, 204, 401]);
        let wrong_kid = key_set(&[(&"0".repeat(40), PEM), (&new.kid, &public_pem(&new.key).unwrap())]);
        fs::write(&keys, wrong_kid).unwrap();
        gateway.read_again().await.unwrap();
        assert_eq!(statuses().await, [401, 401, 204], "the old key is gone");
        gateway.settle_and_finish().await;
    });
}

#[test]
fn r_p15_the_credential_decides_and_path_host_and_header_must_agree_with_it() {
    bounded(async {
        let tenants = format!(
            "tenants: [{{name: blue, credentials: [{{bearer_token: blue-token}}, {{basic_auth: {{username: b, password: '{HASHED}'}}}}]}}, \
             {{name: red, credentials: [{{bearer_token: red-token}}, {{basic_auth: {{username: r, password: plain}}}}]}}]"
        );
        let sink = receiver().await;
        let gateway = Setup::new()
            .listener("tenant_from: [{header: X-Scope-OrgID}, {host: 'w.{tenant}.example.org'}]")
            .top(&tenants)
            .endpoint_with("a", &sink, "tenant_header: X-Scope-OrgID")
            .start()
            .await;
        let hashed = format!("Basic {}", base64("b:pass word"));
        let plain = format!("Basic {}", base64("r:plain"));
        for (value, tenant) in
            [("Bearer blue-token", "blue"), ("Bearer red-token", "red"), (&hashed, "blue"), (&plain, "red")]
        {
            let other = if tenant == "red" { "blue" } else { "red" };
            let shown = ("authorization", value);
            let of = |name: &str| [format!("w.{name}.example.org"), name.to_owned(), format!("/{name}/api/v1/write")];
            let ([host, header, path], [other_host, other_header, other_path]) = (of(tenant), of(other));
            let agrees = Ok(tenant.to_owned());
            assert_eq!(taken_for(&gateway, "/api/v1/write", &[shown]).await, agrees);
            assert_eq!(taken_for(&gateway, &path, &[shown, ("host", &host), ("x-scope-orgid", &header)]).await, agrees);
            for (path, more) in [
                (other_path.as_str(), None),
                ("/api/v1/write", Some(("host", other_host.as_str()))),
                ("/api/v1/write", Some(("x-scope-orgid", other_header.as_str()))),
                (path.as_str(), Some(("x-scope-orgid", other_header.as_str()))),
            ] {
                let headers: Vec<_> = [shown].into_iter().chain(more).collect();
                let (status, text) = taken_for(&gateway, path, &headers).await.unwrap_err();
                assert_eq!(status, 403, "{path} {more:?}");
                assert!(!text.contains(other), "{text}");
            }
        }
        for value in [base64("b:wrong"), base64("nobody:pass word"), base64("b:")] {
            let answer = push(&gateway, &[("authorization", &format!("Basic {value}"))]).await;
            assert_eq!(answer.status, 401);
        }
        gateway.settled().await;
        for received in sink.requests() {
            let tenant = received.headers["x-scope-orgid"].to_str().unwrap();
            assert!(["blue", "red"].contains(&tenant), "{tenant}");
            assert!(!received.headers.contains_key("authorization"), "the sender's credential went on");
        }
        gateway.finish().await;
    });
}

#[test]
fn r_p25_a_tenant_may_be_limited_to_networks() {
    bounded(async {
        let tenants = "tenants: [{name: near, allow: [127.0.0.0/8], credentials: [{bearer_token: n}]}, \
                       {name: far, allow: [192.0.2.0/24], credentials: [{bearer_token: f}]}]";
        let gateway = Setup::new().listener("strict: false").top(tenants).start().await;
        assert_eq!(push(&gateway, &[("authorization", "Bearer n")]).await.status, 204);
        assert_eq!(push(&gateway, &[("authorization", "Bearer f")]).await.status, 403);
        gateway.settle_and_finish().await;
    });
}

#[test]
fn r_p28_what_senders_show_is_in_no_log_metric_configuration_or_answer() {
    bounded(async {
        let files = tempfile::tempdir().unwrap();
        let file = files.path().join("token");
        fs::write(&file, "planted-in-a-file\n").unwrap();
        let tenants = format!(
            "tenants: [{{name: blue, credentials: [{{bearer_token: planted-token}}, {{bearer_token_file: '{}'}}, \
             {{basic_auth: {{username: u, password: planted-password}}}}]}}]",
            file.display()
        );
        let program = Setup::new().listener("strict: false").top(&tenants).log_level("trace").start_program().await;
        let body = compress(Compression::Snappy, &encode(Protocol::V1, &request([sample_of("up", 1)])));
        let mut answers = String::new();
        let basic = format!("Basic {}", base64("u:planted-password"));
        let wrong = format!("Basic {}", base64("u:planted-mistake"));
        for (value, status) in [
            ("Bearer planted-token", 204),
            ("Bearer planted-in-a-file", 204),
            (&basic, 204),
            ("Bearer planted-nonsense", 401),
            (&wrong, 401),
        ] {
            let protocol = raw_headers(Protocol::V1);
            let mut headers: Vec<(&str, &str)> = protocol.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
            headers.push(("authorization", value));
            let answer = program.sender().send(http::Method::POST, header_map(&headers), body.clone()).await.unwrap();
            assert_eq!(answer.status.as_u16(), status, "{}", answer.text());
            answers.push_str(&answer.text());
        }
        for page in ["/metrics", "/api/v1/config", "/api/v1/status"] {
            answers.push_str(&program.admin(page).await);
        }
        let seen = format!("{answers}{}", program.log());
        for secret in ["planted", &basic[6..], &wrong[6..]] {
            let place = seen.lines().find(|line| line.contains(secret));
            assert_eq!(place, None, "{secret}");
        }
        program.terminate().await;
    });
}

#[test]
fn r_p20_keys_and_tokens_are_made_listed_and_taken_back_on_the_command_line() {
    use std::os::unix::fs::PermissionsExt as _;
    bounded(async {
        let files = tempfile::tempdir().unwrap();
        let at = |name: &str| files.path().join(name).display().to_string();
        let (key, key_set, revoked) = (at("blue.pem"), at("keys.json"), at("revoked.txt"));
        let good = async |arguments: &[&str]| {
            let ran = run(&[&["token"], arguments].concat()).await;
            assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{arguments:?}");
            ran.out.trim_end().to_owned()
        };
        let bad = async |arguments: &[&str]| {
            let ran = run(&[&["token"], arguments].concat()).await;
            assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{arguments:?}");
            ran.err
        };
        assert_eq!(good(&["keypair", &key]).await, "");
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        let before = fs::read_to_string(&key).unwrap();
        assert!(bad(&["keypair", &key]).await.contains("it exists"));
        assert_eq!(fs::read_to_string(&key).unwrap(), before);

        let kid = good(&["add", &key_set, &key]).await;
        assert!(bad(&["add", &key_set, &key]).await.contains(&kid), "it is there already");
        assert_eq!(good(&["list", &key_set]).await, kid);
        assert_eq!(good(&["list", &key_set, "--json"]).await, format!("[\"{kid}\"]"));
        let token = good(&["create", "demo", "team-blue", &key, "--lifetime", "1h"]).await;
        assert!(bad(&["create", "demo", "../x", &key]).await.contains("must not be in a tenant's name"));
        fs::write(&revoked, "").unwrap();

        let jwt = format!(
            "authentication: [{{jwt: {{key_set_file: '{key_set}', revoked_file: '{revoked}', audience: opstrace-cluster-demo}}}}]"
        );
        let gateway = Setup::new().listener("strict: false").top(&jwt).start().await;
        let (name, value) = bearer(&token);
        assert_eq!(taken_for(&gateway, "/api/v1/push", &[(name, &value)]).await, Ok("team-blue".to_owned()));
        good(&["revoke", &revoked, &token]).await;
        assert!(!fs::read_to_string(&revoked).unwrap().contains(&token[..40]), "the file does not give it away");
        gateway.read_again().await.unwrap();
        assert_eq!(push(&gateway, &[(name, &value)]).await.status, 401);
        assert!(bad(&["revoke", &revoked, &token]).await.contains("already"));

        assert!(bad(&["remove", &key_set, &"0".repeat(40)]).await.contains("0000"));
        assert!(bad(&["remove", &key_set, &kid]).await.contains("--force"), "the last one");
        good(&["remove", &key_set, &kid, "--force"]).await;
        assert_eq!(good(&["list", &key_set]).await, "");
        gateway.settle_and_finish().await;
    });
}

#[test]
fn check_names_the_certificates_keys_and_tokens_that_cannot_be_used() {
    bounded(async {
        let files = tempfile::tempdir().unwrap();
        let config = files.path().join("writegate.yml");
        fs::write(files.path().join("empty"), "").unwrap();
        fs::write(
            &config,
            "listeners: [{address: '127.0.0.1:0', tls_config: {cert_file: no.crt, key_file: no.key}}]\n\
             tenants: [{name: blue, credentials: [{bearer_token_file: empty}]}]\n",
        )
        .unwrap();
        let ran = run(&["check", config.to_str().unwrap()]).await;
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(ran.err.contains("no.crt: No such file") && ran.err.contains("blue\" is empty"), "{}", ran.err);
        let same = "credentials: [{basic_auth: {username: carl, password: same}}]";
        let two = format!(
            "tenants: [{{name: blue, {same}}}, {{name: red, {same}}}]\nlisteners: [{{address: '127.0.0.1:0'}}]\n"
        );
        let shared = files.path().join("shared.yml");
        fs::write(&shared, two).unwrap();
        let ran = run(&["check", shared.to_str().unwrap()]).await;
        assert!(ran.code == 1 && ran.err.contains("have the same credential"), "{ran:?}");
        let ran = run(&["serve", "--config", config.to_str().unwrap(), "--data", files.path().to_str().unwrap()]).await;
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(ran.err.contains("blue\" is empty"), "{}", ran.err);
    });
}

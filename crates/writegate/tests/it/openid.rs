//! An `OpenID` provider that says what it is told to, tokens of it, and what a gateway does with those that name a tenant
//! themselves.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use remote_write::{Compression, Protocol};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::certificates::{Authority, Issued};
use crate::harness::{Setup, TestGateway, bounded, compress, eventually, header_map, raw_headers};
use crate::message::{encode, request, sample_of};

/// A key that signs tokens (ES256).
pub(crate) struct SigningKey {
    kid: String,
    pair: EcdsaKeyPair,
}

impl SigningKey {
    pub(crate) fn new(kid: &str) -> Self {
        Self { kid: kid.to_owned(), pair: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap() }
    }

    /// Its public part, as a provider publishes it.
    fn jwk(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..]));
        json!({"kty": "EC", "crv": "P-256", "kid": self.kid, "use": "sig", "alg": "ES256", "x": x, "y": y})
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        let header = json!({"alg": "ES256", "kid": self.kid});
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(claims));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// A provider on an address of its own, which stays the same while it is down.
pub(crate) struct Provider {
    scheme: &'static str,
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct Script {
    is_down: bool,
    keys: Vec<Value>,
    /// Instead of its own.
    issuer: Option<String>,
    /// How often it was asked who it is, and for its keys.
    asked: [usize; 2],
}

impl Provider {
    /// One without TLS that publishes these keys.
    pub(crate) async fn start(keys: &[&SigningKey]) -> Self {
        Self::start_with(None, keys).await
    }

    /// One with a certificate.
    pub(crate) async fn start_tls(authority: &Authority, keys: &[&SigningKey]) -> Self {
        Self::start_with(Some(authority.issue("provider", &["127.0.0.1"], 2099)), keys).await
    }

    async fn start_with(shows: Option<Issued>, keys: &[&SigningKey]) -> Self {
        let acceptor = shows.map(|issued| {
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
            let chain = vec![CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap()];
            let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
            TlsAcceptor::from(Arc::new(builder.with_no_client_auth().with_single_cert(chain, key).unwrap()))
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let scheme = if acceptor.is_some() { "https" } else { "http" };
        let script = Arc::new(Mutex::new(Script::default()));
        let task = tokio::spawn(serve(listener, acceptor, format!("{scheme}://{address}"), Arc::clone(&script)));
        let this = Self { scheme, address, script, task };
        this.publish(keys);
        this
    }

    pub(crate) fn issuer(&self) -> String {
        format!("{}://{}/dex", self.scheme, self.address)
    }

    fn keys_url(&self) -> String {
        format!("{}://{}/keys", self.scheme, self.address)
    }

    /// These keys and no others, from now on.
    pub(crate) fn publish(&self, keys: &[&SigningKey]) {
        self.script.lock().unwrap().keys = keys.iter().map(|key| key.jwk()).collect();
    }

    /// Whether connections are cut.
    pub(crate) fn be_down(&self, is_down: bool) {
        self.script.lock().unwrap().is_down = is_down;
    }

    fn call_itself(&self, issuer: &str) {
        self.script.lock().unwrap().issuer = Some(issuer.to_owned());
    }

    /// How often it was asked who it is, and for its keys.
    pub(crate) fn asked(&self) -> [usize; 2] {
        self.script.lock().unwrap().asked
    }

    /// What a token of it says that is good for ten minutes.
    pub(crate) fn claims(&self, audience: &str, subject: &str) -> Value {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
        json!({"iss": self.issuer(), "aud": [audience], "sub": subject, "iat": now, "exp": now + 600})
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, acceptor: Option<TlsAcceptor>, base: String, script: Arc<Mutex<Script>>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        if script.lock().unwrap().is_down {
            continue;
        }
        let (acceptor, base, script) = (acceptor.clone(), base.clone(), Arc::clone(&script));
        tokio::spawn(async move {
            match acceptor {
                None => answer(stream, &base, &script).await,
                Some(acceptor) => {
                    // A client that does not believe the certificate is gone.
                    if let Ok(stream) = acceptor.accept(stream).await {
                        answer(stream, &base, &script).await;
                    }
                }
            }
        });
    }
}

async fn answer<S>(stream: S, base: &str, script: &Mutex<Script>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let service = service_fn(|request: Request<Incoming>| {
        let mut script = script.lock().unwrap();
        let (index, document) = match request.uri().path() {
            "/dex/.well-known/openid-configuration" => {
                let issuer = script.issuer.clone().unwrap_or_else(|| format!("{base}/dex"));
                (0, json!({"issuer": issuer, "jwks_uri": format!("{base}/keys")}))
            }
            "/keys" => (1, json!({"keys": script.keys})),
            other => panic!("asked for {other}"),
        };
        script.asked[index] += 1;
        async move { Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from(document.to_string())))) }
    });
    // Whoever hangs up early is not waited for.
    drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
}

/// Pushes a sample of `up` with this token: status and text.
pub(crate) async fn push_with(gateway: &TestGateway, path: &str, token: &str) -> (u16, String) {
    let bearer = format!("Bearer {token}");
    push_as(gateway, path, &[("authorization", &bearer)]).await
}

/// Pushes a sample of `up` with these headers: status and text.
pub(crate) async fn push_as(gateway: &TestGateway, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let mut all = header_map(headers);
    let protocol = raw_headers(Protocol::V1);
    let borrowed: Vec<(&str, &str)> = protocol.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    all.extend(header_map(&borrowed));
    let body = compress(Compression::Snappy, &encode(Protocol::V1, &request([sample_of("up", 1)])));
    let answer = gateway.sender_at(path).send(http::Method::POST, all, body).await.unwrap();
    if answer.status == 503 {
        assert!(answer.header("retry-after").is_some(), "{}", answer.text());
    }
    assert!(!answer.status.is_redirection(), "R-O16");
    (answer.status.as_u16(), answer.text())
}

const PUSH: &str = "/api/v1/push";

#[test]
fn tokens_that_name_their_tenant_are_taken_by_the_keys_of_an_issuer_or_of_a_url() {
    bounded(async {
        let files = tempfile::tempdir().unwrap();
        let authority = Authority::new("provider authority");
        std::fs::write(files.path().join("ca.crt"), authority.pem()).unwrap();
        let key = SigningKey::new("one");
        let provider = Provider::start_tls(&authority, &[&key]).await;
        let tls = format!("tls_config: {{ca_file: '{}'}}", files.path().join("ca.crt").display());
        let claims = provider.claims("writegate", "tenant-blue");
        for (place, checks_issuer) in [
            (format!("issuer: '{}'", provider.issuer()), true),
            (format!("jwks_url: '{}'", provider.keys_url()), false),
        ] {
            let jwt = format!("authentication: [{{jwt: {{{place}, audience: writegate, {tls}}}}}]");
            let gateway = Setup::new().listener("strict: false").top(&jwt).start().await;
            assert_eq!(push_with(&gateway, PUSH, &key.sign(&claims)).await.0, 204, "{place}");
            assert_eq!(push_with(&gateway, "/blue/api/v1/write", &key.sign(&claims)).await.0, 204);
            assert_eq!(push_with(&gateway, "/red/api/v1/write", &key.sign(&claims)).await.0, 403);
            assert_eq!(gateway.metric("writegate_accepted_samples_total{tenant=\"blue\"}").await, 2.0);
            for (claim, value, status) in [
                ("aud", json!("another"), 401),
                ("exp", json!(1_700_000_000), 401),
                ("sub", json!("blue"), 401),
                ("iss", json!("https://elsewhere.example.org"), if checks_issuer { 401 } else { 204 }),
            ] {
                let mut changed = claims.clone();
                changed[claim] = value;
                let (answered, text) = push_with(&gateway, PUSH, &key.sign(&changed)).await;
                assert_eq!(answered, status, "{place} {claim}: {text}");
            }
            let stranger = SigningKey::new("one");
            assert_eq!(push_with(&gateway, PUSH, &stranger.sign(&claims)).await.0, 401, "signed by somebody else");
            gateway.settle_and_finish().await;
        }
    });
}

#[test]
fn a_token_under_a_new_key_is_taken_at_once_and_one_under_a_key_that_went_is_not() {
    bounded(async {
        let (old, new, stranger) = (SigningKey::new("old"), SigningKey::new("new"), SigningKey::new("stranger"));
        let provider = Provider::start(&[&old]).await;
        let jwt = format!("authentication: [{{jwt: {{issuer: '{}', audience: writegate}}}}]", provider.issuer());
        let gateway = Setup::new().listener("strict: false").top(&jwt).start().await;
        let claims = provider.claims("writegate", "tenant-blue");
        let [old_token, new_token, strange] = [&old, &new, &stranger].map(|key| key.sign(&claims));
        assert_eq!(push_with(&gateway, PUSH, &old_token).await.0, 204);
        provider.publish(&[&new, &old]);
        assert_eq!(push_with(&gateway, PUSH, &new_token).await.0, 204, "the keys were fetched for it");
        assert_eq!(push_with(&gateway, PUSH, &old_token).await.0, 204);
        provider.publish(&[&new]);
        let before = provider.asked();
        let senders = async || push_with(&gateway, PUSH, &strange).await.0;
        let (one, other, good) = tokio::join!(senders(), senders(), push_with(&gateway, PUSH, &new_token));
        assert_eq!((one, other, good.0), (401, 401, 204), "the provider says that there is no such key");
        let after = provider.asked();
        assert!((1..=2).contains(&(after[1] - before[1])), "asked once for all that wait: {before:?} {after:?}");
        assert_eq!(
            push_with(&gateway, PUSH, &old_token).await.0,
            401,
            "what was verified with other keys is forgotten"
        );
        gateway.settle_and_finish().await;
    });
}

#[test]
fn r_o15_a_provider_that_is_down_is_503_until_its_keys_are_known_and_nothing_after_that() {
    bounded(async {
        let (key, unpublished) = (SigningKey::new("one"), SigningKey::new("two"));
        let provider = Provider::start(&[&key]).await;
        provider.be_down(true);
        let setup = Setup::new().listener("strict: false").top(&format!(
            "authentication: [{{jwt: {{issuer: '{}', audience: writegate}}}}]\n\
             tenants: [{{name: red, credentials: [{{bearer_token: red-token}}]}}, {{name: blue}}]",
            provider.issuer()
        ));
        let mut gateway = setup.clone().start().await;
        let claims = provider.claims("writegate", "tenant-blue");
        let token = key.sign(&claims);
        let (status, text) = push_with(&gateway, PUSH, &token).await;
        assert_eq!(status, 503, "{text}");
        assert!(text.contains("identity provider") && text.ends_with("(wg-identity-provider)\n"), "{text}");
        assert!(!text.contains(&provider.address.to_string()), "where it is, is not told: {text}");
        assert_eq!(push_with(&gateway, PUSH, "red-token").await.0, 204, "other credentials need no provider");
        assert_eq!(push_with(&gateway, PUSH, "x.y.z").await.0, 401, "what is no token is not waited for");
        let mut elsewhere = claims.clone();
        elsewhere["iss"] = json!("https://elsewhere.example.org");
        assert_eq!(push_with(&gateway, PUSH, &key.sign(&elsewhere)).await.0, 401, "nor is another issuer's");
        let label = format!("provider=\"{}\"", provider.issuer());
        let failures = format!("writegate_key_fetches_total{{{label},result=\"failure\"}}");
        let last = format!("writegate_key_fetch_last_success_timestamp_seconds{{{label}}}");
        assert!(gateway.metric(&failures).await >= 1.0);
        assert_eq!(gateway.metric(&last).await, 0.0);

        provider.be_down(false);
        eventually("the keys are fetched", async || (push_with(&gateway, PUSH, &token).await.0 == 204).then_some(()))
            .await;
        assert!(gateway.metric(&last).await > 1.7e9);

        provider.be_down(true);
        // Not the one before: that one is remembered.
        let mut later = claims.clone();
        later["jti"] = json!("later");
        assert_eq!(push_with(&gateway, PUSH, &key.sign(&later)).await.0, 204, "known keys stay good");
        assert_eq!(push_with(&gateway, PUSH, &unpublished.sign(&claims)).await.0, 503, "it may be a new one");
        // A reload keeps what is known of a provider that stays.
        gateway.reload(setup.limits("label_names: 100")).await;
        later["jti"] = json!("after the reload");
        assert_eq!(push_with(&gateway, PUSH, &key.sign(&later)).await.0, 204);
        provider.be_down(false);
        eventually("the provider says that there is no such key", async || {
            (push_with(&gateway, PUSH, &unpublished.sign(&claims)).await.0 == 401).then_some(())
        })
        .await;
        gateway.settle_and_finish().await;
    });
}

#[test]
fn a_provider_that_calls_itself_otherwise_is_not_believed() {
    bounded(async {
        let key = SigningKey::new("one");
        let provider = Provider::start(&[&key]).await;
        provider.call_itself("https://elsewhere.example.org");
        let jwt = format!("authentication: [{{jwt: {{issuer: '{}', audience: a}}}}]", provider.issuer());
        let gateway = Setup::new().listener("strict: false").top(&jwt).start().await;
        let token = key.sign(&provider.claims("a", "tenant-blue"));
        assert_eq!(push_with(&gateway, PUSH, &token).await.0, 503);
        assert_eq!(provider.asked()[1], 0, "its keys are not asked for");
        gateway.finish().await;
    });
}

#[test]
fn a_provider_that_does_not_answer_holds_up_nobody_elses_requests() {
    bounded(async {
        // Accepts connections, and says nothing.
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", silent.local_addr().unwrap());
        let key = SigningKey::new("one");
        let gateway = Setup::new()
            .listener("strict: false")
            .top(&format!("authentication: [{{jwt: {{issuer: '{issuer}', audience: a}}}}]"))
            .top("tenants: [{name: red, credentials: [{bearer_token: red-token}]}, {name: '*'}]")
            .start()
            .await;
        let token = key.sign(&json!({"iss": issuer, "aud": "a", "sub": "tenant-blue", "exp": 4_000_000_000_u64}));
        let waiting = push_with(&gateway, PUSH, &token);
        let others = async {
            let mut connections: Vec<TcpStream> = Vec::new();
            for _ in 0..20 {
                assert_eq!(push_with(&gateway, PUSH, "red-token").await.0, 204);
                if let Ok(Ok((stream, _))) = tokio::time::timeout(Duration::from_millis(1), silent.accept()).await {
                    connections.push(stream);
                }
            }
            connections
        };
        let mut waiting = Box::pin(waiting);
        let connections = tokio::select! {
            biased;
            answered = &mut waiting => panic!("the provider has said nothing: {answered:?}"),
            connections = others => connections,
        };
        assert_eq!(waiting.as_mut().await.0, 503, "in the end it is told to come again");
        drop((waiting, connections));
        gateway.settle_and_finish().await;
    });
}

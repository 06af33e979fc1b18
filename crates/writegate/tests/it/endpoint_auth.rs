//! How the gateway shows endpoints who it is: tokens, and the proxies on the way.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use remote_write::{Compression, Protocol};
use testkit::endpoint::{Endpoint, Received, Reply, ReplyBody};
use tokio::net::{TcpListener, TcpStream};

use crate::credentials::base64;
use crate::harness::{Setup, TestGateway, bounded, compress, eventually, header_map, raw_headers, receiver, takes};
use crate::message::{encode, request, sample_of};

/// A request to one of the servers here: method and target, headers by lower-case name, body.
#[derive(Clone, Debug)]
struct Asked {
    line: String,
    headers: http::HeaderMap,
    body: String,
}

impl Asked {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

type Answers = Arc<dyn Fn(&Asked) -> Response<Full<Bytes>> + Send + Sync>;

/// An HTTP server that answers as told and keeps what it was asked.
struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    async fn start(answers: impl Fn(&Asked) -> Response<Full<Bytes>> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (kept, answers): (_, Answers) = (Arc::clone(&asked), Arc::new(answers));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (kept, answers) = (Arc::clone(&kept), Arc::clone(&answers));
                let service = service_fn(move |request: Request<Incoming>| {
                    let (kept, answers) = (Arc::clone(&kept), Arc::clone(&answers));
                    async move {
                        let (head, body) = request.into_parts();
                        let body = body.collect().await.unwrap().to_bytes();
                        let body = String::from_utf8_lossy(&body).into_owned();
                        let asked =
                            Asked { line: format!("{} {}", head.method, head.uri), headers: head.headers, body };
                        let answer = answers(&asked);
                        kept.lock().unwrap().push(asked);
                        Ok::<_, Infallible>(answer)
                    }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

fn answer(status: u16, body: impl Into<String>) -> Response<Full<Bytes>> {
    Response::builder().status(status).body(Full::from(body.into())).unwrap()
}

/// Issues `token-1`, `token-2` … for an hour, while it is up.
async fn token_server(is_up: Arc<Mutex<bool>>) -> Server {
    let issued = Mutex::new(0);
    Server::start(move |_| {
        if !*is_up.lock().unwrap() {
            return answer(503, r#"{"error":"temporarily_unavailable"}"#);
        }
        let mut issued = issued.lock().unwrap();
        *issued += 1;
        answer(200, format!(r#"{{"access_token":"token-{issued}","token_type":"Bearer","expires_in":3600}}"#))
    })
    .await
}

/// Takes what comes with this token.
fn takes_only(receiver: &Endpoint, token: &str) {
    let expected = format!("Bearer {token}");
    receiver.answer_with(move |received: &Received| {
        if received.header("authorization") == Some(expected.as_str()) { Reply::healthy() } else { Reply::status(401) }
    });
}

async fn last_error(gateway: &TestGateway, words: &str) -> String {
    eventually(words, || async {
        let status: serde_json::Value = serde_json::from_str(&gateway.admin("/api/v1/status").await).unwrap();
        let error = status["endpoints"][0]["last_error"].as_str()?.to_owned();
        error.contains(words).then_some(error)
    })
    .await
}

#[test]
fn a_token_is_fetched_once_for_all_endpoints_that_want_the_same_and_shown_to_each() {
    bounded(async {
        let tokens = token_server(Arc::new(Mutex::new(true))).await;
        let (one, two) = (receiver().await, receiver().await);
        takes_only(&one, "token-1");
        takes_only(&two, "token-1");
        let oauth2 = format!(
            "oauth2: {{client_id: gateway, client_secret: planted-secret, scopes: [write], token_url: 'http://{}/token'}}",
            tokens.address
        );
        let gateway =
            Setup::new().endpoint_with("one", &one, &oauth2).endpoint_with("two", &two, &oauth2).start().await;
        for series in ["a", "b", "c"] {
            gateway.accept(Protocol::V1, &request([sample_of(series, 1)])).await;
        }
        takes(&one, 3).await;
        takes(&two, 3).await;
        let [asked] = tokens.asked().try_into().unwrap();
        assert_eq!(asked.line, "POST /token");
        assert_eq!(asked.header("authorization"), format!("Basic {}", base64("gateway:planted-secret")));
        assert_eq!(asked.body, "grant_type=client_credentials&scope=write");
        gateway.settle_and_finish().await;
    });
}

#[test]
fn without_a_token_the_data_waits_and_the_reason_is_told_and_nothing_is_refused() {
    bounded(async {
        let is_up = Arc::new(Mutex::new(false));
        let (tokens, sink) = (token_server(Arc::clone(&is_up)).await, receiver().await);
        let oauth2 =
            format!("oauth2: {{client_id: gateway, client_secret: s, token_url: 'http://{}/'}}", tokens.address);
        let gateway = Setup::new().endpoint_with("a", &sink, &oauth2).start().await;
        gateway.accept(Protocol::V1, &request([sample_of("up", 1)])).await;
        let error = last_error(&gateway, "get an access token").await;
        let expected = format!("POST http://{}/: 503 Service Unavailable: temporarily_unavailable", tokens.address);
        assert!(error.ends_with(&expected), "{error}");
        assert_eq!((sink.stats().requests, gateway.ledger("default", "a").await.samples.pending), (0, 1));
        *is_up.lock().unwrap() = true;
        takes(&sink, 1).await;
        assert!(gateway.dead_letters().await.is_empty());
        gateway.settle_and_finish().await;
    });
}

#[test]
fn a_token_that_is_revoked_is_replaced_at_the_first_401() {
    bounded(async {
        let (tokens, sink) = (token_server(Arc::new(Mutex::new(true))).await, receiver().await);
        takes_only(&sink, "token-1");
        let oauth2 =
            format!("oauth2: {{client_id: gateway, client_secret: s, token_url: 'http://{}/'}}", tokens.address);
        let gateway = Setup::new().endpoint_with("a", &sink, &oauth2).start().await;
        gateway.accept(Protocol::V1, &request([sample_of("up", 1)])).await;
        takes(&sink, 1).await;
        takes_only(&sink, "token-2");
        gateway.accept(Protocol::V1, &request([sample_of("up", 2)])).await;
        takes(&sink, 2).await;
        assert_eq!(tokens.asked().len(), 2);
        gateway.settle_and_finish().await;
    });
}

/// A proxy for `http`: passes each request on to `behind`, whatever server it names, if the user is the right one.
async fn proxy(behind: SocketAddr, authorization: String) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let lines: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = Arc::clone(&lines);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (kept, authorization) = (Arc::clone(&kept), authorization.clone());
            let service = service_fn(move |mut request: Request<Incoming>| {
                let (kept, authorization) = (Arc::clone(&kept), authorization.clone());
                async move {
                    kept.lock().unwrap().push(request.uri().to_string());
                    let shown = request.headers_mut().remove("proxy-authorization");
                    if shown.is_none_or(|shown| shown != authorization.as_str()) {
                        return Ok(answer(407, "who are you?").map(Full::boxed));
                    }
                    *request.uri_mut() = request.uri().path().parse().unwrap();
                    let stream = TokioIo::new(TcpStream::connect(behind).await.unwrap());
                    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
                    tokio::spawn(connection);
                    let response = sender.send_request(request).await?;
                    let (head, body) = response.into_parts();
                    let body = body.collect().await?.to_bytes();
                    Ok::<_, hyper::Error>(Response::from_parts(head, Full::new(body).boxed()))
                }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    (address, lines)
}

#[test]
fn an_endpoint_behind_a_proxy_is_reached_through_it_and_the_proxys_refusal_is_told() {
    bounded(async {
        let sink = receiver().await;
        let (address, lines) = proxy(sink.address(), format!("Basic {}", base64("user:p@ss"))).await;
        let keys = |user: &str| {
            format!(
                "{{name: a, url: 'http://mimir.invalid/api/v1/write', queue_config: {{max_backoff: 100ms}}, \
                 proxy_url: 'http://{user}{address}'}}"
            )
        };
        let files = tempfile::tempdir().unwrap();
        let more = files.path().join("more.yml");
        std::fs::write(&more, format!("- {}\n", keys(""))).unwrap();
        let gateway = Setup::new().top(&format!("remote_write_files: ['{}']", more.display())).start().await;
        gateway.accept(Protocol::V1, &request([sample_of("up", 1)])).await;
        let error = last_error(&gateway, "407").await;
        assert_eq!(error, "407 Proxy Authentication Required: who are you?");
        std::fs::write(&more, format!("- {}\n", keys("user:p%40ss@"))).unwrap();
        gateway.read_again().await.unwrap();
        takes(&sink, 1).await;
        assert!(lines.lock().unwrap().iter().all(|line| line == "http://mimir.invalid/api/v1/write"));
        let received = sink.requests().remove(0);
        assert_eq!(received.header("host"), Some("mimir.invalid"));
        assert_eq!(received.header("proxy-authorization"), None);
        gateway.settle_and_finish().await;
    });
}

#[test]
fn a_proxy_that_is_down_is_named_and_the_data_waits() {
    bounded(async {
        let sink = receiver().await;
        let vacant = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let keys = format!("proxy_url: 'http://user:planted@{vacant}'");
        let gateway = Setup::new().endpoint_with("a", &sink, &keys).start().await;
        gateway.accept(Protocol::V1, &request([sample_of("up", 1)])).await;
        let error = last_error(&gateway, "is not reached").await;
        let start = format!("cannot connect to {}: the proxy http://{vacant} is not reached: ", sink.address());
        assert!(error.starts_with(&start) && error.contains("refused"), "{error}");
        assert_eq!(sink.stats().requests, 0, "this machine, too, is reached through the proxy");
        gateway.finish().await;
    });
}

/// The signature that a request must have (AWS Signature Version 4), computed from what arrived.
fn expected_signature(received: &Received, secret_key: &str) -> String {
    use aws_lc_rs::{digest, hmac};
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let hash = |bytes: &[u8]| hex(digest::digest(&digest::SHA256, bytes).as_ref());
    let keyed =
        |key: &[u8], text: &str| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec();
    let authorization = received.header("authorization").unwrap();
    let part = |name: &str| authorization.split(name).nth(1).unwrap().split(',').next().unwrap();
    let (credential, names) = (part("Credential="), part("SignedHeaders="));
    let lines: String = names.split(';').map(|name| format!("{name}:{}\n", received.header(name).unwrap())).collect();
    let canonical = format!("POST\n{}\n\n{lines}\n{names}\n{}", received.path, hash(&received.body));
    let scope = credential.split_once('/').unwrap().1;
    let to_sign = format!(
        "AWS4-HMAC-SHA256\n{}\n{scope}\n{}",
        received.header("x-amz-date").unwrap(),
        hash(canonical.as_bytes())
    );
    let key = scope.split('/').fold(format!("AWS4{secret_key}").into_bytes(), |key, part| keyed(&key, part));
    hex(&keyed(&key, &to_sign))
}

#[test]
fn what_is_sent_to_aws_is_what_was_signed() {
    bounded(async {
        let sink = receiver().await;
        let files = tempfile::tempdir().unwrap();
        let secret_key = files.path().join("key");
        std::fs::write(&secret_key, "first\n").unwrap();
        let keys = format!(
            "tenant_header: X-Scope-OrgID, sigv4: {{region: eu-west-1, access_key: AKID, secret_key_file: '{}'}}",
            secret_key.display()
        );
        let gateway = Setup::new().endpoint_with("a", &sink, &keys).start().await;
        for (timestamp, key) in [(1, "first"), (2, "second")] {
            std::fs::write(&secret_key, key).unwrap();
            gateway.accept(Protocol::V1, &request([sample_of("up", timestamp)])).await;
            takes(&sink, u64::try_from(timestamp).unwrap()).await;
            let received = sink.requests().pop().unwrap();
            let authorization = received.header("authorization").unwrap();
            let day = &received.header("x-amz-date").unwrap()[..8];
            let credential = format!("AWS4-HMAC-SHA256 Credential=AKID/{day}/eu-west-1/aps/aws4_request, ");
            assert!(authorization.starts_with(&credential), "{authorization}");
            for name in ["content-encoding", "content-type", "host", "x-amz-date", "x-scope-orgid"] {
                assert!(authorization.contains(name), "{name} is not signed: {authorization}");
            }
            let signature = authorization.rsplit_once("Signature=").unwrap().1;
            assert_eq!(signature, expected_signature(&received, key));
        }
        gateway.settle_and_finish().await;
    });
}

#[test]
fn a_signed_request_is_not_sent_on_to_another_address() {
    bounded(async {
        let (sink, elsewhere) = (receiver().await, receiver().await);
        let location = elsewhere.url();
        sink.answer_with(move |_| Reply::status(307).header("location", &location));
        let keys = "sigv4: {region: eu-west-1, access_key: AKID, secret_key: s}";
        let gateway = Setup::new().endpoint_with("a", &sink, keys).start().await;
        gateway.accept(Protocol::V1, &request([sample_of("up", 1)])).await;
        last_error(&gateway, "a signature (sigv4) is for one address").await;
        assert_eq!(elsewhere.stats().requests, 0);
        gateway.finish().await;
    });
}

/// Answers whoever asks for a token or for keys, and repeats to some what they sent.
async fn issuers() -> Server {
    Server::start(|asked| {
        let sts = "<Credentials><AccessKeyId>ROLE</AccessKeyId><SecretAccessKey>planted-role-key</SecretAccessKey>\
                   <SessionToken>planted-session</SessionToken></Credentials>";
        match asked.line.as_str() {
            "POST /token" => answer(200, r#"{"access_token":"planted-token","expires_in":3600}"#),
            "POST /mirror" => answer(400, format!("{} {}", asked.body, asked.header("authorization"))),
            "POST /sts" => answer(200, sts),
            line if line.contains("/oauth2/v2.0/token") => {
                answer(200, r#"{"access_token":"planted-azure-token","expires_in":3600}"#)
            }
            _ => answer(404, "nobody"),
        }
    })
    .await
}

#[test]
fn w68_what_is_shown_to_endpoints_is_in_no_log_metric_configuration_or_status() {
    bounded(async {
        let issuers = issuers().await;
        let at = |path: &str| format!("http://{}{path}", issuers.address);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "planted-in-a-file\n").unwrap();
        let file = file.path().display();
        let id = "00000000-0000-0000-0000-000000000000";
        let sink = receiver().await;
        let (passed, _) = proxy(sink.address(), format!("Basic {}", base64("u:planted-proxy"))).await;
        let vacant = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let endpoints = [
            format!("oauth2: {{client_id: a, client_secret: planted-secret, token_url: '{}'}}", at("/token")),
            format!("oauth2: {{client_id: a, client_secret_file: '{file}', token_url: '{}'}}", at("/token")),
            format!(
                "oauth2: {{client_id: a, client_secret: planted-mirrored, token_url: '{}', \
                 endpoint_params: {{password: planted-parameter}}}}",
                at("/mirror")
            ),
            "sigv4: {region: r, access_key: AKID, secret_key: planted-aws-key, role_arn: arn}".to_owned(),
            format!("azuread: {{oauth: {{client_id: {id}, client_secret: planted-azure, tenant_id: t}}}}"),
            format!(
                "proxy_url: 'http://u:planted-proxy@{passed}', basic_auth: {{username: u, password: planted-basic}}"
            ),
            format!("proxy_url: 'http://u:planted-lost@{vacant}', bearer_token: planted-bearer"),
        ];
        let mut setup = Setup::new().log_level("trace").started_by(&[
            "env",
            &format!("AWS_ENDPOINT_URL_STS={}", at("/sts")),
            &format!("AZURE_AUTHORITY_HOST={}", at("/")),
        ]);
        for (number, keys) in endpoints.iter().enumerate() {
            setup = setup.endpoint_with(&format!("e{number}"), &sink, keys);
        }
        let program = setup.start_program().await;
        let body = compress(Compression::Snappy, &encode(Protocol::V1, &request([sample_of("up", 1)])));
        let headers = raw_headers(Protocol::V1);
        let headers: Vec<(&str, &str)> = headers.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        let answer = program.sender().send(http::Method::POST, header_map(&headers), body).await.unwrap();
        assert_eq!(answer.status.as_u16(), 204);
        takes(&sink, 5).await;
        let status = eventually("both others say why they cannot", || async {
            let status = program.admin("/api/v1/status").await;
            let told = status.contains("/mirror: 400") && status.contains("is not reached");
            told.then_some(status)
        })
        .await;
        let mut shown: Vec<_> =
            sink.requests().iter().filter_map(|r| Some(r.header("authorization")?.to_owned())).collect();
        shown.sort();
        assert!(shown[0].starts_with("AWS4-HMAC-SHA256 Credential=ROLE/"), "{shown:?}");
        let basic = base64("u:planted-basic");
        let rest = [format!("Basic {basic}"), "Bearer planted-azure-token".to_owned()];
        assert_eq!(shown[1..3], rest);
        assert_eq!(shown[3..], ["Bearer planted-token", "Bearer planted-token"]);
        assert!(sink.requests().iter().any(|received| received.header("x-amz-security-token").is_some()));

        let mut seen = status;
        for page in ["/metrics", "/api/v1/config", "/api/v1/ledger"] {
            seen.push_str(&program.admin(page).await);
        }
        seen.push_str(&program.log());
        for secret in ["planted", &basic, &base64("u:planted-proxy"), &base64("a:planted-secret")] {
            let place = seen.lines().find(|line| line.contains(secret));
            assert_eq!(place, None, "{secret}");
        }
        program.terminate().await;
    });
}

#[test]
fn what_an_endpoint_repeats_of_its_credentials_is_hidden_wherever_its_words_go() {
    bounded(async {
        let sink = receiver().await;
        sink.answer_with(|received| {
            let shown = |name: &str| received.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
            let place = &received.path;
            let words = format!("{:?} {:?} for {place} is wrong", shown("authorization"), shown("x-key"));
            // Of the third the place to go to repeats it.
            if place.contains("elsewhere") {
                return Reply::status(302).header("location", &format!("http://elsewhere.example/{place}"));
            }
            Reply::status(400).body(ReplyBody::Bytes(words.into()))
        });
        let keys = "authorization: {credentials: planted-token}, http_headers: {X-Key: {secrets: [planted-key]}}";
        let in_query = format!("{}?api_key=planted-query", sink.url());
        let gone = format!("{}?to=elsewhere&api_key=planted-query", sink.url());
        let setup = Setup::new().endpoint_with("a", &sink, keys).endpoint_at("b", &in_query).endpoint_at("c", &gone);
        let gateway = setup.start().await;
        gateway.accept(Protocol::V1, &request([sample_of("up", 1)])).await;
        eventually("what the third is told", || async {
            gateway.admin("/api/v1/status").await.contains("api_key=<hidden>, which would lose").then_some(())
        })
        .await;
        eventually("letters of the others", || async { (gateway.dead_letters().await.len() == 2).then_some(()) }).await;
        let letters = serde_json::to_string(&gateway.dead_letters().await).unwrap();
        assert!(letters.contains("?api_key=<hidden>"), "{letters}");
        assert!(letters.contains("Bearer <hidden>") && letters.contains("is wrong"), "{letters}");
        let pages = [letters, gateway.admin("/api/v1/status").await, gateway.admin("/api/v1/ledger").await].concat();
        assert!(!pages.contains("planted"), "{pages}");
        gateway.finish().await;
    });
}

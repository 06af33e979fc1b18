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
use remote_write::Protocol;
use testkit::endpoint::{Endpoint, Received, Reply};
use tokio::net::{TcpListener, TcpStream};

use crate::credentials::base64;
use crate::harness::{Setup, TestGateway, bounded, eventually, receiver, takes};
use crate::message::{request, sample_of};

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

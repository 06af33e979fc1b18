//! One outgoing request: headers, body, answer.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, USER_AGENT};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use outbound::connect::root;
use outbound::credential::{Credential, CredentialError, Credentials, Shown};
use outbound::tls::{TlsError, TlsSource};
use remote_write::{Compression, Protocol, content};
use writegate_config as config;

use super::form::Payload;
use super::outcome::{self, Outcome, Trouble};
use super::secrets::Secrets;
use crate::chain::Chain;
use crate::clock;
use crate::figures::plain;
use crate::ledger::Refusal;

/// What is kept of an endpoint's words; the rest, however long, is not read.
const ANSWER_BYTES: usize = 1024;
/// And how long its words are waited for, once its status is there.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// Sends to one endpoint over kept-alive connections.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    http: legacy::Client<Connector, PayloadBody>,
    connector: Connector,
    credential: Credential,
}

#[cfg(not(test))]
type Connector = outbound::connect::Connector;
/// In a simulation endpoints are not on a network.
#[cfg(test)]
type Connector = crate::simulation::Connector;

/// What came of an attempt.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) outcome: Outcome,
    /// `None` if there was no answer at all.
    pub(super) status: Option<StatusCode>,
    /// The endpoint's own words, or what went wrong.
    pub(super) words: String,
}

impl Answer {
    /// For people: the status and the endpoint's own words, or what went wrong.
    pub(super) fn text(&self) -> String {
        self.status.map_or_else(|| self.words.clone(), |status| format!("{status}: {}", self.words))
    }
}

/// An answer as it came, for who wants to know how an endpoint behaves.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) status: StatusCode,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
    /// The start of the body on one line, without what the request showed.
    pub(crate) words: String,
}

/// How often in a row a request is sent on to another place.
const REDIRECTS: u32 = 5;

/// Why a signed request is not sent on at all.
const SIGNED: &str = "redirected, and a signature (sigv4) is for one address; set the endpoint's url to where the data \
                      should go";

/// Why a request could not even be made.
#[derive(Debug, thiserror::Error)]
enum PrepareError {
    #[error(transparent)]
    Secret(#[from] config::ReadSecret),
    #[error(transparent)]
    Credential(#[from] CredentialError),
    #[error("the value of header {0:?} has characters that no header may have")]
    Header(String),
    #[error("the request is not valid")]
    Request(#[from] http::Error),
}

impl Client {
    pub(crate) fn new(endpoint: &config::Endpoint, credentials: &Credentials) -> Self {
        let tls = TlsSource::new(endpoint.tls.as_ref(), endpoint.enable_http2);
        let connector = Connector::new(tls, endpoint.remote_timeout).through(endpoint.proxy.as_ref());
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(60))
            .build(connector.clone());
        Self { http, connector, credential: credentials.of(&endpoint.auth, endpoint.proxy.as_ref()) }
    }

    /// Sends one batch once, and once more if its token has gone stale. Dropping the future abandons the request: whether
    /// the endpoint stored it is then unknown.
    pub(super) async fn send(
        &self,
        endpoint: &config::Endpoint,
        tenant_id: &str,
        payload: &Payload,
        attempt: u32,
    ) -> Answer {
        let exchanged = self.exchange(endpoint, tenant_id, payload, attempt).await;
        self.tell_of_tls(&endpoint.name);
        match exchanged {
            // The status is the answer: its words may take a little longer.
            Ok((response, sent)) => read(endpoint, response, payload, &sent).await,
            Err(answer) => answer,
        }
    }

    /// Sends one batch as [`Self::send`] does, and gives the answer as it came; why there is none.
    pub(crate) async fn ask(
        &self,
        endpoint: &config::Endpoint,
        tenant_id: &str,
        payload: &Payload,
    ) -> Result<Heard, String> {
        match self.exchange(endpoint, tenant_id, payload, 0).await {
            Ok((response, sent)) => Ok(heard(response, &sent, &endpoint.url).await),
            Err(Answer { status: Some(status), words, .. }) => {
                Ok(Heard { status, version: Version::default(), headers: HeaderMap::new(), words })
            }
            Err(Answer { status: None, words, .. }) => Err(words),
        }
    }

    /// Gets another resource of the endpoint's server, with the endpoint's own headers and credential. Redirects are not
    /// followed.
    pub(crate) async fn get(
        &self,
        endpoint: &config::Endpoint,
        tenant_id: &str,
        path_and_query: &str,
    ) -> Result<Heard, String> {
        let unmade = |error: PrepareError| format!("the request could not be made: {}", Chain(&error));
        let mut request = request(endpoint, tenant_id, path_and_query).map_err(unmade)?;
        *request.method_mut() = Method::GET;
        let shown = self.credential.show(&mut request, &[], clock::now()).await;
        shown.map_err(|error| unmade(error.into()))?;
        self.connector.prepare(&request.uri().clone(), request.headers_mut());
        let sent = request.headers().clone();
        match tokio::time::timeout(endpoint.remote_timeout, self.http.request(request)).await {
            Ok(Ok(response)) => Ok(heard(response, &sent, &endpoint.url).await),
            Ok(Err(error)) => Err(root(&error).to_string()),
            Err(_elapsed) => Err(format!("no answer within {:?}", endpoint.remote_timeout)),
        }
    }

    /// One exchange, and one more if its token has gone stale. Also gives the headers that the one who answered was shown.
    async fn exchange(
        &self,
        endpoint: &config::Endpoint,
        tenant_id: &str,
        payload: &Payload,
        attempt: u32,
    ) -> Result<(Response<Incoming>, HeaderMap), Answer> {
        let exchange = async || self.exchange_once(endpoint, tenant_id, payload, attempt).await;
        let (response, shown, sent) = exchange().await?;
        if response.status() == StatusCode::UNAUTHORIZED && self.credential.refused(&shown) {
            let (response, _, sent) = exchange().await?;
            return Ok((response, sent));
        }
        Ok((response, sent))
    }

    async fn exchange_once(
        &self,
        endpoint: &config::Endpoint,
        tenant_id: &str,
        payload: &Payload,
        attempt: u32,
    ) -> Result<(Response<Incoming>, Shown, HeaderMap), Answer> {
        let unmade =
            |error: PrepareError| no_answer(format!("the request could not be made: {}", Chain(&error)), false);
        let mut request = push_request(endpoint, tenant_id, payload, attempt).map_err(unmade)?;
        let shown = self.credential.show(&mut request, &payload.chunks, clock::now()).await;
        let shown = shown.map_err(|error| unmade(error.into()))?;
        match tokio::time::timeout(endpoint.remote_timeout, self.follow(endpoint, request, payload)).await {
            Ok(Ok((response, sent))) if sent.contains_key(AUTHORIZATION) => Ok((response, shown, sent)),
            Ok(Ok((response, sent))) => Ok((response, Shown::default(), sent)),
            Ok(Err(answer)) => Err(answer),
            Err(_elapsed) => {
                Err(no_answer(format!("no answer within {:?} (remote_timeout)", endpoint.remote_timeout), true))
            }
        }
    }

    /// What is wrong with files of TLS settings, the endpoint's own or its token server's.
    pub(crate) fn tls_error(&self) -> Option<TlsError> {
        self.connector.tls().error().or_else(|| self.credential.tls()?.error())
    }

    /// Writes it to the log, once for each change.
    fn tell_of_tls(&self, endpoint: &str) {
        let sources = [Some(self.connector.tls()), self.credential.tls()];
        for error in sources.into_iter().flatten().filter_map(TlsSource::take_error) {
            tracing::warn!(
                endpoint,
                "the files of tls_config cannot be used; what was read before stays in use: {error}"
            );
        }
    }

    /// Sends, and follows 307 and 308, which keep method and body (RFC 9110 §15.4.8, §15.4.9). Also gives the headers
    /// that the one who answered was shown, and the proxy on the way.
    async fn follow(
        &self,
        endpoint: &config::Endpoint,
        mut request: Request<PayloadBody>,
        payload: &Payload,
    ) -> Result<(Response<Incoming>, HeaderMap), Answer> {
        for hop in 0..=REDIRECTS {
            let uri = request.uri().clone();
            self.connector.prepare(&uri, request.headers_mut());
            let sent = request.headers().clone();
            let response = match self.http.request(request).await {
                Ok(response) => response,
                Err(error) if error.is_connect() => {
                    let authority = uri.authority().map_or("", |authority| authority.as_str());
                    return Err(no_answer(format!("cannot connect to {authority}: {}", root(&error)), false));
                }
                Err(error) => return Err(no_answer(format!("the connection failed: {}", root(&error)), true)),
            };
            let status = response.status();
            if status.is_redirection() {
                if self.credential.is_signature() {
                    return Err(held(status, SIGNED.to_owned()));
                }
                let hide = |why: String| Secrets::of(&sent, &endpoint.url).hide(&why);
                match redirected(endpoint, &uri, sent.clone(), &response, payload).map_err(hide) {
                    Ok(next) if hop < REDIRECTS => {
                        request = next;
                        continue;
                    }
                    Ok(_) => return Err(held(status, format!("redirected more than {REDIRECTS} times"))),
                    Err(why) => return Err(held(status, why)),
                }
            }
            return Ok((response, sent));
        }
        Err(no_answer("redirected without end".to_owned(), false))
    }
}

/// `sent`: the headers of the request.
async fn read(
    endpoint: &config::Endpoint,
    response: Response<Incoming>,
    payload: &Payload,
    sent: &HeaderMap,
) -> Answer {
    let Heard { status, headers, words, .. } = heard(response, sent, &endpoint.url).await;
    let outcome = match status {
        StatusCode::TOO_MANY_REQUESTS if !endpoint.queue.retry_on_http_429 => {
            Outcome::Refused { refusal: Refusal::TooMany, nothing_stored: true }
        }
        status => outcome::classify(payload.protocol, payload.counts, status, &headers, clock::now()),
    };
    Answer { outcome, status: Some(status), words }
}

/// `sent`: the headers of the request.
async fn heard(response: Response<Incoming>, sent: &HeaderMap, url: &config::Url) -> Heard {
    let (head, body) = response.into_parts();
    let mut words = String::new();
    // Who takes what is sent mostly says nothing.
    if !body.is_end_stream() {
        let secrets = Secrets::of(sent, url);
        words = secrets.hide(&first_words(body, ANSWER_BYTES + secrets.longest()).await);
        words.truncate(words.floor_char_boundary(ANSWER_BYTES));
    }
    Heard { status: head.status, version: head.version, headers: head.headers, words }
}

fn no_answer(words: String, sent: bool) -> Answer {
    let outcome = Outcome::Retry { trouble: Trouble::NoAnswer { sent }, after: None };
    Answer { outcome, status: None, words }
}

fn held(status: StatusCode, words: String) -> Answer {
    Answer { outcome: Outcome::Hold, status: Some(status), words }
}

/// The same request for the place a redirect names; elsewhere without the endpoint's credentials.
fn redirected(
    endpoint: &config::Endpoint,
    from: &Uri,
    mut headers: HeaderMap,
    response: &Response<Incoming>,
    payload: &Payload,
) -> Result<Request<PayloadBody>, String> {
    let location = response.headers().get(LOCATION).and_then(|location| location.to_str().ok());
    let location = location.ok_or("redirected without a Location")?;
    let keeps_the_body = matches!(response.status(), StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
    if !keeps_the_body || !endpoint.follow_redirects {
        let why = if keeps_the_body { "follow_redirects is off" } else { "which would lose the request's body" };
        return Err(format!("redirected to {location}, {why}; set the endpoint's url to where the data should go"));
    }
    let to = resolve(from, location).ok_or_else(|| format!("redirected to {location:?}, which is no http address"))?;
    let is_elsewhere = to.authority() != from.authority();
    if from.scheme_str() == Some("https") && to.scheme_str() != Some("https") {
        return Err(format!("redirected to {location}, which has no TLS; that is not followed"));
    }
    if is_this_machine(&to) && !is_this_machine(from) {
        // Its ports trust whoever is on it: among them perhaps the gateway's own.
        return Err(format!("redirected to {location}, which is on the gateway's own machine; that is not followed"));
    }
    if is_elsewhere {
        headers.remove(AUTHORIZATION);
        for header in &endpoint.headers {
            if !matches!(header.value, config::HeaderValue::Text(_)) {
                headers.remove(&header.name);
            }
        }
    }
    let mut request = Request::new(PayloadBody::new(payload.chunks.clone()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = to;
    *request.headers_mut() = headers;
    Ok(request)
}

/// Whether the address says so itself.
fn is_this_machine(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
    let name = host.to_ascii_lowercase();
    name == "localhost"
        || name.ends_with(".localhost")
        || host.parse::<IpAddr>().is_ok_and(|ip| {
            let ip = ip.to_canonical();
            ip.is_loopback() || ip.is_unspecified()
        })
}

/// A `Location` is a URI or, commonly, only a path (RFC 9110 §10.2.2).
fn resolve(from: &Uri, location: &str) -> Option<Uri> {
    if location.starts_with('/') && !location.starts_with("//") {
        let mut parts = from.clone().into_parts();
        parts.path_and_query = Some(location.parse().ok()?);
        return Uri::from_parts(parts).ok();
    }
    location
        .parse::<Uri>()
        .ok()
        .filter(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.authority().is_some())
}

fn push_request(
    endpoint: &config::Endpoint,
    tenant_id: &str,
    payload: &Payload,
    attempt: u32,
) -> Result<Request<PayloadBody>, PrepareError> {
    let mut request = request(endpoint, tenant_id, endpoint.url.path_and_query())?;
    *request.body_mut() = PayloadBody::new(payload.chunks.clone());
    *request.method_mut() = Method::POST;
    protocol_headers(request.headers_mut(), payload, attempt);
    Ok(request)
}

/// Any request to the endpoint's server, with the headers that are configured for it.
fn request(
    endpoint: &config::Endpoint,
    tenant_id: &str,
    path_and_query: &str,
) -> Result<Request<PayloadBody>, PrepareError> {
    let uri = Uri::builder()
        .scheme(endpoint.url.scheme().as_str())
        .authority(endpoint.url.authority())
        .path_and_query(path_and_query)
        .build()?;
    let mut request = Request::new(PayloadBody::new(Vec::new()));
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("writegate/", env!("CARGO_PKG_VERSION"))));
    for header in &endpoint.headers {
        headers.append(name(&header.name)?, configured(header)?);
    }
    if let Some(tenant_header) = &endpoint.tenant_header {
        headers.insert(name(tenant_header)?, value(tenant_header, tenant_id)?);
    }
    Ok(request)
}

/// The four headers of the protocol (remote write 1.0 "Protocol", 2.0 "Required Request Headers"), as the strictest
/// receivers compare them, byte for byte.
fn protocol_headers(headers: &mut HeaderMap, payload: &Payload, attempt: u32) {
    const VERSION: HeaderName = HeaderName::from_static("x-prometheus-remote-write-version");
    let (content_type, version) = match payload.protocol {
        Protocol::V1 => (content::V1_CONTENT_TYPE, content::V1_VERSION),
        Protocol::V2 => (content::V2_CONTENT_TYPE, content::V2_VERSION),
    };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    match payload.compression {
        Compression::Snappy => {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("snappy"));
            headers.insert(VERSION, HeaderValue::from_static(version));
        }
        Compression::Zstd => {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("zstd"));
            let victoria = HeaderName::from_static("x-victoriametrics-remote-write-version");
            headers.insert(victoria, HeaderValue::from_static("1"));
        }
    }
    if attempt > 0 {
        headers.insert(HeaderName::from_static("retry-attempt"), HeaderValue::from(attempt));
    }
}

fn configured(header: &config::Header) -> Result<HeaderValue, PrepareError> {
    match &header.value {
        config::HeaderValue::Text(text) => value(&header.name, text),
        config::HeaderValue::Secret(secret) => sensitive(&header.name, secret.expose()),
        config::HeaderValue::File(path) => {
            let secret = config::SecretSource::File(path.clone()).read()?;
            sensitive(&header.name, secret.expose())
        }
    }
}

fn name(text: &str) -> Result<HeaderName, PrepareError> {
    text.parse().map_err(|_invalid| PrepareError::Header(text.to_owned()))
}

fn value(name: &str, text: &str) -> Result<HeaderValue, PrepareError> {
    HeaderValue::from_str(text).map_err(|_invalid| PrepareError::Header(name.to_owned()))
}

fn sensitive(name: &str, text: &str) -> Result<HeaderValue, PrepareError> {
    let mut value = value(name, text)?;
    value.set_sensitive(true);
    Ok(value)
}

/// The start of an answer's body as one plain line. The status has decided already, so a body that is endless or does not come
/// is cut off, and its connection with it.
async fn first_words(mut body: Incoming, bytes: usize) -> String {
    let mut words: Vec<u8> = Vec::new();
    let deadline = tokio::time::Instant::now() + ANSWER_WITHIN;
    while words.len() < bytes {
        let Ok(frame) = tokio::time::timeout_at(deadline, body.frame()).await else {
            break;
        };
        match frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    words.extend_from_slice(&data[..data.len().min(bytes - words.len())]);
                }
            }
            // The status was read: a body that breaks off changes nothing.
            Some(Err(_)) | None => break,
        }
    }
    plain(&String::from_utf8_lossy(&words)).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A request body of shared pieces with a known length.
#[derive(Debug)]
pub(crate) struct PayloadBody {
    chunks: VecDeque<Bytes>,
    remaining: u64,
}

impl PayloadBody {
    fn new(chunks: Vec<Bytes>) -> Self {
        let remaining = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        Self { chunks: chunks.into(), remaining }
    }
}

impl Body for PayloadBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let chunk = self.chunks.pop_front();
        self.remaining -= chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        Poll::Ready(chunk.map(|chunk| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.chunks.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_this_machine_are_known_however_they_are_written() {
        for url in [
            "http://127.0.0.1:9009/x",
            "http://127.8.9.1",
            "http://localhost/",
            "http://a.LOCALHOST.:1/",
            "http://[::1]:9/",
        ] {
            assert!(is_this_machine(&url.parse().unwrap()), "{url}");
        }
        for url in ["http://0.0.0.0:9009/", "http://[::ffff:127.0.0.1]/"] {
            assert!(is_this_machine(&url.parse().unwrap()), "{url}");
        }
        for url in ["http://10.0.0.1/", "http://mimir:9009/", "http://localhost.example/", "http://[fd00::1]/"] {
            assert!(!is_this_machine(&url.parse().unwrap()), "{url}");
        }
    }
}

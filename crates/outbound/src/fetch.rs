//! One exchange with a server that is not an endpoint: a token, a key set. Bounded in time and size, each on a connection
//! of its own.
//!
//! Redirects are not followed: what is fetched is trusted, or costs a credential, so it comes from where the
//! configuration says or not at all.

use std::time::Duration;

use bytes::Bytes;
use http::header::{AGE, CACHE_CONTROL, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use writegate_config as config;

use crate::connect::{Connector, root};

/// What an exchange may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// From connecting to the last byte of the body.
    pub within: Duration,
    /// The longest body, in bytes.
    pub body: usize,
}

/// Asks servers; clones share the TLS settings.
#[derive(Clone, Debug)]
pub struct Fetcher {
    http: Client<Connector, Full<Bytes>>,
    connector: Connector,
    bounds: Bounds,
}

/// An answer, whatever its status.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// What the server thinks of the request.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// Nothing usable came. Says what was attempted, with secrets in the URL hidden; [`Failure`] says why it failed.
#[derive(Debug, thiserror::Error)]
#[error("{method} {url}")]
pub struct FetchError {
    method: Method,
    url: String,
    /// Why.
    #[source]
    pub failure: Failure,
}

/// Why an exchange failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The URL or a header cannot be sent.
    #[error("the request is not valid: {0}")]
    Request(String),
    /// No connection: nothing was sent.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// The connection ended before the answer did.
    #[error("the connection failed: {0}")]
    Broken(String),
    /// [`Bounds::within`].
    #[error("no whole answer within {0:?}")]
    Late(Duration),
    /// [`Bounds::body`].
    #[error("the answer has more than {0} bytes")]
    TooLarge(usize),
    /// [`Fetched::success`]: another status than 2xx.
    #[error("{status}{}", if words.is_empty() { String::new() } else { format!(": {words}") })]
    Status {
        /// The status.
        status: StatusCode,
        /// The start of the body on one line, or where a redirect leads that is not followed.
        words: String,
    },
}

impl FetchError {
    /// For an answer that a caller cannot use.
    #[must_use]
    pub fn new(method: Method, url: &config::Url, failure: Failure) -> Self {
        Self { method, url: url.redacted(), failure }
    }
}

impl Fetcher {
    /// Asks over connections of this kind.
    #[must_use]
    pub fn new(connector: Connector, bounds: Bounds) -> Self {
        let http = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector.clone());
        Self { http, connector, bounds }
    }

    /// How it connects.
    #[must_use]
    pub fn connector(&self) -> &Connector {
        &self.connector
    }

    /// GET.
    ///
    /// # Errors
    /// If there is no whole answer within the bounds.
    pub async fn get(&self, url: &config::Url, headers: HeaderMap) -> Result<Fetched, FetchError> {
        self.exchange(Method::GET, url, headers, Bytes::new()).await
    }

    /// POST of a form (`application/x-www-form-urlencoded`).
    ///
    /// # Errors
    /// If there is no whole answer within the bounds.
    pub async fn post_form(
        &self,
        url: &config::Url,
        mut headers: HeaderMap,
        form: &[(&str, &str)],
    ) -> Result<Fetched, FetchError> {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        self.exchange(Method::POST, url, headers, encode_form(form).into()).await
    }

    async fn exchange(
        &self,
        method: Method,
        url: &config::Url,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Fetched, FetchError> {
        match request(&method, url, headers, body) {
            Ok(request) => self.send(url, request).await,
            Err(failure) => Err(FetchError::new(method, url, failure)),
        }
    }

    /// Any request that [`request`] made for `url`.
    pub(crate) async fn send(
        &self,
        url: &config::Url,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Fetched, FetchError> {
        let method = request.method().clone();
        self.connector.prepare(&request.uri().clone(), request.headers_mut());
        let answer = async {
            let response = self.http.request(request).await.map_err(|error| {
                let why = root(&error).to_string();
                if error.is_connect() { Failure::Connect(why) } else { Failure::Broken(why) }
            })?;
            read(response, self.bounds.body).await
        };
        let within = self.bounds.within;
        let answer = tokio::time::timeout(within, answer).await.unwrap_or(Err(Failure::Late(within)));
        answer.map_err(|failure| FetchError::new(method, url, failure))
    }
}

/// A request for `url`.
pub(crate) fn request(
    method: &Method,
    url: &config::Url,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Request<Full<Bytes>>, Failure> {
    let uri = Uri::builder()
        .scheme(url.scheme().as_str())
        .authority(url.authority())
        .path_and_query(url.path_and_query())
        .build()
        .map_err(|error| Failure::Request(error.to_string()))?;
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method.clone();
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    Ok(request)
}

async fn read(response: Response<Incoming>, max: usize) -> Result<Fetched, Failure> {
    let (head, body) = response.into_parts();
    let body = Limited::new(body, max).collect().await.map_err(|error| {
        if error.is::<http_body_util::LengthLimitError>() {
            Failure::TooLarge(max)
        } else {
            Failure::Broken(root(error.as_ref()).to_string())
        }
    })?;
    Ok(Fetched { status: head.status, headers: head.headers, body: body.to_bytes() })
}

impl Fetched {
    /// The body, if the status is 2xx.
    ///
    /// # Errors
    /// [`Failure::Status`] otherwise, with what the server says.
    pub fn success(self) -> Result<Bytes, Failure> {
        if self.status.is_success() {
            return Ok(self.body);
        }
        let words = match self.headers.get(LOCATION) {
            Some(location) if self.status.is_redirection() => {
                // A query may hold what is nobody's business.
                let location = String::from_utf8_lossy(location.as_bytes());
                let place = location.split(['?', '#']).next().unwrap_or_default();
                format!("to {place}, which is not followed; configure the address it leads to")
            }
            _ => self.words(),
        };
        Err(Failure::Status { status: self.status, words })
    }

    /// The start of the body on one line, for people.
    #[must_use]
    pub fn words(&self) -> String {
        let start = &self.body[..self.body.len().min(512)];
        String::from_utf8_lossy(start).split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// For how long the answer may be used again without asking (RFC 9111 §5.2.2: `max-age`, less `Age`; zero for
    /// `no-store` and `no-cache`). `None`: the server does not say.
    #[must_use]
    pub fn max_age(&self) -> Option<Duration> {
        let values = self.headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
        let directives: Vec<String> =
            values.flat_map(|value| value.split(',')).map(|one| one.trim().to_ascii_lowercase()).collect();
        if directives.iter().any(|one| one == "no-store" || one == "no-cache" || one.starts_with("no-cache=")) {
            return Some(Duration::ZERO);
        }
        let max_age = directives.iter().find_map(|one| one.strip_prefix("max-age="))?.trim_matches('"').parse().ok()?;
        let age = self.headers.get(AGE).and_then(|value| value.to_str().ok()?.trim().parse().ok()).unwrap_or(0);
        Some(Duration::from_secs(u64::saturating_sub(max_age, age)))
    }
}

/// `application/x-www-form-urlencoded` (WHATWG URL §5.2).
#[must_use]
pub fn encode_form(form: &[(&str, &str)]) -> String {
    let mut out = String::new();
    for (name, value) in form {
        if !out.is_empty() {
            out.push('&');
        }
        encode(&mut out, name);
        out.push('=');
        encode(&mut out, value);
    }
    out
}

fn encode(out: &mut String, text: &str) {
    const HEX: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'*' | b'-' | b'.' | b'_' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            byte => out.extend(['%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]),
        }
    }
}

#[cfg(test)]
mod tests;

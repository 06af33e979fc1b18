//! A client for one URL over HTTP/1.1 connections that stay open, as a remote-write sender has them.
//!
//! Sends what it is given, also what no real sender would, and follows no redirect. Plain HTTP only.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderName, HeaderValue, USER_AGENT};
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use remote_write::{Compression, Protocol};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How much of an answer's body is kept; more is an error.
pub const MAX_ANSWER_BYTES: usize = 16 << 20;

/// How long an exchange may take unless told otherwise: Prometheus' `remote_timeout`.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// Not an `http://host:port/path` URL.
    #[error("use url {0:?}: only http with a host is known here")]
    Url(String),
    /// The TCP connection was refused or failed.
    #[error("connect to {authority}")]
    Connect {
        /// Host and port.
        authority: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The connection broke, or what came was not HTTP.
    #[error("exchange with {authority}")]
    Exchange {
        /// Host and port.
        authority: String,
        /// What hyper said.
        #[source]
        source: hyper::Error,
    },
    /// Nothing came in time.
    #[error("get an answer within {0:?}")]
    Timeout(Duration),
    /// The answer's body is longer than [`MAX_ANSWER_BYTES`].
    #[error("keep an answer of more than {MAX_ANSWER_BYTES} bytes")]
    TooLarge,
}

/// A complete answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// From before the request was written until the body was complete.
    pub latency: Duration,
}

impl Answer {
    /// The body as text; what is not UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header as text, if it is there and text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// `Retry-After` in seconds; the date form is not read.
    pub fn retry_after(&self) -> Option<Duration> {
        self.header("retry-after")?.parse().ok().map(Duration::from_secs)
    }
}

/// A client with a stack of idle connections; clones share it.
#[derive(Clone, Debug)]
pub struct Sender {
    target: Arc<Target>,
    headers: HeaderMap,
    timeout: Duration,
    idle: Arc<Mutex<Vec<Connection>>>,
}

#[derive(Debug)]
struct Target {
    authority: String,
    address: String,
    path: String,
}

impl Sender {
    /// A client for `http://host[:port][/path][?query]`. Nothing is connected yet.
    pub fn new(url: &str) -> Result<Self, SendError> {
        let bad = || SendError::Url(url.to_owned());
        let Ok(uri) = url.parse::<Uri>() else { return Err(bad()) };
        let (Some("http"), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return Err(bad()) };
        let target = Target {
            authority: authority.to_string(),
            address: format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(80)),
            path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
        };
        Ok(Self {
            target: Arc::new(target),
            headers: HeaderMap::new(),
            timeout: DEFAULT_TIMEOUT,
            idle: Arc::new(Mutex::new(Vec::new())),
        })
    }

    /// Adds a header to every request: credentials, a tenant. It wins over the one that would be there.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    /// Limits each exchange to `timeout`.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Pushes a compressed remote-write body with the headers its protocol asks for.
    pub async fn push(&self, protocol: Protocol, compression: Compression, body: Bytes) -> Result<Answer, SendError> {
        self.send(Method::POST, push_headers(protocol, compression), body).await
    }

    /// Asks for the URL.
    pub async fn get(&self) -> Result<Answer, SendError> {
        self.send(Method::GET, HeaderMap::new(), Bytes::new()).await
    }

    /// Sends exactly these headers (with `Host`, `Content-Length` and the sender's own) and this body.
    ///
    /// An idle connection is used when there is one; one that the peer closed meanwhile is replaced, which may send
    /// the request a second time only if the peer cannot have seen the first. Dropping the future closes the
    /// connection.
    pub async fn send(&self, method: Method, headers: HeaderMap, body: Bytes) -> Result<Answer, SendError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let answer = self.exchange(&mut connection, method, headers, body).await?;
        if connection.is_open() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
        Ok(answer)
    }

    /// A connection of its own, for a caller that wants to choose which request goes where.
    pub async fn connect(&self) -> Result<Connection, SendError> {
        let authority = &self.target.authority;
        let connecting = TcpStream::connect(&self.target.address);
        let Ok(stream) = timeout(self.timeout, connecting).await else { return Err(SendError::Timeout(self.timeout)) };
        let stream = stream
            .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
            .map_err(|source| SendError::Connect { authority: authority.clone(), source })?;
        let (requests, driver) = handshake(TokioIo::new(stream))
            .await
            .map_err(|source| SendError::Exchange { authority: authority.clone(), source })?;
        // The driver's error is also the exchange's, which reports it.
        let driver = tokio::spawn(async move { driver.await.is_ok() });
        Ok(Connection { requests, used: false, driver })
    }

    /// Sends over that connection, or over a new one put in its place if the peer has closed it since its last answer.
    pub async fn exchange(
        &self,
        connection: &mut Connection,
        method: Method,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Answer, SendError> {
        let started = Instant::now();
        let work = async {
            let mut request = self.request(method, headers, body);
            loop {
                let unsent = match connection.requests.ready().await {
                    Ok(()) => match connection.requests.try_send_request(request).await {
                        Ok(response) => {
                            connection.used = true;
                            return self.collect(response, started).await;
                        }
                        // hyper hands the request back when not a byte of it was written.
                        Err(mut error) => (error.take_message(), error.into_error()),
                    },
                    Err(error) => (Some(request), error),
                };
                match unsent {
                    (Some(unsent), _) if connection.used => request = unsent,
                    (_, error) => return Err(self.broken(error)),
                }
                *connection = self.connect().await?;
            }
        };
        match timeout(self.timeout, work).await {
            Ok(answer) => answer,
            Err(_) => {
                // Half an exchange is still on it.
                connection.driver.abort();
                Err(SendError::Timeout(self.timeout))
            }
        }
    }

    fn request(&self, method: Method, headers: HeaderMap, body: Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        if let Ok(path) = self.target.path.parse() {
            *request.uri_mut() = path;
        }
        *request.headers_mut() = headers;
        if let Ok(host) = HeaderValue::from_str(&self.target.authority) {
            request.headers_mut().entry(HOST).or_insert(host);
        }
        for name in self.headers.keys() {
            request.headers_mut().remove(name);
        }
        request.headers_mut().extend(self.headers.clone());
        request
    }

    async fn collect(
        &self,
        response: http::Response<hyper::body::Incoming>,
        started: Instant,
    ) -> Result<Answer, SendError> {
        let (head, mut body) = response.into_parts();
        let mut collected = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|source| self.broken(source))?;
            let Ok(data) = frame.into_data() else { continue };
            if collected.len() + data.len() > MAX_ANSWER_BYTES {
                return Err(SendError::TooLarge);
            }
            collected.extend_from_slice(&data);
        }
        Ok(Answer { status: head.status, headers: head.headers, body: collected.freeze(), latency: started.elapsed() })
    }

    fn broken(&self, source: hyper::Error) -> SendError {
        SendError::Exchange { authority: self.target.authority.clone(), source }
    }
}

/// One open connection. Dropping it closes it.
#[derive(Debug)]
pub struct Connection {
    requests: SendRequest<Full<Bytes>>,
    /// Whether an answer came over it: only then is its end an idle peer's good right.
    used: bool,
    driver: JoinHandle<bool>,
}

impl Connection {
    fn is_open(&self) -> bool {
        !self.requests.is_closed() && !self.driver.is_finished()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// The headers of a push: remote write 1.0 and 2.0 "Protocol", and vmagent's for zstd.
pub fn push_headers(protocol: Protocol, compression: Compression) -> HeaderMap {
    let (content_type, version) = match protocol {
        Protocol::V1 => ("application/x-protobuf", "0.1.0"),
        Protocol::V2 => ("application/x-protobuf;proto=io.prometheus.write.v2.Request", "2.0.0"),
    };
    let (encoding, version_name, version, agent) = match compression {
        Compression::Snappy => ("snappy", "x-prometheus-remote-write-version", version, "Prometheus/3.5.3"),
        Compression::Zstd => ("zstd", "x-victoriametrics-remote-write-version", "1", "vmagent"),
    };
    HeaderMap::from_iter([
        (CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (CONTENT_ENCODING, HeaderValue::from_static(encoding)),
        (HeaderName::from_static(version_name), HeaderValue::from_static(version)),
        (USER_AGENT, HeaderValue::from_static(agent)),
    ])
}

#[cfg(test)]
mod tests;

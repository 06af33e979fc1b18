//! Which proxy stands between here and a server, and the way through it: `CONNECT` for `https` (RFC 9110 §9.3.6); requests
//! for `http` name their server in full (RFC 9112 §3.2.2).

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{HOST, HeaderMap, HeaderName, PROXY_AUTHORIZATION};
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::rt::{Read, Write};
use hyper::upgrade::Upgraded;
use writegate_config as config;

use crate::connect::root;
use crate::no_proxy::NoProxy;

/// The proxies of one client.
#[derive(Clone, Debug)]
pub(crate) struct Proxies {
    /// For `http` and for `https`; `Err`: the environment names something else.
    http: Option<Result<Proxy, String>>,
    https: Option<Result<Proxy, String>>,
    /// `None`: everything goes through the proxy, this machine included.
    no_proxy: Option<NoProxy>,
    connect_headers: HeaderMap,
}

/// One proxy.
#[derive(Clone, Debug)]
pub(crate) struct Proxy {
    url: config::Url,
    authorization: Option<HeaderValue>,
}

impl Proxies {
    /// `variable` reads the environment, if that is what names them.
    pub(crate) fn new(proxy: &config::Proxy, variable: impl Fn(&str) -> Option<String>) -> Self {
        let mut connect_headers = HeaderMap::new();
        for (name, value) in &proxy.connect_headers {
            // Checked when the configuration was read.
            if let (Ok(name), Ok(mut value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value.expose())) {
                value.set_sensitive(true);
                connect_headers.append(name, value);
            }
        }
        match &proxy.choice {
            config::ProxyChoice::Url { url, user, no_proxy } => {
                let proxy = Some(Ok(Proxy::new(url.clone(), user.as_ref())));
                let is_written = !no_proxy.is_empty();
                let no_proxy = is_written.then(|| NoProxy::parse(no_proxy.iter().map(String::as_str)));
                Self { http: proxy.clone(), https: proxy, no_proxy, connect_headers }
            }
            config::ProxyChoice::Environment => Self::of_environment(variable, connect_headers),
        }
    }

    /// As Go programs read it: either spelling, upper case first.
    fn of_environment(variable: impl Fn(&str) -> Option<String>, connect_headers: HeaderMap) -> Self {
        let either = |name: &str| {
            let names = [name.to_owned(), name.to_ascii_lowercase()];
            names.iter().find_map(|name| variable(name).filter(|value| !value.is_empty()))
        };
        let proxy = |name: &str| {
            let text = either(name)?;
            let text = if text.contains("://") { text } else { format!("http://{text}") };
            let parsed = config::Url::parse_with_user(&text);
            Some(parsed.map(|(url, user)| Proxy::new(url, user.as_ref())).map_err(|error| format!("{name}: {error}")))
        };
        let no_proxy = NoProxy::parse(either("NO_PROXY").unwrap_or_default().split(','));
        Self { http: proxy("HTTP_PROXY"), https: proxy("HTTPS_PROXY"), no_proxy: Some(no_proxy), connect_headers }
    }

    /// The proxy on the way to `uri`.
    pub(crate) fn on_the_way_to(&self, uri: &Uri) -> Result<Option<&Proxy>, &str> {
        let is_https = uri.scheme_str() == Some("https");
        let proxy = if is_https { &self.https } else { &self.http };
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        match proxy {
            None => Ok(None),
            Some(_) if self.no_proxy.as_ref().is_some_and(|direct| direct.covers(host, port(uri))) => Ok(None),
            Some(Ok(proxy)) => Ok(Some(proxy)),
            Some(Err(why)) => Err(why),
        }
    }

    /// The credential that a request for `uri` shows the proxy: with `https` it was shown by `CONNECT`.
    pub(crate) fn authorization(&self, uri: &Uri) -> Option<HeaderValue> {
        if uri.scheme_str() == Some("https") {
            return None;
        }
        self.on_the_way_to(uri).ok().flatten()?.authorization.clone()
    }

    /// Asks the proxy at the other end of `stream` for a connection to `uri`.
    pub(crate) async fn tunnel<S>(&self, proxy: &Proxy, uri: &Uri, stream: S) -> io::Result<Upgraded>
    where
        S: Read + Write + Unpin + Send + 'static,
    {
        let broken = |error: hyper::Error| io::Error::other(format!("{proxy} broke off: {}", root(&error)));
        let target = format!("{}:{}", uri.host().unwrap_or_default(), port(uri));
        let request = self.connect(proxy, &target).map_err(|error| io::Error::other(error.to_string()))?;
        let (mut sender, connection) = http1::handshake(stream).await.map_err(broken)?;
        let connection = connection.with_upgrades();
        let asking = async {
            let response = sender.send_request(request).await.map_err(broken)?;
            if !response.status().is_success() {
                return Err(io::Error::other(refusal(proxy, &target, response.status())));
            }
            hyper::upgrade::on(response).await.map_err(broken)
        };
        let (mut asking, mut connection) = (std::pin::pin!(asking), std::pin::pin!(connection));
        tokio::select! {
            tunnel = &mut asking => tunnel,
            // It says what it has to say to `asking`.
            _ended = &mut connection => asking.await,
        }
    }

    fn connect(&self, proxy: &Proxy, target: &str) -> Result<Request<Empty<Bytes>>, http::Error> {
        let mut request = Request::new(Empty::new());
        *request.method_mut() = Method::CONNECT;
        *request.uri_mut() = Uri::builder().authority(target).build()?;
        let headers = request.headers_mut();
        headers.clone_from(&self.connect_headers);
        headers.insert(HOST, HeaderValue::from_str(target)?);
        if let Some(authorization) = &proxy.authorization {
            headers.insert(PROXY_AUTHORIZATION, authorization.clone());
        }
        Ok(request)
    }
}

fn refusal(proxy: &Proxy, target: &str, status: StatusCode) -> String {
    let hint = match (status, &proxy.authorization) {
        (StatusCode::PROXY_AUTHENTICATION_REQUIRED, None) => {
            "; it wants a user and a password (proxy_url: http://user:password@host)"
        }
        (StatusCode::PROXY_AUTHENTICATION_REQUIRED, Some(_)) => "; it does not take this user and password (proxy_url)",
        _ => "",
    };
    format!("{proxy} does not connect to {target}: {status}{hint}")
}

/// The port in `uri`, or its scheme's.
fn port(uri: &Uri) -> u16 {
    uri.port_u16().unwrap_or_else(|| if uri.scheme_str() == Some("https") { 443 } else { 80 })
}

impl Proxy {
    fn new(url: config::Url, user: Option<&(String, config::Secret)>) -> Self {
        let authorization = user.and_then(|(user, password)| {
            let pair = STANDARD.encode(format!("{user}:{}", password.expose()));
            let mut value = HeaderValue::from_str(&format!("Basic {pair}")).ok()?;
            value.set_sensitive(true);
            Some(value)
        });
        Self { url, authorization }
    }

    pub(crate) fn host(&self) -> &str {
        self.url.host()
    }

    pub(crate) fn is_https(&self) -> bool {
        self.url.scheme() == config::Scheme::Https
    }

    /// Where it is.
    pub(crate) fn uri(&self) -> Result<Uri, http::Error> {
        Uri::builder().scheme(self.url.scheme().as_str()).authority(self.url.authority()).path_and_query("/").build()
    }
}

/// For people: without its user.
impl std::fmt::Display for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the proxy {}://{}", self.url.scheme().as_str(), self.url.authority())
    }
}

#[cfg(test)]
mod tests;

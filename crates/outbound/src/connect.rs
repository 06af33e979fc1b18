//! Connects to servers: TCP, through a proxy if there is one, and TLS over it where the URL says `https`. Stands where
//! hyper-util's `HttpConnector` does.
//!
//! A connection that fails says what was attempted; a server that was not believed, or does not believe this client, says
//! which of both; a proxy is named.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use http::header::{HeaderMap, PROXY_AUTHORIZATION};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::upgrade::Upgraded;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower_service::Service;
use writegate_config as config;

use crate::proxy::{Proxies, Proxy};
use crate::tls::{TlsError, TlsSource, explain, server_name};

/// The protocol that a server chooses for HTTP/2 (RFC 9113 §3.1).
const H2: &[u8] = b"h2";

/// Connects; clones share the TLS settings.
#[derive(Clone, Debug)]
pub struct Connector {
    tcp: HttpConnector,
    tls: Arc<TlsSource>,
    proxies: Option<Arc<Proxies>>,
    within: Duration,
}

impl Connector {
    /// With these settings for `https`; `within`: for TCP, and again for each handshake.
    #[must_use]
    pub fn new(tls: TlsSource, within: Duration) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(within));
        // The scheme is looked at here.
        tcp.enforce_http(false);
        Self { tcp, tls: Arc::new(tls), proxies: None, within }
    }

    /// The same, through a proxy. Reads the environment if that is to name it.
    #[must_use]
    pub fn through(mut self, proxy: Option<&config::Proxy>) -> Self {
        self.proxies = proxy.map(|proxy| Arc::new(Proxies::new(proxy, |name| std::env::var(name).ok())));
        self
    }

    /// Puts into a request's headers what a proxy on the way to `uri` wants to see there, and nothing for any other.
    pub fn prepare(&self, uri: &Uri, headers: &mut HeaderMap) {
        match self.proxies.as_ref().and_then(|proxies| proxies.authorization(uri)) {
            Some(authorization) => drop(headers.insert(PROXY_AUTHORIZATION, authorization)),
            None => drop(headers.remove(PROXY_AUTHORIZATION)),
        }
    }

    /// The TLS settings.
    #[must_use]
    pub fn tls(&self) -> &TlsSource {
        &self.tls
    }

    async fn direct(mut self, uri: Uri) -> io::Result<Stream> {
        let tcp = self.tcp.call(uri.clone()).await.map_err(|error| io::Error::other(root(&error).to_string()))?;
        if uri.scheme_str() != Some("https") {
            return Ok(Stream { transport: Transport::Plain(tcp), is_proxied: false });
        }
        let name = self.tls.server_name(uri.host().unwrap_or_default()).map_err(|error| in_words(&error))?;
        let stream = self.handshake(self.current()?, name, tcp.into_inner()).await?;
        Ok(Stream { transport: Transport::Tls(Box::new(TokioIo::new(stream))), is_proxied: false })
    }

    async fn by_proxy(mut self, proxies: &Proxies, proxy: &Proxy, uri: Uri) -> io::Result<Stream> {
        let not_reached = |why: String| io::Error::other(format!("{proxy} is not reached: {why}"));
        let at = proxy.uri().map_err(|error| not_reached(error.to_string()))?;
        let tcp = self.tcp.call(at).await.map_err(|error| not_reached(root(&error).to_string()))?;
        let transport = if proxy.is_https() {
            let name = server_name(proxy.host()).map_err(|error| in_words(&error))?;
            let config = http1_only(self.current()?.as_ref());
            let stream = self.handshake(config, name, tcp.into_inner()).await;
            Transport::Tls(Box::new(TokioIo::new(stream.map_err(|error| not_reached(error.to_string()))?)))
        } else {
            Transport::Plain(tcp)
        };
        if uri.scheme_str() != Some("https") {
            return Ok(Stream { transport, is_proxied: true });
        }
        let tunnel = tokio::time::timeout(self.within, proxies.tunnel(proxy, &uri, transport)).await;
        let tunnel = tunnel
            .unwrap_or_else(|_elapsed| Err(not_reached(format!("no answer to CONNECT within {:?}", self.within))))?;
        let name = self.tls.server_name(uri.host().unwrap_or_default()).map_err(|error| in_words(&error))?;
        let stream = self.handshake(self.current()?, name, TokioIo::new(tunnel)).await?;
        Ok(Stream { transport: Transport::Tunnel(Box::new(TokioIo::new(stream))), is_proxied: false })
    }

    fn current(&self) -> io::Result<Arc<ClientConfig>> {
        self.tls.current().map_err(|error| in_words(&error))
    }

    async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        stream: S,
    ) -> io::Result<TlsStream<S>> {
        let within = self.within;
        match tokio::time::timeout(within, TlsConnector::from(config).connect(name, stream)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => {
                self.tls.distrust();
                let why = explain(&error).unwrap_or_else(|| error.to_string());
                Err(io::Error::other(format!("TLS handshake: {why}")))
            }
            Err(_elapsed) => Err(io::Error::other(format!("the TLS handshake took longer than {within:?}"))),
        }
    }
}

/// What a proxy itself speaks.
fn http1_only(config: &ClientConfig) -> Arc<ClientConfig> {
    let mut config = config.clone();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

fn in_words(error: &TlsError) -> io::Error {
    io::Error::other(error.to_string())
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tcp.poll_ready(cx).map_err(|error| io::Error::other(root(&error).to_string()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        // The one that was polled makes the connection.
        let fresh = self.clone();
        let connector = std::mem::replace(self, fresh);
        Box::pin(async move {
            let Some(proxies) = connector.proxies.clone() else { return connector.direct(uri).await };
            match proxies.on_the_way_to(&uri) {
                Ok(None) => connector.direct(uri).await,
                Ok(Some(proxy)) => connector.by_proxy(&proxies, proxy, uri).await,
                Err(why) => Err(io::Error::other(format!("the environment names no usable proxy: {why}"))),
            }
        })
    }
}

/// The innermost cause: those around it only say that something failed.
#[must_use]
pub fn root<'e>(mut error: &'e (dyn Error + 'static)) -> &'e (dyn Error + 'static) {
    while let Some(cause) = error.source() {
        error = cause;
    }
    error
}

/// One connection.
#[derive(Debug)]
pub struct Stream {
    transport: Transport,
    /// Requests on it name their server in full.
    is_proxied: bool,
}

#[derive(Debug)]
enum Transport {
    Plain(TokioIo<TcpStream>),
    Tls(Box<TokioIo<TlsStream<TcpStream>>>),
    /// TLS through a proxy.
    Tunnel(Box<TokioIo<TlsStream<TokioIo<Upgraded>>>>),
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        let (connected, protocol) = match &self.transport {
            Transport::Plain(stream) => (stream.connected(), None),
            Transport::Tls(stream) => {
                let (tcp, tls) = stream.inner().get_ref();
                (tcp.connected(), tls.alpn_protocol())
            }
            Transport::Tunnel(stream) => (Connected::new(), stream.inner().get_ref().1.alpn_protocol()),
        };
        let connected = connected.proxy(self.is_proxied);
        if protocol == Some(H2) { connected.negotiated_h2() } else { connected }
    }
}

impl Read for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_read(cx, buffer)
    }
}

impl Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write_vectored(cx, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }
}

/// With TLS 1.3 a server refuses a client's certificate only after the handshake.
fn explained(polled: Poll<io::Result<()>>) -> Poll<io::Result<()>> {
    polled.map_err(|error| match explain(&error) {
        Some(words) => io::Error::new(error.kind(), words),
        None => error,
    })
}

impl Read for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => explained(Pin::new(stream).poll_read(cx, buffer)),
            Self::Tunnel(stream) => explained(Pin::new(stream).poll_read(cx, buffer)),
        }
    }
}

impl Write for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tunnel(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tunnel(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tunnel(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, buffers),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, buffers),
            Self::Tunnel(stream) => Pin::new(stream).poll_write_vectored(cx, buffers),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
            Self::Tunnel(stream) => stream.is_write_vectored(),
        }
    }
}

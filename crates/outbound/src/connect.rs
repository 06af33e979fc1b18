//! Connects to servers: TCP, and TLS over it where the URL says `https`. Stands where hyper-util's `HttpConnector` does.
//!
//! A connection that fails says what was attempted; a server that was not believed, or does not believe this client, says
//! which of both.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower_service::Service;

use crate::tls::{TlsSource, explain};

/// The protocol that a server chooses for HTTP/2 (RFC 9113 §3.1).
const H2: &[u8] = b"h2";

/// Connects; clones share the TLS settings.
#[derive(Clone, Debug)]
pub struct Connector {
    tcp: HttpConnector,
    tls: Arc<TlsSource>,
    within: Duration,
}

impl Connector {
    /// With these settings for `https`; `within`: for TCP, and again for the handshake.
    #[must_use]
    pub fn new(tls: TlsSource, within: Duration) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(within));
        // The scheme is looked at here.
        tcp.enforce_http(false);
        Self { tcp, tls: Arc::new(tls), within }
    }
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tcp.poll_ready(cx).map_err(|error| io::Error::other(root(&error).to_string()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.tcp.call(uri.clone());
        let (tls, within) = (Arc::clone(&self.tls), self.within);
        Box::pin(async move {
            let tcp = connecting.await.map_err(|error| io::Error::other(root(&error).to_string()))?;
            if uri.scheme_str() != Some("https") {
                return Ok(Stream::Plain(tcp));
            }
            let config = tls.current().map_err(|error| io::Error::other(error.to_string()))?;
            let name = tls.server_name(uri.host().unwrap_or_default());
            let name = name.map_err(|error| io::Error::other(error.to_string()))?;
            let handshake = TlsConnector::from(config).connect(name, tcp.into_inner());
            match tokio::time::timeout(within, handshake).await {
                Ok(Ok(stream)) => Ok(Stream::Tls(Box::new(TokioIo::new(stream)))),
                Ok(Err(error)) => {
                    tls.distrust();
                    Err(io::Error::other(format!("TLS handshake: {}", in_words(&error))))
                }
                Err(_elapsed) => Err(io::Error::other(format!("the TLS handshake took longer than {within:?}"))),
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

fn in_words(error: &io::Error) -> String {
    explain(error).unwrap_or_else(|| error.to_string())
}

/// One connection.
#[derive(Debug)]
pub enum Stream {
    /// TCP.
    Plain(TokioIo<TcpStream>),
    /// TLS over TCP.
    Tls(Box<TokioIo<TlsStream<TcpStream>>>),
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        match self {
            Self::Plain(stream) => stream.connected(),
            Self::Tls(stream) => {
                let (tcp, tls) = stream.inner().get_ref();
                if tls.alpn_protocol() == Some(H2) { tcp.connected().negotiated_h2() } else { tcp.connected() }
            }
        }
    }
}

impl Read for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            // With TLS 1.3 a server refuses a client's certificate only after the handshake.
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer).map_err(|error| match explain(&error) {
                Some(words) => io::Error::new(error.kind(), words),
                None => error,
            }),
        }
    }
}

impl Write for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
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
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }
}

//! The network between the gateway and its endpoints: byte streams in memory, in place of TCP.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderMap, Uri};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use outbound::tls::TlsSource;
use tokio::io::DuplexStream;
use tower_service::Service;
use writegate_config::Proxy;

/// Connects to the receivers of the simulation. Stands where `outbound`'s does.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    tls: Arc<TlsSource>,
    within: Duration,
}

impl Connector {
    pub(crate) fn new(tls: TlsSource, within: Duration) -> Self {
        Self { tls: Arc::new(tls), within }
    }

    /// There are no proxies here.
    pub(crate) fn through(self, _proxy: Option<&Proxy>) -> Self {
        self
    }

    /// See [`Self::through`].
    #[expect(clippy::unused_self, reason = "stands for another")]
    pub(crate) fn prepare(&self, _uri: &Uri, _headers: &mut HeaderMap) {}

    pub(crate) fn tls(&self) -> &TlsSource {
        &self.tls
    }
}

impl Service<Uri> for Connector {
    type Response = Wire;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Wire>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let within = self.within;
        Box::pin(async move {
            let authority = uri.authority().map_or("", |authority| authority.as_str());
            let Some(receiver) = super::listener(authority) else {
                return Err(io::ErrorKind::ConnectionRefused.into());
            };
            let connected = tokio::time::timeout(within, receiver.connect()).await;
            let stream = connected.map_err(|_elapsed| io::Error::from(io::ErrorKind::TimedOut))??;
            Ok(Wire(TokioIo::new(stream)))
        })
    }
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Wire(TokioIo<DuplexStream>);

impl Connection for Wire {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl Write for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

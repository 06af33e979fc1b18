//! The ingest listeners: accept, serve, and let go politely. What a push is, is in `push.rs`.

mod answer;
mod body;
mod dialect;
mod examine;
mod grpc;
mod otlp;
mod push;
mod refusal;
mod route;
mod tenancy;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::StatusCode;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use writegate_config::{Config, Listener};

pub(crate) use self::push::Gate;
#[cfg(test)]
pub(crate) use self::push::push_in_simulation;
pub(crate) use self::refusal::Reason;
use crate::auth::{Authentication, Peer};
use crate::connection::{Serving, Watched};
use crate::counters::{DISK_SECONDS, Histogram};
use crate::tenant::Tenants;
use crate::throttle::Throttle;
use crate::tls::{self, Authorities, AuthorityReader, Offered, TlsError};

/// The most that is read ahead from an HTTP/1.1 connection, and so the longest header; a longer one gets 431. A connection
/// that waits keeps as much: by default it would be 280 KiB after a large body.
const READ_AT_ONCE: usize = 16 * 1024;

/// What all pushes together did since the start of the process.
#[derive(Debug)]
pub(crate) struct PushStats {
    /// By status code: those this gateway answers.
    answers: [(u16, AtomicU64); 12],
    refused: [AtomicU64; Reason::ALL.len()],
    /// From the first byte of the header to the answer, of accepted pushes.
    pub(crate) seconds: Histogram,
    pub(crate) connections: AtomicUsize,
    /// Connections that could not be accepted: no file descriptor was left, most likely.
    pub(crate) accept_failures: AtomicU64,
    /// Connections that were closed at once: from outside `allow`, and beyond `max_connections_per_ip`.
    pub(crate) not_allowed: AtomicU64,
    pub(crate) too_many_of_one: AtomicU64,
    /// TLS handshakes that did not come to their end.
    pub(crate) handshake_failures: AtomicU64,
}

impl Default for PushStats {
    fn default() -> Self {
        let answers =
            [200, 204, 400, 401, 403, 404, 405, 409, 413, 415, 429, 503].map(|code| (code, AtomicU64::new(0)));
        Self {
            answers,
            refused: Default::default(),
            seconds: Histogram::new(DISK_SECONDS),
            connections: AtomicUsize::new(0),
            accept_failures: AtomicU64::new(0),
            not_allowed: AtomicU64::new(0),
            too_many_of_one: AtomicU64::new(0),
            handshake_failures: AtomicU64::new(0),
        }
    }
}

impl PushStats {
    fn answered(&self, status: StatusCode, elapsed: Duration) {
        if status.is_success() {
            self.seconds.observe(elapsed);
        }
        if let Some((_, count)) = self.answers.iter().find(|(code, _)| *code == status.as_u16()) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn refused(&self, reason: Reason) {
        self.refused[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Requests by status code.
    pub(crate) fn answers(&self) -> impl Iterator<Item = (u16, u64)> + '_ {
        self.answers.iter().map(|(code, count)| (*code, count.load(Ordering::Relaxed)))
    }

    /// Requests that were refused, whole or in part, by reason.
    pub(crate) fn refusals(&self) -> impl Iterator<Item = (Reason, u64)> + '_ {
        Reason::ALL.into_iter().map(|reason| (reason, self.refused[reason as usize].load(Ordering::Relaxed)))
    }
}

impl Gate {
    /// A gate for these tenants, with the limits and the options of a configuration.
    pub(crate) fn new(
        tenants: Arc<Tenants>,
        authentication: Arc<ArcSwap<Authentication>>,
        config: &Config,
        stats: Arc<PushStats>,
        closing: Arc<AtomicBool>,
    ) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            tenants,
            authentication,
            limits: config.limits.clone(),
            otlp: Arc::new(otlp::options(&config.otlp)),
            deltas: otlp::deltas(&config.otlp),
            decoders: Arc::new(Semaphore::new(cores)),
            closing,
            stats,
        }
    }
}

/// A listener as configured, with what its files hold.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) listener: Listener,
    /// `None`: plain HTTP.
    pub(crate) tls: Option<Arc<Offered>>,
    /// Of client certificates, if the listener names some.
    pub(crate) authorities: Option<Authorities>,
}

impl Settings {
    /// Reads what the listener names.
    ///
    /// # Errors
    /// When a certificate, key or list cannot be read or used.
    pub(crate) fn load(listener: &Listener) -> Result<Self, TlsError> {
        let tls = listener.tls.as_ref();
        let config = tls.map(|tls| tls::offer(tls, &[b"h2", b"http/1.1"])).transpose()?;
        let authorities = tls.and_then(|tls| {
            let ca_file = tls.client_ca_file.as_ref()?;
            Some(AuthorityReader::new(tls.crl_file.as_deref()).and_then(|mut reader| reader.load(ca_file)))
        });
        let authorities = authorities.transpose()?;
        Ok(Self { listener: listener.clone(), tls: config, authorities })
    }
}

/// One listening address. Its settings can change while it serves.
#[derive(Debug)]
pub(crate) struct Ingest {
    pub(crate) settings: ArcSwap<Settings>,
    gate: Arc<ArcSwap<Gate>>,
    stats: Arc<PushStats>,
    open: AtomicUsize,
    open_by_ip: Mutex<HashMap<IpAddr, u32>>,
    closed_one: Notify,
    complaints: Mutex<Throttle>,
}

impl Ingest {
    pub(crate) fn new(settings: Settings, gate: Arc<ArcSwap<Gate>>, stats: Arc<PushStats>) -> Self {
        Self {
            settings: ArcSwap::from_pointee(settings),
            gate,
            stats,
            open: AtomicUsize::new(0),
            open_by_ip: Mutex::default(),
            closed_one: Notify::new(),
            complaints: Mutex::default(),
        }
    }

    /// Accepts connections until `closing`; then lets each finish the request it serves.
    pub(crate) async fn run(self: Arc<Self>, socket: TcpListener, closing: CancellationToken) {
        let (connections, mut complaints) = (TaskTracker::new(), Throttle::default());
        loop {
            let accepted = tokio::select! {
                () = closing.cancelled() => break,
                accepted = self.accept(&socket) => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let guard = Open::new(&self, peer);
                    let closing = closing.clone();
                    connections.spawn(async move { guard.ingest.greet(stream, peer, closing).await });
                }
                Err(error) => {
                    self.stats.accept_failures.fetch_add(1, Ordering::Relaxed);
                    // Out of file descriptors, most likely: waiting lets others finish.
                    if let Some(unlogged) = complaints.pass() {
                        tracing::warn!(%error, unlogged, "connections cannot be accepted (ulimit -n?); trying again");
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        drop(socket);
        connections.close();
        connections.wait().await;
    }

    /// The next connection that may be served. Above `max_connections` the peers wait in the kernel's queue.
    async fn accept(&self, socket: &TcpListener) -> io::Result<(TcpStream, IpAddr)> {
        loop {
            let closed_one = self.closed_one.notified();
            if self.open.load(Ordering::Relaxed) >= self.settings.load().listener.max_connections as usize {
                closed_one.await;
                continue;
            }
            let (stream, peer) = socket.accept().await?;
            let settings = self.settings.load();
            let Listener { allow, max_connections_per_ip: most, .. } = &settings.listener;
            if !(allow.is_empty() || allow.iter().any(|net| net.contains(peer.ip()))) {
                self.stats.not_allowed.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(%peer, "a connection from outside `allow` was closed");
            } else if *most > 0 && self.open_from(peer.ip()) >= *most {
                self.stats.too_many_of_one.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(%peer, "a connection beyond `max_connections_per_ip` was closed");
            } else {
                stream.set_nodelay(true)?;
                return Ok((stream, peer.ip()));
            }
        }
    }

    fn open_from(&self, ip: IpAddr) -> u32 {
        self.open_by_ip.lock().unwrap_or_else(PoisonError::into_inner).get(&ip).copied().unwrap_or(0)
    }

    /// Serves a connection, after its TLS handshake if there is to be one.
    async fn greet(&self, stream: TcpStream, ip: IpAddr, closing: CancellationToken) {
        let settings = self.settings.load_full();
        let Some(tls) = &settings.tls else {
            return self.serve(stream, Peer::new(ip, Vec::new()), closing).await;
        };
        let handshake = tls::shake_hands(Arc::clone(&tls.config), stream, settings.listener.timeouts.header);
        let failure = match tokio::select! { () = closing.cancelled() => return, shaken = handshake => shaken } {
            Ok(stream) => {
                let chain = stream.get_ref().1.peer_certificates().map(<[_]>::to_vec).unwrap_or_default();
                return Box::pin(self.serve(stream, Peer::new(ip, chain), closing)).await;
            }
            Err(failure) => failure,
        };
        self.stats.handshake_failures.fetch_add(1, Ordering::Relaxed);
        if let Some(unlogged) = self.complaints.lock().unwrap_or_else(PoisonError::into_inner).pass() {
            tracing::warn!(peer = %ip, listener = %settings.listener.address, failure, unlogged, "a TLS handshake failed");
        }
    }

    async fn serve<S>(&self, stream: S, peer: Peer, closing: CancellationToken)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (peer, serving) = (Arc::new(peer), Serving::default());
        let timeouts = self.settings.load().listener.timeouts;
        let stream = Watched::new(stream, serving.clone(), timeouts.header, timeouts.idle);
        let service = service_fn(|request| {
            let guard = serving.begin();
            let (gate, settings, peer) = (self.gate.load_full(), self.settings.load_full(), Arc::clone(&peer));
            async move {
                let response = push::push(&gate, &settings, &peer, request).await;
                drop(guard);
                response
            }
        });
        let mut server = auto::Builder::new(TokioExecutor::new());
        server.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(READ_AT_ONCE);
        // Windows as large as common bodies: one connection carries all of a sender's requests.
        server
            .http2()
            .timer(TokioTimer::new())
            .initial_stream_window_size(1024 * 1024)
            .initial_connection_window_size(8 * 1024 * 1024)
            .max_frame_size(256 * 1024);
        let connection = server.serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let served = tokio::select! {
            served = connection.as_mut() => served,
            () = closing.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = served {
            tracing::debug!(%error, "a connection ended");
        }
    }
}

/// Counts a connection as open until dropped.
struct Open {
    ingest: Arc<Ingest>,
    ip: IpAddr,
}

impl Open {
    fn new(ingest: &Arc<Ingest>, ip: IpAddr) -> Self {
        ingest.open.fetch_add(1, Ordering::Relaxed);
        *ingest.open_by_ip.lock().unwrap_or_else(PoisonError::into_inner).entry(ip).or_default() += 1;
        ingest.stats.connections.fetch_add(1, Ordering::Relaxed);
        Self { ingest: Arc::clone(ingest), ip }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let ingest = &self.ingest;
        ingest.open.fetch_sub(1, Ordering::Relaxed);
        if let Entry::Occupied(mut count) =
            ingest.open_by_ip.lock().unwrap_or_else(PoisonError::into_inner).entry(self.ip)
        {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
        ingest.stats.connections.fetch_sub(1, Ordering::Relaxed);
        ingest.closed_one.notify_one();
    }
}

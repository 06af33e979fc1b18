//! A remote-write receiver on loopback that answers as told, and keeps books of what it took.
//!
//! Speaks HTTP/1.1 and HTTP/2 with prior knowledge. Untold it behaves as a healthy receiver: v1 and v2, snappy and
//! zstd, 204, exact `Written` headers. It can be told reply by reply ([`Endpoint::script`]), by a function
//! ([`Endpoint::answer_with`]), be another kind of receiver ([`Speaks`]), or look at the data it is sent ([`Judge`]).

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use remote_write::model::Request;
use remote_write::read::read;
use remote_write::wire::Malformed;
use remote_write::{Compression, Counts, Protocol};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::latency::Latencies;
use crate::ledger::Ledger;

mod count;
mod judge;
mod reply;
mod serve;
mod socket;

pub use judge::{Judge, JudgeStats};
pub use reply::{Gate, Reply, ReplyBody};

/// Which message schemas the receiver knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Speaks {
    /// Remote write 1.0 and 2.0, as Prometheus 3.
    #[default]
    Both,
    /// 1.0; answers 415 to 2.0.
    V1Only,
    /// 1.0; answers 204 to 2.0 without `Written` headers and keeps nothing, as VictoriaMetrics and Prometheus 2.
    V1Silently,
}

/// What is kept of the requests that are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// Numbers only: the cheapest, for benchmarks. Bodies are decompressed and their messages' boundaries walked.
    Counts,
    /// The [`Ledger`] as well.
    #[default]
    Ledger,
    /// Every request whole, also those not taken, and the ledger.
    Requests,
}

/// What kind of receiver it is.
#[derive(Clone, Debug)]
pub struct EndpointSettings {
    /// The message schemas.
    pub speaks: Speaks,
    /// Whether zstd is taken (with v1, as VictoriaMetrics); otherwise it gets 415.
    pub zstd: bool,
    /// What is kept.
    pub keep: Keep,
    /// The longest body and the longest decompressed body, in bytes; longer ones get 400, as from Prometheus.
    pub max_bytes: usize,
    /// Who says which series are taken; `None`: all are.
    pub judge: Option<Judge>,
    /// Whether the age of each sample on arrival is kept ([`Endpoint::take_arrivals`]).
    pub arrivals: bool,
}

impl Default for EndpointSettings {
    fn default() -> Self {
        let max_bytes = 32 << 20;
        Self { speaks: Speaks::Both, zstd: true, keep: Keep::Ledger, max_bytes, judge: None, arrivals: false }
    }
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Received {
    /// Counted from 0 over all requests of the endpoint.
    pub number: u64,
    /// Path and query.
    pub path: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as sent.
    pub body: Bytes,
    /// The schema that `Content-Type` names.
    pub protocol: Protocol,
    /// The compression that `Content-Encoding` names.
    pub compression: Compression,
    /// Whether type, encoding and message are known here. If not, `protocol` and `compression` may be guesses, and
    /// `decoded` is empty.
    pub understood: bool,
    /// The decompressed body.
    pub decoded: Bytes,
    /// What it holds.
    pub counts: Counts,
}

impl Received {
    /// The body as a request.
    pub fn request(&self) -> Result<Request<'_>, Malformed> {
        read(self.protocol, &self.decoded)
    }

    /// A header as text, if it is there and text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// What happened so far. Never reset, not by [`Endpoint::stop`] either.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Connections accepted.
    pub connections: u64,
    /// Of them, open.
    pub open_connections: u64,
    /// Requests whose head was read.
    pub requests: u64,
    /// Of them, without an answer so far.
    pub in_flight: u64,
    /// The most at one time.
    pub max_in_flight: u64,
    /// Answers begun, by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Requests taken: their contents count as received. With a judge: those it lets pass whole or in part.
    pub taken_requests: u64,
    /// Of them, v2.
    pub taken_v2_requests: u64,
    /// Points in the requests taken; with a judge: points stored.
    pub taken: Counts,
    /// v1 metadata families in the requests taken.
    pub metadata: u64,
    /// Compressed bytes of the requests taken.
    pub body_bytes: u64,
    /// Requests that could not be understood: type, encoding, compression, message.
    pub malformed: u64,
}

/// The condition did not come true in time.
#[derive(Debug)]
pub struct NotInTime {
    /// How long was waited.
    pub limit: Duration,
    /// What had happened by then.
    pub stats: Stats,
}

impl fmt::Display for NotInTime {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "see the endpoint reach a condition within {:?}; it has {:?}", self.limit, self.stats)
    }
}

impl std::error::Error for NotInTime {}

/// The receiver. Dropping it stops it.
#[derive(Debug)]
pub struct Endpoint {
    address: SocketAddr,
    desk: Arc<Desk>,
    server: Mutex<Option<JoinHandle<()>>>,
    /// While it is down: bound and not listening, so that nobody else gets its port.
    reserved: Mutex<Option<TcpSocket>>,
}

/// Connections the system accepts ahead.
const BACKLOG: u32 = 1024;

/// Takes the port without listening: whoever connects is refused.
fn reserve(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// What connections and the owner share.
struct Desk {
    settings: EndpointSettings,
    books: Mutex<Books>,
    changed: Notify,
}

impl fmt::Debug for Desk {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Desk").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// The status and the reason of a request that is not taken.
type Refusal = (StatusCode, String);

type Answerer = Arc<dyn Fn(&Received) -> Reply + Send + Sync>;

#[derive(Default)]
struct Books {
    stats: Stats,
    ledger: Ledger,
    docket: judge::Docket,
    arrivals: Latencies,
    requests: Vec<Received>,
    script: VecDeque<Reply>,
    answerer: Option<Answerer>,
    drops_connections: bool,
    scratch: Vec<serve::Scratch>,
}

impl Desk {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the books and wakes who waits for them.
    fn update<T>(&self, change: impl FnOnce(&mut Books) -> T) -> T {
        let result = change(&mut self.books());
        self.changed.notify_waiters();
        result
    }
}

impl Endpoint {
    /// Starts a receiver on a free port of 127.0.0.1.
    pub async fn launch(settings: EndpointSettings) -> io::Result<Self> {
        Self::launch_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), settings).await
    }

    /// Starts a receiver on that address; port 0 takes a free one.
    pub async fn launch_at(address: SocketAddr, settings: EndpointSettings) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let desk = Arc::new(Desk { settings, books: Mutex::default(), changed: Notify::new() });
        let server = tokio::spawn(serve::accept(listener, Arc::clone(&desk)));
        Ok(Self { address, desk, server: Mutex::new(Some(server)), reserved: Mutex::default() })
    }

    /// Where it listens; the same after [`Self::stop`] and [`Self::start`].
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Prometheus' path on it. Any other path is served alike.
    pub fn url(&self) -> String {
        format!("http://{}/api/v1/write", self.address)
    }

    /// Goes down: closes the listener and every connection, whatever they are doing. Returns when connections are refused; the port stays its own.
    pub async fn stop(&self) {
        let server = self.server.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(server) = server {
            server.abort();
            // An aborted task's result is that it was aborted.
            drop(server.await);
            *self.reserved.lock().unwrap_or_else(PoisonError::into_inner) = reserve(self.address).ok();
        }
    }

    /// Comes back on the same port, with script, books and settings as they are. Does nothing while it is up.
    pub async fn start(&self) -> io::Result<()> {
        if self.server.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
            return Ok(());
        }
        let reserved = self.reserved.lock().unwrap_or_else(PoisonError::into_inner).take();
        let listener = match reserved {
            Some(socket) => socket.listen(BACKLOG)?,
            None => TcpListener::bind(self.address).await?,
        };
        let server = tokio::spawn(serve::accept(listener, Arc::clone(&self.desk)));
        let before = self.server.lock().unwrap_or_else(PoisonError::into_inner).replace(server);
        if let Some(before) = before {
            before.abort();
        }
        Ok(())
    }

    /// Appends replies for the next requests, one each, in the order in which their heads are read.
    pub fn script(&self, replies: impl IntoIterator<Item = Reply>) {
        self.desk.update(|books| books.script.extend(replies));
    }

    /// Lets a function choose the reply to each understandable request that the script leaves over. It must not
    /// block: it runs between a request and its answer.
    pub fn answer_with(&self, answerer: impl Fn(&Received) -> Reply + Send + Sync + 'static) {
        self.desk.update(|books| books.answerer = Some(Arc::new(answerer)));
    }

    /// Forgets script and function: healthy from the next request on.
    pub fn recover(&self) {
        self.desk.update(|books| {
            books.script.clear();
            books.answerer = None;
            books.drops_connections = false;
        });
    }

    /// Whether new connections are accepted and closed at once.
    pub fn drop_connections(&self, drops: bool) {
        self.desk.update(|books| books.drops_connections = drops);
    }

    /// What happened so far.
    pub fn stats(&self) -> Stats {
        self.desk.books().stats.clone()
    }

    /// What the judge did so far; never reset.
    pub fn judged(&self) -> JudgeStats {
        self.desk.books().docket.stats().clone()
    }

    /// How long before their arrival the samples' timestamps were, of the requests taken since this was last asked.
    /// Nothing unless [`EndpointSettings::arrivals`] is set. Meaningful where timestamps are of the moment of sending.
    pub fn take_arrivals(&self) -> Latencies {
        std::mem::take(&mut self.desk.books().arrivals)
    }

    /// Asks the ledger. Waiting requests stand still meanwhile.
    pub fn ledger<T>(&self, ask: impl FnOnce(&Ledger) -> T) -> T {
        ask(&self.desk.books().ledger)
    }

    /// The requests kept so far ([`Keep::Requests`]), in the order in which their bodies were read.
    pub fn requests(&self) -> Vec<Received> {
        self.desk.books().requests.clone()
    }

    /// Waits until the condition holds, which is asked after every change.
    pub async fn wait_until(
        &self,
        limit: Duration,
        condition: impl Fn(&Stats) -> bool + Send,
    ) -> Result<Stats, NotInTime> {
        let wait = async {
            loop {
                // Enlisted before asking, so that no change between asking and waiting is missed.
                let mut changed = std::pin::pin!(self.desk.changed.notified());
                changed.as_mut().enable();
                let holds = Some(&self.desk.books().stats).filter(|stats| condition(stats)).cloned();
                if let Some(stats) = holds {
                    return stats;
                }
                changed.await;
            }
        };
        let outcome = tokio::time::timeout(limit, wait).await;
        outcome.map_err(|_elapsed| NotInTime { limit, stats: self.stats() })
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        let server = self.server.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = server.take() {
            server.abort();
        }
    }
}

#[cfg(test)]
mod tests;

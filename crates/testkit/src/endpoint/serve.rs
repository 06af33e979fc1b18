//! Accepts connections and serves requests for the [`Endpoint`](super::Endpoint).

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioExecutor;
use hyper_util::server::conn::auto;
use remote_write::compression::Decompressor;
use remote_write::read::read;
use remote_write::{Compression, Protocol};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::count::{Contents, count, timestamps};
use super::judge::{Case, Ruling};
use super::reply::Act;
use super::socket::{Control, Socket};
use super::{Books, Desk, EndpointSettings, Keep, Received, Refusal, Reply, ReplyBody, Speaks, Stats};
use crate::latency::Latencies;

/// Between failed accepts.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// Buffers for one request under way, reused.
pub(super) struct Scratch {
    decompressor: Decompressor,
    decoded: Vec<u8>,
}

/// Serves until aborted; its connections end with it.
pub(super) async fn accept(listener: TcpListener, desk: Arc<Desk>) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_ended) = connections.join_next() => continue,
        };
        let Ok((stream, _peer)) = accepted else {
            // Out of file descriptors or the like: what is open must end first.
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let drops = desk.update(|books| {
            books.stats.connections += 1;
            books.drops_connections
        });
        if drops {
            continue;
        }
        let Ok((socket, control)) = Socket::new(stream) else { continue };
        connections.spawn(serve(socket, control, Arc::clone(&desk)));
    }
}

async fn serve(socket: Socket, control: Arc<Control>, desk: Arc<Desk>) {
    let _open = Counted::new(Arc::clone(&desk), |stats| &mut stats.open_connections);
    let service = service_fn(move |request| handle(request, Arc::clone(&control), Arc::clone(&desk)));
    let server = auto::Builder::new(TokioExecutor::new());
    // How a connection ends is the sender's business; what was taken is in the books.
    drop(server.serve_connection(socket, service).await);
}

/// Raises one of the stats while it lives.
struct Counted {
    desk: Arc<Desk>,
    which: fn(&mut Stats) -> &mut u64,
}

impl Counted {
    fn new(desk: Arc<Desk>, which: fn(&mut Stats) -> &mut u64) -> Self {
        desk.update(|books| {
            *which(&mut books.stats) += 1;
            books.stats.max_in_flight = books.stats.max_in_flight.max(books.stats.in_flight);
        });
        Self { desk, which }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.desk.update(|books| *(self.which)(&mut books.stats) -= 1);
    }
}

/// An error ends the connection (HTTP/1) or the stream (HTTP/2) without an answer.
async fn handle(request: Request<Incoming>, control: Arc<Control>, desk: Arc<Desk>) -> io::Result<Response<ReplyBody>> {
    let _in_flight = Counted::new(Arc::clone(&desk), |stats| &mut stats.in_flight);
    let (number, scripted) = desk.update(|books| {
        books.stats.requests += 1;
        (books.stats.requests - 1, books.script.pop_front())
    });
    if scripted.as_ref().is_some_and(|reply| reply.act == Act::ResetBeforeBody) {
        control.reset();
        return Err(as_told());
    }
    let (head, body) = request.into_parts();
    let body = match Limited::new(body, desk.settings.max_bytes).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return Ok(refuse(&desk, StatusCode::BAD_REQUEST, &format!("read the body: {error}"))),
    };
    let path = head.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let push = Push { number, path, headers: head.headers, body };
    let reply = match push.settle(scripted, &desk) {
        Ok(settled) => settled,
        Err((status, why)) => return Ok(refuse(&desk, status, &why)),
    };
    perform(reply, &control, &desk).await
}

fn as_told() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "ended as told")
}

fn refuse(desk: &Desk, status: StatusCode, why: &str) -> Response<ReplyBody> {
    desk.update(|books| {
        books.stats.malformed += 1;
        *books.stats.statuses.entry(status.as_u16()).or_default() += 1;
    });
    let mut response = Response::new(ReplyBody::Bytes(format!("{why}\n").into()));
    *response.status_mut() = status;
    response
}

/// Waits as long as told, then answers or ends the connection.
async fn perform(reply: Reply, control: &Control, desk: &Desk) -> io::Result<Response<ReplyBody>> {
    if !reply.delay.is_zero() {
        tokio::time::sleep(reply.delay).await;
    }
    if let Some(gate) = &reply.gate {
        gate.passed().await;
    }
    match reply.act {
        Act::Healthy | Act::Answer => {}
        Act::ResetBeforeBody | Act::ResetAfterBody => {
            control.reset();
            return Err(as_told());
        }
        Act::HalfClose => {
            control.half_close()?;
            return std::future::pending().await;
        }
        Act::Hang => return std::future::pending().await,
    }
    desk.update(|books| *books.stats.statuses.entry(reply.status.as_u16()).or_default() += 1);
    let mut response = Response::new(reply.body);
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers;
    Ok(response)
}

/// A request with its body.
struct Push {
    number: u64,
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Push {
    /// Understands the request, chooses the reply and books what is taken. A scripted status is answered even to what
    /// cannot be understood.
    fn settle(self, scripted: Option<Reply>, desk: &Desk) -> Result<Reply, Refusal> {
        let kept = desk.books().scratch.pop();
        let mut scratch = kept.unwrap_or_else(|| Scratch { decompressor: Decompressor::new(), decoded: Vec::new() });
        let settled = match self.understand(&mut scratch, &desk.settings) {
            Ok(understood) => self.book(&understood, scripted, &scratch.decoded, desk),
            Err(refusal) => self.turn_down(refusal, scripted, desk),
        };
        desk.books().scratch.push(scratch);
        settled
    }

    fn understand(&self, scratch: &mut Scratch, settings: &EndpointSettings) -> Result<Understood, Refusal> {
        let protocol = protocol(&self.headers)?;
        let compression = compression(&self.headers)?;
        if protocol == Protocol::V2 && settings.speaks == Speaks::V1Only {
            return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, "remote write 2.0 is not spoken here".to_owned()));
        }
        if compression == Compression::Zstd && !settings.zstd {
            return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, "zstd is not spoken here".to_owned()));
        }
        let bad = |why: String| (StatusCode::BAD_REQUEST, why);
        scratch
            .decompressor
            .decompress(compression, &self.body, settings.max_bytes, &mut scratch.decoded)
            .map_err(|error| bad(error.to_string()))?;
        let contents = count(protocol, &scratch.decoded).ok_or_else(|| bad("the message is broken".to_owned()))?;
        let arrivals = if settings.arrivals { ages(protocol, &scratch.decoded) } else { Latencies::default() };
        Ok(Understood { protocol, compression, contents, arrivals })
    }

    fn turn_down(self, refusal: Refusal, scripted: Option<Reply>, desk: &Desk) -> Result<Reply, Refusal> {
        if desk.settings.keep == Keep::Requests {
            let received = self.received(None, &[]);
            desk.update(|books| books.requests.push(received));
        }
        scripted.filter(|reply| reply.act != Act::Healthy && !reply.takes).ok_or(refusal)
    }

    fn book(
        self,
        understood: &Understood,
        scripted: Option<Reply>,
        decoded: &[u8],
        desk: &Desk,
    ) -> Result<Reply, Refusal> {
        let keeps_requests = desk.settings.keep == Keep::Requests;
        let answerer = if scripted.is_none() { desk.books().answerer.clone() } else { None };
        let body_bytes = self.body.len();
        let wanted = keeps_requests || answerer.is_some();
        let received = wanted.then(|| self.received(Some(understood), decoded));
        let chosen = received.as_ref().zip(answerer).map(|(received, answerer)| answerer(received));
        let mut reply = scripted.or(chosen).unwrap_or_else(Reply::healthy);
        let silently = understood.protocol == Protocol::V2 && desk.settings.speaks == Speaks::V1Silently;
        let takes = reply.takes && !silently;
        let case = takes.then(|| understood.case(decoded, body_bytes, &desk.settings)).transpose()?;
        let ruling = desk.update(|books| {
            books.requests.extend(received.filter(|_| keeps_requests));
            if takes {
                books.arrivals.merge(&understood.arrivals);
            }
            case.map(|case| books.take(&case, &desk.settings))
        });
        if let Some(ruling) = ruling.filter(|_| reply.act == Act::Healthy) {
            ruling.put_into(&mut reply, understood.protocol);
        }
        Ok(reply)
    }

    fn received(self, understood: Option<&Understood>, decoded: &[u8]) -> Received {
        Received {
            number: self.number,
            path: self.path,
            protocol: protocol(&self.headers).unwrap_or(Protocol::V1),
            compression: understood.map_or(Compression::Snappy, |understood| understood.compression),
            headers: self.headers,
            body: self.body,
            understood: understood.is_some(),
            decoded: Bytes::copy_from_slice(decoded),
            counts: understood.map(|understood| understood.contents.counts).unwrap_or_default(),
        }
    }
}

struct Understood {
    protocol: Protocol,
    compression: Compression,
    contents: Contents,
    /// How old its samples are, if that is asked for.
    arrivals: Latencies,
}

/// How long ago each sample's timestamp was; zero for one from the future.
fn ages(protocol: Protocol, decoded: &[u8]) -> Latencies {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut ages = Latencies::default();
    // The boundaries have been walked already.
    timestamps(protocol, decoded, |timestamp, samples| {
        let then = Duration::from_millis(u64::try_from(timestamp).unwrap_or(0));
        ages.record_times(now.saturating_sub(then), samples);
    });
    ages
}

impl Understood {
    /// The request as it is to be taken, its series only where somebody looks at them.
    fn case<'a>(&self, decoded: &'a [u8], body_bytes: usize, settings: &EndpointSettings) -> Result<Case<'a>, Refusal> {
        let looks = settings.keep != Keep::Counts || settings.judge.is_some();
        let request = looks.then(|| read(self.protocol, decoded)).transpose();
        let request = request.map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))?;
        let Self { protocol, contents, .. } = *self;
        Ok(Case { protocol, contents, body_bytes, decoded_bytes: decoded.len(), request: request.unwrap_or_default() })
    }
}

impl Books {
    /// Books what of the request is stored: what the judge lets pass, all if there is none.
    fn take(&mut self, case: &Case<'_>, settings: &EndpointSettings) -> Ruling {
        let keeps_points = settings.keep != Keep::Counts;
        let ruling = match &settings.judge {
            Some(judge) => judge.rule(case, &mut self.docket, |point| {
                if keeps_points {
                    self.ledger.note(point);
                }
            }),
            None => {
                self.ledger.record(&case.request);
                Ruling::all(case.contents.counts)
            }
        };
        if ruling.refusal.is_none() || !ruling.stored.is_zero() {
            self.stats.taken_requests += 1;
            self.stats.taken_v2_requests += u64::from(case.protocol == Protocol::V2);
            self.stats.taken += ruling.stored;
            self.stats.metadata += case.contents.metadata;
            self.stats.body_bytes += case.body_bytes as u64;
        }
        ruling
    }
}

/// By `Content-Type` alone (remote write 2.0 "Protocol"); only the exact spellings that senders use.
fn protocol(headers: &HeaderMap) -> Result<Protocol, Refusal> {
    match headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes) {
        None | Some(b"application/x-protobuf" | b"application/x-protobuf;proto=prometheus.WriteRequest") => {
            Ok(Protocol::V1)
        }
        Some(b"application/x-protobuf;proto=io.prometheus.write.v2.Request") => Ok(Protocol::V2),
        Some(_) => Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, "unknown content type".to_owned())),
    }
}

fn compression(headers: &HeaderMap) -> Result<Compression, Refusal> {
    match headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes) {
        None | Some(b"snappy") => Ok(Compression::Snappy),
        Some(b"zstd") => Ok(Compression::Zstd),
        Some(_) => Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, "unknown content encoding".to_owned())),
    }
}

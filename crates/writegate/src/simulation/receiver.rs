//! An endpoint of the simulation: a real HTTP/1.1 server with a character and moods. It keeps what it takes, and notices what
//! must never come: another tenant's data, a series out of its order, more at once than was promised.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use std::{fmt, io};

use bytes::Bytes;
use fastrand::Rng;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use remote_write::compression::Decompressor;
use remote_write::{Counts, Protocol, content, read};
use tokio::io::DuplexStream;

use super::points::{Arrival, Key, Point, Points, for_each_run, label};

/// The tenant's header, which every endpoint of the simulation is configured with.
pub(super) const TENANT_HEADER: &str = "x-scope-orgid";

/// What an endpoint is like, for its whole life.
#[derive(Clone, Debug, Default)]
pub(super) struct Character {
    /// Answers 415 to 2.0.
    pub(super) v1_only: bool,
    /// Answers 204 to 2.0 and stores nothing.
    pub(super) v1_silently: bool,
    /// Refuses every request with a series that has this label `bad`.
    pub(super) refuses: Option<String>,
    /// Answers 500 to every request with a series that has this label `bad`.
    pub(super) breaks_on: Option<String>,
    /// 413 above so many points.
    pub(super) most_points: Option<u64>,
    /// 400 for what is older than what it has, as Prometheus without an out-of-order window.
    pub(super) minds_order: bool,
}

/// How it is at the moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Mood {
    Fine,
    /// So many milliseconds for an answer.
    Slow(u64),
    /// Nobody listens.
    Down,
    /// Connects and does not answer: half open.
    Silent,
    /// Connections are not even refused.
    BlackHole,
    /// A status, and perhaps seconds of `Retry-After`.
    Failing(u16, Option<u32>),
    /// Of ten requests so many end in a reset, half of them after they were stored.
    Cutting(u8),
}

/// One endpoint.
pub(super) struct Receiver {
    name: String,
    character: Character,
    reader: Mutex<Reader>,
    state: Mutex<State>,
}

struct State {
    rng: Rng,
    mood: Mood,
    /// By tenant.
    stored: BTreeMap<String, Points>,
    in_flight: usize,
    bytes: usize,
    tally: BTreeMap<&'static str, u64>,
    broken: VecDeque<String>,
    /// A replay came here: older points may fill gaps.
    replayed: bool,
}

/// What the gateway may have in flight at one endpoint, plus one request.
const MOST_IN_FLIGHT: usize = 64;
const MOST_BYTES: usize = (3 << 20) + (2 << 20);

impl Receiver {
    pub(super) fn new(name: String, character: Character, seed: u64) -> Self {
        let state = State {
            rng: Rng::with_seed(seed),
            mood: Mood::Fine,
            stored: BTreeMap::new(),
            in_flight: 0,
            bytes: 0,
            tally: BTreeMap::new(),
            broken: VecDeque::new(),
            replayed: false,
        };
        Self { name, character, reader: Mutex::default(), state: Mutex::new(state) }
    }

    pub(super) fn set_mood(&self, mood: Mood) {
        self.lock().mood = mood;
    }

    pub(super) fn expects_replays(&self) {
        self.lock().replayed = true;
    }

    /// The gateway's process ended: its connections are gone.
    pub(super) fn is_left(&self) {
        let mut state = self.lock();
        (state.in_flight, state.bytes) = (0, 0);
    }

    /// What it has of a tenant, which it gives away.
    pub(super) fn take_stored(&self, tenant: &str) -> Points {
        self.lock().stored.remove(tenant).unwrap_or_default()
    }

    /// How many points it has.
    pub(super) fn stored_count(&self) -> usize {
        self.lock().stored.values().map(Points::count).sum()
    }

    /// What came that must not.
    pub(super) fn broken_promises(&self) -> Vec<String> {
        self.lock().broken.iter().cloned().collect()
    }

    pub(super) fn tally(&self) -> BTreeMap<&'static str, u64> {
        self.lock().tally.clone()
    }

    pub(super) fn character(&self) -> &Character {
        &self.character
    }

    /// A new connection.
    pub(super) async fn connect(self: Arc<Self>) -> io::Result<DuplexStream> {
        let mood = self.lock().mood;
        match mood {
            Mood::Down => {
                self.lock().count("endpoint down");
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            Mood::BlackHole => std::future::pending().await,
            _ => {}
        }
        let (near, far) = tokio::io::duplex(64 * 1024);
        let service = service_fn(move |request| {
            let receiver = Arc::clone(&self);
            async move { receiver.serve(request).await }
        });
        let mut server = http1::Builder::new();
        server.timer(TokioTimer::new()).header_read_timeout(None);
        let connection = server.serve_connection(TokioIo::new(far), service);
        tokio::spawn(async move { drop(connection.await) });
        Ok(near)
    }

    /// An error cuts the connection.
    async fn serve(self: Arc<Self>, request: Request<Incoming>) -> io::Result<Response<Full<Bytes>>> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let visit = Visit::begin(&self, body.len());
        let (mood, pause, chance) = {
            let mut state = self.lock();
            let pause = state.rng.u64(0..30);
            (state.mood, pause, state.rng.u8(0..10))
        };
        let cut = || Err(io::ErrorKind::ConnectionReset.into());
        let pause = if let Mood::Slow(milliseconds) = mood { milliseconds } else { pause };
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let response = match mood {
            Mood::Silent | Mood::BlackHole => {
                self.lock().count("no answer");
                std::future::pending::<Infallible>().await;
                return cut();
            }
            Mood::Down => return cut(),
            Mood::Failing(status, retry_after) => {
                let mut response = Response::new(Full::from("not now"));
                *response.status_mut() = StatusCode::from_u16(status).map_err(io::Error::other)?;
                if let Some(seconds) = retry_after {
                    response.headers_mut().insert(RETRY_AFTER, seconds.into());
                }
                response
            }
            Mood::Cutting(often) if chance < often => {
                if chance % 2 == 0 {
                    self.lock().count("connections cut");
                } else {
                    self.lock().count("answers lost");
                    drop(self.judge(&head.headers, &body));
                }
                return cut();
            }
            Mood::Fine | Mood::Slow(_) | Mood::Cutting(_) => self.judge(&head.headers, &body),
        };
        drop(visit);
        Ok(response)
    }

    /// Looks at a request and takes it, or not.
    fn judge(&self, headers: &HeaderMap, body: &[u8]) -> Response<Full<Bytes>> {
        let mut state = self.lock();
        let taken = self.take(&mut state, headers, body);
        if super::is_loud() {
            self.tell(taken.as_ref().err());
        }
        match taken {
            Ok(written) => {
                let mut response = Response::new(Full::default());
                *response.status_mut() = StatusCode::NO_CONTENT;
                if let Some(Counts { samples, histograms, exemplars }) = written {
                    let names = ["samples", "histograms", "exemplars"];
                    for (name, count) in names.into_iter().zip([samples, histograms, exemplars]) {
                        let name = format!("x-prometheus-remote-write-{name}-written");
                        if let Ok(name) = http::HeaderName::try_from(name) {
                            response.headers_mut().insert(name, count.into());
                        }
                    }
                }
                response
            }
            Err((status, why)) => {
                let mut response = Response::new(Full::from(why));
                *response.status_mut() = status;
                response
            }
        }
    }

    /// What came, and what became of it.
    fn tell(&self, refused: Option<&(StatusCode, String)>) {
        let mut times = BTreeMap::<u32, (i64, i64, usize)>::new();
        for (key, points) in self.reader.lock().unwrap().runs() {
            for (at, _) in points {
                let (first, last, count) = times.entry(key.id.sender).or_insert((*at, *at, 0));
                (*first, *last, *count) = ((*at).min(*first), (*at).max(*last), *count + 1);
            }
        }
        println!("  {}: {times:?} {}", self.name, refused.map_or("taken", |(_, why)| why));
    }

    /// What was written, where the protocol has one say so.
    fn take(
        &self,
        state: &mut State,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Option<Counts>, (StatusCode, String)> {
        let header = |name: &str| headers.get(name).map(http::HeaderValue::as_bytes);
        let bad = |why: &dyn fmt::Display| (StatusCode::BAD_REQUEST, why.to_string());
        let mut reader = self.reader.lock().unwrap();
        reader.clear();
        let protocol =
            content::protocol_from_content_type(header(CONTENT_TYPE.as_str())).map_err(|error| bad(&error))?;
        let compression = content::compression_from_content_encoding(header(CONTENT_ENCODING.as_str()))
            .map_err(|error| bad(&error))?;
        let tenant = header(TENANT_HEADER).map(String::from_utf8_lossy).unwrap_or_default();
        let mut refused = None;
        let Reader { decompressor, decoded, ends, points, counts } = &mut *reader;
        decompressor.decompress(compression, body, 64 << 20, decoded).map_err(|error| bad(&error))?;
        let read = read::for_each_series(protocol, decoded, |series| {
            let text = |name| label(series, name).map(String::from_utf8_lossy);
            if label(series, b"tenant") != Some(tenant.as_bytes()) {
                state.breaks(format!("isolation: tenant {tenant:?} brought {:?}", text(b"id")));
            }
            if refused.is_none()
                && let Some(mark) = text(b"bad")
            {
                let is = |character: &Option<String>| character.as_deref() == Some(&*mark);
                if is(&self.character.refuses) {
                    refused = Some((StatusCode::BAD_REQUEST, format!("series {:?} is bad", text(b"id"))));
                } else if is(&self.character.breaks_on) {
                    refused = Some((StatusCode::INTERNAL_SERVER_ERROR, "something broke".to_owned()));
                }
            }
            for_each_run(series, |key, run| {
                points.extend(run);
                ends.push((key, points.len()));
            });
            counts.samples += series.samples.len() as u64;
            counts.histograms += series.histograms.len() as u64;
            counts.exemplars += series.exemplars.len() as u64;
        });
        read.map_err(|error| bad(&error))?;
        if protocol == Protocol::V2 {
            if self.character.v1_only {
                return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, "1.0 only".to_owned()));
            }
            if self.character.v1_silently {
                return Ok(None);
            }
        }
        if let Some(refused) = refused {
            return Err(refused);
        }
        if self.character.most_points.is_some_and(|most| reader.points.len() as u64 > most) {
            return Err((StatusCode::PAYLOAD_TOO_LARGE, "too many points".to_owned()));
        }
        state.store(&tenant, &reader, self.character.minds_order).map_err(|why| bad(&why))?;
        Ok((protocol == Protocol::V2).then_some(reader.counts))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl State {
    fn count(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }

    fn breaks(&mut self, promise: String) {
        if self.broken.len() < 5 {
            self.broken.push_back(promise);
        }
    }

    /// All or nothing.
    fn store(&mut self, tenant: &str, request: &Reader, minds_order: bool) -> Result<(), String> {
        if !self.stored.contains_key(tenant) {
            self.stored.insert(tenant.to_owned(), Points::default());
        }
        let Some(mine) = self.stored.get_mut(tenant) else { return Ok(()) };
        if minds_order {
            let late = request.runs().find_map(|(key, points)| {
                let have = mine.get(&key)?;
                points.iter().find(|(at, _)| !have.is_in_order(*at)).map(|(at, _)| (key, *at))
            });
            if let Some((key, at)) = late {
                let why = format!("out of order sample: {key:?} at {at}");
                if !self.replayed {
                    self.breaks(format!("order: refused {why}"));
                }
                return Err(why);
            }
        }
        let (mut broken, mut again) = (Vec::new(), 0);
        for (key, points) in request.runs() {
            mine.add(key, points, |(at, bits), arrival| match arrival {
                Arrival::InOrder => {}
                Arrival::Late => {
                    if !self.replayed {
                        broken.push(format!("order: {key:?} at {at} came after a later one"));
                    }
                }
                Arrival::Again { before } => {
                    again += 1;
                    if before != bits {
                        broken.push(format!("content: {key:?} at {at} came with two values"));
                    }
                }
            });
        }
        *self.tally.entry("delivered again").or_default() += again;
        broken.into_iter().for_each(|promise| self.breaks(promise));
        Ok(())
    }
}

/// Reads one request after the other, in the same memory.
#[derive(Default)]
struct Reader {
    decompressor: Decompressor,
    decoded: Vec<u8>,
    /// Whose points there are, and where they end.
    ends: Vec<(Key, usize)>,
    points: Vec<Point>,
    counts: Counts,
}

impl Reader {
    fn clear(&mut self) {
        self.ends.clear();
        self.points.clear();
        self.counts = Counts::default();
    }

    /// The points of the request, those of one series and kind together.
    fn runs(&self) -> impl Iterator<Item = (Key, &[Point])> {
        let mut from = 0;
        self.ends.iter().map(move |(key, end)| (*key, &self.points[std::mem::replace(&mut from, *end)..*end]))
    }
}

/// One request being served.
struct Visit<'r> {
    receiver: &'r Receiver,
    bytes: usize,
}

impl<'r> Visit<'r> {
    fn begin(receiver: &'r Receiver, bytes: usize) -> Self {
        let mut state = receiver.lock();
        state.in_flight += 1;
        state.bytes += bytes;
        let (requests, sum) = (state.in_flight, state.bytes);
        if requests == MOST_IN_FLIGHT {
            state.count("as many in flight as may be");
        }
        if requests > MOST_IN_FLIGHT || (sum > MOST_BYTES && requests > 1) {
            state.breaks(format!("memory: {requests} requests of {sum} bytes in flight at once"));
        }
        drop(state);
        Self { receiver, bytes }
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        let mut state = self.receiver.lock();
        // The process that sent it may have ended in between.
        state.in_flight = state.in_flight.saturating_sub(1);
        state.bytes = state.bytes.saturating_sub(self.bytes);
    }
}

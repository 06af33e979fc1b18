//! Sockets and HTTP: reads requests, answers them, and feeds watches.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, USER_AGENT, WARNING};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use crate::access::User;
use crate::address::{self, Address};
use crate::discovery;
use crate::exchange::{Exchange, Request as Asked};
use crate::faults::{self, Act};
use crate::read::Watch;
use crate::state::{Call, Done, PatchType, State, Verb};
use crate::status::Status;

/// The longest body, in bytes, as a real server has it.
const MAX_BODY: usize = 3 << 20;
/// Between failed accepts.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);
/// How many events wait for a client that does not read.
const EVENTS_AHEAD: usize = 16;
/// Between bookmarks that nobody asked for.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);
/// How long a watch lasts that does not say.
const WATCH_TIMEOUT: Duration = Duration::from_secs(1800);

/// What connections and the owner share.
#[derive(Debug)]
pub(crate) struct Desk {
    state: Mutex<State>,
    /// Rises with everything that happens.
    changed: watch::Sender<u64>,
    /// Rises when all connections are to be cut.
    pub(crate) cut: watch::Sender<u64>,
    /// While it is down, connections are dropped as they come.
    pub(crate) down: watch::Sender<bool>,
}

impl Desk {
    pub(crate) fn new() -> Self {
        let (changed, cut, down) = (watch::Sender::new(0), watch::Sender::new(0), watch::Sender::new(false));
        Self { state: Mutex::new(State::new()), changed, cut, down }
    }

    pub(crate) fn look(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, and wakes whoever waits for a change.
    pub(crate) fn update<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.look());
        self.changed.send_modify(|count| *count += 1);
        result
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Does what is asked and writes it into the log.
    pub(crate) fn perform(&self, call: &Call, disturbed: bool) -> Result<Done, Status> {
        self.update(|state| {
            let before = state.store.version();
            let result = state.perform(call);
            let changed = state.store.version() != before;
            let code = result.as_ref().map_or_else(|status| status.code, |done| done.code);
            let mut request = Asked::of(call);
            if let Ok(done) = &result
                && request.name.is_empty()
                && call.verb == Verb::Create
            {
                request.name = crate::kinds::text(&done.body, "/metadata/name").to_owned();
            }
            state.note(Exchange { request, code, changed, disturbed });
            result
        })
    }

    fn note(&self, call: &Call, code: u16, disturbed: bool) {
        let exchange = Exchange { request: Asked::of(call), code, changed: false, disturbed };
        self.update(|state| state.note(exchange));
    }
}

/// The connection is cut.
#[derive(Debug)]
struct Cut;

impl fmt::Display for Cut {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the connection is cut, as told")
    }
}

impl std::error::Error for Cut {}

/// A body: whole, or the events of a watch.
enum Reply {
    Whole(Option<Bytes>),
    Events(mpsc::Receiver<Bytes>),
}

impl http_body::Body for Reply {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        match &mut *self {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Events(events) => events.poll_recv(context).map(|line| line.map(|line| Ok(Frame::data(line)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> http_body::SizeHint {
        match self {
            Self::Whole(bytes) => {
                let length = bytes.as_ref().map_or(0, Bytes::len);
                http_body::SizeHint::with_exact(u64::try_from(length).unwrap_or(u64::MAX))
            }
            Self::Events(_) => http_body::SizeHint::default(),
        }
    }
}

/// Serves until aborted; its connections end with it.
pub(crate) async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, desk: Arc<Desk>) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_ended) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, _peer)) if !*desk.down.borrow() => {
                connections.spawn(connection(stream, tls.clone(), Arc::clone(&desk)));
            }
            Ok(_dropped) => {}
            // Out of file descriptors or the like: what is open must end first.
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// How a connection ends is the client's to tell.
async fn connection(stream: TcpStream, tls: Option<TlsAcceptor>, desk: Arc<Desk>) {
    let mut cut = desk.cut.subscribe();
    let served = async {
        match tls {
            None => serve(stream, &desk).await,
            Some(tls) => {
                if let Ok(stream) = tls.accept(stream).await {
                    serve(stream, &desk).await;
                }
            }
        }
    };
    tokio::select! {
        () = served => {}
        _cut = cut.changed() => {}
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, desk: &Arc<Desk>) {
    let service = service_fn(|request| answer(Arc::clone(desk), request));
    // A connection that ends badly has ended.
    drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
}

async fn answer(desk: Arc<Desk>, request: Request<Incoming>) -> Result<Response<Reply>, Cut> {
    let (parts, body) = request.into_parts();
    let shape = match shape(&parts.headers) {
        Ok(shape) => shape,
        Err(status) => return Ok(refusal(&status)),
    };
    let query = address::query(parts.uri.query().unwrap_or_default());
    let path = parts.uri.path();
    let user = match user(&desk, &parts.headers) {
        Ok(user) => user,
        Err(status) => return Ok(refusal(&status)),
    };
    let found = address::resource(&desk.look().kinds, &parts.method, path, &query);
    let address = match found {
        None => return Ok(outside(&desk, &user, &parts)),
        Some(Err(status)) => return Ok(refusal(&status)),
        Some(Ok(address)) => address,
    };
    let body = match Limited::new(body, MAX_BODY).collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => {
            return Ok(refusal(&Status::too_large(format!("Request entity too large: limit is {MAX_BODY}"))));
        }
    };
    let content = parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (patch, body) = match read_body(address.verb, content, &body) {
        Ok(read) => read,
        Err(status) => return Ok(refusal(&status)),
    };
    let agent = parts.headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or("unknown");
    let agent = agent.split('/').next().unwrap_or_default().to_owned();
    let Address { verb, kind, namespace, name, subresource } = address;
    let call = Call { user, verb, kind, namespace, name, subresource, query, patch, body: Arc::new(body), agent };
    resource(&desk, call, shape).await
}

/// Answers a request for a resource, disturbed as told.
async fn resource(desk: &Arc<Desk>, call: Call, shape: Shape) -> Result<Response<Reply>, Cut> {
    let act = desk.update(|state| faults::take(&mut state.faults, &Asked::of(&call)));
    let refuse = |code: u16, retry_after: Option<u64>| {
        desk.note(&call, code, true);
        refusal(&Status::of_code(code, Some(&call.kind), &call.name, retry_after))
    };
    match act {
        Some(Act::Answer { code, retry_after }) => return Ok(refuse(code, retry_after)),
        Some(Act::Cut) => {
            desk.note(&call, 0, true);
            return Err(Cut);
        }
        Some(Act::Delay(time)) => tokio::time::sleep(time).await,
        Some(Act::CutAfter) | None => {}
    }
    if call.verb == Verb::Watch {
        let response = watch(desk, &call, shape);
        desk.note(&call, response.status().as_u16(), act.is_some());
        return if act == Some(Act::CutAfter) { Err(Cut) } else { Ok(response) };
    }
    let result = desk.perform(&call, act.is_some());
    if act == Some(Act::CutAfter) {
        return Err(Cut);
    }
    Ok(match result {
        Ok(done) => success(done, shape),
        Err(status) => refusal(&status),
    })
}

fn user(desk: &Desk, headers: &HeaderMap) -> Result<User, Status> {
    let Some(header) = headers.get(AUTHORIZATION) else { return Ok(User::anonymous()) };
    let token = header.to_str().ok().and_then(|header| header.strip_prefix("Bearer "));
    token.and_then(|token| desk.look().access.user(token.trim())).ok_or_else(Status::unauthorized)
}

/// What is no resource: discovery, health, and nothing.
fn outside(desk: &Desk, user: &User, parts: &Parts) -> Response<Reply> {
    let path = parts.uri.path();
    let is_public = ["/version", "/healthz", "/livez", "/readyz"].iter().any(|public| path.starts_with(public));
    if !is_public && !user.is_in("system:authenticated") {
        return refusal(&Status::forbidden_path(&user.name, &parts.method.as_str().to_lowercase(), path));
    }
    if is_public && path != "/version" {
        return text(StatusCode::OK, "ok");
    }
    let aggregated = parts.headers.get_all(ACCEPT).iter().any(|accept| {
        accept.to_str().is_ok_and(|accept| accept.contains("APIGroupDiscoveryList") && accept.contains("v=v2;"))
    });
    let document = discovery::document(&desk.look().kinds, path, aggregated).filter(|_| parts.method == Method::GET);
    match document {
        Some(document) => {
            let kind = if document["kind"] == "APIGroupDiscoveryList" { discovery::AGGREGATED } else { JSON };
            let mut response = json_response(StatusCode::OK, &document);
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            response
        }
        None => text(StatusCode::NOT_FOUND, "404 page not found\n"),
    }
}

/// In which shape a client wants objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Whole,
    /// `PartialObjectMetadata`, for clients that look at metadata alone.
    Metadata,
}

/// The first media type of `Accept` that can be answered. Tables are left to clients to make.
fn shape(headers: &HeaderMap) -> Result<Shape, Status> {
    let accepted: Vec<&str> = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    if accepted.is_empty() {
        return Ok(Shape::Whole);
    }
    for accepted in accepted.iter().flat_map(|value| value.split(',')) {
        let mut parts = accepted.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default();
        let named = parts.find_map(|part| part.strip_prefix("as="));
        match (media, named) {
            ("application/json", Some("PartialObjectMetadata" | "PartialObjectMetadataList")) => {
                return Ok(Shape::Metadata);
            }
            ("application/json", None | Some("APIGroupDiscoveryList")) | ("*/*" | "application/*", _) => {
                return Ok(Shape::Whole);
            }
            _ => {}
        }
    }
    Err(Status::not_acceptable())
}

impl Shape {
    fn of(self, mut body: Value) -> Value {
        if self == Self::Whole || body["kind"] == "Status" {
            return body;
        }
        let partial = |object: &mut Value| {
            let metadata = object["metadata"].take();
            json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
        };
        match body["items"].as_array_mut() {
            Some(items) => {
                let items: Vec<Value> = items.iter_mut().map(partial).collect();
                let metadata = body["metadata"].take();
                json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "items": items})
            }
            None => partial(&mut body),
        }
    }
}

fn read_yaml(bytes: &[u8]) -> Result<Value, Status> {
    // JSON is YAML, and reads faster as what it is.
    serde_json::from_slice(bytes).or_else(|_no_json| {
        let text = String::from_utf8_lossy(bytes);
        serde_saphyr::from_str(&text).map_err(|error| Status::bad_request(format!("error decoding YAML: {error}")))
    })
}

fn read_json(bytes: &[u8]) -> Result<Value, Status> {
    serde_json::from_slice(bytes).map_err(|error| {
        Status::bad_request(format!("the object provided is unrecognized (must be of type JSON): couldn't get version/kind; json parse error: {error}"))
    })
}

fn read_body(verb: Verb, content_type: &str, bytes: &Bytes) -> Result<(Option<PatchType>, Value), Status> {
    let media = content_type.split(';').next().unwrap_or_default().trim();
    match verb {
        Verb::Get | Verb::List | Verb::Watch => Ok((None, Value::Null)),
        Verb::Delete | Verb::DeleteCollection if bytes.is_empty() => Ok((None, Value::Null)),
        Verb::Patch => match media {
            "application/json-patch+json" => Ok((Some(PatchType::Json), read_json(bytes)?)),
            "application/merge-patch+json" => Ok((Some(PatchType::Merge), read_json(bytes)?)),
            "application/strategic-merge-patch+json" => Ok((Some(PatchType::Strategic), read_json(bytes)?)),
            "application/apply-patch+yaml" => Ok((Some(PatchType::Apply), read_yaml(bytes)?)),
            _ => Err(Status::unsupported_media_type(
                "application/json-patch+json, application/merge-patch+json, \
                 application/strategic-merge-patch+json, application/apply-patch+yaml",
            )),
        },
        _ => match media {
            "" | "application/json" | "*/*" => Ok((None, read_json(bytes)?)),
            "application/yaml" => Ok((None, read_yaml(bytes)?)),
            _ => Err(Status::unsupported_media_type("application/json, application/yaml")),
        },
    }
}

const JSON: &str = "application/json";

fn whole(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Reply> {
    let mut response = Response::new(Reply::Whole(Some(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn text(status: StatusCode, body: &'static str) -> Response<Reply> {
    whole(status, "text/plain; charset=utf-8", Bytes::from_static(body.as_bytes()))
}

fn json_response(status: StatusCode, body: &Value) -> Response<Reply> {
    whole(status, JSON, Bytes::from(body.to_string()))
}

fn code(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn success(done: Done, shape: Shape) -> Response<Reply> {
    let mut response = json_response(code(done.code), &shape.of(done.body));
    for warning in &done.warnings {
        let quoted = warning.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
            response.headers_mut().append(WARNING, value);
        }
    }
    response
}

fn refusal(status: &Status) -> Response<Reply> {
    let mut response = json_response(code(status.code), &status.body());
    if let Some(seconds) = status.retry_after {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn watch(desk: &Arc<Desk>, call: &Call, shape: Shape) -> Response<Reply> {
    let begun = {
        let state = desk.look();
        let begun = state.authorize(call, Verb::Watch).and_then(|()| state.begin_watch(call));
        begun.map(|(watch, first)| (watch, first, state.watch_epoch, state.bookmarks, state.watch_limit))
    };
    let (watch, first, epoch, bookmarks, limit) = match begun {
        Ok(begun) => begun,
        Err(status) => return refusal(&status),
    };
    let timeout = call.query("timeoutSeconds").parse().ok().filter(|seconds| *seconds > 0).map(Duration::from_secs);
    let (sender, events) = mpsc::channel(EVENTS_AHEAD);
    let feed = Feed { desk: Arc::clone(desk), watch, shape, sender, epoch, bookmarks };
    let timeout = timeout.unwrap_or(WATCH_TIMEOUT);
    tokio::spawn(feed.run(first, limit.map_or(timeout, |limit| limit.min(timeout))));
    let mut response = Response::new(Reply::Events(events));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
    response
}

/// What sends a watch its events. It ends with the client, at its time, or when it is told.
struct Feed {
    desk: Arc<Desk>,
    watch: Watch,
    shape: Shape,
    sender: mpsc::Sender<Bytes>,
    epoch: u64,
    bookmarks: u64,
}

/// The client is gone.
struct Gone;

impl Feed {
    async fn run(mut self, first: Vec<Value>, timeout: Duration) {
        let end = Instant::now() + timeout;
        let mut changes = self.desk.changes();
        let mut next_bookmark = Instant::now() + BOOKMARK_INTERVAL;
        let mut events = first;
        loop {
            for event in events.drain(..) {
                if self.send(event).await.is_err() {
                    return;
                }
            }
            changes.borrow_and_update();
            match self.look() {
                Next::Events(next) if next.is_empty() => {}
                Next::Events(next) => {
                    events = next;
                    continue;
                }
                Next::End(last) => {
                    if let Some(last) = last {
                        // Nobody minds whether the last word is heard.
                        self.send(last).await.ok();
                    }
                    return;
                }
            }
            tokio::select! {
                biased;
                () = self.sender.closed() => return,
                changed = changes.changed() => if changed.is_err() { return },
                () = tokio::time::sleep_until(end) => break,
                () = tokio::time::sleep_until(next_bookmark) => {
                    next_bookmark += BOOKMARK_INTERVAL;
                    if self.watch.bookmarks {
                        events.push(self.watch.bookmark(false));
                    }
                }
            }
        }
        // So that who watches again knows from where.
        if self.watch.bookmarks {
            let last = self.watch.bookmark(false);
            self.send(last).await.ok();
        }
    }

    fn look(&mut self) -> Next {
        let state = self.desk.look();
        let is_over = state.watch_epoch != self.epoch || state.kinds.of(&self.watch.kind.storage).is_none();
        let events = state.events_since(&mut self.watch);
        match events {
            Err(status) => Next::End(Some(json!({"type": "ERROR", "object": status.body()}))),
            Ok(events) if events.is_empty() && is_over => Next::End(None),
            Ok(mut events) => {
                if state.bookmarks != self.bookmarks {
                    self.bookmarks = state.bookmarks;
                    if self.watch.bookmarks {
                        events.push(self.watch.bookmark(false));
                    }
                }
                Next::Events(events)
            }
        }
    }

    async fn send(&self, mut event: Value) -> Result<(), Gone> {
        event["object"] = self.shape.of(event["object"].take());
        let line = Bytes::from(format!("{event}\n"));
        self.sender.send(line).await.map_err(|_closed| Gone)
    }
}

/// What a watch has to send next.
enum Next {
    Events(Vec<Value>),
    End(Option<Value>),
}

//! The admin address: metrics, health, the JSON API, and the console that shows it. Changes nothing itself: what is asked for is
//! done by those whose it is.

mod access;
pub(crate) mod api;
mod console;
mod contents;
mod exposition;
mod findings;
mod history;
mod letters;
mod metrics;
pub(crate) mod moment;
mod process;
pub(crate) mod query;
mod refusal;
mod replays;
mod route;
mod status;
pub(crate) mod tap;

use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Either, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use writegate_config::{AdminCredential, TenantName};

use self::access::Denied;
use self::api::{ConfigInEffect, Failure, History};
use self::console::{Act, Asset, Page, Snapshots};
use self::history::Past;
use self::refusal::Refusal;
use self::route::Route;
use self::tap::Events;
use crate::app::App;
use crate::chain::Chain;
use crate::connection::{Serving, Watched};
use crate::explain::{self, Explanation, explain};
use crate::offload::offload;
use crate::tls;

const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// A body is there within this time.
const BODY_WITHIN: std::time::Duration = std::time::Duration::from_secs(10);

/// Open connections: those beyond wait in the kernel's queue, so that they take no descriptor from the data.
const MOST_CONNECTIONS: usize = 512;
/// How long a header may take, and how long a peer may take nothing of its answer: what it does not take stays in memory.
const STALLED_AFTER: std::time::Duration = std::time::Duration::from_secs(30);
/// Between requests hyper's own bound holds; a tap may say nothing for long.
const SILENT_FOR: std::time::Duration = std::time::Duration::from_hours(24);

type Answer = Response<Either<Full<Bytes>, Events>>;

/// What requests are answered from.
struct Admin {
    app: Arc<App>,
    past: Past,
    snapshots: Snapshots,
    /// Whose turn it is to move dead letters.
    moving: Arc<tokio::sync::Mutex<()>>,
    stop: CancellationToken,
}

/// Serves until `stop`.
pub(crate) async fn run(app: Arc<App>, socket: TcpListener, stop: CancellationToken) {
    let past = Past::new(&app);
    let (snapshots, moving) = (Snapshots::default(), Arc::default());
    let admin = Arc::new(Admin { app, past, snapshots, moving, stop: stop.clone() });
    let (connections, places) = (TaskTracker::new(), Arc::new(Semaphore::new(MOST_CONNECTIONS)));
    connections.spawn(remember(Arc::clone(&admin), stop.clone()));
    loop {
        let place = tokio::select! {
            () = stop.cancelled() => break,
            place = Arc::clone(&places).acquire_owned() => place,
        };
        let stream = tokio::select! {
            () = stop.cancelled() => break,
            accepted = socket.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "an admin connection could not be accepted; trying again");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        let (admin, stop) = (Arc::clone(&admin), stop.clone());
        connections.spawn(async move {
            greet(admin, stream, stop).await;
            drop(place);
        });
    }
    connections.close();
    connections.wait().await;
}

/// Serves a connection, after its TLS handshake if there is to be one.
async fn greet(admin: Arc<Admin>, stream: TcpStream, stop: CancellationToken) {
    let Some(offered) = admin.app.admin_tls.load_full() else {
        return serve(admin, stream, stop).await;
    };
    let handshake = tls::shake_hands(Arc::clone(&offered.config), stream, BODY_WITHIN);
    match tokio::select! { () = stop.cancelled() => return, shaken = handshake => shaken } {
        Ok(stream) => serve(admin, stream, stop).await,
        Err(failure) => tracing::warn!(failure, "a TLS handshake with the admin server failed"),
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    admin: Arc<Admin>,
    stream: S,
    stop: CancellationToken,
) {
    let serving = Serving::default();
    let service = service_fn(|request| {
        let (admin, serving) = (Arc::clone(&admin), serving.begin());
        async move {
            let answer = respond(admin, request).await;
            drop(serving);
            Ok::<_, std::convert::Infallible>(answer)
        }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new());
    let stream = Watched::new(stream, serving.clone(), STALLED_AFTER, SILENT_FOR);
    let connection = server.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "an admin connection ended");
    }
}

/// Looks at the counters now and then.
async fn remember(admin: Arc<Admin>, stop: CancellationToken) {
    let mut interval = tokio::time::interval(history::EVERY);
    // The first look was taken at the start.
    interval.reset();
    while tokio::select! { () = stop.cancelled() => false, _ = interval.tick() => true } {
        let admin = Arc::clone(&admin);
        // It may read from the disk.
        if let Err(error) = offload(move || admin.past.look(&admin.app)).await {
            tracing::error!(%error, "the counters could not be looked at");
        }
    }
}

async fn respond(admin: Arc<Admin>, request: Request<Incoming>) -> Answer {
    let is_api = request.uri().path().starts_with("/api/");
    let shows_html = reads(&request) && accepts_html(request.headers());
    let mut answer = match answer(&admin, request).await {
        // A person who looks finds what there is instead.
        Err(Refusal::Path) if shows_html => page(&admin, Page::Nothing, String::new()).await,
        answered => answered,
    }
    .unwrap_or_else(|refusal| refused(&admin, &refusal, is_api));
    answer.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

fn reads<B>(request: &Request<B>) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD)
}

fn accepts_html(headers: &HeaderMap) -> bool {
    let accepts = headers.get(http::header::ACCEPT).and_then(|accepts| accepts.to_str().ok());
    accepts.is_some_and(|accepts| accepts.contains("text/html"))
}

/// The API's callers get JSON whatever happens, the others a line of text.
fn refused(admin: &Admin, refusal: &Refusal, is_api: bool) -> Answer {
    let mut answer = if is_api {
        json(refusal.status(), &Failure { error: refusal.to_string() })
    } else {
        respond_with(refusal.status(), TEXT, format!("{refusal}\n"))
    };
    match refusal {
        Refusal::Method(allowed) => {
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
        }
        Refusal::Denied(Denied::Credential) => {
            let scheme = match admin.app.config.load().admin.credential {
                Some(AdminCredential::Basic { .. }) => "Basic realm=\"writegate\"",
                _ => "Bearer",
            };
            answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
        }
        _ => {}
    }
    answer
}

async fn answer(admin: &Arc<Admin>, request: Request<Incoming>) -> Result<Answer, Refusal> {
    access::check(&admin.app.config.load().admin, &request)?;
    let route = Route::of(request.uri().path()).ok_or(Refusal::Path)?;
    if !route.takes(request.method()) {
        return Err(Refusal::Method(route.allowed()));
    }
    let reads = reads(&request);
    let query = request.uri().query().unwrap_or_default().to_owned();
    if route.is_api() && !(reads && route.reads_query()) {
        let [] = query::parameters(&query, &[])?;
    }
    if let Route::Asset(asset) = route {
        return Ok(file(asset, request.headers()));
    }
    if reads {
        return read(admin, route, query).await;
    }
    let app = Arc::clone(&admin.app);
    match route {
        Route::Reload => Ok(match app.reload().await {
            Ok(()) => respond_with(StatusCode::OK, TEXT, "reloaded\n".to_owned()),
            Err(error) => respond_with(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{}\n", Chain(&error))),
        }),
        Route::Replays => Ok(json(StatusCode::ACCEPTED, &replays::begin(app, wanted(request).await?).await?)),
        Route::Replay(id) => Ok(json(StatusCode::OK, &replays::cancel(app, id).await?)),
        Route::Letters => {
            let done = letters::change(app, Arc::clone(&admin.moving), wanted(request).await?).await?;
            Ok(json(StatusCode::OK, &done))
        }
        Route::Act(act) => done(admin, act, &body(request).await?).await,
        _ => Err(Refusal::Method(route.allowed())),
    }
}

/// Whatever may read from the disk, as the age of the oldest unsent record does, has a thread of its own.
async fn read(admin: &Arc<Admin>, route: Route, query: String) -> Result<Answer, Refusal> {
    let ok = |content_type, body: &str| Ok(respond_with(StatusCode::OK, content_type, body.to_owned()));
    let admin = Arc::clone(admin);
    match route {
        Route::Healthy => ok(TEXT, "writegate is healthy\n"),
        Route::Ready if admin.app.is_ready() => ok(TEXT, "writegate is ready\n"),
        Route::Ready => {
            Ok(respond_with(StatusCode::SERVICE_UNAVAILABLE, TEXT, "writegate is shutting down\n".to_owned()))
        }
        Route::Page(shown) => page(&admin, shown, query).await,
        Route::Metrics => {
            let page = offload(move || metrics::page(&admin.app)).await;
            let page = page.map_err(|error| Refusal::thread(&error))?;
            ok("text/plain; version=0.0.4; charset=utf-8", &page)
        }
        Route::Status => rendered(move || Ok(status::status(&admin.app, &admin.past))).await,
        Route::History => rendered(move || course(&admin.past, &query)).await,
        Route::Ledger => rendered(move || Ok(status::ledger(&admin.app))).await,
        Route::Config => rendered(move || Ok(config(&admin.app))).await,
        Route::Explain => rendered(move || explained(&admin.app, &query)).await,
        Route::Tap => Ok(events(tap::open(&admin.app, &query, admin.stop.clone())?)),
        Route::Replays => rendered(move || Ok(replays::list(&admin.app))).await,
        Route::Replay(id) => rendered(move || replays::get(&admin.app, id)).await,
        Route::Letters => rendered(move || letters::list(&admin.app, &query)).await,
        Route::Letter(id) => rendered(move || letters::open(&admin.app, id)).await,
        Route::Reload | Route::Act(_) | Route::Asset(_) => Err(Refusal::Method(route.allowed())),
    }
}

async fn rendered<T: Serialize>(
    render: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<Answer, Refusal> {
    let render = move || Ok(json(StatusCode::OK, &render()?));
    offload(render).await.map_err(|error| Refusal::thread(&error))?
}

/// `GET /api/v1/config`.
fn config(app: &App) -> ConfigInEffect {
    let reload = app.last_reload();
    ConfigInEffect {
        config: app.config.load().to_yaml(),
        last_reload_error: reload.error,
        last_reload_success_ms: reload.succeeded_ms,
    }
}

/// `GET /api/v1/history`.
fn course(past: &Past, query: &str) -> Result<History, Refusal> {
    let [tenant, endpoint] = query::parameters(query, &["tenant", "endpoint"])?;
    let (tenant, endpoint) = (tenant.as_deref(), endpoint.as_deref());
    if tenant.is_none() && endpoint.is_none() {
        return Err(Refusal::Request("the query must name a tenant, an endpoint, or both".to_owned()));
    }
    let unknown = "no course is kept of that: there is no such tenant or endpoint, or there are too many";
    past.course(tenant, endpoint).ok_or_else(|| Refusal::Unknown(unknown.to_owned()))
}

/// `GET /api/v1/explain`.
fn explained(app: &App, query: &str) -> Result<Explanation, Refusal> {
    let [tenant, series] = query::parameters(query, &["tenant", "series"])?;
    let given = |name, value: Option<String>| {
        value.ok_or_else(|| Refusal::Request(format!("the query parameter {name} must be there")))
    };
    let tenant = TenantName::new(&given("tenant", tenant)?);
    let tenant = tenant.map_err(|invalid| Refusal::Request(format!("tenant: {invalid}")))?;
    let labels = explain::series(&given("series", series)?).map_err(Refusal::Request)?;
    Ok(explain(&app.config.load(), &tenant, &labels))
}

/// Reads what is wanted from a body of JSON.
async fn wanted<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T, Refusal> {
    let wanted = serde_json::from_slice(&body(request).await?);
    wanted.map_err(|invalid| Refusal::Request(format!("the body is not the JSON object that is expected: {invalid}")))
}

async fn body(request: Request<Incoming>) -> Result<Bytes, Refusal> {
    let body = Limited::new(request.into_body(), refusal::MAX_BODY).collect();
    let body = tokio::time::timeout(BODY_WITHIN, body).await;
    let body = body.map_err(|_elapsed| Refusal::Request(format!("the body did not come within {BODY_WITHIN:?}")))?;
    let body = body.map_err(|error| {
        if error.is::<LengthLimitError>() {
            return Refusal::TooLarge;
        }
        Refusal::Request(format!("the body could not be read: {error}"))
    })?;
    Ok(body.to_bytes())
}

/// A page of the console.
async fn page(admin: &Arc<Admin>, page: Page, query: String) -> Result<Answer, Refusal> {
    let admin = Arc::clone(admin);
    let made = offload(move || console::page(&admin.app, &admin.past, &admin.snapshots, (&page, &query)));
    let (status, text) = made.await.map_err(|error| Refusal::thread(&error))?;
    Ok(html(status, text))
}

/// What came of a form, as a page.
async fn done(admin: &Arc<Admin>, act: Act, form: &[u8]) -> Result<Answer, Refusal> {
    let form = std::str::from_utf8(form).map_err(|_invalid| Refusal::Request("the form is not UTF-8".to_owned()))?;
    let (status, shown) = console::act(&admin.app, &admin.moving, (act, form)).await;
    let admin = Arc::clone(admin);
    let framed = offload(move || console::outcome(&admin.app, &admin.past, &admin.snapshots, &shown)).await;
    let text = framed.map_err(|error| Refusal::thread(&error))?;
    Ok(html(status, text))
}

fn html(status: StatusCode, text: String) -> Answer {
    let mut response = respond_with(status, HTML, text);
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(console::POLICY));
    // A form that is sent from here says where it comes from; `no-referrer` would make it say `null`.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    response
}

/// A file of the console, or that the browser has it.
fn file(asset: Asset, headers: &HeaderMap) -> Answer {
    let tag = asset.tag();
    let is_known = headers.get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let mut response = if is_known {
        respond_with(StatusCode::NOT_MODIFIED, asset.content_type(), String::new())
    } else {
        respond_with(StatusCode::OK, asset.content_type(), asset.content().to_owned())
    };
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // Quotes and hexadecimal digits.
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    match serde_json::to_string(value) {
        Ok(body) => respond_with(status, JSON, body),
        // Plain structs of numbers and texts: serialising them cannot fail.
        Err(error) => respond_with(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{error}\n")),
    }
}

fn respond_with(status: StatusCode, content_type: &'static str, body: String) -> Answer {
    answer_with(status, content_type, Either::Left(Full::new(Bytes::from(body))))
}

fn events(events: Events) -> Answer {
    answer_with(StatusCode::OK, "text/event-stream", Either::Right(events))
}

fn answer_with(status: StatusCode, content_type: &'static str, body: Either<Full<Bytes>, Events>) -> Answer {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

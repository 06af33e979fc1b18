//! The admin address: metrics, health, the JSON API, and the page that shows it.

mod access;
mod api;
mod exposition;
mod metrics;

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::App;
use crate::chain::Chain;

/// The console: one page without anything from elsewhere.
const PAGE: &str = include_str!("admin/console.html");

/// Serves until `stop`.
pub(crate) async fn run(app: Arc<App>, socket: TcpListener, stop: CancellationToken) {
    let connections = TaskTracker::new();
    loop {
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
        let (app, stop) = (Arc::clone(&app), stop.clone());
        connections.spawn(async move {
            let service = service_fn(|request| {
                let app = Arc::clone(&app);
                async move { Ok::<_, std::convert::Infallible>(respond(app, request).await) }
            });
            let mut server = http1::Builder::new();
            server.timer(TokioTimer::new());
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
        });
    }
    connections.close();
    connections.wait().await;
}

async fn respond(app: Arc<App>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let config = app.config.load_full();
    if let Err(denied) = access::check(&config.admin, &request) {
        return text(denied.status(), &format!("{denied}\n"));
    }
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    match (method, path.as_str()) {
        (Method::GET | Method::HEAD, _) => read(app, &path).await,
        (Method::POST, "/-/reload") => match app.reload().await {
            Ok(()) => text(StatusCode::OK, "reloaded\n"),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &format!("{}\n", Chain(&error))),
        },
        (_, "/-/reload") => method_not_allowed("POST"),
        (_, path) if is_read(path) => method_not_allowed("GET, HEAD"),
        _ => text(StatusCode::NOT_FOUND, "nothing is served at this path\n"),
    }
}

const READ: [&str; 7] =
    ["/metrics", "/-/healthy", "/-/ready", "/", "/api/v1/status", "/api/v1/ledger", "/api/v1/config"];

fn is_read(path: &str) -> bool {
    READ.contains(&path)
}

async fn read(app: Arc<App>, path: &str) -> Response<Full<Bytes>> {
    match path {
        "/-/healthy" => text(StatusCode::OK, "writegate is healthy\n"),
        "/-/ready" if app.is_ready() => text(StatusCode::OK, "writegate is ready\n"),
        "/-/ready" => text(StatusCode::SERVICE_UNAVAILABLE, "writegate is shutting down\n"),
        "/-/reload" => method_not_allowed("POST"),
        "/" => page(),
        "/metrics" => rendered(app, "text/plain; version=0.0.4; charset=utf-8", metrics::page).await,
        "/api/v1/status" => rendered(app, "application/json", api::status).await,
        "/api/v1/ledger" => rendered(app, "application/json", api::ledger).await,
        "/api/v1/config" => rendered(app, "application/json", api::config).await,
        _ => text(StatusCode::NOT_FOUND, "nothing is served at this path\n"),
    }
}

/// Renders on a thread of its own: the age of the oldest unsent record may have to be read from the disk.
async fn rendered(app: Arc<App>, content_type: &'static str, render: fn(&App) -> String) -> Response<Full<Bytes>> {
    match tokio::task::spawn_blocking(move || render(&app)).await {
        Ok(body) => respond_with(StatusCode::OK, content_type, body),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &format!("the page could not be rendered: {error}\n")),
    }
}

fn page() -> Response<Full<Bytes>> {
    let mut response = respond_with(StatusCode::OK, "text/html; charset=utf-8", PAGE.to_owned());
    let policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
                  frame-ancestors 'none'; base-uri 'none'; form-action 'none'";
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    response
}

fn text(status: StatusCode, body: &str) -> Response<Full<Bytes>> {
    respond_with(status, "text/plain; charset=utf-8", body.to_owned())
}

fn method_not_allowed(allowed: &'static str) -> Response<Full<Bytes>> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, &format!("this path takes {allowed}\n"));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

fn respond_with(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

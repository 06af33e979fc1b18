//! `/metrics`, `/-/healthy` and `/-/ready`, for anybody who can reach the address; nothing else.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::metrics::Shown;

/// Connections at once, and how long each may live.
const MOST: usize = 64;
const LIMIT: Duration = Duration::from_secs(30);

pub(crate) async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).await.with_context(|| format!("bind the admin address {address}"))?;
    let address = listener.local_addr().context("ask for the admin address")?;
    tracing::info!(%address, "metrics and health");
    Ok(listener)
}

/// Serves until `stop`.
pub(crate) async fn serve(listener: TcpListener, shown: Arc<Shown>, stop: CancellationToken) {
    let room = Arc::new(Semaphore::new(MOST));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            // No file descriptor is left, most likely.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else { continue };
        let shown = Arc::clone(&shown);
        connections.spawn(async move {
            let _permit = permit;
            let service = service_fn(move |request| {
                let answer = answer(&request, &shown);
                async move { Ok::<_, Infallible>(answer) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(10))
                .serve_connection(TokioIo::new(stream), service);
            // What goes wrong with a connection is the peer's to see.
            timeout(LIMIT, connection).await.ok();
        });
    }
}

fn answer(request: &Request<Incoming>, shown: &Shown) -> Response<Full<Bytes>> {
    let get = matches!(*request.method(), Method::GET | Method::HEAD);
    let (status, kind, body) = match request.uri().path() {
        "/metrics" | "/-/healthy" | "/-/ready" if !get => {
            (StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET\n".to_owned())
        }
        "/metrics" => (StatusCode::OK, "text/plain; version=0.0.4", shown.render()),
        "/-/healthy" => (StatusCode::OK, "text/plain", "healthy\n".to_owned()),
        "/-/ready" => match shown.not_ready() {
            None => (StatusCode::OK, "text/plain", "ready\n".to_owned()),
            Some(why) => (StatusCode::SERVICE_UNAVAILABLE, "text/plain", format!("{why}\n")),
        },
        _ => (StatusCode::NOT_FOUND, "text/plain", "no such path: /metrics, /-/healthy, /-/ready\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    if let Ok(kind) = kind.parse() {
        response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    }
    response
}

//! `writegate probe` at the real products: each is told from the others, the silent ones among them, also where its
//! version is hidden, and what is advised works there.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value as Json;
use testkit::peers::Peer;
use testkit::sender::Sender;
use tokio::net::TcpListener;

use crate::gateway;
use crate::peers::{Running, found, free_base, prometheus_command};

/// How long all of it may take.
const LIMIT: Duration = Duration::from_secs(120);

/// A receiver, and what is expected of its probe.
struct Expected {
    peer: Peer,
    /// The product where its version is shown, and where it is hidden.
    names: [&'static str; 2],
    /// Answers to checks.
    answers: &'static [(&'static str, &'static str)],
    /// Lines of the entry.
    entry: &'static [(&'static str, &'static str)],
}

const PROMETHEUS_2: [(&str, &str); 8] = [
    ("remote write 1.0", "yes"),
    ("remote write 2.0", "ignored"),
    ("zstd", "no"),
    ("native histograms", "no"),
    ("out of order", "refused"),
    ("old samples", "refused"),
    ("a bad sample", "costs all"),
    ("a label twice", "costs all"),
];
const FOR_PROMETHEUS_2: [(&str, &str); 3] =
    [("protobuf_message", "prometheus.WriteRequest"), ("compression", "snappy"), ("send_native_histograms", "false")];

const EXPECTED: [Expected; 4] = [
    Expected {
        peer: Peer::Prometheus242,
        names: ["Prometheus 2.42.", "Prometheus 2, as old as 2.42"],
        answers: &PROMETHEUS_2,
        entry: &FOR_PROMETHEUS_2,
    },
    Expected {
        peer: Peer::Prometheus253,
        names: ["Prometheus 2.53.", "Prometheus 2, as late as 2.53"],
        answers: &PROMETHEUS_2,
        entry: &FOR_PROMETHEUS_2,
    },
    Expected {
        peer: Peer::Prometheus35,
        names: ["Prometheus 3.", "Prometheus 3"],
        answers: &[
            ("remote write 1.0", "yes"),
            ("remote write 2.0", "yes"),
            ("zstd", "no"),
            ("exemplars", "yes"),
            ("out of order", "refused"),
            ("a bad sample", "costs all"),
            ("a nameless series", "rest kept"),
        ],
        entry: &[("protobuf_message", "auto"), ("compression", "snappy")],
    },
    Expected {
        peer: Peer::VictoriaMetrics1145,
        names: ["VictoriaMetrics", "VictoriaMetrics"],
        answers: &[
            ("remote write 1.0", "yes"),
            ("remote write 2.0", "ignored"),
            ("zstd", "yes"),
            ("native histograms", "yes"),
            ("out of order", "taken"),
            ("old samples", "taken"),
            ("size limit", "seen"),
        ],
        entry: &[("protobuf_message", "prometheus.WriteRequest"), ("compression", "zstd")],
    },
];

#[test]
fn real_products_are_told_apart_the_silent_ones_too() {
    let directory = tempfile::tempdir().expect("a directory");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let binary = gateway::binary();
    let run = async {
        for expected in &EXPECTED {
            check(&binary, directory.path(), expected).await;
        }
    };
    runtime.block_on(async { tokio::time::timeout(LIMIT, run).await }).expect("it ends in time");
}

async fn check(binary: &Path, directory: &Path, expected: &Expected) {
    let Some(receiver) = start(directory, expected.peer).await else { return };
    let url = format!("{}/api/v1/write", receiver.base);
    let hiding = hide_all_but_writes(&receiver.base).await;
    for (url, name) in [&url, &format!("http://{hiding}/api/v1/write")].into_iter().zip(expected.names) {
        let output = probe(binary, &[url, "--json"]).await;
        let report: Json = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
        assert!(output.status.success(), "{report:#}");
        let product = report["product"]["name"].as_str().unwrap_or_default();
        assert!(product.starts_with(name), "{name}: {report:#}");
        for (check, answer) in expected.answers {
            let rows = report["checks"].as_array().expect("rows");
            let row = rows.iter().find(|row| row["check"] == *check).unwrap_or_else(|| panic!("{check}: {report:#}"));
            assert_eq!(row["answer"], *answer, "{product}: {row}");
        }
        for (key, value) in expected.entry {
            let lines = report["advice"]["entry"].as_array().expect("lines");
            let line = lines.iter().find(|line| line["key"] == *key).unwrap_or_else(|| panic!("{key}: {report:#}"));
            assert_eq!(line["value"], *value, "{product}");
        }
        // The same without writing anything, as far as that shows.
        let dry = probe(binary, &[url, "--json", "--dry-run"]).await;
        let dry: Json = serde_json::from_slice(&dry.stdout).unwrap_or_else(|error| panic!("{error}: {dry:?}"));
        let v2 = |report: &Json| {
            let rows = report["checks"].as_array().expect("rows").clone();
            rows.into_iter().find(|row| row["check"] == "remote write 2.0").map(|row| row["answer"].clone())
        };
        assert_eq!(v2(&dry), v2(&report), "{dry:#}");
        assert_eq!(dry["series"], Json::Null);
    }
}

/// The receiver as its users run it, if it is installed.
pub(crate) async fn start(directory: &Path, peer: Peer) -> Option<Running> {
    let name = format!("{peer:?}");
    let log: PathBuf = directory.join(format!("{name}.log"));
    let program = found(peer)?;
    if peer == Peer::VictoriaMetrics1145 {
        let (mut command, base) = (program, free_base());
        command.arg(format!("-httpListenAddr={}", base.trim_start_matches("http://")));
        command.arg(format!("-storageDataPath={}", directory.join("victoria-data").display()));
        return Some(Running::start(command, log, base, "/health").await);
    }
    std::fs::write(directory.join(format!("{name}.yml")), "{}\n").expect("the configuration is written");
    let (mut command, base) = prometheus_command(program, directory, &name);
    command.arg("--web.enable-remote-write-receiver");
    Some(Running::start(command, log, base, "/-/ready").await)
}

async fn probe(binary: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(binary);
    command.arg("probe").args(arguments);
    tokio::task::spawn_blocking(move || command.output()).await.expect("not cancelled").expect("the program runs")
}

/// A server before `base` that lets pushes to it pass and nothing else, as many a front door does.
async fn hide_all_but_writes(base: &str) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let address = listener.local_addr().expect("its address");
    let url = format!("{base}/api/v1/write");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let url = url.clone();
            let service = service_fn(move |request| pass_on(url.clone(), request));
            tokio::spawn(
                async move { http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.is_ok() },
            );
        }
    });
    address
}

async fn pass_on(url: String, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let refused = |status| {
        let mut response = Response::new(Full::default());
        *response.status_mut() = status;
        Ok(response)
    };
    if head.method != http::Method::POST || head.uri.path() != "/api/v1/write" {
        return refused(StatusCode::FORBIDDEN);
    }
    let body = body.collect().await.expect("a whole body").to_bytes();
    let mut headers = head.headers;
    headers.remove(http::header::HOST);
    let answer = Sender::new(&url).expect("a url").send(head.method, headers, body).await.expect("an answer");
    let mut response = Response::new(Full::new(answer.body));
    *response.status_mut() = answer.status;
    for (name, value) in answer.headers.iter().filter(|(name, _)| name.as_str() != "content-length") {
        response.headers_mut().append(name, value.clone());
    }
    Ok(response)
}

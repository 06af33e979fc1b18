//! What an attacker found, each as a test of what holds instead: peers that stall, lie about sizes or vanish, and
//! reloads at the worst moment. Must not know the gateway's inside either.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};
use remote_write::{Compression, Protocol};
use rustix::process::Signal;
use testkit::endpoint::{Endpoint, Reply, Speaks};
use testkit::process::Process;
use testkit::raw;
use testkit::sender::Sender;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::{TcpListener, TcpStream};
use writegate::Gateway;

use crate::books::{page, settled};
use crate::harness::{
    PATIENCE, Setup, assert_exactly, bounded, compress, eventually, raw_headers, receiver, speaking, takes,
};
use crate::message::{encode, points, request, sample_of};

const PATH: &str = "/api/v1/write";

/// What a shutdown may take at most: 10 s each for pushes and deliveries, 2 s for the admin server, and some.
const SHUTDOWN: Duration = Duration::from_secs(25);

/// The body of a push of one sample.
fn body_of(name: &str, timestamp: i64) -> Bytes {
    compress(Compression::Snappy, &encode(Protocol::V1, &request([sample_of(name, timestamp)])))
}

/// The head of a v1 push, with further headers.
fn head_with(more: &[(&str, &str)]) -> Vec<u8> {
    let headers = raw_headers(Protocol::V1);
    let mut headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    headers.extend(more);
    raw::head("POST", PATH, &headers)
}

/// A configuration on free ports, tenants named by a header, its log in the directory. `limits`, `log` and `endpoints`
/// in YAML's flow style.
fn yaml(directory: &Path, limits: &str, log: &str, endpoints: &str) -> String {
    let path = directory.join("log");
    format!(
        "listeners: [{{address: '127.0.0.1:0', tenant: default, tenant_from: [{{header: x-tenant}}]}}]\n\
         admin: {{address: '127.0.0.1:0'}}\n\
         log: {{path: '{}', min_free: 1MiB, {log}}}\n\
         limits: {{{limits}}}\n\
         remote_write: [{endpoints}]\n",
        path.display()
    )
}

fn sender_to(ingest: SocketAddr) -> Sender {
    Sender::new(&format!("http://{ingest}{PATH}")).unwrap().with_timeout(PATIENCE)
}

/// Pushes a sample that must be taken.
async fn accept(sender: &Sender, name: &str, timestamp: i64) {
    let answer = sender.push(Protocol::V1, Compression::Snappy, body_of(name, timestamp)).await.unwrap();
    assert_eq!(answer.status, 204, "{}", answer.text());
}

/// A gateway in this process that has its configuration from a file in the directory.
async fn start_from_file(directory: &Path, yaml: &str) -> (Gateway, PathBuf) {
    let file = directory.join("writegate.yml");
    std::fs::write(&file, yaml).unwrap();
    let config = writegate_config::load(&file).unwrap_or_else(|problems| panic!("{yaml}\n{problems}")).config;
    let gateway = Box::pin(Gateway::start(config, Some(file.clone()))).await.unwrap();
    (gateway, file)
}

/// The real program, with its configuration from a file and its data where `--data` says.
struct Served {
    process: Process,
    file: PathBuf,
    ingest: SocketAddr,
    admin: SocketAddr,
}

impl Served {
    async fn start(directory: &Path, yaml: &str) -> Self {
        let file = directory.join("writegate.yml");
        std::fs::write(&file, yaml).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_writegate"));
        command.arg("serve").arg("--config").arg(&file).arg("--data").arg(directory.join("data"));
        let process = Process::start(command, &directory.join("log.txt")).unwrap();
        let (ingest, admin) = eventually("the program says where it listens", || async {
            let log = process.log().unwrap();
            let ready = log.lines().find(|line| line.contains("writegate is ready"))?;
            let address = |start: &str| {
                let word = ready.split_whitespace().find_map(|word| word.strip_prefix(start)).unwrap();
                word.trim_end_matches(']').parse::<SocketAddr>().unwrap()
            };
            Some((address("listeners=["), address("admin=")))
        })
        .await;
        Self { process, file, ingest, admin }
    }
}

/// Waits until the gateway refuses 2 KiB as too much, which a reload brought; deliveries change right after.
async fn takes_less(sender: &Sender) {
    eventually("the reload has come to the limits", || async {
        let answer = sender.push(Protocol::V1, Compression::Snappy, vec![b'x'; 2_048].into()).await.unwrap();
        answer.text().contains("request_bytes").then_some(())
    })
    .await;
}

/// Waits until the endpoint keeps a request waiting, which lasts for a minute.
async fn hangs(endpoint: &Endpoint) {
    endpoint.wait_until(PATIENCE, |stats| stats.in_flight > 0).await.unwrap();
}

/// Reads requests off a connection and answers each with the start of a body whose rest never comes.
async fn answer_in_part(stream: TcpStream, requests: Arc<AtomicUsize>) -> std::io::Result<()> {
    let mut stream = BufStream::new(stream);
    loop {
        let (mut line, mut length) = (String::new(), 0);
        while line != "\r\n" {
            line.clear();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        stream.read_exact(&mut vec![0; length]).await?;
        requests.fetch_add(1, Ordering::Relaxed);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort").await?;
        stream.flush().await?;
    }
}

#[test]
fn what_was_answered_with_2xx_is_sent_once_though_the_answers_body_never_comes() {
    bounded(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let endpoint = format!("{{name: a, url: 'http://{}/', remote_timeout: 3s}}", listener.local_addr().unwrap());
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&requests);
        drop(tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                drop(tokio::spawn(answer_in_part(stream, Arc::clone(&counted))));
            }
        }));
        let directory = tempfile::tempdir().unwrap();
        let (gateway, _file) = start_from_file(directory.path(), &yaml(directory.path(), "", "", &endpoint)).await;
        let sender = sender_to(gateway.ingest_addresses().await[0]);
        for timestamp in [1_000, 2_000] {
            accept(&sender, "up", timestamp).await;
            let rows = settled(gateway.admin_address()).await;
            let delivered: u64 = rows.iter().map(|row| row.samples.delivered).sum();
            assert_eq!(delivered, timestamp as u64 / 1_000, "{rows:?}");
        }
        assert_eq!(requests.load(Ordering::Relaxed), 2);
        Box::pin(gateway.shutdown()).await;
    });
}

#[test]
fn senders_that_declare_much_and_send_one_byte_keep_nobody_out() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint("a", &sink).start().await;
        let mut connections = Vec::new();
        for _ in 0..6 {
            let mut connection = gateway.raw().await;
            let declared = (64 << 20).to_string();
            connection.write(&head_with(&[("content-length", &declared), ("expect", "100-continue")])).await.unwrap();
            // Whoever is asked for the body is being received.
            assert_eq!(connection.answer(PATIENCE).await.unwrap().status, 100);
            connection.write(b"x").await.unwrap();
            connections.push(connection);
        }
        let honest = request([sample_of("up", 1_000)]);
        gateway.accept(Protocol::V1, &honest).await;
        drop(connections);
        gateway.settled().await;
        assert_exactly(&sink, &points(&honest));
        gateway.finish().await;
    });
}

#[test]
fn a_body_declared_over_the_limit_is_not_asked_for() {
    bounded(async {
        let gateway = Setup::new().limits("request_bytes: 1KiB").start().await;
        let mut connection = gateway.raw().await;
        connection.write(&head_with(&[("content-length", "1025"), ("expect", "100-continue")])).await.unwrap();
        // Interim answers would be seen here, and after the final one none can come.
        let answer = connection.answer(PATIENCE).await.unwrap();
        assert_eq!(answer.status, 400, "{}", answer.text());
        assert!(answer.text().contains("request_bytes"), "{}", answer.text());
        gateway.finish().await;
    });
}

#[test]
fn one_415_to_v1_from_a_receiver_without_v2_is_forgotten_within_seconds() {
    bounded(async {
        let sink = speaking(Speaks::V1Silently).await;
        sink.script([Reply::status(415)]);
        let gateway = Setup::new().endpoint("a", &sink).start().await;
        let sent = request([sample_of("up", 1_000)]);
        gateway.accept(Protocol::V1, &sent).await;
        gateway.settled().await;
        assert_exactly(&sink, &points(&sent));
        let protocols: Vec<Protocol> = sink.requests().iter().map(|received| received.protocol).collect();
        assert_eq!(protocols, [Protocol::V1, Protocol::V2, Protocol::V1]);
        gateway.finish().await;
    });
}

#[test]
fn what_senders_push_before_they_reset_the_connection_is_counted_as_it_is_booked() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint("a", &sink).start().await;
        gateway.accept(Protocol::V1, &request([sample_of("up", 0)])).await;
        takes(&sink, 1).await;
        for timestamp in 1..=100 {
            let body = body_of("up", timestamp);
            let mut connection = gateway.raw().await;
            let length = body.len().to_string();
            connection.write(&[head_with(&[("content-length", &length)]), body.to_vec()].concat()).await.unwrap();
            connection.reset().unwrap();
        }
        eventually("most are accepted in spite of the reset", || async {
            (gateway.ledger("default", "a").await.samples.accepted > 50).then_some(())
        })
        .await;
        eventually("received is accepted and refused", || async {
            let metrics = gateway.admin("/metrics").await;
            let sum_of = |name: &str| -> f64 {
                let start = format!("writegate_{name}_samples_total{{");
                let lines = metrics.lines().filter(|line| line.starts_with(&start));
                lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
            };
            let booked = gateway.ledger("default", "a").await.samples.accepted as f64;
            let (received, accepted) = (sum_of("received"), sum_of("accepted"));
            (received == accepted + sum_of("refused") && accepted == booked).then_some(())
        })
        .await;
        gateway.settle_and_finish().await;
    });
}

#[test]
fn a_tenant_born_while_a_reload_waits_for_an_endpoint_that_hangs_is_delivered_to_the_others() {
    bounded(async {
        let (stuck, healthy) = (receiver().await, receiver().await);
        stuck.answer_with(|_| Reply::hang());
        let endpoints = |timeout: &str| {
            let (stuck, healthy) = (stuck.url(), healthy.url());
            format!(
                "{{name: stuck, url: '{stuck}', remote_timeout: {timeout}, queue_config: {{max_backoff: 100ms}}}}, \
                 {{name: healthy, url: '{healthy}'}}"
            )
        };
        let directory = tempfile::tempdir().unwrap();
        let (gateway, file) =
            start_from_file(directory.path(), &yaml(directory.path(), "", "", &endpoints("60s"))).await;
        let sender = sender_to(gateway.ingest_addresses().await[0]);
        accept(&sender, "up", 1_000).await;
        hangs(&stuck).await;
        takes(&healthy, 1).await;

        std::fs::write(&file, yaml(directory.path(), "request_bytes: 1KiB", "", &endpoints("61s"))).unwrap();
        gateway.reload_soon();
        takes_less(&sender).await;
        let newborn = sender.clone().with_header("x-tenant".parse().unwrap(), "newborn".parse().unwrap());
        accept(&newborn, "born", 1_000).await;
        takes(&healthy, 2).await;
        assert!(stuck.stats().in_flight > 0, "the reload has nothing to wait for");

        // The other one gets everything as well, once it is well.
        stuck.recover();
        stuck.stop().await;
        stuck.start().await.unwrap();
        takes(&stuck, 2).await;
        settled(gateway.admin_address()).await;
        let expected = points(&request([sample_of("up", 1_000), sample_of("born", 1_000)]));
        assert_exactly(&stuck, &expected);
        assert_exactly(&healthy, &expected);
        Box::pin(gateway.shutdown()).await;
    });
}

#[test]
fn sigterm_ends_the_program_in_time_while_a_reload_waits_for_an_endpoint_that_hangs() {
    bounded(async {
        let stuck = receiver().await;
        stuck.answer_with(|_| Reply::hang());
        let endpoint = |timeout: &str| format!("{{name: stuck, url: '{}', remote_timeout: {timeout}}}", stuck.url());
        let directory = tempfile::tempdir().unwrap();
        let mut served = Served::start(directory.path(), &yaml(directory.path(), "", "", &endpoint("60s"))).await;
        let sender = sender_to(served.ingest);
        accept(&sender, "up", 1_000).await;
        hangs(&stuck).await;
        std::fs::write(&served.file, yaml(directory.path(), "request_bytes: 1KiB", "", &endpoint("61s"))).unwrap();
        served.process.signal(Signal::HUP).unwrap();
        takes_less(&sender).await;
        let status = served.process.terminate(SHUTDOWN).await.unwrap();
        assert!(status.success(), "{status}: {}", served.process.log().unwrap());
    });
}

#[test]
fn a_program_started_with_another_data_directory_than_the_files_reloads_the_logs_limits() {
    bounded(async {
        let directory = tempfile::tempdir().unwrap();
        let mut served = Served::start(directory.path(), &yaml(directory.path(), "", "", "")).await;
        std::fs::write(&served.file, yaml(directory.path(), "", "retain: 1h, max_total_size: 80%", "")).unwrap();
        let reload = Sender::new(&format!("http://{}/-/reload", served.admin)).unwrap().with_timeout(PATIENCE);
        let answer = reload.send(Method::POST, HeaderMap::new(), Bytes::new()).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        let metrics = page(served.admin, "/metrics").await;
        assert!(metrics.lines().any(|line| line == "writegate_config_last_reload_successful 1"), "{metrics}");
        accept(&sender_to(served.ingest), "up", 1_000).await;
        assert!(!directory.path().join("log").exists(), "the file's directory is not the one in use");
        let status = served.process.terminate(SHUTDOWN).await.unwrap();
        assert!(status.success(), "{status}: {}", served.process.log().unwrap());
    });
}

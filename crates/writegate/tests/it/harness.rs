//! A whole gateway in this process, or in one of its own (`program.rs`), and what every test wants from it. Whatever a test
//! is about, its books are checked at each look and at the end.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use remote_write::compression::Compressor;
use remote_write::model::Request;
use remote_write::{Compression, Protocol};
use segment_log::Storage;
use tempfile::TempDir;
use testkit::endpoint::{Endpoint, EndpointSettings, Keep, Speaks};
use testkit::raw::RawConnection;
use testkit::sender::{Answer, Sender, push_headers};
use writegate::{Gateway, Patience, Surroundings};
use writegate_config::Config;

use crate::books::{Row, page, rows, settled};
use crate::message::{encode, points, request, sample_of};
pub(crate) use crate::program::Program;
use crate::program::port;

/// Nothing here takes longer unless it is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Runs a test, which fails when it takes longer than a minute.
pub(crate) fn bounded(test: impl Future<Output = ()>) {
    bounded_by(Duration::from_secs(60), test);
}

/// Runs a test that may take long.
pub(crate) fn bounded_by(limit: Duration, test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let outcome = runtime.block_on(async { tokio::time::timeout(limit, Box::pin(test)).await });
    runtime.shutdown_background();
    outcome.expect("the test ends in time");
}

/// Polls until the condition gives something: the only place that waits on a clock instead of an event.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut condition: impl FnMut() -> F) -> T {
    let polling = async {
        let mut interval = tokio::time::interval(Duration::from_millis(10));
        loop {
            interval.tick().await;
            if let Some(value) = condition().await {
                return value;
            }
        }
    };
    match tokio::time::timeout(PATIENCE, polling).await {
        Ok(value) => value,
        Err(_elapsed) => panic!("waited for {PATIENCE:?}: {what}"),
    }
}

/// A healthy receiver that keeps every request.
pub(crate) async fn receiver() -> Endpoint {
    receiver_that(EndpointSettings { keep: Keep::Requests, ..EndpointSettings::default() }).await
}

/// A receiver of another kind that keeps every request.
pub(crate) async fn speaking(speaks: Speaks) -> Endpoint {
    receiver_that(EndpointSettings { speaks, keep: Keep::Requests, ..EndpointSettings::default() }).await
}

pub(crate) async fn receiver_that(settings: EndpointSettings) -> Endpoint {
    Endpoint::launch(settings).await.unwrap()
}

/// The body, compressed.
pub(crate) fn compress(compression: Compression, raw: &[u8]) -> Bytes {
    let mut body = Vec::new();
    Compressor::new().compress(compression, raw, &mut body).unwrap();
    Bytes::from(body)
}

/// What a gateway is started with. Everything is written in YAML's flow style, without the outer braces.
#[derive(Clone, Debug, Default)]
pub(crate) struct Setup {
    listener: String,
    log: String,
    limits: String,
    endpoints: Vec<String>,
    top: String,
    disk: Option<Arc<dyn Storage>>,
    patience: Option<Patience>,
    log_level: Option<&'static str>,
    wrapper: Vec<String>,
}

impl Setup {
    pub(crate) fn new() -> Self {
        Self { listener: "tenant: default".to_owned(), ..Self::default() }
    }

    /// Keys of the listener, instead of `tenant: default`.
    pub(crate) fn listener(mut self, keys: &str) -> Self {
        keys.clone_into(&mut self.listener);
        self
    }

    /// Keys of `log`.
    pub(crate) fn log(mut self, keys: &str) -> Self {
        self.log = format!(", {keys}");
        self
    }

    /// Keys of `limits`.
    pub(crate) fn limits(mut self, keys: &str) -> Self {
        keys.clone_into(&mut self.limits);
        self
    }

    /// The disk under the log, instead of the machine's.
    pub(crate) fn disk(mut self, disk: Arc<dyn Storage>) -> Self {
        self.disk = Some(disk);
        self
    }

    /// For so long 5xx answers are about the endpoint, instead of a minute.
    pub(crate) fn poison_after(mut self, poison: Duration) -> Self {
        self.patience = Some(Patience { poison });
        self
    }

    /// What the real program logs, instead of `info`.
    pub(crate) fn log_level(mut self, level: &'static str) -> Self {
        self.log_level = Some(level);
        self
    }

    /// Words before the real program's own, which start it: a process that becomes the program.
    pub(crate) fn started_by(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// Another key of the file, as a line.
    pub(crate) fn top(mut self, line: &str) -> Self {
        self.top.push_str(line);
        self.top.push('\n');
        self
    }

    /// One more listener, of the tenant `default`, at an address of its own.
    pub(crate) fn another_listener(mut self, address: SocketAddr) -> Self {
        self.listener.push_str(&format!("}}, {{address: '{address}', tenant: default"));
        self
    }

    /// An endpoint, with the pauses of a test.
    pub(crate) fn endpoint(self, name: &str, receiver: &Endpoint) -> Self {
        self.endpoint_with(name, receiver, "")
    }

    /// An endpoint with further keys.
    pub(crate) fn endpoint_with(mut self, name: &str, receiver: &Endpoint, keys: &str) -> Self {
        let pauses = if keys.contains("queue_config") { "" } else { ", queue_config: {max_backoff: 100ms}" };
        let separator = if keys.is_empty() { "" } else { ", " };
        self.endpoints.push(format!("{{name: {name}, url: '{}'{pauses}{separator}{keys}}}", receiver.url()));
        self
    }

    /// An endpoint at an address of its own.
    pub(crate) fn endpoint_at(mut self, name: &str, url: &str) -> Self {
        self.endpoints.push(format!("{{name: {name}, url: '{url}', queue_config: {{max_backoff: 100ms}}}}"));
        self
    }

    /// The configuration; ports 0 take free ones.
    pub(crate) fn yaml(&self, data: &Path, listen: u16, admin: u16) -> String {
        let Self { listener, log, limits, endpoints, top, disk: _, patience: _, log_level: _, wrapper: _ } = self;
        format!(
            "listeners: [{{address: '127.0.0.1:{listen}', {listener}}}]\n\
             admin: {{address: '127.0.0.1:{admin}'}}\n\
             log: {{path: '{}', min_free: 1MiB{log}}}\n\
             limits: {{{limits}}}\n\
             remote_write: [{}]\n{top}",
            data.display(),
            endpoints.join(", "),
        )
    }

    /// Starts it in this process.
    pub(crate) async fn start(self) -> TestGateway {
        let directory = tempfile::tempdir().unwrap();
        let running = Running::start(&self, directory.path()).await;
        TestGateway { setup: self, directory, running: Some(running) }
    }

    /// Starts it in this process, on a copy of a data directory.
    pub(crate) async fn start_on(self, data: &Path) -> TestGateway {
        let directory = tempfile::tempdir().unwrap();
        copy(data, &directory.path().join("data"));
        let running = Running::start(&self, directory.path()).await;
        TestGateway { setup: self, directory, running: Some(running) }
    }

    /// Starts the real program in a process of its own.
    pub(crate) async fn start_program(self) -> Program {
        self.try_start_program().await.expect("a program that starts")
    }

    /// The same; `None` if it ends before it is ready.
    pub(crate) async fn try_start_program(self) -> Option<Program> {
        let directory = tempfile::tempdir().unwrap();
        let (listen, admin) = (port(), port());
        let config = config_file(directory.path());
        std::fs::write(&config, self.yaml(&directory.path().join("data"), listen, admin)).unwrap();
        Program::start(directory, config, (listen, admin), self.log_level.unwrap_or("info"), self.wrapper).await
    }
}

/// Copies a directory with all that is in it.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn config_file(directory: &Path) -> PathBuf {
    directory.join("writegate.yml")
}

/// Reads a configuration; the error is what a user gets to see.
pub(crate) fn parse(yaml: &str, base: &Path) -> Result<Config, String> {
    let loaded = writegate_config::parse(yaml, Path::new("test.yml"), base);
    loaded.map(|loaded| loaded.config).map_err(|problems| problems.to_string())
}

#[derive(Debug)]
struct Running {
    gateway: Gateway,
    ingest: SocketAddr,
}

impl Running {
    async fn start(setup: &Setup, directory: &Path) -> Self {
        let yaml = setup.yaml(&directory.join("data"), 0, 0);
        let config = parse(&yaml, directory).unwrap_or_else(|problems| panic!("{yaml}\n{problems}"));
        let mut surroundings = Surroundings::default();
        if let Some(disk) = &setup.disk {
            surroundings.storage = Arc::clone(disk);
        }
        surroundings.patience = setup.patience.unwrap_or(surroundings.patience);
        let file = config_file(directory);
        std::fs::write(&file, yaml).unwrap();
        let gateway = Box::pin(Gateway::start_in(surroundings, config, Some(file))).await.unwrap();
        let ingest = *gateway.ingest_addresses().await.first().unwrap();
        Self { gateway, ingest }
    }
}

/// A gateway in this process. A test ends it with [`Self::finish`], which checks its books.
#[derive(Debug)]
pub(crate) struct TestGateway {
    setup: Setup,
    directory: TempDir,
    running: Option<Running>,
}

impl TestGateway {
    fn running(&self) -> &Running {
        self.running.as_ref().expect("the gateway runs")
    }

    /// Where senders push.
    pub(crate) fn address(&self) -> SocketAddr {
        self.running().ingest
    }

    /// A sender for a path.
    pub(crate) fn sender_at(&self, path: &str) -> Sender {
        Sender::new(&format!("http://{}{path}", self.address())).unwrap().with_timeout(PATIENCE)
    }

    /// A sender for Prometheus' path.
    pub(crate) fn sender(&self) -> Sender {
        self.sender_at("/api/v1/write")
    }

    /// A connection whose bytes the test chooses.
    pub(crate) async fn raw(&self) -> RawConnection {
        RawConnection::open(self.address()).await.unwrap()
    }

    /// Pushes a request as a sender of that protocol would, snappy.
    pub(crate) async fn push(&self, protocol: Protocol, request: &Request<'_>) -> Answer {
        self.push_raw(protocol, Compression::Snappy, &encode(protocol, request)).await
    }

    /// Pushes bytes as a sender of that protocol and compression would.
    pub(crate) async fn push_raw(&self, protocol: Protocol, compression: Compression, raw: &[u8]) -> Answer {
        self.sender().push(protocol, compression, compress(compression, raw)).await.unwrap()
    }

    /// POSTs a body with exactly these headers.
    pub(crate) async fn post(&self, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        self.sender().send(Method::POST, header_map(headers), body.into()).await.unwrap()
    }

    /// Pushes a request that must be taken.
    pub(crate) async fn accept(&self, protocol: Protocol, request: &Request<'_>) {
        let answer = self.push(protocol, request).await;
        assert_eq!(answer.status, 204, "{}", answer.text());
    }

    /// Where the admin API is.
    pub(crate) fn admin_url(&self) -> String {
        format!("http://{}", self.running().gateway.admin_address())
    }

    /// A page of the admin server.
    pub(crate) async fn admin(&self, path: &str) -> String {
        page(self.running().gateway.admin_address(), path).await
    }

    /// The value of a series on `/metrics`, written as it stands there; 0 if it is absent.
    pub(crate) async fn metric(&self, series: &str) -> f64 {
        let page = self.admin("/metrics").await;
        let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    /// The books of a tenant at an endpoint; all books are checked.
    pub(crate) async fn ledger(&self, tenant: &str, endpoint: &str) -> Row {
        let rows = self.all_rows().await;
        let row = rows.iter().find(|row| row.tenant == tenant && row.endpoint == endpoint && row.replay.is_none());
        row.cloned().unwrap_or_else(|| panic!("no row of {tenant} at {endpoint}: {rows:?}"))
    }

    /// The books of a replay.
    pub(crate) async fn replay_row(&self, id: u64) -> Row {
        let rows = self.all_rows().await;
        let row = rows.iter().find(|row| row.replay == Some(id));
        row.cloned().unwrap_or_else(|| panic!("no row of replay {id}: {rows:?}"))
    }

    /// All books, those of replays among them.
    pub(crate) async fn all_rows(&self) -> Vec<Row> {
        rows(self.running().gateway.admin_address()).await
    }

    /// Waits until nothing is pending anywhere.
    pub(crate) async fn settled(&self) {
        settled(self.running().gateway.admin_address()).await;
    }

    /// The dead letters, as the admin API lists them.
    pub(crate) async fn dead_letters(&self) -> Vec<serde_json::Value> {
        let page: serde_json::Value = serde_json::from_str(&self.admin("/api/v1/dead_letters").await).unwrap();
        page["letters"].as_array().unwrap().clone()
    }

    /// Waits until an endpoint is held for this status.
    pub(crate) async fn held(&self, endpoint: &str, code: u16) {
        let series = format!("writegate_endpoint_held{{endpoint=\"{endpoint}\",code=\"{code}\"}}");
        eventually("the endpoint is held", || async { (self.metric(&series).await == 1.0).then_some(()) }).await;
    }

    /// Takes a receiver down, and waits until the gateway has noticed: what it accepts then waits in the log. Gives what
    /// was accepted to notice it.
    pub(crate) async fn is_down(&self, receiver: &Endpoint) -> Vec<testkit::ledger::Point> {
        receiver.stop().await;
        let noticed = request([sample_of("noticed_that_it_is_down", 1)]);
        self.accept(Protocol::V1, &noticed).await;
        eventually("the gateway notices", || async {
            let failed = |line: &&str| line.starts_with("remote_write_requests_total{code=\"<error>\"");
            let page = self.admin("/metrics").await;
            let failures =
                page.lines().find(failed).map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap());
            failures.filter(|failures| *failures >= 3)
        })
        .await;
        points(&noticed)
    }

    /// Waits until everything is settled, then stops.
    pub(crate) async fn settle_and_finish(self) {
        self.settled().await;
        self.finish().await;
    }

    /// Stops it and starts it again on the same log, on other ports.
    pub(crate) async fn restart(mut self) -> Self {
        self.stop().await;
        self.running = Some(Running::start(&self.setup, self.directory.path()).await);
        self
    }

    /// Shuts down, and gives what [`Self::start_again`] needs.
    pub(crate) async fn stop(&mut self) {
        let running = self.running.take().expect("the gateway runs");
        rows(running.gateway.admin_address()).await;
        Box::pin(running.gateway.shutdown()).await;
    }

    /// Starts it after [`Self::stop`].
    pub(crate) async fn start_again(&mut self) {
        self.running = Some(Running::start(&self.setup, self.directory.path()).await);
    }

    /// Stops it and starts it again on the same log with another configuration.
    pub(crate) async fn restart_with(mut self, setup: Setup) -> Self {
        self.stop().await;
        self.setup = setup;
        self.start_again().await;
        self
    }

    /// Calls the admin API, and gives status and JSON.
    pub(crate) async fn call(&self, method: Method, path: &str, body: &str) -> (u16, serde_json::Value) {
        let url = format!("{}{path}", self.admin_url());
        let sender = Sender::new(&url).unwrap().with_timeout(PATIENCE);
        let answer = sender.send(method, HeaderMap::new(), Bytes::from(body.to_owned())).await.unwrap();
        let text = answer.text();
        let json = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{path}: {text}"));
        (answer.status.as_u16(), json)
    }

    /// Shuts it down while something else goes on.
    pub(crate) fn shutdown(&mut self) -> impl Future<Output = ()> + 'static {
        let running = self.running.take().expect("the gateway runs");
        async move { Box::pin(running.gateway.shutdown()).await }
    }

    /// Takes over another configuration: its file changes, and is read again.
    pub(crate) async fn reload(&mut self, setup: Setup) {
        self.try_reload(&setup).await.unwrap_or_else(|error| panic!("{setup:?}\n{error}"));
        self.setup = setup;
    }

    /// Changes the configuration's file, and has it read again; the error is what an operator gets to see.
    pub(crate) async fn try_reload(&self, setup: &Setup) -> Result<(), String> {
        let yaml = setup.yaml(&self.directory.path().join("data"), 0, 0);
        std::fs::write(config_file(self.directory.path()), yaml).unwrap();
        self.read_again().await
    }

    /// Reads the configuration's files again; the error is what an operator gets to see.
    pub(crate) async fn read_again(&self) -> Result<(), String> {
        use std::error::Error as _;
        self.running().gateway.reload().await.map_err(|error| {
            let (mut text, mut cause) = (error.to_string(), error.source());
            while let Some(error) = cause {
                text.push_str(&format!(": {error}"));
                cause = error.source();
            }
            text
        })
    }

    /// Checks the books, then stops.
    pub(crate) async fn finish(mut self) {
        self.stop().await;
    }
}

impl Drop for TestGateway {
    fn drop(&mut self) {
        if self.running.is_some() && !std::thread::panicking() {
            panic!("a test ran out of time, or did not end its gateway with finish(), which checks the books");
        }
    }
}

/// Headers as written.
pub(crate) fn header_map(headers: &[(&str, &str)]) -> HeaderMap {
    let header =
        |(name, value): &(&str, &str)| (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap());
    headers.iter().map(header).collect()
}

/// The headers of a push for [`testkit::raw`], which wants them as text.
pub(crate) fn raw_headers(protocol: Protocol) -> Vec<(String, String)> {
    let headers = push_headers(protocol, Compression::Snappy);
    headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect()
}

/// The `Written` headers of an answer: samples, histograms, exemplars.
pub(crate) fn written(answer: &Answer) -> [Option<u64>; 3] {
    ["samples", "histograms", "exemplars"].map(|kind| {
        let value = answer.header(&format!("x-prometheus-remote-write-{kind}-written"))?;
        Some(value.parse().unwrap())
    })
}

/// Waits until the receiver took so many samples.
pub(crate) async fn takes(receiver: &Endpoint, samples: u64) {
    receiver.wait_until(PATIENCE, |stats| stats.taken.samples >= samples).await.unwrap();
}

/// Whether the receiver has every point, each series in order and nothing twice.
pub(crate) fn assert_exactly(receiver: &Endpoint, expected: &[testkit::ledger::Point]) {
    receiver.ledger(|ledger| {
        assert_eq!(ledger.missing(expected.iter().copied()), [], "missing");
        assert_eq!(ledger.out_of_order(), [], "out of order");
        assert_eq!(ledger.conflicts(), [], "conflicts");
        let counts = ledger.counts();
        let arrived = counts.samples + counts.histograms + counts.exemplars;
        assert_eq!(arrived, expected.len() as u64, "more than expected, or twice: {counts:?}");
    });
}

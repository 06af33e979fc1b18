//! How the real programs are started for the scenario: their configurations and flags, and the questions they answer.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use testkit::peers::{Peer, require};
use testkit::process::{Process, free_port};

use crate::http;
use crate::samples::{Samples, metric};

/// How long a start may take.
const LIMIT: Duration = Duration::from_secs(30);

/// A program that pushes to the gateway, and the value of the `sender` label on everything it pushes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    Prometheus35V1,
    Prometheus35V2,
    Prometheus242,
    Vmagent1145,
    Vmagent179,
}

pub(crate) const SENDERS: [Sender; 5] =
    [Sender::Prometheus35V1, Sender::Prometheus35V2, Sender::Prometheus242, Sender::Vmagent1145, Sender::Vmagent179];

impl Sender {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Prometheus35V1 => "prometheus35v1",
            Self::Prometheus35V2 => "prometheus35v2",
            Self::Prometheus242 => "prometheus242",
            Self::Vmagent1145 => "vmagent1145",
            Self::Vmagent179 => "vmagent179",
        }
    }

    const fn peer(self) -> Peer {
        match self {
            Self::Prometheus35V1 | Self::Prometheus35V2 => Peer::Prometheus35,
            Self::Prometheus242 => Peer::Prometheus242,
            Self::Vmagent1145 => Peer::Vmagent1145,
            Self::Vmagent179 => Peer::Vmagent179,
        }
    }

    pub(crate) const fn is_prometheus(self) -> bool {
        matches!(self, Self::Prometheus35V1 | Self::Prometheus35V2 | Self::Prometheus242)
    }

    /// Lines for its `remote_write` entry, and the features to switch on.
    const fn prometheus_settings(self) -> (&'static str, &'static str) {
        match self {
            Self::Prometheus35V2 => (
                "protobuf_message: io.prometheus.write.v2.Request",
                "exemplar-storage,native-histograms,metadata-wal-records",
            ),
            Self::Prometheus35V1 => ("protobuf_message: prometheus.WriteRequest", "exemplar-storage,native-histograms"),
            _ => ("metadata_config: {send_interval: 5s}", "exemplar-storage,native-histograms"),
        }
    }
}

/// A program that runs, and where it answers.
#[derive(Debug)]
pub(crate) struct Running {
    process: Process,
    pub(crate) base: String,
    /// How it was started.
    command: Command,
    log: PathBuf,
    ready: String,
}

impl Running {
    pub(crate) async fn start(command: Command, log: PathBuf, base: String, ready: &str) -> Self {
        let process = Process::start(again(&command), &log).expect("the program starts");
        let mut running = Self { process, ready: format!("{base}{ready}"), base, command, log };
        running.becomes_ready().await;
        running
    }

    async fn becomes_ready(&mut self) {
        self.process.ready(&self.ready, LIMIT).await.expect("the program becomes ready");
    }

    /// Ends it, with or without time to say goodbye.
    pub(crate) async fn stop(&mut self, kill: bool) {
        if kill {
            self.process.kill().expect("it can be killed");
        } else {
            self.process.terminate(LIMIT).await.expect("it ends");
        }
    }

    /// Starts it again, at the same address and on the same data.
    pub(crate) async fn start_again(&mut self) {
        self.process = Process::start(again(&self.command), &self.log).expect("the program starts");
        self.becomes_ready().await;
    }

    pub(crate) fn log(&self) -> String {
        self.process.log().expect("its output is kept")
    }

    /// The program's own metrics.
    pub(crate) async fn metrics(&self) -> String {
        http::get(&format!("{}/metrics", self.base)).await
    }

    /// All samples of Prometheus' series that fit, within the window in milliseconds.
    pub(crate) async fn prometheus_samples(&self, selector: &str, window: (i64, i64)) -> Samples {
        let mut samples = Samples::default();
        for part in parts(window) {
            let seconds = (part.1 - part.0) / 1000 + 2;
            let (query, time) = (format!("{selector}[{seconds}s]"), format!("{}", part.1 as f64 / 1e3));
            let url = http::url(&self.base, "/api/v1/query", &[("query", &query), ("time", &time)]);
            samples.extend(Samples::from_matrix(&http::get_json(&url).await).within(part));
        }
        samples
    }

    /// Prometheus' evaluation of a query at each second of the window.
    pub(crate) async fn prometheus_range(&self, query: &str, window: (i64, i64)) -> Samples {
        let mut samples = Samples::default();
        for part in parts(window) {
            let [start, end] = [part.0, part.1].map(|time| (time / 1000).to_string());
            let parameters = [("query", query), ("start", &start), ("end", &end), ("step", "1")];
            let url = http::url(&self.base, "/api/v1/query_range", &parameters);
            samples.extend(Samples::from_matrix(&http::get_json(&url).await));
        }
        samples
    }

    /// Prometheus' exemplars within the window.
    pub(crate) async fn prometheus_exemplars(&self, query: &str, window: (i64, i64)) -> Samples {
        let [start, end] = [window.0, window.1].map(|time| format!("{}", time as f64 / 1e3));
        let parameters = [("query", query), ("start", start.as_str()), ("end", &end)];
        let url = http::url(&self.base, "/api/v1/query_exemplars", &parameters);
        Samples::from_exemplars(&http::get_json(&url).await).within(window)
    }

    /// All samples of VictoriaMetrics' series that fit, within the window in milliseconds.
    pub(crate) async fn exported_samples(&self, selector: &str, window: (i64, i64)) -> Samples {
        let mut samples = Samples::default();
        for part in parts(window) {
            let [start, end] = [part.0 - 1000, part.1 + 1000].map(|time| format!("{}", time as f64 / 1e3));
            let parameters = [("match[]", selector), ("start", start.as_str()), ("end", &end)];
            let lines = http::get(&http::url(&self.base, "/api/v1/export", &parameters)).await;
            samples.extend(Samples::from_export(&lines).within(part));
        }
        samples
    }

    /// The sum of a metric of its own over all label sets with these labels.
    pub(crate) async fn metric(&self, name: &str, labels: &[&str]) -> Option<f64> {
        metric(&self.metrics().await, name, labels)
    }
}

/// The receivers, if both are installed.
pub(crate) async fn start_receivers(directory: &Path) -> Option<(Running, Running)> {
    let prometheus = found(Peer::Prometheus35)?;
    let victoria = found(Peer::VictoriaMetrics1145)?;
    let config = directory.join("receiver.yml");
    // A sender that got no answer sends again, also what is not its newest any more: receivers of retried data are run
    // with a window for it.
    // Of exemplars it keeps 100,000 if it is not told otherwise, which an hour of three senders has more than.
    let text = "storage: {tsdb: {out_of_order_time_window: 2h}, exemplars: {max_exemplars: 2000000}}\n";
    std::fs::write(&config, text).expect("the configuration is written");
    let (mut command, base) = prometheus_command(prometheus, directory, "receiver");
    command.args(["--web.enable-remote-write-receiver", "--enable-feature=exemplar-storage,native-histograms"]);
    let prometheus = Running::start(command, directory.join("receiver.log"), base, "/-/ready").await;

    let (mut command, base) = (victoria, free_base());
    command.arg(format!("-httpListenAddr={}", base.trim_start_matches("http://")));
    command.arg(format!("-storageDataPath={}", directory.join("victoria-data").display()));
    let victoria = Running::start(command, directory.join("victoria.log"), base, "/health").await;
    Some((prometheus, victoria))
}

/// The sender, if it is installed, scraping the target and itself and pushing to `push_url`.
pub(crate) async fn start_sender(
    sender: Sender,
    directory: &Path,
    target: std::net::SocketAddr,
    push_url: &str,
) -> Option<Running> {
    let program = found(sender.peer())?;
    let name = sender.name();
    let log = directory.join(format!("{name}.log"));
    let config = directory.join(format!("{name}.yml"));
    let scrape = |base: &str| {
        let itself = base.trim_start_matches("http://");
        format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s, external_labels: {{sender: {name}}}}}\nscrape_configs:\n  \
             - {{job_name: target, honor_timestamps: true, metrics_path: /{name}, static_configs: [{{targets: [\"{target}\"]}}]}}\n  \
             - {{job_name: itself, static_configs: [{{targets: [\"{itself}\"]}}]}}\n"
        )
    };
    if sender.is_prometheus() {
        let (mut command, base) = prometheus_command(program, directory, name);
        let (settings, features) = sender.prometheus_settings();
        let remote_write = format!(
            "remote_write:\n  - url: {push_url}\n    send_exemplars: true\n    send_native_histograms: true\n    {settings}\n"
        );
        std::fs::write(&config, scrape(&base) + &remote_write).expect("the configuration is written");
        command.arg(format!("--enable-feature={features}"));
        return Some(Running::start(command, log, base, "/-/ready").await);
    }
    let (mut command, base) = (program, free_base());
    std::fs::write(&config, scrape(&base)).expect("the configuration is written");
    command.arg(format!("-promscrape.config={}", config.display()));
    command.arg(format!("-httpListenAddr={}", base.trim_start_matches("http://")));
    command.arg(format!("-remoteWrite.tmpDataPath={}", directory.join(format!("{name}-data")).display()));
    command.arg(format!("-remoteWrite.url={push_url}"));
    // With more queues vmagent itself may send a series' samples out of order.
    command.arg("-remoteWrite.queues=1");
    Some(Running::start(command, log, base, "/health").await)
}

/// A Prometheus that takes remote writes and nothing that is out of order, at an address that stays the same.
#[derive(Debug)]
pub(crate) struct StrictReceiver {
    running: Running,
}

impl StrictReceiver {
    /// Starts it, if it is installed.
    pub(crate) async fn start(directory: &Path, name: &'static str) -> Option<Self> {
        // Out-of-order windows are off unless configured.
        std::fs::write(directory.join(format!("{name}.yml")), "{}\n").expect("the configuration is written");
        let (mut command, base) = prometheus_command(found(Peer::Prometheus35)?, directory, name);
        command.arg("--web.enable-remote-write-receiver");
        let running = Running::start(command, directory.join(format!("{name}.log")), base, "/-/ready").await;
        Some(Self { running })
    }

    pub(crate) fn write_url(&self) -> String {
        format!("{}/api/v1/write", self.running.base)
    }

    /// Ends it, with or without time to say goodbye, and starts it again.
    pub(crate) async fn restart(&mut self, kill: bool) {
        self.running.stop(kill).await;
        self.running.start_again().await;
    }

    pub(crate) fn running(&self) -> &Running {
        &self.running
    }
}

/// The same command, which can be started once more.
fn again(command: &Command) -> Command {
    let mut again = Command::new(command.get_program());
    again.args(command.get_args());
    again.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    again
}

pub(crate) fn prometheus_command(mut command: Command, directory: &Path, name: &str) -> (Command, String) {
    let base = free_base();
    command.arg(format!("--config.file={}", directory.join(format!("{name}.yml")).display()));
    command.arg(format!("--storage.tsdb.path={}", directory.join(format!("{name}-data")).display()));
    command.arg(format!("--web.listen-address={}", base.trim_start_matches("http://")));
    (command, base)
}

/// promtool, which comes with Prometheus 2.42.
pub(crate) fn promtool() -> Option<PathBuf> {
    let found = require(Peer::Prometheus242).expect("CI has every peer")?;
    Some(found.program.with_file_name("promtool"))
}

pub(crate) fn found(peer: Peer) -> Option<Command> {
    Some(require(peer).expect("CI has every peer")?.command())
}

pub(crate) fn free_base() -> String {
    format!("http://127.0.0.1:{}", free_port().expect("a free port"))
}

/// A window in parts that a program answers for in seconds: an hour at once is more than it takes.
fn parts(window: (i64, i64)) -> impl Iterator<Item = (i64, i64)> {
    const PART: i64 = 300_000;
    (window.0..window.1).step_by(PART as usize).map(move |from| (from, (from + PART).min(window.1)))
}

//! The gateways that are compared: how each is started with the same job, and what it promises.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use testkit::peers::Peer;
use testkit::process::{Process, free_port};

use crate::Protocol;

/// How long a start may take.
const START_WITHIN: Duration = Duration::from_secs(30);

/// A pause after it. Prometheus takes samples before its queues have started, never sends those, and does not tell when
/// it is over.
const SETTLE: Duration = Duration::from_secs(1);

/// A gateway, and the way it is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Contender {
    Writegate,
    VmagentZstd,
    VmagentSnappy,
    PrometheusAgent,
}

/// One that runs.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) process: Process,
    pub(crate) push_url: String,
    pub(crate) data: PathBuf,
}

impl Contender {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Writegate => "Writegate",
            Self::VmagentZstd => "vmagent, zstd out",
            Self::VmagentSnappy => "vmagent, snappy out",
            Self::PrometheusAgent => "Prometheus agent",
        }
    }

    /// What an answer to the sender means.
    pub(crate) const fn promise(self) -> &'static str {
        match self {
            Self::Writegate => "on disk, synced",
            Self::VmagentZstd | Self::VmagentSnappy => "in memory",
            Self::PrometheusAgent => "in the WAL, not synced",
        }
    }

    /// `None` for Writegate, which is not fetched but built.
    const fn peer(self) -> Option<Peer> {
        match self {
            Self::Writegate => None,
            Self::VmagentZstd | Self::VmagentSnappy => Some(Peer::Vmagent1145),
            Self::PrometheusAgent => Some(Peer::Prometheus35),
        }
    }

    fn program(self) -> Result<Command> {
        let Some(peer) = self.peer() else { return Ok(Command::new(writegate()?)) };
        Ok(peer.find().with_context(|| format!("{} is not installed", self.name()))?.command())
    }

    /// The version; `None` where it is not installed.
    pub(crate) fn version(self) -> Result<Option<String>> {
        let Some(peer) = self.peer() else {
            let output =
                Command::new(writegate()?).arg("--version").output().context("ask writegate for its version")?;
            return Ok(Some(String::from_utf8_lossy(&output.stdout).trim().to_owned()));
        };
        // Not every package's program knows its own version; the directory it lies in does.
        let home = peer.find().and_then(|found| found.program.ancestors().nth(3).map(Path::to_owned));
        Ok(home.and_then(|home| Some(home.file_name()?.to_str()?.replace('-', " "))))
    }

    /// Starts it in an empty directory, to deliver everything to these URLs. Where the message cannot be chosen, remote
    /// write 1.0 is what it sends.
    pub(crate) async fn start(self, directory: &Path, endpoints: &[String], protocol: Protocol) -> Result<Started> {
        let mut program = self.program()?;
        let address = format!("127.0.0.1:{}", free_port()?);
        let data = directory.join("data");
        let ready = match self {
            Self::Writegate => {
                let admin = format!("127.0.0.1:{}", free_port()?);
                let config = directory.join("writegate.yml");
                let entries = remote_write(endpoints, protocol, "compression: snappy");
                let text = format!(
                    "listeners: [{{address: \"{address}\", tenant: default}}]\nadmin: {{address: \"{admin}\"}}\n\
                     log: {{path: {}}}\n{entries}",
                    data.display()
                );
                std::fs::write(&config, text)?;
                program.arg("serve").arg("--config").arg(config);
                format!("http://{admin}/-/ready")
            }
            Self::VmagentZstd | Self::VmagentSnappy => {
                program.arg(format!("-httpListenAddr={address}"));
                program.arg(format!("-remoteWrite.tmpDataPath={}", data.display()));
                program.args(endpoints.iter().map(|url| format!("-remoteWrite.url={url}")));
                if self == Self::VmagentSnappy {
                    program.arg("-remoteWrite.forcePromProto=true");
                }
                format!("http://{address}/health")
            }
            Self::PrometheusAgent => {
                let config = directory.join("prometheus.yml");
                std::fs::write(&config, remote_write(endpoints, protocol, "remote_timeout: 30s"))?;
                program.args(["--agent", "--web.enable-remote-write-receiver"]);
                program.arg(format!("--config.file={}", config.display()));
                program.arg(format!("--storage.agent.path={}", data.display()));
                program.arg(format!("--web.listen-address={address}"));
                format!("http://{address}/-/ready")
            }
        };
        let mut process = Process::start(program, &directory.join("log"))?;
        process.ready(&ready, START_WITHIN).await?;
        tokio::time::sleep(SETTLE).await;
        Ok(Started { process, push_url: format!("http://{address}/api/v1/write"), data })
    }
}

/// The `remote_write` block, which Writegate and Prometheus share.
fn remote_write(endpoints: &[String], protocol: Protocol, more: &str) -> String {
    let message = protocol.message();
    let entry = |url| format!("  - {{url: \"{url}\", protobuf_message: {message}, {more}}}\n");
    endpoints.iter().map(entry).fold("remote_write:\n".to_owned(), |block, entry| block + &entry)
}

/// The program: `$WRITEGATE_BIN`, or the one beside this one, where cargo builds both.
fn writegate() -> Result<PathBuf> {
    match std::env::var_os("WRITEGATE_BIN") {
        Some(binary) => Ok(binary.into()),
        None => Ok(std::env::current_exe()?.with_file_name("writegate")),
    }
}

/// Builds the program that [`Contender::Writegate`] runs, unless one is given.
pub(crate) fn build_writegate() -> Result<()> {
    if std::env::var_os("WRITEGATE_BIN").is_some() {
        return Ok(());
    }
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--release", "--package", "writegate", "--bin", "writegate"]);
    let status = build.current_dir(env!("CARGO_MANIFEST_DIR")).status().context("start cargo")?;
    if !status.success() {
        bail!("cargo cannot build writegate");
    }
    Ok(())
}

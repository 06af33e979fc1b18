//! The gateways that are compared: who they are, what they promise, and where their programs are.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use testkit::peers::Peer;

/// A gateway, and the way it is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Contender {
    Writegate,
    VmagentSnappy,
    VmagentZstd,
    PrometheusAgent,
    BareRelay,
}

impl Contender {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Writegate => "Writegate",
            Self::VmagentSnappy => "vmagent, snappy out",
            Self::VmagentZstd => "vmagent, zstd out",
            Self::PrometheusAgent => "Prometheus agent",
            Self::BareRelay => "bare relay",
        }
    }

    /// What a 2xx to the sender means.
    pub(crate) const fn promise(self) -> &'static str {
        match self {
            Self::Writegate => "every sample is on disk, synced",
            Self::VmagentSnappy | Self::VmagentZstd => {
                "the samples are in memory; they go to disk only while an endpoint is down or slow"
            }
            Self::PrometheusAgent => "the samples are in the WAL, not synced",
            Self::BareRelay => {
                "every sample is on disk, synced, and was sent once; no gateway, but the floor below them: it reads, unpacks, \
                 hashes, writes, syncs and sends, and does nothing else"
            }
        }
    }

    pub(crate) const fn is_vmagent(self) -> bool {
        matches!(self, Self::VmagentSnappy | Self::VmagentZstd)
    }

    /// `None` for what is not fetched but built.
    const fn peer(self) -> Option<Peer> {
        match self {
            Self::Writegate | Self::BareRelay => None,
            Self::VmagentSnappy | Self::VmagentZstd => Some(Peer::Vmagent1145),
            Self::PrometheusAgent => Some(Peer::Prometheus35),
        }
    }

    pub(crate) fn program(self) -> Result<Command> {
        if self == Self::BareRelay {
            let mut program = Command::new(std::env::current_exe()?);
            program.arg("relay");
            return Ok(program);
        }
        let Some(peer) = self.peer() else { return Ok(Command::new(writegate()?)) };
        Ok(peer.find().with_context(|| format!("{} is not installed", self.name()))?.command())
    }

    /// The version; `None` where it is not installed.
    pub(crate) fn version(self) -> Result<Option<String>> {
        if self == Self::BareRelay {
            return Ok(Some("of this benchmark".to_owned()));
        }
        let Some(peer) = self.peer() else {
            let output =
                Command::new(writegate()?).arg("--version").output().context("ask writegate for its version")?;
            return Ok(Some(String::from_utf8_lossy(&output.stdout).trim().to_owned()));
        };
        // Not every package's program knows its own version; the directory it lies in does.
        let home = peer.find().and_then(|found| found.program.ancestors().nth(3).map(Path::to_owned));
        Ok(home.and_then(|home| Some(home.file_name()?.to_str()?.replace('-', " "))))
    }
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

//! `writegate serve`: the process's life in order.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use writegate_config::Config;

use super::notify;
use crate::app::Gateway;

/// Serves until SIGTERM or SIGINT.
pub(super) fn run(config_file: Option<PathBuf>, data: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let mut config = match &config_file {
        Some(path) => load(path)?,
        None => Config::without_file(),
    };
    if let Some(data) = data {
        config.log.path = data;
    }
    // What came out of a pipe cannot be read again.
    let config_file = config_file.filter(|path| path.is_file());
    let runtime = super::runtime()?;
    let ended = runtime.block_on(serve(config, config_file));
    // A thread that still waits for a file of the configuration holds up nobody.
    runtime.shutdown_background();
    ended
}

fn load(path: &std::path::Path) -> anyhow::Result<Config> {
    let loaded = match writegate_config::load(path) {
        Ok(loaded) => loaded,
        Err(problems) => anyhow::bail!("the configuration is not valid:\n{problems}"),
    };
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    Ok(loaded.config)
}

async fn serve(config: Config, config_file: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    raise_file_limit();
    let endpoints = config.endpoints.len();
    let data = config.log.path.clone();
    let gateway = tokio::select! {
        started = Gateway::start(config, config_file) => started.context("cannot start")?,
        _ = terminate.recv() => anyhow::bail!("it was ended before it was ready"),
        _ = interrupt.recv() => anyhow::bail!("it was ended before it was ready"),
    };
    tracing::info!(
        listeners = ?gateway.ingest_addresses().await,
        admin = %gateway.admin_address(),
        data = %data.display(),
        endpoints,
        "writegate is ready"
    );
    notify::tell(notify::READY);
    if endpoints == 0 {
        tracing::warn!("no endpoint is configured (remote_write): what is received waits in the log");
    }
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hang_up.recv() => gateway.reload_soon(),
        }
    }
    tracing::info!("shutting down; once more to end at once");
    notify::tell(notify::STOPPING);
    tokio::select! {
        () = gateway.shutdown() => {
            tracing::info!("everything acknowledged is on disk; good-bye");
            Ok(ExitCode::SUCCESS)
        }
        _ = terminate.recv() => Ok(ExitCode::FAILURE),
        _ = interrupt.recv() => Ok(ExitCode::FAILURE),
    }
}

/// Takes as many file descriptors as the system allows: each sender's connection is one.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files could not be raised (ulimit -n)");
    }
}

//! The process' life: what it works by, what it starts, and in which order it ends: the loop finishes what is in flight, the lease
//! is given back, health is served to the last.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use targets::declare::{Applier, Settings};
use targets::{EnvironmentProxy, Key};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use writegate_config::{OperatorConfig, Url};

use crate::admin;
use crate::api::Api;
use crate::lease::Candidate;
use crate::metrics::Shown;
use crate::operator::{Operator, kinds};
use crate::watch as watches;

/// Messages of watches that wait to be taken.
const MOST_MESSAGES: usize = 1_024;

/// What the operator works by, from its file and its environment.
pub(crate) fn settings(config: OperatorConfig, applier: Applier) -> anyhow::Result<Settings> {
    let proxy = if config.policies.environment_proxy { environment_proxy()? } else { EnvironmentProxy::default() };
    let secrets = std::path::absolute(&config.file.secrets)
        .with_context(|| format!("find the directory {}", config.file.secrets.display()))?;
    let Some(secrets_dir) = secrets.to_str().map(str::to_owned) else {
        bail!("the directory {} is no UTF-8 text", secrets.display());
    };
    Ok(Settings { config, applier, proxy, secrets_dir, leads: true })
}

fn environment_proxy() -> anyhow::Result<EnvironmentProxy> {
    let read = |name: &str| {
        std::env::var(name).or_else(|_| std::env::var(name.to_ascii_lowercase())).ok().filter(|value| !value.is_empty())
    };
    let proxy = |name: &str| -> anyhow::Result<Option<String>> {
        let Some(value) = read(name) else { return Ok(None) };
        match Url::parse_with_user(&value) {
            Ok((_, None)) => Ok(Some(value)),
            Ok((_, Some(_))) => bail!(
                "{name} has a password, which would stand in every target; use one without, or turn `policies.environment_proxy` off"
            ),
            Err(error) => bail!("{name}: {error}"),
        }
    };
    let except = read("NO_PROXY").unwrap_or_default().split(',').map(|host| host.trim().to_owned()).collect();
    Ok(EnvironmentProxy { http: proxy("HTTP_PROXY")?, https: proxy("HTTPS_PROXY")?, except })
}

pub(crate) fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    // One cryptography for the whole program.
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.context("start the runtime")?.block_on(work)
}

pub(crate) async fn run(settings: Settings) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    check_paths(&settings)?;
    let shown = Arc::new(Shown::default());
    let admin_stop = CancellationToken::new();
    let listener = admin::bind(settings.config.admin).await?;
    let admin = tokio::spawn(admin::serve(listener, Arc::clone(&shown), admin_stop.clone()));

    let api = Api::connect().await?;
    let (sender, messages) = mpsc::channel(MOST_MESSAGES);
    let mut tasks: JoinSet<&'static str> = JoinSet::new();
    for kind in kinds(&settings) {
        let watch = watches::watch(api.clone(), kind, sender.clone(), stop.clone());
        tasks.spawn(async move {
            watch.await;
            "a watch"
        });
    }
    drop(sender);
    let lease_stop = CancellationToken::new();
    let mut candidate = None;
    let term = settings.config.leader_election.as_ref().map(|election| {
        let (sender, term) = watch::channel(None);
        let key = Key::new(&election.namespace, &election.name);
        candidate = Some(tokio::spawn(Candidate::new(api.clone(), key).run(sender, lease_stop.clone())));
        term
    });
    let operator = Operator::new(api, settings, shown).run(messages, term, stop.clone());
    tasks.spawn(async move {
        operator.await;
        "the loop"
    });

    let ended = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        ended = tasks.join_next() => ended,
    };
    tracing::info!("ending");
    stop.cancel();
    while tasks.join_next().await.is_some() {}
    lease_stop.cancel();
    if let Some(candidate) = candidate {
        candidate.await.ok();
    }
    admin_stop.cancel();
    admin.await.ok();
    match ended {
        None => Ok(()),
        Some(Ok(what)) => bail!("{what} ended"),
        Some(Err(error)) => bail!("a task ended: {error}"),
    }
}

/// A file that cannot be written is told at once.
fn check_paths(settings: &Settings) -> anyhow::Result<()> {
    if settings.applier == Applier::Prometheus {
        return Ok(());
    }
    let path = &settings.config.file.path;
    let directory =
        path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    if !directory.is_dir() {
        bail!("the directory of {} is not there; mount the volume that the gateway reads", path.display());
    }
    Ok(())
}

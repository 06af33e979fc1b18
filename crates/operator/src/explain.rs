//! `explain NAMESPACE`: what is declared there, what is applied, and why not. Reads what the operator would read, and writes
//! nothing.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::{Value as Json, json};
use targets::declare::Settings;
use targets::{Report, words};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::api::Api;
use crate::metrics::Shown;
use crate::operator::{Operator, kinds};
use crate::watch::{self, Seen};

/// How long the cluster may take to say what there is.
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) async fn explain(settings: Settings, namespace: &str, as_json: bool) -> anyhow::Result<String> {
    let api = Api::connect().await?;
    let (sender, mut messages) = mpsc::channel(1_024);
    let stop = CancellationToken::new();
    let _guard = stop.clone().drop_guard();
    let mut watches = JoinSet::new();
    for kind in kinds(&settings) {
        watches.spawn(watch::watch(api.clone(), kind, sender.clone(), stop.clone()));
    }
    drop(sender);
    let domain = settings.config.domain.clone();
    let mut operator = Operator::new(api, settings, Arc::new(Shown::default()));
    let read = async {
        while !operator.is_synced() {
            match messages.recv().await {
                Some((kind, Seen::Failed(error))) => bail!("list {}: {error}", kind.as_str()),
                Some(message) => operator.take(message),
                None => bail!("the watches ended"),
            }
        }
        Ok(())
    };
    timeout(LIMIT, read).await.context("read the cluster")??;
    let (plan, world) = operator.look().await;
    let Some(found) = world.namespaces.get(namespace) else {
        bail!("there is no namespace {namespace}");
    };
    let beside = format!(" {namespace}/");
    let concerns = |report: &&Report| {
        report.source.namespace() == namespace || report.places.iter().any(|(place, _)| place.contains(&beside))
    };
    let reports: Vec<&Report> = plan.reports.iter().filter(concerns).collect();
    let annotations: Vec<(&String, &String)> = found
        .annotations
        .iter()
        .filter(|(key, _)| key.ends_with(&format!(".{domain}{}", words::REMOTE_WRITE)))
        .collect();
    if as_json {
        let targets: Vec<Json> = reports.iter().map(|report| described(report)).collect();
        let annotations: serde_json::Map<String, Json> =
            annotations.iter().map(|(key, value)| ((*key).clone(), json!(value))).collect();
        return Ok(format!("{:#}\n", json!({"namespace": namespace, "annotations": annotations, "targets": targets})));
    }
    Ok(text(namespace, &annotations, &reports))
}

fn described(report: &Report) -> Json {
    let places: Vec<Json> =
        report.places.iter().map(|(object, entry)| json!({"object": object, "entry": entry})).collect();
    json!({
        "source": report.source.to_string(),
        "applied": report.reason.is_good(),
        "reason": report.reason.as_str(),
        "message": report.message,
        "url": report.url,
        "places": places,
    })
}

fn text(namespace: &str, annotations: &[(&String, &String)], reports: &[&Report]) -> String {
    let mut out = format!("namespace {namespace}\n");
    // Writing to a string cannot fail.
    for (key, value) in annotations {
        writeln!(out, "  annotation {key}: {value}").ok();
    }
    if reports.is_empty() {
        out += "  nothing is declared, and there is no default target\n";
    }
    for report in reports {
        writeln!(out, "\n{}", report.source).ok();
        if !report.url.is_empty() {
            writeln!(out, "  sends to {}", report.url).ok();
        }
        writeln!(out, "  {}: {}", report.reason.as_str(), report.message).ok();
        for (object, entry) in &report.places {
            writeln!(out, "  in {object} as {entry:?}").ok();
        }
    }
    out
}

//! `writegate log`: what is in a data directory, whether a gateway runs on it or not. Nothing in it is changed.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use segment_log::{Damage, DamageKind, Depth, FileStorage, Inspection, LogInspection, Storage, inspect};
use serde_json::{Value as Json, json};

use super::show::{Align, Table, age, bytes, count, plural, print, tell};
use crate::clock::now_ms;

#[derive(Debug, Args)]
pub(super) struct LogArgs {
    #[command(subcommand)]
    command: LogCommand,
}

#[derive(Debug, Subcommand)]
enum LogCommand {
    /// Reads every record once, and tells each place that is not as it was written. Exit code 1 if there is one
    #[command(after_help = "Example:\n  writegate log verify /var/lib/writegate")]
    Verify(Directory),
    /// Shows segments, sizes, and how far each endpoint is
    #[command(after_help = "Example:\n  writegate log stat /var/lib/writegate")]
    Stat(Directory),
}

#[derive(Debug, Args)]
struct Directory {
    /// The data directory: `log.path` of the configuration
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &LogArgs) -> anyhow::Result<ExitCode> {
    let (directory, depth) = match &args.command {
        LogCommand::Verify(directory) => (directory, Depth::Records),
        LogCommand::Stat(directory) => (directory, Depth::Ends),
    };
    let storage: Arc<dyn Storage> = Arc::new(FileStorage);
    let root = &directory.directory;
    let inspection = inspect(&storage, root, depth).with_context(|| {
        format!("look at {}: it must be a gateway's data directory (log.path), in which `tenants` is", root.display())
    })?;
    let is_sound = inspection.logs.iter().all(is_sound);
    if directory.json {
        print(&as_json(&inspection).to_string())?;
    } else {
        if inspection.in_use {
            tell("A gateway is running on this directory: what it writes meanwhile may look torn or missing.");
        }
        let mut parts = vec![logs(&inspection)];
        parts.extend(cursors(&inspection));
        parts.extend(problems(&inspection));
        if depth == Depth::Records && is_sound {
            let records: u64 =
                inspection.logs.iter().flat_map(|log| &log.segments).filter_map(|one| one.sound_records).sum();
            parts.push(format!("All {records} record{} are sound.", plural(records)));
        }
        print(&parts.join("\n\n"))?;
    }
    Ok(if is_sound || depth == Depth::Ends { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether nothing is lost. A write that was not completed is no loss: nobody was told that it was.
fn is_sound(log: &LogInspection) -> bool {
    log.cursors.is_some() && log.set_aside.is_empty() && log.damage.iter().all(|damage| damage.kind == DamageKind::Torn)
}

fn logs(inspection: &Inspection) -> String {
    if inspection.logs.is_empty() {
        return "No tenant has a log here.".to_owned();
    }
    let mut table = Table::new([
        ("TENANT", Align::Left),
        ("SEGMENTS", Align::Right),
        ("SIZE", Align::Right),
        ("RECORDS", Align::Right),
        ("SAMPLES", Align::Right),
        ("HISTOGRAMS", Align::Right),
        ("EXEMPLARS", Align::Right),
        ("NEWEST", Align::Right),
    ]);
    for log in &inspection.logs {
        let first = log.segments.first().map_or(log.head, |segment| segment.positions.start);
        let held =
            log.segments.iter().fold([0; 3], |sum: [u64; 3], one| std::array::from_fn(|i| sum[i] + one.counts[i]));
        let newest = log.segments.iter().filter_map(|segment| segment.last_received_ms).max();
        let [samples, histograms, exemplars] = held.map(count);
        table.row([
            log.name.clone(),
            log.segments.len().to_string(),
            bytes(log.segments.iter().map(|segment| segment.len).sum()),
            count(log.head - first),
            samples,
            histograms,
            exemplars,
            newest.map_or_else(|| "-".to_owned(), ago),
        ]);
    }
    table.text()
}

fn ago(received_ms: i64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "two units are shown")]
    let seconds = (now_ms() - received_ms).max(0) as f64 / 1e3;
    format!("{} ago", age(seconds))
}

fn cursors(inspection: &Inspection) -> Option<String> {
    let mut table = Table::new([
        ("TENANT", Align::Left),
        ("ENDPOINT", Align::Left),
        ("DONE BELOW", Align::Right),
        ("OF", Align::Right),
        ("SAMPLES DONE", Align::Right),
        ("PENDING", Align::Right),
        ("EXPIRED", Align::Right),
    ]);
    let mut is_empty = true;
    for log in &inspection.logs {
        for cursor in log.cursors.iter().flatten() {
            is_empty = false;
            let detached = if cursor.attached { "" } else { " (removed)" };
            table.row([
                log.name.clone(),
                format!("{}{detached}", cursor.name),
                cursor.low.to_string(),
                log.head.to_string(),
                count(cursor.settled[0]),
                if cursor.attached { count(cursor.pending[0]) } else { "-".to_owned() },
                count(cursor.expired[0]),
            ]);
        }
    }
    (!is_empty).then(|| table.text())
}

/// Each in a sentence that says what it means.
fn problems(inspection: &Inspection) -> Option<String> {
    let mut told = Vec::new();
    for directory in &inspection.unreadable {
        told.push(format!("{}: no tenant's log; a gateway leaves it alone", directory.display()));
    }
    for log in &inspection.logs {
        if log.cursors.is_none() {
            let directory = log.directory.display();
            told.push(format!(
                "{directory}: neither file of cursors can be read: each endpoint begins anew, with empty books"
            ));
        }
        for path in &log.set_aside {
            told.push(format!("{}: set aside by a start because its header is damaged", path.display()));
        }
        told.extend(log.damage.iter().map(in_words));
    }
    (!told.is_empty()).then(|| told.join("\n"))
}

fn in_words(damage: &Damage) -> String {
    let Damage { path, offset, bytes, positions, kind } = damage;
    let records = positions.end - positions.start;
    let what = match kind {
        DamageKind::Header => {
            return format!("{}: its header is damaged: the next start sets it aside", path.display());
        }
        DamageKind::Torn => "a write that was not completed, and never acknowledged".to_owned(),
        DamageKind::Damaged => {
            format!("{records} record{} that had been acknowledged cannot be read", plural(records))
        }
    };
    let last = positions.end.saturating_sub(1);
    format!("{}: {bytes} bytes at {offset} (positions {} to {last}): {what}", path.display(), positions.start)
}

fn as_json(inspection: &Inspection) -> Json {
    let counts = |[samples, histograms, exemplars]: [u64; 3]| json!({"samples": samples, "histograms": histograms, "exemplars": exemplars});
    let log = |log: &LogInspection| {
        let segments = log.segments.iter().map(|segment| {
            json!({
                "file": segment.path, "from": segment.positions.start, "to": segment.positions.end,
                "bytes": segment.len, "used_bytes": segment.used, "counts": counts(segment.counts),
                "last_received_ms": segment.last_received_ms, "sound_records": segment.sound_records,
            })
        });
        let cursors = log.cursors.as_ref().map(|cursors| {
            let cursors = cursors.iter().map(|cursor| {
                json!({
                    "endpoint": cursor.name, "removed": !cursor.attached, "start": cursor.start, "done_below": cursor.low,
                    "done": counts(cursor.settled), "expired": counts(cursor.expired), "pending": counts(cursor.pending),
                })
            });
            cursors.collect::<Vec<_>>()
        });
        let damage = log.damage.iter().map(|damage| {
            let kind = match damage.kind {
                DamageKind::Torn => "torn",
                DamageKind::Damaged => "damaged",
                DamageKind::Header => "header",
            };
            json!({
                "file": damage.path, "kind": kind, "offset": damage.offset, "bytes": damage.bytes,
                "from": damage.positions.start, "to": damage.positions.end,
            })
        });
        json!({
            "tenant": log.name, "sound": is_sound(log), "head": log.head, "segments": segments.collect::<Vec<_>>(),
            "cursors": cursors, "set_aside": log.set_aside, "damage": damage.collect::<Vec<_>>(),
        })
    };
    let logs: Vec<Json> = inspection.logs.iter().map(log).collect();
    json!({"in_use": inspection.in_use, "logs": logs, "unreadable": inspection.unreadable})
}

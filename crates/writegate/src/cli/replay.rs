//! `writegate replay`: begins, watches, lists and cancels replays.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::gateway::{AdminArgs, Gateway, Reply};
use super::show::{Align, ProgressLine, Table, count, plain, plural, print, tell};
use crate::admin::api::{Replay, ReplayBegun, ReplayWanted, Replays};
use crate::admin::moment;
use crate::clock::now_ms;

/// How often a replay that is waited for is asked how far it is.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// The ledger's word for what an endpoint refuses of a replay.
const REFUSED: &str = "replay_refused";
/// Why that is so, most often.
const OUT_OF_ORDER: &str = "A replay is older than what the endpoint has. An endpoint that refuses it needs an out-of-order \
    window (Prometheus: tsdb.out_of_order_time_window; Mimir: out_of_order_time_window); then replay again.";

#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    /// The endpoint that gets it
    #[arg(required_unless_present_any = ["list", "cancel"])]
    endpoint: Option<String>,
    /// Whose data
    #[arg(long, value_name = "TENANT", required_unless_present_any = ["list", "cancel"])]
    tenant: Option<String>,
    /// What was received from then on: 2h (ago), 2026-01-31T18:00:00Z, seconds since 1970, or earliest
    #[arg(long, value_name = "TIME", value_parser = time, required_unless_present_any = ["list", "cancel"])]
    from: Option<String>,
    /// And before then; the same forms
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "now")]
    to: String,
    /// Samples a second at most, on average: a record of the log is sent whole
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    rate: Option<u64>,
    /// Wait until it has ended; Ctrl-C ends the waiting, not the replay
    #[arg(long)]
    wait: bool,
    /// List the replays that are running, and the last ones that ended
    #[arg(long, conflicts_with_all = ["endpoint", "tenant", "from", "to", "rate", "wait", "cancel"])]
    list: bool,
    /// Cancel the replay of this number, as --list shows it
    #[arg(long, value_name = "ID", conflicts_with_all = ["endpoint", "tenant", "from", "to", "rate", "wait"])]
    cancel: Option<u64>,
    /// Print the gateway's JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

fn time(text: &str) -> Result<String, String> {
    moment::parse(text, now_ms()).map(|_ms| text.to_owned()).map_err(|invalid| invalid.to_string())
}

/// Does one of the four.
pub(super) async fn run(args: ReplayArgs) -> anyhow::Result<ExitCode> {
    let gateway = Gateway::of(&args.admin)?;
    if args.list {
        return list(&gateway, args.json).await;
    }
    if let Some(id) = args.cancel {
        let reply = gateway.delete(&format!("/api/v1/replays/{id}")).await?;
        return ended(&reply, args.json, ExitCode::SUCCESS);
    }
    begin(&gateway, &args).await
}

async fn list(gateway: &Gateway, json: bool) -> anyhow::Result<ExitCode> {
    let reply = gateway.get("/api/v1/replays").await?;
    if json {
        print(&reply.text)?;
        return Ok(ExitCode::SUCCESS);
    }
    let Replays { replays } = reply.read()?;
    if replays.is_empty() {
        print("No replay is running, and none has ended lately.")?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new([
        ("ID", Align::Right),
        ("TENANT", Align::Left),
        ("ENDPOINT", Align::Left),
        ("STATE", Align::Left),
        ("DONE", Align::Right),
        ("SAMPLES", Align::Right),
        ("DELIVERED", Align::Right),
        ("RATE", Align::Right),
        ("BEGUN", Align::Left),
        ("FROM", Align::Left),
        ("TO", Align::Left),
    ]);
    for replay in replays {
        let (done, samples) = (percent(&replay), count(replay.progress.accepted_samples));
        let delivered = count(replay.progress.delivered_samples);
        let rate = replay.rate.map_or_else(|| "no limit".to_owned(), |rate| format!("{}/s", count(rate)));
        let state = if replay.endpoint_removed { format!("{}, endpoint removed", replay.state) } else { replay.state };
        let Replay { id, tenant, endpoint, begun, from, to, .. } = replay;
        table.row([id.to_string(), tenant, endpoint, state, done, samples, delivered, rate, begun, from, to]);
    }
    print(&table.text())?;
    Ok(ExitCode::SUCCESS)
}

async fn begin(gateway: &Gateway, args: &ReplayArgs) -> anyhow::Result<ExitCode> {
    // The command line is read so that these are there.
    let given = |value: &Option<String>, name: &str| value.clone().with_context(|| format!("{name} must be given"));
    let wanted = ReplayWanted {
        endpoint: given(&args.endpoint, "the endpoint")?,
        tenant: given(&args.tenant, "--tenant")?,
        from: given(&args.from, "--from")?.into(),
        to: Some(args.to.clone().into()),
        rate: args.rate,
    };
    // From before it begins, so that Ctrl-C never leaves one without a word.
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for Ctrl-C")?;
    let reply = gateway.post("/api/v1/replays", &wanted).await?;
    let ReplayBegun { id } = reply.read()?;
    let how_to = format!("writegate replay --list shows how far it is, --cancel {id} ends it.");
    if args.wait {
        return tokio::select! {
            ended = watch(gateway, id, args.json) => ended,
            _ = interrupt.recv() => {
                tell(&format!("Replay {id} goes on. {how_to}"));
                Ok(ExitCode::FAILURE)
            }
        };
    }
    print(&if args.json { reply.text } else { format!("Replay {id} begins. {how_to}") })?;
    Ok(ExitCode::SUCCESS)
}

/// Shows how far it is until it ends: 0 if that was its own end and the endpoint took everything it was sent, else 1.
async fn watch(gateway: &Gateway, id: u64, json: bool) -> anyhow::Result<ExitCode> {
    let mut line = ProgressLine::default();
    let mut interval = tokio::time::interval(ASK_EVERY);
    loop {
        interval.tick().await;
        let reply = gateway.get(&format!("/api/v1/replays/{id}")).await?;
        let replay: Replay = reply.read()?;
        let (done, all) = (count(replay.progress.done_samples), count(replay.progress.accepted_samples));
        line.show(&format!("replay {id}: {} ({done} of {all} samples)", percent(&replay)));
        let is_refused = replay.progress.undelivered_samples.contains_key(REFUSED);
        let code = match replay.state.as_str() {
            "running" => continue,
            "done" if !is_refused => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        };
        drop(line);
        return ended(&reply, json, code);
    }
}

fn ended(reply: &Reply, json: bool, code: ExitCode) -> anyhow::Result<ExitCode> {
    if json {
        print(&reply.text)?;
        return Ok(code);
    }
    let replay: Replay = reply.read()?;
    let Replay { id, tenant, endpoint, state, progress, .. } = &replay;
    let mut parts =
        vec![format!("{0} sample{1} delivered", progress.delivered_samples, plural(progress.delivered_samples))];
    for (reason, samples) in &progress.undelivered_samples {
        parts.push(format!("{samples} {}", undelivered(reason, &replay)));
    }
    print(&format!("Replay {id} of {tenant} to {endpoint} is {state}: {}.", parts.join(", ")))?;
    if progress.undelivered_samples.contains_key(REFUSED) {
        tell(OUT_OF_ORDER);
    }
    Ok(code)
}

/// What became of samples that were not delivered, in words.
fn undelivered(reason: &str, replay: &Replay) -> String {
    match reason {
        "relabel" => "dropped by relabel rules".to_owned(),
        "resent" => "stored already (resent)".to_owned(),
        "not_written" => "answered 2xx but not written (not_written)".to_owned(),
        "untranslatable" => "that the endpoint's form cannot carry (untranslatable)".to_owned(),
        "expired" => "expired".to_owned(),
        REFUSED => {
            let words = replay.last_refusal.as_ref().map(|words| format!(": {}", plain(words))).unwrap_or_default();
            format!("refused by the endpoint ({REFUSED}){words}")
        }
        other => format!("not delivered ({other})"),
    }
}

fn percent(replay: &Replay) -> String {
    // Not rounded up: 100% is the end.
    format!("{:.0}%", (replay.progress.fraction * 100.0).floor())
}

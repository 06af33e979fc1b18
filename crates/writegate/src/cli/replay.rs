//! `writegate replay`: begins, watches, lists and cancels replays.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::gateway::{AdminArgs, Gateway, Reply};
use super::show::{Align, ProgressLine, Table, count, print, tell};
use crate::admin::api::{Replay, ReplayBegun, ReplayWanted, Replays};
use crate::admin::moment;
use crate::clock::now_ms;

/// How often a replay that is waited for is asked how far it is.
const ASK_EVERY: Duration = Duration::from_millis(500);

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
    /// Samples a second at most
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    rate: Option<u64>,
    /// Wait until it has ended; Ctrl-C ends the waiting, not the replay
    #[arg(long)]
    wait: bool,
    /// List the replays that are running, and the last ones that ended
    #[arg(long, conflicts_with_all = ["endpoint", "tenant", "from", "to", "rate", "wait", "cancel"])]
    list: bool,
    /// Cancel a replay
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
        ("FROM", Align::Left),
        ("TO", Align::Left),
    ]);
    for replay in replays {
        let (done, samples) = (percent(&replay), count(replay.progress.accepted_samples));
        let Replay { id, tenant, endpoint, state, from, to, .. } = replay;
        table.row([id.to_string(), tenant, endpoint, state, done, samples, from, to]);
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

/// Shows how far it is until it ends: 0 if that was its own end, 1 if it was cancelled.
async fn watch(gateway: &Gateway, id: u64, json: bool) -> anyhow::Result<ExitCode> {
    let mut line = ProgressLine::default();
    let mut interval = tokio::time::interval(ASK_EVERY);
    loop {
        interval.tick().await;
        let reply = gateway.get(&format!("/api/v1/replays/{id}")).await?;
        let replay: Replay = reply.read()?;
        let (done, all) = (count(replay.progress.done_samples), count(replay.progress.accepted_samples));
        line.show(&format!("replay {id}: {} ({done} of {all} samples)", percent(&replay)));
        let code = match replay.state.as_str() {
            "running" => continue,
            "done" => ExitCode::SUCCESS,
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
    let Replay { id, tenant, endpoint, state, progress, .. } = reply.read()?;
    let not_taken = match progress.done_samples.saturating_sub(progress.delivered_samples) {
        0 => String::new(),
        not_taken => format!(", {not_taken} it did not take (see /api/v1/ledger)"),
    };
    print(&format!(
        "Replay {id} of {tenant} to {endpoint} is {state}: {} samples delivered{not_taken}.",
        progress.delivered_samples
    ))?;
    Ok(code)
}

fn percent(replay: &Replay) -> String {
    // Not rounded up: 100% is the end.
    format!("{:.0}%", (replay.progress.fraction * 100.0).floor())
}

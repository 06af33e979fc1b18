//! `writegate demo`: a whole gateway with two senders and three receivers, in one process.
//!
//! Nothing here is special to the demo but the peers: the gateway is the one that `serve` runs, log and all.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use remote_write::Protocol;
use testkit::endpoint::{Endpoint, EndpointSettings, Reply};
use testkit::load::{Load, Report, Run};
use testkit::sender::Sender;
use testkit::workload::{Workload, WorkloadSettings};

use crate::app::Gateway;

/// How long the end may take: the failing receiver has half of the demo to catch up on.
const SETTLE_WITHIN: Duration = Duration::from_secs(60);

/// How slow the slow receiver is.
const SLOW: Duration = Duration::from_millis(400);

/// A directory that is gone when the demo ends.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "the demo's directory could not be removed");
        }
    }
}

/// Runs the demo; exit code 1 if a receiver misses anything.
pub(crate) fn run(run_for: Duration, admin: SocketAddr) -> anyhow::Result<ExitCode> {
    let scratch = Scratch(std::env::temp_dir().join(format!("writegate-demo-{}", std::process::id())));
    std::fs::create_dir_all(&scratch.0).with_context(|| format!("create {}", scratch.0.display()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(demo(run_for, admin, &scratch.0))
}

struct Demo {
    gateway: Gateway,
    receivers: [(&'static str, &'static str, Endpoint); 3],
    loads: [(&'static str, Arc<Workload>); 2],
    runs: Vec<Run>,
    run_for: Duration,
}

async fn demo(run_for: Duration, admin: SocketAddr, data: &Path) -> anyhow::Result<ExitCode> {
    let launch = || async { Endpoint::launch(EndpointSettings::default()).await.context("start a receiver") };
    let receivers = [
        ("well", "answers at once", launch().await?),
        ("slow", "takes 0.4 s for each answer", launch().await?),
        ("failing", "down for the middle half, then comes back", launch().await?),
    ];
    receivers[1].2.answer_with(|_| Reply::healthy().after(SLOW));
    let gateway = Gateway::start(config(&receivers, free_or_any(admin), data)?, None).await?;
    let url = format!("http://{}/api/v1/write", gateway.ingest_addresses().await[0]);
    let load = |protocol, seed| {
        let settings = WorkloadSettings {
            series: 4_000,
            series_per_request: 1_000,
            protocol,
            histograms: protocol == Protocol::V2,
            exemplars: true,
            seed,
            ..WorkloadSettings::default()
        };
        Arc::new(Workload::new(settings))
    };
    let loads = [("remote write 1.0", load(Protocol::V1, 1)), ("remote write 2.0", load(Protocol::V2, 2))];
    let sender = Sender::new(&url).context("make a sender")?;
    let runs = loads
        .iter()
        .map(|(_, workload)| {
            let mut load = Load::new(Arc::clone(workload), 0);
            (load.rounds, load.rate, load.connections) = (None, Some(4_000.0), 2);
            sender.start(&load)
        })
        .collect();
    Demo { gateway, receivers, loads, runs, run_for }.play().await
}

/// The demo's configuration, written as a user would write it.
fn config(
    receivers: &[(&str, &str, Endpoint)],
    admin: SocketAddr,
    data: &Path,
) -> anyhow::Result<writegate_config::Config> {
    let mut text = format!(
        "listeners:\n  - {{address: 127.0.0.1:0, tenant: demo}}\nadmin: {{address: \"{admin}\"}}\nremote_write:\n"
    );
    for (name, _, endpoint) in receivers {
        writeln!(text, "  - {{name: {name}, url: \"{}\"}}", endpoint.url())?;
    }
    let loaded = writegate_config::parse(&text, Path::new("demo.yml"), Path::new(""))?;
    let mut config = loaded.config;
    config.log.path = data.to_owned();
    // A demo must also run on a nearly full disk.
    config.log.min_free = 0;
    Ok(config)
}

/// The address if nobody listens there, else a free port: a demo must not fail for a gateway that is running.
fn free_or_any(address: SocketAddr) -> SocketAddr {
    match TcpListener::bind(address) {
        Ok(_free) => address,
        Err(_taken) => SocketAddr::new(address.ip(), 0),
    }
}

impl Demo {
    async fn play(mut self) -> anyhow::Result<ExitCode> {
        let mut screen = Screen::default();
        screen.say(&self.introduction())?;
        let started = Instant::now();
        let mut interval = tokio::time::interval(Duration::from_secs(1));
        let mut down = false;
        while started.elapsed() < self.run_for {
            interval.tick().await;
            let share = started.elapsed().as_secs_f64() / self.run_for.as_secs_f64();
            let should_be_down = (0.25..0.75).contains(&share);
            if should_be_down != down {
                let failing = &self.receivers[2].2;
                if should_be_down {
                    failing.stop().await;
                } else {
                    failing.start().await?;
                }
                down = should_be_down;
            }
            screen.show(&self.figures(down))?;
        }
        if down {
            self.receivers[2].2.start().await?;
        }
        let mut reports = Vec::new();
        for run in self.runs.drain(..) {
            reports.push(run.stop().await);
        }
        screen.say("\nThe senders have stopped; what the receivers still miss is on its way.\n")?;
        self.receivers[1].2.recover();
        let result = self.balance(&reports, started).await;
        self.gateway.shutdown().await;
        let (table, complete) = result?;
        screen.say(&table)?;
        Ok(if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn introduction(&self) -> String {
        let mut text = String::from(
            "Two senders push 4,000 samples a second each to one gateway. It checks each request, writes it\n\
             once to its log, answers, and delivers from the log to three receivers, each at its own pace:\n\n",
        );
        for (name, what, _) in &self.receivers {
            text.push_str(&format!("  {name:<8} {what}\n"));
        }
        text.push_str(&format!(
            "\nWatch `pending`: it grows for the receiver that is down, and for no other.\n\
             The console, which says what is wrong and where: http://{}/\n\n",
            self.gateway.admin_address()
        ));
        text
    }

    fn figures(&self, down: bool) -> String {
        let mut text = String::new();
        for ((name, workload), run) in self.loads.iter().zip(&self.runs) {
            let report = run.progress();
            text.push_str(&format!(
                "sender   {name:<17} {:>9} acknowledged, p99 {:>6.1} ms, {} series\n",
                report.sent.points(),
                report.latencies.quantile(0.99).as_secs_f64() * 1e3,
                workload.settings().series,
            ));
        }
        let accepted: u64 = self.runs.iter().map(|run| run.progress().sent.points()).sum();
        for (index, (name, _, endpoint)) in self.receivers.iter().enumerate() {
            let held = endpoint.stats().taken.points();
            text.push_str(&format!(
                "receiver {name:<17} {held:>9} held, {:>9} pending{}\n",
                accepted.saturating_sub(held),
                if down && index == 2 { "   (down)" } else { "" }
            ));
        }
        text
    }

    /// Waits until every receiver has everything, and compares point by point.
    async fn balance(&self, reports: &[Report], started: Instant) -> anyhow::Result<(String, bool)> {
        let accepted: u64 = reports.iter().map(|report| report.sent.points()).sum();
        let mut table = format!(
            "\n{:<10} {:>10} {:>10} {:>8} {:>8} {:>13}\n",
            "receiver", "accepted", "held", "missing", "twice", "out of order"
        );
        let mut complete = accepted > 0;
        for (name, _, endpoint) in &self.receivers {
            let waited = endpoint.wait_until(SETTLE_WITHIN, |stats| stats.taken.points() >= accepted).await;
            if let Err(late) = waited {
                tracing::error!("{name}: {late}");
            }
            let (held, missing, twice, disorder) = endpoint.ledger(|ledger| {
                let missing: usize = self
                    .loads
                    .iter()
                    .zip(reports)
                    .map(|((_, workload), report)| {
                        ledger.missing(workload.points(report.acknowledged.iter().copied())).len()
                    })
                    .sum();
                let twice = ledger.duplicates();
                (ledger.counts().points() - twice, missing, twice, ledger.out_of_order().len())
            });
            complete &= missing == 0 && disorder == 0;
            table.push_str(&format!("{name:<10} {accepted:>10} {held:>10} {missing:>8} {twice:>8} {disorder:>13}\n"));
        }
        let seconds = started.elapsed().as_secs_f64();
        table.push_str(if complete {
            "\nEvery receiver holds every accepted sample, in order"
        } else {
            "\nA receiver misses accepted samples or has them out of order"
        });
        table.push_str(&format!(" ({seconds:.0} s).\n"));
        Ok((table, complete))
    }
}

/// Standard output: figures in place on a terminal, now and then elsewhere.
#[derive(Default)]
struct Screen {
    lines: usize,
    shown: u32,
}

impl Screen {
    fn say(&mut self, text: &str) -> std::io::Result<()> {
        self.lines = 0;
        std::io::stdout().write_all(text.as_bytes())
    }

    fn show(&mut self, figures: &str) -> std::io::Result<()> {
        const EVERY: u32 = 10;
        let mut out = std::io::stdout().lock();
        let turn = self.shown.is_multiple_of(EVERY);
        self.shown += 1;
        if out.is_terminal() {
            if self.lines > 0 {
                write!(out, "\x1b[{}A\x1b[J", self.lines)?;
            }
            self.lines = figures.lines().count();
        } else if !turn {
            return Ok(());
        } else {
            writeln!(out)?;
        }
        out.write_all(figures.as_bytes())?;
        out.flush()
    }
}

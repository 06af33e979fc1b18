//! The benchmarks that need whole programs: gateways under the same load, before the same receivers, one after another.
//!
//! Measures from outside only: `/proc`, the senders' clock, the receivers' counts. Micro-benchmarks are in each crate.

mod case;
mod contender;
mod experiment;
mod figures;
mod gateway;
mod machine;
mod plot;
mod relay;
mod report;
mod results;
mod run;
mod sections;
mod sinks;
mod sizes;
mod stage;
mod traffic;
mod usage;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

use crate::contender::Contender;
use crate::results::Results;
use crate::sections::Section;
use crate::sizes::{SizeArgs, Sizes};

#[derive(Debug, Parser)]
#[command(name = "bench", about = "Whole gateways under the same load", arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Writegate, vmagent and the Prometheus agent in turn; writes docs/performance/
    All(All),
    /// Writes the report again from results.json
    Render {
        #[command(flatten)]
        out: Out,
    },
    /// Writegate under a steady load for a long time; fails unless memory and lag stay what they are
    Soak(Soak),
    /// The bare relay of one run, as a process of its own
    #[command(hide = true)]
    Relay(relay::Relay),
    /// The receivers of one run, as a process of their own: a line on standard input is answered with one
    #[command(hide = true)]
    Sinks {
        /// How each behaves, as JSON
        #[arg(long)]
        behave: String,
    },
}

#[derive(Debug, Args)]
struct All {
    /// Only these sections; the others stay as they are in results.json
    #[arg(long, value_enum, value_delimiter = ',')]
    section: Vec<Section>,
    #[command(flatten)]
    sizes: SizeArgs,
    #[command(flatten)]
    out: Out,
}

#[derive(Debug, Args)]
struct Soak {
    /// How long [default: 2h; quick: 20s]
    #[arg(long = "for", value_parser = sizes::duration)]
    time: Option<Duration>,
    /// Samples a second
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// Short: whether it works
    #[arg(long)]
    quick: bool,
    #[command(flatten)]
    out: Out,
}

#[derive(Debug, Args)]
struct Out {
    /// Where results.json, the report and its plots are [default: docs/performance; quick: a directory of its own below
    /// the system's for temporary files]
    #[arg(long)]
    out: Option<PathBuf>,
}

impl Out {
    /// The directory, which is there.
    fn directory(&self, quick: bool) -> Result<PathBuf> {
        let directory = match &self.out {
            Some(out) => out.clone(),
            // Small figures must not take the place of real ones.
            None if quick => std::env::temp_dir().join(format!("writegate-bench-{}", std::process::id())),
            None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/performance"),
        };
        std::fs::create_dir_all(&directory).with_context(|| format!("create {}", directory.display()))?;
        Ok(directory)
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = tokio::runtime::Runtime::new().map_err(Into::into).and_then(|runtime| match cli.command {
        Command::All(all) => runtime.block_on(unless_told_to_end(Box::pin(run_all(&all)))),
        Command::Render { out } => out.directory(false).and_then(|out| report::write(&Results::read(&out)?, &out)),
        Command::Soak(soak) => runtime.block_on(unless_told_to_end(Box::pin(run_soak(&soak)))),
        Command::Relay(relay) => relay::run(&relay),
        Command::Sinks { behave } => runtime.block_on(sinks::serve(&behave)),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("bench: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// SIGINT and SIGTERM end the work where it is, so that the programs it has started end as well.
async fn unless_told_to_end(work: impl Future<Output = Result<()>>) -> Result<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        result = work => result,
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            bail!("interrupted")
        }
        _ = terminated.recv() => bail!("told to end"),
    }
}

/// Runs sections; each is written down as soon as it is done. Fails at the end if any case could not be run.
async fn run_all(all: &All) -> Result<()> {
    contender::build_writegate()?;
    let out = all.out.directory(all.sizes.quick)?;
    let versions = run::versions(all.sizes.only())?;
    let sizes = Sizes::new(&all.sizes, |contender| versions.contains_key(&contender));
    let sections = if all.section.is_empty() { Section::of_all().collect() } else { all.section.clone() };
    let mut failures = 0;
    for section in sections {
        say(&format!("section {}", section.name()));
        let cases = section.cases(&sizes);
        let runs = if section.about().repeats { sizes.runs } else { 1 };
        let results = run::cases(&cases, runs, &versions, &command()).await?;
        failures += results.failures.len();
        keep(section, results, &out)?;
    }
    say(&format!("written to {}", out.display()));
    if failures > 0 {
        bail!("{failures} runs failed: the report says which");
    }
    Ok(())
}

async fn run_soak(soak: &Soak) -> Result<()> {
    contender::build_writegate()?;
    let out = soak.out.directory(soak.quick)?;
    let versions = run::versions(&[Contender::Writegate])?;
    let (time, every, series) = if soak.quick { (20, 1, 20_000) } else { (2 * 3_600, 10, 100_000) };
    let time = soak.time.unwrap_or_else(|| Duration::from_secs(time));
    let case = sections::soak::case(time, Duration::from_secs(every), soak.rate, series);
    let results = run::cases(&[case], 1, &versions, &command()).await?;
    let failures = results.failures.clone();
    keep(Section::Soak, results, &out)?;
    say(&format!("written to {}", out.display()));
    if !failures.is_empty() {
        bail!("{}", failures.join("\n"));
    }
    if !report::soak_holds(&Results::read(&out)?, soak.quick) {
        bail!("memory or lag did not stay what they were, or samples were lost: the report's goals say which");
    }
    Ok(())
}

/// Puts a section in the place of what there is of it, and writes everything again.
fn keep(section: Section, results: results::SectionResults, out: &Path) -> Result<()> {
    let mut all = Results::read(out)?;
    all.sections.insert(section, results);
    report::write(&all, out)
}

/// The arguments that this program got.
fn command() -> String {
    std::env::args().skip(1).collect::<Vec<_>>().join(" ")
}

/// A line for who watches.
fn say(line: &str) {
    use std::io::Write as _;
    // Without standard error nobody watches.
    drop(writeln!(std::io::stderr(), "{line}"));
}

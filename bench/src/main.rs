//! The benchmarks that need whole programs: gateways under the same load, before the same receivers, one after another.
//!
//! Measures from outside only: `/proc`, the senders' clock, the receivers' counts. Micro-benchmarks are in each crate.

mod contender;
mod figures;
mod machine;
mod report;
mod side_by_side;
mod sinks;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

#[derive(Debug, Parser)]
#[command(name = "bench", about = "Whole gateways under the same load", arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Writegate, vmagent and the Prometheus agent in turn; writes docs/performance/side-by-side.md
    SideBySide(SideBySide),
    /// The receivers of one run, as a process of their own: a line on standard input is answered with their counts
    #[command(hide = true)]
    Sinks {
        /// How many
        #[arg(long)]
        count: usize,
    },
}

#[derive(Clone, Debug, Args)]
struct SideBySide {
    /// How many endpoints get everything; several numbers make several tables
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "3", value_parser = clap::value_parser!(u16).range(1..=64))]
    fan_out: Vec<u16>,
    /// What the senders speak and the endpoints get
    #[arg(long, value_enum, default_value_t = Protocol::V1)]
    protocol: Protocol,
    /// How long each run's load lasts
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// How often each is run; the medians are reported
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Samples per second of the paced load; the other load is as fast as answers come
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// How many series
    #[arg(long, default_value_t = 100_000)]
    series: u32,
    /// Which of them run
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = contender::Contender::value_variants().to_vec())]
    only: Vec<contender::Contender>,
    /// Where the report goes
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/performance/side-by-side.md"))]
    out: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Protocol {
    V1,
}

impl Protocol {
    /// As Writegate's `protobuf_message` spells it.
    const fn message(self) -> &'static str {
        match self {
            Self::V1 => "prometheus.WriteRequest",
        }
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = tokio::runtime::Runtime::new().map_err(Into::into).and_then(|runtime| match cli.command {
        Command::SideBySide(settings) => runtime.block_on(side_by_side::run(&settings)),
        Command::Sinks { count } => runtime.block_on(sinks::serve(count)),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("bench: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// A line for who watches.
fn say(line: &str) {
    use std::io::Write as _;
    // Without standard error nobody watches.
    drop(writeln!(std::io::stderr(), "{line}"));
}

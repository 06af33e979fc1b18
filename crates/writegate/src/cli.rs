//! The command line: what each command does is in a file of its own below.

mod check;
mod dead_letters;
mod explain;
mod gateway;
mod import;
mod log;
mod manual;
mod notify;
mod probe;
mod replay;
mod serve;
mod show;
mod status;
mod tap;
mod token;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::{allocator, demo, name_service};

/// The gateway for Prometheus remote write: receive once, keep safely, deliver everywhere.
#[derive(Debug, Parser)]
#[command(
    name = "writegate",
    version,
    arg_required_else_help = true,
    term_width = show::WIDTH,
    after_help = "Example:\n  writegate check writegate.yml"
)]
struct Cli {
    #[command(flatten)]
    logging: Logging,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct Logging {
    /// What is logged: error, warn, info or debug, also per part as in `info,writegate::delivery=debug`
    #[arg(long, global = true, value_name = "FILTER", default_value = "info", help_heading = "Logging")]
    log_level: String,
    /// How log lines look
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text, help_heading = "Logging")]
    log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the gateway
    #[command(after_help = "Example:\n  writegate serve --config writegate.yml --data /var/lib/writegate\n\n\
        SIGHUP reloads the configuration, SIGTERM ends after what is in flight, a second SIGTERM ends at once.")]
    Serve {
        /// The configuration; without it, one listener on 127.0.0.1:9009 and no endpoint
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// The data directory, instead of the configuration's `log.path`
        #[arg(long, value_name = "DIR")]
        data: Option<PathBuf>,
    },
    /// Shows the main job working: two senders, three receivers (one slow, one failing), in one process
    #[command(after_help = "Example:\n  writegate demo --for 30s")]
    Demo {
        /// How long the senders send; then everything is delivered and counted
        #[arg(long = "for", value_name = "DURATION", default_value = "60s", value_parser = duration)]
        run_for: Duration,
        /// The admin address, whose page shows the same figures
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9010")]
        admin: std::net::SocketAddr,
    },
    /// Checks a configuration and prints it in effect, secrets hidden
    #[command(after_help = "Example:\n  writegate check writegate.yml\n\n\
        Errors and warnings are printed as file:line:column: message. Exit code 1 if there is an error.")]
    Check {
        /// The configuration
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Makes a configuration of another system's: Prometheus', Observatorium's, vmagent's
    #[command(after_help = "Example:\n  writegate import prometheus prometheus.yml > writegate.yml\n\n\
        What was left out, changed, or needs a decision stands in the result as comments, and on standard error with file, line \
        and column. The result passes writegate check.")]
    Import(import::ImportArgs),
    /// Tells which endpoints get a series, and what each relabel rule does to it
    #[command(after_help = "Examples:\n  writegate explain --tenant team-a 'up{job=\"x\"}'\n  \
        writegate explain --config writegate.yml --tenant team-a 'up{job=\"x\"}'")]
    Explain(explain::ExplainArgs),
    /// Shows tenants and endpoints: rates, what is pending, how far behind, the last error
    #[command(after_help = "Example:\n  writegate status\n\nRates are those of the last minute. \
        RECEIVED and ACCEPTED count from when the tenant's log began, REFUSED from when the process started. Columns that have \
        no room stand below their row.")]
    Status(status::StatusArgs),
    /// Shows series as they come in, or as an endpoint gets them
    #[command(after_help = "Examples:\n  writegate tap --tenant team-a\n  \
        writegate tap --endpoint mimir --match '{job=~\"node.*\"}' --limit 20\n\n\
        What passes faster than it can be shown is counted and left out: nothing waits for it.")]
    Tap(tap::TapArgs),
    /// Sends a window of the log to one endpoint again, beside the live delivery
    #[command(after_help = "Examples:\n  writegate replay mimir --tenant team-a --from 2h\n  \
        writegate replay mimir --tenant team-a --from 2026-01-31T18:00:00Z \\\n    --to 2026-01-31T19:00:00Z --rate 50000 --wait\n  \
        writegate replay --list\n  writegate replay --cancel 3\n\n\
        Times are those at which data was received. What the log holds is in log.retain.")]
    Replay(replay::ReplayArgs),
    /// Lists, shows, retries and drops what endpoints refused for good
    #[command(after_help = "Example:\n  writegate dead-letters list --endpoint mimir")]
    DeadLetters(dead_letters::LettersArgs),
    /// Looks at a data directory, also while no gateway runs on it
    #[command(
        after_help = "Examples:\n  writegate log stat /var/lib/writegate\n  writegate log verify /var/lib/writegate\n\n\
        Nothing is changed. SAMPLES DONE are delivered, dropped or dead letters: the ledger of a running gateway tells them apart."
    )]
    Log(log::LogArgs),
    /// Tells what an endpoint speaks and how it behaves, and the configuration that fits
    #[command(after_help = "Examples:\n  writegate probe https://mimir.example.org/api/v1/push \\\n    \
        --header 'X-Scope-OrgID: team-a' --user 1234 --password-file token\n  \
        writegate probe --config writegate.yml --endpoint mimir --tenant team-a\n  \
        writegate probe http://prometheus:9090/api/v1/write --dry-run\n\n\
        About twenty requests are sent, one after the other, two KiB in all. They write up to sixteen series of one \
        to four samples, all but one named writegate_probe, with a label `probe` that is this probe's alone and a label \
        `check` that says what for. Some samples are up to a day old, one series has a label twice, and one, \
        for 2.0 only, no name. An endpoint that passes data on, such as a relay or another gateway, passes these on, too: \
        to everything behind it. Whoever does not want that gets along with --dry-run. Beside the endpoint's own path, \
        /api/v1/status/buildinfo of the same server is asked. Relabel rules are not applied.\n\n\
        Exit code 0 if the endpoint takes data, 1 if not.")]
    Probe(probe::ProbeArgs),
    /// Makes tenants' keys and tokens, and takes them back
    #[command(
        after_help = "Examples:\n  writegate token keypair blue.pem\n  writegate token add keys.json blue.pem\n  \
        writegate token create demo team-blue blue.pem --lifetime 90d > blue.token\n  \
        writegate token revoke revoked.txt \"$(cat blue.token)\"\n\n\
        A running gateway reads the files of `authentication` again when they change, within seconds."
    )]
    Token(token::TokenArgs),
    /// Prints a script with which a shell completes commands and options
    #[command(
        after_help = "Example:\n  writegate completions bash \\\n    > ~/.local/share/bash-completion/completions/writegate"
    )]
    Completions {
        /// The shell
        #[arg(value_name = "SHELL", value_parser = ["bash", "zsh", "fish"])]
        shell: String,
    },
    /// Writes a manual page for each command
    #[command(after_help = "Example:\n  writegate man ~/.local/share/man/man1")]
    Man {
        /// The directory, which is made if it is not there
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
}

/// The commands as they are told of: each says how it can end.
fn command() -> clap::Command {
    fn told(command: clap::Command) -> clap::Command {
        let help = command.get_after_help().map(|help| format!("{help}\n\n")).unwrap_or_default();
        command.after_help(format!("{help}Exit codes: 0 fine, 1 failed, 2 wrong usage")).mut_subcommands(told)
    }
    told(Cli::command())
}

/// Runs the program: 0 is fine, 1 failed, 2 usage.
pub fn run() -> ExitCode {
    let parsed = command().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => {
            // Nothing is left to tell if standard output or error is closed.
            drop(error.print());
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    if let Err(error) = start_logging(&cli.logging) {
        return fail(&error, 2);
    }
    if let Err(error) = name_service::check() {
        return fail(&error.into(), 1);
    }
    if matches!(cli.command, Command::Serve { .. } | Command::Demo { .. })
        && let Some(error) = allocator::share_one_arena()
    {
        tracing::debug!(%error, "the program could not start itself again; it may hold more memory than it needs");
    }
    let result = match cli.command {
        Command::Serve { config, data } => serve::run(config, data),
        Command::Demo { run_for, admin } => demo::run(run_for, admin),
        Command::Check { file, json } => check::run(&file, json),
        Command::Import(args) => import::run(args),
        Command::Explain(args) => ask(explain::run(args)),
        Command::Status(args) => ask(status::run(args)),
        Command::Tap(args) => ask(tap::run(args)),
        Command::Replay(args) => ask(replay::run(args)),
        Command::DeadLetters(args) => ask(dead_letters::run(args)),
        Command::Log(args) => log::run(&args),
        Command::Probe(args) => ask(probe::run(args)),
        Command::Token(args) => token::run(args),
        Command::Completions { shell } => manual::completions(&shell),
        Command::Man { directory } => manual::pages(&directory),
    };
    match result {
        Ok(code) => code,
        Err(error) => fail(&error, 1),
    }
}

fn fail(error: &anyhow::Error, code: u8) -> ExitCode {
    // Without standard error there is nobody to tell.
    drop(writeln!(std::io::stderr(), "writegate: {error:#}"));
    ExitCode::from(code)
}

fn start_logging(logging: &Logging) -> anyhow::Result<()> {
    let filter = log_filter(&logging.log_level)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    match logging.log_format {
        LogFormat::Text => builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    Ok(())
}

/// Reads `--log-level`. A word alone must be a level: as a part of the program it would silence all others.
fn log_filter(text: &str) -> anyhow::Result<EnvFilter> {
    let expected =
        "expected error, warn, info, debug, trace or off, also per part as in info,writegate::delivery=debug";
    let is_word = |directive: &str| !directive.is_empty() && !directive.contains(['=', '[']);
    let words = text.split(',').map(str::trim).filter(|directive| is_word(directive));
    for word in words {
        word.parse::<LevelFilter>()
            .map_err(|_invalid| anyhow::anyhow!("--log-level {text:?}: {word:?} is no level; {expected}"))?;
    }
    // What strangers can make the HTTP/2 library warn of is not worth a line each; whoever wants it names it.
    EnvFilter::builder()
        .parse(format!("h2=error,{text}"))
        .map_err(|error| anyhow::anyhow!("--log-level {text:?}: {error}; {expected}"))
}

/// A runtime for the gateway; its threads decode, so there is one per core.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("writegate").build()
}

/// Runs a command that asks a gateway.
fn ask(command: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(command)
}

/// A duration as in Prometheus: `90s`, `1m30s`.
fn duration(text: &str) -> Result<Duration, String> {
    writegate_config::parse_duration(text).map_err(|error| error.to_string())
}

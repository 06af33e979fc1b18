//! The command line: reads what is asked for, prints, and says how it ended: 0 fine, 1 failed, 2 usage.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use serde_json::Value as Json;
use targets::Applier;
use writegate_config::OperatorConfig;

use crate::{explain, run};

/// Targets of remote write, declared in Kubernetes by the people who own them.
#[derive(Debug, Parser)]
#[command(
    name = "writegate-operator",
    version,
    term_width = 80,
    after_help = "Example:\n  writegate-operator run --config operator.yml --apply prometheus"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch the cluster and apply what is declared, until SIGTERM.
    #[command(after_help = "Example:\n  writegate-operator run --apply file --config operator.yml")]
    Run(Run),
    /// Print the CustomResourceDefinitions.
    #[command(after_help = "Example:\n  writegate-operator crds | kubectl apply --server-side -f -")]
    Crds {
        /// As a JSON List instead of YAML.
        #[arg(long)]
        json: bool,
    },
    /// Print the least roles with which the operator does its work.
    #[command(
        after_help = "Example:\n  writegate-operator rbac --apply prometheus --namespace writegate \\\n    | kubectl apply -f -"
    )]
    Rbac {
        #[command(flatten)]
        run: Run,
        /// Where the operator runs.
        #[arg(long, default_value = "writegate")]
        namespace: String,
        /// As a JSON List instead of YAML.
        #[arg(long)]
        json: bool,
    },
    /// Print a script with which a shell completes commands and options.
    #[command(after_help = "Example:\n  writegate-operator completions bash \\\n    \
        > ~/.local/share/bash-completion/completions/writegate-operator")]
    Completions {
        /// The shell.
        #[arg(value_name = "SHELL", value_parser = ["bash", "zsh", "fish"])]
        shell: String,
    },
    /// Write a manual page for each command.
    #[command(after_help = "Example:\n  writegate-operator man ~/.local/share/man/man1")]
    Man {
        /// The directory, which is made if it is not there.
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
    /// Say what is declared in a namespace, what is applied, and why not.
    #[command(after_help = "Example:\n  writegate-operator explain team-blue")]
    Explain {
        /// The namespace.
        namespace: String,
        #[command(flatten)]
        run: Run,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

/// What the operator works by.
#[derive(Debug, Args)]
struct Run {
    /// The operator's file; without one, its defaults.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where targets go: into Prometheus objects, or into a file for the gateway.
    #[arg(long, value_enum, default_value_t = Apply::Prometheus)]
    apply: Apply,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Apply {
    Prometheus,
    File,
}

impl From<Apply> for Applier {
    fn from(apply: Apply) -> Self {
        match apply {
            Apply::Prometheus => Self::Prometheus,
            Apply::File => Self::File,
        }
    }
}

pub(crate) fn run() -> ExitCode {
    let parsed = command().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => {
            // Help goes to standard output and is no failure; what clap prints cannot be printed elsewhere.
            error.print().ok();
            return if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    match execute(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("writegate-operator: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// The commands as they are told of: each says how it can end.
fn command() -> clap::Command {
    fn told(command: clap::Command) -> clap::Command {
        let help = command.get_after_help().map(|help| format!("{help}\n\n")).unwrap_or_default();
        command.after_help(format!("{help}Exit codes: 0 fine, 1 failed, 2 wrong usage")).mut_subcommands(told)
    }
    told(Cli::command())
}

fn completions(shell: &str) -> anyhow::Result<()> {
    let shell: Shell = shell.parse().map_err(anyhow::Error::msg)?;
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command(), "writegate-operator", &mut script);
    print(&String::from_utf8_lossy(&script))
}

/// A page for each command.
fn pages(directory: &Path) -> anyhow::Result<()> {
    let failed = || format!("write the pages to {}", directory.display());
    std::fs::create_dir_all(directory).with_context(failed)?;
    clap_mangen::generate_to(command(), directory).with_context(failed)
}

fn execute(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Run(run) => {
            log();
            let settings = run::settings(load(&run)?, run.apply.into())?;
            run::block_on(run::run(settings))
        }
        Command::Crds { json } => print(&documents(&targets::crd::definitions(), json)),
        Command::Rbac { run, namespace, json } => {
            let roles = targets::rbac::roles(&load(&run)?, run.apply.into(), &namespace);
            print(&documents(&roles, json))
        }
        Command::Completions { shell } => completions(&shell),
        Command::Man { directory } => pages(&directory),
        Command::Explain { namespace, run, json } => {
            let settings = run::settings(load(&run)?, run.apply.into())?;
            let said = run::block_on(explain::explain(settings, &namespace, json))?;
            print(&said)
        }
    }
}

fn load(run: &Run) -> anyhow::Result<OperatorConfig> {
    match &run.config {
        None => Ok(OperatorConfig::without_file()),
        Some(path) => {
            writegate_config::load_operator(path).with_context(|| format!("read the configuration {}", path.display()))
        }
    }
}

fn documents(objects: &[Json], json: bool) -> String {
    if json {
        let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": objects});
        return format!("{list:#}\n");
    }
    let documents: Vec<String> = objects.iter().map(targets::to_yaml).collect();
    documents.join("---\n")
}

fn print(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        // Whoever reads has enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("print"),
    }
}

fn say(text: &str) {
    // There is nobody left to tell.
    writeln!(std::io::stderr(), "{text}").ok();
}

/// Logs go to standard error. The client's own lines are left out below warnings: they may hold what is sent.
fn log() {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let filter = ["kube_client=warn", "kube_runtime=off", "hyper_util=warn", "tower=warn", "rustls=warn"]
        .into_iter()
        .filter_map(|directive| directive.parse().ok())
        .fold(filter, EnvFilter::add_directive);
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}

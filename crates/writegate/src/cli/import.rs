//! `writegate import`: another system's configuration as a `writegate.yml`. The result goes to standard output, what is to know
//! about it to standard error, and stands in it as comments, too.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use import::{Import, ImportError, Note, Source};
use serde::Serialize;
use writegate_config::{MOST_BYTES, read_text};

use super::show::{plain, print, tell};

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    #[command(subcommand)]
    system: System,
}

#[derive(Debug, Subcommand)]
enum System {
    /// Takes the endpoints of a prometheus.yml
    #[command(after_help = "Example:\n  writegate import prometheus prometheus.yml > writegate.yml\n\n\
        What Prometheus keeps stands at the end: its own remote_write, which points to the gateway. Exit code 1 if something that \
        changes where data goes could not be carried over.")]
    Prometheus {
        /// The file; - is standard input
        #[arg(value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        output: Output,
    },
    /// Takes Observatorium's files: endpoints, tenants, roles, flags of its API
    #[command(after_help = "Example:\n  writegate import observatorium endpoints.yaml tenants.yaml rbac.yaml \\\n    \
        api.args > writegate.yml\n\n\
        What a file is shows in what it says. Files of endpoints, tenants and roles are referred to: the gateway reads them as \
        they are. Exit code 1 if something that changes where data goes could not be carried over.")]
    Observatorium {
        /// One or more of its files
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
        #[command(flatten)]
        output: Output,
    },
    /// Takes the command line of a vmagent
    #[command(after_help = "Example:\n  writegate import vmagent vmagent.service > writegate.yml\n\n\
        The file may hold flags, one per line; a shell's line; a systemd unit; `args` of Kubernetes; a Compose file. Files with \
        relabel rules are read where the flags say, from the working directory. Exit code 1 if something that changes where data \
        goes could not be carried over.")]
    Vmagent {
        /// The file; - is standard input
        #[arg(value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, Args)]
struct Output {
    /// Exit code 0 also if something that changes where data goes was not carried over
    #[arg(long)]
    force: bool,
    /// Print one JSON object: the configuration, and the notes
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Told<'i> {
    complete: bool,
    config: &'i str,
    notes: Vec<NoteTold<'i>>,
}

#[derive(Serialize)]
struct NoteTold<'i> {
    weight: &'static str,
    file: String,
    line: u64,
    column: u64,
    text: &'i str,
}

/// 1 if something that changes where data goes could not be carried over.
pub(super) fn run(args: ImportArgs) -> anyhow::Result<ExitCode> {
    let (imported, output) = match args.system {
        System::Prometheus { file, output } => (alone(&file, import::prometheus)?, output),
        System::Vmagent { file, output } => {
            // Names of files in flags are relative to the directory in which vmagent was started.
            let read = |path: &Path| read_text(path);
            (alone(&file, |source| import::vmagent(&Source { base: None, ..*source }, &read))?, output)
        }
        System::Observatorium { files, output } => (observatorium(&files)?, output),
    };
    print_all(&imported, &output)?;
    Ok(if imported.is_complete() || output.force { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn alone(file: &Path, import: impl Fn(&Source<'_>) -> Result<Import, ImportError>) -> anyhow::Result<Import> {
    let (text, base) = (read(file)?, directory(file)?);
    let name = if is_standard_input(file) { Path::new("standard input") } else { file };
    import(&Source { name, text: &text, base: base.as_deref() }).map_err(|error| anyhow::anyhow!("import {error}"))
}

fn observatorium(files: &[PathBuf]) -> anyhow::Result<Import> {
    let texts: anyhow::Result<Vec<(String, Option<PathBuf>)>> =
        files.iter().map(|file| Ok((read(file)?, directory(file)?))).collect();
    let texts = texts?;
    let sources: Vec<Source<'_>> =
        files.iter().zip(&texts).map(|(name, (text, base))| Source { name, text, base: base.as_deref() }).collect();
    import::observatorium(&sources).map_err(|error| anyhow::anyhow!("import {error}"))
}

fn is_standard_input(file: &Path) -> bool {
    file == Path::new("-")
}

fn read(file: &Path) -> anyhow::Result<String> {
    if !is_standard_input(file) {
        return read_text(file).with_context(|| format!("read {}", file.display()));
    }
    let mut text = String::new();
    std::io::stdin().lock().take(MOST_BYTES).read_to_string(&mut text).context("read standard input")?;
    Ok(text)
}

/// The directory that names in the file are relative to.
fn directory(file: &Path) -> anyhow::Result<Option<PathBuf>> {
    if is_standard_input(file) {
        return Ok(None);
    }
    let full = std::path::absolute(file).with_context(|| format!("find the directory of {}", file.display()))?;
    Ok(full.parent().map(Path::to_owned))
}

fn print_all(imported: &Import, output: &Output) -> anyhow::Result<()> {
    if output.json {
        let notes = imported.notes.iter().map(|Note { weight, file, place, text }| NoteTold {
            weight: weight.as_str(),
            file: file.display().to_string(),
            line: place.line,
            column: place.column,
            text,
        });
        let told = Told { complete: imported.is_complete(), config: &imported.yaml, notes: notes.collect() };
        return print(&serde_json::to_string(&told)?);
    }
    print(imported.yaml.trim_end())?;
    imported.notes.iter().for_each(|note| tell(&plain(&note.to_string())));
    if !imported.is_complete() && !output.force {
        tell("writegate: not everything that decides where data goes was carried over: see the lines with `missing`;");
        tell("what is printed is usable, and --force says that this is known");
    }
    Ok(())
}

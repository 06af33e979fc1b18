//! `writegate completions` and `writegate man`: made from the commands as they are, so that they are never of another version.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use clap_complete::Shell;

use super::{command, show};

pub(super) fn completions(shell: &str) -> anyhow::Result<ExitCode> {
    let shell: Shell = shell.parse().map_err(anyhow::Error::msg)?;
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command(), "writegate", &mut script);
    show::print(String::from_utf8_lossy(&script).trim_end())?;
    Ok(ExitCode::SUCCESS)
}

/// Writes `writegate.1`, and a page for each command, `writegate-log-verify.1`.
pub(super) fn pages(directory: &Path) -> anyhow::Result<ExitCode> {
    let failed = || format!("write the pages to {}", directory.display());
    std::fs::create_dir_all(directory).with_context(failed)?;
    clap_mangen::generate_to(command(), directory).with_context(failed)?;
    Ok(ExitCode::SUCCESS)
}

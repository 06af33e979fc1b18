//! `writegate check`: a configuration's errors and warnings, and what it means.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;

use crate::app;

#[derive(Serialize)]
struct Report {
    valid: bool,
    errors: Vec<String>,
    warnings: Vec<String>,
    config: Option<String>,
}

/// Checks `file`; exit code 1 if it has an error.
pub(super) fn run(file: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let report = match writegate_config::load(file) {
        Ok(loaded) => {
            let errors = app::unusable(&loaded.config);
            Report {
                valid: errors.is_empty(),
                errors,
                warnings: loaded.warnings.iter().map(ToString::to_string).collect(),
                config: Some(loaded.config.to_yaml()),
            }
        }
        Err(problems) => Report {
            valid: false,
            errors: problems.to_string().lines().map(str::to_owned).collect(),
            warnings: Vec::new(),
            config: None,
        },
    };
    print(&report, json)?;
    Ok(if report.valid { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The configuration goes to standard output, so that it can be used; what is about it goes to standard error.
fn print(report: &Report, json: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        writeln!(out, "{}", serde_json::to_string(report)?)?;
        return Ok(());
    }
    let mut err = std::io::stderr().lock();
    for error in &report.errors {
        writeln!(err, "{error}")?;
    }
    for warning in &report.warnings {
        writeln!(err, "warning: {warning}")?;
    }
    if let Some(config) = &report.config {
        out.write_all(config.as_bytes())?;
    }
    Ok(())
}

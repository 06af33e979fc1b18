//! Builds the OpenTelemetry Collector of the e2e tests (`tests/collector`) from its public modules into
//! `.cache/peers/otelcol-<version>/`, where the machine has Go. `testkit::peers` finds it like the others.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::{finish, in_ci};

/// The release of its modules, as in `tests/collector/go.mod`.
const VERSION: &str = "0.165.1";

/// Builds it if it is not there, or was built from something else.
///
/// # Errors
/// When there is Go, and it cannot be built. Outside CI that is said, and no failure.
pub(crate) fn build(root: &Path) -> Result<()> {
    let go = Command::new("go").arg("version").stdin(Stdio::null()).stdout(Stdio::null()).status();
    if !go.is_ok_and(|status| status.success()) {
        println!("collector: not built, there is no `go` here; the test that needs it will be skipped");
        return Ok(());
    }
    match build_into(root, &root.join(".cache/peers").join(format!("otelcol-{VERSION}"))) {
        Err(error) if !in_ci() => {
            println!("collector: not built, the test that needs it will be skipped: {error:#}");
            Ok(())
        }
        done => done,
    }
}

fn build_into(root: &Path, home: &Path) -> Result<()> {
    let module = root.join("tests/collector");
    let read = |name: &str| fs::read_to_string(module.join(name)).with_context(|| format!("read {name}"));
    let source = [read("main.go")?, read("go.mod")?, read("go.sum")?].concat();
    if !source.contains(&format!("prometheusremotewriteexporter v{VERSION}")) {
        bail!("build the collector {VERSION}: tests/collector/go.mod names another release; change both");
    }
    let (built_from, program) = (home.join("built-from"), home.join("usr/bin/otelcol"));
    if fs::read_to_string(&built_from).ok().as_deref() != Some(&source) {
        println!("collector: building it, a few minutes …");
        let aside = home.with_file_name(".build-otelcol");
        let mut command = Command::new("go");
        command.args(["build", "-trimpath", "-ldflags", "-s -w", "-o"]).arg(&aside).arg(".");
        command.env("CGO_ENABLED", "0");
        finish(&mut command, &module).context("go build in tests/collector")?;
        let directory = home.join("usr/bin");
        fs::create_dir_all(&directory).with_context(|| format!("create {}", directory.display()))?;
        fs::rename(&aside, &program).with_context(|| format!("rename to {}", program.display()))?;
        fs::write(&built_from, source).with_context(|| format!("write {}", built_from.display()))?;
    }
    println!("collector: {} is there", program.display());
    Ok(())
}

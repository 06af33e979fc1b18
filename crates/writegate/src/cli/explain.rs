//! `writegate explain`: which endpoints get a series, and what is done to it on the way.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use writegate_config::TenantName;

use super::gateway::{AdminArgs, Gateway};
use super::show::{WIDTH, folded, plain, print};
use crate::admin::query;
use crate::explain::{self, Did, Explanation, explain};

#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// The series, as in a query: a name, labels in braces, or both
    #[arg(value_name = "SERIES", value_parser = series)]
    series: String,
    /// Whose series it is
    #[arg(long, value_name = "TENANT", value_parser = tenant)]
    tenant: TenantName,
    /// A configuration to ask instead of the running gateway
    #[arg(long, value_name = "FILE", conflicts_with_all = ["admin", "bearer_token_file", "user"])]
    config: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

fn series(text: &str) -> Result<String, String> {
    explain::series(text).map(|_labels| text.to_owned())
}

pub(super) fn tenant(name: &str) -> Result<TenantName, String> {
    TenantName::new(name).map_err(|invalid| invalid.to_string())
}

/// Explains from the file, if there is one, else asks the gateway.
pub(super) async fn run(args: ExplainArgs) -> anyhow::Result<ExitCode> {
    let explanation: Explanation = match &args.config {
        Some(file) => offline(file, &args)?,
        None => {
            let query = [("tenant", Some(args.tenant.as_str())), ("series", Some(args.series.as_str()))];
            let path = format!("/api/v1/explain{}", query::encode(&query));
            Gateway::of(&args.admin)?.get(&path).await?.read()?
        }
    };
    if args.json {
        print(&serde_json::to_string(&explanation)?)?;
    } else {
        print(&text(&explanation))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn offline(file: &Path, args: &ExplainArgs) -> anyhow::Result<Explanation> {
    let config = match writegate_config::load(file) {
        Ok(loaded) => loaded.config,
        Err(problems) => anyhow::bail!("the configuration is not valid:\n{problems}"),
    };
    let labels = explain::series(&args.series).map_err(anyhow::Error::msg)?;
    Ok(explain(&config, &args.tenant, &labels))
}

fn text(explanation: &Explanation) -> String {
    let Explanation { tenant, series, admitted, refused, endpoints } = explanation;
    let mut text = format!("{} of tenant {tenant}", plain(series));
    let mut say = |words: &str| folded(words, WIDTH).iter().for_each(|line| text.extend(["\n", line.as_str()]));
    if !admitted {
        say("refused: `tenants` does not list this tenant; nothing it sends is taken, no endpoint gets any of it");
    }
    if let Some(why) = refused {
        say(&format!("refused: {}; the gateway does not take this series, no endpoint gets it", plain(why)));
    }
    if *admitted && refused.is_none() && endpoints.is_empty() {
        text.push_str("\nNo endpoint is configured.");
    }
    for at in endpoints {
        // Writing to a string cannot fail.
        let verdict = match (&at.arrives, &at.dropped_by) {
            (Some(arrives), _) => format!("gets {}", plain(arrives)),
            (None, Some(why)) => format!("does not get it: {why}"),
            (None, None) => "does not get it".to_owned(),
        };
        write!(text, "\n\n{}: {verdict}", plain(&at.endpoint)).unwrap_or_default();
        for step in &at.steps {
            let did = match (step.outcome, &step.series) {
                (Did::Changed, Some(series)) => format!("-> {}", plain(series)),
                (Did::Changed, None) => "changed".to_owned(),
                (Did::Unchanged, _) => "unchanged".to_owned(),
                (Did::Dropped, _) => "dropped".to_owned(),
            };
            write!(text, "\n  {} {}\n    {did}", step.step, plain(&step.config)).unwrap_or_default();
        }
    }
    text
}

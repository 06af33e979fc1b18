//! `writegate tap`: series as they pass by.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use super::gateway::{AdminArgs, Gateway};
use super::show::{count, plain, plural, print, tell};
use crate::admin::query;
use crate::admin::tap::{Passing, Skipped};

#[derive(Debug, Args)]
pub(super) struct TapArgs {
    /// Of this tenant only
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// As this endpoint gets it, after all rules; what it does not get is not shown
    #[arg(long, value_name = "NAME")]
    endpoint: Option<String>,
    /// Only series that this selector means; as they come in, before any rule
    #[arg(long = "match", value_name = "SELECTOR")]
    selector: Option<String>,
    /// End after so many series
    #[arg(long, value_name = "NUMBER")]
    limit: Option<u64>,
    /// Print each series as a JSON object in a line of its own
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

/// Shows until the gateway ends, or there is enough.
pub(super) async fn run(args: TapArgs) -> anyhow::Result<ExitCode> {
    let parameters = [
        ("tenant", args.tenant.as_deref()),
        ("endpoint", args.endpoint.as_deref()),
        ("match", args.selector.as_deref()),
    ];
    let (mut shown, mut is_skipped) = (0, false);
    let each = |line: &str| {
        if let Some(event) = line.strip_prefix("event: ") {
            is_skipped = event == "skipped";
        }
        let Some(data) = line.strip_prefix("data: ") else { return Ok(true) };
        let unknown = "understand the gateway's answer; is it another version?";
        if std::mem::take(&mut is_skipped) {
            let Skipped { records, series } = serde_json::from_str(data).context(unknown)?;
            let (ends, of) = (plural(records), count(records));
            tell(&format!("({} more series, and {of} record{ends} that nobody looked into)", count(series)));
            return Ok(true);
        }
        let passing: Passing = serde_json::from_str(data).context(unknown)?;
        print(&if args.json { data.to_owned() } else { in_words(&passing) })?;
        shown += 1;
        Ok(args.limit.is_none_or(|limit| shown < limit))
    };
    let gateway = Gateway::of(&args.admin)?;
    gateway.follow(&format!("/api/v1/tap{}", query::encode(&parameters)), each).await?;
    Ok(ExitCode::SUCCESS)
}

/// A time as `PromQL`'s `@` takes it: seconds since 1970.
fn seconds(milliseconds: i64) -> String {
    let sign = if milliseconds < 0 { "-" } else { "" };
    format!("{sign}{}.{:03}", milliseconds.unsigned_abs() / 1000, milliseconds.unsigned_abs() % 1000)
}

/// `team-a  up{job="x"}  1 @1769882400.000`
fn in_words(passing: &Passing) -> String {
    let Passing { tenant, series, samples, histograms, exemplars, more, received_ms: _ } = passing;
    let samples = samples.iter().map(|(timestamp, value)| format!("{value} @{}", seconds(*timestamp)));
    let histograms = histograms.iter().map(|histogram| {
        format!("histogram of {} (sum {}) @{}", histogram.count, histogram.sum, seconds(histogram.timestamp))
    });
    let mut parts: Vec<String> = samples.chain(histograms).collect();
    if *exemplars > 0 {
        parts.push(format!("{exemplars} exemplar{}", plural(*exemplars as u64)));
    }
    if *more > 0 {
        parts.push(format!("{more} more"));
    }
    format!("{}  {}  {}", plain(tenant), plain(series), parts.join(", "))
}

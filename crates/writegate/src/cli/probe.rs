//! `writegate probe`: what an endpoint speaks and how it behaves, as a table, and the lines of configuration that fit.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{ArgGroup, Args};
use serde_json::{Map, Value, json};
use writegate_config::{Endpoint, Problems, TenantName};

use super::show::{ProgressLine, WIDTH, bytes, plain, plural, print, tell, wrap};
use crate::probe::{Plan, Report, probe};

const CHECK_WIDTH: usize = 19;
const ANSWER_WIDTH: usize = 11;

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).args(["url", "endpoint"]))]
pub(super) struct ProbeArgs {
    /// The address that data is pushed to
    #[arg(value_name = "URL")]
    url: Option<String>,
    /// An endpoint of the configuration, with its credential, TLS settings, proxy and headers
    #[arg(long, value_name = "NAME", requires = "config", conflicts_with = "url")]
    endpoint: Option<String>,
    /// The configuration with that endpoint
    #[arg(long, value_name = "FILE", requires = "endpoint")]
    config: Option<PathBuf>,
    /// The tenant for an endpoint that is told of one (`tenant_header`, `tenant_label`)
    #[arg(long, value_name = "TENANT", requires = "endpoint", value_parser = super::explain::tenant)]
    tenant: Option<TenantName>,
    /// A header of each request, as in 'X-Scope-OrgID: team-a'; more than one may be given
    #[arg(long, value_name = "NAME: VALUE", value_parser = header, conflicts_with = "endpoint")]
    header: Vec<(String, String)>,
    /// A file with a token to show
    #[arg(long, value_name = "FILE", conflicts_with_all = ["user", "endpoint"])]
    bearer_token_file: Option<PathBuf>,
    /// A user to show
    #[arg(long, value_name = "NAME", requires = "password_file", conflicts_with = "endpoint")]
    user: Option<String>,
    /// A file with that user's password
    #[arg(long, value_name = "FILE", requires = "user")]
    password_file: Option<PathBuf>,
    /// A file with the authorities that the endpoint's certificate may be from, instead of the system's
    #[arg(long, value_name = "FILE", conflicts_with = "endpoint")]
    ca_file: Option<PathBuf>,
    /// Believe any certificate
    #[arg(long, conflicts_with_all = ["ca_file", "endpoint"])]
    insecure_skip_verify: bool,
    /// For each request [default: 10s, or the endpoint's `remote_timeout`]
    #[arg(long, value_name = "DURATION", value_parser = super::duration)]
    timeout: Option<Duration>,
    /// Send only requests without data; what shows with data only stays unknown
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Without the value in an error: it may be a secret.
fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("expected 'NAME: VALUE'")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

/// Probes; 1 if the endpoint takes nothing.
pub(super) async fn run(args: ProbeArgs) -> anyhow::Result<ExitCode> {
    let plan = plan(&args)?;
    let mut line = ProgressLine::default();
    let report = probe(&plan, |what| line.show(&format!("asking about {what}"))).await;
    drop(line);
    if args.json {
        print(&serde_json::to_string(&report)?)?;
    } else {
        if report.is_answered() {
            print(&text(&report, &args, &plan.endpoint))?;
        }
        if let Some(trouble) = &report.trouble {
            let hint = usual_paths(args.url.as_deref()).filter(|_| !trouble.what_to_do.contains("/api/v1/write"));
            let hint = hint.map(|hint| format!("; {hint}")).unwrap_or_default();
            let told = format!("writegate: {}; {}{hint}", plain(&trouble.error), trouble.what_to_do);
            tell(&wrap(&told, WIDTH).join("\n"));
        }
    }
    Ok(if report.usable { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Where remote write usually is, for a URL that cannot be one of it.
fn usual_paths(url: Option<&str>) -> Option<&'static str> {
    let usual = "the usual paths are /api/v1/write (Prometheus, VictoriaMetrics), /api/v1/push (Mimir) and /api/v1/receive (Thanos)";
    let uri: http::Uri = url?.parse().ok()?;
    let is_elsewhere = matches!(uri.path(), "" | "/") || uri.path().trim_end_matches('/').ends_with("/v1/metrics");
    is_elsewhere.then_some(usual)
}

fn plan(args: &ProbeArgs) -> anyhow::Result<Plan> {
    let (mut endpoint, tenant_id) = match (&args.config, &args.endpoint) {
        (Some(file), Some(name)) => configured(file, name, args.tenant.as_ref())?,
        _ => (given(args)?, String::new()),
    };
    if let Some(timeout) = args.timeout {
        endpoint.remote_timeout = timeout;
    }
    Ok(Plan { endpoint, tenant_id, dry_run: args.dry_run })
}

/// An endpoint of a configuration, and what it is told of the tenant.
fn configured(file: &Path, name: &str, tenant: Option<&TenantName>) -> anyhow::Result<(Endpoint, String)> {
    let config = match writegate_config::load(file) {
        Ok(loaded) => loaded.config,
        Err(problems) => bail!("the configuration is not valid:\n{problems}"),
    };
    let known: Vec<&str> = config.endpoints.iter().map(|endpoint| endpoint.name.as_str()).collect();
    let endpoint = config.endpoints.iter().find(|endpoint| endpoint.name == name);
    let endpoint = endpoint
        .with_context(|| format!("{} has no endpoint {name:?}; known: {}", file.display(), known.join(", ")))?;
    let is_told = endpoint.tenant_header.is_some() || endpoint.tenant_label.is_some();
    let id = match tenant {
        Some(tenant) => config.tenants.id_of(tenant).to_owned(),
        None if is_told => {
            bail!("{name} is told of a tenant (tenant_header, tenant_label); say of which with --tenant")
        }
        None => String::new(),
    };
    Ok((endpoint.clone(), id))
}

/// An endpoint as the arguments describe it, read and checked as an entry of a configuration is.
fn given(args: &ProbeArgs) -> anyhow::Result<Endpoint> {
    let text = json!({ "remote_write": [entry(args)] }).to_string();
    let parsed = writegate_config::parse(&text, Path::new("arguments"), Path::new(""));
    let without_places = |Problems(problems): Problems| {
        let messages = problems.into_iter().map(|problem| match problem.hint {
            Some(hint) => format!("{} ({hint})", problem.message),
            None => problem.message,
        });
        let messages = messages.map(|message| message.replace("remote_write[0].", ""));
        anyhow::anyhow!("the arguments describe no endpoint: {}", messages.collect::<Vec<_>>().join("; "))
    };
    let config = parsed.map_err(without_places)?.config;
    config.endpoints.into_iter().next().context("the arguments describe no endpoint")
}

/// The keys of an entry that the arguments stand for. JSON is YAML.
fn entry(args: &ProbeArgs) -> Value {
    let mut entry = Map::new();
    let mut set = |key: &str, value: Value| drop(entry.insert(key.to_owned(), value));
    set("url", json!(args.url));
    set("remote_timeout", json!("10s"));
    if !args.header.is_empty() {
        let headers = args.header.iter().map(|(name, value)| (name.clone(), json!(value)));
        set("headers", Value::Object(headers.collect()));
    }
    if let Some(file) = &args.bearer_token_file {
        set("bearer_token_file", json!(file));
    }
    if let (Some(user), Some(file)) = (&args.user, &args.password_file) {
        set("basic_auth", json!({ "username": user, "password_file": file }));
    }
    if let Some(file) = &args.ca_file {
        set("tls_config", json!({ "ca_file": file }));
    }
    if args.insecure_skip_verify {
        set("tls_config", json!({ "insecure_skip_verify": true }));
    }
    Value::Object(entry)
}

fn text(report: &Report, args: &ProbeArgs, endpoint: &Endpoint) -> String {
    let mut out = String::new();
    let mut line = |text: &str| {
        out.push_str(text);
        out.push('\n');
    };
    line(&format!("{:<CHECK_WIDTH$}{:<ANSWER_WIDTH$}DETAIL", "CHECK", "ANSWER"));
    for row in &report.checks {
        let margin = CHECK_WIDTH + ANSWER_WIDTH;
        let mut detail = wrap(&plain(&row.detail), WIDTH - margin).into_iter();
        let first =
            format!("{:<CHECK_WIDTH$}{:<ANSWER_WIDTH$}{}", row.check, row.answer, detail.next().unwrap_or_default());
        line(first.trim_end());
        detail.for_each(|rest| line(&format!("{:margin$}{rest}", "")));
    }
    line("");
    let product = match &report.product {
        Some(product) => format!("It looks like {}: {}.", plain(&product.name), product.evidence.join("; ")),
        None => "Which product it is cannot be told.".to_owned(),
    };
    wrap(&product, WIDTH).iter().for_each(|text| line(text));
    let written = match &report.series {
        Some(series) => format!("what was written is {series}"),
        None => "no series was sent".to_owned(),
    };
    let (requests, size) = (report.requests, bytes(report.bytes as u64));
    let sent = format!("{requests} request{} of {size} in all; {written}.", plural(requests as u64));
    wrap(&sent, WIDTH).iter().for_each(|text| line(text));
    if report.usable {
        line("\nAn entry that fits:\n");
        entry_lines(report, args, endpoint).iter().for_each(|text| line(text));
    }
    if !report.advice.notes.is_empty() {
        line("");
    }
    for note in &report.advice.notes {
        for (index, text) in wrap(note, WIDTH - 2).iter().enumerate() {
            line(&format!("{} {text}", if index == 0 { "*" } else { " " }));
        }
    }
    out.trim_end().to_owned()
}

/// YAML, with the reason above each line. Values of headers may be secrets.
fn entry_lines(report: &Report, args: &ProbeArgs, endpoint: &Endpoint) -> Vec<String> {
    let mut lines = vec!["remote_write:".to_owned()];
    if args.endpoint.is_some() {
        lines.push(format!("  - name: {}  # its other keys as they are", json!(endpoint.name)));
    } else {
        lines.push(format!("  - url: {}", report.url));
        let given = entry(args);
        for (key, value) in given.as_object().into_iter().flatten() {
            let value = match key.as_str() {
                "url" | "remote_timeout" => continue,
                "headers" => {
                    let mut names = String::new();
                    for (name, _) in &args.header {
                        // Writing to a string cannot fail.
                        write!(names, "{}{name}: …", if names.is_empty() { "" } else { ", " }).unwrap_or_default();
                    }
                    format!("{{{names}}}  # as given")
                }
                _ => value.to_string(),
            };
            lines.push(format!("    {key}: {value}"));
        }
    }
    for advised in &report.advice.entry {
        lines.push(format!("    # {}", advised.why));
        lines.push(format!("    {}: {}", advised.key, advised.value));
    }
    lines
}

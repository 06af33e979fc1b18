//! `writegate dead-letters`: what endpoints refused for good: listed, shown, tried again, dropped.

use std::fmt::Write as _;
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};

use super::gateway::{AdminArgs, Gateway};
use super::show::{self, Align, ProgressLine, Table, bytes, plain, plural, print, tell};
use crate::admin::api::{
    DroppedLetters, LetterAction, LetterPage, LettersWanted, OpenLetter, Retried, SeriesShown, Status,
};
use crate::admin::moment::Utc;
use crate::admin::query;

/// How wide the names of a letter's properties are, with a gap.
const KEY_WIDTH: usize = 13;

#[derive(Debug, Args)]
pub(super) struct LettersArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Lists what is kept, the oldest first
    #[command(after_help = "Example:\n  writegate dead-letters list --endpoint mimir --limit 20")]
    List {
        #[command(flatten)]
        filter: Filter,
        /// How many at most
        #[arg(long, value_name = "N", default_value = "100", value_parser = clap::value_parser!(u64).range(1..))]
        limit: u64,
        /// Begin after the letter of this number: the listing goes on from there
        #[arg(long, value_name = "ID", value_parser = id)]
        after: Option<u64>,
        #[command(flatten)]
        output: Output,
    },
    /// Shows one with its series
    #[command(after_help = "Example:\n  writegate dead-letters show 17")]
    Show {
        /// The letter's number, in the first column of the list
        #[arg(value_name = "ID", value_parser = id)]
        id: u64,
        #[command(flatten)]
        output: Output,
    },
    /// Sends them to their endpoints again; those that are taken are no dead letters any more
    #[command(after_help = "Examples:\n  writegate dead-letters retry 17 18\n  \
        writegate dead-letters retry --endpoint mimir\n\n\
        Without an id all that match are tried. Exit code 1 if an endpoint refused one again.")]
    Retry {
        #[command(flatten)]
        choice: Choice,
        #[command(flatten)]
        output: Output,
    },
    /// Deletes them for good; the ledger counts their samples as dropped
    #[command(after_help = "Examples:\n  writegate dead-letters drop 17 18\n  \
        writegate dead-letters drop --endpoint mimir --tenant team-a\n\n\
        Without an id all that match are dropped. On a terminal you are asked first.")]
    Drop {
        #[command(flatten)]
        choice: Choice,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, Args)]
struct Filter {
    /// Only those that this endpoint refused
    #[arg(long, value_name = "ENDPOINT")]
    endpoint: Option<String>,
    /// Only those of this tenant
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
}

#[derive(Debug, Args)]
struct Choice {
    /// The numbers of letters, in the first column of the list; without any, all that match
    #[arg(value_name = "ID", value_parser = id)]
    ids: Vec<u64>,
    #[command(flatten)]
    filter: Filter,
}

#[derive(Debug, Args)]
struct Output {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

fn id(text: &str) -> Result<u64, String> {
    let expected = "expected the number of a dead letter, as writegate dead-letters list shows it";
    text.parse().map_err(|_invalid| expected.to_owned())
}

/// Does what was asked for.
pub(super) async fn run(args: LettersArgs) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::List { filter, limit, after, output } => list(&filter, limit, after, &output).await,
        Action::Show { id, output } => show(id, &output).await,
        Action::Retry { choice, output } => retry(choice, &output).await,
        Action::Drop { choice, yes, output } => drop_letters(choice, yes, &output).await,
    }
}

async fn list(filter: &Filter, limit: u64, after: Option<u64>, output: &Output) -> anyhow::Result<ExitCode> {
    let gateway = Gateway::of(&output.admin)?;
    let mut all = LetterPage { letters: Vec::new(), next: after };
    loop {
        let (rest, after) = (limit - all.letters.len() as u64, all.next.map(|id| id.to_string()));
        let query = query::encode(&[
            ("endpoint", filter.endpoint.as_deref()),
            ("tenant", filter.tenant.as_deref()),
            ("limit", Some(&rest.to_string())),
            ("after", after.as_deref()),
        ]);
        let page: LetterPage = gateway.get(&format!("/api/v1/dead_letters{query}")).await?.read()?;
        all.letters.extend(page.letters);
        all.next = page.next;
        if page.next.is_none() || all.letters.len() as u64 >= limit {
            break;
        }
    }
    if output.json {
        print(&serde_json::to_string(&all)?)?;
    } else if all.letters.is_empty() {
        print("No dead letters.")?;
    } else {
        print(&letters_table(&all))?;
        if let Some(next) = all.next {
            tell(&format!("There are more: --after {next}"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn letters_table(page: &LetterPage) -> String {
    let mut table = Table::new([
        ("ID", Align::Right),
        ("TENANT", Align::Left),
        ("ENDPOINT", Align::Left),
        ("REASON", Align::Left),
        ("REFUSED", Align::Left),
        ("SERIES", Align::Right),
        ("SIZE", Align::Right),
        ("EXAMPLE", Align::Left),
        ("WORDS", Align::Left),
    ]);
    for letter in &page.letters {
        table.row([
            letter.id.to_string(),
            letter.tenant.clone(),
            letter.endpoint.clone(),
            letter.reason.clone(),
            letter.refused.clone(),
            letter.series.to_string(),
            bytes(letter.body_bytes.into()),
            letter.example.clone(),
            letter.words.clone(),
        ]);
    }
    table.text()
}

async fn show(id: u64, output: &Output) -> anyhow::Result<ExitCode> {
    let reply = Gateway::of(&output.admin)?.get(&format!("/api/v1/dead_letters/{id}")).await?;
    print(&if output.json { reply.text } else { letter_text(&reply.read()?) })?;
    Ok(ExitCode::SUCCESS)
}

fn letter_text(open: &OpenLetter) -> String {
    let letter = &open.letter;
    let kinds = [("sample", letter.samples), ("histogram", letter.histograms), ("exemplar", letter.exemplars)];
    let kinds = kinds.map(|(kind, number)| format!("{number} {kind}{}", plural(number)));
    let counts = format!("{} series, {}", letter.series, kinds.join(", "));
    let id = letter.id.to_string();
    let mut text = String::new();
    for (key, value) in [
        ("dead letter", id.as_str()),
        ("tenant", &letter.tenant),
        ("endpoint", &letter.endpoint),
        ("reason", &letter.reason),
        ("words", &letter.words),
        ("received", &letter.received),
        ("refused", &letter.refused),
        ("message", &open.protocol),
        ("contents", &counts),
    ] {
        for (index, line) in show::folded(&plain(value), show::WIDTH - KEY_WIDTH).iter().enumerate() {
            // Writing to a string cannot fail.
            writeln!(text, "{:<KEY_WIDTH$}{line}", if index == 0 { key } else { "" }).unwrap_or_default();
        }
    }
    text.push('\n');
    text.push_str(&open.contents.iter().flat_map(series_lines).collect::<Vec<_>>().join("\n"));
    if open.cut {
        text.push_str("\n… there is more than is shown");
    }
    text
}

/// A line for each data point.
fn series_lines(shown: &SeriesShown) -> Vec<String> {
    #[expect(clippy::cast_possible_truncation, reason = "of a timestamp in milliseconds")]
    let time = |seconds: f64| Utc((seconds * 1e3).round() as i64);
    let series = plain(&shown.series);
    let samples = shown.samples.iter().map(|(at, value)| format!("{series} {value} {}", time(*at)));
    let histograms = shown.histograms.iter().map(|(at, one)| {
        let (count, sum, schema, buckets) = (&one.count, &one.sum, one.schema, one.buckets);
        format!("{series} {{count:{count} sum:{sum} schema:{schema} buckets:{buckets}}} {}", time(*at))
    });
    let exemplars = shown
        .exemplars
        .iter()
        .map(|(at, one)| format!("{series} # {} {} {}", plain(&one.labels), one.value, time(*at)));
    let lines: Vec<String> = samples.chain(histograms).chain(exemplars).collect();
    if lines.is_empty() { vec![series] } else { lines }
}

impl Choice {
    fn wanted(self, action: LetterAction) -> LettersWanted {
        let Self { ids, filter: Filter { endpoint, tenant } } = self;
        LettersWanted { action, endpoint, tenant, ids: Some(ids).filter(|ids| !ids.is_empty()), after: None }
    }
}

async fn retry(choice: Choice, output: &Output) -> anyhow::Result<ExitCode> {
    let gateway = Gateway::of(&output.admin)?;
    let mut wanted = choice.wanted(LetterAction::Retry);
    let named = wanted.ids.as_ref().map_or(0, Vec::len) as u64;
    let mut all = Retried::default();
    let mut line = ProgressLine::default();
    loop {
        let tried = gateway.post("/api/v1/dead_letters", &wanted).await;
        let Retried { taken, refused, words, next } = match tried.and_then(|reply| reply.read()) {
            Ok(retried) => retried,
            Err(error) if all.taken + all.refused > 0 => {
                return Err(error.context(format!("{}, then", outcome(&all))));
            }
            Err(error) => return Err(error),
        };
        all.taken += taken;
        all.refused += refused;
        all.words = words.or(all.words);
        line.show(&format!("taken {}, refused again {}", all.taken, all.refused));
        if next.is_none() {
            break;
        }
        wanted.after = next;
    }
    drop(line);
    if output.json {
        print(&serde_json::to_string(&all)?)?;
    } else {
        print(&outcome(&all))?;
    }
    Ok(verdict(named, all.taken + all.refused, all.refused == 0))
}

fn outcome(all: &Retried) -> String {
    let words = all.words.as_ref().map(|words| format!(": {}", plain(words))).unwrap_or_default();
    format!("taken {}, refused again {}{words}", all.taken, all.refused)
}

async fn drop_letters(choice: Choice, yes: bool, output: &Output) -> anyhow::Result<ExitCode> {
    let gateway = Gateway::of(&output.admin)?;
    let named = choice.ids.len() as u64;
    if !yes && std::io::stdin().is_terminal() && !is_confirmed(&gateway, &choice).await? {
        print("Nothing was dropped.")?;
        return Ok(ExitCode::FAILURE);
    }
    let reply = gateway.post("/api/v1/dead_letters", &choice.wanted(LetterAction::Drop)).await?;
    let DroppedLetters { dropped } = reply.read()?;
    print(&if output.json { reply.text } else { format!("dropped {dropped}") })?;
    Ok(verdict(named, dropped, true))
}

/// 1 if a letter that was named was not there.
fn verdict(named: u64, found: u64, all_went_well: bool) -> ExitCode {
    let missing = named.saturating_sub(found);
    if missing > 0 {
        tell(&format!("{missing} of {named} named: no such dead letter (any more), or none that matches"));
    }
    if all_went_well && missing == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn is_confirmed(gateway: &Gateway, choice: &Choice) -> anyhow::Result<bool> {
    let letters = match choice.ids.len() {
        0 => {
            let status: Status = gateway.get("/api/v1/status").await?.read()?;
            let Filter { endpoint, tenant } = &choice.filter;
            let matches = |wanted: &Option<String>, is: &String| wanted.as_ref().is_none_or(|wanted| wanted == is);
            let rows = status.endpoints.iter();
            let rows = rows.filter(|row| matches(endpoint, &row.endpoint) && matches(tenant, &row.tenant));
            rows.map(|row| row.dead_letters).sum()
        }
        named => named as u64,
    };
    let mut err = std::io::stderr().lock();
    write!(err, "Drop {} for good? [y/N] ", show::dead_letters(letters)).and_then(|()| err.flush()).context("ask")?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).context("read the answer")?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

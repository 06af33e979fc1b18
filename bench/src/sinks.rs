//! The receivers of a run, in a process of their own so that their work is not on the load's account.
//!
//! Parent and child talk over pipes, a line of JSON per answer; the child ends when the parent does.

use std::io::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use testkit::endpoint::{Endpoint, EndpointSettings, Keep};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// How often the counts are asked for while something is awaited.
const ASK_EVERY: Duration = Duration::from_millis(20);

/// The child: `count` endpoints that only count.
pub(crate) async fn serve(count: usize) -> Result<()> {
    let settings = EndpointSettings { keep: Keep::Counts, ..EndpointSettings::default() };
    let mut endpoints = Vec::new();
    for _ in 0..count {
        endpoints.push(Endpoint::launch(settings.clone()).await.context("launch a sink")?);
    }
    let urls: Vec<_> = endpoints.iter().map(Endpoint::url).collect();
    let mut output = std::io::stdout();
    writeln!(output, "{}", json!(urls))?;
    let mut questions = BufReader::new(tokio::io::stdin()).lines();
    while questions.next_line().await?.is_some() {
        let counts: Vec<_> = endpoints.iter().map(|endpoint| endpoint.stats().taken.samples).collect();
        writeln!(output, "{}", json!(counts))?;
    }
    Ok(())
}

/// The parent's side.
#[derive(Debug)]
pub(crate) struct Sinks {
    pub(crate) urls: Vec<String>,
    questions: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    /// Killed when dropped.
    _child: Child,
}

impl Sinks {
    pub(crate) async fn start(count: usize) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["sinks", "--count", &count.to_string()]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().context("start the sinks")?;
        let (Some(questions), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            bail!("the sinks have no pipes");
        };
        let mut sinks = Self { urls: Vec::new(), questions, answers: BufReader::new(answers).lines(), _child: child };
        let urls = sinks.answer().await?;
        sinks.urls = urls.as_array().into_iter().flatten().filter_map(|url| Some(url.as_str()?.to_owned())).collect();
        Ok(sinks)
    }

    async fn answer(&mut self) -> Result<Value> {
        let line = self.answers.next_line().await?.context("the sinks ended")?;
        Ok(serde_json::from_str(&line)?)
    }

    /// The samples that the sink with the fewest has.
    pub(crate) async fn fewest(&mut self) -> Result<u64> {
        self.questions.write_all(b"\n").await?;
        let counts = self.answer().await?;
        counts.as_array().into_iter().flatten().filter_map(Value::as_u64).min().context("the sinks count nothing")
    }

    /// Waits until every sink has that many samples, or no sink got any for `patience`; returns the fewest.
    pub(crate) async fn await_samples(&mut self, samples: u64, patience: Duration) -> Result<u64> {
        let mut ticks = tokio::time::interval(ASK_EVERY);
        let (mut last, mut changed) = (0, Instant::now());
        loop {
            ticks.tick().await;
            let fewest = self.fewest().await?;
            if fewest > last {
                (last, changed) = (fewest, Instant::now());
            }
            if fewest >= samples || changed.elapsed() > patience {
                return Ok(fewest);
            }
        }
    }
}

//! The receivers of a run, in a process of their own so that their work is not on the load's account.
//!
//! Parent and child talk over pipes, a line of JSON each way; the child ends when the parent does.

use std::io::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use testkit::endpoint::{Endpoint, EndpointSettings, Keep, Reply};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// How often the counts are asked for while something is awaited.
const ASK_EVERY: Duration = Duration::from_millis(20);

/// How a receiver behaves.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Sink {
    /// How long it takes to answer.
    pub(crate) answers_after_ms: u64,
    /// Refuses connections until told to come up.
    pub(crate) down: bool,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Question {
    /// The samples of each.
    Counts,
    /// The [`Arrivals`] of each, since last asked.
    Arrivals,
    Up(usize),
    Down(usize),
}

/// How old samples were on arrival at one sink.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Arrivals {
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

/// The child: endpoints that only count, as the JSON says.
pub(crate) async fn serve(sinks: &str) -> Result<()> {
    let sinks: Vec<Sink> = serde_json::from_str(sinks)?;
    let mut endpoints = Vec::new();
    for sink in sinks {
        // The ages of samples are kept always, so that every gateway meets the same receivers.
        let settings = EndpointSettings { keep: Keep::Counts, arrivals: true, ..EndpointSettings::default() };
        let endpoint = Endpoint::launch(settings).await.context("launch a sink")?;
        if sink.answers_after_ms > 0 {
            let delay = Duration::from_millis(sink.answers_after_ms);
            endpoint.answer_with(move |_| Reply::healthy().after(delay));
        }
        if sink.down {
            endpoint.stop().await;
        }
        endpoints.push(endpoint);
    }
    let mut output = std::io::stdout();
    let urls: Vec<_> = endpoints.iter().map(Endpoint::url).collect();
    writeln!(output, "{}", serde_json::to_string(&urls)?)?;
    let mut questions = BufReader::new(tokio::io::stdin()).lines();
    while let Some(question) = questions.next_line().await? {
        let answer = answer(&endpoints, serde_json::from_str(&question)?).await?;
        writeln!(output, "{answer}")?;
    }
    Ok(())
}

async fn answer(endpoints: &[Endpoint], question: Question) -> Result<String> {
    let at = |index: usize| endpoints.get(index).context("there is no such sink");
    Ok(match question {
        Question::Counts => {
            let counts: Vec<_> = endpoints.iter().map(|endpoint| endpoint.stats().taken.samples).collect();
            serde_json::to_string(&counts)?
        }
        Question::Arrivals => {
            let arrivals = endpoints.iter().map(|endpoint| {
                let ages = endpoint.take_arrivals();
                let [p50_ms, p99_ms] = [0.5, 0.99].map(|quantile| ages.quantile(quantile).as_secs_f64() * 1e3);
                Arrivals { p50_ms, p99_ms }
            });
            serde_json::to_string(&arrivals.collect::<Vec<_>>())?
        }
        Question::Up(index) => {
            at(index)?.start().await?;
            "null".to_owned()
        }
        Question::Down(index) => {
            at(index)?.stop().await;
            "null".to_owned()
        }
    })
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
    pub(crate) async fn start(sinks: &[Sink]) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["sinks", "--behave", &serde_json::to_string(sinks)?]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().context("start the sinks")?;
        let (Some(questions), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            bail!("the sinks have no pipes");
        };
        let mut sinks = Self { urls: Vec::new(), questions, answers: BufReader::new(answers).lines(), _child: child };
        sinks.urls = sinks.answer().await?;
        Ok(sinks)
    }

    async fn answer<T: DeserializeOwned>(&mut self) -> Result<T> {
        let line = self.answers.next_line().await?.context("the sinks ended")?;
        Ok(serde_json::from_str(&line)?)
    }

    async fn ask<T: DeserializeOwned>(&mut self, question: Question) -> Result<T> {
        let line = serde_json::to_string(&question)? + "\n";
        self.questions.write_all(line.as_bytes()).await?;
        self.answer().await
    }

    /// The samples that each has.
    pub(crate) async fn counts(&mut self) -> Result<Vec<u64>> {
        self.ask(Question::Counts).await
    }

    /// How old samples were on arrival, at each, since this was last asked.
    pub(crate) async fn arrivals(&mut self) -> Result<Vec<Arrivals>> {
        self.ask(Question::Arrivals).await
    }

    pub(crate) async fn up(&mut self, index: usize) -> Result<()> {
        self.ask(Question::Up(index)).await
    }

    pub(crate) async fn down(&mut self, index: usize) -> Result<()> {
        self.ask(Question::Down(index)).await
    }

    /// Waits until every sink has as many as are wanted of it, or none got any for `patience`; returns what each has.
    pub(crate) async fn await_samples(&mut self, wanted: &[u64], patience: Duration) -> Result<Vec<u64>> {
        let mut ticks = tokio::time::interval(ASK_EVERY);
        let (mut last, mut changed) = (Vec::new(), Instant::now());
        loop {
            ticks.tick().await;
            let counts = self.counts().await?;
            if counts != last {
                (last, changed) = (counts, Instant::now());
            }
            let complete = last.iter().zip(wanted).all(|(has, wanted)| has >= wanted);
            if complete || changed.elapsed() > patience {
                return Ok(last);
            }
        }
    }
}

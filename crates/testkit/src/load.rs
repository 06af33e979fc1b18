//! Sends a workload as Prometheus' queue would: connections in parallel, each series always on the same one, retries
//! with backoff, at a rate or flat out; and keeps account of every request.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode};
use remote_write::{Counts, Protocol};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::latency::Latencies;
use crate::recording::Recording;
use crate::sender::{Answer, Connection, SendError, Sender, push_headers};
use crate::workload::{Encoder, Slice, Workload};

/// Prometheus' `metadata_config.send_interval`.
const METADATA_INTERVAL: Duration = Duration::from_secs(60);

/// How a workload is sent.
#[derive(Clone, Debug)]
pub struct Load {
    /// What is sent.
    pub workload: Arc<Workload>,
    /// How many connections; at least one, at most as many as a round has requests.
    pub connections: u32,
    /// Points per second over all connections; `None`: as fast as answers come.
    pub rate: Option<f64>,
    /// How many rounds; `None`: until stopped.
    pub rounds: Option<u32>,
    /// The sequence of the first round, to go on where an earlier load ended.
    pub first_sequence: u32,
    /// What time the points bear.
    pub timestamps: Timestamps,
    /// Bodies made beforehand, which bear their own timestamps; rounds beyond them are not sent. `None`: each body is
    /// encoded when it is due.
    pub recording: Option<Arc<Recording>>,
    /// What is done about failures.
    pub retry: Retry,
}

impl Load {
    /// One connection, flat out, `rounds` rounds, timestamps of the moment, retries as Prometheus does by default.
    pub fn new(workload: Arc<Workload>, rounds: u32) -> Self {
        Self {
            workload,
            connections: 1,
            rate: None,
            rounds: Some(rounds),
            first_sequence: 0,
            timestamps: Timestamps::Now,
            recording: None,
            retry: Retry::default(),
        }
    }
}

/// Where timestamps come from. Within a series they always rise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timestamps {
    /// The moment of encoding; later where the clock has not moved on since the round before.
    Now,
    /// Round n (counted by its sequence) bears `first + n * step`, in milliseconds.
    Steps {
        /// Of sequence 0, milliseconds since the epoch.
        first: i64,
        /// Milliseconds between rounds.
        step: i64,
    },
}

/// Prometheus' retry rules: 5xx and connection failures always, other 4xx never.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Retry {
    /// The first pause; it doubles.
    pub min_backoff: Duration,
    /// The longest pause. `Retry-After` is obeyed uncapped.
    pub max_backoff: Duration,
    /// `retry_on_http_429`.
    pub on_429: bool,
    /// Gives up on a request after this long; `None`: never.
    pub give_up_after: Option<Duration>,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            min_backoff: Duration::from_millis(30),
            max_backoff: Duration::from_secs(5),
            on_429: false,
            give_up_after: None,
        }
    }
}

/// The account of a load, at its end or so far.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Answered 2xx, per connection in order.
    pub acknowledged: Vec<Slice>,
    /// Refused for good, with the last status.
    pub refused: Vec<(Slice, StatusCode)>,
    /// Given up or stopped without a final answer: they may or may not have been taken.
    pub unanswered: Vec<Slice>,
    /// What the acknowledged requests held.
    pub sent: Counts,
    /// v2: the sum of the `Written` headers of all answers, as Prometheus adds them up.
    pub written: Counts,
    /// Answers by status, retries included.
    pub statuses: BTreeMap<u16, u64>,
    /// Attempts without an answer.
    pub failures: u64,
    /// What the last of those failed to do.
    pub last_failure: Option<String>,
    /// Per attempt that was answered 2xx, from request to complete answer.
    pub latencies: Latencies,
    /// Compressed bytes of the acknowledged requests.
    pub body_bytes: u64,
    /// From the start until the report was made.
    pub elapsed: Duration,
}

/// A load under way. Dropping it aborts it.
#[derive(Debug)]
pub struct Run {
    stop: watch::Sender<bool>,
    account: Arc<Account>,
    workers: JoinSet<()>,
}

#[derive(Debug)]
struct Account {
    started: Instant,
    report: Mutex<Report>,
}

impl Account {
    fn open(&self) -> MutexGuard<'_, Report> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Run {
    /// The account so far, without the lists of requests.
    pub fn progress(&self) -> Report {
        let report = self.account.open();
        Report {
            sent: report.sent,
            written: report.written,
            statuses: report.statuses.clone(),
            failures: report.failures,
            last_failure: report.last_failure.clone(),
            latencies: report.latencies.clone(),
            body_bytes: report.body_bytes,
            elapsed: self.account.started.elapsed(),
            ..Report::default()
        }
    }

    /// Waits until every round is sent.
    pub async fn finish(mut self) -> Report {
        while self.workers.join_next().await.is_some() {}
        let mut report = std::mem::take(&mut *self.account.open());
        report.elapsed = self.account.started.elapsed();
        report
    }

    /// Lets every connection finish the attempt it is in, and no more.
    pub async fn stop(self) -> Report {
        self.stop.send_replace(true);
        self.finish().await
    }
}

impl Sender {
    /// Sends the whole load.
    pub async fn run(&self, load: &Load) -> Report {
        self.start(load).finish().await
    }

    /// Begins to send the load.
    pub fn start(&self, load: &Load) -> Run {
        Self::start_in_turns(std::slice::from_ref(self), load)
    }

    /// Begins to send the load, request n of each round by sender n modulo their number: as several tenants, whose
    /// senders differ in headers or path. All must lead to the same host and port, because they share connections.
    /// Without any sender nothing is sent.
    pub fn start_in_turns(senders: &[Self], load: &Load) -> Run {
        let (stop, stopped) = watch::channel(false);
        let account = Arc::new(Account { started: Instant::now(), report: Mutex::default() });
        let mut workers = JoinSet::new();
        let senders: Arc<[Self]> = senders.into();
        let connections = if senders.is_empty() { 0 } else { load.connections.clamp(1, load.workload.requests()) };
        for index in 0..connections {
            let worker = Worker {
                senders: Arc::clone(&senders),
                load: load.clone(),
                index,
                connections,
                account: Arc::clone(&account),
                stopped: stopped.clone(),
            };
            workers.spawn(worker.run());
        }
        Run { stop, account, workers }
    }
}

/// One connection's share of a load: the requests whose number leaves `index` when divided by `connections`.
struct Worker {
    senders: Arc<[Sender]>,
    load: Load,
    index: u32,
    connections: u32,
    account: Arc<Account>,
    stopped: watch::Receiver<bool>,
}

enum Verdict {
    Acknowledged,
    Refused(StatusCode),
    Unanswered,
}

impl Worker {
    async fn run(mut self) {
        if let Err(error) = self.send_rounds().await {
            self.account.open().last_failure = Some(chain(error.as_ref()));
        }
    }

    async fn send_rounds(&mut self) -> Result<(), Box<dyn Error + Send + Sync>> {
        let workload = Arc::clone(&self.load.workload);
        let mut encoder = Encoder::new(&workload);
        let mut connection = None;
        let mut last_timestamp = i64::MIN;
        let recording = self.load.recording.clone();
        let mut metadata_sent: Option<Instant> = None;
        let settings = workload.settings();
        let sends_metadata = settings.metadata && settings.protocol == Protocol::V1 && self.index == 0;
        for round in 0..self.load.rounds.unwrap_or(u32::MAX) {
            if sends_metadata && metadata_sent.is_none_or(|sent| sent.elapsed() >= METADATA_INTERVAL) {
                metadata_sent = Some(Instant::now());
                // Metadata comes again in a minute; a refusal shows in the statuses.
                self.deliver(&mut connection, self.index, encoder.encode_metadata()?).await;
            }
            let sequence = self.load.first_sequence.wrapping_add(round);
            if recording.as_ref().is_some_and(|recording| sequence >= recording.rounds()) {
                break;
            }
            let round_before = last_timestamp;
            for request in (self.index..workload.requests()).step_by(self.connections as usize) {
                if self.pace(round, request).await.is_err() {
                    return Ok(());
                }
                let (slice, body, counts) = match &recording {
                    Some(recording) => recording.body(request, sequence)?,
                    None => {
                        let timestamp = self.timestamp(sequence, round_before);
                        last_timestamp = last_timestamp.max(timestamp);
                        let slice = Slice { request, sequence, timestamp };
                        let (body, counts) = encoder.encode(slice)?;
                        (slice, body, counts)
                    }
                };
                let bytes = body.len() as u64;
                let verdict = self.deliver(&mut connection, request, body).await;
                self.book(slice, counts, bytes, &verdict);
            }
        }
        Ok(())
    }

    /// Waits until the request is due; an error means that the load was stopped.
    async fn pace(&mut self, round: u32, request: u32) -> Result<(), Stopped> {
        if *self.stopped.borrow() {
            return Err(Stopped);
        }
        let Some(rate) = self.load.rate.filter(|rate| *rate > 0.0) else { return Ok(()) };
        let settings = self.load.workload.settings();
        let before =
            f64::from(round) * f64::from(settings.series) + f64::from(request) * f64::from(settings.series_per_request);
        let due = Duration::try_from_secs_f64(before / rate).unwrap_or(Duration::MAX);
        let wait = due.saturating_sub(self.account.started.elapsed());
        self.pause(wait).await
    }

    async fn pause(&mut self, wait: Duration) -> Result<(), Stopped> {
        if wait.is_zero() {
            return Ok(());
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => Ok(()),
            // The sender of the channel is gone when the run was dropped; that ends the load as well.
            _ = self.stopped.wait_for(|stopped| *stopped) => Err(Stopped),
        }
    }

    /// `before` is the last one of the round before.
    fn timestamp(&self, sequence: u32, before: i64) -> i64 {
        match self.load.timestamps {
            Timestamps::Steps { first, step } => first.saturating_add(step.saturating_mul(i64::from(sequence))),
            Timestamps::Now => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                let now = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
                now.max(before.saturating_add(1))
            }
        }
    }

    /// Attempts until there is a final answer.
    async fn deliver(&mut self, connection: &mut Option<Connection>, request: u32, body: Bytes) -> Verdict {
        let turn = request as usize % self.senders.len().max(1);
        let Some(sender) = self.senders.get(turn).cloned() else { return Verdict::Unanswered };
        let started = Instant::now();
        let mut backoff = self.load.retry.min_backoff;
        for attempt in 0_u32.. {
            let answer = self.attempt(&sender, connection, attempt, body.clone()).await;
            let pause = match self.judge(answer) {
                Ok(verdict) => return verdict,
                Err(retry_after) => retry_after.unwrap_or(backoff),
            };
            let given_up = self.load.retry.give_up_after.is_some_and(|limit| started.elapsed() + pause >= limit);
            if given_up || *self.stopped.borrow() || self.pause(pause).await.is_err() {
                break;
            }
            backoff = pause.saturating_mul(2).min(self.load.retry.max_backoff);
        }
        Verdict::Unanswered
    }

    async fn attempt(
        &self,
        sender: &Sender,
        connection: &mut Option<Connection>,
        attempt: u32,
        body: Bytes,
    ) -> Result<Answer, SendError> {
        let settings = self.load.workload.settings();
        let mut headers = push_headers(settings.protocol, settings.compression);
        if attempt > 0 {
            headers.insert("retry-attempt", HeaderValue::from(attempt));
        }
        let mut open = match connection.take() {
            Some(open) => open,
            None => sender.connect().await?,
        };
        let answer = sender.exchange(&mut open, Method::POST, headers, body).await?;
        *connection = Some(open);
        Ok(answer)
    }

    /// Counts the attempt; an error is to be tried again, after that long if the receiver said so.
    fn judge(&self, answer: Result<Answer, SendError>) -> Result<Verdict, Option<Duration>> {
        let mut report = self.account.open();
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                report.failures += 1;
                report.last_failure = Some(chain(&error));
                return Err(None);
            }
        };
        *report.statuses.entry(answer.status.as_u16()).or_default() += 1;
        report.written += written(&answer);
        if answer.status.is_success() {
            report.latencies.record(answer.latency);
            return Ok(Verdict::Acknowledged);
        }
        let limited = answer.status == StatusCode::TOO_MANY_REQUESTS && self.load.retry.on_429;
        if answer.status.is_server_error() || limited {
            return Err(answer.retry_after().filter(|pause| !pause.is_zero()));
        }
        Ok(Verdict::Refused(answer.status))
    }

    fn book(&self, slice: Slice, counts: Counts, bytes: u64, verdict: &Verdict) {
        let mut report = self.account.open();
        match verdict {
            Verdict::Acknowledged => {
                report.acknowledged.push(slice);
                report.sent += counts;
                report.body_bytes += bytes;
            }
            Verdict::Refused(status) => report.refused.push((slice, *status)),
            Verdict::Unanswered => report.unanswered.push(slice),
        }
    }
}

/// The load was stopped.
struct Stopped;

/// The `Written` headers (remote write 2.0); absent ones are 0.
fn written(answer: &Answer) -> Counts {
    let count = |name| answer.header(name).and_then(|value| value.parse().ok()).unwrap_or(0);
    Counts {
        samples: count("x-prometheus-remote-write-samples-written"),
        histograms: count("x-prometheus-remote-write-histograms-written"),
        exemplars: count("x-prometheus-remote-write-exemplars-written"),
    }
}

/// An error and its causes in one line.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests;

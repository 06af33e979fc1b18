//! What an endpoint speaks and how it behaves, found out with a few small requests and told for a person to act on.
//!
//! The requests leave as those of a delivery do: same headers, credential, TLS settings and proxy. What is asked stands
//! in [`question`], what an answer means in [`meaning`] and [`product`], what to do in [`advice`]; these three know no
//! network. Nothing is written but series of the name [`question::NAME`], under an id of this probe's own.

mod advice;
mod facts;
mod meaning;
mod product;
mod question;

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use http::header::RETRY_AFTER;
use outbound::credential::Credentials;
use remote_write::Counts;
use serde::Serialize;
use writegate_config::{Endpoint, Scheme};

pub(crate) use self::advice::Advice;
use self::facts::{Facts, Said, Step};
pub(crate) use self::meaning::{Row, Trouble};
pub(crate) use self::product::Product;
use self::question::Questions;
use crate::clock::now_ms;
use crate::delivery::Client;

/// An endpoint that asks for patience is asked once more after it, if that is not longer.
const MOST_PATIENCE: Duration = Duration::from_secs(5);
/// So many requests in a row without an answer, and no more are sent.
const ENOUGH_SILENCE: usize = 2;

/// What to probe, and how.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Its rules and limits are not applied: what is sent is the probe's own.
    pub(crate) endpoint: Endpoint,
    /// What the endpoint's `tenant_header` and `tenant_label` say.
    pub(crate) tenant_id: String,
    /// Only requests without data.
    pub(crate) dry_run: bool,
}

/// What was found out.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) url: String,
    /// Whether the endpoint takes data; in a dry run, whether it answers as one that does.
    pub(crate) usable: bool,
    /// Why not.
    pub(crate) trouble: Option<Trouble>,
    pub(crate) checks: Vec<Row>,
    pub(crate) product: Option<Product>,
    pub(crate) advice: Advice,
    /// The series that were written, as a selector; `None` if none was sent.
    pub(crate) series: Option<String>,
    pub(crate) requests: usize,
    /// Of all bodies, compressed.
    pub(crate) bytes: usize,
}

impl Report {
    /// Whether there is more to tell than the trouble.
    pub(crate) fn is_answered(&self) -> bool {
        self.checks.len() > 1
    }
}

/// Probes an endpoint; within a runtime. `progress` is told what is asked.
pub(crate) async fn probe(plan: &Plan, progress: impl FnMut(&str)) -> Report {
    let mut asker = Asker::new(plan, progress);
    asker.ask_all().await;
    let (facts, questions) = (asker.facts, asker.questions);
    let trouble = meaning::trouble(&facts);
    Report {
        url: facts.url.clone(),
        usable: trouble.is_none(),
        checks: meaning::rows(&facts),
        product: product::guess(&facts),
        advice: advice::advice(&facts),
        series: facts.wrote().then(|| questions.selector()),
        requests: facts.all().len(),
        bytes: facts.all().iter().map(|said| said.body_bytes).sum(),
        trouble,
    }
}

struct Asker<'a, P> {
    plan: &'a Plan,
    client: Client,
    questions: Questions,
    facts: Facts,
    progress: P,
}

impl<'a, P: FnMut(&str)> Asker<'a, P> {
    fn new(plan: &'a Plan, progress: P) -> Self {
        let client = Client::new(&plan.endpoint, &Credentials::default());
        let tenant_label = plan.endpoint.tenant_label.clone().map(|name| (name, plan.tenant_id.clone()));
        let id = format!("{:08x}", fastrand::u32(..));
        let facts = Facts::of(&plan.endpoint, plan.dry_run);
        Self { plan, client, questions: Questions::new(id, now_ms(), tenant_label), facts, progress }
    }

    async fn ask_all(&mut self) {
        self.look_up().await;
        if meaning::trouble(&self.facts).is_none() {
            self.ask(Step::Hello).await;
            self.facts.bad_tls_files = self.client.tls_error().is_some();
        }
        if meaning::trouble(&self.facts).is_some() {
            return;
        }
        self.get(Step::VmVersion).await;
        self.get(Step::BuildInfo).await;
        self.ask(Step::Claim).await;
        self.ask_over_http2().await;
        if self.plan.dry_run {
            self.ask_in_turn(&[Step::EmptyV2, Step::EmptyZstd]).await;
            return;
        }
        self.ask_in_turn(&[Step::V1, Step::V2]).await;
        let (v1, v2) = (self.facts.takes_v1(), self.facts.stores_v2());
        if v1 {
            self.ask_in_turn(&[Step::Zstd, Step::Metadata, Step::HistogramV1, Step::ExemplarV1, Step::Repeated]).await;
            if self.facts.refused(Step::Repeated) {
                self.ask_in_turn(&[Step::RepeatedAgain]).await;
            }
        }
        if v2 {
            self.ask_in_turn(&[Step::HistogramV2, Step::CustomV2, Step::ExemplarV2, Step::Nameless]).await;
        }
        if v1 || v2 {
            self.questions.speak_v2(!v1);
            self.ask_in_turn(&[Step::Newest, Step::Repeat, Step::Conflict]).await;
            self.ask_while_taken(&[Step::OlderBySecond, Step::OlderByMinutes, Step::OlderByHours]).await;
            self.ask_while_taken(&[Step::HoursOld, Step::DayOld]).await;
            if self.facts.refused(Step::Conflict) {
                self.ask_in_turn(&[Step::Mixed, Step::MixedAgain]).await;
            }
        }
    }

    /// Where the name leads; a proxy looks it up itself.
    async fn look_up(&mut self) {
        if self.plan.endpoint.proxy.is_some() {
            return;
        }
        let url = &self.plan.endpoint.url;
        let port = url.port();
        let host = url.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let found =
            tokio::time::timeout(self.plan.endpoint.remote_timeout, tokio::net::lookup_host((host, port))).await;
        self.facts.addresses = Some(match found {
            Ok(Ok(addresses)) => Ok(addresses.map(|address| address.ip().to_string()).collect()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_elapsed) => Err(format!("no answer within {:?}", self.plan.endpoint.remote_timeout)),
        });
    }

    async fn ask_in_turn(&mut self, steps: &[Step]) {
        for step in steps {
            self.ask(*step).await;
        }
    }

    async fn ask_while_taken(&mut self, steps: &[Step]) {
        for step in steps {
            self.ask(*step).await;
            if !self.facts.taken(*step) {
                return;
            }
        }
    }

    async fn ask(&mut self, step: Step) {
        if self.facts.silent(ENOUGH_SILENCE) {
            return;
        }
        (self.progress)(step.words());
        let question = self.questions.of(step);
        for is_last in [false, true] {
            let started = Instant::now();
            let answer = self.client.ask(&self.plan.endpoint, &self.plan.tenant_id, &question).await;
            let said = Said {
                step,
                sent: question.counts,
                answer,
                took: started.elapsed(),
                at_ms: now_ms(),
                body_bytes: question.chunks.iter().map(bytes::Bytes::len).sum(),
            };
            let pause = said.asks_for_patience().filter(|pause| !is_last && *pause <= MOST_PATIENCE);
            self.facts.add(said);
            let Some(pause) = pause else { return };
            tokio::time::sleep(pause).await;
        }
    }

    /// Another resource of the same server, if its place is known.
    async fn get(&mut self, step: Step) {
        let Some(path) = question::place(step, self.plan.endpoint.url.path_and_query()) else { return };
        if self.facts.silent(ENOUGH_SILENCE) {
            return;
        }
        (self.progress)(step.words());
        let started = Instant::now();
        let answer = self.client.get(&self.plan.endpoint, &self.plan.tenant_id, &path).await;
        let took = started.elapsed();
        self.facts.add(Said { step, sent: Counts::default(), answer, took, at_ms: now_ms(), body_bytes: 0 });
    }

    /// Whether the server would rather speak HTTP/2, on a connection of its own. Without TLS nothing is negotiated.
    async fn ask_over_http2(&mut self) {
        if self.plan.endpoint.url.scheme() != Scheme::Https || self.plan.endpoint.enable_http2 {
            return;
        }
        let offering = Endpoint { enable_http2: true, ..self.plan.endpoint.clone() };
        let client = std::mem::replace(&mut self.client, Client::new(&offering, &Credentials::default()));
        self.ask(Step::Http2).await;
        self.client = client;
    }
}

impl Said {
    /// For how long, if the answer is 429 or 503: what `Retry-After` says in seconds, else one.
    fn asks_for_patience(&self) -> Option<Duration> {
        let heard = self.answer.as_ref().ok().filter(|heard| matches!(heard.status.as_u16(), 429 | 503))?;
        let seconds = heard.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        Some(Duration::from_secs(seconds.unwrap_or(1)))
    }
}

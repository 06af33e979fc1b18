//! Another try for dead letters: each is sent to its endpoint as it was refused, outside the order of its series. One that is
//! taken moves to delivered; one that is refused again stays.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dead_letters::{Filter, Id, Leaving, Letter, StoreError, Summary};
use remote_write::split::Part;
use remote_write::translate::Translator;
use tokio::task::JoinError;
use tokio::time::Instant;

use super::form::{Payload, payload_of};
use super::limiter::Priority;
use super::outcome::{Outcome, Trouble};
use super::{Deliveries, Endpoint};
use crate::clock::now_ms;
use crate::dead_letters::{MoveError, protocol_of, request_in};
use crate::ledger::Refusal;
use crate::offload::offload;
use crate::record;

/// One call works for about this long; the next one goes on where it stopped.
const WORK: Duration = Duration::from_secs(20);
/// Letters that are looked up at once.
const PAGE: usize = 100;

/// How far a retry came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Retried {
    /// Letters the endpoint took.
    pub(crate) taken: u64,
    /// Letters it refused again.
    pub(crate) refused: u64,
    /// Its words about the last one it refused.
    pub(crate) words: Option<String>,
    /// Where to go on; `None` when all were tried.
    pub(crate) next: Option<Id>,
}

/// A retry had to end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RetryError {
    #[error("read the dead letters")]
    Store(#[from] StoreError),
    #[error(
        "retry dead letter {id}: there is no endpoint {endpoint:?} in the configuration; add it, or drop the letter"
    )]
    NoEndpoint { id: Id, endpoint: String },
    #[error("retry dead letter {id}: it was written by a later version of writegate, or is damaged: {why}")]
    Unreadable { id: Id, why: String },
    #[error(
        "retry dead letter {id}: endpoint {endpoint:?} takes nothing for now: {words}; {taken} letters were taken, \
         the others stay"
    )]
    NotNow { id: Id, endpoint: String, words: String, taken: u64 },
    #[error("let dead letters go")]
    Leave(#[from] MoveError),
    #[error("wait for a thread")]
    Thread(#[from] JoinError),
}

impl Deliveries {
    /// Tries letters again in the order of their ids, from behind `after` on: those of `ids`, or all that match `filter`.
    ///
    /// # Errors
    /// When an endpoint is down, after those of all others were tried, or the disk fails; what was taken has moved.
    pub(crate) async fn retry_dead_letters(
        self: &Arc<Self>,
        filter: &Filter,
        ids: Option<&[Id]>,
        after: Option<Id>,
    ) -> Result<Retried, RetryError> {
        let started = Instant::now();
        let mut retried = Retried::default();
        let mut next = after;
        // One endpoint that is down keeps no other from its letters.
        let mut down: BTreeMap<String, RetryError> = BTreeMap::new();
        loop {
            let page = self.page(filter.clone(), ids.map(<[Id]>::to_vec), next).await?;
            if page.is_empty() {
                break;
            }
            for summary in page {
                if started.elapsed() > WORK {
                    return Ok(Retried { next, ..retried });
                }
                next = Some(summary.id);
                let endpoint = summary.envelope.endpoint;
                if down.contains_key(&endpoint) {
                    continue;
                }
                match self.retry_one(summary.id, &mut retried).await {
                    Ok(()) => {}
                    Err(error @ (RetryError::NotNow { .. } | RetryError::NoEndpoint { .. })) => {
                        down.insert(endpoint, error);
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        let taken_in_all = retried.taken;
        match down.into_values().next() {
            None => Ok(retried),
            Some(RetryError::NotNow { id, endpoint, words, .. }) => {
                Err(RetryError::NotNow { id, endpoint, words, taken: taken_in_all })
            }
            Some(error) => Err(error),
        }
    }

    /// Lets letters go without another try: those of `ids`, or all that match `filter`. Returns how many.
    ///
    /// # Errors
    /// When the disk fails.
    pub(crate) async fn drop_dead_letters(
        self: &Arc<Self>,
        filter: &Filter,
        ids: Option<&[Id]>,
    ) -> Result<u64, RetryError> {
        let mut dropped = 0;
        let mut after = None;
        loop {
            let page = self.page(filter.clone(), ids.map(<[Id]>::to_vec), after).await?;
            let Some(last) = page.last().map(|summary| summary.id) else { return Ok(dropped) };
            after = Some(last);
            dropped += self.leave(page.iter().map(|summary| summary.id).collect(), Leaving::Dropped).await?;
        }
    }

    async fn page(
        self: &Arc<Self>,
        filter: Filter,
        ids: Option<Vec<Id>>,
        after: Option<Id>,
    ) -> Result<Vec<Summary>, RetryError> {
        let letters = Arc::clone(self.dead_letters());
        let page = offload(move || match ids {
            None => letters.list(&filter, after, PAGE),
            Some(mut ids) => {
                ids.retain(|id| after.is_none_or(|after| *id > after));
                ids.sort_unstable();
                ids.dedup();
                letters.pick(&ids, &filter, PAGE)
            }
        });
        Ok(page.await??)
    }

    async fn leave(self: &Arc<Self>, ids: Vec<Id>, to: Leaving) -> Result<u64, RetryError> {
        let deliveries = Arc::clone(self);
        let left = offload(move || {
            deliveries.dead_letters().leave(&ids, to, &|tenant, endpoint| deliveries.row(tenant, endpoint))
        });
        Ok(left.await??)
    }

    async fn retry_one(self: &Arc<Self>, id: Id, retried: &mut Retried) -> Result<(), RetryError> {
        let letters = Arc::clone(self.dead_letters());
        // Dropped or evicted meanwhile.
        let Some(letter) = offload(move || letters.get(id)).await?? else { return Ok(()) };
        let name = letter.envelope.endpoint.clone();
        let row = self.row(&letter.envelope.tenant, &name);
        if row.is_some_and(|row| !row.is_settled(letter.envelope.position)) {
            return Ok(()); // It is being booked, and could not leave yet.
        }
        let endpoint = self.endpoints().into_iter().find(|endpoint| endpoint.config.name == name);
        let endpoint = endpoint.ok_or_else(|| RetryError::NoEndpoint { id, endpoint: name.clone() })?;
        let tenant_id = self.tenant_id(&letter.envelope.tenant);
        let send = async || {
            let payload = payload(&endpoint, &letter).map_err(|why| RetryError::Unreadable { id, why })?;
            let _turn = endpoint.limiter.turn(Priority::Background).await;
            let answer = endpoint.client.send(&endpoint.config, &tenant_id, &payload, 0).await;
            Ok::<_, RetryError>((answer, payload.protocol))
        };
        let (mut answer, protocol) = send().await?;
        if answer.outcome == Outcome::OtherProtocol && endpoint.refuses(protocol) {
            (answer, _) = send().await?;
        }
        match answer.outcome {
            Outcome::Delivered { not_written } if not_written.is_zero() => {
                retried.taken += self.leave(vec![id], Leaving::Delivered).await?;
            }
            // What it broke on, it may break on again.
            Outcome::Retry { trouble: Trouble::Broken { .. }, .. }
                if letter.envelope.reason == Refusal::Poison.as_str() =>
            {
                retried.refused += 1;
                retried.words = Some(answer.text());
            }
            Outcome::Delivered { .. } | Outcome::Refused { .. } | Outcome::TooLarge => {
                retried.refused += 1;
                retried.words = Some(answer.text());
            }
            Outcome::Retry { .. } | Outcome::Hold | Outcome::OtherProtocol => {
                return Err(RetryError::NotNow { id, endpoint: name, words: answer.text(), taken: retried.taken });
            }
        }
        Ok(())
    }
}

/// The letter in the form the endpoint takes now. Rules were applied when it was refused.
fn payload(endpoint: &Endpoint, letter: &Letter) -> Result<Payload, String> {
    let protocol = protocol_of(letter.envelope.form).ok_or_else(|| format!("unknown form {}", letter.envelope.form))?;
    let mut request = request_in(letter).map_err(|error| error.to_string())?;
    let target = endpoint.target(protocol, None, now_ms());
    if target.form.protocol != protocol {
        let mut translated = Vec::new();
        let formed = Translator::new().form(protocol, &request, &target.form, &mut translated);
        formed.map_err(|error| error.to_string())?;
        request = translated;
    }
    let counts = record::from_array(letter.envelope.counts);
    let part = Part { body: request, counts, series: letter.envelope.series };
    payload_of(&part, target.form.protocol, target.compression)
}

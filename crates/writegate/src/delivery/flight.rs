//! One batch, from the moment it is taken out of the log until each of its data points is settled: form, send, and whatever
//! the answers ask for. Waits without its records in memory.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use remote_write::pieces::Pieces;
use remote_write::{Counts, Protocol};
use segment_log::Position;
use tokio::time::Instant;

use super::attempt::attempt;
use super::backoff::Backoff;
use super::context::{Context, Failure};
use super::fault::Fault;
use super::feed::read_again;
use super::form::{BatchLimits, Held, INLINE_DECODED_BYTES, Payload, Prepared, Target, first_series};
use super::hunt::{Hunt, RecordBook, Refused, take};
use super::limiter::Turn;
use super::outcome::{Outcome, Trouble};
use super::poison::Ended;
use super::send::Answer;
use super::settle::{HOLD, settle};
use crate::chain::Chain;
use crate::ledger::{Dropped, Fate, Refusal, Settled};
use crate::record;

/// After so many 5xx answers to one request, over the time that [`super::Patience`] gives, its halves are tried.
const POISON_ANSWERS: u32 = 10;

/// A batch under way.
pub(super) struct Flight {
    pub(super) context: Arc<Context>,
    /// Of all its records, in log order.
    positions: Vec<Position>,
    protocol: Protocol,
    /// The highest timestamp in it, in milliseconds since 1970.
    highest_ms: Option<i64>,
    /// `None` while it is sent as a whole.
    pub(super) hunt: Option<Box<Hunt>>,
    /// The endpoint may have got it already.
    ambiguous: bool,
    /// Of the request that is sent next.
    attempt: u32,
    /// 5xx answers to it.
    broken: Option<Breaking>,
    backoff: Backoff,
    hold: Backoff,
}

/// 5xx answers to one request.
#[derive(Clone, Copy)]
struct Breaking {
    since: Instant,
    answers: u32,
    /// It has a series that broke the endpoint lately: there is no need to wonder for long.
    known: bool,
}

/// Why a batch sends nothing for now.
enum Halt {
    /// All of it is settled.
    Landed,
    Pause(Duration),
    Stop,
}

impl Flight {
    /// `records` share no series, and came in one protocol.
    pub(super) fn new(context: Arc<Context>, records: &[Held]) -> Self {
        let queue = &context.endpoint.config.queue;
        let positions: Vec<Position> = records.iter().map(|(record, _)| record.position).collect();
        Self {
            protocol: records.first().map_or(Protocol::V1, |(_, meta)| meta.protocol),
            highest_ms: records.iter().filter_map(|(_, meta)| meta.timestamps).map(|(_, highest)| highest).max(),
            hunt: None,
            ambiguous: positions.iter().any(|position| *position < context.perhaps_sent),
            positions,
            attempt: 0,
            broken: None,
            backoff: Backoff::new(queue.min_backoff, queue.max_backoff),
            hold: Backoff::new(HOLD.0, HOLD.1),
            context,
        }
    }

    /// Sends until all is settled, and gives the positions. When told to stop meanwhile, the request in flight is finished as
    /// far as the endpoint's timeout allows, because an abandoned one would have to be sent again; the rest is sent at the
    /// next start.
    pub(super) async fn fly(mut self, records: Vec<Held>, turn: Turn) -> Vec<Position> {
        let context = Arc::clone(&self.context);
        let mut aboard = Some((records, Some(turn)));
        let mut probing = None;
        loop {
            let (records, mut turn) = match aboard.take() {
                Some(aboard) => aboard,
                None => {
                    let boarding = async {
                        let probing = context.condition.probe().await;
                        (probing, context.endpoint.limiter.turn(context.priority()).await)
                    };
                    let turn;
                    (probing, turn) = tokio::select! {
                        biased;
                        () = context.stop.cancelled() => return self.positions,
                        boarded = boarding => boarded,
                    };
                    (Vec::new(), Some(turn))
                }
            };
            let pause = match self.leg(records, &mut turn).await {
                Ok(Halt::Landed) => {
                    if let Some(highest) = self.highest_ms {
                        context.endpoint.stats.highest_sent_ms.fetch_max(highest, Ordering::Relaxed);
                    }
                    return self.positions;
                }
                Ok(Halt::Stop) => return self.positions,
                Ok(Halt::Pause(pause)) => pause,
                Err(fault) => {
                    context.fails(&Chain(&fault).to_string(), None);
                    self.hold.pause(None)
                }
            };
            // A batch that waits holds nothing in memory and keeps no other tenant waiting: an outage costs no more than a
            // delivery that runs. Other batches of this delivery wait with it while the endpoint takes nothing at all.
            drop(turn);
            if let Some(hunt) = &mut self.hunt {
                hunt.wait();
            }
            tokio::select! {
                biased;
                () = context.stop.cancelled() => return self.positions,
                () = tokio::time::sleep(pause) => {}
            }
            drop(probing.take());
        }
    }

    /// Sends requests until one has to wait, or all is settled.
    async fn leg(&mut self, mut records: Vec<Held>, turn: &mut Option<Turn>) -> Result<Halt, Fault> {
        if records.is_empty() {
            let wanted: Vec<Position> = match &self.hunt {
                Some(hunt) => hunt.positions().collect(),
                None => self.positions.clone(),
            };
            records = read_again(&self.context.tenant.log, &self.context.row, &wanted).await?;
            if records.is_empty() {
                return Ok(Halt::Landed); // It expired while it waited, and the log has booked it.
            }
        }
        loop {
            if self.context.stop.is_cancelled() {
                return Ok(Halt::Stop);
            }
            let halt = if self.hunt.is_some() {
                self.send_piece(&records, turn).await?
            } else {
                self.send_whole(&records, turn).await?
            };
            if let Some(halt) = halt {
                return Ok(halt);
            }
        }
    }

    async fn send_whole(&mut self, records: &[Held], turn: &mut Option<Turn>) -> Result<Option<Halt>, Fault> {
        let target = self.context.target(self.protocol);
        let limits = self.context.endpoint.limits();
        let counts = records.iter().fold(Counts::default(), |sum, (record, _)| sum + record::counts(record));
        if !limits.allow(counts, decoded_bytes(records)) {
            self.start_hunt(records, target, limits).await?;
            return Ok(None);
        }
        let (payload, prepared) = form(&self.context, records, &target).await?;
        let Some(payload) = payload else { return Ok(self.land(records, &prepared, Counts::default(), turn).await) };
        let answer = attempt(&self.context, &payload, self.attempt, turn).await;
        match answer.outcome {
            Outcome::Delivered { not_written } => return Ok(self.land(records, &prepared, not_written, turn).await),
            // From here on it is looked at in parts, and this answer is the first that is about one.
            Outcome::Refused { .. } | Outcome::TooLarge => self.start_hunt(records, target, limits).await?,
            Outcome::Retry { trouble, .. } if is_about_data(trouble) && self.breaks_again(records) => {
                self.start_hunt(records, target, limits).await?;
            }
            Outcome::Retry { .. } | Outcome::Hold | Outcome::OtherProtocol => {}
        }
        self.judge(&payload, answer, turn).await
    }

    async fn send_piece(&mut self, records: &[Held], turn: &mut Option<Turn>) -> Result<Option<Halt>, Fault> {
        let target = self.context.target(self.protocol);
        let limits = self.context.endpoint.limits();
        let Some(mut hunt) = self.hunt.take() else { return Ok(None) };
        if (hunt.target.form, hunt.target.compression) != (target.form, target.compression) {
            // The endpoint turned out to speak another protocol: what is not settled is read and sent anew, and some of
            // it may be there already.
            self.ambiguous = true;
            return Ok(Some(Halt::Pause(Duration::ZERO)));
        }
        if hunt.is_waiting() {
            let dissected = dissect(&self.context, records, &hunt.target).await;
            let resumed =
                dissected.map(|(pieces, _)| hunt.resume(records.iter().map(|(record, _)| record.position), pieces));
            if let Ok(false) = resumed {
                // Some of it expired while it waited. Of the rest some may have been sent.
                self.ambiguous = true;
                return Ok(Some(Halt::Pause(Duration::ZERO)));
            }
            if let Err(fault) = resumed {
                self.hunt = Some(hunt);
                return Err(fault);
            }
        }
        let payload = hunt.next(limits);
        self.hunt = Some(hunt);
        let payload = payload.map_err(Fault::Request)?;
        let Some(payload) = payload else { return Ok(self.settle_hunted(turn).await.or(Some(Halt::Landed))) };
        let answer = attempt(&self.context, &payload, self.attempt, turn).await;
        if matches!(answer.outcome, Outcome::Retry { trouble, .. } if is_about_data(trouble)) {
            self.breaks_again(records);
        }
        self.judge(&payload, answer, turn).await
    }

    async fn start_hunt(&mut self, records: &[Held], target: Target, limits: BatchLimits) -> Result<(), Fault> {
        let (pieces, prepared) = dissect(&self.context, records, &target).await?;
        let books = records.iter().zip(&prepared).map(|(held, prepared)| RecordBook::new(held, prepared)).collect();
        self.hunt = Some(Box::new(Hunt::new(books, target, pieces, limits, self.ambiguous)));
        Ok(())
    }

    /// Draws the conclusions from an answer, except that a whole batch was taken.
    async fn judge(
        &mut self,
        payload: &Payload,
        answer: Answer,
        turn: &mut Option<Turn>,
    ) -> Result<Option<Halt>, Fault> {
        let context = Arc::clone(&self.context);
        let text = answer.text();
        let occasion = context.occasion();
        match (answer.outcome, &mut self.hunt) {
            (Outcome::Delivered { not_written }, Some(hunt)) => {
                if hunt.taken(not_written) {
                    context.endpoint.takes_at_most(payload, payload.counts, payload.decoded_bytes);
                }
            }
            (Outcome::Refused { refusal, nothing_stored }, Some(hunt)) => {
                context.condition.answered();
                context.refuses_data(&text);
                let refused = Refused { refusal, nothing_stored, words: &text };
                let given_up = hunt.refused(&refused, tells_records_only(&context, refusal), &occasion)?;
                if given_up.is_some() {
                    context.endpoint.stats.failed.add(payload.counts);
                }
                if let Some(Fate::DeadLettered(refusal)) = given_up {
                    context.condition.refused(refusal);
                }
            }
            (Outcome::TooLarge, Some(hunt)) => {
                context.condition.answered();
                let whole_records = context.condition.refuses_everything(Refusal::TooLarge);
                let given_up = hunt.too_large(&text, whole_records, &occasion)?;
                if given_up.is_some() {
                    context.refuses_data(&text);
                    context.endpoint.stats.failed.add(payload.counts);
                } else {
                    context.endpoint.takes_at_most(payload, half(payload.counts), payload.decoded_bytes / 2);
                }
                if let Some(Fate::DeadLettered(refusal)) = given_up {
                    context.condition.refused(refusal);
                }
            }
            (Outcome::OtherProtocol, _) if context.endpoint.refuses(payload.protocol) => {
                // A 2xx that did not say what was written: it may have been stored all the same.
                self.ambiguous |= answer.status.is_some_and(|status| status.is_success());
            }
            (Outcome::Retry { trouble, after }, hunt) => {
                context.fails(&text, None);
                let failure = if is_about_data(trouble) { Failure::Doubtful } else { Failure::Unreachable };
                context.condition.failed(failure);
                self.ambiguous |= trouble.is_ambiguous();
                if let Some(hunt) = hunt.as_mut().filter(|_| trouble.is_ambiguous()) {
                    hunt.note_ambiguity();
                }
                if !is_about_data(trouble) || self.hunt.is_none() || !self.is_suspicious() {
                    return Ok(Some(self.wait(after)));
                }
                match self.find_poison(text, turn).await? {
                    Ended::Found => {}
                    Ended::Down => {
                        // If it took others meanwhile, the next answer is reason enough to search again.
                        self.broken.take_if(|breaking| !context.condition.succeeded_since(breaking.since));
                        self.hunt.take_if(|hunt| hunt.is_untouched());
                        let halt = self.settle_hunted(turn).await;
                        return Ok(Some(halt.unwrap_or_else(|| self.wait(after))));
                    }
                    Ended::Answered(payload, answer) => {
                        self.broken = None;
                        return Box::pin(self.judge(&payload, answer, turn)).await;
                    }
                }
            }
            (Outcome::Hold | Outcome::OtherProtocol, _) => {
                context.fails(&text, answer.status);
                context.condition.failed(Failure::Doubtful);
                self.attempt += 1;
                return Ok(Some(Halt::Pause(self.hold.pause(None))));
            }
            (Outcome::Delivered { .. } | Outcome::Refused { .. } | Outcome::TooLarge, None) => {}
        }
        // Another request is next.
        self.attempt = 0;
        self.broken = None;
        self.backoff.reset();
        Ok(self.settle_hunted(turn).await)
    }

    fn wait(&mut self, after: Option<Duration>) -> Halt {
        self.attempt += 1;
        Halt::Pause(self.backoff.pause(after))
    }

    /// Counts a 5xx answer. True if it is time to wonder about the data.
    fn breaks_again(&mut self, records: &[Held]) -> bool {
        let context = &self.context;
        let breaking = self.broken.get_or_insert_with(|| Breaking {
            since: Instant::now(),
            answers: 0,
            known: context.has_known_poison(records),
        });
        breaking.answers += 1;
        self.is_suspicious()
    }

    fn is_suspicious(&self) -> bool {
        self.broken.is_some_and(|Breaking { since, answers, known, .. }| {
            known || (answers >= POISON_ANSWERS && since.elapsed() >= self.context.shared.patience.poison)
        })
    }

    /// Settles a batch that went as a whole.
    async fn land(
        &self,
        records: &[Held],
        prepared: &[Prepared],
        mut not_written: Counts,
        turn: &mut Option<Turn>,
    ) -> Option<Halt> {
        let book = |(held, prepared): (&Held, &Prepared)| {
            let mut booking = prepared.booking();
            let missing = take(&mut not_written, prepared.kept);
            booking.add(Fate::Delivered, prepared.kept - missing);
            // The endpoint does not say which.
            booking.add_with(Fate::Dropped(Dropped::NotWritten), missing, || first_series(held));
            Settled { position: held.0.position, counts: record::counts(&held.0), booking }
        };
        let settled: Vec<Settled> = records.iter().zip(prepared).map(book).collect();
        match settle(&self.context, &settled, Vec::new(), turn).await {
            true => Some(Halt::Landed),
            false => Some(Halt::Stop),
        }
    }

    /// Settles the records that are dealt with. `None`: go on with the rest.
    async fn settle_hunted(&mut self, turn: &mut Option<Turn>) -> Option<Halt> {
        let (settled, letters) = self.hunt.as_mut()?.settle();
        if settled.is_empty() {
            return None;
        }
        match settle(&self.context, &settled, letters, turn).await {
            true => turn.is_none().then_some(Halt::Pause(Duration::ZERO)),
            false => Some(Halt::Stop),
        }
    }
}

/// Whether the data may be the reason. 503 says that the endpoint is overloaded or being mended (RFC 9110 §15.6.4), and is
/// never believed to mean a series.
pub(super) fn is_about_data(trouble: Trouble) -> bool {
    trouble == Trouble::Broken { overloaded: false }
}

/// Series are not told apart where nobody would do anything else with them.
fn tells_records_only(context: &Context, refusal: Refusal) -> bool {
    context.is_replay() || refusal == Refusal::TooMany || context.condition.refuses_everything(refusal)
}

const fn half(counts: Counts) -> Counts {
    Counts { samples: counts.samples / 2, histograms: counts.histograms / 2, exemplars: counts.exemplars / 2 }
}

fn decoded_bytes(records: &[Held]) -> u64 {
    records.iter().map(|(_, meta)| u64::from(meta.decoded_bytes)).sum()
}

async fn form(context: &Context, records: &[Held], target: &Target) -> Result<(Option<Payload>, Vec<Prepared>), Fault> {
    let log = Arc::as_ptr(&context.tenant.log).addr();
    let is_costly = target.rules.as_ref().is_some_and(|rules| rules.is_costly);
    if decoded_bytes(records) <= INLINE_DECODED_BYTES && !is_costly {
        return Ok(context.shared.former.form(log, records, target)?);
    }
    let (records, target) = (records.to_vec(), target.clone());
    context
        .shared
        .beside(context.rules.as_ref(), move |shared| shared.former.form(log, &records, &target))
        .await?
        .map_err(Fault::Form)
}

async fn dissect(context: &Context, records: &[Held], target: &Target) -> Result<(Pieces, Vec<Prepared>), Fault> {
    let (records, target) = (records.to_vec(), target.clone());
    context
        .shared
        .beside(context.rules.as_ref(), move |shared| shared.former.dissect(&records, &target))
        .await?
        .map_err(Fault::Form)
}

//! One delivery: moves one tenant's cursor at one endpoint. Feed, batch, form, send, settle.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use remote_write::Counts;
use segment_log::Record;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::backoff::Backoff;
use super::batch::{Batch, Feed};
use super::endpoint::Endpoint;
use super::form::{self, BatchLimits, Formed, Payload, Target};
use super::outcome::Outcome;
use super::send::Answer;
use crate::chain::Chain;
use crate::ledger::{Booking, Dropped, Row, Settled};
use crate::record::{self, Meta};
use crate::tenant::Tenant;

/// Receivers refuse more than 32 MiB decompressed; half of that leaves room for translation.
const MAX_DECODED_BYTES: u64 = 16 * 1024 * 1024;

/// The first and the longest pause while only the endpoint's owner can mend what is wrong.
const HOLD: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));

/// Forming more than this at once happens on a thread of its own.
const INLINE_DECODED_BYTES: u64 = 1024 * 1024;

/// The task that moves one cursor.
pub(super) struct Delivery {
    pub(super) shared: Arc<Shared>,
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) tenant: Arc<Tenant>,
    pub(super) row: Arc<Row>,
    pub(super) stop: CancellationToken,
}

/// How far a batch has come.
#[derive(Default)]
struct Progress {
    /// What the batch was formed into: another target would cut it differently.
    target: Option<Target>,
    /// Payloads that were settled with the endpoint, of those the batch is formed into.
    sent: usize,
    delivered: Counts,
    refused: Counts,
    refusal: String,
    not_written: Counts,
}

/// The pauses between the attempts of one batch.
struct Pauses {
    attempt: u32,
    backoff: Backoff,
    hold: Backoff,
}

/// What to do after a round of attempts.
enum Next {
    Settle(Vec<Formed>),
    Pause(Duration),
    Stop,
}

impl Delivery {
    /// Delivers until told to stop. A request in flight is finished first, as far as the endpoint's timeout allows: an
    /// abandoned one would have to be sent again.
    pub(super) async fn run(self) {
        let mut feed = Feed::new(Arc::clone(&self.tenant.log), Arc::clone(&self.row));
        let mut head = self.tenant.head.clone();
        while !self.stop.is_cancelled() {
            head.mark_unchanged();
            if !feed.has_more() {
                tokio::select! {
                    () = self.stop.cancelled() => return,
                    more = head.changed() => if more.is_err() { return }, // The log is gone: the process ends.
                }
                continue;
            }
            // Read only when it is this delivery's turn: whoever waits for a turn holds nothing in memory.
            let Some(turn) = self.turn().await else { return };
            let goes_on = match feed.next(self.limits()).await {
                Ok(Some(batch)) => self.deliver(&mut feed, batch, turn).await,
                Ok(None) => true,
                Err(error) => {
                    drop(turn);
                    feed.rewind();
                    self.endpoint.fails(&format!("the log cannot be read: {}", Chain(&error)), None);
                    self.pause(HOLD.0).await
                }
            };
            if !goes_on {
                return;
            }
            if self.endpoint.turns.available_permits() == 0 {
                // Others are served first: what was read ahead is read again then.
                feed.rewind();
            }
        }
    }

    fn limits(&self) -> BatchLimits {
        let samples = u64::from(self.endpoint.config.queue.max_samples_per_send);
        BatchLimits { samples, decoded_bytes: MAX_DECODED_BYTES }
    }

    /// `None` when told to stop.
    async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        tokio::select! {
            () = self.stop.cancelled() => None,
            turn = Arc::clone(&self.endpoint.turns).acquire_owned() => turn.ok(),
        }
    }

    /// False when told to stop before the batch was settled.
    async fn deliver(&self, feed: &mut Feed, batch: Batch, turn: OwnedSemaphorePermit) -> bool {
        let queue = &self.endpoint.config.queue;
        let mut pauses = Pauses {
            attempt: 0,
            backoff: Backoff::new(queue.min_backoff, queue.max_backoff),
            hold: Backoff::new(HOLD.0, HOLD.1),
        };
        let mut progress = Progress::default();
        let plan = batch.plan();
        let mut held = Some((batch, turn));
        loop {
            let (batch, turn) = match held.take() {
                Some(held) => held,
                None => {
                    let Some(turn) = self.turn().await else { return false };
                    match feed.again(&plan).await {
                        Ok(Some(batch)) => (batch, turn),
                        Ok(None) => return true, // It expired while it waited, and the log has booked it.
                        Err(error) => {
                            self.endpoint.fails(&format!("the log cannot be read: {}", Chain(&error)), None);
                            drop(turn);
                            if self.pause(pauses.hold.pause(None)).await {
                                continue;
                            }
                            return false;
                        }
                    }
                }
            };
            let pause = match self.round(&batch, &mut progress, &mut pauses).await {
                Next::Settle(formed) => return self.settle(&batch, &formed, &progress).await,
                Next::Pause(pause) => pause,
                Next::Stop => return false,
            };
            // A batch that waits holds nothing in memory and keeps nobody waiting: an outage costs no more than a
            // delivery that runs.
            drop((batch, turn));
            feed.rewind();
            if !self.pause(pause).await {
                return false;
            }
        }
    }

    /// Forms the batch and sends what is left of it.
    async fn round(&self, batch: &Batch, progress: &mut Progress, pauses: &mut Pauses) -> Next {
        loop {
            let target = self.endpoint.target(batch.protocol());
            if progress.target != Some(target) {
                *progress = Progress { target: Some(target), ..Progress::default() };
            }
            let (payloads, formed) = match self.form(batch, target).await {
                Ok(formed) => formed,
                Err(why) => {
                    self.endpoint.fails(&why, None);
                    return Next::Pause(pauses.hold.pause(None));
                }
            };
            match self.send_all(&payloads, progress, pauses).await {
                None => return Next::Settle(formed),
                Some(Step::Reform) => {}
                Some(Step::Pause(pause)) => return Next::Pause(pause),
                Some(Step::Stop) => return Next::Stop,
            }
        }
    }

    /// Sends the payloads that were not sent yet, one after the other. `None` when all are.
    async fn send_all(&self, payloads: &[Payload], progress: &mut Progress, pauses: &mut Pauses) -> Option<Step> {
        while let Some(payload) = payloads.get(progress.sent) {
            if self.stop.is_cancelled() {
                return Some(Step::Stop);
            }
            let answer = self.attempt(payload, pauses.attempt).await;
            match answer.outcome {
                Outcome::Delivered { not_written } => {
                    self.endpoint.works();
                    progress.delivered += payload.counts - not_written;
                    progress.not_written += not_written;
                }
                Outcome::Refused => {
                    self.endpoint.fails(&answer.text, None);
                    self.endpoint.stats.failed.add(payload.counts);
                    progress.refused += payload.counts;
                    progress.refusal = answer.text;
                }
                Outcome::OtherProtocol if self.endpoint.refuses(payload.protocol) => return Some(Step::Reform),
                Outcome::OtherProtocol | Outcome::Hold => {
                    self.endpoint.fails(&answer.text, answer.status);
                    pauses.attempt += 1;
                    return Some(Step::Pause(pauses.hold.pause(None)));
                }
                Outcome::Retry { after } => {
                    self.endpoint.fails(&answer.text, None);
                    pauses.attempt += 1;
                    return Some(Step::Pause(pauses.backoff.pause(after)));
                }
            }
            progress.sent += 1;
            pauses.attempt = 0;
            pauses.backoff.reset();
        }
        None
    }

    async fn form(&self, batch: &Batch, target: Target) -> Result<(Vec<Payload>, Vec<Formed>), String> {
        let limits = self.limits();
        let log = Arc::as_ptr(&self.tenant.log).addr();
        if batch.decoded_bytes() <= INLINE_DECODED_BYTES {
            return form::form(&self.shared.forms, log, batch.records(), target, limits)
                .map_err(|error| error.to_string());
        }
        let _turn = self.shared.formers.acquire().await.map_err(|closed| closed.to_string())?;
        let (shared, records) = (Arc::clone(&self.shared), batch.records().to_vec());
        tokio::task::spawn_blocking(move || form::form(&shared.forms, log, &records, target, limits))
            .await
            .map_err(|panicked| panicked.to_string())?
            .map_err(|error| error.to_string())
    }

    async fn attempt(&self, payload: &Payload, attempt: u32) -> Answer {
        let stats = &self.endpoint.stats;
        stats.attempt(payload, attempt);
        stats.in_flight.fetch_add(1, Ordering::Relaxed);
        let started = Instant::now();
        let answer = self.endpoint.client.send(&self.endpoint.config, &self.tenant.name, payload, attempt).await;
        stats.in_flight.fetch_sub(1, Ordering::Relaxed);
        stats.answered(answer.status, started.elapsed());
        answer
    }

    /// Books where each data point of the batch ended, and moves the cursor: one act. False when told to stop before
    /// that succeeded; the batch is sent again at the next start then.
    async fn settle(&self, batch: &Batch, formed: &[Formed], progress: &Progress) -> bool {
        let settled = bookings(batch, formed, progress);
        while let Err(error) = self.row.settle(&settled) {
            self.endpoint.fails(&format!("the books cannot be written: {}", Chain(&error)), None);
            if !self.pause(HOLD.0).await {
                return false;
            }
        }
        let highest = batch.records().iter().filter_map(|(_, meta)| meta.timestamps).map(|(_, highest)| highest).max();
        if let Some(highest) = highest {
            self.endpoint.stats.highest_sent_ms.fetch_max(highest, Ordering::Relaxed);
        }
        true
    }

    /// False when told to stop meanwhile.
    async fn pause(&self, pause: Duration) -> bool {
        tokio::select! {
            () = self.stop.cancelled() => false,
            () = tokio::time::sleep(pause) => true,
        }
    }
}

/// What a round of sending stopped for.
enum Step {
    Reform,
    Pause(Duration),
    Stop,
}

/// An answer is about a whole request: its losses are booked on the batch's records in order.
fn bookings(batch: &Batch, formed: &[Formed], progress: &Progress) -> Vec<Settled> {
    let (mut refused, mut not_written) = (progress.refused, progress.not_written);
    let book = |((record, _), formed): (&(Arc<Record>, Meta), &Formed)| {
        let mut booking = Booking::default();
        let refused_here = take(&mut refused, formed.kept);
        let not_written_here = take(&mut not_written, formed.kept - refused_here);
        booking.delivered = formed.kept - refused_here - not_written_here;
        booking.drop(Dropped::Refused, refused_here, progress.refusal.clone());
        booking.drop(Dropped::NotWritten, not_written_here, String::new());
        booking.drop(Dropped::Untranslatable, formed.untranslatable, String::new());
        Settled { position: record.position, counts: record::counts(record), booking }
    };
    batch.records().iter().zip(formed).map(book).collect()
}

/// Takes as much of `from` as fits into `at_most`, kind by kind.
fn take(from: &mut Counts, at_most: Counts) -> Counts {
    let taken = Counts {
        samples: from.samples.min(at_most.samples),
        histograms: from.histograms.min(at_most.histograms),
        exemplars: from.exemplars.min(at_most.exemplars),
    };
    *from -= taken;
    taken
}

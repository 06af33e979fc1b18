//! One delivery: moves one cursor at one endpoint. Reads ahead, starts batches of what may be sent now, and lets the rest
//! wait until what it waits for is settled. The same for an endpoint that keeps up, one that catches up, and a replay.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use remote_write::{Counts, Protocol};
use schedule::order::DeliveryOrder;
use schedule::window::Window;
use segment_log::Position;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::context::{Context, Work};
use super::fault::Fault;
use super::feed::{Feed, READ_RECORDS};
use super::flight::Flight;
use super::form::{BatchLimits, Held, INLINE_DECODED_BYTES};
use super::limiter::Turn;
use super::rules::Rules;
use super::settle::{HOLD, forget_unsettled};
use crate::chain::Chain;
use crate::record;

/// Records that are read ahead of what may be sent hold no more than about this, decompressed.
const AHEAD_DECODED_BYTES: u64 = 4 << 20;

/// While requests are in flight, what comes is gathered for so long, unless it fills a request before: a few records in one
/// request cost hardly more than one.
const GATHER: Duration = Duration::from_millis(20);
/// With so many records to read nobody needs to wait for more.
const ENOUGH_RECORDS: u64 = 32;

/// 2.0 requests cannot be merged without being written anew, for their symbols: beyond so many data points that costs more
/// than a request of its own.
const MERGED_2_0: u64 = 2_000;

/// How often a replay that has come up to the live delivery looks whether that has gone on.
const LIVE_GOES_ON: Duration = Duration::from_millis(100);

/// The task that moves one cursor.
pub(super) struct Delivery {
    context: Arc<Context>,
    feed: Feed,
    window: Window<Held>,
    order: DeliveryOrder,
    /// What waits in the window, decompressed.
    ahead_bytes: u64,
    /// Nothing can be started before something else happens.
    stalled: bool,
    /// Until when what comes is gathered.
    gathering: Option<Instant>,
    flights: JoinSet<Vec<Position>>,
    pace: Pace,
}

type Waiting = Pin<Box<dyn Future<Output = Turn> + Send>>;

impl Delivery {
    pub(super) fn new(context: Arc<Context>) -> Self {
        let feed = Feed::new(&context);
        let pace = Pace::new(&context.work);
        let order = DeliveryOrder::new(Arc::clone(&context.tenant.order));
        let (window, flights) = (Window::new(), JoinSet::new());
        Self { context, feed, window, order, ahead_bytes: 0, stalled: false, gathering: None, flights, pace }
    }

    /// Delivers until told to stop, or until the end of a replay. Requests in flight are finished first.
    pub(super) async fn run(mut self) {
        let context = Arc::clone(&self.context);
        let mut head = context.tenant.head.clone();
        let mut waiting: Option<Waiting> = None;
        loop {
            if !self.stalled {
                // Whoever has found nothing to read must hear of what came since.
                head.mark_unchanged();
            }
            if self.is_complete() {
                return;
            }
            if !self.may_start() {
                self.gathering = None;
            } else if waiting.is_none() && self.has_gathered() {
                let limiter = context.endpoint.limiter.clone();
                if limiter.is_contended() {
                    // Whoever waits for a turn holds nothing in memory that others may need.
                    self.forget_waiting();
                }
                let priority = context.priority();
                waiting = Some(Box::pin(async move { limiter.turn(priority).await }));
            }
            tokio::select! {
                biased;
                () = context.stop.cancelled() => break,
                Some(landed) = self.flights.join_next() => match landed {
                    Ok(positions) => self.land(positions),
                    Err(error) => {
                        context.fails(&format!("a batch ended badly: {error}"), None);
                        // The other batches may be waiting for the turn that this one has been given.
                        waiting = None;
                        self.start_over().await;
                    }
                },
                turn = turn_of(&mut waiting) => {
                    waiting = None;
                    if let Err(error) = self.start(turn).await {
                        context.fails(&Chain(&error).to_string(), None);
                        self.forget_waiting();
                        self.pace.not_before(Instant::now() + HOLD.0);
                    }
                }
                () = context.condition.changed() => if context.condition.is_failing() && !self.flights.is_empty() {
                    // Nothing new is started for now.
                    waiting = None;
                    self.forget_waiting();
                },
                () = until(self.pace.next), if self.pace.is_ahead() => {}
                () = tokio::time::sleep(LIVE_GOES_ON), if self.feed.is_held_back() => self.stalled = false,
                () = until(self.gathering), if waiting.is_none() && self.gathering.is_some() => {}
                more = head.changed() => {
                    self.stalled = false;
                    if more.is_err() {
                        break; // The log is gone: the process ends.
                    }
                }
            }
        }
        while self.flights.join_next().await.is_some() {}
    }

    /// Whether a replay has come to its end.
    fn is_complete(&self) -> bool {
        self.context.is_replay() && self.flights.is_empty() && self.context.row.low() >= self.context.until()
    }

    fn may_start(&self) -> bool {
        let most_open = self.context.endpoint.limiter.limit().min(self.context.condition.most_open());
        !self.stalled
            && self.flights.len() < most_open
            && !self.pace.is_ahead()
            && (self.window.has_free() || self.may_read())
            && !self.context.row.is_full()
    }

    /// Whether it is time to send what there is.
    fn has_gathered(&mut self) -> bool {
        let is_time = self.gathering.is_some_and(|until| until <= Instant::now());
        let gathered = is_time
            || self.flights.is_empty()
            || self.feed.behind() >= ENOUGH_RECORDS
            || self.free_points() >= self.limits().samples;
        if gathered {
            self.gathering = None;
        } else {
            self.gathering.get_or_insert_with(|| Instant::now() + GATHER);
        }
        gathered
    }

    fn may_read(&self) -> bool {
        self.feed.has_more()
            && self.window.has_room(self.feed.next() + READ_RECORDS as u64)
            && self.ahead_bytes < AHEAD_DECODED_BYTES
    }

    /// Starts a batch of what may be sent now, if there is anything.
    async fn start(&mut self, mut turn: Turn) -> Result<(), Fault> {
        while self.may_read() && self.free_points() < self.limits().samples {
            self.read().await?;
        }
        let limits = self.limits();
        let mut batch = Gathering::default();
        let records: Vec<Held> =
            self.window.take_free(|held| batch.fits(held, limits)).into_iter().map(|(_, held)| held).collect();
        if records.is_empty() {
            self.stalled = true;
            return Ok(());
        }
        self.ahead_bytes -= batch.decoded_bytes;
        // Before the next turn is given.
        turn.carries(records.iter().map(|(record, _)| record.body.len()).sum());
        self.pace.spend(batch.counts.samples + batch.counts.histograms);
        let flight = Flight::new(Arc::clone(&self.context), &records);
        self.flights.spawn(flight.fly(records, turn));
        Ok(())
    }

    /// What the next batch may have.
    fn limits(&self) -> BatchLimits {
        let limits = self.context.endpoint.limits();
        let next = self.window.free().next().map(|(_, meta)| self.context.endpoint.protocol(meta.protocol));
        match next {
            Some(Protocol::V2) => BatchLimits { samples: limits.samples.min(MERGED_2_0), ..limits },
            Some(Protocol::V1) | None => limits,
        }
    }

    /// Data points that may be sent now.
    fn free_points(&self) -> u64 {
        self.window.free().map(|(record, _)| record::counts(record).points()).sum()
    }

    async fn read(&mut self) -> Result<(), Fault> {
        let from = self.feed.next();
        let read = self.read_ahead().await;
        if read.is_err() {
            // Nothing is skipped: what was read and cannot be used is read again.
            self.feed.rewind(from);
        }
        let (records, edited) = read?;
        let mut edited = edited.into_iter();
        for held in records {
            self.ahead_bytes += u64::from(held.1.decoded_bytes);
            let (position, open) = (held.0.position, self.window.open());
            let predecessors = match edited.next() {
                Some(footprint) => self.order.edited(position, footprint.iter().copied(), open),
                None => self.order.as_it_came(position, record::footprint(&held.0.meta), open),
            };
            // What has expired or is damaged is not in the window, though what it would wait for may be under way.
            let predecessors = predecessors.without_what_is_before(self.context.row.expired_until());
            self.window.admit(position, held, &predecessors);
        }
        Ok(())
    }

    /// The next records; where rules make other series of theirs, the footprints of these.
    async fn read_ahead(&mut self) -> Result<(Vec<Held>, Vec<Arc<[u32]>>), Fault> {
        let mut records = self.feed.read().await?;
        records.retain(|(record, _)| !self.window.is_under_way(record.position));
        let footprints = match self.context.rules.as_ref().filter(|rules| rules.pipeline.edits()) {
            Some(rules) => self.edited_footprints(&records, rules).await?,
            None => Vec::new(),
        };
        Ok((records, footprints))
    }

    async fn edited_footprints(&self, records: &[Held], rules: &Arc<Rules>) -> Result<Vec<Arc<[u32]>>, Fault> {
        let (shared, log) = (&self.context.shared, Arc::as_ptr(&self.context.tenant.log).addr());
        let decoded: u64 = records.iter().map(|(_, meta)| u64::from(meta.decoded_bytes)).sum();
        let with_target = |held: &Held| (self.context.target(held.1.protocol), Arc::clone(&held.0), held.1);
        let records = records.iter().map(with_target);
        if decoded <= INLINE_DECODED_BYTES && !rules.is_costly {
            let footprints =
                records.map(|(target, record, meta)| shared.former.footprint_ahead(log, &(record, meta), &target));
            return Ok(footprints.collect::<Result<_, _>>()?);
        }
        let records: Vec<_> = records.collect();
        let footprints = shared.beside(Some(rules), move |shared| {
            let ahead = |(target, record, meta)| shared.former.footprint_ahead(log, &(record, meta), &target);
            records.into_iter().map(ahead).collect::<Result<_, _>>()
        });
        Ok(footprints.await??)
    }

    /// A batch panicked: which records it had is not known any more, so all that is not settled is read again.
    async fn start_over(&mut self) {
        while self.flights.join_next().await.is_some() {}
        // Its dead letters, too, would be there twice; when told to stop, they are removed at the end.
        forget_unsettled(&self.context).await;
        self.window = Window::new();
        self.order.rest();
        self.ahead_bytes = 0;
        self.feed.rewind(self.context.row.low());
        self.pace.not_before(Instant::now() + HOLD.0);
    }

    fn land(&mut self, positions: Vec<Position>) {
        self.window.settle(positions);
        self.rest_if_empty();
        self.stalled = false;
    }

    /// Lets go of what was read and is not under way: it is read again when there is time for it.
    fn forget_waiting(&mut self) {
        if let Some(first) = self.window.forget_waiting() {
            self.feed.rewind(first);
        }
        self.rest_if_empty();
        self.ahead_bytes = 0;
        self.stalled = false;
    }

    fn rest_if_empty(&mut self) {
        if self.window.is_empty() {
            self.order.rest();
        }
    }
}

/// The turn, when it comes; never without a wait for one.
async fn turn_of(waiting: &mut Option<Waiting>) -> Turn {
    match waiting {
        Some(waiting) => waiting.await,
        None => std::future::pending().await,
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// What a batch has so far.
#[derive(Default)]
struct Gathering {
    counts: Counts,
    decoded_bytes: u64,
    protocol: Option<Protocol>,
}

impl Gathering {
    /// Whether a record goes with the others. One always does.
    fn fits(&mut self, (record, meta): &Held, limits: BatchLimits) -> bool {
        let counts = self.counts + record::counts(record);
        let decoded_bytes = self.decoded_bytes + u64::from(meta.decoded_bytes);
        let is_first = self.protocol.is_none();
        let fits = is_first || (self.protocol == Some(meta.protocol) && limits.allow(counts, decoded_bytes));
        if fits {
            *self = Self { counts, decoded_bytes, protocol: Some(meta.protocol) };
        }
        fits
    }
}

/// Keeps a replay to its rate: after each batch it waits as long as its samples take.
struct Pace {
    rate: u64,
    next: Option<Instant>,
}

impl Pace {
    fn new(work: &Work) -> Self {
        let rate = match work {
            Work::Live => 0,
            Work::Replay { rate, .. } => *rate,
        };
        Self { rate, next: None }
    }

    fn spend(&mut self, samples: u64) {
        if self.rate > 0 {
            let from = self.next.map_or_else(Instant::now, |next| next.max(Instant::now()));
            #[expect(clippy::cast_precision_loss, reason = "a pause")]
            let pause = Duration::from_secs_f64(samples as f64 / self.rate as f64);
            self.next = Some(from + pause);
        }
    }

    fn not_before(&mut self, next: Instant) {
        self.next = Some(next);
    }

    fn is_ahead(&self) -> bool {
        self.next.is_some_and(|next| next > Instant::now())
    }
}

//! `GET /api/v1/tap`: series as they come in, or as an endpoint gets them, told as server-sent events (WHATWG HTML, "Server-sent
//! events"). It looks at what the log still has in memory, never waits for the disk, and tells what it left out: whoever looks
//! must not disturb what is looked at.

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use remote_write::compression::Decompressor;
use remote_write::model::{Count, Series};
use remote_write::relabel::Pipeline;
use remote_write::selector::Selector;
use remote_write::{read, series_text};
use segment_log::{Read, Reader, Record};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use writegate_config::{Config, TenantName};

use super::query;
use super::refusal::Refusal;
use crate::app::App;
use crate::chain::Chain;
use crate::delivery;
use crate::offload::offload;
use crate::record::Meta;

/// How many may look at once.
const MOST_TAPS: usize = 8;
/// How often is looked.
const EVERY: Duration = Duration::from_millis(200);
/// What is read of a tenant's log each time.
const RECORDS: usize = 32;
const RECORD_BYTES: usize = 256 * 1024;
/// What is told each time, over all tenants, and what is looked at for it.
const MOST_TOLD: usize = 200;
const MOST_EXAMINED: usize = 10_000;
/// What is told of a series that has more in one request.
const MOST_POINTS: usize = 10;
/// A reader that is gone is found out by writing to it.
const ALIVE_EVERY: Duration = Duration::from_secs(5);
/// Events that wait for a slow reader.
const WAITING: usize = 16;

/// A series as it passed by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Passing {
    pub(crate) tenant: String,
    pub(crate) received_ms: i64,
    pub(crate) series: String,
    /// Times in milliseconds, and values as in Prometheus' API.
    pub(crate) samples: Vec<(i64, String)>,
    pub(crate) histograms: Vec<PassingHistogram>,
    pub(crate) exemplars: usize,
    /// Samples and histograms that are not told.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) more: usize,
}

/// A native histogram in short.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PassingHistogram {
    pub(crate) timestamp: i64,
    pub(crate) schema: i32,
    pub(crate) count: String,
    pub(crate) sum: String,
}

/// What passed by and was not told, since that was last said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Skipped {
    pub(crate) records: u64,
    pub(crate) series: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands in references")]
const fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// Events as a body. Dropped by the server when its reader is gone.
#[derive(Debug)]
pub(super) struct Events(mpsc::Receiver<Bytes>);

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|event| event.map(|event| Ok(Frame::data(event))))
    }
}

/// Begins to look, until the reader goes or `stop`.
///
/// # Errors
/// When what is asked for is not there, or too many look already.
pub(super) fn open(app: &Arc<App>, query: &str, stop: CancellationToken) -> Result<Events, Refusal> {
    let wanted = Wanted::read(&app.config.load(), query)?;
    let seat = Seat::take(Arc::clone(&app.taps))?;
    let (sender, events) = mpsc::channel(WAITING);
    let app = Arc::clone(app);
    // It ends with its reader, or with the server.
    drop(tokio::spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = sender.closed() => {}
            () = look(&app, wanted, &sender) => {}
        }
        drop(seat);
    }));
    Ok(Events(events))
}

/// One of those who look, which are counted.
struct Seat(Arc<AtomicUsize>);

impl Seat {
    fn take(taps: Arc<AtomicUsize>) -> Result<Self, Refusal> {
        let take = |taken: usize| (taken < MOST_TAPS).then_some(taken + 1);
        match taps.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
            Ok(_) => Ok(Self(taps)),
            Err(_full) => Err(Refusal::Conflict(format!("{MOST_TAPS} taps are open already; close one and ask again"))),
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What is looked for.
#[derive(Clone)]
struct Wanted {
    tenant: Option<TenantName>,
    endpoint: Option<String>,
    selector: Option<Selector>,
}

impl Wanted {
    fn read(config: &Config, query: &str) -> Result<Self, Refusal> {
        let [tenant, endpoint, selector] = query::parameters(query, &["tenant", "endpoint", "match"])?;
        let tenant = tenant.map(|tenant| TenantName::new(&tenant)).transpose();
        let tenant = tenant.map_err(|invalid| Refusal::Request(format!("tenant: {invalid}")))?;
        if let Some(name) = &endpoint
            && !config.endpoints.iter().any(|endpoint| endpoint.name == *name)
        {
            return Err(Refusal::Unknown(format!("there is no endpoint {name:?}; /api/v1/status names them")));
        }
        let selector = selector.map(|text| Selector::parse(&text)).transpose();
        let selector = selector.map_err(|invalid| Refusal::Request(format!("match: {}", Chain(&invalid))))?;
        Ok(Self { tenant, endpoint, selector })
    }

    /// The steps on the way to the endpoint; `None` if the tenant's data does not go there.
    fn pipeline(&self, config: &Config, tenant: &TenantName) -> Option<Pipeline> {
        let Some(name) = &self.endpoint else { return Some(Pipeline::new(Vec::new(), 0)) };
        let endpoint = config.endpoints.iter().find(|endpoint| endpoint.name == *name)?;
        let steps = || delivery::steps(&config.tenants, tenant, endpoint).into_iter().map(|(_, step)| step).collect();
        endpoint.takes(tenant.as_str()).then(|| Pipeline::new(steps(), 0))
    }
}

async fn look(app: &Arc<App>, wanted: Wanted, sender: &mpsc::Sender<Bytes>) {
    let mut readers: HashMap<TenantName, Reader> = HashMap::new();
    let mut skipped = Skipped::default();
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut quiet_since = tokio::time::Instant::now();
    // Its reader may wait for the first sign that it is heard.
    if sender.send(Bytes::from_static(b": tapped\n\n")).await.is_err() {
        return;
    }
    let born_before: Vec<_> = app.engine.tenants.list();
    for tenant in born_before {
        readers.insert(tenant.name.clone(), tenant.log.reader(tenant.log.head()));
    }
    loop {
        ticks.tick().await;
        let mut batches = Vec::new();
        for tenant in app.engine.tenants.list() {
            if wanted.tenant.as_ref().is_some_and(|name| *name != tenant.name) {
                continue;
            }
            // One that was born meanwhile from its first record on.
            let reader = readers.entry(tenant.name.clone()).or_insert_with(|| tenant.log.reader(0));
            let mut read = Vec::new();
            if reader.position() < tenant.log.head() && reader.cached(RECORD_BYTES, RECORDS, &mut read) {
                let records = read.into_iter().filter_map(|read| match read {
                    Read::Record(record) => Some(record),
                    Read::Gap { .. } => None,
                });
                batches.push((tenant.name.clone(), records.collect::<Vec<_>>()));
            }
            let behind = tenant.log.head().saturating_sub(reader.position());
            if behind > 0 {
                skipped.records += behind;
                *reader = tenant.log.reader(tenant.log.head());
            }
        }
        if !batches.is_empty() {
            let (config, wanted) = (app.config.load_full(), wanted.clone());
            let Ok(told) = offload(move || tell(&config, &wanted, &batches)).await else { return };
            skipped.series += told.skipped;
            if !told.events.is_empty() {
                match sender.try_send(Bytes::from(told.events)) {
                    Ok(()) => quiet_since = tokio::time::Instant::now(),
                    Err(mpsc::error::TrySendError::Full(_)) => skipped.series += told.series,
                    Err(mpsc::error::TrySendError::Closed(_)) => return,
                }
            }
        }
        if skipped != Skipped::default()
            && let Ok(data) = serde_json::to_string(&skipped)
            && sender.try_send(Bytes::from(format!("event: skipped\ndata: {data}\n\n"))).is_ok()
        {
            skipped = Skipped::default();
            quiet_since = tokio::time::Instant::now();
        }
        if quiet_since.elapsed() > ALIVE_EVERY && sender.try_send(Bytes::from_static(b": quiet\n\n")).is_ok() {
            quiet_since = tokio::time::Instant::now();
        }
    }
}

/// What is told of some records.
#[derive(Default)]
struct Told {
    events: String,
    series: u64,
    /// Series that fit, or might, and are not told.
    skipped: u64,
}

fn tell(config: &Config, wanted: &Wanted, batches: &[(TenantName, Vec<Arc<Record>>)]) -> Told {
    let mut told = Told::default();
    let mut examined = 0;
    let (mut decompressor, mut decoded) = (Decompressor::new(), Vec::new());
    for (tenant, records) in batches {
        let Some(pipeline) = wanted.pipeline(config, tenant) else { continue };
        for record in records {
            let Ok(meta) = Meta::decode(&record.meta) else { continue };
            let limit = usize::try_from(meta.decoded_bytes).unwrap_or(usize::MAX);
            if decompressor.decompress(meta.compression, &record.body, limit, &mut decoded).is_err() {
                continue;
            }
            let visit = |series: &Series<'_>| {
                examined += 1;
                if examined > MOST_EXAMINED || told.series as usize >= MOST_TOLD {
                    told.skipped += 1;
                } else if wanted.selector.as_ref().is_none_or(|selector| selector.matches(&series.labels))
                    && let Some(passing) = passing(tenant, record.received_ms, series, &pipeline)
                    && let Ok(data) = serde_json::to_string(&passing)
                {
                    told.series += 1;
                    told.events.push_str(&format!("data: {data}\n\n"));
                }
            };
            if let Err(malformed) = read::for_each_series(meta.protocol, &decoded, visit) {
                // It was checked when it came.
                tracing::warn!(%tenant, position = record.position, %malformed, "a record of the log cannot be read");
            }
        }
    }
    told
}

/// The series as the endpoint gets it; `None` if it does not.
fn passing(tenant: &TenantName, received_ms: i64, series: &Series<'_>, pipeline: &Pipeline) -> Option<Passing> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let labels: Vec<_> = series.labels.iter().map(|label| (text(label.name), text(label.value))).collect();
    let labels = if pipeline.is_empty() { labels } else { pipeline.explain(&labels).labels? };
    let samples = series.samples.iter().map(|sample| (sample.timestamp, value(sample.value)));
    let histograms = series.histograms.iter().map(|histogram| PassingHistogram {
        timestamp: histogram.timestamp,
        schema: histogram.schema,
        count: match histogram.count {
            Some(Count::Int(count)) => count.to_string(),
            Some(Count::Float(count)) => value(count),
            None => "0".to_owned(),
        },
        sum: value(histogram.sum),
    });
    let (samples, histograms): (Vec<_>, Vec<_>) =
        (samples.take(MOST_POINTS).collect(), histograms.take(MOST_POINTS).collect());
    let all = series.samples.len() + series.histograms.len();
    let more = all - samples.len() - histograms.len();
    let exemplars = series.exemplars.len();
    let (tenant, series) = (tenant.to_string(), series_text::format(&labels));
    Some(Passing { tenant, received_ms, series, samples, histograms, exemplars, more })
}

/// A number as Prometheus' API writes it, and the marker of a series' end by name.
fn value(value: f64) -> String {
    const STALE: u64 = 0x7ff0_0000_0000_0002;
    match value {
        _ if value.to_bits() == STALE => "stale".to_owned(),
        _ if value.is_nan() => "NaN".to_owned(),
        f64::INFINITY => "+Inf".to_owned(),
        f64::NEG_INFINITY => "-Inf".to_owned(),
        value => value.to_string(),
    }
}

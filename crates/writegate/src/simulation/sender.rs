//! A sender of the simulation: like Prometheus it sends a series in order, each request until it is answered for good, and
//! the next one only then. Remembers what was acknowledged.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use http::request::Parts;
use http::{Method, Request, StatusCode};
use remote_write::compression::Compressor;
use remote_write::model::{Count, Exemplar, Histogram, Label, Sample, Series, Span};
use remote_write::{Compression, Protocol, encode, model};
use writegate_config::TenantName;

use super::life::Door;
use super::points::{Id, Key, Kind, Point, Points, for_each_run};

/// What a sender sends, for its whole life.
#[derive(Clone, Debug)]
pub(super) struct Habit {
    pub(super) tenant: String,
    /// Of all senders.
    pub(super) number: u32,
    pub(super) protocol: Protocol,
    pub(super) compression: Compression,
    pub(super) series: u32,
    /// Between two requests.
    pub(super) pause: Duration,
    /// One request of so many has 12,000 samples.
    pub(super) large_one_in: Option<u32>,
    /// What the label `bad` of the first series says, if it has one.
    pub(super) bad: Option<String>,
    pub(super) histograms: bool,
    pub(super) exemplars: bool,
    /// Whether the second series changes a label from request to request.
    pub(super) volatile: bool,
    /// Whether each request has series that none had before: nothing must wait for an earlier one then.
    pub(super) churns: bool,
}

/// A sender outlives the gateway's processes.
pub(super) struct Sender {
    habit: Habit,
    rng: Rng,
    /// What each of its requests begins with.
    head: Arc<Parts>,
    compressor: Compressor,
    /// The last timestamp that was used, of all series.
    clock_ms: i64,
    requests: u32,
    /// Made, and not answered for good.
    open: Option<Arc<Made>>,
    memory: Arc<Mutex<Memory>>,
}

/// What senders know of a tenant's data.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) acknowledged: Points,
    /// Acknowledged or not: nothing else may ever arrive.
    pub(super) sent: Points,
    pub(super) tally: BTreeMap<&'static str, u64>,
}

/// A request, to be sent as often as needed.
#[derive(Debug)]
struct Made {
    body: Bytes,
    /// By series and kind.
    points: Vec<(Key, Vec<Point>)>,
}

impl Sender {
    pub(super) fn new(habit: Habit, seed: u64, memory: Arc<Mutex<Memory>>) -> Self {
        Self {
            head: Arc::new(head(&habit)),
            habit,
            rng: Rng::with_seed(seed),
            compressor: Compressor::new(),
            clock_ms: 1_700_000_000_000,
            requests: 0,
            open: None,
            memory,
        }
    }

    /// Sends through a gateway's door until told to end.
    pub(super) async fn run(&mut self, door: &Door) {
        let Ok(tenant) = TenantName::new(&self.habit.tenant) else { return };
        while self.open.is_some() || !door.ends_sending() {
            let made = match self.open.take() {
                Some(open) => open,
                None => Arc::new(self.make()),
            };
            // Until there is an answer it may have been stored, or not.
            self.open = Some(Arc::clone(&made));
            let status = door.push(tenant.clone(), &self.head, made.body.clone()).await;
            match status {
                StatusCode::NO_CONTENT => {
                    let mut memory = self.memory.lock().unwrap();
                    *memory.tally.entry("acknowledged").or_default() += 1;
                    made.points.iter().for_each(|(key, points)| memory.acknowledged.extend(*key, points));
                    self.open = None;
                }
                StatusCode::SERVICE_UNAVAILABLE => {
                    *self.memory.lock().unwrap().tally.entry("refused with 503").or_default() += 1;
                    tokio::time::sleep(Duration::from_millis(self.rng.u64(30..5_000))).await;
                }
                other => panic!("a valid request was answered {other}"),
            }
            tokio::time::sleep(self.habit.pause.mul_f64(0.5 + self.rng.f64())).await;
        }
    }

    fn make(&mut self) -> Made {
        self.requests += 1;
        let large = self.habit.large_one_in.is_some_and(|one_in| self.requests.is_multiple_of(one_in));
        let each = if large { 12_000 / i64::from(self.habit.series) + 1 } else { self.rng.i64(1..4) };
        let first = self.clock_ms + self.rng.i64(1..1_000);
        self.clock_ms = first + each;
        let mut ids = Vec::new();
        for number in 0..self.habit.series {
            // Not all of them in every request.
            if large || number == 0 || self.rng.u8(0..4) > 0 {
                let generation = if self.habit.churns { self.requests } else { 0 };
                ids.push((number, Id { sender: self.habit.number, generation, number }.to_string()));
            }
        }
        let trace = [Label { name: b"trace_id", value: b"4bf92f3577b34da6" }];
        let series: Vec<Series<'_>> = ids
            .iter()
            .map(|(number, id)| {
                let value = |at: i64| f64::from(*number) + (at - first) as f64 / 16.0;
                let is_histogram = self.habit.histograms && number % 5 == 2;
                let times = first..first + each;
                let exemplar = |timestamp| Exemplar {
                    labels: trace.to_vec(),
                    value: value(timestamp),
                    timestamp,
                    ..Exemplar::default()
                };
                Series {
                    labels: self.labels(*number, id),
                    samples: if is_histogram {
                        Vec::new()
                    } else {
                        times
                            .clone()
                            .map(|timestamp| Sample { value: value(timestamp), timestamp, start_timestamp: 0 })
                            .collect()
                    },
                    histograms: if is_histogram { times.map(histogram).collect() } else { Vec::new() },
                    exemplars: if self.habit.exemplars && number % 5 == 3 { vec![exemplar(first)] } else { Vec::new() },
                    ..Series::default()
                }
            })
            .collect();
        let mut points = Vec::with_capacity(series.len());
        for series in &series {
            for_each_run(series, |key, run| points.push((key, run.collect::<Vec<_>>())));
        }
        let request = model::Request { series, metadata: Vec::new() };
        let (mut raw, mut body) = (Vec::new(), Vec::new());
        match self.habit.protocol {
            Protocol::V1 => encode::encode_v1(&request, &mut raw),
            Protocol::V2 => encode::encode_v2(&request, &mut raw),
        }
        self.compressor.compress(self.habit.compression, &raw, &mut body).expect("a body");
        let mut memory = self.memory.lock().unwrap();
        points.iter().for_each(|(key, points)| memory.sent.extend(*key, points));
        let of_kind = |kind| points.iter().filter(|(key, _)| key.kind == kind).count();
        let mut count = |what, how_many: usize| *memory.tally.entry(what).or_default() += how_many as u64;
        count("large requests", usize::from(large));
        count("histograms", of_kind(Kind::Histogram));
        count("exemplars", of_kind(Kind::Exemplar));
        Made { body: Bytes::from(body), points }
    }

    /// Sorted by name, as they must be.
    fn labels<'l>(&'l self, number: u32, id: &'l str) -> Vec<Label<'l>> {
        let Habit { tenant, bad, volatile, .. } = &self.habit;
        let label = |name: &'static str, value: &'l str| Label { name: name.as_bytes(), value: value.as_bytes() };
        let mut labels = Vec::with_capacity(6);
        labels.push(label("__name__", "simulated_total"));
        if let Some(bad) = bad.as_ref().filter(|_| number == 0) {
            labels.push(label("bad", bad));
        }
        if number % 7 == 6 {
            labels.push(label("drop", "me"));
        }
        labels.push(label("id", id));
        labels.push(label("tenant", tenant));
        if *volatile && number == 1 {
            labels.push(label("volatile", ["0", "1", "2"][self.requests as usize % 3]));
        }
        labels
    }
}

fn head(habit: &Habit) -> Parts {
    let content_type = match habit.protocol {
        Protocol::V1 => "application/x-protobuf",
        Protocol::V2 => "application/x-protobuf;proto=io.prometheus.write.v2.Request",
    };
    let encoding = match habit.compression {
        Compression::Snappy => "snappy",
        Compression::Zstd => "zstd",
    };
    let head = Request::builder().method(Method::POST).uri("/api/v1/write");
    let head = head.header("content-type", content_type).header("content-encoding", encoding);
    head.body(()).expect("a head").into_parts().0
}

/// A histogram that says when it is from.
fn histogram(timestamp: i64) -> Histogram {
    let count = timestamp.unsigned_abs() % 1_000 + 2;
    Histogram {
        count: Some(Count::Int(count)),
        sum: 4.5,
        zero_count: Some(Count::Int(count - 2)),
        zero_threshold: 0.001,
        positive_spans: vec![Span { offset: 0, length: 2 }],
        positive_deltas: vec![1, 0],
        timestamp,
        ..Histogram::default()
    }
}

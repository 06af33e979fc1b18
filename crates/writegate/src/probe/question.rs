//! The requests of a probe, as bytes. One series has one purpose, so that what is found about one says nothing wrong
//! about another.

use bytes::Bytes;
use remote_write::compression::Compressor;
use remote_write::encode::{encode_v1, encode_v2};
use remote_write::model::{Count, Exemplar, Histogram, Label, Metadata, Request, Sample, Series, Span};
use remote_write::wire::put_varint;
use remote_write::{Compression, Counts, Protocol};

use super::facts::Step;
use crate::delivery::Payload;

/// The name of every series that a probe writes.
pub(crate) const NAME: &str = "writegate_probe";
const HELP: &[u8] = b"Written by `writegate probe`; of no use afterwards.";
const GAUGE: i32 = 2;

/// More than the 32 MiB that Prometheus and VictoriaMetrics take.
const CLAIMED_BYTES: u64 = 33 << 20;

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
/// How much older than the newest sample of its series one is.
pub(super) const OLDER_BY: [(Step, i64, &str); 3] = [
    (Step::OlderBySecond, SECOND, "1s"),
    (Step::OlderByMinutes, 10 * MINUTE, "10m"),
    (Step::OlderByHours, 2 * HOUR, "2h"),
];
/// How old the first sample of a series is.
pub(super) const OLD: [(Step, i64, &str); 2] = [(Step::HoursOld, 2 * HOUR, "2h"), (Step::DayOld, 24 * HOUR, "1d")];

/// Makes requests.
pub(super) struct Questions {
    /// The `probe` label: of this probe alone.
    id: String,
    now_ms: i64,
    /// As the endpoint's configuration adds one.
    tenant_label: Option<(String, String)>,
    /// What is not about a protocol is asked in this one.
    protocol: Protocol,
}

impl Questions {
    pub(super) fn new(id: String, now_ms: i64, tenant_label: Option<(String, String)>) -> Self {
        Self { id, now_ms, tenant_label, protocol: Protocol::V1 }
    }

    /// For an endpoint that takes nothing else.
    pub(super) fn speak_v2(&mut self, only: bool) {
        self.protocol = if only { Protocol::V2 } else { Protocol::V1 };
    }

    /// What finds the series that were written.
    pub(super) fn selector(&self) -> String {
        format!("{NAME}{{probe=\"{}\"}}", self.id)
    }

    /// The request of a step that is a push.
    pub(super) fn of(&self, step: Step) -> Payload {
        let now = self.now_ms;
        let one = |value: f64, age_ms: i64| Sample { value, timestamp: now - age_ms, start_timestamp: 0 };
        let (request, protocol) = match step {
            Step::Claim => return claim(),
            Step::Hello | Step::Http2 | Step::EmptyZstd | Step::VmVersion | Step::BuildInfo => {
                (Request::default(), Protocol::V1)
            }
            Step::EmptyV2 => (Request::default(), Protocol::V2),
            Step::V1 => (self.series("v1").with(one(1.0, 0)).alone(), Protocol::V1),
            Step::Zstd => (self.series("zstd").with(one(1.0, 0)).alone(), Protocol::V1),
            Step::V2 => {
                let described = Some(Metadata { kind: GAUGE, family: b"", help: HELP, unit: b"" });
                let series = Series { metadata: described, ..self.series("v2").with(one(1.0, 0)) };
                (series.alone(), Protocol::V2)
            }
            Step::Metadata => {
                let metadata = vec![Metadata { kind: GAUGE, family: NAME.as_bytes(), help: HELP, unit: b"" }];
                (Request { series: Vec::new(), metadata }, Protocol::V1)
            }
            Step::HistogramV1 => (self.histogram("histogram_v1", exponential(now)), Protocol::V1),
            Step::HistogramV2 => (self.histogram("histogram_v2", exponential(now)), Protocol::V2),
            Step::CustomV2 => (self.histogram("custom_buckets_v2", custom_buckets(now)), Protocol::V2),
            Step::ExemplarV1 => (self.exemplar("exemplar_v1", one(1.0, 0)), Protocol::V1),
            Step::ExemplarV2 => (self.exemplar("exemplar_v2", one(1.0, 0)), Protocol::V2),
            Step::Repeated => {
                let mut twice = self.series("twice").with(one(1.0, 0));
                twice.labels.insert(1, Label { name: b"check", value: b"again" });
                (request([self.series("beside_twice").with(one(1.0, 0)), twice]), Protocol::V1)
            }
            Step::RepeatedAgain => (self.series("beside_twice").with(one(2.0, 0)).alone(), Protocol::V1),
            Step::Nameless => {
                let mut nameless = self.series("nameless").with(one(1.0, 0));
                nameless.labels.retain(|label| label.name != b"__name__");
                (request([self.series("beside_nameless").with(one(1.0, 0)), nameless]), Protocol::V2)
            }
            Step::Newest | Step::Repeat => (self.series("order").with(one(1.0, 0)).alone(), self.protocol),
            Step::Conflict => (self.series("order").with(one(2.0, 0)).alone(), self.protocol),
            Step::OlderBySecond | Step::OlderByMinutes | Step::OlderByHours => {
                (self.series("order").with(one(0.0, age(&OLDER_BY, step))).alone(), self.protocol)
            }
            Step::HoursOld => (self.series("hours_old").with(one(1.0, age(&OLD, step))).alone(), self.protocol),
            Step::DayOld => (self.series("day_old").with(one(1.0, age(&OLD, step))).alone(), self.protocol),
            Step::Mixed => {
                let conflict = self.series("order").with(one(3.0, 0));
                (request([self.series("beside_conflict").with(one(1.0, 0)), conflict]), self.protocol)
            }
            Step::MixedAgain => (self.series("beside_conflict").with(one(2.0, 0)).alone(), self.protocol),
        };
        let compression = match step {
            Step::Zstd | Step::EmptyZstd => Compression::Zstd,
            _ => Compression::Snappy,
        };
        payload(&request, protocol, compression)
    }

    fn series(&self, check: &'static str) -> Series<'_> {
        let mut labels = vec![
            Label { name: b"__name__", value: NAME.as_bytes() },
            Label { name: b"check", value: check.as_bytes() },
            Label { name: b"probe", value: self.id.as_bytes() },
        ];
        if let Some((name, value)) = &self.tenant_label {
            labels.retain(|label| label.name != name.as_bytes());
            labels.push(Label { name: name.as_bytes(), value: value.as_bytes() });
            labels.sort_unstable();
        }
        Series { labels, ..Series::default() }
    }

    fn histogram(&self, check: &'static str, histogram: Histogram) -> Request<'_> {
        request([Series { histograms: vec![histogram], ..self.series(check) }])
    }

    fn exemplar(&self, check: &'static str, sample: Sample) -> Request<'_> {
        let labels = vec![Label { name: b"trace_id", value: b"00000000000000000000000000000001" }];
        let exemplar = Exemplar { labels, value: 1.0, timestamp: sample.timestamp, bad_reference: false };
        request([Series { exemplars: vec![exemplar], ..self.series(check) }.with(sample)])
    }
}

trait With<'a> {
    fn with(self, sample: Sample) -> Self;
    fn alone(self) -> Request<'a>;
}

impl<'a> With<'a> for Series<'a> {
    fn with(mut self, sample: Sample) -> Self {
        self.samples.push(sample);
        self
    }

    fn alone(self) -> Request<'a> {
        request([self])
    }
}

fn request<'a>(series: impl IntoIterator<Item = Series<'a>>) -> Request<'a> {
    Request { series: series.into_iter().collect(), metadata: Vec::new() }
}

fn age(ages: &[(Step, i64, &str)], of: Step) -> i64 {
    ages.iter().find_map(|(step, age, _)| (*step == of).then_some(*age)).unwrap_or_default()
}

/// Three observations in two buckets.
fn exponential(timestamp: i64) -> Histogram {
    Histogram {
        count: Some(Count::Int(3)),
        sum: 4.0,
        zero_threshold: 1e-128,
        zero_count: Some(Count::Int(0)),
        positive_spans: vec![Span { offset: 0, length: 2 }],
        positive_deltas: vec![2, -1],
        timestamp,
        ..Histogram::default()
    }
}

/// The same with bounds of its own (schema -53, remote write 2.0 "Native Histograms").
fn custom_buckets(timestamp: i64) -> Histogram {
    Histogram {
        count: Some(Count::Int(3)),
        sum: 4.0,
        schema: -53,
        positive_spans: vec![Span { offset: 0, length: 2 }],
        positive_deltas: vec![2, -1],
        custom_values: vec![1.0],
        timestamp,
        ..Histogram::default()
    }
}

fn payload(request: &Request<'_>, protocol: Protocol, compression: Compression) -> Payload {
    let (mut raw, mut body) = (Vec::new(), Vec::new());
    match protocol {
        Protocol::V1 => encode_v1(request, &mut raw),
        Protocol::V2 => encode_v2(request, &mut raw),
    }
    // A few hundred bytes are no trouble for either; the receiver would say what is wrong with none.
    if Compressor::new().compress(compression, &raw, &mut body).is_err() {
        body.clear();
    }
    let counts = request.series.iter().fold(Counts::default(), |sum, series| {
        sum + Counts {
            samples: series.samples.len() as u64,
            histograms: series.histograms.len() as u64,
            exemplars: series.exemplars.len() as u64,
        }
    });
    Payload {
        chunks: vec![Bytes::from(body)],
        protocol,
        compression,
        counts,
        families: u32::from(!request.metadata.is_empty()),
        decoded_bytes: raw.len() as u64,
    }
}

/// A snappy block whose first bytes, the length of what it holds, say more than it holds.
fn claim() -> Payload {
    let mut body = Vec::new();
    put_varint(&mut body, CLAIMED_BYTES);
    // A literal of one byte.
    body.extend_from_slice(&[0, 0]);
    Payload {
        chunks: vec![Bytes::from(body)],
        protocol: Protocol::V1,
        compression: Compression::Snappy,
        counts: Counts::default(),
        families: 0,
        decoded_bytes: CLAIMED_BYTES,
    }
}

/// Where a step that is a GET leads, for an endpoint at `path_and_query`; `None` if nobody knows.
pub(super) fn place(step: Step, path_and_query: &str) -> Option<String> {
    const INFO: &str = "api/v1/status/buildinfo";
    let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
    match step {
        // VictoriaMetrics' senders ask so whether its own protocol is spoken.
        Step::VmVersion if query.is_empty() => Some(format!("{path}?get_vm_proto_version=1")),
        Step::VmVersion => Some(format!("{path}?{query}&get_vm_proto_version=1")),
        Step::BuildInfo => {
            let path = path.trim_end_matches('/');
            let beside = |end: &str| path.strip_suffix(end);
            beside("/api/v1/write")
                .map(|at| format!("{at}/{INFO}"))
                // Mimir and Cortex serve Prometheus' queries below a prefix.
                .or_else(|| beside("/api/v1/push").map(|at| format!("{at}/prometheus/{INFO}")))
                .or_else(|| beside("/api/prom/push").map(|at| format!("{at}/api/prom/{INFO}")))
        }
        _ => None,
    }
}

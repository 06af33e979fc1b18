//! Write requests as values and as bytes, the wrong ones too. The encoder is the tests' own: the gateway's must not be
//! tested against itself.
//!
//! Field numbers: `prometheus.WriteRequest` (remote write 1.0) and `io.prometheus.write.v2.Request` (2.0-rc.4).

use remote_write::model::{Count, Exemplar, Histogram, Label, Metadata, Request, Sample, Series, Span};
use remote_write::wire::{WireType, put_tag, put_varint_field};
use remote_write::wire::{begin_message, end_message, put_fixed64, put_len_delimited, put_message, put_varint, zigzag};
use remote_write::{Counts, Protocol};
use testkit::ledger::{Point, for_each_point};

/// The float that ends a series (remote write 1.0, "Stale Markers").
pub(crate) const STALE: u64 = 0x7ff0_0000_0000_0002;

/// A series with these labels, in this order, and no data.
pub(crate) fn series<'a>(labels: &[(&'a str, &'a str)]) -> Series<'a> {
    let label = |(name, value): &(&'a str, &'a str)| Label { name: name.as_bytes(), value: value.as_bytes() };
    Series { labels: labels.iter().map(label).collect(), ..Series::default() }
}

/// `name` with one sample of value 1.
pub(crate) fn sample_of(name: &str, timestamp: i64) -> Series<'_> {
    series(&[("__name__", name), ("job", "test")]).sample(1.0, timestamp)
}

/// A request of these series.
pub(crate) fn request<'a>(series: impl IntoIterator<Item = Series<'a>>) -> Request<'a> {
    Request { series: series.into_iter().collect(), metadata: Vec::new() }
}

/// Adds data to a series.
pub(crate) trait With: Sized {
    fn sample(self, value: f64, timestamp: i64) -> Self;
    fn histogram(self, histogram: Histogram, timestamp: i64) -> Self;
    fn exemplar(self, value: f64, timestamp: i64) -> Self;
    fn described(self, kind: i32, help: &'static str, unit: &'static str) -> Self;
}

impl With for Series<'_> {
    fn sample(mut self, value: f64, timestamp: i64) -> Self {
        self.samples.push(Sample { value, timestamp, start_timestamp: 0 });
        self
    }

    fn histogram(mut self, histogram: Histogram, timestamp: i64) -> Self {
        self.histograms.push(Histogram { timestamp, ..histogram });
        self
    }

    fn exemplar(mut self, value: f64, timestamp: i64) -> Self {
        let labels = vec![Label { name: b"trace_id", value: b"0af7651916cd43dd8448eb211c80319c" }];
        self.exemplars.push(Exemplar { labels, value, timestamp, bad_reference: false });
        self
    }

    fn described(mut self, kind: i32, help: &'static str, unit: &'static str) -> Self {
        self.metadata = Some(Metadata { kind, family: b"", help: help.as_bytes(), unit: unit.as_bytes() });
        self
    }
}

/// A valid integer histogram with positive, negative and zero buckets.
pub(crate) fn integer_histogram() -> Histogram {
    Histogram {
        count: Some(Count::Int(12)),
        sum: 18.4,
        schema: 1,
        zero_threshold: 1e-128,
        zero_count: Some(Count::Int(2)),
        negative_spans: vec![Span { offset: 0, length: 2 }, Span { offset: 1, length: 1 }],
        negative_deltas: vec![1, 1, -1],
        positive_spans: vec![Span { offset: -3, length: 1 }, Span { offset: 2, length: 2 }],
        positive_deltas: vec![3, -1, -1],
        reset_hint: 2,
        ..Histogram::default()
    }
}

/// A valid float histogram; its sum is the smallest subnormal.
pub(crate) fn float_histogram() -> Histogram {
    Histogram {
        count: Some(Count::Float(4.5)),
        sum: f64::from_bits(1),
        schema: -4,
        zero_threshold: 0.001,
        zero_count: Some(Count::Float(0.5)),
        positive_spans: vec![Span { offset: 0, length: 2 }],
        positive_counts: vec![1.5, 2.5],
        reset_hint: 3,
        ..Histogram::default()
    }
}

/// A valid histogram with custom buckets (schema −53).
pub(crate) fn custom_histogram() -> Histogram {
    Histogram {
        count: Some(Count::Int(6)),
        sum: 7.5,
        schema: -53,
        positive_spans: vec![Span { offset: 0, length: 3 }],
        positive_deltas: vec![1, 1, 1],
        custom_values: vec![0.5, 1.0],
        ..Histogram::default()
    }
}

/// Every kind of exponential histogram, exemplar and float that both protocols can express.
pub(crate) fn everything(timestamp: i64) -> Request<'static> {
    let odd = [f64::from_bits(STALE), f64::from_bits(0x7ff8_0000_0000_0001), f64::INFINITY, -0.0, f64::from_bits(1)];
    let names = ["stale", "nan", "infinite", "minus_zero", "subnormal"];
    let floats = names.into_iter().zip(odd).map(|(name, value)| {
        series(&[("__name__", "odd_value"), ("kind", name), ("utf8", "Zürich \n \u{1f980}")]).sample(value, timestamp)
    });
    let others = [
        series(&[("__name__", "requests_total"), ("code", "200")]).sample(3.0, timestamp).exemplar(0.25, timestamp - 1),
        series(&[("__name__", "integer_seconds")]).histogram(integer_histogram(), timestamp).exemplar(-1.5, timestamp),
        series(&[("__name__", "float_seconds")]).histogram(float_histogram(), timestamp),
        series(&[("__name__", "stale_seconds")])
            .histogram(Histogram { sum: f64::from_bits(STALE), ..Histogram::default() }, timestamp),
    ];
    request(floats.chain(others))
}

/// The points of a request, in its order.
pub(crate) fn points(request: &Request<'_>) -> Vec<Point> {
    let mut points = Vec::new();
    for_each_point(request, |point| points.push(point));
    points
}

/// How many points a request has.
pub(crate) fn counts(request: &Request<'_>) -> Counts {
    request.series.iter().fold(Counts::default(), |sum, series| {
        sum + Counts {
            samples: series.samples.len() as u64,
            histograms: series.histograms.len() as u64,
            exemplars: series.exemplars.len() as u64,
        }
    })
}

/// The uncompressed bytes of a request.
pub(crate) fn encode(protocol: Protocol, request: &Request<'_>) -> Vec<u8> {
    match protocol {
        Protocol::V1 => encode_v1(request),
        Protocol::V2 => WireV2::from(request).encode(),
    }
}

fn encode_v1(request: &Request<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    for series in &request.series {
        put_message(&mut out, 1, |out| {
            put_labels(out, 1, &series.labels);
            for sample in &series.samples {
                put_message(out, 2, |out| put_sample(out, sample));
            }
            for exemplar in &series.exemplars {
                put_message(out, 3, |out| {
                    put_labels(out, 1, &exemplar.labels);
                    put_fixed64(out, 2, exemplar.value.to_bits());
                    put_varint_field(out, 3, exemplar.timestamp.cast_unsigned());
                });
            }
            for histogram in &series.histograms {
                put_message(out, 4, |out| put_histogram(out, histogram));
            }
        });
    }
    for metadata in &request.metadata {
        put_message(&mut out, 3, |out| put_family(out, metadata));
    }
    out
}

/// A v1 `MetricMetadata`.
pub(crate) fn put_family(out: &mut Vec<u8>, metadata: &Metadata<'_>) {
    put_varint_field(out, 1, i64::from(metadata.kind).cast_unsigned());
    put_len_delimited(out, 2, metadata.family);
    put_len_delimited(out, 4, metadata.help);
    if !metadata.unit.is_empty() {
        put_len_delimited(out, 5, metadata.unit);
    }
}

fn put_labels(out: &mut Vec<u8>, field: u32, labels: &[Label<'_>]) {
    for label in labels {
        put_message(out, field, |out| {
            put_len_delimited(out, 1, label.name);
            put_len_delimited(out, 2, label.value);
        });
    }
}

fn put_sample(out: &mut Vec<u8>, sample: &Sample) {
    put_fixed64(out, 1, sample.value.to_bits());
    put_varint_field(out, 2, sample.timestamp.cast_unsigned());
    if sample.start_timestamp != 0 {
        put_varint_field(out, 3, sample.start_timestamp.cast_unsigned());
    }
}

fn put_histogram(out: &mut Vec<u8>, histogram: &Histogram) {
    put_count(out, 1, histogram.count);
    put_fixed64(out, 3, histogram.sum.to_bits());
    put_varint_field(out, 4, u64::from(zigzag(histogram.schema.into()) as u32));
    put_fixed64(out, 5, histogram.zero_threshold.to_bits());
    put_count(out, 6, histogram.zero_count);
    put_buckets(out, 8, &histogram.negative_spans, &histogram.negative_deltas, &histogram.negative_counts);
    put_buckets(out, 11, &histogram.positive_spans, &histogram.positive_deltas, &histogram.positive_counts);
    put_varint_field(out, 14, i64::from(histogram.reset_hint).cast_unsigned());
    put_varint_field(out, 15, histogram.timestamp.cast_unsigned());
    put_doubles(out, 16, &histogram.custom_values);
    if histogram.start_timestamp != 0 {
        put_varint_field(out, 17, histogram.start_timestamp.cast_unsigned());
    }
}

fn put_count(out: &mut Vec<u8>, field: u32, count: Option<Count>) {
    match count {
        None => {}
        Some(Count::Int(count)) => put_varint_field(out, field, count),
        Some(Count::Float(count)) => put_fixed64(out, field + 1, count.to_bits()),
    }
}

/// Spans, deltas and counts have consecutive field numbers.
fn put_buckets(out: &mut Vec<u8>, field: u32, spans: &[Span], deltas: &[i64], counts: &[f64]) {
    for span in spans {
        put_message(out, field, |out| {
            put_varint_field(out, 1, u64::from(zigzag(span.offset.into()) as u32));
            put_varint_field(out, 2, span.length.into());
        });
    }
    if !deltas.is_empty() {
        put_message(out, field + 1, |out| deltas.iter().for_each(|delta| put_varint(out, zigzag(*delta))));
    }
    put_doubles(out, field + 2, counts);
}

fn put_doubles(out: &mut Vec<u8>, field: u32, doubles: &[f64]) {
    if !doubles.is_empty() {
        put_message(out, field, |out| {
            doubles.iter().for_each(|double| out.extend_from_slice(&double.to_bits().to_le_bytes()));
        });
    }
}

/// A v2 request as it stands on the wire, references and all, so that a test can break it.
#[derive(Clone, Debug, Default)]
pub(crate) struct WireV2 {
    pub(crate) symbols: Vec<Vec<u8>>,
    pub(crate) series: Vec<SeriesV2>,
}

/// One v2 `TimeSeries`.
#[derive(Clone, Debug, Default)]
pub(crate) struct SeriesV2 {
    pub(crate) labels: Vec<u32>,
    /// One field per reference instead of one for all: proto3 readers take both.
    pub(crate) unpacked: bool,
    pub(crate) samples: Vec<Sample>,
    pub(crate) histograms: Vec<Histogram>,
    /// References, value, timestamp.
    pub(crate) exemplars: Vec<(Vec<u32>, f64, i64)>,
    /// Type, help and unit.
    pub(crate) metadata: Option<(i32, u32, u32)>,
    /// Field 6 of release candidates before the fourth.
    pub(crate) created_timestamp: Option<i64>,
}

impl From<&Request<'_>> for WireV2 {
    fn from(request: &Request<'_>) -> Self {
        let mut wire = Self { symbols: vec![Vec::new()], series: Vec::new() };
        for series in &request.series {
            let labels = wire.references(&series.labels);
            let exemplars = series.exemplars.iter();
            let exemplars = exemplars.map(|e| (wire.references(&e.labels), e.value, e.timestamp)).collect();
            let metadata =
                series.metadata.map(|metadata| (metadata.kind, wire.symbol(metadata.help), wire.symbol(metadata.unit)));
            let (samples, histograms) = (series.samples.clone(), series.histograms.clone());
            wire.series.push(SeriesV2 { labels, samples, histograms, exemplars, metadata, ..SeriesV2::default() });
        }
        wire
    }
}

impl WireV2 {
    /// The place of a symbol, which is added if it is new.
    pub(crate) fn symbol(&mut self, symbol: &[u8]) -> u32 {
        let place = self.symbols.iter().position(|known| known == symbol).unwrap_or_else(|| {
            self.symbols.push(symbol.to_vec());
            self.symbols.len() - 1
        });
        place as u32
    }

    fn references(&mut self, labels: &[Label<'_>]) -> Vec<u32> {
        labels.iter().flat_map(|label| [self.symbol(label.name), self.symbol(label.value)]).collect()
    }

    /// The uncompressed bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for symbol in &self.symbols {
            put_len_delimited(&mut out, 4, symbol);
        }
        for series in &self.series {
            put_message(&mut out, 5, |out| series.put(out));
        }
        out
    }
}

impl SeriesV2 {
    fn put(&self, out: &mut Vec<u8>) {
        if self.unpacked {
            self.labels.iter().for_each(|reference| put_varint_field(out, 1, (*reference).into()));
        } else {
            put_references(out, &self.labels);
        }
        for sample in &self.samples {
            put_message(out, 2, |out| put_sample(out, sample));
        }
        for histogram in &self.histograms {
            put_message(out, 3, |out| put_histogram(out, histogram));
        }
        for (references, value, timestamp) in &self.exemplars {
            put_message(out, 4, |out| {
                put_references(out, references);
                put_fixed64(out, 2, value.to_bits());
                put_varint_field(out, 3, timestamp.cast_unsigned());
            });
        }
        if let Some((kind, help, unit)) = self.metadata {
            put_message(out, 5, |out| {
                put_varint_field(out, 1, i64::from(kind).cast_unsigned());
                put_varint_field(out, 3, help.into());
                put_varint_field(out, 4, unit.into());
            });
        }
        if let Some(created) = self.created_timestamp {
            put_varint_field(out, 6, created.cast_unsigned());
        }
    }
}

fn put_references(out: &mut Vec<u8>, references: &[u32]) {
    let start = begin_message(out, 1);
    references.iter().for_each(|reference| put_varint(out, (*reference).into()));
    end_message(out, start);
}

/// A field that no version of the protocol has, holding a nested message with a group in it.
pub(crate) fn put_unknown(out: &mut Vec<u8>) {
    put_varint_field(out, 1999, 7);
    put_message(out, 2000, |out| put_fixed64(out, 1, 1));
    put_tag(out, 2001, WireType::StartGroup);
    put_varint_field(out, 1, 1);
    put_tag(out, 2001, WireType::EndGroup);
}

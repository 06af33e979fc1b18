//! The messages of both protocols as another protobuf library reads and writes them, and their values in our terms.

use prost::Message;
use remote_write::Protocol;
use remote_write::model::{self, Request};

/// remote write 1.0.
pub(crate) mod v1 {
    pub(crate) use super::V1Histogram as Histogram;

    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub(crate) struct Sample {
        #[prost(double, tag = "1")]
        pub(crate) value: f64,
        #[prost(int64, tag = "2")]
        pub(crate) timestamp: i64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct WriteRequest {
        #[prost(message, repeated, tag = "1")]
        pub(crate) timeseries: Vec<TimeSeries>,
        #[prost(message, repeated, tag = "3")]
        pub(crate) metadata: Vec<MetricMetadata>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct TimeSeries {
        #[prost(message, repeated, tag = "1")]
        pub(crate) labels: Vec<Label>,
        #[prost(message, repeated, tag = "2")]
        pub(crate) samples: Vec<Sample>,
        #[prost(message, repeated, tag = "3")]
        pub(crate) exemplars: Vec<Exemplar>,
        #[prost(message, repeated, tag = "4")]
        pub(crate) histograms: Vec<Histogram>,
    }

    /// Bytes where the schema says string, so that invalid UTF-8 can be written.
    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Label {
        #[prost(bytes = "vec", tag = "1")]
        pub(crate) name: Vec<u8>,
        #[prost(bytes = "vec", tag = "2")]
        pub(crate) value: Vec<u8>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Exemplar {
        #[prost(message, repeated, tag = "1")]
        pub(crate) labels: Vec<Label>,
        #[prost(double, tag = "2")]
        pub(crate) value: f64,
        #[prost(int64, tag = "3")]
        pub(crate) timestamp: i64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct MetricMetadata {
        #[prost(int32, tag = "1")]
        pub(crate) kind: i32,
        #[prost(bytes = "vec", tag = "2")]
        pub(crate) family: Vec<u8>,
        #[prost(bytes = "vec", tag = "4")]
        pub(crate) help: Vec<u8>,
        #[prost(bytes = "vec", tag = "5")]
        pub(crate) unit: Vec<u8>,
    }
}

/// remote write 2.0, with the field 6 that rc.4 removed.
pub(crate) mod v2 {
    pub(crate) use super::BucketHistogram as Histogram;

    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub(crate) struct Sample {
        #[prost(double, tag = "1")]
        pub(crate) value: f64,
        #[prost(int64, tag = "2")]
        pub(crate) timestamp: i64,
        #[prost(int64, tag = "3")]
        pub(crate) start_timestamp: i64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Request {
        #[prost(bytes = "vec", repeated, tag = "4")]
        pub(crate) symbols: Vec<Vec<u8>>,
        #[prost(message, repeated, tag = "5")]
        pub(crate) timeseries: Vec<TimeSeries>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct TimeSeries {
        #[prost(uint32, repeated, tag = "1")]
        pub(crate) labels_refs: Vec<u32>,
        #[prost(message, repeated, tag = "2")]
        pub(crate) samples: Vec<Sample>,
        #[prost(message, repeated, tag = "3")]
        pub(crate) histograms: Vec<Histogram>,
        #[prost(message, repeated, tag = "4")]
        pub(crate) exemplars: Vec<Exemplar>,
        #[prost(message, optional, tag = "5")]
        pub(crate) metadata: Option<Metadata>,
        #[prost(int64, tag = "6")]
        pub(crate) created_timestamp: i64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Exemplar {
        #[prost(uint32, repeated, tag = "1")]
        pub(crate) labels_refs: Vec<u32>,
        #[prost(double, tag = "2")]
        pub(crate) value: f64,
        #[prost(int64, tag = "3")]
        pub(crate) timestamp: i64,
    }

    #[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
    pub(crate) struct Metadata {
        #[prost(int32, tag = "1")]
        pub(crate) kind: i32,
        #[prost(uint32, tag = "3")]
        pub(crate) help_ref: u32,
        #[prost(uint32, tag = "4")]
        pub(crate) unit_ref: u32,
    }
}

/// `Histogram` of either protocol.
macro_rules! histogram {
    ($name:ident, $other:ident $(, $start:ident)?) => {
        #[derive(Clone, PartialEq, prost::Message)]
        pub(crate) struct $name {
            #[prost(oneof = "Count", tags = "1, 2")]
            pub(crate) count: Option<Count>,
            #[prost(double, tag = "3")]
            pub(crate) sum: f64,
            #[prost(sint32, tag = "4")]
            pub(crate) schema: i32,
            #[prost(double, tag = "5")]
            pub(crate) zero_threshold: f64,
            #[prost(oneof = "ZeroCount", tags = "6, 7")]
            pub(crate) zero_count: Option<ZeroCount>,
            #[prost(message, repeated, tag = "8")]
            pub(crate) negative_spans: Vec<Span>,
            #[prost(sint64, repeated, tag = "9")]
            pub(crate) negative_deltas: Vec<i64>,
            #[prost(double, repeated, tag = "10")]
            pub(crate) negative_counts: Vec<f64>,
            #[prost(message, repeated, tag = "11")]
            pub(crate) positive_spans: Vec<Span>,
            #[prost(sint64, repeated, tag = "12")]
            pub(crate) positive_deltas: Vec<i64>,
            #[prost(double, repeated, tag = "13")]
            pub(crate) positive_counts: Vec<f64>,
            #[prost(int32, tag = "14")]
            pub(crate) reset_hint: i32,
            #[prost(int64, tag = "15")]
            pub(crate) timestamp: i64,
            #[prost(double, repeated, tag = "16")]
            pub(crate) custom_values: Vec<f64>,
            $(#[prost(int64, tag = "17")]
            pub(crate) $start: i64,)?
        }

        impl From<$other> for $name {
            fn from(other: $other) -> Self {
                Self {
                    count: other.count,
                    sum: other.sum,
                    schema: other.schema,
                    zero_threshold: other.zero_threshold,
                    zero_count: other.zero_count,
                    negative_spans: other.negative_spans,
                    negative_deltas: other.negative_deltas,
                    negative_counts: other.negative_counts,
                    positive_spans: other.positive_spans,
                    positive_deltas: other.positive_deltas,
                    positive_counts: other.positive_counts,
                    reset_hint: other.reset_hint,
                    timestamp: other.timestamp,
                    custom_values: other.custom_values,
                    $($start: 0,)?
                }
            }
        }
    };
}

histogram!(BucketHistogram, V1Histogram, start_timestamp);
histogram!(V1Histogram, BucketHistogram);

#[derive(Clone, Copy, PartialEq, prost::Oneof)]
pub(crate) enum Count {
    #[prost(uint64, tag = "1")]
    Int(u64),
    #[prost(double, tag = "2")]
    Float(f64),
}

#[derive(Clone, Copy, PartialEq, prost::Oneof)]
pub(crate) enum ZeroCount {
    #[prost(uint64, tag = "6")]
    Int(u64),
    #[prost(double, tag = "7")]
    Float(f64),
}

#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct Span {
    #[prost(sint32, tag = "1")]
    pub(crate) offset: i32,
    #[prost(uint32, tag = "2")]
    pub(crate) length: u32,
}

/// A request as prost sees it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Oracle {
    V1(v1::WriteRequest),
    V2(v2::Request),
}

impl Oracle {
    pub(crate) fn decode(protocol: Protocol, bytes: &[u8]) -> Option<Self> {
        match protocol {
            Protocol::V1 => v1::WriteRequest::decode(bytes).ok().map(Self::V1),
            Protocol::V2 => v2::Request::decode(bytes).ok().map(Self::V2),
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::V1(request) => request.encode_to_vec(),
            Self::V2(request) => request.encode_to_vec(),
        }
    }

    pub(crate) const fn protocol(&self) -> Protocol {
        match self {
            Self::V1(_) => Protocol::V1,
            Self::V2(_) => Protocol::V2,
        }
    }

    pub(crate) fn model(&self) -> Request<'_> {
        match self {
            Self::V1(request) => Request {
                series: request.timeseries.iter().map(v1_series).collect(),
                metadata: request.metadata.iter().map(family).collect(),
            },
            Self::V2(request) => Request {
                series: request.timeseries.iter().map(|series| v2_series(&request.symbols, series)).collect(),
                metadata: Vec::new(),
            },
        }
    }
}

fn family(metadata: &v1::MetricMetadata) -> model::Metadata<'_> {
    let v1::MetricMetadata { kind, family, help, unit } = metadata;
    model::Metadata { kind: *kind, family, help, unit }
}

fn label(label: &v1::Label) -> model::Label<'_> {
    model::Label { name: &label.name, value: &label.value }
}

fn v1_series(series: &v1::TimeSeries) -> model::Series<'_> {
    model::Series {
        labels: series.labels.iter().map(label).collect(),
        samples: series
            .samples
            .iter()
            .map(|sample| model::Sample { value: sample.value, timestamp: sample.timestamp, start_timestamp: 0 })
            .collect(),
        histograms: series.histograms.iter().map(|value| histogram(&value.clone().into(), 0)).collect(),
        exemplars: series
            .exemplars
            .iter()
            .map(|exemplar| model::Exemplar {
                labels: exemplar.labels.iter().map(label).collect(),
                value: exemplar.value,
                timestamp: exemplar.timestamp,
                bad_reference: false,
            })
            .collect(),
        metadata: None,
        bad_reference: false,
    }
}

fn v2_series<'a>(symbols: &'a [Vec<u8>], series: &v2::TimeSeries) -> model::Series<'a> {
    let (labels, mut bad_reference) = resolve(symbols, &series.labels_refs);
    let mut text = |reference: u32| match symbols.get(reference as usize) {
        _ if reference == 0 => &[][..],
        Some(symbol) => symbol,
        None => {
            bad_reference = true;
            &[]
        }
    };
    let metadata = series.metadata.map(|metadata| model::Metadata {
        kind: metadata.kind,
        family: &[],
        help: text(metadata.help_ref),
        unit: text(metadata.unit_ref),
    });
    model::Series {
        labels,
        samples: series
            .samples
            .iter()
            .map(|sample| model::Sample {
                value: sample.value,
                timestamp: sample.timestamp,
                start_timestamp: started(sample.start_timestamp, series.created_timestamp),
            })
            .collect(),
        histograms: series.histograms.iter().map(|value| histogram(value, series.created_timestamp)).collect(),
        exemplars: series
            .exemplars
            .iter()
            .map(|exemplar| {
                let (labels, bad_reference) = resolve(symbols, &exemplar.labels_refs);
                model::Exemplar { labels, value: exemplar.value, timestamp: exemplar.timestamp, bad_reference }
            })
            .collect(),
        metadata,
        bad_reference,
    }
}

fn resolve<'a>(symbols: &'a [Vec<u8>], references: &[u32]) -> (Vec<model::Label<'a>>, bool) {
    let (pairs, rest) = references.as_chunks::<2>();
    let labels: Vec<_> = pairs
        .iter()
        .filter_map(|[name, value]| {
            Some(model::Label { name: symbols.get(*name as usize)?, value: symbols.get(*value as usize)? })
        })
        .collect();
    let bad = labels.len() < pairs.len() || !rest.is_empty();
    (labels, bad)
}

const fn started(own: i64, created: i64) -> i64 {
    if own == 0 { created } else { own }
}

fn histogram(value: &BucketHistogram, created: i64) -> model::Histogram {
    let spans = |spans: &[Span]| {
        spans.iter().map(|span| model::Span { offset: span.offset, length: span.length }).collect::<Vec<_>>()
    };
    model::Histogram {
        count: value.count.map(|count| match count {
            Count::Int(count) => model::Count::Int(count),
            Count::Float(count) => model::Count::Float(count),
        }),
        sum: value.sum,
        schema: value.schema,
        zero_threshold: value.zero_threshold,
        zero_count: value.zero_count.map(|count| match count {
            ZeroCount::Int(count) => model::Count::Int(count),
            ZeroCount::Float(count) => model::Count::Float(count),
        }),
        negative_spans: spans(&value.negative_spans),
        negative_deltas: value.negative_deltas.clone(),
        negative_counts: value.negative_counts.clone(),
        positive_spans: spans(&value.positive_spans),
        positive_deltas: value.positive_deltas.clone(),
        positive_counts: value.positive_counts.clone(),
        reset_hint: value.reset_hint,
        timestamp: value.timestamp,
        custom_values: value.custom_values.clone(),
        start_timestamp: started(value.start_timestamp, created),
    }
}

/// Everything of a request as text, floats also by their bits: what two requests are compared by.
pub(crate) fn shown(request: &Request<'_>) -> String {
    use std::fmt::Write;
    let mut text = format!("{request:#?}\nbits:");
    for series in &request.series {
        let samples = series.samples.iter().map(|sample| sample.value);
        let exemplars = series.exemplars.iter().map(|exemplar| exemplar.value);
        let histograms = series.histograms.iter().flat_map(|histogram| {
            let counts = [histogram.count, histogram.zero_count].into_iter().flatten().map(|count| match count {
                model::Count::Int(_) => 0.0,
                model::Count::Float(count) => count,
            });
            let lists = [&histogram.negative_counts, &histogram.positive_counts, &histogram.custom_values];
            counts.chain([histogram.sum, histogram.zero_threshold]).chain(lists.into_iter().flatten().copied())
        });
        for value in samples.chain(exemplars).chain(histograms) {
            write!(text, " {:016x}", value.to_bits()).unwrap_or_default();
        }
    }
    text
}

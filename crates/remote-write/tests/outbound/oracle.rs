//! The messages of both protocols as prost decodes them: a second opinion on what the crate writes.
//! A oneof is spelled as two optional fields, which is the same on the wire.

use remote_write::model::{Count, Exemplar, Histogram, Label, Metadata, Request, Sample, Series, Span};

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct RequestV1 {
    #[prost(message, repeated, tag = "1")]
    pub(crate) timeseries: Vec<SeriesV1>,
    #[prost(message, repeated, tag = "3")]
    pub(crate) metadata: Vec<Family>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SeriesV1 {
    #[prost(message, repeated, tag = "1")]
    pub(crate) labels: Vec<LabelV1>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) samples: Vec<SampleMessage>,
    #[prost(message, repeated, tag = "3")]
    pub(crate) exemplars: Vec<ExemplarV1>,
    #[prost(message, repeated, tag = "4")]
    pub(crate) histograms: Vec<HistogramMessage>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct LabelV1 {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, tag = "2")]
    pub(crate) value: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ExemplarV1 {
    #[prost(message, repeated, tag = "1")]
    pub(crate) labels: Vec<LabelV1>,
    #[prost(double, tag = "2")]
    pub(crate) value: f64,
    #[prost(int64, tag = "3")]
    pub(crate) timestamp: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Family {
    #[prost(int32, tag = "1")]
    pub(crate) kind: i32,
    #[prost(string, tag = "2")]
    pub(crate) family: String,
    #[prost(string, tag = "4")]
    pub(crate) help: String,
    #[prost(string, tag = "5")]
    pub(crate) unit: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct RequestV2 {
    #[prost(string, repeated, tag = "4")]
    pub(crate) symbols: Vec<String>,
    #[prost(message, repeated, tag = "5")]
    pub(crate) timeseries: Vec<SeriesV2>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SeriesV2 {
    #[prost(uint32, repeated, tag = "1")]
    pub(crate) labels_refs: Vec<u32>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) samples: Vec<SampleMessage>,
    #[prost(message, repeated, tag = "3")]
    pub(crate) histograms: Vec<HistogramMessage>,
    #[prost(message, repeated, tag = "4")]
    pub(crate) exemplars: Vec<ExemplarV2>,
    #[prost(message, optional, tag = "5")]
    pub(crate) metadata: Option<MetadataV2>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ExemplarV2 {
    #[prost(uint32, repeated, tag = "1")]
    pub(crate) labels_refs: Vec<u32>,
    #[prost(double, tag = "2")]
    pub(crate) value: f64,
    #[prost(int64, tag = "3")]
    pub(crate) timestamp: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct MetadataV2 {
    #[prost(int32, tag = "1")]
    pub(crate) kind: i32,
    #[prost(uint32, tag = "3")]
    pub(crate) help_ref: u32,
    #[prost(uint32, tag = "4")]
    pub(crate) unit_ref: u32,
}

/// `start_timestamp` stays 0 in v1.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SampleMessage {
    #[prost(double, tag = "1")]
    pub(crate) value: f64,
    #[prost(int64, tag = "2")]
    pub(crate) timestamp: i64,
    #[prost(int64, tag = "3")]
    pub(crate) start_timestamp: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct HistogramMessage {
    #[prost(uint64, optional, tag = "1")]
    pub(crate) count_int: Option<u64>,
    #[prost(double, optional, tag = "2")]
    pub(crate) count_float: Option<f64>,
    #[prost(double, tag = "3")]
    pub(crate) sum: f64,
    #[prost(sint32, tag = "4")]
    pub(crate) schema: i32,
    #[prost(double, tag = "5")]
    pub(crate) zero_threshold: f64,
    #[prost(uint64, optional, tag = "6")]
    pub(crate) zero_count_int: Option<u64>,
    #[prost(double, optional, tag = "7")]
    pub(crate) zero_count_float: Option<f64>,
    #[prost(message, repeated, tag = "8")]
    pub(crate) negative_spans: Vec<SpanMessage>,
    #[prost(sint64, repeated, tag = "9")]
    pub(crate) negative_deltas: Vec<i64>,
    #[prost(double, repeated, tag = "10")]
    pub(crate) negative_counts: Vec<f64>,
    #[prost(message, repeated, tag = "11")]
    pub(crate) positive_spans: Vec<SpanMessage>,
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
    #[prost(int64, tag = "17")]
    pub(crate) start_timestamp: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SpanMessage {
    #[prost(sint32, tag = "1")]
    pub(crate) offset: i32,
    #[prost(uint32, tag = "2")]
    pub(crate) length: u32,
}

impl RequestV1 {
    /// The same request in the crate's own words.
    pub(crate) fn model(&self) -> Request<'_> {
        let series = self.timeseries.iter().map(|series| Series {
            labels: labels_v1(&series.labels),
            samples: series.samples.iter().map(sample).collect(),
            histograms: series.histograms.iter().map(histogram).collect(),
            exemplars: series.exemplars.iter().map(exemplar_v1).collect(),
            ..Series::default()
        });
        let metadata = self.metadata.iter().map(|family| Metadata {
            kind: family.kind,
            family: family.family.as_bytes(),
            help: family.help.as_bytes(),
            unit: family.unit.as_bytes(),
        });
        Request { series: series.collect(), metadata: metadata.collect() }
    }
}

impl RequestV2 {
    /// The same request in the crate's own words.
    pub(crate) fn model(&self) -> Request<'_> {
        let series = self.timeseries.iter().map(|series| Series {
            labels: self.labels(&series.labels_refs),
            samples: series.samples.iter().map(sample).collect(),
            histograms: series.histograms.iter().map(histogram).collect(),
            exemplars: series.exemplars.iter().map(|exemplar| self.exemplar(exemplar)).collect(),
            metadata: series.metadata.as_ref().map(|metadata| Metadata {
                kind: metadata.kind,
                help: self.symbol(metadata.help_ref),
                unit: self.symbol(metadata.unit_ref),
                family: b"",
            }),
            bad_reference: false,
        });
        Request { series: series.collect(), metadata: Vec::new() }
    }

    fn symbol(&self, reference: u32) -> &[u8] {
        self.symbols[reference as usize].as_bytes()
    }

    fn labels(&self, references: &[u32]) -> Vec<Label<'_>> {
        let pairs = references.chunks(2);
        pairs.map(|pair| Label { name: self.symbol(pair[0]), value: self.symbol(pair[1]) }).collect()
    }

    fn exemplar(&self, exemplar: &ExemplarV2) -> Exemplar<'_> {
        let labels = self.labels(&exemplar.labels_refs);
        Exemplar { labels, value: exemplar.value, timestamp: exemplar.timestamp, bad_reference: false }
    }
}

fn labels_v1(labels: &[LabelV1]) -> Vec<Label<'_>> {
    labels.iter().map(|label| Label { name: label.name.as_bytes(), value: label.value.as_bytes() }).collect()
}

fn exemplar_v1(exemplar: &ExemplarV1) -> Exemplar<'_> {
    let labels = labels_v1(&exemplar.labels);
    Exemplar { labels, value: exemplar.value, timestamp: exemplar.timestamp, bad_reference: false }
}

fn sample(sample: &SampleMessage) -> Sample {
    Sample { value: sample.value, timestamp: sample.timestamp, start_timestamp: sample.start_timestamp }
}

fn histogram(histogram: &HistogramMessage) -> Histogram {
    let spans = |spans: &[SpanMessage]| {
        spans.iter().map(|span| Span { offset: span.offset, length: span.length }).collect::<Vec<_>>()
    };
    let count = |int: Option<u64>, float: Option<f64>| int.map(Count::Int).or_else(|| float.map(Count::Float));
    Histogram {
        count: count(histogram.count_int, histogram.count_float),
        sum: histogram.sum,
        schema: histogram.schema,
        zero_threshold: histogram.zero_threshold,
        zero_count: count(histogram.zero_count_int, histogram.zero_count_float),
        negative_spans: spans(&histogram.negative_spans),
        negative_deltas: histogram.negative_deltas.clone(),
        negative_counts: histogram.negative_counts.clone(),
        positive_spans: spans(&histogram.positive_spans),
        positive_deltas: histogram.positive_deltas.clone(),
        positive_counts: histogram.positive_counts.clone(),
        reset_hint: histogram.reset_hint,
        timestamp: histogram.timestamp,
        custom_values: histogram.custom_values.clone(),
        start_timestamp: histogram.start_timestamp,
    }
}

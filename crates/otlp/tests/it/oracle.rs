//! OTLP's messages as another protobuf library reads and writes them, and as JSON. Oneofs are optional fields here, which is
//! the same on the wire.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use prost::Message;
use serde_json::{Value, json};

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Request {
    #[prost(message, repeated, tag = "1")]
    pub(crate) resource_metrics: Vec<ResourceMetrics>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ResourceMetrics {
    #[prost(message, optional, tag = "1")]
    pub(crate) resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) scope_metrics: Vec<ScopeMetrics>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Resource {
    #[prost(message, repeated, tag = "1")]
    pub(crate) attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ScopeMetrics {
    #[prost(message, repeated, tag = "2")]
    pub(crate) metrics: Vec<Metric>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Metric {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, tag = "3")]
    pub(crate) unit: String,
    #[prost(message, optional, tag = "5")]
    pub(crate) gauge: Option<Gauge>,
    #[prost(message, optional, tag = "7")]
    pub(crate) sum: Option<Sum>,
    #[prost(message, optional, tag = "9")]
    pub(crate) histogram: Option<Histogram>,
    #[prost(message, optional, tag = "10")]
    pub(crate) exponential: Option<ExponentialHistogram>,
    #[prost(message, optional, tag = "11")]
    pub(crate) summary: Option<Summary>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Gauge {
    #[prost(message, repeated, tag = "1")]
    pub(crate) data_points: Vec<NumberDataPoint>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Sum {
    #[prost(message, repeated, tag = "1")]
    pub(crate) data_points: Vec<NumberDataPoint>,
    #[prost(int32, tag = "2")]
    pub(crate) aggregation_temporality: i32,
    #[prost(bool, tag = "3")]
    pub(crate) is_monotonic: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Histogram {
    #[prost(message, repeated, tag = "1")]
    pub(crate) data_points: Vec<HistogramDataPoint>,
    #[prost(int32, tag = "2")]
    pub(crate) aggregation_temporality: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ExponentialHistogram {
    #[prost(message, repeated, tag = "1")]
    pub(crate) data_points: Vec<ExponentialDataPoint>,
    #[prost(int32, tag = "2")]
    pub(crate) aggregation_temporality: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Summary {
    #[prost(message, repeated, tag = "1")]
    pub(crate) data_points: Vec<SummaryDataPoint>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct NumberDataPoint {
    #[prost(fixed64, tag = "2")]
    pub(crate) start_time_unix_nano: u64,
    #[prost(fixed64, tag = "3")]
    pub(crate) time_unix_nano: u64,
    #[prost(double, optional, tag = "4")]
    pub(crate) as_double: Option<f64>,
    #[prost(message, repeated, tag = "5")]
    pub(crate) exemplars: Vec<Exemplar>,
    #[prost(sfixed64, optional, tag = "6")]
    pub(crate) as_int: Option<i64>,
    #[prost(message, repeated, tag = "7")]
    pub(crate) attributes: Vec<KeyValue>,
    #[prost(uint32, tag = "8")]
    pub(crate) flags: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct HistogramDataPoint {
    #[prost(fixed64, tag = "3")]
    pub(crate) time_unix_nano: u64,
    #[prost(fixed64, tag = "4")]
    pub(crate) count: u64,
    #[prost(double, optional, tag = "5")]
    pub(crate) sum: Option<f64>,
    #[prost(fixed64, repeated, tag = "6")]
    pub(crate) bucket_counts: Vec<u64>,
    #[prost(double, repeated, tag = "7")]
    pub(crate) explicit_bounds: Vec<f64>,
    #[prost(message, repeated, tag = "8")]
    pub(crate) exemplars: Vec<Exemplar>,
    #[prost(message, repeated, tag = "9")]
    pub(crate) attributes: Vec<KeyValue>,
    #[prost(uint32, tag = "10")]
    pub(crate) flags: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ExponentialDataPoint {
    #[prost(message, repeated, tag = "1")]
    pub(crate) attributes: Vec<KeyValue>,
    #[prost(fixed64, tag = "3")]
    pub(crate) time_unix_nano: u64,
    #[prost(fixed64, tag = "4")]
    pub(crate) count: u64,
    #[prost(double, optional, tag = "5")]
    pub(crate) sum: Option<f64>,
    #[prost(sint32, tag = "6")]
    pub(crate) scale: i32,
    #[prost(fixed64, tag = "7")]
    pub(crate) zero_count: u64,
    #[prost(message, optional, tag = "8")]
    pub(crate) positive: Option<Buckets>,
    #[prost(message, optional, tag = "9")]
    pub(crate) negative: Option<Buckets>,
    #[prost(double, tag = "14")]
    pub(crate) zero_threshold: f64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Buckets {
    #[prost(sint32, tag = "1")]
    pub(crate) offset: i32,
    #[prost(uint64, repeated, tag = "2")]
    pub(crate) bucket_counts: Vec<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SummaryDataPoint {
    #[prost(fixed64, tag = "3")]
    pub(crate) time_unix_nano: u64,
    #[prost(fixed64, tag = "4")]
    pub(crate) count: u64,
    #[prost(double, tag = "5")]
    pub(crate) sum: f64,
    #[prost(message, repeated, tag = "6")]
    pub(crate) quantile_values: Vec<ValueAtQuantile>,
    #[prost(message, repeated, tag = "7")]
    pub(crate) attributes: Vec<KeyValue>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct ValueAtQuantile {
    #[prost(double, tag = "1")]
    pub(crate) quantile: f64,
    #[prost(double, tag = "2")]
    pub(crate) value: f64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Exemplar {
    #[prost(fixed64, tag = "2")]
    pub(crate) time_unix_nano: u64,
    #[prost(double, optional, tag = "3")]
    pub(crate) as_double: Option<f64>,
    #[prost(bytes = "vec", tag = "5")]
    pub(crate) trace_id: Vec<u8>,
    #[prost(message, repeated, tag = "7")]
    pub(crate) filtered_attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct KeyValue {
    #[prost(string, tag = "1")]
    pub(crate) key: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct AnyValue {
    #[prost(string, optional, tag = "1")]
    pub(crate) string_value: Option<String>,
    #[prost(int64, optional, tag = "3")]
    pub(crate) int_value: Option<i64>,
    #[prost(message, optional, tag = "5")]
    pub(crate) array_value: Option<ArrayValue>,
    #[prost(bytes = "vec", optional, tag = "7")]
    pub(crate) bytes_value: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ArrayValue {
    #[prost(message, repeated, tag = "1")]
    pub(crate) values: Vec<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ExportMetricsServiceResponse {
    #[prost(message, optional, tag = "1")]
    pub(crate) partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PartialSuccess {
    #[prost(int64, tag = "1")]
    pub(crate) rejected_data_points: i64,
    #[prost(string, tag = "2")]
    pub(crate) error_message: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Status {
    #[prost(int32, tag = "1")]
    pub(crate) code: i32,
    #[prost(string, tag = "2")]
    pub(crate) message: String,
    #[prost(message, repeated, tag = "3")]
    pub(crate) details: Vec<Any>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Any {
    #[prost(string, tag = "1")]
    pub(crate) type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) value: Vec<u8>,
}

impl Request {
    pub(crate) fn points(&self) -> u64 {
        let metrics =
            self.resource_metrics.iter().flat_map(|resource| &resource.scope_metrics).flat_map(|scope| &scope.metrics);
        // The last of a oneof holds.
        let points = metrics.map(|metric| match metric {
            Metric { summary: Some(data), .. } => data.data_points.len(),
            Metric { exponential: Some(data), .. } => data.data_points.len(),
            Metric { histogram: Some(data), .. } => data.data_points.len(),
            Metric { sum: Some(data), .. } => data.data_points.len(),
            Metric { gauge: Some(data), .. } => data.data_points.len(),
            _ => 0,
        });
        points.sum::<usize>() as u64
    }

    pub(crate) fn json(&self) -> Value {
        let resources = self.resource_metrics.iter().map(|one| {
            let scopes = one.scope_metrics.iter().map(|scope| json!({"metrics": scope.metrics.iter().map(Metric::json).collect::<Value>()}));
            json!({
                "resource": one.resource.as_ref().map(|resource| json!({"attributes": key_values(&resource.attributes)})),
                "scopeMetrics": scopes.collect::<Value>(),
            })
        });
        json!({"resourceMetrics": resources.collect::<Value>()})
    }
}

impl Metric {
    fn json(&self) -> Value {
        json!({
            "name": self.name, "unit": self.unit,
            "gauge": self.gauge.as_ref().map(|data| json!({"dataPoints": numbers(&data.data_points)})),
            "sum": self.sum.as_ref().map(|data| json!({"dataPoints": numbers(&data.data_points),
                "aggregationTemporality": data.aggregation_temporality, "isMonotonic": data.is_monotonic})),
            "histogram": self.histogram.as_ref().map(|data| json!({
                "aggregationTemporality": data.aggregation_temporality,
                "dataPoints": data.data_points.iter().map(HistogramDataPoint::json).collect::<Value>()})),
            "exponentialHistogram": self.exponential.as_ref().map(|data| json!({
                "aggregationTemporality": data.aggregation_temporality,
                "dataPoints": data.data_points.iter().map(ExponentialDataPoint::json).collect::<Value>()})),
            "summary": self.summary.as_ref().map(|data| json!({
                "dataPoints": data.data_points.iter().map(SummaryDataPoint::json).collect::<Value>()})),
        })
    }
}

fn double(value: f64) -> Value {
    if value.is_nan() {
        json!("NaN")
    } else if value.is_infinite() {
        json!(if value > 0.0 { "Infinity" } else { "-Infinity" })
    } else {
        json!(value)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn key_values(pairs: &[KeyValue]) -> Value {
    pairs.iter().map(|pair| json!({"key": pair.key, "value": pair.value.as_ref().map(AnyValue::json)})).collect()
}

fn numbers(points: &[NumberDataPoint]) -> Value {
    let point = |point: &NumberDataPoint| {
        json!({
            "startTimeUnixNano": point.start_time_unix_nano.to_string(), "timeUnixNano": point.time_unix_nano,
            "asDouble": point.as_double.map(double), "asInt": point.as_int.map(|value| value.to_string()), "flags": point.flags,
            "attributes": key_values(&point.attributes), "exemplars": exemplars(&point.exemplars),
        })
    };
    points.iter().map(point).collect()
}

fn exemplars(exemplars: &[Exemplar]) -> Value {
    let one = |one: &Exemplar| {
        json!({"timeUnixNano": one.time_unix_nano, "asDouble": one.as_double.map(double), "traceId": hex(&one.trace_id),
            "filteredAttributes": key_values(&one.filtered_attributes)})
    };
    exemplars.iter().map(one).collect()
}

impl HistogramDataPoint {
    fn json(&self) -> Value {
        json!({
            "timeUnixNano": self.time_unix_nano, "count": self.count.to_string(), "sum": self.sum.map(double),
            "bucketCounts": self.bucket_counts, "explicitBounds": self.explicit_bounds.iter().copied().map(double).collect::<Value>(),
            "exemplars": exemplars(&self.exemplars), "attributes": key_values(&self.attributes), "flags": self.flags,
        })
    }
}

impl ExponentialDataPoint {
    fn json(&self) -> Value {
        let side = |side: &Option<Buckets>| {
            side.as_ref().map(|side| json!({"offset": side.offset, "bucketCounts": side.bucket_counts}))
        };
        json!({
            "timeUnixNano": self.time_unix_nano, "count": self.count.to_string(), "sum": self.sum.map(double), "scale": self.scale,
            "zeroCount": self.zero_count, "positive": side(&self.positive), "negative": side(&self.negative),
            "attributes": key_values(&self.attributes), "zeroThreshold": double(self.zero_threshold),
        })
    }
}

impl SummaryDataPoint {
    fn json(&self) -> Value {
        let values = self
            .quantile_values
            .iter()
            .map(|one| json!({"quantile": double(one.quantile), "value": double(one.value)}));
        json!({"timeUnixNano": self.time_unix_nano, "count": self.count, "sum": double(self.sum),
            "quantileValues": values.collect::<Value>(), "attributes": key_values(&self.attributes)})
    }
}

impl AnyValue {
    fn json(&self) -> Value {
        use base64::Engine;
        json!({
            "stringValue": self.string_value, "intValue": self.int_value.map(|value| value.to_string()),
            "arrayValue": self.array_value.as_ref().map(|list| json!({"values": list.values.iter().map(Self::json).collect::<Value>()})),
            "bytesValue": self.bytes_value.as_ref().map(|bytes| base64::engine::general_purpose::STANDARD.encode(bytes)),
        })
    }
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[a-c._]{0,3}", 1 => Just("service.name".to_owned()), 1 => Just("le".to_owned()), 1 => any::<String>()]
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        Just(0.0),
        Just(1.0),
        -2.0..2.0,
        any::<f64>().prop_map(|value| if value.is_nan() { f64::NAN } else { value })
    ]
}

fn time() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 1_700_000_000_000_000_000..1_700_000_500_000_000_000_u64, 1 => any::<u64>(), 1 => Just(0)]
}

fn any_value() -> impl Strategy<Value = AnyValue> {
    let leaf = prop_oneof![
        4 => word().prop_map(|text| AnyValue { string_value: Some(text), ..AnyValue::default() }),
        1 => any::<i64>().prop_map(|value| AnyValue { int_value: Some(value), ..AnyValue::default() }),
        1 => vec(any::<u8>(), 0..4).prop_map(|bytes| AnyValue { bytes_value: Some(bytes), ..AnyValue::default() }),
        1 => Just(AnyValue::default()),
    ];
    leaf.prop_recursive(2, 4, 2, |inner| {
        vec(inner, 0..3).prop_map(|values| AnyValue { array_value: Some(ArrayValue { values }), ..AnyValue::default() })
    })
}

fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    vec((word(), option::of(any_value())).prop_map(|(key, value)| KeyValue { key, value }), 0..4)
}

fn some_exemplars() -> impl Strategy<Value = Vec<Exemplar>> {
    let one = (time(), option::of(number()), prop_oneof![vec(any::<u8>(), 0), vec(any::<u8>(), 16)], attributes());
    let one = one.prop_map(|(time_unix_nano, as_double, trace_id, filtered_attributes)| Exemplar {
        time_unix_nano,
        as_double,
        trace_id,
        filtered_attributes,
    });
    vec(one, 0..2)
}

fn number_point() -> impl Strategy<Value = NumberDataPoint> {
    let value = prop_oneof![
        3 => number().prop_map(|value| (Some(value), None)),
        3 => any::<i64>().prop_map(|value| (None, Some(value))),
        1 => Just((None, None)),
    ];
    (time(), time(), value, some_exemplars(), attributes(), prop_oneof![4 => Just(0), 1 => Just(1)]).prop_map(
        |(start_time_unix_nano, time_unix_nano, (as_double, as_int), exemplars, attributes, flags)| NumberDataPoint {
            start_time_unix_nano,
            time_unix_nano,
            as_double,
            exemplars,
            as_int,
            attributes,
            flags,
        },
    )
}

fn counts() -> impl Strategy<Value = Vec<u64>> {
    vec(prop_oneof![4 => 0..9_u64, 1 => any::<u64>()], 0..6)
}

fn histogram_point() -> impl Strategy<Value = HistogramDataPoint> {
    let sorted = vec(number(), 0..5).prop_map(|mut bounds| {
        bounds.sort_by(f64::total_cmp);
        bounds.dedup();
        bounds
    });
    (time(), option::of(number()), counts(), sorted, some_exemplars(), attributes(), 0..2_u32, any::<bool>()).prop_map(
        |(time_unix_nano, sum, mut bucket_counts, explicit_bounds, exemplars, attributes, flags, fits)| {
            if fits {
                bucket_counts.resize(explicit_bounds.len() + 1, 1);
            }
            let count = bucket_counts.iter().fold(0, |sum: u64, count| sum.wrapping_add(*count));
            HistogramDataPoint {
                time_unix_nano,
                count,
                sum,
                bucket_counts,
                explicit_bounds,
                exemplars,
                attributes,
                flags,
            }
        },
    )
}

fn exponential_point() -> impl Strategy<Value = ExponentialDataPoint> {
    let side = || {
        option::of(
            (prop_oneof![4 => -20..20, 1 => any::<i32>()], counts())
                .prop_map(|(offset, bucket_counts)| Buckets { offset, bucket_counts }),
        )
    };
    let scale = prop_oneof![8 => -6..24, 1 => any::<i32>()];
    (
        time(),
        option::of(number()),
        scale,
        0..3_u64,
        side(),
        side(),
        attributes(),
        prop_oneof![4 => Just(0.0), 1 => number()],
    )
        .prop_map(|(time_unix_nano, sum, scale, zero_count, positive, negative, attributes, zero_threshold)| {
            let all = [&positive, &negative].into_iter().flatten().flat_map(|side| &side.bucket_counts);
            let count = all.fold(zero_count, |sum, count| sum.wrapping_add(*count));
            ExponentialDataPoint {
                attributes,
                time_unix_nano,
                count,
                sum,
                scale,
                zero_count,
                positive,
                negative,
                zero_threshold,
            }
        })
}

fn summary_point() -> impl Strategy<Value = SummaryDataPoint> {
    let quantile = (number(), number()).prop_map(|(quantile, value)| ValueAtQuantile { quantile, value });
    (time(), any::<u64>(), number(), vec(quantile, 0..3), attributes()).prop_map(
        |(time_unix_nano, count, sum, quantile_values, attributes)| SummaryDataPoint {
            time_unix_nano,
            count,
            sum,
            quantile_values,
            attributes,
        },
    )
}

fn metric() -> impl Strategy<Value = Metric> {
    let temporality = || prop_oneof![1 => 0..4, 4 => Just(2), 2 => Just(1)];
    let data = prop_oneof![
        vec(number_point(), 0..3)
            .prop_map(|data_points| Metric { gauge: Some(Gauge { data_points }), ..Metric::default() }),
        (vec(number_point(), 0..3), temporality(), any::<bool>()).prop_map(
            |(data_points, aggregation_temporality, is_monotonic)| {
                Metric { sum: Some(Sum { data_points, aggregation_temporality, is_monotonic }), ..Metric::default() }
            }
        ),
        (vec(histogram_point(), 0..3), temporality()).prop_map(|(data_points, aggregation_temporality)| {
            Metric { histogram: Some(Histogram { data_points, aggregation_temporality }), ..Metric::default() }
        }),
        (vec(exponential_point(), 0..3), temporality()).prop_map(|(data_points, aggregation_temporality)| {
            Metric {
                exponential: Some(ExponentialHistogram { data_points, aggregation_temporality }),
                ..Metric::default()
            }
        }),
        vec(summary_point(), 0..3)
            .prop_map(|data_points| Metric { summary: Some(Summary { data_points }), ..Metric::default() }),
        Just(Metric::default()),
    ];
    let unit = prop_oneof![Just(""), Just("s"), Just("1"), Just("By/s"), Just("{x}")];
    (word(), unit, data).prop_map(|(name, unit, metric)| Metric { name, unit: unit.to_owned(), ..metric })
}

/// Requests of all kinds of points, most of them right.
pub(crate) fn requests() -> impl Strategy<Value = Request> {
    let scope = vec(metric(), 0..4).prop_map(|metrics| ScopeMetrics { metrics });
    let resource = (option::of(attributes()), vec(scope, 0..3)).prop_map(|(attributes, scope_metrics)| {
        ResourceMetrics { resource: attributes.map(|attributes| Resource { attributes }), scope_metrics }
    });
    vec(resource, 0..3).prop_map(|resource_metrics| Request { resource_metrics })
}

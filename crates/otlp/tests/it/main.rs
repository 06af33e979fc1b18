//! The crate as the gateway uses it: a request in, a remote-write request out.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests say what is wrong by panicking")]
#![expect(clippy::needless_pass_by_value, reason = "JSON is made where it is used")]

mod anything;
mod deltas;
mod histograms;
mod json;
mod labels;
mod oracle;
mod points;

use otlp::accumulate::Session;
use otlp::{Limits, Options, Rules, TranslateError, Translation, Translator, protobuf_of_json};
use remote_write::Protocol;
use remote_write::check::Checker;
use remote_write::model::{Histogram, Request};
use remote_write::read::read;
use remote_write::series_text::describe;
use serde_json::{Value, json};

/// A translated request.
#[derive(Debug)]
struct Translated {
    bytes: Vec<u8>,
    translation: Translation,
}

/// Translates JSON, and checks what every translation must be.
fn translate(request: &Value, options: &Options) -> Translated {
    translate_within(request, options, Limits::default(), None).unwrap()
}

fn translate_within(
    request: &Value,
    options: &Options,
    limits: Limits,
    deltas: Option<Session<'_>>,
) -> Result<Translated, TranslateError> {
    let (mut protobuf, mut bytes) = (Vec::new(), Vec::new());
    protobuf_of_json(request.to_string().as_bytes(), usize::MAX, &mut protobuf).unwrap();
    let rules = Rules { options, limits, note_series: true };
    let translation = Translator::new().translate(&protobuf, rules, deltas, &mut bytes)?;
    sound(&bytes, &translation, limits);
    Ok(Translated { bytes, translation })
}

/// The gateway's own check finds nothing to refuse or to mend in what was translated, and the counts agree.
fn sound(bytes: &[u8], translation: &Translation, limits: Limits) {
    let mut checker = Checker::new();
    let rules = remote_write::check::Rules {
        strict: true,
        label_names: limits.label_names,
        label_value_bytes: limits.label_value_bytes,
        keep_vm_account_labels: false,
    };
    let checked = checker.check(Protocol::V2, bytes, &rules).unwrap();
    assert_eq!(
        checked.rejected.describe(checked.received_series),
        remote_write::check::Rejected::default().describe(checked.received_series)
    );
    assert!(checked.mended.is_none(), "mended: {:?}", checked.changes);
    assert!(!checked.rebuild_symbols);
    let mut touched: Vec<_> = translation.series.iter().map(|(_, point)| *point).collect();
    touched.dedup();
    assert!(touched.is_sorted());
    assert_eq!(touched.len() as u64 + translation.refused.points(), translation.points);
    let mut hashes: Vec<_> = translation.series.iter().map(|(hash, _)| *hash).collect();
    hashes.sort_unstable();
    assert!(hashes.iter().all(|hash| checked.footprint.binary_search(hash).is_ok()));
}

impl Translated {
    fn request(&self) -> Request<'_> {
        read(Protocol::V2, &self.bytes).unwrap()
    }

    /// Each sample as `name{label="value"} value @time`, with its start and how many exemplars it has.
    fn samples(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for series in &self.request().series {
            for sample in &series.samples {
                let value = if sample.value.to_bits() == STALE { "stale".to_owned() } else { sample.value.to_string() };
                let mut line = format!("{} {value} @{}", describe(&series.labels).replace("{}", ""), sample.timestamp);
                if sample.start_timestamp != 0 {
                    line.push_str(&format!(" since {}", sample.start_timestamp));
                }
                if !series.exemplars.is_empty() {
                    line.push_str(&format!(" exemplars {}", series.exemplars.len()));
                }
                lines.push(line);
            }
        }
        lines
    }

    /// The only histogram.
    fn histogram(&self) -> Histogram {
        let histograms: Vec<_> = self.request().series.iter().flat_map(|series| series.histograms.clone()).collect();
        let [histogram] = histograms.as_slice() else { panic!("{} histograms", histograms.len()) };
        histogram.clone()
    }

    fn refused(&self) -> String {
        self.translation.refused.to_string()
    }
}

const STALE: u64 = 0x7ff0_0000_0000_0002;

/// Milliseconds of the points in these tests, and the same in nanoseconds.
const TIME: u64 = 1_700_000_000_000;
fn nanos(ms: u64) -> String {
    format!("{ms}000000")
}

fn attributes(pairs: &[(&str, &str)]) -> Value {
    pairs.iter().map(|(key, value)| json!({"key": key, "value": {"stringValue": value}})).collect()
}

/// A request of one resource and one scope.
fn of(resource: &[(&str, &str)], metrics: Value) -> Value {
    json!({"resourceMetrics": [{
        "resource": {"attributes": attributes(resource)},
        "scopeMetrics": [{"scope": {}, "metrics": metrics}],
    }]})
}

/// A request of one metric of a nameless resource.
fn only(metric: Value) -> Value {
    of(&[], json!([metric]))
}

fn gauge(name: &str, value: f64, point: &[(&str, &str)]) -> Value {
    json!({"name": name, "gauge": {"dataPoints": [
        {"asDouble": value, "timeUnixNano": nanos(TIME), "attributes": attributes(point)}]}})
}

/// Adds the keys of `more` to an object.
fn with(mut value: Value, more: Value) -> Value {
    let (Some(object), Value::Object(more)) = (value.as_object_mut(), more) else { panic!("two objects") };
    object.extend(more);
    value
}

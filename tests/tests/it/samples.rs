//! Raw samples as programs tell them over HTTP: read from Prometheus' query API and VictoriaMetrics' export, compared.
//!
//! Knows formats only; who is asked, and when, is the scenario's.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::Value as Json;

/// A label set, `__name__` included.
pub(crate) type Labels = BTreeMap<String, String>;

/// Series by labels, samples by timestamp in milliseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples {
    series: BTreeMap<Labels, BTreeMap<i64, Value>>,
}

/// What a sample or an exemplar holds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Float(f64),
    /// A native histogram or an exemplar in the program's own JSON.
    Text(String),
}

/// When two values are the same.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Precision {
    /// To the last bit; any NaN equals any other, since JSON does not tell them apart.
    Exact,
    /// Within a part in 10¹²: VictoriaMetrics stores decimal mantissas.
    Decimal,
}

impl Value {
    fn equals(&self, other: &Self, precision: Precision) -> bool {
        match (self, other) {
            (Self::Float(a), Self::Float(b)) => match precision {
                Precision::Exact => a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan(),
                Precision::Decimal => a == b || (a - b).abs() <= a.abs() * 1e-12,
            },
            (a, b) => a == b,
        }
    }
}

impl Samples {
    pub(crate) fn insert(&mut self, labels: Labels, timestamp: i64, value: Value) {
        self.series.entry(labels).or_default().insert(timestamp, value);
    }

    /// Takes in those of another answer of the same program.
    pub(crate) fn extend(&mut self, others: Self) {
        for (labels, samples) in others.series {
            self.series.entry(labels).or_default().extend(samples);
        }
    }

    /// The answer of `/api/v1/query` to a range selector, or of `/api/v1/query_range`.
    pub(crate) fn from_matrix(answer: &Json) -> Self {
        let mut samples = Self::default();
        let result = answer["data"]["result"].as_array().unwrap_or_else(|| panic!("a matrix, not {answer}"));
        for series in result {
            let labels = labels(&series["metric"]);
            for (key, histogram) in [("values", false), ("histograms", true)] {
                for pair in series[key].as_array().into_iter().flatten() {
                    let text = &pair[1];
                    let value = if histogram { Value::Text(text.to_string()) } else { Value::Float(float(text)) };
                    samples.insert(labels.clone(), milliseconds(&pair[0]), value);
                }
            }
        }
        samples
    }

    /// The answer of `/api/v1/query_exemplars`.
    pub(crate) fn from_exemplars(answer: &Json) -> Self {
        let mut samples = Self::default();
        for series in answer["data"].as_array().unwrap_or_else(|| panic!("exemplars, not {answer}")) {
            let labels = labels(&series["seriesLabels"]);
            for exemplar in series["exemplars"].as_array().into_iter().flatten() {
                let text = format!("{} {}", exemplar["labels"], exemplar["value"]);
                samples.insert(labels.clone(), milliseconds(&exemplar["timestamp"]), Value::Text(text));
            }
        }
        samples
    }

    /// VictoriaMetrics' `/api/v1/export`: a JSON object per line; what is no finite number stands as `null` or text.
    pub(crate) fn from_export(lines: &str) -> Self {
        let mut samples = Self::default();
        for line in lines.lines() {
            let series: Json = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line:.300}"));
            let labels = labels(&series["metric"]);
            let pairs = series["timestamps"]
                .as_array()
                .into_iter()
                .flatten()
                .zip(series["values"].as_array().into_iter().flatten());
            for (timestamp, value) in pairs {
                let timestamp = timestamp.as_i64().expect("a timestamp in milliseconds");
                samples.insert(labels.clone(), timestamp, Value::Float(float(value)));
            }
        }
        samples
    }

    /// Only samples after `window.0` and up to `window.1`, in milliseconds.
    pub(crate) fn within(mut self, window: (i64, i64)) -> Self {
        for samples in self.series.values_mut() {
            samples.retain(|timestamp, _| window.0 < *timestamp && *timestamp <= window.1);
        }
        self.series.retain(|_, samples| !samples.is_empty());
        self
    }

    /// Only finite floats: what VictoriaMetrics stores and exports as it came.
    pub(crate) fn finite(mut self) -> Self {
        for samples in self.series.values_mut() {
            samples.retain(|_, value| matches!(value, Value::Float(value) if value.is_finite()));
        }
        self.series.retain(|_, samples| !samples.is_empty());
        self
    }

    /// Without what VictoriaMetrics makes of native histograms: buckets, count and sum, as series of their own.
    pub(crate) fn without_histograms_of(mut self, others: &Self) -> Self {
        let with_texts =
            others.series.iter().filter(|(_, samples)| samples.values().any(|v| matches!(v, Value::Text(_))));
        let families: BTreeSet<&str> = with_texts.filter_map(|(labels, _)| name(labels)).collect();
        self.series.retain(|labels, _| {
            let name = name(labels).unwrap_or_default();
            let family = ["_bucket", "_count", "_sum"].iter().find_map(|suffix| name.strip_suffix(suffix));
            !family.is_some_and(|family| families.contains(family))
        });
        self
    }

    /// Without that label: the one a sender adds on the way out.
    pub(crate) fn without(self, label: &str) -> Self {
        let mut series: BTreeMap<Labels, BTreeMap<i64, Value>> = BTreeMap::new();
        for (mut labels, samples) in self.series {
            labels.remove(label);
            series.entry(labels).or_default().extend(samples);
        }
        Self { series }
    }

    pub(crate) fn len(&self) -> usize {
        self.series.values().map(BTreeMap::len).sum()
    }

    /// How many of them are [`Value::Text`].
    pub(crate) fn texts(&self) -> usize {
        let values = self.series.values().flat_map(BTreeMap::values);
        values.filter(|value| matches!(value, Value::Text(_))).count()
    }

    pub(crate) fn timestamps(&self) -> impl Iterator<Item = i64> {
        self.series.values().flat_map(|samples| samples.keys().copied())
    }

    pub(crate) fn remove_at(&mut self, timestamp: i64) {
        for samples in self.series.values_mut() {
            samples.remove(&timestamp);
        }
        self.series.retain(|_, samples| !samples.is_empty());
    }

    /// How `other` differs from this; `None` when both hold the same.
    pub(crate) fn difference(&self, other: &Self, precision: Precision) -> Option<String> {
        let mut differences = 0_usize;
        let mut first = String::new();
        let mut note = |what: &str, labels: &Labels, timestamp: i64, values: (Option<&Value>, Option<&Value>)| {
            differences += 1;
            if differences <= 5 {
                write!(first, "\n  {what}: {labels:?} at {timestamp}: {values:?}").expect("a String takes all");
            }
        };
        let none = BTreeMap::new();
        for (labels, expected) in &self.series {
            let actual = other.series.get(labels).unwrap_or(&none);
            for (timestamp, value) in expected {
                match actual.get(timestamp) {
                    None => note("missing", labels, *timestamp, (Some(value), None)),
                    Some(found) if !value.equals(found, precision) => {
                        note("different", labels, *timestamp, (Some(value), Some(found)));
                    }
                    Some(_) => {}
                }
            }
        }
        for (labels, actual) in &other.series {
            let expected = self.series.get(labels).unwrap_or(&none);
            for (timestamp, value) in actual.iter().filter(|(timestamp, _)| !expected.contains_key(timestamp)) {
                note("unexpected", labels, *timestamp, (None, Some(value)));
            }
        }
        (differences > 0).then(|| format!("{differences} differences in {} samples, such as:{first}", self.len()))
    }
}

fn name(labels: &Labels) -> Option<&str> {
    labels.get("__name__").map(String::as_str)
}

fn labels(object: &Json) -> Labels {
    let object = object.as_object().unwrap_or_else(|| panic!("labels, not {object}"));
    object.iter().map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
}

/// Prometheus writes values as text, VictoriaMetrics as numbers; both spell infinities, the latter NaN as `null`.
fn float(value: &Json) -> f64 {
    match value {
        Json::String(text) if text == "Infinity" => f64::INFINITY,
        Json::String(text) if text == "-Infinity" => f64::NEG_INFINITY,
        Json::String(text) => text.parse().unwrap_or_else(|error| panic!("{error}: {text}")),
        value => value.as_f64().unwrap_or(f64::NAN),
    }
}

/// Prometheus writes timestamps as seconds with three decimals.
fn milliseconds(seconds: &Json) -> i64 {
    let seconds = seconds.as_f64().unwrap_or_else(|| panic!("a timestamp, not {seconds}"));
    (seconds * 1e3).round() as i64
}

/// The sum of a metrics page's samples of that name that have all these labels, written as `label="value"`; `None`
/// when there is none.
pub(crate) fn metric(page: &str, name: &str, labels: &[&str]) -> Option<f64> {
    let lines = page.lines().filter(|line| {
        let rest = line.strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with([' ', '{'])) && labels.iter().all(|label| line.contains(label))
    });
    let values = lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
    values.reduce(|sum, value| sum + value)
}

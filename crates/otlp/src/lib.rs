//! OpenTelemetry metrics (OTLP) as series of remote write 2.0.
//!
//! Pure: no I/O, no clock, no async runtime, no logger. A request is walked in place, point by point; JSON becomes protobuf
//! first, so there is one translation. What is written of a request, and what of it is held in memory, has bounds.
//!
//! The rules are those of Prometheus' OTLP receiver (its `otlptranslator`) and of the OpenTelemetry specification, "Prometheus and
//! OpenMetrics Compatibility"; `docs/otlp.md` lists them. Field numbers: `opentelemetry-proto` 1.x, `metrics/v1/metrics.proto`.

pub mod accumulate;
pub mod answer;
mod buckets;
mod exemplar;
mod histogram;
mod json;
mod labels;
mod message;
mod name;
mod number;
mod options;
mod refused;
mod target_info;
mod translate;
mod value;

pub use json::{NotJson, protobuf_of_json};
pub use name::{MetricKind, label_name, metric_name, unit_name};
pub use options::{Limits, Options, Promote, Strategy};
pub use refused::{Cause, Reason, Refused};
pub use translate::{Rules, TranslateError, Translation, Translator};

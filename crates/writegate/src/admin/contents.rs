//! A request for people to read: its series with their values, within bounds.

use remote_write::Protocol;
use remote_write::model::{Count, Exemplar, Histogram, Label, Series};
use remote_write::read::for_each_series;
use remote_write::series_text;
use remote_write::wire::Malformed;

use super::api::{ExemplarShown, HistogramShown, SeriesShown};

/// Series that are shown of a request.
const MAX_SERIES: usize = 300;
/// Data points that are shown of a request.
const MAX_POINTS: usize = 3000;
/// Labels of more bytes are cut.
const MAX_LABEL_BYTES: usize = 4096;

/// The message as the configuration names it.
pub(super) const fn name_of(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::V1 => "prometheus.WriteRequest",
        Protocol::V2 => "io.prometheus.write.v2.Request",
    }
}

/// The first series of a request, and whether there is more.
///
/// # Errors
/// When the bytes are not a request of this protocol.
pub(super) fn of(protocol: Protocol, request: &[u8]) -> Result<(Vec<SeriesShown>, bool), Malformed> {
    let (mut shown, mut room, mut cut) = (Vec::new(), MAX_POINTS, false);
    for_each_series(protocol, request, |series| {
        if shown.len() == MAX_SERIES || room == 0 {
            cut = true;
            return;
        }
        cut |= series.samples.len() + series.histograms.len() + series.exemplars.len() > room;
        shown.push(one(series, &mut room));
    })?;
    Ok((shown, cut))
}

fn one(series: &Series<'_>, room: &mut usize) -> SeriesShown {
    SeriesShown {
        series: labels(&series.labels),
        samples: fitting(&series.samples, room, |sample| (seconds(sample.timestamp), number(sample.value))),
        histograms: fitting(&series.histograms, room, |one| (seconds(one.timestamp), histogram(one))),
        exemplars: fitting(&series.exemplars, room, |one| (seconds(one.timestamp), exemplar(one))),
    }
}

fn fitting<T, U>(data: &[T], room: &mut usize, show: impl Fn(&T) -> U) -> Vec<U> {
    let shown: Vec<U> = data.iter().take(*room).map(show).collect();
    *room -= shown.len();
    shown
}

fn histogram(histogram: &Histogram) -> HistogramShown {
    let filled = [&histogram.negative_deltas, &histogram.positive_deltas].map(Vec::len).iter().sum::<usize>()
        + [&histogram.negative_counts, &histogram.positive_counts].map(Vec::len).iter().sum::<usize>();
    let count = match histogram.count {
        Some(Count::Int(count)) => count.to_string(),
        Some(Count::Float(count)) => number(count),
        None => "0".to_owned(),
    };
    HistogramShown { count, sum: number(histogram.sum), schema: histogram.schema, buckets: filled }
}

fn exemplar(exemplar: &Exemplar<'_>) -> ExemplarShown {
    ExemplarShown { labels: labels(&exemplar.labels), value: number(exemplar.value) }
}

/// As a series is written, if it is not too long for that.
fn labels(labels: &[Label<'_>]) -> String {
    if labels.iter().map(|label| label.name.len() + label.value.len()).sum::<usize>() > MAX_LABEL_BYTES {
        return series_text::describe(labels);
    }
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let pairs: Vec<_> = labels.iter().map(|label| (text(label.name), text(label.value))).collect();
    series_text::format(&pairs)
}

/// Prometheus' API counts seconds, with milliseconds behind the point.
#[expect(clippy::cast_precision_loss, reason = "milliseconds of this age are exact in a float")]
fn seconds(milliseconds: i64) -> f64 {
    milliseconds as f64 / 1e3
}

/// As Prometheus' API writes values: without exponents, `NaN`, `+Inf`, `-Inf`.
fn number(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() };
    }
    value.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use remote_write::wire::{put_fixed64, put_len_delimited, put_message, put_varint_field};

    fn v1(series: usize, samples: usize) -> Vec<u8> {
        let mut out = Vec::new();
        for number in 0..series {
            put_message(&mut out, 1, |out| {
                put_message(out, 1, |out| {
                    put_len_delimited(out, 1, b"__name__");
                    put_len_delimited(out, 2, format!("m{number}").as_bytes());
                });
                for sample in 0..samples {
                    put_message(out, 2, |out| {
                        put_fixed64(out, 1, 1.5_f64.to_bits());
                        put_varint_field(out, 2, sample as u64 + 1);
                    });
                }
            });
        }
        out
    }

    #[test]
    fn values_are_written_as_prometheus_writes_them() {
        for (value, text) in [
            (1.0, "1"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (-0.0, "-0"),
            (0.1, "0.1"),
            (1e21, "1000000000000000000000"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn what_is_shown_is_bounded_and_says_so() {
        let count = |series, samples| {
            let (shown, cut) = of(Protocol::V1, &v1(series, samples)).unwrap();
            (shown.len(), shown.iter().map(|series| series.samples.len()).sum::<usize>(), cut)
        };
        assert_eq!(count(MAX_SERIES, 1), (300, 300, false));
        assert_eq!(count(MAX_SERIES + 1, 1), (300, 300, true));
        assert_eq!(count(1, MAX_POINTS), (1, 3000, false));
        assert_eq!(count(2, MAX_POINTS), (1, 3000, true));
        assert_eq!(count(1, MAX_POINTS + 1), (1, 3000, true));
    }

    #[test]
    fn long_labels_are_cut_and_others_stand_as_they_were() {
        let long = "x".repeat(MAX_LABEL_BYTES);
        let label = |value| vec![Label { name: b"__name__", value: b"up" }, Label { name: b"a", value }];
        assert_eq!(labels(&label(b"b\"c")), "up{a=\"b\\\"c\"}");
        assert!(labels(&label(long.as_bytes())).len() <= 512);
    }
}

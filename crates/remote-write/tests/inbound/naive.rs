//! The rules of the check once more, on decoded values, as plainly as they can be said.

use remote_write::check::Rules;
use remote_write::model::{Count, Exemplar, Histogram, Label, Metadata, Request, Series, Span};
use remote_write::{Counts, Protocol, check};

/// What a check should find.
#[derive(Debug, Default)]
pub(crate) struct Verdict<'a> {
    pub(crate) received: Counts,
    pub(crate) accepted: Counts,
    pub(crate) invalid: (u32, Counts),
    pub(crate) label_limit: (u32, Counts),
    pub(crate) kept: Request<'a>,
    pub(crate) footprint: Vec<u32>,
    pub(crate) timestamps: Option<(i64, i64)>,
}

pub(crate) fn judge<'a>(protocol: Protocol, request: &Request<'a>, rules: &Rules) -> Verdict<'a> {
    let mut verdict = Verdict::default();
    for series in &request.series {
        let counts = counts(series);
        verdict.received += counts;
        let mut series = series.clone();
        let strip = !rules.keep_vm_account_labels;
        let invalid = !labels_become_right(&mut series.labels, strip)
            || series.bad_reference
            || !series.labels.iter().any(|label| label.name == b"__name__");
        let values = series.labels.iter().map(|label| label.value.len());
        let over = (rules.label_names != 0 && series.labels.len() > rules.label_names as usize)
            || (rules.label_value_bytes != 0 && values.max().unwrap_or(0) > rules.label_value_bytes as usize);
        let strictly =
            protocol == Protocol::V2 && rules.strict && (series.samples.is_empty() == series.histograms.is_empty());
        if invalid {
            refuse(&mut verdict.invalid, 1, counts);
        } else if over {
            refuse(&mut verdict.label_limit, 1, counts);
        } else if strictly || !series.histograms.iter().all(adds_up) {
            refuse(&mut verdict.invalid, 1, counts);
        } else {
            keep(protocol, series, &mut verdict);
        }
    }
    let is_text = |metadata: &&Metadata<'_>| {
        let texts = [metadata.family, metadata.help, metadata.unit];
        !metadata.family.is_empty() && texts.iter().all(|text| std::str::from_utf8(text).is_ok())
    };
    verdict.kept.metadata = request.metadata.iter().filter(is_text).copied().collect();
    let families = verdict.kept.metadata.iter().map(|metadata| check::family_hash(metadata.family));
    verdict.footprint.extend(families);
    verdict.footprint.sort_unstable();
    verdict.footprint.dedup();
    verdict
}

fn keep<'a>(protocol: Protocol, mut series: Series<'a>, verdict: &mut Verdict<'a>) {
    series.exemplars.retain_mut(|exemplar: &mut Exemplar<'_>| {
        let right = labels_become_right(&mut exemplar.labels, false) && !exemplar.bad_reference;
        if !right {
            refuse(&mut verdict.invalid, 0, Counts { exemplars: 1, ..Counts::default() });
        }
        right
    });
    if let Some(metadata) = &mut series.metadata {
        for text in [&mut metadata.help, &mut metadata.unit] {
            if std::str::from_utf8(text).is_err() {
                *text = b"";
            }
        }
    }
    let counts = counts(&series);
    if counts.is_zero() {
        return;
    }
    verdict.accepted += counts;
    verdict.footprint.push(check::series_hash(&series.labels));
    let samples = series.samples.iter().map(|sample| sample.timestamp);
    for timestamp in samples.chain(series.histograms.iter().map(|histogram| histogram.timestamp)) {
        let (first, last) = verdict.timestamps.unwrap_or((timestamp, timestamp));
        verdict.timestamps = Some((first.min(timestamp), last.max(timestamp)));
    }
    if protocol == Protocol::V2 && !series.samples.is_empty() && !series.histograms.is_empty() {
        let histograms = std::mem::take(&mut series.histograms);
        let second = Series { histograms, samples: Vec::new(), exemplars: Vec::new(), ..series.clone() };
        verdict.kept.series.extend([series, second]);
    } else {
        verdict.kept.series.push(series);
    }
}

fn refuse(booked: &mut (u32, Counts), series: u32, counts: Counts) {
    booked.0 += series;
    booked.1 += counts;
}

const fn counts(series: &Series<'_>) -> Counts {
    Counts {
        samples: series.samples.len() as u64,
        histograms: series.histograms.len() as u64,
        exemplars: series.exemplars.len() as u64,
    }
}

/// Strips and sorts; returns whether the rest is valid.
fn labels_become_right(labels: &mut Vec<Label<'_>>, strip_account: bool) -> bool {
    let is_text = |text: &[u8]| std::str::from_utf8(text).is_ok();
    if !labels.iter().all(|label| !label.name.is_empty() && is_text(label.name) && is_text(label.value)) {
        return false;
    }
    let account = |name: &[u8]| name == b"vm_account_id" || name == b"vm_project_id";
    labels.retain(|label| !(label.value.is_empty() || strip_account && account(label.name)));
    labels.sort_by_key(|label| label.name);
    labels.windows(2).all(|pair| pair[0].name != pair[1].name)
}

/// The histogram's buckets as absolute numbers, if it can be read as what its count says it is.
fn buckets(histogram: &Histogram) -> Option<(f64, f64, Vec<f64>, Vec<f64>)> {
    let absolute = |deltas: &[i64]| {
        let mut bucket = 0_i128;
        deltas
            .iter()
            .map(|delta| {
                bucket += i128::from(*delta);
                bucket as f64
            })
            .collect::<Vec<_>>()
    };
    match (histogram.count.unwrap_or_default(), histogram.zero_count) {
        (Count::Int(_), Some(Count::Float(_))) | (Count::Float(_), Some(Count::Int(_))) => None,
        (Count::Int(count), zero) => {
            let zero = if let Some(Count::Int(zero)) = zero { zero as f64 } else { 0.0 };
            let none = histogram.negative_counts.is_empty() && histogram.positive_counts.is_empty();
            let (negative, positive) = (absolute(&histogram.negative_deltas), absolute(&histogram.positive_deltas));
            none.then_some((count as f64, zero, negative, positive))
        }
        (Count::Float(count), zero) => {
            let zero = if let Some(Count::Float(zero)) = zero { zero } else { 0.0 };
            let none = histogram.negative_deltas.is_empty() && histogram.positive_deltas.is_empty();
            none.then(|| (count, zero, histogram.negative_counts.clone(), histogram.positive_counts.clone()))
        }
    }
}

/// Numbers in generated histograms are small, so that they are exact as doubles.
fn adds_up(histogram: &Histogram) -> bool {
    let Some((count, zero, negative, positive)) = buckets(histogram) else { return false };
    let length = |spans: &[Span]| spans.iter().map(|span| span.length as usize).sum::<usize>();
    let fits =
        length(&histogram.negative_spans) == negative.len() && length(&histogram.positive_spans) == positive.len();
    let gaps = |spans: &[Span], from: usize| spans.iter().skip(from).all(|span| span.offset >= 0);
    let all = [vec![count, zero], negative, positive].concat();
    let total: f64 = all[1..].iter().sum();
    let sums = match histogram.count {
        Some(Count::Float(_)) => true,
        _ if histogram.sum.is_nan() => total <= count,
        _ => total.to_bits() == count.to_bits(),
    };
    let bounds = &histogram.custom_values;
    let sides = match histogram.schema {
        -53 => {
            let reach = histogram
                .positive_spans
                .iter()
                .map(|span| i64::from(span.length) + i64::from(span.offset))
                .sum::<i64>();
            gaps(&histogram.positive_spans, 0)
                && histogram.negative_spans.is_empty()
                && all.len() == 2 + length(&histogram.positive_spans)
                && zero == 0.0
                && histogram.zero_threshold == 0.0
                && bounds.iter().all(|bound| bound.is_finite())
                && bounds.windows(2).all(|pair| pair[0] < pair[1])
                && reach <= bounds.len() as i64 + 1
        }
        -4..=52 => bounds.is_empty() && gaps(&histogram.negative_spans, 1) && gaps(&histogram.positive_spans, 1),
        _ => false,
    };
    fits && sides && sums && !all.iter().any(|number| *number < 0.0)
}

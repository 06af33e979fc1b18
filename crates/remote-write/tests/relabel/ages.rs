//! Leaving out what is too old, against a filter on decoded requests.

use proptest::collection::vec;
use proptest::prelude::{Strategy, prop_assert, prop_assert_eq, proptest};
use proptest::sample::select;
use remote_write::age::expire;
use remote_write::model::{Count, Exemplar, Histogram, Label, Metadata, Request, Sample, Series};
use remote_write::{Counts, Protocol, encode, read};

const OLDEST: i64 = 1_000;

fn encoded(protocol: Protocol, request: &Request<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    match protocol {
        Protocol::V1 => encode::encode_v1(request, &mut out),
        Protocol::V2 => encode::encode_v2(request, &mut out),
    }
    out
}

fn labels() -> Vec<Label<'static>> {
    vec![Label { name: b"__name__", value: b"up" }]
}

fn sample(timestamp: i64) -> Sample {
    Sample { value: f64::from_bits(0x7ff0_0000_0000_0002), timestamp, start_timestamp: 0 }
}

fn histogram(timestamp: i64) -> Histogram {
    Histogram { count: Some(Count::Int(1)), zero_count: Some(Count::Int(1)), timestamp, ..Histogram::default() }
}

fn exemplar(timestamp: i64) -> Exemplar<'static> {
    let labels = vec![Label { name: b"trace_id", value: b"1" }];
    Exemplar { labels, value: 0.5, timestamp, bad_reference: false }
}

fn requests() -> impl Strategy<Value = Request<'static>> {
    let times = || vec(select(&[i64::MIN, -1, 0, OLDEST - 1, OLDEST, OLDEST + 1, i64::MAX][..]), 0..4);
    let series = (times(), times(), times()).prop_map(|(samples, histograms, exemplars)| Series {
        labels: labels(),
        samples: samples.into_iter().map(sample).collect(),
        // A v2 series has either.
        histograms: histograms.into_iter().map(histogram).collect(),
        exemplars: exemplars.into_iter().map(exemplar).collect(),
        ..Series::default()
    });
    let family = Metadata { kind: 1, family: b"up", ..Metadata::default() };
    vec(series, 0..5).prop_map(move |series| Request { series, metadata: vec![family] })
}

fn total(request: &Request<'_>) -> Counts {
    request.series.iter().fold(Counts::default(), |sum, series| {
        sum + Counts {
            samples: series.samples.len() as u64,
            histograms: series.histograms.len() as u64,
            exemplars: series.exemplars.len() as u64,
        }
    })
}

fn filtered<'a>(request: &Request<'a>) -> Request<'a> {
    let mut request = request.clone();
    for series in &mut request.series {
        series.samples.retain(|sample| sample.timestamp >= OLDEST);
        series.histograms.retain(|histogram| histogram.timestamp >= OLDEST);
        series.exemplars.retain(|exemplar| exemplar.timestamp >= OLDEST);
    }
    let has_data = |series: &Series<'_>| {
        !(series.samples.is_empty() && series.histograms.is_empty() && series.exemplars.is_empty())
    };
    request.series.retain(has_data);
    request
}

proptest! {
    #[test]
    fn what_is_old_goes_and_the_rest_keeps_its_bytes(
        request in requests(),
        protocol in select(&[Protocol::V1, Protocol::V2][..]),
    ) {
        let input = encoded(protocol, &request);
        let request = read::read(protocol, &input).unwrap();
        let expected = filtered(&request);
        let mut out = Vec::new();
        let expired = expire(protocol, &input, OLDEST, &mut out).unwrap();
        prop_assert_eq!(expired.kept, total(&expected));
        prop_assert_eq!(expired.kept + expired.expired, total(&request));
        prop_assert_eq!(expired.series as usize, expected.series.len());
        prop_assert_eq!(expired.changed, expected.series.len() < request.series.len() || !expired.expired.is_zero());
        prop_assert!(expired.changed || out.is_empty());
        let got = read::read(protocol, if expired.changed { &out } else { &input }).unwrap();
        prop_assert_eq!(encoded(protocol, &got), encoded(protocol, &expected));
    }
}

#[test]
fn an_exemplar_goes_by_its_own_age_whatever_becomes_of_its_series() {
    let series = Series {
        labels: labels(),
        samples: vec![sample(OLDEST - 1)],
        exemplars: vec![exemplar(OLDEST)],
        ..Series::default()
    };
    let request = Request { series: vec![series], metadata: Vec::new() };
    for protocol in [Protocol::V1, Protocol::V2] {
        let expired = expire(protocol, &encoded(protocol, &request), OLDEST, &mut Vec::new()).unwrap();
        assert_eq!((expired.kept.exemplars, expired.expired.samples), (1, 1), "{protocol:?}");
    }
}

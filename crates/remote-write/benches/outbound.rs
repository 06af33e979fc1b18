//! What forming an outgoing request costs per series, beside copying and compressing it. 2,000 series of 11 labels and
//! one sample, as a Kubernetes cluster's Prometheus sends them.

mod cluster;

use std::collections::HashMap;
use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use remote_write::Protocol;
use remote_write::concat::{merge_v2, snappy_elements, snappy_preamble};
use remote_write::encode::{encode_v1, encode_v2};
use remote_write::model::{Exemplar, Label, Metadata, Request, Sample, Series};
use remote_write::split::split;
use remote_write::translate::{Form, KnownFamilies, Translator};

const SERIES: usize = 2000;
/// How many records a batch is made of.
const RECORDS: usize = 10;

const V1: Form = Form { protocol: Protocol::V1, exemplars: true, native_histograms: true, metadata: true };
const V2: Form = Form { protocol: Protocol::V2, ..V1 };

/// The same cluster's records differ in their series, not in their strings.
fn record(strings: &[Vec<String>], first: usize, exemplars: bool) -> Request<'_> {
    let mut series: Vec<Series<'_>> = Vec::new();
    for number in first..first + SERIES {
        let sample = Sample { value: number as f64 * 1.5, timestamp: 1_750_000_000_000, start_timestamp: 0 };
        let metadata = Some(Metadata { kind: 1, help: b"How many packets were received.", ..Metadata::default() });
        let plain = Series { labels: cluster::labels(strings, number), metadata, ..Series::default() };
        series.push(Series { samples: vec![sample], ..plain.clone() });
        if exemplars && number % 10 == 0 {
            let labels = vec![Label { name: b"trace_id", value: b"4bf92f3577b34da6a3ce929d0e0e4736" }];
            let exemplar = Exemplar { labels, timestamp: sample.timestamp, value: 0.5, bad_reference: false };
            series.push(Series { exemplars: vec![exemplar], ..plain });
        }
    }
    Request { series, metadata: Vec::new() }
}

/// Every metric's family, as earlier requests described it.
struct Known(HashMap<Vec<u8>, Metadata<'static>>);

impl KnownFamilies for Known {
    fn family(&self, name: &[u8]) -> Option<Metadata<'_>> {
        self.0.get(name).copied()
    }
}

fn known(strings: &[Vec<String>]) -> Known {
    let metadata = Metadata { kind: 1, help: b"How many packets were received.", ..Metadata::default() };
    Known(strings.iter().take(1).flatten().map(|name| (name.clone().into_bytes(), metadata)).collect())
}

fn outbound(criterion: &mut Criterion) {
    let strings = cluster::strings();
    let encoded = |request: &Request<'_>| {
        let (mut v1, mut v2) = (Vec::new(), Vec::new());
        encode_v1(request, &mut v1);
        encode_v2(request, &mut v2);
        (v1, v2)
    };
    let (v1, v2) = encoded(&record(&strings, 0, false));
    let (lone_v1, lone_v2) = encoded(&record(&strings, 0, true));

    let mut group = criterion.benchmark_group("outbound");
    group.sample_size(20).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    group.throughput(Throughput::Elements(SERIES as u64));

    let mut out = Vec::new();
    let mut translator = Translator::new();
    let mut form = |name: &str, from: Protocol, body: &[u8], to: Form| {
        group.bench_function(name, |bencher| {
            bencher.iter(|| translator.form(from, black_box(body), &to, &mut out).map(|formed| formed.series));
        });
    };
    form("translate/v1_to_v2", Protocol::V1, &v1, V2);
    form("translate/v2_to_v1", Protocol::V2, &v2, V1);
    form("translate/v2_to_v2", Protocol::V2, &v2, V2);
    form("translate/v1_to_v2_lone_exemplars", Protocol::V1, &lone_v1, V2);
    form("translate/v2_to_v2_lone_exemplars", Protocol::V2, &lone_v2, V2);
    form("filter/v1_without_exemplars", Protocol::V1, &lone_v1, Form { exemplars: false, ..V1 });
    let known = known(&strings);
    group.bench_function("translate/v1_to_v2_known_families", |bencher| {
        let known: Option<&dyn KnownFamilies> = Some(&known);
        bencher
            .iter(|| translator.form_knowing(known, Protocol::V1, black_box(&v1), &V2, &mut out).map(|it| it.series));
    });

    for (name, protocol, body) in [("split/v1_in_4", Protocol::V1, &v1), ("split/v2_in_4", Protocol::V2, &v2)] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| split(protocol, black_box(body), SERIES as u64 / 4, usize::MAX).map(|parts| parts.len()));
        });
    }
    for (name, body) in [("v1", &v1), ("v2", &v2)] {
        let mut compressor = snap::raw::Encoder::new();
        let mut block = vec![0; snap::raw::max_compress_len(body.len())];
        group.bench_function(format!("snappy_compress/{name}"), |bencher| {
            bencher.iter(|| compressor.compress(black_box(body), &mut block));
        });
        group.bench_function(format!("memcpy/{name}"), |bencher| {
            bencher.iter(|| {
                out.clear();
                out.extend_from_slice(black_box(body));
                out.len()
            });
        });
    }

    group.throughput(Throughput::Elements((SERIES * RECORDS) as u64));
    let records: Vec<(Vec<u8>, Vec<u8>)> =
        (0..RECORDS).map(|number| encoded(&record(&strings, number * SERIES, false))).collect();
    let blocks: Vec<Vec<u8>> =
        records.iter().map(|(v1, _)| snap::raw::Encoder::new().compress_vec(v1).unwrap_or_default()).collect();
    group.bench_function("concat/snappy_10_records", |bencher| {
        bencher.iter(|| {
            let elements = blocks.iter().filter_map(|block| snappy_elements(black_box(block)).ok());
            let (total, bytes) =
                elements.fold((0, 0), |(total, bytes), (length, rest)| (total + length, bytes + rest.len()));
            (snappy_preamble(total), bytes)
        });
    });
    let bodies: Vec<&[u8]> = records.iter().map(|(_, v2)| v2.as_slice()).collect();
    group.bench_function("concat/merge_v2_10_records", |bencher| {
        bencher.iter(|| merge_v2(black_box(&bodies), &mut out));
    });
    group.finish();
}

criterion_group!(benches, outbound);
criterion_main!(benches);

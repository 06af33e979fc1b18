//! What each step of a push costs, per series: 2,000 series as Prometheus sends them from Kubernetes (one sample, 11
//! labels, about 356 bytes in v1). `memcpy` is the floor to compare with.

#![expect(clippy::expect_used, reason = "a benchmark that cannot run says why")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use remote_write::check::{Checker, Rules};
use remote_write::compression::{Compressor, Decompressor};
use remote_write::wire::{put_fixed64, put_len_delimited, put_message, put_varint, put_varint_field};
use remote_write::{Compression, Protocol};
use std::collections::HashMap;
use std::hint::black_box;
use std::time::Duration;

const SERIES: usize = 2000;

/// Sorted by name, as Prometheus sends them.
fn labels(series: usize) -> Vec<(&'static str, String)> {
    let pod = series % 97;
    let node = pod % 12;
    vec![
        ("__name__", format!("container_network_receive_bytes_total_{:03}", series % 40)),
        ("container", "POD".to_owned()),
        ("endpoint", "https-metrics".to_owned()),
        ("id", format!("/kubepods.slice/pod{:016x}", pod * 0x9e37_79b9)),
        ("image", "registry.k8s.io/pause:3.9".to_owned()),
        ("instance", format!("10.42.{node}.17:10250")),
        ("job", "kubelet".to_owned()),
        ("metrics_path", "/metrics/cadvisor".to_owned()),
        ("namespace", format!("team-{:02}", pod % 20)),
        ("node", format!("ip-10-42-{node}-17")),
        ("pod", format!("checkout-{series:04}-7d9f8b6c5d-{pod:05}")),
    ]
}

fn put_datum(out: &mut Vec<u8>, series: usize) {
    put_fixed64(out, 1, (series as f64 * 17.25).to_bits());
    put_varint_field(out, 2, 1_763_000_000_123);
}

fn v1(sorted: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for series in 0..SERIES {
        let mut labels = labels(series);
        if !sorted {
            // As vmagent sends them: the metric's name first, then the target's labels, then the exposition's.
            labels.rotate_left(5);
        }
        put_message(&mut out, 1, |out| {
            for (name, value) in &labels {
                put_message(out, 1, |out| {
                    put_len_delimited(out, 1, name.as_bytes());
                    put_len_delimited(out, 2, value.as_bytes());
                });
            }
            put_message(out, 2, |out| put_datum(out, series));
        });
    }
    out
}

fn v2() -> Vec<u8> {
    let mut references = HashMap::from([(String::new(), 0)]);
    let mut out = Vec::new();
    put_len_delimited(&mut out, 4, b"");
    let mut all = Vec::new();
    for series in 0..SERIES {
        let mut packed = Vec::new();
        for (name, value) in labels(series) {
            for text in [name.to_owned(), value] {
                let next = references.len() as u64;
                let reference = *references.entry(text).or_insert_with_key(|text| {
                    put_len_delimited(&mut out, 4, text.as_bytes());
                    next
                });
                put_varint(&mut packed, reference);
            }
        }
        put_message(&mut all, 5, |out| {
            put_len_delimited(out, 1, &packed);
            put_message(out, 2, |out| put_datum(out, series));
            put_message(out, 5, |out| put_varint_field(out, 1, 1));
        });
    }
    out.extend_from_slice(&all);
    out
}

fn compressions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("inbound");
    group.throughput(Throughput::Elements(SERIES as u64));
    let raw = v1(true);
    let mut out = Vec::new();
    group.bench_function("memcpy v1", |bencher| {
        bencher.iter(|| {
            out.clear();
            out.extend_from_slice(black_box(&raw));
        });
    });
    for compression in [Compression::Snappy, Compression::Zstd] {
        let mut body = Vec::new();
        Compressor::new().compress(compression, &raw, &mut body).expect("packs");
        let mut decompressor = Decompressor::new();
        group.bench_function(format!("unpack v1 {compression:?}"), |bencher| {
            bencher
                .iter(|| decompressor.decompress(compression, black_box(&body), 32 << 20, &mut out).expect("unpacks"));
        });
    }
    group.bench_function("xxh3 v1", |bencher| {
        bencher.iter(|| {
            raw.chunks(raw.len() / SERIES).fold(0, |sum, chunk| sum ^ xxhash_rust::xxh3::xxh3_64(black_box(chunk)))
        });
    });
    group.finish();
}

fn checks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("check");
    group.throughput(Throughput::Elements(SERIES as u64));
    let rules = Rules { label_names: 64, label_value_bytes: 2048, ..Rules::default() };
    let mut checker = Checker::new();
    let requests = [
        ("v1", Protocol::V1, v1(true), true),
        ("v1 unsorted", Protocol::V1, v1(false), false),
        ("v2", Protocol::V2, v2(), true),
    ];
    for (name, protocol, request, right) in requests {
        let checked = checker.check(protocol, &request, &rules).expect("a request");
        assert_eq!((checked.accepted_series as usize, checked.mended.is_none()), (SERIES, right), "{name}");
        group.bench_function(format!("{name} {} bytes", request.len() / SERIES), |bencher| {
            bencher.iter(|| checker.check(protocol, black_box(&request), &rules).map(|checked| checked.accepted));
        });
    }
    let request = v1(true);
    let footprint: Vec<u32> =
        request.chunks(request.len() / SERIES).map(|chunk| xxhash_rust::xxh3::xxh3_64(chunk) as u32).collect();
    let mut sorted = Vec::new();
    group.bench_function("footprint sort", |bencher| {
        bencher.iter(|| {
            sorted.clear();
            sorted.extend_from_slice(black_box(&footprint));
            sorted.sort_unstable();
            sorted.dedup();
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = compressions, checks
}
criterion_main!(benches);

//! What relabeling costs per series, beside decompressing. 2,000 series of 11 labels and one sample, as a Kubernetes
//! cluster's Prometheus sends them.

mod cluster;

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use remote_write::Protocol;
use remote_write::encode::{encode_v1, encode_v2};
use remote_write::model::{Request, Sample, Series};
use remote_write::relabel::{Action, Cache, Definition, Pipeline, Relabeler, Rule, Step};

const SERIES: usize = 2000;

/// The request in both protocols.
fn request() -> (Vec<u8>, Vec<u8>) {
    let strings = cluster::strings();
    let series = (0..SERIES).map(|number| {
        let sample = Sample { value: number as f64 * 1.5, timestamp: 1_750_000_000_000, start_timestamp: 0 };
        Series { labels: cluster::labels(&strings, number), samples: vec![sample], ..Series::default() }
    });
    let request = Request { series: series.collect(), metadata: Vec::new() };
    let (mut v1, mut v2) = (Vec::new(), Vec::new());
    encode_v1(&request, &mut v1);
    encode_v2(&request, &mut v2);
    (v1, v2)
}

fn rule(action: Action, source: &str, regex: &str, target: &str, replacement: &str) -> Step {
    let definition = Definition {
        source_labels: if source.is_empty() { Vec::new() } else { vec![source.to_owned()] },
        regex: regex.to_owned(),
        target_label: target.to_owned(),
        replacement: replacement.to_owned(),
        action,
        ..Definition::default()
    };
    // A mistake in a rule of this bench shows as a rule that does nothing.
    Step::Rule(definition.compile().unwrap_or_else(|_invalid| Rule::default()))
}

fn relabel(criterion: &mut Criterion) {
    let (v1, v2) = request();
    let keep_all = rule(Action::Keep, "__name__", "container_.*", "", "$1");
    let drop_some = rule(Action::Drop, "__name__", "container_network_receive_packets_(1|2|3).*", "", "$1");
    let edit = rule(Action::Replace, "pod", "service-([^-]+)-.*", "workload", "$1");
    let remove = rule(Action::LabelDrop, "", "id|image", "", "$1");
    let pipelines = [
        ("keep", vec![keep_all]),
        ("drop_some", vec![drop_some.clone()]),
        ("edit", vec![drop_some, edit, remove]),
        ("default", vec![Step::Default { name: "region".to_owned(), value: "eu".to_owned() }]),
    ];

    let mut group = criterion.benchmark_group("relabel");
    group.sample_size(20).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    group.throughput(Throughput::Elements(SERIES as u64));
    let (mut relabeler, mut out, mut hashes) = (Relabeler::new(), Vec::new(), Vec::new());
    for (name, steps) in pipelines {
        let pipeline = Pipeline::new(steps, 7);
        for (protocol, body) in [(Protocol::V1, &v1), (Protocol::V2, &v2)] {
            let warm = Cache::new(64 << 20);
            group.bench_function(format!("{name}/{protocol:?}/warm"), |bencher| {
                bencher.iter(|| {
                    relabeler.relabel(&pipeline, &warm, protocol, black_box(body), &mut out).map(|done| done.series)
                });
            });
            group.bench_function(format!("{name}/{protocol:?}/footprint"), |bencher| {
                bencher.iter(|| relabeler.footprint(&pipeline, &warm, protocol, black_box(body), &mut hashes));
            });
            group.bench_function(format!("{name}/{protocol:?}/cold"), |bencher| {
                bencher.iter(|| {
                    let cold = Cache::new(0);
                    relabeler.relabel(&pipeline, &cold, protocol, black_box(body), &mut out).map(|done| done.series)
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, relabel);
criterion_main!(benches);

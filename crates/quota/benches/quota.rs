//! What limits cost: per request for rates, windows and bytes in flight; per series for active series, in requests of 2,000
//! series that go round all of a tenant's.

use std::hint::black_box;
use std::num::NonZeroU32;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use quota::fair::Budget;
use quota::rate::Rate;
use quota::series::{ActiveSeries, GENERATION};
use quota::window::SlidingWindow;

const A_REQUEST: usize = 2_000;
const SEED: u64 = 0x9c6e_8f1b_53a7_d40d;

fn requests(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("request");
    let mut now = 0;
    let mut tick = || {
        now += 1000;
        now
    };
    let rate = Rate::new(10_000_000);
    group.bench_function("rate", |bencher| bencher.iter(|| rate.take(black_box(9), tick())));
    let window = SlidingWindow::new(NonZeroU32::MAX, Duration::from_secs(1));
    group.bench_function("window", |bencher| bencher.iter(|| window.take(tick())));
    let budget = Budget::new(1 << 28);
    let (share, _other) = (budget.share(), budget.share());
    group.bench_function("bytes in flight", |bencher| bencher.iter(|| share.reserve(black_box(100_000), tick())));
    group.finish();
}

fn series(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("series");
    group.throughput(Throughput::Elements(A_REQUEST as u64));
    for count in [10_000, 100_000, 1_000_000] {
        let hashes: Vec<u32> = (0..count as u32).map(|series| series.wrapping_mul(0x9e37_79b9) ^ series >> 7).collect();
        let mut refused = Vec::new();
        for (what, limit) in [("counted", 0), ("known", count)] {
            let series = ActiveSeries::new(SEED);
            series.admit(&hashes, limit, 0, &mut refused);
            let mut requests = hashes.chunks_exact(A_REQUEST).cycle();
            group.bench_function(format!("{what}, {count}"), |bencher| {
                bencher.iter(|| series.admit(requests.next().unwrap_or_default(), limit, 0, &mut refused));
            });
        }
        let series = ActiveSeries::new(SEED);
        series.admit(&hashes, count, 0, &mut refused);
        let mut requests = hashes.chunks_exact(A_REQUEST).cycle();
        group.bench_function(format!("refused, {count}"), |bencher| {
            bencher.iter(|| {
                refused.clear();
                let others: [u32; A_REQUEST] = std::array::from_fn(|index| !hashes[index]);
                series.admit(black_box(&others), count, 0, &mut refused);
            });
        });
        // All move to a new generation, once every ten minutes.
        let (mut round, rounds) = (0, (count / A_REQUEST) as u64);
        group.bench_function(format!("moved, {count}"), |bencher| {
            bencher.iter(|| {
                let generation = round / rounds;
                round += 1;
                series.admit(requests.next().unwrap_or_default(), count, generation * GENERATION, &mut refused);
            });
        });
    }
    let series = ActiveSeries::new(SEED);
    group.throughput(Throughput::Elements(1));
    group.bench_function("count", |bencher| bencher.iter(|| series.count(0)));
    group.finish();
}

criterion_group!(benches, requests, series);
criterion_main!(benches);

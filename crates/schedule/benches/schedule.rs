//! What order per series costs, per series of a record and endpoint: 2,000 series a record, 100,000 in all, 50 records read
//! ahead. The floor is copying the footprints once.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use schedule::order::DeliveryOrder;
use schedule::window::Window;

const SERIES: u32 = 100_000;
const A_RECORD: u32 = 2_000;
const RECORDS: u32 = 200;
/// Read ahead of what is settled.
const AHEAD: u64 = 50;

/// The footprints of records that go round all series. Targets are not scraped in the same order each time: each round cuts
/// the series differently.
fn footprints() -> Vec<Vec<u32>> {
    let hash = |series: u32| series.wrapping_mul(0x9e37_79b9);
    let footprint = |record: u32| {
        let first = record * A_RECORD + record / (SERIES / A_RECORD) * 700;
        let mut hashes: Vec<u32> = (first..first + A_RECORD).map(|series| hash(series % SERIES)).collect();
        hashes.sort_unstable();
        hashes
    };
    (0..RECORDS).map(footprint).collect()
}

/// Takes all records through so many deliveries, which read them one after the other.
fn deliver(footprints: &[Vec<u32>], endpoints: usize) -> usize {
    let shared = Arc::default();
    let mut deliveries: Vec<_> =
        (0..endpoints).map(|_| (Window::new(), DeliveryOrder::new(Arc::clone(&shared)))).collect();
    let mut settled = 0;
    for (position, footprint) in (0_u64..).zip(footprints) {
        for (window, order) in &mut deliveries {
            let predecessors = order.as_it_came(position, footprint.iter().copied(), window.open());
            window.admit(position, (), &predecessors);
            if window.open().is_some_and(|open| open.end - open.start >= AHEAD) {
                let taken = window.take_free(|()| true);
                settled += taken.len();
                window.settle(taken.into_iter().map(|(position, ())| position));
            }
        }
    }
    settled
}

fn schedule(criterion: &mut Criterion) {
    let footprints = footprints();
    let mut group = criterion.benchmark_group("schedule");
    let hashes = u64::from(RECORDS * A_RECORD);
    for endpoints in [1, 3, 8] {
        group.throughput(Throughput::Elements(hashes * endpoints as u64));
        let what = format!("{endpoints} endpoints");
        group.bench_function(what, |bencher| bencher.iter(|| deliver(black_box(&footprints), endpoints)));
    }
    group.throughput(Throughput::Elements(hashes));
    group.bench_function("memcpy of the footprints", |bencher| {
        bencher.iter_batched_ref(
            || Vec::with_capacity((RECORDS * A_RECORD) as usize),
            |out: &mut Vec<u32>| footprints.iter().for_each(|footprint| out.extend_from_slice(black_box(footprint))),
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

criterion_group!(benches, schedule);
criterion_main!(benches);

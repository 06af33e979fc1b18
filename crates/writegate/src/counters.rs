//! Atomic counters that several tasks add to and the metrics page reads.

use std::sync::atomic::{AtomicU64, Ordering};

use remote_write::Counts;

/// A [`Counts`] that many tasks add to.
#[derive(Debug, Default)]
pub(crate) struct CountsCounter {
    samples: AtomicU64,
    histograms: AtomicU64,
    exemplars: AtomicU64,
}

impl CountsCounter {
    pub(crate) fn add(&self, counts: Counts) {
        // Most requests carry samples only: skip the read-modify-writes that add nothing.
        for (counter, n) in [
            (&self.samples, counts.samples),
            (&self.histograms, counts.histograms),
            (&self.exemplars, counts.exemplars),
        ] {
            if n > 0 {
                counter.fetch_add(n, Ordering::Relaxed);
            }
        }
    }

    pub(crate) fn get(&self) -> Counts {
        Counts {
            samples: self.samples.load(Ordering::Relaxed),
            histograms: self.histograms.load(Ordering::Relaxed),
            exemplars: self.exemplars.load(Ordering::Relaxed),
        }
    }
}

/// Upper bounds in seconds of Prometheus' own `sent_batch_duration_seconds`.
pub(crate) const BATCH_SECONDS: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 60.0, 120.0, 300.0];

/// Upper bounds in seconds for what a local disk does.
pub(crate) const DISK_SECONDS: &[f64] =
    &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 4.0];

/// A histogram with fixed bounds.
#[derive(Debug)]
pub(crate) struct Histogram {
    bounds: &'static [f64],
    /// One per bound and one for +Inf; not cumulative.
    buckets: Box<[AtomicU64]>,
    sum_micros: AtomicU64,
}

impl Histogram {
    pub(crate) fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, buckets: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(), sum_micros: AtomicU64::new(0) }
    }

    pub(crate) fn observe(&self, duration: std::time::Duration) {
        let seconds = duration.as_secs_f64();
        let index = self.bounds.partition_point(|bound| *bound < seconds);
        self.buckets[index].fetch_add(1, Ordering::Relaxed);
        self.sum_micros.fetch_add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Cumulative counts per bound (`+Inf` last), and the sum in seconds.
    pub(crate) fn read(&self) -> (Vec<(f64, u64)>, f64) {
        let mut total = 0;
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        let cumulative = bounds
            .zip(&self.buckets)
            .map(|(bound, bucket)| {
                total += bucket.load(Ordering::Relaxed);
                (bound, total)
            })
            .collect();
        #[expect(clippy::cast_precision_loss, reason = "a sum for a graph")]
        let sum = self.sum_micros.load(Ordering::Relaxed) as f64 / 1e6;
        (cumulative, sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_histogram_puts_a_value_on_a_bound_into_that_bound() {
        let histogram = Histogram::new(&[0.1, 1.0]);
        histogram.observe(Duration::from_millis(100));
        histogram.observe(Duration::from_millis(101));
        histogram.observe(Duration::from_secs(5));
        assert_eq!(histogram.read(), (vec![(0.1, 1), (1.0, 2), (f64::INFINITY, 3)], 5.201));
    }
}

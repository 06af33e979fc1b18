//! Durations counted in buckets: bounded memory, quantiles within 7 %.

use std::fmt;
use std::time::Duration;

/// Buckets per doubling.
const STEPS: u32 = 16;

/// A histogram of durations with microsecond resolution.
#[derive(Clone, Default)]
pub struct Latencies {
    buckets: Vec<u64>,
    count: u64,
    sum: Duration,
    max: Duration,
}

impl Latencies {
    /// Counts one duration.
    pub fn record(&mut self, latency: Duration) {
        self.record_times(latency, 1);
    }

    /// Counts a duration so many times.
    pub fn record_times(&mut self, latency: Duration, times: u64) {
        let bucket = bucket_of(latency);
        if self.buckets.len() <= bucket {
            self.buckets.resize(bucket + 1, 0);
        }
        if let Some(count) = self.buckets.get_mut(bucket) {
            *count += times;
        }
        self.count += times;
        let times = u32::try_from(times).unwrap_or(u32::MAX);
        self.sum = self.sum.saturating_add(latency.saturating_mul(times));
        self.max = self.max.max(latency);
    }

    /// Adds what another one counted.
    pub fn merge(&mut self, other: &Self) {
        self.buckets.resize(self.buckets.len().max(other.buckets.len()), 0);
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.count += other.count;
        self.sum += other.sum;
        self.max = self.max.max(other.max);
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The mean; zero when nothing was counted.
    pub fn mean(&self) -> Duration {
        if self.count == 0 { Duration::ZERO } else { self.sum.div_f64(self.count as f64) }
    }

    /// The longest.
    pub fn max(&self) -> Duration {
        self.max
    }

    /// The smallest bucket bound that at least the share `quantile` (0 to 1) does not exceed; at most [`Self::max`].
    pub fn quantile(&self, quantile: f64) -> Duration {
        let rank = (quantile.clamp(0.0, 1.0) * self.count as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return bound_of(bucket).min(self.max);
            }
        }
        self.max
    }
}

impl fmt::Debug for Latencies {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99] = [0.5, 0.99].map(|quantile| self.quantile(quantile));
        write!(formatter, "Latencies {{ count: {}, p50: {p50:?}, p99: {p99:?}, max: {:?} }}", self.count, self.max)
    }
}

/// The first 16 buckets are one microsecond wide, then 16 per doubling.
fn bucket_of(latency: Duration) -> usize {
    let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
    if micros < u64::from(STEPS) {
        return micros as usize;
    }
    let doublings = micros.ilog2() - STEPS.ilog2();
    let step = (micros >> doublings) as u32 - STEPS;
    ((doublings + 1) * STEPS + step) as usize
}

/// The longest duration of a bucket.
fn bound_of(bucket: usize) -> Duration {
    let steps = STEPS as usize;
    if bucket < steps {
        return Duration::from_micros(bucket as u64);
    }
    let doublings = (bucket / steps - 1) as u32;
    let first = ((steps + bucket % steps) as u64) << doublings;
    Duration::from_micros(first + (1 << doublings) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_its_bound_and_the_next_holds_one_more() {
        for bucket in 0..400 {
            let bound = bound_of(bucket);
            assert_eq!(bucket_of(bound), bucket);
            assert_eq!(bucket_of(bound + Duration::from_micros(1)), bucket + 1);
        }
    }

    #[test]
    fn quantiles_are_within_a_sixteenth() {
        let mut latencies = Latencies::default();
        for millis in 1..=1000 {
            latencies.record(Duration::from_millis(millis));
        }
        for (quantile, exact) in [(0.5, 500.0), (0.99, 990.0), (0.999, 999.0)] {
            let seen = latencies.quantile(quantile).as_secs_f64() * 1000.0;
            assert!(seen >= exact && seen <= exact * 1.0625, "{quantile}: {seen}");
        }
        assert_eq!(latencies.quantile(1.0), Duration::from_secs(1));
        assert_eq!(latencies.max(), Duration::from_secs(1));
    }

    #[test]
    fn merging_is_the_same_as_counting_together() {
        let [mut one, mut other, mut both] = [(); 3].map(|()| Latencies::default());
        for (index, micros) in [3, 70, 900, 12_000, 5].into_iter().enumerate() {
            let latency = Duration::from_micros(micros);
            let target = if index % 2 == 0 { &mut one } else { &mut other };
            target.record(latency);
            both.record(latency);
        }
        one.merge(&other);
        assert_eq!(format!("{one:?}"), format!("{both:?}"));
        assert_eq!(one.mean(), both.mean());
    }

    #[test]
    fn nothing_counted_is_zero() {
        let none = Latencies::default();
        assert_eq!((none.mean(), none.quantile(0.99), none.max()), (Duration::ZERO, Duration::ZERO, Duration::ZERO));
    }
}

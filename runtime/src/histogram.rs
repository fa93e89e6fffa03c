//! Latency histograms of fixed size: recording never allocates and never forgets the maximum.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Shortest distinguishable time, ns.
const LOWEST_NS: u64 = 64;
/// Longest time kept apart, ns. Longer ones count in the last bucket; the maximum stays exact.
const HIGHEST_NS: u64 = 60_000_000_000;
/// Two significant digits: percentiles are within 1 %.
const DIGITS: u8 = 2;

/// Distribution of one duration.
#[derive(Debug, Clone)]
pub struct LatencyHistogram {
    buckets: Histogram<u64>,
    max_ns: u64,
    sum_ns: u128,
}

impl Default for LatencyHistogram {
    fn default() -> Self {
        Self::new()
    }
}

impl LatencyHistogram {
    /// An empty histogram. All memory that it will ever need is taken here.
    pub fn new() -> Self {
        let buckets = match Histogram::new_with_bounds(LOWEST_NS, HIGHEST_NS, DIGITS) {
            Ok(buckets) => buckets,
            Err(error) => unreachable!("constant bounds are valid: {error}"),
        };
        Self {
            buckets,
            max_ns: 0,
            sum_ns: 0,
        }
    }

    /// Adds one duration, ns.
    pub fn record(&mut self, nanos: u64) {
        self.buckets.saturating_record(nanos);
        self.max_ns = self.max_ns.max(nanos);
        self.sum_ns += u128::from(nanos);
    }

    /// Number of durations recorded.
    pub fn count(&self) -> u64 {
        self.buckets.len()
    }

    /// Adds everything that `other` holds. Does not allocate.
    pub fn merge(&mut self, other: &Self) {
        // Equal bounds add bucket by bucket, which cannot fail.
        if self.buckets.add(&other.buckets).is_ok() {
            self.max_ns = self.max_ns.max(other.max_ns);
            self.sum_ns += other.sum_ns;
        }
    }

    /// Becomes a copy of `other`. Does not allocate.
    pub fn copy_from(&mut self, other: &Self) {
        self.clear();
        self.merge(other);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.buckets.reset();
        self.max_ns = 0;
        self.sum_ns = 0;
    }

    /// The duration that a share `quantile` (0..=1) of all durations does not exceed, ns.
    pub fn quantile_ns(&self, quantile: f64) -> u64 {
        self.buckets.value_at_quantile(quantile).min(self.max_ns)
    }

    /// The figures that people read.
    pub fn summary(&self) -> Summary {
        let us = |nanos: u64| nanos as f64 / 1e3;
        let count = self.count();
        Summary {
            count,
            mean_us: if count == 0 {
                0.0
            } else {
                self.sum_ns as f64 / count as f64 / 1e3
            },
            p50_us: us(self.quantile_ns(0.50)),
            p99_us: us(self.quantile_ns(0.99)),
            max_us: us(self.max_ns),
        }
    }
}

/// A histogram in five figures.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Summary {
    /// Durations recorded.
    pub count: u64,
    /// Mean, µs.
    pub mean_us: f64,
    /// Median, µs, within 1 %.
    pub p50_us: f64,
    /// 99th percentile, µs, within 1 %.
    pub p99_us: f64,
    /// Longest, µs, exact.
    pub max_us: f64,
}

/// The four durations that every real-time thread keeps.
#[derive(Debug, Clone, Default)]
pub struct Stats {
    /// From the start of one tick to the start of the next.
    pub period: LatencyHistogram,
    /// From a tick's deadline to its start.
    pub wake_error: LatencyHistogram,
    /// From a tick's start to its end.
    pub work: LatencyHistogram,
    /// From the capture of the oldest input to its use. Empty where nothing is observed.
    pub observation_age: LatencyHistogram,
}

impl Stats {
    /// Adds everything that `other` holds. Does not allocate.
    pub fn merge(&mut self, other: &Self) {
        self.period.merge(&other.period);
        self.wake_error.merge(&other.wake_error);
        self.work.merge(&other.work);
        self.observation_age.merge(&other.observation_age);
    }

    /// Becomes a copy of `other`. Does not allocate, so a real-time thread may publish with it.
    pub fn copy_from(&mut self, other: &Self) {
        self.period.copy_from(&other.period);
        self.wake_error.copy_from(&other.wake_error);
        self.work.copy_from(&other.work);
        self.observation_age.copy_from(&other.observation_age);
    }

    /// The figures that people read.
    pub fn summary(&self) -> StatsSummary {
        StatsSummary {
            period: self.period.summary(),
            wake_error: self.wake_error.summary(),
            work: self.work.summary(),
            observation_age: self.observation_age.summary(),
        }
    }
}

/// [`Stats`] in figures, µs.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct StatsSummary {
    /// From the start of one tick to the start of the next.
    pub period: Summary,
    /// From a tick's deadline to its start.
    pub wake_error: Summary,
    /// From a tick's start to its end.
    pub work: Summary,
    /// From the capture of the oldest input to its use.
    pub observation_age: Summary,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn percentiles_are_within_one_percent() {
        let mut histogram = LatencyHistogram::new();
        (1..=1000u64).for_each(|us| histogram.record(us * 1000));
        let summary = histogram.summary();
        assert!((summary.p50_us / 500.0 - 1.0).abs() < 0.01, "{summary:?}");
        assert!((summary.p99_us / 990.0 - 1.0).abs() < 0.01, "{summary:?}");
        assert_eq!(summary.max_us, 1000.0);
        assert!((summary.mean_us - 500.5).abs() < 1e-9);
    }

    #[test]
    fn empty_histogram_has_a_finite_summary() {
        assert_eq!(LatencyHistogram::new().summary(), Summary::default());
    }

    proptest! {
        #[test]
        fn merging_equals_recording_all(a: Vec<u64>, b: Vec<u64>) {
            let fill = |values: &[u64]| {
                let mut histogram = LatencyHistogram::new();
                values.iter().for_each(|&v| histogram.record(v));
                histogram
            };
            let mut merged = fill(&a);
            merged.merge(&fill(&b));
            let all: Vec<u64> = a.iter().chain(&b).copied().collect();
            prop_assert_eq!(merged.summary(), fill(&all).summary());
            prop_assert_eq!(merged.count(), all.len() as u64);
        }

        #[test]
        fn quantiles_are_ordered_and_below_the_maximum(values: Vec<u64>) {
            let mut histogram = LatencyHistogram::new();
            values.iter().for_each(|&v| histogram.record(v));
            let s = histogram.summary();
            prop_assert!(s.p50_us <= s.p99_us && s.p99_us <= s.max_us);
        }
    }
}

//! A histogram of durations that is recorded into without a lock.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::{MetricEncoder, NoLabelSet};

/// Upper bounds in microseconds: from what a sidecar adds by itself to what its longest timeout allows.
const BOUNDS_US: [u64; 16] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000,
];

/// Counts durations by size. Its parts are read one after the other: a scrape may see a duration in a bucket
/// a moment before it is in the sum.
#[derive(Debug, Default)]
pub struct DurationHistogram {
    within: [AtomicU64; BOUNDS_US.len()],
    longer: AtomicU64,
    /// Whole microseconds: nanoseconds would wrap within days on a busy sidecar.
    sum_us: AtomicU64,
}

impl DurationHistogram {
    /// Counts one duration, given in nanoseconds.
    pub fn record_ns(&self, duration_ns: u64) {
        // Rounded, so that short durations do not all weigh zero.
        let duration_us = duration_ns.saturating_add(500) / 1_000;
        let bucket = self.within.iter().zip(BOUNDS_US).find(|(_, bound_us)| duration_us <= *bound_us);
        bucket.map_or(&self.longer, |(count, _)| count).fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(duration_us, Ordering::Relaxed);
    }

    pub(super) fn encode(&self, encoder: &mut MetricEncoder<'_>) -> fmt::Result {
        let mut buckets = [(f64::INFINITY, 0); BOUNDS_US.len() + 1];
        let counts = self.within.iter().zip(BOUNDS_US.map(seconds)).map(|(count, bound)| (bound, count));
        let counts = counts.chain([(f64::INFINITY, &self.longer)]);
        let mut total = 0_u64;
        for (bucket, (bound, count)) in buckets.iter_mut().zip(counts) {
            let count = count.load(Ordering::Relaxed);
            total = total.saturating_add(count);
            *bucket = (bound, count);
        }
        let sum = seconds(self.sum_us.load(Ordering::Relaxed));
        encoder.encode_histogram::<NoLabelSet>(sum, total, &buckets, None)
    }
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 285 years; a metric bears the rounding beyond")]
fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

//! How long an endpoint takes: the peak of late, which fades. One slow answer counts at once, many quick ones make up for
//! it slowly.
use std::sync::atomic::{AtomicU64, Ordering};

/// A latency that rises with the peaks and fades by half in about seven seconds.
#[derive(Debug)]
pub(super) struct PeakEwma {
    /// The bits of nanoseconds as `f64`.
    estimate: AtomicU64,
    /// [`NEVER`] until somebody asks.
    sampled_ns: AtomicU64,
}

/// What is believed of an endpoint of which nothing is known: it is neither shunned nor flooded.
const INITIAL_NS: f64 = 30_000_000.0;
/// In this time what was before fades to 1/e.
const DECAY_NS: f64 = 10_000_000_000.0;
/// The clock has run before there was an endpoint: what is believed of it begins to fade when it is asked for first.
const NEVER: u64 = u64::MAX;

impl Default for PeakEwma {
    fn default() -> Self {
        Self { estimate: AtomicU64::new(INITIAL_NS.to_bits()), sampled_ns: AtomicU64::new(NEVER) }
    }
}

impl PeakEwma {
    /// Takes an attempt's latency into account. Two workers may overtake each other: then one sample is lost.
    pub(super) fn sample(&self, latency_ns: u64, now_ns: u64) {
        let (before, kept) = self.parts(now_ns);
        let sample = float(latency_ns);
        let estimate = if sample > before { sample } else { before * kept + sample * (1.0 - kept) };
        self.estimate.store(estimate.to_bits(), Ordering::Relaxed);
        self.sampled_ns.store(now_ns, Ordering::Relaxed);
    }

    /// Takes into account that an attempt has taken so long and had no answer: it may make the estimate longer, never
    /// shorter.
    pub(super) fn sample_at_least(&self, waited_ns: u64, now_ns: u64) {
        let waited = float(waited_ns);
        if waited > self.estimate_ns(now_ns) {
            self.estimate.store(waited.to_bits(), Ordering::Relaxed);
            self.sampled_ns.store(now_ns, Ordering::Relaxed);
        }
    }

    /// What is to be expected. It fades while nobody asks, so that a slow endpoint is tried again one day.
    pub(super) fn estimate_ns(&self, now_ns: u64) -> f64 {
        let (before, kept) = self.parts(now_ns);
        (before * kept).max(1.0)
    }

    /// What was to be expected when somebody asked last.
    pub(super) fn last_ns(&self) -> f64 {
        f64::from_bits(self.estimate.load(Ordering::Relaxed))
    }

    fn parts(&self, now_ns: u64) -> (f64, f64) {
        let before = self.last_ns();
        let mut sampled_ns = self.sampled_ns.load(Ordering::Relaxed);
        if sampled_ns == NEVER {
            sampled_ns = now_ns;
            self.sampled_ns.store(now_ns, Ordering::Relaxed);
        }
        let since_ns = now_ns.saturating_sub(sampled_ns);
        (before, (-float(since_ns) / DECAY_NS).exp())
    }
}

/// Beyond 2^53 ns, a hundred days, it does not matter.
#[expect(clippy::cast_precision_loss, reason = "a latency need not be exact")]
fn float(ns: u64) -> f64 {
    ns as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    #[test]
    fn a_peak_counts_at_once_and_fades_with_time() {
        let latency = PeakEwma::default();
        latency.sample(SECOND_NS, SECOND_NS);
        assert!((latency.estimate_ns(SECOND_NS) - 1e9).abs() < 1.0);
        // Quick answers right after it change little.
        latency.sample(1_000_000, SECOND_NS + 1_000_000);
        assert!(latency.estimate_ns(SECOND_NS + 1_000_000) > 0.99e9);
        latency.sample(1_000_000, 31 * SECOND_NS);
        let faded = latency.estimate_ns(31 * SECOND_NS);
        assert!((1e6..0.06e9).contains(&faded), "{faded}");
    }

    #[test]
    fn an_attempt_that_was_given_up_may_make_the_estimate_longer_and_never_shorter() {
        let latency = PeakEwma::default();
        latency.sample_at_least(1_000_000, SECOND_NS);
        assert!((latency.estimate_ns(SECOND_NS) - INITIAL_NS).abs() < 1.0);
        latency.sample_at_least(SECOND_NS, SECOND_NS);
        assert!((latency.estimate_ns(SECOND_NS) - 1e9).abs() < 1.0);
        // What has faded below it rises to it again.
        latency.sample_at_least(SECOND_NS / 2, 11 * SECOND_NS);
        assert!((latency.estimate_ns(11 * SECOND_NS) - 0.5e9).abs() < 1.0);
    }

    #[test]
    fn what_nothing_is_known_of_takes_the_usual_time_however_long_the_process_has_run() {
        let latency = PeakEwma::default();
        assert!((latency.estimate_ns(300 * SECOND_NS) - INITIAL_NS).abs() < 1.0);
        assert!(latency.estimate_ns(307 * SECOND_NS) < 0.5 * INITIAL_NS, "it fades from then on");
    }

    #[test]
    fn what_nobody_asks_fades_too() {
        let latency = PeakEwma::default();
        latency.sample(SECOND_NS, 0);
        assert!(latency.estimate_ns(7 * SECOND_NS) < 0.5e9);
        assert!(latency.estimate_ns(u64::MAX) >= 1.0);
    }
}

//! Latencies of one run.

use std::time::Duration;

/// All of them, in microseconds.
#[derive(Debug, Default)]
pub(crate) struct Latencies(Vec<u32>);

impl Latencies {
    pub(crate) fn add(&mut self, latency: Duration) {
        self.0.push(u32::try_from(latency.as_micros()).unwrap_or(u32::MAX));
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The latencies below which these shares of all lie.
    pub(crate) fn percentiles<const N: usize>(mut self, shares: [f64; N]) -> [u32; N] {
        self.0.sort_unstable();
        shares.map(|share| {
            let rank = (share * self.0.len() as f64).ceil().max(1.0) as usize;
            self.0.get(rank - 1).copied().unwrap_or(0)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_smallest_value_that_covers_its_share() {
        let mut latencies = Latencies::default();
        for us in (1..=1000).rev() {
            latencies.add(Duration::from_micros(us));
        }
        assert_eq!(latencies.count(), 1000);
        assert_eq!(latencies.percentiles([0.0, 0.5, 0.99, 0.999, 1.0]), [1, 500, 990, 999, 1000]);
    }

    #[test]
    fn no_latencies_have_no_percentiles() {
        assert_eq!(Latencies::default().percentiles([0.5]), [0]);
    }
}

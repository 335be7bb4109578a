//! How long to wait before trying again: longer each time, and not at the same moment as everybody else.

use std::time::Duration;

use crate::clock::Clock;

/// Waits that double from one bound to the other.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// Waits from `first` to `longest`.
    #[must_use]
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, next: first }
    }

    /// Begins anew, after a success.
    pub fn reset(&mut self) {
        self.next = self.first;
    }

    /// The next wait, within a tenth of the doubled one before.
    pub fn wait(&mut self, clock: &dyn Clock) -> Duration {
        let wait = self.next;
        self.next = wait.saturating_mul(2).min(self.longest);
        jittered(wait, clock)
    }
}

/// `duration`, up to a tenth shorter or longer. The clock's last digits are chance enough to keep a fleet from
/// marching in step.
pub fn jittered(duration: Duration, clock: &dyn Clock) -> Duration {
    let noise = clock.monotonic_ns().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56;
    // 0..=255 becomes 0.9..=1.1 in steps of 1/1280.
    let steps = 1152 + u32::try_from(noise).unwrap_or(128);
    duration.saturating_mul(steps) / 1280
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Stopped(u64);

    impl Clock for Stopped {
        fn unix_ns(&self) -> u64 {
            0
        }

        fn monotonic_ns(&self) -> u64 {
            self.0
        }
    }

    #[test]
    fn waits_double_up_to_the_longest_and_begin_anew() {
        let clock = Stopped(0);
        let mut backoff = Backoff::new(Duration::from_millis(1000), Duration::from_millis(3000));
        let waits: Vec<u128> = (0..4).map(|_| backoff.wait(&clock).as_millis()).collect();
        assert_eq!(waits, [900, 1800, 2700, 2700]);
        backoff.reset();
        assert_eq!(backoff.wait(&clock).as_millis(), 900);
    }

    #[test]
    fn jitter_stays_within_a_tenth() {
        let waits: Vec<Duration> =
            (0..1000).map(|n| jittered(Duration::from_secs(10), &Stopped(n * 7919))).collect();
        assert!(waits.iter().all(|wait| (9.0..=11.0).contains(&wait.as_secs_f64())));
        assert!(
            waits.iter().any(|wait| wait.as_secs_f64() > 10.5)
                && waits.iter().any(|wait| wait.as_secs_f64() < 9.5)
        );
    }
}

//! Faults on purpose: who wants to know how callers bear a slow or failing upstream has some requests wait or fail. After
//! the decision and the rate limits, so that nobody who would be refused anyway is told of one instead.
use crate::config::{AbortConfig, DelayConfig, FaultsConfig};
use crate::telemetry::metrics::FaultMetrics;
use crate::worker::Random;
use http::StatusCode;
use std::sync::Arc;
use std::time::Duration;

/// The faults of one route.
#[derive(Clone, Debug)]
pub struct Faults {
    config: FaultsConfig,
    /// What it counts.
    pub(crate) metrics: Arc<FaultMetrics>,
}

impl Faults {
    /// Those that are configured.
    pub(crate) fn new(config: FaultsConfig, metrics: Arc<FaultMetrics>) -> Self {
        Self { config, metrics }
    }

    /// How long this request is to wait, if its lot is to.
    pub(crate) fn delay(&self, random: &mut Random) -> Option<Duration> {
        let DelayConfig { percent, duration } = self.config.delay?;
        falls_on(percent, random).then_some(duration)
    }

    /// The status to fail this request with, if its lot is to fail.
    pub(crate) fn abort(&self, random: &mut Random) -> Option<StatusCode> {
        let AbortConfig { percent, status } = self.config.abort?;
        falls_on(percent, random).then_some(status)
    }
}

fn falls_on(percent: u64, random: &mut Random) -> bool {
    random.next_u64() % 100 < percent
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(percent: u64, fewest: usize, most: usize) {
        let duration = Duration::from_secs(1);
        let abort = Some(AbortConfig { percent, status: StatusCode::BAD_GATEWAY });
        let failing = Faults::new(FaultsConfig { abort, delay: None }, Arc::default());
        let delay = Some(DelayConfig { percent, duration });
        let slow = Faults::new(FaultsConfig { delay, abort: None }, Arc::default());
        let mut random = Random::new([1, 2, 3, 4]);
        let failed = (0..10_000).filter(|_| failing.abort(&mut random).is_some()).count();
        assert!((fewest..=most).contains(&failed), "{percent} %: {failed} of 10000 fail");
        let waiting = (0..10_000).filter(|_| slow.delay(&mut random) == Some(duration)).count();
        assert!((fewest..=most).contains(&waiting), "{percent} %: {waiting} of 10000 wait");
        assert_eq!((failing.delay(&mut random), slow.abort(&mut random)), (None, None));
    }

    #[test]
    fn as_many_requests_fail_and_wait_as_are_meant_to() {
        check(100, 10_000, 10_000);
        check(50, 4_700, 5_300);
        check(1, 60, 140);
    }
}

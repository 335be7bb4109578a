//! Faults on purpose: who wants to know how callers bear a failing upstream lets some requests fail. After the decision
//! and the rate limits, so that nobody who would be refused anyway is told of one instead.
use crate::config::AbortConfig;
use crate::worker::Random;
use http::StatusCode;

/// The status to fail this request with, if its lot is to fail.
pub(crate) fn lot(abort: Option<AbortConfig>, random: &mut Random) -> Option<StatusCode> {
    let AbortConfig { percent, status } = abort?;
    (random.next_u64() % 100 < percent).then_some(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(percent: u64, fewest: usize, most: usize) {
        let abort = AbortConfig { percent, status: StatusCode::BAD_GATEWAY };
        let mut random = Random::new([1, 2, 3, 4]);
        let failed = (0..10_000).filter(|_| lot(Some(abort), &mut random).is_some()).count();
        assert!((fewest..=most).contains(&failed), "{percent} %: {failed} of 10000");
    }

    #[test]
    fn as_many_requests_fail_as_are_meant_to() {
        check(100, 10_000, 10_000);
        check(50, 4_700, 5_300);
        check(1, 60, 140);
        assert_eq!(lot(None, &mut Random::new([1, 2, 3, 4])), None);
    }
}

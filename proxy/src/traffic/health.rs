//! What active checks say of an endpoint: so many failures in a row take it out, so many successes bring it back.
use crate::config::HealthConfig;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// The health of one endpoint. Until it is known to be ill it is taken for well.
#[derive(Debug, Default)]
pub struct Health {
    is_down: AtomicBool,
    /// Results in a row that speak against what is believed.
    against: AtomicU32,
    next_check_ns: AtomicU64,
}

/// What a check changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Nothing.
    None,
    /// It is left out from now on.
    Down,
    /// It is back.
    Up,
}

impl Health {
    /// Nothing is checked any more: what was found out speaks of a time gone by.
    pub(crate) fn forget(&self) {
        self.against.store(0, Ordering::Relaxed);
        self.is_down.store(false, Ordering::Relaxed);
    }

    /// Whether checks have failed.
    pub fn is_down(&self) -> bool {
        self.is_down.load(Ordering::Relaxed)
    }

    /// Whether a check is due; the worker that is told so makes it. `more_ns` spreads the next one.
    pub(crate) fn claim(&self, config: &HealthConfig, now_ns: u64, more_ns: u64) -> bool {
        let due_ns = self.next_check_ns.load(Ordering::Relaxed);
        let interval_ns = u64::try_from(config.interval.as_nanos()).unwrap_or(u64::MAX);
        let next_ns = now_ns.saturating_add(interval_ns).saturating_add(more_ns % (interval_ns / 10).max(1));
        due_ns <= now_ns
            && self
                .next_check_ns
                .compare_exchange(due_ns, next_ns, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    /// Takes a result into account.
    pub(crate) fn note(&self, config: &HealthConfig, is_well: bool) -> Turn {
        let is_down = self.is_down();
        if is_well != is_down {
            self.against.store(0, Ordering::Relaxed);
            return Turn::None;
        }
        let against = self.against.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let (needed, turn) = match is_down {
            true => (config.healthy_after, Turn::Up),
            false => (config.unhealthy_after, Turn::Down),
        };
        if against < needed {
            return Turn::None;
        }
        self.against.store(0, Ordering::Relaxed);
        self.is_down.store(!is_down, Ordering::Relaxed);
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::HealthProbe;
    use std::time::Duration;

    fn config() -> HealthConfig {
        HealthConfig {
            probe: HealthProbe::Connect,
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(1),
            healthy_after: 2,
            unhealthy_after: 3,
        }
    }

    #[test]
    fn so_many_results_in_a_row_turn_an_endpoint() {
        let health = Health::default();
        let check = |results: &str, turns: &[Turn], is_down: bool| {
            let found: Vec<Turn> =
                results.chars().map(|result| health.note(&config(), result == '+')).collect();
            assert_eq!(found, turns, "{results}");
            assert_eq!(health.is_down(), is_down, "{results}");
        };
        let none = Turn::None;
        check("--+--", &[none; 5], false);
        check("-", &[Turn::Down], true);
        check("-+-", &[none; 3], true);
        check("++", &[none, Turn::Up], false);
    }

    #[test]
    fn one_worker_makes_a_check_and_the_next_one_is_due_after_the_interval() {
        let health = Health::default();
        let second_ns = 1_000_000_000;
        assert!(health.claim(&config(), 5, 0));
        assert!(!health.claim(&config(), 5, 0));
        assert!(!health.claim(&config(), 9 * second_ns, 0));
        assert!(health.claim(&config(), 11 * second_ns, u64::MAX));
        assert!(!health.claim(&config(), 20 * second_ns, 0));
        assert!(health.claim(&config(), 22 * second_ns, 0));
    }
}

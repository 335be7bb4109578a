//! Memory: at a watermark what is new is refused, before the system ends the process and with it all that is in progress.
mod cgroup;
mod release;

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// How much there is, and how much is used, as of the last look. Everybody who lets something in asks it.
#[derive(Debug)]
pub struct Memory {
    /// The watermark, in bytes.
    max: Option<u64>,
    used: AtomicU64,
    is_short: AtomicBool,
}

/// How often it is looked at.
const INTERVAL: Duration = Duration::from_secs(1);
/// The usual watermark, in hundredths of what the cgroup allows.
const CGROUP_PERCENT: u64 = 80;
/// What has to be free below the watermark until something new is let in again, in hundredths of it. Letting in one more
/// each time that one has gone would refuse half of them in turn.
const SLACK_PERCENT: u64 = 5;

impl Default for Memory {
    fn default() -> Self {
        Self::new(None)
    }
}

impl Memory {
    pub(crate) fn new(max: Option<u64>) -> Self {
        Self { max, used: AtomicU64::new(0), is_short: AtomicBool::new(false) }
    }

    /// With what is configured; else with a share of what the cgroup allows, if that is anything.
    pub(crate) fn of_process(configured: Option<u64>) -> Self {
        let allowed = cgroup::limit(|path| fs::read_to_string(path).ok());
        if let (Some(max), Some(allowed)) = (configured, allowed)
            && max > allowed
        {
            tracing::warn!(
                max,
                allowed,
                "`limits.memory_max` is more than the cgroup allows: it is never reached"
            );
        }
        Self::new(configured.or(allowed.map(|allowed| allowed / 100 * CGROUP_PERCENT)))
    }

    /// Whether nothing new is let in.
    pub(crate) fn is_short(&self) -> bool {
        self.is_short.load(Ordering::Relaxed)
    }

    /// What is used, in bytes, and the watermark.
    pub(crate) fn state(&self) -> (u64, Option<u64>) {
        (self.used.load(Ordering::Relaxed), self.max)
    }

    /// Takes note of what is used.
    pub(crate) fn note(&self, used: u64) {
        self.used.store(used, Ordering::Relaxed);
        let Some(max) = self.max else { return };
        let was_short = self.is_short();
        let bound = if was_short { max.saturating_sub(max / 100 * SLACK_PERCENT) } else { max };
        let is_short = used >= bound;
        self.is_short.store(is_short, Ordering::Relaxed);
        match (was_short, is_short) {
            (false, true) => {
                tracing::warn!(used, max, "memory is short: connections and requests are refused");
            }
            (true, false) => tracing::info!(used, max, "memory suffices again"),
            _ => {}
        }
    }

    /// Looks once a second, without end.
    pub(crate) async fn watch(&self) {
        let mut looks = tokio::time::interval(INTERVAL);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            // What cannot be read is not short: it would refuse everything on a system without `/proc`.
            self.note(resident().unwrap_or_default());
            if self.is_short() {
                // What was freed may still be counted: the allocator keeps it for the next who asks.
                release::release();
                self.note(resident().unwrap_or_default());
            }
        }
    }
}

/// The process's memory that is not swapped out, in bytes.
fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let size = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    size.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After each of these looks, whether something new is let in.
    fn check(max: Option<u64>, looks: &[(u64, bool)]) {
        let memory = Memory::new(max);
        for (used, is_short) in looks {
            memory.note(*used);
            assert_eq!(memory.is_short(), *is_short, "{used} of {max:?}: {looks:?}");
            assert_eq!(memory.state(), (*used, max));
        }
    }

    #[test]
    fn nothing_new_is_let_in_from_the_watermark_until_well_below_it() {
        check(
            Some(1000),
            &[(999, false), (1000, true), (999, true), (950, true), (949, false), (999, false)],
        );
        check(None, &[(u64::MAX, false)]);
    }

    #[test]
    fn this_process_uses_memory() {
        assert!(resident().is_some_and(|bytes| (1 << 20..1 << 40).contains(&bytes)), "{:?}", resident());
    }
}

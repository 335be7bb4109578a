//! How many requests an upstream may have in hand, found out by how long it takes.
//!
//! A service that is given more than it can work on does not do more of it: requests queue up inside, and take longer.
//! So the time to the head of an answer is held against what it is without a queue. Where it is longer than that and a
//! tolerance, the limit shrinks by the share in which it is longer; besides it always grows by a headroom, the square root
//! of itself, so that it finds more where there is more. What the time is without a queue is measured again now and then,
//! with the limit halved meanwhile, and falls by itself where less is seen.
//!
//! The limit is the bound of the breaker's `requests`, never above the upstream's `requests_max`, and one for all workers.
//! A request costs a few atomic additions; once a window one of the workers draws the conclusion.
use super::circuit_breaker::Gauge;
use super::outlier::Moment;
use crate::config::AdaptiveConcurrencyConfig;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::Duration;

/// The rule of one upstream. It outlives reloads that do not change it.
#[derive(Debug)]
pub struct AdaptiveConcurrency {
    config: AdaptiveConcurrencyConfig,
    requests: Arc<Gauge>,
    window: Window,
    core: Mutex<Core>,
    /// What the core said last.
    limit: AtomicUsize,
    base_ns: AtomicU64,
    /// When the window may end that runs.
    due_ns: AtomicU64,
    /// Requests that began earlier say nothing: they queued where the limit was another one.
    since_ns: AtomicU64,
    is_retired: AtomicBool,
}

impl AdaptiveConcurrency {
    /// A limit that begins at its least. `requests` is what is bounded by it.
    pub(crate) fn new(config: AdaptiveConcurrencyConfig, requests: &Arc<Gauge>) -> Self {
        let core = Core::new(config);
        requests.bound(core.limit);
        Self {
            config,
            requests: Arc::clone(requests),
            window: Window::default(),
            limit: AtomicUsize::new(core.limit),
            core: Mutex::new(core),
            base_ns: AtomicU64::new(0),
            due_ns: AtomicU64::new(0),
            since_ns: AtomicU64::new(0),
            is_retired: AtomicBool::new(false),
        }
    }

    /// Whether it is the rule that `config` asks for.
    pub(crate) fn follows(&self, config: &AdaptiveConcurrencyConfig) -> bool {
        self.config == *config
    }

    /// How many requests the upstream may have in hand now.
    pub fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// Concludes nothing any more: exchanges that were begun by it outlive the reload that has put another rule in its place.
    pub(crate) fn retire(&self) {
        // Behind the lock, so that nobody is concluding when this returns.
        let core = self.core.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_retired.store(true, Ordering::Relaxed);
        drop(core);
    }

    /// Bounds the requests again, after somebody else has.
    pub(crate) fn bound(&self) {
        self.requests.bound(self.limit());
    }

    /// Takes into account that the head of an answer took so long.
    pub(crate) fn note(&self, took_ns: u64, moment: &mut Moment<'_>) {
        if moment.now_ns.saturating_sub(took_ns) >= self.since_ns.load(Ordering::Relaxed) {
            self.window.add(took_ns, self.requests.taken());
        }
        self.look(moment);
    }

    /// Takes into account that there was none after so long. What was given up early says nothing.
    pub(crate) fn note_unanswered(&self, took_ns: u64, moment: &mut Moment<'_>) {
        if took_ns > self.base_ns.load(Ordering::Relaxed) {
            self.note(took_ns, moment);
        }
    }

    /// Draws a conclusion where one is due. Who is refused looks too, so that no limit stays for want of answers.
    pub(crate) fn look(&self, moment: &mut Moment<'_>) {
        if moment.now_ns < self.due_ns.load(Ordering::Relaxed) {
            return;
        }
        // Who finds another worker at it need not wait for what that one concludes.
        let mut core = match self.core.try_lock() {
            Ok(core) => core,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        let seen = self.window.seen(self.config.requests_min);
        if self.is_retired.load(Ordering::Relaxed) || !core.is_due(seen.is_some(), moment.now_ns) {
            return;
        }
        core.conclude(seen, moment.now_ns, moment.random.next_u64());
        self.window.clear();
        self.due_ns.store(core.due_ns, Ordering::Relaxed);
        self.since_ns.store(core.since_ns, Ordering::Relaxed);
        self.base_ns.store(core.base_ns.unwrap_or(0), Ordering::Relaxed);
        self.limit.store(core.limit, Ordering::Relaxed);
        self.requests.bound(core.limit);
    }
}

/// What one window has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    median_ns: u64,
    /// The most that was in hand.
    in_hand: usize,
}

/// The rule itself: what was seen goes in, the limit comes out.
#[derive(Debug)]
struct Core {
    config: AdaptiveConcurrencyConfig,
    limit: usize,
    /// What an answer takes where nothing queues, as far as is known.
    base_ns: Option<u64>,
    phase: Phase,
    due_ns: u64,
    since_ns: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Steady {
        measure_ns: u64,
    },
    /// The limit is halved; then it is again what it was, whatever was seen.
    Measuring {
        until_ns: u64,
        limit: usize,
    },
}

impl Core {
    fn new(config: AdaptiveConcurrencyConfig) -> Self {
        let limit = config.concurrency_min.min(config.requests_max);
        let phase = Phase::Steady { measure_ns: 0 };
        Self { config, limit, base_ns: None, phase, due_ns: 0, since_ns: 0 }
    }

    /// Whether enough was seen, or nothing more is waited for.
    fn is_due(&self, has_enough: bool, now_ns: u64) -> bool {
        let is_over = match self.phase {
            Phase::Measuring { until_ns, .. } => until_ns <= now_ns,
            Phase::Steady { .. } => false,
        };
        now_ns >= self.due_ns && (has_enough || is_over)
    }

    fn conclude(&mut self, seen: Option<Seen>, now_ns: u64, random: u64) {
        match self.phase {
            Phase::Measuring { limit, .. } => {
                if let Some(seen) = seen {
                    self.base_ns = Some(seen.median_ns.max(1));
                }
                self.limit = limit;
                self.phase = Phase::Steady { measure_ns: self.next_measure(now_ns, random) };
            }
            Phase::Steady { measure_ns } => {
                if let Some(seen) = seen {
                    self.adapt(seen);
                }
                match measure_ns {
                    // The first window is a measurement: the limit is as low as it gets.
                    0 => self.phase = Phase::Steady { measure_ns: self.next_measure(now_ns, random) },
                    due if due <= now_ns => self.measure(now_ns),
                    _ => {}
                }
            }
        }
        self.due_ns = now_ns.saturating_add(nanoseconds(self.config.window));
    }

    fn adapt(&mut self, seen: Seen) {
        let median_ns = seen.median_ns.max(1);
        let base_ns = match self.base_ns {
            None => median_ns,
            // Not all at once: one window may have seen the cheapest requests alone.
            Some(base_ns) if median_ns < base_ns => base_ns - (base_ns - median_ns).div_ceil(FALL),
            Some(base_ns) => base_ns,
        };
        self.base_ns = Some(base_ns);
        let limit = self.limit as u64;
        let tolerable_ns = u128::from(base_ns) * u128::from(100 + self.config.tolerance_percent);
        let permille = tolerable_ns * 1_000 / 100 / u128::from(median_ns);
        let permille = u64::try_from(permille).unwrap_or(u64::MAX).clamp(SHRINK_PERMILLE_MIN, 1_000);
        let next = limit * permille / 1_000 + limit.isqrt();
        let next = usize::try_from(next).unwrap_or(usize::MAX);
        // What is not used shows nothing of whether more could be.
        let is_used = seen.in_hand.saturating_mul(2) >= self.limit;
        if next < self.limit || is_used {
            self.limit = self.bounded(next);
        }
    }

    fn measure(&mut self, now_ns: u64) {
        let window_ns = nanoseconds(self.config.window);
        let until_ns = now_ns.saturating_add(window_ns.saturating_mul(MEASURING_WINDOWS_MAX));
        self.phase = Phase::Measuring { until_ns, limit: self.limit };
        self.limit = self.bounded(self.limit / 2);
        self.since_ns = now_ns;
    }

    /// Spread by a tenth, so that not all sidecars of a service halve their limits at once.
    fn next_measure(&self, now_ns: u64, random: u64) -> u64 {
        let interval_ns = nanoseconds(self.config.remeasure_interval);
        let spread = (interval_ns / 10).max(1);
        now_ns.saturating_add(interval_ns.saturating_sub(spread)).saturating_add(random % (2 * spread))
    }

    fn bounded(&self, limit: usize) -> usize {
        limit.max(self.config.concurrency_min).min(self.config.requests_max)
    }
}

/// How long answers took, by exponent and the three bits below it: no bucket is wider than an eighth of what is in it.
#[derive(Debug)]
struct Window {
    buckets: [AtomicU32; BUCKETS],
    in_hand: AtomicUsize,
}

impl Default for Window {
    fn default() -> Self {
        Self { buckets: std::array::from_fn(|_| AtomicU32::new(0)), in_hand: AtomicUsize::new(0) }
    }
}

impl Window {
    fn add(&self, took_ns: u64, in_hand: usize) {
        if let Some(bucket) = self.buckets.get(bucket_of(took_ns)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.in_hand.fetch_max(in_hand, Ordering::Relaxed);
    }

    /// The half-way point of at least so many.
    fn seen(&self, requests_min: u32) -> Option<Seen> {
        let count = |bucket: &AtomicU32| u64::from(bucket.load(Ordering::Relaxed));
        let all: u64 = self.buckets.iter().map(count).sum();
        if all < u64::from(requests_min.max(1)) {
            return None;
        }
        let mut below = 0;
        let median = self.buckets.iter().position(|bucket| {
            below += count(bucket);
            below * 2 >= all
        })?;
        Some(Seen { median_ns: middle_of(median), in_hand: self.in_hand.load(Ordering::Relaxed) })
    }

    fn clear(&self) {
        self.buckets.iter().for_each(|bucket| bucket.store(0, Ordering::Relaxed));
        self.in_hand.store(0, Ordering::Relaxed);
    }
}

fn bucket_of(took_ns: u64) -> usize {
    let exponent = took_ns.max(8).ilog2();
    let below = (took_ns.max(8) >> (exponent - 3)) & 7;
    let bucket = u64::from(exponent - 3) * 8 + below;
    usize::try_from(bucket).unwrap_or(BUCKETS).min(BUCKETS - 1)
}

fn middle_of(bucket: usize) -> u64 {
    let shift = bucket / 8;
    let lowest = (8 + (bucket % 8) as u64) << shift;
    lowest + (1_u64 << shift) / 2
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Up to 2⁴³ ns, more than two hours.
const BUCKETS: usize = 40 * 8;
/// Which part of the way the known time without a queue falls with each window that shows less.
const FALL: u64 = 10;
/// No window shrinks the limit by more.
const SHRINK_PERMILLE_MIN: u64 = 500;
/// How long a measurement waits for requests that have begun in it.
const MEASURING_WINDOWS_MAX: u64 = 10;

#[cfg(test)]
mod tests;

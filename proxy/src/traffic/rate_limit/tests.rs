use super::table::Known;
use super::*;
use crate::config::RateLimitKey;
use http::HeaderMap;
use postern_identity::SpiffeId;
use std::time::Duration;

const WEB: &str = "spiffe://example.org/web";

fn config(requests: u64, per_s: u64, burst: u64) -> RateLimitConfig {
    let per = Duration::from_secs(per_s);
    let name = format!("{requests}/{per_s}s");
    RateLimitConfig { name, requests, per, burst, keys: vec![RateLimitKey::Header(KEY)], keys_max: 10_000 }
}

const KEY: http::HeaderName = http::HeaderName::from_static("k");

/// Limits as one worker or several see them.
struct Tried {
    limits: RateLimits,
    workers: Vec<Known>,
    random: Random,
    spiffe_id: SpiffeId,
    counted: Arc<RateLimitMetrics>,
}

impl Tried {
    fn new(configs: &[RateLimitConfig], workers: usize) -> Self {
        let counted = Arc::<RateLimitMetrics>::default();
        let limits = RateLimits::new(configs, None, |_| Arc::clone(&counted));
        let workers = std::iter::repeat_with(Known::default).take(workers).collect();
        Self { limits, workers, random: Random::new([7; 4]), spiffe_id: WEB.parse().unwrap(), counted }
    }

    /// Whether a request with this key is let through; else which limit it was, and how long it has to wait.
    fn ask(&mut self, worker: usize, key: &str, now_ns: u64) -> Result<(), (String, u64)> {
        let headers = HeaderMap::from_iter([(KEY, key.parse().unwrap())]);
        let address = Some([192, 0, 2, 7].into());
        let subject = Subject { spiffe_id: Some(&self.spiffe_id), address, claims: None, headers: &headers };
        let mut at = Moment { now_ns, known: &self.workers[worker], random: &mut self.random };
        self.limits.admit(&subject, &mut at).map(drop).map_err(|over| (over.name().to_owned(), over.wait_s()))
    }

    /// How many of so many requests at one moment are let through.
    fn passed(&mut self, key: &str, now_ns: u64, asked: usize) -> usize {
        let workers = self.workers.len();
        (0..asked).filter(|number| self.ask(number % workers, key, now_ns).is_ok()).count()
    }
}

#[test]
fn a_burst_may_come_at_once_and_what_is_spent_refills_evenly() {
    let mut tried = Tried::new(&[config(100, 1, 200)], 1);
    assert_eq!(tried.passed("a", 0, 500), 200);
    assert_eq!(tried.passed("a", SECOND_NS / 100 - 1, 10), 0);
    assert_eq!(tried.passed("a", SECOND_NS / 100, 10), 1);
    assert_eq!(tried.passed("a", SECOND_NS / 2, 500), 49);
    assert_eq!(tried.passed("a", 100 * SECOND_NS, 500), 200);
    assert_eq!(tried.counted.count(), 300 + 10 + 9 + 451 + 300);
}

#[test]
fn who_is_refused_is_told_how_long_in_whole_seconds() {
    let mut tried = Tried::new(&[config(2, 60, 2)], 1);
    assert_eq!(tried.passed("a", 0, 3), 2);
    for (now_ns, wait_s) in [(0, 30), (1, 30), (SECOND_NS - 1, 30), (SECOND_NS, 29), (30 * SECOND_NS - 1, 1)]
    {
        assert_eq!(tried.ask(0, "a", now_ns), Err(("2/60s".to_owned(), wait_s)), "at {now_ns}");
    }
    assert_eq!(tried.ask(0, "a", 30 * SECOND_NS), Ok(()));
}

#[test]
fn two_keys_do_not_share_and_all_workers_do() {
    let mut tried = Tried::new(&[config(10, 1, 10)], 3);
    assert_eq!(tried.passed("a", 0, 100), 10);
    assert_eq!(tried.passed("b", 0, 100), 10);
}

/// Under one request for each value of the key, a caller and another one share a place or they do not.
fn check_callers(key: &RateLimitKey, others: (&str, &str), shared: bool) {
    let limit = RateLimitConfig { keys: vec![key.clone()], ..config(1, 60, 1) };
    let limits = RateLimits::new(&[limit], None, |_| Arc::default());
    let (known, mut random, headers) = (Known::default(), Random::new([7; 4]), HeaderMap::new());
    let mut ask = |spiffe_id: &str, address: &str| {
        let (spiffe_id, address) = (spiffe_id.parse().unwrap(), address.parse().ok());
        let subject = Subject { spiffe_id: Some(&spiffe_id), address, claims: None, headers: &headers };
        limits.admit(&subject, &mut Moment { now_ns: 0, known: &known, random: &mut random }).is_ok()
    };
    assert!(ask(WEB, "192.0.2.7"));
    assert_eq!(ask(others.0, others.1), !shared, "{key:?} and {others:?}");
}

#[test]
fn callers_are_told_apart_by_what_the_key_names() {
    use RateLimitKey::{Address, SpiffeId, TrustDomain};
    check_callers(&SpiffeId, (WEB, "192.0.2.8"), true);
    check_callers(&SpiffeId, ("spiffe://example.org/other", "192.0.2.7"), false);
    check_callers(&TrustDomain, ("spiffe://example.org/other", "192.0.2.8"), true);
    check_callers(&TrustDomain, ("spiffe://example.com/web", "192.0.2.7"), false);
    check_callers(&Address, ("spiffe://example.com/web", "192.0.2.7"), true);
    check_callers(&Address, ("spiffe://example.com/web", "::ffff:192.0.2.7"), true);
    check_callers(&Address, (WEB, "192.0.2.8"), false);
}

#[test]
fn nothing_is_spent_of_one_limit_when_another_refuses() {
    let mut tried = Tried::new(&[config(10, 1, 10), config(3, 10, 3)], 2);
    assert_eq!(tried.passed("a", 0, 100), 3);
    // Seven are left of the first limit, which the second one let nobody spend.
    assert_eq!(tried.passed("a", 10 * SECOND_NS, 100), 3);
    let (first, second) = (RateLimits(vec![Arc::clone(&tried.limits.0[0])]), tried.limits);
    tried.limits = first;
    assert_eq!(tried.passed("a", 10 * SECOND_NS, 100), 7);
    drop(second);
}

#[test]
fn who_saw_the_last_request_left_and_did_not_get_it_spends_nothing_elsewhere() {
    let limits = RateLimits::new(&[config(3, 60, 3), config(1, 60, 1)], None, |_| Arc::default());
    let (known, mut random) = (Known::default(), Random::new([7; 4]));
    let mut at = Moment { now_ns: 0, known: &known, random: &mut random };
    for is_first in [true, false, false, false] {
        assert_eq!(limits.spend_each(&[1, 2], &mut at).is_ok(), is_first);
    }
    let left = (0..10).filter(|_| limits.0[0].spend(1, &mut at).is_ok()).count();
    assert_eq!(left, 2);
}

#[test]
fn of_several_limits_the_longest_wait_is_told() {
    let mut tried = Tried::new(&[config(1, 1, 1), config(1, 10, 1)], 1);
    assert_eq!(tried.passed("a", 0, 1), 1);
    assert_eq!(tried.ask(0, "a", 0), Err(("1/10s".to_owned(), 10)));
}

#[test]
fn what_has_refilled_is_forgotten_and_nothing_else() {
    let mut tried = Tried::new(&[config(1, 1, 2)], 2);
    for (key, spent) in [("a", 1), ("b", 2)] {
        assert_eq!(tried.passed(key, 0, spent), spent);
    }
    let table = |tried: &Tried| tried.limits.0[0].table.len();
    for _ in 0..4 {
        tried.limits.sweep(SECOND_NS);
    }
    tried.workers.iter().for_each(Known::sweep);
    assert_eq!(table(&tried), 1);
    // A worker that still remembers the old place does not make two of it.
    assert_eq!(tried.passed("a", SECOND_NS, 10), 2);
    assert_eq!(tried.passed("b", SECOND_NS, 10), 1);
}

#[test]
fn a_key_whose_place_was_forgotten_while_a_worker_remembers_it_still_has_one() {
    let mut tried = Tried::new(&[config(4, 1, 4)], 2);
    let by = |tried: &mut Tried, worker: usize, key: &str, now_ns: u64| {
        (0..10).filter(|_| tried.ask(worker, key, now_ns).is_ok()).count()
    };
    assert_eq!(tried.ask(0, "a", 0), Ok(()));
    // Nothing tells the first worker that the table forgets what has refilled.
    for _ in 0..4 {
        tried.limits.sweep(2 * SECOND_NS);
    }
    assert_eq!(tried.limits.0[0].table.len(), 0);
    assert_eq!((by(&mut tried, 1, "a", 2 * SECOND_NS), by(&mut tried, 0, "a", 2 * SECOND_NS)), (4, 0));
    // Nor that it had no room for it.
    let mut tried = Tried::new(&[RateLimitConfig { keys_max: 1, ..config(4, 1, 4) }], 2);
    assert_eq!((tried.ask(0, "a", 0), tried.ask(1, "b", 0)), (Ok(()), Ok(())));
    assert_eq!((by(&mut tried, 1, "a", 0), by(&mut tried, 0, "a", 0)), (4, 0));
}

#[test]
fn a_full_table_takes_new_keys_and_keeps_those_that_are_in_debt() {
    let limit = RateLimitConfig { keys_max: 50, ..config(10, 3600, 10) };
    let mut tried = Tried::new(&[limit], 2);
    assert_eq!(tried.passed("victim", 0, 100), 10);
    // One caller with many keys: each is let through, and none of them frees who has spent all.
    for number in 0..10_000_u64 {
        assert_eq!(tried.ask(0, &format!("k{number}"), number), Ok(()));
        if number % 100 == 0 {
            assert_eq!(tried.passed("victim", number, 1), 0, "after {number}");
        }
    }
    assert_eq!(tried.limits.0[0].table.len(), 50);
}

#[test]
fn a_large_table_is_bounded_too() {
    let mut tried = Tried::new(&[RateLimitConfig { keys_max: 2_000, ..config(1, 3600, 1) }], 1);
    for number in 0..20_000 {
        assert_eq!(tried.ask(0, &format!("k{number}"), 0), Ok(()));
    }
    assert_eq!(tried.limits.0[0].table.len(), 2_000);
}

#[test]
fn what_was_spent_outlives_a_reload_of_the_same_limit() {
    let (same, other) = (config(5, 1, 5), config(6, 1, 6));
    let mut tried = Tried::new(&[same.clone(), other], 1);
    assert_eq!(tried.passed("a", 0, 10), 5);
    let counted = Arc::clone(&tried.counted);
    tried.limits = RateLimits::new(&[same], Some(&tried.limits), |_| Arc::clone(&counted));
    assert_eq!(tried.passed("a", 0, 10), 0);
    tried.limits = RateLimits::new(&[config(5, 1, 9)], Some(&tried.limits), |_| Arc::clone(&counted));
    assert_eq!(tried.passed("a", 0, 10), 9);
}

#[test]
fn workers_that_ask_at_one_moment_get_the_burst_together() {
    let counted = Arc::<RateLimitMetrics>::default();
    let limits = RateLimits::new(&[config(1, 3600, 1_000)], None, |_| Arc::clone(&counted));
    let spiffe_id: SpiffeId = WEB.parse().unwrap();
    let headers = HeaderMap::new();
    let work = |seed: u64| {
        let (known, mut random) = (Known::default(), Random::new([seed; 4]));
        let subject = Subject {
            spiffe_id: Some(&spiffe_id),
            address: Some([192, 0, 2, 7].into()),
            claims: None,
            headers: &headers,
        };
        let mut ask = || {
            let mut at = Moment { now_ns: 0, known: &known, random: &mut random };
            limits.admit(&subject, &mut at).is_ok()
        };
        (0..1_000).filter(|_| ask()).count()
    };
    let passed: usize = std::thread::scope(|scope| {
        let all: Vec<_> = (1..=4).map(|seed| scope.spawn(move || work(seed))).collect();
        all.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!((passed, counted.count()), (1_000, 3_000));
}

/// A bucket as one would describe it, in exact fractions: tokens in units of 1/`per_ns`.
struct Bucket {
    requests: u128,
    per_ns: u128,
    burst: u128,
    level: u128,
    at_ns: u128,
}

impl Bucket {
    fn ask(&mut self, now_ns: u128) -> bool {
        let refilled = self.level + (now_ns - self.at_ns) * self.requests;
        self.level = refilled.min(self.burst * self.per_ns);
        self.at_ns = now_ns;
        let is_let_through = self.level >= self.per_ns;
        if is_let_through {
            self.level -= self.per_ns;
        }
        is_let_through
    }
}

proptest::proptest! {
    #[test]
    fn a_limit_lets_through_what_an_exact_bucket_does(
        // Of those a second is a multiple of, so that no fraction of a nanosecond is lost.
        requests in proptest::sample::select(vec![1_u64, 2, 4, 5, 8, 10, 100, 1000]),
        per_s in 1_u64..100,
        burst in 1_u64..50,
        asked in proptest::collection::vec((0_u64..3, 0_u64..2, 0_u64..2_000_000_000_u64), 1..200),
    ) {
        let mut tried = Tried::new(&[config(requests, per_s, burst)], 2);
        let bucket = || Bucket {
            requests: requests.into(),
            per_ns: u128::from(per_s) * 1_000_000_000,
            burst: burst.into(),
            level: u128::from(burst) * u128::from(per_s) * 1_000_000_000,
            at_ns: 0,
        };
        let mut buckets = [bucket(), bucket(), bucket()];
        let mut now_ns = 0;
        for (key, worker, pause_ns) in asked {
            now_ns += pause_ns / 8;
            let expected = buckets[usize::try_from(key).unwrap()].ask(now_ns.into());
            let found = tried.ask(usize::try_from(worker).unwrap(), &format!("k{key}"), now_ns);
            proptest::prop_assert_eq!(found.is_ok(), expected, "{} at {}", key, now_ns);
            if pause_ns % 7 == 0 {
                tried.limits.sweep(now_ns);
            }
        }
    }
}

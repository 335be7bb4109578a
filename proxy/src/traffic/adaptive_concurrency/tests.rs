//! A service that works on so many requests at one time, and lets the others wait, under a caller that always has more.
use super::*;
use crate::worker::Random;

const MS: u64 = 1_000_000;

fn config() -> AdaptiveConcurrencyConfig {
    AdaptiveConcurrencyConfig {
        concurrency_min: 4,
        requests_max: 400,
        tolerance_percent: 25,
        window: Duration::from_millis(100),
        requests_min: 25,
        remeasure_interval: Duration::from_secs(60),
    }
}

struct Simulation {
    rule: AdaptiveConcurrency,
    gauge: Arc<Gauge>,
    random: Random,
    now_ns: u64,
}

/// A service: how many it works on at one time, how long each takes, and how many ask at most.
#[derive(Clone, Copy)]
struct Service {
    capacity: u64,
    work_ns: u64,
    demand: usize,
}

const SERVICE: Service = Service { capacity: 20, work_ns: 10 * MS, demand: usize::MAX };

impl Simulation {
    fn new(config: AdaptiveConcurrencyConfig) -> Self {
        let gauge = Gauge::new(config.requests_max);
        let rule = AdaptiveConcurrency::new(config, &gauge);
        Self { rule, gauge, random: Random::new([7; 4]), now_ns: 1_000 * MS }
    }

    /// Rounds in which as many are in hand as may be, until so much time has passed; the limits that were met.
    fn run(&mut self, service: Service, lasts: Duration) -> Vec<usize> {
        let until_ns = self.now_ns + nanoseconds(lasts);
        let mut limits = Vec::new();
        while self.now_ns < until_ns {
            let places: Vec<_> = std::iter::from_fn(|| self.gauge.take()).take(service.demand).collect();
            // Beyond its capacity the work is shared out, so that each takes longer.
            let in_hand = places.len() as u64;
            let took_ns = service.work_ns * in_hand.max(service.capacity) / service.capacity;
            self.now_ns += took_ns;
            for place in places {
                let spread = self.random.next_u64() % (took_ns / 20);
                self.note(took_ns - spread);
                drop(place);
            }
            limits.push(self.rule.limit());
        }
        limits
    }

    fn note(&mut self, took_ns: u64) {
        self.rule.note(took_ns, &mut Moment { now_ns: self.now_ns, random: &mut self.random });
    }
}

#[test]
fn it_settles_near_what_the_service_can_work_on() {
    for capacity in [8, 20, 100] {
        let mut simulation = Simulation::new(config());
        simulation.run(Service { capacity, ..SERVICE }, Duration::from_secs(20));
        let limits = simulation.run(Service { capacity, ..SERVICE }, Duration::from_secs(5));
        let knee = usize::try_from(capacity).unwrap();
        let (least, most) = (limits.iter().min().unwrap(), limits.iter().max().unwrap());
        assert!(*least >= knee && *most <= 2 * knee, "{capacity}: {least} to {most}");
    }
}

#[test]
fn it_gives_way_where_the_service_slows_down_and_comes_back_with_it() {
    let mut simulation = Simulation::new(config());
    simulation.run(SERVICE, Duration::from_secs(10));
    let slow = Service { capacity: 4, ..SERVICE };
    simulation.run(slow, Duration::from_secs(3));
    assert!(simulation.rule.limit() <= 12, "{}", simulation.rule.limit());
    simulation.run(SERVICE, Duration::from_secs(5));
    assert!((20..=40).contains(&simulation.rule.limit()), "{}", simulation.rule.limit());
}

#[test]
fn work_that_has_become_longer_is_taken_for_no_queue_once_it_is_measured_again() {
    let mut simulation = Simulation::new(config());
    simulation.run(SERVICE, Duration::from_secs(10));
    let longer = Service { work_ns: 100 * MS, ..SERVICE };
    simulation.run(longer, Duration::from_secs(20));
    assert!(simulation.rule.limit() <= 6, "{}", simulation.rule.limit());
    simulation.run(longer, Duration::from_secs(120));
    assert!((20..=40).contains(&simulation.rule.limit()), "{}", simulation.rule.limit());
}

#[test]
fn it_stays_between_its_bounds() {
    let bounds = AdaptiveConcurrencyConfig { concurrency_min: 6, requests_max: 50, ..config() };
    let mut simulation = Simulation::new(bounds);
    assert_eq!(simulation.rule.limit(), 6);
    let wide = Service { capacity: 1_000, ..SERVICE };
    let limits = simulation.run(wide, Duration::from_secs(20));
    assert_eq!(limits.iter().max(), Some(&50));
    let stuck = Service { capacity: 1, work_ns: 1_000 * MS, demand: usize::MAX };
    let limits = simulation.run(stuck, Duration::from_secs(600));
    assert_eq!(limits.iter().min(), Some(&6));
}

#[test]
fn a_limit_that_is_not_used_does_not_grow() {
    let mut simulation = Simulation::new(config());
    let limits = simulation.run(Service { demand: 3, ..SERVICE }, Duration::from_secs(20));
    assert!(limits.iter().all(|limit| *limit <= 8), "{:?}", limits.iter().max());
}

#[test]
fn while_it_is_measured_again_the_limit_is_halved_and_then_what_it_was() {
    let mut simulation = Simulation::new(config());
    simulation.run(SERVICE, Duration::from_secs(20));
    let limits = simulation.run(SERVICE, Duration::from_secs(50));
    let settled = *limits.first().unwrap();
    let halves = limits.iter().filter(|limit| **limit <= settled * 6 / 10).count();
    assert!((1..60).contains(&halves), "{halves} of {}", limits.len());
    assert!(simulation.rule.limit() > settled * 8 / 10, "{}", simulation.rule.limit());
}

#[test]
fn a_measurement_ends_where_nobody_is_answered() {
    let mut simulation = Simulation::new(config());
    simulation.run(SERVICE, Duration::from_secs(20));
    let settled = simulation.rule.limit();
    while simulation.rule.limit() * 10 > settled * 6 {
        simulation.run(SERVICE, Duration::from_millis(10));
        assert!(simulation.now_ns < 90_000 * MS, "it was never measured again");
    }
    simulation.now_ns += 1_100 * MS;
    let now_ns = simulation.now_ns;
    simulation.rule.look(&mut Moment { now_ns, random: &mut simulation.random });
    assert!(simulation.rule.limit() * 10 > settled * 8, "{} of {settled}", simulation.rule.limit());
}

#[test]
fn what_was_given_up_early_says_nothing_and_what_took_long_says_it() {
    let mut simulation = Simulation::new(config());
    simulation.run(SERVICE, Duration::from_secs(10));
    let settled = simulation.rule.limit();
    let mut unanswered = |took_ns| {
        for _ in 0..40 {
            let moment = &mut Moment { now_ns: simulation.now_ns, random: &mut simulation.random };
            simulation.rule.note_unanswered(took_ns, moment);
            simulation.now_ns += 10 * MS;
        }
        simulation.rule.limit()
    };
    assert_eq!(unanswered(MS), settled);
    assert!(unanswered(900 * MS) < settled);
}

#[test]
fn what_another_rule_has_taken_the_place_of_bounds_nothing_any_more() {
    let mut simulation = Simulation::new(config());
    simulation.run(SERVICE, Duration::from_secs(2));
    simulation.rule.retire();
    simulation.gauge.bound(400);
    simulation.run(Service { demand: 300, ..SERVICE }, Duration::from_secs(2));
    assert_eq!(std::iter::from_fn(|| simulation.gauge.take()).collect::<Vec<_>>().len(), 400);
}

#[test]
fn a_bucket_is_no_wider_than_an_eighth() {
    for took_ns in [8, 9, 15, 16, 1_000, 123_456, 10 * MS, 900 * MS, 60_000 * MS] {
        let middle = middle_of(bucket_of(took_ns));
        assert!(middle.abs_diff(took_ns) <= took_ns / 8 + 1, "{took_ns}: {middle}");
    }
    assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
}

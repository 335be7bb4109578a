//! Who is left out, for how long, and how it comes back.
use super::*;
use crate::config::{HealthConfig, HealthProbe};
use std::time::Duration;

const SECOND_NS: u64 = 1_000_000_000;

fn config() -> OutlierConfig {
    OutlierConfig {
        consecutive_failures: 5,
        interval: Duration::from_secs(10),
        requests_min: 100,
        ejection: Duration::from_secs(30),
        ejection_max: Duration::from_secs(300),
        ejected_percent_max: 50,
    }
}

/// An upstream in a box.
struct Boxed {
    outliers: Outliers,
    endpoints: Vec<Arc<Endpoint>>,
    random: Random,
}

impl Boxed {
    fn new(count: u16) -> Self {
        let endpoints = (1..=count).map(|port| Endpoint::new(([127, 0, 0, 1], port).into())).collect();
        Self { outliers: Outliers::new(config()), endpoints, random: Random::new([1, 2, 3, 4]) }
    }

    fn attempt(&mut self, at: usize, outcome: Outcome, now_ns: u64) -> Change {
        let mut load = Load::on(&self.endpoints[at], now_ns);
        let mut moment = Moment { now_ns, random: &mut self.random };
        self.outliers.note(&mut load, outcome, &mut moment, &self.endpoints)
    }

    fn fail(&mut self, at: usize, times: usize, now_ns: u64) -> Change {
        (0..times).map(|_| self.attempt(at, Outcome::Failure, now_ns)).last().unwrap()
    }

    fn look(&mut self, now_ns: u64) -> usize {
        self.outliers.look(&mut Moment { now_ns, random: &mut self.random }, &self.endpoints)
    }

    fn place(&self, at: usize, now_ns: u64) -> Place {
        self.endpoints[at].standing.place(now_ns)
    }
}

#[test]
fn five_failures_in_a_row_eject_and_a_success_between_them_does_not() {
    let mut all = Boxed::new(3);
    assert_eq!(all.fail(0, 4, 0), Change::None);
    assert_eq!(all.attempt(0, Outcome::Success, 0), Change::None);
    assert_eq!(all.fail(0, 4, 0), Change::None);
    assert_eq!(all.fail(0, 1, 0), Change::Ejected);
    assert_eq!(all.place(0, 29 * SECOND_NS), Place::Out);
}

#[test]
fn half_of_the_endpoints_and_the_last_one_stay() {
    let mut four = Boxed::new(4);
    let ejected = (0..4).filter(|at| four.fail(*at, 5, 0) == Change::Ejected).count();
    assert_eq!(ejected, 2);
    let mut one = Boxed::new(1);
    assert_eq!(one.fail(0, 50, 0), Change::None);
    let mut all_may_go = Boxed::new(2);
    all_may_go.outliers.config.ejected_percent_max = 100;
    assert_eq!((all_may_go.fail(0, 5, 0), all_may_go.fail(1, 50, 0)), (Change::Ejected, Change::None));
}

#[test]
fn the_last_one_that_is_well_stays() {
    let config = HealthConfig {
        probe: HealthProbe::Connect,
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        healthy_after: 1,
        unhealthy_after: 1,
    };
    let mut all = Boxed::new(3);
    all.endpoints[0].health.note(&config, false);
    assert_eq!(all.fail(1, 5, 0), Change::Ejected, "the third is left");
    let mut all = Boxed::new(2);
    all.endpoints[0].health.note(&config, false);
    assert_eq!(all.fail(1, 5, 0), Change::None);
    all.endpoints[0].health.note(&config, true);
    assert_eq!(all.fail(1, 1, 0), Change::Ejected);
}

#[test]
fn who_could_return_and_is_not_asked_keeps_nobody_else_in() {
    for count in [2, 4] {
        let mut all = Boxed::new(count);
        let backups = usize::from(count) / 2..usize::from(count);
        backups.clone().for_each(|at| assert_eq!(all.fail(at, 5, 0), Change::Ejected));
        // As long as it would be tried if it came first, it counts.
        for now_s in [29, 34] {
            assert_eq!(all.fail(0, 5, now_s * SECOND_NS), Change::None, "{count} after {now_s} s");
        }
        assert_eq!(all.fail(0, 1, 44 * SECOND_NS), Change::Ejected, "{count}");
        // Who is being tried is out.
        let mut all = Boxed::new(count);
        backups.clone().for_each(|at| assert_eq!(all.fail(at, 5, 0), Change::Ejected));
        let _trials: Vec<Load> = backups.map(|at| Load::on(&all.endpoints[at], 44 * SECOND_NS)).collect();
        assert_eq!(all.fail(0, 5, 44 * SECOND_NS), Change::None, "{count}");
    }
}

#[test]
fn one_request_tries_an_ejected_endpoint_and_decides_for_all() {
    let mut all = Boxed::new(3);
    all.fail(0, 5, 0);
    let later = 34 * SECOND_NS;
    assert_eq!(all.place(0, later), Place::OnTrial);
    let trial = Load::on(&all.endpoints[0], later);
    assert_eq!(all.place(0, later), Place::Out, "it is being tried");
    drop(trial);
    assert_eq!(all.place(0, later), Place::OnTrial, "a caller who went away has decided nothing");
    assert_eq!(all.attempt(0, Outcome::Failure, later), Change::Ejected);
    assert_eq!(all.place(0, later + 59 * SECOND_NS), Place::Out, "twice as long the second time");
    let last = later + 67 * SECOND_NS;
    assert_eq!(all.attempt(0, Outcome::Success, last), Change::Returned);
    assert_eq!(all.place(0, last + SECOND_NS), Place::Returned { since_ns: SECOND_NS });
}

#[test]
fn an_ejection_is_forgiven_after_a_while_and_none_is_for_ever() {
    let mut all = Boxed::new(3);
    let mut now_ns = SECOND_NS;
    let mut longest = 0;
    for _ in 0..20 {
        let began = now_ns;
        all.fail(0, 5, now_ns);
        while all.place(0, now_ns) == Place::Out {
            now_ns += SECOND_NS;
        }
        longest = longest.max(now_ns - began);
    }
    assert!((300 * SECOND_NS..=331 * SECOND_NS).contains(&longest), "{longest}");
    all.attempt(0, Outcome::Success, now_ns);
    for _ in 0..40 {
        now_ns += 11 * SECOND_NS;
        all.look(now_ns);
    }
    all.fail(0, 5, now_ns);
    assert_ne!(all.place(0, now_ns + 34 * SECOND_NS), Place::Out);
}

/// Of `count` endpoints the first succeeds so often of a hundred times, the others 99 times.
fn check(count: usize, successes: u32, attempts: u32, ejected: usize) {
    let mut all = Boxed::new(u16::try_from(count).unwrap());
    for at in 0..count {
        for number in 0..attempts {
            let share = if at == 0 { successes } else { 99 };
            let outcome = if number % 100 < share { Outcome::Success } else { Outcome::Failure };
            // Beside the failures in a row, which are another rule.
            all.endpoints[at].standing.count(outcome);
            all.endpoints[at].standing.failures_in_row.store(0, Ordering::Relaxed);
        }
    }
    assert_eq!(all.look(SECOND_NS), ejected, "{count} endpoints, {successes} of {attempts}");
    assert_eq!(all.look(2 * SECOND_NS), 0, "once an interval");
}

#[test]
fn who_succeeds_clearly_less_often_than_its_peers_is_ejected() {
    check(5, 50, 100, 1);
    check(10, 80, 200, 1);
    check(5, 99, 100, 0);
    check(4, 0, 100, 0);
    check(5, 50, 99, 0);
}

//! Who is chosen.
use super::super::health::Turn;
use super::super::outlier::{Moment, Outcome, Outliers};
use super::super::ring;
use super::*;
use crate::config::{HashKey, HealthConfig, HealthProbe, OutlierConfig};
use std::time::Duration;

const SECOND_NS: u64 = 1_000_000_000;

fn balancer(config: &BalanceConfig, count: u16) -> Balancer {
    shared(config, &vec![Share::default(); usize::from(count)])
}

/// Endpoints at the ports from 1 on, with these shares.
fn shared(config: &BalanceConfig, shares: &[Share]) -> Balancer {
    let endpoint = |port: u16| Endpoint::new(([127, 0, 0, 1], port).into());
    Balancer::new(config, (1..).map(endpoint).take(shares.len()).collect(), shares.to_vec())
}

fn random() -> Random {
    Random::new([1, 2, 3, 4])
}

/// How often each endpoint is chosen in 1,000 times, nothing being held.
fn shares(balancer: &Balancer, now_ns: u64, tried: &[usize]) -> Vec<usize> {
    let mut random = random();
    let mut shares = vec![0; balancer.endpoints.len()];
    for _ in 0..1000 {
        let question = Question { now_ns, random: &mut random, key: None, tried };
        shares[balancer.choose(question).unwrap().index] += 1;
    }
    shares
}

fn all_rules() -> [BalanceConfig; 5] {
    [
        BalanceConfig::P2cEwma,
        BalanceConfig::LeastRequest,
        BalanceConfig::RoundRobin,
        BalanceConfig::Random,
        BalanceConfig::RingHash(HashKey::SpiffeId),
    ]
}

fn set_ill(endpoint: &Endpoint) {
    let config = HealthConfig {
        probe: HealthProbe::Connect,
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        healthy_after: 1,
        unhealthy_after: 1,
    };
    assert_eq!(endpoint.health.note(&config, false), Turn::Down);
}

#[test]
fn every_rule_uses_every_endpoint() {
    for rule in all_rules() {
        let shares = shares(&balancer(&rule, 4), 0, &[]);
        assert!(shares.iter().all(|share| (150..400).contains(share)), "{rule:?}: {shares:?}");
    }
}

#[test]
fn what_is_ill_or_was_tried_is_left_out_by_every_rule() {
    for rule in all_rules() {
        let balancer = balancer(&rule, 3);
        set_ill(&balancer.endpoints[0]);
        let shares = shares(&balancer, 0, &[1]);
        assert_eq!(shares, [0, 0, 1000], "{rule:?}");
        assert_eq!(balancer.panics(), 0);
    }
}

#[test]
fn where_nobody_is_left_all_are_asked_and_it_is_counted() {
    let balancer = balancer(&BalanceConfig::P2cEwma, 3);
    balancer.endpoints.iter().for_each(|endpoint| set_ill(endpoint));
    let shares = shares(&balancer, 0, &[1]);
    assert!(shares[0] > 300 && shares[1] == 0 && shares[2] > 300, "{shares:?}");
    assert_eq!(balancer.panics(), 1000);
}

#[test]
fn where_nobody_is_left_those_that_come_later_are_asked_with_the_first() {
    let all = [0, 1].map(|priority| Share { priority, weight: 1 });
    let balancer = shared(&BalanceConfig::Random, &all);
    balancer.endpoints.iter().for_each(|endpoint| set_ill(endpoint));
    let shares = shares(&balancer, 0, &[]);
    assert!(shares[0] > 300 && shares[1] > 300, "{shares:?}");
}

#[test]
fn round_robin_goes_round() {
    let balancer = balancer(&BalanceConfig::RoundRobin, 3);
    let mut random = random();
    let mut next = || {
        let question = Question { now_ns: 0, random: &mut random, key: None, tried: &[] };
        balancer.choose(question).unwrap().index
    };
    assert_eq!([next(), next(), next(), next()], [0, 1, 2, 0]);
}

#[test]
fn who_has_more_in_hand_gets_less() {
    for rule in [BalanceConfig::P2cEwma, BalanceConfig::LeastRequest] {
        let balancer = balancer(&rule, 3);
        let _held: Vec<Load> = (0..5).map(|_| Load::on(&balancer.endpoints[0], 0)).collect();
        assert_eq!(shares(&balancer, 0, &[])[0], 0, "{rule:?}");
    }
}

#[test]
fn who_is_slow_or_fails_gets_less_until_that_fades() {
    let balancer = balancer(&BalanceConfig::P2cEwma, 3);
    let note = |at: usize, outcome, latency_ns| balancer.endpoints[at].note(outcome, latency_ns, SECOND_NS);
    (0..3).for_each(|at| note(at, Outcome::Success, 5_000_000));
    note(0, Outcome::Failure, 1);
    assert_eq!(shares(&balancer, SECOND_NS, &[])[0], 0);
    assert_eq!(shares(&balancer, 30 * SECOND_NS, &[])[0], 0, "the others fade too");
    (1..3).for_each(|at| balancer.endpoints[at].note(Outcome::Success, 80_000_000, 30 * SECOND_NS));
    assert!(shares(&balancer, 30 * SECOND_NS, &[])[0] > 500);
}

#[test]
fn a_key_has_a_home_and_moves_on_when_its_home_is_full_or_gone() {
    let balancer = balancer(&BalanceConfig::RingHash(HashKey::SpiffeId), 4);
    let mut random = random();
    let mut home = |tried: &[usize]| {
        let key = Some(ring::hash(b"spiffe://example.org/web"));
        let question = Question { now_ns: 0, random: &mut random, key, tried };
        balancer.choose(question).unwrap()
    };
    let first = home(&[]).index;
    assert!((0..20).all(|_| home(&[]).index == first));
    let second = home(&[first]).index;
    assert_ne!(first, second);
    let held: Vec<Chosen> = (0..8).map(|_| home(&[])).collect();
    let at_home = held.iter().filter(|chosen| chosen.index == first).count();
    assert!(
        (2..=3).contains(&at_home),
        "of eight a fair share is two, and a quarter over is three: {at_home}"
    );
}

#[test]
fn an_endpoint_that_comes_back_gets_a_growing_part_of_its_share() {
    let config = OutlierConfig {
        consecutive_failures: 1,
        interval: Duration::from_secs(10),
        requests_min: 100,
        ejection: Duration::from_secs(30),
        ejection_max: Duration::from_secs(300),
        ejected_percent_max: 50,
    };
    let (balancer, outliers) = (balancer(&BalanceConfig::Random, 2), Outliers::new(config));
    let mut random = random();
    let mut note = |outcome, now_ns| {
        let mut load = Load::on(&balancer.endpoints[0], now_ns);
        let mut moment = Moment { now_ns, random: &mut random };
        outliers.note(&mut load, outcome, &mut moment, &balancer.endpoints);
    };
    note(Outcome::Failure, 0);
    assert_eq!(shares(&balancer, 10 * SECOND_NS, &[])[0], 0);
    note(Outcome::Success, 40 * SECOND_NS);
    let parts = [40, 42, 45, 51].map(|now_s| shares(&balancer, now_s * SECOND_NS, &[])[0]);
    assert!((20..90).contains(&parts[0]) && (90..220).contains(&parts[1]), "{parts:?}");
    assert!((220..380).contains(&parts[2]) && (430..570).contains(&parts[3]), "{parts:?}");
    // A further attempt does not go where the one before it went as long as there is somebody else.
    assert_eq!(shares(&balancer, 40 * SECOND_NS, &[1]), [1000, 0]);
    // Where nobody else is well it has all of it at once, and those that are ill have nothing.
    set_ill(&balancer.endpoints[1]);
    assert_eq!(shares(&balancer, 40 * SECOND_NS, &[]), [1000, 0]);
    assert_eq!(balancer.panics(), 0);
}

#[test]
fn every_rule_gives_each_endpoint_its_weight() {
    let weights = [1, 6, 3].map(|weight| Share { priority: 0, weight });
    for rule in all_rules() {
        let shares = shares(&shared(&rule, &weights), 0, &[]);
        for (share, expected) in shares.iter().zip([100_usize, 600, 300]) {
            assert!(share.abs_diff(expected) < 80, "{rule:?}: {shares:?}");
        }
    }
}

#[test]
fn what_comes_later_is_asked_where_nothing_is_left_of_what_comes_first() {
    let all = [(5, 1), (1, 1), (1, 1), (9, 1)].map(|(priority, weight)| Share { priority, weight });
    for rule in all_rules() {
        let balancer = shared(&rule, &all);
        let both = shares(&balancer, 0, &[]);
        assert!(both[0] == 0 && both[1] > 300 && both[2] > 300 && both[3] == 0, "{rule:?}: {both:?}");
        assert_eq!(shares(&balancer, 0, &[1]), [0, 0, 1000, 0], "{rule:?}");
        set_ill(&balancer.endpoints[2]);
        assert_eq!(shares(&balancer, 0, &[1]), [1000, 0, 0, 0], "{rule:?}");
        assert_eq!(balancer.panics(), 0);
    }
}

#[test]
fn a_weight_gives_way_to_what_is_in_hand_and_to_what_is_slow() {
    let twice = [2, 1].map(|weight| Share { priority: 0, weight });
    for rule in [BalanceConfig::P2cEwma, BalanceConfig::LeastRequest] {
        let balancer = shared(&rule, &twice);
        let _held: Vec<Load> = (0..3).map(|_| Load::on(&balancer.endpoints[0], 0)).collect();
        // Two over four of the one, one over one of the other.
        assert!(shares(&balancer, 0, &[])[0].abs_diff(333) < 50, "{rule:?}");
    }
    let balancer = shared(&BalanceConfig::P2cEwma, &twice);
    (0..2).for_each(|at| balancer.endpoints[at].note(Outcome::Success, 40_000_000, SECOND_NS));
    assert!(shares(&balancer, SECOND_NS, &[])[0].abs_diff(667) < 50);
    balancer.endpoints[0].note(Outcome::Success, 160_000_000, SECOND_NS);
    assert!(shares(&balancer, SECOND_NS, &[])[0].abs_diff(333) < 50);
}

/// How many thousandths of the attempts the lightest gets, where they come so many milliseconds one after the other and
/// all take 5 ms.
fn part_of_lightest(weights: [u32; 2], every_ms: u64) -> usize {
    const ATTEMPTS: usize = 20_000;
    let balancer = shared(&BalanceConfig::P2cEwma, &weights.map(|weight| Share { priority: 0, weight }));
    let (mut random, mut lightest) = (random(), 0);
    for now_ns in (1..).map(|attempt| attempt * every_ms * 1_000_000).take(ATTEMPTS) {
        let chosen =
            balancer.choose(Question { now_ns, random: &mut random, key: None, tried: &[] }).unwrap();
        chosen.load.note(Outcome::Success, 5_000_000, now_ns + 5_000_000);
        lightest += chosen.index;
    }
    lightest * 1000 / ATTEMPTS
}

#[test]
fn who_is_asked_seldom_for_its_weight_does_not_look_cheaper_for_that() {
    let check = |weights: [u32; 2], every_ms: u64, expected: usize| {
        let part = part_of_lightest(weights, every_ms);
        assert!(part.abs_diff(expected) <= expected / 5, "{weights:?} every {every_ms} ms: {part}");
    };
    check([9, 1], 10, 100);
    check([9, 1], 1_000, 100);
    check([9, 1], 10_000, 100);
    check([99, 1], 5_000, 10);
}

#[test]
fn who_was_slow_has_its_weight_again_after_a_while() {
    let balancer = shared(&BalanceConfig::P2cEwma, &[2, 1].map(|weight| Share { priority: 0, weight }));
    let note = |at: usize, latency_ns, now_s| {
        balancer.endpoints[at].note(Outcome::Success, latency_ns, now_s * SECOND_NS);
    };
    (0..2).for_each(|at| note(at, 5_000_000, 1));
    balancer.endpoints[0].note(Outcome::Failure, 1, SECOND_NS);
    note(1, 5_000_000, 61);
    assert!(shares(&balancer, 2 * SECOND_NS, &[])[0] < 50);
    assert!(shares(&balancer, 61 * SECOND_NS, &[])[0].abs_diff(667) < 50);
}

#[test]
fn weighted_turns_are_spread_and_a_full_home_is_as_large_as_its_weight() {
    let weights = [3, 1].map(|weight| Share { priority: 0, weight });
    let (mut random, mut on_end, mut longest) = (random(), 0, 0);
    let balancer = shared(&BalanceConfig::RoundRobin, &weights);
    for _ in 0..1000 {
        let question = Question { now_ns: 0, random: &mut random, key: None, tried: &[] };
        on_end = if balancer.choose(question).unwrap().index == 0 { on_end + 1 } else { 0 };
        longest = longest.max(on_end);
    }
    assert!(longest <= 5, "{longest} turns on end");
    let balancer = shared(&BalanceConfig::RingHash(HashKey::SpiffeId), &weights);
    let mut home = |key: u32| {
        let key = Some(ring::hash(&key.to_be_bytes()));
        balancer.choose(Question { now_ns: 0, random: &mut random, key, tried: &[] }).unwrap()
    };
    let key = (0..).find(|key| home(*key).index == 0).unwrap();
    let held: Vec<Chosen> = (0..16).map(|_| home(key)).collect();
    let at_home = held.iter().filter(|chosen| chosen.index == 0).count();
    assert!(
        (14..=15).contains(&at_home),
        "of sixteen its share is twelve, and a quarter over is fifteen: {at_home}"
    );
}

//! The whole of a worker on a simulated network whose endpoints fail, fall silent, crash and are cut off, as a seed says.
//!
//! The network and its time are turmoil's: each endpoint is a host, the worker is another, and what happens between them
//! is drawn from the seed. What is checked is one table, [`CHECKS`], over what callers, endpoints and the log have kept.
//! Connections are cut and none is lossy: what turmoil drops of a TCP stream is not sent again, as outside it would be.
mod endpoints;
mod history;

use super::ALLOW;
use super::peers::Conversation;
use super::world::World;
use crate::upstream::{BoxIo, Connect, Connecting};
use crate::worker::Random;
use endpoints::Mood;
use history::{Answered, CHECKS, History};
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

const CALLERS: u64 = 6;
const ENDPOINTS: u64 = 3;
const TICK: Duration = Duration::from_millis(2);
/// Until when something goes wrong now and then, and until when callers ask.
const FAULTS_END: Duration = Duration::from_secs(8);
const CALLS_END: Duration = Duration::from_secs(16);
const ROUTE_TIMEOUT: Duration = Duration::from_secs(2);
/// Retries that the budget allows; no share besides, which would bound how many there are at one time and not how many.
const PER_SECOND: u64 = 2;

const CHANGES: [(&str, &str); 3] = [
    ("127.0.0.1:1, 127.0.0.1:2]", "127.0.0.1:1, 127.0.0.1:2, 127.0.0.1:3], retry_budget: BUDGET"),
    (
        "retry: { attempts_max: 2, on: [connect_failure] }",
        "timeout: 2s, retry: { attempts_max: 3, on: [connect_failure, reset, gateway_error, timeout], per_try_timeout: 500ms, methods: METHODS }",
    ),
    ("drain_grace: 1s", "drain_grace: 3s"),
];

/// The rules that the usual stories are played by.
const RULES: [(&str, &str); 2] = [("BUDGET", "{ percent: 0, per_second: 2 }"), ("METHODS", "[GET]")];

/// The worker's way to the simulated endpoints: port `n` of the configuration is the host `endpoint-n`.
#[derive(Debug)]
struct Simulated;

impl Connect for Simulated {
    fn connect(&self, endpoint: SocketAddr) -> Connecting {
        Box::pin(async move {
            let stream = turmoil::net::TcpStream::connect((name(endpoint.port().into()), 80)).await?;
            let stream: BoxIo = Box::new(stream);
            Ok(stream)
        })
    }
}

fn name(endpoint: u64) -> String {
    format!("endpoint-{endpoint}")
}

/// A number below `bound`.
fn draw(random: &RefCell<Random>, bound: u64) -> u64 {
    random.borrow_mut().next_u64() % bound
}

fn dice(seed: u64, purpose: u64) -> Rc<RefCell<Random>> {
    let mut random = Random::new([seed, purpose, seed ^ 0x9e37_79b9_7f4a_7c15, 1]);
    // Seeds that are close to each other give numbers that are, at first.
    (0..16).for_each(|_| _ = random.next_u64());
    Rc::new(RefCell::new(random))
}

/// One seed's story under these rules, whole.
fn play(seed: u64, rules: [(&str, &str); 2]) -> History {
    let mut sim = turmoil::Builder::new()
        .simulation_duration(CALLS_END * 4)
        .tick_duration(TICK)
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(20))
        .rng_seed(seed)
        .build();
    let seen = endpoints::Seen::default();
    let moods: Vec<_> = (1..=ENDPOINTS).map(|_| Rc::new(Cell::new(Mood::Well))).collect();
    for (number, mood) in (1..).zip(&moods) {
        let (seen, mood, dice) = (Rc::clone(&seen), Rc::clone(mood), dice(seed, number));
        sim.host(name(number), move || {
            endpoints::serve(Rc::clone(&seen), Rc::clone(&mood), Rc::clone(&dice))
        });
    }
    let mut world = World::configured(Some(ALLOW), &[&CHANGES[..], &rules].concat())
        .with_network(Rc::new(Simulated), [seed, 1, 2, 3])
        .with_caller_ttl(Duration::from_secs(3600));
    let (clock, shared) = (std::sync::Arc::clone(&world.clock), world.shared.clone());
    let told = Rc::new(RefCell::new(None));
    let telling = Rc::clone(&told);
    sim.client("sidecar", async move {
        let answers = world.play(async |world, _| callers(world, seed).await).await;
        telling.replace(Some((answers, world)));
        Ok(())
    });
    let faults = dice(seed, 100);
    let mut next_fault = Duration::from_millis(500);
    while !sim.step().unwrap_or_else(|error| panic!("seed {seed}: {error}")) {
        clock.advance(TICK);
        if sim.elapsed() >= FAULTS_END && next_fault < FAULTS_END {
            next_fault = FAULTS_END;
            heal(&mut sim, &moods);
        } else if sim.elapsed() >= next_fault && next_fault < FAULTS_END {
            next_fault += Duration::from_millis(100 + draw(&faults, 600));
            next_fault = next_fault.min(FAULTS_END - TICK);
            fault(&mut sim, &moods, &faults);
        }
    }
    drop(sim);
    let (answers, world) = told.take().unwrap();
    let in_force = shared.load();
    let breakers = in_force.routing.upstreams().map(|upstream| &upstream.breaker);
    let taken = breakers.map(|it| [it.requests.taken(), it.pending.taken(), it.connections.taken()]);
    let in_use = taken.collect();
    History { answers, seen: seen.take(), in_use, records: world.finish() }
}

/// Something goes wrong at an endpoint, or right again.
fn fault(sim: &mut turmoil::Sim<'_>, moods: &[Rc<Cell<Mood>>], dice: &RefCell<Random>) {
    let endpoint = 1 + draw(dice, ENDPOINTS);
    let host = name(endpoint);
    match draw(dice, 8) {
        0 if sim.is_host_running(host.as_str()) => sim.crash(host),
        0 | 1 => sim.bounce(host),
        2 => sim.partition("sidecar", host),
        3 => sim.repair("sidecar", host),
        mood => {
            let moods = moods.iter().zip(1..).filter(|(_, number)| *number == endpoint);
            moods.for_each(|(cell, _)| cell.set(Mood::drawn(mood)));
        }
    }
}

fn heal(sim: &mut turmoil::Sim<'_>, moods: &[Rc<Cell<Mood>>]) {
    for (mood, number) in moods.iter().zip(1..) {
        mood.set(Mood::Well);
        sim.repair("sidecar", name(number));
        if !sim.is_host_running(name(number)) {
            sim.bounce(name(number));
        }
    }
}

async fn callers(world: &World, seed: u64) -> Vec<Answered> {
    let calling = (0..CALLERS).map(|caller| call(world, caller, dice(seed, 200 + caller)));
    futures_util::future::join_all(calling).await.into_iter().flatten().collect()
}

/// One caller, who asks again and again and keeps what it is told.
async fn call(world: &World, caller: u64, dice: Rc<RefCell<Random>>) -> Vec<Answered> {
    let began = tokio::time::Instant::now();
    let mut answers = Vec::new();
    let mut conversation: Option<Conversation> = None;
    while began.elapsed() < CALLS_END {
        tokio::time::sleep(Duration::from_millis(20 + draw(&dice, 200))).await;
        let mut open = match conversation.take() {
            Some(open) => open,
            None => world.caller().await.shake_hands().await,
        };
        let id = format!("{caller}-{}", answers.len());
        let is_get = draw(&dice, 3) > 0;
        let request = if is_get {
            format!("GET /api/{id} HTTP/1.1\r\nHost: a.test\r\n\r\n")
        } else {
            format!("POST /api/{id} HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nbody")
        };
        let asked = tokio::time::Instant::now();
        let said = open.try_say(&request).await;
        let answer = if said.is_ok() { open.hear().await } else { String::new() };
        let status = answer.get(9..12).and_then(|status| status.parse().ok());
        if status.is_some() && !answer.to_lowercase().contains("connection: close") {
            conversation = Some(open);
        }
        answers.push(Answered { id, is_get, at: asked - began, took: asked.elapsed(), status });
    }
    answers
}

/// Plays the seeds, and holds each story against every check.
fn check(seeds: impl IntoIterator<Item = u64>) {
    for seed in seeds {
        let history = play(seed, RULES);
        for (named, holds) in CHECKS {
            if let Err(why) = holds(&history) {
                panic!("{named}: {why}\nPOSTERN_SEED={seed} plays it again");
            }
        }
        // A story in which nothing happens shows nothing.
        let refused = history.answers.iter().filter(|answered| answered.status != Some(200)).count();
        assert!(refused > 0 && history.retries() > 0, "seed {seed} has no faults to speak of");
    }
}

/// The checks that some story under these rules does not pass: not in each comes what a rule is for.
fn broken(rules: [(&str, &str); 2]) -> Vec<&'static str> {
    let stories: Vec<_> = (0..4).map(|seed| play(seed, rules)).collect();
    let is_broken =
        |holds: &dyn Fn(&History) -> Result<(), String>| stories.iter().any(|it| holds(it).is_err());
    CHECKS.iter().filter(|(_, holds)| is_broken(holds)).map(|(named, _)| *named).collect()
}

/// The seed that the environment asks for, or these.
fn seeds(usual: std::ops::Range<u64>) -> std::ops::Range<u64> {
    let asked = std::env::var("POSTERN_SEED").ok();
    let asked = asked.map(|seed| seed.parse().expect("POSTERN_SEED is a number"));
    asked.map_or(usual, |seed: u64| seed..seed + 1)
}

#[test]
fn the_traffic_rules_hold_whatever_the_network_does() {
    check(seeds(0..6));
}

/// What stands here is what the checks are for: where a rule is loosened, they see it.
#[test]
fn a_story_under_looser_rules_does_not_pass() {
    let (budget, methods) = (RULES[0], RULES[1]);
    let many = ("BUDGET", "{ percent: 100, per_second: 1000 }");
    assert_eq!(broken([many, methods]), ["retries stay within their budget"]);
    assert_eq!(broken([budget, ("METHODS", "[GET, POST]")]), ["what must not be sent twice is not"]);
}

#[test]
#[ignore = "thousands of stories; tier 2"]
fn the_traffic_rules_hold_in_thousands_of_stories() {
    check(seeds(1_000..3_000));
}

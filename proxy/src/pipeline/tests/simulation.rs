//! The whole of a worker on a simulated network, in stories whose course a seed says.
//!
//! The network and its time are turmoil's: each endpoint is a host, the worker is another, and what happens between them
//! is drawn from the seed. What is checked are tables of checks over what callers, endpoints and the log have kept: one for
//! all stories, [`history::CHECKS`], and one for each. Beside each stands what fails exactly one of them.
//! Connections are cut and none is lossy: what turmoil drops of a TCP stream is not sent again, as outside it would be.
mod ejections;
mod endpoints;
mod history;
mod policies;
mod rates;
mod refusals;
mod storms;
mod swaps;
mod weather;

use super::ALLOW;
use super::peers::Conversation;
use super::world::{self, World};
use crate::routing::Routing;
use crate::state::Shared;
use crate::telemetry::Metrics;
use crate::traffic::endpoint::State;
use crate::upstream::{BoxIo, Connect, Connecting};
use crate::worker::Random;
use endpoints::{Endpoint, Mood};
use history::{Answered, CHECKS, Check, Ejection, History, Turn};
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

const TICK: Duration = Duration::from_millis(4);
const ROUTE_TIMEOUT: Duration = Duration::from_secs(2);

/// How one caller asks.
#[derive(Clone, Copy, Debug)]
struct Habit {
    /// What it waits between two requests, in milliseconds: at least, and how much more at most.
    pause_ms: (u64, u64),
    /// One request of so many is a POST; 0 for none.
    one_post_of: u64,
    /// Whom it asks for.
    tenant: &'static str,
}

/// A story before it is played.
#[derive(Clone, Debug)]
struct Story {
    seed: u64,
    endpoints: u64,
    is_http2: bool,
    callers: Vec<Habit>,
    calls_end: Duration,
    /// What stands in the configuration of the upstream, behind its endpoints.
    upstream: String,
    /// And in that of the route, behind its timeout.
    route: String,
}

impl Story {
    /// Six callers who ask three endpoints until `seconds` have passed.
    fn new(seed: u64, seconds: u64) -> Self {
        let callers = vec![Habit { pause_ms: (20, 200), one_post_of: 3, tenant: "a" }; 6];
        let calls_end = Duration::from_secs(seconds);
        let (upstream, route) = (String::new(), String::new());
        Self { seed, endpoints: 3, is_http2: false, callers, calls_end, upstream, route }
    }

    /// What differs from the usual configuration, with these endpoints.
    fn changes(&self, endpoints: &[u64]) -> [(&'static str, String); 3] {
        let endpoints: Vec<_> = endpoints.iter().map(|number| format!("127.0.0.1:{number}")).collect();
        [
            ("127.0.0.1:1, 127.0.0.1:2]", format!("{}]{}", endpoints.join(", "), self.upstream)),
            ("retry: { attempts_max: 2, on: [connect_failure] }", format!("timeout: 2s{}", self.route)),
            ("drain_grace: 1s", "drain_grace: 3s".to_owned()),
        ]
    }

    fn all_endpoints(&self) -> Vec<u64> {
        (1..=self.endpoints).collect()
    }
}

/// What can be changed while a story is played.
struct Stage<'s, 'sim> {
    story: &'s Story,
    sim: &'s mut turmoil::Sim<'sim>,
    moods: &'s [Rc<Cell<Mood>>],
    dice: &'s RefCell<Random>,
    shared: &'s Shared,
    metrics: &'s Arc<Metrics>,
    turns: &'s mut Vec<(Duration, Turn)>,
}

impl Stage<'_, '_> {
    /// How long the story has lasted.
    fn at(&self) -> Duration {
        self.sim.elapsed()
    }

    fn draw(&self, bound: u64) -> u64 {
        draw(self.dice, bound)
    }

    fn set_mood(&self, endpoint: u64, mood: Mood) {
        let mut moods = self.moods.iter().zip(1..).filter(|(_, number)| *number == endpoint);
        moods.next().unwrap().0.set(mood);
    }

    fn note(&mut self, turn: Turn) {
        self.turns.push((self.at(), turn));
    }

    /// Reads a configuration with these endpoints.
    fn reload(&self, endpoints: &[u64]) {
        let changes = self.story.changes(endpoints);
        let config = world::configuration(&changes.each_ref().map(|(from, to)| (*from, to.as_str())));
        let before = Arc::clone(&self.shared.load().routing);
        let routing = Routing::new(&config, Some(&before), self.metrics);
        self.shared.publish(|next| next.routing = Arc::new(routing));
    }

    /// Everything works again.
    fn heal(&mut self) {
        for number in self.story.all_endpoints() {
            self.set_mood(number, Mood::Well);
            self.sim.repair("sidecar", name(number));
            if !self.sim.is_host_running(name(number)) {
                self.sim.bounce(name(number));
            }
        }
    }
}

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

/// The simulation's time, as a host sees it.
fn now() -> Duration {
    turmoil::sim_elapsed().unwrap()
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

/// Plays a story whole. `act` is asked at each tick what happens.
fn play(story: &Story, mut act: impl FnMut(&mut Stage<'_, '_>)) -> History {
    let seed = story.seed;
    let mut sim = turmoil::Builder::new()
        .simulation_duration(story.calls_end * 4)
        .tick_duration(TICK)
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(20))
        .rng_seed(seed)
        .build();
    let seen = endpoints::AllSeen::default();
    let moods: Vec<_> = (1..=story.endpoints).map(|_| Rc::new(Cell::new(Mood::Well))).collect();
    for (number, mood) in (1..).zip(&moods) {
        let (seen, mood) = (Rc::clone(&seen), Rc::clone(mood));
        let endpoint = Endpoint { number, is_http2: story.is_http2, mood, dice: dice(seed, number), seen };
        sim.host(name(number), move || endpoint.clone().serve());
    }
    let changes = story.changes(&story.all_endpoints());
    let mut world =
        World::configured(Some(ALLOW), &changes.each_ref().map(|(from, to)| (*from, to.as_str())))
            .with_network(Rc::new(Simulated), [seed, 1, 2, 3])
            .with_caller_ttl(Duration::from_secs(3600));
    let (clock, shared) = (Arc::clone(&world.clock), world.shared.clone());
    let metrics = Arc::clone(&world.metrics);
    let told = Rc::new(RefCell::new(None));
    let (telling, asking) = (Rc::clone(&told), story.clone());
    sim.client("sidecar", async move {
        let answers = world.play(async |world, _| callers(world, &asking).await).await;
        telling.replace(Some((answers, world)));
        Ok(())
    });
    let (dice, mut turns, mut ejections) = (dice(seed, 100), Vec::new(), Vec::new());
    while !sim.step().unwrap_or_else(|error| panic!("seed {seed}: {error}")) {
        clock.advance(TICK);
        watch(sim.elapsed(), &shared, &mut ejections);
        let (sim, turns) = (&mut sim, &mut turns);
        act(&mut Stage { story, sim, moods: &moods, dice: &dice, shared: &shared, metrics: &metrics, turns });
    }
    drop(sim);
    let (answers, world) = told.take().unwrap();
    let in_force = shared.load();
    let breakers = in_force.routing.upstreams().map(|upstream| &upstream.breaker);
    let taken = breakers.map(|it| [it.requests.taken(), it.pending.taken(), it.connections.taken()]);
    let (in_use, calls_end) = (taken.collect(), story.calls_end);
    History { calls_end, answers, seen: seen.take(), turns, ejections, in_use, records: world.finish() }
}

/// Notes which endpoints are left out now.
fn watch(at: Duration, shared: &Shared, ejections: &mut Vec<Ejection>) {
    let in_force = shared.load();
    let upstream = in_force.routing.upstreams().find(|upstream| &*upstream.name == "app").unwrap();
    for endpoint in upstream.balancer.endpoints() {
        let number = u64::from(endpoint.address.ip().unwrap().port());
        let open = ejections.iter_mut().find(|it| it.endpoint == number && it.until.is_none());
        match (endpoint.state() == State::Ejected, open) {
            (true, None) => ejections.push(Ejection { endpoint: number, from: at, until: None }),
            (false, Some(open)) => open.until = Some(at),
            (true, Some(_)) | (false, None) => {}
        }
    }
}

async fn callers(world: &World, story: &Story) -> Vec<Answered> {
    let calling = (0..).zip(&story.callers).map(|(caller, habit)| call(world, story, (caller, *habit)));
    futures_util::future::join_all(calling).await.into_iter().flatten().collect()
}

/// One caller, who asks again and again and keeps what it is told.
async fn call(world: &World, story: &Story, (caller, by): (u64, Habit)) -> Vec<Answered> {
    let dice = dice(story.seed, 200 + caller);
    let mut answers = Vec::new();
    let mut conversation: Option<Conversation> = None;
    while now() < story.calls_end {
        let (least, more) = by.pause_ms;
        tokio::time::sleep(Duration::from_millis(least + draw(&dice, more))).await;
        let mut open = match conversation.take() {
            Some(open) => open,
            None => world.caller().await.shake_hands().await,
        };
        let id = format!("{caller}-{}", answers.len());
        let is_get = by.one_post_of == 0 || draw(&dice, by.one_post_of) > 0;
        let (method, body) = if is_get { ("GET", "\r\n") } else { ("POST", "Content-Length: 4\r\n\r\nbody") };
        let tenant = by.tenant;
        let request = format!("{method} /api/{id} HTTP/1.1\r\nHost: a.test\r\nX-Tenant: {tenant}\r\n{body}");
        let at = now();
        let said = open.try_say(&request).await;
        let answer = if said.is_ok() { open.hear().await } else { String::new() };
        let status = answer.get(9..12).and_then(|status| status.parse().ok());
        if status.is_some() && !answer.to_lowercase().contains("connection: close") {
            conversation = Some(open);
        }
        answers.push(Answered { id, by, is_get, at, took: now() - at, status });
    }
    answers
}

/// Those checks that a story does not pass, those of all stories included, and why.
fn failing(history: &History, checks: &[Check]) -> Vec<(&'static str, String)> {
    let failing = |(named, holds): &Check| Some((*named, holds(history).err()?));
    CHECKS.iter().chain(checks).filter_map(failing).collect()
}

/// Plays a story for each seed, and holds each against every check.
fn check(seeds: impl IntoIterator<Item = u64>, play: impl Fn(u64) -> History, checks: &[Check]) {
    for seed in seeds {
        let history = play(seed);
        if let [(named, why), ..] = failing(&history, checks).as_slice() {
            panic!("{named}: {why}\nPOSTERN_SEED={seed} plays it again");
        }
    }
}

/// The names of those checks that a story does not pass.
fn broken(history: &History, checks: &[Check]) -> Vec<&'static str> {
    failing(history, checks).into_iter().map(|(named, _)| named).collect()
}

/// The seed that the environment asks for, or these.
fn seeds(usual: std::ops::Range<u64>) -> std::ops::Range<u64> {
    let asked = std::env::var("POSTERN_SEED").ok();
    let asked = asked.map(|seed| seed.parse().expect("POSTERN_SEED is a number"));
    asked.map_or(usual, |seed: u64| seed..seed + 1)
}

/// The same for stories by the thousand; `POSTERN_SEEDS` says how many there are.
fn many_seeds() -> std::ops::Range<u64> {
    let asked = std::env::var("POSTERN_SEEDS").ok();
    let count: u64 = asked.map_or(200, |count| count.parse().expect("POSTERN_SEEDS is a number"));
    seeds(1_000..1_000 + count)
}

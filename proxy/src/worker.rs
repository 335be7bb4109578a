//! A worker: one thread, one current-thread runtime, one future. It is handed everything that touches the
//! world, so that a test can hand it something else.
use crate::clock::Clock;
use crate::health;
use crate::keys::KeyRequests;
use crate::listener::{self, Accepted, Connection, Connections};
use crate::nonce::Nonces;
use crate::pipeline::{InProgress, TokenCache};
use crate::recorder::Recorder;
use crate::replay::Replays;
use crate::routing::Upstream;
use crate::standing::Standings;
use crate::state::{Pinned, Shared};
use crate::telemetry::{Metrics, Sampler, SpanSink};
use crate::traffic::balance::{Chosen, Question};
use crate::traffic::decision_guard::Budgets;
use crate::traffic::rate_limit;
use crate::upstream::{InForce, Pool, Proof, Target};
use postern_audit::EndpointAddress;
use postern_policy::Scratch;
use std::borrow::Cow;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// What a worker owns or was lent. Nothing in it is locked on the way of a request.
#[derive(Debug)]
pub struct Worker {
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// The snapshot cell, for handshakes.
    pub shared: Shared,
    /// The worker's own view of it, for requests.
    pub snapshots: Pinned,
    /// The policy evaluators of this worker.
    pub scratch: RefCell<Scratch>,
    /// The way into the audit log.
    pub recorder: Recorder,
    /// Connections to the upstreams.
    pub upstreams: Pool,
    /// Tokens verified lately.
    pub tokens: RefCell<TokenCache>,
    /// The connections that are open.
    pub connections: Connections,
    /// What is known of their chains, shared by all workers.
    pub standings: Standings,
    /// Tells when every chain has been judged by the trust in force.
    pub judged: watch::Receiver<u64>,
    /// The proofs that were used lately, on all workers.
    pub replays: Arc<Replays>,
    /// What proofs have to hold where they have to hold something.
    pub nonces: Arc<Nonces>,
    /// The answers that are on their way.
    pub in_progress: InProgress,
    /// What principals may still have refused.
    pub budgets: Budgets,
    /// What it has met of the routes' rate limits.
    pub rate_limits: rate_limit::Known,
    /// The way to ask for fresh keys.
    pub keys: KeyRequests,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// The way to the export thread.
    pub spans: SpanSink,
    /// Which new traces are kept.
    pub sampler: Sampler,
    /// Randomness for ids and spreading; not for secrets.
    pub random: RefCell<Random>,
}

impl Worker {
    /// How long a connection may last: its configured age, spread by a tenth so that callers do not all come
    /// back at once.
    pub(crate) fn connection_age(&self, age_max: Duration) -> Duration {
        let spread = self.random.borrow_mut().next_u64() % 2_001;
        age_max.saturating_mul(u32::try_from(9_000 + spread).unwrap_or(10_000)) / 10_000
    }

    /// The endpoint of an upstream to try next, and what it has in hand with this; `None` when it has none to try.
    pub(crate) fn choose<'u>(
        &self,
        upstream: &'u Upstream,
        key: Option<u64>,
        tried: &[usize],
    ) -> Option<(&'u Target, Chosen)> {
        let now_ns = self.clock.monotonic_ns();
        let mut random = self.random.borrow_mut();
        let chosen = upstream.balancer.choose(Question { now_ns, random: &mut random, key, tried })?;
        Some((upstream.targets.get(chosen.index)?, chosen))
    }

    /// The same for a caller's connection, which was going somewhere, where an upstream may be, and which it may have to
    /// be told of.
    pub(crate) fn aim<'u>(
        &self,
        upstream: &'u Upstream,
        (key, tried): (Option<u64>, &[usize]),
        connection: &Connection,
    ) -> Option<(Cow<'u, Target>, Chosen)> {
        let (mut target, chosen) =
            self.take_aim(upstream, (key, tried), connection.original_destination())?;
        if target.proxy_protocol.is_some()
            && let Some(announcement) = connection.announcement()
        {
            target.to_mut().announced = Some(announcement);
        }
        Some((target, chosen))
    }

    fn take_aim<'u>(
        &self,
        upstream: &'u Upstream,
        (key, tried): (Option<u64>, &[usize]),
        original: Option<SocketAddr>,
    ) -> Option<(Cow<'u, Target>, Chosen)> {
        if let Some(target) = &upstream.original {
            let endpoint = original?;
            let endpoint = EndpointAddress::Ip(endpoint);
            let target = Target { endpoint: endpoint.clone(), ..target.clone() };
            return Some((Cow::Owned(target), Chosen::alone(endpoint, self.clock.monotonic_ns())));
        }
        let (target, chosen) = self.choose(upstream, key, tried)?;
        Some((Cow::Borrowed(target), chosen))
    }

    /// Whether a connection to an upstream may be used, by what is in force at this moment.
    pub(crate) fn may_use(&self, proof: Option<&Proof>) -> bool {
        let Some(proof) = proof else { return true };
        let snapshot = self.snapshots.pin();
        InForce { snapshot: &snapshot, now: self.clock.unix_time() }.may_use(Some(proof))
    }

    /// Looks at what nobody else looks at.
    fn sweep(self: &Rc<Self>) {
        health::check_due(self);
        self.connections.review(self);
        let snapshot = self.snapshots.pin();
        let in_force = InForce { snapshot: &snapshot, now: self.clock.unix_time() };
        self.upstreams.sweep(&in_force);
        self.in_progress.sweep(Instant::now(), &in_force);
        self.in_progress.judge(self);
        let now_ns = self.clock.monotonic_ns();
        self.budgets.sweep(now_ns);
        snapshot.routing.routes().for_each(|route| route.rates.sweep(now_ns));
        self.rate_limits.sweep();
    }
}

/// Serves what the acceptor hands over until it is told to drain, then until the last connection has ended.
pub async fn run(
    worker: Rc<Worker>,
    mut accepted: mpsc::Receiver<Accepted>,
    mut stop: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    let mut sweep = tokio::time::interval(SWEEP_INTERVAL);
    let mut judged = worker.judged.clone();
    loop {
        tokio::select! {
            next = accepted.recv() => match next {
                Some(accepted) => {
                    let drain = accepted.place.listener().draining();
                    connections.spawn_local(listener::serve(Rc::clone(&worker), accepted, drain));
                }
                None => break,
            },
            Some(ended) = connections.join_next() => note(ended),
            _ = sweep.tick() => worker.sweep(),
            Ok(()) = judged.changed() => worker.connections.review(&worker),
            _ = stop.wait_for(|stop| *stop) => break,
        }
    }
    // Connections that were handed over and not yet begun were promised an answer too.
    accepted.close();
    while let Some(accepted) = accepted.recv().await {
        let drain = accepted.place.listener().draining();
        connections.spawn_local(listener::serve(Rc::clone(&worker), accepted, drain));
    }
    while !connections.is_empty() {
        tokio::select! {
            Some(ended) = connections.join_next() => note(ended),
            _ = sweep.tick() => worker.sweep(),
        }
    }
}

fn note(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        // The connection is gone and its drafts are filed; the worker lives.
        tracing::error!(%error, "a connection's task panicked");
    }
}

const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Fast randomness for ids, spreading and sampling (xoshiro256++), seeded from the operating system.
#[derive(Debug)]
pub struct Random([u64; 4]);

impl Random {
    /// From a seed; a simulation hands the same one twice.
    pub fn new(seed: [u64; 4]) -> Self {
        // All zeros is the one state that never leaves itself.
        Self(if seed == [0; 4] { [1; 4] } else { seed })
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        let [a, b, c, d] = self.0;
        let result = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let (c, d) = (c ^ a, d ^ b);
        self.0 = [a ^ d, b ^ c, c ^ (b << 17), d.rotate_left(45)];
        result
    }
}

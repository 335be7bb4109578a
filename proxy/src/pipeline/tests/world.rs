//! A worker in a box: real TLS, a real log, a real policy; the network is two ends of a pipe and the clock
//! stands still until it is told to move.
use super::peers::{Caller, echo};
use crate::clock::Clock;
use crate::config::{self, Config, Direction};
use crate::demo::ca::Ca;
use crate::keys::KeyRequests;
use crate::listener::{Accepted, AcceptedIo, Callers, Handshake, Listener, Place, WorkerHandle};
use crate::log::{Disk, Log, LogConfig, Now, Surroundings};
use crate::memory::Memory;
use crate::nonce::Nonces;
use crate::replay::Replays;
use crate::routing::Routing;
use crate::state::{Pinned, Policy, Shared, Tokens, Trust};
use crate::telemetry::metrics::MetricsPlan;
use crate::telemetry::{Metrics, Sampler, SpanSink};
use crate::upstream::{BoxIo, Connect, Connecting, Originator, Pool};
use crate::worker::{self, Random, Worker};
use bytes::Bytes;
use http::Request;
use postern_identity::tls::{self, AcceptedTrustDomains, ExpectedPeers, Material};
use postern_identity::token::Issuer;
use postern_identity::{RevocationList, RevocationMode, SpiffeId, TrustBundles, X509Svid};
use postern_policy::bundle::archive_of;
use postern_policy::{BundleLimits, Entry, Pdp, PdpLimits, PolicyBundle, Signers};
use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;

/// Saturday, 2026-11-21; the tests' beginning of time.
pub(super) const BEGINNING_S: u64 = 1_795_219_200;
pub(super) const CALLER: &str = "spiffe://example.org/web";

#[derive(Debug)]
pub(super) struct StandingClock(AtomicU64);

impl StandingClock {
    pub(super) fn advance(&self, by: Duration) {
        self.0.fetch_add(u64::try_from(by.as_nanos()).unwrap(), Ordering::Relaxed);
    }
}

impl Clock for StandingClock {
    fn unix_ns(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn monotonic_ns(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What the upstream does with its n-th connection.
pub(super) type Upstream = Rc<dyn Fn(usize) -> io::Result<BoxIo>>;
/// What each endpoint does with a connection.
pub(super) type Endpoints = Rc<dyn Fn(SocketAddr) -> io::Result<BoxIo>>;

struct Scripted {
    upstream: Upstream,
    endpoints: Option<Endpoints>,
    made: Cell<usize>,
}

impl std::fmt::Debug for Scripted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Scripted")
    }
}

impl Connect for Scripted {
    fn connect(&self, endpoint: SocketAddr) -> Connecting {
        let number = self.made.get();
        self.made.set(number + 1);
        let made = match &self.endpoints {
            Some(endpoints) => endpoints(endpoint),
            None => (self.upstream)(number),
        };
        Box::pin(async move {
            if made.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
                std::future::pending::<()>().await;
            }
            // As in the world outside, it takes a moment.
            tokio::time::sleep(Duration::from_millis(1)).await;
            made
        })
    }
}

#[derive(Debug)]
struct CallerMaterial(Arc<X509Svid>, Arc<TrustBundles>);

impl Material for CallerMaterial {
    fn trust(&self) -> Arc<TrustBundles> {
        Arc::clone(&self.1)
    }

    fn svid(&self) -> Option<Arc<X509Svid>> {
        Some(Arc::clone(&self.0))
    }
}

/// The world around one worker.
pub(super) struct World {
    pub(super) clock: Arc<StandingClock>,
    pub(super) shared: Shared,
    pub(super) seen: Rc<RefCell<Vec<Request<Bytes>>>>,
    ca: Ca,
    directory: tempfile::TempDir,
    pub(super) listener: Arc<Listener>,
    log: Option<Log>,
    seat: Option<crate::recorder::Seat>,
    pub(super) metrics: Arc<Metrics>,
    replays: Arc<Replays>,
    upstream: Option<Upstream>,
    endpoints: Option<Endpoints>,
    connector: Option<Rc<dyn Connect>>,
    random: [u64; 4],
    arrivals: RefCell<Option<(mpsc::Sender<Accepted>, WorkerHandle)>>,
    standings: crate::standing::Standings,
    judged: watch::Sender<u64>,
    /// Tells the worker that newer token keys are in force.
    pub(super) keys_generation: watch::Sender<u64>,
    caller_ttl: Duration,
    others: RefCell<Vec<Ca>>,
    original: RefCell<Option<SocketAddr>>,
}

const CONFIG: &str = "
version: 1
identity: { source: { workload_api: { socket: unix:///nowhere } } }
policy:
  bundles: { authz: { source: { directory: { path: /nowhere } }, unsigned: development_only } }
  decision: { rego: authz/decision }
  last_good_directory: /nowhere
listeners:
  app:
    inbound: { address: 127.0.0.1:8443, tls: { mutual: { trust_domains: [example.org] } } }
    limits: { body_bytes_max: 64KiB, policy_body_bytes_max: 1KiB, drain_grace: 1s }
    routes:
      - { name: watched, match: { path_prefix: /watched }, upstream: app, enforcement: observe }
      - { name: told, match: { path_prefix: /told }, upstream: app, explain: detail }
      - { name: calls, match: { path_prefix: /calls }, upstream: calls }
      - { name: api, match: { path_prefix: /api }, upstream: app, retry: { attempts_max: 2, on: [connect_failure] } }
upstreams:
  app: { endpoints: [127.0.0.1:1, 127.0.0.1:2] }
  calls: { endpoints: [127.0.0.1:3], protocol: h2c }
audit: { directory: /nowhere, origin: example.org/app, signer: { ed25519: { key: /dev/null } } }
";

/// What there is.
pub(super) const MEMORY_BYTES: u64 = 1_000_000;

impl World {
    /// A world whose policy is `rego`, or which has none, and whose upstream answers what it is asked.
    pub(super) fn new(rego: Option<&str>) -> Self {
        Self::configured(rego, &[])
    }

    /// The same under another configuration: each pair is a piece of the usual one and what stands there instead.
    pub(super) fn configured(rego: Option<&str>, changes: &[(&str, &str)]) -> Self {
        let clock = Arc::new(StandingClock(AtomicU64::new(BEGINNING_S * 1_000_000_000)));
        let now = clock.unix_time();
        let ca = Ca::new("example.org".parse().unwrap(), now).unwrap();
        let config = configuration(changes);
        let plan = MetricsPlan { version: "test", started_unix_s: BEGINNING_S, reasons: &[] };
        let metrics = Arc::new(Metrics::new(&plan));
        let shared = Shared::new(Routing::new(&config, None, &metrics), Vec::<Issuer>::new());
        let own =
            ca.issue(&"spiffe://example.org/app".parse().unwrap(), Duration::from_secs(3600), now).unwrap();
        let mut bundles = TrustBundles::default();
        bundles.insert(ca.bundle().unwrap());
        shared.publish(|next| {
            next.svid = Some(Arc::new(own.svid().unwrap()));
            next.trust = Arc::new(Trust::default().followed_by(Arc::new(bundles)));
            next.tokens = Arc::new(Tokens::default());
            next.policy = rego.map(|rego| Arc::new(policy(rego)));
        });
        let directory = tempfile::tempdir().unwrap();
        let (log, seat) = open_log(&directory, &clock, 8 * 1024 * 1024);
        let time = Arc::new(crate::clock::TlsTime(Arc::clone(&clock) as Arc<dyn Clock>));
        let accepted = AcceptedTrustDomains::new(vec!["example.org".parse().unwrap()]).unwrap();
        let callers = match config.listeners[0].direction {
            Direction::Inbound => Callers::Mutual(Box::new(
                tls::ServerTls::new(Arc::new(shared.clone()), accepted, time).unwrap(),
            )),
            Direction::Outbound => Callers::Local,
        };
        let addresses: Arc<[_]> =
            config.listeners.iter().filter_map(|listener| listener.bind.address()).collect();
        let own = watch::channel(addresses).1;
        let mut listener = Listener::new(&config.listeners[0], callers, metrics.listener("app"), &own);
        listener.memory = Arc::new(Memory::new(Some(MEMORY_BYTES)));
        Self {
            clock,
            shared,
            seen: Rc::default(),
            ca,
            directory,
            listener: Arc::new(listener),
            log: Some(log),
            seat: Some(seat),
            metrics,
            replays: Arc::default(),
            upstream: None,
            endpoints: None,
            connector: None,
            random: [1, 2, 3, 4],
            arrivals: RefCell::default(),
            standings: Default::default(),
            judged: watch::channel(0).0,
            keys_generation: watch::channel(0).0,
            caller_ttl: Duration::from_secs(600),
            others: RefCell::default(),
            original: RefCell::default(),
        }
    }

    /// Puts another upstream behind the worker.
    pub(super) fn with_upstream(mut self, upstream: Upstream) -> Self {
        self.upstream = Some(upstream);
        self
    }

    /// Puts endpoints behind the worker that differ.
    pub(super) fn with_endpoints(
        mut self,
        endpoints: impl Fn(SocketAddr) -> io::Result<BoxIo> + 'static,
    ) -> Self {
        self.endpoints = Some(Rc::new(endpoints));
        self
    }

    /// Has callers be led here on their way there, from now on.
    pub(super) fn lead_away_from(&self, destination: Option<&str>) {
        self.original.replace(destination.map(|destination| destination.parse().unwrap()));
    }

    /// Gives the worker another network, and its dice another seed.
    pub(super) fn with_network(mut self, connector: Rc<dyn Connect>, random: [u64; 4]) -> Self {
        (self.connector, self.random) = (Some(connector), random);
        self
    }

    /// Gives callers SVIDs that live for another time.
    pub(super) fn with_caller_ttl(mut self, ttl: Duration) -> Self {
        self.caller_ttl = ttl;
        self
    }

    /// The TLS of a service with this identity, whose SVID lives for two minutes. It believes this world's own callers.
    pub(super) fn service_tls(&self, id: &str) -> tls::ServerTls {
        let id: SpiffeId = id.parse().unwrap();
        let others = self.others.borrow();
        let ca = others.iter().find(|ca| ca.trust_domain() == id.trust_domain()).unwrap_or(&self.ca);
        let issued = ca.issue(&id, Duration::from_secs(120), self.clock.unix_time()).unwrap();
        let mut trust = TrustBundles::default();
        trust.insert(self.ca.bundle().unwrap());
        let material = CallerMaterial(Arc::new(issued.svid().unwrap()), Arc::new(trust));
        let accepted = AcceptedTrustDomains::new(vec![self.ca.trust_domain().clone()]).unwrap();
        let time = Arc::new(crate::clock::TlsTime(Arc::clone(&self.clock) as Arc<dyn Clock>));
        tls::ServerTls::new(Arc::new(material), accepted, time).unwrap()
    }

    /// Ends the federation with a trust domain.
    pub(super) fn remove_trust_domain(&self, name: &str) {
        self.shared.publish(|next| {
            let mut bundles = TrustBundles::default();
            for bundle in next.trust.bundles.iter().filter(|b| b.trust_domain().as_str() != name) {
                bundles.insert(bundle.clone());
            }
            next.trust = Arc::new(next.trust.followed_by(Arc::new(bundles)));
        });
    }

    /// Has a trust domain lose its bundle for a while.
    pub(super) async fn lapse_of_trust(&self, name: &str, lasts: Duration) {
        let before = Arc::clone(&self.shared.load().trust.bundles);
        self.remove_trust_domain(name);
        tokio::time::sleep(lasts).await;
        self.shared.publish(|next| next.trust = Arc::new(next.trust.followed_by(before)));
    }

    /// Federates with one more trust domain.
    pub(super) fn add_trust_domain(&self, name: &str) {
        self.others.borrow_mut().push(Ca::new(name.parse().unwrap(), self.clock.unix_time()).unwrap());
        let others = self.others.borrow();
        let other = others.last().unwrap();
        self.shared.publish(|next| {
            let mut bundles = (*next.trust.bundles).clone();
            bundles.insert(other.bundle().unwrap());
            next.trust = Arc::new(next.trust.followed_by(Arc::new(bundles)));
        });
    }

    /// Demands a revocation list of a trust domain's certificates, and brings one that is good for a minute from now.
    pub(super) fn list_revoked(&self, name: &str) {
        let others = self.others.borrow();
        let ca = others.iter().find(|ca| ca.trust_domain().as_str() == name).unwrap_or(&self.ca);
        let list = RevocationList::from_der(&ca.revocation_list(&[], self.clock.unix_time())).unwrap();
        let bundle = ca.bundle().unwrap().with_revocation(vec![list], RevocationMode::Hard).unwrap();
        self.shared.publish(|next| {
            let mut bundles = (*next.trust.bundles).clone();
            bundles.insert(bundle);
            next.trust = Arc::new(next.trust.followed_by(Arc::new(bundles)));
        });
    }

    /// Changes who issues tokens, or their keys.
    pub(super) fn change_tokens(&self, change: impl FnOnce(&mut Tokens)) {
        let mut tokens = (*self.shared.load().tokens).clone();
        change(&mut tokens);
        tokens.generation += 1;
        let generation = tokens.generation;
        self.shared.publish(|next| next.tokens = Arc::new(tokens));
        self.keys_generation.send_replace(generation);
    }

    /// Reloads: the usual configuration with these changes is in force from now on, but for its listeners.
    pub(super) fn reload(&self, changes: &[(&str, &str)]) {
        let before = Arc::clone(&self.shared.load().routing);
        let routing = Routing::new(&configuration(changes), Some(&before), &self.metrics);
        self.shared.publish(|next| next.routing = Arc::new(routing));
    }

    /// Puts another policy in force.
    pub(super) fn change_policy(&self, rego: &str) {
        self.shared.publish(|next| next.policy = Some(Arc::new(policy(rego))));
    }

    /// Lets the worker remember this many proofs.
    pub(super) fn with_replays_max(mut self, entries_max: usize) -> Self {
        self.replays = Arc::new(Replays::new(entries_max));
        self
    }

    /// Gives the log other rings.
    pub(super) fn with_ring_bytes(mut self, ring_bytes: usize) -> Self {
        (self.log, self.seat) = (None, None);
        self.directory = tempfile::tempdir().unwrap();
        let (log, seat) = open_log(&self.directory, &self.clock, ring_bytes);
        (self.log, self.seat) = (Some(log), Some(seat));
        self
    }

    /// Runs the worker and, beside it, a caller on a TLS connection; gives back what the caller found and
    /// every record of the log.
    pub(super) fn run<T>(
        mut self,
        call: impl AsyncFnOnce(&World, Caller) -> T,
    ) -> (T, Vec<serde_json::Value>) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let found = LocalSet::new().block_on(&runtime, self.play(call));
        drop(runtime);
        (found, self.finish())
    }

    /// The same on a runtime that somebody else drives; the log is still to be finished.
    pub(super) async fn play<T>(&mut self, call: impl AsyncFnOnce(&World, Caller) -> T) -> T {
        let seat = self.seat.take().unwrap();
        let (handle, accepted) = WorkerHandle::new();
        let (drain, draining) = watch::channel(false);
        let (incoming, arrivals) = mpsc::channel(4);
        drop(accepted);
        let worker = self.worker(seat.take());
        let running = tokio::task::spawn_local(worker::run(Rc::clone(&worker), arrivals, draining));
        self.arrivals.replace(Some((incoming, handle)));
        let caller = self.caller().await;
        let found = call(self, caller).await;
        self.listener.drain();
        drain.send_replace(true);
        self.arrivals.take();
        running.await.unwrap();
        // What was let go a moment ago may still be heard out for a second.
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(worker.in_progress.is_empty(), "an answer is still looked after");
        assert_eq!(self.listener.held_bytes(), 0, "memory for bodies is still taken");
        found
    }

    /// Ends the log; every record of it.
    pub(super) fn finish(mut self) -> Vec<serde_json::Value> {
        self.log.take().unwrap().shutdown().unwrap();
        records(&self.directory)
    }

    /// Has so much of [`MEMORY_BYTES`] in use.
    pub(super) fn use_memory(&self, bytes: u64) {
        self.listener.memory.note(bytes);
    }

    /// One more caller, on a connection of its own.
    pub(super) async fn caller(&self) -> Caller {
        let (tls, certificate_sha256) = self.caller_tls();
        Caller { io: self.connect().await, tls: Arc::new(tls), certificate_sha256 }
    }

    /// A caller with the identity of another one, on a connection of its own.
    pub(super) async fn same_caller(&self, caller: &Caller) -> Caller {
        Caller { io: self.connect().await, tls: Arc::clone(&caller.tls), ..*caller }
    }

    async fn connect(&self) -> BoxIo {
        let (incoming, handle) = self.arrivals.borrow().clone().unwrap();
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let source = "192.0.2.7:4000".parse().unwrap();
        let is_known = self.listener.proxy_protocol.is_empty();
        let accepted = Accepted {
            io: AcceptedIo::Stream(Box::new(theirs)),
            source: postern_audit::Remote::Address(source),
            local: "192.0.2.1:8443".parse().ok(),
            original: *self.original.borrow(),
            place: Place::take(&self.listener).unwrap(),
            handshake: is_known.then(|| Handshake::begin(&self.listener, source).unwrap()),
            load: handle.take_place(),
        };
        incoming.send(accepted).await.unwrap();
        Box::new(ours)
    }

    fn worker(&self, recorder: crate::recorder::Recorder) -> Rc<Worker> {
        let (wishes, _) = mpsc::channel(1);
        let upstream = self.upstream.clone().unwrap_or_else(|| echo(&self.seen));
        let scripted = Scripted { upstream, endpoints: self.endpoints.clone(), made: Cell::new(0) };
        Rc::new(Worker {
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            snapshots: Pinned::new(&self.shared),
            shared: self.shared.clone(),
            scratch: RefCell::default(),
            recorder,
            upstreams: Pool::new(
                self.connector.clone().unwrap_or_else(|| Rc::new(scripted)),
                Originator::new(
                    self.shared.clone(),
                    Arc::clone(&self.clock) as Arc<dyn Clock>,
                    self.standings.clone(),
                ),
            ),
            tokens: RefCell::default(),
            connections: Default::default(),
            standings: self.standings.clone(),
            judged: self.judged.subscribe(),
            replays: Arc::clone(&self.replays),
            nonces: Arc::new(Nonces::new().unwrap()),
            in_progress: Default::default(),
            budgets: Default::default(),
            rate_limits: Default::default(),
            keys: KeyRequests::new(wishes, self.keys_generation.subscribe()),
            metrics: Arc::clone(&self.metrics),
            spans: SpanSink::off(),
            sampler: Sampler::new(0.0).unwrap(),
            random: RefCell::new(Random::new(self.random)),
        })
    }

    /// What a caller with a new SVID speaks TLS by, and the SHA-256 of its certificate.
    fn caller_tls(&self) -> (rustls::ClientConfig, [u8; 32]) {
        let issued =
            self.ca.issue(&CALLER.parse().unwrap(), self.caller_ttl, self.clock.unix_time()).unwrap();
        let mut trust = TrustBundles::default();
        trust.insert(self.ca.bundle().unwrap());
        let material = CallerMaterial(Arc::new(issued.svid().unwrap()), Arc::new(trust));
        let expected = ExpectedPeers::new(vec!["spiffe://example.org/app".parse().unwrap()], vec![]).unwrap();
        let time = Arc::new(crate::clock::TlsTime(Arc::clone(&self.clock) as Arc<dyn Clock>));
        let certificate_sha256 = postern_audit::hash::sha256(issued.chain_der());
        (tls::client_config(Arc::new(material), expected, time).unwrap(), certificate_sha256)
    }
}

/// The usual configuration, with each first piece replaced by the second.
pub(super) fn configuration(changes: &[(&str, &str)]) -> Config {
    let mut text = CONFIG.to_owned();
    for (from, to) in changes {
        assert!(text.contains(from), "`{from}` is not in the usual configuration");
        text = text.replace(from, to);
    }
    config::load_text(&text, std::path::Path::new("/test/postern.yaml"))
        .map_err(|f| f.to_string())
        .unwrap()
        .config
}

fn policy(rego: &str) -> Policy {
    let files = [
        (".manifest", &b"{\"revision\":\"r1\",\"roots\":[\"authz\"]}"[..]),
        ("policy.rego", rego.as_bytes()),
    ];
    let archive = archive_of(files).unwrap();
    let limits = BundleLimits::default();
    let bundle = PolicyBundle::open(&archive, &limits, &Signers::UnsignedAllowedForDevelopment).unwrap();
    let entry = Entry::Rego { path: "authz/decision".to_owned() };
    // The engine's timer is for what goes wrong; a busy machine is not that.
    let limits = PdpLimits { timeout: Duration::from_secs(20), ..PdpLimits::default() };
    let pdp = Pdp::load(&[("authz", bundle)], &entry, &limits).unwrap();
    Policy { pdp, generation: 1, sha256: [7; 32], bundles: Vec::new() }
}

/// The same with a number of its own, by whose byte the digest of its bundles is known.
pub(super) fn numbered_policy(rego: &str, number: u8) -> Policy {
    Policy { generation: number.into(), sha256: [number; 32], ..policy(rego) }
}

fn open_log(
    directory: &tempfile::TempDir,
    clock: &Arc<StandingClock>,
    ring_bytes: usize,
) -> (Log, crate::recorder::Seat) {
    let clock = Arc::clone(clock);
    let number = AtomicU64::new(1);
    let surroundings = Surroundings {
        clock: Arc::new(move || Now { unix_ns: clock.unix_ns(), mono_ns: clock.monotonic_ns() }),
        random: Arc::new(move || u128::from(number.fetch_add(1, Ordering::Relaxed))),
        files: Arc::new(Disk),
    };
    let mut config = LogConfig::new(directory.path().join("audit"), "example.org/app".to_owned(), 1);
    config.ballast_bytes = 0;
    config.ring_bytes = ring_bytes;
    let key = aws_lc_rs::signature::Ed25519KeyPair::generate().unwrap().to_pkcs8v1().unwrap();
    let signer = postern_audit::Ed25519Signer::from_pkcs8(key.as_ref()).unwrap();
    let (log, mut seats) = Log::open(config, surroundings, Box::new(signer)).unwrap();
    (log, seats.remove(0))
}

fn records(directory: &tempfile::TempDir) -> Vec<serde_json::Value> {
    let mut paths: Vec<_> = walk(&directory.path().join("audit")).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    paths.sort();
    let text: String = paths.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn walk(directory: &std::path::Path) -> Box<dyn Iterator<Item = std::path::PathBuf>> {
    let entries: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    Box::new(entries.into_iter().flat_map(|path| -> Box<dyn Iterator<Item = _>> {
        if path.is_dir() { walk(&path) } else { Box::new(std::iter::once(path)) }
    }))
}

//! The sidecar as a whole: [`App::start`] builds everything, in order, in one place, and makes every thread;
//! [`App::drain`] takes it down in the opposite order.
mod entrance;
mod jwt_keys;
mod listeners;
mod materials;
mod plaintext;
mod sources;
mod threads;
mod view;

use crate::admin;
use crate::clock::Clock;
use crate::config::{BundleTrust, Config, Direction};
use crate::control::Update;
use crate::handover::Offer;
use crate::local_socket::{SocketError, Succession};
use crate::log::beside::Company;
use crate::log::{self, Log, LogError, LogHandle};
use crate::memory::Memory;
use crate::own_mark;
use crate::pipeline::Refusal;
use crate::recorder::Seat;
use crate::routing::Routing;
use crate::standing::Standings;
use crate::state::Shared;
use crate::status::Status;
use crate::telemetry::metrics::MetricsPlan;
use crate::telemetry::{Metrics, Sampler};
pub use entrance::Entrance;
use listeners::Means;
pub use listeners::Prepared;
use postern_identity::token::Issuer;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use threads::Threads;
use tokio::sync::{mpsc, oneshot, watch};

/// Updates that may wait for the control thread; a source whose update finds no room waits with it.
const UPDATES_MAX: usize = 64;
/// How long spans may take to leave when the process ends.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// A running sidecar.
#[derive(Debug)]
pub struct App {
    threads: Threads,
    log: Log,
    status: Arc<Status>,
    view: Arc<view::View>,
    updates: mpsc::Sender<Update>,
    listeners: listeners::Listeners,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
    memory: Arc<Memory>,
    successions: Vec<Succession>,
    open: watch::Sender<bool>,
    relieved: watch::Sender<bool>,
    drain: watch::Sender<bool>,
    stop: watch::Sender<bool>,
    shared: Shared,
    commands: Option<mpsc::Receiver<admin::AdminCommand>>,
}

/// Why the sidecar did not start. Nothing is left running.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A file that is needed.
    #[error("cannot read `{}`: {error}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: std::io::Error,
    },
    /// A listener with `captured: transparent` where that may not be.
    #[error(
        "cannot listen on `{address}` for what was going elsewhere (IP_TRANSPARENT): on Linux it takes the capability CAP_NET_ADMIN; give it to the process, or capture by `redirect`"
    )]
    Transparent {
        /// The address.
        address: String,
    },
    /// `capture.outbound.own.mark` where that may not be.
    #[error(
        "the mark `{mark}` of `capture.outbound.own` cannot be put on connections (SO_MARK): {error}; on Linux it takes the capability CAP_NET_ADMIN: give it to the process, or run it as a user of its own and name that one by `uid`"
    )]
    Mark {
        /// The mark.
        mark: u32,
        /// What the system said.
        #[source]
        error: std::io::Error,
    },
    /// An address that is taken, or not ours.
    #[error("cannot listen on `{address}`: {error}{}", hint(.error))]
    Bind {
        /// The address.
        address: String,
        /// What the system said.
        #[source]
        error: std::io::Error,
    },
    /// A thread or its runtime.
    #[error("cannot start the `{name}` thread: {error}")]
    Thread {
        /// Its name.
        name: &'static str,
        /// What the system said.
        #[source]
        error: std::io::Error,
    },
    /// An issuer's terms.
    #[error("tokens: {0}")]
    Issuer(#[from] postern_identity::token::IssuerError),
    /// A signer's key.
    #[error("policy signers: {0}")]
    Signer(#[from] postern_policy::SignerKeyError),
    /// TLS.
    #[error("tls: {0}")]
    Tls(#[from] postern_identity::tls::TlsError),
    /// The admin socket.
    #[error("admin: {0}")]
    Admin(#[from] SocketError),
    /// The Unix socket of a listener.
    #[error("listener `{listener}`: {error}")]
    Local {
        /// The listener.
        listener: String,
        /// Why.
        #[source]
        error: SocketError,
    },
    /// The audit log.
    #[error("audit log: {0}")]
    Log(#[from] LogError),
    /// The sampling ratio.
    #[error("telemetry: {0}")]
    Sampling(#[from] crate::telemetry::trace_context::RatioError),
    /// A source that cannot even be tried.
    #[error("{0}")]
    Source(String),
    /// The operating system has no randomness.
    #[error("the operating system gives no randomness")]
    Randomness,
}

/// Why another configuration was not put in force.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// It changes what the process is built upon.
    #[error(transparent)]
    RestartNeeded(#[from] crate::config::reload::RestartNeeded),
    /// A listener that it adds cannot be made.
    #[error(transparent)]
    Listener(#[from] StartError),
    /// There is nothing to put it in force in any more.
    #[error("the sidecar is stopping")]
    Stopping,
}

fn mark(own: Option<u32>) -> Result<(), StartError> {
    own_mark::set(own).map_err(|error| StartError::Mark { mark: own.unwrap_or(0), error })
}

fn hint(error: &std::io::Error) -> &'static str {
    if error.kind() == std::io::ErrorKind::AddrInUse {
        ": another process listens there; stop it or choose another port"
    } else if error.kind() == std::io::ErrorKind::PermissionDenied {
        ": ports below 1024 need CAP_NET_BIND_SERVICE"
    } else {
        ""
    }
}

impl App {
    /// Builds and starts everything. Sources may still be on their way when this returns: until they have
    /// delivered, readiness says so and every request is refused.
    pub fn start(config: &Config, clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        Self::enter(config, clock, Entrance::default())
    }

    /// Builds and starts everything around sockets that were given. Where there are any, nothing is accepted before
    /// [`App::open`].
    pub fn enter(config: &Config, clock: Arc<dyn Clock>, entrance: Entrance) -> Result<Self, StartError> {
        tracing::info!(fips = postern_identity::tls::IS_FIPS, "starting");
        crate::descriptors::raise_limit(config.listeners.iter().map(|of| of.limits.connections_max).sum());
        // What can fail for want of a right, a file or a port comes first, before a thread or the log exists.
        mark(config.capture.own_mark())?;
        let issuers = materials::issuers(config)?;
        let terms = materials::terms(&config.policy)?;
        let sampler = Sampler::new(config.telemetry.sample_ratio)?;
        let metrics = Arc::new(metrics(&*clock));
        let (shared, status) = beginnings(config, issuers, &metrics);
        let memory = Arc::new(Memory::of_process(config.memory_max));
        let (own, owning) = watch::channel(listeners::own(config));
        let (is_open, company) = (entrance.is_open(), entrance.company);
        let means =
            Means { shared: &shared, metrics: &metrics, clock: &clock, memory: &memory, own: &owning };
        let sockets = entrance::bind(config, entrance, &means)?;
        let (log, seats) = open_log(config, &clock, company)?;
        let (drain, draining) = watch::channel(false);
        let (open, opened) = watch::channel(is_open);
        let (relieved, is_relieved) = watch::channel(false);
        let (stop, stopping) = watch::channel(false);
        let (updates, updated) = mpsc::channel(UPDATES_MAX);
        let (commands_in, commands) = admin::commands();
        let parts = Parts {
            config,
            clock,
            shared,
            metrics,
            status,
            memory,
            sampler,
            log: log.handle(),
            standings: Standings::default(),
            draining,
            own: owning,
            opened: opened.clone(),
            stopping,
        };
        let view = Arc::new(view::View::new(&parts));
        let mut threads = Threads::default();
        let spans = threads.export(&parts)?;
        let control = threads.control(&parts, terms, (updates.clone(), updated))?;
        let judged = threads.judge(&parts, control.trust)?;
        let handles = threads.workers(&parts, seats, &spans, (&control.keys, &judged))?;
        let entrance::Sockets { listeners: bound, admin: ports, successions, offer } = sockets;
        let in_force: Vec<_> = bound.iter().map(|(_, listener)| Arc::clone(listener)).collect();
        in_force.iter().for_each(|listener| listener.permit_plaintext(listener.permissive.terms()));
        view.serves(&in_force);
        let (to_acceptor, further) = mpsc::channel(listeners::WAITING_MAX);
        threads.acceptor(&parts, (bound, further), handles)?;
        let asked = admin::Asked { commands: commands_in, offer: offer.clone(), open: opened };
        threads.admin(&parts, ports, &view, (asked, is_relieved))?;
        let Parts { shared, status, metrics, clock, memory, .. } = parts;
        let listeners = listeners::Listeners { in_force, leaving: Vec::new(), to_acceptor, offer, own };
        Ok(Self {
            threads,
            log,
            status,
            view,
            updates,
            listeners,
            metrics,
            clock,
            memory,
            successions,
            open,
            relieved,
            drain,
            stop,
            shared,
            commands: Some(commands),
        })
    }

    /// Accepts connections from now on, where that had to wait; Unix sockets take the place of others.
    ///
    /// # Errors
    /// One could not take that place, and nothing is accepted. Where it shows before the first has, which is all but
    /// always, whoever serves them still does.
    pub fn open(&mut self) -> Result<(), SocketError> {
        self.successions.iter().try_for_each(Succession::is_possible)?;
        self.successions.drain(..).try_for_each(Succession::take_place)?;
        self.open.send_replace(true);
        Ok(())
    }

    /// What this process listens on, for the one after it.
    pub fn offer(&self) -> &Offer {
        &self.listeners.offer
    }

    /// What the admin socket asks for; given out once.
    pub fn commands(&mut self) -> Option<mpsc::Receiver<admin::AdminCommand>> {
        self.commands.take()
    }

    /// How the sidecar is, as the status port tells it.
    pub fn is_ready(&self) -> bool {
        self.view.is_ready()
    }

    /// What is in force.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// How the parts are.
    pub fn status(&self) -> &Arc<Status> {
        &self.status
    }

    /// Puts another configuration in force, all or nothing: what it adds is bound first, then plain text ends that it takes
    /// no more, then its routes replace those in force, then its listeners accept, and those that it has no more drain.
    /// Gives the names of what was left.
    ///
    /// # Errors
    /// It cannot be put in force; nothing has changed.
    pub async fn reload(&mut self, running: &Config, new: &Config) -> Result<Vec<String>, ReloadError> {
        crate::config::reload::check(running, new)?;
        let means = Means {
            shared: &self.shared,
            metrics: &self.metrics,
            clock: &self.clock,
            memory: &self.memory,
            own: &self.listeners.own.subscribe(),
        };
        let mut prepared = self.listeners.prepare((running, new), &means)?;
        prepared.take_places()?;
        prepared.narrow();
        let (done, in_force) = oneshot::channel();
        let update = Update::Reload { config: Box::new(new.clone()), done };
        self.updates.send(update).await.map_err(|_| ReloadError::Stopping)?;
        in_force.await.map_err(|_| ReloadError::Stopping)?;
        self.view.reloaded(new);
        let left = self.listeners.exchange(prepared).await;
        self.view.serves(&self.listeners.in_force);
        Ok(left)
    }

    /// Says that this process goes away: readiness fails and connections are asked to finish, each within
    /// its listener's grace. Returns at once.
    ///
    /// Inbound first: to answer what it has, the workload needs what it calls.
    pub fn begin_drain(&self) {
        self.status.drain();
        self.listeners.offer.withdraw();
        self.listeners.drain(Direction::Inbound);
    }

    /// As [`App::begin_drain`], where another process has the sockets: the status port and the admin socket are its
    /// own from now on.
    pub fn relieve(&self) {
        self.relieved.send_replace(true);
        self.listeners.hand_on();
        self.begin_drain();
    }

    /// As [`App::begin_drain`], where a service manager keeps the sockets open: callers of Unix sockets wait there, as those
    /// of ports do, until another process comes.
    pub fn begin_restart(&self) {
        self.listeners.leave();
        self.begin_drain();
    }

    /// Drains, waits for the last exchange, closes the log with its last checkpoint, and flushes the spans.
    pub fn finish(self) -> Result<(), LogError> {
        self.begin_drain();
        self.wait_for_inbound();
        self.listeners.drain(Direction::Outbound);
        self.drain.send_replace(true);
        self.threads.join_data_plane();
        let closed = self.log.shutdown();
        self.stop.send_replace(true);
        drop(self.updates);
        self.threads.join_rest(FLUSH_TIMEOUT);
        closed
    }
}

impl App {
    /// Until the last inbound connection has ended. Each has a grace that ends it; should one outstay that, the
    /// workload is not kept from its end by it.
    fn wait_for_inbound(&self) {
        const STEP: Duration = Duration::from_millis(5);
        const MARGIN: Duration = Duration::from_secs(1);
        let inbound = || self.listeners.of(Direction::Inbound);
        let graces = inbound().map(|of| of.limits.drain_grace);
        let limit = graces.max().unwrap_or_default() + MARGIN;
        let mut waited = Duration::ZERO;
        while waited < limit && inbound().any(|of| of.open.load(Ordering::Relaxed) > 0) {
            std::thread::sleep(STEP);
            waited += STEP;
        }
    }
}

/// What the threads are made of.
pub(crate) struct Parts<'a> {
    config: &'a Config,
    clock: Arc<dyn Clock>,
    shared: Shared,
    metrics: Arc<Metrics>,
    status: Arc<Status>,
    memory: Arc<Memory>,
    sampler: Sampler,
    log: LogHandle,
    standings: Standings,
    draining: watch::Receiver<bool>,
    own: watch::Receiver<Arc<[SocketAddr]>>,
    opened: watch::Receiver<bool>,
    stopping: watch::Receiver<bool>,
}

fn metrics(clock: &dyn Clock) -> Metrics {
    let codes = Refusal::ALL.map(Refusal::code);
    let started_unix_s = clock.unix_time().as_secs();
    Metrics::new(&MetricsPlan { version: env!("CARGO_PKG_VERSION"), started_unix_s, reasons: &codes })
}

/// What is in force, and what is said of the parts, before any of them runs.
fn beginnings(config: &Config, issuers: Vec<Issuer>, metrics: &Metrics) -> (Shared, Arc<Status>) {
    let routing = Routing::new(config, None, metrics);
    let status = Arc::new(status(config, &routing));
    let names: Vec<_> = issuers.iter().map(Issuer::issuer).collect();
    metrics.keys.issuers(&names);
    status.keys(names.into_iter().map(str::to_owned).collect());
    let shared = Shared::new(routing, issuers);
    shared.publish(|next| next.workloads = Arc::new(materials::workloads(config)));
    (shared, status)
}

/// How the parts are before any of them runs.
fn status(config: &Config, routing: &Routing) -> Status {
    let status = Status::default();
    status.observing_routes(routing.observing());
    status.names(&routing.names());
    status.unsigned_bundles(unsigned(config));
    status
}

fn open_log(
    config: &Config,
    clock: &Arc<dyn Clock>,
    company: Company,
) -> Result<(Log, Vec<Seat>), StartError> {
    let surroundings = threads::surroundings(clock)?;
    let log_config = threads::log_config(config, config.workers.resolve(cpus()));
    let signer = || materials::signer(&config.audit.signer);
    log::beside::open(&log_config, || surroundings.clone(), signer, company)
}

fn unsigned(config: &Config) -> Vec<String> {
    let is_unsigned =
        |bundle: &&crate::config::BundleConfig| bundle.trust == BundleTrust::UnsignedForDevelopment;
    config.policy.bundles.iter().filter(is_unsigned).map(|bundle| bundle.name.clone()).collect()
}

/// The CPUs that the cgroup leaves to this process.
fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

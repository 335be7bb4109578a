//! The sidecar as a whole: [`App::start`] builds everything, in order, in one place, and makes every thread;
//! [`App::drain`] takes it down in the opposite order.
mod jwt_keys;
mod materials;
mod sources;
mod threads;
mod view;

use crate::admin::{self, AdminSocket};
use crate::clock::Clock;
use crate::config::{AdminConfig, BundleTrust, Config, StatusConfig};
use crate::control::Update;
use crate::listener::{BindError, Bound, Listener};
use crate::local_socket::SocketError;
use crate::log::{Log, LogError, LogHandle};
use crate::pipeline::Refusal;
use crate::routing::Routing;
use crate::standing::Standings;
use crate::state::Shared;
use crate::status::Status;
use crate::telemetry::metrics::MetricsPlan;
use crate::telemetry::{Metrics, Sampler};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use threads::Threads;
use tokio::sync::{mpsc, watch};

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
    /// A listener.
    #[error("listener: {0}")]
    Listener(#[from] BindError),
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
        tracing::info!(fips = postern_identity::tls::IS_FIPS, "starting");
        // What can fail for want of a file or a port comes first, before a thread or the log exists.
        let issuers = materials::issuers(config)?;
        let terms = materials::terms(&config.policy)?;
        let sampler = Sampler::new(config.telemetry.sample_ratio)?;
        let codes = Refusal::ALL.map(Refusal::code);
        let started_unix_s = clock.unix_time().as_secs();
        let plan = MetricsPlan { version: env!("CARGO_PKG_VERSION"), started_unix_s, reasons: &codes };
        let metrics = Arc::new(Metrics::new(&plan));
        let status = Arc::new(Status::default());
        let routing = Routing::new(config, None, &metrics);
        status.observing_routes(routing.observing());
        status.names(&routing.names());
        status.unsigned_bundles(unsigned(config));
        let names: Vec<_> = issuers.iter().map(|issuer| issuer.issuer()).collect();
        metrics.keys.issuers(&names);
        status.keys(issuers.iter().map(|issuer| issuer.issuer().to_owned()).collect());
        let shared = Shared::new(routing, issuers);
        shared.publish(|next| next.workloads = Arc::new(materials::workloads(config)));
        let sockets = bind(config, &shared, &metrics, &clock)?;

        let workers = config.workers.resolve(cpus());
        let signer = materials::signer(&config.audit.signer)?;
        let surroundings = threads::surroundings(&clock)?;
        let (log, seats) = Log::open(threads::log_config(config, workers), surroundings, signer)?;
        let (drain, _) = watch::channel(false);
        let (stop, stopping) = watch::channel(false);
        let (updates, updated) = mpsc::channel(UPDATES_MAX);
        let (commands_in, commands) = admin::commands();
        let facts =
            view::Facts { status: Arc::clone(&status), metrics: Arc::clone(&metrics), log: log.handle() };
        let view = Arc::new(view::View::new(facts, shared.clone(), Arc::clone(&clock), config));
        let parts = Parts {
            config,
            clock,
            shared,
            metrics,
            status,
            sampler,
            log: log.handle(),
            standings: Standings::default(),
            drain: drain.subscribe(),
            stopping,
        };

        let mut threads = Threads::default();
        let spans = threads.export(&parts)?;
        let control = threads.control(&parts, terms, (updates.clone(), updated))?;
        let judged = threads.judge(&parts, control.trust)?;
        let handles = threads.workers(&parts, seats, &spans, (&control.keys, &judged))?;
        threads.acceptor(&parts, sockets.listeners, handles)?;
        threads.admin(&parts, sockets.admin, &view, commands_in)?;
        let Parts { shared, status, .. } = parts;
        Ok(Self { threads, log, status, view, updates, drain, stop, shared, commands: Some(commands) })
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

    /// The way to hand a reloaded configuration in.
    pub fn updates(&self) -> mpsc::Sender<Update> {
        self.updates.clone()
    }

    /// Says that this process goes away: readiness fails and connections are asked to finish, each within
    /// its listener's grace. Returns at once.
    pub fn begin_drain(&self) {
        self.status.drain();
        self.drain.send_replace(true);
    }

    /// Drains, waits for the last exchange, closes the log with its last checkpoint, and flushes the spans.
    pub fn finish(self) -> Result<(), LogError> {
        self.begin_drain();
        self.threads.join_data_plane();
        let closed = self.log.shutdown();
        self.stop.send_replace(true);
        drop(self.updates);
        self.threads.join_rest(FLUSH_TIMEOUT);
        closed
    }
}

/// What the threads are made of.
pub(crate) struct Parts<'a> {
    config: &'a Config,
    clock: Arc<dyn Clock>,
    shared: Shared,
    metrics: Arc<Metrics>,
    status: Arc<Status>,
    sampler: Sampler,
    log: LogHandle,
    standings: Standings,
    drain: watch::Receiver<bool>,
    stopping: watch::Receiver<bool>,
}

/// Bound, and not yet listened to.
struct Sockets {
    listeners: Vec<(Bound, Arc<Listener>)>,
    admin: admin::Ports,
}

fn bind(
    config: &Config,
    shared: &Shared,
    metrics: &Metrics,
    clock: &Arc<dyn Clock>,
) -> Result<Sockets, StartError> {
    let mut listeners = Vec::new();
    for of in &config.listeners {
        let callers = materials::callers(of, shared, clock)?;
        let listener = Listener::new(of, callers, metrics.listener(&of.name));
        listeners.push((Bound::new(&of.bind)?, Arc::new(listener)));
    }
    let status = match &config.status {
        StatusConfig::Closed => None,
        StatusConfig::Open { address } => Some(tcp(*address)?),
    };
    let admin = match &config.admin {
        AdminConfig::Closed => None,
        AdminConfig::Open { socket } => Some(AdminSocket::bind(socket)?),
    };
    Ok(Sockets { listeners, admin: admin::Ports { status, admin } })
}

fn tcp(address: SocketAddr) -> Result<TcpListener, StartError> {
    let failed = |error| StartError::Bind { address: address.to_string(), error };
    let socket = TcpListener::bind(address).map_err(failed)?;
    socket.set_nonblocking(true).map_err(failed)?;
    Ok(socket)
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

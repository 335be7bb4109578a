//! Every thread of the process is made here.
use super::listeners::Served;
use super::{Parts, StartError, materials};
use crate::admin::{self, Asked};
use crate::clock::Clock;
use crate::compile::{self, Jobs, Terms};
use crate::config::{AuditMode, Config, Otlp};
use crate::control::{Control, Tells, Update};
use crate::keys::KeyRequests;
use crate::listener::{Connections, WorkerHandle, accept_loop};
use crate::log::{self, LogConfig, Surroundings};
use crate::nonce::Nonces;
use crate::pipeline::InProgress;
use crate::recorder::Seat;
use crate::replay::Replays;
use crate::sources::policy::LastGood;
use crate::state::Pinned;
use crate::telemetry::{SpanSink, otlp, spans};
use crate::traffic::decision_guard::Budgets;
use crate::upstream::{Originator, Pool, Tcp};
use crate::worker::{self, Random, Worker};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;

/// The threads, by what their end waits for.
#[derive(Debug, Default)]
pub(super) struct Threads {
    data_plane: Vec<JoinHandle<()>>,
    rest: Vec<JoinHandle<()>>,
}

/// What the control thread tells the others.
pub(super) struct FromControl {
    pub(super) keys: KeyRequests,
    /// The generation of trust in force.
    pub(super) trust: watch::Receiver<u64>,
}

impl Threads {
    /// The export thread, if spans go anywhere.
    pub(super) fn export(&mut self, parts: &Parts<'_>) -> Result<SpanSink, StartError> {
        let telemetry = &parts.config.telemetry;
        let Otlp::Grpc(server) = &telemetry.otlp else { return Ok(SpanSink::off()) };
        let transport = materials::otlp_transport(server, &parts.clock)?;
        let version = env!("CARGO_PKG_VERSION");
        let config = otlp::OtlpConfig::new(&server.url, transport, &telemetry.service_name, version)
            .map_err(|error| StartError::Source(format!("telemetry: {error}")))?;
        let (sink, source) = spans::queue(spans::QUEUE_EXCHANGES_MAX, parts.metrics.spans.clone());
        let mut stopping = parts.stopping.clone();
        let export = self.rest("export", move |runtime| {
            let stopped = async move { drop(stopping.wait_for(|stop| *stop).await) };
            if let Err(error) = runtime.block_on(otlp::run(source, config, stopped)) {
                tracing::error!(%error, "spans are not exported");
            }
        });
        export.map(|()| sink)
    }

    /// The compile thread and the control thread with its sources.
    pub(super) fn control(
        &mut self,
        parts: &Parts<'_>,
        terms: Terms,
        (updates, updated): (mpsc::Sender<Update>, mpsc::Receiver<Update>),
    ) -> Result<FromControl, StartError> {
        let (jobs, work) = Jobs::new();
        let done = updates.clone();
        self.rest("compile", move |_| {
            compile::run(&terms, &work, |compiled| drop(done.blocking_send(Update::Compiled(compiled))));
        })?;
        let (keys_generation, generation) = watch::channel(0);
        let (trust_generation, trust) = watch::channel(0);
        let (wishes, wished) = mpsc::channel(16);
        let last_good = LastGood::new(parts.config.policy.last_good_directory.clone());
        let bundles = parts.config.policy.bundles.iter().map(|bundle| bundle.name.clone()).collect();
        let view = (Arc::clone(&parts.status), Arc::clone(&parts.metrics), Arc::clone(&parts.clock));
        let (federation, federating) = watch::channel(parts.config.identity.federation.clone());
        let (names, naming) = watch::channel(parts.shared.load().routing.names());
        let log = parts.log.clone();
        let ends = Tells { keys_generation, trust_generation, federation, names, log };
        let control = Control::new(parts.shared.clone(), view, ends, (jobs, last_good, bundles));
        let sources = super::sources::Sources::new(parts, updates, (wished, federating, naming))?;
        let (mut stopping, memory) = (parts.stopping.clone(), Arc::clone(&parts.memory));
        self.rest("control", move |runtime| {
            let local = LocalSet::new();
            sources.spawn(&local);
            local.spawn_local(async move { memory.watch().await });
            runtime.block_on(local.run_until(async {
                tokio::select! {
                    () = control.run(updated) => {}
                    _ = stopping.wait_for(|stop| *stop) => {}
                }
            }));
        })?;
        Ok(FromControl { keys: KeyRequests::new(wishes, generation), trust })
    }

    /// The thread that judges the callers of open connections again when trust changes.
    pub(super) fn judge(
        &mut self,
        parts: &Parts<'_>,
        trust: watch::Receiver<u64>,
    ) -> Result<watch::Receiver<u64>, StartError> {
        let (told, judged) = watch::channel(0);
        let judging =
            parts.standings.clone().run(parts.shared.clone(), Arc::clone(&parts.clock), trust, told);
        let mut stopping = parts.stopping.clone();
        self.rest("judge", move |runtime| {
            runtime.block_on(async {
                tokio::select! {
                    () = judging => {}
                    _ = stopping.wait_for(|stop| *stop) => {}
                }
            });
        })?;
        Ok(judged)
    }

    /// One thread a worker.
    pub(super) fn workers(
        &mut self,
        parts: &Parts<'_>,
        seats: Vec<Seat>,
        spans: &SpanSink,
        (keys, judged): (&KeyRequests, &watch::Receiver<u64>),
    ) -> Result<Vec<WorkerHandle>, StartError> {
        let mut handles = Vec::with_capacity(seats.len());
        // One for all: a copy of a request may come to any worker.
        let replays = Arc::new(Replays::default());
        let nonces = Arc::new(Nonces::new().map_err(|_| StartError::Randomness)?);
        for seat in seats {
            let (handle, accepted) = WorkerHandle::new();
            handles.push(handle);
            let (shared, metrics, clock) =
                (parts.shared.clone(), Arc::clone(&parts.metrics), Arc::clone(&parts.clock));
            let (draining, spans, keys, sampler) =
                (parts.draining.clone(), spans.clone(), keys.clone(), parts.sampler);
            let (standings, judged) = (parts.standings.clone(), judged.clone());
            let originator = Originator::new(shared.clone(), Arc::clone(&clock), standings.clone());
            let random = Random::new(seed()?);
            let (replays, nonces) = (Arc::clone(&replays), Arc::clone(&nonces));
            let run = move |runtime: &Runtime| {
                let worker = Rc::new(Worker {
                    clock,
                    snapshots: Pinned::new(&shared),
                    shared,
                    scratch: RefCell::default(),
                    recorder: seat.take(),
                    upstreams: Pool::new(Rc::new(Tcp), originator),
                    tokens: RefCell::default(),
                    connections: Connections::default(),
                    standings,
                    judged,
                    replays,
                    nonces,
                    in_progress: InProgress::default(),
                    budgets: Budgets::default(),
                    rate_limits: Default::default(),
                    keys,
                    metrics,
                    spans,
                    sampler,
                    random: RefCell::new(random),
                });
                LocalSet::new().block_on(runtime, worker::run(worker, accepted, draining));
            };
            self.data_plane.push(spawn("worker", run)?);
        }
        Ok(handles)
    }

    /// One thread for all listeners, also those that come later.
    pub(super) fn acceptor(
        &mut self,
        parts: &Parts<'_>,
        (bound, mut further): (Vec<Served>, mpsc::Receiver<Served>),
        workers: Vec<WorkerHandle>,
    ) -> Result<(), StartError> {
        let (mut draining, opened) = (parts.draining.clone(), parts.opened.clone());
        let run = move |runtime: &Runtime| {
            let local = LocalSet::new();
            let accept = |(socket, listener): Served| {
                let (workers, opened, drain) = (workers.clone(), opened.clone(), listener.draining());
                local.spawn_local(async move {
                    match socket.serve() {
                        Ok(socket) => {
                            accept_loop((socket, opened), Arc::clone(&listener), workers, drain).await;
                        }
                        Err(error) => tracing::error!(listener = &*listener.name, %error, "cannot accept"),
                    }
                    listener.close();
                });
            };
            bound.into_iter().for_each(accept);
            runtime.block_on(local.run_until(async {
                loop {
                    tokio::select! {
                        Some(bound) = further.recv() => accept(bound),
                        _ = draining.wait_for(|draining| *draining) => return,
                    }
                }
            }));
            // The workers' ends of the hand-over stay open exactly as long as somebody accepts.
            drop(workers);
            runtime.block_on(local);
        };
        self.data_plane.push(spawn("acceptor", run)?);
        Ok(())
    }

    /// The status port and the admin socket.
    pub(super) fn admin(
        &mut self,
        parts: &Parts<'_>,
        ports: admin::Ports,
        view: &Arc<super::view::View>,
        (asked, mut relieved): (Asked, watch::Receiver<bool>),
    ) -> Result<(), StartError> {
        if ports.status.is_none() && ports.admin.is_none() {
            return Ok(());
        }
        let (view, mut stopping) = (Arc::clone(view), parts.stopping.clone());
        self.rest("admin", move |runtime| {
            runtime.block_on(async {
                tokio::select! {
                    () = admin::serve(ports, view, asked) => {}
                    Ok(_) = relieved.wait_for(|relieved| *relieved) => {}
                    _ = stopping.wait_for(|stop| *stop) => {}
                }
            });
        })
    }

    /// Waits until no exchange is left.
    pub(super) fn join_data_plane(&self) {
        wait(&self.data_plane, Duration::MAX);
    }

    /// Waits for everything else, for as long as `timeout` says: a receiver of spans that hangs does not keep
    /// the process.
    pub(super) fn join_rest(&self, timeout: Duration) {
        wait(&self.rest, timeout);
    }

    fn rest(
        &mut self,
        name: &'static str,
        run: impl FnOnce(&Runtime) + Send + 'static,
    ) -> Result<(), StartError> {
        self.rest.push(spawn(name, run)?);
        Ok(())
    }
}

/// Looks every few milliseconds whether the threads have ended; this is the end of the process, and nothing
/// better than waiting is left to do.
fn wait(threads: &[JoinHandle<()>], timeout: Duration) {
    const STEP: Duration = Duration::from_millis(5);
    let mut waited = Duration::ZERO;
    while waited < timeout && threads.iter().any(|thread| !thread.is_finished()) {
        std::thread::sleep(STEP);
        waited += STEP;
    }
}

fn spawn(
    name: &'static str,
    run: impl FnOnce(&Runtime) + Send + 'static,
) -> Result<JoinHandle<()>, StartError> {
    let failed = |error| StartError::Thread { name, error };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    std::thread::Builder::new().name(name.to_owned()).spawn(move || run(&runtime)).map_err(failed)
}

fn seed() -> Result<[u64; 4], StartError> {
    let mut bytes = [[0; 8]; 4];
    for part in &mut bytes {
        aws_lc_rs::rand::fill(part).map_err(|_| StartError::Randomness)?;
    }
    Ok(bytes.map(u64::from_ne_bytes))
}

thread_local! {
    /// Each thread draws from a stream of its own, so that workers share no lock.
    static OWN: RefCell<Option<Random>> = const { RefCell::new(None) };
}

/// The next stream of a seed.
fn stream(base: [u64; 4]) -> Random {
    static STREAMS: AtomicU64 = AtomicU64::new(1);
    let number = STREAMS.fetch_add(1, Ordering::Relaxed);
    let mut random = Random::new([base[0] ^ number, base[1], base[2], base[3]]);
    // Neighbouring seeds give neighbouring first numbers; a few rounds later they have nothing in common.
    for _ in 0..16 {
        random.next_u64();
    }
    random
}

/// What the log is given of the world: our clock, and ids that no two threads share.
pub(super) fn surroundings(clock: &Arc<dyn Clock>) -> Result<Surroundings, StartError> {
    let clock = Arc::clone(clock);
    let base = seed()?;
    Ok(Surroundings {
        clock: Arc::new(move || log::Now { unix_ns: clock.unix_ns(), mono_ns: clock.monotonic_ns() }),
        random: Arc::new(move || {
            OWN.with_borrow_mut(|own| {
                let random = own.get_or_insert_with(|| stream(base));
                u128::from(random.next_u64()) << 64 | u128::from(random.next_u64())
            })
        }),
        files: Arc::new(log::Disk),
    })
}

/// How the log is kept, from the configuration.
pub(super) fn log_config(config: &Config, workers: usize) -> LogConfig {
    let audit = &config.audit;
    let mut log =
        LogConfig::new(audit.directory.clone(), audit.origin.clone(), u16::try_from(workers).unwrap_or(64));
    log.mode = mode(audit.mode);
    log.ring_bytes = audit.ring_bytes;
    log.max_wait_ms = milliseconds(audit.max_wait);
    log.checkpoint_interval_ms = milliseconds(audit.checkpoint_interval);
    log.segment_bytes_max = audit.segment_bytes_max;
    log.segment_age_max_s = audit.segment_age_max.as_secs();
    log
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn mode(mode: AuditMode) -> log::Mode {
    match mode {
        AuditMode::BestEffort => log::Mode::BestEffort,
        AuditMode::Async => log::Mode::Async,
        AuditMode::Durable => log::Mode::Durable,
    }
}

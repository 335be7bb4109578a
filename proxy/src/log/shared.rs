//! What workers, the writer thread and the admin thread share: health, counters, and how they wake each other.
use super::{Mode, refused::Summary, ring::Ring};
use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering, fence},
    },
    task::Waker,
    thread::Thread,
};

/// Events of the control plane that wait to be written.
const EVENTS_MAX: usize = 256;

/// Whether the log can write, in one word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Condition {
    /// Everything filed gets to disk.
    #[default]
    Ok = 0,
    /// It gets to disk, but an error was survived or checkpoints cannot be signed now.
    Degraded = 1,
    /// The disk is full: nothing is admitted until there is room again.
    DiskFull = 2,
    /// The disk fails: nothing is admitted until the process is started anew.
    DiskFailed = 3,
    /// The writer thread is gone.
    Stopped = 4,
}

impl Condition {
    fn of(value: u8) -> Self {
        [Self::Ok, Self::Degraded, Self::DiskFull, Self::DiskFailed]
            .into_iter()
            .find(|condition| *condition as u8 == value)
            .unwrap_or(Self::Stopped)
    }

    /// Whether records can be promised.
    pub fn admits(self) -> bool {
        match self {
            Self::Ok | Self::Degraded => true,
            Self::DiskFull | Self::DiskFailed | Self::Stopped => false,
        }
    }

    /// The word for readiness details and metric labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::DiskFull => "disk_full",
            Self::DiskFailed => "disk_failed",
            Self::Stopped => "stopped",
        }
    }
}

/// What the writer thread is doing, as far as wakers care.
const AWAKE: u8 = 0;
/// Between two commits: woken only by what cannot wait.
const NAPPING: u8 = 1;
/// Nothing to do: woken by anything.
const ASLEEP: u8 = 2;

/// One lane: its ring, and the tasks that wait for it to move.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) ring: Arc<Ring>,
    waiters: Mutex<Waiters>,
}

#[derive(Debug, Default)]
struct Waiters {
    next: u64,
    waiting: Vec<(u64, Waker)>,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) records: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) durable_size: AtomicU64,
    pub(super) signed_size: AtomicU64,
    pub(super) gap_records: AtomicU64,
    pub(super) summarised: AtomicU64,
    pub(super) unavailable: AtomicU64,
    pub(super) sync_errors: AtomicU64,
}

/// An event of the control plane, owned, for the log.
#[derive(Clone, Debug)]
pub enum Event {
    /// A policy bundle was put in force or refused.
    Bundle {
        /// `activated`, `refused` or `rolled_back`.
        event: &'static str,
        /// The bundle's name in the configuration.
        name: String,
        /// The bundle's revision.
        revision: String,
        /// The bundle's digest.
        sha256: Option<[u8; 32]>,
        /// Why it was refused.
        detail: String,
    },
    /// A configuration was put in force or refused.
    Config {
        /// `loaded`, `reloaded` or `refused`.
        event: &'static str,
        /// The file's digest.
        sha256: Option<[u8; 32]>,
        /// Why it was refused.
        detail: String,
    },
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) mode: Mode,
    pub(super) lanes: Vec<Lane>,
    pub(super) counters: Counters,
    condition: AtomicU8,
    writer: AtomicU8,
    urgent: AtomicBool,
    stop: AtomicBool,
    thread: OnceLock<Thread>,
    summary: Mutex<Summary>,
    events: Mutex<VecDeque<Event>>,
}

impl Shared {
    pub(super) fn new(mode: Mode, rings: Vec<Arc<Ring>>) -> Self {
        Self {
            mode,
            lanes: rings.into_iter().map(|ring| Lane { ring, waiters: Mutex::default() }).collect(),
            counters: Counters::default(),
            condition: AtomicU8::new(Condition::Ok as u8),
            writer: AtomicU8::new(AWAKE),
            urgent: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            thread: OnceLock::new(),
            summary: Mutex::default(),
            events: Mutex::default(),
        }
    }

    pub(super) fn condition(&self) -> Condition {
        Condition::of(self.condition.load(Ordering::Acquire))
    }

    pub(super) fn set_condition(&self, condition: Condition) {
        self.condition.store(condition as u8, Ordering::Release);
    }

    pub(super) fn stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.hurry();
    }

    /// Called by a worker behind each frame: wakes the writer if it sleeps, or naps while the ring fills. Under
    /// load the writer is awake or napping, and this is one fence and one load.
    pub(super) fn filed(&self, ring: &Ring) {
        fence(Ordering::SeqCst);
        let writer = self.writer.load(Ordering::Relaxed);
        if writer == ASLEEP || (writer == NAPPING && ring.used() * 4 >= ring.capacity()) {
            self.wake();
        }
    }

    /// Wakes the writer for something that cannot wait for the next commit.
    pub(super) fn hurry(&self) {
        self.urgent.store(true, Ordering::SeqCst);
        if self.writer.load(Ordering::SeqCst) != AWAKE {
            self.wake();
        }
    }

    fn wake(&self) {
        if self.writer.swap(AWAKE, Ordering::SeqCst) != AWAKE
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    /// The writer's own thread, before it parks for the first time.
    pub(super) fn set_thread(&self, thread: Thread) {
        // Only the writer calls this, once.
        _ = self.thread.set(thread);
    }

    /// Parks the writer between two commits.
    pub(super) fn nap(&self, timeout: std::time::Duration) {
        self.writer.store(NAPPING, Ordering::SeqCst);
        let filling = self.lanes.iter().any(|lane| lane.ring.used() * 4 >= lane.ring.capacity());
        self.park(filling, timeout);
    }

    /// Parks the writer until anything happens.
    pub(super) fn sleep(&self, timeout: std::time::Duration) {
        self.writer.store(ASLEEP, Ordering::SeqCst);
        let filed = self.lanes.iter().any(|lane| !lane.ring.is_empty());
        self.park(filed, timeout);
    }

    /// Parks the writer whatever is filed: it cannot be written now.
    pub(super) fn pause(&self, timeout: std::time::Duration) {
        self.writer.store(NAPPING, Ordering::SeqCst);
        self.park(self.stopping(), timeout);
    }

    fn park(&self, work: bool, timeout: std::time::Duration) {
        if !work && !self.urgent.load(Ordering::SeqCst) {
            std::thread::park_timeout(timeout);
        }
        self.writer.store(AWAKE, Ordering::SeqCst);
        self.urgent.store(false, Ordering::SeqCst);
    }

    pub(super) fn count_refused(&self, source: Option<std::net::IpAddr>, reason: &'static str, unix_ns: u64) {
        self.counters.summarised.fetch_add(1, Ordering::Relaxed);
        let mut summary = lock(&self.summary);
        let first = summary.is_empty();
        summary.count(source, reason, unix_ns);
        drop(summary);
        if first {
            self.hurry();
        }
    }

    pub(super) fn has_summary(&self) -> bool {
        !lock(&self.summary).is_empty()
    }

    pub(super) fn take_summary(&self) -> Summary {
        std::mem::take(&mut *lock(&self.summary))
    }

    /// Queues an event; `false` when too many wait.
    pub(super) fn push_event(&self, event: Event) -> bool {
        let mut events = lock(&self.events);
        let room = events.len() < EVENTS_MAX;
        if room {
            events.push_back(event);
        }
        drop(events);
        self.hurry();
        room
    }

    pub(super) fn take_events(&self) -> VecDeque<Event> {
        std::mem::take(&mut *lock(&self.events))
    }
}

impl Lane {
    /// Registers a task, or renews its waker; gives its ticket.
    pub(super) fn wait(&self, ticket: Option<u64>, waker: &Waker) -> u64 {
        let mut waiters = lock(&self.waiters);
        let known = ticket.and_then(|ticket| waiters.waiting.iter_mut().find(|(known, _)| *known == ticket));
        if let Some((ticket, known)) = known {
            known.clone_from(waker);
            return *ticket;
        }
        waiters.next += 1;
        let ticket = waiters.next;
        waiters.waiting.push((ticket, waker.clone()));
        ticket
    }

    /// Forgets a task that no longer waits.
    pub(super) fn leave(&self, ticket: u64) {
        lock(&self.waiters).waiting.retain(|(known, _)| *known != ticket);
    }

    /// Wakes every task that waits.
    pub(super) fn wake_all(&self) {
        let waiting = std::mem::take(&mut lock(&self.waiters).waiting);
        waiting.into_iter().for_each(|(_, waker)| waker.wake());
    }
}

/// A panic while one of these locks was held leaves a count or a list that is still whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! From the start of a sidecar to the moment in which it serves: whom it relieves then, and who is told.
use crate::app::App;
use crate::handover::Predecessor;
use crate::handover::systemd::{self, Manager};
use std::time::Duration;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

/// Between two looks at readiness.
const LOOK: Duration = Duration::from_millis(20);
/// How long a sidecar that takes over may take to become ready; then the one that runs goes on.
const TAKE_OVER_TIMEOUT: Duration = Duration::from_secs(60);
/// How long callers of sockets from a service manager wait for readiness; then they are answered with the reason why
/// not.
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);

/// What waits for readiness, and what goes on after it.
#[derive(Debug, Default)]
pub(super) struct Opening {
    predecessor: Option<Predecessor>,
    pub(super) manager: Manager,
    is_held: bool,
    is_ready: bool,
    ticks: Option<Ticks>,
}

#[derive(Debug)]
struct Ticks {
    since: Instant,
    look: Interval,
    watchdog: Option<Interval>,
}

/// What becomes of the sidecar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    GoOn,
    /// It was to replace another, and is not able to.
    GiveUp,
}

impl Opening {
    /// Of a sidecar that relieves `predecessor`; `is_held` when it accepts nothing before it is ready.
    pub(super) fn new(predecessor: Option<Predecessor>, manager: Manager, is_held: bool) -> Self {
        Self { predecessor, manager, is_held, ..Self::default() }
    }

    /// Whether a service manager has what this sidecar listens on.
    pub(super) fn is_kept(&self) -> bool {
        self.is_ready && self.manager.is_there()
    }

    /// Does what is due next. Must be called within a runtime, again and again; may be dropped while it waits.
    pub(super) async fn look(&mut self, app: &mut App) -> Wanted {
        let ticks = self.ticks.get_or_insert_with(Ticks::new);
        tokio::select! {
            _ = ticks.look.tick(), if !self.is_ready => {}
            () = beat(&mut ticks.watchdog) => {
                self.manager.alive();
                return Wanted::GoOn;
            }
            else => return std::future::pending().await,
        }
        let waited = ticks.since.elapsed();
        if app.is_ready() {
            self.is_ready = true;
            if !self.open(app) {
                return Wanted::GiveUp;
            }
            self.manager.ready(app.offer());
            if let Some(predecessor) = self.predecessor.take()
                && let Err(error) = predecessor.relieve()
            {
                tracing::warn!(%error, "the sidecar that was to be replaced is gone");
            }
        } else if self.predecessor.is_some() && waited > TAKE_OVER_TIMEOUT {
            return Wanted::GiveUp;
        } else if self.is_held && self.predecessor.is_none() && waited > OPEN_TIMEOUT {
            tracing::warn!("not ready yet: callers are let in, to be told why they are refused");
            self.open(app);
        }
        Wanted::GoOn
    }

    /// Whether callers are let in.
    fn open(&mut self, app: &mut App) -> bool {
        self.is_held = false;
        let opened = app.open();
        if let Err(error) = &opened {
            tracing::error!(%error, "a socket could not take the place of the one before it");
        }
        opened.is_ok()
    }
}

impl Ticks {
    fn new() -> Self {
        let watchdog = systemd::watchdog_interval().map(|every| {
            let mut beat = interval(every);
            beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
            beat
        });
        Self { since: Instant::now(), look: interval(LOOK), watchdog }
    }
}

async fn beat(watchdog: &mut Option<Interval>) {
    match watchdog {
        Some(watchdog) => drop(watchdog.tick().await),
        None => std::future::pending().await,
    }
}

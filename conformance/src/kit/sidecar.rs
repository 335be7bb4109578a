//! A whole sidecar in this process, whose clock can be moved: for what only shows while a connection is open.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use postern_proxy::app::App;
use postern_proxy::clock::{Clock, SystemClock};
use postern_proxy::config;
use postern_tests::Scene;
use postern_tests::caller::{Answer, Caller, Connection, Version};
use tokio::runtime::Runtime;

/// How often something is looked for that has to show, and the time between.
const TRIES: u32 = 1000;
const PAUSE: Duration = Duration::from_millis(20);

/// The machine's clock, and how far it is moved.
#[derive(Debug)]
struct MovedClock {
    clock: SystemClock,
    by_ns: AtomicU64,
}

impl Clock for MovedClock {
    fn unix_ns(&self) -> u64 {
        self.clock.unix_ns() + self.by_ns.load(Ordering::Relaxed)
    }

    fn monotonic_ns(&self) -> u64 {
        self.clock.monotonic_ns()
    }
}

/// A running sidecar with its surroundings.
pub struct Sidecar {
    /// Identities, policy and upstream.
    pub scene: Scene,
    app: Option<App>,
    clock: Arc<MovedClock>,
    runtime: Runtime,
}

impl Sidecar {
    /// Starts one, with the scene as `change` leaves it, and waits until it is ready.
    ///
    /// # Errors
    /// When it does not start, or is not ready in time.
    pub fn start(change: impl FnOnce(&mut Scene)) -> Result<Self, String> {
        let mut scene = Scene::new();
        change(&mut scene);
        let loaded = config::load(&scene.write_config()).map_err(|findings| findings.to_string())?;
        let clock = Arc::new(MovedClock { clock: SystemClock::new(), by_ns: AtomicU64::new(0) });
        let as_clock: Arc<dyn Clock> = Arc::<MovedClock>::clone(&clock);
        let app = App::start(&loaded.config, as_clock).map_err(|error| error.to_string())?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        let sidecar = Self { scene, app: Some(app), clock, runtime };
        sidecar.until("it is ready", || Some(()).filter(|()| sidecar.is_ready()))?;
        Ok(sidecar)
    }

    /// Whether readiness holds.
    pub fn is_ready(&self) -> bool {
        self.app.as_ref().is_some_and(App::is_ready)
    }

    /// Moves the sidecar's wall clock; the callers' stands where it is.
    pub fn move_clock(&self, by: Duration) {
        self.clock.by_ns.fetch_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Opens a connection over HTTP/2.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn connect(&self, caller: &Caller) -> Result<Connection, String> {
        self.runtime.block_on(caller.connect(self.scene.listener, Version::Http2))
    }

    /// One request on a connection.
    ///
    /// # Errors
    /// When there is no whole answer, or one that refuses: its status and reason.
    pub fn ask(&self, connection: &mut Connection, ask: Request<Bytes>) -> Result<Answer, String> {
        let answer = self.runtime.block_on(connection.send(ask))?;
        match answer.status.is_success() {
            true => Ok(answer),
            false => Err(format!("{} {}", answer.status.as_u16(), answer.json()["reason"])),
        }
    }

    /// Looks again and again until there is something to see.
    ///
    /// # Errors
    /// When there is nothing in time.
    pub fn until<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> Result<T, String> {
        for _ in 0..TRIES {
            if let Some(found) = look() {
                return Ok(found);
            }
            std::thread::sleep(PAUSE);
        }
        Err(format!("not in time: {what}"))
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        if let Some(app) = self.app.take() {
            drop(app.finish());
        }
    }
}

//! The audit log on disk: the writer thread and what it takes from the workers.
//!
//! ```text
//!   worker ── Recorder ── ring (a mapped file) ──┐
//!   worker ── Recorder ── ring (a mapped file) ──┼── writer: batch → segment → sync → wake → checkpoint
//!   control ── events ───────────────────────────┘
//! ```
//! Filed means published in the ring: from then on, no death of the process loses the record. Durable means
//! synced: from then on, no power loss does.
pub mod beside;
mod config;
mod drain;
mod error;
mod files;
mod lane;
mod layout;
mod mapping;
mod reader;
mod recovery;
mod refused;
mod ring;
mod share;
mod shared;
mod store;
#[cfg(test)]
mod tests;
mod wait;
mod writer;

pub use config::{Clock, LogConfig, Mode, Now, Random, Surroundings};
pub use error::LogError;
pub use files::{Disk, FileOps, LogFile};
pub(crate) use lane::{ConnectionLane, ExchangeLane, Moment, Reserved};
pub use lane::{Filed, Unavailable};
pub use mapping::Mapping;
pub use reader::DirectoryFiles;
pub use share::ShareKey;
pub use shared::{Condition, Event};
pub use store::StoreError;
pub use wait::Durable;
pub(crate) use wait::WorkerShared;

use crate::recorder::Seat;
use drain::Rings;
use layout::Layout;
use postern_audit::{Id, Origin, Own, Signer, VerifyingKey};
use shared::Shared;
use std::{
    fmt::Debug,
    io::Read as _,
    sync::{Arc, atomic::Ordering},
    thread::JoinHandle,
};
use store::{Parts, Store};

/// The open log. Dropping it stops the writer as [`Log::shutdown`] does, without telling whether it could.
#[derive(Debug)]
pub struct Log {
    shared: Arc<Shared>,
    origin: Origin,
    vkey: String,
    writer: Option<JoinHandle<Result<(), StoreError>>>,
}

/// How the log does, for readiness and metrics.
#[derive(Clone, Debug)]
pub struct LogHealth {
    /// Whether it can write.
    pub condition: Condition,
    /// Records written since start.
    pub records: u64,
    /// Bytes written since start.
    pub bytes: u64,
    /// Records in the log that are durable.
    pub durable_size: u64,
    /// Records in the log that are signed.
    pub signed_size: u64,
    /// Records dropped, each declared by a gap.
    pub gap_records: u64,
    /// Refused connections that were counted into summaries.
    pub summarised: u64,
    /// Exchanges that found no place.
    pub unavailable: u64,
    /// Failed writes and syncs that were survived.
    pub sync_errors: u64,
    /// For each ring, bytes used and bytes it has.
    pub rings: Vec<(u64, u64)>,
}

/// A handle on the log's health and its control events, for other threads.
#[derive(Clone, Debug)]
pub struct LogHandle(Arc<Shared>);

impl Log {
    /// Opens the log of a directory, or begins one: checks it, takes over what a dead process left, starts the
    /// writer thread. Gives one seat for each worker.
    ///
    /// # Errors
    /// Another process has the log; it is not what was signed; a file or the key cannot be used.
    pub fn open(
        config: LogConfig,
        surroundings: Surroundings,
        signer: Box<dyn Signer>,
    ) -> Result<(Self, Vec<Seat>), LogError> {
        config.check()?;
        let (files, layout) = (surroundings.files.clone(), Layout::new(&config.directory));
        for directory in [layout.root().to_owned(), layout.segments(), layout.keys(), layout.rings()] {
            files.create_directory(&directory).map_err(StoreError::file("create", directory))?;
        }
        let lock = files.lock(&layout.lock()).map_err(|error| LogError::lock(&layout, error))?;
        let origin = describe(&config, &surroundings, &layout)?;
        let mut keys = vec![(origin.to_string(), signer.verifying_key().clone())];
        keys.extend(config.previous_keys.iter().map(|key| (origin.to_string(), key.clone())));
        let mut opening = Opening { config: &config, surroundings: &surroundings, layout };
        let mut store = opening.store(signer, &origin, &keys)?;
        let rings = opening.rings(&mut store)?;
        let shared = Arc::new(Shared::new(config.mode, rings));
        shared.counters.durable_size.store(store.size(), Ordering::Relaxed);
        let vkey = store.vkey();
        let seats = (0..config.workers).filter_map(|worker| {
            let workers = WorkerShared::new(&shared);
            let lanes = workers.lanes(worker)?;
            Some(Seat::new(workers, lanes, &surroundings, config.max_wait_ms))
        });
        let seats = seats.collect();
        let thread = std::thread::Builder::new().name(config.thread_name.clone());
        let writer = writer::Writer::new(store, shared.clone(), config, surroundings);
        let writer = thread
            .spawn(move || {
                let _held_as_long_as_the_log_is_written = lock;
                writer.run()
            })
            .map_err(LogError::Thread)?;
        Ok((Self { shared, origin, vkey, writer: Some(writer) }, seats))
    }

    /// The log's name.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The key that signs, as a verifier key.
    pub fn vkey(&self) -> &str {
        &self.vkey
    }

    /// A handle for other threads.
    pub fn handle(&self) -> LogHandle {
        LogHandle(self.shared.clone())
    }

    /// Writes everything filed, the `stop` record and the last checkpoint, and ends the writer thread. Workers
    /// are gone by now: what is filed later is taken over at the next start.
    ///
    /// # Errors
    /// The end could not be written.
    pub fn shutdown(mut self) -> Result<(), LogError> {
        self.stop()
    }

    fn stop(&mut self) -> Result<(), LogError> {
        let Some(writer) = self.writer.take() else { return Ok(()) };
        self.shared.stop();
        match writer.join() {
            Ok(stopped) => Ok(stopped?),
            Err(_) => Err(LogError::WriterPanicked),
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // Nobody is left to tell; the next start finds a log that did not stop, and says so.
        _ = self.stop();
    }
}

impl LogHandle {
    /// How the log does now.
    pub fn health(&self) -> LogHealth {
        let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.0.counters;
        LogHealth {
            condition: self.0.condition(),
            records: load(&counters.records),
            bytes: load(&counters.bytes),
            durable_size: load(&counters.durable_size),
            signed_size: load(&counters.signed_size),
            gap_records: load(&counters.gap_records),
            summarised: load(&counters.summarised),
            unavailable: load(&counters.unavailable),
            sync_errors: load(&counters.sync_errors),
            rings: self.0.lanes.iter().map(|lane| (lane.ring.used() * 8, lane.ring.capacity() * 8)).collect(),
        }
    }

    /// Records an event of the control plane. `false` when too many wait to be written: the caller tries again
    /// with its next look at the world.
    pub fn record(&self, event: Event) -> bool {
        self.0.push_event(event)
    }
}

/// Reads `log.json`, or writes it for a new log; gives the log's name.
fn describe(config: &LogConfig, surroundings: &Surroundings, layout: &Layout) -> Result<Origin, LogError> {
    let path = layout.description();
    match surroundings.files.read(&path) {
        Ok(reader) => {
            let mut bytes = Vec::new();
            reader.take(64 * 1024).read_to_end(&mut bytes).map_err(StoreError::file("read", path.clone()))?;
            let value: serde_json::Value =
                serde_json::from_slice(&bytes).map_err(|_| LogError::Description(path.clone()))?;
            let origin = value.get("origin").and_then(|origin| origin.as_str());
            origin.and_then(|origin| origin.parse().ok()).ok_or(LogError::Description(path))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if !recovery::segments(surroundings.files.as_ref(), layout)?.is_empty() {
                return Err(LogError::Description(path));
            }
            let id = surroundings.id();
            let origin: Origin =
                format!("{}/audit/{id}", config.origin_base).parse().map_err(LogError::Origin)?;
            let text = serde_json::json!({ "v": 1, "log_id": id.as_str(), "origin": origin.as_str() });
            surroundings
                .files
                .replace(&path, format!("{text}\n").as_bytes())
                .map_err(StoreError::file("write", path))?;
            Ok(origin)
        }
        Err(error) => Err(StoreError::file("read", path)(error).into()),
    }
}

/// What opening a log needs at every step.
struct Opening<'a> {
    config: &'a LogConfig,
    surroundings: &'a Surroundings,
    layout: Layout,
}

impl Opening<'_> {
    /// Checks the log and brings it up to what its rings hold.
    fn store(
        &mut self,
        signer: Box<dyn Signer>,
        origin: &Origin,
        keys: &[(String, VerifyingKey)],
    ) -> Result<Store, LogError> {
        let (files, now) = (&self.surroundings.files, self.surroundings.now());
        let found = recovery::examine(files.as_ref(), &self.layout, origin, keys)?;
        let fresh = found.tree.size() == 0;
        let clean = found.last_kind.as_deref() == Some("stop") && found.dropped_bytes == 0;
        let lanes = Rings::lanes(&found.lanes);
        let (segment, signed_size) = (found.segment, found.signed_size);
        let (files, layout) = (files.clone(), self.layout.clone());
        let parts = Parts { files, layout, origin: origin.clone(), signer, tree: found.tree, lanes };
        let mut store = Store::open(parts, segment, now, signed_size)?;
        let drained = drain::take_over(&mut store, self.surroundings)?;
        let nothing_to_tell = fresh || (clean && drained == 0);
        if !nothing_to_tell {
            let lanes = store.lanes_with_own();
            let own = Own::Recovered {
                checkpoint_size: signed_size,
                dropped_bytes: found.dropped_bytes,
                drained,
                lanes: &lanes,
            };
            store.push_own(&own, self.surroundings.id(), now);
        }
        store.commit(now)?;
        Ok(store)
    }

    /// Makes the rings of this run, files `start`, signs.
    fn rings(&self, store: &mut Store) -> Result<Vec<Arc<ring::Ring>>, LogError> {
        let rings = Rings::create(self.config, self.surroundings, &self.layout)?;
        let (vkey, now) = (store.vkey(), self.surroundings.now());
        let own = Own::Start {
            origin: &store.origin().to_string(),
            version: self.config.version,
            mode: self.config.mode.as_str(),
            lanes: rings.len() as u64 + 1,
            key: &vkey,
        };
        store.push_own(&own, self.surroundings.id(), now);
        self.announce_key(store, &vkey, now)?;
        store.commit(now)?;
        store.checkpoint()?;
        // The names of the checkpoints and the description, before any worker can file.
        let root = self.layout.root().to_owned();
        store.files().sync_directory(&root).map_err(StoreError::file("sync", root))?;
        if self.config.ballast_bytes > 0 {
            let path = self.layout.ballast();
            store
                .files()
                .allocate(&path, self.config.ballast_bytes)
                .map_err(StoreError::file("allocate", path))?;
        }
        Ok(rings)
    }

    /// Leaves the public key beside the log, and a record of its first use in it.
    fn announce_key(&self, store: &mut Store, vkey: &str, now: Now) -> Result<(), LogError> {
        let id =
            VerifyingKey::from_vkey(vkey).map(|(name, key)| key.key_id(&name)).map_err(StoreError::Key)?;
        let path = self.layout.key(id);
        let known = store.files().read(&path).is_ok();
        if !known {
            store.push_own(&Own::Key { event: "use", key: vkey }, self.surroundings.id(), now);
            store
                .files()
                .replace(&path, format!("{vkey}\n").as_bytes())
                .map_err(StoreError::file("write", path))?;
        }
        Ok(())
    }
}

impl Surroundings {
    pub(crate) fn now(&self) -> Now {
        (self.clock)()
    }

    pub(crate) fn id(&self) -> Id {
        Id::new(self.now().unix_ns / 1_000_000, (self.random)())
    }
}

//! The writer thread: drains the rings, commits in groups, signs, begins new segments, says what it could not do.
use super::{
    Condition, Event, LogConfig, Now, Surroundings,
    ring::Consumer,
    shared::Shared,
    store::{Store, StoreError},
};
use postern_audit::Own;
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

const NS_PER_MS: u64 = 1_000_000;
/// Records gathered before a commit.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
const SUMMARY_INTERVAL_NS: u64 = 1000 * NS_PER_MS;
/// A log in which nothing happens says so this often.
const TICK_INTERVAL_NS: u64 = 60_000 * NS_PER_MS;
/// How often a full disk is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How long checkpoints may fail before nothing more is admitted.
const UNSIGNED_MAX_NS: u64 = 60_000 * NS_PER_MS;

pub(super) struct Writer {
    store: Store,
    shared: Arc<Shared>,
    surroundings: Surroundings,
    consumers: Vec<Consumer>,
    config: LogConfig,
    record: Vec<u8>,
    last_commit_ns: u64,
    last_checkpoint_ns: u64,
    last_summary_ns: u64,
}

impl Writer {
    pub(super) fn new(
        store: Store,
        shared: Arc<Shared>,
        config: LogConfig,
        surroundings: Surroundings,
    ) -> Self {
        let now = (surroundings.clock)().mono_ns;
        shared.counters.signed_size.store(store.signed_size(), Ordering::Relaxed);
        Self {
            consumers: shared.lanes.iter().map(|lane| Consumer::new(lane.ring.clone())).collect(),
            config,
            store,
            shared,
            surroundings,
            record: Vec::new(),
            last_commit_ns: now,
            last_checkpoint_ns: now,
            last_summary_ns: 0,
        }
    }

    /// Runs until the log is stopped.
    pub(super) fn run(mut self) -> Result<(), StoreError> {
        self.shared.set_thread(std::thread::current());
        let _told = TellsWhenGone(self.shared.clone());
        loop {
            let stopping = self.shared.stopping();
            let now = self.now();
            let drained = self.gather(now);
            if stopping && drained == 0 && self.store.batch_records() == 0 {
                return self.stop(now);
            }
            match self.commit(now) {
                Ok(()) => self.keep_up(now),
                Err(error) if stopping => return Err(error),
                Err(error) => self.fail(&error, now),
            }
            self.rest(drained, stopping);
        }
    }

    fn now(&self) -> Now {
        (self.surroundings.clock)()
    }

    /// Takes what is filed, and what the log has to say itself; gives the number of records.
    fn gather(&mut self, now: Now) -> u64 {
        if !self.shared.condition().admits() && self.store.batch_records() > 0 {
            // What could not be written is still to be written first.
            return 0;
        }
        let before = self.store.batch_records();
        for (lane, consumer) in (1_u16..).zip(&mut self.consumers) {
            while self.store.batch_bytes() < BATCH_BYTES_MAX {
                self.record.clear();
                match consumer.take(&mut self.record) {
                    Some(Ok(frame)) => self.store.push(&self.record, lane, frame.seq),
                    Some(Err(_)) => {
                        let (from, to) = (self.store.last(lane) + 1, consumer.ring().filed());
                        consumer.skip();
                        let own = Own::Gap { of: lane, from, to, reason: "ring_damaged" };
                        self.store.push_own(&own, self.surroundings.id(), now);
                        self.store.skip_to(lane, to);
                    }
                    None => break,
                }
            }
        }
        self.own_records(now);
        self.store.batch_records() - before
    }

    fn own_records(&mut self, now: Now) {
        for event in self.shared.take_events() {
            self.store.push_own(&own_of(&event), self.surroundings.id(), now);
        }
        let due =
            now.mono_ns.saturating_sub(self.last_summary_ns) >= SUMMARY_INTERVAL_NS || self.shared.stopping();
        if due && self.shared.has_summary() {
            self.last_summary_ns = now.mono_ns;
            let summary = self.shared.take_summary();
            self.store.push_own(&summary.as_own(), self.surroundings.id(), now);
        }
        if now.mono_ns.saturating_sub(self.last_commit_ns) >= TICK_INTERVAL_NS {
            self.tick("idle", now);
        }
    }

    fn tick(&mut self, reason: &str, now: Now) {
        let lanes = self.store.lanes_with_own();
        self.store.push_own(&Own::Tick { reason, lanes: &lanes }, self.surroundings.id(), now);
    }

    /// Commits the batch; then gives the rings their room back and wakes whoever waits.
    fn commit(&mut self, now: Now) -> Result<(), StoreError> {
        if self.store.batch_records() == 0 {
            return Ok(());
        }
        let committed = self.store.commit(now)?;
        self.last_commit_ns = now.mono_ns;
        let counters = &self.shared.counters;
        counters.records.fetch_add(committed.records, Ordering::Relaxed);
        counters.bytes.fetch_add(committed.bytes, Ordering::Relaxed);
        counters.durable_size.store(self.store.size(), Ordering::Release);
        if committed.survived {
            counters.sync_errors.fetch_add(1, Ordering::Relaxed);
            self.shared.set_condition(Condition::Degraded);
        }
        for (consumer, lane) in self.consumers.iter().zip(&self.shared.lanes) {
            if consumer.position() != consumer.ring().tail() {
                consumer.release(consumer.position());
                lane.wake_all();
            }
        }
        Ok(())
    }

    /// What is due now and then: a checkpoint, a new segment, room for the next full disk.
    fn keep_up(&mut self, now: Now) {
        if self.shared.condition() == Condition::DiskFull {
            self.regain(now);
        }
        let unsigned = self.store.signed_size() != self.store.size();
        let waited = now.mono_ns.saturating_sub(self.last_checkpoint_ns);
        let (bytes, age) = self.store.segment_age(now);
        let roll = bytes >= self.config.segment_bytes_max
            || (bytes > 0 && age >= self.config.segment_age_max_s * 1000 * NS_PER_MS);
        if unsigned && (roll || waited >= self.config.checkpoint_interval_ms * NS_PER_MS) {
            self.sign(waited, now);
        }
        if roll {
            self.roll(now);
        }
    }

    fn sign(&mut self, waited: u64, now: Now) {
        match self.store.checkpoint() {
            Ok(()) => {
                self.last_checkpoint_ns = now.mono_ns;
                self.shared.counters.signed_size.store(self.store.signed_size(), Ordering::Relaxed);
            }
            Err(error) if error.is_full() => self.fail(&error, now),
            Err(_) if waited < UNSIGNED_MAX_NS => self.shared.set_condition(Condition::Degraded),
            Err(error) => self.fail(&error, now),
        }
    }

    /// A segment begins with the number of each lane, so that recovery needs to read no other.
    fn roll(&mut self, now: Now) {
        let rolled = self.store.open_segment(now).and_then(|()| {
            self.tick("segment", now);
            self.commit(now)
        });
        if let Err(error) = rolled {
            self.fail(&error, now);
        }
    }

    /// Admits nothing more. A full disk is recorded with what the ballast frees, and tried again; a disk that
    /// fails twice is not trusted again by this process.
    fn fail(&mut self, error: &StoreError, now: Now) {
        self.shared.counters.sync_errors.fetch_add(1, Ordering::Relaxed);
        let was = self.shared.condition();
        if !error.is_full() {
            self.shared.set_condition(Condition::DiskFailed);
        } else if was.admits() {
            self.shared.set_condition(Condition::DiskFull);
            let path = self.store.layout().ballast();
            let freed = self.config.ballast_bytes > 0 && self.store.files().remove(&path).is_ok();
            if freed && self.commit(now).is_ok() {
                let lanes = self.store.lanes_with_own();
                self.store.push_own(
                    &Own::Stop { reason: "disk_full", lanes: &lanes },
                    self.surroundings.id(),
                    now,
                );
                // Without room even for this, the condition alone says it.
                _ = self.commit(now);
                _ = self.store.checkpoint();
            }
        }
        self.shared.lanes.iter().for_each(super::shared::Lane::wake_all);
    }

    /// Admits again when the disk has room for records and for the ballast.
    fn regain(&mut self, now: Now) {
        let path = self.store.layout().ballast();
        let room = self.config.ballast_bytes == 0
            || self.store.files().allocate(&path, self.config.ballast_bytes).is_ok();
        if room {
            self.tick("resumed", now);
            if self.commit(now).is_ok() {
                self.shared.set_condition(Condition::Ok);
            }
        }
    }

    fn rest(&self, drained: u64, stopping: bool) {
        if stopping {
            return;
        }
        if !self.shared.condition().admits() {
            self.shared.pause(RETRY);
        } else if drained > 0 {
            self.shared.nap(Duration::from_millis(self.config.commit_interval_ms));
        } else if self.store.signed_size() != self.store.size() {
            self.shared.sleep(Duration::from_millis(self.config.checkpoint_interval_ms));
        } else if self.shared.has_summary() {
            self.shared.sleep(Duration::from_nanos(SUMMARY_INTERVAL_NS));
        } else {
            self.shared.sleep(Duration::from_nanos(TICK_INTERVAL_NS));
        }
    }

    fn stop(mut self, now: Now) -> Result<(), StoreError> {
        let lanes = self.store.lanes_with_own();
        self.store.push_own(&Own::Stop { reason: "shutdown", lanes: &lanes }, self.surroundings.id(), now);
        self.commit(now)?;
        self.store.checkpoint()
    }
}

/// Whoever waits must not wait for a thread that is gone, whether it ended or panicked.
struct TellsWhenGone(Arc<Shared>);

impl Drop for TellsWhenGone {
    fn drop(&mut self) {
        self.0.set_condition(Condition::Stopped);
        self.0.lanes.iter().for_each(super::shared::Lane::wake_all);
    }
}

fn own_of(event: &Event) -> Own<'_> {
    match event {
        Event::Bundle { event, name, revision, sha256, detail } => {
            Own::Bundle { event, name, revision, sha256: sha256.as_ref(), detail }
        }
        Event::Config { event, sha256, detail } => Own::Config { event, sha256: sha256.as_ref(), detail },
    }
}

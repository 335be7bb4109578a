//! What the log is told: limits, mode, and its surroundings.
use super::{LogError, files::FileOps};
use postern_audit::VerifyingKey;
use std::{fmt, path::PathBuf, sync::Arc};

/// What a filed record is worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// Survives the death of the process. When there is no place, an allow is dropped before a deny is, and
    /// every gap is declared.
    BestEffort,
    /// Survives the death of the process. When there is no place, nothing is admitted.
    #[default]
    Async,
    /// Survives power loss, too: nothing is answered or forwarded before its decision is synced.
    Durable,
}

impl Mode {
    /// The word of the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BestEffort => "best_effort",
            Self::Async => "async",
            Self::Durable => "durable",
        }
    }
}

/// A moment on both clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Nanoseconds since the Unix epoch.
    pub unix_ns: u64,
    /// Nanoseconds of a clock that never goes back.
    pub mono_ns: u64,
}

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> Now + Send + Sync>;
/// Gives random bits; 80 of them are used for each id.
pub type Random = Arc<dyn Fn() -> u128 + Send + Sync>;

/// What the log needs of the world.
#[derive(Clone)]
pub struct Surroundings {
    /// Tells the time.
    pub clock: Clock,
    /// Gives the random bits of ids.
    pub random: Random,
    /// Does the file calls.
    pub files: Arc<dyn FileOps>,
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings").field("files", &self.files).finish_non_exhaustive()
    }
}

/// How the log is kept.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// The log's directory; created when absent.
    pub directory: PathBuf,
    /// The beginning of a new log's name: `<trust domain>/<path>` of the workload.
    pub origin_base: String,
    /// What a filed record is worth. A route may raise it, never lower.
    pub mode: Mode,
    /// Workers, 1 to 64. Each has two rings.
    pub workers: u16,
    /// Bytes of a worker's ring for exchanges, at least 256 KiB; rounded up to a power of two.
    pub ring_bytes: usize,
    /// Bytes of a worker's ring for connections, at least 16 KiB; rounded up to a power of two.
    pub connection_ring_bytes: usize,
    /// How long an exchange may wait for a place.
    pub max_wait_ms: u64,
    /// How long the writer gathers records before it syncs, when nobody waits.
    pub commit_interval_ms: u64,
    /// How long a durable record may stay unsigned.
    pub checkpoint_interval_ms: u64,
    /// Bytes at which a new segment begins.
    pub segment_bytes_max: u64,
    /// Age at which a new segment begins.
    pub segment_age_max_s: u64,
    /// Bytes kept in reserve, to record that the disk is full; 0 for none.
    pub ballast_bytes: u64,
    /// Public keys that signed this log before the present one.
    pub previous_keys: Vec<VerifyingKey>,
    /// Postern's version, for the `start` record.
    pub version: &'static str,
    /// The name of the writer thread.
    pub thread_name: String,
}

impl LogConfig {
    /// The defaults for a directory.
    pub fn new(directory: PathBuf, origin_base: String, workers: u16) -> Self {
        Self {
            directory,
            origin_base,
            mode: Mode::Async,
            workers,
            ring_bytes: 8 * 1024 * 1024,
            connection_ring_bytes: 256 * 1024,
            max_wait_ms: 50,
            commit_interval_ms: 50,
            checkpoint_interval_ms: 250,
            segment_bytes_max: 64 * 1024 * 1024,
            segment_age_max_s: 3600,
            ballast_bytes: 64 * 1024 * 1024,
            previous_keys: Vec::new(),
            version: env!("CARGO_PKG_VERSION"),
            thread_name: "audit-writer".to_owned(),
        }
    }

    pub(super) fn check(&self) -> Result<(), LogError> {
        for (name, value, range) in [
            ("workers", u64::from(self.workers), 1..=64),
            ("ring_bytes", self.ring_bytes as u64, 256 * 1024..=1 << 30),
            ("connection_ring_bytes", self.connection_ring_bytes as u64, 16 * 1024..=1 << 26),
            ("commit_interval_ms", self.commit_interval_ms, 1..=10_000),
            ("checkpoint_interval_ms", self.checkpoint_interval_ms, 1..=60_000),
            ("segment_bytes_max", self.segment_bytes_max, 1024..=1 << 30),
            ("segment_age_max_s", self.segment_age_max_s, 1..=86_400),
        ] {
            if !range.contains(&value) {
                return Err(LogError::Limit { name, value, min: *range.start(), max: *range.end() });
            }
        }
        Ok(())
    }
}

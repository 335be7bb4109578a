//! The process log on standard error: starts, stops, reloads and errors. A request never writes here; its
//! place is the audit log.
//!
//! It is a `tracing` subscriber of its own rather than a stack of layers: it has no spans to keep, it escapes
//! by itself, and a caller's text cannot begin a line, colour a terminal or turn one around. Nobody waits
//! for standard error: lines go through a bounded queue to a writer thread, and are counted where they find
//! no place.

mod line;

use std::collections::HashMap;
use std::fmt;
use std::io::Write;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use thiserror::Error;
use tracing::callsite::Identifier;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};

use super::metrics::LogMetrics;
use crate::clock::{Clock, SystemClock};
use crate::config::{LogFormat, LogLevel, ProcessLog};

/// Lines that may wait for standard error.
const QUEUE_LINES_MAX: usize = 1024;
/// Lines of one kind that are written within [`REPEAT_WINDOW_NS`].
const REPEATS_MAX: u32 = 10;
const REPEAT_WINDOW_NS: u64 = 10_000_000_000;
/// Kinds that are told apart; there are as many as there are places in the code that log.
const KINDS_MAX: usize = 1024;
/// Our crates; all others are heard from `warn` on.
const OUR_TARGETS: &str = "postern";

/// The installed log: `tracing` keeps its subscriber to itself.
static PROCESS: OnceLock<Log> = OnceLock::new();

/// The subscriber. Cheap to clone; clones are one log.
#[derive(Clone)]
pub struct Log(Arc<Shared>);

/// The writer thread's end, see [`LogWriter::run`].
#[derive(Debug)]
pub struct LogWriter {
    items: Receiver<Item>,
}

/// A second process log was installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the process log is installed already")]
pub struct AlreadyInstalled;

struct Shared {
    items: SyncSender<Item>,
    clock: Arc<dyn Clock>,
    metrics: LogMetrics,
    level: AtomicU8,
    format: AtomicU8,
    kinds: Mutex<HashMap<Identifier, Kind>>,
}

#[derive(Debug)]
enum Item {
    Line(String),
    Flush(SyncSender<()>),
}

/// How often one place in the code logged of late.
#[derive(Clone, Copy, Debug, Default)]
struct Kind {
    window_began_ns: u64,
    lines: u32,
    suppressed: u64,
}

/// Makes the log of the whole process and the thread that writes it to standard error. Called once, before
/// anything is said; a second call changes nothing but what it returns. End the process with [`flush`].
pub fn init(config: ProcessLog) -> Log {
    let (log, writer) = new(config, Arc::new(SystemClock::new()), LogMetrics::of_process());
    if log.install().is_ok() {
        let write = move || writer.run(&mut std::io::stderr());
        // Without the thread lines go unwritten and are counted: no reason not to serve.
        drop(std::thread::Builder::new().name("log".to_owned()).spawn(write));
        PROCESS.get_or_init(|| log.clone());
    }
    log
}

/// Waits until everything the process has logged is written, at most `timeout`; see [`Log::flush`].
pub fn flush(timeout: Duration) -> bool {
    PROCESS.get().is_none_or(|log| log.flush(timeout))
}

/// Makes a log and the end that writes it. Lines wait in the queue until the writer runs.
pub fn new(config: ProcessLog, clock: Arc<dyn Clock>, metrics: LogMetrics) -> (Log, LogWriter) {
    let (sender, items) = sync_channel(QUEUE_LINES_MAX);
    let shared = Shared {
        items: sender,
        clock,
        metrics,
        level: AtomicU8::new(0),
        format: AtomicU8::new(0),
        kinds: Mutex::default(),
    };
    let log = Log(Arc::new(shared));
    log.configure(config);
    (log, LogWriter { items })
}

/// The level that `text` names, in any case: what an environment variable or a flag says.
#[must_use]
pub fn level_named(text: &str) -> Option<LogLevel> {
    let all = [LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug];
    all.into_iter().find(|&level| text.eq_ignore_ascii_case(to_tracing(level).as_str()))
}

impl Log {
    /// Makes this the log of the whole process.
    ///
    /// # Errors
    /// [`AlreadyInstalled`] when there is one.
    pub fn install(&self) -> Result<(), AlreadyInstalled> {
        tracing::subscriber::set_global_default(self.clone()).map_err(|_| AlreadyInstalled)
    }

    /// Changes level and format, as a reload does.
    pub fn configure(&self, config: ProcessLog) {
        self.0.level.store(config.level as u8, Ordering::Relaxed);
        self.0.format.store(config.format as u8, Ordering::Relaxed);
    }

    /// Waits until everything logged so far is written, at most `timeout`. False when it is not. Never
    /// called from a worker.
    #[must_use]
    pub fn flush(&self, timeout: Duration) -> bool {
        let (written, wait) = sync_channel(1);
        self.0.items.try_send(Item::Flush(written)).is_ok() && wait.recv_timeout(timeout).is_ok()
    }

    fn level(&self) -> Level {
        let level = self.0.level.load(Ordering::Relaxed);
        let all = [LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug];
        to_tracing(all.into_iter().find(|&known| known as u8 == level).unwrap_or(LogLevel::Info))
    }

    fn format(&self) -> LogFormat {
        if self.0.format.load(Ordering::Relaxed) == LogFormat::Json as u8 {
            LogFormat::Json
        } else {
            LogFormat::Text
        }
    }

    /// How many lines of this kind were suppressed since the last one; `None` to suppress this one too.
    fn admit(&self, kind: Identifier) -> Option<u64> {
        let now_ns = self.0.clock.monotonic_ns();
        let mut kinds = self.0.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        if kinds.len() >= KINDS_MAX && !kinds.contains_key(&kind) {
            kinds.clear();
        }
        let kind = kinds.entry(kind).or_insert(Kind { window_began_ns: now_ns, ..Kind::default() });
        if now_ns.saturating_sub(kind.window_began_ns) >= REPEAT_WINDOW_NS {
            (kind.window_began_ns, kind.lines) = (now_ns, 0);
        }
        if kind.lines >= REPEATS_MAX {
            kind.suppressed = kind.suppressed.saturating_add(1);
            self.0.metrics.suppressed.inc();
            return None;
        }
        kind.lines += 1;
        Some(std::mem::take(&mut kind.suppressed))
    }
}

impl Subscriber for Log {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        // Answered once a place in the code: what libraries trace per request costs a branch.
        if metadata.is_event() && *metadata.level() <= loudest(metadata) {
            Interest::sometimes()
        } else {
            Interest::never()
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= loudest(metadata).min(self.level())
    }

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        Some(tracing::level_filters::LevelFilter::DEBUG)
    }

    fn event(&self, event: &Event<'_>) {
        let Some(suppressed) = self.admit(event.metadata().callsite()) else { return };
        let now_ns = self.0.clock.unix_ns();
        let text = line::write(event, now_ns, suppressed, self.format());
        if self.0.items.try_send(Item::Line(text)).is_err() {
            self.0.metrics.dropped.inc();
        }
    }

    /// Spans are never enabled, so that this is never asked; ids must not be zero.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

impl LogWriter {
    /// Writes until every [`Log`] is gone: for the life of the process, once one is installed. What `out`
    /// refuses is lost; there is nobody left to tell.
    pub fn run(self, out: &mut dyn Write) {
        for item in self.items {
            match item {
                Item::Line(text) => out.write_all(text.as_bytes()).unwrap_or_default(),
                Item::Flush(written) => {
                    out.flush().unwrap_or_default();
                    // Nobody waits any more when the timeout has passed.
                    written.try_send(()).unwrap_or_default();
                }
            }
        }
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("level", &self.level()).finish_non_exhaustive()
    }
}

/// The most talkative level that is ever heard from this place.
fn loudest(metadata: &Metadata<'_>) -> Level {
    if metadata.target().starts_with(OUR_TARGETS) { Level::DEBUG } else { Level::WARN }
}

const fn to_tracing(level: LogLevel) -> Level {
    match level {
        LogLevel::Error => Level::ERROR,
        LogLevel::Warn => Level::WARN,
        LogLevel::Info => Level::INFO,
        LogLevel::Debug => Level::DEBUG,
    }
}

#[cfg(test)]
mod tests;

//! The one place that reads the clocks. Everything else is handed a [`Clock`], or the time itself.
use std::fmt::Debug;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What time it is. Tests hand a clock of their own.
pub trait Clock: Debug + Send + Sync {
    /// Nanoseconds since the Unix epoch. May jump, also backwards.
    fn unix_ns(&self) -> u64;

    /// Nanoseconds since some moment in the past. Never goes back.
    fn monotonic_ns(&self) -> u64;

    /// Whole seconds since the Unix epoch, as certificates and tokens count.
    fn unix_time(&self) -> rustls_pki_types::UnixTime {
        rustls_pki_types::UnixTime::since_unix_epoch(Duration::from_nanos(self.unix_ns()))
    }
}

/// The machine's clocks.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// Starts the monotonic count.
    #[expect(clippy::disallowed_methods, reason = "this is the one file that reads the clocks")]
    pub fn new() -> Self {
        Self { started: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one file that reads the clocks")]
    fn unix_ns(&self) -> u64 {
        // Before 1970 reads as 1970: every certificate is then not yet valid, and nothing is let in.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    fn monotonic_ns(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Microseconds of `CLOCK_MONOTONIC`, which all processes of a machine share: what a service manager compares by.
pub fn kernel_monotonic_us() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let part = |part: i64| u64::try_from(part).unwrap_or_default();
    part(now.tv_sec) * 1_000_000 + part(now.tv_nsec) / 1000
}

/// Hands our clock to rustls, so that handshakes judge by the same time as requests.
#[derive(Debug)]
pub struct TlsTime(pub std::sync::Arc<dyn Clock>);

impl rustls::time_provider::TimeProvider for TlsTime {
    fn current_time(&self) -> Option<rustls_pki_types::UnixTime> {
        Some(self.0.unix_time())
    }
}

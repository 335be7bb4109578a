//! Prometheus metrics.
//!
//! Every series a request can touch is found when the sidecar starts or reloads; a request then only adds to
//! atomics, without locks, hashing or allocation. Labels are bounded: configured names and reason codes,
//! never a path, a SPIFFE ID or an address.
//!
//! `prometheus-client` writes the exposition. Its own histogram is not used, because that takes a lock at
//! every observation.

mod faults;
mod histogram;
mod listener;
mod parts;
mod rate_limit;
mod series;
mod upstream;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Registry;

pub use faults::{Fault, FaultMetrics};
pub use histogram::DurationHistogram;
pub use listener::{Active, ListenerMetrics};
pub use parts::{
    AuditMetrics, ConfigMetrics, IdentityMetrics, KeyMetrics, LoadResult, LogMetrics, MemoryMetrics,
    PolicyMetrics, SpanMetrics,
};
pub use rate_limit::{RateLimitCheck, RateLimitMetrics, RateLimitServiceMetrics};
pub use series::{ReasonCounters, ReasonSet};
pub use upstream::{Ejection, MirrorResult, UpstreamMetrics, UpstreamResult};

/// The content type of [`Metrics::encode`]: OpenMetrics text, which Prometheus reads since 2.5.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Every metric of the process. Made once; parts are handed out as `Arc`s or clones that share their counts.
pub struct Metrics {
    /// Policy: generation, revisions, loads.
    pub policy: PolicyMetrics,
    /// Our SVID and the trust bundles.
    pub identity: IdentityMetrics,
    /// The audit log.
    pub audit: AuditMetrics,
    /// Key sets and token verifications.
    pub keys: KeyMetrics,
    /// Exported and dropped spans.
    pub spans: SpanMetrics,
    /// Configuration reloads.
    pub config: ConfigMetrics,
    /// The memory of the process.
    pub memory: MemoryMetrics,
    /// Lines of the process log that were not written.
    pub log: LogMetrics,
    tables: Arc<Tables>,
    registry: Registry,
}

/// What has to be known before the first metric exists.
#[derive(Clone, Copy, Debug)]
pub struct MetricsPlan<'a> {
    /// Version of the binary.
    pub version: &'a str,
    /// When the process started, in whole seconds since the Unix epoch.
    pub started_unix_s: u64,
    /// Every reason code an exchange, a handshake or a token can end with.
    pub reasons: &'a [&'static str],
}

/// Series that follow the configuration: reloads add and remove names.
struct Tables {
    reasons: Arc<ReasonSet>,
    listeners: Mutex<BTreeMap<Arc<str>, Arc<ListenerMetrics>>>,
    upstreams: Mutex<BTreeMap<Arc<str>, Arc<UpstreamMetrics>>>,
    rate_limits: Mutex<rate_limit::Rules>,
    rate_limit_services: Mutex<rate_limit::Services>,
    faults: Mutex<faults::Routes>,
}

impl Metrics {
    /// All metrics at zero.
    #[must_use]
    pub fn new(plan: &MetricsPlan<'_>) -> Self {
        let reasons = Arc::new(ReasonSet::new(plan.reasons));
        let tables = Arc::new(Tables {
            reasons: Arc::clone(&reasons),
            listeners: Mutex::default(),
            upstreams: Mutex::default(),
            rate_limits: Mutex::default(),
            rate_limit_services: Mutex::default(),
            faults: Mutex::default(),
        });
        let mut registry = Registry::with_prefix("postern");
        parts::register_process(&mut registry, plan);
        let mut metrics = Self {
            policy: PolicyMetrics::register(&mut registry),
            identity: IdentityMetrics::register(&mut registry),
            audit: AuditMetrics::register(&mut registry),
            keys: KeyMetrics::register(&mut registry, reasons),
            spans: SpanMetrics::register(&mut registry),
            config: ConfigMetrics::register(&mut registry),
            memory: MemoryMetrics::register(&mut registry),
            log: LogMetrics::of_process(),
            tables: Arc::clone(&tables),
            registry,
        };
        metrics.registry.register_collector(Box::new(metrics.log.clone()));
        metrics.registry.register_collector(Box::new(tables));
        metrics
    }

    /// The metrics of the listener called `name`, made if there are none yet. For start and reload: keep
    /// the result, never ask per request.
    #[must_use]
    pub fn listener(&self, name: &str) -> Arc<ListenerMetrics> {
        let mut listeners = lock(&self.tables.listeners);
        let make = || Arc::new(ListenerMetrics::new(&self.tables.reasons));
        Arc::clone(listeners.entry(Arc::from(name)).or_insert_with(make))
    }

    /// The metrics of the upstream called `name`, made if there are none yet. For start and reload.
    #[must_use]
    pub fn upstream(&self, name: &str) -> Arc<UpstreamMetrics> {
        let mut upstreams = lock(&self.tables.upstreams);
        Arc::clone(upstreams.entry(Arc::from(name)).or_default())
    }

    /// The metrics of a rate limit, by the names of its listener, its route and itself, made if there are none yet. For
    /// start and reload.
    #[must_use]
    pub fn rate_limit(&self, names: [&str; 3]) -> Arc<RateLimitMetrics> {
        let mut rules = lock(&self.tables.rate_limits);
        Arc::clone(rules.entry(names.map(Arc::from)).or_default())
    }

    /// The metrics of a rate limit service, by the name of its upstream, made if there are none yet. For start and reload.
    #[must_use]
    pub fn rate_limit_service(&self, name: &str) -> Arc<RateLimitServiceMetrics> {
        let mut services = lock(&self.tables.rate_limit_services);
        Arc::clone(services.entry(Arc::from(name)).or_default())
    }

    /// The metrics of a route's faults on purpose, by the names of its listener and itself, made if there are none yet. For
    /// start and reload.
    #[must_use]
    pub fn faults(&self, names: [&str; 2]) -> Arc<FaultMetrics> {
        let mut faults = lock(&self.tables.faults);
        Arc::clone(faults.entry(names.map(Arc::from)).or_default())
    }

    /// Forgets listeners, upstreams, faults and rate limits that a reload removed, so that names do not pile up over years.
    pub fn keep_only(&self, listeners: &[&str], upstreams: &[&str]) {
        lock(&self.tables.listeners).retain(|name, _| listeners.contains(&&**name));
        lock(&self.tables.upstreams).retain(|name, _| upstreams.contains(&&**name));
        // Requests in progress may hold some of them yet; those go with the reload after this one.
        lock(&self.tables.rate_limits).retain(|_, metrics| Arc::strong_count(metrics) > 1);
        lock(&self.tables.rate_limit_services).retain(|_, metrics| Arc::strong_count(metrics) > 1);
        lock(&self.tables.faults).retain(|_, metrics| Arc::strong_count(metrics) > 1);
    }

    /// Everything as OpenMetrics text, of type [`CONTENT_TYPE`].
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::with_capacity(16 * 1024);
        match prometheus_client::encoding::text::encode(&mut text, &self.registry) {
            Ok(()) => text,
            // Writing to a string does not fail; half an exposition must not look like a whole one.
            Err(fmt::Error) => String::from("# EOF\n"),
        }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl fmt::Debug for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tables").finish_non_exhaustive()
    }
}

impl Collector for Tables {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        // Held for one exposition; the request path never asks for these locks.
        listener::encode(&lock(&self.listeners), &self.reasons, &mut encoder)?;
        upstream::encode(&lock(&self.upstreams), &mut encoder)?;
        rate_limit::encode(&lock(&self.rate_limits), &lock(&self.rate_limit_services), &mut encoder)?;
        faults::encode(&lock(&self.faults), &mut encoder)
    }
}

/// A panic elsewhere must not take the metrics with it: counts are whole at any moment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;

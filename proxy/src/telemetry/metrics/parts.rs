//! The metrics of the parts that are not on the request path: policy, identity, audit, keys, spans, reloads.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::series::{Family as Rows, ReasonCounters, ReasonSet};
use super::{MetricsPlan, lock};
use crate::telemetry::spans::Decided;

type ResultLabel = [(&'static str, &'static str); 1];

/// How an attempt to load something ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadResult {
    /// It is in force now.
    Loaded,
    /// It is refused; what was in force still is.
    Refused,
    /// It could not be had: the source failed.
    Unavailable,
}

impl LoadResult {
    const ALL: [Self; 3] = [Self::Loaded, Self::Refused, Self::Unavailable];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Loaded => "loaded",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
        }
    }
}

/// One counter a [`LoadResult`], all visible from the start.
#[derive(Clone, Debug, Default)]
struct Loads {
    loaded: Counter,
    refused: Counter,
    unavailable: Counter,
}

impl Loads {
    fn register(registry: &mut Registry, name: &str, help: &str) -> Self {
        let family = Family::<ResultLabel, Counter>::default();
        registry.register(name, help, family.clone());
        let [loaded, refused, unavailable] =
            LoadResult::ALL.map(|result| family.get_or_create_owned(&[("result", result.as_str())]));
        Self { loaded, refused, unavailable }
    }

    fn count(&self, result: LoadResult) {
        match result {
            LoadResult::Loaded => self.loaded.inc(),
            LoadResult::Refused => self.refused.inc(),
            LoadResult::Unavailable => self.unavailable.inc(),
        };
    }
}

pub(super) fn register_process(registry: &mut Registry, plan: &MetricsPlan<'_>) {
    let version = Info::new([("version", plan.version.to_owned())]);
    registry.register("build", "The running binary", version);
    let started = Gauge::<i64>::default();
    started.set(whole(plan.started_unix_s));
    registry.register_with_unit(
        "process_start_timestamp",
        "When the process started",
        Unit::Seconds,
        started,
    );
}

/// Policy: which one is in force, and how its loads went. Written by the control thread.
#[derive(Clone, Debug, Default)]
pub struct PolicyMetrics {
    generation: Gauge,
    loaded_at: Gauge,
    observing_routes: Gauge,
    loads: Loads,
    in_force: Family<Vec<(&'static str, String)>, Gauge>,
}

impl PolicyMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            loads: Loads::register(registry, "policy_loads", "Attempts to load a policy bundle"),
            ..Self::default()
        };
        registry.register(
            "policy_generation",
            "Counts up with every policy put in force",
            metrics.generation.clone(),
        );
        let at = metrics.loaded_at.clone();
        registry.register_with_unit(
            "policy_loaded_timestamp",
            "When the policy was put in force",
            Unit::Seconds,
            at,
        );
        registry.register("policy_bundle", "The policy bundles in force, always 1", metrics.in_force.clone());
        let help = "Routes whose denies are recorded but not enforced";
        registry.register("routes_observing", help, metrics.observing_routes.clone());
        metrics
    }

    /// Notes that a policy was put in force: its bundles as (name, revision), and its engine.
    pub fn loaded(&self, generation: u64, engine: &str, bundles: &[(&str, &str)], now_unix_s: u64) {
        self.loads.count(LoadResult::Loaded);
        self.generation.set(whole(generation));
        self.loaded_at.set(whole(now_unix_s));
        // One series a bundle: the revisions of the past go.
        self.in_force.clear();
        for &(name, revision) in bundles {
            let labels = [("bundle", name), ("revision", revision), ("engine", engine)];
            let labels = labels.map(|(key, value)| (key, value.to_owned())).to_vec();
            self.in_force.get_or_create(&labels).set(1);
        }
    }

    /// Counts a load after which the old policy still holds.
    pub fn load_failed(&self, result: LoadResult) {
        self.loads.count(result);
    }

    /// How many routes do not enforce.
    pub fn observing_routes(&self, routes: usize) {
        self.observing_routes.set(whole(routes));
    }
}

/// Our SVID and the trust bundles. Written by the control thread.
#[derive(Clone, Debug, Default)]
pub struct IdentityMetrics {
    expires_at: Gauge,
    trust_bundles: Gauge,
    trust_generation: Gauge,
    updates: Loads,
    federated: Loads,
}

impl IdentityMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            updates: Loads::register(
                registry,
                "identity_updates",
                "SVIDs and trust bundles taken from the source",
            ),
            federated: Loads::register(
                registry,
                "federation_fetches",
                "Bundles fetched from the endpoints of other trust domains",
            ),
            ..Self::default()
        };
        let expires_at = metrics.expires_at.clone();
        let help = "When our SVID expires; 0 without one";
        registry.register_with_unit("identity_svid_expiry_timestamp", help, Unit::Seconds, expires_at);
        registry.register("trust_bundles", "Trust domains with a bundle", metrics.trust_bundles.clone());
        let help = "Counts up with every change of a trust bundle";
        registry.register("trust_generation", help, metrics.trust_generation.clone());
        metrics
    }

    /// Notes the SVID in force by the end of its life.
    pub fn svid(&self, expires_unix_s: u64) {
        self.expires_at.set(whole(expires_unix_s));
    }

    /// Notes the trust bundles in force.
    pub fn trust(&self, bundles: usize, generation: u64) {
        self.trust_bundles.set(whole(bundles));
        self.trust_generation.set(whole(generation));
    }

    /// Counts an attempt to fetch the bundle of another trust domain.
    pub fn federated(&self, result: LoadResult) {
        self.federated.count(result);
    }

    /// Counts an update from the identity source.
    pub fn updated(&self, result: LoadResult) {
        self.updates.count(result);
    }
}

/// The audit log. Written by its writer thread; the counters also by workers.
#[derive(Clone, Debug, Default)]
pub struct AuditMetrics {
    /// Entries written to the log.
    pub records: Counter,
    /// Gap entries: declared losses in `best_effort` mode.
    pub gaps: Counter,
    /// Exchanges that were refused because their decision could not be recorded.
    pub refused: Counter,
    /// Writes, syncs and signatures that failed.
    pub failures: Counter,
    durable_index: Gauge,
    ring_used: Gauge,
    ring_size: Gauge,
    checkpoint_at: Gauge,
}

impl AuditMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register("audit_records", "Entries written to the audit log", metrics.records.clone());
        registry.register("audit_gaps", "Declared gaps in the audit log", metrics.gaps.clone());
        let help = "Exchanges refused because they could not be recorded";
        registry.register("audit_refused", help, metrics.refused.clone());
        let help = "Writes, syncs and signatures of the audit log that failed";
        registry.register("audit_failures", help, metrics.failures.clone());
        let help = "Entries of the audit log that outlive power loss";
        registry.register("audit_durable_index", help, metrics.durable_index.clone());
        let (used, size) = (metrics.ring_used.clone(), metrics.ring_size.clone());
        registry.register_with_unit("audit_ring_used", "Filed and not yet written", Unit::Bytes, used);
        registry.register_with_unit(
            "audit_ring_size",
            "Room for entries that are not written",
            Unit::Bytes,
            size,
        );
        let at = metrics.checkpoint_at.clone();
        registry.register_with_unit(
            "audit_checkpoint_timestamp",
            "Time of the last checkpoint",
            Unit::Seconds,
            at,
        );
        metrics
    }

    /// Notes how many entries are durable.
    pub fn durable(&self, entries: u64) {
        self.durable_index.set(whole(entries));
    }

    /// Notes how full the rings of all workers are together, in bytes.
    pub fn rings(&self, used_bytes: u64, size_bytes: u64) {
        self.ring_used.set(whole(used_bytes));
        self.ring_size.set(whole(size_bytes));
    }

    /// Notes a signed checkpoint.
    pub fn checkpoint(&self, now_unix_s: u64) {
        self.checkpoint_at.set(whole(now_unix_s));
    }
}

/// Key sets and token verifications.
#[derive(Clone, Debug)]
pub struct KeyMetrics {
    refreshes: Family<[(&'static str, String); 2], Counter>,
    valid_until: Family<[(&'static str, String); 1], Gauge>,
    tokens: Arc<TokenTable>,
}

struct TokenTable {
    reasons: Arc<ReasonSet>,
    accepted: Counter,
    refused: ReasonCounters,
    issuers: Mutex<Vec<String>>,
}

impl KeyMetrics {
    pub(super) fn register(registry: &mut Registry, reasons: Arc<ReasonSet>) -> Self {
        let refused = ReasonCounters::new(&reasons);
        let table = TokenTable { reasons, accepted: Counter::default(), refused, issuers: Mutex::default() };
        let metrics =
            Self { refreshes: Family::default(), valid_until: Family::default(), tokens: Arc::new(table) };
        registry.register("key_set_refreshes", "Fetches of an issuer's keys", metrics.refreshes.clone());
        registry.register_with_unit(
            "key_set_valid_until_timestamp",
            "When fetched keys of an issuer become too old to be used, 0 without any",
            Unit::Seconds,
            metrics.valid_until.clone(),
        );
        registry.register_collector(Box::new(Arc::clone(&metrics.tokens)));
        metrics
    }

    /// Counts a token that was accepted.
    pub fn token_accepted(&self) {
        self.tokens.accepted.inc();
    }

    /// Counts a token that was refused, by its `token.` or `keys.` code.
    pub fn token_refused(&self, reason: &str) {
        self.tokens.refused.count(&self.tokens.reasons, reason);
    }

    /// Names the configured issuers, so that their series exist before their first fetch, and forgets those
    /// that a reload removed.
    pub fn issuers(&self, issuers: &[&str]) {
        let mut known = lock(&self.tokens.issuers);
        for gone in known.iter().filter(|issuer| !issuers.contains(&issuer.as_str())) {
            for result in LoadResult::ALL {
                self.refreshes.remove(&refresh_labels(gone, result));
            }
            self.valid_until.remove(&[("issuer", gone.clone())]);
        }
        *known = issuers.iter().map(|issuer| (*issuer).to_owned()).collect();
        for (issuer, result) in known.iter().flat_map(|issuer| LoadResult::ALL.map(|result| (issuer, result)))
        {
            drop(self.refreshes.get_or_create(&refresh_labels(issuer, result)));
            drop(self.valid_until.get_or_create(&[("issuer", issuer.clone())]));
        }
    }

    /// Notes when the keys of a configured issuer become too old to be used; 0 without any, and for those of a file.
    pub fn valid_until(&self, issuer: &str, unix_s: u64) {
        if let Some(gauge) = self.valid_until.get(&[("issuer", issuer.to_owned())]) {
            gauge.set(whole(unix_s));
        }
    }

    /// Counts a fetch of a configured issuer's keys. Others are not counted: labels stay bounded.
    pub fn refreshed(&self, issuer: &str, result: LoadResult) {
        if let Some(counter) = self.refreshes.get(&refresh_labels(issuer, result)) {
            counter.inc();
        }
    }
}

fn refresh_labels(issuer: &str, result: LoadResult) -> [(&'static str, String); 2] {
    [("issuer", issuer.to_owned()), ("result", result.as_str().to_owned())]
}

impl fmt::Debug for TokenTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenTable").finish_non_exhaustive()
    }
}

impl Collector for TokenTable {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let accepted = [([("result", "accepted")], self.accepted.get())].into_iter();
        let refused = self.refused.counted(&self.reasons).map(|(code, count)| ([("result", code)], count));
        Rows {
            name: "token_verifications",
            help: "Verified tokens: accepted, or the code they were refused with",
        }
        .counters(&mut encoder, accepted.chain(refused))
    }
}

/// Exported and dropped spans.
#[derive(Clone, Debug, Default)]
pub struct SpanMetrics {
    /// Exchanges whose spans a receiver took.
    pub exported: Counter,
    /// Denied exchanges that found no place in the queue.
    pub dropped_denies: Counter,
    /// Other exchanges that found no place in the queue.
    pub dropped_others: Counter,
    /// Exchanges whose spans no receiver took in time.
    pub undelivered: Counter,
}

impl SpanMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let family = Family::<ResultLabel, Counter>::default();
        registry.register(
            "span_exchanges",
            "Exchanges handed to the span export, by what became of them",
            family.clone(),
        );
        let of = |result| family.get_or_create_owned(&[("result", result)]);
        Self {
            exported: of("exported"),
            dropped_denies: of("dropped_deny"),
            dropped_others: of("dropped"),
            undelivered: of("undelivered"),
        }
    }

    /// Counts an exchange that found no place in the queue.
    pub fn dropped(&self, decided: Decided) {
        if decided.denied() { &self.dropped_denies } else { &self.dropped_others }.inc();
    }
}

/// Configuration reloads.
#[derive(Clone, Debug, Default)]
pub struct ConfigMetrics {
    reloads: Loads,
    loaded_at: Gauge,
    last_refused: Gauge,
}

impl ConfigMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            reloads: Loads::register(registry, "config_reloads", "Attempts to load the configuration"),
            ..Self::default()
        };
        let at = metrics.loaded_at.clone();
        registry.register_with_unit(
            "config_loaded_timestamp",
            "When the configuration came in force",
            Unit::Seconds,
            at,
        );
        let help = "1 while the last reload was refused and an older configuration is in force";
        registry.register("config_stale", help, metrics.last_refused.clone());
        metrics
    }

    /// Counts a configuration that came in force.
    pub fn loaded(&self, now_unix_s: u64) {
        self.reloads.count(LoadResult::Loaded);
        self.loaded_at.set(whole(now_unix_s));
        self.last_refused.set(0);
    }

    /// Counts a configuration that did not, and that the last good one holds.
    pub fn load_failed(&self, result: LoadResult) {
        self.reloads.count(result);
        self.last_refused.set(1);
    }
}

/// Lines of the process log that were not written.
#[derive(Clone, Debug, Default)]
pub struct LogMetrics {
    /// Repeated too often within a short time.
    pub suppressed: Counter,
    /// Standard error took no more.
    pub dropped: Counter,
}

impl LogMetrics {
    /// The counts of the process log. It is one a process and older than all other metrics.
    #[must_use]
    pub fn of_process() -> Self {
        static OF_PROCESS: OnceLock<LogMetrics> = OnceLock::new();
        OF_PROCESS.get_or_init(Self::default).clone()
    }
}

impl Collector for LogMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let rows = [("repeated", &self.suppressed), ("full", &self.dropped)];
        let rows = rows.into_iter().map(|(cause, count)| ([("cause", cause)], count.get()));
        Rows { name: "log_lines_lost", help: "Lines of the process log that were not written" }
            .counters(&mut encoder, rows)
    }
}

/// Gauges are signed; what does not fit reads as the largest value.
fn whole(value: impl TryInto<i64>) -> i64 {
    value.try_into().unwrap_or(i64::MAX)
}

/// The memory of the process.
#[derive(Clone, Debug, Default)]
pub struct MemoryMetrics {
    used: Gauge<i64>,
    max: Gauge<i64>,
}

impl MemoryMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let help = "Memory of the process that is not swapped out";
        registry.register_with_unit("process_resident_memory", help, Unit::Bytes, metrics.used.clone());
        let help = "Memory from which on what is new is refused; 0 without such a limit";
        registry.register_with_unit("memory_max", help, Unit::Bytes, metrics.max.clone());
        metrics
    }

    /// Takes over what was found last: what is used, and the limit.
    pub fn note(&self, (used, max): (u64, Option<u64>)) {
        self.used.set(whole(used));
        self.max.set(max.map_or(0, whole));
    }
}

//! Every number a configuration may hold: its default and the range it must stay in. One place, so that
//! the documentation is made from what is enforced.

use std::time::Duration;

use super::units;

/// A number with a default and a range, both ends included.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule<T> {
    /// Where it stands, with `<name>` for names and `[]` for positions. Used by the documentation.
    #[cfg_attr(not(test), expect(dead_code, reason = "read by the test that makes the documentation"))]
    pub key: &'static str,
    pub default: T,
    pub min: T,
    pub max: T,
}

const fn duration(key: &'static str, default_ms: u64, min_ms: u64, max_ms: u64) -> Rule<Duration> {
    Rule {
        key,
        default: Duration::from_millis(default_ms),
        min: Duration::from_millis(min_ms),
        max: Duration::from_millis(max_ms),
    }
}

const fn number(key: &'static str, default: u64, min: u64, max: u64) -> Rule<u64> {
    Rule { key, default, min, max }
}

const MS: u64 = 1;
const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

macro_rules! rules {
    ($list:ident: $type:ty { $($name:ident = $rule:expr;)* }) => {
        $(pub(super) const $name: Rule<$type> = $rule;)*
        /// All of them, for the documentation and for the test that each default lies in its range.
        #[cfg(test)]
        pub(super) const $list: &[Rule<$type>] = &[$($name),*];
    };
}

rules! { DURATIONS: Duration {
    LEEWAY = duration("tokens[].leeway", 5 * SECOND, 0, 120 * SECOND);
    LIFETIME_MAX = duration("tokens[].lifetime_max", 3650 * DAY, MINUTE, 3650 * DAY);
    KEY_REFRESH_INTERVAL = duration("tokens[].refresh_interval", 5 * MINUTE, MINUTE, DAY);
    KEY_STALE_MAX = duration("tokens[].stale_max", DAY, MINUTE, 30 * DAY);
    DIRECTORY_POLL_INTERVAL = duration("policy.bundles.<name>.source.directory.poll_interval", SECOND, 100 * MS, HOUR);
    LONG_POLL = duration("policy.bundles.<name>.source.http.long_poll", 0, 0, 10 * MINUTE);
    HTTP_POLL_INTERVAL = duration("policy.bundles.<name>.source.http.poll_interval", 30 * SECOND, SECOND, DAY);
    DECISION_TIMEOUT = duration("policy.decision_timeout", 50 * MS, MS, SECOND);
    HANDSHAKE_TIMEOUT = duration("listeners.<name>.limits.handshake_timeout", 5 * SECOND, 100 * MS, MINUTE);
    DETECT_TIMEOUT = duration("listeners.<name>.limits.detect_timeout", 100 * MS, 10 * MS, 10 * SECOND);
    HEADER_TIMEOUT = duration("listeners.<name>.limits.header_timeout", 10 * SECOND, 100 * MS, 5 * MINUTE);
    POLICY_BODY_TIMEOUT = duration("listeners.<name>.limits.policy_body_timeout", 5 * SECOND, 100 * MS, 5 * MINUTE);
    IDLE_TIMEOUT = duration("listeners.<name>.limits.idle_timeout", 5 * MINUTE, SECOND, DAY);
    CONNECTION_AGE_MAX = duration("listeners.<name>.limits.connection_age_max", HOUR, 10 * SECOND, 30 * DAY);
    DRAIN_GRACE = duration("listeners.<name>.limits.drain_grace", 30 * SECOND, 0, HOUR);
    INVALID_GRACE = duration("listeners.<name>.inbound.tls.mutual.grace", 30 * SECOND, 0, HOUR);
    ROUTE_TIMEOUT = duration("listeners.<name>.routes[].timeout", 15 * SECOND, 10 * MS, DAY);
    PER_TRY_TIMEOUT = duration("listeners.<name>.routes[].retry.per_try_timeout", 15 * SECOND, 10 * MS, DAY);
    RETRY_BACKOFF = duration("listeners.<name>.routes[].retry.backoff", 25 * MS, 0, 10 * SECOND);
    RETRY_BACKOFF_MAX = duration("listeners.<name>.routes[].retry.backoff_max", 250 * MS, 0, MINUTE);
    RATE_PER = duration("listeners.<name>.routes[].rate_limits[].per", SECOND, SECOND, DAY);
    RATE_SERVICE_TIMEOUT = duration("listeners.<name>.routes[].global_rate_limit.timeout", 20 * MS, MS, 10 * SECOND);
    DELAY_DURATION = duration("listeners.<name>.routes[].faults.delay.duration", SECOND, MS, MINUTE);
    MIRROR_TIMEOUT = duration("listeners.<name>.routes[].mirror.timeout", 5 * SECOND, 10 * MS, MINUTE);
    STREAM_IDLE_TIMEOUT = duration("listeners.<name>.routes[].stream_idle_timeout", 5 * MINUTE, SECOND, DAY);
    CONNECT_TIMEOUT = duration("upstreams.<name>.connect_timeout", 1_250 * MS, 10 * MS, MINUTE);
    UPSTREAM_IDLE_TIMEOUT = duration("upstreams.<name>.idle_timeout", 30 * SECOND, SECOND, HOUR);
    OUTLIER_INTERVAL = duration("upstreams.<name>.outlier.interval", 10 * SECOND, SECOND, HOUR);
    EJECTION = duration("upstreams.<name>.outlier.ejection", 30 * SECOND, SECOND, HOUR);
    EJECTION_MAX = duration("upstreams.<name>.outlier.ejection_max", 5 * MINUTE, SECOND, DAY);
    CONCURRENCY_WINDOW = duration("upstreams.<name>.adaptive_concurrency.window", 100 * MS, 10 * MS, 10 * SECOND);
    REMEASURE_INTERVAL = duration("upstreams.<name>.adaptive_concurrency.remeasure_interval", MINUTE, SECOND, DAY);
    HEALTH_INTERVAL = duration("upstreams.<name>.health.interval", 10 * SECOND, SECOND, HOUR);
    HEALTH_TIMEOUT = duration("upstreams.<name>.health.timeout", SECOND, 10 * MS, MINUTE);
    MAX_WAIT = duration("audit.max_wait", 50 * MS, MS, 10 * SECOND);
    SEGMENT_AGE_MAX = duration("audit.segment_age_max", HOUR, SECOND, DAY);
    CHECKPOINT_INTERVAL = duration("audit.checkpoint_interval", 250 * MS, 10 * MS, MINUTE);
} }

rules! { SIZES: u64 {
    ARCHIVE_BYTES_MAX = number("policy.limits.archive_bytes_max", 16 * MIB, KIB, GIB);
    BUNDLE_BYTES_MAX = number("policy.limits.bytes_max", 64 * MIB, KIB, 4 * GIB);
    BUNDLE_FILE_BYTES_MAX = number("policy.limits.file_bytes_max", 32 * MIB, KIB, 4 * GIB);
    HEADER_BYTES_MAX = number("listeners.<name>.limits.header_bytes_max", 32 * KIB, KIB, 256 * KIB);
    HEADER_LINE_BYTES_MAX = number("listeners.<name>.limits.header_line_bytes_max", 8 * KIB, 256, 64 * KIB);
    BODY_BYTES_MAX = number("listeners.<name>.limits.body_bytes_max", 64 * MIB, 0, 1024 * GIB);
    POLICY_BODY_BYTES_MAX = number("listeners.<name>.limits.policy_body_bytes_max", 64 * KIB, 0, 16 * MIB);
    POLICY_BODIES_BYTES_MAX = number("listeners.<name>.limits.policy_bodies_bytes_max", 64 * MIB, 0, 64 * GIB);
    RETRY_BODY_BYTES_MAX = number("listeners.<name>.routes[].retry.body_bytes_max", 64 * KIB, 0, MIB);
    MIRROR_BODY_BYTES_MAX = number("listeners.<name>.routes[].mirror.body_bytes_max", 64 * KIB, 0, MIB);
    TOKEN_BYTES_MAX = number("listeners.<name>.limits.token_bytes_max", 8 * KIB, 256, 16 * KIB);
    RING_BYTES = number("audit.ring_bytes", 8 * MIB, 256 * KIB, GIB);
    MEMORY_MAX = number("limits.memory_max", GIB, 64 * MIB, 1024 * GIB);
    SEGMENT_BYTES_MAX = number("audit.segment_bytes_max", 64 * MIB, MIB, GIB);
} }

rules! { COUNTS: u64 {
    DECISION_STEPS_MAX = number("policy.decision_steps_max", 100_000, 1000, 100_000_000);
    FILES_MAX = number("policy.limits.files_max", 10_000, 1, 1_000_000);
    CONNECTIONS_MAX = number("listeners.<name>.limits.connections_max", 8_192, 1, 1_000_000);
    HANDSHAKES_PER_SOURCE_MAX = number("listeners.<name>.limits.handshakes_per_source_max", 512, 1, 1_000_000);
    HEADER_COUNT_MAX = number("listeners.<name>.limits.header_count_max", 100, 8, 1_000);
    HTTP2_STREAMS_MAX = number("listeners.<name>.limits.http2_streams_max", 100, 1, 10_000);
    HTTP2_CONTROL_FRAMES_PER_SECOND_MAX = number("listeners.<name>.limits.http2_control_frames_per_second_max", 1_000, 10, 1_000_000);
    REFUSALS_PER_SECOND_MAX = number("listeners.<name>.limits.refusals_per_second_max", 100, 1, 1_000_000);
    ATTEMPTS_MAX = number("listeners.<name>.routes[].retry.attempts_max", 2, 2, 5);
    RATE_REQUESTS = number("listeners.<name>.routes[].rate_limits[].requests", 1, 1, 1_000_000);
    RATE_BURST = number("listeners.<name>.routes[].rate_limits[].burst", 1, 1, 1_000_000);
    DELAY_PERCENT = number("listeners.<name>.routes[].faults.delay.percent", 1, 1, 100);
    ABORT_PERCENT = number("listeners.<name>.routes[].faults.abort.percent", 1, 1, 100);
    ABORT_STATUS = number("listeners.<name>.routes[].faults.abort.status", 503, 400, 599);
    RATE_KEYS_MAX = number("listeners.<name>.routes[].rate_limits[].keys_max", 10_000, 1, 1_000_000);
    MIRROR_PERCENT = number("listeners.<name>.routes[].mirror.percent", 100, 1, 100);
    MIRROR_REQUESTS_MAX = number("listeners.<name>.routes[].mirror.requests_max", 64, 1, 10_000);
    SPLIT_WEIGHT = number("listeners.<name>.routes[].split[].weight", 1, 0, 1_000_000);
    UPSTREAM_CONNECTIONS_MAX = number("upstreams.<name>.connections_max", 1_024, 1, 1_000_000);
    UPSTREAM_PENDING_MAX = number("upstreams.<name>.pending_max", 1_024, 0, 1_000_000);
    UPSTREAM_REQUESTS_MAX = number("upstreams.<name>.requests_max", 1_024, 1, 1_000_000);
    CONCURRENCY_MIN = number("upstreams.<name>.adaptive_concurrency.concurrency_min", 4, 1, 1_000_000);
    TOLERANCE_PERCENT = number("upstreams.<name>.adaptive_concurrency.tolerance_percent", 25, 1, 1_000);
    WINDOW_REQUESTS_MIN = number("upstreams.<name>.adaptive_concurrency.requests_min", 25, 1, 10_000);
    RETRY_PERCENT = number("upstreams.<name>.retry_budget.percent", 20, 0, 100);
    CONSECUTIVE_FAILURES = number("upstreams.<name>.outlier.consecutive_failures", 5, 1, 1_000);
    OUTLIER_REQUESTS_MIN = number("upstreams.<name>.outlier.requests_min", 100, 1, 1_000_000);
    EJECTED_PERCENT_MAX = number("upstreams.<name>.outlier.ejected_percent_max", 50, 0, 100);
    HEALTHY_AFTER = number("upstreams.<name>.health.healthy_after", 3, 1, 100);
    UNHEALTHY_AFTER = number("upstreams.<name>.health.unhealthy_after", 3, 1, 100);
    RETRIES_PER_SECOND = number("upstreams.<name>.retry_budget.per_second", 10, 0, 1_000_000);
} }

/// What `stream_idle_timeout` is where it is not written, on a `tcp` listener.
pub(super) const TCP_IDLE_TIMEOUT: Rule<Duration> =
    duration("listeners.<name>.routes[].stream_idle_timeout", HOUR, SECOND, DAY);

/// Most worker threads.
pub(super) const WORKERS_MAX: u64 = 64;
/// Share of new traces that are sampled.
pub(super) const SAMPLE_RATIO: f64 = 0.01;
/// Where bundles are kept.
pub(super) const LAST_GOOD_DIRECTORY: &str = "/var/lib/postern/policy";
/// Where bundles of other trust domains are kept.
pub(super) const FEDERATION_DIRECTORY: &str = "/var/lib/postern/federation";
/// `service.name` of the spans.
pub(super) const SERVICE_NAME: &str = "postern";

/// Most entries of any list, most names of any map.
pub(super) const ENTRIES_MAX: usize = 1_000;
/// Longest name, in bytes.
pub(super) const NAME_BYTES_MAX: usize = 64;

impl Rule<Duration> {
    /// The range for people.
    pub(super) fn range_text(&self) -> String {
        format!("{} to {}", units::duration_text(self.min), units::duration_text(self.max))
    }
}

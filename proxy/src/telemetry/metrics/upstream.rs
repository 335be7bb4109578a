//! What an upstream counts.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use prometheus_client::encoding::DescriptorEncoder;

use super::histogram::DurationHistogram;
use super::lock;
use super::series::Family;
use crate::traffic::adaptive_concurrency::AdaptiveConcurrency;
use crate::traffic::balance::Balancer;
use crate::traffic::circuit_breaker::{CircuitBreaker, Gauge};
use crate::traffic::endpoint::State;
use crate::traffic::retry_budget::RetryBudget;

/// The metrics of one upstream. Every method is a few atomic additions.
#[derive(Debug, Default)]
pub struct UpstreamMetrics {
    /// By the declaration order of [`UpstreamResult`].
    attempts: [AtomicU64; UpstreamResult::ALL.len()],
    connect_failures: AtomicU64,
    retries: AtomicU64,
    /// What is in use of it, and what its retries may cost; set where a route leads there.
    watched: Mutex<Option<Watched>>,
    /// By what its requests are bounded besides, where that is so.
    adaptive: Mutex<Option<Arc<AdaptiveConcurrency>>>,
    /// By the declaration order of [`Ejection`].
    ejections: [AtomicU64; 2],
    /// Those that succeeded and those that failed.
    health_checks: [AtomicU64; 2],
    /// Those that succeeded and those that failed.
    name_refreshes: [AtomicU64; 2],
    /// Copies, by the declaration order of [`MirrorResult`].
    mirrored: [AtomicU64; 5],
    duration: DurationHistogram,
}

/// What lives beside the metrics of an upstream and is shown with them.
#[derive(Debug)]
struct Watched {
    breaker: Arc<CircuitBreaker>,
    retry_budget: Arc<RetryBudget>,
    balancer: Arc<Balancer>,
}

/// Why an endpoint was ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ejection {
    /// It failed so often in a row.
    Consecutive,
    /// It succeeded less often than the others.
    SuccessRate,
}

/// What became of a copy of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MirrorResult {
    /// It was answered, whatever the status.
    Answered,
    /// It could not be sent, or was not answered.
    Failed,
    /// There was no answer in time.
    Timeout,
    /// It was not made: as many as may be were under way.
    Overflow,
    /// It was not made: the body was too long to be kept, not whole, or ended in trailers.
    Body,
}

/// How one attempt at an upstream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamResult {
    /// A response with a status below 400.
    Success,
    /// A response with a status from 400 to 499.
    ClientError,
    /// A response with a status of 500 or more.
    ServerError,
    /// No response: connect failure, timeout, broken protocol.
    NoResponse,
}

impl UpstreamResult {
    /// Every value, in the order of declaration.
    pub const ALL: [Self; 4] = [Self::Success, Self::ClientError, Self::ServerError, Self::NoResponse];

    /// The result that a response with `status` is.
    #[must_use]
    pub const fn of_status(status: u16) -> Self {
        match status {
            0..400 => Self::Success,
            400..500 => Self::ClientError,
            500.. => Self::ServerError,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::ClientError => "client_error",
            Self::ServerError => "server_error",
            Self::NoResponse => "no_response",
        }
    }
}

impl UpstreamMetrics {
    /// Counts one attempt and how long it took, to the head of the response.
    pub fn attempt(&self, result: UpstreamResult, duration_ns: u64) {
        let [success, client_error, server_error, no_response] = &self.attempts;
        let counter = match result {
            UpstreamResult::Success => success,
            UpstreamResult::ClientError => client_error,
            UpstreamResult::ServerError => server_error,
            UpstreamResult::NoResponse => no_response,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        self.duration.record_ns(duration_ns);
    }

    /// Counts a connection that could not be made.
    pub fn connect_failed(&self) {
        self.connect_failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an attempt that repeats an earlier one.
    pub fn retried(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    /// Shows how much of the upstream is in use, and how often that was too much. For start and reload.
    pub fn watch(
        &self,
        breaker: &Arc<CircuitBreaker>,
        retry_budget: &Arc<RetryBudget>,
        balancer: &Arc<Balancer>,
    ) {
        *lock(&self.watched) = Some(Watched {
            breaker: Arc::clone(breaker),
            retry_budget: Arc::clone(retry_budget),
            balancer: Arc::clone(balancer),
        });
    }

    /// Shows the limit that is found out, where one is. For start and reload.
    pub fn watch_adaptive(&self, adaptive: Option<&Arc<AdaptiveConcurrency>>) {
        *lock(&self.adaptive) = adaptive.map(Arc::clone);
    }

    /// Counts a copy.
    pub fn mirrored(&self, result: MirrorResult) {
        let [answered, failed, timeout, overflow, body] = &self.mirrored;
        let counter = match result {
            MirrorResult::Answered => answered,
            MirrorResult::Failed => failed,
            MirrorResult::Timeout => timeout,
            MirrorResult::Overflow => overflow,
            MirrorResult::Body => body,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts endpoints that were left out.
    pub fn ejected(&self, why: Ejection, count: usize) {
        let [consecutive, success_rate] = &self.ejections;
        let counter = match why {
            Ejection::Consecutive => consecutive,
            Ejection::SuccessRate => success_rate,
        };
        counter.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// Counts a health check.
    pub fn health_checked(&self, is_well: bool) {
        let [well, ill] = &self.health_checks;
        (if is_well { well } else { ill }).fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a refresh of a name among the endpoints.
    pub fn name_refreshed(&self, is_resolved: bool) {
        let [resolved, failed] = &self.name_refreshes;
        (if is_resolved { resolved } else { failed }).fetch_add(1, Ordering::Relaxed);
    }

    fn gauges(&self) -> Vec<(&'static str, Arc<Gauge>)> {
        let watched = lock(&self.watched);
        let gauges = watched.iter().flat_map(|Watched { breaker, .. }| {
            [
                ("requests", Arc::clone(&breaker.requests)),
                ("pending", Arc::clone(&breaker.pending)),
                ("connections", Arc::clone(&breaker.connections)),
            ]
        });
        gauges.collect()
    }

    fn retries_denied(&self) -> u64 {
        lock(&self.watched).as_ref().map_or(0, |watched| watched.retry_budget.denied())
    }

    fn panics(&self) -> u64 {
        lock(&self.watched).as_ref().map_or(0, |watched| watched.balancer.panics())
    }

    /// How many endpoints are in each state.
    fn endpoints(&self) -> [(&'static str, i64); 3] {
        let (mut available, mut ejected, mut unhealthy) = (0, 0, 0);
        for endpoint in lock(&self.watched).iter().flat_map(|watched| watched.balancer.endpoints()) {
            match endpoint.state() {
                State::Available => available += 1,
                State::Ejected => ejected += 1,
                State::Unhealthy => unhealthy += 1,
            }
        }
        [("available", available), ("ejected", ejected), ("unhealthy", unhealthy)]
    }
}

pub(super) fn encode(
    upstreams: &BTreeMap<Arc<str>, Arc<UpstreamMetrics>>,
    encoder: &mut DescriptorEncoder<'_>,
) -> fmt::Result {
    let each = || upstreams.iter().map(|(name, metrics)| (&**name, &**metrics));
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let attempts = each().flat_map(|(upstream, metrics)| {
        let results = UpstreamResult::ALL.into_iter().zip(&metrics.attempts);
        results.map(move |(result, counter)| {
            ([("upstream", upstream), ("result", result.as_str())], count(counter))
        })
    });
    Family { name: "upstream_requests", help: "Attempts at an upstream, retries included" }
        .counters(encoder, attempts)?;
    Family {
        name: "upstream_request_duration",
        help: "From the first byte of an attempt to the head of its response",
    }
    .seconds(encoder, each().map(|(upstream, m)| ([("upstream", upstream)], &m.duration)))?;
    Family { name: "upstream_connect_failures", help: "Connections to an upstream that could not be made" }
        .counters(encoder, each().map(|(upstream, m)| ([("upstream", upstream)], count(&m.connect_failures))))?;
    Family { name: "upstream_retries", help: "Attempts that repeated an earlier one" }
        .counters(encoder, each().map(|(upstream, m)| ([("upstream", upstream)], count(&m.retries))))?;
    let denied = each().map(|(upstream, metrics)| ([("upstream", upstream)], metrics.retries_denied()));
    Family {
        name: "upstream_retries_denied",
        help: "Attempts that were not made because the retry budget was spent",
    }
    .counters(encoder, denied)?;
    let mirrored = each().flat_map(|(upstream, metrics)| {
        let results =
            ["answered", "failed", "timeout", "overflow", "body"].into_iter().zip(&metrics.mirrored);
        results.map(move |(result, counter)| ([("upstream", upstream), ("result", result)], count(counter)))
    });
    Family { name: "upstream_mirrored", help: "Copies of requests for an upstream, by what became of them" }
        .counters(encoder, mirrored)?;
    bounds(each(), encoder)?;
    endpoints(each(), encoder)
}

/// What is known of each upstream's endpoints.
fn endpoints<'a>(
    each: impl Iterator<Item = (&'a str, &'a UpstreamMetrics)> + Clone,
    encoder: &mut DescriptorEncoder<'_>,
) -> fmt::Result {
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let states = each.clone().flat_map(|(upstream, metrics)| {
        let states = metrics.endpoints().into_iter();
        states.map(move |(state, count)| ([("upstream", upstream), ("state", state)], count))
    });
    Family { name: "upstream_endpoints", help: "Endpoints of an upstream, by whether they are used" }
        .gauges(encoder, states)?;
    let ejections = each.clone().flat_map(|(upstream, metrics)| {
        let reasons = ["consecutive", "success_rate"].into_iter().zip(&metrics.ejections);
        reasons.map(move |(reason, counter)| ([("upstream", upstream), ("reason", reason)], count(counter)))
    });
    Family { name: "upstream_ejections", help: "Endpoints that were left out for their failures" }
        .counters(encoder, ejections)?;
    let checks = each.clone().flat_map(|(upstream, metrics)| {
        let results = ["success", "failure"].into_iter().zip(&metrics.health_checks);
        results.map(move |(result, counter)| ([("upstream", upstream), ("result", result)], count(counter)))
    });
    Family { name: "upstream_health_checks", help: "Active health checks of an upstream's endpoints" }
        .counters(encoder, checks)?;
    let refreshes = each.clone().flat_map(|(upstream, metrics)| {
        let results = ["success", "failure"].into_iter().zip(&metrics.name_refreshes);
        results.map(move |(result, counter)| ([("upstream", upstream), ("result", result)], count(counter)))
    });
    Family { name: "upstream_dns_refreshes", help: "Refreshes of the names among an upstream's endpoints" }
        .counters(encoder, refreshes)?;
    Family { name: "upstream_panics", help: "Choices among all endpoints because none was left" }
        .counters(encoder, each.map(|(upstream, metrics)| ([("upstream", upstream)], metrics.panics())))
}

/// What is in use of each upstream, and how often it was as much as it may be.
fn bounds<'a>(
    each: impl Iterator<Item = (&'a str, &'a UpstreamMetrics)> + Clone,
    encoder: &mut DescriptorEncoder<'_>,
) -> fmt::Result {
    let each_adaptive = each.clone();
    let gauges: Vec<_> = each.map(|(upstream, metrics)| (upstream, metrics.gauges())).collect();
    let active = |what: &'static str| {
        let all =
            gauges.iter().flat_map(|(upstream, gauges)| gauges.iter().map(move |gauge| (*upstream, gauge)));
        all.filter(move |(_, (name, _))| *name == what).map(|(upstream, (_, gauge))| {
            ([("upstream", upstream)], i64::try_from(gauge.taken()).unwrap_or(i64::MAX))
        })
    };
    Family { name: "upstream_connections_active", help: "Open connections to an upstream" }
        .gauges(encoder, active("connections"))?;
    Family { name: "upstream_requests_active", help: "Requests that an upstream has in hand" }
        .gauges(encoder, active("requests"))?;
    Family { name: "upstream_requests_pending", help: "Requests that wait for a connection to an upstream" }
        .gauges(encoder, active("pending"))?;
    let limits = each_adaptive.filter_map(|(upstream, metrics)| {
        let limit = lock(&metrics.adaptive).as_ref()?.limit();
        Some(([("upstream", upstream)], i64::try_from(limit).unwrap_or(i64::MAX)))
    });
    Family {
        name: "upstream_concurrency_limit",
        help: "Requests that an upstream may have in hand, as found out by how long it takes",
    }
    .gauges(encoder, limits)?;
    let refused = gauges.iter().flat_map(|(upstream, gauges)| {
        gauges.iter().map(move |(what, gauge)| ([("upstream", *upstream), ("limit", *what)], gauge.refused()))
    });
    Family {
        name: "upstream_overflows",
        help: "Requests that were refused because an upstream's limit was reached",
    }
    .counters(encoder, refused)
}

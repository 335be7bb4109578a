//! Step 6: which route takes a request. Routes are tried in the order in which they are written.
mod names;
mod upstream;

use self::names::Resolved;
pub use self::names::{Located, Named};
use crate::config;
use crate::config::{
    AnswerConfig, AuditMode, Config, DestinationRange, Enforcement, Explain, ForwardedHeaders, HashKey,
    HeaderMatch, HealthConfig, IdentityHeaders, ListenerConfig, RetryConfig, RewriteConfig, RouteConfig,
    TokenRule, Upgrade, UpstreamConfig, UpstreamProtocol,
};
use crate::telemetry::Metrics;
use crate::telemetry::metrics::{Ejection, UpstreamMetrics};
use crate::traffic::adaptive_concurrency::AdaptiveConcurrency;
use crate::traffic::balance::Balancer;
use crate::traffic::circuit_breaker::CircuitBreaker;
use crate::traffic::endpoint::Load;
use crate::traffic::faults::Faults;
use crate::traffic::global_rate_limit::GlobalRateLimit;
use crate::traffic::mirror::Mirror;
use crate::traffic::outlier::{Change, Moment, Outcome, Outliers};
use crate::traffic::rate_limit::RateLimits;
use crate::traffic::retry_budget::RetryBudget;
use crate::traffic::split::Split;
use crate::upstream::{Security, Target};
use crate::worker::Random;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// The routes of every listener.
#[derive(Debug, Default)]
pub struct Routing {
    listeners: Vec<(String, Vec<Arc<Route>>)>,
    /// What the names among the endpoints led to last.
    resolved: Resolved,
}

/// What of a request a route is found by.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// `host` or `host:port`.
    pub authority: &'a str,
    /// The canonical path.
    pub path: &'a str,
    /// The method.
    pub method: &'a str,
    /// The headers that go on.
    pub headers: &'a HeaderMap,
    /// Where the connection was going.
    pub destination: Option<SocketAddr>,
}

/// What the routes of a listener may take of a connection, by where it was going.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Choices {
    /// Its requests.
    pub requests: bool,
    /// All of it, as a stream.
    pub streams: bool,
    /// Which route takes it as a stream is a question of the server name.
    pub names: bool,
}

/// One route, ready to be matched and followed.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its name in records, metrics and policy.
    pub name: Arc<str>,
    authorities: Vec<AuthorityPattern>,
    destinations: Vec<DestinationRange>,
    /// The path prefix that it takes.
    pub path_prefix: Arc<str>,
    is_exact: bool,
    methods: Vec<String>,
    headers: Vec<(HeaderName, HeaderMatch)>,
    /// What is changed on the way to the upstream and back.
    pub rewrite: RewriteConfig,
    /// What a request may switch its connection to.
    pub upgrade: Upgrade,
    /// Where it leads. Where it leads to several upstreams, to the first of them, until one is chosen.
    pub leads: Leads,
    /// The route with each of several upstreams; a route of these has none.
    split: Option<Split<Arc<Route>>>,
    /// Whether a deny stops the request.
    pub enforcement: Enforcement,
    /// From the permit to the head of the response.
    pub timeout: Duration,
    /// How long a body may stand still.
    pub stream_idle_timeout: Duration,
    /// Further attempts.
    pub retry: RetryConfig,
    /// How often it may be asked.
    pub rates: Rates,
    /// Where copies go, and of what.
    pub mirror: Option<Mirror>,
    /// What goes wrong on purpose.
    pub faults: Option<Faults>,
    /// When its entries count as recorded.
    pub audit_mode: AuditMode,
    /// What a denied caller is told.
    pub explain: Explain,
    /// What a bearer token means here.
    pub tokens: TokenRule,
    /// By which headers the upstream is told who calls.
    pub identity_headers: IdentityHeaders,
    /// What the upstream is told of the way that a request came.
    pub forwarded_headers: ForwardedHeaders,
}

/// Where a route leads.
#[derive(Clone, Debug)]
pub enum Leads {
    /// To an upstream.
    Upstream(Arc<Upstream>),
    /// Nowhere: it is answered here.
    Answer(Arc<AnswerConfig>),
}

/// How often a route may be asked. A clone counts together with what it is one of.
#[derive(Clone, Debug)]
pub struct Rates {
    /// By what this sidecar counts.
    pub local: RateLimits,
    /// By what a service counts for many.
    pub global: Option<GlobalRateLimit>,
}

/// One upstream with its endpoints.
#[derive(Debug)]
pub struct Upstream {
    /// Its name.
    pub name: Arc<str>,
    config: Arc<UpstreamConfig>,
    /// Its endpoints; empty only where all of them are names that have never been resolved.
    pub targets: Vec<Target>,
    /// What its endpoint is but for the address, where that is wherever each connection was going.
    pub original: Option<Target>,
    /// What its endpoints have to prove: once for each name that is asked for.
    securities: Vec<Arc<Security>>,
    /// The SPIFFE ID that it has to prove, where it is one.
    pub principal: Option<Arc<str>>,
    /// How one of them is chosen, by their numbers.
    pub balancer: Arc<Balancer>,
    /// By what, where it is by a key.
    pub hash_key: Option<HashKey>,
    /// When one is left out for its failures.
    pub outliers: Arc<Outliers>,
    /// How they are asked for their health.
    pub health: Option<HealthConfig>,
    /// How much of it may be in use at one time.
    pub breaker: Arc<CircuitBreaker>,
    /// By what its requests in hand are bounded besides.
    pub adaptive: Option<Arc<AdaptiveConcurrency>>,
    /// How many further attempts it may be made to bear.
    pub retry_budget: Arc<RetryBudget>,
    /// What it counts.
    pub metrics: Arc<UpstreamMetrics>,
}

#[derive(Clone, Debug)]
enum AuthorityPattern {
    Host(String),
    HostAndPort(String),
    OneLabelBefore(String),
}

impl AuthorityPattern {
    fn new(written: &str) -> Self {
        if let Some(suffix) = written.strip_prefix("*.") {
            return Self::OneLabelBefore(suffix.to_owned());
        }
        match split_port(written) {
            (_, Some(_)) => Self::HostAndPort(written.to_owned()),
            (host, None) => Self::Host(host.to_owned()),
        }
    }

    fn matches(&self, authority: &str) -> bool {
        let (host, _) = split_port(authority);
        match self {
            Self::Host(name) => name == host,
            Self::HostAndPort(name) => name == authority,
            Self::OneLabelBefore(suffix) => host
                .strip_suffix(suffix.as_str())
                .and_then(|label| label.strip_suffix('.'))
                .is_some_and(|label| !label.is_empty() && !label.contains('.')),
        }
    }
}

/// The host and, where one is written, the port. An IPv6 literal keeps its brackets.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        Some(_) | None => (authority, None),
    }
}

impl Routing {
    /// Prepares the routes of a configuration. An upstream keeps its connection count across reloads by
    /// being found in `previous`.
    pub fn new(config: &Config, previous: Option<&Routing>, metrics: &Metrics) -> Self {
        let resolved = previous.map(|previous| previous.resolved.kept(config)).unwrap_or_default();
        let upstream = |config: &UpstreamConfig| {
            let kept = previous.and_then(|routing| routing.upstream(&config.name));
            Upstream::new(Arc::new(config.clone()), kept.map(|kept| &**kept), &resolved, metrics)
        };
        let upstreams: Vec<_> = config.upstreams.iter().map(upstream).collect();
        let find = |name: &str| upstreams.iter().find(|upstream| &*upstream.name == name).cloned();
        let routes = |listener: &ListenerConfig| {
            let route = |route: &RouteConfig| {
                let kept = previous.and_then(|routing| routing.route(&listener.name, &route.name));
                let kept_mirror = kept.and_then(|route| route.mirror.as_ref());
                let kept = kept.map(|route| &route.rates);
                let count = |rule: &str| metrics.rate_limit([&listener.name, &route.name, rule]);
                let rates = Rates {
                    local: RateLimits::new(&route.rate_limits, kept.map(|kept| &kept.local), count),
                    global: route.global_rate_limit.as_ref().and_then(|config| {
                        let kept = kept.and_then(|kept| kept.global.as_ref());
                        let checks = metrics.rate_limit_service(&config.service);
                        Some(GlobalRateLimit::new(config, kept, (find(&config.service)?, checks), count))
                    }),
                };
                let mirror = match &route.mirror {
                    Some(config) => Some(Mirror::new(config, kept_mirror, find(&config.upstream)?)),
                    None => None,
                };
                let faults = route
                    .faults
                    .map(|config| Faults::new(config, metrics.faults([&listener.name, &route.name])));
                let with = |leads| {
                    let (mirror, faults) = (mirror.clone(), faults.clone());
                    Route { mirror, faults, ..Route::new(route, leads, rates.clone()) }
                };
                led(&route.leads, find, with).map(Arc::new)
            };
            listener.routes.iter().filter_map(route).collect()
        };
        let listeners = config.listeners.iter().map(|l| (l.name.clone(), routes(l))).collect();
        Self { listeners, resolved }
    }

    /// The first route of the listener that takes the request.
    pub fn find(&self, listener: &str, head: &Head<'_>) -> Option<&Arc<Route>> {
        let (_, routes) = self.listeners.iter().find(|(name, _)| name == listener)?;
        routes.iter().find(|route| !route.takes_streams() && route.matches(head))
    }

    /// Whether a request to the listener may become a WebSocket.
    pub(crate) fn has_websocket(&self, listener: &str) -> bool {
        let routes =
            self.listeners.iter().filter(|(name, _)| name == listener).flat_map(|(_, routes)| routes);
        routes.into_iter().any(|route| route.upgrade == Upgrade::WebSocket)
    }

    /// What the routes of the listener may take of a connection that was going there.
    pub fn choices(&self, listener: &str, destination: Option<SocketAddr>) -> Choices {
        let listener = self.listeners.iter().find(|(name, _)| name == listener);
        let routes = listener.into_iter().flat_map(|(_, routes)| routes);
        let routes = routes.filter(|route| route.takes_destination(destination));
        routes.fold(Choices::default(), |choices, route| Choices {
            requests: choices.requests || !route.takes_streams(),
            streams: choices.streams || route.takes_streams(),
            names: choices.names || (route.takes_streams() && !route.authorities.is_empty()),
        })
    }

    /// The first route of the listener that takes a raw stream for this server name, which was going there.
    pub fn find_stream(
        &self,
        listener: &str,
        server_name: Option<&str>,
        destination: Option<SocketAddr>,
    ) -> Option<&Arc<Route>> {
        let (_, routes) = self.listeners.iter().find(|(name, _)| name == listener)?;
        let names = |route: &Route| match server_name {
            None => route.authorities.is_empty(),
            Some(name) => {
                let name = name.to_ascii_lowercase();
                route.authorities.is_empty() || route.authorities.iter().any(|pattern| pattern.matches(&name))
            }
        };
        let takes =
            |route: &Route| route.takes_streams() && route.takes_destination(destination) && names(route);
        routes.iter().find(|route| takes(route))
    }

    fn route(&self, listener: &str, name: &str) -> Option<&Arc<Route>> {
        let (_, routes) = self.listeners.iter().find(|(known, _)| known == listener)?;
        routes.iter().find(|route| &*route.name == name)
    }

    /// Every route.
    pub fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.listeners.iter().flat_map(|(_, routes)| routes)
    }

    fn upstream(&self, name: &str) -> Option<&Arc<Upstream>> {
        self.upstreams().find(|upstream| &*upstream.name == name)
    }

    /// How many routes only observe.
    pub fn observing(&self) -> usize {
        let routes = self.listeners.iter().flat_map(|(_, routes)| routes);
        routes.filter(|route| route.enforcement == Enforcement::Observe).count()
    }

    /// Every upstream that a route leads to or asks.
    pub fn upstreams(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        self.routes().flat_map(|route| {
            let asked = route.rates.global.as_ref().map(|global| &global.service);
            let mirrored = route.mirror.as_ref().map(|mirror| &mirror.upstream);
            let sides = route.split.iter().flat_map(Split::sides).filter_map(|side| side.upstream());
            route.upstream().into_iter().chain(sides).chain(asked).chain(mirrored)
        })
    }
}

/// The route with what it leads to; `None` where that is not there.
fn led(
    leads: &config::Leads,
    find: impl Fn(&str) -> Option<Arc<Upstream>>,
    with: impl Fn(Leads) -> Route,
) -> Option<Route> {
    match leads {
        config::Leads::Upstream(name) => Some(with(Leads::Upstream(find(name)?))),
        config::Leads::Answer(answer) => Some(with(Leads::Answer(Arc::new(answer.clone())))),
        config::Leads::Split(split) => {
            let side = |(name, _): &(String, u64)| Some(Arc::new(with(Leads::Upstream(find(name)?))));
            let sides: Vec<_> = split.sides.iter().map(side).collect::<Option<_>>()?;
            let first = Route::clone(sides.first()?);
            Some(Route { split: Some(Split::new(split, sides)), ..first })
        }
    }
}

impl Rates {
    /// Forgets some of what has refilled.
    pub(crate) fn sweep(&self, now_ns: u64) {
        self.local.sweep(now_ns);
        if let Some(local) = self.global.as_ref().and_then(GlobalRateLimit::fallback) {
            local.sweep(now_ns);
        }
    }
}

impl Upstream {
    /// Whether it is spoken to in HTTP/2.
    pub(crate) fn speaks_http2(&self) -> bool {
        matches!(self.config.protocol, UpstreamProtocol::H2 | UpstreamProtocol::H2c)
    }

    fn takes_streams(&self) -> bool {
        self.config.protocol == UpstreamProtocol::Tcp
    }

    /// Takes an attempt's outcome and duration into account, and says what becomes of its endpoint.
    pub(crate) fn note(&self, load: &mut Load, (outcome, took_ns): (Outcome, u64), mut moment: Moment<'_>) {
        load.note(outcome, took_ns, moment.now_ns);
        let all = self.balancer.endpoints();
        let change = self.outliers.note(load, outcome, &mut moment, all);
        match change {
            Change::None => {}
            Change::Ejected => {
                let address = load.address();
                self.metrics.ejected(Ejection::Consecutive, 1);
                tracing::warn!(upstream = %self.name, endpoint = %address, "an endpoint fails again and again: it is left out for a while");
            }
            Change::Returned => {
                let address = load.address();
                tracing::info!(upstream = %self.name, endpoint = %address, "an endpoint that was left out answers again");
            }
        }
        let ejected = self.outliers.look(&mut moment, all);
        if ejected > 0 {
            self.metrics.ejected(Ejection::SuccessRate, ejected);
            tracing::warn!(upstream = %self.name, ejected, "endpoints succeed less often than the others: they are left out for a while");
        }
    }
}

impl Route {
    fn new(config: &RouteConfig, leads: Leads, rates: Rates) -> Self {
        Self {
            name: config.name.as_str().into(),
            authorities: config
                .matches
                .authorities
                .iter()
                .map(|written| AuthorityPattern::new(written))
                .collect(),
            destinations: config.matches.destinations.clone(),
            path_prefix: config.matches.path_prefix.as_str().into(),
            is_exact: config.matches.is_exact,
            methods: config.matches.methods.clone(),
            headers: config.matches.headers.clone(),
            rewrite: config.rewrite.clone(),
            upgrade: config.upgrade,
            leads,
            split: None,
            enforcement: config.enforcement,
            timeout: config.timeout,
            stream_idle_timeout: config.stream_idle_timeout,
            retry: config.retry.clone(),
            rates,
            mirror: None,
            faults: None,
            audit_mode: config.audit_mode,
            explain: config.explain,
            tokens: config.tokens,
            identity_headers: config.identity_headers.clone(),
            forwarded_headers: config.forwarded_headers,
        }
    }

    fn matches(&self, head: &Head<'_>) -> bool {
        let Head { authority, path, method, headers, destination } = *head;
        // CONNECT has no path, and its routes are not for anything else.
        let path = if method == "CONNECT" { "/" } else { path };
        (self.upgrade == Upgrade::Connect) == (method == "CONNECT")
            && (self.methods.is_empty() || self.methods.iter().any(|allowed| allowed == method))
            && (if self.is_exact { *self.path_prefix == *path } else { under(&self.path_prefix, path) })
            && self.headers.iter().all(|(name, needed)| holds(needed, headers.get(name)))
            && (self.authorities.is_empty()
                || self.authorities.iter().any(|pattern| pattern.matches(authority)))
            && self.takes_destination(destination)
    }

    fn takes_destination(&self, destination: Option<SocketAddr>) -> bool {
        self.destinations.is_empty()
            || destination.is_some_and(|to| self.destinations.iter().any(|range| range.contains(to)))
    }

    /// Whether it is for raw streams: what its upstream speaks says so.
    fn takes_streams(&self) -> bool {
        // By CONNECT comes a request, whatever goes on.
        self.upstream().is_some_and(|upstream| upstream.takes_streams()) && self.upgrade != Upgrade::Connect
    }

    /// The route with the one upstream that a request or stream of this caller goes to.
    pub(crate) fn chosen<'a>(
        self: &'a Arc<Self>,
        by: (Option<&str>, &HeaderMap),
        random: &RefCell<Random>,
    ) -> &'a Arc<Self> {
        match &self.split {
            None => self,
            Some(split) => split.choose(by, random.borrow_mut().next_u64()).unwrap_or(self),
        }
    }

    /// Where it leads, unless it is answered here.
    pub fn upstream(&self) -> Option<&Arc<Upstream>> {
        match &self.leads {
            Leads::Upstream(upstream) => Some(upstream),
            Leads::Answer(_) => None,
        }
    }

    /// The name of that, or none.
    pub(crate) fn upstream_name(&self) -> &str {
        self.upstream().map_or("", |upstream| &upstream.name)
    }
}

/// Whether a header is what it must be.
fn holds(needed: &HeaderMatch, value: Option<&HeaderValue>) -> bool {
    match needed {
        HeaderMatch::Exact(text) => value.is_some_and(|value| value.as_bytes() == text.as_bytes()),
        HeaderMatch::Prefix(text) => value.is_some_and(|value| value.as_bytes().starts_with(text.as_bytes())),
        HeaderMatch::Present => value.is_some(),
        HeaderMatch::Absent => value.is_none(),
    }
}

/// Whether `path` is `prefix` or lies below it; `/a` does not take `/ab`.
fn under(prefix: &str, path: &str) -> bool {
    match path.strip_prefix(prefix) {
        Some(rest) => rest.is_empty() || prefix.ends_with('/') || rest.starts_with('/'),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, authority: &str, matches: bool) {
        assert_eq!(AuthorityPattern::new(pattern).matches(authority), matches, "{pattern} on {authority}");
    }

    #[test]
    fn an_authority_matches_by_host_unless_a_port_is_written() {
        check("a.test", "a.test", true);
        check("a.test", "a.test:8080", true);
        check("a.test:8080", "a.test", false);
        check("a.test:8080", "a.test:8080", true);
        check("[::1]", "[::1]:80", true);
        check("[::1]:80", "[::1]", false);
    }

    #[test]
    fn a_wildcard_stands_for_exactly_one_label() {
        check("*.a.test", "b.a.test", true);
        check("*.a.test", "c.b.a.test", false);
        check("*.a.test", "a.test", false);
        check("*.a.test", ".a.test", false);
    }

    #[test]
    fn a_prefix_ends_at_a_segment() {
        let check = |prefix, path, matches| assert_eq!(under(prefix, path), matches, "{prefix} on {path}");
        check("/", "/anything", true);
        check("/a", "/a", true);
        check("/a", "/a/b", true);
        check("/a", "/ab", false);
        check("/a/", "/a/b", true);
        check("/a/", "/a", false);
    }
}

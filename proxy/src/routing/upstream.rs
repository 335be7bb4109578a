//! How an upstream is put together: at the start, at a reload, and when a name among its endpoints leads elsewhere.
use super::Upstream;
use super::names::Resolved;
use crate::config::{BalanceConfig, EndpointConfig, HashKey, UpstreamConfig, UpstreamProtocol, UpstreamTls};
use crate::telemetry::Metrics;
use crate::traffic::adaptive_concurrency::AdaptiveConcurrency;
use crate::traffic::balance::Balancer;
use crate::traffic::circuit_breaker::CircuitBreaker;
use crate::traffic::endpoint::Endpoint;
use crate::traffic::outlier::Outliers;
use crate::traffic::retry_budget::RetryBudget;
use crate::traffic::share::Share;
use crate::upstream::{Protocol, Security, Target};
use postern_audit::EndpointAddress;
use postern_identity::tls::ExpectedPeers;
use rustls_pki_types::ServerName;
use std::net::Ipv6Addr;
use std::sync::Arc;

/// An address with its share, and what has to be proven there.
type Place = ((EndpointAddress, Share), Option<Arc<Security>>);

impl Upstream {
    /// An upstream with its endpoints, and the choice among just those: one value, which is never changed. What is known
    /// of `kept`, the same upstream as it was, stays known.
    pub(super) fn new(
        config: Arc<UpstreamConfig>,
        kept: Option<&Self>,
        resolved: &Resolved,
        metrics: &Metrics,
    ) -> Arc<Self> {
        // What is in use stays counted, and what was spent spent, whatever the new bounds are.
        let breaker = kept.map(|upstream| Arc::clone(&upstream.breaker));
        let breaker = breaker.unwrap_or_else(|| Arc::new(CircuitBreaker::new(&config.limits)));
        breaker.bound(&config.limits);
        let adaptive = adaptive(&config, kept, &breaker);
        let retry_budget = kept.map(|upstream| Arc::clone(&upstream.retry_budget));
        let retry_budget = retry_budget.unwrap_or_else(|| Arc::new(RetryBudget::new(&config.retry_budget)));
        retry_budget.resize(&config.retry_budget);
        let protocol = match config.protocol {
            UpstreamProtocol::Http1 => Protocol::Http1,
            UpstreamProtocol::H2 => Protocol::H2,
            UpstreamProtocol::H2c => Protocol::H2c,
            UpstreamProtocol::Tcp => Protocol::Tcp,
        };
        let (places, securities) = places(&config, kept, resolved);
        // What is known of an endpoint stays known.
        let endpoint = |((address, _), _): &Place| {
            let known = kept.and_then(|upstream| upstream.balancer.endpoint(address));
            known.map_or_else(|| Endpoint::new(address.clone()), Arc::clone)
        };
        let endpoints: Vec<_> = places.iter().map(endpoint).collect();
        if config.health.is_none() {
            endpoints.iter().for_each(|endpoint| endpoint.health.forget());
        }
        let is_original = config.endpoints.contains(&EndpointConfig::OriginalDestination);
        let uids: Option<Arc<[u32]>> = config.uids.as_deref().map(Arc::from);
        let target = |((endpoint, _), security): Place| Target {
            endpoint,
            uids: uids.clone(),
            proxy_protocol: config.proxy_protocol,
            announced: None,
            protocol,
            security,
            connect_timeout: config.connect_timeout,
            idle_timeout: config.idle_timeout,
            is_original,
            breaker: Arc::clone(&breaker),
        };
        let unknown = EndpointAddress::from((Ipv6Addr::UNSPECIFIED, 0));
        let original =
            is_original.then(|| target(((unknown, Share::default()), securities.first().cloned())));
        let shares = places.iter().map(|((_, share), _)| *share).collect();
        let mut balancer = Balancer::new(&config.balance, endpoints, shares);
        let targets = places.into_iter().map(&target).collect();
        if let Some(kept) = kept {
            balancer.follow(&kept.balancer);
        }
        let balancer = Arc::new(balancer);
        let outliers = kept.filter(|kept| kept.config.outlier == config.outlier);
        let outliers = outliers.map(|kept| Arc::clone(&kept.outliers));
        let metrics = metrics.upstream(&config.name);
        metrics.watch(&breaker, &retry_budget, &balancer);
        metrics.watch_adaptive(adaptive.as_ref());
        Arc::new(Self {
            name: config.name.as_str().into(),
            targets,
            original,
            securities,
            principal: principal(&config.tls),
            balancer,
            hash_key: hash_key(&config.balance),
            outliers: outliers.unwrap_or_else(|| Arc::new(Outliers::new(config.outlier))),
            health: config.health.clone(),
            breaker,
            adaptive,
            retry_budget,
            metrics,
            config,
        })
    }
}

/// What the choice of an endpoint goes by, where it goes by the request.
fn hash_key(balance: &BalanceConfig) -> Option<HashKey> {
    match balance {
        BalanceConfig::RingHash(key) => Some(key.clone()),
        BalanceConfig::P2cEwma
        | BalanceConfig::LeastRequest
        | BalanceConfig::RoundRobin
        | BalanceConfig::Random => None,
    }
}

/// Goes on from what it has found out, unless it is asked for another way.
fn adaptive(
    config: &UpstreamConfig,
    kept: Option<&Upstream>,
    breaker: &CircuitBreaker,
) -> Option<Arc<AdaptiveConcurrency>> {
    let (kept, limits) = (kept.and_then(|kept| kept.adaptive.as_ref()), &config.limits);
    let config = config.adaptive_concurrency.as_ref();
    if let Some(kept) = kept {
        if config.is_some_and(|config| kept.follows(config)) {
            kept.bound();
            return Some(Arc::clone(kept));
        }
        kept.retire();
        breaker.bound(limits);
    }
    Some(Arc::new(AdaptiveConcurrency::new(*config?, &breaker.requests)))
}

/// The addresses of an upstream, each once, in the order of the configuration; and what is to be proven at any of them.
fn places(
    config: &UpstreamConfig,
    kept: Option<&Upstream>,
    resolved: &Resolved,
) -> (Vec<Place>, Vec<Arc<Security>>) {
    let (mut places, mut securities): (Vec<Place>, Vec<Arc<Security>>) = (Vec::new(), Vec::new());
    for endpoint in &config.endpoints {
        let (addresses, name): (Vec<(EndpointAddress, Share)>, _) = match endpoint {
            EndpointConfig::Address(address) => (vec![((*address).into(), Share::default())], None),
            EndpointConfig::Unix(path) => {
                (vec![(EndpointAddress::Unix(path.clone()), Share::default())], None)
            }
            // Which address it is shows with each connection.
            EndpointConfig::OriginalDestination => (Vec::new(), None),
            EndpointConfig::Name(name) => {
                let places = resolved.of(&config.name, name).iter();
                (places.map(|of| (of.address.into(), of.share)).collect(), Some(name.server_name()))
            }
        };
        let security = security(&config.tls, name).map(|security| {
            // Connections outlive what changes nothing of what has to be proven.
            let known = securities.iter().chain(kept.iter().flat_map(|kept| &kept.securities));
            known.clone().find(|known| ***known == security).map_or_else(|| Arc::new(security), Arc::clone)
        });
        if let Some(security) = &security
            && !securities.iter().any(|known| Arc::ptr_eq(known, security))
        {
            securities.push(Arc::clone(security));
        }
        for place in addresses {
            if places.iter().all(|((known, _), _)| *known != place.0) {
                places.push((place, security.clone()));
            }
        }
    }
    (places, securities)
}

/// Whom a request that goes there is for, where that is one.
fn principal(config: &UpstreamTls) -> Option<Arc<str>> {
    match config {
        UpstreamTls::Mutual { spiffe_ids, trust_domains, .. } => match spiffe_ids.as_slice() {
            [only] if trust_domains.is_empty() => Some(only.as_str().into()),
            _ => None,
        },
        UpstreamTls::Plaintext => None,
    }
}

/// What has to be proven at an endpoint, which may have a name.
fn security(config: &UpstreamTls, name: Option<&str>) -> Option<Security> {
    let UpstreamTls::Mutual { spiffe_ids, trust_domains, server_name } = config else { return None };
    // The configuration names somebody, and its server name is one.
    let expected = ExpectedPeers::new(spiffe_ids.clone(), trust_domains.clone()).ok()?;
    let server_name = server_name.as_deref().or(name);
    let server_name = server_name.and_then(|name| ServerName::try_from(name.to_owned()).ok());
    Some(Security { expected, server_name })
}

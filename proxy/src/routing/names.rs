//! Endpoints that are names: what they led to last, and how routing changes when they lead elsewhere.
use super::{Leads, Route, Routing, Upstream};
use crate::config::{Config, EndpointConfig, NamedEndpoint};
use crate::telemetry::Metrics;
use crate::traffic::share::Share;
use crate::traffic::split::Split;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

/// A name among the endpoints of an upstream.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Named {
    /// The upstream.
    pub upstream: Arc<str>,
    /// The name.
    pub endpoint: NamedEndpoint,
}

/// Where a name leads, one of several places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Located {
    /// There.
    pub address: SocketAddr,
    /// How much it is to get.
    pub share: Share,
}

impl From<SocketAddr> for Located {
    fn from(address: SocketAddr) -> Self {
        Self { address, share: Share::default() }
    }
}

/// The places that are in force for each name; none for one that was never resolved.
#[derive(Clone, Debug, Default)]
pub(super) struct Resolved(BTreeMap<Named, Arc<[Located]>>);

impl Resolved {
    /// What stays in force under this configuration.
    pub(super) fn kept(&self, config: &Config) -> Self {
        let stays = |named: &Named| {
            let upstream = config.upstreams.iter().find(|upstream| *upstream.name == *named.upstream);
            upstream.is_some_and(|upstream| names(&upstream.endpoints).any(|name| *name == named.endpoint))
        };
        Self(
            self.0
                .iter()
                .filter(|(named, _)| stays(named))
                .map(|(k, v)| (k.clone(), Arc::clone(v)))
                .collect(),
        )
    }

    /// The places of a name.
    pub(super) fn of(&self, upstream: &str, endpoint: &NamedEndpoint) -> &[Located] {
        let named = Named { upstream: upstream.into(), endpoint: endpoint.clone() };
        self.0.get(&named).map_or(&[], |places| places)
    }
}

fn names(endpoints: &[EndpointConfig]) -> impl Iterator<Item = &NamedEndpoint> {
    endpoints.iter().filter_map(|endpoint| match endpoint {
        EndpointConfig::Name(name) => Some(name),
        EndpointConfig::Address(_) | EndpointConfig::Unix(_) | EndpointConfig::OriginalDestination => None,
    })
}

impl Routing {
    /// The names that have to be resolved: those of upstreams that a route leads to, in order, each once.
    pub fn names(&self) -> Vec<Named> {
        let of = |upstream: &Arc<Upstream>| -> Vec<Named> {
            let named = |endpoint: &NamedEndpoint| Named {
                upstream: Arc::clone(&upstream.name),
                endpoint: endpoint.clone(),
            };
            names(&upstream.config.endpoints).map(named).collect()
        };
        let mut all: Vec<Named> = self.upstreams().flat_map(of).collect();
        all.sort();
        all.dedup();
        all
    }

    /// The same with other places for a name. `None` where nothing changes: it leads there already, or nobody asks for
    /// it any more.
    pub fn with_places(&self, named: &Named, places: &[Located], metrics: &Metrics) -> Option<Self> {
        let before = self.upstream(&named.upstream)?;
        let is_wanted = names(&before.config.endpoints).any(|name| *name == named.endpoint);
        if !is_wanted || self.resolved.of(&named.upstream, &named.endpoint) == places {
            return None;
        }
        let mut resolved = self.resolved.clone();
        resolved.0.insert(named.clone(), places.into());
        let after = Upstream::new(Arc::clone(&before.config), Some(before), &resolved, metrics);
        let route = |route: &Arc<Route>| route.following(before, &after);
        let listeners = self.listeners.iter();
        let listeners = listeners.map(|(name, routes)| (name.clone(), routes.iter().map(route).collect()));
        Some(Self { listeners: listeners.collect(), resolved })
    }
}

impl Route {
    /// The same with another set of endpoints in the place of the one that it was.
    fn following(self: &Arc<Self>, before: &Arc<Upstream>, after: &Arc<Upstream>) -> Arc<Self> {
        let is = |upstream: &Arc<Upstream>| Arc::ptr_eq(upstream, before);
        let leads = self.upstream().is_some_and(is);
        let chooses = self.split.iter().flat_map(Split::sides).any(|side| side.upstream().is_some_and(is));
        let asks = self.rates.global.as_ref().is_some_and(|global| is(&global.service));
        let mirrors = self.mirror.as_ref().is_some_and(|mirror| is(&mirror.upstream));
        if !leads && !chooses && !asks && !mirrors {
            return Arc::clone(self);
        }
        let mut next = Self::clone(self);
        if leads {
            next.leads = Leads::Upstream(Arc::clone(after));
        }
        next.split = self.split.as_ref().map(|split| split.map(|side| side.following(before, after)));
        if let Some(global) = next.rates.global.as_mut().filter(|_| asks) {
            global.service = Arc::clone(after);
        }
        if let Some(mirror) = next.mirror.as_mut().filter(|_| mirrors) {
            mirror.upstream = Arc::clone(after);
        }
        Arc::new(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::state::{Pinned, Shared};
    use crate::telemetry::metrics::MetricsPlan;
    use crate::traffic::balance::Question;
    use crate::traffic::outlier::Moment;
    use crate::worker::Random;
    use std::path::Path;
    use std::sync::atomic::{AtomicBool, Ordering};

    const TEXT: &str = "
version: 1
identity: { source: { workload_api: { socket: unix:///nowhere } } }
policy:
  bundles: { authz: { source: { directory: { path: /nowhere } }, unsigned: development_only } }
  decision: { rego: authz/decision }
  last_good_directory: /nowhere
listeners:
  app:
    inbound: { address: 127.0.0.1:8443, tls: { mutual: { trust_domains: [example.org] } } }
    routes: [{ match: {}, upstream: app }]
upstreams:
  app: { endpoints: [192.0.2.1:1, 'Orders.test:1', 'bills.test:1'], TLS }
audit: { directory: /nowhere, origin: example.org/app, signer: { ed25519: { key: /dev/null } } }
";
    const TLS: &str = "tls: { mutual: { trust_domains: [example.org] } }";

    fn configuration(tls: &str) -> Config {
        let text = TEXT.replace("TLS", tls);
        config::load_text(&text, Path::new("/test/postern.yaml")).map_err(|f| f.to_string()).unwrap().config
    }

    fn metrics() -> Metrics {
        Metrics::new(&MetricsPlan { version: "test", started_unix_s: 0, reasons: &[] })
    }

    fn named(host: &str) -> Named {
        let endpoint = NamedEndpoint { host: host.to_owned(), port: Some(1), loopback_only: false };
        Named { upstream: "app".into(), endpoint }
    }

    fn address(last: u8) -> SocketAddr {
        ([192, 0, 2, last], 1).into()
    }

    fn located(last: impl IntoIterator<Item = u8>) -> Vec<Located> {
        last.into_iter().map(|last| address(last).into()).collect()
    }

    fn upstream(routing: &Routing) -> Arc<Upstream> {
        Arc::clone(routing.upstreams().next().unwrap())
    }

    /// Where each endpoint is, and the name that is asked for there.
    fn places(routing: &Routing) -> Vec<String> {
        let place = |target: &crate::upstream::Target| {
            let name = target.security.as_ref().and_then(|security| security.server_name.as_ref());
            format!("{} {}", target.endpoint, name.map(|name| name.to_str()).unwrap_or_default())
        };
        upstream(routing).targets.iter().map(place).collect()
    }

    #[test]
    fn a_name_adds_its_addresses_and_is_asked_for_there() {
        let (metrics, config) = (metrics(), configuration(TLS));
        let routing = Routing::new(&config, None, &metrics);
        assert_eq!(routing.names(), [named("bills.test"), named("orders.test")]);
        assert_eq!(places(&routing), ["192.0.2.1:1 "]);
        let routing = routing.with_places(&named("orders.test"), &located([2, 3, 1]), &metrics).unwrap();
        // The address that is written is proven as it is written.
        assert_eq!(places(&routing), ["192.0.2.1:1 ", "192.0.2.2:1 orders.test", "192.0.2.3:1 orders.test"]);
        assert!(routing.with_places(&named("orders.test"), &located([2, 3, 1]), &metrics).is_none());
        assert!(routing.with_places(&named("else.test"), &located([4]), &metrics).is_none());
        let routing = routing.with_places(&named("bills.test"), &located([4]), &metrics).unwrap();
        assert_eq!(places(&routing).last().unwrap(), "192.0.2.4:1 bills.test");
        let one = TLS.replace("mutual: {", "mutual: { server_name: all.test,");
        let routing = Routing::new(&configuration(&one), Some(&routing), &metrics);
        assert!(places(&routing).iter().all(|place| place.ends_with("all.test")), "{:?}", places(&routing));
    }

    #[test]
    fn a_service_brings_shares_and_its_domain_is_asked_for() {
        let text = TEXT.replace("TLS", TLS);
        let text =
            text.replace("[192.0.2.1:1, 'Orders.test:1', 'bills.test:1']", "['srv:_http._tcp.Orders.test']");
        let config = config::load_text(&text, Path::new("/test/postern.yaml"));
        let config = config.map_err(|findings| findings.to_string()).unwrap().config;
        let metrics = metrics();
        let routing = Routing::new(&config, None, &metrics);
        let [name] = &routing.names()[..] else { panic!("{:?}", routing.names()) };
        assert_eq!(name.endpoint.to_string(), "srv:_http._tcp.orders.test");
        let at = |last, priority| Located { address: address(last), share: Share { priority, weight: 1 } };
        let routing = routing.with_places(name, &[at(2, 7), at(1, 3)], &metrics).unwrap();
        assert_eq!(places(&routing), ["192.0.2.2:1 orders.test", "192.0.2.1:1 orders.test"]);
        let mut random = Random::new([1; 4]);
        let mut ask = |tried: &[usize]| {
            let question = Question { now_ns: 0, random: &mut random, key: None, tried };
            upstream(&routing).balancer.choose(question).unwrap().index
        };
        assert_eq!([ask(&[]), ask(&[1])], [1, 0]);
        // The same place with another share is news.
        assert!(routing.with_places(name, &[at(2, 7), at(1, 3)], &metrics).is_none());
        assert!(routing.with_places(name, &[at(2, 7), at(1, 9)], &metrics).is_some());
    }

    #[test]
    fn a_rate_limit_service_that_is_a_name_is_followed_and_what_was_spent_stays_spent() {
        let asked = "routes: [{ match: {}, upstream: app, rate_limits: [{ name: all, requests: 1, per: 1s }], \
            global_rate_limit: { service: rls, domain: d, on_failure: deny, descriptors: [{ entries: [{ key: k, value: spiffe_id }] }] } }]";
        let text = TEXT.replace("routes: [{ match: {}, upstream: app }]", asked);
        let service =
            "upstreams:\n  rls: { endpoints: ['limits.test:1'], protocol: h2c, plaintext: any_address }";
        let text = text.replace("upstreams:", service).replace(", TLS }", ", plaintext: any_address }");
        let config = config::load_text(&text, Path::new("/test/postern.yaml"));
        let config = config.map_err(|findings| findings.to_string()).unwrap().config;
        let metrics = metrics();
        let before = Routing::new(&config, None, &metrics);
        let endpoint = NamedEndpoint { host: "limits.test".to_owned(), port: Some(1), loopback_only: false };
        let name = Named { upstream: "rls".into(), endpoint };
        let after = before.with_places(&name, &located([7]), &metrics).unwrap();
        let of = |routing: &Routing| {
            let route = routing.routes().next().unwrap();
            let service = Arc::clone(&route.rates.global.as_ref().unwrap().service);
            let places: Vec<_> = service.targets.iter().map(|target| target.endpoint.clone()).collect();
            (places, format!("{:?}", route.rates.local))
        };
        assert!(of(&before).0.is_empty());
        assert_eq!(of(&after).0, [address(7)]);
        // The same budget, by its place in memory of which the number tells.
        assert_eq!(of(&before).1, of(&after).1);
    }

    #[test]
    fn a_mirror_that_is_a_name_is_followed_and_its_copies_stay_counted() {
        let copied = "routes: [{ match: {}, upstream: app, mirror: { upstream: shadow, requests_max: 1 } }]";
        let text = TEXT.replace("routes: [{ match: {}, upstream: app }]", copied);
        let shadow = "upstreams:\n  shadow: { endpoints: ['shadow.test:1'], plaintext: any_address }";
        let text = text.replace("upstreams:", shadow).replace(", TLS }", ", plaintext: any_address }");
        let config = config::load_text(&text, Path::new("/test/postern.yaml"));
        let config = config.map_err(|findings| findings.to_string()).unwrap().config;
        let metrics = metrics();
        let before = Routing::new(&config, None, &metrics);
        let endpoint = NamedEndpoint { host: "shadow.test".to_owned(), port: Some(1), loopback_only: false };
        let name = Named { upstream: "shadow".into(), endpoint };
        let mirror = |routing: &Routing| routing.routes().next().unwrap().mirror.clone().unwrap();
        let held = mirror(&before).under_way.take();
        for after in [
            before.with_places(&name, &located([7]), &metrics).unwrap(),
            Routing::new(&config, Some(&before), &metrics),
        ] {
            assert!(mirror(&after).under_way.take().is_none());
        }
        drop(held);
        let after = before.with_places(&name, &located([7]), &metrics).unwrap();
        let places: Vec<_> =
            mirror(&after).upstream.targets.iter().map(|target| target.endpoint.clone()).collect();
        assert_eq!(places, [address(7)]);
    }

    #[test]
    fn each_upstream_of_a_split_that_is_a_name_is_followed() {
        let split = "split: [{ upstream: app, weight: 1 }, { upstream: next, weight: 1 }]";
        let text = TEXT.replace("match: {}, upstream: app", &format!("match: {{}}, {split}"));
        let next = "upstreams:\n  next: { endpoints: ['next.test:1'], plaintext: any_address }";
        let text = text.replace("upstreams:", next).replace(", TLS }", ", plaintext: any_address }");
        let config = config::load_text(&text, Path::new("/test/postern.yaml"));
        let config = config.map_err(|findings| findings.to_string()).unwrap().config;
        let metrics = metrics();
        let before = Routing::new(&config, None, &metrics);
        let named = |upstream: &str, host: &str| {
            let endpoint = NamedEndpoint { host: host.to_owned(), port: Some(1), loopback_only: false };
            Named { upstream: upstream.into(), endpoint }
        };
        assert!(before.names().contains(&named("next", "next.test")));
        // What a request may come to, by its lot.
        let led = |routing: &Routing| {
            let route = routing.routes().next().unwrap();
            let random = std::cell::RefCell::new(Random::new([1; 4]));
            let places = (0..100).map(|_| {
                let chosen = route.chosen((None, &http::HeaderMap::new()), &random);
                let targets = &chosen.upstream().unwrap().targets;
                targets.iter().map(|target| target.endpoint.to_string()).collect::<Vec<_>>()
            });
            places.collect::<std::collections::BTreeSet<_>>()
        };
        let addresses = |last: &[u8]| last.iter().map(|last| address(*last).to_string()).collect::<Vec<_>>();
        let app = addresses(&[1]);
        assert_eq!(led(&before), [vec![], app.clone()].into());
        let after = before.with_places(&named("next", "next.test"), &located([7]), &metrics).unwrap();
        assert_eq!(led(&after), [app, addresses(&[7])].into());
        let after = after.with_places(&named("app", "orders.test"), &located([8]), &metrics).unwrap();
        assert_eq!(led(&after), [addresses(&[1, 8]), addresses(&[7])].into());
        assert_eq!(led(&Routing::new(&config, Some(&after), &metrics)), led(&after));
    }

    #[test]
    fn a_limit_that_is_found_out_outlives_a_reload_and_ends_with_its_configuration() {
        let with = |rest: &str| configuration(&format!("{TLS}, requests_max: 9{rest}"));
        let adaptive = |least: u8| with(&format!(", adaptive_concurrency: {{ concurrency_min: {least} }}"));
        let places = |routing: &Routing| {
            let requests = &upstream(routing).breaker.requests;
            std::iter::from_fn(|| requests.take()).collect::<Vec<_>>().len()
        };
        let metrics = metrics();
        let first = Routing::new(&adaptive(2), None, &metrics);
        let same = Routing::new(&adaptive(2), Some(&first), &metrics);
        let kept = |routing: &Routing| upstream(routing).adaptive.clone().unwrap();
        assert!(Arc::ptr_eq(&kept(&first), &kept(&same)));
        assert_eq!(places(&same), 2);
        let other = Routing::new(&adaptive(3), Some(&same), &metrics);
        assert_eq!(places(&other), 3);
        let none = Routing::new(&with(""), Some(&other), &metrics);
        assert_eq!(places(&none), 9);
        // An exchange that began under it concludes nothing any more.
        let mut moment = Moment { now_ns: 1 << 40, random: &mut Random::new([1; 4]) };
        (0..100).for_each(|_| kept(&other).note(1_000, &mut moment));
        assert_eq!(places(&none), 9);
    }

    #[test]
    fn who_was_found_ill_is_asked_again_once_nobody_is_checked_any_more() {
        let with = |rest: &str| configuration(&format!("{TLS}{rest}"));
        let checked = with(", health: { probe: { http: { path: / } } }");
        let metrics = metrics();
        let first = Routing::new(&checked, None, &metrics);
        let config = checked.upstreams[0].health.clone().unwrap();
        let is_down =
            |routing: &Routing| upstream(routing).balancer.endpoints().iter().any(|it| it.health.is_down());
        let endpoint = Arc::clone(&upstream(&first).balancer.endpoints()[0]);
        (0..config.unhealthy_after).for_each(|_| _ = endpoint.health.note(&config, false));
        let same = Routing::new(&checked, Some(&first), &metrics);
        assert!(is_down(&same), "a reload that changes nothing forgot it");
        assert!(!is_down(&Routing::new(&with(""), Some(&same), &metrics)));
    }

    #[test]
    fn what_is_known_stays_known_and_what_is_proven_stays_proven() {
        let (metrics, config) = (metrics(), configuration(TLS));
        let name = named("orders.test");
        let first = Routing::new(&config, None, &metrics);
        let first = first.with_places(&name, &located([2, 3]), &metrics).unwrap();
        let second = first.with_places(&name, &located([3, 4]), &metrics).unwrap();
        let reloaded = Routing::new(&config, Some(&second), &metrics);
        let before = upstream(&first);
        for after in [&second, &reloaded] {
            let after = upstream(after);
            let of = |upstream: &Upstream, last| {
                let found = upstream.balancer.endpoint(&([192, 0, 2, last], 1).into());
                found.map(|endpoint| Arc::as_ptr(endpoint).addr())
            };
            assert_eq!(of(&before, 3), of(&after, 3), "an endpoint is forgotten");
            assert_eq!(of(&after, 2), None, "an address that is gone is still there");
            assert!(of(&after, 4).is_some());
            let security = |upstream: &Upstream, at: usize| upstream.targets[at].security.clone().unwrap();
            assert!(Arc::ptr_eq(&security(&before, 1), &security(&after, 1)), "its connections are given up");
            assert!(
                Arc::ptr_eq(&before.breaker, &after.breaker)
                    && Arc::ptr_eq(&before.outliers, &after.outliers)
            );
        }
        let without = "plaintext: any_address";
        let gone = TEXT.replace("'Orders.test:1', ", "").replace("TLS", without);
        let gone = config::load_text(&gone, Path::new("/test/postern.yaml")).unwrap().config;
        assert_eq!(places(&Routing::new(&gone, Some(&reloaded), &metrics)), ["192.0.2.1:1 "]);
    }

    #[test]
    fn an_endpoint_that_is_chosen_is_one_of_the_set_that_it_was_chosen_from_while_sets_come_and_go() {
        let (metrics, config) = (metrics(), configuration("plaintext: any_address"));
        let shared = Shared::new(Routing::new(&config, None, &metrics), Vec::new());
        let ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let choosers: Vec<_> = (0..2)
                .map(|seed| {
                    let (shared, ended) = (shared.clone(), &ended);
                    scope.spawn(move || {
                        let (snapshots, mut random) = (Pinned::new(&shared), Random::new([seed, 2, 3, 4]));
                        let mut sizes = std::collections::BTreeSet::new();
                        while !ended.load(Ordering::Relaxed) {
                            let upstream = upstream(&snapshots.pin().routing);
                            let question = Question { now_ns: 1, random: &mut random, key: None, tried: &[] };
                            let chosen = upstream.balancer.choose(question).unwrap();
                            assert_eq!(upstream.targets[chosen.index].endpoint, *chosen.load.address());
                            sizes.insert(upstream.targets.len());
                        }
                        sizes.len()
                    })
                })
                .collect();
            for round in 0..3000_u32 {
                let many = u8::try_from(round * 7 % 40).unwrap();
                let routing = &shared.load().routing;
                let changed = routing.with_places(&named("orders.test"), &located(2..2 + many), &metrics);
                if let Some(routing) = changed {
                    shared.publish(|next| next.routing = Arc::new(routing));
                }
            }
            ended.store(true, Ordering::Relaxed);
            let seen = choosers.into_iter().map(|chooser| chooser.join().unwrap()).max();
            assert!(seen > Some(1), "no set was changed under a choice");
        });
    }
}

//! What a new configuration changes in a running sidecar. Pure: it compares, and changes nothing.
//!
//! The contents behind a configuration (bundles, key sets, certificates, trust bundles) are followed by
//! their sources without any reload; this is about the file itself.

use thiserror::Error;

use super::places::member;
use super::settings::{AuditConfig, Config, IdentityConfig, ListenerConfig};

/// Why a new configuration is not taken over: a running process is built upon what it changes. The reload
/// is refused as a whole, because half a configuration is nobody's.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{} cannot change while the sidecar runs: restart it, or change only `listeners`, `upstreams` and `identity.federation`", list(.keys))]
pub struct RestartNeeded {
    /// What would change, such as `audit`. Never empty.
    pub keys: Vec<String>,
}

fn list(keys: &[String]) -> String {
    keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")
}

/// Whether a running sidecar can take over a new configuration. Listeners, upstreams and
/// federation change in place.
///
/// # Errors
/// When anything else is not the same.
pub fn check(running: &Config, new: &Config) -> Result<(), RestartNeeded> {
    let keys = fixed(running, new);
    if keys.is_empty() { Ok(()) } else { Err(RestartNeeded { keys }) }
}

fn fixed(running: &Config, new: &Config) -> Vec<String> {
    // Whom we federate with ends with the relationship, not with the process.
    let identity = IdentityConfig { federation: running.identity.federation.clone(), ..new.identity.clone() };
    // A log keeps the name that it began with; unless written, that of the next follows the first listener.
    let audit = AuditConfig { origin: running.audit.origin.clone(), ..new.audit.clone() };
    let sections = [
        ("identity", running.identity != identity),
        ("tokens", running.tokens != new.tokens),
        ("workload_tokens", running.workload_tokens != new.workload_tokens),
        ("policy", running.policy != new.policy),
        ("audit", running.audit != audit),
        ("telemetry", running.telemetry != new.telemetry),
        ("status", running.status != new.status),
        ("admin", running.admin != new.admin),
        ("workers", running.workers != new.workers),
        ("limits", running.memory_max != new.memory_max),
        ("capture.outbound.own.mark", running.capture.own_mark() != new.capture.own_mark()),
    ];
    let changed = sections.into_iter().filter(|(_, changed)| *changed);
    let mut keys: Vec<String> = changed.map(|(key, _)| key.to_owned()).collect();
    // The longest token of any listener bounds the parser, which belongs to the issuers.
    let longest = |config: &Config| config.listeners.iter().map(|of| of.limits.token_bytes_max).max();
    if !new.tokens.is_empty() && longest(running) != longest(new) {
        let changed = new.listeners.iter().filter(|of| Some(of.limits.token_bytes_max) == longest(new));
        keys.extend(changed.map(|of| format!("{}.limits.token_bytes_max", member("listeners", &of.name))));
        if new.listeners.is_empty() {
            keys.push("listeners".to_owned());
        }
    }
    keys
}

/// Whether a listener goes on as it is: its routes may change, and until when it takes plain text; nothing else has.
pub fn goes_on(running: &ListenerConfig, new: &ListenerConfig) -> bool {
    // Comparing whole listeners, so that a field that is added later counts without a word here.
    let ListenerConfig { routes, permissive, .. } = running.clone();
    *running == ListenerConfig { routes, permissive, ..new.clone() }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Bind, CaptureFrom, CaptureOutbound, CaptureOwn, Leads, PermissiveConfig, Silence};

    fn example() -> Config {
        let text = include_str!("../../../examples/config/files-and-directory.yaml");
        super::super::load_text(text, Path::new("postern.yaml"))
            .unwrap_or_else(|findings| panic!("{findings}"))
            .config
    }

    fn elsewhere() -> Bind {
        Bind::Address("127.0.0.1:1".parse().unwrap())
    }

    fn told_by(own: CaptureOwn) -> CaptureOutbound {
        CaptureOutbound {
            port_ipv4: Some(15001),
            port_ipv6: None,
            from: CaptureFrom::Everyone,
            own,
            exclude_ports: Vec::new(),
            exclude_networks: Vec::new(),
            exclude_uids: Vec::new(),
        }
    }

    #[track_caller]
    fn takes(change: impl Fn(&mut Config)) {
        let mut new = example();
        change(&mut new);
        assert_eq!(super::check(&example(), &new), Ok(()));
    }

    #[track_caller]
    fn check(change: impl Fn(&mut Config), keys: &[&str]) {
        let mut new = example();
        change(&mut new);
        let refused = super::check(&example(), &new).expect_err("a refusal");
        assert_eq!(refused.keys, keys);
        assert!(refused.to_string().contains("restart"), "{refused}");
    }

    #[test]
    fn routes_and_upstreams_change_in_place() {
        takes(|_| {});
        takes(|new| new.listeners[0].routes.truncate(1));
        takes(|new| new.upstreams[0].endpoints.truncate(1));
        takes(|new| {
            new.listeners[0].routes[0].leads = Leads::Upstream("other".to_owned());
            new.upstreams[0].name = "other".to_owned();
        });
    }

    #[test]
    fn listeners_come_and_go_and_only_those_that_changed_are_made_anew() {
        takes(|new| new.listeners[0].bind = elsewhere());
        takes(|new| new.listeners[0].limits.connections_max = 1);
        let of = |change: fn(&mut ListenerConfig)| {
            let mut new = example();
            change(&mut new.listeners[0]);
            goes_on(&example().listeners[0], &new.listeners[0])
        };
        assert!(of(|_| {}) && of(|new| new.routes.truncate(1)));
        let takes_plaintext = |new: &mut ListenerConfig| {
            new.permissive = Some(PermissiveConfig { until_unix_s: 1, silence: Silence::Refused });
        };
        assert!(of(takes_plaintext), "who comes by TLS loses nothing by it");
        assert!(!of(|new| new.limits.connections_max = 1) && !of(|new| new.bind = elsewhere()));
    }

    #[test]
    fn a_relationship_ends_without_a_restart() {
        use crate::config::{EndpointProfile, FederationConfig, TrustRoots};
        takes(|new| {
            new.identity.federation.push(FederationConfig {
                trust_domain: "other.org".parse().unwrap(),
                url: "https://other.org/".to_owned(),
                profile: EndpointProfile::HttpsWeb { trust_roots: TrustRoots::System },
            });
        });
        check(|new| new.identity.federation_directory = "/else".into(), &["identity"]);
    }

    #[test]
    fn what_a_process_is_built_upon_needs_a_restart() {
        check(|new| new.workers = super::super::Workers::Count(1), &["workers"]);
        check(|new| new.memory_max = Some(1 << 30), &["limits"]);
        check(|new| new.audit.max_wait *= 2, &["audit"]);
        check(
            |new| new.capture.outbound = Some(told_by(CaptureOwn::Mark(1))),
            &["capture.outbound.own.mark"],
        );
        takes(|new| new.capture.outbound = Some(told_by(CaptureOwn::Uid(1))));
        check(|new| new.tokens.clear(), &["tokens"]);
        check(|new| new.workload_tokens.authorities.push("https://a.test".to_owned()), &["workload_tokens"]);
        check(
            |new| new.listeners[0].limits.token_bytes_max += 1,
            &["listeners.orders.limits.token_bytes_max"],
        );
        check(
            |new| {
                new.telemetry.sample_ratio = 1.0;
                new.audit.max_wait *= 2;
                new.listeners[0].routes.clear();
            },
            &["audit", "telemetry"],
        );
    }
}

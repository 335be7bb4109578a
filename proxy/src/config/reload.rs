//! What a new configuration changes in a running sidecar. Pure: it compares, and changes nothing.
//!
//! The contents behind a configuration (bundles, key sets, certificates, trust bundles) are followed by
//! their sources without any reload; this is about the file itself.

use super::findings::Finding;
use super::places::member;
use super::settings::{Config, ListenerConfig};

/// A part of the configuration that changes in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The routes of some listener.
    Routes,
    /// Some upstream.
    Upstreams,
}

/// What is to be done about a new configuration: nothing where the list is empty.
///
/// # Errors
/// One finding for each part that a running process is built upon and that is not the same. The reload is
/// then refused as a whole: half a configuration is nobody's.
pub fn compare(running: &Config, new: &Config) -> Result<Vec<Part>, Vec<Finding>> {
    let refused = fixed(running, new);
    if !refused.is_empty() {
        return Err(refused);
    }
    let routes = running.listeners.iter().zip(&new.listeners).any(|(old, new)| old.routes != new.routes);
    let upstreams = running.upstreams != new.upstreams;
    let parts = [(routes, Part::Routes), (upstreams, Part::Upstreams)];
    Ok(parts.into_iter().filter(|(changed, _)| *changed).map(|(_, part)| part).collect())
}

fn fixed(running: &Config, new: &Config) -> Vec<Finding> {
    let sections = [
        ("identity", running.identity != new.identity),
        ("tokens", running.tokens != new.tokens),
        ("policy", running.policy != new.policy),
        ("audit", running.audit != new.audit),
        ("telemetry", running.telemetry != new.telemetry),
        ("status", running.status != new.status),
        ("admin", running.admin != new.admin),
        ("workers", running.workers != new.workers),
    ];
    let changed = sections.into_iter().filter(|(_, changed)| *changed);
    let mut findings: Vec<Finding> = changed.map(|(key, _)| restart(key.to_owned())).collect();
    if running.listeners.iter().map(|old| &old.name).ne(new.listeners.iter().map(|new| &new.name)) {
        findings.push(restart("listeners".to_owned()));
        return findings;
    }
    for (old, new) in running.listeners.iter().zip(&new.listeners) {
        // Comparing whole listeners, so that a field that is added later counts without a word here.
        let same_routes = ListenerConfig { routes: old.routes.clone(), ..new.clone() };
        if *old != same_routes {
            findings.push(restart(member("listeners", &new.name)));
        }
    }
    findings
}

fn restart(key: String) -> Finding {
    let what = format!("`{key}` cannot change while the sidecar runs");
    let allowed = "restart the sidecar, or change only `routes` and `upstreams`";
    Finding::error(key, what, allowed)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn example() -> Config {
        let text = include_str!("../../../examples/config/files-and-directory.yaml");
        super::super::load_text(text, Path::new("postern.yaml"))
            .unwrap_or_else(|findings| panic!("{findings}"))
            .config
    }

    #[track_caller]
    fn check(change: impl Fn(&mut Config), expected: Result<&[Part], &[&str]>) {
        let running = example();
        let mut new = running.clone();
        change(&mut new);
        match (compare(&running, &new), expected) {
            (Ok(parts), Ok(expected)) => assert_eq!(parts, expected),
            (Err(findings), Err(expected)) => {
                let keys: Vec<&str> = findings.iter().map(|finding| finding.key.as_str()).collect();
                assert_eq!(keys, expected);
            }
            (compared, expected) => panic!("got {compared:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn the_same_configuration_changes_nothing() {
        check(|_| {}, Ok(&[]));
    }

    #[test]
    fn routes_and_upstreams_change_in_place() {
        check(|new| new.listeners[0].routes.truncate(1), Ok(&[Part::Routes]));
        check(|new| new.upstreams[0].endpoints.truncate(1), Ok(&[Part::Upstreams]));
        check(
            |new| {
                new.listeners[0].routes[0].upstream = "other".to_owned();
                new.upstreams[0].name = "other".to_owned();
            },
            Ok(&[Part::Routes, Part::Upstreams]),
        );
    }

    #[test]
    fn what_a_process_is_built_upon_needs_a_restart() {
        check(|new| new.workers = super::super::Workers::Count(1), Err(&["workers"]));
        check(|new| new.audit.max_wait *= 2, Err(&["audit"]));
        check(|new| new.tokens.clear(), Err(&["tokens"]));
        check(|new| new.listeners.clear(), Err(&["listeners"]));
        check(|new| new.listeners[0].limits.connections_max = 1, Err(&["listeners.orders"]));
        check(
            |new| {
                new.telemetry.sample_ratio = 1.0;
                new.listeners[0].address.set_port(1);
                new.listeners[0].routes.clear();
            },
            Err(&["telemetry", "listeners.orders"]),
        );
    }
}

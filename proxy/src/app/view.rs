//! What probes and people are shown.
use super::{Parts, plaintext};
use crate::admin::{self, AdminView, BundleStatus, Check, IdentityStatus, StatusView};
use crate::clock::Clock;
use crate::config::Config;
use crate::listener::Listener;
use crate::log::{Condition, LogHandle};
use crate::memory::Memory;
use crate::routing::Named;
use crate::state::{LoadedBundle, Shared};
use crate::status::{KeysFailing, NameTrouble, Status};
use crate::telemetry::Metrics;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A look at every part of the sidecar.
#[derive(Debug)]
pub(crate) struct View {
    facts: Facts,
    shared: Shared,
    clock: Arc<dyn Clock>,
    config: Mutex<Config>,
    listeners: Mutex<Vec<Arc<Listener>>>,
    started_unix_s: u64,
    was_ready: AtomicBool,
}

/// Where the looks come from.
#[derive(Debug)]
struct Facts {
    status: Arc<Status>,
    metrics: Arc<Metrics>,
    log: LogHandle,
    memory: Arc<Memory>,
}

impl View {
    pub(super) fn new(parts: &Parts<'_>) -> Self {
        let facts = Facts {
            status: Arc::clone(&parts.status),
            metrics: Arc::clone(&parts.metrics),
            log: parts.log.clone(),
            memory: Arc::clone(&parts.memory),
        };
        let config = Mutex::new(parts.config.clone());
        let (shared, clock) = (parts.shared.clone(), Arc::clone(&parts.clock));
        let (listeners, started_unix_s) = (Mutex::default(), clock.unix_time().as_secs());
        Self { facts, shared, clock, config, listeners, started_unix_s, was_ready: AtomicBool::new(false) }
    }

    /// Another configuration is in force.
    pub(super) fn reloaded(&self, config: &Config) {
        self.config.lock().unwrap_or_else(PoisonError::into_inner).clone_from(config);
    }

    /// These listeners are in force.
    pub(super) fn serves(&self, listeners: &[Arc<Listener>]) {
        *self.listeners.lock().unwrap_or_else(PoisonError::into_inner) = listeners.to_vec();
    }

    fn plaintext(&self) -> Vec<admin::PlaintextStatus> {
        plaintext::statuses(&self.listeners.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether every check that readiness needs holds.
    pub(super) fn is_ready(&self) -> bool {
        let ready = self.checks().iter().all(|check| check.ok);
        self.was_ready.fetch_or(ready, Ordering::Relaxed);
        ready
    }
}

impl StatusView for View {
    fn checks(&self) -> Vec<Check> {
        let parts = self.facts.status.parts();
        let now_s = self.clock.unix_time().as_secs();
        let identity = match &parts.identity {
            None => Err(parts.identity_trouble.unwrap_or_else(|| "no SVID yet".to_owned())),
            Some((_, not_after)) if *not_after < now_s => Err("our SVID has expired".to_owned()),
            Some((id, not_after)) => {
                let trouble = parts.identity_trouble.map_or(String::new(), |trouble| format!("; {trouble}"));
                Ok(format!("{id}, for another {} s{trouble}", not_after - now_s))
            }
        };
        let trust = match parts.trust_domains {
            0 => Err("no trust bundle yet".to_owned()),
            count => Ok(federation(count, &parts.overruled, &parts.federation_troubles)),
        };
        let failing =
            parts.policy_sources_failing.into_iter().map(|(name, why)| format!("bundle `{name}`: {why}"));
        let trouble: Vec<_> = parts.policy_trouble.into_iter().chain(failing).collect();
        let trouble = (!trouble.is_empty()).then(|| trouble.join("; "));
        let policy = match (parts.policy_revision, trouble) {
            (Some(revision), None) => Ok(revision),
            // The last good policy stays in force: traffic goes on, and somebody should look.
            (Some(revision), Some(trouble)) => Ok(format!("{revision}; nothing newer: {trouble}")),
            (None, Some(trouble)) => Err(trouble),
            (None, None) => Err("no policy bundle yet".to_owned()),
        };
        // A missing key set refuses the tokens of one issuer with 503; the sidecar serves all others.
        let keys = Ok(keys(&parts.keys_missing, &parts.keys_failing, now_s));
        let config = match parts.config_trouble {
            None => Ok("as read last".to_owned()),
            Some(trouble) => Ok(format!("the last reload was refused: {trouble}")),
        };
        let permissive = self.plaintext().into_iter().filter(|status| status.until_unix_s.is_some());
        let permissive = permissive.map(|status| plaintext::remark(&status, self.started_unix_s));
        let exceptions = exceptions(&parts.unsigned_bundles, parts.observing_routes, permissive);
        let draining =
            if self.facts.status.is_draining() { Err("draining".to_owned()) } else { Ok("no".to_owned()) };
        vec![
            Check::new("identity", identity),
            Check::new("trust", trust),
            Check::new("policy", policy),
            Check::new("audit", audit(self.facts.log.health().condition)),
            Check::new("keys", keys),
            Check::new("upstreams", names(&parts.names, self.was_ready.load(Ordering::Relaxed))),
            Check::new("config", config),
            // Short for a moment or for long: other sidecars of the same service may be no better off.
            Check::new("memory", Ok(memory(&self.facts.memory))),
            Check::new("exceptions", Ok(exceptions)),
            Check::new("draining", draining),
        ]
    }

    fn metrics(&self) -> String {
        report(&self.facts.log, &self.facts.metrics);
        self.facts.metrics.memory.note(self.facts.memory.state());
        self.facts.metrics.encode()
    }

    fn is_started(&self) -> bool {
        self.is_ready() || self.was_ready.load(Ordering::Relaxed)
    }
}

impl AdminView for View {
    fn status(&self) -> admin::Status {
        let parts = self.facts.status.parts();
        let policy = self.shared.load().policy.clone();
        let bundle = |bundle: &LoadedBundle| BundleStatus {
            name: bundle.name.clone(),
            revision: bundle.revision.clone(),
            sha256: bundle.sha256.iter().map(|byte| format!("{byte:02x}")).collect(),
        };
        admin::Status {
            version: env!("CARGO_PKG_VERSION"),
            started: self.is_started(),
            identity: parts
                .identity
                .map(|(spiffe_id, expires_unix_s)| IdentityStatus { spiffe_id, expires_unix_s }),
            policy_generation: policy.as_ref().map_or(0, |policy| policy.generation),
            policy: policy.iter().flat_map(|policy| &policy.bundles).map(bundle).collect(),
            checks: self.checks(),
            plaintext: self.plaintext(),
        }
    }

    fn config(&self) -> serde_json::Value {
        let lines = format!("{:#?}", *self.config.lock().unwrap_or_else(PoisonError::into_inner));
        serde_json::json!({ "effective": lines.lines().collect::<Vec<_>>() })
    }
}

fn memory(memory: &Memory) -> String {
    const MIB: u64 = 1024 * 1024;
    let (used, max) = memory.state();
    let of = max.map_or(String::new(), |max| format!(" of {} MiB", max / MIB));
    let remark = if memory.is_short() { "; what is new is refused" } else { "" };
    format!("{} MiB{of}{remark}", used / MIB)
}

fn audit(condition: Condition) -> Result<String, String> {
    match condition {
        Condition::Ok => Ok("writing".to_owned()),
        Condition::Degraded => Ok("writing, after an error".to_owned()),
        Condition::DiskFull => Err("the disk of the audit log is full".to_owned()),
        Condition::DiskFailed => Err("the disk of the audit log fails: mend it and start again".to_owned()),
        Condition::Stopped => Err("the audit writer is gone: start again".to_owned()),
    }
}

/// The log counts for itself; the metrics take its counts over when they are read.
fn report(log: &LogHandle, metrics: &Metrics) {
    let health = log.health();
    let audit = &metrics.audit;
    for (counter, value) in [
        (&audit.records, health.records),
        (&audit.gaps, health.gap_records),
        (&audit.refused, health.unavailable),
        (&audit.failures, health.sync_errors),
    ] {
        counter.inner().store(value, Ordering::Relaxed);
    }
    audit.durable(health.durable_size);
    let sum = |part: fn(&(u64, u64)) -> u64| health.rings.iter().map(part).sum();
    audit.rings(sum(|ring| ring.0), sum(|ring| ring.1));
}

/// Whom we believe, and which relationships somebody should look after.
fn federation(count: usize, overruled: &[String], troubles: &[(String, String)]) -> String {
    let mut text = format!("{count} trust domain(s)");
    for name in overruled {
        text =
            format!("{text}; {name}: the identity source's own bundle counts, not the one that is fetched");
    }
    for (name, trouble) in troubles {
        text = format!("{text}; {name}: {trouble}");
    }
    text
}

/// Whose keys there are, and for how long where they cannot be fetched.
fn keys(missing: &[String], failing: &[KeysFailing], now_s: u64) -> String {
    let mut remarks = Vec::new();
    if !missing.is_empty() {
        remarks.push(format!("none of: {}", missing.join(", ")));
    }
    remarks.extend(failing.iter().map(|of| match of.valid_until {
        Some(until) => {
            let left_s = until.saturating_sub(now_s);
            format!("those of {} are stale, for another {left_s} s: {}", of.issuer, of.trouble)
        }
        None => format!("{}: {}", of.issuer, of.trouble),
    }));
    if remarks.is_empty() { "of every issuer".to_owned() } else { remarks.join("; ") }
}

/// Which names among the endpoints are not resolved. A start waits until each has been asked for, and no longer: other
/// upstreams may do without.
fn names(troubles: &[(Named, NameTrouble)], was_ready: bool) -> Result<String, String> {
    if troubles.is_empty() {
        return Ok("every name is resolved".to_owned());
    }
    let remarks = troubles.iter().map(|(Named { upstream, endpoint }, trouble)| match trouble {
        NameTrouble::Waits => format!("{upstream}: `{endpoint}` is not resolved yet"),
        NameTrouble::Never(why) => format!("{upstream}: `{endpoint}` is not resolved: {why}"),
        NameTrouble::Stale(why) => {
            format!("{upstream}: `{endpoint}` cannot be resolved, what was found last is in force: {why}")
        }
        NameTrouble::Partly(why) => {
            format!(
                "{upstream}: `{endpoint}` cannot be resolved in full, what can be found is in force: {why}"
            )
        }
    });
    let remarks = remarks.collect::<Vec<_>>().join("; ");
    let waits = troubles.iter().any(|(_, trouble)| *trouble == NameTrouble::Waits);
    if waits && !was_ready { Err(remarks) } else { Ok(remarks) }
}

/// What the configuration leaves open on purpose: nobody should have to find that out from traffic.
fn exceptions(unsigned: &[String], observing: usize, permissive: impl Iterator<Item = String>) -> String {
    let mut named = Vec::new();
    if !unsigned.is_empty() {
        named.push(format!("unsigned bundles accepted: {}", unsigned.join(", ")));
    }
    if observing > 0 {
        named.push(format!("{observing} route(s) only observe"));
    }
    named.extend(permissive);
    if named.is_empty() { "none".to_owned() } else { named.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::NamedEndpoint;

    #[test]
    fn a_start_waits_until_each_name_has_been_asked_for_and_no_longer() {
        let check = |troubles: &[NameTrouble], was_ready: bool, is_ready: bool, remark: &str| {
            let endpoint =
                NamedEndpoint { host: "orders.test".to_owned(), port: Some(1), loopback_only: false };
            let named = Named { upstream: "app".into(), endpoint };
            let troubles: Vec<_> = troubles.iter().map(|trouble| (named.clone(), trouble.clone())).collect();
            let found = names(&troubles, was_ready);
            assert_eq!(found.is_ok(), is_ready, "{troubles:?}");
            let text = found.unwrap_or_else(|text| text);
            assert!(text.contains(remark), "{text}");
        };
        let (never, stale) = (NameTrouble::Never("why".to_owned()), NameTrouble::Stale("why".to_owned()));
        check(&[], false, true, "every name");
        check(&[NameTrouble::Waits], false, false, "app: `orders.test:1` is not resolved yet");
        check(&[never.clone(), NameTrouble::Waits], false, false, "is not resolved: why; app");
        check(&[NameTrouble::Waits], true, true, "not resolved yet");
        check(&[never], false, true, "is not resolved: why");
        check(&[stale], false, true, "in force: why");
        let partly = NameTrouble::Partly("why".to_owned());
        check(&[partly], false, true, "in full, what can be found is in force: why");
    }
}

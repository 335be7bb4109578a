use super::*;
use crate::config::{AdaptiveConcurrencyConfig, BalanceConfig, RetryBudgetConfig, UpstreamLimits};
use crate::telemetry::spans::Decided;
use crate::traffic::adaptive_concurrency::AdaptiveConcurrency;
use crate::traffic::balance::Balancer;
use crate::traffic::circuit_breaker::CircuitBreaker;
use crate::traffic::endpoint::Endpoint;
use crate::traffic::retry_budget::RetryBudget;

const REASONS: [&str; 5] =
    ["policy.denied", "policy.allowed", "upstream.timeout", "tls.certificate_expired", "token.expired"];

fn metrics() -> Metrics {
    Metrics::new(&MetricsPlan { version: "1.2.3", started_unix_s: 1_700_000_000, reasons: &REASONS })
}

/// A sidecar that has seen a little of everything.
fn busy() -> Metrics {
    let metrics = metrics();
    let app = metrics.listener("app");
    app.exchange_finished(Decided::Allow, "policy.allowed", 300_000);
    app.exchange_finished(Decided::Allow, "policy.allowed", 100_000);
    app.exchange_finished(Decided::Allow, "upstream.timeout", 15_000_000_000);
    app.exchange_finished(Decided::Deny, "policy.denied", 50_000);
    app.exchange_finished(Decided::DenyObserved, "policy.denied", 50_000);
    app.exchange_finished(Decided::Undecided, "never.heard.of", 0);
    app.handshake_completed();
    app.plaintext_connection();
    app.plaintext_until(1_800_000_000);
    app.connection_refused("tls.certificate_expired");
    let bank = metrics.upstream("bank");
    bank.attempt(UpstreamResult::of_status(200), 2_000_000);
    bank.attempt(UpstreamResult::of_status(503), 2_000_000);
    bank.attempt(UpstreamResult::NoResponse, 2_000_000);
    bank.connect_failed();
    bank.retried();
    let limits = UpstreamLimits { connections_max: 1, pending_max: 1, requests_max: 2 };
    let breaker = Arc::new(CircuitBreaker::new(&limits));
    let budget = Arc::new(RetryBudget::new(&RetryBudgetConfig { percent: 0, per_second: 0 }));
    let endpoints = (1..=3).map(|port| Endpoint::new(([127, 0, 0, 1], port).into())).collect();
    bank.watch(&breaker, &budget, &Arc::new(Balancer::new(&BalanceConfig::Random, endpoints, Vec::new())));
    let found_out = AdaptiveConcurrencyConfig {
        concurrency_min: 1,
        requests_max: 2,
        tolerance_percent: 25,
        window: std::time::Duration::from_millis(100),
        requests_min: 25,
        remeasure_interval: std::time::Duration::from_secs(60),
    };
    bank.watch_adaptive(Some(&Arc::new(AdaptiveConcurrency::new(
        found_out,
        &CircuitBreaker::new(&limits).requests,
    ))));
    bank.ejected(Ejection::SuccessRate, 2);
    bank.health_checked(true);
    bank.name_refreshed(false);
    bank.mirrored(MirrorResult::Timeout);
    // They are forgotten, so that their places stay taken.
    std::mem::forget((breaker.connections.take(), breaker.requests.take(), breaker.requests.take()));
    assert!(breaker.requests.take_or_refuse().is_none());
    assert!(budget.pay(&breaker.requests, 0).is_none());
    metrics.rate_limit(["app", "api", "per-tenant"]).limited();
    let limits = metrics.rate_limit_service("limits");
    let checks = [RateLimitCheck::OverLimit, RateLimitCheck::OverLimit, RateLimitCheck::Failed];
    checks.into_iter().for_each(|check| limits.checked(check));
    metrics.faults(["app", "api"]).injected(Fault::Delay);
    metrics.policy.loaded(1, "rego", &[("authz", "r1")], 1_700_000_001);
    metrics.policy.loaded(2, "rego", &[("authz", "r2 \"quoted\"\n\\")], 1_700_000_002);
    metrics.policy.load_failed(LoadResult::Refused);
    metrics.policy.observing_routes(1);
    metrics.identity.svid(1_700_003_600);
    metrics.identity.trust(2, 5);
    metrics.identity.updated(LoadResult::Loaded);
    metrics.audit.records.inc_by(7);
    metrics.audit.durable(6);
    metrics.audit.rings(512, 1_048_576);
    metrics.audit.checkpoint(1_700_000_003);
    metrics.keys.issuers(&["https://idp.example.org"]);
    metrics.keys.refreshed("https://idp.example.org", LoadResult::Loaded);
    metrics.keys.refreshed("https://elsewhere.example.org", LoadResult::Loaded);
    metrics.keys.valid_until("https://idp.example.org", 1_700_086_400);
    metrics.keys.valid_until("https://elsewhere.example.org", 1);
    metrics.keys.token_accepted();
    metrics.keys.token_refused("token.expired");
    metrics.spans.dropped(Decided::Deny);
    metrics.spans.dropped(Decided::Allow);
    metrics.config.loaded(1_700_000_000);
    metrics.config.load_failed(LoadResult::Refused);
    metrics
}

#[test]
fn the_exposition_is_the_published_one() {
    let text = busy().encode();
    let golden = include_str!("golden.txt");
    // Families keep their order; the library does not promise one among the series of its own families.
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&text), sorted(golden), "the exposition is now:\n{text}");
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn every_metric_stands_in_the_guide() {
    let guide = include_str!("../../../../docs/telemetry.md");
    for line in include_str!("golden.txt").lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        let suffix = if kind == "counter" {
            "_total"
        } else if kind == "info" {
            "_info"
        } else {
            ""
        };
        assert!(guide.contains(&format!("`{name}{suffix}`")), "{name}{suffix}");
    }
}

#[test]
fn every_name_keeps_the_conventions() {
    let text = busy().encode();
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        assert!(name.starts_with("postern_"), "{name}");
        assert!(!name.ends_with("_total"), "{name}: the exposition adds it itself");
        let base_unit = !["_ms", "_us", "_ns", "_kb", "_minutes"].iter().any(|unit| name.ends_with(unit));
        assert!(base_unit, "{name}");
        assert!(kind != "histogram" || name.ends_with("_seconds"), "{name}");
    }
}

#[test]
fn what_is_active_is_counted_until_it_is_dropped() {
    let metrics = metrics();
    let app = metrics.listener("app");
    let shows =
        |line: &str| assert!(metrics.encode().contains(line), "{line} is not in\n{}", metrics.encode());
    let connection = app.connection();
    let exchange = app.exchange();
    shows("postern_connections_active{listener=\"app\"} 1\n");
    shows("postern_exchanges_active{listener=\"app\"} 1\n");
    drop((connection, exchange));
    shows("postern_connections_active{listener=\"app\"} 0\n");
    shows("postern_exchanges_active{listener=\"app\"} 0\n");
    shows("postern_connections_accepted_total{listener=\"app\"} 1\n");
}

#[test]
fn what_alerts_stand_on_is_there_before_it_happens() {
    let metrics = metrics();
    drop(metrics.listener("app"));
    let text = metrics.encode();
    let exchanges: Vec<&str> =
        text.lines().filter(|line| line.starts_with("postern_exchanges_total")).collect();
    let series = |decision: &str, reason: &str| {
        format!("postern_exchanges_total{{listener=\"app\",decision=\"{decision}\",reason=\"{reason}\"}} 0")
    };
    assert_eq!(exchanges, [series("allow", "policy.allowed"), series("deny", "policy.denied")]);
}

#[test]
fn a_name_always_leads_to_the_same_counts_and_a_removed_one_goes() {
    let metrics = metrics();
    metrics.upstream("bank").retried();
    metrics.upstream("bank").retried();
    metrics.upstream("old").retried();
    assert!(metrics.encode().contains("postern_upstream_retries_total{upstream=\"bank\"} 2\n"));
    metrics.keep_only(&[], &["bank"]);
    assert!(!metrics.encode().contains("\"old\""));
    assert!(metrics.encode().contains("postern_upstream_retries_total{upstream=\"bank\"} 2\n"));
}

#[test]
fn keys_of_a_removed_issuer_are_forgotten() {
    let metrics = metrics();
    metrics.keys.issuers(&["https://a.example", "https://b.example"]);
    metrics.keys.issuers(&["https://b.example"]);
    let text = metrics.encode();
    assert!(!text.contains("a.example") && text.contains("b.example"), "{text}");
}

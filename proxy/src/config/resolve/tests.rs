mod adaptive_concurrency;
mod capture;
mod captured;
mod endpoints;
mod faults;
mod forwarded_headers;
mod hidden;
mod identity;
mod leads;
mod local_endpoints;
mod mirrors;
mod names;
mod outbound;
mod permissive;
mod proxy_version;
mod rate_limits;
mod retries;
mod rewrites;
mod shape;
mod tcp;
mod tokens;
mod without_effect;

use std::path::PathBuf;
use std::time::Duration;

use postern_identity::RevocationMode;
use postern_identity::token::SenderConstraint;

use super::*;
use crate::config::findings::Level;
use crate::config::settings::{
    AdminConfig, AuditMode, BundleSource, BundleTrust, Captured, Direction, DpopNonce, EndpointConfig,
    EndpointOrigin, Enforcement, IdentitySource, KeyFreshness, KeySource, ListenerConfig, ListenerProtocol,
    Plaintext, RetryOn, RevocationRule, StatusConfig, SvidSelection, TokenProfile, TokenRule, Upgrade,
};
use crate::config::workload_endpoint::WorkloadEndpoint;

/// The least that is a configuration. Tests change a line of it.
const LEAST: &str = "\
version: 1
identity: { source: { workload_api: { socket: /run/spire/agent.sock } } }
policy:
  bundles: { authz: { source: { directory: { path: policy } }, signers: [policy.pub.pem] } }
  decision: { rego: postern/authz/decision }
listeners:
  app:
    inbound: { address: 127.0.0.1:8443, tls: { mutual: { trust_domains: [example.org] } } }
    routes:
      - { match: { path_prefix: / }, upstream: app }
upstreams:
  app: { endpoints: [\"127.0.0.1:8080\"] }
audit:
  directory: audit
  signer: { ed25519: { key: audit.pem } }
";

const ISSUER: &str =
    "tokens: [{ issuer: i, audiences: [a], algorithms: [ES256], keys: { file: k.json } }]\nupstreams:";

fn least(from: &str, to: &str) -> String {
    assert!(LEAST.contains(from), "{from}");
    LEAST.replace(from, to)
}

fn read(text: &str) -> Result<Loaded, Findings> {
    load_text(text, Path::new("/etc/postern/postern.yaml"))
}

#[track_caller]
fn taken(text: &str) -> Config {
    read(text).unwrap_or_else(|findings| panic!("{findings}")).config
}

/// Changes a part of [`LEAST`]; the one error must be at `key` and say `what`.
#[track_caller]
fn check(from: &str, to: &str, key: &str, what: &str) {
    let text = least(from, to);
    let findings = read(&text).expect_err("a refusal");
    let errors: Vec<&Finding> =
        findings.list.iter().filter(|finding| finding.level == Level::Error).collect();
    let [error] = errors.as_slice() else { panic!("{} errors\n{findings}", errors.len()) };
    assert_eq!(error.key, key, "\n{findings}");
    assert!(error.what.contains(what) || error.mend.contains(what), "\n{findings}");
    assert!(!error.mend.is_empty(), "\n{findings}");
    assert!(error.place.is_some(), "\n{findings}");
}

/// Changes a part of [`LEAST`]; it is taken with one warning at `key`.
#[track_caller]
fn check_warning(from: &str, to: &str, key: &str, what: &str) {
    let loaded = read(&least(from, to)).unwrap_or_else(|findings| panic!("{findings}"));
    let [warning] = loaded.warnings.list.as_slice() else { panic!("{}", loaded.warnings) };
    assert_eq!((warning.level, warning.key.as_str()), (Level::Warning, key));
    assert!(warning.what.contains(what), "{}", loaded.warnings);
}

const ROUTE: &str = "{ match: { path_prefix: / }, upstream: app }";

#[test]
fn the_least_configuration_opens_nothing_and_limits_everything() {
    let loaded = read(LEAST).expect("taken");
    assert!(loaded.warnings.list.is_empty(), "{}", loaded.warnings);
    let config = loaded.config;
    assert_eq!(config.status, StatusConfig::Closed);
    assert_eq!(config.admin, AdminConfig::Closed);
    assert_eq!(config.workers, Workers::Auto);
    assert_eq!(config.audit.mode, AuditMode::Async);
    assert_eq!(config.audit.origin, "postern/app");
    assert_eq!(config.audit.directory, PathBuf::from("/etc/postern/audit"));
    let listener = &config.listeners[0];
    assert_eq!(listener.limits.header_bytes_max, 32 * 1024);
    assert_eq!(listener.limits.header_timeout, Duration::from_secs(10));
    let route = &listener.routes[0];
    assert_eq!((route.name.as_str(), route.leads.to_string()), ("app-0", "app".to_owned()));
    assert_eq!(route.enforcement, Enforcement::Enforce);
    assert_eq!(route.tokens, TokenRule::Ignored);
    assert_eq!((route.retry.attempts_max, route.retry.on.len()), (1, 0));
    assert_eq!(route.audit_mode, AuditMode::Async);
    assert!(config.upstream("app").is_some());
}

#[track_caller]
fn example(name: &str) -> Config {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/config").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let first = text.lines().next().unwrap_or_default();
    assert_eq!(first, "# yaml-language-server: $schema=https://postern.dev/schema/config.json", "{name}");
    let loaded = read(&text).unwrap_or_else(|findings| panic!("{findings}"));
    assert!(loaded.warnings.list.is_empty(), "{}", loaded.warnings);
    loaded.config
}

#[test]
fn the_configuration_in_the_readme_is_taken_without_a_warning() {
    let readme = include_str!("../../../../README.md");
    let (_, rest) = readme.split_once("```yaml\n").expect("a configuration");
    let (text, _) = rest.split_once("```").expect("its end");
    let loaded = read(text).unwrap_or_else(|findings| panic!("{findings}"));
    assert!(loaded.warnings.list.is_empty(), "{}", loaded.warnings);
}

#[test]
fn every_example_is_taken_without_a_warning() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/config");
    let names: Vec<String> = std::fs::read_dir(folder)
        .expect("the examples")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"))
        .filter(|name| name.ends_with(".yaml"))
        .collect();
    assert!(names.len() >= 2, "{names:?}");
    names.iter().for_each(|name| drop(example(name)));
}

#[test]
fn the_example_with_files_means_what_it_says() {
    let config = example("files-and-directory.yaml");
    let IdentitySource::Files { key, trust_bundles, .. } = &config.identity.source else {
        panic!("{config:?}")
    };
    assert_eq!(key, &PathBuf::from("/etc/postern/identity/orders.key.pem"));
    assert_eq!(trust_bundles.len(), 2);
    assert_eq!(config.tokens[0].keys, KeySource::File(PathBuf::from("/etc/postern/identity/idp.jwks.json")));
    let routes = &config.listeners[0].routes;
    assert_eq!((routes[0].tokens, routes[0].audit_mode), (TokenRule::Required, AuditMode::Durable));
    assert_eq!((routes[1].tokens, routes[1].audit_mode), (TokenRule::Optional, AuditMode::Async));
    assert_eq!(routes[1].retry.on, [RetryOn::ConnectFailure]);
    assert_eq!(config.listeners[0].limits.body_bytes_max, 8 << 20);
    assert_eq!(config.upstreams[0].endpoints.len(), 2);
}

#[test]
fn the_example_for_both_ways_means_what_it_says() {
    let config = example("both-ways.yaml");
    let [database, egress, orders] = config.listeners.as_slice() else { panic!("{config:?}") };
    assert_eq!((database.direction, database.protocol), (Direction::Outbound, ListenerProtocol::Tcp));
    assert_eq!((egress.direction, egress.protocol), (Direction::Outbound, ListenerProtocol::Http));
    assert_eq!((orders.direction, orders.routes[0].upgrade), (Direction::Inbound, Upgrade::WebSocket));
    assert_eq!(orders.routes[3].rate_limits.len(), 1);
    let leads = |listener: &ListenerConfig| -> Vec<String> {
        listener.routes.iter().map(|route| route.leads.to_string()).collect()
    };
    assert_eq!(leads(orders), ["orders", "redirect 308", "answer 404", "orders"]);
    assert_eq!(leads(egress), ["stock (9) | stock-next (1)"]);
}

#[test]
fn the_example_for_captured_traffic_means_what_it_says() {
    let config = example("captured.yaml");
    let [egress, orders] = config.listeners.as_slice() else { panic!("{config:?}") };
    assert_eq!((egress.captured, egress.protocol), (Some(Captured::Redirect), ListenerProtocol::Detect));
    assert_eq!((orders.captured, orders.direction), (Some(Captured::Redirect), Direction::Inbound));
    assert!(config.upstreams.iter().all(|of| of.endpoints == [EndpointConfig::OriginalDestination]));
}

#[test]
fn the_example_with_servers_means_what_it_says() {
    let config = example("spire-and-http.yaml");
    let IdentitySource::WorkloadApi { endpoint, origin, selection } = &config.identity.source else {
        panic!("{config:?}")
    };
    assert_eq!(*endpoint, WorkloadEndpoint::Unix(PathBuf::from("/run/spire/agent.sock")));
    assert_eq!(*origin, EndpointOrigin::Configuration);
    assert!(matches!(selection, SvidSelection::SpiffeId(_)));
    let bundle = &config.policy.bundles[0];
    let BundleSource::Http { server, long_poll, .. } = &bundle.source else { panic!("{bundle:?}") };
    assert_eq!((server.plaintext, *long_poll), (Plaintext::LoopbackOnly, Duration::from_secs(60)));
    assert!(matches!(&bundle.trust, BundleTrust::Signers(keys) if keys.len() == 2));
    assert_eq!(config.tokens[0].lifetime_max, Duration::from_secs(3600));
    assert_eq!(config.listeners[0].routes[0].tokens, TokenRule::Ignored);
}

#[test]
fn the_shape_of_the_design_is_taken_as_it_stands() {
    let config =
        taken(&[LEAST, "telemetry: { otlp: { url: https://otel:4317 }, sample: 1 }\nworkers: 2\n"].concat());
    assert_eq!(config.workers, Workers::Count(2));
    assert!((config.telemetry.sample_ratio - 1.0).abs() < f64::EPSILON);
}

#[test]
fn a_default_that_is_written_out_changes_nothing() {
    let least = least("upstreams:", ISSUER);
    let config = taken(&least);
    let written = least
        .replace("version: 1", "version: 1\nworkers: auto")
        .replace("upstream: app }", "upstream: app, enforcement: enforce, timeout: 15s, explain: code, tokens: optional, audit: async, name: app-0 }")
        .replace("{ file: k.json }", "{ file: k.json }, profile: access_token, leeway: 5s")
        .replace("decision: {", "last_good_directory: /var/lib/postern/policy\n  decision: {")
        .replace("8080\"]", "8080\"], protocol: http1, plaintext: loopback_only, idle_timeout: 30s")
        .replace("directory: audit", "directory: audit\n  mode: async\n  origin: postern/app\n  ring_bytes: 8MiB")
        .replace("policy:\n", "telemetry: { sample: 0.01, service_name: postern, log: { level: info, format: json } }\npolicy:\n");
    assert_eq!(taken(&written), config);
    let url =
        |options: &str| taken(&least.replace("{ file: k.json }", &format!("{{ url: https://a }}{options}")));
    assert_eq!(url(", trust_roots: system, plaintext: loopback_only"), url(""));
}

#[test]
fn a_wrong_unit_or_range_is_one_clear_error() {
    let timeout = |value: &str| format!("upstream: app, timeout: {value} }}");
    let key = "listeners.app.routes[0].timeout";
    check("upstream: app }", &timeout("5"), key, "`5` has no unit");
    check("upstream: app }", &timeout("5KiB"), key, "unknown unit `KiB`");
    check("upstream: app }", &timeout("1ms"), key, "write 10ms to 1d");
    check("upstream: app }", &timeout("\"\""), key, "whole number");
    let limits = |line: &str| format!("listeners:\n  app:\n    limits: {{ {line} }}\n");
    let key = "listeners.app.limits";
    for (line, name, what) in [
        ("header_bytes_max: 32", "header_bytes_max", "`32` has no unit"),
        ("header_bytes_max: 1GiB", "header_bytes_max", "write 1KiB to 256KiB"),
        ("header_bytes_max: 5s", "header_bytes_max", "unknown unit `s`"),
        ("header_count_max: 1000000", "header_count_max", "out of range"),
        ("header_line_bytes_max: 64KiB", "header_line_bytes_max", "which is reached first"),
        ("token_bytes_max: 9KiB", "token_bytes_max", "which is reached first"),
        ("body_bytes_max: 1KiB", "policy_body_bytes_max", "which is reached first"),
    ] {
        check("listeners:\n  app:\n", &limits(line), &format!("{key}.{name}"), what);
    }
    check("listeners:\n  app:\n", &limits("header_count_max: 64KiB"), &format!("{key}.header_count_max"), "");
    check("version: 1", "version: 2", "version", "write `version: 1`");
    check("version: 1", "version: 1\nworkers: 0", "workers", "1 to 64");
    check("version: 1", "version: 1\ntelemetry: { sample: 1.5 }", "telemetry.sample", "from 0 to 1");
    check("version: 1", "version: 1\ntelemetry: { sample: .nan }", "telemetry.sample", "from 0 to 1");
}

#[test]
fn an_upstream_with_tls_says_who_may_answer_and_may_be_anywhere() {
    let app = "app: { endpoints: [\"127.0.0.1:8080\"] }";
    let with = |endpoint: &str, rest: &str| format!("app: {{ endpoints: [\"{endpoint}\"], {rest} }}");
    let key = "upstreams.app.tls.mutual";
    let near = |rest: &str| with("127.0.0.1:8080", rest);
    check(app, &near("tls: { mutual: {} }"), key, "nobody is named");
    let ids = "tls: { mutual: { spiffe_ids: [example.org/a] } }";
    check(app, &near(ids), &format!("{key}.spiffe_ids[0]"), "is not a SPIFFE ID");
    let domains = "tls: { mutual: { trust_domains: [Example.org] } }";
    check(app, &near(domains), &format!("{key}.trust_domains[0]"), "lower case");
    let name = "tls: { mutual: { trust_domains: [example.org], server_name: \"a b\" } }";
    check(app, &near(name), &format!("{key}.server_name"), "is not a host name");
    let tls = "tls: { mutual: { trust_domains: [example.org] } }";
    check(app, &near(&format!("protocol: h2c, {tls}")), "upstreams.app.protocol", "write `h2`");
    check(app, &near("protocol: h2"), "upstreams.app.protocol", "write `h2c`, or add `tls`");
    check(app, &with("192.0.2.1:8443", "protocol: http1"), "upstreams.app.endpoints[0]", "beyond loopback");
    let loaded = read(&least(app, &with("192.0.2.1:8443", &format!("protocol: h2, {tls}"))));
    let loaded = loaded.unwrap_or_else(|findings| panic!("{findings}"));
    assert!(loaded.warnings.list.is_empty(), "{}", loaded.warnings);
}

#[test]
fn identity_headers_have_names_that_mean_nothing_else() {
    let headers = |written: &str| format!("upstream: app, identity_headers: {{ {written} }} }}");
    let key = "listeners.app.routes[0].identity_headers.claims";
    for name in [
        "authorization",
        "host",
        "x-forwarded-client-cert",
        "X-User",
        "x_user",
        "connection",
        "x-decision-id",
    ] {
        let named = format!("{key}.{name}");
        check(
            "upstream: app }",
            &headers(&format!("claims: {{ {name}: sub }}")),
            &named,
            "a claim may stand in",
        );
    }
    check(
        "upstream: app }",
        &headers("claims: { x-user: \"\" }"),
        &format!("{key}.x-user"),
        "1 to 256 bytes",
    );
    let blind = "upstream: app, tokens: ignored, identity_headers: { claims: { x-user: sub } } }";
    check("upstream: app }", blind, key, "looks at no token");
    let key = "listeners.app.routes[0].identity_headers";
    check("upstream: app }", &headers("xfcc: { mode: set }"), &format!("{key}.xfcc.mode"), "sanitize_set");
    check("upstream: app }", &headers("client_cert: pem"), &format!("{key}.client_cert"), "leaf");
}

#[test]
fn a_route_leads_to_an_upstream_that_is_there() {
    check("upstream: app }", "upstream: ap }", "listeners.app.routes[0].upstream", "did you mean `app`?");
    check_warning(
        "upstreams:",
        "upstreams:\n  spare: { endpoints: [\"127.0.0.1:9\"] }",
        "upstreams.spare",
        "no route",
    );
}

#[test]
fn a_route_that_can_never_match_is_refused() {
    let routes = |first: &str, second: &str| {
        format!(
            "{{ match: {{ {first} }}, upstream: app }}\n      - {{ match: {{ {second} }}, upstream: app }}"
        )
    };
    let key = "listeners.app.routes[1].match";
    for (first, second) in [
        ("", "path_prefix: /a"),
        ("path_prefix: /a", "path_prefix: /a/b"),
        ("path_prefix: /a", "path_prefix: /a"),
        ("methods: [GET, POST]", "methods: [GET]"),
        ("authorities: [a.example]", "authorities: [\"A.example:443\"]"),
        ("authorities: [\"*.example\"]", "authorities: [a.example, b.example]"),
        ("headers: { x-a: present }", "headers: { x-a: { exact: v } }"),
        ("headers: { x-a: present }", "headers: { x-a: { prefix: v } }"),
        ("headers: { x-a: { prefix: v } }", "headers: { x-a: { exact: v2 } }"),
        ("headers: { x-a: { prefix: v } }", "headers: { x-a: { prefix: v2 } }"),
        ("headers: { x-a: absent }", "headers: { x-a: absent, x-b: present }"),
    ] {
        check(ROUTE, &routes(first, second), key, "can never match");
    }
    for (first, second) in [
        ("path_prefix: /a", "path_prefix: /ab"),
        ("path_prefix: /a/b", "path_prefix: /a"),
        ("methods: [GET]", ""),
        ("methods: [GET]", "methods: [GET, POST]"),
        ("authorities: [a.example]", "path_prefix: /a"),
        ("authorities: [\"*.example\"]", "authorities: [a.b.example]"),
        ("authorities: [\"a.example:1\"]", "authorities: [a.example]"),
        ("headers: { x-a: { exact: v } }", "headers: { x-a: present }"),
        ("headers: { x-a: { prefix: v2 } }", "headers: { x-a: { prefix: v } }"),
        ("headers: { x-a: { prefix: v2 } }", "headers: { x-a: { exact: v } }"),
        ("headers: { x-a: present }", "headers: { x-b: { exact: v } }"),
        ("headers: { x-a: absent }", "headers: { x-a: present }"),
    ] {
        taken(&least(ROUTE, &routes(first, second)));
    }
}

#[test]
fn what_a_route_matches_is_written_in_canonical_spelling() {
    let matching = |line: &str| format!("{{ match: {{ {line} }}, upstream: app }}");
    let key = "listeners.app.routes[0].match";
    for (line, at, what) in [
        ("path_prefix: a", "path_prefix", "write `/a`"),
        ("path_prefix: /a/", "path_prefix", "write `/a`"),
        ("path_prefix: /a//b", "path_prefix", "empty segment"),
        ("path_prefix: /../b", "path_prefix", "`..`"),
        ("path_prefix: /%41", "path_prefix", "canonical"),
        ("path_prefix: \"/a?b\"", "path_prefix", "canonical"),
        ("path_prefix: /ä", "path_prefix", "canonical"),
        ("methods: [get]", "methods[0]", "write `GET`"),
        ("methods: [\"G T\"]", "methods[0]", "not a method"),
        ("methods: [GET, GET]", "methods[1]", "stands here twice"),
        ("authorities: [\"https://a\"]", "authorities[0]", "not a host name"),
        ("authorities: [\"a@b\"]", "authorities[0]", "not a host name"),
        ("authorities: [\"a:0\"]", "authorities[0]", "port"),
        ("authorities: [\"a:99999\"]", "authorities[0]", "port"),
        ("authorities: [\"a.*\"]", "authorities[0]", "not a host name"),
        ("authorities: [\"*.a:443\"]", "authorities[0]", "every port"),
        ("authorities: [\"\"]", "authorities[0]", "not a host name"),
    ] {
        check(ROUTE, &matching(line), &format!("{key}.{at}"), what);
    }
    let config = taken(&least(ROUTE, &matching("authorities: [A.Example, \"[::1]:443\"]")));
    assert_eq!(config.listeners[0].routes[0].matches.authorities, ["a.example", "[::1]:443"]);
}

#[test]
fn a_route_only_raises_the_audit_mode_and_says_when_it_is_open() {
    let key = "listeners.app.routes[0]";
    check("upstream: app }", "upstream: app, audit: best_effort }", &format!("{key}.audit"), "only raise");
    check_warning(
        "upstream: app }",
        "upstream: app, enforcement: observe }",
        &format!("{key}.enforcement"),
        "open",
    );
    let config = taken(&least("upstream: app }", "upstream: app, audit: durable }"));
    assert_eq!(config.listeners[0].routes[0].audit_mode, AuditMode::Durable);
}

#[test]
fn an_issuers_tokens_are_bound_as_it_is_written() {
    for (written, meant) in [
        ("", SenderConstraint::None),
        (", sender_constraint: none", SenderConstraint::None),
        (", sender_constraint: mtls", SenderConstraint::Mtls),
        (", sender_constraint: dpop", SenderConstraint::Dpop),
        (", sender_constraint: any", SenderConstraint::Any),
    ] {
        let issuer = ISSUER.replace("{ file: k.json }", &format!("{{ file: k.json }}{written}"));
        assert_eq!(taken(&least("upstreams:", &issuer)).tokens[0].sender_constraint, meant, "{written}");
    }
}

#[test]
fn a_nonce_is_required_only_of_proofs_that_can_come() {
    let required = "listeners:\n  app:\n    dpop_nonce: required\n";
    check("listeners:\n  app:\n", required, "listeners.app.dpop_nonce", "no issuer");
    let with_issuer = least("upstreams:", ISSUER);
    for (written, meant) in [("none", DpopNonce::None), ("required", DpopNonce::Required)] {
        let text = with_issuer.replace("listeners:\n  app:\n", &required.replace("required", written));
        assert_eq!(taken(&text).listeners[0].dpop_nonce, meant);
    }
    assert_eq!(taken(&with_issuer).listeners[0].dpop_nonce, DpopNonce::None);
}

#[test]
fn workload_tokens_are_asked_for_as_what_they_are() {
    let with = |more: &str| {
        format!(
            "workload_tokens: {{ authorities: [\"https://a.test\"], bundles: {{ example.org: b.json }}{more} }}\nupstreams:"
        )
    };
    let right = with(", incubating: true");
    for (from, to, key, what) in [
        ("true", "false", "workload_tokens.incubating", "incubating"),
        ("\"https://a.test\"", "", "workload_tokens.authorities", "at least one"),
        ("https://a.test", "https://a.test/", "workload_tokens.authorities[0]", "one spelling"),
        ("https://a.test", "https://A.test", "workload_tokens.authorities[0]", "one spelling"),
        ("https://a.test", "https://a.test:443", "workload_tokens.authorities[0]", "one spelling"),
        ("https://a.test", "https://a.test/x", "workload_tokens.authorities[0]", "one spelling"),
        ("https://a.test", "http://a.test", "workload_tokens.authorities[0]", "one spelling"),
        ("https://a.test", "a.test", "workload_tokens.authorities[0]", "one spelling"),
        ("{ example.org: b.json }", "{}", "workload_tokens.bundles", "at least one"),
        ("example.org: b", "Example.org: b", "workload_tokens.bundles.\"Example.org\"", "trust domain"),
    ] {
        assert!(right.contains(from), "{from}");
        check("upstreams:", &right.replace(from, to), key, what);
    }
    let config = taken(&least("upstreams:", &right));
    assert_eq!(config.workload_tokens.authorities, ["https://a.test"]);
    assert_eq!(config.workload_tokens.bundles[0].0.as_str(), "example.org");
    assert_eq!(taken(&least("upstreams:", "upstreams:")).workload_tokens, Default::default());
}

#[test]
fn an_address_is_one_and_is_taken_once() {
    for (from, to, key, what) in [
        ("127.0.0.1:8443", "localhost:8443", "listeners.app.inbound.address", "upstreams alone"),
        ("127.0.0.1:8443", "127.0.0.1:0", "listeners.app.inbound.address", "chance"),
        ("version: 1", "version: 1\nstatus: { address: 0.0.0.0:8443 }", "status.address", "already taken"),
        ("127.0.0.1:8080", "127.0.0.1:8443", "upstreams.app.endpoints[0]", "leads back"),
        ("127.0.0.1:8080", "0.0.0.0:8080", "upstreams.app.endpoints[0]", "`127.0.0.1:8080`"),
        ("127.0.0.1:8080", "10.0.0.1:8080", "upstreams.app.endpoints[0]", "beyond loopback"),
        ("[\"127.0.0.1:8080\"]", "[]", "upstreams.app.endpoints", "at least one"),
        (
            "[\"127.0.0.1:8080\"]",
            "[\"127.0.0.1:8080\", \"127.0.0.1:8080\"]",
            "upstreams.app.endpoints[1]",
            "twice",
        ),
        ("version: 1", "version: 1\nadmin: { socket: admin.sock }", "admin.socket", "unix:///run"),
    ] {
        check(from, to, key, what);
    }
    let open = least("[\"127.0.0.1:8080\"]", "[\"10.0.0.1:8080\"], plaintext: any_address");
    assert_eq!(
        taken(&open).upstreams[0].endpoints,
        [EndpointConfig::Address("10.0.0.1:8080".parse().expect("an address"))]
    );
    let long = format!("version: 1\nadmin: {{ socket: /{} }}", "x".repeat(107));
    check("version: 1", &long, "admin.socket", "at most 107");
}

#[test]
fn a_bundle_has_a_source_and_somebody_who_signed_it() {
    let key = "policy.bundles.authz";
    check(", signers: [policy.pub.pem]", "", key, "unsigned: development_only");
    check("[policy.pub.pem]", "[]", key, "nobody is named");
    check("[policy.pub.pem]", "[a, a]", &format!("{key}.signers[1]"), "twice");
    check("[policy.pub.pem]", "[a], unsigned: development_only", &format!("{key}.unsigned"), "contradict");
    check_warning(
        "signers: [policy.pub.pem]",
        "unsigned: development_only",
        &format!("{key}.unsigned"),
        "without a signature",
    );
    let directory = "{ directory: { path: policy } }";
    let fetched = "{ http: { url: https://policy.example/b } }, unsigned: development_only";
    check(
        &format!("{directory}, signers: [policy.pub.pem]"),
        fetched,
        &format!("{key}.unsigned"),
        "never taken",
    );
    check(
        directory,
        "{ http: { url: http://policy.example/b } }",
        &format!("{key}.source.http.url"),
        "without TLS",
    );
    check(
        directory,
        "{ oci: { image: x } }",
        &format!("{key}.source.oci"),
        "known here: `directory` or `http`",
    );
    check("{ authz:", "{ \"a/b\":", "policy.bundles.\"a/b\"", "is not a name");
    let decision = "postern/authz/decision";
    check(decision, "data/postern/authz", "policy.decision.rego", "write `postern/authz`");
    check(decision, "postern.authz.decision", "policy.decision.rego", "with slashes");
    check(decision, "postern/1", "policy.decision.rego", "with slashes");
}

#[test]
fn a_trust_domain_is_a_bare_name_and_has_a_bundle() {
    let key = "listeners.app.inbound.tls.mutual.trust_domains";
    check("[example.org]", "[]", key, "at least one");
    check("[example.org]", "[\"spiffe://example.org\"]", &format!("{key}[0]"), "bare name");
    check("[example.org]", "[example.org, example.org]", &format!("{key}[1]"), "twice");
    let files =
        |domain: &str| format!("{{ files: {{ certificate: c, key: k, trust_bundles: {{ {domain}: b }} }} }}");
    let source = "{ workload_api: { socket: /run/spire/agent.sock } }";
    let warnings = |domain: &str| read(&least(source, &files(domain))).expect("taken").warnings;
    let [warning] = &warnings("other.example").list[..] else { panic!("one warning") };
    assert_eq!(warning.key, format!("{key}[0]"));
    assert!(warning.what.contains("has no trust bundle"), "{warning:?}");
    assert!(warnings("example.org").list.is_empty());
}

#[test]
fn revocation_lists_are_judged_by_where_there_are_some() {
    let key = "identity.crl.mode";
    let source = "{ workload_api: { socket: /run/spire/agent.sock } } }";
    let with = |crls: &str, mode: &str| {
        format!(
            "{{ files: {{ certificate: c, key: k, trust_bundles: {{ example.org: b, a.org: b }}{crls} }} }}{mode} }}"
        )
    };
    let (listed, all) = (", crls: { example.org: c }", ", crls: { example.org: c, a.org: c }");
    let mode = |crls: &str, mode: &str| taken(&least(source, &with(crls, mode))).identity.revocation;
    use RevocationRule::{Everywhere, WhereListed};
    assert_eq!(mode("", ""), WhereListed);
    assert_eq!(mode(listed, ", crl: {}"), WhereListed);
    assert_eq!(mode(listed, ", crl: { mode: soft }"), Everywhere(RevocationMode::Soft));
    assert_eq!(mode(listed, ", crl: { mode: off }"), Everywhere(RevocationMode::Off));
    assert_eq!(mode(all, ", crl: { mode: hard }"), Everywhere(RevocationMode::Hard));
    let over_api = least(source, "{ workload_api: { socket: /run/a.sock } }, crl: { mode: hard } }");
    assert_eq!(taken(&over_api).identity.revocation, Everywhere(RevocationMode::Hard));
    check(source, &with(listed, ", crl: { mode: hard }"), key, "refuses everybody of `a.org`");
    check(source, &with("", ", crl: { mode: soft }"), key, "has no effect");
    check(source, &with(listed, ", crl: { mode: firm }"), key, "known here");
    let lists = "identity.source.files.crls";
    check(source, &with(", crls: { b.org: c }", ""), &format!("{lists}.\"b.org\""), "no trust bundle");
    check(source, &with(", crls: { B.org: c }", ""), &format!("{lists}.\"B.org\""), "bare name");

    let modes = |rule: RevocationRule| (rule.mode(true), rule.mode(false));
    assert_eq!(modes(WhereListed), (RevocationMode::Hard, RevocationMode::Off));
    assert_eq!(modes(Everywhere(RevocationMode::Soft)), (RevocationMode::Soft, RevocationMode::Soft));
}

#[test]
fn the_number_of_workers_follows_the_cpus_up_to_four() {
    for (workers, cpus, expected) in
        [(Workers::Auto, 0, 1), (Workers::Auto, 2, 2), (Workers::Auto, 64, 4), (Workers::Count(9), 2, 9)]
    {
        assert_eq!(workers.resolve(cpus), expected, "{workers:?} {cpus}");
    }
}

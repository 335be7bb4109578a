//! `tokens:`.

use super::*;

#[test]
fn tokens_are_required_only_of_issuers_that_are_known() {
    let key = "listeners.app.routes[0].tokens";
    check("upstream: app }", "upstream: app, tokens: required }", key, "no issuer");
    check("upstream: app }", "upstream: app, tokens: optional }", key, "no issuer");
    let config = taken(&least("upstreams:", ISSUER));
    assert_eq!(config.listeners[0].routes[0].tokens, TokenRule::Optional);
}

#[test]
fn an_issuer_is_whole() {
    let issuer = |from: &str, to: &str| {
        assert!(ISSUER.contains(from), "{from}");
        ISSUER.replace(from, to)
    };
    for (from, to, key, what) in [
        ("[a]", "[]", "tokens[0].audiences", "at least one"),
        ("[a]", "[a, a]", "tokens[0].audiences[1]", "twice"),
        ("issuer: i", "issuer: \"\"", "tokens[0].issuer", "claim"),
        ("[ES256]", "[]", "tokens[0].algorithms", "at least one"),
        ("[ES256]", "[none]", "tokens[0].algorithms[0]", "no signature"),
        ("[ES256]", "[HS256]", "tokens[0].algorithms[0]", "mint tokens"),
        ("[ES256]", "[es256]", "tokens[0].algorithms[0]", "did you mean `ES256`?"),
        ("{ file: k.json }", "{ file: k.json, url: https://a }", "tokens[0].keys.url", "keep one key"),
        ("{ file: k.json }", "{ url: http://idp.example/k }", "tokens[0].keys.url", "without TLS"),
        ("{ file: k.json }", "{ url: ftp://idp.example/k }", "tokens[0].keys.url", "scheme"),
        ("{ file: k.json }", "{ url: \"https://u:p@a\" }", "tokens[0].keys.url", "user information"),
        ("{ file: k.json }", "{ file: k.json }, leeway: 1h", "tokens[0].leeway", "0s to 2m"),
        ("{ file: k.json }", "{ file: k.json }, trust_roots: system", "tokens[0].trust_roots", "no effect"),
        (
            "{ file: k.json }",
            "{ url: http://127.0.0.1/k }, trust_roots: system",
            "tokens[0].trust_roots",
            "no effect",
        ),
        (
            "{ file: k.json }",
            "{ url: https://a }, trust_roots: { files: [] }",
            "tokens[0].trust_roots.files",
            "at least one",
        ),
        (
            " }]",
            " }, { issuer: i, audiences: [b], algorithms: [ES256], keys: { file: k } }]",
            "tokens[1].issuer",
            "twice",
        ),
    ] {
        check("upstreams:", &issuer(from, to), key, what);
    }
    let any = issuer("{ file: k.json }", "{ url: http://idp.example/k }, plaintext: any_address");
    check_warning("upstreams:", &any, "tokens[0].keys.url", "without TLS");
    let config = taken(&least("upstreams:", &issuer("{ file: k.json }", "{ url: http://localhost:1/k }")));
    assert!(matches!(&config.tokens[0].keys, KeySource::Url(source) if source.url == "http://localhost:1/k"));
}

#[test]
fn what_keeps_keys_fresh_is_for_keys_that_are_fetched() {
    for (from, to, key, what) in [
        ("{ file: k.json }", "{ file: k.json }, stale_max: 1h", "tokens[0].stale_max", "no effect"),
        (
            "{ file: k.json }",
            "{ file: k.json }, refresh_interval: 1h",
            "tokens[0].refresh_interval",
            "no effect",
        ),
        (
            "{ file: k.json }",
            "{ file: k.json }, last_good_directory: d",
            "tokens[0].last_good_directory",
            "no effect",
        ),
        (
            "{ file: k.json }",
            "{ url: https://a }, refresh_interval: 1s",
            "tokens[0].refresh_interval",
            "1m to 1d",
        ),
        ("{ file: k.json }", "{ url: https://a }, stale_max: 31d", "tokens[0].stale_max", "1m to 30d"),
        ("{ file: k.json }", "{ discovery: { x: 1 } }", "tokens[0].keys.discovery.x", "unknown key"),
        ("{ file: k.json }", "{ discovery: {} }", "tokens[0].issuer", "not an absolute URL"),
        (
            "{ file: k.json }",
            "{ file: k.json }, profile: jwt_svid",
            "tokens[0].issuer",
            "spiffe://example.org",
        ),
        ("{ file: k.json }", "{ file: k.json }, profile: id_token", "tokens[0].profile", "k8s_sa"),
    ] {
        check("upstreams:", &ISSUER.replace(from, to), key, what);
    }
}

#[test]
fn an_issuer_of_each_profile_is_taken() {
    let taken = |issuer: &str, rest: &str| {
        let text = ISSUER.replace("issuer: i", &format!("issuer: {issuer}"));
        taken(&least("upstreams:", &text.replace("keys: { file: k.json }", rest))).tokens.remove(0)
    };
    let spiffe = |rest: &str| taken("spiffe://example.org", &format!("keys: {{ file: k.json }}, {rest}"));
    assert_eq!(spiffe("profile: jwt_svid").profile, TokenProfile::JwtSvid("example.org".parse().unwrap()));
    let kubernetes = taken("https://k", "keys: { discovery: {} }, profile: k8s_sa");
    assert_eq!(kubernetes.profile, TokenProfile::KubernetesServiceAccount);
    assert_eq!(taken("i", "keys: { file: k.json }").profile, TokenProfile::AccessToken);
    let transactions = "keys: { file: k.json }, profile: txn_token";
    assert_eq!(taken("i", transactions).profile, TokenProfile::TransactionToken);
    // They are no bearer tokens, so a route looks at none.
    let only = ISSUER.replace("keys: { file: k.json }", transactions);
    let route = &super::taken(&least("upstreams:", &only)).listeners[0].routes[0];
    assert_eq!(route.tokens, TokenRule::Ignored);
    let found_at = |issuer: &str| match taken(issuer, "keys: { discovery: {} }").keys {
        KeySource::Discovery(server) => server.url,
        other @ (KeySource::File(_) | KeySource::Url(_) | KeySource::WorkloadApi | KeySource::Federation) => {
            panic!("{other:?}")
        }
    };
    let metadata = "https://idp.example/a/.well-known/openid-configuration";
    assert_eq!(
        (found_at("https://idp.example/a"), found_at("https://idp.example/a/")),
        (metadata.into(), metadata.into())
    );
    let fresh =
        taken("i", "keys: { url: https://a }, refresh_interval: 1m, stale_max: 2h, last_good_directory: /d");
    let expected = KeyFreshness {
        refresh_interval: Duration::from_secs(60),
        stale_max: Duration::from_secs(7200),
        last_good_directory: Some("/d".into()),
    };
    assert_eq!(fresh.freshness, expected);
}

#[test]
fn an_issuer_of_a_trust_domain_has_its_own_terms() {
    let issuer = |rest: &str| {
        ISSUER.replace("issuer: i", "issuer: spiffe://example.org").replace("keys: { file: k.json }", rest)
    };
    let svid = "keys: { file: k.json }, profile: jwt_svid";
    for (text, key, what) in [
        (issuer("keys: { discovery: {} }, profile: jwt_svid"), "tokens[0].keys.discovery", "no OpenID"),
        (issuer(svid).replace("ES256", "EdDSA"), "tokens[0].algorithms[0]", "no JWT-SVID"),
        (issuer(svid).replace("example.org", "example.org/a"), "tokens[0].issuer", "trust domain"),
        (issuer(svid).replace("example.org", "Example.org"), "tokens[0].issuer", "trust domain"),
    ] {
        check("upstreams:", &text, key, what);
    }
    let http = ISSUER.replace("issuer: i", "issuer: http://idp.example");
    check(
        "upstreams:",
        &http.replace("{ file: k.json }", "{ discovery: {} }"),
        "tokens[0].issuer",
        "without TLS",
    );
    let query = ISSUER.replace("issuer: i", "issuer: \"https://idp.example?a\"");
    check(
        "upstreams:",
        &query.replace("{ file: k.json }", "{ discovery: {} }"),
        "tokens[0].keys.discovery",
        "a query",
    );
}

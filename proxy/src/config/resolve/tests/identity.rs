//! Where the sidecar's own identity comes from.

use super::*;
use crate::config::{EndpointProfile, EndpointProof, TrustRoots};

const SOURCE: &str = "{ socket: /run/spire/agent.sock }";
const KEY: &str = "identity.source.workload_api";

fn environment(socket: &str) -> Environment {
    Environment { spiffe_endpoint_socket: Some(socket.into()) }
}

/// The endpoint and who said so, with this variable.
fn endpoint(source: &str, variable: Option<&str>) -> Result<(String, EndpointOrigin), String> {
    let environment = variable.map_or_else(Environment::default, environment);
    let loaded = load_text_in(&least(SOURCE, source), Path::new("postern.yaml"), &environment);
    let config = loaded.map_err(|findings| findings.to_string())?.config;
    let IdentitySource::WorkloadApi { endpoint, origin, .. } = config.identity.source else {
        panic!("another source")
    };
    Ok((endpoint.to_string(), origin))
}

#[test]
fn the_variable_counts_where_the_configuration_names_no_socket() {
    use EndpointOrigin::{Configuration, Environment};
    let variable = Some("unix:///env.sock");
    for (source, variable, found) in [
        ("{ socket: /file.sock }", variable, ("unix:///file.sock", Configuration)),
        ("{ socket: \"unix:///file.sock\" }", None, ("unix:///file.sock", Configuration)),
        ("{ socket: \"tcp://127.0.0.1:8081\" }", None, ("tcp://127.0.0.1:8081", Configuration)),
        ("{}", variable, ("unix:///env.sock", Environment)),
        ("{}", Some("tcp://[::1]:8081"), ("tcp://[::1]:8081", Environment)),
    ] {
        assert_eq!(endpoint(source, variable), Ok((found.0.to_owned(), found.1)), "{source}");
    }
    for (variable, what) in [
        (None, "nothing says where the Workload API is"),
        (Some("/env.sock"), "`/env.sock` is no Workload API"),
        (Some(""), "is no Workload API"),
        (Some("unix://env.sock"), "names an authority"),
        (Some("tcp://agent:8081"), "an IP address and a port alone"),
    ] {
        let refused = endpoint("{}", variable).expect_err("a refusal");
        assert!(refused.contains(what) && refused.contains("SPIFFE_ENDPOINT_SOCKET"), "{refused}");
    }
}

#[test]
fn what_is_no_socket_is_refused_by_name() {
    let socket = |text: &str| format!("{{ socket: \"{text}\" }}");
    let key = format!("{KEY}.socket");
    check(SOURCE, &socket("run/agent.sock"), &key, "is no Workload API");
    check(SOURCE, &socket("unix:run/agent.sock"), &key, "no absolute path");
    check(SOURCE, &socket("unix://run/agent.sock"), &key, "names an authority");
    check(SOURCE, &socket("tcp://127.0.0.1"), &key, "an IP address and a port alone");
    check(SOURCE, &socket("http://127.0.0.1:1"), &key, "is no Workload API");
    check(SOURCE, &socket("/run/"), &key, "is not a Unix socket");
}

#[test]
fn private_keys_pass_the_network_only_where_that_is_accepted() {
    let far = "{ socket: \"tcp://10.0.0.1:8081\" }";
    check(SOURCE, far, KEY, "over the network without TLS");
    let accepted = far.replace(" }", ", plaintext: any_address }");
    let loaded = read(&least(SOURCE, &accepted)).unwrap_or_else(|findings| panic!("{findings}"));
    assert_eq!(loaded.warnings.count(Level::Warning), 1, "{}", loaded.warnings);
}

#[test]
fn an_svid_is_chosen_by_id_or_by_hint() {
    let chosen = |by: &str| {
        let source = format!("{{ socket: /run/spire/agent.sock{by} }}");
        let IdentitySource::WorkloadApi { selection, .. } = taken(&least(SOURCE, &source)).identity.source
        else {
            panic!("another source")
        };
        selection
    };
    assert_eq!(chosen(""), SvidSelection::First);
    assert_eq!(chosen(", hint: internal"), SvidSelection::Hint("internal".to_owned()));
    let id = "spiffe://example.org/a";
    assert_eq!(chosen(&format!(", spiffe_id: {id}")), SvidSelection::SpiffeId(id.parse().unwrap()));
    let with = |by: &str| format!("{{ socket: /run/spire/agent.sock, {by} }}");
    check(SOURCE, &with("spiffe_id: example.org/a"), &format!("{KEY}.spiffe_id"), "not a SPIFFE ID");
    check(SOURCE, &with("hint: \"\""), &format!("{KEY}.hint"), "cannot be a hint");
    check(SOURCE, &with(&format!("spiffe_id: {id}, hint: b")), &format!("{KEY}.hint"), "not by both");
}

/// Changes the identity of [`LEAST`]: these relationships beside its source.
fn with_federation(relationships: &str) -> String {
    let identity = "{ source: { workload_api: { socket: /run/spire/agent.sock } } }";
    least(identity, &identity.replace(" } } }", &format!(" }} }}, federation: [{relationships}] }}")))
}

#[test]
fn a_relationship_means_what_it_says() {
    let web = "{ trust_domain: a.org, url: \"https://a.org/\", profile: { https_web: {} } }";
    let spiffe = |more: &str| {
        format!(
            "{{ trust_domain: b.org, url: \"https://b.org/\", profile: {{ https_spiffe: {{ endpoint_spiffe_id: \"spiffe://{more}}} }} }}"
        )
    };
    let both = format!("{web}, {}", spiffe("b.org/server\", bootstrap_bundle: b.pem "));
    let config = taken(&with_federation(&both)).identity;
    assert_eq!(config.federation_directory, PathBuf::from("/var/lib/postern/federation"));
    let profiles: Vec<_> = config.federation.into_iter().map(|relationship| relationship.profile).collect();
    assert_eq!(profiles[0], EndpointProfile::HttpsWeb { trust_roots: TrustRoots::System });
    let EndpointProfile::HttpsSpiffe { proof: EndpointProof::SelfServing { bootstrap_bundle }, .. } =
        &profiles[1]
    else {
        panic!("{profiles:?}")
    };
    assert_eq!(*bootstrap_bundle, PathBuf::from("/etc/postern/b.pem"));
    let elsewhere = taken(&with_federation(&spiffe("hub.org/server\" ")));
    let profile = &elsewhere.identity.federation[0].profile;
    assert!(
        matches!(profile, EndpointProfile::HttpsSpiffe { proof: EndpointProof::InForce, .. }),
        "{profile:?}"
    );

    let refused = |relationships: &str, what: &str| {
        let findings = read(&with_federation(relationships)).expect_err("a refusal").to_string();
        assert!(findings.contains(what), "{findings}");
    };
    refused(&spiffe("hub.org/server\", bootstrap_bundle: b.pem "), "is proven by the bundle of `hub.org`");
    refused(&spiffe("b.org/server\" "), "nothing proves `spiffe://b.org/server`");
    refused(&spiffe("\" "), "is not a SPIFFE ID");
    refused(&web.replace("a.org,", "\"spiffe://a.org\","), "bare name");
}

#[test]
fn a_trust_domain_is_believed_by_file_or_by_federation() {
    let files = "{ files: { certificate: c, key: k, trust_bundles: { example.org: b } } }";
    let source = "{ workload_api: { socket: /run/spire/agent.sock } }";
    let web = |name: &str| {
        format!(
            "federation: [{{ trust_domain: {name}, url: \"https://a/\", profile: {{ https_web: {{}} }} }}]"
        )
    };
    let with = |name: &str| least(source, &format!("{files}, {}", web(name)));
    let accepting_both = with("other.org").replace("[example.org]", "[example.org, other.org]");
    taken(&accepting_both);
    let findings = read(&with("example.org")).expect_err("a refusal").to_string();
    assert!(findings.contains("which counts alone"), "{findings}");
    // A relationship ends by being taken out; that its members are refused from then on is no mistake.
    let ended = least(source, files).replace("[example.org]", "[example.org, other.org]");
    let warnings = read(&ended).unwrap_or_else(|findings| panic!("{findings}")).warnings;
    assert_eq!(warnings.list.len(), 1, "{warnings}");
    assert!(warnings.to_string().contains("`other.org` has no trust bundle"), "{warnings}");
}

#[test]
fn keys_of_jwt_svids_come_by_federation_with_their_trust_domain() {
    let with = |issuer: &str, rest: &str| {
        let federation = "agent.sock } }, federation: [{ trust_domain: other.org, url: \"https://a/\", profile: { https_web: {} } }]";
        let tokens = format!(
            "tokens: [{{ issuer: \"spiffe://{issuer}\", audiences: [a], algorithms: [ES256], keys: {{ federation: {{}} }}{rest} }}]\nupstreams:"
        );
        least("upstreams:", &tokens).replace("agent.sock } }", federation)
    };
    let svid = ", profile: jwt_svid";
    assert_eq!(taken(&with("other.org", svid)).tokens[0].keys, KeySource::Federation);
    let refused = |text: &str, what: &str| {
        let findings = read(text).expect_err("a refusal").to_string();
        assert!(findings.contains(what), "{findings}");
    };
    refused(&with("other.org", ", profile: generic"), "keys of JWT-SVIDs alone");
    refused(&with("other.org", ""), "keys of JWT-SVIDs alone");
    refused(
        &with("other.org", ", profile: jwt_svid, stale_max: 1h"),
        "no effect on keys that come by federation",
    );
    // What is left when a relationship has ended is no mistake.
    let warnings = read(&with("third.org", svid)).unwrap_or_else(|findings| panic!("{findings}")).warnings;
    assert_eq!(warnings.list.len(), 1, "{warnings}");
    assert!(warnings.to_string().contains("no relationship with `third.org`"), "{warnings}");
}

#[test]
fn keys_of_jwt_svids_come_from_the_workload_api_that_is_the_source() {
    let tokens = |keys: &str, more: &str| {
        format!(
            "tokens: [{{ issuer: \"spiffe://example.org\", audiences: [a], algorithms: [ES256], keys: {keys}{more} }}]\nupstreams:"
        )
    };
    let keys = "{ workload_api: {} }";
    let config = taken(&least("upstreams:", &tokens(keys, ", profile: jwt_svid")));
    assert_eq!(config.tokens[0].keys, KeySource::WorkloadApi);
    let key = "tokens[0].keys.workload_api";
    check("upstreams:", &tokens(keys, ", profile: generic"), key, "JWT-SVIDs alone");
    check("upstreams:", &tokens(keys, ""), key, "JWT-SVIDs alone");
    let refreshed = tokens(keys, ", profile: jwt_svid, refresh_interval: 1m");
    check("upstreams:", &refreshed, "tokens[0].refresh_interval", "no effect");
    let files = "{ files: { certificate: c, key: k, trust_bundles: { example.org: b } } }";
    let source = "{ workload_api: { socket: /run/spire/agent.sock } }";
    let text = least(source, files).replace("upstreams:", &tokens(keys, ", profile: jwt_svid"));
    let findings = read(&text).expect_err("a refusal").to_string();
    assert!(findings.contains("does not come from a Workload API"), "{findings}");
}

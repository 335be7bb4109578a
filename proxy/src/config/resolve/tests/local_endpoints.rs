//! Endpoints that are Unix sockets.
use super::{LEAST, check, least, read, taken};
use crate::config::EndpointConfig;
use crate::config::findings::Level;

const APP: &str = "app: { endpoints: [\"127.0.0.1:8080\"] }";
const LOCAL: &str = "\"unix:///run/app.sock\"";

#[track_caller]
fn refused(endpoint: &str, what: &str) {
    let written = format!("app: {{ endpoints: [\"{endpoint}\"] }}");
    check(APP, &written, "upstreams.app.endpoints[0]", what);
}

#[test]
fn an_endpoint_may_be_a_unix_socket() {
    for written in ["unix:///run/app.sock", "unix:/run/app.sock"] {
        let config = taken(&least("127.0.0.1:8080", written));
        let [EndpointConfig::Unix(path)] = &config.upstreams[0].endpoints[..] else { panic!("{written}") };
        assert_eq!(path.as_str(), "/run/app.sock");
    }
    refused("unix://run/app.sock", "no absolute path");
    refused("unix:app.sock", "no absolute path");
    refused("unix:", "no absolute path");
    refused("unix:///run/", "no absolute path");
    refused("unix:///run/x/../app.sock", "without `..`");
    refused(&format!("unix:///{}", "a".repeat(107)), "more than 107 bytes");
    refused("unix:///run/\\u202eapp", "not plain ASCII");
    refused("unix:@app", "abstract name");
}

#[test]
fn who_answers_at_a_unix_socket_may_be_named() {
    let with = |endpoints: &str, uids: &str| format!("app: {{ endpoints: [{endpoints}], uids: {uids} }}");
    let config = taken(&least(APP, &with(LOCAL, "[1000, 0]")));
    assert_eq!(config.upstreams[0].uids.as_deref(), Some(&[1000, 0][..]));
    assert_eq!(taken(LEAST).upstreams[0].uids, None);
    let key = "upstreams.app.uids";
    check(APP, &with(LOCAL, "[]"), key, "no user");
    check(APP, &with(LOCAL, "[7, 7]"), &format!("{key}[1]"), "twice");
    check(APP, &with(LOCAL, "[65534]"), &format!("{key}[0]"), "no number");
    check(APP, &with("\"127.0.0.1:1\"", "[7]"), key, "no kernel tells");
    check(APP, &with(&format!("{LOCAL}, \"127.0.0.1:1\""), "[7]"), key, "no kernel tells");
}

#[test]
fn tls_over_a_unix_socket_needs_a_name_to_ask_for() {
    let with = |name: &str| {
        let mutual = format!("mutual: {{ trust_domains: [example.org]{name} }}");
        format!("app: {{ endpoints: [{LOCAL}], tls: {{ {mutual} }} }}")
    };
    taken(&least(APP, &with(", server_name: app.internal")));
    check(APP, &with(""), "upstreams.app.tls.mutual", "server_name");
}

#[test]
fn no_upstream_is_a_socket_of_this_sidecar() {
    let inbound = "inbound: { address: 127.0.0.1:8443, tls: { mutual: { trust_domains: [example.org] } } }";
    let check = |text: String, owner: &str| {
        let findings = read(&text).expect_err("a refusal");
        let mut errors = findings.list.iter().filter(|finding| finding.level == Level::Error);
        let error = errors.next().expect("an error");
        assert_eq!(error.key, "upstreams.app.endpoints[0]", "{findings}");
        assert!(error.what.contains("leads back") && error.what.contains(owner), "{findings}");
    };
    let local = least("127.0.0.1:8080", "unix:///run//app.sock");
    let outbound = local.replace(inbound, "outbound: { socket: \"unix:///run/app.sock\" }");
    check(outbound, "listeners.app.outbound.socket");
    check(format!("{local}admin: {{ socket: /run/app.sock }}\n"), "admin.socket");
}

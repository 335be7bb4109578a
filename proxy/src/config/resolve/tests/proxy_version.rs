//! `proxy_protocol:` of an upstream.
use super::{check, least, read, taken};
use crate::config::ProxyVersion;

const APP: &str = "app: { endpoints: [\"127.0.0.1:8080\"] }";

#[test]
fn an_upstream_is_told_by_the_version_that_is_written_from_whom_a_connection_is() {
    let with =
        |written: &str| format!("app: {{ endpoints: [\"127.0.0.1:8080\"], proxy_protocol: {written} }}");
    for (written, meant) in [("v1", ProxyVersion::V1), ("v2", ProxyVersion::V2)] {
        let loaded = read(&least(APP, &with(written))).expect("a configuration");
        assert_eq!(loaded.config.upstreams[0].proxy_protocol, Some(meant));
        assert!(loaded.warnings.list.is_empty(), "{}", loaded.warnings);
    }
    assert_eq!(taken(super::LEAST).upstreams[0].proxy_protocol, None);
    check(APP, &with("v3"), "upstreams.app.proxy_protocol", "`v2`");
}

#[test]
fn callers_of_whom_nothing_can_be_told_are_warned_of() {
    let inbound = "inbound: { address: 127.0.0.1:8443, tls: { mutual: { trust_domains: [example.org] } } }";
    let text = least(inbound, "outbound: { socket: \"unix:///run/egress.sock\" }")
        .replace("8080\"]", "8080\"], proxy_protocol: v2");
    let warnings = read(&text).expect("a configuration").warnings;
    let [warning] = &warnings.list[..] else { panic!("{warnings}") };
    assert_eq!(warning.key, "upstreams.app.proxy_protocol");
    assert!(warning.what.contains("have no address"), "{}", warning.what);
}

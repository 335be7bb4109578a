//! Endpoints that are names.
use super::*;
use crate::config::settings::NamedEndpoint;

const APP: &str = "app: { endpoints: [\"127.0.0.1:8080\"] }";
const TLS: &str = "tls: { mutual: { trust_domains: [example.org] } }";
const OPEN: &str = "plaintext: any_address";

#[track_caller]
fn refused(endpoint: &str, rest: &str, what: &str) {
    let written = format!("app: {{ endpoints: [\"{endpoint}\"], {rest} }}");
    check(APP, &written, "upstreams.app.endpoints[0]", what);
}

#[track_caller]
fn named(endpoint: &str, rest: &str, (host, loopback_only): (&str, bool)) {
    let written = format!("app: {{ endpoints: [\"127.0.0.1:9\", \"{endpoint}\"], {rest} }}");
    let name = NamedEndpoint { host: host.to_owned(), port: Some(8443), loopback_only };
    let expected = [EndpointConfig::Address(([127, 0, 0, 1], 9).into()), EndpointConfig::Name(name)];
    assert_eq!(taken(&least(APP, &written)).upstreams[0].endpoints, expected, "{endpoint}");
}

#[test]
fn an_endpoint_is_an_address_or_a_host_name_with_a_port() {
    named("orders.default.svc.cluster.local:8443", TLS, ("orders.default.svc.cluster.local", false));
    named("Orders:8443", TLS, ("orders", false));
    named("orders.example.org.:8443", TLS, ("orders.example.org.", false));
    named("orders:8443", OPEN, ("orders", false));
    refused("orders", TLS, "`orders` has no port");
    refused("", TLS, "not an IP address with a port");
    refused("orders:0", TLS, "`0` is not a port");
    refused("orders:99999", TLS, "`99999` is not a port");
    refused("orders:", TLS, "`` is not a port");
    refused("or ders:8443", TLS, "`or ders` is not a host name");
    refused("-orders:8443", TLS, "is not a host name");
    refused("a..b:8443", TLS, "is not a host name");
    refused(".:8443", TLS, "not an IP address");
    refused(":8443", TLS, "not an IP address");
    refused("10.0.0.300:8443", TLS, "not an IP address with a port");
    refused("*.example.org:8443", TLS, "is not a host name");
    refused("https://orders:8443", TLS, "not an IP address");
    refused(&format!("{}:8443", "a".repeat(64)), TLS, "is not a host name");
}

#[test]
fn a_host_may_be_called_like_a_scheme() {
    named("srv:8443", TLS, ("srv", false));
    named("unix:8443", TLS, ("unix", false));
}

#[test]
fn an_endpoint_may_be_a_service_of_the_dns() {
    let service = |endpoint: &str, rest: &str, (host, asked): (&str, &str)| {
        let written = format!("app: {{ endpoints: [\"{endpoint}\"], {rest} }}");
        let config = taken(&least(APP, &written));
        let [EndpointConfig::Name(name)] = &config.upstreams[0].endpoints[..] else { panic!("{endpoint}") };
        assert_eq!((&*name.host, name.port, name.server_name()), (host, None, asked));
    };
    service("srv:_http._tcp.orders.internal", TLS, ("_http._tcp.orders.internal", "orders.internal"));
    service("srv:_HTTP._TCP.Orders.internal.", OPEN, ("_http._tcp.orders.internal.", "orders.internal"));
    service("srv:_http._tcp.orders", TLS, ("_http._tcp.orders", "orders"));
    refused("srv:orders.internal", TLS, "does not begin with `_service._tcp.`");
    refused("srv:http._tcp.orders", TLS, "does not begin with `_service._tcp.`");
    refused("srv:_._tcp.orders", TLS, "does not begin with `_service._tcp.`");
    refused("srv:_http._tcp", TLS, "does not begin with `_service._tcp.`");
    refused("srv:", TLS, "does not begin with `_service._tcp.`");
    refused("srv:_http._udp.orders.internal", TLS, "no service over TCP");
    refused("srv:_http._tcp.or ders", TLS, "names no domain");
    refused("srv:_http._tcp.", TLS, "does not begin with `_service._tcp.`");
    refused("srv:_http._tcp.orders.internal:8080", TLS, "names no domain");
    refused(&format!("srv:_http._tcp.{}org", "a23456789.".repeat(24)), TLS, "names no domain");
    refused("srv:_http._tcp.orders.internal", "protocol: http1", "beyond loopback");
}

#[test]
fn a_service_has_nothing_beside_it() {
    for other in ["127.0.0.1:9", "orders:8443", "srv:_grpc._tcp.orders.internal"] {
        let endpoints = format!("[\"{other}\", \"srv:_http._tcp.orders.internal\"]");
        let written = format!("app: {{ endpoints: {endpoints}, {TLS} }}");
        check(APP, &written, "upstreams.app.endpoints", "stands beside other endpoints");
    }
}

#[test]
fn a_name_without_tls_is_localhost_or_accepted_by_hand() {
    named("localhost:8443", "protocol: http1", ("localhost", true));
    named("LOCALHOST.:8443", "protocol: http1", ("localhost.", true));
    named("localhost:8443", OPEN, ("localhost", false));
    refused("orders:8443", "protocol: http1", "beyond loopback");
    refused("localhost.example.org:8443", "protocol: http1", "beyond loopback");
}

//! Envoy's configuration: mutual TLS 1.3 and its RBAC filters.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};

use super::peers::streams_of;

const CLIENT: &str = "spiffe://example.org/client";

/// One listener for requests and one for raw streams, in front of the upstreams for HTTP/1.1, for gRPC and for bytes.
pub(super) fn config(identities: &Path, listener: SocketAddr, upstreams: [SocketAddr; 3]) -> Value {
    let [app, calls, flood] = upstreams;
    json!({ "static_resources": {
        "listeners": [
            {
                "name": "app", "address": address(listener),
                "filter_chains": [{
                    "filters": [manager()],
                    "transport_socket": tls(identities, &["h2", "http/1.1"]),
                }],
            },
            {
                "name": "bytes", "address": address(streams_of(listener)),
                "filter_chains": [{ "filters": streams(), "transport_socket": tls(identities, &[]) }],
            },
        ],
        "clusters": [cluster("app", app, &json!({})), cluster("calls", calls, &http2()), cluster("flood", flood, &json!({}))],
    } })
}

fn address(of: SocketAddr) -> Value {
    json!({ "socket_address": { "address": of.ip().to_string(), "port_value": of.port() } })
}

fn cluster(name: &str, endpoint: SocketAddr, options: &Value) -> Value {
    json!({
        "name": name, "type": "STATIC",
        "typed_extension_protocol_options": options,
        "load_assignment": { "cluster_name": name, "endpoints": [
            { "lb_endpoints": [{ "endpoint": { "address": address(endpoint) } }] },
        ] },
    })
}

fn http2() -> Value {
    json!({ "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": { "http2_protocol_options": {} },
    } })
}

fn tls(identities: &Path, alpn: &[&str]) -> Value {
    let file = |name: &str| json!({ "filename": identities.join(name) });
    json!({ "name": "envoy.transport_sockets.tls", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "require_client_certificate": true,
        "common_tls_context": {
            "alpn_protocols": alpn,
            "tls_params": { "tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3" },
            "tls_certificates": [{ "certificate_chain": file("sidecar.pem"), "private_key": file("sidecar.key") }],
            "validation_context": { "trusted_ca": file("trust.pem") },
        },
    } })
}

/// The same rule as in the policies of Postern.
fn rules(permissions: &Value) -> Value {
    json!({ "action": "ALLOW", "policies": { "client": {
        "permissions": permissions,
        "principals": [{ "authenticated": { "principal_name": { "exact": CLIENT } } }],
    } } })
}

fn manager() -> Value {
    let method = |name: &str| json!({ "header": { "name": ":method", "string_match": { "exact": name } } });
    let rbac = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
        "rules": rules(&json!([method("GET"), method("POST")])),
    });
    json!({ "name": "envoy.filters.network.http_connection_manager", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "app",
        "codec_type": "AUTO",
        "route_config": { "virtual_hosts": [{
            "name": "all", "domains": ["*"],
            "routes": [
                { "match": { "prefix": "/bench.Echo" }, "route": { "cluster": "calls" } },
                { "match": { "prefix": "/" }, "route": { "cluster": "app" } },
            ],
        }] },
        "http_filters": [
            { "name": "envoy.filters.http.rbac", "typed_config": rbac },
            { "name": "envoy.filters.http.router", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
            } },
        ],
    } })
}

fn streams() -> Value {
    let rbac = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC",
        "stat_prefix": "bytes",
        "rules": rules(&json!([{ "any": true }])),
    });
    let tcp = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": "bytes",
        "cluster": "flood",
    });
    json!([
        { "name": "envoy.filters.network.rbac", "typed_config": rbac },
        { "name": "envoy.filters.network.tcp_proxy", "typed_config": tcp },
    ])
}

//! Real Envoy: one listener, one way on.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::{Running, peer};

/// Longest time until it listens.
const START_LIMIT: Duration = Duration::from_secs(75);

const MANAGER: &str =
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
const ROUTER: &str = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
const HTTP: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
const PREVIOUS: &str = "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate";
const TLS: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3";

/// What Envoy is told.
#[derive(Debug)]
pub struct Envoy {
    /// Where it listens.
    pub at: SocketAddr,
    /// By which `DownstreamTlsContext` it does; without one, in plaintext.
    pub secured: Option<Value>,
    /// Where everything goes: a cluster named `onward`.
    pub onward: Value,
    /// Clusters that its configuration itself needs.
    pub more: Vec<Value>,
    /// HTTP filters before the router.
    pub filters: Vec<Value>,
}

/// An address.
pub fn address(socket: SocketAddr) -> Value {
    json!({ "socket_address": { "address": socket.ip().to_string(), "port_value": socket.port() } })
}

/// A cluster of one endpoint, over HTTP/2 or HTTP/1.1, with the members of an `UpstreamTlsContext` or in plaintext.
pub fn cluster(name: &str, to: &Value, http2: bool, secured: Option<Value>) -> Value {
    let endpoint = json!({ "endpoint": { "address": to } });
    let mut cluster = json!({
        "name": name,
        "type": "STATIC",
        "load_assignment": { "cluster_name": name, "endpoints": [{ "lb_endpoints": [endpoint] }] },
    });
    if http2 {
        cluster["typed_extension_protocol_options"] = json!({ HTTP: {
            "@type": format!("type.googleapis.com/{HTTP}"),
            "explicit_http_config": { "http2_protocol_options": {} },
        } });
    }
    if let Some(secured) = secured {
        cluster["transport_socket"] = tls("UpstreamTlsContext", secured);
    }
    cluster
}

fn tls(context: &str, mut members: Value) -> Value {
    members["@type"] = json!(format!("{TLS}.{context}"));
    json!({ "name": "tls", "typed_config": members })
}

impl Envoy {
    /// Starts it, with its administration at `envoy-PORT.sock` in the folder; `None` when there is none, and then this test is counted as skipped.
    ///
    /// # Panics
    /// When it does not listen in time.
    pub fn start(self, folder: &Path) -> Option<Running> {
        let program = peer("POSTERN_ENVOY")?;
        let at = self.at;
        let path = folder.join(format!("envoy-{}.json", at.port()));
        let admin =
            json!({ "address": { "pipe": { "path": folder.join(format!("envoy-{}.sock", at.port())) } } });
        let mut config = self.config();
        config["admin"] = admin;
        fs::write(&path, config.to_string()).expect("Envoy's configuration");
        let mut command = Command::new(program);
        command.arg("-c").arg(path);
        command.args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"]);
        let mut envoy = Running::start("envoy", command, folder);
        envoy.wait_for_port(at, START_LIMIT);
        Some(envoy)
    }

    fn config(mut self) -> Value {
        // What no server has seen goes to another one, as it does with other load balancers unasked.
        let retries = json!({
            "retry_on": "connect-failure,refused-stream",
            "num_retries": 3,
            "retry_host_predicate": [{
                "name": "another",
                "typed_config": { "@type": format!("type.googleapis.com/{PREVIOUS}") },
            }],
            "host_selection_retry_max_attempts": 3,
        });
        self.filters.push(json!({ "name": "router", "typed_config": { "@type": ROUTER } }));
        let filters = self.filters;
        let mut chain = json!({ "filters": [{ "name": "http", "typed_config": {
            "@type": MANAGER,
            "stat_prefix": "all",
            "route_config": { "virtual_hosts": [{
                "name": "all",
                "domains": ["*"],
                "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": "onward", "retry_policy": retries } }],
            }] },
            "http_filters": filters,
        } }] });
        if let Some(secured) = self.secured {
            chain["transport_socket"] = tls("DownstreamTlsContext", secured);
        }
        let clusters = [vec![self.onward], self.more].concat();
        json!({
            "node": { "id": "envoy", "cluster": "tests" },
            "static_resources": {
                "listeners": [{ "name": "in", "address": address(self.at), "filter_chains": [chain] }],
                "clusters": clusters,
            },
        })
    }
}

//! The two ways on which the same request goes: through real Envoy, which asks the authorizer, and through the sidecar.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use postern_tests::envoy::{Envoy, address, cluster};
use postern_tests::{Answer, Caller, Running, Scene, Sidecar, Upstream, Version, peer, port};
use serde_json::{Value, json};

const ENTRY: &str = "postern/authz/decision";
const EXT_AUTHZ: &str = "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz";
/// Longest time until the authorizer listens.
const START_LIMIT: Duration = Duration::from_secs(60);

/// One policy in force on both ways.
pub struct Sides {
    scene: Scene,
    caller: Caller,
    envoy: SocketAddr,
    upstream: Upstream,
    _running: (Running, Running, Sidecar),
}

/// What came of a request on one way.
#[derive(Clone, Debug)]
pub struct Fate {
    /// What the caller got.
    pub answer: Answer,
    /// What the upstream got, if anything.
    pub seen: Option<Value>,
}

impl Sides {
    /// Puts `rego` in force on both; `None` when a program is missing.
    pub fn start(rego: &str) -> Option<Self> {
        let authorizer = peer("POSTERN_OPA_ENVOY")?;
        peer("POSTERN_ENVOY")?;
        let scene = Scene::new();
        scene.write_policy(rego);
        let sidecar = scene.start();
        let (asked, envoy) = (port::free(), port::free());
        let authorizer =
            authorize(scene.folder.path(), &authorizer, &Policy { text: rego, path: ENTRY }, asked);
        let upstream = Upstream::start();
        let running = Envoy {
            at: envoy,
            secured: Some(secured(&scene)),
            onward: cluster("onward", &address(upstream.address()), false, None),
            more: vec![cluster("authorizer", &address(asked), true, None)],
            filters: vec![filter()],
        }
        .start(scene.folder.path())?;
        let caller = scene.caller("/client");
        Some(Self { scene, caller, envoy, upstream, _running: (authorizer, running, sidecar) })
    }

    /// The same request on both ways: through Envoy, and through the sidecar.
    pub fn ask(&self, version: Version, ask: &Request<Bytes>) -> (Fate, Fate) {
        let fate = |to: SocketAddr, upstream: &Upstream| {
            let before = upstream.count();
            let answer = self.caller.call(to, version, ask.clone()).expect("an answer");
            let seen = (upstream.count() > before).then(|| upstream.seen().pop()).flatten();
            Fate { answer, seen }
        };
        (fate(self.envoy, &self.upstream), fate(self.scene.listener, &self.scene.upstream))
    }
}

/// A policy, and where its answer stands.
pub struct Policy<'a> {
    pub text: &'a str,
    pub path: &'a str,
}

/// Starts what Envoy asks, by the plugin's command line.
pub fn authorize(folder: &Path, program: &Path, policy: &Policy<'_>, at: SocketAddr) -> Running {
    let file = folder.join("authorizer.rego");
    fs::write(&file, policy.text).expect("the policy is written");
    let mut command = Command::new(program);
    command.args(["run", "--server", "--addr", &port::free().to_string()]);
    let settings = [
        ("addr", at.to_string()),
        ("path", policy.path.to_owned()),
        ("enable-reflection", "true".to_owned()),
    ];
    for (name, value) in settings {
        command.arg("--set").arg(format!("plugins.envoy_ext_authz_grpc.{name}={value}"));
    }
    command.arg(file);
    let mut running = Running::start("authorizer", command, folder);
    running.wait_for_port(at, START_LIMIT);
    running
}

/// Envoy is reached as the sidecar is: by mutual TLS, under the same name.
fn secured(scene: &Scene) -> Value {
    json!({
        "require_client_certificate": true,
        "common_tls_context": {
            "alpn_protocols": ["h2", "http/1.1"],
            "tls_certificates": [{
                "certificate_chain": { "filename": scene.path("sidecar.pem") },
                "private_key": { "filename": scene.path("sidecar.key") },
            }],
            "validation_context": { "trusted_ca": { "filename": scene.path("trust.pem") } },
        },
    })
}

fn filter() -> Value {
    json!({ "name": "authz", "typed_config": {
        "@type": EXT_AUTHZ,
        "transport_api_version": "V3",
        "grpc_service": { "envoy_grpc": { "cluster_name": "authorizer" }, "timeout": "20s" },
        "with_request_body": { "max_request_bytes": 65536, "allow_partial_message": true },
        "include_tls_session": true,
    } })
}

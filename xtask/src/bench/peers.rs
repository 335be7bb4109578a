//! The proxies that are compared, each with one worker, on one core, with the equivalent configuration: mutual TLS 1.3,
//! one rule by SPIFFE ID and method, HTTP/1.1 to the upstream.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::{Core, Ground, envoy, pinned};
use crate::process::Guard;

const UPSTREAM: ([u8; 4], u16) = ([127, 0, 0, 1], 17080);
const CALLS: ([u8; 4], u16) = ([127, 0, 0, 1], 17078);
const FLOOD: ([u8; 4], u16) = ([127, 0, 0, 1], 17079);
const ENVOY: ([u8; 4], u16) = ([127, 0, 0, 1], 17081);

const START_LIMIT: Duration = Duration::from_secs(30);

/// The one that ratios are made against.
pub(super) const REFERENCE: &str = "Envoy mTLS + RBAC";

/// The language that a Postern of the comparison decides in, with the same rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Language {
    Rego,
    Cedar,
}

impl Language {
    fn name(self) -> &'static str {
        match self {
            Self::Rego => "Postern, Rego",
            Self::Cedar => "Postern, Cedar",
        }
    }

    fn address(self) -> SocketAddr {
        match self {
            Self::Rego => SocketAddr::from(([127, 0, 0, 1], 17082)),
            Self::Cedar => SocketAddr::from(([127, 0, 0, 1], 17083)),
        }
    }

    /// The policy's file, its text, and how the configuration asks it.
    fn policy(self) -> (&'static str, &'static str, Value) {
        match self {
            Self::Rego => ("authz.rego", REGO, json!({ "rego": "postern/authz/decision" })),
            Self::Cedar => ("authz.cedar", CEDAR, json!({ "cedar": {} })),
        }
    }
}

const CEDAR: &str = r#"permit(
  principal == Workload::"spiffe://example.org/client",
  action in [Action::"GET", Action::"POST", Action::"connect"],
  resource
);
"#;

const REGO: &str = r#"package postern.authz

default decision := {"allowed": false}

decision := {"allowed": true} if {
	input.attributes.source.principal == "spiffe://example.org/client"
	input.attributes.request.http.method == "GET"
}

decision := {"allowed": true} if {
	input.attributes.source.principal == "spiffe://example.org/client"
	input.attributes.request.http.method == "POST"
}

decision := {"allowed": true} if {
	input.attributes.source.principal == "spiffe://example.org/client"
	input.postern.action == "connect"
}
"#;

/// A running proxy.
pub(super) struct Peer {
    pub(super) name: String,
    pub(super) address: SocketAddr,
    pub(super) process: Guard,
}

/// The service behind all of them.
pub(super) fn upstream(ground: &Ground) -> Result<Guard> {
    let [address, calls, flood] = [UPSTREAM, CALLS, FLOOD].map(SocketAddr::from);
    let mut command = ground.generator(&["upstream", &address.to_string()]);
    command.arg("--calls").arg(calls.to_string()).arg("--flood").arg(flood.to_string());
    started("upstream", command, address, ground)
}

/// Every peer, running.
pub(super) fn all(ground: &Ground) -> Result<Vec<Peer>> {
    let own_core = |program: &Path| pinned(program, Core::Proxy);
    Ok(vec![
        envoy(ground)?,
        postern(ground, Language::Rego, own_core)?,
        postern(ground, Language::Cedar, own_core)?,
    ])
}

/// Postern, started by what `wrap` makes of its path.
pub(super) fn postern(
    ground: &Ground,
    language: Language,
    wrap: impl FnOnce(&Path) -> Command,
) -> Result<Peer> {
    let name = language.name().to_lowercase().replace(", ", "-");
    let folder = ground.folder.join(&name);
    drop(fs::remove_dir_all(&folder));
    fs::create_dir_all(folder.join("policy"))?;
    let (file, text, decision) = language.policy();
    fs::write(folder.join("policy/.manifest"), r#"{"roots": ["postern"], "rego_version": 1}"#)?;
    fs::write(folder.join("policy").join(file), text)?;
    let config = folder.join("postern.yaml");
    let address = language.address();
    fs::write(
        &config,
        postern_config(&ground.folder.join("identities"), &folder, address, &decision).to_string(),
    )?;
    let mut command = wrap(&ground.postern);
    command.arg("run").arg("-c").arg(config);
    let process = started(&name, command, address, ground)?;
    wait_until_ready(&name, status_of(address))?;
    Ok(Peer { name: language.name().to_owned(), address, process })
}

/// Each sidecar has a status port of its own beside its listener.
fn status_of(listener: SocketAddr) -> SocketAddr {
    SocketAddr::new(listener.ip(), listener.port() + 10)
}

/// And a listener for raw streams.
pub(super) fn streams_of(listener: SocketAddr) -> SocketAddr {
    SocketAddr::new(listener.ip(), listener.port() + 20)
}

/// A listener that is bound is not yet one that serves: identity and policy may still be on their way.
fn wait_until_ready(name: &str, status: SocketAddr) -> Result<()> {
    let began = Instant::now();
    while !ready(status).unwrap_or(false) {
        if began.elapsed() > START_LIMIT {
            bail!("{name} does not become ready");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn ready(status: SocketAddr) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(status)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: status\r\n\r\n")?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    Ok(&head == b"HTTP/1.1 200")
}

fn envoy(ground: &Ground) -> Result<Peer> {
    let path = ground.folder.join("envoy.json");
    let identities = ground.folder.join("identities");
    let address = SocketAddr::from(ENVOY);
    let upstreams = [UPSTREAM, CALLS, FLOOD].map(SocketAddr::from);
    fs::write(&path, envoy::config(&identities, address, upstreams).to_string())?;
    let mut command = pinned(ground.tool("POSTERN_ENVOY")?, Core::Proxy);
    command.arg("-c").arg(path).args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]);
    Ok(Peer { name: REFERENCE.to_owned(), address, process: started("envoy", command, address, ground)? })
}

fn started(name: &str, command: Command, address: SocketAddr, ground: &Ground) -> Result<Guard> {
    if TcpStream::connect(address).is_ok() {
        bail!("somebody listens on {address} already");
    }
    let log = ground.folder.join(format!("{name}.log"));
    let mut guard = Guard::start(command, &log)?;
    let began = Instant::now();
    while TcpStream::connect(address).is_err() {
        if guard.ended()? || began.elapsed() > START_LIMIT {
            bail!("{name} does not listen on {address}; see `{}`", log.display());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(guard)
}

fn postern_config(identities: &Path, folder: &Path, address: SocketAddr, decision: &Value) -> Value {
    let tls = json!({ "mutual": { "trust_domains": ["example.org"] } });
    json!({
        "version": 1,
        "identity": { "source": { "files": {
            "certificate": identities.join("sidecar.pem"),
            "key": identities.join("sidecar.key"),
            "trust_bundles": { "example.org": identities.join("trust.pem") },
        } } },
        "policy": {
            // Under callgrind everything is fifty times slower; the safety net must not catch that.
            "decision_timeout": "1s",
            "bundles": { "authz": {
                "source": { "directory": { "path": folder.join("policy") } },
                "unsigned": "development_only",
            } },
            "decision": decision,
            "last_good_directory": folder.join("last-good"),
        },
        "listeners": {
            "app": {
                "inbound": { "address": address.to_string(), "tls": tls },
                "routes": [
                    { "match": { "path_prefix": "/bench.Echo" }, "upstream": "calls" },
                    { "match": { "path_prefix": "/" }, "upstream": "app" },
                ],
            },
            "bytes": {
                "inbound": { "address": streams_of(address).to_string(), "tls": tls },
                "protocol": "tcp",
                "routes": [{ "match": {}, "upstream": "flood" }],
            },
        },
        "upstreams": {
            "app": { "endpoints": [SocketAddr::from(UPSTREAM).to_string()] },
            "calls": { "endpoints": [SocketAddr::from(CALLS).to_string()], "protocol": "h2c" },
            "flood": { "endpoints": [SocketAddr::from(FLOOD).to_string()], "protocol": "tcp" },
        },
        "audit": {
            "directory": folder.join("audit"),
            "signer": { "ed25519": { "key": identities.join("audit.key") } },
            "mode": "async",
        },
        "status": { "address": status_of(address).to_string() },
        "workers": 1,
    })
}

//! The embedded defaults behind `postern demo`: one process, loopback only, nothing to install.
//!
//! The sidecar itself knows nothing of the demo. It reads a configuration file like any other, takes its SVID
//! from a Workload API socket as it would from SPIRE, and loads a signed bundle.
pub mod bank;
pub mod ca;
pub mod mint;
mod policy;
mod state;
pub mod workload_api;

pub use state::{DemoState, StateError};

use crate::clock::Clock;
use ca::Ca;
use postern_identity::{SpiffeId, TrustDomain};
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// The demo's trust domain.
pub const TRUST_DOMAIN: &str = "demo.postern";
/// The sidecar's own identity.
const SIDECAR: &str = "spiffe://demo.postern/bank";

/// The life of the sidecar's SVID: short enough to see it rotate.
const SVID_TTL: Duration = Duration::from_secs(600);

/// Where the demo listens.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// The sidecar.
    pub listener: SocketAddr,
    /// The status port.
    pub status: SocketAddr,
}

/// Everything beside the sidecar, running until it is dropped.
#[derive(Debug)]
pub struct Demo {
    directory: PathBuf,
    state: DemoState,
    /// Keeps the servers alive.
    _servers: tokio::sync::oneshot::Sender<()>,
}

/// Why the demo cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The file system, or a socket.
    #[error("`{}`: {error}", .path.display())]
    Io {
        /// What was touched.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// A socket.
    #[error(transparent)]
    Endpoint(#[from] workload_api::EndpointError),
    /// The in-memory CA.
    #[error("the demo's certificate authority: {0}")]
    Ca(#[from] ca::CaError),
    /// The embedded policy.
    #[error("the demo's policy bundle: {0}")]
    Policy(#[from] postern_policy::SigningError),
    /// The log's key.
    #[error("the operating system gives no key for the audit log")]
    Key,
    /// The state file.
    #[error(transparent)]
    State(#[from] StateError),
    /// A constant of the demo does not parse.
    #[error("the demo's own name is broken: {0}")]
    Name(#[from] postern_identity::IdError),
}

impl Demo {
    /// Writes keys, bundle and configuration into a fresh directory and starts the CA, the Workload API and
    /// the bank.
    pub fn set_up(ports: Ports, clock: &Arc<dyn Clock>) -> Result<Self, DemoError> {
        let directory = fresh_directory()?;
        let trust_domain: TrustDomain = TRUST_DOMAIN.parse()?;
        let sidecar: SpiffeId = SIDECAR.parse()?;
        let ca = Arc::new(Ca::new(trust_domain, clock.unix_time())?);
        let failed = |error| DemoError::Io { path: directory.clone(), error };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let bank = runtime.block_on(serve(&directory, &ca, &sidecar, clock))?;
        policy::write_bundle(&directory)?;
        write_audit_key(&directory)?;
        let config = configuration(&directory, ports, bank);
        write(&directory.join("postern.yaml"), config.as_bytes())?;
        let state = DemoState {
            version: 1,
            pid: std::process::id(),
            listener: ports.listener,
            spiffe_id: SIDECAR.to_owned(),
            mint_socket: directory.join("mint.sock"),
            audit_directory: directory.join(AUDIT_LOG),
        };
        let (servers, ended) = tokio::sync::oneshot::channel::<()>();
        let serve = move || {
            // Ends when the demo is dropped, and takes every server along.
            drop(runtime.block_on(ended));
        };
        std::thread::Builder::new().name("demo".to_owned()).spawn(serve).map_err(failed)?;
        Ok(Self { directory, state, _servers: servers })
    }

    /// The configuration that the sidecar runs with.
    pub fn config_file(&self) -> PathBuf {
        self.directory.join("postern.yaml")
    }

    /// Lets other terminals find this demo.
    pub fn announce(&self) -> Result<(), DemoError> {
        self.state.write()?;
        Ok(())
    }

    /// Where things are.
    pub fn state(&self) -> &DemoState {
        &self.state
    }

    /// The Workload API socket of the sidecar.
    pub fn workload_api_socket(&self) -> PathBuf {
        self.directory.join("agent.sock")
    }

    /// Removes everything but the audit log and its public key, which are evidence; where there is no log, there is
    /// nothing to prove, and nothing stays.
    pub fn clean_up(self) {
        self.state.remove();
        if !self.directory.join(AUDIT_LOG).exists() {
            // What cannot be removed stays: the demo ends all the same.
            drop(fs::remove_dir_all(&self.directory));
            return;
        }
        let Ok(entries) = fs::read_dir(&self.directory) else { return };
        for entry in entries.flatten() {
            if EVIDENCE.iter().any(|name| entry.file_name() == *name) {
                continue;
            }
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let path = entry.path();
            drop(if is_folder { fs::remove_dir_all(path) } else { fs::remove_file(path) });
        }
    }
}

const AUDIT_LOG: &str = "audit";
const AUDIT_PUBLIC_KEY: &str = "audit.pub.pem";
/// What outlives the demo.
const EVIDENCE: [&str; 2] = [AUDIT_LOG, AUDIT_PUBLIC_KEY];

async fn serve(
    directory: &Path,
    ca: &Arc<Ca>,
    sidecar: &SpiffeId,
    clock: &Arc<dyn Clock>,
) -> Result<SocketAddr, DemoError> {
    let agent = workload_api::bind(directory, "agent")?;
    let workload = workload_api::Workload { id: sidecar.clone(), ttl: SVID_TTL };
    drop(tokio::spawn(workload_api::serve(agent, workload, Arc::clone(ca), Arc::clone(clock))));
    let mint = workload_api::bind(directory, "mint")?;
    drop(tokio::spawn(mint::serve(mint, Arc::clone(ca), Arc::clone(clock))));
    let failed = |error| DemoError::Io { path: PathBuf::from("127.0.0.1:0"), error };
    let bank = TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
    let address = bank.local_addr().map_err(failed)?;
    drop(tokio::spawn(bank::serve(bank)));
    Ok(address)
}

/// A directory that only its owner can enter: whoever reaches its sockets is given identities.
fn fresh_directory() -> Result<PathBuf, DemoError> {
    let mut random = [0; 8];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| DemoError::Key)?;
    let name = format!("postern-demo-{:016x}", u64::from_ne_bytes(random));
    let path = std::env::temp_dir().join(name);
    let failed = |error| DemoError::Io { path: path.clone(), error };
    fs::DirBuilder::new().mode(0o700).create(&path).map_err(failed)?;
    Ok(path)
}

fn write_audit_key(directory: &Path) -> Result<(), DemoError> {
    use aws_lc_rs::encoding::AsDer;
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
    let key = Ed25519KeyPair::generate().map_err(|_| DemoError::Key)?;
    let pkcs8 = key.to_pkcs8v1().map_err(|_| DemoError::Key)?;
    let public = AsDer::<aws_lc_rs::encoding::PublicKeyX509Der<'_>>::as_der(key.public_key())
        .map_err(|_| DemoError::Key)?;
    write(&directory.join("audit.pem"), pem("PRIVATE KEY", pkcs8.as_ref()).as_bytes())?;
    write(&directory.join(AUDIT_PUBLIC_KEY), pem("PUBLIC KEY", public.as_ref()).as_bytes())
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), DemoError> {
    let failed = |error| DemoError::Io { path: path.to_owned(), error };
    let mut file =
        fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    io::Write::write_all(&mut file, bytes).map_err(failed)
}

fn configuration(directory: &Path, ports: Ports, bank: SocketAddr) -> String {
    let at = |name: &str| directory.join(name).display().to_string();
    format!(
        "# yaml-language-server: $schema=https://postern.dev/schema/config.json
# Written by `postern demo`. Everything in it is for trying things out.
version: 1
identity:
  source: {{ workload_api: {{ socket: \"unix://{agent}\" }} }}
policy:
  bundles:
    demo-bank:
      source: {{ directory: {{ path: \"{bundle}\" }} }}
      signers: [\"{signer}\"]
  decision: {{ rego: postern/authz/decision }}
  last_good_directory: \"{last_good}\"
listeners:
  bank:
    inbound: {{ address: \"{listener}\", tls: {{ mutual: {{ trust_domains: [{TRUST_DOMAIN}] }} }} }}
    routes:
      - {{ name: bank, match: {{ path_prefix: / }}, upstream: bank, explain: detail }}
upstreams:
  bank: {{ endpoints: [\"{bank}\"] }}
audit:
  directory: \"{audit}\"
  origin: {TRUST_DOMAIN}/bank
  signer: {{ ed25519: {{ key: \"{key}\" }} }}
telemetry: {{ log: {{ level: warn, format: text }} }}
status: {{ address: \"{status}\" }}
admin: {{ socket: \"{admin}\" }}
",
        agent = at("agent.sock"),
        bundle = at("bundle.tar.gz"),
        signer = at("bundle.pub.pem"),
        last_good = at("last-good"),
        listener = ports.listener,
        status = ports.status,
        audit = at(AUDIT_LOG),
        key = at("audit.pem"),
        admin = at("admin.sock"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    #[test]
    fn a_demo_that_has_ended_leaves_its_log_and_the_key_to_verify_it() {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let demo = Demo::set_up(Ports { listener: nowhere, status: nowhere }, &clock).unwrap();
        let directory = demo.directory.clone();
        for made_by_the_sidecar in ["audit/seg", "last-good/demo-bank"] {
            fs::create_dir_all(directory.join(made_by_the_sidecar)).unwrap();
        }
        demo.clean_up();
        let left = fs::read_dir(&directory).unwrap();
        let mut left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["audit", "audit.pub.pem"]);
        assert!(directory.join("audit/seg").is_dir(), "the log is whole");
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn a_demo_that_could_not_start_leaves_nothing() {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let demo = Demo::set_up(Ports { listener: nowhere, status: nowhere }, &clock).unwrap();
        let directory = demo.directory.clone();
        demo.clean_up();
        assert!(!directory.exists());
    }
}

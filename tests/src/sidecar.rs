//! The real binary with a configuration of its own: identity from files, policy from a folder, one listener, one
//! upstream, everything on loopback and in a temporary folder.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::authority::{Authority, ED25519, Identity, key_pair};
use crate::caller::{Caller, call_plain, get};
use crate::peer::postern;
use crate::process::{Output, Running, run};
use crate::upstream::Upstream;

/// Longest time from start to readiness. A debug build on a busy machine takes seconds.
const READY_LIMIT: Duration = Duration::from_secs(30);

/// Longest time in which a sidecar stops that was asked to.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// The trust domain of every scene.
pub const TRUST_DOMAIN: &str = "example.org";

/// Lets `/client` of the scene's trust domain `GET`, and gives everybody else a reason.
pub const POLICY: &str = r#"package postern.authz

default decision := {"allowed": false, "reason": "only the client may read"}

decision := {"allowed": true} if {
	input.attributes.source.principal == "spiffe://example.org/client"
	input.attributes.request.http.method == "GET"
}
"#;

/// Everything a sidecar needs, before it runs. Change [`Scene::config`], then [`Scene::start`].
#[derive(Debug)]
pub struct Scene {
    /// Where all its files are.
    pub folder: TempDir,
    /// Who mints the identities.
    pub authority: Authority,
    /// The service behind the sidecar.
    pub upstream: Upstream,
    /// Where callers come in.
    pub listener: SocketAddr,
    /// The read-only port.
    pub status: SocketAddr,
    /// The configuration, as a tree.
    pub config: Value,
}

impl Scene {
    /// A scene in front of an HTTP/1.1 service, with [`POLICY`].
    pub fn new() -> Self {
        Self::in_front_of(Upstream::start())
    }

    /// A scene in front of `upstream`, with [`POLICY`].
    ///
    /// # Panics
    /// When the temporary folder cannot be written.
    pub fn in_front_of(upstream: Upstream) -> Self {
        let folder = tempfile::Builder::new().prefix("postern-").tempdir().expect("a temporary folder");
        let authority = Authority::new(TRUST_DOMAIN);
        let (listener, status) = (crate::port::free(), crate::port::free());
        authority.issue("/sidecar").write(folder.path(), "sidecar");
        fs::write(folder.path().join("trust.pem"), authority.bundle_pem()).expect("the bundle is written");
        let (audit_key, audit_public) = key_pair(&ED25519);
        fs::write(folder.path().join("audit.key"), audit_key).expect("the key is written");
        fs::write(folder.path().join("audit.pub.pem"), audit_public).expect("the key is written");
        let config = config(folder.path(), listener, status, upstream.address());
        let scene = Self { folder, authority, upstream, listener, status, config };
        scene.write_policy(POLICY);
        scene
    }

    /// The sidecar of `/client`, whom `service` serves: its listener `egress` takes plaintext, and its upstream `service`
    /// is the other sidecar, by mutual TLS. Both speak `protocol`, which is one of upstreams.
    ///
    /// # Panics
    /// When the temporary folder cannot be written.
    pub fn calling(service: &Self, protocol: &str, route: &Value) -> Self {
        let mut scene = Self::new();
        service.authority.issue("/client").write(scene.folder.path(), "sidecar");
        fs::write(scene.path("trust.pem"), service.authority.bundle_pem()).expect("the bundle is written");
        scene.config["listeners"] = json!({ "egress": {
            "outbound": { "address": scene.listener.to_string() },
            "protocol": if protocol == "tcp" { "tcp" } else { "http" },
            "routes": [route],
        } });
        scene.config["upstreams"] = json!({ "service": {
            "endpoints": [service.listener.to_string()],
            "protocol": protocol,
            "tls": { "mutual": { "spiffe_ids": ["spiffe://example.org/sidecar"] } },
        } });
        scene
    }

    /// A path inside the scene's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The log's folder.
    pub fn audit(&self) -> PathBuf {
        self.path("audit")
    }

    /// Puts `rego` in force, now or at the next look at the folder. The file changes in one step.
    ///
    /// # Panics
    /// When the folder cannot be written.
    pub fn write_policy(&self, rego: &str) {
        let folder = self.path("policy");
        fs::create_dir_all(&folder).expect("the policy folder");
        let manifest = json!({"revision": "test", "roots": ["postern"], "rego_version": 1});
        fs::write(folder.join(".manifest"), manifest.to_string()).expect("the manifest is written");
        let waiting = self.path("authz.rego.next");
        fs::write(&waiting, rego).expect("the policy is written");
        fs::rename(&waiting, folder.join("authz.rego")).expect("the policy is put in place");
    }

    /// A caller with the identity `spiffe://example.org<path>`.
    pub fn caller(&self, path: &str) -> Caller {
        Caller::new(&self.authority.issue(path), self.authority.bundle_pem())
    }

    /// The certificate and key of `spiffe://example.org<path>` as files, and the trust bundle.
    pub fn files(&self, path: &str) -> (PathBuf, PathBuf, PathBuf) {
        let identity: Identity = self.authority.issue(path);
        let (certificate, key) = identity.write(self.folder.path(), path.trim_start_matches('/'));
        (certificate, key, self.path("trust.pem"))
    }

    /// Writes the configuration and gives its path.
    ///
    /// # Panics
    /// When the folder cannot be written.
    pub fn write_config(&self) -> PathBuf {
        let path = self.path("postern.yaml");
        // JSON is YAML.
        fs::write(&path, format!("{:#}", self.config)).expect("the configuration is written");
        path
    }

    /// Starts `postern run` and waits until it says that it is ready.
    pub fn start(&self) -> Sidecar {
        let mut sidecar = self.start_unready();
        sidecar.wait_until_ready();
        sidecar
    }

    /// Starts `postern run`.
    pub fn start_unready(&self) -> Sidecar {
        let mut command = Command::new(postern());
        command.arg("run").arg("-c").arg(self.write_config());
        let running = Running::start("postern", command, self.folder.path());
        Sidecar { running, listener: self.listener, status: self.status }
    }
}

impl Default for Scene {
    fn default() -> Self {
        Self::new()
    }
}

fn config(folder: &Path, listener: SocketAddr, status: SocketAddr, upstream: SocketAddr) -> Value {
    json!({
        "version": 1,
        "identity": { "source": { "files": {
            "certificate": folder.join("sidecar.pem"),
            "key": folder.join("sidecar.key"),
            "trust_bundles": { TRUST_DOMAIN: folder.join("trust.pem") },
        } } },
        "policy": {
            "bundles": { "authz": {
                "source": { "directory": { "path": folder.join("policy"), "poll_interval": "250ms" } },
                "unsigned": "development_only",
            } },
            "decision": { "rego": "postern/authz/decision" },
            // A debug build beside other tests needs longer than a decision may take by default.
            "decision_timeout": "1s",
            "last_good_directory": folder.join("last-good"),
        },
        "listeners": { "app": {
            "inbound": {
                "address": listener.to_string(),
                "tls": { "mutual": { "trust_domains": [TRUST_DOMAIN] } },
            },
            "routes": [{ "match": { "path_prefix": "/" }, "upstream": "app", "explain": "detail" }],
        } },
        "upstreams": { "app": { "endpoints": [upstream.to_string()] } },
        "audit": {
            "directory": folder.join("audit"),
            "signer": { "ed25519": { "key": folder.join("audit.key") } },
        },
        "status": { "address": status.to_string() },
    })
}

/// A running sidecar; killed when dropped.
#[derive(Debug)]
pub struct Sidecar {
    /// Its process.
    pub running: Running,
    /// Where callers come in.
    pub listener: SocketAddr,
    /// The read-only port.
    pub status: SocketAddr,
}

impl Sidecar {
    /// Waits until `/readyz` says yes.
    pub fn wait_until_ready(&mut self) {
        let status = self.status;
        self.running.wait_for("readiness", READY_LIMIT, |_| {
            call_plain(status, get("/readyz")).ok().filter(|answer| answer.status.is_success()).map(drop)
        });
    }

    /// What the status port says at `path`: the status and the text.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn ask_status(&self, path: &str) -> (u16, String) {
        let answer = call_plain(self.status, get(path)).expect("the status port answers");
        (answer.status.as_u16(), String::from_utf8_lossy(&answer.body).into_owned())
    }

    /// What readiness says about one part: whether it is well, and the remark.
    ///
    /// # Panics
    /// When the status port does not answer, or knows no such part.
    pub fn check(&self, name: &str) -> (bool, String) {
        let (_, text) = self.ask_status("/readyz?verbose");
        let json: Value = serde_json::from_str(&text).expect("JSON");
        let checks = json["checks"].as_array().expect("checks");
        let check = checks.iter().find(|check| check["name"] == name);
        let check = check.unwrap_or_else(|| panic!("no check `{name}`: {text}"));
        (check["ok"] == true, check["reason"].as_str().unwrap_or_default().to_owned())
    }

    /// Waits until readiness says `part` about this part, and returns whether it is well.
    ///
    /// # Panics
    /// When it does not say so within `limit`; shows what it says instead.
    pub fn wait_for_check(&self, name: &str, part: &str, limit: Duration) -> bool {
        let started = std::time::Instant::now();
        loop {
            let (ok, reason) = self.check(name);
            if reason.contains(part) {
                return ok;
            }
            assert!(started.elapsed() < limit, "waited in vain for `{part}`; `{name}` says: {reason}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The sum of a metric's series whose text begins with `series`, such as `postern_x_total{result="refused"`.
    ///
    /// # Panics
    /// When the status port does not answer.
    pub fn metric(&self, series: &str) -> f64 {
        let (_, text) = self.ask_status("/metrics");
        let values = text.lines().filter(|line| line.starts_with(series));
        values.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// How often a policy bundle was looked at and not taken.
    pub fn policy_refusals(&self) -> f64 {
        self.metric("postern_policy_loads_total{result=\"refused\"")
            + self.metric("postern_policy_loads_total{result=\"unavailable\"")
    }

    /// Asks it to stop and checks that it does, with exit code 0.
    pub fn stop(mut self) {
        self.running.signal(Signal::TERM);
        let status = self.running.wait_for_end(STOP_LIMIT);
        assert_eq!(status.code(), Some(0), "a clean stop; it printed\n{}", self.running.output());
    }

    /// Kills it without a word.
    pub fn kill(mut self) {
        self.running.signal(Signal::KILL);
        self.running.wait_for_end(STOP_LIMIT);
    }
}

/// Runs `postern` with these arguments to its end.
pub fn postern_with<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> Output {
    let mut command = Command::new(postern());
    command.args(arguments);
    run(command, Duration::from_secs(60))
}

/// Checks that `postern audit verify` calls the log whole.
pub fn assert_log_is_whole(audit: &Path) -> Output {
    let arguments = [Path::new("audit"), Path::new("verify"), audit];
    postern_with(&arguments).expect_code(0)
}

/// The text of all records in the log's segments.
///
/// # Panics
/// When there are no segments.
pub fn records(audit: &Path) -> String {
    let mut paths: Vec<PathBuf> = Vec::new();
    let mut open = vec![audit.join("seg")];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).expect("the segments").map(|entry| entry.expect("an entry")) {
            if entry.path().is_dir() {
                open.push(entry.path());
            } else if entry.path().extension().is_none_or(|extension| extension != "lh") {
                paths.push(entry.path());
            }
        }
    }
    paths.sort();
    let text = |path: &PathBuf| String::from_utf8_lossy(&fs::read(path).expect("a segment")).into_owned();
    paths.iter().map(text).collect()
}

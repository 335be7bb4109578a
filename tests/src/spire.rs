//! Real SPIRE: servers, an agent, and the levers that its operators have.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::authority::Identity;
use crate::process::{Output, Running, run};
use crate::{peer, port};

/// Longest wait for a start, and for one command.
const LIMIT: Duration = Duration::from_secs(60);

/// Where SPIRE's programs are.
#[derive(Clone, Debug)]
pub struct Programs {
    server: PathBuf,
    agent: PathBuf,
}

/// The server of one trust domain; killed when dropped.
#[derive(Debug)]
pub struct Server {
    programs: Programs,
    trust_domain: String,
    folder: TempDir,
    address: SocketAddr,
    running: Running,
}

/// An agent of one server. Workloads of our user are attested; killed when dropped.
#[derive(Debug)]
pub struct Agent {
    programs: Programs,
    folder: PathBuf,
    running: Running,
}

impl Programs {
    /// Both, or the line by which the suite counts this test as skipped.
    pub fn find() -> Option<Self> {
        Some(Self { server: peer("POSTERN_SPIRE_SERVER")?, agent: peer("POSTERN_SPIRE_AGENT")? })
    }
}

impl Server {
    /// Starts one. `more` goes into the `server` section of its configuration.
    ///
    /// # Panics
    /// When it does not become healthy.
    pub fn start(programs: &Programs, trust_domain: &str, more: &str) -> Self {
        // A Unix socket's path is at most 107 bytes long.
        let folder =
            tempfile::Builder::new().prefix("sp-").tempdir_in("/tmp").expect("a short temporary folder");
        let at = folder.path();
        for inner in ["server", "agent", "a", "adm"] {
            fs::create_dir(at.join(inner)).expect("a folder");
        }
        let address = port::free();
        let config = server_config(at, address, trust_domain, more);
        fs::write(at.join("server.conf"), config).expect("the server's configuration");
        let running = run_server(programs, at);
        let mut server = Self {
            programs: programs.clone(),
            trust_domain: trust_domain.to_owned(),
            address,
            running,
            folder,
        };
        server.wait_until_healthy();
        server
    }

    /// Starts it again after [`Server::kill`].
    pub fn restart(&mut self) {
        self.running = run_server(&self.programs, self.folder.path());
        self.wait_until_healthy();
    }

    /// Kills it without a word.
    pub fn kill(&mut self) {
        self.running.signal(Signal::KILL);
        self.running.wait_for_end(LIMIT);
    }

    fn wait_until_healthy(&mut self) {
        let (program, folder) = (self.programs.server.clone(), self.folder.path().to_path_buf());
        self.running.wait_for("a healthy server", LIMIT, |_| {
            (ask(&program, &folder, &["healthcheck"]).code == Some(0)).then_some(())
        });
    }

    /// Runs `spire-server` with these words.
    pub fn ask(&self, words: &[&str]) -> Output {
        ask(&self.programs.server, self.folder.path(), words)
    }

    /// As [`Server::ask`], for a command that succeeds and prints JSON.
    ///
    /// # Panics
    /// When it does not.
    pub fn json(&self, words: &[&str]) -> Value {
        let out = self.ask(&[words, &["-output", "json"]].concat()).expect_code(0).out;
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{words:?}: {error}: {out}"))
    }

    /// Gives workloads of our user an identity, and returns the entry's id. `more` are further flags.
    ///
    /// # Panics
    /// When the server does not take it.
    pub fn register(&self, path: &str, more: &[&str]) -> String {
        let host = format!("spiffe://{}/host", self.trust_domain);
        let id = format!("spiffe://{}{path}", self.trust_domain);
        let uid = format!("unix:uid:{}", rustix::process::getuid().as_raw());
        let words = ["entry", "create", "-parentID", &host, "-spiffeID", &id, "-selector", &uid];
        let made = self.json(&[&words[..], &["-dns", "localhost"], more].concat());
        made["results"][0]["entry"]["id"].as_str().unwrap_or_else(|| panic!("an entry: {made}")).to_owned()
    }

    /// An SVID straight from the server, valid for an hour, and the trust bundle in PEM.
    ///
    /// # Panics
    /// When the server gives none.
    pub fn mint(&self, path: &str) -> (Identity, String) {
        let to = self.folder.path().join("minted");
        fs::create_dir_all(&to).expect("a folder");
        let spiffe_id = format!("spiffe://{}{path}", self.trust_domain);
        let folder = to.to_string_lossy();
        self.ask(&["x509", "mint", "-ttl", "1h", "-spiffeID", &spiffe_id, "-write", &folder]).expect_code(0);
        let read = |name: &str| fs::read_to_string(to.join(name)).expect("what was minted");
        let (certificate_pem, key_pem) = (read("svid.pem"), read("key.pem"));
        (Identity { spiffe_id, certificate_pem, key_pem }, read("bundle.pem"))
    }

    /// The trust bundle as a SPIFFE bundle document.
    pub fn bundle_document(&self) -> String {
        self.ask(&["bundle", "show", "-format", "spiffe"]).expect_code(0).out
    }

    /// Takes the bundle of another server's trust domain by hand.
    ///
    /// # Panics
    /// When it is not taken.
    pub fn set_bundle(&self, other: &Server) {
        let path = self.folder.path().join("other.json");
        fs::write(&path, other.bundle_document()).expect("the bundle is written");
        let id = format!("spiffe://{}", other.trust_domain);
        let path = path.to_string_lossy();
        self.ask(&["bundle", "set", "-format", "spiffe", "-id", &id, "-path", &path]).expect_code(0);
    }

    /// Prepares another X.509 authority and returns its id.
    pub fn prepare_authority(&self) -> String {
        id_of(&self.json(&["localauthority", "x509", "prepare"])["prepared_authority"])
    }

    /// Makes the prepared authority the one that signs, and returns the id of the one before.
    pub fn activate_authority(&self, prepared: &str) -> String {
        let before = self.json(&["localauthority", "x509", "show"]);
        self.json(&["localauthority", "x509", "activate", "-authorityID", prepared]);
        id_of(&before["active"])
    }

    /// Says that nothing signed by this authority should be used any more.
    pub fn taint_authority(&self, id: &str) {
        self.json(&["localauthority", "x509", "taint", "-authorityID", id]);
    }

    /// Takes this authority out of the bundle.
    pub fn revoke_authority(&self, id: &str) {
        self.json(&["localauthority", "x509", "revoke", "-authorityID", id]);
    }

    /// A JWT-SVID straight from the server.
    pub fn mint_jwt(&self, path: &str, audience: &str) -> String {
        let spiffe_id = format!("spiffe://{}{path}", self.trust_domain);
        let minted = self.ask(&["jwt", "mint", "-spiffeID", &spiffe_id, "-audience", audience]);
        minted.expect_code(0).out.trim().to_owned()
    }

    /// Prepares another JWT authority and makes it the one that signs; returns the id of the one before.
    pub fn rotate_jwt_authority(&self) -> String {
        let prepared = id_of(&self.json(&["localauthority", "jwt", "prepare"])["prepared_authority"]);
        let before = self.json(&["localauthority", "jwt", "show"]);
        self.json(&["localauthority", "jwt", "activate", "-authorityID", &prepared]);
        id_of(&before["active"])
    }

    /// Taints and revokes a JWT authority.
    pub fn revoke_jwt_authority(&self, id: &str) {
        self.json(&["localauthority", "jwt", "taint", "-authorityID", id]);
        self.json(&["localauthority", "jwt", "revoke", "-authorityID", id]);
    }

    /// The serial number of the agent's own SVID.
    pub fn agent_serial(&self) -> String {
        self.json(&["agent", "list"])["agents"][0]["x509svid_serial_number"].to_string()
    }
}

fn id_of(authority: &Value) -> String {
    let id = authority["authority_id"].as_str();
    id.unwrap_or_else(|| panic!("an authority: {authority}")).to_owned()
}

fn run_server(programs: &Programs, folder: &Path) -> Running {
    let mut command = Command::new(&programs.server);
    command.arg("run").arg("-config").arg(folder.join("server.conf"));
    Running::start("spire-server", command, folder)
}

fn ask(program: &Path, folder: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(words).arg("-socketPath").arg(folder.join("s.sock"));
    run(command, LIMIT)
}

impl Agent {
    /// Starts the agent of `server` and waits until it has an SVID for our user: an entry has to be there.
    ///
    /// # Panics
    /// When none comes.
    pub fn start(server: &Server) -> Self {
        let folder = server.folder.path().to_path_buf();
        let config = agent_config(&folder, server.address, &server.trust_domain);
        fs::write(folder.join("agent.conf"), config).expect("the agent's configuration");
        let bundle = server.ask(&["bundle", "show"]).expect_code(0).out;
        fs::write(folder.join("bootstrap.crt"), bundle).expect("the bundle is written");
        let host = format!("spiffe://{}/host", server.trust_domain);
        let token = server.ask(&["token", "generate", "-spiffeID", &host]).expect_code(0).out;
        let token = token.split_whitespace().nth(1).expect("`Token: …`");
        let running = run_agent(&server.programs, &folder, &["-joinToken", token]);
        let mut agent = Self { programs: server.programs.clone(), folder, running };
        agent.wait_for_svids(1);
        agent
    }

    /// Starts it again after [`Agent::kill`], with what it kept.
    pub fn restart(&mut self) {
        self.running = run_agent(&self.programs, &self.folder, &[]);
        self.wait_for_svids(1);
    }

    /// Waits until the agent has so many SVIDs for our user.
    ///
    /// # Panics
    /// When they do not come.
    pub fn wait_for_svids(&mut self, count: usize) {
        let (program, socket) = (self.programs.agent.clone(), self.socket());
        self.running.wait_for("SVIDs for our user", LIMIT, |_| {
            let mut command = Command::new(&program);
            command.args(["api", "fetch", "x509", "-output", "json", "-socketPath"]).arg(&socket);
            let found = run(command, LIMIT);
            let json: Value = serde_json::from_str(&found.out).unwrap_or_default();
            json["svids"].as_array().is_some_and(|svids| svids.len() >= count).then_some(())
        });
    }

    /// Its Workload API.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("a/api.sock")
    }

    /// Stops it in the middle of whatever it does, as a machine that swaps does.
    pub fn hang(&self) {
        self.running.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn go_on(&self) {
        self.running.signal(Signal::CONT);
    }

    /// Kills it without a word.
    pub fn kill(&mut self) {
        self.running.signal(Signal::KILL);
        self.running.wait_for_end(LIMIT);
    }
}

fn run_agent(programs: &Programs, folder: &Path, words: &[&str]) -> Running {
    let mut command = Command::new(&programs.agent);
    command.arg("run").arg("-config").arg(folder.join("agent.conf")).args(words);
    Running::start("spire-agent", command, folder)
}

fn server_config(folder: &Path, address: SocketAddr, trust_domain: &str, more: &str) -> String {
    let at = folder.display();
    let (ip, port) = (address.ip(), address.port());
    format!(
        r#"server {{
  bind_address = "{ip}"
  bind_port = "{port}"
  socket_path = "{at}/s.sock"
  trust_domain = "{trust_domain}"
  data_dir = "{at}/server"
  log_level = "WARN"
  ca_ttl = "1h"
  {more}
}}
plugins {{
  DataStore "sql" {{ plugin_data {{ database_type = "sqlite3" connection_string = "{at}/server/ds.sqlite3" }} }}
  NodeAttestor "join_token" {{ plugin_data {{}} }}
  KeyManager "disk" {{ plugin_data {{ keys_path = "{at}/server/keys.json" }} }}
}}
"#
    )
}

fn agent_config(folder: &Path, server: SocketAddr, trust_domain: &str) -> String {
    let at = folder.display();
    let (ip, port) = (server.ip(), server.port());
    format!(
        r#"agent {{
  data_dir = "{at}/agent"
  log_level = "WARN"
  server_address = "{ip}"
  server_port = "{port}"
  socket_path = "{at}/a/api.sock"
  admin_socket_path = "{at}/adm/admin.sock"
  trust_bundle_path = "{at}/bootstrap.crt"
  trust_domain = "{trust_domain}"
  experimental {{ sync_interval = "1s" }}
}}
plugins {{
  NodeAttestor "join_token" {{ plugin_data {{}} }}
  KeyManager "disk" {{ plugin_data {{ directory = "{at}/agent" }} }}
  WorkloadAttestor "unix" {{ plugin_data {{}} }}
}}
"#
    )
}

//! A real SPIRE server and agent: the sidecar takes its SVID from the Workload API and follows its rotation under
//! load.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use postern_tests::load::Pressure;
use postern_tests::{Caller, Identity, Load, Output, Running, Scene, Version, peer, port, process, run};
use serde_json::json;
use tempfile::TempDir;

const START_LIMIT: Duration = Duration::from_secs(60);

/// An SVID is replaced at half of its life; the agent looks every five seconds.
const SVID_SECONDS: u32 = 16;

/// Certificates that callers must have seen: the first one and two successors.
const CERTIFICATES_SEEN: usize = 3;

/// Two rotations take about 30 s.
const ROTATION_LIMIT: Duration = Duration::from_secs(75);

/// A server and an agent that trusts it; both are killed when dropped.
struct Spire {
    folder: TempDir,
    server_program: PathBuf,
    _server: Running,
    _agent: Running,
}

impl Spire {
    /// Starts both; a workload that runs as our user is `/sidecar`.
    fn start(server_program: &Path, agent_program: &Path) -> Self {
        // A Unix socket's path is at most 107 bytes long.
        let folder =
            tempfile::Builder::new().prefix("sp-").tempdir_in("/tmp").expect("a short temporary folder");
        let at = folder.path();
        for inner in ["server", "agent", "a", "adm"] {
            fs::create_dir(at.join(inner)).expect("a folder");
        }
        let port = port::free().port();
        fs::write(at.join("server.conf"), server_config(at, port)).expect("the server's configuration");
        fs::write(at.join("agent.conf"), agent_config(at, port)).expect("the agent's configuration");

        let mut command = Command::new(server_program);
        command.arg("run").arg("-config").arg(at.join("server.conf"));
        let mut server = Running::start("spire-server", command, at);
        let ask = |words: &[&str]| ask_server(server_program, at, words);
        server.wait_for("a healthy server", START_LIMIT, |_| {
            (ask(&["healthcheck"]).code == Some(0)).then_some(())
        });

        let bundle = ask(&["bundle", "show"]).expect_code(0).out;
        fs::write(at.join("bootstrap.crt"), bundle).expect("the bundle is written");
        let token = ask(&["token", "generate", "-spiffeID", "spiffe://example.org/host"]).expect_code(0).out;
        let token = token.split_whitespace().nth(1).expect("`Token: …`");
        let uid = format!("unix:uid:{}", rustix::process::getuid().as_raw());
        let lifetime = SVID_SECONDS.to_string();
        ask(&[
            &["entry", "create", "-parentID", "spiffe://example.org/host", "-dns", "localhost"][..],
            &["-spiffeID", "spiffe://example.org/sidecar", "-selector", &uid, "-x509SVIDTTL", &lifetime],
        ]
        .concat())
        .expect_code(0);

        let mut command = Command::new(agent_program);
        command.arg("run").arg("-config").arg(at.join("agent.conf")).arg("-joinToken").arg(token);
        let mut agent = Running::start("spire-agent", command, at);
        let socket = at.join("a/api.sock");
        agent.wait_for("an SVID for our user", START_LIMIT, |_| {
            let mut command = Command::new(agent_program);
            command.args(["api", "fetch", "x509", "-silent", "-socketPath"]).arg(&socket);
            (run(command, START_LIMIT).code == Some(0)).then_some(())
        });
        Self { server_program: server_program.to_path_buf(), _server: server, _agent: agent, folder }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("a/api.sock")
    }

    /// An SVID straight from the server, and the trust bundle.
    fn mint(&self, spiffe_id: &str) -> (Identity, String) {
        let at = self.folder.path();
        let to = at.join("minted");
        fs::create_dir_all(&to).expect("a folder");
        let path = to.to_string_lossy();
        let words = ["x509", "mint", "-ttl", "1h", "-spiffeID", spiffe_id, "-write", &path];
        ask_server(&self.server_program, at, &words).expect_code(0);
        let read = |name: &str| fs::read_to_string(to.join(name)).expect("what was minted");
        let (certificate_pem, key_pem) = (read("svid.pem"), read("key.pem"));
        (Identity { spiffe_id: spiffe_id.to_owned(), certificate_pem, key_pem }, read("bundle.pem"))
    }
}

fn ask_server(program: &Path, folder: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(words).arg("-socketPath").arg(folder.join("s.sock"));
    run(command, START_LIMIT)
}

fn server_config(folder: &Path, port: u16) -> String {
    let at = folder.display();
    format!(
        r#"server {{
  bind_address = "127.0.0.1"
  bind_port = "{port}"
  socket_path = "{at}/s.sock"
  trust_domain = "example.org"
  data_dir = "{at}/server"
  log_level = "WARN"
  ca_ttl = "1h"
}}
plugins {{
  DataStore "sql" {{ plugin_data {{ database_type = "sqlite3" connection_string = "{at}/server/ds.sqlite3" }} }}
  NodeAttestor "join_token" {{ plugin_data {{}} }}
  KeyManager "disk" {{ plugin_data {{ keys_path = "{at}/server/keys.json" }} }}
}}
"#
    )
}

fn agent_config(folder: &Path, port: u16) -> String {
    let at = folder.display();
    format!(
        r#"agent {{
  data_dir = "{at}/agent"
  log_level = "WARN"
  server_address = "127.0.0.1"
  server_port = "{port}"
  socket_path = "{at}/a/api.sock"
  admin_socket_path = "{at}/adm/admin.sock"
  trust_bundle_path = "{at}/bootstrap.crt"
  trust_domain = "example.org"
}}
plugins {{
  NodeAttestor "join_token" {{ plugin_data {{}} }}
  KeyManager "disk" {{ plugin_data {{ directory = "{at}/agent" }} }}
  WorkloadAttestor "unix" {{ plugin_data {{}} }}
}}
"#
    )
}

#[test]
fn the_sidecar_follows_the_rotation_of_its_svid_without_a_failed_request() {
    let (Some(server), Some(agent)) = (peer("POSTERN_SPIRE_SERVER"), peer("POSTERN_SPIRE_AGENT")) else {
        return;
    };
    let spire = Spire::start(&server, &agent);
    let mut scene = Scene::new();
    let socket = format!("unix://{}", spire.socket().display());
    scene.config["identity"] = json!({ "source": { "workload_api": { "socket": socket } } });
    let sidecar = scene.start();

    let (client, bundle) = spire.mint("spiffe://example.org/client");
    let caller = Caller::new(&client, &bundle);
    let pressure = Pressure { callers: 4, pause: Duration::from_millis(10), version: Version::Http2 };
    let load = Load::start(&caller, scene.listener, "/things", pressure);
    process::wait("two rotations seen by callers", ROTATION_LIMIT, || {
        (load.certificates() >= CERTIFICATES_SEEN).then_some(())
    });
    let report = load.stop();
    assert!(report.failures.is_empty(), "{} failures: {:#?}", report.failures.len(), report.failures.first());
    let refused = report.answers.iter().find(|answer| answer.status != 200);
    assert!(refused.is_none(), "{refused:#?}");
    sidecar.stop();
}

/// Who may read is the workload that the JWT-SVID names, as its trust domain vouches for it.
const POLICY: &str = r#"package postern.authz

default decision := {"allowed": false, "reason": "not the web front"}

decision := {"allowed": true} if {
	input.postern.token_trust_domain == "example.org"
	input.claims.sub == "spiffe://example.org/web"
}
"#;

impl Spire {
    fn ask(&self, words: &[&str]) -> String {
        ask_server(&self.server_program, self.folder.path(), words).expect_code(0).out
    }

    fn jwt_svid(&self, spiffe_id: &str, audience: &str) -> String {
        self.ask(&["jwt", "mint", "-spiffeID", spiffe_id, "-audience", audience]).trim().to_owned()
    }

    /// Writes the trust domain's bundle document to where the sidecar looks for it, in one step.
    fn write_bundle(&self, to: &Path) {
        let waiting = to.with_extension("next");
        fs::write(&waiting, self.ask(&["bundle", "show", "-format", "spiffe"])).expect("the bundle");
        fs::rename(&waiting, to).expect("the bundle is put in place");
    }
}

#[test]
fn jwt_svids_that_spire_mints_are_taken_by_its_bundle_and_new_authorities_found() {
    let (Some(server), Some(agent)) = (peer("POSTERN_SPIRE_SERVER"), peer("POSTERN_SPIRE_AGENT")) else {
        return;
    };
    let spire = Spire::start(&server, &agent);
    let mut scene = Scene::new();
    let bundle = scene.path("spire-bundle.json");
    spire.write_bundle(&bundle);
    scene.config["tokens"] = json!([{
        "issuer": "spiffe://example.org", "audiences": ["orders"], "algorithms": ["ES256", "RS256"],
        "profile": "jwt_svid", "keys": { "file": bundle },
    }]);
    scene.config["listeners"]["app"]["routes"][0]["tokens"] = json!("required");
    scene.write_policy(POLICY);
    let sidecar = scene.start();
    let ask = |token: &str| {
        let request = http::Request::get("/things").header("authorization", format!("Bearer {token}"));
        let request = request.body(bytes::Bytes::new()).expect("a request");
        let answer =
            scene.caller("/client").call(scene.listener, Version::Http2, request).expect("an answer");
        (answer.status.as_u16(), answer.json()["reason"].as_str().unwrap_or_default().to_owned())
    };
    let is_taken = |token: &str| {
        process::wait("the JWT-SVID to be taken", START_LIMIT, || (ask(token).0 == 200).then_some(()));
    };
    let web = "spiffe://example.org/web";
    is_taken(&spire.jwt_svid(web, "orders"));
    let refused = |reason: &str| (401, reason.to_owned());
    assert_eq!(ask(&spire.jwt_svid(web, "billing")), refused("token.audience"));
    assert_eq!(ask(&spire.jwt_svid("spiffe://example.org/db", "orders")).0, 403);

    let prepared = spire.ask(&["localauthority", "jwt", "prepare"]);
    let authority = prepared.lines().find_map(|line| line.trim().strip_prefix("Authority ID: "));
    let authority = authority.unwrap_or_else(|| panic!("no authority: {prepared}"));
    spire.ask(&["localauthority", "jwt", "activate", "-authorityID", authority]);
    let renewed = spire.jwt_svid(web, "orders");
    assert_eq!(ask(&renewed), refused("token.key_unknown"));
    spire.write_bundle(&bundle);
    is_taken(&renewed);
    sidecar.stop();
}

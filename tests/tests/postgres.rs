//! PostgreSQL through a pair of sidecars that know nothing of its protocol: a session, a load, much data in both
//! directions, and the end of all of it when policy permits it no more.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use postern_tests::sidecar::assert_log_is_whole;
use postern_tests::{Output, Running, Scene, peer, port, run};
use serde_json::json;

const LIMIT: Duration = Duration::from_secs(60);

const POLICY: &str = r#"package postern.authz

default decision := false

decision := true if {
	input.postern.action == "connect"
	input.attributes.source.principal == "spiffe://example.org/client"
}
"#;

/// A command as somebody who may run the server, which root may not.
fn unprivileged(program: &Path) -> Command {
    if rustix::process::geteuid().is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "postgres", "--regid", "postgres", "--clear-groups"]).arg(program);
        command
    } else {
        Command::new(program)
    }
}

fn server(program: &Path, folder: &Path) -> (SocketAddr, Running) {
    let initdb = program.with_file_name("initdb");
    let data: PathBuf = folder.join("data");
    if rustix::process::geteuid().is_root() {
        let mut command = Command::new("chown");
        command.arg("postgres").arg(folder);
        run(command, LIMIT).expect_code(0);
    }
    let mut command = unprivileged(&initdb);
    command.args(["--auth", "trust", "--no-sync", "--username", "app", "--pgdata"]).arg(&data);
    run(command, LIMIT).expect_code(0);
    let at = port::free();
    let mut command = unprivileged(program);
    command.arg("-D").arg(&data).arg("-k").arg(folder).args([
        "-h",
        "127.0.0.1",
        "-p",
        &at.port().to_string(),
        "-F",
    ]);
    let mut running = Running::start("postgres", command, folder);
    running
        .wait_for("readiness", LIMIT, |output| output.contains("ready to accept connections").then_some(()));
    (at, running)
}

/// The sidecar of the database's client.
fn calling(service: &Scene) -> Scene {
    let scene = Scene::calling(service, "tcp", &json!({ "match": {}, "upstream": "service" }));
    scene.write_policy(POLICY);
    scene
}

fn client(program: &Path, at: SocketAddr, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(["-h", &at.ip().to_string(), "-p", &at.port().to_string(), "-U", "app"]);
    command.args(arguments).arg("postgres").env("PGCONNECT_TIMEOUT", "10");
    command
}

fn psql(program: &Path, at: SocketAddr, statement: &str) -> Output {
    run(client(program, at, &["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", statement]), LIMIT)
}

#[test]
fn a_database_is_used_through_a_pair_of_sidecars_until_policy_says_no() {
    let Some(postgres) = peer("POSTERN_POSTGRES") else { return };
    let (Some(sql), Some(bench)) = (peer("POSTERN_PSQL"), peer("POSTERN_PGBENCH")) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let mut service = Scene::new();
    let (at, _server) = server(&postgres, folder.path());
    service.config["listeners"]["app"]["protocol"] = json!("tcp");
    service.config["listeners"]["app"]["routes"] = json!([{ "match": {}, "upstream": "app" }]);
    service.config["upstreams"] = json!({ "app": { "endpoints": [at.to_string()], "protocol": "tcp" } });
    service.write_policy(POLICY);
    let caller = calling(&service);
    let (serving, calling) = (service.start(), caller.start());

    let made =
        "create table words as select n, repeat(md5(n::text), 100) as text from generate_series(1, 10000) n";
    psql(&sql, caller.listener, made).expect_code(0);
    let all = psql(&sql, caller.listener, "copy words to stdout").expect_code(0);
    assert_eq!((all.out.lines().count(), all.out.len() > 32_000_000), (10_000, true));
    run(client(&bench, caller.listener, &["-i", "-q"]), LIMIT).expect_code(0);
    let load = run(client(&bench, caller.listener, &["-c", "8", "-t", "50", "-n"]), LIMIT).expect_code(0);
    assert!(load.out.contains("actually processed: 400/400"), "{load:?}");

    // A session in the midst of its work, and whoever comes after it.
    let asked = ["-X", "-c", "select 'asleep'", "-c", "select pg_sleep(600)"];
    let mut session = Running::start("psql", client(&sql, caller.listener, &asked), folder.path());
    session.wait_for("the session", LIMIT, |output| output.contains("asleep").then_some(()));
    service.write_policy("package postern.authz\ndefault decision := false\n");
    let end = session.wait_for_end(Duration::from_secs(20));
    assert!(!end.success(), "{}", session.output());
    assert_ne!(psql(&sql, caller.listener, "select 1").code, Some(0));
    serving.stop();
    calling.stop();
    assert_log_is_whole(&service.audit());
    assert_log_is_whole(&caller.audit());
}

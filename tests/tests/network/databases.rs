//! PostgreSQL and Redis, each captured on both sides: their own clients and servers, which know of nothing.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::chown;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use postern_tests::netns::Routed;
use postern_tests::{Output, Running, peer, run};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::pair::{POSTGRES, Pair, REDIS};
use crate::{LIMIT, facts, logged};

/// Longest time from a change of policy to the end of what it forbids.
const CHANGE_LIMIT: Duration = Duration::from_secs(3);

const NOBODY: &str = "package postern.authz\n\ndefault decision := false\n";

/// A server in the server's namespace, of the user that its package made, and its clients.
struct Postgres {
    psql: PathBuf,
    pgbench: PathBuf,
    running: Running,
    _data: TempDir,
}

impl Postgres {
    fn start(pair: &Pair, [server, psql, pgbench]: [PathBuf; 3]) -> Self {
        let mut id = Command::new("id");
        id.args(["-u", "postgres"]);
        let id = run(id, LIMIT).expect_code(0).out.trim().parse().expect("a user id");
        let data = tempfile::tempdir().expect("a folder");
        chown(data.path(), Some(id), Some(id)).expect("chown");
        let folder = data.path().to_str().expect("text");
        let words = ["-D", folder, "-A", "trust", "-U", "app", "-N", "-E", "UTF8", "--no-locale"];
        let net = &pair.net;
        net.run(&net.server, id, &server.with_file_name("initdb"), &words).expect_code(0);
        fs::write(data.path().join("pg_hba.conf"), "host all all all trust\n").expect("who may come in");
        let mut command = net.command(&net.server, id, &server);
        command.args(["-D", folder, "-c", "listen_addresses=*", "-c", "unix_socket_directories="]);
        command.args(["-c", "fsync=off"]).current_dir("/");
        let mut running = Running::start("postgres", command, net.folder.path());
        running.wait_for("readiness", LIMIT, |output| output.contains("ready to accept").then_some(()));
        Self { psql, pgbench, running, _data: data }
    }

    fn psql(&self, pair: &Pair, host: IpAddr, port: u16, words: &[&str]) -> Output {
        let (host, port) = (host.to_string(), port.to_string());
        let whom = ["-h", &host, "-p", &port, "-U", "app", "-d", "postgres", "-w", "-X", "-At"];
        pair.application(&self.psql, &[&whom, words].concat())
    }

    /// A session that says that it is open and then waits for long.
    fn open_session(&self, pair: &Pair, host: IpAddr) -> Running {
        let mut command = pair.net.command(&pair.net.client, Routed::APPLICATION, &self.psql);
        command.args(["-h", &host.to_string(), "-U", "app", "-d", "postgres", "-w", "-X", "-At"]);
        command.args(["-c", "select 'open'", "-c", "select pg_sleep(60)"]).current_dir("/");
        let name = format!("psql to {host}");
        let mut session = Running::start(&name, command, pair.net.folder.path());
        session.wait_for("its first answer", LIMIT, |output| output.contains("open").then_some(()));
        session
    }

    fn stop(mut self) {
        // It ends its children, which hold the folder.
        self.running.signal(Signal::INT);
        self.running.wait_for_end(LIMIT);
    }
}

#[test]
fn postgresql_is_reached_over_both_sidecars_for_as_long_as_policy_permits() {
    let programs = ["POSTERN_POSTGRES", "POSTERN_PSQL", "POSTERN_PGBENCH"].map(peer);
    let [Some(server), Some(psql), Some(pgbench)] = programs else { return };
    let Some(pair) = Pair::start("tcp") else { return };
    let postgres = Postgres::start(&pair, [server, psql, pgbench]);
    for host in Routed::SERVER {
        let answer = postgres.psql(&pair, host, POSTGRES, &["-c", "select 6 * 7"]);
        assert_eq!((answer.code, answer.out.trim()), (Some(0), "42"), "{host}: {answer:?}");
        // Many bytes, both ways.
        let answer = postgres.psql(&pair, host, POSTGRES, &["-c", "select length(repeat('x', 5000000))"]);
        assert_eq!(answer.out.trim(), "5000000", "{host}: {answer:?}");
    }
    let answer = postgres.psql(&pair, Routed::SERVER_TOO[0], POSTGRES, &["-c", "select 1"]);
    assert!(answer.code == Some(2) && answer.out.is_empty(), "another host: {answer:?}");
    let answer = postgres.psql(&pair, Routed::SERVER[0], POSTGRES + 1, &["-c", "select 1"]);
    assert!(answer.code == Some(2) && answer.out.is_empty(), "another port: {answer:?}");
    under_load(&postgres, &pair);

    let mut sessions = Routed::SERVER.map(|host| postgres.open_session(&pair, host));
    pair.asked.write_policy(NOBODY);
    let changed = Instant::now();
    for session in &mut sessions {
        let status = session.wait_for_end(LIMIT);
        assert_eq!(status.code(), Some(2), "the connection was lost: {}", session.output());
    }
    let took = changed.elapsed();
    assert!(took < CHANGE_LIMIT, "it took {took:?}");
    let answer = postgres.psql(&pair, Routed::SERVER[0], POSTGRES, &["-c", "select 1"]);
    assert_eq!(answer.code, Some(2), "nor is a new one permitted: {answer:?}");

    postgres.stop();
    let (_, asking, asked) = pair.stop();
    let ended = |scene| facts(&logged(scene, "outcome"), ["end", "reason"]);
    let revoked = ["revoked", "policy.denied"].map(str::to_owned);
    assert_eq!(ended(&asked).into_iter().filter(|end| *end == revoked).count(), 2);
    let denied = facts(&logged(&asking, "decision"), ["decision", "dst"]);
    let denied: Vec<_> =
        denied.into_iter().filter(|[decision, _]| decision == "deny").map(|[_, dst]| dst).collect();
    assert_eq!(denied, ["10.82.0.2:5433", "10.82.0.3:5432"]);
}

/// Four clients at once for a while, each with transactions that read and write.
fn under_load(postgres: &Postgres, pair: &Pair) {
    let host = Routed::SERVER[0].to_string();
    let pgbench = &postgres.pgbench;
    let whom = ["-h", &host, "-U", "app", "postgres"];
    pair.application(pgbench, &[&["-i", "-q"], whom.as_slice()].concat()).expect_code(0);
    let report =
        pair.application(pgbench, &[&["-c", "4", "-T", "2"], whom.as_slice()].concat()).expect_code(0);
    assert!(report.out.contains("number of failed transactions: 0 "), "{report:?}");
    println!("{}", report.out);
}

#[test]
fn redis_is_reached_over_both_sidecars() {
    let Some(program) = peer("POSTERN_REDIS") else { return };
    let Some(pair) = Pair::start("tcp") else { return };
    let net = &pair.net;
    let mut command = net.command(&net.server, Routed::APPLICATION, &program);
    command.args(["--port", "6379", "--bind", "0.0.0.0", "::", "--save", "", "--protected-mode", "no"]);
    command.current_dir("/");
    let mut redis = Running::start("redis", command, net.folder.path());
    redis.wait_for("readiness", LIMIT, |output| output.contains("Ready to accept").then_some(()));
    for host in Routed::SERVER {
        let address = SocketAddr::new(host, REDIS);
        let mut conversation = net.client.connect(Routed::APPLICATION, address);
        assert_eq!(conversation.echo("SET greeting hello\r"), "+OK", "{host}");
        assert_eq!(conversation.echo("GET greeting\r"), "$5", "{host}");
        assert_eq!(conversation.read(), "hello", "{host}");
    }
    redis.signal(Signal::TERM);
    redis.wait_for_end(LIMIT);
    pair.stop();
}

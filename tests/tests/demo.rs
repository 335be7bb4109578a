//! `postern demo`: the commands it prints do what it says, and Ctrl-C ends it cleanly.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use postern_tests::peer::postern;
use postern_tests::{Output, Running, peer, port, run};
use rustix::process::Signal;
use tempfile::TempDir;

const START_LIMIT: Duration = Duration::from_secs(60);
const LIMIT: Duration = Duration::from_secs(30);

fn demo(home: &TempDir, port: u16, status_port: u16) -> Command {
    let mut command = Command::new(postern());
    command.arg("demo").env("XDG_RUNTIME_DIR", home.path());
    command.args(["--port", &port.to_string(), "--status-port", &status_port.to_string()]);
    command
}

/// A running demo whose state file nobody else sees.
struct Demo {
    running: Running,
    home: TempDir,
    port: u16,
}

impl Demo {
    /// Starts it and waits for the four commands.
    fn start() -> (Self, Vec<String>) {
        let home = tempfile::tempdir().expect("a temporary folder");
        let (port, status_port) = (port::free().port(), port::free().port());
        let mut running = Running::start("demo", demo(&home, port, status_port), home.path());
        let commands = running.wait_for("four commands", START_LIMIT, |output| {
            // The last line says how to end it: all that stands before it is whole.
            output.contains("Ctrl-C").then(|| commands(output))
        });
        (Self { running, home, port }, commands)
    }

    /// Runs a printed command from another terminal.
    fn run(&self, command: &str) -> Output {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(command).env("XDG_RUNTIME_DIR", self.home.path());
        run(shell, LIMIT)
    }

    /// What still lies in the demo's own folder is this and nothing else.
    fn check_left_behind(&self, want: &[&str]) {
        let said = self.running.output();
        let log = said.lines().find_map(|line| line.trim().strip_prefix("audit log"));
        let log = Path::new(log.expect("it says where the log is").trim());
        let folder = std::fs::read_dir(log.parent().expect("a folder")).expect("it can be read");
        let mut names: Vec<_> = folder.map(|entry| entry.expect("an entry").file_name()).collect();
        names.sort();
        assert_eq!(names, want, "{}", log.display());
    }

    /// Runs a printed command into a pipe that nobody reads; gives its exit code and what it says about it.
    fn run_unread(&self, command: &str) -> (Option<i32>, String) {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut words = command.split_whitespace();
        let mut unread = Command::new(words.next().expect("a program"));
        unread.args(words).env("XDG_RUNTIME_DIR", self.home.path()).stdin(Stdio::null()).stdout(writer);
        // Each of them has a bound of its own.
        let done = unread.output().expect("it starts");
        (done.status.code(), String::from_utf8_lossy(&done.stderr).into_owned())
    }
}

/// The lines that call the binary by its path.
fn commands(output: &str) -> Vec<String> {
    let binary = postern().display().to_string();
    let lines = output.lines().map(|line| line.trim().trim_start_matches("$ "));
    lines.filter(|line| line.starts_with(&binary)).map(str::to_owned).collect()
}

#[test]
fn the_printed_commands_do_what_they_say_and_ctrl_c_ends_it() {
    let (mut trial, commands) = Demo::start();
    let find = |words: &[&str]| {
        let all = |command: &&String| words.iter().all(|word| command.contains(word));
        commands
            .iter()
            .find(all)
            .unwrap_or_else(|| panic!("no command with {words:?} in {commands:#?}"))
            .clone()
    };
    assert_eq!(commands.len(), 4, "{commands:#?}");
    let read = trial.run(&find(&["curl", "GET"])).expect_code(0);
    assert!(read.out.contains("200") || read.err.contains("200"), "{read:?}");

    let pay = trial.run(&find(&["curl", "POST"]));
    let said = format!("{}{}", pay.out, pay.err);
    assert!(said.contains("403") && said.contains("policy.denied"), "{said}");
    let id = decision_id(&said);

    let explained = trial.run(&find(&["why"])).expect_code(0);
    assert!(explained.out.contains(&id) && explained.out.contains("policy.denied"), "{explained:?}");

    trial.run(&find(&["audit", "verify"])).expect_code(0);

    for command in &commands {
        assert_eq!(trial.run_unread(command), (Some(0), String::new()), "{command}");
    }

    trial.running.signal(Signal::INT);
    let status = trial.running.wait_for_end(LIMIT);
    assert_eq!(status.code(), Some(0), "{}", trial.running.output());
    trial.check_left_behind(&["audit", "audit.pub.pem"]);
}

/// The ULID in an answer.
fn decision_id(text: &str) -> String {
    let mut words = text.split(|c: char| !c.is_ascii_alphanumeric());
    let ulid =
        |word: &&str| word.len() == 26 && word.chars().all(|c| c.is_ascii_digit() || c.is_ascii_uppercase());
    words.rfind(ulid).unwrap_or_else(|| panic!("no decision id in {text}")).to_owned()
}

#[test]
fn a_second_demo_says_which_port_is_in_use() {
    let (first, _) = Demo::start();
    let other = tempfile::tempdir().expect("a temporary folder");
    let port = first.port;
    let refused = run(demo(&other, port, port::free().port()), LIMIT).expect_code(1);
    assert!(refused.err.contains(&port.to_string()), "{refused:?}");
    assert_eq!(
        refused.err.lines().filter(|line| line.contains("error")).count(),
        1,
        "one clear error: {refused:?}"
    );
    drop(first);
}

#[test]
fn any_spiffe_client_is_served_by_the_demos_workload_api() {
    let Some(agent) = peer("POSTERN_SPIRE_AGENT") else { return };
    let (trial, _) = Demo::start();
    let said = trial.running.output();
    let socket = said.split_whitespace().find_map(|word| word.strip_prefix("unix://"));
    let socket = socket.unwrap_or_else(|| panic!("no Workload API in {said}"));
    let mut command = Command::new(agent);
    command.args(["api", "fetch", "x509", "-socketPath", socket]);
    let fetched = run(command, LIMIT).expect_code(0);
    assert!(fetched.out.contains("spiffe://demo.postern/"), "{fetched:?}");
}

//! `postern demo`: the commands it prints do what it says, and Ctrl-C ends it cleanly.

use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use postern_tests::peer::postern;
use postern_tests::{Output, Running, run};
use rustix::process::Signal;
use tempfile::TempDir;

const START_LIMIT: Duration = Duration::from_secs(60);
const LIMIT: Duration = Duration::from_secs(30);

/// The demo has one port: one demo at a time.
static PORT: Mutex<()> = Mutex::new(());

/// A running demo whose state file nobody else sees.
struct Demo {
    running: Running,
    home: TempDir,
    _port: MutexGuard<'static, ()>,
}

impl Demo {
    /// Starts it and waits for the four commands.
    fn start() -> (Self, Vec<String>) {
        let port = PORT.lock().unwrap_or_else(PoisonError::into_inner);
        let home = tempfile::tempdir().expect("a temporary folder");
        let mut command = Command::new(postern());
        command.arg("demo").env("XDG_RUNTIME_DIR", home.path());
        let mut running = Running::start("demo", command, home.path());
        let commands = running.wait_for("four commands", START_LIMIT, |output| {
            let found: Vec<String> = commands(output);
            (found.len() >= 4).then_some(found)
        });
        (Self { running, home, _port: port }, commands)
    }

    /// Runs a printed command from another terminal.
    fn run(&self, command: &str) -> Output {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(command).env("XDG_RUNTIME_DIR", self.home.path());
        run(shell, LIMIT)
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
    let (mut demo, commands) = Demo::start();
    let find = |words: &[&str]| {
        let all = |command: &&String| words.iter().all(|word| command.contains(word));
        commands
            .iter()
            .find(all)
            .unwrap_or_else(|| panic!("no command with {words:?} in {commands:#?}"))
            .clone()
    };
    let read = demo.run(&find(&["curl", "GET"])).expect_code(0);
    assert!(read.out.contains("200") || read.err.contains("200"), "{read:?}");

    let pay = demo.run(&find(&["curl", "POST"]));
    let said = format!("{}{}", pay.out, pay.err);
    assert!(said.contains("403") && said.contains("policy.denied"), "{said}");
    let id = decision_id(&said);

    let why = find(&["why"]);
    let explained = demo.run(&with_id(&why, &id)).expect_code(0);
    assert!(explained.out.contains(&id) && explained.out.contains("policy.denied"), "{explained:?}");

    demo.run(&find(&["audit", "verify"])).expect_code(0);

    demo.running.signal(Signal::INT);
    let status = demo.running.wait_for_end(LIMIT);
    assert_eq!(status.code(), Some(0), "{}", demo.running.output());
}

/// The ULID in an answer.
fn decision_id(text: &str) -> String {
    let mut words = text.split(|c: char| !c.is_ascii_alphanumeric());
    let ulid =
        |word: &&str| word.len() == 26 && word.chars().all(|c| c.is_ascii_digit() || c.is_ascii_uppercase());
    words.rfind(ulid).unwrap_or_else(|| panic!("no decision id in {text}")).to_owned()
}

/// The printed command with the id in the place that stands for it.
fn with_id(command: &str, id: &str) -> String {
    let placeholder =
        ["<decision-id>", "DECISION-ID", "DECISION_ID"].into_iter().find(|name| command.contains(name));
    match placeholder {
        Some(placeholder) => command.replace(placeholder, id),
        None => command.to_owned(),
    }
}

#[test]
fn a_second_demo_says_which_port_is_in_use() {
    let (demo, _) = Demo::start();
    let other = tempfile::tempdir().expect("a temporary folder");
    let mut command = Command::new(postern());
    command.arg("demo").env("XDG_RUNTIME_DIR", other.path());
    let refused = run(command, LIMIT).expect_code(1);
    assert!(refused.err.contains("8443"), "{refused:?}");
    assert_eq!(
        refused.err.lines().filter(|line| line.contains("error")).count(),
        1,
        "one clear error: {refused:?}"
    );
    drop(demo);
}

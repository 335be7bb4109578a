//! A network of its own for a test: packet rules that are made in it are nobody else's.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::peer::skip;
use crate::process::run;

/// Longest time for a command that changes the network.
const LIMIT: Duration = Duration::from_secs(20);

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A network namespace; gone when dropped.
#[derive(Debug)]
pub struct Netns {
    name: String,
}

impl Netns {
    /// Plays `story` in a new namespace, in which only loopback is up. Threads and processes that it starts are there
    /// with it. Where namespaces cannot be made or `nft` is missing, prints the line by which the suite counts this test as
    /// skipped.
    ///
    /// # Panics
    /// When `story` does, or when a namespace that was made cannot be entered.
    pub fn play(story: impl FnOnce(&Self) + Send) {
        for tool in ["ip", "nft", "setpriv"] {
            let asked =
                Command::new(tool).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
            if asked.is_err() {
                return skip(&format!("there is no `{tool}` on this machine"));
            }
        }
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("postern-{}-{number}", std::process::id());
        let mut add = Command::new("ip");
        add.args(["netns", "add", &name]);
        let added = run(add, LIMIT);
        if added.code != Some(0) {
            return skip(&format!("no network namespace can be made: {}", added.err.trim()));
        }
        let netns = Self { name };
        // A namespace is a thread's own; the one that we came by stays where it is.
        let thread =
            std::thread::Builder::new().name(std::thread::current().name().unwrap_or("a test").to_owned());
        std::thread::scope(|scope| {
            let playing = thread.spawn_scoped(scope, || {
                let link = File::open(format!("/run/netns/{}", netns.name)).expect("the namespace");
                move_into_link_name_space(link.as_fd(), Some(LinkNameSpaceType::Network))
                    .expect("we may enter it");
                netns.ip("link set lo up");
                story(&netns);
            });
            if let Err(panic) = playing.expect("a thread").join() {
                std::panic::resume_unwind(panic);
            }
        });
    }

    /// Runs `ip` with these arguments.
    ///
    /// # Panics
    /// When it fails.
    pub fn ip(&self, arguments: &str) {
        let mut command = Command::new("ip");
        command.args(arguments.split(' '));
        run(command, LIMIT).expect_code(0);
    }

    /// Puts these rules in force instead of any others.
    ///
    /// # Panics
    /// When they are not taken.
    pub fn nft(&self, rules: &str) {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        write!(file, "flush ruleset\n{rules}").expect("the rules are written");
        let mut command = Command::new("nft");
        command.arg("-f").arg(file.path());
        run(command, LIMIT).expect_code(0);
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        drop(Command::new("ip").args(["netns", "del", &self.name]).status());
    }
}

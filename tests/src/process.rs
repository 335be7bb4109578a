//! Other processes: killed when dropped, their output kept, every wait bounded.

use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Between two looks at a condition that another process brings about.
const POLL: Duration = Duration::from_millis(20);

/// Looks until `ready` gives a value.
///
/// # Panics
/// When it has given none after `limit`; says what was awaited.
pub fn wait<T>(what: &str, limit: Duration, mut ready: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(started.elapsed() < limit, "waited {} s in vain for {what}", limit.as_secs());
        std::thread::sleep(POLL);
    }
}

/// A process in the background; killed when dropped.
#[derive(Debug)]
pub struct Running {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts `command` with its output in `<folder>/<name>.log`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(name: &str, mut command: Command, folder: &Path) -> Self {
        let log = folder.join(format!("{name}.log"));
        let file = File::create(&log).expect("a log file");
        let copy = file.try_clone().expect("a second handle");
        command.stdin(Stdio::null()).stdout(file).stderr(copy);
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        Self { name: name.to_owned(), child, log }
    }

    /// What it has printed so far, on both streams.
    pub fn output(&self) -> String {
        std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Looks until `ready` gives a value.
    ///
    /// # Panics
    /// When the process ends first or `limit` has passed; shows what it printed.
    pub fn wait_for<T>(
        &mut self,
        what: &str,
        limit: Duration,
        mut ready: impl FnMut(&str) -> Option<T>,
    ) -> T {
        let started = Instant::now();
        loop {
            if let Some(value) = ready(&self.output()) {
                return value;
            }
            if let Some(status) = self.child.try_wait().expect("its state can be asked") {
                panic!("{} ended ({status}) before {what}; it printed\n{}", self.name, self.output());
            }
            let waited = started.elapsed();
            assert!(
                waited < limit,
                "{}: waited {waited:?} for {what}; it printed\n{}",
                self.name,
                self.output()
            );
            std::thread::sleep(POLL);
        }
    }

    /// Waits until somebody accepts on `address`.
    pub fn wait_for_port(&mut self, address: SocketAddr, limit: Duration) {
        self.wait_for(&format!("a listener on {address}"), limit, |_| {
            TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok().map(drop)
        });
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// When the process has ended.
    pub fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(id, signal).unwrap_or_else(|error| panic!("cannot signal {}: {error}", self.name));
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it has not ended after `limit`.
    pub fn wait_for_end(&mut self, limit: Duration) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("its state can be asked") {
                return status;
            }
            let waited = started.elapsed();
            assert!(
                waited < limit,
                "{} has not ended after {waited:?}; it printed\n{}",
                self.name,
                self.output()
            );
            std::thread::sleep(POLL);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already, which is as good.
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            println!("---- what {} printed ----\n{}", self.name, self.output());
        }
    }
}

/// What a finished process left.
#[derive(Debug)]
pub struct Output {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Output {
    /// The output, when the process ended with this code.
    ///
    /// # Panics
    /// When it ended otherwise.
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }
}

/// Runs `command` to its end.
///
/// # Panics
/// When it cannot be started, or is not done after `limit`.
pub fn run(mut command: Command, limit: Duration) -> Output {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (out, err) = (folder.path().join("out"), folder.path().join("err"));
    command.stdin(Stdio::null());
    command.stdout(File::create(&out).expect("a file")).stderr(File::create(&err).expect("a file"));
    let name = command.get_program().to_string_lossy().into_owned();
    let child = command.spawn().unwrap_or_else(|error| panic!("cannot start `{name}`: {error}"));
    // Nothing is printed by the guard: both streams are in the answer.
    let mut running = Running { name, child, log: err.clone() };
    let status = running.wait_for_end(limit);
    let text = |path: &Path| String::from_utf8_lossy(&std::fs::read(path).expect("its output")).into_owned();
    Output { code: status.code(), out: text(&out), err: text(&err) }
}

//! Running other programs: each in a process group of its own, with a deadline, its output in a file or handed on
//! line by line. Nothing that `xtask` starts outlives it unnoticed.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How many lines of a failed program's output an error carries.
const TAIL_LINES: usize = 25;

/// Runs `command` to its end with all its output in the file `log`.
///
/// # Errors
/// When it cannot be started, fails, or is not done after `limit` (then its whole process group is killed). The
/// error carries the end of the log.
pub fn run_logged(mut command: Command, log: &Path, limit: Duration) -> Result<()> {
    let described = describe(&command);
    let file = File::create(log).with_context(|| format!("cannot write `{}`", log.display()))?;
    command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).process_group(0);
    let mut child = command.spawn().with_context(|| format!("cannot start `{described}`"))?;
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if started.elapsed() > limit {
            kill_group(&mut child);
            bail!("`{described}` was not done after {} s\n{}", limit.as_secs(), tail(log));
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    if !status.success() {
        bail!("`{described}` failed ({status})\n{}", tail(log));
    }
    Ok(())
}

/// A program in the background; killed when dropped.
#[derive(Debug)]
pub struct Guard(Child);

impl Guard {
    /// Starts `command` with its output in the file `log`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(mut command: Command, log: &Path) -> Result<Self> {
        let described = describe(&command);
        let file = File::create(log).with_context(|| format!("cannot write `{}`", log.display()))?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().with_context(|| format!("cannot start `{described}`"))?;
        Ok(Self(child))
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Whether it has ended by itself.
    ///
    /// # Errors
    /// When its state cannot be asked.
    pub fn ended(&mut self) -> Result<bool> {
        Ok(self.0.try_wait()?.is_some())
    }

    /// Asks it to stop (SIGTERM) and says whether it did within `limit`. A tracer has a child, and it is the child
    /// that is asked: the tracer ends with it.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn stop(&mut self, limit: Duration) -> Result<bool> {
        let id = self.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        let asked = children.split_whitespace().next().map_or_else(|| id.to_string(), str::to_owned);
        Command::new("kill").args(["-TERM", &asked]).status().context("cannot start kill")?;
        let started = Instant::now();
        while started.elapsed() < limit {
            if self.ended()? {
                return Ok(true);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(false)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // It may have ended already, which is as good.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// How a streamed program ended.
#[derive(Clone, Copy, Debug)]
pub enum Ended {
    /// By itself, with this status.
    Exited(ExitStatus),
    /// Killed, because it printed nothing for the allowed time.
    Silent(Duration),
}

/// Runs `command` and hands each line it prints (standard output and standard error, interleaved as they come) to
/// `on_line`.
///
/// # Errors
/// When it cannot be started or waited for.
pub fn run_streamed(mut command: Command, silence: Duration, on_line: &mut dyn FnMut(&str)) -> Result<Ended> {
    let described = describe(&command);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().with_context(|| format!("cannot start `{described}`"))?;
    let (sender, lines) = mpsc::sync_channel(1024);
    let out = child.stdout.take().context("no standard output")?;
    let err = child.stderr.take().context("no standard error")?;
    let readers = [forward(out, sender.clone()), forward(err, sender)];
    loop {
        match lines.recv_timeout(silence) {
            Ok(line) => on_line(&line),
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                kill_group(&mut child);
                return Ok(Ended::Silent(silence));
            }
        }
    }
    for reader in readers {
        // A reader ends with its pipe; its lines have all been seen.
        drop(reader.join());
    }
    Ok(Ended::Exited(child.wait()?))
}

fn forward(
    stream: impl std::io::Read + Send + 'static,
    lines: mpsc::SyncSender<String>,
) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            let text = String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned();
            if lines.send(text).is_err() {
                break;
            }
            line.clear();
        }
    })
}

/// Kills the process and everything it started in its group.
fn kill_group(child: &mut Child) {
    let group = format!("-{}", child.id());
    if Command::new("kill").args(["-KILL", "--", &group]).status().is_err() {
        drop(child.kill());
    }
    drop(child.wait());
}

/// What a program says on standard output, trimmed; `None` when it is not there or fails.
pub fn answer(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn describe(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|a| a.to_string_lossy().into_owned()));
    words.join(" ")
}

fn tail(log: &Path) -> String {
    let text =
        std::fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(TAIL_LINES);
    lines.get(from..).unwrap_or_default().join("\n")
}

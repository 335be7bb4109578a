//! Running other programs: each with a deadline, its output in a file or handed on line by line. They stay in our process
//! group, so that Ctrl-C at a terminal reaches all of them.

use std::fs::File;
use std::io::{BufRead, BufReader};
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
/// When it cannot be started, fails, or is not done after `limit` (then it is killed with everything it started). The
/// error carries the end of the log.
pub fn run_logged(mut command: Command, log: &Path, limit: Duration) -> Result<()> {
    let described = describe(&command);
    let file = File::create(log).with_context(|| format!("cannot write `{}`", log.display()))?;
    command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
    let mut child = command.spawn().with_context(|| format!("cannot start `{described}`"))?;
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if started.elapsed() > limit {
            kill_tree(&mut child);
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
        let asked = children(id).first().copied().unwrap_or(id);
        Command::new("kill").args(["-TERM", &asked.to_string()]).status().context("cannot start kill")?;
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
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
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
                kill_tree(&mut child);
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

/// Kills the process and everything it started.
fn kill_tree(child: &mut Child) {
    let mut doomed = vec![child.id()];
    let mut next = 0;
    while let Some(id) = doomed.get(next).copied() {
        doomed.extend(children(id));
        next += 1;
    }
    let ids: Vec<String> = doomed.iter().map(ToString::to_string).collect();
    if Command::new("kill").arg("-KILL").args(&ids).status().is_err() {
        drop(child.kill());
    }
    drop(child.wait());
}

/// The processes that `id` started and that still run.
fn children(id: u32) -> Vec<u32> {
    let threads = std::fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten();
    let listed = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    listed
        .flat_map(|text| text.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<_>>())
        .collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn lines_of_both_streams_are_handed_on() {
        let mut lines = Vec::new();
        let ended = run_streamed(shell("echo a; echo b >&2"), Duration::from_secs(20), &mut |line| {
            lines.push(line.to_owned())
        });
        assert!(matches!(ended, Ok(Ended::Exited(status)) if status.success()), "{ended:?}");
        lines.sort();
        assert_eq!(lines, ["a", "b"]);
    }

    #[test]
    fn a_silent_program_is_killed_with_what_it_started() {
        let mut inner = None;
        let ended =
            run_streamed(shell("sleep 300 & echo $!; wait"), Duration::from_millis(300), &mut |line| {
                inner = line.parse::<u32>().ok();
            });
        assert!(matches!(ended, Ok(Ended::Silent(_))), "{ended:?}");
        let id = inner.expect("the inner process");
        // The kernel takes a moment; a dead process may still be waited for by whoever inherited it.
        let ended = || {
            let state = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
            state.is_empty() || state.contains(") Z ") || state.contains(") X ")
        };
        let began = Instant::now();
        while !ended() {
            assert!(began.elapsed() < Duration::from_secs(10), "process {id} runs on");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn a_failure_carries_the_end_of_the_log() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("log");
        let error =
            run_logged(shell("echo what went wrong; exit 3"), &log, Duration::from_secs(20)).expect_err("3");
        assert!(format!("{error:#}").contains("what went wrong"), "{error:#}");
        let late =
            run_logged(shell("echo begun; sleep 300"), &log, Duration::from_millis(200)).expect_err("late");
        assert!(
            format!("{late:#}").contains("not done") && format!("{late:#}").contains("begun"),
            "{late:#}"
        );
    }
}

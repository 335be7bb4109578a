//! Running the tools of the system: by an absolute path, with arguments and standard input, never through a shell.

use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;
use thiserror::Error;

/// Why a tool did not do what it was asked for.
#[derive(Debug, Error)]
pub enum ToolError {
    /// It is not on this machine.
    #[error("there is no `{0}` on the path: install it, or choose another `--backend`")]
    Missing(&'static str),
    /// It could not be run.
    #[error("cannot run `{}`: {error}", .path.display())]
    Run {
        /// The tool.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// It refused.
    #[error("`{}` says: {said}", .path.display())]
    Refused {
        /// The tool.
        path: PathBuf,
        /// Its standard error.
        said: String,
    },
    /// It does not come to an end.
    #[error("`{}` is not done after {} s and was stopped", .0.display(), LIMIT.as_secs())]
    Slow(PathBuf),
}

/// How long a tool may take: whoever waits for it holds the lock of the state.
const LIMIT: Duration = Duration::from_secs(30);

/// Where administrators' tools lie, also for those whose path does not say so.
const USUAL: [&str; 2] = ["/usr/sbin", "/sbin"];

/// The tool of that name: in the first absolute folder of the path that has it.
pub(super) fn find(name: &'static str) -> Result<PathBuf, ToolError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(USUAL.map(PathBuf::from));
    let mut candidates = folders.filter(|folder| folder.is_absolute()).map(|folder| folder.join(name));
    candidates.find(|candidate| is_program(candidate)).ok_or(ToolError::Missing(name))
}

fn is_program(path: &Path) -> bool {
    std::fs::metadata(path)
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// Runs a tool to its end; gives what it printed.
pub(super) fn run<A: AsRef<OsStr>>(path: &Path, arguments: &[A], input: &str) -> Result<String, ToolError> {
    let failed = |error| ToolError::Run { path: path.to_owned(), error };
    let mut command = Command::new(path);
    command.args(arguments).env("LC_ALL", "C").current_dir("/");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let (input, (done, ended)) = (input.to_owned(), mpsc::sync_channel(1));
    std::thread::spawn(move || {
        if let Some(mut stdin) = child.stdin.take() {
            // A tool that stops reading says itself why.
            drop(stdin.write_all(input.as_bytes()));
        }
        drop(done.send(child.wait_with_output()));
    });
    let Ok(output) = ended.recv_timeout(LIMIT) else {
        // It is waited for, so the id is still its own; and if it has just ended, there is nobody to stop.
        id.map(|id| kill_process(id, Signal::KILL));
        return Err(ToolError::Slow(path.to_owned()));
    };
    let output = output.map_err(failed)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let said = if said.is_empty() { output.status.to_string() } else { said };
    Err(ToolError::Refused { path: path.to_owned(), said })
}

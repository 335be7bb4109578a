//! The process that undoes a change unless somebody confirms it. It is a process of its own, in a session of its own: a
//! terminal that is cut off by the rules must not take it along.

use super::keeper::{self, KeeperError};
use super::state::{self, Folder, StateError};
use crate::clock::Clock;
use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// What the timer says when nothing but its own end can stop it any more.
const ARMED: &str = "armed";
/// Between two looks at whether it is still wanted.
const LOOK: Duration = Duration::from_millis(200);
/// How long past its time it goes on looking at a state that cannot be read.
const PATIENCE: Duration = Duration::from_secs(60 * 60);
/// How often it tries.
const ATTEMPTS: u32 = 5;
/// Between two tries.
const PAUSE: Duration = Duration::from_secs(1);

/// Starts the timer of a change that is written down already, and waits until it is armed.
///
/// # Errors
/// When it is not: nothing may then be applied.
pub(super) fn start(folder: &Folder, id: &str, within: Duration) -> Result<(), KeeperError> {
    let failed = |error: io::Error| KeeperError::Timer(error.to_string());
    let mut command = Command::new("/proc/self/exe");
    command.args(["capture", "undo", "--id", id, "--within-ms", &within.as_millis().to_string()]);
    command.arg("--state-dir").arg(folder.path()).current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(failed)?;
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut line).map_err(failed)?;
    }
    if line.trim_end() == ARMED { Ok(()) } else { Err(KeeperError::Timer(line.trim_end().to_owned())) }
}

/// The timer itself. Ends when the change with this id is confirmed, replaced or undone. A state that cannot be read is looked
/// at again: a machine that is short of something for a moment is no reason to leave somebody cut off for good.
///
/// # Errors
/// When it could not be armed, or could not undo: the state then says so, if it can be written.
pub fn run(
    path: &Path,
    id: &str,
    within: Duration,
    clock: &dyn Clock,
    out: &mut dyn Write,
) -> Result<(), KeeperError> {
    let began = clock.monotonic_ns();
    rustix::process::setsid().map_err(|error| KeeperError::Timer(error.to_string()))?;
    let _alive = hold(path)?;
    if !is_wanted(path, id)? {
        return Err(KeeperError::NotWanted(path.display().to_string()));
    }
    drop(writeln!(out, "{ARMED}").and_then(|()| out.flush()));
    loop {
        let waited = Duration::from_nanos(clock.monotonic_ns().saturating_sub(began));
        match due(path, id, waited >= within) {
            Ok(Due::Never) => return Ok(()),
            Ok(Due::Now(folder)) => return undo(&folder, id),
            Err(error) if waited >= within.saturating_add(PATIENCE) => return Err(error.into()),
            Ok(Due::Later) | Err(_) => std::thread::sleep(LOOK),
        }
    }
}

/// When a change is to be undone.
enum Due {
    Never,
    Later,
    /// Nobody else changes anything meanwhile.
    Now(Folder),
}

fn due(path: &Path, id: &str, is_over: bool) -> Result<Due, StateError> {
    if !is_wanted(path, id)? {
        return Ok(Due::Never);
    }
    let folder = if is_over { Folder::try_open(path)? } else { None };
    Ok(folder.map_or(Due::Later, Due::Now))
}

/// Whether a timer runs.
pub(super) fn is_alive(path: &Path) -> bool {
    let Ok(file) = File::open(timer_file(path)) else { return false };
    flock(&file, FlockOperation::NonBlockingLockExclusive).is_err()
}

fn is_wanted(path: &Path, id: &str) -> Result<bool, StateError> {
    Ok(state::read(path)?.and_then(|state| state.pending).is_some_and(|pending| pending.id == id))
}

/// Held as long as the timer lives. One that is not wanted any more lets go of it at its next look.
fn hold(path: &Path) -> Result<File, StateError> {
    let path = timer_file(path);
    let file = state::lock_file(&path)?;
    let failed = |error: rustix::io::Errno| StateError::Io { path, error: error.into() };
    flock(&file, FlockOperation::LockExclusive).map_err(failed)?;
    Ok(file)
}

fn timer_file(folder: &Path) -> std::path::PathBuf {
    folder.join("timer")
}

fn undo(folder: &Folder, id: &str) -> Result<(), KeeperError> {
    let mut failed = Ok(());
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            std::thread::sleep(PAUSE);
        }
        failed = keeper::undo(folder, id);
        if failed.is_ok() {
            return Ok(());
        }
    }
    if let (Err(error), Some(mut state)) = (&failed, folder.read()?) {
        state.pending = None;
        state.undo_error = Some(error.to_string());
        folder.write(&state)?;
    }
    failed
}

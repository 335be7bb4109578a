//! What was applied, in a file that only root may write: its text is handed to the packet filter again when a change is
//! undone.

use super::backend::Rules;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Where it lies unless another folder is named. Not the sidecar's own folder: the sidecar may write there.
pub const DEFAULT_FOLDER: &str = "/run/postern-capture";
/// Rules for a thousand ports of each kind fit in.
const STATE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Version of the format.
const VERSION: u32 = 1;

/// What was applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Version of this format.
    pub version: u32,
    /// Inode of the network namespace that it is about.
    pub namespace: u64,
    /// What is in force.
    pub applied: Applied,
    /// What was in force, and confirmed, before that; it comes back when this is undone.
    pub previous: Option<Applied>,
    /// Until somebody confirms.
    pub pending: Option<Pending>,
    /// Why what should have been undone could not be.
    pub undo_error: Option<String>,
}

/// Rules that were put in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Applied {
    /// The rules.
    pub rules: Rules,
    /// What the tool listed after them. Empty while they are being applied.
    pub listing: String,
}

/// A change that waits to be confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pending {
    /// Which one: a timer undoes its own alone.
    pub id: String,
    /// Seconds since the Unix epoch, for people; what counts is how long the timer has waited.
    pub undone_at: u64,
}

impl State {
    /// What is applied in this network namespace.
    pub(super) fn new(namespace: u64, applied: Applied) -> Self {
        Self { version: VERSION, namespace, applied, previous: None, pending: None, undo_error: None }
    }
}

/// Why the state cannot be used.
#[derive(Debug, Error)]
pub enum StateError {
    /// The system refuses.
    #[error("`{}`: {error}", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Others could put text there that would be run as root.
    #[error("`{}` belongs to somebody else or can be written by others: name another `--state-dir`, or `chown` and `chmod 700` it", .0.display())]
    Foreign(PathBuf),
    /// It is not what was written there.
    #[error("`{}` cannot be read: {what}; `postern capture disable` takes the rules and this file away", .path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The network namespace cannot be told.
    #[error("cannot tell the network namespace: {0}")]
    Namespace(io::Error),
}

/// The folder in which the state lies, and nobody else changes it while this is held.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Makes the folder where it is not there, and waits for others who are changing something.
    pub(super) fn open(path: &Path) -> Result<Self, StateError> {
        let failed = |error| StateError::Io { path: path.to_owned(), error };
        // The process that undoes a change has another working directory.
        let path = &std::path::absolute(path).map_err(failed)?;
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        check_owner(path)?;
        let lock = lock_file(&path.join("lock"))?;
        flock(&lock, FlockOperation::LockExclusive).map_err(|error| failed(error.into()))?;
        Ok(Self { path: path.clone(), _lock: lock })
    }

    /// The same, but `None` when somebody is changing something.
    pub(super) fn try_open(path: &Path) -> Result<Option<Self>, StateError> {
        check_owner(path)?;
        let lock = lock_file(&path.join("lock"))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self { path: path.to_owned(), _lock: lock })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(StateError::Io { path: path.to_owned(), error: error.into() }),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn read(&self) -> Result<Option<State>, StateError> {
        read(&self.path)
    }

    /// Writes the state in one step: whoever reads sees this one or the one before.
    pub(super) fn write(&self, state: &State) -> Result<(), StateError> {
        let (new, path) = (self.path.join("state.json.new"), state_file(&self.path));
        let failed = |error| StateError::Io { path: new.clone(), error };
        let text = serde_json::to_vec(state).map_err(|error| failed(error.into()))?;
        let mut options = OpenOptions::new();
        let mut file =
            options.write(true).create(true).truncate(true).mode(0o600).open(&new).map_err(failed)?;
        file.write_all(&text).map_err(failed)?;
        std::fs::rename(&new, &path).map_err(failed)
    }

    pub(super) fn forget(&self) -> Result<(), StateError> {
        let path = state_file(&self.path);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StateError::Io { path, error }),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

fn state_file(folder: &Path) -> PathBuf {
    folder.join("state.json")
}

/// What lies in a folder; `None` when nothing does.
pub(super) fn read(folder: &Path) -> Result<Option<State>, StateError> {
    let path = state_file(folder);
    let file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StateError::Io { path, error }),
        Ok(file) => file,
    };
    let mut text = Vec::new();
    if let Err(error) = file.take(STATE_BYTES_MAX).read_to_end(&mut text) {
        return Err(StateError::Io { path, error });
    }
    let broken = |what: String| StateError::Broken { path: path.clone(), what };
    let state: State = serde_json::from_slice(&text).map_err(|error| broken(error.to_string()))?;
    if state.version != VERSION {
        return Err(broken(format!("version `{}` of the format is not known", state.version)));
    }
    Ok(Some(state))
}

/// A file to hold a lock on.
pub(super) fn lock_file(path: &Path) -> Result<File, StateError> {
    let failed = |error| StateError::Io { path: path.to_owned(), error };
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600).open(path).map_err(failed)
}

fn check_owner(path: &Path) -> Result<(), StateError> {
    let failed = |error| StateError::Io { path: path.to_owned(), error };
    let metadata = std::fs::symlink_metadata(path).map_err(failed)?;
    let is_ours = metadata.uid() == rustix::process::geteuid().as_raw();
    if metadata.is_dir() && is_ours && metadata.mode() & 0o022 == 0 {
        Ok(())
    } else {
        Err(StateError::Foreign(path.to_owned()))
    }
}

/// Inode of the network namespace that this process is in.
pub(super) fn namespace() -> Result<u64, StateError> {
    std::fs::metadata("/proc/self/ns/net").map(|metadata| metadata.ino()).map_err(StateError::Namespace)
}

//! The small file by which `curl`, `why` and `audit` find a running demo from another terminal.
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Where a running demo keeps its things.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DemoState {
    /// The version of this file's format.
    pub version: u32,
    /// The process.
    pub pid: u32,
    /// The sidecar's listener.
    pub listener: SocketAddr,
    /// The sidecar's SPIFFE ID.
    pub spiffe_id: String,
    /// The socket on which SVIDs are minted for `curl --as`.
    pub mint_socket: PathBuf,
    /// The audit log.
    pub audit_directory: PathBuf,
}

/// Why the demo's state cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// No demo runs.
    #[error("no demo runs: start one with `postern demo` in another terminal")]
    NoDemo,
    /// Somebody else could have written there.
    #[error("`{}` belongs to another user: remove it, or set XDG_RUNTIME_DIR to a folder of your own", .0.display())]
    NotOurs(PathBuf),
    /// The file holds something else.
    #[error("`{}` is not a demo's state: remove it and start the demo again", .0.display())]
    Malformed(PathBuf),
    /// The file system refused.
    #[error("`{}`: {error}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
}

impl DemoState {
    /// Writes the file for its owner only.
    pub fn write(&self) -> Result<PathBuf, StateError> {
        let directory = directory()?;
        let path = directory.join(FILE);
        let failed = |error| StateError::Io { path: path.clone(), error };
        let text = serde_json::to_vec_pretty(self).map_err(|error| failed(error.into()))?;
        let temporary = directory.join(format!("{FILE}.{}", self.pid));
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)
            .map_err(failed)?;
        io::Write::write_all(&mut file, &text).map_err(failed)?;
        fs::rename(&temporary, &path).map_err(failed)?;
        Ok(path)
    }

    /// The state of the demo that runs for this user.
    pub fn read() -> Result<Self, StateError> {
        let path = directory()?.join(FILE);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(StateError::NoDemo),
            Err(error) => return Err(StateError::Io { path, error }),
            Ok(text) => text,
        };
        let state: Self = serde_json::from_slice(&text).map_err(|_| StateError::Malformed(path))?;
        Ok(state)
    }

    /// Removes the file, if it is still this process's.
    pub fn remove(&self) {
        if Self::read().is_ok_and(|current| current == *self)
            && let Ok(directory) = directory()
        {
            // The demo ends; a file that stays behind is overwritten by the next one.
            drop(fs::remove_file(directory.join(FILE)));
        }
    }
}

const FILE: &str = "demo.json";

/// The user's own runtime directory, or one in the temporary folder that nobody else may write.
fn directory() -> Result<PathBuf, StateError> {
    let uid = rustix::process::getuid().as_raw();
    let path = match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(runtime) if Path::new(&runtime).is_dir() => Path::new(&runtime).join("postern"),
        Some(_) | None => std::env::temp_dir().join(format!("postern-{uid}")),
    };
    let failed = |error| StateError::Io { path: path.clone(), error };
    match fs::DirBuilder::new().mode(0o700).create(&path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
        Ok(()) | Err(_) => {}
    }
    let metadata = fs::symlink_metadata(&path).map_err(failed)?;
    let is_ours = metadata.is_dir() && metadata.uid() == uid && metadata.mode() & 0o022 == 0;
    if is_ours { Ok(path) } else { Err(StateError::NotOurs(path)) }
}

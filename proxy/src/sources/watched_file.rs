//! One file that is looked at again and again: has it changed, and what does it hold now?
//!
//! Polling, because the files that matter here are swapped under us in every way there is: rewritten, renamed over,
//! relinked by Kubernetes, mounted from a network. Size, time and inode of what the path leads to tell all of them.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often files are looked at.
pub const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Why a file could not be read whole.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It is not there, or may not be read.
    #[error("`{}` cannot be read: {error}", .path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// A FIFO or a device would never end.
    #[error("`{}` is not a regular file", .0.display())]
    NotAFile(PathBuf),
    /// More bytes than are read.
    #[error("`{}` has more than {bytes_max} bytes", .path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
        /// The limit.
        bytes_max: u64,
    },
    /// It changed while it was read; the next look will find it whole.
    #[error("`{}` changed while it was read", .0.display())]
    Torn(PathBuf),
}

/// What tells one content of a path from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified_s: i64,
    modified_ns: i64,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified_s: metadata.mtime(),
            modified_ns: metadata.mtime_nsec(),
        }
    }

    /// The stamp of what `path` leads to; `None` when there is nothing.
    pub fn now(path: &Path) -> Option<Self> {
        std::fs::metadata(path).ok().map(|metadata| Self::of(&metadata))
    }
}

/// Reads a file of at most `bytes_max` bytes.
///
/// # Errors
/// When it cannot be read, is too large, is no regular file, or changes meanwhile.
pub fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, FileError> {
    let io = |error| FileError::Io { path: path.to_owned(), error };
    // Looked at before it is opened: opening a FIFO would wait for a writer.
    let before = std::fs::metadata(path).map_err(io)?;
    if !before.is_file() {
        return Err(FileError::NotAFile(path.to_owned()));
    }
    let file = File::open(path).map_err(io)?;
    let mut content = Vec::new();
    (&file).take(bytes_max.saturating_add(1)).read_to_end(&mut content).map_err(io)?;
    if u64::try_from(content.len()).is_ok_and(|bytes| bytes > bytes_max) {
        return Err(FileError::TooLarge { path: path.to_owned(), bytes_max });
    }
    let after = file.metadata().map_err(io)?;
    if Stamp::of(&before) == Stamp::of(&after) { Ok(content) } else { Err(FileError::Torn(path.to_owned())) }
}

//! The archives in force, kept for a start without their sources. What is kept is what was fetched: at the next start
//! its signature is verified like any other's.
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::sources::watched_file::{self, FileError};

#[cfg(test)]
mod tests;

/// A folder with the archive in force of each bundle.
#[derive(Clone, Debug)]
pub struct LastGood {
    directory: PathBuf,
}

/// Why an archive cannot be kept or had.
#[derive(Debug, thiserror::Error)]
pub enum LastGoodError {
    /// The folder or a file in it cannot be written.
    #[error("`{}` cannot be written: {error}", .path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// The file cannot be read whole.
    #[error(transparent)]
    Read(#[from] FileError),
}

impl LastGood {
    /// Keeps archives in this folder, which is made when the first is kept.
    #[must_use]
    pub fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Keeps an archive in the place of the one before: whole or not at all, also when the power fails.
    ///
    /// # Errors
    /// When the folder cannot be written; the archive before is then still there.
    pub fn store(&self, name: &str, archive: &[u8]) -> Result<(), LastGoodError> {
        let path = self.path(name);
        let failed = |error| LastGoodError::Write { path: path.clone(), error };
        fs::create_dir_all(&self.directory).map_err(failed)?;
        let unfinished = self.directory.join(format!("{name}.tar.gz.unfinished"));
        write(&unfinished, archive).map_err(failed)?;
        fs::rename(&unfinished, &path).map_err(failed)?;
        File::open(&self.directory).and_then(|directory| directory.sync_all()).map_err(failed)
    }

    /// The archive that is kept under a name; `None` when there is none.
    ///
    /// # Errors
    /// When there is one that cannot be read, or is larger than `bytes_max`.
    pub fn load(&self, name: &str, bytes_max: u64) -> Result<Option<Bytes>, LastGoodError> {
        let path = self.path(name);
        match watched_file::read(&path, bytes_max) {
            Ok(archive) => Ok(Some(archive.into())),
            Err(FileError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Names are checked by the configuration: letters, digits, `.`, `-` and `_`.
    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.tar.gz"))
    }
}

/// Policies are no secret, but who may read them is not ours to widen.
fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o640).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

//! What is in force, kept for a start without its source. What is kept is what was fetched: at the next start it is
//! judged like anything else.
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::sources::watched_file::{self, FileError};

#[cfg(test)]
mod tests;

/// A folder with the document in force of each name.
#[derive(Clone, Debug)]
pub struct LastGood {
    directory: PathBuf,
    extension: &'static str,
}

/// Why a document cannot be kept or had.
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
    /// Keeps archives of policies in this folder, which is made when the first is kept.
    #[must_use]
    pub fn new(directory: PathBuf) -> Self {
        Self { directory, extension: "tar.gz" }
    }

    /// Keeps documents of another kind, in files that end in `.extension`.
    #[must_use]
    pub fn of(directory: PathBuf, extension: &'static str) -> Self {
        Self { directory, extension }
    }

    /// Keeps a document in the place of the one before: whole or not at all, also when the power fails.
    ///
    /// # Errors
    /// When the folder cannot be written; the document before is then still there.
    pub fn store(&self, name: &str, document: &[u8]) -> Result<(), LastGoodError> {
        let path = self.path(name);
        let failed = |error| LastGoodError::Write { path: path.clone(), error };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.directory).map_err(failed)?;
        let unfinished = self.directory.join(format!("{name}.{}.unfinished", self.extension));
        write(&unfinished, document).map_err(failed)?;
        fs::rename(&unfinished, &path).map_err(failed)?;
        File::open(&self.directory).and_then(|directory| directory.sync_all()).map_err(failed)
    }

    /// The document that is kept under a name; `None` when there is none.
    ///
    /// # Errors
    /// When there is one that cannot be read, or is larger than `bytes_max`.
    pub fn load(&self, name: &str, bytes_max: u64) -> Result<Option<Bytes>, LastGoodError> {
        let path = self.path(name);
        match watched_file::read(&path, bytes_max) {
            Ok(document) => Ok(Some(document.into())),
            Err(FileError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Keeps no document of this name any more.
    ///
    /// # Errors
    /// When there is one that cannot be removed.
    pub fn remove(&self, name: &str) -> Result<(), LastGoodError> {
        let path = self.path(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(LastGoodError::Write { path, error })
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The names of what is kept.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let ending = format!(".{}", self.extension);
        let files = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        let names =
            files.filter_map(|file| Some(file.file_name().to_str()?.strip_suffix(&ending)?.to_owned()));
        names.collect()
    }

    /// Names are checked by the configuration: letters, digits, `.`, `-` and `_`.
    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.{}", self.extension))
    }
}

/// Policies and keys are no secret, but what is decided here, and by whose keys, is nobody else's business; and whoever
/// could write here could decide and mint.
fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

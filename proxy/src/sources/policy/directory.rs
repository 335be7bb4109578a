//! A folder with a bundle's sources, or an archive file, looked at again and again.
//!
//! Looked at rather than watched: folders are swapped under us by editors, package managers and Kubernetes in every
//! way there is, and the size, time and inode of every file tell all of them.
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use postern_policy::bundle::{archive_of, files_of};
use postern_policy::tooling::is_test_file;
use postern_policy::{BundleError, BundleLimits};

use super::Outlet;
use crate::sources::watched_file::{self, FileError, Stamp};

#[cfg(test)]
mod tests;

/// The most files in a folder.
const FILES_MAX: usize = 10_000;
/// The most folders inside each other.
const DEPTH_MAX: usize = 16;

/// Why a folder or a file gives no archive.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// It is not there, or may not be read.
    #[error("`{}` cannot be read: {error}", .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// A file in it cannot be read whole.
    #[error(transparent)]
    File(#[from] FileError),
    /// More files than a bundle may have.
    #[error("`{}` holds more than {FILES_MAX} files", .0.display())]
    TooMany(PathBuf),
    /// Folders inside folders without end.
    #[error("`{}` is more than {DEPTH_MAX} folders deep", .0.display())]
    TooDeep(PathBuf),
    /// More bytes than are read.
    #[error("`{}` holds more than {bytes_max} bytes", .path.display())]
    TooLarge {
        /// Which folder.
        path: PathBuf,
        /// The limit.
        bytes_max: usize,
    },
    /// A name that no bundle can have.
    #[error("`{}` is not named in UTF-8", .0.display())]
    Name(PathBuf),
    /// Somebody is still writing; the next look will find it whole.
    #[error("`{}` changed while it was read", .0.display())]
    Torn(PathBuf),
    /// The files cannot be a bundle.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The look did not come to its end.
    #[error("the look at the policy folder was broken off")]
    Aborted,
}

/// The archive file at a path, or the archive of the folder there, read once.
///
/// # Errors
/// When it cannot be read or is larger than `bytes_max`.
pub fn archive_at(path: &Path, bytes_max: usize) -> Result<Bytes, DirectoryError> {
    read(path, &look(path)?, bytes_max, &look)
}

/// The files of the folder or the archive at a path by their names in the bundle, those that hold tests included: for
/// tools, never for a decision.
///
/// # Errors
/// When they cannot be read or are more than `bytes_max`.
pub fn files_at(path: &Path, bytes_max: usize) -> Result<BTreeMap<String, Vec<u8>>, DirectoryError> {
    let look = look_at_all(path)?;
    let archive = read(path, &look, bytes_max, &look_at_all)?;
    Ok(files_of(&archive, &BundleLimits::default())?)
}

/// What would tell that a file of [`files_at`] has changed.
///
/// # Errors
/// When the folder cannot be read.
pub fn stamps_at(path: &Path) -> Result<Vec<(PathBuf, Stamp)>, DirectoryError> {
    Ok(look_at_all(path)?.into_iter().map(|(_, path, stamp)| (path, stamp)).collect())
}

/// What a look found: every file by its name in the bundle, with its stamp.
type Look = Vec<(String, PathBuf, Stamp)>;

/// Follows the folder or file until nobody takes candidates any more.
pub(super) async fn follow(path: PathBuf, poll_interval: Duration, bytes_max: usize, mut outlet: Outlet) {
    let mut seen: Option<Look> = None;
    loop {
        let (at, before) = (path.clone(), seen.take());
        // Files are read beside the control thread, which a slow disk must not hold up.
        let looked = tokio::task::spawn_blocking(move || look_again(&at, before.as_ref(), bytes_max)).await;
        match looked.unwrap_or(Err(DirectoryError::Aborted)) {
            Ok((look, archive)) => {
                seen = Some(look);
                if let Some(archive) = archive
                    && !outlet.offer(archive, None).await
                {
                    return;
                }
            }
            Err(error) => outlet.trouble(&error),
        }
        tokio::time::sleep(poll_interval).await;
    }
}

/// Looks, and reads if anything differs from the look before.
fn look_again(
    path: &Path,
    before: Option<&Look>,
    bytes_max: usize,
) -> Result<(Look, Option<Bytes>), DirectoryError> {
    let look = look(path)?;
    if before == Some(&look) {
        return Ok((look, None));
    }
    let archive = read(path, &look, bytes_max, &self::look)?;
    Ok((look, Some(archive)))
}

/// What may decide. Tests are no part of it, unless somebody has signed the files with them.
fn look(path: &Path) -> Result<Look, DirectoryError> {
    let mut look = look_at_all(path)?;
    if !look.iter().any(|(name, _, _)| name == ".signatures.json") {
        look.retain(|(name, _, _)| !is_test_file(name));
    }
    Ok(look)
}

fn look_at_all(path: &Path) -> Result<Look, DirectoryError> {
    let failed = |error| DirectoryError::Io { path: path.to_owned(), error };
    let mut look = Look::new();
    if fs::metadata(path).map_err(failed)?.is_dir() {
        walk(path, "", 0, &mut look)?;
        look.sort_by(|a, b| a.0.cmp(&b.0));
    } else if let Some(stamp) = Stamp::now(path) {
        look.push((String::new(), path.to_owned(), stamp));
    }
    Ok(look)
}

/// Hidden files are passed over but for the bundle's own: editors and Kubernetes put theirs beside them.
fn walk(folder: &Path, prefix: &str, depth: usize, look: &mut Look) -> Result<(), DirectoryError> {
    let failed = |error| DirectoryError::Io { path: folder.to_owned(), error };
    if depth > DEPTH_MAX {
        return Err(DirectoryError::TooDeep(folder.to_owned()));
    }
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            return Err(DirectoryError::Name(path));
        };
        if name.starts_with('.') && name != ".manifest" && name != ".signatures.json" {
            continue;
        }
        let name = format!("{prefix}{name}");
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            // Gone between the listing and here: the next look will tell.
            Err(_) if fs::symlink_metadata(&path).is_err() => continue,
            // What decides must not lack a file whose name is there, such as one that forbids.
            Err(error) => return Err(DirectoryError::Io { path, error }),
        };
        if metadata.is_dir() {
            walk(&path, &format!("{name}/"), depth.saturating_add(1), look)?;
        } else if let Some(stamp) = Stamp::now(&path) {
            if look.len() >= FILES_MAX {
                return Err(DirectoryError::TooMany(folder.to_owned()));
            }
            look.push((name, path, stamp));
        }
    }
    Ok(())
}

/// The archive of what was looked at. If a second look differs, somebody is still writing.
fn read(
    path: &Path,
    look: &Look,
    bytes_max: usize,
    again: &dyn Fn(&Path) -> Result<Look, DirectoryError>,
) -> Result<Bytes, DirectoryError> {
    if let [(name, file, _)] = look.as_slice()
        && name.is_empty()
    {
        return Ok(watched_file::read(file, bytes_max as u64)?.into());
    }
    let mut files = Vec::with_capacity(look.len());
    let mut left = bytes_max;
    for (name, file, _) in look {
        let content = watched_file::read(file, left as u64).map_err(|error| match error {
            FileError::TooLarge { .. } => DirectoryError::TooLarge { path: path.to_owned(), bytes_max },
            FileError::Io { .. } | FileError::NotAFile(_) | FileError::Torn(_) => error.into(),
        })?;
        left = left.saturating_sub(content.len());
        files.push((name.as_str(), content));
    }
    if again(path)? != *look {
        return Err(DirectoryError::Torn(path.to_owned()));
    }
    Ok(archive_of(files.iter().map(|(name, content)| (*name, content.as_slice())))?.into())
}

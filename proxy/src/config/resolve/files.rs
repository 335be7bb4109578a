//! Whether the files a configuration names are there, can be read, and are kept as they should be.

use std::fs::{File, Metadata};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::config::findings::Finding;

/// A path that the configuration names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileReference {
    pub key: String,
    pub path: PathBuf,
    pub kind: FileKind,
}

/// What is expected at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileKind {
    /// A readable file that others may read as well.
    Public,
    /// A readable file that nobody else should read.
    Secret,
    /// A readable folder or file.
    Bundle,
    /// A folder that the sidecar makes when it is not there.
    OwnDirectory,
}

/// Findings about each of them.
pub(super) fn check(references: &[FileReference]) -> Vec<Finding> {
    references.iter().filter_map(check_one).collect()
}

fn check_one(reference: &FileReference) -> Option<Finding> {
    let path = reference.path.display();
    let error = |what: String, mend: &str| Some(Finding::error(reference.key.as_str(), what, mend));
    let metadata = match std::fs::metadata(&reference.path) {
        Ok(metadata) => metadata,
        Err(missing) if missing.kind() == std::io::ErrorKind::NotFound => {
            return match reference.kind {
                FileKind::OwnDirectory => None,
                FileKind::Public | FileKind::Secret | FileKind::Bundle => error(
                    format!("`{path}` is not there"),
                    "put it there, or correct the path: it is relative to the configuration file",
                ),
            };
        }
        Err(failed) => {
            return error(
                format!("cannot look at `{path}`: {failed}"),
                "give the user that runs postern access to it",
            );
        }
    };
    match reference.kind {
        FileKind::OwnDirectory if !metadata.is_dir() => {
            error(format!("`{path}` is not a folder"), "name a folder")
        }
        FileKind::OwnDirectory => None,
        FileKind::Bundle if !metadata.is_dir() && !metadata.is_file() => {
            error(format!("`{path}` is neither a folder nor a file"), "name a folder or an archive")
        }
        FileKind::Bundle => None,
        FileKind::Public | FileKind::Secret if !metadata.is_file() => {
            error(format!("`{path}` is not a file"), "name a file")
        }
        FileKind::Public => unreadable(reference),
        FileKind::Secret => unreadable(reference).or_else(|| exposed(reference, &metadata)),
    }
}

fn unreadable(reference: &FileReference) -> Option<Finding> {
    let failed = File::open(&reference.path).err()?;
    let what = format!("cannot read `{}`: {failed}", reference.path.display());
    Some(Finding::error(reference.key.as_str(), what, "give the user that runs postern the right to read it"))
}

fn exposed(reference: &FileReference, metadata: &Metadata) -> Option<Finding> {
    const OTHERS: u32 = 0o007;
    if metadata.permissions().mode() & OTHERS == 0 {
        return None;
    }
    let what = format!("every user of this machine can read the private key `{}`", reference.path.display());
    let mend = format!("chmod 600 {}", reference.path.display());
    Some(Finding::warning(reference.key.as_str(), what, mend))
}

//! Bundles as they lie on disk.
use cedar_policy::{Effect, PolicySet};
use postern_policy::{BundleError, BundleLimits, CedarProgram, LoadError, PolicyBundle, Signers};
use std::io;
use std::path::{Path, PathBuf};

/// Why policies cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A file or folder cannot be read.
    #[error("`{}`: {error}", .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is no bundle.
    #[error("`{}`: {error}", .path.display())]
    Bundle {
        /// Which.
        path: PathBuf,
        /// Why.
        error: BundleError,
    },
    /// Its policies would not be taken into force.
    #[error("`{}`: {error}", .path.display())]
    Load {
        /// Which.
        path: PathBuf,
        /// Why.
        error: Box<LoadError>,
    },
    /// The invariants do not fit.
    #[error("`{}`: {what}", .path.display())]
    Invariants {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}

/// The most bytes of one file: a bundle as it lies on disk.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// The deepest folder of a bundle.
const DEPTH_MAX: usize = 16;

/// Reads a bundle, an archive or a folder with its files, up to its validated policies. A signature is not verified:
/// proving says what policies do, not whose they are.
///
/// # Errors
/// [`SourceError`]: it cannot be read, or would not be taken into force.
pub fn read(path: &Path) -> Result<CedarProgram, SourceError> {
    let limits = BundleLimits::default();
    let signers = Signers::UnsignedAllowedForDevelopment;
    let bundle = if path.is_dir() {
        let mut files = Vec::new();
        collect(path, "", 0, &mut files)?;
        let named = files.iter().map(|(name, content)| (name.as_str(), content.as_slice()));
        PolicyBundle::from_files(named, &limits, &signers)
    } else {
        PolicyBundle::open(&content(path)?, &limits, &signers)
    };
    let bundle = bundle.map_err(|error| SourceError::Bundle { path: path.to_owned(), error })?;
    CedarProgram::load(&[("bundle", &bundle)])
        .map_err(|error| SourceError::Load { path: path.to_owned(), error: Box::new(error) })
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> SourceError {
    let path = path.to_owned();
    move |error| SourceError::Io { path, error }
}

pub(crate) fn content(path: &Path) -> Result<Vec<u8>, SourceError> {
    let length = std::fs::metadata(path).map_err(io_error(path))?.len();
    if length > FILE_BYTES_MAX {
        let error = io::Error::other(format!("it is longer than {FILE_BYTES_MAX} bytes"));
        return Err(SourceError::Io { path: path.to_owned(), error });
    }
    std::fs::read(path).map_err(io_error(path))
}

fn collect(
    folder: &Path,
    prefix: &str,
    depth: usize,
    files: &mut Vec<(String, Vec<u8>)>,
) -> Result<(), SourceError> {
    if depth > DEPTH_MAX {
        return Err(io_error(folder)(io::Error::other("it is nested too deep")));
    }
    for entry in std::fs::read_dir(folder).map_err(io_error(folder))? {
        let path = entry.map_err(io_error(folder))?.path();
        let Some(base) = path.file_name().and_then(|name| name.to_str()) else {
            return Err(io_error(&path)(io::Error::other("its name is not UTF-8")));
        };
        let name = format!("{prefix}{base}");
        if path.is_dir() {
            collect(&path, &format!("{name}/"), depth.saturating_add(1), files)?;
        } else {
            files.push((name, content(&path)?));
        }
    }
    Ok(())
}

/// What a policy of the invariants is called: its `@id`, or its number in the file.
pub(crate) fn named(policies: &PolicySet) -> Vec<(String, Effect, cedar_policy::Policy)> {
    let name = |policy: &cedar_policy::Policy| {
        policy.annotation("id").map_or_else(|| policy.id().to_string(), str::to_owned)
    };
    let mut named: Vec<_> =
        policies.policies().map(|policy| (name(policy), policy.effect(), policy.clone())).collect();
    named.sort_by(|(a, ..), (b, ..)| a.cmp(b));
    named
}

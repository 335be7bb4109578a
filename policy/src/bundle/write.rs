//! Writing bundle archives: the same files always give the same bytes.
use super::archive::Collector;
use super::{BundleError, BundleLimits, Files, SIGNATURES, SigningError, SigningKey};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write as _;

/// Builds an unsigned archive of the files; an existing signature list is left out.
///
/// # Errors
/// [`BundleError`] for names or sizes that a bundle cannot have.
pub fn archive_of<'a>(
    files: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    limits: &BundleLimits,
) -> Result<Vec<u8>, BundleError> {
    packed(&collected(files, limits)?)
}

/// Builds an archive of the files with a fresh signature by `key`.
///
/// # Errors
/// [`SigningError`].
pub fn signed_archive_of<'a>(
    files: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    limits: &BundleLimits,
    key: &SigningKey,
) -> Result<Vec<u8>, SigningError> {
    let mut files = collected(files, limits)?;
    let signatures = key.signatures_of(&files)?;
    files.insert(SIGNATURES.to_owned(), signatures);
    Ok(packed(&files)?)
}

fn collected<'a>(
    files: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    limits: &BundleLimits,
) -> Result<Files, BundleError> {
    let mut collector = Collector::new(limits);
    for (name, content) in files {
        collector.admit(name, content.len() as u64)?;
        collector.add(name, content.to_vec())?;
    }
    let mut files = collector.finish();
    files.remove(SIGNATURES);
    Ok(files)
}

fn packed(files: &Files) -> Result<Vec<u8>, BundleError> {
    let failed = |error: std::io::Error| BundleError::Archive { what: error.to_string() };
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_entry_type(tar::EntryType::Regular);
        // OPA spells entry names with a leading slash, which `tar` itself refuses: names stay relative, both read them.
        tar.append_data(&mut header, name, content.as_slice()).map_err(failed)?;
    }
    let mut gzip = tar.into_inner().map_err(failed)?;
    gzip.flush().map_err(failed)?;
    gzip.finish().map_err(failed)
}

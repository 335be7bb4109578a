//! Writing bundle archives: the same files always give the same bytes.
use super::archive::Collector;
use super::{BundleError, BundleLimits, Files, SIGNATURES, SigningError, SigningKey};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write as _;

/// Builds an archive of the files as they are, an existing signature list included.
///
/// # Errors
/// [`BundleError`] for names or sizes that a bundle cannot have under the default limits.
pub fn archive_of<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Result<Vec<u8>, BundleError> {
    packed(&collected(files)?)
}

/// Builds an archive of the files with a fresh signature by `key`, instead of the one that may be there.
///
/// # Errors
/// [`SigningError`].
pub fn signed_archive_of<'a>(
    files: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    key: &SigningKey,
) -> Result<Vec<u8>, SigningError> {
    let mut files = collected(files)?;
    let signatures = key.signatures_of(&files)?;
    files.insert(SIGNATURES.to_owned(), signatures);
    Ok(packed(&files)?)
}

fn collected<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Result<Files, BundleError> {
    let mut collector = Collector::new(&BundleLimits::default());
    for (name, content) in files {
        collector.admit(name, content.len() as u64)?;
        collector.add(name, content.to_vec())?;
    }
    Ok(collector.finish())
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

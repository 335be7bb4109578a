//! Policy bundles in OPA's format: a gzip tar with `.manifest`, policies, data and `.signatures.json`.
//!
//! The order is the safety: the archive is read into a bounded list of files ([`archive`]), the signature is verified
//! over that list ([`signature`]), and only then is the manifest believed and data merged ([`data`]).
mod archive;
mod data;
mod error;
mod manifest;
mod signature;
mod signer;
#[cfg(test)]
mod tests;
mod write;

use crate::document::Document;
use aws_lc_rs::digest::{SHA256, digest};
use std::collections::BTreeMap;

pub use error::BundleError;
pub(crate) use manifest::Manifest;
pub use manifest::RegoVersion;
pub use signature::{SignatureAlgorithm, SignerKey, SignerKeyError, Signers};
pub use signer::{SigningError, SigningKey};
pub use write::{archive_of, signed_archive_of};

/// The name of the manifest inside a bundle.
pub(crate) const MANIFEST: &str = ".manifest";
/// The name of the signature list inside a bundle.
pub(crate) const SIGNATURES: &str = ".signatures.json";

/// What a bundle may cost. The defaults suit a sidecar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BundleLimits {
    /// Bytes of the archive after decompression, padding and headers included.
    pub decompressed_bytes_max: u64,
    /// Bytes of one file.
    pub file_bytes_max: u64,
    /// Files in the archive.
    pub files_max: usize,
    /// Values in all data documents together.
    pub data_values_max: usize,
}

impl Default for BundleLimits {
    fn default() -> Self {
        Self {
            decompressed_bytes_max: 64 * 1024 * 1024,
            file_bytes_max: 32 * 1024 * 1024,
            files_max: 10_000,
            data_values_max: 4_000_000,
        }
    }
}

/// The files of a bundle by their name: no leading `/`, no `.` or `..`, no two that differ only in case.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// A bundle whose signature held (or whose absence was allowed in as many words) and whose manifest, data and file
/// list are consistent. Immutable.
#[derive(Clone, Debug)]
pub struct PolicyBundle {
    pub(crate) manifest: Manifest,
    pub(crate) policies: BTreeMap<String, String>,
    pub(crate) entities: Option<String>,
    pub(crate) cedar_schema: Option<String>,
    pub(crate) cedar_links: Option<String>,
    pub(crate) data: Document,
    signed: bool,
    signer: Option<String>,
    digest: [u8; 32],
}

/// The files of an archive by their names, read within the limits but *not verified*: for tools that sign or show
/// bundles, never for a decision.
///
/// # Errors
/// [`BundleError`] when it is no bundle archive.
pub fn files_of(archive: &[u8], limits: &BundleLimits) -> Result<BTreeMap<String, Vec<u8>>, BundleError> {
    archive::read(archive, limits)
}

impl PolicyBundle {
    /// Reads and verifies a bundle archive (`bundle.tar.gz`). Nothing is believed before the signature held.
    ///
    /// # Errors
    /// [`BundleError`]: what is wrong, in which file, and how to mend it.
    pub fn open(archive: &[u8], limits: &BundleLimits, signers: &Signers) -> Result<Self, BundleError> {
        let files = archive::read(archive, limits)?;
        let mut sum = [0; 32];
        sum.copy_from_slice(digest(&SHA256, archive).as_ref());
        Self::verified(files, limits, signers, sum)
    }

    /// The same over the files of a directory, by their path relative to the bundle's root with `/` between folders.
    /// The digest is then the SHA-256 over the sorted list of names, lengths and contents.
    ///
    /// # Errors
    /// As [`PolicyBundle::open`].
    pub fn from_files<'a>(
        files: impl IntoIterator<Item = (&'a str, &'a [u8])>,
        limits: &BundleLimits,
        signers: &Signers,
    ) -> Result<Self, BundleError> {
        let mut collector = archive::Collector::new(limits);
        for (name, content) in files {
            collector.admit(name, content.len() as u64)?;
            collector.add(name, content.to_vec())?;
        }
        let files = collector.finish();
        let mut all = Vec::new();
        for (name, content) in &files {
            all.extend_from_slice(format!("{}:{name}{}:", name.len(), content.len()).as_bytes());
            all.extend_from_slice(content);
        }
        let mut sum = [0; 32];
        sum.copy_from_slice(digest(&SHA256, &all).as_ref());
        Self::verified(files, limits, signers, sum)
    }

    fn verified(
        files: Files,
        limits: &BundleLimits,
        signers: &Signers,
        sum: [u8; 32],
    ) -> Result<Self, BundleError> {
        let signer = signature::verify(&files, signers)?;
        let manifest = Manifest::of(&files)?;
        let data = data::merged(&files, &manifest, limits)?;
        let mut bundle = Self {
            manifest,
            policies: BTreeMap::new(),
            entities: None,
            cedar_schema: None,
            cedar_links: None,
            data,
            signed: signer.is_some(),
            signer,
            digest: sum,
        };
        for (name, content) in files {
            bundle.sort_in(name, content)?;
        }
        Ok(bundle)
    }

    /// Puts one verified file where the engines find it. Files of unknown kinds are covered by the signature and
    /// otherwise ignored, as OPA does.
    fn sort_in(&mut self, name: String, content: Vec<u8>) -> Result<(), BundleError> {
        let base = name.rsplit('/').next().unwrap_or(&name);
        let is_policy = base.ends_with(".rego") || base.ends_with(".cedar");
        let is_cedar_part = matches!(name.as_str(), "schema.cedarschema" | "entities.json" | "links.json");
        if base == "patch.json" {
            return Err(BundleError::Delta);
        }
        if base.ends_with(".cedarschema") && !is_cedar_part {
            return Err(BundleError::MisplacedSchema { name });
        }
        if !is_policy && !is_cedar_part {
            return Ok(());
        }
        let Ok(text) = String::from_utf8(content) else {
            return Err(BundleError::NotText { name });
        };
        match name.as_str() {
            "schema.cedarschema" => self.cedar_schema = Some(text),
            "entities.json" => self.entities = Some(text),
            "links.json" => self.cedar_links = Some(text),
            _ => {
                self.policies.insert(name, text);
            }
        }
        Ok(())
    }

    /// The revision that the manifest names, empty if it names none.
    pub fn revision(&self) -> &str {
        &self.manifest.revision
    }

    /// The sequence number in the manifest's metadata (`metadata.postern.sequence`): a source refuses a bundle whose
    /// number is lower than that of the bundle in force.
    pub fn sequence(&self) -> Option<u64> {
        self.manifest.sequence
    }

    /// Refuses to go back: a bundle may follow one with a sequence number only if its own is not lower. The same
    /// number is the same bundle fetched again.
    ///
    /// # Errors
    /// [`BundleError::Rollback`].
    pub fn refuse_rollback(&self, in_force: Option<u64>) -> Result<(), BundleError> {
        match (self.manifest.sequence.unwrap_or(0), in_force) {
            (offered, Some(in_force)) if offered < in_force => {
                Err(BundleError::Rollback { offered, in_force })
            }
            (_, Some(_) | None) => Ok(()),
        }
    }

    /// SHA-256 of the archive, or of the file list when it was read from files.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// Whether a configured signer signed it.
    pub fn is_signed(&self) -> bool {
        self.signed
    }

    /// The id of the key whose signature held.
    pub fn signer(&self) -> Option<&str> {
        self.signer.as_deref()
    }

    /// The data paths that the bundle owns.
    pub fn roots(&self) -> impl Iterator<Item = &str> {
        self.manifest.roots.iter().map(String::as_str)
    }

    /// The policy files' names and sources.
    pub fn policies(&self) -> impl Iterator<Item = (&str, &str)> {
        self.policies.iter().map(|(name, source)| (name.as_str(), source.as_str()))
    }

    /// A sequence of members that name the bundle in records: the revision, or the head of the digest.
    pub(crate) fn version(&self) -> String {
        if self.manifest.revision.is_empty() {
            let head: String = self.digest.iter().take(8).map(|b| format!("{b:02x}")).collect();
            format!("sha256:{head}")
        } else {
            self.manifest.revision.clone()
        }
    }
}

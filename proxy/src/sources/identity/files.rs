//! Identity from PEM files, as cert-manager, Vault agents and people write them.
//!
//! All or nothing: a certificate without its new key, or one damaged bundle, leaves the state before in force. The
//! rotation of two files is therefore safe in either order, without a rename of both.

use std::path::PathBuf;
use std::sync::Arc;

use postern_identity::{
    BUNDLE_BYTES_MAX, BundleError, REVOCATION_LIST_BYTES_MAX, RevocationError, RevocationList,
    RevocationMode, SvidError, TrustBundle, TrustBundles, TrustDomain, X509Svid,
};

use super::{IdentityUpdate, Outlet, SourceStatus};
use crate::clock::Clock;
use crate::config::RevocationRule;
use crate::sources::watched_file::{FileError, POLL_INTERVAL, Stamp, read};

#[cfg(test)]
mod tests;

/// A chain or a key, in bytes of PEM.
const SVID_BYTES_MAX: u64 = 128 * 1024;

/// The files.
#[derive(Debug)]
pub(super) struct Paths {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    pub(super) trust_bundles: Vec<(TrustDomain, PathBuf)>,
    pub(super) revocation_lists: Vec<(TrustDomain, PathBuf)>,
    pub(super) revocation: RevocationRule,
}

/// Why the files are not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum FilesError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("`{}` with `{}`: {error}", .certificate.display(), .key.display())]
    Svid { certificate: PathBuf, key: PathBuf, error: SvidError },
    #[error("`{}`: {error}", .path.display())]
    Bundle { path: PathBuf, error: BundleError },
    #[error("`{}`: {error}", .path.display())]
    Lists { path: PathBuf, error: RevocationError },
}

impl Paths {
    fn stamps(&self) -> Vec<Option<Stamp>> {
        let bundles = self.trust_bundles.iter().chain(&self.revocation_lists).map(|(_, path)| path);
        [&self.certificate, &self.key].into_iter().chain(bundles).map(|path| Stamp::now(path)).collect()
    }

    /// What the files say now. An earlier bundle never takes the place of a later one.
    fn load(&self, in_force: Option<&IdentityUpdate>) -> Result<IdentityUpdate, FilesError> {
        let certificate = read(&self.certificate, SVID_BYTES_MAX)?;
        let key = read(&self.key, SVID_BYTES_MAX)?;
        let svid = X509Svid::from_pem(&certificate, &key).map_err(|error| FilesError::Svid {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            error,
        })?;
        let mut trust = TrustBundles::default();
        for (trust_domain, path) in &self.trust_bundles {
            let content = read(path, u64::try_from(BUNDLE_BYTES_MAX).unwrap_or(u64::MAX))?;
            let refused = |error| FilesError::Bundle { path: path.clone(), error };
            let bundle = bundle(trust_domain.clone(), &content).map_err(refused)?;
            if let Some(earlier) = in_force.and_then(|update| update.trust.get(trust_domain)) {
                bundle.check_succeeds(earlier).map_err(refused)?;
            }
            trust.insert(self.with_revocation(bundle)?);
        }
        Ok(IdentityUpdate { svid: Some(Arc::new(svid)), trust: Arc::new(trust) })
    }

    fn with_revocation(&self, bundle: TrustBundle) -> Result<TrustBundle, FilesError> {
        let file = self.revocation_lists.iter().find(|(name, _)| name == bundle.trust_domain());
        let mode = self.revocation.mode(file.is_some());
        let Some((_, path)) = file.filter(|_| mode != RevocationMode::Off) else {
            return Ok(bundle.without_revocation_lists(mode));
        };
        let content = read(path, u64::try_from(REVOCATION_LIST_BYTES_MAX).unwrap_or(u64::MAX))?;
        RevocationList::from_file(&content)
            .and_then(|lists| bundle.with_revocation(lists, mode))
            .map_err(|error| FilesError::Lists { path: path.clone(), error })
    }
}

/// A SPIFFE bundle document is a JSON object, and PEM never begins with a brace.
pub(super) fn bundle(trust_domain: TrustDomain, content: &[u8]) -> Result<TrustBundle, BundleError> {
    match content.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') => TrustBundle::from_spiffe_json(trust_domain, content),
        Some(_) | None => TrustBundle::from_pem(trust_domain, content),
    }
}

pub(super) async fn run(paths: Paths, outlet: Outlet, clock: Arc<dyn Clock>) {
    let mut seen = None;
    let mut loaded: Option<IdentityUpdate> = None;
    let mut trouble: Option<String> = None;
    loop {
        let stamps = paths.stamps();
        if seen.as_ref() != Some(&stamps) {
            match paths.load(loaded.as_ref()) {
                Ok(update) => {
                    trouble = None;
                    loaded = Some(update.clone());
                    outlet.update(update).await;
                }
                Err(error) => {
                    tracing::warn!(%error, "identity files are not taken, the ones before stay in force");
                    trouble = Some(error.to_string());
                }
            }
            seen = Some(stamps);
        }
        _ = outlet.status(status(loaded.as_ref(), trouble.as_ref(), &*clock));
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

fn status(loaded: Option<&IdentityUpdate>, trouble: Option<&String>, clock: &dyn Clock) -> SourceStatus {
    if let Some(reason) = trouble {
        return SourceStatus::Failing(reason.clone());
    }
    match loaded.and_then(|update| update.svid.as_ref()) {
        Some(svid) if clock.unix_time() > svid.not_after() => SourceStatus::Failing(format!(
            "the certificate of `{}` expired at {} and has not been replaced",
            svid.spiffe_id(),
            svid.not_after().as_secs()
        )),
        Some(_) => {
            loaded.and_then(|update| expired_list(&update.trust, clock)).unwrap_or(SourceStatus::Ready)
        }
        None => SourceStatus::Starting,
    }
}

/// A trust domain that nobody is believed of until its next revocation list comes.
fn expired_list(trust: &TrustBundles, clock: &dyn Clock) -> Option<SourceStatus> {
    let now = clock.unix_time();
    trust.iter().find_map(|bundle| {
        let until = bundle.revocation_until().filter(|until| now >= *until)?;
        let (name, at) = (bundle.trust_domain(), until.as_secs());
        Some(SourceStatus::Degraded(format!(
            "the last revocation list of `{name}` expired at {at}, and nobody of it is let in until the next one"
        )))
    })
}

//! The bundle documents that workload identity tokens are verified by: files, looked at every second.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use postern_identity::TrustDomain;
use postern_identity::token::{KEY_SET_BYTES_MAX, KeySet, KeySetError};
use tokio::sync::mpsc;

use super::watched_file::{self, FileError, POLL_INTERVAL, Stamp};

/// New keys of a trust domain.
#[derive(Clone, Debug)]
pub struct WorkloadKeys {
    /// Whose.
    pub trust_domain: TrustDomain,
    /// Its keys for workload identity tokens; maybe none.
    pub keys: Arc<KeySet>,
}

#[derive(Debug, thiserror::Error)]
enum BundleError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("`{}`: {error}", .path.display())]
    Keys { path: PathBuf, error: KeySetError },
}

/// Follows the files until the future is dropped, or nobody listens any more. What was read last stays in force while a
/// file cannot be read: a file has no age.
pub async fn run(bundles: Vec<(TrustDomain, PathBuf)>, updates: mpsc::Sender<WorkloadKeys>) {
    if bundles.is_empty() {
        return;
    }
    let mut seen = vec![None; bundles.len()];
    while !updates.is_closed() {
        for ((trust_domain, path), seen) in bundles.iter().zip(&mut seen) {
            let stamp = Stamp::now(path);
            if *seen == Some(stamp) {
                continue;
            }
            *seen = Some(stamp);
            match read(path) {
                Ok(keys) => {
                    tracing::info!(%trust_domain, keys = keys.len(), "keys for workload identity tokens are in force");
                    let update = WorkloadKeys { trust_domain: trust_domain.clone(), keys: Arc::new(keys) };
                    drop(updates.send(update).await);
                }
                Err(error) => {
                    tracing::warn!(%trust_domain, %error, "keys for workload identity tokens are not taken");
                }
            }
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

fn read(path: &Path) -> Result<KeySet, BundleError> {
    let content = watched_file::read(path, u64::try_from(KEY_SET_BYTES_MAX).unwrap_or(u64::MAX))?;
    KeySet::parse_wit_bundle(&content).map_err(|error| BundleError::Keys { path: path.to_owned(), error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_bundle_is_followed_and_one_that_cannot_be_read_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bundle.json");
        let key = r#"{"kty":"EC","crv":"P-256","kid":"a1","use":"wit-svid","x":"axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY","y":"T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU"}"#;
        let write = |keys: &str| std::fs::write(&path, format!(r#"{{"keys":[{keys}]}}"#)).unwrap();
        let (updates, mut found) = mpsc::channel(1);
        let following = tokio::spawn(run(vec![("example.org".parse().unwrap(), path.clone())], updates));
        write(key);
        let first = found.recv().await.unwrap();
        assert_eq!((first.trust_domain.as_str(), first.keys.len()), ("example.org", 1));
        std::fs::write(&path, "{").unwrap();
        tokio::time::sleep(POLL_INTERVAL * 3).await;
        assert!(found.try_recv().is_err());
        write("");
        assert_eq!(found.recv().await.unwrap().keys.len(), 0, "an empty bundle takes its keys back");
        drop(found);
        following.await.unwrap();
    }
}

//! The bundles of relationships, kept for a start without their endpoints (SPIFFE_Federation §4.2).
//!
//! A document is kept under the name of its trust domain and a digest of all that the relationship is made of, down to
//! the content of the bootstrap bundle. A relationship that changed is another one and begins anew, which is also how
//! an operator mends one whose endpoint changed its authorities while the sidecar was away.

use aws_lc_rs::digest::{Context, SHA256};
use postern_identity::{BUNDLE_BYTES_MAX, TrustDomain};

use super::Federated;
use crate::config::{EndpointProfile, EndpointProof, FederationConfig};
use crate::sources::last_good::LastGood;
use crate::sources::watched_file;

/// Bytes of a trust domain's name that stand in a file's name.
const NAME_BYTES_MAX: usize = 64;

/// Where the bundle of one relationship is kept.
#[derive(Debug)]
pub(super) struct Kept {
    name: String,
}

impl Kept {
    pub(super) fn new(relationship: &FederationConfig, bootstrap: &[u8]) -> Self {
        let mut digest = Context::new(&SHA256);
        let mut part = |bytes: &[u8]| {
            digest.update(&(bytes.len() as u64).to_be_bytes());
            digest.update(bytes);
        };
        part(relationship.trust_domain.as_str().as_bytes());
        part(relationship.url.as_bytes());
        match &relationship.profile {
            EndpointProfile::HttpsWeb { .. } => part(b"https_web"),
            EndpointProfile::HttpsSpiffe { endpoint, .. } => {
                part(b"https_spiffe");
                part(endpoint.as_str().as_bytes());
                part(bootstrap);
            }
        }
        let hash = digest.finish();
        let hash: String = hash.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let name: String = relationship.trust_domain.as_str().chars().take(NAME_BYTES_MAX).collect();
        Self { name: format!("{name}-{hash}") }
    }

    /// Failing at that is no reason not to believe what was fetched.
    pub(super) fn store(&self, folder: &LastGood, document: &[u8]) {
        if let Err(error) = folder.store(&self.name, document) {
            tracing::warn!(bundle = self.name, %error, "the bundle of another trust domain could not be kept");
        }
    }

    pub(super) fn load(&self, folder: &LastGood, trust_domain: &TrustDomain) -> Option<Federated> {
        let refused = |error: &dyn std::fmt::Display| {
            tracing::warn!(bundle = self.name, %error, "the bundle that was kept cannot be read");
        };
        match folder.load(&self.name, BUNDLE_BYTES_MAX as u64) {
            Ok(document) => Federated::from_spiffe_json(trust_domain.clone(), &document?)
                .inspect_err(|error| refused(error))
                .ok(),
            Err(error) => {
                refused(&error);
                None
            }
        }
    }
}

/// Removes what was kept for relationships that are no more: were one to come back, its old bundle must not.
pub(super) fn forget_others<'a>(
    folder: &LastGood,
    relationships: impl Iterator<Item = &'a FederationConfig>,
) {
    let mut names = Vec::new();
    for relationship in relationships {
        match bootstrap_of(relationship) {
            Some(bootstrap) => names.push(Kept::new(relationship, &bootstrap).name),
            // Its name cannot be told now, so nothing is removed now.
            None => return,
        }
    }
    for name in folder.names().into_iter().filter(|name| is_ours(name) && !names.contains(name)) {
        if let Err(error) = folder.remove(&name) {
            tracing::warn!(bundle = name, %error, "the bundle of a relationship that ended is still kept");
        }
    }
}

fn bootstrap_of(relationship: &FederationConfig) -> Option<Vec<u8>> {
    match &relationship.profile {
        EndpointProfile::HttpsSpiffe { proof: EndpointProof::SelfServing { bootstrap_bundle }, .. } => {
            watched_file::read(bootstrap_bundle, BUNDLE_BYTES_MAX as u64).ok()
        }
        EndpointProfile::HttpsSpiffe { proof: EndpointProof::InForce, .. }
        | EndpointProfile::HttpsWeb { .. } => Some(Vec::new()),
    }
}

/// Whether a name is of the kind that [`Kept`] makes: nothing else in the folder is touched.
fn is_ours(name: &str) -> bool {
    let parts = name.rsplit_once('-').filter(|(domain, _)| !domain.is_empty());
    parts.is_some_and(|(_, hash)| hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

//! The keys that prove JWT-SVIDs, from the Workload API (§6). They come on a stream of their own, and prove nothing
//! else: no X.509-SVID, and no other kind of token.

use std::collections::BTreeMap;
use std::sync::Arc;

use postern_identity::TrustDomain;
use postern_identity::token::KeySet;
use tokio::sync::watch;

use super::messages::{FETCH_JWT_BUNDLES, JwtBundlesRequest, JwtBundlesResponse};
use super::{BUNDLES_MAX, by_trust_domain, stream};
use crate::clock::Clock;
use crate::config::WorkloadEndpoint;
use crate::sources::identity::SourceStatus;

#[cfg(test)]
mod tests;

/// The keys of each trust domain whose JWT-SVIDs can be proven. A token is judged by the keys of its subject's trust
/// domain alone (Workload_API §6.3).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JwtBundles {
    keys: BTreeMap<TrustDomain, Arc<KeySet>>,
}

impl JwtBundles {
    /// The keys of one trust domain. Without any, its tokens are not trusted.
    #[must_use]
    pub fn get(&self, trust_domain: &TrustDomain) -> Option<&Arc<KeySet>> {
        self.keys.get(trust_domain)
    }

    /// All trust domains, by name, with their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&TrustDomain, &Arc<KeySet>)> {
        self.keys.iter()
    }
}

/// Where the keys go.
#[derive(Clone, Debug)]
pub struct JwtOutlet {
    /// The keys in force. Empty until some have come, and when they were withdrawn.
    pub bundles: watch::Sender<Arc<JwtBundles>>,
    /// How the source is.
    pub status: watch::Sender<SourceStatus>,
}

/// Follows the JWT bundles of a Workload API until the future is dropped.
pub async fn follow_jwt_bundles(endpoint: WorkloadEndpoint, outlet: JwtOutlet, clock: Arc<dyn Clock>) {
    let mut profile = JwtProfile { outlet, clock: Arc::clone(&clock), has_state: false };
    stream::follow(&endpoint, &mut profile, &*clock).await;
}

/// Why a message is not taken. The keys before it stay in force (Workload_API §4.5).
#[derive(Debug, thiserror::Error)]
enum MessageError {
    #[error("the Workload API sent no JWT bundle")]
    Empty,
    #[error("the Workload API sent more than {BUNDLES_MAX} JWT bundles")]
    TooMuch,
}

struct JwtProfile {
    outlet: JwtOutlet,
    clock: Arc<dyn Clock>,
    has_state: bool,
}

impl stream::Profile for JwtProfile {
    type Request = JwtBundlesRequest;
    type Response = JwtBundlesResponse;
    const CALL: &'static str = FETCH_JWT_BUNDLES;

    async fn take(&mut self, message: JwtBundlesResponse) {
        match judge(message) {
            Ok((bundles, status)) => {
                self.has_state = true;
                self.outlet.bundles.send_if_modified(|current| {
                    let changed = **current != bundles;
                    if changed {
                        *current = Arc::new(bundles);
                    }
                    changed
                });
                self.say(status);
            }
            Err(error) => self.say(SourceStatus::Failing(error.to_string())),
        }
    }

    async fn withdraw(&mut self, reason: &str) {
        self.has_state = false;
        self.outlet.bundles.send_replace(Arc::default());
        self.say(SourceStatus::Withdrawn(reason.to_owned()));
    }

    fn refused(&mut self, reason: &str) {
        self.say(SourceStatus::Failing(reason.to_owned()));
    }

    fn lost(&mut self, reason: String) {
        let status = if self.has_state {
            self.outlet.status.borrow().to_stale(reason, self.clock.unix_time())
        } else {
            SourceStatus::Failing(reason)
        };
        self.say(status);
    }
}

impl JwtProfile {
    fn say(&self, status: SourceStatus) {
        let news = self.outlet.status.send_if_modified(|current| {
            let changed = *current != status;
            current.clone_from(&status);
            changed
        });
        match status {
            _ if !news => {}
            SourceStatus::Starting | SourceStatus::Ready => {}
            SourceStatus::Degraded(reason)
            | SourceStatus::Withdrawn(reason)
            | SourceStatus::Failing(reason)
            | SourceStatus::Stale { reason, .. } => tracing::warn!(reason, "JWT bundles"),
        }
    }
}

/// A message is the whole state: a trust domain that it leaves out is trusted no more, and neither is one whose bundle
/// cannot be read.
fn judge(message: JwtBundlesResponse) -> Result<(JwtBundles, SourceStatus), MessageError> {
    if message.bundles.is_empty() {
        return Err(MessageError::Empty);
    }
    if message.bundles.len() > BUNDLES_MAX {
        return Err(MessageError::TooMuch);
    }
    let (documents, mut refused) = by_trust_domain(message.bundles);
    let mut bundles = JwtBundles::default();
    for (trust_domain, document) in documents {
        match KeySet::parse_workload_api_bundle(&document) {
            Ok(keys) => drop(bundles.keys.insert(trust_domain, Arc::new(keys))),
            Err(error) => refused.push(format!("the JWT bundle of `{trust_domain}`: {error}")),
        }
    }
    refused.sort_unstable();
    let status =
        if refused.is_empty() { SourceStatus::Ready } else { SourceStatus::Degraded(refused.join("; ")) };
    Ok((bundles, status))
}

//! Whom we believe, put together from those who say so.

use std::collections::BTreeMap;
use std::sync::Arc;

use postern_identity::{TrustBundle, TrustBundles, TrustDomain};

/// The trust of the identity source, and that of federation. Bundles of one trust domain are never merged.
#[derive(Debug, Default)]
pub(super) struct TrustParts {
    own: Arc<TrustBundles>,
    federated: BTreeMap<TrustDomain, Arc<TrustBundle>>,
}

impl TrustParts {
    pub(super) fn set_own(&mut self, own: Arc<TrustBundles>) {
        self.own = own;
    }

    pub(super) fn federate(&mut self, bundle: Arc<TrustBundle>) {
        self.federated.insert(bundle.trust_domain().clone(), bundle);
    }

    pub(super) fn end(&mut self, trust_domain: &TrustDomain) {
        self.federated.remove(trust_domain);
    }

    /// What is in force. Where the identity source brings a bundle of its own, that one counts: it speaks for our own
    /// trust domain, and whoever runs it has decided whom all its workloads federate with. A source that has brought
    /// nothing, or has taken all of it back, leaves us nobody to believe: federation adds to an identity, it is none.
    pub(super) fn compose(&self) -> Arc<TrustBundles> {
        if self.own.is_empty() || self.federated.is_empty() {
            return Arc::clone(&self.own);
        }
        let mut bundles = TrustBundles::clone(&self.own);
        for (trust_domain, bundle) in &self.federated {
            if self.own.get(trust_domain).is_none() {
                bundles.insert(TrustBundle::clone(bundle));
            }
        }
        Arc::new(bundles)
    }

    /// The trust domains whose fetched bundle does not count.
    pub(super) fn overruled(&self) -> Vec<String> {
        let overruled = self.federated.keys().filter(|trust_domain| self.own.get(trust_domain).is_some());
        overruled.map(ToString::to_string).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use postern_identity::UnixTime;

    use super::*;
    use crate::demo::ca::Ca;

    fn bundle(trust_domain: &str) -> TrustBundle {
        let now = UnixTime::since_unix_epoch(Duration::from_secs(2_000_000_000));
        Ca::new(trust_domain.parse().unwrap(), now).unwrap().bundle().unwrap()
    }

    fn own(bundles: &[&TrustBundle]) -> Arc<TrustBundles> {
        let mut own = TrustBundles::default();
        for bundle in bundles {
            own.insert((*bundle).clone());
        }
        Arc::new(own)
    }

    #[test]
    fn what_the_identity_source_brings_counts_before_what_was_fetched() {
        let (ours, theirs, fetched) = (bundle("example.org"), bundle("other.org"), bundle("other.org"));
        let mut parts = TrustParts::default();
        parts.federate(Arc::new(fetched.clone()));
        assert!(parts.compose().is_empty(), "federation is no identity");
        parts.set_own(own(&[&ours]));
        assert_eq!(*parts.compose(), *own(&[&ours, &fetched]));
        assert!(parts.overruled().is_empty());
        parts.set_own(own(&[&ours, &theirs]));
        assert_eq!(*parts.compose(), *own(&[&ours, &theirs]));
        assert_eq!(parts.overruled(), ["other.org"]);
        parts.set_own(own(&[&ours]));
        parts.end(theirs.trust_domain());
        assert_eq!(*parts.compose(), *own(&[&ours]));
        parts.set_own(Arc::default());
        assert!(parts.compose().is_empty());
    }
}

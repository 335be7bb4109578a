//! The keys of issuers that are trust domains, from the Workload API: one stream for all of them.
use crate::clock::Clock;
use crate::config::{Config, IdentitySource, KeySource, TokenProfile, WorkloadEndpoint};
use crate::control::{Update, trouble_of};
use crate::sources::identity::SourceStatus;
use crate::sources::identity::workload_api::{JwtOutlet, follow_jwt_bundles};
use crate::status::{KeysFailing, Status};
use postern_identity::TrustDomain;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;

/// The issuers, and the endpoint that knows their keys.
#[derive(Debug)]
pub(super) struct JwtKeys {
    endpoint: WorkloadEndpoint,
    issuers: Vec<Issuer>,
}

#[derive(Clone, Debug)]
struct Issuer {
    /// Its place in the list of issuers.
    place: usize,
    name: String,
    trust_domain: TrustDomain,
}

impl JwtKeys {
    /// `None` where no issuer's keys come from there.
    pub(super) fn of(config: &Config) -> Option<Self> {
        let IdentitySource::WorkloadApi { endpoint, .. } = &config.identity.source else { return None };
        let issuer = |(place, of): (usize, &crate::config::IssuerConfig)| match (&of.keys, &of.profile) {
            (KeySource::WorkloadApi, TokenProfile::JwtSvid(trust_domain)) => {
                Some(Issuer { place, name: of.issuer.clone(), trust_domain: trust_domain.clone() })
            }
            _ => None,
        };
        let issuers: Vec<_> = config.tokens.iter().enumerate().filter_map(issuer).collect();
        (!issuers.is_empty()).then(|| Self { endpoint: endpoint.clone(), issuers })
    }

    /// Follows the stream on the control thread's runtime.
    pub(super) fn spawn(
        self,
        local: &LocalSet,
        (updates, status, clock): (&mpsc::Sender<Update>, &Arc<Status>, &Arc<dyn Clock>),
    ) {
        let (bundles_in, mut bundles) = watch::channel(Arc::default());
        let (status_in, mut troubles) = watch::channel(SourceStatus::Starting);
        let outlet = JwtOutlet { bundles: bundles_in, status: status_in };
        local.spawn_local(follow_jwt_bundles(self.endpoint, outlet, Arc::clone(clock)));
        let (issuers, updates) = (self.issuers.clone(), updates.clone());
        local.spawn_local(async move {
            // Until the first bundles are there the keys are unavailable; from then on a trust domain without a bundle
            // has none, and its tokens are not trusted (Workload_API §6.3).
            while bundles.changed().await.is_ok() {
                let bundles = Arc::clone(&bundles.borrow_and_update());
                for issuer in &issuers {
                    let keys = bundles.get(&issuer.trust_domain).cloned().unwrap_or_default();
                    drop(updates.send(Update::Keys { issuer: issuer.place, keys: Some(keys) }).await);
                }
            }
        });
        let (issuers, status) = (self.issuers, Arc::clone(status));
        local.spawn_local(async move {
            while troubles.changed().await.is_ok() {
                let trouble = trouble_of(&troubles.borrow_and_update());
                for Issuer { name, .. } in &issuers {
                    let failing = trouble.clone().map(|trouble| KeysFailing {
                        issuer: name.clone(),
                        trouble,
                        valid_until: None,
                    });
                    status.key_source(name, failing);
                }
            }
        });
    }
}

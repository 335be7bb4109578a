//! The keys of issuers that are trust domains, which come with trust bundles: from the Workload API, with one stream for
//! all of them, or by federation.
use crate::clock::Clock;
use crate::config::{Config, IdentitySource, IssuerConfig, KeySource, TokenProfile, WorkloadEndpoint};
use crate::control::{Update, trouble_of};
use crate::sources::identity::SourceStatus;
use crate::sources::identity::federation::FederationUpdate;
use crate::sources::identity::workload_api::{JwtOutlet, follow_jwt_bundles};
use crate::status::{KeysFailing, Status};
use postern_identity::TrustDomain;
use postern_identity::token::KeySet;
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

impl Issuer {
    /// Those whose keys come from there.
    fn all(config: &Config, source: &KeySource) -> Vec<Self> {
        let issuer = |(place, of): (usize, &IssuerConfig)| {
            let TokenProfile::JwtSvid(trust_domain) = &of.profile else { return None };
            let (name, trust_domain) = (of.issuer.clone(), trust_domain.clone());
            (of.keys == *source).then_some(Self { place, name, trust_domain })
        };
        config.tokens.iter().enumerate().filter_map(issuer).collect()
    }

    /// Puts these keys in force, which are those of its own trust domain.
    async fn give(&self, keys: Arc<KeySet>, updates: &mpsc::Sender<Update>) {
        drop(updates.send(Update::Keys { issuer: self.place, keys: Some(keys) }).await);
    }

    fn say(&self, trouble: Option<String>, status: &Status) {
        let failing = |trouble| KeysFailing { issuer: self.name.clone(), trouble, valid_until: None };
        status.key_source(&self.name, trouble.map(failing));
    }
}

impl JwtKeys {
    /// `None` where no issuer's keys come from there.
    pub(super) fn of(config: &Config) -> Option<Self> {
        let IdentitySource::WorkloadApi { endpoint, .. } = &config.identity.source else { return None };
        let issuers = Issuer::all(config, &KeySource::WorkloadApi);
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
                    issuer.give(keys, &updates).await;
                }
            }
        });
        let (issuers, status) = (self.issuers, Arc::clone(status));
        local.spawn_local(async move {
            while troubles.changed().await.is_ok() {
                let trouble = trouble_of(&troubles.borrow_and_update());
                issuers.iter().for_each(|issuer| issuer.say(trouble.clone(), &status));
            }
        });
    }
}

/// The issuers whose keys come with the bundles of other trust domains that are fetched. Each has those of its own trust
/// domain's bundle and of no other.
#[derive(Debug)]
pub(super) struct FederatedKeys {
    issuers: Vec<Issuer>,
    /// Those with whose trust domain there is no relationship.
    strangers: Vec<Issuer>,
}

impl FederatedKeys {
    pub(super) fn of(config: &Config) -> Self {
        let issuers = Issuer::all(config, &KeySource::Federation);
        let federation = &config.identity.federation;
        let is_stranger =
            |issuer: &&Issuer| federation.iter().all(|of| of.trust_domain != issuer.trust_domain);
        let strangers = issuers.iter().filter(is_stranger).cloned().collect();
        Self { issuers, strangers }
    }

    /// Says that there are no keys where nobody is asked for any: until the first bundle of the others is there, their keys
    /// are unavailable.
    pub(super) async fn begin(&self, updates: &mpsc::Sender<Update>) {
        for issuer in &self.strangers {
            issuer.give(Arc::default(), updates).await;
        }
    }

    /// Puts in force what a relationship has brought, or takes back what it brought.
    pub(super) async fn follow(
        &self,
        update: &FederationUpdate,
        updates: &mpsc::Sender<Update>,
        status: &Status,
    ) {
        let (trust_domain, keys) = match update {
            FederationUpdate::Kept(brought) | FederationUpdate::Fetched(brought) => {
                (brought.bundle.trust_domain(), Some(Arc::clone(&brought.jwt_keys)))
            }
            FederationUpdate::Failed { trust_domain, .. } => (trust_domain, None),
            FederationUpdate::Ended(trust_domain) => (trust_domain, Some(Arc::default())),
        };
        let trouble = match update {
            FederationUpdate::Failed { status, .. } => trouble_of(status),
            FederationUpdate::Kept(_) | FederationUpdate::Fetched(_) | FederationUpdate::Ended(_) => None,
        };
        for issuer in self.issuers.iter().filter(|issuer| issuer.trust_domain == *trust_domain) {
            if let Some(keys) = &keys {
                issuer.give(Arc::clone(keys), updates).await;
            }
            issuer.say(trouble.clone(), status);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::demo::ca::Ca;
    use crate::sources::identity::federation::{Cause, Federated};
    use postern_identity::TrustBundle;

    fn issuer(place: usize, name: &str) -> Issuer {
        Issuer { place, name: format!("spiffe://{name}"), trust_domain: name.parse().unwrap() }
    }

    /// What a relationship with a trust domain of this name has brought.
    fn brought(name: &str) -> Federated {
        let ca = Ca::new(name.parse().unwrap(), SystemClock::new().unix_time()).unwrap();
        let keys = KeySet::parse_workload_api_bundle(ca.jwt_bundle().as_bytes()).unwrap();
        let bundle = TrustBundle::from_der(name.parse().unwrap(), &[]).unwrap();
        Federated { bundle: Arc::new(bundle), jwt_keys: Arc::new(keys) }
    }

    /// The issuers that get keys after news, with the number of their keys, and those that are in trouble.
    async fn after(update: FederationUpdate) -> (Vec<(usize, usize)>, Vec<String>) {
        let issuers = vec![issuer(1, "a.org"), issuer(3, "b.org")];
        let keys = FederatedKeys { strangers: vec![issuers[1].clone()], issuers };
        let (updates, mut told) = mpsc::channel(8);
        let status = Status::default();
        keys.follow(&update, &updates, &status).await;
        drop(updates);
        let mut given = Vec::new();
        while let Some(update) = told.recv().await {
            let Update::Keys { issuer, keys: Some(keys) } = update else { panic!("{update:?}") };
            given.push((issuer, keys.len()));
        }
        let failing = status.parts().keys_failing.into_iter().map(|failing| failing.issuer);
        (given, failing.collect())
    }

    #[tokio::test]
    async fn the_keys_of_a_trust_domain_are_given_to_its_own_issuer_alone_and_taken_back_with_the_relationship()
     {
        for update in [FederationUpdate::Fetched(brought("b.org")), FederationUpdate::Kept(brought("b.org"))]
        {
            assert_eq!(after(update).await, (vec![(3, 1)], vec![]));
        }
        assert_eq!(after(FederationUpdate::Fetched(brought("c.org"))).await, (vec![], vec![]));
        let failed = FederationUpdate::Failed {
            trust_domain: "a.org".parse().unwrap(),
            status: SourceStatus::Failing("no".to_owned()),
            cause: Cause::Refused,
        };
        assert_eq!(after(failed).await, (vec![], vec!["spiffe://a.org".to_owned()]));
        assert_eq!(after(FederationUpdate::Ended("a.org".parse().unwrap())).await, (vec![(1, 0)], vec![]));
    }

    #[tokio::test]
    async fn there_are_no_keys_where_nobody_is_asked_for_any() {
        let keys = FederatedKeys { issuers: vec![issuer(0, "a.org")], strangers: vec![issuer(1, "b.org")] };
        let (updates, mut told) = mpsc::channel(8);
        keys.begin(&updates).await;
        drop(updates);
        let update = told.recv().await.unwrap();
        assert!(
            matches!(&update, Update::Keys { issuer: 1, keys: Some(keys) } if keys.is_empty()),
            "{update:?}"
        );
        assert!(told.recv().await.is_none(), "the others wait for their first bundle");
    }
}

//! Identity from the SPIFFE Workload API: SPIRE's agent, or the demo's.
//!
//! A small client of our own over tonic, which the exporter of traces brings anyway. The maintained `spiffe` crate
//! refuses a whole message for one damaged bundle of a foreign trust domain, so that our own rotation would depend on
//! somebody else's; it does not say why its first synchronisation waits, and it drops revocation lists.

mod jwt_bundles;
pub mod messages;
mod revocation;
mod stream;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

pub use jwt_bundles::{JwtBundles, JwtOutlet, follow_jwt_bundles};
use messages::{FETCH_X509_SVID, X509SvidMessage, X509SvidRequest, X509SvidResponse};
use postern_identity::{
    BundleError, IdError, Role, SpiffeId, SvidError, TrustBundle, TrustBundles, TrustDomain, UnixTime,
    VerifyError, X509Svid, verify_chain,
};

use super::{IdentityUpdate, Outlet, SourceStatus};
use crate::clock::Clock;
use crate::config::{RevocationRule, SvidSelection, WorkloadEndpoint};

#[cfg(test)]
mod tests;

const SVIDS_MAX: usize = 100;
const BUNDLES_MAX: usize = 1000;

/// Which endpoint, and which of its SVIDs.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) endpoint: WorkloadEndpoint,
    pub(super) selection: SvidSelection,
    pub(super) revocation: RevocationRule,
}

/// Why a message is not taken. The state before it stays in force (Workload_API §4.5).
#[derive(Debug, thiserror::Error)]
enum MessageError {
    #[error("the Workload API sent no SVID")]
    Empty,
    #[error("the Workload API sent more than {SVIDS_MAX} SVIDs or {BUNDLES_MAX} bundles")]
    TooMuch,
    #[error("the Workload API named `{text}`, which is not a SPIFFE ID: {error}")]
    Id { text: String, error: IdError },
    #[error("the Workload API left `{field}` of `{id}` empty")]
    Field { id: SpiffeId, field: &'static str },
    #[error("the SVID of `{id}` is not taken: {error}")]
    Svid { id: SpiffeId, error: SvidError },
    #[error("the SVID that came for `{announced}` is one for `{found}`")]
    OtherId { announced: SpiffeId, found: SpiffeId },
    #[error(transparent)]
    Bundle(#[from] BundleError),
    #[error("the SVID of `{id}` does not lead to the bundle that came with it: {error}")]
    Chain { id: SpiffeId, error: VerifyError },
}

/// What a message comes to.
struct State {
    update: IdentityUpdate,
    status: SourceStatus,
}

/// Follows the Workload API for ever. Dropping the future closes the connection.
pub(super) async fn run(choice: Choice, outlet: Outlet, clock: Arc<dyn Clock>) {
    let endpoint = choice.endpoint.clone();
    let mut follower = Follower { choice, outlet, clock: Arc::clone(&clock), has_state: false, svid: None };
    stream::follow(&endpoint, &mut follower, &*clock).await;
}

struct Follower {
    choice: Choice,
    outlet: Outlet,
    clock: Arc<dyn Clock>,
    /// A state was taken over and has not been withdrawn.
    has_state: bool,
    svid: Option<Arc<X509Svid>>,
}

impl stream::Profile for Follower {
    type Request = X509SvidRequest;
    type Response = X509SvidResponse;
    const CALL: &'static str = FETCH_X509_SVID;

    async fn take(&mut self, message: X509SvidResponse) {
        match judge(message, &self.choice, self.clock.unix_time()) {
            Ok(state) => {
                self.has_state = true;
                self.svid.clone_from(&state.update.svid);
                self.outlet.update(state.update).await;
                self.outlet.status(state.status);
            }
            Err(error) => self.trouble(&error.to_string()),
        }
    }

    async fn withdraw(&mut self, reason: &str) {
        if self.has_state {
            tracing::warn!(reason, "the Workload API withdrew our identity");
            self.outlet.update(IdentityUpdate::withdrawn()).await;
            self.has_state = false;
            self.svid = None;
        }
        self.outlet.status(SourceStatus::Withdrawn(reason.to_owned()));
    }

    fn refused(&mut self, reason: &str) {
        self.trouble(reason);
    }

    fn lost(&mut self, reason: String) {
        if !self.has_state {
            return self.trouble(&reason);
        }
        let stale = self.outlet.status.borrow().to_stale(reason, self.clock.unix_time());
        self.outlet.status(stale);
    }

    /// An endpoint that says nothing may be well, or hang. The age of our SVID tells which.
    fn idle(&mut self) {
        let overdue = self.svid.as_deref().and_then(|svid| overdue(svid, self.clock.unix_time()));
        if let Some(status) = overdue {
            self.outlet.status(status);
        }
    }
}

impl Follower {
    fn trouble(&self, reason: &str) {
        if self.outlet.status(SourceStatus::Failing(reason.to_owned())) {
            tracing::warn!(reason, "identity is not taken from the Workload API");
        }
    }
}

/// SVIDs are replaced at half of their life; what is a quarter late will not come by itself.
fn overdue(svid: &X509Svid, now: UnixTime) -> Option<SourceStatus> {
    let (begin, half, end) =
        (svid.not_before().as_secs(), svid.half_life().as_secs(), svid.not_after().as_secs());
    let late = half + half.saturating_sub(begin) / 2;
    let id = svid.spiffe_id();
    if now.as_secs() > end {
        return Some(SourceStatus::Failing(format!(
            "the SVID of `{id}` expired at {end} and has not been replaced"
        )));
    }
    (now.as_secs() > late).then(|| {
        SourceStatus::Degraded(format!("the SVID of `{id}` expires at {end} and should have been replaced"))
    })
}

/// A message is the whole state (Workload_API §4.4): what it leaves out is gone.
fn judge(message: X509SvidResponse, choice: &Choice, now: UnixTime) -> Result<State, MessageError> {
    let selection = &choice.selection;
    if message.svids.is_empty() {
        return Err(MessageError::Empty);
    }
    if message.svids.len() > SVIDS_MAX || message.federated_bundles.len() > BUNDLES_MAX {
        return Err(MessageError::TooMuch);
    }
    let svids = message.svids.into_iter().map(identified).collect::<Result<Vec<_>, _>>()?;
    let mut trust = TrustBundles::default();
    // The bundle beside the first SVID of a trust domain counts.
    for (id, entry) in svids.iter().rev() {
        trust.insert(TrustBundle::from_concatenated_der(id.trust_domain().clone(), &entry.bundle)?);
    }
    let own_domains: Vec<TrustDomain> = trust.iter().map(|bundle| bundle.trust_domain().clone()).collect();
    let mut refused = federate(&mut trust, message.federated_bundles);
    // The default is the first (Workload_API §8); one that was chosen and is gone is not replaced by another.
    let picked = svids.into_iter().find(|(id, entry)| match selection {
        SvidSelection::First => true,
        SvidSelection::SpiffeId(chosen) => id == chosen,
        SvidSelection::Hint(hint) => entry.hint == *hint,
    });
    let svid = picked.map(|(id, entry)| own(id, entry, &trust, now).map(Arc::new)).transpose()?;
    // After our own SVID is judged: whether it is revoked is for our peers to say, and no reason to miss what else is.
    refused.extend(revocation::attach(&mut trust, &own_domains, &message.crl, choice.revocation));
    let status = match &svid {
        None => SourceStatus::Withdrawn(format!("the Workload API does not offer {selection}")),
        Some(_) if refused.is_empty() => SourceStatus::Ready,
        Some(_) => SourceStatus::Degraded(refused.join("; ")),
    };
    Ok(State { update: IdentityUpdate { svid, trust: Arc::new(trust) }, status })
}

/// An entry by its SPIFFE ID, when it holds all that it must (Workload_API §5.2.1).
fn identified(entry: X509SvidMessage) -> Result<(SpiffeId, X509SvidMessage), MessageError> {
    let id: SpiffeId = entry
        .spiffe_id
        .parse()
        .map_err(|error| MessageError::Id { text: entry.spiffe_id.chars().take(256).collect(), error })?;
    let fields =
        [("x509_svid", &entry.x509_svid), ("x509_svid_key", &entry.x509_svid_key), ("bundle", &entry.bundle)];
    let empty = fields.into_iter().find(|(_, value)| value.is_empty()).map(|(field, _)| field);
    match empty {
        Some(field) => Err(MessageError::Field { id, field }),
        None => Ok((id, entry)),
    }
}

fn own(
    id: SpiffeId,
    entry: X509SvidMessage,
    trust: &TrustBundles,
    now: UnixTime,
) -> Result<X509Svid, MessageError> {
    let svid = X509Svid::from_workload_api(&entry.x509_svid, entry.x509_svid_key)
        .map_err(|error| MessageError::Svid { id: id.clone(), error })?;
    if *svid.spiffe_id() != id {
        return Err(MessageError::OtherId { announced: id, found: svid.spiffe_id().clone() });
    }
    // What our peers would refuse is better refused here, where the reason is seen.
    match verify_chain(svid.chain(), trust, Role::Server, now) {
        Ok(_) => Ok(svid),
        Err(error) => Err(MessageError::Chain { id, error }),
    }
}

/// A foreign bundle that cannot be read is left out, so that its trust domain is trusted no more; the others and our
/// own identity do not suffer for it. Returns what was left out.
fn federate(trust: &mut TrustBundles, bundles: HashMap<String, Vec<u8>>) -> Vec<String> {
    let (bundles, mut refused) = by_trust_domain(bundles);
    for (trust_domain, der) in bundles {
        // Our own trust domain is spoken for by the bundle beside our SVID.
        if trust.get(&trust_domain).is_some() {
            continue;
        }
        match TrustBundle::from_concatenated_der(trust_domain, &der) {
            Ok(bundle) => drop(trust.insert(bundle)),
            Err(error) => refused.push(error.to_string()),
        }
    }
    refused.sort_unstable();
    refused
}

/// Bundles by the trust domains that their names say, and which names say none. A trust domain that is named twice,
/// with `spiffe://` and without, has no bundle: nobody could say which of the two counts.
fn by_trust_domain(named: HashMap<String, Vec<u8>>) -> (BTreeMap<TrustDomain, Vec<u8>>, Vec<String>) {
    let mut bundles: BTreeMap<TrustDomain, Option<Vec<u8>>> = BTreeMap::new();
    let mut refused = Vec::new();
    for (name, bundle) in named {
        match name.strip_prefix("spiffe://").unwrap_or(&name).parse::<TrustDomain>() {
            Ok(trust_domain) => {
                bundles.entry(trust_domain).and_modify(|first| *first = None).or_insert(Some(bundle));
            }
            Err(error) => {
                let name: String = name.chars().take(256).collect();
                refused.push(format!("`{name}` is not a trust domain: {error}"));
            }
        }
    }
    let twice = bundles.iter().filter(|(_, bundle)| bundle.is_none());
    refused.extend(twice.map(|(trust_domain, _)| format!("`{trust_domain}` has two bundles")));
    let bundles = bundles.into_iter().filter_map(|(trust_domain, bundle)| Some((trust_domain, bundle?)));
    (bundles.collect(), refused)
}

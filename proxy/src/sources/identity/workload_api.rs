//! Identity from the SPIFFE Workload API: SPIRE's agent, or the demo's.
//!
//! A small client of our own over tonic, which the exporter of traces brings anyway. The maintained `spiffe` crate
//! refuses a whole message for one damaged bundle of a foreign trust domain, so that our own rotation would depend on
//! somebody else's; it does not say why its first synchronisation waits, and it drops revocation lists.

pub mod messages;
mod revocation;

use std::future::pending;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use messages::{FETCH_X509_SVID, SECURITY_HEADER, X509SvidMessage, X509SvidRequest, X509SvidResponse};
use postern_identity::{
    BundleError, IdError, Role, SpiffeId, SvidError, TrustBundle, TrustBundles, TrustDomain, UnixTime,
    VerifyError, X509Svid, verify_chain,
};
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;

use super::{IdentityUpdate, Outlet, SourceStatus};
use crate::clock::Clock;
use crate::config::RevocationRule;
use crate::sources::backoff::Backoff;

#[cfg(test)]
mod tests;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// gRPC servers in Go hang up on peers that ping more often than every five minutes.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(330);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
const BACKOFF_FIRST: Duration = Duration::from_millis(200);
const BACKOFF_LONGEST: Duration = Duration::from_secs(10);
/// How often the age of our SVID is looked at while nothing comes.
const ROTATION_CHECK_INTERVAL: Duration = Duration::from_secs(10);
/// One message: some SVIDs and the bundles of all federated trust domains.
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
const SVIDS_MAX: usize = 100;
const BUNDLES_MAX: usize = 1000;

/// Which endpoint, and which of its SVIDs.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) socket: PathBuf,
    pub(super) spiffe_id: Option<SpiffeId>,
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
    let mut backoff = Backoff::new(BACKOFF_FIRST, BACKOFF_LONGEST);
    let mut follower = Follower { choice, outlet, clock, has_state: false, svid: None };
    loop {
        let ended = follower.follow(&mut backoff).await;
        let code = ended.code();
        if code == Code::PermissionDenied {
            // The identity is gone until the endpoint says otherwise, whatever the clock says about the certificate.
            follower.withdraw(&ended).await;
        } else if matches!(code, Code::InvalidArgument | Code::Unimplemented) {
            // Workload_Endpoint §6: asking again cannot help. Ending here would only hide that.
            follower.trouble(&format!("the Workload API refuses the request for good: {}", ended.message()));
            pending::<()>().await;
        } else {
            follower.lost(&ended);
        }
        tokio::time::sleep(backoff.wait(&*follower.clock)).await;
    }
}

struct Follower {
    choice: Choice,
    outlet: Outlet,
    clock: Arc<dyn Clock>,
    /// A state was taken over and has not been withdrawn.
    has_state: bool,
    svid: Option<Arc<X509Svid>>,
}

impl Follower {
    /// Takes over messages until the stream ends, and says how it ended.
    async fn follow(&mut self, backoff: &mut Backoff) -> Status {
        let mut stream = match open(&self.choice.socket).await {
            Ok(stream) => stream,
            Err(status) => return status,
        };
        loop {
            let message = tokio::select! {
                message = stream.message() => message,
                () = tokio::time::sleep(ROTATION_CHECK_INTERVAL) => {
                    self.check_rotation();
                    continue;
                }
            };
            match message {
                Ok(Some(message)) => {
                    backoff.reset();
                    self.take(message).await;
                }
                Ok(None) => return Status::unavailable("the stream ended"),
                Err(status) => return status,
            }
        }
    }

    /// An endpoint that says nothing may be well, or hang. The age of our SVID tells which.
    fn check_rotation(&self) {
        let overdue = self.svid.as_deref().and_then(|svid| overdue(svid, self.clock.unix_time()));
        if let Some(status) = overdue {
            self.outlet.status(status);
        }
    }

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

    async fn withdraw(&mut self, status: &Status) {
        if self.has_state {
            tracing::warn!(reason = status.message(), "the Workload API withdrew our identity");
            self.outlet.update(IdentityUpdate::withdrawn()).await;
            self.has_state = false;
            self.svid = None;
        }
        self.outlet.status(SourceStatus::Withdrawn(status.message().to_owned()));
    }

    fn trouble(&self, reason: &str) {
        if self.outlet.status(SourceStatus::Failing(reason.to_owned())) {
            tracing::warn!(reason, "identity is not taken from the Workload API");
        }
    }

    fn lost(&self, status: &Status) {
        let socket = self.choice.socket.display();
        let reason = format!("the Workload API at `{socket}` is not there: {}", with_causes(status));
        if !self.has_state {
            return self.trouble(&reason);
        }
        // Since when is told once: the first failure counts, not the last.
        let since = match &*self.outlet.status.borrow() {
            SourceStatus::Stale { since, .. } => *since,
            SourceStatus::Starting
            | SourceStatus::Ready
            | SourceStatus::Degraded(_)
            | SourceStatus::Withdrawn(_)
            | SourceStatus::Failing(_) => self.clock.unix_time(),
        };
        self.outlet.status(SourceStatus::Stale { since, reason });
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

/// tonic's own words ("transport error") leave out what happened.
fn with_causes(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut cause = std::error::Error::source(status);
    for _ in 0..8 {
        let Some(error) = cause else { break };
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

async fn open(socket: &std::path::Path) -> Result<Streaming<X509SvidResponse>, Status> {
    let unreachable = |error: tonic::transport::Error| Status::from_error(Box::new(error));
    let channel: Channel = Endpoint::from_shared(format!("unix:{}", socket.display()))
        .map_err(unreachable)?
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .connect()
        .await
        .map_err(unreachable)?;
    let mut client = tonic::client::Grpc::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
    client.ready().await.map_err(unreachable)?;
    let mut request = Request::new(X509SvidRequest {});
    request.metadata_mut().insert(SECURITY_HEADER, MetadataValue::from_static("true"));
    let path = PathAndQuery::from_static(FETCH_X509_SVID);
    let codec = ProstCodec::<X509SvidRequest, X509SvidResponse>::default();
    Ok(client.server_streaming(request, path, codec).await?.into_inner())
}

/// A message is the whole state (Workload_API §4.4): what it leaves out is gone.
fn judge(message: X509SvidResponse, choice: &Choice, now: UnixTime) -> Result<State, MessageError> {
    let chosen = choice.spiffe_id.as_ref();
    if message.svids.is_empty() {
        return Err(MessageError::Empty);
    }
    if message.svids.len() > SVIDS_MAX || message.federated_bundles.len() > BUNDLES_MAX {
        return Err(MessageError::TooMuch);
    }
    let mut trust = TrustBundles::default();
    for entry in &message.svids {
        let id = spiffe_id(entry)?;
        trust.insert(TrustBundle::from_concatenated_der(id.trust_domain().clone(), &entry.bundle)?);
    }
    let own_domains: Vec<TrustDomain> = trust.iter().map(|bundle| bundle.trust_domain().clone()).collect();
    let mut refused = federate(&mut trust, message.federated_bundles);
    let svid = match pick(message.svids, chosen)? {
        Some((id, entry)) => Some(Arc::new(own(id, entry, &trust, now)?)),
        None => None,
    };
    // After our own SVID is judged: whether it is revoked is for our peers to say, and no reason to miss what else is.
    refused.extend(revocation::attach(&mut trust, &own_domains, &message.crl, choice.revocation));
    let status = match (&svid, chosen) {
        (None, Some(id)) => SourceStatus::Withdrawn(format!("the Workload API does not offer `{id}`")),
        _ if refused.is_empty() => SourceStatus::Ready,
        _ => SourceStatus::Degraded(refused.join("; ")),
    };
    Ok(State { update: IdentityUpdate { svid, trust: Arc::new(trust) }, status })
}

/// The default is the first (Workload_API §5.2.1); one that was chosen and is gone is not replaced by another.
fn pick(
    entries: Vec<X509SvidMessage>,
    chosen: Option<&SpiffeId>,
) -> Result<Option<(SpiffeId, X509SvidMessage)>, MessageError> {
    for entry in entries {
        let id = spiffe_id(&entry)?;
        if chosen.is_none_or(|chosen| *chosen == id) {
            return Ok(Some((id, entry)));
        }
    }
    Ok(None)
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

fn spiffe_id(entry: &X509SvidMessage) -> Result<SpiffeId, MessageError> {
    entry
        .spiffe_id
        .parse()
        .map_err(|error| MessageError::Id { text: entry.spiffe_id.chars().take(256).collect(), error })
}

/// A foreign bundle that cannot be read is left out, so that its trust domain is trusted no more; the others and our
/// own identity do not suffer for it. Returns what was left out.
fn federate(trust: &mut TrustBundles, bundles: std::collections::HashMap<String, Vec<u8>>) -> Vec<String> {
    let mut refused = Vec::new();
    for (name, der) in bundles {
        let bare = name.strip_prefix("spiffe://").unwrap_or(&name);
        let bundle = match bare.parse::<TrustDomain>() {
            Ok(domain) => TrustBundle::from_concatenated_der(domain, &der).map_err(|error| error.to_string()),
            Err(error) => Err(format!(
                "`{}` is not a trust domain: {error}",
                name.chars().take(256).collect::<String>()
            )),
        };
        match bundle {
            // Our own trust domain is spoken for by the bundle beside our SVID.
            Ok(bundle) if trust.get(bundle.trust_domain()).is_some() => {}
            Ok(bundle) => drop(trust.insert(bundle)),
            Err(reason) => refused.push(reason),
        }
    }
    refused.sort_unstable();
    refused
}

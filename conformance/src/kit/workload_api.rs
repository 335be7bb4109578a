//! A Workload API that says what it is told, and our own source at its other end.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use postern_identity::{SpiffeId, UnixTime};
use postern_proxy::clock::{Clock, SystemClock};
use postern_proxy::config::{RevocationRule, SvidSelection, WorkloadEndpoint};
use postern_proxy::demo::ca::Ca;
use postern_proxy::sources::identity::workload_api::messages::{
    FETCH_JWT_BUNDLES, FETCH_X509_SVID, JwtBundlesResponse, X509SvidMessage, X509SvidResponse,
};
use postern_proxy::sources::identity::workload_api::{JwtBundles, JwtOutlet, follow_jwt_bundles};
use postern_proxy::sources::identity::{IdentitySource, IdentityUpdate, Outlet, SourceStatus, run};
use prost::Message;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::grpc::{self, Said, Scripts};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(10);

/// Our trust domain, and a workload in it.
pub(crate) const DOMAIN: &str = "example.org";
pub(crate) const ID: &str = "spiffe://example.org/orders";

/// Runs a case.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(future)
}

pub(crate) fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}

pub(crate) fn now() -> UnixTime {
    clock().unix_time()
}

pub(crate) fn authority(trust_domain: &str) -> Ca {
    Ca::new(trust_domain.parse().expect("a trust domain"), now()).expect("an authority")
}

/// An endpoint with its authority, not yet asked.
pub(crate) struct World {
    pub(crate) scripts: Scripts,
    pub(crate) ca: Ca,
    pub(crate) endpoint: WorkloadEndpoint,
    _folder: tempfile::TempDir,
}

/// Our source of identity, following.
pub(crate) struct Followed {
    updates: mpsc::Receiver<IdentityUpdate>,
    status: watch::Receiver<SourceStatus>,
}

/// Our source of JWT keys, following.
pub(crate) struct FollowedKeys {
    bundles: watch::Receiver<Arc<JwtBundles>>,
    status: watch::Receiver<SourceStatus>,
}

impl World {
    /// On a Unix socket.
    pub(crate) fn unix() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("agent.sock");
        let scripts = Scripts::default();
        let listener = UnixListener::bind(&socket).expect("a socket");
        drop(tokio::spawn(grpc::serve_unix(listener, scripts.clone())));
        let endpoint = WorkloadEndpoint::Unix(socket);
        Self { scripts, ca: authority(DOMAIN), endpoint, _folder: folder }
    }

    /// On a port.
    pub(crate) async fn tcp() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = WorkloadEndpoint::Tcp(listener.local_addr().expect("its address"));
        let scripts = Scripts::default();
        drop(tokio::spawn(grpc::serve_tcp(listener, scripts.clone())));
        Self { scripts, ca: authority(DOMAIN), endpoint, _folder: tempfile::tempdir().expect("a folder") }
    }

    /// Answers the next stream of SVIDs.
    pub(crate) fn say(&self, said: Vec<Said>) -> &Self {
        self.scripts.say(FETCH_X509_SVID, said);
        self
    }

    /// Answers the next stream of JWT bundles.
    pub(crate) fn say_keys(&self, said: Vec<Said>) -> &Self {
        self.scripts.say(FETCH_JWT_BUNDLES, said);
        self
    }

    /// An entry of a message, freshly issued.
    pub(crate) fn entry(&self, id: &str) -> X509SvidMessage {
        entry(&self.ca, id)
    }

    pub(crate) fn follow(&self) -> Followed {
        self.follow_selected(SvidSelection::First)
    }

    pub(crate) fn follow_selected(&self, selection: SvidSelection) -> Followed {
        let (updates_in, updates) = mpsc::channel(16);
        let (status_in, status) = watch::channel(SourceStatus::Starting);
        let revocation = RevocationRule::WhereListed;
        let source = IdentitySource::WorkloadApi { endpoint: self.endpoint.clone(), selection, revocation };
        drop(tokio::spawn(run(source, Outlet { updates: updates_in, status: status_in }, clock())));
        Followed { updates, status }
    }

    pub(crate) fn follow_keys(&self) -> FollowedKeys {
        follow_keys(self.endpoint.clone())
    }
}

pub(crate) fn follow_keys(endpoint: WorkloadEndpoint) -> FollowedKeys {
    let (bundles_in, bundles) = watch::channel(Arc::default());
    let (status_in, status) = watch::channel(SourceStatus::Starting);
    let outlet = JwtOutlet { bundles: bundles_in, status: status_in };
    drop(tokio::spawn(follow_jwt_bundles(endpoint, outlet, clock())));
    FollowedKeys { bundles, status }
}

impl Followed {
    /// The next state.
    pub(crate) async fn next(&mut self) -> Result<IdentityUpdate, String> {
        let next = timeout(PATIENCE, self.updates.recv()).await;
        next.ok().flatten().ok_or_else(|| format!("no state came: {:?}", *self.status.borrow()))
    }

    /// True when no state has come that was not asked for.
    pub(crate) fn is_quiet(&mut self) -> bool {
        self.updates.try_recv().is_err()
    }

    /// Who we are by the next state.
    pub(crate) async fn id(&mut self) -> Result<SpiffeId, String> {
        match self.next().await?.svid {
            Some(svid) => Ok(svid.spiffe_id().clone()),
            None => Err(self.trouble().await),
        }
    }

    /// What the source says against itself, once it does.
    pub(crate) async fn trouble(&mut self) -> String {
        trouble(&mut self.status).await
    }
}

impl FollowedKeys {
    /// The keys, once they are as wanted.
    pub(crate) async fn keys(
        &mut self,
        wanted: impl Fn(&JwtBundles) -> bool,
    ) -> Result<Arc<JwtBundles>, String> {
        match timeout(PATIENCE, self.bundles.wait_for(|bundles| wanted(bundles))).await {
            Ok(Ok(bundles)) => Ok(Arc::clone(&bundles)),
            Ok(Err(_)) | Err(_) => Err(format!("no such keys came: {:?}", *self.status.borrow())),
        }
    }

    /// What the source says against itself, once it does.
    pub(crate) async fn trouble(&mut self) -> String {
        trouble(&mut self.status).await
    }
}

async fn trouble(status: &mut watch::Receiver<SourceStatus>) -> String {
    let bad = |status: &SourceStatus| !matches!(status, SourceStatus::Starting | SourceStatus::Ready);
    match timeout(PATIENCE, status.wait_for(bad)).await {
        Ok(Ok(status)) => format!("{:?}", *status),
        Ok(Err(_)) | Err(_) => "it says nothing against itself".to_owned(),
    }
}

pub(crate) fn entry(ca: &Ca, id: &str) -> X509SvidMessage {
    let id = id.parse().expect("a SPIFFE ID");
    let issued = ca.issue(&id, Duration::from_secs(60), now()).expect("an SVID");
    X509SvidMessage {
        spiffe_id: id.to_string(),
        x509_svid: issued.chain_der().to_vec(),
        x509_svid_key: issued.key_pkcs8(),
        bundle: ca.bundle_der().to_vec(),
        hint: String::new(),
    }
}

pub(crate) fn svids(svids: Vec<X509SvidMessage>) -> Said {
    Said::Message(X509SvidResponse { svids, ..X509SvidResponse::default() }.encode_to_vec())
}

/// A message with SVIDs and bundles of other trust domains.
pub(crate) fn federated(svids: Vec<X509SvidMessage>, friends: &[&Ca]) -> Said {
    let name = |ca: &&Ca| (format!("spiffe://{}", ca.trust_domain()), ca.bundle_der().to_vec());
    let federated_bundles = friends.iter().map(name).collect();
    Said::Message(
        X509SvidResponse { svids, federated_bundles, ..X509SvidResponse::default() }.encode_to_vec(),
    )
}

/// A message with the JWT bundles of these trust domains.
pub(crate) fn jwt_bundles(of: &[&Ca]) -> Said {
    let name = |ca: &&Ca| (format!("spiffe://{}", ca.trust_domain()), ca.jwt_bundle().into_bytes());
    Said::Message(JwtBundlesResponse { bundles: of.iter().map(name).collect() }.encode_to_vec())
}

/// A token for `orders` of `/caller` in the authority's trust domain.
pub(crate) fn token(ca: &Ca) -> String {
    let id = format!("spiffe://{}/caller", ca.trust_domain()).parse().expect("a SPIFFE ID");
    ca.issue_jwt(&id, &["orders".to_owned()], Duration::from_secs(60), now()).expect("a token")
}

/// The socket of the demo's Workload API for [`ID`], which answers until the runtime ends.
pub(crate) fn demo(folder: &std::path::Path, ca: Arc<Ca>) -> PathBuf {
    use postern_proxy::demo::workload_api::{Workload, bind, serve};
    let listener = bind(folder, "orders").expect("a socket");
    let workload = Workload { id: ID.parse().expect("a SPIFFE ID"), ttl: Duration::from_secs(60) };
    drop(tokio::spawn(serve(listener, workload, ca, clock())));
    folder.join("orders.sock")
}

use postern_identity::TrustDomain;
use tonic::transport::Endpoint;

use super::*;
use crate::clock::SystemClock;
use crate::config::{SvidSelection, WorkloadEndpoint};
use crate::sources::identity::{IdentitySource, IdentityUpdate, Outlet, SourceStatus, run};

const ID: &str = "spiffe://demo.postern/web";

struct Demo {
    directory: tempfile::TempDir,
    ca: Arc<Ca>,
    clock: Arc<dyn Clock>,
    server: tokio::task::JoinHandle<()>,
}

impl Demo {
    fn start(ttl: Duration) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let domain: TrustDomain = "demo.postern".parse().unwrap();
        let ca = Arc::new(Ca::new(domain, clock.unix_time()).unwrap());
        let directory = tempfile::tempdir().unwrap();
        let server = Self::endpoint(&directory, &ca, &clock, ttl);
        Self { directory, ca, clock, server }
    }

    fn endpoint(
        directory: &tempfile::TempDir,
        ca: &Arc<Ca>,
        clock: &Arc<dyn Clock>,
        ttl: Duration,
    ) -> tokio::task::JoinHandle<()> {
        let listener = bind(&directory.path().join("api"), "web").unwrap();
        let workload = Workload { id: ID.parse().unwrap(), ttl };
        tokio::spawn(serve(listener, workload, Arc::clone(ca), Arc::clone(clock)))
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("api/web.sock")
    }

    fn follow(&self, spiffe_id: Option<SpiffeId>) -> Followed {
        let (updates, received) = tokio::sync::mpsc::channel(1);
        let (status, seen) = tokio::sync::watch::channel(SourceStatus::Starting);
        let endpoint = WorkloadEndpoint::Unix(self.socket());
        let selection = spiffe_id.map_or(SvidSelection::First, SvidSelection::SpiffeId);
        let revocation = crate::config::RevocationRule::WhereListed;
        let source = IdentitySource::WorkloadApi { endpoint, selection, revocation };
        let follower = tokio::spawn(run(source, Outlet { updates, status }, Arc::clone(&self.clock)));
        Followed { received, seen, follower }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        self.server.abort();
    }
}

struct Followed {
    received: tokio::sync::mpsc::Receiver<IdentityUpdate>,
    seen: tokio::sync::watch::Receiver<SourceStatus>,
    follower: tokio::task::JoinHandle<()>,
}

impl Followed {
    async fn next(&mut self) -> IdentityUpdate {
        tokio::time::timeout(Duration::from_secs(20), self.received.recv()).await.unwrap().unwrap()
    }

    async fn status(&mut self, wanted: impl FnMut(&SourceStatus) -> bool) -> SourceStatus {
        tokio::time::timeout(Duration::from_secs(20), self.seen.wait_for(wanted))
            .await
            .unwrap()
            .unwrap()
            .clone()
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

#[tokio::test]
async fn our_own_source_takes_its_svid_here_and_follows_a_rotation() {
    let demo = Demo::start(Duration::from_secs(2));
    let mut followed = demo.follow(None);
    let first = followed.next().await;
    let svid = first.svid.unwrap();
    assert_eq!(svid.spiffe_id().as_str(), ID);
    let bundle = first.trust.get(demo.ca.trust_domain()).unwrap();
    assert_eq!(*bundle, demo.ca.bundle().unwrap());
    assert_eq!(followed.status(|status| *status == SourceStatus::Ready).await, SourceStatus::Ready);
    let second = followed.next().await.svid.unwrap();
    assert_ne!(second.chain(), svid.chain());
    assert_eq!(second.spiffe_id(), svid.spiffe_id());
}

#[tokio::test]
async fn an_identity_that_is_not_offered_is_not_replaced_by_another() {
    let demo = Demo::start(Duration::from_secs(60));
    let mut followed = demo.follow(Some("spiffe://demo.postern/other".parse().unwrap()));
    let update = followed.next().await;
    assert!(update.svid.is_none());
    assert_eq!(update.trust.len(), 1);
    let status = followed.status(|status| *status != SourceStatus::Starting).await;
    let reason = "the Workload API does not offer `spiffe://demo.postern/other`".to_owned();
    assert_eq!(status, SourceStatus::Withdrawn(reason));
}

#[tokio::test]
async fn a_socket_that_comes_later_is_found() {
    let demo = Demo::start(Duration::from_secs(60));
    demo.server.abort();
    std::fs::remove_file(demo.socket()).unwrap();
    let mut followed = demo.follow(None);
    let status = followed.status(|status| *status != SourceStatus::Starting).await;
    let SourceStatus::Failing(reason) = status else { panic!("{status:?}") };
    assert!(reason.contains("web.sock") && reason.contains("No such file"), "{reason}");
    let server = Demo::endpoint(&demo.directory, &demo.ca, &demo.clock, Duration::from_secs(60));
    assert!(followed.next().await.svid.is_some());
    server.abort();
}

#[tokio::test]
async fn a_call_without_the_security_header_is_refused() {
    let demo = Demo::start(Duration::from_secs(60));
    let channel =
        Endpoint::from_shared(format!("unix:{}", demo.socket().display())).unwrap().connect().await.unwrap();
    let call = async |path: &'static str, header: Option<&'static str>| {
        let mut client = tonic::client::Grpc::new(channel.clone());
        client.ready().await.unwrap();
        let mut request = GrpcRequest::new(X509SvidRequest {});
        if let Some(value) = header {
            request.metadata_mut().insert(SECURITY_HEADER, value.parse().unwrap());
        }
        let codec = ProstCodec::<X509SvidRequest, X509SvidResponse>::default();
        let answer = client.server_streaming(request, path.parse().unwrap(), codec).await;
        answer.map(|_| ()).map_err(|status| status.code())
    };
    assert_eq!(call(FETCH_X509_SVID, Some("true")).await, Ok(()));
    assert_eq!(call(FETCH_X509_BUNDLES, Some("true")).await, Ok(()));
    assert_eq!(call(FETCH_X509_SVID, None).await, Err(tonic::Code::InvalidArgument));
    assert_eq!(call(FETCH_X509_SVID, Some("yes")).await, Err(tonic::Code::InvalidArgument));
    let other = "/SpiffeWorkloadAPI/FetchWITSVID";
    assert_eq!(call(other, Some("true")).await, Err(tonic::Code::Unimplemented));
}

#[tokio::test]
async fn sockets_are_for_their_owner_and_a_live_one_is_not_taken_over() {
    let demo = Demo::start(Duration::from_secs(60));
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&demo.directory.path().join("api")), 0o700);
    assert_eq!(mode(&demo.socket()), 0o600);
    let taken = bind(&demo.directory.path().join("api"), "web").unwrap_err();
    assert!(
        matches!(taken, EndpointError::Socket { ref error, .. } if error.kind() == io::ErrorKind::AddrInUse)
    );
    // Left over by a process that is gone.
    let path = demo.directory.path().join("api/dead.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(bind(&demo.directory.path().join("api"), "dead").is_ok());
}

#[tokio::test]
async fn jwt_svids_are_issued_and_validated() {
    use super::jwt::messages::{Kind, ValidateJwtSvidResponse};

    let demo = Demo::start(Duration::from_secs(60));
    let channel =
        Endpoint::from_shared(format!("unix:{}", demo.socket().display())).unwrap().connect().await.unwrap();
    let client = async || {
        let mut client = tonic::client::Grpc::new(channel.clone());
        client.ready().await.unwrap();
        client
    };
    let fetch = async |audience: &[&str], spiffe_id: &str| {
        let audience = audience.iter().map(|name| (*name).to_owned()).collect();
        let request = with_header(FetchJwtSvidRequest { audience, spiffe_id: spiffe_id.to_owned() });
        let codec = ProstCodec::<FetchJwtSvidRequest, FetchJwtSvidResponse>::default();
        let answer = client().await.unary(request, FETCH_JWT_SVID.parse().unwrap(), codec).await;
        answer.map(|answer| answer.into_inner().svids.remove(0).svid).map_err(|status| status.code())
    };
    let validate = async |audience: &str, svid: &str| {
        let request =
            with_header(ValidateJwtSvidRequest { audience: audience.to_owned(), svid: svid.to_owned() });
        let codec = ProstCodec::<ValidateJwtSvidRequest, ValidateJwtSvidResponse>::default();
        let answer = client().await.unary(request, VALIDATE_JWT_SVID.parse().unwrap(), codec).await;
        answer.map(GrpcResponse::into_inner).map_err(|status| status.message().to_owned())
    };

    let token = fetch(&["orders", "bank"], "").await.unwrap();
    let valid = validate("bank", &token).await.unwrap();
    assert_eq!(valid.spiffe_id, ID);
    assert_eq!(valid.claims.unwrap().fields["sub"].kind, Some(Kind::Text(ID.to_owned())));
    assert!(fetch(&["orders"], ID).await.is_ok());
    assert_eq!(validate("other", &token).await.unwrap_err(), "the token is for another audience");
    assert!(validate("bank", &format!("{token}x")).await.is_err());
    assert_eq!(fetch(&[], "").await, Err(tonic::Code::InvalidArgument));
    assert_eq!(fetch(&["orders"], "spiffe://demo.postern/other").await, Err(tonic::Code::PermissionDenied));

    let codec = ProstCodec::<JwtBundlesRequest, JwtBundlesResponse>::default();
    let request = with_header(JwtBundlesRequest {});
    let stream =
        client().await.server_streaming(request, FETCH_JWT_BUNDLES.parse().unwrap(), codec).await.unwrap();
    let bundles = stream.into_inner().message().await.unwrap().unwrap().bundles;
    assert_eq!(bundles["spiffe://demo.postern"], demo.ca.jwt_bundle().into_bytes());
}

fn with_header<T>(message: T) -> GrpcRequest<T> {
    let mut request = GrpcRequest::new(message);
    request.metadata_mut().insert(SECURITY_HEADER, "true".parse().unwrap());
    request
}

//! An endpoint that answers each call as it is told, and the follower at its other end.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Mutex;
use std::time::Duration;

use futures_util::stream::{Iter, iter};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::UnixListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tonic::server::{Grpc, ServerStreamingService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use super::super::messages::SECURITY_HEADER;
use super::super::*;
use super::{ID, X509SvidMessage, message};
use crate::clock::SystemClock;
use crate::demo::ca::Ca;

const PATIENCE: Duration = Duration::from_secs(20);

type Said = Result<X509SvidResponse, Status>;

/// What is said to one call after the other: messages, and how the stream ends.
#[derive(Clone, Default)]
struct Script(Arc<Mutex<VecDeque<Vec<Said>>>>);

impl ServerStreamingService<X509SvidRequest> for Script {
    type Response = X509SvidResponse;
    type ResponseStream = Iter<std::vec::IntoIter<Said>>;
    type Future = Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, _request: Request<X509SvidRequest>) -> Self::Future {
        let said = self.0.lock().unwrap().pop_front();
        ready(match said {
            Some(said) => Ok(Response::new(iter(said))),
            None => Err(Status::unavailable("the script is over")),
        })
    }
}

struct World {
    script: Script,
    ca: Ca,
    updates: mpsc::Receiver<IdentityUpdate>,
    status: watch::Receiver<SourceStatus>,
    tasks: [JoinHandle<()>; 2],
    _directory: tempfile::TempDir,
}

impl World {
    fn start(said: impl FnOnce(&Ca) -> Vec<Vec<Said>>) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let ca = Ca::new("example.org".parse().unwrap(), clock.unix_time()).unwrap();
        let script = Script(Arc::new(Mutex::new(said(&ca).into())));
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("agent.sock");
        let server = tokio::spawn(serve(UnixListener::bind(&socket).unwrap(), script.clone()));
        let (updates_in, updates) = mpsc::channel(1);
        let (status_in, status) = watch::channel(SourceStatus::Starting);
        let outlet = Outlet { updates: updates_in, status: status_in };
        let follower = tokio::spawn(run(choice(socket), outlet, clock));
        Self { script, ca, updates, status, tasks: [server, follower], _directory: directory }
    }

    fn say(&self, said: Vec<Said>) {
        self.script.0.lock().unwrap().push_back(said);
    }

    async fn next(&mut self) -> IdentityUpdate {
        tokio::time::timeout(PATIENCE, self.updates.recv()).await.unwrap().unwrap()
    }

    async fn status(&mut self, wanted: impl FnMut(&SourceStatus) -> bool) {
        tokio::time::timeout(PATIENCE, self.status.wait_for(wanted)).await.unwrap().unwrap();
    }
}

fn choice(socket: std::path::PathBuf) -> Choice {
    Choice { endpoint: WorkloadEndpoint::Unix(socket), ..super::choice(None) }
}

impl Drop for World {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn serve(listener: UnixListener, script: Script) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let script = script.clone();
        let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
            let script = script.clone();
            async move {
                assert_eq!(request.uri().path(), FETCH_X509_SVID);
                assert_eq!(request.headers().get(SECURITY_HEADER).unwrap(), "true");
                let codec = ProstCodec::<X509SvidResponse, X509SvidRequest>::default();
                Ok::<_, Infallible>(Grpc::new(codec).server_streaming(script, request).await)
            }
        });
        let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        drop(tokio::spawn(connection.serve_connection(TokioIo::new(stream), service)));
    }
}

fn good(ca: &Ca) -> Said {
    let now = SystemClock::new().unix_time();
    let issued = ca.issue(&ID.parse().unwrap(), Duration::from_secs(60), now).unwrap();
    Ok(message(vec![X509SvidMessage {
        spiffe_id: ID.to_owned(),
        x509_svid: issued.chain_der().to_vec(),
        x509_svid_key: issued.key_pkcs8(),
        bundle: ca.bundle_der().to_vec(),
        hint: String::new(),
    }]))
}

#[tokio::test]
async fn a_denied_workload_loses_its_identity_and_gets_it_back() {
    let denied = || Err(Status::permission_denied("no identity issued"));
    let mut world = World::start(|ca| vec![vec![good(ca)], vec![denied()], vec![denied()]]);
    assert!(world.next().await.svid.is_some());
    let withdrawn = world.next().await;
    assert!(withdrawn.svid.is_none() && withdrawn.trust.is_empty());
    world.status(|status| *status == SourceStatus::Withdrawn("no identity issued".to_owned())).await;
    world.say(vec![good(&world.ca)]);
    assert!(world.next().await.svid.is_some());
}

#[tokio::test]
async fn a_stream_that_breaks_leaves_the_identity_in_force() {
    let mut world = World::start(|ca| vec![vec![good(ca), Err(Status::internal("oh"))]]);
    assert!(world.next().await.svid.is_some());
    world.status(|status| matches!(status, SourceStatus::Stale { reason, .. } if reason.contains("script is over"))).await;
    assert!(world.updates.try_recv().is_err());
    world.say(vec![good(&world.ca)]);
    assert!(world.next().await.svid.is_some());
}

#[tokio::test]
async fn a_stream_that_ends_is_opened_again_at_once_and_nothing_is_said() {
    let mut world = World::start(|ca| vec![vec![good(ca)], vec![good(ca), Err(Status::unknown("gone"))]]);
    let begun = tokio::time::Instant::now();
    assert!(world.next().await.svid.is_some());
    assert!(world.next().await.svid.is_some());
    // The second time in a row it waits, and says why.
    world
        .status(|status| matches!(status, SourceStatus::Stale { reason, .. } if reason.contains("gone")))
        .await;
    assert!(begun.elapsed() < PATIENCE);
    let seen = world.script.0.lock().unwrap().len();
    assert_eq!(seen, 0);
}

#[tokio::test]
async fn a_message_that_is_not_taken_does_not_end_the_stream() {
    let mut world = World::start(|ca| vec![vec![good(ca), Ok(message(vec![])), good(ca)]]);
    let first = world.next().await.svid.unwrap();
    let second = world.next().await.svid.unwrap();
    assert_ne!(first.chain(), second.chain());
}

#[tokio::test]
async fn a_request_that_is_refused_for_good_is_told() {
    for status in [Status::invalid_argument("no header"), Status::unimplemented("no such profile")] {
        let mut world = World::start(|_| vec![vec![Err(status)]]);
        world
            .status(|now| matches!(now, SourceStatus::Failing(reason) if reason.contains("for good: no ")))
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_takes_a_call_and_says_nothing_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("agent.sock");
    // Connections are taken by the kernel, and nobody ever reads from them.
    let _hangs = UnixListener::bind(&socket).unwrap();
    let (updates, _received) = mpsc::channel(1);
    let (status_in, mut status) = watch::channel(SourceStatus::Starting);
    let outlet = Outlet { updates, status: status_in };
    let follower = tokio::spawn(run(choice(socket), outlet, Arc::new(SystemClock::new())));
    let said = status.wait_for(|status| *status != SourceStatus::Starting).await.unwrap().clone();
    assert!(
        matches!(&said, SourceStatus::Failing(reason) if reason.contains("has not answered within 15s")),
        "{said:?}"
    );
    follower.abort();
}

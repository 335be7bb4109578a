//! The demo's SPIFFE Workload API: an endpoint for each workload, on a Unix socket of its own.
//!
//! SPIRE tells callers apart by asking the kernel who they are. In the demo all are one user's, so the socket says it:
//! whoever may open `web.sock` is `web`. The sockets lie in a directory that only their owner may enter.

mod jwt;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use futures_util::stream::unfold;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use postern_identity::SpiffeId;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tonic::body::Body;
use tonic::server::{Grpc, ServerStreamingService};
use tonic::{Request as GrpcRequest, Response as GrpcResponse, Status};
use tonic_prost::ProstCodec;

use self::jwt::messages::{
    FETCH_JWT_SVID, FetchJwtSvidRequest, FetchJwtSvidResponse, VALIDATE_JWT_SVID, ValidateJwtSvidRequest,
    ValidateJwtSvidResponse,
};
use super::ca::Ca;
use crate::clock::Clock;
use crate::sources::identity::workload_api::messages::{
    FETCH_JWT_BUNDLES, FETCH_X509_BUNDLES, FETCH_X509_SVID, JwtBundlesRequest, JwtBundlesResponse,
    SECURITY_HEADER, X509BundlesRequest, X509BundlesResponse, X509SvidMessage, X509SvidRequest,
    X509SvidResponse,
};

#[cfg(test)]
mod tests;

/// Connections to one endpoint at a time; more wait.
const CONNECTIONS_MAX: usize = 64;
/// After a failing `accept`, so that running out of descriptors does not become a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why an endpoint could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The directory of the sockets.
    #[error("the directory `{}` cannot be made: {error}", .path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// The socket.
    #[error("the socket `{}` cannot be opened: {error}", .path.display())]
    Socket {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
}

/// Who is at the other end of an endpoint, and how long an SVID lasts. A new one comes at half of that.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Its identity.
    pub id: SpiffeId,
    /// The life of one SVID.
    pub ttl: Duration,
}

/// Opens `NAME.sock` in a directory that only its owner may enter; both are made when they are not there.
///
/// # Errors
/// When either cannot be made, or another process listens there.
pub fn bind(directory: &Path, name: &str) -> Result<UnixListener, EndpointError> {
    let no_directory = |error| EndpointError::Directory { path: directory.to_owned(), error };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(no_directory)?;
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o700)).map_err(no_directory)?;
    let path = directory.join(format!("{name}.sock"));
    let no_socket = |error| EndpointError::Socket { path: path.clone(), error };
    remove_dead(&path).map_err(no_socket)?;
    let listener = UnixListener::bind(&path).map_err(no_socket)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(no_socket)?;
    Ok(listener)
}

/// A socket that nobody listens on is left over from a process that was killed.
fn remove_dead(path: &Path) -> io::Result<()> {
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Answers on the socket until the future is dropped; connections that are open then end with the runtime.
pub async fn serve(listener: UnixListener, workload: Workload, ca: Arc<Ca>, clock: Arc<dyn Clock>) {
    let source = Source { workload, ca, clock };
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let source = source.clone();
                drop(tokio::spawn(async move {
                    connection(stream, source).await;
                    drop(place);
                }));
            }
            Err(error) => {
                tracing::warn!(%error, "the demo's Workload API cannot accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: UnixStream, source: Source) {
    let service = service_fn(move |request| {
        let source = source.clone();
        async move { Ok::<_, Infallible>(answer(request, source).await) }
    });
    let served = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection to the demo's Workload API ended");
    }
}

async fn answer(request: Request<Incoming>, source: Source) -> Response<Body> {
    // Workload_Endpoint §3: without it the caller may be a confused HTTP client.
    if request.headers().get(SECURITY_HEADER).is_none_or(|value| value != "true") {
        return Status::invalid_argument("the security header `workload.spiffe.io: true` is missing")
            .into_http();
    }
    match request.uri().path() {
        FETCH_X509_SVID => {
            let codec = ProstCodec::<X509SvidResponse, X509SvidRequest>::default();
            Grpc::new(codec).server_streaming(source, request).await
        }
        FETCH_X509_BUNDLES => {
            let codec = ProstCodec::<X509BundlesResponse, X509BundlesRequest>::default();
            Grpc::new(codec).server_streaming(source, request).await
        }
        FETCH_JWT_SVID => {
            let codec = ProstCodec::<FetchJwtSvidResponse, FetchJwtSvidRequest>::default();
            Grpc::new(codec).unary(source, request).await
        }
        FETCH_JWT_BUNDLES => {
            let codec = ProstCodec::<JwtBundlesResponse, JwtBundlesRequest>::default();
            Grpc::new(codec).server_streaming(source, request).await
        }
        VALIDATE_JWT_SVID => {
            let codec = ProstCodec::<ValidateJwtSvidResponse, ValidateJwtSvidRequest>::default();
            Grpc::new(codec).unary(source, request).await
        }
        _ => Status::unimplemented("the Workload API has no such call").into_http(),
    }
}

#[derive(Clone, Debug)]
struct Source {
    workload: Workload,
    ca: Arc<Ca>,
    clock: Arc<dyn Clock>,
}

impl Source {
    fn svid(&self) -> Result<X509SvidResponse, Status> {
        let issued = self
            .ca
            .issue(&self.workload.id, self.workload.ttl, self.clock.unix_time())
            .map_err(|error| Status::internal(error.to_string()))?;
        Ok(X509SvidResponse {
            svids: vec![X509SvidMessage {
                spiffe_id: self.workload.id.to_string(),
                x509_svid: issued.chain_der().to_vec(),
                x509_svid_key: issued.key_pkcs8(),
                bundle: self.ca.bundle_der().to_vec(),
                hint: String::new(),
            }],
            ..X509SvidResponse::default()
        })
    }

    fn bundles(&self) -> X509BundlesResponse {
        let name = format!("spiffe://{}", self.ca.trust_domain());
        X509BundlesResponse {
            bundles: [(name, self.ca.bundle_der().to_vec())].into(),
            ..X509BundlesResponse::default()
        }
    }
}

type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
type Answer<T> = Pin<Box<dyn Future<Output = Result<GrpcResponse<Messages<T>>, Status>> + Send>>;

fn streaming<T: 'static>(messages: impl Stream<Item = Result<T, Status>> + Send + 'static) -> Answer<T> {
    let messages: Messages<T> = Box::pin(messages);
    Box::pin(std::future::ready(Ok(GrpcResponse::new(messages))))
}

impl ServerStreamingService<X509SvidRequest> for Source {
    type Response = X509SvidResponse;
    type ResponseStream = Messages<X509SvidResponse>;
    type Future = Answer<X509SvidResponse>;

    /// An SVID at once, and a new one each time half of its life is over.
    fn call(&mut self, _request: GrpcRequest<X509SvidRequest>) -> Self::Future {
        streaming(unfold((self.clone(), Duration::ZERO), |(source, wait)| async move {
            tokio::time::sleep(wait).await;
            let message = source.svid();
            let wait = source.workload.ttl / 2;
            Some((message, (source, wait)))
        }))
    }
}

impl ServerStreamingService<X509BundlesRequest> for Source {
    type Response = X509BundlesResponse;
    type ResponseStream = Messages<X509BundlesResponse>;
    type Future = Answer<X509BundlesResponse>;

    /// The bundle at once. It never changes, and the stream stays open.
    fn call(&mut self, _request: GrpcRequest<X509BundlesRequest>) -> Self::Future {
        streaming(unfold(Some(self.bundles()), |next| async move {
            match next {
                Some(bundles) => Some((Ok(bundles), None)),
                None => std::future::pending().await,
            }
        }))
    }
}

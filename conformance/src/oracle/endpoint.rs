//! A Workload API that says one thing, for a client that believes nobody else.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _, stream};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::UnixListener;
use tonic::server::{Grpc, ServerStreamingService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

/// The whole state of a workload, as `workload.proto` numbers it.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct X509SvidResponse {
    #[prost(message, repeated, tag = "1")]
    pub(super) svids: Vec<X509Svid>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub(super) crl: Vec<Vec<u8>>,
    #[prost(map = "string, bytes", tag = "3")]
    pub(super) federated_bundles: HashMap<String, Vec<u8>>,
}

/// An SVID with its key and bundle.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct X509Svid {
    #[prost(string, tag = "1")]
    pub(super) spiffe_id: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) x509_svid: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    pub(super) x509_svid_key: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    pub(super) bundle: Vec<u8>,
    #[prost(string, tag = "5")]
    pub(super) hint: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct X509SvidRequest {}

/// Their source, when it has heard this.
pub(super) async fn source(message: X509SvidResponse) -> spiffe::X509Source {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("agent.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    tokio::spawn(serve(listener, message));
    let endpoint = format!("unix:{}", socket.display());
    let built = spiffe::X509Source::builder().endpoint(endpoint).build();
    let source = tokio::time::timeout(Duration::from_secs(20), built).await.unwrap().unwrap();
    // Their source connects again when its connection breaks, which this one does not: the folder may go.
    drop(folder);
    source
}

async fn serve(listener: UnixListener, message: X509SvidResponse) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let message = message.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let mut grpc = Grpc::new(ProstCodec::<X509SvidResponse, X509SvidRequest>::default());
                let say = Say(message.clone());
                async move { Ok::<_, Infallible>(grpc.server_streaming(say, request).await) }
            });
            let http2 = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            // It ends when the client goes away, in whatever way.
            drop(http2.serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

struct Say(X509SvidResponse);

impl ServerStreamingService<X509SvidRequest> for Say {
    type Response = X509SvidResponse;
    type ResponseStream = Pin<Box<dyn Stream<Item = Result<X509SvidResponse, Status>> + Send>>;
    type Future = Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, _request: Request<X509SvidRequest>) -> Self::Future {
        let said = stream::iter([Ok(self.0.clone())]).chain(stream::pending());
        ready(Ok(Response::new(Box::pin(said))))
    }
}

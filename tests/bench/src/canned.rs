//! Upstreams that cost next to nothing. The one for HTTP/1.1 looks for the end of each request head and answers with the
//! same bytes.

use std::net::SocketAddr;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::UpstreamArgs;

/// 100 bytes of body.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 100\r\n\r\n\
0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789";

const HEAD_END: [u8; 4] = *b"\r\n\r\n";

/// Serves until the process is killed.
pub(crate) fn serve(args: &UpstreamArgs) -> Result<Value, String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    runtime.block_on(async {
        if let Some(address) = args.calls {
            tokio::spawn(accept(bind(address).await?, calls));
        }
        if let Some(address) = args.flood {
            tokio::spawn(accept(bind(address).await?, flood));
        }
        accept(bind(args.address).await?, answer).await
    })
}

async fn bind(address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|error| format!("cannot bind {address}: {error}"))
}

async fn accept<F>(listener: TcpListener, serve: impl Fn(TcpStream) -> F) -> Result<Value, String>
where
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        let (socket, _) = listener.accept().await.map_err(|error| error.to_string())?;
        drop(socket.set_nodelay(true));
        tokio::spawn(serve(socket));
    }
}

/// Bytes without end.
async fn flood(mut socket: TcpStream) {
    let block = vec![b'x'; 64 * 1024];
    while socket.write_all(&block).await.is_ok() {}
}

/// Each call gets one message of 100 bytes.
async fn calls(socket: TcpStream) {
    let service = service_fn(async |request: Request<Incoming>| {
        drop(request.into_body().collect().await);
        let trailers = HeaderMap::from_iter([(GRPC_STATUS, HeaderValue::from_static("0"))]);
        let body = Full::new(message()).with_trailers(std::future::ready(Some(Ok(trailers))));
        Response::builder().header(CONTENT_TYPE, GRPC).body(body)
    });
    let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    drop(builder.serve_connection(TokioIo::new(socket), service).await);
}

/// What gRPC calls are made of.
pub(crate) const GRPC: &str = "application/grpc";

/// How they ended.
pub(crate) const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// A message of 100 bytes with its length in front.
pub(crate) fn message() -> Bytes {
    let mut message = vec![0, 0, 0, 0, 100];
    message.resize(105, b'm');
    Bytes::from(message)
}

async fn answer(mut socket: TcpStream) {
    let mut buffer = [0_u8; 16 * 1024];
    // How much of the end of a head the last bytes were.
    let mut matched = 0;
    while let Ok(count @ 1..) = socket.read(&mut buffer).await {
        let mut heads = 0;
        for byte in buffer.iter().take(count) {
            matched = match HEAD_END.get(matched) {
                Some(wanted) if wanted == byte => matched + 1,
                _ => usize::from(*byte == b'\r'),
            };
            if matched == HEAD_END.len() {
                (heads, matched) = (heads + 1, 0);
            }
        }
        for _ in 0..heads {
            if socket.write_all(ANSWER).await.is_err() {
                return;
            }
        }
    }
}

//! gRPC by hand over HTTP/2: an endpoint that says exactly what it is told to, damaged messages included, and one
//! unary call. None of Postern's own code, so that both sides of a stream cannot share one mistake.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::stream::{self, Stream, StreamExt};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};

/// gRPC status codes.
pub(crate) const INVALID_ARGUMENT: u8 = 3;
pub(crate) const PERMISSION_DENIED: u8 = 7;
pub(crate) const UNIMPLEMENTED: u8 = 12;
pub(crate) const UNAVAILABLE: u8 = 14;

/// What is said on a stream.
#[derive(Clone, Debug)]
pub(crate) enum Said {
    /// A message, as it is encoded.
    Message(Vec<u8>),
    /// The end, with this status.
    End(u8, &'static str),
}

/// A call as it came.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
}

/// What each call is answered with, one script after the other. A script that has no end leaves its stream open; when
/// there is no script left, the endpoint is unavailable.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scripts(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    scripts: HashMap<&'static str, VecDeque<Vec<Said>>>,
    calls: Vec<Call>,
}

impl Scripts {
    pub(crate) fn say(&self, path: &'static str, said: Vec<Said>) {
        self.0.lock().expect("the scripts").scripts.entry(path).or_default().push_back(said);
    }

    /// The calls of this path so far.
    pub(crate) fn calls(&self, path: &str) -> Vec<Call> {
        let state = self.0.lock().expect("the scripts");
        state.calls.iter().filter(|call| call.path == path).cloned().collect()
    }

    fn next(&self, request: &Request<Incoming>) -> Vec<Said> {
        let mut state = self.0.lock().expect("the scripts");
        let path = request.uri().path();
        state.calls.push(Call { path: path.to_owned(), headers: request.headers().clone() });
        let script = state.scripts.get_mut(path).and_then(VecDeque::pop_front);
        script.unwrap_or_else(|| vec![Said::End(UNAVAILABLE, "the script is over")])
    }
}

pub(crate) async fn serve_unix(listener: UnixListener, scripts: Scripts) {
    while let Ok((stream, _)) = listener.accept().await {
        drop(tokio::spawn(connection(stream, scripts.clone())));
    }
}

pub(crate) async fn serve_tcp(listener: TcpListener, scripts: Scripts) {
    while let Ok((stream, _)) = listener.accept().await {
        drop(tokio::spawn(connection(stream, scripts.clone())));
    }
}

async fn connection(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, scripts: Scripts) {
    let service = service_fn(move |request: Request<Incoming>| {
        let said = scripts.next(&request);
        async move { Ok::<_, Infallible>(answer(said)) }
    });
    let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    drop(connection.serve_connection(TokioIo::new(stream), service).await);
}

type Frames = Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, Infallible>> + Send>>;

fn answer(said: Vec<Said>) -> Response<StreamBody<Frames>> {
    let ends = said.iter().any(|said| matches!(said, Said::End(..)));
    let frames = stream::iter(said.into_iter().map(|said| Ok(frame(said))));
    let frames: Frames = if ends { Box::pin(frames) } else { Box::pin(frames.chain(stream::pending())) };
    let mut response = Response::new(StreamBody::new(frames));
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}

fn frame(said: Said) -> Frame<Bytes> {
    match said {
        Said::Message(message) => Frame::data(prefixed(&message)),
        Said::End(code, why) => {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from(u16::from(code)));
            trailers.insert("grpc-message", HeaderValue::from_static(why));
            Frame::trailers(trailers)
        }
    }
}

fn prefixed(message: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(message.len() + 5);
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(message.len()).expect("a short message"));
    bytes.put_slice(message);
    bytes.freeze()
}

/// One call with one message each way over a Unix socket; an answer with another status than 0 is an error.
pub(crate) async fn call(
    socket: &std::path::Path,
    path: &str,
    headers: &[(&'static str, &'static str)],
    message: &[u8],
) -> Result<Bytes, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let stream = UnixStream::connect(socket).await.map_err(|error| text(&error))?;
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.map_err(|error| text(&error))?;
    drop(tokio::spawn(connection));
    let mut request = Request::post(format!("http://localhost{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(prefixed(message))).map_err(|error| text(&error))?;
    let response = sender.send_request(request).await.map_err(|error| text(&error))?;
    let status = |headers: &HeaderMap| {
        let field = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        field("grpc-status").map(|code| (code, field("grpc-message").unwrap_or_default().replace("%20", " ")))
    };
    let early = status(response.headers());
    let body = response.into_body().collect().await.map_err(|error| text(&error))?;
    let late = body.trailers().and_then(status);
    match early.or(late) {
        Some((code, _)) if code == "0" => Ok(body.to_bytes().slice(5..)),
        Some((code, why)) => Err(format!("status {code}: {why}")),
        None => Err("no status".to_owned()),
    }
}

//! A service behind the sidecar: answers with what reached it, over HTTP/1.1 and over HTTP/2 without TLS.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::thread;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// How many requests are remembered; later ones are only counted.
const REMEMBERED_MAX: usize = 1024;

/// The running service; stops when dropped.
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    state: Arc<State>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    count: AtomicUsize,
    seen: Mutex<Vec<Value>>,
}

/// Which protocol the service speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 by prior knowledge.
    H2c,
}

impl Upstream {
    /// Starts an HTTP/1.1 service.
    pub fn start() -> Self {
        Self::start_speaking(Speaks::Http1)
    }

    /// Starts a service that speaks this protocol, on a loopback port of the kernel's choice.
    ///
    /// # Panics
    /// When no port can be bound.
    pub fn start_speaking(protocol: Speaks) -> Self {
        Self::serve(std::net::TcpListener::bind("127.0.0.1:0").expect("a port"), protocol)
    }

    /// Starts an HTTP/1.1 service at this address.
    ///
    /// # Panics
    /// When the address cannot be bound.
    pub fn start_at(address: SocketAddr) -> Self {
        Self::start_speaking_at(Speaks::Http1, address)
    }

    /// Starts a service that speaks this protocol at this address.
    ///
    /// # Panics
    /// When the address cannot be bound.
    pub fn start_speaking_at(protocol: Speaks, address: SocketAddr) -> Self {
        Self::serve(std::net::TcpListener::bind(address).expect("the address is free"), protocol)
    }

    fn serve(listener: std::net::TcpListener, protocol: Speaks) -> Self {
        listener.set_nonblocking(true).expect("a non-blocking listener");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(State::default());
        let (stop, stopped) = oneshot::channel();
        let shared = Arc::clone(&state);
        let thread = thread::Builder::new().name("upstream".to_owned()).spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let serve = async {
                let listener = TcpListener::from_std(listener).expect("a listener");
                tokio::select! { () = accept(listener, protocol, shared) => {}, _ = stopped => {} }
            };
            tokio::task::LocalSet::new().block_on(&runtime, serve);
        });
        Self { address, state, stop: Some(stop), thread: Some(thread.expect("a thread")) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many requests reached it.
    pub fn count(&self) -> usize {
        self.state.count.load(Ordering::SeqCst)
    }

    /// What reached it, oldest first: `{method, path, headers: {name: [value…]}, body}`.
    ///
    /// # Panics
    /// When the service itself panicked.
    pub fn seen(&self) -> Vec<Value> {
        self.state.seen.lock().expect("the service lives").clone()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

async fn accept(listener: TcpListener, protocol: Speaks, state: Arc<State>) {
    loop {
        let Ok((socket, _)) = listener.accept().await else { continue };
        drop(socket.set_nodelay(true));
        let state = Arc::clone(&state);
        tokio::task::spawn_local(async move {
            let service = hyper::service::service_fn(|request| answer(request, Arc::clone(&state)));
            let io = TokioIo::new(socket);
            // A connection that breaks is the peer's affair: what it asked is in `seen`.
            match protocol {
                Speaks::Http1 => {
                    drop(hyper::server::conn::http1::Builder::new().serve_connection(io, service).await)
                }
                Speaks::H2c => {
                    let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    drop(builder.serve_connection(io, service).await);
                }
            }
        });
    }
}

type Body = BoxBody<Bytes, Infallible>;

async fn answer(request: Request<Incoming>, state: Arc<State>) -> Result<Response<Body>, Infallible> {
    state.count.fetch_add(1, Ordering::SeqCst);
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let grpc =
        parts.headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    let seen = json!({
        "method": parts.method.as_str(),
        "path": parts.uri.path_and_query().map_or("", |path| path.as_str()),
        "headers": headers_as_json(&parts.headers),
        "body": String::from_utf8_lossy(&body),
    });
    if let Ok(mut all) = state.seen.lock()
        && all.len() < REMEMBERED_MAX
    {
        all.push(seen.clone());
    }
    Ok(if grpc { grpc_answer(body) } else { json_answer(&seen) })
}

fn json_answer(seen: &Value) -> Response<Body> {
    let text = serde_json::to_vec(seen).unwrap_or_default();
    let mut response = Response::new(Full::new(Bytes::from(text)).boxed());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The message back as it came, and the status where gRPC puts it: in the trailers.
fn grpc_answer(message: Bytes) -> Response<Body> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    trailers.insert("x-upstream-trailer", HeaderValue::from_static("arrived"));
    let body = Frames(VecDeque::from([Frame::data(message), Frame::trailers(trailers)]));
    let mut response = Response::new(body.boxed());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// A body of exactly these frames.
#[derive(Debug)]
struct Frames(VecDeque<Frame<Bytes>>);

impl hyper::body::Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }
}

fn headers_as_json(headers: &HeaderMap) -> Value {
    let mut all = serde_json::Map::new();
    for name in headers.keys() {
        let values: Vec<_> =
            headers.get_all(name).iter().map(|v| String::from_utf8_lossy(v.as_bytes())).collect();
        all.insert(name.as_str().to_owned(), json!(values));
    }
    Value::Object(all)
}

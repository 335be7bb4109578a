//! Bytes served over plain HTTP on loopback, by the OPA bundle protocol as far as a static file goes: an `ETag`, and
//! 304 to who has it already.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// A running server of one document; stops when dropped.
#[derive(Debug)]
pub struct Served {
    address: SocketAddr,
    state: Arc<State>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

#[derive(Debug)]
struct State {
    document: Mutex<(usize, Bytes)>,
    content_type: &'static str,
    asked: AtomicUsize,
}

impl Served {
    /// Serves `document` at every path.
    ///
    /// # Panics
    /// When no port can be bound.
    pub fn start(document: Vec<u8>) -> Self {
        Self::start_as("application/gzip", document)
    }

    /// Serves `document` at every path as of this type.
    ///
    /// # Panics
    /// When no port can be bound.
    pub fn start_as(content_type: &'static str, document: Vec<u8>) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("a non-blocking listener");
        let address = listener.local_addr().expect("an address");
        let document = Mutex::new((1, Bytes::from(document)));
        let state = Arc::new(State { document, content_type, asked: AtomicUsize::new(0) });
        let (stop, stopped) = oneshot::channel();
        let shared = Arc::clone(&state);
        let thread = thread::Builder::new().name("served".to_owned()).spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).expect("a listener");
                tokio::select! { () = accept(listener, shared) => {}, _ = stopped => {} }
            });
        });
        Self { address, state, stop: Some(stop), thread: Some(thread.expect("a thread")) }
    }

    /// Where it is to be had.
    pub fn url(&self) -> String {
        format!("http://{}/bundle.tar.gz", self.address)
    }

    /// How often it was asked for.
    pub fn asked(&self) -> usize {
        self.state.asked.load(Ordering::SeqCst)
    }

    /// Serves another document from now on.
    ///
    /// # Panics
    /// When the server itself panicked.
    pub fn replace(&self, document: Vec<u8>) {
        let mut current = self.state.document.lock().expect("the server lives");
        *current = (current.0 + 1, Bytes::from(document));
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    loop {
        let Ok((socket, _)) = listener.accept().await else { continue };
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let service = hyper::service::service_fn(|request| answer(request, Arc::clone(&state)));
            drop(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(socket), service)
                    .await,
            );
        });
    }
}

async fn answer(request: Request<Incoming>, state: Arc<State>) -> Result<Response<Full<Bytes>>, Infallible> {
    state.asked.fetch_add(1, Ordering::SeqCst);
    let (version, bytes) = state.document.lock().map(|document| document.clone()).unwrap_or_default();
    let tag = format!("\"{version}\"");
    let known = request.headers().get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let mut response = Response::new(Full::new(if known { Bytes::new() } else { bytes }));
    if known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(state.content_type));
    if let Ok(tag) = HeaderValue::try_from(tag) {
        response.headers_mut().insert(ETAG, tag);
    }
    Ok(response)
}

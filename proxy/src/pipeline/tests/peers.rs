//! Both far ends: the callers, and what stands behind the worker.
use super::world::Upstream;
use crate::upstream::{BoxIo, LocalExecutor};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use tokio::io::DuplexStream;

/// An upstream that answers 200 with what it was asked, and remembers it.
pub(super) fn echo(seen: &Rc<RefCell<Vec<Request<Bytes>>>>) -> Upstream {
    let seen = Rc::clone(seen);
    Rc::new(move |_| {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let seen = Rc::clone(&seen);
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let seen = Rc::clone(&seen);
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await?.to_bytes();
                let answer = Bytes::from(format!("{} {}", parts.method, parts.uri));
                seen.borrow_mut().push(Request::from_parts(parts, body));
                Ok::<_, hyper::Error>(Response::new(Full::new(answer)))
            }
        });
        let serving =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(theirs), service);
        drop(tokio::task::spawn_local(serving));
        let stream: BoxIo = Box::new(ours);
        Ok(stream)
    })
}

/// An upstream of which `serve` plays the part, given the number of the connection and its bytes.
pub(super) fn played<F>(serve: impl Fn(usize, DuplexStream) -> F + 'static) -> Upstream
where
    F: Future<Output = ()> + 'static,
{
    Rc::new(move |number| {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        drop(tokio::task::spawn_local(serve(number, theirs)));
        let stream: BoxIo = Box::new(ours);
        Ok(stream)
    })
}

/// An upstream that takes connections and says nothing.
pub(super) fn silent() -> Upstream {
    played(|_, stream| async move {
        let _held = stream;
        std::future::pending::<()>().await;
    })
}

/// An upstream that speaks HTTP/2 without TLS and answers as `answer` does.
pub(super) fn h2c<F, B>(answer: impl Fn(Request<Incoming>) -> F + Clone + 'static) -> Upstream
where
    F: Future<Output = Result<Response<B>, std::io::Error>> + 'static,
    B: http_body::Body<Data = Bytes, Error = std::convert::Infallible> + 'static,
{
    played(move |_, stream| {
        let service = hyper::service::service_fn(answer.clone());
        let builder = hyper::server::conn::http2::Builder::new(LocalExecutor);
        let serving = builder.serve_connection(TokioIo::new(stream), service);
        async move { drop(serving.await) }
    })
}

/// An upstream over HTTP/2 without TLS that answers whole with this status, opens no window and resets nothing; `open`
/// counts the streams that it has in hand.
pub(super) fn hasty(status: u16, open: &Rc<Cell<usize>>) -> Upstream {
    let open = Rc::clone(open);
    played(move |_, stream| {
        let open = Rc::clone(&open);
        async move {
            let mut builder = h2::server::Builder::new();
            builder.initial_window_size(0);
            let mut connection = builder.handshake::<DuplexStream, Bytes>(stream).await.unwrap();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                let open = Rc::clone(&open);
                drop(tokio::task::spawn_local(async move {
                    let _unread = request;
                    open.set(open.get() + 1);
                    let answer = Response::builder().status(status).body(()).unwrap();
                    let mut answer = respond.send_response(answer, true).unwrap();
                    drop(std::future::poll_fn(|cx| answer.poll_reset(cx)).await);
                    open.set(open.get() - 1);
                }));
            }
        }
    })
}

/// An upstream over HTTP/2 without TLS whose answers never end: they say something every twenty seconds.
pub(super) fn endless() -> Upstream {
    h2c(async |_| {
        let parts = futures_util::stream::unfold((), async |()| {
            tokio::time::sleep(std::time::Duration::from_secs(20)).await;
            Some((Ok::<_, std::convert::Infallible>(hyper::body::Frame::data("tick".into())), ()))
        });
        Ok::<_, std::io::Error>(Response::new(http_body_util::StreamBody::new(Box::pin(parts))))
    })
}

/// The far end of the connection, before the handshake.
pub(super) struct Caller {
    pub(super) io: BoxIo,
    pub(super) tls: Arc<rustls::ClientConfig>,
    /// SHA-256 of the certificate that it presents.
    pub(super) certificate_sha256: [u8; 32],
}

/// What an HTTP/2 caller sends.
pub(super) type CallerBody = http_body_util::combinators::BoxBody<Bytes, std::io::Error>;

/// The far end after it, speaking HTTP/1.1 by hand.
pub(super) struct Conversation(pub(super) tokio_rustls::client::TlsStream<BoxIo>);

impl Caller {
    pub(super) async fn shake_hands(self) -> Conversation {
        let name = rustls_pki_types::ServerName::try_from("app.test").unwrap();
        Conversation(tokio_rustls::TlsConnector::from(self.tls).connect(name, self.io).await.unwrap())
    }

    /// Shakes hands and speaks HTTP/2, with windows of 64 KiB a stream: what is not read is soon not sent either.
    pub(super) async fn speak_http2(mut self) -> hyper::client::conn::http2::SendRequest<CallerBody> {
        Arc::make_mut(&mut self.tls).alpn_protocols = vec![b"h2".to_vec()];
        let stream = self.shake_hands().await.0;
        let mut builder = hyper::client::conn::http2::Builder::new(LocalExecutor);
        builder.initial_stream_window_size(64 * 1024).initial_connection_window_size(16 * 1024 * 1024);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
        drop(tokio::task::spawn_local(connection));
        sender
    }

    /// The same without hyper in between.
    pub(super) async fn speak_bare_http2(mut self) -> h2::client::SendRequest<Bytes> {
        Arc::make_mut(&mut self.tls).alpn_protocols = vec![b"h2".to_vec()];
        let stream = self.shake_hands().await.0;
        let (client, connection) = h2::client::handshake(stream).await.unwrap();
        drop(tokio::task::spawn_local(connection));
        client
    }

    /// One request, one answer.
    pub(super) async fn ask(self, request: &str) -> String {
        let mut conversation = self.shake_hands().await;
        conversation.ask(request).await
    }
}

impl Conversation {
    pub(super) async fn say(&mut self, bytes: &str) {
        tokio::io::AsyncWriteExt::write_all(&mut self.0, bytes.as_bytes()).await.unwrap();
        tokio::io::AsyncWriteExt::flush(&mut self.0).await.unwrap();
    }

    /// The same to somebody who may have stopped listening.
    pub(super) async fn try_say(&mut self, bytes: &str) -> std::io::Result<()> {
        tokio::io::AsyncWriteExt::write_all(&mut self.0, bytes.as_bytes()).await?;
        tokio::io::AsyncWriteExt::flush(&mut self.0).await
    }

    /// How many bytes still come before the connection ends.
    pub(super) async fn read_to_end(&mut self) -> usize {
        let (mut total, mut buffer) = (0, [0; 4096]);
        loop {
            match tokio::io::AsyncReadExt::read(&mut self.0, &mut buffer).await {
                Ok(0) | Err(_) => return total,
                Ok(read) => total += read,
            }
        }
    }

    /// Sends a head (`{CRLF}` for each line end is `\n` here) and reads one answer whole.
    pub(super) async fn ask(&mut self, request: &str) -> String {
        self.say(&request.replace('\n', "\r\n")).await;
        self.hear().await
    }

    /// Reads one answer: its head, and its body by its content length.
    pub(super) async fn hear(&mut self) -> String {
        let mut answer = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let text = String::from_utf8_lossy(&answer).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                    return text;
                }
            }
            let read = tokio::io::AsyncReadExt::read(&mut self.0, &mut buffer).await.unwrap_or(0);
            if read == 0 {
                return String::from_utf8(answer).unwrap();
            }
            answer.extend_from_slice(&buffer[..read]);
        }
    }
}

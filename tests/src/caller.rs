//! A caller with a client certificate, over HTTP/1.1 and HTTP/2: plain rustls and hyper, none of Postern's own code,
//! so that both sides of a connection cannot share one mistake.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::client::Resumption;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::authority::Identity;

/// Longest time for one connection or one exchange.
const LIMIT: Duration = Duration::from_secs(20);

/// The protocol to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

impl Version {
    /// Its name in ALPN.
    fn alpn(self) -> &'static [u8] {
        match self {
            Self::Http1 => b"http/1.1",
            Self::Http2 => b"h2",
        }
    }
}

/// A connection whose reads and writes block.
pub type BlockingStream = StreamOwned<ClientConnection, std::net::TcpStream>;

/// Why there was no answer, in words.
pub type Failure = String;

/// Somebody with an identity.
#[derive(Clone, Debug)]
pub struct Caller {
    tls: Arc<ClientConfig>,
}

/// One answer, whole.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// The trailer fields; empty when there were none.
    pub trailers: HeaderMap,
}

impl Answer {
    /// The body as JSON; `null` when it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// A header field's first value; empty when there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The decision's id, which every answer carries.
    pub fn decision_id(&self) -> &str {
        self.header("x-decision-id")
    }
}

/// An open connection.
#[derive(Debug)]
pub struct Connection {
    sender: Sender,
    /// The certificate that the server showed, DER.
    pub server_certificate: Vec<u8>,
}

#[derive(Debug)]
enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Caller {
    /// A caller that presents `identity` and trusts servers that chain to one of `roots` and name `localhost`. It proves
    /// itself anew on every connection.
    ///
    /// # Panics
    /// When the PEM texts hold no certificates or key.
    pub fn new(identity: &Identity, roots: &str) -> Self {
        let chain: Vec<_> = certificates(&identity.certificate_pem);
        let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes()).expect("a private key");
        let mut store = RootCertStore::empty();
        for root in certificates(roots) {
            store.add(root).expect("a root");
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .with_root_certificates(store)
            .with_client_auth_cert(chain, key)
            .expect("a matching key");
        tls.resumption = Resumption::disabled();
        Self { tls: Arc::new(tls) }
    }

    /// The same caller, which keeps the tickets that servers hand out and resumes with them.
    pub fn resuming(&self) -> Self {
        let mut tls = ClientConfig::clone(&self.tls);
        tls.resumption = Resumption::in_memory_sessions(256);
        Self { tls: Arc::new(tls) }
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// When it cannot be made; with TLS 1.3 a server that refuses the client's certificate shows only at the first
    /// request.
    pub async fn connect(&self, address: SocketAddr, version: Version) -> Result<Connection, Failure> {
        let limited = tokio::time::timeout(LIMIT, self.handshake(address, version)).await;
        limited.map_err(|_| "no connection in time".to_owned())?
    }

    /// Opens a connection that carries no HTTP.
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn stream(&self, address: SocketAddr) -> Result<TlsStream<TcpStream>, Failure> {
        self.secured(address, None).await
    }

    /// Opens a connection for this version of HTTP, or for none, and says nothing on it.
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn secured(
        &self,
        address: SocketAddr,
        version: Option<Version>,
    ) -> Result<TlsStream<TcpStream>, Failure> {
        let socket = TcpStream::connect(address).await.map_err(|error| format!("connect: {error}"))?;
        self.secure(socket, version).await
    }

    /// Secures a connection that has been made.
    ///
    /// # Errors
    /// When the handshake fails.
    pub async fn secure(
        &self,
        socket: TcpStream,
        version: Option<Version>,
    ) -> Result<TlsStream<TcpStream>, Failure> {
        drop(socket.set_nodelay(true));
        let mut tls = ClientConfig::clone(&self.tls);
        tls.alpn_protocols = match version {
            None => Vec::new(),
            Some(version) => vec![version.alpn().to_vec()],
        };
        let name = ServerName::try_from("localhost").map_err(|error| error.to_string())?;
        let connected = TlsConnector::from(Arc::new(tls)).connect(name, socket).await;
        connected.map_err(|error| format!("handshake: {error}"))
    }

    async fn handshake(&self, address: SocketAddr, version: Version) -> Result<Connection, Failure> {
        let stream = self.secured(address, Some(version)).await?;
        let server = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let server_certificate = server.map(|certificate| certificate.to_vec()).unwrap_or_default();
        let io = TokioIo::new(stream);
        let sender = match version {
            Version::Http1 => {
                let (sender, connection) =
                    http1::handshake(io).await.map_err(|e| format!("http/1.1: {e}"))?;
                tokio::spawn(async move { drop(connection.await) });
                Sender::Http1(sender)
            }
            Version::Http2 => {
                let begun = http2::handshake(TokioExecutor::new(), io).await;
                let (sender, connection) = begun.map_err(|e| format!("http/2: {e}"))?;
                tokio::spawn(async move { drop(connection.await) });
                Sender::Http2(sender)
            }
        };
        Ok(Connection { sender, server_certificate })
    }

    /// One request on a connection of its own, from a test that is not asynchronous.
    ///
    /// # Errors
    /// When there is no whole answer.
    ///
    /// # Panics
    /// When no runtime can be made.
    pub fn call(
        &self,
        address: SocketAddr,
        version: Version,
        ask: Request<Bytes>,
    ) -> Result<Answer, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut connection = self.connect(address, version).await?;
            connection.send(ask).await
        })
    }

    /// Sends bytes as they are over TLS and takes whatever comes back until the server closes.
    ///
    /// # Errors
    /// When there is no connection, or the server does not close it in time.
    ///
    /// # Panics
    /// When no runtime can be made.
    pub fn raw(&self, address: SocketAddr, bytes: &[u8]) -> Result<String, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let exchange = async {
            let mut stream = self.secured(address, Some(Version::Http1)).await?;
            stream.write_all(bytes).await.map_err(|error| format!("write: {error}"))?;
            let mut answer = Vec::new();
            // A server that has refused may close without a TLS goodbye; what it said before is what counts.
            drop(stream.read_to_end(&mut answer).await);
            Ok(String::from_utf8_lossy(&answer).into_owned())
        };
        let limited = runtime.block_on(async { tokio::time::timeout(LIMIT, exchange).await });
        limited.map_err(|_| "the connection was not closed".to_owned())?
    }

    /// Opens a connection for a test that writes and reads bytes as they are, each when it pleases.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(&self, address: SocketAddr, version: Version) -> Result<BlockingStream, Failure> {
        let socket = std::net::TcpStream::connect(address).map_err(|error| format!("connect: {error}"))?;
        socket.set_read_timeout(Some(LIMIT)).map_err(|error| error.to_string())?;
        let mut tls = ClientConfig::clone(&self.tls);
        tls.alpn_protocols = vec![version.alpn().to_vec()];
        let name = ServerName::try_from("localhost").map_err(|error| error.to_string())?;
        let connection = ClientConnection::new(Arc::new(tls), name).map_err(|error| error.to_string())?;
        let mut stream = StreamOwned::new(connection, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).map_err(|error| format!("handshake: {error}"))?;
        }
        Ok(stream)
    }

    /// A `GET` of `path`, as by [`Caller::call`].
    ///
    /// # Errors
    /// When there is no whole answer.
    pub fn get(&self, address: SocketAddr, version: Version, path: &str) -> Result<Answer, Failure> {
        self.call(address, version, get(path))
    }
}

/// One request without TLS over HTTP/1.1, to a peer that carries it on.
///
/// # Errors
/// When there is no whole answer.
///
/// # Panics
/// When no runtime can be made.
pub fn call_plain(address: SocketAddr, ask: Request<Bytes>) -> Result<Answer, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let socket = TcpStream::connect(address).await.map_err(|error| format!("connect: {error}"))?;
        let (sender, connection) =
            http1::handshake(TokioIo::new(socket)).await.map_err(|e| format!("http/1.1: {e}"))?;
        tokio::spawn(async move { drop(connection.await) });
        Connection { sender: Sender::Http1(sender), server_certificate: Vec::new() }.send(ask).await
    })
}

/// A `GET` without a body.
///
/// # Panics
/// When `path` is no path.
pub fn get(path: &str) -> Request<Bytes> {
    Request::builder().uri(path).body(Bytes::new()).expect("a request")
}

impl Connection {
    /// The same connection for another request at the same time; only HTTP/2 has such.
    pub fn another_stream(&self) -> Option<Self> {
        match &self.sender {
            Sender::Http1(_) => None,
            Sender::Http2(sender) => {
                let sender = Sender::Http2(sender.clone());
                Some(Self { sender, server_certificate: self.server_certificate.clone() })
            }
        }
    }

    /// Whether another request can be sent: whoever was told that the connection ends opens another one.
    pub async fn is_usable(&mut self) -> bool {
        match &mut self.sender {
            Sender::Http1(sender) => sender.ready().await.is_ok(),
            Sender::Http2(sender) => sender.ready().await.is_ok(),
        }
    }

    /// Sends a request whose URI is a path and takes the whole answer.
    ///
    /// # Errors
    /// When there is none.
    pub async fn send(&mut self, ask: Request<Bytes>) -> Result<Answer, Failure> {
        let limited = tokio::time::timeout(LIMIT, self.exchange(ask)).await;
        limited.map_err(|_| "no answer in time".to_owned())?
    }

    async fn exchange(&mut self, ask: Request<Bytes>) -> Result<Answer, Failure> {
        let (mut parts, body) = ask.into_parts();
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let response = match &mut self.sender {
            Sender::Http1(sender) => {
                parts
                    .headers
                    .entry(http::header::HOST)
                    .or_insert(http::HeaderValue::from_static("localhost"));
                sender.ready().await.map_err(|e| format!("not ready: {e}"))?;
                sender.send_request(Request::from_parts(parts, Full::new(body))).await
            }
            Sender::Http2(sender) => {
                parts.uri =
                    format!("https://localhost{path}").parse().map_err(|_| "no such URI".to_owned())?;
                sender.ready().await.map_err(|e| format!("not ready: {e}"))?;
                sender.send_request(Request::from_parts(parts, Full::new(body))).await
            }
        };
        let (head, body) = response.map_err(|e| format!("no response: {}", chain(&e)))?.into_parts();
        let body = body.collect().await.map_err(|e| format!("half a response: {}", chain(&e)))?;
        let trailers = body.trailers().cloned().unwrap_or_default();
        Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes(), trailers })
    }
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

fn certificates(pem: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().expect("certificates")
}

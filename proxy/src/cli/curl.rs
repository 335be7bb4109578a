//! `postern curl`: a call through the demo's sidecar, with an SVID minted for it a moment ago.
use crate::clock::{SystemClock, TlsTime};
use crate::demo::{DemoState, StateError, mint};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use postern_identity::tls::{self, ExpectedPeers, Material};
use postern_identity::{SpiffeId, TrustBundles, X509Svid};
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;

/// Arguments of `curl`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The workload to call as, such as `web` or `payments`
    #[arg(long = "as", value_name = "NAME")]
    name: String,
    /// A header to send, such as `x-tenant: 7`; may be given several times
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// A body to send
    #[arg(short = 'd', long, value_name = "TEXT", default_value = "")]
    data: String,
    /// The method (GET if left out) and the path
    #[arg(required = true, num_args = 1..=2, value_names = ["METHOD", "PATH"])]
    request: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
enum CurlError {
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Mint(#[from] mint::MintError),
    #[error("`{0}` is no method")]
    Method(String),
    #[error("`{0}` is no path: it begins with `/`")]
    Path(String),
    #[error("`{0}` is no header: write `name: value`")]
    Header(String),
    #[error("the sidecar's own id in the demo's state is broken: {0}")]
    Server(String),
    #[error("tls: {0}")]
    Tls(#[from] tls::TlsError),
    #[error("cannot call the sidecar: {0}")]
    Io(#[from] std::io::Error),
    #[error("the sidecar's answer is no HTTP: {0}")]
    Http(#[from] hyper::Error),
    #[error("the answer's body ended early or is too long: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    #[error("no answer within {} s", TIMEOUT.as_secs())]
    Timeout,
}

const TIMEOUT: Duration = Duration::from_secs(10);
const BODY_BYTES_MAX: usize = 1024 * 1024;

pub(super) fn run(args: &Args, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return super::fail(err, &error),
    };
    let calling = async {
        match tokio::time::timeout(TIMEOUT, call(args)).await {
            Ok(answer) => answer,
            Err(_) => Err(CurlError::Timeout),
        }
    };
    match runtime.block_on(calling) {
        Ok(answer) => match show(&answer, out) {
            Ok(()) => 0,
            Err(error) => super::fail(err, &error),
        },
        Err(error) => super::fail(err, &error),
    }
}

async fn call(args: &Args) -> Result<http::Response<Bytes>, CurlError> {
    let request = request(args)?;
    let state = DemoState::read()?;
    let minted = mint::ask(&state.mint_socket, &args.name).await?;
    let server: SpiffeId = state.spiffe_id.parse().map_err(|_| CurlError::Server(state.spiffe_id.clone()))?;
    let material = Minted { svid: Arc::new(minted.svid), trust: Arc::new(minted.trust) };
    let expected = ExpectedPeers::new(vec![server], Vec::new())?;
    let time = Arc::new(TlsTime(Arc::new(SystemClock::new())));
    let config = tls::client_config(Arc::new(material), expected, time)?;
    let stream = TcpStream::connect(state.listener).await?;
    let name = rustls_pki_types::ServerName::IpAddress(state.listener.ip().into());
    let stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let response = sender.send_request(request).await?;
    let (parts, body) = response.into_parts();
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await.map_err(CurlError::Body)?.to_bytes();
    connection.abort();
    Ok(http::Response::from_parts(parts, body))
}

fn request(args: &Args) -> Result<Request<Full<Bytes>>, CurlError> {
    let (method, path) = match args.request.as_slice() {
        [path] => ("GET", path.as_str()),
        [method, path] => (method.as_str(), path.as_str()),
        _ => return Err(CurlError::Path(String::new())),
    };
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| CurlError::Method(method.to_owned()))?;
    if !path.starts_with('/') {
        return Err(CurlError::Path(path.to_owned()));
    }
    let uri: http::Uri = path.parse().map_err(|_| CurlError::Path(path.to_owned()))?;
    let mut request = Request::new(Full::new(Bytes::from(args.data.clone())));
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    request.headers_mut().insert(header::HOST, HeaderValue::from_static("bank.demo.postern"));
    for written in &args.headers {
        let refused = || CurlError::Header(written.clone());
        let (name, value) = written.split_once(':').ok_or_else(refused)?;
        let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| refused())?;
        request.headers_mut().append(name, HeaderValue::from_str(value.trim()).map_err(|_| refused())?);
    }
    Ok(request)
}

fn show(answer: &http::Response<Bytes>, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "{:?} {}", answer.version(), answer.status())?;
    for (name, value) in answer.headers() {
        writeln!(out, "{name}: {}", value.to_str().unwrap_or("(not text)"))?;
    }
    writeln!(out)?;
    out.write_all(answer.body())?;
    if answer.body().last().is_some_and(|last| *last != b'\n') {
        writeln!(out)?;
    }
    Ok(())
}

#[derive(Debug)]
struct Minted {
    svid: Arc<X509Svid>,
    trust: Arc<TrustBundles>,
}

impl Material for Minted {
    fn trust(&self) -> Arc<TrustBundles> {
        Arc::clone(&self.trust)
    }

    fn svid(&self) -> Option<Arc<X509Svid>> {
        Some(Arc::clone(&self.svid))
    }
}

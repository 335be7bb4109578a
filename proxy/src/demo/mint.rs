//! Mints SVIDs for `postern curl --as NAME`: one short HTTP exchange on a Unix socket of the demo's owner.
use super::ca::Ca;
use crate::clock::Clock;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use postern_identity::{TrustBundle, TrustBundles, TrustDomain, X509Svid};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};

/// How long a minted SVID lasts: long enough for one call.
const TTL: Duration = Duration::from_secs(300);
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// A fresh identity of the demo's trust domain, and whom to believe.
#[derive(Debug)]
pub struct Minted {
    /// The identity.
    pub svid: X509Svid,
    /// The demo's own bundle.
    pub trust: TrustBundles,
}

/// Why nothing was minted.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// Nobody listens.
    #[error("the demo at `{0}` does not answer: it has ended, start it again with `postern demo`")]
    Gone(String),
    /// The demo said no.
    #[error("`{0}` is no workload name: use letters, digits, `-` and `_`")]
    Name(String),
    /// The answer is not what a demo answers.
    #[error("the demo's answer cannot be used: {0}")]
    Answer(String),
}

#[derive(Serialize, Deserialize)]
struct Wire {
    trust_domain: String,
    chain_pem: String,
    key_pem: String,
    bundle_pem: String,
}

/// Answers `GET /NAME` on the socket until the runtime ends.
pub async fn serve(socket: UnixListener, ca: Arc<Ca>, clock: Arc<dyn Clock>) {
    loop {
        let Ok((stream, _)) = socket.accept().await else { continue };
        let (ca, clock) = (Arc::clone(&ca), Arc::clone(&clock));
        let service = service_fn(move |request: Request<Incoming>| {
            let answer = answer(&ca, &*clock, request.uri().path());
            async move { Ok::<_, Infallible>(answer) }
        });
        let connection =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        drop(tokio::spawn(connection));
    }
}

fn answer(ca: &Ca, clock: &dyn Clock, path: &str) -> Response<Full<Bytes>> {
    let name = path.trim_start_matches('/');
    let minted = is_name(name).then(|| mint(ca, clock, name)).flatten();
    let (status, body) = match minted {
        Some(body) => (StatusCode::OK, body),
        None => (StatusCode::BAD_REQUEST, Vec::new()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
}

fn mint(ca: &Ca, clock: &dyn Clock, name: &str) -> Option<Vec<u8>> {
    let id = format!("spiffe://{}/{name}", ca.trust_domain()).parse().ok()?;
    let issued = ca.issue(&id, TTL, clock.unix_time()).ok()?;
    let wire = Wire {
        trust_domain: ca.trust_domain().to_string(),
        chain_pem: issued.chain_pem(),
        key_pem: issued.key_pem(),
        bundle_pem: ca.bundle_pem(),
    };
    serde_json::to_vec(&wire).ok()
}

fn is_name(name: &str) -> bool {
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !name.is_empty() && name.len() <= 64 && name.bytes().all(is_fine)
}

/// Asks a running demo for an identity of that name.
pub async fn ask(socket: &Path, name: &str) -> Result<Minted, MintError> {
    if !is_name(name) {
        return Err(MintError::Name(name.to_owned()));
    }
    let gone = |_| MintError::Gone(socket.display().to_string());
    let stream = UnixStream::connect(socket).await.map_err(gone)?;
    let odd = |error: &dyn std::fmt::Display| MintError::Answer(error.to_string());
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| odd(&error))?;
    let connection = tokio::spawn(connection);
    let request =
        Request::builder().uri(format!("/{name}")).header("host", "mint").body(Full::<Bytes>::default());
    let request = request.map_err(|error| odd(&error))?;
    let response = sender.send_request(request).await.map_err(|error| odd(&error))?;
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
    connection.abort();
    read(&body.map_err(|error| odd(&error))?.to_bytes())
}

fn read(body: &[u8]) -> Result<Minted, MintError> {
    let odd = |error: &dyn std::fmt::Display| MintError::Answer(error.to_string());
    let wire: Wire = serde_json::from_slice(body).map_err(|error| odd(&error))?;
    let trust_domain: TrustDomain = wire.trust_domain.parse().map_err(|error| odd(&error))?;
    let svid = X509Svid::from_pem(wire.chain_pem.as_bytes(), wire.key_pem.as_bytes())
        .map_err(|error| odd(&error))?;
    let bundle =
        TrustBundle::from_pem(trust_domain, wire.bundle_pem.as_bytes()).map_err(|error| odd(&error))?;
    let mut trust = TrustBundles::default();
    trust.insert(bundle);
    Ok(Minted { svid, trust })
}

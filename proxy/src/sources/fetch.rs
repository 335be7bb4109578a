//! One bounded HTTP(S) GET for the control plane: policy bundles, key sets.
//!
//! Built on hyper and tokio-rustls, which the data plane carries anyway. It follows no redirect, keeps
//! no cookie, reads no proxy variable and reuses no connection: each of those is a way for somebody
//! else to choose where the answer comes from. Everything runs inside the future that is awaited, on
//! whatever tokio runtime polls it; dropping it closes the socket.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Request, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Incoming};
use hyper_util::rt::TokioIo;
use rustls::RootCertStore;
use rustls::time_provider::TimeProvider;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::config::url::{ControlUrl, Scheme, UrlError};
use crate::config::{Plaintext, TrustRoots};
use crate::own_mark;

#[cfg(test)]
mod tests;

/// For one address to answer; several addresses of one name are tried one after the other.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 4;
/// All header fields of an answer, in bytes. hyper's own buffer limit; its smallest is 8 KiB.
const ANSWER_HEADER_BYTES_MAX: usize = 64 * 1024;
/// Header fields of an answer.
const ANSWER_HEADERS_MAX: usize = 64;
/// A file with trust roots, in bytes.
const ROOTS_FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Fetches from servers that chain to one set of roots. Cheap to keep, dear to make: it reads files.
#[derive(Clone)]
pub struct Fetcher {
    tls: TlsConnector,
    plaintext: Plaintext,
}

impl std::fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetcher").field("plaintext", &self.plaintext).finish_non_exhaustive()
    }
}

/// A whole answer. Its status is not judged: 304 and 404 are answers too.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// HTTP status, 200 to 999.
    pub status: u16,
    /// Header fields as they came.
    pub headers: HeaderMap,
    /// The body, at most as long as asked for. Content codings are not undone, and none is offered.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum FetchError {
    /// The URL cannot be followed.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// `http://` to somewhere else than a loopback address.
    #[error(
        "`{url}` is plain http to an address beyond loopback: use https, or set `plaintext: any_address`"
    )]
    Plaintext {
        /// Without its query.
        url: String,
    },
    /// A request header that the caller made up.
    #[error("request header `{name}` is not valid")]
    RequestHeader {
        /// Its name.
        name: String,
    },
    /// A file with trust roots cannot be read.
    #[error("cannot read trust roots `{path}`: {error}")]
    RootsFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// A file with trust roots holds something else.
    #[error("trust roots `{path}`: {reason}")]
    RootsContent {
        /// The file.
        path: PathBuf,
        /// What it holds.
        reason: String,
    },
    /// The machine has no roots.
    #[error(
        "this machine has no trust roots ({reason}): install ca-certificates, or name `trust_roots: {{ files: […] }}`"
    )]
    NoSystemRoots {
        /// What the search said.
        reason: String,
    },
    /// TLS cannot be set up at all.
    #[error("tls cannot be set up: {0}")]
    TlsSetup(#[source] rustls::Error),
    /// The name has no address.
    #[error("cannot resolve `{host}`: {error}")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver said.
        #[source]
        error: io::Error,
    },
    /// No address takes a connection.
    #[error("cannot connect to `{address}`: {error}")]
    Connect {
        /// The last address tried.
        address: SocketAddr,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// The server did not prove who it is.
    #[error("tls with `{host}` failed: {error}")]
    Tls {
        /// Its name.
        host: String,
        /// What rustls said.
        #[source]
        error: io::Error,
    },
    /// The server does not speak HTTP as it should, or hung up.
    #[error("`{url}` broke off: {error}")]
    Http {
        /// Without its query.
        url: String,
        /// What hyper said.
        #[source]
        error: hyper::Error,
    },
    /// The answer is longer than asked for.
    #[error("`{url}` answered with more than {bytes_max} bytes")]
    TooLarge {
        /// Without its query.
        url: String,
        /// The limit.
        bytes_max: usize,
    },
    /// The whole fetch took too long.
    #[error("`{url}` did not answer within {timeout:?}")]
    Timeout {
        /// Without its query.
        url: String,
        /// The limit.
        timeout: Duration,
    },
}

/// TLS towards servers of the control plane: they prove a DNS name under one of the roots, and nothing is
/// resumed. Blocks for the time it takes to read the roots.
///
/// # Errors
/// When roots cannot be read, hold no certificate, or there are none.
pub fn client_config(
    roots: &TrustRoots,
    time: Arc<dyn TimeProvider>,
) -> Result<rustls::ClientConfig, FetchError> {
    let store = match roots {
        TrustRoots::System => system_roots()?,
        TrustRoots::Files(paths) => file_roots(paths)?,
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_details(provider, time)
        .with_safe_default_protocol_versions()
        .map_err(FetchError::TlsSetup)?
        .with_root_certificates(store)
        .with_no_client_auth();
    // A resumed session would keep a server trusted whose root was taken away.
    config.resumption = rustls::client::Resumption::disabled();
    if postern_identity::tls::IS_FIPS && !config.fips() {
        let what = "this build is to use the FIPS module of AWS-LC, and what was linked is another one";
        return Err(FetchError::TlsSetup(rustls::Error::General(what.to_owned())));
    }
    Ok(config)
}

impl Fetcher {
    /// Prepares TLS. Blocks for the time it takes to read the roots.
    ///
    /// # Errors
    /// When roots cannot be read, hold no certificate, or there are none.
    pub fn new(
        roots: &TrustRoots,
        plaintext: Plaintext,
        time: Arc<dyn TimeProvider>,
    ) -> Result<Fetcher, FetchError> {
        let mut config = client_config(roots, time)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Fetcher { tls: TlsConnector::from(Arc::new(config)), plaintext })
    }

    /// With TLS of the caller's making.
    #[must_use]
    pub fn over(mut tls: rustls::ClientConfig) -> Fetcher {
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Fetcher { tls: TlsConnector::from(Arc::new(tls)), plaintext: Plaintext::LoopbackOnly }
    }

    /// One GET. `timeout` bounds everything from the name to the last byte of the body.
    ///
    /// # Errors
    /// Everything but a whole answer within both limits.
    pub async fn get(
        &self,
        url: &str,
        request_headers: &[(&str, &str)],
        body_bytes_max: usize,
        timeout: Duration,
    ) -> Result<Fetched, FetchError> {
        let url = ControlUrl::parse(url)?;
        let request = request(&url, request_headers)?;
        let fetch = Box::pin(self.fetch(&url, request, body_bytes_max));
        match tokio::time::timeout(timeout, fetch).await {
            Ok(fetched) => fetched,
            Err(_elapsed) => Err(FetchError::Timeout { url: url.redacted(), timeout }),
        }
    }

    async fn fetch(
        &self,
        url: &ControlUrl,
        request: Request<Empty<Bytes>>,
        body_bytes_max: usize,
    ) -> Result<Fetched, FetchError> {
        let addresses = self.addresses(url).await?;
        let socket = connect(&addresses).await?;
        match url.scheme {
            Scheme::Http => exchange(socket, url, request, body_bytes_max).await,
            Scheme::Https => {
                let tls_error = |error| FetchError::Tls { host: url.host.clone(), error };
                let name = ServerName::try_from(url.host.clone())
                    .map_err(|error| tls_error(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
                let stream = self.tls.connect(name, socket).await.map_err(tls_error)?;
                exchange(stream, url, request, body_bytes_max).await
            }
        }
    }

    /// The addresses to try. Judged after the name is resolved: a name can be made to lead anywhere.
    async fn addresses(&self, url: &ControlUrl) -> Result<Vec<SocketAddr>, FetchError> {
        let mut addresses: Vec<SocketAddr> = tokio::net::lookup_host((url.host.as_str(), url.port))
            .await
            .map_err(|error| FetchError::Resolve { host: url.host.clone(), error })?
            .collect();
        if url.scheme == Scheme::Http && self.plaintext == Plaintext::LoopbackOnly {
            addresses.retain(|address| address.ip().is_loopback());
            if addresses.is_empty() {
                return Err(FetchError::Plaintext { url: url.redacted() });
            }
        }
        addresses.truncate(ADDRESSES_MAX);
        Ok(addresses)
    }
}

fn request(url: &ControlUrl, headers: &[(&str, &str)]) -> Result<Request<Empty<Bytes>>, FetchError> {
    let invalid = |name: &str| FetchError::RequestHeader { name: name.to_owned() };
    let mut request = Request::new(Empty::new());
    *request.uri_mut() =
        url.path_and_query.parse().map_err(|_| UrlError::NotAbsolute { url: url.redacted() })?;
    let host = HeaderValue::from_str(url.authority()).map_err(|_| invalid("host"))?;
    request.headers_mut().insert(header::HOST, host);
    let agent = HeaderValue::from_static(concat!("postern/", env!("CARGO_PKG_VERSION")));
    request.headers_mut().insert(header::USER_AGENT, agent);
    for (name, value) in headers {
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid(name))?;
        let value = HeaderValue::from_str(value).map_err(|_| invalid(name))?;
        request.headers_mut().append(header, value);
    }
    Ok(request)
}

async fn connect(addresses: &[SocketAddr]) -> Result<TcpStream, FetchError> {
    let mut last = (
        SocketAddr::from(([0, 0, 0, 0], 0)),
        io::Error::new(io::ErrorKind::NotFound, "the name has no address"),
    );
    for address in addresses {
        match tokio::time::timeout(CONNECT_TIMEOUT, own_mark::connect(*address)).await {
            Ok(Ok(socket)) => return Ok(socket),
            Ok(Err(error)) => last = (*address, error),
            Err(_elapsed) => last = (*address, io::ErrorKind::TimedOut.into()),
        }
    }
    Err(FetchError::Connect { address: last.0, error: last.1 })
}

async fn exchange<S>(
    stream: S,
    url: &ControlUrl,
    request: Request<Empty<Bytes>>,
    body_bytes_max: usize,
) -> Result<Fetched, FetchError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let http_error = |error| FetchError::Http { url: url.redacted(), error };
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(ANSWER_HEADER_BYTES_MAX)
        .max_headers(ANSWER_HEADERS_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(http_error)?;
    let mut connection = std::pin::pin!(connection);
    let mut answer = std::pin::pin!(async move {
        let response = sender.send_request(request).await.map_err(http_error)?;
        let (parts, body) = response.into_parts();
        let body = read(body, url, body_bytes_max).await?;
        Ok(Fetched { status: parts.status.as_u16(), headers: parts.headers, body })
    });
    // The connection does the reading and writing; when it is done first, what it read is still there.
    tokio::select! {
        biased;
        fetched = &mut answer => fetched,
        _ended = &mut connection => answer.await,
    }
}

async fn read(mut body: Incoming, url: &ControlUrl, bytes_max: usize) -> Result<Bytes, FetchError> {
    let too_large = || FetchError::TooLarge { url: url.redacted(), bytes_max };
    if usize::try_from(body.size_hint().lower()).map_or(true, |announced| announced > bytes_max) {
        return Err(too_large());
    }
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| FetchError::Http { url: url.redacted(), error })?;
        let Ok(data) = frame.into_data() else { continue };
        if data.len() > bytes_max.saturating_sub(bytes.len()) {
            return Err(too_large());
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.freeze())
}

fn system_roots() -> Result<RootCertStore, FetchError> {
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    // Machines carry roots that no verifier can use; they are left out, as every client does.
    store.add_parsable_certificates(found.certs);
    if store.is_empty() {
        let reason = found.errors.first().map_or("none found".to_owned(), ToString::to_string);
        return Err(FetchError::NoSystemRoots { reason });
    }
    Ok(store)
}

fn file_roots(paths: &[PathBuf]) -> Result<RootCertStore, FetchError> {
    let mut store = RootCertStore::empty();
    for path in paths {
        let content = |reason: String| FetchError::RootsContent { path: path.clone(), reason };
        let pem = read_bounded(path).map_err(|error| FetchError::RootsFile { path: path.clone(), error })?;
        let before = store.len();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|error| content(error.to_string()))?;
            store.add(certificate).map_err(|error| content(error.to_string()))?;
        }
        if store.len() == before {
            return Err(content("holds no certificate in PEM".to_owned()));
        }
    }
    Ok(store)
}

fn read_bounded(path: &std::path::Path) -> io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(ROOTS_FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > ROOTS_FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 4 MiB"));
    }
    Ok(bytes)
}

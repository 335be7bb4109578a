//! The connection to the OTLP receiver: TCP, and our own TLS on it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tower_service::Service;

use crate::own_mark;

/// How the receiver is reached.
#[derive(Clone, Debug)]
pub enum Transport {
    /// Over bare TCP, for `http` URLs.
    Plaintext,
    /// Over TLS by these rules, for `https` URLs. ALPN is set to `h2`, which gRPC demands.
    Tls(Arc<ClientConfig>),
}

/// Makes one connection a call; tonic calls again when it is lost.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    tls: Option<Arc<ClientConfig>>,
}

pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Connector {
    pub(super) fn new(transport: Transport) -> Self {
        let tls = match transport {
            Transport::Plaintext => None,
            Transport::Tls(config) => {
                let mut config = Arc::unwrap_or_clone(config);
                config.alpn_protocols = vec![b"h2".to_vec()];
                Some(Arc::new(config))
            }
        };
        Self { tls }
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Box<dyn Stream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let tls = self.tls.clone();
        Box::pin(async move { connect(&uri, tls).await.map(TokioIo::new) })
    }
}

async fn connect(uri: &Uri, tls: Option<Arc<ClientConfig>>) -> io::Result<Box<dyn Stream>> {
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let port = uri.port_u16().unwrap_or(if tls.is_some() { 443 } else { 80 });
    let stream = own_mark::connect_to(host, port).await?;
    stream.set_nodelay(true)?;
    let Some(config) = tls else { return Ok(Box::new(stream)) };
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    Ok(Box::new(TlsConnector::from(config).connect(name, stream).await?))
}

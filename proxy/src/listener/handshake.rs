//! Step 2: a byte stream becomes a TLS stream and a [`Peer`], or nothing at all.
use super::caller_io::CallerIo;
use super::permissive::{Beginning, PlaintextPlace, begin};
use super::{Accepted, AcceptedIo, Callers, Handshake, Listener, local, proxy_header};
use crate::config::ListenerProtocol;
use crate::pipeline::{Begun, Refusal};
use crate::presence::Attended;
use crate::upstream::BoxIo;
use crate::worker::Worker;
use postern_audit::Remote;
use postern_identity::tls::ServerTls;
use postern_identity::{Peer, X509Svid};
use rustls_pki_types::CertificateDer;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

/// A finished handshake.
pub(super) struct Secured {
    pub(super) stream: CallerIo,
    pub(super) shown: Shows,
    /// What we presented, or would have.
    pub(super) own: Arc<X509Svid>,
    pub(super) sni: Option<String>,
    pub(super) protocol: Protocol,
    /// Who the connection is from, by the word of a load balancer.
    pub(super) announced: Option<SocketAddr>,
    /// That address's place among the handshakes.
    pub(super) handshake: Option<Handshake>,
    /// Its place among those in plain text, where it is one.
    pub(super) plaintext: Option<PlaintextPlace>,
}

/// What a caller shows of itself.
pub(super) enum Shows {
    /// Which workload it is.
    Workload {
        peer: Arc<Peer>,
        chain: Vec<CertificateDer<'static>>,
        /// The trust generation that the chain was judged by, where it is still in force.
        trust_generation: Option<u64>,
    },
    /// Nothing: it came in plain text.
    Nothing,
}

/// Nobody is proven.
#[derive(Debug)]
pub(super) struct NotSecured {
    pub(super) refusal: Refusal,
    /// Who the connection is from, by the word of a load balancer, where it has said so by then.
    pub(super) announced: Option<SocketAddr>,
}

impl From<Refusal> for NotSecured {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, announced: None }
    }
}

/// What the caller speaks inside TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// HTTP/1.1, also where no protocol was negotiated.
    Http1,
    /// HTTP/2.
    Http2,
    /// Bytes that are nobody's business here.
    Tcp,
}

/// Learns who calls on an accepted connection, within the listener's time.
pub(super) async fn secure(
    (io, source, original): (AcceptedIo, Remote, Option<SocketAddr>),
    listener: &Arc<Listener>,
    worker: &Worker,
) -> Result<Secured, NotSecured> {
    let tls = match &listener.callers {
        Callers::Local => return Ok(local::take((io, original), listener, worker).await?),
        Callers::Mutual(tls) => tls,
    };
    let mut io = into_stream(io).map_err(|_| Refusal::TlsClosed)?;
    let deadline = Instant::now() + listener.limits.handshake_timeout;
    if listener.proxy_protocol.is_empty() {
        return Ok(open((io, deadline), tls, (listener, worker)).await?);
    }
    // Load balancers are named by their addresses, and are on the network.
    let source = source.address().ok_or(Refusal::ConnProxyProtocol)?;
    let reading = proxy_header::read(&mut io, source, &listener.proxy_protocol);
    let announced = match tokio::time::timeout_at(deadline, reading).await {
        Ok(announced) => announced?,
        Err(_) => return Err(Refusal::ConnHandshakeTimeout.into()),
    };
    let source = Some(announced.source);
    let failed = |refusal| NotSecured { refusal, announced: source };
    let handshake = Handshake::begin(listener, announced.source);
    let handshake = Some(handshake.ok_or_else(|| failed(Refusal::ConnHandshakes))?);
    let io: BoxIo = Box::new(Begun::new(announced.seen, io));
    let secured = open((io, deadline), tls, (listener, worker)).await.map_err(failed)?;
    Ok(Secured { announced: source, handshake, ..secured })
}

/// Shakes hands, or takes plain text where the listener does.
async fn open(
    (mut io, deadline): (BoxIo, Instant),
    tls: &ServerTls,
    (listener, worker): (&Arc<Listener>, &Worker),
) -> Result<Secured, Refusal> {
    let Some(terms) = listener.permissive.terms() else {
        return shake_hands((io, deadline), tls, (listener, worker)).await;
    };
    let now_s = || worker.clock.unix_time().as_secs();
    match begin(&mut io, (listener, terms), deadline, now_s).await? {
        Beginning::Tls(seen) => {
            let io: BoxIo = Box::new(Begun::new(seen, io));
            shake_hands((io, deadline), tls, (listener, worker)).await
        }
        Beginning::Plain(protocol, seen) => Ok(Secured {
            stream: CallerIo::Plain(Begun::new(seen, io)),
            plaintext: Some(PlaintextPlace::take(listener).ok_or(Refusal::ConnLimit)?),
            shown: Shows::Nothing,
            // Who calls in plain text is served no longer than others would be.
            own: worker.snapshots.pin().svid.clone().ok_or(Refusal::TlsOwnIdentity)?,
            sni: None,
            protocol,
            announced: None,
            handshake: None,
        }),
    }
}

async fn shake_hands(
    (io, deadline): (BoxIo, Instant),
    tls: &ServerTls,
    (listener, worker): (&Listener, &Worker),
) -> Result<Secured, Refusal> {
    let (mut config, proven) = tls.connection();
    if listener.protocol == ListenerProtocol::Tcp {
        config.alpn_protocols.clear();
    }
    let accepting = TlsAcceptor::from(Arc::new(config)).accept(io);
    let stream = match tokio::time::timeout_at(deadline, accepting).await {
        Err(_) => return Err(Refusal::ConnHandshakeTimeout),
        Ok(Err(error)) => return Err(reason(&error)),
        Ok(Ok(stream)) => stream,
    };
    let (_, session) = stream.get_ref();
    let sni = session.server_name().map(str::to_owned);
    let protocol = match (listener.protocol, session.alpn_protocol()) {
        (ListenerProtocol::Tcp, _) => Protocol::Tcp,
        (ListenerProtocol::Http | ListenerProtocol::Detect, Some(b"h2")) => Protocol::Http2,
        (ListenerProtocol::Http | ListenerProtocol::Detect, Some(_) | None) => Protocol::Http1,
    };
    let chain: Vec<_> =
        session.peer_certificates().unwrap_or_default().iter().map(|c| c.clone().into_owned()).collect();
    let proof = proven.peer(&chain, worker.clock.unix_time());
    let (peer, proven_by) =
        proof.map_err(|error| Refusal::from_code(error.code()).unwrap_or(Refusal::TlsProtocol))?;
    // Bundles may have changed in this very moment: the first request then judges the chain again.
    let trust = &worker.snapshots.pin().trust;
    let trust_generation = Arc::ptr_eq(&proven_by, &trust.bundles).then_some(trust.generation);
    let own = Arc::clone(proven.own().ok_or(Refusal::TlsOwnIdentity)?);
    let stream = CallerIo::Tls(Box::new(stream));
    let shown = Shows::Workload { peer, chain, trust_generation };
    let (announced, handshake, plaintext) = (None, None, None);
    Ok(Secured { stream, shown, own, sni, protocol, announced, handshake, plaintext })
}

pub(super) fn into_stream(io: AcceptedIo) -> io::Result<BoxIo> {
    match io {
        AcceptedIo::Tcp(stream) => Ok(Box::new(Attended::new(TcpStream::from_std(stream)?))),
        AcceptedIo::Unix(stream) => Ok(Box::new(UnixStream::from_std(stream)?)),
        AcceptedIo::Stream(stream) => Ok(stream),
    }
}

/// Why a handshake failed, as far as this side can tell.
fn reason(error: &io::Error) -> Refusal {
    Refusal::from_code(postern_identity::tls::code(error)).unwrap_or(Refusal::TlsProtocol)
}

impl std::fmt::Debug for Secured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let peer = match &self.shown {
            Shows::Workload { peer, .. } => Some(&peer.spiffe_id),
            Shows::Nothing => None,
        };
        f.debug_struct("Secured").field("peer", &peer).finish_non_exhaustive()
    }
}

impl Accepted {
    /// The listener that it came in by.
    pub(crate) fn listener(&self) -> &Arc<Listener> {
        self.place.listener()
    }
}

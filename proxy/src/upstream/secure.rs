//! TLS to an upstream: we present our SVID, and the server proves an identity that is expected of it.
use super::connect::BoxIo;
use super::target::{Protocol, Target};
use crate::clock::{Clock, TlsTime};
use crate::pipeline::Refusal;
use crate::standing::{Standing, Standings};
use crate::state::{Shared, Snapshot};
use postern_identity::tls::{self, ExpectedPeers};
use postern_identity::{Role, UnixTime, VerifyError, verify_chain};
use rustls_pki_types::ServerName;
use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use tokio_rustls::TlsConnector;

/// What an upstream has to prove. Two upstreams never share a connection, whatever they expect; one that expects the
/// same after a reload keeps its own.
#[derive(Debug, PartialEq, Eq)]
pub struct Security {
    /// Who may answer.
    pub expected: ExpectedPeers,
    /// The name that is asked for (SNI); it plays no part in who may answer.
    pub server_name: Option<ServerName<'static>>,
}

/// Whose connections are in a list of the pool.
#[derive(Clone, Debug)]
pub(super) struct Owner {
    endpoint: SocketAddr,
    /// Held weakly: its place is not given to another one.
    security: Option<Weak<Security>>,
}

impl Owner {
    pub(super) fn of(target: &Target) -> Self {
        Self { endpoint: target.endpoint, security: target.security.as_ref().map(Arc::downgrade) }
    }

    pub(super) fn place(&self) -> Option<usize> {
        self.security.as_ref().map(|security| security.as_ptr().addr())
    }
}

impl PartialEq for Owner {
    fn eq(&self, other: &Self) -> bool {
        self.endpoint == other.endpoint && self.place() == other.place()
    }
}

impl Eq for Owner {}

impl Hash for Owner {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.endpoint.hash(state);
        self.place().hash(state);
    }
}

/// What shows that a connection leads to whom it should.
#[derive(Debug)]
pub(crate) struct Proof {
    standing: Arc<Standing>,
    /// Who it is.
    server: Arc<str>,
    /// The server's SVID and ours are both valid until then.
    not_after: UnixTime,
}

impl Proof {
    /// The SPIFFE ID that the server has proven.
    pub(crate) fn server(&self) -> &Arc<str> {
        &self.server
    }

    /// Whether it still does.
    pub(crate) fn check(&self, snapshot: &Snapshot, now: UnixTime) -> Result<(), Invalid> {
        if now > self.not_after || snapshot.svid.is_none() {
            return Err(Invalid::Expired);
        }
        match self.standing.check(&snapshot.trust, now) {
            Ok(()) => Ok(()),
            Err(Refusal::PeerExpired) => Err(Invalid::Expired),
            Err(Refusal::PeerRevocationUnknown) => Err(Invalid::RevocationUnknown),
            Err(_) => Err(Invalid::Distrusted),
        }
    }
}

/// Why a proof holds no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Invalid {
    /// An SVID of either side has expired, or ours was withdrawn.
    Expired,
    /// The bundles in force do not vouch for the server any more.
    Distrusted,
    /// No list in force shows any longer that the server has not been revoked.
    RevocationUnknown,
}

/// What a worker makes secure connections with.
pub struct Originator {
    shared: Shared,
    clock: Arc<dyn Clock>,
    standings: Standings,
    /// Made once for each upstream: a configuration of the TLS library is not small.
    configs: RefCell<HashMap<usize, Made>>,
}

/// A configuration, and the upstream that it is for: by its place, which is not given to another one meanwhile.
type Made = (Weak<Security>, Arc<rustls::ClientConfig>);

impl std::fmt::Debug for Originator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Originator")
    }
}

impl Originator {
    /// Presents the SVID in force, and believes whom the bundles in force vouch for.
    pub fn new(shared: Shared, clock: Arc<dyn Clock>, standings: Standings) -> Self {
        Self { shared, clock, standings, configs: RefCell::default() }
    }

    /// Secures a byte stream. The caller bounds the time.
    pub(super) async fn secure(
        &self,
        io: BoxIo,
        security: &Arc<Security>,
        (endpoint, protocol): (SocketAddr, Protocol),
    ) -> Result<(BoxIo, Proof), Refusal> {
        let config = self.config(security, protocol)?;
        // Ours may be replaced meanwhile, but only by one that lives longer.
        let own = self.shared.load().svid.clone().ok_or(Refusal::UpstreamTls)?;
        let name =
            security.server_name.clone().unwrap_or_else(|| ServerName::IpAddress(endpoint.ip().into()));
        let stream = match TlsConnector::from(config).connect(name, io).await {
            Ok(stream) => stream,
            Err(error) => return Err(refused(endpoint, &error)),
        };
        let (_, session) = stream.get_ref();
        let is_agreed = match protocol {
            Protocol::Http1 => session.alpn_protocol().is_none_or(|agreed| agreed == b"http/1.1"),
            Protocol::H2 | Protocol::H2c => session.alpn_protocol() == Some(b"h2"),
            Protocol::Tcp => true,
        };
        if !is_agreed {
            let agreed = session.alpn_protocol().map(String::from_utf8_lossy);
            tracing::warn!(%endpoint, ?agreed, "an upstream does not speak the configured protocol (ALPN)");
            return Err(Refusal::UpstreamTls);
        }
        let chain: Vec<_> =
            session.peer_certificates().unwrap_or_default().iter().map(|c| c.clone().into_owned()).collect();
        // Judged once more by what is in force now, so that it is known by what it was judged.
        let snapshot = self.shared.load();
        let peer = verify_chain(&chain, &snapshot.trust.bundles, Role::Server, self.clock.unix_time())
            .map_err(|error| unproven(&error))?;
        let standing = self.standings.enter((chain, Role::Server), &peer, Some(snapshot.trust.generation));
        let not_after = peer.not_after.min(own.not_after());
        let server = Arc::from(peer.spiffe_id.as_str());
        Ok((Box::new(stream), Proof { standing, server, not_after }))
    }

    /// Forgets upstreams that are no more.
    pub(super) fn sweep(&self) {
        self.configs.borrow_mut().retain(|_, (security, _)| security.strong_count() > 0);
    }

    fn config(
        &self,
        security: &Arc<Security>,
        protocol: Protocol,
    ) -> Result<Arc<rustls::ClientConfig>, Refusal> {
        let mut configs = self.configs.borrow_mut();
        if let Some((_, config)) = configs.get(&Arc::as_ptr(security).addr()) {
            return Ok(Arc::clone(config));
        }
        let time = Arc::new(TlsTime(Arc::clone(&self.clock)));
        let mut config = tls::client_config(Arc::new(self.shared.clone()), security.expected.clone(), time)
            .map_err(|_| Refusal::UpstreamTls)?;
        config.alpn_protocols = match protocol {
            Protocol::Http1 => vec![b"http/1.1".to_vec()],
            Protocol::H2 | Protocol::H2c => vec![b"h2".to_vec()],
            Protocol::Tcp => Vec::new(),
        };
        let config = Arc::new(config);
        configs.insert(Arc::as_ptr(security).addr(), (Arc::downgrade(security), Arc::clone(&config)));
        Ok(config)
    }
}

fn unproven(error: &VerifyError) -> Refusal {
    match error.code() {
        "tls.chain.revocation_unknown" => Refusal::UpstreamRevocationUnknown,
        _ => Refusal::UpstreamIdentity,
    }
}

fn refused(endpoint: SocketAddr, error: &std::io::Error) -> Refusal {
    let code = tls::code(error);
    match tls::verify_error(error) {
        Some(cause) => {
            tracing::warn!(%endpoint, code, "an upstream does not prove who it should be: {cause}");
            unproven(cause)
        }
        None => {
            tracing::warn!(%endpoint, code, %error, "TLS with an upstream failed");
            Refusal::UpstreamTls
        }
    }
}

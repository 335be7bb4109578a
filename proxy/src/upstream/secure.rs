//! TLS to an upstream: we present our SVID, and the server proves an identity that is expected of it.
use super::announcement::Announcement;
use super::connect::BoxIo;
use super::target::{Protocol, Target};
use crate::clock::{Clock, TlsTime};
use crate::config::ProxyVersion;
use crate::pipeline::Refusal;
use crate::standing::{Standing, Standings};
use crate::state::{Shared, Snapshot};
use postern_audit::EndpointAddress;
use postern_identity::tls::{self, ExpectedPeers};
use postern_identity::{Role, UnixTime, VerifyError, verify_chain};
use rustls_pki_types::ServerName;
use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Weak};
use tokio_rustls::TlsConnector;

/// What an upstream has to prove. One that expects the same after a reload keeps its connections.
#[derive(Debug, PartialEq, Eq)]
pub struct Security {
    /// Who may answer.
    pub expected: ExpectedPeers,
    /// The name that is asked for (SNI); it plays no part in who may answer.
    pub server_name: Option<ServerName<'static>>,
}

/// Whose connections are in a list of the pool. Two upstreams never share one, be it that they have an endpoint in common.
#[derive(Clone, Debug)]
pub(super) struct Owner {
    upstream: u64,
    endpoint: EndpointAddress,
    uids: Option<Arc<[u32]>>,
    proxy_protocol: Option<ProxyVersion>,
    /// Whose connection alone they serve. Held weakly: its place is not given to another one.
    announced: Option<Weak<Announcement>>,
    /// Held weakly too.
    security: Option<Weak<Security>>,
}

impl Owner {
    pub(super) fn of(target: &Target) -> Self {
        let security = target.security.as_ref().map(Arc::downgrade);
        Self {
            upstream: target.breaker.upstream,
            endpoint: target.endpoint.clone(),
            uids: target.uids.clone(),
            proxy_protocol: target.proxy_protocol,
            announced: target.announced.as_ref().map(Arc::downgrade),
            security,
        }
    }

    /// Of which target it is, whoever calls.
    pub(super) fn of_anybody(&self) -> Self {
        Self { announced: None, ..self.clone() }
    }

    /// Whether the caller whom alone they serve has gone away.
    pub(super) fn is_over(&self) -> bool {
        self.announced.as_ref().is_some_and(|announced| announced.strong_count() == 0)
    }

    fn caller(&self) -> Option<usize> {
        self.announced.as_ref().map(|announced| announced.as_ptr().addr())
    }

    /// Of whose upstream it is, and what that has to prove, wherever it leads.
    pub(super) fn upstream(&self) -> (u64, Option<usize>) {
        (self.upstream, self.place())
    }

    fn place(&self) -> Option<usize> {
        self.security.as_ref().map(|security| security.as_ptr().addr())
    }
}

impl PartialEq for Owner {
    fn eq(&self, other: &Self) -> bool {
        self.upstream == other.upstream
            && self.endpoint == other.endpoint
            && self.place() == other.place()
            && self.uids == other.uids
            && self.proxy_protocol == other.proxy_protocol
            && self.caller() == other.caller()
    }
}

impl Eq for Owner {}

impl Hash for Owner {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.upstream.hash(state);
        self.endpoint.hash(state);
        self.place().hash(state);
        self.caller().hash(state);
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
    /// Made once for each upstream and protocol, which a reload may change: a configuration of the TLS library is not small.
    configs: RefCell<HashMap<(usize, Protocol), Made>>,
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
        (endpoint, protocol): (&EndpointAddress, Protocol),
    ) -> Result<(BoxIo, Proof), Refusal> {
        let config = self.config(security, protocol)?;
        // Ours may be replaced meanwhile, but only by one that lives longer.
        let own = self.shared.load().svid.clone().ok_or(Refusal::UpstreamTls)?;
        let name = match (&security.server_name, endpoint.ip()) {
            (Some(name), _) => name.clone(),
            (None, Some(address)) => ServerName::IpAddress(address.ip().into()),
            // No configuration leads here.
            (None, None) => return Err(Refusal::UpstreamTls),
        };
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
        let place = (Arc::as_ptr(security).addr(), protocol);
        if let Some((_, config)) = configs.get(&place) {
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
        configs.insert(place, (Arc::downgrade(security), Arc::clone(&config)));
        Ok(config)
    }
}

fn unproven(error: &VerifyError) -> Refusal {
    match error.code() {
        "tls.chain.revocation_unknown" => Refusal::UpstreamRevocationUnknown,
        _ => Refusal::UpstreamIdentity,
    }
}

fn refused(endpoint: &EndpointAddress, error: &std::io::Error) -> Refusal {
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

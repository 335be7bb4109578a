//! Whole handshakes in memory: what each side trusts and presents in, what each side saw out. No sockets.

use std::sync::{Arc, Mutex};

use postern_identity::tls::{self, AcceptedTrustDomains, ExpectedPeers, Material, Proven, ServerTls};
use postern_identity::{TrustBundles, UnixTime, X509Svid};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, ClientConnection, Error, ServerConfig, ServerConnection};
use rustls_pki_types::ServerName;

use super::certificates::{Ca, DOMAIN, ID, Leaf, NOW_S, at, domain};

/// Who calls in every handshake.
pub(crate) const CALLER: &str = "spiffe://example.org/web";

/// What one side has to make handshakes with; publishing replaces it for the handshakes to come.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    trust: Mutex<Arc<TrustBundles>>,
    svid: Mutex<Option<Arc<X509Svid>>>,
}

impl Shelf {
    fn new(ca: &Ca, id: &str) -> Arc<Self> {
        let shelf = Self::default();
        shelf.trust(ca.bundles());
        shelf.present(Some(ca.leaf(id)));
        Arc::new(shelf)
    }

    pub(crate) fn trust(&self, bundles: TrustBundles) {
        *self.trust.lock().unwrap() = Arc::new(bundles);
    }

    pub(crate) fn present(&self, leaf: Option<Leaf>) {
        let svid = leaf.map(|leaf| X509Svid::from_der(vec![leaf.der], leaf.key.into()).unwrap());
        *self.svid.lock().unwrap() = svid.map(Arc::new);
    }
}

impl Material for Shelf {
    fn trust(&self) -> Arc<TrustBundles> {
        Arc::clone(&self.trust.lock().unwrap())
    }

    fn svid(&self) -> Option<Arc<X509Svid>> {
        self.svid.lock().unwrap().clone()
    }
}

#[derive(Debug)]
pub(crate) struct Clock;

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(at(NOW_S))
    }
}

/// A caller and a listener of one trust domain.
pub(crate) struct World {
    pub(crate) ca: Ca,
    pub(crate) caller: Arc<Shelf>,
    pub(crate) called: Arc<Shelf>,
}

impl World {
    pub(crate) fn new() -> Self {
        let ca = Ca::root();
        Self { caller: Shelf::new(&ca, CALLER), called: Shelf::new(&ca, ID), ca }
    }

    /// The listener's TLS.
    pub(crate) fn listener(&self) -> ServerTls {
        let accepted = AcceptedTrustDomains::new(vec![domain(DOMAIN)]).unwrap();
        ServerTls::new(self.called.clone(), accepted, Arc::new(Clock)).unwrap()
    }

    /// Our own side as a caller.
    pub(crate) fn client(&self) -> ClientConfig {
        let expected = ExpectedPeers::new(vec![ID.parse().unwrap()], vec![]).unwrap();
        tls::client_config(self.caller.clone(), expected, Arc::new(Clock)).unwrap()
    }

    /// One connection to one listener.
    pub(crate) fn connect(&self) -> Result<Ends, String> {
        self.connect_with(&Arc::new(self.client()), &self.listener())
    }

    pub(crate) fn connect_with(
        &self,
        client: &Arc<ClientConfig>,
        listener: &ServerTls,
    ) -> Result<Ends, String> {
        let (server, proven) = listener.connection();
        connect(client, &Arc::new(server), Some(proven))
    }
}

/// Both ends after a handshake.
pub(crate) struct Ends {
    pub(crate) client: ClientConnection,
    pub(crate) server: ServerConnection,
    /// Whom the listener takes the caller for.
    pub(crate) peer: Option<String>,
}

/// Carries bytes to and fro until neither side has more to say, or one refuses: then its code.
pub(crate) fn connect(
    client: &Arc<ClientConfig>,
    server: &Arc<ServerConfig>,
    proven: Option<Proven>,
) -> Result<Ends, String> {
    let name = ServerName::try_from("orders.internal").unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
    while client.wants_write() || server.wants_write() {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        hear(&mut server, &wire)?;
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        hear_back(&mut client, &wire)?;
    }
    let chain = server.peer_certificates().unwrap_or_default();
    let peer = proven.and_then(|proven| proven.peer(chain, at(NOW_S)).ok());
    let peer = peer.map(|(peer, _)| peer.spiffe_id.to_string());
    Ok(Ends { client, server, peer })
}

/// What a server makes of these bytes.
pub(crate) fn hear(server: &mut ServerConnection, mut wire: &[u8]) -> Result<(), String> {
    while !wire.is_empty() {
        server.read_tls(&mut wire).unwrap();
        server.process_new_packets().map_err(|error| said("called", &error))?;
    }
    Ok(())
}

/// What a client makes of these bytes.
pub(crate) fn hear_back(client: &mut ClientConnection, mut wire: &[u8]) -> Result<(), String> {
    while !wire.is_empty() {
        client.read_tls(&mut wire).unwrap();
        client.process_new_packets().map_err(|error| said("caller", &error))?;
    }
    Ok(())
}

fn said(side: &str, error: &Error) -> String {
    format!("{side}: {}: {error}", tls::code(error))
}

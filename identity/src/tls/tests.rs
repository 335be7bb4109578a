//! Whole handshakes in memory: two configurations in, an outcome for each side out.

use std::io::{Read, Write};
use std::sync::{Arc, Mutex};

use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, NamedGroup, ProtocolVersion, ServerConfig,
    ServerConnection,
};
use rustls_pki_types::{ServerName, UnixTime};

use super::*;
use crate::testing::{Ca, NOW_S, at, bundles, domain};
use crate::verify_chain;
use crate::x509::chain::Role;

const CALLER: &str = "spiffe://example.org/web";
const CALLED: &str = "spiffe://example.org/orders";

#[derive(Debug, Default)]
struct Shelf {
    trust: Mutex<Arc<TrustBundles>>,
    svid: Mutex<Option<Arc<X509Svid>>>,
}

impl Shelf {
    fn new(ca: &Ca, id: &str) -> Arc<Self> {
        let shelf = Self::default();
        shelf.set_trust(bundles([ca.bundle("example.org")]));
        shelf.set_svid(Some(ca.leaf(id).svid()));
        Arc::new(shelf)
    }

    fn set_trust(&self, bundles: TrustBundles) {
        *self.trust.lock().unwrap() = Arc::new(bundles);
    }

    fn set_svid(&self, svid: Option<X509Svid>) {
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
struct Clock(Mutex<u64>);

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(at(*self.0.lock().unwrap()))
    }
}

struct World {
    ca: Ca,
    caller: Arc<Shelf>,
    called: Arc<Shelf>,
    clock: Arc<Clock>,
    accepted: AcceptedTrustDomains,
    expected: ExpectedPeers,
}

impl World {
    fn new() -> Self {
        let ca = Ca::root("root");
        Self {
            caller: Shelf::new(&ca, CALLER),
            called: Shelf::new(&ca, CALLED),
            ca,
            clock: Arc::new(Clock(Mutex::new(NOW_S))),
            accepted: AcceptedTrustDomains::new(vec![domain("example.org")]).unwrap(),
            expected: ExpectedPeers::new(vec![CALLED.parse().unwrap()], vec![]).unwrap(),
        }
    }

    fn server_tls(&self) -> ServerTls {
        ServerTls::new(self.called.clone(), self.accepted.clone(), self.clock.clone()).unwrap()
    }

    fn server(&self) -> ServerConfig {
        self.server_tls().connection().0
    }

    fn client(&self) -> ClientConfig {
        client_config(self.caller.clone(), self.expected.clone(), self.clock.clone()).unwrap()
    }

    fn handshake(&self) -> Outcome {
        handshake(self.client(), self.server())
    }
}

struct Outcome {
    client: ClientConnection,
    server: ServerConnection,
    failed: Result<(), (Side, rustls::Error)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Caller,
    Called,
}

fn handshake(client: ClientConfig, server: ServerConfig) -> Outcome {
    let name = ServerName::try_from("orders.internal").unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    let failed = pump(&mut client, &mut server);
    Outcome { client, server, failed }
}

/// Carries bytes to and fro until neither side has more to say, or one refuses.
fn pump(client: &mut ClientConnection, server: &mut ServerConnection) -> Result<(), (Side, rustls::Error)> {
    while client.wants_write() || server.wants_write() {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            server.read_tls(&mut rest).unwrap();
            server.process_new_packets().map_err(|error| (Side::Called, error))?;
        }
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets().map_err(|error| (Side::Caller, error))?;
        }
    }
    Ok(())
}

/// Who refused, and under which code.
#[track_caller]
fn check(world: &World, expected: Result<(), (Side, &'static str)>) {
    let outcome = world.handshake();
    let seen = outcome.failed.map_err(|(side, error)| (side, code(&error)));
    assert_eq!(seen, expected);
}

#[test]
fn both_sides_prove_who_they_are() {
    let world = World::new();
    let mut outcome = world.handshake();
    assert_eq!(outcome.failed, Ok(()));
    let id = |chain: &[CertificateDer<'_>], role| {
        verify_chain(chain, &world.called.trust(), role, at(NOW_S)).unwrap().spiffe_id.to_string()
    };
    assert_eq!(id(outcome.server.peer_certificates().unwrap(), Role::Client), CALLER);
    assert_eq!(id(outcome.client.peer_certificates().unwrap(), Role::Server), CALLED);

    outcome.client.writer().write_all(b"hello").unwrap();
    pump(&mut outcome.client, &mut outcome.server).unwrap();
    let mut heard = [0; 5];
    outcome.server.reader().read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"hello");
}

#[test]
fn the_connection_is_tls_1_3_with_the_hybrid_key_exchange() {
    let world = World::new();
    let outcome = world.handshake();
    for connection in [rustls::Connection::from(outcome.client), rustls::Connection::from(outcome.server)] {
        assert_eq!(connection.protocol_version(), Some(ProtocolVersion::TLSv1_3));
        let group = connection.negotiated_key_exchange_group().unwrap().name();
        assert_eq!(group, NamedGroup::X25519MLKEM768);
    }
    let mut client = world.client();
    client.alpn_protocols = vec![b"http/1.1".to_vec(), b"h2".to_vec()];
    let outcome = handshake(client, world.server());
    assert_eq!(outcome.server.alpn_protocol(), Some(&b"h2"[..]));
}

/// One connection of a caller to a listener: who refused it, or whom it was proven to be.
fn connect(client: &Arc<ClientConfig>, tls: &ServerTls) -> Result<String, (Side, &'static str)> {
    let name = ServerName::try_from("orders.internal").unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
    let (config, proven) = tls.connection();
    let mut server = ServerConnection::new(Arc::new(config)).unwrap();
    pump(&mut client, &mut server).map_err(|(side, error)| (side, code(&error)))?;
    assert_eq!(server.handshake_kind(), Some(HandshakeKind::Full));
    let chain = server.peer_certificates().unwrap_or_default();
    let peer = proven.peer(chain, at(NOW_S)).map_err(|error| (Side::Called, error.code()))?;
    Ok(peer.0.spiffe_id.to_string())
}

/// A caller with any certificate and any key: X509Svid refuses those that do not match, and our client what has expired.
fn presenting(
    world: &World,
    leaf: &CertificateDer<'static>,
    key: rustls_pki_types::PrivateKeyDer<'static>,
) -> Arc<ClientConfig> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let key = provider.key_provider.load_private_key(key).unwrap();
    let presented = Arc::new(rustls::sign::CertifiedKey::new(vec![leaf.clone()], key));
    let mut client = world.client();
    client.client_auth_cert_resolver = Arc::new(rustls::sign::SingleCertAndKey::from(presented));
    Arc::new(client)
}

#[test]
fn a_second_connection_is_verified_like_the_first() {
    let world = World::new();
    let (client, tls) = (Arc::new(world.client()), world.server_tls());
    let proven = Ok(CALLER.to_owned());
    assert_eq!(connect(&client, &tls), proven);
    assert_eq!(connect(&client, &tls), proven);
    world.called.set_trust(TrustBundles::default());
    assert_eq!(connect(&client, &tls), Err((Side::Called, "tls.trust_domain.unknown")));
    world.called.set_trust(bundles([world.ca.bundle("example.org")]));
    assert_eq!(connect(&client, &tls), proven);
}

#[test]
fn a_chain_that_is_remembered_is_of_no_use_without_its_key() {
    let world = World::new();
    let (leaf, foreign) = (world.ca.leaf(CALLER), world.ca.leaf(CALLER));
    let owner = presenting(&world, &leaf.der, leaf.key_der());
    let thief = presenting(&world, &leaf.der, foreign.key_der());
    let tls = world.server_tls();
    assert_eq!(connect(&owner, &tls), Ok(CALLER.to_owned()));
    assert_eq!(connect(&thief, &tls), Err((Side::Called, "tls.protocol")));
    assert_eq!(connect(&owner, &tls), Ok(CALLER.to_owned()));
}

#[test]
fn a_chain_that_is_remembered_expires_all_the_same() {
    let world = World::new();
    let long = |params: &mut rcgen::CertificateParams| crate::testing::window(params, -60, 3600);
    world.called.set_svid(Some(world.ca.leaf_with(CALLED, long).svid()));
    let short = world.ca.leaf(CALLER);
    let client = presenting(&world, &short.der, short.key_der());
    let tls = world.server_tls();
    assert_eq!(connect(&client, &tls), Ok(CALLER.to_owned()));
    *world.clock.0.lock().unwrap() = NOW_S + 61;
    assert_eq!(connect(&client, &tls), Err((Side::Called, "tls.chain.expired")));
}

#[test]
fn whom_a_handshake_proved_is_asked_anew_where_trust_has_changed_since() {
    let world = World::new();
    let (client, tls) = (Arc::new(world.client()), world.server_tls());
    let name = ServerName::try_from("orders.internal").unwrap();
    let mut client = ClientConnection::new(client, name).unwrap();
    let (config, proven) = tls.connection();
    let mut server = ServerConnection::new(Arc::new(config)).unwrap();
    pump(&mut client, &mut server).unwrap();
    let chain = server.peer_certificates().unwrap();
    assert!(Arc::ptr_eq(&proven.peer(chain, at(NOW_S)).unwrap().1, &world.called.trust()));
    world.called.set_trust(bundles([Ca::root("next").bundle("example.org")]));
    assert_eq!(proven.peer(chain, at(NOW_S)).map_err(|error| error.code()), Err("tls.chain.untrusted"));
}

#[test]
fn rotation_is_taken_up_by_the_next_handshake() {
    let world = World::new();
    check(&world, Ok(()));
    let next = Ca::root("next");
    world.caller.set_svid(Some(next.leaf(CALLER).svid()));
    check(&world, Err((Side::Called, "tls.chain.untrusted")));
    world.called.set_trust(bundles([next.bundle("example.org")]));
    check(&world, Ok(()));
}

#[test]
fn a_caller_without_certificate_is_refused() {
    let world = World::new();
    world.caller.set_svid(None);
    check(&world, Err((Side::Called, "tls.no_certificate")));
}

#[test]
fn an_expired_svid_of_our_own_is_not_presented() {
    let world = World::new();
    *world.clock.0.lock().unwrap() = NOW_S + 61;
    check(&world, Err((Side::Called, "tls.own_identity")));
}

#[test]
fn a_trust_domain_with_a_bundle_is_not_thereby_accepted() {
    let world = World::new();
    let other = Ca::root("other");
    world.caller.set_svid(Some(other.leaf("spiffe://other.org/web").svid()));
    check(&world, Err((Side::Called, "tls.trust_domain.unknown")));
    world.called.set_trust(bundles([world.ca.bundle("example.org"), other.bundle("other.org")]));
    check(&world, Err((Side::Called, "tls.trust_domain.not_accepted")));
}

#[test]
fn a_server_has_to_be_the_one_that_is_expected() {
    let mut world = World::new();
    world.called.set_svid(Some(world.ca.leaf("spiffe://example.org/evil").svid()));
    check(&world, Err((Side::Caller, "tls.peer_not_expected")));
    world.expected = ExpectedPeers::new(vec![], vec![domain("example.org")]).unwrap();
    check(&world, Ok(()));
    world.expected = ExpectedPeers::new(vec![], vec![domain("other.org")]).unwrap();
    check(&world, Err((Side::Caller, "tls.peer_not_expected")));
}

#[test]
fn a_certificate_without_its_key_proves_nothing() {
    let world = World::new();
    let (leaf, foreign) = (world.ca.leaf(CALLER), world.ca.leaf(CALLER));
    let client = presenting(&world, &leaf.der, foreign.key_der());
    let outcome = handshake(ClientConfig::clone(&client), world.server());
    let (side, error) = outcome.failed.unwrap_err();
    assert_eq!((side, code(&error)), (Side::Called, "tls.protocol"));
}

#[test]
fn a_chain_too_large_for_a_handshake_is_refused_before_it_is_read() {
    let world = World::new();
    let leaf = world.ca.leaf(CALLER);
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let key = provider.key_provider.load_private_key(leaf.key_der()).unwrap();
    for (fillers, bytes, expected) in [(1, 17_000, "tls.chain.too_large"), (7, 15_000, "tls.protocol")] {
        let filler = CertificateDer::from(vec![0; bytes]);
        let chain = [vec![leaf.der.clone()], vec![filler; fillers]].concat();
        let long = Arc::new(rustls::sign::CertifiedKey::new(chain, Arc::clone(&key)));
        let mut client = world.client();
        client.client_auth_cert_resolver = Arc::new(rustls::sign::SingleCertAndKey::from(long));
        let outcome = handshake(client, world.server());
        let (side, error) = outcome.failed.unwrap_err();
        assert_eq!((side, code(&error)), (Side::Called, expected), "{error}");
    }
}

#[test]
fn what_is_not_tls_is_called_so() {
    let world = World::new();
    let mut server = ServerConnection::new(Arc::new(world.server())).unwrap();
    server.read_tls(&mut &b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"[..]).unwrap();
    let error = server.process_new_packets().unwrap_err();
    assert_eq!(code(&error), "tls.not_tls");
}

#[test]
fn the_reason_is_found_inside_an_io_error() {
    let inner = refused(VerifyError::Ca);
    let wrapped = std::io::Error::new(std::io::ErrorKind::InvalidData, inner);
    assert_eq!(verify_error(&wrapped), Some(&VerifyError::Ca));
    assert_eq!(code(&wrapped), "tls.svid.ca");
    let twice = std::io::Error::other(wrapped);
    assert_eq!(code(&twice), "tls.svid.ca");
    let gone = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
    assert_eq!((verify_error(&gone), code(&gone)), (None, "tls.closed"));
}

#[test]
fn an_empty_list_is_a_mistake() {
    assert!(matches!(AcceptedTrustDomains::new(vec![]), Err(TlsError::NoTrustDomain)));
    assert!(matches!(ExpectedPeers::new(vec![], vec![]), Err(TlsError::NoPeer)));
}

/// Runs where the feature `fips` is on: `cargo xtask test --full`.
#[cfg(feature = "fips")]
mod fips {
    use super::*;
    use crate::testing::now;
    use crate::token::{Algorithm, Issuer, IssuerError};
    use crate::{Role, VerifyError, verify_chain};

    #[test]
    fn every_configuration_is_approved_and_offers_nothing_else() {
        let provider = provider();
        assert!(provider.fips());
        let groups: Vec<_> = provider.kx_groups.iter().map(|group| (group.name(), group.fips())).collect();
        assert!(groups.iter().all(|(_, fips)| *fips), "{groups:?}");
        assert!(groups.iter().any(|(name, _)| format!("{name:?}") == "X25519MLKEM768"), "{groups:?}");
        assert!(provider.cipher_suites.iter().all(rustls::SupportedCipherSuite::fips));
    }

    #[test]
    fn what_the_module_does_not_approve_verifies_nothing() {
        let ca = Ca::root("root");
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let leaf = ca.leaf_of(key, "spiffe://example.org/a", |_| {});
        let trust = bundles([ca.bundle("example.org")]);
        let judged = verify_chain(&[leaf.der], &trust, Role::Client, now());
        assert!(matches!(judged, Err(VerifyError::Key(_))), "{judged:?}");
        let issuer = Issuer::new("i".to_owned(), vec!["a".to_owned()], vec![Algorithm::EdDsa]);
        assert_eq!(issuer, Err(IssuerError::NotFips("i".to_owned())));
    }
}

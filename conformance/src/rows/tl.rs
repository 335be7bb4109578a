//! TLS: what a handshake has to settle, seen from both of its ends.

use std::sync::{Arc, Mutex};

use postern_identity::X509Svid;
use rustls::client::{ClientConfig, ResolvesClientCert, Resumption};
use rustls::server::{ServerConnection, ServerSessionMemoryCache};
use rustls::sign::CertifiedKey;
use rustls::{ClientConnection, HandshakeKind, KeyLog, ProtocolVersion, SignatureScheme};
use rustls_pki_types::ServerName;

use crate::kit::certificates::{Ca, DOMAIN, ID, bundles};
use crate::kit::handshake::{CALLER, Ends, World, connect, hear, hear_back};
use crate::{Row, row};

pub(super) fn rows() -> Vec<Row> {
    [proof(), super::open::tl(), resumption(), revisions(), versions()].into_iter().flatten().collect()
}

fn proof() -> Vec<Row> {
    vec![
        row("TL-01", "callers prove who they are", "X509-SVID §5, RFC 8446 §4.4.2.4")
            .accepts("an SVID of an accepted trust domain", || {
                let peer = World::new().connect()?.peer;
                if peer.as_deref() == Some(CALLER) { Ok(()) } else { Err(format!("{peer:?}")) }
            })
            .refuses("no certificate", "called: tls.no_certificate", || {
                let world = World::new();
                world.caller.present(None);
                world.connect()
            })
            .refuses(
                "a trust domain that is federated and not accepted",
                "tls.trust_domain.not_accepted",
                || {
                    let (world, other) = (World::new(), Ca::root());
                    world.called.trust(bundles([world.ca.bundle(DOMAIN), other.bundle("other.org")]));
                    world.caller.present(Some(other.leaf("spiffe://other.org/web")));
                    world.connect()
                },
            )
            .refuses("a certificate without its key", "called: tls.protocol", || {
                let world = World::new();
                let mut client = world.client();
                client.client_auth_cert_resolver = Arc::new(stolen(&world.ca));
                world.connect_with(&Arc::new(client), &world.listener())
            })
            .refuses("a server that is not the one expected", "caller: tls.peer_not_expected", || {
                let world = World::new();
                world.called.present(Some(world.ca.leaf("spiffe://example.org/other")));
                world.connect()
            }),
    ]
}

fn resumption() -> Vec<Row> {
    vec![
        row("TL-02", "every handshake is a whole one", "RFC 8446 §2.2, §2.3 (O)")
            .accepts("a second connection, verified as the first", || {
                let ends = twice(eager)?;
                match (ends.server.handshake_kind(), ends.peer.as_deref()) {
                    (Some(HandshakeKind::Full), Some(CALLER)) => Ok(()),
                    other => Err(format!("{other:?}")),
                }
            })
            .refuses("a ticket, for a caller that wants one", "no ticket", || {
                match twice(eager)?.client.tls13_tickets_received() {
                    0 => Err("no ticket came".to_owned()),
                    _ => Ok(()),
                }
            })
            .refuses("early data, for a caller that has some", "no early data", || {
                let client = resuming(&World::new());
                let name = ServerName::try_from("orders.internal").unwrap();
                let mut again = ClientConnection::new(client, name).unwrap();
                again.early_data().map(drop).ok_or("no early data can be sent")
            })
            .refuses("a caller that is not trusted any more", "tls.trust_domain.unknown", || {
                let world = World::new();
                let (client, listener) = (eager(world.client()), world.listener());
                world.connect_with(&client, &listener)?;
                world.called.trust(bundles([]));
                world.connect_with(&client, &listener)
            })
            .accepts("somebody else's caller at a server that hands out tickets, to compare", || {
                match server_with_tickets(eager)?.client.handshake_kind() {
                    Some(HandshakeKind::Resumed) => Ok(()),
                    other => Err(format!("{other:?}")),
                }
            })
            .refuses("ours at the same server", "not resumed", || {
                match server_with_tickets(Arc::new)?.client.handshake_kind() {
                    Some(HandshakeKind::Resumed) => Ok(()),
                    _ => Err("not resumed".to_owned()),
                }
            }),
        row("TL-09", "no authority is named to callers", "RFC 8446 §4.2.4 (O)")
            .accepts("a caller, without hints", || {
                let found = hints()?;
                if found.is_empty() { Ok(()) } else { Err(format!("{found:?}")) }
            })
            .refuses("an authority's name", "no name", || {
                if hints()?.is_empty() { Err("no name is there".to_owned()) } else { Ok(()) }
            }),
    ]
}

/// Somebody's certificate with somebody else's key.
fn stolen(ca: &Ca) -> rustls::sign::SingleCertAndKey {
    let (leaf, other) = (ca.leaf(CALLER), ca.leaf(CALLER));
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let key = provider.key_provider.load_private_key(other.key.into()).unwrap();
    Arc::new(CertifiedKey::new(vec![leaf.der], key)).into()
}

/// A caller that takes every ticket and would send early data.
fn eager(mut client: ClientConfig) -> Arc<ClientConfig> {
    client.resumption = Resumption::in_memory_sessions(8);
    client.enable_early_data = true;
    Arc::new(client)
}

/// The second of two connections of one caller to one listener.
fn twice(caller: impl FnOnce(ClientConfig) -> Arc<ClientConfig>) -> Result<Ends, String> {
    let world = World::new();
    let (client, listener) = (caller(world.client()), world.listener());
    world.connect_with(&client, &listener)?;
    world.connect_with(&client, &listener)
}

/// A caller that has been connected, and keeps whatever it was given for the next time.
fn resuming(world: &World) -> Arc<ClientConfig> {
    let client = eager(world.client());
    world.connect_with(&client, &world.listener()).map(drop).unwrap();
    client
}

/// A caller's second connection to a server that would resume the first.
fn server_with_tickets(caller: impl FnOnce(ClientConfig) -> Arc<ClientConfig>) -> Result<Ends, String> {
    let world = World::new();
    let client = caller(world.client());
    let (mut server, proven) = world.listener().connection();
    server.session_storage = ServerSessionMemoryCache::new(8);
    server.send_tls13_tickets = 2;
    let server = Arc::new(server);
    connect(&client, &server, None)?;
    connect(&client, &server, Some(proven))
}

/// Presents what another resolver presents, and keeps the hints that came with the request.
#[derive(Debug)]
struct Listening {
    inner: Arc<dyn ResolvesClientCert>,
    hints: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl ResolvesClientCert for Listening {
    fn resolve(&self, hints: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.hints.lock().unwrap().extend(hints.iter().map(|hint| hint.to_vec()));
        self.inner.resolve(hints, schemes)
    }

    fn has_certs(&self) -> bool {
        self.inner.has_certs()
    }
}

/// The names of authorities that a caller is told.
fn hints() -> Result<Vec<Vec<u8>>, String> {
    let world = World::new();
    let mut client = world.client();
    let hints = Arc::<Mutex<Vec<Vec<u8>>>>::default();
    let inner = Arc::clone(&client.client_auth_cert_resolver);
    client.client_auth_cert_resolver = Arc::new(Listening { inner, hints: Arc::clone(&hints) });
    world.connect_with(&Arc::new(client), &world.listener())?;
    let hints = hints.lock().unwrap();
    Ok(hints.clone())
}

fn revisions() -> Vec<Row> {
    vec![
        row("TL-03", "handshakes use what is in force", "X509-SVID §5.1 (O)")
            .accepts("a caller of a new authority, once its bundle is there", || {
                let (world, next) = (World::new(), Ca::root());
                let listener = world.listener();
                world.caller.present(Some(next.leaf(CALLER)));
                world.called.trust(bundles([next.bundle(DOMAIN)]));
                world.connect_with(&Arc::new(world.client()), &listener)
            })
            .accepts("our new SVID, on a listener that was made before it", || {
                let world = World::new();
                let (client, listener) = (Arc::new(world.client()), world.listener());
                world.connect_with(&client, &listener)?;
                let renewed = world.ca.leaf(ID);
                let expected = renewed.der.clone();
                world.called.present(Some(renewed));
                let ends = world.connect_with(&client, &listener)?;
                let shown = ends.client.peer_certificates().and_then(<[_]>::first);
                if shown == Some(&expected) { Ok(()) } else { Err("the old one was presented".to_owned()) }
            })
            .refuses(
                "a caller of the old authority, on a connection set up before",
                "tls.chain.untrusted",
                || {
                    let (world, next) = (World::new(), Ca::root());
                    let (server, proven) = world.listener().connection();
                    world.called.trust(bundles([next.bundle(DOMAIN)]));
                    connect(&Arc::new(world.client()), &Arc::new(server), Some(proven))
                },
            )
            .refuses("our withdrawn SVID, on a connection set up before", "called: tls.own_identity", || {
                let world = World::new();
                let (server, proven) = world.listener().connection();
                world.called.present(None);
                connect(&Arc::new(world.client()), &Arc::new(server), Some(proven))
            })
            .refuses(
                "the server of an old authority, for a client made before",
                "caller: tls.chain.untrusted",
                || {
                    let (world, next) = (World::new(), Ca::root());
                    let client = Arc::new(world.client());
                    world.caller.trust(bundles([next.bundle(DOMAIN)]));
                    world.connect_with(&client, &world.listener())
                },
            ),
        row("TL-07", "no key is logged or shown", "(O)")
            .accepts("who we are, where an SVID is shown", || shown(ID.as_bytes()))
            .refuses("the private key, where an SVID is shown", "not shown", || {
                let leaf = Ca::root().leaf(ID);
                let secret = leaf.key.secret_pkcs8_der().to_vec();
                let svid = X509Svid::from_der(vec![leaf.der], leaf.key.into());
                contains(&format!("{:?}", svid.map_err(|error| error.to_string())?), &secret)
            })
            .refuses("a listener's secrets", "not logged", || {
                let (server, _) = World::new().listener().connection();
                logged(&*server.key_log)
            })
            .refuses("a caller's secrets", "not logged", || logged(&*World::new().client().key_log)),
    ]
}

/// Whether this is in what is shown of an SVID.
fn shown(what: &[u8]) -> Result<(), String> {
    let leaf = Ca::root().leaf(ID);
    let svid = X509Svid::from_der(vec![leaf.der], leaf.key.into()).map_err(|error| error.to_string())?;
    contains(&format!("{svid:?}"), what)
}

/// Whether a text has these bytes, or any eight of them in a row, as they are, in hexadecimal or as a list of numbers.
fn contains(text: &str, what: &[u8]) -> Result<(), String> {
    let found = what.windows(8).any(|part| {
        let hex: String = part.iter().map(|byte| format!("{byte:02x}")).collect();
        let numbers = part.iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
        let plain = std::str::from_utf8(part).is_ok_and(|plain| text.contains(plain));
        plain || text.to_lowercase().contains(&hex) || text.contains(&numbers)
    });
    if found { Ok(()) } else { Err(format!("it is not shown: {text}")) }
}

/// Whether a log wants any of the secrets of TLS 1.3.
fn logged(log: &dyn KeyLog) -> Result<(), String> {
    let labels = [
        "CLIENT_RANDOM",
        "CLIENT_EARLY_TRAFFIC_SECRET",
        "SERVER_HANDSHAKE_TRAFFIC_SECRET",
        "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
        "SERVER_TRAFFIC_SECRET_0",
        "CLIENT_TRAFFIC_SECRET_0",
        "EXPORTER_SECRET",
    ];
    if labels.into_iter().any(|label| log.will_log(label)) { Ok(()) } else { Err("not logged".to_owned()) }
}

fn versions() -> Vec<Row> {
    vec![
        row("TL-08", "TLS 1.3 alone", "RFC 9325 §3.1.1 (O)")
            .accepts("1.3 on both sides", || {
                let ends = World::new().connect()?;
                match (ends.client.protocol_version(), ends.server.protocol_version()) {
                    (Some(ProtocolVersion::TLSv1_3), Some(ProtocolVersion::TLSv1_3)) => Ok(()),
                    other => Err(format!("{other:?}")),
                }
            })
            .refuses("a caller that speaks up to 1.2", "tls.incompatible", || greeted(&hello(0x03, None)))
            .refuses("a caller that offers 1.2 and 1.1 by extension", "tls.incompatible", || {
                greeted(&hello(0x03, Some(&[0x0303, 0x0302])))
            })
            .refuses("a caller that speaks up to 1.1", "tls.incompatible", || greeted(&hello(0x02, None)))
            .refuses("a caller that speaks up to 1.0", "tls.incompatible", || greeted(&hello(0x01, None)))
            .refuses("SSL 2", "tls.not_tls", || greeted(&[0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10]))
            .refuses("a caller that speaks no TLS", "tls.not_tls", || {
                greeted(b"GET / HTTP/1.1\r\nhost: orders.internal\r\n\r\n")
            })
            .refuses("a server that answers with 1.2", "caller: tls.incompatible", || {
                let name = ServerName::try_from("orders.internal").unwrap();
                let mut client = ClientConnection::new(Arc::new(World::new().client()), name).unwrap();
                client.write_tls(&mut Vec::new()).unwrap();
                hear_back(&mut client, &server_hello_1_2())
            }),
    ]
}

/// What a listener makes of a caller's first bytes.
fn greeted(bytes: &[u8]) -> Result<(), String> {
    let (server, _) = World::new().listener().connection();
    hear(&mut ServerConnection::new(Arc::new(server)).unwrap(), bytes)
}

/// A `ClientHello` (RFC 5246 §7.4.1.2) of this minor version, with one suite, and the versions of an extension.
fn hello(minor: u8, versions: Option<&[u16]>) -> Vec<u8> {
    let mut extensions = vec![0, 0x0a, 0, 4, 0, 2, 0, 0x17, 0, 0x0d, 0, 4, 0, 2, 4, 3];
    if let Some(versions) = versions {
        let list: Vec<u8> = versions.iter().flat_map(|version| version.to_be_bytes()).collect();
        let length = u8::try_from(list.len()).unwrap();
        extensions.extend([0, 0x2b, 0, length + 1, length]);
        extensions.extend(list);
    }
    let length = u16::try_from(extensions.len()).unwrap().to_be_bytes();
    let body = [&[3, minor][..], &[7; 32], &[0], &[0, 2, 0xc0, 0x2b], &[1, 0], &length, &extensions].concat();
    record(1, &body)
}

/// A `ServerHello` of TLS 1.2 without extensions.
fn server_hello_1_2() -> Vec<u8> {
    record(2, &[&[3, 3][..], &[7; 32], &[0], &[0xc0, 0x2b], &[0]].concat())
}

/// A handshake message of this kind in a record.
fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    let [_, high, middle, low] = u32::try_from(body.len()).unwrap().to_be_bytes();
    let message = [&[kind, high, middle, low], body].concat();
    let [high, low] = u16::try_from(message.len()).unwrap().to_be_bytes();
    [&[0x16, 3, 3, high, low], message.as_slice()].concat()
}

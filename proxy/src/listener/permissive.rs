//! Plain text beside mutual TLS, for a while: what a connection begins with, until when that may be plain text, and who
//! still came so.
//!
//! A caller in plain text has proven nothing, and it is for policy to ask for that. The first byte decides: a TLS record
//! begins with one that no HTTP request does, and what begins like TLS is held to it.
//!
//! Whoever has proven nothing cannot lock out those who have: all of them together have a share of the listener's places, and
//! of it each address has as many as it may have handshakes in progress.
use super::Listener;
use super::client_hello::HANDSHAKE;
use super::handshake::Protocol;
use super::local::spoken;
use crate::config::{ListenerProtocol, PermissiveConfig, Silence};
use crate::pipeline::Refusal;
use crate::upstream::BoxIo;
use arc_swap::ArcSwapOption;
use bytes::{Bytes, BytesMut};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::AsyncReadExt;
use tokio::time::Instant;

/// Until when a listener takes plain text, which a reload may change under open connections, and from whom it has.
#[derive(Debug, Default)]
pub struct Permissive {
    terms: ArcSwapOption<PermissiveConfig>,
    callers: Mutex<Callers>,
}

/// Addresses that are told apart; of more, those that have been away longest are only counted.
const CALLERS_MAX: usize = 64;

#[derive(Debug, Default)]
struct Callers {
    connections: u64,
    last_unix_s: Option<u64>,
    by_address: HashMap<IpAddr, Caller>,
    forgotten: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Caller {
    connections: u64,
    last_unix_s: u64,
}

/// Who came in plain text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlaintextCallers {
    /// Connections of all of them.
    pub connections: u64,
    /// When the last one came, in seconds since 1970.
    pub last_unix_s: Option<u64>,
    /// Addresses with their connections and the time of their last one, latest first.
    pub by_address: Vec<(IpAddr, u64, u64)>,
    /// How often an address was forgotten for others that came later.
    pub forgotten: u64,
}

impl Permissive {
    /// Terms that are in force from the beginning.
    pub(super) fn new(terms: Option<PermissiveConfig>) -> Self {
        Self { terms: ArcSwapOption::from_pointee(terms), callers: Mutex::default() }
    }

    /// What is in force.
    pub fn terms(&self) -> Option<PermissiveConfig> {
        self.terms.load().as_deref().copied()
    }

    /// Puts other terms in force, for connections that are open too.
    pub(super) fn change(&self, terms: Option<PermissiveConfig>) {
        self.terms.store(terms.map(Arc::new));
    }

    /// Leaves of what is in force what these terms have too.
    pub(super) fn narrow(&self, terms: Option<PermissiveConfig>) {
        let both = self.terms().zip(terms);
        self.change(both.map(|(running, new)| PermissiveConfig {
            until_unix_s: running.until_unix_s.min(new.until_unix_s),
            silence: match (running.silence, new.silence) {
                (Silence::Plaintext, Silence::Plaintext) => Silence::Plaintext,
                (Silence::Refused, _) | (_, Silence::Refused) => Silence::Refused,
            },
        }));
    }

    /// The first second in which plain text is not taken; 0 where it never is.
    pub(super) fn until_unix_s(&self) -> u64 {
        self.terms.load().as_deref().map_or(0, |terms| terms.until_unix_s)
    }

    /// Counts a connection in plain text.
    pub(super) fn note(&self, address: Option<IpAddr>, now_s: u64) {
        // Counts are whole at every moment, so that a panic elsewhere does not spoil them.
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        callers.connections = callers.connections.saturating_add(1);
        callers.last_unix_s = Some(now_s);
        let Some(address) = address.map(|address| address.to_canonical()) else { return };
        if callers.by_address.len() >= CALLERS_MAX && !callers.by_address.contains_key(&address) {
            callers.forget_one();
        }
        let caller = callers.by_address.entry(address).or_default();
        caller.connections = caller.connections.saturating_add(1);
        caller.last_unix_s = now_s;
    }

    /// Who came.
    pub fn callers(&self) -> PlaintextCallers {
        let callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        let told = |(address, caller): (&IpAddr, &Caller)| (*address, caller.connections, caller.last_unix_s);
        let mut by_address: Vec<_> = callers.by_address.iter().map(told).collect();
        by_address.sort_by_key(|(address, _, last_unix_s)| (std::cmp::Reverse(*last_unix_s), *address));
        PlaintextCallers {
            connections: callers.connections,
            last_unix_s: callers.last_unix_s,
            by_address,
            forgotten: callers.forgotten,
        }
    }
}

impl Callers {
    fn forget_one(&mut self) {
        let oldest = self.by_address.iter().min_by_key(|(_, caller)| caller.last_unix_s);
        if let Some(address) = oldest.map(|(address, _)| *address) {
            self.by_address.remove(&address);
            self.forgotten = self.forgotten.saturating_add(1);
        }
    }
}

/// One of the places of a listener that connections in plain text may have, given back on drop.
#[derive(Debug)]
pub(super) struct PlaintextPlace(Arc<Listener>);

impl PlaintextPlace {
    /// Takes one of them, if there is one left: half of all places are for those who prove who they are.
    pub(super) fn take(listener: &Arc<Listener>) -> Option<Self> {
        let places = listener.limits.connections_max.div_ceil(2).max(1);
        let place = Self(Arc::clone(listener));
        (listener.in_plaintext.fetch_add(1, Ordering::Relaxed) < places).then_some(place)
    }
}

impl Drop for PlaintextPlace {
    fn drop(&mut self) {
        self.0.in_plaintext.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a connection is, and the bytes that showed it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Beginning {
    /// TLS, or what has to be.
    Tls(Bytes),
    /// Plain text.
    Plain(Protocol, Bytes),
}

/// Reads until it shows what a connection is, at most until `deadline`. Plain text is refused once its time is over;
/// `now_s` says what time it is when that has shown.
pub(super) async fn begin(
    io: &mut BoxIo,
    (listener, terms): (&Listener, PermissiveConfig),
    deadline: Instant,
    now_s: impl Fn() -> u64,
) -> Result<Beginning, Refusal> {
    let mut seen = BytesMut::with_capacity(1024);
    let (waited, silent) = match terms.silence {
        Silence::Refused => (deadline, Err(Refusal::ConnHandshakeTimeout)),
        Silence::Plaintext => {
            (deadline.min(Instant::now() + listener.limits.detect_timeout), Ok(Protocol::Tcp))
        }
    };
    let shown = match tokio::time::timeout_at(waited, io.read_buf(&mut seen)).await {
        Err(_) => Some(silent?),
        Ok(Ok(0) | Err(_)) => return Err(Refusal::TlsClosed),
        Ok(Ok(_)) if seen.first() == Some(&HANDSHAKE) => return Ok(Beginning::Tls(seen.freeze())),
        Ok(Ok(_)) => None,
    };
    if now_s() >= listener.permissive.until_unix_s() {
        return Err(Refusal::TlsPlaintextRefused);
    }
    let protocol = match (shown, listener.protocol) {
        (Some(protocol), _) => protocol,
        (None, ListenerProtocol::Tcp) => Protocol::Tcp,
        (None, ListenerProtocol::Http | ListenerProtocol::Detect) => {
            requests(io, &mut seen, deadline).await?
        }
    };
    Ok(Beginning::Plain(protocol, seen.freeze()))
}

/// Which HTTP it is.
async fn requests(io: &mut BoxIo, seen: &mut BytesMut, deadline: Instant) -> Result<Protocol, Refusal> {
    loop {
        if let Some(protocol) = spoken(seen) {
            return Ok(protocol);
        }
        match tokio::time::timeout_at(deadline, io.read_buf(seen)).await {
            Err(_) => return Err(Refusal::ConnHandshakeTimeout),
            Ok(Ok(0) | Err(_)) => return Err(Refusal::TlsClosed),
            Ok(Ok(_)) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listener::RawHead;
    use crate::listener::acceptor::tests::limited;
    use std::time::Duration;
    use tokio::io::AsyncWriteExt;

    const NOW_S: u64 = 1_795_219_200;

    /// A listener of this protocol that takes plain text for another minute.
    fn listener(protocol: ListenerProtocol, silence: Silence) -> (Listener, PermissiveConfig) {
        let terms = PermissiveConfig { until_unix_s: NOW_S + 60, silence };
        let mut listener = Arc::try_unwrap(limited(RawHead::LIMITS).0).unwrap();
        listener.protocol = protocol;
        listener.permissive = Arc::new(Permissive::new(Some(terms)));
        (listener, terms)
    }

    /// What comes in these pieces, a moment apart and so many seconds from now, is taken for this.
    async fn check(
        (protocol, silence): (ListenerProtocol, Silence),
        (pieces, in_s): (&[&[u8]], u64),
        expected: Result<Beginning, Refusal>,
    ) {
        let (listener, terms) = listener(protocol, silence);
        let (mut caller, ours) = tokio::io::duplex(4096);
        let all: Vec<_> = pieces.iter().map(|piece| piece.to_vec()).collect();
        let speaking = tokio::spawn(async move {
            for piece in all {
                caller.write_all(&piece).await.unwrap();
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        let (mut io, deadline): (BoxIo, _) = (Box::new(ours), Instant::now() + Duration::from_secs(5));
        let begun = begin(&mut io, (&listener, terms), deadline, || NOW_S + in_s).await;
        assert_eq!(begun, expected, "{protocol:?} {silence:?} {pieces:?} in {in_s} s");
        assert!(Instant::now() <= deadline);
        speaking.await.unwrap();
    }

    const HTTP: (ListenerProtocol, Silence) = (ListenerProtocol::Http, Silence::Refused);
    const TCP: (ListenerProtocol, Silence) = (ListenerProtocol::Tcp, Silence::Refused);
    const SERVED_FIRST: (ListenerProtocol, Silence) = (ListenerProtocol::Tcp, Silence::Plaintext);

    fn plain(protocol: Protocol, seen: &'static [u8]) -> Result<Beginning, Refusal> {
        Ok(Beginning::Plain(protocol, Bytes::from_static(seen)))
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_byte_says_whether_it_is_tls() {
        let tls = || Ok(Beginning::Tls(Bytes::from_static(b"\x16")));
        for of in [HTTP, TCP, SERVED_FIRST] {
            check(of, (&[b"\x16", b"\x03\x01"], 0), tls()).await;
            check(of, (&[b"\x16"], 3600), tls()).await;
        }
        check(HTTP, (&[b"G", b"ET / HTTP/1.1\r\n"], 0), plain(Protocol::Http1, b"G")).await;
        check(
            HTTP,
            (&[b"PRI * HT", b"TP/2.0\r\n\r\n"], 0),
            plain(Protocol::Http2, b"PRI * HTTP/2.0\r\n\r\n"),
        )
        .await;
        check(TCP, (&[b"SELECT 1"], 0), plain(Protocol::Tcp, b"SELECT 1")).await;
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_refused_unless_the_service_is_said_to_speak_first() {
        check(HTTP, (&[], 0), Err(Refusal::TlsClosed)).await;
        for of in [HTTP, TCP] {
            let (listener, terms) = listener(of.0, of.1);
            let (_caller, ours) = tokio::io::duplex(64);
            let (mut io, deadline): (BoxIo, _) = (Box::new(ours), Instant::now() + Duration::from_secs(5));
            let begun = begin(&mut io, (&listener, terms), deadline, || NOW_S).await;
            assert_eq!((begun, Instant::now()), (Err(Refusal::ConnHandshakeTimeout), deadline), "{of:?}");
        }
        let (listener, terms) = listener(SERVED_FIRST.0, SERVED_FIRST.1);
        let (_caller, ours) = tokio::io::duplex(64);
        let (mut io, began): (BoxIo, _) = (Box::new(ours), Instant::now());
        let begun = begin(&mut io, (&listener, terms), began + Duration::from_secs(5), || NOW_S).await;
        assert_eq!((begun, began.elapsed()), (plain(Protocol::Tcp, b""), listener.limits.detect_timeout));
        check(HTTP, (&[b"PRI"], 0), Err(Refusal::TlsClosed)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn plain_text_is_refused_from_the_moment_on_when_its_time_is_over() {
        for (in_s, expected) in [
            (59, plain(Protocol::Http1, b"GET / HTTP/1.1\r\n")),
            (60, Err(Refusal::TlsPlaintextRefused)),
            (3600, Err(Refusal::TlsPlaintextRefused)),
        ] {
            check(HTTP, (&[b"GET / HTTP/1.1\r\n"], in_s), expected).await;
        }
        check(TCP, (&[b"SELECT 1"], 60), Err(Refusal::TlsPlaintextRefused)).await;
    }

    #[test]
    fn a_reload_narrows_what_is_in_force_before_its_routes_are() {
        let (refused, plaintext) = (Silence::Refused, Silence::Plaintext);
        let of = |until_unix_s, silence| Some(PermissiveConfig { until_unix_s, silence });
        for (running, new, expected) in [
            (None, None, None),
            (None, of(60, refused), None),
            (of(60, plaintext), None, None),
            (of(60, refused), of(60, refused), of(60, refused)),
            (of(60, plaintext), of(60, plaintext), of(60, plaintext)),
            (of(60, plaintext), of(59, refused), of(59, refused)),
            (of(59, refused), of(60, plaintext), of(59, refused)),
            (of(59, plaintext), of(60, refused), of(59, refused)),
            (of(60, refused), of(59, plaintext), of(59, refused)),
        ] {
            let permissive = Permissive::new(running);
            permissive.narrow(new);
            assert_eq!(permissive.terms(), expected, "{running:?} and {new:?}");
        }
    }

    #[test]
    fn the_last_callers_are_told_by_address_and_the_rest_is_counted() {
        let permissive = Permissive::default();
        assert_eq!(permissive.callers(), PlaintextCallers::default());
        let address = |last: u8| -> IpAddr { [192, 0, 2, last].into() };
        for (last, now_s) in [(1, 100), (2, 101), (1, 102)] {
            permissive.note(Some(address(last)), now_s);
        }
        permissive.note("::ffff:192.0.2.2".parse().ok(), 103);
        permissive.note(None, 104);
        let callers = permissive.callers();
        assert_eq!((callers.connections, callers.last_unix_s, callers.forgotten), (5, Some(104), 0));
        assert_eq!(callers.by_address, [(address(2), 2, 103), (address(1), 2, 102)]);
        for last in 3..=66 {
            permissive.note(Some(address(last)), 200 + u64::from(last));
        }
        let callers = permissive.callers();
        assert_eq!((callers.by_address.len(), callers.forgotten), (CALLERS_MAX, 2));
        assert_eq!(callers.by_address.first(), Some(&(address(66), 1, 266)));
        assert_eq!(callers.by_address.last(), Some(&(address(3), 1, 203)));
    }
}

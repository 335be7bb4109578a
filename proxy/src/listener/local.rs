//! Step 2 of an outbound connection: the caller is the workload beside this sidecar, and who that is says our own SVID.
//!
//! Whoever can connect here speaks with the workload's identity; that is why such a listener is bound to loopback alone.
use super::caller_io::CallerIo;
use super::detect::{Question, Shown};
use super::handshake::{Protocol, Secured, Shows};
use super::{AcceptedIo, Listener};
use crate::config::ListenerProtocol;
use crate::pipeline::{Begun, Refusal};
use crate::routing::Choices;
use crate::upstream::BoxIo;
use crate::worker::Worker;
use bytes::BytesMut;
use postern_identity::{Role, verify_chain};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;

/// What an HTTP/2 connection begins with (RFC 9113 §3.4). No HTTP/1.1 request that is served begins like it.
pub(super) const HTTP2_BEGINNING: &[u8] = b"PRI * HTTP/2.0";

/// How long a connection that was quiet when the listener began to drain may still begin a request.
const ON_ITS_WAY: Duration = Duration::from_secs(1);

/// Takes the local workload's connection, once it says something.
pub(super) async fn take(
    (io, original): (AcceptedIo, Option<SocketAddr>),
    listener: &Listener,
    worker: &Worker,
) -> Result<Secured, Refusal> {
    let mut io = super::handshake::into_stream(io).map_err(|_| Refusal::ConnAbandoned)?;
    let choices = choices(listener, worker, original);
    let (seen, shown) = match (choices.requests, choices.streams && (choices.requests || choices.names)) {
        (true, false) => {
            // A connection that a pool keeps ready may be quiet for as long as any idle one.
            let first = tokio::time::timeout(listener.limits.idle_timeout, begin(&mut io));
            let first = tokio::select! {
                first = first => first,
                // It has asked for nothing, and nobody waits for it.
                () = long_drained(listener) => return Err(Refusal::ConnAbandoned),
            };
            let Ok(Ok((seen, protocol))) = first else { return Err(Refusal::ConnAbandoned) };
            (seen, Shown { protocol, server_name: None })
        }
        // The other side may be the one that speaks first.
        (false, false) => (BytesMut::new(), Shown::stream(None)),
        (_, true) => {
            let question = Question::new(choices, listener.limits.header_line_bytes_max);
            let asking = question.ask(&mut io, listener.limits.detect_timeout).await;
            asking.map_err(|_| Refusal::ConnAbandoned)?
        }
    };
    let snapshot = worker.snapshots.pin();
    let own = snapshot.svid.clone().ok_or(Refusal::TlsOwnIdentity)?;
    let chain = own.chain().to_vec();
    // By the same rules by which others will believe it: what nobody would take is not used either.
    let peer = verify_chain(&chain, &snapshot.trust.bundles, Role::Client, worker.clock.unix_time())
        .map_err(|error| Refusal::from_code(error.code()).unwrap_or(Refusal::TlsOwnIdentity))?;
    Ok(Secured {
        stream: CallerIo::Plain(Begun::new(seen.freeze(), io)),
        shown: Shows::Workload {
            peer: Arc::new(peer),
            chain,
            trust_generation: Some(snapshot.trust.generation),
        },
        own,
        sni: shown.server_name,
        protocol: shown.protocol,
        announced: None,
        handshake: None,
        plaintext: None,
    })
}

/// Returns when the listener has drained for so long that what was on its way by then has come.
async fn long_drained(listener: &Listener) {
    // A dropped sender means that the process goes away, which is a drain too.
    drop(listener.draining().wait_for(|drain| *drain).await);
    tokio::time::sleep(ON_ITS_WAY.min(listener.limits.drain_grace)).await;
}

/// What a connection may be: what the listener is for, and where that was captured, what its routes take.
fn choices(listener: &Listener, worker: &Worker, original: Option<SocketAddr>) -> Choices {
    let (requests, streams) = match listener.protocol {
        ListenerProtocol::Http => (true, false),
        ListenerProtocol::Tcp => (false, true),
        ListenerProtocol::Detect => (true, true),
    };
    let Some(original) = original.filter(|_| streams) else {
        return Choices { requests, streams, names: false };
    };
    worker.snapshots.pin().routing.choices(&listener.name, Some(original))
}

/// Reads until it is clear what is spoken.
async fn begin(io: &mut BoxIo) -> std::io::Result<(BytesMut, Protocol)> {
    let mut seen = BytesMut::with_capacity(1024);
    loop {
        if io.read_buf(&mut seen).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(protocol) = spoken(&seen) {
            return Ok((seen, protocol));
        }
    }
}

/// Which HTTP these bytes begin; nothing as long as they may be either.
pub(super) fn spoken(seen: &[u8]) -> Option<Protocol> {
    let begins_alike = seen.iter().zip(HTTP2_BEGINNING).all(|(a, b)| a == b);
    match (begins_alike, seen.len() >= HTTP2_BEGINNING.len()) {
        (true, true) => Some(Protocol::Http2),
        (false, _) => Some(Protocol::Http1),
        (true, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    /// What is said in these pieces is taken for this protocol, and nothing of it is lost.
    async fn check(pieces: &[&str], protocol: Option<Protocol>) {
        let (mut caller, ours) = tokio::io::duplex(8);
        let all: Vec<String> = pieces.iter().map(|&piece| piece.to_owned()).collect();
        let said = all.concat();
        tokio::spawn(async move {
            for piece in all {
                caller.write_all(piece.as_bytes()).await.unwrap();
            }
        });
        let mut io: BoxIo = Box::new(ours);
        let begun = begin(&mut io).await;
        assert_eq!(begun.as_ref().ok().map(|(_, protocol)| *protocol), protocol, "{pieces:?}");
        if let Ok((seen, _)) = begun {
            let mut rest = String::new();
            Begun::new(seen.freeze(), io).read_to_string(&mut rest).await.unwrap();
            assert_eq!(rest, said);
        }
    }

    #[tokio::test]
    async fn what_is_spoken_shows_in_the_first_bytes() {
        check(&["GET / HTTP/1.1\r\n\r\n"], Some(Protocol::Http1)).await;
        check(&["P", "OST / HTTP/1.1\r\n"], Some(Protocol::Http1)).await;
        check(&["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"], Some(Protocol::Http2)).await;
        check(&["PRI ", "* HT", "TP/2.0\r\n\r\nSM"], Some(Protocol::Http2)).await;
        check(&["PRI * HTTP/1.1\r\n\r\n"], Some(Protocol::Http1)).await;
        check(&["\u{1}"], Some(Protocol::Http1)).await;
        check(&[], None).await;
        check(&["PRI"], None).await;
    }
}

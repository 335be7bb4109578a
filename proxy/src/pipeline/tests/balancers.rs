//! Load balancers that say from whom a connection is.
use super::world::World;
use super::{ALLOW, GET, only, text};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

/// The world's connections come from 192.0.2.7.
fn world(from: &str) -> World {
    let behind = format!("address: 127.0.0.1:8443, proxy_protocol: {{ from: [{from}] }},");
    World::configured(Some(ALLOW), &[("address: 127.0.0.1:8443,", &behind)])
}

#[test]
fn the_source_of_a_request_is_the_one_that_a_trusted_balancer_names() {
    let (answer, records) = world("192.0.2.0/24").run(async |_, mut caller| {
        caller.io.write_all(b"PROXY TCP4 203.0.113.5 192.0.2.1 4711 443\r\n").await.unwrap();
        caller.ask(GET).await
    });
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(text(only(&records, "decision"), "src"), "203.0.113.5:4711");
}

/// A connection that is not served, for this reason.
fn check(world: World, header: &[u8]) {
    let (heard, records) = world.run(async |_, mut caller| {
        caller.io.write_all(header).await.unwrap();
        let mut answer = Vec::new();
        drop(tokio::io::AsyncReadExt::read_to_end(&mut caller.io, &mut answer).await);
        answer.len()
    });
    assert_eq!(heard, 0);
    assert_eq!(text(only(&records, "conn"), "reason"), "conn.proxy_protocol");
}

#[test]
fn a_connection_without_a_header_or_from_somebody_else_is_refused() {
    check(world("192.0.2.0/24"), b"\x16\x03\x01\x00\x05hello");
    check(world("10.0.0.0/8"), b"PROXY TCP4 203.0.113.5 192.0.2.1 4711 443\r\n");
}

#[test]
fn a_balancer_that_says_nothing_is_not_waited_for_longer_than_for_a_handshake() {
    let (_, records) = world("192.0.2.0/24").run(async |_, mut caller| {
        let mut answer = Vec::new();
        drop(tokio::io::AsyncReadExt::read_to_end(&mut caller.io, &mut answer).await);
    });
    assert_eq!(text(only(&records, "conn"), "reason"), "conn.handshake_timeout");
}

/// Whoever tries SVIDs behind a balancer is known by name.
#[test]
fn a_handshake_that_fails_is_recorded_as_that_of_whom_the_balancer_names() {
    let (_, records) = world("192.0.2.0/24").run(async |_, mut caller| {
        let header = b"PROXY TCP4 203.0.113.5 192.0.2.1 4711 443\r\n";
        caller.io.write_all(&[&header[..], b"no TLS at all\r\n\r\n"].concat()).await.unwrap();
        drop(tokio::io::AsyncReadExt::read_to_end(&mut caller.io, &mut Vec::new()).await);
    });
    let end = only(&records, "conn");
    assert_eq!((text(end, "src"), text(end, "reason")), ("203.0.113.5:4711", "tls.not_tls"));
}

#[test]
fn an_address_that_a_balancer_names_has_so_many_handshakes_and_a_balancer_has_none() {
    let changes = [
        ("address: 127.0.0.1:8443,", "address: 127.0.0.1:8443, proxy_protocol: { from: [192.0.2.0/24] },"),
        ("drain_grace: 1s", "drain_grace: 1s, handshakes_per_source_max: 1"),
    ];
    let world = World::configured(Some(ALLOW), &changes);
    let (answers, records) = world.run(async |world, mut held| {
        let from = |last: u8| format!("PROXY TCP4 203.0.113.{last} 192.0.2.1 4711 443\r\n");
        held.io.write_all(from(5).as_bytes()).await.unwrap();
        let mut refused = world.caller().await;
        refused.io.write_all(from(5).as_bytes()).await.unwrap();
        let heard = tokio::io::AsyncReadExt::read(&mut refused.io, &mut [0; 64]).await.unwrap();
        let mut other = world.caller().await;
        other.io.write_all(from(6).as_bytes()).await.unwrap();
        let other = other.ask(GET).await;
        (heard, other, held.ask(GET).await)
    });
    assert_eq!(answers.0, 0, "the connection is closed");
    assert!(answers.1.starts_with("HTTP/1.1 200 "), "another address: {}", answers.1);
    assert!(answers.2.starts_with("HTTP/1.1 200 "), "the one in progress: {}", answers.2);
    assert_eq!(text(only(&records, "conn"), "reason"), "conn.handshakes");
}

#[test]
fn a_header_that_comes_late_leaves_that_much_less_time_for_the_handshake() {
    let (took_s, records) = world("192.0.2.0/24").run(async |_, mut caller| {
        let began = Instant::now();
        tokio::time::sleep(Duration::from_secs(4)).await;
        caller.io.write_all(b"PROXY TCP4 203.0.113.5 192.0.2.1 4711 443\r\n").await.unwrap();
        drop(tokio::io::AsyncReadExt::read_to_end(&mut caller.io, &mut Vec::new()).await);
        began.elapsed().as_secs()
    });
    assert_eq!((took_s, text(only(&records, "conn"), "reason")), (5, "conn.handshake_timeout"));
}

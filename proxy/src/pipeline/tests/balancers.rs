//! Load balancers that say from whom a connection is.
use super::world::World;
use super::{ALLOW, GET, only, text};
use tokio::io::AsyncWriteExt;

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

//! The PROXY protocol (versions 1 and 2): a load balancer says in front of everything else from whom it has a connection.
//! Only those are believed that the configuration names, and they have to say it.
use crate::config::IpRange;
use crate::pipeline::Refusal;
use crate::upstream::BoxIo;
use bytes::{Bytes, BytesMut};
use ppp::{HeaderResult, PartialResult, v1, v2};
use std::net::{IpAddr, SocketAddr};
use tokio::io::AsyncReadExt;

/// The largest header that is read: one of version 2 with its extensions.
const HEADER_BYTES_MAX: usize = 4096;
/// What version 1 begins with, and the longest line of it.
const VERSION_1: &[u8] = b"PROXY";
const LINE_BYTES_MAX: usize = 107;

/// Who the connection is from, and what has been read behind the header.
#[derive(Debug)]
pub(super) struct Announced {
    pub(super) source: SocketAddr,
    pub(super) seen: Bytes,
}

/// Reads the header. The caller bounds the time.
pub(super) async fn read(
    io: &mut BoxIo,
    balancer: SocketAddr,
    trusted: &[IpRange],
) -> Result<Announced, Refusal> {
    if !trusted.iter().any(|range| range.contains(balancer.ip())) {
        return Err(Refusal::ConnProxyProtocol);
    }
    let mut seen = BytesMut::with_capacity(256);
    loop {
        if let Some((length, source)) = parse(&seen)? {
            let rest = seen.split_off(length);
            return Ok(Announced { source: source.unwrap_or(balancer), seen: rest.freeze() });
        }
        if seen.len() >= HEADER_BYTES_MAX || io.read_buf(&mut seen).await.unwrap_or(0) == 0 {
            return Err(Refusal::ConnProxyProtocol);
        }
    }
}

/// How long a header is, and who it names; nothing where there is more of it to come. A balancer that speaks for itself,
/// such as to see whether we live, names nobody.
fn parse(bytes: &[u8]) -> Result<Option<(usize, Option<SocketAddr>)>, Refusal> {
    // The parser of version 1 wants its line whole.
    let bytes = if bytes.starts_with(VERSION_1) {
        match memchr::memchr(b'\n', bytes) {
            Some(end) => bytes.get(..=end).unwrap_or(bytes),
            None if bytes.len() < LINE_BYTES_MAX => return Ok(None),
            None => return Err(Refusal::ConnProxyProtocol),
        }
    } else if VERSION_1.starts_with(bytes) {
        return Ok(None);
    } else {
        bytes
    };
    let parsed = HeaderResult::parse(bytes);
    if parsed.is_incomplete() {
        return Ok(None);
    }
    match parsed {
        HeaderResult::V1(Ok(header)) => Ok(Some((
            header.header.len(),
            match header.addresses {
                v1::Addresses::Tcp4(of) => Some(address(of.source_address.into(), of.source_port)),
                v1::Addresses::Tcp6(of) => Some(address(of.source_address.into(), of.source_port)),
                v1::Addresses::Unknown => None,
            },
        ))),
        HeaderResult::V2(Ok(header)) => {
            let length = header.len();
            let source = match (header.command, header.addresses) {
                (v2::Command::Local, _) | (_, v2::Addresses::Unspecified | v2::Addresses::Unix(_)) => None,
                (v2::Command::Proxy, v2::Addresses::IPv4(of)) => {
                    Some(address(of.source_address.into(), of.source_port))
                }
                (v2::Command::Proxy, v2::Addresses::IPv6(of)) => {
                    Some(address(of.source_address.into(), of.source_port))
                }
            };
            Ok(Some((length, source)))
        }
        HeaderResult::V1(Err(_)) | HeaderResult::V2(Err(_)) => Err(Refusal::ConnProxyProtocol),
    }
}

fn address(ip: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(ip.to_canonical(), port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ProxyVersion;
    use crate::upstream::{Announcement, header};
    use tokio::io::AsyncWriteExt;

    const BALANCER: &str = "10.0.0.9:1234";

    /// What comes by a connection from the balancer names this source, and nothing behind the header is lost.
    async fn check(pieces: &[&[u8]], source: Option<&str>) {
        let (mut caller, ours) = tokio::io::duplex(8);
        let said: Vec<Vec<u8>> = pieces.iter().map(|piece| piece.to_vec()).collect();
        tokio::spawn(async move {
            for piece in said {
                drop(caller.write_all(&piece).await);
            }
            drop(caller.write_all(b"\x16\x03\x01").await);
        });
        let mut io: BoxIo = Box::new(ours);
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let read = read(&mut io, BALANCER.parse().unwrap(), &trusted).await;
        let found = read.as_ref().ok().map(|announced| announced.source.to_string());
        assert_eq!(found.as_deref(), source, "{pieces:?}");
        if let Ok(Announced { seen, .. }) = read {
            let mut rest = seen.to_vec();
            io.read_to_end(&mut rest).await.unwrap();
            assert_eq!(rest, b"\x16\x03\x01", "{pieces:?}");
        }
    }

    fn v2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
        header.extend([0x20 | command, family]);
        header.extend(u16::try_from(addresses.len()).unwrap().to_be_bytes());
        header.extend(addresses);
        header
    }

    #[tokio::test]
    async fn a_header_names_who_the_connection_is_from() {
        check(&[b"PROXY TCP4 192.0.2.7 192.0.2.1 4000 443\r\n"], Some("192.0.2.7:4000")).await;
        check(&[b"PROXY TC", b"P6 2001:db8::7 2001:db8::1 4000 443\r", b"\n"], Some("[2001:db8::7]:4000"))
            .await;
        check(&[b"PROXY UNKNOWN\r\n"], Some(BALANCER)).await;
        let ipv4 = [192, 0, 2, 7, 192, 0, 2, 1, 0x0f, 0xa0, 1, 187];
        check(&[&v2(1, 0x11, &ipv4)], Some("192.0.2.7:4000")).await;
        let with_extension = [&ipv4[..], &[4, 0, 1, 0]].concat();
        check(&[&v2(1, 0x11, &with_extension)], Some("192.0.2.7:4000")).await;
        check(&[&v2(0, 0, &[])], Some(BALANCER)).await;
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused() {
        check(&[b"\x16\x03\x01\x02\x00\x01"], None).await;
        check(&[b"GET / HTTP/1.1\r\n\r\n"], None).await;
        check(&[b"PROXY TCP4 192.0.2.999 192.0.2.1 4000 443\r\n"], None).await;
        check(&[b"PROXY TCP4 ", &[b'1'; 5000]], None).await;
        check(&[&v2(7, 0x11, &[0; 12])], None).await;
        check(&[&v2(1, 0x11, &[0; 3])], None).await;
        check(&[&[&v2(1, 0x11, &[0; 12])[..13], &[0x11, 0xff, 0xff], &[0; 9000]].concat()], None).await;
    }

    /// What we say as a proxy we understand as the one behind it.
    async fn check_said((source, destination): (&str, &str), expected: &str) {
        // Of the greatest length that there may be.
        let caller = format!("spiffe://example.org/{}", "a".repeat(2048 - "spiffe://example.org/".len()));
        for version in [ProxyVersion::V1, ProxyVersion::V2] {
            for name in [None, Some("a".repeat(253))] {
                let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
                let of = Announcement { source, destination, name, caller: Some(caller.parse().unwrap()) };
                check(&[&header(version, Some(&of)).unwrap()], Some(expected)).await;
            }
        }
    }

    #[tokio::test]
    async fn what_is_said_to_upstreams_is_read_again() {
        check_said(("192.0.2.7:4000", "192.0.2.1:443"), "192.0.2.7:4000").await;
        check_said(("[2001:db8::7]:4000", "[2001:db8::1]:443"), "[2001:db8::7]:4000").await;
        check_said(("[::ffff:192.0.2.7]:4000", "192.0.2.1:443"), "192.0.2.7:4000").await;
        check_said(("192.0.2.7:4000", "[2001:db8::1]:443"), "192.0.2.7:4000").await;
        check_said(("[fe80::7%2]:4000", "[fe80::1%2]:443"), "[fe80::7]:4000").await;
        let end = |end: &str| end.parse().unwrap();
        let (source, destination) = (end("192.0.2.7:4000"), end("192.0.2.1:443"));
        let unknown = Announcement { source, destination, name: None, caller: None };
        for version in [ProxyVersion::V1, ProxyVersion::V2] {
            check(&[&header(version, None).unwrap()], Some(BALANCER)).await;
            check(&[&header(version, Some(&unknown)).unwrap()], Some("192.0.2.7:4000")).await;
        }
    }

    #[tokio::test]
    async fn who_is_not_named_is_not_believed() {
        let (_caller, ours) = tokio::io::duplex(8);
        let mut io: BoxIo = Box::new(ours);
        let refused = read(&mut io, "192.0.2.66:1".parse().unwrap(), &["10.0.0.0/8".parse().unwrap()]).await;
        assert_eq!(refused.err(), Some(Refusal::ConnProxyProtocol));
    }
}

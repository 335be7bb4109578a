//! The TCP sockets of this network namespace, as the kernel lists them to anyone (proc(5), `/proc/net/tcp`).

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// One socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpSocket {
    /// Where it is bound.
    pub local: SocketAddr,
    /// The other end; unspecified while it listens.
    pub remote: SocketAddr,
    /// What it is doing.
    pub state: State,
    /// Whose it is: the user who made it, or root once nobody holds it any more.
    pub uid: u32,
}

/// What a TCP socket is doing, as far as anybody here asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is connected, in both directions.
    Established,
    /// It waits for connections.
    Listening,
    /// It connects, or ends.
    Other,
}

/// A version of IP, and with it a table of sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Sockets of IPv4.
    Ipv4,
    /// Sockets of IPv6, which take IPv4 as well where they are bound to `[::]`.
    Ipv6,
}

impl Family {
    /// Of this address.
    #[must_use]
    pub fn of(address: SocketAddr) -> Self {
        if address.is_ipv4() { Self::Ipv4 } else { Self::Ipv6 }
    }

    /// Hands every socket to `each`; one line of the table is in memory at a time. A kernel without IPv6 has none of it.
    ///
    /// # Errors
    /// The table cannot be read, or is not what this was written for.
    pub fn each(self, each: impl FnMut(TcpSocket)) -> io::Result<()> {
        let path = match self {
            Self::Ipv4 => "/proc/self/net/tcp",
            Self::Ipv6 => "/proc/self/net/tcp6",
        };
        match File::open(path) {
            Ok(file) => read(BufReader::new(file), each),
            Err(error) if self == Self::Ipv6 && error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn read(table: impl BufRead, mut each: impl FnMut(TcpSocket)) -> io::Result<()> {
    for line in table.lines().skip(1) {
        let line = line?;
        let unknown = || io::Error::other(format!("the table of sockets has a line `{line}`"));
        each(socket(&line).ok_or_else(unknown)?);
    }
    Ok(())
}

/// `sl local remote state queues timer retransmits uid …`
fn socket(line: &str) -> Option<TcpSocket> {
    let mut words = line.split_ascii_whitespace().skip(1);
    let (local, remote) = (address(words.next()?)?, address(words.next()?)?);
    let state = match words.next()? {
        "01" => State::Established,
        "0A" => State::Listening,
        _ => State::Other,
    };
    Some(TcpSocket { local, remote, state, uid: words.nth(3)?.parse().ok()? })
}

/// Words of 32 bits, each as this machine reads the four bytes of it, and the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let bytes = |digits: &str| Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes());
    let ip: IpAddr = match ip.len() {
        8 => Ipv4Addr::from(bytes(ip)?).into(),
        32 => {
            let mut all = [0; 16];
            for (index, place) in all.chunks_exact_mut(4).enumerate() {
                place.copy_from_slice(&bytes(ip.get(index * 8..index * 8 + 8)?)?);
            }
            Ipv6Addr::from(all).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    const HEADING: &str =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n";

    /// Digits as a machine of this byte order writes them.
    fn digits(ip: &str) -> String {
        let bytes = match ip.parse().unwrap() {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        let word = |bytes: &[u8]| format!("{:08X}", u32::from_ne_bytes(bytes.try_into().unwrap()));
        bytes.chunks(4).map(word).collect()
    }

    fn check(line: &str, expected: Option<(&str, &str, State, u32)>) {
        let mut seen = Vec::new();
        let read = read(format!("{HEADING}{line}\n").as_bytes(), |socket| seen.push(socket));
        assert_eq!(read.is_ok(), expected.is_some(), "{line}: {read:?}");
        let expected = expected.map(|(local, remote, state, uid)| TcpSocket {
            local: local.parse().unwrap(),
            remote: remote.parse().unwrap(),
            state,
            uid,
        });
        assert_eq!(seen, expected.into_iter().collect::<Vec<_>>(), "{line}");
    }

    #[test]
    fn lines_of_the_table_are_sockets_and_anything_else_is_an_error() {
        let rest =
            "00000000:00000000 00:00000000 00000000  1000        0 12345 1 0000000000000000 100 0 0 10 0";
        let [four, other] = ["10.77.0.2", "192.0.2.7"].map(digits);
        let (any, six) = (digits("0.0.0.0"), digits("fd77::2"));
        check(
            &format!("   0: {four}:9C40 {other}:01BB 01 {rest}"),
            Some(("10.77.0.2:40000", "192.0.2.7:443", State::Established, 1000)),
        );
        check(
            &format!("  12: {any}:1F90 {any}:0000 0A {rest}"),
            Some(("0.0.0.0:8080", "0.0.0.0:0", State::Listening, 1000)),
        );
        check(
            &format!("   3: {six}:0050 {}:0000 06 {rest}", digits("::")),
            Some(("[fd77::2]:80", "[::]:0", State::Other, 1000)),
        );
        check(
            &format!("   3: {}:0050 {}:0051 01 {rest}", digits("::ffff:10.0.0.1"), digits("::ffff:10.0.0.2")),
            Some(("10.0.0.1:80", "10.0.0.2:81", State::Established, 1000)),
        );
        check("", None);
        check(&format!("   0: {four} {other}:01BB 01 {rest}"), None);
        check(&format!("   0: {four}:9C40 {other}:01BB 01 00000000:00000000"), None);
        check(&format!("   0: 0A4D0002FF:9C40 {other}:01BB 01 {rest}"), None);
        check(&format!("   0: GG4D0002:9C40 {other}:01BB 01 {rest}"), None);
    }

    #[test]
    fn the_kernel_lists_what_listens_here() {
        for (family, place) in [(Family::Ipv4, "127.0.0.1:0"), (Family::Ipv6, "[::1]:0")] {
            // A machine without IPv6 has none to look for.
            let Ok(listener) = TcpListener::bind(place) else { continue };
            let (at, mut found) = (listener.local_addr().unwrap(), Vec::new());
            family.each(|socket| found.extend((socket.local == at).then_some(socket))).unwrap();
            let uid = rustix::process::geteuid().as_raw();
            let expected = |found: &TcpSocket| found.state == State::Listening && found.uid == uid;
            assert!(matches!(found.as_slice(), [one] if expected(one)), "{family:?}: {found:?}");
        }
    }
}

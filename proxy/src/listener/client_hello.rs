//! The server name in a TLS ClientHello that goes on as it came (RFC 8446 §4.1.2, RFC 6066 §3).
//!
//! A parser of our own, and not that of rustls: what is passed through need not be anything that rustls would agree to
//! speak, and it has to be told apart whether more is to come or nothing can come of it.
use rustls_pki_types::DnsName;

/// The longest ClientHello that is looked into, and what its records may add to it at most.
const HELLO_BYTES_MAX: usize = 16 * 1024;
/// No record holds more (RFC 8446 §5.1).
const RECORD_BYTES_MAX: usize = 1 << 14;

/// What TLS begins with: a record of the handshake.
pub(super) const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
/// The name within the sealed part is the one that counts (RFC 9849 §5), and the one outside is everybody's.
const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;
const HOST_NAME: u8 = 0;

/// The name that these first bytes of a stream ask for; `Some(None)` where they ask for none, or for none that one can be
/// sure of, and `None` where that shows only in what is to come.
pub(super) fn server_name(bytes: &[u8]) -> Option<Option<String>> {
    let (mut records, mut hello) = (Bytes(bytes), Vec::new());
    loop {
        if let Some((kind, length)) = Bytes(&hello).message() {
            if kind != CLIENT_HELLO || length > HELLO_BYTES_MAX {
                return Some(None);
            }
            let mut rest = Bytes(hello.get(4..).unwrap_or_default());
            if let Some(body) = rest.take(length) {
                return Some(Bytes(body).name_in_hello());
            }
        }
        match records.record() {
            Record::Whole(fragment) => hello.extend_from_slice(fragment),
            Record::Begun => return None,
            Record::Other => return Some(None),
        }
    }
}

enum Record<'a> {
    Whole(&'a [u8]),
    /// More of it is to come.
    Begun,
    /// It is none of the handshake.
    Other,
}

/// Bytes that are read from the front.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_be_bytes)
    }

    /// A vector behind a length of one byte.
    fn short(&mut self) -> Option<&'a [u8]> {
        let length = self.u8()?;
        self.take(length.into())
    }

    /// A vector behind a length of two bytes.
    fn long(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(length.into())
    }

    /// The kind and the length of a message of the handshake.
    fn message(&mut self) -> Option<(u8, usize)> {
        let (kind, high, low) = (self.u8()?, self.u8()?, self.u16()?);
        Some((kind, usize::from(high) << 16 | usize::from(low)))
    }

    fn record(&mut self) -> Record<'a> {
        if self.0.first().is_some_and(|kind| *kind != HANDSHAKE)
            || self.0.get(1).is_some_and(|version| *version != 3)
        {
            return Record::Other;
        }
        let mut after = Bytes(self.0);
        let length = after.take(3).and_then(|_| after.u16()).map(usize::from);
        match length {
            None => Record::Begun,
            // An empty one brings nothing on, and could be repeated for ever.
            Some(length) if length == 0 || length > RECORD_BYTES_MAX => Record::Other,
            Some(length) => match after.take(length) {
                None => Record::Begun,
                Some(fragment) => {
                    self.0 = after.0;
                    Record::Whole(fragment)
                }
            },
        }
    }

    /// The one name in a whole ClientHello. Two of them are none: which one the server takes is a guess.
    fn name_in_hello(mut self) -> Option<String> {
        let (_version, _random) = (self.u16()?, self.take(32)?);
        let (_session, _suites, _compression) = (self.short()?, self.long()?, self.short()?);
        let mut extensions = Bytes(self.long()?);
        if !self.0.is_empty() {
            return None;
        }
        let mut names = None;
        while !extensions.0.is_empty() {
            let (kind, data) = (extensions.u16()?, extensions.long()?);
            match kind {
                ENCRYPTED_CLIENT_HELLO => return None,
                SERVER_NAME if names.is_some() => return None,
                SERVER_NAME => names = Some(data),
                _ => {}
            }
        }
        Bytes(names?).one_name()
    }

    fn one_name(mut self) -> Option<String> {
        let mut list = Bytes(self.long()?);
        let (kind, name) = (list.u8()?, list.long()?);
        if kind != HOST_NAME || !list.0.is_empty() || !self.0.is_empty() {
            return None;
        }
        let name = std::str::from_utf8(name).ok()?.to_ascii_lowercase();
        DnsName::try_from(name.as_str()).is_ok().then_some(name)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn with_length(bytes: usize, of: &[u8]) -> Vec<u8> {
        let length = u64::try_from(of.len()).unwrap().to_be_bytes();
        [&length[8 - bytes..], of].concat()
    }

    fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
        [&kind.to_be_bytes(), &*with_length(2, data)].concat()
    }

    fn named(name: &str) -> Vec<u8> {
        extension(0, &with_length(2, &[&[0], &*with_length(2, name.as_bytes())].concat()))
    }

    /// The handshake message with these extensions.
    fn hello(extensions: &[Vec<u8>]) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.extend(with_length(1, &[9; 32]));
        body.extend(with_length(2, &[0x13, 1]));
        body.extend(with_length(1, &[0]));
        body.extend(with_length(2, &extensions.concat()));
        [&[1], &*with_length(3, &body)].concat()
    }

    /// A message in records of so many bytes.
    fn records(message: &[u8], bytes: usize) -> Vec<u8> {
        message.chunks(bytes).flat_map(|part| [&[22, 3, 1], &*with_length(2, part)].concat()).collect()
    }

    /// The first bytes of a client that asks for this name, in small records.
    pub(crate) fn hello_for(name: &str) -> Vec<u8> {
        records(&hello(&[extension(0x2b, &[2, 3, 4]), named(name)]), 50)
    }

    /// These bytes ask for this name, and no part of them says anything but that more is to come.
    fn check(bytes: &[u8], expected: Option<&str>) {
        assert_eq!(server_name(bytes), Some(expected.map(str::to_owned)), "{bytes:02x?}");
        if expected.is_some() {
            for end in 0..bytes.len() {
                assert_eq!(server_name(&bytes[..end]), None, "{end} bytes of {bytes:02x?}");
            }
            let and_more = [bytes, b"more"].concat();
            assert_eq!(server_name(&and_more), Some(expected.map(str::to_owned)));
        }
    }

    #[test]
    fn a_name_is_found_however_its_bytes_are_split_over_records() {
        for bytes in [1, 3, 50, 16_384] {
            check(
                &records(&hello(&[extension(0x2b, &[2, 3, 4]), named("Orders.test")]), bytes),
                Some("orders.test"),
            );
        }
        // As a library says it.
        let roots = rustls::RootCertStore::empty();
        let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let name = "bills.example.org".try_into().unwrap();
        let mut client = rustls::ClientConnection::new(config.into(), name).unwrap();
        let mut said = Vec::new();
        client.write_tls(&mut said).unwrap();
        check(&said, Some("bills.example.org"));
    }

    proptest::proptest! {
        #[test]
        fn an_answer_stands_whatever_comes_behind_it(
            damage in proptest::collection::vec((0_usize..200, proptest::num::u8::ANY), 0..4),
            end in 0_usize..200,
        ) {
            let mut bytes = hello_for("orders.test");
            for (at, byte) in damage {
                if let Some(place) = bytes.get_mut(at) {
                    *place = byte;
                }
            }
            if let Some(name) = server_name(&bytes[..end.min(bytes.len())]) {
                proptest::prop_assert_eq!(server_name(&bytes), Some(name));
            }
        }
    }

    #[test]
    fn what_names_nobody_for_certain_names_nobody() {
        check(&records(&hello(&[]), 99), None);
        check(&records(&hello(&[named("a.test"), named("b.test")]), 999), None);
        check(&records(&hello(&[named("a.test"), extension(0xfe0d, &[0; 8])]), 999), None);
        let two = [&[0], &*with_length(2, b"a.test"), &[0], &*with_length(2, b"b.test")].concat();
        check(&records(&hello(&[extension(0, &with_length(2, &two))]), 999), None);
        check(&records(&hello(&[extension(0, &with_length(2, &[1, 0, 1, 65]))]), 999), None);
        for name in ["", "a b.test", "192.0.2.7", "\u{e4}.test", "a.test\0"] {
            check(&records(&hello(&[named(name)]), 999), None);
        }
        let mut longer = hello(&[named("a.test")]);
        longer.push(0);
        longer[3] += 1;
        check(&records(&longer, 999), None);
        let mut server = hello(&[named("a.test")]);
        server[0] = 2;
        check(&records(&server, 999), None);
    }

    #[test]
    fn what_is_no_client_hello_is_not_waited_for() {
        check(b"GET / HTTP/1.1\r\n", None);
        check(&[22, 2], None);
        check(&[22, 3, 1, 0, 0], None);
        check(&[22, 3, 1, 0xff, 0xff], None);
        // A message that claims to be longer than any.
        check(&[22, 3, 1, 0, 4, 1, 0, 0xff, 0xff], None);
        check(&[22, 3, 1, 0, 1, 1, 23, 3, 3, 0, 1, 0], None);
    }
}

//! Where an upstream listens.
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// The other end of a connection to an upstream. A clone allocates nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EndpointAddress {
    /// A socket of the network.
    Ip(SocketAddr),
    /// A Unix socket of this machine.
    Unix(SocketPath),
}

/// The path of a Unix socket: absolute, at most 107 bytes, and such that it is written in a record as it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketPath(Arc<str>);

/// Longest path of a Unix socket that Linux takes, in bytes.
const PATH_BYTES_MAX: usize = 107;

/// A path to which no upstream is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SocketPathError {
    /// It depends on where one stands, or names a folder.
    #[error("it is no absolute path of a file, without `..`")]
    Relative,
    /// The kernel's limit.
    #[error("it has more than {PATH_BYTES_MAX} bytes, which the system does not take")]
    TooLong,
    /// Control characters, quotes, backslashes and what is not ASCII.
    #[error("it has a character that is not plain ASCII, or a quote or backslash")]
    NotPlain,
}

impl SocketPath {
    /// Takes a path as it is.
    ///
    /// # Errors
    /// [`SocketPathError`]
    pub fn new(path: &str) -> Result<Self, SocketPathError> {
        if !path.starts_with('/') || path.ends_with('/') || path.split('/').any(|part| part == "..") {
            return Err(SocketPathError::Relative);
        }
        if path.len() > PATH_BYTES_MAX {
            return Err(SocketPathError::TooLong);
        }
        if path.bytes().any(|byte| !matches!(byte, b' '..=b'~') || matches!(byte, b'"' | b'\\')) {
            return Err(SocketPathError::NotPlain);
        }
        Ok(Self(path.into()))
    }

    /// The path.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl EndpointAddress {
    /// The IP address with its port, if it is one.
    pub fn ip(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

impl From<SocketAddr> for EndpointAddress {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}

impl<I: Into<IpAddr>> From<(I, u16)> for EndpointAddress {
    fn from(address: (I, u16)) -> Self {
        Self::Ip(address.into())
    }
}

impl PartialEq<SocketAddr> for EndpointAddress {
    fn eq(&self, other: &SocketAddr) -> bool {
        self.ip() == Some(*other)
    }
}

impl fmt::Display for EndpointAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix://{}", path.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, expected: Result<(), SocketPathError>) {
        assert_eq!(SocketPath::new(path).map(drop), expected, "{path}");
    }

    #[test]
    fn a_socket_has_an_absolute_path_that_the_system_takes_and_a_record_shows() {
        check("/run/app/app.sock", Ok(()));
        check("/run/my app/a-b_c~1.sock", Ok(()));
        check(&format!("/{}", "a".repeat(106)), Ok(()));
        check(&format!("/{}", "a".repeat(107)), Err(SocketPathError::TooLong));
        for relative in ["", "app.sock", "./app.sock", "@app", "/", "/run/", "/run/../app.sock"] {
            check(relative, Err(SocketPathError::Relative));
        }
        for odd in ["/run/\"", "/run/a\\b", "/run/\n", "/run/\0", "/run/\u{202e}x", "/run/\u{7f}"] {
            check(odd, Err(SocketPathError::NotPlain));
        }
    }

    #[test]
    fn an_endpoint_is_displayed_as_it_is_configured() {
        let unix = EndpointAddress::Unix(SocketPath::new("/run/app.sock").unwrap());
        assert_eq!(unix.to_string(), "unix:///run/app.sock");
        assert_eq!(EndpointAddress::from(SocketAddr::from(([10, 0, 0, 7], 80))).to_string(), "10.0.0.7:80");
    }
}

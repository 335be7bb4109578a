//! Where a caller's bytes come from.
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// The other end of a caller's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remote {
    /// A socket of the network.
    Address(SocketAddr),
    /// A process of this machine, by a Unix socket. There is no address, and none is made up.
    Process {
        /// The user that it ran as when it connected, by the kernel's word.
        uid: u32,
        /// Its number, where it is seen from here: 0 for one of another PID namespace. Numbers come back.
        pid: u32,
    },
}

impl Remote {
    /// The IP address, if there is one.
    pub fn ip(&self) -> Option<IpAddr> {
        self.address().map(|address| address.ip())
    }

    /// The address with its port, if there is one.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Address(address) => Some(*address),
            Self::Process { .. } => None,
        }
    }
}

/// A text that says nothing about where a caller's bytes come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("neither an address with a port nor `unix:uid=…,pid=…`")]
pub struct RemoteError;

/// Reads what is displayed.
impl FromStr for Remote {
    type Err = RemoteError;

    fn from_str(text: &str) -> Result<Self, RemoteError> {
        let Some(process) = text.strip_prefix("unix:uid=") else {
            return text.parse().map(Self::Address).map_err(|_| RemoteError);
        };
        let (uid, pid) = process.split_once(",pid=").ok_or(RemoteError)?;
        let number = |text: &str| text.parse::<u32>().map_err(|_| RemoteError);
        Ok(Self::Process { uid: number(uid)?, pid: number(pid)? })
    }
}

impl From<SocketAddr> for Remote {
    fn from(address: SocketAddr) -> Self {
        Self::Address(address)
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Process { uid, pid } => write!(f, "unix:uid={uid},pid={pid}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is written for one is read as the same one.
    fn check(origin: Remote, written: &str) {
        assert_eq!(origin.to_string(), written);
        assert_eq!(written.parse(), Ok(origin));
    }

    #[test]
    fn what_is_written_is_read_again() {
        check(Remote::Address(SocketAddr::from(([10, 0, 0, 7], 4711))), "10.0.0.7:4711");
        check(Remote::Process { uid: 1000, pid: 42 }, "unix:uid=1000,pid=42");
    }

    #[test]
    fn nothing_else_is_read() {
        for odd in ["", "10.0.0.7", "unix:", "unix:uid=1000", "unix:uid=-1,pid=2", "unix:uid=1,pid=2,gid=3"] {
            assert_eq!(odd.parse::<Remote>(), Err(RemoteError), "{odd}");
        }
    }
}

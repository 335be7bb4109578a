//! Where a SPIFFE Workload API is served: the two forms of SPIFFE_Workload_Endpoint §4, and nothing else.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use thiserror::Error;

/// `sun_path` of Linux, without its final NUL.
const SOCKET_BYTES_MAX: usize = 107;

/// Where a SPIFFE Workload API is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkloadEndpoint {
    /// A Unix socket by its absolute path, at most 107 bytes.
    Unix(PathBuf),
    /// An address and a port that is not 0. There is no TLS on it (§3.1): private keys travel in the clear.
    Tcp(SocketAddr),
}

/// Why a text is not the address of a Workload API.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EndpointError {
    /// No scheme, or another one.
    #[error("`{0}` is no Workload API: write `unix:///path/to/socket` or `tcp://127.0.0.1:8000`")]
    Scheme(String),
    /// `unix://host/path`.
    #[error("`{0}` names an authority: after `unix:` comes an absolute path, as in `unix:///run/agent.sock`")]
    UnixAuthority(String),
    /// `unix:path`, a folder, or nothing.
    #[error("`{0}` holds no absolute path of a socket: write it like `unix:///run/agent.sock`")]
    UnixPath(String),
    /// `?`, `#` or `%`.
    #[error("`{0}` has a query, a fragment or a percent sign: write the plain path of the socket alone")]
    UnixOther(String),
    /// Longer than the system takes.
    #[error("the socket's path has {0} bytes, the system takes at most {SOCKET_BYTES_MAX}: move it up")]
    UnixLength(usize),
    /// Anything but an address and a port.
    #[error("`{0}` is not an IP address and a port alone: write it like `tcp://127.0.0.1:8000`")]
    Tcp(String),
}

impl WorkloadEndpoint {
    /// True when nothing that passes can be seen from another machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            WorkloadEndpoint::Unix(_) => true,
            WorkloadEndpoint::Tcp(address) => address.ip().to_canonical().is_loopback(),
        }
    }
}

/// From a URI (SPIFFE_Workload_Endpoint §4).
impl FromStr for WorkloadEndpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let (scheme, rest) = text.split_once(':').ok_or_else(|| EndpointError::Scheme(text.to_owned()))?;
        if scheme.eq_ignore_ascii_case("unix") {
            unix(text, rest)
        } else if scheme.eq_ignore_ascii_case("tcp") {
            tcp(rest).ok_or_else(|| EndpointError::Tcp(text.to_owned()))
        } else {
            Err(EndpointError::Scheme(text.to_owned()))
        }
    }
}

fn unix(text: &str, rest: &str) -> Result<WorkloadEndpoint, EndpointError> {
    let path = match rest.strip_prefix("//") {
        None => rest,
        // The authority is there, and empty.
        Some(path) if path.starts_with('/') => path,
        Some("") => return Err(EndpointError::UnixPath(text.to_owned())),
        Some(_) => return Err(EndpointError::UnixAuthority(text.to_owned())),
    };
    if !path.starts_with('/') || path.ends_with('/') || path.contains('\0') {
        return Err(EndpointError::UnixPath(text.to_owned()));
    }
    if path.contains(['?', '#', '%']) {
        return Err(EndpointError::UnixOther(text.to_owned()));
    }
    if path.len() > SOCKET_BYTES_MAX {
        return Err(EndpointError::UnixLength(path.len()));
    }
    Ok(WorkloadEndpoint::Unix(Path::new(path).to_owned()))
}

fn tcp(rest: &str) -> Option<WorkloadEndpoint> {
    let address: SocketAddr = rest.strip_prefix("//")?.parse().ok()?;
    (address.port() != 0).then_some(WorkloadEndpoint::Tcp(address))
}

impl fmt::Display for WorkloadEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WorkloadEndpoint::Unix(path) => write!(f, "unix://{}", path.display()),
            WorkloadEndpoint::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A text becomes an endpoint, shown like this, or is refused with these words.
    #[track_caller]
    fn check(text: &str, expected: Result<&str, &str>) {
        match (text.parse::<WorkloadEndpoint>(), expected) {
            (Ok(endpoint), Ok(shown)) => assert_eq!(endpoint.to_string(), shown),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{text}: {error}"),
            (found, _) => panic!("{text}: {found:?}"),
        }
    }

    #[test]
    fn a_socket_is_an_absolute_path_without_authority() {
        check("unix:///run/agent.sock", Ok("unix:///run/agent.sock"));
        check("unix:/run/agent.sock", Ok("unix:///run/agent.sock"));
        check("UNIX:///run/agent.sock", Ok("unix:///run/agent.sock"));
        check("unix://run/agent.sock", Err("names an authority"));
        check("unix:run/agent.sock", Err("no absolute path"));
        check("unix:", Err("no absolute path"));
        check("unix://", Err("no absolute path"));
        check("unix:///", Err("no absolute path"));
        check("unix:///run/", Err("no absolute path"));
        check("unix:///run/a?b=c", Err("a query, a fragment"));
        check("unix:///run/a#b", Err("a query, a fragment"));
        check("unix:///run/a%20b", Err("a percent sign"));
        check(&format!("unix:///{}", "a".repeat(107)), Err("108 bytes"));
        check("unix-abstract:agent", Err("is no Workload API"));
    }

    #[test]
    fn tcp_is_an_address_and_a_port_alone() {
        check("tcp://127.0.0.1:8000", Ok("tcp://127.0.0.1:8000"));
        check("tcp://[::1]:8000", Ok("tcp://[::1]:8000"));
        for other in ["127.0.0.1", "localhost:8000", "127.0.0.1:0", "127.0.0.1:8000/", "127.0.0.1:8000/foo"] {
            check(&format!("tcp://{other}"), Err("an IP address and a port alone"));
        }
        check("tcp://user@127.0.0.1:8000", Err("an IP address and a port alone"));
        check("tcp://127.0.0.1:8000?a=b", Err("an IP address and a port alone"));
        check("tcp:127.0.0.1:8000", Err("an IP address and a port alone"));
        check("http://127.0.0.1:8000", Err("is no Workload API"));
        check("/run/agent.sock", Err("is no Workload API"));
        check("", Err("is no Workload API"));
    }

    #[test]
    fn only_what_stays_on_the_machine_is_local() {
        let local = |text: &str| text.parse::<WorkloadEndpoint>().unwrap().is_local();
        assert!(local("unix:///a") && local("tcp://127.3.0.1:1") && local("tcp://[::1]:1"));
        assert!(local("tcp://[::ffff:127.0.0.1]:1"));
        assert!(!local("tcp://10.0.0.1:1") && !local("tcp://0.0.0.0:1"));
    }
}

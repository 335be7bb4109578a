//! The process that comes: asks the one that runs for its listening sockets, and tells it once it accepts itself.
use super::{Inherited, SOCKETS_MAX, predecessor::READY, rights};
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What the answer may have, head and lines: a socket takes some forty bytes.
const ANSWER_BYTES_MAX: usize = 32 * 1024;
/// How long one read or write may take; the other process is on this machine.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);

/// What the admin socket's connection is switched to.
pub(crate) const PROTOCOL: &str = "postern-take-over";

/// Why the sockets were not given. The process that runs is as it was.
#[derive(Debug, thiserror::Error)]
pub enum TakeOverError {
    /// Nobody is there.
    #[error("nobody answers at `{}`: {error}; start without `--take-over` where no sidecar runs", .path.display())]
    Nobody {
        /// The admin socket.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// It does not want to.
    #[error("the sidecar at `{}` hands nothing over: {answer}", .path.display())]
    Refused {
        /// The admin socket.
        path: PathBuf,
        /// The first line of its answer.
        answer: String,
    },
    /// It went away half way, or speaks another protocol.
    #[error("the sidecar at `{}` broke off: {error}", .path.display())]
    BrokenOff {
        /// The admin socket.
        path: PathBuf,
        /// How.
        error: io::Error,
    },
}

/// The process that is being replaced; it goes on as before where this is dropped unused.
#[derive(Debug)]
pub struct Predecessor(UnixStream);

impl Predecessor {
    /// Its number, as far as this process may know it.
    pub fn pid(&self) -> Option<u32> {
        crate::local_socket::peer(&self.0)
    }

    /// Tells it that this process accepts: from now on it accepts no more, and drains.
    ///
    /// # Errors
    /// It is not there any more, which is as well.
    pub fn relieve(mut self) -> io::Result<()> {
        self.0.write_all(READY)
    }
}

/// Asks the sidecar behind an admin socket for what it listens on.
///
/// # Errors
/// [`TakeOverError`]; nothing has changed then.
pub fn take_over(path: &Path) -> Result<(Inherited, Predecessor), TakeOverError> {
    let nobody = |error| TakeOverError::Nobody { path: path.to_owned(), error };
    let broken = |error| TakeOverError::BrokenOff { path: path.to_owned(), error };
    let mut socket = UnixStream::connect(path).map_err(nobody)?;
    socket.set_read_timeout(Some(STEP_TIMEOUT)).map_err(broken)?;
    socket.set_write_timeout(Some(STEP_TIMEOUT)).map_err(broken)?;
    let request = format!(
        "POST /take-over HTTP/1.1\r\nhost: postern\r\nconnection: upgrade\r\nupgrade: {PROTOCOL}\r\ncontent-length: 0\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).map_err(broken)?;
    let (mut answer, mut descriptors) = (Vec::new(), Vec::new());
    let lines_at = loop {
        if let Some(at) = answer.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        more(&socket, &mut answer, &mut descriptors).map_err(broken)?;
    };
    if !answer.starts_with(b"HTTP/1.1 101 ") {
        let first = answer.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let answer = String::from_utf8_lossy(first).into_owned();
        return Err(TakeOverError::Refused { path: path.to_owned(), answer });
    }
    loop {
        let lines = answer.get(lines_at..).unwrap_or_default();
        if let Some(count) = announced(lines).map_err(broken)?
            && lines.iter().filter(|byte| **byte == b'\n').count() > count
        {
            if descriptors.len() != count {
                let error = format!("{count} sockets were announced and {} came", descriptors.len());
                return Err(broken(io::Error::other(error)));
            }
            return Ok((Inherited::new(descriptors), Predecessor(socket)));
        }
        more(&socket, &mut answer, &mut descriptors).map_err(broken)?;
    }
}

/// How many sockets the first line says; `None` while it is not whole.
fn announced(lines: &[u8]) -> io::Result<Option<usize>> {
    let Some(end) = lines.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
    let line: serde_json::Value = serde_json::from_slice(lines.get(..end).unwrap_or_default())?;
    let number = |name: &str| line.get(name).and_then(serde_json::Value::as_u64);
    let count = number("sockets").and_then(|count| usize::try_from(count).ok());
    match (number("v"), count) {
        (Some(1), Some(count)) if count <= SOCKETS_MAX => Ok(Some(count)),
        (_, _) => Err(io::Error::other(format!("`{line}` is of another version"))),
    }
}

fn more(socket: &UnixStream, answer: &mut Vec<u8>, descriptors: &mut Vec<OwnedFd>) -> io::Result<()> {
    let mut bytes = [0; 4096];
    let count = rights::receive(socket, &mut bytes, descriptors)?;
    if count == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if answer.len() + count > ANSWER_BYTES_MAX || descriptors.len() > SOCKETS_MAX {
        return Err(io::Error::other("it says too much"));
    }
    answer.extend_from_slice(bytes.get(..count).unwrap_or_default());
    Ok(())
}

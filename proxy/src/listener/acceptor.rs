//! One acceptor hands each connection to the worker that has the fewest: a few callers with long HTTP/2
//! connections must not all sit on one worker, as they may where the kernel spreads them.
use super::{Listener, Place};
use crate::pipeline::Refusal;
use crate::upstream::BoxIo;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

/// A connection on its way to a worker.
#[derive(Debug)]
pub struct Accepted {
    /// The byte stream.
    pub io: AcceptedIo,
    /// Who called.
    pub source: SocketAddr,
    /// Where they called.
    pub local: SocketAddr,
    /// The listener's place that it takes.
    pub place: Place,
    /// The worker's place that it takes.
    pub load: LoadPlace,
}

/// A byte stream, not yet bound to a worker's runtime.
pub enum AcceptedIo {
    /// From the kernel.
    Tcp(std::net::TcpStream),
    /// From a test.
    Stream(BoxIo),
}

impl std::fmt::Debug for AcceptedIo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Tcp(_) => "Tcp",
            Self::Stream(_) => "Stream",
        })
    }
}

/// One of a worker's connections, given back on drop.
#[derive(Debug)]
pub struct LoadPlace(Arc<AtomicUsize>);

impl Drop for LoadPlace {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The way to a worker.
#[derive(Clone, Debug)]
pub struct WorkerHandle {
    sender: mpsc::Sender<Accepted>,
    load: Arc<AtomicUsize>,
}

/// Connections that may wait for a busy worker; beyond it the next worker is asked.
const WAITING_MAX: usize = 256;

impl WorkerHandle {
    /// A handle, and the worker's end of it.
    pub fn new() -> (Self, mpsc::Receiver<Accepted>) {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        (Self { sender, load: Arc::default() }, receiver)
    }

    /// Takes a place on this worker.
    pub fn take_place(&self) -> LoadPlace {
        self.load.fetch_add(1, Ordering::Relaxed);
        LoadPlace(Arc::clone(&self.load))
    }

    fn load(&self) -> usize {
        self.load.load(Ordering::Relaxed)
    }
}

/// After a failed accept, such as one for want of file descriptors, the loop rests this long: it neither
/// ends nor spins.
const PAUSE: Duration = Duration::from_millis(50);

/// Accepts until told to stop. No error of a caller or of the machine ends the loop.
pub(crate) async fn accept_loop(
    socket: TcpListener,
    listener: Arc<Listener>,
    workers: Vec<WorkerHandle>,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        let handed = match accepted {
            Ok((stream, source)) => hand_over(stream, source, &listener, &workers),
            Err(error) => Err(error),
        };
        if let Err(error) = handed {
            listener.metrics.connection_refused(Refusal::ConnLimit.code());
            if !is_callers_fault(&error) {
                tracing::warn!(listener = &*listener.name, %error, "accepting failed");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn hand_over(
    stream: tokio::net::TcpStream,
    source: SocketAddr,
    listener: &Arc<Listener>,
    workers: &[WorkerHandle],
) -> io::Result<()> {
    let full = || io::Error::from(io::ErrorKind::ConnectionRefused);
    let place = Place::take(listener).ok_or_else(full)?;
    let local = stream.local_addr()?;
    stream.set_nodelay(true)?;
    let worker = workers.iter().min_by_key(|worker| worker.load()).ok_or_else(full)?;
    let io = AcceptedIo::Tcp(stream.into_std()?);
    let accepted = Accepted { io, source, local, place, load: worker.take_place() };
    worker.sender.try_send(accepted).map_err(|_| full())
}

/// A caller that is refused or went away is no reason to rest.
fn is_callers_fault(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::NotConnected
            | io::ErrorKind::InvalidInput
    )
}

//! One acceptor hands each connection to the worker that has the fewest: a few callers with long HTTP/2
//! connections must not all sit on one worker, as they may where the kernel spreads them.
use super::socket::{Arrived, Socket};
use super::{Callers, Handshake, Listener, Place};
use crate::descriptors;
use crate::pipeline::Refusal;
use crate::upstream::BoxIo;
use postern_audit::Remote;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};

/// A connection on its way to a worker.
#[derive(Debug)]
pub struct Accepted {
    /// The byte stream.
    pub io: AcceptedIo,
    /// Who called.
    pub source: Remote,
    /// Where they called; `None` for a Unix socket.
    pub local: Option<SocketAddr>,
    /// Where the connection was going when it was led here, as far as that is known; looked for on the listeners that are for
    /// such connections alone.
    pub original: Option<SocketAddr>,
    /// The listener's place that it takes.
    pub place: Place,
    /// Its address's place among the handshakes, where it is known already.
    pub handshake: Option<Handshake>,
    /// The worker's place that it takes.
    pub load: LoadPlace,
}

/// A byte stream, not yet bound to a worker's runtime.
pub enum AcceptedIo {
    /// From the kernel.
    Tcp(std::net::TcpStream),
    /// From the kernel, by a Unix socket.
    Unix(std::os::unix::net::UnixStream),
    /// From a test.
    Stream(BoxIo),
}

impl AcceptedIo {
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Tcp(stream) => Some(stream.as_fd()),
            Self::Unix(stream) => Some(stream.as_fd()),
            Self::Stream(_) => None,
        }
    }
}

impl std::fmt::Debug for AcceptedIo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Tcp(_) => "Tcp",
            Self::Unix(_) => "Unix",
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

/// Accepts from when it is opened until told to stop. No error of a caller or of the machine ends the loop.
pub(crate) async fn accept_loop(
    (socket, mut opened): (Socket, watch::Receiver<bool>),
    listener: Arc<Listener>,
    workers: Vec<WorkerHandle>,
    mut stop: watch::Receiver<bool>,
) {
    // Until then callers wait in the kernel's queue, which outlives processes.
    tokio::select! {
        _ = opened.wait_for(|opened| *opened) => {}
        _ = stop.wait_for(|stop| *stop) => return,
    }
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        if let Some(pause) = take(accepted, &listener, &workers) {
            tokio::time::sleep(pause).await;
        }
    }
    for accepted in socket.last((listener.is_handed_on(), listener.is_left())) {
        take(accepted, &listener, &workers);
    }
}

/// Hands a connection on, and says how long to rest where it could not be, if at all.
fn take(
    accepted: Result<Arrived, NotTaken>,
    listener: &Arc<Listener>,
    workers: &[WorkerHandle],
) -> Option<Duration> {
    let handed = accepted.and_then(|arrived| hand_over(arrived, listener, workers));
    handed.err().and_then(|not_taken| count(&not_taken, listener))
}

/// Counts a connection that went to no worker, and says how long to rest, if at all.
fn count(not_taken: &NotTaken, listener: &Listener) -> Option<Duration> {
    match not_taken {
        NotTaken::Full => {
            listener.metrics.connection_refused(Refusal::ConnLimit.code());
            None
        }
        NotTaken::Handshakes => {
            listener.metrics.connection_refused(Refusal::ConnHandshakes.code());
            None
        }
        NotTaken::Memory => {
            listener.metrics.connection_refused(Refusal::LimitMemory.code());
            None
        }
        NotTaken::Descriptors => {
            listener.metrics.connection_refused(Refusal::ConnAcceptFailed.code());
            tracing::warn!(listener = &*listener.name, "callers have all the open files that they may");
            None
        }
        NotTaken::Stranger => {
            listener.metrics.connection_refused(Refusal::ConnUid.code());
            None
        }
        NotTaken::Failed(error) => {
            listener.metrics.connection_refused(Refusal::ConnAcceptFailed.code());
            if is_callers_fault(error) {
                return None;
            }
            tracing::warn!(listener = &*listener.name, %error, "accepting failed");
            Some(PAUSE)
        }
    }
}

/// Why a connection went to no worker.
#[derive(Debug)]
pub(super) enum NotTaken {
    /// The listener has no place left, or no worker has.
    Full,
    /// The address has too many handshakes in progress.
    Handshakes,
    /// The process has too few file descriptors left.
    Descriptors,
    /// The process has too little memory left.
    Memory,
    /// A user that the listener does not serve.
    Stranger,
    /// The operating system failed.
    Failed(io::Error),
}

impl From<io::Error> for NotTaken {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// To the worker with the fewest connections, and to the next one where that one takes no more: one whose thread has
/// died holds none and would otherwise draw them all.
fn hand_over(
    Arrived { mut io, source, local }: Arrived,
    listener: &Arc<Listener>,
    workers: &[WorkerHandle],
) -> Result<(), NotTaken> {
    if io.descriptor().is_some_and(|new| !descriptors::are_left(descriptors::Use::Caller, &new)) {
        return Err(NotTaken::Descriptors);
    }
    if listener.memory.is_short() {
        return Err(NotTaken::Memory);
    }
    let mut place = Place::take(listener).ok_or(NotTaken::Full)?;
    let mut handshake = match (&listener.callers, source.address()) {
        // Whom a load balancer speaks for is known once it has said so.
        (Callers::Mutual(_), Some(address)) if listener.proxy_protocol.is_empty() => {
            Some(Handshake::begin(listener, address).ok_or(NotTaken::Handshakes)?)
        }
        (Callers::Mutual(_) | Callers::Local, _) => None,
    };
    let original = match (&listener.capture, &io, local) {
        (Some(capture), AcceptedIo::Tcp(stream), Some(local)) => capture.original(stream, local),
        (_, _, _) => None,
    };
    let mut by_load: Vec<_> = workers.iter().collect();
    by_load.sort_by_key(|worker| worker.load());
    for worker in by_load {
        let load = worker.take_place();
        let accepted = Accepted { io, source, local, original, place, handshake, load };
        match worker.sender.try_send(accepted) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Full(back) | TrySendError::Closed(back)) => {
                (io, place, handshake) = (back.io, back.place, back.handshake);
            }
        }
    }
    Err(NotTaken::Full)
}

/// A caller that went away is no reason to rest.
fn is_callers_fault(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::NotConnected
            | io::ErrorKind::InvalidInput
    )
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::clock::{Clock, SystemClock, TlsTime};
    use crate::listener::{Callers, RawHead};
    use crate::routing::Routing;
    use crate::state::Shared;
    use crate::telemetry::Metrics;
    use crate::telemetry::metrics::MetricsPlan;
    use postern_identity::tls::{AcceptedTrustDomains, ServerTls};

    fn listener() -> Arc<Listener> {
        metered().0
    }

    fn metered() -> (Arc<Listener>, Metrics) {
        limited(RawHead::LIMITS)
    }

    /// A listener with these limits, and what counts what it does.
    pub(in crate::listener) fn limited(limits: crate::config::ListenerLimits) -> (Arc<Listener>, Metrics) {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let accepted = AcceptedTrustDomains::new(vec!["example.org".parse().unwrap()]).unwrap();
        let shared = Arc::new(Shared::new(Routing::default(), Vec::new()));
        let tls = ServerTls::new(shared, accepted, Arc::new(TlsTime(clock))).unwrap();
        let metrics = Metrics::new(&MetricsPlan {
            version: "test",
            started_unix_s: 0,
            reasons: &["conn.limit", "conn.uid", "conn.handshakes", "conn.accept_failed", "limit.memory"],
        });
        let parts = (Callers::Mutual(Box::new(tls)), metrics.listener("app"));
        let listener = Listener::of("app", limits, parts);
        (Arc::new(listener), metrics)
    }

    /// Of these workers, each alive or dead and with so many connections already, which one is handed the next.
    async fn check(workers: &[(bool, usize)], expected: Option<usize>) {
        let made: Vec<_> = workers.iter().map(|_| WorkerHandle::new()).collect();
        let mut receivers = Vec::new();
        let (mut handles, mut loads) = (Vec::new(), Vec::new());
        for ((handle, receiver), (is_alive, load)) in made.into_iter().zip(workers) {
            loads.extend((0..*load).map(|_| handle.take_place()));
            receivers.push(is_alive.then_some(receiver));
            handles.push(handle);
        }
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let socket = Socket::Tcp(socket);
        let (_caller, arrived) = tokio::join!(tokio::net::TcpStream::connect(address), socket.accept());
        let handed = hand_over(arrived.unwrap(), &listener(), &handles);
        let taken = receivers.iter_mut().position(|r| r.as_mut().is_some_and(|r| r.try_recv().is_ok()));
        assert_eq!(taken, expected, "{workers:?}: {handed:?}");
        assert_eq!(handed.is_ok(), expected.is_some());
        let held: usize = handles.iter().map(WorkerHandle::load).sum();
        assert_eq!(held, loads.len(), "the places of what was taken and dropped are given back");
    }

    #[tokio::test]
    async fn a_connection_goes_to_the_living_worker_with_the_fewest() {
        check(&[(true, 2), (true, 1)], Some(1)).await;
        check(&[(false, 0), (true, 1)], Some(1)).await;
        check(&[(false, 0), (false, 0)], None).await;
    }

    #[test]
    fn a_connection_that_goes_to_no_worker_is_counted_and_only_our_own_trouble_makes_us_rest() {
        let failed = |kind: io::ErrorKind| NotTaken::Failed(kind.into());
        for (not_taken, reason, rests) in [
            (NotTaken::Full, "conn.limit", None),
            (NotTaken::Handshakes, "conn.handshakes", None),
            (NotTaken::Memory, "limit.memory", None),
            (NotTaken::Descriptors, "conn.accept_failed", None),
            (NotTaken::Stranger, "conn.uid", None),
            (failed(io::ErrorKind::ConnectionAborted), "conn.accept_failed", None),
            (failed(io::ErrorKind::OutOfMemory), "conn.accept_failed", Some(PAUSE)),
        ] {
            let (listener, metrics) = metered();
            assert_eq!(count(&not_taken, &listener), rests, "{not_taken:?}");
            let text = metrics.encode();
            let counted = |line: &str| line.contains(&format!("reason=\"{reason}\"")) && line.ends_with(" 1");
            assert!(text.lines().any(counted), "{reason} in {text}");
        }
    }

    #[test]
    fn a_listener_has_so_many_places() {
        let listener = listener();
        let place = Place::take(&listener).unwrap();
        assert!(Place::take(&listener).is_none(), "the limits of tests allow one");
        drop(place);
        assert!(Place::take(&listener).is_some());
    }
}

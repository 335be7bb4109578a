//! Callers that do not stop asking, so that a change can be made under them and every answer accounted for.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::caller::{Answer, Caller, Connection, Version, get};

/// Requests on one connection before the next one is opened: rotation shows only in new handshakes.
const REQUESTS_PER_CONNECTION: usize = 20;

/// Answers that are kept; the load stops by itself beyond them.
const ANSWERS_MAX: usize = 200_000;

/// Callers in the background.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    shared: Arc<Shared>,
    thread: Option<thread::JoinHandle<()>>,
}

/// What became of everything that was asked.
#[derive(Debug, Default)]
pub struct Report {
    /// Whole answers, in the order in which they came.
    pub answers: Vec<Answer>,
    /// Requests without a whole answer, and why.
    pub failures: Vec<String>,
    /// The server certificates seen in handshakes, DER.
    pub server_certificates: BTreeSet<Vec<u8>>,
}

impl Report {
    /// Every request has had a whole answer of success.
    ///
    /// # Panics
    /// Otherwise, with the first that had none.
    #[track_caller]
    pub fn assert_nothing_lost(&self) {
        let first = self.failures.first();
        assert!(self.failures.is_empty(), "{} lost, first {first:#?}", self.failures.len());
        let refused = self.answers.iter().find(|answer| answer.status != 200);
        assert!(refused.is_none(), "{refused:#?}");
    }
}

#[derive(Debug, Default)]
struct Shared {
    answered: AtomicUsize,
    certificates: AtomicUsize,
    report: Mutex<Report>,
}

/// What is asked, and how hard.
#[derive(Clone, Copy, Debug)]
pub struct Pressure {
    /// Connections that ask at the same time.
    pub callers: usize,
    /// Between two requests of one caller.
    pub pause: Duration,
    /// The protocol.
    pub version: Version,
}

impl Load {
    /// Starts to `GET path` and returns once the first answer is there.
    ///
    /// # Panics
    /// When none comes within 20 s.
    pub fn start(caller: &Caller, address: SocketAddr, path: &str, pressure: Pressure) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let shared = Arc::new(Shared::default());
        let job = Job {
            caller: caller.clone(),
            address,
            path: path.to_owned(),
            pressure,
            stop: Arc::clone(&stop),
            shared: Arc::clone(&shared),
        };
        let thread =
            thread::Builder::new().name("load".to_owned()).spawn(move || job.run()).expect("a thread");
        let load = Self { stop, shared, thread: Some(thread) };
        crate::process::wait("the first answer under load", Duration::from_secs(20), || {
            (load.answered() > 0).then_some(())
        });
        load
    }

    /// How many answers there are so far.
    pub fn answered(&self) -> usize {
        self.shared.answered.load(Ordering::SeqCst)
    }

    /// How many different server certificates were seen so far.
    pub fn certificates(&self) -> usize {
        self.shared.certificates.load(Ordering::SeqCst)
    }

    /// Waits for that many further answers.
    ///
    /// # Panics
    /// When they do not come within `limit`.
    pub fn wait_for_answers(&self, more: usize, limit: Duration) {
        let goal = self.answered() + more;
        crate::process::wait("answers under load", limit, || (self.answered() >= goal).then_some(()));
    }

    /// Lets every caller finish its request and says what became of all of them.
    ///
    /// # Panics
    /// When a caller panicked.
    pub fn stop(mut self) -> Report {
        self.finish();
        std::mem::take(&mut *self.shared.report.lock().expect("the callers live"))
    }

    fn finish(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.finish();
    }
}

struct Job {
    caller: Caller,
    address: SocketAddr,
    path: String,
    pressure: Pressure,
    stop: Arc<AtomicBool>,
    shared: Arc<Shared>,
}

impl Job {
    fn run(self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let callers = self.pressure.callers;
        let job = Arc::new(self);
        runtime.block_on(async {
            let tasks: Vec<_> = (0..callers).map(|_| tokio::spawn(ask_on(Arc::clone(&job)))).collect();
            for task in tasks {
                drop(task.await);
            }
        });
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst) || self.shared.answered.load(Ordering::SeqCst) >= ANSWERS_MAX
    }

    fn note(&self, outcome: Result<Answer, String>) {
        let Ok(mut report) = self.shared.report.lock() else { return };
        match outcome {
            Ok(answer) => {
                report.answers.push(answer);
                self.shared.answered.fetch_add(1, Ordering::SeqCst);
            }
            Err(failure) => report.failures.push(failure),
        }
    }

    fn note_certificate(&self, der: &[u8]) {
        let Ok(mut report) = self.shared.report.lock() else { return };
        report.server_certificates.insert(der.to_vec());
        self.shared.certificates.store(report.server_certificates.len(), Ordering::SeqCst);
    }
}

/// One caller: connection after connection, request after request, until told to stop.
async fn ask_on(job: Arc<Job>) {
    while !job.stopped() {
        match job.caller.connect(job.address, job.pressure.version).await {
            Ok(connection) => ask_on_one(&job, connection).await,
            Err(failure) => {
                job.note(Err(failure));
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

/// What hyper says of a request that it gives back: it had read that the connection ends before it wrote any of it.
/// Whoever gets that asks on another connection, and nothing was lost.
const UNSENT: &str = "operation was canceled: connection closed";

async fn ask_on_one(job: &Job, mut connection: Connection) {
    job.note_certificate(&connection.server_certificate);
    for _ in 0..REQUESTS_PER_CONNECTION {
        if job.stopped() || !connection.is_usable().await {
            return;
        }
        let outcome = connection.send(get(&job.path)).await;
        if outcome.as_ref().is_err_and(|failure| failure.contains(UNSENT)) {
            return;
        }
        let broken = outcome.is_err();
        job.note(outcome);
        if broken {
            return;
        }
        if !job.pressure.pause.is_zero() {
            tokio::time::sleep(job.pressure.pause).await;
        }
    }
}

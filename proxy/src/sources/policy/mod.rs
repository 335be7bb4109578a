//! Where policy bundles come from. A source hands over archives as they are found; what is in them is judged
//! elsewhere, by the thread that compiles, so that a slow or hostile source costs nobody but itself.
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use super::fetch::Fetcher;
use super::identity::SourceStatus;
use crate::clock::Clock;

mod directory;
mod http;

pub use super::last_good::{LastGood, LastGoodError};
pub use directory::{DirectoryError, archive_at, files_at, stamps_at};

/// A bundle that may come to be in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleCandidate {
    /// The bundle's configured name.
    pub name: String,
    /// The archive, neither verified nor read.
    pub archive: Bytes,
    /// The server's entity tag, if it came from one.
    pub etag: Option<String>,
}

/// One bundle to follow.
#[derive(Debug)]
pub struct Source {
    /// The bundle's configured name.
    pub name: String,
    /// Where it comes from.
    pub origin: Origin,
    /// The most bytes of an archive as it is fetched or read.
    pub archive_bytes_max: usize,
    /// How the source is.
    pub status: watch::Sender<SourceStatus>,
}

/// Where a bundle comes from.
#[derive(Debug)]
pub enum Origin {
    /// A folder with the bundle's files, or an archive file.
    Directory {
        /// The folder or the file.
        path: PathBuf,
        /// How often it is looked at.
        poll_interval: Duration,
    },
    /// An archive over HTTP(S), by OPA's bundle protocol.
    Http {
        /// The archive's address.
        url: String,
        /// With the roots that the server chains to.
        fetcher: Fetcher,
        /// How long the server is asked to hold a request open when nothing is new; zero for no long polling.
        long_poll: Duration,
        /// The pause between two requests to a server that does not long-poll.
        poll_interval: Duration,
    },
}

/// Follows one bundle until the future is dropped or nobody takes candidates any more.
pub async fn run(source: Source, clock: Arc<dyn Clock>, candidates: mpsc::Sender<BundleCandidate>) {
    let outlet = Outlet { name: source.name, candidates, status: source.status, last: None };
    match source.origin {
        Origin::Directory { path, poll_interval } => {
            directory::follow(path, poll_interval, source.archive_bytes_max, outlet).await;
        }
        Origin::Http { url, fetcher, long_poll, poll_interval } => {
            let server = http::Server { url, fetcher, long_poll, poll_interval };
            http::follow(server, source.archive_bytes_max, clock, outlet).await;
        }
    }
}

/// Where a source puts what it finds.
#[derive(Debug)]
struct Outlet {
    name: String,
    candidates: mpsc::Sender<BundleCandidate>,
    status: watch::Sender<SourceStatus>,
    last: Option<Bytes>,
}

impl Outlet {
    /// Hands an archive over, unless it is the one that was handed over last. False when nobody takes it.
    async fn offer(&mut self, archive: Bytes, etag: Option<String>) -> bool {
        self.say(SourceStatus::Ready);
        if self.last.as_ref() == Some(&archive) {
            return true;
        }
        tracing::info!(bundle = self.name, bytes = archive.len(), "a policy bundle was found");
        self.last = Some(archive.clone());
        let candidate = BundleCandidate { name: self.name.clone(), archive, etag };
        self.candidates.send(candidate).await.is_ok()
    }

    /// Tells trouble once, however often it is met.
    fn trouble(&self, error: &dyn std::fmt::Display) {
        if self.say(SourceStatus::Failing(error.to_string())) {
            tracing::warn!(bundle = self.name, %error, "the policy source fails; the bundle in force stays");
        }
    }

    /// True if the status is another than before.
    fn say(&self, status: SourceStatus) -> bool {
        self.status.send_if_modified(|current| {
            let changed = *current != status;
            *current = status;
            changed
        })
    }
}

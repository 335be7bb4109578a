//! The keys of token issuers, kept fresh in the background: no request ever waits for an issuer that is slow, and no
//! issuer for another.
//!
//! What was fetched last stays in force while the issuer cannot be reached, up to a limit. An unknown key id may call
//! for a fetch ahead of time, but only so often, for anybody can invent key ids.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CACHE_CONTROL, ETAG};
use http::{HeaderMap, StatusCode};
use postern_identity::token::{KEY_SET_BYTES_MAX, KeySet, KeySetError};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::backoff::{Backoff, jittered};
use super::fetch::{FetchError, Fetcher};
use super::identity::SourceStatus;
use super::watched_file::{self, FileError, POLL_INTERVAL, Stamp};
use crate::clock::Clock;

#[cfg(test)]
mod tests;

/// Where an issuer's keys are.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// A JWK set in a file, looked at every second.
    File(PathBuf),
    /// A JWK set behind a URL.
    Url {
        /// `https://…`, or `http://…` as far as the fetcher allows.
        url: String,
        /// With the roots that this issuer's server chains to.
        fetcher: Fetcher,
    },
}

/// How keys are kept fresh. The default is what suits a public identity provider.
#[derive(Clone, Copy, Debug)]
pub struct Freshness {
    /// How often a URL is fetched when it does not say.
    pub refresh: Duration,
    /// The shortest time between two fetches, whatever the answer says.
    pub refresh_min: Duration,
    /// The longest.
    pub refresh_max: Duration,
    /// The shortest time between two fetches that unknown key ids call for.
    pub miss_interval: Duration,
    /// How long keys stay in force that cannot be fetched again.
    pub stale_max: Duration,
    /// How long one fetch may take.
    pub timeout: Duration,
    /// The first wait after a fetch that failed; the waits double up to `refresh`.
    pub retry_first: Duration,
}

impl Default for Freshness {
    fn default() -> Self {
        Self {
            refresh: Duration::from_secs(300),
            refresh_min: Duration::from_secs(60),
            refresh_max: Duration::from_secs(24 * 3600),
            miss_interval: Duration::from_secs(30),
            stale_max: Duration::from_secs(24 * 3600),
            timeout: Duration::from_secs(5),
            retry_first: Duration::from_secs(1),
        }
    }
}

/// One issuer to follow.
#[derive(Debug)]
pub struct IssuerKeys {
    /// Its place in the list of issuers.
    pub issuer: usize,
    /// Where its keys are.
    pub source: KeySource,
    /// How they are kept fresh.
    pub freshness: Freshness,
    /// How the source is.
    pub status: watch::Sender<SourceStatus>,
}

/// New keys of an issuer.
#[derive(Clone, Debug)]
pub struct KeyUpdate {
    /// Its place in the list of issuers.
    pub issuer: usize,
    /// Its keys; `None` when they have become too old to be used.
    pub keys: Option<Arc<KeySet>>,
}

/// Why keys are not taken.
#[derive(Debug, thiserror::Error)]
enum KeysError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("`{url}` answered {status}")]
    Status { url: String, status: u16 },
    #[error("{from}: {error}")]
    Keys { from: String, error: KeySetError },
}

/// Follows all issuers until the future is dropped. `wishes` takes the places of issuers whose keys a worker misses.
pub async fn run(
    issuers: Vec<IssuerKeys>,
    clock: Arc<dyn Clock>,
    updates: mpsc::Sender<KeyUpdate>,
    mut wishes: mpsc::Receiver<usize>,
) {
    let mut tasks = JoinSet::new();
    let mut doors = Vec::new();
    for issuer in issuers {
        // One wish stands for all who wish.
        let (door, wished) = mpsc::channel(1);
        doors.push((issuer.issuer, door));
        let keeper = Keeper {
            outlet: Outlet {
                issuer: issuer.issuer,
                updates: updates.clone(),
                status: issuer.status,
                keys: None,
            },
            clock: Arc::clone(&clock),
        };
        match issuer.source {
            KeySource::File(path) => drop(tasks.spawn(keeper.follow_file(path))),
            KeySource::Url { url, fetcher } => {
                let remote = Remote { url, fetcher, etag: None };
                drop(tasks.spawn(keeper.follow_url(remote, issuer.freshness, wished)));
            }
        }
    }
    while let Some(wish) = wishes.recv().await {
        for (_, door) in doors.iter().filter(|(issuer, _)| *issuer == wish) {
            // A wish that finds one waiting is the same wish.
            _ = door.try_send(());
        }
    }
    // No worker is left to wish; the keys go on being fresh until this future is dropped.
    while tasks.join_next().await.is_some() {}
}

struct Outlet {
    issuer: usize,
    updates: mpsc::Sender<KeyUpdate>,
    status: watch::Sender<SourceStatus>,
    keys: Option<Arc<KeySet>>,
}

impl Outlet {
    async fn keys(&mut self, keys: Option<Arc<KeySet>>) {
        if self.keys == keys {
            return;
        }
        if let Some(keys) = &keys {
            for ignored in keys.ignored() {
                let (key, reason) = (ignored.key_id.as_deref().unwrap_or("(none)"), ignored.reason.as_str());
                tracing::info!(issuer = self.issuer, key, reason, "a key of an issuer is passed over");
            }
            tracing::info!(issuer = self.issuer, keys = keys.len(), "keys of an issuer are in force");
        }
        self.keys.clone_from(&keys);
        drop(self.updates.send(KeyUpdate { issuer: self.issuer, keys }).await);
    }

    /// True when that is news.
    fn status(&self, status: SourceStatus) -> bool {
        self.status.send_if_modified(|current| {
            let changed = *current != status;
            *current = status;
            changed
        })
    }
}

struct Keeper {
    outlet: Outlet,
    clock: Arc<dyn Clock>,
}

impl Keeper {
    /// A file has no age: it is what its owner wants until it changes.
    async fn follow_file(mut self, path: PathBuf) {
        let mut seen = None;
        loop {
            let stamp = Stamp::now(&path);
            if seen != Some(stamp) {
                match read_file(&path) {
                    Ok(keys) => {
                        self.outlet.keys(Some(Arc::new(keys))).await;
                        self.outlet.status(SourceStatus::Ready);
                    }
                    Err(error) => self.trouble(&error),
                }
                seen = Some(stamp);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    async fn follow_url(mut self, mut remote: Remote, freshness: Freshness, mut wished: mpsc::Receiver<()>) {
        let mut backoff = Backoff::new(freshness.retry_first, freshness.refresh);
        let mut fresh_at = None;
        loop {
            let asked_at = Instant::now();
            let wait = match remote.fetch(freshness).await {
                Ok(answer) => {
                    fresh_at = Some(Instant::now());
                    backoff.reset();
                    if let Some(keys) = answer.keys {
                        self.outlet.keys(Some(Arc::new(keys))).await;
                    }
                    self.outlet.status(SourceStatus::Ready);
                    jittered(answer.refresh, &*self.clock)
                }
                Err(error) => {
                    self.trouble(&error);
                    backoff.wait(&*self.clock)
                }
            };
            let stale_at = fresh_at.map(|at: Instant| at + freshness.stale_max);
            if self.rest(asked_at + wait, stale_at, asked_at + freshness.miss_interval, &mut wished).await
                == Rest::Stale
            {
                fresh_at = None;
                remote.etag = None;
                self.outlet.keys(None).await;
                self.outlet.status(SourceStatus::Failing("the keys are too old to be used".to_owned()));
            }
        }
    }

    /// Waits until it is time to fetch, or until the keys are too old, whichever comes first. A wish brings the time
    /// forward, to `wish_from` at the earliest.
    async fn rest(
        &self,
        due: Instant,
        stale_at: Option<Instant>,
        wish_from: Instant,
        wished: &mut mpsc::Receiver<()>,
    ) -> Rest {
        let wish = async {
            // Wishes that came during the fetch were answered by it.
            while wished.try_recv().is_ok() {}
            match wished.recv().await {
                Some(()) => tokio::time::sleep_until(wish_from).await,
                None => std::future::pending().await,
            }
        };
        let stale = async {
            match stale_at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = tokio::time::sleep_until(due) => Rest::Over,
            () = wish => Rest::Over,
            () = stale => Rest::Stale,
        }
    }

    fn trouble(&self, error: &KeysError) {
        let reason = error.to_string();
        let since = match &*self.outlet.status.borrow() {
            SourceStatus::Stale { since, .. } => *since,
            SourceStatus::Starting
            | SourceStatus::Ready
            | SourceStatus::Degraded(_)
            | SourceStatus::Withdrawn(_)
            | SourceStatus::Failing(_) => self.clock.unix_time(),
        };
        let news = match self.outlet.keys {
            Some(_) => self.outlet.status(SourceStatus::Stale { since, reason }),
            None => self.outlet.status(SourceStatus::Failing(reason)),
        };
        if news {
            tracing::warn!(issuer = self.outlet.issuer, %error, "keys of an issuer are not taken");
        }
    }
}

#[derive(PartialEq, Eq)]
enum Rest {
    Over,
    Stale,
}

fn read_file(path: &std::path::Path) -> Result<KeySet, KeysError> {
    let content = watched_file::read(path, u64::try_from(KEY_SET_BYTES_MAX).unwrap_or(u64::MAX))?;
    let from = || format!("`{}`", path.display());
    KeySet::parse(&content).map_err(|error| KeysError::Keys { from: from(), error })
}

struct Remote {
    url: String,
    fetcher: Fetcher,
    etag: Option<String>,
}

struct Answer {
    /// `None` when the keys in force are still the newest.
    keys: Option<KeySet>,
    refresh: Duration,
}

impl Remote {
    async fn fetch(&mut self, freshness: Freshness) -> Result<Answer, KeysError> {
        let mut headers = vec![("accept", "application/jwk-set+json, application/json")];
        headers.extend(self.etag.as_deref().map(|etag| ("if-none-match", etag)));
        let fetched = self.fetcher.get(&self.url, &headers, KEY_SET_BYTES_MAX, freshness.timeout).await?;
        let refresh = max_age(&fetched.headers)
            .unwrap_or(freshness.refresh)
            .clamp(freshness.refresh_min, freshness.refresh_max);
        if fetched.status == StatusCode::NOT_MODIFIED.as_u16() && self.etag.is_some() {
            return Ok(Answer { keys: None, refresh });
        }
        if fetched.status != StatusCode::OK.as_u16() {
            return Err(KeysError::Status { url: self.name(), status: fetched.status });
        }
        let from = || format!("`{}`", self.name());
        let keys = KeySet::parse(&fetched.body).map_err(|error| KeysError::Keys { from: from(), error })?;
        self.etag = fetched.headers.get(ETAG).and_then(|etag| etag.to_str().ok()).map(str::to_owned);
        Ok(Answer { keys: Some(keys), refresh })
    }

    /// The URL without its query, which may hold what nobody should read.
    fn name(&self) -> String {
        self.url.split('?').next().unwrap_or_default().to_owned()
    }
}

/// `max-age` of RFC 9111 §5.2.2.1. `no-store` and `no-cache` are about caches that answer others; here they mean
/// the shortest interval.
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let directives = headers.get(CACHE_CONTROL)?.to_str().ok()?.to_ascii_lowercase();
    let mut directives = directives.split(',').map(str::trim);
    directives.find_map(|directive| match directive.split_once('=') {
        Some(("max-age", seconds)) => seconds.trim_matches('"').parse().ok().map(Duration::from_secs),
        Some(_) => None,
        None if matches!(directive, "no-store" | "no-cache") => Some(Duration::ZERO),
        None => None,
    })
}

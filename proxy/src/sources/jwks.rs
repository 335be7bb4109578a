//! The keys of token issuers, kept fresh in the background: no request ever waits for an issuer that is slow, and no
//! issuer for another.
//!
//! What was fetched last stays in force while the issuer cannot be reached, up to a limit. An unknown key id may call
//! for a fetch ahead of time, but only so often, for anybody can invent key ids.

mod last_good;
mod remote;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use postern_identity::UnixTime;
use postern_identity::token::{KEY_SET_BYTES_MAX, KeySet, KeySetError};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::last_good::Kept;
pub use self::last_good::{LastGood, LastGoodError};
use self::remote::Remote;
use super::backoff::{Backoff, jittered};
use super::fetch::{FetchError, Fetcher};
use super::identity::SourceStatus;
use super::watched_file::{self, FileError, POLL_INTERVAL, Stamp};
use crate::clock::Clock;
use crate::keys::Wish;
use crate::telemetry::metrics::{KeyMetrics, LoadResult};

#[cfg(test)]
mod tests;

/// Where an issuer's keys are.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// A file, looked at every second.
    File(PathBuf),
    /// A URL.
    Url {
        /// `https://…`, or `http://…` as far as the fetcher allows.
        url: String,
        /// With the roots that this issuer's server chains to.
        fetcher: Fetcher,
    },
    /// Where the issuer's metadata say (OpenID Connect Discovery 1.0).
    Discovery {
        /// The issuer that the metadata must name.
        issuer: String,
        /// Of the metadata.
        url: String,
        /// For metadata and keys.
        fetcher: Fetcher,
    },
}

/// In which form keys come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Document {
    /// A JWK set (RFC 7517) with at least one key that can be used.
    Jwks,
    /// A SPIFFE bundle document; one without JWT authorities verifies nothing.
    SpiffeBundle,
}

/// How keys are kept fresh. The default is what suits a public identity provider.
#[derive(Clone, Copy, Debug)]
pub struct Freshness {
    /// How often a URL is fetched when it does not ask for it sooner.
    pub refresh: Duration,
    /// The shortest time between two fetches, whatever the answer says.
    pub refresh_min: Duration,
    /// The longest.
    pub refresh_max: Duration,
    /// The shortest time between two fetches that unknown key ids call for. The first is not waited with.
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
    /// Its name, for the log and the metrics.
    pub name: String,
    /// Where its keys are.
    pub source: KeySource,
    /// In which form.
    pub document: Document,
    /// How they are kept fresh.
    pub freshness: Freshness,
    /// Where fetched keys are kept for an offline start.
    pub last_good: Option<LastGood>,
    /// How the source is.
    pub status: watch::Sender<KeyStatus>,
    /// Counts fetches.
    pub metrics: KeyMetrics,
}

/// How the keys of an issuer are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyStatus {
    /// How their source is.
    pub source: SourceStatus,
    /// When they become too old to be used; `None` without keys, and for those of a file.
    pub valid_until: Option<UnixTime>,
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
    #[error("`{url}` did not answer within {timeout:?}")]
    TooLong { url: String, timeout: Duration },
    #[error("`{url}` answered {status}")]
    Status { url: String, status: u16 },
    #[error("`{url}` answered with `{content_type}`, which is no JSON")]
    ContentType { url: String, content_type: String },
    #[error("`{url}`: {reason}")]
    Metadata { url: String, reason: String },
    #[error("{from}: {error}")]
    Keys { from: String, error: KeySetError },
}

impl KeysError {
    fn result(&self) -> LoadResult {
        match self {
            Self::File(_) | Self::Fetch(_) | Self::TooLong { .. } | Self::Status { .. } => {
                LoadResult::Unavailable
            }
            Self::ContentType { .. } | Self::Metadata { .. } | Self::Keys { .. } => LoadResult::Refused,
        }
    }
}

impl Document {
    fn parse(self, content: &[u8], from: impl Fn() -> String) -> Result<KeySet, KeysError> {
        let keys = match self {
            Self::Jwks => KeySet::parse(content),
            Self::SpiffeBundle => KeySet::parse_spiffe_bundle(content),
        };
        keys.map_err(|error| KeysError::Keys { from: from(), error })
    }
}

/// Follows all issuers until the future is dropped. `wishes` takes what workers lack.
pub async fn run(
    issuers: Vec<IssuerKeys>,
    clock: Arc<dyn Clock>,
    updates: mpsc::Sender<KeyUpdate>,
    mut wishes: mpsc::Receiver<Wish>,
) {
    let mut tasks = JoinSet::new();
    let mut doors = Vec::new();
    for issuer in issuers {
        // A few wishes stand for all who wish.
        let (door, wished) = mpsc::channel(16);
        doors.push((issuer.issuer, door));
        let outlet = Outlet {
            issuer: issuer.issuer,
            name: issuer.name,
            updates: updates.clone(),
            status: issuer.status,
            metrics: issuer.metrics,
            keys: None,
        };
        let keeper = Keeper {
            outlet,
            clock: Arc::clone(&clock),
            freshness: issuer.freshness,
            last_good: issuer.last_good,
            valid_until: None,
        };
        let document = issuer.document;
        let remote = match issuer.source {
            KeySource::File(path) => {
                drop(tasks.spawn(keeper.follow_file(path, document)));
                continue;
            }
            KeySource::Url { url, fetcher } => Remote::new(url, fetcher, document, None),
            KeySource::Discovery { issuer, url, fetcher } => {
                Remote::new(url, fetcher, document, Some(issuer))
            }
        };
        drop(tasks.spawn(keeper.follow_remote(remote, wished)));
    }
    while let Some(wish) = wishes.recv().await {
        for (_, door) in doors.iter().filter(|(issuer, _)| *issuer == wish.issuer) {
            // One that finds no room is the same as one of those that wait.
            _ = door.try_send(wish);
        }
    }
    // No worker is left to wish; the keys go on being fresh until this future is dropped.
    while tasks.join_next().await.is_some() {}
}

struct Outlet {
    issuer: usize,
    name: String,
    updates: mpsc::Sender<KeyUpdate>,
    status: watch::Sender<KeyStatus>,
    metrics: KeyMetrics,
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
                tracing::info!(issuer = self.name, key, reason, "a key of an issuer is passed over");
            }
            let (before, after) = (thumbprints(self.keys.as_deref()), thumbprints(Some(keys)));
            let list = |keys: &BTreeSet<String>, others: &BTreeSet<String>| {
                keys.difference(others).cloned().collect::<Vec<_>>().join(" ")
            };
            let (added, removed) = (list(&after, &before), list(&before, &after));
            tracing::info!(
                issuer = self.name,
                keys = keys.len(),
                added,
                removed,
                "keys of an issuer are in force"
            );
        } else {
            tracing::warn!(issuer = self.name, "the keys of an issuer are too old to be used");
        }
        self.keys.clone_from(&keys);
        drop(self.updates.send(KeyUpdate { issuer: self.issuer, keys }).await);
    }

    /// True when the source has news of itself.
    fn status(&self, source: SourceStatus, valid_until: Option<UnixTime>) -> bool {
        self.metrics.valid_until(&self.name, valid_until.map_or(0, |until| until.as_secs()));
        let mut news = false;
        self.status.send_if_modified(|current| {
            news = current.source != source;
            let changed = news || current.valid_until != valid_until;
            *current = KeyStatus { source, valid_until };
            changed
        });
        news
    }
}

/// By RFC 7638, so that an operator can find the key again at the issuer.
fn thumbprints(keys: Option<&KeySet>) -> BTreeSet<String> {
    let encode = |thumbprint: &[u8; 32]| base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(thumbprint);
    keys.map(|keys| keys.thumbprints().map(encode).collect()).unwrap_or_default()
}

struct Keeper {
    outlet: Outlet,
    clock: Arc<dyn Clock>,
    freshness: Freshness,
    last_good: Option<LastGood>,
    valid_until: Option<UnixTime>,
}

impl Keeper {
    /// A file has no age: it is what its owner wants until it changes.
    async fn follow_file(mut self, path: PathBuf, document: Document) {
        let mut seen = None;
        loop {
            let stamp = Stamp::now(&path);
            if seen != Some(stamp) {
                match read_file(&path, document) {
                    Ok(keys) => {
                        self.outlet.metrics.refreshed(&self.outlet.name, LoadResult::Loaded);
                        self.outlet.keys(Some(Arc::new(keys))).await;
                        self.outlet.status(SourceStatus::Ready, None);
                    }
                    Err(error) => self.trouble(&error),
                }
                seen = Some(stamp);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    async fn follow_remote(mut self, mut remote: Remote, mut wished: mpsc::Receiver<Wish>) {
        let freshness = self.freshness;
        let mut backoff = Backoff::new(freshness.retry_first, freshness.refresh);
        let mut stale_at = self.begin_with_kept(remote.document).await;
        // The first key that is missed is worth a fetch at once; it may have come into use a moment ago.
        let mut wish_from = Instant::now();
        loop {
            let asked_at = Instant::now();
            let wait = match remote.fetch(freshness).await {
                Ok(answer) => {
                    stale_at = Some(Instant::now() + freshness.stale_max);
                    backoff.reset();
                    self.fetched(answer.keys, &remote).await;
                    jittered(answer.refresh, &*self.clock)
                }
                Err(error) => {
                    self.trouble(&error);
                    backoff.wait(&*self.clock)
                }
            };
            match self.rest(asked_at + wait, stale_at, wish_from, &mut wished).await {
                Rest::Over => {}
                Rest::Wished => wish_from = Instant::now() + freshness.miss_interval,
                Rest::Stale => {
                    stale_at = None;
                    self.valid_until = None;
                    remote.forget();
                    self.outlet.keys(None).await;
                    let reason = "the keys are too old to be used".to_owned();
                    self.outlet.status(SourceStatus::Failing(reason), None);
                }
            }
        }
    }

    /// Keys of the last run, as long as they are not too old: a start need not wait for their server. Gives the moment
    /// when they become so.
    async fn begin_with_kept(&mut self, document: Document) -> Option<Instant> {
        let (now, stale_max) = (self.clock.unix_time(), self.freshness.stale_max);
        let kept = match self.last_good.as_ref()?.load(now, stale_max) {
            Ok(kept) => kept?,
            Err(error) => {
                tracing::warn!(issuer = self.outlet.name, %error, "the keys kept from the last run are not taken");
                return None;
            }
        };
        let keys = match document.parse(&kept.document, || "the keys kept from the last run".to_owned()) {
            Ok(keys) => keys,
            Err(error) => {
                tracing::warn!(issuer = self.outlet.name, %error, "the keys kept from the last run are not taken");
                return None;
            }
        };
        let age = Duration::from_secs(now.as_secs().saturating_sub(kept.fetched_at.as_secs()));
        self.valid_until = Some(later(kept.fetched_at, stale_max));
        self.outlet.keys(Some(Arc::new(keys))).await;
        let reason = "the keys are those of the last run".to_owned();
        self.outlet.status(SourceStatus::Stale { since: kept.fetched_at, reason }, self.valid_until);
        Some(Instant::now() + stale_max.saturating_sub(age))
    }

    async fn fetched(&mut self, keys: Option<KeySet>, remote: &Remote) {
        let now = self.clock.unix_time();
        self.valid_until = Some(later(now, self.freshness.stale_max));
        self.outlet.metrics.refreshed(&self.outlet.name, LoadResult::Loaded);
        if let Some(keys) = keys {
            self.outlet.keys(Some(Arc::new(keys))).await;
        }
        self.outlet.status(SourceStatus::Ready, self.valid_until);
        let (Some(place), Some(document)) = (&self.last_good, remote.newest()) else { return };
        // Failing at that is no reason not to verify.
        if let Err(error) = place.store(&Kept { document: document.to_vec(), fetched_at: now }) {
            tracing::warn!(issuer = self.outlet.name, %error, "keys could not be kept for an offline start");
        }
    }

    /// Waits until it is time to fetch, or until the keys are too old, whichever comes first. A wish brings the time
    /// forward, to `wish_from` at the earliest.
    async fn rest(
        &self,
        due: Instant,
        stale_at: Option<Instant>,
        wish_from: Instant,
        wished: &mut mpsc::Receiver<Wish>,
    ) -> Rest {
        let wish = async {
            // Wishes that came during the fetch were answered by it.
            while wished.try_recv().is_ok() {}
            loop {
                match wished.recv().await {
                    // So was one for any keys at all that was long on its way.
                    Some(wish) if wish.without_keys && self.outlet.keys.is_some() => {}
                    Some(_) => break tokio::time::sleep_until(wish_from).await,
                    None => std::future::pending().await,
                }
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
            () = wish => Rest::Wished,
            () = stale => Rest::Stale,
        }
    }

    fn trouble(&self, error: &KeysError) {
        self.outlet.metrics.refreshed(&self.outlet.name, error.result());
        let reason = error.to_string();
        let since = match &self.outlet.status.borrow().source {
            SourceStatus::Stale { since, .. } => *since,
            SourceStatus::Starting
            | SourceStatus::Ready
            | SourceStatus::Degraded(_)
            | SourceStatus::Withdrawn(_)
            | SourceStatus::Failing(_) => self.clock.unix_time(),
        };
        let news = match self.outlet.keys {
            Some(_) => self.outlet.status(SourceStatus::Stale { since, reason }, self.valid_until),
            None => self.outlet.status(SourceStatus::Failing(reason), None),
        };
        if news {
            tracing::warn!(issuer = self.outlet.name, %error, "keys of an issuer are not taken");
        }
    }
}

fn later(moment: UnixTime, by: Duration) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(moment.as_secs()).saturating_add(by))
}

enum Rest {
    Over,
    Wished,
    Stale,
}

fn read_file(path: &std::path::Path, document: Document) -> Result<KeySet, KeysError> {
    let content = watched_file::read(path, u64::try_from(KEY_SET_BYTES_MAX).unwrap_or(u64::MAX))?;
    document.parse(&content, || format!("`{}`", path.display()))
}

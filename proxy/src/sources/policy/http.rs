//! A bundle behind a URL, by OPA's bundle protocol: entity tags, and long polling with servers that offer it.
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http::header::{CONTENT_TYPE, ETAG};
use tokio::time::Instant;

use super::Outlet;
use crate::clock::Clock;
use crate::sources::backoff::{Backoff, jittered};
use crate::sources::fetch::{FetchError, Fetched, Fetcher};

#[cfg(test)]
mod tests;

/// What a server says that long-polls, exactly so and without parameters.
const LONG_POLL_TYPE: &str = "application/vnd.openpolicyagent.bundles";
/// For everything but the time that the server was asked to wait.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// A server that long-polls is asked again at once, but never faster than this.
const PACE: Duration = Duration::from_millis(100);
/// The first wait after a failure; the waits double up to the poll interval.
const RETRY_FIRST: Duration = Duration::from_millis(500);
/// The most bytes of an entity tag that is sent back.
const ETAG_BYTES_MAX: usize = 256;

/// The server of one bundle.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) url: String,
    pub(super) fetcher: Fetcher,
    pub(super) long_poll: Duration,
    pub(super) poll_interval: Duration,
}

/// Why there is no archive.
#[derive(Debug, thiserror::Error)]
enum HttpError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("the policy server answered {0}")]
    Status(u16),
    #[error("the policy server answered with an empty bundle")]
    Empty,
}

/// Whether the server holds requests open. It is asked to until it answers like one that does not; then not again
/// until the source is started anew, as OPA does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LongPolling {
    Untried,
    On,
    Off,
}

/// Follows the URL until nobody takes candidates any more.
pub(super) async fn follow(server: Server, bytes_max: usize, clock: Arc<dyn Clock>, mut outlet: Outlet) {
    let mut backoff = Backoff::new(RETRY_FIRST, server.poll_interval.max(RETRY_FIRST));
    let mut polling = if server.long_poll.is_zero() { LongPolling::Off } else { LongPolling::Untried };
    let mut etag: Option<String> = None;
    loop {
        let asked_at = Instant::now();
        let wait = match server.ask(etag.as_deref(), polling, bytes_max).await {
            Ok(answer) => {
                backoff.reset();
                polling = after(polling, &answer);
                if let Some(new) = etag_of(&answer) {
                    etag = Some(new);
                } else if answer.status == StatusCode::OK.as_u16() {
                    etag = None;
                }
                let taken = if answer.status == StatusCode::OK.as_u16() {
                    outlet.offer(answer.body, etag.clone()).await
                } else {
                    outlet.say(crate::sources::identity::SourceStatus::Ready);
                    true
                };
                if !taken {
                    return;
                }
                match polling {
                    LongPolling::On => PACE,
                    LongPolling::Untried | LongPolling::Off => jittered(server.poll_interval, &*clock),
                }
            }
            Err(error) => {
                outlet.trouble(&error);
                backoff.wait(&*clock)
            }
        };
        tokio::time::sleep_until(asked_at + wait).await;
    }
}

impl Server {
    /// One request. The answer is a bundle or the word that there is no newer one.
    async fn ask(
        &self,
        etag: Option<&str>,
        polling: LongPolling,
        bytes_max: usize,
    ) -> Result<Fetched, HttpError> {
        let (prefer, timeout) = match polling {
            LongPolling::Untried | LongPolling::On => {
                let wait = format!("modes=snapshot;wait={}", self.long_poll.as_secs().max(1));
                (wait, REQUEST_TIMEOUT + self.long_poll)
            }
            LongPolling::Off => ("modes=snapshot".to_owned(), REQUEST_TIMEOUT),
        };
        let mut headers = vec![("prefer", prefer.as_str())];
        if let Some(etag) = etag {
            headers.push(("if-none-match", etag));
        }
        let answer = self.fetcher.get(&self.url, &headers, bytes_max, timeout).await?;
        let unchanged = etag.is_some() && answer.status == StatusCode::NOT_MODIFIED.as_u16();
        if answer.status != StatusCode::OK.as_u16() && !unchanged {
            return Err(HttpError::Status(answer.status));
        }
        if !unchanged && answer.body.is_empty() {
            return Err(HttpError::Empty);
        }
        Ok(answer)
    }
}

fn after(polling: LongPolling, answer: &Fetched) -> LongPolling {
    let offered =
        answer.headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes() == LONG_POLL_TYPE.as_bytes());
    match polling {
        LongPolling::Off => LongPolling::Off,
        LongPolling::Untried | LongPolling::On if offered => LongPolling::On,
        // An answer without a body need not say what kind of body it would have had.
        LongPolling::On if answer.status == StatusCode::NOT_MODIFIED.as_u16() => LongPolling::On,
        LongPolling::Untried | LongPolling::On => LongPolling::Off,
    }
}

fn etag_of(answer: &Fetched) -> Option<String> {
    let etag = answer.headers.get(ETAG)?.to_str().ok()?;
    (etag.len() <= ETAG_BYTES_MAX).then(|| etag.to_owned())
}

//! How long a connection may live: until it is idle or old, until its head is too slow in coming, until its caller is
//! believed no more, or until this process drains.
use super::connection::{Connection, Ending};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep_until};

/// A connection that can be asked to finish what it has begun and take no more.
pub(super) trait Graceful: Future<Output = hyper::Result<()>> {
    /// Whether being asked while it is idle would end it without a word: HTTP/1.1 has none but an answer.
    const NEEDS_AN_ANSWER: bool;
    /// GOAWAY, or `Connection: close`.
    fn finish(self: Pin<&mut Self>);
}

/// How a connection ended.
#[derive(Debug)]
pub(crate) enum End {
    /// By agreement, or because it was asked to.
    Closed,
    /// From outside, because its exchange had to end.
    Cut,
    /// Because its caller, or this side, is believed no more.
    Revoked,
    /// Broken by the caller, or by the network.
    Broken(hyper::Error),
    /// Its request head did not arrive in time.
    SlowHead,
    /// It did not finish within the grace that it was given.
    Overstayed,
}

/// The fixed limits of one connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lifetime {
    /// When it has grown old.
    pub(super) ends_at: Instant,
    pub(super) idle_timeout: Duration,
    pub(super) header_timeout: Duration,
    pub(super) grace: Duration,
    /// What its exchanges have where an SVID expired or trust changed.
    pub(super) invalid_grace: Duration,
}

/// Drives a connection to its end.
pub(super) async fn drive<C: Graceful>(
    mut served: Pin<&mut C>,
    connection: &Connection,
    lifetime: Lifetime,
    mut drain: watch::Receiver<bool>,
) -> End {
    let mut draining = Box::pin(async move {
        // A dropped sender means that the process goes away, which is a drain too.
        drop(drain.wait_for(|drain| *drain).await);
    });
    let mut watchdog = Watchdog {
        lifetime,
        finish_by: None,
        linger_until: None,
        sleep: Box::pin(sleep_until(lifetime.ends_at)),
    };
    let (mut is_draining, mut is_ending) = (false, false);
    poll_fn(|cx| {
        if connection.poll_cut(cx).is_ready() {
            return Poll::Ready(End::Cut);
        }
        loop {
            if let Poll::Ready(result) = served.as_mut().poll(cx) {
                return Poll::Ready(result.map_or_else(End::Broken, |()| End::Closed));
            }
            if !is_draining && draining.as_mut().poll(cx).is_ready() {
                is_draining = true;
                watchdog.drain(served.as_mut(), connection);
                continue;
            }
            if watchdog.linger_until.is_some() && connection.idle_since().is_none() {
                watchdog.ask(served.as_mut(), lifetime.grace);
                continue;
            }
            match connection.ending() {
                Some(Ending { is_close: true, .. }) => return Poll::Ready(End::Revoked),
                Some(Ending { is_close: false, .. }) if !is_ending => {
                    is_ending = true;
                    watchdog.ask(served.as_mut(), lifetime.invalid_grace);
                    continue;
                }
                Some(Ending { is_close: false, .. }) | None => {}
            }
            match watchdog.poll(connection, cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Due::SlowHead) => return Poll::Ready(End::SlowHead),
                Poll::Ready(Due::Overstayed) if is_ending => {
                    connection.close();
                    return Poll::Ready(End::Revoked);
                }
                Poll::Ready(Due::Overstayed) => return Poll::Ready(End::Overstayed),
                Poll::Ready(Due::Finish) => watchdog.ask(served.as_mut(), lifetime.grace),
            }
        }
    })
    .await
}

struct Watchdog {
    lifetime: Lifetime,
    /// By when the connection has to finish, where it was asked to.
    finish_by: Option<Instant>,
    /// Until when a connection without a request may have one more, to be told by its answer.
    linger_until: Option<Instant>,
    sleep: Pin<Box<Sleep>>,
}

enum Due {
    Finish,
    SlowHead,
    Overstayed,
}

/// A caller may be sending a request while its idle connection is closed, and must take it for lost. One that asks
/// within this time is answered and told; it is what a busy pool of connections needs to hear of it.
const LINGER: Duration = Duration::from_secs(1);

impl Watchdog {
    /// Asks it to finish, or waits a moment for the request whose answer can.
    fn drain<C: Graceful>(&mut self, served: Pin<&mut C>, connection: &Connection) {
        if C::NEEDS_AN_ANSWER && self.finish_by.is_none() && connection.idle_since().is_some() {
            self.linger_until = Some(Instant::now() + LINGER.min(self.lifetime.grace));
        } else {
            self.ask(served, self.lifetime.grace);
        }
    }

    /// Asks it to finish, once; of several graces the shortest counts.
    fn ask<C: Graceful>(&mut self, served: Pin<&mut C>, grace: Duration) {
        let by = Instant::now() + grace;
        if self.finish_by.is_none() {
            served.finish();
        }
        self.linger_until = None;
        self.finish_by = Some(self.finish_by.map_or(by, |earlier| earlier.min(by)));
    }

    /// Ready when something is due. The timer is only ever moved forward in time when it fires too early,
    /// and back when an earlier deadline appears: a busy connection costs no timer work.
    fn poll(&mut self, connection: &Connection, cx: &mut Context<'_>) -> Poll<Due> {
        loop {
            let (at, due) = self.next(connection);
            if at <= Instant::now() {
                return Poll::Ready(due);
            }
            if at < self.sleep.deadline() || self.sleep.is_elapsed() {
                self.sleep.as_mut().reset(at);
            }
            if self.sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    fn next(&self, connection: &Connection) -> (Instant, Due) {
        if let Some(finish_by) = self.finish_by {
            return (finish_by, Due::Overstayed);
        }
        if let Some(begun) = connection.head_begun() {
            let slow_at = begun + self.lifetime.header_timeout;
            if slow_at < self.lifetime.ends_at {
                return (slow_at, Due::SlowHead);
            }
        }
        let idle_at = connection.idle_since().map(|since| since + self.lifetime.idle_timeout);
        let finish_at =
            idle_at.into_iter().chain(self.linger_until).fold(self.lifetime.ends_at, Instant::min);
        (finish_at, Due::Finish)
    }
}

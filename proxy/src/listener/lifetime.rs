//! How long a connection may live: until it is idle or old, until its head is too slow in coming, until the
//! caller's SVID expires, or until this process drains.
use super::connection::Connection;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep_until};

/// A connection that can be asked to finish what it has begun and take no more.
pub(super) trait Graceful: Future<Output = hyper::Result<()>> {
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
    /// When it has grown old, or its peer's SVID expires: whichever is first.
    pub(super) ends_at: Instant,
    pub(super) idle_timeout: Duration,
    pub(super) header_timeout: Duration,
    pub(super) grace: Duration,
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
    let mut watchdog = Watchdog { lifetime, asked_at: None, sleep: Box::pin(sleep_until(lifetime.ends_at)) };
    let mut is_draining = false;
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
                watchdog.ask(served.as_mut());
                continue;
            }
            match watchdog.poll(connection, cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Due::SlowHead) => return Poll::Ready(End::SlowHead),
                Poll::Ready(Due::Overstayed) => return Poll::Ready(End::Overstayed),
                Poll::Ready(Due::Finish) => watchdog.ask(served.as_mut()),
            }
        }
    })
    .await
}

struct Watchdog {
    lifetime: Lifetime,
    /// When the connection was asked to finish.
    asked_at: Option<Instant>,
    sleep: Pin<Box<Sleep>>,
}

enum Due {
    Finish,
    SlowHead,
    Overstayed,
}

impl Watchdog {
    fn ask<C: Graceful>(&mut self, served: Pin<&mut C>) {
        if self.asked_at.is_none() {
            self.asked_at = Some(Instant::now());
            served.finish();
        }
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
        if let Some(asked_at) = self.asked_at {
            return (asked_at + self.lifetime.grace, Due::Overstayed);
        }
        if let Some(begun) = connection.head_begun() {
            let slow_at = begun + self.lifetime.header_timeout;
            if slow_at < self.lifetime.ends_at {
                return (slow_at, Due::SlowHead);
            }
        }
        let idle_at = connection.idle_since().map(|since| since + self.lifetime.idle_timeout);
        (idle_at.map_or(self.lifetime.ends_at, |at| at.min(self.lifetime.ends_at)), Due::Finish)
    }
}

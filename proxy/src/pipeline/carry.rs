//! Bytes that are carried between two sides for as long as both may: raw streams, and what a request was switched to.
use super::refusal::Refusal;
use super::splice::{Side, splice};
use crate::config::OnInvalid;
use crate::listener::Connection;
use crate::state::{Policy, Snapshot};
use crate::upstream::{Invalid, Proof};
use crate::worker::Worker;
use postern_audit::End;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

/// How often what is carried is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Until when bytes are carried.
pub(super) struct Terms {
    /// How long both sides may be silent.
    pub(super) idle_timeout: Duration,
    /// What shows that the upstream is whom it has to be.
    pub(super) proof: Option<Rc<Proof>>,
    /// What permitted it.
    pub(super) policy: Arc<Policy>,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Carried {
    pub(super) end: End,
    pub(super) reason: Option<Refusal>,
    /// From the caller, and from the upstream.
    pub(super) bytes: (u64, u64),
}

/// Who asks policy again, when that has changed.
pub(super) trait Judge {
    /// Whether it still permits what is carried, and what decided. Whether the caller is still believed is not looked at.
    fn judge(&mut self, snapshot: &Snapshot) -> Result<Arc<Policy>, Refusal>;

    /// What else may have ended.
    fn check(&self, snapshot: &Snapshot) -> Result<(), Refusal>;
}

/// Carries bytes until a side has had enough, or until they may not be carried any longer.
pub(super) async fn carry<A, B>(
    (worker, connection): (&Worker, &Connection),
    (caller, upstream): (A, B),
    (terms, judge): (Terms, &mut dyn Judge),
    mut drain: watch::Receiver<bool>,
) -> Carried
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let (up, down) = (Side::new(), Side::new());
    let (end, reason) = {
        let carrying = splice((caller, &up), (upstream, &down));
        let mut watch = Watch { worker, connection, terms, judge, invalid_since: None };
        let grace = connection.listener.limits.drain_grace;
        let draining = async {
            drop(drain.wait_for(|drain| *drain).await);
            tokio::time::sleep(grace).await;
        };
        tokio::select! {
            carried = carrying => match carried {
                Ok(()) => (End::Done, None),
                Err(_) if down.has_failed() => (End::UpstreamError, Some(Refusal::UpstreamProtocol)),
                Err(_) => (End::ClientGone, None),
            },
            ended = watch.run((&up, &down)) => ended,
            () = draining => (End::Drained, None),
        }
    };
    Carried { end, reason, bytes: (up.bytes(), down.bytes()) }
}

/// Looks once a second whether it has to end.
struct Watch<'a> {
    worker: &'a Worker,
    connection: &'a Connection,
    terms: Terms,
    judge: &'a mut dyn Judge,
    /// Since when one of the two sides is believed no more.
    invalid_since: Option<Instant>,
}

impl Watch<'_> {
    async fn run(&mut self, (up, down): (&Side, &Side)) -> (End, Option<Refusal>) {
        let mut ticks = tokio::time::interval(LOOK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if up.moved_at().max(down.moved_at()).elapsed() >= self.terms.idle_timeout {
                return (End::Timeout, None);
            }
            if let Err(refusal) = self.look() {
                return (End::Revoked, Some(refusal));
            }
        }
    }

    fn look(&mut self) -> Result<(), Refusal> {
        let snapshot = self.worker.snapshots.pin();
        self.judge.check(&snapshot)?;
        match self.invalid(&snapshot) {
            None => self.invalid_since = None,
            Some((refusal, on_invalid)) => {
                let since = *self.invalid_since.get_or_insert_with(Instant::now);
                let is_over = match on_invalid {
                    OnInvalid::Close => true,
                    OnInvalid::Drain => since.elapsed() >= self.connection.listener.validity.grace,
                };
                if is_over {
                    return Err(refusal);
                }
            }
        }
        // Also what has a grace left lasts no longer than policy permits it.
        let current = snapshot.policy.as_ref().ok_or(Refusal::PolicyNotReady)?;
        if !Arc::ptr_eq(current, &self.terms.policy) {
            self.terms.policy = self.judge.judge(&snapshot)?;
        }
        Ok(())
    }

    /// Who of the two sides is believed no more, and what becomes of what is in progress then.
    fn invalid(&self, snapshot: &Snapshot) -> Option<(Refusal, OnInvalid)> {
        let validity = self.connection.listener.validity;
        if let Err(refusal) = self.connection.judge(self.worker, snapshot) {
            return Some((refusal, self.connection.on_invalid(refusal)));
        }
        let proof = self.terms.proof.as_ref()?;
        Some(match proof.check(snapshot, self.worker.clock.unix_time()).err()? {
            Invalid::Expired => (Refusal::UpstreamIdentity, validity.on_peer_expiry),
            Invalid::Distrusted => (Refusal::UpstreamIdentity, validity.on_trust_change),
            Invalid::RevocationUnknown => (Refusal::UpstreamRevocationUnknown, validity.on_trust_change),
        })
    }
}

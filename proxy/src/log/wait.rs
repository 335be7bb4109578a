//! What a worker sees of the shared state, and the two things it waits for: room in its ring, and durability.
use super::{
    Mode,
    lane::{self, ConnectionLane, ExchangeLane, Filed, Unavailable},
    shared::Shared,
};
use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

/// The shared state as workers see it.
#[derive(Clone, Debug)]
pub(crate) struct WorkerShared(Arc<Shared>);

impl WorkerShared {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        Self(shared.clone())
    }

    /// A worker's two lanes; `None` for a worker the log was not opened for.
    pub(crate) fn lanes(&self, worker: u16) -> Option<(ExchangeLane, ConnectionLane)> {
        Some((ExchangeLane::new(&self.0, worker)?, ConnectionLane::new(&self.0, worker)?))
    }

    pub(crate) fn admits(&self) -> Result<(), Unavailable> {
        let condition = self.0.condition();
        let admits = condition.admits() || self.0.mode == Mode::BestEffort;
        if admits { Ok(()) } else { Err(Unavailable::Log(condition)) }
    }

    pub(crate) fn is_durable(&self) -> bool {
        self.0.mode == Mode::Durable
    }

    pub(crate) fn wait_for(&self, filed: Filed) -> Durable {
        Durable { filed, place: Place { shared: self.0.clone(), lane: filed.lane, ticket: None } }
    }

    pub(crate) fn wait_for_room(&self, lane: u16) -> Place {
        Place { shared: self.0.clone(), lane, ticket: None }
    }
}

/// A place among those who wait for a lane to move.
#[derive(Debug)]
pub(crate) struct Place {
    shared: Arc<Shared>,
    lane: u16,
    ticket: Option<u64>,
}

impl Place {
    /// Asks to be woken when the lane moves, and tells the writer that somebody waits. The caller looks again
    /// afterwards: the lane may have moved before.
    pub(crate) fn register(&mut self, waker: &Waker) {
        let lane = usize::from(self.lane).checked_sub(1).and_then(|lane| self.shared.lanes.get(lane));
        self.ticket = lane.map(|lane| lane.wait(self.ticket, waker));
        self.shared.hurry();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let lane = usize::from(self.lane).checked_sub(1).and_then(|lane| self.shared.lanes.get(lane));
        if let (Some(lane), Some(ticket)) = (lane, self.ticket) {
            lane.leave(ticket);
        }
    }
}

/// Ready when a filed record is durable, or cannot become so.
#[derive(Debug)]
#[must_use]
pub struct Durable {
    filed: Filed,
    place: Place,
}

impl Future for Durable {
    type Output = Result<(), Unavailable>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(settled) = lane::durable(&self.place.shared, self.filed) {
            return Poll::Ready(settled);
        }
        self.place.register(context.waker());
        match lane::durable(&self.place.shared, self.filed) {
            Some(settled) => Poll::Ready(settled),
            None => Poll::Pending,
        }
    }
}

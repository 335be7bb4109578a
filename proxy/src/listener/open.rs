//! The open connections of one worker.
use super::Connection;
use crate::worker::Worker;
use slab::Slab;
use std::cell::RefCell;
use std::rc::Rc;

/// The open connections of one worker, to be looked at when trust changes and when SVIDs expire.
#[derive(Clone, Debug, Default)]
pub struct Connections(Rc<RefCell<Slab<Rc<Connection>>>>);

impl Connections {
    /// Keeps a connection among the open ones until the result is dropped.
    pub(super) fn enter(&self, connection: &Rc<Connection>) -> Open {
        let place = self.0.borrow_mut().insert(Rc::clone(connection));
        Open { all: self.clone(), place }
    }

    /// Has those end whose callers are believed no more.
    pub(crate) fn review(&self, worker: &Worker) {
        let snapshot = worker.snapshots.pin();
        self.0.borrow().iter().for_each(|(_, connection)| connection.review(worker, &snapshot));
    }
}

/// A connection among the open ones.
#[derive(Debug)]
pub(super) struct Open {
    all: Connections,
    place: usize,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.all.0.borrow_mut().try_remove(self.place);
    }
}

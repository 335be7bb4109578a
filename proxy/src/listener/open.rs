//! The open connections of one worker.
use super::Connection;
use crate::worker::Worker;
use slab::Slab;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

/// The open connections of one worker. All of them are looked at when trust or our identity changes; else only those
/// whose time has come.
#[derive(Clone, Debug, Default)]
pub struct Connections(Rc<RefCell<All<Rc<Connection>>>>);

#[derive(Debug)]
struct All<C> {
    open: Slab<Held<C>>,
    /// What is to be looked at, by when, in seconds since 1970.
    agenda: BTreeSet<(u64, usize)>,
    /// The generation of trust, and whether we had an identity, when all of them were looked at last.
    reviewed: Option<(u64, bool)>,
}

#[derive(Debug)]
struct Held<C> {
    connection: C,
    /// Its place on the agenda.
    due_s: Option<u64>,
}

impl<C> Default for All<C> {
    fn default() -> Self {
        Self { open: Slab::new(), agenda: BTreeSet::new(), reviewed: None }
    }
}

impl Connections {
    /// Keeps a connection among the open ones until the result is dropped. It is looked at with the next sweep: what it
    /// was proven by may have changed in the handshake.
    pub(super) fn enter(&self, connection: &Rc<Connection>) -> Open {
        let place = self.0.borrow_mut().enter(Rc::clone(connection));
        Open { all: self.clone(), place }
    }

    /// Has those end whose callers are believed no more.
    pub(crate) fn review(&self, worker: &Worker) {
        let snapshot = worker.snapshots.pin();
        let in_force = (snapshot.trust.generation, snapshot.svid.is_some());
        let mut all = self.0.borrow_mut();
        for place in all.take_due(in_force, worker.clock.unix_time().as_secs()) {
            if let Some(held) = all.open.get(place) {
                let due_s = held.connection.review(worker, &snapshot);
                all.put_off(place, due_s);
            }
        }
    }
}

impl<C> All<C> {
    fn enter(&mut self, connection: C) -> usize {
        let place = self.open.insert(Held { connection, due_s: None });
        self.put_off(place, Some(0));
        place
    }

    /// Those that have to be looked at now. They are on the agenda no more.
    fn take_due(&mut self, in_force: (u64, bool), now_s: u64) -> Vec<usize> {
        if self.reviewed.replace(in_force) != Some(in_force) {
            self.agenda.clear();
            return self.open.iter().map(|(place, _)| place).collect();
        }
        let later = self.agenda.split_off(&(now_s.saturating_add(1), 0));
        std::mem::replace(&mut self.agenda, later).into_iter().map(|(_, place)| place).collect()
    }

    fn put_off(&mut self, place: usize, due_s: Option<u64>) {
        let Some(held) = self.open.get_mut(place) else { return };
        held.due_s = due_s;
        self.agenda.extend(due_s.map(|due_s| (due_s, place)));
    }

    fn leave(&mut self, place: usize) {
        if let Some(Held { due_s: Some(due_s), .. }) = self.open.try_remove(place) {
            self.agenda.remove(&(due_s, place));
        }
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
        self.all.0.borrow_mut().leave(self.place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_due_is_looked_at_unless_everything_has_changed() {
        let mut all = All::default();
        let places: Vec<_> = (0..5).map(|name| all.enter(name)).collect();
        let before = (1, true);
        assert_eq!(all.take_due(before, 100), places, "nothing has been looked at yet");
        for (place, due_s) in places.iter().zip([Some(103), Some(101), Some(102), None, Some(101)]) {
            all.put_off(*place, due_s);
        }
        all.leave(places[4]);
        assert!(all.take_due(before, 100).is_empty());
        // A second in which nobody looked is made up for.
        assert_eq!(all.take_due(before, 102), [places[1], places[2]]);
        all.put_off(places[1], Some(103));
        all.put_off(places[2], None);
        let late = all.enter(5);
        assert_eq!(all.take_due(before, 102), [late], "a new one is looked at next time");
        all.put_off(late, Some(1000));
        for after in [(2, true), (2, false)] {
            assert_eq!(all.take_due(after, 102).len(), 5);
            (0..5).for_each(|place| all.put_off(place, Some(1000)));
            assert!(all.take_due(after, 999).is_empty());
        }
        places.into_iter().take(4).chain([late]).for_each(|place| all.leave(place));
        assert!(all.agenda.is_empty() && all.open.is_empty());
    }
}

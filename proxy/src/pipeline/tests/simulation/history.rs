//! What is kept of one story, and what has to hold of each.
use super::endpoints::Seen;
use super::{Habit, ROUTE_TIMEOUT};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// One request as its caller knows it. All times are those of the simulation.
#[derive(Debug)]
pub(super) struct Answered {
    /// Every request has one of its own; it is the last segment of its path.
    pub(super) id: String,
    pub(super) by: Habit,
    pub(super) is_get: bool,
    pub(super) at: Duration,
    pub(super) took: Duration,
    /// Without one, the connection ended instead.
    pub(super) status: Option<u16>,
}

/// Something that was changed on purpose, and from when on it held.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// These endpoints are the upstream's.
    Endpoints(Vec<u64>),
    /// The policy of this number is in force.
    Policy(u8),
    /// These endpoints fail, whatever they are asked.
    Failing(Vec<u64>),
    /// This endpoint crashed or was cut off: what it had just said may not have arrived.
    Unheard(u64),
}

/// A time in which an endpoint was left out by the worker's own word.
#[derive(Debug)]
pub(super) struct Ejection {
    pub(super) endpoint: u64,
    pub(super) from: Duration,
    pub(super) until: Option<Duration>,
}

/// A story.
#[derive(Debug)]
pub(super) struct History {
    pub(super) calls_end: Duration,
    pub(super) answers: Vec<Answered>,
    /// The attempts that endpoints saw.
    pub(super) seen: Vec<Seen>,
    pub(super) turns: Vec<(Duration, Turn)>,
    pub(super) ejections: Vec<Ejection>,
    /// What of each upstream's breaker is taken after the worker's end: requests, pending, connections.
    pub(super) in_use: Vec<[usize; 3]>,
    pub(super) records: Vec<Value>,
}

pub(super) type Check = (&'static str, fn(&History) -> Result<(), String>);

/// What holds of every story.
pub(super) const CHECKS: [Check; 4] = [
    ("every caller gets an answer in time", answered_in_time),
    ("what must not be sent twice is not", sent_once),
    ("every exchange has one decision and one outcome, which says what happened", recorded),
    ("nothing stays taken in the breakers", nothing_taken),
];

/// Nothing is wrong, or this is.
pub(super) fn all<T: std::fmt::Debug>(wrong: &[T]) -> Result<(), String> {
    if wrong.is_empty() { Ok(()) } else { Err(format!("{wrong:#?}")) }
}

pub(super) fn none<T: std::fmt::Debug>(wrong: impl Iterator<Item = T>) -> Result<(), String> {
    all(&wrong.collect::<Vec<_>>())
}

pub(super) fn text<'a>(record: &'a Value, member: &str) -> &'a str {
    record[member].as_str().unwrap_or_default()
}

impl History {
    pub(super) fn of_kind(&self, kind: &'static str) -> impl Iterator<Item = &Value> {
        self.records.iter().filter(move |record| record["kind"] == kind)
    }

    /// The outcome of each exchange, by the id of its request.
    pub(super) fn outcomes(&self) -> BTreeMap<&str, &Value> {
        let ids = self.of_kind("decision").map(|decision| (text(decision, "id"), requested(decision)));
        let ids: BTreeMap<&str, &str> = ids.collect();
        self.of_kind("outcome").filter_map(|it| Some((*ids.get(text(it, "id"))?, it))).collect()
    }

    /// Attempts after the first ones.
    pub(super) fn retries(&self) -> u64 {
        let attempts = self.of_kind("outcome").map(|outcome| outcome["attempts"].as_u64().unwrap_or(1));
        attempts.map(|attempts| attempts.saturating_sub(1)).sum()
    }

    pub(super) fn statuses(&self, status: u16) -> usize {
        self.answers.iter().filter(|answered| answered.status == Some(status)).count()
    }

    /// What the endpoints saw of each request, by its id.
    pub(super) fn attempts(&self) -> BTreeMap<&str, Vec<&Seen>> {
        let mut attempts: BTreeMap<&str, Vec<&Seen>> = BTreeMap::new();
        self.seen.iter().for_each(|seen| attempts.entry(&seen.id).or_default().push(seen));
        attempts
    }
}

/// The id of the request that a decision is about.
pub(super) fn requested(decision: &Value) -> &str {
    text(decision, "path").rsplit('/').next().unwrap_or_default()
}

/// A tenth of a second is for the way of the bytes. What policy ended is not answered.
fn answered_in_time(history: &History) -> Result<(), String> {
    let outcomes = history.outcomes();
    let is_revoked = |id: &str| outcomes.get(id).is_some_and(|outcome| text(outcome, "end") == "revoked");
    let is_late = |answered: &&Answered| {
        answered.status.is_none() && !is_revoked(&answered.id)
            || answered.took > ROUTE_TIMEOUT + Duration::from_millis(100)
    };
    none(history.answers.iter().filter(is_late))
}

fn sent_once(history: &History) -> Result<(), String> {
    let attempts = history.attempts();
    let looked_at =
        |id: &str| attempts.get(id).map_or(0, |all| all.iter().filter(|it| !it.is_refused).count());
    none(history.answers.iter().filter(|answered| !answered.is_get && looked_at(&answered.id) > 1))
}

fn recorded(history: &History) -> Result<(), String> {
    let mut outcomes: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for outcome in history.of_kind("outcome") {
        outcomes.entry(text(outcome, "id")).or_default().push(outcome);
    }
    let mut decisions: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for decision in history.of_kind("decision") {
        decisions.entry(requested(decision)).or_default().push(decision);
    }
    let seen = history.attempts();
    let is_wrong = |answered: &&Answered| {
        let Some([decision]) = decisions.get(answered.id.as_str()).map(Vec::as_slice) else {
            return true;
        };
        let Some([outcome]) = outcomes.get(text(decision, "id")).map(Vec::as_slice) else {
            return true;
        };
        // An attempt may have been made that never arrived; none arrived that was not made, or not permitted.
        let attempts = outcome["attempts"].as_u64().unwrap_or(0);
        let seen = seen.get(answered.id.as_str()).map_or(0, |all| u64::try_from(all.len()).unwrap());
        let tried = outcome["tried"].as_array().map_or(0, Vec::len);
        let says_status = answered.status.is_none_or(|status| outcome["status"] == status);
        let is_permitted = seen == 0 || text(decision, "decision") == "allow";
        seen > attempts || u64::try_from(tried + 1).unwrap() < attempts || !says_status || !is_permitted
    };
    let exchanges = history.answers.len();
    let counted = (history.of_kind("decision").count(), history.of_kind("outcome").count());
    if counted != (exchanges, exchanges) {
        return Err(format!("{counted:?} decisions and outcomes of {exchanges} exchanges"));
    }
    none(history.answers.iter().filter(is_wrong))
}

fn nothing_taken(history: &History) -> Result<(), String> {
    none(history.in_use.iter().filter(|in_use| **in_use != [0; 3]))
}

//! What is kept of one story, and what has to hold of each.
use super::{CALLS_END, PER_SECOND, ROUTE_TIMEOUT};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// One request as its caller knows it.
#[derive(Debug)]
pub(super) struct Answered {
    /// Every request has one of its own; it is the last segment of its path.
    pub(super) id: String,
    pub(super) is_get: bool,
    pub(super) at: Duration,
    pub(super) took: Duration,
    /// Without one, the connection ended instead.
    pub(super) status: Option<u16>,
}

/// A story.
#[derive(Debug)]
pub(super) struct History {
    pub(super) answers: Vec<Answered>,
    /// The ids of the requests that endpoints saw.
    pub(super) seen: Vec<String>,
    /// What of each upstream's breaker is taken after the worker's end: requests, pending, connections.
    pub(super) in_use: Vec<[usize; 3]>,
    pub(super) records: Vec<Value>,
}

type Check = fn(&History) -> Result<(), String>;

/// What holds of every story.
pub(super) const CHECKS: [(&str, Check); 6] = [
    ("every caller gets an answer in time", answered_in_time),
    ("what must not be sent twice is not", sent_once),
    ("retries stay within their budget", within_budget),
    ("every exchange has one decision and one outcome, which says what happened", recorded),
    ("nothing stays taken in the breakers", nothing_taken),
    ("all is well again after the faults have ended", recovered),
];

fn all<T: std::fmt::Debug>(wrong: &[T]) -> Result<(), String> {
    if wrong.is_empty() { Ok(()) } else { Err(format!("{wrong:#?}")) }
}

impl History {
    fn times_seen(&self, id: &str) -> usize {
        self.seen.iter().filter(|seen| *seen == id).count()
    }

    /// Attempts after the first ones.
    pub(super) fn retries(&self) -> u64 {
        let outcomes = self.records.iter().filter(|record| record["kind"] == "outcome");
        outcomes.map(|outcome| outcome["attempts"].as_u64().unwrap_or(1).saturating_sub(1)).sum()
    }
}

/// A tenth of a second is for the way of the bytes.
fn answered_in_time(history: &History) -> Result<(), String> {
    let is_late = |answered: &&Answered| {
        answered.status.is_none() || answered.took > ROUTE_TIMEOUT + Duration::from_millis(100)
    };
    all(&history.answers.iter().filter(is_late).collect::<Vec<_>>())
}

fn sent_once(history: &History) -> Result<(), String> {
    let posts = history.answers.iter().filter(|answered| !answered.is_get);
    all(&posts.filter(|answered| history.times_seen(&answered.id) > 1).collect::<Vec<_>>())
}

/// A second's worth may be spent at once, and a request that is begun last ends later.
fn within_budget(history: &History) -> Result<(), String> {
    let retries = history.retries();
    let budget = PER_SECOND * (1 + CALLS_END.as_secs() + ROUTE_TIMEOUT.as_secs());
    if retries <= budget { Ok(()) } else { Err(format!("{retries} retries, {budget} allowed")) }
}

fn recorded(history: &History) -> Result<(), String> {
    let of_kind = |kind: &'static str| history.records.iter().filter(move |record| record["kind"] == kind);
    let mut outcomes: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for outcome in of_kind("outcome") {
        outcomes.entry(outcome["id"].as_str().unwrap_or_default()).or_default().push(outcome);
    }
    let mut decisions: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for decision in of_kind("decision") {
        let path = decision["path"].as_str().unwrap_or_default();
        decisions.entry(path.trim_start_matches("/api/")).or_default().push(decision);
    }
    let is_wrong = |answered: &&Answered| {
        let Some([decision]) = decisions.get(answered.id.as_str()).map(Vec::as_slice) else {
            return true;
        };
        let Some([outcome]) = outcomes.get(text(decision, "id")).map(Vec::as_slice) else {
            return true;
        };
        // An attempt may have been made that never arrived; none arrived that was not made.
        let attempts = outcome["attempts"].as_u64().unwrap_or(0);
        let seen = u64::try_from(history.times_seen(&answered.id)).unwrap();
        let tried = outcome["tried"].as_array().map_or(0, Vec::len);
        let says_status = answered.status.is_none_or(|status| outcome["status"] == status);
        seen > attempts || u64::try_from(tried + 1).unwrap() < attempts || !says_status
    };
    let exchanges = history.answers.len();
    let counted = (of_kind("decision").count(), of_kind("outcome").count());
    if counted != (exchanges, exchanges) {
        return Err(format!("{counted:?} decisions and outcomes of {exchanges} exchanges"));
    }
    all(&history.answers.iter().filter(is_wrong).collect::<Vec<_>>())
}

fn text<'a>(record: &'a Value, member: &str) -> &'a str {
    record[member].as_str().unwrap_or_default()
}

fn nothing_taken(history: &History) -> Result<(), String> {
    all(&history.in_use.iter().filter(|in_use| **in_use != [0; 3]).collect::<Vec<_>>())
}

/// Of what may be sent again; a connection of before the end of the faults may still cost a request that may not.
fn recovered(history: &History) -> Result<(), String> {
    let late = history.answers.iter().filter(|answered| answered.at + Duration::from_secs(3) > CALLS_END);
    all(&late.filter(|answered| answered.is_get && answered.status != Some(200)).collect::<Vec<_>>())
}

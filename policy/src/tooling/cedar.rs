//! What is seen of Cedar policies while they decide, in the shape in which Rego's definitions are told.
use super::cases::Case;
use super::shown::shown;
use super::suite::{bundle_of, limits};
use super::with_query;
use crate::engine::cedar::watch::{Outcome, Seen, Watcher, Written};
use crate::{BundleError, LoadError};
use postern_rego::ast::Loc;
use postern_rego::{Attempt, FileCoverage, Position, Span, Unmet, Value};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// What cases saw of one Cedar policy.
#[derive(Clone, Debug)]
pub struct PolicyCoverage {
    /// Its effect and its id.
    pub rule: String,
    /// `file:row:column` of it.
    pub place: String,
    /// How many answers it determined.
    pub determined: usize,
    /// What is true or false in its condition by itself.
    pub conditions: Vec<ConditionCoverage>,
}

/// What cases saw of one condition.
#[derive(Clone, Debug)]
pub struct ConditionCoverage {
    /// `file:row:column` of it.
    pub place: String,
    /// What it says.
    pub text: String,
    /// How often it held.
    pub held: usize,
    /// How often it did not.
    pub not_held: usize,
    /// How often its evaluation ended in an error.
    pub errors: usize,
}

/// The attempts to make policies hold, the most telling first, and which of them came nearest.
pub(super) type Told = (Vec<Attempt>, Option<usize>);

/// Policies under watch, and what was seen of them.
#[derive(Debug)]
pub(super) struct Watched {
    watcher: Watcher,
    coverage: Vec<PolicyCoverage>,
}

impl Watched {
    pub(super) fn load(root: &str, files: &BTreeMap<String, Vec<u8>>) -> Result<Self, WatchError> {
        let watcher = Watcher::load(root, &bundle_of(files)?, &limits())?;
        let of = |policy: &Written| PolicyCoverage {
            rule: rule(policy),
            place: place(policy, policy.span),
            determined: 0,
            conditions: policy
                .leaves
                .iter()
                .map(|leaf| ConditionCoverage {
                    place: place(policy, leaf.span),
                    text: leaf.text.clone(),
                    held: 0,
                    not_held: 0,
                    errors: 0,
                })
                .collect(),
        };
        let coverage = watcher.policies.iter().map(of).collect();
        Ok(Self { watcher, coverage })
    }

    /// What comes of a case, which counts as covered from now on; nothing where no policy is asked.
    pub(super) fn see(&mut self, case: &Case, now_ns: u64) -> Told {
        let Ok(seen) = with_query(case, now_ns, |query| self.watcher.watch(query)) else {
            return (Vec::new(), None);
        };
        let policies = &self.watcher.policies;
        let is_permit = |seen: &Seen| policies.get(seen.number).is_some_and(|policy| policy.is_permit);
        let forbidden = seen.iter().any(|seen| !is_permit(seen) && matches!(seen.outcome, Outcome::Held));
        let failed = seen.iter().any(has_failed);
        for seen in &seen {
            let Some(coverage) = self.coverage.get_mut(seen.number) else { continue };
            let held = matches!(seen.outcome, Outcome::Held);
            // An error denies whatever else holds.
            let determines = if failed { has_failed(seen) } else { held && is_permit(seen) != forbidden };
            coverage.determined = coverage.determined.saturating_add(usize::from(determines));
            for (leaf, outcome) in &seen.leaves {
                let Some(condition) = coverage.conditions.get_mut(*leaf) else { continue };
                let count = match outcome {
                    Some(true) => &mut condition.held,
                    Some(false) => &mut condition.not_held,
                    None => &mut condition.errors,
                };
                *count = count.saturating_add(1);
            }
        }
        told(policies, seen)
    }

    /// What cases saw, by file: a policy's first row is covered if it determined an answer, a condition if it was
    /// evaluated. The links of a template stand where it does.
    pub(super) fn files(&self) -> Vec<FileCoverage> {
        let mut all: BTreeMap<&str, BTreeMap<Span, bool>> = BTreeMap::new();
        for (policy, coverage) in self.watcher.policies.iter().zip(&self.coverage) {
            let spans = all.entry(&policy.file).or_default();
            let start = policy.span.start;
            let head = Span { start, end: Position { col: start.col.saturating_add(1), ..start } };
            *spans.entry(head).or_default() |= coverage.determined > 0;
            for (leaf, condition) in policy.leaves.iter().zip(&coverage.conditions) {
                let times = [condition.held, condition.not_held, condition.errors];
                *spans.entry(leaf.span).or_default() |= times.iter().any(|times| *times > 0);
            }
        }
        let file = |(file, spans): (&str, BTreeMap<Span, bool>)| {
            let those = |wanted: bool| {
                spans.iter().filter(|(_, covered)| **covered == wanted).map(|(span, _)| *span).collect()
            };
            FileCoverage { file: file.to_owned(), covered: those(true), not_covered: those(false) }
        };
        all.into_iter().map(file).collect()
    }

    pub(super) fn into_policies(self) -> Vec<PolicyCoverage> {
        self.coverage
    }
}

/// Why policies cannot be watched.
#[derive(Debug, thiserror::Error)]
pub(super) enum WatchError {
    #[error(transparent)]
    Bundle(#[from] BundleError),
    #[error(transparent)]
    Load(#[from] LoadError),
}

fn has_failed(seen: &Seen) -> bool {
    matches!(&seen.outcome, Outcome::Unmet(unmet) if unmet.error.is_some())
}

fn rule(policy: &Written) -> String {
    format!("{} {}", if policy.is_permit { "permit" } else { "forbid" }, policy.id)
}

fn place(policy: &Written, span: Span) -> String {
    format!("{}:{}:{}", policy.file, span.start.row, span.start.col)
}

/// First what could not be evaluated, then what holds, then what came near, permits before forbids, then what is not
/// about the request at all.
fn told(policies: &[Written], seen: Vec<Seen>) -> Told {
    let mut all: Vec<(&Written, Seen)> =
        seen.into_iter().filter_map(|seen| Some((policies.get(seen.number)?, seen))).collect();
    let holds = |wanted: bool, all: &[(&Written, Seen)]| {
        all.iter().any(|(policy, seen)| policy.is_permit == wanted && matches!(seen.outcome, Outcome::Held))
    };
    let (permitted, forbidden) = (holds(true, &all), holds(false, &all));
    all.sort_by_key(|(policy, seen)| match &seen.outcome {
        Outcome::Unmet(unmet) if unmet.error.is_some() => (0, policy.is_permit, 0),
        Outcome::Held => (1, policy.is_permit, 0),
        // Of what is denied a permit is what lacks; of what is allowed, a forbid.
        Outcome::Unmet(_) => {
            (2, policy.is_permit == (permitted && !forbidden), seen.conditions.saturating_sub(seen.met))
        }
        Outcome::OutOfScope(missed) => (3, policy.is_permit == (permitted && !forbidden), missed.len()),
    });
    let nearest = all.iter().position(|(policy, seen)| {
        let would_change = !forbidden && policy.is_permit != permitted;
        has_failed(seen) || (would_change && !matches!(seen.outcome, Outcome::Held))
    });
    (all.into_iter().map(|(policy, seen)| attempt(policy, seen)).collect(), nearest)
}

fn attempt(policy: &Written, seen: Seen) -> Attempt {
    let known = |value: &serde_json::Value| Value::from_json(&value.to_string()).ok();
    let held = matches!(seen.outcome, Outcome::Held);
    let unmet = match seen.outcome {
        Outcome::Held => None,
        Outcome::OutOfScope(missed) => {
            let texts: Vec<&str> = missed.iter().map(|(text, _, _)| text.as_str()).collect();
            let values = missed.iter().map(|(_, name, is)| ((*name).to_owned(), known(&json!(is))));
            Some((policy.span, texts.join(", "), values.collect()))
        }
        Outcome::Unmet(unmet) => {
            let error = unmet.error.map(|error| ("error".to_owned(), known(&json!(error))));
            let value =
                |(name, value): (String, Option<serde_json::Value>)| (name, value.as_ref().and_then(known));
            Some((
                unmet.span,
                unmet.text,
                error.into_iter().chain(unmet.values.into_iter().map(value)).collect(),
            ))
        }
    };
    Attempt {
        rule: rule(policy),
        loc: loc(policy.span),
        place: place(policy, policy.span),
        depth: 0,
        held,
        is_default: false,
        conditions: seen.conditions,
        met: seen.met,
        unmet: unmet.map(|(span, text, values)| Unmet {
            loc: loc(span),
            place: place(policy, span),
            text,
            values,
        }),
    }
}

fn loc(span: Span) -> Loc {
    Loc { module: 0, row: span.start.row, col: span.start.col }
}

/// Policies that never determined an answer, and conditions that came out in one way alone.
pub(super) fn plain(policies: &[PolicyCoverage], out: &mut String) {
    for policy in policies.iter().filter(|policy| policy.determined == 0) {
        out.push_str(&format!(
            "          never determined an answer: {}  {}\n",
            policy.place,
            shown(&policy.rule)
        ));
    }
    // The links of a template share its conditions.
    let mut both: BTreeMap<(&str, &str), (bool, bool)> = BTreeMap::new();
    for condition in policies.iter().flat_map(|policy| &policy.conditions) {
        let seen = both.entry((&condition.place, &condition.text)).or_default();
        seen.0 |= condition.held > 0;
        seen.1 |= condition.not_held > 0;
    }
    let mut told = BTreeSet::new();
    for condition in policies.iter().flat_map(|policy| &policy.conditions) {
        let key = (condition.place.as_str(), condition.text.as_str());
        let what = match both.get(&key) {
            Some((true, false)) => "never seen not to hold",
            Some((false, true)) => "never seen to hold",
            _ => continue,
        };
        if told.insert(key) {
            out.push_str(&format!("          {what}: {}  {}\n", condition.place, shown(&condition.text)));
        }
    }
}

pub(super) fn json(policies: &[PolicyCoverage]) -> serde_json::Value {
    let condition = |condition: &ConditionCoverage| {
        json!({
            "place": condition.place,
            "text": condition.text,
            "held": condition.held,
            "not_held": condition.not_held,
            "errors": condition.errors,
        })
    };
    let policy = |policy: &PolicyCoverage| {
        let conditions: Vec<serde_json::Value> = policy.conditions.iter().map(condition).collect();
        json!({
            "rule": policy.rule,
            "place": policy.place,
            "determined": policy.determined,
            "conditions": conditions,
        })
    };
    policies.iter().map(policy).collect()
}

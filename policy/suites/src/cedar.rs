//! Cedar's integration tests: decision, determining and erring policies of every request, and what the strict
//! validator says of every policy set. The answers come from the slices by which the proxy decides.
use crate::{SuiteError, Tally};
use cedar_policy::{Context, Entities, EntityUid, PolicySet, Request, Schema, ValidationMode, Validator};
use flate2::read::GzDecoder;
use postern_policy::CedarSet;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::str::FromStr as _;

/// One line of the suite.
#[derive(Debug, Deserialize)]
struct Case {
    id: String,
    should_validate: bool,
    policies: String,
    schema: String,
    entities: serde_json::Value,
    requests: Vec<Asked>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    description: String,
    principal: serde_json::Value,
    action: serde_json::Value,
    resource: serde_json::Value,
    context: serde_json::Value,
    decision: Wanted,
    reason: BTreeSet<String>,
    errors: BTreeSet<String>,
    #[serde(default = "yes")]
    validate_request: bool,
}

fn yes() -> bool {
    true
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Wanted {
    Allow,
    Deny,
}

#[derive(Debug, Deserialize)]
struct Listed {
    ids: BTreeSet<String>,
}

/// Judges every case of the corpus in this folder, on all cores.
///
/// # Errors
/// [`SuiteError`]: a file of the suite cannot be read.
pub fn judge(folder: &Path) -> Result<Tally, SuiteError> {
    let mut cases = read(&folder.join("handwritten.jsonl.gz"))?;
    cases.extend(read(&folder.join("corpus.jsonl.gz"))?);
    let listed = listed(&folder.join("validator-differences-4.14.1.json"))?;
    let cores = std::thread::available_parallelism().map_or(1, Into::into);
    let share = cases.len().div_ceil(cores).max(1);
    let listed = &listed;
    // A list may name cases of the whole suite of which the folder holds a part.
    let tally = std::thread::scope(|scope| {
        let parts: Vec<_> = cases
            .chunks(share)
            .map(|part| {
                scope.spawn(move || part.iter().map(|case| of_case(case, listed)).fold(Tally::default(), sum))
            })
            .collect();
        parts.into_iter().fold(Tally::default(), |tally, part| match part.join() {
            Ok(part) => sum(tally, part),
            Err(panic) => std::panic::resume_unwind(panic),
        })
    });
    Ok(tally)
}

fn sum(mut tally: Tally, other: Tally) -> Tally {
    tally.add(other);
    tally
}

fn read(path: &Path) -> Result<Vec<Case>, SuiteError> {
    let shown = || path.display().to_string();
    let file = File::open(path).map_err(|error| SuiteError::File(shown(), error))?;
    let lines = BufReader::new(GzDecoder::new(file)).lines();
    let case = |line: std::io::Result<String>| {
        let line = line.map_err(|error| SuiteError::File(shown(), error))?;
        serde_json::from_str(&line).map_err(|error| SuiteError::Json(shown(), error))
    };
    lines.map(case).collect()
}

fn listed(path: &Path) -> Result<BTreeSet<String>, SuiteError> {
    let shown = || path.display().to_string();
    let text = std::fs::read(path).map_err(|error| SuiteError::File(shown(), error))?;
    let listed: Listed = serde_json::from_slice(&text).map_err(|error| SuiteError::Json(shown(), error))?;
    Ok(listed.ids)
}

/// What is not as the suite wants it.
#[derive(Debug)]
enum Differs {
    /// What the suite takes as valid is not taken here.
    Refused(String),
    /// The strict validator says otherwise.
    Validator(String),
    /// An answer is another one.
    Answer(String),
}

fn of_case(case: &Case, listed: &BTreeSet<String>) -> Tally {
    let mut tally = Tally { cases: 1, questions: case.requests.len(), ..Tally::default() };
    let is_listed = listed.contains(&case.id);
    let note = match (differs(case), is_listed) {
        (Ok(()), false) => {
            tally.passed = 1;
            return tally;
        }
        (Err(Differs::Validator(_)), true) => {
            tally.listed = 1;
            return tally;
        }
        (Ok(()), true) => {
            tally.wrong = 1;
            "it does not differ, but is listed".to_owned()
        }
        (Err(Differs::Refused(what)), _) => {
            tally.refused = 1;
            what
        }
        (Err(Differs::Validator(what) | Differs::Answer(what)), _) => {
            tally.wrong = 1;
            what
        }
    };
    tally.note(format!("{}: {note}", case.id));
    tally
}

/// Answers first: a validator that differs must not hide one that is wrong.
fn differs(case: &Case) -> Result<(), Differs> {
    let refused = |what: &str, error: &dyn std::fmt::Display| Differs::Refused(format!("{what}: {error}"));
    let (schema, _) =
        Schema::from_cedarschema_str(&case.schema).map_err(|error| refused("schema", &error))?;
    let policies = PolicySet::from_str(&case.policies).map_err(|error| refused("policies", &error))?;
    let entities = Entities::from_json_value(case.entities.clone(), Some(&schema))
        .map_err(|error| refused("entities", &error))?;
    let set = CedarSet::new(&policies).map_err(|error| refused("policies", &error))?;
    for asked in &case.requests {
        answered(asked, &schema, &set, &entities)?;
    }
    let verdict = Validator::new(schema).validate(&policies, ValidationMode::Strict);
    if verdict.validation_passed() == case.should_validate {
        return Ok(());
    }
    Err(Differs::Validator(format!("the validator differs: the suite says {}", case.should_validate)))
}

fn answered(asked: &Asked, schema: &Schema, set: &CedarSet, entities: &Entities) -> Result<(), Differs> {
    let place = &asked.description;
    let refused = |error: &dyn std::fmt::Display| Differs::Refused(format!("{place}: {error}"));
    let uid = |json: &serde_json::Value| EntityUid::from_json(json.clone()).map_err(|error| refused(&error));
    let (principal, action, resource) = (uid(&asked.principal)?, uid(&asked.action)?, uid(&asked.resource)?);
    let context = Context::from_json_value(asked.context.clone(), Some((schema, &action)))
        .map_err(|error| refused(&error))?;
    let validated = asked.validate_request.then_some(schema);
    let request =
        Request::new(principal, action, resource, context, validated).map_err(|error| refused(&error))?;
    let answer = set.answer(&request, entities).map_err(|error| refused(&error))?;
    let same = answer.allowed == (asked.decision == Wanted::Allow)
        && answer.determining.iter().eq(&asked.reason)
        && answer.erring.iter().eq(&asked.errors);
    if same {
        return Ok(());
    }
    let wanted = format!("{:?} by {:?} with errors in {:?}", asked.decision, asked.reason, asked.errors);
    Err(Differs::Answer(format!("{place}: {answer:?}, but the suite wants {wanted}")))
}

#[cfg(test)]
mod tests;

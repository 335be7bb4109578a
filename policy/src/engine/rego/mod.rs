//! Rego by our own engine, `postern-rego`: this is where bundles become a policy set, a query becomes an input and a value
//! becomes an answer.
mod body;
mod check;
pub(crate) mod examine;
mod input;
mod keys;
mod parties;
mod result;
#[cfg(test)]
mod tests;
mod value;

pub(crate) use check::refused_builtin;

use crate::bundle::{PolicyBundle, RegoVersion};
use crate::engine::{Answer, NoAnswer};
use crate::pdp::PdpLimits;
use crate::verdict::truncated;
use crate::{LoadError, Query};
use postern_rego::ast::Version;
use postern_rego::builtins::Context;
use postern_rego::{Entry, HaltCode, Limits, Object, Policy, Reads, Source, Value};
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

/// A loaded Rego policy set: immutable, makes evaluators.
#[derive(Clone)]
pub(crate) struct RegoPolicies {
    set: Arc<Set>,
}

struct Set {
    policy: Policy,
    data: Value,
    entry: Entry,
    entry_path: String,
    reads: Reads,
    parts: input::Parts,
    limits: PdpLimits,
}

impl fmt::Debug for RegoPolicies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegoPolicies").field("entry", &self.set.entry_path).finish_non_exhaustive()
    }
}

impl RegoPolicies {
    /// Loads the bundles' Rego with the entry point `path/of/rule`.
    pub(crate) fn load(
        bundles: &[(&str, &PolicyBundle)],
        entry: &str,
        limits: &PdpLimits,
    ) -> Result<Self, LoadError> {
        let data = data_of(bundles)?;
        let policy = policy_of(bundles)?;
        check::refuse_rules_over_data(bundles, &policy)?;
        let found = entry_of(&policy, entry)?;
        let reads = policy.reads(&found);
        check::refuse_nondeterminism(entry, &reads)?;
        let parts = input::Parts::of(&reads);
        let set =
            Set { policy, data, entry: found, entry_path: entry.to_owned(), reads, parts, limits: *limits };
        Ok(Self { set: Arc::new(set) })
    }

    pub(crate) fn read_set(&self) -> &Reads {
        &self.set.reads
    }

    pub(crate) fn reads_body(&self) -> bool {
        self.set.parts.body
    }

    /// The paths of the input that can be read, in words: `attributes.request.http.method`; the whole input is `*`.
    pub(crate) fn reads(&self) -> Vec<String> {
        let path = |path: &Vec<Arc<str>>| if path.is_empty() { "*".to_owned() } else { path.join(".") };
        self.set.reads.input.iter().map(path).collect()
    }

    pub(crate) fn evaluator(&self) -> RegoEvaluator {
        RegoEvaluator {
            set: Arc::clone(&self.set),
            context: Context::default(),
            builder: input::Builder::new(self.set.parts),
        }
    }
}

/// One worker's evaluator.
pub(crate) struct RegoEvaluator {
    set: Arc<Set>,
    context: Context,
    builder: input::Builder,
}

impl fmt::Debug for RegoEvaluator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegoEvaluator").field("entry", &self.set.entry_path).finish_non_exhaustive()
    }
}

impl RegoEvaluator {
    pub(crate) fn decide(&mut self, query: &Query<'_>) -> Result<Answer, NoAnswer> {
        let input = self.builder.build(query).map_err(|error| error.into_no_answer())?;
        let limits = &self.set.limits;
        #[expect(clippy::disallowed_methods, reason = "the engine's own safety timer")]
        let deadline = Instant::now().checked_add(limits.timeout);
        self.context.now_ns = query.now_ns;
        let limits =
            Limits { steps: limits.steps_max, deadline, strict_builtin_errors: limits.strict_builtin_errors };
        let set = &self.set;
        match set.policy.evaluate(&set.entry, &set.data, Some(input), &mut self.context, limits) {
            Ok(Some(value)) => result::answer(&value, &set.entry_path),
            Ok(None) => Err(NoAnswer::Undefined),
            Err(halt) => {
                let message = format!("{}: {}", set.policy.place(halt.loc), halt.message);
                Err(match halt.code {
                    HaltCode::Budget => NoAnswer::Budget(message),
                    HaltCode::Deadline => NoAnswer::Timeout,
                    HaltCode::Conflict | HaltCode::Type | HaltCode::Builtin | HaltCode::Internal => {
                        NoAnswer::Engine(message)
                    }
                })
            }
        }
    }
}

pub(crate) fn data_of(bundles: &[(&str, &PolicyBundle)]) -> Result<Value, LoadError> {
    let mut members = Vec::new();
    for (name, bundle) in bundles {
        let failed = |what: String| LoadError::Syntax { place: format!("{name}/data.json"), what };
        let data = value::of_document(&bundle.data).map_err(|error| failed(error.to_string()))?;
        members.push(data);
    }
    // The roots of bundles do not overlap, so no two of them say anything about one path.
    Ok(members.into_iter().reduce(|all, more| all.merged(&more)).unwrap_or(Value::Object(Object::default())))
}

fn policy_of(bundles: &[(&str, &PolicyBundle)]) -> Result<Policy, LoadError> {
    let mut names = Vec::new();
    let mut owners = Vec::new();
    for (name, bundle) in bundles {
        for (file, text) in &bundle.policies {
            let version = match bundle.manifest.version_of(file) {
                RegoVersion::V0 => Version::V0,
                RegoVersion::V1 => Version::V1,
            };
            names.push((format!("{name}/{file}"), text.as_str(), version));
            owners.push(bundle);
        }
    }
    let sources: Vec<Source<'_>> =
        names.iter().map(|(name, text, version)| Source { name, text, version: *version }).collect();
    let policy = Policy::load(&sources).map_err(|error| LoadError::Syntax {
        place: format!("{}:{}:{}", error.file, error.loc.row, error.loc.col),
        what: truncated(error.what),
    })?;
    for ((place, _, _), (package, owner)) in names.iter().zip(policy.packages().iter().zip(owners)) {
        let package = package.join("/");
        if !owner.manifest.owns(&package) {
            return Err(LoadError::OutsideRoots { place: place.clone(), package });
        }
    }
    Ok(policy)
}

/// The document at the configured path.
fn entry_of(policy: &Policy, entry: &str) -> Result<Entry, LoadError> {
    let missing = |hint: String| LoadError::NoEntry { entry: entry.to_owned(), hint };
    let parts: Vec<&str> = entry.split('/').collect();
    if parts.iter().any(|part| part.is_empty()) {
        return Err(missing("write it as `package/path/rule`".to_owned()));
    }
    policy.entry(&parts).ok_or_else(|| {
        let path = |rule: &[Value]| {
            let part = |part: &Value| part.as_str().map_or_else(|| part.to_string(), str::to_owned);
            rule.iter().map(part).collect::<Vec<_>>().join("/")
        };
        let known: Vec<String> = policy.rules().take(8).map(path).collect();
        let known = if known.is_empty() { "no rules".to_owned() } else { known.join(", ") };
        missing(format!("there are: {known}"))
    })
}

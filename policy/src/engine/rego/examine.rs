//! A bundle's Rego, loaded to be looked at while it is evaluated: for tests, explanations and coverage. It decides
//! nothing that is enforced.
use super::{data_of, input};
use crate::bundle::{PolicyBundle, RegoVersion};
use crate::engine::LoadError;
use crate::pdp::PdpLimits;
use crate::tooling::{Case, with_query};
use crate::verdict::truncated;
use postern_rego::ast::{Loc, Version};
use postern_rego::builtins::Context;
use postern_rego::{Entry, Limits, Policy, QueryError, Source, TestRule, Value, Watch, Watched};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A loaded set.
#[derive(Debug)]
pub(crate) struct Examined {
    pub(crate) policy: Policy,
    data: Value,
    files: Vec<(String, String, Version)>,
}

impl Examined {
    /// Loads a bundle whose files are called `name/file`. `exempt` says which files are no part of what the bundle may
    /// own.
    pub(crate) fn load(
        name: &str,
        bundle: &PolicyBundle,
        exempt: &dyn Fn(&str) -> bool,
    ) -> Result<Self, LoadError> {
        let data = data_of(&[(name, bundle)])?;
        let mut files = Vec::new();
        for (file, text) in bundle.policies().filter(|(file, _)| file.ends_with(".rego")) {
            let version = match bundle.manifest.version_of(file) {
                RegoVersion::V0 => Version::V0,
                RegoVersion::V1 => Version::V1,
            };
            files.push((format!("{name}/{file}"), text.to_owned(), version));
        }
        let policy = Policy::load_to_examine(&sources(&files)).map_err(|error| LoadError::Syntax {
            place: format!("{}:{}:{}", error.file, error.loc.row, error.loc.col),
            what: truncated(error.what),
        })?;
        for ((place, _, _), package) in files.iter().zip(policy.packages()) {
            let package = package.join("/");
            if !exempt(place) && !bundle.manifest.owns(&package) {
                return Err(LoadError::OutsideRoots { place: place.clone(), package });
            }
        }
        Ok(Self { policy, data, files })
    }

    pub(crate) fn sources(&self) -> Vec<Source<'_>> {
        sources(&self.files)
    }

    /// The name of the file of a place.
    pub(crate) fn file(&self, loc: Loc) -> &str {
        self.files.get(usize::from(loc.module)).map_or("", |(name, _, _)| name)
    }

    /// Runs a test; `None` if it is nothing that has a value.
    pub(crate) fn test(&self, test: &TestRule, now_ns: u64, steps: u64) -> Option<Watched> {
        let path: Vec<&str> = test.path.iter().map(AsRef::as_ref).collect();
        let entry = self.policy.entry(&path)?;
        Some(self.watch(&entry, None, now_ns, steps))
    }

    /// Decides a case; `None` if there is no such rule or no input for it.
    pub(crate) fn decide(&self, entry: &crate::Entry, case: &Case, now_ns: u64) -> Option<Watched> {
        let crate::Entry::Rego { path } = entry else { return None };
        let entry = self.entry(path)?;
        let input = with_query(case, now_ns, |query| self.input(&entry, query)).ok()?;
        let now_ns = case.now_ns.unwrap_or(now_ns);
        // `print` takes steps that production does not take.
        let steps = PdpLimits::default().steps_max.saturating_mul(2);
        Some(self.watch(&entry, Some(input), now_ns, steps))
    }

    /// The document at `a/b/c`.
    pub(crate) fn entry(&self, path: &str) -> Option<Entry> {
        let parts: Vec<&str> = path.split('/').collect();
        if parts.iter().any(|part| part.is_empty()) { None } else { self.policy.entry(&parts) }
    }

    /// The input that a query becomes for an entry, or why it becomes none.
    pub(crate) fn input(&self, entry: &Entry, query: &crate::Query<'_>) -> Result<Value, String> {
        let parts = input::Parts::of(&self.policy.reads(entry));
        input::Builder::new(parts).build(query).map_err(|error| error.to_string())
    }

    /// Evaluates an entry and tells what was seen.
    pub(crate) fn watch(&self, entry: &Entry, input: Option<Value>, now_ns: u64, steps: u64) -> Watched {
        let sources = self.sources();
        let limits = Limits { steps, deadline: None, strict_builtin_errors: false };
        let watch = Watch { data: &self.data, input, limits, attempts: Some(&sources) };
        self.policy.watch(entry, watch, &mut context(now_ns))
    }

    /// The solutions of a query.
    pub(crate) fn query(
        &mut self,
        text: &str,
        input: Option<Value>,
        now_ns: u64,
        steps: u64,
    ) -> Result<Vec<BTreeMap<Arc<str>, Value>>, QueryError> {
        let limits = Limits { steps, deadline: None, strict_builtin_errors: false };
        self.policy.query(text, self.data.clone(), input, &mut context(now_ns), limits)
    }
}

fn sources(files: &[(String, String, Version)]) -> Vec<Source<'_>> {
    files.iter().map(|(name, text, version)| Source { name, text, version: *version }).collect()
}

fn context(now_ns: u64) -> Context {
    let mut context = Context::default();
    context.now_ns = now_ns;
    context
}

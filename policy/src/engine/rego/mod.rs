//! Rego by the `regorus` interpreter. The engine's traps are closed at load where they can be seen in the source
//! ([`check`], [`negation`]) and by builtins of our own where they cannot ([`builtins`]).
mod ast;
mod builtins;
mod check;
#[cfg(test)]
mod corpus;
mod input;
mod negation;
mod pattern;
mod reads;
mod result;
mod scope;
#[cfg(test)]
mod tests;
mod value;

use crate::bundle::{PolicyBundle, RegoVersion};
use crate::engine::{Answer, NoAnswer, shape};
use crate::pdp::PdpLimits;
use crate::{LoadError, Query};
use regorus::utils::limits::ExecutionTimerConfig;
use regorus::{Engine, LimitError, PolicyLengthConfig};
use std::collections::BTreeSet;
use std::fmt;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;

pub(crate) use reads::Reads;

/// A loaded Rego policy set: immutable, makes evaluators.
#[derive(Clone)]
pub(crate) struct RegoPolicies {
    template: Engine,
    rule: Arc<str>,
    entry: Arc<str>,
    reads: Reads,
    parts: input::Parts,
}

impl fmt::Debug for RegoPolicies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegoPolicies").field("entry", &self.entry).finish_non_exhaustive()
    }
}

/// The package that leads to entry points that are no single rule.
const ENTRY_PACKAGE: &str = "postern_entry_point";
/// How many steps of the interpreter lie between two looks at the timer.
const TIMER_INTERVAL: NonZeroU32 = NonZeroU32::new(16).unwrap();

impl RegoPolicies {
    /// Loads the bundles' Rego with the entry point `path/of/rule`.
    pub(crate) fn load(
        bundles: &[(&str, &PolicyBundle)],
        entry: &str,
        limits: &PdpLimits,
    ) -> Result<Self, LoadError> {
        let mut engine = new_engine(limits)?;
        add_data(&mut engine, bundles, limits)?;
        let mut set = ModuleSet::default();
        for (name, bundle) in bundles {
            for (file, source) in &bundle.policies {
                let version = bundle.manifest.version_of(file);
                set.add(&mut engine, &Source { bundle: name, file, source, version, owner: bundle })?;
            }
        }
        let checked = set.check(&mut engine)?;
        check::refuse_rules_over_data(bundles, &checked.rules)?;
        let rule = entry_rule(&mut engine, entry, &checked.rules)?;
        let parts = input::Parts::of(&checked.reads);
        let mut policies =
            Self { template: engine, rule: rule.into(), entry: entry.into(), reads: checked.reads, parts };
        policies.prepare()?;
        Ok(policies)
    }

    /// Runs the entry point once on an empty input: the engine analyses the policies then, and finds what it refuses.
    /// What an empty input leads to is no concern; that it prepares is.
    fn prepare(&mut self) -> Result<(), LoadError> {
        let mut engine = self.template.clone();
        engine.compile_with_entrypoint(&self.rule).map_err(|error| LoadError::Syntax {
            place: self.entry.to_string(),
            what: crate::verdict::truncated(error.to_string()),
        })?;
        self.template = engine;
        Ok(())
    }

    pub(crate) fn reads_body(&self) -> bool {
        self.parts.body
    }

    pub(crate) fn reads(&self) -> &Reads {
        &self.reads
    }

    pub(crate) fn evaluator(&self) -> RegoEvaluator {
        RegoEvaluator {
            engine: self.template.clone(),
            rule: Arc::clone(&self.rule),
            entry: Arc::clone(&self.entry),
            parts: self.parts,
        }
    }
}

/// One worker's interpreter.
pub(crate) struct RegoEvaluator {
    engine: Engine,
    rule: Arc<str>,
    entry: Arc<str>,
    parts: input::Parts,
}

impl fmt::Debug for RegoEvaluator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegoEvaluator").field("entry", &self.entry).finish_non_exhaustive()
    }
}

impl RegoEvaluator {
    pub(crate) fn decide(&mut self, query: &Query<'_>) -> Result<Answer, NoAnswer> {
        let input = input::build(query, self.parts).map_err(|error| NoAnswer::Engine(error.to_string()))?;
        builtins::set_now(query.now_ns);
        self.engine.set_input(input);
        let outcome = self.engine.eval_rule(self.rule.to_string());
        // `print` collects while it evaluates; what it collected must not grow from decision to decision.
        drop(self.engine.take_prints());
        match outcome {
            Ok(value) => result::answer(&value, &self.entry),
            Err(error) => Err(if error.downcast_ref::<LimitError>().is_some() {
                NoAnswer::Timeout
            } else {
                classified(error.to_string())
            }),
        }
    }
}

/// The engine wraps errors of functions in its own text, so the limit's type may be lost on the way up.
fn classified(message: String) -> NoAnswer {
    if message.contains("execution exceeded time limit") {
        NoAnswer::Timeout
    } else if message.contains(builtins::BUDGET) {
        NoAnswer::Budget(message)
    } else {
        NoAnswer::Engine(message)
    }
}

fn new_engine(limits: &PdpLimits) -> Result<Engine, LoadError> {
    let mut engine = Engine::new();
    engine.set_strict_builtin_errors(true);
    engine.set_gather_prints(true);
    engine.set_policy_length_config(PolicyLengthConfig {
        max_col: NonZeroU32::new(60_000).unwrap_or(NonZeroU32::MAX),
        max_file_bytes: NonZeroUsize::new(4 * 1024 * 1024).unwrap_or(NonZeroUsize::MAX),
        max_lines: NonZeroUsize::new(100_000).unwrap_or(NonZeroUsize::MAX),
    });
    engine.set_execution_timer_config(ExecutionTimerConfig {
        limit: limits.timeout,
        check_interval: TIMER_INTERVAL,
    });
    if builtins::register(&mut engine) { Ok(engine) } else { Err(LoadError::EnginePanic) }
}

fn add_data(
    engine: &mut Engine,
    bundles: &[(&str, &PolicyBundle)],
    limits: &PdpLimits,
) -> Result<(), LoadError> {
    for (name, bundle) in bundles {
        let failed = |what: String| LoadError::Syntax { place: format!("{name}/data.json"), what };
        let data = value::of_document(&bundle.data).map_err(|error| failed(error.to_string()))?;
        engine.add_data(data).map_err(|error| failed(error.to_string()))?;
    }
    // The interpreter copies the root object for every decision.
    let keys = engine.get_data().as_object().map_or(0, |root| root.len());
    if keys > limits.data_root_keys_max {
        return Err(LoadError::WideData { keys, limit: limits.data_root_keys_max });
    }
    Ok(())
}

/// One policy file on its way into the engine.
struct Source<'a> {
    bundle: &'a str,
    file: &'a str,
    source: &'a str,
    version: RegoVersion,
    owner: &'a PolicyBundle,
}

/// The modules that the engine holds, by the order in which they were added.
#[derive(Default)]
struct ModuleSet {
    places: Vec<String>,
}

/// What the checks found out.
struct Checked {
    reads: Reads,
    rules: BTreeSet<Vec<String>>,
}

impl ModuleSet {
    fn add(&mut self, engine: &mut Engine, source: &Source<'_>) -> Result<(), LoadError> {
        let place = format!("{}/{}", source.bundle, source.file);
        let failed =
            |what: String| LoadError::Syntax { place: place.clone(), what: crate::verdict::truncated(what) };
        shape::refuse_misshapen(source.source, shape::Language::Rego).map_err(|found| {
            LoadError::Refused {
                place: format!("{place}:{}", found.line),
                what: found.what.to_owned(),
                mend: "split it into several rules, or put the values into data",
            }
        })?;
        // Parsed alone first: the text that the engine gets may be another one.
        let mut alone = Engine::new();
        alone.set_policy_length_config(PolicyLengthConfig {
            max_col: NonZeroU32::new(60_000).unwrap_or(NonZeroU32::MAX),
            max_file_bytes: NonZeroUsize::new(4 * 1024 * 1024).unwrap_or(NonZeroUsize::MAX),
            max_lines: NonZeroUsize::new(100_000).unwrap_or(NonZeroUsize::MAX),
        });
        alone.set_rego_v0(source.version == RegoVersion::V0);
        alone.add_policy(place.clone(), source.source.to_owned()).map_err(|e| failed(e.to_string()))?;
        let Some(module) = alone.get_modules().first().cloned() else {
            return Err(failed("the file holds no module".to_owned()));
        };
        let scope = scope::Scope::of(&module);
        let package = scope.package.get(1..).unwrap_or_default().join("/");
        if !source.owner.manifest.owns(&package) || package.split('/').next() == Some(ENTRY_PACKAGE) {
            return Err(LoadError::OutsideRoots { place, package });
        }
        check::refuse_imports(&place, &module)?;
        check::refuse_names(&place, &module)?;
        let refused = |unfit: negation::Unfit| LoadError::Refused {
            place: format!("{place}:{}", unfit.line),
            what: unfit.what.to_owned(),
            mend: "give each operand of the negation its value in a statement of its own before it",
        };
        negation::refuse_unbound(&module).map_err(refused)?;
        let guarded = negation::guarded(source.source, &module, &scope).map_err(refused)?;
        engine.set_rego_v0(source.version == RegoVersion::V0);
        let text = guarded.unwrap_or_else(|| source.source.to_owned());
        engine.add_policy(place.clone(), text).map_err(|e| failed(e.to_string()))?;
        self.places.push(place);
        Ok(())
    }

    fn check(&self, engine: &mut Engine) -> Result<Checked, LoadError> {
        let modules = engine.get_modules();
        let scopes: Vec<_> = modules.iter().map(|module| scope::Scope::of(module)).collect();
        let set = || self.places.iter().zip(modules.iter().zip(&scopes));
        let mut functions = check::Functions::default();
        let mut dependencies = check::Dependencies::default();
        let mut checked = Checked { reads: Reads::default(), rules: BTreeSet::new() };
        for (place, (module, scope)) in set() {
            functions.add(place, module, scope);
            dependencies.add(module, scope);
            checked.reads.add(module, scope);
            let rules = check::rule_paths(module, scope);
            checked.rules.extend(rules.into_iter().filter(|(_, function)| !function).map(|(path, _)| path));
        }
        functions.refuse_recursion()?;
        dependencies.refuse_depth()?;
        for (place, (module, scope)) in set() {
            check::refuse_calls(place, module, scope, &functions)?;
        }
        Ok(checked)
    }
}

/// The rule to evaluate for the configured path. A path that is a whole rule is evaluated directly; one that names
/// an object made of several rules gets a rule of our own that refers to it.
fn entry_rule(engine: &mut Engine, entry: &str, rules: &BTreeSet<Vec<String>>) -> Result<String, LoadError> {
    let missing = |hint: String| LoadError::NoEntry { entry: entry.to_owned(), hint };
    let plain = |part: &str| {
        part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && !part.starts_with(|c: char| c.is_ascii_digit())
    };
    let parts: Vec<&str> = entry.split('/').collect();
    if parts.iter().any(|part| part.is_empty() || !plain(part)) {
        return Err(missing("write it as `package/path/rule`".to_owned()));
    }
    let path: Vec<String> = std::iter::once("data").chain(parts).map(str::to_owned).collect();
    let dotted = path.join(".");
    let below = rules.iter().any(|rule| rule.len() > path.len() && rule.starts_with(&path));
    if rules.contains(&path) && !below {
        return Ok(dotted);
    }
    if !below {
        let known: Vec<String> =
            rules.iter().take(8).map(|rule| rule.get(1..).unwrap_or_default().join("/")).collect();
        return Err(missing(format!(
            "there are: {}",
            if known.is_empty() { "no rules".to_owned() } else { known.join(", ") }
        )));
    }
    engine.set_rego_v0(false);
    let module = format!("package {ENTRY_PACKAGE}\n\nresult := {dotted}\n");
    engine.add_policy(ENTRY_PACKAGE.to_owned(), module).map_err(|error| missing(error.to_string()))?;
    Ok(format!("data.{ENTRY_PACKAGE}.result"))
}

//! `postern policy check`: what is wrong with a bundle, what in it cannot have an effect, and what it will cost.
mod cedar;
mod codes;
mod cost;
mod hazards;
mod input;
mod never;
mod replaced;
mod report;
pub(super) mod scope;
mod shape;
#[cfg(test)]
mod tests;
mod unused;
pub(super) mod walk;

pub use codes::{CODES, Code, Severity};
pub use report::{findings_json, findings_junit, findings_plain, findings_sarif};

use super::files::without_tests;
use super::suite::{bundle_of, limits};
use crate::bundle::RegoVersion;
use crate::engine::rego::data_of;
use crate::{BundleError, Entry, LoadError, Pdp, PolicyBundle};
use codes::{
    AS_TOLD, BUNDLE, COMPILE, ENTRY, LANGUAGE, NO_INDEX, PLACEMENT, RECURSION, REFUSED, SYNTAX, UNSAFE,
    UNUSED_RULE,
};
use postern_rego::ast::{Loc, Module, Version};
use postern_rego::{Policy, Source, Value};
use std::collections::{BTreeMap, BTreeSet};

/// More definitions of one rule than this are not tried one by one without a word.
const DEFINITIONS_MAX: usize = 50;
/// The most findings of one severity that are told of one bundle: warnings must not take the room of errors.
pub const FINDINGS_MAX: usize = 1000;

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Its kind.
    pub code: &'static Code,
    /// The file.
    pub file: String,
    /// The row, from one.
    pub row: u32,
    /// The column, from one, in characters.
    pub col: u32,
    /// What was found.
    pub what: String,
    /// How to mend it; empty where `what` says that.
    pub mend: String,
}

impl Finding {
    /// What was found, and how to mend it.
    fn said(&self) -> String {
        if self.mend.is_empty() { self.what.clone() } else { format!("{}; {}", self.what, self.mend) }
    }
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// By file and place.
    pub all: Vec<Finding>,
    /// The files that were looked at.
    pub files: Vec<String>,
    /// How many more there were than are told.
    pub left_out: usize,
    /// What was not looked for, and why.
    pub unasked: Option<&'static str>,
}

impl Findings {
    /// How many weigh so much.
    pub fn count(&self, severity: Severity) -> usize {
        self.all.iter().filter(|finding| finding.code.severity == severity).count()
    }

    /// Adds those of another bundle.
    pub fn extend(&mut self, other: Self) {
        self.all.extend(other.all);
        self.files.extend(other.files);
        self.left_out = self.left_out.saturating_add(other.left_out);
        self.unasked = self.unasked.or(other.unasked);
    }
}

/// What is said of a finding.
#[derive(Debug)]
struct Found {
    what: String,
    mend: String,
}

impl Found {
    fn new(what: String, mend: impl Into<String>) -> Self {
        Self { what, mend: mend.into() }
    }

    /// With the general mend of its kind, unless that is in the words of what is wrong.
    fn plain(what: String, code: &Code) -> Self {
        Self::new(what, if code.mend == AS_TOLD { "" } else { code.mend })
    }
}

/// Takes findings on the way.
#[derive(Debug, Default)]
struct Gather {
    root: String,
    /// The files' names by the order of their modules.
    files: Vec<String>,
    found: Vec<(Option<Loc>, Finding)>,
    told: BTreeMap<Severity, usize>,
    left_out: usize,
}

impl Gather {
    fn push(&mut self, code: &'static Code, loc: Loc, found: Found) {
        let file = self.files.get(usize::from(loc.module)).cloned().unwrap_or_default();
        self.add(
            Some(loc),
            Finding { code, file, row: loc.row, col: loc.col, what: found.what, mend: found.mend },
        );
    }

    /// About a file as a whole.
    fn whole(&mut self, code: &'static Code, file: &str, found: Found) {
        self.at(code, (file, 1, 1), found);
    }

    fn at(&mut self, code: &'static Code, (file, row, col): (&str, u32, u32), found: Found) {
        let file = if file.is_empty() { self.root.clone() } else { under(&self.root, file) };
        self.add(None, Finding { code, file, row, col, what: found.what, mend: found.mend });
    }

    fn add(&mut self, loc: Option<Loc>, finding: Finding) {
        let told = self.told.entry(finding.code.severity).or_default();
        if *told < FINDINGS_MAX {
            *told = told.saturating_add(1);
            self.found.push((loc, finding));
        } else {
            self.left_out = self.left_out.saturating_add(1);
        }
    }

    fn any_error(&self) -> bool {
        self.found.iter().any(|(_, finding)| finding.code.severity == Severity::Error)
    }
}

/// Looks at a bundle: its files by their names, what decides if that is known, and what the folder is called.
pub fn check(root: &str, files: &BTreeMap<String, Vec<u8>>, entry: Option<&Entry>) -> Findings {
    let files = without_tests(files);
    let mut found = Gather { root: root.to_owned(), ..Gather::default() };
    let policy = |name: &&String| name.ends_with(".rego") || name.ends_with(".cedar");
    let looked_at: Vec<String> = files.keys().filter(policy).map(|name| under(root, name)).collect();
    if looked_at.is_empty() {
        // Whoever relies on this command must not take a folder that was moved away for a policy without faults.
        let what = "there is no policy here: no `*.rego` but tests, and no `*.cedar`".to_owned();
        found.whole(&BUNDLE, "", Found::new(what, "name a bundle's folder, or the one around `bundle/`"));
    }
    match bundle_of(&files) {
        Err(error) => bundle_error(&error, &mut found),
        Ok(bundle) => {
            let is_cedar = |name: &str| name.ends_with(".cedar");
            let cedar = match entry {
                Some(entry) => *entry == Entry::Cedar,
                None => bundle.policies().any(|(name, _)| is_cedar(name)) || bundle.cedar_schema.is_some(),
            };
            for (name, _) in bundle.policies().filter(|(name, _)| is_cedar(name) != cedar) {
                let other = if cedar { "Cedar" } else { "a Rego rule" };
                let what = format!("`{name}` would have no effect: what decides is {other}");
                found.whole(&LANGUAGE, name, Found::plain(what, &LANGUAGE));
            }
            if cedar { cedar::check(&bundle, &mut found) } else { rego(&bundle, entry, &mut found) }
        }
    }
    let unasked = (entry.is_none()
        && !found.found.iter().any(|(_, finding)| finding.file.ends_with(".cedar")))
    .then_some("what decides is not known, so rules that it never asks are not told: name it by `--entry`");
    let unasked = unasked.filter(|_| files.keys().any(|name| name.ends_with(".rego")));
    let left_out = found.left_out;
    let mut all: Vec<Finding> = found.found.into_iter().map(|(_, finding)| finding).collect();
    all.sort_by(|a, b| {
        (&a.file, a.row, a.col, a.code.id, &a.what).cmp(&(&b.file, b.row, b.col, b.code.id, &b.what))
    });
    all.dedup();
    Findings { all, files: looked_at, left_out, unasked }
}

/// A file of a folder, as it is opened from here.
fn under(root: &str, name: &str) -> String {
    if matches!(root, "" | ".") { name.to_owned() } else { format!("{}/{name}", root.trim_end_matches('/')) }
}

fn bundle_error(error: &BundleError, found: &mut Gather) {
    let text = error.to_string();
    let (file, what) = match error {
        BundleError::Document { name, what } => (name.as_str(), what.as_str()),
        BundleError::Manifest { what } => (".manifest", what.as_str()),
        BundleError::Yaml { name }
        | BundleError::DataConflict { name, .. }
        | BundleError::NotText { name }
        | BundleError::MisplacedSchema { name }
        | BundleError::Duplicate { name }
        | BundleError::Kind { name, .. }
        | BundleError::Path { name, .. } => (name.as_str(), text.as_str()),
        BundleError::Archive { .. }
        | BundleError::Trailing
        | BundleError::Limit { .. }
        | BundleError::Unsigned
        | BundleError::SignatureFormat { .. }
        | BundleError::SignatureInvalid { .. }
        | BundleError::NotCovered { .. }
        | BundleError::Missing { .. }
        | BundleError::Altered { .. }
        | BundleError::Delta
        | BundleError::OutsideRoots { .. }
        | BundleError::Rollback { .. } => ("", text.as_str()),
    };
    let mend = if matches!(error, BundleError::NotText { .. }) {
        "save it in UTF-8"
    } else if matches!(error, BundleError::DataConflict { .. } | BundleError::Duplicate { .. }) {
        "take one of them out"
    } else {
        ""
    };
    // Documents say their line.
    let row = what.strip_prefix("line ").and_then(|rest| rest.split_once(": ")?.0.parse().ok()).unwrap_or(1);
    found.at(&BUNDLE, (file, row, 1), Found::new(what.to_owned(), mend));
}

fn rego(bundle: &PolicyBundle, entry: Option<&Entry>, found: &mut Gather) {
    let files: Vec<(&str, &str)> = bundle.policies().filter(|(name, _)| name.ends_with(".rego")).collect();
    found.files = files.iter().map(|(name, _)| under(&found.root, name)).collect();
    let version = |name: &str| match bundle.manifest.version_of(name) {
        RegoVersion::V0 => Version::V0,
        RegoVersion::V1 => Version::V1,
    };
    let sources: Vec<Source<'_>> =
        files.iter().map(|(name, text)| Source { name, text, version: version(name) }).collect();
    for problem in postern_rego::problems(&sources) {
        let code = match problem.code {
            "rego_parse_error" => &SYNTAX,
            "rego_unsafe_var_error" => &UNSAFE,
            "rego_recursion_error" => &RECURSION,
            _ => &COMPILE,
        };
        found.push(code, problem.loc, Found::plain(problem.what, code));
    }
    let (modules, _) = postern_rego::modules(&sources);
    let Some(modules) = modules.into_iter().collect::<Option<Vec<Module>>>() else { return };
    let data = data_of(&[("", bundle)]).unwrap_or(Value::Null);
    lint(&modules, &data, found);
    if let Ok(policy) = Policy::load(&sources) {
        loaded(&policy, entry, found);
        whole_bundle(bundle, entry, found);
    }
}

fn lint(modules: &[Module], data: &Value, found: &mut Gather) {
    let project = scope::Project::of(modules);
    walk::project(&project, &mut input::Reads { found });
    walk::project(&project, &mut never::Never { found });
    walk::project(&project, &mut hazards::Hazards { found });
    walk::project(&project, &mut cost::Cost { found, data });
    unused::imports(&project, found);
    unused::variables_of(&project, found);
}

/// What can be said when the set is whole.
fn loaded(policy: &Policy, entry: Option<&Entry>, found: &mut Gather) {
    for rule in policy.unindexed(DEFINITIONS_MAX) {
        let what = format!(
            "{} of the {} definitions of `{}` are tried for every request",
            rule.tried,
            rule.definitions,
            dotted(&rule.path)
        );
        found.push(&NO_INDEX, rule.loc, Found::plain(what, &NO_INDEX));
    }
    let Some(Entry::Rego { path }) = entry else { return };
    let parts: Vec<&str> = path.split('/').collect();
    let Some(entry) = policy.entry(&parts) else { return };
    let unreached = policy.unreached(&entry);
    let mut told = BTreeSet::new();
    // Tests are asked by `postern policy test`.
    let is_test = |rule: &[Value]| {
        let name = rule.last().and_then(Value::as_str).unwrap_or("");
        name.starts_with("test_") || name.starts_with("todo_test_")
    };
    for (rule, loc) in unreached.iter().filter(|(rule, _)| !is_test(rule)) {
        if told.insert(rule) {
            let what = format!("`{}` is never asked by `{path}`", dotted(rule));
            found.push(&UNUSED_RULE, *loc, Found::plain(what, &UNUSED_RULE));
        }
    }
    // What no decision asks may call what no decision may.
    let mut begins: Vec<Loc> = unreached.iter().map(|(_, loc)| *loc).collect();
    begins.sort_unstable();
    let reached = policy.definitions();
    found.found.retain(|(loc, finding)| {
        let Some(loc) = loc.filter(|_| *finding.code == REFUSED) else { return true };
        let definition = reached.iter().rfind(|begin| **begin <= loc);
        definition.is_none_or(|begin| begins.binary_search(begin).is_err())
    });
}

fn dotted(path: &[Value]) -> String {
    let parts = path.iter().map(|part| part.as_str().map_or_else(|| part.to_string(), str::to_owned));
    std::iter::once("data".to_owned()).chain(parts).collect::<Vec<_>>().join(".")
}

/// What else keeps the bundle from being taken into force.
fn whole_bundle(bundle: &PolicyBundle, entry: Option<&Entry>, found: &mut Gather) {
    let fallback;
    let entry = match entry {
        Some(entry) => entry,
        // Any package will do to find what is not about the entry point.
        None => match bundle_packages(bundle) {
            Some(path) => {
                fallback = Entry::Rego { path };
                &fallback
            }
            None => return,
        },
    };
    let Err(error) = Pdp::load(&[("", bundle.clone())], entry, &limits()) else { return };
    let text = error.to_string();
    let (code, place, what, mend) = match &error {
        LoadError::OutsideRoots { place, package } => (
            &PLACEMENT,
            place.as_str(),
            format!("package `{package}` is outside the bundle's roots"),
            PLACEMENT.mend,
        ),
        LoadError::RuleOverData { path, .. } => {
            (&PLACEMENT, "", format!("rule `{path}` stands where the bundle has data"), "rename one of them")
        }
        LoadError::NoEntry { entry, hint } => {
            (&ENTRY, "", format!("nothing is at the entry point `{entry}`"), hint.as_str())
        }
        // These have been found with their places.
        LoadError::Refused { .. } | LoadError::Syntax { .. } | LoadError::Language { .. }
            if found.any_error() =>
        {
            return;
        }
        LoadError::Refused { what, mend, .. } => (&REFUSED, "", what.clone(), mend.as_str()),
        LoadError::Syntax { .. }
        | LoadError::Language { .. }
        | LoadError::Overlap { .. }
        | LoadError::Cedar { .. }
        | LoadError::Nothing
        | LoadError::EnginePanic => (&COMPILE, "", text, ""),
    };
    let file = place.trim_start_matches('/');
    found.whole(code, file, Found::new(what, mend));
}

fn bundle_packages(bundle: &PolicyBundle) -> Option<String> {
    let (name, text) = bundle.policies().next()?;
    let version = match bundle.manifest.version_of(name) {
        RegoVersion::V0 => Version::V0,
        RegoVersion::V1 => Version::V1,
    };
    Some(postern_rego::parse::module(text, 0, version).ok()?.package.join("/"))
}

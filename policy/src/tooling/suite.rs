//! The tests of one bundle: its rules that are tests, and its table of cases.
use super::ask;
use super::cases::{Case, CasesError, NOW_NS, Table};
use super::cedar::{PolicyCoverage, WatchError, Watched};
use super::coverage;
use super::explain;
use super::files::{is_test_file, without_tests};
use super::rule_tests;
use crate::engine::rego::examine::Examined;
use crate::{BundleError, BundleLimits, Entry, LoadError, Pdp, PdpLimits, PolicyBundle, Scratch, Signers};
use postern_rego::{Attempt, FileCoverage};
use regex::Regex;
use std::collections::BTreeMap;
use std::time::Duration;

/// Why there are no results.
#[derive(Debug, thiserror::Error)]
pub enum SuiteError {
    /// The files are no bundle.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The policies do not load.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The table cannot be read.
    #[error(transparent)]
    Cases(#[from] CasesError),
    /// Nothing there is a test.
    #[error(
        "nothing to test: no rule begins with `test_`, and there is no `cases.yaml` with cases; `postern policy new` writes both"
    )]
    Nothing,
    /// Nothing there has a name that was asked for.
    #[error("no test has a name that matches `{0}`")]
    NoMatch(String),
}

/// A regular expression that names are held against; it need not match the whole name.
#[derive(Clone, Debug)]
pub struct NameFilter(Regex);

impl std::str::FromStr for NameFilter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Regex::new(text).map(Self).map_err(|error| format!("no regular expression: {error}"))
    }
}

/// Which tests are run.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Those whose name matches.
    pub filter: Option<NameFilter>,
    /// Whether what they reach is told.
    pub coverage: bool,
}

/// How a test came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As it should.
    Passed,
    /// Not as it should.
    Failed,
    /// It ended without an answer.
    Errored,
    /// It is not to be run yet.
    Skipped,
}

impl Outcome {
    /// In one word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Passed => "pass",
            Self::Failed => "fail",
            Self::Errored => "error",
            Self::Skipped => "skip",
        }
    }
}

/// One test.
#[derive(Clone, Debug)]
pub struct TestResult {
    /// `data.a.test_b`, or the name of a case.
    pub name: String,
    /// Whether it is a case of a table.
    pub is_case: bool,
    /// The file that it stands in.
    pub file: String,
    /// The line.
    pub row: u32,
    /// How it came out.
    pub outcome: Outcome,
    /// Why it failed.
    pub messages: Vec<String>,
    /// What `print` said.
    pub output: String,
    /// The cases within it, by their names.
    pub parts: Vec<(String, bool)>,
    /// For a decision that is not what was expected: the attempts that came to nothing.
    pub attempts: Vec<Attempt>,
    /// The one of them that came nearest.
    pub nearest: Option<usize>,
    /// How long it took, in nanoseconds.
    pub duration_ns: u64,
}

/// All results.
#[derive(Clone, Debug)]
pub struct Report {
    /// In the order in which they were run.
    pub results: Vec<TestResult>,
    /// What was reached, by file, if it was asked for.
    pub coverage: Option<Vec<FileCoverage>>,
    /// What was seen of the Cedar policies, if it was asked for.
    pub policies: Vec<PolicyCoverage>,
}

impl Report {
    /// How many came out so; the cases within a test count one each.
    pub fn count(&self, outcome: Outcome) -> usize {
        let of = |result: &TestResult| {
            let parts_that = |passed: bool| result.parts.iter().filter(|(_, have)| *have == passed).count();
            match outcome {
                Outcome::Passed if !result.parts.is_empty() => parts_that(true),
                Outcome::Failed if !result.parts.is_empty() => parts_that(false),
                Outcome::Passed | Outcome::Failed | Outcome::Errored | Outcome::Skipped => {
                    usize::from(result.outcome == outcome)
                }
            }
        };
        self.results.iter().map(of).sum()
    }

    /// Adds the results of another bundle.
    pub fn extend(&mut self, other: Self) {
        self.results.extend(other.results);
        self.policies.extend(other.policies);
        if let (Some(have), Some(more)) = (&mut self.coverage, other.coverage) {
            have.extend(more);
        }
    }

    /// Whether nothing failed.
    pub fn passed(&self) -> bool {
        self.count(Outcome::Failed) == 0 && self.count(Outcome::Errored) == 0
    }
}

/// A bundle and its tests.
#[derive(Debug)]
pub struct Suite {
    /// What its files are called in messages: a folder.
    pub root: String,
    /// The files by their names in the bundle, those with tests included.
    pub files: BTreeMap<String, Vec<u8>>,
    /// The table and what it is called.
    pub table: Option<(String, Table)>,
    /// The cases of the table and of those that it takes over.
    pub cases: Vec<Case>,
}

impl Suite {
    /// Runs the tests. `now_ns` is the moment that rules see as now; `clock` tells nanoseconds since some moment.
    ///
    /// # Errors
    /// [`SuiteError`]: why there are no results.
    pub fn run(
        &self,
        selection: &Selection,
        now_ns: u64,
        clock: &dyn Fn() -> u64,
    ) -> Result<Report, SuiteError> {
        let examined = self.examined()?;
        let mut report =
            Report { results: Vec::new(), coverage: selection.coverage.then(Vec::new), policies: Vec::new() };
        let mut any = !self.cases.is_empty();
        let mut watching = Watching { examined: examined.as_ref(), ..Watching::default() };
        if let Some(examined) = &examined {
            any |= examined.policy.tests().next().is_some();
            report.results = rule_tests::run(examined, selection, now_ns, clock, &mut watching.reached);
        }
        if let Some((file, table)) = &self.table {
            let pdp = self.pdp(table)?;
            let mut scratch = Scratch::default();
            let now_ns = table.now_ns.unwrap_or(NOW_NS);
            if matches!(table.decision.entry(), Entry::Cedar) {
                watching.cedar = Some(Watched::load(&self.root, &without_tests(&self.files))?);
            }
            for case in self.cases.iter().filter(|case| selection.takes(&case.name.value)) {
                let began = clock();
                let verdict = ask::verdict(&pdp, &mut scratch, case, now_ns);
                let duration_ns = clock().saturating_sub(began);
                let mut result = case_result(file, case, ask::differences(case, &verdict), duration_ns);
                if selection.coverage || result.outcome != Outcome::Passed {
                    watching.see(&mut result, &table.decision.entry(), case, now_ns);
                }
                report.results.push(result);
            }
        }
        if report.results.is_empty() {
            return Err(match &selection.filter {
                Some(NameFilter(filter)) if any => SuiteError::NoMatch(filter.as_str().to_owned()),
                _ => SuiteError::Nothing,
            });
        }
        watching.tell(&mut report);
        Ok(report)
    }

    /// What decides: the bundle without its tests.
    ///
    /// # Errors
    /// [`SuiteError`]: it is no bundle, or does not load.
    pub fn pdp(&self, table: &Table) -> Result<Pdp, SuiteError> {
        let bundle = bundle_of(&without_tests(&self.files))?;
        Ok(Pdp::load(&[(self.root.as_str(), bundle)], &table.decision.entry(), &limits())?)
    }

    fn examined(&self) -> Result<Option<Examined>, SuiteError> {
        let bundle = bundle_of(&self.files)?;
        if !bundle.policies().any(|(name, _)| name.ends_with(".rego")) {
            return Ok(None);
        }
        Ok(Some(Examined::load(&self.root, &bundle, &is_test_file)?))
    }
}

/// What is looked at while cases are decided.
#[derive(Default)]
struct Watching<'s> {
    examined: Option<&'s Examined>,
    reached: postern_rego::Coverage,
    cedar: Option<Watched>,
}

impl Watching<'_> {
    fn see(&mut self, result: &mut TestResult, entry: &Entry, case: &Case, now_ns: u64) {
        let failed = result.outcome != Outcome::Passed;
        if let Some(cedar) = &mut self.cedar {
            let (attempts, nearest) = cedar.see(case, now_ns);
            if failed {
                (result.attempts, result.nearest) = (attempts, nearest);
            }
        } else if let Some(watched) = self.examined.and_then(|examined| examined.decide(entry, case, now_ns))
        {
            self.reached.add(&watched);
            result.output.clone_from(&watched.printed);
            if failed {
                result.nearest = explain::nearest(&watched.attempts);
                result.attempts = watched.attempts;
            }
        }
    }

    fn tell(self, report: &mut Report) {
        let Some(coverage) = &mut report.coverage else { return };
        if let Some(examined) = self.examined {
            *coverage = coverage::of(&self.reached, examined);
        }
        if let Some(cedar) = self.cedar {
            coverage.extend(cedar.files());
            report.policies = cedar.into_policies();
        }
    }
}

impl From<WatchError> for SuiteError {
    fn from(error: WatchError) -> Self {
        match error {
            WatchError::Bundle(error) => error.into(),
            WatchError::Load(error) => error.into(),
        }
    }
}

/// The limits of production but for the safety timer: what decides how a test comes out are steps alone.
pub(super) fn limits() -> PdpLimits {
    PdpLimits { timeout: Duration::from_secs(20), ..PdpLimits::default() }
}

pub(super) fn bundle_of(files: &BTreeMap<String, Vec<u8>>) -> Result<PolicyBundle, BundleError> {
    let signed = |name: &str| name == ".signatures.json";
    let named = files.iter().filter(|(name, _)| !signed(name));
    let named = named.map(|(name, content)| (name.as_str(), content.as_slice()));
    PolicyBundle::from_files(named, &BundleLimits::default(), &Signers::UnsignedAllowedForDevelopment)
}

impl Selection {
    pub(super) fn takes(&self, name: &str) -> bool {
        self.filter.as_ref().is_none_or(|NameFilter(filter)| filter.is_match(name))
    }
}

fn case_result(file: &str, case: &Case, messages: Vec<String>, duration_ns: u64) -> TestResult {
    let row = case.name.referenced.line();
    TestResult {
        name: case.name.value.clone(),
        is_case: true,
        file: case.from.clone().unwrap_or_else(|| file.to_owned()),
        row: u32::try_from(row).unwrap_or(u32::MAX),
        outcome: if messages.is_empty() { Outcome::Passed } else { Outcome::Failed },
        messages,
        output: String::new(),
        parts: Vec::new(),
        attempts: Vec::new(),
        nearest: None,
        duration_ns,
    }
}

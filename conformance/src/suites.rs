//! Suites that no one here wrote, run whole against the decision point: each is a line of the second table.
use postern_policy_suites::{Outcome, opa_envoy};
use postern_rego::ast::Version;
use postern_rego_suite::{Case, Tally, from_archive, from_documentation, from_folder};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// What came of a suite.
#[derive(Debug)]
pub struct SuiteReport {
    /// Its name.
    pub name: &'static str,
    /// Cases that were run.
    pub cases: usize,
    /// Those that came out as they must.
    pub passed: usize,
    /// Those whose policy is refused at load, by reason.
    pub refused: BTreeMap<String, usize>,
    /// Those that came out otherwise: which, and how.
    pub wrong: Vec<(String, String)>,
    /// Those that are none of ours, by reason.
    pub skipped: BTreeMap<String, usize>,
}

/// What belongs to no policy here, by how a case is recognised: refused at load, and counted apart.
const APART: &[(&str, &str)] = &[
    ("graphql.", "`graphql.*`"),
    ("providers.aws.", "`providers.aws.*`"),
    ("rego.parse_module", "`rego.parse_module`"),
    ("rego.metadata.", "`rego.metadata.*`"),
];

/// Every suite whose cases this machine has. OPA's come with its module (`POSTERN_OPA_CASES`, `POSTERN_OPA_DOCS`); the
/// folder of public data has a part of them.
pub fn all() -> Vec<SuiteReport> {
    let mut reports = Vec::new();
    for (name, version, folder) in [("OPA Rego v1", Version::V1, "v1"), ("OPA Rego v0", Version::V0, "v0")] {
        if let Some(cases) = opa_cases(version, folder) {
            reports.push(rego(name, &cases));
        }
    }
    let documentation = std::env::var_os("POSTERN_OPA_DOCS").map(PathBuf::from);
    if let Some(cases) = documentation.and_then(|folder| from_documentation(&folder).ok()) {
        reports.push(rego("OPA documentation examples", &cases));
    }
    if let Some(data) = postern_policy_suites::data_folder() {
        reports.extend(cedar(&data));
        reports.extend(plugin_cases(&data));
    }
    reports.extend(journey());
    reports
}

/// Whether every suite is here whole, as the documented table counts them.
pub fn is_complete() -> bool {
    let has = |variable: &str| std::env::var_os(variable).is_some();
    has("POSTERN_OPA_CASES") && has("POSTERN_OPA_DOCS") && postern_policy_suites::data_folder().is_some()
}

fn opa_cases(version: Version, folder: &str) -> Option<Vec<Case>> {
    if let Some(whole) = std::env::var_os("POSTERN_OPA_CASES") {
        return from_folder(&PathBuf::from(whole).join(folder), version).ok();
    }
    let part = PathBuf::from(std::env::var_os("POSTERN_DATA")?).join("opa-cases");
    from_archive(&part.join(format!("{folder}.tar.gz")), version).ok()
}

fn rego(name: &'static str, cases: &[Case]) -> SuiteReport {
    let mut skipped: BTreeMap<String, usize> = BTreeMap::new();
    let mut ours = Vec::new();
    for case in cases {
        let apart = APART.iter().find(|(call, _)| case.modules.iter().any(|module| module.contains(call)));
        let why = match apart {
            Some((_, what)) => Some((*what).to_owned()),
            None if uses_experimental_keywords(case) => Some("experimental keywords".to_owned()),
            None => None,
        };
        match why {
            Some(why) => *skipped.entry(why).or_default() += 1,
            None => ours.push(case),
        }
    }
    let Tally { cases, passed, refused, wrong } = Tally::of(ours);
    SuiteReport { name, cases, passed, refused, wrong, skipped }
}

fn cedar(data: &Path) -> Option<SuiteReport> {
    let tally = postern_policy_suites::cedar::judge(&data.join("cedar-corpus")).ok()?;
    let mut skipped = BTreeMap::new();
    if tally.listed > 0 {
        let why = "the validator of the engine's version takes what the corpus, made with an older one, says it must not";
        skipped.insert(why.to_owned(), tally.listed);
    }
    let refused = if tally.refused > 0 {
        BTreeMap::from([("refused".to_owned(), tally.refused)])
    } else {
        BTreeMap::new()
    };
    let wrong = if tally.wrong > 0 {
        tally.notes.iter().map(|note| (note.clone(), String::new())).collect()
    } else {
        Vec::new()
    };
    let cases = tally.cases.saturating_sub(tally.listed);
    Some(SuiteReport {
        name: "Cedar integration tests",
        cases,
        passed: tally.passed,
        refused,
        wrong,
        skipped,
    })
}

fn plugin_cases(data: &Path) -> Option<SuiteReport> {
    let mut report = SuiteReport::empty("OPA-Envoy plugin's own cases");
    for (name, outcome) in opa_envoy::judge(&data.join("opa-envoy")).ok()? {
        report.cases += usize::from(!matches!(outcome, Outcome::Skipped(_)));
        match outcome {
            Outcome::Passed => report.passed += 1,
            Outcome::Refused(why) => *report.refused.entry(why).or_default() += 1,
            Outcome::Wrong(how) => report.wrong.push((name, how)),
            Outcome::Skipped(why) => *report.skipped.entry(why).or_default() += 1,
        }
    }
    Some(report)
}

/// What the journey beside real Envoy came to: it holds these lines against what it sees.
const JOURNEY: &str = include_str!("../../tests/tests/opa_envoy/tally.jsonl");

/// One corpus of the journey.
#[derive(Deserialize)]
struct Corpus {
    passed: usize,
    refused: BTreeMap<String, usize>,
}

fn journey() -> Option<SuiteReport> {
    let mut report = SuiteReport::empty("opa-envoy policies beside real Envoy");
    for line in JOURNEY.lines() {
        let corpus: Corpus = serde_json::from_str(line).ok()?;
        report.cases += corpus.passed + corpus.refused.values().sum::<usize>();
        report.passed += corpus.passed;
        for (why, count) in corpus.refused {
            *report.refused.entry(why).or_default() += count;
        }
    }
    Some(report)
}

fn uses_experimental_keywords(case: &Case) -> bool {
    let imports = ["future.keywords.and", "future.keywords.or", "future.keywords.not"];
    case.experimental_keywords
        || case.modules.iter().any(|module| imports.iter().any(|import| module.contains(import)))
}

impl SuiteReport {
    fn empty(name: &'static str) -> Self {
        Self {
            name,
            cases: 0,
            passed: 0,
            refused: BTreeMap::new(),
            wrong: Vec::new(),
            skipped: BTreeMap::new(),
        }
    }

    /// The share that passed, in tenths of a percent.
    pub fn per_mille(&self) -> usize {
        (self.passed * 1000).checked_div(self.cases).unwrap_or(0)
    }

    /// For machines.
    pub fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "suite": self.name,
            "cases": self.cases,
            "passed": self.passed,
            "refused_at_load": self.refused,
            "wrong": self.wrong,
            "skipped": self.skipped,
        })
    }
}

/// The second table as it stands in the documents, with the reasons below it.
pub fn markdown(reports: &[SuiteReport]) -> String {
    let mut text = String::from(HEAD);
    let sum = |counts: &BTreeMap<String, usize>| counts.values().sum::<usize>();
    for report in reports {
        let per_mille = report.per_mille();
        let SuiteReport { name, cases, passed, .. } = report;
        let (refused, wrong, skipped) = (sum(&report.refused), report.wrong.len(), sum(&report.skipped));
        let (percent, tenth) = (per_mille / 10, per_mille % 10);
        let _ = writeln!(
            text,
            "| {name} | {cases} | {passed} | {percent}.{tenth} | {refused} | {wrong} | {skipped} |"
        );
    }
    for report in reports {
        let _ = writeln!(text, "\n**{}**", report.name);
        for (what, counts) in [("refused at load", &report.refused), ("skipped", &report.skipped)] {
            for (why, count) in counts {
                let _ = writeln!(text, "- {what}, {count}: {}", why.replace('|', "\\|"));
            }
        }
        for (case, how) in &report.wrong {
            let _ = writeln!(text, "- wrong: {case}: {how}");
        }
    }
    text
}

const HEAD: &str = "
## Policy languages

Other people's suites, run whole. *Refused at load*: the policy does not run here, and says why; *wrong*: it ran with another
meaning, which must be 0; *skipped*: what belongs to no policy here, and is refused at load as well. Beside real Envoy the
authorizer is the OPA-Envoy plugin's contract on OPA's engine (`docs/opa-envoy.md` says why it is not the plugin itself), and
*refused* is a request that the guard of the sidecar does not let come to policy.

| suite | cases | passed | % | refused at load | wrong | skipped |
|---|---|---|---|---|---|---|
";

//! Every folder under `examples/policies/` is a topic: a policy in Rego and one in Cedar, and a table of cases on which
//! both agree. Every case is run, every line is reached by one, every Cedar policy determines one, and every small change to a policy is noticed.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    reason = "a test that fails says so by panicking"
)]
mod cedar;
mod data;
mod mutation;
mod opa;
mod places;
mod rego;
mod source;

use places::{all, name, policies, suite, topics};
use postern_policy::tooling::{CASES_FILE, Expect, NOW_NS, Selection, plain, verdict};
use postern_policy::{Entry, Scratch};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// A policy that is there in one language alone.
const IN_ONE_LANGUAGE: [(&str, &str); 1] =
    [("demo-bank", "it is what the demo shows: one short policy, which people change to see what happens")];

#[test]
fn every_example_policy_answers_its_cases() {
    for policy in all() {
        let suite = suite(&policy);
        let name = &suite.root;
        let allowed = suite.cases.iter().filter(|case| case.expect == Expect::Allow).count();
        assert!(
            allowed > 0 && allowed < suite.cases.len(),
            "{name} has no case that is allowed, or none that is denied"
        );
        let names: BTreeSet<&str> = suite.cases.iter().map(|case| case.name.value.as_str()).collect();
        assert_eq!(names.len(), suite.cases.len(), "{name}: two cases have one name");
        let report = suite.run(&Selection { coverage: true, ..Selection::default() }, NOW_NS, &|| 0);
        let report = report.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(report.passed(), "{name}:\n{}", plain(&report, false));
        let files = report.coverage.unwrap_or_default();
        assert!(!files.is_empty(), "{name}: nothing is covered");
        for file in files {
            let rows: Vec<u32> = file.not_covered_rows().collect();
            assert_eq!(rows, [0_u32; 0], "{}: no case reaches these lines", file.file);
        }
        assert_eq!(name.contains("cedar"), !report.policies.is_empty(), "{name}");
        for policy in report.policies {
            assert!(policy.determined > 0, "{}: {} determines no case", policy.place, policy.rule);
        }
    }
}

#[test]
fn what_coverage_says_determined_a_case_is_what_the_verdict_names() {
    let mut compared = 0;
    for policy in all() {
        let suite = suite(&policy);
        let (_, table) = suite.table.as_ref().unwrap();
        if !matches!(table.decision.entry(), Entry::Cedar) {
            continue;
        }
        let (pdp, mut scratch) = (suite.pdp(table).unwrap(), Scratch::default());
        let mut want: BTreeMap<String, usize> = BTreeMap::new();
        for case in &suite.cases {
            let verdict = verdict(&pdp, &mut scratch, case, table.now_ns.unwrap_or(NOW_NS));
            for id in &verdict.reasons {
                *want.entry(id.as_str().to_owned()).or_default() += 1;
            }
        }
        let report = suite.run(&Selection { coverage: true, ..Selection::default() }, NOW_NS, &|| 0).unwrap();
        let rules = report.policies.iter();
        let id = |rule: &str| rule.split_once(' ').unwrap().1.to_owned();
        let got: BTreeMap<String, usize> = rules.map(|of| (id(&of.rule), of.determined)).collect();
        assert_eq!(got, want, "{}", suite.root);
        compared += got.len();
    }
    assert!(compared > 12, "{compared} policies are few for twelve topics");
}

#[test]
fn every_topic_is_there_in_both_languages_with_one_table_for_both() {
    let topics = topics();
    assert!(topics.len() >= 13, "there are twelve topics and the demo's policy");
    for topic in topics {
        let called = topic.file_name().unwrap().to_str().unwrap().to_owned();
        assert!(topic.join("README.md").exists(), "{called} has no README.md");
        let languages: Vec<String> = policies(&topic).iter().map(|policy| name(policy)).collect();
        if IN_ONE_LANGUAGE.iter().any(|(alone, _)| *alone == called) {
            assert_eq!(languages, [called]);
            continue;
        }
        assert_eq!(languages, [format!("{called}/cedar"), format!("{called}/rego")]);
        for policy in policies(&topic) {
            let own = fs::read_to_string(policy.join(CASES_FILE)).unwrap();
            assert!(
                own.contains("cases_from: ../cases.yaml\n"),
                "{} does not share the table",
                name(&policy)
            );
        }
        let shared = fs::read_to_string(topic.join(CASES_FILE)).unwrap();
        assert!(!shared.contains("decision:"), "the table of {called} is one for both languages");
    }
}

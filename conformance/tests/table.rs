//! The table holds, is whole, and is the one that stands in the documents.

use postern_conformance::{Report, Row, State, all, markdown, suites};

/// The families and how many rows each has.
const FAMILIES: &[(&str, usize)] = &[
    ("SID", 11),
    ("X5", 16),
    ("JS", 13),
    ("WA", 15),
    ("TB", 8),
    ("FD", 10),
    ("WT", 7),
    ("JT", 18),
    ("TL", 9),
];

#[test]
fn every_row_passes_or_says_why_it_is_open() {
    let failed: Vec<String> = all()
        .iter()
        .map(Row::run)
        .filter(|report| matches!(report.state, State::Fail(_)))
        .map(|report| format!("{}: {}", report.id, report.detail()))
        .collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn no_row_is_missing() {
    let expected: Vec<String> = FAMILIES
        .iter()
        .flat_map(|(family, count)| (1..=*count).map(move |number| format!("{family}-{number:02}")))
        .collect();
    let found: Vec<&str> = all().iter().map(|row| row.id).collect();
    assert_eq!(found, expected);
}

#[test]
fn the_documented_table_is_the_one_that_holds() {
    let reports: Vec<Report> = all().iter().map(Row::run).collect();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/conformance.md");
    let suites = suites::all();
    for suite in &suites {
        assert!(suite.wrong.is_empty(), "{}: {:#?}", suite.name, suite.wrong);
        // The corpus beside Envoy seeks what is refused before policy is asked; the others are what people write.
        let floor = if suite.name.ends_with("real Envoy") { 0 } else { 950 };
        assert!(suite.per_mille() >= floor, "{}: {} of {}", suite.name, suite.passed, suite.cases);
    }
    if !suites::is_complete() {
        println!(
            "SKIPPED the_documented_table_is_the_one_that_holds: POSTERN_OPA_CASES or POSTERN_OPA_DOCS is not set"
        );
        return;
    }
    let table = markdown(&reports) + &suites::markdown(&suites);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, &table).unwrap();
    }
    let documented = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        documented == table,
        "docs/conformance.md is out of date: run `BLESS=1 cargo test -p postern-conformance`"
    );
}

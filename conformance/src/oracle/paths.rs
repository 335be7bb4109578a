//! A judge of paths that shares nothing with webpki: PyCA cryptography's. It knows nothing of SPIFFE, so it is asked
//! about what stands above a leaf, with leaves whose own fault, if any, is one of RFC 5280.

use std::ffi::OsString;
use std::process::Command;

use postern_identity::INTERMEDIATES_MAX;
use serde_json::json;

use super::chains::{Authorities, Presented};
use super::{Deviations, compare, peer};
use crate::kit::certificates::{NOW_S, judge};

/// Where the packages are that it needs; the suite sets them.
const VARIABLES: [&str; 2] = ["POSTERN_CRYPTOGRAPHY", "POSTERN_CFFI"];
const SCRIPT: &str = include_str!("paths.py");

const LEAVES: &[&str] = &[
    "a right leaf",
    "a DNS name beside",
    "a foreign DNS name beside",
    "no extended usage",
    "clientAuth alone",
    "expired",
    "early",
    "the last second",
    "an unknown extension",
    "an unknown critical extension",
    "no subject, names critical",
];

const LISTED: Deviations = Deviations {
    we_take: &[(
        "an authority that permits the domain",
        "they cannot judge constraints on URIs, and refuse them",
    )],
    we_refuse: &[
        ("an intermediate without keyCertSign", "without their rules for web servers they do not look"),
        ("an intermediate without key usage", "as above"),
        ("an intermediate for servers", "as above"),
        ("an intermediate with a workload's ID", "they know nothing of SPIFFE"),
    ],
};

#[test]
fn a_judge_of_paths_alone_gives_the_same_verdicts_but_for_the_listed_ones() {
    let Some(packages) = packages() else { return };
    let authorities = Authorities::new();
    let trusted = authorities.bundles();
    let is_asked = |case: &Presented| LEAVES.iter().any(|leaf| case.name.starts_with(&format!("{leaf};")));
    let cases: Vec<_> = authorities.cases().into_iter().filter(is_asked).collect();
    let mut python = Command::new("python3");
    python.args(["-c", SCRIPT]).env("PYTHONPATH", packages);
    let roots = peer::encoded(&authorities.by_trust_domain().0);
    let first = json!({ "roots": roots, "now": NOW_S, "intermediates_max": INTERMEDIATES_MAX });
    let theirs = peer::ask(python, &first, peer::chains(&cases));
    let verdicts = cases.iter().zip(theirs);
    let verdicts =
        verdicts.map(|(case, theirs)| (case.name.clone(), judge(&case.chain, &trusted).map(drop), theirs));
    let [refused, taken] = compare(verdicts, &LISTED);
    assert!(refused > 50 && taken > 20, "{refused} {taken}");
}

/// The path that Python looks along for them. Without one, prints the line by which the test is counted as skipped.
fn packages() -> Option<OsString> {
    let mut folders = Vec::new();
    for variable in VARIABLES {
        folders.push(postern_tests::peer(variable)?.ancestors().nth(2).unwrap().to_owned());
    }
    std::env::join_paths(folders).ok()
}

//! The table, for people and for machines.

use std::fmt::Write;

use serde_json::{Value, json};

/// What came of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Every case came out as it must.
    Pass,
    /// These did not.
    Fail(Vec<String>),
    /// Nothing shows that it holds, for this reason.
    Open(String),
}

/// A row and what came of it.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its number.
    pub id: &'static str,
    /// What is required.
    pub requirement: &'static str,
    /// Where it stands.
    pub source: &'static str,
    /// How many cases were tried.
    pub cases: usize,
    /// What came of them.
    pub state: State,
}

impl Report {
    /// One word for the state.
    pub fn word(&self) -> &'static str {
        match self.state {
            State::Pass => "pass",
            State::Fail(_) => "fail",
            State::Open(_) => "open",
        }
    }

    /// What more is to be said of the state.
    pub fn detail(&self) -> String {
        match &self.state {
            State::Pass => String::new(),
            State::Fail(failures) => failures.join("; "),
            State::Open(why) => why.clone(),
        }
    }

    /// For machines.
    pub fn json(&self) -> Value {
        json!({
            "id": self.id,
            "requirement": self.requirement,
            "source": self.source,
            "cases": self.cases,
            "state": self.word(),
            "detail": self.detail(),
        })
    }
}

/// The table as it stands in the documents.
pub fn markdown(reports: &[Report]) -> String {
    let mut text = String::from(HEAD);
    let count = |word| reports.iter().filter(|report| report.word() == word).count();
    let (passed, failed, open) = (count("pass"), count("fail"), count("open"));
    let _ = writeln!(text, "{} rows: {passed} pass, {failed} fail, {open} open.\n", reports.len());
    text.push_str("| row | requirement | source | cases | state |\n|---|---|---|---|---|\n");
    for report in reports {
        let detail = report.detail();
        let state =
            if detail.is_empty() { report.word().to_owned() } else { format!("{}: {detail}", report.word()) };
        let Report { id, requirement, source, cases, .. } = report;
        let _ =
            writeln!(text, "| {id} | {requirement} | {source} | {cases} | {} |", state.replace('|', "\\|"));
    }
    text
}

const HEAD: &str = "# Conformance

What the specifications require of whoever judges identities, and what shows that it holds here. Each row has cases that must be
accepted and cases that must be refused, in `conformance/`; `cargo xtask conformance` tries them all and prints this table,
`BLESS=1 cargo test -p postern-conformance` writes it.

SPIFFE-ID, X509-SVID, JWT-SVID, WIT-SVID, Workload_API, Workload_Endpoint, Trust_Domain_and_Bundle (Bundle for short) and
Federation are the documents of github.com/spiffe/spiffe. Where a row is marked (S), the specification says SHOULD and we do; (O)
is our own, stricter choice.

";

//! `cargo xtask conformance`: tries every row and prints the table.

use std::process::ExitCode;

use postern_conformance::suites::{self, SuiteReport};
use postern_conformance::{Report, Row, State, all};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let reports: Vec<Report> = all().iter().map(Row::run).collect();
    let suites = suites::all();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => {
            table(&reports);
            print!("{}", suites::markdown(&suites));
        }
        ["--json"] => {
            let rows: Vec<_> = reports.iter().map(Report::json).collect();
            let suites: Vec<_> = suites.iter().map(SuiteReport::json).collect();
            println!("{:#}", serde_json::json!({ "rows": rows, "suites": suites }));
        }
        _ => {
            eprintln!("usage: cargo xtask conformance [--json]");
            return ExitCode::from(2);
        }
    }
    let failed = reports.iter().any(|report| matches!(report.state, State::Fail(_)));
    let wrong = suites.iter().any(|suite| !suite.wrong.is_empty());
    if failed || wrong { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn table(reports: &[Report]) {
    let width =
        |text: fn(&Report) -> &str| reports.iter().map(|report| text(report).len()).max().unwrap_or(0);
    let (requirement, source) = (width(|report| report.requirement), width(|report| report.source));
    for report in reports {
        println!(
            "{:<7} {:<requirement$}  {:<source$}  {} {}",
            report.id,
            report.requirement,
            report.source,
            report.word(),
            report.detail()
        );
    }
    let count = |word| reports.iter().filter(|report| report.word() == word).count();
    println!(
        "{} rows: {} pass, {} fail, {} open",
        reports.len(),
        count("pass"),
        count("fail"),
        count("open")
    );
}

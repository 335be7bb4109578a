//! Questions with known answers, put to the solver: through the binary, as its users do.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that fails says so by panicking"
)]
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

/// Whether there is a solver. Without one, prints the line by which the test is counted as skipped.
#[expect(clippy::print_stdout, reason = "a skipped test says so where the suite looks for it")]
fn solver() -> bool {
    let named = std::env::var_os("CVC5").unwrap_or_else(|| "cvc5".into());
    let there = Command::new(&named).arg("--version").output().is_ok_and(|told| told.status.success());
    if !there {
        let thread = std::thread::current();
        println!(
            "SKIPPED {}: no solver `cvc5`; install it, or name it by CVC5",
            thread.name().unwrap_or("a test")
        );
    }
    there
}

fn bundle(folder: &Path, name: &str, policies: &str) -> String {
    let folder = folder.join(name);
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("p.cedar"), policies).unwrap();
    folder.to_str().unwrap().to_owned()
}

fn asked(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_postern-prove")).args(args).output().unwrap()
}

/// The code, and the report.
fn told(args: &[&str]) -> (i32, Value) {
    let output = asked(args);
    let report = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{args:?}: {error}: {output:?}"));
    (output.status.code().unwrap(), report)
}

/// The actions with this result.
fn actions(report: &Value, result: &str) -> Vec<String> {
    let findings = report["findings"].as_array().unwrap().iter();
    let these = findings.filter(|finding| finding["result"] == result);
    these.map(|finding| finding["action"].as_str().unwrap().to_owned()).collect()
}

/// Whether `new` lets through what `old` does not, and for which actions.
fn check_widening(old: &str, new: &str, want: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let (before, after) = (bundle(folder.path(), "old", old), bundle(folder.path(), "new", new));
    let (code, report) = told(&["widening", "--json", &before, &after]);
    assert_eq!(actions(&report, "counterexample"), want, "{old}\n{new}\n{report:#}");
    assert_eq!(actions(&report, "cannot_say"), Vec::<String>::new(), "{old}\n{new}\n{report:#}");
    assert_eq!(code, i32::from(!want.is_empty()), "{report:#}");
    for finding in report["findings"].as_array().unwrap() {
        if let Some(example) = finding.get("example") {
            assert_eq!(example["answers"]["new"]["decision"], "allow", "{report:#}");
            assert_eq!(example["answers"]["old"]["decision"], "deny", "{report:#}");
        }
    }
}

fn permit(action: &str, condition: &str) -> String {
    format!("permit (principal, action == Action::\"{action}\", resource) when {{ {condition} }};\n")
}

const ALL: &str = "permit (principal, action == Action::\"GET\", resource);\n";
/// Never matches, but fails for every path that has a segment.
const FAILING: &str = "forbid (principal, action == Action::\"GET\", resource) when \
                       { context.depth + 9223372036854775807 == 0 && false };\n";

#[test]
fn a_change_that_allows_more_is_shown_and_one_that_does_not_is_proved() {
    if !solver() {
        return;
    }
    let tellers = r#"principal in Group::"tellers""#;
    let narrow = permit("GET", r#"context.path like "/accounts/*""#);
    check_widening(&narrow, &narrow, &[]);
    check_widening(ALL, &narrow, &[]);
    check_widening(&narrow, ALL, &["GET"]);
    check_widening(&narrow, &permit("GET", r#"context.path like "/accounts/a*""#), &[]);
    check_widening(&narrow, &permit("GET", r#"context.path like "/accounts*""#), &["GET"]);
    check_widening(&narrow, &format!("{narrow}{}", permit("PUT", tellers)), &["PUT"]);
    check_widening(&permit("GET", tellers), &permit("GET", &format!("{tellers} && context.depth < 3")), &[]);
    let header = |value: &str| {
        format!(r#"context.headers.hasTag("x-a") && context.headers.getTag("x-a") == "{value}""#)
    };
    check_widening(&permit("GET", &header("1")), &permit("GET", &header("2")), &["GET"]);
    let scopes = r#"context has claims && context.claims.scopes.contains("r")"#;
    check_widening(&permit("GET", scopes), &permit("GET", &scopes.replace(r#""r""#, r#""w""#)), &["GET"]);
    check_widening(&permit("GET", scopes), &permit("GET", &format!("{scopes} && {tellers}")), &[]);
    let address = |range: &str| format!(r#"context.source.address.isInRange(ip("{range}"))"#);
    check_widening(&permit("GET", &address("10.0.0.0/8")), &permit("GET", &address("10.1.0.0/16")), &[]);
    check_widening(&permit("GET", &address("10.1.0.0/16")), &permit("GET", &address("10.0.0.0/8")), &["GET"]);
}

#[test]
fn a_policy_that_fails_counts_as_the_denial_that_it_is() {
    if !solver() {
        return;
    }
    // By Cedar's own rules each pair would be equal, because it skips what fails.
    check_widening(&format!("{ALL}{FAILING}"), ALL, &["GET"]);
    check_widening(ALL, &format!("{ALL}{FAILING}"), &[]);
    // What the new set would allow more is where it fails.
    check_widening(&permit("GET", "context.depth < 1"), &format!("{ALL}{FAILING}"), &[]);
}

#[test]
fn an_old_bundle_is_compared_under_the_schema_of_the_new_one() {
    if !solver() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (before, after) = (bundle(folder.path(), "old", ALL), bundle(folder.path(), "new", ALL));
    std::fs::write(format!("{after}/schema.cedarschema"), "entity Branch { open: Bool };").unwrap();
    assert_eq!(told(&["widening", "--json", &before, &after]).0, 0);
    std::fs::write(format!("{before}/schema.cedarschema"), "entity Ship { open: Bool };").unwrap();
    std::fs::write(
        format!("{before}/p.cedar"),
        "permit (principal, action == Action::\"GET\", resource) when { Ship::\"a\".open };",
    )
    .unwrap();
    let (code, report) = told(&["widening", "--json", &before, &after]);
    assert_eq!((code, report["result"].as_str()), (2, Some("cannot_say")), "{report:#}");
}

/// Which invariants the policies do not keep.
fn check_invariants(policies: &str, invariants: &str, want: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let bundle = bundle(folder.path(), "bundle", policies);
    let file = folder.path().join("invariants.cedar");
    std::fs::write(&file, invariants).unwrap();
    let (code, report) = told(&["invariants", "--json", &bundle, file.to_str().unwrap()]);
    let findings = report["findings"].as_array().unwrap().iter();
    let broken = findings.filter(|finding| finding["result"] == "counterexample");
    let mut broken: Vec<&str> = broken.map(|finding| finding["subject"].as_str().unwrap()).collect();
    broken.dedup();
    assert_eq!(broken, want, "{policies}\n{invariants}\n{report:#}");
    assert_eq!(code, i32::from(!want.is_empty()), "{report:#}");
}

#[test]
fn an_invariant_says_what_is_never_allowed_or_always() {
    if !solver() {
        return;
    }
    const NEVER: &str = r#"@id("only-tellers-write")
        forbid (principal, action in Action::"write", resource) unless { principal in Group::"tellers" };"#;
    const ALWAYS: &str = r#"@id("health-is-open")
        permit (principal, action == Action::"GET", resource) when { context.path == "/health" };"#;
    let tellers = permit("PUT", r#"principal in Group::"tellers""#);
    check_invariants(&tellers, NEVER, &[]);
    check_invariants(
        &format!("{tellers}{}", permit("POST", "context.depth == 1")),
        NEVER,
        &["only-tellers-write"],
    );
    let closed = r#"forbid (principal, action in Action::"write", resource) unless { principal in Group::"tellers" };"#;
    check_invariants(&format!("{tellers}{}{closed}", permit("POST", "context.depth == 1")), NEVER, &[]);
    check_invariants(ALL, ALWAYS, &[]);
    check_invariants(&tellers, &format!("{ALWAYS}{NEVER}"), &["health-is-open"]);
    check_invariants(&format!("{ALL}{FAILING}"), ALWAYS, &["health-is-open"]);
}

#[test]
fn a_policy_that_can_fail_is_found() {
    if !solver() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let sound = bundle(folder.path(), "sound", ALL);
    let (code, report) = told(&["errors", "--json", &sound]);
    assert_eq!((code, report["result"].as_str()), (0, Some("holds")), "{report:#}");
    let failing = bundle(folder.path(), "failing", &format!("{ALL}@id(\"sum\") {FAILING}"));
    let (code, report) = told(&["errors", "--json", &failing]);
    let found =
        report["findings"].as_array().unwrap().iter().find(|f| f["result"] == "counterexample").unwrap();
    assert_eq!((code, found["subject"].as_str()), (1, Some("sum")), "{report:#}");
    assert_eq!(found["example"]["answers"]["policies"]["errors"], serde_json::json!(["sum"]));
}

/// What is told in words, and the exit code.
fn check_words(args: &[&str], code: i32, want: &str) {
    let output = asked(args);
    let words =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{args:?}: {words}");
    assert!(words.contains(want), "{args:?}: `{words}` lacks `{want}`");
}

#[test]
fn what_cannot_be_asked_is_neither_proved_nor_refuted() {
    let folder = tempfile::tempdir().unwrap();
    let sound = bundle(folder.path(), "sound", ALL);
    let broken = bundle(folder.path(), "broken", "permit (");
    check_words(&["errors", &sound, "--cvc5", "/nonexistent"], 2, "install cvc5");
    check_words(&["errors"], 2, "<BUNDLE>");
    if !solver() {
        return;
    }
    check_words(&["errors", &broken], 2, "line 1");
    check_words(&["errors", "/nonexistent"], 2, "/nonexistent");
    let file = folder.path().join("invariants.cedar");
    std::fs::write(&file, "forbid (principal, action == Action::\"GOT\", resource);").unwrap();
    check_words(&["invariants", &sound, file.to_str().unwrap()], 2, "GOT");
    check_words(&["errors", &sound], 0, "errors: holds");
}

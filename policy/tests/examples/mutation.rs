//! No row may pass because an assertion is missing: every small change to an example policy, or to its data, must fail a row
//! or a test of it. One that the engine refuses at load never decides anything.
use super::places::{all, suite};
use super::source::Mutant;
use super::{cedar, data, rego};
use postern_policy::Scratch;
use postern_policy::tooling::{NOW_NS, Selection, Suite, Table, differences, is_test_file, verdict};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Changes that change no answer, and why: a policy, the change as it is told but for its place.
const EQUIVALENT: [(&str, &str, &str); 9] = [
    ("abac-data/rego", "`voltage` becomes `true`", "a clearance covers no voltage that is not there"),
    ("body-fields/rego", "`is_number(amount)` becomes `true`", "`floor` fails for what is no number"),
    (
        "egress-allow-list/cedar",
        r#"`"*.*.mirror.example"` becomes `"*.*.mirror.example*"`"#,
        "the host ends so already, by the pattern before it",
    ),
    (
        "jwt-scopes/rego",
        "`is_string(input.claims.scope)` becomes `true`",
        "`split` fails for what is no text",
    ),
    (
        "kubernetes-service-accounts/cedar",
        r#"`"/ns/*/sa/*/*"` becomes `"*/ns/*/sa/*/*"`"#,
        "the path begins so already, by the pattern before it",
    ),
    (
        "kubernetes-service-accounts/cedar",
        r#"`"/ns/*/*/*/*"` becomes `"*/ns/*/*/*/*"`"#,
        "the path begins so already, by the pattern before it",
    ),
    ("tcp-connect/cedar", r#"`"10.20.0.0/16"` becomes `"10.20.1.0/16"`"#, "it is the same network"),
    ("tcp-connect/cedar", r#"`"10.20.0.0/16"` becomes `"10.20.0.1/16"`"#, "it is the same network"),
    (
        "tenant-isolation/cedar",
        r#"`context.claims.getTag("tenant") == [context.segments.s2]` becomes `true`"#,
        "`other-tenant` forbids it as well: isolation does not hang on one line",
    ),
];

/// Fewer changes than this in a policy would mean that they are no longer found.
const MUTANTS_MIN: usize = 40;

#[test]
fn every_small_change_to_an_example_policy_fails_a_row() {
    let policies: Vec<Suite> = all().iter().map(|policy| suite(policy)).collect();
    let (next, told) = (AtomicUsize::new(0), Mutex::new((Vec::new(), Vec::new(), 0)));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(policy) = policies.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let (count, survivors) = survivors(policy);
                    let mut told = told.lock().unwrap();
                    told.0.extend(survivors.into_iter().map(|what| (policy.root.clone(), what)));
                    told.1.extend((count < MUTANTS_MIN).then(|| format!("{}: {count}", policy.root)));
                    told.2 += count;
                }
            });
        }
    });
    let (survivors, few, count) = told.into_inner().unwrap();
    assert_eq!(few, [""; 0], "fewer than {MUTANTS_MIN} changes were found");
    let is_listed = |(policy, what): &(String, String)| {
        EQUIVALENT.iter().any(|(of, change, _)| of == policy && what.ends_with(change))
    };
    let (listed, unnoticed): (Vec<_>, Vec<_>) = survivors.into_iter().partition(is_listed);
    let unnoticed: Vec<String> =
        unnoticed.into_iter().map(|(policy, what)| format!("{policy}/{what}")).collect();
    assert!(
        unnoticed.is_empty(),
        "{} of {count} changes fail no row:\n{}",
        unnoticed.len(),
        unnoticed.join("\n")
    );
    let whole = std::env::var("POSTERN_EXAMPLE").is_err();
    assert!(!whole || listed.len() == EQUIVALENT.len(), "listed as without effect, but noticed: {listed:?}");
}

/// How many changes there are, and which of them nothing notices.
fn survivors(suite: &Suite) -> (usize, Vec<String>) {
    let mut count = 0;
    let mut unnoticed = Vec::new();
    for (file, content) in suite.files.iter().filter(|(file, _)| !is_test_file(file)) {
        let text = std::str::from_utf8(content).unwrap();
        for mutant in mutants(file, text).into_iter().filter(|mutant| mutant.texts != [text]) {
            count += 1;
            if mutant.texts.iter().all(|changed| is_unnoticed(suite, file, changed)) {
                unnoticed.push(format!("{file}:{}", mutant.what));
            }
        }
    }
    (count, unnoticed)
}

/// Policies of a few lines, with and without the row that a change needs.
#[test]
fn a_row_that_is_missing_is_told() {
    let rego = "package p\n\ndefault allow := false\n\nallow if {\n\tinput.parsed_path[0] == \"a\"\n\
        \tinput.attributes.request.http.method == \"GET\"\n}\n";
    let cedar = "permit (principal, action == Action::\"GET\", resource)\nwhen { context.path == \"/a\" };\n";
    let all = ["GET /a, expect: allow", "GET /b, expect: deny", "PUT /a, expect: deny"];
    let told = |file: &str, text: &str, decision: &str, rows: &[&str]| {
        let rows = rows
            .iter()
            .enumerate()
            .map(|(number, row)| format!("  - {{ name: \"{number}\", who: spiffe://e.org/w, do: {row} }}\n"));
        let table = format!("decision: {decision}\ncases:\n{}", rows.collect::<String>());
        let table = Table::read("cases.yaml", table.as_bytes()).unwrap();
        let files = [(file.to_owned(), text.as_bytes().to_vec())].into();
        let cases = table.cases.clone();
        survivors(&Suite {
            root: "p".to_owned(),
            files,
            table: Some(("cases.yaml".to_owned(), table)),
            cases,
        })
        .1
    };
    let (ask_rego, ask_cedar) = ("{ rego: p/allow }", "{ cedar: {} }");
    assert_eq!(told("p.rego", rego, ask_rego, &all), [""; 0]);
    assert_eq!(
        told("p.rego", rego, ask_rego, &all[..2]),
        ["p.rego:7: `input.attributes.request.http.method == \"GET\"` becomes `true`"]
    );
    assert_eq!(
        told("p.rego", rego, ask_rego, &[all[0], all[2]]),
        ["p.rego:6: `input.parsed_path[0] == \"a\"` becomes `true`"]
    );
    assert_eq!(told("p.cedar", cedar, ask_cedar, &all), [""; 0]);
    let scope =
        "p.cedar:1: in `permit (principal, action == Action::\"GET\", resource)` `action == Action::\"GET\"`";
    assert_eq!(
        told("p.cedar", cedar, ask_cedar, &all[..2]),
        [format!("{scope} becomes `action in Action::\"http\"`")]
    );
    assert_eq!(
        told("p.cedar", cedar, ask_cedar, &[all[0], all[2]]),
        ["p.cedar:2: `when { context.path == \"/a\" }` becomes ``"]
    );
}

fn mutants(file: &str, text: &str) -> Vec<Mutant> {
    match file.rsplit('/').next().unwrap() {
        "data.json" => data::of_data(text),
        "entities.json" => data::of_entities(text),
        name if name.ends_with(".rego") => rego::mutants(text),
        name if name.ends_with(".cedar") => cedar::mutants(text),
        _ => Vec::new(),
    }
}

fn is_unnoticed(of: &Suite, file: &str, changed: &str) -> bool {
    let mut files = of.files.clone();
    files.insert(file.to_owned(), changed.as_bytes().to_vec());
    let changed = Suite { root: of.root.clone(), files, table: of.table.clone(), cases: of.cases.clone() };
    let Some((_, table)) = &changed.table else { return true };
    let Ok(pdp) = changed.pdp(table) else { return false };
    let mut scratch = Scratch::default();
    let now_ns = table.now_ns.unwrap_or(NOW_NS);
    let mut cases = changed.cases.iter();
    if cases.any(|case| !differences(case, &verdict(&pdp, &mut scratch, case, now_ns)).is_empty()) {
        return false;
    }
    // The rules that are tests, which some have beside their rows.
    changed.run(&Selection::default(), NOW_NS, &|| 0).is_ok_and(|report| report.passed())
}

//! Rules that are tests come out as real `opa test` says, and reach the lines that it says.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that fails says so by panicking")]
use postern_policy::tooling::{NOW_NS, Report, Selection, Suite, json};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

type Files<'f> = &'f [(&'f str, &'f str)];

/// Runs real OPA, or prints the line by which the test is counted as skipped.
#[expect(clippy::print_stdout, reason = "a skipped test says so where the suite looks for it")]
fn opa(files: Files<'_>, more: &[&str]) -> Option<Value> {
    let Some(opa) = std::env::var_os("POSTERN_OPA") else {
        let thread = std::thread::current();
        println!("SKIPPED {}: POSTERN_OPA is not set", thread.name().unwrap_or("a test"));
        return None;
    };
    let folder = tempfile::TempDir::new().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let mut command = Command::new(opa);
    command.current_dir(folder.path()).args(["test", ".", "--format", "json"]).args(more);
    let output = command.output().unwrap();
    let parsed = serde_json::from_slice(&output.stdout);
    Some(parsed.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr))))
}

fn ours(files: Files<'_>, coverage: bool) -> Report {
    let files = files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect();
    let suite = Suite { root: ".".to_owned(), files, table: None, cases: Vec::new() };
    let selection = Selection { filter: None, coverage };
    suite.run(&selection, NOW_NS, &|| 0).unwrap()
}

/// Name, row, outcome, and the outcomes within.
type Told = BTreeSet<(String, u64, &'static str, BTreeMap<String, bool>)>;

fn told_by_opa(results: &Value) -> Told {
    let is = |result: &Value, key: &str| result.get(key).and_then(Value::as_bool) == Some(true);
    let one = |result: &Value| {
        let text = |key: &str| result.get(key).unwrap().as_str().unwrap().to_owned();
        let outcome = if is(result, "skip") {
            "skip"
        } else if result.get("error").is_some() {
            "error"
        } else if is(result, "fail") {
            "fail"
        } else {
            "pass"
        };
        let mut parts = BTreeMap::new();
        within(result.get("sub_results"), "", &mut parts);
        let row = result.pointer("/location/row").unwrap().as_u64().unwrap();
        (format!("{}.{}", text("package"), text("name")), row, outcome, parts)
    };
    results.as_array().unwrap().iter().map(one).collect()
}

fn within(results: Option<&Value>, prefix: &str, parts: &mut BTreeMap<String, bool>) {
    for (name, result) in results.and_then(Value::as_object).into_iter().flatten() {
        let name = format!("{prefix}{name}");
        let inner =
            result.get("sub_results").filter(|inner| inner.as_object().is_some_and(|all| !all.is_empty()));
        match inner {
            Some(inner) => within(Some(inner), &format!("{name}/"), parts),
            None => drop(parts.insert(name, result.get("fail").is_none())),
        }
    }
}

fn check(files: Files<'_>) {
    let Some(theirs) = opa(files, &[]) else { return };
    let told = ours(files, false).results.into_iter().map(|result| {
        let parts = result.parts.into_iter().collect();
        (result.name, u64::from(result.row), result.outcome.word(), parts)
    });
    assert_eq!(told.collect::<Told>(), told_by_opa(&theirs), "{files:?}");
}

const POLICY: (&str, &str) = (
    "a.rego",
    "package a\n\ndefault allow := false\n\nallow if {\n\tinput.x == 1\n\tsome y in input.ys\n\ty > 2\n\tprint(\"y is\", y)\n}\n\n\
     allow if {\n\tinput.method == \"GET\"\n\tstartswith(input.path, \"/x\")\n}\n\nhelper(x) := y if {\n\ty := x + 1\n}\n\n\
     names contains n if {\n\tsome n in [\"a\", \"b\"]\n\tn != \"a\"\n}\n\nlevel := \"high\" if {\n\tinput.n > 10\n} else := \"low\" if {\n\tinput.n > 0\n}\n\nnever if {\n\tinput.zz\n\ttrue\n}\n",
);

#[test]
fn tests_come_out_as_opa_says() {
    check(&[
        POLICY,
        (
            "a_test.rego",
            "package a_test\nimport data.a\ntest_one if a.allow with input as {\"x\": 1, \"ys\": [1, 3]}\ntest_two if a.allow with input as {\"x\": 2}\ntest_two if not a.allow with input as {}\ntodo_test_three if false\ntest_err if { {k: v | some k in [1, 1]; some v in [1, 2]} }\ntest_num := 3\ntest_null := null\ntest_set contains 1\ntest_helper if a.helper(1) == 2\n",
        ),
    ]);
    check(&[
        POLICY,
        (
            "a_test.rego",
            "package a\ntest_same_package if helper(2) == 3\ntest_mock if allow with input as {\"method\": \"GET\", \"path\": \"q\"} with startswith as true\ntest_mock_data if { data.thing == 1 with data.thing as 1 }\ntest_function(x) if x == 1\ndefault test_default := false\ntest_default if true\n",
        ),
    ]);
    check(&[(
        "t.rego",
        "package t.u\nmytest_a if true\nx.test_b if true\nx.test_c.d if true\ntodo_test_d if true\ntest_else := false if { input.a } else := true\ntest_chained if { false } { true }\n",
    )]);
    check(&[(
        "t.rego",
        "package t\nimport rego.v1\ntest_conflict := true\nf(x) := 1\nf(x) := 2 if x > 1\ntest_calls if f(2) == 1\ntest_builtin_error if to_number(\"x\") == 1\ntest_not_error if not to_number(\"x\")\n",
    )]);
}

#[test]
fn cases_within_a_test_come_out_as_opa_says() {
    check(&[(
        "t.rego",
        "package t\ntest_cases[tc.note] if {\n\tsome tc in [{\"note\": \"good\", \"n\": 1}, {\"note\": \"bad\", \"n\": 2}]\n\ttc.n == 1\n}\ntest_named[note] if {\n\tsome note, tc in {\"a\": {\"n\": 1}, \"b\": {\"n\": 2}}\n\tx := tc.n + 1\n\tx == 2\n}\ntest_all[tc.note] if {\n\tsome tc in [{\"note\": \"good\"}]\n}\ntest_none[x] if { some x in [] }\n",
    )]);
    check(&[(
        "t.rego",
        "package t\ntest_deep[group.name][tc] if {\n\tsome group in [{\"name\": \"g\", \"cases\": {\"one\": 1, \"two\": 2}}, {\"name\": \"h\", \"cases\": {\"three\": 1}}]\n\tsome tc, n in group.cases\n\tn == 1\n}\ntest_value[x] := y if {\n\tsome x in [\"yes\", \"no\"]\n\ty := x == \"yes\"\n}\n",
    )]);
}

#[test]
fn the_rows_that_are_reached_are_those_that_opa_says() {
    let check = |test: &str| {
        let files = [POLICY, ("a_test.rego", test)];
        let Some(theirs) = opa(&files, &["--coverage"]) else { return };
        let report = json(&ours(&files, true));
        let rows = |of: &Value, file: &str, kind: &str| -> BTreeSet<u64> {
            let spans = of.get("files").and_then(|files| files.get(file)).and_then(|file| file.get(kind));
            let row =
                |span: &Value, end: &str| span.pointer(&format!("/{end}/row")).unwrap().as_u64().unwrap();
            spans
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .flat_map(|span| row(span, "start")..=row(span, "end"))
                .collect()
        };
        let ours = report.get("coverage").unwrap();
        // In the policy itself the two may differ: which definitions are tried before one that holds is the index's matter.
        let of = |side: &Value, file: &str, kind: &str| rows(side, file, kind);
        for kind in ["covered", "not_covered"] {
            let (ours, theirs) = (of(ours, "./a_test.rego", kind), of(&theirs, "a_test.rego", kind));
            assert_eq!(ours, theirs, "{kind} of the test by {test}");
        }
    };
    check(
        "package a_test\nimport data.a\ntest_one if a.allow with input as {\"x\": 1, \"ys\": [1, 3], \"method\": \"GET\"}\n",
    );
    check(
        "package a_test\nimport data.a\ntest_one if a.allow with input as {\"x\": 1, \"ys\": [1], \"method\": \"GET\", \"path\": \"/x\"}\ntest_two if a.helper(1) == 2\n",
    );
    check(
        "package a_test\nimport data.a\ntest_low if a.level == \"low\" with input as {\"n\": 3}\ntest_names if a.names == {\"b\"}\n",
    );
    check(
        "package a_test\nimport data.a\ntest_get if {\n\ta.allow with input as {\n\t\t\"method\": \"GET\",\n\t\t\"path\": \"/x\",\n\t}\n\tevery n in a.names { n == \"b\" }\n\tcount([m | some m in a.names; m != \"b\"]) == 0\n}\n",
    );
}

use super::*;
use crate::builtins::testing::context;

const LIMITS: Limits = Limits { steps: 100_000, deadline: None, strict_builtin_errors: false };

fn examine(text: &str) -> Policy {
    Policy::load_to_examine(&[source(text)]).unwrap()
}

fn source(text: &str) -> Source<'_> {
    Source { name: "a.rego", text, version: crate::ast::Version::V1 }
}

fn watch(text: &str, path: &[&str], input: &str) -> Watched {
    let policy = examine(text);
    let entry = policy.entry(path).unwrap();
    let (data, input) = (Value::object([]), Value::from_json(input).ok());
    let sources = [source(text)];
    let watch = Watch { data: &data, input, limits: LIMITS, attempts: Some(&sources) };
    policy.watch(&entry, watch, &mut context())
}

#[test]
fn print_is_heard_where_a_set_is_examined_and_changes_nothing() {
    let check = |body: &str, want: &str| {
        let text = format!("package a\np if {{ {body} }}");
        let watched = watch(&text, &["a", "p"], r#"{"xs": ["one", 2], "u": {"k": [true]}}"#);
        assert_eq!((watched.value, watched.printed.as_str()), (Ok(Some(Value::Bool(true))), want), "{body}");
        let policy = Policy::load(&[source(&text)]).unwrap();
        let entry = policy.entry(&["a", "p"]).unwrap();
        let input = Value::from_json(r#"{"xs": ["one", 2], "u": {"k": [true]}}"#).ok();
        let value = policy.evaluate(&entry, &Value::object([]), input, &mut context(), LIMITS);
        assert_eq!(value, Ok(Some(Value::Bool(true))), "{body}");
    };
    check(r#"print("a", 1, input.u)"#, "a 1 {\"k\": [true]}\n");
    check("print(input.nosuch, input.xs[_])", "<undefined> 2\n<undefined> one\n");
    check("print()", "\n");
    check("x := 3; print(x); x == 3", "3\n");
    check("count([x | some x in input.xs; print(x)]) == 2", "one\n2\n");
    check("every x in input.xs { print(x) }", "one\n2\n");
    check("not input.nosuch; print(\"y\") with input as 1", "y\n");
}

#[test]
fn what_is_printed_is_bounded() {
    let text = "package a\np if { every i in numbers.range(1, 2000) { print(\"0123456789012345678901234567890123456789\", i) } }";
    let watched = watch(text, &["a", "p"], "{}");
    assert!(watched.cut && watched.printed.len() <= 64 * 1024, "{}", watched.printed.len());
}

#[test]
fn tests_are_found_by_their_names_and_numbered() {
    let check = |text: &str, want: &[&str]| {
        let policy = examine(&format!("package a.b\n{text}"));
        let told = |test: TestRule| {
            let name = test.path.join(".");
            format!(
                "{name}{}{}",
                if test.todo { " todo" } else { "" },
                if test.by_case { " cases" } else { "" }
            )
        };
        assert_eq!(policy.tests().map(told).collect::<Vec<_>>(), want, "{text}");
    };
    check("allow := 1", &[]);
    check(
        "test_a if true\ntest_a if false\ntest_a if true",
        &["a.b.test_a", "a.b.test_a#01", "a.b.test_a#02"],
    );
    check("todo_test_a if true", &["a.b.todo_test_a todo"]);
    check("test_a[x] if { some x in [1] }", &["a.b.test_a cases"]);
    check("x.test_a.y if true", &["a.b.x.test_a"]);
    check("test_a contains 1", &["a.b.test_a"]);
    let decides = Policy::load(&[source("package a\ntest_a if true\ntest_a if true")]).unwrap();
    assert_eq!(decides.tests().count(), 0);
}

#[test]
fn the_cases_of_a_test_are_told_before_their_conditions() {
    let text = "package a\ntest_x[tc.note] if {\n\tsome tc in [{\"note\": \"good\", \"n\": 1}, {\"note\": \"bad\", \"n\": 2}]\n\ttc.n == 1\n}";
    let watched = watch(text, &["a", "test_x"], "{}");
    let cases: Vec<String> = watched.cases.iter().map(ToString::to_string).collect();
    assert_eq!(cases, [r#"["good"]"#, r#"["bad"]"#]);
    assert_eq!(watched.value.unwrap().unwrap().to_string(), r#"{"good": true}"#);
}

#[test]
fn the_first_condition_that_does_not_hold_is_told_with_what_was_known() {
    let check = |body: &str, input: &str, want: &str| {
        let text = format!("package a\np if {{\n\t{body}\n}}\nowner := \"o\"\nhelp(x) if x > 5\n");
        let watched = watch(&text, &["a", "p"], input);
        let attempt = watched.attempts.iter().find(|attempt| attempt.rule == "data.a.p").unwrap();
        let unmet = attempt.unmet.as_ref().unwrap();
        let value =
            |value: &Option<Value>| value.as_ref().map_or("undefined".to_owned(), ToString::to_string);
        let values: Vec<String> =
            unmet.values.iter().map(|(name, have)| format!("{name} is {}", value(have))).collect();
        let told = format!(
            "{}/{} {} {} | {}",
            attempt.met,
            attempt.conditions,
            unmet.place,
            unmet.text,
            values.join(", ")
        );
        assert_eq!(told, want, "{body}");
    };
    check(
        "input.a == 1\n\tinput.m == \"GET\"\n\ttrue",
        r#"{"a": 1, "m": "PUT"}"#,
        r#"1/3 a.rego:4:2 input.m == "GET" | input.m is "PUT""#,
    );
    check("input.nosuch", "{}", "0/1 a.rego:3:2 input.nosuch | input.nosuch is undefined");
    check(
        "startswith(input.path, \"/x\")",
        r#"{"path": "/y"}"#,
        r#"0/1 a.rego:3:2 startswith(input.path, "/x") | input.path is "/y""#,
    );
    check("some x in input.xs\n\tx > 2", r#"{"xs": [1, 2]}"#, "1/2 a.rego:4:2 x > 2 | x is 1");
    check(
        "count(input.xs) > 2",
        r#"{"xs": [1]}"#,
        "0/1 a.rego:3:2 count(input.xs) > 2 | count(input.xs) is 1",
    );
    check("y := input.y\n\thelp(y)", r#"{"y": 1}"#, "1/2 a.rego:4:2 help(y) | y is 1");
    check(
        "owner == input.who",
        r#"{"who": "w"}"#,
        r#"0/1 a.rego:3:2 owner == input.who | data.a.owner is "o", input.who is "w""#,
    );
    check(
        "not input.blocked",
        r#"{"blocked": true}"#,
        "0/1 a.rego:3:2 not input.blocked | input.blocked is true",
    );
}

#[test]
fn definitions_that_the_index_would_pass_over_are_tried() {
    let text = "package a\np if input.m == \"a\"\np if input.m == \"b\"\np if input.m == \"c\"\np if input.m == \"d\"\np if input.m == \"e\"\ndefault p := false";
    let watched = watch(text, &["a", "p"], r#"{"m": "z"}"#);
    assert_eq!(watched.attempts.len(), 6);
    assert_eq!(watched.attempts.iter().filter(|attempt| attempt.held && attempt.is_default).count(), 1);
}

#[test]
fn coverage_tells_the_rows_that_were_reached_and_those_that_were_not() {
    let text = "package a\n\ndefault allow := false\n\nallow if {\n\tinput.x == 1\n\tinput.y == 2\n}\n\nother if {\n\ttrue\n}\n";
    let policy = examine(text);
    let entry = policy.entry(&["a", "allow"]).unwrap();
    let data = Value::object([]);
    let mut coverage = Coverage::default();
    let mut rows = |input: &str| {
        let input = Value::from_json(input).ok();
        let watch = Watch { data: &data, input, limits: LIMITS, attempts: None };
        coverage.add(&policy.watch(&entry, watch, &mut context()));
        let report = coverage.report(&policy, &[source(text)]).remove(0);
        (report.covered_lines(), report.not_covered_rows().collect::<Vec<_>>())
    };
    assert_eq!(rows(r#"{"x": 2}"#), (2, vec![5, 7, 10, 11]));
    assert_eq!(rows(r#"{"x": 1, "y": 2}"#), (4, vec![10, 11]));
}

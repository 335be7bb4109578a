use crate::ast::Version;
use crate::{Policy, Source, Value, problems};
use std::process::Command;

/// What is wrong with files, as `row:col`, and with the file before it for files after the first; `~` before what is wrong
/// with a reference. `opa check` must say the same where there is one to ask. The places of references it confuses: of all
/// that mention rules of the module's package it tells the last mention.
fn check(texts: &[&str], expected: &[&str]) {
    let names: Vec<String> = (0..texts.len()).map(|index| format!("{index}.rego")).collect();
    let texts: Vec<String> = texts
        .iter()
        .map(
            |text| {
                if text.starts_with("package") { (*text).to_owned() } else { format!("package t\n{text}") }
            },
        )
        .collect();
    let sources: Vec<Source<'_>> =
        texts.iter().zip(&names).map(|(text, name)| Source { name, text, version: Version::V1 }).collect();
    let told = problems(&sources);
    let ours: Vec<String> = told
        .iter()
        .map(|one| {
            let of_reference =
                one.what.starts_with("undefined ref") || one.what.contains("has no value by itself");
            shown(of_reference, &one.file, (one.loc.row.into(), one.loc.col.into()))
        })
        .collect();
    let what: Vec<&str> = told.iter().map(|one| one.what.as_str()).collect();
    assert_eq!(ours, expected, "{texts:?}: {what:#?}");
    assert!(told.iter().all(|one| one.code == "rego_type_error"), "{texts:?}: {told:?}");
    let first = Policy::load(&sources).err().map(|error| (error.loc.module, error.loc.row, error.loc.col));
    assert_eq!(first, told.first().map(|one| (one.loc.module, one.loc.row, one.loc.col)), "{texts:?}");
    if let Some(theirs) = of_opa(&texts, &names) {
        assert_eq!(comparable(theirs), comparable(ours), "OPA about {texts:?}");
    }
}

fn shown(of_reference: bool, file: &str, (row, col): (i64, i64)) -> String {
    let file = if file == "0.rego" { String::new() } else { format!("{file}:") };
    let mark = if of_reference { "~" } else { "" };
    format!("{mark}{file}{row}:{col}")
}

/// Places in order, without those of references.
fn comparable(mut places: Vec<String>) -> Vec<String> {
    for place in &mut places {
        if place.starts_with('~') {
            "~".clone_into(place);
        }
    }
    places.sort();
    // What is taken out of an expression has its modifiers, and each of them is wrong again to OPA.
    places.dedup_by(|a, b| a == b && !a.starts_with('~'));
    places
}

/// Where OPA finds errors of types.
fn of_opa(texts: &[String], names: &[String]) -> Option<Vec<String>> {
    let opa = std::env::var_os("POSTERN_OPA")?;
    let folder = crate::builtins::testing::new_folder("types");
    for (text, name) in texts.iter().zip(names) {
        std::fs::write(folder.join(name), text).unwrap();
    }
    let mut command = Command::new(opa);
    command.args(["check", "--max-errors", "1000", "--format", "json", "."]).current_dir(&folder);
    let output = command.output().unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    if output.status.success() {
        return Some(Vec::new());
    }
    let answer = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    let answer = Value::from_json(&answer).unwrap_or_else(|error| panic!("{error}: {answer}"));
    let place = |error: &Value| {
        assert_eq!(error.member("code").and_then(Value::as_str), Some("rego_type_error"), "{error}");
        let location = error.member("location").unwrap();
        let number = |name: &str| location.member(name).and_then(Value::as_i64).unwrap();
        let file = location.member("file").and_then(Value::as_str).unwrap();
        let message = error.member("message").and_then(Value::as_str).unwrap();
        let of_reference = message.starts_with("undefined ref") || message.contains("used as reference");
        shown(of_reference, file, (number("row"), number("col")))
    };
    Some(answer.member("errors").unwrap().as_array().unwrap().iter().map(place).collect())
}

#[test]
fn scalars_of_different_types_are_never_equal() {
    check(&["p if 1 == \"a\"\nq if true = null\nr if 1 == 2\ns if \"a\" = \"b\""], &["2:6", "3:6"]);
}

#[test]
fn what_a_variable_was_given_is_what_it_is() {
    check(&["p if {\n  x := 1\n  x == \"a\"\n}\nq if {\n  x = input.a\n  x == \"a\"\n  x == 1\n}"], &["4:3"]);
    check(&["p if {\n  [x, y] = [1, \"a\"]\n  x == y\n}"], &["4:3"]);
    check(&["p if {\n  {\"a\": x} = {\"a\": [1]}\n  x == 1\n}"], &["4:3"]);
    check(
        &["p if {\n  some x in [1, 2]\n  x == \"a\"\n}\nq if {\n  some k, v in {\"a\": 1}\n  k == v\n}"],
        &["4:3", "8:3"],
    );
}

#[test]
fn arguments_must_be_of_the_types_that_a_builtin_takes() {
    check(
        &["p := 1 + \"a\"\nq := count(3)\nr := sum([1, \"a\"])\ns := upper(input.x)"],
        &["2:6", "3:6", "4:6"],
    );
    check(&["p if startswith(input.x, 1)\nq := concat(\",\", [1])\nr := trim(1, 2)"], &["2:6", "3:6", "4:6"]);
    check(&["p if {\n  x := upper(\"a\")\n  x + 1\n}\nq if count(input.x, \"a\")"], &["4:3", "6:6"]);
    check(&["p if not startswith(1, \"a\")\nq := [1] & {2}\nr := {1} - {2}\ns := 1 - {2}"], &["2:6", "3:6"]);
}

#[test]
fn references_must_lead_into_what_rules_are() {
    check(
        &["q := {\"a\": 1}\np if q.b\nr if q.a\ns if q[input.x]\nt if q.a.b\nu := 1\nv if u[0]"],
        &["~3:6", "~6:6", "~8:6"],
    );
    check(&["q := [1, 2]\np if q[2]\nr if q[1]\ns if q.a\nt if q[\"0\"]"], &["~3:6", "~5:6", "~6:6"]);
    check(&["q := {1, 2}\np if q[2]\nr if q[\"a\"]"], &["~4:6"]);
    check(&["q contains x if x := upper(input.y)\np if q[1]\nr if q.a"], &["~3:6"]);
    check(
        &["q[x] := 1 if x := upper(input.y)\np if q[1]\nr if q.a == \"b\"\ns if q.a == 1"],
        &["~3:6", "4:6"],
    );
    check(&["q.a := 1\nq.b := \"x\"\np if q.c\nr if q.a == \"y\"\ns if q.b == \"y\""], &["5:6"]);
}

#[test]
fn rules_of_one_name_are_of_all_of_their_types() {
    check(
        &["q := 1 if input.x\nq := \"a\" if input.y\np if q == 2\nr if q == \"b\"\ns if q == true"],
        &["6:6"],
    );
    check(&["q := 1 if input.x\nelse := \"a\"\np if q == null\nr if q == \"b\""], &["4:6"]);
    check(&["default q := false\nq := 1 if input.x\np if q == \"a\"\nr if q == true"], &["4:6"]);
}

#[test]
fn functions_take_and_give_what_their_definitions_say() {
    check(&["f(x) := x + 1\np := f(\"a\")\nq if f(1) == \"b\"\nr if f(1) == 3"], &["3:6", "4:6"]);
    check(
        &["f(x) := x + 1 if input.a\nf(x) := upper(x) if input.b\np := f(\"a\")\nq := f(1)\nr := f([])"],
        &["6:6"],
    );
    check(
        &["f(x) := x\ng([x, y]) := x + y\np := f(1)\nq := g([1, 2])\nr := g([1])\ns := g([1, \"a\"])"],
        &["6:6", "7:6"],
    );
    check(&["f(x) := x + 1\np if f == 1\nq if data.t.f"], &["~3:6", "3:6", "~4:6"]);
}

#[test]
fn replacements_must_take_what_they_replace() {
    check(
        &["f(x) := x + 1\ng(x) := upper(x)\np if input.x with f as g\nq if f(1) with f as \"a\""],
        &["4:14"],
    );
    check(&["f(x, y) := x + y\np if {\n  count(input.x) == 1 with count as f\n}"], &["4:23"]);
}

#[test]
fn comprehensions_are_looked_into() {
    check(
        &["p := [y | y := upper(1)]\nq := {y | y := 1; y == \"a\"}\nr := {k: v | k := 1; v := upper(k)}"],
        &["2:16", "3:19", "4:27"],
    );
    check(
        &[
            "p if {\n  xs := [x | x := input.y[_]; x > 1]\n  xs == \"a\"\n}\nq if sum([x | x := upper(input.y[_])])",
        ],
        &["4:3", "6:6"],
    );
    check(&["p if {\n  y := 1\n  xs := {x | x := upper(y)}\n}"], &["4:19"]);
    check(&["p := [[y | y := x + \"a\"] | x := input.a]"], &["2:17"]);
}

#[test]
fn of_bodies_of_every_the_references_alone_are_looked_at() {
    check(&["q := {\"a\": 1}\np if every x in [1, 2] {\n  x > upper(3)\n  q.c\n}"], &["~5:3"]);
    check(&["p if every x in upper(1) { x > 1 }"], &["2:17"]);
}

#[test]
fn of_input_and_data_nothing_is_known() {
    check(
        &[
            "p if input.a.b[0].c == data.zz.yy\nq if data.t.nothing\nr if data.u[input.x]\ns if data[input.x].y == 1",
        ],
        &[],
    );
    check(&["p if data[1]\nq := 1"], &[]);
    check(&["q := 1\np if data.t[0]"], &["~3:6"]);
}

#[test]
fn rules_are_looked_at_after_those_that_they_refer_to() {
    check(&["p if data.u.q.b", "package u\nq := {\"a\": r}\nr := 1"], &["~2:6"]);
    check(&["p if data.u.q.a == \"x\"", "package u\nq := {\"a\": r}\nr := 1"], &["2:6"]);
}

#[test]
fn a_call_in_a_name_may_be_anything() {
    check(&["f(x) := upper(1)\nr[f(input.a)] contains 1 if input.b\nq if r == 1"], &["2:9", "4:6"]);
}

#[test]
fn what_is_in_a_scalar_is_equal_to_nothing() {
    check(&["p := {v | some v in true}\nq if some x in \"a\""], &["2:11", "3:6"]);
    check(
        &[
            "p := graph.reachable(v, input) if {\n\tsome v, w in null\n\tsplit({k | k = (\"b\" & input)}, v) in w\n}",
        ],
        &["3:2", "4:18"],
    );
}

/// Whether a set loads; if not, where and what is refused. It is not asked of OPA, which takes any amount of work.
fn check_work(text: &str, refused: Option<(u32, &str)>) {
    let text = format!("package t\n{text}");
    let sources = [Source { name: "a", text: &text, version: Version::V1 }];
    let told = problems(&sources);
    let start: String = text.chars().take(80).collect();
    match refused {
        None => assert_eq!(told, [], "{start}"),
        Some((row, part)) => {
            assert_eq!(told.len(), 1, "{start}: {told:?}");
            assert_eq!((told[0].loc.row, told[0].code), (row, "rego_compile_error"), "{start}: {told:?}");
            assert!(told[0].what.contains(part), "{start}: {told:?}");
        }
    }
    assert_eq!(
        Policy::load(&sources).err().map(|error| error.loc.row),
        refused.map(|(row, _)| row),
        "{start}"
    );
}

const TOO_MUCH: &str = "takes more work than is allowed: put large tables into data";

#[test]
fn what_takes_too_much_work_to_check_is_refused() {
    // A comprehension is looked at with each thing that is learnt around it.
    let nested = (0..30).fold("input.x[_]".to_owned(), |inner, _| format!("[y | y := {inner}][_]"));
    check_work(&format!("p := {nested}\nq := 1"), Some((2, TOO_MUCH)));
    // Types that hold themselves twice.
    let doubled: String = (1..90).map(|n| format!("r{n} := [r{}, r{}]\n", n - 1, n - 1)).collect();
    check_work(&format!("r0 := [input.x, 1]\n{doubled}p if r89 == r88"), Some((20, TOO_MUCH)));
    // Types that nest without an end.
    let nested: String = (1..70).map(|n| format!("r{n} := [[r{}]]\n", n - 1)).collect();
    check_work(&format!("r0 := 1\n{nested}"), Some((66, TOO_MUCH)));
    let locals: String = (1..140).map(|n| format!("\tr{n} := [r{}]\n", n - 1)).collect();
    check_work(&format!("q := 1\np if {{\n\tr0 := 1\n{locals}\tr139 != q\n}}"), Some((3, TOO_MUCH)));
}

#[test]
fn large_ordinary_policies_are_checked_whole() {
    let plain = |n: usize| format!("allow if {{\n\tinput.role == \"r{n}\"\n\tinput.path[0] == \"x\"\n}}\n");
    check_work(&(0..10_000).map(plain).collect::<String>(), None);
    let chained = |n: usize| match n % 50 {
        0 => format!("h{n}(x) := x * 2\np{n} := {{\"v\": {n}}}\n"),
        _ => format!("h{n}(x) := h{}(x) + 1\np{n} := {{\"v\": h{n}(p{}.v)}}\n", n - 1, n - 1),
    };
    check_work(&(0..2_000).map(chained).collect::<String>(), None);
    // Many rules look something up in a large table.
    let members: String =
        (0..100_000).map(|n| format!("\"k{n}\": {{\"a\": {n}, \"b\": [\"x\"]}},\n")).collect();
    let lookups: String = (0..200)
        .map(|n| format!("p{n} if {{\n\tt[input.k].a == {n}\n\tsome k\n\tt[k].b == input.b\n\tt.k{n}\n}}\n"))
        .collect();
    check_work(&format!("t := {{{members}}}\n{lookups}"), None);
    let items: String = (0..100_000).map(|n| format!("{n},\n")).collect();
    check_work(&format!("p if input.x in [{items}]\nq if {{\n\tx := {{{items}}}\n\tx[input.y]\n}}"), None);
    // Rules without an end, and others that go through all of their package.
    let rules: String =
        (0..3_000).map(|n| format!("q{n} := {n}\np{n} if data.u[input.x{n}] == 1\n")).collect();
    check_work(&rules, None);
}

#[test]
fn who_refers_to_a_rule_with_an_error_is_not_told_of_it() {
    check(&["q := upper(1)\np if q == 1\nr if q.a.b"], &["2:6"]);
}

#[test]
fn variables_with_names_of_builtins_are_variables_but_in_comprehensions() {
    check(&["p if {\n  max = 3\n}"], &[]);
    check(&["p if y = [max | max = 1]"], &["2:17"]);
    check(&["p if {\n  io = 1\n  io.jwt.decode(\"a\")\n}"], &["4:3"]);
}

#[test]
fn nested_literals_are_known_in_depth() {
    check(
        &["p if {\n  z := {\"a\": {\"b\": [3]}}\n  z.a.c\n  input.f[z.a.d]\n  z.a.b[0] == \"x\"\n}"],
        &["~4:3", "~5:11", "6:3"],
    );
}

#[test]
fn members_below_a_partial_object_are_its_own() {
    check(
        &["p[x] := 1 if x := upper(input.a)\np.b := \"x\"\nq if p.a == true\nr if p.a == \"y\"\ns if p[1]"],
        &["4:6", "~6:6"],
    );
    check(
        &[
            "p[x][y] := 1 if {\n  x := upper(input.a)\n  y := upper(input.b)\n}\nq if p.a.b == true\nr if p.a[1]",
        ],
        &["6:6", "~7:6"],
    );
    check(&["p[x] contains y if {\n  x := upper(input.a)\n  y := 1\n}\nq if p.a.b\nr if p.a[1]"], &["~6:6"]);
}

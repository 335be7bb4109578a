//! Policies in which a difference was found once: each with what it answers, to which real OPA must agree.
use super::opa::Opa;
use super::{Answer, Case, ours};
use crate::ast::Version;
use crate::builtins::Context;

#[derive(Clone, Copy, Debug)]
enum Want {
    Value(&'static str),
    Undefined,
    /// The evaluation ends with an error.
    Error,
    /// The policy is refused.
    Refused,
}

/// What of OPA's answer must be as ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Oracle {
    /// All of it.
    Same,
    /// Nothing: OPA takes what cannot be made equal, and we refuse.
    Takes,
}

/// The modules (after `---` begins another one), data, input (without a character there is none), what `data.t.p` is.
type Row = (&'static str, &'static str, &'static str, Want);

fn check(rows: &[Row]) {
    check_against(Oracle::Same, rows);
}

fn check_against(oracle: Oracle, rows: &[Row]) {
    check_in(Version::V1, oracle, rows);
}

fn check_in(version: Version, oracle: Oracle, rows: &[Row]) {
    let mut opa = Opa::start(version, &format!("rows-{:p}", rows.as_ptr()));
    let path = ["t".to_owned(), "p".to_owned()];
    for (modules, data, input, want) in rows {
        let input = Some(*input).filter(|input| !input.is_empty());
        let case = Case {
            modules: modules.split("---").map(|module| module.trim_start().to_owned()).collect(),
            version,
            data: (*data).to_owned(),
            inputs: Vec::new(),
            strict: false,
        };
        let answer = case.load().ok().map(|policy| {
            ours(&policy, &case, &path, input, &mut Context::default()).expect("the budget is enough")
        });
        let expected = match want {
            Want::Value(value) => Some(Answer::Value((*value).to_owned())),
            Want::Undefined => Some(Answer::Undefined),
            Want::Error => Some(Answer::Error(String::new())),
            Want::Refused => None,
        };
        assert_eq!(answer, expected, "{modules}");
        if let Some(opa) = &mut opa {
            let loaded = opa.load(&case);
            let theirs = loaded.is_ok().then(|| opa.ask(&path, input, false).expect("an answer of OPA"));
            match oracle {
                Oracle::Same => assert_eq!(theirs, expected, "OPA does not agree: {loaded:?} {modules}"),
                Oracle::Takes => assert!(theirs.is_some(), "OPA refuses: {loaded:?} {modules}"),
            }
            if loaded.is_ok() {
                opa.unload(case.modules.len());
            }
        }
    }
}

#[test]
fn what_opa_refuses_is_refused() {
    check(&[
        ("package t\np if every x in [1] { input.a }", "{}", "{}", Want::Refused),
        ("package t\np if every k, x in [1] { x == 1 }", "{}", "{}", Want::Refused),
        ("package t\np := $\"{input.a[_]}\"", "{}", "{}", Want::Refused),
        ("package t\np := $\"{input.a[i]}\" if input.b == 1", "{}", "{}", Want::Refused),
        ("package t\np if { q with data.t as 1 }\nq := 1", "{}", "{}", Want::Refused),
        (
            "package t\np if { {\"a\": s[i], \"b\": (i != i)} = i; input.x[i] }\ns contains false",
            "{}",
            "{}",
            Want::Refused,
        ),
        ("package t\np if f(1)\nf(_) if data.t", "{}", "{}", Want::Refused),
        ("package t\np if f(1)\nf(_) if { true with data.t as 1 }", "{}", "{}", Want::Refused),
        ("package t\np if f(1)\nf(x) if { g(x) with f as g }\ng(_) := 1", "{}", "{}", Want::Refused),
    ]);
}

#[test]
fn what_opa_gets_wrong_is_refused() {
    check_against(
        Oracle::Takes,
        &[
            // OPA leaves the last expression out: the rule holds whatever the input is.
            ("package t\np if { x := 1; input.l[{1 | x == 1}] }", "{}", "{}", Want::Refused),
            ("package t\np if { x := 1; null != input.l[[x | input.a]] }", "{}", "{}", Want::Refused),
            // OPA compares before `z` has a value.
            (
                "package t\np if { z != {x | some x in [y]}; y = 1; z = {w}; w = 1 }",
                "{}",
                "{}",
                Want::Refused,
            ),
            // It takes `i` for bound by the call that waits for `z`.
            (
                "package t\np contains i if { some i; startswith(input.l[i], z); z = \"a\"; not input.m[i] }",
                "{}",
                "{}",
                Want::Refused,
            ),
            ("package t\np if { y = {y} }", "{}", "{}", Want::Refused),
            ("package t\np if { {y: 1} = y }", "{}", "{}", Want::Refused),
        ],
    );
}

#[test]
fn what_is_like_what_opa_gets_wrong_is_taken() {
    check(&[
        ("package t\np if { x := 1; not input.l[{1 | x == 1}] }", "{}", "{}", Want::Value("true")),
        ("package t\np if { x := 1; k := {1 | x == 1}; input.l[k] }", "{}", "{}", Want::Undefined),
        ("package t\np if f(1)\nf(x) if input.l[{1 | x == 1}]", "{}", "{}", Want::Undefined),
        ("package t\np if { y := {1}; {1} == {z | some z in y} }", "{}", "{}", Want::Value("true")),
    ]);
}

#[test]
fn of_equal_keys_the_last_one_counts() {
    check(&[
        ("package t\np := {\"a\": input.x, \"a\": 1}", "{}", "{}", Want::Value(r#"{"a":1}"#)),
        ("package t\np := {input.a: input.x, input.a: 1}", "{}", r#"{"a": "k"}"#, Want::Value(r#"{"k":1}"#)),
    ]);
}

#[test]
fn values_of_modifiers_bind_what_they_go_through() {
    check(&[
        (
            "package t\np contains i if { input.b == 2 with input.b as input.a[i] }",
            "{}",
            r#"{"a": [1, 2]}"#,
            Want::Value("[1]"),
        ),
        (
            "package t\np contains i if { not input.b == 2 with input.b as input.a[i] }",
            "{}",
            r#"{"a": [1, 2]}"#,
            Want::Value("[0]"),
        ),
    ]);
}

#[test]
fn templates_take_what_the_body_around_them_binds() {
    check(&[
        (
            "package t\np := $\"a {input.a[i]}\" if some i in [1]",
            "{}",
            r#"{"a": [1, 2]}"#,
            Want::Value("\"a 2\""),
        ),
        (
            "package t\np := $\"a {input.a[i]}\" if some i in [7]",
            "{}",
            "{}",
            Want::Value(r#""a \u003cundefined\u003e""#),
        ),
        (
            "package t\np := {$\"{x}\" | some x in input.a}",
            "{}",
            r#"{"a": [1, 2]}"#,
            Want::Value(r#"["1","2"]"#),
        ),
        ("package t\np := $\"a {$\"{x + 1}\"}\" if { x := 1 }", "{}", "{}", Want::Value("\"a 2\"")),
        ("package t\np := [$\"{x + 1}\" | x := 1]", "{}", "{}", Want::Value("[\"2\"]")),
        ("package t\np if { $\"{x + 1}\" == \"2\"; x = 1 }", "{}", "{}", Want::Value("true")),
        (
            "package t\np if { every y in [1] { $\"{x + y}\" == \"2\" }; x = 1 }",
            "{}",
            "{}",
            Want::Value("true"),
        ),
        (
            "package t\np := $\"{x + 1}\" if { z := {\"a\": 2}; x = input with input as z.a }",
            "{}",
            "{}",
            Want::Value("\"3\""),
        ),
    ]);
}

#[test]
fn templates_take_nothing_that_the_body_binds_only_when_it_is_taken_apart() {
    let row = |rule: &str| -> Row {
        (
            format!("package t\np {rule}\nf(_) := {{1}}\ng(1, u) := 3 if count(u)").leak(),
            "{}",
            "{}",
            Want::Refused,
        )
    };
    check(&[
        row("if { [f(1), data.u[w]][j] == [w, $\"t {w[j]}\"] }"),
        row("if input.a <= $\"t {data.u[q][q]}\" with input.flag as input.s[q]"),
        row("if { some w in [[1], data.k[l]]; w == $\"t {[l]}\" }"),
        row(":= $\"{x + 1}\" if { x = f(y); y = 1 }"),
        row(":= $\"{x + 1}\" if { x = 1 with input as data.d[y] }"),
        row(":= [[$\"{x + 1}\"] | x := 1]"),
        row(":= [$\"a {$\"{x + 1}\"}\" | x := 1]"),
        row(":= $\"{walk(input)}\""),
        row(":= $\"{walk(input, 1)}\""),
        // What a variable of a template is does not come from the template.
        row("if { h := \"a\"; input.a == $\"t {g(1, h)} {g(h, h)}\" }"),
    ]);
}

#[test]
fn an_error_is_met_where_opa_meets_it() {
    let input = r#"{"n": 1, "m": {"1": []}}"#;
    let row = |body: &'static str, want| {
        let module: &'static str = format!("package t\nc := 1\nc := 2\n{body}").leak();
        (module, r#"{"foo": 1}"#, input, want)
    };
    check(&[
        row("p if input.n == 1\np if c > 0", Want::Error),
        row("p if input.m\np if c > 0", Want::Error),
        row("p if input.n > 0\np if c > 0", Want::Error),
        row("p if count(input.m) == 1\np if c > 0", Want::Error),
        row("p if input.zz == 1\np if c > 0\np if input.n == 1", Want::Error),
        row("p if data.foo == 1\np if c > 0", Want::Error),
        row("p if 1 in input.m[\"1\"]\np if input.n in {1, 2}\np if c > 0", Want::Error),
        row("p if glob.match(\"x\", [\"/\"], input.s)\np if input.n == 1\np if c > 0", Want::Error),
        row("f(x) if x == 1\nf(x) if c > 0\np := f(1)", Want::Error),
        row("p := x if { x := true }\np if c > 0", Want::Error),
        row("p if true\np if c > 0", Want::Value("true")),
        row("p if q\np if c > 0\nq := true", Want::Value("true")),
        row("p if input.n == 1\np if { input.n == 1; c > 0 }", Want::Value("true")),
        row("p if input.n\np if { input.n == 1; c > 0 }", Want::Value("true")),
        row("p if { input.n == 1; c > 0 }\np if input.n", Want::Value("true")),
        row("p if { input.m; c > 0 }\np if { input.n == 1; input.n }\np if input.n", Want::Error),
        row("f(1) if true\nf(x) if c > 0\np := f(1)", Want::Value("true")),
    ]);
}

#[test]
fn parts_of_paths_are_found_in_data_as_the_store_finds_them() {
    let data = r#"{"d": {"a": ["x"], "b": {"0": "y"}, "c": [["z"]]}}"#;
    check(&[
        (
            "package t\np contains x if { some k; x := data.d[k][\"0\"] }",
            data,
            "{}",
            Want::Value(r#"["x","y",["z"]]"#),
        ),
        (
            "package t\np contains x if { some k; x := data.d[k][0] }",
            data,
            "{}",
            Want::Value(r#"["x","y",["z"]]"#),
        ),
        (
            "package t\np contains x if { some k; x := data.d.c[k][\"0\"] }",
            data,
            "{}",
            Want::Value(r#"["z"]"#),
        ),
        (
            "package t\np contains x if { some k; x := data.d.c[\"0\"][k] }",
            data,
            "{}",
            Want::Value(r#"["z"]"#),
        ),
        (
            "package t\np contains x if { some d in data.d; x := d[\"0\"] }",
            data,
            "{}",
            Want::Value(r#"["y"]"#),
        ),
    ]);
}

#[test]
fn a_negation_of_what_is_undefined_is_undefined_where_its_arguments_are() {
    let allow = |condition: &str| -> &'static str {
        format!("package t\ndefault p := false\np if {{ {condition} }}\nf(x) := x\ng(_) := true\nh contains 1\nz := false").leak()
    };
    let data = r#"{"blocked": {"mallory": true, "eve": false}, "list": ["mallory"]}"#;
    let row = |condition: &str, input: &'static str, holds: bool| {
        (allow(condition), data, input, Want::Value(if holds { "true" } else { "false" }))
    };
    check(&[
        // What stands in brackets and in arguments is looked up outside of the negation.
        row("not data.blocked[input.user]", "{}", false),
        row("not data.blocked[input.user]", r#"{"user": "alice"}"#, true),
        row("not data.blocked[input.user]", r#"{"user": "eve"}"#, true),
        row("not data.blocked[input.user]", r#"{"user": "mallory"}"#, false),
        row("not startswith(input.path, \"/admin\")", "{}", false),
        row("not startswith(input.path, \"/admin\")", r#"{"path": 1}"#, true),
        row("not startswith(input.path, \"/admin\")", r#"{"path": "/a"}"#, true),
        row("not f(input.x)", "{}", false),
        row("not f(input.x)", r#"{"x": false}"#, true),
        row("not g(input.x)", "{}", false),
        row("not input.user in data.list", "{}", false),
        row("not input.user in data.list", r#"{"user": "a"}"#, true),
        row("not input.user in data.none", r#"{"user": "a"}"#, false),
        row("not input.x > 1", "{}", false),
        row("not input.x != 1", "{}", false),
        row("not input.x + 1 == 2", "{}", false),
        row("not count(input.x) == 0", r#"{"x": 5}"#, false),
        row("not count([y | y := input.x[_]]) > 0", "{}", true),
        row("not {1 | input.x} == {1}", "{}", true),
        row("not [input.x] == [1]", "{}", false),
        row("not {\"a\": input.x}", "{}", false),
        row("not h[input.x]", "{}", false),
        // A reference and an equation are undefined inside of it.
        row("not input.x", "{}", true),
        row("not input.x.y.z", r#"{"x": 1}"#, true),
        row("not input.x == 1", "{}", true),
        row("not 1 == input.x", "{}", true),
        row("not input.x = 1", "{}", true),
        row("not input.x == input.y", "{}", true),
        row("not data.t.none", "{}", true),
        row("not z", "{}", true),
        row("not h[2]", "{}", true),
        row("not input.x with input as {}", r#"{"x": 1}"#, true),
        row("not input.x with input.x as input.y", "{}", false),
        row("not data.blocked[input.user] with input.user as \"a\"", "{}", true),
    ]);
}

#[test]
fn all_definitions_of_a_member_are_looked_at_in_v0() {
    let both = "package t\nc = 1 { true }\nc = 2 { true }\np = q.r { true }\nq.r = true { true }\nq.r = true { c > 0 }";
    let longer = "package t\nc = 1 { true }\nc = 2 { true }\np = q.r.s { true }\nq.r.s = true { true }\nq.r.s = true { c > 0 }";
    check_in(
        Version::V0,
        Oracle::Same,
        &[(both, "{}", "{}", Want::Error), (longer, "{}", "{}", Want::Value("true"))],
    );
}

#[test]
fn a_rule_in_the_place_of_a_function_is_looked_at_where_the_function_is_called() {
    let row = |body: &str, want| {
        let rules = "f(x) := x\nv := 7\nu := 1 if input.zz\nc := 1\nc := 2\nb := [1, 2]\ns contains 1";
        let module: &'static str = format!("package t\n{rules}\np := x if {{ {body} }}").leak();
        (module, r#"{"cfg": 3}"#, r#"{"n": 2}"#, want)
    };
    check(&[
        row("x := f(1) with f as v", Want::Value("7")),
        row("x := f(1) with f as data.t.b", Want::Value("[1,2]")),
        row("x := f(1) with f as s", Want::Value("[1]")),
        row("x := f(1) with f as u", Want::Undefined),
        row("x := f(1) with f as input.n", Want::Value("2")),
        row("x := f(1) with f as data.cfg", Want::Value("3")),
        row("x := 1; true with f as u", Want::Value("1")),
        row("x := 1; true with f as c", Want::Value("1")),
        row("x := f(1) with f as c", Want::Error),
        row("x := 1; true with count as u", Want::Value("1")),
        row("x := 1; f(1) with f as u", Want::Value("1")),
        row("x := 1; not f(1) with f as u", Want::Undefined),
        row("x := f(1) with f as v with data.t.v as 8", Want::Value("8")),
        row("x := f(1) with data.t.v as 8 with f as v", Want::Value("8")),
        row("x := count([1]) with count as v", Want::Value("7")),
        row("x := 1; f(1) > 6 with f as v", Want::Value("1")),
        row("x := 1; v.b with data.t.v.b as 2", Want::Refused),
        row("x := 1; s.b with data.t.s.b as 2", Want::Refused),
    ]);
}

#[test]
fn the_whole_input_is_a_reference_like_its_parts() {
    let allow = |condition: &str| -> &'static str {
        format!("package t\ndefault p := false\np if {{ {condition} }}\nf(_) := true\ng(x) := x").leak()
    };
    let row = |condition: &str, input: &'static str, holds: bool| {
        (allow(condition), "{}", input, Want::Value(if holds { "true" } else { "false" }))
    };
    check(&[
        row("not count(input)", "", false),
        row("not count(input) == 1", "", false),
        row("not is_number(input)", "", false),
        row("not is_number(input)", "{}", true),
        row("not 10 in input", "", false),
        row("not 10 in input", "[]", true),
        row("not f(input)", "", false),
        row("not g(input)", "false", true),
        row("not input != 1", "", false),
        row("not {\"a\": input} == {\"a\": 1}", "", false),
        row("not is_object([input])", "", false),
        row("not input", "", true),
        row("not input == 1", "", true),
        row("not 1 = input", "", true),
        row("not count(input) with input as [1]", "", false),
        row("every x in [1] { not 10 in input; x == 1 }", "", false),
        row("not false in [y | y := is_null(input)]", "", true),
    ]);
}

#[test]
fn elements_and_keys_are_looked_at_in_their_order() {
    let conflict =
        |set: &str| -> &'static str { format!("package t\nc := 1\nc := 2\np if input.n == {set}").leak() };
    check(&[
        (conflict("{{null, data.d.x[_], true}, c}"), "{}", "{}", Want::Error),
        (conflict("{[input.zz[_]], c}"), "{}", "{}", Want::Error),
        (conflict("{c, [input.zz[_]]}"), "{}", "{}", Want::Error),
        (conflict("{input.zz[_], c}"), "{}", "{}", Want::Error),
        (conflict("{c, data.a}"), "{}", "{}", Want::Undefined),
        (conflict("{input.zz[_]: 1, c: 2}"), "{}", "{}", Want::Error),
        (conflict("{c: 2, data.a: 1}"), "{}", "{}", Want::Undefined),
        (
            "package t\np := g if { g := {input.m: \"i\", data.d: \"d\", null: \"n\"} }",
            r#"{"d": null}"#,
            r#"{"m": null}"#,
            Want::Value(r#"{"null":"i"}"#),
        ),
        (
            "package t\np := g if { x := null; g := {data.d: \"d\", x: \"x\", null: \"n\"} }",
            r#"{"d": null}"#,
            "{}",
            Want::Value(r#"{"null":"d"}"#),
        ),
    ]);
}

#[test]
fn an_error_is_met_in_a_definition_that_the_index_does_not_leave_out() {
    let rule = |body: &str, input: &'static str, want| {
        let others = "p if input.m == 1\np if input.m == 2\np if input.m == 3";
        let module: &'static str =
            format!("package t\nc := 1\nc := 2\np if {{ c > 0; {body} }}\n{others}").leak();
        (module, "{}", input, want)
    };
    check(&[
        rule("input.m == 4", r#"{"m": 5}"#, Want::Undefined),
        rule("input.m == 4", r#"{"m": 4}"#, Want::Error),
        rule("input.m == 4", r#"{"m": [4]}"#, Want::Error),
        rule("input.m == 4", r#"{"m": {"x": 4}}"#, Want::Error),
        rule("input.m == 4", r#"{"m": [1, 2, 3]}"#, Want::Undefined),
        rule("input.m in {4, 6}", r#"{"m": 6}"#, Want::Error),
        rule("input.m in {4, 6}", r#"{"m": 7}"#, Want::Undefined),
        rule("x := input.m; x == 4", r#"{"m": 5}"#, Want::Undefined),
        rule("count(input.m); x := input.m; x == 4", r#"{"m": 5}"#, Want::Error),
        rule("input.m == 4; input.m == 6", r#"{"m": 6}"#, Want::Error),
        rule("x := input.m; y := x; y == 4", r#"{"m": 5}"#, Want::Error),
        rule("x := input.u; x.m == 4", r#"{"m": 5, "u": {}}"#, Want::Error),
        rule("input.m == {4}", r#"{"m": 5}"#, Want::Error),
        rule("input.m == 4", r#"{"m": 1}"#, Want::Value("true")),
    ]);
}

#[test]
fn names_in_an_every_are_those_that_it_declares_at_last() {
    let every = |body: &str| -> &'static str {
        format!("package t\np if {{ every q in input.s {{ {body}; q == 2 }} }}").leak()
    };
    let row = |body: &str, want| (every(body), "{}", r#"{"s": [2]}"#, want);
    check(&[
        row("v := [1 | v = 1]", Want::Refused),
        row("v := [1 | v = 1][0]", Want::Refused),
        row("v := {\"a\": [1 | v = 1]}", Want::Refused),
        row("v := [1 | walk({1}, [v, _])]", Want::Refused),
        row("some y in [1 | walk({1}, [v, y])]; v := y", Want::Refused),
        row("w := [1 | v = 1]; count(w) == 1", Want::Value("true")),
        row("w := [1 | v = 1]; v := 2; count(w) == 0", Want::Value("true")),
        row("w := [1 | v = 1]; v := 1; count(w) == 1", Want::Value("true")),
        row("x := 1; v := [1 | x > 0; v = 1]; count(v) == 1", Want::Value("true")),
        row("every z in [2] { v := [1 | v = 1]; z == 2 }", Want::Refused),
        row("input.s[g]; every z in [g] { some g in [1]; z == g }", Want::Refused),
        row("input.s[g]; every z in [1 | g == 0] { some g in [1]; z == g }", Want::Refused),
        row("every z in [g | g = 1] { some g in [1]; z == g }", Want::Value("true")),
        row("every z in [1 | input.s with input as v] { v := 1; z == v }", Want::Refused),
        row("every z in [1] { some g in [1]; z == g } with input as g", Want::Refused),
        row("every z in [g | g = 1] { z == 1 }", Want::Value("true")),
    ]);
    // OPA compares `v` before it has a value.
    check_against(Oracle::Takes, &[row("v := count([v | v = 1])", Want::Refused)]);
    check(&[("package t\np if { v := [1 | v = 1]; count(v) == 1 }", "{}", "{}", Want::Value("true"))]);
}

//! What statements are as rules: heads, bodies, `else` branches, defaults and imports in both versions.
use super::*;

const V1: &[Row] = &[
    (Version::V1, "p := 1", &["(p) := 1 if true"]),
    (Version::V1, "p = 1", &["(p) := 1 if true"]),
    (Version::V1, "p if x", &["(p) := true if x"]),
    (Version::V1, "p := 1 if { x; y }", &["(p) := 1 if x; y"]),
    (Version::V1, "p[x] := 1 if x", &["(p x) := 1 if x"]),
    (Version::V1, "p.q.r if x", &[r#"(p "q" "r") := true if x"#]),
    (Version::V1, "p[x] if x", &["(p x) := true if x"]),
    (Version::V1, "p contains x if x", &["(p) contains x if x"]),
    (Version::V1, "p.q contains x", &[r#"(p "q") contains x if true"#]),
    (Version::V1, "a.b.c[x].d := 1 if x", &[r#"(a "b" "c" x "d") := 1 if x"#]),
    (Version::V1, "p[x].q contains [x, y] if { x; y }", &[r#"(p x "q") contains (array x y) if x; y"#]),
    (Version::V1, "f(x) := y if y := x", &["(f) (args x) := y if (call assign y x)"]),
    (Version::V1, "f(x)", &["(f) (args x) := true if true"]),
    (
        Version::V1,
        r#"f([a, {"b": b}], _) if a = b"#,
        &[r#"(f) (args (array a (object "b":b)) _) := true if (call eq a b)"#],
    ),
    (Version::V1, "a[b](c) := 1 if c", &["(a b) (args c) := 1 if c"]),
    (Version::V1, "f() := 1", &["(f) := 1 if true"]),
    (Version::V1, r#"default p := {"a": [1]}"#, &[r#"default (p) := (object "a":(array 1)) if true"#]),
    (Version::V1, "default p", &["default (p) := true if true"]),
    (
        Version::V1,
        "default f(_, x, _) := [y | y := x]",
        &["default (f) (args _ x _) := [y | (call assign y x)] if true"],
    ),
    (
        Version::V1,
        "p if x else := 1 if y else = 2 if { z } else if w else := 3",
        &[
            "(p) := true if x else (p) := 1 if y else (p) := 2 if z else (p) := true if w else (p) := 3 if true",
        ],
    ),
    (
        Version::V1,
        "f(x) if { x } { y } { z }",
        &["(f) (args x) := true if x", "(f) (args x) := true if y", "(f) (args x) := true if z"],
    ),
    (Version::V1, "p if x { y }", &["(p) := true if x", "(p) := true if y"]),
    (Version::V1, "p if { {1} }", &["(p) := true if (set 1)"]),
    (Version::V1, r#"p if {"a": 1}"#, &[r#"(p) := true if (object "a":1)"#]),
    (Version::V1, "p if { x | y }", &["(p) := true if {x | y}"]),
    (Version::V1, "p if {1} == {2}", &["(p) := true if (call equal (set 1) (set 2))"]),
    (Version::V1, "p := 1 q := 2", &["(p) := 1 if true", "(q) := 2 if true"]),
    (
        Version::V1,
        "p := 1 if x\nq if y # c\nr := [\n  1, # d\n\n  2,\n]",
        &["(p) := 1 if x", "(q) := true if y", "(r) := (array 1 2) if true"],
    ),
    (
        Version::V1,
        "if.x := 1\nnot[1] := 2\ndefault.a if contains.b",
        &[r#"(if "x") := 1 if true"#, "(not 1) := 2 if true", r#"(default "a") := true if (contains "b")"#],
    ),
    (Version::V1, "p := q if[1] := 2", &["(p) := q if true", "(if 1) := 2 if true"]),
    (Version::V1, "p if x else.y := 2", &["(p) := true if x", r#"(else "y") := 2 if true"#]),
    (Version::V1, "eq(p, 1)", &["(p) := 1 if true"]),
    (Version::V1, "x + y = 3", &["(plus) (args x y) := 3 if true"]),
    (Version::V1, "input = 1", &["(input) := 1 if true"]),
    (Version::V1, "import future.keywords.every\np if every.x", &[r#"(p) := true if (every "x")"#]),
    (Version::V1, "import data.a.if as b\np := b", &["(p) := b if true"]),
];

#[test]
fn statements_of_v1_are_the_rules_that_opa_makes_of_them() {
    check("rules-v1", V1);
}

const V0: &[Row] = &[
    (Version::V0, "p { x }", &["(p) := true if x"]),
    (Version::V0, "p[x] { x }", &["(p) contains x if x"]),
    (Version::V0, "p[x]", &["(p) contains x if true"]),
    (Version::V0, r#"p["a"] { x }"#, &[r#"(p) contains "a" if x"#]),
    (Version::V0, "p.q.r", &[r#"(p "q" "r") := true if true"#]),
    (Version::V0, "p.q.r { x }", &[r#"(p "q" "r") := true if x"#]),
    (Version::V0, "p[x] = y { x }", &["(p x) := y if x"]),
    (Version::V0, "p[x].q { x }", &[r#"(p x "q") := true if x"#]),
    (Version::V0, "p { x } { y } { z }", &["(p) := true if x", "(p) := true if y", "(p) := true if z"]),
    (
        Version::V0,
        "p = 1 { x } else = 2 { y } else { z } else = 3",
        &["(p) := 1 if x else (p) := 2 if y else (p) := true if z else (p) := 3 if true"],
    ),
    (Version::V0, "f(x) { x }", &["(f) (args x) := true if x"]),
    (Version::V0, "p { {1} }", &["(p) := true if (set 1)"]),
    (
        Version::V0,
        "if = in\nevery[contains] { contains(x, y) }",
        &["(if) := in if true", "(every) contains contains if (call contains x y)"],
    ),
    (Version::V0, "p(x) if { x = 2 }", &["(p) (args x) := true if true", "(if) := true if (call eq x 2)"]),
    (
        Version::V0,
        "import future.keywords.if\np if x\nq[x] if x\nr[x] { x }",
        &["(p) := true if x", "(q x) := true if x", "(r) contains x if x"],
    ),
    (Version::V0, "import future.keywords.contains\np contains 1", &["(p) contains 1 if true"]),
    (
        Version::V0,
        "import future.keywords\np contains x if { some x in y; every.x }",
        &[r#"(p) contains x if some x in y; (every "x")"#],
    ),
    (
        Version::V0,
        "import rego.v1\np contains x if every x in [1] { x }",
        &["(p) contains x if every x in (array 1) {x}"],
    ),
    (
        Version::V0,
        "import future.keywords.every\nif = 1\np { every x in y { x } }",
        &["(if) := 1 if true", "(p) := true if every x in y {x}"],
    ),
    (Version::V0, "import data.x\nnot := 1", &["(not) := 1 if true"]),
    (Version::V1, "import rego.v1 as v\np.q contains x.y", &[r#"(p "q") contains (x "y") if true"#]),
    (
        Version::V0,
        "import future.keywords.in\nimport future.keywords.not",
        &[
            "3:8: the keyword `not` of `future.keywords` is experimental and not supported; write a rule for what is negated, and `not` before its name, instead",
        ],
    ),
    (
        Version::V0,
        "import future.keywords.if\nimport future.keywords.contains\nf(x) if x in [1]\np contains f(x)",
        &[
            "4:11: this cannot be a rule: write `name := value`, `name if …` or `name contains member` (`import rego.v1` makes `in` a keyword)",
        ],
    ),
    (
        Version::V1,
        "package.x := 1\nimport.y := 2",
        &[r#"(package "x") := 1 if true"#, r#"(import "y") := 2 if true"#],
    ),
    (
        Version::V1,
        "f (x) := 1 if { x }\ng\n[y] := 2 if { y }",
        &["(f) (args x) := 1 if x", "(g y) := 2 if y"],
    ),
];

#[test]
fn statements_of_v0_are_the_rules_that_opa_makes_of_them() {
    check("rules-v0", V0);
}

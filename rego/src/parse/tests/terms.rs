//! What terms, expressions and bodies are.
use super::*;

const SCALARS: &[Row] = &[
    (
        Version::V1,
        r#"p := [null, true, false, 0, -1, 1.50, 1e5, 2E-3, - 4, "", "a", `b`]"#,
        &[r#"(p) := (array null true false 0 -1 1.50 1e+5 2e-3 -4 "" "a" "b") if true"#],
    ),
    (Version::V1, "p := [.5, -. 5, 0.5]", &["(p) := (array 0.5 -0.5 0.5) if true"]),
    (
        Version::V1,
        r#"p := "\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00\ud83d\u0041\udead""#,
        &[r#"(p) := "\"\\/\u{8}\u{c}\n\r\té😀�A�" if true"#],
    ),
    (Version::V1, "p := `a\\n\"\nb`", &[r#"(p) := "a\\n\"\nb" if true"#]),
    (Version::V1, r#"p := "	é""#, &[r#"(p) := "\té" if true"#]),
    (Version::V1, "p := [x, _, contains, input, data]", &["(p) := (array x _ contains input data) if true"]),
    (
        Version::V1,
        r#"p := a.b["c"][d].if.not[e.f][0]"#,
        &[r#"(p) := (a "b" "c" d "if" "not" (e "f") 0) if true"#],
    ),
    (
        Version::V1,
        r#"p := [f(), f(1), f(1, 2,), a.b["c"](1), f(1)[0].x]"#,
        &[
            r#"(p) := (array (call f) (call f 1) (call f 1 2) (call (a "b" "c") 1) ((call f 1) 0 "x")) if true"#,
        ],
    ),
    (
        Version::V1,
        r#"p := [[1][0], {1}[1], {"a": 1}.a, [x | x][0], (a)[0], (a)(1), (1 + a)[0], set()[1], f(x).y]"#,
        &[
            r#"(p) := (array ((array 1) 0) ((set 1) 1) ((object "a":1) "a") ([x | x] 0) (a 0) (call a 1) ((call plus 1 a) 0) ((set) 1) ((call f x) "y")) if true"#,
        ],
    ),
    (
        Version::V1,
        "p := [-a, -a.b[0], -f(x), a - b, a -1, 1 - -1]",
        &[
            r#"(p) := (array (call minus 0 a) (call minus 0 (a "b" 0)) (call minus 0 (call f x)) (call minus a b) (call minus a 1) (call minus 1 -1)) if true"#,
        ],
    ),
];

#[test]
fn scalars_references_and_calls_are_what_opa_makes_of_them() {
    check("terms-scalars", SCALARS);
}

const OPERATORS: &[Row] = &[
    (
        Version::V1,
        "p := a + b * c - d / e % f",
        &["(p) := (call minus (call plus a (call mul b c)) (call rem (call div d e) f)) if true"],
    ),
    (
        Version::V1,
        "p := a | b & c == d + e | f",
        &["(p) := (call equal (call or a (call and b c)) (call or (call plus d e) f)) if true"],
    ),
    (Version::V1, "p := a == b != c < d", &["(p) := (call lt (call neq (call equal a b) c) d) if true"]),
    (
        Version::V1,
        "p := a in b in c == d",
        &[r#"(p) := (call (internal "member_2") (call (internal "member_2") a b) (call equal c d)) if true"#],
    ),
    (
        Version::V1,
        "p := a, b in c in d",
        &[r#"(p) := (call (internal "member_2") (call (internal "member_3") a b c) d) if true"#],
    ),
    (
        Version::V1,
        "p := [a, b in c, (a, b in c)]",
        &[r#"(p) := (array a (call (internal "member_2") b c) (call (internal "member_3") a b c)) if true"#],
    ),
    (Version::V1, "p := x[a, b in c]", &[r#"(p) := (x (call (internal "member_3") a b c)) if true"#]),
    (Version::V1, "p := (((1 + 2))) * 3", &["(p) := (call mul (call plus 1 2) 3) if true"]),
];

#[test]
fn operators_bind_as_in_opa() {
    check("terms-operators", OPERATORS);
}

const COLLECTIONS: &[Row] = &[
    (
        Version::V1,
        r#"p := [[], [1,], [,1], [1, 2], {}, {1}, {,1}, {1,}, {1, 2}, {1: 2}, {1: 2,}, {"a": 1, b: c, f(x): {}}, set(), set(1)]"#,
        &[
            r#"(p) := (array (array) (array 1) (array 1) (array 1 2) (object) (set 1) (set 1) (set 1) (set 1 2) (object 1:2) (object 1:2) (object "a":1 (call f x):(object) b:c) (set) (call set 1)) if true"#,
        ],
    ),
    (Version::V1, "p := [x | y]", &["(p) := [x | y] if true"]),
    (Version::V1, "p := [x | y; z\nw]", &["(p) := [x | y; z; w] if true"]),
    (Version::V1, "p := [1 | 2, 3]", &["(p) := (array (call or 1 2) 3) if true"]),
    (Version::V1, "p := [1 | 2,]", &["(p) := (array (call or 1 2)) if true"]),
    (
        Version::V1,
        "p := [1 | 2 & 3 == 4, 5]",
        &["(p) := (array (call equal (call or 1 (call and 2 3)) 4) 5) if true"],
    ),
    (
        Version::V1,
        "p := [1 | x in y, 2]",
        &[r#"(p) := (array (call (internal "member_2") (call or 1 x) y) 2) if true"#],
    ),
    (Version::V1, "p := [1 | x, y in z]", &[r#"(p) := [1 | (call (internal "member_3") x y z)] if true"#]),
    (
        Version::V1,
        "p := [1 | x, y in z, 2]",
        &[r#"(p) := (array (call or 1 x) (call (internal "member_2") y z) 2) if true"#],
    ),
    (
        Version::V1,
        "p := [1 | x, y in z = 3; w]",
        &[r#"(p) := [1 | (call eq (call (internal "member_3") x y z) 3); w] if true"#],
    ),
    (Version::V1, "p := [a + 1 | b]", &["(p) := (array (call or (call plus a 1) b)) if true"]),
    (Version::V1, "p := [,a | b]", &["(p) := (array (call or a b)) if true"]),
    (Version::V1, "p := [(a | b)]", &["(p) := (array (call or a b)) if true"]),
    (Version::V1, "p := {x | y}", &["(p) := {x | y} if true"]),
    (Version::V1, "p := {a | b, c}", &["(p) := (set (call or a b) c) if true"]),
    (Version::V1, "p := {a | b} | {c | d}", &["(p) := (call or {a | b} {c | d}) if true"]),
    (
        Version::V1,
        "p := {a + 1: b, (c | d): e}",
        &["(p) := (object (call or c d):e (call plus a 1):b) if true"],
    ),
    (Version::V1, "p := {k: v | k; v}", &["(p) := {k:v | k; v} if true"]),
    (Version::V1, "p := {k: v | w, 1: 2}", &["(p) := (object 1:2 k:(call or v w)) if true"]),
    (
        Version::V1,
        "p := {k: v | w, 1 in x: 2}",
        &[r#"(p) := (object (call (internal "member_2") 1 x):2 k:(call or v w)) if true"#],
    ),
    (
        Version::V1,
        "p := {k: v | a, b in c}",
        &[r#"(p) := {k:v | (call (internal "member_3") a b c)} if true"#],
    ),
    (Version::V1, "p := {k: v + 1 | w}", &["(p) := (object k:(call or (call plus v 1) w)) if true"]),
    (Version::V1, "p := {k: v | w,}", &["(p) := (object k:(call or v w)) if true"]),
    (
        Version::V1,
        "p := [x | some x in y; not z; every.a]",
        &[r#"(p) := [x | some x in y; not z; (every "a")] if true"#],
    ),
];

#[test]
fn a_bar_is_a_comprehensions_or_a_unions_as_in_opa() {
    check("terms-collections", COLLECTIONS);
}

const BODIES: &[Row] = &[
    (
        Version::V1,
        "p if { x = y; x := y; x == y }",
        &["(p) := true if (call eq x y); (call assign x y); (call equal x y)"],
    ),
    (
        Version::V1,
        "p if { not x; not.x; not f(y) = 1 }",
        &[r#"(p) := true if not x; (not "x"); not (call eq (call f y) 1)"#],
    ),
    (Version::V1, "p if { some x; some x, y; some _ }", &["(p) := true if some x; some x y; some _"]),
    (
        Version::V1,
        r#"p if { some x in y; some k, v in y; some [a, 1], {"b": c} in d; some x.y in z }"#,
        &[
            r#"(p) := true if some x in y; some k v in y; some (array a 1) (object "b":c) in d; some (x "y") in z"#,
        ],
    ),
    (
        Version::V1,
        "p if { some a, b\n-a == b }",
        &["(p) := true if some a b; (call equal (call minus 0 a) b)"],
    ),
    (Version::V1, "p if { some a\nin.x }", &[r#"(p) := true if some a; (in "x")"#]),
    (
        Version::V1,
        "p if { every x in y { x }; every k, _ in y { x; z } with input as 1 }",
        &["(p) := true if every x in y {x}; every k _ in y {x; z} with input as 1"],
    ),
    (
        Version::V1,
        r#"p if { x with input as 1; not x with data.a["b c"].d as y with f as g; some x in y with input.z as 1, 2 in w }"#,
        &[
            r#"(p) := true if x with input as 1; not x with (data "a" "b c" "d") as y with f as g; some x in y with (input "z") as (call (internal "member_3") 1 2 w)"#,
        ],
    ),
    (
        Version::V1,
        r#"p := [$"", $"a", $"{x}", $"a{x}b{f(y)}{1}\n", $"\{{ {"a": 1}.a }}"]"#,
        &[
            r#"(p) := (array (template) (template "a") (template x) (template "a" x "b" (call f y) 1 "\n") (template "{" ((object "a":1) "a") "}")) if true"#,
        ],
    ),
    (
        Version::V1,
        "p := [$`a\n{x}\\n\\{`, $\"{$`{$\"{x}\"}`}\", $\"{x == 1}\", $\"{x with input as 1}\"]",
        &[
            r#"(p) := (array (template "a\n" x "\\n{") (template (template (template x))) (template (call equal x 1)) (template x with input as 1)) if true"#,
        ],
    ),
    (Version::V1, "p := $\"{ x # }\n}\"", &["(p) := (template x) if true"]),
    (Version::V1, "p := a٣", &["(p) := a٣ if true"]),
    (
        Version::V1,
        "p := [1e30102, 1e-30103, 0e99999, 0.0e-99999, 9007199254740993, 123456789012345678901234567890]",
        &[
            "(p) := (array 1e+30102 1e-30103 0e+99999 0.0e-99999 9007199254740993 123456789012345678901234567890) if true",
        ],
    ),
    (Version::V1, r#"p := {"a": 1, "a": 2, 1.0: 1}"#, &[r#"(p) := (object "a":2 1.0:1) if true"#]),
    (
        Version::V1,
        r#"p := a.b[{"c": [1]}][1][true][_]"#,
        &[r#"(p) := (a "b" (object "c":(array 1)) 1 true _) if true"#],
    ),
    (
        Version::V1,
        "p := x[y]\n[z]",
        &["3:1: this cannot be a rule: write `name := value`, `name if …` or `name contains member`"],
    ),
    (Version::V1, "p if { x\n[y]\n(z)\n-w }", &["(p) := true if x; (array y); (call minus z w)"]),
    (
        Version::V1,
        "p if { x := f(y)\nwith := 2 }",
        &[
            "3:6: unexpected `:=`: expected what `with` replaces: `input`, a part of `input` or `data`, or a function",
        ],
    ),
    (Version::V1, "p := [1 |\nnot x]", &["(p) := [1 | not x] if true"]),
    (Version::V1, "p := [1 | true.x]", &[r#"(p) := [1 | (true "x")] if true"#]),
    (Version::V1, "p := [1 | true.x, 2]", &[r#"(p) := (array (call or 1 (true "x")) 2) if true"#]),
    (
        Version::V1,
        "p := [1 | a, b in[c]]",
        &[r#"(p) := [1 | (call (internal "member_3") a b (array c))] if true"#],
    ),
    (
        Version::V1,
        "p := [1 | a, b in[c], d]",
        &["2:21: unexpected `,`: expected a new line, `;`, `]` or an operator"],
    ),
    (
        Version::V1,
        "p := x in[y]",
        &["2:8: `in` is a keyword and cannot be a rule's name; an operator needs space before a bracket"],
    ),
];

#[test]
fn expressions_are_what_opa_makes_of_them() {
    check("terms-bodies", BODIES);
}

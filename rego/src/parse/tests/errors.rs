//! What is refused, where and with what advice.
use super::*;

const RULES: &[Row] = &[
    (Version::V1, "p {\n  x\n}", &["2:3: `if` keyword is required before rule body: write `if {`"]),
    (
        Version::V1,
        "p := 1 if x else := 2 { y }",
        &["2:23: `if` keyword is required before rule body: write `else := value if {`"],
    ),
    (
        Version::V1,
        "p[x]",
        &["2:1: `contains` keyword is required for partial set rules: write `name contains member if …`"],
    ),
    (
        Version::V1,
        "p.q.r",
        &["2:1: a rule must have a value or a body: write `name := value` or `name if …`"],
    ),
    (
        Version::V1,
        "p",
        &["2:1: this cannot be a rule: write `name := value`, `name if …` or `name contains member`"],
    ),
    (
        Version::V1,
        "p == 1",
        &["2:1: this cannot be a rule, being a call of a builtin function or an operator"],
    ),
    (
        Version::V1,
        "count + 1",
        &["2:1: this cannot be a rule, being a call of a builtin function or an operator"],
    ),
    (
        Version::V1,
        r#""a""#,
        &["2:1: this cannot be a rule: write `name := value`, `name if …` or `name contains member`"],
    ),
    (Version::V1, "some x", &["2:1: `some` cannot be a rule: write `name if …`"]),
    (Version::V1, "not x", &["2:1: a negated expression cannot be a rule: write `name if …`"]),
    (
        Version::V1,
        "p := 1; q := 2",
        &[
            "2:7: unexpected `;`: expected a new line and the next rule: a rule without a body is one expression",
        ],
    ),
    (
        Version::V1,
        "p := x with input as 1",
        &["2:1: an expression with `with` cannot be a rule: write `name if …`"],
    ),
    (Version::V1, "p := ", &["2:6: unexpected end of the text: expected a term"]),
    (Version::V1, "p := 1 +", &["2:9: unexpected end of the text: expected a term"]),
    (Version::V1, "p if", &["2:5: unexpected end of the text: expected a term"]),
    (Version::V1, "p if {", &["2:7: unexpected end of the text: expected a term"]),
    (Version::V1, "p if {1}\nq if set()", &["3:6: a set cannot be a rule's body, for it is never false"]),
    (Version::V1, "p if { x y }", &["2:10: unexpected `y`: expected a new line, `;`, `}` or an operator"]),
    (Version::V1, "p if { x; }", &["2:11: unexpected `}`: expected a term"]),
    (Version::V1, "p if ( x == 1 }", &["2:15: unexpected `}`: expected `)` or an operator"]),
    (Version::V1, "p if x := y := z", &["2:13: unexpected `:=`: expected a term"]),
    (Version::V1, r#"p if { {"a": x + } }"#, &["2:18: unexpected `}`: expected a term"]),
    (Version::V1, "p contains", &["2:11: unexpected end of the text: expected a term"]),
    (
        Version::V1,
        "f(x) contains y",
        &[
            "2:6: unexpected keyword `contains`: expected the value of a function: only a rule without parameters can be a set",
        ],
    ),
    (Version::V1, "f(x).y := 1", &["2:5: a rule's name cannot go on behind its parameters"]),
    (Version::V1, "p := 1 if x\n }", &["3:2: unexpected `}`: expected a term"]),
    (Version::V1, "p+1 = 2", &["2:2: unexpected `+` after a rule's name"]),
    (Version::V1, "p==1", &["2:2: unexpected `==` after a rule's name: its value is given by `:=`"]),
    (Version::V1, "p[1](2).c if true", &["2:8: a rule's name cannot go on behind its parameters"]),
    (
        Version::V1,
        "or x",
        &[
            "2:4: unexpected `x`: expected `:=` and a value, or the rule's body (`or` as an operator is experimental and not supported; write a rule with several definitions, one for each alternative, instead)",
        ],
    ),
    (
        Version::V1,
        "p if x == y z",
        &["2:13: this cannot be a rule: write `name := value`, `name if …` or `name contains member`"],
    ),
];

#[test]
fn a_statement_that_is_no_rule_is_refused() {
    check("errors-rules", RULES);
}

const ELSE: &[Row] = &[
    (Version::V1, "p contains x else := 1", &["2:14: unexpected keyword `else`: expected a term"]),
    (
        Version::V1,
        "p contains x if y else := 1",
        &[
            "2:19: `else` must not follow a rule with `contains`: the members of a set come from all its rules",
        ],
    ),
    (Version::V1, "p[x] if x else := 1", &["2:11: `else` must not follow a rule with variables in its name"]),
    (
        Version::V1,
        "p if x else",
        &["2:12: unexpected end of the text: expected `:=` and a value, or a body, after `else`"],
    ),
    (Version::V1, "p if x else := 1 else := 2", &["2:18: unexpected keyword `else`: expected a term"]),
    (Version::V1, "p if { x } else if y { z }", &["2:22: unexpected `{`: expected `else` or the next rule"]),
    (
        Version::V1,
        "default p := x",
        &["2:14: the value of a default rule must be constant: it contains a variable"],
    ),
    (
        Version::V1,
        "default p := [input.a]",
        &["2:14: the value of a default rule must be constant: it contains a reference"],
    ),
    (
        Version::V1,
        "default p := 1 + 1",
        &["2:14: the value of a default rule must be constant: it contains a call or an operator"],
    ),
    (Version::V1, "default p.q", &["2:1: a default rule must have a value: `default name := value`"]),
    (Version::V1, "default f(1) := 1", &["2:11: the parameters of a default function must be variables"]),
    (
        Version::V1,
        "default f(x, x) := 1",
        &["2:14: a parameter of a default function must not be repeated: `x`"],
    ),
    (Version::V1, "default 1", &["2:9: unexpected `1`: expected a rule's name after `default`"]),
];

#[test]
fn branches_and_defaults_that_cannot_be_are_refused() {
    check("errors-else", ELSE);
}

const IMPORTS: &[Row] = &[
    (
        Version::V1,
        "package u",
        &["2:1: unexpected keyword `package`: expected a rule: a module has one package"],
    ),
    (
        Version::V1,
        "import foo.bar",
        &["2:8: unexpected import of `foo`: it must begin with `data`, `input`, `future` or `rego`"],
    ),
    (Version::V1, "import data.x[y]", &["2:8: an import must be a name, with names or strings after it"]),
    (
        Version::V1,
        "import data.if",
        &["2:8: an import of `if`, a keyword, needs another name: `import … as name`"],
    ),
    (
        Version::V1,
        "import data.x as if",
        &["2:18: unexpected keyword `if`: expected a name for the import after `as`"],
    ),
    (Version::V1, "import data.x as input", &["2:1: an import must not be called `input` or `data`"]),
    (Version::V1, "import rego", &["2:8: of `rego` only `rego.v1` can be imported"]),
    (Version::V1, "import future.x", &["2:8: of `future` only `future.keywords` can be imported"]),
    (
        Version::V1,
        "import future.keywords.foo",
        &[
            "2:8: the keywords that can be imported are `contains`, `every`, `if` and `in`, each as `future.keywords.name`",
        ],
    ),
    (
        Version::V1,
        "import future.keywords.in.x",
        &[
            "2:8: the keywords that can be imported are `contains`, `every`, `if` and `in`, each as `future.keywords.name`",
        ],
    ),
    (Version::V1, "import future.keywords.in as x", &["2:8: keywords cannot be imported under another name"]),
    (
        Version::V1,
        "import future.keywords.and",
        &[
            "2:8: the keyword `and` of `future.keywords` is experimental and not supported; write several expressions, one a line, instead",
        ],
    ),
    (
        Version::V1,
        "import future.keywords.or",
        &[
            "2:8: the keyword `or` of `future.keywords` is experimental and not supported; write a rule with several definitions, one for each alternative, instead",
        ],
    ),
    (
        Version::V1,
        "import future.keywords.not",
        &[
            "2:8: the keyword `not` of `future.keywords` is experimental and not supported; write a rule for what is negated, and `not` before its name, instead",
        ],
    ),
    (
        Version::V1,
        "p if x and y",
        &[
            "2:12: unexpected `y`: expected `:=` and a value, or the rule's body (`and` as an operator is experimental and not supported; write several expressions, one a line, instead)",
        ],
    ),
    (Version::V1, "contains := 1", &["2:1: `contains` is a keyword and cannot be a rule's name"]),
    (
        Version::V1,
        "# comment\nimport data.x as y.z",
        &["3:21: unexpected end of the text: expected a name for the import after `as`"],
    ),
];

#[test]
fn imports_that_cannot_be_are_refused() {
    check("errors-imports", IMPORTS);
}

const COLLECTIONS: &[Row] = &[
    (Version::V1, "p := [1, 2", &["2:11: unexpected end of the text: expected `,`, `]` or an operator"]),
    (Version::V1, "p := [1 2]", &["2:9: unexpected `2`: expected `,`, `]` or an operator"]),
    (Version::V1, "p := {1: 2, 3}", &["2:14: unexpected `}`: expected `:` and the key's value"]),
    (Version::V1, "p := {1: 2 3}", &["2:12: unexpected `3`: expected `,`, `}` or an operator"]),
    (Version::V1, "p := {a | b: c}", &["2:12: unexpected `:`: expected a new line, `;`, `}` or an operator"]),
    (Version::V1, "p := f(1, 2", &["2:12: unexpected end of the text: expected `,` or `)`"]),
    (Version::V1, "p := f(k, v in w | )", &["2:20: unexpected `)`: expected a term"]),
    (
        Version::V1,
        "p := (1, 2)",
        &["2:8: unexpected `,`: here it may stand only in `key, value in collection`"],
    ),
    (
        Version::V1,
        "p := x[1, 2]",
        &["2:9: unexpected `,`: here it may stand only in `key, value in collection`"],
    ),
    (Version::V1, "p := x.", &["2:8: unexpected end of the text: expected a name directly after the `.`"]),
    (Version::V1, "p := x. y", &["2:9: unexpected `y`: expected a name directly after the `.`"]),
    (Version::V1, "p := x.1", &["2:8: unexpected `1`: expected a name directly after the `.`"]),
    (Version::V1, "p := 1.a", &["2:6: a number must have a digit after its point"]),
    (Version::V1, r#"p := "a".b"#, &["2:6: a reference cannot begin with a string"]),
    (Version::V1, "p := 1[0]", &["2:6: a reference cannot begin with a number"]),
    (Version::V1, r#"p := $"a".b"#, &["2:6: a reference cannot begin with a template string"]),
    (Version::V1, "p := (a.b).c", &["2:11: a reference in parentheses cannot go on behind them"]),
    (
        Version::V1,
        "p := x[0](1)",
        &["2:6: a function is called by its name: a name, and names or strings after it"],
    ),
];

#[test]
fn collections_calls_and_references_that_do_not_end_are_refused() {
    check("errors-collections", COLLECTIONS);
}

const SCALARS: &[Row] = &[
    (Version::V1, "p := 01", &["2:6: a number must not begin with a needless zero"]),
    (Version::V1, "p := 1.", &["2:6: a number must have a digit after its point"]),
    (Version::V1, "p := 1e", &["2:6: a number must have a digit in its exponent"]),
    (Version::V1, "p := 1a", &["2:6: a number must not be followed directly by a name"]),
    (Version::V1, r#"p := -"a""#, &["2:7: unexpected string: expected a number"]),
    (
        Version::V1,
        "p := 1e30103",
        &["2:6: this number is too big or too small: its exponent is beyond 30102"],
    ),
    (
        Version::V1,
        r#"p := "a"#,
        &[r#"2:6: a string must end on its line with `"`; one of several lines is written in backticks"#],
    ),
    (Version::V1, "p := `a", &["2:6: a raw string must end with a backtick"]),
    (
        Version::V1,
        r#"p := "\x""#,
        &[
            r#"2:6: a backslash in a string must be followed by one of `\`, `"`, `/`, `b`, `f`, `n`, `r`, `t`, `u`; a string in backticks has no escapes"#,
        ],
    ),
    (Version::V1, r#"p := "\u12g4""#, &[r#"2:6: `\u` must be followed by four hexadecimal digits"#]),
    (
        Version::V1,
        r#"p := "\n	""#,
        &["2:6: a string with escapes must not contain control characters as such"],
    ),
    (Version::V1, "p := 'a'", &["2:6: a string is written in double quotes or in backticks"]),
    (Version::V1, "p := !x", &["2:6: a `!` has a meaning only in `!=`; a negation is written `not`"]),
    (Version::V1, "p := $x", &[r#"2:6: a `$` must be followed by a string: `$"…{term}…"`"#]),
    (Version::V1, "p := é", &["2:6: this character has no meaning outside of strings and comments"]),
    (
        Version::V1,
        r#"p := $"{x""#,
        &[r#"2:10: a string must end on its line with `"`; one of several lines is written in backticks"#],
    ),
    (Version::V1, r#"p := $"{}""#, &["2:9: unexpected `}`: expected a term"]),
    (
        Version::V1,
        r#"p := $"{x y}""#,
        &["2:11: unexpected `y`: expected `}` after the term of a template string"],
    ),
    (Version::V1, r#"p := $"{x := 1}""#, &["2:9: `:=` may not stand in a template string: only a term may"]),
    (Version::V1, r#"p := $"{not x}""#, &["2:9: `not` may not stand in a template string: only a term may"]),
    (
        Version::V1,
        r#"p := $"{some x in y}""#,
        &["2:9: `some` may not stand in a template string: only a term may"],
    ),
    (
        Version::V1,
        "p := 1e-30104",
        &["2:6: this number is too big or too small: its exponent is beyond 30102"],
    ),
    (Version::V1, "p := 007", &["2:6: a number must not begin with a needless zero"]),
    (Version::V1, r#"p := "\uD83""#, &[r#"2:6: `\u` must be followed by four hexadecimal digits"#]),
    (Version::V1, "p := $`a {", &["2:11: unexpected end of the text: expected a term"]),
];

#[test]
fn numbers_and_strings_that_cannot_be_are_refused() {
    check("errors-scalars", SCALARS);
}

const BODIES: &[Row] = &[
    (
        Version::V1,
        "p if every x { x }",
        &["2:12: `every` must be followed by `x in xs { … }` or `k, v in xs { … }`"],
    ),
    (
        Version::V1,
        "p if every x in y",
        &["2:18: unexpected end of the text: expected `{` and what must hold for `every` element"],
    ),
    (Version::V1, "p if every 1, x in y { x }", &["2:12: the key of `every` must be a variable"]),
    (Version::V1, "p if every input in y { x }", &["2:12: the value of `every` must be a variable"]),
    (
        Version::V1,
        "p if not some x in y",
        &[
            "2:10: unexpected keyword `some`: expected an expression after `not` (name a rule for it, and negate that)",
        ],
    ),
    (
        Version::V1,
        "p if some x + 1",
        &["2:11: `some` must be followed by variables, or by `x in xs` or `k, v in xs`"],
    ),
    (Version::V1, "p if some", &["2:10: unexpected end of the text: expected a term"]),
    (
        Version::V1,
        "p if x with 1 as 2",
        &[
            "2:13: unexpected `1`: expected what `with` replaces: `input`, a part of `input` or `data`, or a function",
        ],
    ),
    (
        Version::V1,
        "p if x with input.a[b] as 2",
        &["2:13: the target of `with` must be a name, with names or strings after it"],
    ),
    (
        Version::V1,
        "p if x with input 2",
        &["2:19: unexpected `2`: expected `as` and the value that `with` puts in the target's place"],
    ),
    (Version::V1, "p if x with input as", &["2:21: unexpected end of the text: expected a term"]),
];

#[test]
fn expressions_that_cannot_be_are_refused() {
    check("errors-bodies", BODIES);
}

const V0: &[Row] = &[
    (
        Version::V0,
        "p contains x",
        &[
            "2:3: unexpected `contains`: expected `:=` and a value, or the rule's body (`import rego.v1` makes `contains` a keyword)",
        ],
    ),
    (
        Version::V0,
        "p if x",
        &[
            "2:3: unexpected `if`: expected `:=` and a value, or the rule's body (`import rego.v1` makes `if` a keyword)",
        ],
    ),
    (
        Version::V0,
        "p { x in y }",
        &[
            "2:7: unexpected `in`: expected a new line, `;`, `}` or an operator (`import rego.v1` makes `in` a keyword)",
        ],
    ),
    (
        Version::V0,
        "p { every x in y { x } }",
        &[
            "2:11: unexpected `x`: expected a new line, `;`, `}` or an operator (`import rego.v1` makes `every` a keyword)",
        ],
    ),
    (
        Version::V0,
        r#"p := $"a""#,
        &["2:6: a template string needs a module of Rego v1; use `sprintf` or `concat` instead"],
    ),
    (Version::V0, "import rego.v1 as x", &["2:8: `rego.v1` cannot be imported under another name"]),
    (
        Version::V0,
        "import rego.v1\np { x }",
        &["3:3: `if` keyword is required before rule body: write `if {`"],
    ),
    (
        Version::V0,
        "p { x }\nimport rego.v1",
        &["2:3: `if` keyword is required before rule body: write `if {`"],
    ),
    (
        Version::V0,
        "p[x] { x }\nimport rego.v1",
        &["2:6: `if` keyword is required before rule body: write `if {`"],
    ),
    (
        Version::V0,
        "if { x }\nimport rego.v1",
        &["2:4: `if` keyword is required before rule body: write `if {`"],
    ),
    (
        Version::V0,
        "p { x } else = 1 { y } { z }",
        &["2:24: unexpected `{`: expected `else` or the next rule"],
    ),
    (
        Version::V0,
        "p.q = 1 { x } else = 2 { y }",
        &["2:15: `else` must not follow a partial rule: write `if` before its body"],
    ),
    (Version::V0, "p { }", &["2:5: unexpected `}`: expected an expression: a body must not be empty"]),
    (
        Version::V0,
        "p { x; some y in z }",
        &[
            "2:15: unexpected `in`: expected a new line, `;`, `}` or an operator (`import rego.v1` makes `in` a keyword)",
        ],
    ),
    (Version::V0, "p = x if { y }", &["(p) := x if true", "(if) := true if y"]),
];

#[test]
fn what_only_the_other_version_has_is_refused_with_the_way_to_it() {
    check("errors-v0", V0);
}

//! Rows of `strings.render_template`.
use super::template_unsupported;
use crate::builtins::testing::{Dice, Want, agree, check};
use serde_json::json;

const DATA: &str = r#"{"s": "a<b>\"é", "n": 42, "f": 1.50, "t": true, "no": false, "nil": null, "l": [1, "x", null, [true]],
    "m": {"a": 1, "b": {"c": "deep"}}, "e": [], "eo": {}, "es": "", "z": 0, "name": "World", "ns": ["b", "a"]}"#;

/// Checks rows of a template and the text that it makes of the data above.
fn renders(rows: &[(&str, Want)]) {
    let data: serde_json::Value = serde_json::from_str(DATA).unwrap();
    let rows: Vec<_> = rows
        .iter()
        .map(|(template, want)| {
            let args: &'static str = json!([template, data]).to_string().leak();
            ("strings.render_template", args, *want)
        })
        .collect();
    check(&rows);
}

fn text(want: &str) -> Want {
    Want::Value(serde_json::Value::from(want).to_string().leak())
}

#[test]
fn actions_show_data() {
    renders(&[
        ("Hello {{.name}}!", text("Hello World!")),
        (
            "{{.s}} {{.n}} {{.f}} {{.t}} {{.nil}} {{.missing}}",
            text("a<b>\"é 42 1.50 true <undefined> <undefined>"),
        ),
        ("{{.l}} {{.m}} {{.e}} {{.eo}}", text("[1 x <nil> [true]] map[a:1 b:map[c:deep]] [] map[]")),
        ("{{.m.b.c}} {{.m.x.y.z}} {{$.m.a}} {{(.m.b).c}}", text("deep <undefined> 1 deep")),
        (
            "{{.}}",
            text(
                "map[e:[] eo:map[] es: f:1.50 l:[1 x <nil> [true]] m:map[a:1 b:map[c:deep]] n:42 name:World nil:<nil> no:false ns:[b a] s:a<b>\"é t:true z:0]",
            ),
        ),
        ("<no value>", text("<undefined>")),
        (
            "{{1}} {{-1}} {{+2}} {{1.5}} {{1e3}} {{0x1F}} {{017}} {{0b11}} {{0o7}} {{'a'}} {{'\\n'}} {{\"q\\t\\x41\\u00e9\"}} {{`r\\`}} {{true}}",
            text("1 -1 2 1.5 1000 31 15 3 7 97 10 q\tAé r\\ true"),
        ),
        ("{{/* comment */}}a {{- /* b */ -}} c", text("ac")),
        ("a {{- .n -}} b\n {{- 3 }} {{-3}}", text("a42b3 -3")),
        ("{{ .n | printf \"%s-%s\" .name }}", text("World-42")),
        ("{{.s.x}}", Want::Failed),
        ("{{.nil.x}}", Want::Failed),
        ("{{.n.x}}", Want::Failed),
        ("{{.m.a.b}}", Want::Failed),
        ("{{.m 1}}", Want::Failed),
        ("{{.missing 1}}", Want::Failed),
        ("{{.missing.x 1}}", text("<undefined>")),
        ("{{nil}}", Want::Failed),
        ("{{1 2}}", Want::Failed),
        ("{{.n | .name}}", Want::Failed),
        ("{{18446744073709551615}}", Want::Failed),
        ("{{$x := .n}}{{$x}}{{$x = 5}}{{$x}}", text("425")),
        ("{{$x := .nil}}[{{$x}}]", text("[<undefined>]")),
        ("}} {", text("}} {")),
        ("", text("")),
    ]);
}

#[test]
fn branches_and_loops_walk_data() {
    renders(&[
        ("{{if .t}}a{{else}}b{{end}}{{if .no}}a{{else}}b{{end}}{{if .missing}}a{{end}}", text("ab")),
        (
            "{{if .z}}zero{{end}}{{if .e}}e{{end}}{{if .eo}}e{{end}}{{if .es}}e{{end}}{{if 0}}0{{end}}{{if .nil}}n{{end}}",
            text("zero"),
        ),
        ("{{if .no}}1{{else if .t}}2{{else}}3{{end}}", text("2")),
        ("{{if .no}}1{{else if .no}}2{{else}}3{{end}}", text("3")),
        (
            "{{with .m.b}}{{.c}}{{$.n}}{{end}}{{with .no}}x{{else with .n}}{{.}}{{else}}y{{end}}",
            text("deep4242"),
        ),
        ("{{with $x := .n}}{{$x}}{{end}}", text("42")),
        ("{{range .l}}<{{.}}>{{end}}", text("<1><x><<undefined>><[true]>")),
        ("{{range $i, $e := .ns}}{{if $i}},{{end}}{{$i}}={{$e}}{{end}}", text("0=b,1=a")),
        ("{{range $k, $v := .m.b}}{{$k}}:{{$v}};{{end}}{{range $v := .ns}}{{$v}}{{end}}", text("c:deep;ba")),
        ("{{range .e}}x{{else}}empty{{end}}{{range .missing}}x{{else}}none{{end}}", text("emptynone")),
        (
            "{{range .ns}}{{if eq . \"a\"}}{{break}}{{end}}{{.}}{{end}}|{{range .ns}}{{if eq . \"b\"}}{{continue}}{{end}}{{.}}{{end}}",
            text("b|a"),
        ),
        ("{{range 3}}{{.}}{{end}}{{range $i := 2}}{{$i}}{{end}}{{range 0}}x{{else}}-{{end}}", text("01201-")),
        ("{{$x := 0}}{{range .ns}}{{$x = .}}{{end}}{{$x}}", text("a")),
        ("{{$i := 9}}{{$e := 9}}{{range $i, $e = .ns}}{{end}}{{$i}}{{$e}}", text("1a")),
        ("{{range .s}}{{end}}", Want::Failed),
        ("{{range .n}}{{end}}", Want::Failed),
        ("{{range $i, $e := 3}}{{end}}", Want::Failed),
        ("{{$y = 1}}", Want::Failed),
        ("{{if .t}}{{$x := 1}}{{end}}{{$x}}", Want::Failed),
    ]);
}

#[test]
fn functions_compute() {
    renders(&[
        (
            "{{and .t .n}} {{and .no .n}} {{or .no .es .name}} {{or .no .es}} {{not .t}} {{.n | and .t}} {{and .t .nil}}",
            text("42 false World  false 42 <undefined>"),
        ),
        (
            "{{eq .n \"42\"}} {{eq .name \"a\" \"World\"}} {{ne .name \"a\"}} {{eq 1 1}} {{eq 1.5 1.5}} {{eq .t true}} {{eq .nil .missing}} {{eq .nil 1}}",
            text("true true true true true true true false"),
        ),
        (
            "{{lt 1 2}} {{le 2 2}} {{gt \"b\" \"a\"}} {{ge 1 2}} {{lt .n \"5\"}} {{lt .f .n}}",
            text("true true true false true true"),
        ),
        ("{{eq 1 1.5}}", Want::Failed),
        ("{{eq .n 42}}", Want::Failed),
        ("{{lt .n 50}}", Want::Failed),
        ("{{eq .l .l}}", Want::Failed),
        ("{{eq .l .m}}", Want::Failed),
        ("{{lt .t .t}}", Want::Failed),
        ("{{lt .nil 1}}", Want::Failed),
        ("{{eq 1}}", Want::Failed),
        ("{{eq}}", Want::Failed),
        ("{{ne 1 2 3}}", Want::Failed),
        ("{{eq (index .s 0) 97}} {{lt (index .s 0) 98}}", text("true true")),
    ]);
}

#[test]
fn functions_take_data_apart_and_print_it() {
    renders(&[
        ("{{len .s}} {{len .n}} {{len .l}} {{len .m}}", text("7 2 4 2")),
        ("{{len .t}}", Want::Failed),
        ("{{len .missing}}", Want::Failed),
        (
            "{{index .l 1}} {{index .m \"b\" \"c\"}} {{index .m \"q\"}} {{index .s 0}} {{index .l}} {{index .l 3 0}}",
            text("x deep <undefined> 97 [1 x <nil> [true]] true"),
        ),
        ("{{index .l 4}}", Want::Failed),
        ("{{index .l .n}}", Want::Failed),
        ("{{index .l -1}}", Want::Failed),
        ("{{index .m 1}}", Want::Failed),
        ("{{index .nil 1}}", Want::Failed),
        ("{{index .l 2 0}}", Want::Failed),
        ("{{slice .name 1 3}} {{slice .l 1 2}} {{slice .name}} {{slice .name 2}}", text("or [x] World rld")),
        ("{{slice .name 3 1}}", Want::Failed),
        ("{{slice .name 0 9}}", Want::Failed),
        ("{{slice .s 0 6}}", Want::Budget),
        ("{{slice .l 0 9}}", Want::Budget),
    ]);
}

#[test]
fn functions_print() {
    renders(&[
        (
            "{{print .n .n}} {{print 1 2}} {{print 1 \"a\" 2}} {{print .nil 1}} {{print}}|{{println .n 1 \"x\"}}",
            text("4242 1 2 1a2 <nil> 1 |42 1 x\n"),
        ),
        (
            "{{printf \"%d %s %v %q %5s|%-5s|%T\" 3 .name .n .n .n .n .n}}",
            text("3 World 42 \"42\"    42|42   |json.Number"),
        ),
        (
            "{{printf \"%d %s %x %t %v\" .n 3 .n .t .missing}}",
            text("%!d(json.Number=42) %!s(int=3) 3432 true <nil>"),
        ),
        (
            "{{printf \"%v %s %d %q\" .l .ns .ns .m}}",
            text(
                "[1 x <nil> [true]] [b a] [%!d(string=b) %!d(string=a)] map[\"a\":\"1\" \"b\":map[\"c\":\"deep\"]]",
            ),
        ),
        (
            "{{printf \"%v\" .l | printf \"%s!\"}} {{printf \"%d\"}} {{printf \"x\" 1 .nil}}",
            text("[1 x <nil> [true]]! %!d(MISSING) x%!(EXTRA int=1, <nil>)"),
        ),
        (
            "{{printf \"%d %v %s %T\" .nil .nil .nil .nil}} {{printf \"%.2f %c %T %T\" 1.5 'x' 1.5 (index .s 0)}}",
            text("%!d(<nil>) <nil> %!s(<nil>) <nil> 1.50 x float64 uint8"),
        ),
        ("{{printf .n}}", Want::Failed),
        ("{{printf .missing}}", Want::Failed),
        ("{{printf 1}}", Want::Failed),
        (
            "{{html .s}} {{.s | js}} {{urlquery \"a b&\" 1}} {{html .missing}} {{js \"'=\\x01\\u200b\\u00e9\"}}",
            text("a&lt;b&gt;&#34;é a\\u003Cb\\u003E\\\"é a+b%261 &lt;no value&gt; \\'\\u003D\\u0001\\u200Bé"),
        ),
        ("{{call .n}}", Want::Failed),
        ("{{call .nil}}", Want::Failed),
        ("{{print len}}", Want::Failed),
        ("{{print print}}x", text("x")),
    ]);
}

#[test]
fn what_is_no_template_is_refused() {
    let refused = [
        "{{",
        "{{.n",
        "{{}}",
        "{{ }}",
        "{{.n}",
        "{{end}}",
        "{{else}}",
        "{{if .t}}",
        "{{if}}{{end}}",
        "{{if .t}}{{else}}{{else}}{{end}}",
        "{{break}}",
        "{{range .l}}{{else}}{{continue}}{{end}}",
        "{{foo}}",
        "{{$x}}",
        "{{.n | 1}}",
        "{{.n | .}}",
        "{{(.n}}",
        "{{.n)}}",
        "{{/* a}}",
        "{{/* a */ b}}",
        "{{\"a}}",
        "{{'ab'}}",
        "{{''}}",
        "{{'\\\"'}}",
        "{{\"\\'\"}}",
        "{{\"\\q\"}}",
        "{{`a}}",
        "{{1a}}",
        "{{08}}",
        "{{0x}}",
        "{{1.2.3}}",
        "{{99999999999999999999}}",
        "{{.a$b}}",
        "{{a b}}",
        "{{.n,}}",
        "{{$x, $y := .l}}",
        "{{range $x, $y, $z := .l}}{{end}}",
        "{{1.x}}",
        "{{\"a\".x}}",
        "{{true.x}}",
        "{{nil.x}}",
        "{{. .x.}}",
        "{{:}}",
        "{{&}}",
        "{{é§}}",
        "{{if .t}}{{else with .n}}{{end}}",
        "{{range .l}}{{else if .n}}{{end}}",
        "{{end .n}}",
        "{{1 | print | 2}}",
        "{{\u{1}}}",
        "{{$x := }}",
        "{{.n | }}{{",
        "{{..}}",
        "{{.n.}}",
    ];
    renders(&refused.map(|template| (template, Want::Failed)));
    renders(&[
        ("{{.n | }}", text("42")),
        ("{{if .t }}a{{ end }}", text("a")),
        ("{{.n|print}}", text("42")),
        ("{{print(1)}}", Want::Failed),
    ]);
    for template in refused {
        assert_eq!(template_unsupported(template), None, "{template}");
    }
}

#[test]
fn data_that_is_not_json_in_regos_notation_is_refused() {
    check(&[
        ("strings.render_template", r#"["a", {"a": {"$set": [1]}}]"#, Want::Failed),
        ("strings.render_template", r#"["a", {"a": "\u0007"}]"#, Want::Failed),
        ("strings.render_template", r#"["a", {"a": "\u0001"}]"#, Want::Failed),
        ("strings.render_template", r#"["a", {"\u007f": 1}]"#, Want::Failed),
        (
            "strings.render_template",
            r#"["{{.a}}", {"a": "\b\f\n\r\t\u200b\u2028"}]"#,
            Want::Value(r#""\b\f\n\r\t\u200b\u2028""#),
        ),
        ("strings.render_template", r#"["{{.a}}", {"a": "\udb40\udc01"}]"#, Want::Failed),
        ("strings.render_template", r#"["{{.a}}", {"a": "\ud83d\ude00"}]"#, Want::Value(r#""😀""#)),
        ("strings.render_template", r#"["a", ["a"]]"#, Want::TypeError),
        ("strings.render_template", r#"[1, {}]"#, Want::TypeError),
    ]);
}

#[test]
fn what_opa_renders_and_we_do_not_is_said_before() {
    for template in [
        "{{define \"x\"}}a{{end}}",
        "{{template \"x\"}}",
        "{{block \"x\" .}}a{{end}}",
        "{{1i}}",
        "{{1+2i}}",
        "{{1_000}}",
        "{{0x1p4}}",
        "{{\"\\xff\"}}",
    ] {
        assert!(template_unsupported(template).is_some(), "{template}");
        renders(&[(template, Want::Budget)]);
    }
    let deep = format!("{}{}{}", "{{if .t}}".repeat(200), "x", "{{end}}".repeat(200));
    assert!(template_unsupported(&deep).is_some());
    let parens = format!("{{{{{}1{}}}}}", "(".repeat(300), ")".repeat(300));
    assert!(template_unsupported(&parens).is_some());
    assert_eq!(template_unsupported("{{.name}}"), None);
    renders(&[("{{range 1000000000}}x{{end}}", Want::Budget)]);
}

#[test]
fn random_templates_render_what_they_render_for_opa() {
    const WORDS: &[&str] = &[
        ".",
        ".n",
        ".s",
        ".l",
        ".m.a",
        ".m",
        ".nil",
        ".missing",
        "$",
        "$.name",
        "1",
        "2.5",
        "\"a\"",
        "true",
        "nil",
        "'x'",
        "print",
        "printf \"%v\"",
        "len",
        "index .l",
        "eq",
        "lt",
        "not",
        "and",
        "or",
        "html",
        "slice",
        "ne",
        "println",
        "printf \"%d|%s\"",
    ];
    fn pipeline(dice: &mut Dice) -> String {
        let mut out = String::new();
        for place in 0..=dice.below(4).saturating_sub(1) {
            out.push_str(if place > 0 { dice.one(&[" ", " ", " | ", "|"]) } else { "" });
            if dice.below(6) == 0 {
                out.push_str(&format!("({})", pipeline(dice)));
            } else {
                out.push_str(dice.one(WORDS));
            }
        }
        out
    }
    fn template(dice: &mut Dice, depth: usize) -> String {
        let mut out = String::new();
        for _ in 0..=dice.below(3).saturating_sub(1) {
            let pipeline = pipeline(dice);
            let inner = if dice.below(3) > depth { template(dice, depth + 1) } else { "-".to_owned() };
            out.push_str(&match dice.below(if depth < 3 { 9 } else { 4 }) {
                0..=3 => format!("{{{{{pipeline}}}}}"),
                4 => format!("{{{{if {pipeline}}}}}{inner}{{{{else}}}}e{{{{end}}}}"),
                5 => format!(" {{{{- with {pipeline} -}}}} {inner}{{{{end}}}}"),
                6 => format!("{{{{range {pipeline}}}}}{inner}{{{{else}}}}none{{{{end}}}}"),
                7 => format!("{{{{range $i, $e := .l}}}}{{{{$i}}}}={{{{$e}}}}{inner}{{{{end}}}}"),
                _ => format!("{{{{$v := {pipeline}}}}}[{{{{$v}}}}]"),
            });
        }
        out
    }
    let data: serde_json::Value = serde_json::from_str(DATA).unwrap();

    let mut dice = Dice(37);
    let calls: Vec<_> = (0..600)
        .map(|_| ("strings.render_template", json!([template(&mut dice, 0), data]).to_string()))
        .collect();
    assert!(agree(&calls) > 100);
}

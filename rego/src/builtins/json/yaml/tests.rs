use crate::builtins::testing::{Dice, Row, Want, agree, check};

/// A text of YAML, as an argument.
fn yaml(text: &str) -> &'static str {
    crate::Value::array([crate::Value::from(text)]).to_json().leak()
}

fn reads(text: &str, json: &'static str) -> Row {
    ("yaml.unmarshal", yaml(text), Want::Value(json))
}

#[test]
fn plain_yaml_is_read() {
    check(&[
        reads("", "null"),
        reads("# nothing\n", "null"),
        reads("foo", r#""foo""#),
        reads("yes # or no", "true"),
        reads("'it''s'", r#""it's""#),
        reads(r#""a\tb\u00e9\x41\\""#, r#""a\tbéA\\""#),
        reads("---\na: 1\n", r#"{"a": 1}"#),
        reads(
            "a: 1\nb: yes\nc: ~\nd:\ne: 'x'\nf: 1.5e3\n",
            r#"{"a": 1, "b": true, "c": null, "d": null, "e": "x", "f": 1500}"#,
        ),
        reads(
            "a: 0x1F\nb: 017\nc: 1_000\nd: 2020-01-01\ne: 1:30\nf: .5\n",
            r#"{"a": 31, "b": 15, "c": 1000, "d": "2020-01-01", "e": "1:30", "f": 0.5}"#,
        ),
        reads("foo:\n   - qux: bar\n   - baz: 2", r#"{"foo": [{"qux": "bar"}, {"baz": 2}]}"#),
        reads(
            "- 1\n- - 2\n  - 3\n-\n  a: b\n  c:\n  - d\n- e:\n    f: g\n  h: i\n",
            r#"[1, [2, 3], {"a": "b", "c": ["d"]}, {"e": {"f": "g"}, "h": "i"}]"#,
        ),
        reads("a:\n- 1\nb:\n  c\n", r#"{"a": [1], "b": "c"}"#),
        reads("a: http://x/y?z#w # comment\nb: x#y\n", r#"{"a": "http://x/y?z#w", "b": "x#y"}"#),
        reads(
            "a: [1, b, 'c', {d: e, \"f\":1}, [], {}]\nb: {\n  x: yy,\n  z: [1,\n 2 ]}\n",
            r#"{"a": [1, "b", "c", {"d": "e", "f": 1}, [], {}], "b": {"x": "yy", "z": [1, 2]}}"#,
        ),
        reads("[1, 2,]", "[1, 2]"),
        reads("a: |\n  x\n   y\n\n  # z\nb: |-\n    t\n", r##"{"a": "x\n y\n\n# z\n", "b": "t"}"##),
        reads(
            "1: a\ntrue: b\n\"x y\": c\nno: d\n0x1: e\n",
            r#"{"1": "e", "true": "b", "x y": "c", "false": "d"}"#,
        ),
        reads("a: 1\na: 2\n", r#"{"a": 2}"#),
    ]);
}

#[test]
fn json_is_yaml_too() {
    check(&[
        reads(
            r#"{"a": [1, 2.50, 1e3, "x\u00e9\n", null, true]}"#,
            r#"{"a": [1, 2.5, 1000, "xé\n", null, true]}"#,
        ),
        reads("{\n\t\"a\": 1,\r\n\t\"b\": {}\n}\n", r#"{"a": 1, "b": {}}"#),
        reads("1e400", r#""1e400""#),
        reads("18446744073709551616", "18446744073709552000"),
        reads("-0", "0"),
        ("yaml.unmarshal", yaml(r#"{"a": "\/"}"#), Want::Budget),
        ("yaml.unmarshal", yaml(r#""\ud83d\ude00""#), Want::Budget),
        ("yaml.unmarshal", yaml("{\"a\"\n: 1}"), Want::Budget),
    ]);
}

#[test]
fn what_is_no_yaml_is_told_from_what_is_not_read() {
    let failed = |text| ("yaml.unmarshal", yaml(text), Want::Failed);
    let refused = |text| ("yaml.unmarshal", yaml(text), Want::Budget);
    check(&[
        failed("[1,2,3"),
        failed("foo:\n   - qux: bar\n   - baz: {"),
        failed("a: {b: [1}\n"),
        failed("a: b: c\n"),
        failed("~: a\n"),
        failed("a: .nan\n"),
        ("yaml.is_valid", yaml("[1,2,3"), Want::Value("false")),
        ("yaml.is_valid", yaml("foo:\n   - qux: bar\n   - baz: {"), Want::Value("false")),
        ("yaml.is_valid", yaml("foo:\n   - qux: bar\n   - baz: 2"), Want::Value("true")),
        ("yaml.is_valid", "[1]", Want::Value("false")),
        ("yaml.unmarshal", "[1]", Want::TypeError),
        refused("a: 1\n---\nb: 2\n"),
        refused("---\n---\na: 1\n"),
        refused("a: &x 1\nb: *x\n"),
        refused("a: !!str 1\n"),
        refused("<<: {a: 1}\n"),
        refused("? a\n: b\n"),
        refused("a: >\n  x\n"),
        refused("a: x\n  y\n"),
        refused("a:\n\t- b\n"),
        refused("a: 1\r\n"),
        refused("1: a\n'1': b\n"),
        refused("1.5: a\n"),
        refused("a: - b\n"),
        refused("{a:1}"),
        refused("[a: b]"),
        refused("%YAML 1.1\n---\na\n"),
        refused("a: |+\n  x\n"),
        refused("a: |\n  x"),
    ]);
}

#[test]
fn values_become_yaml() {
    let writes = |json: &'static str, yaml: &str| -> Row {
        let want = crate::Value::from(yaml).to_json();
        ("yaml.marshal", format!("[{json}]").leak(), Want::Value(want.leak()))
    };
    check(&[
        writes("null", "null\n"),
        writes("[]", "[]\n"),
        writes(r#"[{"foo": {"$set": [1, 2, 3]}}]"#, "- foo:\n  - 1\n  - 2\n  - 3\n"),
        writes(
            r#"{"a": {"b": [[1, [2]], {"c": {}}], "d": "x"}, "e": []}"#,
            "a:\n  b:\n  - - 1\n    - - 2\n  - c: {}\n  d: x\ne: []\n",
        ),
        writes(
            r#"["yes", "1", "", "null", "1.5", "1:30", "2020-01-01", "<<"]"#,
            "- \"yes\"\n- \"1\"\n- \"\"\n- \"null\"\n- \"1.5\"\n- \"1:30\"\n- \"2020-01-01\"\n- <<\n",
        ),
        writes(
            r##"["a: b", "a:b", "- x", "-x", "'", "it's", "#a", "a #b", " a", "a ", "*", "!x", "[", "?"]"##,
            "- 'a: b'\n- a:b\n- '- x'\n- -x\n- ''''\n- it's\n- '#a'\n- 'a #b'\n- ' a'\n- 'a '\n- '*'\n- '!x'\n- '['\n- '?'\n",
        ),
        writes(
            r#"["a\tb", "é", "😀", "\u0000\u0007\u001b", "a\\", "---"]"#,
            "- \"a\\tb\"\n- é\n- \"\\U0001F600\"\n- \"\\0\\a\\e\"\n- a\\\n- '---'\n",
        ),
        writes(
            r#"{"a": "x\ny\n", "b": ["x\n", " x\ny", "x\n\n", "x \ny", "\n"]}"#,
            "a: |\n  x\n  y\nb:\n- |\n  x\n- |2-\n   x\n  y\n- |+\n  x\n\n- \"x \\ny\"\n- |2+\n\n",
        ),
        writes(
            "[1, 1.0, 1e3, 1000000.0, 1.5e-7, 18446744073709551616, 1e+400, -0]",
            "- 1\n- 1\n- 1000\n- 1e+06\n- 1.5e-07\n- 1.8446744073709552e+19\n- 1e+400\n- 0\n",
        ),
        writes(
            r#"{"a10": 1, "a9": 2, "a09": 3, "B": 4, "b": 5, "_": 6, "a": 7, "a-b": 8, "a.b": 9, "10": 10, "9": 11}"#,
            "_: 6\n\"9\": 11\n\"10\": 10\nB: 4\na: 7\na-b: 8\na.b: 9\na9: 2\na09: 3\na10: 1\nb: 5\n",
        ),
        writes(r#""a\nb""#, "|-\n  a\n  b\n"),
        ("yaml.marshal", "[\"\u{7f}\"]", Want::Failed),
        ("yaml.marshal", r#"["\u2028"]"#, Want::Budget),
        ("yaml.marshal", r#"[{"a\nb": 1}]"#, Want::Budget),
        ("yaml.marshal", r#"[{"é": 1, "ü": 1}]"#, Want::Budget),
    ]);
}

const SCALARS: &[&str] = &[
    "a",
    "b c",
    "1",
    "-1",
    "0x1f",
    "1.50",
    "yes",
    "~",
    "''",
    "'x: y'",
    "\"q\\n\"",
    "a:b",
    "x#y",
    "x # y",
    "-",
    "- a",
    "a: b",
    "[a, 1]",
    "{a: 1}",
    "[",
    "{b: }",
    "*a",
    "&a x",
    "!t",
    "|",
    "> ",
    "%",
    "@x",
    "`",
    "a, b",
    "]",
    ": x",
    "?",
    "? a",
    "\"unclosed",
    "1_0",
    "017",
    "08",
    "<<",
    "=",
    "2001-01-01",
    "[a, [b], {c: d}]",
    "{'a':1, \"b\": 2}",
    "#x",
    "a\\",
    "\"\\z\"",
];

/// Texts that look like YAML, some of which are.
fn yaml_text(dice: &mut Dice, depth: u64, indent: usize) -> String {
    let mut text = String::new();
    let sequence = dice.roll(3) == 0;
    for _ in 0..1 + dice.roll(3) {
        let shift = if dice.roll(12) == 0 { 1 } else { 0 };
        text.push_str(&" ".repeat(indent + shift));
        let key = *dice
            .pick(&["a", "b", "c", "a b", "'q'", "\"r\"", "1", "yes", "x:y", "~", "<<", "1.5", "k ", "é"]);
        text.push_str(&if sequence { "-".to_owned() } else { format!("{key}:") });
        if depth > 0 && dice.roll(3) == 0 {
            text.push('\n');
            let deeper = if dice.roll(3) == 0 { 0 } else { 2 };
            text.push_str(&yaml_text(dice, depth - 1, indent + deeper));
            continue;
        }
        if dice.roll(10) > 0 {
            text.push_str(&format!(" {}", dice.pick(SCALARS)));
        }
        text.push('\n');
        if dice.roll(15) == 0 {
            text.push_str(dice.pick::<&str>(&[
                "\n",
                "# comment\n",
                "  # comment\n",
                "---\n",
                "   x\n",
                "...\n",
            ]));
        }
    }
    text
}

#[test]
fn opa_agrees_on_yaml() {
    let mut dice = Dice(6);
    let mut calls = Vec::new();
    for _ in 0..300 {
        let text = yaml_text(&mut dice, 2, 0);
        calls.push(("yaml.unmarshal", yaml(&text).to_owned()));
        calls.push(("yaml.is_valid", yaml(&text).to_owned()));
    }
    agree(&calls);
}

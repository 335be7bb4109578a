use super::super::testing::{Dice, Row, Want, agree, check};

const OPTIONS: &str = "json.marshal_with_options";

#[test]
fn values_become_json() {
    check(&[
        ("json.marshal", r#"[[{"foo": {"$set": [3, 1, 2]}}]]"#, Want::Value(r#""[{\"foo\":[1,2,3]}]""#)),
        (
            "json.marshal",
            r#"["<a&b>\u2028é\u0001\t"]"#,
            Want::Value(r#""\"\\u003ca\\u0026b\\u003e\\u2028é\\u0001\\t\"""#),
        ),
        (
            "json.marshal",
            r#"[{"b": 1, "a": null, "": [true]}]"#,
            Want::Value(r#""{\"\":[true],\"a\":null,\"b\":1}""#),
        ),
        ("json.marshal", "[[]]", Want::Value(r#""[]""#)),
    ]);
}

#[test]
fn json_is_set_in_lines_as_asked() {
    check(&[
        (
            OPTIONS,
            r#"[[1, {"a": []}], {"indent": "  "}]"#,
            Want::Value(r#""[\n  1,\n  {\n    \"a\": []\n  }\n]""#),
        ),
        (OPTIONS, r#"[[1, 2], {}]"#, Want::Value(r#""[1,2]""#)),
        (OPTIONS, r#"[[1, 2], {"pretty": true}]"#, Want::Value(r#""[\n\t1,\n\t2\n]""#)),
        (OPTIONS, r#"[[1], {"pretty": false, "prefix": "NO!", "indent": "BAD!"}]"#, Want::Value(r#""[1]""#)),
        (
            OPTIONS,
            r#"[{"foo": "<", "bar": {}}, {"prefix": "JSON => "}]"#,
            Want::Value(r#""JSON => {\nJSON => \t\"bar\": {},\nJSON => \t\"foo\": \"\\u003c\"\nJSON => }""#),
        ),
        (OPTIONS, r#"[[], {"indent": "    ", "prefix": "---"}]"#, Want::Value(r#""---[]""#)),
        (OPTIONS, r#"["x", {"prefix": "-"}]"#, Want::Value(r#""-\"x\"""#)),
        (OPTIONS, r#"[{"$set": [{"$set": []}]}, {"indent": ""}]"#, Want::Value(r#""[\n[]\n]""#)),
        (OPTIONS, r#"[[], {"indent": "    ", "include_winning_lottery_numbers": true}]"#, Want::TypeError),
        (OPTIONS, r#"[[], {"indent": 1}]"#, Want::TypeError),
        (OPTIONS, r#"[[], {"prefix": null}]"#, Want::TypeError),
        (OPTIONS, r#"[[], {"pretty": "yes"}]"#, Want::TypeError),
        (OPTIONS, "[[], []]", Want::TypeError),
    ]);
}

#[test]
fn text_becomes_the_value_that_go_reads() {
    check(&[
        ("json.unmarshal", r#"["[{\"foo\":[1,2,3]}]"]"#, Want::Value(r#"[{"foo": [1, 2, 3]}]"#)),
        ("json.unmarshal", r#"["{\"a\":1,\"a\":2}"]"#, Want::Value(r#"{"a": 2}"#)),
        ("json.unmarshal", r#"[" \"\\ud83d\\ude00\\ud83d\" "]"#, Want::Value("\"😀\u{fffd}\"")),
        ("json.unmarshal", r#"["1 null"]"#, Want::Value("1")),
        ("json.unmarshal", r#"["1nullx"]"#, Want::Value("1")),
        ("json.unmarshal", r#"["1 2"]"#, Want::Failed),
        ("json.unmarshal", r#"["[1]]"]"#, Want::Failed),
        ("json.unmarshal", r#"["plain"]"#, Want::Failed),
        ("json.unmarshal", r#"[""]"#, Want::Failed),
        ("json.unmarshal", "[1]", Want::TypeError),
        ("json.is_valid", r#"["plainstring"]"#, Want::Value("false")),
        ("json.is_valid", r#"["{"]"#, Want::Value("false")),
        ("json.is_valid", r#"["{\"json\": \"ok\"}"]"#, Want::Value("true")),
        ("json.is_valid", r#"["1 null"]"#, Want::Value("false")),
        ("json.is_valid", "[1]", Want::Value("false")),
    ]);
}

#[test]
fn what_go_reads_and_we_do_not_is_refused_as_a_whole() {
    let nested = |depth: usize| format!("[\"{}{}\"]", "[".repeat(depth), "]".repeat(depth)).leak();
    check(&[
        ("json.unmarshal", nested(129), Want::Budget),
        ("json.is_valid", nested(129), Want::Value("true")),
        ("json.is_valid", nested(10_001), Want::Value("false")),
    ]);
}

#[test]
fn filters_keep_what_lies_on_paths() {
    let filter = |args, want| ("json.filter", args, want);
    check(&[
        filter(
            r#"[{"a": {"b": {"c": 7, "d": 8}}, "e": 9}, ["a/b/c", "e"]]"#,
            Want::Value(r#"{"a": {"b": {"c": 7}}, "e": 9}"#),
        ),
        filter(
            r#"[{"a": {"b": 7, "c": 8}}, {"$set": ["a", "a/b"]}]"#,
            Want::Value(r#"{"a": {"b": 7, "c": 8}}"#),
        ),
        filter(r#"[{"a": {"b": 7, "c": 8}}, ["a/b", "a"]]"#, Want::Value(r#"{"a": {"b": 7, "c": 8}}"#)),
        filter(r#"[{"a": 7}, {"$set": []}]"#, Want::Value("{}")),
        filter(r#"[{"a": 7}, ["", []]]"#, Want::Value("{}")),
        filter(r#"[{"": 7, "a": 1}, ["/"]]"#, Want::Value(r#"{"": 7}"#)),
        filter(
            r#"[{"a": [{"b": 1}, {"b": 2}, 3]}, ["a/2", "/a/0/b/c"]]"#,
            Want::Value(r#"{"a": [{"b": 1}, 3]}"#),
        ),
        filter(r#"[{"a": [1, 2]}, [["a", 0]]]"#, Want::Value(r#"{"a": []}"#)),
        filter(
            r#"[{"a": {"$set": ["x", [1], 3]}}, ["a/x", ["a", 3], ["a", [1], "0"]]]"#,
            Want::Value(r#"{"a": {"$set": ["x", [1], 3]}}"#),
        ),
        filter(
            r#"[{"a/b": 1, "a~b": 2, "~1": 3}, ["a~1b", "a~0b", "~01"]]"#,
            Want::Value(r#"{"a/b": 1, "a~b": 2, "~1": 3}"#),
        ),
        filter(r#"[[], ["a"]]"#, Want::TypeError),
        filter(r#"[{}, "a"]"#, Want::TypeError),
        filter(r#"[{}, [1]]"#, Want::TypeError),
    ]);
}

#[test]
fn removals_drop_what_paths_lead_to() {
    let remove = |args, want| ("json.remove", args, want);
    check(&[
        remove(
            r#"[{"a": {"b": {"c": 7, "d": 8}}, "e": 9}, {"$set": [["a", "b", "c"], ["e"]]}]"#,
            Want::Value(r#"{"a": {"b": {"d": 8}}}"#),
        ),
        remove(
            r#"[{"a": [{"1": ["b", "c", "d"]}, {"x": "y"}]}, {"$set": ["a/0/1/2"]}]"#,
            Want::Value(r#"{"a": [{"1": ["b", "c"]}, {"x": "y"}]}"#),
        ),
        remove(r#"[{"a": [1, 2, 3]}, ["a/0", "a/1"]]"#, Want::Value(r#"{"a": [3]}"#)),
        remove(r#"[{"a": {"$set": [1, "x"]}}, [["a", 1]]]"#, Want::Value(r#"{"a": {"$set": ["x"]}}"#)),
        remove(r#"[{"a": 1}, ["a/b", "c", ""]]"#, Want::Value(r#"{"a": 1}"#)),
        remove(r#"[{"a": 1}, ["a"]]"#, Want::Value("{}")),
        remove(r#"["foo", ["a"]]"#, Want::TypeError),
        remove(r#"[{"a": 1}, "foo"]"#, Want::TypeError),
        remove(r#"[{"a": 1}, {"$set": [22]}]"#, Want::TypeError),
    ]);
}

#[test]
fn a_long_path_costs_no_stack() {
    let path = format!("[{{\"a\": 1}}, [\"{}\"]]", "a/".repeat(100_000)).leak();
    check(&[
        ("json.remove", path, Want::Value(r#"{"a": 1}"#)),
        ("json.filter", path, Want::Value(r#"{"a": 1}"#)),
    ]);
}

fn patch(args: &'static str, want: Want) -> Row {
    ("json.patch", args, want)
}

#[test]
fn patches_are_made_as_the_rfc_says() {
    check(&[
        patch(
            r#"[{"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux"}]]"#,
            Want::Value(r#"{"foo": "bar", "baz": "qux"}"#),
        ),
        patch(
            r#"[{"foo": ["bar", "baz"]}, [{"op": "add", "path": "/foo/1", "value": "qux"}]]"#,
            Want::Value(r#"{"foo": ["bar", "qux", "baz"]}"#),
        ),
        patch(
            r#"[{"foo": [1, 2, 3]}, [{"op": "remove", "path": "/foo/1"}]]"#,
            Want::Value(r#"{"foo": [1, 3]}"#),
        ),
        patch(
            r#"[{"a": {"b": 1}, "q": {}}, [{"op": "move", "from": "/a/b", "path": "/q/t"}]]"#,
            Want::Value(r#"{"a": {}, "q": {"t": 1}}"#),
        ),
        patch(
            r#"[{"foo": ["all", "grass", "cows", "eat"]}, [{"op": "move", "from": "/foo/1", "path": "/foo/3"}]]"#,
            Want::Value(r#"{"foo": ["all", "cows", "eat", "grass"]}"#),
        ),
        patch(
            r#"[{"baz": [{"qux": "hello"}], "bar": 1}, [{"op": "copy", "from": "/baz/0", "path": "/boo"}]]"#,
            Want::Value(r#"{"baz": [{"qux": "hello"}], "bar": 1, "boo": {"qux": "hello"}}"#),
        ),
        patch(
            r#"[[1, 2, [3, [4, 5]]], [{"op": "add", "path": "/2/1/-", "value": {}}]]"#,
            Want::Value("[1, 2, [3, [4, 5, {}]]]"),
        ),
        patch(
            r#"[{"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": 10}]]"#,
            Want::Value(r#"{"/": 9, "~1": 10}"#),
        ),
        patch(r#"[{"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": "10"}]]"#, Want::Failed),
        patch(
            r#"[{}, [{"op": "add", "path": "", "value": []}, {"op": "add", "path": "-", "value": "hi"}]]"#,
            Want::Value(r#"["hi"]"#),
        ),
        patch(r#"["foo", [{"op": "replace", "path": "", "value": "bar"}]]"#, Want::Value(r#""bar""#)),
        patch(
            r#"[{"foo": {}}, [{"op": "add", "path": "/foo/", "value": 1}]]"#,
            Want::Value(r#"{"foo": {"": 1}}"#),
        ),
        patch(
            r#"[[1, 2, 3, 4], [{"op": "remove", "path": "/1"}, {"op": "remove", "path": "/2"}]]"#,
            Want::Value("[1, 3]"),
        ),
        patch(
            r#"[{"foo": null}, [{"op": "move", "from": "/foo", "path": "/foo"}]]"#,
            Want::Value(r#"{"foo": null}"#),
        ),
        patch(
            r#"[[1], [{"op": "add", "path": "/+0", "value": 9}, {"op": "add", "path": [1], "value": 8}]]"#,
            Want::Value("[9, 8, 1]"),
        ),
        patch(
            r#"[{"foo": {"$set": ["a", "b"]}}, [{"op": "remove", "path": "foo/b"}, {"op": "add", "path": "foo/d", "value": "d"}]]"#,
            Want::Value(r#"{"foo": {"$set": ["a", "d"]}}"#),
        ),
        patch(
            r#"[{"$set": [[1]]}, [{"op": "add", "path": [[1], 1], "value": 2}, {"op": "add", "path": [[1, 2], 0], "value": 0}]]"#,
            Want::Value(r#"{"$set": [[0, 1, 2]]}"#),
        ),
    ]);
}

#[test]
fn patches_that_do_not_fit_fail() {
    check(&[
        patch(r#"[{"q": 1}, [{"op": "add", "path": "/a/b", "value": 1}]]"#, Want::Failed),
        patch(r#"[{"q": 1}, [{"op": "remove", "path": "/a"}]]"#, Want::Failed),
        patch(
            r#"[{"q": 1}, [{"op": "remove", "path": "/q"}, {"op": "remove", "path": "/q"}]]"#,
            Want::Failed,
        ),
        patch(
            r#"[{"q": {}}, [{"op": "remove", "path": "/q"}, {"op": "add", "path": "/q/a", "value": 1}]]"#,
            Want::Failed,
        ),
        patch(r#"[[1, 2], [{"op": "add", "path": "/8", "value": 5}]]"#, Want::Failed),
        patch(r#"[[1, 2], [{"op": "add", "path": "/-1", "value": 5}]]"#, Want::Failed),
        patch(r#"[[1, 2], [{"op": "add", "path": "/1e0", "value": 5}]]"#, Want::Failed),
        patch(r#"[[1, 2], [{"op": "add", "path": "/01", "value": 5}]]"#, Want::Failed),
        patch(r#"[[1, 2], [{"op": "remove", "path": "/-"}]]"#, Want::Failed),
        patch(r#"[[1, 2, 3], [{"op": "add", "path": "1.2", "value": "foo"}]]"#, Want::Failed),
        patch(r#"["foo", [{"op": "add", "path": "/a", "value": 1}]]"#, Want::Failed),
        patch(r#"[{"foo": {"$set": ["a"]}}, [{"op": "add", "path": "foo/d", "value": "e"}]]"#, Want::Failed),
        patch(r#"[{}, [{"op": "spam", "path": "/foo", "value": 1}]]"#, Want::Failed),
        patch(r#"[{}, [{"op": "add", "value": 1}]]"#, Want::Failed),
        patch(r#"[{}, [{"path": "/a", "value": 1}]]"#, Want::Failed),
        patch(r#"[{}, [{"op": 1, "path": "/a", "value": 1}]]"#, Want::Failed),
        patch(r#"[{}, [{"op": "add", "path": "/a"}]]"#, Want::Failed),
        patch(r#"[{}, [{"op": "copy", "path": "/a"}]]"#, Want::Failed),
        patch(r#"[[null], [{"op": "test", "path": "/0"}]]"#, Want::Failed),
        patch(r#"[{}, [{"op": "add", "path": null, "value": 1}]]"#, Want::TypeError),
        patch(r#"[{}, [1]]"#, Want::Failed),
        patch(r#"[{}, {}]"#, Want::TypeError),
    ]);
}

#[test]
fn patches_are_wrong_where_opa_is_wrong() {
    check(&[
        // It looks an item up where it stood before the removal.
        patch(
            r#"[[{"a": 1}, {"a": 2, "b": 1}], [{"op": "remove", "path": "/0"}, {"op": "replace", "path": "/0/a", "value": 9}]]"#,
            Want::Value(r#"[{"a": 9}]"#),
        ),
        patch(
            r#"[[1, 2, 3], [{"op": "remove", "path": "/0"}, {"op": "test", "path": "/0", "value": 1}]]"#,
            Want::Value("[1, 3]"),
        ),
        // It breaks, and the decision with it.
        patch(r#"[{"a": 1}, [{"op": "remove", "path": ""}]]"#, Want::Budget),
        patch(
            r#"[{"a": 1}, [{"op": "replace", "path": "", "value": {}}, {"op": "add", "path": "/a", "value": 1}]]"#,
            Want::Budget,
        ),
        patch(
            r#"[{"$set": ["a"]}, [{"op": "remove", "path": "a"}, {"op": "test", "path": "a", "value": 1}]]"#,
            Want::Budget,
        ),
        patch(
            r#"[{"a": 1}, [{"op": "remove", "path": ""}, {"op": "test", "path": "", "value": 1}]]"#,
            Want::Failed,
        ),
        patch(
            r#"[{"a": 1}, [{"op": "remove", "path": ""}, {"op": "add", "path": "", "value": 1}]]"#,
            Want::Value("1"),
        ),
    ]);
}

#[test]
fn a_patch_that_grows_without_end_ends_the_decision() {
    let copies =
        r#"{"op": "copy", "from": "", "path": "/a"}, {"op": "copy", "from": "", "path": "/b"}, "#.repeat(40);
    let args = format!("[{{}}, [{}]]", copies.trim_end_matches(", ")).leak();
    check(&[patch(args, Want::Budget)]);
}

/// A value of any kind, with strings that are hard to write.
fn value(dice: &mut Dice, depth: u64) -> crate::Value {
    let text = |dice: &mut Dice| {
        let pieces = [
            "a", "B", "1", "0", "10", ":", " ", "-", "#", "\n", "'", "\"", "\\", "é", "😀", "\u{1}", "\t",
            "yes", "null", ".", ",", "[", "{", "~", "<", "&", "\u{2028}", "\u{7f}", "_", "e", "+", "?", "|",
            "%", "@", "!", "*", ">", "=", "\u{feff}", "\u{fffd}",
        ];
        (0..dice.roll(5)).map(|_| *dice.pick(&pieces)).collect::<String>()
    };
    match dice.roll(if depth == 0 { 5 } else { 8 }) {
        0 => crate::Value::from(dice.roll(2) == 0),
        1 => {
            let literals = [
                "0",
                "-1",
                "1.0",
                "1.50",
                "1e3",
                "1E-7",
                "123456789012345678901234567890",
                "0.1",
                "1e21",
                "-0.0",
                "9007199254740993",
            ];
            crate::Value::Number(crate::Number::parse(dice.pick::<&str>(&literals)).unwrap())
        }
        2 => crate::Value::Null,
        3 | 4 => crate::Value::from(text(dice)),
        5 => crate::Value::array((0..dice.roll(4)).map(|_| value(dice, depth - 1)).collect::<Vec<_>>()),
        _ => crate::Value::object(
            (0..dice.roll(5))
                .map(|_| (crate::Value::from(text(dice)), value(dice, depth - 1)))
                .collect::<Vec<_>>(),
        ),
    }
}

#[test]
fn opa_agrees_on_what_becomes_of_values() {
    let mut dice = Dice(7);
    let mut calls = Vec::new();
    for _ in 0..150 {
        let value = value(&mut dice, 3);
        let json = value.to_json();
        let text = crate::Value::from(json.as_str()).to_json();
        calls.push(("yaml.marshal", format!("[{json}]")));
        calls.push(("json.marshal", format!("[{json}]")));
        calls.push((
            "json.marshal_with_options",
            format!("[{json}, {{\"indent\": \" \", \"prefix\": \"<\"}}]"),
        ));
        calls.push(("json.unmarshal", format!("[{text}]")));
        calls.push(("yaml.unmarshal", format!("[{text}]")));
    }
    agree(&calls);
}

#[test]
fn opa_agrees_on_text_that_may_be_json() {
    let pieces = [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"a\"",
        "\"b\"",
        "1",
        "-1",
        "0",
        "01",
        "1.5",
        "1e3",
        "1e",
        ".",
        "true",
        "null",
        "nul",
        " ",
        "\n",
        "\"",
        "\\",
        "\\u0041",
        "\\ud83d",
        "\\ude00",
        "\\n",
        "\\x",
        "\"\\u12\"",
        "é",
        "\"\\ud83d\\ude00\"",
        "\"\\ud83d\"",
        "\t",
        "'",
        "//",
    ];
    let mut dice = Dice(8);
    let mut calls = Vec::new();
    for _ in 0..500 {
        let text: String = match dice.roll(3) {
            0 => (0..dice.roll(9)).map(|_| *dice.pick(&pieces)).collect(),
            _ => {
                // A text that is JSON, with one piece put in or taken out.
                let mut text: Vec<char> = value(&mut dice, 3).to_json().chars().collect();
                let at = usize::try_from(dice.roll(text.len() as u64 + 1)).unwrap();
                if dice.roll(2) == 0 && at < text.len() {
                    text.remove(at);
                    text.into_iter().collect()
                } else {
                    let (before, after) = text.split_at(at);
                    format!(
                        "{}{}{}",
                        before.iter().collect::<String>(),
                        dice.pick(&pieces),
                        after.iter().collect::<String>()
                    )
                }
            }
        };
        let text = crate::Value::from(text).to_json();
        calls.push(("json.unmarshal", format!("[{text}]")));
        calls.push(("json.is_valid", format!("[{text}]")));
    }
    agree(&calls);
}

/// Patches that were not written for their documents.
#[test]
fn opa_agrees_on_patches_filters_and_removals() {
    let mut dice = Dice(9);
    let mut calls = Vec::new();
    let path = |dice: &mut Dice| {
        let known = [
            "/a", "/b", "/a/0", "/a/1", "/a/1/b", "/b/0", "/b/a", "/a/-", "/0", "/1", "/1/a", "/1/a/0",
            "/b/0/a", "/3/b/0/c",
        ];
        if dice.roll(5) > 0 {
            return (*dice.pick(&known)).to_owned();
        }
        let segment = |dice: &mut Dice| *dice.pick(&["a", "b", "0", "1", "2", "-", "c", "", "00"]);
        (0..dice.roll(4)).map(|_| format!("/{}", segment(dice))).collect::<String>()
    };
    let documents = [
        r#"{"a": [1, {"b": 2}, [3, 4]], "b": {"a": {"c": 5}, "0": 6}}"#,
        r#"[[1, 2, 3], {"a": [4, 5]}, "x", {"a": 1, "b": [{"c": 2}]}]"#,
        r#"{"a": {"$set": ["a", "b", "0"]}, "b": [{"a": 1}, {"a": 2}, {"a": 3}]}"#,
    ];
    for _ in 0..300 {
        let document = *dice.pick(&documents);
        let operations: Vec<String> = (0..1 + dice.roll(4))
            .map(|_| {
                let op = *dice.pick(&[
                    "add", "add", "add", "remove", "remove", "replace", "replace", "move", "copy", "test",
                ]);
                let value = *dice.pick(&["1", "{\"a\": [7]}", "[8, 9]", "\"a\"", "2"]);
                format!(
                    "{{\"op\": \"{op}\", \"path\": \"{}\", \"from\": \"{}\", \"value\": {value}}}",
                    path(&mut dice),
                    path(&mut dice)
                )
            })
            .collect();
        calls.push(("json.patch", format!("[{document}, [{}]]", operations.join(", "))));
        let paths: Vec<String> = (0..dice.roll(4)).map(|_| format!("\"{}\"", path(&mut dice))).collect();
        calls.push(("json.filter", format!("[{document}, [{}]]", paths.join(", "))));
        calls.push(("json.remove", format!("[{document}, [{}]]", paths.join(", "))));
    }
    agree(&calls);
}

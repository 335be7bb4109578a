//! Rows of the `uri` and `urlquery` builtins.
use crate::builtins::testing::{Dice, Want, agree, check};
use serde_json::json;

#[test]
fn a_query_component_is_encoded_and_decoded() {
    check(&[
        ("urlquery.encode", r#"["a b&c=d/ü~-_.*"]"#, Want::Value(r#""a+b%26c%3Dd%2F%C3%BC~-_.%2A""#)),
        ("urlquery.encode", r#"[""]"#, Want::Value(r#""""#)),
        ("urlquery.encode", "[1]", Want::TypeError),
        ("urlquery.decode", r#"["a+b%26%c3%bc%20"]"#, Want::Value(r#""a b&ü ""#)),
        ("urlquery.decode", r#"["%"]"#, Want::Failed),
        ("urlquery.decode", r#"["%4"]"#, Want::Failed),
        ("urlquery.decode", r#"["%zz"]"#, Want::Failed),
        ("urlquery.decode", r#"["%é1"]"#, Want::Failed),
        ("urlquery.decode", r#"["%ff"]"#, Want::Budget),
        ("urlquery.decode", "[null]", Want::TypeError),
    ]);
}

#[test]
fn objects_are_encoded_sorted_by_key() {
    check(&[
        ("urlquery.encode_object", r#"[{"b": "1 2", "a": ["x", "y"]}]"#, Want::Value(r#""a=x&a=y&b=1+2""#)),
        ("urlquery.encode_object", r#"[{"a": {"$set": ["y", "x"]}}]"#, Want::Value(r#""a=x&a=y""#)),
        ("urlquery.encode_object", r#"[{"a": [], "": ""}]"#, Want::Value(r#""=""#)),
        ("urlquery.encode_object", "[{}]", Want::Value(r#""""#)),
        ("urlquery.encode_object", r#"[{"a": 1}]"#, Want::TypeError),
        ("urlquery.encode_object", r#"[{"a": [1]}]"#, Want::TypeError),
        ("urlquery.encode_object", r#"[["a"]]"#, Want::TypeError),
        (
            "urlquery.decode_object",
            r#"["b=1+2&a=x&a=y&c&=d&&e="]"#,
            Want::Value(r#"{"": ["d"], "a": ["x", "y"], "b": ["1 2"], "c": [""], "e": [""]}"#),
        ),
        ("urlquery.decode_object", r#"["a=b=c"]"#, Want::Value(r#"{"a": ["b=c"]}"#)),
        ("urlquery.decode_object", r#"["%61=%62"]"#, Want::Value(r#"{"a": ["b"]}"#)),
        ("urlquery.decode_object", r#"[""]"#, Want::Value("{}")),
        ("urlquery.decode_object", r#"["a;b=c"]"#, Want::Failed),
        ("urlquery.decode_object", r#"["a=%"]"#, Want::Failed),
        ("urlquery.decode_object", "[1]", Want::TypeError),
    ]);
}

#[test]
fn a_uri_is_taken_apart() {
    check(&[
        (
            "uri.parse",
            r#"["https://user:pw@Example.com:8080/a%2Fb/c d?q=1&r#frag%20x"]"#,
            Want::Value(
                r#"{"scheme": "https", "hostname": "Example.com", "port": "8080", "path": "/a/b/c d",
            "raw_path": "/a%2Fb/c d", "raw_query": "q=1&r", "fragment": "frag x"}"#,
            ),
        ),
        ("uri.parse", r#"["HTTP://h"]"#, Want::Value(r#"{"scheme": "http", "hostname": "h"}"#)),
        ("uri.parse", r#"["mailto:a@b?x"]"#, Want::Value(r#"{"scheme": "mailto", "raw_query": "x"}"#)),
        ("uri.parse", r#"["/a/b"]"#, Want::Value(r#"{"path": "/a/b", "raw_path": "/a/b"}"#)),
        ("uri.parse", r#"["*"]"#, Want::Value(r#"{"path": "*", "raw_path": "*"}"#)),
        ("uri.parse", r#"["a*"]"#, Want::Value(r#"{"path": "a*", "raw_path": "a*"}"#)),
        ("uri.parse", r#"["//h:/p"]"#, Want::Value(r#"{"hostname": "h", "path": "/p", "raw_path": "/p"}"#)),
        ("uri.parse", r#"["///p"]"#, Want::Value(r#"{"path": "///p", "raw_path": "///p"}"#)),
        ("uri.parse", r#"["x:///p"]"#, Want::Value(r#"{"scheme": "x", "path": "/p", "raw_path": "/p"}"#)),
        (
            "uri.parse",
            r#"["http://[::1]:80/"]"#,
            Want::Value(
                r#"{"scheme": "http", "hostname": "::1", "port": "80", "path": "/", "raw_path": "/"}"#,
            ),
        ),
        (
            "uri.parse",
            r#"["http://[fe80::1%25en%200]/"]"#,
            Want::Value(r#"{"scheme": "http", "hostname": "fe80::1%en 0", "path": "/", "raw_path": "/"}"#),
        ),
        (
            "uri.parse",
            r#"["http://[::ffff:1.2.3.4]"]"#,
            Want::Value(r#"{"scheme": "http", "hostname": "::ffff:1.2.3.4"}"#),
        ),
        (
            "uri.parse",
            r#"["pg://a:1,b:2/d"]"#,
            Want::Value(
                r#"{"scheme": "pg", "hostname": "a:1,b", "port": "2", "path": "/d", "raw_path": "/d"}"#,
            ),
        ),
        ("uri.parse", r#"["/p??"]"#, Want::Value(r#"{"path": "/p", "raw_path": "/p", "raw_query": "?"}"#)),
        ("uri.parse", r#"["/p?"]"#, Want::Value(r#"{"path": "/p", "raw_path": "/p"}"#)),
        ("uri.parse", r##"["#f#g"]"##, Want::Value(r#"{"fragment": "f#g"}"#)),
        ("uri.parse", r##"["#a\u0001"]"##, Want::Value(r#"{"fragment": "a\u0001"}"#)),
        (
            "uri.parse",
            r#"["http://h/é%C3%a9"]"#,
            Want::Value(r#"{"scheme": "http", "hostname": "h", "path": "/éé", "raw_path": "/é%C3%a9"}"#),
        ),
        (
            "uri.parse",
            r#"["http://%C3%A9/"]"#,
            Want::Value(r#"{"scheme": "http", "hostname": "é", "path": "/", "raw_path": "/"}"#),
        ),
        ("uri.parse", r#"[""]"#, Want::Value("{}")),
    ]);
}

#[test]
fn what_is_no_uri_is_refused() {
    check(&[
        ("uri.parse", r#"["1a:b"]"#, Want::Failed),
        ("uri.parse", r#"["a/b:c"]"#, Want::Value(r#"{"path": "a/b:c", "raw_path": "a/b:c"}"#)),
        ("uri.parse", r#"[":a"]"#, Want::Failed),
        ("uri.parse", r#"["a\u0000"]"#, Want::Failed),
        ("uri.parse", r#"["a\u007f"]"#, Want::Failed),
        ("uri.parse", r#"["http://a:b/"]"#, Want::Failed),
        (
            "uri.parse",
            r#"["http://a:1:2/"]"#,
            Want::Value(
                r#"{"scheme": "http", "hostname": "a:1", "port": "2", "path": "/", "raw_path": "/"}"#,
            ),
        ),
        ("uri.parse", r#"["http://a b/"]"#, Want::Failed),
        ("uri.parse", r#"["http://a%20b/"]"#, Want::Failed),
        ("uri.parse", r#"["http://[1.2.3.4]/"]"#, Want::Failed),
        ("uri.parse", r#"["http://[::1"]"#, Want::Failed),
        ("uri.parse", r#"["http://a[::1]/"]"#, Want::Failed),
        ("uri.parse", r#"["http://[::1]x/"]"#, Want::Failed),
        ("uri.parse", r#"["http://[::1%25]/"]"#, Want::Failed),
        ("uri.parse", r#"["http://u ser@h/"]"#, Want::Failed),
        ("uri.parse", r#"["http://u%zz@h/"]"#, Want::Failed),
        (
            "uri.parse",
            r#"["http://a@b@h/"]"#,
            Want::Value(r#"{"scheme": "http", "hostname": "h", "path": "/", "raw_path": "/"}"#),
        ),
        ("uri.parse", r#"["/%"]"#, Want::Failed),
        ("uri.parse", r##"["/#%"]"##, Want::Failed),
        ("uri.parse", r#"["/%ff"]"#, Want::Budget),
        ("uri.parse", "[1]", Want::TypeError),
    ]);
}

#[test]
fn what_cannot_be_taken_apart_is_not_valid() {
    check(&[
        ("uri.is_valid", r#"["http://h/"]"#, Want::Value("true")),
        ("uri.is_valid", r#"["a"]"#, Want::Value("true")),
        ("uri.is_valid", r#"["/%ff"]"#, Want::Value("true")),
        ("uri.is_valid", r#"["http://u%ff@h"]"#, Want::Value("true")),
        ("uri.is_valid", r#"["http://h/%ff#%zz"]"#, Want::Value("false")),
        ("uri.is_valid", r#"["http://%ff:x/"]"#, Want::Value("false")),
        ("uri.is_valid", r#"[":"]"#, Want::Value("false")),
        ("uri.is_valid", r#"[""]"#, Want::Value("false")),
        ("uri.is_valid", "[1]", Want::Value("false")),
    ]);
}

#[test]
fn random_texts_are_uris_where_they_are_to_opa() {
    const PIECES: &[&str] = &[
        "http",
        "x",
        ":",
        "://",
        "//",
        "/",
        "a",
        "b.c",
        "@",
        "u:p@",
        "[::1]",
        "[",
        "]",
        ":80",
        ":a",
        "?",
        "q=1&r",
        "#",
        "f",
        "%",
        "%41",
        "%2F",
        "%C3%A9",
        "%25",
        "é",
        " ",
        ".",
        "..",
        "*",
        "+",
        ";",
        "=",
        "&",
        "\u{1}",
        "<",
        "\"",
        "\\",
        "[fe80::1%25a]",
        "[1.2.3.4]",
        "1",
    ];
    let mut dice = Dice(29);
    let mut calls = Vec::new();
    for _ in 0..400 {
        let text: String = (0..dice.below(7)).map(|_| dice.one(PIECES)).collect();
        for name in
            ["uri.parse", "uri.is_valid", "urlquery.encode", "urlquery.decode", "urlquery.decode_object"]
        {
            calls.push((name, json!([text]).to_string()));
        }
    }
    assert!(agree(&calls) > 1000);
}
